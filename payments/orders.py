"""Orders 缴费订单: a payer's intent with a locked price, found again by a secret link token.

Knows charges, orders and attempts; must not know channels' wire or HTTP. Called by the checkout.
"""

import hashlib
import hmac
import secrets
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import Connection

from gateways.contract import MerchantAccount, Way
from ledger.errors import Conflict
from ledger.ids import Ids
from ledger.volley import Question, ask, fire
from payments import store
from payments.errors import AlreadyPaid, ChargeUnknown, OrderExpired, OrderUnknown, PartRefused
from payments.records import Attempt, Charge, Order

TOKEN_BYTES: Final = 18
"""144 random bits, 24 letters in an address."""
LIVE: Final = frozenset({"created", "pending", "unknown"})
"""States in which an attempt may still be paid."""
LAST_MINUTE: Final = timedelta(minutes=1)
"""A channel gives a payer no less than a minute: an order with less left is over."""


class Tokens(Protocol):
    """Gives link tokens that nobody can guess."""

    def new(self, name: str) -> str: ...


class RandomTokens:
    """Tokens for real use."""

    def new(self, name: str) -> str:  # noqa: ARG002  # the name matters to seeded tokens only
        return secrets.token_urlsafe(TOKEN_BYTES)


class SeededTokens:
    """Tokens for a simulated day: the same seed, name and turn give the same token."""

    def __init__(self, seed: int) -> None:
        self._key = hashlib.sha256(f"tokens {seed}".encode()).digest()
        self._turns: dict[str, int] = {}
        self._lock = threading.Lock()

    def new(self, name: str) -> str:
        with self._lock:
            turn = self._turns[name] = self._turns.get(name, 0) + 1
        digest = hmac.digest(self._key, f"{name} {turn}".encode(), "sha256")
        return urlsafe_b64encode(digest[:TOKEN_BYTES]).decode()


def digest_of(token: str) -> bytes:
    """Return what is stored of a link token."""
    return hashlib.sha256(token.encode()).digest()


def payer_digest(order_id: UUID, payer_id: str) -> bytes:
    """Return what is stored of a payer: enough to know the same payer of the same order again, and nothing else."""
    return hashlib.sha256(order_id.bytes + payer_id.encode()).digest()


def open_order(
    tx: Connection, *, lane: int, lot_id: int, charge_id: UUID, token: str, at: datetime, ids: Ids, price_lock: timedelta,
    part_fen: int | None = None,
) -> Order:  # fmt: skip
    """Lock the price of a charge for whoever holds ``token``; the same token gives the same order again.

    The price is what is still due of the charge, or ``part_fen`` of it: only what is owed since the car has left is paid in parts.

    Two phones have two tokens and so two orders for one charge: whoever pays first settles it. Holds the order's row.

    Raises:
        AlreadyPaid: the charge is settled.
        ChargeUnknown: the lot has no such charge.
        Conflict: ``token_taken``, the token belongs to an order of another charge.
        OrderExpired: the price lock is over.
        PartRefused: the part is not one of what is due, or the charge is to be paid at the gate.
    """
    charge = payable(store.charge(tx, lane=lane, charge_id=charge_id), lot_id=lot_id)
    made = new_order(charge, token=token, at=at, ids=ids, price_lock=price_lock, part_fen=part_fen)
    digest = digest_of(token)
    fire(tx, [store.inserting_order(made, digest=digest)])
    order = store.order_by_digest(tx, lane=lane, digest=digest, lock=True)
    assert order is not None
    check_order(order, charge_id=charge_id, at=at)
    return order


def payable(charge: Charge | None, *, lot_id: int) -> Charge:
    """Return a charge of the lot of which something is due. Pure. Raises ChargeUnknown, AlreadyPaid."""
    if charge is None or charge.lot_id != lot_id:
        raise ChargeUnknown("the lot has no such charge")
    if charge.state != "open":
        raise AlreadyPaid("nothing is due of this charge any more")
    return charge


def new_order(
    charge: Charge, *, token: str, at: datetime, ids: Ids, price_lock: timedelta, part_fen: int | None = None
) -> Order:  # fmt: skip
    """Return the order of a token that has none. Raises PartRefused."""
    return Order(
        order_id=ids.new(at, f"order {charge.charge_id} {digest_of(token).hex()}"), lane=charge.lane, charge_id=charge.charge_id,
        lot_id=charge.lot_id, amount_fen=due_of(charge, part_fen), expires_at=at + price_lock, created_at=at,
    )  # fmt: skip


