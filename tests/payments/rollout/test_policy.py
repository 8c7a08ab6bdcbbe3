"""What is required of a lot on a day: the sentences of Wuxi's plan, and which of several rules counts."""

import itertools
from datetime import date, timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import Connection, text

from config.settings import ROLLOUT
from ledger.errors import Conflict, Refused
from payments.lots import Regime
from payments.rollout import policy
from payments.rollout.policy import NewRule, Rule, rule_of
from tests.payments.conftest import AT, make_city

PLAN = policy.read((ROLLOUT / "wuxi-2025.toml").read_bytes())
RULES = [
    Rule(rule_id=number, requires=one.requires, valid_from=one.valid_from, document=one.document, district=one.district,
         regime=one.regime)
    for number, one in enumerate(PLAN, 1)
]  # fmt: skip
URBAN = ("梁溪区", "滨湖区", "新吴区", "锡山区", "惠山区", "经开区")
STATE: tuple[Regime, ...] = ("government", "soe")
REGIMES: tuple[Regime, ...] = get_args(Regime)


def required(district: str, regime: str, day: str) -> str | None:
    found = rule_of(RULES, lot_id=1, district=district, regime=regime, day=date.fromisoformat(day))
    return None if found is None else found.requires


def test_before_the_plan_nothing_is_required() -> None:
    assert required("梁溪区", "government", "2025-03-16") is None


@pytest.mark.parametrize(("district", "regime"), list(itertools.product(URBAN, STATE)))
def test_state_owned_lots_are_on_the_code_by_the_end_of_2025(district: str, regime: str) -> None:
    days = ("2025-03-17", "2025-12-31", "2026-01-01", "2026-12-31")
    assert [required(district, regime, day) for day in days] == ["invited", "invited", "city_code_required", "city_code_required"]


@pytest.mark.parametrize(("district", "regime"), list(itertools.product(URBAN, STATE)))
def test_those_of_the_urban_districts_are_on_the_one_code_alone_by_the_end_of_2026(district: str, regime: str) -> None:
    assert [required(district, regime, day) for day in ("2026-12-31", "2027-01-01")] == ["city_code_required", "city_code_only"]


@pytest.mark.parametrize(("district", "regime"), list(itertools.product(("江阴市", "宜兴市"), STATE)))
def test_jiangyin_and_yixing_run_both_codes(district: str, regime: str) -> None:
    assert [required(district, regime, day) for day in ("2026-01-01", "2027-01-01", "2030-01-01")] == ["parallel"] * 3


@pytest.mark.parametrize("district", [*URBAN, "江阴市", "宜兴市"])
def test_social_lots_are_invited_everywhere_and_so_is_whoever_is_not_named(district: str) -> None:
    for regime in ("social", "institution"):
        assert [required(district, regime, day) for day in ("2025-03-17", "2027-01-01")] == ["invited", "invited"]


def test_every_rule_of_the_plan_names_its_document() -> None:
    assert {one.document for one in PLAN} == {"锡政办发〔2025〕12号 §二(四)"}


def made(number: int, requires: Any, **place: Any) -> Rule:
    said: dict[str, Any] = {"valid_from": date(2026, 1, 1), "document": "x"} | place
    return Rule(rule_id=number, requires=requires, **said)


def test_the_most_special_rule_counts_and_then_the_latest() -> None:
    rules = [
        made(1, "invited", valid_from=date(2026, 3, 1)),
        made(2, "parallel", regime="soe", valid_from=date(2026, 2, 1)),
        made(3, "city_code_required", district="梁溪区"),
        made(4, "city_code_only", district="梁溪区", regime="soe"),
        made(5, "invited", district="梁溪区", regime="soe", valid_from=date(2026, 2, 1)),
        made(6, "parallel", lot_id=7),
    ]

    def counts(lot_id: int, district: str, regime: str, day: date) -> int | None:
        found = rule_of(rules, lot_id=lot_id, district=district, regime=regime, day=day)
        return None if found is None else found.rule_id

    late, early = date(2026, 3, 1), date(2026, 1, 1)
    assert [counts(7, "梁溪区", "soe", late), counts(1, "梁溪区", "soe", late), counts(1, "梁溪区", "soe", early)] == [6, 5, 4]
    assert [counts(1, "梁溪区", "social", late), counts(1, "滨湖区", "soe", late), counts(1, "滨湖区", "social", late)] == [3, 2, 1]
    assert counts(1, "滨湖区", "social", early) is None


def test_postgresql_chooses_the_same_rule_as_the_pure_function(tx: Connection) -> None:
    lot = make_city(tx)
    special = NewRule(requires="parallel", valid_from=date(2026, 6, 1), document="x", lot_id=lot.lot_id)
    policy.enter(tx, rules=[*PLAN, special], at=AT)
    kept = policy.rules(tx)
    days = [date(2025, 3, 16) + timedelta(days=61 * n) for n in range(14)]
    query = text(f"""
        select r.rule_id from (select cast(:lot as integer) as lot_id, cast(:district as text) as district) l,
             (select cast(:regime as text) as regime) o cross join lateral ({policy.IN_FORCE}) r
        """)
    for lot_id, district, regime, day in itertools.product((lot.lot_id, 99), (*URBAN[:1], "江阴市"), REGIMES, days):
        found = rule_of(kept, lot_id=lot_id, district=district, regime=regime, day=day)
        given = {"lot": lot_id, "district": district, "regime": regime, "day": day}
        assert tx.execute(query, given).scalar() == (None if found is None else found.rule_id), given


def test_a_plan_is_entered_once_and_never_changed(tx: Connection) -> None:
    assert (policy.enter(tx, rules=PLAN, at=AT), policy.enter(tx, rules=PLAN, at=AT)) == (len(PLAN), 0)
    with pytest.raises(Conflict) as conflict:
        policy.enter(tx, rules=[NewRule(requires="parallel", valid_from=date(2025, 3, 17), document="x")], at=AT)
    assert conflict.value.code == "rollout_rule_conflict"
    assert len(policy.rules(tx)) == len(PLAN)


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"document = 1", b'document = "x"\n[[rules]]\nrequires = "soon"\nvalid_from = 2026-01-01', b"x" * 300_000],
)
def test_a_file_that_is_none_of_rules_is_refused(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        policy.read(content)
    assert refused.value.code == "rollout_rule_invalid"


@pytest.mark.parametrize("other", [{"document": " "}, {"lot_id": 1, "district": "梁溪区"}])
def test_a_rule_without_document_or_of_two_places_is_refused(tx: Connection, other: dict[str, Any]) -> None:
    said: dict[str, Any] = {"requires": "invited", "valid_from": date(2026, 1, 1), "document": "x"} | other
    with pytest.raises(Refused):
        policy.enter(tx, rules=[NewRule(**said)], at=AT)
