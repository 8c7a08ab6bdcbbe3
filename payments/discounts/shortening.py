"""Shortening 减免时长: what free minutes take off a stay, by the tariff of its lot, or by the offer's word where there is none.

Knows tariffs' prices of stays; must not know charges' states, grants or the database's tables. Called by ``effects``.

A stay has a price of ours when the tariff of its lot gives exactly the amount that is charged; then m free minutes take off the
price of the stay less the lowest of its prices with 0, 5, 10 ... m minutes less. So they never take off less than nothing, never
more than the price, and more minutes never take off less, whatever bands, caps and free minutes the tariff has.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from ledger.errors import Refused
from payments.discounts.offers import FREE_MINUTES_STEP, MinutesAt
from payments.plates import PlateColor
from payments.tariffs import quotes
from payments.tariffs.priced import Priced
from payments.tariffs.quotes import AskedStay, Refusal

STAY_MAX: Final = timedelta(days=7)
"""Longer stays are not priced again and again: the offer's word for stays without a price counts."""
_MINUTE: Final = timedelta(minutes=1)


class ChargedStay(Struct, frozen=True, kw_only=True):
    """A stay as it is charged for; ``amount_fen`` for all of its payees together. ``key`` is the caller's own."""

    key: UUID
    lot_id: int
    plate: str
    plate_color: PlateColor
    entered_at: datetime
    left_at: datetime | None
    minutes: int
    amount_fen: int

    @property
    def ends_at(self) -> datetime:
        """When it ended; of a car at the gate, when the minutes were over that it is charged for."""
        return self.left_at or self.entered_at + self.minutes * _MINUTE


class Curve(Struct, frozen=True):
    """What the tariff takes off a stay for free minutes: the k-th for k steps of minutes; rising, the last for all beyond."""

    off_fen: tuple[int, ...]

    def off(self, minutes: int) -> int:
        """Return what so many minutes take off."""
        return self.off_fen[min(minutes // FREE_MINUTES_STEP, len(self.off_fen) - 1)]


class Wanted(Struct, frozen=True):
    """A stay, the most minutes that may be taken off it, and at which end."""

    stay: ChargedStay
    minutes: int
    at: MinutesAt


def curves(tx: Connection, *, lane: int, wanted: Sequence[Wanted]) -> dict[tuple[UUID, MinutesAt], Curve | str]:
    """Return what free minutes take off stays, by the tariffs of their lots; a text says why a stay has no price of ours.

    The questions to PostgreSQL do not grow with the stays, as far as one call of ``quotes.quote_many`` holds them.
    """
    found: dict[tuple[UUID, MinutesAt], Curve | str] = {}
    asks: list[AskedStay] = []
    places: list[tuple[Wanted, slice]] = []
    for one in wanted:
        if one.stay.ends_at - one.stay.entered_at > STAY_MAX:
            found[one.stay.key, one.at] = f"the stay is longer than {STAY_MAX.days} days"
            continue
        mine = shortened(one)
        places.append((one, slice(len(asks), len(asks) + len(mine))))
        asks += mine
    priced = _quoted(tx, lane, asks)
    for one, place in places:
        found[one.stay.key, one.at] = curve(one.stay.amount_fen, priced[place])
    return found


def curve(amount_fen: int, prices: Sequence[Priced | Refusal]) -> Curve | str:
    """Return what steps of minutes take off, from the prices of a stay and of it shortened step by step; or why there is none."""
    fen = []
    for one in prices:
        if isinstance(one, Refusal):
            return f"{one.code}: {one.detail}"
        fen.append(one.amount_fen)
    if fen[0] != amount_fen:
        return f"the lot charges {amount_fen} fen, and by its tariff the stay costs {fen[0]}"
    lowest, off = fen[0], []
    for price in fen:
        lowest = min(lowest, price)
        off.append(amount_fen - lowest)
    return Curve(tuple(off))


def pro_rata(stay: ChargedStay, minutes: int) -> int:
    """Return the share of an amount that so many of its minutes have, rounded down; all of it where there are no more."""
    return stay.amount_fen if minutes >= stay.minutes else stay.amount_fen * minutes // stay.minutes


def shortened(one: Wanted) -> list[AskedStay]:
    """Return a stay, and it shortened step by step until nothing is left or no more may be taken off."""
    stay, step = one.stay, FREE_MINUTES_STEP * _MINUTE
    length = stay.ends_at - stay.entered_at
    steps = min(one.minutes // FREE_MINUTES_STEP, -(-length // step))
    taken = [min(length, count * step) for count in range(steps + 1)]
    return [
        AskedStay(
            lot_id=stay.lot_id, plate_color=stay.plate_color, plate=stay.plate,
            entered_at=stay.entered_at + (less if one.at == "entry" else timedelta()),
            left_at=stay.ends_at - (less if one.at == "exit" else timedelta()),
        )
        for less in taken
    ]  # fmt: skip


def _quoted(tx: Connection, lane: int, asks: Sequence[AskedStay]) -> list[Priced | Refusal]:
    found: list[Priced | Refusal] = []
    for part in _parts(asks):
        try:
            found += quotes.quote_many(tx, lane=lane, stays=part)
        except Refused as wrong:
            found += [Refusal(code=wrong.code, detail=str(wrong))] * len(part)
    return found


def _parts(asks: Sequence[AskedStay]) -> Iterable[Sequence[AskedStay]]:
    """Cut questions into calls that are not refused for their size."""
    begin, days = 0, 0
    for place, asked in enumerate(asks):
        more = (asked.left_at - asked.entered_at).days
        if place - begin == quotes.QUOTES_MAX or days + more > quotes.DAYS_MAX:
            yield asks[begin:place]
            begin, days = place, 0
        days += more
    if begin < len(asks):
        yield asks[begin:]


def wanted_of(stays: Mapping[UUID, ChargedStay], minutes: Mapping[tuple[UUID, MinutesAt], int]) -> list[Wanted]:
    """Return stays with the most minutes that all offers of one end together may take off."""
    return [Wanted(stays[key], most, at) for (key, at), most in minutes.items() if most]
