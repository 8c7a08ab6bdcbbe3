"""The channel's API: checks the provider's signature for real, asks the desk, signs every answer.

Knows HTTP forms and error answers; must not know the rules of orders. Mounted by the sandbox's application.
Source: docs/CHANNELS.md, WeChat Pay.
"""

import gzip
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateways.contract import Answer
from gateways.keys import VerificationKey, canonical_serial
from gateways.sandbox.chance import digits, hex_text
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.shapes import Fault
from gateways.sandbox.wechat.bill import Form
from gateways.sandbox.wechat.bills import Bills
from gateways.sandbox.wechat.combined import Combined
from gateways.sandbox.wechat.desk import ApiRefusal, Desk
from gateways.sandbox.wechat.fund import OPERATOR_ACCOUNTS, PROVIDER_ACCOUNTS, Funds
from gateways.sandbox.wechat.parking import ParkingService
from gateways.sandbox.wechat.parking_shapes import DeductIn, EntryIn
from gateways.sandbox.wechat.refunds import Refunds
from gateways.sandbox.wechat.shapes import CombinedCloseIn, CombinedIn, FailureDetail, FailureOut, OrderIn, RefundIn, TradeType
from gateways.sandbox.wechat.signing import answer_headers
from gateways.wechat import parking_wire, sign, wire

DOWNLOAD_PATH: Final = "/v3/billdownload/file"
H5_PATH: Final = "/cgi-bin/mmpayweb-bin/checkmweb"
CODE: Final = "weixin://wxpay/bizpayurl?pr="
_ORDER_PATHS: Final[dict[str, TradeType]] = {wire.JSAPI_PATH: "JSAPI", wire.H5_PATH: "MWEB", wire.NATIVE_PATH: "NATIVE"}
_COMBINED_PATHS: Final[dict[str, TradeType]] = {
    wire.COMBINED_JSAPI_PATH: "JSAPI", wire.COMBINED_H5_PATH: "MWEB", wire.COMBINED_NATIVE_PATH: "NATIVE"
}  # fmt: skip
_SERVICE_NEEDS: Final = ("appid", "sub_mchid", "plate_number", "plate_color", "openid")
_PARTS: Final = re.compile(r'(\w+)="([^"]*)"')
_PARTS_NEEDED: Final = frozenset({"mchid", "nonce_str", "timestamp", "serial_no", "signature"})
_NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}")
_FORMS: Final[dict[str, Form]] = {"ALL": "ALL", "SUCCESS": "SUCCESS", "REFUND": "REFUND"}

Spoken = tuple[Answer, float]
Speaker = Callable[[Incoming, re.Match[str]], Spoken]


