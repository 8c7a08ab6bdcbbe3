"""What leaving first adds to simulated days: a story that is a matter of the seed alone, and the parts that judge how it went."""

import hashlib
import hmac
from base64 import b64encode
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import msgspec
import pytest

from app import demo
from app.day.closing import Summary
from app.day.counting import added
from app.day.doors import DoorClosed
from app.day.draw import draw
from app.day.drive import Counts
from app.day.leaving import charge_of
from app.day.owing import FATES, GATES, LEAVERS_MIN, STREETS, draw_days
from app.day.plan import CLOSES_MINUTE, Plan, Stay
from app.day.receiver import Heard, Receiver, is_lost
from app.day.reckoning import check
from app.day.taking_back import BOOKED_AFTER_MINUTES, UNTIL_MINUTE
from app.simulation import DAILY, daily_jobs
from ledger.clock import CHINA
from payments import plates

STARTS_AT = datetime(2026, 3, 2, 6, 0, tzinfo=CHINA)
CHANNELS = ("alipay", "etc", "unionpay", "wechat")


def days_of(seed: int, days: int = 3, payments: int = 60, channels: tuple[str, ...] = CHANNELS) -> list[Plan]:
    return draw_days(seed=seed, days=days, payments=payments, starts_at=STARTS_AT, channels=channels)


def left(plans: list[Plan]) -> dict[str, tuple[int, Stay]]:
    """Who left first, with the day, by serial."""
    return {leaver.stay.serial: (plan.number, leaver.stay) for plan in plans for leaver in plan.leavers}


def test_the_same_seed_gives_the_same_days_and_another_seed_others() -> None:
    assert days_of(1) == days_of(1)
    assert days_of(1) != days_of(2)


def test_a_single_day_is_the_day_as_it_was_and_nobody_leaves_first() -> None:
    alone = draw(seed=5, payments=60, starts_at=STARTS_AT, channels=CHANNELS)
    assert days_of(5, days=1) == [alone]
    assert (alone.leavers, alone.comers, alone.parts, alone.deeds) == ((), (), (), ())


def test_leaving_first_only_adds_to_the_first_of_several_days() -> None:
    alone, first = draw(seed=5, payments=20, starts_at=STARTS_AT, channels=CHANNELS), days_of(5)[0]
    assert first.stays[: len(alone.stays)] == alone.stays
    assert first.baskets[: len(alone.baskets)] == alone.baskets


@pytest.mark.parametrize(("days", "payments"), [(2, 1), (3, 0), (7, 600), (2, 601)])
def test_days_follow_each_other_and_share_the_payments(days: int, payments: int) -> None:
    plans = days_of(1, days, payments)
    assert [plan.number for plan in plans] == list(range(days))
    assert {after.starts_at - before.starts_at for before, after in pairwise(plans)} == {timedelta(days=1)}
    added_by_debts = sum(len(plan.comers) for plan in plans)
    known = left(plans)
    together = sum(1 + (serial not in known) for plan in plans for basket in plan.baskets for serial in basket.serials[:1])
    assert sum(plan.payments for plan in plans) >= payments + added_by_debts
    assert together == sum(len(plan.baskets) for plan in plans) + sum(
        basket.serials[0] not in known for plan in plans for basket in plan.baskets
    )


def test_every_serial_is_another_and_no_car_of_one_day_comes_as_another_car_on_the_next() -> None:
    plans = days_of(1, 7, 600)
    known = left(plans)
    serials = [stay.serial for plan in plans for stay in plan.stays] + list(known)
    assert len(set(serials)) == len(serials)
    paying = {basket.plate for plan in plans for basket in plan.baskets}
    times = Counter(stay.plate for plan in plans for stay in plan.stays) + Counter(stay.plate for _, stay in known.values())
    assert {plate for plate, count in times.items() if count > 1} <= paying
    assert [plates.checked(stay.plate) for _, stay in known.values()] == [stay.plate for _, stay in known.values()]


