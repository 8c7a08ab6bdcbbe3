"""Live through a planned day, minute by minute: lots' deductions, everybody of a minute at once, then the channel's notices.

Knows the plan and the doors; must not know the database. Called by ``app.day.command``.

People act concurrently, on the product's real pages. What decides the order of the books, deductions, the channel's notices and the
query job, runs one after another in a fixed order: so the same seed gives the same books however the machine schedules the people.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Final

from msgspec import Struct, field

from app import demo
from app.api.deductions import EntranceIn
from app.day.cards import CardCounts, Cards, Lane, charge_of
from app.day.counting import count
from app.day.doors import Browser, DoorClosed, Doors, Form, Visit
from app.day.faults import answering, failing_again, faults
from app.day.leaving import Leaving
from app.day.plan import Basket, Part, Plan, Return, Stay, TakenBack, Tap
from app.day.taking_back import take_back
from gateways.sandbox.shapes import FaultPlan
from payments.records import NewCharge

BETWEEN_TAPS: Final = timedelta(seconds=8)


class Counts(Struct):
    """What happened, as seen from outside."""

    charges: int = 0
    charges_posted_again: int = 0
    orders: int = 0
    tapped_again: int = 0
    turned_away: dict[str, int] = field(default_factory=dict)
    """Payers, by channel, whom no tap inside the wallet's app led to it: they went on in an ordinary browser."""
    reloaded: int = 0
    """Cashiers' pages that came at the second try only."""
    taken: int = 0
    entrances: int = 0
    deductions: dict[str, int] = field(default_factory=dict)
    """What lots were told when they let a charge be deducted, by channel: ``etc pending`` and then the barrier opens. Where no
    channel could be asked, why: ``etc plate_listed``."""
    cards: CardCounts = field(default_factory=CardCounts)
    baskets: int = 0
    together: int = 0
    """Charges that were paid in baskets."""
    acts: dict[str, int] = field(default_factory=dict)
    """Acts by which baskets were paid, by wallet."""
    wallets: dict[str, int] = field(default_factory=dict)
    """Money taken by the wallet and where its page was open: ``wechat inside``, ``wechat browser``."""
    refunded_by_hand: dict[str, int] = field(default_factory=dict)
    """Refunds that operators made in their merchant consoles, by channel."""
    notices: int = 0
    notices_refused: int = 0
    asked: int = 0
    taken_back: dict[str, int] = field(default_factory=dict)
    """Deductions that were paid and whose issuers took them back, by channel."""
    refund_calls: int = 0
    lists: int = 0
    """Calls for status lists."""


class _Cart(Struct, frozen=True):
    """Who is about to tap which wallet's button."""

    stay: Stay
    tap: Tap
    form: Form
    browser: Browser
    channel: str


class _Away(Struct, frozen=True):
    """Who was led away to which channel, how, and out of which browser."""

    visit: Visit
    channel: str
    inside: bool


class _Taken(Struct, frozen=True):
    """A payment that its operator will refund: where, under which number, and how much was paid."""

    channel: str
    order_no: str
    amount_fen: int


class _Filled(Struct, frozen=True):
    """A basket that is not paid to its end."""

    basket: Basket
    address: str
    browser: Browser


_Who = tuple[str, str]
"""A stay's serial and a payer."""


