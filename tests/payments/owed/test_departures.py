"""Departures: a car leaves, and its charge is deducted, becomes a debt, or has to be paid first; against the stand-ins."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from gateways.sandbox.wechat.signing import Pair
from ledger.errors import Refused
from payments import charges, checkout
from payments.checkout import Payer
from payments.lots import Lot
from payments.mandates import deduction_plan
from payments.owed import departures, leaving
from payments.owed.departures import Departed, Departure
from payments.owed.leaving import NewRule
from payments.splitting import rules
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT, make_city, new_charge
from tests.payments.mandates.deducting import City, city


@pytest.fixture
def at(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with city(db, fresh_pair, tmp_path) as made:
        yield made


def depart(at: City, serial: str = "S1", **other: Any) -> tuple[str, str, int]:
    said: dict[str, Any] = {"charge_serial": serial, "left_at": AT} | other
    made = departures.depart(at.till, lot=at.lot, departure=Departure(**said), body=b"{}")
    return made.outcome, made.reason, made.owed_fen


def many(at: City, *gone: Departure) -> list[Departed]:
    return departures.depart_many(at.till, lot=at.lot, departures=gone, body=b"[]")


def admit(at: City, admits: Any = "everyone", **other: Any) -> None:
    said: dict[str, Any] = {
        "valid_from": AT, "document": "doc", "admits": admits, "debts_max": 3, "owed_fen_max": 30000, "overdue_days_max": 30,
        "checks_lists": True, "due_days": 30,
    } | other  # fmt: skip
    with at.db.begin() as tx:
        leaving.enter_rule(tx, rule=NewRule(**said), at=AT)


def debts(at: City) -> list[str]:
    return at.column("select basis || ' ' || owed_fen from payments.debt order by opened_at, charge_id")


def told(at: City) -> list[str]:
    return at.column("select kind from payments.outbox order by kind")


def tries(at: City) -> list[str]:
    return at.column(
        "select channel || ' ' || state || ' ' || coalesce(reason, '') from payments.deduction_try order by tried_at, channel"
    )


def planned(at: City) -> list[Any]:
    return at.column("select due_at from payments.deduction_plan")


# At the barrier


def test_a_charge_that_a_mandate_pays_opens_the_barrier(at: City) -> None:
    at.etc_plate(answer="paid")
    assert depart(at) == ("open", "deducted", 0)
    assert debts(at) == []
    assert told(at) == ["payment.succeeded", "release.granted"]


def test_a_charge_that_a_channel_took_on_is_owed_until_its_notice_and_the_barrier_opens(at: City) -> None:
    at.wechat_plate()
    at.enter()
    assert depart(at) == ("open", "deducted", 1200)
    assert debts(at) == ["mandate 1200"]
    at.later(seconds=5)
    at.deliver()
    assert debts(at) == ["mandate 0"]
    assert at.column("select debit_account || ' ' || credit_account from ledger.posting order by 1") == [
        "101201 112201", "112201 600101",
    ]  # fmt: skip
    assert depart(at) == ("open", "paid", 0)
    assert at.sound()


def test_who_has_no_mandate_pays_first(at: City) -> None:
    assert depart(at) == ("closed", "no_mandate", 1200)
    assert debts(at) == []
    assert told(at) == []


def test_where_everyone_may_leave_first_the_charge_is_a_debt_and_telling_it_again_changes_nothing(at: City) -> None:
    admit(at)
    assert depart(at) == ("open", "debt", 1200)
    assert depart(at) == ("open", "debt", 1200)
    assert debts(at) == ["policy 1200"]
    assert told(at) == ["debt.opened", "release.granted"]
    assert at.sound()


def test_a_car_that_broke_out_owes_its_charge(at: City) -> None:
    assert depart(at, gone=True) == ("open", "escaped", 1200)
    assert debts(at) == ["escaped 1200"]


def test_a_refused_deduction_leaves_a_debt_and_its_reason_and_is_planned_again(at: City) -> None:
    admit(at)
    at.etc_plate(answer="refused")
    assert depart(at) == ("open", "debt", 1200)
    assert debts(at) == ["mandate 1200"]
    assert [one.isoformat() for one in planned(at)] == ["2026-03-02T12:00:00+00:00"]


def test_a_charge_that_somebody_pays_by_hand_keeps_the_barrier_closed(at: City) -> None:
    admit(at)
    checkout.start(
        at.till, lot_id=at.lot.lot_id, charge_id=at.charge_id, token="t", channel="wechat", payer=Payer(payer_id="o-payer-1")
    )
    assert depart(at) == ("closed", "being_paid", 1200)
    assert depart(at, gone=True) == ("open", "debt", 1200)


def test_a_channel_that_says_nothing_keeps_the_barrier_closed_until_it_does(at: City) -> None:
    at.etc_plate(answer="unknown")
    assert depart(at) == ("closed", "being_deducted", 1200)
    at.later(seconds=10)
    at.deliver()
    assert depart(at)[:2] in (("open", "deducted"), ("open", "paid"))


def test_a_charge_may_come_with_the_departure_and_a_stay_that_costs_nothing_is_free(at: City) -> None:
    admit(at)
    assert depart(at, "S7", charge=new_charge("S7", amount_fen=300)) == ("open", "debt", 300)
    assert depart(at, "S8", charge=new_charge("S8", amount_fen=0)) == ("open", "free", 0)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"serial": "S9"}, "charge_unknown"),
        ({"left_at": AT + timedelta(hours=1)}, "time_in_future"),
        ({"left_at": AT - timedelta(hours=3)}, "left_before_entry"),
        ({"left_at": AT.replace(tzinfo=None)}, "time_invalid"),
        ({"left_at": AT - timedelta(days=2000)}, "too_old"),
        ({"charge": new_charge("S2")}, "serial_invalid"),
        ({"charge": new_charge("S1", amount_fen=900)}, "content_differs"),
        ({"serial": "S7", "charge": new_charge("S7", plate="XYZ")}, "plate_invalid"),
    ],
)
def test_a_departure_that_cannot_be_is_refused_with_its_reason(at: City, other: dict[str, Any], reason: str) -> None:
    assert depart(at, **other)[:2] == ("refused", reason)
    assert debts(at) == []


# Cars that have left


def test_cars_that_left_are_taken_together_and_a_wrong_one_stops_no_other(at: City) -> None:
    at.charge("S2", plate="苏B22222", amount_fen=500)
    admit(at)
    made = many(
        at,
        Departure(charge_serial="S1", left_at=AT),
        Departure(charge_serial="S2", left_at=AT),
        Departure(charge_serial="S3", left_at=AT),
        Departure(charge_serial="S4", left_at=AT, charge=new_charge("S4", plate="苏B44444", amount_fen=700)),
        Departure(charge_serial="S5", left_at=AT, charge=new_charge("S5", amount_fen=0)),
        Departure(charge_serial="S1", left_at=AT),
    )
    assert [(one.outcome, one.reason, one.owed_fen) for one in made] == [
        ("open", "debt", 1200), ("open", "debt", 500), ("refused", "charge_unknown", 0), ("open", "debt", 700), ("open", "free", 0),
        ("open", "debt", 1200),
    ]  # fmt: skip
    assert len(debts(at)) == 3
    again = many(at, Departure(charge_serial="S1", left_at=AT))
    assert (again[0].outcome, again[0].reason) == ("open", "debt")
    assert len(debts(at)) == 3
    assert at.sound()


def test_a_car_that_left_without_leave_has_escaped(at: City) -> None:
    [made] = many(at, Departure(charge_serial="S1", left_at=AT))
    assert (made.reason, debts(at)) == ("escaped", ["escaped 1200"])


def test_too_many_cars_in_one_call_are_refused(at: City) -> None:
    with pytest.raises(Refused) as refused:
        many(at, *[Departure(charge_serial="S1", left_at=AT)] * 10_001)
    assert refused.value.code == "too_many_departures"


# Deducted later


def known_mandate(at: City) -> None:
    """The plate's mandate was known before."""
    with at.db.begin() as tx:
        tx.execute(
            text("insert into payments.mandate select plate_id, 'etc', 'open', :at from payments.plate"), {"at": at.clock.now()}
        )


