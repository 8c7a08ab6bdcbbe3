"""Where entries stand once they are sealed: their dense number in their book, and the checkpoint that first covered them.

Knows sealed batches and seals; must not know what an entry is about. Called by the pages of receipts.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text


class Place(Struct, frozen=True, kw_only=True):
    """A sealed entry. ``number`` counts the entries of its book from 1, without gaps."""

    entry_id: UUID
    number: int
    leaf_index: int
    tree_size: int
    """Size of the first checkpoint that covers it: it is proven under this one and under every later one."""
    checkpoint: str
    sealed_at: datetime

    @property
    def root(self) -> str:
        """The tree's root under that checkpoint, in Base64 as the signed note has it."""
        return self.checkpoint.split("\n")[2]


def sealed(tx: Connection, *, lane: int, entry_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Return the places of entries by their ids, in one question; those that are not sealed yet are left out."""
    if not entry_ids:
        return {}
    rows = tx.execute(_SEALED, {"lane": lane, "ids": list(entry_ids)})
    return {row.entry_id: Place(**row._mapping) for row in rows}


_SEALED: Final = text("""
with wanted as materialized (
    select entry_id, book_id, seal_id, leaf_index from ledger.v_posting
    where lane = :lane and entry_id = any(cast(:ids as uuid[])) and line = 0 and leaf_index is not null
)
select w.entry_id, w.leaf_index, s.tree_size, s.checkpoint, s.sealed_at,
       b.first_number + (
           select count(*) from ledger.sealed_batch x
           join ledger.posting p on p.lane = x.lane and p.batch_id = x.batch_id
           where x.lane = :lane and x.first_index <= w.leaf_index and x.first_index >= coalesce(before.tree_size, 0)
             and p.line = 0 and p.book_id = w.book_id and x.first_index + p.position < w.leaf_index
       ) as number
from wanted w
join ledger.seal s on s.lane = :lane and s.seal_id = w.seal_id
join ledger.book_seal b on b.lane = :lane and b.seal_id = w.seal_id and b.book_id = w.book_id
left join ledger.seal before on before.lane = :lane and before.seal_id = w.seal_id - 1
""")
