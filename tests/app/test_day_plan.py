"""The plan of a simulated day: a matter of the seed alone, and rich enough to meet every kind of trouble."""

from datetime import datetime
from itertools import pairwise

import pytest

from app.day.cards import charge_of, record
from app.day.command import Progress, free_ports
from app.day.doors import forms
from app.day.draw import draw
from app.day.drive import Counts
from app.day.faults import answering, failing_again, faults
from app.day.plan import BAD_DEBT_MINUTE, LAST_MINUTE, LATE_LANE_MINUTE, Plan, Tap
from app.demo import FREE_MINUTES, LOTS, operator_of
from gateways.etc.record import PackingRules, form_faults, precheck
from gateways.sandbox.shapes import FaultKind
from gateways.unionpay.wire import CUT_OVER
from ledger.clock import CHINA, business_date
from payments import plates

PACKED_WITHIN = 20
"""Minutes: a quarter of an hour, then the next look."""
STARTS_AT = datetime(2026, 3, 2, 6, 0, tzinfo=CHINA)
CHANNELS = ("alipay", "etc", "unionpay", "wechat")


def plan_of(seed: int, payments: int = 500, channels: tuple[str, ...] = CHANNELS) -> Plan:
    return draw(seed=seed, payments=payments, starts_at=STARTS_AT, channels=channels)


def taps_of(plan: Plan) -> list[Tap]:
    return [tap for stay in plan.stays for tap in stay.taps]


def test_the_same_seed_gives_the_same_day_and_another_seed_another() -> None:
    assert plan_of(1) == plan_of(1)
    assert plan_of(1).stays != plan_of(2).stays


@pytest.mark.parametrize("payments", [1, 2, 3, 40, 501])
def test_money_is_taken_exactly_as_often_as_asked(payments: int) -> None:
    assert {plan_of(seed, payments).payments for seed in range(20)} == {payments}


def test_some_people_pay_twice_and_some_give_up() -> None:
    taps = [[tap.pays_minute is not None for tap in stay.taps] for stay in plan_of(1).stays]
    assert [True, True] in taps
    assert [False] in taps


def test_two_phones_never_order_the_same_charge_in_the_same_minute() -> None:
    for stay in plan_of(1, 2000).stays:
        assert len({tap.minute for tap in stay.taps}) == len({tap.payer for tap in stay.taps}) == len(stay.taps)


def test_everybody_orders_after_the_charge_and_pays_after_the_order() -> None:
    for stay in plan_of(1, 2000).stays:
        for tap in stay.taps:
            assert stay.charged_minute <= tap.minute <= (tap.minute if tap.pays_minute is None else tap.pays_minute)


def test_every_stay_owes_something_and_has_a_plate_of_its_own_that_can_exist() -> None:
    stays = [stay for stay in plan_of(1, 2000).stays if not stay.is_free]
    assert min(stay.stayed_minutes for stay in stays) > FREE_MINUTES
    assert [plates.checked(stay.plate) for stay in stays] == [stay.plate for stay in stays]
    together = sum(len(basket.serials) - 1 for basket in plan_of(1, 2000).baskets)
    assert len({stay.plate for stay in stays}) == len(stays) - together
    assert {stay.lot_code for stay in stays} == {lot.code for lot in LOTS}


def test_some_charges_are_deducted_most_by_etc_and_those_refused_are_paid_by_hand() -> None:
    plan = plan_of(1)
    mandated = [stay for stay in plan.stays if stay.mandate is not None]
    taken = [stay.mandate.channel for stay in mandated if stay.mandate and stay.mandate.takes]
    assert len(taken) == 40
    assert set(taken) == {"alipay", "etc", "wechat"}
    assert taken.count("etc") > len(taken) / 2
    assert {len(stay.taps) for stay in mandated if stay.mandate and stay.mandate.takes} == {0}
    assert {len(stay.taps) for stay in mandated if stay.mandate and not stay.mandate.takes} == {1}
    refused = [stay.mandate.answer for stay in mandated if stay.mandate and not stay.mandate.takes]
    assert (refused.count("refused"), refused.count("listed")) == (10, 10)
    assert all(stay.mandate is None for stay in plan_of(1, channels=("unionpay",)).stays)
    assert {stay.mandate.channel for stay in plan_of(1, channels=("wechat",)).stays if stay.mandate} == {"wechat"}


def test_some_drivers_pay_by_card_where_there_are_lanes() -> None:
    carded = [stay for stay in plan_of(1).stays if stay.card is not None]
    assert len(carded) == 40
    assert {lot.scene for lot in LOTS if lot.code in {stay.lot_code for stay in carded}} <= {"gate", "shared", "charging"}
    assert {(stay.mandate, len(stay.taps)) for stay in carded} == {(None, 0), (None, 1)}
    assert len({stay.card.issuer_no for stay in carded if stay.card}) == 2
    assert all(stay.card is None for stay in plan_of(1, channels=("alipay", "unionpay", "wechat")).stays)


@pytest.mark.parametrize(("payments", "twice", "bad"), [(10, 0, 0), (25, 0, 1), (50, 1, 1), (500, 2, 1)])
def test_one_card_is_never_paid_and_one_or_two_drivers_pay_by_card_and_by_hand(payments: int, twice: int, bad: int) -> None:
    carded = [stay for stay in plan_of(1, payments).stays if stay.card is not None]
    ends = [(stay.is_free, stay.card.is_bad, len(stay.taps)) for stay in carded if stay.card]
    assert (ends.count((False, True, 1)), ends.count((False, False, 1)), ends.count((True, False, 0))) == (bad, twice, twice)
    assert len(ends) == bad + 2 * twice + ends.count((False, False, 0))


