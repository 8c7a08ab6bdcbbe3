"""The ETC adapter: what it sends, what it believes, what proves nothing."""

import json
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from gateways.contract import (
    Answer,
    BillAbsent,
    BillLink,
    BillRefused,
    ChannelState,
    Operation,
    Reading,
    RefundState,
    Unanswered,
)
from gateways.etc import envelope, sm2
from gateways.etc.channel import DeductionRefused, Etc
from gateways.etc.clearing import BookingResult
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.keys import EtcKeys
from gateways.etc.services import Service
from gateways.etc.sign import OurKey, TheirKey
from gateways.keys import SigningFailed
from tests.contract.case import NONCE, NOW
from tests.contract.etc import (
    BILL,
    BOOKING,
    CHANNEL,
    DEDUCTION,
    DONE,
    KEYS,
    MANDATE,
    MERCHANT_NO,
    ORDER_NO,
    PAID,
    REF,
    REFUND,
    REFUND_REF,
    REFUNDED,
    RESULT,
    THEIRS,
    THEM,
    US,
    case,
    notice,
    replied,
)

GIVEN: dict[str, Any] = {"keys": KEYS, "now": NOW, "nonce": NONCE}
STRANGER = OurKey("their-1", sm2.PrivateKey(0x77777777))


def told(message: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(message)
    return body


def head_of(message: bytes) -> envelope.Head:
    head = envelope.claimed_head(message)
    assert head is not None
    return head


def read(body: bytes, **changes: Any) -> Reading:
    given: dict[str, Any] = {"keys": KEYS, "now": NOW}
    return CHANNEL.parse_callback({}, body, **(given | changes))


# What is sent


def test_a_deduction_to_the_letter() -> None:
    request = CHANNEL.build_deduct(DEDUCTION, **GIVEN)
    assert (request.method, request.url) == ("POST", "https://etc.example/etc/v1/etc.plate.pay")
    message = told(request.body)
    assert message["body"] == {
        "orderId": ORDER_NO,
        "id": "32020100012026030209590013",
        "parkId": "3202010001",
        "merchantNo": MERCHANT_NO,
        "plate": "苏BD12345",
        "plateColor": 4,
        "enterTime": "2026-03-02T08:00:00+08:00",
        "exitTime": "2026-03-02T09:59:00+08:00",
        "fee": 1200,
        "mode": "EXIT",
        "notifyId": "1",
        "capFen": 30000,
    }
    head = message["head"]
    assert head.pop("msgId").startswith("9")
    assert head == {
        "version": "1.0",
        "msgType": "etc.plate.pay",
        "senderId": US,
        "receiverId": THEM,
        "sendTime": "2026-03-02T10:00:00+08:00",
        "signAlg": "SM2SM3",
        "keyId": "our-1",
    }


def test_what_we_send_holds_at_the_other_side() -> None:
    ours = {"our-1": TheirKey("our-1", US, sm2.PrivateKey(0x1234567890ABCDEF).public)}
    for request in (
        CHANNEL.build_deduct(DEDUCTION, **GIVEN),
        CHANNEL.build_query(REF, **GIVEN),
        CHANNEL.build_mandate_query(MANDATE, **GIVEN),
        CHANNEL.build_refund(REFUND, **GIVEN),
        CHANNEL.build_refund_query(REFUND_REF, **GIVEN),
        CHANNEL.build_bill(BILL, **GIVEN),
    ):
        service = request.url.rpartition("/")[2]
        opened = envelope.open_envelope(request.body, service=service, receiver=THEM, keys=ours, now=NOW)
        assert not isinstance(opened, Rejection), opened


def test_a_repeated_deduction_is_the_same_message_and_another_content_is_not() -> None:
    first = CHANNEL.build_deduct(DEDUCTION, **GIVEN)
    again = CHANNEL.build_deduct(DEDUCTION, keys=KEYS, now=NOW + timedelta(minutes=3), nonce="another")
    other = CHANNEL.build_deduct(replace(DEDUCTION, amount_fen=1201), **GIVEN)
    assert head_of(first.body).msg_id == head_of(again.body).msg_id != head_of(other.body).msg_id
    assert told(first.body)["body"] == told(again.body)["body"]
    assert CHANNEL.build_deduct(DEDUCTION, **GIVEN) == first


def test_each_query_is_a_message_of_its_own() -> None:
    numbers = {head_of(CHANNEL.build_query(REF, keys=KEYS, now=NOW, nonce=nonce).body).msg_id for nonce in "abc"}
    assert len(numbers) == 3


def test_a_deduction_long_after_the_exit_is_one_of_a_debt() -> None:
    late = replace(DEDUCTION, created_at=DEDUCTION.left_at + timedelta(days=3))
    assert told(CHANNEL.build_deduct(late, **GIVEN).body)["body"]["mode"] == "ARREARS"


def test_a_charge_of_nothing_is_sent() -> None:
    assert told(CHANNEL.build_deduct(replace(DEDUCTION, amount_fen=0), **GIVEN).body)["body"]["fee"] == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount_fen": 30_001}, "deduction_above_cap"),
        ({"lot_no": "32"}, "deduction_form"),
        ({"plate": "苏B·12345"}, "deduction_form"),
        ({"plate_color": "unknown"}, "deduction_form"),
        ({"merchant_no": "M 1"}, "deduction_form"),
        ({"order_no": "P" * 33}, "deduction_form"),
        ({"amount_fen": -1}, "deduction_form"),
        ({"entered_at": NOW}, "deduction_form"),
    ],
)
def test_what_etc_cannot_carry_is_refused_before_anything_is_built(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(DeductionRefused) as refused:
        CHANNEL.build_deduct(replace(DEDUCTION, **changes), **GIVEN)
    assert refused.value.code == code


def test_the_cap_is_configured() -> None:
    low = Etc(replace(CHANNEL.provider, cap_fen=1199))
    assert low.amount_fen_max == 1199
    with pytest.raises(DeductionRefused, match="above the cap of 1199"):
        low.build_deduct(DEDUCTION, **GIVEN)


def test_an_operators_own_key_signs_for_its_account_and_a_missing_one_sends_nothing() -> None:
    keys = EtcKeys(ours={**KEYS.ours, "taihu": OurKey("taihu-1", sm2.PrivateKey(5))}, theirs=KEYS.theirs)
    request = CHANNEL.build_deduct(replace(DEDUCTION, key_ref="taihu"), keys=keys, now=NOW, nonce=NONCE)
    assert head_of(request.body).key_id == "taihu-1"
    with pytest.raises(SigningFailed, match="no ETC key for nobody"):
        CHANNEL.build_deduct(replace(DEDUCTION, key_ref="nobody"), keys=keys, now=NOW, nonce=NONCE)


# What a reply proves


def deducted(result: Receipt = Receipt.ACCEPTED, data: dict[str, Any] | None = None, **changes: Any) -> Reading:
    answer = replied(CHANNEL.build_deduct(DEDUCTION, **GIVEN).body, result, data, **changes)
    return CHANNEL.parse_deduct(answer, deduction=DEDUCTION, keys=KEYS, now=NOW)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, ChannelState.SUCCEEDED),
        ({"state": "ACCEPTED", "payTime": None}, ChannelState.PENDING),
        ({"state": "REFUSED", "payTime": None, "reason": 7}, ChannelState.FAILED),
        ({"state": "UNKNOWN", "payTime": None}, ChannelState.UNKNOWN),
    ],
)
def test_the_answer_to_a_deduction_says_where_it_stands(fields: dict[str, Any], state: ChannelState) -> None:
    reading = deducted(data={name: value for name, value in (PAID | fields).items() if value is not None})
    assert reading.verdict == "verified"
    assert reading.result is not None
    assert reading.result.state is state
    assert reading.reason == ("booking_over_limit" if state is ChannelState.FAILED else None)


