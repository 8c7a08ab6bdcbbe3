"""Splits: rules, the cut and its laws, and what becomes of a charge that is cut."""

import argparse
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, text

from app.commands import splits as splits_cli
from ledger import documents
from ledger.db import engine
from ledger.errors import Conflict, NotFound, Refused
from payments import charges, store
from payments.bearers import bearers
from payments.charge_store import Kept
from payments.lots import Lot
from payments.records import NewCharge, Posted
from payments.splitting import cutting, rules, splits, wording
from payments.splitting.rules import NewLeg, NewRule
from payments.splitting.split_store import Group, Leg, Rule
from tests.payments.conftest import AT, IDS, make_city, new_charge

PAGE = Path(__file__).parents[3] / "docs" / "SPLITS.md"


def share(bps: int, operator_id: int = 1, **other: Any) -> Leg:
    said: dict[str, Any] = {"basis": "share", "share_bps": bps, "words": "停车费", "words_en": "parking"} | other
    return Leg(number=operator_id, operator_id=operator_id, operator_code=f"op-{operator_id}", **said)


def energy(operator_id: int = 1) -> Leg:
    return share(0, operator_id, basis="energy", share_bps=None)


def fixed(fen: int, operator_id: int = 1) -> Leg:
    return share(0, operator_id, basis="fixed", share_bps=None, fixed_fen=fen)


CHARGING = [energy(2), fixed(50, 3), share(10_000, 1)]
EXAMPLES = {
    "shared berth: 70 % owner, 30 % operator": [share(7000, 1), share(3000, 2)],
    "three payees: 33.33 % + 33.33 % + 33.34 %": [share(3333, 1), share(3333, 2), share(3334, 3)],
    "halves": [share(5000, 1), share(5000, 2)],
    "energy, equipment 50, parking the rest": CHARGING,
}


# The cut.