def test_streets_tell_in_lists_of_cars_that_have_gone_and_gates_ask_at_the_barrier() -> None:
    for plan in days_of(1, 7, 600):
        for leaver in plan.leavers:
            assert leaver.stay.lot_code in (STREETS if leaver.in_list else GATES)
            waits = leaver.told_minute - leaver.stay.charged_minute
            assert 0 <= waits < 30 if leaver.in_list else waits == 0
            assert leaver.told_minute < CLOSES_MINUTE
            assert leaver.stay.taps == ()


def test_two_days_that_have_a_day_after_them_meet_every_fate() -> None:
    plans = days_of(1, 3, 30)
    assert len(FATES) <= 2 * LEAVERS_MIN
    assert {deed.kind for plan in plans for deed in plan.deeds} == {
        "contact", "dispute", "uphold", "reject", "waive", "write_off", "approve", "misread", "cash", "top_up",
    }  # fmt: skip
    answers = Counter(stay.mandate.answer for _, stay in left(plans).values() if stay.mandate)
    assert set(answers) == {"accepted", "paid", "refused", "refused_later"}
    assert all(plan.comers for plan in plans[1:])
    assert sum(len(plan.parts) for plan in plans) >= 1


def test_nothing_becomes_of_a_debt_before_its_car_has_left_nor_after_the_last_day() -> None:
    plans = days_of(1, 7, 600)
    known = left(plans)
    for plan in plans:
        acts = [(part.stay.serial, part.minute) for part in plan.parts] + [(deed.stay.serial, deed.minute) for deed in plan.deeds]
        acts += [(comer.stay.serial, comer.tap.minute) for comer in plan.comers]
        acts += [(serial, basket.minute) for basket in plan.baskets for serial in basket.serials if serial in known]
        for serial, minute in acts:
            number, stay = known[serial]
            assert number < plan.number or (number == plan.number and stay.charged_minute < minute)


def test_nobody_comes_back_while_a_deduction_is_under_way() -> None:
    """The plan of deductions tries at 10:00 and 20:00."""
    for plan in days_of(1, 7, 600):
        for comer in plan.comers:
            if comer.stay not in [leaver.stay for leaver in plan.leavers]:
                assert 5 * 60 <= comer.tap.minute <= 13 * 60


def test_a_decision_is_approved_after_it_was_proposed_and_once() -> None:
    for plan in days_of(1, 7, 600):
        proposed = [(deed.stay.serial, deed.minute) for deed in plan.deeds if deed.kind in ("uphold", "waive", "write_off")]
        approved = {deed.stay.serial: deed.minute for deed in plan.deeds if deed.kind == "approve"}
        assert len(approved) == len(proposed)
        assert all(minute < approved[serial] for serial, minute in proposed)


def test_who_pays_for_two_operators_at_once_stands_at_another_ones_lot() -> None:
    plans = days_of(1, 7, 600)
    known = left(plans)
    here = {stay.serial: stay for plan in plans for stay in plan.stays}
    windows = [basket for plan in plans for basket in plan.baskets if basket.serials[0] in known and basket.serials[1] in here]
    assert windows
    for basket in windows:
        _, debt = known[basket.serials[0]]
        assert basket.lot_code == here[basket.serials[1]].lot_code
        assert demo.operator_of(basket.lot_code) != demo.operator_of(debt.lot_code)


@pytest.mark.parametrize("channels", [("alipay",), ("unionpay",), ("alipay", "unionpay", "wechat")])
def test_a_city_without_a_channel_has_no_mandates_and_wallets_of_it(channels: tuple[str, ...]) -> None:
    plans = days_of(1, channels=channels)
    assert {stay.mandate.channel for _, stay in left(plans).values() if stay.mandate} <= set(channels)
    wallets = {comer.tap.wallet.channel for plan in plans for comer in plan.comers}
    assert wallets <= set(channels)


