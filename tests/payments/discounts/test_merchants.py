"""What merchants may give, their limits, and what they learn of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from ledger import documents
from ledger.errors import NotAllowed, NotFound, Refused
from payments.discounts import clerks, effects, grants, merchants
from payments.discounts.grants import NewValidation
from payments.discounts.merchants import Giver, NewMerchant
from tests.payments.conftest import AT, IDS
from tests.payments.discounts.conftest import DAY, Town
from tests.payments.owed.owing import MAKER

KEY = b"k" * 32


def enter(town: Town, **other: Any) -> Giver:
    said: dict[str, Any] = {
        "code": "cinema", "name": "示例影院", "name_en": "Cinema", "bearer": "mall", "offers": ("M5",), "lots": ("lot-1",),
        "document": "agreement 7", "valid_from": AT - DAY, "valid_until": AT + 300 * DAY,
    } | other  # fmt: skip
    with town.db.begin() as tx:
        return Giver(merchants.add(tx, lane=0, merchant=NewMerchant(**said), by=MAKER, at=AT, ids=IDS))


def give(town: Town, giver: Giver, *plates: str, first: int = 0, offer: str = "M5") -> list[str | None]:
    wanted = [NewValidation(serial=f"V{first + place}", offer=offer, plate=plate) for place, plate in enumerate(plates)]
    with town.db.begin() as tx:
        told = grants.validate(
            tx, lane=0, lot=town.lots[0], client_id=giver.client_id, validations=wanted, at=town.at, ids=IDS, giver=giver
        )  # fmt: skip
    return [one.reason for one in told]


@pytest.mark.parametrize(
    ("limits", "given"),
    [
        ({"day_max": 2}, 2), ({"month_max": 1}, 1), ({"day_fen_max": 1_499}, 2), ({"month_fen_max": 1_000}, 2), ({}, 4),
        ({"plate_day_max": 1}, 3),
    ],
)  # fmt: skip
def test_limits_hold_within_a_call_and_over_calls(town: Town, limits: dict[str, int], given: int) -> None:
    town.offer()
    giver = enter(town, **limits)
    told = give(town, giver, "苏B12345", "苏B20001") + give(town, giver, "苏B12345", "苏B20002", first=2)
    assert told.count(None) == given
    assert {one for one in told if one is not None} <= {"merchant_limit", "merchant_plate_limit"}
    assert give(town, giver, "苏B12345", "苏B20001") == told[:2]  # what was given before is not counted again


@pytest.mark.parametrize(("serials", "told"), [((0, 1), [None, "merchant_limit"]), ((0, 0), [None, None])])
def test_two_counters_at_one_moment_keep_a_limit_and_a_double_tap_is_one(
    town: Town, serials: tuple[int, int], told: list[str | None]
) -> None:
    town.offer()
    giver = enter(town, day_max=1)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda first: give(town, giver, "苏B12345", first=first), serials))
    assert sorted((one for [one] in answers), key=str) == sorted(told, key=str)
    assert town.value("select count(*) from payments.discount_grant") == 1


def test_limits_begin_anew_with_the_day_and_the_month(town: Town) -> None:
    town.offer(valid_until=AT + 300 * DAY)
    giver = enter(town, day_max=1, month_max=2)
    told: list[str | None] = []
    for days in (0, 0, 1, 2, 30):
        town.at = AT + days * DAY
        told += give(town, giver, "苏B12345", first=len(told))
    assert told == [None, "merchant_limit", None, "merchant_limit", None]


def test_once_a_validation_can_count_no_more_its_real_fen_are_counted(town: Town) -> None:
    town.offer(valid_until=AT + 300 * DAY)
    giver = enter(town, month_fen_max=1_000)
    assert give(town, giver, "苏B12345", "苏B20001", "苏B20002") == [None, None, "merchant_limit"]
    town.at = AT + 2 * DAY  # nobody came
    assert give(town, giver, "苏B20003", "苏B20004", first=3) == [None, None]


def test_what_is_withdrawn_while_somebody_pays_goes_off_when_nobody_did(town: Town) -> None:
    town.offer()
    giver = enter(town)
    charge_id = town.post()
    give(town, giver, "苏B12345")
    town.begin_to_pay(charge_id)

    def withdraw() -> str:
        with town.db.begin() as tx:
            return grants.withdraw(tx, lane=0, giver=giver, serial="V0", at=town.at, ids=IDS).state

    assert withdraw() == "withdrawn"
    assert effects.end_due(town.db, lane=0, at=town.at, ids=IDS) == 0
    assert town.stands(charge_id)[1] == 500
    with town.db.begin() as tx:
        tx.exec_driver_sql("update payments.payment set state = 'closed'")
    assert effects.end_due(town.db, lane=0, at=town.at, ids=IDS) == 1
    assert town.stands(charge_id) == ("open", 0, 1200)
    assert effects.end_due(town.db, lane=0, at=town.at, ids=IDS) == 0
    assert withdraw() == "withdrawn"


def test_another_merchant_or_counter_neither_sees_nor_withdraws(town: Town) -> None:
    town.offer()
    giver, other = enter(town), enter(town, code="other")
    give(town, giver, "苏B12345")
    with town.db.begin() as tx:
        clerk = clerks.make(tx, lane=0, merchant="cinema", name="前台", valid_until=AT + DAY, by=MAKER, at=AT, ids=IDS)
        for stranger in (other, Giver(giver.merchant, clerk.clerk_id)):
            assert grants.listed(tx, lane=0, giver=stranger, limit=9, at=AT) == []
            with pytest.raises(NotFound):
                grants.withdraw(tx, lane=0, giver=stranger, serial="V0", at=AT, ids=IDS)
        assert [one.plate for one in grants.listed(tx, lane=0, giver=giver, limit=9, at=AT)] == ["苏B12345"]


def test_an_offer_or_a_lot_of_others_looks_like_none(town: Town) -> None:
    town.offer()
    town.offer("M9")
    giver = enter(town)
    assert give(town, giver, "苏B12345", offer="M9") == give(town, giver, "苏B12345", first=1, offer="NONE")
    elsewhere = enter(town, code="there", lots=("lot-2",))
    assert give(town, elsewhere, "苏B12345") == ["discount_elsewhere"]
    with town.db.begin() as tx:
        wanted = [NewValidation(serial="V1", offer="M5", stay_serial="S1")]
        [told] = grants.validate(tx, lane=0, lot=town.lots[0], client_id="x", validations=wanted, at=AT, ids=IDS, giver=giver)
    assert told.reason == "plate_or_stay"  # whether there is such a stay is not said


@pytest.mark.parametrize(
    "other",
    [
        {"bearer": None}, {"offers": ("C8",)}, {"code": "Cinema"}, {"name": ""}, {"valid_until": AT - DAY}, {"lots": ()},
        {"offers": ()},
        {"validation_fen_max": 499}, {"document": " "}, {"day_max": 0}, {"offers": ("H",), "day_fen_max": 5},
    ],
)  # fmt: skip
def test_a_merchant_that_cannot_stand_is_refused(town: Town, other: dict[str, Any]) -> None:
    town.offer()
    town.offer("C8", "coupon")
    town.offer("H", off_fen=None, free_minutes=60, minutes_else="refuse")
    with pytest.raises(Refused, match="cannot stand"):
        enter(town, **other)


def test_a_merchant_is_the_one_that_was_sealed(town: Town) -> None:
    town.offer()
    kept = enter(town, day_max=2).merchant
    with town.db.connect() as tx:
        assert merchants.check(tx) == []
        [sealed] = documents.find(tx, lane=0, document_ids=[kept.merchant_id])
    changed = msgspec.structs.replace(kept, day_max=3)
    assert (sealed == merchants.as_document(kept), sealed == merchants.as_document(changed)) == (True, False)


def test_a_link_is_of_its_key_and_its_time_and_ends_with_its_merchant(town: Town) -> None:
    town.offer()
    enter(town)
    with town.db.begin() as tx:
        made = clerks.make(tx, lane=0, merchant="cinema", name="前台", valid_until=AT + DAY, by=MAKER, at=AT, ids=IDS)
        secret = clerks.secret(made, KEY)
        assert clerks.read(secret, KEY, at=AT) == made.clerk_id
        for key, at in ((b"x" * 32, AT), (KEY, AT + DAY)):
            with pytest.raises(clerks.ClerkUnknown):
                clerks.read(secret, key, at=at)
        assert clerks.giver(tx, lane=0, clerk_id=made.clerk_id, at=AT)[0].clerk_id == made.clerk_id
        with pytest.raises(clerks.ClerkUnknown):
            clerks.giver(tx, lane=0, clerk_id=made.clerk_id, at=AT + DAY)
        merchants.end(tx, lane=0, code="cinema", document="notice 1", by=MAKER, at=AT)
        with pytest.raises(NotAllowed):
            clerks.giver(tx, lane=0, clerk_id=made.clerk_id, at=AT)
        for name, until in (("", AT + DAY), ("前台", AT), ("前台", AT + timedelta(days=401))):
            with pytest.raises(Refused):
                clerks.make(tx, lane=0, merchant="cinema", name=name, valid_until=until, by=MAKER, at=AT, ids=IDS)
