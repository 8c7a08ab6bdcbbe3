"""Baskets 合并缴费: several charges of several operators, paid in as few acts as the payer's wallet allows.

Knows orders, attempts and calls to channels; must not know HTTP, pages or any channel's wire. Called by the pages.

Each leg is a payment of its own: its own merchant account, its own entry in its own operator's book, its own refunds. Where a
channel combines, several legs are one act at the wallet, all or nothing; otherwise the payer is led from act to act. What is
paid is paid: a basket of which a part was paid says so, and the rest can be gone on with.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from gateways import calls, routing
from gateways.contract import ChannelState, CombinedOrder, HandOff, Leg, MerchantAccount, Operation, PrepayOutcome
from ledger.errors import Conflict, Refused
from ledger.ids import act_number, payment_number
from payments import basket_store, checkout, orders, results, store
from payments.basket_plan import Cut, Limits, Owed, allocated, cut
from payments.basket_store import Basket, NewPayment
from payments.checkout import ASK_AGAIN, Payer, Till
from payments.errors import (
    AlreadyPaid,
    ChannelBusy,
    ChannelRefused,
    ChargeUnknown,
    DeductionUnderWay,
    NoRoute,
    OrderExpired,
    OrderUnknown,
    PartRefused,
)
from payments.orders import LIVE, digest_of, payer_digest
from payments.quoting import asked_quote_store
from payments.quoting.asked_quote_store import QuoteOver
from payments.records import Attempt, Charge
from payments.refunding import refund_store
from payments.results import Notice

CHARGES_MAX: Final = 50
"""Most charges in one basket."""
OPEN_FOR: Final = timedelta(hours=2)
"""How long a basket's page can be used to pay: led from act to act a payer may take a while."""

LegStage = Literal["unpaid", "waiting", "paid", "paid_elsewhere", "price_over", "refund_due", "refunded"]
"""paid_elsewhere: the charge was settled by a payment that is not of this basket. price_over: its lot gave another price since, or
none; it is left out until it is looked up again. The others as in ``checkout.Stage``."""


class LegStatus(Struct, frozen=True, kw_only=True):
    """One charge of a basket as its page shows it."""

    charge: Charge
    stage: LegStage
    receipt: str | None = None
    channel: str | None = None
    paid_fen: int = 0
    """What the basket has paid of it."""
    refunded_fen: int = 0


class Status(Struct, frozen=True, kw_only=True):
    """What the basket's page shows. ``open_fen`` is what is still to be paid, ``paid_fen`` what this basket has paid."""

    basket: Basket
    legs: tuple[LegStatus, ...]
    cuts: Mapping[str, Cut]
    """By channel: how what is open can be paid with each wallet."""
    open_fen: int
    paid_fen: int
    waiting: bool
    """A channel has not decided yet."""
    undecided: Attempt | None
    """The newest payment that is waited for."""


class Started(Struct, frozen=True):
    """The payer can pay one act now, with what ``hand_off`` says."""

    basket: Basket
    attempts: tuple[Attempt, ...]
    hand_off: HandOff


def open_basket(
    tx: Connection, *, till: Till, lot_id: int, charge_ids: Sequence[UUID], token: str, at: datetime,
    amount_fen: int | None = None,
) -> Basket:  # fmt: skip
    """Put charges into a basket for whoever holds ``token``; the same token gives the same basket again.

    With ``amount_fen`` no more than that is paid: the oldest debts first, in the order given, the last of them in part.

    Raises:
        ChargeUnknown: one of them is none of ours.
        AlreadyPaid: all of them are settled.
        Refused: ``basket_size``, none or more than ``CHARGES_MAX``. PartRefused: the amount is not a part of what is due.
        Conflict: ``token_taken``, the token belongs to a basket of other charges.
    """
    wanted = list(dict.fromkeys(charge_ids))
    if not 0 < len(wanted) <= CHARGES_MAX:
        raise Refused(f"a basket has 1 to {CHARGES_MAX} charges, not {len(wanted)}", code="basket_size")
    found = {charge.charge_id: charge for charge in store.charges_by_ids(tx, lane=till.lane, charge_ids=wanted)}
    if len(found) != len(wanted):
        raise ChargeUnknown("one of the charges is none of ours")
    if all(charge.state != "open" for charge in found.values()):
        raise AlreadyPaid("nothing is due of these charges any more")
    parts = _parts([found[charge_id] for charge_id in wanted], amount_fen)
    wanted = [charge_id for charge_id in wanted if charge_id in parts] if parts else wanted
    digest = digest_of(token)
    basket = Basket(
        basket_id=till.ids.new(at, f"basket {digest.hex()}"), lane=till.lane, lot_id=lot_id, expires_at=at + OPEN_FOR, created_at=at
    )
    if basket_store.insert(tx, basket=basket, digest=digest, charge_ids=wanted, parts=[parts.get(one) for one in wanted]):
        return basket
    known = by_token(tx, till=till, token=token)
    if [charge.charge_id for charge in basket_store.charges(tx, basket=known)] != wanted:
        raise Conflict("this link belongs to other charges; scan the code again", code="token_taken")
    return known


