"""An Alipay bill is read exactly or refused whole: signs, totals, names in GBK, several files, and nothing unbounded."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.alipay import bill
from gateways.contract import Bill, BillRefused
from ledger.money import yuan

PID = "2088001122334455"
TRADE_HEADER = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,"
    "商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,"
    "卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
HEAD = (
    "#支付宝业务明细查询",
    "#账号：[20880011223344550156]",
    "#起始日期：[2026年03月01日 00:00:00]   终止日期：[2026年03月02日 00:00:00]",
    "#-----------------------------------------业务明细列表----------------------------------------",
)
END = "#-----------------------------------------业务明细列表结束------------------------------------"
PAYMENT = (
    "2026030122001400001000000001\t,PK20260301000001\t,交易\t,停车费,2026-03-01 08:10:00,2026-03-01 08:10:06,\t,\t,\t,\t,"
    "*明(138****0001)\t,12.00,12.00,0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,\t,-0.07,0.00,"
)
REFUND = (
    "2026030122001400001000000001\t,PK20260301000001\t,退款\t,停车费,2026-03-01 09:00:00,2026-03-01 09:00:02,\t,\t,\t,\t,"
    "*明(138****0001)\t,-5.00,-5.00,0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,RF20260301000001\t,0.03,0.00,"
)
PAID = "#交易合计：1笔，商家实收共12.00元，商家优惠共0.00元"
GIVEN_BACK = "#退款合计：1笔，商家实收退款共-5.00元，商家优惠退款共0.00元"
EXPORTED = "#导出时间：[2026年03月02日 03:01:02]"
SAMPLE = (*HEAD, TRADE_HEADER, PAYMENT, REFUND, END, PAID, GIVEN_BACK, EXPORTED)
DETAIL, SUMMARY = f"{PID}0156_20260301_业务明细.csv", f"{PID}0156_20260301_业务明细(汇总).csv"
SUMMARY_TEXT = "#支付宝业务汇总查询\r\n门店编号,门店名称,交易订单总笔数\r\n合计,,1\r\n"

FLOW_HEADER = (
    "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,"
    "账户余额（元）,交易渠道,业务类型,备注"
)
FLOW_HEAD = ("#支付宝账务明细查询", *HEAD[1:3], "#-----账务明细列表-----")
FLOW_END = "#-----账务明细列表结束-----"
INCOME = (
    "FL1\t,2026030122001400001000000001\t,PK20260301000001\t,停车费,2026-03-01 08:10:06,a***@x.com,12.00,,112.00,支付宝,在线支付,"
)
FEE = "FL2\t,2026030122001400001000000001\t,PK20260301000001\t,服务费,2026-03-01 08:10:06,,0.00,-0.07,111.93,支付宝,收费,费率0.6%"
OUT, IN = "#支出合计：1笔，共-0.07元", "#收入合计：1笔，共12.00元"
FLOWS = (*FLOW_HEAD, FLOW_HEADER, INCOME, FEE, FLOW_END, OUT, IN, EXPORTED)


def text(lines: Sequence[str], *, end: str = "\r\n", charset: str = "gbk") -> bytes:
    return (end.join(lines) + end).encode(charset)


def archived(*files: tuple[str, bytes], utf8_names: bool = False, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Write an archive as the channel does: names in GBK without saying so."""
    target, meant = io.BytesIO(), {}
    with zipfile.ZipFile(target, "w", compression) as archive:
        for number, (name, content) in enumerate(files):
            wired = name.encode("gbk")
            written = f"@{number}@".ljust(len(wired), "@")
            meant[written.encode()] = wired
            archive.writestr(name if utf8_names else written, content)
    made = target.getvalue()
    for placeholder, wired in meant.items():
        made = made.replace(placeholder, wired)
    return made


def one(*lines: str, name: str = DETAIL, charset: str = "gbk", end: str = "\r\n") -> bytes:
    return archived((name, text(lines, charset=charset, end=end)), (SUMMARY, SUMMARY_TEXT.encode("gbk")))


def refused(read: Callable[[], object]) -> BillRefused:
    with pytest.raises(BillRefused) as raised:
        read()
    return raised.value


