"""Proofs about what is sealed: that an entry or a document is in the book, and that the book only grew.

Knows the stored tree; the arithmetic is in ``tree``. Called by the receipts, the exports and ``tongting verify``.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import documents, store, tree
from ledger.documents import Document
from ledger.errors import NotFound
from ledger.journal import Entry, leaf_hash, record
from ledger.seal_store import TreeReader


class InclusionProof(Struct, frozen=True):
    """Proof that an entry is leaf ``index`` of the tree of ``size`` leaves. Hashes are 32 bytes."""

    entry: Entry
    record: bytes
    """Canonical bytes of the entry; 0x00 and they, hashed, are the leaf."""
    leaf: bytes
    index: int
    size: int
    path: tuple[bytes, ...]
    checkpoint: str


class DocumentProof(Struct, frozen=True):
    """Proof that a document is leaf ``index`` of the tree of ``size`` leaves. Hashes are 32 bytes."""

    document: Document
    record: bytes
    """Canonical bytes of its record, which holds its digest; 0x00 and they, hashed, are the leaf."""
    leaf: bytes
    index: int
    size: int
    path: tuple[bytes, ...]
    checkpoint: str


def inclusion(tx: Connection, *, lane: int, entry_id: UUID, size: int | None = None) -> InclusionProof:
    """Prove that a sealed entry is in the book under a checkpoint: the newest, or the one over ``size`` leaves.

    Raises:
        NotFound: no such entry, not sealed yet, or no checkpoint of that size.
    """
    place = tx.execute(
        text("select leaf_index from ledger.v_posting where lane = :lane and entry_id = :entry and line = 0"),
        {"lane": lane, "entry": entry_id},
    ).scalar_one_or_none()
    found = _prove(tx, lane=lane, index=place, size=size, what=f"entry {entry_id}")
    entry = store.entries(tx, lane=lane, entry_ids=[entry_id])[0]
    return InclusionProof(
        entry=entry, record=record(entry, lane=lane), leaf=found.leaf, index=found.index, size=found.size, path=found.path,
        checkpoint=found.checkpoint,
    )  # fmt: skip


def inclusion_of_document(tx: Connection, *, lane: int, document_id: UUID, size: int | None = None) -> DocumentProof:
    """Prove that a recorded document is in the book, as ``inclusion`` does for an entry.

    Raises:
        NotFound: no such document, not sealed yet, or no checkpoint of that size.
    """
    place = tx.execute(
        text("select leaf_index from ledger.v_document where lane = :lane and document_id = :id"), {"lane": lane, "id": document_id}
    ).scalar_one_or_none()
    found = _prove(tx, lane=lane, index=place, size=size, what=f"document {document_id}")
    document = documents.find(tx, lane=lane, document_ids=[document_id])[0]
    return DocumentProof(
        document=document, record=documents.canonical_record(document, lane=lane), leaf=found.leaf, index=found.index,
        size=found.size, path=found.path, checkpoint=found.checkpoint,
    )  # fmt: skip


class _Proven(Struct, frozen=True):
    leaf: bytes
    index: int
    size: int
    path: tuple[bytes, ...]
    checkpoint: str


def _prove(tx: Connection, *, lane: int, index: int | None, size: int | None, what: str) -> _Proven:
    seal = tx.execute(
        text("""
        select tree_size, checkpoint from ledger.seal where lane = :lane and (tree_size = :size or cast(:size as bigint) is null)
        order by tree_size desc limit 1
        """),
        {"lane": lane, "size": size},
    ).one_or_none()
    if seal is None or index is None or index >= seal.tree_size:
        raise NotFound(f"{what} is not under a checkpoint of lane {lane} yet", code="not_sealed")
    reader = TreeReader(tx, lane=lane)
    path = tree.inclusion_path(index, seal.tree_size, reader.node)
    return _Proven(reader.node(0, index), index, seal.tree_size, tuple(path), seal.checkpoint)


def consistency(tx: Connection, *, lane: int, old: int, size: int) -> tuple[bytes, ...]:
    """Prove that the book of ``size`` entries begins with the book of ``old`` entries."""
    return tuple(tree.consistency_path(old, size, TreeReader(tx, lane=lane).node))


def sealed_entries(tx: Connection, *, lane: int, start: int = 0, size: int | None = None) -> Iterator[tuple[int, Entry]]:
    """Yield (leaf index, entry) from ``start`` in sealed order, as posted, with constant memory. Needs its own connection.

    Where documents stand between the entries, their indexes are left out.
    """
    streamed = tx.execution_options(stream_results=True, yield_per=5_000)
    given = {"lane": lane, "start": start, "size": size}
    with streamed.execute(text(_SEALED), given) as rows:
        for index, group in groupby(rows, key=attrgetter("leaf_index")):
            yield index, store.as_entry(list(group))


_SEALED: Final = """
    select leaf_index, entry_id, book_id, debit_account, credit_account, amount_fen, happened_at, booked_on, evidence_id, route_id
    from ledger.v_posting where lane = :lane and leaf_index >= :start and (leaf_index < :size or cast(:size as bigint) is null)
    order by leaf_index, line
"""


def sealed_documents(tx: Connection, *, lane: int, start: int = 0, size: int | None = None) -> Iterator[tuple[int, Document]]:
    """Yield (leaf index, document) as ``sealed_entries`` does for entries."""
    streamed = tx.execution_options(stream_results=True, yield_per=5_000)
    with streamed.execute(text(_SEALED_DOCUMENTS), {"lane": lane, "start": start, "size": size}) as rows:
        for row in rows:
            yield row.leaf_index, documents.as_document(row)


_SEALED_DOCUMENTS: Final = """
    select leaf_index, kind, document_id, digest, happened_at
    from ledger.v_document where lane = :lane and leaf_index >= :start and (leaf_index < :size or cast(:size as bigint) is null)
    order by leaf_index
"""


def recomputed(tx: Connection, *, lane: int) -> tree.Edge:
    """Build the whole tree again from the rows of entries and documents as they stand; its root must be the last checkpoint's."""
    edge = tree.Edge(0, ())
    leaves: list[bytes] = []
    entries = ((index, leaf_hash(entry, lane=lane)) for index, entry in sealed_entries(tx, lane=lane))
    others = ((index, documents.leaf_hash(document, lane=lane)) for index, document in sealed_documents(tx, lane=lane))
    for index, leaf in merge(entries, others, key=itemgetter(0)):
        if index != edge.size + len(leaves):
            raise ValueError(f"the sealed order has a gap or a repeat at {edge.size + len(leaves)}: the next index is {index}")
        leaves.append(leaf)
        if len(leaves) == 1 << 14:
            edge, _ = tree.extend(edge, b"".join(leaves))
            leaves.clear()
    return tree.extend(edge, b"".join(leaves))[0]
