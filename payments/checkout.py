"""Checkout 下单: from a charge to the payer's wallet, and what became of it.

Knows orders, attempts and calls to channels; must not know HTTP, pages or any channel's wire. Called by the pages.

The order is committed, then the channel is called outside any transaction, then its answer is kept: should we stop in between,
the query that was scheduled with the order finds out.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateways import calls, routing
from gateways.calls import Line
from gateways.contract import ChannelState, CombinedRef, HandOff, Operation, OrderRef, PrepayOrder, PrepayOutcome, Result, Way
from ledger.clock import Clock
from ledger.ids import Ids, act_number, payment_number
from ledger.volley import fire
from payments import charges, fact_store, orders, results, store
from payments.errors import CardUnderWay, ChannelBusy, ChannelRefused, DebtReserved, DeductionUnderWay, NoRoute
from payments.orders import Tokens
from payments.quoting import asked_quote_store
from payments.quoting.asked_quote_store import QuoteOver
from payments.records import Attempt, Charge, Order
from payments.refunding import refund_store
from payments.results import Notice

ATTEMPTS_MAX: Final = 3
"""Most attempts in one call: a number that is dead at the channel is followed by a new one."""
ASK_AGAIN: Final = timedelta(seconds=3)
"""The result page asks the channel about a payment no more often than this."""
RESERVED_FOR: Final = timedelta(minutes=2)
"""So long a debt is kept for the phone that began to pay it; afterwards another one may take it over."""

_BY_PLATE: Final = frozenset({Way.DEDUCTION, Way.CARD})

Stage = Literal["unpaid", "waiting", "paid", "refund_due", "refunded", "taken_back", "over"]
"""unpaid: nothing tried yet. waiting: the channel has not decided. paid: this order settled the charge. refund_due: money came
that nothing is owed for (another order had settled the charge, or the amount differed); it goes back. refunded: all that this order
took has gone back. taken_back: the channel took back what this order had paid; an open charge is due again. over: not paid here."""


class Till(Struct, frozen=True):
    """What the checkout and the query jobs work with. ``query_after`` counts from one query to the next."""

    db: Engine
    lane: int
    clock: Clock
    ids: Ids
    tokens: Tokens
    line: Callable[[str], Line]
    """Gives what calls to a channel need, by the channel's name."""
    price_lock: timedelta = timedelta(minutes=15)
    query_after: tuple[timedelta, ...] = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=5))
    channels: Callable[[], tuple[str, ...]] = tuple
    """Gives the names of the channels of this installation, so that each is asked by its own schedule."""

    def schedule(self, channel: str) -> tuple[timedelta, ...]:
        """Return the pauses between queries of a channel: its own where it asks for one."""
        return self.line(channel).connected.channel.query_after or self.query_after

    def schedules(self) -> dict[str, tuple[timedelta, ...]]:
        """Return the pauses between queries by channel; ``""`` stands for all others."""
        return {"": self.query_after} | {name: self.schedule(name) for name in self.channels()}


class Payer(Struct, frozen=True, kw_only=True):
    """Who pays and how: what the channel needs to know, no more. ``payer_id`` is empty where the way needs none."""

    payer_id: str
    way: Way = Way.IN_WALLET
    ip: str | None = None
    """Address of the payer's phone."""
    return_url: str | None = None
    """Where the wallet leads the payer back to."""


class Started(Struct, frozen=True):
    """The payer can pay now, with what ``hand_off`` says. ``attempt`` stands as the channel's answer left it."""

    order: Order
    attempt: Attempt
    hand_off: HandOff


class Status(Struct, frozen=True, kw_only=True):
    """What the result page shows. ``receipt`` is the number of the payment that took money at the channel."""

    stage: Stage
    order: Order
    charge: Charge
    receipt: str | None
    channel: str | None
    taken_fen: int | None
    refunded_fen: int
    """What of it has gone back to the payer."""
    paid_at: datetime | None