# The trade bill


def test_the_documented_sample_is_read() -> None:
    read = bill.parse(one(*SAMPLE), merchant_no=PID)
    payment, refund = read.lines
    assert (payment.line, payment.kind, payment.merchant_no) == (1, "payment", PID)
    assert (payment.trade_no, payment.order_no) == ("2026030122001400001000000001", "PK20260301000001")
    assert (payment.amount_fen, payment.fee_fen, payment.refund_no) == (1200, 7, None)
    assert payment.happened_at == datetime(2026, 3, 1, 0, 10, 6, tzinfo=UTC)
    assert (refund.line, refund.kind, refund.trade_no, refund.order_no) == (2, "refund", payment.trade_no, payment.order_no)
    assert (refund.amount_fen, refund.fee_fen, refund.refund_no) == (500, -3, "RF20260301000001")
    assert refund.happened_at == datetime(2026, 3, 1, 1, 0, 2, tzinfo=UTC)
    assert (read.total_fen, read.refund_fen, read.fee_fen) == (1200, 500, 4)


def test_a_refund_without_a_minus_is_the_same_refund() -> None:
    unsigned = REFUND.replace("-5.00", "5.00")
    for total in (GIVEN_BACK, GIVEN_BACK.replace("-5.00", "5.00")):
        lines = [unsigned if line is REFUND else total if line is GIVEN_BACK else line for line in SAMPLE]
        assert bill.parse(one(*lines)) == bill.parse(one(*SAMPLE))


def test_a_fee_costs_on_a_payment_and_comes_back_on_a_refund_whatever_its_sign() -> None:
    lines = [line.replace("-0.07", "0.07") if line is PAYMENT else line for line in SAMPLE]
    assert bill.parse(one(*lines)) == bill.parse(one(*SAMPLE))
    free = [line.replace(",0.03,", ",0.00,") for line in SAMPLE]
    assert bill.parse(one(*free)).lines[1].fee_fen == 0


