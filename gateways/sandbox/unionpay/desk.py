"""The channel's counter: orders, payments, queries and reversals by the channel's rules. Refunds have their own, see refunds.

Knows the rules and the store; must not know HTTP or signatures. Called by the stand-in's routes.
Source: ACP 5.1.0; docs/CHANNELS.md, UnionPay.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec import Struct

from gateways.sandbox.chance import digits, hex_text
from gateways.sandbox.faults import delay_seconds
from gateways.sandbox.shapes import ON_NOTICE, Fault, FaultKind, PaidOut
from gateways.sandbox.stand_in import Surroundings
from gateways.sandbox.store import Notice, Order, Refund, Store
from gateways.sandbox.unionpay.signing import UnionPayConfig
from gateways.unionpay import wire
from ledger.clock import CHINA, EPOCH, microseconds

WAITING, SUCCESS, REVERSED = "WAITING", "SUCCESS", "REVERSED"
"""States of an order. Whether its time is over follows from the clock; a declined attempt is kept in its details."""
_AFTER_CUT_OVER: Final = timedelta(hours=24 - wire.CUT_OVER.hour)
"""What is paid later than the cut-over belongs to the next clearing day."""
PAY_DAYS: Final = 1
"""How long an order without payTimeout can be paid."""
DECLINED: Final = "64"
MICRO: Final = 1_000_000
_DRAWS_MAX: Final = 1_000
"""Times that a number taken by chance is drawn again."""

Kind = Literal["front", "code", "scanned"]


class Refusal(Exception):
    """An answer of the channel other than success: its respCode and words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code

    @property
    def message(self) -> str:
        """respMsg, with its 7-digit detail."""
        return f"{self}[{digits(7, self.code, self)}]"


class OrderDetails(Struct, frozen=True, kw_only=True):
    """What only this channel has of an order."""

    kind: Kind
    request: dict[str, str]
    """The fields that the merchant sent, without certificate and signature."""
    last_code: str | None = None
    """respCode of the last attempt that failed."""


class RefundDetails(Struct, frozen=True, kw_only=True):
    """What only this channel has of a refund. ``kind``: 04 refund, 31 cancel, 99 reversal (in no clearing file)."""

    kind: Literal["04", "31", "99"]
    request: dict[str, str]
    """The call; for one made in the merchant's console what such a call would have said."""


class Ordered(Struct, frozen=True):
    """An order, and the faults that meet the answer."""

    order: Order
    faults: tuple[Fault, ...]


