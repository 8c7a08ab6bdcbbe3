"""What a signer's own mandates paid: seen by the signer alone, for as long as the channel says so, each with its receipt."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gateways.sandbox.wechat.signing import Pair
from ledger.ids import read_payment_number
from payments.errors import OrderUnknown
from payments.mandates import agreements, own_deductions
from payments.mandates.own_deductions import Own
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT
from tests.payments.mandates.deducting import PLATE, City, city
from tests.payments.mandates.test_agreements import BUYER, STRANGER, TOKEN, agree, ask, end, opened


@pytest.fixture
def at(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with city(db, fresh_pair, tmp_path) as made:
        yield made


def own(at: City, payer_id: str = BUYER, channel: str = "alipay") -> list[Own]:
    with at.db.begin() as tx:
        found = agreements.of_payer(tx, lane=0, channel=channel, payer_id=payer_id)
    at.later(seconds=1)
    agreements.confirmed(at.till, found, payer_id=payer_id)
    with at.db.begin() as tx:
        return own_deductions.of_signer(tx, lane=0, channel=channel, payer_id=payer_id)


def blue(at: City, serial: str, **other: object) -> None:
    at.charge(serial, plate_color="blue", **other)


def test_what_was_taken_is_seen_by_its_signer_alone_and_leads_to_a_receipt(at: City) -> None:
    opened(at)
    agree(at, payer_id=STRANGER, token=f"{TOKEN}-s")
    blue(at, "S2")
    at.later(minutes=1)
    made = at.deduct("alipay", "S2")
    [one] = own(at)
    assert (one.outcome, one.amount_fen, one.plate, one.lot_name) == ("taken", 1200, PLATE, at.lot.name)
    assert own(at, STRANGER) == []
    assert made.receipt is not None
    read = read_payment_number(made.receipt)
    assert read is not None
    assert read[1] == one.payment_id
    with at.db.begin() as tx:
        link = {"lane": 0, "channel": "alipay", "payment_id": read[1], "at": at.clock.now()}
        own_deductions.give_link(tx, payer_id=BUYER, token="a", **link)  # type: ignore[arg-type]
        own_deductions.give_link(tx, payer_id=BUYER, token="b", **link)  # type: ignore[arg-type]
        assert {own_deductions.by_link(tx, lane=0, token=one).payment_id for one in "ab"} == {read[1]}
        with pytest.raises(OrderUnknown):
            own_deductions.give_link(tx, payer_id=STRANGER, token="c", **link)  # type: ignore[arg-type]
        with pytest.raises(OrderUnknown):
            own_deductions.by_link(tx, lane=0, token="c")
        assert tx.execute(text("select count(*) from payments.receipt_link")).scalar_one() == 2


def test_a_stay_whose_lot_knows_no_colour_is_seen_once_money_was_asked_for_it(at: City) -> None:
    opened(at)
    at.later(minutes=1)
    at.enter(plate_color="unknown")
    at.charge("S3", plate_color="unknown")
    assert own(at) == []
    at.deduct("alipay", "S3")
    assert [one.outcome for one in own(at)] == ["taken"]


def test_what_was_taken_before_the_mandate_or_after_its_end_is_not_the_signers(at: City) -> None:
    at.alipay_plate(buyer_id=BUYER)
    blue(at, "S2")
    at.deduct("alipay", "S2")
    at.later(minutes=1)
    made = opened(at)
    assert own(at) == []
    end(at, made)
    blue(at, "S3")
    at.later(minutes=1)
    again = agree(at, payer_id=STRANGER, token=f"{TOKEN}-s")
    at.alipay_plate(buyer_id=STRANGER)
    assert ask(at, again, STRANGER) == ("open", "open")
    at.later(minutes=1)
    at.deduct("alipay", "S3")
    assert own(at) == []
    assert [one.outcome for one in own(at, STRANGER)] == ["taken"]


def test_what_comes_after_the_channels_last_word_waits_for_the_next_one(at: City) -> None:
    opened(at)
    blue(at, "S2")
    at.later(minutes=1)
    at.deduct("alipay", "S2")
    with at.db.begin() as tx:
        assert own_deductions.of_signer(tx, lane=0, channel="alipay", payer_id=BUYER) == []
    assert len(own(at)) == 1


def test_of_a_plate_that_came_to_another_owner_nothing_later_is_seen(at: City) -> None:
    opened(at)
    at.later(minutes=1)
    with at.db.begin() as tx:
        tx.execute(text("update payments.plate set held_since = :at where color = 'blue'"), {"at": at.clock.now()})
    blue(at, "S2", entered_at=AT, left_at=AT + timedelta(minutes=1))
    at.later(minutes=1)
    at.deduct("alipay", "S2")
    assert own(at) == []


def test_what_is_under_way_waits_and_what_was_refused_is_due_until_it_is_settled(at: City) -> None:
    at.wechat_plate(openid=BUYER, pays="never")
    at.enter()
    made = agree(at, "wechat", BUYER)
    assert ask(at, made, BUYER) == ("open", "open")
    blue(at, "S2")
    at.later(minutes=1)
    at.deduct("wechat", "S2")
    assert [one.outcome for one in own(at, channel="wechat")] == ["waiting"]
    at.later(seconds=5)
    at.deliver()
    [one] = own(at, channel="wechat")
    assert (one.outcome, one.payment_id, one.amount_fen) == ("refused", None, 1200)
    assert own(at) == []
    with at.db.begin() as tx:
        tx.execute(text("update payments.charge set state = 'waived', reduced_fen = amount_fen where lot_serial = 'S2'"))
    assert [one.outcome for one in own(at, channel="wechat")] == ["otherwise"]


def test_a_try_that_asked_for_nothing_is_told_with_the_time_of_the_next_one(at: City) -> None:
    opened(at)
    blue(at, "S2")
    at.later(minutes=1)
    with at.db.begin() as tx:
        given = {"at": at.clock.now(), "next": at.clock.now() + timedelta(hours=3)}
        tx.execute(
            text("""
            insert into payments.deduction_try (charge_id, lane, tried_at, channel, state, reason)
            select charge_id, lane, :at, 'alipay', 'none', 'mandate_unknown' from payments.charge where lot_serial = 'S2'
            """),
            given,
        )
        tx.execute(
            text("""
            insert into payments.deduction_plan (charge_id, lane, due_at)
            select charge_id, lane, :next from payments.charge where lot_serial = 'S2'
            """),
            given,
        )
    [one] = own(at)
    assert (one.outcome, one.reason, one.again_at) == ("refused", "mandate_unknown", given["next"])
