"""The end of simulated days: seal, bills, comparison, trial balance, statements, invariants, and the files that prove them.

Knows the product's own functions for these and the doors; must not know how the day went. Called by ``app.day.command``.
Every file is a function of the books alone, so that the same seed gives the same bytes; no duration, path or port is in any.
"""

import csv
import hashlib
import io
import itertools
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from app.checks import violations
from app.day import reckoning
from app.day.counting import added
from app.day.doors import DoorClosed, Doors
from app.day.drive import Counts
from app.day.leaving import LeavingCounts
from app.day.plan import Plan
from app.day.reckoning import DebtsAtEnd, Hook, Owed
from app.wiring import Wiring
from app.worker import reconcile_yesterday
from config.settings import CHART
from ledger import balances, extracts
from ledger.accounts import read_chart
from ledger.balances import TrialBalanceLine
from ledger.clock import SetClock, business_date
from ledger.invariants import Violation
from ledger.money import yuan
from payments import lots
from reconciliation import bills, daily, matching

BETWEEN_ROUNDS: Final = timedelta(hours=1)
ROUNDS_MAX: Final = 12
"""From the morning until the evening: UnionPay's word that a merchant had nothing counts from 18:00 on."""
HOURS_MAX: Final = 26
"""Until noon of the day after: refunds are asked for again within a day."""
REST_HOURS: Final = 3
_KINDS: Final = ((b"PK", "zip"), (b"\x1f\x8b", "gz"), (b"{", "json"), (b"H|", "txt"))


class Books(Struct, frozen=True):
    """The books at the end."""

    entries: int
    root: str
    """Root of the tree, base64, as in the checkpoint: it covers every entry in its order."""
    trial_balance_sha256: str
    debit_fen: int
    credit_fen: int


class Matching(Struct, frozen=True):
    """The book against a channel's trade bills of the day, at the last seal."""

    bills: int
    """Files, one per merchant account where the channel makes them so; a merchant that had nothing has none or an empty one."""
    refused: int
    """Files that were not taken, because they were cut."""
    bill_lines: int
    matched: int
    """Payments and refunds."""
    matched_fen: int
    """Sum of the payments."""
    differences: dict[str, int]


class CardsAtEnd(Struct, frozen=True):
    """What became of charges by card. Amounts in fen."""

    records: int = 0
    free: int = 0
    """Records of stays that cost nothing; the following do not count them."""
    booked: int = 0
    """Taken by their issuers at once."""
    disputed: int = 0
    """Disputed at first: ``released`` and ``bad`` of them by now."""
    released: int = 0
    bad: int = 0
    owed: int = 0
    """Bad debts that nobody has paid otherwise yet."""
    waiting: int = 0
    """Not decided yet."""
    cleared: int = 0
    cleared_fen: int = 0
    """Money facts that the clearing statistics cover."""
    shares: int = 0
    """Operators that the clearing party pays for the day, with ``share_records`` records and ``share_fen``."""
    share_records: int = 0
    share_fen: int = 0
    packages: dict[str, int] = {}
    """Packages by state."""


class DaySection(Struct, frozen=True):
    """One of several days: how it went, what was owed at its end, and how its bills agree with the book."""

    day: date
    payments: int
    seen: Counts
    leaving: LeavingCounts
    owed: Owed
    matching: dict[str, Matching]


class Summary(Struct, frozen=True, omit_defaults=True):
    """All of it in one record: ``summary.json``. ``day`` is the first; of several days there are a section each and the debts."""

    seed: int
    day: date
    payments: int
    seen: Counts
    states: dict[str, int]
    """Payments by channel and state."""
    ways: dict[str, int]
    """Money facts by channel and way of ordering."""
    treatments: dict[str, int]
    """Money facts by channel and how they were booked."""
    evidence: dict[str, int]
    """Money facts by channel and the kind of message that proved them."""
    messages: dict[str, int]
    """Stored messages by channel, operation and verdict."""
    cases: dict[str, int]
    """Open cases by channel and kind."""
    refunds: dict[str, int]
    """Refunds by channel, who wanted them (``case``: we, for a second payment; ``console``: the operator) and state."""
    books: Books
    matching: dict[str, Matching]
    """By channel."""
    cards: CardsAtEnd
    invariants_broken: list[Violation]
    taken_back: dict[str, int] = {}
    """Money facts by channel that were booked as taken back; what cards paid becomes bad before it is a fact."""
    days: list[DaySection] = []
    leaving: LeavingCounts | None = None
    debts: DebtsAtEnd | None = None

    def wrong(self) -> list[str]:
        """Return a sentence for everything that is wrong: broken invariants, bills that differ, receivables that nobody owes."""
        found = [f"{broken.invariant}  {broken.detail}" for broken in self.invariants_broken]
        found += [
            f"the bills of {channel} differ from the book: {name} {times}"
            for channel, matching in self.matching.items()
            for name, times in matching.differences.items()
        ]
        if self.taken_back != self.seen.taken_back:
            found.append(f"channels took back {self.seen.taken_back}, and the book has {self.taken_back}")
        if self.debts is not None and self.debts.owed.owed_fen != self.debts.receivable_fen:
            found.append(
                f"the books carry {self.debts.receivable_fen} fen as receivables, and debts owe {self.debts.owed.owed_fen}"
            )
        return found


