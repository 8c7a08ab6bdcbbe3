"""A city whose debts are dunned: rules, contacts, an outbox directory."""

from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from payments.lots import Lot
from payments.owed.dunning import contacts, planning, sending
from payments.owed.dunning.channels import FileChannel, PageChannel, Registry
from payments.owed.dunning.contacts import Medium, NewContact
from payments.owed.dunning.plan_store import Run
from payments.owed.dunning.sending import Sent, Ways
from tests.payments.conftest import AT
from tests.payments.owed.owing import IDS, staff

WAYS = Ways("https://pay.test/d", "0510-12345")


class Dunned:
    """A committed city with an outbox."""

    def __init__(self, db: Engine, lot: Lot, outbox: Path) -> None:
        self.db, self.lot, self.outbox = db, lot, outbox
        self.channels = Registry(
            [
                PageChannel(),
                FileChannel("sms", outbox / "sms", medium="mobile", needs_contact=True),
                FileChannel("post", outbox / "post", medium="address", needs_contact=False),
            ]
        )

    def plan(self, at: datetime = AT, *, chunk: int = planning.CHUNK) -> Run:
        return planning.plan(self.db, lane=0, at=at, ids=IDS, channels=self.channels, chunk=chunk)

    def send(self, at: datetime = AT, *, limit: int = 200) -> Sent:
        return sending.send_due(self.db, lane=0, at=at, channels=self.channels, ways=WAYS, limit=limit)

    def contact(self, medium: Medium, value: str, *, plate: str = "苏B12345", at: datetime = AT, **other: object) -> UUID:
        given: dict[str, object] = {
            "plate": plate, "plate_color": "blue", "medium": medium, "value": value, "purpose": "reminder", "document": "同意书 1",
            "erase_on": date(2027, 3, 1),
        } | other  # fmt: skip
        with self.db.begin() as tx:
            return contacts.enter(tx, contact=NewContact(**given), at=at, ids=IDS)  # type: ignore[arg-type]

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with self.db.begin() as tx:
            return [tuple(row) for row in tx.execute(text(query))]

    def do(self, statement: str, **given: object) -> None:
        with self.db.begin() as tx:
            tx.execute(text(statement), given)

    def files(self) -> list[Path]:
        return sorted(path for path in self.outbox.rglob("*") if path.is_file())


@pytest.fixture
def dunned(db: Engine, city: Lot, tmp_path: Path) -> Dunned:
    with db.begin() as tx:
        staff(tx)
    return Dunned(db, city, tmp_path / "outbox")


def days_later(days: int) -> datetime:
    return AT + timedelta(days=days)


def committed(dunned: Dunned) -> Connection:
    return dunned.db.connect()
