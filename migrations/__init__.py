"""Alembic migrations. Knows SQL and the owner role; must not know domain code. Called by the command line."""

from pathlib import Path


def env_location() -> str:
    """Return the folder that Alembic works in."""
    return str(Path(__file__).parent)