def by_token(tx: Connection, *, till: Till, token: str) -> Basket:
    """Return the basket of a link token. Raises OrderUnknown."""
    basket = basket_store.by_digest(tx, lane=till.lane, digest=digest_of(token), lock=False)
    if basket is None:
        raise OrderUnknown("there is no such basket")
    return basket


def start(till: Till, *, token: str, channel: str, payer: Payer) -> Started:
    """Let a payer pay the next act of a basket over one channel, and return the hand-off to the wallet.

    The same payer gets the same act again while it can still be paid, so a second tap is harmless. Charges that another phone is
    paying meanwhile are left out of nobody's act: whoever pays first settles them, and a second payment goes back.

    Raises:
        OrderUnknown, OrderExpired: no such basket, or its time is over.
        AlreadyPaid: nothing of it is open.
        DebtReserved: a debt among them is being paid on another phone.
        NoRoute: nothing of what is open can be paid with this wallet.
        QuoteOver: what is open has no price any more; it is to be looked up again.
        ChannelBusy, ChannelRefused: see ``checkout.start``.
    """
    try:
        attempts = _next_act(till, token, channel, payer)
    except checkout.Reserved as reserved:
        checkout.take_over(till, reserved)
        attempts = _next_act(till, token, channel, payer)
    hand_off = attempts[0].hand_off
    if hand_off is None or not hand_off.holds(till.clock.now()):
        outcome = _order_at_channel(till, attempts, payer)
        hand_off = outcome.hand_off
        if hand_off is None:
            if outcome.state is ChannelState.FAILED:
                raise ChannelRefused(f"{channel} refused the order: {outcome.reason}")
            raise ChannelBusy(f"{channel} did not take the order yet: {outcome.reason}")
    with till.db.connect() as tx:
        basket = by_token(tx, till=till, token=token)
        now = {one.payment_id: one for one in _attempts(tx, basket)}
    return Started(basket, tuple(now[one.payment_id] for one in attempts), hand_off)


def status(till: Till, *, token: str) -> Status:
    """Return what became of a basket; ask the channel when notices are missing, at most every few seconds.

    Raises:
        OrderUnknown: no basket has this token.
    """
    with till.db.begin() as tx:
        basket = by_token(tx, till=till, token=token)
        asked = _ask_about(tx, till, _attempts(tx, basket))
    if asked:
        notices = checkout.ask_together(till, asked)
        with till.db.begin() as tx:
            results.apply(tx, lane=till.lane, notices=notices, at=till.clock.now(), ids=till.ids)
    with till.db.connect() as tx:
        # Attempts first: whatever is seen paid here has already settled the charge that is read next.
        attempts = _attempts(tx, basket)
        charges = basket_store.charges(tx, basket=basket)
        paid = [one.payment_id for one in attempts if one.state == "succeeded"]
        gone_back = refund_store.gone_back(tx, lane=till.lane, payment_ids=paid) if paid else {}
        counting = checkout.counted(tx, charges, paid)
        ids = [charge.charge_id for charge in charges]
        over = asked_quote_store.over(tx, lane=till.lane, charge_ids=ids, at=till.clock.now())
        legs = tuple(
            _leg(
                charge, [one for one in attempts if one.charge_id == charge.charge_id], counting, gone_back,
                is_over=charge.charge_id in over,
            ) for charge in charges
        )  # fmt: skip
        parts = basket_store.parts(tx, basket=basket)
        unpaid = [leg.charge for leg in legs if leg.stage in ("unpaid", "waiting")]
        cuts = _cuts(tx, till, unpaid, parts)
    return Status(
        basket=basket,
        legs=legs,
        cuts=cuts,
        open_fen=sum(_price(charge, parts) for charge in unpaid),
        paid_fen=sum(leg.paid_fen for leg in legs),
        waiting=any(leg.stage == "waiting" for leg in legs),
        undecided=_undecided(legs, attempts),
    )


