"""Take what lanes charged on cards: each record is proof of what a card owes, kept before the barrier opens.

Knows records, lots, routes and charges; must not know packages, HTTP or a wire. Called by the API.
A record that is refused is refused by itself; the lot keeps it, mends it and brings it again: a lost record is lost money.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages, routing
from gateways.contract import MerchantAccount, RawMessage
from gateways.etc import record as records
from gateways.etc import uploads
from gateways.etc.codes import PreCheck
from gateways.etc.record import OVERDUE_AFTER_DEFAULT, PackingRules, TransactionRecord
from ledger.errors import Refused
from ledger.ids import payment_number
from payments import orders, store
from payments.cards import store as cards
from payments.cards.records import CHANNEL, CardRow, NewCardCharge, TakenCard
from payments.checkout import Till
from payments.errors import NoRoute
from payments.lots import Lot
from payments.mandates import deduction_store
from payments.owed.debts import Left, open_debts
from payments.records import Charge

RECORDS_MAX: Final = 1_000
"""Most records in one call."""
OPERATION: Final = "lane_records"
"""What a lot's call is named in the kept messages."""
UNDECIDED_FOR: Final = timedelta(days=90)
"""So long a card's payment may wait for its issuer: disputes are settled within days."""

_PRECHECKS: Final = {
    PreCheck.TAC: ("tac_wrong", "tac", "the TAC cannot be one; read it from the card again"),
    PreCheck.FEE: ("fee_above_cap", "fee_fen", "the fee is below zero or above the cap of one charge; let a person look"),
    PreCheck.CARD_NO: ("card_number_wrong", "card_no", "network and card number have at most 20 digits"),
    PreCheck.ENTRY_AFTER_EXIT: ("entry_after_exit", "entered_at", "the car left before it came; set the lane's clock"),
    PreCheck.LOT_NOT_ACTIVE: ("lot_number_differs", "lot_no", "this is not the lot's number at the clearing party"),
    PreCheck.BALANCES: ("balances_differ", "post_balance_fen", "before minus after is not the fee"),
    PreCheck.OVERDUE: ("record_overdue", "happened_at", "issuers do not take a record this old; the charge stays with the plate"),
}
_JSON_NAMES: Final = {field.name: field.encode_name for field in msgspec.structs.fields(TransactionRecord)}


class Rules(Struct, frozen=True):
    """What records are measured against: facts of the agreement with the clearing party."""

    own_network: str = "3201"
    """Card network whose TACs have a form that is known."""
    overdue_after: timedelta = OVERDUE_AFTER_DEFAULT


class _Wrong(Refused):
    """A record that cannot be taken; carries the name of the field."""

    def __init__(self, reason: str, field: str, detail: str) -> None:
        super().__init__(detail, code=reason)
        self.field = _JSON_NAMES.get(field, field)


def take(till: Till, *, lot: Lot, charges: Sequence[NewCardCharge], body: bytes, rules: Rules) -> list[TakenCard]:
    """Take a lot's records, set by set. ``body`` is the call as it came: the evidence.

    Each record becomes a payment that waits for its issuer; its charge is owed by then (1122) and nobody else is asked to pay it.
    May be called again with the same records: they are ``already``. A charge that was paid otherwise does not stop a record: the
    card has been charged, so the money comes and is refunded as a second payment.

    Raises:
        Refused: ``too_many_records``.
        NoRoute: the operator has no account at the clearing party now.
    """
    if len(charges) > RECORDS_MAX:
        raise Refused(f"at most {RECORDS_MAX} records fit into one call, not {len(charges)}", code="too_many_records")
    at, wire = till.clock.now(), till.line(CHANNEL).connected.channel
    with till.db.begin() as tx:
        route = routing.choose(tx, operator_id=lot.operator_id, channel=CHANNEL, at=at)
        if route is None:
            raise NoRoute("the operator has no account at the clearing party; enter one with `tongting route add`")
        packing = PackingRules(
            own_network=rules.own_network, cap_fen=wire.amount_fen_max, overdue_after=rules.overdue_after,
            lots_active=frozenset({deduction_store.lot_number(tx, lot_id=lot.lot_id, channel=CHANNEL)}),
        )  # fmt: skip
        owed = _charges(tx, till.lane, lot, charges)
        judged = [_judged(one, owed, packing, at) for one in charges]
        message = messages.received(
            wire, operation=OPERATION, direction="in", verdict="verified", reason=None, headers={}, body=body, at=at, ids=till.ids,
            occasion=f"{lot.lot_id} {at.isoformat()}",
        )  # fmt: skip
        rows = _rows(
            till, lot, route, [one for one in judged if not isinstance(one, TakenCard)], owed, wire.provider_no, message, at
        )
        created = cards.insert_cards(tx, lane=till.lane, rows=rows, at=at) if rows else set()
        _write(tx, till, [row for row in rows if row.number in created], route, message, at)
        known = cards.cards_by_number(tx, lane=till.lane, numbers=[row.number for row in rows]) if rows else {}
    bodies = {row.number: row for row in rows}
    return [one if isinstance(one, TakenCard) else _taken(till.lane, one, bodies, known, created) for one in judged]


