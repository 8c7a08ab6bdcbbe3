"""Packages and lists beside the contract, and Jiangsu's connections without sockets."""

from datetime import date, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from gateways.contract import Answer, Unanswered
from gateways.etc import envelope, lists, sm2, uploads
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.jiangsu import messages
from gateways.etc.jiangsu.frame import FrameFault
from gateways.etc.jiangsu.messages import Head, Message
from gateways.etc.jiangsu.session import Inbound, Next, Outbound
from gateways.etc.services import StatusListAsk
from gateways.etc.sign import TheirKey
from gateways.etc.state import ANSWERS
from tests.contract.case import NOW
from tests.contract.etc import CHANNEL, KEYS, THEM, US, replied
from tests.gateways.etc_cases import package

PACKAGE = package(100, 0, 300)
LINE: dict[str, Any] = {"provider": CHANNEL.provider, "keys": KEYS, "now": NOW}
ACCEPTED = {"clearTargetDate": "2025-06-20"}


def uploaded(result: Receipt = Receipt.ACCEPTED, data: dict[str, Any] | None = None, **changes: Any) -> uploads.UploadOutcome:
    answer = replied(uploads.build(PACKAGE, **LINE).body, result, data, **changes)
    return uploads.outcome(answer, package=PACKAGE, **LINE)


def test_an_upload_carries_the_packages_number_and_repeats_to_the_byte() -> None:
    request = uploads.build(PACKAGE, **LINE)
    head = envelope.claimed_head(request.body)
    assert head is not None
    assert (request.url, head.msg_id) == ("https://etc.example/etc/v1/etc.trans.upload", PACKAGE.message_no)
    assert uploads.build(PACKAGE, **LINE) == request
    ours = {"our-1": TheirKey("our-1", US, sm2.PrivateKey(0x1234567890ABCDEF).public)}
    opened = envelope.open_envelope(request.body, service="etc.trans.upload", receiver=THEM, keys=ours, now=NOW)
    assert not isinstance(opened, Rejection)
    assert uploads.read_upload(opened.body) == PACKAGE


def test_a_charge_above_the_cap_is_not_uploaded() -> None:
    with pytest.raises(ValueError, match="not between 0 and 299"):
        uploads.build(PACKAGE, **LINE | {"provider": replace(CHANNEL.provider, cap_fen=299)})


def test_an_acceptance_states_the_clearing_date() -> None:
    outcome = uploaded(data=ACCEPTED)
    assert (outcome.verdict, outcome.receipt, outcome.clear_on) == ("verified", Receipt.ACCEPTED, date(2025, 6, 20))
    assert uploaded(data={}).receipt is None


@pytest.mark.parametrize("result", sorted(set(ANSWERS) - {Receipt.ACCEPTED}))
def test_every_refusal_is_an_answer_that_the_states_know(result: Receipt) -> None:
    outcome = uploaded(result)
    assert (outcome.verdict, outcome.receipt, outcome.clear_on) == ("verified", result, None)


def test_what_proves_nothing_is_no_answer() -> None:
    assert uploaded(data=ACCEPTED, ack_no="0" * 20).receipt is None
    assert uploaded(Receipt.CLEARING_DISAGREES).receipt is None
    for answer in (Unanswered("timeout"), Answer(200, {}, b"{}"), Answer(503, {}, b"")):
        outcome = uploads.outcome(answer, package=PACKAGE, **LINE)
        assert (outcome.receipt, outcome.verdict == "verified") == (None, False)


def test_a_list_is_taken_only_when_it_answers_this_question() -> None:
    ask = StatusListAsk("PLATE", "32", "7")
    request = lists.build(ask, nonce="1", **LINE)
    answer = replied(request.body, data={"version": "8", "full": False, "add": ["苏B12345蓝"], "remove": []})
    told = lists.outcome(answer, ask=ask, **LINE)
    assert told.changes is not None
    assert (told.changes.version, told.changes.add) == ("8", ("苏B12345蓝",))
    assert lists.outcome(answer, ask=StatusListAsk("PLATE", "32", "6"), **LINE).reason == "other_order"
    assert lists.outcome(replied(request.body, data={"version": "8"}), ask=ask, **LINE).reason == "field_missing"
    assert lists.outcome(replied(request.body, Receipt.BUSY), ask=ask, **LINE).reason == "unavailable"


# Jiangsu's connections

ORIGINAL = Message(
    Head(messages.ORIGINAL, sender=messages.TONGXINGBAO, receiver=messages.NETWORK_CENTRE, message_no=PACKAGE.message_no), PACKAGE
)


WHOLE = Outbound(ORIGINAL).start()


def inbound() -> Inbound:
    return Inbound(us=messages.NETWORK_CENTRE)


def test_a_frame_may_come_byte_by_byte() -> None:
    content, arriving = Outbound(ORIGINAL).start(), inbound()
    told = [arriving.feed(content[place : place + 1]) for place in range(len(content))]
    assert told[:-1] == [None] * (len(content) - 1)
    arrived = told[-1]
    assert arrived is not None
    assert arrived.reply == f"{PACKAGE.message_no}1".encode()
    assert isinstance(arrived.message, Message)
    assert arrived.message.body == PACKAGE


@pytest.mark.parametrize(
    ("content", "fault", "reply"),
    [
        (b"", FrameFault.HEADER, b""),
        (b"GET / HTTP/1.1\r\n" * 5, FrameFault.HEADER, b""),
        (WHOLE[:-1], FrameFault.LENGTH, b"000000000000000000420"),
        (
            Outbound(ORIGINAL).start()[:26] + b"0" * 32 + Outbound(ORIGINAL).start()[58:],
            FrameFault.DIGEST,
            b"000000000000000000420",
        ),
    ],
)
def test_a_frame_that_does_not_hold_says_nothing(content: bytes, fault: FrameFault, reply: bytes) -> None:
    arriving = inbound()
    arrived = arriving.feed(content) or arriving.end()
    assert (arrived.fault, arrived.reply, arrived.message) == (fault, reply, None)


def test_a_message_that_cannot_be_read_is_received_all_the_same() -> None:
    arrived = Inbound(us=messages.ORDINARY_ROADS).feed(Outbound(ORIGINAL).start())
    assert arrived is not None
    assert arrived.reply[-1:] == b"1"
    assert isinstance(arrived.message, Rejection)
    assert arrived.message.result is Receipt.HEADER_WRONG


def test_the_same_bytes_go_three_times() -> None:
    going = Outbound(ORIGINAL)
    first = going.start()
    assert going.feed(b"00000000") is None
    assert going.failed() is Next.AGAIN
    assert going.start() == first
    assert going.feed(f"{PACKAGE.message_no}0".encode()) is Next.AGAIN
    assert going.start() == first
    assert going.feed(b"0" * 21) is Next.PERSON, "a reply to another frame is none"
    done = Outbound(ORIGINAL)
    done.start()
    assert done.feed(f"{PACKAGE.message_no}1".encode()) is Next.DONE
    assert done.pause_seconds == timedelta(seconds=5).seconds
