"""Corrections: credit notes take charges away, paid or not, and new bills stand for them."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, Engine, event, text

from app.checks import violations
from gateways.contract import ChannelState, RefundResult, RefundState
from ledger import documents
from ledger.errors import NotFound, Refused
from ledger.ids import refund_number
from payments import events, store
from payments.amends import corrections, credit_notes
from payments.amends.correction_store import Held, Paid
from payments.amends.corrections import Corrected, NewCorrection
from payments.amends.credit_notes import Signer
from payments.amends.promising import decide
from payments.lot_records import takings
from payments.lot_records.intake import Rejected
from payments.lot_records.takings import NewTaking
from payments.lots import Lot
from payments.orders import RandomTokens
from payments.owed import disputes
from payments.results import Notice
from payments.splitting import rules, splits
from payments.splitting.rules import NewLeg, NewRule
from tests.payments.conftest import AT, IDS, Due, books, make_charge, make_city, message, new_charge
from tests.payments.owed.test_debts import debt, leave, part_of
from tests.payments.test_results import applied, findings

CLEARING, RECEIVABLE, INCOME, REFUNDED, CORRECTED, PAYABLE = 101201, 112201, 600101, 600103, 600104, 224102
EVIDENCE = UUID(int=0x019CACB3F2007DD39711_2B7289CD0F00)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = Signer(KEY.sign, KEY.public_key().public_bytes_raw())


def asked(serial: str = "K1", charge_serial: str = "S1", **other: object) -> NewCorrection:
    said: dict[str, object] = {"serial": serial, "charge_serial": charge_serial, "kind": "cancel", "reason": "wrong_time"} | other
    return NewCorrection(**said)  # type: ignore[arg-type]


def correct(db: Engine, lot: Lot, *given: NewCorrection) -> list[Corrected]:
    with db.begin() as tx:
        return corrections.post(
            tx, lane=0, lot=lot, corrections=given, evidence_id=EVIDENCE, signer=SIGNER, at=AT + timedelta(hours=1), ids=IDS
        )  # fmt: skip


def outcome(answer: Corrected) -> tuple[str, str | None]:
    return answer.outcome, answer.reason


def charge(db: Engine, serial: str, lot_id: int) -> dict[str, Any]:
    with db.connect() as tx:
        found = store.charges_by_serial(tx, lane=0, lot_id=lot_id, serials=[serial])[serial]
    return {"state": found.state, "paid": found.paid_fen, "reduced": found.reduced_fen, "owed": found.owed_fen}


def told(db: Engine, lot: Lot) -> list[str]:
    """Kinds of the lot's events, sorted: those of one moment have no order."""
    with db.connect() as tx:
        return sorted(one.event.kind for one in events.read(tx, lane=0, lot_id=lot.lot_id).events)


def sound(db: Engine) -> bool:
    with db.connect() as tx:
        return violations(tx) == [] and corrections.check(tx) == []


@pytest.fixture
def gate(db: Engine, city: Lot) -> UUID:
    """A charge of 12 yuan whose car stands at the gate."""
    with db.begin() as tx:
        return make_charge(tx, city, "S1")


@pytest.fixture
def owed(db: Engine, gate: UUID) -> UUID:
    """The same after the car has left: a debt."""
    leave(db, gate, basis="escaped")
    return gate


def pay(db: Engine, lot: Lot, charge_id: UUID, fen: int | None = None) -> Due:
    due = part_of(db, lot, charge_id, fen)
    assert findings(applied(db, due.callback()))[0] in ("settled", "part")
    return due


# Not in the book


def test_a_charge_at_the_gate_is_taken_away_without_an_entry(db: Engine, city: Lot, gate: UUID) -> None:
    [answer] = correct(db, city, asked())
    assert (answer.outcome, answer.note, answer.amount_fen, answer.credited_fen) == ("created", "lot-1.000001", 1200, 1200)
    assert charge(db, "S1", city.lot_id) == {"state": "credited", "paid": 0, "reduced": 1200, "owed": 0}
    assert books(db).entries == []
    assert told(db, city) == ["charge.corrected"]
    assert sound(db)