def test_a_paid_deduction_has_everything_that_the_book_needs() -> None:
    assert deducted(data=PAID).result == RESULT


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {**PAID, "orderId": "P2"},
        {**PAID, "state": "DONE"},
        {**PAID, "fee": "1200"},
        {**PAID, "fee": -1},
        {name: value for name, value in PAID.items() if name != "payTime"},
        {name: value for name, value in PAID.items() if name != "merchantNo"},
        {**PAID, "reason": 1},
    ],
)
def test_an_answer_that_cannot_be_read_proves_nothing(data: dict[str, Any] | None) -> None:
    reading = deducted(data=data)
    assert (reading.verdict, reading.results) == ("unreadable", ())


def test_only_a_car_park_that_is_not_theirs_fails_a_deduction() -> None:
    for receipt in Receipt:
        reading = deducted(receipt, PAID)
        if receipt is Receipt.ACCEPTED:
            continue
        state = None if reading.result is None else reading.result.state
        assert state is (ChannelState.FAILED if receipt is Receipt.NOT_OUR_LOT else None), receipt
        assert reading.reason


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"key": STRANGER}, "refused", "signature"),
        ({"key": OurKey("their-2", THEIRS.key)}, "refused", "serial_unknown"),
        ({"send_time": "2026-03-02T09:54:59+08:00"}, "refused", "stale"),
        ({"receiver_id": THEM}, "refused", "header_missing"),
        ({"msg_type": "etc.plate.pay.query"}, "refused", "header_missing"),
        ({"sender_id": US}, "refused", "serial_unknown"),
        ({"ack_no": "9" * 20}, "unreadable", "other_order"),
        ({"ack_no": "1"}, "unreadable", "other_order"),
    ],
)
def test_a_reply_that_is_not_proven_to_be_theirs_to_us_proves_nothing(changes: Any, verdict: str, reason: str) -> None:
    reading = deducted(data=PAID, **changes)
    assert (reading.verdict, reading.reason, reading.results) == (verdict, reason, ())


