"""Draw a simulated day from its seed. Pure: the same seed gives the same day.

Knows the demo city and how people behave; must not know HTTP or the database. Called by ``app.day.command``.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import cycle
from random import Random
from typing import Final

import msgspec

from app import demo
from app.day.plan import (
    CLOSES_MINUTE,
    CONSOLE_CLOSES_MINUTE,
    LATE_LANE_MINUTE,
    OPENS_MINUTE,
    PAID_ANEW_MINUTE,
    Basket,
    Card,
    Mandate,
    Plan,
    Return,
    Stay,
    Tap,
    Wallet,
)

TWICE_SHARE: Final = 0.03
GIVEN_UP_SHARE: Final = 0.02
CONSOLE_SHARE: Final = 0.01
"""Share of the payments that operators refund in their own merchant consoles; at least one per channel."""
DEDUCTED_SHARE: Final = 0.08
"""Share of the payments that are taken by the plate's mandate."""
REFUSED_SHARE: Final = 0.04
"""Share of the payments that the plate's issuer refuses first, or the status list, and the payer makes by hand then."""
CARD_SHARE: Final = 0.08
"""Share of the payments that drivers make by card at the lane; one of them its issuer never makes, and the driver does by hand."""
SERIALS_PER_DAY: Final = 100_000
"""The serials of a day's stays follow each other; those of the next one begin so much further on."""
BASKET_SHARE: Final = 0.03
"""Plates that owe at several lots and pay all together, for each payment of the day."""
ENERGY_SHARE: Final = 0.3
_PEAKS: Final = ((3.5, 1.2), (7.0, 1.5), (12.0, 1.6))
"""Busy hours after 6:00 with their spread: late morning, after lunch, evening."""

_WALLETS: Final = {"wechat": 0.5, "alipay": 0.35, "unionpay": 0.15}
"""Shares of the wallets that payers have, where the city has them all."""
_INSIDE: Final = {"wechat": 0.7, "alipay": 0.6, "unionpay": 0.0}
"""Shares of those who scan with the wallet's own app, so that the page is open inside it."""

_BASKET_LEGS: Final = (2, 3)
_BETWEEN_LOTS_MINUTES: Final = 60
"""Least time between a car's leaving one lot and leaving the next one; it drives for ten of them."""
_DRIVE_MINUTES: Final = 10

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_SERIAL: Final = "0123456789" + _LETTERS

_BASKET_WALLETS: Final = (
    Wallet("wechat", inside=True), Wallet("alipay", inside=False), Wallet("unionpay", inside=False),
    Wallet("wechat", inside=False), Wallet("alipay", inside=True),
)  # fmt: skip
"""Wallets that pay baskets, in turns: WeChat takes several charges in one act."""
_MANDATES: Final = (
    Mandate("etc"), Mandate("wechat"), Mandate("etc", "paid"), Mandate("alipay"), Mandate("etc"), Mandate("etc", "unknown"),
)  # fmt: skip
"""Mandates that plates have, in turns."""
_REFUSALS: Final = (Mandate("etc", "refused"), Mandate("etc", "listed"))
_ISSUERS: Final = ("320101", "320101", "310101")
"""Issuers of cards, in turns: a package goes to one of them."""
_LANES: Final = frozenset({"gate", "shared", "charging"})
"""Scenes of lots that have lanes, and an agreement with ETC; hospitals have none."""


def draw(
    *, seed: int, payments: int, starts_at: datetime, channels: Collection[str], number: int = 0, seen: Collection[str] = ()
) -> Plan:  # fmt: skip
    """Draw a day in which money is taken ``payments`` times; some people pay a charge twice, some give up, some get money back.

    ``channels`` are those of the city: payers have wallets of these. ``number`` counts days from 0; ``seen`` are the plates of the
    days before.
    """
    name = f"tongting day {seed}" if number == 0 else f"tongting day {seed} {number}"
    random = Random(name)
    wallets = wallets_of(channels)
    stays = list(_stays(random, payments, wallets, plates=plates(random, seen), serials_after=number * SERIALS_PER_DAY))
    stays = _with_mandates(Random(f"{name} mandates"), stays, payments, channels)
    stays = _with_cards(Random(f"{name} cards"), stays, payments, channels)
    stays, baskets = _with_baskets(Random(f"{name} baskets"), stays, payments, wallets)
    return Plan(seed, starts_at, tuple(_with_returns(random, stays, wallets)), tuple(baskets), number)


def wallets_of(channels: Collection[str]) -> dict[str, float]:
    """Return the shares of wallets that payers have in a city with these channels."""
    return {name: share for name, share in _WALLETS.items() if name in channels}


def _stays(
    random: Random, payments: int, wallets: dict[str, float], *, plates: Iterator[str], serials_after: int
) -> Iterator[Stay]:  # fmt: skip
    number = serials_after
    while payments > 0:
        number += 1
        stay = _stay(random, number, next(plates), wallets, may_pay_twice=payments > 1)
        payments -= sum(tap.pays_minute is not None for tap in stay.taps)
        yield stay


