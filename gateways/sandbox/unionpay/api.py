"""The gateway's wire: checks the merchant's signature for real, asks the counters, signs every answer.

Knows HTTP forms and respCodes; must not know the rules of orders. Mounted by the stand-in. Source: ACP 5.1.0.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from gateways.contract import Answer
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.shapes import Fault
from gateways.sandbox.store import Order, Refund
from gateways.sandbox.unionpay import told
from gateways.sandbox.unionpay.clearing import Files
from gateways.sandbox.unionpay.desk import REVERSED, SUCCESS, Desk, Refusal, details_of
from gateways.sandbox.unionpay.refunds import DONE, Refunds, word
from gateways.sandbox.unionpay.signing import Members, Signer, answer_body
from gateways.unionpay import sign, wire

Fields = Mapping[str, str]
_FORMS: Final[dict[str, re.Pattern[str]]] = {
    "merId": re.compile(r"[0-9A-Za-z]{15}"),
    "orderId": re.compile(r"[0-9A-Za-z]{8,40}"),
    "txnTime": re.compile(r"[0-9]{14}"),
    "txnAmt": re.compile(r"[1-9][0-9]{0,11}"),
    "currencyCode": re.compile(r"156"),
    "payTimeout": re.compile(r"[0-9]{14}"),
    "backUrl": re.compile(r"https?://[^?#\s]{1,247}"),
    "frontUrl": re.compile(r"https?://\S{1,247}"),
    "origQryId": re.compile(r"[0-9]{21}"),
    "qrNo": re.compile(r"62[0-9]{17}"),
    "termId": re.compile(r"[0-9A-Za-z]{8}"),
    "settleDate": re.compile(r"[0-9]{4}"),
    "reqReserved": re.compile(r"[^&={}\[\]]{1,1024}"),
}
_NAMED: Final = ("txnType", "txnSubType", "bizType", "accessType", "merId", "txnTime")
_MONEY: Final = (*_NAMED, "channelType", "orderId", "txnAmt", "currencyCode", "backUrl")
NEEDED: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("01", "01"): (*_MONEY, "frontUrl"),
    ("01", "07"): (*_MONEY, "termId"),
    ("01", "06"): (*_MONEY, "termId", "qrNo"),
    ("04", "00"): (*_MONEY, "origQryId"),
    ("31", "00"): (*_MONEY, "origQryId"),
    ("99", "01"): (*_NAMED, "channelType", "orderId"),
    ("00", "00"): (*_NAMED, "orderId"),
    ("76", "01"): (*_NAMED, "settleDate", "fileType"),
}
"""Fields without which a transaction is refused, by txnType and txnSubType."""
_BUSINESS: Final = {("01", "01"): "000201", ("01", "07"): "000000", ("01", "06"): "000000"}
_ECHOED: Final = (
    "encoding", "txnType", "txnSubType", "bizType", "accessType", "acqInsCode", "merId", "orderId", "txnTime", "reqReserved",
)  # fmt: skip
_TEXT: Final = {"content-type": "text/html;charset=UTF-8"}
_BROKEN: Final = Answer(status=500, headers={"content-type": "text/plain"}, body=b"")


class Api:
    """The gateway's routes over the counters."""

    def __init__(self, desk: Desk, refunds: Refunds, files: Files, members: Members, signer: Callable[[], Signer]) -> None:
        self._desk, self._refunds, self._files, self._members, self._signer = desk, refunds, files, members, signer
        self.sent: Callable[[], None] = lambda: None
        """Called when a notice may have become due."""

    def routes(self) -> list[Route]:
        """Return the routes of the wire that servers call; the browser's is the cashier's."""
        return [
            route("POST", wire.BACK_PATH, self._answered(self._back)),
            route("POST", wire.QUERY_PATH, self._answered(self._query)),
            route("POST", FILE_PATH, self._answered(self._file)),
        ]

    # The rim

    def _answered(self, speaker: Callable[[Fields], Reply]) -> Callable[[Incoming, re.Match[str]], Reply]:
        def answered(incoming: Incoming, _found: re.Match[str]) -> Reply:
            fields = sign.form_fields(incoming.body) or {}
            try:
                self.check(fields)
                return speaker(fields)
            except Refusal as refusal:
                return self._said(fields, {"respCode": refusal.code, "respMsg": refusal.message})

        return answered

    def check(self, fields: Fields) -> None:
        """Raise Refusal unless a merchant signed exactly this message and it is whole: 11 (signature), 13 (missing), 10 (form)."""
        if (objection := self._members.objection(fields, now=self._desk.around.clock.now())) is not None:
            raise Refusal("11", objection)
        needed = NEEDED.get((fields.get("txnType", ""), fields.get("txnSubType", "")))
        if needed is None:
            raise Refusal("10", "交易类型不支持")
        missing = [name for name in needed if not fields.get(name)]
        if missing:
            raise Refusal("13", f"报文字段缺失：{missing[0]}")
        wrong = [name for name, form in _FORMS.items() if fields.get(name) and form.fullmatch(fields[name]) is None]
        if wrong:
            raise Refusal("10", f"报文字段格式错误：{wrong[0]}")
        business = _BUSINESS.get((fields["txnType"], fields["txnSubType"]))
        if business is not None and fields["bizType"] != business:
            raise Refusal("10", "产品类型与交易不符")

    def _said(self, fields: Fields, more: Fields, faults: tuple[Fault, ...] = ()) -> Reply:
        """Answer, or answer late, or as if it had failed."""
        echoed = {name: fields[name] for name in _ECHOED if _echoes(name, fields.get(name, ""))}
        sealed = self._signer().sealed(echoed | dict(more))
        answer = Answer(status=200, headers=_TEXT, body=answer_body(sealed))
        for fault in faults:
            return Reply(answer=answer, wait_seconds=fault.seconds) if fault.seconds else Reply(answer=_BROKEN)
        return Reply(answer=answer)

    def _accepted(self, fields: Fields, faults: tuple[Fault, ...] = (), **more: str) -> Reply:
        return self._said(fields, {"respCode": "00", "respMsg": told.SUCCESS_WORDS, **more}, faults)

    # Transactions

    def _back(self, fields: Fields) -> Reply:
        txn_type, sub_type = fields["txnType"], fields["txnSubType"]
        if txn_type == "01" and sub_type in ("06", "07"):
            return self._charge(fields) if sub_type == "06" else self._code(fields)
        if txn_type in ("04", "31"):
            return self._refund(fields)
        if txn_type == "99":
            self._refunds.reverse(fields)
            return self._accepted(fields)
        return self._query(fields)

    def _code(self, fields: Fields) -> Reply:
        ordered = self._desk.order("code", fields)
        return self._accepted(fields, ordered.faults, qrCode=self.code(ordered.order))

    def _charge(self, fields: Fields) -> Reply:
        ordered = self._desk.charge(fields)
        self.sent()
        return self._accepted(fields, ordered.faults)

    def code(self, order: Order) -> str:
        """Return the text of the code that the payer scans."""
        return f"{self._desk.config.code_url}/{order.handle}"

    def _refund(self, fields: Fields) -> Reply:
        if self._refunds.fails_before(fields):
            return Reply(answer=_BROKEN)
        asked = self._refunds.ask(fields)
        self.sent()
        return self._accepted(fields, asked.faults, queryId=asked.refund.channel_refund_no, txnAmt=str(asked.refund.refund_fen))

    def _query(self, fields: Fields) -> Reply:
        if fields["txnType"] != wire.QUERY_TYPE:
            raise Refusal("10", "交易类型不支持")
        named = fields["merId"], fields["orderId"], fields["txnTime"]
        order = self._desk.find(*named)
        if order is not None:
            return self._told(fields, self._order_told(order))
        refund = self._refunds.find(*named)
        if refund is None:
            raise Refusal("34", "查无此交易")
        return self._told(fields, self._refund_told(refund))

    def _told(self, fields: Fields, found: Fields) -> Reply:
        more = {name: value for name, value in found.items() if name not in ("respCode", "respMsg")}
        return self._said(fields, more | {"respCode": "00", "respMsg": told.SUCCESS_WORDS})

    def _order_told(self, order: Order) -> dict[str, str]:
        """Return what became of an order. One that nobody tried to pay is not a transaction yet: 34."""
        if order.state == SUCCESS:
            return _settled("00", told.SUCCESS_WORDS) | told.payment(self._desk, order)
        if order.state == REVERSED:
            return _settled("01", Refusal("01", "交易已冲正").message)
        last = details_of(order).last_code
        if last is None:
            raise Refusal("34", "查无此交易")
        return _settled(last, Refusal(last, "支付失败").message)

    def _refund_told(self, refund: Refund) -> dict[str, str]:
        code = word(refund, self._desk.now())
        order = self._desk.store.order(refund.merchant_no, refund.order_no)
        assert order is not None, "a refund belongs to an order"
        if code == DONE:
            return _settled(DONE, told.SUCCESS_WORDS) | told.refund(self._desk, refund, order)
        return _settled(code, Refusal(code, "处理中" if code == "05" else "退货失败").message) | {
            "txnAmt": str(refund.refund_fen),
            "queryId": refund.channel_refund_no,
            "origQryId": order.trade_no or "",
        }

    def _file(self, fields: Fields) -> Reply:
        if fields["txnType"] != "76":
            raise Refusal("10", "交易类型不支持")
        if fields["fileType"] != wire.BILL_FILE_TYPE:
            raise Refusal("10", "文件类型不支持")
        name, content = self._files.file(fields["merId"], fields["settleDate"])
        return self._accepted(fields, settleDate=fields["settleDate"], fileName=name, fileContent=content)


FILE_PATH: Final = "/unionpay/file/"
"""The channel has a host of its own for files, and the path ``/`` there; here all hosts are one."""


def _echoes(name: str, value: str) -> bool:
    """Tell whether an answer can repeat a value: answers are raw text, and are written in an encoding that the channel has."""
    if name == "encoding":
        return wire.codec(value) is not None
    return bool(value) and wire.without_groups(value) == value


def _settled(code: str, words: str) -> dict[str, str]:
    return {"origRespCode": code, "origRespMsg": words}


def web(url: str) -> bool:
    """Tell whether an address is one that a browser may be sent to."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and all("!" <= letter <= "~" for letter in url)
