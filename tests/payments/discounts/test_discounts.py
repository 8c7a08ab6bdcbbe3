"""Validations and coupons on real charges: what they take off, who bears it, and when it is taken off again."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from gateways.parking.quotes import LotQuote
from ledger.errors import Conflict, NotFound, Refused
from payments.discounts import effects, grants
from payments.discounts.grants import CouponRefused, NewValidation
from payments.owed import debts
from payments.owed.debts import Left
from payments.quoting import taking
from payments.splitting import rules
from payments.splitting.rules import NewLeg, NewRule
from tests.payments.conftest import AT, IDS, make_attempt
from tests.payments.discounts.conftest import DAY, Town


def end_due(town: Town) -> int:
    return effects.end_due(town.db, lane=0, at=town.at, ids=IDS)


def why(town: Town, *args: Any, **other: Any) -> str:
    with pytest.raises(CouponRefused) as refused:
        town.use(*args, **other)
    return refused.value.code


def test_a_validation_waits_for_its_charge_and_lowers_it_when_it_comes(town: Town) -> None:
    town.offer()
    [told] = town.validate()
    assert (told.outcome, told.standing, told.taken_off_fen) == ("created", "waiting", 0)
    assert town.stands(town.post()) == ("open", 500, 700)


def test_a_validation_lowers_a_charge_that_is_there(town: Town) -> None:
    town.offer()
    charge_id = town.post()
    [told] = town.validate()
    assert (told.outcome, told.standing, told.taken_off_fen) == ("created", "on", 500)
    event = json.loads(bytes(town.value("select body from payments.outbox")))
    assert (event["kind"], event["amount_fen"], event["owed_fen"]) == ("charge.discounted", 500, 700)
    assert town.stands(charge_id) == ("open", 500, 700)
    [again] = town.validate()
    assert (again.outcome, again.standing, again.taken_off_fen) == ("already", "on", 500)
    assert town.stands(charge_id) == ("open", 500, 700)


def test_a_stay_may_be_named_instead_of_its_plate(town: Town) -> None:
    town.offer()
    charge_id = town.post("S1")
    town.post("S2", entered_at=AT - timedelta(hours=1))
    [told] = town.validate(NewValidation(serial="V1", offer="M5", stay_serial="S1"))
    assert told.standing == "on"
    assert town.stands(charge_id)[1] == 500


def test_each_record_is_answered_and_good_ones_stand(town: Town) -> None:
    town.offer()
    town.offer("OLD", valid_until=AT)
    town.offer("THERE", lots=("lot-2",))
    given = [
        NewValidation(serial="V1", offer="M5", plate="苏B12345"),
        NewValidation(serial="V2", offer="NONE", plate="苏B12345"),
        NewValidation(serial="V3", offer="OLD", plate="苏B12345"),
        NewValidation(serial="V4", offer="THERE", plate="苏B12345"),
        NewValidation(serial="V5", offer="M5", plate="X"),
        NewValidation(serial="V6", offer="M5"),
        NewValidation(serial="V7", offer="M5", stay_serial="S9"),
        NewValidation(serial="V8", offer="M5", plate="苏B12345", valid_until=AT),
        NewValidation(serial="V1", offer="M5", plate="苏B54321"),
    ]
    told = town.validate(*given)
    assert [one.reason for one in told] == [
        None, "discount_not_found", "discount_over", "discount_elsewhere", "plate_invalid", "plate_or_stay", "stay_unknown",
        "time_invalid", "content_differs",
    ]  # fmt: skip
    assert town.value("select count(*) from payments.discount_grant") == 1


def test_the_bearer_owes_what_was_taken_off_once_the_driver_has_paid(town: Town) -> None:
    town.offer()
    charge_id = town.post()
    town.validate()
    assert town.follow() == 0
    town.pay(charge_id)
    assert town.follow() == 1
    assert town.value("select amount_fen from payments.bearer_line") == 500
    assert town.stands(charge_id) == ("settled", 500, 0)
    assert town.value("select sum(amount_fen) from ledger.posting where credit_account = 600101") == 1200


def test_a_plain_discount_has_no_bearer_and_income_is_what_was_paid(town: Town) -> None:
    town.offer(bearer=None)
    charge_id = town.post()
    town.validate()
    town.pay(charge_id)
    assert town.follow() == 0
    assert town.value("select count(*) from payments.borne_part") == 0
    assert town.value("select sum(amount_fen) from ledger.posting where credit_account = 600101") == 700


def test_a_charge_that_is_covered_is_let_off_its_car_released_and_its_bearer_owes_it_at_once(town: Town) -> None:
    town.offer()
    town.offer("M9", off_fen=900)
    charge_id = town.post()
    town.validate()
    town.validate(serial="V2", offer="M9")
    assert town.stands(charge_id) == ("waived", 1200, 0)
    told = "select string_agg(distinct kind, ',' order by kind) from payments.outbox"
    assert town.value(told) == "charge.discounted,release.granted"
    assert town.follow() == 2
    assert town.value("select sum(amount_fen) from payments.bearer_line") == 1200
    with pytest.raises(Conflict):
        town.cancel()


def test_a_validation_is_taken_back_while_nobody_has_paid(town: Town) -> None:
    town.offer()
    charge_id = town.post()
    town.validate()
    assert town.cancel().standing == "cancelled"
    assert town.cancel().standing == "cancelled"
    assert town.stands(charge_id) == ("open", 0, 1200)
    assert end_due(town) == 0
    town.pay(charge_id)
    assert town.follow() == 0
    [again] = town.validate()
    assert again.standing == "cancelled"


def test_a_validation_that_somebody_pays_with_is_not_taken_back(town: Town) -> None:
    town.offer()
    charge_id = town.post()
    town.validate()
    town.begin_to_pay(charge_id)
    with pytest.raises(Conflict, match="paid"):
        town.cancel()
    with pytest.raises(NotFound):
        town.cancel(client="mall-2")
    assert town.stands(charge_id) == ("open", 500, 700)


def test_while_somebody_pays_the_price_stays_and_a_validation_waits(town: Town) -> None:
    town.offer()
    charge_id = town.post()
    due = town.begin_to_pay(charge_id)
    [told] = town.validate()
    assert told.standing == "waiting"
    assert town.stands(charge_id) == ("open", 0, 1200)
    with town.db.begin() as tx:
        tx.execute(text("update payments.payment set state = 'closed' where payment_id = :id"), {"id": due.attempt.payment_id})
    assert end_due(town) == 1
    assert town.stands(charge_id) == ("open", 500, 700)


def test_a_debt_is_left_alone_and_one_that_was_lowered_before_is_owed_net(town: Town) -> None:
    town.offer()
    lowered, owed = town.post("S1"), town.post("S2", plate="苏B54321")
    town.validate()
    left = [Left(lowered, "policy", AT), Left(owed, "policy", AT)]
    with town.db.begin() as tx:
        debts.open_debts(tx, lane=0, left=left, evidence_id=IDS.new(AT, "exit"), at=AT, ids=IDS)
    [told] = town.validate(serial="V2", plate="苏B54321")
    assert told.standing == "waiting"
    assert town.stands(owed) == ("open", 0, 1200)
    assert town.value("select sum(owed_fen) from payments.debt") == 1900
    assert town.follow() == 1


def test_a_coupon_lowers_a_charge_once_and_is_released_when_nobody_pays(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=800)
    coupon, first, second = town.issue(), town.post("S1"), town.post("S2", entered_at=AT - timedelta(hours=1))
    used = town.use(coupon, first)
    assert (used.fen, used.owed_fen) == (800, 400)
    assert town.use(coupon, first).owed_fen == 400
    assert why(town, coupon, second) == "coupon_used"
    town.at = AT + effects.HOLD_FOR
    assert end_due(town) == 1
    assert town.stands(first) == ("open", 0, 1200)
    assert town.use(coupon, second).owed_fen == 400
    town.pay(second)
    town.at += DAY
    assert end_due(town) == 0
    assert town.stands(second) == ("settled", 800, 0)


def test_a_coupon_somebody_is_paying_with_is_held_on(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=800)
    charge_id = town.post()
    town.use(town.issue(), charge_id)
    town.begin_to_pay(charge_id)
    town.at = AT + effects.HOLD_FOR
    assert end_due(town) == 0
    assert town.stands(charge_id) == ("open", 800, 400)


def test_each_coupon_that_takes_nothing_off_says_why(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=800, group="g")
    town.offer("C9", "coupon", off_fen=900, group="g")
    town.offer("SOON", "coupon", valid_from=AT + DAY)
    town.offer("THERE", "coupon", lots=("lot-2",))
    charge_id = town.post()
    best = town.issue("C9")
    wrong = grants.Coupon(best.grant_id, "AAAA-BBBB-CCCC-DDDD")
    assert why(town, wrong, charge_id) == "coupon_unknown"
    assert why(town, town.issue("SOON"), charge_id) == "coupon_over"
    assert why(town, town.issue("THERE"), charge_id) == "coupon_elsewhere"
    assert why(town, best, charge_id, lot=1) == "coupon_closed"
    late = town.issue("C8")
    town.use(best, charge_id)
    assert why(town, late, charge_id) == "coupon_no_better"
    other = town.issue("C8")
    town.begin_to_pay(charge_id)
    assert why(town, other, charge_id) == "coupon_busy"
    town.pay(charge_id)
    assert why(town, other, charge_id) == "coupon_closed"
    assert town.value("select sum(used) from payments.discount_grant") == 1


def test_a_better_coupon_takes_the_place_of_what_may_not_stand_beside_it(town: Town) -> None:
    town.offer(group="g")
    town.offer("C8", "coupon", off_fen=800, group="g", bearer=None)
    charge_id = town.post()
    town.validate()
    assert town.use(town.issue(), charge_id).owed_fen == 400
    assert town.value("select used from payments.discount_grant where serial = 'V1'") == 0
    town.at = AT + effects.HOLD_FOR
    assert end_due(town) == 2  # the coupon goes off, and the validation comes back
    assert town.stands(charge_id) == ("open", 500, 700)


def test_percents_are_reckoned_anew_when_fen_go_off(town: Town) -> None:
    town.offer("HALF", off_bps=5_000, cap_fen=10_000)
    town.offer("C8", "coupon", off_fen=800)
    charge_id = town.post()
    town.validate(offer="HALF")
    assert town.stands(charge_id) == ("open", 600, 600)
    assert town.use(town.issue(), charge_id).owed_fen == 200
    town.at = AT + effects.HOLD_FOR
    end_due(town)
    assert town.stands(charge_id) == ("open", 600, 600)


def test_limits_of_uses_in_all_and_per_plate_hold(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=100, plate_uses_max=1)
    town.offer("TWO", "coupon", off_fen=100, uses_max=2)
    first = town.post("S1")
    second = town.post("S2", entered_at=AT - timedelta(hours=1))
    other = town.post("S3", plate="苏B54321")
    town.use(town.issue(), first)
    assert why(town, town.issue(), second) == "coupon_used"
    town.use(town.issue(), other)
    many = town.issue("TWO", uses=9)
    town.use(many, first)
    town.use(many, second)
    assert why(town, many, other) == "coupon_used"


def test_two_phones_with_one_coupon_use_it_once(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=800)
    coupon = town.issue()
    dues = [town.post(f"S{number}", entered_at=AT - timedelta(minutes=30 + number)) for number in range(4)]

    def use(place: int) -> str:
        try:
            town.use(coupon, dues[place])
        except CouponRefused as refused:
            return refused.code
        return "on"

    with ThreadPoolExecutor(4) as threads:
        told = sorted(threads.map(use, range(4)))
    assert told == ["coupon_used"] * 3 + ["on"]


def test_a_payer_and_a_coupon_at_the_same_moment_never_pay_another_price(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=800)
    charge_id, coupon = town.post(), town.issue()
    with town.db.begin() as paying:
        paying.execute(text("select 1 from payments.charge where charge_id = :id for update"), {"id": charge_id})
        with ThreadPoolExecutor(1) as threads:
            told = threads.submit(why, town, coupon, charge_id)
            make_attempt(paying, town.lots[0], charge_id, at=AT)
            paying.commit()
            assert told.result() == "coupon_busy"
    assert town.stands(charge_id) == ("open", 0, 1200)


def test_a_stay_with_several_payees_is_lowered_in_proportion_and_each_bearers_part_is_its_payees(town: Town) -> None:
    legs = (
        NewLeg(operator="op-2", share_bps=2_500, words="充电费", words_en="charging"),
        NewLeg(operator="op-1", share_bps=7_500, words="停车费", words_en="parking"),
    )
    rule = NewRule(lot="lot-1", valid_from=AT - DAY, document="agreement 7", leg=legs)
    with town.db.begin() as tx:
        rules.add_rule(tx, lane=0, rule=rule, at=AT, ids=IDS)
    town.offer(off_fen=501)
    town.post()
    town.validate()
    query = "select string_agg(reduced_fen::text, ',' order by lot_serial) from payments.charge"
    assert town.value(query) == "125,376"
    assert town.value("select sum(used) from payments.discount_grant") == 1
    assert town.value("select count(distinct operator_id) from payments.borne_part") == 2


def test_codes_are_kept_as_digests_and_read_however_they_are_typed(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=800)
    coupon = town.issue()
    assert len(coupon.code.replace("-", "")) * 5 >= 64
    assert grants.digest_of(coupon.code.lower().replace("-", " ")) == grants.digest_of(coupon.code)
    assert town.value(f"select count(*) from payments.discount_grant g where g::text like '%{coupon.code}%'") == 0


def test_an_offer_is_entered_once_sealed_and_never_changed(town: Town) -> None:
    assert town.offer() == town.offer()
    with pytest.raises(Conflict):
        town.offer(off_fen=600)
    with pytest.raises(Refused, match="exactly one"):
        town.offer("X", off_bps=100, off_fen=1, cap_fen=5)
    with pytest.raises(Refused, match="cap"):
        town.offer("X", off_bps=100)
    with pytest.raises(NotFound):
        town.offer("X", bearer="nobody")
    with pytest.raises(NotFound):
        town.issue("NONE")
    with pytest.raises(Refused, match="kind"):
        town.issue("M5")


def test_a_stay_that_began_later_is_not_lowered_by_an_old_validation(town: Town) -> None:
    town.offer()
    town.validate()
    town.at = AT + timedelta(hours=3)
    charge_id = town.post(entered_at=AT + timedelta(hours=1))
    assert town.stands(charge_id) == ("open", 0, 1200)


def test_checks_find_what_is_not_taken_off(town: Town) -> None:
    town.offer()
    town.post()
    town.validate()
    with town.db.begin() as tx:
        tx.execute(text("update payments.charge set reduced_fen = 400"))
        tx.execute(text("update payments.discount_grant set used = 0"))
    found = town.broken()
    assert sum("discounts take 500 fen off" in one for one in found) == 1
    assert sum("counts for 0 stays" in one for one in found) == 1
    with town.db.begin() as tx:
        tx.execute(text("update payments.charge set reduced_fen = 500"))
        tx.execute(text("update payments.discount_grant set used = 1"))


def quote(serial: str, amount_fen: int, at: Any) -> LotQuote:
    return LotQuote(
        serial=serial, stay_serial="P1", plate="苏B12345", entered_at=AT - timedelta(hours=2), minutes=120, amount_fen=amount_fen,
        tariff_text="每小时6元", valid_until=at + timedelta(minutes=15),
    )  # fmt: skip


def ask(town: Town, serial: str, amount_fen: int) -> UUID:
    """The driver looks, and the lot names a price; returns its charge."""
    with town.db.begin() as tx:
        given = [quote(serial, amount_fen, town.at)]
        evidence = IDS.new(town.at, "evidence")
        taking.take(
            tx,
            lane=0,
            lot=town.lots[0],
            plate="苏B12345",
            quotes=given,
            evidence_id=evidence,
            asked_at=town.at,
            at=town.at,
            ids=IDS,
        )
        charge_id: UUID = tx.execute(
            text("select charge_id from payments.charge where lot_serial = :serial"), {"serial": serial}
        ).scalar_one()
    return charge_id


def test_a_validation_follows_the_price_of_a_stay_from_one_answer_of_the_lot_to_the_next(town: Town) -> None:
    town.offer()
    first = ask(town, "Q1", 1200)
    [told] = town.validate()
    assert told.standing == "waiting"  # a price of the moment changes only while its driver looks
    assert ask(town, "Q1", 1200) == first
    assert town.stands(first) == ("open", 500, 700)
    second = ask(town, "Q2", 1800)
    assert town.stands(first) == ("credited", 1200, 0)
    assert town.stands(second) == ("open", 500, 1300)
    assert town.value("select used from payments.discount_grant") == 1


def test_a_coupon_goes_on_to_the_next_price_of_the_stay(town: Town) -> None:
    town.offer("C8", "coupon", off_fen=800)
    town.use(town.issue(), ask(town, "Q1", 1200))
    town.at = AT + timedelta(minutes=5)
    second = ask(town, "Q2", 1800)
    assert town.stands(second) == ("open", 800, 1000)
    town.at = AT + effects.HOLD_FOR
    assert end_due(town) == 1
    assert town.stands(second) == ("open", 0, 1800)