def test_a_reduced_charge_at_the_gate_is_paid_with_what_is_left(db: Engine, city: Lot, gate: UUID) -> None:
    correct(db, city, asked(kind="reduce", amount_fen=200))
    assert charge(db, "S1", city.lot_id)["owed"] == 1000
    pay(db, city, gate)
    assert books(db).entries == [(CLEARING, INCOME, 1000)]
    assert sound(db)


# A debt


def test_what_is_owed_of_a_debt_is_credited_in_the_book(db: Engine, city: Lot, owed: UUID) -> None:
    [answer] = correct(db, city, asked(kind="reduce", amount_fen=500))
    assert (answer.credited_fen, answer.refunded_fen) == (500, 0)
    assert books(db).entries == [(RECEIVABLE, INCOME, 1200), (CORRECTED, RECEIVABLE, 500)]
    assert (debt(db, owed)["state"], debt(db, owed)["owed_fen"]) == ("open", 700)
    assert told(db, city) == ["charge.corrected", "debt.opened", "debt.reduced"]
    correct(db, city, asked("K2"))
    assert (debt(db, owed)["state"], debt(db, owed)["owed_fen"]) == ("credited", 0)
    assert sound(db)


def test_a_debt_paid_in_part_is_credited_first_and_what_was_paid_goes_back(db: Engine, city: Lot, owed: UUID) -> None:
    pay(db, city, owed, 300)
    [answer] = correct(db, city, asked())
    assert (answer.amount_fen, answer.credited_fen, answer.refunded_fen) == (1200, 900, 300)
    assert books(db).entries == [
        (CLEARING, RECEIVABLE, 300), (RECEIVABLE, INCOME, 1200), (REFUNDED, PAYABLE, 300), (CORRECTED, RECEIVABLE, 900),
    ]  # fmt: skip
    assert charge(db, "S1", city.lot_id) == {"state": "credited", "paid": 300, "reduced": 900, "owed": 0}
    assert sound(db)


# Paid


def test_what_was_paid_too_much_goes_back_and_the_charge_stays_settled(db: Engine, city: Lot, gate: UUID) -> None:
    paid = pay(db, city, gate)
    [answer] = correct(db, city, asked(kind="reduce", amount_fen=200))
    assert (answer.credited_fen, answer.refunded_fen) == (0, 200)
    assert charge(db, "S1", city.lot_id) == {"state": "settled", "paid": 1200, "reduced": 0, "owed": 0}
    assert books(db).entries == [(CLEARING, INCOME, 1200), (REFUNDED, PAYABLE, 200)]
    with db.connect() as tx:
        _, [back] = corrections.by_serial(tx, lane=0, lot_id=city.lot_id, serial="K1")
    assert (back.payment_id, back.amount_fen, back.state) == (paid.attempt.payment_id, 200, "promised")
    assert sound(db)


def test_the_refund_of_a_note_is_carried_out_like_any_other(db: Engine, city: Lot, gate: UUID) -> None:
    paid = pay(db, city, gate)
    correct(db, city, asked())
    with db.connect() as tx:
        _, [back] = corrections.by_serial(tx, lane=0, lot_id=city.lot_id, serial="K1")
    done = RefundResult(
        channel="wechat", state=RefundState.DONE, refund_no=refund_number(0, back.refund_id), order_no=paid.order_no,
        provider_no="1900000001", merchant_no=paid.attempt.merchant_no, trade_no=paid.result().trade_no, refund_fen=1200,
        channel_refund_no="50", happened_at=AT,
    )  # fmt: skip
    assert findings(applied(db, Notice(message("refund"), None, "query", done))) == ["done"]
    with db.connect() as tx:
        row = tx.execute(text("select refunded_fen, returned_fen, booked_fen from payments.v_credit_note")).one()
    assert tuple(row) == (1200, 1200, 0)
    assert sound(db)


