"""What was sent can be asked for again: by time, by id, or what was parked; the receiver knows it by its ids."""

from datetime import timedelta

import pytest

from ledger.errors import Conflict, NotFound, Refused
from payments.webhooks import replays, subscriptions
from payments.webhooks.invariants import check
from payments.webhooks.records import Owner
from payments.webhooks.replays import Replayed
from payments.webhooks.subscriptions import Shown
from tests.payments.conftest import AT
from tests.payments.webhooks.conftest import Town, kinds_of
from tests.payments.webhooks.receiver import Says


def again(town: Town, shown: Shown, **what: object) -> Replayed:
    owner = Owner(shown.webhook.operator_id, shown.webhook.lot_id)
    with town.db.begin() as tx:
        return replays.replay(
            tx, lane=0, owner=owner, webhook_id=shown.webhook.webhook_id, at=town.clock.now(), **what  # type: ignore[arg-type]
        )  # fmt: skip


def test_a_range_of_time_is_sent_again_with_the_same_ids_and_bodies(town: Town) -> None:
    shown = town.add()
    early = town.event("S1")
    town.later(minutes=1)
    middle = town.event("S2")
    town.later(minutes=1)
    late = town.event("S3")
    town.push()
    assert sorted(town.received()) == [early, middle, late]
    [first] = [got for got in town.receiver.got if got.event_id == str(middle)]
    since, until = AT + timedelta(minutes=1), AT + timedelta(minutes=2)
    assert again(town, shown, since=since, until=until) == Replayed(1, None)
    assert town.push().delivered == 1
    assert (town.received()[3:], town.receiver.got[3].body) == ([middle], first.body)
    assert again(town, shown, since=since).events == 2


def test_events_from_before_the_webhook_can_be_replayed(town: Town) -> None:
    event_id = town.event()
    shown = town.add()
    assert town.push().delivered == 0
    assert again(town, shown, event_ids=[event_id]).events == 1
    town.push()
    assert town.received() == [event_id]


def test_what_was_parked_is_sent_again_after_the_webhook_was_switched_on(town: Town) -> None:
    shown = town.add()
    town.receiver.answer = lambda _: Says(410)
    wanted = [town.event("S1"), town.event("S1")]
    town.push()
    with pytest.raises(Conflict, match="disabled"):
        again(town, shown, parked=True)
    owner = Owner(town.lot.operator_id)
    with town.db.begin() as tx:
        subscriptions.change(tx, lane=0, owner=owner, webhook_id=shown.webhook.webhook_id, at=AT, state="active")
    town.receiver.answer = lambda _: Says()
    assert again(town, shown, parked=True).events == 2
    town.push()
    assert town.received()[1:] == wanted
    with town.db.connect() as tx:
        assert check(tx) == []


def test_only_the_kinds_that_are_asked_for_and_only_its_own_lots(town: Town) -> None:
    shown = town.add("payment.*", lot=True)
    town.event(kind="payment.succeeded")
    town.event(kind="refund.done")
    town.event(kind="payment.succeeded", lot=town.other)
    town.push()
    assert again(town, shown, since=AT).events == 1
    assert again(town, shown, since=AT, kinds=["refund.done"]).events == 1
    town.push()
    assert kinds_of(town) == ["payment.succeeded", "payment.succeeded", "refund.done"]


def test_a_replay_goes_behind_what_waits_of_the_same_charge(town: Town) -> None:
    shown = town.add()
    town.receiver.answer = lambda _: Says(500)
    first = town.event("S1")
    town.push()
    assert again(town, shown, event_ids=[first]).events == 1
    assert town.push().failed == 0
    town.receiver.answer = lambda _: Says()
    town.later(seconds=6)
    assert town.push().delivered == 2


def test_a_long_replay_comes_in_pages(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "REPLAYED_MAX", 2)
    shown = town.add()
    events = [town.event(f"S{number}") for number in range(3)]
    town.push()
    page = again(town, shown, event_ids=events)
    assert (page.events, page.next) == (2, sorted(events)[1])
    assert again(town, shown, event_ids=events, after=page.next) == Replayed(1, None)
    town.push()
    assert sorted(town.received()) == sorted(events * 2)


def test_a_replay_that_does_not_say_what_is_refused(town: Town) -> None:
    shown = town.add()
    too_many = {"event_ids": [shown.webhook.webhook_id] * 1001}
    bad: list[dict[str, object]] = [{}, {"event_ids": []}, {"since": AT, "until": AT}, dict(too_many)]
    for what in bad:
        with pytest.raises(Refused) as refused:
            again(town, shown, **what)
        assert refused.value.code == "replay_refused"


def test_another_operators_webhook_is_not_there(town: Town) -> None:
    shown = town.add()
    with town.db.begin() as tx, pytest.raises(NotFound):
        replays.replay(tx, lane=0, owner=Owner(town.other.operator_id), webhook_id=shown.webhook.webhook_id, at=AT, parked=True)
