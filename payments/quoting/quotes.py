"""Quotes 询价: what a plate would have to pay at a lot right now, and the token under which it can be ordered.

Knows charges; must not know channels or HTTP. Called by the pages.

What is due of a charge changes only by payments, credit notes and decisions, and none of the latter two happens while an order
of it is open; so a quote needs no row of its own: the order locks the price. Prices that a lot gave for a moment only
(``payments.quoting.asking``) are left out when they have ended.

A number is not a car: two cars may have the same one in different colours. ``colors`` says between which of them a payer has to
choose before anything of either is shown; ``fits`` says what then belongs to the chosen one.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, get_args

from msgspec import Struct
from sqlalchemy import Connection

from ledger.volley import Question
from payments import plates, store
from payments.orders import Tokens
from payments.plates import PlateColor
from payments.records import Charge

COLORS: Final[tuple[PlateColor, ...]] = tuple(color for color in get_args(PlateColor) if color != "unknown")
"""The colours that a payer can name, in the order in which they are offered."""
READ_MAX: Final = 1_000
"""So many open charges of a number are looked through for its colours; more than any plate was ever seen to owe."""


class Quote(Struct, frozen=True):
    """A charge that can be paid now. ``token`` goes into the form of the page: a second tap of the same form is the same order."""

    charge: Charge
    amount_fen: int
    token: str


def ask(tx: Connection, *, lane: int, lot_id: int, plate: str, at: datetime, tokens: Tokens) -> list[Quote]:
    """Return what is due for a plate at a lot, oldest stay first. Writes nothing.

    Raises:
        PlateRefused: this is not a plate.
    """
    found = store.open_charges(tx, lane=lane, lot_id=lot_id, number=plates.checked(plate), at=at)
    return quoted(found, at=at, tokens=tokens)


def quoted(found: Iterable[Charge], *, at: datetime, tokens: Tokens) -> list[Quote]:
    """Return the quotes of open charges, each with a token of its own."""
    return [Quote(one, one.owed_fen, tokens.new(f"{one.charge_id} {at.isoformat()}")) for one in found]


def anywhere(tx: Connection, *, lane: int, plate: str, limit: int, at: datetime) -> list[Charge]:
    """Return what is due for a plate at all lots, oldest stay first.

    Whoever only typed the plate may be shown payees and amounts of it, never places and times.

    Raises:
        PlateRefused: this is not a plate.
    """
    return store.open_charges_anywhere(tx, lane=lane, number=plates.checked(plate), limit=limit, at=at)


def what_is_due(*, lane: int, lot_id: int, plate: str, limit: int, at: datetime) -> Question[list[Charge]]:
    """What is due for a plate at all lots, that of this lot first, then the oldest stay first. Raises PlateRefused."""
    return store.what_is_open(lane=lane, number=plates.checked(plate), limit=limit, at=at, first=lot_id)


def colors(found: Iterable[str]) -> list[PlateColor]:
    """Return which cars charges of one number belong to, by their colours; what no lot saw the colour of tells of none. Pure."""
    seen = set(found)
    return [color for color in COLORS if color in seen]


def fits(color: str, chosen: PlateColor | None) -> bool:
    """Say whether a charge of this colour is shown to whoever chose a car; an unknown colour fits every one. Pure."""
    return chosen is None or color in (chosen, "unknown")
