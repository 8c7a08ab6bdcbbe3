"""What a page reads of a plate at a lot: two messages to the database, whatever the plate owes and whomever.

Knows the questions of the rooms; must not know HTTP, words or templates. Called by ``scan``.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from app.wiring import Wiring
from gateways import routing
from ledger.volley import fire
from payments import baskets, lots
from payments.discounts import effects as discounts
from payments.discounts import offers
from payments.discounts.effects import Shown
from payments.lots import Lot
from payments.mandates import standing
from payments.owed import debts, disputes
from payments.owed.dispute_store import Dispute
from payments.plates import PlateColor
from payments.quoting import endpoint_store, quotes
from payments.quoting.endpoint_store import Endpoint
from payments.quoting.quotes import Quote
from payments.records import Charge
from payments.splitting import splits
from payments.splitting.split_store import Group


class Owed(Struct, frozen=True):
    """What a number owes here and everywhere."""

    here: Sequence[Quote]
    everywhere: Sequence[Charge]
    """The oldest stay first, those of this lot among them."""
    disputes: Sequence[Dispute]
    """Objections to debts at this lot that are paid."""
    colors: Sequence[PlateColor]
    """Of which cars with this number; more than one only until it is known which is meant."""


class Details(Struct, frozen=True, kw_only=True):
    """What a page says beside the amounts."""

    due_days: Mapping[UUID, date]
    disputed: Collection[UUID]
    mandates: Mapping[UUID, Sequence[str]]
    groups: Sequence[Group]
    taken_off: Sequence[Shown]
    payees: Mapping[int, str]
    """Legal names of those to whom something is owed, by operator; empty where all that is owed is one stay here."""

    @property
    def is_more(self) -> bool:
        """There is more to be paid than one stay at this lot."""
        return bool(self.payees)


class Seen(Struct, frozen=True, kw_only=True):
    """What one look found out. ``details`` is None where the lot's system is to be asked first, or the driver which car it is."""

    routes: Sequence[str]
    """Channels at which the lot's operator has a merchant account now."""
    endpoint: Endpoint | None
    """Where the lot's own system is asked."""
    owed: Owed
    coupons: bool
    """Coupons are given out at present."""
    details: Details | None


NOTHING: Final = Details(due_days={}, disputed=(), mandates={}, groups=(), taken_off=(), payees={})


def look(
    tx: Connection, wiring: Wiring, lot: Lot, plate: str, color: PlateColor | None, *, asked: bool = False
) -> Seen:  # fmt: skip
    """Read what a plate owes. ``asked``: the lot's own system was asked just now, or is away. Writes nothing; nothing may be asked
    with ``tx`` after it.

    Raises:
        PlateRefused: this is not a plate.
    """
    at, lane = wiring.clock.now(), wiring.lane
    channels = routing.which_channels(operator_id=lot.operator_id, at=at)
    where = endpoint_store.where_asked(lane=lane, lot_id=lot.lot_id)
    due = quotes.what_is_due(lane=lane, lot_id=lot.lot_id, plate=plate, limit=quotes.READ_MAX, at=at)
    paid = disputes.which_are_paid(lane=lane, lot_id=lot.lot_id, number=plate)
    given_out = offers.are_there_coupons(lane=lane, at=at)
    told = fire(tx, [channels.shot, where.shot, due.shot, paid.shot, given_out.shot])
    routes, endpoint = channels.read(told[0]), where.read(told[1])
    objected = disputes.of_paid(tx, lane=lane, charge_ids=paid.read(told[3]), at=at)
    owed = _owed(wiring, lot, due.read(told[2]), objected, at)
    is_told = (asked or endpoint is None) and (color is not None or len(owed.colors) < 2)
    owed = _only(owed, color) if is_told else owed
    return Seen(
        routes=routes, endpoint=endpoint, owed=owed, coupons=given_out.read(told[4]),
        details=_details(tx, lane, owed, routes) if is_told else None,
    )  # fmt: skip


def _owed(wiring: Wiring, lot: Lot, found: Sequence[Charge], objected: Sequence[Dispute], at: datetime) -> Owed:
    here = [one for one in found if one.lot_id == lot.lot_id]
    everywhere = sorted(found, key=lambda one: (one.entered_at, one.charge_id))
    seen: list[str] = [*(one.plate_color for one in found), *(one.plate_color for one in objected)]
    return Owed(quotes.quoted(here, at=at, tokens=wiring.link_tokens), everywhere, objected, quotes.colors(seen))


def _only(owed: Owed, color: PlateColor | None) -> Owed:
    """Return what of it is the chosen car's, and of other lots no more than a basket holds."""
    return Owed(
        [one for one in owed.here if quotes.fits(one.charge.plate_color, color)],
        [one for one in owed.everywhere if quotes.fits(one.plate_color, color)][: baskets.CHARGES_MAX],
        [one for one in owed.disputes if quotes.fits(one.plate_color, color)],
        owed.colors,
    )


def _details(tx: Connection, lane: int, owed: Owed, routes: Sequence[str]) -> Details:
    """Read what is said beside the amounts, in one message for most plates."""
    if not owed.everywhere:
        return NOTHING
    found = [one.charge for one in owed.here]
    ids = [one.charge_id for one in found]
    until = debts.until_when(lane=lane, charge_ids=ids)
    objected = disputes.which_are_disputed(lane=lane, charge_ids=ids)
    deducted = standing.who_will_deduct(lane=lane, charges=found, channels=routes)
    named = lots.which_names(operator_ids=[one.operator_id for one in owed.everywhere])
    groups = splits.groups_of(tx, lane=lane, charge_ids=ids) if len(ids) > 1 else []
    is_reduced = any(one.reduced_fen for one in found)
    taken_off = discounts.shown(tx, lane=lane, charge_ids=ids) if is_reduced else []
    told = fire(tx, [until.shot, objected.shot, deducted.shot, named.shot], and_commit=True)
    return Details(
        due_days=until.read(told[0]), disputed=objected.read(told[1]), mandates=deducted.read(told[2]), groups=groups,
        taken_off=taken_off,
        payees={} if found and is_one_stay(owed.everywhere, groups) else named.read(told[3]),
    )  # fmt: skip


def is_one_stay(everything: Sequence[Charge], groups: Sequence[Group]) -> bool:
    """Say whether all that a plate owes is one card: nothing is to be paid together with it. Pure."""
    ids = {charge.charge_id for charge in everything}
    return len(ids) < 2 or any(ids <= set(group.charge_ids) for group in groups)
