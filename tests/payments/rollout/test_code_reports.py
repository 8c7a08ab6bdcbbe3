"""Codes that look wrong: a case each, closed with words by a person, and an alarm of the lot as long as one is open."""

import json

import pytest
from sqlalchemy import Connection, text

from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments.lot_records import alarms
from payments.lots import Lot
from payments.rollout import code_reports
from payments.rollout.code_reports import NewReport
from tests.payments.conftest import AT, IDS, make_city
from tests.payments.owed.owing import staff


@pytest.fixture
def lot(tx: Connection) -> Lot:
    staff(tx)
    return make_city(tx)


def report(tx: Connection, lot: Lot | None, words: str | None = None) -> str:
    new = NewReport(kind="sticker", words=words, lot_id=lot.lot_id if lot else None, scanned=None if lot else "FAKE")
    return code_reports.open_case(tx, lane=0, report=new, at=AT, ids=IDS)


def watch(tx: Connection) -> list[tuple[str, bool]]:
    return [(change.kind, change.opened) for change in alarms.watch(tx, at=AT)]


def test_what_was_sent_is_kept_verbatim_and_is_a_case(tx: Connection, lot: Lot) -> None:
    number = report(tx, None, "在入口")
    [case] = code_reports.listed(tx)
    assert (case.number, case.kind, case.lot_code, case.words, case.closed_at) == (number, "sticker", None, "在入口", None)
    query = "select body, verdict from gateways.raw_message m join payments.code_report r on r.evidence_id = m.message_id"
    row = tx.execute(text(query)).one()
    assert (json.loads(row.body), row.verdict) == (
        {"kind": "sticker", "words": "在入口", "lot_id": None, "scanned": "FAKE"}, "unverified",
    )  # fmt: skip
    assert number.startswith("260302-")


def test_a_lot_sees_its_reported_code_as_an_alarm_until_the_last_case_is_closed(tx: Connection, lot: Lot) -> None:
    first, second = report(tx, lot), report(tx, lot)
    assert first != second
    assert (watch(tx), watch(tx)) == ([("reported", True)], [])
    [alarm] = alarms.alarms(tx, lot_id=lot.lot_id)
    assert alarm.detail.startswith("2 reports")
    for number, changed in ((first, []), (second, [("reported", False)])):
        code_reports.close(tx, number=number.lower(), person_code="wang.ming", closing="现场已撕掉假码", at=AT)
        assert watch(tx) == changed
    assert code_reports.listed(tx) == []
    assert [one.closed_by for one in code_reports.listed(tx, lot_id=lot.lot_id, is_open=None)] == ["wang.ming", "wang.ming"]


def test_a_report_without_a_lot_is_a_case_and_no_lots_alarm(tx: Connection, lot: Lot) -> None:
    report(tx, None)
    assert watch(tx) == []


def test_a_case_is_closed_once_by_a_person_with_words(tx: Connection, lot: Lot) -> None:
    number = report(tx, lot)

    def refused(error: type[Exception], *, by: str = "wang.ming", words: str = "看过", of: str = number) -> str:
        with pytest.raises(error) as told:
            code_reports.close(tx, number=of, person_code=by, closing=words, at=AT)
        return str(told.value.code)  # type: ignore[attr-defined]

    assert refused(Refused, words=" ") == refused(Refused, words="x" * 501) == "closing_invalid"
    assert refused(NotAllowed, by="nobody") == "person_unknown"
    assert refused(NotFound, of="260302-AAAA-AAAA") == "code_report_not_found"
    code_reports.close(tx, number=number, person_code="wang.ming", closing="看过", at=AT)
    assert refused(Conflict) == "code_report_closed"


def test_words_are_one_line_of_at_most_300_letters() -> None:
    assert code_reports.checked(" 入口\n左边\x00  的码 ") == "入口 左边 的码"
    assert code_reports.checked(" \n") is None
    assert code_reports.checked("码" * 300) == "码" * 300
    with pytest.raises(Refused) as refused:
        code_reports.checked("码" * 301)
    assert refused.value.code == "words_too_long"
