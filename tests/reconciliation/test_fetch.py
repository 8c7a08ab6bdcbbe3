"""Bills over the real wire: ordered, paid, billed and fetched at the stand-in, then compared with the book."""

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import text

from gateways import calls
from gateways.contract import PrepayOrder
from gateways.registry import Connected
from gateways.sandbox.shapes import Fault, FaultKind, FaultPlan
from gateways.wechat.channel import Provider, WeChat
from payments import checkout, results
from payments.results import Notice
from reconciliation import bills, breaks, matching
from reconciliation.bills import Kept
from tests.gateways.conftest import APP_ID, Play, Played, fresh_pair, pair, play, wechat
from tests.payments.conftest import AT, PROVIDER, Due
from tests.reconciliation.conftest import DAY, IDS, City, billed

__all__ = ["fresh_pair", "pair", "play", "wechat"]

MORNING = AT.replace(hour=2) + timedelta(days=1)


def pay(played: Played, city: City, *, lot: int = 0, amount_fen: int = 1200, booked: bool = True) -> Due:
    """Order at the stand-in, pay there, and let a query tell the book."""
    due = city.order(lot=lot, amount_fen=amount_fen)
    order = PrepayOrder(
        order_no=due.order_no, merchant_no=due.attempt.merchant_no, description="停车费", amount_fen=amount_fen, payer_id="oA",
        created_at=AT, expires_at=AT + timedelta(hours=1),
    )  # fmt: skip
    subject = due.attempt.payment_id
    assert calls.prepay(played.line, order, subject=subject, occasion="1").outcome.hand_off is not None
    ordered = played.sandbox.desk.state.order(due.order_no)
    assert ordered is not None
    played.sandbox.desk.pay(ordered, "oA")
    if booked:
        reference = checkout.reference(due.attempt)
        call = calls.query(played.line, reference, subject=subject, occasion="1")
        with city.db.begin() as tx:
            results.apply(tx, lane=0, notices=[Notice(call.message, call.outcome.result, "query")], at=AT, ids=IDS)
    return due


def fetch(played: Played, city: City, *, occasion: str = "1") -> Kept:
    fetched = bills.fetch(played.line, bill_on=DAY, occasion=occasion)
    with city.db.begin() as tx:
        return bills.keep(tx, lane=0, fetched=fetched, at=played.clock.now(), ids=IDS)


@pytest.fixture
def played(play: Play) -> Played:
    stand_in = play()
    stand_in.clock.set(AT)
    return stand_in


def test_a_days_bill_is_fetched_kept_and_matches_the_book_to_the_fen(played: Played, city: City) -> None:
    for number in range(5):
        pay(played, city, lot=number % 2, amount_fen=500 + number)
    missed = pay(played, city, booked=False)
    city.seal()
    played.clock.set(MORNING)
    kept = fetch(played, city)
    run = city.match(kept)
    assert (kept.outcome, run.matched, run.matched_fen) == ("new", 5, 2510)
    with city.db.begin() as tx:
        (difference,) = matching.differences(tx, run_id=run.run_id)
        stored = tx.execute(text("select count(*) from gateways.raw_message where operation = 'bill'")).scalar_one()
    assert (difference.code, difference.payment_id, stored) == ("D01", missed.attempt.payment_id, 1)


def test_before_ten_the_bill_is_not_ready_and_the_day_stays_open(played: Played, city: City) -> None:
    pay(played, city)
    played.clock.set(MORNING.replace(hour=1))
    kept = fetch(played, city)
    assert (kept.outcome, kept.reason) == ("absent", "not_ready")


def test_a_day_without_a_payment_has_an_empty_bill_that_matches(played: Played, city: City) -> None:
    played.clock.set(MORNING)
    kept = fetch(played, city)
    assert kept.outcome == "new"
    assert city.match(kept).differences == 0