def test_of_several_parts_the_newest_goes_back_first(db: Engine, city: Lot, owed: UUID) -> None:
    first, second = part_of(db, city, owed, 500), part_of(db, city, owed, 700)
    applied(db, first.callback(happened_at=AT), second.callback(happened_at=AT + timedelta(minutes=1)))
    correct(db, city, asked(kind="reduce", amount_fen=900))
    with db.connect() as tx:
        _, backs = corrections.by_serial(tx, lane=0, lot_id=city.lot_id, serial="K1")
    assert {one.payment_id: one.amount_fen for one in backs} == {second.attempt.payment_id: 700, first.attempt.payment_id: 200}
    assert sound(db)


def test_nothing_is_given_back_twice(db: Engine, city: Lot, gate: UUID) -> None:
    pay(db, city, gate)
    correct(db, city, asked(kind="reduce", amount_fen=800))
    [too_much] = correct(db, city, asked("K2", kind="reduce", amount_fen=500))
    assert outcome(too_much) == ("refused", "amount_exceeds")
    assert "400 of 1200 are left" in (too_much.detail or "")
    [rest] = correct(db, city, asked("K3"))
    assert rest.refunded_fen == 400
    [none] = correct(db, city, asked("K4"))
    assert outcome(none) == ("refused", "nothing_left")
    assert sound(db)


def test_what_a_channel_proved_not_given_back_is_not_credited_again(db: Engine, city: Lot, gate: UUID) -> None:
    pay(db, city, gate)
    correct(db, city, asked())
    with db.begin() as tx:
        tx.execute(text("update payments.refund set state = 'closed'"))
    [again] = correct(db, city, asked("K2"))
    assert outcome(again) == ("refused", "nothing_left")


def test_what_was_paid_in_cash_is_promised_and_nobody_is_called(db: Engine, city: Lot, gate: UUID) -> None:
    taking = NewTaking(serial="T1", channel="cash", charge_serial="S1", amount_fen=1200, taken_at=AT, evidence_text="收据 1")
    with db.begin() as tx:
        takings.post(tx, lane=0, lot=city, takings=[taking], body=b"[]", tokens=RandomTokens(), at=AT, ids=IDS)
    [answer] = correct(db, city, asked())
    assert (outcome(answer), answer.refunded_fen) == (("created", None), 1200)
    with db.connect() as tx:
        _, [back] = corrections.by_serial(tx, lane=0, lot_id=city.lot_id, serial="K1")
        assert tx.execute(text("select count(*) from payments.next_refund")).scalar_one() == 0
    assert (back.state, back.amount_fen) == ("promised", 1200)
    assert (REFUNDED, PAYABLE, 1200) in books(db).entries
    assert sound(db)


def test_a_payment_in_suspense_is_no_part_of_what_goes_back(db: Engine, city: Lot, owed: UUID) -> None:
    first, second = part_of(db, city, owed, None), part_of(db, city, owed, None)
    assert findings(applied(db, first.callback(), second.callback())) == ["settled", "second_payment"]
    [answer] = correct(db, city, asked())
    assert answer.refunded_fen == 1200
    with db.connect() as tx:
        _, [back] = corrections.by_serial(tx, lane=0, lot_id=city.lot_id, serial="K1")
    assert back.payment_id == first.attempt.payment_id
    assert sound(db)


def test_what_the_channel_takes_back_after_a_note_is_due_without_what_was_credited(db: Engine, city: Lot, owed: UUID) -> None:
    paid = pay(db, city, owed, 500)
    correct(db, city, asked(kind="reduce", amount_fen=700))
    assert charge(db, "S1", city.lot_id)["state"] == "credited"
    assert findings(applied(db, paid.callback(state=ChannelState.REVERSED))) == ["taken_back"]
    assert charge(db, "S1", city.lot_id) == {"state": "open", "paid": 0, "reduced": 700, "owed": 500}
    assert sound(db)


# While somebody pays