def start(
    till: Till, *, lot_id: int, charge_id: UUID, token: str, channel: str, payer: Payer, part_fen: int | None = None
) -> Started:  # fmt: skip
    """Let a payer pay a charge: lock the price, make the attempt, order it at the channel, return the hand-off to the wallet.

    ``token`` comes from the quote. The same token and payer get the same live attempt again, so a second tap is harmless;
    another token is another order. May be repeated after any failure. ``part_fen`` pays a part of a debt.

    A debt is reserved for the phone that began to pay it; one that left it lying is closed out at its channel after a while.

    Raises:
        AlreadyPaid, ChargeUnknown, OrderExpired, Conflict, Refused: see ``orders.open_order``.
        DebtReserved: another phone is paying this debt.
        DeductionUnderWay: the charge is being taken by the plate's mandate at this moment.
        CardUnderWay: the car's card has paid it, and the card's issuer decides.
        NoRoute: the operator has no merchant account at this channel, or the channel has no such way.
        ChannelBusy: the channel did not answer, or not understandably; a query is scheduled and trying again is safe.
        ChannelRefused: the channel refused the order.
    """
    for _ in range(ATTEMPTS_MAX):
        try:
            begun = _begun(till, lot_id, charge_id, token, channel, payer, part_fen)
        except Reserved as reserved:
            take_over(till, reserved)
            begun = _begun(till, lot_id, charge_id, token, channel, payer, part_fen)
        attempt = begun.attempt
        if attempt.hand_off is not None and attempt.hand_off.holds(till.clock.now()):
            return Started(begun.order, attempt, attempt.hand_off)
        outcome = _ordered(till, attempt, _prepay_order(attempt, payer, begun.lot_name, begun.sub_app_id))
        if outcome.hand_off is not None:
            pending = msgspec.structs.replace(attempt, state="pending", hand_off=outcome.hand_off)
            return Started(begun.order, pending, outcome.hand_off)
        if outcome.state is not ChannelState.CLOSED:
            break
    if outcome.state is ChannelState.FAILED:
        raise ChannelRefused(f"{channel} refused the order: {outcome.reason}")
    raise ChannelBusy(f"{channel} did not take the order yet: {outcome.reason}")


def status(till: Till, *, token: str) -> Status:
    """Return what became of an order; ask the channel when its notice is still missing, at most every few seconds.

    Raises:
        OrderUnknown: no order has this token.
    """
    with till.db.begin() as tx:
        order = orders.by_token(tx, lane=till.lane, token=token)
        attempts = store.attempts(tx, lane=till.lane, order_id=order.order_id)
        asked = _ask_about(tx, till, attempts)
        if asked is None:
            return _status_now(tx, till, order, attempts)
    notices = ask(till, asked)
    with till.db.begin() as tx:
        results.apply(tx, lane=till.lane, notices=notices, at=till.clock.now(), ids=till.ids)
    with till.db.connect() as tx:
        return _status_now(tx, till, order, store.attempts(tx, lane=till.lane, order_id=order.order_id))


def _status_now(tx: Connection, till: Till, order: Order, attempts: list[Attempt]) -> Status:
    """Return what became of an order. The attempts were read first: what is seen paid has already settled the charge read here."""
    charge = charges.by_id(tx, lane=till.lane, charge_id=order.charge_id)
    paid = [attempt.payment_id for attempt in attempts if attempt.state == "succeeded"]
    gone_back = refund_store.gone_back(tx, lane=till.lane, payment_ids=paid) if paid else {}
    counting = counted(tx, [charge], paid)
    return _status(order, charge, attempts, counting, gone_back, till.clock.now())


def counted(tx: Connection, found: Sequence[Charge], payment_ids: Sequence[UUID]) -> set[UUID | None]:
    """Return which of the payments count for these charges: those that settled them and, of debts, those that paid a part."""
    parts = [charge.lane for charge in found if charge.is_receivable]
    some = fact_store.counted(tx, lane=parts[0], payment_ids=payment_ids) if parts and payment_ids else set()
    return {charge.settled_by for charge in found} | some


