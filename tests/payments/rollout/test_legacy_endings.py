"""Old codes end together where only the city's may hang: batch by batch, on record, and gone on with when it was broken off."""

from collections.abc import Sequence
from datetime import date, timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine, text

from ledger.errors import Conflict, NotAllowed, Refused
from payments.lots import Lot
from payments.rollout import legacy_codes, legacy_endings, policy
from payments.rollout.legacy_codes import NewLegacyCode
from payments.rollout.legacy_endings import Ended
from tests.payments.conftest import AT, IDS, make_city
from tests.payments.owed.owing import staff

LAST = date(2026, 12, 31)
BEGIN = date(2024, 1, 1)


@pytest.fixture
def four(db: Engine) -> list[Lot]:
    """Four lots with two old codes each; the third one may keep its own."""
    with db.begin() as tx:
        staff(tx)
        made = [make_city(tx, number=number) for number in range(1, 5)]
        rules = [
            policy.NewRule(requires="city_code_only", valid_from=LAST + timedelta(days=1), document="通知 1"),
            policy.NewRule(requires="parallel", valid_from=date(2026, 1, 1), document="通知 2", lot_id=made[2].lot_id),
        ]
        policy.enter(tx, rules=rules, at=AT)
        for lot in made:
            post(tx, lot, [("Q-1", BEGIN, None), ("Q-2", BEGIN, None)])
    return made


def post(tx: Any, lot: Lot, codes: Sequence[tuple[str, date, date | None]]) -> None:
    new = [
        NewLegacyCode(
            serial=serial, payload=f"https://x.example/{lot.code}/{serial}", kind="wechat", first_day=first, last_day=last,
            document="协议",
        )
        for serial, first, last in codes
    ]  # fmt: skip
    answers = legacy_codes.post(tx, lane=0, lot=lot, codes=new, body=b"[]", at=AT, ids=IDS)
    assert {one.outcome for one in answers} == {"created"}


def end(db: Engine, **other: Any) -> Ended:
    said: dict[str, Any] = {"last_day": LAST, "document": "通知 9", "person_code": "wang.ming", "at": lambda: AT} | other
    return legacy_endings.end_all(db, **said)


def ends(db: Engine) -> list[tuple[str, date | None]]:
    """Lots and the last days of their codes."""
    query = "select l.code, c.last_day from payments.legacy_code c join payments.lot l using (lot_id) order by l.code, c.lot_serial"
    with db.connect() as tx:
        return [(row.code, row.last_day) for row in tx.execute(text(query))]


def test_codes_end_where_only_the_citys_may_hang_and_the_run_is_on_record(db: Engine, four: list[Lot]) -> None:
    with db.begin() as tx:
        post(tx, four[0], [("Q-3", BEGIN, date(2026, 6, 30)), ("Q-4", BEGIN, date(2027, 6, 30)), ("Q-5", date(2027, 2, 1), None)])
    assert end(db) == Ended(7, 4, True)
    assert ends(db) == [
        *(("lot-1", last) for last in (LAST, LAST, date(2026, 6, 30), LAST, None)), ("lot-2", LAST), ("lot-2", LAST),
        ("lot-3", None), ("lot-3", None), ("lot-4", LAST), ("lot-4", LAST),
    ]  # fmt: skip
    with db.connect() as tx:
        run = tx.execute(text("select codes, document, person_code, ended_at from payments.legacy_ending")).one()
        whose = legacy_codes.whose(tx, payload="https://x.example/lot-1/Q-1", day=LAST + timedelta(days=1))
    assert tuple(run) == (7, "通知 9", "wang.ming", AT)
    assert [one.standing for one in whose.registered] == ["ended"]
    assert end(db) == Ended(0, 4, True)


def test_a_run_that_is_broken_off_between_two_batches_goes_on_where_it_was(db: Engine, four: list[Lot]) -> None:
    class AfterTheFirstBatch(Event):
        def is_set(self) -> bool:
            return any(last is not None for _, last in ends(db))

    told: list[str] = []
    assert end(db, batch=1, stop=AfterTheFirstBatch(), say=told.append) == Ended(2, 1, False)
    assert told == ["2 old codes of 1 lots are ended so far"]
    assert [last for _, last in ends(db)] == [LAST] * 2 + [None] * 6
    with pytest.raises(Conflict) as refused:
        end(db, document="通知 10")
    assert refused.value.code == "legacy_ending_conflict"
    later = AT + timedelta(days=400)
    assert end(db, batch=1, at=lambda: later) == Ended(4, 3, True)
    with db.connect() as tx:
        assert tx.execute(text("select codes, started_at, ended_at from payments.legacy_ending")).all() == [(6, AT, later)]


@pytest.mark.parametrize(
    ("last_day", "outcome", "kept"),
    [(None, "already", LAST), (LAST, "already", LAST), (date(2026, 11, 30), "completed", date(2026, 11, 30)),
     (date(2027, 1, 1), "refused", LAST)],
)  # fmt: skip
def test_a_lot_that_posts_its_code_again_is_told_nothing_wrong_and_may_end_it_earlier(
    db: Engine, four: list[Lot], last_day: date | None, outcome: str, kept: date
) -> None:
    end(db)
    again = NewLegacyCode(
        serial="Q-1", payload="https://x.example/lot-1/Q-1", kind="wechat", first_day=BEGIN, last_day=last_day, document="协议"
    )
    with db.begin() as tx:
        [answer] = legacy_codes.post(tx, lane=0, lot=four[0], codes=[again], body=b"[]", at=AT, ids=IDS)
    assert (answer.outcome, ends(db)[0]) == (outcome, ("lot-1", kept))


def test_one_districts_codes_end_by_themselves(db: Engine, four: list[Lot]) -> None:
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as tx:
        tx.execute(text("update payments.lot set district = '滨湖区' where code = 'lot-2'"))
    assert end(db, district="滨湖区") == Ended(2, 1, True)
    assert end(db) == Ended(4, 4, True)


def test_a_run_has_a_document_a_person_and_a_day_that_is_not_over(db: Engine, four: list[Lot]) -> None:
    for wrong in ({"document": " "}, {"last_day": date(2026, 3, 1)}):
        with pytest.raises(Refused) as refused:
            end(db, **wrong)
        assert refused.value.code == "legacy_ending_invalid"
    with pytest.raises(NotAllowed):
        end(db, person_code="nobody")
    assert {last for _, last in ends(db)} == {None}
