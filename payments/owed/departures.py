"""Departures 离场: a car wants to leave, or has left; its charge is deducted, becomes a debt, or has to be paid first.

Knows charges, deductions, the rule of leaving first and debts; must not know HTTP or any channel's wire. Called by the API.

What a lot tells is kept and its charge committed before a channel is called; the call is made outside any transaction; then the
answer becomes a debt and a release in one transaction. Should we stop in between, telling it again goes on where it was.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from gateways.contract import RawMessage
from ledger.clock import checked as in_utc
from ledger.errors import Conflict, Refused
from ledger.ids import payment_number
from payments import charges, events
from payments.checkout import Till
from payments.errors import AlreadyPaid, CardUnderWay, ChargeUnknown
from payments.lots import Lot
from payments.mandates import deduction_plan, deduction_store, deductions
from payments.owed import debt_store, leaving
from payments.owed.debt_store import Basis
from payments.owed.debts import Left, open_debts
from payments.owed.leaving import Asked, Leave
from payments.plates import PlateColor
from payments.quoting import asked_quote_store
from payments.records import Charge, NewCharge, Posted
from payments.splitting import splits
from payments.tariffs import quotes
from payments.tariffs.priced import Priced
from payments.tariffs.quotes import AskedStay, Refusal

DEPARTURES_MAX: Final = 10_000
"""Most cars in one call."""

Barrier = Literal["open", "closed"]
Why = Literal[
    "paid", "deducted", "debt", "free", "card",
    "being_paid", "being_deducted", "in_suspense", "escaped", leaving.Reason,
]  # fmt: skip
"""Open: ``paid``; ``deducted``, taken or taken on by a mandate; ``debt``, it left first; ``free``, nothing is due; ``card``, its
card paid at the lane. ``escaped``: it has left although it might not, and owes the charge.
Closed: ``being_paid``, a payer is at it; ``being_deducted``, a channel has not said yet; ``in_suspense``, another amount was taken
and a person decides; else why it may not leave first."""


class Stay(Struct, frozen=True, kw_only=True):
    """A stay that is priced here, by the tariff that counts for the lot."""

    plate: str
    plate_color: PlateColor = "unknown"
    entered_at: datetime


class Departure(Struct, frozen=True, kw_only=True):
    """A car that wants to leave, or that has left (``gone``). Its charge was posted before, comes with it, or is priced here."""

    charge_serial: str
    left_at: datetime
    gone: bool = False
    charge: NewCharge | None = None
    stay: Stay | None = None


class Departed(Struct, frozen=True, kw_only=True):
    """What became of a car. ``open``: it may leave, ``reason`` says why; ``closed``: it has to be paid first, or be asked again.

    ``owed_fen`` is what this stay owes; ``receipt`` the number of the payment that paid it. A refused record has a ``reason``, a
    ``field`` and a ``detail`` as a charge has.
    """

    serial: str
    outcome: Literal["open", "closed", "refused"]
    reason: str
    owed_fen: int = 0
    receipt: str | None = None
    field: str | None = None
    detail: str | None = None


class _Unfit(Refused):
    """A departure that cannot be; carries the name of the field."""

    def __init__(self, field: str, reason: str, detail: str) -> None:
        super().__init__(detail, code=reason)
        self.field = field


def depart(till: Till, *, lot: Lot, departure: Departure, body: bytes) -> Departed:
    """Say whether a barrier may open for a car, after its charge was deducted where a mandate allows that.

    A stay that owes several payees has a charge for each: all of them must be taken, owed or paid before the barrier opens. May be
    told again at any time: a deduction is not made twice, a debt not opened twice. Takes up to the time-out of the channels that
    are asked. ``body`` is the call as it came: the evidence of a debt.
    """
    at = till.clock.now()
    with till.db.begin() as tx:
        message = _keep(tx, till, lot, body, at, departure.charge_serial)
        wrong, found = _charges(tx, till, lot, [departure], at)
        mine = found.get(departure.charge_serial, [])
        by_card = _by_card(tx, till, mine)
    if wrong:
        return wrong[0]
    due = [charge for charge in mine if charge.state == "open" and charge.charge_id not in by_card]
    if not due and by_card:
        return _released(till, lot, departure, mine, "card")
    if not due:
        return _released(till, lot, departure, mine, "paid" if any(one.state == "settled" for one in mine) else "free")
    if all(charge.is_receivable and charge.left_at is not None for charge in due):
        return _answer(departure, "open", "debt", owed_fen=_sum(due))
    return _leave(till, lot, departure, mine, [_taken(till, lot, charge) for charge in due], message)


def depart_many(till: Till, *, lot: Lot, departures: Sequence[Departure], body: bytes) -> list[Departed]:
    """Take cars that have left, set by set: what is due becomes a debt. Returns one result per car, in order.

    Nothing is asked of channels here: where a plate has a mandate the debt is deducted within moments, by the plan of deductions.
    May be told again.

    Raises:
        Refused: ``too_many_departures``.
    """
    if len(departures) > DEPARTURES_MAX:
        raise Refused(f"at most {DEPARTURES_MAX} cars fit into one call, not {len(departures)}", code="too_many_departures")
    at = till.clock.now()
    with till.db.begin() as tx:
        message = _keep(tx, till, lot, body, at, "many")
        wrong, found = _charges(tx, till, lot, departures, at)
        owing = {one.charge_serial: (one, due) for one in departures if (due := _due(found.get(one.charge_serial, [])))}
        leaves = _may_leave(tx, lot, [due for _, due in owing.values()], at)
        bases = {serial: _basis(leave) for serial, leave in zip(owing, leaves, strict=True)}
        debts = [
            Left(charge.charge_id, bases[serial], in_utc(one.left_at)) for serial, (one, due) in owing.items() for charge in due
        ]
        opened = open_debts(tx, lane=till.lane, left=debts, evidence_id=message.message_id, at=at, ids=till.ids)
        deduction_plan.begin(tx, lane=till.lane, charge_ids=[one.charge_id for one in opened], due_at=at)
        by_card = _by_card(tx, till, [charge for mine in found.values() for charge in mine])
    return [
        wrong[place] if place in wrong else _gone(one, found[one.charge_serial], bases, by_card)
        for place, one in enumerate(departures)
    ]  # fmt: skip


def _keep(tx: Connection, till: Till, lot: Lot, body: bytes, at: datetime, occasion: str) -> RawMessage:
    message = messages.from_lot(
        operation="departure", body=body, at=at, ids=till.ids, occasion=f"{lot.lot_id} {occasion} {at.isoformat()}"
    )
    deduction_store.keep_message(tx, lane=till.lane, message=message)
    return message


# The charge.


def _charges(
    tx: Connection, till: Till, lot: Lot, departures: Sequence[Departure], at: datetime
) -> tuple[dict[int, Departed], dict[str, list[Charge]]]:  # fmt: skip
    """Post what comes and find what came before; returns refusals by place, and charges by serial (none: it cost nothing)."""
    wrong = {place: _refused(one, unfit) for place, one in enumerate(departures) if (unfit := _unfit(one, at)) is not None}
    priced = _priced(tx, till, lot, departures, wrong)
    new: list[tuple[int, NewCharge]] = []
    for place, one in enumerate(departures):
        told = priced.get(place, one.charge)
        if place not in wrong and told is not None and told.amount_fen:
            new.append((place, told))
    posted = charges.post(tx, lane=till.lane, lot=lot, charges=[charge for _, charge in new], at=at, ids=till.ids) if new else []
    for (place, _), result in zip(new, posted, strict=True):
        if result.outcome == "refused":
            wrong[place] = _refused_charge(departures[place], result)
    serials = sorted({one.charge_serial for place, one in enumerate(departures) if place not in wrong})
    known = splits.charges_of(tx, lane=till.lane, lot_id=lot.lot_id, serials=serials) if serials else {}
    credited = [charge.charge_id for mine in known.values() for charge in mine if charge.state == "credited"]
    newer = asked_quote_store.superseded(tx, lane=till.lane, charge_ids=credited) if credited else {}
    found: dict[str, list[Charge]] = {}
    for place, one in enumerate(departures):
        if place in wrong:
            continue
        mine = known.get(one.charge_serial, [])
        if serial := next((newer[charge.charge_id] for charge in mine if charge.charge_id in newer), None):
            detail = f"another price took its place; tell the departure under serial {serial}"
            wrong[place] = _refused(one, _Unfit("serial", "quote_superseded", detail))
            continue
        if not mine and one.charge is None and one.stay is None:
            unknown = _Unfit("serial", ChargeUnknown.code, "post the charge first, or tell it with the departure")
            wrong[place] = _refused(one, unknown)
        elif mine and in_utc(one.left_at) < mine[0].entered_at:
            wrong[place] = _refused(one, _Unfit("left_at", "left_before_entry", "the car cannot have left before it came"))
        else:
            found[one.charge_serial] = mine
    return wrong, found


def _priced(
    tx: Connection, till: Till, lot: Lot, departures: Sequence[Departure], wrong: dict[int, Departed]
) -> dict[int, NewCharge]:  # fmt: skip
    """Return charges of stays that are priced here, by place; one that has no price is refused. What was priced before stands."""
    places = [place for place, one in enumerate(departures) if one.stay is not None and one.charge is None and place not in wrong]
    serials = sorted({departures[place].charge_serial for place in places})
    known = splits.charges_of(tx, lane=till.lane, lot_id=lot.lot_id, serials=serials) if serials else {}
    places = [place for place in places if departures[place].charge_serial not in known]
    asked = [_asked(lot, departures[place]) for place in places]
    found: dict[int, NewCharge] = {}
    for place, one in zip(places, _quoted(tx, till, asked), strict=True):
        if isinstance(one, Refusal):
            wrong[place] = _refused(departures[place], _Unfit("entered_at", one.code, one.detail))
        else:
            found[place] = _new_charge(departures[place], one)
    return found


def _quoted(tx: Connection, till: Till, asked: Sequence[AskedStay]) -> list[Priced | Refusal]:
    """Price stays, as many at a time as the tariffs take."""
    parts = [asked[start : start + quotes.QUOTES_MAX] for start in range(0, len(asked), quotes.QUOTES_MAX)]
    return [one for part in parts for one in quotes.quote_many(tx, lane=till.lane, stays=part)]


def _asked(lot: Lot, one: Departure) -> AskedStay:
    assert one.stay is not None
    return AskedStay(
        lot_id=lot.lot_id,
        plate_color=one.stay.plate_color,
        entered_at=one.stay.entered_at,
        left_at=one.left_at,
        plate=one.stay.plate,
    )


def _new_charge(one: Departure, priced: Priced) -> NewCharge:
    assert one.stay is not None
    return NewCharge(
        lot_serial=one.charge_serial, plate=one.stay.plate, plate_color=one.stay.plate_color, entered_at=one.stay.entered_at,
        left_at=one.left_at, minutes=priced.minutes, amount_fen=priced.amount_fen, tariff_text=priced.words.zh,
    )  # fmt: skip


def _unfit(one: Departure, at: datetime) -> _Unfit | None:
    """Say what is wrong with a departure by itself."""
    if one.left_at.tzinfo is None:
        return _Unfit("left_at", "time_invalid", "a time needs its offset, such as +08:00")
    if in_utc(one.left_at) > at + charges.CLOCK_TOLERANCE:
        return _Unfit("left_at", "time_in_future", "the time lies in the future; set its clock")
    if at - in_utc(one.left_at) > timedelta(days=charges.STAY_DAYS_MAX):
        return _Unfit("left_at", "too_old", "the car left more than three years ago")
    if one.charge is not None and one.charge.lot_serial != one.charge_serial:
        return _Unfit("serial", "serial_invalid", "the charge has another serial than the departure")
    return None


def _due(mine: Sequence[Charge]) -> list[Charge]:
    """Return what of a stay is due and not a debt yet."""
    return [charge for charge in mine if charge.state == "open" and not charge.is_receivable]


def _by_card(tx: Connection, till: Till, mine: Sequence[Charge]) -> frozenset[UUID]:
    """Return which charges a card has paid at the lane and its issuer decides: they are debts since the lane's record came."""
    owing = [charge.charge_id for charge in mine if charge.state == "open" and charge.is_receivable]
    return debt_store.under_way_by_card(tx, lane=till.lane, charge_ids=owing) if owing else frozenset()


