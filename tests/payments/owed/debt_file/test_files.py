"""A debt file holds what a court needs, proves it without our software, and tells nobody about others."""

import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pypdfium2  # type: ignore[import-untyped]  # ships no types
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text

from gateways import messages
from ledger import checkpoint, tree
from ledger.checkpoint import Signer
from ledger.errors import NotAllowed, NotFound, Refused
from ledger.seal import Sealer, Witness
from payments import fonts
from payments.lots import Lot
from payments.owed import debt_desk, debts, disputes
from payments.owed.debt_desk import Ask
from payments.owed.debt_file import bundle, files
from payments.owed.debt_file.case import Case
from payments.owed.debt_file.files import DebtFile
from payments.owed.debt_file.gather import Raw
from payments.owed.debt_file.pdf import pdf
from payments.owed.debts import Left
from payments.owed.disputes import Shown
from payments.results import apply
from tests.payments.conftest import AT, make_attempt, make_charge
from tests.payments.owed.dunning.conftest import Dunned
from tests.payments.owed.owing import CHECKER, IDS, MAKER, owe, staff

PLATE = "苏B12345"
ANOTHER = """
import hashlib, sys
import msgspec
from payments import fonts
from payments.owed.debt_file.case import Case
from payments.owed.debt_file.pdf import pdf
case = msgspec.json.decode(open(sys.argv[1], "rb").read(), type=Case)
print(hashlib.sha256(pdf(case, fonts.found(None))).hexdigest())
"""


