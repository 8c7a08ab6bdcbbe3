"""QR codes as SVG, PNG and terminal text, drawn so that phones read them outdoors.

Pure: text in, picture out. Knows nothing of pay codes. Called by the pages and the command line.
Error correction Q (a quarter of the code may be dirty) and the quiet zone of 4 modules that ISO/IEC 18004 asks for.
"""

import io
from typing import Final

import png  # type: ignore[import-untyped]  # the package ships no types
import qrcode
from qrcode.constants import ERROR_CORRECT_Q

QUIET_MODULES: Final = 4


def modules(text: str) -> list[list[bool]]:
    """Return the rows of the code, dark = True, quiet zone included. Letters and digits are packed tightly where they can be."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_Q, border=QUIET_MODULES)
    code.add_data(text, optimize=20)
    code.make(fit=True)
    return [[bool(cell) for cell in row] for row in code.get_matrix()]


def svg(text: str, *, title: str) -> str:
    """Return the code as a standalone SVG of one path; it scales to any print size without blur."""
    rows = modules(text)
    side = len(rows)
    strokes = "".join(f"M{x},{y}h{length}v1h-{length}z" for y, row in enumerate(rows) for x, length in _runs(row))
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
