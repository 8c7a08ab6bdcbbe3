"""Who is where on the way to one code, and who is behind."""

from datetime import date, timedelta
from typing import Any

from sqlalchemy import text

from payments.codes import registry
from payments.codes.records import Place
from payments.lot_records import takings
from payments.lot_records.takings import NewTaking
from payments.orders import RandomTokens
from payments.rollout import legacy_codes, policy, progress
from payments.rollout.legacy_codes import NewLegacyCode
from payments.rollout.policy import NewRule
from payments.rollout.progress import Progress
from tests.payments.conftest import AT, IDS
from tests.payments.incentive.conftest import City

DAY = date(2026, 3, 2)


def require(town: City, requires: Any, since: date = DAY - timedelta(days=30), **place: Any) -> None:
    rule = NewRule(requires=requires, valid_from=since, document="通知 1", **place)
    with town.db.begin() as tx:
        policy.enter(tx, rules=[rule], at=AT)


def legacy_money(town: City, lot: int, *, days_ago: int = 1) -> None:
    given = NewTaking(
        serial=f"T{lot}-{days_ago}", channel="legacy", amount_fen=500, taken_at=AT - timedelta(days=days_ago), evidence_text="1"
    )
    with town.db.begin() as tx:
        takings.post(tx, lane=0, lot=town.lots[lot], takings=[given], body=b"%d" % days_ago, at=AT, ids=IDS, tokens=RandomTokens())


def old_code(town: City, lot: int, **other: Any) -> None:
    said: dict[str, Any] = {"first_day": date(2024, 1, 1), "document": "协议"} | other
    code = NewLegacyCode(serial="Q1", payload=f"https://x.example/{lot}", kind="wechat", **said)
    with town.db.begin() as tx:
        legacy_codes.post(tx, lane=0, lot=town.lots[lot], codes=[code], body=b"{}", at=AT, ids=IDS)


def behind(town: City, day: date = DAY) -> list[str]:
    with town.db.connect() as tx:
        return [one.lot_code for one in progress.overdue(tx, day=day)]


def report(town: City, day: date = DAY) -> list[Progress]:
    with town.db.connect() as tx:
        return progress.report(tx, day=day)


def post_code(town: City, lot: int) -> None:
    """The lot's city code hangs: it is paid with."""
    town.paid(lot=lot)


def test_lots_are_counted_per_district_and_kind(town: City) -> None:
    post_code(town, 0)
    legacy_money(town, 1)
    old_code(town, 1)
    with town.db.begin() as tx:
        tx.execute(text("update payments.operator set regime = 'social' where code = 'op-2'"))
    require(town, "city_code_required")
    assert report(town) == [
        Progress(
            district="梁溪区", regime="government", lots=1, berths=100, on_code=1, berths_on_code=100, on_legacy=0, registered=0,
            overdue=0, berths_overdue=0,
        ),
        Progress(
            district="梁溪区", regime="social", lots=1, berths=100, on_code=0, berths_on_code=0, on_legacy=1, registered=1,
            overdue=1, berths_overdue=100,
        ),
    ]  # fmt: skip
    with town.db.connect() as tx:
        assert progress.report(tx, day=DAY, district="江阴市") == []


def test_without_rules_and_where_lots_are_invited_nobody_is_behind(town: City) -> None:
    legacy_money(town, 0)
    assert behind(town) == []
    require(town, "invited")
    assert behind(town) == []


def test_a_lot_is_behind_from_the_day_of_the_rule_until_its_code_hangs(town: City) -> None:
    post_code(town, 1)
    require(town, "parallel", DAY)
    assert (behind(town, DAY - timedelta(days=1)), behind(town)) == ([], ["lot-1"])
    post_code(town, 0)
    assert behind(town) == []


def test_an_old_code_beside_the_citys_is_behind_only_where_the_citys_is_the_only_one(town: City) -> None:
    for lot in (0, 1):
        post_code(town, lot)
    legacy_money(town, 0)
    require(town, "city_code_required")
    assert behind(town) == []
    require(town, "city_code_only", lot_id=town.lots[0].lot_id)
    assert behind(town) == ["lot-1"]
    [one] = _behind(town)
    assert (one.requires, one.since, one.document, one.on_code, one.on_legacy) == (
        "city_code_only", DAY - timedelta(days=30), "通知 1", True, True,
    )  # fmt: skip


def _behind(town: City) -> list[progress.Behind]:
    with town.db.connect() as tx:
        return progress.overdue(tx, day=DAY)


def test_money_that_came_over_an_old_code_before_the_rule_began_or_long_ago_does_not_count(town: City) -> None:
    for lot in (0, 1):
        post_code(town, lot)
    legacy_money(town, 0, days_ago=5)
    legacy_money(town, 1, days_ago=40)
    require(town, "city_code_only", DAY - timedelta(days=4))
    assert behind(town) == []
    assert [one.on_legacy for one in report(town)] == [1]


def test_an_old_code_that_is_registered_for_the_day_is_behind_and_one_that_ended_is_not(town: City) -> None:
    for lot in (0, 1):
        post_code(town, lot)
    old_code(town, 0)
    old_code(town, 1, last_day=DAY - timedelta(days=1))
    require(town, "city_code_only")
    assert behind(town) == ["lot-1"]


def test_a_lot_is_on_the_code_when_the_registry_says_that_one_hangs_and_no_more_when_all_are_over(town: City) -> None:
    require(town, "city_code_required", lot_id=town.lots[0].lot_id)
    with town.db.begin() as tx:
        [code] = registry.issue(tx, lot=town.lots[0], batch="1", places=[Place("lot", "")], by="wang", at=AT)
    assert behind(town) == ["lot-1"]
    with town.db.begin() as tx:
        registry.post(tx, code_nos=[code.code_no], by="li", at=AT)
    assert (behind(town), behind(town, DAY - timedelta(days=1))) == ([], ["lot-1"])
    post_code(town, 0)
    with town.db.begin() as tx:
        registry.retire(tx, code_nos=[code.code_no], reason="torn", by="li", at=AT)
    assert behind(town) == ["lot-1"]


def test_a_lot_whose_code_is_paid_with_is_on_it_though_nobody_noted_that_it_hangs(town: City) -> None:
    require(town, "city_code_required", lot_id=town.lots[0].lot_id)
    with town.db.begin() as tx:
        registry.issue(tx, lot=town.lots[0], batch="1", places=[Place("lot", "")], by="wang", at=AT)
    post_code(town, 0)
    assert behind(town) == []
