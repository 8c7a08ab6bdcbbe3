"""``tongting debts``: two persons, exact lines, files that name their purpose; what is not allowed is one sentence."""

import argparse
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from app.commands import debts as debts_cli
from app.wiring import Wiring
from ledger.errors import Refused
from payments import results
from tests.app.conftest import City
from tests.payments.conftest import AT, make_attempt
from tests.payments.owed.owing import CHECKER, MAKER, debt, overdue, owe

Said = Callable[..., str]


@pytest.fixture
def owed(product: Wiring, two_lots: City) -> list[UUID]:
    with product.db.begin() as tx:
        made = owe(tx, two_lots.ours, 1200, 300)
        overdue(tx, made, days=3 * 366)
        return made


@pytest.fixture
def said(product: Wiring, tmp_path: Path) -> Said:
    parser = argparse.ArgumentParser()
    debts_cli.arguments(parser)

    def say(*words: object) -> str:
        return debts_cli.run(product, parser.parse_args([str(word) for word in words]))

    say("person", "add", MAKER, "--maker", "--document", "任命书 1")
    say("person", "add", CHECKER, "--checker", "--document", "任命书 2")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF signed")
    return say


def found(pattern: str, words: str) -> str:
    match = re.search(pattern, words)
    assert match is not None, words
    return match[1]


def test_two_persons_let_a_debt_off(product: Wiring, said: Said, owed: list[UUID], tmp_path: Path) -> None:
    paper = ("--reason", "设备故障", "--document", tmp_path / "paper.pdf", "--by", MAKER)
    proposed = said("waive", owed[0], "--yuan", "2.00", *paper)
    decision, digest = found(r"\n(\S+)  waiver", proposed), found(r"digest (\w+)", proposed)
    assert said("decisions").startswith(decision)
    assert str(owed[0]) in said("decisions", decision)
    with pytest.raises(Refused, match="not the digest"):
        said("approve", decision, "--digest", digest[:15], "--by", CHECKER)
    with pytest.raises(Refused, match="another person"):
        said("approve", decision, "--digest", digest[:16], "--by", MAKER)
    assert "approved" in said("approve", decision, "--digest", digest[:16], "--by", CHECKER)
    with product.db.begin() as tx:
        assert debt(tx, owed[0]) == ("open", 200, 1000)
    with pytest.raises(Refused, match="one debt"):
        said("waive", *owed, "--yuan", "2.00", *paper)
    with pytest.raises(Refused, match="amount in yuan"):
        said("waive", owed[0], "--yuan", "two", *paper)


def test_all_over_limitation_are_written_off_and_one_is_written_back(
    product: Wiring, said: Said, owed: list[UUID], tmp_path: Path
) -> None:
    paper = ("--reason", "超过时效", "--document", tmp_path / "paper.pdf", "--document-name", "核销表 1", "--by", MAKER)
    assert "no open debt" in said("write-off", "--ended-before", "2020-01-01", *paper)
    for words in (("write-off", "--ended-before", "2026-03-02", "--operator", "op-1"), ("write-back", owed[1])):
        proposed = said(*words, *paper)
        said("approve", found(r"\n(\S+)  write", proposed), "--digest", found(r"digest (\w+)", proposed), "--by", CHECKER)
    with product.db.begin() as tx:
        assert [debt(tx, one)[0] for one in owed] == ["written_off", "open"]
    rejected = said("write-off", owed[1], *paper)
    assert "rejected" in said("reject", found(r"\n(\S+)  write", rejected), "--note", "再等等", "--by", CHECKER)
    assert said("decisions") == "No decision waits."


def test_debts_are_listed_with_masked_plates_and_by_age(said: Said, owed: list[UUID]) -> None:
    listed = said("list", "--operator", "op-1", "--plate", "苏B12345")
    assert all(str(one) in listed for one in owed)
    assert "苏B12345" not in listed
    assert said("list", "--state", "settled") == "There is no debt."
    assert "15.00" in said("ageing", "--by", "lot")
    assert str(owed[0]) in said("ending")


