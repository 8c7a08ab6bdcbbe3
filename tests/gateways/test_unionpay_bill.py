"""A clearing file is read exactly or refused whole: by byte offset, in GBK, with every letter of every amount looked at."""

import json
import random
import struct
import tracemalloc
import zipfile
import zlib
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.contract import BillLine, BillRefused
from gateways.unionpay import bill
from gateways.unionpay.bill import Reserved

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "unionpay.json").read_text(encoding="utf-8"))
MERCHANT_NO = "777290058110097"
DAY = date(2026, 3, 1)
ZM_NAME = f"INN26030188ZM_{MERCHANT_NO}"
ZME_NAME = f"INN26030188ZME_{MERCHANT_NO}"


def written(widths: tuple[int, ...], values: dict[int, str | bytes]) -> bytes:
    """Write a line: fields by their number from 1, text left, filled with spaces, one space between."""
    fields = [values.get(number, "") for number in range(1, len(widths) + 1)]
    raw = [field if isinstance(field, bytes) else field.encode("gbk") for field in fields]
    assert all(len(field) <= width for field, width in zip(raw, widths, strict=True))
    return b" ".join(field.ljust(width) for field, width in zip(raw, widths, strict=True))


PAYMENT: dict[int, str | bytes] = {
    1: "S22", 2: "00010000", 3: "00049992", 4: "000001", 5: "0301081006", 6: "621600******0018", 7: "000000001200", 8: "4784",
    9: "08", 10: "202603010810060000001", 12: "PK20260301000001", 13: "01", 16: "D000000000007", 17: "C000000001193", 20: "01",
    21: "01", 22: "000201", 27: "000000000000000000000", 28: MERCHANT_NO, 31: "东城停车", 34: "00000001", 35: "lot7",
}  # fmt: skip
REFUND: dict[int, str | bytes] = PAYMENT | {
    4: "000002", 5: "0301120000", 7: "000000000400", 10: "202603011200000000002", 12: "RF20260301000007", 16: "C000000000002",
    17: "D000000000398", 20: "04", 21: "00", 27: "202602281810060000009", 41: "PK20260228000009",
}  # fmt: skip
CANCEL: dict[int, str | bytes] = REFUND | {10: "202603011200000000003", 12: "CA20260301000001", 20: "31"}
DISPUTE: dict[int, str | bytes] = {
    1: "E22", 4: "000009", 5: "0301101006", 6: "621600******0018", 7: "000000001200", 8: "4784", 11: "000001", 12: "0115081006",
    13: "0115", 14: "000000001200", 15: "C000000000007", 16: "D000000001193", 18: MERCHANT_NO, 22: "保留",
}  # fmt: skip


def zm(values: dict[int, str | bytes], **changes: str | bytes) -> bytes:
    return written(bill.ZM_WIDTHS, values | {int(name.removeprefix("f")): value for name, value in changes.items()})


def zme(values: dict[int, str | bytes], **changes: str | bytes) -> bytes:
    return written(bill.ZME_WIDTHS, values | {int(name.removeprefix("f")): value for name, value in changes.items()})


def archive(
    *lines: bytes, name: str = ZM_NAME, end: bytes = b"\r\n", last_end: bool = True, others: dict[str, bytes] | None = None
) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as whole:
        whole.writestr(name, end.join(lines) + (end if last_end and lines else b""))
        for other, content in (others or {}).items():
            whole.writestr(other, content)
    return packed.getvalue()


def content(packed: bytes) -> str:
    return b64encode(zlib.compress(packed)).decode()


def read(packed: bytes) -> list[bill.Transaction]:
    return list(bill.transactions(packed, merchant_no=MERCHANT_NO, cleared_on=DAY))


def disputed(packed: bytes) -> list[bill.Dispute]:
    return list(bill.disputes(packed, merchant_no=MERCHANT_NO, cleared_on=DAY))


# The published values


def test_the_widths_are_the_published_ones_and_the_offsets_follow() -> None:
    widths = VECTORS["zm_widths"]
    assert list(bill.ZM_WIDTHS) == widths["zm"]
    assert list(bill.ZME_WIDTHS) == widths["zme"]
    starts = list(accumulate((width + 1 for width in bill.ZM_WIDTHS), initial=0))
    numbers = {
        "traceNo": 4, "txnTime": 5, "cardNo": 6, "txnAmt": 7, "queryId": 10, "orderId": 12, "settleAmt": 17, "txnType": 20,
        "origQueryId": 27, "merId": 28, "termId": 34, "merReserved": 35,
    }  # fmt: skip
    assert numbers.keys() == widths["production_offsets"].keys()
    for name, number in numbers.items():
        assert widths["production_offsets"][name] == [starts[number - 1], bill.ZM_WIDTHS[number - 1]]
    assert (starts[-1] - 1, sum(bill.ZME_WIDTHS) + 21) == (607, 339)
    assert sum(bill.ZM_RESERVED_WIDTHS) + 5 == bill.ZM_WIDTHS[41]