def test_the_worked_examples_of_the_page_are_what_the_cut_gives() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+|–) \| ([\d +]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 7
    legs: list[Leg] = []
    for rule, whole, of_energy, parts in rows:
        legs = legs if rule == "the same" else EXAMPLES[rule]
        given_energy = None if of_energy == "–" else int(of_energy)
        assert cutting.cut(int(whole), legs, energy_fen=given_energy) == [int(part) for part in parts.split("+")]


@st.composite
def cases(draw: st.DrawFn, shares_max: int = 6) -> tuple[int, list[Leg], int | None]:
    weights = draw(st.lists(st.integers(1, 3000), min_size=1, max_size=shares_max))
    bps = [10_000 * weight // sum(weights) for weight in weights]
    bps[0] += 10_000 - sum(bps)
    legs = [share(one, place + 1) for place, one in enumerate(bps)]
    legs += [fixed(fen, 10 + place) for place, fen in enumerate(draw(st.lists(st.integers(1, 500), max_size=3)))]
    amount = draw(st.integers(1, 5_000_000))
    of_energy = draw(st.none() | st.integers(0, amount))
    return amount, legs + ([] if of_energy is None else [energy(20)]), of_energy


@given(cases())
def test_the_parts_sum_to_the_whole_and_no_share_is_off_by_a_fen(case: tuple[int, list[Leg], int | None]) -> None:
    amount, legs, of_energy = case
    parts = cutting.cut(amount, legs, energy_fen=of_energy)
    assert sum(parts) == amount
    assert all(part >= 0 for part in parts)
    left = amount - sum(part for leg, part in zip(legs, parts, strict=True) if leg.basis != "share")
    for leg, part in zip(legs, parts, strict=True):
        if leg.basis == "share":
            assert abs(part * 10_000 - left * (leg.share_bps or 0)) < 10_000
        elif leg.basis == "energy":
            assert part == of_energy
        else:
            assert part == leg.fixed_fen or left == 0


@given(cases(shares_max=2), st.integers(1, 1000))
def test_a_larger_whole_gives_neither_of_two_sharers_less(case: tuple[int, list[Leg], int | None], more: int) -> None:
    amount, legs, of_energy = case
    before, after = (cutting.cut(fen, legs, energy_fen=of_energy) for fen in (amount, amount + more))
    assert all(b <= a for b, a in zip(before, after, strict=True))


@pytest.mark.parametrize(("given_fen", "code"), [(None, "energy_missing"), (-1, "energy_invalid"), (1001, "energy_invalid")])
def test_energy_that_is_missing_or_no_part_of_the_whole_is_refused(given_fen: int | None, code: str) -> None:
    with pytest.raises(Refused) as refused:
        cutting.cut(1000, CHARGING, energy_fen=given_fen)
    assert refused.value.code == code


# Rules.


def rule(**other: Any) -> NewRule:
    said: dict[str, Any] = {
        "lot": "lot-1", "valid_from": AT - timedelta(days=1), "document": "sharing agreement 1",
        "leg": (
            NewLeg(operator="op-2", share_bps=7000, words="泊位费", words_en="berth"),
            NewLeg(operator="op-1", share_bps=3000, words="管理费", words_en="operation"),
        ),
    } | other  # fmt: skip
    return NewRule(**said)


def add(tx: Connection, wanted: NewRule) -> Rule:
    return rules.add_rule(tx, lane=0, rule=wanted, at=AT, ids=IDS)


@pytest.fixture
def three(tx: Connection) -> list[Lot]:
    return [make_city(tx, number=number) for number in (1, 2, 3)]


def test_a_rule_is_kept_sealed_and_the_same_again_is_the_same(tx: Connection, three: list[Lot]) -> None:
    kept = add(tx, rule())
    assert add(tx, rule()) == kept
    assert rules.rules(tx, lot="lot-1") == [kept] == rules.rules(tx)
    [sealed] = documents.find(tx, lane=0, document_ids=[kept.rule_id])
    assert (sealed.kind, sealed) == (documents.DocumentKind.RULE_VERSION, rules.as_document(kept))
    assert splits.check(tx) == []


def test_another_rule_of_the_same_moment_is_a_conflict_and_one_of_a_later_date_is_not(tx: Connection, three: list[Lot]) -> None:
    add(tx, rule())
    with pytest.raises(Conflict):
        add(tx, rule(document="sharing agreement 2"))
    with pytest.raises(Conflict):
        add(tx, rule(leg=()))
    add(tx, rule(valid_from=AT, leg=()))
    add(tx, rule(scene="charging"))
    assert [(one.scene, len(one.legs)) for one in rules.rules(tx)] == [(None, 2), (None, 0), ("charging", 2)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"document": " "}, "document"),
        ({"valid_from": AT.replace(tzinfo=None)}, "offset"),
        ({"leg": (NewLeg(operator="op-1", share_bps=9999, words="a", words_en="a"),)}, "sum to 10000"),
        ({"leg": (NewLeg(operator="op-1", fixed_fen=100, words="a", words_en="a"),)}, "sum to 10000"),
        ({"leg": (NewLeg(operator="op-1", words="a", words_en="a"),)}, "exactly one"),
        ({"leg": (NewLeg(operator="op-1", share_bps=5000, fixed_fen=1, words="a", words_en="a"),)}, "exactly one"),
        ({"leg": (NewLeg(operator="op-1", share_bps=10_000, words=" ", words_en="a"),)}, "words"),
        ({"leg": (NewLeg(operator="op-1", share_bps=0, words="a", words_en="a"),)}, "1 to 10000"),
        ({"leg": (NewLeg(operator="op-1", share_bps=10_000, bearer="mall", words="a", words_en="a"),)}, "at least one"),
        ({"leg": tuple(NewLeg(operator="op-1", share_bps=5000, words="a", words_en="a") for _ in range(2))}, "one leg"),
        (
            {"leg": tuple(NewLeg(operator=f"op-{n}", share_bps=5000, energy=n == 3, words="a", words_en="a") for n in (1, 3))},
            "exactly one",
        ),
    ],
)
def test_a_rule_that_cannot_take_every_amount_apart_is_refused_in_words(
    tx: Connection, three: list[Lot], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refused, match=says) as refused:
        add(tx, rule(**change))
    assert refused.value.code == "split_rule_invalid"
    assert rules.rules(tx) == []


def test_a_rule_for_nobody_is_refused(tx: Connection, three: list[Lot]) -> None:
    with pytest.raises(NotFound):
        add(tx, rule(lot="lot-9"))
    with pytest.raises(NotFound):
        add(tx, rule(leg=(NewLeg(operator="op-9", share_bps=10_000, words="a", words_en="a"),)))


def test_a_rule_of_the_scene_counts_before_one_of_all_scenes_and_the_newest_before_older_ones(
    tx: Connection, three: list[Lot]
) -> None:
    old = add(tx, rule())
    newer = add(tx, rule(valid_from=AT))
    charging = add(tx, rule(scene="charging", valid_from=AT - timedelta(days=9)))
    add(tx, rule(valid_from=AT + timedelta(days=1), leg=()))
    every = rules.rules(tx)

    def found(scene: str, days: int) -> Rule | None:
        return rules.in_force(every, scene=scene, at=AT + timedelta(days=days))

    assert [found("gate", days) for days in (-2, -1, 0, 1)] == [None, old, newer, None]
    assert [found("charging", days) for days in (-10, -9, 5)] == [None, charging, charging]