def test_another_partys_key_says_nothing_for_the_clearing_party() -> None:
    other = OurKey("other-1", sm2.PrivateKey(0x5555))
    keys = EtcKeys(
        ours=KEYS.ours,
        theirs={**KEYS.theirs, "other-1": TheirKey("other-1", "0000000000000020", sm2.PrivateKey(0x5555).public)},
    )
    answer = replied(CHANNEL.build_deduct(DEDUCTION, **GIVEN).body, data=PAID, key=other, sender_id="0000000000000020")
    assert CHANNEL.parse_deduct(answer, deduction=DEDUCTION, keys=keys, now=NOW).reason == "other_sender"
    body = notice(Service.PLATE_PAY_NOTIFY, PAID, key=other, sender_id="0000000000000020")
    reading = read(body, keys=keys)
    assert (reading.verdict, reading.reason) == ("refused", "other_sender")


@pytest.mark.parametrize(
    "answer",
    [
        Unanswered("timeout"),
        Answer(502, {}, b"<html>bad gateway</html>"),
        Answer(200, {}, b""),
        Answer(200, {}, "停车".encode("gbk")),
        Answer(200, {}, b'{"head":{},"body":{},"sign":""}'),
        Answer(200, {}, b"[" * 100_000),
        Answer(204, {}, b"\x00" * 100),
    ],
)
def test_whatever_else_comes_is_unknown(answer: Answer | Unanswered) -> None:
    given: dict[str, Any] = {"keys": KEYS, "now": NOW}
    readings = [
        CHANNEL.parse_deduct(answer, deduction=DEDUCTION, **given),
        CHANNEL.parse_query(answer, order=REF, **given),
        CHANNEL.parse_refund(answer, refund=REFUND, **given),
        CHANNEL.parse_refund_query(answer, refund=REFUND_REF, **given),
    ]
    assert all(not reading.results and reading.refund is None and reading.verdict != "verified" for reading in readings)
    assert CHANNEL.parse_mandate_query(answer, mandate=MANDATE, **given).state == "unknown"
    assert isinstance(CHANNEL.parse_bill_link(answer, bill=BILL, **given), BillAbsent)


# Queries


def queried(result: Receipt, data: dict[str, Any] | None = None, *, after: timedelta = timedelta()) -> Reading:
    answer = replied(CHANNEL.build_query(REF, **GIVEN).body, result, data)
    return CHANNEL.parse_query(answer, order=replace(REF, expires_at=NOW + after), keys=KEYS, now=NOW)


def test_an_order_that_they_do_not_know_is_pending_until_it_expires() -> None:
    waiting = queried(Receipt.CONTENT_WRONG, after=timedelta(seconds=1)).result
    over = queried(Receipt.CONTENT_WRONG).result
    assert waiting is not None
    assert over is not None
    assert (waiting.state, over.state) == (ChannelState.PENDING, ChannelState.NOT_FOUND)


def test_a_query_is_answered_as_the_deduction_is() -> None:
    assert queried(Receipt.ACCEPTED, PAID).result == RESULT
    assert queried(Receipt.ACCEPTED, PAID | {"orderId": "P2"}).reason == "other_order"
    assert queried(Receipt.BUSY).reason == "unavailable"


