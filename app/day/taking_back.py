"""What channels take back on simulated days: deductions that were paid and whose issuer does not pay them after all.

Knows plans and the doors; must not know the database. Drawn by ``app.day.owing``, lived through by ``app.day.drive``.

Only ETC takes an ordinary payment back on its wire: the clearing file of the day calls it bad, and nobody says so before. WeChat
and Alipay have no such word for a page's payment, and what a cardholder's bank disputes at UnionPay is a line without an order
number, which a person decides.
Source: docs/ETC.md, section 9; docs/RECONCILIATION.md, D23 and D06.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from msgspec.structs import replace

from app import demo
from app.day.doors import DoorClosed, Doors
from app.day.plan import Plan, Stay, TakenBack

EVERY: Final = 2
"""Days from one to the next, from the second day on: in a week there are three."""
BOOKED_AFTER_MINUTES: Final = 90
"""Until then a deduction that was taken on is paid, and told or asked about."""
FROM_MINUTE, UNTIL_MINUTE = 5 * 60, 16 * 60 + 30
"""The issuer decides between 11:00 and 22:30."""


def drawn(plans: Sequence[Plan], *, seed: int) -> list[Plan]:
    """Return several days with what is taken back on them: in turns of what was paid the day before, whose file calls it paid, and
    of the same day, whose file calls it bad and nothing else. A day without a deduction over ETC has none."""
    random = Random(f"tongting day {seed} taken back")
    return [replace(plan, taken_back=_of_day(plans, plan, random)) for plan in plans]


def _of_day(plans: Sequence[Plan], plan: Plan, random: Random) -> tuple[TakenBack, ...]:
    if plan.number % EVERY == 0:
        return ()
    same_day = plan.number // EVERY % 2 == 1
    paid = [stay for stay in plans[plan.number - (not same_day)].stays if _is_paid_by_issuer(stay)]
    begins = {stay.serial: max(FROM_MINUTE, stay.charged_minute + BOOKED_AFTER_MINUTES if same_day else 0) for stay in paid}
    able = [stay for stay in paid if begins[stay.serial] < UNTIL_MINUTE]
    if not able:
        return ()
    chosen = random.choice(able)
    return (TakenBack(chosen, random.randrange(begins[chosen.serial], UNTIL_MINUTE)),)


def _is_paid_by_issuer(stay: Stay) -> bool:
    return stay.mandate is not None and stay.mandate.channel == "etc" and stay.mandate.takes


async def take_back(doors: Doors, one: TakenBack) -> str:
    """Let a deduction become bad at its issuer, as the lot's system names it; returns its channel.

    Raises:
        DoorClosed: it is not paid, so nothing can be taken back.
    """
    stay = one.stay
    told = await doors.deduct(demo.operator_of(stay.lot_code), stay.lot_code, stay.serial)
    if told.receipt is None or told.channel is None:
        raise DoorClosed(f"the deduction of {stay.serial} was to be taken back, but is {told.state}")
    await doors.make_bad(told.receipt)
    return told.channel