def test_while_a_payer_is_paying_nothing_is_corrected(db: Engine, city: Lot, due: Callable[..., Due]) -> None:
    one = due()
    [answer] = correct(db, city, asked())
    assert outcome(answer) == ("refused", "payment_under_way")
    applied(db, one.callback(state=ChannelState.CLOSED))
    [answer] = correct(db, city, asked())
    assert answer.outcome == "created"
    assert sound(db)


def test_a_payment_that_succeeds_after_the_note_lies_in_suspense(db: Engine, city: Lot, due: Callable[..., Due]) -> None:
    one = due()
    applied(db, one.callback(state=ChannelState.CLOSED))
    correct(db, city, asked())
    assert findings(applied(db, one.callback())) == ["second_payment"]
    assert books(db).cases == ["refund_second_payment"]
    assert sound(db)


# Replaced


def test_a_misread_plate_is_put_right_and_the_new_bill_is_a_debt_at_once(db: Engine, city: Lot, owed: UUID) -> None:
    new = new_charge("S1b", plate="苏B1234S", amount_fen=900)
    [answer] = correct(db, city, asked(kind="replace", reason="misread_plate", new=new))
    assert answer.credited_fen == 1200
    assert books(db).entries == [(RECEIVABLE, INCOME, 900), (RECEIVABLE, INCOME, 1200), (CORRECTED, RECEIVABLE, 1200)]
    with db.connect() as tx:
        [found] = store.open_charges(tx, lane=0, lot_id=city.lot_id, number="苏B1234S")
        assert store.open_charges(tx, lane=0, lot_id=city.lot_id, number="苏B12345") == []
    of_new, of_old = debt(db, found.charge_id), debt(db, owed)
    assert (of_new["owed_fen"], of_new["basis"], of_new["due_on"]) == (900, "escaped", of_old["due_on"])
    assert of_old["owed_fen"] == 0
    assert told(db, city) == ["charge.corrected", "debt.opened", "debt.opened", "debt.reduced"]
    assert sound(db)


def test_the_new_bill_of_a_car_at_the_gate_is_no_debt(db: Engine, city: Lot, gate: UUID) -> None:
    correct(db, city, asked(kind="replace", reason="wrong_tariff", new=new_charge("S1b", amount_fen=600)))
    assert charge(db, "S1b", city.lot_id) == {"state": "open", "paid": 0, "reduced": 0, "owed": 600}
    assert books(db).entries == []
    assert sound(db)


def test_a_correction_is_refused_with_its_new_bill_and_the_old_one_stands(db: Engine, city: Lot, owed: UUID) -> None:
    with db.begin() as tx:
        make_charge(tx, city, "S2")
    refused = correct(
        db, city,
        asked("K1", kind="replace", new=new_charge("S1b", amount_fen=0)),
        asked("K2", kind="replace", new=new_charge("S2")),
        asked("K3", kind="replace", new=new_charge("S2", amount_fen=5)),
        asked("K4", kind="replace", new=new_charge("S1")),
    )  # fmt: skip
    assert [(one.reason, one.field) for one in refused] == [
        ("amount_invalid", "new.amount_fen"), ("charge_twice", "charge_serial"), ("charge_twice", "charge_serial"),
        ("correction_invalid", "new.lot_serial"),
    ]  # fmt: skip
    [taken] = correct(db, city, asked("K5", kind="replace", new=new_charge("S2")))
    assert (taken.reason, taken.field) == ("new_serial_taken", "new.lot_serial")
    [differs] = correct(db, city, asked("K6", kind="replace", new=new_charge("S2", amount_fen=5)))
    assert (differs.reason, differs.field) == ("content_differs", "new.amount_fen")
    assert debt(db, owed)["owed_fen"] == 1200
    assert sound(db)


# Repeats and refusals


