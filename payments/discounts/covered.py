"""Covered stays 减免凭证: charges of which others pay everything, and what the book says of it. Source: docs/DISCOUNTS.md.

Knows effects, charges and borne parts; must not know pages or seals. Called by the pages. Who bears a part is not told: whoever
types a plate would learn where its driver was.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from payments.plates import PlateColor


class Line(Struct, frozen=True):
    """What an offer took off a charge. ``part_id`` is the source of its entry in the book; None: the operator bears it itself."""

    words: str
    words_en: str
    fen: int
    part_id: UUID | None


class Covered(Struct, frozen=True, kw_only=True):
    """A charge of which nothing was left to pay. ``plate`` is the full number: mask it before it is shown."""

    charge_id: UUID
    plate: str
    plate_color: PlateColor
    amount_fen: int
    covered_at: datetime
    operator_name: str
    lines: tuple[Line, ...]


def of_plate(tx: Connection, *, lane: int, lot_id: int, number: str, since: datetime) -> list[Covered]:
    """Return charges of a plate at a lot, of any colour, that were covered since a moment, the latest first."""
    return _read(tx, f"{_COVERED} and c.lot_id = :lot and n.number = :number and e.put_on_at >= :since {_ORDER}", {
        "lane": lane, "lot": lot_id, "number": number, "since": since,
    })  # fmt: skip


def of_charges(tx: Connection, *, lane: int, charge_ids: Sequence[UUID]) -> list[Covered]:
    """Return those of some charges that were covered, the latest first."""
    given = {"lane": lane, "ids": list(charge_ids)}
    return _read(tx, f"{_COVERED} and c.charge_id = any(cast(:ids as uuid[])) {_ORDER}", given)


def _read(tx: Connection, query: str, given: dict[str, object]) -> list[Covered]:
    found: dict[UUID, Covered] = {}
    for row in tx.execute(text(query), given):
        line = Line(row.words, row.words_en, row.fen, row.part_id)
        before = found.get(row.charge_id)
        found[row.charge_id] = Covered(
            charge_id=row.charge_id, plate=row.plate, plate_color=row.plate_color, amount_fen=row.amount_fen,
            covered_at=row.covered_at, operator_name=row.operator_name, lines=(*(before.lines if before else ()), line),
        )  # fmt: skip
    return list(found.values())


_COVERED: Final = """
select c.charge_id, n.number as plate, n.color as plate_color, c.amount_fen, e.put_on_at as covered_at,
       o.legal_name as operator_name, e.words, e.words_en, e.amount_fen as fen, b.part_id
from payments.plate n
join payments.charge c on c.plate_id = n.plate_id and c.state = 'waived'
join payments.v_discount e on e.lane = c.lane and e.charge_id = c.charge_id and e.is_final
join payments.operator o on o.operator_id = c.operator_id
left join payments.borne_part b on b.lane = e.lane and b.source = 'discount' and b.source_id = e.effect_id
where c.lane = :lane
"""
_ORDER: Final = "order by e.put_on_at desc, c.charge_id, e.effect_id"
