"""Files in parts: looking at how one begins, unpacking it, and nothing held but the part at hand.

Knows bytes alone; must not know whose file it is, nor where it is kept. Called by the adapters, for bill files.
"""

import itertools
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from gateways.contract import BillRefused

PART_BYTES: Final = 1024 * 1024

_GZIP: Final = 31
"""zlib's word for a file with gzip's head and check sum."""


def begun(parts: Iterable[bytes], length: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first ``length`` bytes (fewer when there are no more), and all parts from the very first again."""
    rest, seen, head = iter(parts), [], b""
    while len(head) < length and (part := next(rest, None)) is not None:
        seen.append(part)
        head += part[:length]
    return head[:length], itertools.chain(seen, rest)


def gunzipped(parts: Iterable[bytes], *, bytes_max: int) -> Iterator[bytes]:
    """Yield a gzip file's content, at most ``PART_BYTES`` at once. What follows its end is left alone.

    Raises BillRefused: ``bill_too_large``, or ``bill_cut`` for a file that ends early or is damaged.
    """
    machine, size = zlib.decompressobj(wbits=_GZIP), 0
    for part in parts:
        for piece in _inflated(machine, part):
            size += len(piece)
            if size > bytes_max:
                raise BillRefused(f"the bill file has more than {bytes_max} bytes", code="bill_too_large")
            yield piece
        if machine.eof:
            return
    raise BillRefused("the compressed bill file ends early", code="bill_cut")


def _inflated(machine: "zlib._Decompress", part: bytes) -> Iterator[bytes]:
    try:  # a last call with nothing more draws what the machine still holds
        while not machine.eof and (piece := machine.decompress(part, PART_BYTES)):
            part = machine.unconsumed_tail
            yield piece
    except zlib.error as broken:
        raise BillRefused(f"the compressed bill file cannot be unpacked: {broken}", code="bill_cut") from None
