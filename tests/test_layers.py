"""The architecture: imports go down only, as the contracts in pyproject.toml say."""

from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

CONTRACTS = Path(__file__).parents[1] / "pyproject.toml"


def test_every_import_contract_is_kept() -> None:
    assert lint_imports(config_filename=str(CONTRACTS), no_cache=True) == EXIT_STATUS_SUCCESS