class Lived(Struct, frozen=True):
    """A day that was lived through."""

    plan: Plan
    seen: Counts
    leaving: LeavingCounts
    owed: Owed

    @property
    def day(self) -> date:
        return business_date(self.plan.starts_at)


_COUNTS: Final = {
    "states": "select channel || ' ' || state, count(*) from payments.v_payment group by 1 order by 1",
    "ways": "select f.channel || ' ' || o.way, count(*) from payments.v_payment_fact f join payments.v_order o "
    "on o.lane = f.lane and o.payment_id = f.payment_id group by 1 order by 1",
    "treatments": "select channel || ' ' || treatment, count(*) from payments.v_payment_fact group by 1 order by 1",
    "evidence": "select f.channel || ' ' || m.operation, count(*) from payments.v_payment_fact f join gateways.v_message m "
    "on m.lane = f.lane and m.message_id = f.evidence_id group by 1 order by 1",
    "messages": "select channel || ' ' || operation || ' ' || verdict, count(*) from gateways.v_message "
    "where operation in ('callback', 'query', 'close', 'refund', 'refund_query', 'bill') group by 1 order by 1",
    "refunds": "select channel || ' ' || source || ' ' || state, count(*) from payments.v_refund group by 1 order by 1",
    "taken_back": "select channel, count(*) from payments.v_payment_fact where taken_back_at is not null group by 1 order by 1",
    "cases": "select channel || ' ' || kind, count(*) from payments.v_case where state = 'open' group by 1 order by 1",
}
_BILLS: Final = text("""
select distinct on (b.merchant_no) b.merchant_no, b.bill_id, b.lines,
       (select r.run_id from reconciliation.v_match_run r where r.bill_id = b.bill_id order by r.tree_size desc limit 1) as run_id
from reconciliation.v_bill b where b.channel = :channel and b.bill_on = :day and b.kind = 'trade'
order by b.merchant_no, b.version desc
""")
_RUNS: Final = text("""
select coalesce(sum(matched), 0)::bigint as matched, coalesce(sum(matched_fen), 0)::bigint as matched_fen
from reconciliation.v_match_run where run_id = any(:runs)
""")
_CARDS: Final = text("""
with paying as (
    select r.*, f.payment_id is not null as has_fact, f.cleared_on as fact_cleared_on,
           r.state = 'bad' and not exists (
               select from payments.v_payment_fact o
               where o.lane = r.lane and o.charge_id = r.charge_id and o.treatment = 'settled'
                 and o.taken_back_at is null) as is_owed
    from payments.v_card_record r left join payments.v_payment_fact f on f.lane = r.lane and f.payment_id = r.record_id
    where r.charge_id is not null
)
select (select count(*) from payments.v_card_record) as records,
       (select count(*) from payments.v_card_record where charge_id is null) as free,
       count(*) filter (where state = 'booked') as booked,
       count(*) filter (where reason is not null) as disputed,
       count(*) filter (where state = 'released') as released,
       count(*) filter (where state = 'bad') as bad,
       count(*) filter (where is_owed) as owed,
       count(*) filter (where not has_fact and state <> 'bad') as waiting,
       count(*) filter (where fact_cleared_on is not null) as cleared,
       coalesce(sum(fee_fen) filter (where fact_cleared_on is not null), 0)::bigint as cleared_fen,
       (select count(*) from payments.v_card_share) as shares,
       (select coalesce(sum(count), 0)::bigint from payments.v_card_share) as share_records,
       (select coalesce(sum(amount_fen), 0)::bigint from payments.v_card_share) as share_fen
from paying
""")
_PACKAGES: Final = text("""
select package_state as state, count(distinct package_no) as times from payments.v_card_record where package_no is not null
group by package_state order by package_state
""")
_OWED_BACK: Final = text("""
select exists (select from payments.v_refund where source = 'case' and state not in ('done', 'closed'))
""")
_REFUSED: Final = text("select count(*) from reconciliation.v_refused_bill where channel = :channel and bill_on = :day")


