"""The UnionPay adapter: what it sends byte for byte, and that nothing is believed unless the channel signed it for us."""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.contract import (
    Answer,
    BillAbsent,
    BillInline,
    BillRefused,
    ChannelState,
    CloseOutcome,
    HandOff,
    Operation,
    OrderRef,
    PrepayOutcome,
    Reading,
    RefundState,
    Request,
    Unanswered,
    Unsupported,
    Way,
)
from gateways.keys import SigningFailed
from gateways.sandbox.unionpay import demo
from gateways.sandbox.unionpay.signing import Signer, notice_body
from gateways.unionpay import bill as bill_file
from gateways.unionpay import refunds, wire
from gateways.unionpay.channel import FINAL_MARGIN, UnionPay
from gateways.unionpay.keys import MerchantSigner, UnionPayKeys
from tests.contract.case import NONCE, NOW
from tests.contract.test_contract import GOLDEN, golden, rendered
from tests.contract.unionpay import (
    BILL_ON,
    CHANNEL,
    INSTITUTION_NO,
    LAKE,
    LAKE_NO,
    MERCHANT_NO,
    ORDER_NO,
    ORDERED,
    PAID_AT,
    PAYMENT,
    PAYMENT_LINE,
    QR_CODE,
    QUERIED,
    REFUND,
    REFUND_LINE,
    REFUND_NO,
    REFUND_QUERIED,
    TRADE_NO,
    answer,
    archive,
    bill_answer,
    bill_request,
    deflated,
    demo_keys,
    genuine,
    notice,
    order,
    our_keys,
    paid,
    ref,
    refund,
    refund_ref,
    refunded,
    signer,
)

EXPIRED = ref().expires_at + FINAL_MARGIN
OTHER = msgspec.structs.replace(CHANNEL.provider, acquirer_no=None)
PENDING = msgspec.structs.replace(
    paid(), state=ChannelState.PENDING, trade_no=None, amount_fen=1200, currency="CNY", happened_at=None
)


def built(request: Request | HandOff) -> tuple[str, dict[str, str]]:
    """Address and fields of a request or form, without signature and certificate number; the signature must be ours."""
    if isinstance(request, HandOff):
        fields = dict(request.fields)
    else:
        assert request.method == "POST"
        assert request.headers == {"content-type": "application/x-www-form-urlencoded;charset=UTF-8"}
        fields = dict(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))
    assert fields.pop("signMethod") == "01"
    assert fields.pop("certId").isdigit()
    assert fields.pop("signature")
    return request.url or "", fields


def send(way: Way, channel: UnionPay = CHANNEL, **changes: Any) -> tuple[str, dict[str, str]]:
    return built(channel.build_prepay(order(way, **changes), keys=our_keys(), now=NOW, nonce=NONCE))


COMMON = {
    "version": "5.1.0", "encoding": "UTF-8", "txnType": "01", "channelType": "08", "accessType": "1", "acqInsCode": INSTITUTION_NO,
    "merId": MERCHANT_NO, "orderId": ORDER_NO, "txnTime": "20260302095730", "txnAmt": "1200", "currencyCode": "156",
    "backUrl": "https://pay.example/callbacks/unionpay", "payTimeout": "20260302101230", "reqReserved": "lot 7",
}  # fmt: skip


# What is sent


def test_a_browser_is_handed_a_signed_form() -> None:
    handed = CHANNEL.build_prepay(order(Way.BROWSER), keys=our_keys(), now=NOW, nonce=NONCE)
    assert isinstance(handed, HandOff)
    assert handed.kind == "form"
    assert built(handed) == (
        "https://gateway.95516.com/gateway/api/frontTransReq.do",
        COMMON | {"txnSubType": "01", "bizType": "000201", "frontUrl": "https://pay.example/r/1"},
    )


def test_inside_a_unionpay_app_the_browsers_form_is_used() -> None:
    assert send(Way.IN_WALLET) == send(Way.BROWSER)


def test_a_code_is_asked_for_by_a_call() -> None:
    assert send(Way.CODE) == (
        "https://gateway.95516.com/gateway/api/backTransReq.do",
        COMMON | {"txnSubType": "07", "bizType": "000000", "termId": "00000007"},
    )


def test_a_payers_code_is_charged_by_a_call() -> None:
    _, fields = send(Way.SCANNED)
    assert fields == COMMON | {"txnSubType": "06", "bizType": "000000", "termId": "00000007", "qrNo": "6200000000000000001"}


@pytest.mark.parametrize("code", [None, "", "6100000000000000001", "620000000000000000", "62000000000000000a1"])
def test_a_payers_code_of_another_form_is_not_sent(code: str | None) -> None:
    with pytest.raises(ValueError, match="payer's code"):
        send(Way.SCANNED, payer_id=code)
    assert not wire.is_payer_code(code or "")


