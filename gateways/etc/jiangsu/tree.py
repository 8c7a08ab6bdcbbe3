"""XML as a small immutable tree: written with a declaration, parsed without any of XML's dangers.

Knows elements and text; must not know messages. Called by the messages. No document type, no entities, no processing instructions;
size, depth and number of elements are bounded.
"""

import re
from collections.abc import Mapping
from typing import Final
from xml.parsers import expat

from msgspec import Struct

TEXT_BYTES_MAX: Final = 64 * 1024 * 1024
DEPTH_MAX: Final = 12
ELEMENTS_MAX: Final = 1_000_000
"""A package of 10000 charges has about 400000."""
DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'

_ENCODING: Final = re.compile(rb"""\s*<\?xml[^>]{0,60}?encoding\s*=\s*["']([A-Za-z0-9_\-]{1,20})["']""")
_CHINESE: Final = frozenset({"gb18030", "gbk", "gb2312"})
_UNICODE: Final = frozenset({"utf-8", "utf8"})
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Element(Struct, frozen=True):
    """One element: either text or children, never both."""

    name: str
    text: str = ""
    children: tuple["Element", ...] = ()
    attributes: Mapping[str, str] = {}


class _Refused(Exception):
    """Ends the parsing of a text that is not taken."""


class _Open(Struct):
    name: str
    attributes: dict[str, str]
    text: list[str]
    children: list[Element]


def leaf(name: str, value: str | int) -> Element:
    """Return an element that holds text alone."""
    return Element(name, text=str(value))


def node(name: str, *children: Element, **attributes: str | int) -> Element:
    """Return an element that holds others."""
    return Element(name, children=children, attributes={key: str(value) for key, value in attributes.items()})


def written(root: Element) -> bytes:
    """Return the text with its declaration, in UTF-8, without blanks between elements.

    Raises ValueError for characters that XML cannot hold.
    """
    parts = [DECLARATION]
    _write(root, parts)
    return "".join(parts).encode()


def parsed(content: bytes) -> Element | None:
    """Return the root, or None for anything that is not plain, bounded, well-formed XML in UTF-8 or GB18030."""
    text = _utf8(content)
    if text is None:
        return None
    building = _Building()
    try:
        building.parser.Parse(text, True)
    except (expat.ExpatError, _Refused):
        return None
    return building.root


class _Building:
    """Builds the tree from the parser's events."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[_Open] = []
        self._count = 0
        # the encoding given here holds whatever the declaration says: the text was turned into UTF-8 before
        self.parser = expat.ParserCreate("UTF-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        self.parser.ProcessingInstructionHandler = self._refuse

    def _refuse(self, *_: object) -> int:
        raise _Refused

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= DEPTH_MAX or self._count > ELEMENTS_MAX:
            raise _Refused
        self._open.append(_Open(name, attributes, [], []))

    def _text(self, text: str) -> None:
        self._open[-1].text.append(text)

    def _end(self, _: str) -> None:
        done = self._open.pop()
        text = "".join(done.text)
        if done.children and text.strip():
            raise _Refused
        element = Element(done.name, "" if done.children else text, tuple(done.children), done.attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element


def _write(element: Element, parts: list[str]) -> None:
    attributes = "".join(f' {name}="{_escaped(value)}"' for name, value in element.attributes.items())
    parts.append(f"<{element.name}{attributes}>")
    parts.append(_escaped(element.text))
    for child in element.children:
        _write(child, parts)
    parts.append(f"</{element.name}>")


def _escaped(text: str) -> str:
    if _NOT_XML.search(text):
        raise ValueError(f"{text!r} cannot stand in XML")
    return text.translate(_ESCAPES)


def _utf8(content: bytes) -> bytes | None:
    """Return the text in UTF-8 whatever of the two encodings it declares; None for another one or too much of it."""
    # a zero byte makes the parser take the text for UTF-16, whatever it is told
    if len(content) > TEXT_BYTES_MAX or b"\x00" in content:
        return None
    found = _ENCODING.match(content.removeprefix(b"\xef\xbb\xbf"))
    encoding = "utf-8" if found is None else found[1].decode().lower()
    if encoding not in _UNICODE | _CHINESE:
        return None
    try:
        return content.decode("gb18030" if encoding in _CHINESE else "utf-8").encode()
    except UnicodeDecodeError:
        return None
