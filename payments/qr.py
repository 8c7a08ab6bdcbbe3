"""QR codes as SVG, PNG, paths for print and terminal text, drawn so that phones read them outdoors.

Pure: text in, picture out. Knows nothing of pay codes. Called by the pages, the printing and the command line.
Error correction Q (a quarter of the code may be dirty) and the quiet zone of 4 modules that ISO/IEC 18004 asks for.

What a code of some size looks like is asked of the package ``qrcode`` once; each code of that size is then put together from its
bits by a few operations on long numbers. Printing ten thousand codes would take most of its time in the package otherwise.
"""

import io
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import chain, compress, zip_longest
from operator import itemgetter, sub
from typing import Final

import png  # type: ignore[import-untyped]  # the package ships no types
import qrcode
from msgspec import Struct
from qrcode import base, exceptions, util
from qrcode.constants import ERROR_CORRECT_Q

QUIET_MODULES: Final = 4
_MASKS: Final = 8
_TIGHT_LETTERS: Final = 20
"""From so many letters in a row on, letters and digits are packed more tightly than other text."""
_AS_NUMBERS: Final = bytes.maketrans(b"01", b"\0\1")
_PADDING: Final = "1110110000010001"
_VERSION_GROUPS: Final = ((1, 9), (10, 26), (27, 40))
"""Versions, first and last, in which the number of letters is written with as many bits."""


def modules(text: str) -> list[list[bool]]:
    """Return the rows of the code, dark = True, quiet zone included. Letters and digits are packed tightly where they can be."""
    side, drawn = _drawn(text)
    lines = _letters(drawn, side * (side + 1))
    quiet, light = [False] * QUIET_MODULES, [[False] * (side + 2 * QUIET_MODULES) for _ in range(QUIET_MODULES)]
    rows = [[letter == "1" for letter in lines[start : start + side]] for start in range(0, side * (side + 1), side + 1)]
    return [*light, *([*quiet, *row, *quiet] for row in rows), *(list(row) for row in light)]


def path(text: str) -> tuple[int, str]:
    """Return how many modules a side has, quiet zone included, and the dark modules as the data of an SVG path, in modules."""
    return _in_words(text, "M{x},{y}", "h{length}v1h-{length}z")


def rectangles(text: str) -> tuple[int, str]:
    """Return the same as a path of rectangles in the words of PDF (ISO 32000 §8.5.2)."""
    return _in_words(text, "{x} {y} ", "{length} 1 re\n")


def _in_words(text: str, begin: str, end: str) -> tuple[int, str]:
    """Return a code as words for each of its dark runs, from the top left."""
    side, drawn = _drawn(text)
    begins, lengths = _words(side, begin, end)
    starts, ends = _ones_of(drawn & ~(drawn << 1), side), _ones_of(drawn & ~(drawn >> 1), side)
    places = range(len(begins))
    runs = zip(
        compress(begins, starts), map(lengths.__getitem__, map(sub, compress(places, ends), compress(places, starts))), strict=True
    )
    return side + 2 * QUIET_MODULES, "".join(chain.from_iterable(runs))


def _ones_of(packed: int, side: int) -> bytes:
    """Return a packed code as bytes 0 and 1, the first module first."""
    return f"{packed:0{side * (side + 1)}b}".encode().translate(_AS_NUMBERS)[::-1]


@lru_cache(maxsize=10)
def _words(side: int, begin: str, end: str) -> tuple[list[str], list[str]]:
    """Return the words for each place of a packed code at which a run begins, and for each length, that of one module first."""
    places = [begin.format(x=x + QUIET_MODULES, y=y + QUIET_MODULES) for y in range(side) for x in range(side + 1)]
    return places, [end.format(length=length) for length in range(1, side + 1)]


def _letters(packed: int, length: int) -> str:
    """Return a packed code as letters 0 and 1, the first module first."""
    return f"{packed:0{length}b}"[::-1]


def _drawn(text: str) -> tuple[int, int]:
    """Return how many modules a side has, and the code under its best mask, packed by rows.

    Packed means: one number, whose lowest bit is the first module of the first row; each row ends with a 0 more.
    """
    version, said = _fitted(text)
    size = _size(version)
    bits = _code_words(said, version)
    rows, columns = int("".join(size.rows(bits + "0")), 2), int("".join(size.columns(bits + "0")), 2)
    every = size.masks ^ (rows * size.each_mask | columns * size.each_mask << _MASKS * size.stride)
    points = penalties(every, side=size.side)
    best = points.index(min(points))
    return size.side, every >> best * size.stride & (1 << size.stride) - 1


