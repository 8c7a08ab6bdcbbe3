"""Codes that look wrong: a case each, a mark beside the code and an alarm of the lot, until a person decides it."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, text

from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments.codes import registry
from payments.codes.records import Place
from payments.lot_records import alarms
from payments.lots import Lot
from payments.rollout import code_reports
from payments.rollout.code_reports import NewReport, Outcome
from tests.payments.conftest import AT, IDS, make_city
from tests.payments.owed.owing import staff


@pytest.fixture
def lot(tx: Connection) -> Lot:
    staff(tx)
    return make_city(tx)


@pytest.fixture
def code_no(tx: Connection, lot: Lot) -> int:
    [code] = registry.issue(tx, lot=lot, batch="b", places=[Place("berth", "A-01")], by="wang", at=AT)
    return code.code_no


def report(tx: Connection, lot: Lot | None, words: str | None = None, *, code_no: int | None = None) -> str:
    new = NewReport(
        kind="sticker", words=words, lot_id=lot.lot_id if lot else None, code_no=code_no, scanned=None if lot else "FAKE"
    )
    return code_reports.open_case(tx, lane=0, report=new, at=AT, ids=IDS)


def decide(tx: Connection, *numbers: str, outcome: Outcome = "mended", **other: Any) -> list[int]:
    said: dict[str, Any] = {"person_code": "wang.ming", "document": "巡查单 8", "words": "现场已撕掉假码"} | other
    return code_reports.decide(tx, lane=0, numbers=numbers, outcome=outcome, at=AT, ids=IDS, **said)


def watch(tx: Connection) -> list[tuple[str, bool]]:
    return [(change.kind, change.opened) for change in alarms.watch(tx, at=AT)]


def told(tx: Connection) -> list[dict[str, Any]]:
    """The events that went out, in order."""
    return [json.loads(body) for body in tx.execute(text("select body from payments.outbox order by ctid")).scalars()]


def test_what_was_sent_is_kept_and_is_a_case_and_the_words_can_be_proven_while_they_stand(tx: Connection, lot: Lot) -> None:
    number = report(tx, None, "在入口")
    [case] = code_reports.listed(tx)
    assert (case.number, case.kind, case.lot_code, case.words, case.closed_at) == (number, "sticker", None, "在入口", None)
    row = tx.execute(
        text("""
        select m.body, m.verdict, r.words_salt
        from gateways.raw_message m join payments.code_report r on r.evidence_id = m.message_id
        """)
    ).one()
    digest = code_reports.words_digest("在入口", row.words_salt)
    assert (json.loads(row.body), row.verdict) == (
        {"kind": "sticker", "lot_id": None, "code_no": None, "scanned": "FAKE", "words_digest": digest}, "unverified",
    )  # fmt: skip
    assert number.startswith("260302-")


def test_a_lot_sees_its_reported_code_as_an_alarm_until_the_last_case_is_decided(tx: Connection, lot: Lot) -> None:
    first, second = report(tx, lot), report(tx, lot)
    assert first != second
    assert (watch(tx), watch(tx)) == ([("reported", True)], [])
    [alarm] = alarms.alarms(tx, lot_id=lot.lot_id)
    assert alarm.detail.startswith("2 reports")
    for number, changed in ((first, []), (second, [("reported", False)])):
        decide(tx, number.lower())
        assert watch(tx) == changed
    assert code_reports.listed(tx) == []
    found = code_reports.listed(tx, lot_id=lot.lot_id, is_open=None)
    assert [(one.closed_by, one.outcome, one.document) for one in found] == [("wang.ming", "mended", "巡查单 8")] * 2


def test_a_report_without_a_lot_is_a_case_and_no_lots_alarm_and_nobody_is_told(tx: Connection, lot: Lot) -> None:
    assert decide(tx, report(tx, None), outcome="confirmed") == []
    assert (watch(tx), told(tx)) == ([], [])


def test_a_strangers_report_marks_the_code_and_it_is_paid_with_as_before(tx: Connection, lot: Lot, code_no: int) -> None:
    report(tx, lot, code_no=code_no)
    report(tx, lot, code_no=code_no)
    report(tx, lot)
    [code] = registry.listed(tx, lot=lot)
    assert (code.state, code.reports, code.acts) == ("issued", 2, 1)


@pytest.mark.parametrize("outcome", ["mended", "dismissed"])
def test_the_mark_goes_with_the_last_case_and_the_code_goes_on(tx: Connection, lot: Lot, code_no: int, outcome: Outcome) -> None:
    cases = [report(tx, lot, code_no=code_no) for _ in range(2)]
    assert decide(tx, *cases, outcome=outcome) == []
    [code] = registry.listed(tx, lot=lot)
    assert (code.state, code.reports) == ("issued", 0)


def test_a_confirmed_code_is_refused_and_its_history_names_case_document_and_person(tx: Connection, lot: Lot, code_no: int) -> None:
    number = report(tx, lot, code_no=code_no)
    assert decide(tx, number, outcome="confirmed") == [code_no]
    assert registry.code(tx, code_no=code_no).state == "reported"
    last = registry.history(tx, code_no=code_no)[-1]
    assert (last.act, last.reason, last.done_by) == ("reported", f"{number}: 巡查单 8", "wang.ming")


def test_a_code_that_was_taken_down_meanwhile_stays_so_when_its_case_is_confirmed(tx: Connection, lot: Lot, code_no: int) -> None:
    number = report(tx, lot, code_no=code_no)
    registry.retire(tx, code_nos=[code_no], reason="lot closed", by="wang", at=AT)
    assert decide(tx, number, outcome="confirmed") == []
    assert registry.code(tx, code_no=code_no).state == "retired"


def test_the_operator_is_told_of_the_first_case_of_each_code_and_of_its_end(tx: Connection, lot: Lot, code_no: int) -> None:
    first, second = (report(tx, lot, "我的电话 138", code_no=code_no) for _ in range(2))
    own = report(tx, lot)
    at = AT.isoformat().replace("+00:00", "Z")
    said = {"kind": "code.reported", "case": first, "code_no": code_no, "place": "berth A-01", "is_refused": False, "at": at}
    assert told(tx) == [
        said | {"reason": "sticker"}, said | {"case": own, "code_no": None, "place": None, "reason": "sticker"},
    ]  # fmt: skip
    decide(tx, first, outcome="dismissed")
    assert len(told(tx)) == 2
    decide(tx, second, own, outcome="dismissed")
    assert sorted((one["case"], one["reason"], one["is_refused"]) for one in told(tx)[2:]) == sorted(
        [(second, "dismissed", False), (own, "dismissed", False)]
    )
    again = report(tx, lot, code_no=code_no)
    decide(tx, again, outcome="confirmed")
    assert [(one["kind"], one["reason"], one["is_refused"]) for one in told(tx)[4:]] == [
        ("code.reported", "sticker", False), ("code.decided", "confirmed", True),
    ]  # fmt: skip


def test_a_case_is_decided_once_by_a_person_with_words_and_a_document(tx: Connection, lot: Lot) -> None:
    number = report(tx, lot)

    def refused(error: type[Exception], *numbers: str, **other: Any) -> str:
        with pytest.raises(error) as said:
            decide(tx, *(numbers or (number,)), **other)
        return str(said.value.code)  # type: ignore[attr-defined]

    assert {refused(Refused, **wrong) for wrong in ({"words": " "}, {"words": "x" * 501}, {"document": ""})} == {"closing_invalid"}
    assert refused(NotAllowed, person_code="nobody") == "person_unknown"
    assert refused(NotFound, number, "260302-AAAA-AAAA") == "code_report_not_found"
    assert len(code_reports.listed(tx)) == 1
    decide(tx, number)
    assert refused(Conflict) == "code_report_closed"


def test_words_are_one_line_of_at_most_300_letters() -> None:
    assert code_reports.checked(" 入口\n左边\x00  的码 ") == "入口 左边 的码"
    assert code_reports.checked(" \n") is None
    assert code_reports.checked("码" * 300) == "码" * 300
    with pytest.raises(Refused) as refused:
        code_reports.checked("码" * 301)
    assert refused.value.code == "words_too_long"