@pytest.mark.parametrize("charset", ["gbk", "gb18030"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_charset_and_line_ends_do_not_matter(charset: str, end: str) -> None:
    assert bill.parse(one(*SAMPLE, charset=charset, end=end)) == bill.parse(one(*SAMPLE))
    without_last_end = archived((DETAIL, text(SAMPLE, charset=charset, end=end).rstrip()))
    assert bill.parse(without_last_end) == bill.parse(one(*SAMPLE))


def test_characters_outside_gbk_are_read_from_gb18030() -> None:
    lines = [line.replace("停车费", "停车费𠮷") if line is PAYMENT else line for line in SAMPLE]
    assert bill.parse(one(*lines, charset="gb18030")) == bill.parse(one(*SAMPLE))


def test_columns_are_found_by_name_in_any_order_with_more_of_them_and_with_half_width_brackets() -> None:
    turned = [
        ",".join([*reversed(line.split(",")), "新列" if line is TRADE_HEADER else "7"])
        if line in {TRADE_HEADER, PAYMENT, REFUND}
        else line
        for line in SAMPLE
    ]
    turned[4] = turned[4].replace("（", "(").replace("）", ")")
    assert bill.parse(one(*turned)) == bill.parse(one(*SAMPLE))


def test_quoted_text_may_hold_commas_quotes_line_ends_and_a_hash() -> None:
    for title in ('"停车费,2小时"', '"停""车"\t', '"停车\r\n#费"', '停"车'):
        lines = [line.replace("停车费", title) if line is PAYMENT else line for line in SAMPLE]
        assert bill.parse(one(*lines)) == bill.parse(one(*SAMPLE))


def test_a_refund_without_a_number_of_ours_has_none_and_a_payment_never_has_one() -> None:
    lines = [line.replace("RF20260301000001", "\t") for line in SAMPLE]
    assert bill.parse(one(*lines)).lines[1].refund_no is None
    lines = [line.replace("0.00,\t,-0.07", "0.00,X1\t,-0.07") for line in SAMPLE]
    assert bill.parse(one(*lines)).lines[0].refund_no is None


def test_an_empty_day_has_no_lines_with_and_without_totals() -> None:
    none_paid, none_back = (
        PAID.replace("1笔", "0笔").replace("12.00", "0.00"),
        GIVEN_BACK.replace("1笔", "0笔").replace("-5.00", "0.00"),
    )
    for more in ((), (none_paid, none_back, EXPORTED)):
        read = bill.parse(one(*HEAD, TRADE_HEADER, END, *more), merchant_no=PID)
        assert read == Bill(lines=(), total_fen=0, refund_fen=0, fee_fen=0)


def test_the_owner_is_the_files_word_or_else_the_askers() -> None:
    assert bill.parse(one(*SAMPLE)).lines[0].merchant_no == PID
    silent = [line for line in SAMPLE if not line.startswith("#账号")]
    assert bill.parse(one(*silent), merchant_no=PID).lines[0].merchant_no == PID
    assert refused(lambda: bill.parse(one(*silent))).code == "bill_form"
    other = refused(lambda: bill.parse(one(*SAMPLE), merchant_no="2088999999999999"))
    assert other.code == "bill_form"
    assert f"of merchant {PID}, not 2088999999999999" in str(other)


def test_a_single_row_changed_into_another_day_of_the_same_sum_is_still_a_row() -> None:
    lines = [line.replace("08:10:06", "23:59:59") for line in SAMPLE]
    assert bill.parse(one(*lines)).lines[0].happened_at == datetime(2026, 3, 1, 15, 59, 59, tzinfo=UTC)


amounts = st.integers(0, 1_000_000)


@given(
    rows=st.lists(st.tuples(st.booleans(), amounts, amounts, st.integers(0, 86_399), st.text(max_size=12)), max_size=20),
    minus=st.booleans(),
    end=st.sampled_from(["\r\n", "\n"]),
)
@settings(deadline=None, max_examples=60)
def test_what_the_channel_writes_is_read_back_exactly(
    rows: list[tuple[bool, int, int, int, str]], minus: bool, end: str
) -> None:  # fmt: skip
    day, sums, lines = datetime(2026, 3, 1), {False: [0, 0], True: [0, 0]}, []  # noqa: DTZ001  # as printed: China time
    for number, (back, amount, fee, second, title) in enumerate(rows):
        sign = "-" if back and minus and amount else ""
        printed = title.replace('"', '""').encode("gb18030", "ignore").decode("gb18030")
        lines.append(
            f'T{number}\t,P{number}\t,{"退款" if back else "交易"}\t,"{printed}",{day},'
            f"{day + timedelta(seconds=second)},\t,\t,\t,\t,*明\t,"
            f"{sign}{yuan(amount)},{sign}{yuan(amount)},0.00,0.00,0.00,0.00,0.00,,0.00\t,0.00,{f'R{number}' if back else ''}\t,"
            f"{'' if back else '-'}{yuan(fee)},0.00,"
        )
        sums[back] = [sums[back][0] + 1, sums[back][1] + amount]
    totals = (
        f"#交易合计：{sums[False][0]}笔，商家实收共{yuan(sums[False][1])}元，商家优惠共0.00元",
        f"#退款合计：{sums[True][0]}笔，商家实收退款共{yuan(-sums[True][1] if minus else sums[True][1])}元，商家优惠退款共0.00元",
    )
    read = bill.parse(one(*HEAD, TRADE_HEADER, *lines, END, *totals, EXPORTED, charset="gb18030", end=end), merchant_no=PID)
    assert [(line.line, line.trade_no, line.order_no) for line in read.lines] == [
        (number + 1, f"T{number}", f"P{number}") for number in range(len(rows))
    ]
    for line, (back, amount, fee, second, _) in zip(read.lines, rows, strict=True):
        assert (line.kind, line.amount_fen) == ("refund" if back else "payment", amount)
        assert line.fee_fen == (-fee if back else fee)
        assert line.happened_at == datetime(2026, 2, 28, 16, tzinfo=UTC) + timedelta(seconds=second)
    assert (read.total_fen, read.refund_fen) == (sums[False][1], sums[True][1])
    assert read.fee_fen == sum(line.fee_fen for line in read.lines)


def test_every_cut_of_a_file_before_its_last_count_is_refused_and_later_ones_lose_no_row() -> None:
    whole, read = text(SAMPLE), bill.parse(one(*SAMPLE))
    last_count = whole.index("笔，商家实收退款".encode("gbk"))
    for length in range(last_count):
        assert refused(lambda cut=whole[:length]: bill.parse(archived((DETAIL, cut)))).code in {"bill_cut", "bill_form"}  # type: ignore[misc]
    for length in range(last_count, len(whole)):
        with suppress(BillRefused):
            assert bill.parse(archived((DETAIL, whole[:length]))) == read


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        ((*HEAD, TRADE_HEADER, PAYMENT, END, PAID, GIVEN_BACK), "bill_cut", "states 退款笔数 1 and its rows have 0"),
        (
            (*HEAD, TRADE_HEADER, PAYMENT, PAYMENT, REFUND, END, PAID, GIVEN_BACK),
            "bill_cut",
            "states 交易笔数 1 and its rows have 2",
        ),
        (
            (*HEAD, TRADE_HEADER, PAYMENT, END, PAID.replace("12.00", "12.01")),
            "bill_cut",
            "states 交易商家实收 12.01 and its rows have 12.00",
        ),
        ((*HEAD, TRADE_HEADER, PAYMENT, END, PAID.replace("优惠共0.00", "优惠共0.01")), "bill_cut", "交易商家优惠 0.01"),
        ((*HEAD, TRADE_HEADER, PAYMENT, END, PAID.replace("12.00", "12.001")), "bill_cut", "two decimals"),
        ((*HEAD, TRADE_HEADER, PAYMENT, END, PAID[:19]), "bill_cut", "ends in its totals"),
        ((*HEAD, TRADE_HEADER, PAYMENT, END, PAID[:7]), "bill_cut", "ends in its totals"),
        ((*HEAD, TRADE_HEADER, PAYMENT, END, "#交易合计"), "bill_cut", "ends in its totals"),
        ((*HEAD, TRADE_HEADER, PAYMENT, END), "bill_cut", "does not state its 交易笔数"),
        ((*HEAD, TRADE_HEADER, PAYMENT, REFUND, END, PAID), "bill_cut", "does not state its 退款笔数"),
        ((*HEAD, TRADE_HEADER, PAYMENT, PAID), "bill_cut", "without the line that ends its rows"),
        ((*HEAD, END), "bill_cut", "without a header"),
        ((), "bill_cut", "without a header"),
        ((*HEAD, TRADE_HEADER, END, PAYMENT), "bill_form", "goes on after its end"),
        ((*HEAD, TRADE_HEADER, PAYMENT + ",7", END), "bill_form", "row 1 of the bill has 26 values for 25 columns"),
        ((*HEAD, TRADE_HEADER, PAYMENT, REFUND.rpartition(",")[0], END), "bill_form", "row 2 of the bill has 24 values"),
        ((*HEAD, TRADE_HEADER, PAYMENT.replace("交易\t", "转账\t"), END), "bill_form", "unknown 业务类型 '转账'"),
        ((*HEAD, TRADE_HEADER, PAYMENT.replace("12.00,12.00", "-12.00,12.00"), END), "bill_form", "is a payment of -12.00"),
        ((*HEAD, TRADE_HEADER, PAYMENT.replace("12.00,12.00", "12.001,12.00"), END), "bill_form", "row 1, 订单金额"),
        ((*HEAD, TRADE_HEADER, PAYMENT.replace("-0.07", ""), END), "bill_form", "row 1, 服务费"),
        ((*HEAD, TRADE_HEADER, PAYMENT.replace("08:10:06", "24:10:06"), END), "bill_form", "is not a time"),
        ((*HEAD, TRADE_HEADER, PAYMENT.replace("2026030122001400001000000001", ""), END), "bill_form", "no 支付宝交易号"),
        ((*HEAD, TRADE_HEADER.replace("服务费（元）", "手续费（元）"), PAYMENT, END), "bill_form", "no column 服务费（元）"),
        ((*HEAD, TRADE_HEADER.replace("终端号", "操作员"), PAYMENT, END), "bill_form", "twice"),
        ((*FLOW_HEAD, FLOW_HEADER, INCOME, FLOW_END), "bill_form", "no column"),
        ((*HEAD, TRADE_HEADER, PAYMENT.replace("停车费", "费" * 33_000), END), "bill_form", "more than 65536 bytes"),
    ],
)
def test_a_file_that_does_not_add_up_is_refused_with_the_place(lines: tuple[str, ...], code: str, words: str) -> None:
    found = refused(lambda: bill.parse(one(*lines)))
    assert words in str(found)
    assert found.code == code


