"""Elements and values of Jiangsu's messages: which children, in which order, and what a text says.

Knows types and units (yuan with two decimals on the wire, fen here); must not know which message it is. Called by the messages.
Source: docs/ETC.md, section 6.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from gateways.etc.codes import Receipt
from gateways.etc.jiangsu.tree import Element
from gateways.etc.record import china_time, compact_time, read_china_time, read_compact_time
from ledger.clock import CHINA
from ledger.money import fen

TEXT_BYTES_MAX: Final = 150
"""GB18030 bytes of a car park's name; that description and detail hold as many is believed [?]."""
PARTY_DIGITS: Final = 16
"""A national id of 6 digits is written with this many, zero-filled [?]; a mapping overrides it."""

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NATIONAL: Final = re.compile(r"0{10}([0-9]{6})")
_T = TypeVar("_T", bound=Struct)


class Wrong(Exception):
    """Ends the reading of a message that is not taken; ``messages.read`` turns it into the answer."""

    def __init__(self, reason: str, result: Receipt = Receipt.SCHEMA_INVALID) -> None:
        super().__init__(reason)
        self.result = result


def cut(text: str, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """Return the longest beginning of a text that has at most so many bytes in GB18030."""
    return text.encode("gb18030")[:bytes_max].decode("gb18030", "ignore")


def fields(element: Element, *names: str, more: str | None = None) -> list[Element]:
    """Return the children of these names in this order; after them only ``more`` may come, any number of times. Raises Wrong."""
    children = element.children
    if tuple(child.name for child in children[: len(names)]) != names:
        raise Wrong(f"{element.name} has not {', '.join(names)} in this order")
    if any(child.name != more for child in children[len(names) :]):
        raise Wrong(f"{element.name} has more than it should")
    return list(children[: len(names)])


def texts(element: Element, *names: str) -> list[str]:
    """Return the texts of the children of exactly these names in this order."""
    return [text_of(child) for child in fields(element, *names)]


def text_of(element: Element) -> str:
    """Return an element's text without blanks around it. Raises Wrong for one that holds elements."""
    if element.children:
        raise Wrong(f"{element.name} holds elements, not text")
    return element.text.strip()


def converted(told: dict[str, Any], kind: type[_T]) -> _T:
    """Return typed values, checked against the bounds of the type. Raises Wrong."""
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as wrong:
        raise Wrong(str(wrong)) from None


def agreed(told: _T, objection: Callable[[_T], str | None]) -> _T:
    """Return what was told when it does not contradict itself. Raises Wrong with result 4."""
    if wrong := objection(told):
        raise Wrong(wrong, Receipt.CONTENT_WRONG)
    return told


def must_agree(objection: str | None) -> None:
    """Raises ValueError for what must not be sent."""
    if objection:
        raise ValueError(f"this must not be sent: {objection}")


def within(name: str, text: str) -> str:
    """Return a text that has at most ``TEXT_BYTES_MAX`` bytes in GB18030. Raises ValueError for a longer one."""
    if len(text.encode("gb18030")) > TEXT_BYTES_MAX:
        raise ValueError(f"{name} has more than {TEXT_BYTES_MAX} bytes in GB18030")
    return text


def wire_party(number: str, parties: Mapping[str, str]) -> str:
    """Return how a party is named on the wire: as ``parties`` says, else zero-filled."""
    return parties.get(number, number.zfill(PARTY_DIGITS))


def national_party(text: str, national: Mapping[str, str]) -> str:
    """Return a party's national number when its wire id is known or is the number zero-filled, else the id itself."""
    found = _NATIONAL.fullmatch(text)
    return national.get(text.upper()) or (found[1] if found else text.upper())


def integer(text: str) -> int:
    """Return a decimal integer. Raises Wrong."""
    if _INTEGER.fullmatch(text) is None:
        raise Wrong(f"{text[:40]!r} is not an integer")
    return int(text)


def message_number(text: str) -> str:
    """Return a message number in its 20 digits. Raises Wrong."""
    if _NUMBER.fullmatch(text) is None:
        raise Wrong(f"{text[:40]!r} is not a message number")
    return text.zfill(20)


def fen_of(text: str) -> int:
    """Return an amount of yuan in fen. Raises Wrong, also for a part of a fen."""
    try:
        return fen(text)
    except ValueError as wrong:
        raise Wrong(str(wrong)[:120]) from None


def date_of(text: str) -> date:
    """Return a date ``YYYY-MM-DD``. Raises Wrong."""
    try:
        return date.fromisoformat(text if _DATE.fullmatch(text) else "")
    except ValueError:
        raise Wrong(f"{text[:40]!r} is not a date") from None


def compact_date(text: str) -> date:
    """Return a date ``YYYYMMDD``. Raises Wrong."""
    if (at := read_compact_time(f"{text}000000")) is None:
        raise Wrong(f"{text[:40]!r} is not a date")
    return at.astimezone(CHINA).date()


def instant(text: str) -> datetime:
    """Return the instant of Beijing time ``YYYY-MM-DDTHH:mm:ss``. Raises Wrong."""
    if "T" not in text or (at := read_china_time(text.replace("T", " ", 1))) is None:
        raise Wrong(f"{text[:40]!r} is not a time")
    return at


def date_time(at: datetime) -> str:
    """Return an instant as Beijing time ``YYYY-MM-DDTHH:mm:ss``."""
    return china_time(at).replace(" ", "T")


def spaced(at: datetime) -> str:
    """Return an instant as Beijing time ``YYYYMMDD HHMMSS``."""
    compact = compact_time(at)
    return f"{compact[:8]} {compact[8:]}"