def limits(till: Till, channel: str) -> Limits:
    """Return what one act over a channel can be."""
    wire = till.line(channel).connected.channel
    return Limits(channel, wire.legs_max if Operation.COMBINE in wire.supports else 1, wire.amount_fen_max)


# Inside.


def _next_act(till: Till, token: str, channel: str, payer: Payer) -> list[Attempt]:
    """Commit the orders and attempts of the next act before anything is said to the channel; or return the payer's live one."""
    at, wire = till.clock.now(), till.line(channel).connected.channel
    if payer.way not in wire.ways:
        raise NoRoute(f"channel {channel} cannot be paid this way: {payer.way.value}")
    with till.db.begin() as tx:
        basket = basket_store.by_digest(tx, lane=till.lane, digest=digest_of(token), lock=True)
        if basket is None:
            raise OrderUnknown("there is no such basket")
        if basket.expires_at - at < orders.LAST_MINUTE:
            raise OrderExpired("the time of this page is over; scan the code again")
        store.hold_charges(tx, lane=till.lane, charge_ids=basket_store.charge_ids(tx, basket=basket))
        known, charges = _attempts(tx, basket), basket_store.charges(tx, basket=basket)
        checkout.check_free(tx, till, charges, not_of=basket_store.order_ids(tx, basket=basket), at=at)
        parts = basket_store.parts(tx, basket=basket)
        done = _paid_here(tx, known, charges)
        taken = store.being_taken(tx, lane=till.lane, charge_ids=[charge.charge_id for charge in charges])
        open_charges = [one for one in charges if one.state == "open" and one.charge_id not in taken and one.charge_id not in done]
        over = asked_quote_store.over(tx, lane=till.lane, charge_ids=[charge.charge_id for charge in charges], at=at)
        priced = [one for one in open_charges if one.charge_id not in over]
        if not open_charges and taken:
            raise DeductionUnderWay("what is left of this basket is being deducted by the plate's mandate")
        if not open_charges:
            raise AlreadyPaid("everything in this basket has been paid")
        if not priced:
            raise QuoteOver("what is left of this basket has no price any more; look it up again")
        open_charges = priced
        if live := _live_act(known, open_charges, channel, payer, at):
            return live
        routes = _routes(tx, open_charges, channel, at)
        acts = cut([_owed(charge, parts) for charge in open_charges], limits(till, channel), routed=_combinable(routes)).acts
        if not acts:
            raise NoRoute(f"nothing of this basket can be paid over {channel}")
        chosen = [charge for charge in open_charges if charge.charge_id in acts[0].charge_ids]
        act_id = till.ids.new(at, f"act {basket.basket_id} {len(known)}") if len(chosen) > 1 else None
        ids = [charge.charge_id for charge in chosen]
        lock = asked_quote_store.price_lock(tx, lane=till.lane, charge_ids=ids, at=at, wanted=till.price_lock)
        rows = [
            _new(till, basket, charge, _price(charge, parts), routes[charge.operator_id], payer, len(known), at)
            for charge in chosen
        ]
        basket_store.insert_act(
            tx, basket=basket, act_id=act_id, channel=channel, provider_no=wire.provider_no, way=payer.way.value, at=at,
            expires_at=min(at + lock, basket.expires_at), next_query_at=at + till.schedule(channel)[0], payments=rows,
        )  # fmt: skip
        made = {row.payment_id for row in rows}
        return _in_order([one for one in _attempts(tx, basket) if one.payment_id in made], acts[0].charge_ids)


def _in_order(legs: Sequence[Attempt], charge_ids: Sequence[UUID]) -> list[Attempt]:
    """Return legs in the order of the basket: a repeated act must be the same order at the channel."""
    return sorted(legs, key=lambda leg: charge_ids.index(leg.charge_id))


