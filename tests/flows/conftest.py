"""A simulated home for the flows, its keys made once in a process: they follow from a seed, and that takes seconds."""

from pathlib import Path

import pytest

from app import keys
from config.settings import Settings, load
from tests.payments.conftest import AT


@pytest.fixture(scope="session")
def simulated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the keys of a simulation, made once: they are valid on its day."""
    home = tmp_path_factory.mktemp("simulated")
    keys.make_missing(simulated(home))
    return home


def simulated(home: Path, **other: object) -> Settings:
    given = {"home": home, "simulated": "true", "simulated_start_at": AT.isoformat()} | other
    return load({f"TONGTING_{name.upper()}": str(value) for name, value in given.items()})
