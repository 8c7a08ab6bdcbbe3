"""The Merkle tree of RFC 6962 as arithmetic on hashes. Pure.

Knows SHA-256 and nothing else. Called by the sealer, which extends the tree, and by proofs, which read it.

A tree of any size is seen in tile levels: a hash of level L covers 256^L leaves. What is not yet a full tile is the ragged right
edge: for each level the hashes behind the last full tile, ``(size >> 8·L) & 255`` of them.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

HASH_BYTES: Final = 32
TILE_BITS: Final = 8
TILE_HASHES: Final = 1 << TILE_BITS
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

_sha256 = hashlib.sha256


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node. Source: RFC 6962 §2.1."""
    return _sha256(b"\x01" + left + right).digest()


def record_hash(record: bytes) -> bytes:
    """Return the leaf hash of a record. Source: RFC 6962 §2.1."""
    return _sha256(b"\x00" + record).digest()


def fold(hashes: bytes) -> bytes:
    """Return the root over a power of two of concatenated hashes."""
    while len(hashes) > HASH_BYTES:
        pairs = range(0, len(hashes), 2 * HASH_BYTES)
        hashes = b"".join([_sha256(b"\x01" + hashes[i : i + 64]).digest() for i in pairs])
    return hashes


class FullTile(Struct, frozen=True):
    """A tile that became full: 256 hashes of one level."""

    level: int
    index: int
    hashes: bytes


class Edge(Struct, frozen=True):
    """Where a tree stands: its size and its ragged right edge, level 0 first, concatenated hashes per level."""

    size: int
    levels: tuple[bytes, ...]

    @classmethod
    def read(cls, size: int, ragged: bytes) -> "Edge":
        """Read the stored form. Raises ValueError when its length does not fit the size."""
        levels, start, rest = [], 0, size
        while rest:
            end = start + (rest & (TILE_HASHES - 1)) * HASH_BYTES
            levels.append(ragged[start:end])
            start, rest = end, rest >> TILE_BITS
        if start != len(ragged):
            raise ValueError(f"a tree of {size} leaves has an edge of {start} bytes, not {len(ragged)}")
        return cls(size, tuple(levels))

    def stored(self) -> bytes:
        """Return the form that ``read`` takes."""
        return b"".join(self.levels)

    def root(self) -> bytes:
        """Return the tree hash over all leaves. Source: RFC 6962 §2.1."""
        root = b""
        for hashes in self.levels:
            for subtree in reversed(_perfect_parts(hashes)):
                root = node(subtree, root) if root else subtree
        return root or EMPTY_ROOT


def extend(edge: Edge, leaves: bytes) -> tuple[Edge, list[FullTile]]:
    """Append concatenated leaf hashes. Returns the new edge and the tiles of level 1 and up that became full."""
    tiles: list[FullTile] = []
    levels = []
    coming, level, size = leaves, 0, edge.size
    while coming or level < len(edge.levels):
        before = edge.levels[level] if level < len(edge.levels) else b""
        hashes = before + coming
        tile_bytes = TILE_HASHES * HASH_BYTES
        full = len(hashes) // tile_bytes
        first = (size >> (TILE_BITS * level)) >> TILE_BITS
        parts = [hashes[i * tile_bytes : (i + 1) * tile_bytes] for i in range(full)]
        if level:
            tiles += [FullTile(level, first + i, part) for i, part in enumerate(parts)]
        levels.append(hashes[full * tile_bytes :])
        coming = b"".join([fold(part) for part in parts])
        level += 1
    return Edge(size + len(leaves) // HASH_BYTES, tuple(levels)), tiles


def _perfect_parts(hashes: bytes) -> list[bytes]:
    """Return the roots of the perfect subtrees that a run of sibling hashes falls into, largest first."""
    parts, start, count = [], 0, len(hashes) // HASH_BYTES
    for bit in range(count.bit_length() - 1, -1, -1):
        if count >> bit & 1:
            end = start + (HASH_BYTES << bit)
            parts.append(fold(hashes[start:end]))
            start = end
    return parts


NodeOf = Callable[[int, int], bytes]
"""Gives the hash of the perfect subtree number ``index`` (second) over 2^``height`` (first) leaves."""


def range_hash(start: int, end: int, node_of: NodeOf) -> bytes:
    """Return the tree hash over the leaves ``start`` to ``end`` (exclusive), ``start`` a multiple of its largest power of two."""
    root = b""
    for height, index in reversed(perfect_cover(start, end)):
        subtree = node_of(height, index)
        root = node(subtree, root) if root else subtree
    return root or EMPTY_ROOT


def perfect_cover(start: int, end: int) -> list[tuple[int, int]]:
    """Return (height, index) of the perfect subtrees that cover an aligned range, left to right, largest first."""
    cover = []
    while start < end:
        height = (end - start).bit_length() - 1
        cover.append((height, start >> height))
        start += 1 << height
    return cover


def inclusion_path(index: int, size: int, node_of: NodeOf) -> list[bytes]:
    """Return the audit path of a leaf in the tree of ``size`` leaves, leaf side first. Source: RFC 6962 §2.1.1."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(middle, end, node_of))
            end = middle
        else:
            path.append(range_hash(start, middle, node_of))
            start = middle
    return path[::-1]


def consistency_path(old: int, size: int, node_of: NodeOf) -> list[bytes]:
    """Return the proof that the tree of ``size`` leaves begins with the tree of ``old`` leaves. Source: RFC 6962 §2.1.2."""
    if not 0 < old <= size:
        raise ValueError(f"no consistency proof leads from {old} to {size} leaves")
    path, start, end, whole = [], 0, size, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_hash(middle, end, node_of))
            end = middle
        else:
            path.append(range_hash(start, middle, node_of))
            start, whole = middle, False
    if not whole:
        path.append(range_hash(start, end, node_of))
    return path[::-1]


def inclusion_holds(leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether ``path`` proves that ``leaf`` is leaf ``index`` under ``root``. Source: RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        return False
    position, last, found = index, size - 1, leaf
    for hashed in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = node(hashed, found)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            found = node(found, hashed)
        position, last = position >> 1, last >> 1
    return last == 0 and found == root


def consistency_holds(*, old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Tell whether ``path`` proves that the tree of ``root`` begins with that of ``old_root``. Source: RFC 9162 §2.1.4.2."""
    if old == size:
        return not path and old_root == root
    if not 0 < old < size or not path:
        return False
    hashes = list(path) if old & (old - 1) else [old_root, *path]
    position, last = old - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    left = both = hashes[0]
    for hashed in hashes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            left, both = node(hashed, left), node(hashed, both)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            both = node(both, hashed)
        position, last = position >> 1, last >> 1
    return last == 0 and left == old_root and both == root


def _split(count: int) -> int:
    """Return the largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)
