"""Planning: which plates are reminded of which debts, once, and never while something else is under way."""

from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlalchemy import event

from ledger.errors import Conflict, Refused
from payments.owed.dunning import planning, rules
from payments.owed.dunning.plan_store import Run
from payments.owed.dunning.rules import NewRule, Step
from tests.payments.conftest import AT, make_attempt, make_city
from tests.payments.owed.dunning.conftest import Dunned, days_later
from tests.payments.owed.owing import IDS, owe

REMINDERS = "select channel, step, debts, owed_fen, state from payments.reminder order by reminder_id"


def owing(dunned: Dunned, *amounts: int, **other: object) -> list[UUID]:
    with dunned.db.begin() as tx:
        return owe(tx, dunned.lot, *amounts, **other)  # type: ignore[arg-type]


def counted(run: Run) -> tuple[int, int, int]:
    return run.plates, run.reminders, run.debts


def test_a_plate_gets_one_reminder_of_all_its_overdue_debts(dunned: Dunned) -> None:
    owing(dunned, 1200, overdue_days=3)
    owing(dunned, 800, overdue_days=1)
    owing(dunned, 500, overdue_days=-5)
    owing(dunned, 700, plate="苏B00001", overdue_days=4)
    assert counted(dunned.plan()) == (2, 2, 3)
    assert sorted(dunned.ask(REMINDERS)) == [("page", 1, 1, 700, "planned"), ("page", 1, 2, 2000, "planned")]


def test_planning_the_same_day_again_plans_nothing(dunned: Dunned) -> None:
    owing(dunned, 1200, overdue_days=3)
    first = dunned.plan()
    assert dunned.plan() == first
    assert len(dunned.ask(REMINDERS)) == 1


def test_debts_not_due_for_a_step_are_left_alone(dunned: Dunned) -> None:
    owing(dunned, 1200, overdue_days=2)
    assert counted(dunned.plan()) == (1, 0, 0)


@pytest.mark.parametrize(
    "state",
    [
        "update payments.debt set disputed_at = now()",
        "update payments.debt set paused_until = '2026-03-03'",
        "update payments.plate set held_since = '2026-03-02 05:00+00'",
        "update payments.debt set owed_fen = 0",
    ],
)
def test_what_is_disputed_paused_paid_or_an_earlier_holders_is_not_reminded_of(dunned: Dunned, state: str) -> None:
    owing(dunned, 1200, overdue_days=5)
    dunned.do(state)
    assert dunned.plan().reminders == 0


def test_a_pause_ends_on_its_day(dunned: Dunned) -> None:
    owing(dunned, 1200, overdue_days=5)
    dunned.do("update payments.debt set paused_until = '2026-03-02'")
    assert dunned.plan().reminders == 1


def test_nothing_is_demanded_while_somebody_pays(dunned: Dunned) -> None:
    [one] = owing(dunned, 1200, overdue_days=5)
    with dunned.db.begin() as tx:
        made = make_attempt(tx, dunned.lot, one)
    assert dunned.plan().reminders == 0
    dunned.do("update payments.payment set state = 'closed' where payment_id = :id", id=made.attempt.payment_id)
    assert dunned.plan(days_later(1)).reminders == 1


def test_less_than_the_smallest_amount_waits_until_more_is_owed(dunned: Dunned) -> None:
    owing(dunned, 60, overdue_days=5)
    assert dunned.plan().reminders == 0
    owing(dunned, 60, overdue_days=5)
    assert dunned.plan(days_later(1)).reminders == 1


def test_steps_follow_each_other_however_old_a_debt_is(dunned: Dunned) -> None:
    owing(dunned, 9000, overdue_days=1000)
    taken = []
    for day in range(120):
        at = days_later(day)
        if dunned.plan(at).reminders:
            taken.append(day)
            dunned.send(at)
    assert [row[1] for row in dunned.ask(REMINDERS)] == [1, 2, 3]
    assert taken == [0, 27, 87]


def test_the_first_channel_that_has_a_contact_is_used(dunned: Dunned) -> None:
    owing(dunned, 1200, overdue_days=5)
    owing(dunned, 1300, plate="苏B00001", overdue_days=5)
    owing(dunned, 1400, plate="苏B00002", overdue_days=5)
    dunned.contact("mobile", "13800000001")
    dunned.contact("mobile", "13800000002", plate="苏B00001", purpose="receipt")
    dunned.contact("wallet", "oAbc-1234567", plate="苏B00002")
    assert dunned.plan().reminders == 3
    assert [row[0] for row in sorted(dunned.ask("select channel, owed_fen from payments.reminder order by owed_fen"), key=str)] == [
        "page", "page", "sms",
    ]  # fmt: skip


def test_a_contact_that_an_earlier_holder_gave_is_not_used(dunned: Dunned) -> None:
    owing(dunned, 1200, overdue_days=5)
    dunned.contact("mobile", "13800000001", at=AT - timedelta(days=9))
    dunned.do("update payments.plate set held_since = :at", at=AT - timedelta(days=1))
    dunned.plan()
    assert [row[0] for row in dunned.ask(REMINDERS)] == ["page"]


