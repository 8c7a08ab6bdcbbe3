"""UnionPay's wire forms: each operation has its fields, and only explicit words of the channel decide about money."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.contract import ChannelState
from gateways.unionpay import answers, wire
from gateways.unionpay.answers import Meaning
from gateways.unionpay.wire import Acquirer, Direct, Order, OrderKey, Platform, Product

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "unionpay.json").read_text(encoding="utf-8"))
MADE_AT = datetime(2026, 3, 1, 2, 10, 5, 999_999, tzinfo=UTC)
DIRECT = Direct(merchant_no="777290058110097")
KEY = OrderKey(order_no="P0123456789ABCDEFGHJKMNPQRST", created_at=MADE_AT)
ORDER = Order(
    key=KEY,
    amount_fen=1200,
    notify_url="https://pay.example/callbacks/unionpay",
    expires_at=MADE_AT + timedelta(minutes=15),
    return_url="https://pay.example/done",
    terminal_no="00000001",
    attach="lot7",
)
BARE = Order(key=KEY, amount_fen=1, notify_url="https://pay.example/callbacks/unionpay")
QUERY_ID = "302603011010050000018"
PAID = answers.Transaction(
    mer_id=DIRECT.merchant_no,
    order_id=KEY.order_no,
    txn_time="20260301101005",
    txn_type="01",
    txn_amt="1200",
    currency_code="156",
    resp_code="00",
    query_id=QUERY_ID,
)
EVERY_CODE = sorted({*answers.RESP_CODES, "06", "43", "50", "81", "ZZ", "A5"})

# Requests


def test_a_browser_payment_has_its_fields_in_their_order() -> None:
    assert list(wire.browser_payment(DIRECT, ORDER).items()) == [
        ("version", "5.1.0"),
        ("encoding", "UTF-8"),
        ("txnType", "01"),
        ("txnSubType", "01"),
        ("bizType", "000201"),
        ("channelType", "08"),
        ("accessType", "0"),
        ("merId", "777290058110097"),
        ("orderId", "P0123456789ABCDEFGHJKMNPQRST"),
        ("txnTime", "20260301101005"),
        ("txnAmt", "1200"),
        ("currencyCode", "156"),
        ("backUrl", "https://pay.example/callbacks/unionpay"),
        ("frontUrl", "https://pay.example/done"),
        ("payTimeout", "20260301102505"),
        ("termId", "00000001"),
        ("reqReserved", "lot7"),
    ]


def test_what_is_not_given_is_left_out() -> None:
    fields = wire.browser_payment(DIRECT, BARE, product=Product.PC)
    assert fields["channelType"] == "07"
    assert not {"frontUrl", "payTimeout", "termId", "reqReserved"} & set(fields)
    assert all(fields.values())


def kind(fields: dict[str, str]) -> tuple[str, str, str, str | None]:
    return fields["txnType"], fields["txnSubType"], fields["bizType"], fields.get("channelType")


def test_every_operation_has_the_documents_types() -> None:
    app = "UnionPay/1.0 CloudPay"
    undo: dict[str, Any] = {"payment_query_id": QUERY_ID, "amount_fen": 1200, "notify_url": ORDER.notify_url}
    assert kind(wire.browser_payment(DIRECT, ORDER)) == ("01", "01", "000201", "08")
    assert kind(wire.qr_code(DIRECT, ORDER)) == ("01", "07", "000000", "08")
    assert kind(wire.qr_charge(DIRECT, ORDER, payer_code="6201234567890123456")) == ("01", "06", "000000", "08")
    assert kind(wire.payer_id(DIRECT, KEY, auth_code="a+/=", app=app)) == ("00", "10", "000000", "08")
    assert kind(wire.in_app_payment(DIRECT, ORDER, app_user_id="u")) == ("01", "01", "000000", "08")
    assert kind(wire.query(DIRECT, KEY)) == ("00", "00", "000000", None)
    assert kind(wire.refund(DIRECT, KEY, product=Product.WAP, **undo)) == ("04", "00", "000201", "08")
    assert kind(wire.refund(DIRECT, KEY, product=Product.PC, **undo)) == ("04", "00", "000201", "07")
    assert kind(wire.refund(DIRECT, KEY, product=Product.QR, **undo)) == ("04", "00", "000000", "08")
    assert kind(wire.cancel(DIRECT, KEY, product=Product.QR, **undo)) == ("31", "00", "000000", "08")
    assert kind(wire.cancel(DIRECT, KEY, product=Product.WAP, **undo)) == ("31", "00", "000201", "08")
    assert kind(wire.reversal(DIRECT, KEY)) == ("99", "01", "000000", "08")
    file = wire.clearing_file(merchant_no=DIRECT.merchant_no, asked_at=MADE_AT, settled_on=date(2026, 3, 1))
    assert kind(file) == ("76", "01", "000000", None)


def test_the_fields_that_only_some_operations_have() -> None:
    charge = wire.qr_charge(DIRECT, ORDER, payer_code="6201234567890123456")
    assert charge["qrNo"] == "6201234567890123456"
    asked = wire.payer_id(DIRECT, KEY, auth_code="a+/=", app="UnionPay/1.0 CloudPay")
    assert (asked["userAuthCode"], asked["appUpIdentifier"]) == ("a+/=", "UnionPay/1.0 CloudPay")
    in_app = wire.in_app_payment(DIRECT, ORDER, app_user_id="u1")
    assert (in_app["tradeType"], in_app["appUserId"], in_app["qrCodeType"]) == ("mobileWeb", "u1", "0")


def test_a_query_names_the_order_by_number_and_time_and_has_no_amount() -> None:
    fields = wire.query(DIRECT, KEY)
    assert (fields["orderId"], fields["txnTime"], fields["accessType"]) == (KEY.order_no, "20260301101005", "0")
    assert not {"txnAmt", "backUrl", "currencyCode"} & set(fields)


def test_a_refund_names_the_payment_and_has_its_own_number() -> None:
    own = OrderKey(order_no="RF20260302000007", created_at=MADE_AT + timedelta(days=1))
    fields = wire.refund(
        DIRECT, own, product=Product.WAP, payment_query_id=QUERY_ID, amount_fen=400, notify_url="https://pay.example/n"
    )
    assert (fields["orderId"], fields["txnTime"], fields["origQryId"]) == ("RF20260302000007", "20260302101005", QUERY_ID)
    assert (fields["txnAmt"], fields["currencyCode"], fields["backUrl"]) == ("400", "156", "https://pay.example/n")


def test_a_reversal_has_the_charges_own_number_and_time_and_no_amount() -> None:
    fields = wire.reversal(DIRECT, KEY)
    assert (fields["orderId"], fields["txnTime"]) == (KEY.order_no, "20260301101005")
    assert "txnAmt" not in fields


def test_a_clearing_file_is_asked_for_by_day_without_an_order() -> None:
    fields = wire.clearing_file(merchant_no=DIRECT.merchant_no, asked_at=MADE_AT, settled_on=date(2026, 1, 19))
    assert (fields["settleDate"], fields["fileType"], fields["txnTime"]) == ("0119", "00", "20260301101005")
    assert not {"orderId", "channelType"} & set(fields)


@pytest.mark.parametrize(
    ("party", "expected"),
    [
        (DIRECT, {"accessType": "0"}),
        (Acquirer(merchant_no=DIRECT.merchant_no, acquirer_no="00010000"), {"accessType": "1", "acqInsCode": "00010000"}),
        (
            Platform(
                merchant_no=DIRECT.merchant_no,
                sub_merchant_no="1001",
                sub_merchant_name="东城停车有限公司",
                sub_merchant_short_name="东城停车",
            ),
            {"accessType": "2", "subMerId": "1001", "subMerName": "东城停车有限公司", "subMerAbbr": "东城停车"},
        ),
    ],
    ids=["direct", "acquirer", "platform"],
)
def test_each_kind_of_access_has_its_fields(party: wire.Party, expected: dict[str, str]) -> None:
    fields = wire.query(party, KEY)
    named = {"accessType", "acqInsCode", "subMerId", "subMerName", "subMerAbbr"}
    assert {name: value for name, value in fields.items() if name in named} == expected
    assert fields["merId"] == DIRECT.merchant_no


@pytest.mark.parametrize(
    "number", ["", "1234567", "P" * 33, "P-12345678", "P_12345678", "停车12345678", "P12345678\n", "１２３４５６７８"]
)
def test_an_order_number_is_8_to_32_letters_and_digits(number: str) -> None:
    with pytest.raises(ValueError, match="order number"):
        wire.query(DIRECT, OrderKey(order_no=number, created_at=MADE_AT))


@pytest.mark.parametrize("amount_fen", [0, -1, 1_000_000_000_000])
def test_an_amount_that_cannot_be_paid_is_not_asked_for(amount_fen: int) -> None:
    with pytest.raises(ValueError, match="cannot be paid"):
        wire.qr_code(DIRECT, msgspec.structs.replace(ORDER, amount_fen=amount_fen))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attach": "a&b"}, "free of"),
        ({"attach": "{a}"}, "free of"),
        ({"attach": "a\n"}, "free of"),
        ({"notify_url": "https://pay.example/n?a=1"}, "no query string"),
        ({"terminal_no": "1"}, "terminal number"),
        ({"expires_at": MADE_AT}, "before it is made"),
        ({"key": OrderKey(order_no=KEY.order_no, created_at=datetime(2026, 3, 1))}, "time zone"),  # noqa: DTZ001
    ],
)
def test_an_order_that_the_channel_would_refuse_is_not_built(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        wire.browser_payment(DIRECT, msgspec.structs.replace(BARE, **changes))


@pytest.mark.parametrize("code", ["", "5201234567890123456", "620123456789012345", "62012345678901234567", "62O1234567890123456"])
def test_a_payers_code_has_19_digits_and_begins_with_62(code: str) -> None:
    with pytest.raises(ValueError, match="payer's code"):
        wire.qr_charge(DIRECT, ORDER, payer_code=code)


@pytest.mark.parametrize("query_id", ["", "1", "3026030110100500000180", "30260301101005000001X"])
def test_a_refund_without_the_payments_query_id_is_not_built(query_id: str) -> None:
    with pytest.raises(ValueError, match="queryId"):
        wire.refund(DIRECT, KEY, product=Product.QR, payment_query_id=query_id, amount_fen=1, notify_url="https://pay.example/n")


def test_a_merchant_number_has_15_letters_and_digits() -> None:
    with pytest.raises(ValueError, match="merchant number"):
        wire.query(Direct(merchant_no="1900000001"), KEY)


def test_time_is_written_in_china_whatever_zone_it_comes_in() -> None:
    at = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=9)))
    assert wire.txn_time(at) == "20251231233000"
    assert wire.txn_time(datetime(2026, 1, 1, 16, 0, tzinfo=UTC)) == "20260102000000"


@pytest.mark.parametrize("text", ["", "2026030110100", "20260230101005", "20260301250000", "2026030110100５", "00000000000000"])
def test_a_text_that_is_no_time_has_no_instant(text: str) -> None:
    assert wire.instant(text) is None


@given(st.datetimes(datetime(1992, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_time_is_read_back_to_the_second(at: datetime) -> None:
    assert wire.instant(wire.txn_time(at)) == at.replace(microsecond=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1200", 1200), ("000000001200", 1200), ("0", 0), ("", None), ("-1", None), ("1.0", None), ("１", None), ("1" * 13, None)],
)
def test_amounts_in_messages_are_whole_fen(text: str, expected: int | None) -> None:
    assert wire.amount_fen(text) == expected


# The form that a browser posts


class Inputs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.form: dict[str, str | None] = {}
        self.inputs: dict[str, str | None] = {}
        self.scripts: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form":
            self.form = values
        elif tag == "input":
            assert values["type"] == "hidden"
            self.inputs[str(values["name"])] = values["value"]
        elif tag == "script":
            self.scripts.append(values)


@given(
    st.dictionaries(st.text(min_size=1, max_size=9), st.text(st.characters(exclude_characters="\r\x00"), max_size=30), max_size=4)
)
def test_a_form_posts_exactly_the_fields_whatever_is_in_them(fields: dict[str, str]) -> None:
    fields = {name.strip() or "x": value for name, value in fields.items() if "\r" not in name and "\x00" not in name}
    fields.pop("encoding", None)
    read = Inputs()
    read.feed(wire.auto_form("https://gateway.example/a?b=1&c=2", fields))
    assert read.inputs == fields
    assert (read.form["action"], read.form["method"]) == ("https://gateway.example/a?b=1&c=2", "post")


def test_a_form_states_its_encoding_and_carries_the_pages_nonce() -> None:
    page = wire.auto_form("https://gateway.example/", {"encoding": "GBK", "a": '"><script>'}, button="去<支付>", script_nonce="n1")
    read = Inputs()
    read.feed(page)
    assert (read.form["accept-charset"], read.scripts) == ("GBK", [{"nonce": "n1"}])
    assert '<meta charset="GBK">' in page
    assert page.count("<script") == 1
    assert "去&lt;支付&gt;" in page


def test_a_post_is_encoded_in_the_messages_encoding() -> None:
    assert wire.form_body({"encoding": "GBK", "a": "停+&"}) == b"encoding=GBK&a=%CD%A3%2B%26"
    assert wire.form_body({"a": "停"}) == b"a=%E5%81%9C"
    with pytest.raises(ValueError, match="not an encoding"):
        wire.form_body({"encoding": "UTF-16"})


# What comes back


def test_the_published_answer_with_00_on_top_is_not_paid() -> None:
    for vector in VECTORS["query_trap"]:
        told = answers.transaction(vector["fields"])
        assert told is not None
        assert vector["paid"] is False
        assert answers.query_state(told.resp_code, told.orig_resp_code, final=True) is ChannelState.FAILED
        assert answers.query_state(told.resp_code, told.orig_resp_code, final=False) is ChannelState.PENDING
        assert (told.query_id, told.txn_amt, told.settle_date) == ("302004291336490032748", "1", "0429")


@pytest.mark.parametrize(
    ("resp_code", "orig", "before", "final"),
    [
        ("00", "00", ChannelState.SUCCEEDED, ChannelState.SUCCEEDED),
        ("00", "A6", ChannelState.SUCCEEDED, ChannelState.SUCCEEDED),
        ("A6", "00", ChannelState.SUCCEEDED, ChannelState.SUCCEEDED),
        ("00", "03", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", "04", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", "05", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", "42", ChannelState.SUCCEEDED, ChannelState.SUCCEEDED),
        ("00", "74", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", "75", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", "12", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", "45", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", "64", ChannelState.PENDING, ChannelState.FAILED),
        ("00", "01", ChannelState.PENDING, ChannelState.FAILED),
        ("00", "77", ChannelState.PENDING, ChannelState.FAILED),
        ("00", "11", ChannelState.PENDING, ChannelState.FAILED),
        ("00", "ZZ", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("00", None, ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("34", None, ChannelState.PENDING, ChannelState.NOT_FOUND),
        ("34", "00", ChannelState.PENDING, ChannelState.NOT_FOUND),
        ("03", None, ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("37", None, ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("11", "00", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("01", "01", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        ("ZZ", "00", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        (None, None, ChannelState.UNKNOWN, ChannelState.UNKNOWN),
        (None, "00", ChannelState.UNKNOWN, ChannelState.UNKNOWN),
    ],
)
def test_a_query_has_two_levels(resp_code: str | None, orig: str | None, before: ChannelState, final: ChannelState) -> None:
    assert answers.query_state(resp_code, orig, final=False) is before
    assert answers.query_state(resp_code, orig, final=True) is final


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("resp_code", [code for code in EVERY_CODE if code not in ("00", "A6", "34")])
def test_a_query_that_failed_says_nothing_about_the_order(resp_code: str, final: bool) -> None:
    assert {answers.query_state(resp_code, orig, final=final) for orig in [None, *EVERY_CODE]} == {ChannelState.UNKNOWN}


def test_nothing_that_may_have_moved_money_is_ever_called_failed() -> None:
    undecided = ["03", "04", "05", "12", "42", "45", "74", "75", "00", "A6"]
    undecided += [code for code in EVERY_CODE if code not in answers.RESP_CODES]
    over = {ChannelState.FAILED, ChannelState.CLOSED, ChannelState.NOT_FOUND}
    for code in undecided:
        assert answers.query_state("00", code, final=True) not in over
        assert answers.order_state(code) not in over
    assert {answers.RESP_CODES[code] for code in ("42", "74", "75")} == {Meaning.MONEY_MOVED}


def test_before_the_time_to_pay_is_over_no_query_ends_an_order_but_success() -> None:
    states = {answers.query_state(code, orig, final=False) for code in EVERY_CODE for orig in [None, *EVERY_CODE]}
    assert states == {ChannelState.SUCCEEDED, ChannelState.PENDING, ChannelState.UNKNOWN}


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("00", "A6"), ChannelState.PENDING),
        (("01", "10", "13", "14", "30", "35", "36", "60", "64", "69", "70", "73", "76", "78", "79", "80"), ChannelState.FAILED),
        (
            ("02", "03", "04", "05", "11", "12", "31", "34", "37", "38", "39", "42", "45", "74", "75", "98", "ZZ", None),
            ChannelState.UNKNOWN,
        ),
    ],
)
def test_an_order_that_is_accepted_is_pending_and_never_paid(codes: tuple[str | None, ...], expected: ChannelState) -> None:
    assert {answers.order_state(code) for code in codes} == {expected}


def test_a_notice_says_success_or_nothing() -> None:
    succeeded = {code for code in EVERY_CODE if answers.notice_state(code) is ChannelState.SUCCEEDED}
    assert succeeded == {"00", "A6"}
    assert answers.notice_state("01") is answers.notice_state(None) is ChannelState.UNKNOWN


def test_every_code_of_the_documents_has_a_meaning() -> None:
    listed = "00 A6 01 02 03 04 05 10 11 13 14 12 30 31 32 33 34 35 36 37 38 39 40 41 42 45 73 78 79 70 71 72 76 77 74 75 80 98 99"
    assert set(answers.RESP_CODES) == {*listed.split(), *(str(code) for code in range(60, 70))}


def notice(**changes: str) -> dict[str, str]:
    return {
        "version": "5.1.0",
        "merId": DIRECT.merchant_no,
        "orderId": KEY.order_no,
        "txnTime": "20260301101005",
        "txnType": "01",
        "txnAmt": "1200",
        "currencyCode": "156",
        "respCode": "00",
        "respMsg": "成功[0000000]",
        "queryId": QUERY_ID,
        "settleDate": "0301",
        "traceNo": "000001",
        "traceTime": "0301101006",
        "accNo": "6216***********0018",
        "reserved": "",
    } | changes


def test_a_notice_is_taken_as_it_stands() -> None:
    told = answers.transaction(notice())
    assert told is not None
    assert (told.mer_id, told.order_id, told.txn_amt, told.currency_code, told.txn_type) == (
        DIRECT.merchant_no, KEY.order_no, "1200", "156", "01",
    )  # fmt: skip
    assert (told.query_id, told.trace_no, told.trace_time, told.settle_date) == (QUERY_ID, "000001", "0301101006", "0301")
    assert answers.traced_at(told) == wire.instant("20260301101006")


def test_a_querys_answer_about_another_order_is_noticed() -> None:
    assert answers.query_mismatch(PAID, merchant_no=DIRECT.merchant_no, key=KEY) is None
    later = OrderKey(order_no=KEY.order_no, created_at=MADE_AT + timedelta(seconds=1))
    assert answers.query_mismatch(PAID, merchant_no=DIRECT.merchant_no, key=later) == "txnTime"
    assert answers.query_mismatch(PAID, merchant_no="777290058110098", key=KEY) == "merId"
    assert answers.query_mismatch(answers.Transaction(), merchant_no=DIRECT.merchant_no, key=KEY) == "merId"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("merId", "a b"),
        ("orderId", "a'b"),
        ("orderId", "P" * 65),
        ("txnTime", "2026030110100"),
        ("txnType", "1"),
        ("respCode", "000"),
        ("respCode", "成功"),
        ("queryId", "1"),
        ("origQryId", "x" * 21),
        ("txnAmt", "-1200"),
        ("txnAmt", "12.00"),
        ("txnAmt", "1" * 13),
        ("txnAmt", "１２００"),
        ("currencyCode", "CNY"),
        ("qrCode", "javascript:alert(1)"),
        ("payUrl", "http://pay.example/"),
        ("respMsg", "x" * 4_097),
    ],
)
def test_a_field_of_a_form_that_cannot_be_relied_on_makes_the_whole_unreadable(name: str, value: str) -> None:
    assert answers.transaction(notice(**{name: value})) is None


def test_what_is_only_kept_may_have_any_form() -> None:
    told = answers.transaction(notice(settleDate="?", traceTime="", traceNo="x", settleAmt="-"))
    assert told is not None
    assert (told.settle_date, told.trace_time) == ("?", None)


def test_the_code_and_the_address_of_an_answer_are_read() -> None:
    told = answers.transaction(
        {"respCode": "00", "qrCode": "https://qr.95516.com/00010000/62000000000000000000000000000000", "payUrl": "https://a/b"}
    )
    assert told is not None
    assert told.qr_code == "https://qr.95516.com/00010000/62000000000000000000000000000000"
    assert told.pay_url == "https://a/b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("成功[0000000]", "0000000"), ("查无此交易[2600000]", "2600000"), ("成功", None), ("[123]", None), ("[0000000]x", None)],
)
def test_the_detail_of_a_message_is_its_last_seven_digits(text: str, expected: str | None) -> None:
    assert answers.detail(text) == expected


# Times without a year


@pytest.mark.parametrize(
    ("text", "near", "expected"),
    [
        ("0101", date(2025, 12, 31), date(2026, 1, 1)),
        ("1231", date(2026, 1, 1), date(2025, 12, 31)),
        ("0302", date(2026, 3, 1), date(2026, 3, 2)),
        ("0229", date(2025, 3, 1), date(2024, 2, 29)),
        ("0229", date(2028, 1, 1), date(2028, 2, 29)),
        ("0229", date(2026, 3, 1), None),
        ("0230", date(2026, 3, 1), None),
        ("1301", date(2026, 3, 1), None),
        ("", date(2026, 3, 1), None),
        ("１２31", date(2026, 3, 1), None),
        ("0101", date.max, date.max.replace(month=1, day=1)),
    ],
)
def test_a_day_without_a_year_is_the_nearest(text: str, near: date, expected: date | None) -> None:
    assert answers.date_near(text, near) == expected


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)), st.integers(-180, 180))
def test_a_day_within_half_a_year_is_found_again(near: date, days: int) -> None:
    day = near + timedelta(days=days)
    assert answers.date_near(day.strftime("%m%d"), near) == day


def test_a_payment_of_the_last_december_evening_is_settled_in_the_next_year() -> None:
    paid_at = datetime(2025, 12, 31, 15, 30, tzinfo=UTC)
    assert answers.settled_on("0101", paid_at=paid_at) == date(2026, 1, 1)
    assert answers.settled_on("1231", paid_at=datetime(2025, 12, 31, 16, 0, 5, tzinfo=UTC)) == date(2025, 12, 31)
    assert answers.settled_on("", paid_at=paid_at) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0301101006", datetime(2026, 3, 1, 2, 10, 6, tzinfo=UTC)),
        ("0301070000", datetime(2026, 2, 28, 23, 0, tzinfo=UTC)),
        ("0301240000", None),
        ("0301", None),
        ("0301 01006", None),
        ("          ", None),
        ("", None),
    ],
)
def test_a_trace_time_is_read_in_china(text: str, expected: datetime | None) -> None:
    assert answers.instant_near(text, date(2026, 3, 1)) == expected


# Who opened the page

CLOUD_PAY = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile (com.unionpay.chsp) (cordova 4.5.4) (UnionPay/1.0 CloudPay)"
)


@pytest.mark.parametrize(
    ("user_agent", "app"),
    [
        (CLOUD_PAY, "UnionPay/1.0 CloudPay"),
        ("Mozilla/5.0 (Linux; Android 14) UnionPay/1.0 ICBCeLife", "UnionPay/1.0 ICBCeLife"),
        ("x UnionPay/1.0 CCBLoongPay y", "UnionPay/1.0 CCBLoongPay"),
        ("x UnionPay/1.0.2 PSBC", "UnionPay/1.0.2 PSBC"),
        ("Mozilla/5.0 MicroMessenger/8.0.40", None),
        ("Mozilla/5.0 AlipayClient/10.5 UnionPay/1.0 X", "UnionPay/1.0 X"),
        ("Mozilla/5.0 Safari/604.1", None),
        ("UnionPay/ CloudPay", None),
        ("UnionPay/1.0", None),
        ("", None),
        ("x" * 5_000 + CLOUD_PAY, None),
    ],
)
def test_a_unionpay_app_is_named_as_it_names_itself(user_agent: str, app: str | None) -> None:
    assert wire.app_identifier(user_agent) == app


def test_the_payer_is_sent_to_the_channel_and_back_to_the_whole_address() -> None:
    back = "https://pay.example/p/1?lot=7&x=a b"
    url = urlsplit(wire.authorize_url(back))
    assert (url.netloc, url.path) == ("qr.95516.com", "/qrcGtwWeb-web/api/userAuth")
    assert dict(parse_qsl(url.query)) == {"version": "1.0.0", "redirectUrl": back}
