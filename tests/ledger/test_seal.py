"""Sealing: order, proof and balance as one act, through restarts, kills, rivals and restored backups."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, make_url, text

from app.embedded import EmbeddedPostgres
from ledger import balances, checkpoint, invariants, proofs, tree
from ledger.book import post
from ledger.checkpoint import Signer
from ledger.db import engine
from ledger.errors import NotFound, Refused
from ledger.seal import Sealer, SealRefused, Witness, accept
from tests.ledger.conftest import NOON, ORIGIN, NewSealer, payment


def write(book: Engine, numbers: range, *, size: int = 50) -> None:
    for start in range(numbers.start, numbers.stop, size):
        with book.begin() as tx:
            wanted = range(start, min(start + size, numbers.stop))
            post(tx, lane=0, entries=[payment(n, book_id=1 + n % 5, amount_fen=100 + n) for n in wanted], at=NOON)


def seal(book: Engine, sealer: Sealer) -> int:
    """Seal until nothing is left; returns the tree size."""
    with book.connect() as connection:
        while sealer.seal_once(connection, at=NOON) is not None:
            pass
        return int(connection.execute(text("select tree_size from ledger.lane_head where lane = 0")).scalar_one())


def violations(book: Engine) -> list[invariants.Violation]:
    with book.connect() as tx:
        return invariants.check(tx)


def places(tx: Connection) -> list[tuple[int, object]]:
    return [tuple(row) for row in tx.execute(text("select leaf_index, entry_id from ledger.v_posting order by leaf_index"))]


def test_a_seal_orders_proves_numbers_and_folds_everything_committed(book: Engine, new_sealer: NewSealer, signer: Signer) -> None:
    write(book, range(730))
    assert seal(book, new_sealer()) == 730
    assert violations(book) == []
    with book.connect() as tx:
        assert [index for index, _ in places(tx)] == list(range(730))
        note = tx.execute(text("select checkpoint from ledger.seal")).scalar_one()
        signed = checkpoint.read(note, verifier_key=signer.verifier_key())
        assert (signed.size, signed.root) == (730, proofs.recomputed(tx, lane=0).root())
        heads = tx.execute(text("select book_id, entries from ledger.book_head order by book_id")).all()
        assert [tuple(row) for row in heads] == [(b, 146) for b in range(1, 6)]
        assert balances.sealed(tx, lane=0) == balances.live(tx, lane=0)


def test_nothing_new_means_no_seal(book: Engine, new_sealer: NewSealer) -> None:
    write(book, range(3))
    sealer = new_sealer()
    seal(book, sealer)
    with book.connect() as connection:
        assert sealer.seal_once(connection, at=NOON) is None


def test_live_balances_are_the_sealed_ones_plus_the_unsealed_tail(book: Engine, new_sealer: NewSealer) -> None:
    with book.connect() as tx:
        assert balances.live(tx, lane=0) == []
    write(book, range(10))
    seal(book, new_sealer())
    write(book, range(10, 25))
    with book.connect() as tx:
        assert sum(b.debit_fen for b in balances.sealed(tx, lane=0)) == sum(100 + n for n in range(10))
        assert sum(b.debit_fen for b in balances.live(tx, lane=0)) == sum(100 + n for n in range(25))
        assert sum(b.credit_fen for b in balances.live(tx, lane=0, book_id=2)) == sum(100 + n for n in range(25) if n % 5 == 1)


def test_balances_can_be_read_as_of_any_earlier_seal(book: Engine, new_sealer: NewSealer) -> None:
    sealer = new_sealer()
    seen = {}
    for step in range(4):
        write(book, range(step * 30, step * 30 + 30))
        size = seal(book, sealer)
        with book.connect() as tx:
            seen[size] = balances.sealed(tx, lane=0)
    with book.connect() as tx:
        assert {size: balances.at_seal(tx, lane=0, tree_size=size) for size in seen} == seen
        with pytest.raises(NotFound):
            balances.at_seal(tx, lane=0, tree_size=31)


def test_a_slow_transaction_is_never_passed_over_and_holds_nothing_before_it_back(book: Engine, new_sealer: NewSealer) -> None:
    write(book, range(5))
    sealer = new_sealer()
    with book.begin() as slow:
        post(slow, lane=0, entries=[payment(1000)], at=NOON)
        write(book, range(5, 10))
        assert seal(book, sealer) == 5
    assert seal(book, sealer) == 11
    with book.connect() as tx:
        assert places(tx)[5][1] == payment(1000).entry_id
    assert violations(book) == []


def test_a_rolled_back_batch_leaves_no_hole(book: Engine, new_sealer: NewSealer) -> None:
    write(book, range(5))
    with book.connect() as tx:
        post(tx, lane=0, entries=[payment(50)], at=NOON)
        tx.rollback()
    write(book, range(5, 8))
    assert seal(book, new_sealer()) == 8
    assert violations(book) == []


def test_several_batches_of_one_transaction_keep_their_order(book: Engine, new_sealer: NewSealer) -> None:
    with book.begin() as tx:
        for n in range(300):
            post(tx, lane=0, entries=[payment(n)], at=NOON)
    assert seal(book, new_sealer()) == 300
    with book.connect() as tx:
        assert [entry for _, entry in places(tx)] == [payment(n).entry_id for n in range(300)]


def test_inclusion_and_consistency_proofs_hold_for_a_verifier_that_has_only_the_public_key(
    book: Engine, new_sealer: NewSealer, signer: Signer
) -> None:
    sealer, sizes = new_sealer(), []
    for start, stop in ((0, 3), (3, 700), (700, 701), (701, 1300)):
        write(book, range(start, stop))
        sizes.append(seal(book, sealer))
    with book.connect() as tx:
        notes = tx.execute(text("select checkpoint from ledger.seal order by seal_id")).scalars()
        signed = {c.size: c.root for c in (checkpoint.read(note, verifier_key=signer.verifier_key()) for note in notes)}
        for old, size in pairwise(sizes):
            path = proofs.consistency(tx, lane=0, old=old, size=size)
            assert tree.consistency_holds(old=old, old_root=signed[old], size=size, root=signed[size], path=path)
        for n in random.Random(1).sample(range(1300), 25):
            proof = proofs.inclusion(tx, lane=0, entry_id=payment(n).entry_id)
            assert tree.inclusion_holds(proof.leaf, index=proof.index, size=proof.size, path=proof.path, root=signed[1300])
            assert proof.leaf == hashlib.sha256(b"\0" + proof.record).digest()
        earlier = proofs.inclusion(tx, lane=0, entry_id=payment(2).entry_id, size=700)
        assert tree.inclusion_holds(earlier.leaf, index=earlier.index, size=700, path=earlier.path, root=signed[700])


def test_an_entry_not_sealed_yet_has_no_proof(book: Engine, new_sealer: NewSealer) -> None:
    write(book, range(3))
    seal(book, new_sealer())
    write(book, range(3, 4))
    with book.connect() as tx, pytest.raises(NotFound):
        proofs.inclusion(tx, lane=0, entry_id=payment(3).entry_id)


def test_of_two_sealers_one_works_and_the_other_waits_until_it_is_gone(book: Engine, new_sealer: NewSealer) -> None:
    taken = threading.Event()
    waiting = new_sealer()

    def wait() -> None:
        with book.connect() as connection:
            waiting.wait_for_turn(connection)
            taken.set()

    with book.connect() as first:
        assert new_sealer().try_turn(first)
        with book.connect() as other:
            assert not new_sealer().try_turn(other)
        thread = threading.Thread(target=wait)
        thread.start()
        assert not taken.wait(0.3)
        first.invalidate()  # the first sealer's connection is cut, as when its process dies
    assert taken.wait(10)
    thread.join()


def test_two_sealers_that_both_work_make_one_history(book: Engine, new_sealer: NewSealer) -> None:
    """The head's row lock holds even if somebody forgot to wait for the turn."""
    stop = threading.Event()

    def run() -> None:
        sealer = new_sealer()
        with book.connect() as connection:
            while not stop.is_set():
                sealer.seal_once(connection, at=NOON)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    write(book, range(400), size=10)
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert seal(book, new_sealer()) == 400
    assert violations(book) == []