def test_a_debt_of_a_plate_with_a_mandate_is_deducted_within_moments(at: City) -> None:
    at.etc_plate(answer="paid")
    known_mandate(at)
    many(at, Departure(charge_serial="S1", left_at=AT))
    assert planned(at) == [AT]
    ran = deduction_plan.run_due(at.till)
    assert (ran.tried, ran.taken) == (1, 1)
    assert (debts(at), planned(at), tries(at)) == (["mandate 0"], [], ["etc succeeded "])
    assert at.sound()


def test_a_refusal_is_kept_and_tried_again_on_the_rules_days_until_the_last_one(at: City) -> None:
    at.etc_plate(answer="refused")
    known_mandate(at)
    many(at, Departure(charge_serial="S1", left_at=AT))
    times = []
    for _ in range(20):
        due = planned(at)
        if not due:
            break
        at.clock.set(max(due[0], at.clock.now()))
        times.append(at.clock.now())
        deduction_plan.run_due(at.till)
    assert [one.isoformat() for one in times[:4]] == [
        "2026-03-02T04:00:00+00:00", "2026-03-02T12:00:00+00:00", "2026-03-03T02:00:00+00:00", "2026-03-03T12:00:00+00:00",
    ]  # fmt: skip
    assert planned(at) == []
    assert all(line.startswith(("etc ", "wechat ", "alipay ")) for line in tries(at))
    assert any("etc failed" in line for line in tries(at))


