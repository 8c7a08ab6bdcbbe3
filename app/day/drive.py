"""Live through a planned day, minute by minute: everybody of a minute at once, then the channel's notices one after another.

Knows the plan and the doors; must not know the database. Called by ``app.day.command``.

People act concurrently, on the product's real pages. What decides the order of the books, the channel's notices and the query job,
runs one after another in a fixed order: so the same seed gives the same books however the machine schedules the people.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Final

from msgspec import Struct

from app import demo
from app.day.doors import DoorClosed, Doors, Form
from app.day.plan import FAULTS, FAULTS_ONCE_ANSWERING, Plan, Stay, Tap
from payments.records import NewCharge

BETWEEN_TAPS: Final = timedelta(seconds=8)


class Counts(Struct):
    """What happened, as seen from outside."""

    charges: int = 0
    charges_posted_again: int = 0
    orders: int = 0
    tapped_again: int = 0
    taken: int = 0
    notices: int = 0
    notices_refused: int = 0
    asked: int = 0


class Day:
    """One run of a plan. ``pay_codes`` holds the token of each lot's pay code."""

    def __init__(self, plan: Plan, doors: Doors, *, pay_codes: Mapping[str, str]) -> None:
        self.counts = Counts()
        self._plan, self._doors, self._pay_codes = plan, doors, pay_codes
        self._forms: dict[tuple[str, str], Form] = {}
        self._cashiers: dict[tuple[str, str], str] = {}
        self._charged, self._tapping, self._paying = _by_minute(plan)

    async def live(self, *, progress: Callable[[int, Counts], None]) -> None:
        """Live through all minutes; ``progress`` is told after each."""
        for minute in self._plan.minutes():
            await self._doors.set_clock(self._plan.at(minute))
            await self._post_charges(minute)
            await _together(self._open(stay, tap) for stay, tap in self._tapping[minute])
            await self._tap_all(minute)
            await _together(self._pay(stay, tap) for stay, tap in self._paying[minute])
            await self._settle()
            progress(minute, self.counts)

    async def _post_charges(self, minute: int) -> None:
        """Each lot posts its charges of the minute; every fifth time its system sends them twice."""
        stays = sorted(self._charged[minute], key=lambda stay: stay.lot_code)
        await _together(self._post(lot_code, list(those)) for lot_code, those in groupby(stays, key=lambda stay: stay.lot_code))

    async def _post(self, lot_code: str, stays: list[Stay]) -> None:
        charges = [self._charge(stay) for stay in stays]
        operator = demo.operator_of(lot_code)
        created = await self._doors.post_charges(operator, lot_code, charges)
        self.counts.charges += created
        if int(stays[0].serial[1:]) % 5 == 0:
            again = await self._doors.post_charges(operator, lot_code, charges)
            assert again == 0, "a charge posted again is the same charge"
            self.counts.charges_posted_again += len(charges)

    def _charge(self, stay: Stay) -> NewCharge:
        left_at = self._plan.at(stay.charged_minute)
        return demo.charge(stay.lot_code, serial=stay.serial, plate=stay.plate, minutes=stay.stayed_minutes, left_at=left_at)

    async def _open(self, stay: Stay, tap: Tap) -> None:
        code = self._pay_codes[stay.lot_code]
        self._forms[stay.serial, tap.payer] = await self._doors.ask(code, plate=stay.plate, payer=tap.payer)

    async def _tap_all(self, minute: int) -> None:
        """Everybody taps the button; those whom the channel left without an answer tap again some seconds later."""
        await _together(self._tap(who) for who in list(self._forms))
        if not self._forms:
            return
        self.counts.tapped_again += len(self._forms)
        await self._doors.set_clock(self._plan.at(minute) + BETWEEN_TAPS)
        await self._doors.set_faults(FAULTS_ONCE_ANSWERING)
        await _together(self._tap(who) for who in list(self._forms))
        await self._doors.set_faults(FAULTS)
        if self._forms:
            raise DoorClosed(f"the product left {len(self._forms)} payers without an answer although the channel answers")

    async def _tap(self, who: tuple[str, str]) -> None:
        cashier = await self._doors.tap(self._forms[who], payer=who[1])
        if cashier is not None:
            del self._forms[who]
            self._cashiers[who] = cashier
            self.counts.orders += 1

    async def _pay(self, stay: Stay, tap: Tap) -> None:
        await self._doors.pay(self._cashiers.pop((stay.serial, tap.payer)))
        self.counts.taken += 1

    async def _settle(self) -> None:
        """Let notices come, then let the product ask for what it does not know."""
        delivered = await self._doors.deliver()
        self.counts.notices += delivered.attempts
        self.counts.notices_refused += delivered.failed
        self.counts.asked += (await self._doors.run_jobs()).asked


def _by_minute(
    plan: Plan,
) -> tuple[dict[int, list[Stay]], dict[int, list[tuple[Stay, Tap]]], dict[int, list[tuple[Stay, Tap]]]]:
    charged: dict[int, list[Stay]] = defaultdict(list)
    tapping: dict[int, list[tuple[Stay, Tap]]] = defaultdict(list)
    paying: dict[int, list[tuple[Stay, Tap]]] = defaultdict(list)
    for stay in plan.stays:
        charged[stay.charged_minute].append(stay)
        for tap in stay.taps:
            tapping[tap.minute].append((stay, tap))
            if tap.pays_minute is not None:
                paying[tap.pays_minute].append((stay, tap))
    return charged, tapping, paying


async def _together(acts: Iterable[Awaitable[None]]) -> None:
    """Carry out acts concurrently; when one fails the others are cancelled and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for act in list(acts):
                group.create_task(_awaited(act))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None


async def _awaited(act: Awaitable[None]) -> None:
    await act