def test_a_debt_of_an_earlier_day_costs_what_it_cost_then() -> None:
    first, second, third = days_of(1)
    stay = first.leavers[0].stay
    assert charge_of(first, stay) == charge_of(second, stay) == charge_of(third, stay)
    assert charge_of(first, stay).left_at == first.at(stay.charged_minute)


# What is done once a day.


def jobs_between(since: datetime, until: datetime) -> int:
    return len(daily_jobs(since, until))


def test_what_is_done_daily_is_done_once_however_often_the_clock_is_set() -> None:
    minutes = [STARTS_AT + timedelta(minutes=10 * number) for number in range(6 * 24 * 3 + 1)]
    assert sum(jobs_between(*pair) for pair in pairwise(minutes)) == 3 * len(DAILY) == jobs_between(minutes[0], minutes[-1])


def test_a_time_counts_for_the_step_that_reaches_it_and_no_job_is_due_without_a_last_time() -> None:
    nine = STARTS_AT.replace(hour=9)
    half = nine + timedelta(minutes=30)
    assert (jobs_between(nine, half), jobs_between(half, half + timedelta(minutes=1)), jobs_between(half, half)) == (1, 0, 0)
    assert daily_jobs(None, half) == []


# What takes events.


def message(number: str, kind: str, secret: bytes, serial: str = "S1") -> tuple[dict[str, str], bytes]:
    body = msgspec.json.encode({"type": kind, "data": {"kind": kind, "charge_serial": serial, "lot_code": "LX-0001"}})
    signed = f"{number}.1.".encode() + body
    signature = b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    return {"webhook-id": number, "webhook-timestamp": "1", "webhook-signature": f"v1,{signature}"}, body


def numbers(*, lost: bool) -> list[str]:
    return [str(number) for number in range(200) if is_lost(str(number)) == lost]


@pytest.fixture
def receiver() -> Receiver:
    made = Receiver()
    made.knows("whsec_" + b64encode(b"k" * 32).decode())
    return made


def post(receiver: Receiver, number: str, kind: str, secret: bytes = b"k" * 32) -> int:
    with receiver:
        headers, body = message(number, kind, secret)
        return httpx.post(receiver.url, content=body, headers=headers, trust_env=False).status_code


def test_a_message_with_a_wrong_signature_is_refused_and_counted(receiver: Receiver) -> None:
    assert post(receiver, numbers(lost=False)[0], "debt.opened", secret=b"x" * 32) == 401
    assert receiver.heard() == Heard({}, {}, lost=0, wrong=1)


def test_events_count_once_in_the_order_of_their_first_coming_and_lost_ones_are_to_be_sent_again(receiver: Receiver) -> None:
    kept, lost = numbers(lost=False)[:2], numbers(lost=True)[0]
    came = [(kept[0], "debt.opened"), (lost, "debt.reduced"), (lost, "debt.reduced"), (kept[1], "debt.settled"), (kept[0], "again")]
    statuses = [receiver.take(*message(number, kind, b"k" * 32)) for number, kind in came]
    assert statuses == [204, 503, 204, 204, 204]
    order = ["debt.opened", "debt.reduced", "debt.settled"]
    assert receiver.heard() == Heard(dict.fromkeys(order, 1), {("LX-0001", "S1"): order}, lost=1, wrong=0)


@pytest.mark.parametrize(
    ("pushed", "wrong"),
    [(["debt.settled", "debt.opened"], 0), (["debt.opened"], 0), ([], 0), (["debt.opened", "debt.settled"], 1)],
)
def test_events_that_are_missing_or_in_another_order_or_badly_signed_end_the_day(pushed: list[str], wrong: int) -> None:
    charge = ("LX-0001", "S1")
    with pytest.raises(DoorClosed):
        check(Heard({}, {charge: pushed} if pushed else {}, lost=0, wrong=wrong), {charge: ["debt.opened", "debt.settled"]})


# What the summary says.