def test_a_card_s_record_comes_once_it_has_paid_and_a_bad_debt_is_paid_when_it_is_known() -> None:
    for stay in plan_of(1, 2000).stays:
        if stay.card is None:
            continue
        assert stay.charged_minute <= stay.card.brought_minute
        if stay.card.is_bad:
            assert stay.card.brought_minute < BAD_DEBT_MINUTE < stay.taps[0].minute
        else:
            assert all((tap.pays_minute or 0) < stay.card.brought_minute for tap in stay.taps)
            assert stay.card.brought_minute + PACKED_WITHIN < LATE_LANE_MINUTE


def test_every_record_of_a_card_can_be_sent_and_has_a_number_of_its_own() -> None:
    plan = plan_of(1, 4000)
    made = [record(stay, charge_of(plan, stay), lot_no="3202000001") for stay in plan.stays if stay.card is not None]
    rules = PackingRules(own_network="3201", lots_active=frozenset({"3202000001"}))
    assert {form_faults(one) for one in made} == {()}
    assert {precheck(one, rules=rules, now=plan.at(LAST_MINUTE)) for one in made} == {()}
    assert len({one.charge_id for one in made}) == len(made)
    assert sorted(one.fee_fen for one in made)[:3] == [0, 0, 200]


def test_lots_tell_of_a_car_after_it_came_and_before_it_leaves() -> None:
    for stay in plan_of(1, 2000).stays:
        entered = stay.charged_minute - stay.stayed_minutes
        assert max(0, entered) <= stay.told_minute < stay.charged_minute or stay.charged_minute <= stay.stayed_minutes
        assert stay.told_minute == 0 or stay.told_minute - entered < 10


def test_some_plates_go_from_operator_to_operator_and_pay_together_at_the_end() -> None:
    plan = plan_of(1)
    stays = {stay.serial: stay for stay in plan.stays}
    assert len(plan.baskets) == 15
    assert {basket.wallet.channel for basket in plan.baskets} == {"alipay", "unionpay", "wechat"}
    assert {len(basket.serials) for basket in plan.baskets} == {2, 3}
    for basket in plan.baskets:
        tour = [stays[serial] for serial in basket.serials]
        assert {(stay.plate, stay.taps, stay.mandate) for stay in tour} == {(basket.plate, (), None)}
        assert len({operator_of(stay.lot_code) for stay in tour}) == len(tour)
        assert basket.minute >= tour[-1].charged_minute
        for before, after in pairwise(tour):
            assert before.charged_minute < after.charged_minute - after.stayed_minutes


def test_the_whole_day_lies_on_one_business_date() -> None:
    plan = plan_of(1)
    minutes = plan.minutes()
    assert minutes == sorted(set(minutes))
    assert minutes[-1] == LAST_MINUTE
    assert business_date(plan.at(0)) == business_date(plan.at(LAST_MINUTE))


def test_payers_have_wallets_of_the_citys_channels_in_their_app_or_not() -> None:
    kinds = {(tap.wallet.channel, tap.wallet.inside) for tap in taps_of(plan_of(1))}
    assert kinds == {("wechat", True), ("wechat", False), ("alipay", True), ("alipay", False), ("unionpay", False)}
    assert {tap.wallet.channel for tap in taps_of(plan_of(1, channels=("wechat",)))} == {"wechat"}


@pytest.mark.parametrize("payments", [50, 500])
def test_operators_refund_some_payments_of_every_wallet_by_hand_but_no_second_ones(payments: int) -> None:
    plan = plan_of(1, payments)
    returned = [(stay, tap) for stay in plan.stays for tap in stay.taps if tap.returned is not None]
    assert {tap.wallet.channel for _, tap in returned} == {"wechat", "alipay", "unionpay"}
    assert all(len(stay.taps) == 1 for stay, _ in returned)


def test_money_moves_before_any_channel_ends_its_day() -> None:
    for tap in taps_of(plan_of(1, 2000)):
        moments = [tap.pays_minute or 0] + ([] if tap.returned is None else [tap.returned.minute])
        assert max(moments) < (CUT_OVER.hour - STARTS_AT.hour) * 60
        assert tap.returned is None or tap.returned.minute > (tap.pays_minute or 0)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_that_answers_again_does_everything_else_wrong_as_before(channel: str) -> None:
    plan = faults(channel)
    assert failing_again(answering(plan)) == plan
    changed = [one.kind for one, other in zip(plan.faults, answering(plan).faults, strict=True) if one != other]
    assert changed == [FaultKind.UNKNOWN]
    assert (FaultKind.SIGNTEST in {fault.kind for fault in plan.faults}) == (channel == "wechat")


def test_the_forms_of_a_page_are_read_as_a_browser_reads_them() -> None:
    page = (
        '<form action="/a?x=1&amp;y=2"><input type="hidden" name="charge" value="7"><button>pay</button>'
        '<button name="channel" value="wechat"><button name="channel" value="alipay"></form><form action="/b">'
    )
    found = [(form.action, form.fields, form.wallets) for form in forms(page)]
    assert found == [("/a?x=1&y=2", {"charge": "7"}, ("wechat", "alipay")), ("/b", {}, ())]


def test_two_free_ports_are_two_ports() -> None:
    assert len(set(free_ports().values())) == 3


def test_progress_speaks_once_an_hour_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(1, 40)
    progress = Progress(plan)
    for minute in range(0, 180, 10):
        progress(minute, Counts(taken=minute // 10))
    assert [line[:5] for line in capsys.readouterr().err.splitlines()] == ["06:00", "07:00", "08:00"]
