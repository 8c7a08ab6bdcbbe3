"""The registry: codes are issued in batches, hang, move and end; what became of each stays to be read."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from ledger.errors import Conflict, NotFound, Refused
from payments.codes import registry
from payments.codes.records import WHOLE_LOT, Code, Place
from payments.lots import Lot
from tests.payments.conftest import AT, IDS, make_city


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def berths(count: int) -> list[Place]:
    return [Place("berth", f"A-{number:05}") for number in range(1, count + 1)]


def issue(tx: Connection, lot: Lot, places: Sequence[Place], batch: str = "first") -> list[Code]:
    return registry.issue(tx, lot=lot, batch=batch, places=places, by="wang", at=AT)


def states(tx: Connection, lot: Lot) -> list[str]:
    return [code.state for code in registry.listed(tx, lot=lot)]


def test_codes_are_numbered_densely_in_the_order_of_their_places(tx: Connection, lot: Lot) -> None:
    first = issue(tx, lot, [Place("berth", "B2"), Place("berth", "B1"), Place("lane", "东出口"), WHOLE_LOT])
    second = issue(tx, lot, [WHOLE_LOT], "second")
    assert [(code.code_no, code.place, code.place_name) for code in first] == [
        (1, "berth", "B2"), (2, "berth", "B1"), (3, "lane", "东出口"), (4, "lot", ""),
    ]  # fmt: skip
    assert [code.code_no for code in second] == [5]
    assert {code.state for code in first} == {"issued"}


def test_thousands_are_issued_in_one_statement(tx: Connection, lot: Lot) -> None:
    writes: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "insert into" in statement:
            writes.append(statement)

    event.listen(tx.engine, "before_cursor_execute", count)
    try:
        made = issue(tx, lot, berths(3_000))
    finally:
        event.remove(tx.engine, "before_cursor_execute", count)
    assert [code.code_no for code in made] == list(range(1, 3_001))
    assert len(writes) == 1


def test_the_same_batch_issued_again_gives_the_same_codes(tx: Connection, lot: Lot) -> None:
    assert issue(tx, lot, berths(3)) == issue(tx, lot, berths(3))
    assert len(registry.listed(tx, lot=lot)) == 3


def test_a_batch_issued_again_after_a_code_moved_still_gives_the_same_codes(tx: Connection, lot: Lot) -> None:
    [code] = issue(tx, lot, berths(1))
    registry.move(tx, code_no=code.code_no, to=Place("berth", "Z9"), reason="repainted", by="wang", at=AT)
    assert [(again.code_no, again.place_name) for again in issue(tx, lot, berths(1))] == [(1, "Z9")]


def test_a_batch_of_the_same_name_with_other_places_is_a_conflict(tx: Connection, lot: Lot) -> None:
    issue(tx, lot, berths(3))
    with pytest.raises(Conflict, match="choose another name"):
        issue(tx, lot, berths(2))


@pytest.mark.parametrize(
    "places",
    [
        [Place("berth", "")], [Place("lane", "  ")], [Place("lot", "A")], [Place("berth", "A\n")], [Place("berth", "A" * 25)],
        [Place("berth", "A"), Place("berth", "A")], [],
    ],
)  # fmt: skip
def test_places_that_cannot_be_printed_or_come_twice_are_refused_and_nothing_is_issued(
    tx: Connection, lot: Lot, places: list[Place]
) -> None:
    with pytest.raises(Refused):
        issue(tx, lot, places)
    assert registry.listed(tx, lot=lot) == []


def test_a_code_that_hangs_is_posted_and_saying_so_again_changes_nothing(tx: Connection, lot: Lot) -> None:
    issue(tx, lot, berths(2))
    registry.post(tx, code_nos=[1], by="li", at=AT)
    registry.post(tx, code_nos=[1, 2], by="li", at=AT)
    assert states(tx, lot) == ["posted", "posted"]
    assert [act.act for act in registry.history(tx, code_no=1)] == ["issued", "posted"]


def test_a_code_moved_within_its_lot_goes_on_at_its_new_place(tx: Connection, lot: Lot) -> None:
    issue(tx, lot, berths(1))
    registry.post(tx, code_nos=[1], by="li", at=AT)
    moved = registry.move(tx, code_no=1, to=Place("berth", "C7"), reason="berths were renumbered", by="wang", at=AT)
    assert (moved.state, moved.place_name) == ("posted", "C7")
    last = registry.history(tx, code_no=1)[-1]
    assert (last.act, last.place_name, last.reason, last.done_by) == ("moved", "C7", "berths were renumbered", "wang")


def test_a_code_carried_to_another_lot_is_moved_and_its_history_says_where(tx: Connection, lot: Lot) -> None:
    other = make_city(tx, number=2)
    issue(tx, lot, berths(1))
    moved = registry.move(tx, code_no=1, to=Place("berth", "A-00001"), reason="found", by="wang", at=AT, other_lot=other)
    assert (moved.state, moved.lot_id) == ("moved", lot.lot_id)
    assert registry.history(tx, code_no=1)[-1].lot_code == other.code


def test_replaced_codes_name_their_successors_which_stand_for_the_same_places(tx: Connection, lot: Lot) -> None:
    issue(tx, lot, berths(2))
    pairs = registry.replace(tx, lot=lot, code_nos=[2, 1], batch="new", reason="faded", by="wang", at=AT)
    assert [(old.code_no, old.state, old.successor_no) for old, _ in pairs] == [(1, "replaced", 3), (2, "replaced", 4)]
    assert [(new.state, new.place_name) for _, new in pairs] == [("issued", "A-00001"), ("issued", "A-00002")]
    assert registry.replace(tx, lot=lot, code_nos=[1, 2], batch="new", reason="faded", by="wang", at=AT) == pairs


def test_codes_of_another_lot_are_not_replaced(tx: Connection, lot: Lot) -> None:
    issue(tx, lot, berths(1))
    with pytest.raises(NotFound):
        registry.replace(tx, lot=make_city(tx, number=2), code_nos=[1], batch="new", reason="x", by="wang", at=AT)


@pytest.mark.parametrize("end", ["retired", "replaced", "reported"])
def test_a_code_that_is_over_cannot_be_posted_or_moved(tx: Connection, lot: Lot, end: str) -> None:
    issue(tx, lot, berths(1))
    if end == "replaced":
        registry.replace(tx, lot=lot, code_nos=[1], batch="new", reason="x", by="wang", at=AT)
    else:
        {"retired": registry.retire, "reported": registry.report}[end](tx, code_nos=[1], reason="x", by="wang", at=AT)
    with pytest.raises(Conflict, match=f"1 is {end}"):
        registry.post(tx, code_nos=[1], by="li", at=AT)
    with pytest.raises(Conflict, match=f"1 is {end}"):
        registry.move(tx, code_no=1, to=Place("berth", "X"), reason="x", by="li", at=AT)


def test_of_many_codes_one_that_cannot_be_posted_leaves_all_as_they_were(tx: Connection, lot: Lot) -> None:
    issue(tx, lot, berths(3))
    registry.retire(tx, code_nos=[2], reason="torn", by="wang", at=AT)
    with pytest.raises(Conflict):
        registry.post(tx, code_nos=[1, 2, 3], by="li", at=AT)
    assert states(tx, lot) == ["issued", "retired", "issued"]


@pytest.mark.parametrize("number", [9, 0, -1, 2**31, 2**40])
def test_a_number_that_no_code_has_is_not_found(tx: Connection, lot: Lot, number: int) -> None:
    issue(tx, lot, berths(1))
    with pytest.raises(NotFound, match=str(number)):
        registry.retire(tx, code_nos=[1, number], reason="x", by="wang", at=AT)
    assert states(tx, lot) == ["issued"]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201, "a\nb"])
def test_an_act_without_a_reason_is_refused(tx: Connection, lot: Lot, reason: str) -> None:
    issue(tx, lot, berths(1))
    with pytest.raises(Refused, match="reason"):
        registry.retire(tx, code_nos=[1], reason=reason, by="wang", at=AT)


def test_codes_are_read_page_by_page(tx: Connection, lot: Lot) -> None:
    issue(tx, lot, berths(5))
    assert [code.code_no for code in registry.listed(tx, lot=lot, after=2, limit=2)] == [3, 4]
    assert [code.code_no for code in registry.every(tx, lot=lot)] == [1, 2, 3, 4, 5]
    registry.retire(tx, code_nos=[4], reason="torn", by="wang", at=AT)
    assert [code.code_no for code in registry.every(tx, lot=lot, states=["retired"])] == [4]
    assert list(registry.every(tx, lot=lot, batch="other")) == []


def test_keys_in_use_are_those_of_printed_codes_that_are_still_paid_with(tx: Connection, lot: Lot) -> None:

    issue(tx, lot, berths(3))
    for key_id, code_nos in ((1, [1, 2]), (1, [2]), (2, [3]), (1, [])):
        registry.note_printing(
            tx, printing_id=IDS.new(AT, f"{key_id} {code_nos}"), lot=lot, key_id=key_id, code_nos=code_nos, form="60x60 pdf",
            by="wang", at=AT,
        )  # fmt: skip
    assert registry.keys_in_use(tx) == [(1, 3), (2, 1)]
    registry.retire(tx, code_nos=[3], reason="torn", by="wang", at=AT)
    assert registry.keys_in_use(tx) == [(1, 3)]


@pytest.mark.parametrize("table", ["code_act", "code_printing", "code_set", "code_batch"])
def test_what_was_done_to_codes_cannot_be_changed_afterwards(tx: Connection, lot: Lot, table: str) -> None:
    issue(tx, lot, berths(1))
    with pytest.raises(DBAPIError):
        tx.execute(text(f"delete from payments.{table}"))