def test_a_merchant_with_keys_of_its_own_asks_for_itself_and_signs_with_them() -> None:
    _, fields = send(Way.BROWSER, merchant_no=LAKE_NO, key_ref=LAKE)
    assert (fields["accessType"], fields["merId"], "acqInsCode" in fields) == ("0", LAKE_NO, False)
    certificates = {
        key_ref: CHANNEL.build_query(ref(key_ref=key_ref), keys=our_keys(), now=NOW, nonce=NONCE).body.split(b"certId=")[1]
        for key_ref in (None, LAKE)
    }
    assert certificates[None] != certificates[LAKE]


def test_without_an_institution_number_all_merchants_ask_for_themselves() -> None:
    _, fields = send(Way.BROWSER, UnionPay(OTHER))
    assert (fields["accessType"], "acqInsCode" in fields) == ("0", False)


def test_without_keys_nothing_is_sent() -> None:
    with pytest.raises(SigningFailed, match="merchants/hill/"):
        send(Way.BROWSER, key_ref="hill")


@pytest.mark.parametrize("way", sorted(CHANNEL.ways))
def test_a_repeated_order_is_the_same_whenever_it_is_sent(way: Way) -> None:
    first = CHANNEL.build_prepay(order(way), keys=our_keys(), now=NOW, nonce="a")
    later = CHANNEL.build_prepay(order(way), keys=our_keys(), now=NOW + timedelta(hours=1), nonce="b")
    assert first == later


def test_what_comes_back_with_a_notice_is_free_of_signs_that_group_a_message() -> None:
    _, fields = send(Way.BROWSER, attach="lot={7}&[a]\r\n8")
    assert fields["reqReserved"] == "lot7a8"
    assert "reqReserved" not in send(Way.BROWSER, attach="{}")[1]


def test_a_way_that_the_channel_has_not_is_our_own_mistake() -> None:
    with pytest.raises(Unsupported):
        send(Way.DEDUCTION)
    with pytest.raises(Unsupported):
        CHANNEL.build_refund(refund(way=Way.DEDUCTION), keys=our_keys(), now=NOW, nonce=NONCE)
    for way in (Way.BROWSER, Way.IN_WALLET, Way.CODE):
        with pytest.raises(Unsupported):
            CHANNEL.build_cancel(ref(way), keys=our_keys(), now=NOW, nonce=NONCE)


def test_a_query_names_number_and_time() -> None:
    request = CHANNEL.build_query(ref(), keys=our_keys(), now=NOW, nonce=NONCE)
    assert built(request) == (
        "https://gateway.95516.com/gateway/api/queryTrans.do",
        {
            "version": "5.1.0", "encoding": "UTF-8", "txnType": "00", "txnSubType": "00", "bizType": "000000", "accessType": "1",
            "acqInsCode": INSTITUTION_NO, "merId": MERCHANT_NO, "orderId": ORDER_NO, "txnTime": "20260302095730",
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("way", "product"), [(Way.BROWSER, "000201"), (Way.IN_WALLET, "000201"), (Way.CODE, "000000"), (Way.SCANNED, "000000")]
)
def test_a_known_payment_is_cancelled_whole_under_its_cancels_own_number(way: Way, product: str) -> None:
    url, fields = built(CHANNEL.build_cancel(paid_ref(way), keys=our_keys(), now=NOW, nonce=NONCE))
    assert url == "https://gateway.95516.com/gateway/api/backTransReq.do"
    assert fields == {
        "version": "5.1.0", "encoding": "UTF-8", "txnType": "31", "txnSubType": "00", "bizType": product, "channelType": "08",
        "accessType": "1", "acqInsCode": INSTITUTION_NO, "merId": MERCHANT_NO, "orderId": CANCEL_NO, "txnTime": "20260302095801",
        "txnAmt": "1200", "currencyCode": "156", "origQryId": TRADE_NO, "backUrl": "https://pay.example/callbacks/unionpay",
    }  # fmt: skip


def test_a_cancel_is_byte_for_byte_as_before_whenever_it_is_repeated() -> None:
    for later in (timedelta(), timedelta(hours=1)):
        content = rendered(CHANNEL.build_cancel(paid_ref(), keys=our_keys(), now=NOW + later, nonce=NONCE))
        assert content == golden(GOLDEN / "unionpay" / "cancel_paid.txt", content)


CUT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("paid_at", "now", "kind"),
    [
        (PAID_AT, CUT - timedelta(seconds=1), "31"),
        (PAID_AT, CUT, "99"),
        (CUT - timedelta(days=1), CUT - timedelta(seconds=1), "31"),
        (CUT, CUT, "31"),
        (CUT, CUT + timedelta(hours=23), "31"),
        (CUT, CUT + timedelta(days=1), "99"),
    ],
)
def test_a_payment_is_cancelled_until_its_clearing_day_is_cut(paid_at: datetime, now: datetime, kind: str) -> None:
    _, fields = built(CHANNEL.build_cancel(paid_ref(paid_at=paid_at), keys=our_keys(), now=now, nonce=NONCE))
    assert fields["txnType"] == kind


