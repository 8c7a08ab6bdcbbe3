"""What happens in a simulated day: who stays where, who pays when with which wallet or by mandate, and what goes wrong. Pure.

Knows the demo city and a seed; must not know HTTP or the database. The same seed gives the same day. Called by ``app.day``.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import cycle
from random import Random
from typing import Final, Literal

import msgspec
from msgspec import Struct

from app import demo
from gateways.sandbox.shapes import Fault, FaultKind, FaultPlan

OPENS_MINUTE: Final = 5
CLOSES_MINUTE: Final = 15 * 60
CONSOLE_CLOSES_MINUTE: Final = CLOSES_MINUTE + 100
LAST_MINUTE: Final = 17 * 60 + 30
"""The clock starts at 6:00; charges come until 21:00 and operators refund until 22:40, so that UnionPay's day, which ends at 23:00,
holds the same as ours; until 23:30 everything late has arrived, before midnight cuts the day."""

TWICE_SHARE: Final = 0.03
GIVEN_UP_SHARE: Final = 0.02
CONSOLE_SHARE: Final = 0.01
"""Share of the payments that operators refund in their own merchant consoles; at least one per channel."""
DEDUCTED_SHARE: Final = 0.08
"""Share of the payments that are taken by the plate's mandate."""
REFUSED_SHARE: Final = 0.02
"""Share of the payments that the plate's issuer refuses first, and the payer makes by hand then."""
BASKET_SHARE: Final = 0.03
"""Plates that owe at several lots and pay all together, for each payment of the day."""
ENERGY_SHARE: Final = 0.3
_PEAKS: Final = ((3.5, 1.2), (7.0, 1.5), (12.0, 1.6))
"""Busy hours after 6:00 with their spread: late morning, after lunch, evening."""

_WALLETS: Final = {"wechat": 0.5, "alipay": 0.35, "unionpay": 0.15}
"""Shares of the wallets that payers have, where the city has them all."""
_INSIDE: Final = {"wechat": 0.7, "alipay": 0.6, "unionpay": 0.0}
"""Shares of those who scan with the wallet's own app, so that the page is open inside it."""

_LISTENS_EVERY: Final = 10
"""Minutes between two looks of a lot's system at its entrances."""

_BASKET_LEGS: Final = (2, 3)
_BETWEEN_LOTS_MINUTES: Final = 60
"""Least time between a car's leaving one lot and leaving the next one; it drives for ten of them."""
_DRIVE_MINUTES: Final = 10

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_SERIAL: Final = "0123456789" + _LETTERS

_UNKNOWN_SHARE: Final = 0.01
_FAULTS: Final = (
    Fault(kind=FaultKind.TWICE, probability=0.05),
    Fault(kind=FaultKind.LATE, probability=0.05, seconds=420),
    Fault(kind=FaultKind.OUT_OF_ORDER, probability=0.05),
    Fault(kind=FaultKind.NEVER, probability=0.04),
    Fault(kind=FaultKind.WRONG_SIGNATURE, probability=0.01, attempts=1),
    Fault(kind=FaultKind.WRONG_AMOUNT, probability=0.01, attempts=1),
    Fault(kind=FaultKind.OTHER_MERCHANT, probability=0.01, attempts=1),
    Fault(kind=FaultKind.UNKNOWN, probability=_UNKNOWN_SHARE),
    Fault(kind=FaultKind.REFUND_ERROR, next=1),
    Fault(kind=FaultKind.REFUND_LATE, probability=0.2, seconds=420),
    Fault(kind=FaultKind.REFUND_TWICE, probability=0.2),
    Fault(kind=FaultKind.REFUND_NEVER, probability=0.2),
    Fault(kind=FaultKind.BILL_CUT, next=1),
)
_OWN_FAULTS: Final = {
    "wechat": (Fault(kind=FaultKind.SIGNTEST, probability=0.01, attempts=1),),
    "alipay": (Fault(kind=FaultKind.ROTATE_KEY), Fault(kind=FaultKind.REFUND_UNKNOWN, next=1)),
    "unionpay": (Fault(kind=FaultKind.ROTATE_KEY), Fault(kind=FaultKind.REFUND_UNKNOWN, next=1)),
}
"""WeChat alone probes with false signatures. Its new keys must be fetched, which nobody does in a simulation; and the nonce of its
answer to a repeated refund call follows from the call, which names our port: the evidence would differ from city to city."""