def test_the_same_correction_again_is_already_made_and_another_under_its_serial_is_refused(
    db: Engine, city: Lot, owed: UUID
) -> None:
    first = asked(kind="replace", new=new_charge("S1b", plate="苏B1234S"))
    [made] = correct(db, city, first)
    [again] = correct(db, city, first)
    assert again == msgspec.structs.replace(made, outcome="already")
    [other] = correct(db, city, asked(kind="reduce", amount_fen=1))
    assert outcome(other) == ("refused", "content_differs")
    assert len(books(db).entries) == 3
    assert sound(db)


def test_a_serial_that_comes_twice_in_a_call_counts_once(db: Engine, city: Lot, gate: UUID) -> None:
    answers = correct(db, city, asked(), asked(), asked(reason="complaint"))
    assert [outcome(one) for one in answers] == [("created", None), ("already", None), ("refused", "content_differs")]


def test_notes_of_a_lot_are_counted_densely_and_a_refused_one_takes_no_number(db: Engine, city: Lot) -> None:
    with db.begin() as tx:
        other = make_city(tx, number=2)
        for lot in (city, other):
            for count in range(3):
                make_charge(tx, lot, f"S{count}", plate=f"苏B1234{count}")
    first = correct(db, city, asked("K0", "S0"), asked("KX", "unknown"), asked("K1", "S1"))
    second = correct(db, city, asked("K2", "S2"))
    third = correct(db, other, asked("K0", "S0"))
    assert [one.note for one in [*first, *second, *third]] == [
        "lot-1.000001", None, "lot-1.000002", "lot-1.000003", "lot-2.000001",
    ]  # fmt: skip
    with db.connect() as tx:
        rows = tx.execute(
            text("select notes, amount_fen, first_sequence, last_sequence from payments.v_credit_note_day order by 1")
        )
        assert [tuple(row) for row in rows] == [(1, 1200, 1, 1), (3, 3600, 1, 3)]


def test_the_charge_of_another_lot_is_unknown_here(db: Engine, city: Lot, gate: UUID) -> None:
    with db.begin() as tx:
        other = make_city(tx, number=2)
    [answer] = correct(db, other, asked())
    assert outcome(answer) == ("refused", "charge_unknown")
    assert charge(db, "S1", city.lot_id)["owed"] == 1200


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        (asked(kind="reduce"), "correction_invalid", "amount_fen"),
        (asked(amount_fen=5), "correction_invalid", "amount_fen"),
        (asked(kind="reduce", amount_fen=0), "correction_invalid", "amount_fen"),
        (asked(kind="reduce", amount_fen=1201), "amount_exceeds", "amount_fen"),
        (asked(kind="replace"), "correction_invalid", "new"),
        (asked(new=new_charge("S9")), "correction_invalid", "new"),
        (asked(""), "serial_invalid", "serial"),
        (asked(text="x" * 501), "words_invalid", "text"),
        (asked(charge_serial="nothing"), "charge_unknown", "charge_serial"),
    ],
)
def test_a_correction_that_cannot_be_is_refused_by_itself(
    db: Engine, city: Lot, gate: UUID, given: NewCorrection, reason: str, field: str
) -> None:
    [wrong] = correct(db, city, given)
    assert (wrong.outcome, wrong.reason, wrong.field) == ("refused", reason, field)
    assert charge(db, "S1", city.lot_id)["owed"] == 1200


def test_more_corrections_than_a_call_takes_are_refused(db: Engine, city: Lot) -> None:
    with pytest.raises(Refused) as refused:
        correct(db, city, *[asked(f"K{count}") for count in range(1001)])
    assert refused.value.code == "too_many_records"


def test_what_is_written_off_is_written_back_before_it_is_corrected(db: Engine, city: Lot, owed: UUID) -> None:
    with db.begin() as tx:
        tx.execute(text("update payments.charge set state = 'written_off', reduced_fen = amount_fen"))
        tx.execute(text("update payments.debt set owed_fen = 0"))
    [answer] = correct(db, city, asked())
    assert outcome(answer) == ("refused", "nothing_left")
    assert "written back" in (answer.detail or "")


# The document


