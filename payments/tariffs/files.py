"""Tariff files: TOML in, checked records out; what is wrong is said in words.

Knows TOML and the records; must not know the database. Called by the command line, the store and the tests.
"""

import hashlib
import tomllib
from typing import Final

import msgspec

from payments.tariffs.checking import problems
from payments.tariffs.errors import TariffInvalid
from payments.tariffs.tariff import Tariff, TariffFile

BYTES_MAX: Final = 1024 * 1024


def read(content: bytes) -> TariffFile:
    """Return what a file says, when it can be entered.

    Raises:
        TariffInvalid: the message names everything that is wrong, and where.
    """
    if len(content) > BYTES_MAX:
        raise TariffInvalid(f"a tariff file has at most {BYTES_MAX} bytes")
    try:
        file = msgspec.convert(tomllib.loads(content.decode("utf-8")), TariffFile)
    except UnicodeDecodeError:
        raise TariffInvalid("the file is not UTF-8") from None
    except tomllib.TOMLDecodeError as broken:
        raise TariffInvalid(f"the file is not TOML: {broken}") from None
    except msgspec.ValidationError as wrong:
        raise TariffInvalid(f"the file has a wrong form: {wrong}") from None
    return checked(file)


def checked(file: TariffFile) -> TariffFile:
    """Return a file as it is. Raises TariffInvalid with everything that is wrong with it."""
    found = problems(file)
    if found:
        raise TariffInvalid("; ".join(found))
    return file


def tariff_of(body: bytes) -> Tariff:
    """Return the tariff of a canonical body that the database kept."""
    return msgspec.json.decode(body, type=Tariff)


def digest(body: bytes) -> bytes:
    """Return the SHA-256 of a canonical body."""
    return hashlib.sha256(body).digest()