def test_a_try_waits_while_somebody_pays_by_hand(at: City) -> None:
    at.etc_plate(answer="paid")
    known_mandate(at)
    many(at, Departure(charge_serial="S1", left_at=AT))
    checkout.start(
        at.till, lot_id=at.lot.lot_id, charge_id=at.charge_id, token="t", channel="wechat", payer=Payer(payer_id="o-payer-1")
    )
    ran = deduction_plan.run_due(at.till)
    assert (ran.tried, ran.waiting, ran.taken) == (1, 1, 0)
    assert tries(at) == [" waits payment_under_way"]
    assert planned(at) == [AT + deduction_plan.WAIT]


@pytest.mark.parametrize("stop", ["disputed_at = now()", "paused_until = '2026-03-20'"])
def test_what_is_disputed_or_paused_is_not_deducted(at: City, stop: str) -> None:
    at.etc_plate(answer="paid")
    known_mandate(at)
    many(at, Departure(charge_serial="S1", left_at=AT))
    with at.db.begin() as tx:
        tx.execute(text(f"update payments.debt set {stop}"))
    assert deduction_plan.run_due(at.till).tried == 0
    assert len(planned(at)) == 1
    assert at.states() == []


def test_a_mandate_that_comes_later_lets_old_debts_be_planned(at: City) -> None:
    many(at, Departure(charge_serial="S1", left_at=AT))
    assert planned(at) == []
    at.later(days=100)
    with at.db.begin() as tx:
        tx.execute(
            text("insert into payments.mandate select plate_id, 'etc', 'open', :at from payments.plate"), {"at": at.clock.now()}
        )
    assert deduction_plan.plan(at.till) == (1, None)
    assert planned(at) == [at.clock.now()]
    assert deduction_plan.plan(at.till) == (0, None)


def test_what_was_paid_meanwhile_is_forgotten(at: City) -> None:
    at.etc_plate(answer="paid")
    known_mandate(at)
    many(at, Departure(charge_serial="S1", left_at=AT))
    at.deduct()
    assert deduction_plan.run_due(at.till).tried == 0
    assert planned(at) == []