def test_a_dispute_goes_its_way(said: Said, owed: list[UUID], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    opened = said("dispute", owed[0], "not_my_car", "不是我的车", "--show", tmp_path / "a.jpg", "--by", MAKER)
    dispute = found(r"^(\S+)", opened)
    assert "a.jpg" in said("disputes", dispute)
    assert "rejected" in said("dispute-reject", dispute, "--note", "照片相符", "--by", MAKER)
    assert said("disputes") == "No dispute waits."
    again = found(r"^(\S+)", said("dispute", owed[0], "exempt", "军车", "--by", MAKER))
    upheld = said("dispute-uphold", again, "--reason", "属实", "--document", tmp_path / "paper.pdf", "--by", MAKER)
    said("approve", found(r"\n(\S+)  waiver", upheld), "--digest", found(r"digest (\w+)", upheld), "--by", CHECKER)
    with pytest.raises(Refused, match="nothing is owed"):
        said("dispute", owed[0], "other", "x", "--by", MAKER)
    with pytest.raises(Refused, match="cannot be read"):
        said("dispute", owed[1], "other", "x", "--show", tmp_path / "none.jpg", "--by", MAKER)


def test_a_dispute_of_a_paid_debt_says_so_and_what_is_to_be_done(
    product: Wiring, said: Said, owed: list[UUID], two_lots: City, tmp_path: Path
) -> None:
    dispute = found(r"^(\S+)", said("dispute", owed[0], "not_there", "没去过", "--by", MAKER))
    with product.db.begin() as tx:
        paid = make_attempt(tx, two_lots.ours, owed[0])
        results.apply(tx, lane=0, notices=[paid.answer()], at=AT, ids=product.ids)
    assert "paid, objection still to be decided" in said("disputes")
    assert "paid, objection still to be decided" in said("disputes", dispute)
    paper = ("--reason", "属实", "--document", tmp_path / "paper.pdf", "--by", MAKER)
    with pytest.raises(Refused, match="1200 fen were paid"):
        said("dispute-uphold", dispute, "--yuan", "12.01", *paper)
    upheld = said("dispute-uphold", dispute, *paper)
    assert "nothing is let off" in upheld
    assert "12.00 yuan go back" in upheld
    assert "correction of charge D" in upheld
    assert "12.00 yuan go back" in said("disputes")
    assert said("decisions") == "No decision waits."


def test_a_debt_file_is_written_and_its_name_tells_no_plate(product: Wiring, said: Said, owed: list[UUID], tmp_path: Path) -> None:
    made = said("file", "苏B12345", "op-1", "--purpose", "（2026）苏0213民初1号", "--out", tmp_path / "out", "--by", MAKER)
    assert "2 debts, 15.00 yuan" in made
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.rpartition(".")[2] for name in names] == ["pdf", "zip"]
    assert not any("12345" in name for name in names)
    assert zipfile.ZipFile(tmp_path / "out" / names[1]).testzip() is None
    with product.db.begin() as tx:
        assert tx.execute(text("select person_code from payments.plate_lookup")).scalars().all() == [MAKER]
    (tmp_path / "taken").write_text("")
    with pytest.raises(Refused, match="cannot be written"):
        said("file", "苏B12345", "op-1", "--purpose", "再次制作", "--out", tmp_path / "taken", "--by", MAKER)


def test_dunning_by_command_plans_sends_proves_and_bounces(product: Wiring, said: Said, owed: list[UUID], tmp_path: Path) -> None:
    said(
        "contact",
        "苏B12345",
        "address",
        "无锡市梁溪区示例路1号",
        "--document",
        "同意书 1",
        "--erase-on",
        "2027-01-01",
        "--proven-holder",
    )
    (tmp_path / "rule.toml").write_text(
        'document = "方案 9"\nvalid_from = 2026-03-02T12:00:00+08:00\n'
        '[[steps]]\nstep = 1\ndays_after_due = 1\nchannels = ["post"]\ntemplate_code = "demand"\nowed_fen_min = 1\n'
    )
    assert "counts from" in said("rule", tmp_path / "rule.toml")
    assert "方案 9" in said("rule")
    assert "1 reminders of 2 debts planned; 1 sent" in said("dun")
    assert "1 reminders of 2 debts planned; 0 sent" in said("dun")
    [letter] = (product.settings.dunning_outbox / "post").iterdir()
    assert "示例停车场" in letter.read_text()
    with product.db.begin() as tx:
        reminder = tx.execute(text("select reminder_id from payments.reminder")).scalar_one()
    assert "counts from" in said("prove", reminder, "--at", "2026-03-02T12:00", "--proof", "EMS 1", "--by", MAKER)
    assert "came back" in said("bounced", reminder, "--reason", "查无此人")
    (tmp_path / "broken.toml").write_text("document = 1")
    with pytest.raises(Refused, match="cannot be read"):
        said("rule", tmp_path / "broken.toml")


def test_texts_quiet_days_contacts_and_instalments_are_entered(said: Said, owed: list[UUID], tmp_path: Path) -> None:
    (tmp_path / "text.toml").write_text(
        'template_code = "kind"\nlanguage = "zh"\nvalid_from = 2026-03-02T12:00:00+08:00\nsubject = "提醒"\n'
        'body = "{amount} {link} {number}"\ndocument = "方案 9"\n'
    )
    assert said("text", tmp_path / "text.toml").startswith("text kind (zh)")
    assert said("quiet", "2026-05-01", "2026-05-02", "--document", "国办发明电 1") == "2 days entered"
    contact = said("contact", "苏B12345", "mobile", "13800000001", "--document", "同意书", "--erase-on", "2027-01-01")
    assert "has ended" in said("contact-withdraw", contact.split()[1])
    plan = said("instalments", "苏B12345", "op-1", "2026-04-01", "2026-05-01", "--document", "协议 1", "--by", MAKER)
    assert "7.50" in plan
    assert MAKER in said("person", "end", CHECKER)