@pytest.mark.parametrize("unknown", ["trade_no", "amount_fen", "paid_at"])
def test_a_payment_that_is_not_wholly_known_is_not_cancelled(unknown: str) -> None:
    without: dict[str, Any] = {unknown: None}
    _, fields = built(CHANNEL.build_cancel(paid_ref(**without), keys=our_keys(), now=NOW, nonce=NONCE))
    assert fields["txnType"] == "99"
    with pytest.raises(Unsupported):
        CHANNEL.build_cancel(paid_ref(Way.BROWSER, **without), keys=our_keys(), now=NOW, nonce=NONCE)
    with pytest.raises(ValueError, match="no payment"):
        CHANNEL.cancel_ref(paid_ref(**without))


def test_after_the_cut_a_payment_of_another_way_is_for_a_refund() -> None:
    with pytest.raises(Unsupported):
        CHANNEL.build_cancel(paid_ref(Way.BROWSER), keys=our_keys(), now=CUT, nonce=NONCE)
    with pytest.raises(Unsupported):
        CHANNEL.build_cancel(paid_ref(Way.DEDUCTION), keys=our_keys(), now=NOW, nonce=NONCE)


def test_a_reversal_is_named_like_its_charge() -> None:
    url, fields = built(CHANNEL.build_cancel(ref(), keys=our_keys(), now=NOW, nonce=NONCE))
    assert url.endswith("/backTransReq.do")
    assert (fields["txnType"], fields["txnSubType"], fields["orderId"], fields["txnTime"]) == (
        "99",
        "01",
        ORDER_NO,
        "20260302095730",
    )
    assert "txnAmt" not in fields


@pytest.mark.parametrize(
    ("way", "product"), [(Way.BROWSER, "000201"), (Way.IN_WALLET, "000201"), (Way.CODE, "000000"), (Way.SCANNED, "000000")]
)
def test_a_refund_names_the_payments_product_and_its_query_id(way: Way, product: str) -> None:
    url, fields = built(CHANNEL.build_refund(refund(way=way), keys=our_keys(), now=NOW, nonce=NONCE))
    assert url == "https://gateway.95516.com/gateway/api/backTransReq.do"
    assert fields == {
        "version": "5.1.0", "encoding": "UTF-8", "txnType": "04", "txnSubType": "00", "bizType": product, "channelType": "08",
        "accessType": "1", "acqInsCode": INSTITUTION_NO, "merId": MERCHANT_NO, "orderId": REFUND_NO, "txnTime": "20260302100000",
        "origQryId": TRADE_NO, "txnAmt": "400", "currencyCode": "156", "backUrl": "https://pay.example/callbacks/unionpay",
    }  # fmt: skip


def test_a_refund_is_asked_about_by_its_own_number_and_time() -> None:
    _, fields = built(CHANNEL.build_refund_query(refund_ref(), keys=our_keys(), now=NOW, nonce=NONCE))
    assert (fields["txnType"], fields["orderId"], fields["txnTime"]) == ("00", REFUND_NO, "20260302100000")


def test_a_clearing_file_is_asked_for_by_its_merchant_and_day() -> None:
    url, fields = built(CHANNEL.build_bill(bill_request(), keys=our_keys(), now=NOW, nonce=NONCE))
    assert url == "https://filedownload.95516.com/"
    assert (fields["accessType"], fields["merId"], fields["settleDate"], fields["fileType"]) == ("0", MERCHANT_NO, "0301", "00")
    assert (fields["txnTime"], "orderId" in fields) == ("20260302100000", False)
    with pytest.raises(ValueError, match="one merchant"):
        CHANNEL.build_bill(bill_request(merchant_no=None), keys=our_keys(), now=NOW, nonce=NONCE)


def test_queries_follow_the_channels_own_schedule() -> None:
    after = CHANNEL.query_after
    assert after is not None
    assert [step / timedelta(minutes=1) for step in after] == [5, 5, 20, 30, 60]


# Notices


def read(body: bytes, *, now: datetime = NOW, channel: UnionPay = CHANNEL) -> Reading:
    return channel.parse_callback({}, body, keys=our_keys(), now=now)


def test_a_payments_notice_is_read() -> None:
    assert read(notice(PAYMENT)) == Reading(verdict="verified", results=(paid(),))


def test_a_refunds_notice_is_read() -> None:
    assert read(notice(REFUND)) == Reading(verdict="verified", refund=refunded())


def test_success_with_a_defect_is_success() -> None:
    assert read(notice(PAYMENT, respCode="A6")).result == paid()


@pytest.mark.parametrize("code", ["01", "03", "05", "42", "75", "ZZ"])
def test_a_notice_without_success_says_nothing(code: str) -> None:
    reading = read(notice(PAYMENT, respCode=code))
    assert reading.result is not None
    assert reading.result.state is ChannelState.UNKNOWN
    assert (read(notice(REFUND, respCode=code)).refund or refunded()).state is RefundState.UNKNOWN


def test_what_is_genuine_and_not_handled_is_said_so() -> None:
    assert read(notice(PAYMENT, txnType="31")) == Reading(verdict="verified", reason="event_unknown")
    assert read(notice(PAYMENT, txnType="")) == Reading(verdict="verified", reason="event_unknown")