def _sum(due: Sequence[Charge]) -> int:
    return sum(charge.owed_fen for charge in due)


# One car at the barrier.


class _Taken(Struct, frozen=True):
    """What became of one charge when its plate's mandate was tried. ``busy``: why nothing can be said yet."""

    charge: Charge
    state: Literal["taken", "taken_on", "paid", "card", "not", "busy"]
    busy: Why | None = None
    receipt: str | None = None


_BUSY: Final[Mapping[str, Why]] = {"payment_under_way": "being_paid", "payment_in_suspense": "in_suspense"}


def _taken(till: Till, lot: Lot, charge: Charge) -> _Taken:
    """Let a charge be taken by the plate's mandate. Calls channels."""
    try:
        made = deductions.deduct(till, lot_id=lot.lot_id, lot_serial=charge.lot_serial)
    except AlreadyPaid:
        return _Taken(charge, "paid")
    except CardUnderWay:
        return _Taken(charge, "card")
    except Conflict as busy:
        return _Taken(charge, "busy", _BUSY.get(busy.code, "being_paid"))
    if made.state == "succeeded":
        return _Taken(charge, "taken", receipt=made.receipt)
    if made.state == "pending":
        return _Taken(charge, "taken_on")
    return _Taken(charge, "busy", "being_deducted") if made.state == "unknown" else _Taken(charge, "not")


