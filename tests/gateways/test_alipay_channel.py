"""The Alipay adapter: exact calls out, and of what comes in only what is signed, whole and for us proves anything."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gateways.alipay import sign, wire
from gateways.alipay.channel import Alipay, Provider
from gateways.alipay.keys import NoKeys
from gateways.contract import (
    Answer,
    BillAbsent,
    BillLink,
    BillRefused,
    BillRequest,
    ChannelState,
    HandOff,
    Operation,
    Reading,
    RefundState,
    Request,
    Unanswered,
    Way,
)
from gateways.keys import VerificationKey
from tests.contract import alipay as case
from tests.contract.alipay import CHANNEL, KEYS, MERCHANT_NO, ORDER_NO, REFUND_NO, TRADE_NO, answer, notice, refusal
from tests.contract.case import NONCE, NOW

OTHER_KEY = rsa.generate_private_key(65537, 2048)
LATER = case.EXPIRES_AT + timedelta(minutes=2)
AT: dict[str, Any] = {"keys": KEYS, "now": NOW}


def fields_of(request: Request | HandOff) -> dict[str, str]:
    """The fields of a call, whose signature is checked on the way."""
    if isinstance(request, HandOff):
        assert request.url is not None
        raw = urlsplit(request.url).query + "".join(f"&{name}={value}" for name, value in request.fields.items())
    else:
        assert (request.method, request.url) == ("POST", wire.API_URL)
        raw = request.body.decode()
    form = sign.read_form(raw.encode())
    key = VerificationKey(serial="", public_key=case.OUR_KEY.public_key())
    assert key.verifies(sign.request_message(form.raw), form.text["sign"])
    return dict(form.text)


def content_of(request: Request | HandOff) -> Any:
    return json.loads(fields_of(request)["biz_content"])


def read(body: bytes) -> Reading:
    return CHANNEL.parse_callback({}, body, **AT)


# Calls out


def test_a_trade_inside_the_app_is_ordered_exactly_so() -> None:
    request = CHANNEL.build_prepay(case.order(), nonce=NONCE, **AT)
    fields = fields_of(request)
    sent = {name: fields[name] for name in fields if name not in ("sign", "biz_content")}
    assert sent == {
        "app_id": case.APP_ID, "method": "alipay.trade.create", "format": "JSON", "charset": "utf-8", "sign_type": "RSA2",
        "timestamp": "2026-03-02 10:00:00", "version": "1.0", "notify_url": case.NOTIFY_URL, "app_auth_token": case.TOKEN,
        "app_cert_sn": KEYS.app(None).app_cert_sn, "alipay_root_cert_sn": KEYS.app(None).root_cert_sn,
    }  # fmt: skip
    assert fields["biz_content"] == (
        f'{{"out_trade_no":"{ORDER_NO}","total_amount":"12.00","subject":"停车费 太湖广场","buyer_id":"{case.BUYER}",'
        f'"product_code":"JSAPI_PAY","op_app_id":"{case.APP_ID}","seller_id":"{MERCHANT_NO}","time_expire":"2026-03-02 10:14:00",'
        f'"extend_params":{{"sys_service_provider_id":"{case.PARTNER_NO}"}}}}'
    )


def test_a_repeat_at_another_time_differs_in_nothing_but_time_and_signature() -> None:
    for way in CHANNEL.ways:
        now = NOW + timedelta(minutes=3)
        first, second = (
            fields_of(CHANNEL.build_prepay(case.order(way), keys=KEYS, now=at, nonce=str(at))) for at in (NOW, now)
        )  # fmt: skip
        assert {name for name in first if first[name] != second[name]} == {"timestamp", "sign"}


def test_a_payer_that_is_no_number_is_an_open_id() -> None:
    content = content_of(
        CHANNEL.build_prepay(case.order(payer_id="074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"), nonce=NONCE, **AT)
    )
    assert (content["buyer_open_id"][:8], "buyer_id" in content) == ("074a1CcT", False)


def test_an_older_contract_names_its_product_and_no_mini_program() -> None:
    older = Alipay(Provider(app_id=case.APP_ID, notify_url=case.NOTIFY_URL, jsapi_product="FACE_TO_FACE_PAYMENT"))
    content = content_of(older.build_prepay(case.order(), nonce=NONCE, **AT))
    assert content["product_code"] == "FACE_TO_FACE_PAYMENT"
    assert not {"op_app_id", "extend_params"} & content.keys()


def test_a_browser_is_handed_a_signed_address_or_a_form_when_that_would_be_too_long() -> None:
    short = CHANNEL.build_prepay(case.order(Way.BROWSER), nonce=NONCE, **AT)
    assert isinstance(short, HandOff)
    assert (short.kind, fields_of(short)["return_url"], short.fields) == ("redirect", case.RETURN_URL, {})
    content = content_of(short)
    assert (content["product_code"], content["quit_url"]) == ("QUICK_WAP_WAY", case.RETURN_URL)
    long = CHANNEL.build_prepay(case.order(Way.BROWSER, description="停" * 256), nonce=NONCE, **AT)
    assert isinstance(long, HandOff)
    assert long.url is not None
    assert (long.kind, list(long.fields), "biz_content" in long.url) == ("form", ["biz_content"], False)
    raw = {unquote_plus(name): value for name, value in parse_qsl(urlsplit(long.url).query)} | dict(long.fields)
    message = sign.request_message({name.encode(): value.encode() for name, value in raw.items()})
    assert VerificationKey(serial="", public_key=case.OUR_KEY.public_key()).verifies(message, raw["sign"])


def test_a_code_lives_as_long_as_its_order_and_an_order_fifteen_days_at_most() -> None:
    content = content_of(CHANNEL.build_prepay(case.order(Way.CODE), nonce=NONCE, **AT))
    assert (content["qr_code_timeout_express"], content["time_expire"]) == ("15m", "2026-03-02 10:14:00")
    odd = case.order(Way.CODE, expires_at=case.CREATED_AT + timedelta(minutes=1, seconds=1))
    assert content_of(CHANNEL.build_prepay(odd, nonce=NONCE, **AT))["qr_code_timeout_express"] == "2m"
    far = case.order(Way.CODE, expires_at=NOW + timedelta(days=90))
    assert content_of(CHANNEL.build_prepay(far, nonce=NONCE, **AT))["time_expire"] == "2026-03-17 09:59:00"


def test_a_text_that_comes_back_is_sent_in_the_form_the_channel_wants() -> None:
    content = content_of(CHANNEL.build_prepay(case.order(attach="lot=7&x=甲", description="停车/费=1&2\n😀"), nonce=NONCE, **AT))
    assert (content["passback_params"], content["subject"]) == ("lot%3D7%26x%3D%E7%94%B2", "停车费12")


def test_an_operators_own_application_signs_in_key_mode_without_a_leave() -> None:
    fields = fields_of(CHANNEL.build_query(case.ref(merchant_no=case.DIRECT_NO, key_ref="lake"), nonce=NONCE, **AT))
    assert fields["app_id"] == case.DIRECT_APP
    assert not {"app_auth_token", "app_cert_sn", "alipay_root_cert_sn"} & fields.keys()


@pytest.mark.parametrize(
    "changes",
    [{"merchant_no": "2088001122334499"}, {"key_ref": "sea"}, {"key_ref": "lake"}],
    ids=["no leave", "no keys", "not its own"],
)
def test_nothing_is_sent_for_a_merchant_without_keys(changes: dict[str, str]) -> None:
    with pytest.raises(NoKeys):
        CHANNEL.build_query(case.ref(**changes), nonce=NONCE, **AT)


def test_nothing_is_sent_with_keys_of_another_platform() -> None:
    other = Alipay(Provider(app_id="2021000000000009", notify_url=case.NOTIFY_URL))
    with pytest.raises(NoKeys):
        other.build_query(case.ref(), nonce=NONCE, **AT)
    assert other.parse_callback({}, notice(), **AT).reason == "serial_unknown"


def test_the_platforms_own_account_needs_no_leave() -> None:
    fields = fields_of(CHANNEL.build_bill(BillRequest(bill_on=case.BILL_ON), nonce=NONCE, **AT))
    assert "app_auth_token" not in fields
    assert json.loads(fields["biz_content"]) == {"bill_type": "trade", "bill_date": "2026-03-01"}
    assert fields_of(CHANNEL.build_bill(case.BILL, nonce=NONCE, **AT))["app_auth_token"] == case.TOKEN


def test_calls_name_what_they_are_about() -> None:
    name = {"out_trade_no": ORDER_NO}
    assert content_of(CHANNEL.build_query(case.ref(), nonce=NONCE, **AT)) == name
    assert content_of(CHANNEL.build_close(case.ref(), nonce=NONCE, **AT)) == name
    assert content_of(CHANNEL.build_cancel(case.ref(), nonce=NONCE, **AT)) == name
    assert content_of(CHANNEL.build_refund(case.refund(), nonce=NONCE, **AT)) == {
        "refund_amount": "4.00", "out_request_no": REFUND_NO, "out_trade_no": ORDER_NO, "trade_no": TRADE_NO,
        "refund_reason": "重复缴费",
    }  # fmt: skip
    assert content_of(CHANNEL.build_refund_query(case.refund_ref(), nonce=NONCE, **AT)) == {
        "out_request_no": REFUND_NO, "out_trade_no": ORDER_NO, "trade_no": TRADE_NO, "query_options": ["gmt_refund_pay"]
    }  # fmt: skip
    assert content_of(CHANNEL.build_mandate_query(case.MANDATE, nonce=NONCE, **AT)) == {
        "car_number": case.PLATE, "plate_color": "BLUE"
    }  # fmt: skip
    assert content_of(CHANNEL.build_entry(case.ENTRANCE, nonce=NONCE, **AT)) == {
        "parking_id": case.ENTRANCE.lot_no, "car_number": case.PLATE, "in_time": "2026-03-02 10:00:00", "car_color": "BLUE",
        "agreement_query": True, "out_serial_no": case.ENTRANCE.entrance_no, "free_minutes": "15",
    }  # fmt: skip
    assert content_of(CHANNEL.build_deduct(case.DEDUCTION, nonce=NONCE, **AT)) == {
        "out_trade_no": ORDER_NO, "total_fee": "12.00", "subject": "停车费", "car_number": case.PLATE, "seller_id": MERCHANT_NO,
        "pay_scene": "PLATE_PAY", "pay_version": "3.0", "parking_id": case.DEDUCTION.lot_no, "car_number_color": "BLUE",
        "serial_no": "PS000001", "in_time": "2026-03-02 08:00:00", "out_time": "2026-03-02 10:00:00", "in_duration": "120",
        "agent_id": case.PARTNER_NO,
    }  # fmt: skip
    link = BillLink(url="https://bill.example/x?y=1", digest_kind="", digest="", compressed=True)
    download = CHANNEL.build_bill_download(link, nonce=NONCE, **AT)
    assert (download.method, download.url, download.body) == ("GET", link.url, b"")


# Notices


def test_genuine_notices_are_read() -> None:
    assert read(notice()) == Reading(verdict="verified", results=(case.RESULT,))
    assert read(notice(case.REFUND_NOTICE)) == Reading(verdict="verified", refund=case.REFUNDED)
    assert read(notice(charset="gbk")).results == (case.RESULT,)
    assert read(notice(something_new="甲乙")).results == (case.RESULT,)
    assert read(notice(alipay_cert_sn=None)).results == (case.RESULT,)


def test_a_notice_of_an_operators_own_application_is_read_with_its_keys() -> None:
    own: dict[str, Any] = {"app_id": case.DIRECT_APP, "seller_id": case.DIRECT_NO, "alipay_cert_sn": None}
    for auth_app_id in (None, case.DIRECT_APP):
        result = read(notice(**own, auth_app_id=auth_app_id)).result
        assert result is not None
        assert (result.merchant_no, result.provider_no) == (case.DIRECT_NO, case.APP_ID)
    assert read(notice(**own, auth_app_id=case.OPERATOR_APP)).reason == "other_merchant"
    assert read(notice(**(own | {"seller_id": MERCHANT_NO}), auth_app_id=None)).reason == "other_merchant"


@pytest.mark.parametrize(
    ("body", "verdict", "reason"),
    [
        (notice(key=OTHER_KEY), "refused", "signature"),
        (notice().replace(b"12.00", b"12.01", 1), "refused", "signature"),
        (notice(app_id="2021000000000009"), "refused", "serial_unknown"),
        (notice(alipay_cert_sn="0" * 32), "refused", "serial_unknown"),
        (notice(sign_type="RSA"), "refused", "sign_type"),
        (notice(app_id=None), "refused", "serial_unknown"),
        (notice() + b"&total_amount=12.00", "refused", "field_twice"),
        (notice() + b"&x=%zz", "refused", "not_form"),
        (notice() + b"&x=1", "refused", "signature"),
        (notice(charset="gbk").replace(b"charset=gbk", b"charset=utf-8"), "refused", "not_text"),
        (b"", "refused", "signature_missing"),
        (b"\xff\x00{=\xff", "refused", "not_text"),
        (notice(seller_id="2088001122334499"), "unreadable", "other_merchant"),
        (notice(auth_app_id="2021000000000009"), "unreadable", "other_merchant"),
        (notice(auth_app_id=None), "unreadable", "other_merchant"),
        (notice(notify_type="dut_user_sign"), "verified", "event_unknown"),
        (notice(notify_type=None), "verified", "event_unknown"),
        (notice(total_amount=None), "unreadable", "field_missing"),
        (notice(total_amount="12.001"), "unreadable", "field_missing"),
        (notice(total_amount="-12.00"), "unreadable", "field_missing"),
        (notice(out_trade_no=None), "unreadable", "field_missing"),
        (notice(seller_id=None), "unreadable", "field_missing"),
        (notice(gmt_payment=None), "unreadable", "field_missing"),
        (notice(gmt_payment="2026-02-30 00:00:00"), "unreadable", "field_missing"),
        (notice(case.REFUND_NOTICE, gmt_refund="gestern"), "unreadable", "field_missing"),
    ],
)  # fmt: skip
def test_a_notice_that_is_not_proven_whole_and_ours_says_nothing(body: bytes, verdict: str, reason: str) -> None:
    reading = read(body)
    assert (reading.verdict, reading.reason, reading.results, reading.refund) == (verdict, reason, (), None)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"trade_status": "WAIT_BUYER_PAY", "gmt_payment": None}, ChannelState.PENDING),
        ({"trade_status": "TRADE_FINISHED"}, ChannelState.SUCCEEDED),
        ({"trade_status": "TRADE_CLOSED", "gmt_payment": None, "gmt_close": case.PAID}, ChannelState.CLOSED),
        ({"trade_status": "TRADE_CLOSED", "refund_fee": "12.00", "gmt_refund": case.PAID}, ChannelState.SUCCEEDED),
        ({"trade_status": "TRADE_PARTLY"}, ChannelState.UNKNOWN),
    ],
)
def test_a_notices_state_is_ours(changes: dict[str, Any], state: ChannelState) -> None:
    result = read(notice(**changes)).result
    assert result is not None
    assert result.state is state


def test_a_foreign_currency_is_said() -> None:
    result = read(notice(trans_currency="USD")).result
    assert result is not None
    assert result.currency == "USD"


def test_every_altered_byte_of_a_notice_is_refused_or_reads_the_same() -> None:
    for genuine in case.case().notices:
        for at in range(0, len(genuine.body), 3):
            altered = genuine.body[:at] + bytes([genuine.body[at] ^ 0x01]) + genuine.body[at + 1 :]
            reading = read(altered)
            assert (reading.results, reading.refund) in [((), None), (genuine.results, genuine.refund)], altered[at - 5 : at + 5]


def test_a_certificate_that_is_over_is_believed_no_more() -> None:
    late = NOW + timedelta(days=366)
    assert CHANNEL.parse_callback({}, notice(), keys=KEYS, now=late).reason == "serial_unknown"


# Answers

PARSERS: dict[Operation, Callable[[Answer | Unanswered], Any]] = {
    Operation.PREPAY: lambda came: CHANNEL.parse_prepay(came, order=case.order(), nonce=NONCE, **AT),
    Operation.QUERY: lambda came: CHANNEL.parse_query(came, order=case.ref(), **AT),
    Operation.CLOSE: lambda came: CHANNEL.parse_close(came, order=case.ref(), **AT),
    Operation.CANCEL: lambda came: CHANNEL.parse_cancel(came, order=case.ref(), **AT),
    Operation.ENTRY: lambda came: CHANNEL.parse_entry(came, entrance=case.ENTRANCE, **AT),
    Operation.MANDATE_QUERY: lambda came: CHANNEL.parse_mandate_query(came, mandate=case.MANDATE, **AT),
    Operation.DEDUCT: lambda came: CHANNEL.parse_deduct(came, deduction=case.DEDUCTION, **AT),
    Operation.REFUND: lambda came: CHANNEL.parse_refund(came, refund=case.refund(), **AT),
    Operation.REFUND_QUERY: lambda came: CHANNEL.parse_refund_query(came, refund=case.refund_ref(), **AT),
    Operation.BILL: lambda came: CHANNEL.parse_bill_link(came, bill=case.BILL, **AT),
}
PARSED = pytest.mark.parametrize("operation", PARSERS)


def proves(outcome: Any) -> bool:
    """Tell whether an outcome says anything about the thing asked for."""
    if isinstance(outcome, Reading):
        return bool(outcome.results) or outcome.refund is not None
    if isinstance(outcome, BillLink):
        return True
    return not isinstance(outcome, BillAbsent) and outcome.state not in (ChannelState.UNKNOWN, "unknown")


@PARSED
def test_only_the_genuine_answer_proves_anything(operation: Operation) -> None:
    genuine = case.GENUINE[operation]
    assert proves(PARSERS[operation](genuine))
    body = genuine.body
    told = json.loads(body)
    unsigned = json.dumps({name: value for name, value in told.items() if name != "sign"}).encode()
    text = body[body.index(b":") + 1 : body.index(b',"alipay_cert_sn"')]
    method = next(iter(told)).removesuffix("_response").replace("_", ".")
    wrong: list[Answer | Unanswered] = [
        Unanswered(reason="timeout"),
        *(msgspec.structs.replace(genuine, status=status) for status in (500, 302, 404)),
        *(
            msgspec.structs.replace(genuine, body=altered)
            for altered in (
                b"", b"<html>", b"{}", b"[]", b"\xff", unsigned, body[:-1], body + body, body.replace(b"10000", b"10001", 1),
                body.replace(case.CERT_SN.encode(), b"0" * 32), body.replace(text, b"{ " + text[1:]),
                body.decode().encode("utf-16"),
            )
        ),
        answer("alipay.trade.other", json.loads(text), ok=False),
        answer(method, json.loads(text), ok=False, key=OTHER_KEY),
        answer(method, json.loads(text), ok=False, node="error_response"),
    ]  # fmt: skip
    if operation not in (Operation.CLOSE, Operation.ENTRY):
        wrong.append(answer(method, {"code": "10000"}, ok=False))
    for came in wrong:
        outcome = PARSERS[operation](came)
        if operation is Operation.REFUND_QUERY and getattr(outcome, "refund", None) is not None:
            assert outcome.refund.state is RefundState.PENDING, "an empty answer: not so far"
            continue
        assert not proves(outcome), came


@PARSED
def test_an_answer_nested_without_end_raises_nothing(operation: Operation) -> None:
    node = next(iter(json.loads(case.GENUINE[operation].body)))
    text = b'{"code":"10000","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    signature = json.dumps(case.signed_by_channel(text)).encode()
    for proof in (signature, b'""'):
        body = b'{"' + node.encode() + b'":' + text + b',"alipay_cert_sn":"' + case.CERT_SN.encode() + b'","sign":' + proof + b"}"
        assert not proves(PARSERS[operation](Answer(status=200, headers={}, body=body)))


@PARSED
@pytest.mark.parametrize("sub_code", ["ACQ.SYSTEM_ERROR", "isp.unknow-error", "ACQ.NEVER_HEARD_OF", "aop.invalid-app-auth-token"])
def test_an_error_that_decides_nothing_proves_nothing(operation: Operation, sub_code: str) -> None:
    method = next(iter(json.loads(case.GENUINE[operation].body))).removesuffix("_response").replace("_", ".")
    for came in (refusal(method, sub_code), refusal(method, sub_code, code="20000", node="error_response")):
        assert not proves(PARSERS[operation](came))


def test_answers_about_another_order_prove_nothing() -> None:
    other = {"out_trade_no": "P9", "trade_no": TRADE_NO}
    prepaid = PARSERS[Operation.PREPAY](answer(wire.CREATE, other))
    assert (prepaid.state, prepaid.reason) == (ChannelState.UNKNOWN, "other_order")
    assert PARSERS[Operation.QUERY](answer(wire.QUERY, case.TRADE | other)).reason == "other_order"
    ref = case.ref(trade_no="2026030222001400001000000009")
    assert CHANNEL.parse_query(answer(wire.QUERY, case.TRADE), order=ref, **AT).reason == "other_order"
    for operation, method in ((Operation.CLOSE, wire.CLOSE), (Operation.CANCEL, wire.CANCEL)):
        closed = PARSERS[operation](answer(method, other | {"retry_flag": "N", "action": "close"}))
        assert (closed.state, closed.reason) == (ChannelState.UNKNOWN, "other_order")
    debited = {"total_fee": "12.00", "gmt_payment": case.PAID, **other}
    assert PARSERS[Operation.DEDUCT](answer(wire.PARKING_PAY, debited)).reason == "other_order"
    refunded = {"fund_change": "Y", "refund_fee": "4.00", "gmt_refund_pay": case.PAID, **other}
    assert PARSERS[Operation.REFUND](answer(wire.REFUND, refunded)).reason == "other_refund"
    told = {"refund_status": "REFUND_SUCCESS", "refund_amount": "4.00", "gmt_refund_pay": case.PAID}
    for wrong in ({"out_request_no": "R9"}, {"trade_no": "2026"}, {"out_trade_no": "P9"}):
        assert PARSERS[Operation.REFUND_QUERY](answer(wire.REFUND_QUERY, told | wrong)).reason == "other_refund"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"trade_status": "WAIT_BUYER_PAY", "send_pay_date": None}, ChannelState.PENDING),
        ({"trade_status": "TRADE_CLOSED", "send_pay_date": None}, ChannelState.CLOSED),
        ({"trade_status": "TRADE_CLOSED"}, ChannelState.SUCCEEDED),
        ({"trade_status": "TRADE_FINISHED"}, ChannelState.SUCCEEDED),
        ({"trade_status": "NEW_WORD"}, ChannelState.UNKNOWN),
        ({"total_amount": 12.5}, ChannelState.SUCCEEDED),
    ],
)
def test_a_querys_state_is_ours(changes: dict[str, object], state: ChannelState) -> None:
    result = PARSERS[Operation.QUERY](answer(wire.QUERY, case.TRADE | changes)).result
    assert result.state is state


@pytest.mark.parametrize(
    "changes", [{"total_amount": None}, {"send_pay_date": None}, {"total_amount": "12.005"}, {"trade_no": None}]
)
def test_a_success_without_what_it_is_about_is_unreadable(changes: dict[str, object]) -> None:
    reading = PARSERS[Operation.QUERY](answer(wire.QUERY, case.TRADE | changes))
    assert (reading.verdict, reading.reason, reading.results) == ("unreadable", "field_missing", ())


def test_no_such_trade_is_final_only_when_nobody_can_come_any_more() -> None:
    gone = refusal(wire.QUERY, "ACQ.TRADE_NOT_EXIST")
    for now, state in ((NOW, ChannelState.PENDING), (case.EXPIRES_AT, ChannelState.PENDING), (LATER, ChannelState.NOT_FOUND)):
        result = CHANNEL.parse_query(gone, order=case.ref(), keys=KEYS, now=now).result
        assert result is not None
        assert (result.state, result.amount_fen, result.merchant_no) == (state, None, MERCHANT_NO)
    unsigned = json.loads(gone.body)
    del unsigned["sign"]
    reading = CHANNEL.parse_query(
        msgspec.structs.replace(gone, body=json.dumps(unsigned).encode()), order=case.ref(), keys=KEYS, now=LATER
    )
    assert (reading.verdict, reading.reason, reading.results) == ("refused", "signature_missing", ())


@pytest.mark.parametrize(
    ("sub_code", "state", "reason"),
    [
        ("ACQ.INVALID_PARAMETER", ChannelState.FAILED, "call_refused"),
        ("ACQ.TRADE_HAS_CLOSE", ChannelState.CLOSED, "order_closed"),
        ("ACQ.TRADE_HAS_SUCCESS", ChannelState.UNKNOWN, "order_paid"),
        ("ACQ.CONTEXT_INCONSISTENT", ChannelState.UNKNOWN, "order_number_taken"),
        ("ACQ.BUYER_BALANCE_NOT_ENOUGH", ChannelState.UNKNOWN, "payer_refused"),
        ("ACQ.TRADE_BUYER_NOT_MATCH", ChannelState.UNKNOWN, "other_payer"),
        ("ACQ.ACCESS_FORBIDDEN", ChannelState.UNKNOWN, "not_allowed"),
    ],
)
def test_a_refused_order_failed_only_when_it_always_would_have(sub_code: str, state: ChannelState, reason: str) -> None:
    outcome = PARSERS[Operation.PREPAY](refusal(wire.CREATE, sub_code))
    assert (outcome.state, outcome.reason, outcome.hand_off) == (state, reason, None)


def test_a_code_is_handed_over() -> None:
    made = answer(wire.PRECREATE, {"out_trade_no": ORDER_NO, "qr_code": "https://qr.alipay.com/bax0001"})
    outcome = CHANNEL.parse_prepay(made, order=case.order(Way.CODE), nonce=NONCE, **AT)
    assert outcome.hand_off == HandOff(kind="code", fields={"code": "https://qr.alipay.com/bax0001"})


@pytest.mark.parametrize(
    ("told", "now", "state", "reason"),
    [
        ({"retry_flag": "N", "action": "close"}, NOW, ChannelState.CLOSED, None),
        ({"retry_flag": "N", "action": "refund"}, NOW, ChannelState.CLOSED, None),
        ({"retry_flag": "Y", "action": "close"}, NOW, ChannelState.UNKNOWN, "unavailable"),
        ({"retry_flag": "N"}, NOW, ChannelState.UNKNOWN, "not_found"),
        ({"retry_flag": "N"}, LATER, ChannelState.NOT_FOUND, "not_found"),
        ({"retry_flag": "N", "action": "new"}, LATER, ChannelState.UNKNOWN, "not_found"),
    ],
)
def test_a_cancel_is_done_when_it_says_what_it_did(
    told: dict[str, str], now: datetime, state: ChannelState, reason: str | None
) -> None:
    outcome = CHANNEL.parse_cancel(answer(wire.CANCEL, {"out_trade_no": ORDER_NO} | told), order=case.ref(), keys=KEYS, now=now)
    assert (outcome.state, outcome.reason) == (state, reason)


def test_a_trade_that_is_not_there_can_be_closed_only_after_its_end() -> None:
    gone = refusal(wire.CLOSE, "ACQ.TRADE_NOT_EXIST")
    for now, state in ((NOW, ChannelState.UNKNOWN), (LATER, ChannelState.NOT_FOUND)):
        assert CHANNEL.parse_close(gone, order=case.ref(), keys=KEYS, now=now).state is state
    assert PARSERS[Operation.CLOSE](refusal(wire.CLOSE, "ACQ.TRADE_STATUS_ERROR")).state is ChannelState.UNKNOWN


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"agreement_status": "0"}, "open"),
        ({"agreement_status": "0", "agreement_scene": "ETC_PAY,PLATE_PAY"}, "open"),
        ({"agreement_scene": "PLATE_PAY"}, "open"),
        ({"agreement_status": "0", "agreement_scene": "ETC_PAY"}, "none"),
        ({"agreement_status": "1"}, "none"),
        ({"agreement_status": "2", "agreement_scene": "PLATE_PAY"}, "none"),
        ({"agreement_scene": "NO_AGREEMENT_SCENE"}, "none"),
        ({"agreement_status": "7", "agreement_scene": "PLATE_PAY"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_plate_is_open_only_when_all_that_is_said_agrees(told: dict[str, str], state: str) -> None:
    assert PARSERS[Operation.MANDATE_QUERY](answer(wire.PARKING_AGREEMENT, told)).state == state


def test_an_entry_says_whether_the_car_is_open_in_either_word() -> None:
    for told, state in [({"car_status": "NON-SENSE-PAY"}, "open"), ({"car_status": "NORMAL"}, "none"), ({}, "unknown")]:
        assert PARSERS[Operation.ENTRY](answer(wire.PARKING_ENTRY, told)).state == state


@pytest.mark.parametrize(
    ("sub_code", "state"),
    [
        ("ACQ.BUYER_BALANCE_NOT_ENOUGH", ChannelState.FAILED),
        ("ACQ.INVALID_PARAMETER", ChannelState.FAILED),
        ("ACQ.TRADE_HAS_SUCCESS", None),
        ("ACQ.ACCESS_FORBIDDEN", None),
        ("ACQ.SYSTEM_ERROR", None),
    ],
)
def test_a_debit_failed_only_when_the_channel_says_so(sub_code: str, state: ChannelState | None) -> None:
    result = PARSERS[Operation.DEDUCT](refusal(wire.PARKING_PAY, sub_code)).result
    assert (None if result is None else result.state) is state


# Refunds


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, RefundState.DONE),
        ({"fund_change": "N"}, RefundState.PENDING),
        ({"fund_change": None}, RefundState.PENDING),
        ({"gmt_refund_pay": None}, RefundState.PENDING),
        ({"refund_fee": "9.00"}, RefundState.DONE),
    ],
)
def test_a_refund_is_done_when_this_call_moved_the_money(changes: dict[str, object], state: RefundState) -> None:
    told = {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO, "fund_change": "Y", "refund_fee": "4.00", "gmt_refund_pay": case.PAID}
    refund = PARSERS[Operation.REFUND](answer(wire.REFUND, told | changes)).refund
    assert (refund.state, refund.refund_fen) == (state, 400 if state is RefundState.DONE else None)


def test_a_sum_of_refunds_below_this_one_is_of_another() -> None:
    told = {"trade_no": TRADE_NO, "out_trade_no": ORDER_NO, "fund_change": "Y", "refund_fee": "3.99", "gmt_refund_pay": case.PAID}
    assert PARSERS[Operation.REFUND](answer(wire.REFUND, told)).reason == "other_refund"


@pytest.mark.parametrize(
    ("told", "now", "state"),
    [
        ({"refund_status": "REFUND_SUCCESS", "refund_amount": "4.00", "gmt_refund_pay": case.PAID}, NOW, RefundState.DONE),
        ({"refund_status": "REFUND_SUCCESS", "refund_amount": "3.00", "gmt_refund_pay": case.PAID}, NOW, RefundState.DONE),
        ({}, NOW + timedelta(seconds=9), RefundState.PENDING),
        ({}, NOW + timedelta(seconds=10), RefundState.NOT_FOUND),
        ({"refund_status": "REFUND_NEW"}, LATER, RefundState.UNKNOWN),
        ({"refund_status": "REFUND_SUCCESS", "gmt_refund_pay": case.PAID}, NOW, None),
        ({"refund_status": "REFUND_SUCCESS", "refund_amount": "4.00"}, NOW, None),
    ],
)
def test_a_refund_query_proves_a_refund_with_its_own_amount(told: dict[str, str], now: datetime, state: RefundState | None) -> None:
    refund = CHANNEL.parse_refund_query(answer(wire.REFUND_QUERY, told), refund=case.refund_ref(), keys=KEYS, now=now).refund
    assert (None if refund is None else refund.state) is state
    if refund is not None and state is RefundState.DONE:
        assert refund.refund_fen == wire.fen(told["refund_amount"]), "what the channel says, to be compared by the book"


# Bills


def test_no_bill_is_an_empty_day_only_when_the_next_day_is_over() -> None:
    for sub_code in ("isp.bill_not_exist", "BILL_NOT_EXIST"):
        gone = refusal(wire.BILL, sub_code)
        for now, reason in (
            (datetime(2026, 3, 2, 15, 59, tzinfo=UTC), "not_ready"),
            (datetime(2026, 3, 2, 16, tzinfo=UTC), "empty"),
        ):
            assert CHANNEL.parse_bill_link(gone, bill=case.BILL, keys=KEYS, now=now) == BillAbsent(reason=reason)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>link expired</html>", "bill_digest"),
        (404, case.bill_file(), "bill_digest"),
        (200, b"", "bill_digest"),
        (200, case.bill_file()[:400], "bill_cut"),
        (200, b"PK\x03\x04", "bill_cut"),
    ],
)
def test_only_a_whole_archive_is_kept(status: int, body: bytes, code: str) -> None:
    link = case.case().link
    assert link is not None
    with pytest.raises(BillRefused) as refused:
        CHANNEL.open_bill(Answer(status=status, headers={}, body=body), link=link)
    assert refused.value.code == code
    content = case.bill_file()
    assert CHANNEL.open_bill(Answer(status=200, headers={}, body=content), link=link) == content


def test_a_bill_of_another_merchant_or_day_is_refused() -> None:
    content = case.bill_file()
    bill = CHANNEL.parse_bill(content, bill=case.BILL)
    assert [(line.kind, line.amount_fen, line.fee_fen, line.refund_state) for line in bill.lines] == [
        ("payment", 1200, 7, None), ("refund", 400, -2, RefundState.DONE)
    ]  # fmt: skip
    for changes in ({"merchant_no": "2088001122334499"}, {"bill_on": case.BILL_ON + timedelta(days=1)}):
        with pytest.raises(BillRefused):
            CHANNEL.parse_bill(content, bill=msgspec.structs.replace(case.BILL, **changes))
