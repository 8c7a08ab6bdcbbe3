"""QR codes as SVG, PNG, paths for print and terminal text, drawn so that phones read them outdoors.

Pure: text in, picture out. Knows nothing of pay codes. Called by the pages, the printing and the command line.
Error correction Q (a quarter of the code may be dirty) and the quiet zone of 4 modules that ISO/IEC 18004 asks for.
"""

import io
from functools import cache
from itertools import pairwise
from typing import Final

import png  # type: ignore[import-untyped]  # the package ships no types
import qrcode
from qrcode.constants import ERROR_CORRECT_Q
from qrcode.main import precomputed_qr_blanks

QUIET_MODULES: Final = 4


def modules(text: str) -> list[list[bool]]:
    """Return the rows of the code, dark = True, quiet zone included. Letters and digits are packed tightly where they can be."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_Q, border=QUIET_MODULES, mask_pattern=0)
    code.add_data(text, optimize=20)
    code.make(fit=True)
    best = _best_mask([_bits(row) for row in code.modules], code.version)
    if best:
        code.makeImpl(False, best)
    return [[bool(cell) for cell in row] for row in code.get_matrix()]


def runs(text: str) -> tuple[int, list[tuple[int, int, int]]]:
    """Return how many modules a side has, quiet zone included, and the dark runs as x, y and length in modules."""
    rows = modules(text)
    return len(rows), [(x, y, length) for y, row in enumerate(rows) for x, length in _runs(row)]


def _bits(row: list[bool | None]) -> int:
    return sum(1 << x for x, dark in enumerate(row) if dark)


def _best_mask(rows: list[int], version: int) -> int:
    """Return the mask with the fewest penalty points (ISO/IEC 18004 §7.8.3) of a code that was drawn with mask 0.

    Whole rows are judged at once as bits of a number: printing ten thousand codes would take most of its time here otherwise.
    """
    areas = _masked_areas(version)
    points = [
        penalty([row ^ zero ^ one for row, zero, one in zip(rows, areas[0], area, strict=True)]) for area in areas
    ]  # fmt: skip
    return points.index(min(points))


@cache
def _masked_areas(version: int) -> list[list[int]]:
    """Return the modules that each of the eight masks turns over in a code of this version, row by row."""
    side = version * 4 + 17
    blank = precomputed_qr_blanks[version]
    data = [[blank[y][x] is None and not _is_format(x, y, side, version) for x in range(side)] for y in range(side)]
    return [
        [sum(1 << x for x in range(side) if data[y][x] and turned(y, x)) for y in range(side)] for turned in _MASKS
    ]  # fmt: skip


_MASKS: Final = (
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


def penalty(rows: list[int]) -> int:
    """Return the penalty points of a code whose rows are numbers, the leftmost module the lowest bit. Pure."""
    side = len(rows)
    columns = [sum((row >> x & 1) << y for y, row in enumerate(rows)) for x in range(side)]
    lines = [*rows, *columns]
    dark = sum(row.bit_count() for row in rows)
    blocks = sum((a & a >> 1 & b & b >> 1).bit_count() + _light_blocks(a, b, side) for a, b in pairwise(rows))
    share = abs(dark * 20 - side * side * 10) // (side * side)
    return sum(_line_points(line, side) for line in lines) + 3 * blocks + 10 * share


def _light_blocks(a: int, b: int, side: int) -> int:
    light = ~(a | b) & (1 << side) - 1
    return (light & light >> 1).bit_count()


def _line_points(line: int, side: int) -> int:
    """Return the points of one row or column: 3 for five alike and 1 for each more; 40 for what looks like a finder."""
    full = (1 << side) - 1
    points = 0
    for cells in (line, ~line & full):
        five = cells & cells >> 1 & cells >> 2 & cells >> 3 & cells >> 4
        points += five.bit_count() + 2 * (five & ~(five << 1)).bit_count()
    for pattern in (0b00001011101, 0b10111010000):
        found = (1 << side - 10) - 1
        for place in range(11):
            cells = line >> place
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
