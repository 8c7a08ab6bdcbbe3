"""A reconciliation file is read exactly or refused whole; its fees are rounded charge by charge."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateways.contract import BillRefused, RefundState
from gateways.etc import recon
from gateways.etc.recon import Kind, Recon, ReconLine, State
from tests.gateways.etc_cases import CLEAR_ON, LOT_NO, MESSAGE_NO, NOW, PAID_AT, RECORD

MERCHANT_NO = "M-1620000007"
BY_CARD = ReconLine(
    kind=Kind.PAY,
    line_no=RECORD.charge_id,
    order_no="",
    message_no=MESSAGE_NO,
    trans_no="1",
    happened_at=PAID_AT,
    lot_no=LOT_NO,
    plate_masked="苏B****45",
    gross_fen=1500,
    fee_fen=9,
    net_fen=1491,
    state=State.CLEARED,
)
BY_PLATE = replace(BY_CARD, line_no="32010200012025061814343408", order_no="P1", message_no="", trans_no="")
REFUND = replace(BY_PLATE, kind=Kind.REFUND, line_no="R1", gross_fen=-500, fee_fen=-3, net_fen=-497, original_no=BY_PLATE.line_no)
BAD = replace(BY_CARD, line_no="32010200012025061814343409", trans_no="2", state=State.BAD)
PENDING = replace(BY_CARD, line_no="32010200012025061814343410", trans_no="3", state=State.PENDING)
ADJUST = replace(BY_PLATE, kind=Kind.ADJUST, line_no="A1", gross_fen=-10, fee_fen=0, net_fen=-10)
GOLDEN = """\
H|WXETC-1|M-1620000007|2025-06-19|2025-06-18 15:00:00
D|PAY|32010200012025061814343407||00000000000000000042|1|2025-06-18 14:34:34|3201020001|苏B****45|1500|9|1491|CLEARED|
D|PAY|32010200012025061814343408|P1|||2025-06-18 14:34:34|3201020001|苏B****45|1500|9|1491|CLEARED|
D|REFUND|R1|P1|||2025-06-18 14:34:34|3201020001|苏B****45|-500|-3|-497|CLEARED|32010200012025061814343408
T|3|2500|15|2485
"""
LINES = (BY_CARD, BY_PLATE, REFUND)


def file_of(*lines: ReconLine) -> Recon:
    return Recon(MERCHANT_NO, CLEAR_ON, NOW, lines)


def read(content: bytes, merchant_no: str = MERCHANT_NO, clear_on: date = CLEAR_ON) -> Recon:
    return recon.read(content, merchant_no=merchant_no, clear_on=clear_on)


def test_the_file_to_the_letter() -> None:
    assert recon.write(file_of(*LINES)).decode() == GOLDEN
    assert read(GOLDEN.encode()) == file_of(*LINES)


def test_an_empty_day_has_head_and_total_only() -> None:
    content = recon.write(file_of())
    assert content.decode() == GOLDEN.splitlines()[0] + "\nT|0|0|0|0\n"
    bill = recon.parse(content, merchant_no=MERCHANT_NO, clear_on=CLEAR_ON)
    assert (bill.lines, bill.total_fen, bill.refund_fen, bill.fee_fen) == ((), 0, 0, 0)


def test_the_neutral_bill_has_payments_and_refunds_that_are_cleared_and_bad_debts_beside() -> None:
    bill = recon.bill_of(file_of(*LINES, BAD, PENDING, ADJUST))
    by_card, by_plate, refund, bad = bill.lines
    assert (bad.kind, bad.trade_no, bad.amount_fen, bad.fee_fen) == ("bad_debt", BAD.line_no, BAD.gross_fen, 0)
    assert (by_card.kind, by_card.order_no, by_card.trade_no) == ("payment", RECORD.charge_id, RECORD.charge_id)
    assert (by_plate.order_no, by_plate.trade_no, by_plate.refund_no) == ("P1", "P1", None)
    assert (refund.kind, refund.amount_fen, refund.fee_fen, refund.refund_no) == ("refund", 500, -3, "R1")
    assert [line.refund_state for line in bill.lines] == [None, None, RefundState.DONE, None]
    assert (refund.trade_no, refund.order_no, refund.line) == ("P1", "P1", 3)
    assert by_card.happened_at == datetime(2025, 6, 18, 6, 34, 34, tzinfo=UTC)
    assert (bill.total_fen, bill.refund_fen, bill.fee_fen) == (3000, 500, 15)


def test_what_moves_no_money_is_told_apart() -> None:
    told = read(recon.write(file_of(*LINES, BAD, PENDING, ADJUST)))
    assert told.of(Kind.PAY, State.BAD) == (BAD,)
    assert told.of(Kind.PAY, State.PENDING) == (PENDING,)
    assert told.of(Kind.ADJUST, State.CLEARED) == (ADJUST,)


AMOUNTS = st.integers(0, 10_000_000)


@given(st.lists(st.tuples(AMOUNTS, st.integers(0, 60), st.sampled_from(State)), max_size=20))
def test_whatever_is_written_is_read_back(rows: list[tuple[int, int, State]]) -> None:
    lines = [
        replace(
            BY_PLATE,
            line_no=f"{number:026d}",
            order_no=f"P{number}",
            gross_fen=gross,
            fee_fen=recon.channel_fee_fen(gross, rate),
            net_fen=gross - recon.channel_fee_fen(gross, rate),
            state=state,
        )
        for number, (gross, rate, state) in enumerate(rows)
    ]
    assert read(recon.write(file_of(*lines))).lines == tuple(lines)


def test_every_cut_of_a_file_is_refused() -> None:
    whole = GOLDEN.encode()
    for length in range(len(whole)):
        with pytest.raises(BillRefused):
            read(whole[:length])


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("WXETC-1", "WXETC-2", "bill_form", "begins with"),
        ("H|", "\ufeffH|", "bill_form", "begins with"),
        ("M-1620000007|", "M-2|", "bill_form", "is of M-2"),
        ("2025-06-19|", "2025-06-20|", "bill_form", "for 2025-06-20"),
        ("15:00:00", "15:00", "bill_form", "row 0: .* is not a time"),
        ("D|PAY", "D|GIFT", "bill_form", "row 1: 'GIFT'"),
        ("D|PAY", "X|PAY", "bill_form", "row 1 is not a D line"),
        ("CLEARED|\n", "CLEARED\n", "bill_form", "14 fields"),
        ("|CLEARED", "|DONE", "bill_form", "row 1: 'DONE'"),
        ("|1500|", "|15.00|", "bill_form", "'15.00' is not a number"),
        ("|1500|", "|01500|", "bill_form", "not a number"),
        ("|1500|", "|-0|", "bill_form", "not a number"),
        ("|1500|", "|１500|", "bill_form", "not a number"),
        ("|1500|9|1491", "|1500|9|1490", "bill_form", "net amount"),
        ("|1500|9|1491", "|-1500|9|-1509", "bill_form", "not negative"),
        ("|1500|9|1491", "|1501|9|1492", "bill_cut", "grossFen 2500"),
        ("|1500|9|1491", "|1500|8|1492", "bill_cut", "feeFen 15"),
        ("T|3|", "T|4|", "bill_cut", "detailCount 4"),
        ("T|3|", "T|03|", "bill_form", "T line: '03'"),
        ("T|3|2500|15|2485", "T|3|2500|15", "bill_form", "4 fields"),
        ("T|3|2500|15|2485", "T|3|2500|15|2486", "bill_cut", "netFen 2486"),
        ("-500|-3|-497", "500|-3|503", "bill_form", "negative"),
        ("|1|2025", "|0|2025", "bill_form", "not a transId"),
        ("32010200012025061814343407|", "3201|", "bill_form", "26 digits"),
        (
            "32010200012025061814343407||00000000000000000042|1|",
            "32010200012025061814343407|P1|||",
            "bill_form",
            "row 2: PAY P1 stands twice",
        ),
        ("CLEARED|32010200012025061814343408", "CLEARED|", "bill_form", "gives back"),
        ("43408|P1|", "43408||", "bill_form", "an order or a package"),
        ("0042|1|", "0042||", "bill_form", "come together"),
        ("0042|1|", "042|1|", "bill_form", "not a messageId"),
        ("|3201020001|", "|32|", "bill_form", "not a parkId"),
        ("14:34:34", "24:34:34", "bill_form", "row 1: .* is not a time"),
        ("\n", "\r\n", "bill_form", "row 0"),
    ],
)
def test_a_file_that_is_not_in_order_is_refused_with_the_place(old: str, new: str, code: str, words: str) -> None:
    with pytest.raises(BillRefused, match=words) as refused:
        read(GOLDEN.replace(old, new, 1).encode())
    assert refused.value.code == code


@pytest.mark.parametrize("content", [b"\n", b"\xff\n", b"H|WXETC-1\n", GOLDEN.encode() + b"D|more\n", GOLDEN.encode() + b"\n"])
def test_what_is_no_file_is_refused(content: bytes) -> None:
    with pytest.raises(BillRefused):
        read(content)


def test_a_file_of_another_merchant_or_day_is_refused() -> None:
    with pytest.raises(BillRefused, match="not M-2 for"):
        read(GOLDEN.encode(), merchant_no="M-2")
    with pytest.raises(BillRefused, match="for 2025-06-20"):
        read(GOLDEN.encode(), clear_on=date(2025, 6, 20))


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recon, "FILE_BYTES_MAX", 10)
    beside = recon.digest_file("f", GOLDEN.encode())
    for refused in (lambda: read(GOLDEN.encode()), lambda: recon.check_digest(GOLDEN.encode(), beside=beside, name="f")):
        with pytest.raises(BillRefused) as too_large:
            refused()
        assert too_large.value.code == "bill_too_large"


@pytest.mark.parametrize(
    "line",
    [
        replace(BY_PLATE, plate_masked="a|b"),
        replace(BY_PLATE, plate_masked="a\n"),
        replace(BY_PLATE, net_fen=1),
        replace(BY_PLATE, line_no="1"),
    ],
)
def test_nothing_is_written_that_would_be_refused(line: ReconLine) -> None:
    with pytest.raises(ValueError, match=r"must not be written|cannot stand"):
        recon.write(file_of(line))


# Name and digest


def test_the_files_name() -> None:
    assert recon.file_name(merchant_no=MERCHANT_NO, clear_on=CLEAR_ON) == "WXETC_DETAIL_M-1620000007_20250619.txt"


def test_the_digest_lies_beside_with_two_blanks_and_the_name() -> None:
    name = "WXETC_DETAIL_M1_20250619.txt"
    assert (
        recon.digest_file(name, b"abc")
        == b"66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0  " + name.encode() + b"\n"
    )
    recon.check_digest(b"abc", beside=recon.digest_file(name, b"abc"), name=name)
    recon.check_digest(
        b"abc", beside=recon.digest_file(name, b"abc").upper().replace(name.upper().encode(), name.encode())[:-1], name=name
    )


@pytest.mark.parametrize(
    "beside",
    [b"", b"\xff", b"0" * 64 + b"  f", b"0" * 64 + b" f\n", recon.digest_file("g", b"abc"), recon.digest_file("f", b"abd")],
)
def test_a_file_without_its_own_digest_is_refused(beside: bytes) -> None:
    with pytest.raises(BillRefused) as refused:
        recon.check_digest(b"abc", beside=beside, name="f")
    assert refused.value.code == "bill_digest"


# Fees


@pytest.mark.parametrize(
    ("amount_fen", "rate", "fee_fen"),
    [
        (0, 60, 0),
        (83, 60, 0),
        (84, 60, 1),
        (1500, 60, 9),
        (250, 60, 2),
        (-250, 60, -2),
        (249, 60, 1),
        (10_000, 1, 1),
        (5_000, 1, 1),
        (4_999, 1, 0),
    ],
)
def test_the_fee_is_rounded_half_up_to_the_fen(amount_fen: int, rate: int, fee_fen: int) -> None:
    assert recon.channel_fee_fen(amount_fen, rate) == fee_fen


@given(st.integers(0, 10**9), st.integers(0, 10_000))
def test_a_refund_gives_back_the_fee_of_the_same_amount(amount_fen: int, rate: int) -> None:
    assert recon.channel_fee_fen(-amount_fen, rate) == -recon.channel_fee_fen(amount_fen, rate)
    assert 0 <= recon.channel_fee_fen(amount_fen, rate) <= amount_fen


def test_the_days_fee_is_the_sum_of_the_charges_fees_not_a_rate_on_the_sum() -> None:
    fees = [recon.channel_fee_fen(84, 60)] * 10
    assert (sum(fees), recon.channel_fee_fen(840, 60)) == (10, 5)


def test_lines_with_another_fee_than_agreed_are_found() -> None:
    lines = file_of(BY_CARD, replace(BY_PLATE, fee_fen=10, net_fen=1490), REFUND, ADJUST)
    assert recon.wrong_fees(lines, {LOT_NO: 60}) == (2,)
    assert recon.wrong_fees(lines, {}) == (1, 2, 3)


@pytest.mark.parametrize(("plate", "shown"), [("苏BD12345", "苏B****45"), ("苏B1", "苏**"), ("", ""), ("苏B123", "苏B*23")])
def test_a_plate_is_masked(plate: str, shown: str) -> None:
    assert recon.masked(plate) == shown