# Bits.


class _Bits:
    """What the package writes its data to, as letters 0 and 1."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def put(self, number: int, length: int) -> None:
        self.words.append(f"{number:0{length}b}")


def _fitted(text: str) -> tuple[int, str]:
    """Return the smallest version that holds the text, and the text in bits."""
    chunks = []
    for chunk in util.optimal_data_chunks(text, minimum=_TIGHT_LETTERS):
        bits = _Bits()
        chunk.write(bits)
        chunks.append((chunk.mode, len(chunk), "".join(bits.words)))
    for first, last in _VERSION_GROUPS:
        lengths = util.mode_sizes_for_version(first)
        said = "".join(f"{mode:04b}{letters:0{lengths[mode]}b}{bits}" for mode, letters, bits in chunks)
        version = max(first, bisect_left(util.BIT_LIMIT_TABLE[ERROR_CORRECT_Q], len(said)))
        if version <= last:
            return version, said
    raise exceptions.DataOverflowError(f"{len(text)} letters do not fit into a QR code")


def _code_words(said: str, version: int) -> str:
    """Return the bits of all code words in the order in which they are drawn: filled up, in blocks, with what repairs them."""
    blocks = base.rs_blocks(version, ERROR_CORRECT_Q)
    room = sum(block.data_count for block in blocks) * 8
    said += "0" * min(4, room - len(said))
    said += "0" * (-len(said) % 8)
    words = int((said + _PADDING * room)[:room], 2).to_bytes(room // 8, "big")
    told, repairing, start = [], [], 0
    for block in blocks:
        told.append(words[start : start + block.data_count])
        repairing.append(_repairing(told[-1], block.total_count - block.data_count))
        start += block.data_count
    mixed = bytes(word for part in (told, repairing) for column in zip_longest(*part) for word in column if word is not None)
    return f"{int.from_bytes(mixed, 'big'):0{len(mixed) * 8}b}"


def _repairing(words: bytes, count: int) -> bytes:
    """Return the words that repair these: the rest of a division by the generator of so many words (ISO/IEC 18004 annex A)."""
    products, top, rest = _products(count), 8 * (count - 1), 0
    for word in words:
        lead = rest >> top ^ word
        rest = (rest & (1 << top) - 1) << 8 ^ products[lead]
    return rest.to_bytes(count, "big")


@cache
def _products(count: int) -> list[int]:
    """Return the generator of so many words times each word, without its first term."""
    generator = base.Polynomial([1], 0)
    for power in range(count):
        generator = generator * base.Polynomial([1, base.gexp(power)], 0)
    terms = [base.glog(term) for term in generator][1:]
    return [int.from_bytes(bytes(base.gexp(base.glog(word) + term) for term in terms), "big") if word else 0 for word in range(256)]


# Sizes and masks.


class _Size(Struct, frozen=True):
    """What all codes of a version have alike."""

    side: int
    stride: int
    """Bits from one packed code to the next, where several stand in one number: the code, and an empty row between."""
    rows: Callable[[str], tuple[str, ...]]
    """Puts the bits of code words (and one 0 behind them) to where they are drawn; the last of the packed code comes first."""
    columns: Callable[[str], tuple[str, ...]]
    masks: int
    """A code of empty words under each mask, packed by rows; then the same eight by columns."""
    each_mask: int
    """Times this, a packed code stands in the place of each mask."""


@lru_cache(maxsize=10)
def _size(version: int) -> _Size:
    count = sum(block.total_count for block in base.rs_blocks(version, ERROR_CORRECT_Q))
    code = qrcode.QRCode(version=version, error_correction=ERROR_CORRECT_Q, border=0)
    empty = [_package_draws(code, 0, count, mask) for mask in range(_MASKS)]
    side = len(empty[0])
    stride = _stride(side)
    order = _order(code, empty[0], count)
    both = [*map(_packed, empty), *(_packed(_turned(rows)) for rows in empty)]
    return _Size(
        side=side, stride=stride, rows=_putting(order, count * 8), columns=_putting(_turned(order), count * 8),
        masks=sum(rows << place * stride for place, rows in enumerate(both)),
        each_mask=sum(1 << place * stride for place in range(_MASKS)),
    )  # fmt: skip


def _order(code: qrcode.QRCode, empty: list[list[bool]], count: int) -> list[list[int]]:
    """Return which bit of the code words each module shows, counted from 1; 0: none.

    The package is asked: each drawing tells of one digit of all these numbers.
    """
    order = [[0] * len(row) for row in empty]
    for digit in range((count * 8).bit_length()):
        bits = "".join(str(place >> digit & 1) for place in range(1, count * 8 + 1))
        for y, row in enumerate(_package_draws(code, int(bits, 2), count, 0)):
            for x, dark in enumerate(row):
                order[y][x] |= (dark != empty[y][x]) << digit
    return order


def _package_draws(code: qrcode.QRCode, words: int, count: int, mask: int) -> list[list[bool]]:
    """Return the modules that the package draws for these code words."""
    code.data_cache = words.to_bytes(count, "big")
    code.makeImpl(False, mask)
    return [[bool(dark) for dark in row] for row in code.modules]


def _putting(order: Sequence[Sequence[int]], nothing: int) -> Callable[[str], tuple[str, ...]]:
    places = [place - 1 if place else nothing for row in order for place in (*row, 0)]
    return itemgetter(*reversed(places))


def _turned(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _packed(rows: Sequence[Sequence[int]]) -> int:
    letters = "".join("".join("1" if dark else "0" for dark in row) + "0" for row in rows)
    return int(letters[::-1], 2)


def _stride(side: int) -> int:
    return -(-(side + 1) * (side + 1) // 8) * 8


def penalties(every: int, *, side: int) -> list[int]:
    """Return the penalty points of eight packed codes that stand in one number, by rows and then by columns.

    Source: ISO/IEC 18004 §7.8.3.
    """
    cells, light = _ones(side, side), ~every & _ones(side, side)
    fives, begun, blocks = 0, 0, 0
    for one in (every, light):
        two = one & one >> 1
        five = two & two >> 2 & one >> 4
        fives, begun, blocks = fives | five, begun | five & ~(five << 1), blocks | two & two >> side + 1
    finder = every & light >> 1 & every >> 2 & every >> 3 & every >> 4 & light >> 5 & every >> 6
    four = light & light >> 1
    four &= four >> 2
    weighed = ((fives, 1), (begun, 2), (blocks & _by_rows(side), 3), (finder & four >> 7, 40), (finder >> 4 & four, 40))
    counted = [(_counts(found, side), each) for found, each in weighed]
    shares = [abs(count * 20 - side * side * 10) // (side * side) for count in _counts(every & cells, side)]
    return [
        10 * shares[mask] + sum(each * (counts[mask] + counts[mask + _MASKS]) for counts, each in counted) for mask in range(_MASKS)
    ]


def _counts(every: int, side: int) -> list[int]:
    """Return how many modules are dark in each of sixteen packed codes."""
    width = _stride(side) // 8
    raw = every.to_bytes(2 * _MASKS * width, "little")
    return [int.from_bytes(raw[start : start + width], "little").bit_count() for start in range(0, len(raw), width)]


@cache
def _ones(side: int, width: int) -> int:
    """Return sixteen packed codes of which the first ``width`` modules of each row are dark."""
    one = sum((1 << width) - 1 << y * (side + 1) for y in range(side))
    return sum(one << place * _stride(side) for place in range(2 * _MASKS))


@cache
def _by_rows(side: int) -> int:
    """Return what leaves of sixteen packed codes the eight by rows."""
    return (1 << _MASKS * _stride(side)) - 1


# Pictures.


def svg(text: str, *, title: str) -> str:
    """Return the code as a standalone SVG of one path; it scales to any print size without blur."""
    side, strokes = path(text)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" role="img" shape-rendering="crispEdges">'
        f"<title>{_escaped(title)}</title>"
        f'<path fill="#fff" d="M0,0h{side}v{side}h-{side}z"/><path d="{strokes}"/></svg>'
    )


def image(text: str, *, module_pixels: int = 10) -> bytes:
    """Return the code as a black and white PNG, each module ``module_pixels`` wide (1–40)."""
    if not 1 <= module_pixels <= 40:
        raise ValueError("a module is 1 to 40 pixels wide")
    rows = modules(text)
    lines = [[0 if dark else 1 for dark in row for _ in range(module_pixels)] for row in rows for _ in range(module_pixels)]
    picture = io.BytesIO()
    png.Writer(len(lines), len(lines), greyscale=True, bitdepth=1).write(picture, lines)
    return picture.getvalue()


def terminal(text: str) -> str:
    """Return the code for a terminal: two rows of modules in each line, light on any background by explicit colours."""
    rows = modules(text)
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    half = {(False, False): " ", (False, True): "▄", (True, False): "▀", (True, True): "█"}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    lines = ("".join(half[cell] for cell in zip(upper, lower, strict=True)) for upper, lower in pairs)
    return "\n".join(f"\x1b[30;107m{line}\x1b[0m" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
