"""The worker's morning: channels come from the settings, and one run does everything that is due."""

from datetime import date, timedelta

import msgspec
from sqlalchemy import text

from app import dunning
from app.wiring import Wiring
from config.settings import load
from payments.owed import instalments
from payments.owed.dunning import contacts
from payments.owed.dunning.contacts import NewContact
from payments.owed.dunning.sending import Sent
from tests.app.conftest import City
from tests.payments.conftest import AT
from tests.payments.owed.owing import IDS, MAKER, overdue, owe, staff


def test_channels_are_those_of_the_settings() -> None:
    assert dunning.channels(load({})).names() == ["page", "post"]
    given = {"TONGTING_DUNNING_FILE_CHANNELS": "post,sms,wallet", "TONGTING_DUNNING_SMTP_HOST": "mail.example"}
    assert dunning.channels(load(given)).names() == ["email", "page", "post", "sms", "wallet"]


def test_a_morning_ends_missed_plans_erases_contacts_plans_and_sends(product: Wiring, two_lots: City) -> None:
    with product.db.begin() as tx:
        staff(tx)
        overdue(tx, owe(tx, two_lots.ours, 1200), days=20)
        instalments.agree(
            tx, lane=0, plate="苏B12345", plate_color="blue", operator_id=two_lots.ours.operator_id,
            due_on=[date(2026, 3, 2), date(2026, 4, 2)], document="协议 1", by=MAKER, at=AT, ids=IDS,
        )  # fmt: skip
        new = NewContact(
            plate="苏B12345", plate_color="blue", medium="mobile", value="13800000001", purpose="all", document="同意书 1",
            erase_on=date(2026, 3, 3),
        )  # fmt: skip
        contacts.enter(tx, contact=new, at=AT, ids=IDS)
    run, sent = dunning.dun(product)
    assert (run.reminders, sent) == (0, Sent())
    product.clock.set(AT + timedelta(days=1))  # type: ignore[attr-defined]
    run, sent = dunning.dun(product)
    assert (run.reminders, sent.sent) == (1, 1)
    with product.db.begin() as tx:
        assert tx.execute(text("select state from payments.instalment_plan")).scalar_one() == "missed"
        assert tx.execute(text("select value from payments.plate_contact")).scalar_one() is None
        link = tx.execute(text("select body from payments.reminder")).scalar_one()
    assert "http://pay.test" in link


def test_nothing_leaves_the_house_in_quiet_hours(product: Wiring, two_lots: City) -> None:
    with product.db.begin() as tx:
        overdue(tx, owe(tx, two_lots.ours, 1200), days=20)
    product.clock.set(AT + timedelta(hours=9))  # type: ignore[attr-defined]
    run, sent = dunning.dun(product)
    assert (run.reminders, sent) == (1, Sent())
    assert msgspec.structs.asdict(dunning.send(product)) == msgspec.structs.asdict(Sent())
