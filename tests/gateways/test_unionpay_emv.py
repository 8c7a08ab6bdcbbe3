"""EMVCo's payload: the published ones are read, what is built is read back, and any damage is noticed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.unionpay import emv
from gateways.unionpay.emv import DataObject, Fault, Payload, UnionPayAccount

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "unionpay.json").read_text(encoding="utf-8"))
TEXTS: list[str] = [vector["text"] for vector in VECTORS["emv"]]
ACCOUNT = UnionPayAccount(acquirer_no="47980344", forwarder_no="00020344", merchant_no="798034459990001")


def read(text: str) -> Payload:
    payload = emv.parse(text)
    assert isinstance(payload, Payload), payload
    return payload


@pytest.mark.parametrize("text", TEXTS)
def test_a_published_payload_is_read_and_written_again(text: str) -> None:
    payload = read(text)
    again = emv.joined(payload.objects) + "6304"
    assert again + emv.crc(again) == text[:-4] + text[-4:].upper()
    assert emv.build(payload.objects[1:]) == text[:-4] + text[-4:].upper()


def test_the_published_example_of_the_specification_has_its_values() -> None:
    payload = read(TEXTS[0])
    assert (payload.value(emv.NAME), payload.value(emv.CITY), payload.value(emv.CURRENCY)) == ("BEST TRANSPORT", "BEIJING", "156")
    assert payload.amount() == 2372
    language = payload.template(emv.LANGUAGE)
    assert language == (DataObject("00", "ZH"), DataObject("01", "最佳运输"), DataObject("02", "北京"))
    own = payload.template("91")
    assert own is not None
    assert own[0] == DataObject("00", "A011223344998877")
    assert payload.unionpay_account() is None


def test_the_published_unionpay_code_has_its_merchant() -> None:
    payload = read(TEXTS[1])
    assert payload.unionpay_account() == ACCOUNT
    assert (payload.value(emv.NAME), payload.amount()) == ("BOCI - MBD - CUP - MPOS", 500)
    additional = payload.template(emv.ADDITIONAL)
    assert additional is not None
    assert additional[-1] == DataObject(emv.TERMINAL, "99996101")


def test_the_check_sum_meets_its_check_value() -> None:
    assert emv.crc("123456789") == "29B1"


@pytest.mark.parametrize("text", TEXTS)
def test_every_cut_and_every_changed_character_is_noticed(text: str) -> None:
    for length in range(len(text)):
        assert isinstance(emv.parse(text[:length]), Fault)
    for at in range(len(text) - 4):
        changed = text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :]
        assert isinstance(emv.parse(changed), Fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault.FORMAT),
        ("https://pay.example/p/1", Fault.LENGTH),
        ("0002", Fault.LENGTH),
        ("000", Fault.LENGTH),
        ("0000", Fault.LENGTH),
        ("00０20", Fault.LENGTH),
        ("00020100020163040000", Fault.DUPLICATE),
        ("0002026304" + emv.crc("0002026304"), Fault.FORMAT),
        ("5204000063041234", Fault.FORMAT),
        ("00020152040000", Fault.CRC_MISSING),
        ("0002016304000052040000", Fault.CRC_MISSING),
        ("0002016303123", Fault.CRC_MISSING),
        ("00020163040000", Fault.CRC),
        ("00020163040００0", Fault.CRC),
        ("0002015901\ud80063040000", Fault.CRC),
        ("0002016304" + emv.crc("0002016304"), Fault.FIELD_MISSING),
        ("0" * 513, Fault.TOO_LONG),
    ],
)
def test_what_is_no_payload_is_named(text: str, fault: Fault) -> None:
    assert emv.parse(text) is fault


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    emv.parse(text)
    emv.parse("000201" + text)
    emv.objects(text)


@given(
    amount_fen=st.none() | st.integers(1, 9_999_999_999),
    name=st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=25),
    city=st.sampled_from(["BEIJING", "北京"]),
    reference=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=25),
    currency=st.sampled_from(["156", "344"]),
)
def test_what_is_built_is_read_back(amount_fen: int | None, name: str, city: str, reference: str | None, currency: str) -> None:
    additional = None if reference is None else {emv.TERMINAL: "00000001", emv.REFERENCE: reference}
    text = emv.merchant_payload(
        ACCOUNT, category="7523", name=name, city=city, currency=currency, amount_fen=amount_fen, additional=additional
    )
    payload = read(text)
    assert text.startswith("000201010212" if amount_fen else "000201010211")
    assert (payload.amount(), payload.unionpay_account()) == (amount_fen, ACCOUNT)
    assert (payload.value(emv.NAME), payload.value(emv.CITY), payload.value(emv.COUNTRY)) == (name, city, "CN")
    inner = payload.template(emv.ADDITIONAL)
    assert inner == (None if reference is None else (DataObject("05", reference), DataObject("07", "00000001")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"category": "752"}, "category"),
        ({"currency": "392"}, "currency"),
        ({"country": "cn"}, "country"),
        ({"name": ""}, "a name"),
        ({"name": "x" * 26}, "a name"),
        ({"city": "x" * 16}, "a city"),
        ({"amount_fen": 0}, "cannot be asked for"),
        ({"amount_fen": -5}, "cannot be asked for"),
        ({"amount_fen": 10**13}, "cannot be asked for"),
        ({"additional": {"5": "x"}}, "not a tag"),
        ({"additional": {"05": ""}}, "characters"),
        ({"additional": {"05": "x" * 100}}, "characters"),
        ({"additional": {"05": "x" * 96}}, "tag 62"),
    ],
)
def test_what_does_not_fit_is_not_built(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"category": "7523", "name": "停车", "city": "北京"}
    with pytest.raises(ValueError, match=words):
        emv.merchant_payload(ACCOUNT, **fields | changes)


def test_a_merchant_of_another_form_is_not_built() -> None:
    with pytest.raises(ValueError, match="UnionPay merchant"):
        emv.merchant_payload(UnionPayAccount("1", "2", "3"), category="7523", name="停车", city="北京")


@pytest.mark.parametrize(
    "parts",
    [
        [DataObject("00", "01")],
        [DataObject("63", "0000")],
        [DataObject("59", "a"), DataObject("59", "b")],
        [DataObject("59", "a")],
        [DataObject(tag, "1") for tag in ("52", "53", "58", "59", "60")]
        + [DataObject(str(tag), "x" * 99) for tag in range(26, 31)],
    ],
)
def test_a_payload_that_would_be_none_is_not_built(parts: list[DataObject]) -> None:
    with pytest.raises(ValueError, match=r"tag|characters"):
        emv.build(parts)


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("5", "156", 500),
        ("5.", "156", 500),
        ("5.1", "344", 510),
        ("0.01", "156", 1),
        ("5.001", "156", None),
        (".5", "156", None),
        ("-5", "156", None),
        ("５", "156", None),
        ("5", "392", None),
    ],
)
def test_amounts_are_exact_and_only_in_currencies_with_hundredths(amount: str, currency: str, expected: int | None) -> None:
    parts = [DataObject("52", "7523"), DataObject("53", currency), DataObject("54", amount)]
    text = emv.build([*parts, DataObject("58", "CN"), DataObject("59", "a"), DataObject("60", "b")])
    assert read(text).amount() == expected


def test_a_template_that_holds_plain_text_has_no_objects() -> None:
    parts = [
        DataObject("52", "7523"),
        DataObject("53", "156"),
        DataObject("58", "CN"),
        DataObject("59", "0001"),
        DataObject("60", "b"),
    ]
    payload = read(emv.build([*parts, DataObject("62", "plain"), DataObject("80", "0101x")]))
    assert payload.template("62") is None
    assert payload.template("59") is None
    assert payload.template("61") is None
    assert payload.template("80") == (DataObject("01", "x"),)