def test_totals_that_are_not_stated_are_not_missed_when_the_switch_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill, "TOTALS_NEEDED", False)
    assert bill.parse(one(*HEAD, TRADE_HEADER, PAYMENT, END)).total_fen == 1200


def test_a_total_that_is_new_to_us_is_not_checked() -> None:
    lines = [line.replace("商家优惠共0.00元", "商家优惠共0.00元，服务费共-0.07元") for line in SAMPLE]
    assert bill.parse(one(*lines)) == bill.parse(one(*SAMPLE))


def test_bytes_that_are_no_text_are_refused() -> None:
    content = text(SAMPLE).replace("停车费".encode("gbk"), b"\xff\xff", 1)
    assert refused(lambda: bill.parse(archived((DETAIL, content)))).code == "bill_form"


def test_a_value_that_never_ends_is_refused() -> None:
    lines = (*HEAD, TRADE_HEADER, PAYMENT.replace("停车费", '"停车费'), *[REFUND] * 2000, END)
    assert refused(lambda: bill.parse(one(*lines))).code == "bill_form"
    assert refused(lambda: bill.parse(one(*lines[:8], END))).code == "bill_form"


# The archive


def test_the_file_with_rows_is_taken_and_the_summary_left_whatever_their_order_and_the_names_charset() -> None:
    detail, summary = (DETAIL, text(SAMPLE)), (SUMMARY, SUMMARY_TEXT.encode("gbk"))
    for files in ((detail, summary), (summary, detail), (detail,), (detail, ("说明.txt", b"x"))):
        for utf8_names in (False, True):
            for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
                archive = archived(*files, utf8_names=utf8_names, compression=compression)
                assert bill.detail_names(archive) == (DETAIL,)
                assert len(bill.parse(archive).lines) == 2