def test_an_exchanged_rule_is_found(db: Engine, database: str) -> None:
    with db.begin() as tx:
        make_city(tx, number=1)
        make_city(tx, number=2)
        add(tx, rule())
    owner = engine(database, role=None)
    with owner.begin() as tx:
        tx.execute(text("alter table payments.split_leg disable trigger user"))
        tx.execute(text("update payments.split_leg set share_bps = 10001 - share_bps - 1"))
    owner.dispose()
    with db.connect() as tx:
        assert [one.invariant for one in splits.check(tx)] == ["splits"]


# Charges.


def post(tx: Connection, lot: Lot, *wanted: NewCharge, energy_fen: dict[str, int] | None = None) -> dict[str, Posted]:
    plates = sorted({(charge.plate, charge.plate_color) for charge in wanted})
    ids = store.plate_ids(tx, plates=plates, salt=lambda: b"0" * 16)
    return splits.post(
        tx, lane=0, lot=lot, charges=[msgspec.structs.replace(charge, scene=charge.scene or lot.scene) for charge in wanted],
        plate_ids=ids, energy_fen=energy_fen or {}, at=AT, ids=IDS,
    )  # fmt: skip


def group(tx: Connection, lot: Lot, serial: str = "S1") -> Group:
    found = splits.by_serial(tx, lane=0, lot_id=lot.lot_id, lot_serial=serial)
    assert found is not None
    return found


def test_a_split_charge_is_one_charge_per_payee_under_the_same_lot(tx: Connection, three: list[Lot]) -> None:
    add(tx, rule())
    posted = post(tx, three[0], new_charge("S1", amount_fen=1001), new_charge("S2", amount_fen=1))
    found = group(tx, three[0])
    assert {serial: one.outcome for serial, one in posted.items()} == {"S1": "created", "S2": "created"}
    assert posted["S1"].charge_id == found.charge_ids[0]
    assert [(p.payee, p.amount_fen, p.owed_fen, p.state) for p in found.parts] == [
        (three[1].operator_name, 701, 701, "open"),
        (three[0].operator_name, 300, 300, "open"),
    ]
    kept = store.charges_by_ids(tx, lane=0, charge_ids=found.charge_ids)
    assert {(c.lot_serial, c.operator_id, c.lot_id, c.amount_fen) for c in kept} == {
        ("S1#1", three[1].operator_id, three[0].lot_id, 701), ("S1#2", three[0].operator_id, three[0].lot_id, 300),
    }  # fmt: skip
    assert [part.number for part in group(tx, three[0], "S2").parts] == [1], "a leg of 0 fen makes no part"
    assert [splits.group_of(tx, lane=0, charge_id=charge_id) for charge_id in found.charge_ids] == [found, found]
    assert len(charges.due(tx, lane=0, lot_id=three[0].lot_id, plate="苏B12345")) == 3
    assert splits.charge_ids_of(tx, lane=0, lot_id=three[0].lot_id, serials=["S1", "S9"]) == {"S1": found.charge_ids}
    assert splits.complete(tx, lane=0, charge_ids=found.charge_ids) == []
    assert splits.check(tx) == []


def test_the_form_in_which_the_intake_keeps_a_charge_is_cut_the_same(tx: Connection, three: list[Lot]) -> None:
    add(tx, rule())
    one = new_charge("S1")
    kept = Kept(
        IDS.new(AT, "charge"), one.lot_serial, one.plate, one.plate_color, one.entered_at, one.left_at, one.minutes, one.amount_fen,
        one.tariff_text, three[0].scene,
    )  # fmt: skip
    keys = store.plate_ids(tx, plates=[(one.plate, one.plate_color)], salt=lambda: b"0" * 16)
    found = splits.post(tx, lane=0, lot=three[0], charges=[kept], plate_ids=keys, energy_fen={}, at=AT, ids=IDS)
    assert found["S1"].outcome == "created"
    assert post(tx, three[0], one)["S1"].outcome == "already"


