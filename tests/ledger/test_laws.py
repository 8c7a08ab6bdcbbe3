"""Whatever is posted, repeated, rolled back, reversed and sealed, in any order: the laws of the book hold."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, text

from ledger import balances, invariants
from ledger.book import post, reverse
from ledger.checkpoint import Signer
from ledger.journal import Entry, leaf_hash
from ledger.proofs import sealed_entries
from ledger.seal import Sealer, Witness
from tests.ledger.conftest import EVIDENCE, NOON, payment


class Book(RuleBasedStateMachine):
    """Drives a real database and keeps, beside it, what a plain dictionary says should be in it."""

    engine: Engine
    signer: Signer
    folder: Path
    runs = 0

    entries: Bundle[Entry] = Bundle("entries")

    @initialize()
    def start(self) -> None:
        type(self).runs += 1
        self.offset = type(self).runs * 100_000  # each run posts payments of its own into the shared database
        self.numbers: Iterator[int] = iter(range(self.offset, self.offset + 100_000))
        self.expected: dict[object, Entry] = {}
        with self.engine.connect() as tx:
            self.before = {(b.book_id, b.account): (b.debit_fen, b.credit_fen) for b in balances.live(tx, lane=0)}

    def sealer(self) -> Sealer:
        return Sealer(lane=0, signer=self.signer, witness=Witness(self.folder / "lane-0"))

    @rule(target=entries, amounts=st.lists(st.integers(1, 10**6), min_size=1, max_size=5), book_id=st.integers(1, 5))
    def post_new(self, amounts: list[int], book_id: int) -> MultipleResults[Entry]:
        made = [payment(next(self.numbers), book_id=book_id, amount_fen=amount) for amount in amounts]
        with self.engine.begin() as tx:
            assert post(tx, lane=0, entries=made, at=NOON).posted == len(made)
        self.expected |= {entry.entry_id: entry for entry in made}
        return multiple(*made)

    @rule(again=st.lists(entries, min_size=1, max_size=4))
    def post_again(self, again: list[Entry]) -> None:
        with self.engine.begin() as tx:
            done = post(tx, lane=0, entries=again, at=NOON)
        assert (done.posted, done.already) == (0, frozenset(entry.entry_id for entry in again))

    @rule(amount=st.integers(1, 10**6))
    def post_and_roll_back(self, amount: int) -> None:
        with self.engine.connect() as tx:
            post(tx, lane=0, entries=[payment(next(self.numbers), amount_fen=amount)], at=NOON)
            tx.rollback()

    @rule(entry=consumes(entries))
    def reverse_one(self, entry: Entry) -> None:
        with self.engine.begin() as tx:
            reverse(
                tx, lane=0, entry_id=entry.entry_id, happened_at=NOON, booked_on=date(2026, 3, 3), evidence_id=EVIDENCE, at=NOON
            )
        del self.expected[entry.entry_id]

    @rule()
    def seal(self) -> None:
        with self.engine.connect() as connection:
            sealer = self.sealer()
            while sealer.seal_once(connection, at=NOON) is not None:
                pass
            assert balances.sealed(connection, lane=0) == balances.live(connection, lane=0)
            assert invariants.check(connection) == []

    @invariant()
    def live_balances_are_what_was_posted_and_not_reversed(self) -> None:
        if not hasattr(self, "expected"):
            return
        net: dict[tuple[int, int], int] = {}
        for entry in self.expected.values():
            for line in entry.lines:
                net[entry.book_id, line.debit] = net.get((entry.book_id, line.debit), 0) + line.amount_fen
                net[entry.book_id, line.credit] = net.get((entry.book_id, line.credit), 0) - line.amount_fen
        with self.engine.connect() as tx:
            for found in balances.live(tx, lane=0):
                debit, credit = self.before.get((found.book_id, found.account), (0, 0))
                assert found.debit_fen - debit - (found.credit_fen - credit) == net.get((found.book_id, found.account), 0)


def test_the_laws_hold_for_any_history(book: Engine, signer: Signer, tmp_path: Path) -> None:
    Book.engine, Book.signer, Book.folder = book, signer, tmp_path
    steps = settings(
        max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    run_state_machine_as_test(Book, settings=steps)
    with book.connect() as connection:
        sealer = Sealer(lane=0, signer=signer, witness=Witness(tmp_path / "lane-0"))
        while sealer.seal_once(connection, at=NOON) is not None:
            pass
        assert invariants.check(connection) == []
        first = connection.execute(
            text("select leaves from ledger.batch b join ledger.sealed_batch s using (lane, batch_id) where first_index = 0")
        )
        index, entry = next(iter(sealed_entries(connection, lane=0)))
        assert (index, leaf_hash(entry, lane=0)) == (0, bytes(first.scalar_one())[:32])
