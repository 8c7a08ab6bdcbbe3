"""Statements: every entry of the operator's day, numbered without a gap, at one seal however long the reading takes."""

from datetime import date, datetime, timedelta

import msgspec
import pytest

from ledger import book, checkpoint, extracts, tree
from ledger.errors import NotFound, Refused
from ledger.journal import EntryKind
from ledger.proofs import inclusion
from reconciliation import statements
from reconciliation.statements import Statement, StatementCursorRefused, StatementTotal
from tests.payments.conftest import AT
from tests.reconciliation.conftest import DAY, IDS, City

LATE = datetime.fromisoformat("2026-03-02T23:59:30+08:00")
NEXT = datetime.fromisoformat("2026-03-03T00:00:10+08:00")


def read(city: City, *, operator: int = 1, day: date = DAY, cursor: str | None = None, limit: int = 500) -> Statement:
    with city.db.begin() as tx:
        of = statements.party(tx, operator_code=f"op-{operator}")
        return statements.read(tx, of=of, booked_on=day, cursor=cursor, limit=limit)


def pages(city: City, *, limit: int, day: date = DAY) -> list[Statement]:
    found = [read(city, day=day, limit=limit)]
    while found[-1].cursor is not None:
        found.append(read(city, day=day, cursor=found[-1].cursor, limit=limit))
    return found


def test_before_the_first_seal_a_statement_is_empty_and_says_so(city: City) -> None:
    city.pay()
    statement = read(city)
    assert (statement.tree_size, statement.checkpoint, statement.lines, statement.cursor) == (0, None, [], None)


def test_a_line_tells_the_lot_the_charge_and_the_receipt(city: City) -> None:
    due = city.pay(amount_fen=900)
    city.seal()
    (line,) = read(city).lines
    assert (line.number, line.leaf_index, line.kind, line.channel, line.amount_fen) == (1, 0, "payment", "wechat", 900)
    assert (line.receipt, line.lot_code, line.charge_serial, line.happened_at) == (due.order_no, "lot-1", "S1", AT)


def test_a_statement_shows_its_operator_only(city: City) -> None:
    city.pay()
    city.pay(lot=1, amount_fen=77)
    city.pay()
    city.seal()
    assert [line.amount_fen for line in read(city, operator=2).lines] == [77]
    assert [(line.number, line.leaf_index) for line in read(city).lines] == [(1, 0), (2, 2)]


def test_totals_are_per_channel_and_kind_over_all_pages(city: City) -> None:
    first = city.order()
    city.take(first, city.again(first), city.order(amount_fen=300))
    city.seal()
    statement = read(city, limit=1)
    assert statement.totals == [StatementTotal("wechat", "payment", 2, 1500), StatementTotal("wechat", "suspense", 1, 1200)]
    assert len(statement.lines) == 1


def test_pages_join_without_gap_or_repeat_across_seals_and_batches(city: City) -> None:
    for seals in range(4):
        for _ in range(3):
            city.take(*[city.order(lot=n % 2, amount_fen=10 + n) for n in range(seals + 2)])
        city.seal()
    for limit in (1, 2, 3, 7, 100):
        lines = [line for page in pages(city, limit=limit) for line in page.lines]
        assert [line.number for line in lines] == list(range(1, len(lines) + 1))
        assert lines == read(city).lines
    assert len({page.checkpoint for page in pages(city, limit=2)}) == 1


def test_a_seal_over_midnight_keeps_the_numbers_of_both_days_right(city: City) -> None:
    """One seal holds entries of two business dates; each statement shows its own, under the numbers of the one count."""
    evening, morning = [city.order(at=LATE) for _ in range(3)], [city.order(at=NEXT) for _ in range(3)]
    for late, early in zip(evening, morning, strict=True):
        city.take(early, happened_at=NEXT, at=NEXT)
        city.take(late, happened_at=LATE, at=LATE)
    city.seal()
    today, tomorrow = read(city), read(city, day=DAY + timedelta(days=1))
    assert [line.number for line in today.lines] == [2, 4, 6]
    assert [line.number for line in tomorrow.lines] == [1, 3, 5]
    assert [line.number for page in pages(city, limit=1) for line in page.lines] == [2, 4, 6]