def _stay(random: Random, number: int, plate: str, wallets: dict[str, float], *, may_pay_twice: bool) -> Stay:
    lot = random.choices(demo.LOTS, weights=[lot.berths for lot in demo.LOTS])[0]
    charged = busy_minute(random)
    return Stay(
        serial=f"D{number:06d}",
        lot_code=lot.code,
        plate=plate,
        stayed_minutes=demo.FREE_MINUTES + 1 + int(random.expovariate(1 / 110)),
        charged_minute=charged,
        taps=tuple(
            Tap(payer, minute, pays_minute, wallet(random, wallets))
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


def wallet(random: Random, wallets: Mapping[str, float]) -> Wallet:
    """Draw what somebody pays with."""
    channel = random.choices(list(wallets), weights=list(wallets.values()))[0]
    return Wallet(channel, random.random() < _INSIDE[channel])


def _with_mandates(random: Random, stays: Sequence[Stay], payments: int, channels: Collection[str]) -> list[Stay]:
    """Let some charges that one payer would pay be deducted; others ETC refuses, and their payer pays after all.

    Hospitals have no agreement with ETC, and deduct nothing.
    """
    turns = [mandate for mandate in _MANDATES if mandate.channel in channels]
    hospitals = {lot.code for lot in demo.LOTS if lot.scene == "hospital"}
    once = [stay for stay in stays if _is_paid_once(stay) and stay.lot_code not in hospitals]
    count = min(len(once), round(DEDUCTED_SHARE * payments)) if turns else 0
    refused = min(len(once) - count, round(REFUSED_SHARE * payments)) if "etc" in channels else 0
    serials = [stay.serial for stay in random.sample(once, count + refused)]
    deducted = dict(zip(serials[:count], cycle(turns), strict=False))
    deducted |= dict(zip(serials[count:], cycle(_REFUSALS), strict=False))
    return [_mandated(stay, deducted[stay.serial]) if stay.serial in deducted else stay for stay in stays]


def _mandated(stay: Stay, mandate: Mandate) -> Stay:
    """Give a stay's plate a mandate; nobody pays by hand what it takes."""
    return msgspec.structs.replace(stay, mandate=mandate, taps=() if mandate.takes else stay.taps)


def _with_cards(random: Random, stays: Sequence[Stay], payments: int, channels: Collection[str]) -> list[Stay]:
    """Let some drivers pay by card at the lane what they would have paid with a wallet.

    The first one's issuer never pays. One or two pay by card and with the wallet; for each of them another one has nothing to pay,
    so that money is taken as often as before.
    """
    lanes = {lot.code for lot in demo.LOTS if lot.scene in _LANES}
    able = [stay for stay in stays if _is_paid_once(stay) and stay.mandate is None and stay.lot_code in lanes]
    able = [stay for stay in able if (stay.taps[0].pays_minute or 0) < CLOSES_MINUTE]
    count = min(len(able), round(CARD_SHARE * payments)) if "etc" in channels else 0
    chosen = random.sample(able, count)
    twice = 0 if count < 4 else 1 if count < 20 else 2
    made = dict(zip([stay.serial for stay in chosen], cycle(_ISSUERS), strict=False))
    carded = {stay.serial: _carded(stay, made[stay.serial]) for stay in chosen}
    for stay in chosen[:1] if count > 1 else ():
        carded[stay.serial] = _bad(stay, made[stay.serial])
    for stay in chosen[1 : 1 + twice]:
        after = (stay.taps[0].pays_minute or 0) + 1
        carded[stay.serial] = msgspec.structs.replace(stay, card=Card(after, made[stay.serial]))
    for stay in chosen[1 + twice : 1 + 2 * twice]:
        minutes = random.randint(2, demo.FREE_MINUTES)
        carded[stay.serial] = msgspec.structs.replace(carded[stay.serial], stayed_minutes=minutes, is_free=True)
    return [carded.get(stay.serial, stay) for stay in stays]


def _carded(stay: Stay, issuer_no: str) -> Stay:
    """Let a card pay a stay; nobody pays it by hand."""
    return msgspec.structs.replace(stay, card=Card(stay.charged_minute, issuer_no), taps=())


def _bad(stay: Stay, issuer_no: str) -> Stay:
    """Let a card pay a stay that its issuer will not pay; who would have paid it does so when that is known."""
    tap = msgspec.structs.replace(stay.taps[0], minute=PAID_ANEW_MINUTE, pays_minute=PAID_ANEW_MINUTE + 2)
    return msgspec.structs.replace(stay, card=Card(LATE_LANE_MINUTE, issuer_no, is_bad=True), taps=(tap,))


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
    return len(stay.taps) == 1 and stay.taps[0].pays_minute is not None and stay.card is None


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


def busy_minute(random: Random) -> int:
    """Draw the minute in which a stay ends."""
    while True:
        middle, spread = random.choice(_PEAKS)
        minute = round(random.gauss(middle, spread) * 60)
        if OPENS_MINUTE <= minute <= CLOSES_MINUTE:
            return minute


def plates(random: Random, others: Collection[str] = ()) -> Iterator[str]:
    """Yield plates, each once and none of ``others``: mostly Wuxi's, ordinary and new-energy."""
    seen = set(others)
    while True:
        home = random.choice(("苏B", "苏B", "苏B", "苏E", "沪A", "浙A"))
        if random.random() < ENERGY_SHARE:
            plate = f"{home}{random.choice('DF')}{random.choice(_SERIAL)}{random.randrange(10_000):04d}"
        else:
            plate = f"{home}{random.choice('0123456789')}{''.join(random.choices(_SERIAL, k=4))}"
        if plate not in seen:
            seen.add(plate)
            yield plate