def test_a_charge_without_a_rule_is_left_to_its_caller(tx: Connection, three: list[Lot]) -> None:
    assert post(tx, three[0], new_charge("S1")) == {}
    add(tx, rule(scene="charging"))
    assert post(tx, three[0], new_charge("S1")) == {}
    assert post(tx, three[0], new_charge("S2", scene="charging"))["S2"].outcome == "created"
    alone = charges.post(tx, lane=0, lot=three[1], charges=[new_charge("S1")], at=AT, ids=IDS)[0]
    assert alone.charge_id is not None
    assert splits.group_of(tx, lane=0, charge_id=alone.charge_id) is None


def test_a_charge_posted_again_is_already_there_and_keeps_its_first_rule(tx: Connection, three: list[Lot]) -> None:
    add(tx, rule())
    first = post(tx, three[0], new_charge("S1"))
    before = group(tx, three[0])
    add(tx, rule(valid_from=AT - timedelta(hours=1), leg=()))
    again = post(tx, three[0], new_charge("S1"), new_charge("S2"))
    assert {serial: one.outcome for serial, one in again.items()} == {"S1": "already"}
    assert (again["S1"].charge_id, group(tx, three[0])) == (first["S1"].charge_id, before)


def test_a_charge_that_was_whole_before_the_rule_stays_whole(tx: Connection, three: list[Lot]) -> None:
    [whole] = charges.post(tx, lane=0, lot=three[0], charges=[new_charge("S1")], at=AT, ids=IDS)
    add(tx, rule())
    assert post(tx, three[0], new_charge("S1")) == {}
    assert whole.charge_id is not None
    assert splits.group_of(tx, lane=0, charge_id=whole.charge_id) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_fen": 1201}, "amount_fen"),
        ({"plate": "苏B54321"}, "plate"),
        ({"minutes": 121}, "minutes"),
        ({"left_at": AT}, "left_at"),
        ({"tariff_text": "每小时7元"}, "tariff_text"),
    ],
)
def test_other_content_under_the_same_serial_is_refused(
    tx: Connection, three: list[Lot], change: dict[str, Any], field: str
) -> None:
    add(tx, rule())
    post(tx, three[0], new_charge("S1"))
    again = post(tx, three[0], new_charge("S1", **change))["S1"]
    assert (again.outcome, again.reason, again.field) == ("refused", "content_differs", field)
    assert group(tx, three[0]).amount_fen == 1200


def test_energy_goes_to_its_seller_as_given_and_a_wrong_one_refuses_its_charge_alone(tx: Connection, three: list[Lot]) -> None:
    legs = (
        NewLeg(operator="op-2", energy=True, words="充电费", words_en="charging"),
        NewLeg(operator="op-1", share_bps=10_000, words="停车费", words_en="parking"),
    )
    add(tx, rule(leg=legs))
    posted = post(
        tx, three[0], *(new_charge(f"S{n}", amount_fen=4000) for n in (1, 2, 3, 4)), energy_fen={"S1": 3100, "S3": 4001, "S4": 0}
    )
    assert {serial: (one.outcome, one.reason) for serial, one in posted.items()} == {
        "S1": ("created", None), "S2": ("refused", "energy_missing"), "S3": ("refused", "energy_invalid"), "S4": ("created", None),
    }  # fmt: skip
    assert [(part.words, part.amount_fen) for part in group(tx, three[0]).parts] == [("充电费", 3100), ("停车费", 900)]
    assert [(part.words, part.amount_fen) for part in group(tx, three[0], "S4").parts] == [("停车费", 4000)]
    again = post(tx, three[0], new_charge("S1", amount_fen=4000), energy_fen={"S1": 3000})["S1"]
    assert (again.reason, again.field) == ("content_differs", "energy_fen")


def test_a_serial_that_a_part_needs_and_another_charge_has_is_refused(tx: Connection, three: list[Lot]) -> None:
    charges.post(tx, lane=0, lot=three[0], charges=[new_charge("S1#2")], at=AT, ids=IDS)
    add(tx, rule())
    posted = post(tx, three[0], new_charge("S1"), new_charge("S3"))
    assert {serial: (one.outcome, one.reason) for serial, one in posted.items()} == {
        "S1": ("refused", "serial_taken"), "S3": ("created", None),
    }  # fmt: skip
    assert splits.by_serial(tx, lane=0, lot_id=three[0].lot_id, lot_serial="S1") is None


