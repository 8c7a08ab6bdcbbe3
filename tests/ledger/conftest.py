"""A small book: one lane, a few operators' books, genuine ids, and a sealer with its own witness file."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text

from ledger import recipes
from ledger.checkpoint import Signer
from ledger.ids import SeededIds
from ledger.journal import Entry
from ledger.seal import Sealer, Witness

NOON = datetime(2026, 3, 2, 4, tzinfo=UTC)
EVIDENCE = SeededIds(9).new(NOON, "evidence")
ORIGIN = "tongting.example/lane/0"

Payment = Callable[..., Entry]
NewSealer = Callable[[], Sealer]


def payment(number: int, *, book_id: int = 1, amount_fen: int = 500, at: datetime = NOON) -> Entry:
    """The entry of payment ``number``: the same number is the same payment."""
    return recipes.charge_paid(
        payment_id=payment_id(number), book_id=book_id, channel="wechat", amount_fen=amount_fen,
        happened_at=at, booked_on=date(2026, 3, 2), evidence_id=EVIDENCE,
    )  # fmt: skip


def payment_id(number: int) -> UUID:
    return SeededIds(1).new(NOON + timedelta(milliseconds=number), f"payment {number}")


@pytest.fixture
def book(db: Engine) -> Engine:
    """A database with lane 0 and the operators' books 1 to 5, and lane 1 with book 6."""
    with db.begin() as tx:
        tx.execute(
            text("insert into ledger.lane (lane, origin) values (0, :origin), (1, 'tongting.example/lane/1')"), {"origin": ORIGIN}
        )
        tx.execute(
            text("""
            insert into ledger.book (book_id, lane, owner_kind, owner_name, opened_at)
            select n, case n when 6 then 1 else 0 end, 'operator', 'operator ' || n, :at from generate_series(1, 6) as n
            """),
            {"at": NOON},
        )
    return db


@pytest.fixture
def signer() -> Signer:
    return Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def new_sealer(signer: Signer, tmp_path: Path) -> NewSealer:
    """Start sealers of lane 0 that share one witness file, as restarts do."""
    return lambda: Sealer(lane=0, signer=signer, witness=Witness(tmp_path / "witness" / "lane-0"))