@pytest.fixture
def signer() -> Signer:
    return Signer("tongting.example/lane/0", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def owing(db: Engine, city: Lot, tmp_path: Path, signer: Signer) -> Engine:
    """A plate with four debts: one let off in part, one reminded of and disputed, one paid, one told in a list; sealed."""
    with db.begin() as tx:
        staff(tx)
        single = messages.from_lot(operation="exit", body=b'{"plate":"B12345"}', at=AT, ids=IDS, occasion="1")
        many = messages.from_lot(operation="exit", body=b'[{"plate":"B12345"},{"plate":"B99999"}]', at=AT, ids=IDS, occasion="2")
        messages.keep(tx, lane=0, messages=[single, many])
        for serial, message in (("X1", single), ("X2", many)):
            left = Left(make_charge(tx, city, serial), "escaped", AT)
            debts.open_debts(tx, lane=0, left=[left], evidence_id=message.message_id, at=AT, ids=IDS)
        tx.execute(text("update payments.debt set due_on = '2026-02-20', limitation_on = '2029-02-20'"))
        waived, paid = owe(tx, city, 1500, 800, overdue_days=40)
        made = debt_desk.propose(
            tx, lane=0, kind="waiver", asked=[Ask(waived, 500)], reason="道闸故障", document=debt_desk.paper("审批表 7", b"scan"),
            by=MAKER, at=AT, ids=IDS,
        )  # fmt: skip
        debt_desk.approve(tx, lane=0, decision_id=made.decision_id, lines_digest=made.lines_digest, by=CHECKER, at=AT, ids=IDS)
        due = make_attempt(tx, city, paid)
    dunned = Dunned(db, city, tmp_path / "outbox")
    dunned.contact("mobile", "13800000001")
    dunned.plan()
    dunned.send()
    with db.begin() as tx:
        apply(tx, lane=0, notices=[due.callback()], at=AT, ids=IDS)
        disputes.open_dispute(
            tx, lane=0, charge_id=waived, reason="times_wrong", statement="出场时间不对", opened_by="page", opened_ref="s",
            at=AT, ids=IDS,
            shown=[Shown("小票.jpg", "image/jpeg", b"\xff\xd8photo")],
        )  # fmt: skip
    with db.connect() as connection:
        Sealer(lane=0, signer=signer, witness=Witness(tmp_path / "witness")).seal_once(connection, at=AT)
    return db


def make(db: Engine, *, by: str = MAKER, purpose: str = "（2026）苏0213民初1号", plate: str = PLATE) -> DebtFile:
    return files.make(
        db,
        lane=0,
        plate=plate,
        plate_color="blue",
        operator_code="op-1",
        by=by,
        purpose=purpose,
        font=fonts.found(None),
        at=AT,
        ids=IDS,
    )


def words(made: bytes) -> str:
    document = pypdfium2.PdfDocument(made)
    pages = [page.get_textpage().get_text_bounded() for page in document]
    document.close()
    return "\n".join(pages)


def unpacked(made: DebtFile, into: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(made.zip)) as archive:
        assert archive.testzip() is None
        archive.extractall(into)
    return into


def test_the_pdf_says_everything_a_court_needs(owing: Engine) -> None:
    made = make(owing)
    said = words(made.pdf)
    for wanted in (
        PLATE, "无锡示例停车1有限公司", "示例停车场", "每小时6元", "（2026）苏0213民初1号", "道闸故障", "出场时间不对", "审批表 7",
        "第一百八十八条", "138****0001", "减免", "第 1 页", "34.00",
    ):  # fmt: skip
        assert wanted in said, wanted
    assert made.case.owed_fen == 1200 + 1200 + 1000
    assert PLATE not in made.number


def test_the_same_case_gives_the_same_bytes_in_another_process(owing: Engine, tmp_path: Path) -> None:
    made = make(owing)
    (tmp_path / "case.json").write_bytes(msgspec.json.encode(made.case))
    environment = {"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[4])}
    again = subprocess.run(
        [sys.executable, "-c", ANOTHER, str(tmp_path / "case.json")], capture_output=True, text=True, check=True, env=environment
    )
    assert again.stdout.strip() == hashlib.sha256(made.pdf).hexdigest()
    raw = [Raw(name, b"x") for name in ("evidence/a", "evidence/b")]
    assert bundle.zipped(made.case, made.pdf, raw) == bundle.zipped(made.case, made.pdf, raw[::-1])


def test_the_manifest_is_checked_by_sha256sum_alone(owing: Engine, tmp_path: Path) -> None:
    folder = unpacked(make(owing), tmp_path / "out")
    checked = subprocess.run(["sha256sum", "-c", bundle.MANIFEST], cwd=folder, capture_output=True, text=True, check=True)
    listed = [line.partition(":")[0] for line in checked.stdout.splitlines()]
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == there - {bundle.MANIFEST}
    (folder / "debts.csv").write_bytes(b"changed")
    assert subprocess.run(["sha256sum", "-c", bundle.MANIFEST], cwd=folder, capture_output=True, check=False).returncode == 1


def test_every_entry_is_proven_up_to_the_signed_checkpoint(owing: Engine, signer: Signer) -> None:
    case = make(owing).case
    assert case.checkpoint is not None
    signed = checkpoint.read(case.checkpoint, verifier_key=signer.verifier_key())
    assert {entry.kind_name for entry in case.entries} == {"LEFT_UNPAID", "WAIVED", "PAYMENT"}
    assert sorted(entry.number or 0 for entry in case.entries) == [1, 2, 3, 4, 5, 6]
    assert {proof.entry_id for proof in case.proofs} == {entry.entry_id for entry in case.entries}
    for proof in case.proofs:
        leaf = hashlib.sha256(b"\0" + bytes.fromhex(proof.record)).digest()
        assert leaf.hex() == proof.leaf
        path = [bytes.fromhex(node) for node in proof.path]
        assert tree.inclusion_holds(leaf, index=proof.leaf_index, size=proof.tree_size, path=path, root=signed.root)


def test_raw_evidence_lies_beside_the_file_and_that_of_others_is_kept_back(owing: Engine, tmp_path: Path) -> None:
    made = make(owing)
    folder = unpacked(made, tmp_path / "out")
    bodies = {evidence.message_id: evidence for evidence in made.case.evidence}
    shown = [evidence for evidence in bodies.values() if evidence.file]
    assert [hashlib.sha256((folder / str(x.file)).read_bytes()).hexdigest() for x in shown] == [x.body_digest for x in shown]
    assert sum(evidence.file is None for evidence in bodies.values()) == 1
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"B99999" not in everything
    assert b"\xff\xd8photo" in everything


def test_the_limitation_is_computed_act_by_act(owing: Engine) -> None:
    case = make(owing).case
    for debt in case.debts:
        assert debt.limitation_on == (debt.acts[-1].ends_on if debt.acts else debt.limitation_from)


def test_every_look_up_is_written_down_with_its_reason_before_anything_is_read(owing: Engine) -> None:
    made = make(owing)
    with owing.begin() as tx:
        tx.execute(text("insert into payments.plate (number, color, salt) values ('苏B77777', 'blue', '')"))
    with pytest.raises(NotFound, match="no debt"):
        make(owing, plate="苏B77777")
    with owing.begin() as tx:
        rows = tx.execute(
            text("select lookup_id, person_code, purpose from payments.plate_lookup order by looked_at, lookup_id")
        ).all()
    assert (made.case.file_id, MAKER, "（2026）苏0213民初1号") in [tuple(row) for row in rows]
    assert len(rows) == 2


def test_nobody_makes_a_file_without_the_right_or_a_reason(owing: Engine) -> None:
    with pytest.raises(NotAllowed):
        make(owing, by=CHECKER)
    with pytest.raises(NotAllowed):
        make(owing, by="nobody")
    with pytest.raises(Refused, match="what the file is for"):
        make(owing, purpose=" x ")
    with pytest.raises(NotFound, match="no car"):
        make(owing, plate="苏B00009")


def test_a_font_with_chinese_is_found_or_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="fonts-noto-cjk"):
        fonts.found(None, usual=[])
    with pytest.raises(Refused, match="debt_file_font"):
        fonts.found(tmp_path / "none.ttf")
    named = fonts.found(None)
    assert fonts.found(named.path) == named


def test_a_table_of_many_pages_repeats_its_head_and_counts_its_pages(owing: Engine) -> None:
    case = make(owing).case
    many = msgspec.structs.replace(case, debts=case.debts * 20)
    document = pypdfium2.PdfDocument(pdf(many, fonts.found(None)))
    pages = [page.get_textpage().get_text_bounded() for page in document]
    document.close()
    assert all(f"第 {n} 页 / 共 {len(pages)} 页" in page for n, page in enumerate(pages, 1))
    assert sum("入场 / 离场" in page for page in pages) > 1


def test_no_cell_of_a_table_is_a_formula() -> None:
    rows = list(csv.reader(io.StringIO(bundle.table(("a",), [["=1+1"], ["-5"], ["ok"], [None]]).decode("utf-8-sig"))))
    assert rows == [["a"], ["'=1+1"], ["'-5"], ["ok"], [""]]


def test_a_case_is_read_back_from_its_json_as_it_was(owing: Engine) -> None:
    case = make(owing).case
    assert msgspec.json.decode(msgspec.json.encode(case), type=Case) == case
