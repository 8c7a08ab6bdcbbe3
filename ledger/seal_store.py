"""What the sealer reads and writes, and the tree as stored. Private to this room."""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, text

from ledger.errors import NotFound
from ledger.tree import HASH_BYTES, TILE_BITS, TILE_HASHES, Edge, FullTile, fold, range_hash


class Head(Struct, frozen=True):
    """Where a lane stands: the last seal, the tree's edge, the last batch in seal order."""

    seal_id: int
    edge: Edge
    sealed_xid: str
    sealed_batch: int
    cluster: str


class UnsealedBatch(Struct, frozen=True):
    batch_id: int
    transaction_id: str
    entries: int
    leaves: bytes


class NewSeal(Struct, frozen=True):
    lane: int
    seal_id: int
    edge: Edge
    root: bytes
    checkpoint: str
    sealed_at: datetime


def lock_head(tx: Connection, *, lane: int) -> Head:
    """Return the lane's head and lock it; made at the first seal."""
    _make_head(tx, lane=lane)
    row = tx.execute(
        text("""
        select seal_id, tree_size, ragged, sealed_xid::text, sealed_batch, cluster from ledger.lane_head
        where lane = :lane for update
        """),
        {"lane": lane},
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no lane {lane}")
    return Head(row.seal_id, Edge.read(row.tree_size, row.ragged), row.sealed_xid, row.sealed_batch, row.cluster)


def _make_head(tx: Connection, *, lane: int) -> None:
    tx.execute(
        text("""
        insert into ledger.lane_head (lane, seal_id, tree_size, ragged, sealed_xid, sealed_batch, cluster)
        select lane, 0, 0, '', '0', 0, '' from ledger.lane where lane = :lane
        on conflict do nothing
        """),
        {"lane": lane},
    )


def claim_verifier_key(tx: Connection, *, lane: int, verifier_key: str) -> str:
    """Return the lane's public key; the first sealer of a lane sets it."""
    tx.execute(
        text("update ledger.lane set verifier_key = :key where lane = :lane and verifier_key is null"),
        {"lane": lane, "key": verifier_key},
    )
    key = tx.execute(text("select verifier_key from ledger.lane where lane = :lane"), {"lane": lane}).scalar_one()
    assert isinstance(key, str)
    return key


class Tail(Struct, frozen=True):
    """Committed batches behind the head in seal order, and where the head stands once they are sealed."""

    batches: list[UnsealedBatch]
    cluster: str
    sealed_xid: str
    sealed_batch: int


def unsealed(tx: Connection, *, lane: int, head: Head, limit: int) -> Tail:
    """Return committed batches behind the head in seal order, at most ``limit``.

    Transaction ids belong to one cluster. After a logical restore into another cluster its new ids start below the head; then
    every batch without a place is looked for once, in the order of the batch numbers, and the head goes over to the new ids.
    """
    cluster = _cluster(tx)
    moved = head.cluster not in ("", cluster)
    found = _every_unsealed(tx, lane=lane, limit=limit) if moved else _behind(tx, lane=lane, head=head, limit=limit)
    batches = [UnsealedBatch(row.batch_id, row.transaction_id, row.entries, row.leaves) for row in found]
    if not moved and batches:
        return Tail(batches, cluster, batches[-1].transaction_id, batches[-1].batch_id)
    if moved and batches and len(batches) < limit:
        return Tail(batches, cluster, found[-1].horizon, 0)
    return Tail(batches, head.cluster, head.sealed_xid, head.sealed_batch)


def _behind(tx: Connection, *, lane: int, head: Head, limit: int) -> Sequence[Row[Any]]:
    return tx.execute(
        text("""
        select batch_id, transaction_id::text as transaction_id, entries, leaves from ledger.batch b
        where lane = :lane and (transaction_id, batch_id) > (cast(:xid as xid8), :batch)
          and transaction_id < pg_snapshot_xmin(pg_current_snapshot())
          and not exists (select from ledger.sealed_batch s where s.lane = b.lane and s.batch_id = b.batch_id)
        order by b.transaction_id, b.batch_id limit :limit
        """),
        {"lane": lane, "xid": head.sealed_xid, "batch": head.sealed_batch, "limit": limit},
    ).all()


def _every_unsealed(tx: Connection, *, lane: int, limit: int) -> Sequence[Row[Any]]:
    return tx.execute(
        text("""
        select batch_id, transaction_id::text as transaction_id, entries, leaves,
               pg_snapshot_xmin(pg_current_snapshot())::text as horizon
        from ledger.batch b
        where lane = :lane and not exists (select from ledger.sealed_batch s where s.lane = b.lane and s.batch_id = b.batch_id)
        order by b.batch_id limit :limit
        """),
        {"lane": lane, "limit": limit},
    ).all()


def _cluster(tx: Connection) -> str:
    name = tx.execute(text("select system_identifier::text from pg_control_system()")).scalar_one()
    assert isinstance(name, str)
    return name


def write(tx: Connection, *, seal: NewSeal, head: Head, tail: Tail, tiles: Sequence[FullTile]) -> None:
    """Write one seal: order, tiles, dense numbers, balances, head."""
    batches = tail.batches
    first = list(accumulate((batch.entries for batch in batches), initial=head.edge.size))[:-1]
    ids = [batch.batch_id for batch in batches]
    tx.execute(
        text("""
        with new_seal as (
            insert into ledger.seal (lane, seal_id, tree_size, root, checkpoint, sealed_at)
            values (:lane, :seal, :size, :root, :checkpoint, :at)
        )
        insert into ledger.sealed_batch (lane, batch_id, seal_id, first_index, entries)
        select :lane, batch_id, :seal, first_index, entries
        from unnest(cast(:ids as bigint[]), cast(:first as bigint[]), cast(:entries as integer[]))
            as b (batch_id, first_index, entries)
        """),
        {
            "lane": seal.lane, "seal": seal.seal_id, "size": seal.edge.size, "root": seal.root, "checkpoint": seal.checkpoint,
            "at": seal.sealed_at, "ids": ids, "first": first, "entries": [batch.entries for batch in batches],
        },
    )  # fmt: skip
    if tiles:
        _write_tiles(tx, lane=seal.lane, tiles=tiles)
    _fold(tx, lane=seal.lane, seal_id=seal.seal_id, ids=ids)
    tx.execute(
        text("""
        update ledger.lane_head set seal_id = :seal, tree_size = :size, ragged = :ragged,
            sealed_xid = cast(:xid as xid8), sealed_batch = :batch, cluster = :cluster
        where lane = :lane
        """),
        {
            "lane": seal.lane, "seal": seal.seal_id, "size": seal.edge.size, "ragged": seal.edge.stored(),
            "xid": tail.sealed_xid, "batch": tail.sealed_batch, "cluster": tail.cluster,
        },
    )  # fmt: skip


def _write_tiles(tx: Connection, *, lane: int, tiles: Sequence[FullTile]) -> None:
    tx.execute(
        text("""
        insert into ledger.tile (lane, level, tile_index, hashes)
        select :lane, level, tile_index, hashes
        from unnest(cast(:levels as smallint[]), cast(:indexes as bigint[]), cast(:hashes as bytea[]))
            as t (level, tile_index, hashes)
        """),
        {
            "lane": lane,
            "levels": [tile.level for tile in tiles],
            "indexes": [tile.index for tile in tiles],
            "hashes": [tile.hashes for tile in tiles],
        },
    )


def _fold(tx: Connection, *, lane: int, seal_id: int, ids: list[int]) -> None:
    """Fold the batches' rows into balances and dense book numbers. Rows are touched in key order, so folds never deadlock."""
    tx.execute(
        text("""
        with rows as materialized (
            select book_id, debit_account, credit_account, sum(amount_fen)::bigint as fen, count(*) as n,
                   count(*) filter (where line = 0) as entries
            from ledger.posting where batch_id = any(cast(:ids as bigint[])) and lane = :lane
            group by book_id, debit_account, credit_account
        ), sides as (
            select book_id, debit_account as account, fen as debit_fen, 0 as credit_fen, n from rows
            union all
            select book_id, credit_account, 0, fen, n from rows
        ), counted as (
            select book_id, sum(entries)::bigint as entries from rows group by book_id
        ), numbered as (
            insert into ledger.book_head as h (lane, book_id, entries)
            select :lane, book_id, entries from counted order by book_id
            on conflict (lane, book_id) do update set entries = h.entries + excluded.entries
            returning h.book_id, h.entries as last_number
        ), sealed as (
            insert into ledger.book_seal (lane, book_id, seal_id, first_number, entries)
            select :lane, n.book_id, :seal, n.last_number - c.entries + 1, c.entries
            from numbered n join counted c on c.book_id = n.book_id
        )
        insert into ledger.balance as b (lane, book_id, account, debit_fen, credit_fen, entries)
        select :lane, book_id, account, sum(debit_fen)::bigint, sum(credit_fen)::bigint, sum(n)::bigint
        from sides group by book_id, account order by book_id, account
        on conflict (lane, book_id, account) do update
        set debit_fen = b.debit_fen + excluded.debit_fen, credit_fen = b.credit_fen + excluded.credit_fen,
            entries = b.entries + excluded.entries
        """),
        {"lane": lane, "seal": seal_id, "ids": ids},
    )


def last_checkpoint(tx: Connection, *, lane: int) -> str | None:
    """Return the lane's newest signed note."""
    query = text("select checkpoint from ledger.seal where lane = :lane order by seal_id desc limit 1")
    return tx.execute(query, {"lane": lane}).scalar_one_or_none()


class TreeReader:
    """Reads hashes of a lane's sealed tree: full tiles from their table, leaves from the batches, the rest from the edge.

    Remembers what it has read, so one reader should serve one request or one proof.
    """

    def __init__(self, tx: Connection, *, lane: int) -> None:
        self._tx = tx
        self._lane = lane
        self._tiles: dict[tuple[int, int], bytes] = {}
        row = tx.execute(text("select tree_size, ragged from ledger.lane_head where lane = :lane"), {"lane": lane}).one()
        self.edge = Edge.read(row.tree_size, row.ragged)

    def root(self, size: int) -> bytes:
        """Return the tree hash over the first ``size`` leaves."""
        return range_hash(0, size, self.node)

    def node(self, height: int, index: int) -> bytes:
        """Return the hash of a perfect subtree over 2^``height`` leaves (a ``tree.NodeOf``)."""
        level, inner = divmod(height, TILE_BITS)
        start = index << inner
        tile = self._tile(level, start >> TILE_BITS)
        offset = (start & (TILE_HASHES - 1)) * HASH_BYTES
        return fold(tile[offset : offset + (HASH_BYTES << inner)])

    def _tile(self, level: int, tile_index: int) -> bytes:
        found = self._tiles.get((level, tile_index))
        if found is None:
            if level == 0:
                found = self._leaves(tile_index * TILE_HASHES, TILE_HASHES)
            elif tile_index == self.edge.size >> (TILE_BITS * (level + 1)):
                found = self.edge.levels[level]
            else:
                found = self._full_tile(level, tile_index)
            self._tiles[level, tile_index] = found
        return found

    def _full_tile(self, level: int, tile_index: int) -> bytes:
        query = text("select hashes from ledger.tile where lane = :lane and level = :level and tile_index = :tile_index")
        found = self._tx.execute(query, {"lane": self._lane, "level": level, "tile_index": tile_index}).scalar_one()
        return bytes(found)

    def _leaves(self, first: int, count: int) -> bytes:
        rows = self._tx.execute(
            text("""
            select s.first_index, b.leaves
            from ledger.sealed_batch s join ledger.batch b on b.lane = s.lane and b.batch_id = s.batch_id
            where s.lane = :lane and s.first_index < :until and s.first_index >= coalesce((
                select max(first_index) from ledger.sealed_batch where lane = :lane and first_index <= :first), 0)
            order by s.first_index
            """),
            {"lane": self._lane, "first": first, "until": first + count},
        ).all()
        start = (first - rows[0].first_index) * HASH_BYTES
        return b"".join(row.leaves for row in rows)[start : start + count * HASH_BYTES]
