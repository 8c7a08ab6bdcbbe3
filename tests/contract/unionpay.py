"""UnionPay's case of the contract suite, and the channel's side of its wire for the adapter's own tests.

The platform asks as an institution (accessType 1); operator ``lake`` has keys of its own (accessType 0). Numbers are invented; all
keys follow from a seed, so that what they sign repeats byte for byte.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from app import seeded
from gateways.contract import (
    Answer,
    BillRequest,
    ChannelState,
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
from gateways.sandbox.stand_in import DemoKeys
from gateways.sandbox.unionpay import clearing, demo
from gateways.sandbox.unionpay.signing import Signer, answer_body, notice_body
from gateways.unionpay.channel import Provider, UnionPay
from gateways.unionpay.keys import UnionPayKeys, load
from tests.contract.case import NOW, Case, Genuine

INSTITUTION_NO: Final = demo.INSTITUTION_NO
MERCHANT_NO: Final = "777290058110097"
LAKE_NO: Final = "777290058110098"
LAKE: Final = "lake"
ORDER_NO: Final = "P000000000000000000000000001"
REFUND_NO: Final = "R000000000000000000000000001"
TRADE_NO: Final = "202603020958010000001"
REFUND_TRADE_NO: Final = "202603021000000000002"
PAYER_CODE: Final = "6200000000000000001"
CREATED_AT: Final = datetime(2026, 3, 2, 1, 57, 30, tzinfo=UTC)
PAID_AT: Final = datetime(2026, 3, 2, 1, 58, 1, tzinfo=UTC)
QR_CODE: Final = "https://qr.95516.com/00010000/62000000000000000000000000000000"
BILL_ON: Final = date(2026, 3, 1)


class SeededKeys:
    """Where the demo's keys come from: a seed."""

    at = NOW - timedelta(days=30)

    def rsa(self, name: str) -> bytes:
        return seeded.rsa_key(1, name).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def secret(self, name: str) -> bytes:
        return seeded.secret(1, name)

    def serial(self, name: str) -> int:
        return int.from_bytes(seeded.secret(1, name)[:8], "big") >> 1


@cache
def demo_keys() -> DemoKeys:
    """Both sides' key files, made once per run."""
    return demo.make(SeededKeys(), own={LAKE: LAKE_NO})


@cache
def our_keys() -> UnionPayKeys:
    return load(demo_keys().ours)


@cache
def signer() -> Signer:
    """What the channel signs with."""
    return demo.config(demo_keys().theirs).signers[0].signer()


CHANNEL: Final = UnionPay(
    Provider(
        provider_no=INSTITUTION_NO,
        acquirer_no=INSTITUTION_NO,
        terminal_no="00000007",
        notify_url="https://pay.example/callbacks/unionpay",
    )
)

PAYMENT: Final[dict[str, str]] = {
    "bizType": "000000", "txnTime": "20260302095730", "txnType": "01", "txnSubType": "06", "accessType": "1",
    "acqInsCode": INSTITUTION_NO, "merId": MERCHANT_NO, "orderId": ORDER_NO, "txnAmt": "1200", "currencyCode": "156",
    "queryId": TRADE_NO, "respCode": "00", "respMsg": "成功[0000000]", "settleAmt": "1200", "settleCurrencyCode": "156",
    "settleDate": "0302", "traceNo": "000001", "traceTime": "0302095801", "accNo": "6216***********0018", "payCardType": "01",
    "payType": "0001", "reqReserved": "lot 7",
}  # fmt: skip
"""What a payment's notice says."""
REFUND: Final[dict[str, str]] = PAYMENT | {
    "txnTime": "20260302100000", "txnType": "04", "txnSubType": "00", "orderId": REFUND_NO, "txnAmt": "400",
    "queryId": REFUND_TRADE_NO, "origQryId": TRADE_NO, "traceNo": "000002", "traceTime": "0302100000",
    "settleAmt": "400", "reqReserved": "",
}  # fmt: skip
"""What a refund's notice says."""
_NAMED: Final = ("bizType", "txnTime", "txnType", "txnSubType", "accessType", "acqInsCode", "merId", "orderId")
ORDERED: Final = {name: PAYMENT[name] for name in _NAMED} | {"respCode": "00", "respMsg": "成功[0000000]"}
QUERIED: Final = PAYMENT | {"txnType": "00", "txnSubType": "00", "origRespCode": "00", "origRespMsg": "成功[0000000]"}
REFUND_QUERIED: Final = REFUND | {"origRespCode": "00", "origRespMsg": "成功[0000000]"}


def order(way: Way = Way.SCANNED, **changes: Any) -> PrepayOrder:
    given: dict[str, Any] = {
        "order_no": ORDER_NO,
        "merchant_no": MERCHANT_NO,
        "description": "停车费 太湖广场停车场",
        "amount_fen": 1200,
        "created_at": CREATED_AT,
        "expires_at": CREATED_AT + timedelta(minutes=15),
        "way": way,
        "payer_id": PAYER_CODE if way is Way.SCANNED else None,
        "return_url": "https://pay.example/r/1" if way in (Way.BROWSER, Way.IN_WALLET) else None,
        "attach": "lot 7",
    }
    return PrepayOrder(**(given | changes))


def ref(way: Way = Way.SCANNED, **changes: Any) -> OrderRef:
    given: dict[str, Any] = {
        "order_no": ORDER_NO,
        "merchant_no": MERCHANT_NO,
        "created_at": CREATED_AT,
        "expires_at": CREATED_AT + timedelta(minutes=15),
        "way": way,
    }
    return OrderRef(**(given | changes))


