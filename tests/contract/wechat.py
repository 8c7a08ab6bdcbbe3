"""WeChat Pay's case of the contract suite: one order of each kind, and genuine messages as the channel signs them.

The merchant key is the published sample key of the channel's documents, the channel's own follows from a seed, so that what they
sign repeats byte for byte. Numbers are invented.
"""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any, Final

from cryptography.x509 import load_pem_x509_certificate

from app import seeded
from gateways.contract import (
    Answer,
    BillLink,
    BillRequest,
    ChannelState,
    CombinedOrder,
    CombinedRef,
    Deduction,
    Entrance,
    FundBillRequest,
    Leg,
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
from gateways.keys import VerificationKey, certificate_serial
from gateways.sandbox.wechat import bill as bill_form
from gateways.sandbox.wechat.signing import (
    PaidOrder,
    RefundTold,
    Signer,
    answer_headers,
    box,
    issue_certificate,
    signed_callback,
    signed_refund_callback,
)
from gateways.sandbox.wechat.signing import notice as sealed_notice
from gateways.sandbox.wechat.state import Order
from gateways.wechat.channel import Provider, WeChat
from gateways.wechat.keys import WeChatKeys
from ledger.clock import microseconds
from tests.contract.case import NOW, Case, Genuine
from tests.gateways.test_vectors import SAMPLE_KEY

PROVIDER_NO: Final = "1900000001"
APP_ID: Final = "wx8888888888888888"
MERCHANT_NO: Final = "1620000007"
OTHER_NO: Final = "1620000008"
PUBLIC_KEY_ID: Final = "PUB_KEY_ID_0114232134912410000000000000"
API_KEY: Final = b"0123456789abcdef0123456789abcdef"
ORDER_NO: Final = "P0000000000000000000000000A1"
COMBINED_NO: Final = "C0000000000000000000000000C1"
REFUND_NO: Final = "R0000000000000000000000000B2"
TRADE_NO: Final = "4200000000202603020000000001"
CHANNEL_REFUND_NO: Final = "50300000002026030200000000001"
PLATE: Final = "苏B12345"
BILL_ON: Final = date(2026, 3, 1)
EXPIRES_AT: Final = NOW + timedelta(minutes=15)

CHANNEL: Final = WeChat(
    Provider(
        provider_no=PROVIDER_NO,
        app_id=APP_ID,
        notify_url="https://pay.example/callbacks/wechat",
        site_name="停车缴费",
        site_url="https://pay.example",
    )
)


@cache
def signer() -> Signer:
    """What the channel signs with."""
    return Signer(serial=PUBLIC_KEY_ID, key=seeded.rsa_key(1, "wechat channel"))


@cache
def our_keys() -> WeChatKeys:
    return WeChatKeys(
        merchant_key=SAMPLE_KEY,
        merchant_serial="3775B6A45ACD588826D15E583A95F5DD00000000",
        api_key=API_KEY,
        channel_keys=[VerificationKey(serial=PUBLIC_KEY_ID, public_key=signer().key.public_key())],
        preferred_serial=PUBLIC_KEY_ID,
    )


def order(way: Way) -> PrepayOrder:
    return PrepayOrder(
        order_no=ORDER_NO,
        merchant_no=MERCHANT_NO,
        description="停车费 太湖广场停车场",
        amount_fen=1200,
        created_at=NOW,
        expires_at=EXPIRES_AT,
        way=way,
        payer_id="oSandbox0000000000000000payer" if way is Way.IN_WALLET else None,
        payer_ip="203.0.113.7" if way is Way.BROWSER else None,
        return_url="https://pay.example/r/1" if way is Way.BROWSER else None,
        attach="lot=17",
    )


REF: Final = OrderRef(order_no=ORDER_NO, merchant_no=MERCHANT_NO, created_at=NOW, expires_at=EXPIRES_AT)
COMBINED: Final = CombinedOrder(
    combined_no=COMBINED_NO,
    legs=(
        Leg(order_no=ORDER_NO, merchant_no=MERCHANT_NO, description="停车费 太湖广场停车场", amount_fen=1200, attach="lot=17"),
        Leg(order_no=ORDER_NO[:-1] + "2", merchant_no=OTHER_NO, description="停车费 三阳广场停车场", amount_fen=500),
    ),
    created_at=NOW,
    expires_at=EXPIRES_AT,
    payer_id="oSandbox0000000000000000payer",
)
COMBINED_REF: Final = CombinedRef(
    combined_no=COMBINED_NO,
    legs=tuple(
        OrderRef(order_no=leg.order_no, merchant_no=leg.merchant_no, created_at=NOW, expires_at=EXPIRES_AT) for leg in COMBINED.legs
    ),
)
ENTRANCE: Final = Entrance(
    entrance_no="E0000000000000000000000000D1",
    merchant_no=MERCHANT_NO,
    plate=PLATE,
    plate_color="blue",
    entered_at=NOW - timedelta(hours=2),
    free_minutes=30,
    lot_no="LOT-17",
    lot_name="太湖广场停车场",
)
DEDUCTION: Final = Deduction(
    order_no=ORDER_NO,
    merchant_no=MERCHANT_NO,
    plate=PLATE,
    plate_color="blue",
    amount_fen=1200,
    description="停车费 太湖广场停车场",
    entered_at=ENTRANCE.entered_at,
    left_at=NOW - timedelta(minutes=1),
    minutes=119,
    lot_no="LOT-17",
    lot_name="太湖广场停车场",
    created_at=NOW,
    entry_no="5K00000000000000000001",
)
MANDATE: Final = MandateRef(plate=PLATE, plate_color="blue", merchant_no=MERCHANT_NO, payer_id="oOwner")
REFUND: Final = RefundOrder(
    refund_no=REFUND_NO,
    order_no=ORDER_NO,
    trade_no=TRADE_NO,
    merchant_no=MERCHANT_NO,
    refund_fen=400,
    total_fen=1200,
    asked_at=NOW,
    paid_at=NOW,
    reason="重复缴费",
)
REFUND_REF: Final = RefundRef(refund_no=REFUND_NO, order_no=ORDER_NO, trade_no=TRADE_NO, merchant_no=MERCHANT_NO, asked_at=NOW)
BILL: Final = BillRequest(bill_on=BILL_ON)
LINK: Final = BillLink(
    url="https://api.mch.weixin.qq.com/v3/billdownload/file?token=t%2B1&tartype=gzip",
    digest_kind="SHA1",
    digest="0" * 40,
    compressed=True,
)
FUND_BILL: Final = FundBillRequest(bill_on=BILL_ON, account="BASIC", merchant_no=MERCHANT_NO)


def bill_file() -> bytes:
    """A day's trade bill of one payment."""
    at = microseconds(NOW - timedelta(days=1))
    paid = Order(
        order_no=ORDER_NO,
        merchant_no=MERCHANT_NO,
        app_id=APP_ID,
        sub_app_id=None,
        description="停车费 太湖广场停车场",
        attach="lot=17",
        amount_fen=1200,
        openid="oPayer",
        notify_url="https://pay.example/callbacks/wechat",
        content=b"",
        expires_at=at,
        created_at=at,
        state="SUCCESS",
        trade_no=TRADE_NO,
        paid_at=at,
        fee_fen=7,
    )
    return bill_form.write([paid], provider_no=PROVIDER_NO, fee_bps=60, form="ALL", bom=True, crlf=True)


def answer(told: Mapping[str, Any] | None) -> Answer:
    """A signed answer of the channel: 200 with a body, or 204 without."""
    body = b"" if told is None else json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    headers = answer_headers(signer(), body=body, at=NOW, nonce="n" * 32)
    return Answer(status=200 if body else 204, headers=headers, body=body)


TRANSACTION: Final[dict[str, Any]] = {
    "sp_appid": APP_ID,
    "sp_mchid": PROVIDER_NO,
    "sub_mchid": MERCHANT_NO,
    "out_trade_no": ORDER_NO,
    "transaction_id": TRADE_NO,
    "trade_type": "JSAPI",
    "trade_state": "SUCCESS",
    "trade_state_desc": "支付成功",
    "bank_type": "OTHERS",
    "attach": "lot=17",
    "success_time": "2026-03-02T10:00:00+08:00",
    "payer": {"sp_openid": "oPayer"},
    "amount": {"total": 1200, "payer_total": 1200, "currency": "CNY", "payer_currency": "CNY"},
}
COMBINED_TRANSACTION: Final[dict[str, Any]] = {
    "combine_appid": APP_ID,
    "combine_mchid": PROVIDER_NO,
    "combine_out_trade_no": COMBINED_NO,
    "combine_transaction_id": "4200000000202603020000000009",
    "sub_orders": [
        {
            "mchid": PROVIDER_NO,
            "sub_mchid": leg.merchant_no,
            "out_trade_no": leg.order_no,
            "transaction_id": f"{TRADE_NO[:-1]}{number}",
            "trade_type": "JSAPI",
            "trade_state": "SUCCESS",
            "bank_type": "OTHERS",
            "attach": leg.attach or leg.order_no,
            "success_time": "2026-03-02T10:00:00+08:00",
            "amount": {"total_amount": leg.amount_fen, "currency": "CNY", "payer_amount": leg.amount_fen, "payer_currency": "CNY"},
        }
        for number, leg in enumerate(COMBINED.legs, 1)
    ],
    "combine_payer_info": {"openid": "oPayer"},
}
DEDUCTED: Final[dict[str, Any]] = {
    "appid": APP_ID,
    "sp_mchid": PROVIDER_NO,
    "sub_mchid": MERCHANT_NO,
    "description": DEDUCTION.description,
    "create_time": "2026-03-02T10:00:00+08:00",
    "out_trade_no": ORDER_NO,
    "trade_state": "ACCEPTED",
    "trade_scene": "PARKING",
    "parking_info": {
        "parking_id": DEDUCTION.entry_no,
        "plate_number": PLATE,
        "plate_color": "BLUE",
        "start_time": "2026-03-02T08:00:00+08:00",
        "end_time": "2026-03-02T09:59:00+08:00",
        "parking_name": DEDUCTION.lot_name,
        "charging_duration": 7140,
        "device_id": "LOT-17",
    },
    "payer": {"openid": "oOwner"},
    "amount": {"total": 1200, "currency": "CNY"},
}
REFUND_ANSWER: Final[dict[str, Any]] = {
    "refund_id": CHANNEL_REFUND_NO,
    "out_refund_no": REFUND_NO,
    "transaction_id": TRADE_NO,
    "out_trade_no": ORDER_NO,
    "channel": "ORIGINAL",
    "user_received_account": "支付用户零钱",
    "create_time": "2026-03-02T10:00:00+08:00",
    "status": "PROCESSING",
    "amount": {"total": 1200, "refund": 400, "payer_total": 1200, "payer_refund": 400, "currency": "CNY"},
}
SEALED_PART: Final[dict[str, Any]] = {
    "bill_sequence": 1,
    "download_url": "https://api.mch.weixin.qq.com/v3/billdownload/file?token=t2",
    "encrypt_key": "a2V5",
    "nonce": "0123456789abcdef",
    "hash_type": "SHA1",
    "hash_value": "0" * 40,
}
BILL_LOCATION: Final[dict[str, Any]] = {"hash_type": "SHA1", "hash_value": "0" * 40, "download_url": LINK.url}


def certificates() -> dict[str, Any]:
    """Return one platform certificate in its box."""
    pem = issue_certificate(at=NOW).certificate
    nonce = "0123456789ab"
    sealed_pem = box(pem, api_key=API_KEY, nonce=nonce, associated="certificate")
    serial = certificate_serial(load_pem_x509_certificate(pem))
    encrypted = {"algorithm": "AEAD_AES_256_GCM", "nonce": nonce, "associated_data": "certificate", "ciphertext": sealed_pem}
    return {"data": [{"serial_no": serial, "encrypt_certificate": encrypted}]}


def genuine() -> dict[Operation, Answer]:
    """Return positive answers to the orders above; an order call's holds the handles of all ways."""
    handles = {
        "prepay_id": "wx201410272009395522657a690389285100",
        "h5_url": "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2&package=1",
        "code_url": "weixin://wxpay/bizpayurl?pr=JyC91EIz1",
    }
    return {
        Operation.PREPAY: answer(handles),
        Operation.COMBINE: answer(handles),
        Operation.QUERY: answer(TRANSACTION),
        Operation.CLOSE: answer(None),
        Operation.MANDATE_QUERY: answer(
            {"plate_number": PLATE, "plate_color": "BLUE", "openid": "oOwner", "service_state": "NORMAL"}
        ),
        Operation.ENTRY: answer(
            {
                "id": DEDUCTION.entry_no,
                "out_parking_no": ENTRANCE.entrance_no,
                "plate_number": PLATE,
                "plate_color": "BLUE",
                "start_time": "2026-03-02T08:00:00+08:00",
                "parking_name": ENTRANCE.lot_name,
                "free_duration": 1800,
                "state": "NORMAL",
            }
        ),
        Operation.DEDUCT: answer(DEDUCTED),
        Operation.REFUND: answer(REFUND_ANSWER),
        Operation.REFUND_QUERY: answer(REFUND_ANSWER | {"status": "SUCCESS", "success_time": "2026-03-02T10:00:00+08:00"}),
        Operation.BILL: answer(BILL_LOCATION),
        Operation.CERTIFICATES: answer(certificates()),
        Operation.FUND_BILL: answer({"download_bill_count": 1, "download_bill_list": [SEALED_PART]}),
    }


def result(number: int = 1, **changes: Any) -> Result:
    """What is told of a leg, or of the order, which is the same as the first."""
    leg = COMBINED.legs[number - 1]
    given: dict[str, Any] = {
        "channel": "wechat",
        "state": ChannelState.SUCCEEDED,
        "order_no": leg.order_no,
        "provider_no": PROVIDER_NO,
        "merchant_no": leg.merchant_no,
        "trade_no": f"{TRADE_NO[:-1]}{number}",
        "amount_fen": leg.amount_fen,
        "currency": "CNY",
        "happened_at": NOW,
    }
    return Result(**(given | changes))


def sealed(told: Mapping[str, Any], event: str, name: str, **read: Any) -> Genuine:
    """A signed notice around any plaintext; ``read`` is what must be read in it."""
    plain = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
    body = sealed_notice(
        plain,
        kind="transaction",
        event=event,
        summary="支付",
        at=NOW,
        api_key=API_KEY,
        notice_id=f"EV-{name}",
        nonce=f"{name:0>12}",
    )
    return Genuine(body=body, headers=answer_headers(signer(), body=body, at=NOW, nonce="n" * 32), **read)


def notices() -> tuple[Genuine, ...]:
    """A payment, a refund, a combined order and a deduction as the channel tells of them."""
    paid = PaidOrder(
        order_no=ORDER_NO, trade_no=TRADE_NO, provider_no=PROVIDER_NO, merchant_no=MERCHANT_NO, amount_fen=1200, paid_at=NOW
    )
    told = RefundTold(
        refund_no=REFUND_NO,
        channel_refund_no=CHANNEL_REFUND_NO,
        order_no=ORDER_NO,
        trade_no=TRADE_NO,
        provider_no=PROVIDER_NO,
        merchant_no=MERCHANT_NO,
        refund_fen=400,
        total_fen=1200,
        happened_at=NOW,
    )
    refunded = RefundResult(
        channel="wechat",
        state=RefundState.DONE,
        refund_no=REFUND_NO,
        provider_no=PROVIDER_NO,
        merchant_no=MERCHANT_NO,
        order_no=ORDER_NO,
        trade_no=TRADE_NO,
        channel_refund_no=CHANNEL_REFUND_NO,
        refund_fen=400,
        happened_at=NOW,
        word="SUCCESS",
    )
    headers, body = signed_callback(signer(), paid, api_key=API_KEY, at=NOW)
    refund_headers, refund_body = signed_refund_callback(signer(), told, api_key=API_KEY, at=NOW)
    deducted = DEDUCTED | {
        "trade_state": "SUCCESS",
        "transaction_id": TRADE_NO,
        "bank_type": "OTHERS",
        "success_time": "2026-03-02T10:00:00+08:00",
    }
    failed = result(state=ChannelState.FAILED, trade_no=None, happened_at=None)
    blocked = {
        "sp_mchid": PROVIDER_NO, "sub_mchid": MERCHANT_NO, "parking_id": DEDUCTION.entry_no,
        "out_parking_no": ENTRANCE.entrance_no, "plate_number": PLATE, "plate_color": "BLUE",
        "start_time": "2026-03-02T08:00:00+08:00", "parking_name": ENTRANCE.lot_name, "free_duration": 1800,
        "parking_state": "BLOCKED", "blocked_state_description": "PAUSE", "state_update_time": "2026-03-02T09:30:00+08:00",
    }  # fmt: skip
    return (
        Genuine(body=body, headers=headers, results=(result(),)),
        Genuine(body=refund_body, headers=refund_headers, refund=refunded),
        sealed(COMBINED_TRANSACTION, "TRANSACTION.SUCCESS", "combined", results=(result(1), result(2))),
        sealed(deducted, "TRANSACTION.SUCCESS", "deducted", results=(result(),)),
        sealed(DEDUCTED | {"trade_state": "PAY_FAIL"}, "TRANSACTION.FAIL", "failed", results=(failed,)),
        sealed(blocked, "VEHICLE.ENTRANCE_STATE_CHANGE", "blocked"),
    )


def case() -> Case:
    """Return WeChat Pay's case."""
    return Case(
        channel=CHANNEL,
        keys=our_keys(),
        orders={way: order(way) for way in sorted(CHANNEL.ways)},
        ref=REF,
        combined=COMBINED,
        combined_ref=COMBINED_REF,
        deduction=DEDUCTION,
        entrance=ENTRANCE,
        mandate=MANDATE,
        refund=REFUND,
        refund_ref=REFUND_REF,
        bill=BILL,
        link=LINK,
        bill_file=bill_file(),
        fund_bill=FUND_BILL,
        notices=notices(),
        genuine=genuine(),
    )