def test_names_are_really_gbk_without_the_mark_in_these_tests() -> None:
    archive = one(*SAMPLE)
    assert DETAIL.encode("gbk") in archive
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert [info.flag_bits & 0x800 for info in files.infolist()] == [0, 0]


def test_several_files_are_one_bill_whose_rows_are_numbered_through() -> None:
    first = (*HEAD, TRADE_HEADER, PAYMENT, END, PAID, EXPORTED)
    second = (*HEAD, TRADE_HEADER, REFUND, END, GIVEN_BACK, EXPORTED)
    archive = archived(("2_业务明细.csv", text(second)), ("1_业务明细.csv", text(first)), (SUMMARY, SUMMARY_TEXT.encode("gbk")))
    assert bill.parse(archive) == bill.parse(one(*SAMPLE))
    assert bill.detail_names(archive) == ("1_业务明细.csv", "2_业务明细.csv")


def test_several_files_may_each_state_the_sums_of_all_or_the_last_one_alone() -> None:
    whole = (PAID, GIVEN_BACK)
    for first_totals, second_totals in ((whole, whole), ((), whole), (whole, ())):
        archive = archived(
            ("1_业务明细.csv", text((*HEAD, TRADE_HEADER, PAYMENT, END, *first_totals))),
            ("2_业务明细.csv", text((*HEAD, TRADE_HEADER, REFUND, END, *second_totals))),
        )
        assert bill.parse(archive) == bill.parse(one(*SAMPLE))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((TRADE_HEADER, PAYMENT, END, PAID), (TRADE_HEADER, REFUND, END)),
        ((TRADE_HEADER, PAYMENT, END, PAID), (TRADE_HEADER, PAYMENT, END)),
        ((TRADE_HEADER, PAYMENT, END, PAID), (TRADE_HEADER, END, PAID.replace("1笔", "3笔"))),
        ((TRADE_HEADER, PAYMENT, END, PAID), (TRADE_HEADER, PAYMENT, END, PAID.replace("12.00", "24.00"))),
        ((TRADE_HEADER, PAYMENT, END, PAID), (REFUND, END, GIVEN_BACK)),
        ((TRADE_HEADER, PAYMENT, END, PAID), (TRADE_HEADER, REFUND, GIVEN_BACK)),
    ],
)
def test_several_files_of_which_one_does_not_add_up_are_refused_together(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    archive = archived(("1_业务明细.csv", text((*HEAD, *first))), ("2_业务明细.csv", text((*HEAD, *second))))
    assert refused(lambda: bill.parse(archive)).code in {"bill_cut", "bill_form"}


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (b"", "bill_form"),
        (b"<html>error</html>", "bill_form"),
        (b"PK\x03\x04", "bill_cut"),
        (archived(), "bill_form"),
        (archived((SUMMARY, b"x")), "bill_form"),
        (archived((DETAIL + "/", b"")), "bill_form"),
        (archived((DETAIL, text(SAMPLE)), compression=zipfile.ZIP_BZIP2), "bill_form"),
        (archived((DETAIL, text(SAMPLE)), compression=zipfile.ZIP_LZMA), "bill_form"),
    ],
)
def test_what_is_no_archive_of_a_bill_is_refused(archive: bytes, code: str) -> None:
    for read in (bill.parse, bill.parse_flows):
        assert refused(lambda read=read: read(archive)).code == code  # type: ignore[misc]


