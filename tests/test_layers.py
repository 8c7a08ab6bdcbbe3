"""The architecture: imports go down only, as the contracts in pyproject.toml say."""

import subprocess
import sys
from pathlib import Path

CONTRACTS = Path(__file__).parents[1] / "pyproject.toml"


def test_every_import_contract_is_kept() -> None:
    """In a process of its own: the linter switches off every logger that there is."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--config", str(CONTRACTS)]
    done = subprocess.run(command, cwd=CONTRACTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