def faults(channel: str) -> FaultPlan:
    """Return what a channel's stand-in does wrong, by seed: shares of the payments and refunds, and single mishaps."""
    return FaultPlan(faults=_FAULTS + _OWN_FAULTS.get(channel, ()))


def answering(plan: FaultPlan) -> FaultPlan:
    """Return what is left of a plan, but every order is answered.

    Somebody taps a second time; a share by seed meets an order every time, and real channels do recover.
    """
    return _with_unknown(plan, 0.0)


def failing_again(plan: FaultPlan) -> FaultPlan:
    """Return the plan that ``answering`` was made of; mishaps that have happened do not come back."""
    return _with_unknown(plan, _UNKNOWN_SHARE)


def _with_unknown(plan: FaultPlan, share: float) -> FaultPlan:
    """Give the orders that are not answered another share; faults keep their places, because shares by seed go by these."""
    return FaultPlan(
        faults=tuple(
            msgspec.structs.replace(fault, probability=share) if fault.kind is FaultKind.UNKNOWN else fault for fault in plan.faults
        )
    )


class Wallet(Struct, frozen=True):
    """What somebody pays with; ``inside``: the page is open inside the wallet's own app, else in an ordinary browser."""

    channel: str
    inside: bool


_BASKET_WALLETS: Final = (
    Wallet("wechat", inside=True), Wallet("alipay", inside=False), Wallet("unionpay", inside=False),
    Wallet("wechat", inside=False), Wallet("alipay", inside=True),
)  # fmt: skip
"""Wallets that pay baskets, in turns: WeChat takes several charges in one act."""


class Return(Struct, frozen=True):
    """A refund by the operator in its merchant console, of the ``whole`` payment or of half of it."""

    minute: int
    whole: bool


class Tap(Struct, frozen=True):
    """A payer opens the page and orders; ``pays_minute`` is None for one who gives up at the cashier."""

    payer: str
    minute: int
    pays_minute: int | None
    wallet: Wallet
    returned: Return | None = None


class Mandate(Struct, frozen=True):
    """At which channel a plate may be deducted, and how ETC's issuer answers: WeChat and Alipay take every charge."""

    channel: str
    answer: Literal["accepted", "paid", "unknown", "refused"] = "accepted"

    @property
    def takes(self) -> bool:
        """Whether the charge is taken, at once or later."""
        return self.answer != "refused"


_MANDATES: Final = (
    Mandate("etc"), Mandate("wechat"), Mandate("etc", "paid"), Mandate("alipay"), Mandate("etc"), Mandate("etc", "unknown"),
)  # fmt: skip
"""Mandates that plates have, in turns."""