def _charges(tx: Connection, lane: int, lot: Lot, given: Sequence[NewCardCharge]) -> dict[str, Charge]:
    serials = sorted({one.lot_serial for one in given if one.lot_serial})
    return store.charges_by_serial(tx, lane=lane, lot_id=lot.lot_id, serials=serials) if serials else {}


def _judged(one: NewCardCharge, owed: dict[str, Charge], rules: PackingRules, at: datetime) -> NewCardCharge | TakenCard:
    try:
        _check(one, owed, rules, at)
    except _Wrong as wrong:
        return TakenCard(
            number=one.record.charge_id, outcome="refused", reason=wrong.code, field=wrong.field, detail=str(wrong)
        )  # fmt: skip
    return one


def _check(one: NewCardCharge, owed: dict[str, Charge], rules: PackingRules, at: datetime) -> None:
    """Raise _Wrong for a record that must not be packed, or does not fit the charge that it pays."""
    record = one.record
    if faults := records.form_faults(record):
        raise _Wrong("record_form", faults[0], f"the form of {', '.join(_JSON_NAMES[name] for name in faults)} is wrong")
    if found := records.precheck(record, rules=rules, now=at):
        raise _Wrong(*_PRECHECKS[found[0]])
    if not record.fee_fen:
        if one.lot_serial:
            raise _Wrong("fee_differs", "fee_fen", "a stay that cost nothing has no charge; leave its serial out")
        return
    charge = owed.get(one.lot_serial)
    if charge is None:
        raise _Wrong("charge_unknown", "serial", "post the charge first, then the card's record with the charge's serial")
    if charge.amount_fen != record.fee_fen:
        raise _Wrong(
            "fee_differs", "fee_fen", f"the card paid {record.fee_fen} fen and the charge is {charge.amount_fen}; let a person look"
        )  # fmt: skip


def _rows(
    till: Till, lot: Lot, route: MerchantAccount, good: Sequence[NewCardCharge], owed: dict[str, Charge], provider_no: str,
    message: RawMessage, at: datetime,
) -> list[CardRow]:  # fmt: skip
    """Return what is inserted, by number; of a number that stands twice the first counts."""
    rows: dict[str, CardRow] = {}
    for one in good:
        record = one.record
        if record.charge_id in rows:
            continue
        rows[record.charge_id] = CardRow(
            record_id=till.ids.new(at, f"card {record.charge_id}"),
            number=record.charge_id,
            operator_id=lot.operator_id,
            lot_id=lot.lot_id,
            charge_id=owed[one.lot_serial].charge_id if record.fee_fen else None,
            provider_no=provider_no,
            merchant_no=route.merchant_no,
            service_no=record.clearing_party_no,
            issuer_no=record.issuer_no,
            fee_fen=record.fee_fen,
            happened_at=record.happened_at,
            body=body_of(record),
            evidence_id=message.message_id,
            state="new",
        )
    return [rows[number] for number in sorted(rows)]


def body_of(record: TransactionRecord) -> bytes:
    """Return a record as it is kept; the same record gives the same bytes."""
    return msgspec.json.encode(uploads.record_body(record), order="sorted")


def _write(tx: Connection, till: Till, rows: Sequence[CardRow], route: MerchantAccount, message: RawMessage, at: datetime) -> None:
    """Keep the evidence of new records, make their payments, and book what their charges owe."""
    if not rows:
        return
    messages.keep(tx, lane=till.lane, messages=[message])
    paying = [row for row in rows if row.charge_id is not None]
    if not paying:
        return
    made = [till.ids.new(at, f"order of card {row.number}") for row in paying]
    tokens = [orders.digest_of(till.tokens.new(f"card {row.number}")) for row in paying]
    digests = [(token, orders.payer_digest(order, row.number)) for token, order, row in zip(tokens, made, paying, strict=True)]
    cards.insert_payments(
        tx, lane=till.lane, rows=paying, orders=made, digests=digests, route=route, at=at, expires_at=at + UNDECIDED_FOR,
    )  # fmt: skip
    _owe(tx, till, paying, message, at)


def _owe(tx: Connection, till: Till, rows: Sequence[CardRow], message: RawMessage, at: datetime) -> None:
    """Book charges whose cars have left: earned by the operator, owed until the issuer pays."""
    left = [Left(row.charge_id, "card", row.happened_at) for row in rows if row.charge_id is not None]
    open_debts(tx, lane=till.lane, left=left, evidence_id=message.message_id, at=at, ids=till.ids)


def _taken(
    lane: int, one: NewCardCharge, rows: dict[str, CardRow], known: dict[str, CardRow], created: set[str]
) -> TakenCard:  # fmt: skip
    number = one.record.charge_id
    kept, mine = known[number], rows[number]
    if (body_of(one.record), mine.lot_id, mine.charge_id) != (kept.body, kept.lot_id, kept.charge_id):
        return TakenCard(
            number=number, outcome="refused", reason="content_differs", field="id",
            detail=f"record {number} was brought before with other content; a lane's numbers are never used again",
        )  # fmt: skip
    receipt = None if kept.charge_id is None else payment_number(lane, kept.record_id)
    fresh = number in created
    created.discard(number)
    return TakenCard(number=number, outcome="created" if fresh else "already", receipt=receipt)
