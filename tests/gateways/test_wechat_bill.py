"""A trade bill is read exactly or refused whole: what the stand-in writes is read back, and every cut is noticed."""

import gzip
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.contract import Answer, BillLink, BillRefused, RefundState
from gateways.sandbox.wechat.bill import Form, fee_fen, write
from gateways.sandbox.wechat.state import Order
from gateways.wechat import bill, files
from gateways.wechat.channel import WeChat
from ledger.clock import microseconds
from tests.gateways.conftest import APP_ID, MERCHANT_NO, NOW, PROVIDER_NO


def order(
    number: int, amount_fen: int, *, description: str = "停车费", attach: str | None = None, paid_at: datetime = NOW
) -> Order:
    return Order(
        order_no=f"P{number:027d}",
        merchant_no=MERCHANT_NO,
        app_id=APP_ID,
        sub_app_id=None,
        description=description,
        attach=attach,
        amount_fen=amount_fen,
        openid="oPayer",
        notify_url="https://pay.example/n",
        content=b"",
        expires_at=0,
        created_at=0,
        state="SUCCESS",
        trade_no=f"42{number:026d}",
        paid_at=microseconds(paid_at),
        fee_fen=fee_fen(amount_fen, 60),
    )


def written(*orders: Order, form: Form = "ALL", bom: bool = True, crlf: bool = True) -> bytes:
    return write(orders, provider_no=PROVIDER_NO, fee_bps=60, form=form, bom=bom, crlf=crlf)


TWO = written(order(1, 1200), order(2, 350))
HEADER, PAYMENT, SECOND, SUMMARY_HEADER, SUMMARY = (
    written(order(1, 1200), order(2, 350), bom=False, crlf=False).decode().splitlines()
)
REFUND = (
    "`2026-03-02 18:02:44,`wx8888888888888888,`1900000001,`1620000007,`,`4200000000000000000000000001,"
    "`P000000000000000000000000001,`oPayer,`JSAPI,`REFUND,`OTHERS,`CNY,`0.00,`0.00,`50300000002026030100000000001,`RF20260301000007,`4.00,`0.00,`ORIGINAL,`SUCCESS,"
    "`停车费,`,`-0.02000,`0.60%,`0.00,`4.00,`"
)


def joined(*lines: str) -> bytes:
    return "\n".join(lines).encode()


@given(
    rows=st.lists(st.tuples(st.integers(1, 10_000_000), st.text(max_size=20), st.integers(0, 86_399)), max_size=30),
    bom=st.booleans(),
    crlf=st.booleans(),
    final_line_end=st.booleans(),
    form=st.sampled_from(["ALL", "SUCCESS"]),
)
@settings(deadline=None)
def test_what_the_channel_writes_is_read_back_exactly(
    rows: list[tuple[int, str, int]], bom: bool, crlf: bool, final_line_end: bool, form: Form
) -> None:
    orders = [
        order(
            number,
            amount,
            description=text.encode("utf-8", "ignore").decode(),
            attach="a,b\r\n",
            paid_at=NOW + timedelta(seconds=s),
        )
        for number, (amount, text, s) in enumerate(rows)
    ]
    content = written(*orders, form=form, bom=bom, crlf=crlf)
    read = bill.parse(content if final_line_end else content.rstrip(b"\r\n"), provider_no=PROVIDER_NO)
    assert [(line.order_no, line.trade_no, line.amount_fen, line.fee_fen) for line in read.lines] == [
        (one.order_no, one.trade_no, one.amount_fen, one.fee_fen) for one in orders
    ]
    assert [line.happened_at for line in read.lines] == [NOW + timedelta(seconds=s) for _, _, s in rows]
    assert [line.line for line in read.lines] == list(range(1, len(rows) + 1))
    assert (read.total_fen, read.refund_fen) == (sum(amount for amount, _, _ in rows), 0)
    assert read.fee_fen == sum(line.fee_fen for line in read.lines)


def test_a_refund_line_has_a_positive_amount_and_gives_the_fee_back() -> None:
    read = bill.parse(
        joined(HEADER, PAYMENT, REFUND, SUMMARY_HEADER, "`2,`12.00,`4.00,`0.00,`0.05000,`12.00,`4.00"), provider_no=PROVIDER_NO
    )
    refund = read.lines[1]
    assert (refund.kind, refund.amount_fen, refund.fee_fen, refund.refund_no) == ("refund", 400, -2, "RF20260301000007")
    assert (refund.happened_at, refund.refund_state) == (datetime(2026, 3, 2, 10, 2, 44, tzinfo=UTC), RefundState.DONE)
    assert read.lines[0].refund_state is None
    assert (read.total_fen, read.refund_fen, read.fee_fen) == (1200, 400, 5)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUCCESS", RefundState.DONE),
        ("PROCESSING", RefundState.PENDING),
        ("FAIL", RefundState.CLOSED),
        ("CHANGE", RefundState.STUCK),
        ("NEW", RefundState.UNKNOWN),
        ("", RefundState.UNKNOWN),
    ],
)
def test_a_refunds_state_in_the_bill_has_words_of_its_own(word: str, state: RefundState) -> None:
    row = REFUND.replace("`ORIGINAL,`SUCCESS,", f"`ORIGINAL,`{word},")
    read = bill.parse(joined(HEADER, row, SUMMARY_HEADER, "`1,`0.00,`4.00,`0.00,`-0.02000,`0.00,`4.00"), provider_no=PROVIDER_NO)
    assert read.lines[0].refund_state is state