def test_the_published_file_content_is_base64_of_deflated_bytes() -> None:
    for vector in VECTORS["file_content"]:
        assert bill.unpacked(vector["encoded"]) == vector["plain"].encode()
        assert bill.unpacked(vector["encoded"][:10] + "\r\n" + vector["encoded"][10:] + "\n") == vector["plain"].encode()


def test_the_documents_sample_line_is_read() -> None:
    sample = (
        b"S22 00010000    00049992    000001 0301081006 621600******0018    000000001200 4784 08 202603010810060000001 00 "
        b"PK20260301000001                 01 "
    )
    line = sample + zm(PAYMENT)[len(sample) :]
    told = read(archive(line))[0]
    assert (told.query_id, told.order_no, told.amount_fen) == ("202603010810060000001", "PK20260301000001", 1200)


# Transactions


def test_a_payment_is_read() -> None:
    assert read(archive(zm(PAYMENT))) == [
        bill.Transaction(
            line=1,
            kind="payment",
            txn_type="01",
            merchant_no=MERCHANT_NO,
            sub_merchant_no="",
            query_id="202603010810060000001",
            order_no="PK20260301000001",
            original_query_id="",
            original_order_no="",
            amount_fen=1200,
            fee_fen=7,
            settled_fen=1193,
            sent_at=datetime(2026, 3, 1, 0, 10, 6, tzinfo=UTC),
            trace_no="000001",
            cleared_on=DAY,
            terminal_no="00000001",
            attach="lot7",
        )
    ]


def test_a_refund_gives_its_fee_back_and_names_the_payment() -> None:
    told = read(archive(zm(PAYMENT), zm(REFUND)))[1]
    assert (told.line, told.kind, told.amount_fen, told.fee_fen, told.settled_fen) == (2, "refund", 400, -2, -398)
    assert (told.query_id, told.order_no) == ("202603011200000000002", "RF20260301000007")
    assert (told.original_query_id, told.original_order_no) == ("202602281810060000009", "PK20260228000009")


def test_the_neutral_bill_has_payments_refunds_and_cancels() -> None:
    parsed = bill.parse(archive(zm(PAYMENT), zm(REFUND), zm(CANCEL)), merchant_no=MERCHANT_NO, cleared_on=DAY)
    payment, refund, cancel = parsed.lines
    assert payment == BillLine(
        line=1,
        kind="payment",
        merchant_no=MERCHANT_NO,
        trade_no="202603010810060000001",
        order_no="PK20260301000001",
        amount_fen=1200,
        fee_fen=7,
        happened_at=datetime(2026, 3, 1, 0, 10, 6, tzinfo=UTC),
    )
    assert (refund.kind, refund.trade_no, refund.order_no) == ("refund", "202602281810060000009", "PK20260228000009")
    assert (refund.refund_no, refund.amount_fen, refund.fee_fen) == ("RF20260301000007", 400, -2)
    assert (cancel.kind, cancel.refund_no, cancel.amount_fen) == ("revoked", "CA20260301000001", 400)
    assert (parsed.total_fen, parsed.refund_fen, parsed.fee_fen) == (1200, 800, 3)


@pytest.mark.parametrize(("code", "kind"), [("01", "payment"), ("03", "payment")])
def test_types_that_take_money_are_payments(code: str, kind: str) -> None:
    assert read(archive(zm(PAYMENT, f20=code)))[0].kind == kind


@pytest.mark.parametrize(("code", "kind"), [("04", "refund"), ("31", "revoked"), ("33", "revoked")])
def test_types_that_give_money_back_are_refunds_and_cancels(code: str, kind: str) -> None:
    assert read(archive(zm(REFUND, f20=code)))[0].kind == kind


