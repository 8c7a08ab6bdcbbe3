"""The tree against RFC 6962: published roots, a plain recursive definition, and proofs of every size."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import tree

# The eight leaves and roots used by the reference implementations of RFC 6962 (certificate-transparency test data).
RECORDS = [
    bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaf(number: int) -> bytes:
    return tree.record_hash(number.to_bytes(8, "big"))


def plain_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962 §2.1, word for word."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return tree.node(plain_root(leaves[:half]), plain_root(leaves[half:]))


def grown(size: int, *, step: int = 97) -> tree.Edge:
    edge = tree.Edge(0, ())
    for start in range(0, size, step):
        edge, _ = tree.extend(edge, b"".join(leaf(n) for n in range(start, min(start + step, size))))
    return edge


def node_of(height: int, index: int) -> bytes:
    return tree.fold(b"".join(leaf(n) for n in range(index << height, (index + 1) << height)))


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_come_out(size: int) -> None:
    edge, _ = tree.extend(tree.Edge(0, ()), b"".join(tree.record_hash(record) for record in RECORDS[:size]))
    assert edge.root().hex() == ROOTS[size - 1]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537])
def test_the_root_is_that_of_the_plain_definition(size: int) -> None:
    assert grown(size).root() == plain_root([leaf(n) for n in range(size)])


@given(st.lists(st.integers(1, 700), max_size=6))
def test_growing_in_any_steps_gives_the_same_tree_and_each_tile_once(steps: list[int]) -> None:
    edge, tiles, done = tree.Edge(0, ()), [], 0
    for step in steps:
        edge, full = tree.extend(edge, b"".join(leaf(n) for n in range(done, done + step)))
        tiles += full
        done += step
        assert tree.Edge.read(edge.size, edge.stored()) == edge
    assert edge == grown(done, step=10_000)
    assert [(t.level, t.index) for t in tiles] == [(1, i) for i in range(done >> 16)]


def test_full_tiles_of_level_one_hold_the_roots_of_their_256_leaves() -> None:
    _, tiles = tree.extend(tree.Edge(0, ()), b"".join(leaf(n) for n in range(65_536)))
    assert len(tiles) == 1
    assert tiles[0].hashes == b"".join(node_of(8, i) for i in range(256))


def test_an_edge_that_does_not_fit_its_size_is_refused() -> None:
    with pytest.raises(ValueError, match="edge of"):
        tree.Edge.read(3, b"\0" * 32)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 33])
def test_every_leaf_has_an_inclusion_proof_and_no_other_leaf_or_place_fits_it(size: int) -> None:
    root = plain_root([leaf(n) for n in range(size)])
    for index in range(size):
        path = tree.inclusion_path(index, size, node_of)
        assert tree.inclusion_holds(leaf(index), index=index, size=size, path=path, root=root)
        assert not tree.inclusion_holds(leaf(index + 1), index=index, size=size, path=path, root=root)
        assert not tree.inclusion_holds(leaf(index), index=index, size=size, path=[*path, root], root=root)
        if path:
            assert not tree.inclusion_holds(leaf(index), index=index, size=size, path=path[:-1], root=root)
            assert not tree.inclusion_holds(leaf(index), index=index ^ 1, size=size, path=path, root=root)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 21, 32])
def test_every_earlier_size_has_a_consistency_proof_and_a_changed_history_has_none(size: int) -> None:
    leaves = [leaf(n) for n in range(size)]
    root = plain_root(leaves)
    for old in range(1, size + 1):
        old_root = plain_root(leaves[:old])
        path = tree.consistency_path(old, size, node_of)
        assert tree.consistency_holds(old=old, old_root=old_root, size=size, root=root, path=path)
        forged = plain_root([leaf(99), *leaves[1:old]])
        assert not tree.consistency_holds(old=old, old_root=forged, size=size, root=root, path=path)
        if old < size:
            assert not tree.consistency_holds(old=old, old_root=old_root, size=size, root=forged, path=path)


@pytest.mark.parametrize(("index", "size"), [(-1, 4), (4, 4), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no leaf"):
        tree.inclusion_path(index, size, node_of)
    assert not tree.inclusion_holds(leaf(0), index=index, size=size, path=[], root=leaf(0))
