"""RSA keys of a simulation follow from its seed and take half a second each: a test run makes each once, for all its processes.

``python -m tests.seeded_keys day ...`` is ``tongting day ...`` with these keys; ``made_afresh`` is the product's own way.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app import cli, seeded

FOLDER: Final = "SEEDED_KEYS"
"""Name in the environment of the folder that the processes of a test run share."""
made_afresh: Final = seeded.rsa_key


def remembered(seed: int, name: str) -> rsa.RSAPrivateKey:
    """Return the key that follows from seed and name; who comes while another makes it waits."""
    file = Path(os.environ[FOLDER]) / f"{sha256(f'{seed} {name}'.encode()).hexdigest()}.pem"
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            staging = file.with_suffix(".new")
            staging.write_bytes(_pem(made_afresh(seed, name)))
            staging.rename(file)
    key = serialization.load_pem_private_key(file.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def share() -> str | None:
    """From here on this process remembers. Return the folder if it was made for that: the caller removes it with ``forget``."""
    seeded.rsa_key = remembered
    if FOLDER in os.environ:
        return None
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="tongting-test-keys-")
    return os.environ[FOLDER]


def forget(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    del os.environ[FOLDER]


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip


if __name__ == "__main__":
    share()
    sys.exit(cli.main())
