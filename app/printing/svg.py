"""A sheet of pay codes as SVG: codes and words are outlines, so that it looks the same on every machine, whatever fonts that has.

Knows SVG; must not know what a code stands for. Called by ``drawing``. A letter is drawn once on a sheet, and so is a line of words
that stands on several labels; all others refer to it.
"""

from collections.abc import Sequence
from html import escape

from app.printing import letters
from app.printing.labels import MM_PER_POINT, PAGE_HEIGHT, PAGE_WIDTH, Mark, Picture, Sheet, Words
from app.printing.letters import Face, FontFile
from payments import qr


def drawn(sheet: Sheet, *, font: FontFile) -> bytes:
    """Return a page as SVG in millimetres.

    Raises:
        Refused: ``font_lacks_letters``.
    """
    face = letters.face(font)
    texts = {text: f"w{number}" for number, text in enumerate(dict.fromkeys(one.text for one in sheet.words))}
    used = {letter: f"g{number}" for number, letter in enumerate(sorted({letter for text in texts for letter in text}))}
    parts = [
        *(f'<path id="{name}" d="{face.outline(letter).path}"/>' for letter, name in used.items()),
        *(_line(text, name, used, face) for text, name in texts.items()),
        "</defs>",
        *map(_picture, sheet.pictures),
        *(_words(one, texts[one.text], face) for one in sheet.words),
        _marks(sheet.marks),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{PAGE_WIDTH:g}mm" '
        f'height="{PAGE_HEIGHT:g}mm" viewBox="0 0 {PAGE_WIDTH:g} {PAGE_HEIGHT:g}">'
        f'<rect width="100%" height="100%" fill="#fff"/>\n<defs>{"".join(parts)}</svg>\n'
    ).encode()


def _picture(one: Picture) -> str:
    side, path = qr.path(one.link)
    scale = one.side / side
    return f'\n<path transform="translate({one.x:g} {one.y:g}) scale({scale:.6g})" shape-rendering="crispEdges" d="{path}"/>'


def _line(text: str, name: str, used: dict[str, str], face: Face) -> str:
    """Return a line of words in the font's units, from its beginning, as letters that refer to their outlines."""
    x, parts = 0.0, []
    for letter in text:
        outline = face.outline(letter)
        if outline.path:
            parts.append(f'<use xlink:href="#{used[letter]}" x="{x:g}"/>')
        x += outline.advance
    return f'\n<g id="{name}" aria-label="{escape(text)}">{"".join(parts)}</g>'


def _words(one: Words, name: str, face: Face) -> str:
    size = one.points * MM_PER_POINT
    left, scale = one.x - face.width(one.text) * size / 2, size / face.units
    return f'\n<use xlink:href="#{name}" transform="translate({left:.5g} {one.y:.5g}) scale({scale:.5g} -{scale:.5g})"/>'


def _marks(marks: Sequence[Mark]) -> str:
    lines = "".join(f"M{one.x1:g},{one.y1:g}L{one.x2:g},{one.y2:g}" for one in marks)
    return f'\n<path d="{lines}" stroke="#000" stroke-width=".1"/>' if lines else ""
