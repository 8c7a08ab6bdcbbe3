"""Parameters in PostgreSQL's binary form, for the hot paths: an array costs one join instead of one conversion per element.

Knows the binary form of a few types; must not know tables. What is made here goes into a ``ledger.volley.Shot``.
"""

import struct
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from ledger.clock import microseconds

_HEAD: Final = struct.Struct("!iiiii").pack
_UUID: Final = struct.Struct("!i16s").pack
_BIGINT: Final = struct.Struct("!iq").pack
_INTEGER: Final = struct.Struct("!ii").pack
_LENGTH: Final = struct.Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_TRUE: Final = _LENGTH(1) + b"\1"
_FALSE: Final = _LENGTH(1) + b"\0"
_POSTGRES_US: Final = 946_684_800_000_000
_MICROSECOND: Final = timedelta(microseconds=1)


def uuids(values: Sequence[UUID | None]) -> bytes:
    return _head(2950, len(values)) + b"".join(
        [_NULL if value is None else _UUID(16, value.int.to_bytes(16, "big")) for value in values]
    )


def texts(values: Sequence[str | None]) -> bytes:
    """Values that repeat are encoded once: most columns of a group say the same in every row."""
    parts = {value: _NULL if value is None else _sized(value.encode()) for value in set(values)}
    return _head(25, len(values)) + b"".join([parts[value] for value in values])


def blobs(values: Sequence[bytes | None]) -> bytes:
    return _head(17, len(values)) + b"".join([_NULL if value is None else _sized(value) for value in values])


def bigints(values: Sequence[int]) -> bytes:
    return _head(20, len(values)) + b"".join([_BIGINT(8, value) for value in values])


def integers(values: Sequence[int]) -> bytes:
    return _head(23, len(values)) + b"".join([_INTEGER(4, value) for value in values])


def instants(values: Sequence[datetime | None]) -> bytes:
    """Times with a zone, to the microsecond."""
    return _head(1184, len(values)) + b"".join(
        [_NULL if value is None else _BIGINT(8, microseconds(value) - _POSTGRES_US) for value in values]
    )


def booleans(values: Sequence[bool]) -> bytes:
    return _head(16, len(values)) + b"".join([_TRUE if value else _FALSE for value in values])


def smallint(value: int) -> bytes:
    return value.to_bytes(2, "big", signed=True)


def integer(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def bigint(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def instant(value: datetime) -> bytes:
    return (microseconds(value) - _POSTGRES_US).to_bytes(8, "big", signed=True)


def interval(value: timedelta) -> bytes:
    """A length of time without days and months of its own."""
    return (value // _MICROSECOND).to_bytes(8, "big", signed=True) + bytes(8)


def _head(element_oid: int, count: int) -> bytes:
    """Dimensions, "may hold nulls", type, length, first index. The server looks for nulls itself."""
    return _HEAD(1, 1, element_oid, count, 1) if count else struct.pack("!iii", 0, 0, element_oid)


def _sized(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value
