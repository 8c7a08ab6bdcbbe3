"""How facts are written for people: times in China, lengths of stay, plates, amounts. Pure.

Knows forms of writing only. Called by the page views.
"""

from datetime import date, datetime

from app.pages.words import Words
from ledger.clock import CHINA
from payments import plates


def instant(at: datetime, words: Words) -> str:
    """Return an instant as people in China read it, to the minute."""
    local = at.astimezone(CHINA)
    if words.html_lang == "en":
        return f"{local.day} {local:%b %H:%M}"
    return f"{local.month}月{local.day}日 {local:%H:%M}"


def day(on: date, words: Words) -> str:
    """Return a day as people in China read it."""
    return f"{on.day} {on:%B}" if words.html_lang == "en" else f"{on.month}月{on.day}日"


def precise(at: datetime) -> str:
    """Return an instant to the second, as receipts show it."""
    return f"{at.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"


def stay(minutes: int, words: Words) -> str:
    """Return a length of stay: days and hours only where there are any."""
    days, rest = divmod(minutes, 24 * 60)
    hours, left = divmod(rest, 60)
    parts = [(days, words.day), (hours, words.hour), (left, words.minute)]
    return " ".join(unit.format(n=count) for count, unit in parts if count) or words.minute.format(n=0)


def plate(number: str) -> str:
    """Return a plate as it may stand on a page."""
    return plates.masked(number)


def chip(number: str, color: str = "unknown") -> str:
    """Return the colour in which a plate is shown; of an unknown one: new energy vehicles have one more letter."""
    if color != "unknown":
        return color
    return "green" if len(number) == 8 else "blue"
