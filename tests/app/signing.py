"""A key outside of key files, as an operator's own Python code opens it for the tests of ``.signer`` files."""

from collections.abc import Mapping
from pathlib import Path

from gateways.keys import FileKey, private_key


def opened(told: Mapping[str, str]) -> FileKey:
    """Return what signs, by the parsed ``.signer`` file."""
    return FileKey(private_key(Path(told["file"]).read_bytes()))