def _live_act(
    known: Sequence[Attempt], open_charges: Sequence[Charge], channel: str, payer: Payer, at: datetime
) -> list[Attempt]:  # fmt: skip
    """Return the payer's act that can still be paid: none of its legs is over, and all of their charges are open."""
    still_open = {charge.charge_id for charge in open_charges}
    mine = [
        one for one in known
        if one.channel == channel and one.way == payer.way and one.payer_digest == payer_digest(one.order_id, payer.payer_id)
        and at < one.expires_at - orders.LAST_MINUTE
    ]  # fmt: skip
    for newest in mine:
        legs = [one for one in mine if one.act_id == newest.act_id] if newest.act_id else [newest]
        if all(leg.state in LIVE and leg.charge_id in still_open for leg in legs):
            return _in_order(legs, [charge.charge_id for charge in open_charges])
    return []


def _new(
    till: Till, basket: Basket, charge: Charge, amount_fen: int, route: MerchantAccount, payer: Payer, turn: int, at: datetime
) -> NewPayment:  # fmt: skip
    order_id = till.ids.new(at, f"basket order {basket.basket_id} {charge.charge_id} {turn}")
    return NewPayment(
        payment_id=till.ids.new(at, f"payment {order_id} 1"),
        order_id=order_id,
        charge_id=charge.charge_id,
        lot_id=charge.lot_id,
        operator_id=charge.operator_id,
        route_id=route.route_id,
        merchant_no=route.merchant_no,
        key_ref=route.key_ref,
        amount_fen=amount_fen,
        payer_digest=payer_digest(order_id, payer.payer_id),
        token_digest=digest_of(f"{basket.basket_id} {order_id}"),  # nobody holds this token: the basket's own leads here
    )


def _order_at_channel(till: Till, attempts: Sequence[Attempt], payer: Payer) -> PrepayOutcome:
    """Make the act at the channel and keep its answer. It depends on the attempts alone, so a repeat is identical."""
    first = attempts[0]
    if first.act_id is None:
        return checkout.order_at_channel(till, first, payer)
    with till.db.connect() as tx:
        order = _combined_order(tx, attempts, payer)
    call = calls.combine(
        till.line(first.channel), order, subject=first.payment_id, occasion=f"{first.act_id}{checkout.turn(first)}"
    )
    outcome = call.outcome
    with till.db.begin() as tx:
        notices = [
            Notice(call.message, checkout.word(one, outcome.state), "query", again=number > 0)
            for number, one in enumerate(attempts)
        ]  # fmt: skip
        results.apply(tx, lane=till.lane, notices=notices, at=till.clock.now(), ids=till.ids)
        if outcome.hand_off is not None:
            store.keep_hand_off(tx, lane=till.lane, payment_id=first.act_id, hand_off=outcome.hand_off)
    return outcome


def _combined_order(tx: Connection, attempts: Sequence[Attempt], payer: Payer) -> CombinedOrder:
    first = attempts[0]
    assert first.act_id is not None
    names = store.lot_names(tx, lane=first.lane, charge_ids=[one.charge_id for one in attempts])
    accounts = routing.by_ids(tx, route_ids=[one.route_id for one in attempts])
    legs = tuple(
        Leg(
            order_no=payment_number(one.lane, one.payment_id),
            merchant_no=one.merchant_no,
            description=f"停车费 {names[one.charge_id]}",
            amount_fen=one.amount_fen,
            sub_app_id=accounts[one.route_id].sub_app_id,
        )
        for one in attempts
    )
    return CombinedOrder(
        combined_no=act_number(first.lane, first.act_id),
        legs=legs,
        created_at=first.created_at,
        expires_at=first.expires_at,
        way=first.way,
        payer_id=payer.payer_id or None,
        payer_ip=payer.ip,
        return_url=payer.return_url,
    )


def _attempts(tx: Connection, basket: Basket) -> list[Attempt]:
    """Return a basket's attempts, the newest first."""
    return store.attempts_of(tx, lane=basket.lane, order_ids=basket_store.order_ids(tx, basket=basket))