def _leave(
    till: Till, lot: Lot, departure: Departure, mine: Sequence[Charge], tried: Sequence[_Taken], message: RawMessage
) -> Departed:  # fmt: skip
    """Let a car go whose charges were taken, or make debts of what was not where it may leave first, or has left."""
    owing = [one for one in tried if one.state in ("not", "busy", "taken_on")]
    if not owing:
        why: Literal["deducted", "card", "paid"] = _WHY[next(iter(sorted(tried, key=lambda one: _RANK[one.state]))).state]
        receipts = [one.receipt for one in tried if one.receipt is not None]
        return _released(till, lot, departure, mine, why, receipt=receipts[0] if len(tried) == 1 and receipts else None)
    busy = next((one.busy for one in owing if one.busy is not None), None)
    owed_fen = sum(one.charge.owed_fen for one in owing)
    if busy is not None and not departure.gone:
        return _answer(departure, "closed", busy, owed_fen=owed_fen)
    return _owe(till, lot, departure, owing, message)


_WHY: Final[Mapping[str, Literal["deducted", "card", "paid"]]] = {"taken": "deducted", "card": "card", "paid": "paid"}
_RANK: Final[Mapping[str, int]] = {"taken": 0, "card": 1, "paid": 2}
"""Of several payees' charges the word that says most."""


