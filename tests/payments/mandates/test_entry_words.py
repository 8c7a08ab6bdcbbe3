"""What a channel says later of a car: kept, put beside the entrance that it was told of, and heeded by the next deduction."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from gateways.contract import EntryTold
from gateways.sandbox.wechat.signing import Pair
from ledger.ids import payment_number, refund_number
from payments import results
from payments.mandates import deduction_store
from payments.mandates.deduction_store import Word
from payments.mandates.deductions import Tried
from payments.mandates.entry_words import Finding, entrance_number, read_entrance_number
from payments.results import Notice, Outcome
from tests.gateways.conftest import HTTP, PROVIDER_NO, fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT, IDS, books, message
from tests.payments.mandates.deducting import MERCHANTS, OPENID, PLATE, City, city

MERCHANT = MERCHANTS["wechat"]


@pytest.fixture
def at(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with city(db, fresh_pair, tmp_path) as made:
        yield made


# Numbers


@given(lane=st.integers(0, 31), identity=st.uuids())
def test_an_entrances_number_is_read_back(lane: int, identity: UUID) -> None:
    number = entrance_number(lane, identity)
    assert (len(number), read_entrance_number(number)) == (28, (lane, identity))
    assert read_entrance_number(payment_number(lane, identity)) is None
    assert read_entrance_number(refund_number(lane, identity)) is None


@pytest.mark.parametrize(
    "number", ["", "E", "E2", "E" + "0" * 26, "E" + "0" * 28, "EZ" + "Z" * 26, "E0" + "u" * 26, "PE" + "0" * 26]
)
def test_what_is_no_entrances_number_is_none(number: str) -> None:
    assert read_entrance_number(number) is None


# The applier


def entered(at: City, **plate: Any) -> UUID:
    """Let a car come of which WeChat is told; returns the entrance."""
    at.wechat_plate(**plate)
    at.enter()
    found: UUID = at.column("select entrance_id from payments.entrance")[0]
    return found


def told(at: City, entrance_id: UUID, state: Any = "none", **other: Any) -> EntryTold:
    said: dict[str, Any] = {
        "entrance_no": entrance_number(0, entrance_id), "provider_no": PROVIDER_NO, "merchant_no": MERCHANT,
        "entry_no": (at.column("select entry_no from payments.entrance_word where channel = 'wechat'") or ["5K1"])[0],
        "state": state, "word": "PAUSE" if state == "none" else None, "happened_at": AT + timedelta(minutes=5),
    } | other  # fmt: skip
    return EntryTold(**said)


def applied(at: City, *said: EntryTold) -> list[Outcome]:
    with at.db.begin() as tx:
        notices = [Notice(message(), None, entry=one) for one in said]
        return results.apply(tx, lane=0, notices=notices, at=at.clock.now(), ids=IDS)


def word(at: City) -> tuple[str, str | None, datetime]:
    """What is known of the plate at WeChat: its state, the channel's word, since when."""
    with at.db.connect() as tx:
        row = tx.execute(text("select state, word, told_at from payments.entrance_word where channel = 'wechat'")).one()
    return row.state, row.word, row.told_at


def kept(at: City) -> list[tuple[str | None, UUID | None]]:
    """Reason and subject of the notices that are kept, in order."""
    with at.db.connect() as tx:
        query = text("select reason, subject from gateways.raw_message where operation = 'callback' order by message_id")
        return [(row.reason, row.subject) for row in tx.execute(query)]


def test_a_blocked_plate_is_none_and_a_freed_one_is_open_again(at: City) -> None:
    entrance_id = entered(at)
    assert word(at)[:2] == ("open", None)
    [outcome] = applied(at, told(at, entrance_id))
    assert (outcome.finding, outcome.accepted, outcome.reason) == (Finding.APPLIED, True, None)
    assert word(at) == ("none", "PAUSE", AT + timedelta(minutes=5))
    [outcome] = applied(at, told(at, entrance_id, "open", happened_at=AT + timedelta(minutes=6)))
    assert outcome.finding is Finding.APPLIED
    assert word(at) == ("open", None, AT + timedelta(minutes=6))
    assert kept(at) == [(None, entrance_id)] * 2


def test_a_repeat_changes_nothing(at: City) -> None:
    said = told(at, entered(at))
    assert [one.finding for one in applied(at, said, said)] == [Finding.APPLIED, Finding.ALREADY]
    [again] = applied(at, said)
    assert (again.finding, again.accepted) == (Finding.ALREADY, True)
    assert word(at)[:2] == ("none", "PAUSE")