@pytest.mark.parametrize("field", ["merId", "orderId", "txnTime", "txnAmt", "currencyCode", "queryId", "traceTime"])
def test_a_notice_that_lacks_what_money_needs_is_not_read(field: str) -> None:
    assert read(notice(PAYMENT, **{field: ""})) == Reading(verdict="unreadable", reason="field_missing")


@pytest.mark.parametrize("field", ["merId", "orderId", "txnTime", "txnAmt", "currencyCode", "traceTime"])
def test_a_refund_notice_that_lacks_what_money_needs_is_not_read(field: str) -> None:
    assert read(notice(REFUND, **{field: ""})) == Reading(verdict="unreadable", reason="field_missing")


@pytest.mark.parametrize(
    ("field", "value"),
    [("txnAmt", "12.00"), ("txnAmt", "-1"), ("queryId", "1"), ("txnTime", "2026"), ("currencyCode", "CNY"), ("orderId", "a b"),
     ("respCode", "0"), ("traceTime", "1332095801"), ("txnTime", "20261301095730")],
)  # fmt: skip
def test_a_field_of_another_form_is_not_read(field: str, value: str) -> None:
    assert read(notice(PAYMENT, **{field: value})).verdict == "unreadable"


def test_another_currency_is_told_and_never_called_yuan() -> None:
    reading = read(notice(PAYMENT, currencyCode="344"))
    assert reading.result == paid(currency="344")
    assert read(notice(REFUND, currencyCode="344")) == Reading(verdict="unreadable", reason="currency")


def test_another_merchant_is_told_as_it_is() -> None:
    assert read(notice(PAYMENT, merId=LAKE_NO, accessType="0")).result == paid(merchant_no=LAKE_NO)


def test_a_notice_to_another_institution_is_not_ours() -> None:
    for body in (notice(PAYMENT, acqInsCode="48029999"), notice(PAYMENT, acqInsCode=""), notice(PAYMENT, accessType="2")):
        assert read(body) == Reading(verdict="unreadable", reason="other_provider")
    assert read(notice(PAYMENT), channel=UnionPay(OTHER)).reason == "other_provider"


def test_unknown_fields_are_part_of_what_is_signed() -> None:
    assert read(notice(PAYMENT, someNewField="{a=1&b=[2]}")).result == paid()
    assert read(notice(PAYMENT) + b"&someNewField=1") == Reading(verdict="refused", reason="signature")


def test_a_field_that_comes_twice_is_refused() -> None:
    assert read(notice(PAYMENT) + b"&txnAmt=1200") == Reading(verdict="refused", reason="not_form")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"a", b"a=1", b"\xff\xfe", b"signature=&signPubKeyCert=", b"a=%ff", b"&&&", b"=" * 9999]
)
def test_garbage_is_refused(body: bytes) -> None:
    assert read(body).verdict == "refused"


def test_a_message_in_gbk_is_read_and_one_that_lies_about_it_is_not() -> None:
    told = signer().sealed(PAYMENT | {"encoding": "GBK", "respMsg": "成功"})
    assert read(notice_body(told)).result == paid()
    lying = notice_body(told).replace(b"encoding=GBK", b"encoding=UTF-8")
    assert read(lying).verdict == "refused"


def test_only_the_channels_own_certificate_counts() -> None:
    theirs = demo_keys().theirs
    ours = Signer(
        certificate=demo_keys().ours["platform/certificate.pem"].decode(),
        key=demo.config(theirs).signers[1].signer().key,
    )
    assert read(notice_body(ours.sealed(PAYMENT))) == Reading(verdict="refused", reason="certificate_name")
    other_key = Signer(certificate=signer().certificate, key=ours.key)
    assert read(notice_body(other_key.sealed(PAYMENT))) == Reading(verdict="refused", reason="signature")
    stranger = demo.make(_Chance()).theirs
    unknown = demo.config(stranger).signers[0].signer()
    assert read(notice_body(unknown.sealed(PAYMENT))) == Reading(verdict="refused", reason="certificate_chain")


class _Chance:
    """Another authority of the same names."""

    at = NOW - timedelta(days=1)

    def rsa(self, name: str) -> bytes:
        return demo_keys().theirs["signer-2-key.pem" if "middle" in name else "signer-1-key.pem"]

    def secret(self, name: str) -> bytes:
        return name.encode()

    def serial(self, name: str) -> int:
        return len(name)


def test_a_certificate_counts_only_while_it_is_valid() -> None:
    assert read(notice(PAYMENT), now=NOW + timedelta(days=6 * 365)).reason == "certificate_expired"
    assert read(notice(PAYMENT), now=NOW - timedelta(days=60)).reason == "certificate_expired"


@settings(max_examples=300, deadline=None)
@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_an_altered_byte_is_refused_or_changes_nothing(place: int, change: int) -> None:
    body = bytearray(notice(PAYMENT))
    body[place % len(body)] ^= change
    reading = read(bytes(body))
    assert reading.verdict == "refused" or reading == Reading(verdict="verified", results=(paid(),))