def test_a_note_is_signed_sealed_and_names_no_plate(db: Engine, city: Lot, owed: UUID) -> None:
    correct(db, city, asked(text="车牌苏B12345识别错误"))
    with db.connect() as tx:
        note = credit_notes.by_number(tx, lane=0, lot_id=city.lot_id, note="lot-1.000001")
        [leaf] = documents.find(tx, lane=0, document_ids=[note.note_id])
        salt = tx.execute(text("select salt from payments.plate")).scalar_one()
    document = bytes(note.document)
    key = Ed25519PublicKey.from_public_bytes(bytes(note.public_key))
    key.verify(bytes(note.signature), document)
    with pytest.raises(InvalidSignature):
        key.verify(bytes(note.signature), document.replace(b"1200", b"1300"))
    assert (leaf.kind, leaf.digest) == (documents.DocumentKind.CREDIT_NOTE, hashlib.sha256(document).digest())
    said = msgspec.json.decode(document)
    assert (said["number"], said["charge_serial"], said["amount_fen"], said["was_debt"]) == ("lot-1.000001", "S1", 1200, True)
    assert said["plate_digest"] == hashlib.sha256(bytes(salt) + "苏B12345".encode()).hexdigest()
    assert "12345" not in document.decode()
    assert note.words == "车牌苏B12345识别错误"


@pytest.mark.parametrize("table", ["credit_note", "credit_note_refund"])
def test_notes_are_never_changed(db: Engine, city: Lot, gate: UUID, table: str) -> None:
    pay(db, city, gate)
    correct(db, city, asked())
    for statement in (f"update payments.{table} set amount_fen = 1", f"delete from payments.{table}"):
        with pytest.raises(Exception, match=r"append|permission|restrict|changed"), db.begin() as tx:
            tx.execute(text(statement))


def test_what_is_not_there_is_not_found(tx: Connection) -> None:
    lot = make_city(tx)
    for question in (
        lambda: corrections.by_serial(tx, lane=0, lot_id=lot.lot_id, serial="K1"),
        lambda: credit_notes.by_number(tx, lane=0, lot_id=lot.lot_id, note="lot-1.000001"),
    ):
        with pytest.raises(NotFound):
            question()


# What hangs on a debt


def test_a_dispute_about_a_debt_that_is_cancelled_is_upheld(db: Engine, city: Lot, owed: UUID) -> None:
    with db.begin() as tx:
        disputes.open_dispute(
            tx, lane=0, charge_id=owed, reason="not_my_car", statement="非本车", opened_by="page", opened_ref="p", at=AT, ids=IDS
        )  # fmt: skip
    correct(db, city, asked(reason="misread_plate"))
    with db.connect() as tx:
        row = tx.execute(text("select state, decided_note from payments.debt_dispute")).one()
        assert tx.execute(text("select disputed_at from payments.debt")).scalar_one() is None
    assert (row.state, "lot-1.000001" in row.decided_note) == ("upheld", True)
    assert told(db, city) == ["charge.corrected", "debt.disputed", "debt.disputed", "debt.opened", "debt.reduced"]


def test_a_dispute_about_a_debt_that_is_only_reduced_stays_open(db: Engine, city: Lot, owed: UUID) -> None:
    with db.begin() as tx:
        disputes.open_dispute(
            tx, lane=0, charge_id=owed, reason="times_wrong", statement="时间不对", opened_by="page", opened_ref="p", at=AT, ids=IDS
        )  # fmt: skip
    correct(db, city, asked(kind="reduce", amount_fen=1))
    with db.connect() as tx:
        assert tx.execute(text("select state from payments.debt_dispute")).scalar_one() == "open"