def test_every_cut_of_an_archive_is_refused() -> None:
    whole = archived((DETAIL, text(SAMPLE)))
    for length in range(len(whole)):
        assert refused(lambda cut=whole[:length]: bill.parse(cut)).code in {"bill_cut", "bill_form"}  # type: ignore[misc]


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(deadline=None, max_examples=300)
def test_a_byte_changed_in_an_archive_gives_the_same_bill_or_none(at: int, value: int) -> None:
    damaged = bytearray(archived((DETAIL, text(SAMPLE))))
    damaged[at % len(damaged)] = value
    try:
        read = bill.parse(bytes(damaged))
    except BillRefused:
        return
    assert read == bill.parse(one(*SAMPLE))


def test_an_encrypted_archive_is_refused() -> None:
    archive = bytearray(archived((DETAIL, text(SAMPLE))))
    directory = archive.index(b"PK\x01\x02")
    for flags in (6, directory + 8):
        archive[flags] |= 1
    assert refused(lambda: bill.parse(bytes(archive))).code == "bill_form"


def test_a_small_archive_that_unpacks_to_a_huge_file_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill, "BILL_BYTES_MAX", 10_000)
    assert refused(lambda: bill.parse(archived((DETAIL, b"0" * 10_001)))).code == "bill_too_large"
    assert refused(lambda: bill.parse(archived((DETAIL, b"0" * 6_000), (SUMMARY, b"0" * 6_000)))).code == "bill_too_large"
    assert len(bill.parse(one(*SAMPLE)).lines) == 2


def test_an_archive_of_very_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill, "FILES_MAX", 2)
    assert refused(lambda: bill.parse(archived(("1.csv", b""), ("2.csv", b""), ("3.csv", b"")))).code == "bill_too_large"


def test_a_file_that_is_larger_than_it_says_is_read_no_further_than_it_says() -> None:
    archive = bytearray(archived((DETAIL, text((*SAMPLE, *["#" + "x" * 60_000] * 100)))))
    directory = archive.index(b"PK\x01\x02")
    struct.pack_into("<L", archive, directory + 24, 2_000)
    assert refused(lambda: bill.parse(bytes(archive))).code == "bill_cut"


