"""The end of a simulated day: seal, bill, match, trial balance, statements, invariants, and the files that prove them.

Knows the product's own functions for these and the doors; must not know how the day went. Called by ``app.day.command``.
Every file is a function of the books alone, so that the same seed gives the same bytes; no duration, path or port is in any.
"""

import csv
import hashlib
import io
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import text

from app.checks import violations
from app.day.doors import Doors
from app.day.drive import Counts
from app.wiring import Wiring
from config.settings import CHART
from ledger import balances, extracts
from ledger.accounts import read_chart
from ledger.balances import TrialBalanceLine
from ledger.invariants import Violation
from ledger.money import yuan
from payments import lots
from reconciliation import bills, matching
from reconciliation.matching import MatchRun

CHANNEL: Final = "wechat"


class Books(Struct, frozen=True):
    """The books at the end."""

    entries: int
    root: str
    """Root of the tree, base64, as in the checkpoint: it covers every entry in its order."""
    trial_balance_sha256: str
    debit_fen: int
    credit_fen: int


class Matching(Struct, frozen=True):
    """The book against the channel's trade bill."""

    bill_lines: int
    matched: int
    matched_fen: int
    differences: dict[str, int]


class Summary(Struct, frozen=True):
    """The whole day in one record: ``summary.json``."""

    seed: int
    day: date
    payments: int
    seen: Counts
    states: dict[str, int]
    """Payments by state."""
    treatments: dict[str, int]
    """Money facts by how they were booked."""
    evidence: dict[str, int]
    """Money facts by the kind of message that proved them."""
    messages: dict[str, int]
    """Stored messages by operation and verdict."""
    cases: dict[str, int]
    """Open cases by kind."""
    refunds: dict[str, int]
    """Refunds by state."""
    books: Books
    matching: Matching
    invariants_broken: list[Violation]


_COUNTS: Final = {
    "states": "select state, count(*) from payments.v_payment group by state order by state",
    "treatments": "select treatment, count(*) from payments.v_payment_fact group by treatment order by treatment",
    "evidence": "select m.operation, count(*) from payments.v_payment_fact f join gateways.v_message m "
    "on m.lane = f.lane and m.message_id = f.evidence_id group by m.operation order by m.operation",
    "messages": "select operation || ' ' || verdict, count(*) from gateways.v_message "
    "where operation in ('callback', 'query', 'close', 'refund', 'refund_query') group by 1 order by 1",
    "refunds": "select state, count(*) from payments.v_refund group by state order by state",
    "cases": "select kind, count(*) from payments.v_case where state = 'open' group by kind order by kind",
}


class Closing:
    """Closes one day and writes its files to ``out``."""

    def __init__(self, wiring: Wiring, doors: Doors, *, day: date, out: Path) -> None:
        self._wiring, self._doors, self._day, self._out = wiring, doors, day, out

    async def write(self, *, payments: int, seen: Counts, at: datetime) -> Summary:
        """Close the day and return its summary. ``at`` is the next morning, when the channel has the bill.

        Raises:
            DoorClosed: something that must be there was not.
        """
        for name in ("statements", "bills"):
            (self._out / name).mkdir(parents=True, exist_ok=True)
        await self._doors.seal()
        await self._doors.set_clock(at)
        run, lines = self._match(at)
        await self._statements()
        summary = self._summary(payments, seen, run, lines)
        (self._out / "summary.json").write_bytes(_pretty(summary))
        return summary

    def _match(self, at: datetime) -> tuple[MatchRun, int]:
        wiring = self._wiring
        fetched = bills.fetch(wiring.line(CHANNEL), bill_on=self._day, occasion="day")
        (self._out / "bills" / f"{self._day}.csv").write_bytes(fetched.content)
        with wiring.db.begin() as tx:
            kept = bills.keep(tx, lane=wiring.lane, fetched=fetched, at=at, ids=wiring.ids)
        if kept.bill_id is None:
            raise RuntimeError(f"the channel's bill of {self._day} cannot be used: {kept.outcome} {kept.reason or ''}")
        with wiring.db.begin() as tx:
            run = matching.match(tx, lane=wiring.lane, bill_id=kept.bill_id, at=at, ids=wiring.ids)
        return run, len(fetched.bill.lines) if fetched.bill else 0

    async def _statements(self) -> None:
        """Fetch each operator's statement of the day as the operator would, page by page."""
        with self._wiring.db.connect() as tx:
            codes = [operator.code for operator in lots.operators(tx)]
        for code in codes:
            pages: list[dict[str, Any]] = []
            cursor = None
            while True:
                pages.append(await self._doors.statement(code, self._day.isoformat(), cursor))
                if (cursor := pages[-1].get("cursor")) is None:
                    break
            lines = [line for page in pages for line in page["lines"]]
            (self._out / "statements" / f"{code}.json").write_bytes(_pretty(pages[0] | {"lines": lines, "cursor": None}))

    def _summary(self, payments: int, seen: Counts, run: MatchRun, lines: int) -> Summary:
        wiring = self._wiring
        with wiring.db.connect() as tx:
            seal = extracts.seal(tx, lane=wiring.lane)
            trial = balances.trial_balance(balances.live(tx, lane=wiring.lane), chart=read_chart(CHART.read_bytes()))
            counted = {name: {row[0]: row[1] for row in tx.execute(text(query))} for name, query in _COUNTS.items()}
            differences = matching.counts(tx, run_id=run.run_id)
            broken = violations(tx)
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
            seed=wiring.settings.simulated_seed, day=self._day, payments=payments, seen=seen, books=books,
            matching=Matching(lines, run.matched, run.matched_fen, differences), invariants_broken=broken, **counted,
        )  # fmt: skip


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


def _pretty(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2) + b"\n"
