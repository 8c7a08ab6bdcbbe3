"""``tongting lot``: reports of what lots tell and hide, rules of alarms, and takings of operators without an API."""

import argparse
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.commands import lots as lots_cli
from app.wiring import Wiring
from app.worker import watch_lots
from ledger.clock import SetClock
from ledger.errors import Refused
from payments.lot_records import stays, takings
from payments.lot_records.stays import NewStay
from payments.lot_records.takings import NewTaking
from payments.orders import RandomTokens
from payments.refunding import refunds
from tests.app.conftest import City, later
from tests.payments.conftest import AT, IDS, make_charge

Said = Callable[..., str]
HEADER = "lot,serial,channel,charge_serial,amount_fen,taken_at,evidence_text\n"


@pytest.fixture
def said(product: Wiring, two_lots: City) -> Said:
    def say(*words: str) -> str:
        parser = argparse.ArgumentParser()
        lots_cli.arguments(parser)
        return lots_cli.run(product, parser.parse_args(words))

    return say


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.LogCaptureFixture]:
    """What the worker logs, whatever other tests of this process did to its logger."""
    worker = logging.getLogger("tongting.worker")
    monkeypatch.setattr(worker, "disabled", False)
    with caplog.at_level(logging.INFO, logger=worker.name):
        worker.addHandler(caplog.handler)
        yield caplog
        worker.removeHandler(caplog.handler)


def test_a_rule_makes_silence_an_alarm_that_the_worker_logs(
    product: Wiring, said: Said, logged: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    assert said("silence").startswith("no rule")
    assert said("rule", "silent", "10", "--document", "锡城管〔2026〕1号", "--lot", "lot-1") == "rule 1 is entered"
    assert "10 minutes for lot-1" in said("rule")
    assert isinstance(product.clock, SetClock)
    product.clock.set(later(11))
    assert (watch_lots(product), watch_lots(product)) == (1, 0)
    assert "lot lot-1: silent begins: not heard within 10 minutes: never" in logged.text
    assert said("silence").splitlines() == ["SILENT  lot-1  never  within 10 min"]
    assert said("alarms").startswith("silent        lot-1")


@pytest.mark.parametrize(
    "words", [("silent", "10"), ("silent", "0", "--document", "x"), ("leak", "1", "--document", "x", "--lot", "lot-9")]
)
def test_a_rule_without_its_document_or_number_or_lot_is_refused(said: Said, words: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        said("rule", *words)
    assert said("rule") == "no rules"


def test_gaps_openings_and_till_are_told(product: Wiring, two_lots: City, said: Said) -> None:
    assert said("gaps", "lot-1") == "lot-1 numbers no records"
    with product.db.begin() as tx:
        posted = [NewStay(serial="S3", number=3, plate="苏B12345", entered_at=AT)]
        stays.post(tx, lane=0, lot=two_lots.ours, stays=posted, at=AT, ids=IDS)
    assert "stay: last 3, 2 missing" in said("gaps", "lot-1")
    assert "stay 1 to 2" in said("gaps", "lot-1")
    assert said("openings", "lot-1").startswith("lot-1 opened no barrier by hand")
    assert said("till", "lot-1") == "the till of lot-1 holds 0.00 yuan"
    assert said("returns", "lot-1") == "nothing waits to be handed back"


def test_what_waits_to_be_handed_back_is_listed(product: Wiring, two_lots: City, said: Said) -> None:
    taken = NewTaking(serial="T1", channel="cash", charge_serial="C1", amount_fen=1200, taken_at=AT, evidence_text="1")
    with product.db.begin() as tx:
        make_charge(tx, two_lots.ours, "C1")
        takings.post(tx, lane=0, lot=two_lots.ours, takings=[taken], body=b"{}", at=AT, ids=IDS, tokens=RandomTokens())
        payment_id = tx.execute(text("select payment_id from payments.payment")).scalar_one()
        refunds.promise(
            tx, lane=0, payment_id=payment_id, amount_fen=200, source="operator", source_ref="G1", reason="",
            evidence_id=payment_id, at=AT - timedelta(days=3), ids=IDS,
        )  # fmt: skip
    assert "2.00 yuan of C1, promised" in said("returns")
    assert "by G1, 3 days ago" in said("returns", "lot-1", "--days", "2")
    assert said("returns", "lot-1", "--days", "4") == said("returns", "lot-2") == "nothing waits to be handed back"


def test_takings_of_a_file_are_booked_once_and_wrong_lines_are_named(
    product: Wiring, two_lots: City, said: Said, tmp_path: Path
) -> None:
    with product.db.begin() as tx:
        make_charge(tx, two_lots.ours, "C1")
    file = tmp_path / "takings.csv"
    file.write_text(
        HEADER
        + "lot-1,T1,cash,C1,1200,2026-03-02T11:00:00+08:00,收据1\n"
        + "lot-2,T1,legacy,,500,2026-03-02T11:00:00+08:00,旧码1\n"
        + "lot-1,T2,cash,,many,2026-03-02T11:00:00+08:00,收据2\n"
        + "lot-1,T3,cash,C9,100,2026-03-02T11:00:00+08:00,收据3\n",
        encoding="utf-8-sig",
    )
    first, second = said("takings", str(file)).splitlines(), said("takings", str(file)).splitlines()
    assert first[0] == "2 created, 2 refused"
    assert [line.split(":")[0] for line in first[1:]] == ["line 4", "line 5"]
    assert "charge_unknown" in first[2]
    assert second[0] == "2 already, 2 refused"
    assert "in the till 12.00" in said("till", "lot-1")
    with product.db.connect() as tx:
        kept = tx.execute(text("select body from gateways.raw_message where operation = 'takings'")).scalars().all()
        booked = tx.execute(text("select count(*), sum(amount_fen) from ledger.posting")).one()
    assert (len(kept), tuple(booked)) == (2, (2, 1700))
    assert any("旧码1" in bytes(body).decode() for body in kept)


@pytest.mark.parametrize(
    "content", [b"", b"lot,serial\n", HEADER.encode() + b"lot-1,T1\n", b"\xff\xfe", HEADER.replace("serial", "lot", 1).encode()]
)
def test_a_file_that_is_not_one_of_takings_is_refused_whole(said: Said, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "takings.csv"
    file.write_bytes(content)
    with pytest.raises(Refused) as wrong:
        said("takings", str(file))
    assert wrong.value.code == "takings_file_invalid"
