"""What follows from a lot's answer: its prices become charges, and a newer price of the same stay takes the place of the older one.

Knows quotes and the charges they become; must not know HTTP or how lots are asked. Called by ``asking``.
Source: docs/QUOTES.md, section 4.

A price is a charge under the lot's serial, good until a moment. The charge of an older price is credited in full without a
document: it was never a bill. What somebody is paying is left alone. So of one stay there is at most one price that can be paid.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways.parking.quotes import LotQuote
from ledger.clock import checked as in_utc
from ledger.ids import Ids
from payments import charges, store
from payments.discounts import effects as discounts
from payments.lots import Lot
from payments.quoting import asked_quote_store, reading
from payments.quoting.asked_quote_store import Known, NewQuote, Refusal
from payments.quoting.reading import refusal
from payments.records import NewCharge
from payments.splitting import splits

LOG: Final = logging.getLogger("tongting.quotes")


class Plan(Struct, frozen=True):
    """What follows from an answer: charges to post, prices that stand longer, and whose place is taken."""

    post: tuple[LotQuote, ...]
    keep_price: tuple[tuple[UUID, datetime], ...]
    """A part of it is paid: the stay keeps that price, for as long as the newer one would stand."""
    supersede: tuple[tuple[UUID, str], ...]
    end: tuple[UUID, ...]
    """The answer does not name these stays any more."""
    refused: tuple[Refusal, ...]


def take(
    tx: Connection, *, lane: int, lot: Lot, plate: str, quotes: Sequence[LotQuote], evidence_id: UUID, asked_at: datetime,
    at: datetime, ids: Ids,
) -> list[Refusal]:  # fmt: skip
    """Take a lot's answer about a plate: new prices become charges, the same price stands longer, older ones make place.

    What the answer does not name any more ends, unless somebody is paying it. A wrong quote is refused by itself, kept and logged;
    the others stand. May be repeated. Holds the lot's quotes, then the charges in the order of their ids.

    Args:
        plate: That was asked about, as ``plates.checked`` gives it.
        asked_at: When it was asked: an answer to a later question is newer, whichever comes first.

    Returns:
        The quotes that were refused.
    """
    good, refused = reading.sort(quotes, plate, at)
    asked_quote_store.hold_lot(tx, lot_id=lot.lot_id)
    serials, stays = [one.quote.serial for one in good], [one.quote.stay_serial for one in good]
    touched = asked_quote_store.known_ids(tx, lane=lane, lot_id=lot.lot_id, plate=plate, serials=serials, stays=stays)
    store.hold_charges(tx, lane=lane, charge_ids=touched)
    known = asked_quote_store.known(tx, lane=lane, plate=plate, charge_ids=touched)
    named = {name for quote in quotes if quote.amount_fen for name in (quote.serial, quote.stay_serial)}
    plan = decide([one.quote for one in good], known, asked_at=asked_at, named=named)
    refused += plan.refused
    new = {one.quote.serial: one.charge for one in good}
    refused += _carry_out(tx, lane, lot, plan, new, known, evidence_id, asked_at, at, ids)
    if plan.post:
        discounts.meet(tx, lane=lane, lot_id=lot.lot_id, numbers=[plate], quotes=True, at=at, ids=ids)
    for one in refused:
        LOG.warning("lot %s: quote %s is not taken: %s %s", lot.code, one.serial, one.reason, one.detail)
    asked_quote_store.keep_refusals(
        tx, lane=lane, lot_id=lot.lot_id, found=refused, evidence_id=evidence_id, at=at,
        refusal_ids=[ids.new(at, f"quote refusal {evidence_id} {number}") for number, _ in enumerate(refused)],
    )  # fmt: skip
    return refused


def decide(quotes: Sequence[LotQuote], known: Sequence[Known], *, asked_at: datetime, named: set[str]) -> Plan:
    """Return what follows from the good quotes of an answer and the charges that are quotes already. Pure.

    Args:
        quotes: Each stay and each serial once.
        known: As they are held.
        named: Serials and stays that the answer still has a price for.
    """
    post: list[LotQuote] = []
    keep_price: list[tuple[UUID, datetime]] = []
    superseded: list[tuple[UUID, str]] = []
    refused: list[Refusal] = []
    for quote in quotes:
        same = [one for one in known if one.serial == quote.serial]
        if wrong := _contradiction(quote, same):
            refused.append(wrong)
            continue
        older = [one for one in known if one.stay_serial == quote.stay_serial and one.serial != quote.serial and one.is_due]
        if any(one.is_live or one.asked_at > asked_at for one in older):
            continue
        if any(one.is_begun for one in older):
            keep_price += [(one.charge_id, quote.valid_until) for one in older]
            continue
        post.append(quote)
        superseded += [(one.charge_id, quote.serial) for one in older]
    taken = {charge_id for charge_id, _ in superseded}
    ended = tuple(
        one.charge_id
        for one in known
        if one.is_of_plate and one.is_due and not (one.is_live or one.is_begun) and one.asked_at <= asked_at
        and not {one.serial, one.stay_serial} & named and one.charge_id not in taken
    )  # fmt: skip
    return Plan(tuple(post), tuple(keep_price), tuple(superseded), ended, tuple(refused))


def _contradiction(quote: LotQuote, same: Sequence[Known]) -> Refusal | None:
    """Say why a serial that is a quote already cannot be this one."""
    for one in same:
        if one.stay_serial != quote.stay_serial:
            return refusal(quote, "stay_serial", "content_differs", "this serial was the quote of another stay")
        if one.superseded_by is not None:
            words = f"quote {one.superseded_by} took its place; a price that comes back needs a new serial"
            return refusal(quote, "serial", "serial_superseded", words)
    return None


def _carry_out(
    tx: Connection, lane: int, lot: Lot, plan: Plan, new: dict[str, NewCharge], known: Sequence[Known], evidence_id: UUID,
    asked_at: datetime, at: datetime, ids: Ids,
) -> list[Refusal]:  # fmt: skip
    """Write what was decided, set by set. Returns the quotes whose charges were refused; what they would replace stays."""
    asked = [new[quote.serial] for quote in plan.post]
    posted = charges.post(tx, lane=lane, lot=lot, charges=asked, at=at, ids=ids) if asked else []
    outcomes = {one.lot_serial: one for one in posted}
    refused = [
        Refusal(serial=one.lot_serial, field=one.field or "", reason=one.reason or "", detail=one.detail or "")
        for one in posted
        if one.outcome == "refused"
    ]
    wrong = {one.serial for one in refused}
    created = [quote for quote in plan.post if outcomes[quote.serial].outcome == "created"]
    found = splits.charges_of(tx, lane=lane, lot_id=lot.lot_id, serials=[one.serial for one in created]) if created else {}
    rows = [
        NewQuote(charge_id=charge.charge_id, serial=one.serial, stay_serial=one.stay_serial, valid_until=in_utc(one.valid_until))
        for one in created
        for charge in found[one.serial]
    ]
    asked_quote_store.insert_quotes(tx, lane=lane, lot_id=lot.lot_id, quotes=rows, evidence_id=evidence_id, asked_at=asked_at)
    until = {quote.serial: in_utc(quote.valid_until) for quote in plan.post if outcomes[quote.serial].outcome == "already"}
    longer = [(one.charge_id, until[one.serial]) for one in known if one.serial in until and one.asked_at <= asked_at]
    longer += [(charge_id, in_utc(moment)) for charge_id, moment in plan.keep_price]
    asked_quote_store.extend(
        tx, lane=lane, charge_ids=[one for one, _ in longer], until=[moment for _, moment in longer], asked_at=asked_at
    )  # fmt: skip
    over = [(charge_id, by) for charge_id, by in plan.supersede if by not in wrong]
    if over:
        new_ids = {serial: charges_of[0].charge_id for serial, charges_of in found.items() if charges_of}
        discounts.move(tx, lane=lane, onto={charge_id: new_ids.get(by) for charge_id, by in over}, at=at, ids=ids)
    asked_quote_store.supersede(tx, lane=lane, charge_ids=[one for one, _ in over], by=[by for _, by in over], at=at)
    asked_quote_store.end(tx, lane=lane, charge_ids=plan.end, at=asked_at)
    return refused