def test_what_an_owner_before_owes_is_never_taken_by_the_mandate_of_the_next_one(at: City) -> None:
    at.etc_plate(answer="paid")
    known_mandate(at)
    many(at, Departure(charge_serial="S1", left_at=AT))
    with at.db.begin() as tx:
        tx.execute(text("update payments.plate set held_since = :at"), {"at": AT - timedelta(minutes=30)})
    assert deduction_plan.run_due(at.till).tried == 0
    assert planned(at) == []
    assert deduction_plan.plan(at.till) == (0, None)
    at.charge("S2", entered_at=AT - timedelta(minutes=20))
    many(at, Departure(charge_serial="S2", left_at=AT))
    assert deduction_plan.run_due(at.till).taken == 1


# One stay, several payees


@pytest.fixture
def shared(at: City) -> Lot:
    """The lot's charges are cut: 30 % to an owner of berths, the rest to the operator."""
    with at.db.begin() as tx:
        other = make_city(tx, number=2)
        rule = rules.NewRule(
            lot=at.lot.code, valid_from=AT - timedelta(days=1), document="agreement 7",
            leg=(
                rules.NewLeg(operator=at.lot.operator_code, share_bps=7000, words="停车费", words_en="parking"),
                rules.NewLeg(operator=other.operator_code, share_bps=3000, words="泊位费", words_en="berth"),
            ),
        )  # fmt: skip
        rules.add_rule(tx, lane=0, rule=rule, at=AT, ids=at.ids)
    return other


def test_a_shared_berths_stay_is_owed_to_each_payee(at: City, shared: Lot) -> None:
    admit(at)
    assert depart(at, "S7", charge=new_charge("S7", amount_fen=1000)) == ("open", "debt", 1000)
    assert sorted(at.column("select operator_id || ' ' || owed_fen from payments.debt")) == [
        f"{at.lot.operator_id} 700", f"{shared.operator_id} 300",
    ]  # fmt: skip
    assert depart(at, "S7") == ("open", "debt", 1000)
    assert told(at) == ["debt.opened", "debt.opened", "release.granted"]
    [gone] = many(at, Departure(charge_serial="S8", left_at=AT, charge=new_charge("S8", plate="苏B88888", amount_fen=500)))
    assert (gone.reason, gone.owed_fen) == ("debt", 500)
    assert at.sound()


def test_a_stay_of_two_payees_of_whom_one_takes_etc_is_taken_and_owed(at: City, shared: Lot) -> None:
    admit(at)
    at.etc_plate(answer="paid")
    assert depart(at, "S7", charge=new_charge("S7", amount_fen=1000, plate_color="blue")) == ("open", "debt", 300)
    assert depart(at, "S7") == ("open", "debt", 300)
    assert at.sound()


def test_posting_a_cut_charge_again_is_the_same_and_another_amount_is_refused(at: City, shared: Lot) -> None:
    def post(**other: Any) -> list[str]:
        with at.db.begin() as tx:
            made = charges.post(
                tx, lane=0, lot=at.lot, charges=[new_charge("S9", **other), new_charge("S9", **other)], at=AT, ids=at.ids
            )
        return [one.outcome if one.reason is None else one.reason for one in made]

    assert post(number=4) == ["created", "already"]
    assert post(number=4) == ["already", "already"]
    assert post(amount_fen=7) == ["content_differs", "content_differs"]
    assert at.column("select number from payments.lot_record_number where series = 'charge'") == [4]


def test_a_price_that_another_one_replaced_opens_no_barrier(at: City) -> None:
    with at.db.begin() as tx:
        tx.execute(text("update payments.charge set state = 'credited', reduced_fen = amount_fen"))
        tx.execute(
            text("""
            insert into payments.charge_quote (charge_id, lane, lot_id, serial, stay_serial, valid_until, asked_at, evidence_id,
                                               superseded_at, superseded_by, superseded_fen, ended_at)
            select charge_id, 0, lot_id, lot_serial, 'stay 1', :at, :at, charge_id, :at, 'S2', amount_fen, :at from payments.charge
            """),
            {"at": AT},
        )
    made = departures.depart(at.till, lot=at.lot, departure=Departure(charge_serial="S1", left_at=AT), body=b"{}")
    assert (made.outcome, made.reason) == ("refused", "quote_superseded")
    assert "S2" in (made.detail or "")
