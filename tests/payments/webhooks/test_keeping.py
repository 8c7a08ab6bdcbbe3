"""The log of what was accepted is forgotten after some days; what waits, what is parked and the events themselves never are."""

import threading
from typing import Any

import pytest
from sqlalchemy import text

from ledger.errors import Conflict
from payments.webhooks import keeping
from payments.webhooks.invariants import check
from payments.webhooks.keeping import Forgotten
from tests.payments.webhooks.conftest import Town
from tests.payments.webhooks.receiver import Says
from tests.payments.webhooks.test_replays import again

DELIVERIES = "select delivery_id from payments.webhook_delivery order by 1"
TRIES = "select delivery_id from payments.webhook_try order by 1"


def forget(town: Town, **other: Any) -> Forgotten:
    given: dict[str, Any] = {"lane": 0, "days": 180, "at": town.clock.now} | other
    return keeping.forget(town.db, **given)


def sound(town: Town) -> bool:
    with town.db.connect() as tx:
        return check(tx) == []


def harm(town: Town, statement: str) -> None:
    with town.db.begin() as tx:
        tx.execute(text("set local role none"))
        tx.execute(text(statement))


def test_what_was_accepted_is_forgotten_after_its_days_with_its_calls_and_not_before(town: Town) -> None:
    town.add()
    for serial in ("S1", "S2", "S3"):
        town.event(serial)
    town.push()
    town.later(days=180)
    assert forget(town) == Forgotten(0, 0, True), "180 days have passed to the second, and not more"
    town.event("S4")
    town.push()
    town.later(days=1)
    assert forget(town) == Forgotten(3, 3, True)
    assert len(town.column(DELIVERIES)) == len(town.column(TRIES)) == 1
    assert sound(town)
    assert forget(town) == Forgotten(0, 0, True), "the same again finds nothing to do"


def test_what_waits_and_what_is_parked_stays_however_old_it_is(town: Town) -> None:
    waiting = town.add(url=f"{town.receiver.url}/waits")
    with town.db.begin() as tx:
        tx.execute(text("update payments.webhook set state = 'paused' where webhook_id = :id"), {"id": waiting.webhook.webhook_id})
    town.event("S1")
    town.push()
    town.add(url=f"{town.receiver.url}/gone", lot=True)
    town.receiver.answer = lambda _: Says(410)
    town.event("S2")
    town.push()
    town.later(days=400)
    before = town.column(DELIVERIES), town.column(TRIES)
    assert forget(town) == Forgotten(0, 0, True)
    assert (town.column(DELIVERIES), town.column(TRIES)) == before
    assert len(town.column("select 1 from payments.webhook_delivery where parked_at is not null")) == 1
    assert len(town.column("select 1 from payments.webhook_due")) == 2
    assert sound(town)


def test_events_whose_deliveries_were_forgotten_can_be_replayed(town: Town) -> None:
    shown = town.add()
    since, event_id = town.clock.now(), town.event()
    town.push()
    town.later(days=200)
    assert forget(town).deliveries == 1
    assert again(town, shown, since=since).events == 1
    town.push()
    assert town.received() == [event_id, event_id]
    assert sound(town)


def test_a_run_that_was_stopped_goes_on_with_its_own_moment_and_the_checks_hold_all_the_time(town: Town) -> None:
    town.add()
    for number in range(6):
        town.event(f"S{number}")
    town.push()
    town.later(days=181)
    stop = threading.Event()

    def now() -> Any:
        asked.append(1)
        if len(asked) == 3:
            stop.set()
        return town.clock.now()

    asked: list[int] = []
    assert forget(town, at=now, stop=stop, batch=2) == Forgotten(4, 4, False)
    assert sound(town)
    moment = town.column("select kept_from from payments.webhook_keeping")
    town.later(days=3)
    assert forget(town, batch=2) == Forgotten(2, 2, True)
    assert town.column("select kept_from from payments.webhook_keeping") == moment
    assert town.column("select deliveries from payments.webhook_keeping") == [6]
    assert town.column(DELIVERIES) == []
    assert sound(town)


def test_progress_is_said_and_a_second_worker_finds_nothing_to_do(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SAID_EVERY", 1)
    town.add()
    for number in range(4):
        town.event(f"S{number}")
    town.push()
    town.later(days=181)
    said: list[str] = []
    beside: list[Forgotten] = []

    def say(words: str) -> None:
        with town.db.begin() as held:
            held.execute(text("set local role none"))
            held.execute(text("select from payments.webhook_keeping for update"))
            beside.append(forget(town))
        said.append(words)

    assert forget(town, say=say, batch=2).deliveries == 4
    assert said == [f"{count} old deliveries to webhooks and {count} calls are forgotten so far" for count in (2, 4)]
    assert beside == [Forgotten(0, 0, True)] * 2


def test_the_checks_still_notice_what_went_without_the_record_of_a_run(town: Town) -> None:
    town.add()
    town.event("S1")
    town.push()
    town.later(days=181)
    forget(town)
    town.event("S2")
    town.push()
    assert sound(town)
    harm(town, "delete from payments.webhook_try; delete from payments.webhook_delivery")
    with town.db.connect() as tx:
        assert ["was not put in line" in one.detail for one in check(tx)] == [True]


def test_nothing_is_forgotten_while_an_event_that_would_leave_sight_was_never_put_in_line(town: Town) -> None:
    town.add()
    town.event("S1")
    town.event("S2")
    town.push()
    [first, _] = town.column(DELIVERIES)
    harm(town, f"delete from payments.webhook_delivery where delivery_id = {first}")
    town.later(days=181)
    with pytest.raises(Conflict, match="was not put in line") as refused:
        forget(town)
    assert refused.value.code == "webhook_log_broken"
    assert len(town.column(DELIVERIES)) == 1
    assert town.column("select 1 from payments.webhook_keeping") == []


def test_the_application_can_neither_move_the_horizon_nor_record_one_that_is_too_near(town: Town) -> None:
    for statement, words in (
        ("update payments.webhook_keeping set kept_from = now()", "permission denied"),
        ("delete from payments.webhook_keeping", "permission denied"),
        (
            (
                "insert into payments.webhook_keeping (lane, days, kept_from, events_from, started_at) "
                "values (0, 180, now(), gen_random_uuid(), now())"
            ),
            "check constraint",
        ),
    ):
        with pytest.raises(Exception, match=words), town.db.begin() as tx:
            tx.execute(text(statement))