class Stay(Struct, frozen=True):
    """A car's stay. Minutes count from the start of the day's clock."""

    serial: str
    lot_code: str
    plate: str
    stayed_minutes: int
    charged_minute: int
    taps: tuple[Tap, ...]
    mandate: Mandate | None = None

    @property
    def told_minute(self) -> int:
        """When the lot's system tells of the entrance: at its next look, at the first of the day for cars that came before."""
        entered = self.charged_minute - self.stayed_minutes
        return max(0, -(-entered // _LISTENS_EVERY) * _LISTENS_EVERY)


class Basket(Struct, frozen=True):
    """Somebody pays all that a plate owes together, act by act: the charges of these stays, at several operators."""

    payer: str
    lot_code: str
    """Where the code was scanned: the last lot."""
    plate: str
    serials: tuple[str, ...]
    minute: int
    wallet: Wallet


class Plan(Struct, frozen=True):
    """The whole day."""

    seed: int
    starts_at: datetime
    stays: tuple[Stay, ...]
    baskets: tuple[Basket, ...] = ()

    @property
    def payments(self) -> int:
        """How many times money is taken."""
        deducted = sum(stay.mandate is not None and stay.mandate.takes for stay in self.stays)
        together = sum(len(basket.serials) for basket in self.baskets)
        return deducted + together + sum(tap.pays_minute is not None for stay in self.stays for tap in stay.taps)

    def minutes(self) -> list[int]:
        """Return the minutes in which something happens or late things may arrive, in order."""
        taps = [tap for stay in self.stays for tap in stay.taps]
        busy = {stay.charged_minute for stay in self.stays} | {tap.minute for tap in taps}
        busy |= {basket.minute for basket in self.baskets}
        busy |= {stay.told_minute for stay in self.stays if stay.mandate is not None}
        busy |= {tap.pays_minute for tap in taps if tap.pays_minute is not None}
        busy |= {tap.returned.minute for tap in taps if tap.returned is not None}
        return sorted(busy | set(range(0, LAST_MINUTE + 1, 10)))

    def at(self, minute: int) -> datetime:
        """Return the instant of a minute."""
        return self.starts_at + timedelta(minutes=minute)


def draw(*, seed: int, payments: int, starts_at: datetime, channels: Collection[str]) -> Plan:
    """Draw a day in which money is taken ``payments`` times; some people pay a charge twice, some give up, some get money back.

    ``channels`` are those of the city: payers have wallets of these.
    """
    random = Random(f"tongting day {seed}")
    wallets = {name: share for name, share in _WALLETS.items() if name in channels}
    stays = list(_stays(random, payments, wallets))
    stays = _with_mandates(Random(f"tongting day {seed} mandates"), stays, payments, channels)
    stays, baskets = _with_baskets(Random(f"tongting day {seed} baskets"), stays, payments, wallets)
    return Plan(seed, starts_at, tuple(_with_returns(random, stays, wallets)), tuple(baskets))


def _stays(random: Random, payments: int, wallets: dict[str, float]) -> Iterator[Stay]:
    plates = _plates(random)
    number = 0
    while payments > 0:
        number += 1
        stay = _stay(random, number, next(plates), wallets, may_pay_twice=payments > 1)
        payments -= sum(tap.pays_minute is not None for tap in stay.taps)
        yield stay


def _stay(random: Random, number: int, plate: str, wallets: dict[str, float], *, may_pay_twice: bool) -> Stay:
    lot = random.choices(demo.LOTS, weights=[lot.berths for lot in demo.LOTS])[0]
    charged = _busy_minute(random)
    return Stay(
        serial=f"D{number:06d}",
        lot_code=lot.code,
        plate=plate,
        stayed_minutes=demo.FREE_MINUTES + 1 + int(random.expovariate(1 / 110)),
        charged_minute=charged,
        taps=tuple(
            Tap(payer, minute, pays_minute, _wallet(random, wallets))
            for payer, minute, pays_minute in _taps(random, number, charged, may_pay_twice=may_pay_twice)
        ),
    )


def _taps(random: Random, number: int, charged: int, *, may_pay_twice: bool) -> list[tuple[str, int, int | None]]:
    """Return who taps, when, and when they pay.

    Most pay once, within minutes; a few give up; for a few two people pay the same charge, each on a phone of their own.
    """
    first = charged + random.choice((0, 0, 1, 2, 5))
    lot_of_luck = random.random()
    if lot_of_luck < GIVEN_UP_SHARE:
        return [(f"payer-{number}", first, None)]
    if lot_of_luck < GIVEN_UP_SHARE + TWICE_SHARE and may_pay_twice:
        return [(f"payer-{number}", first, first + 2), (f"other-{number}", first + 1, first + 2 + random.choice((0, 1)))]
    return [(f"payer-{number}", first, first + random.choice((0, 0, 0, 1, 3)))]


def _wallet(random: Random, wallets: dict[str, float]) -> Wallet:
    channel = random.choices(list(wallets), weights=list(wallets.values()))[0]
    return Wallet(channel, random.random() < _INSIDE[channel])


def _with_mandates(random: Random, stays: Sequence[Stay], payments: int, channels: Collection[str]) -> list[Stay]:
    """Let some charges that one payer would pay be deducted; others are refused by ETC's issuer, and their payer pays after all.

    Hospitals have no agreement with ETC, and deduct nothing.
    """
    turns = [mandate for mandate in _MANDATES if mandate.channel in channels]
    hospitals = {lot.code for lot in demo.LOTS if lot.scene == "hospital"}
    once = [stay for stay in stays if _is_paid_once(stay) and stay.lot_code not in hospitals]
    count = min(len(once), round(DEDUCTED_SHARE * payments)) if turns else 0
    refused = min(len(once) - count, round(REFUSED_SHARE * payments)) if "etc" in channels else 0
    serials = [stay.serial for stay in random.sample(once, count + refused)]
    deducted = dict(zip(serials[:count], cycle(turns), strict=False))
    deducted |= {serial: Mandate("etc", "refused") for serial in serials[count:]}
    return [_mandated(stay, deducted[stay.serial]) if stay.serial in deducted else stay for stay in stays]


def _mandated(stay: Stay, mandate: Mandate) -> Stay:
    """Give a stay's plate a mandate; nobody pays by hand what it takes."""
    return msgspec.structs.replace(stay, mandate=mandate, taps=() if mandate.takes else stay.taps)


def _with_baskets(
    random: Random, stays: Sequence[Stay], payments: int, wallets: Collection[str]
) -> tuple[list[Stay], list[Basket]]:  # fmt: skip
    """Let some cars go from lot to lot of several operators, and pay for all of it when they leave the last one."""
    turns = cycle([wallet for wallet in _BASKET_WALLETS if wallet.channel in wallets])
    free = [stay for stay in stays if _is_paid_once(stay) and stay.mandate is None]
    random.shuffle(free)
    tours: list[list[Stay]] = []
    for _ in range(round(BASKET_SHARE * payments) if wallets else 0):
        tour = _tour(free, random.choice(_BASKET_LEGS))
        if len(tour) < min(_BASKET_LEGS):
            break
        tours.append(tour)
        chosen = {stay.serial for stay in tour}
        free = [stay for stay in free if stay.serial not in chosen]
    toured = {stay.serial: msgspec.structs.replace(stay, plate=tour[0].plate, taps=()) for tour in tours for stay in tour}
    return [toured.get(stay.serial, stay) for stay in stays], [_basket(tour, next(turns)) for tour in tours]


def _basket(tour: Sequence[Stay], wallet: Wallet) -> Basket:
    """Return what the payer of a tour does: who would have paid its last stay pays all of it then."""
    serials, last = tuple(stay.serial for stay in tour), tour[-1]
    payer, minute = last.taps[0].payer, last.taps[0].minute
    return Basket(payer=payer, lot_code=last.lot_code, plate=tour[0].plate, serials=serials, minute=minute, wallet=wallet)


def _tour(stays: Sequence[Stay], legs: int) -> list[Stay]:
    """Return stays that one car can have made in turn, each at another operator; fewer than wanted where there are no more."""
    tour = list(stays[:1])
    for stay in stays[1:]:
        if len(tour) == legs:
            break
        gap = stay.charged_minute - tour[-1].charged_minute
        if gap >= _BETWEEN_LOTS_MINUTES and demo.operator_of(stay.lot_code) not in {demo.operator_of(one.lot_code) for one in tour}:
            tour.append(msgspec.structs.replace(stay, stayed_minutes=min(stay.stayed_minutes, gap - _DRIVE_MINUTES)))
    return tour


def _is_paid_once(stay: Stay) -> bool:
    return len(stay.taps) == 1 and stay.taps[0].pays_minute is not None


def _with_returns(random: Random, stays: Sequence[Stay], wallets: dict[str, float]) -> Iterator[Stay]:
    """Let operators refund a few payments of each channel; never one of a charge that was paid twice: we refund those ourselves."""
    once = [stay for stay in stays if _is_paid_once(stay)]
    chosen: dict[str, Return] = {}
    for channel in wallets:
        paid = [stay for stay in once if stay.taps[0].wallet.channel == channel]
        count = min(len(paid), max(1, round(CONSOLE_SHARE * len(paid))))
        for stay in random.sample(paid, count):
            after = (stay.taps[0].pays_minute or 0) + random.randint(20, 80)
            chosen[stay.serial] = Return(min(after, CONSOLE_CLOSES_MINUTE), random.random() < 0.5)
    for stay in stays:
        returned = chosen.get(stay.serial)
        if returned is not None:
            stay = msgspec.structs.replace(stay, taps=(msgspec.structs.replace(stay.taps[0], returned=returned),))
        yield stay


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
