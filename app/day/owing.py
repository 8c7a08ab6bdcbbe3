"""Who leaves first on simulated days, and what becomes of each debt on the days after. Pure: the same seed gives the same story.

Knows the demo city and plans; must not know HTTP, the database or rules of the product. Called by ``app.day.command``.

Each car that leaves has a fate, in turns: so a few days show everything. A fate that needs more days than are left is passed by.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import cycle
from random import Random
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from app import demo
from app.day import taking_back
from app.day.draw import SERIALS_PER_DAY, busy_minute, draw, plates, wallet, wallets_of
from app.day.plan import Basket, Comer, DebtDeed, Deed, Leaver, Mandate, Part, Plan, Stay, Tap, Wallet
from ledger.money import split

LEAVER_SHARE: Final = 0.15
"""Cars that leave first, for each payment of the day."""
LEAVERS_MIN: Final = 10
"""Fewest of them on a day that has a day after it: so that two such days meet every fate."""
FIRST_SERIAL: Final = 50_000
"""Serials of those who leave first, and of the stays after which they pay, begin here within their day's."""
LIST_EVERY: Final = 30
"""Minutes between two lists in which a street's system tells who has gone."""
_ENDS_BY: Final = 14 * 60
"""Whoever leaves first does so before 20:00, so that its lot can tell of it on the same day."""

STREETS: Final = tuple(lot.code for lot in demo.LOTS if lot.scene == "on_street")
GATES: Final = tuple(lot.code for lot in demo.LOTS if lot.scene in ("gate", "shared"))


def draw_days(*, seed: int, days: int, payments: int, starts_at: datetime, channels: Collection[str]) -> list[Plan]:
    """Draw days one after another, with ``payments`` in all; the first is the day that ``draw`` gives, with its share of them.

    Where there is a day after it, cars leave first; a single day has none, because nothing would become of their debts.
    """
    plans: list[Plan] = []
    for number, count in enumerate(split(payments, [1] * days)):
        seen = _plates_of(plans)
        at = starts_at + timedelta(days=number)
        plans.append(draw(seed=seed, payments=count, starts_at=at, channels=channels, number=number, seen=seen))
    return plans if days == 1 else taking_back.drawn(_Story(seed, plans, channels).told(), seed=seed)


def _plates_of(plans: Sequence[Plan]) -> set[str]:
    return {stay.plate for plan in plans for stay in plan.stays}


class _Fate(Struct, frozen=True):
    """What becomes of a debt, and how many days after it that takes."""

    name: str
    days: int
    in_list: bool = False
    answer: Mandate | None = None
    breaks_out: bool = False


_ETC: Final = "etc"
FATES: Final = (
    _Fate("again", 2, in_list=True),
    _Fate("elsewhere", 1, in_list=True),
    _Fate("refused, topped up", 1, answer=Mandate(_ETC, "refused")),
    _Fate("part", 1, in_list=True),
    _Fate("upheld", 1, in_list=True),
    _Fate("waived", 1, in_list=True),
    _Fate("taken on", 0, answer=Mandate(_ETC)),
    _Fate("misread", 1, in_list=True),
    _Fate("stays away", 0, in_list=True),
    _Fate("written off", 1, in_list=True),
    _Fate("no mandate", 0),
    _Fate("breaks out", 0, breaks_out=True),
    _Fate("cash", 1, in_list=True),
    _Fate("own", 1, in_list=True),
    _Fate("refused later", 1, answer=Mandate(_ETC, "refused_later")),
    _Fate("rejected", 1, in_list=True),
    _Fate("gone with a mandate", 0, in_list=True, answer=Mandate("wechat")),
    _Fate("taken", 0, answer=Mandate(_ETC, "paid")),
    _Fate("refused, pays", 1, answer=Mandate(_ETC, "refused")),
)
"""What the names say is told by the method of the story that has the same words."""


