"""What happens in a simulated day: who stays where, who pays when, and with which faults of the channel. Pure.

Knows the demo city and a seed; must not know HTTP or the database. The same seed gives the same day. Called by ``app.day``.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Final

from msgspec import Struct

from app import demo
from gateways.sandbox.shapes import Fault, FaultKind, FaultPlan

OPENS_MINUTE: Final = 5
CLOSES_MINUTE: Final = 15 * 60
LAST_MINUTE: Final = 17 * 60 + 30
"""The clock starts at 6:00; charges come until 21:00; until 23:30 everything late has arrived, before midnight cuts the day."""

TWICE_SHARE: Final = 0.03
GIVEN_UP_SHARE: Final = 0.02
ENERGY_SHARE: Final = 0.3
_PEAKS: Final = ((3.5, 1.2), (7.0, 1.5), (12.0, 1.6))
"""Busy hours after 6:00 with their spread: late morning, after lunch, evening."""

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_SERIAL: Final = "0123456789" + _LETTERS

FAULTS: Final = FaultPlan(
    faults=(
        Fault(kind=FaultKind.TWICE, probability=0.05),
        Fault(kind=FaultKind.LATE, probability=0.05, seconds=420),
        Fault(kind=FaultKind.OUT_OF_ORDER, probability=0.05),
        Fault(kind=FaultKind.NEVER, probability=0.04),
        Fault(kind=FaultKind.WRONG_SIGNATURE, probability=0.01, attempts=1),
        Fault(kind=FaultKind.SIGNTEST, probability=0.01, attempts=1),
        Fault(kind=FaultKind.WRONG_AMOUNT, probability=0.01, attempts=1),
        Fault(kind=FaultKind.UNKNOWN, probability=0.01),
    )
)
"""What the channel stand-in does wrong, by seed: shares of the payments."""

FAULTS_ONCE_ANSWERING: Final = FaultPlan(faults=tuple(fault for fault in FAULTS.faults if fault.kind is not FaultKind.UNKNOWN))
"""The same while somebody taps a second time: a share by seed meets an order every time, and the channel does recover."""


class Tap(Struct, frozen=True):
    """A payer opens the page and orders; ``pays_minute`` is None for one who gives up at the cashier."""

    payer: str
    minute: int
    pays_minute: int | None


class Stay(Struct, frozen=True):
    """A car's stay. Minutes count from the start of the day's clock."""

    serial: str
    lot_code: str
    plate: str
    stayed_minutes: int
    charged_minute: int
    taps: tuple[Tap, ...]


class Plan(Struct, frozen=True):
    """The whole day."""

    seed: int
    starts_at: datetime
    stays: tuple[Stay, ...]

    @property
    def payments(self) -> int:
        """How many times money is taken."""
        return sum(tap.pays_minute is not None for stay in self.stays for tap in stay.taps)

    def minutes(self) -> list[int]:
        """Return the minutes in which something happens or late things may arrive, in order."""
        busy = {stay.charged_minute for stay in self.stays}
        busy |= {tap.minute for stay in self.stays for tap in stay.taps}
        busy |= {tap.pays_minute for stay in self.stays for tap in stay.taps if tap.pays_minute is not None}
        return sorted(busy | set(range(0, LAST_MINUTE + 1, 10)))

    def at(self, minute: int) -> datetime:
        """Return the instant of a minute."""
        return self.starts_at + timedelta(minutes=minute)


def draw(*, seed: int, payments: int, starts_at: datetime) -> Plan:
    """Draw a day in which money is taken ``payments`` times; some people pay a charge twice, some give up."""
    random = Random(f"tongting day {seed}")
    return Plan(seed, starts_at, tuple(_stays(random, payments)))


def _stays(random: Random, payments: int) -> Iterator[Stay]:
    plates = _plates(random)
    number = 0
    while payments > 0:
        number += 1
        stay = _stay(random, number, next(plates), may_pay_twice=payments > 1)
        payments -= sum(tap.pays_minute is not None for tap in stay.taps)
        yield stay


def _stay(random: Random, number: int, plate: str, *, may_pay_twice: bool) -> Stay:
    lot = random.choices(demo.LOTS, weights=[lot.berths for lot in demo.LOTS])[0]
    charged = _busy_minute(random)
    return Stay(
        serial=f"D{number:06d}",
        lot_code=lot.code,
        plate=plate,
        stayed_minutes=demo.FREE_MINUTES + 1 + int(random.expovariate(1 / 110)),
        charged_minute=charged,
        taps=_taps(random, number, charged, may_pay_twice=may_pay_twice),
    )


def _taps(random: Random, number: int, charged: int, *, may_pay_twice: bool) -> tuple[Tap, ...]:
    """Most pay once, within minutes; a few give up; for a few two people pay the same charge, each on a phone of their own."""
    first = charged + random.choice((0, 0, 1, 2, 5))
    lot_of_luck = random.random()
    if lot_of_luck < GIVEN_UP_SHARE:
        return (Tap(f"payer-{number}", first, None),)
    if lot_of_luck < GIVEN_UP_SHARE + TWICE_SHARE and may_pay_twice:
        return (Tap(f"payer-{number}", first, first + 2), Tap(f"other-{number}", first + 1, first + 2 + random.choice((0, 1))))
    return (Tap(f"payer-{number}", first, first + random.choice((0, 0, 0, 1, 3))),)


def _busy_minute(random: Random) -> int:
    while True:
        middle, spread = random.choice(_PEAKS)
        minute = round(random.gauss(middle, spread) * 60)
        if OPENS_MINUTE <= minute <= CLOSES_MINUTE:
            return minute


def _plates(random: Random) -> Iterator[str]:
    """Yield plates, each once: mostly Wuxi's, ordinary and new-energy."""
    seen: set[str] = set()
    while True:
        home = random.choice(("苏B", "苏B", "苏B", "苏E", "沪A", "浙A"))
        if random.random() < ENERGY_SHARE:
            plate = f"{home}{random.choice('DF')}{random.choice(_SERIAL)}{random.randrange(10_000):04d}"
        else:
            plate = f"{home}{random.choice('0123456789')}{''.join(random.choices(_SERIAL, k=4))}"
        if plate not in seen:
            seen.add(plate)
            yield plate