def test_the_acknowledgement_is_a_status() -> None:
    assert (CHANNEL.ack(accepted=True).status, CHANNEL.ack(accepted=True).body) == (200, b"ok")
    statuses = {
        reason: CHANNEL.ack(accepted=False, reason=reason).status for reason in ("signature", "field_missing", "late", None)
    }
    assert statuses == {"signature": 401, "field_missing": 400, "late": 500, None: 500}


# Answers


def prepaid(told: Answer | Unanswered, way: Way = Way.CODE) -> PrepayOutcome:
    return CHANNEL.parse_prepay(told, order=order(way), keys=our_keys(), now=NOW, nonce=NONCE)


def queried(told: Answer | Unanswered, way: Way = Way.BROWSER, *, now: datetime = NOW) -> Reading:
    return CHANNEL.parse_query(told, order=ref(way), keys=our_keys(), now=now)


def cancelled(told: Answer | Unanswered, *, now: datetime = NOW) -> CloseOutcome:
    return CHANNEL.parse_cancel(told, order=ref(), keys=our_keys(), now=now)


def paid_ref(way: Way = Way.SCANNED, **changes: Any) -> OrderRef:
    return ref(way, **({"trade_no": TRADE_NO, "amount_fen": 1200, "paid_at": PAID_AT} | changes))


CANCEL_NO = "X" + ORDER_NO[1:]
CANCELLED = ORDERED | {"txnType": "31", "txnSubType": "00", "orderId": CANCEL_NO, "txnTime": "20260302095801"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("00", "accepted"), ("A6", "accepted"), ("12", "order_number_taken"), ("45", "already_undone"), ("36", "original_unfit"),
        ("05", "undecided"), ("33", "not_allowed"), ("01", "failed"), ("34", "not_found"), ("ZZ", "error_unlisted"),
    ],
)  # fmt: skip
def test_a_cancels_answer_alone_never_proves_that_the_money_goes_back(code: str, reason: str) -> None:
    told = answer(CANCELLED, respCode=code)
    for now in (NOW, CUT + timedelta(days=2)):
        outcome = CHANNEL.parse_cancel(told, order=paid_ref(Way.BROWSER), keys=our_keys(), now=now)
        assert outcome == CloseOutcome("verified", ChannelState.UNKNOWN, reason)


@pytest.mark.parametrize(
    "changes", [{"merId": LAKE_NO}, {"orderId": ORDER_NO}, {"txnTime": "20260302095730"}, {"txnType": "04"}, {"txnType": "99"}]
)
def test_an_answer_about_another_cancel_proves_nothing(changes: dict[str, str]) -> None:
    outcome = CHANNEL.parse_cancel(answer(CANCELLED | changes), order=paid_ref(), keys=our_keys(), now=NOW)
    assert (outcome.state, outcome.reason) == (ChannelState.UNKNOWN, "other_order")


def test_a_cancels_answer_is_none_to_an_order_whose_payment_is_not_known() -> None:
    outcome = CHANNEL.parse_cancel(answer(CANCELLED), order=ref(), keys=our_keys(), now=NOW)
    assert (outcome.state, outcome.reason) == (ChannelState.UNKNOWN, "other_order")


def test_a_known_charge_that_is_reversed_after_the_cut_is_read_as_a_reversal() -> None:
    told = answer(ORDERED, txnType="99", txnSubType="01")
    assert CHANNEL.parse_cancel(told, order=paid_ref(), keys=our_keys(), now=CUT).state is ChannelState.CLOSED


@pytest.mark.parametrize(
    ("code", "state"),
    [("00", RefundState.DONE), ("05", RefundState.PENDING), ("01", RefundState.CLOSED), ("61", RefundState.STUCK)],
)
def test_what_became_of_a_cancel_is_asked_like_a_refund(code: str, state: RefundState) -> None:
    asked_for = CHANNEL.cancel_ref(paid_ref())
    _, fields = built(CHANNEL.build_refund_query(asked_for, keys=our_keys(), now=NOW, nonce=NONCE))
    assert (fields["txnType"], fields["orderId"], fields["txnTime"]) == ("00", CANCEL_NO, "20260302095801")
    found = REFUND_QUERIED | {"txnType": "31", "orderId": CANCEL_NO, "txnTime": "20260302095801", "txnAmt": "1200"}
    reading = CHANNEL.parse_refund_query(answer(found, origRespCode=code), refund=asked_for, keys=our_keys(), now=NOW)
    assert reading.refund is not None
    assert (reading.refund.state, reading.refund.refund_no, reading.refund.trade_no) == (state, CANCEL_NO, TRADE_NO)
    other = CHANNEL.parse_refund_query(answer(found | {"txnType": "04"}), refund=asked_for, keys=our_keys(), now=NOW)
    assert other == Reading(verdict="unreadable", reason="other_refund")