def _owe(till: Till, lot: Lot, departure: Departure, owing: Sequence[_Taken], message: RawMessage) -> Departed:
    """Make debts of charges whose car may leave, or has left."""
    at, left_at = till.clock.now(), in_utc(departure.left_at)
    taken_on = all(one.state == "taken_on" for one in owing)
    due = [one.charge for one in owing]
    with till.db.begin() as tx:
        [leave] = _may_leave(tx, lot, [due], at)
        if not (leave.may_leave or taken_on or departure.gone):
            return _answer(departure, "closed", leave.reason, owed_fen=_sum(due))
        basis: Basis = "mandate" if taken_on else _basis(leave)
        left = [Left(charge.charge_id, basis, left_at) for charge in due]
        opened = open_debts(tx, lane=till.lane, left=left, evidence_id=message.message_id, at=at, ids=till.ids)
        deduction_plan.begin(tx, lane=till.lane, charge_ids=[one.charge_id for one in opened], behind=at)
        why: Why = "deducted" if taken_on else "escaped" if basis == "escaped" else "debt"
        _tell(tx, till, lot, due[0], "deducted" if taken_on else "debt", departure, at)
    return _answer(departure, "open", why, owed_fen=_sum(due))


def _may_leave(tx: Connection, lot: Lot, found: Sequence[Sequence[Charge]], at: datetime) -> list[Leave]:
    """Say of stays, each by what is due of it, whether their cars may leave first."""
    cars = [Asked(due[0].plate, due[0].plate_color, _sum(due)) for due in found]
    return leaving.ask(tx, operator_id=lot.operator_id, lot_id=lot.lot_id, cars=cars, at=at) if cars else []