class Closing:
    """Compares the bills of days, closes the last one and writes the files of all of them to ``out``. ``hook`` takes events."""

    def __init__(self, wiring: Wiring, doors: Doors, *, out: Path, hook: Hook | None = None) -> None:
        self._wiring, self._doors, self._out, self._hook = wiring, doors, out, hook

    def owed(self) -> Owed:
        """Return what is owed now."""
        with self._wiring.db.connect() as tx:
            return reckoning.owed(tx)

    async def compare(self, day: date, *, at: datetime) -> None:
        """Do the hour's part of the comparison with yesterday's bills, while the next day goes on."""
        self._set_clock(at)
        if self._waiting(day):
            await self._doors.seal()
            reconcile_yesterday(self._wiring)

    def end_comparing(self, day: date) -> None:
        """Raise DoorClosed when a bill of a day was not compared to its end."""
        if waiting := self._waiting(day):
            raise DoorClosed(f"the bills of {day} still wait: {', '.join(waiting)}")

    async def write(self, lived: Sequence[Lived], *, at: datetime) -> Summary:
        """Close the last day and return the summary. ``at`` is the next morning, when the channels have their bills."""
        for name in ("bills", "statements"):
            (self._out / name).mkdir(parents=True, exist_ok=True)
        await self._doors.seal()
        ended_at = await self._live_on(lived[-1].day, at)
        if len(lived) > 1:
            ended_at = await self._come_to_rest(ended_at)
        matched = [self._matched(one.day) for one in lived]
        await self._statements(lived[0].day, until=business_date(ended_at))
        summary = self._summary(lived, matched, ended_at)
        (self._out / "summary.json").write_bytes(_pretty(summary))
        return summary

    async def _live_on(self, day: date, at: datetime) -> datetime:
        """Do what the worker does by the hour, until no bill waits and all second payments are back; returns when that was.

        ETC clears the day in the night and says so first: before that it gives nothing back. It is asked again in growing pauses,
        so that this can take until the next night; what is not back even then stays a refund that waits, as the summary says.
        """
        for number in range(HOURS_MAX):
            now = at + number * BETWEEN_ROUNDS
            await self._hour(now)
            if waiting := self._waiting(day):
                if number >= ROUNDS_MAX:
                    break
                reconcile_yesterday(self._wiring)
                waiting = self._waiting(day)
            if not waiting and not self._owes_back():
                break
        self.end_comparing(day)
        return now

    async def _come_to_rest(self, at: datetime) -> datetime:
        """Let some hours go by: shares of what was paid last, and events that were lost once, come to their end."""
        for number in range(1, REST_HOURS + 1):
            await self._hour(at + number * BETWEEN_ROUNDS)
        return at + REST_HOURS * BETWEEN_ROUNDS

    async def _hour(self, now: datetime) -> None:
        self._set_clock(now)
        await self._doors.set_clock(now)
        await self._doors.deliver()
        await self._doors.run_jobs()
        await self._doors.seal()

    def _set_clock(self, at: datetime) -> None:
        assert isinstance(self._wiring.clock, SetClock)
        self._wiring.clock.set(at)

    def _waiting(self, day: date) -> list[str]:
        """Return whose bills were not compared to their end."""
        with self._wiring.db.connect() as tx:
            return [
                channel.name + ("" if account is None else f" {account.merchant_no}")
                for channel in (connected.channel for connected in self._wiring.channels)
                for account in daily.waiting(tx, channel=channel, bill_on=day)
            ]

    def _owes_back(self) -> bool:
        """Say whether a second payment is not back with its payer yet."""
        with self._wiring.db.connect() as tx:
            return bool(tx.execute(_OWED_BACK).scalar_one())

    def _matched(self, day: date) -> dict[str, Matching]:
        """Keep every bill of a day as a file and return what the comparisons came to."""
        with self._wiring.db.connect() as tx:
            return {channel: self._matched_at(tx, channel, day) for channel in self._wiring.channels.names()}

    def _matched_at(self, tx: Connection, channel: str, day: date) -> Matching:
        asked = {"channel": channel, "day": day}
        rows = tx.execute(_BILLS, asked).all()
        differences: Counter[str] = Counter()
        for row in rows:
            content = bills.content(tx, bill_id=row.bill_id)
            if content:
                name = f"{channel}-{row.merchant_no or 'all'}-{day}.{_kind(content)}"
                (self._out / "bills" / name).write_bytes(content)
            differences.update(matching.counts(tx, run_id=row.run_id))
        sums = tx.execute(_RUNS, {"runs": [row.run_id for row in rows]}).one()
        return Matching(
            bills=len(rows), refused=tx.execute(_REFUSED, asked).scalar_one(), bill_lines=sum(row.lines for row in rows),
            matched=sums.matched, matched_fen=sums.matched_fen, differences=dict(differences),
        )  # fmt: skip

    async def _statements(self, first: date, *, until: date) -> None:
        """Fetch each operator's statements as the operator would, page by page: each day's, and those of the days until the last
        was closed, whose lines are what the bills brought to light and what went back."""
        days = [first + timedelta(days=number) for number in range((until - first).days + 1)]
        with self._wiring.db.connect() as tx:
            codes = [operator.code for operator in lots.operators(tx)]
        for code, day in itertools.product(codes, days):
            pages: list[dict[str, Any]] = []
            cursor = None
            while True:
                pages.append(await self._doors.statement(code, day.isoformat(), cursor))
                if (cursor := pages[-1].get("cursor")) is None:
                    break
            lines = [line for page in pages for line in page["lines"]]
            (self._out / "statements" / f"{code}-{day}.json").write_bytes(_pretty(pages[0] | {"lines": lines, "cursor": None}))

    def _summary(self, lived: Sequence[Lived], matched: Sequence[dict[str, Matching]], at: datetime) -> Summary:
        wiring = self._wiring
        with wiring.db.connect() as tx:
            seal = extracts.seal(tx, lane=wiring.lane)
            trial = balances.trial_balance(balances.live(tx, lane=wiring.lane), chart=read_chart(CHART.read_bytes()))
            counted = {name: {row[0]: row[1] for row in tx.execute(text(query))} for name, query in _COUNTS.items()}
            packages = {row.state: row.times for row in tx.execute(_PACKAGES)}
            cards = CardsAtEnd(**tx.execute(_CARDS).one()._mapping, packages=packages)
            broken = violations(tx)
            debts = self._debts(tx, trial, at) if len(lived) > 1 else None
        note = seal.checkpoint if seal else ""
        (self._out / "checkpoint.txt").write_text(note, encoding="utf-8")
        table = trial_balance_csv(trial)
        (self._out / "trial-balance.csv").write_bytes(table)
        books = Books(
            entries=seal.tree_size if seal else 0,
            root=note.split("\n")[2] if note else "",
            trial_balance_sha256=hashlib.sha256(table).hexdigest(),
            debit_fen=sum(line.debit_fen for line in trial),
            credit_fen=sum(line.credit_fen for line in trial),
        )
        return Summary(
            seed=wiring.settings.simulated_seed, day=lived[0].day, payments=sum(one.plan.payments for one in lived),
            seen=added([one.seen for one in lived]), books=books, matching=_all_matched(matched), cards=cards,
            invariants_broken=broken, days=_sections(lived, matched), debts=debts,
            leaving=None if debts is None else added([one.leaving for one in lived]), **counted,
        )  # fmt: skip

    def _debts(self, tx: Connection, trial: list[TrialBalanceLine], at: datetime) -> DebtsAtEnd:
        today = business_date(at)
        debts = reckoning.debts_at_end(tx, wiring=self._wiring, trial=trial, letters=self._keep_letters(), today=today)
        if self._hook is None:
            return debts
        return msgspec.structs.replace(debts, events=reckoning.events_told(tx, wiring=self._wiring, hook=self._hook))

    def _keep_letters(self) -> int:
        """Keep the reminders that went by file; returns how many."""
        outbox = self._wiring.settings.dunning_outbox
        if outbox.is_dir():
            shutil.copytree(outbox, self._out / "reminders", dirs_exist_ok=True)
        return sum(path.is_file() for path in (self._out / "reminders").rglob("*"))


