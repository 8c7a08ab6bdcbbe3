"""``tongting rollout``: rules, the report, old codes of a file, whose a code is, and cases."""

import argparse
import csv
import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.commands import codes as codes_cli
from app.commands import lots as lots_cli
from app.commands import rollout
from app.wiring import Wiring
from app.worker import count_hours, count_visits, erase_report_words, watch_lots
from config.settings import ROLLOUT
from ledger.clock import SetClock
from ledger.errors import Refused
from payments.codes import registry
from payments.codes.records import Place
from payments.rollout import code_reports
from payments.rollout.code_reports import NewReport
from payments.rollout.visits import Scans
from tests.app.conftest import City
from tests.payments.conftest import AT, IDS
from tests.payments.owed.owing import staff

Said = Callable[..., str]
HEADER = "lot,serial,payload,kind,first_day,last_day,document\n"
PLAN = str(ROLLOUT / "wuxi-2025.toml")


@pytest.fixture
def said(product: Wiring, two_lots: City) -> Said:
    def say(*words: str) -> str:
        parser = argparse.ArgumentParser()
        rollout.arguments(parser)
        return rollout.run(product, parser.parse_args(words))

    return say


def test_the_plan_is_entered_once_and_listed(said: Said) -> None:
    assert said("rules").startswith("no rules")
    assert said("enter", PLAN) == "wuxi-2025.toml: 20 of 20 rules are new"
    assert said("enter", PLAN) == "wuxi-2025.toml: 0 of 20 rules are new"
    assert said("rule", "lot-1", "city_code_only", "--from", "2026-06-01", "--document", "通知 9") == "the rule of lot-1 is entered"
    rules = said("rules").splitlines()
    assert rules[0] == "2025-03-17  invited             the city, every kind  by 锡政办发〔2025〕12号 §二(四)"
    assert "2026-06-01  city_code_only      lot-1  by 通知 9" in rules
    with pytest.raises(Refused):
        said("enter", "/nowhere.toml")


def test_the_report_is_a_table_or_csv(said: Said) -> None:
    said("enter", PLAN)
    table = said("report").splitlines()
    assert [line.split() for line in table[1:]] == [
        ["梁溪区", "government", "2", "200", "0", "0", "0", "0", "2", "200"],
        ["all", "2", "200", "0", "0", "0", "0", "2", "200"],
    ]
    [row] = csv.DictReader(io.StringIO(said("report", "--csv", "--day", "2025-12-31")))
    assert (row["day"], row["district"], row["lots"], row["overdue"]) == ("2025-12-31", "梁溪区", "2", "0")
    assert said("report", "--district", "江阴市") == "no lots"


def test_lots_that_are_behind_are_named_with_the_reason_and_the_document(said: Said) -> None:
    said("enter", PLAN)
    assert said("overdue", "--day", "2025-12-31") == "no lot is behind on 2025-12-31"
    first = said("overdue").splitlines()[0]
    assert first == ("lot-1  梁溪区  示例停车场  city_code_required since 2026-01-01 by 锡政办发〔2025〕12号 §二(四): no city code")
    [one, _] = csv.DictReader(io.StringIO(said("overdue", "--csv")))
    assert (one["lot_code"], one["on_code"]) == ("lot-1", "False")


