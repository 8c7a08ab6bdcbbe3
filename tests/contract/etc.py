"""ETC for the contract suite: both sides sign with SM2, whose secret number follows from key and message, so bytes repeat."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from gateways.contract import (
    Answer,
    BillLink,
    BillRequest,
    ChannelState,
    Deduction,
    MandateRef,
    Operation,
    OrderRef,
    RefundOrder,
    RefundRef,
    RefundResult,
    RefundState,
    Result,
    Way,
)
from gateways.etc import envelope, recon, sm2
from gateways.etc.channel import Etc, Provider
from gateways.etc.codes import Receipt
from gateways.etc.keys import EtcKeys
from gateways.etc.recon import Kind, Recon, ReconLine, State
from gateways.etc.services import Service
from gateways.etc.sign import OurKey, TheirKey
from tests.contract.case import NONCE, NOW, Case, Genuine

US: Final = "00000000000000FE"
THEM: Final = "00000000000000FD"
MERCHANT_NO: Final = "M-1620000007"
ORDER_NO: Final = "P1000000000000000000000001A2"
REFUND_NO: Final = "R1000000000000000000000001B3"
PAID_AT: Final = datetime(2026, 3, 2, 1, 59, 30, tzinfo=UTC)
BILL_ON: Final = date(2026, 3, 1)

OURS: Final = OurKey("our-1", sm2.PrivateKey(0x1234567890ABCDEF))
THEIRS: Final = OurKey("their-1", sm2.PrivateKey(0xFEDCBA0987654321))
KEYS: Final = EtcKeys(
    ours={None: OURS},
    theirs={"their-1": TheirKey("their-1", THEM, sm2.PrivateKey(0xFEDCBA0987654321).public)},
)
CHANNEL: Final = Etc(Provider(sender_id=US, receiver_id=THEM, api_url="https://etc.example"))
DEDUCTION: Final = Deduction(
    order_no=ORDER_NO,
    merchant_no=MERCHANT_NO,
    plate="苏BD12345",
    plate_color="green",
    amount_fen=1200,
    description="停车费 太湖广场停车场",
    entered_at=NOW - timedelta(hours=2),
    left_at=NOW - timedelta(minutes=1),
    minutes=119,
    lot_no="3202010001",
    lot_name="太湖广场停车场",
    created_at=NOW - timedelta(seconds=40),
)
REF: Final = OrderRef(
    order_no=ORDER_NO,
    merchant_no=MERCHANT_NO,
    created_at=DEDUCTION.created_at,
    expires_at=NOW + timedelta(hours=1),
    way=Way.DEDUCTION,
)
MANDATE: Final = MandateRef(plate="苏BD12345", plate_color="green", merchant_no=MERCHANT_NO)
REFUND: Final = RefundOrder(
    refund_no=REFUND_NO,
    order_no=ORDER_NO,
    trade_no=ORDER_NO,
    merchant_no=MERCHANT_NO,
    refund_fen=400,
    total_fen=1200,
    asked_at=NOW,
    paid_at=PAID_AT,
    way=Way.DEDUCTION,
    reason="重复缴费",
)
REFUND_REF: Final = RefundRef(
    refund_no=REFUND_NO, order_no=ORDER_NO, trade_no=ORDER_NO, merchant_no=MERCHANT_NO, asked_at=NOW, way=Way.DEDUCTION
)
BILL: Final = BillRequest(bill_on=BILL_ON, merchant_no=MERCHANT_NO)
PAID: Final[dict[str, Any]] = {
    "orderId": ORDER_NO,
    "merchantNo": MERCHANT_NO,
    "fee": 1200,
    "state": "PAID",
    "payTime": "2026-03-02T09:59:30+08:00",
    "issuerId": "320101",
    "channelSerial": "E202603020001",
}
DONE: Final[dict[str, Any]] = {
    "refundId": REFUND_NO,
    "orderId": ORDER_NO,
    "merchantNo": MERCHANT_NO,
    "refundFen": 400,
    "state": "DONE",
    "doneTime": "2026-03-02T09:59:50+08:00",
    "clearTargetDate": "2026-03-02",
}
RESULT: Final = Result(
    channel="etc",
    state=ChannelState.SUCCEEDED,
    order_no=ORDER_NO,
    provider_no=US,
    merchant_no=MERCHANT_NO,
    trade_no=ORDER_NO,
    amount_fen=1200,
    currency="CNY",
    happened_at=PAID_AT,
)
REFUNDED: Final = RefundResult(
    channel="etc",
    state=RefundState.DONE,
    refund_no=REFUND_NO,
    provider_no=US,
    merchant_no=MERCHANT_NO,
    order_no=ORDER_NO,
    trade_no=ORDER_NO,
    refund_fen=400,
    happened_at=datetime(2026, 3, 2, 1, 59, 50, tzinfo=UTC),
    word="DONE",
)


def notice(service: str, body: dict[str, Any], *, number: int = 1, key: OurKey = THEIRS, **head: str) -> bytes:
    """A notice as the clearing party signs it; ``head`` changes what it says of itself before it is signed."""
    told = envelope.head_for(service, msg_id=f"{number:020d}", sender=THEM, receiver=US, key=key, now=NOW)
    return envelope.seal(body, head=replace(told, **head), key=key)


def replied(
    request: bytes,
    result: Receipt = Receipt.ACCEPTED,
    data: dict[str, Any] | None = None,
    *,
    key: OurKey = THEIRS,
    ack_no: str | None = None,
    **head: str,
) -> Answer:
    """The clearing party's reply to a request of ours."""
    asked = envelope.claimed_head(request)
    assert asked is not None
    told = envelope.head_for(asked.msg_type, msg_id="00000000000000000777", sender=THEM, receiver=US, key=key, now=NOW)
    body = envelope.reply_body(asked, result, data=data)
    if ack_no is not None:
        body["ackMsgId"] = ack_no
    return Answer(
        envelope.http_status(result), {"content-type": "application/json"}, envelope.seal(body, head=replace(told, **head), key=key)
    )


