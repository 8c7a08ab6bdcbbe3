"""Texts of reminders: places in braces are filled in, and nothing else may stand in braces. Pure.

Knows the places and what they may say; must not know the database. Called by rules, which enter texts, and by sending.
Names of lots and times of stays stand only in what goes to a proven holder of the plate.
"""

import hashlib
import string
from collections.abc import Sequence
from datetime import date
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from ledger.errors import Refused
from ledger.money import yuan
from payments import plates

Language = Literal["zh", "en"]
PLACES: Final = frozenset({"plate", "count", "amount", "due_on", "today", "link", "help_line", "number", "stays"})
"""plate: masked. count, amount (yuan), due_on (the earliest): of the debts. number: the reminder's own. stays: lots and days."""
NEEDED: Final = frozenset({"amount", "link", "number"})
SUBJECT_LETTERS_MAX: Final = 100
BODY_LETTERS_MAX: Final = 4_000
STAYS_MAX: Final = 50
"""Most stays that a letter lists; the rest is a number."""


class Template(Struct, frozen=True, kw_only=True):
    """A version of a text."""

    subject: str
    body: str


class Stay(Struct, frozen=True):
    """A debt as a text may speak of it."""

    left_on: date
    lot_name: str
    owed_fen: int
    due_on: date


class Facts(Struct, frozen=True, kw_only=True):
    """What a text is filled in with."""

    reminder_id: UUID
    plate: str
    stays: Sequence[Stay]
    names_lots: bool
    today: date
    link: str
    help_line: str


class Written(Struct, frozen=True):
    """A text as it is sent, and its SHA-256 over subject, a line feed and body."""

    subject: str
    body: str
    digest: bytes


def checked(template: Template) -> Template:
    """Return a text that can be filled in.

    Raises:
        Refused: ``text_invalid``: an unknown place, one that must be there is missing, too long or empty.
    """
    if not 0 < len(template.subject) <= SUBJECT_LETTERS_MAX or not template.subject.isprintable():
        raise Refused(f"a subject has 1 to {SUBJECT_LETTERS_MAX} printable characters", code="text_invalid")
    if not 0 < len(template.body) <= BODY_LETTERS_MAX:
        raise Refused(f"a text has 1 to {BODY_LETTERS_MAX} characters", code="text_invalid")
    try:
        named = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(template.body) if name is not None]
    except ValueError as broken:
        raise Refused(f"the braces of the text do not pair: {broken}", code="text_invalid") from None
    names = {name for name, _, _ in named}
    if unknown := sorted(names - PLACES):
        known = ", ".join(sorted(PLACES))
        raise Refused(f"no place is called {unknown[0]!r}; the places are {known}", code="text_invalid")
    if any(spec or how for _, spec, how in named):
        raise Refused("a place is a name in braces, nothing more", code="text_invalid")
    if missing := sorted(NEEDED - names):
        raise Refused(f"the text must say {', '.join(missing)}", code="text_invalid")
    return template


def written(template: Template, facts: Facts, language: Language) -> Written:
    """Fill a text in. Lots are named only with ``names_lots``; the plate is always masked."""
    assert facts.stays, "a reminder speaks of a debt"
    places = {
        "plate": plates.masked(facts.plate),
        "count": str(len(facts.stays)),
        "amount": yuan(sum(stay.owed_fen for stay in facts.stays)),
        "due_on": _day(min(stay.due_on for stay in facts.stays), language),
        "today": _day(facts.today, language),
        "link": facts.link,
        "help_line": facts.help_line,
        "number": number(facts.reminder_id),
        "stays": _stays(facts.stays, language) if facts.names_lots else "",
    }
    body = template.body.format_map(places)
    return Written(template.subject, body, digest_of(template.subject, body))


def digest_of(subject: str, body: str) -> bytes:
    """Return the SHA-256 of a text: subject, a line feed, body, in UTF-8."""
    return hashlib.sha256(f"{subject}\n{body}".encode()).digest()


def number(reminder_id: UUID) -> str:
    """Return the number of a reminder as it stands in its text: who gets one twice sees that it is the same."""
    return reminder_id.hex[:-2].upper()


def masked(medium: str | None, value: str | None) -> str:
    """Return where a reminder goes to, as it may be shown and kept beside it."""
    if value is None:
        return "-"
    if medium == "email":
        name, _, domain = value.partition("@")
        return f"{name[:1]}***@{domain}"
    if medium == "mobile":
        return f"{value[:3]}****{value[-4:]}" if len(value) >= 9 else "***"
    return f"{value[:6]}***" if medium == "address" and len(value) > 6 else "***"


def _day(day: date, language: Language) -> str:
    return f"{day.year}年{day.month}月{day.day}日" if language == "zh" else day.isoformat()


def _stays(stays: Sequence[Stay], language: Language) -> str:
    ordered = sorted(stays, key=lambda stay: (stay.left_on, stay.lot_name))
    listed = [
        f"{_day(stay.left_on, language)} {stay.lot_name} {yuan(stay.owed_fen)}{'元' if language == 'zh' else ' yuan'}"
        for stay in ordered[:STAYS_MAX]
    ]
    more = len(ordered) - len(listed)
    if language == "zh":
        return "明细：" + "；".join(listed) + (f"；另有{more}笔" if more else "") + "。"
    return "In detail: " + "; ".join(listed) + (f"; and {more} more" if more else "") + ". "
