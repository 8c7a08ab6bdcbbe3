"""Documents are leaves beside the entries: recorded once, ordered by the same sealer, proven and recomputed with the rest."""

import hashlib
import threading
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from ledger import balances, checkpoint, documents, extracts, invariants, proofs, tree
from ledger.book import post
from ledger.checkpoint import Signer
from ledger.db import engine
from ledger.documents import Document, DocumentKind, Recorded
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import SeededIds
from ledger.journal import leaf_hash
from tests.ledger.conftest import NOON, NewSealer, payment


def document(number: int, *, content: object = None, kind: DocumentKind = DocumentKind.RULE_VERSION) -> Document:
    """Document ``number``: the same number is the same document."""
    document_id = SeededIds(1).new(NOON + timedelta(milliseconds=number), f"document {number}")
    return documents.of(kind=kind, document_id=document_id, content=content or {"number": number}, happened_at=NOON)


def record(book: Engine, *numbers: int) -> Recorded:
    with book.begin() as tx:
        return documents.record(tx, lane=0, documents=[document(n) for n in numbers], at=NOON)


def write(book: Engine, *numbers: int) -> None:
    with book.begin() as tx:
        post(tx, lane=0, entries=[payment(n) for n in numbers], at=NOON)


def seal(book: Engine, new_sealer: NewSealer) -> int:
    sealer = new_sealer()
    with book.connect() as connection:
        while sealer.seal_once(connection, at=NOON) is not None:
            pass
        return int(connection.execute(text("select tree_size from ledger.lane_head where lane = 0")).scalar_one())


def violations(book: Engine) -> list[invariants.Violation]:
    with book.connect() as tx:
        return invariants.check(tx)


def last_root(book: Engine, signer: Signer) -> bytes:
    with book.connect() as tx:
        note = tx.execute(text("select checkpoint from ledger.seal order by seal_id desc limit 1")).scalar_one()
    return checkpoint.read(note, verifier_key=signer.verifier_key()).root


