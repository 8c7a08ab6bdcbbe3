"""A stay that others pay wholly is corrected: the driver owes nothing, and its bearers owe nothing any more."""

from datetime import timedelta
from uuid import UUID

import pytest

from payments.amends import corrections
from payments.amends.corrections import Corrected
from payments.discounts import effects, grants
from payments.splitting import rules
from payments.splitting.rules import NewLeg, NewRule
from tests.payments.amends.test_corrections import EVIDENCE, SIGNER, asked
from tests.payments.conftest import AT, IDS, new_charge
from tests.payments.discounts.conftest import DAY, Town
from tests.payments.discounts.test_merchants import enter, give


def correct(town: Town, serial: str = "K1", charge: str = "S1", **other: object) -> Corrected:
    with town.db.begin() as tx:
        [told] = corrections.post(
            tx, lane=0, lot=town.lots[0], corrections=[asked(serial, charge, **other)], evidence_id=EVIDENCE, signer=SIGNER,
            at=town.at, ids=IDS,
        )  # fmt: skip
    return told


def covered(town: Town, **other: object) -> UUID:
    town.offer("ALL", **({"free_up_to_fen": 5000} | other))
    charge_id = town.post()
    town.validate(offer="ALL")
    assert town.stands(charge_id) == ("waived", 1200, 0)
    return charge_id


def owed(town: Town) -> int:
    query = "select coalesce(sum(case when returned then -amount_fen else amount_fen end), 0) from payments.bearer_line"
    return int(town.value(query))


@pytest.mark.parametrize("claimed", [True, False])
def test_a_cancelled_stay_takes_back_the_claim_whether_it_was_made_yet_or_not(town: Town, claimed: bool) -> None:
    charge_id = covered(town)
    if claimed:
        assert (town.follow(), owed(town)) == (1, 1200)
    told = correct(town)
    assert (told.outcome, told.amount_fen, told.credited_fen, told.refunded_fen) == ("created", 1200, 1200, 0)
    assert town.stands(charge_id) == ("credited", 1200, 0)
    assert town.broken() == []
    town.follow()
    assert owed(town) == 0
    assert town.value("select count(*) from payments.bearer_line") == 2
    income = "select sum(case when credit_account = 600101 then amount_fen else -amount_fen end) from ledger.posting"
    assert town.value(income + " where 600101 in (credit_account, debit_account)") == 0
    town.follow()
    assert town.value("select count(*) from payments.bearer_line") == 2
    assert correct(town).outcome == "already"
    assert correct(town, "K2").reason == "nothing_left"


def test_what_the_operator_bears_itself_is_credited_without_a_claim(town: Town) -> None:
    charge_id = covered(town, bearer=None)
    assert correct(town).credited_fen == 1200
    assert town.stands(charge_id) == ("credited", 1200, 0)
    town.follow()
    assert owed(town) == 0


def test_a_new_bill_meets_the_validation_again(town: Town) -> None:
    covered(town)
    town.follow()
    told = correct(town, kind="replace", new=new_charge("S1b", amount_fen=900, minutes=90, entered_at=AT - timedelta(minutes=90)))
    assert told.outcome == "created"
    assert effects.end_due(town.db, lane=0, at=town.at, ids=IDS) == 1
    assert town.value("select state from payments.charge where lot_serial = 'S1b'") == "waived"
    town.follow()
    assert owed(town) == 900


def test_what_was_withdrawn_meanwhile_does_not_count_again(town: Town) -> None:
    town.offer("ALL", free_up_to_fen=5000)
    giver = enter(town, offers=("ALL",))
    town.post()
    give(town, giver, "苏B12345", offer="ALL")
    with town.db.begin() as tx:
        assert grants.withdraw(tx, lane=0, giver=giver, serial="V0", at=town.at, ids=IDS).state == "withdrawn"
    new = new_charge("S1b", amount_fen=900, minutes=90, entered_at=AT - timedelta(minutes=90))
    assert correct(town, kind="replace", new=new).outcome == "created"
    assert effects.end_due(town.db, lane=0, at=town.at, ids=IDS) == 0
    assert town.value("select state from payments.charge where lot_serial = 'S1b'") == "open"


def test_it_cannot_be_reduced_and_what_was_only_lowered_is_corrected_as_ever(town: Town) -> None:
    covered(town)
    assert correct(town, kind="reduce", amount_fen=100).reason == "covered_in_full"
    town.offer("M5")
    other = town.post("S2", plate="苏B20001")
    town.validate(serial="V2", plate="苏B20001")
    assert correct(town, "K2", "S2").credited_fen == 700
    assert town.stands(other) == ("credited", 1200, 0)


def test_of_a_stay_of_two_payees_one_is_corrected_and_the_other_stays_covered(town: Town) -> None:
    legs = (
        NewLeg(operator="op-2", share_bps=5_000, words="充电费", words_en="charging"),
        NewLeg(operator="op-1", share_bps=5_000, words="停车费", words_en="parking"),
    )
    with town.db.begin() as tx:
        rule = NewRule(lot="lot-1", valid_from=AT - DAY, document="agreement 7", leg=legs)
        rules.add_rule(tx, lane=0, rule=rule, at=AT, ids=IDS)
    town.offer("ALL", free_up_to_fen=5000)
    town.post()
    town.validate(offer="ALL")
    town.follow()
    assert owed(town) == 1200
    assert correct(town, charge="S1#1").credited_fen == 600
    town.follow()
    assert owed(town) == 600
    assert town.value("select used from payments.discount_grant") == 1
    assert correct(town, "K2", "S1#2").credited_fen == 600
    town.follow()
    assert (owed(town), town.value("select used from payments.discount_grant")) == (0, 0)
