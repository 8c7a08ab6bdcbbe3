"""``tongting day``: find or start a simulated city, live through a day or several, close them, say what came of it.

Knows the order of things and what the terminal shows; must not know forms or SQL. Called by the command line.
"""

import asyncio
import logging
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import msgspec
from sqlalchemy import Connection

from app import demo, run
from app.auth import Caller, register_client
from app.day.cards import Lane
from app.day.closing import CardsAtEnd, Closing, Lived, Matching, Summary
from app.day.desk import Desk, enter_rules
from app.day.doors import Client, Doors
from app.day.drive import Counts, Day
from app.day.leaving import Leaving, LeavingCounts
from app.day.owing import draw_days
from app.day.plan import LAST_MINUTE, Plan
from app.day.receiver import Receiver
from app.day.reckoning import DebtsAtEnd, Hook, Sum
from app.embedded import TUNED
from app.simulation import SimulationState
from app.wiring import Wiring, build
from config.settings import Settings, changed
from gateways import routing
from ledger.clock import CHINA
from ledger.money import yuan
from payments import lots, paycode
from payments.cards.records import CHANNEL
from payments.lots import Lot
from payments.mandates import deduction_store

_THROWN_AWAY: Final = TUNED | {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""The database of a city of its own is removed when the day is over: a power cut may have it."""

BILL_AFTER: Final = timedelta(hours=11)
"""From 23:30 to the next morning, when the channels' bills are ready."""
COMPARING_FROM: Final = 4 * 60
"""From 10:00 on the bills of the day before are there: they are compared by the hour."""
NIGHT: Final = (timedelta(hours=-5, minutes=-30), timedelta(hours=-2, minutes=-50), timedelta(minutes=-20))
"""When the product is at work between two days, from the beginning of the second: 0:30, 3:10 and 5:40."""
HOOKED: Final = "liangxi"
"""The operator whose own system takes events."""
LINK: Final = "https://pay.example.invalid"
"""Where reminders of a simulation lead: never to a port that is another one in the next city."""


def day(settings: Settings, *, seed: int, payments: int, out: Path, days: int = 1) -> Summary:
    """Run whole city days and write their files to ``out``, which is emptied first. Returns the summary.

    Of several days ``payments`` is the sum; from the first on cars leave first, and what becomes of their debts is lived through.
    A simulated city that runs already at the settings' addresses is used if it is fresh and has this seed; otherwise one is started
    on free ports with a database of its own, and is gone afterwards.

    Raises:
        RunError: the running city cannot be used, or ``out`` holds something else.
    """
    began = time.monotonic()
    _empty(out)
    logging.getLogger("tongting.worker").setLevel(logging.ERROR)  # what it says of each bill is in the summary
    with _city(settings, seed, out) as (wiring, clients):
        plans = draw_days(
            seed=seed, days=days, payments=payments, starts_at=settings.simulated_start_at, channels=wiring.channels.names()
        )
        summary = asyncio.run(_live(wiring, clients, plans, out))
    print(table(summary, seconds=time.monotonic() - began, out=out))
    return summary


async def _live(wiring: Wiring, clients: Mapping[str, Client], plans: Sequence[Plan], out: Path) -> Summary:
    run.name_merchants(wiring)
    async with AsyncExitStack() as held:
        doors = await held.enter_async_context(Doors(wiring.settings, clients=clients, channels=wiring.channels.names()))
        hook = None
        if len(plans) > 1:
            enter_rules(wiring, at=plans[0].starts_at)
            hook = Hook(HOOKED, held.enter_context(Receiver()))
            hook.receiver.knows(await doors.add_webhook(HOOKED, hook.receiver.url))
        closing = Closing(wiring, doors, out=out, hook=hook)
        lived = await _live_through(wiring, doors, closing, plans)
        return await closing.write(lived, at=plans[-1].at(LAST_MINUTE) + BILL_AFTER)


async def _live_through(wiring: Wiring, doors: Doors, closing: Closing, plans: Sequence[Plan]) -> list[Lived]:
    """Live through days one after another; while one goes on, the bills of the one before are compared."""
    with wiring.db.connect() as tx:
        places = lots.lots(tx, limit=len(demo.LOTS))
        lanes = _lanes(tx, places, at=plans[0].starts_at)
    pay_codes = {lot.code: paycode.token(lot.lot_id, keys=wiring.pay_codes) for lot in places}
    staff, lived = Desk(wiring), list[Lived]()
    for plan in plans:
        before = lived[-1].day if lived else None
        if before is not None:
            await _night(doors, plan)
        if len(plans) > 1:
            print(f"Day {plan.number + 1} of {len(plans)}, {plan.starts_at:%Y-%m-%d}", file=sys.stderr, flush=True)
        leaving = Leaving(plan, doors, pay_codes=pay_codes, staff=staff)
        day = Day(plan, doors, pay_codes=pay_codes, lanes=lanes, leaving=leaving)
        await day.live(progress=Progress(plan), meanwhile=_comparing(closing, plan, before))
        if before is not None:
            closing.end_comparing(before)
        lived.append(Lived(plan, day.counts, leaving.counts, closing.owed()))
    return lived


async def _night(doors: Doors, plan: Plan) -> None:
    """Let the product do in the night before a day what it does then."""
    for span in NIGHT:
        await doors.set_clock(plan.starts_at + span)
        await doors.deliver()
        await doors.run_jobs()
        await doors.seal()


def _comparing(closing: Closing, plan: Plan, before: date | None) -> Callable[[int], Awaitable[None]]:
    """Return what compares the bills of the day before by the hour."""

    async def compare(minute: int) -> None:
        if before is not None and minute >= COMPARING_FROM and minute % 60 == 0:
            await closing.compare(before, at=plan.at(minute))

    return compare


def _lanes(tx: Connection, places: Sequence[Lot], *, at: datetime) -> dict[str, Lane]:
    """Return what the clearing party of ETC knows of each lot whose operator it pays, by the lot's code."""
    found = {}
    for lot in places:
        account = routing.choose(tx, operator_id=lot.operator_id, channel=CHANNEL, at=at)
        if account is not None:
            found[lot.code] = Lane(deduction_store.lot_number(tx, lot_id=lot.lot_id, channel=CHANNEL), account.merchant_no)
    return found


@contextmanager
def _city(settings: Settings, seed: int, out: Path) -> Iterator[tuple[Wiring, Mapping[str, Client]]]:
    with ExitStack() as held:
        if not _is_running(settings, seed):
            settings = held.enter_context(_own_city(settings, seed, out))
        wiring = build(settings)
        held.callback(wiring.close)
        yield wiring, _clients(wiring)


def _clients(wiring: Wiring) -> Mapping[str, Client]:
    """Register the demo city and a client for each operator; return the clients by operator code."""
    at = wiring.settings.simulated_start_at
    with wiring.db.begin() as tx:
        operators, _ = demo.register(tx, providers=wiring.providers(), at=at)
        callers = {
            one.code: Caller(client_id=f"day-{one.code}", scope="operator", operator_id=one.operator_id) for one in operators
        }
        return {code: Client(one.client_id, register_client(tx, client=one, at=at)) for code, one in callers.items()}


def _is_running(settings: Settings, seed: int) -> bool:
    """Tell whether a simulated city runs at the settings' addresses.

    Raises:
        RunError: it runs, but has another seed or has been used: a day begins with a fresh city, whose clock never goes back.
    """
    if not settings.simulated:
        return False
    try:
        answer = httpx.get(f"{settings.public_url}/_simulation/state", trust_env=False, timeout=5.0)
    except httpx.HTTPError:
        return False
    if answer.status_code != 200:
        raise run.RunError(f"what runs at {settings.public_url} is not a simulated city")
    state = msgspec.json.decode(answer.content, type=SimulationState)
    if state.seed != seed:
        raise run.RunError(f"the city at {settings.public_url} has seed {state.seed}, not {seed}")
    if state.payments or state.now != settings.simulated_start_at:
        raise run.RunError(f"the city at {settings.public_url} has been used; stop it and name a new TONGTING_HOME")
    return True


@contextmanager
def _own_city(settings: Settings, seed: int, out: Path) -> Iterator[Settings]:
    """Run a fresh simulated city beside whatever else runs here, and remove it afterwards; its logs stay when the day fails."""
    home = Path(tempfile.mkdtemp(prefix="tongting-day-"))
    home.chmod(0o711)
    own = simulated(settings, home=home, seed=seed, ports=free_ports())
    print(f"Starting a simulated city at {own.public_url} ...", file=sys.stderr, flush=True)
    try:
        with run.served_database(own, tuned=_THROWN_AWAY):
            run.prepare_home(own)
            with run.running(own):
                yield own
    except BaseException:
        if (home / "logs").exists():
            shutil.copytree(home / "logs", out / "logs", dirs_exist_ok=True)
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)


