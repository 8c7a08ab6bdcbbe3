"""Prices that a lot answers become charges; of one stay at most one can be paid, and nobody's payment is pulled away."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from sqlalchemy import Engine, text
from standardwebhooks import Webhook as Verifier

from gateways.contract import ChannelState
from gateways.parking.addresses import guard
from gateways.parking.quotes import LotQuote, Network
from ledger.clock import SetClock, SystemClock
from ledger.errors import NotFound, Refused
from payments import charges
from payments.errors import AlreadyPaid
from payments.invariants import check
from payments.lots import Lot
from payments.orders import RandomTokens
from payments.quoting import asked_quote_store, asking, endpoints, quotes, taking
from payments.quoting.asked_quote_store import QuoteOver
from payments.quoting.asking import Asking, LotAway
from payments.quoting.endpoint_store import FAILURES_MAX
from payments.quoting.turns import IN_FLIGHT_MAX, Turns
from payments.records import Charge
from payments.results import apply
from payments.webhooks.secret import Vault
from tests.payments.conftest import AT, IDS, make_attempt, make_charge
from tests.payments.webhooks.receiver import Got, Receiver, Says, receiving

PLATE = "苏B12345"
VAULT = Vault(bytes(range(32)))
MINUTE = timedelta(minutes=1)
EVIDENCE = IDS.new(AT, "evidence")


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever set up logging in this run before has not switched our log off."""
    monkeypatch.setattr(asking.LOG, "disabled", False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network(guard(["127.0.0.0/8"]))
    yield made
    made.close()


def quote(serial: str = "Q1", stay: str = "P1", **other: object) -> LotQuote:
    said: dict[str, Any] = {
        "serial": serial, "stay_serial": stay, "plate": PLATE, "entered_at": AT - timedelta(hours=2), "minutes": 120,
        "amount_fen": 1200, "tariff_text": "每小时6元", "valid_until": AT + 15 * MINUTE,
    } | other  # fmt: skip
    return LotQuote(**said)


def take(
    db: Engine, lot: Lot, *found: LotQuote, at: datetime = AT, plate: str = PLATE, asked_at: datetime | None = None
) -> list[str]:
    """Take an answer; returns the reasons of what was refused."""
    with db.begin() as tx:
        refused = taking.take(
            tx, lane=0, lot=lot, plate=plate, quotes=found, evidence_id=EVIDENCE, asked_at=asked_at or at, at=at, ids=IDS
        )
    return [one.reason for one in refused]


def due(db: Engine, lot: Lot, *, at: datetime = AT, plate: str = PLATE) -> dict[str, int]:
    """What the page would show: fen by serial; the list of one lot and the list of all lots agree."""
    with db.connect() as tx:
        here = quotes.ask(tx, lane=0, lot_id=lot.lot_id, plate=plate, at=at, tokens=RandomTokens())
        everywhere = quotes.anywhere(tx, lane=0, plate=plate, limit=9, at=at)
        assert [one.charge.charge_id for one in here] == [one.charge_id for one in everywhere]
        assert check(tx) == []
    return {one.charge.lot_serial: one.amount_fen for one in here}


def charge_of(db: Engine, lot: Lot, serial: str) -> Charge:
    with db.connect() as tx:
        return charges.by_serial(tx, lane=0, lot_id=lot.lot_id, lot_serial=serial)


# What follows from an answer.


def test_a_quote_is_due_until_its_price_ends(db: Engine, city: Lot) -> None:
    assert take(db, city, quote()) == []
    assert due(db, city) == {"Q1": 1200}
    assert due(db, city, at=AT + 15 * MINUTE) == {}


def test_two_stays_are_two_prices(db: Engine, city: Lot) -> None:
    take(db, city, quote(), quote("Q2", "P2", amount_fen=500))
    assert due(db, city) == {"Q1": 1200, "Q2": 500}


def test_a_newer_price_of_the_stay_takes_the_place_of_the_older_one(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    later = AT + 20 * MINUTE
    take(db, city, quote("Q2", amount_fen=1800, minutes=140, valid_until=later + 15 * MINUTE), at=later)
    assert due(db, city, at=later) == {"Q2": 1800}
    old = charge_of(db, city, "Q1")
    assert (old.state, old.reduced_fen, old.owed_fen) == ("credited", 1200, 0)


def test_an_older_price_can_not_be_ordered_once_its_place_was_taken(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    take(db, city, quote("Q2", amount_fen=1800))
    with db.begin() as tx, pytest.raises(AlreadyPaid):
        make_attempt(tx, city, charge_of(db, city, "Q1").charge_id)


def test_the_same_price_stands_longer_and_never_shorter(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    take(db, city, quote(valid_until=AT + 30 * MINUTE), at=AT + MINUTE)
    take(db, city, quote(valid_until=AT + 20 * MINUTE), at=AT + 2 * MINUTE)
    assert due(db, city, at=AT + 29 * MINUTE) == {"Q1": 1200}
    assert due(db, city, at=AT + 30 * MINUTE) == {}


def test_a_serial_with_another_price_is_refused_and_kept_and_the_first_price_stands(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    assert take(db, city, quote(amount_fen=1800)) == ["content_differs"]
    assert due(db, city) == {"Q1": 1200}
    with db.connect() as tx:
        [kept] = asked_quote_store.refusals(tx, lane=0, lot_id=city.lot_id, limit=9)
    assert (kept.serial, kept.field, kept.reason, kept.refused_at) == ("Q1", "amount_fen", "content_differs", AT)


def test_a_serial_of_another_stay_and_one_whose_place_was_taken_are_refused(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    assert take(db, city, quote("Q1", "P2")) == ["content_differs"]
    take(db, city, quote("Q2", amount_fen=1800))
    assert take(db, city, quote()) == ["serial_superseded"]
    assert due(db, city) == {"Q2": 1800}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"plate": "苏B99999"}, "plate_differs"),
        ({"plate": "no plate"}, "plate_differs"),
        ({"valid_until": AT + MINUTE}, "valid_until_invalid"),
        ({"valid_until": AT + timedelta(days=2)}, "valid_until_invalid"),
        ({"amount_fen": -1}, "amount_invalid"),
        ({"amount_fen": 10**12}, "amount_invalid"),
        ({"minutes": -1}, "minutes_invalid"),
        ({"entered_at": AT + timedelta(hours=1)}, "time_in_future"),
        ({"serial": ""}, "serial_invalid"),
        ({"serial": "Q" * 65}, "serial_invalid"),
        ({"stay_serial": "\x00"}, "serial_invalid"),
        ({"tariff_text": ""}, "tariff_invalid"),
        ({"tariff_text": "6\x00"}, "tariff_invalid"),
        ({"plate_color": "pink"}, "malformed"),
        ({"plate_color": "green"}, "plate_invalid"),
        ({"scene": "moon"}, "malformed"),
    ],
)
def test_a_quote_that_cannot_be_is_refused_by_itself_and_kept_without_its_plate(
    db: Engine, city: Lot, other: dict[str, Any], reason: str
) -> None:
    wrong = msgspec.structs.replace(quote("Q8", "P8"), **other)
    assert take(db, city, wrong, quote()) == [reason]
    assert due(db, city) == {"Q1": 1200}
    with db.connect() as tx:
        [kept] = asked_quote_store.refusals(tx, lane=0, lot_id=city.lot_id, limit=9)
    assert kept.reason == reason
    assert "99999" not in kept.detail


def test_a_stay_that_an_answer_names_twice_has_its_first_price(db: Engine, city: Lot) -> None:
    assert take(db, city, quote(), quote("Q2", amount_fen=1800)) == ["stay_repeated"]
    assert due(db, city) == {"Q1": 1200}


def test_what_the_lot_does_not_name_any_more_ends_and_may_come_back(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    take(db, city, at=AT + MINUTE)
    assert due(db, city, at=AT + MINUTE) == {}
    assert charge_of(db, city, "Q1").state == "open"
    take(db, city, quote(), at=AT + 2 * MINUTE)
    assert due(db, city, at=AT + 2 * MINUTE) == {"Q1": 1200}


def test_a_price_of_nothing_ends_the_one_before(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    assert take(db, city, quote("Q2", amount_fen=0), at=AT + MINUTE) == []
    assert due(db, city, at=AT + MINUTE) == {}


def test_pushed_charges_are_not_touched_by_answers(db: Engine, city: Lot) -> None:
    with db.begin() as tx:
        make_charge(tx, city, "S1")
    take(db, city, quote())
    take(db, city, at=AT + MINUTE)
    assert due(db, city, at=AT + 60 * MINUTE) == {"S1": 1200}


def test_an_answer_to_an_earlier_question_does_not_overtake(db: Engine, city: Lot) -> None:
    take(db, city, quote("Q2", amount_fen=1800), at=AT + MINUTE)
    take(db, city, quote(), at=AT + MINUTE, asked_at=AT)
    take(db, city, at=AT + MINUTE, asked_at=AT)
    assert due(db, city, at=AT + MINUTE) == {"Q2": 1800}


def test_answers_that_come_at_once_leave_one_price(db: Engine, city: Lot) -> None:
    threads = [
        threading.Thread(target=take, args=(db, city, quote(f"Q{number}", amount_fen=1200 + number))) for number in range(6)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(due(db, city)) == 1
    with db.connect() as tx:
        rows = tx.execute(text("select count(*), count(superseded_at) from payments.charge_quote")).one()
    assert tuple(rows) == (6, 5)


# While somebody pays.


def test_a_price_that_is_being_paid_stays_and_the_newer_one_waits(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    with db.begin() as tx:
        paying = make_attempt(tx, city, charge_of(db, city, "Q1").charge_id)
    later = AT + 20 * MINUTE
    newer = quote("Q2", amount_fen=1800, valid_until=later + 15 * MINUTE)
    assert take(db, city, newer, at=later) == []
    assert due(db, city, at=later) == {"Q1": 1200}
    with db.begin() as tx:
        apply(tx, lane=0, notices=[paying.answer(state=ChannelState.CLOSED)], at=later, ids=IDS)
    take(db, city, newer, at=later)
    assert due(db, city, at=later) == {"Q2": 1800}


def test_an_answer_without_what_is_being_paid_does_not_end_it(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    with db.begin() as tx:
        make_attempt(tx, city, charge_of(db, city, "Q1").charge_id)
    take(db, city, at=AT + MINUTE)
    assert due(db, city, at=AT + MINUTE) == {"Q1": 1200}


def test_a_stay_that_was_paid_and_stays_on_owes_the_new_price(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    with db.begin() as tx:
        paid = make_attempt(tx, city, charge_of(db, city, "Q1").charge_id)
    with db.begin() as tx:
        apply(tx, lane=0, notices=[paid.callback()], at=AT, ids=IDS)
    take(db, city, quote("Q2", amount_fen=600))
    assert due(db, city) == {"Q2": 600}
    assert charge_of(db, city, "Q1").state == "settled"


def test_money_that_comes_late_for_an_older_price_goes_to_suspense(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    with db.begin() as tx:
        late = make_attempt(tx, city, charge_of(db, city, "Q1").charge_id)
    with db.begin() as tx:
        apply(tx, lane=0, notices=[late.answer(state=ChannelState.CLOSED)], at=AT, ids=IDS)
    take(db, city, quote("Q2", amount_fen=1800))
    with db.begin() as tx:
        apply(tx, lane=0, notices=[late.callback()], at=AT, ids=IDS)
    assert due(db, city) == {"Q2": 1800}
    with db.connect() as tx:
        treated = tx.execute(text("select treatment from payments.payment_fact")).scalars().all()
    assert treated == ["second_payment"]


def test_a_price_is_locked_no_longer_than_it_stands(db: Engine, city: Lot) -> None:
    take(db, city, quote())
    quoted = charge_of(db, city, "Q1").charge_id
    with db.begin() as tx:
        pushed = make_charge(tx, city, "S1")
    with db.connect() as tx:

        def lock(*ids: Any, at: datetime = AT) -> timedelta:
            return asked_quote_store.price_lock(tx, lane=0, charge_ids=ids, at=at, wanted=20 * MINUTE)

        assert lock(pushed) == 20 * MINUTE
        assert lock(pushed, quoted) == 15 * MINUTE
        with pytest.raises(QuoteOver):
            lock(quoted, at=AT + 14 * MINUTE + timedelta(seconds=1))


@pytest.mark.parametrize(
    "damage",
    [
        "update payments.charge set state = 'open', reduced_fen = 0 where state = 'credited'",
        "update payments.charge_quote set superseded_at = null, superseded_by = null, superseded_fen = null",
        "update payments.charge_quote set superseded_by = 'Q9' where superseded_by is not null",
        "insert into payments.charge_quote select gen_random_uuid(), 0, 1, 'X', 'X', now(), now(), gen_random_uuid()",
    ],
)
def test_damage_is_told(db: Engine, city: Lot, damage: str) -> None:
    take(db, city, quote())
    take(db, city, quote("Q2", amount_fen=1800))
    with db.begin() as tx:
        tx.execute(text(damage))
    with db.connect() as tx:
        assert {one.invariant for one in check(tx)} & {"quotes", "reduced"}


# Asking.


class Town(Struct, frozen=True):
    """A lot whose system is asked."""

    db: Engine
    lot: Lot
    asking: Asking
    secret: str

    def ask(self, plate: str = PLATE) -> None:
        with self.asking.db.connect() as tx:
            endpoint = endpoints.find(tx, lane=0, lot_id=self.lot.lot_id)
        asking.ask(self.asking, lot=self.lot, endpoint=endpoint, plate=plate)

    def again(self) -> "Town":
        """The same town when the pause between questions is over."""
        return msgspec.structs.replace(self, asking=msgspec.structs.replace(self.asking, turns=Turns()))


@pytest.fixture
def clock() -> SetClock:
    return SetClock(AT)


@pytest.fixture
def town(db: Engine, city: Lot, receiver: Receiver, network: Network, clock: SetClock) -> Town:
    receiver.answer = lambda _: says(quote())
    with db.begin() as tx:
        shown = enter(tx, city, receiver.url)
    asking = Asking(db=db, lane=0, clock=clock, ids=IDS, vault=VAULT, network=network, turns=Turns(), seconds_max=2.0)
    assert shown.secret is not None
    return Town(db, city, asking, shown.secret)


def enter(tx: Any, lot: Lot, url: str, *, new: bool = False, timeout_ms: int = 2000, at: datetime = AT) -> endpoints.Shown:
    return endpoints.enter(
        tx, lane=0, lot_id=lot.lot_id, url=url, timeout_ms=timeout_ms, timeout_ms_max=2000, new=new, by="test", at=at, ids=IDS,
        tokens=RandomTokens(), vault=VAULT,
    )  # fmt: skip


def says(*found: LotQuote) -> Says:
    return Says(200, {}, msgspec.json.encode({"quotes": found}))


def kept(town: Town) -> list[Any]:
    with town.db.connect() as tx:
        rows = tx.execute(
            text("select direction, operation, verdict, reason, request, body from gateways.raw_message where channel = 'lot'")
        )
        return list(rows)


def test_question_and_answer_are_kept_and_the_price_is_due(town: Town, receiver: Receiver) -> None:
    town.ask()
    assert due(town.db, town.lot) == {"Q1": 1200}
    [one] = kept(town)
    assert (one.direction, one.operation, one.verdict, one.reason) == ("out", "quote", "unverified", None)
    assert bytes(one.request).endswith(b"\n\n" + receiver.got[0].body)
    assert bytes(one.request).startswith(f"POST {receiver.url}\n".encode())
    assert msgspec.json.decode(bytes(one.body))["quotes"][0]["serial"] == "Q1"


def test_the_lot_can_verify_who_asks_with_the_standard_library(town: Town, receiver: Receiver, clock: SetClock) -> None:
    clock.set(SystemClock().now())
    receiver.answer = lambda _: says()
    town.ask()
    [got] = receiver.got
    assert Verifier(town.secret).verify(got.body, got.headers)["data"]["plate"] == PLATE


def test_both_secrets_sign_while_one_takes_the_place_of_the_other(town: Town, receiver: Receiver, clock: SetClock) -> None:
    clock.set(SystemClock().now())
    receiver.answer = lambda _: says()
    with town.db.begin() as tx:
        changed = enter(tx, town.lot, receiver.url, new=True, at=clock.now())
    assert changed.secret is not None
    assert not changed.is_new
    town.ask()
    [got] = receiver.got
    for secret in (town.secret, changed.secret):
        Verifier(secret).verify(got.body, got.headers)


def test_a_change_of_address_keeps_the_secret(town: Town, receiver: Receiver) -> None:
    with town.db.begin() as tx:
        changed = enter(tx, town.lot, receiver.url + "/other", timeout_ms=500)
    assert changed.secret is None
    town.ask()
    assert receiver.got[0].path == "/hook/other"


@pytest.mark.parametrize(
    "answer",
    [
        Says(500), Says(302, {"location": "/"}), Says(200, {}, b"garbage"), Says(200, {}, b" " * 1024, times=65),
        Says(200, {}, b'{"quotes": []}', after_seconds=1.0),
    ],
    ids=["500", "redirect", "garbage", "oversize", "slow"],
)  # fmt: skip
def test_a_lot_without_a_usable_answer_is_away_and_what_was_due_still_is(town: Town, receiver: Receiver, answer: Says) -> None:
    town.ask()
    receiver.answer = lambda _: answer
    slow = msgspec.structs.replace(town.again().asking, seconds_max=0.3)
    with pytest.raises(LotAway) as away:
        msgspec.structs.replace(town, asking=slow).ask()
    assert away.value.code == "lot_away"
    assert due(town.db, town.lot) == {"Q1": 1200}
    assert len(kept(town)) == 2


def test_a_lot_is_asked_about_a_plate_once_in_a_while(town: Town, receiver: Receiver) -> None:
    for _ in range(3):
        town.ask()
    town.ask("苏B54321")
    assert [got.content["data"]["plate"] for got in receiver.got] == [PLATE, "苏B54321"]
    town.again().ask()
    assert len(receiver.got) == 3


def test_the_pause_ends_by_the_clock() -> None:
    now = 0.0
    turns, asked = Turns(clock=lambda: now), []
    for now in (0.0, 9.9, 10.0, 15.0, 20.0):
        turns.once(1, PLATE, lambda: asked.append(now), wait_seconds=1)  # noqa: B023
    assert asked == [0.0, 10.0, 20.0]


def test_whoever_comes_while_a_lot_is_asked_waits_for_that_answer(town: Town, receiver: Receiver) -> None:
    begun, go = threading.Event(), threading.Event()

    def slowly(_: Got) -> Says:
        begun.set()
        go.wait(10)
        return says(quote())

    receiver.answer = slowly
    seen: list[dict[str, int]] = []

    def scan() -> None:
        town.ask()
        seen.append(due(town.db, town.lot))

    threads = [threading.Thread(target=scan) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(20)
    assert seen == [{"Q1": 1200}, {"Q1": 1200}]
    assert len(receiver.got) == 1


def test_a_question_that_breaks_off_frees_the_next_one() -> None:
    turns = Turns()

    def broken() -> str | None:
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError):
        turns.once(1, PLATE, broken, wait_seconds=1)
    assert turns.once(1, PLATE, lambda: None, wait_seconds=1) is None


def test_a_slow_lot_does_not_take_all_threads() -> None:
    turns, go, plates = Turns(), threading.Event(), [f"苏B{number:05d}" for number in range(IN_FLIGHT_MAX)]
    begun = threading.Barrier(len(plates) + 1)

    def slowly() -> str | None:
        begun.wait(10)
        go.wait(10)
        return None

    threads = [threading.Thread(target=turns.once, args=(1, plate, slowly), kwargs={"wait_seconds": 9}) for plate in plates]
    for thread in threads:
        thread.start()
    begun.wait(10)
    assert turns.once(1, PLATE, lambda: None, wait_seconds=9) == "too many questions are under way"
    assert turns.once(2, PLATE, lambda: None, wait_seconds=9) is None
    go.set()
    for thread in threads:
        thread.join(10)
    assert turns.once(1, PLATE, lambda: None, wait_seconds=9) is None


def test_a_lot_that_fails_five_times_in_a_row_is_asked_seldom_with_an_alarm(
    town: Town, receiver: Receiver, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answer = lambda _: Says(500)
    for _ in range(FAILURES_MAX + 2):
        with pytest.raises(LotAway):
            town.again().ask()
    assert len(receiver.got) == FAILURES_MAX
    assert [one.levelname for one in caplog.records].count("CRITICAL") == 1
    assert PLATE not in caplog.text
    clock.set(AT + timedelta(seconds=30))
    receiver.answer = lambda _: says(quote())
    town.again().ask()
    town.again().ask()
    assert len(receiver.got) == FAILURES_MAX + 2
    with town.db.connect() as tx:
        endpoint = endpoints.find(tx, lane=0, lot_id=town.lot.lot_id)
    assert (endpoint.failures, endpoint.last_error) == (0, None)


def test_refusals_are_logged_without_plates(town: Town, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answer = lambda _: says(quote(plate="苏B99999"), quote("Q2", "P2"))
    town.ask()
    assert due(town.db, town.lot) == {"Q2": 1200}
    assert "plate_differs" in caplog.text
    assert "99999" not in caplog.text


# Endpoints.


def test_a_time_out_must_lie_where_a_driver_can_wait(db: Engine, city: Lot) -> None:
    for timeout_ms in (0, 199, 2001):
        with db.begin() as tx, pytest.raises(Refused) as refused:
            enter(tx, city, "https://lot.example/", timeout_ms=timeout_ms)
        assert refused.value.code == "quote_timeout_refused"


def test_an_endpoint_that_was_ended_is_gone_and_another_may_be_entered(town: Town, receiver: Receiver) -> None:
    with town.db.begin() as tx:
        endpoints.end(tx, lane=0, lot_id=town.lot.lot_id, at=AT)
    with town.db.begin() as tx, pytest.raises(NotFound) as gone:
        endpoints.end(tx, lane=0, lot_id=town.lot.lot_id, at=AT)
    assert gone.value.code == "quote_endpoint_not_found"
    with town.db.begin() as tx:
        assert enter(tx, town.lot, receiver.url).is_new