def test_a_day_without_lines_has_an_empty_bill() -> None:
    assert bill.parse(archive(), merchant_no=MERCHANT_NO).lines == ()


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("last_end", [True, False])
def test_line_ends_do_not_matter(end: bytes, last_end: bool) -> None:
    assert len(read(archive(zm(PAYMENT), zm(REFUND), end=end, last_end=last_end))) == 2
    assert len(read(archive(zm(PAYMENT), zm(REFUND), b"", end=end, last_end=last_end))) == 2


def test_offsets_are_counted_in_bytes_not_characters() -> None:
    told = read(archive(zm(PAYMENT, f31="一二三四五六七八九十一二三四五六", f35="停车场七号", f34="00000009")))[0]
    assert (told.terminal_no, told.attach) == ("00000009", "停车场七号")


def test_a_merchants_text_that_was_cut_inside_a_character_is_read_as_far_as_it_goes() -> None:
    cut = ("x" + "停" * 16).encode("gbk")[:32]
    assert read(archive(zm(PAYMENT, f35=cut)))[0].attach == "x" + "停" * 15


@pytest.mark.parametrize(
    ("sent", "cleared", "expected"),
    [
        ("1231235959", "260101", datetime(2025, 12, 31, 15, 59, 59, tzinfo=UTC)),
        ("0101000000", "251231", datetime(2025, 12, 31, 16, 0, 0, tzinfo=UTC)),
        ("0228230001", "260301", datetime(2026, 2, 28, 15, 0, 1, tzinfo=UTC)),
        ("0229120000", "280301", datetime(2028, 2, 29, 4, 0, 0, tzinfo=UTC)),
    ],
)
def test_the_year_comes_from_the_clearing_day(sent: str, cleared: str, expected: datetime) -> None:
    packed = archive(zm(PAYMENT, f5=sent), name=f"INN{cleared}88ZM_{MERCHANT_NO}")
    assert next(bill.transactions(packed, merchant_no=MERCHANT_NO)).sent_at == expected


@pytest.mark.parametrize("blank", ["", "0000000000000", "C000000000000", "D000000000000"])
def test_a_blank_or_zero_amount_with_a_letter_is_nothing(blank: str) -> None:
    told = read(archive(zm(PAYMENT, f16=blank, f17="C000000001200")))[0]
    assert told.fee_fen == 0
    assert read(archive(zm(PAYMENT, f17=blank)))[0].settled_fen == 0


def test_a_fee_above_the_amount_turns_the_settlement_round() -> None:
    told = read(archive(zm(PAYMENT, f7="000000000001", f16="D000000000002", f17="D000000000001")))[0]
    assert (told.amount_fen, told.fee_fen, told.settled_fen) == (1, 2, -1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (zm(PAYMENT)[:-1], "606 bytes"),
        (zm(PAYMENT) + b" ", "608 bytes"),
        (zm(PAYMENT).rstrip(), "bytes"),
        (b"", "0 bytes"),
        (b"x" * 5_000, "1024 bytes"),
        (zm(PAYMENT)[:3] + b"," + zm(PAYMENT)[4:], "space between"),
        (zm(PAYMENT)[:4] + b" " + zm(PAYMENT)[4:-1], "space between"),
        (zm(PAYMENT, f7="00000000120x"), "field 7"),
        (zm(PAYMENT, f7="-00000001200"), "field 7"),
        (zm(PAYMENT, f7=""), "field 7"),
        (zm(PAYMENT, f16="X000000000007"), "field 16"),
        (zm(PAYMENT, f16="0000000000007"), "field 16"),
        (zm(PAYMENT, f16="C"), "field 16"),
        (zm(PAYMENT, f17="c000000001193"), "field 17"),
        (zm(PAYMENT, f17="D000000001193"), "other way"),
        (zm(REFUND, f17="C000000000398"), "other way"),
        (zm(CANCEL, f17="C000000000398"), "other way"),
        (zm(PAYMENT, f20="04"), "other way"),
        (zm(REFUND, f20="01"), "other way"),
        (zm(PAYMENT, f20="02"), "unknown 交易类型"),
        (zm(PAYMENT, f20=""), "unknown 交易类型"),
        (zm(PAYMENT, f28="777290058110098"), "777290058110098"),
        (zm(PAYMENT, f5="0230101006"), "field 5"),
        (zm(PAYMENT, f5=""), "field 5"),
        (zm(PAYMENT, f10=""), "names no transaction"),
        (zm(PAYMENT, f10="0" * 21), "names no transaction"),
        (zm(PAYMENT, f12=b"\xff\xff"), "not GBK"),
    ],
)
def test_a_line_that_cannot_be_believed_refuses_the_whole_file_and_is_named(line: bytes, words: str) -> None:
    with pytest.raises(BillRefused, match=words) as refused:
        read(archive(zm(PAYMENT), line, zm(REFUND)))
    assert refused.value.code == "bill_form"


