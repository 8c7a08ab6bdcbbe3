"""What drivers wrote is erased so many days after its case was closed; the case stays, and the run is on record."""

from datetime import datetime, timedelta
from threading import Event

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from ledger.errors import Conflict, Refused
from payments.rollout import code_reports, words_keeping
from payments.rollout.code_reports import NewReport
from tests.payments.conftest import AT, IDS, make_city
from tests.payments.owed.owing import staff


@pytest.fixture
def numbers(db: Engine) -> list[str]:
    """Three cases with words; the last one stays open, the others are closed a day apart."""
    with db.begin() as tx:
        staff(tx)
        lot = make_city(tx)
        made = [
            code_reports.open_case(
                tx, lane=0, report=NewReport(kind="other", words=f"电话 138{n}", lot_id=lot.lot_id), at=AT, ids=IDS
            )
            for n in range(3)
        ]  # fmt: skip
        for day, number in enumerate(made[:2]):
            code_reports.decide(
                tx, lane=0, numbers=[number], outcome="dismissed", person_code="wang.ming", document="巡查单", words="看过",
                at=AT + timedelta(days=day), ids=IDS,
            )  # fmt: skip
    return made


def words(db: Engine) -> dict[str, str | None]:
    with db.connect() as tx:
        return {one.number: one.words for one in code_reports.listed(tx, is_open=None)}


def rule(db: Engine, days: int, *, valid_from: datetime = AT) -> None:
    with db.begin() as tx:
        words_keeping.enter(tx, days=days, valid_from=valid_from, document="个人信息保存期限 1", at=AT)


def test_words_are_erased_after_the_days_of_the_latest_rule_and_the_case_stays(db: Engine, numbers: list[str]) -> None:
    rule(db, 30)
    first, second, still_open = numbers
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=30)) == 0
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=30, minutes=1)) == 1
    assert words(db) == {first: None, second: "电话 1381", still_open: "电话 1382"}
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=300)) == 1
    assert words(db) == {first: None, second: None, still_open: "电话 1382"}
    with db.connect() as tx:
        [case] = [one for one in code_reports.listed(tx, is_open=False) if one.number == first]
        runs = tx.execute(text("select days, erased, ended_at is not null from payments.report_keeping order by keeping_id")).all()
        salts = tx.execute(text("select count(*) from payments.code_report where words_salt is not null")).scalar_one()
        evidence = tx.execute(
            text("select count(*) from gateways.raw_message where convert_from(body, 'utf8') like '%电话%'")
        ).scalar_one()
    assert (case.number, case.words_erased_at, case.closing) == (first, AT + timedelta(days=30, minutes=1), "看过")
    assert (runs, salts, evidence) == ([(30, 1, True), (30, 1, True)], 1, 0)


def test_without_a_rule_of_the_city_that_of_the_installation_counts(db: Engine, numbers: list[str]) -> None:
    rule(db, 1, valid_from=AT + timedelta(days=179))
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=178)) == 0
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=179)) == 2


def test_a_run_that_was_broken_off_goes_on_with_its_own_moment(db: Engine, numbers: list[str]) -> None:
    class AfterOne(Event):
        def is_set(self) -> bool:
            return None in words(db).values()

    rule(db, 30)
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=40), stop=AfterOne(), batch=1) == 1
    told: list[str] = []
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=41), say=told.append) == 1
    with db.connect() as tx:
        assert tx.execute(text("select erased, kept_from from payments.report_keeping")).all() == [(2, AT + timedelta(days=10))]


def test_the_application_changes_no_words_by_itself(db: Engine, numbers: list[str]) -> None:
    with db.connect() as tx, pytest.raises(ProgrammingError, match="permission denied"):
        tx.execute(text("update payments.code_report set words = 'x'"))
    assert words_keeping.erase(db, at=lambda: AT + timedelta(days=1)) == 0
    with db.begin() as tx:
        assert tx.execute(text("select payments.erase_report_words_v1(10, :at)"), {"at": AT}).scalar() is None


def test_a_rule_has_days_and_a_document_and_its_own_moment(db: Engine) -> None:
    rule(db, 30)
    with pytest.raises(Conflict):
        rule(db, 60)
    for days, document in ((0, "x"), (3_651, "x"), (10, " ")):
        with db.begin() as tx, pytest.raises(Refused):
            words_keeping.enter(tx, days=days, valid_from=AT, document=document, at=AT)
    with db.connect() as tx:
        assert [one.days for one in words_keeping.rules(tx)] == [30, 180]