def test_an_answer_to_another_order_is_not_taken_for_this_one() -> None:
    answer = replied(CHANNEL.build_query(replace(REF, order_no="P2"), **GIVEN).body, data=PAID)
    assert CHANNEL.parse_query(answer, order=REF, keys=KEYS, now=NOW).reason == "other_order"


# Plates


@pytest.mark.parametrize(("word", "state"), [("SIGNED", "open"), ("UNSIGNED", "none"), ("LISTED", "none"), ("PERHAPS", "unknown")])
def test_a_plate_may_be_charged_only_when_it_is_signed(word: str, state: str) -> None:
    data = {"plate": "苏BD12345", "plateColor": 4, "state": word}
    answer = replied(CHANNEL.build_mandate_query(MANDATE, **GIVEN).body, data=data)
    assert CHANNEL.parse_mandate_query(answer, mandate=MANDATE, keys=KEYS, now=NOW).state == state


@pytest.mark.parametrize("other", [{"plate": "苏BD12346"}, {"plateColor": 0}])
def test_an_answer_of_another_plate_says_nothing(other: dict[str, Any]) -> None:
    data = {"plate": "苏BD12345", "plateColor": 4, "state": "SIGNED"} | other
    answer = replied(CHANNEL.build_mandate_query(MANDATE, **GIVEN).body, data=data)
    assert CHANNEL.parse_mandate_query(answer, mandate=MANDATE, keys=KEYS, now=NOW).state == "unknown"


# Refunds


def refunded(data: dict[str, Any], result: Receipt = Receipt.ACCEPTED) -> Reading:
    answer = replied(CHANNEL.build_refund(REFUND, **GIVEN).body, result, data)
    return CHANNEL.parse_refund(answer, refund=REFUND, keys=KEYS, now=NOW)


UNDONE = {name: value for name, value in DONE.items() if name not in ("doneTime", "clearTargetDate")}


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (DONE, RefundState.DONE),
        (UNDONE | {"state": "ACCEPTED"}, RefundState.PENDING),
        (UNDONE | {"state": "REFUSED", "reason": "NOT_CLEARED"}, RefundState.LATER),
        (UNDONE | {"state": "REFUSED", "reason": "ABOVE_REST"}, RefundState.REFUSED),
        (UNDONE | {"state": "REFUSED", "reason": "NO_CHARGE"}, RefundState.REFUSED),
        (UNDONE | {"state": "REFUSED", "reason": "ISSUER"}, RefundState.CLOSED),
        (UNDONE | {"state": "REFUSED", "reason": "ACCOUNT"}, RefundState.STUCK),
        (UNDONE | {"state": "REFUSED"}, RefundState.CLOSED),
    ],
)
def test_a_refund_says_where_it_stands(data: dict[str, Any], state: RefundState) -> None:
    refund = refunded(data).refund
    assert refund is not None
    assert refund.state is state


@pytest.mark.parametrize(
    "data", [UNDONE, DONE | {"refundId": "R2"}, DONE | {"refundFen": 0}, DONE | {"state": "?"}, DONE | {"reason": "ISSUER"}]
)
def test_a_refund_that_cannot_be_read_says_nothing(data: dict[str, Any]) -> None:
    assert refunded(data).refund is None


def test_a_refund_is_asked_for_with_a_code_for_its_reason() -> None:
    for words, code in (("重复缴费", "DUP"), ("多收停车费", "WRONG_FEE"), ("车牌识别错误", "WRONG_CAR"), (None, "COMPLAINT")):
        body = told(CHANNEL.build_refund(replace(REFUND, reason=words), **GIVEN).body)["body"]
        assert (body["reasonCode"], body["orderId"], body["refundFen"]) == (code, ORDER_NO, 400)


def test_a_refund_that_they_do_not_know_may_be_asked_for_again() -> None:
    answer = replied(CHANNEL.build_refund_query(REFUND_REF, **GIVEN).body, Receipt.CONTENT_WRONG)
    refund = CHANNEL.parse_refund_query(answer, refund=REFUND_REF, keys=KEYS, now=NOW).refund
    assert refund is not None
    assert refund.state is RefundState.NOT_FOUND
    assert refunded({}, Receipt.CONTENT_WRONG).refund is None


# Notices