def test_many_corrections_are_made_with_as_many_statements_as_few(db: Engine, city: Lot) -> None:
    made_here: list[UUID] = []
    with db.begin() as tx:
        for count in range(40):
            made_here.append(make_charge(tx, city, f"S{count}", plate=f"苏B123{count:02d}"))
    leave(db, *made_here)
    made = []
    for first, last in ((0, 2), (2, 40)):
        given = [
            asked(f"K{n}", f"S{n}", kind="replace", new=new_charge(f"N{n}", plate=f"苏B223{n:02d}")) for n in range(first, last)
        ]
        with db.begin() as tx:
            statements: list[str] = []
            event.listen(tx, "before_cursor_execute", lambda *said, kept=statements: kept.append(said[2]))
            answers = corrections.post(
                tx, lane=0, lot=city, corrections=given, evidence_id=EVIDENCE, signer=SIGNER, at=AT, ids=IDS
            )  # fmt: skip
        assert {one.outcome for one in answers} == {"created"}
        made.append(len(statements))
    assert made[0] == made[1]
    assert sound(db)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("update payments.credit_note set credited_fen = credited_fen - 1, amount_fen = amount_fen - 1", "its entry says 900"),
        ("update payments.credit_note set document = document || ' '", "is not the one that was sealed"),
        ("update payments.credit_note_refund set amount_fen = amount_fen - 1", "its refunds sum to 0"),
        ("update payments.credit_note set sequence = 2", "the last is number 2"),
        ("update payments.charge set reduced_fen = 899, state = 'open'", "its credit notes take away 1200"),
        ("delete from payments.credit_note", "without a credit note"),
    ],
)
def test_whatever_is_changed_behind_our_back_shows(
    db: Engine, database: str, city: Lot, owed: UUID, statement: str, says: str
) -> None:
    pay(db, city, owed, 300)
    correct(db, city, asked())
    assert sound(db)
    with psycopg.connect(database.replace("+psycopg", "")) as superuser:
        superuser.execute("set session_replication_role = replica")
        superuser.execute(statement.encode())
    with db.connect() as tx:
        assert says in " ".join(one.detail for one in corrections.check(tx))


# At the same moment


def test_the_same_correction_twice_at_the_same_moment_is_one_note(db: Engine, city: Lot, owed: UUID) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: correct(db, city, asked())[0], range(4)))
    assert sorted(one.outcome for one in answers) == ["already", "already", "already", "created"]
    assert books(db).entries == [(RECEIVABLE, INCOME, 1200), (CORRECTED, RECEIVABLE, 1200)]
    assert sound(db)


def test_a_channels_word_waits_for_the_correction_and_finds_its_refund(db: Engine, city: Lot, gate: UUID) -> None:
    paid = pay(db, city, gate)
    with ThreadPoolExecutor(1) as pool, db.connect() as holder:
        holder.begin()
        corrections.post(
            holder, lane=0, lot=city, corrections=[asked()], evidence_id=EVIDENCE, signer=SIGNER, at=AT, ids=IDS
        )  # fmt: skip
        word = pool.submit(applied, db, paid.callback(state=ChannelState.REVERSED))
        with pytest.raises(TimeoutError):
            word.result(timeout=0.5)
        holder.commit()
        assert findings(word.result(timeout=20)) == ["taken_back_after_refund"]
    assert charge(db, "S1", city.lot_id)["state"] == "settled"
    assert sound(db)


def test_corrections_and_payments_of_the_same_charges_never_wait_in_a_circle(db: Engine, city: Lot) -> None:
    with db.begin() as tx:
        charge_ids = [make_charge(tx, city, f"S{n}", plate=f"苏B1234{n}") for n in range(8)]
    leave(db, *charge_ids)
    parts = [part_of(db, city, one, 300) for one in charge_ids]
    with ThreadPoolExecutor(4) as pool:
        words = [pool.submit(applied, db, *[one.callback() for one in group]) for group in (parts[:4], parts[4:])]
        given = [asked(f"K{n}", f"S{n}") for n in reversed(range(8))]
        answers = [pool.submit(correct, db, city, *group) for group in (given[:4], given[4:])]
        assert {finding for word in words for finding in findings(word.result(timeout=60))} == {"part"}
        made = [one for answer in answers for one in answer.result(timeout=60)]
    assert {outcome(one) for one in made} <= {("created", None), ("refused", "payment_under_way")}
    again = correct(db, city, *given)
    assert {one.outcome for one in again} <= {"created", "already"}
    assert sum(one.amount_fen or 0 for one in again) == 8 * 1200
    assert sound(db)


