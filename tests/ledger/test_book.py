"""Posting: all or nothing, once, in its place."""

import threading
from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, text

from config import CHART_FILE
from ledger import balances, recipes
from ledger.accounts import Account, read_chart
from ledger.book import post, reverse
from ledger.errors import Conflict, NotFound, Refused
from ledger.journal import Entry, Line
from tests.ledger.conftest import EVIDENCE, NOON, payment, payment_id


def rows(book: Engine) -> int:
    with book.connect() as tx:
        return int(tx.execute(text("select count(*) from ledger.posting")).scalar_one())


def test_thousands_of_entries_are_one_batch_in_the_given_order(book: Engine) -> None:
    entries = [payment(n, book_id=1 + n % 5) for n in range(3000)]
    with book.begin() as tx:
        assert post(tx, lane=0, entries=entries, at=NOON).posted == 3000
    with book.connect() as tx:
        found = tx.execute(text("select entry_id, book_id from ledger.v_posting order by batch_id, position")).all()
        assert [tuple(row) for row in found] == [(entry.entry_id, entry.book_id) for entry in entries]
        assert tx.execute(text("select count(*), sum(entries) from ledger.batch")).one() == (1, 3000)


def test_the_same_entry_again_is_already_and_is_written_once(book: Engine) -> None:
    for expected in ((2, 0), (0, 2)):
        with book.begin() as tx:
            done = post(tx, lane=0, entries=[payment(1), payment(2)], at=NOON)
        assert (done.posted, len(done.already)) == expected
    assert rows(book) == 2


def test_a_second_proof_of_the_same_fact_on_a_later_day_is_the_same_entry(book: Engine) -> None:
    again = replace(payment(1), evidence_id=payment_id(77), booked_on=date(2026, 3, 3))
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(1)], at=NOON)
        assert post(tx, lane=0, entries=[again], at=NOON + timedelta(days=1)).already == {again.entry_id}


def test_a_batch_with_some_known_entries_writes_the_others(book: Engine) -> None:
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(2)], at=NOON)
        done = post(tx, lane=0, entries=[payment(1), payment(2), payment(3), payment(3)], at=NOON)
    assert (done.posted, done.already) == (2, frozenset({payment(2).entry_id}))
    assert rows(book) == 3


@pytest.mark.parametrize(
    "change", [{"book_id": 2}, {"happened_at": NOON + timedelta(seconds=1)}, {"lines": (Line(101201, 600101, 1),)}]
)
def test_the_same_key_with_other_content_is_a_conflict_and_nothing_is_written(book: Engine, change: dict[str, object]) -> None:
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(1)], at=NOON)
    with pytest.raises(Conflict, match="other content") as caught, book.begin() as tx:
        post(tx, lane=0, entries=[payment(2), replace(payment(1), **change)], at=NOON)
    assert caught.value.code == "entry_conflict"
    assert rows(book) == 1


def test_two_contents_under_one_key_in_one_call_are_a_conflict(book: Engine) -> None:
    with pytest.raises(Conflict), book.begin() as tx:
        post(tx, lane=0, entries=[payment(1), payment(1, amount_fen=501)], at=NOON)


def test_a_payment_cannot_be_booked_as_income_and_as_suspense(book: Engine) -> None:
    excess = recipes.second_payment(
        payment_id=payment_id(1), book_id=1, channel="wechat", amount_fen=500,
        happened_at=NOON, booked_on=date(2026, 3, 2), evidence_id=EVIDENCE,
    )  # fmt: skip
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(1)], at=NOON)
        with pytest.raises(Conflict):
            post(tx, lane=0, entries=[excess], at=NOON)


@pytest.mark.parametrize("book_id", [6, 99])
def test_a_book_of_another_lane_or_none_is_refused(book: Engine, book_id: int) -> None:
    with pytest.raises(Refused, match="open the book first"), book.begin() as tx:
        post(tx, lane=0, entries=[payment(1, book_id=book_id)], at=NOON)
    assert rows(book) == 0


