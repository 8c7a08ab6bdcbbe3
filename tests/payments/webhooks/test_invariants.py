"""I13 notices whatever is neither delivered, nor parked, nor on its way."""

import pytest
from sqlalchemy import Connection, text

from payments.webhooks.invariants import check
from tests.payments.webhooks.conftest import Town
from tests.payments.webhooks.receiver import Says


@pytest.fixture
def pushed(town: Town) -> Town:
    """One delivered, one that waits."""
    town.add()
    town.receiver.answer = lambda got: Says(204 if got.content["data"]["charge_serial"] == "S1" else 500)
    town.event("S1")
    town.event("S2")
    town.push()
    with town.db.connect() as tx:
        assert check(tx) == []
    return town


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("delete from payments.webhook_delivery where delivered_at is not null", "was not put in line"),
        ("delete from payments.webhook_due", "neither delivered nor parked"),
        ("update payments.webhook_delivery set delivered_at = now()", "over and still in line"),
        ("delete from payments.webhook_try", "no call of it was accepted"),
        (
            "update payments.webhook_delivery set parked_at = now(), last_error = null where delivered_at is null",
            "parked without a reason",
        ),
        ("update payments.webhook_delivery set attempts = 10 where delivered_at is null", "tried 10 times"),
    ],
)
def test_each_harm_is_noticed(pushed: Town, harm: str, words: str) -> None:
    with pushed.db.connect() as tx:
        tx.execute(text("set role none"))
        tx.execute(text(harm))
        found = check(tx)
        assert any(words in one.detail for one in found), found
        assert {one.invariant for one in found} == {"I13"}
        tx.rollback()


def test_the_application_cannot_change_what_was_tried(tx: Connection) -> None:
    for statement in (
        "delete from payments.webhook_try",
        "update payments.webhook_try set status = 200",
        "delete from payments.webhook",
    ):
        with pytest.raises(Exception, match="permission denied"), tx.begin_nested():
            tx.execute(text(statement))
