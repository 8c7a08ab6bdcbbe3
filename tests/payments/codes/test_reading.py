"""Scanning: a code counts as long as the registry says so, and each way of not counting has its own error."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from ledger.errors import Refused
from payments import charges, paycode
from payments.codes import reading, registry, shown
from payments.codes.errors import CodeMoved, CodeOver, CodeReplaced, CodeReported, CodeRetired, CodeUnknown
from payments.codes.records import WHOLE_LOT, Place, Scanned
from payments.errors import AlreadyPaid, ChargeUnknown
from payments.lots import Lot
from payments.paycode import Content, PayCodeKeys, PayCodeKeyUnknown, PayCodeRefused, StayCode, WallCode
from payments.splitting import rules
from payments.splitting.rules import NewLeg, NewRule
from tests.payments.conftest import AT, IDS, make_city, new_charge
from tests.statements import seen

KEYS = PayCodeKeys(signing_id=1, signing_key=Ed25519PrivateKey.from_private_bytes(b"\3" * 32))
LATER_KEYS = PayCodeKeys(
    signing_id=2, signing_key=Ed25519PrivateKey.from_private_bytes(b"\4" * 32), verifying={1: KEYS.signing_key.public_key()}
)
YEARS = timedelta(days=3_653)


@pytest.fixture
def lot(tx: Connection) -> Lot:
    return make_city(tx)


def scan(tx: Connection, content: Content, *, minutes: float = 0, keys: PayCodeKeys = KEYS, begun: bool = False) -> Scanned:
    token, at = paycode.signed(content, keys=KEYS), AT + timedelta(minutes=minutes)
    return reading.scanned(tx, token=token, public_keys=keys.public_keys, at=at, begun=begun)


def issue(tx: Connection, lot: Lot, place: Place = WHOLE_LOT) -> WallCode:
    [code] = registry.issue(tx, lot=lot, batch=f"{place.name}-", places=[place], by="wang", at=AT)
    return WallCode(code.code_no)


def test_a_scanned_code_tells_lot_place_and_state_in_one_statement(tx: Connection, lot: Lot) -> None:
    content = issue(tx, lot, Place("berth", "A-12"))
    with seen(tx.engine) as asked:
        found = scan(tx, content)
    assert found == Scanned(lot, Place("berth", "A-12"), "issued", content)
    assert (found.code_no, found.shown, len(asked.statements)) == (1, None, 1)


def test_a_code_from_before_the_registry_is_the_lots_own_ten_years_later_under_a_newer_key(tx: Connection, lot: Lot) -> None:
    old = paycode.token(lot.lot_id, keys=KEYS)
    found = reading.scanned(tx, token=old, public_keys=LATER_KEYS.public_keys, at=AT + YEARS)
    assert (found.lot, found.place, found.state, found.code_no) == (lot, WHOLE_LOT, "posted", None)


def test_a_wall_code_is_read_ten_years_later_under_a_newer_key_and_refused_once_its_key_is_gone(tx: Connection, lot: Lot) -> None:
    token = paycode.signed(issue(tx, lot), keys=KEYS)
    assert reading.scanned(tx, token=token, public_keys=LATER_KEYS.public_keys, at=AT + YEARS).lot == lot
    with pytest.raises(PayCodeKeyUnknown):
        reading.scanned(tx, token=token, public_keys={2: LATER_KEYS.signing_key.public_key()}, at=AT + YEARS)


def test_every_way_of_not_counting_has_its_own_error(tx: Connection, lot: Lot) -> None:
    retired, reported, replaced, moved = (issue(tx, lot, Place("berth", name)) for name in "ABCD")
    registry.retire(tx, code_nos=[retired.code_no], reason="taken down", by="wang", at=AT)
    registry.report(tx, code_nos=[reported.code_no], reason="stolen", by="wang", at=AT)
    [(_, successor)] = registry.replace(tx, lot=lot, code_nos=[replaced.code_no], batch="new", reason="faded", by="wang", at=AT)
    other = make_city(tx, number=2)
    registry.move(tx, code_no=moved.code_no, to=WHOLE_LOT, reason="found there", by="wang", at=AT, other_lot=other)
    refusals = [(retired, CodeRetired), (reported, CodeReported), (replaced, CodeReplaced), (moved, CodeMoved)]
    for content, refusal in refusals:
        with pytest.raises(refusal):
            scan(tx, content)
    with pytest.raises(CodeReplaced, match=f"see {successor.code_no}"):
        scan(tx, replaced)
    assert scan(tx, WallCode(successor.code_no)).place == Place("berth", "C")


def test_a_genuine_number_that_the_registry_has_not_is_unknown(tx: Connection, lot: Lot) -> None:
    with pytest.raises(CodeUnknown):
        scan(tx, WallCode(77))
    assert issubclass(CodeUnknown, PayCodeRefused)


def post(tx: Connection, lot: Lot, *serials: str) -> None:
    posted = charges.post(tx, lane=0, lot=lot, charges=[new_charge(serial) for serial in serials], at=AT, ids=IDS)
    assert {one.outcome for one in posted} == {"created"}


def test_a_code_on_a_screen_stands_for_exactly_its_charge_and_only_for_its_minutes(tx: Connection, lot: Lot) -> None:
    post(tx, lot, "S1", "S2")
    code = shown.stay(tx, lane=0, lot=lot, serial="S2", minutes=10, at=AT)
    found = scan(tx, code, minutes=9.9)
    assert found.shown == code
    assert [charge.lot_serial for charge in shown.opened(tx, lane=0, code=code).due] == ["S2"]
    with pytest.raises(CodeOver) as over:
        scan(tx, code, minutes=10)
    assert over.value.lot_id == lot.lot_id


def test_whoever_opened_a_code_in_time_may_go_on_for_a_while(tx: Connection, lot: Lot) -> None:
    post(tx, lot, "S1")
    code = shown.stay(tx, lane=0, lot=lot, serial="S1", minutes=10, at=AT)
    assert scan(tx, code, minutes=39, begun=True).lot == lot
    with pytest.raises(CodeOver):
        scan(tx, code, minutes=40, begun=True)


def test_a_charge_of_another_lot_has_no_code_here(tx: Connection, lot: Lot) -> None:
    other = make_city(tx, number=2)
    post(tx, other, "S1")
    with pytest.raises(ChargeUnknown):
        shown.stay(tx, lane=0, lot=lot, serial="S1", minutes=10, at=AT)
    post(tx, lot, "L1")
    with pytest.raises(ChargeUnknown):
        shown.basket(tx, lane=0, lot=lot, serials=["L1", "S1"], minutes=10, by="wang", at=AT, ids=IDS)


def test_a_code_that_names_a_charge_of_another_lot_opens_nothing(tx: Connection, lot: Lot) -> None:
    other = make_city(tx, number=2)
    post(tx, other, "S1")
    theirs = charges.by_serial(tx, lane=0, lot_id=other.lot_id, lot_serial="S1")
    with pytest.raises(ChargeUnknown):
        shown.opened(tx, lane=0, code=StayCode(lot.lot_id, theirs.charge_id, AT))


def test_a_set_of_charges_is_kept_and_opened_whole(tx: Connection, lot: Lot) -> None:
    post(tx, lot, "S1", "S2", "S3")
    code = shown.basket(tx, lane=0, lot=lot, serials=["S3", "S1", "S3"], minutes=5, by="wang", at=AT, ids=IDS)
    assert sorted(charge.lot_serial for charge in shown.opened(tx, lane=0, code=code).charges) == ["S1", "S3"]
    assert scan(tx, code).shown == code


def test_what_nothing_is_due_of_gets_no_code(tx: Connection, lot: Lot) -> None:
    post(tx, lot, "S1")
    tx.exec_driver_sql("update payments.charge set state = 'waived', reduced_fen = amount_fen")
    with pytest.raises(AlreadyPaid):
        shown.stay(tx, lane=0, lot=lot, serial="S1", minutes=10, at=AT)
    with pytest.raises(AlreadyPaid):
        shown.basket(tx, lane=0, lot=lot, serials=["S1"], minutes=10, by="wang", at=AT, ids=IDS)


def test_the_code_of_a_stay_that_several_payees_share_opens_all_its_parts(tx: Connection, lot: Lot) -> None:
    make_city(tx, number=2)
    legs = (
        NewLeg(operator="op-2", share_bps=7000, words="泊位费", words_en="berth"),
        NewLeg(operator="op-1", share_bps=3000, words="管理费", words_en="operation"),
    )
    shared = NewRule(lot=lot.code, valid_from=AT - timedelta(days=1), document="sharing agreement 1", leg=legs)
    rules.add_rule(tx, lane=0, rule=shared, at=AT, ids=IDS)
    post(tx, lot, "S1")
    code = shown.stay(tx, lane=0, lot=lot, serial="S1", minutes=10, at=AT)
    assert [charge.lot_serial for charge in shown.opened(tx, lane=0, code=code).due] == ["S1#1", "S1#2"]
    together = shown.basket(tx, lane=0, lot=lot, serials=["S1"], minutes=10, by="wang", at=AT, ids=IDS)
    assert sorted(charge.lot_serial for charge in shown.opened(tx, lane=0, code=together).due) == ["S1#1", "S1#2"]


@pytest.mark.parametrize("minutes", [0, -1, 61])
def test_a_code_is_good_for_an_hour_at_most(tx: Connection, lot: Lot, minutes: int) -> None:
    post(tx, lot, "S1")
    with pytest.raises(Refused, match="minutes"):
        shown.stay(tx, lane=0, lot=lot, serial="S1", minutes=minutes, at=AT)