def _basis(leave: Leave) -> Basis:
    if not leave.may_leave:
        return "escaped"
    return "mandate" if leave.reason == "mandate" else "policy"


def _released(
    till: Till, lot: Lot, departure: Departure, mine: Sequence[Charge], why: Literal["paid", "deducted", "free", "card"],
    *, receipt: str | None = None,
) -> Departed:  # fmt: skip
    """Let a car leave that owes nothing; the lot is told once."""
    at = till.clock.now()
    if mine:
        with till.db.begin() as tx:
            _tell(tx, till, lot, mine[0], why, departure, at)
    return _answer(departure, "open", why, receipt=receipt or _receipt(mine))


def _receipt(mine: Sequence[Charge]) -> str | None:
    """Return the number of the payment that paid a stay, where it is one."""
    settled = [one for one in mine if one.settled_by is not None]
    if len(mine) != 1 or not settled or settled[0].settled_by is None:
        return None
    return payment_number(settled[0].lane, settled[0].settled_by)


def _tell(
    tx: Connection, till: Till, lot: Lot, charge: Charge, why: Literal["paid", "deducted", "debt", "free", "card"],
    departure: Departure, at: datetime,
) -> None:  # fmt: skip
    """Write that the barrier may open, and tell the lot, once."""
    left_at = in_utc(departure.left_at)
    if not debt_store.release(tx, lane=till.lane, charge_id=charge.charge_id, reason=why, left_at=left_at, at=at):
        return
    told = events.ReleaseEvent(charge_serial=charge.lot_serial, at=at, reason=why)
    event_id: UUID = till.ids.new(at, f"release.granted {charge.charge_id}")
    event = events.NewEvent(
        event_id, lot.operator_id, lot.lot_id, charge.charge_id, charge.charge_id, told.kind, events.encode(told)
    )  # fmt: skip
    events.write(tx, lane=till.lane, rows=[event])


# Answers.


def _answer(
    one: Departure, outcome: Barrier, reason: Why, *, owed_fen: int = 0, receipt: str | None = None
) -> Departed:  # fmt: skip
    return Departed(serial=one.charge_serial, outcome=outcome, reason=reason, owed_fen=owed_fen, receipt=receipt)


def _gone(one: Departure, mine: Sequence[Charge], bases: Mapping[str, Basis], by_card: frozenset[UUID]) -> Departed:
    """Return what became of a car that has left: paid, free, paid by its card, or what it owes and why."""
    owed_fen = sum(charge.owed_fen for charge in mine if charge.state == "open" and charge.charge_id not in by_card)
    if owed_fen:
        return _answer(one, "open", "escaped" if bases.get(one.charge_serial) == "escaped" else "debt", owed_fen=owed_fen)
    if any(charge.charge_id in by_card for charge in mine):
        return _answer(one, "open", "card")
    paid = any(charge.state == "settled" for charge in mine)
    return _answer(one, "open", "paid" if paid else "free", receipt=_receipt(mine))


def _refused(one: Departure, wrong: _Unfit) -> Departed:
    return Departed(serial=one.charge_serial, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong))


def _refused_charge(one: Departure, result: Posted) -> Departed:
    return Departed(
        serial=one.charge_serial, outcome="refused", reason=result.reason or "refused", field=result.field, detail=result.detail
    )  # fmt: skip
