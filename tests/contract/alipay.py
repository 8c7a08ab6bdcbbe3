"""Alipay's case of the contract suite, and the channel's side of its wire for the adapter's own tests.

The platform's application is in certificate mode, the one of operator ``lake`` in key mode. Numbers and keys are invented; the two
key pairs are fixed, so that what they sign repeats byte for byte.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gateways.alipay import sign, wire
from gateways.alipay.channel import Alipay, Provider
from gateways.alipay.keys import AlipayKeys, load
from gateways.contract import (
    Answer,
    BillLink,
    BillRequest,
    ChannelState,
    Deduction,
    Entrance,
    FundBillRequest,
    MandateRef,
    Operation,
    OrderRef,
    PrepayOrder,
    RefundOrder,
    RefundRef,
    RefundResult,
    RefundState,
    Result,
    Way,
)
from tests.contract.case import NOW, Case, Genuine

_OURS: Final = (
    int(
        "d006e06db49764dc81d098b14da09269f8e5e98902f5691bbeacf40990d7c1edc3475e7689d63735854edacb6ef89fc0ace8c5af64ff64"
        "5792750f963f579f82b6917bd9f2f7c74469116a0b68773db17a015585d0f75976a27f521e86ddb16297a575d3d0efd0d42947770c85d9"
        "87a90bae0bdeefbf3c947cb63bcb82a52f67",
        16,
    ),
    int(
        "cb3c93ae51eb56cc8d954cb7bb3e2703d15fe7b9baeffe16d784d6b0577da871891852a4e1117f64e229f4c90bc42aaf1c4d4157b303eb"
        "a47b6c60c2e93bd48493ce5dc0c975ae2cbcd0e7f2fec8ee7fc574a4177d90d4c9e89e57391ed2ad8cb71b4be8e1c27ef83abff59b2989"
        "ded9f6e03b4fb97f01193ea4418355ed0cf1",
        16,
    ),
)
_THEIRS: Final = (
    int(
        "e73fb5dc1acd08afdae4ad1c26c0ac65ccaa37508cbd6d2b5b2478a9ddd0656daca26198007dd1d1e6c4fbfbe3b3c154803564936d8ab0"
        "509915c0ad17ddf871f9f25c4247dae7375e661a4e74fcb3fbac9ea7e1448eafe746894e737c71041803a7f981f0eaa03c588109ea59f5"
        "428400b6d7e26508de297143a9544ace465d",
        16,
    ),
    int(
        "bc25305a6baabba12c9245e35b2f9d4a5051d5a5729dceba1bb194865411973ac8dbabfe8c40b9c2e308d4a1bfbcbcba0ccb7ee3fa7453"
        "0b2e74331b12e2450f6bf9e56c7cdd22ab40a1bf8b71ea4ed7503fdc87ee6eeb6c77fbf70d998055c69e3ff48f18319c1dc38202210524"
        "f8c6c3d558f05c21baad276af132f063fe31",
        16,
    ),
)

APP_ID: Final = "2021000000000001"
PARTNER_NO: Final = "2088000000000001"
MERCHANT_NO: Final = "2088001122334455"
OPERATOR_APP: Final = "2021000000000002"
DIRECT_NO: Final = "2088001122334466"
DIRECT_APP: Final = "2021000000000003"
TOKEN: Final = "202603BBinvented0001"
ORDER_NO: Final = "P0000000000000000000000000001"
REFUND_NO: Final = "R0000000000000000000000000001"
TRADE_NO: Final = "2026030222001400001000000001"
BUYER: Final = "2088102233445566"
PLATE: Final = "苏B12345"
NOTIFY_URL: Final = "https://pay.example/callbacks/alipay"
RETURN_URL: Final = "https://pay.example/p/back"
CREATED_AT: Final = NOW - timedelta(minutes=1)
EXPIRES_AT: Final = NOW + timedelta(minutes=14)
PAID_AT: Final = datetime(2026, 3, 2, 1, 59, 30, tzinfo=UTC)
PAID: Final = "2026-03-02 09:59:30"
BILL_ON: Final = date(2026, 3, 1)


def _key(primes: tuple[int, int]) -> rsa.RSAPrivateKey:
    p, q = primes
    d = rsa.rsa_recover_private_exponent(65537, p, q)
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
    )  # fmt: skip
    return numbers.private_key()


OUR_KEY: Final = _key(_OURS)
CHANNEL_KEY: Final = _key(_THEIRS)


def certificate(
    holder: str, key: rsa.RSAPrivateKey, *, serial: int, issuer: str = "Alipay Root", starts: datetime = NOW, ca: bool = False
) -> x509.Certificate:
    """A certificate that the channel's key signed as its own root."""

    def named(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"), x509.NameAttribute(NameOID.COMMON_NAME, common)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(holder))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(starts - timedelta(days=30))
        .not_valid_after(starts + timedelta(days=365))
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(CHANNEL_KEY, hashes.SHA256())


def pem(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


FILES: Final[dict[str, bytes]] = {
    "platform/app_id": APP_ID.encode(),
    "platform/app.key": private_pem(OUR_KEY),
    "platform/app.crt": pem(certificate("platform", OUR_KEY, serial=11)),
    "platform/root.crt": pem(certificate("Alipay Root", CHANNEL_KEY, serial=1, ca=True)),
    "platform/alipay-1.crt": pem(certificate("Alipay", CHANNEL_KEY, serial=21)),
    f"tokens/{MERCHANT_NO}.json": json.dumps({"app_auth_token": TOKEN, "auth_app_id": OPERATOR_APP}).encode(),
    "operators/lake/app_id": DIRECT_APP.encode(),
    "operators/lake/merchant_no": DIRECT_NO.encode(),
    "operators/lake/app.key": private_pem(OUR_KEY),
    "operators/lake/alipay-1.pem": public_pem(CHANNEL_KEY),
}
KEYS: Final[AlipayKeys] = load(FILES)
CERT_SN: Final = KEYS.apps[None].channel_keys[0].serial
CHANNEL: Final = Alipay(Provider(app_id=APP_ID, notify_url=NOTIFY_URL, merchant_no=PARTNER_NO))


# The channel's side


def signed_by_channel(message: bytes, key: rsa.RSAPrivateKey = CHANNEL_KEY) -> str:
    return sign.rsa2(message, key=key)


def answer(
    method: str,
    content: Mapping[str, object],
    *,
    cert_sn: str | None = CERT_SN,
    key: rsa.RSAPrivateKey = CHANNEL_KEY,
    node: str | None = None,
    ok: bool = True,
) -> Answer:
    """An answer as the gateway signs it; without ``ok`` the content brings its own code."""
    head = {"code": "10000", "msg": "Success"} if ok else {}
    text = json.dumps({**head, **content}, ensure_ascii=False, separators=(",", ":"))
    members = {node or sign.node_name(method): text}
    if cert_sn is not None:
        members[sign.CERT_SN] = json.dumps(cert_sn)
    members[sign.SIGN] = json.dumps(signed_by_channel(text.encode(), key))
    body = "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"
    return Answer(status=200, headers={"content-type": "text/html;charset=utf-8"}, body=body.encode())


def refusal(method: str, sub_code: str, *, code: str = "40004", **changes: Any) -> Answer:
    content = {"code": code, "msg": "Business Failed", "sub_code": sub_code, "sub_msg": "系统繁忙"}
    return answer(method, content, ok=False, **changes)


NOTICE: Final[dict[str, str]] = {
    "notify_time": "2026-03-02 09:59:31", "notify_type": "trade_status_sync", "notify_id": "2026030200222095931000011400000001",
    "app_id": APP_ID, "auth_app_id": OPERATOR_APP, "charset": "utf-8", "version": "1.0", "sign_type": "RSA2", "trade_no": TRADE_NO,
    "out_trade_no": ORDER_NO, "buyer_id": BUYER, "buyer_logon_id": "139****0001", "seller_id": MERCHANT_NO,
    "trade_status": "TRADE_SUCCESS", "total_amount": "12.00", "receipt_amount": "12.00", "subject": "停车费",
    "gmt_create": "2026-03-02 09:59:10", "gmt_payment": PAID, "fund_bill_list": '[{"amount":"12.00","fundChannel":"PCREDIT"}]',
    "alipay_cert_sn": CERT_SN,
}  # fmt: skip
REFUND_NOTICE: Final[dict[str, str]] = NOTICE | {
    "out_biz_no": REFUND_NO, "refund_fee": "4.00", "gmt_refund": "2026-03-02 10:00:20.123",
    "notify_id": "2026030200222100020000011400000002"
}  # fmt: skip


def notice(
    fields: Mapping[str, str] = NOTICE, *, key: rsa.RSAPrivateKey = CHANNEL_KEY, charset: str = "utf-8", **changes: str | None
) -> bytes:
    """A notice as the channel signs it; a change to None leaves a field out."""
    sent = {name: value for name, value in {**fields, "charset": charset, **changes}.items() if value is not None}
    raw = {name.encode(charset): value.encode(charset) for name, value in sent.items()}
    signature = signed_by_channel(sign.notice_message(raw), key)
    return urlencode({**raw, b"sign": signature.encode()}).encode()


RESULT: Final = Result(
    channel="alipay", state=ChannelState.SUCCEEDED, order_no=ORDER_NO, provider_no=APP_ID, merchant_no=MERCHANT_NO,
    trade_no=TRADE_NO, amount_fen=1200, currency="CNY", happened_at=PAID_AT,
)  # fmt: skip
REFUNDED: Final = RefundResult(
    channel="alipay", state=RefundState.DONE, refund_no=REFUND_NO, provider_no=APP_ID, merchant_no=MERCHANT_NO, order_no=ORDER_NO,
    trade_no=TRADE_NO, happened_at=datetime(2026, 3, 2, 2, 0, 20, 123_000, tzinfo=UTC), word="TRADE_SUCCESS",
)  # fmt: skip


# Our side


def order(way: Way = Way.IN_WALLET, **changes: Any) -> PrepayOrder:
    given: dict[str, Any] = {
        "order_no": ORDER_NO, "merchant_no": MERCHANT_NO, "description": "停车费 太湖广场", "amount_fen": 1200,
        "created_at": CREATED_AT, "expires_at": EXPIRES_AT, "way": way, "payer_id": BUYER if way is Way.IN_WALLET else None,
        "return_url": RETURN_URL if way is Way.BROWSER else None,
    }  # fmt: skip
    return PrepayOrder(**(given | changes))


def ref(**changes: Any) -> OrderRef:
    given: dict[str, Any] = {
        "order_no": ORDER_NO, "merchant_no": MERCHANT_NO, "created_at": CREATED_AT, "expires_at": EXPIRES_AT
    }  # fmt: skip
    return OrderRef(**(given | changes))


def refund(**changes: Any) -> RefundOrder:
    given: dict[str, Any] = {
        "refund_no": REFUND_NO, "order_no": ORDER_NO, "trade_no": TRADE_NO, "merchant_no": MERCHANT_NO, "refund_fen": 400,
        "total_fen": 1200, "asked_at": NOW, "paid_at": PAID_AT, "reason": "重复缴费",
    }  # fmt: skip
    return RefundOrder(**(given | changes))


def refund_ref(**changes: Any) -> RefundRef:
    given: dict[str, Any] = {
        "refund_no": REFUND_NO, "order_no": ORDER_NO, "trade_no": TRADE_NO, "merchant_no": MERCHANT_NO, "asked_at": NOW
    }  # fmt: skip
    return RefundRef(**(given | changes))


DEDUCTION: Final = Deduction(
    order_no=ORDER_NO, merchant_no=MERCHANT_NO, plate=PLATE, plate_color="blue", amount_fen=1200, description="停车费",
    entered_at=NOW - timedelta(hours=2), left_at=NOW, minutes=120, lot_no="PI1501317472942184881", lot_name="太湖广场",
    created_at=CREATED_AT, entry_no="PS000001",
)  # fmt: skip
ENTRANCE: Final = Entrance(
    entrance_no="E0000000000000000000000000001", merchant_no=MERCHANT_NO, plate=PLATE, plate_color="blue", entered_at=NOW,
    free_minutes=15, lot_no="PI1501317472942184881", lot_name="太湖广场",
)  # fmt: skip
MANDATE: Final = MandateRef(plate=PLATE, plate_color="blue", merchant_no=MERCHANT_NO)
BILL: Final = BillRequest(bill_on=BILL_ON, merchant_no=MERCHANT_NO)
TRADE: Final = {
    "trade_no": TRADE_NO, "out_trade_no": ORDER_NO, "trade_status": "TRADE_SUCCESS", "total_amount": "12.00", "send_pay_date": PAID,
}  # fmt: skip
GENUINE: Final[dict[Operation, Answer]] = {
    Operation.PREPAY: answer(wire.CREATE, {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO}),
    Operation.QUERY: answer(wire.QUERY, TRADE),
    Operation.CLOSE: answer(wire.CLOSE, {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO}),
    Operation.CANCEL: answer(
        wire.CANCEL, {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO, "retry_flag": "N", "action": "close"}
    ),
    Operation.ENTRY: answer(
        wire.PARKING_ENTRY, {"serial_no": "PS000001", "agreement_scene": "PLATE_PAY", "car_status": "NON-SENSE-PAY"}
    ),
    Operation.MANDATE_QUERY: answer(wire.PARKING_AGREEMENT, {"agreement_status": "0", "agreement_scene": "PLATE_PAY,ETC_PAY"}),
    Operation.DEDUCT: answer(
        wire.PARKING_PAY, {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO, "total_fee": "12.00", "gmt_payment": PAID}
    ),
    Operation.REFUND: answer(
        wire.REFUND,
        {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO, "fund_change": "Y", "refund_fee": "4.00",
         "gmt_refund_pay": "2026-03-02 10:00:20"},
    ),
    Operation.REFUND_QUERY: answer(
        wire.REFUND_QUERY,
        {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO, "out_request_no": REFUND_NO, "refund_status": "REFUND_SUCCESS",
         "refund_amount": "4.00", "total_amount": "12.00", "gmt_refund_pay": "2026-03-02 10:00:20"},
    ),
    Operation.BILL: answer(wire.BILL, {"bill_download_url": "https://dwbillcenter.alipay.com/downloadBillFile.resource?id=1"}),
    Operation.FUND_BILL: answer(wire.BILL, {"bill_download_url": "https://dwbillcenter.alipay.com/downloadBillFile.resource?id=2"}),
}  # fmt: skip


def bill_file() -> bytes:
    """A day with one payment and one refund of it, as the fact sheet prints it."""
    header = (
        "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
        "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
        "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
    )
    rest = "\t,\t,\t,\t,*明(138****0001)\t,"
    paid = (
        f"{TRADE_NO}\t,{ORDER_NO}\t,交易\t,停车费,2026-03-01 08:10:00,2026-03-01 08:10:06,{rest}"
        "12.00,12.00,0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,\t,-0.07,0.00,"
    )
    back = (
        f"{TRADE_NO}\t,{ORDER_NO}\t,退款\t,停车费,2026-03-01 09:00:00,2026-03-01 09:00:02,{rest}"
        f"-4.00,-4.00,0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,{REFUND_NO}\t,0.02,0.00,"
    )
    lines = (
        "#支付宝业务明细查询",
        f"#账号：[{MERCHANT_NO}0156]",
        "#起始日期：[2026年03月01日 00:00:00]   终止日期：[2026年03月02日 00:00:00]",
        "#-----------------------------------------业务明细列表----------------------------------------",
        header,
        paid,
        back,
        "#-----------------------------------------业务明细列表结束------------------------------------",
        "#交易合计：1笔，商家实收共12.00元，商家优惠共0.00元",
        "#退款合计：1笔，商家实收退款共-4.00元，商家优惠退款共0.00元",
        "#导出时间：[2026年03月02日 03:01:02]",
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(f"{MERCHANT_NO}0156_20260301_trade.csv", date_time=(2026, 3, 2, 3, 1, 2))
        archive.writestr(entry, ("\r\n".join(lines) + "\r\n").encode("gbk"), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def case() -> Case:
    """Return the channel with one order of each kind and genuine messages to them."""
    return Case(
        channel=CHANNEL,
        keys=KEYS,
        orders={way: order(way) for way in CHANNEL.ways},
        ref=ref(),
        deduction=DEDUCTION,
        entrance=ENTRANCE,
        mandate=MANDATE,
        refund=refund(),
        refund_ref=refund_ref(),
        bill=BILL,
        link=BillLink(
            url="https://dwbillcenter.alipay.com/downloadBillFile.resource?id=1", digest_kind="", digest="", compressed=True
        ),
        bill_file=bill_file(),
        fund_bill=FundBillRequest(bill_on=BILL_ON, account="signcustomer", merchant_no=MERCHANT_NO),
        notices=(
            Genuine(body=notice(), headers={"content-type": wire.FORM_TYPE}, results=(RESULT,)),
            Genuine(body=notice(REFUND_NOTICE), headers={"content-type": wire.FORM_TYPE}, refund=REFUNDED),
        ),
        genuine=GENUINE,
    )