def asked(told: Answer | Unanswered) -> Reading:
    return CHANNEL.parse_refund(told, refund=refund(), keys=our_keys(), now=NOW)


def refund_queried(told: Answer | Unanswered) -> Reading:
    return CHANNEL.parse_refund_query(told, refund=refund_ref(), keys=our_keys(), now=NOW)


def billed(told: Answer | Unanswered, *, now: datetime = NOW) -> Any:
    return CHANNEL.parse_bill_link(told, bill=bill_request(), keys=our_keys(), now=now)


GOOD = answer(ORDERED, qrCode=QR_CODE).body
PROVE_NOTHING: list[tuple[Answer | Unanswered, str, str]] = [
    (Unanswered("timeout"), "unanswered", "timeout"),
    (Answer(status=500, headers={}, body=GOOD), "unverified", "unavailable"),
    (Answer(status=302, headers={}, body=GOOD), "unverified", "unavailable"),
    (Answer(status=200, headers={}, body=b""), "unverified", "unavailable"),
    (Answer(status=200, headers={}, body=b"<html>"), "refused", "not_form"),
    (Answer(status=200, headers={}, body=b"\xff=1"), "refused", "not_form"),
    (Answer(status=200, headers={}, body=b"respCode=00"), "refused", "signature_missing"),
    (Answer(status=200, headers={}, body=GOOD + b"&a=1"), "refused", "signature"),
    (Answer(status=200, headers={}, body=GOOD.replace(b"5.1.0", b"5.0.0")), "refused", "method_unknown"),
    (answer(ORDERED, respCode=""), "unreadable", "field_missing"),
    (answer(ORDERED, acqInsCode="48029999"), "unreadable", "other_provider"),
]


@pytest.mark.parametrize(("told", "verdict", "reason"), PROVE_NOTHING)
def test_what_the_channel_did_not_sign_for_us_proves_nothing(told: Answer | Unanswered, verdict: str, reason: str) -> None:
    for way in CHANNEL.ways:
        outcome = prepaid(told, way)
        assert (outcome.verdict, outcome.state, outcome.reason, outcome.hand_off) == (verdict, ChannelState.UNKNOWN, reason, None)
    for reading in (queried(told), asked(told), refund_queried(told)):
        assert reading == Reading(verdict=verdict, reason=reason)  # type: ignore[arg-type]
    assert cancelled(told) == CloseOutcome(verdict, ChannelState.UNKNOWN, reason)  # type: ignore[arg-type]
    assert billed(told) == BillAbsent(reason)


@pytest.mark.parametrize("changes", [{"merId": LAKE_NO}, {"orderId": "P999"}, {"txnTime": "20260302095731"}, {"txnTime": ""}])
def test_an_answer_about_another_transaction_proves_nothing(changes: dict[str, str]) -> None:
    assert prepaid(answer(ORDERED | changes, qrCode=QR_CODE)).reason == "other_order"
    assert queried(answer(QUERIED | changes)) == Reading(verdict="unreadable", reason="other_order")
    assert cancelled(answer(ORDERED | {"txnType": "99"} | changes)).reason == "other_order"
    assert asked(answer(REFUND | changes)) == Reading(verdict="unreadable", reason="other_refund")
    assert refund_queried(answer(REFUND_QUERIED | changes)) == Reading(verdict="unreadable", reason="other_refund")


def test_an_answer_about_another_kind_of_transaction_proves_nothing() -> None:
    assert queried(answer(QUERIED, txnType="04")).reason == "other_order"
    assert refund_queried(answer(REFUND_QUERIED, txnType="01")).reason == "other_refund"
    assert asked(answer(REFUND, txnAmt="401")).reason == "other_refund"
    assert asked(answer(REFUND, origQryId="1" * 21)).reason == "other_refund"


def test_an_order_for_a_code_leads_to_its_text() -> None:
    outcome = prepaid(answer(ORDERED, qrCode=QR_CODE))
    assert outcome == PrepayOutcome("verified", ChannelState.PENDING, HandOff(kind="code", fields={"code": QR_CODE}))
    assert prepaid(answer(ORDERED)) == PrepayOutcome("unreadable", ChannelState.UNKNOWN, reason="field_missing")
    assert prepaid(answer(ORDERED, qrCode="javascript:1")).state is ChannelState.UNKNOWN


def test_a_charge_that_is_taken_on_is_not_paid() -> None:
    assert prepaid(answer(ORDERED), Way.SCANNED) == PrepayOutcome("verified", ChannelState.PENDING, HandOff(kind="none"))


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("01", ChannelState.FAILED, "failed"),
        ("64", ChannelState.FAILED, "declined"),
        ("71", ChannelState.FAILED, "payer_acts"),
        ("12", ChannelState.UNKNOWN, "order_number_taken"),
        ("03", ChannelState.UNKNOWN, "undecided"),
        ("05", ChannelState.UNKNOWN, "undecided"),
        ("42", ChannelState.UNKNOWN, "money_moved"),
        ("11", ChannelState.UNKNOWN, "not_allowed"),
        ("ZZ", ChannelState.UNKNOWN, "error_unlisted"),
    ],
)
def test_a_refused_order_says_what_is_known(code: str, state: ChannelState, reason: str) -> None:
    for way in (Way.CODE, Way.SCANNED):
        assert prepaid(answer(ORDERED, respCode=code), way) == PrepayOutcome("verified", state, reason=reason)