def check_order(order: Order, *, charge_id: UUID, at: datetime) -> None:
    """Raise Conflict (``token_taken``) or OrderExpired when a charge cannot be paid with a token's order. Pure."""
    if order.charge_id != charge_id:
        raise taken()
    if order.expires_at - at < LAST_MINUTE:
        raise OrderExpired("the price lock is over; scan the code again")


def taken() -> Conflict:
    """Return the refusal of a token that is another charge's."""
    return Conflict("this link belongs to another charge; scan the code again", code="token_taken")


def due_of(charge: Charge, part_fen: int | None) -> int:
    """Return what is to be paid of an open charge: all that is due, or a part of a debt. Raises PartRefused."""
    if part_fen is None or part_fen == charge.owed_fen:
        return charge.owed_fen
    if not charge.is_receivable:
        raise PartRefused("a charge is paid in full while the car stands at the gate")
    if not 0 < part_fen < charge.owed_fen:
        raise PartRefused(f"of {charge.owed_fen} fen a part is 1 fen at least, and less than all")
    return part_fen


def by_token(tx: Connection, *, lane: int, token: str) -> Order:
    """Return the order of a link token. Raises OrderUnknown."""
    order = store.order_by_digest(tx, lane=lane, digest=digest_of(token), lock=False)
    if order is None:
        raise OrderUnknown("there is no such order")
    return order


def which_order(*, lane: int, token: str) -> Question[Order | None]:
    """The order of a link token, where there is one."""
    return store.which_order(lane=lane, digest=digest_of(token), lock=False)


def attempt(
    tx: Connection,
    *,
    order: Order,
    route: MerchantAccount,
    provider_no: str,
    payer_id: str,
    way: Way,
    at: datetime,
    ids: Ids,
    first_query: timedelta,
) -> Attempt:
    """Return the payer's live attempt of an order, or make one. The caller holds the order's row.

    A second tap finds the attempt of the first. A payment is made with its first query already due: should we stop between
    this commit and the channel's answer, the query finds out.
    """
    attempts = store.attempts(tx, lane=order.lane, order_id=order.order_id)
    if (known := live_attempt(attempts, order=order, channel=route.channel, payer_id=payer_id, way=way)) is not None:
        return known
    payee = ask(tx, store.which_payee(lane=order.lane, charge_id=order.charge_id))
    made = new_attempt(
        order, route=route, provider_no=provider_no, payer_id=payer_id, way=way, at=at, ids=ids, book_id=payee.book_id,
        number=len(attempts) + 1,
    )  # fmt: skip
    fire(tx, [store.inserting_payment(made, next_query_at=at + first_query)])
    return made


def live_attempt(attempts: Iterable[Attempt], *, order: Order, channel: str, payer_id: str, way: Way) -> Attempt | None:
    """Return the attempt of an order that this payer may still pay, over a channel, this way. Pure."""
    digest = payer_digest(order.order_id, payer_id)
    mine = (one for one in attempts if one.channel == channel and one.payer_digest == digest and one.way == way)
    return next((one for one in mine if one.state in LIVE), None)


def new_attempt(
    order: Order, *, route: MerchantAccount, provider_no: str, payer_id: str, way: Way, at: datetime, ids: Ids, book_id: int,
    number: int,
) -> Attempt:  # fmt: skip
    """Return the attempt of this number of an order, in state created."""
    return Attempt(
        payment_id=ids.new(at, f"payment {order.order_id} {number}"), order_id=order.order_id, charge_id=order.charge_id,
        lane=order.lane, operator_id=route.operator_id, book_id=book_id, route_id=route.route_id, channel=route.channel,
        provider_no=provider_no, merchant_no=route.merchant_no, way=way, key_ref=route.key_ref, amount_fen=order.amount_fen,
        state="created", hand_off=None, trade_no=None, taken_fen=None, succeeded_at=None, taken_back_at=None, created_at=at,
        expires_at=order.expires_at, queries=0, payer_digest=payer_digest(order.order_id, payer_id), act_id=None,
    )  # fmt: skip
