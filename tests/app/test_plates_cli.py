"""``tongting plate``: two persons let a plate change hands or be forgotten, and see what was done."""

import argparse
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from app.commands import plates as plates_cli
from app.wiring import Wiring
from ledger.errors import Conflict, NotAllowed, Refused
from tests.app.conftest import City
from tests.payments.conftest import AT, IDS, make_charge
from tests.payments.owed.owing import CHECKER, MAKER, owe, staff

Said = Callable[..., str]
NUMBER = "苏B12345"


@pytest.fixture
def said(product: Wiring, two_lots: City) -> Said:
    with product.db.begin() as tx:
        staff(tx)
        owe(tx, two_lots.ours, 1200)

    def say(*words: str) -> str:
        parser = argparse.ArgumentParser()
        plates_cli.arguments(parser)
        return plates_cli.run(product, parser.parse_args(words))

    return say


@pytest.fixture
def paper(tmp_path: Path) -> str:
    path = tmp_path / "登记证书.pdf"
    path.write_bytes(b"scan")
    return str(path)


def test_a_plate_changes_hands_when_the_second_person_approves(said: Said, product: Wiring, paper: str) -> None:
    waits = said(
        "transfer", NUMBER, "blue", "--from", "2026-03-02T11:00", "--reason", "sold", "--document", paper, "--by", MAKER
    )  # fmt: skip
    change = waits.partition(" ")[0]
    assert "waits for a second person" in waits
    assert "proposed" in said("list", "--state", "proposed")
    with pytest.raises(NotAllowed):
        said("approve", change, "--by", MAKER)
    assert said("approve", change, "--by", CHECKER) == f"{change} is approved"
    listed = said("list", "--plate", NUMBER)
    assert f"{NUMBER} blue" in listed
    assert "from 2026-03-02 11:00" in listed
    assert f"by {MAKER}, {CHECKER}" in listed
    with product.db.connect() as tx:
        assert tx.execute(text("select count(*) from payments.plate where held_since is not null")).scalar_one() == 1


def test_a_plate_that_owes_is_not_forgotten(said: Said, paper: str) -> None:
    with pytest.raises(Conflict, match="a charge is open"):
        said("erase", NUMBER, "blue", "--reason", "asked for", "--document", paper, "--by", MAKER)
    assert said("list") == "No plate has changed."


def test_a_change_is_rejected_with_words(said: Said, paper: str) -> None:
    waits = said(
        "transfer", NUMBER, "blue", "--from", "2026-03-02T11:00", "--reason", "sold", "--document", paper, "--by", MAKER
    )  # fmt: skip
    change = waits.partition(" ")[0]
    assert said("reject", change, "--by", CHECKER, "--note", "no proof") == f"{change} is rejected"
    assert said("list", "--state", "approved") == "No plate has changed."


@pytest.mark.parametrize(("moment", "document"), [("yesterday", None), ("2026-03-02T11:00", "/nowhere/to/be/found")])
def test_what_cannot_be_read_is_refused_in_words(said: Said, paper: str, moment: str, document: str | None) -> None:
    with pytest.raises(Refused, match=r"yesterday|cannot be read"):
        said(
            "transfer", NUMBER, "blue", "--from", moment, "--reason", "sold", "--document", document or paper, "--by", MAKER
        )  # fmt: skip


def test_likely_misreadings_and_lookups_are_printed(said: Said, product: Wiring, two_lots: City) -> None:
    with product.db.begin() as tx:
        make_charge(tx, two_lots.ours, "S9", plate="苏B1234S")
        row = tx.execute(
            text(
                "select c.charge_id, p.plate_id from payments.charge c join payments.plate p using (plate_id) where number = :plate"
            ),
            {"plate": NUMBER},
        ).one()
        charge_id: UUID = row.charge_id
        assert said("lookups") == "Nobody has looked a plate up."
        looked = text("""
            insert into payments.plate_lookup (lookup_id, plate_id, person_code, purpose, looked_at)
            values (:id, :plate, :person, 'case 7', :at)
            """)
        tx.execute(looked, {"id": IDS.new(AT, "look"), "plate": row.plate_id, "person": MAKER, "at": AT})
    found = said("likely", str(charge_id))
    assert "苏B1234S blue" in found
    assert "0 minutes apart" in found
    assert said("lookups", "--plate", NUMBER).endswith(f"{NUMBER} blue       by {MAKER}  case 7")