class Desk:
    """The counter. One thread at a time."""

    def __init__(self, around: Surroundings, config: UnionPayConfig) -> None:
        self.around, self.config = around, config
        self.store = Store(around.state_dir / "unionpay.sqlite", seed=around.seed)

    def close(self) -> None:
        self.store.close()

    @property
    def seed(self) -> str:
        return self.store.seed

    def now(self) -> int:
        """Return the present instant in microseconds."""
        return microseconds(self.around.clock.now())

    def faults(self, kinds: Iterable[FaultKind], order_no: str, *, refund_no: str | None = None) -> tuple[Fault, ...]:
        """Return the faults that meet an order or its refund now; counts go down."""
        return self.store.faults(kinds, order_no, refund_no=refund_no)

    # Orders

    def order(self, kind: Kind, fields: Mapping[str, str]) -> Ordered:
        """Make an order. The browser may bring the identical one again while it is open; a call may not.

        Raises Refusal: 12 (the number was used), 01 (too late).
        """
        request = content_of(fields)
        with self.store.together():
            known = self.store.order(request["merId"], request["orderId"])
            if known is not None:
                return Ordered(order=self._repeated(known, kind, request), faults=())
            if self.store.refund(request["merId"], request["orderId"]) is not None:
                raise Refusal("12", "重复交易")
            order = self._made(kind, request)
            self.store.add_order(order)
            hit = self.faults({FaultKind.UNKNOWN}, order.order_no)
        return Ordered(order=order, faults=hit)

    def _made(self, kind: Kind, request: dict[str, str]) -> Order:
        now, created_at = self.now(), at_of(request["txnTime"])
        expires_at = now + PAY_DAYS * 86_400 * MICRO
        if "payTimeout" in request:
            expires_at = at_of(request["payTimeout"])
        if expires_at <= now:
            raise Refusal("01", "订单已超过支付超时时间")
        named = (self.seed, "handle", request["merId"], request["orderId"])
        return Order(
            merchant_no=request["merId"],
            order_no=request["orderId"],
            amount_fen=int(request["txnAmt"]),
            state=WAITING,
            content=canonical(request),
            details=msgspec.json.encode(OrderDetails(kind=kind, request=request)),
            created_at=created_at,
            expires_at=expires_at,
            handle=digits(32, *named) if kind == "code" else hex_text(32, *named),
        )

    def _repeated(self, known: Order, kind: Kind, request: dict[str, str]) -> Order:
        if kind != "front" or known.content != canonical(request):
            raise Refusal("12", "重复交易")
        return known

    def find(self, merchant_no: str, order_no: str, txn_time: str) -> Order | None:
        """Return an order by its name at the channel: merchant, number and time."""
        order = self.store.order(merchant_no, order_no)
        return order if order is not None and order.created_at == at_of(txn_time) else None

    def payable(self, order: Order) -> bool:
        return order.state == WAITING and self.now() < order.expires_at

    # Paying

    def pay(self, order: Order) -> PaidOut:
        """Take the payer's money and put the notices on the way. Raises Refusal: 12 (paid before), 01 (too late, or taken back)."""
        now = self.now()
        if order.state == SUCCESS:
            raise Refusal("12", "该订单已支付")
        if not self.payable(order):
            raise Refusal("01", "该订单已关闭或已超过支付超时时间")
        trade_no = self.query_id(now, order.order_no)
        fee_fen = commission_fen(order.amount_fen, self.around.fee_bps)
        with self.store.together():
            self.store.set_paid(order.merchant_no, order.order_no, state=SUCCESS, trade_no=trade_no, paid_at=now, fee_fen=fee_fen)
            self._put_notices(order, now)
        return PaidOut(order_no=order.order_no, trade_no=trade_no, amount_fen=order.amount_fen, paid_at=instant(now))

    def decline(self, order: Order, code: str = DECLINED) -> None:
        """Let an attempt fail, for the payer's balance unless another code is named. The order stays open."""
        if self.payable(order):
            declined = msgspec.structs.replace(details_of(order), last_code=code)
            self.store.set_details(order.merchant_no, order.order_no, msgspec.json.encode(declined))

    def charge(self, fields: Mapping[str, str]) -> Ordered:
        """Make an order and pay it at once with a payer's code; one code is one payment. Raises Refusal as ``order``, 71 (used)."""
        ordered = self.order("scanned", fields)
        if self.store.file(f"code {fields['qrNo']}") is not None:
            self.decline(ordered.order, "71")
            raise Refusal("71", "二维码已失效，请刷新后重试")
        self.store.put_file(f"code {fields['qrNo']}", b"used")
        self.pay(ordered.order)
        return ordered

    def query_id(self, at: int, number: str) -> str:
        """Return a new queryId: the time in China and 7 digits by seed, drawn again while they are taken."""
        time = f"{instant(at).astimezone(CHINA):%Y%m%d%H%M%S}"
        for attempt in range(_DRAWS_MAX):
            query_id = time + digits(7, self.seed, "query id", number, attempt)
            if self.store.file(f"query id {query_id}") is None:
                self.store.put_file(f"query id {query_id}", b"")
                return query_id
        raise AssertionError("a second has ten million numbers")

    def trace_no(self, number: str) -> str:
        """Return the 6-digit trace number of a transaction."""
        return digits(6, self.seed, "trace", number)

    def _put_notices(self, order: Order, now: int) -> None:
        hit = self.faults(ON_NOTICE, order.order_no)
        kinds = {fault.kind for fault in hit}
        if FaultKind.NEVER in kinds:
            return
        later = delay_seconds(hit, subject=order.order_no, seed=self.seed) / self.around.time_factor
        for copy in range(2 if FaultKind.TWICE in kinds else 1):
            self.store.add_notice(
                Notice(
                    notice_id=f"pay {order.merchant_no} {order.order_no} {copy}",
                    subject=order.order_no,
                    due_at=now + int((later + copy) * MICRO),
                    faults=msgspec.json.encode(hit),
                    details=msgspec.json.encode(Spoken(merchant_no=order.merchant_no)),
                )
            )


class Spoken(Struct, frozen=True, kw_only=True):
    """What a notice speaks of, beside its order number."""

    merchant_no: str
    refund_no: str | None = None


def content_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return a request's fields that say what is wanted: without signature and certificate."""
    return {name: value for name, value in fields.items() if value and name not in ("signature", "certId", "signMethod")}


def canonical(request: Mapping[str, str]) -> bytes:
    """Return a request in one form whatever the order of its fields."""
    return msgspec.json.encode(dict(sorted(request.items())))


def details_of(order: Order) -> OrderDetails:
    return msgspec.json.decode(order.details, type=OrderDetails)


def refund_details_of(refund: Refund) -> RefundDetails:
    return msgspec.json.decode(refund.details, type=RefundDetails)


def at_of(txn_time: str) -> int:
    """Return a ``YYYYMMDDhhmmss`` as microseconds. Raises Refusal 10 when there is no such time."""
    at = wire.instant(txn_time)
    if at is None:
        raise Refusal("10", "时间格式错误")
    return microseconds(at)


def instant(at: int) -> datetime:
    """Return microseconds since 1970 as an instant (UTC)."""
    return EPOCH + timedelta(microseconds=at)


def clearing_day(at: int) -> date:
    """Return the clearing day of an instant: the day in China, cut at 23:00."""
    return (instant(at) + _AFTER_CUT_OVER).astimezone(CHINA).date()


def clearing_span(day: date) -> tuple[int, int]:
    """Return begin and end of a clearing day, the end exclusive."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=CHINA).astimezone(UTC)
    begin = microseconds(midnight - _AFTER_CUT_OVER)
    return begin, begin + 86_400 * MICRO


def commission_fen(amount_fen: int, bps: int) -> int:
    """Return the channel's commission, rounded half up to the fen."""
    return (amount_fen * bps + 5_000) // 10_000
