"""Borne parts: what of a stay somebody pays in place of the driver. Whoever lets a part be borne notes it here, and nothing else.

Knows parts; must not know why they are borne nor what follows. Called by ``payments.splitting.splits`` and ``payments.discounts``.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text


class BornePart(Struct, frozen=True, kw_only=True):
    """A part to be noted."""

    part_id: UUID
    """Time-ordered id: the source of its entries."""
    source: str
    """What lets it be borne, in small letters: split, coupon …"""
    source_id: UUID
    """The record that says so, and with ``number`` the place in it: a record lets the same part be borne once."""
    number: int
    bearer: str
    """Code of a registered bearer."""
    operator_id: int
    """Payee."""
    lot_id: int
    lot_serial: str
    """The lot's own serial of the charge."""
    charge_id: UUID | None
    """The driver's charge beside it: the part is earned when that is booked, and falls when that is cancelled. None: nothing is due
    of the driver, so it is earned at once."""
    amount_fen: int
    document_id: UUID
    """Sealed document by which it is borne."""
    happened_at: datetime


def note(tx: Connection, *, lane: int, parts: Sequence[BornePart], at: datetime) -> None:
    """Keep parts that are borne; the claims follow when they are earned (``following``). Two statements, however many parts.

    Not to be repeated with the same source: the database refuses it. Raises ValueError when a part names a bearer that is not
    registered, which its rule would have refused.
    """
    if not parts:
        return
    columns = {name: [getattr(part, name) for part in parts] for name in BornePart.__struct_fields__}
    noted = tx.execute(
        text("""
        insert into payments.borne_part (part_id, lane, source, source_id, number, bearer_id, operator_id, lot_id, lot_serial,
                                         charge_id, amount_fen, document_id, happened_at, created_at)
        select n.part_id, :lane, n.source, n.source_id, n.number, b.bearer_id, n.operator_id, n.lot_id, n.lot_serial, n.charge_id,
               n.amount_fen, n.document_id, n.happened_at, :at
        from unnest(cast(:part_id as uuid[]), cast(:source as text[]), cast(:source_id as uuid[]), cast(:number as smallint[]),
                    cast(:bearer as text[]), cast(:operator_id as integer[]), cast(:lot_id as integer[]),
                    cast(:lot_serial as text[]), cast(:charge_id as uuid[]), cast(:amount_fen as bigint[]),
                    cast(:document_id as uuid[]), cast(:happened_at as timestamptz[]))
             as n (part_id, source, source_id, number, bearer, operator_id, lot_id, lot_serial, charge_id, amount_fen, document_id,
                   happened_at)
        join payments.bearer b on b.code = n.bearer
        returning part_id, charge_id is null as is_due
        """),
        columns | {"lane": lane, "at": at},
    ).all()
    if len(noted) != len(parts):
        raise ValueError(f"{len(parts) - len(noted)} parts name bearers that are not registered")
    if due := [row.part_id for row in noted if row.is_due]:
        tx.execute(
            text("insert into payments.borne_due (part_id, lane) select x, :lane from unnest(cast(:ids as uuid[])) as x"),
            {"ids": due, "lane": lane},
        )


def give_back(tx: Connection, *, lane: int, source: str, source_ids: Sequence[UUID], evidence_id: UUID, at: datetime) -> None:
    """Let parts that were earned at once be returned, for what they were of was corrected; ``following`` does it. May be repeated.

    The caller holds the charges.
    """
    tx.execute(
        text("""
        insert into payments.borne_return_due (part_id, lane, evidence_id, happened_at)
        select part_id, lane, :evidence, :at from payments.borne_part
        where lane = :lane and source = :source and source_id = any(cast(:ids as uuid[])) and charge_id is null
        on conflict (part_id, lane) do nothing
        """),
        {"lane": lane, "source": source, "ids": list(source_ids), "evidence": evidence_id, "at": at},
    )


def drop(tx: Connection, *, lane: int, source: str, source_ids: Sequence[UUID], at: datetime) -> None:
    """Let parts fall that are not earned yet: they are never claimed. May be repeated. What is earned at once never falls.

    The caller holds the charges, and knows that nothing of them is booked.
    """
    if not source_ids:
        return
    tx.execute(
        text("""
        insert into payments.borne_part_fallen (part_id, lane, fallen_at)
        select part_id, lane, :at from payments.borne_part
        where lane = :lane and source = :source and source_id = any(cast(:ids as uuid[])) and charge_id is not null
        on conflict (part_id, lane) do nothing
        """),
        {"lane": lane, "source": source, "ids": list(source_ids), "at": at},
    )