def test_a_query_tells_of_a_payment() -> None:
    assert queried(answer(QUERIED)) == Reading(verdict="verified", results=(paid(),))
    assert queried(answer(QUERIED, currencyCode="")).result == paid()
    assert queried(answer(QUERIED, currencyCode="344")).result == paid(currency="344")
    assert queried(answer(QUERIED, txnAmt="1300")).result == paid(amount_fen=1300)
    assert queried(answer(QUERIED, origRespCode="42")).result == paid()


@pytest.mark.parametrize("field", ["queryId", "txnAmt", "traceTime"])
def test_a_query_that_tells_of_a_payment_without_saying_what_is_not_read(field: str) -> None:
    assert queried(answer(QUERIED, **{field: ""})) == Reading(verdict="unreadable", reason="field_missing")


def test_nothing_is_final_before_the_time_to_pay_and_a_margin_are_over() -> None:
    absent = answer(ORDERED, respCode="34", txnType="00")
    failed = answer(QUERIED, origRespCode="64")
    for told in (absent, failed):
        for now in (NOW, ref().expires_at, EXPIRED - timedelta(seconds=1)):
            reading = queried(told, now=now)
            assert reading.result is not None
            assert reading.result.state is ChannelState.PENDING
    for told, state in ((absent, ChannelState.NOT_FOUND), (failed, ChannelState.FAILED)):
        reading = queried(told, now=EXPIRED)
        assert reading.result is not None
        assert (reading.result.state, reading.result.provider_no) == (state, INSTITUTION_NO)


def test_a_charge_of_a_payers_code_has_one_attempt() -> None:
    failed = queried(answer(QUERIED, origRespCode="64"), Way.SCANNED)
    assert failed.result is not None
    assert failed.result.state is ChannelState.FAILED
    absent = queried(answer(ORDERED, respCode="34", txnType="00"), Way.SCANNED)
    assert absent.result is not None
    assert absent.result.state is ChannelState.PENDING


def test_a_query_that_failed_says_nothing_about_the_order() -> None:
    assert queried(answer(ORDERED, respCode="37"), now=EXPIRED) == Reading(verdict="verified", reason="rate_limited")
    assert queried(answer(ORDERED, respCode="ZZ"), now=EXPIRED) == Reading(verdict="verified", reason="error_unlisted")


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("00", ChannelState.CLOSED, None),
        ("12", ChannelState.CLOSED, None),
        ("05", ChannelState.UNKNOWN, "undecided"),
        ("34", ChannelState.UNKNOWN, "not_found"),
        ("35", ChannelState.UNKNOWN, "original_unfit"),
    ],
)
def test_a_reversal_is_ended_by_success_or_by_having_been_done(code: str, state: ChannelState, reason: str | None) -> None:
    told = answer(ORDERED, txnType="99", txnSubType="01", respCode=code)
    assert cancelled(told) == CloseOutcome("verified", state, reason)


def test_a_charge_that_was_never_there_is_known_after_its_time() -> None:
    told = answer(ORDERED, txnType="99", respCode="34")
    assert cancelled(told, now=EXPIRED).state is ChannelState.NOT_FOUND


# Refunds


def test_a_refund_that_is_taken_on_is_not_done() -> None:
    reading = asked(genuine()[Operation.REFUND])
    assert reading.refund == refunded(state=RefundState.PENDING, order_no=ORDER_NO, happened_at=None)


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("00", RefundState.PENDING), ("A6", RefundState.PENDING), ("12", RefundState.PENDING), ("36", RefundState.REFUSED),
        ("35", RefundState.REFUSED), ("01", RefundState.REFUSED), ("64", RefundState.LATER), ("02", RefundState.LATER),
        ("32", RefundState.LATER), ("39", RefundState.LATER), ("45", RefundState.STUCK), ("03", None), ("05", None), ("74", None),
        ("ZZ", None),
    ],
)  # fmt: skip
def test_the_answer_to_a_refund_says_what_is_known(code: str, state: RefundState | None) -> None:
    reading = asked(answer(REFUND, respCode=code))
    assert reading.verdict == "verified"
    assert (reading.refund and reading.refund.state) == state
    assert (reading.reason is None) == (state is not None)


