"""Claims on bearers: made once when the driver's part is booked, in every book that they concern, returned when it is cancelled."""

import msgspec
import pytest
from sqlalchemy import text

from app.checks import violations
from ledger.db import engine
from ledger.errors import Conflict, NotFound, Refused
from payments.bearers import bearers, following, parts
from payments.bearers.following import Done
from payments.splitting import wording
from tests.payments.bearers.conftest import CLAIM, COST, INCOME, OWED, Town
from tests.payments.conftest import AT, IDS, new_charge


def test_a_bearer_is_claimed_from_when_the_driver_has_paid_and_not_before(town: Town) -> None:
    town.rule()
    group = town.post()
    assert (town.follow().claimed, town.lines()) == (0, [])
    town.pay(group)
    assert (town.follow().claimed, town.lines()) == (1, [("mall", "S1", 500)])
    assert (town.balance("op-1", CLAIM), town.balance("op-1", INCOME)) == (500, -1200)
    assert town.follow() == Done(read=1, claimed=0, returned=0), "the claim's own entry is read, and makes nothing"
    assert town.follow().read == 0


def test_a_car_that_left_first_makes_the_claim_and_its_payment_no_second_one(town: Town) -> None:
    town.rule()
    group = town.post()
    town.leave(group)
    assert town.follow().claimed == 1
    town.pay(group)
    assert (town.follow().claimed, town.balance("op-1", CLAIM), town.balance("op-1", INCOME)) == (0, 500, -1200)


def test_a_charge_that_is_borne_in_full_is_claimed_without_any_payment(town: Town) -> None:
    town.rule()
    group = town.post("S1", "S2", amount_fen=400)
    assert (group.charge_ids, town.follow().claimed) == ([], 2)
    assert (town.balance("op-1", CLAIM), town.follow().claimed) == (800, 0)


def test_a_bearer_with_a_book_shows_the_cost_and_the_debt(town: Town) -> None:
    town.rule("city")
    town.earned("S1")
    assert (town.balance("city", COST), town.balance("city", OWED), town.balance("op-1", CLAIM)) == (500, -500, 500)
    town.correct()
    assert town.follow().returned == 1
    assert (town.balance("city", COST), town.balance("city", OWED), town.balance("op-1", CLAIM)) == (0, 0, 0)


def test_an_operator_that_bears_a_part_of_its_own_stay_owes_itself_nothing(town: Town) -> None:
    town.rule("own")
    town.earned("S1")
    town.post("S2", amount_fen=400)
    assert (town.follow().claimed, town.lines(), town.balance("op-1", INCOME)) == (0, [], -700)


def test_an_operator_may_bear_what_another_is_owed(town: Town) -> None:
    town.rule("own", payee="op-2")
    assert town.earned("S1").claimed == 1, "earned with the driver's charge, though that is another payee's"
    assert (town.balance("op-2", CLAIM), town.balance("op-1", OWED), town.balance("op-1", COST)) == (500, -500, 500)
    assert (town.balance("op-1", INCOME), town.balance("op-2", INCOME)) == (-700, -500)


@pytest.mark.parametrize("paid", [True, False])
def test_a_cancelled_charge_returns_the_claim_once(town: Town, paid: bool) -> None:
    town.rule()
    group = town.post()
    (town.pay if paid else town.leave)(group)
    town.follow()
    town.correct()
    assert (town.follow().returned, town.lines()) == (1, [("mall", "S1", 500), ("mall", "S1", -500)])
    assert (town.balance("op-1", CLAIM), town.follow().returned) == (0, 0)


def test_paid_and_cancelled_before_anybody_has_read_it_is_claimed_and_returned(town: Town) -> None:
    town.rule()
    town.pay(town.post())
    town.correct()
    done = town.follow()
    assert (done.claimed, done.returned, town.balance("op-1", CLAIM)) == (1, 1, 0)


def test_a_charge_cancelled_at_the_gate_is_never_claimed(town: Town) -> None:
    town.rule()
    town.post()
    town.correct()
    assert (town.follow().claimed, town.lines()) == (0, [])


def test_a_reduction_is_the_drivers_and_the_bearer_owes_what_it_owed(town: Town) -> None:
    town.rule()
    town.earned("S1")
    town.correct(kind="reduce", amount_fen=700)
    assert (town.follow().returned, town.lines()) == (0, [("mall", "S1", 500)])


def test_a_replaced_charge_returns_its_claim_and_the_new_bill_makes_one_of_its_own(town: Town) -> None:
    town.rule()
    town.leave(town.post())
    town.follow()
    town.correct(kind="replace", new=new_charge("S9", amount_fen=900, left_at=AT))
    done = town.follow()
    assert (done.claimed, done.returned) == (1, 1)
    assert town.lines() == [("mall", "S1", 500), ("mall", "S1", -500), ("mall", "S9", 500)]


