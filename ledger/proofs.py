"""Proofs about sealed entries: that an entry is in the book, and that the book only grew.

Knows the stored tree; the arithmetic is in ``tree``. Called by the receipts, the exports and ``tongting verify``.
"""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import store, tree
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


def inclusion(tx: Connection, *, lane: int, entry_id: UUID, size: int | None = None) -> InclusionProof:
    """Prove that a sealed entry is in the book under a checkpoint: the newest, or the one over ``size`` leaves.

    Raises:
        NotFound: no such entry, not sealed yet, or no checkpoint of that size.
    """
    seal = tx.execute(
        text("""
        select tree_size, checkpoint from ledger.seal where lane = :lane and (tree_size = :size or cast(:size as bigint) is null)
        order by tree_size desc limit 1
        """),
        {"lane": lane, "size": size},
    ).one_or_none()
    place = tx.execute(
        text("select leaf_index, batch_id, position from ledger.v_posting where lane = :lane and entry_id = :entry and line = 0"),
        {"lane": lane, "entry": entry_id},
    ).one_or_none()
    if seal is None or place is None or place.leaf_index is None or place.leaf_index >= seal.tree_size:
        raise NotFound(f"entry {entry_id} is not under a checkpoint of lane {lane} yet", code="not_sealed")
    reader = TreeReader(tx, lane=lane)
    path = tree.inclusion_path(place.leaf_index, seal.tree_size, reader.node)
    entry = store.entries(tx, lane=lane, entry_ids=[entry_id])[0]
    return InclusionProof(
        entry=entry, record=record(entry, lane=lane), leaf=reader.node(0, place.leaf_index), index=place.leaf_index,
        size=seal.tree_size, path=tuple(path), checkpoint=seal.checkpoint,
    )  # fmt: skip


def consistency(tx: Connection, *, lane: int, old: int, size: int) -> tuple[bytes, ...]:
    """Prove that the book of ``size`` entries begins with the book of ``old`` entries."""
    return tuple(tree.consistency_path(old, size, TreeReader(tx, lane=lane).node))


def sealed_entries(tx: Connection, *, lane: int, start: int = 0, size: int | None = None) -> Iterator[tuple[int, Entry]]:
    """Yield (leaf index, entry) from ``start`` in sealed order, as posted, with constant memory. Needs its own connection."""
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


def recomputed(tx: Connection, *, lane: int) -> tree.Edge:
    """Build the whole tree again from the posting rows as they stand; its root must be the last checkpoint's."""
    edge = tree.Edge(0, ())
    leaves: list[bytes] = []
    for index, entry in sealed_entries(tx, lane=lane):
        if index != edge.size + len(leaves):
            raise ValueError(f"the sealed order has a gap or a repeat at {edge.size + len(leaves)}: the next index is {index}")
        leaves.append(leaf_hash(entry, lane=lane))
        if len(leaves) == 1 << 14:
            edge, _ = tree.extend(edge, b"".join(leaves))
            leaves.clear()
    return tree.extend(edge, b"".join(leaves))[0]