def test_a_refund_in_the_refund_form_happened_when_it_was_accepted_as_in_the_full_form() -> None:
    names = HEADER.split(",")
    header = ",".join([*names[:14], "退款申请时间", "退款成功时间", *names[14:]])
    values = REFUND[1:].split(",`")
    values = ["2026-03-01 10:00:00", *values[1:14], "2026-03-02 18:02:44", "2026-03-02 18:05:00", *values[14:]]
    summary = "`1,`0.00,`4.00,`0.00,`-0.02000,`0.00,`4.00"
    read = bill.parse(joined(header, "`" + ",`".join(values), SUMMARY_HEADER, summary), provider_no=PROVIDER_NO)
    assert read.lines[0].happened_at == datetime(2026, 3, 2, 10, 2, 44, tzinfo=UTC)


def test_columns_are_found_by_name_also_in_another_order_and_under_their_old_names() -> None:
    names, values = HEADER.split(","), PAYMENT[1:].split(",`")
    turned = joined(
        ",".join(reversed(names)).replace("应结订单金额", "总金额").replace("代金券金额", "企业红包金额"),
        "`" + ",`".join(reversed(values)),
        SUMMARY_HEADER,
        "`1.0,`12.00,`0.00,`0.0,`0.07,`12.00,`0.00",
    )
    assert bill.parse(turned, provider_no=PROVIDER_NO).lines[0].amount_fen == 1200


def test_an_empty_day_has_no_lines() -> None:
    assert bill.parse(written(), provider_no=PROVIDER_NO).lines == ()


def test_every_cut_of_a_file_is_refused() -> None:
    whole = TWO.rstrip(b"\r\n")
    ends_in_last_zeros = len(b".00")
    for length in range(len(whole) - ends_in_last_zeros):
        with pytest.raises(BillRefused):
            bill.parse(whole[:length], provider_no=PROVIDER_NO)


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        ((HEADER, PAYMENT, SUMMARY_HEADER, SUMMARY), "bill_cut", "states 2 rows and has 1"),
        ((HEADER, PAYMENT, PAYMENT, SUMMARY_HEADER, SUMMARY), "bill_cut", "应结订单总金额 15.50"),
        ((HEADER, PAYMENT, SECOND), "bill_cut", "without a summary"),
        ((HEADER, PAYMENT, SECOND, SUMMARY_HEADER), "bill_cut", "ends in its summary"),
        ((HEADER, PAYMENT, SECOND, SUMMARY_HEADER, SUMMARY, PAYMENT), "bill_form", "goes on after"),
        ((HEADER, PAYMENT.replace("12.00", "12.001"), SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "part of a fen"),
        ((HEADER, PAYMENT.replace("12.00", "１２.00"), SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "not an amount"),
        ((HEADER, PAYMENT.replace("`SUCCESS", "`MYSTERY"), SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "unknown 交易状态"),
        (
            (HEADER, PAYMENT.replace("`1900000001", "`1900000002"), SECOND, SUMMARY_HEADER, SUMMARY),
            "bill_form",
            "provider 1900000002",
        ),
        ((HEADER, PAYMENT.replace("`CNY", "`HKD"), SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "'HKD', not CNY"),
        ((HEADER, PAYMENT.replace("2026-03-02 ", "2026-13-02 "), SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "not a time"),
        ((HEADER, PAYMENT + ",`more", SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "28 values for 27 columns"),
        ((HEADER.replace("手续费,", ""), PAYMENT, SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "no column 手续费"),
        ((HEADER.replace("设备号", "手续费"), PAYMENT, SECOND, SUMMARY_HEADER, SUMMARY), "bill_form", "twice"),
        ((HEADER, PAYMENT, SECOND, "总交易单数,其他", "`2,`0"), "bill_cut", "a summary was due"),
    ],
)
def test_a_file_that_does_not_add_up_is_refused_with_the_place(lines: tuple[str, ...], code: str, words: str) -> None:
    with pytest.raises(BillRefused, match=words) as refused:
        bill.parse(joined(*lines), provider_no=PROVIDER_NO)
    assert refused.value.code == code


def link(content: bytes, kind: str = "SHA1") -> BillLink:
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest().upper()
    return BillLink(url="https://api.mch.weixin.qq.com/x", digest_kind=kind, digest=digest, compressed=True)


def test_the_digest_is_that_of_the_uncompressed_file_whatever_its_case(wechat: WeChat) -> None:
    for body in (TWO, gzip.compress(TWO)):
        assert wechat.open_bill(Answer(status=200, headers={}, body=body), link=link(TWO)) == TWO


def test_a_compressed_file_that_ends_early_is_refused(wechat: WeChat) -> None:
    with pytest.raises(BillRefused) as refused:
        wechat.open_bill(Answer(status=200, headers={}, body=gzip.compress(TWO)[:-9]), link=link(TWO))
    assert refused.value.code == "bill_cut"


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BILL_BYTES_MAX", 1000)
    with pytest.raises(BillRefused) as refused:
        files.unpacked(gzip.compress(b"0" * 1001))
    assert refused.value.code == "bill_too_large"
    assert files.unpacked(gzip.compress(b"0" * 1000)) == b"0" * 1000


def test_an_unknown_kind_of_digest_or_an_error_page_is_refused(wechat: WeChat) -> None:
    with pytest.raises(BillRefused, match="SHA256"):
        wechat.open_bill(Answer(status=200, headers={}, body=TWO), link=link(TWO, kind="SHA256"))
    with pytest.raises(BillRefused, match="status 400"):
        wechat.open_bill(Answer(status=400, headers={}, body=TWO), link=link(TWO))


@pytest.mark.parametrize(("amount_fen", "fee"), [(1, 0), (83, 0), (84, 1), (1200, 7), (1250, 8), (10_000_000, 60_000)])
def test_the_channels_fee_is_rounded_to_the_fen(amount_fen: int, fee: int) -> None:
    assert fee_fen(amount_fen, 60) == fee