class Day:
    """One run of a plan. ``pay_codes`` holds the token of each lot's pay code, ``lanes`` what ETC knows of each lot.

    ``leaving`` lives through what leaving first adds to it.
    """

    def __init__(
        self, plan: Plan, doors: Doors, *, pay_codes: Mapping[str, str], lanes: Mapping[str, Lane], leaving: Leaving
    ) -> None:  # fmt: skip
        self._leaving = leaving
        self._cards = Cards(plan, doors, lanes=lanes)
        self.counts = Counts(cards=self._cards.counts)
        self._plan, self._doors, self._pay_codes = plan, doors, pay_codes
        self._carts: dict[_Who, _Cart] = {}
        self._away: dict[_Who, _Away] = {}
        self._taken: dict[str, _Taken] = {}
        self._filled: list[_Filled] = []
        self._agenda = _Agenda(plan)

    async def live(self, *, progress: Callable[[int, Counts], None], meanwhile: Callable[[int], Awaitable[None]]) -> None:
        """Live through all minutes; after each ``progress`` is told and ``meanwhile`` does what is left of the day before."""
        agenda = self._agenda
        for channel in self._doors.channels:
            await self._doors.set_faults(channel, faults(channel))
        await self._cards.begin()
        self._leaving.begin()
        for minute in self._plan.minutes():
            await self._doors.set_clock(self._plan.at(minute))
            for stay in agenda.entering[minute]:
                await self._enter(stay)
            await self._post_charges(minute)
            for stay in agenda.deducting[minute]:
                await self._deduct(stay)
            self.counts.taken += await self._cards.bring(minute)
            await self._leaving.go_by(minute)
            await _together(self._open(stay, tap) for stay, tap in agenda.tapping[minute])
            await self._tap_all(minute)
            await _together(self._pay(stay, tap) for stay, tap in agenda.paying[minute])
            await self._pay_baskets(minute)
            for stay, returned in agenda.returning[minute]:
                await self._return(stay, returned)
            for one in agenda.taking_back[minute]:
                count(self.counts.taken_back, await take_back(self._doors, one))
            await self._cards.decide(minute)
            await self._leaving.do(minute)
            await self._settle()
            await meanwhile(minute)
            progress(minute, self.counts)
        self._leaving.end()
        if self._filled:
            raise DoorClosed(f"{len(self._filled)} baskets were not paid to their end: {self._filled[0]}")

    async def _change_faults(self, changed: Callable[[FaultPlan], FaultPlan]) -> None:
        for channel in self._doors.channels:
            await self._doors.set_faults(channel, changed(await self._doors.faults(channel)))

    async def _enter(self, stay: Stay) -> None:
        """A plate's owner has given a mandate; its car has come, and the lot's system tells of it."""
        assert stay.mandate is not None, "only cars with a mandate are told of"
        charge = self._charge(stay)
        channel, answer = stay.mandate.channel, stay.mandate.answer
        await self._doors.sign_mandate(channel, charge, owner=f"owner-{stay.serial}", answer=answer)
        entrance = EntranceIn(
            serial=stay.serial, plate=charge.plate, plate_color=charge.plate_color, entered_at=charge.entered_at,
            free_minutes=demo.FREE_MINUTES,
        )  # fmt: skip
        told = await self._doors.post_entrance(demo.operator_of(stay.lot_code), stay.lot_code, entrance)
        open_at = [one.channel for one in told.channels if one.state == "open"]
        if open_at != [channel] and channel != "etc":
            raise DoorClosed(f"{channel} may deduct from {stay.plate}, but {open_at} said so")
        self.counts.entrances += 1

    async def _deduct(self, stay: Stay) -> None:
        """The lot's system lets the charge be taken by the mandate; what is refused is for a payer."""
        assert stay.mandate is not None, "only these are deducted"
        told = await self._doors.deduct(demo.operator_of(stay.lot_code), stay.lot_code, stay.serial)
        reasons = [one.reason for one in told.tried if one.channel == stay.mandate.channel]
        count(self.counts.deductions, f"{stay.mandate.channel} {reasons[-1] if told.channel is None else told.state}")
        is_taken = told.state in ("succeeded", "pending", "unknown")
        expected = None if stay.mandate.answer == "listed" else stay.mandate.channel
        if told.channel != expected or is_taken != stay.mandate.takes:
            raise DoorClosed(f"{stay.plate} was to be deducted over {stay.mandate.channel}: {told}")
        self.counts.taken += is_taken

    async def _post_charges(self, minute: int) -> None:
        """Each lot posts its charges of the minute; every fifth time its system sends them twice."""
        stays = sorted(self._agenda.charged[minute], key=lambda stay: stay.lot_code)
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
        return charge_of(self._plan, stay)

    async def _open(self, stay: Stay, tap: Tap) -> None:
        """Somebody scans the code and enters the plate; whose wallet the page does not offer takes the first that it does."""
        wallet = tap.wallet
        self._carts[stay.serial, tap.payer] = await self._cart(stay, tap, wallet.channel if wallet.inside else None)

    async def _cart(self, stay: Stay, tap: Tap, inside: str | None) -> _Cart:
        browser, wanted = Browser(tap.payer, inside), tap.wallet.channel
        form = await self._doors.ask(self._pay_codes[stay.lot_code], plate=stay.plate, browser=browser)
        return _Cart(stay, tap, form, browser, wanted if wanted in form.wallets else form.wallets[0])

    async def _tap_all(self, minute: int) -> None:
        """Everybody taps the button; those whom the channel left without an answer tap again some seconds later.

        Who gets nowhere inside a wallet's app even then opens the page in an ordinary browser.
        """
        await _together(self._tap(who) for who in list(self._carts))
        if not self._carts:
            return
        self.counts.tapped_again += len(self._carts)
        await self._doors.set_clock(self._plan.at(minute) + BETWEEN_TAPS)
        await self._change_faults(answering)
        await _together(self._tap(who) for who in list(self._carts))
        await _together(self._go_on_outside(who) for who in list(self._carts) if self._carts[who].browser.inside is not None)
        await self._change_faults(failing_again)
        if self._carts:
            raise DoorClosed(f"the product left {len(self._carts)} payers without an answer although the channel answers")

    async def _tap(self, who: _Who) -> None:
        cart = self._carts[who]
        visit = await self._doors.tap(cart.form, channel=cart.channel, browser=cart.browser)
        if visit is not None:
            del self._carts[who]
            self._away[who] = _Away(visit, cart.channel, cart.browser.inside is not None)
            self.counts.orders += 1

    async def _go_on_outside(self, who: _Who) -> None:
        cart = self._carts[who]
        count(self.counts.turned_away, cart.channel)
        self._carts[who] = await self._cart(cart.stay, cart.tap, None)
        await self._tap(who)

    async def _pay(self, stay: Stay, tap: Tap) -> None:
        away = self._away.pop((stay.serial, tap.payer))
        paid = await self._doors.pay(away.visit)
        self.counts.reloaded += paid.reloaded
        self.counts.taken += 1
        self.counts.cards.bad_paid += stay.card is not None and stay.card.is_bad
        count(self.counts.wallets, f"{away.channel} {'inside' if away.inside else 'browser'}")
        if tap.returned is not None:
            self._taken[stay.serial] = _Taken(away.channel, paid.order_no, self._charge(stay).amount_fen)

    async def _pay_baskets(self, minute: int) -> None:
        """Whoever has a basket pays its next act; who comes back to its page and finds all paid is done. One after another."""
        for basket in self._agenda.filling[minute]:
            browser = Browser(basket.payer, basket.wallet.channel if basket.wallet.inside else None)
            pay_code = self._pay_codes[basket.lot_code]
            self._filled.append(
                _Filled(basket, await self._doors.ask_together(pay_code, plate=basket.plate, browser=browser), browser)
            )
        self._filled += [await self._fill(part) for part in self._agenda.parting[minute]]
        self._filled = [filled for filled in self._filled if not await self._go_on(filled)]

    async def _fill(self, part: Part) -> _Filled:
        """Return the basket of somebody who pays a part of a debt."""
        stay, wallet = part.stay, part.wallet
        browser = Browser(part.payer, wallet.channel if wallet.inside else None)
        basket = Basket(part.payer, stay.lot_code, stay.plate, (), part.minute, wallet)
        return _Filled(basket, await self._leaving.fill(part, browser), browser)

    async def _go_on(self, filled: _Filled) -> bool:
        """Look at a basket's page and pay one more act; returns whether all is paid."""
        page = await self._doors.basket(filled.address, filled.browser)
        if page.is_done:
            self.counts.baskets += len(filled.basket.serials) > 0
            self.counts.together += len(filled.basket.serials)
            self.counts.taken += len(filled.basket.serials)
            return True
        if page.is_waiting:
            return False
        if page.form is None:
            raise DoorClosed(f"the page of {filled.basket} offers nothing to pay with")
        wanted = filled.basket.wallet.channel
        channel = wanted if wanted in page.form.wallets else page.form.wallets[0]
        await self._doors.pay(await self._tapped(page.form, channel, filled.browser))
        count(self.counts.acts, f"{channel} {'inside' if filled.browser.inside is not None else 'browser'}")
        return False

    async def _tapped(self, form: Form, channel: str, browser: Browser) -> Visit:
        """Tap a button of a basket's page, and once more when the channel did not answer."""
        visit = await self._doors.tap(form, channel=channel, browser=browser)
        if visit is None:
            self.counts.tapped_again += 1
            await self._change_faults(answering)
            visit = await self._doors.tap(form, channel=channel, browser=browser)
            await self._change_faults(failing_again)
        if visit is None:
            raise DoorClosed("the product left a payer of a basket without an answer although the channel answers")
        return visit

    async def _return(self, stay: Stay, returned: Return) -> None:
        """An operator refunds a payment in its merchant console: nobody tells us, the channel's bill does."""
        taken = self._taken.pop(stay.serial)
        await self._doors.refund_by_hand(taken.channel, taken.order_no, None if returned.whole else taken.amount_fen // 2)
        count(self.counts.refunded_by_hand, taken.channel)

    async def _settle(self) -> None:
        """Let notices come, then let the product ask for what it does not know."""
        delivered = await self._doors.deliver()
        self.counts.notices += delivered.attempts
        self.counts.notices_refused += delivered.failed
        ran = await self._doors.run_jobs()
        self.counts.asked += ran.asked
        self.counts.refund_calls += ran.refunds
        self.counts.cards.packages += ran.packages
        self.counts.lists += ran.lists
        self._leaving.counts.deductions_tried += ran.deducted
        self._leaving.counts.reminders += ran.reminders
        self._leaving.counts.pushed += ran.pushed


class _Agenda:
    """A plan by its minutes."""

    def __init__(self, plan: Plan) -> None:
        self.entering: dict[int, list[Stay]] = defaultdict(list)
        self.charged: dict[int, list[Stay]] = defaultdict(list)
        self.deducting: dict[int, list[Stay]] = defaultdict(list)
        self.tapping: dict[int, list[tuple[Stay, Tap]]] = defaultdict(list)
        self.paying: dict[int, list[tuple[Stay, Tap]]] = defaultdict(list)
        self.returning: dict[int, list[tuple[Stay, Return]]] = defaultdict(list)
        self.filling: dict[int, list[Basket]] = defaultdict(list)
        self.parting: dict[int, list[Part]] = defaultdict(list)
        self.taking_back: dict[int, list[TakenBack]] = defaultdict(list)
        for taken in plan.taken_back:
            self.taking_back[taken.minute].append(taken)
        for part in plan.parts:
            self.parting[part.minute].append(part)
        for comer in plan.comers:
            self._take(comer.stay, comer.tap)
        for leaver in plan.leavers:
            if leaver.stay.mandate is not None:
                self.entering[leaver.stay.told_minute].append(leaver.stay)
        for basket in plan.baskets:
            self.filling[basket.minute].append(basket)
        for stay in plan.stays:
            if not stay.is_free:
                self.charged[stay.charged_minute].append(stay)
            if stay.mandate is not None:
                self.entering[stay.told_minute].append(stay)
                self.deducting[stay.charged_minute].append(stay)
            for tap in stay.taps:
                self._take(stay, tap)

    def _take(self, stay: Stay, tap: Tap) -> None:
        self.tapping[tap.minute].append((stay, tap))
        if tap.pays_minute is not None:
            self.paying[tap.pays_minute].append((stay, tap))
        if tap.returned is not None:
            self.returning[tap.returned.minute].append((stay, tap.returned))


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
