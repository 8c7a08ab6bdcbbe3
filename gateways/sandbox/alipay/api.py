"""The channel's gateway: checks the application's signature for real, asks the desks, signs every answer.

Knows HTTP forms and error answers; must not know the rules of trades. Mounted by the stand-in.
Source: docs/CHANNELS.md, Alipay.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from html import escape
from typing import Final

import msgspec
from msgspec import Struct

from gateways.alipay import sign, wire
from gateways.contract import Answer
from gateways.sandbox.alipay import shapes
from gateways.sandbox.alipay.bills import KINDS, Bills
from gateways.sandbox.alipay.desk import CLOSED, WAITING, Desk, Details, Kind, Refusal, Wanted, canonical, details_of, wire_time
from gateways.sandbox.alipay.parking import NO_SCENE, Parking
from gateways.sandbox.alipay.refunds import DONE, Refunds, RefundWanted
from gateways.sandbox.alipay.signing import AppSide, Leave, answer, request_holds
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page, redirect
from gateways.sandbox.shapes import Fault, FaultKind
from gateways.sandbox.store import Order
from ledger.money import yuan

GATEWAY_PATH: Final = "/alipay/gateway.do"
DOWNLOAD_PATH: Final = "/alipay/downloadBillFile.resource"
LOGON_ID: Final = "139****0001"
_CLOCK_APART_MAX: Final = timedelta(days=1)
_NEEDED: Final = ("app_id", "method", "charset", "sign_type", "sign", "timestamp", "version")

Told = dict[str, object]


class Asked(Struct, frozen=True):
    """A call that its application signed, and for whom it is."""

    app: AppSide
    merchant_no: str
    auth_app_id: str
    method: str
    fields: Mapping[str, str]
    content: bytes


Speaker = Callable[[Asked], tuple[Told, tuple[Fault, ...]]]


class Api:
    """The gateway's routes over the desks."""

    def __init__(self, desk: Desk, refunds: Refunds, parking: Parking, bills: Bills, wake: Callable[[], None]) -> None:
        self._desk, self._refunds, self._parking, self._bills, self._wake = desk, refunds, parking, bills, wake
        self._speakers: dict[str, Speaker] = {
            wire.CREATE: self._create,
            wire.PRECREATE: self._precreate,
            wire.QUERY: self._query,
            wire.CLOSE: self._close,
            wire.CANCEL: self._cancel,
            wire.REFUND: self._refund,
            wire.REFUND_QUERY: self._refund_query,
            wire.BILL: self._bill,
            wire.LOGIN: self._login,
            wire.PARKING_AGREEMENT: self._agreement,
            wire.PARKING_ENTRY: self._entry,
            wire.PARKING_PAY: self._debit,
        }

    def routes(self) -> list[Route]:
        return [
            route("POST", GATEWAY_PATH, self._gateway),
            route("GET", GATEWAY_PATH, self._gateway),
            route("GET", DOWNLOAD_PATH, self._download),
        ]

    # The rim

    def _gateway(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Answer a call whose fields lie in the address, in the body, or in both."""
        query = incoming.target.partition("?")[2].encode("latin-1")
        form = sign.read_form(query + b"&" + incoming.body)
        method = form.text.get("method", "")
        app = self._desk.config.apps.get(form.text.get("app_id", ""))
        try:
            asked = self._asked(form, app)
            if method == wire.WAP_PAY:
                return self._page(asked)
            if method not in self._speakers:
                raise _gateway_error("isv.invalid-method", "不存在的方法名")
            told, faults = self._speakers[method](asked)
        except Refusal as refusal:
            return self._refused(refusal, method, app)
        self._wake()
        return self._answered(method, told, faults, app)

    def _answered(self, method: str, told: Told, faults: tuple[Fault, ...], app: AppSide | None) -> Reply:
        """Answer what was carried out, or late, or as if it had failed."""
        head: Told = {} if method == wire.LOGIN else {"code": wire.OK, "msg": "Success"}
        wait = sum(fault.seconds for fault in faults)
        if faults and not wait:
            return self._refused(Refusal("ACQ.SYSTEM_ERROR", "系统错误"), method, app)
        said = answer(sign.node_name(method), {**head, **told}, app=app, signer=self._desk.signer())
        return Reply(answer=said, wait_seconds=wait)

    def _refused(self, refusal: Refusal, method: str, app: AppSide | None) -> Reply:
        if method == wire.WAP_PAY:
            words = f'<p class="said">{escape(str(refusal))}</p><p>错误码 {escape(refusal.sub_code)}</p>'
            return page(400, title="收银台（模拟）", heading="支付宝 · 模拟收银台", content=words)
        node = sign.node_name(method) if refusal.code == "40004" and method in self._speakers else sign.ERROR_NODE
        told = {"code": refusal.code, "msg": refusal.msg, "sub_code": refusal.sub_code, "sub_msg": str(refusal)}
        return Reply(answer=answer(node, told, app=app, signer=self._desk.signer()))

    def _asked(self, form: sign.Form, app: AppSide | None) -> Asked:
        """Return the call when its application signed exactly this one within a day. Raises Refusal."""
        if form.reason is not None:
            raise _gateway_error("isv.invalid-parameter", f"请求无法解析：{form.reason}")
        for name in _NEEDED:
            if name not in form.text:
                raise _gateway_error(f"isv.missing-{name.replace('_', '-')}", f"缺少{name}", code="40001", msg="Missing Arguments")
        if app is None:
            raise _gateway_error("isv.invalid-app-id", "无效的AppID参数")
        if form.text["sign_type"] != sign.RSA2 or not request_holds(form, app):
            raise _gateway_error("isv.invalid-signature", "无效签名")
        sent_at = wire.instant(form.text["timestamp"])
        if sent_at is None or abs(self._desk.around.clock.now() - sent_at) > _CLOCK_APART_MAX:
            raise _gateway_error("isv.invalid-timestamp", "非法的时间戳参数")
        if app.cert_sn is not None:
            given = (form.text.get("app_cert_sn"), form.text.get("alipay_root_cert_sn"))
            if given != (app.cert_sn, app.root_cert_sn):
                raise _gateway_error("isv.invalid-parameter", "应用公钥证书序列号或根证书序列号不正确")
        leave = self._leave(form.text.get("app_auth_token"), app)
        content = form.raw.get(b"biz_content", b"{}")
        return Asked(app, leave.merchant_no, leave.auth_app_id, form.text["method"], form.text, content)

    def _leave(self, token: str | None, app: AppSide) -> Leave:
        if token is None:
            return Leave(merchant_no=app.merchant_no, auth_app_id=app.app_id)
        if (leave := self._desk.config.leaves.get(token)) is None:
            raise Refusal("aop.invalid-app-auth-token", "无效的应用授权令牌", code="20001", msg="授权权限不足")
        return leave

    # Trades

    def _wanted(self, asked: Asked, kind: Kind) -> tuple[Wanted, shapes.TradeIn]:
        told: shapes.TradeIn = shapes.read(asked.content, shapes.TradeIn)
        _check_seller(told.seller_id, asked)
        seconds = shapes.life_seconds(told.timeout_express)
        expires_at = None if seconds is None else self._desk.now() + seconds * 1_000_000
        details = Details(
            kind=kind, app_id=asked.app.app_id, auth_app_id=asked.auth_app_id, subject=told.subject,
            notify_url=asked.fields.get("notify_url"), return_url=asked.fields.get("return_url"), quit_url=told.quit_url,
            passback_params=told.passback_params, buyer_id=told.buyer_id or told.buyer_open_id,
        )  # fmt: skip
        wanted = Wanted(
            merchant_no=asked.merchant_no, order_no=told.out_trade_no, amount_fen=shapes.amount_fen(told.total_amount),
            content=canonical(msgspec.json.decode(asked.content)), details=details,
            expires_at=shapes.end(told.time_expire) or expires_at,
        )  # fmt: skip
        return wanted, told

    def _create(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        wanted, told = self._wanted(asked, "create")
        if (told.buyer_id is None) == (told.buyer_open_id is None):
            raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：buyer_id和buyer_open_id必须且只能有一个")
        if told.buyer_id == asked.merchant_no:
            raise Refusal("ACQ.BUYER_SELLER_EQUAL", "买卖家不能相同")
        order = self._desk.place(wanted)
        faults = self._desk.store.faults({FaultKind.UNKNOWN}, order.order_no)
        return {"out_trade_no": order.order_no, "trade_no": order.trade_no}, faults

    def _precreate(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        wanted, told = self._wanted(asked, "precreate")
        offer = self._desk.offer(wanted, shapes.life_seconds(told.qr_code_timeout_express))
        faults = self._desk.store.faults({FaultKind.UNKNOWN}, wanted.order_no)
        return {"out_trade_no": wanted.order_no, "qr_code": f"{self._desk.around.base_url}/alipay/qr/{offer.handle}"}, faults

    def _page(self, asked: Asked) -> Reply:
        """Make the trade now that its payer has come, and lead to the cashier."""
        wanted, _ = self._wanted(asked, "wap")
        known = self._desk.store.order(wanted.merchant_no, wanted.order_no)
        if known is not None and known.content == wanted.content:
            return redirect(302, f"/alipay/cashier/{known.trade_no}")  # paid or closed: the cashier says so
        return redirect(302, f"/alipay/cashier/{self._desk.place(wanted).trade_no}")

    def _found(self, asked: Asked, kind: type[shapes.TradeNameIn] = shapes.TradeNameIn) -> tuple[Order, shapes.TradeNameIn]:
        told: shapes.TradeNameIn = shapes.read(asked.content, kind)
        return self._desk.find(asked.merchant_no, order_no=told.out_trade_no, trade_no=told.trade_no), told

    def _query(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        order, _ = self._found(asked)
        amount, details = yuan(order.amount_fen), details_of(order)
        told: Told = {
            "buyer_logon_id": LOGON_ID, "buyer_user_id": details.buyer_id or "", "out_trade_no": order.order_no,
            "total_amount": amount, "trade_no": order.trade_no, "trade_status": self._desk.status(order),
            "point_amount": "0.00", "invoice_amount": amount if order.paid_at else "0.00",
            "buyer_pay_amount": amount if order.paid_at else "0.00", "receipt_amount": amount if order.paid_at else "0.00",
        }  # fmt: skip
        if order.paid_at is not None:
            told["send_pay_date"] = wire_time(order.paid_at)
            told["fund_bill_list"] = [{"amount": amount, "fund_channel": "ALIPAYACCOUNT"}]
        return told, ()

    def _close(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        order, _ = self._found(asked)
        self._desk.close(order)
        return {"out_trade_no": order.order_no, "trade_no": order.trade_no}, ()

    def _cancel(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        """Close what is unpaid and refund what is paid; without a trade there is nothing to do, and no action is named."""
        named: shapes.TradeNameIn = shapes.read(asked.content, shapes.TradeNameIn)
        try:
            order, _ = self._found(asked)
        except Refusal as refusal:
            if refusal.sub_code != "ACQ.TRADE_NOT_EXIST":
                raise
            return {"out_trade_no": named.out_trade_no or "", "retry_flag": "N"}, ()
        told: Told = {"out_trade_no": order.order_no, "trade_no": order.trade_no, "retry_flag": "N"}
        if self._desk.now() > order.created_at + wire.CANCEL_HOURS_MAX * 3_600_000_000:
            raise Refusal("ACQ.REASON_TRADE_STATUS_INVALID", "交易状态异常")
        status = self._desk.status(order)
        if status == WAITING:
            self._desk.close(order)
            return {**told, "action": "close"}, ()
        if status == CLOSED:
            return {**told, "action": "refund" if order.paid_at is not None else "close"}, ()
        left_fen = self._desk.left_fen(order)
        made = self._refunds.ask(order, RefundWanted(refund_no=order.order_no, refund_fen=left_fen, content=asked.content))
        return {**told, "action": "refund", "gmt_refund_pay": wire_time(made.refund.ends_at)}, made.faults

    # Refunds

    def _refund(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        order, told = self._found(asked, shapes.RefundIn)
        assert isinstance(told, shapes.RefundIn), "it was read as one"
        content = canonical(msgspec.json.decode(asked.content))
        amount_fen = shapes.amount_fen(told.refund_amount)
        made = self._refunds.ask(
            order, RefundWanted(refund_no=told.out_request_no or order.order_no, refund_fen=amount_fen, content=content)
        )
        return {
            "trade_no": order.trade_no, "out_trade_no": order.order_no, "buyer_logon_id": LOGON_ID,
            "buyer_user_id": details_of(order).buyer_id, "fund_change": "Y" if made.moved else "N",
            "refund_fee": yuan(self._refunds.refunded_fen(order)), "send_back_fee": yuan(amount_fen),
            "gmt_refund_pay": wire_time(made.refund.ends_at),
            "refund_detail_item_list": [{"amount": yuan(amount_fen), "fund_channel": "ALIPAYACCOUNT"}],
        }, made.faults  # fmt: skip

    def _refund_query(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        order, told = self._found(asked, shapes.RefundQueryIn)
        assert isinstance(told, shapes.RefundQueryIn), "it was read as one"
        refund = self._refunds.find(order, told.out_request_no)
        if refund is None:
            return {}, ()
        said: Told = {
            "trade_no": order.trade_no, "out_trade_no": order.order_no, "out_request_no": refund.refund_no, "refund_status": DONE,
            "total_amount": yuan(order.amount_fen), "refund_amount": yuan(refund.refund_fen),
        }  # fmt: skip
        if "gmt_refund_pay" in told.query_options:
            said["gmt_refund_pay"] = wire_time(refund.ends_at)
        return said, ()

    # Parking

    def _agreement(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        told: shapes.AgreementIn = shapes.read(asked.content, shapes.AgreementIn)
        buyer_id = told.alipay_user_id or told.open_id
        agreement = self._parking.agreement(told.car_number)
        scenes = NO_SCENE if agreement is None else agreement.scenes
        return {"agreement_status": self._parking.status(told.car_number, buyer_id=buyer_id), "agreement_scene": scenes}, ()

    def _entry(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        told: shapes.EntryIn = shapes.read(asked.content, shapes.EntryIn)
        serial_no = self._parking.enter(
            asked.merchant_no, parking_id=told.parking_id, plate=told.car_number, in_time=told.in_time
        )  # fmt: skip
        said: Told = {"serial_no": serial_no, "current_time": wire_time(self._desk.now())}
        if told.agreement_query:
            agreement = self._parking.agreement(told.car_number)
            said["agreement_scene"] = NO_SCENE if agreement is None else agreement.scenes
            said["car_status"] = "NORMAL" if agreement is None else "NON-SENSE-PAY"
        return said, ()

    def _debit(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        told: shapes.DebitIn = shapes.read(asked.content, shapes.DebitIn)
        _check_seller(told.seller_id, asked)
        if not told.parking_id and not told.out_parking_id:
            raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：parking_id和out_parking_id不能同时为空")
        details = Details(
            kind="parking", app_id=asked.app.app_id, auth_app_id=asked.auth_app_id, subject=told.subject,
            notify_url=asked.fields.get("notify_url"), plate=told.car_number,
        )  # fmt: skip
        amount_fen = shapes.amount_fen(told.total_fee)
        wanted = Wanted(
            merchant_no=asked.merchant_no, order_no=told.out_trade_no, amount_fen=amount_fen,
            content=canonical(msgspec.json.decode(asked.content)), details=details,
        )  # fmt: skip
        made = self._parking.debit(wanted, plate=told.car_number)
        amount = yuan(amount_fen)
        return {
            "trade_no": made.order.trade_no, "out_trade_no": made.order.order_no, "total_fee": amount,
            "user_id": details_of(made.order).buyer_id, "gmt_payment": wire_time(made.order.paid_at),
            "fund_bill_list": [{"amount": amount, "fund_channel": "ALIPAYACCOUNT"}],
        }, made.faults  # fmt: skip

    # Bills and logins

    def _bill(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        told: shapes.BillIn = shapes.read(asked.content, shapes.BillIn)
        if told.bill_type not in KINDS:
            raise _gateway_error("isv.invalid-parameter", "不支持的账单类型")
        token = self._bills.token(told.bill_type, told.bill_date, asked.merchant_no)
        return {"bill_download_url": f"{self._desk.around.base_url}{DOWNLOAD_PATH}?token={token}", "bill_file_code": ""}, ()

    def _download(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        """Return the archive; a dead address answers a page, with status 200."""
        content = self._bills.file(incoming.query.get("token", ""))
        if content is None:
            return page(200, title="下载失败", heading="支付宝 · 账单下载", content='<p class="said">下载链接已失效</p>')
        return Reply(answer=Answer(status=200, headers={"content-type": "application/zip"}, body=content))

    def _login(self, asked: Asked) -> tuple[Told, tuple[Fault, ...]]:
        buyer_id = None
        if asked.fields.get("grant_type") == "authorization_code":
            buyer_id = self._desk.exchange(asked.fields.get("code", ""))
        if buyer_id is None:
            raise _gateway_error("isv.code-invalid", "授权码code无效")
        return {
            "user_id": buyer_id, "access_token": secrets.token_hex(20), "refresh_token": secrets.token_hex(20),
            "expires_in": "1296000", "re_expires_in": "2592000", "auth_start": wire_time(self._desk.now()),
        }, ()  # fmt: skip


def _check_seller(seller_id: str | None, asked: Asked) -> None:
    if seller_id not in (None, asked.merchant_no):
        raise Refusal("ACQ.INVALID_PARAMETER", "参数无效：seller_id与授权商户不一致")


def _gateway_error(sub_code: str, words: str, *, code: str = "40002", msg: str = "Invalid Arguments") -> Refusal:
    return Refusal(sub_code, words, code=code, msg=msg)
