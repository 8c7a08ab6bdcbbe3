"""Which quotes of an answer can be true, and the charge that each would be. Pure.

Knows the rules of a quote; must not know the database. Called by ``taking``.
Source: docs/QUOTES.md, section 3.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from gateways.parking.quotes import LotQuote
from payments import plates
from payments.errors import PlateRefused
from payments.lot_records import intake
from payments.lot_records.intake import Rejected
from payments.quoting.asked_quote_store import Refusal
from payments.records import NewCharge

STANDS_AT_LEAST: Final = timedelta(minutes=2)
"""A price that ends earlier could not be paid: a channel gives a payer no less than a minute."""
STANDS_AT_MOST: Final = timedelta(hours=24)


class Good(Struct, frozen=True):
    """A quote that can be true, as a charge."""

    quote: LotQuote
    charge: NewCharge


def sort(quotes: Sequence[LotQuote], plate: str, at: datetime) -> tuple[list[Good], list[Refusal]]:
    """Return the quotes that can be true and cost something, and those that cannot be true, with the reason."""
    good: list[Good] = []
    refused: list[Refusal] = []
    seen: set[tuple[str, str]] = set()
    for quote in quotes:
        try:
            charge = _checked(quote, plate, at)
            if {("quote", quote.serial), ("stay", quote.stay_serial)} & seen:
                raise Rejected("stay_serial", "stay_repeated", "an answer has one quote for a stay, under a serial of its own")
        except Rejected as wrong:
            refused.append(refusal(quote, wrong.field, wrong.code, str(wrong)))
            continue
        seen |= {("quote", quote.serial), ("stay", quote.stay_serial)}
        if quote.amount_fen:
            good.append(Good(quote, charge))
    return good, refused


def _checked(quote: LotQuote, plate: str, at: datetime) -> NewCharge:
    """Return a quote as the charge that it would be; the rest of the checks are those of every charge. Raises Rejected."""
    intake.check_name(quote.serial, None)
    if not 0 < len(quote.stay_serial) <= intake.SERIAL_LETTERS_MAX or not quote.stay_serial.isprintable():
        raise Rejected("stay_serial", "serial_invalid", f"a serial has 1 to {intake.SERIAL_LETTERS_MAX} printable characters")
    try:
        same = plates.checked(quote.plate) == plate
    except PlateRefused:
        same = False
    if not same:
        raise Rejected("plate", "plate_differs", "the quote is for another plate than the one that was asked about")
    if not STANDS_AT_LEAST <= quote.valid_until - at <= STANDS_AT_MOST:
        words = "a price stands for two minutes at least, so that it can be paid, and for a day at most"
        raise Rejected("valid_until", "valid_until_invalid", words)
    if "\x00" in quote.tariff_text:
        raise Rejected("tariff_text", "tariff_invalid", "the tariff text holds what cannot be printed")
    said = {name: getattr(quote, name) for name in _AS_CHARGE} | {"lot_serial": quote.serial}
    try:
        return msgspec.convert(said, NewCharge)
    except msgspec.ValidationError as wrong:
        field = "scene" if "scene" in str(wrong) else "plate_color"
        raise Rejected(field, "malformed", f"the quote does not fit: {wrong}") from None


_AS_CHARGE: Final = ("plate", "plate_color", "entered_at", "minutes", "amount_fen", "tariff_text", "scene", "energy_fen")


def refusal(quote: LotQuote, field: str, reason: str, detail: str) -> Refusal:
    serial = "".join(letter if letter.isprintable() else " " for letter in quote.serial)[: intake.SERIAL_LETTERS_MAX]
    return Refusal(serial=serial, field=field, reason=reason, detail=detail)