def test_what_a_bearer_pays_is_not_asked_of_the_driver(tx: Connection, three: list[Lot]) -> None:
    legs = (
        NewLeg(operator="op-1", fixed_fen=500, bearer="mall", words="会员减免", words_en="member discount"),
        NewLeg(operator="op-1", share_bps=10_000, words="停车费", words_en="parking"),
    )
    bearers.register(tx, code="mall", name="示例商场", document="agreement 3", at=AT)
    add(tx, rule(leg=legs))
    posted = post(tx, three[0], new_charge("S1", amount_fen=1200), new_charge("S2", amount_fen=400))
    found, free = group(tx, three[0]), group(tx, three[0], "S2")
    assert [(part.amount_fen, part.charge_id is None) for part in found.parts] == [(500, True), (700, False)]
    assert found.owed_fen == 700
    assert (posted["S2"].outcome, posted["S2"].charge_id, free.owed_fen, free.is_complete) == ("created", None, 0, True)
    assert "示例商场 5.00 元（会员减免）" in wording.words(found, acts=1).zh
    assert splits.check(tx) == []


def test_two_posts_of_the_same_serial_at_once_make_one_group(db: Engine) -> None:
    with db.begin() as tx:
        lot = make_city(tx, number=1)
        make_city(tx, number=2)
        add(tx, rule())
    with db.connect() as first, db.connect() as second:
        first.begin()
        assert post(first, lot, new_charge("S1"))["S1"].outcome == "created"
        second.begin()
        second.execute(text("set local lock_timeout = '100ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            post(second, lot, new_charge("S1"))
        second.rollback()
        first.commit()
        with second.begin():
            assert post(second, lot, new_charge("S1"))["S1"].outcome == "already"


def test_a_batch_asks_the_database_as_often_as_one_charge(db: Engine) -> None:
    with db.begin() as tx:
        lot = make_city(tx, number=1)
        make_city(tx, number=2)
        add(tx, rule())
    counted = []
    asked: list[str] = []
    event.listen(db, "before_cursor_execute", lambda *given: asked.append(given[2]))
    for numbers in (range(1), range(1, 301)):
        asked.clear()
        with db.begin() as tx:
            post(tx, lot, *(new_charge(f"B{number}") for number in numbers))
        counted.append(len(asked))
    assert counted[1] <= counted[0]


# Words.


def test_the_page_says_who_gets_what_and_how_many_payments_it_takes(tx: Connection, three: list[Lot]) -> None:
    add(tx, rule())
    post(tx, three[0], new_charge("S1", amount_fen=1000))
    found = group(tx, three[0])
    assert wording.words(found, acts=1) == wording.Words(
        "本次共 10.00 元，分别付给：无锡示例停车2有限公司 7.00 元（泊位费）；无锡示例停车1有限公司 3.00 元（管理费）。"
        "一次付款，分别到账。",
        "10.00 yuan in all, paid to: 无锡示例停车2有限公司 7.00 yuan (berth); 无锡示例停车1有限公司 3.00 yuan (operation). "
        "You pay once; each payee gets its part.",
    )
    two = wording.words(found, acts=2)
    assert "此钱包不能合并支付，需要付款 2 次，每次付给一家。" in two.zh
    assert "2 payments are needed" in two.en


# The command.


def test_the_rule_of_the_page_is_entered_from_its_file_and_listed(db: Engine, tmp_path: Path) -> None:
    [toml] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "rule.toml").write_text(toml, encoding="utf-8")
    with db.begin() as tx:
        for number in (1, 2, 3):
            make_city(tx, number=number)
    said = _run(db, "add", str(tmp_path / "rule.toml"))
    assert _run(db, "list", "--lot", "lot-1") == said == _run(db, "list")
    assert "[charging agreement 7]" in said
    assert [line.split()[:2] for line in said.splitlines()[1:]] == [["1", "op-2"], ["2", "op-3"], ["3", "op-1"]]
    assert "100.00 % of the rest" in said


def test_a_file_that_is_no_rule_is_refused_with_its_reason(db: Engine, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no split rule"):
        _run(db, "add", str(tmp_path / "missing.toml"))
    for content in ("lot = ", 'lot = "lot-1"\nvalid_from = 2026-03-01T00:00:00Z\ndocument = "d"\nlegs = []'):
        (tmp_path / "wrong.toml").write_text(content, encoding="utf-8")
        with pytest.raises(Refused, match="no split rule"):
            _run(db, "add", str(tmp_path / "wrong.toml"))
    assert _run(db, "list") == "There is no split rule."


def _run(db: Engine, *words: str) -> str:
    parser = argparse.ArgumentParser()
    splits_cli.arguments(parser)

    class Bare:
        lane, ids = 0, IDS

        class clock:  # noqa: N801
            now = staticmethod(lambda: AT)

    bare: Any = Bare()
    bare.db = db
    return splits_cli.run(bare, parser.parse_args(list(words)))