def test_a_cut_bill_is_refused_whole_and_the_next_good_one_is_taken(played: Played, city: City) -> None:
    pay(played, city)
    pay(played, city)
    played.clock.set(MORNING)
    played.sandbox.desk.set_plan(FaultPlan(faults=(Fault(kind=FaultKind.BILL_CUT, next=1),)))
    refused = fetch(played, city)
    assert refused.outcome == "refused"
    assert refused.reason in ("bill_cut", "bill_form")  # a cut between rows, or inside one
    taken = fetch(played, city, occasion="2")
    assert (taken.outcome, taken.version) == ("new", 1)


def test_a_refused_file_is_kept_as_it_came(played: Played, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bills, "PART_BYTES", 100)
    pay(played, city)
    pay(played, city)
    played.clock.set(MORNING)
    played.sandbox.desk.set_plan(FaultPlan(faults=(Fault(kind=FaultKind.BILL_CUT, next=1),)))
    fetched = bills.fetch(played.line, bill_on=DAY, occasion="1")
    with city.db.begin() as tx:
        assert bills.keep(tx, lane=0, fetched=fetched, at=MORNING, ids=IDS).outcome == "refused"
        first = tx.execute(text("select body from reconciliation.refused_bill")).scalar_one()
        following = tx.execute(text("select body from reconciliation.refused_part order by part")).scalars()
        content = b"".join([first, *following])
    assert fetched.file is not None
    assert content == fetched.file.content()
    assert len(content) > 100
    assert "交易时间".encode() in content[:20]


def test_a_reissued_bill_is_a_new_version_and_only_the_difference_is_new(played: Played, city: City) -> None:
    for _ in range(3):
        pay(played, city)
    city.seal()
    played.clock.set(MORNING)
    first = fetch(played, city)
    assert city.match(first).differences == 0
    played.sandbox.desk.set_plan(FaultPlan(faults=(Fault(kind=FaultKind.BILL_REISSUED, next=1),)))
    second = fetch(played, city, occasion="2")
    assert (second.outcome, second.version) == ("new", 2)
    run = city.match(second)
    with city.db.begin() as tx:
        (difference,) = matching.differences(tx, run_id=run.run_id)
    assert (difference.code, difference.is_new) == ("D03", True)


def test_without_an_answer_the_day_stays_open(played: Played, city: City) -> None:
    away = Provider(provider_no=PROVIDER, app_id=APP_ID, notify_url="http://127.0.0.1:9/x", api_url="http://127.0.0.1:9")
    connected = Connected(channel=WeChat(away), keys=played.line.connected.keys)
    fetched = bills.fetch(msgspec.structs.replace(played.line, connected=connected), bill_on=DAY, occasion="1")
    with city.db.begin() as tx:
        kept = bills.keep(tx, lane=0, fetched=fetched, at=MORNING, ids=IDS)
        assert tx.execute(text("select verdict from gateways.raw_message")).scalar_one() == "unanswered"
    assert (kept.outcome, kept.bill_id) == ("absent", None)


def test_missed_money_is_asked_for_booked_by_the_applier_and_matches_then(played: Played, city: City) -> None:
    pay(played, city)
    for _ in range(2):
        pay(played, city, booked=False)
    city.seal()
    played.clock.set(MORNING)
    kept = fetch(played, city)
    first = city.match(kept)
    with city.db.begin() as tx:
        wanted = breaks.missed(tx, run_id=first.run_id)
    notices = breaks.ask(played.line, wanted, occasion=str(first.run_id))
    with city.db.begin() as tx:
        results.apply(tx, lane=0, notices=notices, at=played.clock.now(), ids=IDS)
    city.seal()
    second = city.match(kept)
    assert (first.matched, first.differences, second.matched, second.differences) == (1, 2, 3, 0)


def test_a_bill_line_alone_books_nothing_when_the_channel_does_not_confirm_it(played: Played, city: City) -> None:
    due = city.order()
    run = city.match(city.keep([billed(due)]))
    with city.db.begin() as tx:
        wanted = breaks.missed(tx, run_id=run.run_id)
    notices = breaks.ask(played.line, wanted, occasion=str(run.run_id))
    with city.db.begin() as tx:
        results.apply(tx, lane=0, notices=notices, at=MORNING, ids=IDS)
        assert tx.execute(text("select count(*) from payments.payment_fact")).scalar_one() == 0