def summary(**changes: Any) -> Summary:
    sums: dict[str, Any] = {"opened": {}, "states": {}, "paid": {}, "ageing": {}, "recoveries": {}, "shares": {}, "deductions": {}}
    debts = {"owed": {"debts": 1, "owed_fen": 500}, "receivable_fen": 500, "letters": 0, **sums}
    matching = {"bills": 1, "refused": 0, "bill_lines": 3, "matched": 3, "matched_fen": 900, "differences": {}}
    books = {"entries": 3, "root": "", "trial_balance_sha256": "", "debit_fen": 0, "credit_fen": 0}
    counted = {"states", "ways", "treatments", "evidence", "messages", "cases", "refunds"}
    said: dict[str, Any] = {
        "seed": 1, "day": "2026-03-02", "payments": 3, "seen": {}, "books": books, "matching": {"etc": matching}, "cards": {},
        "invariants_broken": [], "debts": debts | {"credit_notes": {"count": 0, "amount_fen": 0}}, **{name: {} for name in counted},
    }  # fmt: skip
    for name, change in changes.items():
        said[name] = said.get(name, {}) | change if isinstance(change, dict) else change
    return msgspec.convert(said, Summary)


def test_nothing_is_wrong_where_books_bills_and_debts_agree() -> None:
    assert summary().wrong() == []


def test_whatever_does_not_agree_is_a_sentence() -> None:
    broken = [{"invariant": "R-01", "detail": "a book is not even"}]
    differs = {"alipay": {"bills": 1, "refused": 0, "bill_lines": 1, "matched": 0, "matched_fen": 0, "differences": {"missing": 2}}}
    assert summary(invariants_broken=broken).wrong() == ["R-01  a book is not even"]
    assert summary(matching=differs).wrong() == ["the bills of alipay differ from the book: missing 2"]
    assert summary(debts={"receivable_fen": 600}).wrong() == ["the books carry 600 fen as receivables, and debts owe 500"]


def test_records_are_added_field_by_field() -> None:
    one, two = Counts(charges=1, wallets={"wechat inside": 2}), Counts(charges=4, wallets={"alipay browser": 1, "wechat inside": 1})
    one.cards.records = 3
    total = added([one, two])
    assert (total.charges, total.wallets, total.cards.records) == (5, {"wechat inside": 3, "alipay browser": 1}, 3)


# What is taken back.


def test_issuers_take_back_a_few_deductions_in_a_week_of_the_day_before_and_of_the_same_day() -> None:
    plans = days_of(4, 7, 200)
    found = [(plan.number, one) for plan in plans for one in plan.taken_back]
    assert [number for number, _ in found] == [1, 3, 5]
    for number, one in found:
        paid_on = number if number == 3 else number - 1
        assert one.stay in plans[paid_on].stays
        assert one.stay.mandate is not None
        assert (one.stay.mandate.channel, one.stay.mandate.takes) == ("etc", True)
        assert one.minute in plans[number].minutes()
        assert number != paid_on or one.minute >= one.stay.charged_minute + BOOKED_AFTER_MINUTES
        assert one.minute < UNTIL_MINUTE


@pytest.mark.parametrize("channels", [("alipay", "unionpay", "wechat"), ("wechat",)])
def test_where_there_is_no_etc_nothing_is_taken_back(channels: tuple[str, ...]) -> None:
    assert [plan.taken_back for plan in days_of(4, 7, 200, channels)] == [()] * 7


def test_a_single_day_takes_nothing_back() -> None:
    assert days_of(4, days=1, payments=200)[0].taken_back == ()


def test_what_was_taken_back_and_is_not_booked_so_is_a_sentence() -> None:
    told = summary(seen={"taken_back": {"etc": 3}}, taken_back={"etc": 2})
    assert told.wrong() == ["channels took back {'etc': 3}, and the book has {'etc': 2}"]
    assert summary(seen={"taken_back": {"etc": 3}}, taken_back={"etc": 3}).wrong() == []