def hashed(leaves: list[bytes]) -> bytes:
    """RFC 6962 over leaf hashes, written down here a second time."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + hashed(leaves[:half]) + hashed(leaves[half:])).digest()


def test_the_bytes_that_are_sealed_are_these_for_ever() -> None:
    one = Document(DocumentKind.DECISION, UUID("0195556b-8400-7000-8000-000000000100"), bytes(range(32)), NOON)
    record = documents.canonical_record(one, lane=3)
    assert record.hex() == (
        "020103020195556b840070008000000000000100" + bytes(range(32)).hex() + f"{int(NOON.timestamp()) * 1_000_000:016x}"
    )  # fmt: skip
    assert documents.leaf_hash(one, lane=3) == hashlib.sha256(b"\0" + record).digest()
    assert documents.canonical({"b": 1, "a": NOON}) == b'{"a":"2026-03-02T04:00:00Z","b":1}'


def test_entries_and_documents_stand_in_one_tree_in_the_order_of_their_commits(
    book: Engine, new_sealer: NewSealer, signer: Signer
) -> None:
    write(book, 1, 2)
    record(book, 1, 2, 3)
    write(book, 3)
    record(book, 4)
    assert seal(book, new_sealer) == 7
    expected = [
        *(leaf_hash(payment(n), lane=0) for n in (1, 2)),
        *(documents.leaf_hash(document(n), lane=0) for n in (1, 2, 3)),
        leaf_hash(payment(3), lane=0),
        documents.leaf_hash(document(4), lane=0),
    ]
    assert last_root(book, signer) == hashed(expected)
    assert violations(book) == []
    with book.connect() as tx:
        assert [index for index, _ in proofs.sealed_entries(tx, lane=0)] == [0, 1, 5]
        assert [index for index, _ in proofs.sealed_documents(tx, lane=0)] == [2, 3, 4, 6]
        assert balances.sealed(tx, lane=0) == balances.live(tx, lane=0)


def test_a_book_without_documents_is_sealed_as_ever(book: Engine, new_sealer: NewSealer, signer: Signer) -> None:
    write(book, *range(11))
    seal(book, new_sealer)
    assert last_root(book, signer) == hashed([leaf_hash(payment(n), lane=0) for n in range(11)])


def test_documents_alone_can_be_sealed_and_number_no_book(book: Engine, new_sealer: NewSealer) -> None:
    record(book, 1)
    assert seal(book, new_sealer) == 1
    write(book, 1)
    record(book, 2)
    assert seal(book, new_sealer) == 3
    with book.connect() as tx:
        where = extracts.Extent(0, 1, NOON.date(), 3)
        assert [(one.number, one.leaf_index) for one in extracts.entries(tx, where=where, limit=10)] == [(1, 1)]
        assert {balance.account for balance in balances.at_seal(tx, lane=0, tree_size=1)} == set()
    assert violations(book) == []


def test_a_document_recorded_again_is_already_there(book: Engine) -> None:
    assert record(book, 1, 2) == Recorded(2, frozenset())
    assert record(book, 2, 3, 3) == Recorded(1, frozenset({document(2).document_id}))
    assert record(book) == Recorded(0, frozenset())
    with book.connect() as tx:
        assert tx.execute(text("select array_agg(entries order by batch_id) from ledger.batch")).scalar_one() == [2, 1]
        assert documents.find(tx, lane=0, document_ids=[document(n).document_id for n in (3, 1, 9)]) == [document(1), document(3)]


def test_a_changed_document_under_the_same_id_is_a_conflict_and_writes_nothing(book: Engine) -> None:
    record(book, 1)
    changed = document(1, content={"number": 100})
    with book.begin() as tx, pytest.raises(Conflict, match="new id"):
        documents.record(tx, lane=0, documents=[document(2), changed], at=NOON)
    with book.begin() as tx, pytest.raises(Conflict):
        documents.record(tx, lane=0, documents=[document(5), document(5, kind=DocumentKind.DECISION)], at=NOON)
    with book.connect() as tx:
        assert tx.execute(text("select count(*) from ledger.document")).scalar_one() == 1


def test_two_writers_of_the_same_document_write_it_once(book: Engine) -> None:
    found: list[Recorded] = []
    with book.connect() as first:
        first.begin()
        documents.record(first, lane=0, documents=[document(1)], at=NOON)
        other = threading.Thread(target=lambda: found.append(record(book, 1, 2)))
        other.start()
        other.join(0.3)
        assert not found
        first.commit()
        other.join(10)
    assert found == [Recorded(1, frozenset({document(1).document_id}))]


def test_too_many_documents_are_refused(book: Engine) -> None:
    many = [document(1)] * (documents.DOCUMENTS_MAX + 1)
    with book.begin() as tx, pytest.raises(Refused, match="at most"):
        documents.record(tx, lane=0, documents=many, at=NOON)


def test_a_stranger_can_check_that_a_document_is_in_the_book(book: Engine, new_sealer: NewSealer, signer: Signer) -> None:
    write(book, *range(300))
    record(book, 7)
    early = seal(book, new_sealer)
    write(book, *range(300, 700))
    seal(book, new_sealer)
    with book.connect() as tx:
        for size in (None, early):
            proof = proofs.inclusion_of_document(tx, lane=0, document_id=document(7).document_id, size=size)
            root = checkpoint.read(proof.checkpoint, verifier_key=signer.verifier_key()).root
            assert proof.document == document(7)
            assert proof.leaf == hashlib.sha256(b"\0" + proof.record).digest()
            assert document(7).digest in proof.record
            assert tree.inclusion_holds(proof.leaf, index=proof.index, size=proof.size, path=proof.path, root=root)
        of_entry = proofs.inclusion(tx, lane=0, entry_id=payment(650).entry_id)
        assert of_entry.index == 651


def test_a_document_not_sealed_yet_or_not_there_has_no_proof(book: Engine, new_sealer: NewSealer) -> None:
    write(book, 1)
    seal(book, new_sealer)
    record(book, 1)
    with book.connect() as tx:
        for number in (1, 2):
            with pytest.raises(NotFound, match="not under a checkpoint"):
                proofs.inclusion_of_document(tx, lane=0, document_id=document(number).document_id)


@pytest.mark.parametrize(
    "change",
    [
        "update ledger.document set digest = sha256('x') where position = 1",
        "update ledger.document set happened_at = happened_at + interval '1 microsecond' where position = 0",
        "update ledger.document set kind = 2 where position = 0",
        "update ledger.document set kind = 99 where position = 0",
        "delete from ledger.document where position = 1",
    ],
)
def test_an_exchanged_document_is_found_by_the_check_even_with_the_triggers_off(
    database: str, book: Engine, new_sealer: NewSealer, change: str
) -> None:
    record(book, 1, 2, 3)
    seal(book, new_sealer)
    assert violations(book) == []
    owner = engine(database, role=None)
    with owner.begin() as tx:
        tx.execute(text("alter table ledger.document disable trigger user"))
        tx.execute(text(change))
    owner.dispose()
    assert {violation.invariant for violation in violations(book)} == {"I12"}


def test_nobody_changes_a_recorded_document(database: str, book: Engine) -> None:
    record(book, 1)
    owner = engine(database, role=None)
    for change in ("update ledger.document set kind = 2", "delete from ledger.document", "truncate ledger.document"):
        with pytest.raises(Exception, match="append-only"), owner.begin() as tx:
            tx.execute(text(change))
        with pytest.raises(Exception, match="permission denied"), book.begin() as tx:
            tx.execute(text(change))
    owner.dispose()
