"""Jiangsu's XML says exactly what the neutral records say, in yuan; what is dangerous or contradicts itself is not taken."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateways.etc.clearing import (
    BookingResult,
    ClearingStatistics,
    DisputedCharge,
    DisputeResult,
    SettledCharge,
    SettledPackage,
)
from gateways.etc.codes import BookingReason, DisputeOutcome, PlateColour, Receipt, Rejection
from gateways.etc.jiangsu import tree
from gateways.etc.jiangsu.fields import TEXT_BYTES_MAX, cut
from gateways.etc.jiangsu.messages import (
    ADJUSTMENT,
    BOOKING,
    CLEARING,
    DISPUTES,
    NETWORK_CENTRE,
    ORIGINAL,
    ORIGINAL_ANSWER,
    REFUND,
    SETTLEMENT,
    TONGXINGBAO,
    VERSIONS,
    Answer,
    Body,
    Head,
    Kind,
    Message,
    answer_to,
    claimed_head,
    read,
    resend,
    write,
)
from gateways.etc.jiangsu.originals import description
from gateways.etc.jiangsu.tree import Element, leaf, node, parsed, written
from gateways.etc.uploads import read_upload, upload_body
from tests.gateways.etc_cases import CLEAR_ON, MESSAGE_NO, NOW, RECORD, changed, package


def message(kind: Kind, body: Body | None, **fields: Any) -> Message:
    return Message(replace(Head(kind, TONGXINGBAO, NETWORK_CENTRE, MESSAGE_NO), **fields), body)


BOOKED = BookingResult(
    service_provider_no="320201",
    issuer_no="320101",
    message_no=MESSAGE_NO,
    processed_at=NOW,
    count=3,
    amount_fen=400,
    confirmed_count=2,
    disputed_count=1,
    disputed=(DisputedCharge(2, BookingReason.OTHER),),
)
SETTLED = DisputeResult(
    file_no="202506191",
    processed_at=NOW,
    count=2,
    amount_fen=200,
    packages=(
        SettledPackage(MESSAGE_NO, 1, 200, (SettledCharge(2, DisputeOutcome.RELEASED),)),
        SettledPackage("43".zfill(20), 1, 0, (SettledCharge(1, DisputeOutcome.BAD_DEBT),)),
    ),
    clearing_operator_no="320201",
    service_provider_no="320201",
    issuer_no="320101",
)
CLEARED = ClearingStatistics(
    clear_on=CLEAR_ON,
    count=3,
    amount_fen=600,
    message_nos=(MESSAGE_NO, "43".zfill(20)),
    file_nos=("202506191",),
    processed_at=NOW,
    service_provider_no="320201",
)
MESSAGES = {
    "original": message(ORIGINAL, package(100, 0, 300)),
    "answer": message(ORIGINAL_ANSWER, Answer(message_no=MESSAGE_NO, processed_at=NOW, result=Receipt.ACCEPTED, clear_on=CLEAR_ON)),
    "refusal": message(ORIGINAL_ANSWER, Answer(message_no=MESSAGE_NO, processed_at=NOW, result=Receipt.CONTENT_WRONG)),
    "clearing answer": message(Kind(6, 5, 2), Answer(message_no=MESSAGE_NO, processed_at=NOW, result=Receipt.CLEARING_DISAGREES)),
    "booking": message(BOOKING, BOOKED, version=VERSIONS[1]),
    "booking without disputes": message(BOOKING, replace(BOOKED, disputed=(), disputed_count=0, confirmed_count=3)),
    "disputes": message(DISPUTES, SETTLED),
    "no disputes": message(DISPUTES, replace(SETTLED, count=0, amount_fen=0, packages=())),
    "clearing": message(CLEARING, CLEARED),
    "empty day": message(CLEARING, replace(CLEARED, count=0, amount_fen=0, message_nos=(), file_nos=())),
    "ask again": resend(BOOKING, sender=TONGXINGBAO, receiver=NETWORK_CENTRE, message_no=MESSAGE_NO),
}
HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?><Message><Header><Version>00010000</Version><MessageClass>5</MessageClass>'
    "<MessageType>7</MessageType><SenderId>00000000000000FD</SenderId><ReceiverId>0000000000000020</ReceiverId>"
    "<MessageId>42</MessageId></Header>"
)
GOLDEN = (
    HEADER + '<Body ContentType="1"><ClearTargetDate>2025-06-19</ClearTargetDate>'
    "<ServiceProviderId>0000000000320201</ServiceProviderId><IssuerId>0000000000320101</IssuerId><MessageId>42</MessageId>"
    "<Count>1</Count><Amount>15.00</Amount><Transaction><TransId>1</TransId><Time>2025-06-18 14:34:34</Time><Fee>15.00</Fee>"
    "<Service><ServiceType>2</ServiceType><Description>人民路停车场|1小时34分</Description>"
    "<Detail>1|04|3201|0101|02|20250618 143434|03|3201|0101|01|20250618 130034</Detail></Service>"
    "<ICCard><CardType>22</CardType><NetNo>3201</NetNo><CardId>2200123456789012</CardId><License>苏BD12345渐变绿</License>"
    "<PreBalance>100.00</PreBalance><PostBalance>85.00</PostBalance></ICCard>"
    "<Validation><TAC>E2D839B8</TAC><TransType>09</TransType><TerminalNo>01320002D9F7</TerminalNo>"
    "<TerminalTransNo>000017D5</TerminalTransNo></Validation>"
    "<OBU><NetNo>3201</NetNo><OBUId>3201011234567890</OBUId><OBEState>0000</OBEState><License>苏BD12345渐变绿</License></OBU>"
    "<CustomizedData>E2D839B8000005DC0901320002D9F7000017D520250618143434000000002134000027100DA2</CustomizedData>"
    "<Id>32010200012025061814343407</Id><name>人民路停车场</name><parkTime>94</parkTime><vehicleType>1</vehicleType>"
    "<algorithmIdentifier>1</algorithmIdentifier></Transaction></Body></Message>"
)
ONE = message(ORIGINAL, replace(package(1), records=(RECORD,)))


def refused(content: bytes | str, receiver: str = NETWORK_CENTRE) -> Receipt:
    told = read(content if isinstance(content, bytes) else content.encode(), receiver=receiver)
    assert isinstance(told, Rejection)
    return told.result


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_read_back_as_it_was_meant(name: str) -> None:
    assert read(write(MESSAGES[name]), receiver=NETWORK_CENTRE) == MESSAGES[name]


def test_original_transactions_to_the_letter() -> None:
    assert write(ONE).decode() == GOLDEN
    assert read(GOLDEN.encode(), receiver=NETWORK_CENTRE) == ONE


def test_both_wires_carry_the_same_records() -> None:
    sent = package(100, 0, 300)
    by_xml = read(write(message(ORIGINAL, sent)), receiver=NETWORK_CENTRE)
    assert isinstance(by_xml, Message)
    assert by_xml.body == read_upload(upload_body(sent)) == sent


PARK_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="|"), max_size=30)


@given(
    fee=st.integers(0, 30_000),
    name=PARK_NAMES.map(str.strip),
    colour=st.sampled_from(PlateColour),
    minutes=st.integers(0, 100_000),
    credit=st.booleans(),
)
@settings(deadline=None)
def test_any_charge_is_read_back(fee: int, name: str, colour: PlateColour, minutes: int, credit: bool) -> None:
    record = changed(
        fee_fen=fee,
        lot_name=cut(name),
        colour=colour,
        parked_minutes=minutes,
        card_type=23 if credit else 22,
        pre_balance_fen=0x7FC4BDFA,
        post_balance_fen=0x7FC4BDFA - fee,
    )
    sent = message(ORIGINAL, replace(package(1), records=(record,)))
    assert read(write(sent), receiver=NETWORK_CENTRE) == sent


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<Version>00010000", "<Version>00030000", Receipt.VERSION_WRONG),
        ("<ReceiverId>0000000000000020", "<ReceiverId>00000000000000FE", Receipt.HEADER_WRONG),
        ("<SenderId>00000000000000FD", "<SenderId>FD", Receipt.HEADER_WRONG),
        ("<MessageClass>5", "<MessageClass>five", Receipt.HEADER_WRONG),
        ("<MessageId>42</MessageId></Header>", "<MessageId>-1</MessageId></Header>", Receipt.HEADER_WRONG),
        ("<MessageId>42</MessageId></Header>", "</Header>", Receipt.HEADER_WRONG),
        ("<MessageId>42</MessageId></Header>", "<MessageId>43</MessageId></Header>", Receipt.CONTENT_WRONG),
        (' ContentType="1"', "", Receipt.HEADER_WRONG),
        ("<Count>1", "<Count>2", Receipt.CONTENT_WRONG),
        ("<Count>1", "<Count>1.0", Receipt.SCHEMA_INVALID),
        ("<Amount>15.00", "<Amount>15.01", Receipt.CONTENT_WRONG),
        ("<Amount>15.00", "<Amount>15.001", Receipt.SCHEMA_INVALID),
        ("<Amount>15.00", "<Amount>1,500", Receipt.SCHEMA_INVALID),
        ("<Count>1</Count><Amount>15.00</Amount>", "<Amount>15.00</Amount><Count>1</Count>", Receipt.SCHEMA_INVALID),
        ("2025-06-19", "20250619", Receipt.SCHEMA_INVALID),
        ("2025-06-19", "2025-06-31", Receipt.SCHEMA_INVALID),
        ("<Fee>15.00", "<Fee>14.00", Receipt.CONTENT_WRONG),
        ("<TransId>1", "<TransId>2", Receipt.CONTENT_WRONG),
        ("<Time>2025-06-18 14", "<Time>2025-06-18T14", Receipt.SCHEMA_INVALID),
        ("<Time>2025-06-18 14", "<Time>2025-06-18 15", Receipt.CONTENT_WRONG),
        ("<TAC>E2D839B8", "<TAC>E2D839B9", Receipt.CONTENT_WRONG),
        ("<PostBalance>85.00", "<PostBalance>86.00", Receipt.CONTENT_WRONG),
        ("<CustomizedData>E2", "<CustomizedData>", Receipt.SCHEMA_INVALID),
        ("<License>苏BD12345渐变绿</License><Pre", "<License>苏BD12345</License><Pre", Receipt.SCHEMA_INVALID),
        ("<Detail>1|04", "<Detail>1|05", Receipt.SCHEMA_INVALID),
        ("20250618 130034", "20250618 250034", Receipt.SCHEMA_INVALID),
        ("<vehicleType>1", "<vehicleType>99", Receipt.CONTENT_WRONG),
        ("<vehicleType>1", "<vehicleType>car", Receipt.SCHEMA_INVALID),
        ("<CardId>2200123456789012", "<CardId>22001234", Receipt.CONTENT_WRONG),
        ("<name>人民路停车场", "<name>" + "停" * 76, Receipt.SCHEMA_INVALID),
        ("<name>人民路停车场", "<name><b>x</b>", Receipt.SCHEMA_INVALID),
        ("<name>", "<Name>", Receipt.SCHEMA_INVALID),
        ("</Transaction></Body>", "</Transaction><More/></Body>", Receipt.SCHEMA_INVALID),
        ("<Body ", "<Extra/><Body ", Receipt.SCHEMA_INVALID),
        ("</Message>", "", Receipt.SCHEMA_INVALID),
        ("</Message>", "</Message>x", Receipt.SCHEMA_INVALID),
        ("<Message>", "<Messages>", Receipt.SCHEMA_INVALID),
    ],
)
def test_original_transactions_in_disorder_are_answered_for_their_reason(old: str, new: str, expected: Receipt) -> None:
    assert old in GOLDEN
    content = GOLDEN.replace(old, new, 1)
    assert refused(content.replace("<name>", "<Name>").replace("</name>", "</Name>") if new == "<Name>" else content) is expected


def test_a_charge_that_stands_twice_is_answered_4() -> None:
    content = GOLDEN[GOLDEN.index("<Transaction>") : GOLDEN.index("</Body>")]
    twice = GOLDEN.replace(content, content + content.replace("<TransId>1", "<TransId>2"))
    assert refused(twice.replace("<Count>1", "<Count>2").replace("<Amount>15.00", "<Amount>30.00")) is Receipt.CONTENT_WRONG


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("answer", "<Result>1", "<Result>9", Receipt.CONTENT_WRONG),
        ("answer", "<Result>1", "<Result>30", Receipt.CONTENT_WRONG),
        ("answer", "<Result>1", "<Result>4", Receipt.CONTENT_WRONG),
        ("answer", "20250619", "00000000", Receipt.CONTENT_WRONG),
        ("answer", "20250619", "20250631", Receipt.SCHEMA_INVALID),
        ("answer", "20250619", "2025-06-19", Receipt.SCHEMA_INVALID),
        ("answer", "2025-06-18T15:00:00", "2025-06-18 15:00:00", Receipt.SCHEMA_INVALID),
        ("clearing answer", "</Result>", "</Result><ClearTargetDate>00000000</ClearTargetDate>", Receipt.SCHEMA_INVALID),
        ("booking", "<Result>100", "<Result>99", Receipt.SCHEMA_INVALID),
        ("booking", "<DisputedCount>1", "<DisputedCount>2", Receipt.CONTENT_WRONG),
        ("booking", "<DisputedCount>1", "<DisputedCount>9", Receipt.SCHEMA_INVALID),
        ("booking", "<Amount>4.00", "<Amount>-4.00", Receipt.SCHEMA_INVALID),
        ("booking", "<IssuerId>0000000000320101", "<IssuerId>x", Receipt.SCHEMA_INVALID),
        ("disputes", "<Result>0", "<Result>2", Receipt.SCHEMA_INVALID),
        ("disputes", "<FileId>202506191", "<FileId>2025", Receipt.SCHEMA_INVALID),
        ("disputes", "<Count>2", "<Count>3", Receipt.CONTENT_WRONG),
        ("disputes", "<Amount>2.00", "<Amount>2.01", Receipt.CONTENT_WRONG),
        ("clearing", 'MessageCount="2"', 'MessageCount="1"', Receipt.CONTENT_WRONG),
        ("clearing", 'MessageCount="2"', 'MessageCount="two"', Receipt.SCHEMA_INVALID),
        ("clearing", 'FileCount="1"', "", Receipt.SCHEMA_INVALID),
        ("clearing", "<MessageId>43<", "<MessageId>42<", Receipt.CONTENT_WRONG),
        ("clearing", "<FileId>202506191</FileId>", "<Other>1</Other>", Receipt.SCHEMA_INVALID),
        ("clearing", "<ServiceProviderId>0000000000320201</ServiceProviderId>", "", Receipt.SCHEMA_INVALID),
    ],
)
def test_a_result_in_disorder_is_answered_for_its_reason(name: str, old: str, new: str, expected: Receipt) -> None:
    content = write(MESSAGES[name]).decode()
    assert old in content
    body = content.index("<Body")
    assert refused(content[:body] + content[body:].replace(old, new, 1)) is expected


@pytest.mark.parametrize("kind", [REFUND, ADJUSTMENT, SETTLEMENT, Kind(5, 10, 1)])
def test_a_message_whose_body_is_not_public_is_read_without_one(kind: Kind) -> None:
    content = HEADER.replace("<MessageType>7", f"<MessageType>{kind.message_type}")
    content += f'<Body ContentType="{kind.content}"><Unknown>1</Unknown></Body></Message>'
    told = read(content.encode(), receiver=NETWORK_CENTRE)
    assert isinstance(told, Message)
    assert (told.head.kind, told.body) == (kind, None)


def test_an_answer_goes_back_in_the_next_class_and_names_the_message() -> None:
    answer = answer_to(ONE.head, message_no="7".zfill(20), at=NOW, result=Receipt.ACCEPTED, clear_on=CLEAR_ON)
    assert (answer.head.kind, answer.head.sender, answer.head.receiver) == (ORIGINAL_ANSWER, NETWORK_CENTRE, TONGXINGBAO)
    assert read(write(answer), receiver=TONGXINGBAO) == answer
    refusal = answer_to(ONE.head, message_no="7".zfill(20), at=NOW, result=Receipt.SCHEMA_INVALID, clear_on=CLEAR_ON)
    assert "<ClearTargetDate>00000000<" in write(refusal).decode()
    for_clearing = answer_to(MESSAGES["clearing"].head, message_no="7".zfill(20), at=NOW, result=Receipt.CLEARING_DISAGREES)
    assert "ClearTargetDate" not in write(for_clearing).decode()
    assert "<Result>8<" in write(for_clearing).decode()


def test_the_header_of_what_is_refused_can_still_be_answered() -> None:
    broken = GOLDEN.replace("<Count>1", "<Count>2").encode()
    assert claimed_head(broken) == ONE.head
    assert claimed_head(b"?") is None
    assert claimed_head(GOLDEN.replace("<MessageClass>5", "<MessageClass>").encode()) is None


def test_a_party_may_have_a_wire_id_of_its_own() -> None:
    parties = {"320201": "00000000000000FD", "320101": "0000000000000020"}
    content = write(ONE, parties=parties)
    assert b"<ServiceProviderId>00000000000000FD<" in content
    assert read(content, receiver=NETWORK_CENTRE, parties=parties) == ONE
    assert refused(content) is Receipt.CONTENT_WRONG


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (message(BOOKING, package(1)), "does not belong"),
        (message(ORIGINAL, None), "does not belong"),
        (message(REFUND, None), "does not belong"),
        (replace(ONE, head=replace(ONE.head, message_no="1".zfill(20))), "another number"),
        (replace(ONE, head=replace(ONE.head, message_no="x")), "16 hex, a number"),
        (replace(ONE, head=replace(ONE.head, sender="FD")), "16 hex"),
        (replace(ONE, head=replace(ONE.head, version="1")), "known version"),
        (message(ORIGINAL, replace(package(1), records=())), "not 0"),
        (message(ORIGINAL, replace(package(1), records=(changed(entered_at=None),))), "no entry time"),
        (message(ORIGINAL, replace(package(1), records=(changed(lot_name="停" * 76),))), "name has more"),
        (message(BOOKING, replace(BOOKED, disputed_count=2)), "must not be sent"),
        (message(DISPUTES, replace(SETTLED, issuer_no=None)), "names clearing operator"),
        (message(DISPUTES, replace(SETTLED, count=3)), "must not be sent"),
        (message(CLEARING, replace(CLEARED, processed_at=None)), "have a time"),
        (message(CLEARING, replace(CLEARED, file_nos=("202506191", "202506191"))), "must not be sent"),
    ],
)
def test_what_must_not_be_sent_is_not_written(sent: Message, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write(sent)


@pytest.mark.parametrize(("minutes", "text"), [(0, "0分"), (59, "59分"), (60, "1小时0分"), (94, "1小时34分"), (6000, "100小时0分")])
def test_the_driver_reads_how_long(minutes: int, text: str) -> None:
    assert description(changed(parked_minutes=minutes)) == f"人民路停车场|{text}"


def test_a_long_name_is_cut_in_the_description_between_characters() -> None:
    told = description(changed(lot_name="停" * 75))
    assert told.endswith("停|1小时34分")
    assert TEXT_BYTES_MAX - 1 <= len(told.encode("gb18030")) <= TEXT_BYTES_MAX
    assert [cut("停车", size) for size in (0, 1, 2, 3, 4)] == ["", "", "停", "停", "停车"]


# XML and its dangers


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe<\x00a\x00/\x00>\x00",
        '<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"),
        "<a/>".encode("utf-16-le"),
        "<a/>".encode("utf-16-be"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>',
        b'<?xml version="1.0" encoding="GB18030"?><a>\xff</a>',
        b"<a>\xff</a>",
        b"<a><b></a></b>",
        b"<a>&lol;</a>",
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]><a>&lol2;</a>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]><a/>',
        b"<a><?run this?></a>",
        b"<a>text<b/></a>",
        b"<a/><b/>",
        b"<a>" * 13 + b"</a>" * 13,
        b"<a>\x00</a>",
        b'<a b="1" b="2"/>',
    ],
)
def test_what_is_not_plain_xml_is_not_parsed(content: bytes) -> None:
    assert parsed(content) is None
    assert refused(content) is Receipt.SCHEMA_INVALID


@given(st.binary(max_size=200))
def test_noise_is_never_taken(noise: bytes) -> None:
    assert isinstance(read(noise, receiver=NETWORK_CENTRE), Rejection)


def test_size_and_number_of_elements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "ELEMENTS_MAX", 10)
    assert parsed(b"<a>" + b"<b/>" * 9 + b"</a>") is not None
    assert parsed(b"<a>" + b"<b/>" * 10 + b"</a>") is None
    monkeypatch.setattr(tree, "TEXT_BYTES_MAX", 10)
    assert parsed(b"<a>    </a>") is None


@pytest.mark.parametrize("encoding", ["GB18030", "gbk", "GB2312"])
def test_the_chinese_encodings_are_read_as_they_are_declared(encoding: str) -> None:
    content = GOLDEN.replace("UTF-8", encoding).encode("gb18030")
    assert read(content, receiver=NETWORK_CENTRE) == ONE


def test_blanks_comments_and_a_missing_declaration_do_not_matter() -> None:
    content = GOLDEN.removeprefix(tree.DECLARATION).replace("><", "><!-- x -->\n  <")
    assert read(content.encode(), receiver=NETWORK_CENTRE) == ONE
    assert read(b"\xef\xbb\xbf" + GOLDEN.encode(), receiver=NETWORK_CENTRE) == ONE


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20))
def test_any_text_that_xml_can_hold_is_read_back(text: str) -> None:
    root = node("a", leaf("b", text), key='<&">')
    try:
        content = written(root)
    except ValueError:
        assert any(letter < " " or letter in "\ufffe\uffff" for letter in text)
        return
    assert parsed(content) == Element("a", children=(Element("b", text=text),), attributes={"key": '<&">'})


def test_a_date_at_the_turn_of_the_day_is_kept() -> None:
    told = MESSAGES["answer"]
    assert isinstance(told.body, Answer)
    late = replace(told, body=replace(told.body, clear_on=date(2025, 12, 31)))
    assert read(write(late), receiver=NETWORK_CENTRE) == late
