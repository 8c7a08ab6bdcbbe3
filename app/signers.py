"""Private keys that do not lie in a file of ours: in a PKCS#11 token, a smart card or a key service, asked to sign.

Knows how to ask; must not know what is signed. Read by ``app.channels`` beside the key files.

In place of ``merchant.pem`` there lies ``merchant.pem.signer``, a TOML file with one of two lines::

    command = ["/usr/bin/pkcs11-tool", "--sign", "--mechanism", "SHA256-RSA-PKCS", "--id", "01"]   # bytes on standard input,
    seconds = 5                                                                                    # raw signature on its output
    python = "our_hsm.tokens:open_key"    # a callable that takes the parsed file and returns an object with sign(bytes) -> bytes

The signature is RSA, PKCS#1 v1.5 over SHA-256. A command that fails or is late signs nothing, and nothing is sent.
"""

import subprocess
import tomllib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from msgspec import Struct

from gateways.keys import SigningFailed, SigningKey

SUFFIX: Final = ".signer"
SECONDS: Final = 5.0
_SIGNATURE_BYTES_MAX: Final = 1_024


class CommandKey(Struct, frozen=True):
    """A key that a command signs with: the message comes on its standard input, the raw signature goes to its output."""

    command: tuple[str, ...]
    seconds: float

    def sign(self, message: bytes) -> bytes:
        """Return the signature. Raises SigningFailed when the command fails, is late, or answers nothing like a signature."""
        try:
            done = subprocess.run(self.command, input=message, capture_output=True, timeout=self.seconds, check=True)
        except subprocess.CalledProcessError as failed:
            raise SigningFailed(f"{self.command[0]} failed: {failed.stderr[:200].decode(errors='replace')}") from None
        except (OSError, subprocess.TimeoutExpired) as away:
            raise SigningFailed(f"{self.command[0]} did not sign: {away}") from None
        if not 0 < len(done.stdout) <= _SIGNATURE_BYTES_MAX:
            raise SigningFailed(f"{self.command[0]} answered {len(done.stdout)} bytes, which is no signature")
        return done.stdout


def signers(files: Mapping[str, bytes]) -> dict[str, SigningKey]:
    """Return what signs in place of key files, by the path of the key file that each stands for.

    Raises:
        ValueError: a ``.signer`` file cannot be used; the message names it and says what to do.
    """
    return {path.removesuffix(SUFFIX): _read(path, content) for path, content in files.items() if path.endswith(SUFFIX)}


def _read(path: str, content: bytes) -> SigningKey:
    try:
        told = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise ValueError(f"{path} is not TOML: {broken}") from None
    match told:
        case {"command": [str(), *_] as command} if all(isinstance(part, str) for part in command):
            return CommandKey(tuple(command), float(told.get("seconds", SECONDS)))
        case {"python": str(place)} if ":" in place:
            return _opened(path, place, told)
    raise ValueError(f'{path} needs one of the lines: command = ["program", "argument", …]  or  python = "module:callable"')


def _opened(path: str, place: str, told: Mapping[str, Any]) -> SigningKey:
    module, _, name = place.partition(":")
    try:
        key = getattr(import_module(module), name)(told)
    except Exception as broken:  # whatever a plug-in raises, the file is what must be mended
        raise ValueError(f"{path}: {place} cannot be opened: {broken}") from broken
    if not callable(getattr(key, "sign", None)):
        raise ValueError(f"{path}: {place} returned no object with sign(bytes)")
    return key  # type: ignore[no-any-return]