@pytest.mark.parametrize("together", [True, False])
def test_an_older_word_does_not_overtake_a_newer_one(at: City, together: bool) -> None:
    entrance_id = entered(at)
    newer = told(at, entrance_id, "open", happened_at=AT + timedelta(minutes=6))
    older = told(at, entrance_id)
    outcomes = applied(at, newer, older) if together else applied(at, newer) + applied(at, older)
    assert (outcomes[1].finding, outcomes[1].accepted, outcomes[1].reason) == (Finding.OLDER, True, "entry_older")
    assert word(at) == ("open", None, newer.happened_at)


def test_a_word_from_before_the_entry_was_told_is_older_and_one_of_the_same_second_is_not(at: City) -> None:
    at.later(microseconds=700_000)
    entrance_id = entered(at)
    assert applied(at, told(at, entrance_id, happened_at=AT - timedelta(seconds=1)))[0].finding is Finding.OLDER
    assert applied(at, told(at, entrance_id, happened_at=AT))[0].finding is Finding.APPLIED


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        ({"merchant_no": "1620000009"}, Finding.MERCHANT_DIFFERS),
        ({"entry_no": "5K9"}, Finding.ENTRY_DIFFERS),
    ],
)
def test_a_word_that_does_not_fit_the_entrance_is_refused_and_kept(at: City, other: dict[str, str], finding: Finding) -> None:
    entrance_id = entered(at)
    before = word(at)
    [outcome] = applied(at, told(at, entrance_id, **other))
    assert (outcome.finding, outcome.accepted, outcome.reason) == (finding, False, finding.value)
    assert word(at) == before
    assert kept(at) == [(finding.value, entrance_id)]


@pytest.mark.parametrize("number", ["E2", entrance_number(0, UUID(int=7))])
def test_a_car_that_we_never_told_of_is_kept_and_acknowledged(at: City, number: str) -> None:
    entered(at)
    before = word(at)
    [outcome] = applied(at, told(at, UUID(int=7), entrance_no=number))
    assert (outcome.finding, outcome.accepted) == (Finding.UNKNOWN, True)
    assert word(at) == before
    assert [reason for reason, _ in kept(at)] == ["entrance_unknown"]


def test_a_car_of_another_lane_is_refused_so_that_its_own_writer_gets_it(at: City) -> None:
    entrance_id = entered(at)
    [outcome] = applied(at, told(at, entrance_id, entrance_no=entrance_number(1, entrance_id)))
    assert (outcome.finding, outcome.accepted, outcome.reason) == (Finding.ELSEWHERE, False, "entrance_elsewhere")


def test_a_word_that_is_faster_than_our_own_answer_comes_again(at: City) -> None:
    with at.db.begin() as tx:  # as if the call were still on its way: nothing is kept of WeChat
        ended = text("update gateways.merchant_account set valid = tstzrange(lower(valid), :at) where channel = 'wechat'")
        tx.execute(ended, {"at": AT})
    entrance_id = entered(at)
    [outcome] = applied(at, told(at, entrance_id))
    assert (outcome.finding, outcome.accepted, outcome.reason) == (Finding.UNTOLD, False, "entrance_untold")


def test_a_word_about_an_entry_whose_answer_was_lost_brings_the_channels_number(at: City) -> None:
    entrance_id = entered(at)
    with at.db.begin() as tx:
        tx.execute(text("update payments.entrance_word set entry_no = null, state = 'unknown', told_at = told_at + interval '1 h'"))
    assert applied(at, told(at, entrance_id, "open", entry_no="5K1"))[0].finding is Finding.APPLIED
    assert at.column("select entry_no from payments.entrance_word where channel = 'wechat'") == ["5K1"]
    assert at.enter().channels[-1].state == "open"


def test_an_entrys_answer_does_not_overtake_what_the_channel_said_meanwhile(at: City) -> None:
    entrance_id = entered(at)
    applied(at, told(at, entrance_id))
    for state, told_at in (("open", AT), ("unknown", AT + timedelta(hours=1))):
        late = Word(channel="wechat", merchant_no=MERCHANT, entry_no=None, state=state, word=None)  # type: ignore[arg-type]
        with at.db.begin() as tx:
            deduction_store.keep_word(tx, lane=0, entrance_id=entrance_id, word=late, at=told_at)
        assert word(at) == ("none", "PAUSE", AT + timedelta(minutes=5))


def test_words_that_come_at_once_end_with_the_newest(at: City) -> None:
    entrance_id = entered(at)
    said = [
        told(at, entrance_id, "open" if minute % 2 else "none", happened_at=AT + timedelta(minutes=minute)) for minute in range(16)
    ]
    with ThreadPoolExecutor(8) as pool:
        outcomes = [one for [one] in pool.map(lambda word: applied(at, word), reversed(said))]
    assert {one.finding for one in outcomes} <= {Finding.APPLIED, Finding.OLDER}
    assert word(at) == ("open", None, AT + timedelta(minutes=15))