def refund(**changes: Any) -> RefundOrder:
    given: dict[str, Any] = {
        "refund_no": REFUND_NO,
        "order_no": ORDER_NO,
        "trade_no": TRADE_NO,
        "merchant_no": MERCHANT_NO,
        "refund_fen": 400,
        "total_fen": 1200,
        "asked_at": NOW,
        "paid_at": PAID_AT,
        "way": Way.SCANNED,
        "reason": "重复缴费",
    }
    return RefundOrder(**(given | changes))


def refund_ref(**changes: Any) -> RefundRef:
    given: dict[str, Any] = {
        "refund_no": REFUND_NO,
        "order_no": ORDER_NO,
        "trade_no": TRADE_NO,
        "merchant_no": MERCHANT_NO,
        "asked_at": NOW,
        "way": Way.SCANNED,
    }
    return RefundRef(**(given | changes))


def bill_request(**changes: Any) -> BillRequest:
    given: dict[str, Any] = {"bill_on": BILL_ON, "merchant_no": MERCHANT_NO}
    return BillRequest(**(given | changes))


def answer(fields: Mapping[str, str], **changes: str) -> Answer:
    """A signed answer of the channel; a change to an empty text leaves the field out."""
    body = answer_body(signer().sealed(dict(fields) | changes))
    return Answer(status=200, headers={"content-type": "text/html;charset=UTF-8"}, body=body)


def notice(fields: Mapping[str, str], **changes: str) -> bytes:
    """A signed notice of the channel."""
    return notice_body(signer().sealed(dict(fields) | changes))


def paid(**changes: Any) -> Result:
    """What PAYMENT says."""
    given: dict[str, Any] = {
        "channel": "unionpay",
        "state": ChannelState.SUCCEEDED,
        "order_no": ORDER_NO,
        "provider_no": INSTITUTION_NO,
        "merchant_no": MERCHANT_NO,
        "trade_no": TRADE_NO,
        "amount_fen": 1200,
        "currency": "CNY",
        "happened_at": PAID_AT,
    }
    return Result(**(given | changes))


def refunded(**changes: Any) -> RefundResult:
    """What REFUND says."""
    given: dict[str, Any] = {
        "channel": "unionpay",
        "state": RefundState.DONE,
        "refund_no": REFUND_NO,
        "provider_no": INSTITUTION_NO,
        "merchant_no": MERCHANT_NO,
        "trade_no": TRADE_NO,
        "channel_refund_no": REFUND_TRADE_NO,
        "refund_fen": 400,
        "happened_at": NOW,
        "word": "00",
    }
    return RefundResult(**(given | changes))


_COMMON: Final = {
    2: clearing.ACQUIRER_NO, 3: clearing.SENDER_NO, 6: "621600******0018", 8: clearing.CATEGORY, 9: "08", 13: "01", 18: "0001",
    22: "000000", 28: MERCHANT_NO, 34: "00000007",
}  # fmt: skip
PAYMENT_LINE: Final[dict[int, str]] = _COMMON | {
    1: "S22", 4: "000001", 5: "0301081006", 7: "000000001200", 10: "202603010810060000001", 12: "P000000000000000000000000009",
    16: "D000000000007", 17: "C000000001193", 20: "01", 21: "06", 42: clearing.cleared(1200),
}  # fmt: skip
REFUND_LINE: Final[dict[int, str]] = _COMMON | {
    1: "S30", 4: "000002", 5: "0301120000", 7: "000000000400", 10: "202603011200000000002", 12: "R000000000000000000000000009",
    16: "C000000000002", 17: "D000000000398", 20: "04", 21: "00", 27: "202602281810060000009", 41: "P000000000000000000000000008",
}  # fmt: skip


def archive(*lines: Mapping[int, str], day: date = BILL_ON, merchant_no: str = MERCHANT_NO) -> bytes:
    """A clearing file with these ZM lines."""
    return clearing.packed({f"INN{day:%y%m%d}88ZM_{merchant_no}": [clearing.zm_line(line) for line in lines]}, day)


def bill_answer(content: str, **changes: str) -> Answer:
    fields = {
        "txnType": "76", "txnSubType": "01", "bizType": "000000", "accessType": "0", "merId": MERCHANT_NO,
        "txnTime": "20260302100000", "settleDate": f"{BILL_ON:%m%d}", "fileName": f"{MERCHANT_NO}_{BILL_ON:%Y%m%d}.zip",
        "fileContent": content, "respCode": "00", "respMsg": "成功[0000000]",
    }  # fmt: skip
    return answer(fields, **changes)


def deflated(content: bytes) -> str:
    """A file as it stands in an answer."""
    return clearing.inside(content)


def genuine() -> dict[Operation, Answer]:
    return {
        Operation.PREPAY: answer(ORDERED, qrCode=QR_CODE),
        Operation.QUERY: answer(QUERIED),
        Operation.CANCEL: answer(ORDERED, txnType="99", txnSubType="01"),
        Operation.REFUND: answer(REFUND, traceNo="", traceTime="", settleDate=""),
        Operation.REFUND_QUERY: answer(REFUND_QUERIED),
        Operation.BILL: bill_answer(deflated(archive(PAYMENT_LINE, REFUND_LINE))),
    }


def case() -> Case:
    return Case(
        channel=CHANNEL,
        keys=our_keys(),
        orders={way: order(way) for way in sorted(CHANNEL.ways)},
        ref=ref(),
        refund=refund(),
        refund_ref=refund_ref(),
        bill=bill_request(),
        bill_file=archive(PAYMENT_LINE, REFUND_LINE),
        notices=(
            Genuine(body=notice(PAYMENT), results=(paid(),)),
            Genuine(body=notice(REFUND), refund=refunded()),
        ),
        genuine=genuine(),
    )
