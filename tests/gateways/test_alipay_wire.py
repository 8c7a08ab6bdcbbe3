"""Alipay's shapes: amounts are exact, times are UTC, a state or code that is not listed says nothing."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.alipay import answers, contents, errors, sign, wire
from gateways.alipay.errors import Meaning
from gateways.alipay.wire import Fen
from gateways.contract import ChannelState
from ledger.money import yuan

NOW = datetime(2026, 3, 1, 1, 0, tzinfo=UTC)
TRADE = {
    "code": "10000",
    "msg": "Success",
    "trade_no": "2026030122001400001000000001",
    "out_trade_no": "P0000000000000000000000000001",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "12.00",
    "send_pay_date": "2026-03-01 08:10:06",
    "fund_bill_list": [{"fund_channel": "PCREDIT", "amount": 12}],
}
NOTICE = {
    "app_id": "2021000000000001",
    "notify_type": "trade_status_sync",
    "notify_id": "2026030100222090006000011400000001",
    "trade_no": "2026030122001400001000000001",
    "out_trade_no": "P0000000000000000000000000001",
    "seller_id": "2088001122334455",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "12.00",
    "gmt_payment": "2026-03-01 08:10:06",
    "buyer_logon_id": "139****0001",
    "fund_bill_list": '[{"fundChannel":"PCREDIT","amount":"12.00"}]',
}


def trade(**changes: object) -> answers.Trade | None:
    return answers.read(json.dumps(TRADE | changes), answers.Trade)


def notice(**changes: str) -> answers.Notice | None:
    return answers.read_notice(NOTICE | changes)


# Amounts


@given(amount_fen=st.integers(0, 10_000_000_000))
def test_an_amount_goes_out_and_comes_back_exactly(amount_fen: int) -> None:
    content = contents.content(contents.Refund(refund_fen=Fen(amount_fen), refund_no="R1", trade_no="1"))
    assert json.loads(content)["refund_amount"] == yuan(amount_fen)
    told = answers.read(content, answers.RefundTold)
    assert told is not None
    assert told.refund_fen == amount_fen
    assert wire.fen(yuan(amount_fen)) == amount_fen
    number = answers.read(f'{{"refund_amount":{yuan(amount_fen)}}}', answers.RefundTold)
    assert number == answers.RefundTold(refund_fen=Fen(amount_fen))


@pytest.mark.parametrize(
    ("text", "amount_fen"),
    [
        ('"0.01"', 1),
        ('"12.3"', 1230),
        ('"12"', 1200),
        ("12", 1200),
        ("12.3", 1230),
        ("0.29", 29),
        ("9007199254.93", 900_719_925_493),
        ("0", 0),
    ],
)
def test_amounts_are_read_from_text_and_from_numbers_without_a_float_between(text: str, amount_fen: int) -> None:
    told = answers.read(f'{{"refund_amount":{text}}}', answers.RefundTold)
    assert told is not None
    assert told.refund_fen == amount_fen
    assert isinstance(told.refund_fen, Fen)


@pytest.mark.parametrize(
    "text",
    ['"1.001"', "1.001", "1.000", '"1.000"', "1e2", '"1e2"', '"１２.00"', '""', '" 1.00"', '"1.00\\n"', '"+1.00"', '"1,000.00"',
     '".5"', '"-5.00"', "-0.05", "-1",
     '"5."', '"NaN"', '"12345678901.00"', "12345678901234567890123456789012345678901234567890", "true", "[1]", '{"a":1}'],
)  # fmt: skip
def test_an_amount_in_any_other_form_makes_the_answer_unreadable(text: str) -> None:
    assert answers.read(f'{{"refund_amount":{text}}}', answers.RefundTold) is None


def test_an_amount_that_is_null_or_not_there_is_none() -> None:
    assert (
        answers.read('{"refund_amount":null}', answers.RefundTold) == answers.read("{}", answers.RefundTold) == answers.RefundTold()
    )


# Times


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01 08:10:06", datetime(2026, 3, 1, 0, 10, 6, tzinfo=UTC)),
        ("2026-03-01 07:59:59.999", datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("2026-03-01 08:00:00.5", datetime(2026, 3, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("1990-07-01 08:00:00", datetime(1990, 7, 1, tzinfo=UTC)),
        (None, None),
        ("", None),
        ("2026-03-01", None),
        ("2026-03-01T08:10:06", None),
        ("2026-03-01 08:10:06+08:00", None),
        ("2026-02-30 08:10:06", None),
        ("2026-03-01 24:00:00", None),
        ("0001-01-01 00:00:00", None),
        ("２026-03-01 08:10:06", None),
        ("2026-03-01 08:10:06.", None),
    ],
)
def test_a_time_is_china_time_and_anything_else_is_none(text: str | None, at: datetime | None) -> None:
    assert wire.instant(text) == at


@given(at=st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # made aware by timezones
def test_a_time_is_written_in_whole_seconds_of_china_and_read_back(at: datetime) -> None:
    assert wire.instant(wire.china_time(at)) == at.replace(microsecond=0)


def test_a_time_is_written_the_same_whatever_zone_it_is_given_in() -> None:
    assert wire.china_time(NOW.astimezone(timezone(timedelta(hours=-5)))) == wire.china_time(NOW) == "2026-03-01 09:00:00"


# Answers


def test_a_paid_trade_is_read() -> None:
    told = trade()
    assert told is not None
    assert (told.order_no, told.trade_no, told.total_fen) == (TRADE["out_trade_no"], TRADE["trade_no"], 1200)
    assert (told.state, told.paid_at) == (ChannelState.SUCCEEDED, datetime(2026, 3, 1, 0, 10, 6, tzinfo=UTC))


@pytest.mark.parametrize(
    ("status", "paid", "state"),
    [
        ("WAIT_BUYER_PAY", False, ChannelState.PENDING),
        ("TRADE_SUCCESS", True, ChannelState.SUCCEEDED),
        ("TRADE_FINISHED", True, ChannelState.SUCCEEDED),
        ("TRADE_CLOSED", False, ChannelState.CLOSED),
        ("TRADE_CLOSED", True, ChannelState.SUCCEEDED),
        ("TRADE_PENDING", True, ChannelState.UNKNOWN),
        ("trade_success", True, ChannelState.UNKNOWN),
        ("", False, ChannelState.UNKNOWN),
    ],
)
def test_a_closed_trade_with_a_time_of_payment_was_paid_and_a_new_word_is_unknown(
    status: str, paid: bool, state: ChannelState
) -> None:
    told = trade(trade_status=status, send_pay_date="2026-03-01 08:10:06" if paid else None)
    assert told is not None
    assert told.state is state
    for empty in ("", None):
        unpaid = trade(trade_status="TRADE_CLOSED", send_pay_date=empty)
        assert unpaid is not None
        assert unpaid.state is ChannelState.CLOSED


@pytest.mark.parametrize(
    "changes",
    [{"trade_no": None}, {"out_trade_no": 1}, {"out_trade_no": "P 1"}, {"trade_no": "1" * 65}, {"trade_status": None},
     {"total_amount": "1.999"}, {"trade_no": "１"}],
)  # fmt: skip
def test_a_trade_with_a_field_missing_or_of_another_form_is_not_read(changes: dict[str, object]) -> None:
    assert trade(**changes) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '"x"', '{"trade_no":"\\ud800"}', "\ud800"])
def test_text_that_is_no_node_is_none_for_every_shape(text: str) -> None:
    for kind in (answers.Head, answers.Trade, answers.Refunded, answers.AppToken, answers.BillAddress):
        assert answers.read(text, kind) is None
    assert answers.read_app_tokens(text) == ()


def test_the_published_form_of_each_answer_is_read() -> None:
    created = answers.read('{"code":"10000","out_trade_no":"P1","trade_no":"2026"}', answers.Created)
    assert created == answers.Created(trade_no="2026", order_no="P1")
    code = answers.read('{"out_trade_no":"P1","qr_code":"https:\\/\\/qr.alipay.com\\/bax1"}', answers.Precreated)
    assert code == answers.Precreated(qr_code="https://qr.alipay.com/bax1", order_no="P1")
    assert answers.read('{"out_trade_no":"P1","trade_no":"2"}', answers.Closed) == answers.Closed(trade_no="2", order_no="P1")
    debited = answers.read(
        '{"trade_no":"2","out_trade_no":"P1","total_fee":"3.50","gmt_payment":"2026-03-01 08:00:00","fund_bill_list":[]}',
        answers.Debited,
    )
    assert debited is not None
    assert (debited.total_fen, debited.paid_at) == (350, datetime(2026, 3, 1, tzinfo=UTC))
    assert answers.read('{"user_id":"2088001122334455","access_token":"x","expires_in":3600}', answers.Login) == answers.Login(
        user_id="2088001122334455"
    )
    assert answers.read('{"open_id":"074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"}', answers.Login) == answers.Login(
        open_id="074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"
    )
    assert answers.read('{"code":"10000","alipay_cert_content":"LS0t"}', answers.CertificateFile) == answers.CertificateFile(
        content="LS0t"
    )
    address = answers.read(
        '{"bill_download_url":"http://dwbillcenter.alipay.com/downloadBillFile.resource?bizType=trade"}', answers.BillAddress
    )
    assert address is not None
    assert answers.read('{"bill_download_url":"file:///etc/passwd"}', answers.BillAddress) is None


def test_only_a_cancel_that_says_so_is_done() -> None:
    for flag, again in (("N", False), ("Y", True), ("", True), ("?", True)):
        told = answers.read(f'{{"retry_flag":"{flag}","action":"refund"}}', answers.Cancelled)
        assert told is not None
        assert told.again is again
    assert answers.read('{"action":"refund"}', answers.Cancelled) is None


@pytest.mark.parametrize(("change", "proven"), [('"Y"', True), ('"N"', False), ("null", False), ('"y"', False), ('""', False)])
def test_only_a_refund_whose_call_moved_money_is_proven_by_its_answer(change: str, proven: bool) -> None:
    told = answers.read(f'{{"trade_no":"2","out_trade_no":"P1","refund_fee":"5.00","fund_change":{change}}}', answers.Refunded)
    assert told is not None
    assert (told.proven, told.refunded_total_fen) == (proven, 500)


def test_a_refund_query_proves_a_refund_only_with_its_status() -> None:
    text = '{"code":"10000","out_request_no":"R1","out_trade_no":"P1","trade_no":"2","refund_amount":"5.00","total_amount":"12.00"'
    without = answers.read(text + "}", answers.RefundTold)
    told = answers.read(text + ',"refund_status":"REFUND_SUCCESS","gmt_refund_pay":"2026-03-01 09:00:02"}', answers.RefundTold)
    other = answers.read(text + ',"refund_status":"REFUND_PROCESSING"}', answers.RefundTold)
    assert without is not None
    assert told is not None
    assert other is not None
    assert (without.proven, told.proven, other.proven) == (False, True, False)
    assert (told.refund_no, told.refund_fen, told.total_fen) == ("R1", 500, 1200)
    assert told.refunded_at == datetime(2026, 3, 1, 1, 0, 2, tzinfo=UTC)


def test_granted_tokens_are_read_alone_and_listed_with_durations_as_numbers_or_text() -> None:
    one = '{"app_auth_token":"t","app_refresh_token":"r","auth_app_id":"2021","user_id":"2088","expires_in":%s'
    one += ',"re_expires_in":"32140800"}'
    token = answers.AppToken(
        app_auth_token="t", app_refresh_token="r", auth_app_id="2021", user_id="2088", expires_in=31536000, re_expires_in=32140800
    )
    assert answers.read_app_tokens(one % "31536000") == (token,)
    assert answers.read_app_tokens('{"code":"10000","tokens":[%s]}' % (one % '"31536000"')) == (token,)
    assert answers.read_app_tokens('{"code":"40002"}') == ()
    assert answers.read_app_tokens('{"tokens":[{}]}') == ()


@pytest.mark.parametrize(
    ("text", "scenes"),
    [
        ("PLATE_PAY", {"PLATE_PAY"}),
        ("PLATE_PAY,ETC_PAY", {"PLATE_PAY", "ETC_PAY"}),
        ("PLATE_PAY, ETC_PAY,", {"PLATE_PAY", "ETC_PAY"}),
        ("NO_AGREEMENT_SCENE", set()),
        ("", set()),
    ],
)
def test_the_ways_to_debit_a_plate_are_a_list_of_words(text: str, scenes: set[str]) -> None:
    assert answers.agreement_scenes(text) == scenes


# Notices


def test_a_notice_of_a_payment_is_read() -> None:
    told = notice()
    assert told is not None
    assert (told.order_no, told.seller_id, told.total_fen) == (NOTICE["out_trade_no"], "2088001122334455", 1200)
    assert (told.state, told.refunded) == (ChannelState.SUCCEEDED, False)
    assert told.paid_at == datetime(2026, 3, 1, 0, 10, 6, tzinfo=UTC)


def test_a_notice_of_a_part_refund_is_no_second_payment() -> None:
    told = notice(refund_fee="5.00", gmt_refund="2026-03-01 09:00:02.123", out_biz_no="R1")
    assert told is not None
    assert told.refunded
    assert (told.state, told.refund_no, told.refunded_total_fen) == (ChannelState.SUCCEEDED, "R1", 500)
    assert told.refunded_at == datetime(2026, 3, 1, 1, 0, 2, 123_000, tzinfo=UTC)


def test_a_notice_of_a_whole_refund_is_no_close_of_an_unpaid_order() -> None:
    told = notice(trade_status="TRADE_CLOSED", refund_fee="12.00", gmt_refund="2026-03-01 09:00:02")
    bare = answers.read_notice(
        {name: value for name, value in NOTICE.items() if name != "gmt_payment"}
        | {"trade_status": "TRADE_CLOSED", "refund_fee": "12.00"}
    )
    assert told is not None
    assert bare is not None
    assert told.state is bare.state is ChannelState.SUCCEEDED


def test_a_notice_of_an_unpaid_order_that_ended_is_a_close() -> None:
    fields = {name: value for name, value in NOTICE.items() if name != "gmt_payment"}
    told = answers.read_notice(fields | {"trade_status": "TRADE_CLOSED", "gmt_close": "2026-03-01 09:00:02", "refund_fee": "0.00"})
    assert told is not None
    assert (told.state, told.refunded) == (ChannelState.CLOSED, False)


@pytest.mark.parametrize("missing", ["app_id", "trade_no", "out_trade_no", "seller_id", "trade_status", "total_amount"])
def test_a_notice_without_a_field_that_is_needed_is_not_read(missing: str) -> None:
    assert answers.read_notice({name: value for name, value in NOTICE.items() if name != missing}) is None


@pytest.mark.parametrize(
    "changes",
    [{"total_amount": "12.001"}, {"total_amount": "1e1"}, {"out_trade_no": "P 1"}, {"app_id": "x" * 65}, {"refund_fee": "x"}],
)
def test_a_notice_with_a_field_of_another_form_is_not_read(changes: dict[str, str]) -> None:
    assert notice(**changes) is None


def test_a_notice_is_acknowledged_with_seven_bytes() -> None:
    assert (wire.ACCEPTED, len(wire.ACCEPTED), wire.NOT_ACCEPTED) == (b"success", 7, b"fail")


# Errors


@pytest.mark.parametrize(
    ("code", "sub_code", "meaning"),
    [
        ("20000", "isp.unknow-error", Meaning.UNAVAILABLE),
        ("20000", "isp.something-new", Meaning.UNAVAILABLE),
        ("20001", "aop.invalid-app-auth-token", Meaning.TOKEN),
        ("40001", "isv.missing-method", Meaning.REFUSED),
        ("40002", "isv.invalid-timestamp", Meaning.NOT_ALLOWED),
        ("40002", "isv.something-new", None),
        ("40002", "isv.invalid-parameter", Meaning.REFUSED),
        ("40003", "", Meaning.NOT_ALLOWED),
        ("40004", "ACQ.SYSTEM_ERROR", Meaning.UNAVAILABLE),
        ("40004", "AQC.SYSTEM_ERROR", Meaning.UNAVAILABLE),
        ("40004", "ACQ.TRADE_HAS_SUCCESS", Meaning.ORDER_PAID),
        ("40004", "ACQ.TRADE_HAS_CLOSE", Meaning.ORDER_CLOSED),
        ("40004", "ACQ.TRADE_NOT_EXIST", Meaning.NOT_FOUND),
        ("40004", "ACQ.CONTEXT_INCONSISTENT", Meaning.TAKEN),
        ("40004", "ACQ.TRADE_BUYER_NOT_MATCH", Meaning.OTHER_PAYER),
        ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", Meaning.BALANCE_SHORT),
        ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", Meaning.REFUND_NUMBER_TAKEN),
        ("40004", "isp.bill_not_exist", Meaning.BILL_ABSENT),
        ("40004", "ACQ.SOMETHING_NEW", None),
        ("40004", "acq.trade_not_exist", None),
        ("40004", "", None),
        ("40005", "isv.app-call-limited", Meaning.RATE_LIMITED),
        ("40006", "isv.insufficient-isv-permissions", Meaning.NOT_ALLOWED),
        ("10000", "", None),
        ("10003", "", None),
        ("", "", None),
    ],
)
def test_an_error_has_the_meaning_that_is_listed_for_it_and_else_none(code: str, sub_code: str, meaning: Meaning | None) -> None:
    head = answers.read(json.dumps({"code": code, "msg": "x", "sub_code": sub_code, "sub_msg": "失败"}), answers.Head)
    assert head is not None
    assert errors.meaning(head) is meaning


def test_a_code_that_says_nothing_about_money_never_says_refused_or_closed() -> None:
    silent = {Meaning.UNAVAILABLE, Meaning.RATE_LIMITED, Meaning.NOT_ALLOWED, Meaning.TOKEN}
    assert {errors.meaning(answers.Head(code=code)) for code in errors.GATEWAY_ERRORS} <= silent


# Content and requests


def test_the_content_of_each_call_is_the_same_text_every_time() -> None:
    golden = {
        '{"out_trade_no":"P1","total_amount":"12.30","subject":"停车费","buyer_open_id":"o1","product_code":"JSAPI_PAY",'
        '"op_app_id":"2021","extend_params":{"sys_service_provider_id":"2088"}}': contents.NewTrade(
            order_no="P1",
            total_fen=Fen(1230),
            subject="停车费",
            buyer_open_id="o1",
            product_code=wire.PRODUCT_JSAPI,
            op_app_id="2021",
            extend_params=contents.ExtendParams(sys_service_provider_id="2088"),
        ),
        '{"out_trade_no":"P1","total_amount":"0.01","subject":"停车费","product_code":"FACE_TO_FACE_PAYMENT",'
        '"qr_code_timeout_express":"10m"}': contents.NewCode(
            order_no="P1", total_fen=Fen(1), subject="停车费", product_code=wire.PRODUCT_CODE, qr_code_timeout_express="10m"
        ),
        '{"out_trade_no":"P1","total_amount":"100.00","subject":"停车费","product_code":"QUICK_WAP_WAY",'
        '"time_expire":"2026-03-01 09:00:00"}': contents.NewPage(
            order_no="P1", total_fen=Fen(10000), subject="停车费", product_code=wire.PRODUCT_WAP, time_expire=wire.china_time(NOW)
        ),
        '{"out_trade_no":"P1"}': contents.TradeName(order_no="P1"),
        '{"trade_no":"2","query_options":["trade_settle_info"]}': contents.TradeName(
            trade_no="2", query_options=("trade_settle_info",)
        ),
        '{"refund_amount":"5.00","out_request_no":"R1","trade_no":"2"}': contents.Refund(
            refund_fen=Fen(500), refund_no="R1", trade_no="2"
        ),
        '{"out_request_no":"R1","out_trade_no":"P1","query_options":["gmt_refund_pay"]}': contents.RefundName(
            refund_no="R1", order_no="P1", query_options=("gmt_refund_pay",)
        ),
        '{"bill_type":"trade","bill_date":"2026-03-01"}': contents.BillName(
            bill_type="trade", bill_date=wire.bill_date(date(2026, 3, 1))
        ),
        '{"alipay_cert_sn":"ab"}': contents.CertificateName(alipay_cert_sn="ab"),
        '{"code":"c","grant_type":"authorization_code"}': contents.AppCode(code="c"),
        '{"refresh_token":"r","grant_type":"refresh_token"}': contents.AppRefresh(refresh_token="r"),
        '{"car_number":"浙A12345","plate_color":"BLUE","parking_id":"PI1"}': contents.AgreementName(
            car_number="浙A12345", plate_color="BLUE", parking_id="PI1"
        ),
        '{"parking_id":"PI1","car_number":"浙A12345","in_time":"2026-03-01 09:00:00","agreement_query":true}': contents.Entry(
            parking_id="PI1", car_number="浙A12345", in_time=wire.china_time(NOW), agreement_query=True
        ),
        '{"out_trade_no":"P1","total_fee":"3.50","subject":"停车费","car_number":"浙A12345","seller_id":"2088",'
        '"pay_scene":"PLATE_PAY","pay_version":"3.0","in_duration":"60"}': contents.PlateDebit(
            order_no="P1",
            total_fen=Fen(350),
            subject="停车费",
            car_number="浙A12345",
            seller_id="2088",
            pay_scene="PLATE_PAY",
            pay_version="3.0",
            in_duration="60",
        ),
    }
    for text, asked in golden.items():
        assert contents.content(asked) == contents.content(asked) == text


def test_a_value_without_a_form_on_the_wire_is_our_mistake() -> None:
    with pytest.raises(NotImplementedError, match="complex"):
        contents.content(msgspec.defstruct("Odd", [("value", complex)])(1j))


@given(text=st.text(max_size=400))
def test_a_title_is_never_one_that_the_channel_refuses(text: str) -> None:
    cleaned = wire.subject_text(text)
    assert len(cleaned) <= wire.SUBJECT_CHARACTERS_MAX
    assert not set(cleaned) & set("/=&\n\t\0")
    assert len(cleaned.encode()) <= 3 * len(cleaned)
    assert wire.subject_text(cleaned) == cleaned


def test_a_request_names_what_is_given_and_nothing_else() -> None:
    fields = wire.common(app_id="2021", method=wire.QUERY, now=NOW, biz_content='{"out_trade_no":"P1"}')
    assert fields == {
        "app_id": "2021",
        "method": "alipay.trade.query",
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-03-01 09:00:00",
        "version": "1.0",
        "biz_content": '{"out_trade_no":"P1"}',
    }
    operator = wire.common(app_id="2021", method=wire.QUERY, now=NOW, app_auth_token="t", app_cert_sn="a", root_cert_sn="b_c")
    assert {"app_auth_token": "t", "app_cert_sn": "a", "alipay_root_cert_sn": "b_c"}.items() <= operator.items()


def test_a_request_body_gives_back_the_fields_that_were_signed() -> None:
    fields = wire.common(app_id="2021", method=wire.LOGIN, now=NOW) | wire.login_fields("4b203fe6c11548bcabd8da5bb087a83b")
    sent = sign.signed(fields, sign=lambda _: "a+b/c==")
    body = wire.form_body(sent)
    assert b"sign=a%2Bb%2Fc%3D%3D" in body
    assert dict(parse_qsl(body.decode(), strict_parsing=True)) == sent
    assert sign.read_form(body).text == sent


def test_a_page_is_reached_by_an_address_or_by_a_form_with_the_same_fields() -> None:
    content = contents.content(contents.NewPage(order_no="P1", total_fen=Fen(1), subject="停车费", product_code=wire.PRODUCT_WAP))
    fields = wire.common(
        app_id="2021", method=wire.WAP_PAY, now=NOW, biz_content=content, notify_url="https://pay.example/n?a=1&b=2"
    )  # fmt: skip
    sent = sign.signed(fields, sign=lambda _: "a+b/c==")
    url = wire.page_url(sent)
    assert url.startswith("https://openapi.alipay.com/gateway.do?")
    assert dict(parse_qsl(urlsplit(url).query)) == sent
    form = wire.page_form(sent, gateway=wire.SANDBOX_URL)
    assert form.action.startswith(wire.SANDBOX_URL + "?")
    assert dict(parse_qsl(urlsplit(form.action).query)) | dict(form.fields) == sent
    assert form.fields == {"biz_content": content}


def test_the_pages_of_login_and_consent_carry_the_way_back_escaped() -> None:
    login = urlsplit(wire.login_url(app_id="2021", redirect_uri="https://pay.example/r?a=1&b=2", state="s"))
    assert parse_qs(login.query) == {
        "app_id": ["2021"], "scope": ["auth_base"], "redirect_uri": ["https://pay.example/r?a=1&b=2"], "state": ["s"]
    }  # fmt: skip
    consent = urlsplit(wire.authorise_url(app_id="2021", redirect_uri="https://pay.example/r"))
    assert parse_qs(consent.query) == {"app_id": ["2021"], "redirect_uri": ["https://pay.example/r"]}
