"""A code that is reported reaches its operator's system over the wire, and nothing of whoever reported it does."""

from payments.codes import registry, telling
from payments.codes.records import Place
from payments.rollout import code_reports
from payments.rollout.code_reports import NewReport
from tests.payments.conftest import AT, IDS
from tests.payments.owed.owing import staff
from tests.payments.webhooks.conftest import Town


def issued(town: Town, *names: str) -> list[int]:
    with town.db.begin() as tx:
        places = [Place("berth", name) for name in names]
        return [code.code_no for code in registry.issue(tx, lot=town.lot, batch="b", places=places, by="wang", at=AT)]


def test_a_drivers_report_and_its_end_are_pushed_in_order_without_the_drivers_words(town: Town) -> None:
    [code_no] = issued(town, "A-01")
    town.add("code.*")
    with town.db.begin() as tx:
        staff(tx)
        report = NewReport(kind="password", words="我的电话 13800000000", lot_id=town.lot.lot_id, code_no=code_no)
        number = code_reports.open_case(tx, lane=0, report=report, at=AT, ids=IDS)
    with town.db.begin() as tx:
        code_reports.decide(
            tx, lane=0, numbers=[number], outcome="confirmed", person_code="wang.ming", document="巡查单 8", words="是假码", at=AT,
            ids=IDS,
        )  # fmt: skip
    assert [town.push().delivered, town.push().delivered] in ([1, 1], [2, 0])
    at = "2026-03-02T04:00:00Z"
    data = {
        "kind": "code.reported", "case": number, "code_no": code_no, "place": "berth A-01", "is_refused": False, "at": at,
        "reason": "password", "lot_code": "lot-1",
    }  # fmt: skip
    assert [got.content for got in town.receiver.got] == [
        {"type": "code.reported", "timestamp": at, "data": data},
        {
            "type": "code.decided", "timestamp": at,
            "data": data | {"kind": "code.decided", "is_refused": True, "reason": "confirmed"},
        },
    ]  # fmt: skip
    assert not any(b"1380" in got.body or "巡查".encode() in got.body for got in town.receiver.got)


def test_codes_that_the_desk_reports_are_pushed_once_each_to_their_own_operator(town: Town) -> None:
    numbers = issued(town, "A-01", "A-02")
    town.add()
    town.add(owner=None, lot=True, url=f"{town.receiver.url}/own")
    for _ in range(2):
        with town.db.begin() as tx:
            found = telling.report(tx, lane=0, code_nos=numbers, reason="stolen", by="wang", at=AT, ids=IDS)
        assert [code.state for code in found] == ["reported", "reported"]
    assert town.push().delivered == 4
    told = [got.content["data"] for got in town.receiver.got]
    assert sorted(one["code_no"] for one in told) == sorted(numbers * 2)
    assert {(one["reason"], one["is_refused"], one["case"]) for one in told} == {("desk", True, None)}
