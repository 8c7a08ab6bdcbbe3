"""A city whose payments come from the real applier, sealed by the real sealer, beside bills as the channel would write them."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from gateways.contract import BillLine
from gateways.spool import Spool
from ledger.checkpoint import Signer
from ledger.ids import RandomIds
from ledger.seal import Sealer, Witness
from payments import results
from reconciliation import bills
from reconciliation.bill_lines import BillLines
from reconciliation.bills import Fetched, Kept
from reconciliation.matching import MatchRun, match
from tests.payments.conftest import AT, PROVIDER, Due, make_attempt, make_charge, make_city

IDS = RandomIds()
DAY = date(2026, 3, 2)
FETCHED_AT = datetime(2026, 3, 3, 2, 30, tzinfo=UTC)


class City:
    """Two operators with a lot each. Every method commits."""

    def __init__(self, db: Engine, witness: Path) -> None:
        self.db = db
        with db.begin() as tx:
            self.lots = [make_city(tx, number=number) for number in (1, 2)]
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        self.signer = Signer("tongting.example/lane/0", key)
        self._sealer = Sealer(lane=0, signer=self.signer, witness=Witness(witness))
        self._serial = 0

    def order(self, *, lot: int = 0, amount_fen: int = 1200, at: datetime = AT) -> Due:
        """Order a payment for a new charge."""
        self._serial += 1
        with self.db.begin() as tx:
            charge_id = make_charge(tx, self.lots[lot], f"S{self._serial}", amount_fen=amount_fen)
            return make_attempt(tx, self.lots[lot], charge_id, at=at)

    def again(self, due: Due) -> Due:
        """Order a second payment for the same charge."""
        with self.db.begin() as tx:
            return make_attempt(tx, due.lot, due.attempt.charge_id)

    def take(self, *paid: Due, happened_at: datetime = AT, at: datetime = AT) -> None:
        """Let the channel confirm payments; booked at ``at``."""
        with self.db.begin() as tx:
            notices = [due.callback(happened_at=happened_at) for due in paid]
            results.apply(tx, lane=0, notices=notices, at=at, ids=IDS)

    def pay(self, *, lot: int = 0, amount_fen: int = 1200) -> Due:
        due = self.order(lot=lot, amount_fen=amount_fen)
        self.take(due)
        return due

    def seal(self, at: datetime = AT) -> None:
        with self.db.connect() as connection:
            self._sealer.seal_once(connection, at=at)

    def keep(self, lines: Sequence[BillLine], *, bill_on: date = DAY, content: bytes | None = None) -> Kept:
        """Keep a bill of these lines, numbered anew."""
        numbered = [line_of(line, line=number) for number, line in enumerate(lines, 1)]
        body = content or hashlib.sha256(repr(numbered).encode()).digest()
        with self.db.begin() as tx:
            fetched = Fetched("wechat", PROVIDER, bill_on, None, file=Spool.of([body]), lines=BillLines.of(numbered))
            return bills.keep(tx, lane=0, fetched=fetched, at=FETCHED_AT, ids=IDS)

    def match(self, kept: Kept, *, at: datetime = FETCHED_AT) -> MatchRun:
        assert kept.bill_id is not None
        with self.db.begin() as tx:
            return match(tx, lane=0, bill_id=kept.bill_id, at=at, ids=IDS)


def line_of(line: BillLine, /, **other: object) -> BillLine:
    fields = {name: getattr(line, name) for name in line.__struct_fields__}
    return BillLine(**(fields | other))


def billed(due: Due, **other: object) -> BillLine:
    """The channel's bill line of a payment."""
    result = due.result()
    line = BillLine(
        line=1, kind="payment", merchant_no=result.merchant_no, trade_no=result.trade_no or "", order_no=due.order_no,
        amount_fen=due.attempt.amount_fen, fee_fen=7, happened_at=AT,
    )  # fmt: skip
    return line_of(line, **other)


@pytest.fixture
def city(db: Engine, tmp_path: Path) -> City:
    return City(db, tmp_path / "witness")