def test_memory_does_not_grow_with_the_file() -> None:
    many = 20_000
    rows = [PAYMENT.replace("2026030122001400001000000001", f"{number:028d}") for number in range(many)]
    content = text((*HEAD, TRADE_HEADER, *rows, END, PAID.replace("1笔", f"{many}笔").replace("12.00", yuan(1200 * many))))
    archive = archived((DETAIL, content))
    tracemalloc.start()
    try:
        count = sum(1 for _ in bill.trade_lines(archive))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == many
    assert len(content) > 3_500_000
    assert peak < 1_000_000


# The account's flow


def test_the_flow_of_an_account_is_read_with_what_came_in_positive() -> None:
    read = bill.parse_flows(one(*FLOWS, name=f"{PID}0156_20260301_账务明细.csv"), merchant_no=PID)
    income, fee = read.rows
    assert (income.flow_no, income.trade_no, income.order_no) == ("FL1", "2026030122001400001000000001", "PK20260301000001")
    assert (income.amount_fen, income.balance_fen, income.kind, income.note) == (1200, 11200, "在线支付", "")
    assert income.happened_at == datetime(2026, 3, 1, 0, 10, 6, tzinfo=UTC)
    assert (fee.line, fee.merchant_no, fee.amount_fen, fee.kind, fee.note) == (2, PID, -7, "收费", "费率0.6%")
    assert (read.in_fen, read.out_fen) == (1200, 7)


def test_the_flow_is_the_same_without_a_minus_and_with_newer_columns_in_another_order() -> None:
    unsigned = [line.replace("-0.07", "0.07") for line in FLOWS]
    assert bill.parse_flows(one(*unsigned)) == bill.parse_flows(one(*FLOWS))
    newer = [
        f"{'业务描述' if line is FLOW_HEADER else '0030001|x'}," + line if line in {FLOW_HEADER, INCOME, FEE} else line
        for line in FLOWS
    ]
    assert bill.parse_flows(one(*newer)) == bill.parse_flows(one(*FLOWS))


def test_an_unstated_balance_and_a_missing_note_are_allowed() -> None:
    lines = [line.replace("111.93", "") for line in FLOWS]
    assert bill.parse_flows(one(*lines)).rows[1].balance_fen is None
    short = [line.rpartition(",")[0] if line in {FLOW_HEADER, INCOME, FEE} else line for line in FLOWS]
    assert bill.parse_flows(one(*short)).rows[1].note == ""


def test_an_empty_flow_has_no_rows() -> None:
    assert bill.parse_flows(one(*FLOW_HEAD, FLOW_HEADER, FLOW_END)) == bill.Flows(rows=(), in_fen=0, out_fen=0)


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        ((INCOME, FLOW_END, OUT, IN), "bill_cut", "states 支出笔数 1 and its rows have 0"),
        ((INCOME, FEE, FLOW_END, OUT, IN.replace("12.00", "12.01")), "bill_cut", "states 收入 12.01 and its rows have 12.00"),
        ((INCOME, FEE, FLOW_END, IN), "bill_cut", "does not state its 支出笔数"),
        ((INCOME, FEE, OUT, IN), "bill_cut", "without the line that ends"),
        ((INCOME.replace("12.00,,", "12.00,-1.00,"), FLOW_END), "bill_form", "states both"),
        ((INCOME.replace("12.00,,", "-12.00,,"), FLOW_END), "bill_form", "states 收入 -12.00"),
        ((INCOME.replace("FL1", ""), FLOW_END), "bill_form", "no 账务流水号"),
        ((INCOME.replace("2026-03-01 08", "2026-03-01T08"), FLOW_END), "bill_form", "not a time"),
        ((INCOME.replace("112.00", "112.005"), FLOW_END), "bill_form", "账户余额"),
        ((INCOME + ",", FLOW_END), "bill_form", "13 values for 12 columns"),
    ],
)
def test_a_flow_that_does_not_add_up_is_refused_with_the_place(lines: tuple[str, ...], code: str, words: str) -> None:
    found = refused(lambda: bill.parse_flows(one(*FLOW_HEAD, FLOW_HEADER, *lines)))
    assert words in str(found)
    assert found.code == code


def test_a_trade_bill_is_no_flow() -> None:
    assert refused(lambda: bill.parse_flows(one(*SAMPLE))).code == "bill_form"