def ask(till: Till, attempt: Attempt) -> list[Notice]:
    """Ask the channel about an attempt and return its word, to be applied. An answer that proves nothing is ``unknown``.

    Calls the channel; must not run inside a transaction.
    """
    if attempt.act_id is not None:
        return ask_together(till, [attempt])
    line = till.line(attempt.channel)
    call = calls.query(line, reference(attempt), subject=attempt.payment_id, occasion=f"{attempt.payment_id} {attempt.queries + 1}")
    own = (result for result in call.outcome.results if result.order_no == payment_number(attempt.lane, attempt.payment_id))
    result = next(own, None) or word(attempt, ChannelState.UNKNOWN)
    return [Notice(call.message, result, "query")]


def ask_together(till: Till, attempts: Sequence[Attempt]) -> list[Notice]:
    """Ask the channel about attempts that are legs of one act, in one call, and return its word about each, to be applied.

    An attempt that is no leg is asked about by itself. Calls the channel; must not run inside a transaction.
    """
    first = attempts[0]
    if first.act_id is None:
        return [notice for attempt in attempts for notice in ask(till, attempt)]
    ref = combined_reference(attempts)
    occasion = f"{first.act_id} {first.payment_id} {first.queries + 1}"
    call = calls.combined_query(till.line(first.channel), ref, subject=first.payment_id, occasion=occasion)
    told = {result.order_no: result for result in call.outcome.results}
    words = [told.get(one.order_no) or word(attempt, ChannelState.UNKNOWN) for one, attempt in zip(ref.legs, attempts, strict=True)]
    return [Notice(call.message, one, "query", again=number > 0) for number, one in enumerate(words)]


def whole(till: Till, acts: Sequence[Sequence[Attempt]]) -> dict[UUID | None, list[Attempt]]:
    """Return all legs of acts, by act: a combined order is closed as a whole, whoever holds the other legs."""
    ids = [act[0].act_id for act in acts if act[0].act_id is not None]
    if not ids:
        return {}
    with till.db.connect() as tx:
        legs = store.attempts_of_acts(tx, lane=till.lane, act_ids=ids)
    return {act_id: [leg for leg in legs if leg.act_id == act_id] for act_id in ids}


def close_and_ask(till: Till, act: Sequence[Attempt], *, legs: Sequence[Attempt]) -> list[Notice]:
    """Close one act at its channel, where that can be, and ask about it. The answer to the close is kept; the query decides.

    ``legs`` are all legs of the act. Calls the channel; must not run inside a transaction.
    """
    line, first = till.line(act[0].channel), act[0]
    if Operation.CLOSE not in line.connected.channel.supports:
        return ask_together(till, act)
    occasion = f"close {first.payment_id} {first.queries}"
    if first.act_id is None:
        message = calls.close(line, reference(first), subject=first.payment_id, occasion=occasion).message
    else:
        message = calls.combined_close(line, combined_reference(legs), subject=first.payment_id, occasion=occasion).message
    return [Notice(message, None, "query"), *ask_together(till, act)]


def check_free(
    tx: Connection, till: Till, found: Sequence[Charge], *, not_of: Sequence[UUID], at: datetime
) -> None:  # fmt: skip
    """Raise Reserved when debts among these charges are being paid on another phone. The caller holds the charges."""
    debts = [charge.charge_id for charge in found if charge.is_receivable]
    elsewhere = store.paying(tx, lane=till.lane, charge_ids=debts, not_of=not_of) if debts else []
    if elsewhere:
        raise Reserved(elsewhere, at=at)


def check_untaken(attempts: Iterable[Attempt]) -> None:
    """Raise when the charge of these attempts is being taken by its car's card or a mandate at this moment. Pure."""
    ways = {one.way for one in attempts if one.state in orders.LIVE}
    if Way.CARD in ways:
        raise CardUnderWay("the car's card has paid this charge at the lane; its issuer decides")
    if Way.DEDUCTION in ways:
        raise DeductionUnderWay("this charge is being deducted by the plate's mandate; look again in a moment")