@pytest.mark.parametrize(
    ("code", "orig", "state"),
    [
        ("00", "00", RefundState.DONE), ("00", "A6", RefundState.DONE), ("00", "05", RefundState.PENDING), ("00", "03", None),
        ("00", "04", None), ("00", "01", RefundState.CLOSED), ("00", "36", RefundState.CLOSED), ("00", "61", RefundState.STUCK),
        ("00", "75", None), ("00", "ZZ", None), ("00", "", None), ("34", "", RefundState.NOT_FOUND), ("37", "00", None),
        ("03", "", None),
    ],
)  # fmt: skip
def test_a_refund_query_has_two_levels(code: str, orig: str, state: RefundState | None) -> None:
    reading = refund_queried(answer(REFUND_QUERIED, respCode=code, origRespCode=orig))
    assert reading.verdict == "verified"
    assert (reading.refund and reading.refund.state) == state


def test_nothing_that_may_have_moved_money_frees_a_refunds_amount() -> None:
    over = {RefundState.CLOSED, RefundState.REFUSED}
    for code in ("00", "A6", "02", "03", "04", "05", "12", "42", "45", "74", "75", "ZZ", None):
        assert refunds.call_state(code) not in over
        assert refunds.query_state("00", code) not in over


# Clearing files


def test_a_file_comes_with_the_answer() -> None:
    whole = archive(PAYMENT_LINE, REFUND_LINE)
    assert billed(bill_answer(deflated(whole))) == BillInline(content=whole)
    read = CHANNEL.parse_bill(whole, bill=bill_request())
    assert [(line.kind, line.amount_fen, line.refund_state) for line in read.lines] == [
        ("payment", 1200, None),
        ("refund", 400, RefundState.DONE),
    ]


def test_the_absence_of_a_file_is_final_from_evening_on() -> None:
    absent = bill_answer("", respCode="98")
    assert billed(absent, now=datetime(2026, 3, 2, 9, 59, 59, tzinfo=UTC)) == BillAbsent("not_ready")
    assert billed(absent, now=datetime(2026, 3, 2, 10, 0, tzinfo=UTC)) == BillAbsent("empty")
    assert billed(bill_answer("", respCode="99"), now=datetime(2026, 3, 5, tzinfo=UTC)) == BillAbsent("empty")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"merId": LAKE_NO}, "other_bill"), ({"settleDate": "0228"}, "other_bill"), ({"txnType": "00"}, "other_bill"),
        ({"respCode": "11"}, "not_allowed"), ({"respCode": "ZZ"}, "error_unlisted"), ({"fileContent": ""}, "field_missing"),
    ],
)  # fmt: skip
def test_an_answer_without_the_file_asked_for_brings_none(changes: dict[str, str], reason: str) -> None:
    told = bill_answer(deflated(archive(PAYMENT_LINE)), **changes)
    assert billed(told, now=datetime(2026, 3, 5, tzinfo=UTC)) == BillAbsent(reason)


def test_a_file_that_is_not_whole_is_refused() -> None:
    with pytest.raises(BillRefused):
        billed(bill_answer("AAAA"))
    with pytest.raises(BillRefused):
        billed(bill_answer(b64encode(b"\x78\x9c\x01").decode()))
    for broken in (b"", b"garbage", archive(PAYMENT_LINE)[:-30]):
        with pytest.raises(BillRefused):
            CHANNEL.parse_bill(broken, bill=bill_request())
    for wrong in (bill_request(merchant_no=LAKE_NO), bill_request(merchant_no=None), bill_request(bill_on=NOW.date())):
        with pytest.raises(BillRefused):
            CHANNEL.parse_bill(archive(PAYMENT_LINE), bill=wrong)


def test_a_clearing_day_is_cut_at_23_oclock() -> None:
    begin, end = CHANNEL.bill_period(BILL_ON)
    assert (begin, end) == (datetime(2026, 2, 28, 15, 0, tzinfo=UTC), datetime(2026, 3, 1, 15, 0, tzinfo=UTC))


def test_a_file_has_no_second_step() -> None:
    assert Operation.BILL_FILE not in CHANNEL.supports
    assert bill_file.members(archive(PAYMENT_LINE))[0].cleared_on == BILL_ON


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_answer_makes_it_raise(body: bytes) -> None:
    told = Answer(status=200, headers={}, body=body)
    readers: list[Callable[[Answer], Any]] = [prepaid, queried, cancelled, asked, refund_queried, billed]
    for reader in readers:
        reader(told)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(PAYMENT)), st.text(max_size=30).filter(lambda text: wire.without_groups(text) == text))
def test_no_signed_field_makes_it_raise(field: str, value: str) -> None:
    try:
        told = answer(QUERIED, **{field: value})
    except UnicodeEncodeError:
        return
    for reader in (prepaid, queried, cancelled, asked, refund_queried, billed):
        reader(told)
    read(notice(PAYMENT, **{field: value}))


def test_a_key_that_is_out_of_reach_sends_nothing() -> None:
    class OutOfReach:
        def sign(self, message: bytes) -> bytes:
            raise SigningFailed(len(message))

    held = our_keys()
    keys = UnionPayKeys(signers={None: MerchantSigner(certificate_id="1", key=OutOfReach())}, certificates=held.certificates)
    for way in CHANNEL.ways:
        with pytest.raises(SigningFailed):
            CHANNEL.build_prepay(order(way), keys=keys, now=NOW, nonce=NONCE)