def test_a_broken_run_goes_on_where_it_stood(dunned: Dunned) -> None:
    for number in range(7):
        owing(dunned, 1000 + number, plate=f"苏B0000{number}", overdue_days=5)
    seen: list[Run] = []

    def stop_at_second(run: Run) -> None:
        seen.append(run)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planning.plan(dunned.db, lane=0, at=AT, ids=IDS, channels=dunned.channels, chunk=2, progress=stop_at_second)
    assert len(dunned.ask(REMINDERS)) == 4
    run = dunned.plan(chunk=2)
    assert counted(run) == (7, 7, 7)
    assert len(dunned.ask(REMINDERS)) == 7


def test_the_number_of_statements_grows_with_chunks_and_not_with_debts(dunned: Dunned) -> None:
    for number in range(30):
        owing(dunned, 1000, plate=f"苏B100{number:02}", overdue_days=5)
    counts: list[int] = []
    statements: list[str] = []
    event.listen(dunned.db, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for day, chunk in ((0, 1000), (40, 1000)):
        statements.clear()
        dunned.plan(days_later(day), chunk=chunk)
        counts.append(len(statements))
        owing(dunned, 1000, plate=f"苏B200{day:02}", overdue_days=5)
    assert counts[0] == counts[1] < 15


def test_a_new_rule_does_not_remind_again_before_its_time(dunned: Dunned) -> None:
    owing(dunned, 1200, overdue_days=40)
    dunned.plan()
    dunned.send()
    step = Step(step=1, days_after_due=1, channels=("page",), template_code="reminder", owed_fen_min=1)
    second = Step(step=2, days_after_due=2, channels=("page",), template_code="second", owed_fen_min=1)
    with dunned.db.begin() as tx:
        rules.enter(
            tx, rule=NewRule(document="方案 8", valid_from=AT, steps=(step, second), days_between=5), channels=["page"], at=AT
        )  # fmt: skip
    assert [dunned.plan(days_later(day)).reminders for day in range(1, 6)] == [0, 0, 0, 0, 1]


def test_an_operators_own_rule_is_used_for_its_debts_alone(dunned: Dunned) -> None:
    with dunned.db.begin() as tx:
        other = make_city(tx, number=2)
        rules.enter(
            tx,
            rule=NewRule(
                document="运营方案 1", valid_from=AT, operator_id=other.operator_id,
                steps=(Step(step=1, days_after_due=10, channels=("post",), template_code="demand", owed_fen_min=1, per="debt"),),
            ),
            channels=dunned.channels.names(), at=AT,
        )  # fmt: skip
        owe(tx, dunned.lot, 1200, overdue_days=5)
        owe(tx, other, 100, 200, overdue_days=12)
        owe(tx, other, 300, overdue_days=5)
    assert counted(dunned.plan()) == (1, 3, 3)
    assert sorted(dunned.ask(REMINDERS)) == [
        ("page", 1, 1, 1200, "planned"), ("post", 1, 1, 100, "planned"), ("post", 1, 1, 200, "planned"),
    ]  # fmt: skip


def test_a_rule_that_cannot_be_is_refused(dunned: Dunned) -> None:
    def entering(*steps: Step, **other: object) -> None:
        given: dict[str, object] = {"document": "方案 2", "valid_from": AT, "steps": steps} | other
        with dunned.db.begin() as tx:
            rules.enter(tx, rule=NewRule(**given), channels=dunned.channels.names(), at=AT)  # type: ignore[arg-type]

    good = Step(step=1, days_after_due=1, channels=("page",), template_code="reminder", owed_fen_min=1)
    later = Step(step=2, days_after_due=1, channels=("page",), template_code="reminder", owed_fen_min=1)
    for steps in ((), (later,), (good, later)):
        with pytest.raises(Refused, match="steps are numbered"):
            entering(*steps)
    with pytest.raises(Refused, match="no channel 'fax'"):
        entering(Step(step=1, days_after_due=1, channels=("fax",), template_code="reminder", owed_fen_min=1))
    with pytest.raises(Refused, match="no Chinese text"):
        entering(Step(step=1, days_after_due=1, channels=("page",), template_code="threat", owed_fen_min=1))
    with pytest.raises(Refused, match="document"):
        entering(good, document=" ")
    with pytest.raises(Refused, match="from now"):
        entering(good, valid_from=AT - timedelta(seconds=1))
    entering(good)
    with pytest.raises(Conflict, match="begins at that moment"):
        entering(good)


def test_quiet_days_are_entered_with_their_document(dunned: Dunned) -> None:
    with dunned.db.begin() as tx:
        assert rules.enter_quiet_days(tx, days=[date(2026, 5, 1), date(2026, 5, 1)], document="国办发明电 1", at=AT) == 1
        assert rules.enter_quiet_days(tx, days=[date(2026, 5, 1)], document="国办发明电 1", at=AT) == 0
