"""A sheet of pay codes as SVG.

Knows SVG; must not know what a code stands for. Called by ``sheets``. Words are text in a usual Chinese font of whoever opens it; a
print shop takes the PDF, which has its font inside.
"""

from html import escape
from typing import Final

from app.printing.labels import MM_PER_POINT, PAGE_HEIGHT, PAGE_WIDTH, Mark, Picture, Sheet, Words
from payments import qr

_FONTS: Final = "'Noto Sans CJK SC','Source Han Sans SC','PingFang SC','Microsoft YaHei',sans-serif"


def drawn(sheet: Sheet) -> str:
    """Return a page as SVG in millimetres."""
    parts = [*map(_picture, sheet.pictures), *map(_words, sheet.words), *map(_mark, sheet.marks)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{PAGE_WIDTH:g}mm" height="{PAGE_HEIGHT:g}mm" '
        f'viewBox="0 0 {PAGE_WIDTH:g} {PAGE_HEIGHT:g}" font-family="{_FONTS}" text-anchor="middle">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _picture(one: Picture) -> str:
    side, dark = qr.runs(one.link)
    scale = one.side / side
    return f'<path transform="translate({one.x:g} {one.y:g}) scale({scale:.6g})" shape-rendering="crispEdges" d="{qr.path(dark)}"/>'


def _words(one: Words) -> str:
    return f'<text x="{one.x:g}" y="{one.y:g}" font-size="{one.points * MM_PER_POINT:.4g}">{escape(one.text)}</text>'


def _mark(one: Mark) -> str:
    return f'<path d="M{one.x1:g},{one.y1:g}L{one.x2:g},{one.y2:g}" stroke="#000" stroke-width=".1"/>'