# Cut for several payees


def test_a_part_of_a_charge_that_was_cut_is_corrected_in_its_payees_book(db: Engine, city: Lot) -> None:
    with db.begin() as tx:
        other = make_city(tx, number=2)
        _share(tx, city)
        plate = store.plate_ids(tx, plates=[("苏B12345", "blue")], salt=lambda: bytes(16))
        splits.post(tx, lane=0, lot=city, charges=[new_charge("S1")], plate_ids=plate, energy_fen={}, at=AT, ids=IDS)
        ids = tx.execute(text("select charge_id from payments.charge order by lot_serial")).scalars().all()
    leave(db, *ids)
    whole, part = correct(db, city, asked("K1", "S1"), asked("K2", "S1#1"))
    assert outcome(whole) == ("refused", "charge_unknown")
    assert "S1#1" in (whole.detail or "")
    assert part.amount_fen == 840
    with db.connect() as tx:
        row = tx.execute(text("select operator_id, amount_fen, booked_fen from payments.v_credit_note")).one()
    assert tuple(row) == (other.operator_id, 840, 840)
    assert sound(db)


def _share(tx: Connection, lot: Lot) -> None:
    """70 % of the lot's charges belong to another operator."""
    legs = tuple(
        NewLeg(operator=code, share_bps=bps, words="停车费", words_en="parking") for code, bps in (("op-2", 7000), ("op-1", 3000))
    )
    rule = NewRule(lot=lot.code, valid_from=AT - timedelta(days=9), document="agreement", leg=legs)
    rules.add_rule(tx, lane=0, rule=rule, at=AT - timedelta(days=10), ids=IDS)


# Pure


def test_a_card_whose_issuer_decides_is_waited_for() -> None:
    with pytest.raises(Rejected) as refused:
        decide(_held(), [], wanted_fen=None, live_way="card")
    assert refused.value.code == "card_under_way"


def test_what_an_operator_gave_back_by_itself_is_not_left() -> None:
    paid = _paid(1200, returned_fen=1000)
    effect = decide(_held(paid_fen=1200, state="settled"), [paid], wanted_fen=None, live_way=None)
    assert (effect.credited_fen, effect.refunded_fen) == (0, 200)


def test_the_newest_payment_goes_back_first_whatever_took_it() -> None:
    paid = [_paid(500), _paid(700, channel="cash")]
    charge = _held(paid_fen=1200, state="settled")
    back = [
        [(one.channel, fen) for one, fen in decide(charge, paid, wanted_fen=wanted, live_way=None).back] for wanted in (500, 501)
    ]
    assert back == [[("wechat", 500)], [("wechat", 500), ("cash", 1)]]


def _held(**other: object) -> Held:
    said: dict[str, object] = {
        "charge_id": UUID(int=1), "operator_id": 1, "operator_name": "x", "credit_code": "x", "book_id": 1, "lot_serial": "S1",
        "plate": "苏B12345", "salt": b"", "entered_at": AT, "left_at": None, "state": "open", "amount_fen": 1200, "paid_fen": 0,
        "reduced_fen": 0, "noted_fen": 0, "is_receivable": False, "basis": None, "opened_at": None,
    } | other  # fmt: skip
    return Held(**said)  # type: ignore[arg-type]


def _paid(taken_fen: int, *, channel: str = "wechat", returned_fen: int = 0) -> Paid:
    return Paid(
        payment_id=UUID(int=taken_fen << 8), charge_id=UUID(int=1), channel=channel, provider_no="1", merchant_no="1", trade_no="1",
        taken_fen=taken_fen, returned_fen=returned_fen,
    )  # fmt: skip
