"""Dense numbers: what a lot hides or loses leaves a gap."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from payments import charges
from payments.lot_records import numbers, openings, stays, takings
from payments.lot_records.openings import NewOpening
from payments.lot_records.stays import NewStay
from payments.lot_records.takings import NewTaking
from payments.lots import Lot
from payments.orders import RandomTokens
from tests.payments.conftest import AT, IDS, make_city, new_charge


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def come(tx: Connection, lot: Lot, *given: int, **other: Any) -> list[str]:
    """Post stays with these numbers."""
    posted = [NewStay(serial=f"S{n}", number=n, plate=f"苏B{n % 100_000:05d}", entered_at=AT - timedelta(hours=1)) for n in given]
    answers = stays.post(tx, lane=0, lot=lot, stays=posted, at=other.get("at", AT), ids=IDS)
    return [answer.reason or answer.outcome for answer in answers]


def gaps(tx: Connection, lot: Lot) -> list[tuple[str, int, int]]:
    return [(gap.series, gap.first, gap.last) for gap in numbers.gaps(tx, lot_id=lot.lot_id)]


def test_a_dense_count_has_no_gaps(tx: Connection, lot: Lot) -> None:
    come(tx, lot, 1, 2, 3)
    assert gaps(tx, lot) == []
    [count] = numbers.counts(tx, lot_id=lot.lot_id)
    assert (count.series, count.last_number, count.numbers, count.missing) == ("stay", 3, 3, 0)


def test_what_is_missing_is_told_as_gaps_since_the_one_behind_came(tx: Connection, lot: Lot) -> None:
    come(tx, lot, 3, 4)
    later = AT + timedelta(minutes=3)
    come(tx, lot, 9, at=later)
    assert gaps(tx, lot) == [("stay", 1, 2), ("stay", 5, 8)]
    assert [gap.since for gap in numbers.gaps(tx, lot_id=lot.lot_id)] == [AT, later]


def test_a_late_record_fills_its_gap(tx: Connection, lot: Lot) -> None:
    come(tx, lot, 1, 4)
    come(tx, lot, 3)
    assert gaps(tx, lot) == [("stay", 2, 2)]
    come(tx, lot, 2)
    assert gaps(tx, lot) == []


def test_a_number_is_used_once_and_the_record_that_repeats_it_is_not_kept(tx: Connection, lot: Lot) -> None:
    come(tx, lot, 1)
    second = NewStay(serial="other", number=1, plate="苏B54321", entered_at=AT)
    third = NewStay(serial="third", number=2, plate="苏B54322", entered_at=AT)
    fourth = NewStay(serial="fourth", number=2, plate="苏B54323", entered_at=AT)
    answers = stays.post(tx, lane=0, lot=lot, stays=[second, third, fourth], at=AT, ids=IDS)
    assert [answer.reason or answer.outcome for answer in answers] == ["number_taken", "created", "number_taken"]
    assert tx.execute(text("select count(*) from payments.stay")).scalar_one() == 2


def test_each_kind_has_a_count_of_its_own_and_each_lot(tx: Connection, lot: Lot) -> None:
    other = make_city(tx, number=2)
    come(tx, lot, 1)
    come(tx, other, 1)
    openings.post(
        tx, lane=0, lot=lot, at=AT, ids=IDS,
        openings=[NewOpening(serial="O1", number=1, at=AT, lane="B", direction="out", reason="vip")],
    )  # fmt: skip
    takings.post(
        tx, lane=0, lot=lot, body=b"[]", at=AT, ids=IDS, tokens=RandomTokens(),
        takings=[NewTaking(serial="T1", number=1, channel="cash", amount_fen=1, taken_at=AT, evidence_text="1")],
    )  # fmt: skip
    charges.post(tx, lane=0, lot=lot, charges=[new_charge("S1", number=1)], at=AT, ids=IDS)
    found = {count.series: (count.last_number, count.numbers) for count in numbers.counts(tx, lot_id=lot.lot_id)}
    assert found == {"charge": (1, 1), "opening": (1, 1), "stay": (1, 1), "taking": (1, 1)}


def test_charges_carry_numbers_too(tx: Connection, lot: Lot) -> None:
    def post(*given: Any) -> list[str]:
        answers = charges.post(tx, lane=0, lot=lot, charges=given, at=AT, ids=IDS)
        return [answer.reason or answer.outcome for answer in answers]

    assert post(new_charge("S1", number=1), new_charge("S2", number=3), new_charge("S3")) == ["created"] * 3
    assert gaps(tx, lot) == [("charge", 2, 2)]
    assert post(new_charge("S1", number=1), new_charge("S1")) == ["already", "already"]
    assert post(new_charge("S3", number=2)) == ["content_differs"]
    assert post(new_charge("S4", number=3), new_charge("S5", number=0)) == ["number_taken", "number_invalid"]


def test_what_was_numbered_cannot_be_numbered_otherwise(tx: Connection, lot: Lot) -> None:
    come(tx, lot, 1)
    for change in ("update payments.lot_record_number set number = 2", "delete from payments.lot_record_number"):
        with pytest.raises(DBAPIError), tx.begin_nested():
            tx.execute(text(change))
    assert gaps(tx, lot) == []
