"""Large bills: whatever their form, they come, are unpacked and are read in memory that does not grow with them."""

import gzip
import random
import tracemalloc
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest

from benchmarks.bill_files import FORMS, REFUND_EVERY, rows
from gateways import parts
from gateways.contract import BillRefused
from gateways.etc import recon
from gateways.spool import Spool
from gateways.wechat import files

MANY = {"wechat": 60_000, "alipay": 40_000, "unionpay": 40_000, "etc": 40_000}
"""As lines in memory 40,000 rows would be 25 MB."""
FEW = 1_000


@pytest.mark.parametrize("name", FORMS)
def test_what_is_written_row_by_row_is_read_back_line_by_line(name: str, tmp_path: Path) -> None:
    FORMS[name].write(tmp_path / "bill", FEW)
    with (tmp_path / "bill").open("rb") as file:
        lines = list(FORMS[name].read(file))
    assert [line.line for line in lines] == list(range(1, FEW + 1))
    assert [line.amount_fen for line in lines] == [row.amount_fen for row in rows(FEW)]
    assert [line.order_no for line in lines] == [row.order_no for row in rows(FEW)]
    assert [line.refund_no for line in lines if line.kind == "refund"] == [row.refund_no for row in rows(FEW) if row.is_refund]
    assert sum(line.fee_fen for line in lines) == sum(-row.fee_fen if row.is_refund else row.fee_fen for row in rows(FEW))
    assert sum(line.kind == "refund" for line in lines) == FEW // REFUND_EVERY


@pytest.mark.parametrize("name", FORMS)
def test_reading_many_rows_needs_no_memory_for_them(name: str, tmp_path: Path) -> None:
    FORMS[name].write(tmp_path / "bill", MANY[name])
    with (tmp_path / "bill").open("rb") as file:
        tracemalloc.start()
        try:
            count = sum(1 for _ in FORMS[name].read(file))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == MANY[name]
    assert peak < 4_000_000


@pytest.mark.parametrize("name", FORMS)
def test_a_cut_large_file_is_refused_though_its_first_lines_were_read(name: str, tmp_path: Path) -> None:
    FORMS[name].write(tmp_path / "bill", FEW)
    whole = (tmp_path / "bill").read_bytes()
    for part in (0.2, 0.6, 0.99):
        with pytest.raises(BillRefused):
            list(FORMS[name].read(BytesIO(whole[: int(len(whole) * part)])))


# Parts


def cut(content: bytes, length: int) -> Iterator[bytes]:
    return (content[at : at + length] for at in range(0, len(content), length))


@pytest.mark.parametrize("length", [1, 7, 1_000_000])
def test_a_packed_file_is_unpacked_however_it_is_cut(length: int) -> None:
    content = random.Random(1).randbytes(5_000) + b"0" * 50_000
    for packed in (gzip.compress(content), content):
        assert b"".join(files.unpacked_parts(cut(packed, length))) == content


def test_no_part_of_a_file_that_swells_is_larger_than_it_may_be() -> None:
    swollen = gzip.compress(bytes(5 * parts.PART_BYTES + 1))
    found = [len(part) for part in parts.gunzipped([swollen], bytes_max=6 * parts.PART_BYTES)]
    assert (sum(found), max(found)) == (5 * parts.PART_BYTES + 1, parts.PART_BYTES)
    with pytest.raises(BillRefused) as refused:
        list(parts.gunzipped([swollen], bytes_max=2 * parts.PART_BYTES))
    assert refused.value.code == "bill_too_large"


def test_a_packed_file_that_is_cut_or_damaged_is_refused() -> None:
    packed = gzip.compress(random.Random(1).randbytes(5_000))
    damaged = packed[:2_000] + bytes([packed[2_000] ^ 1]) + packed[2_001:]
    for content in (packed[:-1], packed[:10], damaged, damaged[:-4]):
        with pytest.raises(BillRefused) as refused:
            list(parts.gunzipped(cut(content, 100), bytes_max=10_000))
        assert refused.value.code == "bill_cut"


def test_looking_at_the_begin_takes_nothing_away() -> None:
    for length in (1, 2, 5, 9):
        head, again = parts.begun(cut(b"PK345678", length), 4)
        assert (head, b"".join(again)) == (b"PK34", b"PK345678")
    assert parts.begun([], 4)[0] == b""
    assert parts.begun([b"P"], 4)[0] == b"P"


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    endless = b"`" + b"1" * 1_000_000
    with pytest.raises(BillRefused, match="line of more than"):
        list(files.text_lines(BytesIO(endless)))
    with pytest.raises(BillRefused, match="line of more than"):
        recon.read(endless, merchant_no="M", clear_on=date(2026, 3, 2))


# On the way


def test_a_spool_gives_back_what_was_written_and_its_digest() -> None:
    spool = Spool.of([b"ab", b"", b"cd"])
    assert (spool.size, spool.content(), list(spool.parts(3))) == (4, b"abcd", [b"abc", b"d"])
    assert spool.digest.hex() == "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"
    assert spool.open().read(2) == b"ab"
    assert spool.content() == b"abcd"


# What stands twice


def test_names_that_only_seem_to_stand_twice_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reader keeps a mark of each name; where two names have one mark, it looks again."""
    monkeypatch.setattr(recon, "hash", lambda _: 7, raising=False)
    FORMS["etc"].write(tmp_path / "bill", FEW)
    content = (tmp_path / "bill").read_bytes()
    assert sum(1 for _ in FORMS["etc"].read(BytesIO(content))) == FEW
    written = content.split(b"\n")
    number, other = (row.split(b"|")[3] for row in (written[1], written[2]))
    twice = content.replace(other, number)
    with pytest.raises(BillRefused, match=r"row 2: .* stands twice"):
        list(FORMS["etc"].read(BytesIO(twice)))