def test_a_file_of_codes_is_registered_once_and_what_is_wrong_is_told_by_line(said: Said, tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    file.write_text(
        HEADER
        + "lot-1,Q1,https://x.example/1,wechat,2024-01-01,,协议 1\n"
        + 'lot-1,Q2,"https://x.example/2,3",bank,2024-01-01,2026-12-31,协议 1\n'
        + "lot-2,X1,https://x.example/1,wechat,2024-01-01,,协议 2\n"
        + "lot-1,Q3,https://x.example/3,cheque,2024-01-01,,协议 1\n"
        + "lot-7,Q4,https://x.example/4,wechat,2024-01-01,,协议 1\n",
        encoding="utf-8-sig",
    )
    told = said("codes", str(file)).splitlines()
    assert told[0] == "2 created, 3 refused"
    assert [line.split(" (")[0] for line in told[1:]] == [
        "line 5: malformed", "line 4: code_of_another", "line 6: lot_not_found",
    ]  # fmt: skip
    assert said("codes", str(file)).splitlines()[0] == "2 already, 3 refused"
    assert said("whose", " https://x.example/2,3 ") == (
        "allowed: 无锡示例停车1有限公司 (op-1), lot-1 示例停车场, bank, from 2024-01-01 to 2026-12-31 by 协议 1; "
        "required there: nothing yet"
    )
    assert said("whose", "https://x.example/1", "--lot", "lot-2").startswith("elsewhere: ")
    assert said("whose", "https://x.example/1", "--day", "2023-12-31").startswith("not_yet: ")
    assert said("whose", "https://fraud.example/") == "nobody has registered this code"


@pytest.mark.parametrize("content", [b"\xff", b"lot,serial\n", HEADER.encode() + b"lot-1,Q1\n", HEADER.encode() + b'"'])
def test_a_file_that_is_none_of_codes_registers_nothing(said: Said, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "codes.csv"
    file.write_bytes(content)
    with pytest.raises(Refused) as refused:
        said("codes", str(file))
    assert refused.value.code == "codes_file_invalid"


def test_old_codes_end_together_where_only_the_citys_may_hang(product: Wiring, said: Said, tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    file.write_text(HEADER + "lot-1,Q1,https://x.example/1,wechat,2024-01-01,,协议 1\n", encoding="utf-8")
    said("codes", str(file))
    said("enter", PLAN)
    with product.db.begin() as tx:
        staff(tx)
    told = ("--document", "通知 9", "--person", "wang.ming")
    assert said("end", "2026-06-30", *told) == "0 old codes end on 2026-06-30; 2 lots were looked at"
    assert said("end", "2026-12-31", *told) == "1 old codes end on 2026-12-31; 2 lots were looked at"
    assert said("whose", "https://x.example/1", "--day", "2027-01-01").startswith("ended: ")


def reported(product: Wiring, city: City, *, code_no: int | None = None) -> str:
    """A driver's case of lot-1."""
    with product.db.begin() as tx:
        report = NewReport(kind="password", words="要密码", lot_id=city.ours.lot_id, code_no=code_no)
        return code_reports.open_case(tx, lane=0, report=report, at=AT, ids=IDS)


DECIDED = ("--person", "wang.ming", "--document", "巡查单 8", "--words", "是假码，已撕")


def test_cases_are_listed_and_decided_with_words_and_a_document_by_a_person(product: Wiring, two_lots: City, said: Said) -> None:
    assert said("cases") == "no case is open"
    with product.db.begin() as tx:
        staff(tx)
    number = reported(product, two_lots)
    line = f"{number}  2026-03-02 12:00  password    lot-1 示例停车场  要密码"
    assert said("cases") == line
    assert said("decide", "confirmed", number, *DECIDED) == (f"{number}: confirmed; no code of the registry was taken out of use")
    assert said("cases") == "no case is open"
    assert said("cases", "--all") == f"{line}  confirmed 2026-03-02 12:00 by wang.ming with 巡查单 8: 是假码，已撕"


def test_a_code_bears_its_mark_in_the_list_until_it_is_decided_and_is_refused_when_confirmed(
    product: Wiring, two_lots: City, said: Said
) -> None:
    with product.db.begin() as tx:
        staff(tx)
        registry.issue(tx, lot=two_lots.ours, batch="b", places=[Place("berth", "A-01")], by="wang", at=AT)
    number = reported(product, two_lots, code_no=1)
    parser = argparse.ArgumentParser()
    codes_cli.arguments(parser)

    def listed() -> str:
        return codes_cli.run(product, parser.parse_args(["list", "lot-1"]))

    assert " issued " in listed()
    assert "reported: 1 open" in listed()
    assert said("decide", "confirmed", number, *DECIDED).startswith(f"{number}: confirmed; refused from now on: code 1;")
    assert " reported " in listed()
    assert "open" not in listed()


def test_drivers_words_are_erased_by_the_worker_as_the_rule_says(
    product: Wiring, two_lots: City, said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    assert said("keep-words").startswith("180 days from 2026-01-01")
    assert said("keep-words", "30", "--document", "个人信息保存期限 1") == "rule 2 is entered"
    with pytest.raises(Refused):
        said("keep-words", "30", "--from", "2026-05-01T00:00", "--document", "x")
    with product.db.begin() as tx:
        staff(tx)
    number = reported(product, two_lots)
    said("decide", "dismissed", number, *DECIDED)
    assert isinstance(product.clock, SetClock)
    product.clock.set(AT + timedelta(days=31))
    assert (erase_report_words(product), erase_report_words(product)) == (1, 0)
    assert "(words erased)" in said("cases", "--all")
    assert "open for longer" not in caplog.text
    reported(product, two_lots)
    assert erase_report_words(product) == 0
    assert "1 reports of codes are open for longer" in caplog.text


def lots_desk(product: Wiring) -> Said:
    parser = argparse.ArgumentParser()
    lots_cli.arguments(parser)
    return lambda *words: lots_cli.run(product, parser.parse_args(words))


def test_a_rule_of_drops_is_entered_with_its_measures_and_the_worker_counts_the_days(product: Wiring, two_lots: City) -> None:
    say = lots_desk(product)
    assert say("rule", "drop", "60", "--weeks", "8", "--least", "20", "--document", "通知 3") == "rule 1 is entered"
    assert "drop: 60 percent below the median of 8 weeks, if it is 20 or more, for the city" in say("rule")
    with pytest.raises(Refused):
        say("rule", "drop", "60", "--document", "通知 3")
    assert isinstance(product.clock, SetClock)
    product.clock.set(AT + timedelta(days=2))
    assert (count_visits(product), count_visits(product)) == (2, 0)


def test_a_lot_that_nobody_scans_any_more_is_an_alarm_of_the_worker_within_the_hour(
    product: Wiring, two_lots: City, caplog: pytest.LogCaptureFixture
) -> None:
    say, lot = lots_desk(product), two_lots.ours
    assert say("rule", "sudden", "60", "--weeks", "2", "--odds", "1000000", "--document", "通知 4") == "rule 1 is entered"
    assert "60 percent below the median of the same hours of 2 weeks, if chance brings so few once in 1000000 looks" in say("rule")
    with pytest.raises(Refused):
        say("rule", "sudden", "60", "--weeks", "2", "--least", "20", "--document", "通知 4")
    scans = Scans()
    for week in (1, 2):
        for _ in range(40):
            scans.count(lot.lot_id, AT - timedelta(weeks=week))
    scans.flush(product.db)
    with product.db.begin() as tx:
        tx.execute(text("update payments.lot set created_at = :at"), {"at": AT - timedelta(days=30)})
    assert isinstance(product.clock, SetClock)
    product.clock.set(AT + timedelta(minutes=65))
    count_visits(product)
    assert (count_hours(product), watch_lots(product), count_hours(product), watch_lots(product)) == (24, 1, 0, 0)
    assert "lot lot-1: sudden begins: scans 0 from 2026-03-02 12:00 to 13:00, the median of 2 such days before is 40" in caplog.text
