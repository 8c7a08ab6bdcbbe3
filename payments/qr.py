"""QR codes as SVG, PNG, paths for print and terminal text, drawn so that phones read them outdoors.

Pure: text in, picture out. Knows nothing of pay codes. Called by the pages, the printing and the command line.
Error correction Q (a quarter of the code may be dirty) and the quiet zone of 4 modules that ISO/IEC 18004 asks for.
"""

import io
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import png  # type: ignore[import-untyped]  # the package ships no types
import qrcode
from msgspec import Struct
from qrcode.constants import ERROR_CORRECT_Q
from qrcode.main import precomputed_qr_blanks

QUIET_MODULES: Final = 4


def modules(text: str) -> list[list[bool]]:
    """Return the rows of the code, dark = True, quiet zone included. Letters and digits are packed tightly where they can be."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_Q, border=0, mask_pattern=0)
    code.add_data(text, optimize=20)
    code.make(fit=True)
    masks = _masks(code.version)
    drawn, turned = _packed(code.modules), _packed([list(column) for column in zip(*code.modules, strict=True)])
    points = [penalty(drawn ^ mask.rows, turned ^ mask.columns, side=code.modules_count) for mask in masks]
    best = points.index(min(points))
    code.setup_type_info(False, best)
    return _framed(_packed(code.modules) ^ masks[best].rows, code.modules_count)


def runs(text: str) -> tuple[int, list[tuple[int, int, int]]]:
    """Return how many modules a side has, quiet zone included, and the dark runs as x, y and length in modules."""
    rows = modules(text)
    return len(rows), [(x, y, length) for y, row in enumerate(rows) for x, length in _runs(row)]


class _Mask(Struct, frozen=True):
    """The modules that differ between a code under this mask and under mask 0, packed by rows and by columns."""

    rows: int
    columns: int


def _packed(rows: Sequence[Sequence[bool | None]]) -> int:
    """Return a code as one number: the first module of the first row is the lowest bit, and each row ends with a 0 more.

    So a question about all modules is a few operations on one number: printing ten thousand codes would take most of its time in
    choosing masks otherwise.
    """
    letters = "".join("".join("1" if dark else "0" for dark in row) + "0" for row in rows)
    return int(letters[::-1], 2)


def _framed(drawn: int, side: int) -> list[list[bool]]:
    """Return a packed code as rows with the quiet zone around."""
    letters = f"{drawn:0{side * (side + 1)}b}"[::-1]
    quiet, light = [False] * QUIET_MODULES, [[False] * (side + 2 * QUIET_MODULES) for _ in range(QUIET_MODULES)]
    rows = [[letter == "1" for letter in letters[y * (side + 1) : y * (side + 1) + side]] for y in range(side)]
    return [*light, *([*quiet, *row, *quiet] for row in rows), *(list(row) for row in light)]


@cache
def _masks(version: int) -> tuple[_Mask, ...]:
    """Return the eight masks of a version's codes (ISO/IEC 18004 table 10), each as what it changes of mask 0."""
    side = version * 4 + 17
    blank = precomputed_qr_blanks[version]
    found = []
    for turned in _MASKS:
        rows = [
            [blank[y][x] is None and not _is_format(x, y, side, version) and turned(y, x) != _MASKS[0](y, x) for x in range(side)]
            for y in range(side)
        ]
        found.append(_Mask(_packed(rows), _packed([list(column) for column in zip(*rows, strict=True)])))
    return tuple(found)


_MASKS: Final[tuple[Callable[[int, int], bool], ...]] = (
    lambda i, j: (i + j) % 2 == 0,
    lambda i, _j: i % 2 == 0,
    lambda _i, j: j % 3 == 0,
    lambda i, j: (i + j) % 3 == 0,
    lambda i, j: (i // 2 + j // 3) % 2 == 0,
    lambda i, j: (i * j) % 2 + (i * j) % 3 == 0,
    lambda i, j: ((i * j) % 2 + (i * j) % 3) % 2 == 0,
    lambda i, j: ((i * j) % 3 + (i + j) % 2) % 2 == 0,
)
"""ISO/IEC 18004 table 10, by row and column."""


def _is_format(x: int, y: int, side: int, version: int) -> bool:
    """Say whether a module holds the format or the version, which no mask touches."""
    near = (y == 8 and (x <= 8 or x >= side - 8)) or (x == 8 and (y <= 8 or y >= side - 8))
    versions = version >= 7 and ((y < 6 and side - 11 <= x < side - 8) or (x < 6 and side - 11 <= y < side - 8))
    return near or versions


def penalty(rows: int, columns: int, *, side: int) -> int:
    """Return the penalty points of a code packed by rows and by columns (ISO/IEC 18004 §7.8.3). Pure."""
    cells = _ones(side, side)
    light = ~rows & cells
    blocks = sum((one & one >> 1 & one >> side + 1 & one >> side + 2).bit_count() for one in (rows, light))
    share = abs(rows.bit_count() * 20 - side * side * 10) // (side * side)
    return _line_points(rows, side) + _line_points(columns, side) + 3 * blocks + 10 * share


@cache
def _ones(side: int, width: int) -> int:
    """Return a packed code of which the first ``width`` modules of each row are dark."""
    return sum((1 << width) - 1 << y * (side + 1) for y in range(side))


def _line_points(lines: int, side: int) -> int:
    """Return the points of all rows or columns: 3 for five alike and 1 for each more; 40 for what looks like a finder."""
    points = 0
    for cells in (lines, ~lines & _ones(side, side)):
        two = cells & cells >> 1
        five = two & two >> 2 & cells >> 4
        points += five.bit_count() + 2 * (five & ~(five << 1)).bit_count()
    for pattern in (0b00001011101, 0b10111010000):
        found = _ones(side, side - 10)
        for place in range(11):
            cells = lines >> place
            found &= cells if pattern >> place & 1 else ~cells
        points += 40 * found.bit_count()
    return points


def svg(text: str, *, title: str) -> str:
    """Return the code as a standalone SVG of one path; it scales to any print size without blur."""
    side, dark = runs(text)
    strokes = path(dark)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" role="img" shape-rendering="crispEdges">'
        f"<title>{_escaped(title)}</title>"
        f'<path fill="#fff" d="M0,0h{side}v{side}h-{side}z"/><path d="{strokes}"/></svg>'
    )


def path(dark: list[tuple[int, int, int]]) -> str:
    """Return dark runs as the data of an SVG path, in modules."""
    return "".join(f"M{x},{y}h{length}v1h-{length}z" for x, y, length in dark)


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


def _runs(row: list[bool]) -> list[tuple[int, int]]:
    """Return start and length of each run of dark modules."""
    runs: list[tuple[int, int]] = []
    start = None
    for x, dark in enumerate([*row, False]):
        if dark and start is None:
            start = x
        elif not dark and start is not None:
            runs.append((start, x - start))
            start = None
    return runs


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