def check_unreserved(attempts: Iterable[Attempt], *, not_of: Collection[UUID], at: datetime) -> None:
    """Raise Reserved when a debt of which these are the attempts is being paid on another phone. Pure."""
    elsewhere = [one for one in attempts if one.state in orders.LIVE and one.order_id not in not_of and one.way not in _BY_PLATE]
    if elsewhere:
        raise Reserved(elsewhere, at=at)


class Reserved(DebtReserved):
    """Says with which attempts these debts are being paid; ``is_young``: whoever pays them has just begun."""

    def __init__(self, attempts: Sequence[Attempt], *, at: datetime) -> None:
        super().__init__("this debt is being paid on another phone; look again in a few minutes")
        self.attempts = attempts
        self.is_young = any(at - attempt.created_at < RESERVED_FOR for attempt in attempts)


def take_over(till: Till, reserved: Reserved) -> None:
    """Let a payer have a debt that another phone began with and left: what it ordered is closed at its channel first.

    Calls channels; must not run inside a transaction.

    Raises:
        DebtReserved: the other phone has just begun, or its channel does not prove that it cannot pay any more.
    """
    if reserved.is_young:
        raise reserved
    at = till.clock.now()
    with till.db.begin() as tx:
        mine = store.claim_these(
            tx, lane=till.lane, payment_ids=[one.payment_id for one in reserved.attempts], at=at, until=at + ASK_AGAIN
        )  # fmt: skip
    acts: dict[UUID, list[Attempt]] = {}
    for one in mine:
        acts.setdefault(one.act_id or one.payment_id, []).append(one)
    legs = whole(till, list(acts.values()))
    notices = [word for act in acts.values() for word in close_and_ask(till, act, legs=legs.get(act[0].act_id, act))]
    with till.db.begin() as tx:
        results.apply(tx, lane=till.lane, notices=notices, at=till.clock.now(), ids=till.ids)
        store.release(tx, lane=till.lane, payment_ids=[one.payment_id for one in mine])
        now = [store.attempt(tx, lane=till.lane, payment_id=one.payment_id) for one in reserved.attempts]
    if any(one is not None and one.state in orders.LIVE for one in now):
        raise reserved


def combined_reference(legs: Sequence[Attempt]) -> CombinedRef:
    """Return how the channel knows an act; ``legs`` are those of its legs that are meant, at least one."""
    act_id = legs[0].act_id
    assert act_id is not None
    return CombinedRef(combined_no=act_number(legs[0].lane, act_id), legs=tuple(reference(leg) for leg in legs))


def reference(attempt: Attempt) -> OrderRef:
    """Return how the channel knows an attempt."""
    return OrderRef(
        order_no=payment_number(attempt.lane, attempt.payment_id), merchant_no=attempt.merchant_no, created_at=attempt.created_at,
        expires_at=attempt.expires_at, way=attempt.way, trade_no=attempt.trade_no, amount_fen=attempt.taken_fen,
        paid_at=attempt.succeeded_at, key_ref=attempt.key_ref,
    )  # fmt: skip


def word(attempt: Attempt, state: ChannelState) -> Result:
    """Return a channel's word about an attempt that says no more than its state."""
    return Result(
        channel=attempt.channel,
        state=state,
        order_no=payment_number(attempt.lane, attempt.payment_id),
        provider_no=attempt.provider_no,
        merchant_no=attempt.merchant_no,
    )


class _Begun(Struct, frozen=True):
    """An attempt that is committed, and what else its order at the channel says."""

    order: Order
    attempt: Attempt
    lot_name: str
    sub_app_id: str | None


