"""The channel's counter: trades, payments, closes and cancels by Alipay's rules. Refunds, parking and bills have their own.

Knows the rules and the store; must not know HTTP or signatures. Called by the stand-in's routes.
Source: docs/CHANNELS.md, Alipay.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec import Struct

from gateways.alipay import wire
from gateways.sandbox.alipay.signing import AlipayConfig, AppSide, Signer
from gateways.sandbox.chance import digits, hex_text
from gateways.sandbox.faults import delay_seconds
from gateways.sandbox.shapes import ON_NOTICE, FaultKind, FaultPlan, PaidOut
from gateways.sandbox.stand_in import Surroundings
from gateways.sandbox.store import Notice, Order, Refund, Store
from ledger.clock import CHINA, EPOCH, microseconds

WAITING, SUCCESS, CLOSED, FINISHED = "WAIT_BUYER_PAY", "TRADE_SUCCESS", "TRADE_CLOSED", "TRADE_FINISHED"
MICRO: Final = 1_000_000
DAY: Final = 86_400 * MICRO
ORDER_DAYS: Final = 15
"""How long a trade without an end of its own can be paid."""
CODE_SECONDS: Final = 7_200
"""Life of a code without an end of its own."""
LOGIN_SECONDS: Final = 300
_ROTATIONS: Final = "rotations"

Kind = Literal["create", "wap", "precreate", "parking"]


class Refusal(Exception):
    """An answer of the channel other than success."""

    def __init__(self, sub_code: str, words: str, *, code: str = "40004", msg: str = "Business Failed") -> None:
        super().__init__(words)
        self.sub_code, self.code, self.msg = sub_code, code, msg


class Details(Struct, frozen=True, kw_only=True):
    """What only this channel has of a trade. ``buyer_id`` is None until a payer has come."""

    kind: Kind
    app_id: str
    auth_app_id: str
    subject: str
    notify_url: str | None = None
    return_url: str | None = None
    quit_url: str | None = None
    passback_params: str | None = None
    buyer_id: str | None = None
    plate: str | None = None


class Wanted(Struct, frozen=True, kw_only=True):
    """A trade that is asked for. ``content`` is the call in canonical form: a repeat must equal it."""

    merchant_no: str
    order_no: str
    amount_fen: int
    content: bytes
    details: Details
    expires_at: int | None = None


class Offer(Struct, frozen=True):
    """A code that nobody has scanned: no trade yet."""

    wanted: Wanted
    handle: str
    dies_at: int


class NoticeDetails(Struct, frozen=True):
    """Of what a notice tells besides its trade: the status then, and a refund's number."""

    merchant_no: str
    status: str
    refund_no: str | None = None


