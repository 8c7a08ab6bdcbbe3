"""Rules and shares: the worked examples of the page, the laws of the arithmetic, and what cannot be a rule."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from ledger import documents
from ledger.db import engine
from ledger.errors import Conflict, NotFound, Refused
from payments.incentive import invariants, parties, rules
from payments.incentive.parties import NewParty, Party
from payments.incentive.rules import NewAssignment, NewRule, NewShare, Rule, Share
from tests.payments.conftest import AT, IDS
from tests.payments.incentive.conftest import LONG_AGO, City

PAGE = Path(__file__).parents[3] / "docs" / "INCENTIVE.md"
OWNER, PLATFORM, BUREAU = 1, 2, 3


def files() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def page_rule() -> Rule:
    said = msgspec.toml.decode(files()[1], type=NewRule)
    to = {"recoverer": None, "liangxi": BUREAU}
    return _rule(*(
        Share(number=number, days_min=one.days_min, party_id=to[one.to], share_bps=one.bps, cap_fen=one.cap_fen)
        for number, one in enumerate(said.share, 1)
    ))  # fmt: skip


def _rule(*shares: Share, **other: Any) -> Rule:
    said: dict[str, Any] = {
        "rule_id": IDS.new(AT, "rule"), "lane": 0, "operator_id": None, "district": None, "recovered_by": "platform",
        "recoverer_id": None, "valid_from": AT, "document": "notice", "entered_at": AT, "shares": shares,
    } | other  # fmt: skip
    return Rule(**said)


def test_the_worked_examples_of_the_page_are_what_the_rule_gives() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 8
    for row in rows:
        recovered, days, platform, bureau, gone, platform_after, bureau_after = (int(cell) for cell in row)
        found = rules.shares_of(page_rule(), recovered_fen=recovered, days=days, owner_id=OWNER, recoverer_id=PLATFORM)
        given_fen = {PLATFORM: 0, BUREAU: 0} | {one.party_id: one.amount_fen for one in found}
        after = {party: rules.kept_of(fen, recovered_fen=recovered, gone_fen=gone) for party, fen in given_fen.items()}
        assert (given_fen, after) == ({PLATFORM: platform, BUREAU: bureau}, {PLATFORM: platform_after, BUREAU: bureau_after})


@st.composite
def shares(draw: st.DrawFn) -> tuple[Share, ...]:
    left, found = 10_000, []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        bps = draw(st.integers(0, left))
        left -= bps
        cap = draw(st.none() | st.integers(1, 5_000))
        found.append(Share(number=number, days_min=0, party_id=number + 10, share_bps=bps, cap_fen=cap))
    return tuple(found)


@given(shares(), st.integers(1, 5_000_000), st.data())
def test_shares_never_exceed_the_payment_and_what_is_kept_never_exceeds_the_share(
    of_rule: tuple[Share, ...], recovered: int, data: st.DataObject
) -> None:
    found = rules.shares_of(_rule(*of_rule), recovered_fen=recovered, days=5, owner_id=1, recoverer_id=2)
    assert sum(one.amount_fen for one in found) <= recovered
    by_number = {share.number: share for share in of_rule}
    for one in found:
        share = by_number[one.number]
        assert one.amount_fen * 10_000 < recovered * share.share_bps + 10_000
        assert 0 < one.amount_fen <= (share.cap_fen or recovered)
    gone = sorted(data.draw(st.lists(st.integers(0, recovered), min_size=2, max_size=2)))
    for one in found:
        less, more = (rules.kept_of(one.amount_fen, recovered_fen=recovered, gone_fen=fen) for fen in gone)
        assert 0 <= more <= less <= one.amount_fen
        assert rules.kept_of(one.amount_fen, recovered_fen=recovered, gone_fen=recovered) == 0


def test_the_age_of_the_debt_chooses_the_shares_and_the_owner_owes_itself_nothing() -> None:
    rule = _rule(
        Share(number=1, days_min=30, party_id=None, share_bps=500, cap_fen=None),
        Share(number=2, days_min=90, party_id=None, share_bps=0, cap_fen=None),
        Share(number=3, days_min=180, party_id=OWNER, share_bps=1000, cap_fen=None),
    )
    found = [
        rules.shares_of(rule, recovered_fen=1000, days=days, owner_id=OWNER, recoverer_id=PLATFORM)
        for days in (29, 30, 89, 90, 180)
    ]
    assert [[one.amount_fen for one in each] for each in found] == [[], [50], [50], [], []]


def test_the_most_exact_rule_counts_then_the_newest() -> None:
    city = Party(party_id=PLATFORM, lane=0, kind="platform", code="city", name="x", book_id=9, operator_id=None, district=None)
    share = Share(number=1, days_min=0, party_id=None, share_bps=100, cap_fen=None)
    every, newer = _rule(share), _rule(share, valid_from=AT + timedelta(days=1))
    district, operator = _rule(share, district="梁溪区"), _rule(share, operator_id=7)
    party, over = _rule(share, recoverer_id=PLATFORM), _rule(operator_id=8)
    foreign = [_rule(share, recovered_by="company"), _rule(share, operator_id=9), _rule(share, recoverer_id=99)]

    def found(*among: Rule, operator_id: int = 7, days: int = 2) -> Rule | None:
        at = AT + timedelta(days=days)
        return rules.in_force([*among, *foreign], operator_id=operator_id, district="梁溪区", recoverer=city, at=at)

    assert found(every, newer) == newer
    assert found(every, newer, days=0) == every
    assert found(every, days=-1) is None
    assert found(newer, party) == party
    assert found(newer, party, district) == district
    assert found(newer, party, district, operator, over) == operator
    assert found(newer, over, operator_id=8) is None, "a rule without shares ends what was before"


# Kept.


def test_a_rule_and_an_assignment_are_kept_sealed_and_the_same_again_is_the_same(town: City) -> None:
    rule, assignment = town.rule(share=(NewShare(bps=500), NewShare(to="liangxi", bps=300))), town.assign(owner="op-1", days_min=90)
    assert (town.rule(share=(NewShare(bps=500), NewShare(to="liangxi", bps=300))), town.assign(owner="op-1", days_min=90)) == (
        rule, assignment,
    )  # fmt: skip
    with town.db.connect() as tx:
        assert (rules.rules(tx), rules.assignments(tx)) == ([rule], [assignment])
        found = documents.find(tx, lane=0, document_ids=[rule.rule_id, assignment.assignment_id])
    assert {one.document_id: one for one in found} == {
        rule.rule_id: rules.as_document(rule), assignment.assignment_id: rules.assignment_document(assignment),
    }  # fmt: skip
    with pytest.raises(Conflict):
        town.rule(share=())
    with pytest.raises(Conflict):
        town.assign(owner="op-1", days_min=90, recoverer="liangxi")


@pytest.mark.parametrize(
    "change",
    [
        {"document": " "},
        {"valid_from": AT.replace(tzinfo=None)},
        {"share": (NewShare(bps=6000), NewShare(to="liangxi", bps=4001))},
        {"share": (NewShare(bps=10), NewShare(bps=20))},
        {"share": (NewShare(bps=-1),)},
        {"share": (NewShare(bps=1, days_min=-1),)},
        {"share": (NewShare(bps=1, cap_fen=0),)},
    ],
)
def test_what_cannot_be_a_rule_is_refused(town: City, change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        town.rule(**change)
    assert refused.value.code == "incentive_rule_invalid"


@pytest.mark.parametrize("change", [{"owner": "op-9"}, {"share": (NewShare(to="nobody", bps=1),)}, {"recoverer": "liangxi"}])
def test_a_rule_for_nobody_is_refused(town: City, change: dict[str, Any]) -> None:
    with pytest.raises(NotFound):
        town.rule(**change)


@pytest.mark.parametrize("change", [{"document": ""}, {"days_min": -1}, {"valid_from": AT.replace(tzinfo=None)}])
def test_what_cannot_be_an_assignment_is_refused(town: City, change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        town.assign(**change)
    assert refused.value.code == "assignment_invalid"


def test_an_exchanged_rule_is_found(town: City, database: str) -> None:
    rule = town.rule()
    owner = engine(database, role=None)
    for bps in (501, 500):
        with owner.begin() as tx:
            tx.execute(text("alter table payments.incentive_share disable trigger user"))
            tx.execute(text("update payments.incentive_share set share_bps = :bps"), {"bps": bps})
            tx.execute(text("alter table payments.incentive_share enable trigger user"))
        with town.db.connect() as tx:
            found = [one.detail for one in invariants.check(tx)]
        assert found == ([f"document {rule.rule_id} is not the one that was sealed"] if bps == 501 else [])
    owner.dispose()


# Parties.


def test_parties_keep_a_book_each_and_operators_the_one_they_have(town: City) -> None:
    with town.db.begin() as tx:
        parties.take_in_operators(tx, at=AT)
        parties.take_in_operators(tx, at=AT)
        known = parties.listed(tx)
        owners = {row[0]: row[1] for row in tx.execute(text("select book_id, owner_kind from ledger.v_book"))}
    assert [(one.kind, one.code) for one in known] == [
        ("platform", "city"), ("district", "liangxi"), ("company", "recover-1"), ("operator", "op-1"), ("operator", "op-2"),
    ]  # fmt: skip
    assert all(owners[one.book_id] == one.kind for one in known)


@pytest.mark.parametrize(
    ("party", "code"),
    [
        (NewParty(kind="platform", code="other", name="另一平台"), "party_conflict"),
        (NewParty(kind="platform", code="city", name="另一平台"), "party_conflict"),
        (NewParty(kind="district", code="other", name="另一处", district="梁溪区"), "party_conflict"),
        (NewParty(kind="district", code="other", name="另一处"), "party_invalid"),
        (NewParty(kind="company", code="other", name="公司", district="梁溪区"), "party_invalid"),
        (NewParty(kind="company", code="x y", name="公司"), "party_invalid"),
        (NewParty(kind="operator", code="op-7", name="公司"), "party_invalid"),
    ],
)
def test_what_cannot_be_a_party_is_refused(town: City, party: NewParty, code: str) -> None:
    with town.db.begin() as tx, pytest.raises(Refused) as refused:
        parties.register(tx, party=party, at=AT)
    assert refused.value.code == code


def test_the_same_party_again_is_the_same(town: City) -> None:
    with town.db.begin() as tx:
        again = parties.register(tx, party=NewParty(kind="company", code="recover-1", name="示例追缴有限公司"), at=AT)
    assert again == town.company


def test_the_files_of_the_page_can_be_read(tx: Connection) -> None:
    assignment, rule = files()
    assert msgspec.toml.decode(assignment, type=NewAssignment).recoverer == "recover-1"
    assert msgspec.toml.decode(rule, type=NewRule).share[2].cap_fen == 2000
    assert LONG_AGO < AT