def simulated(settings: Settings, *, home: Path, seed: int, ports: Mapping[str, str]) -> Settings:
    """Return the settings of a simulated city of its own: everything as given, but its place, addresses, clock and seed."""
    return changed(
        settings, home=str(home), keys_dir="", database_url="", web_host="127.0.0.1", public_url="",
        sandbox="true", sandbox_host="127.0.0.1", callback_host="127.0.0.1", wechat_notify_url="",
        alipay_notify_url="", unionpay_notify_url="", webhook_allowed_networks="127.0.0.0/8", dunning_link=LINK,
        dunning_outbox="", token_minutes=str(24 * 60), simulated="true", simulated_seed=str(seed),
        **ports,
    )  # fmt: skip


def free_ports() -> dict[str, str]:
    """Return settings of ports that nobody listens on at the moment."""
    names = ("web_port", "sandbox_port", "callback_port")
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in names]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return {name: str(probe.getsockname()[1]) for name, probe in zip(names, probes, strict=True)}


def _empty(out: Path) -> None:
    """Make an empty directory of ``out``; one that holds other things than a day's files is refused."""
    ours = {"summary.json", "trial-balance.csv", "checkpoint.txt", "statements", "bills", "reminders", "logs"}
    if out.exists() and (not out.is_dir() or {entry.name for entry in out.iterdir()} - ours):
        raise run.RunError(f"{out} holds something else; name a new directory")
    for entry in out.iterdir() if out.exists() else ():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    out.mkdir(parents=True, exist_ok=True)