def test_the_place_of_a_wrong_line_is_said() -> None:
    with pytest.raises(BillRefused, match="line 2, field 7"):
        read(archive(zm(PAYMENT), zm(PAYMENT, f7="x"), zm(REFUND)))
    with pytest.raises(BillRefused, match=f"line 3 of {ZM_NAME}"):
        read(archive(zm(PAYMENT), zm(REFUND), b"x"))


# Field 42 in its layouts

NEWER = written(bill.ZM_RESERVED_WIDTHS, {1: "C000000001193", 2: "03", 3: "1", 4: "012345678901", 5: "停车优惠"})


def test_the_newer_layout_says_more_in_the_last_field() -> None:
    line = zm(PAYMENT, f42=NEWER)
    assert bill.reserved(line) == Reserved("C000000001193", "03", "1", "012345678901", "停车优惠")
    assert read(archive(line)) == read(archive(zm(PAYMENT)))


@pytest.mark.parametrize("tail", ["", "x" * 98, "C000000001193", "0" * 98, "C00000000119x 03 1 012345678901"])
def test_the_older_layout_says_nothing_there(tail: str) -> None:
    if tail == "C000000001193":
        assert bill.reserved(zm(PAYMENT, f42=tail)) == Reserved(tail, "", "", "", "")
    else:
        assert bill.reserved(zm(PAYMENT, f42=tail)) is None


def test_a_line_of_the_older_layout_is_read_without_the_payments_number() -> None:
    older = zm(REFUND)[:476] + b"x" * 131
    told = read(archive(older))[0]
    assert (told.original_order_no, told.original_query_id) == ("", "202602281810060000009")
    assert read(archive(zm(REFUND)[:476] + "保留".encode("gbk").ljust(131)))[0].original_order_no == ""
    assert bill.reserved(older) is None
    assert bill.reserved(b"") is None


# Disputes


def test_a_dispute_is_read() -> None:
    packed = archive(zm(PAYMENT), others={ZME_NAME: zme(DISPUTE) + b"\r\n"})
    assert disputed(packed) == [
        bill.Dispute(
            line=1,
            code="E22",
            merchant_no=MERCHANT_NO,
            trace_no="000009",
            sent_at=datetime(2026, 3, 1, 2, 10, 6, tzinfo=UTC),
            amount_fen=1200,
            original_trace_no="000001",
            original_trace_time="0115081006",
            original_settle_date="0115",
            original_amount_fen=1200,
            fee_fen=-7,
            settled_fen=-1193,
            cleared_on=DAY,
        )
    ]


def test_money_that_a_dispute_takes_back_is_a_line_for_a_person() -> None:
    packed = archive(zm(PAYMENT), others={ZME_NAME: b"\r\n".join([zme(DISPUTE), zme(DISPUTE, f16="C000000001193", f5="")])})
    parsed = bill.parse(packed, merchant_no=MERCHANT_NO, cleared_on=DAY)
    _, back, again = parsed.lines
    assert back == BillLine(
        line=2,
        kind="revoked",
        merchant_no=MERCHANT_NO,
        trade_no="0000010115081006",
        order_no="",
        amount_fen=1200,
        fee_fen=-7,
        happened_at=datetime(2026, 3, 1, 2, 10, 6, tzinfo=UTC),
    )
    assert (again.line, again.kind, again.happened_at) == (3, "payment", datetime(2026, 2, 28, 16, 0, tzinfo=UTC))
    assert (parsed.total_fen, parsed.refund_fen, parsed.fee_fen) == (2400, 1200, 7 - 7 - 7)


