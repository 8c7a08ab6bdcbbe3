"""Documents that are sealed beside the entries: versions of rules, decisions, credit notes and the like.

Knows digests and leaves; must not know what a document says, nor keep it: its own room does. Called by the rooms above.

A document is a leaf of the same tree as the entries, so nobody can exchange a rule or a decision unseen. The tree holds its digest
and no personal data.
"""

import hashlib
import struct
from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from msgspec import Struct
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from ledger import store
from ledger.clock import checked, microseconds
from ledger.errors import Conflict, Refused

DOCUMENTS_MAX: Final = 10_000
"""Most documents in one call."""
DIGEST_BYTES: Final = 32

_RECORD_TYPE: Final = 2
_RECORD_VERSION: Final = 1
_RECORD: Final = struct.Struct(">xBBBB16s32sq")


class DocumentKind(IntEnum):
    """What a document is. Numbers are part of what is sealed: they are never given anew."""

    RULE_VERSION = 1
    """A dated version of a rule: a tariff, a split rule, an incentive rule, a rule of who may leave first."""
    DECISION = 2
    """A decision of two persons: a waiver, a write-off, a case."""
    CREDIT_NOTE = 3
    """A charge was corrected."""
    SETTLEMENT = 4
    """What one party pays another, line by line, as it was approved."""
    BILL_VERSION = 5
    """A version of a channel's bill file."""
    DAY_CLOSE = 6
    STATEMENT = 7
    FEE_RUN = 8
    RATE_CHANGE = 9
    KEY_CHANGE = 10


class Document(Struct, frozen=True):
    """A document as it is sealed. ``digest`` is the SHA-256 of its canonical bytes."""

    kind: DocumentKind
    document_id: UUID
    """Our own time-ordered id of what the document is; an id names one document, whatever its kind."""
    digest: bytes
    happened_at: datetime
    """When it was made."""


class Recorded(Struct, frozen=True):
    """What one call of ``record`` did: how many it wrote, and the ids that were there already with the same content."""

    recorded: int
    already: frozenset[UUID]


def canonical(content: object) -> bytes:
    """Return the canonical bytes of a struct or mapping: JSON in UTF-8 without blanks, keys sorted, times in UTC."""
    return msgspec.json.encode(content, order="sorted")


def of(*, kind: DocumentKind, document_id: UUID, content: object, happened_at: datetime) -> Document:
    """Return the document of a content: its digest over ``canonical(content)``. The content must hold no personal data that can
    be guessed: a plate enters as a salted digest or not at all."""
    return Document(kind, document_id, hashlib.sha256(canonical(content)).digest(), happened_at)


def record(tx: Connection, *, lane: int, documents: Sequence[Document], at: datetime) -> Recorded:
    """Seal documents: written as one batch of the lane, all or none; they count once ``tx`` commits.

    Order is kept. May be called twice with the same documents: one whose id is there with the same content is ``already``. Takes no
    lock but the uniqueness of the ids, so two writers of the same document wait for each other and nobody else.

    Args:
        documents: At most ``DOCUMENTS_MAX``; one that comes twice counts once.
        at: When they are recorded (UTC).

    Raises:
        Conflict: ``document_conflict``, an id is taken by other content; nothing of this call is written.
        Refused: ``batch_too_large``.
    """
    wanted = _without_repeats(documents)
    already = _known(tx, lane=lane, documents=wanted)
    wanted = [document for document in wanted if document.document_id not in already]
    while wanted and not _try_write(tx, lane=lane, documents=wanted, at=at):
        known = _known(tx, lane=lane, documents=wanted)
        if not known:
            raise Conflict(f"lane {lane}: an id is taken by a transaction that is not visible here; repeat", code="entry_race")
        already |= known
        wanted = [document for document in wanted if document.document_id not in known]
    return Recorded(len(wanted), already)


