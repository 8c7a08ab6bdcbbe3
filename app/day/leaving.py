"""Live through what leaving first adds to a day: departures at barriers and in lists, parts that are paid, deeds about debts.

Knows the plan, the doors and the staff's desk; must not know the database. Called by ``app.day.drive``, one act after another.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from app import demo
from app.api.departures import DepartureIn
from app.day.counting import count
from app.day.desk import Desk
from app.day.doors import Browser, DoorClosed, Doors
from app.day.draw import SERIALS_PER_DAY
from app.day.plan import Deed, Leaver, Part, Plan, Stay
from payments.amends.corrections import NewCorrection
from payments.lot_records.takings import NewTaking
from payments.owed.departures import Departed
from payments.records import NewCharge

AGAIN_AFTER: Final = timedelta(seconds=1)
_AFTER_CORRECTION: Final = "N"
"""What the lot's serial of a new bill ends with."""
_WAITS: Final = frozenset({"being_paid", "being_deducted", "no_mandate"})
"""Why a barrier stays down for a moment: somebody pays, or the channel has not said yet. Without a mandate the driver is to pay."""


class LeavingCounts(Struct):
    """What happened, as seen from outside."""

    told: dict[str, int] = field(default_factory=dict)
    """What lots were told of cars: ``open debt``, ``closed no_mandate``."""
    lists: int = 0
    told_again: int = 0
    parts: int = 0
    """Parts of debts that were paid over a wallet."""
    deeds: dict[str, int] = field(default_factory=dict)
    deductions_tried: int = 0
    """By the plan of deductions."""
    reminders: int = 0
    pushed: int = 0
    """Events that the operator's system took."""