def test_a_dispute_without_an_original_or_a_time_is_read() -> None:
    told = disputed(archive(zme(DISPUTE, f5="", f11="000000", f12="0000000000", f13="", f14="000000000000"), name=ZME_NAME))[0]
    assert told.sent_at is None
    assert (told.original_trace_no, told.original_trace_time, told.original_settle_date) == ("", "", "")
    assert told.original_amount_fen == 0
    assert disputed(archive(zme(DISPUTE, f14=""), name=ZME_NAME))[0].original_amount_fen == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (zme(DISPUTE)[:-1], "338 bytes"),
        (zm(PAYMENT), "607 bytes"),
        (zme(DISPUTE)[:3] + b"," + zme(DISPUTE)[4:], "space between"),
        (zme(DISPUTE, f18="777290058110098"), "777290058110098"),
        (zme(DISPUTE, f7=""), "field 7"),
        (zme(DISPUTE, f14="x"), "field 14"),
        (zme(DISPUTE, f15="x"), "field 15"),
        (zme(DISPUTE, f16="D0000000011 3"), "field 16"),
    ],
)
def test_a_dispute_that_cannot_be_believed_refuses_the_file(line: bytes, words: str) -> None:
    with pytest.raises(BillRefused, match=words):
        disputed(archive(zme(DISPUTE), line, name=ZME_NAME))


# The archive


def test_only_transactions_and_disputes_are_read_and_folders_and_endings_do_not_matter() -> None:
    packed = archive(
        zm(PAYMENT),
        name=f"out/{ZM_NAME}.txt",
        others={
            f"RD260301_{MERCHANT_NO}": b"summary",
            f"INN26030188ZMS_{MERCHANT_NO}": b"x",
            f"INN26030188PED_{MERCHANT_NO}": b"x",
            ZME_NAME: zme(DISPUTE),
        },
    )
    assert [(member.kind, member.cleared_on) for member in bill.members(packed)] == [("ZME", DAY), ("ZM", DAY)]
    assert (len(read(packed)), len(disputed(packed))) == (1, 1)


def test_lines_are_counted_over_all_files() -> None:
    packed = archive(zm(PAYMENT), others={f"INN26030188ZM_{MERCHANT_NO}_2": zm(REFUND)})
    assert [told.line for told in read(packed)] == [1, 2]


@pytest.mark.parametrize("name", [f"INN26023088ZM_{MERCHANT_NO}", f"INN26130188ZME_{MERCHANT_NO}"])
def test_a_file_of_no_day_is_refused(name: str) -> None:
    with pytest.raises(BillRefused, match="names no day"):
        bill.members(archive(name=name))


def test_a_file_of_another_day_is_refused() -> None:
    for reader in (bill.transactions, bill.disputes):
        with pytest.raises(BillRefused, match="not of 2026-03-02"):
            list(reader(archive(zm(PAYMENT)), merchant_no=MERCHANT_NO, cleared_on=date(2026, 3, 2)))


def test_an_archive_without_a_file_of_ours_is_refused() -> None:
    with pytest.raises(BillRefused, match="neither a ZM nor a ZME"):
        bill.members(archive(name="readme.txt"))


def test_two_files_of_one_name_are_refused() -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as whole:
        whole.writestr(ZM_NAME, zm(PAYMENT))
        with pytest.warns(UserWarning, match="Duplicate name"):
            whole.writestr(ZM_NAME, zm(REFUND))
    with pytest.raises(BillRefused, match="two files of one name"):
        bill.members(packed.getvalue())


def test_an_encrypted_file_and_an_unknown_compression_are_refused() -> None:
    encrypted = bytearray(archive(zm(PAYMENT)))
    central = encrypted.rindex(b"PK\x01\x02")
    encrypted[central + 8] |= 1
    with pytest.raises(BillRefused, match="encrypted"):
        read(bytes(encrypted))
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as whole:
        whole.writestr(ZM_NAME, zm(PAYMENT))
    with pytest.raises(BillRefused, match="unknown way"):
        read(packed.getvalue())


def test_every_cut_of_the_content_is_refused() -> None:
    whole = content(archive(zm(PAYMENT), zm(REFUND)))
    for length in range(len(whole.rstrip("="))):
        with pytest.raises(BillRefused):
            read(bill.unpacked(whole[:length]))


def test_every_cut_of_the_archive_is_refused() -> None:
    whole = archive(zm(PAYMENT), zm(REFUND))
    for length in range(len(whole)):
        with pytest.raises(BillRefused):
            read(whole[:length])


def test_no_damage_to_an_archive_raises_anything_else() -> None:
    whole = archive(zm(PAYMENT), zm(REFUND), others={ZME_NAME: zme(DISPUTE)})
    expected = (read(whole), disputed(whole))
    chance = random.Random(7)
    refused = 0
    for _ in range(3_000):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            assert (read(bytes(damaged)), disputed(bytes(damaged))) in (expected, (expected[0], []), ([], expected[1]))
        except BillRefused:
            refused += 1
    assert refused > 1_000


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bill_cut"),
        ("签", "bill_form"),
        ("\ud800", "bill_form"),
        ("!!!!", "bill_form"),
        ("eJwr", "bill_cut"),
        ("AAAA", "bill_cut"),
        (b64encode(zlib.compress(b"x") + b"more").decode(), "bill_form"),
    ],
)
def test_content_that_is_no_deflated_base64_is_refused(text: str, code: str) -> None:
    with pytest.raises(BillRefused) as refused:
        bill.unpacked(text)
    assert refused.value.code == code