def test_a_reading_begun_stays_at_its_seal_while_payments_go_on(city: City) -> None:
    city.take(*[city.order() for _ in range(4)])
    city.seal()
    first = read(city, limit=2)
    city.take(*[city.order() for _ in range(3)])
    city.seal()
    second = read(city, cursor=first.cursor, limit=2)
    assert (second.tree_size, second.totals, second.checkpoint) == (first.tree_size, first.totals, first.checkpoint)
    assert ([line.number for line in second.lines], second.cursor) == ([3, 4], None)
    assert len(read(city).lines) == 7


def test_every_line_is_proven_by_the_checkpoint_of_the_statement(city: City) -> None:
    city.take(*[city.order(lot=n % 2) for n in range(5)])
    city.seal()
    statement = read(city)
    assert statement.checkpoint is not None
    signed = checkpoint.read(statement.checkpoint, verifier_key=city.signer.verifier_key())
    assert signed.size == statement.tree_size
    with city.db.begin() as tx:
        for line in statement.lines:
            proof = inclusion(tx, lane=0, entry_id=line.entry_id, size=statement.tree_size)
            assert proof.index == line.leaf_index
            assert tree.inclusion_holds(proof.leaf, index=proof.index, size=signed.size, path=proof.path, root=signed.root)


def test_a_reversed_payment_stays_and_its_reversal_is_a_line_of_its_own(city: City) -> None:
    due = city.pay()
    with city.db.begin() as tx:
        entry = IDS.new(AT, "evidence")
        original = type(entry)(int=due.attempt.payment_id.int | EntryKind.PAYMENT)
        book.reverse(tx, lane=0, entry_id=original, happened_at=AT, booked_on=DAY, evidence_id=entry, at=AT)
    city.seal()
    assert [(line.kind, line.receipt) for line in read(city).lines] == [
        ("payment", due.order_no),
        ("payment_reversed", due.order_no),
    ]


def test_a_cursor_of_another_operator_day_or_making_is_refused(city: City) -> None:
    city.take(*[city.order() for _ in range(3)])
    city.seal()
    cursor = read(city, limit=1).cursor
    assert cursor is not None
    for asked in (
        {"operator": 2, "cursor": cursor},
        {"day": DAY + timedelta(days=1), "cursor": cursor},
        {"cursor": "x"},
        {"cursor": ""},
        {"cursor": "停"},
        {"cursor": cursor[:-4] + "AAAA" + cursor[-4:]},
    ):
        with pytest.raises(StatementCursorRefused):
            read(city, **asked)


def test_a_cursor_with_a_size_that_was_never_sealed_is_refused(city: City) -> None:
    city.take(*[city.order() for _ in range(3)])
    city.seal()
    with city.db.begin() as tx:
        of = statements.party(tx, operator_code="op-1")
    with pytest.raises(StatementCursorRefused):
        read(city, cursor=statements._cursor(of, DAY, 2, 1))


@pytest.mark.parametrize("limit", [0, -1, statements.LIMIT_MAX + 1])
def test_a_limit_out_of_bounds_is_refused(city: City, limit: int) -> None:
    with pytest.raises(Refused):
        read(city, limit=limit)


def test_an_operator_that_is_not_there_is_not_found(city: City) -> None:
    with pytest.raises(NotFound):
        read(city, operator=9)


def test_a_statement_is_plain_json(city: City) -> None:
    city.pay()
    city.seal()
    decoded = msgspec.json.decode(msgspec.json.encode(read(city)))
    assert decoded["booked_on"] == "2026-03-02"
    assert decoded["lines"][0]["happened_at"] == "2026-03-02T04:00:00Z"


def test_a_seal_that_is_not_there_is_not_found(city: City) -> None:
    with city.db.begin() as tx:
        assert extracts.seal(tx, lane=0) is None
        with pytest.raises(NotFound):
            extracts.seal(tx, lane=0, tree_size=5)