class Leaving:
    """The leavers and debts of a day's plan. ``staff`` decides about debts of this day and of those before."""

    def __init__(self, plan: Plan, doors: Doors, *, pay_codes: Mapping[str, str], staff: Desk) -> None:
        self.counts = LeavingCounts()
        self._pay_codes = pay_codes
        self._plan, self._doors, self._staff = plan, doors, staff
        self._at_barrier: list[Leaver] = []
        self._asked: set[str] = set()

    def begin(self) -> None:
        """Make the plates known that will leave first."""
        self._staff.know([charge_of(self._plan, leaver.stay) for leaver in self._plan.leavers])

    async def go_by(self, minute: int) -> None:
        """Let cars leave: barriers are asked one after another, again for those that are still down; then lots send their lists."""
        self._at_barrier += [one for one in self._plan.leavers if one.told_minute == minute and not one.in_list]
        self._at_barrier = [one for one in self._at_barrier if not await self._opens(one, minute)]
        gone = [one.stay for one in self._plan.leavers if one.told_minute == minute and one.in_list]
        gone.sort(key=lambda stay: (stay.lot_code, stay.serial))
        for place, (lot_code, stays) in enumerate(groupby(gone, key=lambda stay: stay.lot_code), 1):
            await self._tell(lot_code, list(stays), again_at=self._plan.at(minute) + place * AGAIN_AFTER)

    async def do(self, minute: int) -> None:
        """Let happen what happens to debts in a minute."""
        for deed in self._plan.deeds:
            if deed.minute == minute:
                await self._do(deed, self._plan.at(minute))
                count(self.counts.deeds, deed.kind)

    async def fill(self, part: Part, browser: Browser) -> str:
        """Let a driver type a third of a debt, in whole yuan; returns the address of the basket's page."""
        stay = part.stay
        amount_fen = max(100, charge_of(self._plan, stay).amount_fen // 300 * 100)
        self.counts.parts += 1
        return await self._doors.ask_part(
            self._pay_codes[stay.lot_code], plate=stay.plate, browser=browser, amount_fen=amount_fen
        )  # fmt: skip

    def end(self) -> None:
        """Raise DoorClosed when somebody still stands before a barrier."""
        if self._at_barrier:
            raise DoorClosed(f"{len(self._at_barrier)} cars still stand before a barrier: {self._at_barrier[0]}")

    async def _opens(self, leaver: Leaver, minute: int) -> bool:
        stay, left_at = leaver.stay, self._plan.at(minute)
        first = stay.serial not in self._asked
        self._asked.add(stay.serial)
        departure = DepartureIn(serial=stay.serial, left_at=left_at)
        if first:
            departure = replace(_departure(stay, charge_of(self._plan, stay)), gone=leaver.breaks_out)
        told = await self._doors.depart(demo.operator_of(stay.lot_code), stay.lot_code, departure)
        self._count(told)
        if told.outcome == "closed" and told.reason not in _WAITS:
            raise DoorClosed(f"the barrier of {stay.lot_code} stays down for {stay.plate}: {told}")
        return told.outcome == "open"

    async def _tell(self, lot_code: str, stays: list[Stay], *, again_at: datetime) -> None:
        """Send a list; every third time the lot's system sends it again a moment later."""
        cars = [_departure(stay, charge_of(self._plan, stay)) for stay in stays]
        operator = demo.operator_of(lot_code)
        told = await self._doors.tell_gone(operator, lot_code, cars)
        self.counts.lists += 1
        for one in told:
            self._count(one)
        if int(stays[0].serial[1:]) % 3 == 0:
            await self._doors.set_clock(again_at)
            again = await self._doors.tell_gone(operator, lot_code, cars)
            if [(one.serial, one.reason, one.owed_fen) for one in again] != [
                (one.serial, one.reason, one.owed_fen) for one in told
            ]:
                raise DoorClosed(f"a list of {lot_code} that was sent again was answered otherwise: {again}")
            self.counts.told_again += len(cars)

    async def _do(self, deed: Deed, at: datetime) -> None:
        stay, charge = deed.stay, charge_of(self._plan, deed.stay)
        operator = demo.operator_of(stay.lot_code)
        if self._staff.does(deed):
            self._staff.carry_out(deed, at=at)
        elif deed.kind == "dispute":
            driver = Browser(f"payer-{stay.serial}")
            await self._doors.say_wrong(
                self._pay_codes[stay.lot_code], plate=stay.plate, browser=driver, reason="times_wrong", statement="我没有停这么久。"
            )
        elif deed.kind == "top_up":
            await self._doors.sign_mandate("etc", charge, owner=f"owner-{stay.serial}", answer="accepted")
        elif deed.kind == "cash":
            taking = NewTaking(
                serial=f"C{stay.serial}", channel="cash", charge_serial=stay.serial, amount_fen=charge.amount_fen, taken_at=at,
                evidence_text=f"slip {stay.serial}",
            )  # fmt: skip
            taken = await self._doors.take_cash(operator, stay.lot_code, taking)
            if taken.treatment != "settled":
                raise DoorClosed(f"cash for {stay.serial} did not pay its debt: {taken}")
        else:
            await self._correct(deed, charge)

    async def _correct(self, deed: Deed, charge: NewCharge) -> None:
        assert deed.kind == "misread", "the rest is done"
        stay = deed.stay
        new = NewCharge(
            lot_serial=f"{stay.serial}{_AFTER_CORRECTION}", plate=charge.plate, plate_color=charge.plate_color,
            entered_at=charge.entered_at, left_at=charge.left_at, minutes=charge.minutes, amount_fen=charge.amount_fen,
            tariff_text=charge.tariff_text,
        )  # fmt: skip
        correction = NewCorrection(
            serial=f"K{stay.serial}", charge_serial=stay.serial, kind="replace", reason="misread_plate", new=new
        )  # fmt: skip
        made = await self._doors.correct(demo.operator_of(stay.lot_code), stay.lot_code, correction)
        if made.outcome != "created":
            raise DoorClosed(f"the correction of {stay.serial} was not taken: {made}")

    def _count(self, told: Departed) -> None:
        count(self.counts.told, f"{told.outcome} {told.reason}")


def charge_of(plan: Plan, stay: Stay) -> NewCharge:
    """Return the charge of a stay of this day or of one before: its serial says of which."""
    days_ago = plan.number - int(stay.serial[1:]) // SERIALS_PER_DAY
    left_at = plan.at(stay.charged_minute) - timedelta(days=days_ago)
    return demo.charge(stay.lot_code, serial=stay.serial, plate=stay.plate, minutes=stay.stayed_minutes, left_at=left_at)


def _departure(stay: Stay, charge: NewCharge) -> DepartureIn:
    """Return a car's departure with its charge."""
    assert charge.left_at is not None, "the car has left"
    return DepartureIn(
        serial=stay.serial, left_at=charge.left_at, plate=charge.plate, plate_color=charge.plate_color,
        entered_at=charge.entered_at, minutes=charge.minutes, amount_fen=charge.amount_fen, tariff_text=charge.tariff_text,
    )  # fmt: skip