def bill_file() -> bytes:
    line = ReconLine(
        kind=Kind.PAY,
        line_no="32020100012026030109000012",
        order_no=ORDER_NO,
        message_no="",
        trans_no="",
        happened_at=datetime(2026, 3, 1, 1, 0, tzinfo=UTC),
        lot_no="3202010001",
        plate_masked="苏B*****45",
        gross_fen=1200,
        fee_fen=7,
        net_fen=1193,
        state=State.CLEARED,
    )
    back = replace(line, kind=Kind.REFUND, line_no=REFUND_NO, gross_fen=-400, fee_fen=-2, net_fen=-398, original_no=line.line_no)
    return recon.write(Recon(MERCHANT_NO, BILL_ON, NOW, (line, back)))


def case() -> Case:
    content = bill_file()
    name, digest = recon.file_name(merchant_no=MERCHANT_NO, clear_on=BILL_ON), sm2.sm3(content).hex()
    url = f"https://etc.example/etc/files/{name}"

    def answer(request: Any, data: dict[str, Any]) -> Answer:
        return replied(request.body, data=data)

    given: dict[str, Any] = {"keys": KEYS, "now": NOW, "nonce": NONCE}
    return Case(
        channel=CHANNEL,
        keys=KEYS,
        orders={},
        ref=REF,
        deduction=DEDUCTION,
        mandate=MANDATE,
        refund=REFUND,
        refund_ref=REFUND_REF,
        bill=BILL,
        link=BillLink(url=url, digest_kind="SM3", digest=digest, compressed=False),
        bill_file=content,
        notices=(
            Genuine(notice(Service.PLATE_PAY_NOTIFY, PAID), results=(RESULT,)),
            Genuine(notice(Service.REFUND_RESULT, DONE, number=2), refund=REFUNDED),
            Genuine(notice(Service.ACCOUNT_RESULT, json.loads(BOOKING), number=3)),
        ),
        genuine={
            Operation.DEDUCT: answer(CHANNEL.build_deduct(DEDUCTION, **given), PAID),
            Operation.QUERY: answer(CHANNEL.build_query(REF, **given), PAID),
            Operation.MANDATE_QUERY: answer(
                CHANNEL.build_mandate_query(MANDATE, **given),
                {"plate": "苏BD12345", "plateColor": 4, "state": "SIGNED", "signNo": "S-1"},
            ),
            Operation.REFUND: answer(CHANNEL.build_refund(REFUND, **given), DONE),
            Operation.REFUND_QUERY: answer(CHANNEL.build_refund_query(REFUND_REF, **given), DONE),
            Operation.BILL: answer(CHANNEL.build_bill(BILL, **given), {"fileName": name, "url": url, "sm3": digest}),
            Operation.BILL_FILE: Answer(200, {"content-type": "text/plain"}, content),
        },
    )


BOOKING: Final = """{"serviceProviderId":"320201","issuerId":"320101","messageId":"00000000000000000042",
"processTime":"2026-03-02T09:00:00+08:00","count":2,"accountCount":1,"amount":100,"disputedCount":1,
"disputedRecord":[{"transId":2,"result":8}]}"""
