"""The transaction record: its forms, its packed hex string, its code, and what is never packed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.etc.codes import COLOUR_WORDS, PlateColour, PreCheck
from gateways.etc.record import (
    CAP_FEN_DEFAULT,
    agrees,
    charge_id,
    compact_time,
    custom_data,
    form_faults,
    joined_plate,
    parted_plate,
    precheck,
    read_china_time,
    read_compact_time,
    read_custom_data,
)
from gateways.etc.tac import card_key, tac_3des, tac_data, tac_of, tac_sm4
from tests.gateways.etc_cases import LOT_NO, NOW, PAID_AT, RECORD, RULES, TAC_KEY, changed

SEEN = "7888180f000000C80901320002d9f7000017d52020051314343400007FC4BD327FC4BDFA0da2"
"""A string of a real credit card: 2.00 yuan."""


def test_the_known_string_is_read() -> None:
    custom = read_custom_data(SEEN)
    assert custom is not None
    assert (custom.tac, custom.fee_fen, custom.trans_type, custom.terminal_no) == ("7888180f", 200, "09", "01320002d9f7")
    assert (custom.terminal_serial, custom.card_counter) == ("000017d5", "0da2")
    assert custom.happened_at == datetime(2020, 5, 13, 6, 34, 34, tzinfo=UTC)
    assert custom.pre_balance_fen - custom.post_balance_fen == 200
    assert custom.pre_balance_fen == 0x7FC4BDFA


def test_the_known_string_is_written_again_to_the_letter() -> None:
    custom = read_custom_data(SEEN)
    assert custom is not None
    fields = {name: getattr(custom, name) for name in custom.__struct_fields__}
    assert custom_data(changed(**fields)) == SEEN


def test_the_string_repeats_the_record_whatever_the_case_of_its_hex() -> None:
    custom = read_custom_data(custom_data(RECORD))
    assert custom is not None
    assert agrees(changed(tac=RECORD.tac.lower()), custom)
    assert not agrees(changed(fee_fen=1501), custom)
    assert not agrees(changed(card_counter="0DA3"), custom)


@pytest.mark.parametrize(
    "text",
    [
        "",
        SEEN[:-1],
        SEEN + "0",
        SEEN.replace("20200513", "20201313"),
        SEEN.replace("340000", "340001"),
        "g" + SEEN[1:],
        "７" + SEEN[1:],
    ],
)
def test_another_form_of_the_string_is_not_read(text: str) -> None:
    assert read_custom_data(text) is None


def test_a_record_that_cannot_be_written_is_not_packed() -> None:
    with pytest.raises(ValueError, match="tac"):
        custom_data(changed(tac="12"))
    with pytest.raises(ValueError, match="fee_fen"):
        custom_data(changed(fee_fen=-1))


def test_a_charges_id_is_car_park_time_and_two_digits_of_the_lanes_serial() -> None:
    assert charge_id(lot_no=LOT_NO, at=PAID_AT, lane_serial=1207) == "32010200012025061814343407"


def test_a_whole_record_has_no_fault() -> None:
    assert form_faults(RECORD) == ()
    assert form_faults(changed(obu_no="0123456789ab", card_type=2, algorithm=2, entered_at=None, lot_name="")) == ()
    assert form_faults(changed(fee_fen=-5, pre_balance_fen=0)) == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("charge_id", "1"),
        ("charge_id", "99" + RECORD.charge_id[2:]),
        ("lot_no", "320102000"),
        ("clearing_party_no", "32020"),
        ("issuer_no", "32010A"),
        ("service_type", 4),
        ("happened_at", datetime(2025, 6, 18, 6, 34, 34)),  # noqa: DTZ001 - a naive time is the fault
        ("happened_at", PAID_AT + timedelta(microseconds=1)),
        ("parked_minutes", -1),
        ("fee_fen", 2**32),
        ("card_type", 24),
        ("card_net", "32011"),
        ("card_no", "220012345678901"),
        ("card_no", "２200123456789012"),
        ("obu_no", "12345"),
        ("obu_state", "000"),
        ("plate", ""),
        ("plate", "苏BD1234567890"),
        ("plate", "苏B|12345"),
        ("vehicle_type", 11),
        ("tac", "E2D839B"),
        ("tac", "E2D839B8\n"),
        ("trans_type", "07"),
        ("terminal_no", "01320002D9F"),
        ("terminal_serial", "17D5"),
        ("card_counter", "0DA2F"),
        ("pre_balance_fen", 2**32),
        ("post_balance_fen", -1),
        ("algorithm", 3),
        ("lot_name", "a|b"),
    ],
)
def test_a_field_of_another_form_is_named(field: str, value: Any) -> None:
    assert field in form_faults(changed(**{field: value}))


def test_a_charge_in_order_may_be_packed() -> None:
    assert precheck(RECORD, rules=RULES, now=NOW) == ()


def test_a_zero_charge_is_packed_and_its_code_is_not_asked_for() -> None:
    free = changed(fee_fen=0, post_balance_fen=RECORD.pre_balance_fen, tac="")
    assert precheck(free, rules=RULES, now=NOW, tac_holds=lambda _: False) == ()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"tac": "xyz"}, PreCheck.TAC),
        ({"fee_fen": -1, "post_balance_fen": 10_001}, PreCheck.FEE),
        ({"fee_fen": CAP_FEN_DEFAULT + 1, "pre_balance_fen": CAP_FEN_DEFAULT + 8_501}, PreCheck.FEE),
        ({"card_no": ""}, PreCheck.CARD_NO),
        ({"card_no": "2" * 17}, PreCheck.CARD_NO),
        ({"entered_at": PAID_AT + timedelta(seconds=1)}, PreCheck.ENTRY_AFTER_EXIT),
        ({"lot_no": "3201020002"}, PreCheck.LOT_NOT_ACTIVE),
        ({"post_balance_fen": 8_501}, PreCheck.BALANCES),
        ({"happened_at": NOW - RULES.overdue_after - timedelta(seconds=1), "entered_at": None}, PreCheck.OVERDUE),
    ],
)
def test_a_charge_is_held_back_for_its_reason(fields: dict[str, Any], code: PreCheck) -> None:
    assert precheck(changed(**fields), rules=RULES, now=NOW) == (code,)


def test_all_reasons_are_given_in_the_order_of_their_codes() -> None:
    bad = changed(tac="", fee_fen=CAP_FEN_DEFAULT + 1, card_no="", lot_no="0000000000")
    assert precheck(bad, rules=RULES, now=NOW) == (
        PreCheck.TAC,
        PreCheck.FEE,
        PreCheck.CARD_NO,
        PreCheck.LOT_NOT_ACTIVE,
        PreCheck.BALANCES,
    )


def test_only_cards_of_the_own_network_are_asked_for_their_code() -> None:
    assert precheck(changed(card_net="3101"), rules=RULES, now=NOW, tac_holds=lambda _: False) == ()
    assert precheck(RECORD, rules=RULES, now=NOW, tac_holds=lambda record: tac_of(record, TAC_KEY) == record.tac) == ()
    assert precheck(RECORD, rules=RULES, now=NOW, tac_holds=lambda _: False) == (PreCheck.TAC,)


@pytest.mark.parametrize(
    ("fields", "tac"),
    [({}, "E2D839B8"), ({"card_type": 23}, "B26207E0"), ({"algorithm": 2}, "E9A78A14"), ({"card_type": 1}, "E2D839B8")],
)
def test_the_code_has_its_known_values(fields: dict[str, Any], tac: str) -> None:
    assert tac_of(changed(**fields), TAC_KEY) == tac


def test_the_codes_data_is_amount_type_terminal_serial_and_beijing_time() -> None:
    data = tac_data(fee_fen=1500, trans_type="09", terminal_no="01320002D9F7", terminal_serial="000017D5", happened_at=PAID_AT)
    assert data.hex().upper() == "000005DC0901320002D9F7000017D520250618143434"


def test_keys_of_another_length_are_refused() -> None:
    for tac in (tac_3des, tac_sm4):
        with pytest.raises(ValueError, match="16 bytes"):
            tac(b"1" * 15, b"")
    with pytest.raises(ValueError, match="8 bytes"):
        card_key(TAC_KEY, issuer=b"1", card_no=b"12345678")


def test_a_cards_key_is_diversified_found_then_by_card() -> None:
    found = card_key(TAC_KEY, issuer=bytes.fromhex("3201010032010100"), card_no=bytes.fromhex("2200123456789012"))
    assert found.hex() == "69b95e48e7333eb91a7e8528910bc3c2"
    other_card = card_key(TAC_KEY, issuer=bytes.fromhex("3201010032010100"), card_no=bytes.fromhex("2200123456789013"))
    assert other_card[:8] != found[:8]


@given(st.sampled_from(PlateColour), st.sampled_from(["皖EYG511", "苏BD12345", "粤Z1234港"]))
def test_a_joined_plate_is_parted_again(colour: PlateColour, plate: str) -> None:
    assert parted_plate(joined_plate(plate, colour)) == (plate, colour)
    assert parted_plate(joined_plate(plate, colour) + "色") == (plate, colour)


def test_the_known_joined_plate() -> None:
    assert joined_plate("皖EYG511", PlateColour.BLUE) == "皖EYG511蓝"
    assert [parted_plate(text) for text in ("皖EYG511", "蓝", "")] == [None, None, None]
    assert set(COLOUR_WORDS) == set(PlateColour)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_are_beijing_time_to_the_second(at: datetime) -> None:
    at = at.replace(microsecond=0)
    assert read_compact_time(compact_time(at)) == at


@pytest.mark.parametrize(
    "text", ["", "2025-06-18T14:34:34", "2025-06-31 14:34:34", "2025-06-18 24:00:00", "２025-06-18 14:34:34", "0001-01-01 00:00:00"]
)
def test_what_is_not_a_time_is_none(text: str) -> None:
    assert read_china_time(text) is None
