"""The questions that old codes ask of PostgreSQL, set by set. Private to this room; called by ``legacy_codes``."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.lots import Lot


class CodeRow(Struct, kw_only=True):
    """An old code of a lot as it is kept."""

    legacy_id: UUID
    lot_serial: str
    payload_digest: bytes
    kind: str
    first_day: date
    last_day: date | None
    document: str
    is_ended_together: bool = False
    """A mass act gave it its last day, not its lot."""


_COLUMNS: Final = "legacy_id, lot_serial, payload_digest, kind, first_day, last_day, document"


def of_lot(tx: Connection, *, lot_id: int, serials: Sequence[str], digests: Sequence[bytes]) -> list[CodeRow]:
    """Return the codes of a lot that have one of these serials or are one of these codes."""
    query = text(f"""
        select {_COLUMNS}, ending_id is not null as is_ended_together from payments.legacy_code
        where lot_id = :lot and (lot_serial = any(cast(:serials as text[])) or payload_digest = any(cast(:digests as bytea[])))
        """)
    given = {"lot": lot_id, "serials": list(serials), "digests": list(digests)}
    return [CodeRow(**row._mapping) for row in tx.execute(query, given)]


def claim(tx: Connection, *, operator_id: int, payloads: dict[bytes, str], at: datetime) -> dict[bytes, str]:
    """Make codes an operator's own, by digest; returns those that are another operator's, with its code.

    Inserts in the order of the digests, so that two calls with the same codes wait for one another and never for each other.
    """
    given = {"digests": sorted(payloads), "payloads": [payloads[one] for one in sorted(payloads)], "operator": operator_id}
    tx.execute(
        text("""
        insert into payments.legacy_payload (payload_digest, operator_id, payload, entered_at)
        select digest, :operator, payload, :at
        from unnest(cast(:digests as bytea[]), cast(:payloads as text[])) as n (digest, payload) order by digest
        on conflict (payload_digest) do nothing
        """),
        given | {"at": at},
    )
    others = tx.execute(
        text("""
        select p.payload_digest, o.code from payments.legacy_payload p join payments.operator o on o.operator_id = p.operator_id
        where p.payload_digest = any(cast(:digests as bytea[])) and p.operator_id <> :operator
        """),
        given,
    )
    return {bytes(row.payload_digest): row.code for row in others}


def insert(tx: Connection, *, lot: Lot, rows: Sequence[CodeRow], evidence_id: UUID, at: datetime) -> None:
    """Insert codes of a lot."""
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in CodeRow.__struct_fields__}
    tx.execute(
        text(f"""
        insert into payments.legacy_code ({_COLUMNS}, operator_id, lot_id, evidence_id, created_at)
        select {_COLUMNS}, :operator, :lot, :evidence, :at
        from unnest(cast(:legacy_id as uuid[]), cast(:lot_serial as text[]), cast(:payload_digest as bytea[]),
                    cast(:kind as text[]), cast(:first_day as date[]), cast(:last_day as date[]),
                    cast(:document as text[])) as n ({_COLUMNS})
        """),
        columns | {"operator": lot.operator_id, "lot": lot.lot_id, "evidence": evidence_id, "at": at},
    )


def end(tx: Connection, *, ends: Sequence[CodeRow], evidence_id: UUID, at: datetime) -> None:
    """Give codes their last day."""
    tx.execute(
        text("""
        update payments.legacy_code c set last_day = n.last_day, ended_at = :at, ended_evidence_id = :evidence
        from unnest(cast(:ids as uuid[]), cast(:days as date[])) as n (legacy_id, last_day) where c.legacy_id = n.legacy_id
        """),
        {"ids": [one.legacy_id for one in ends], "days": [one.last_day for one in ends], "evidence": evidence_id, "at": at},
    )


def registered(tx: Connection, *, digest: bytes, limit: int) -> list[Any]:
    """Return where a code hangs or hung, with lot and operator; the latest first."""
    query = text("""
        select l.lot_id, l.code as lot_code, l.name as lot_name, l.district, o.code as operator_code, o.legal_name as operator_name,
               o.regime, c.kind, c.first_day, c.last_day, c.document
        from payments.legacy_code c
        join payments.lot l on l.lot_id = c.lot_id
        join payments.operator o on o.operator_id = c.operator_id
        where c.payload_digest = :digest
        order by c.first_day desc, l.code limit :limit
        """)
    return list(tx.execute(query, {"digest": digest, "limit": limit}))