def test_words_about_cars_move_no_money_and_mix_with_payments(at: City) -> None:
    entrance_id = entered(at)
    with at.db.begin() as tx:
        notices = [
            Notice(message(), None), Notice(message(), None, entry=told(at, entrance_id)), Notice(message(), None),
        ]  # fmt: skip
        outcomes = results.apply(tx, lane=0, notices=notices, at=AT, ids=IDS)
    assert [one.finding.value for one in outcomes] == ["not_read", "entry_applied", "not_read"]
    assert books(at.db).entries == []
    assert at.sound()


# Over real HTTP, from the payer's page to the deduction


def page(at: City, act: str) -> None:
    """What a payer does on the channel's page."""
    form = {"openid": OPENID, "plate_number": PLATE, "plate_color": "BLUE", "state": act}
    assert HTTP.post(f"{at.url}/pages/auth-creditpay/auth-creditpay", data=form).status_code == 200


@pytest.mark.parametrize(("act", "said"), [("PAUSE", "PAUSE"), ("OUT_SERVICE", "REMOVE")])
def test_a_plate_whose_payer_paused_or_ended_the_service_is_not_deducted(at: City, act: str, said: str) -> None:
    entered(at)
    at.later(minutes=10)
    page(at, act)
    at.deliver()
    assert word(at) == ("none", said, AT + timedelta(minutes=10))
    made = at.deduct("wechat")
    assert made.tried == (Tried(channel="wechat", state="none", reason="mandate_none"),)
    assert (at.calls("deduct"), at.states()) == (0, [])


def test_a_plate_that_is_blocked_goes_to_the_next_channel_at_once(at: City) -> None:
    at.alipay_plate()
    entered(at)
    page(at, "PAUSE")
    at.deliver()
    made = at.deduct()
    assert [(one.channel, one.state) for one in made.tried] == [("etc", "none"), ("wechat", "none"), ("alipay", "succeeded")]
    assert at.states() == ["succeeded"]


def test_a_plate_that_was_freed_again_is_deducted(at: City) -> None:
    entered(at)
    for act in ("PAUSE", "NORMAL"):
        at.later(minutes=1)
        page(at, act)
        at.deliver()
    assert word(at)[:2] == ("open", None)
    assert at.deduct("wechat").state == "pending"
    at.later(seconds=5)
    at.deliver()
    assert at.states() == ["succeeded"]
    assert at.sound()


def test_a_plate_that_was_opened_after_the_car_came_is_deducted(at: City) -> None:
    entered(at, state="PAUSE")
    assert at.deduct("wechat").state == "none"
    at.later(minutes=1)
    page(at, "NORMAL")
    at.deliver()
    assert at.deduct("wechat").state == "pending"


def test_notices_that_come_in_another_order_end_with_the_newest_word(at: City) -> None:
    entered(at)
    at.fault("wechat", "late", order_like="E*", next=1, seconds=600)
    at.later(minutes=1)
    page(at, "PAUSE")
    at.later(minutes=1)
    page(at, "NORMAL")
    at.deliver()
    assert [reason for reason, _ in kept(at)] == [None]
    at.later(minutes=15)
    at.deliver()
    assert [reason for reason, _ in kept(at)] == [None, "entry_older"]
    assert word(at)[0] == "open"


def test_a_notice_that_comes_twice_is_acknowledged_twice(at: City) -> None:
    entrance_id = entered(at)
    at.fault("wechat", "twice", order_like="E*")
    page(at, "PAUSE")
    at.later(seconds=5)
    at.deliver()
    assert kept(at) == [(None, entrance_id)] * 2
    assert waiting(at) == 0


def test_a_notice_with_another_merchant_is_refused_and_comes_again(at: City) -> None:
    entrance_id = entered(at)
    at.fault("wechat", "other_merchant", order_like="E*", attempts=1)
    page(at, "PAUSE")
    at.deliver()
    assert kept(at) == [("merchant_differs", entrance_id)]
    assert word(at)[0] == "open"
    at.later(seconds=15)
    at.deliver()
    assert kept(at)[1:] == [(None, entrance_id)]
    assert (word(at)[0], waiting(at)) == ("none", 0)


def test_a_notice_that_is_not_signed_changes_nothing(at: City) -> None:
    entered(at)
    at.fault("wechat", "wrong_signature", order_like="E*", attempts=1)
    page(at, "PAUSE")
    at.deliver()
    assert word(at)[0] == "open"
    at.later(seconds=15)
    at.deliver()
    assert word(at)[0] == "none"


def waiting(at: City) -> int:
    """How many notices the channel still wants to bring."""
    answer = HTTP.post(f"{at.url}/_control/deliver", content=b"{}")
    left: int = answer.json()["waiting"]
    return left