KILLED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ledger.checkpoint import Signer
from ledger.db import engine
from ledger.seal import Sealer, Witness

url, witness, origin = sys.argv[1:]
signer = Signer(origin, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
sealer = Sealer(lane=0, signer=signer, witness=Witness(Path(witness)))
with engine(url).connect() as connection:
    sealer.wait_for_turn(connection)
    print("ready", flush=True)
    while True:
        sealer.seal_once(connection, at=datetime.now(UTC))
"""


def test_a_sealer_killed_at_any_moment_goes_on_without_gap_or_repeat(
    database: str, book: Engine, tmp_path: Path, new_sealer: NewSealer
) -> None:
    witness = tmp_path / "witness" / "lane-0"
    written = 0
    for delay in (0.0, 0.02, 0.05, 0.09, 0.15):
        process = subprocess.Popen([sys.executable, "-c", KILLED, database, str(witness), ORIGIN], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        writer = threading.Thread(target=write, args=(book, range(written, written + 200)), kwargs={"size": 4})
        writer.start()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        writer.join()
        written += 200
    assert seal(book, new_sealer()) == written
    assert violations(book) == []


def test_an_older_backup_is_refused_in_words_and_left_alone(
    server: EmbeddedPostgres, database: str, book: Engine, new_sealer: NewSealer
) -> None:
    sealer = new_sealer()
    write(book, range(10))
    seal(book, sealer)
    backup = f"backup_{os.getpid()}"
    book.dispose()
    name = make_url(database).database
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f'create database "{backup}" template "{name}"'.encode())
    write(book, range(10, 20))
    seal(book, sealer)
    restored = engine(server.url(backup))
    try:
        write(restored, range(30, 40))
        with pytest.raises(SealRefused, match="ends at entry 10, but a checkpoint over 20 entries"):
            seal(restored, new_sealer())
        with restored.connect() as tx:
            assert tx.execute(text("select tree_size from ledger.lane_head")).scalar_one() == 10
    finally:
        restored.dispose()
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute(f'drop database "{backup}" with (force)'.encode())


def test_a_history_that_differs_from_the_signed_one_is_refused(database: str, book: Engine, new_sealer: NewSealer) -> None:
    write(book, range(10))
    seal(book, new_sealer())
    owner = engine(database, role=None)
    with owner.begin() as tx:  # somebody with the owner's rights, past the grants and past the triggers
        tx.execute(text("alter table ledger.batch disable trigger user"))
        tx.execute(text("update ledger.batch set leaves = overlay(leaves placing cast('x' as bytea) from 1 for 1)"))
    owner.dispose()
    with pytest.raises(SealRefused, match="not those that were signed"):
        seal(book, new_sealer())


def test_a_changed_amount_is_found_by_the_check_even_with_the_triggers_off(
    database: str, book: Engine, new_sealer: NewSealer
) -> None:
    write(book, range(10))
    seal(book, new_sealer())
    owner = engine(database, role=None)
    with owner.begin() as tx:
        tx.execute(text("alter table ledger.posting disable trigger user"))
        tx.execute(text("update ledger.posting set amount_fen = amount_fen + 1 where entry_id = :id"), {"id": payment(4).entry_id})
    owner.dispose()
    assert {violation.invariant for violation in violations(book)} == {"I12"}
    assert len(violations(book)) == 3  # two folded balances and the tree


def test_the_triggers_refuse_even_the_owner(database: str, book: Engine) -> None:
    write(book, range(1))
    owner = engine(database, role=None)
    for change in ("update ledger.posting set amount_fen = 1", "delete from ledger.batch", "truncate ledger.posting"):
        with pytest.raises(Exception, match="append-only"), owner.begin() as tx:
            tx.execute(text(change))
    owner.dispose()


def test_a_lost_witness_file_stops_the_sealer_until_a_person_accepts(book: Engine, new_sealer: NewSealer, tmp_path: Path) -> None:
    write(book, range(10))
    seal(book, new_sealer())
    (tmp_path / "witness" / "lane-0").unlink()
    with pytest.raises(SealRefused, match="Put the checkpoint file back"):
        seal(book, new_sealer())
    with book.connect() as tx:
        accept(tx, lane=0, witness=Witness(tmp_path / "witness" / "lane-0"))
    write(book, range(10, 12))
    assert seal(book, new_sealer()) == 12


def test_there_is_nothing_to_accept_before_the_first_seal(book: Engine, tmp_path: Path) -> None:
    with book.connect() as tx, pytest.raises(Refused, match="no seal yet"):
        accept(tx, lane=0, witness=Witness(tmp_path / "lane-0"))


def test_another_key_is_refused(book: Engine, new_sealer: NewSealer, tmp_path: Path) -> None:
    write(book, range(2))
    seal(book, new_sealer())
    other = Sealer(lane=0, signer=Signer(ORIGIN, Ed25519PrivateKey.generate()), witness=Witness(tmp_path / "witness" / "lane-0"))
    with pytest.raises(SealRefused, match="another key"):
        seal(book, other)


def test_a_lane_that_does_not_exist_is_told_so(book: Engine, signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no lane 7"), book.connect() as connection:
        Sealer(lane=7, signer=signer, witness=Witness(tmp_path / "w")).seal_once(connection, at=NOON)


def test_after_a_logical_restore_into_a_new_cluster_old_and_new_batches_are_sealed_once(
    database: str, book: Engine, new_sealer: NewSealer
) -> None:
    """A new cluster starts with small transaction ids: stored ids far ahead must neither hide new batches nor come again."""
    write(book, range(10))
    seal(book, new_sealer())
    owner = engine(database, role=None)
    with owner.begin() as tx:
        tx.execute(text("alter table ledger.batch disable trigger user"))
        tx.execute(text("update ledger.batch set transaction_id = '900000000'"))
        tx.execute(text("update ledger.lane_head set cluster = 'the old one', sealed_xid = '900000000'"))
        tx.execute(text("alter table ledger.batch enable trigger user"))
    owner.dispose()
    write(book, range(10, 30))
    assert seal(book, new_sealer()) == 30
    write(book, range(30, 35))
    assert seal(book, new_sealer()) == 35
    assert violations(book) == []