def _begun(
    till: Till, lot_id: int, charge_id: UUID, token: str, channel: str, payer: Payer, part_fen: int | None
) -> _Begun:  # fmt: skip
    """Commit the order and the attempt before anything is said to the channel. Holds the charge, then the order; three messages."""
    at, wire, lane = till.clock.now(), till.line(channel).connected.channel, till.lane
    if payer.way not in wire.ways:
        raise NoRoute(f"channel {channel} cannot be paid this way: {payer.way.value}")
    digest = orders.digest_of(token)
    held = store.holding_charge(lane=lane, charge_id=charge_id)
    price = asked_quote_store.until_when(lane=lane, charge_ids=[charge_id])
    of_token = store.which_order(lane=lane, digest=digest, lock=True)
    at_charge = store.which_attempts_at(lane=lane, charge_id=charge_id)
    payee = store.which_payee(lane=lane, charge_id=charge_id)
    with till.db.begin() as tx:
        found = fire(tx, [held.shot, price.shot, of_token.shot, at_charge.shot])
        lock = asked_quote_store.lock_until(price.read(found[1]), at=at, wanted=till.price_lock)
        charge = orders.payable(held.read(found[0]), lot_id=lot_id)
        known, attempts = of_token.read(found[2]), at_charge.read(found[3])
        made = orders.new_order(charge, token=token, at=at, ids=till.ids, price_lock=lock, part_fen=part_fen)
        order = known or made
        orders.check_order(order, charge_id=charge_id, at=at)
        check_untaken(attempts)
        if charge.is_receivable:
            check_unreserved(attempts, not_of=[order.order_id], at=at)
        elif order.amount_fen != charge.owed_fen:  # a discount came or went since
            raise QuoteOver("the price has changed since; look it up again")
        routes = routing.which_routes(operator_id=charge.operator_id)
        told = fire(tx, [routes.shot, payee.shot])
        accounts, paid = routes.read(told[0]), payee.read(told[1])
        route = routing.chosen(accounts, channel=channel, at=at)
        if route is None:
            raise NoRoute(f"operator {charge.operator_id} takes no {channel} payments now")
        mine = [one for one in attempts if one.order_id == order.order_id]
        attempt = orders.live_attempt(mine, order=order, channel=channel, payer_id=payer.payer_id, way=payer.way)
        if attempt is None:
            attempt = orders.new_attempt(
                order, route=route, provider_no=wire.provider_no, payer_id=payer.payer_id, way=payer.way, at=at, ids=till.ids,
                book_id=paid.book_id, number=len(mine) + 1,
            )  # fmt: skip
            _begin(tx, order, attempt, digest=None if known else digest, next_query_at=at + till.schedule(channel)[0])
        sub_app_id = next(one.sub_app_id for one in accounts if one.route_id == attempt.route_id)
    return _Begun(order, attempt, paid.lot_name, sub_app_id)


def _begin(tx: Connection, order: Order, attempt: Attempt, *, digest: bytes | None, next_query_at: datetime) -> None:
    """Write an attempt, and its order when that is new (``digest`` of its token). Raises Conflict: the token is another's."""
    paying = store.inserting_payment(attempt, next_query_at=next_query_at)
    if digest is None:
        fire(tx, [paying], and_commit=True)
        return
    [inserted] = fire(tx, [store.inserting_order(order, digest=digest)])
    if not inserted:  # somebody began with another charge and the same token at the same moment
        raise orders.taken()
    fire(tx, [paying], and_commit=True)


def turn(attempt: Attempt) -> str:
    """Tell the first order of an attempt from the one that fetches a fresh hand-off: their answers are messages of their own."""
    return "" if attempt.hand_off is None else f" after {attempt.hand_off.valid_until}"


