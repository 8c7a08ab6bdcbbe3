"""The packing that Jiangsu calls LZ77: blocks, literals, gamma-coded lengths, absolute offsets.

Knows bits; must not know frames. Called by the frame. Source: docs/ETC.md, section 5.

A block covers at most 65536 bytes: raw length, packed length (two bytes each, big-endian, 0 = 65536), then bits, high bit first.
``0`` and eight bits are a literal; ``1``, γ(length - 1) and an offset from the block's begin in ceil(log2(bytes out)) bits are a
copy, whose source ends where the output ends at the latest. A packed length equal to the raw one means: stored as it is.
"""

from collections.abc import Iterator
from typing import Final

BLOCK_BYTES_MAX: Final = 65_536
UNPACKED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest text that is unpacked: a package of 10000 charges has about 10 MB."""
_HEADER_BYTES: Final = 4
_LITERAL_BITS: Final = 9
_SEED: Final = 3
"""A copy is looked for by its first three bytes; shorter ones gain nothing."""
_CANDIDATES: Final = 8
"""So many of the earliest and so many of the nearest places are tried: near ones share more, early ones leave room to copy."""
_GOOD_ENOUGH: Final = 4_096
"""A copy of this length is taken without looking on."""


def packed(content: bytes) -> bytes:
    """Return the packed form; nothing gives nothing. The same content gives the same bytes."""
    return b"".join(_block(content[start : start + BLOCK_BYTES_MAX]) for start in range(0, len(content), BLOCK_BYTES_MAX))


def unpacked(content: bytes, *, bytes_max: int = UNPACKED_BYTES_MAX) -> bytes | None:
    """Return the text, or None when a block is cut, points outside what is out, or the whole is larger than ``bytes_max``.

    Bits after a block's last byte are ignored.
    """
    out: list[bytes] = []
    total, place = 0, 0
    while place < len(content):
        raw_length, packed_length = _lengths(content[place : place + _HEADER_BYTES])
        place += _HEADER_BYTES
        piece = content[place : place + packed_length]
        place += packed_length
        total += raw_length
        if total > bytes_max or len(piece) != packed_length:
            return None
        block = piece if packed_length == raw_length else _unpacked_block(piece, raw_length)
        if block is None:
            return None
        out.append(block)
    return b"".join(out)


def gamma(number: int) -> str:
    """Return γ(number) as bits: floor(log2) ones, a zero, then the low bits. The number is at least 1."""
    size = number.bit_length() - 1
    return "1" * size + "0" + (format(number, "b")[1:])


def offset_bits(out: int) -> int:
    """Return how many bits an offset has when ``out`` bytes are out: ceil(log2(out)), at least one byte being out."""
    return (out - 1).bit_length()


def _lengths(header: bytes) -> tuple[int, int]:
    """Return raw and packed length; a header that is cut says more than can follow."""
    if len(header) < _HEADER_BYTES:
        return BLOCK_BYTES_MAX, BLOCK_BYTES_MAX
    raw, packed_length = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:], "big")
    return raw or BLOCK_BYTES_MAX, packed_length or BLOCK_BYTES_MAX


def _block(raw: bytes) -> bytes:
    bits = "".join(_tokens(raw))
    size = (len(bits) + 7) // 8
    body = int(bits.ljust(size * 8, "0"), 2).to_bytes(size, "big") if size < len(raw) else raw
    return (len(raw) % BLOCK_BYTES_MAX).to_bytes(2, "big") + (len(body) % BLOCK_BYTES_MAX).to_bytes(2, "big") + body


def _tokens(raw: bytes) -> Iterator[str]:
    """Yield the bits of literals and copies, each copy the longest among the places tried."""
    seen: dict[bytes, list[int]] = {}
    place = 0
    while place < len(raw):
        offset, length = _longest(raw, place, seen.get(raw[place : place + _SEED], []))
        width = offset_bits(place) if place else 0
        token = "1" + gamma(length - 1) + (format(offset, f"0{width}b") if width else "") if length > 1 else ""
        if not token or len(token) >= length * _LITERAL_BITS:
            token, length = f"0{raw[place]:08b}", 1
        yield token
        for start in range(place, place + length):
            seen.setdefault(raw[start : start + _SEED], []).append(start)
        place += length


def _longest(raw: bytes, place: int, starts: list[int]) -> tuple[int, int]:
    """Return offset and length of the longest copy for ``place``; it ends before ``place``. Length 0: none."""
    best, best_length = 0, 0
    tried = starts if len(starts) <= 2 * _CANDIDATES else starts[:_CANDIDATES] + starts[-_CANDIDATES:]
    for start in tried:
        limit = min(place - start, len(raw) - place)
        if limit <= best_length or raw[start + best_length] != raw[place + best_length]:
            continue
        length = _common(raw, start, place, limit)
        if length > best_length:
            best, best_length = start, length
        if length >= _GOOD_ENOUGH:
            break
    return best, best_length


def _common(raw: bytes, one: int, other: int, limit: int) -> int:
    """Return how many bytes agree from both places on, at most ``limit``; by halves, so that long runs are quick."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if raw[one + low : one + middle] == raw[other + low : other + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _unpacked_block(piece: bytes, raw_length: int) -> bytes | None:
    bits = format(int.from_bytes(b"\x01" + piece, "big"), "b")[1:]
    out = bytearray()
    place = 0
    while len(out) < raw_length:
        if place >= len(bits):
            return None
        if bits[place] == "0":
            literal = bits[place + 1 : place + _LITERAL_BITS]
            if len(literal) < 8:
                return None
            out.append(int(literal, 2))
            place += _LITERAL_BITS
            continue
        end_of_ones = bits.find("0", place + 1)
        size = end_of_ones - place - 1
        if end_of_ones < 0 or size > 16 or not out:
            return None
        width = offset_bits(len(out))
        numbers = bits[end_of_ones + 1 : end_of_ones + 1 + size + width]
        if len(numbers) < size + width:
            return None
        length = (1 << size | int(numbers[:size] or "0", 2)) + 1
        offset = int(numbers[size:] or "0", 2)
        if offset + length > len(out) or len(out) + length > raw_length:
            return None
        out += out[offset : offset + length]
        place = end_of_ones + 1 + size + width
    return bytes(out)