def test_content_that_swells_is_refused_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bill, "ZIP_BYTES_MAX", 10_000)
    assert len(bill.unpacked(b64encode(zlib.compress(bytes(10_000))).decode())) == 10_000
    for swollen in (b64encode(zlib.compress(bytes(10_001))).decode(), "A" * 20_000):
        with pytest.raises(BillRefused, match="more than 10000 bytes") as refused:
            bill.unpacked(swollen)
        assert refused.value.code == "bill_too_large"


def test_an_archive_that_swells_or_has_too_many_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(zm(PAYMENT), zm(REFUND), others={ZME_NAME: zme(DISPUTE)})
    monkeypatch.setattr(bill, "FILE_BYTES_MAX", 2 * 609 + 339)
    assert len(bill.members(packed)) == 2
    monkeypatch.setattr(bill, "FILE_BYTES_MAX", 2 * 609 + 338)
    with pytest.raises(BillRefused, match="more than 1556 bytes"):
        bill.members(packed)
    monkeypatch.setattr(bill, "MEMBERS_MAX", 1)
    with pytest.raises(BillRefused, match="more than 1 files"):
        bill.members(packed)


def test_a_file_that_is_longer_than_it_says_is_not_read_further() -> None:
    packed = bytearray(archive(zm(PAYMENT), zm(REFUND)))
    central = packed.rindex(b"PK\x01\x02")
    struct.pack_into("<L", packed, central + 24, 609)
    with pytest.raises(BillRefused):
        read(bytes(packed))


def test_a_long_file_is_read_in_little_memory() -> None:
    rows = 20_000
    packed = BytesIO()
    line = zm(PAYMENT) + b"\r\n"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as whole, whole.open(ZM_NAME, "w") as file:
        for _ in range(rows // 1_000):
            file.write(line * 1_000)
    whole_archive = packed.getvalue()
    tracemalloc.start()
    total_fen = sum(told.amount_fen for told in bill.transactions(whole_archive, merchant_no=MERCHANT_NO))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total_fen == rows * 1200
    assert peak < 5_000_000 < rows * len(line)


numbers = st.integers(0, 999_999_999_999)


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["01", "04", "31"]), numbers, st.integers(0, 10_000),
            st.from_regex(r"[0-9A-Za-z]{8,32}", fullmatch=True),
            st.text(st.characters(codec="gbk", exclude_categories=["C"]), max_size=15), st.integers(-86_400, 86_399),
        ),
        max_size=20,
    ),
    newer=st.booleans(),
)  # fmt: skip
@settings(deadline=None)
def test_what_is_written_is_read_back_exactly(rows: list[tuple[str, int, int, str, str, int]], newer: bool) -> None:
    midnight = datetime(2026, 2, 28, 16, 0, tzinfo=UTC)
    lines, expected = [], []
    for number, (txn_type, amount_fen, fee_fen, order_no, text, seconds) in enumerate(rows, 1):
        out, back = ("C", "D") if txn_type == "01" else ("D", "C")
        settled_fen = amount_fen - fee_fen
        letter = out if settled_fen >= 0 else back
        at = midnight + timedelta(seconds=seconds)
        values: dict[int, str | bytes] = PAYMENT | {
            5: (at + timedelta(hours=8)).strftime("%m%d%H%M%S"), 7: f"{amount_fen:012d}", 10: f"{number:021d}", 12: order_no,
            16: f"{back}{fee_fen:012d}", 17: f"{letter}{abs(settled_fen):012d}", 20: txn_type, 35: text,
        }  # fmt: skip
        lines.append(zm(values | ({42: NEWER} if newer else {})))
        sign = 1 if txn_type == "01" else -1
        expected.append((number, order_no, amount_fen, sign * fee_fen, sign * settled_fen, at, text.strip(" ")))
    told = read(archive(*lines))
    assert [(t.line, t.order_no, t.amount_fen, t.fee_fen, t.settled_fen, t.sent_at, t.attach) for t in told] == expected