def _ask_about(tx: Connection, till: Till, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Choose the newest undecided act and claim its legs, unless it was asked about just now."""
    at = till.clock.now()
    for newest in attempts:
        if newest.state in LIVE and at - newest.created_at >= ASK_AGAIN:
            legs = [one for one in attempts if newest.act_id is not None and one.act_id == newest.act_id] or [newest]
            ids = [leg.payment_id for leg in legs if leg.state in LIVE]
            return store.claim_these(tx, lane=till.lane, payment_ids=ids, at=at, until=at + ASK_AGAIN)
    return []


def _routes(tx: Connection, charges: Sequence[Charge], channel: str, at: datetime) -> dict[int, MerchantAccount]:
    operators = sorted({charge.operator_id for charge in charges})
    return {one.operator_id: one for one in routing.open_accounts(tx, operator_ids=operators, at=at) if one.channel == channel}


def _combinable(routes: Mapping[int, MerchantAccount]) -> dict[int, bool]:
    return {operator_id: account.mode == "provider" for operator_id, account in routes.items()}


def _cuts(tx: Connection, till: Till, charges: Sequence[Charge], parts: Mapping[UUID, int]) -> dict[str, Cut]:
    """Return how charges can be paid with each wallet of this installation."""
    owed, found = [_owed(charge, parts) for charge in charges], {}
    operators = sorted({charge.operator_id for charge in charges})
    accounts = routing.open_accounts(tx, operator_ids=operators, at=till.clock.now()) if operators else []
    for channel in till.channels():
        if Operation.PREPAY in till.line(channel).connected.channel.supports:
            routed = {one.operator_id: one.mode == "provider" for one in accounts if one.channel == channel}
            found[channel] = cut(owed, limits(till, channel), routed=routed)
    return found


def _owed(charge: Charge, parts: Mapping[UUID, int]) -> Owed:
    return Owed(charge.charge_id, charge.operator_id, _price(charge, parts))


def _price(charge: Charge, parts: Mapping[UUID, int]) -> int:
    """Return what a basket pays of a charge: what is due, or the part of it that was chosen."""
    return min(charge.owed_fen, parts.get(charge.charge_id, charge.owed_fen))


def _parts(found: Sequence[Charge], amount_fen: int | None) -> dict[UUID, int]:
    """Return how much of each charge an amount pays, the first ones in full; empty when all is paid."""
    owed = [(charge.charge_id, charge.owed_fen) for charge in found if charge.state == "open"]
    if amount_fen is None or amount_fen == sum(fen for _, fen in owed):
        return {}
    if not 0 < amount_fen < sum(fen for _, fen in owed):
        raise PartRefused(f"a part is 1 fen at least, and less than the {sum(fen for _, fen in owed)} fen due")
    parts = allocated(owed, amount_fen)
    for charge in found:
        if charge.charge_id in parts:
            orders.due_of(charge, parts[charge.charge_id])
    return parts


def _paid_here(tx: Connection, known: Sequence[Attempt], found: Sequence[Charge]) -> set[UUID]:
    """Return charges of which the basket has paid its part."""
    paid = [one for one in known if one.state == "succeeded" and one.taken_back_at is None]
    counting = checkout.counted(tx, found, [one.payment_id for one in paid])
    return {one.charge_id for one in paid if one.payment_id in counting}


def _undecided(legs: Sequence[LegStatus], attempts: Sequence[Attempt]) -> Attempt | None:
    waited_for = {leg.charge.charge_id for leg in legs if leg.stage == "waiting"}
    return next((one for one in attempts if one.state in LIVE and one.charge_id in waited_for), None)


def _leg(
    charge: Charge, attempts: Sequence[Attempt], counting: set[UUID | None], gone_back: Mapping[UUID, int], *, is_over: bool
) -> LegStatus:  # fmt: skip
    """Say what became of one charge: money first, then what may still come."""
    paid = [one for one in attempts if one.state == "succeeded" and one.taken_back_at is None]
    settling = [one for one in paid if one.payment_id in counting]
    shown = next(iter(settling or paid), None)
    stage: LegStage
    if paid and all(gone_back.get(one.payment_id) == one.taken_fen for one in paid):
        stage = "refunded"
    elif paid:
        owed_back = [one for one in paid if one not in settling and not gone_back.get(one.payment_id)]
        stage = "refund_due" if owed_back or not settling else "paid"
    elif charge.state != "open":
        stage = "price_over" if is_over and charge.state == "credited" else "paid_elsewhere"
    elif any(one.state in LIVE for one in attempts):
        stage = "waiting"
    else:
        stage = "price_over" if is_over else "unpaid"
    return LegStatus(
        charge=charge,
        stage=stage,
        receipt=None if shown is None else payment_number(shown.lane, shown.payment_id),
        channel=None if shown is None else shown.channel,
        paid_fen=sum(one.taken_fen or 0 for one in settling) if stage == "paid" else 0,
        refunded_fen=0 if shown is None else gone_back.get(shown.payment_id, 0),
    )
