"""The channel's counter: orders, payments, closes, notices and bills by the channel's rules. Refunds have their own, see refunds.

Knows the rules and the state; must not know HTTP or signatures of requests. Called by the sandbox's routes.
Source: docs/CHANNELS.md, WeChat Pay.
"""

import secrets
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from msgspec import Struct

from gateways.keys import canonical_serial
from gateways.sandbox.chance import digits, hex_text
from gateways.sandbox.faults import delay_seconds, met
from gateways.sandbox.shapes import ON_NOTICE, Fault, FaultKind, FaultPlan, PaidOut
from gateways.sandbox.wechat import bill as bill_form
from gateways.sandbox.wechat.shapes import (
    AmountOut,
    CertificateOut,
    CertificatesOut,
    EncryptedCertificateOut,
    OrderIn,
    SceneIn,
    TradeType,
    TransactionOut,
)
from gateways.sandbox.wechat.signing import IssuedCertificate, PaidOrder, Signer, box, issue_certificate, rfc3339, transaction
from gateways.sandbox.wechat.state import CombinedOrder, Handle, Notice, Order, State
from gateways.wechat import wire
from ledger.clock import CHINA, EPOCH, Clock, SystemClock, microseconds

ORDER_DAYS: Final = 7
CODE_SECONDS: Final = 300
SWITCH_SHARES: Final = (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Share of notices that the public key signs on each day of the change to it."""
HANDLE_SECONDS: Final = {"MWEB": 300}
HANDLE_SECONDS_ELSE: Final = 7200
SCANNER: Final = "oSandboxWhoeverScannedFirst"
"""Pays an order that names no payer when nobody says who he is."""
_MICRO: Final = 1_000_000
_STATE_TEXTS: Final = {"NOTPAY": "订单未支付", "CLOSED": "订单已关闭", "SUCCESS": "支付成功"}
_REFUNDED_TEXT: Final = "订单发生过退款，退款详情请查询退款单"


class SandboxConfig(Struct, frozen=True, kw_only=True):
    """Everything the stand-in is given. With ``manual`` nothing is sent by itself: notices go out on ``/_control/deliver``."""

    state_path: Path
    base_url: str
    """Its own address, as others reach it."""
    provider_no: str
    app_id: str
    app_secret: str
    api_key: bytes
    merchant_key: RSAPublicKey
    """Verifies the provider's requests."""
    merchant_serial: str
    certificate: IssuedCertificate
    """The first platform certificate; later ones come by rotation and are remembered."""
    public_key: Signer
    signing_mode: Literal["certificate", "public_key", "mixed", "switching"] = "mixed"
    """What notices are signed with; answers follow the request, except that ``certificate`` always answers with that.
    ``switching``: as ``certificate`` until ``switch_began_at``, then a growing share of notices by the public key."""
    switch_began_at: datetime | None = None
    """When the change to the public key was started on the merchant site; it takes seven days."""
    time_factor: float = 1.0
    """How many times faster than real the notices' schedule and the refunds run."""
    fee_bps: int = 60
    clock: Clock = msgspec.field(default_factory=SystemClock)
    manual: bool = False
    seed: str | None = None
    """Makes trade numbers, notices and faults repeatable; None: by chance, once for the life of the state."""
    check_referer: bool = True
    """Open an H5 address only from a page that says where it comes from, as the channel does."""
    deduct_seconds: float = 2.0
    """How long a deduction is in process."""
    bill_bom: bool = True
    bill_crlf: bool = True
    bill_ready_hour: int = 10
    refund_seconds: float = 60.0
    """How long a refund is in process."""
    refund_gap_seconds: float = 0.0
    """Least pause between two refunds of one order; the channel's text asks for a minute, 0 lets all through."""
    check_balance: bool = False
    """Refuse refunds beyond what the merchant has taken, less commission and refunds, since takings were settled at midnight."""


class ApiRefusal(Exception):
    """An error answer of the channel."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Ordered(Struct, frozen=True):
    """What the payer's page is led by (a prepay id, or the end of a code), and the faults that meet the answer."""

    prepay_id: str
    faults: tuple[Fault, ...]


class Desk:
    """The counter. One thread at a time."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.clock = config.clock
        self.state = State(config.state_path)
        self.seed = config.seed or self._remembered_seed()
        if not self.state.certificates():
            self.state.add_certificate(config.certificate.certificate, config.certificate.key)
        self._certificates = [IssuedCertificate(*pair) for pair in self.state.certificates()]
        self._signers = [issued.signer() for issued in self._certificates]

    def close(self) -> None:
        self.state.close()

    def _remembered_seed(self) -> str:
        if (kept := self.state.remark("seed")) is None:
            kept = secrets.token_hex(16).encode()
            self.state.set_remark("seed", kept)
        return kept.decode()

    def now(self) -> int:
        """Return the present instant in microseconds."""
        return microseconds(self.clock.now())

    # Keys

    def answer_signer(self, asked: str | None) -> Signer:
        """Return what an answer is signed with: the kind that the request's Wechatpay-Serial names; no header means certificate."""
        wants_public = asked is not None and canonical_serial(asked) == canonical_serial(self.config.public_key.serial)
        return self.config.public_key if wants_public and self._public_share() is not None else self._signers[-1]

    def _public_share(self) -> float | None:
        """Return the share of notices that the public key signs; None while it signs nothing at all."""
        mode, began_at = self.config.signing_mode, self.config.switch_began_at
        if mode != "switching":
            return {"certificate": None, "public_key": 1.0, "mixed": 0.5}[mode]
        if began_at is None or self.clock.now() < began_at:
            return None
        return SWITCH_SHARES[min((self.clock.now() - began_at).days, len(SWITCH_SHARES) - 1)]

    def notice_signer(self, notice_id: str, attempt: int) -> Signer:
        """Return what a notice is signed with; either, by seed, in mixed mode and during a switch."""
        drawn = int(digits(6, self.seed, "signer", notice_id, attempt)) / 1_000_000
        return self.config.public_key if drawn < (self._public_share() or 0.0) else self._signers[-1]

    def rotate(self) -> str:
        """Issue a new platform certificate and sign with it from now on. Returns its serial."""
        issued = issue_certificate(at=self.clock.now())
        self.state.add_certificate(issued.certificate, issued.key)
        self._certificates.append(issued)
        self._signers.append(issued.signer())
        return self._signers[-1].serial

    def certificates(self) -> CertificatesOut:
        """Return all platform certificates, encrypted for the provider."""
        rows = []
        for issued, signer in zip(self._certificates, self._signers, strict=True):
            nonce = hex_text(12, self.seed, "certificate", signer.serial)
            sealed = box(issued.certificate, api_key=self.config.api_key, nonce=nonce, associated="certificate")
            rows.append(
                CertificateOut(
                    serial_no=signer.serial,
                    effective_time=rfc3339(issued.valid_from()),
                    expire_time=rfc3339(issued.valid_until()),
                    encrypt_certificate=EncryptedCertificateOut(
                        algorithm=wire.BOX, nonce=nonce, associated_data="certificate", ciphertext=sealed
                    ),
                )
            )
        return CertificatesOut(data=rows)

    # Faults

    def plan(self) -> FaultPlan:
        kept = self.state.remark("faults")
        return FaultPlan(faults=()) if kept is None else msgspec.json.decode(kept, type=FaultPlan)

    def set_plan(self, plan: FaultPlan) -> None:
        """Take a fault plan; a rotation in it is carried out at once and does not stay."""
        for fault in plan.faults:
            if fault.kind is FaultKind.ROTATE_KEY:
                self.rotate()
        left = tuple(fault for fault in plan.faults if fault.kind is not FaultKind.ROTATE_KEY)
        self.state.set_remark("faults", msgspec.json.encode(FaultPlan(faults=left)))

    def faults(
        self, kinds: Iterable[FaultKind], subject: str, *, bill_on: date | None = None, refund_no: str | None = None
    ) -> tuple[Fault, ...]:
        """Return the faults that meet ``subject`` now; counts go down."""
        plan = self.plan()
        hit, left = met(plan, kinds, subject=subject, seed=self.seed, bill_on=bill_on, refund_no=refund_no)
        if left != plan:
            self.state.set_remark("faults", msgspec.json.encode(left))
        return hit

    # Orders

    def order(self, wanted: OrderIn, content: bytes, trade_type: TradeType) -> Ordered:
        """Make an order, or give a fresh handle for the identical one while it is unpaid and unexpired.

        Raises ApiRefusal: ORDERPAID, ORDER_CLOSED, INVALID_REQUEST (other content under the same number), PARAM_ERROR.
        """
        with self.state.together():
            known = self.state.order(wanted.out_trade_no)
            if known is None:
                self._add(wanted, content, trade_type)
            elif known.combined_no is not None or known.trade_type != trade_type:
                raise ApiRefusal(403, "OUT_TRADE_NO_USED", "商户订单号重复")
            else:
                self.check_repeat(known, content)
            prepay_id = self.new_handle(wanted.out_trade_no, trade_type)
            hit = self.faults({FaultKind.UNKNOWN}, wanted.out_trade_no)
        return Ordered(prepay_id=prepay_id, faults=hit)

    def new_handle(self, number: str, trade_type: TradeType, *, combined: bool = False) -> str:
        """Return what the payer's page will know an order by. Called inside ``together``."""
        order_no, combined_no = ("", number) if combined else (number, None)
        count = self.state.handles(order_no, combined_no)
        prepay_id = self._handle_id(number, trade_type, count)
        self.state.add_handle(Handle(prepay_id=prepay_id, order_no=order_no, made_at=self.now(), combined_no=combined_no))
        return prepay_id

    def _handle_id(self, number: str, trade_type: str, count: int) -> str:
        if trade_type == "NATIVE":
            return hex_text(16, self.seed, "code", number, count)
        at = self.clock.now().astimezone(CHINA)
        return f"wx{at:%Y%m%d%H%M%S}{hex_text(20, self.seed, 'prepay', number, count)}"

    def alive(self, handle: Handle, trade_type: str) -> bool:
        """Tell whether a handle opens the cashier: for two hours, an H5 address five minutes, a code until there is a newer one."""
        if handle.made_at + HANDLE_SECONDS.get(trade_type, HANDLE_SECONDS_ELSE) * _MICRO <= self.now():
            return False
        if trade_type != "NATIVE":
            return True
        count = self.state.handles(handle.order_no, handle.combined_no)
        return handle.prepay_id == self._handle_id(handle.combined_no or handle.order_no, trade_type, count - 1)

    def _add(self, wanted: OrderIn, content: bytes, trade_type: TradeType) -> None:
        if wanted.sp_appid != self.config.app_id:
            raise ApiRefusal(400, "APPID_MCHID_NOT_MATCH", "sp_appid与sp_mchid不匹配")
        if wanted.sub_mchid == wanted.sp_mchid:
            raise ApiRefusal(400, "PARAM_ERROR", "sub_mchid不能与sp_mchid相同")
        if trade_type == "MWEB":
            check_scene(wanted.scene_info)
        now = self.now()
        self.state.add_order(
            Order(
                order_no=wanted.out_trade_no,
                merchant_no=wanted.sub_mchid,
                app_id=wanted.sp_appid,
                sub_app_id=wanted.sub_appid,
                description=wanted.description,
                attach=wanted.attach,
                amount_fen=wanted.amount.total,
                openid=_openid(wanted) if trade_type == "JSAPI" else "",
                notify_url=wanted.notify_url,
                content=content,
                expires_at=self.expires_at(wanted.time_expire),
                created_at=now,
                trade_type=trade_type,
            )
        )

    def expires_at(self, time_expire: datetime | None) -> int:
        """Return the last moment of paying. Raises ApiRefusal PARAM_ERROR for one too far ahead."""
        now = self.now()
        expires_at = now + ORDER_DAYS * 86_400 * _MICRO
        if time_expire is not None:
            latest = now + wire.TIME_EXPIRE_DAYS_MAX * 86_400 * _MICRO
            if (expires_at := microseconds(time_expire)) > latest:
                raise ApiRefusal(400, "PARAM_ERROR", "time_expire超出范围")
        return max(expires_at, now + 60 * _MICRO)

    def check_repeat(self, known: Order | CombinedOrder, content: bytes) -> None:
        """Raise ApiRefusal unless a repeated call is the same, and the order can still be paid."""
        if known.state == "SUCCESS":
            raise ApiRefusal(400, "ORDERPAID", "该订单已支付")
        if known.state == "CLOSED" or known.expires_at <= self.now():
            raise ApiRefusal(400, "ORDER_CLOSED", "该订单已关闭")
        if known.content != content:
            raise ApiRefusal(400, "INVALID_REQUEST", "请求重入时，参数与首次请求时不一致")

    def close_order(self, order_no: str, merchant_no: str) -> None:
        """Close an order. Repeatable. Raises ApiRefusal: ORDER_NOT_EXIST, ORDER_PAID."""
        known = self.find_alone(order_no, merchant_no)
        if known.state == "SUCCESS":
            raise ApiRefusal(400, "ORDER_PAID", "该订单已支付")
        self.state.close_order(order_no)

    def find(self, order_no: str, merchant_no: str) -> Order:
        """Return an order of a merchant. Raises ApiRefusal ORDER_NOT_EXIST."""
        return self._of(self.state.order(order_no), merchant_no)

    def find_alone(self, order_no: str, merchant_no: str) -> Order:
        """Return an order made by itself: legs and deductions have calls of their own. Raises ApiRefusal ORDER_NOT_EXIST."""
        known = self.find(order_no, merchant_no)
        if known.combined_no is not None or known.trade_type == "PARKING":
            raise ApiRefusal(404, "ORDER_NOT_EXIST", "订单不存在")
        return known

    def find_trade(self, trade_no: str, merchant_no: str) -> Order:
        """Return a paid order by the channel's number. Raises ApiRefusal ORDER_NOT_EXIST."""
        return self._of(self.state.order_by_trade(trade_no), merchant_no)

    def _of(self, known: Order | None, merchant_no: str) -> Order:
        if known is None or known.merchant_no != merchant_no:
            raise ApiRefusal(404, "ORDER_NOT_EXIST", "订单不存在")
        return known

    def told(self, order: Order) -> TransactionOut:
        """Return what a query answers."""
        if order.state == "SUCCESS":
            paid = transaction(self.paid(order))
            if any(refund.word(self.now()) != "CLOSED" for refund in self.state.refunds_of(order.order_no)):
                return msgspec.structs.replace(paid, trade_state="REFUND", trade_state_desc=_REFUNDED_TEXT)
            return paid
        payer = wire.Payer(sub_openid=order.openid) if order.sub_app_id else wire.Payer(sp_openid=order.openid)
        return TransactionOut(
            sp_appid=order.app_id,
            sp_mchid=self.config.provider_no,
            sub_appid=order.sub_app_id,
            sub_mchid=order.merchant_no,
            out_trade_no=order.order_no,
            trade_state=order.state,
            trade_state_desc=_STATE_TEXTS[order.state],
            payer=payer if order.openid else None,
            amount=AmountOut(total=order.amount_fen, payer_total=order.amount_fen),
        )

    def paid(self, order: Order) -> PaidOrder:
        """Return a paid order as notices tell of it."""
        assert order.trade_no is not None, "the order is paid"
        assert order.paid_at is not None, "the order is paid"
        return PaidOrder(
            order_no=order.order_no,
            trade_no=order.trade_no,
            provider_no=self.config.provider_no,
            merchant_no=order.merchant_no,
            amount_fen=order.amount_fen,
            paid_at=instant(order.paid_at),
            app_id=order.app_id,
            openid=order.openid,
            sub_app_id=order.sub_app_id,
            attach=order.attach,
            trade_type=order.trade_type,
        )

    # Paying

    def pay(self, order: Order, openid: str | None = None) -> PaidOut:
        """Take the payer's money for an order and put its notices on the way. A leg is paid with its combined order, see combined.

        Raises ApiRefusal: ORDERPAID, ORDER_CLOSED (closed, or too late), OPENID_MISMATCH.
        """
        assert order.combined_no is None, "a leg is not paid by itself"
        payer = self.check_payable(order, openid)
        with self.state.together():
            paid = self.take(order, payer)
            self.put_notices(order.order_no, self.faults(ON_NOTICE, order.order_no))
        return paid

    def check_payable(self, order: Order | CombinedOrder, openid: str | None) -> str:
        """Return who pays. Raises ApiRefusal as ``pay`` does."""
        if order.state == "SUCCESS":
            raise ApiRefusal(409, "ORDERPAID", "该订单已支付")
        if order.state != "NOTPAY" or order.expires_at <= self.now():
            raise ApiRefusal(409, "ORDER_CLOSED", "该订单已关闭或已过期")
        if openid is not None and order.openid and openid != order.openid:
            raise ApiRefusal(409, "OPENID_MISMATCH", "该订单只能由下单的用户支付")
        return order.openid or openid or SCANNER

    def take(self, order: Order, openid: str) -> PaidOut:
        """Book an order's money. Called inside ``together``."""
        return self._take(order, openid, self.now())

    def settle(self) -> None:
        """Book the deductions whose end has come, each at its own instant."""
        for ended in self.state.parking.ended(self.now()):
            order = self.state.order(ended.order_no)
            assert order is not None, "a deduction has an order"
            with self.state.together():
                if ended.ends == "SUCCESS":
                    self._take(order, order.openid, ended.ends_at)
                else:
                    self.state.set_failed(order.order_no)

    def _take(self, order: Order, openid: str, now: int) -> PaidOut:
        trade_no = self.trade_no("trade", order.order_no)
        fee_fen = bill_form.fee_fen(order.amount_fen, self.config.fee_bps)
        self.state.set_paid(order.order_no, trade_no=trade_no, paid_at=now, fee_fen=fee_fen, openid=openid)
        return PaidOut(order_no=order.order_no, trade_no=trade_no, amount_fen=order.amount_fen, paid_at=instant(now))

    def trade_no(self, kind: str, number: str) -> str:
        """Return the channel's own number of a payment."""
        at, chance = self.clock.now().astimezone(CHINA), digits(16, self.seed, kind, number)
        return f"4200{chance[:6]}{at:%Y%m%d}{chance[6:]}"

    def put_notices(
        self,
        number: str,
        hit: tuple[Fault, ...],
        *,
        combined_no: str | None = None,
        event: str | None = None,
        due_at: int | None = None,
        told: bytes | None = None,
    ) -> None:
        """Put the notice of a payment, or of an entry with what it tells, on the way, as its faults will have it.

        Called inside ``together``.
        """
        kinds, name = {fault.kind for fault in hit}, (number,) if event is None else (number, event)
        if FaultKind.NEVER in kinds:
            return
        if told is not None:  # an entry changes more than once
            name = (*name, str(self.state.notices_about(number)))
        later = delay_seconds(hit, subject=number, seed=self.seed) / self.config.time_factor
        notice_id, kept = f"EV-{hex_text(32, self.seed, 'notice', *name)}", msgspec.json.encode(hit)
        for copy in range(2 if FaultKind.TWICE in kinds else 1):
            self.state.add_notice(
                Notice(
                    notice_id=f"{notice_id}#{copy + 1}" if copy else notice_id,
                    order_no=number,
                    due_at=(self.now() if due_at is None else due_at) + int((later + copy) * _MICRO),
                    attempts=0,
                    state="waiting",
                    faults=kept,
                    combined_no=combined_no,
                    event=event,
                    told=told,
                )
            )

    # Who pays

    def new_code(self, openid: str) -> str:
        """Return a code that is exchanged for ``openid`` once, within five minutes."""
        code = secrets.token_hex(16)
        self.state.add_code(code, openid, self.now() + CODE_SECONDS * _MICRO)
        return code

    def exchange(self, code: str) -> str | int:
        """Return the openid behind a code, or the error number: 40029 unknown or too old, 40163 used."""
        kept = self.state.use_code(code)
        if kept is None or kept[1] <= self.now():
            return 40029
        return 40163 if kept[2] else kept[0]


def check_scene(scene: SceneIn | None) -> None:
    """Raise ApiRefusal PARAM_ERROR unless an H5 order says whose phone it is and what page leads to the wallet."""
    if scene is None or scene.h5_info is None:
        raise ApiRefusal(400, "PARAM_ERROR", "H5支付缺少scene_info.payer_client_ip或h5_info")


def _openid(wanted: OrderIn) -> str:
    payer = wanted.payer or wire.Payer()
    openid = payer.sub_openid if payer.sub_openid and wanted.sub_appid else payer.sp_openid
    if not openid:
        raise ApiRefusal(400, "PARAM_ERROR", "payer缺少openid")
    return openid


def instant(at: int) -> datetime:
    """Return microseconds since 1970 as an instant (UTC)."""
    return EPOCH + timedelta(microseconds=at)