def test_a_second_payment_claims_nothing_more(town: Town) -> None:
    town.rule()
    town.pay(town.post(), times=2)
    assert (town.follow().claimed, town.lines()) == (1, [("mall", "S1", 500)])


def test_reading_leaf_by_leaf_finds_the_same_as_reading_at_once(town: Town) -> None:
    town.rule("city")
    groups = [town.post(serial) for serial in ("S1", "S2", "S3")]
    for group in groups:
        town.pay(group)
    town.correct()
    town.seal()
    steps = 0
    while True:
        with town.db.begin() as tx:
            done = following.step(tx, lane=0, at=AT, leaves_max=1)
        steps += 1
        if not done.more:
            break
    assert steps >= 4
    town.seal()
    assert town.lines() == [("city", "S1", 500), ("city", "S1", -500), ("city", "S2", 500), ("city", "S3", 500)]


def test_a_run_that_was_broken_off_leaves_nothing_half_done(town: Town) -> None:
    town.rule()
    town.pay(town.post())
    town.seal()
    with town.db.connect() as tx:
        tx.begin()
        assert following.step(tx, lane=0, at=AT).claimed == 1
        tx.rollback()
    assert (town.lines(), town.follow().claimed) == ([], 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("delete from payments.bearer_line", "was earned and is not claimed"),
        ("update payments.bearer_line set amount_fen = 499", "of its 1 entries"),
        ("update payments.bearer_line set returned = true", "was never made"),
        ("update payments.borne_part set amount_fen = 499", "and the part is not"),
        ("delete from payments.borne_part", "borne by somebody and not noted so"),
    ],
)
def test_what_somebody_changed_by_hand_is_found(town: Town, database: str, change: str, says: str) -> None:
    town.rule()
    town.earned("S1")
    owner = engine(database, role=None)
    with owner.connect() as tx:
        tx.begin()
        tx.execute(text("set local session_replication_role = replica"))
        tx.execute(text(change))
        assert any(says in one.detail for one in violations(tx))
        tx.rollback()
    owner.dispose()


# Bearers, and parts of other grounds than splits.


def test_a_bearer_is_registered_once_and_named_to_the_payer(town: Town) -> None:
    with town.db.begin() as tx:
        assert bearers.register(tx, code="mall", name="示例商场", document="agreement mall", at=AT) == town.mall
        with pytest.raises(Conflict):
            bearers.register(tx, code="mall", name="另一商场", document="agreement mall", at=AT)
        with pytest.raises(Conflict):
            bearers.register(tx, code="city-2", name="平台", document="agreement", party="city", at=AT)
        with pytest.raises(Refused):
            bearers.register(tx, code="shop", name=" ", document="agreement", at=AT)
        with pytest.raises(NotFound):
            bearers.register(tx, code="shop", name="店", document="agreement", party="nobody", at=AT)
    town.rule()
    assert "示例商场 5.00 元" in wording.words(town.post(), acts=1).zh


def test_a_rule_that_names_a_bearer_nobody_registered_is_refused(town: Town) -> None:
    with pytest.raises(NotFound) as refused:
        town.rule("malll")
    assert refused.value.code == "bearer_not_found"


def coupon(town: Town, charge_id: object, number: int = 1) -> parts.BornePart:
    source_id = IDS.new(AT, "coupon")
    return parts.BornePart(
        part_id=IDS.new(AT, "borne part"), source="coupon", source_id=source_id, number=number, bearer="mall",
        operator_id=town.lots[0].operator_id, lot_id=town.lots[0].lot_id, lot_serial="S1", charge_id=charge_id,  # type: ignore[arg-type]
        amount_fen=100, document_id=source_id, happened_at=AT,
    )  # fmt: skip


def test_a_part_that_a_coupon_lets_be_borne_is_claimed_the_same_way(town: Town) -> None:
    town.rule("own")
    group = town.post()
    with town.db.begin() as tx:
        parts.note(tx, lane=0, parts=[coupon(town, group.charge_ids[0]), coupon(town, None)], at=AT)
    assert town.follow().claimed == 1, "what nothing is due of"
    town.pay(group)
    assert (town.follow().claimed, town.balance("op-1", CLAIM)) == (1, 200)


def test_a_part_of_an_unknown_bearer_is_a_defect_and_not_lost(town: Town) -> None:
    with town.db.begin() as tx, pytest.raises(ValueError, match="1 parts name bearers"):
        parts.note(tx, lane=0, parts=[msgspec.structs.replace(coupon(town, None), bearer="nobody")], at=AT)