def find(tx: Connection, *, lane: int, document_ids: Sequence[UUID]) -> list[Document]:
    """Return the documents of these ids that were recorded, ordered by id."""
    rows = tx.execute(
        text("""
        select kind, document_id, digest, happened_at from ledger.document
        where lane = :lane and document_id = any(cast(:ids as uuid[])) order by document_id
        """),
        {"lane": lane, "ids": list(document_ids)},
    )
    return [as_document(row) for row in rows]


def as_document(row: Row[Any]) -> Document:
    """Return a row of the table or its view as a document."""
    return Document(DocumentKind(row.kind), row.document_id, bytes(row.digest), row.happened_at)


def leaf_hash(document: Document, *, lane: int) -> bytes:
    """Return the leaf hash under which a document is sealed. Raises ValueError for an impossible one."""
    return hashlib.sha256(_sealed(document, lane)).digest()


def canonical_record(document: Document, *, lane: int) -> bytes:
    """Return what a verifier hashes, behind 0x00, to get the leaf. Raises ValueError for an impossible document.

    All integers big-endian: type 2, version 1, lane, kind (1 byte each), document id (16), digest (32), and microseconds since
    1970 (8).
    """
    return _sealed(document, lane)[1:]


def _sealed(document: Document, lane: int) -> bytes:
    if len(document.digest) != DIGEST_BYTES:
        raise ValueError(f"not a SHA-256 digest: {document}")
    return _RECORD.pack(
        _RECORD_TYPE, _RECORD_VERSION, lane, document.kind, document.document_id.bytes, document.digest,
        microseconds(checked(document.happened_at)),
    )  # fmt: skip


def _without_repeats(documents: Sequence[Document]) -> list[Document]:
    if len(documents) > DOCUMENTS_MAX:
        raise Refused(f"a batch holds at most {DOCUMENTS_MAX} documents, not {len(documents)}", code="batch_too_large")
    by_id: dict[UUID, Document] = {}
    for document in documents:
        _check_same(by_id.setdefault(document.document_id, document), document)
    return list(by_id.values())


def _known(tx: Connection, *, lane: int, documents: Sequence[Document]) -> frozenset[UUID]:
    """Return the ids that were recorded with the same content. Raises Conflict for one with other content."""
    before = {one.document_id: one for one in find(tx, lane=lane, document_ids=[x.document_id for x in documents])}
    for document in documents:
        if document.document_id in before:
            _check_same(before[document.document_id], document)
    return frozenset(before)


def _check_same(before: Document, document: Document) -> None:
    if before != document:
        raise Conflict(
            f"document {document.document_id} was recorded with other content; a changed document is a new one with a new id",
            code="document_conflict",
        )


def _try_write(tx: Connection, *, lane: int, documents: Sequence[Document], at: datetime) -> bool:
    """Write one batch inside a savepoint. Returns False, with nothing written, when an id was taken meanwhile."""
    try:
        with tx.begin_nested():
            _write(tx, lane=lane, documents=documents, at=at)
    except IntegrityError as taken:
        if isinstance(taken.orig, psycopg.errors.UniqueViolation):
            return False
        raise
    return True


def _write(tx: Connection, *, lane: int, documents: Sequence[Document], at: datetime) -> None:
    leaves = b"".join([leaf_hash(document, lane=lane) for document in documents])
    batch_id = store.next_batch(tx, lane=lane, book_ids=[])
    tx.execute(
        text("""
        insert into ledger.document (document_id, lane, batch_id, position, kind, digest, happened_at)
        select document_id, :lane, :batch, n - 1, kind, digest, happened_at
        from unnest(cast(:ids as uuid[]), cast(:kinds as smallint[]), cast(:digests as bytea[]), cast(:times as timestamptz[]))
             with ordinality as d (document_id, kind, digest, happened_at, n)
        """),
        {
            "lane": lane,
            "batch": batch_id,
            "ids": [document.document_id for document in documents],
            "kinds": [int(document.kind) for document in documents],
            "digests": [document.digest for document in documents],
            "times": [document.happened_at for document in documents],
        },
    )
    store.insert_batch(tx, lane=lane, batch_id=batch_id, entries=len(documents), leaves=leaves, at=at)