def test_a_notice_of_a_charge_and_of_a_refund() -> None:
    paid = read(notice(Service.PLATE_PAY_NOTIFY, PAID))
    assert (paid.verdict, paid.results) == ("verified", (RESULT,))
    assert read(notice(Service.REFUND_RESULT, DONE)).refund == REFUNDED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": STRANGER}, "signature"),
        ({"key": OurKey("their-9", THEIRS.key)}, "serial_unknown"),
        ({"send_time": "2026-03-02T10:05:01+08:00"}, "stale"),
        ({"receiver_id": THEM}, "header_missing"),
        ({"version": "1.1"}, "version"),
        ({"sender_id": US}, "serial_unknown"),
    ],
)
def test_a_notice_that_is_not_proven_is_refused(changes: Any, reason: str) -> None:
    reading = read(notice(Service.PLATE_PAY_NOTIFY, PAID, **changes))
    assert (reading.verdict, reading.reason, reading.results) == ("refused", reason, ())


def test_an_altered_amount_is_refused() -> None:
    body = notice(Service.PLATE_PAY_NOTIFY, PAID)
    assert read(body.replace(b'"fee":1200', b'"fee":1100')).reason == "signature"
    assert read(body.replace(b'"fee":1200', b'"fee":1200,"fee":1200')).reason == "not_json"


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff\xfe", "通知".encode("gbk"), b"[" * 50_000, b'{"head":1}'])
def test_garbage_is_refused(body: bytes) -> None:
    reading = read(body)
    assert (reading.verdict, reading.reason) == ("refused", "not_json")
    assert CHANNEL.ack(accepted=False, reason="not_json", reading=reading, keys=KEYS, now=NOW).status == 400


@pytest.mark.parametrize(
    "message",
    [
        notice(Service.PLATE_PAY_NOTIFY, PAID, sender_id="0000000000000020"),
        notice(Service.REFUND_APPLY, PAID),
        notice(Service.PLATE_PAY, PAID, key=STRANGER),
    ],
)
def test_nobody_else_can_have_something_signed_by_us(message: bytes) -> None:
    reading = read(message)
    answer = CHANNEL.ack(accepted=False, reason=reading.reason, reading=reading, keys=KEYS, now=NOW)
    assert (reading.reply_to, answer.body, answer.status // 100) == (None, b"not taken", 4)


@pytest.mark.parametrize(
    ("service", "body", "reason"),
    [
        (Service.PLATE_PAY_NOTIFY, {**PAID, "state": "?"}, "field_missing"),
        (Service.PLATE_PAY_NOTIFY, {name: value for name, value in PAID.items() if name != "channelSerial"}, "contradiction"),
        (Service.REFUND_RESULT, {}, "field_missing"),
        (Service.ACCOUNT_RESULT, json.loads(BOOKING) | {"disputedCount": 2}, "contradiction"),
    ],
)
def test_a_genuine_notice_that_cannot_be_read_says_why(service: str, body: dict[str, Any], reason: str) -> None:
    reading = read(notice(service, body))
    assert (reading.verdict, reading.reason) == ("unreadable", reason)


def test_what_is_about_a_package_is_told_as_such() -> None:
    reading = read(notice(Service.ACCOUNT_RESULT, json.loads(BOOKING)))
    assert (reading.verdict, reading.reason, reading.results, reading.refund) == ("verified", None, (), None)
    assert isinstance(reading.clearing, BookingResult)
    assert read(notice("etc.news", {})).reason == "event_unknown"


def ack(reading: Reading, *, accepted: bool, reason: str | None = None) -> tuple[int, envelope.Reply]:
    answer = CHANNEL.ack(accepted=accepted, reason=reason, reading=reading, keys=KEYS, now=NOW)
    ours = {"our-1": TheirKey("our-1", US, sm2.PrivateKey(0x1234567890ABCDEF).public)}
    service = told(answer.body)["head"]["msgType"]
    opened = envelope.open_envelope(answer.body, service=service, receiver=THEM, keys=ours, now=NOW)
    assert not isinstance(opened, Rejection), opened
    reply = envelope.read_reply(opened, to="0" * 19 + "1")
    assert not isinstance(reply, Rejection)
    return answer.status, reply


def test_a_notice_is_acknowledged_with_a_signed_reply_that_names_it() -> None:
    reading = read(notice(Service.PLATE_PAY_NOTIFY, PAID))
    status, reply = ack(reading, accepted=True)
    assert (status, reply.result) == (200, Receipt.ACCEPTED)


@pytest.mark.parametrize(
    ("reason", "status", "result"),
    [
        ("signature", 401, Receipt.SIGNATURE_WRONG),
        ("stale", 401, Receipt.CLOCK_WRONG),
        ("serial_unknown", 401, Receipt.KEY_UNKNOWN),
        ("field_missing", 200, Receipt.SCHEMA_INVALID),
        ("contradiction", 200, Receipt.CONTENT_WRONG),
        ("event_unknown", 200, Receipt.HEADER_WRONG),
        ("not_taken", 503, Receipt.BUSY),
        (None, 503, Receipt.BUSY),
    ],
)
def test_a_notice_that_is_not_taken_is_told_why(reason: str | None, status: int, result: Receipt) -> None:
    reading = read(notice(Service.PLATE_PAY_NOTIFY, PAID))
    told_status, reply = ack(reading, accepted=False, reason=reason)
    assert (told_status, reply.result) == (status, result)


def test_without_a_key_the_notice_is_asked_for_again() -> None:
    reading = read(notice(Service.PLATE_PAY_NOTIFY, PAID))
    keyless = EtcKeys(ours={}, theirs=KEYS.theirs)
    assert CHANNEL.ack(accepted=True, reading=reading, keys=keyless, now=NOW).status == 503
    assert CHANNEL.ack(accepted=True).status == 503


# Bills


def test_the_file_is_fetched_checked_and_read() -> None:
    given = case()
    assert isinstance(given.link, BillLink)
    request = CHANNEL.build_bill_download(given.link, **GIVEN)
    assert (request.method, request.url) == ("GET", given.link.url)
    link = CHANNEL.parse_bill_link(given.genuine[Operation.BILL], bill=BILL, keys=KEYS, now=NOW)
    assert link == given.link
    content = CHANNEL.open_bill(given.genuine[Operation.BILL_FILE], link=given.link)
    bill = CHANNEL.parse_bill(content, bill=BILL)
    assert (bill.total_fen, bill.refund_fen, bill.fee_fen) == (1200, 400, 5)
    assert {line.trade_no for line in bill.lines} == {ORDER_NO}
    with pytest.raises(BillRefused):
        CHANNEL.open_bill(Answer(200, {}, content[:-1]), link=given.link)
    with pytest.raises(BillRefused):
        CHANNEL.open_bill(Answer(404, {}, content), link=given.link)
    with pytest.raises(BillRefused):
        CHANNEL.parse_bill(content, bill=replace(BILL, merchant_no="M2"))


@pytest.mark.parametrize(
    ("told", "fetched"),
    [
        ("/etc/files/x", "https://etc.example/etc/files/x"),
        ("https://files.example/x", "https://files.example/x"),
        ("//files.example/x", None),
        ("files/x", None),
        ("ftp://files.example/x", None),
    ],
)
def test_a_file_lies_at_an_address_or_on_a_path_of_the_gateway(told: str, fetched: str | None) -> None:
    given = case()
    assert isinstance(given.link, BillLink)
    asked = CHANNEL.build_bill(BILL, **GIVEN)
    data = {"fileName": given.link.url.rpartition("/")[2], "url": told, "sm3": given.link.digest}
    link = CHANNEL.parse_bill_link(replied(asked.body, data=data), bill=BILL, keys=KEYS, now=NOW)
    assert (link.url if isinstance(link, BillLink) else None) == fetched


@pytest.mark.parametrize(
    ("result", "data", "reason"),
    [
        (Receipt.BUSY, None, "not_ready"),
        (Receipt.NOT_OUR_LOT, None, "not_our_lot"),
        (Receipt.ACCEPTED, None, "field_missing"),
        (
            Receipt.ACCEPTED,
            {"fileName": "WXETC_DETAIL_M2_20260301.txt", "url": "https://etc.example/f", "sm3": "0" * 64},
            "other_bill",
        ),
    ],
)
def test_a_file_that_is_not_there_is_absent(result: Receipt, data: dict[str, Any] | None, reason: str) -> None:
    answer = replied(CHANNEL.build_bill(BILL, **GIVEN).body, result, data)
    assert CHANNEL.parse_bill_link(answer, bill=BILL, keys=KEYS, now=NOW) == BillAbsent(reason)
