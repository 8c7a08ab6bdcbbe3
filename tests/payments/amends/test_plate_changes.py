"""Plates: number and colour make one, they change hands, are misread, and are forgotten on request."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.checks import violations
from ledger import documents
from ledger.errors import Conflict, NotAllowed, NotFound, Refused
from payments import charges, results, store
from payments.amends import corrections, plate_changes
from payments.amends.corrections import NewCorrection
from payments.amends.credit_notes import Signer
from payments.amends.plate_change_store import Change
from payments.amends.plate_changes import misreadings, plates_match
from payments.errors import ChargeUnknown, PlateRefused
from payments.lot_records import stays
from payments.lot_records.stays import NewStay
from payments.lots import Lot
from payments.mandates import deduction_plan_store, deduction_store
from payments.owed import debts
from payments.owed.debt_desk import Paper, paper
from payments.owed.debts import Left
from payments.owed.dunning import contacts
from payments.owed.dunning.contacts import NewContact
from tests.payments.conftest import AT, IDS, make_attempt, make_charge
from tests.payments.owed.owing import CHECKER, MAKER, desk, owe  # noqa: F401  # a fixture

NUMBER = "苏B12345"
DOCUMENT: Paper = paper("机动车登记证书 7", b"scan")
SINCE = AT - timedelta(hours=1)


def plate_id(tx: Connection, color: str = "blue", number: str = NUMBER) -> int:
    query = text("select plate_id from payments.plate where number = :number and color = :color")
    return int(tx.execute(query, {"number": number, "color": color}).scalar_one())


def propose(tx: Connection, *, since: datetime = SINCE, color: str = "blue", by: str = MAKER) -> Change:
    return plate_changes.transfer(
        tx, lane=0, number=NUMBER, color=color, held_since=since, reason="sold", document=DOCUMENT, by=by, at=AT, ids=IDS  # type: ignore[arg-type]
    )  # fmt: skip


def handed_over(tx: Connection, *, since: datetime = SINCE, color: str = "blue") -> Change:
    return plate_changes.approve(tx, lane=0, change_id=propose(tx, since=since, color=color).change_id, by=CHECKER, at=AT)


def forget(tx: Connection, *, color: str = "blue") -> Change:
    return plate_changes.erase(
        tx, lane=0, number=NUMBER, color=color, reason="asked for", document=DOCUMENT, by=MAKER, at=AT, ids=IDS  # type: ignore[arg-type]
    )  # fmt: skip


def open_here(tx: Connection, lot: Lot) -> list[str]:
    return [one.lot_serial for one in store.open_charges(tx, lane=0, lot_id=lot.lot_id, number=NUMBER)]


def contact(tx: Connection) -> UUID:
    given = NewContact(
        plate=NUMBER, plate_color="blue", medium="mobile", value="13800000000", purpose="all", document="consent 1",
        erase_on=date(2027, 1, 1),
    )  # fmt: skip
    return contacts.enter(tx, contact=given, at=AT - timedelta(days=10), ids=IDS)


# Number and colour


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("苏B12345", "blue"), ("苏B12345", "blue"), True),
        (("苏B12345", "blue"), ("苏B12345", "yellow"), False),
        (("苏B12345", "unknown"), ("苏B12345", "yellow"), True),
        (("苏B12345", "blue"), ("苏B12345", "unknown"), True),
        (("苏B12345", "blue"), ("苏B12346", "blue"), False),
        (("苏B12345", "unknown"), ("苏B12346", "unknown"), False),
    ],
)
def test_plates_are_one_by_number_and_a_colour_that_nobody_told_fits_all(one: Any, other: Any, same: bool) -> None:
    assert plates_match(one, other) is same
    assert plates_match(other, one) is same


def test_debts_of_one_number_and_two_colours_belong_to_two_plates(desk: Connection, city: Lot) -> None:  # noqa: F811
    blue = make_charge(desk, city, "S1", plate_color="blue")
    yellow = make_charge(desk, city, "S2", plate_color="yellow")
    held = store.charges_by_ids(desk, lane=0, charge_ids=[blue, yellow])
    assert {one.plate_color for one in held} == {"blue", "yellow"}
    assert plate_id(desk, "blue") != plate_id(desk, "yellow")
    handed_over(desk, color="blue")
    assert open_here(desk, city) == ["S2"]


def test_the_entrance_of_the_other_colour_is_no_entrance_of_this_charge(desk: Connection, city: Lot) -> None:  # noqa: F811
    make_charge(desk, city, "S1", plate_color="blue")
    make_charge(desk, city, "S2", plate_color="yellow")
    make_charge(desk, city, "S3", plate_color="unknown")
    for serial, color in (("E1", "blue"), ("E2", "yellow")):
        deduction_store.insert_entrance(
            desk, entrance_id=IDS.new(AT, serial), lane=0, operator_id=city.operator_id, lot_id=city.lot_id, lot_serial=serial,
            plate_id=plate_id(desk, color), entered_at=AT - timedelta(hours=2), free_minutes=0, lot_name=city.name, at=AT,
        )  # fmt: skip
    found = {}
    for serial, color in (("S1", "blue"), ("S2", "yellow"), ("S3", "unknown")):
        charge = charges.by_serial(desk, lane=0, lot_id=city.lot_id, lot_serial=serial)
        entry = deduction_store.stay_of(desk, charge=charge, channel="etc", merchant_no="1").entry
        assert entry is not None
        found[color] = entry.plate_color
    assert (found["blue"], found["yellow"]) == ("blue", "yellow")
    assert found["unknown"] in ("blue", "yellow")


def test_whoever_types_a_number_without_colour_sees_every_colour_of_it(desk: Connection, city: Lot) -> None:  # noqa: F811
    for serial, color in (("S1", "blue"), ("S2", "yellow"), ("S3", "unknown")):
        make_charge(desk, city, serial, plate_color=color)
    shown = charges.due(desk, lane=0, lot_id=city.lot_id, plate=NUMBER)
    assert sorted((one.lot_serial, one.plate_color) for one in shown) == [("S1", "blue"), ("S2", "yellow"), ("S3", "unknown")]


# Another owner


def test_what_was_before_stays_owed_and_never_shows_to_the_new_owner(desk: Connection, city: Lot) -> None:  # noqa: F811
    [old] = owe(desk, city, 1200)
    make_charge(desk, city, "S2", entered_at=AT - timedelta(minutes=30), minutes=30)
    made = handed_over(desk)
    assert (made.state, made.proposed_by, made.decided_by) == ("approved", MAKER, CHECKER)
    assert open_here(desk, city) == ["S2"]
    assert [one.lot_serial for one in store.open_charges_anywhere(desk, lane=0, number=NUMBER, limit=9)] == ["S2"]
    assert desk.execute(text("select owed_fen from payments.debt where charge_id = :id"), {"id": old}).scalar_one() == 1200
    assert violations(desk) == []


def test_mandates_end_and_no_earlier_debt_is_ever_deducted_from_the_new_owner(desk: Connection, city: Lot) -> None:  # noqa: F811
    [old] = owe(desk, city, 1200)
    new = make_charge(desk, city, "S2", entered_at=AT - timedelta(minutes=30), minutes=30)
    debts.open_debts(desk, lane=0, left=[Left(new, "mandate", AT)], evidence_id=old, at=AT, ids=IDS)
    mandate(desk, "open", AT - timedelta(days=1))
    planned(desk, old, new)
    handed_over(desk)
    assert tuple(desk.execute(text("select state, told_at from payments.mandate")).one()) == ("none", AT)
    assert desk.execute(text("select charge_id from payments.deduction_plan")).scalars().all() == [new]
    mandate(desk, "open", AT + timedelta(minutes=1))
    planned(desk, old, new)
    later = AT + timedelta(days=3)
    claimed = deduction_plan_store.claim(desk, lane=0, at=later, until=later + timedelta(minutes=1), limit=9)
    assert [one.charge_id for one in claimed] == [new]


def mandate(tx: Connection, state: str, told_at: datetime) -> None:
    tx.execute(
        text("""
        insert into payments.mandate (plate_id, channel, state, told_at) values (:plate, 'etc', :state, :at)
        on conflict (plate_id, channel) do update set state = excluded.state, told_at = excluded.told_at
        """),
        {"plate": plate_id(tx), "state": state, "at": told_at},
    )


def planned(tx: Connection, *charge_ids: UUID) -> None:
    """Plan the deduction of debts as whoever finds a mandate does."""
    deduction_plan_store.begin(tx, lane=0, charge_ids=charge_ids, due_at=AT, behind=None)


def test_a_transfer_is_sealed_and_holds_no_number(desk: Connection, city: Lot) -> None:  # noqa: F811
    owe(desk, city, 1200)
    made = handed_over(desk)
    [leaf] = documents.find(desk, lane=0, document_ids=[made.change_id])
    content = documents.canonical(plate_changes.sealed_content(made))
    assert leaf == documents.of(
        kind=documents.DocumentKind.DECISION, document_id=made.change_id, content=plate_changes.sealed_content(made), happened_at=AT
    )  # fmt: skip
    assert "12345" not in content.decode()


def test_a_plate_changes_hands_again_only_behind_the_last_time(desk: Connection, city: Lot) -> None:  # noqa: F811
    owe(desk, city, 1200)
    handed_over(desk)
    for since in (SINCE, SINCE - timedelta(days=1)):
        with pytest.raises(Refused) as refused:
            propose(desk, since=since)
        assert refused.value.code == "plate_change_invalid"
    handed_over(desk, since=SINCE + timedelta(minutes=1))
    assert [one.change.state for one in plate_changes.listed(desk, lane=0)] == ["approved", "approved"]


@pytest.mark.parametrize("since", [AT + timedelta(seconds=1), AT.replace(tzinfo=None)])
def test_a_moment_that_is_not_over_or_has_no_offset_is_refused(desk: Connection, city: Lot, since: datetime) -> None:  # noqa: F811
    owe(desk, city, 1200)
    with pytest.raises(Refused) as refused:
        propose(desk, since=since)
    assert refused.value.code == "plate_change_invalid"


def test_nobody_approves_what_the_same_person_proposed(desk: Connection, city: Lot) -> None:  # noqa: F811
    owe(desk, city, 1200)
    desk.execute(
        text("""
        insert into payments.person (person_code, may_propose, may_approve, document, entered_at)
        values ('both', true, true, 'doc', :at)
        """),
        {"at": AT},
    )
    made = propose(desk, by="both")
    with pytest.raises(NotAllowed) as refused:
        plate_changes.approve(desk, lane=0, change_id=made.change_id, by="both", at=AT)
    assert refused.value.code == "same_person"
    with pytest.raises(DBAPIError, match="check"), desk.begin_nested():
        desk.execute(text("update payments.plate_change set state = 'approved', decided_by = 'both', decided_at = now()"))
    assert open_here(desk, city) != []


def test_what_is_decided_is_never_decided_again(desk: Connection, city: Lot) -> None:  # noqa: F811
    owe(desk, city, 1200)
    made = propose(desk)
    with pytest.raises(Conflict) as waiting:
        propose(desk)
    assert waiting.value.code == "plate_change_waiting"
    assert plate_changes.reject(desk, lane=0, change_id=made.change_id, by=CHECKER, note="no proof", at=AT).state == "rejected"
    with pytest.raises(Conflict) as decided:
        plate_changes.approve(desk, lane=0, change_id=made.change_id, by=CHECKER, at=AT)
    assert decided.value.code == "plate_change_made"
    with pytest.raises(DBAPIError, match="is not changed any more"), desk.begin_nested():
        desk.execute(text("update payments.plate_change set state = 'approved'"))
    assert len(open_here(desk, city)) == 1


def test_what_is_not_there_changes_nothing(desk: Connection, city: Lot) -> None:  # noqa: F811
    with pytest.raises(NotFound) as unknown:
        propose(desk)
    assert unknown.value.code == "plate_not_found"
    with pytest.raises(NotFound) as none:
        plate_changes.approve(desk, lane=0, change_id=UUID(int=1 << 8), by=CHECKER, at=AT)
    assert none.value.code == "plate_change_not_found"
    with pytest.raises(NotAllowed):
        propose(desk, by=CHECKER)


# Misread plates


def test_one_letter_that_a_camera_takes_for_another_makes_a_misreading() -> None:
    assert misreadings("苏B1234S") == ["苏B12345", "苏B1Z34S", "苏B7234S"]
    assert misreadings("苏BA3469") == []
    with pytest.raises(PlateRefused):
        plate_changes.likely(None, lane=0, lot_id=1, number="nothing", entered_at=AT)  # type: ignore[arg-type]


def test_cars_that_were_there_at_the_time_are_named_the_nearest_first(desk: Connection, city: Lot) -> None:  # noqa: F811
    [debt] = owe(desk, city, 1200, plate="苏B1234S")
    came = AT - timedelta(hours=2)
    given = [
        NewStay(serial="near", plate=NUMBER, plate_color="blue", entered_at=came + timedelta(minutes=3), left_at=AT),
        NewStay(serial="nearer", plate="苏B7234S", plate_color="blue", entered_at=came - timedelta(minutes=1)),
        NewStay(serial="far", plate="苏B1Z34S", plate_color="blue", entered_at=came - timedelta(days=1),
                left_at=came - timedelta(hours=9)),
        NewStay(serial="other", plate="苏B99999", plate_color="blue", entered_at=came),
    ]  # fmt: skip
    answers = stays.post(desk, lane=0, lot=city, stays=given, at=AT, ids=IDS)
    assert {one.outcome for one in answers} == {"created"}
    found = plate_changes.likely_of_charge(desk, lane=0, charge_id=debt)
    assert [(one.nearby.serial, one.nearby.number, one.places, one.minutes_apart) for one in found] == [
        ("nearer", "苏B7234S", (3,), 1), ("near", NUMBER, (7,), 3),
    ]  # fmt: skip
    with pytest.raises(ChargeUnknown):
        plate_changes.likely_of_charge(desk, lane=0, charge_id=UUID(int=1 << 8))


# Forgotten


def test_a_plate_of_which_nothing_is_open_is_forgotten(desk: Connection, city: Lot) -> None:  # noqa: F811
    charge_id = make_charge(desk, city, "S1")
    key = plate_id(desk)
    contact(desk)
    results.apply(desk, lane=0, notices=[make_attempt(desk, city, charge_id).callback()], at=AT, ids=IDS)
    other = make_charge(desk, city, "S2")
    signer = Signer(lambda document: document[:64], bytes(32))
    note = NewCorrection(serial="K1", charge_serial="S2", kind="cancel", reason="complaint", text="车主张女士")
    corrections.post(desk, lane=0, lot=city, corrections=[note], evidence_id=other, signer=signer, at=AT, ids=IDS)
    made = forget(desk)
    plate_changes.approve(desk, lane=0, change_id=made.change_id, by=CHECKER, at=AT)
    row = desk.execute(text("select number, color, salt, erased_at from payments.plate where plate_id = :id"), {"id": key}).one()
    assert (row.number, row.color, bytes(row.salt), row.erased_at) == (f"#{key}", "unknown", b"", AT)
    assert tuple(desk.execute(text("select value, ended_because from payments.plate_contact")).one()) == (None, "erased")
    assert desk.execute(text("select count(*) from payments.credit_note_words")).scalar_one() == 0
    assert desk.execute(text("select document_bytes from payments.plate_change")).scalar_one() is None
    assert violations(desk) == []


def test_a_car_that_comes_again_is_a_new_plate_with_nothing_behind_it(desk: Connection, city: Lot) -> None:  # noqa: F811
    charge_id = make_charge(desk, city, "S1")
    before = plate_id(desk)
    results.apply(desk, lane=0, notices=[make_attempt(desk, city, charge_id).callback()], at=AT, ids=IDS)
    plate_changes.approve(desk, lane=0, change_id=forget(desk).change_id, by=CHECKER, at=AT)
    make_charge(desk, city, "S2")
    assert plate_id(desk) != before
    assert open_here(desk, city) == ["S2"]


def test_while_something_is_open_a_plate_is_not_forgotten(desk: Connection, city: Lot) -> None:  # noqa: F811
    charge_id = make_charge(desk, city, "S1")
    with pytest.raises(Conflict, match="a charge is open") as refused:
        forget(desk)
    assert refused.value.code == "plate_in_use"
    due = make_attempt(desk, city, charge_id)
    with pytest.raises(Conflict, match="a payment is not decided"):
        forget(desk)
    results.apply(desk, lane=0, notices=[due.callback()], at=AT, ids=IDS)
    stay = NewStay(serial="T1", plate=NUMBER, plate_color="blue", entered_at=AT - timedelta(minutes=5))
    stays.post(desk, lane=0, lot=city, stays=[stay], at=AT, ids=IDS)
    with pytest.raises(Conflict, match="the car is in a lot"):
        forget(desk)


def test_a_price_that_has_ended_keeps_no_plate(desk: Connection, city: Lot) -> None:  # noqa: F811
    make_charge(desk, city, "S1")
    desk.execute(
        text("""
        insert into payments.charge_quote
            (charge_id, lane, lot_id, serial, stay_serial, valid_until, asked_at, evidence_id, ended_at)
        select charge_id, 0, lot_id, lot_serial, 'stay 1', :at, :at, charge_id, :at from payments.charge
        """),
        {"at": AT},
    )
    assert forget(desk).change_id


def test_what_opens_after_the_proposal_stops_the_second_person(desk: Connection, city: Lot) -> None:  # noqa: F811
    charge_id = make_charge(desk, city, "S1")
    results.apply(desk, lane=0, notices=[make_attempt(desk, city, charge_id).callback()], at=AT, ids=IDS)
    made = forget(desk)
    make_charge(desk, city, "S2")
    with pytest.raises(Conflict) as refused:
        plate_changes.approve(desk, lane=0, change_id=made.change_id, by=CHECKER, at=AT)
    assert refused.value.code == "plate_in_use"
    assert plate_id(desk) > 0


def test_who_looked_a_plate_up_is_listed(desk: Connection, city: Lot) -> None:  # noqa: F811
    owe(desk, city, 1200)
    looked = text("""
        insert into payments.plate_lookup (lookup_id, plate_id, person_code, purpose, looked_at)
        values (:id, :plate, :person, 'case 7', :at)
        """)
    desk.execute(looked, {"id": IDS.new(AT, "look"), "plate": plate_id(desk), "person": MAKER, "at": AT})
    assert [(one.number, one.purpose) for one in plate_changes.lookups(desk, number="苏B·12345")] == [(NUMBER, "case 7")]
    assert plate_changes.lookups(desk, number="苏B54321") == []