class Desk:
    """The counter. One thread at a time."""

    def __init__(self, around: Surroundings, config: AlipayConfig) -> None:
        self.around, self.config = around, config
        self.store = Store(around.state_dir / "alipay.sqlite", seed=around.seed)
        self.seed = self.store.seed

    def now(self) -> int:
        """Return the present instant in microseconds."""
        return microseconds(self.around.clock.now())

    def signer(self) -> Signer:
        """Return what the channel signs with now."""
        turns = int(self.store.remark(_ROTATIONS) or b"0")
        return self.config.signers[turns % len(self.config.signers)]

    def app(self, app_id: str) -> AppSide:
        return self.config.apps[app_id]

    def set_plan(self, plan: FaultPlan) -> None:
        """Take a fault plan; a rotation in it is carried out at once and does not stay."""
        for fault in plan.faults:
            if fault.kind is FaultKind.ROTATE_KEY:
                self.store.next_number(_ROTATIONS)
        self.store.set_plan(FaultPlan(faults=tuple(fault for fault in plan.faults if fault.kind is not FaultKind.ROTATE_KEY)))

    # Trades

    def place(self, wanted: Wanted) -> Order:
        """Make a trade, or return the one that the identical call made before while it can be paid.

        Raises Refusal: TRADE_HAS_SUCCESS, TRADE_HAS_CLOSE, CONTEXT_INCONSISTENT, INVALID_PARAMETER (its time is over).
        """
        known = self.store.order(wanted.merchant_no, wanted.order_no)
        if known is not None:
            self._check_repeat(known, wanted.content)
            return known
        now = self.now()
        expires_at = now + ORDER_DAYS * DAY if wanted.expires_at is None else wanted.expires_at
        if expires_at <= now:
            raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：订单已过有效期")
        order = Order(
            merchant_no=wanted.merchant_no, order_no=wanted.order_no, amount_fen=wanted.amount_fen, state=WAITING,
            content=wanted.content, details=msgspec.json.encode(wanted.details), created_at=now, expires_at=expires_at,
            trade_no=self._trade_no(wanted),
        )  # fmt: skip
        with self.store.together():
            self.store.add_order(order)
            if wanted.details.kind == "wap" and wanted.details.notify_url is not None:
                self._add_notice(order, CLOSED, due_at=expires_at)
        return order

    def _check_repeat(self, known: Order, content: bytes) -> None:
        status = self.status(known)
        if known.paid_at is not None:
            raise Refusal("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
        if status == CLOSED:
            raise Refusal("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
        if known.content != content:
            raise Refusal("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")

    def _trade_no(self, wanted: Wanted) -> str:
        at = self.around.clock.now().astimezone(CHINA)
        return f"{at:%Y%m%d}220014{digits(14, self.seed, 'trade', wanted.merchant_no, wanted.order_no)}"

    def status(self, order: Order) -> str:
        """Return the channel's word for a trade at this moment."""
        if order.paid_at is None:
            return CLOSED if order.state == CLOSED or order.expires_at <= self.now() else WAITING
        if self.left_fen(order) == 0:
            return CLOSED
        return FINISHED if self.now() >= order.paid_at + self.config.refund_days * DAY else SUCCESS

    def left_fen(self, order: Order) -> int:
        """Return how much of a paid trade was not refunded."""
        return order.amount_fen - sum(refund.refund_fen for refund in self.store.refunds_of(order.merchant_no, order.order_no))

    def find(self, merchant_no: str, *, order_no: str | None, trade_no: str | None) -> Order:
        """Return a merchant's trade; the channel's number wins. Raises Refusal INVALID_PARAMETER, TRADE_NOT_EXIST."""
        if not trade_no and not order_no:
            raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：out_trade_no和trade_no不能同时为空")
        known = self.store.order_by_trade(trade_no) if trade_no else self.store.order(merchant_no, order_no or "")
        if known is None or known.merchant_no != merchant_no:
            raise Refusal("ACQ.TRADE_NOT_EXIST", "交易不存在")
        return known

    # Codes

    def offer(self, wanted: Wanted, code_seconds: int | None) -> Offer:
        """Return a code for a trade that is made when it is scanned; the identical call gets the same one.

        Raises Refusal as ``place`` does.
        """
        known = self.store.order(wanted.merchant_no, wanted.order_no)
        if known is not None:
            self._check_repeat(known, wanted.content)
        before = self._offer(_offer_name(wanted.merchant_no, wanted.order_no))
        if before is not None and before.wanted.content != wanted.content:
            raise Refusal("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
        dies_at = self.now() + (code_seconds or CODE_SECONDS) * MICRO
        handle = f"bax{hex_text(24, self.seed, 'code', wanted.merchant_no, wanted.order_no)}"
        made = Offer(wanted=wanted, handle=handle, dies_at=dies_at)
        with self.store.together():
            for name in (_offer_name(wanted.merchant_no, wanted.order_no), f"code {handle}", f"offered {wanted.order_no}"):
                self.store.put_file(name, msgspec.json.encode(made), expires_at=dies_at)
        return made

    def scan(self, handle: str) -> Order | None:
        """Make the trade behind a code, or return it. Raises Refusal; None for an unknown or dead code."""
        return self._scanned(self._offer(f"code {handle}"))

    def scan_number(self, order_no: str) -> Order | None:
        """Do as ``scan`` does, for the code of an order number."""
        return self._scanned(self._offer(f"offered {order_no}"))

    def _scanned(self, offer: Offer | None) -> Order | None:
        if offer is None:
            return None
        known = self.store.order(offer.wanted.merchant_no, offer.wanted.order_no)
        if known is not None:
            return known
        return None if offer.dies_at <= self.now() else self.place(offer.wanted)

    def _offer(self, name: str) -> Offer | None:
        kept = self.store.file(name)
        return None if kept is None else msgspec.json.decode(kept[0], type=Offer)

    # Ending

    def close(self, order: Order) -> None:
        """Close an unpaid trade. Raises Refusal TRADE_STATUS_ERROR."""
        if self.status(order) != WAITING:
            raise Refusal("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
        with self.store.together():
            self.store.set_state(order.merchant_no, order.order_no, CLOSED)
            self.store.set_notice(_notice_id(order, CLOSED), attempts=0, state="waiting", due_at=self.now())

    # Paying

    def pay(self, order: Order, *, buyer_id: str | None = None) -> PaidOut:
        """Take the payer's money for a trade and put its notices on the way.

        Raises Refusal: TRADE_HAS_SUCCESS, TRADE_HAS_CLOSE, TRADE_BUYER_NOT_MATCH.
        """
        details = details_of(order)
        if order.paid_at is not None:
            raise Refusal("ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
        if self.status(order) == CLOSED:
            raise Refusal("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
        if details.buyer_id is not None and buyer_id not in (None, details.buyer_id):
            raise Refusal("ACQ.TRADE_BUYER_NOT_MATCH", "交易买家不匹配")
        now, trade_no = self.now(), order.trade_no or ""
        buyer = details.buyer_id or buyer_id or f"2088{digits(12, self.seed, 'buyer', order.order_no)}"
        with self.store.together():
            self.store.set_details(
                order.merchant_no, order.order_no, msgspec.json.encode(msgspec.structs.replace(details, buyer_id=buyer))
            )
            self.store.set_paid(
                order.merchant_no, order.order_no, state=SUCCESS, trade_no=trade_no, paid_at=now, fee_fen=self.fee_fen(order)
            )
            self.store.set_notice(_notice_id(order, CLOSED), attempts=0, state="given_up", due_at=now)
            self._put_notices(order, now)
        return PaidOut(order_no=order.order_no, trade_no=trade_no, amount_fen=order.amount_fen, paid_at=instant(now))

    def fee_fen(self, order: Order) -> int:
        """Return the channel's commission, rounded half up to the fen."""
        return (order.amount_fen * self.around.fee_bps + 5_000) // 10_000

    def _put_notices(self, order: Order, now: int) -> None:
        if details_of(order).notify_url is None:
            return
        hit = self.store.faults(ON_NOTICE, order.order_no)
        kinds = {fault.kind for fault in hit}
        if FaultKind.NEVER in kinds:
            return
        later = delay_seconds(hit, subject=order.order_no, seed=self.seed) / self.around.time_factor
        for copy in range(2 if FaultKind.TWICE in kinds else 1):
            due_at = now + int((later + copy) * MICRO)
            self._add_notice(order, SUCCESS, due_at=due_at, faults=msgspec.json.encode(hit), copy=copy)

    def _add_notice(self, order: Order, status: str, *, due_at: int, faults: bytes = b"[]", copy: int = 0) -> None:
        notice_id, details = _notice_id(order, status), NoticeDetails(merchant_no=order.merchant_no, status=status)
        self.store.add_notice(
            Notice(
                notice_id=f"{notice_id}#{copy + 1}" if copy else notice_id,
                subject=order.order_no,
                due_at=due_at,
                faults=faults,
                details=msgspec.json.encode(details),
            )
        )

    def put_refund_notice(self, order: Order, refund: Refund, *, later: float, copies: int) -> None:
        """Put the notices of a refund on the way, if the trade has an address for them."""
        if details_of(order).notify_url is None:
            return
        told = NoticeDetails(merchant_no=order.merchant_no, status=self.status(order), refund_no=refund.refund_no)
        notice_id = f"{order.trade_no} {refund.refund_no}"
        for copy in range(copies):
            self.store.add_notice(
                Notice(
                    notice_id=f"{notice_id}#{copy + 1}" if copy else notice_id,
                    subject=order.order_no,
                    due_at=self.now() + int((later / self.around.time_factor + copy) * MICRO),
                    details=msgspec.json.encode(told),
                )
            )

    # Who pays

    def new_code(self, buyer_id: str) -> str:
        """Return a code that is exchanged for ``buyer_id`` once, within five minutes."""
        code = secrets.token_hex(16)
        self.store.put_file(f"login {code}", buyer_id.encode(), expires_at=self.now() + LOGIN_SECONDS * MICRO)
        return code

    def exchange(self, code: str) -> str | None:
        """Return the payer behind a code, once; None for one that is unknown, used or too old."""
        kept = self.store.file(f"login {code}")
        if kept is None:
            return None
        self.store.drop_file(f"login {code}")
        return kept[0].decode() if kept[1] is not None and kept[1] > self.now() else None


def details_of(order: Order) -> Details:
    """Return what only this channel has of a trade."""
    return msgspec.json.decode(order.details, type=Details)


def instant(at: int) -> datetime:
    """Return microseconds since 1970 as an instant (UTC)."""
    return EPOCH + timedelta(microseconds=at)


def wire_time(at: int | None) -> str:
    """Return microseconds since 1970 as the wire writes a time."""
    return "" if at is None else wire.china_time(instant(at))


def canonical(content: Mapping[str, object]) -> bytes:
    """Return a call's content in one form whatever the order of its fields."""
    return msgspec.json.encode(content, order="deterministic")


def _offer_name(merchant_no: str, order_no: str) -> str:
    return f"offer {merchant_no} {order_no}"


def _notice_id(order: Order, status: str) -> str:
    return f"{order.trade_no} {status}"
