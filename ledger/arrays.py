"""Arrays as PostgreSQL's binary parameters: one join instead of one conversion per element, for the hot paths.

Knows the binary form of a few types; must not know tables. A parameter made here is passed to psycopg as it is:
``cursor.execute("... %s::uuid[] ...", [uuids(ids)])``.
"""

import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

from ledger.clock import microseconds

_HEAD: Final = struct.Struct("!iiiii").pack
_UUID: Final = struct.Struct("!i16s").pack
_BIGINT: Final = struct.Struct("!iq").pack
_INTEGER: Final = struct.Struct("!ii").pack
_LENGTH: Final = struct.Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_POSTGRES_US: Final = 946_684_800_000_000


class Array(bytes):
    """An array in its binary form, ready to be sent."""


class UuidArray(Array): ...


class TextArray(Array): ...


class ByteaArray(Array): ...


class BigintArray(Array): ...


class IntegerArray(Array): ...


class InstantArray(Array): ...


class _AsItIs(Dumper):
    format = Format.BINARY
    oid: int

    def dump(self, obj: Array) -> Buffer:
        return obj


def _register(kind: type[Array], array_oid: int) -> None:
    psycopg.adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_AsItIs,), {"oid": array_oid}))


for _kind, _oid in (
    (UuidArray, 2951), (TextArray, 1009), (ByteaArray, 1001), (BigintArray, 1016), (IntegerArray, 1007), (InstantArray, 1185),
):  # fmt: skip
    _register(_kind, _oid)


def uuids(values: Sequence[UUID | None]) -> UuidArray:
    parts = [_NULL if value is None else _UUID(16, value.int.to_bytes(16, "big")) for value in values]
    return UuidArray(_head(2950, len(values), nulls=None in values) + b"".join(parts))


def texts(values: Sequence[str | None]) -> TextArray:
    parts = [_NULL if value is None else _sized(value.encode()) for value in values]
    return TextArray(_head(25, len(values), nulls=None in values) + b"".join(parts))


def blobs(values: Sequence[bytes | None]) -> ByteaArray:
    parts = [_NULL if value is None else _sized(value) for value in values]
    return ByteaArray(_head(17, len(values), nulls=None in values) + b"".join(parts))


def bigints(values: Sequence[int]) -> BigintArray:
    return BigintArray(_head(20, len(values)) + b"".join([_BIGINT(8, value) for value in values]))


def integers(values: Sequence[int]) -> IntegerArray:
    return IntegerArray(_head(23, len(values)) + b"".join([_INTEGER(4, value) for value in values]))


def instants(values: Sequence[datetime]) -> InstantArray:
    """Times with a zone, to the microsecond."""
    return InstantArray(_head(1184, len(values)) + b"".join([_BIGINT(8, microseconds(value) - _POSTGRES_US) for value in values]))


def _head(element_oid: int, count: int, *, nulls: bool = False) -> bytes:
    return _HEAD(1, int(nulls), element_oid, count, 1) if count else struct.pack("!iii", 0, 0, element_oid)


def _sized(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value