def _sections(lived: Sequence[Lived], matched: Sequence[dict[str, Matching]]) -> list[DaySection]:
    """Return a section for each of several days; of one day the summary says it all."""
    if len(lived) == 1:
        return []
    return [
        DaySection(one.day, one.plan.payments, one.seen, one.leaving, one.owed, of_day)
        for one, of_day in zip(lived, matched, strict=True)
    ]


def _all_matched(matched: Sequence[dict[str, Matching]]) -> dict[str, Matching]:
    return {channel: added([one[channel] for one in matched]) for channel in matched[0]}


def trial_balance_csv(lines: list[TrialBalanceLine]) -> bytes:
    """Return a trial balance as CSV (UTF-8 with BOM for spreadsheets, amounts in yuan), with a line of sums."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["科目编码", "科目名称", "借方发生额", "贷方发生额", "借方余额", "贷方余额"])
    for line in lines:
        amounts = (line.debit_fen, line.credit_fen, line.balance_debit_fen, line.balance_credit_fen)
        rows.writerow([line.account, line.name, *map(yuan, amounts)])
    sums = (
        sum(line.debit_fen for line in lines),
        sum(line.credit_fen for line in lines),
        sum(line.balance_debit_fen for line in lines),
        sum(line.balance_credit_fen for line in lines),
    )
    rows.writerow(["", "合计", *map(yuan, sums)])
    return "\ufeff".encode() + file.getvalue().encode()


def _kind(content: bytes) -> str:
    """Return the end of a bill file's name."""
    return next((kind for mark, kind in _KINDS if content.startswith(mark)), "csv")


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"