class Api:
    """The API's routes over a desk and its refund counter."""

    def __init__(self, desk: Desk, refunds: Refunds) -> None:
        self._desk = desk
        self._refunds = refunds
        self._combined = Combined(desk)
        self._parking = ParkingService(desk)
        self._bills = Bills(desk)
        self._funds = Funds(desk, self._bills)

    def routes(self) -> list[Route]:
        """Return the routes of ``/v3``."""
        combined = f"{wire.COMBINED_PATH}{{combined_no}}"
        order, trade = f"{wire.ORDER_PATH}{{order_no}}", f"{wire.TRADE_PATH}{{trade_no}}"
        return [
            *(route("POST", path, self._signed(self._ordering(kind))) for path, kind in _ORDER_PATHS.items()),
            *(route("POST", path, self._signed(self._combining(kind))) for path, kind in _COMBINED_PATHS.items()),
            route("GET", combined, self._signed(self._query_combined)),
            route("POST", f"{combined}/close", self._signed(self._close_combined)),
            route("GET", order, self._signed(self._query)),
            route("GET", trade, self._signed(self._query_trade)),
            route("POST", f"{order}/close", self._signed(self._close)),
            route("GET", parking_wire.PARKING_SERVICE_PATH, self._signed(self._find_service)),
            route("POST", parking_wire.PARKING_ENTRY_PATH, self._signed(self._enter)),
            route("POST", parking_wire.DEDUCT_PATH, self._signed(self._deduct)),
            route("GET", f"{parking_wire.DEDUCTION_PATH}{{order_no}}", self._signed(self._query_deduction)),
            route("POST", wire.REFUND_PATH, self._signed(self._refund)),
            route("GET", f"{wire.REFUND_PATH}/{{refund_no}}", self._signed(self._query_refund)),
            route("GET", wire.CERTIFICATES_PATH, self._signed(self._certificates)),
            route("GET", wire.TRADE_BILL_PATH, self._signed(self._bill)),
            route("GET", wire.FUND_BILL_PATH, self._signed(self._fund_bill)),
            route("GET", wire.SUB_FUND_BILL_PATH, self._signed(self._sub_fund_bill)),
            route("GET", DOWNLOAD_PATH, self._unsigned(self._download)),
        ]

    # The rim

    def _signed(self, speaker: Speaker) -> Callable[[Incoming, re.Match[str]], Reply]:
        def answered(incoming: Incoming, found: re.Match[str]) -> Reply:
            answer, wait = self._spoken(speaker, incoming, found)
            signer = self._desk.answer_signer(incoming.headers.get(sign.SERIAL))
            # by content, not by count: under a set clock the same question gets the same bytes, in whatever order questions come
            nonce = hex_text(32, self._desk.seed, incoming.method, incoming.target, incoming.body, answer.body, self._desk.now())
            headers = answer_headers(signer, body=answer.body, at=self._desk.clock.now(), nonce=nonce)
            return Reply(answer=Answer(status=answer.status, headers=headers, body=answer.body), wait_seconds=wait)

        return answered

    def _unsigned(self, speaker: Speaker) -> Callable[[Incoming, re.Match[str]], Reply]:
        """A bill file carries no signature headers."""

        def answered(incoming: Incoming, found: re.Match[str]) -> Reply:
            return Reply(answer=self._spoken(speaker, incoming, found)[0])

        return answered

    def _spoken(self, speaker: Speaker, incoming: Incoming, found: re.Match[str]) -> Spoken:
        try:
            self._check_headers(incoming)
            self._check_signature(incoming)
            self._desk.settle()
            return speaker(incoming, found)
        except ApiRefusal as refusal:
            detail = FailureDetail(issue=str(refusal))
            body = wire.encode(FailureOut(code=refusal.code, message=str(refusal), detail=detail))
            return Answer(status=refusal.status, headers={"content-type": "application/json"}, body=body), 0

    def _check_headers(self, incoming: Incoming) -> None:
        if not incoming.headers.get("user-agent"):
            raise ApiRefusal(400, "PARAM_ERROR", "缺少User-Agent")
        accepted = incoming.headers.get("accept", "")
        if "application/json" not in accepted and "*/*" not in accepted:
            raise ApiRefusal(400, "PARAM_ERROR", "Accept必须包含application/json")
        if incoming.body and not incoming.headers.get("content-type", "").startswith("application/json"):
            raise ApiRefusal(400, "PARAM_ERROR", "Content-Type必须为application/json")

    def _check_signature(self, incoming: Incoming) -> None:
        """Raise ApiRefusal SIGN_ERROR unless the provider itself signed exactly this request within the last five minutes."""
        scheme, _, rest = incoming.headers.get("authorization", "").partition(" ")
        parts = dict(_PARTS.findall(rest))
        config = self._desk.config
        if scheme != wire.SCHEME or not parts.keys() >= _PARTS_NEEDED or not _NONCE.fullmatch(parts["nonce_str"]):
            raise ApiRefusal(401, "SIGN_ERROR", "Http头Authorization值格式错误")
        if parts["mchid"] != config.provider_no:
            raise ApiRefusal(401, "SIGN_ERROR", "商户号与证书不匹配")
        if canonical_serial(parts["serial_no"]) != canonical_serial(config.merchant_serial):
            raise ApiRefusal(401, "SIGN_ERROR", "商户证书序列号有误")
        timestamp = parts["timestamp"]
        if not timestamp.isdigit() or abs(sign.seconds(self._desk.clock.now()) - int(timestamp)) > wire.CLOCK_SECONDS_MAX:
            raise ApiRefusal(401, "SIGN_ERROR", "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟")
        message = sign.request_message(
            method=incoming.method, target=incoming.target, timestamp=timestamp, nonce=parts["nonce_str"], body=incoming.body
        )
        if not _verifies(config.merchant_key, message, parts["signature"]):
            raise ApiRefusal(401, "SIGN_ERROR", "错误的签名，验签失败")

    # Orders

    def _ordering(self, trade_type: TradeType) -> Speaker:
        def ordered(incoming: Incoming, _found: re.Match[str]) -> Spoken:
            wanted = _decoded(incoming.body, OrderIn)
            self._check_provider(wanted.sp_mchid)
            made = self._desk.order(wanted, _canonical(incoming.body), trade_type)
            return _under_faults(self._handed(made.prepay_id, trade_type), made.faults)

        return ordered

    def _handed(self, prepay_id: str, trade_type: TradeType) -> dict[str, str]:
        """Return what the order calls answer: each way its own handle."""
        if trade_type == "MWEB":
            package = digits(10, self._desk.seed, "package", prepay_id)
            return {"h5_url": f"{self._desk.config.base_url}{H5_PATH}?prepay_id={prepay_id}&package={package}"}
        return {"code_url": f"{CODE}{prepay_id}"} if trade_type == "NATIVE" else {"prepay_id": prepay_id}

    def _query(self, incoming: Incoming, found: re.Match[str]) -> Spoken:
        return _json(self._desk.told(self._desk.find_alone(found["order_no"], self._asked_merchant(incoming)))), 0

    def _query_trade(self, incoming: Incoming, found: re.Match[str]) -> Spoken:
        return _json(self._desk.told(self._desk.find_trade(found["trade_no"], self._asked_merchant(incoming)))), 0

    def _asked_merchant(self, incoming: Incoming) -> str:
        if not {"sp_mchid", "sub_mchid"} <= incoming.query.keys():
            raise ApiRefusal(400, "PARAM_ERROR", "缺少sp_mchid或sub_mchid")
        self._check_provider(incoming.query["sp_mchid"])
        return incoming.query["sub_mchid"]

    def _close(self, incoming: Incoming, found: re.Match[str]) -> Spoken:
        wanted = _decoded(incoming.body, wire.CloseOrder)
        self._check_provider(wanted.sp_mchid)
        self._desk.close_order(found["order_no"], wanted.sub_mchid)
        return Answer(status=204, headers={}, body=b""), 0

    # Combined orders

    def _combining(self, trade_type: TradeType) -> Speaker:
        def ordered(incoming: Incoming, _found: re.Match[str]) -> Spoken:
            wanted = _decoded(incoming.body, CombinedIn)
            self._check_provider(wanted.combine_mchid)
            made = self._combined.order(wanted, _canonical(incoming.body), trade_type)
            return _under_faults(self._handed(made.prepay_id, trade_type), made.faults)

        return ordered

    def _query_combined(self, _incoming: Incoming, found: re.Match[str]) -> Spoken:
        return _json(self._combined.told(self._combined.find(found["combined_no"]))), 0

    def _close_combined(self, incoming: Incoming, found: re.Match[str]) -> Spoken:
        self._combined.close(found["combined_no"], _decoded(incoming.body, CombinedCloseIn))
        return Answer(status=204, headers={}, body=b""), 0

    # The parking service

    def _find_service(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        query = incoming.query
        if missing := [name for name in _SERVICE_NEEDS if not query.get(name)]:
            raise ApiRefusal(400, "PARAM_ERROR", f"缺少{'、'.join(missing)}")
        if query["appid"] != self._desk.config.app_id:
            raise ApiRefusal(400, "APPID_MCHID_NOT_MATCH", "appid与商户号不匹配")
        return _json(self._parking.find_service(query["plate_number"], query["plate_color"], query["openid"])), 0

    def _enter(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        return _json(self._parking.enter(_decoded(incoming.body, EntryIn), _canonical(incoming.body))), 0

    def _deduct(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        made = self._parking.deduct(_decoded(incoming.body, DeductIn), _canonical(incoming.body))
        return _under_faults(self._parking.told(made.order), made.faults)

    def _query_deduction(self, incoming: Incoming, found: re.Match[str]) -> Spoken:
        if "sub_mchid" not in incoming.query:
            raise ApiRefusal(400, "PARAM_ERROR", "缺少sub_mchid")
        return _json(self._parking.told(self._parking.find(found["order_no"], incoming.query["sub_mchid"]))), 0

    # Refunds

    def _refund(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        asked = self._refunds.ask(_decoded(incoming.body, RefundIn), _canonical(incoming.body))
        return _under_faults(self._refunds.told(asked.refund), asked.faults)

    def _query_refund(self, incoming: Incoming, found: re.Match[str]) -> Spoken:
        if "sub_mchid" not in incoming.query:
            raise ApiRefusal(400, "PARAM_ERROR", "缺少sub_mchid")
        return _json(self._refunds.told(self._refunds.find(found["refund_no"], incoming.query["sub_mchid"]))), 0

    def _check_provider(self, provider_no: str) -> None:
        if provider_no != self._desk.config.provider_no:
            raise ApiRefusal(403, "NO_AUTH", "商户号与签名商户号不一致")

    # Keys and bills

    def _certificates(self, _incoming: Incoming, _found: re.Match[str]) -> Spoken:
        return _json(self._desk.certificates()), 0

    def _bill(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        query = incoming.query
        form = _FORMS.get(query.get("bill_type", "ALL"))
        tar_type = query.get("tar_type")
        if form is None or tar_type not in (None, "GZIP"):
            raise ApiRefusal(400, "PARAM_ERROR", "bill_type或tar_type不正确")
        bill_on = _bill_on(query)
        token, digest = self._bills.write(bill_on, form, query.get("sub_mchid"), compressed=tar_type == "GZIP")
        url = f"{self._desk.config.base_url}{DOWNLOAD_PATH}?token={token}" + ("&tartype=gzip" if tar_type else "")
        return _json(wire.BillLocation(hash_type="SHA1", hash_value=digest, download_url=url)), 0

    def _fund_bill(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        """Nothing moves in the provider's own account: takings go to the operators."""
        if incoming.query.get("account_type", "BASIC") not in PROVIDER_ACCOUNTS:
            raise ApiRefusal(400, "PARAM_ERROR", "account_type不正确")
        self._bills.begin(_bill_on(incoming.query))
        raise ApiRefusal(400, "NO_STATEMENT_EXIST", "账单不存在")

    def _sub_fund_bill(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        query = incoming.query
        if query.get("account_type") not in OPERATOR_ACCOUNTS or query.get("algorithm") != wire.BOX or not query.get("sub_mchid"):
            raise ApiRefusal(400, "PARAM_ERROR", "sub_mchid、account_type或algorithm不正确")
        if query.get("tar_type") not in (None, "GZIP"):
            raise ApiRefusal(400, "PARAM_ERROR", "tar_type不正确")
        sealed = self._funds.sealed(
            _bill_on(query), query["sub_mchid"], account=query["account_type"], compressed=query.get("tar_type") == "GZIP"
        )
        url = f"{self._desk.config.base_url}{DOWNLOAD_PATH}?token={sealed.token}"
        part = wire.SealedPart(
            bill_sequence=1, download_url=url, encrypt_key=sealed.encrypt_key, nonce=sealed.nonce, hash_type="SHA1",
            hash_value=sealed.digest,
        )  # fmt: skip
        return _json(wire.SealedLocation(download_bill_count=1, download_bill_list=(part,))), 0

    def _download(self, incoming: Incoming, _found: re.Match[str]) -> Spoken:
        content = self._bills.file(incoming.query.get("token", ""))
        if incoming.query.get("tartype") == "gzip":
            return Answer(status=200, headers={"content-type": "application/x-gzip"}, body=gzip.compress(content, mtime=0)), 0
        return Answer(status=200, headers={"content-type": "text/plain"}, body=content), 0


def _bill_on(query: Mapping[str, str]) -> date:
    try:
        return date.fromisoformat(query.get("bill_date", ""))
    except ValueError:
        raise ApiRefusal(400, "PARAM_ERROR", "bill_date格式不正确") from None


def _decoded(body: bytes, kind: type[Any]) -> Any:
    """Return a request's body. Raises ApiRefusal PARAM_ERROR, also for null and for characters of more than three bytes."""
    try:
        decoded = msgspec.json.decode(body, type=kind)
        given = msgspec.json.decode(body)
    except msgspec.ValidationError as wrong:
        raise ApiRefusal(400, "PARAM_ERROR", f"参数错误: {wrong}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ApiRefusal(400, "PARAM_ERROR", "请求体不是合法的JSON") from None
    if _has_null(given):
        raise ApiRefusal(400, "PARAM_ERROR", "参数不允许为null")
    if any(letter > "\uffff" for letter in body.decode()):
        raise ApiRefusal(400, "PARAM_ERROR", "参数含有不支持的字符")
    return decoded


def _canonical(body: bytes) -> bytes:
    """Return a body in one form whatever the order of its fields: a repeated call must equal the first."""
    return msgspec.json.encode(msgspec.json.decode(body), order="deterministic")


def _under_faults(value: object, faults: tuple[Fault, ...]) -> Spoken:
    """Answer what was carried out, or late, or as if it had failed."""
    for fault in faults:
        if fault.seconds:
            return _json(value), fault.seconds
        raise ApiRefusal(500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用")
    return _json(value), 0


def _has_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_null(part) for part in value.values())
    return value is None or (isinstance(value, list) and any(_has_null(part) for part in value))


def _json(value: object) -> Answer:
    return Answer(status=200, headers={"content-type": "application/json"}, body=wire.encode(value))


def _verifies(key: RSAPublicKey, message: bytes, signature: str) -> bool:
    return VerificationKey(serial="", public_key=key).verifies(message, signature)