@pytest.mark.parametrize(
    "line",
    [Line(101201, 600101, 0), Line(101201, 600101, -5), Line(101201, 101201, 5), Line(1, 600101, 5), Line(101201, 600101, 10**12)],
)
def test_an_impossible_posting_never_reaches_the_database(book: Engine, line: Line) -> None:
    with pytest.raises(ValueError, match="not a posting"), book.begin() as tx:
        post(tx, lane=0, entries=[replace(payment(1), lines=(line,))], at=NOON)


def test_a_batch_over_its_limit_is_refused(book: Engine) -> None:
    with pytest.raises(Refused, match="at most"), book.begin() as tx:
        post(tx, lane=0, entries=[payment(1)] * 10_001, at=NOON)


@dataclass
class Race:
    """Writers of the same and of other keys at the same time; what each was told."""

    book: Engine
    posted: list[int] = field(default_factory=list)
    start: threading.Barrier = field(default_factory=lambda: threading.Barrier(8))

    def write(self, entries: list[Entry]) -> None:
        self.start.wait()
        with self.book.begin() as tx:
            self.posted.append(post(tx, lane=0, entries=entries, at=NOON).posted)


def test_eight_writers_of_overlapping_entries_write_each_once(book: Engine) -> None:
    race = Race(book)
    threads = [threading.Thread(target=race.write, args=([payment(n) for n in range(k, k + 20)],)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(race.posted) == rows(book) == 27


def test_a_reversal_cancels_the_entry_and_happens_once(book: Engine) -> None:
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(1), payment(2)], at=NOON)
    for expected in (1, 0):
        with book.begin() as tx:
            done = reverse(
                tx,
                lane=0,
                entry_id=payment(1).entry_id,
                happened_at=NOON,
                booked_on=date(2026, 3, 3),
                evidence_id=EVIDENCE,
                at=NOON,
            )
            assert done.posted == expected
    with book.connect() as tx:
        left = {b.account: b.debit_fen - b.credit_fen for b in balances.live(tx, lane=0)}
    assert left == {Account.CLEARING_WECHAT: 500, Account.INCOME: -500}


def test_a_reversal_told_again_at_another_time_is_already(book: Engine) -> None:
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(1)], at=NOON)
        for hours, expected in ((0, 1), (30, 0)):
            at = NOON + timedelta(hours=hours)
            done = reverse(
                tx, lane=0, entry_id=payment(1).entry_id, happened_at=at, booked_on=at.date(), evidence_id=EVIDENCE, at=at
            )
            assert done.posted == expected


def test_a_reversal_is_never_reversed_and_an_unknown_entry_is_told_so(book: Engine) -> None:
    reversal = replace(payment(1), kind=129)
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(1)], at=NOON)
        reverse(
            tx, lane=0, entry_id=payment(1).entry_id, happened_at=NOON, booked_on=date(2026, 3, 2), evidence_id=EVIDENCE, at=NOON
        )
        with pytest.raises(ValueError, match="itself a reversal"):
            reverse(tx, lane=0, entry_id=reversal.entry_id, happened_at=NOON, booked_on=NOON.date(), evidence_id=EVIDENCE, at=NOON)
        with pytest.raises(NotFound):
            reverse(
                tx, lane=0, entry_id=payment(9).entry_id, happened_at=NOON, booked_on=NOON.date(), evidence_id=EVIDENCE, at=NOON
            )


def test_the_chart_explains_exactly_the_accounts_the_recipes_name() -> None:
    chart = read_chart(CHART_FILE.read_bytes())
    assert {entry.code for entry in chart.account} == set(Account)


def test_a_chart_that_lacks_an_account_is_refused() -> None:
    with pytest.raises(ValueError, match="disagree"):
        read_chart(CHART_FILE.read_bytes().replace(b"660301", b"660399"))