class _Day:
    """What is added to a day's plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = Random(f"tongting day {plan.seed} {plan.number} leaving")
        self.stays: list[Stay] = []
        self.baskets: list[Basket] = []
        self.leavers: list[Leaver] = []
        self.comers: list[Comer] = []
        self.parts: list[Part] = []
        self.deeds: list[Deed] = []
        self._serials = plan.number * SERIALS_PER_DAY + FIRST_SERIAL

    def serial(self) -> str:
        self._serials += 1
        return f"D{self._serials:06d}"

    def does(self, kind: DebtDeed, hour: int, stay: Stay, *, minute: int = 0) -> None:
        """Let something happen to a debt at a time of this day."""
        self.deeds.append(Deed(kind, (hour - 6) * 60 + minute, stay))

    def full(self) -> Plan:
        return replace(
            self.plan, stays=(*self.plan.stays, *self.stays), baskets=(*self.plan.baskets, *self.baskets),
            leavers=tuple(self.leavers), comers=tuple(self.comers), parts=tuple(self.parts), deeds=tuple(self.deeds),
        )  # fmt: skip


class _Story:
    """Draws who leaves on which day, and hands each one to the method of its fate."""

    def __init__(self, seed: int, plans: Sequence[Plan], channels: Collection[str]) -> None:
        self._days = [_Day(plan) for plan in plans]
        self._plates = plates(Random(f"tongting day {seed} leavers"), _plates_of(plans))
        self._wallets = {name: share for name, share in wallets_of(channels).items() if name != "unionpay"} or wallets_of(channels)
        self._channels = channels
        self._fates = self._in_turns()
        self._acts: dict[str, Callable[[int, Stay], None]] = {
            "again": self._again, "elsewhere": self._elsewhere, "refused, topped up": self._topped_up, "part": self._part,
            "upheld": self._upheld, "waived": self._waived, "written off": self._written_off, "misread": self._misread,
            "cash": self._cash, "own": self._own, "rejected": self._rejected, "refused, pays": self._own,
            "no mandate": self._at_once, "stays away": self._away,
        }  # fmt: skip

    def told(self) -> list[Plan]:
        """Return the plans with what leaving first adds to them."""
        for number, day in enumerate(self._days):
            for _ in range(max(LEAVERS_MIN, round(LEAVER_SHARE * day.plan.payments))):
                fate = self._fate(len(self._days) - 1 - number)
                stay = self._leave(number, next(self._plates), fate)
                if act := self._acts.get(fate.name):
                    act(number, stay)
        return [day.full() for day in self._days]

    def _in_turns(self) -> Iterator[_Fate]:
        known = [fate for fate in FATES if fate.answer is None or fate.answer.channel in self._channels]
        return cycle(known)

    def _fate(self, days_left: int) -> _Fate:
        return next(fate for fate in self._fates if fate.days <= days_left)

    def _leave(self, number: int, plate: str, fate: _Fate, *, after_minute: int = 0) -> Stay:
        """Let a car leave on a day; returns its stay."""
        day = self._days[number]
        stayed = demo.FREE_MINUTES + 1 + int(day.random.expovariate(1 / 110))
        stay = Stay(
            serial=day.serial(), lot_code=day.random.choice(STREETS if fate.in_list else GATES), plate=plate,
            stayed_minutes=stayed, charged_minute=max(after_minute, min(busy_minute(day.random), _ENDS_BY)), taps=(),
            mandate=fate.answer,
        )  # fmt: skip
        told = -(-stay.charged_minute // LIST_EVERY) * LIST_EVERY if fate.in_list else stay.charged_minute
        day.leavers.append(Leaver(stay, told, fate.in_list, fate.breaks_out))
        return stay

    def _afternoon(self, day: _Day) -> int:
        """Return a minute between 11:00 and 19:00: no deduction is under way then."""
        return day.random.randint(5 * 60, 13 * 60)

    def _payer(self, stay: Stay) -> str:
        return f"payer-{stay.serial}"

    def _wallet(self, day: _Day) -> Wallet:
        return wallet(day.random, self._wallets)

    # Fates.

    def _again(self, number: int, stay: Stay) -> None:
        """The car comes and leaves once more the next day; a day later its driver pays both debts in one basket."""
        second = self._leave(number + 1, stay.plate, _Fate("again", 1, in_list=True))
        day = self._days[number + 2]
        serials = (stay.serial, second.serial)
        day.baskets.append(Basket(self._payer(stay), second.lot_code, stay.plate, serials, self._afternoon(day), self._wallet(day)))

    def _elsewhere(self, number: int, stay: Stay) -> None:
        """The next day the car parks at another operator's lot, and its driver pays for both there."""
        day = self._days[number + 1]
        others = [code for code in GATES if demo.operator_of(code) != demo.operator_of(stay.lot_code)]
        minute = self._afternoon(day)
        here = Stay(
            serial=day.serial(), lot_code=day.random.choice(others), plate=stay.plate, stayed_minutes=45, charged_minute=minute,
            taps=(),
        )  # fmt: skip
        day.stays.append(here)
        serials = (stay.serial, here.serial)
        day.baskets.append(Basket(self._payer(stay), here.lot_code, stay.plate, serials, minute, self._wallet(day)))

    def _topped_up(self, number: int, stay: Stay) -> None:
        """The issuer refuses, until the account is filled the next day: the deduction of that evening succeeds."""
        self._days[number + 1].does("top_up", 11, stay)

    def _own(self, number: int, stay: Stay) -> None:
        """The driver comes back to the lot the next day and pays the one debt."""
        day = self._days[number + 1]
        minute = self._afternoon(day)
        day.comers.append(Comer(stay, Tap(self._payer(stay), minute, minute + 1, self._wallet(day))))

    def _at_once(self, number: int, stay: Stay) -> None:
        """The barrier stays down; the driver pays on the phone and it opens."""
        day, minute = self._days[number], stay.charged_minute + 1
        day.comers.append(Comer(stay, Tap(self._payer(stay), minute, minute + 1, self._wallet(day))))

    def _part(self, number: int, stay: Stay) -> None:
        """The driver pays a third of it the next day."""
        day = self._days[number + 1]
        day.parts.append(Part(stay, self._afternoon(day), self._payer(stay), self._wallet(day)))

    def _cash(self, number: int, stay: Stay) -> None:
        """The driver pays in cash the next day."""
        self._days[number + 1].does("cash", 15, stay)

    def _upheld(self, number: int, stay: Stay) -> None:
        """The driver disputes it, and is right: what is let off is a waiver that a second person approves."""
        day = self._days[number + 1]
        day.does("dispute", 9, stay, minute=50)
        day.does("uphold", 14, stay)
        day.does("approve", 16, stay)

    def _rejected(self, number: int, stay: Stay) -> None:
        """The driver disputes it and is wrong."""
        day = self._days[number + 1]
        day.does("dispute", 9, stay, minute=50)
        day.does("reject", 14, stay)

    def _waived(self, number: int, stay: Stay) -> None:
        """It is let off."""
        self._days[number + 1].does("waive", 11, stay)
        self._days[number + 1].does("approve", 16, stay)

    def _written_off(self, number: int, stay: Stay) -> None:
        """It is not expected any more."""
        self._days[number + 1].does("write_off", 11, stay)
        self._days[number + 1].does("approve", 16, stay)

    def _misread(self, number: int, stay: Stay) -> None:
        """It was another plate: the debt is credited, and there is a new bill for that one."""
        self._days[number + 1].does("misread", 13, replace(stay, plate=next(self._plates)))

    def _away(self, number: int, stay: Stay) -> None:
        """Nobody comes; every other plate has an address for letters."""
        if int(stay.serial[1:]) % 2:
            self._days[number].does("contact", 21, stay)
