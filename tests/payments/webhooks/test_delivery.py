"""Events reach those who want them, at least once, in order per charge, and what cannot be delivered is parked, never lost."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from payments import events
from payments.webhooks import fan_out, subscriptions
from payments.webhooks.invariants import check
from payments.webhooks.records import Owner
from payments.webhooks.schedule import FAILING_MAX, PAUSES
from payments.webhooks.secret import Vault, key_of
from tests.payments.conftest import AT
from tests.payments.webhooks.conftest import TOKENS, VAULT, Town, kinds_of
from tests.payments.webhooks.receiver import Got, Receiver, Says, receiving

Running = Callable[..., Callable[[], None]]


@pytest.fixture(autouse=True)
def books(town: Town) -> object:
    """Whatever a test does, the standing checks hold at its end."""
    yield
    with town.db.connect() as tx:
        assert check(tx) == []


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verifier reads the machine's clock; messages are signed at the test's."""
    import standardwebhooks.webhooks as library

    class Now(library.datetime):  # type: ignore[misc, name-defined]
        @classmethod
        def now(cls, tz: object = None) -> object:
            return AT if tz is None else AT.astimezone(tz)  # type: ignore[arg-type]

    monkeypatch.setattr(library, "datetime", Now)


def until(done: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    for _ in range(2000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("it has not happened within 20 seconds")


def test_an_event_is_received_once_and_the_librarys_verifier_accepts_it(town: Town) -> None:
    shown = town.add()
    event_id = town.event()
    ran = town.push()
    assert (ran.events, ran.delivered, ran.failed, ran.parked) == (1, 1, 0, 0)
    [got] = town.receiver.got
    assert Verifier(shown.secret).verify(got.body, got.headers) == got.content
    assert got.event_id == str(event_id)
    assert got.content == {
        "type": "payment.succeeded",
        "timestamp": "2026-03-02T04:00:00Z",
        "data": {
            "kind": "payment.succeeded", "charge_serial": "S1", "receipt": "P1", "channel": "wechat", "amount_fen": 1200,
            "paid_at": "2026-03-02T04:00:00Z", "reason": None, "refund": None, "lot_code": "lot-1",
        },
    }  # fmt: skip
    assert town.push().delivered == 0


def test_a_changed_body_or_another_secret_is_not_accepted(town: Town) -> None:
    shown = town.add()
    town.event()
    town.push()
    [got] = town.receiver.got
    with pytest.raises(WebhookVerificationError):
        Verifier(shown.secret).verify(got.body.replace(b"1200", b"1201"), got.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_" + "A" * 44).verify(got.body, got.headers)


def test_both_secrets_sign_during_a_rotations_overlap_and_only_the_new_one_after_it(town: Town) -> None:
    old = town.add()
    with town.db.begin() as tx:
        new = subscriptions.rotate(
            tx, lane=0, owner=Owner(town.lot.operator_id), webhook_id=old.webhook.webhook_id, at=town.clock.now(), tokens=TOKENS,
            vault=VAULT, overlap=timedelta(minutes=1),
        )  # fmt: skip
    assert new.secret != old.secret
    town.event("S1")
    town.push()
    town.later(minutes=2)
    town.event("S2")
    town.push()
    during, after = town.receiver.got
    assert len(during.headers["webhook-signature"].split(" ")) == 2
    for secret in (old.secret, new.secret):
        Verifier(secret).verify(during.body, during.headers)
    Verifier(new.secret).verify(after.body, after.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(old.secret).verify(after.body, after.headers)


def test_the_secret_is_not_in_the_database(town: Town) -> None:
    shown = town.add()
    [stored] = town.column("select secret from payments.webhook")
    assert key_of(shown.secret) not in bytes(stored)
    assert VAULT.open(bytes(stored), webhook_id=shown.webhook.webhook_id) == key_of(shown.secret)


def test_with_another_installations_key_nothing_is_sent_and_the_reason_is_kept(town: Town) -> None:
    town.add()
    town.event()
    town.post = town.replaced(vault=Vault(bytes(32)))
    assert town.push().failed == 1
    assert "rotate" in town.column("select last_error from payments.webhook_delivery")[0]
    assert town.receiver.got == []


def test_a_webhook_gets_its_own_operators_events_of_the_kinds_it_wants(town: Town) -> None:
    town.add("refund.*", "payment.succeeded")
    town.event(kind="payment.succeeded")
    town.event(kind="payment.suspended")
    town.event(kind="refund.done")
    town.event(kind="payment.succeeded", lot=town.other)
    assert town.push().delivered == 2
    assert kinds_of(town) == ["payment.succeeded", "refund.done"]


def test_events_from_before_the_webhook_are_not_pushed(town: Town) -> None:
    town.event()
    town.push()
    town.event()
    town.add()
    wanted = town.event()
    town.push()
    assert town.received() == [wanted]


def test_an_event_whose_transaction_began_first_and_ended_last_is_not_skipped(town: Town) -> None:
    town.add()
    with town.db.connect() as slow:
        slow.begin()
        late = town.new("S1")
        events.write(slow, lane=0, rows=[late])
        early = town.event("S2")
        assert town.push().delivered == 0
        slow.commit()
    assert town.push().delivered == 2
    assert set(town.received()) == {late.event_id, early}


def test_nothing_is_sent_for_what_was_rolled_back(town: Town) -> None:
    town.add()
    with town.db.connect() as tx:
        tx.begin()
        events.write(tx, lane=0, rows=[town.new()])
        tx.rollback()
    assert town.push().events == 0


def test_more_events_than_one_batch_all_arrive_in_their_order(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "BATCH", 7)
    monkeypatch.setattr(fan_out.fan_out, "__kwdefaults__", {"limit": 7})
    town.add()
    with town.db.begin() as tx:
        rows = [town.new("S1") for _ in range(30)]
        events.write(tx, lane=0, rows=rows)
    assert town.push().delivered == 30
    assert town.received() == sorted(row.event_id for row in rows)


def test_an_event_waits_for_the_earlier_ones_of_its_charge_and_for_no_others(town: Town) -> None:
    town.add()
    town.receiver.answer = lambda got: Says(500 if got.content["data"]["charge_serial"] == "S1" else 204)
    first, second, other = town.event("S1"), town.event("S1"), town.event("S2")
    assert town.push().delivered == 1
    assert set(town.received()) == {first, other}
    town.receiver.answer = lambda _: Says()
    third = town.event("S1")
    assert town.push().delivered == 0
    town.later(seconds=6)
    assert town.push().delivered == 3
    assert town.received()[2:] == [first, second, third]


def test_a_parked_event_lets_the_next_ones_of_its_charge_go(town: Town) -> None:
    town.add()
    town.receiver.answer = lambda got: Says(500 if got.content["data"]["receipt"] == "P1" else 204)
    first, second = town.event("S1"), town.event("S1")
    for pause in (timedelta(0), *PAUSES):
        town.later(seconds=pause.total_seconds() * 1.2)
        town.push()
    assert town.received() == [first] * (len(PAUSES) + 1) + [second]


def test_a_failed_delivery_is_tried_on_the_schedule_then_parked_with_an_alarm(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    shown = town.add()
    town.receiver.answer = lambda _: Says(503, body=b"out to lunch")
    event_id = town.event()
    assert town.push().failed == 1
    for pause in PAUSES:
        [due] = town.column("select next_at from payments.webhook_due")
        assert pause <= due - town.clock.now() <= pause * 1.1
        town.clock.set(due - timedelta(milliseconds=1))
        assert town.push().failed == 0
        town.clock.set(due)
        with caplog.at_level(logging.CRITICAL, "tongting.webhooks"):
            ran = town.push()
        assert ran.failed == 1
    assert ran.parked == 1
    assert "1 events are parked: the answer was 503: out to lunch" in caplog.text
    assert town.received() == [event_id] * 10
    assert town.column("select number from payments.webhook_try order by number") == list(range(1, 11))
    assert (town.webhook(shown).parked, town.webhook(shown).waiting) == (1, 0)
    assert town.webhook(shown).state == "active"


def test_each_try_has_the_same_id_and_body_and_a_signature_of_its_moment(town: Town) -> None:
    shown = town.add()
    answers = iter([Says(500), Says(204)])
    town.receiver.answer = lambda _: next(answers)
    town.event()
    town.push()
    town.later(seconds=6)
    town.push()
    first, second = town.receiver.got
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    Verifier(shown.secret).verify(second.body, second.headers)
    assert town.webhook(shown).failing_since is None


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 404, 429, 500])
def test_only_2xx_is_success(town: Town, status: int) -> None:
    town.add()
    town.receiver.answer = lambda _: Says(status, {"location": "http://127.0.0.1:1/"})
    town.event()
    assert town.push().failed == 1
    assert town.column("select last_status from payments.webhook_delivery") == [status]


def test_a_redirect_is_not_followed_and_says_what_to_do(town: Town) -> None:
    town.add()
    with receiving() as elsewhere:
        town.receiver.answer = lambda _: Says(308, {"location": elsewhere.url})
        town.event()
        assert town.push().failed == 1
        assert elsewhere.got == []
    assert "enter the final address" in town.column("select last_error from payments.webhook_delivery")[0]


def test_410_gone_disables_the_webhook_and_parks_what_waits(town: Town) -> None:
    shown = town.add()
    town.receiver.answer = lambda _: Says(410)
    town.event("S1")
    town.event("S1")
    assert town.push().parked == 2
    found = town.webhook(shown)
    assert (found.state, found.parked, found.waiting) == ("disabled", 2, 0)
    assert "410" in (found.reason or "")
    town.event("S2")
    assert town.push().delivered == 0
    assert len(town.receiver.got) == 1


def test_a_webhook_that_fails_for_days_is_disabled_with_a_reason(town: Town) -> None:
    shown = town.add()
    town.receiver.answer = lambda _: Says(500, body=b"no")
    town.event("S1")
    town.push()
    assert town.webhook(shown).failing_since == AT
    town.later(seconds=FAILING_MAX.total_seconds() - 1)
    town.push()
    assert town.webhook(shown).state == "active"
    town.later(seconds=1)
    town.event("S2")
    town.push()
    found = town.webhook(shown)
    assert (found.state, found.waiting) == ("disabled", 0)
    assert "no call has succeeded for 5 days; last: the answer was 500: no" in (found.reason or "")


def test_one_success_ends_the_time_of_failing(town: Town) -> None:
    shown = town.add()
    town.receiver.answer = lambda _: Says(500)
    town.event("S1")
    town.push()
    town.later(days=4)
    town.receiver.answer = lambda got: Says(204 if got.content["data"]["charge_serial"] == "S2" else 500)
    town.event("S2")
    town.push()
    assert town.webhook(shown).failing_since is None
    town.later(days=2)
    town.event("S3")
    town.push()
    assert town.webhook(shown).state == "active"


def test_while_paused_events_wait_and_then_go(town: Town) -> None:
    shown = town.add()
    owner, webhook_id = Owner(town.lot.operator_id), shown.webhook.webhook_id
    with town.db.begin() as tx:
        subscriptions.change(tx, lane=0, owner=owner, webhook_id=webhook_id, at=AT, state="paused")
    event_id = town.event()
    assert town.push().delivered == 0
    assert town.webhook(shown).waiting == 1
    with town.db.begin() as tx:
        subscriptions.change(tx, lane=0, owner=owner, webhook_id=webhook_id, at=AT, state="active")
    town.push()
    assert town.received() == [event_id]


def test_after_it_was_ended_nothing_is_sent_and_what_waited_is_parked(town: Town) -> None:
    shown = town.add()
    town.receiver.answer = lambda _: Says(500)
    town.event()
    town.push()
    with town.db.begin() as tx:
        subscriptions.end(tx, lane=0, owner=Owner(town.lot.operator_id), webhook_id=shown.webhook.webhook_id, at=AT)
    town.later(days=1)
    town.event()
    assert (town.push().delivered, len(town.receiver.got)) == (0, 1)
    assert (town.webhook(shown).state, town.webhook(shown).parked) == ("ended", 1)


def test_a_change_of_kinds_counts_from_now_on(town: Town) -> None:
    shown = town.add("payment.*")
    town.event(kind="payment.succeeded")
    town.push()
    with town.db.begin() as tx:
        subscriptions.change(
            tx, lane=0, owner=Owner(town.lot.operator_id), webhook_id=shown.webhook.webhook_id, at=AT, kinds=["refund.done"]
        )
    town.event(kind="payment.succeeded")
    town.event(kind="refund.done")
    town.push()
    assert kinds_of(town) == ["payment.succeeded", "refund.done"]


def test_a_worker_pushes_what_is_committed_and_ends_when_told(town: Town, running: Running) -> None:
    town.add()
    stop = running()
    event_id = town.event()
    until(lambda: town.received() == [event_id])
    stop()
    assert town.column("select count(*) from payments.webhook_delivery where delivered_at is not null") == [1]


def test_two_workers_send_each_event_once_and_in_order_per_charge(town: Town, running: Running) -> None:
    town.add()
    running()
    running()
    with town.db.begin() as tx:
        rows = [town.new(f"S{number % 10}") for number in range(200)]
        events.write(tx, lane=0, rows=rows)
    until(lambda: len(town.receiver.got) >= 200)
    until(lambda: town.column("select count(*) from payments.webhook_due") == [0])
    assert len(set(town.received())) == len(town.received()) == 200
    for serial in {row.charge_id for row in rows}:
        wanted = sorted(row.event_id for row in rows if row.charge_id == serial)
        assert [one for one in town.received() if one in wanted] == wanted


def test_a_slow_webhook_keeps_nobody_waiting_and_has_few_calls_at_once(town: Town, running: Running) -> None:
    town.add()
    gate = threading.Event()

    def stuck(_: Got) -> Says:
        gate.wait(20)
        return Says()

    town.receiver.answer = stuck
    with receiving() as quick:
        town.add(url=quick.url)
        town.post = town.replaced(timeout_seconds=30)
        running()
        with town.db.begin() as tx:
            events.write(tx, lane=0, rows=[town.new(f"S{number}") for number in range(100)])
        until(lambda: len(quick.got) == 100)
        assert town.receiver.at_once_max <= town.post.per_webhook
        assert len(town.receiver.got) <= town.post.per_webhook
        gate.set()
        until(lambda: town.column("select count(*) from payments.webhook_due") == [0])
    assert quick.at_once_max <= town.post.per_webhook


def test_what_a_dead_worker_held_is_sent_by_another_later(town: Town) -> None:
    town.add()
    event_id = town.event()
    town.receiver.answer = lambda _: Says(500)
    town.push()
    with town.db.begin() as tx:
        tx.execute(
            text("update payments.webhook_due set next_at = :at, claimed_until = :until"),
            {"at": AT, "until": AT + timedelta(minutes=2)},
        )
    town.receiver.answer = lambda _: Says()
    assert town.push().delivered == 0
    town.later(minutes=2)
    assert town.push().delivered == 1
    assert town.received() == [event_id] * 2


def test_nothing_is_sent_to_an_address_that_is_not_allowed_any_more(town: Town) -> None:
    from gateways.parking.addresses import Guard

    town.add()
    town.event()
    town.post = town.replaced(guard=Guard())
    assert town.push().failed == 1
    assert town.receiver.got == []
    assert town.column("select failure from payments.webhook_try") == ["address_refused"]


def test_a_simulated_day_repeats_the_same_deliveries(town: Town) -> None:
    town.add()
    town.receiver.answer = lambda _: Says(500)
    town.event()
    town.push()
    first = town.column("select next_at from payments.webhook_due")
    assert first[0] > AT + PAUSES[0]
    assert town.column("select ms from payments.webhook_try") == [0]


def test_the_receivers_port_is_closed_and_the_event_waits(town: Town) -> None:
    gone = Receiver("127.0.0.1")
    gone.close()
    town.add(url=gone.url)
    town.event()
    assert town.push().failed == 1
    assert town.column("select failure from payments.webhook_try") == ["connect"]


def test_an_event_that_cannot_be_written_keeps_no_other_back(town: Town) -> None:
    town.add()
    broken = town.new("S1")
    with town.db.begin() as tx:
        events.write(tx, lane=0, rows=[msgspec.structs.replace(broken, body=b"{}"), town.new("S2")])
    ran = town.push()
    assert (ran.delivered, ran.failed) == (1, 1)
    assert "a defect of ours" in town.column("select last_error from payments.webhook_delivery where delivered_at is null")[0]


def test_a_worker_that_lost_the_database_goes_on(town: Town, running: Running) -> None:
    town.add()
    running()
    first = town.event("S1")
    until(lambda: town.received() == [first])
    with town.db.connect() as tx:
        tx.execute(text("set role none"))
        others = "datname = current_database() and pid <> pg_backend_pid()"
        tx.execute(text(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}"))
    second = None
    while second is None:
        try:
            second = town.event("S2")
        except DBAPIError:
            continue
    until(lambda: set(town.received()) == {first, second})