def order_at_channel(till: Till, attempt: Attempt, payer: Payer) -> PrepayOutcome:
    """Make the order at the channel and keep its answer. The order depends on the attempt alone, so a repeat is identical."""
    payee = store.which_payee(lane=attempt.lane, charge_id=attempt.charge_id)
    routes = routing.which_routes(operator_id=attempt.operator_id)
    with till.db.begin() as tx:
        told = fire(tx, [payee.shot, routes.shot], and_commit=True)
    sub_app_id = next(one.sub_app_id for one in routes.read(told[1]) if one.route_id == attempt.route_id)
    return _ordered(till, attempt, _prepay_order(attempt, payer, payee.read(told[0]).lot_name, sub_app_id))


def _ordered(till: Till, attempt: Attempt, prepay: PrepayOrder) -> PrepayOutcome:
    call = calls.prepay(
        till.line(attempt.channel), prepay, subject=attempt.payment_id, occasion=f"{attempt.payment_id}{turn(attempt)}"
    )  # fmt: skip
    outcome = call.outcome
    with till.db.begin() as tx:
        if outcome.hand_off is not None:
            store.keep_hand_off(tx, lane=till.lane, payment_id=attempt.payment_id, hand_off=outcome.hand_off)
        notice = Notice(call.message, word(attempt, outcome.state), "query")
        results.apply(tx, lane=till.lane, notices=[notice], at=till.clock.now(), ids=till.ids, and_commit=True)
    return outcome


def _prepay_order(attempt: Attempt, payer: Payer, lot_name: str, sub_app_id: str | None) -> PrepayOrder:
    return PrepayOrder(
        order_no=payment_number(attempt.lane, attempt.payment_id),
        merchant_no=attempt.merchant_no,
        description=f"停车费 {lot_name}",
        amount_fen=attempt.amount_fen,
        created_at=attempt.created_at,
        expires_at=attempt.expires_at,
        way=attempt.way,
        payer_id=payer.payer_id or None,
        payer_ip=payer.ip,
        return_url=payer.return_url,
        sub_app_id=sub_app_id,
        key_ref=attempt.key_ref,
    )


def _ask_about(tx: Connection, till: Till, attempts: list[Attempt]) -> Attempt | None:
    """Choose the newest undecided attempt and claim it, unless it was asked about just now."""
    at = till.clock.now()
    for attempt in attempts:
        if attempt.state in orders.LIVE and at - attempt.created_at >= ASK_AGAIN:
            return store.claim_one(tx, lane=attempt.lane, payment_id=attempt.payment_id, at=at, until=at + ASK_AGAIN)
    return None


def _status(
    order: Order, charge: Charge, attempts: list[Attempt], counting: set[UUID | None], gone_back: Mapping[UUID, int],
    at: datetime,
) -> Status:  # fmt: skip
    """Choose what matters most to the payer: money first, then what may still come."""
    taken = [attempt for attempt in attempts if attempt.state == "succeeded"]
    paid = [attempt for attempt in taken if attempt.taken_back_at is None]
    settling = [attempt for attempt in paid if attempt.payment_id in counting]
    shown = next(iter(settling or paid or taken), None)
    live = [attempt for attempt in attempts if attempt.state in orders.LIVE]
    stage: Stage
    if paid and all(gone_back.get(attempt.payment_id) == attempt.taken_fen for attempt in paid):
        stage = "refunded"
    elif settling:
        owed_back = [attempt for attempt in paid if attempt not in settling and not gone_back.get(attempt.payment_id)]
        stage = "refund_due" if owed_back else "paid"
    elif paid:
        stage = "refund_due"
    elif live:
        stage = "waiting"
    elif taken:
        stage = "taken_back"
    else:
        stage = "over" if attempts or charge.state != "open" or at >= order.expires_at else "unpaid"
    return Status(
        stage=stage,
        order=order,
        charge=charge,
        receipt=None if shown is None else payment_number(shown.lane, shown.payment_id),
        channel=None if shown is None else shown.channel,
        taken_fen=None if shown is None else shown.taken_fen,
        refunded_fen=0 if shown is None else gone_back.get(shown.payment_id, 0),
        paid_at=None if shown is None else shown.succeeded_at,
    )