class Progress:
    """Says how far a day is: one line that is written over in a terminal, a line per hour elsewhere."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._live = sys.stderr.isatty()
        self._hour = -1

    def __call__(self, minute: int, counts: Counts) -> None:
        at = self._plan.at(minute).astimezone(CHINA)
        share = 100 * counts.taken // max(self._plan.payments, 1)
        line = f"{at:%H:%M}  {share:3d}%  {counts.charges} charges, {counts.taken} payments, {counts.notices} notices"
        if self._live:
            print(f"\r{line:<78}", end="\n" if minute == LAST_MINUTE else "", file=sys.stderr, flush=True)
        elif at.hour != self._hour:
            self._hour = at.hour
            print(line, file=sys.stderr, flush=True)


def table(summary: Summary, *, seconds: float, out: Path) -> str:
    """Return the summary as one table for a terminal."""
    seen, books = summary.seen, summary.books
    broken = ", ".join(sorted({violation.invariant for violation in summary.invariants_broken})) or "every one holds"
    rows = [
        ("seed, day", f"{summary.seed}, {summary.day}" + (f" and {len(summary.days) - 1} more" if summary.days else "")),
        ("charges", f"{seen.charges}; {seen.charges_posted_again} of them posted twice"),
        ("orders", f"{seen.orders}; {seen.tapped_again} taps and {seen.reloaded} cashiers had to be tried again"),
        ("turned away inside", _listed(seen.turned_away)),
        ("money taken", f"{seen.taken} times: {_listed(seen.wallets)}"),
        ("deducted", f"{_listed(seen.deductions)}; {seen.entrances} entrances told"),
        ("cards", _carded(summary.cards)),
        ("packages of cards", f"{_listed(summary.cards.packages)}; {_cleared(summary.cards)}"),
        ("taken back", f"{_listed(seen.taken_back)}; booked as such: {_listed(summary.taken_back)}"),
        ("paid together", f"{seen.together} charges in {seen.baskets} baskets; acts: {_listed(seen.acts)}"),
        ("refunded by hand", _listed(seen.refunded_by_hand)),
        ("notices", f"{seen.notices}; {seen.notices_refused} refused"),
        ("asked channels", f"{seen.asked} times about payments; calls for refunds {seen.refund_calls}, status lists {seen.lists}"),
        ("payments", _listed(summary.states)),
        ("ways", _listed(summary.ways)),
        ("booked as", _listed(summary.treatments)),
        ("refunds", _listed(summary.refunds)),
        ("proven by", _listed(summary.evidence)),
        ("open cases", _listed(summary.cases)),
        ("entries sealed", f"{books.entries}, root {books.root}"),
        ("trial balance", f"debit {yuan(books.debit_fen)}, credit {yuan(books.credit_fen)} yuan"),
        *(_debts(summary.debts, summary.leaving) if summary.debts is not None and summary.leaving is not None else ()),
        *((f"bills of {name}", _compared(matching)) for name, matching in summary.matching.items()),
        ("invariants", broken),
        ("took", f"{seconds:.0f} s; files in {out}"),
    ]
    return "\n".join(f"  {name:<18} {value}" for name, value in rows)


def _debts(debts: DebtsAtEnd, leaving: LeavingCounts) -> list[tuple[str, str]]:
    """Return lines about debts."""
    heard = debts.events
    told = "none" if heard is None else f"{sum(heard.kinds.values())} about {heard.charges} charges, in order; {heard.sent_again}"
    return [
        ("left first", _listed(leaving.told)),
        ("debts opened", _summed(debts.opened)),
        ("debts now", f"{_summed(debts.states)}; books carry {yuan(debts.receivable_fen)} yuan"),
        ("debts by age", _summed(debts.ageing)),
        ("debts paid", f"{_summed(debts.paid)}; {leaving.parts} in part"),
        ("debts decided", f"{_listed(leaving.deeds)}; {debts.credit_notes.count} credit notes"),
        ("deductions tried", _listed(debts.deductions)),
        ("reminders", f"{leaving.reminders}, {debts.letters} of them letters"),
        ("recovered", f"{_summed(debts.recoveries)}; shares: {_summed(debts.shares)}"),
        (f"events of {HOOKED}", f"{told} sent again"),
    ]


def _summed(sums: Mapping[str, Sum]) -> str:
    return ", ".join(f"{name} {one.count} ({yuan(one.amount_fen)})" for name, one in sorted(sums.items())) or "none"


def _carded(cards: CardsAtEnd) -> str:
    """Return what became of charges by card in a line."""
    ends = f"{cards.booked} booked, {cards.disputed} disputed, {cards.released} released, {cards.bad} bad, {cards.waiting} waiting"
    return f"{cards.records} records, {cards.free} of them free; {ends}; {cards.owed} bad debts still owed"


def _cleared(cards: CardsAtEnd) -> str:
    """Return what the clearing party pays for the day."""
    told = f"{cards.share_records} records and {yuan(cards.share_fen)} yuan to {cards.shares} operators"
    return f"{cards.cleared} cleared ({yuan(cards.cleared_fen)} yuan); statistics: {told}"


def _compared(matching: Matching) -> str:
    """Return one channel's comparison in a line."""
    files = f"{matching.bills} files" + (f" and {matching.refused} refused" if matching.refused else "")
    matched = f"{matching.bill_lines} lines, {matching.matched} matched ({yuan(matching.matched_fen)} yuan)"
    return f"{files}, {matched}; differences: {_listed(matching.differences)}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counts.items())) or "none"
