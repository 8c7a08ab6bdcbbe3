"""Packing and frames: what is packed is unpacked, what is cut or damaged is never taken."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.etc.jiangsu import lz77
from gateways.etc.jiangsu.frame import (
    HEADER_BYTES,
    Frame,
    FrameFault,
    Reply,
    file_name,
    frame,
    frame_bytes,
    read_frame,
    read_reply,
    reply,
    reply_to,
)
from tests.gateways.etc_cases import MESSAGE_NO

XML = '<?xml version="1.0" encoding="UTF-8"?><Message><Header></Header><Body ContentType="1">停车停车停车</Body></Message>'.encode()


# LZ77


def bits(*parts: str) -> bytes:
    whole = "".join(parts)
    return int(whole.ljust((len(whole) + 7) // 8 * 8, "0"), 2).to_bytes((len(whole) + 7) // 8, "big")


def block(raw_length: int, body: bytes) -> bytes:
    return raw_length.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


A = "0" + f"{ord('A'):08b}"
B = "0" + f"{ord('B'):08b}"


@pytest.mark.parametrize(("number", "code"), [(1, "0"), (2, "100"), (3, "101"), (4, "11000"), (7, "11011"), (8, "1110000")])
def test_gamma_is_ones_a_zero_and_the_low_bits(number: int, code: str) -> None:
    assert lz77.gamma(number) == code


@pytest.mark.parametrize(("out", "width"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (65_535, 16)])
def test_an_offset_has_as_many_bits_as_what_is_out_needs(out: int, width: int) -> None:
    assert lz77.offset_bits(out) == width


def test_a_block_written_by_hand_is_unpacked() -> None:
    # two literals; copy 2 from 0 (one bit of offset); copy 3 from 1 (two bits)
    content = block(7, bits(A, B, "1", "0", "0", "1", "100", "01"))
    assert lz77.unpacked(content) == b"ABABBAB"


def test_a_block_that_gains_nothing_is_stored() -> None:
    assert lz77.packed(b"AB") == b"\x00\x02\x00\x02AB"
    assert lz77.packed(b"") == b""
    assert lz77.unpacked(b"") == b""


def test_a_repeated_text_is_packed_to_the_letter() -> None:
    assert lz77.packed(b"ABCABC") == block(6, bits(A, B, "0" + f"{ord('C'):08b}", "1", "100", "00"))


def test_a_full_block_states_its_length_as_zero() -> None:
    content = bytes(65_536)
    packed = lz77.packed(content)
    assert packed[:2] == b"\x00\x00"
    assert packed[2:4] != b"\x00\x00"
    assert lz77.unpacked(packed) == content
    noise = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(2048))
    assert lz77.packed(noise) == bytes(4) + noise
    assert lz77.unpacked(lz77.packed(noise + b"rest")) == noise + b"rest"


def test_blocks_know_nothing_of_each_other() -> None:
    text = XML * 1000
    packed = lz77.packed(text)
    assert len(packed) < len(text) // 20
    assert lz77.packed(text[:65_536]) + lz77.packed(text[65_536:]) == packed
    assert lz77.unpacked(packed) == text


@given(st.binary(max_size=2000) | st.lists(st.sampled_from([b"<Fee>", b"</Fee>", b"15.00", b"\x00"]), max_size=300).map(b"".join))
@settings(deadline=None)
def test_what_is_packed_is_unpacked(content: bytes) -> None:
    packed = lz77.packed(content)
    assert lz77.unpacked(packed) == content
    assert len(packed) <= len(content) + 4
    assert lz77.packed(content) == packed


@given(st.binary(max_size=300))
def test_noise_is_unpacked_to_something_or_to_nothing_but_never_falls(noise: bytes) -> None:
    found = lz77.unpacked(noise, bytes_max=1 << 20)
    assert found is None or len(found) <= 1 << 20


@given(st.integers(0, 10_000))
def test_a_cut_is_never_unpacked_to_the_whole(place: int) -> None:
    packed = lz77.packed(XML * 3)
    assert lz77.unpacked(packed[: place % len(packed)]) != XML * 3


@pytest.mark.parametrize(
    "content",
    [
        b"\x00",
        b"\x00\x05\x00",
        block(4, b"")[:4],
        b"\x00\x05\x00\x04ab",
        block(9, bits(A)),
        block(10, bits(A * 8)),
        block(5, bits("1", "0")),
        block(5, bits(A, B, "1", "100", "0")),
        block(5, bits(A, B, "1", "0", "1")),
        block(7, bits(A, B, "1", "0", "0", "1", "101", "00")),
        block(40, bits(A, B, "1" * 20)),
        block(9, bits(A, "0101")),
        block(9, bits(A, B, "1", "110")),
    ],
    ids=[
        "no header",
        "half a header",
        "no bits",
        "cut",
        "too short",
        "no bit left",
        "copy first",
        "overlap",
        "past the end",
        "too long",
        "endless",
        "half literal",
        "half copy",
    ],
)
def test_a_block_in_disorder_is_not_unpacked(content: bytes) -> None:
    assert lz77.unpacked(content) is None


def test_bits_after_the_last_byte_are_ignored() -> None:
    assert lz77.unpacked(block(4, bits(A, B, "1", "0", "0") + b"\xff\xff")) == b"ABAB"


def test_a_text_larger_than_allowed_is_not_unpacked() -> None:
    packed = lz77.packed(bytes(200_000))
    assert len(packed) < 1000
    assert lz77.unpacked(packed, bytes_max=199_999) is None
    assert lz77.unpacked(packed, bytes_max=200_000) == bytes(200_000)


# Frames


def test_a_frame_is_number_length_md5_and_the_packed_text() -> None:
    content = frame(MESSAGE_NO, XML)
    assert content[:20] == MESSAGE_NO.encode()
    assert int(content[20:26]) == len(content) - HEADER_BYTES
    assert content[26:58].decode() == hashlib.md5(XML, usedforsecurity=False).hexdigest()
    assert lz77.unpacked(content[HEADER_BYTES:]) == XML
    assert read_frame(content) == Frame(MESSAGE_NO, XML)


def test_the_md5s_case_is_ignored() -> None:
    content = frame(MESSAGE_NO, XML)
    assert read_frame(content[:26] + content[26:58].upper() + content[58:]) == Frame(MESSAGE_NO, XML)


@given(st.binary(max_size=300))
def test_every_text_is_read_back(xml: bytes) -> None:
    assert read_frame(frame(MESSAGE_NO, xml)) == Frame(MESSAGE_NO, xml)


def test_the_length_is_known_as_soon_as_the_header_is_there() -> None:
    content = frame(MESSAGE_NO, XML)
    assert [frame_bytes(content[:length]) for length in (0, 57)] == [None, None]
    assert frame_bytes(content[:58]) == frame_bytes(content) == len(content)
    assert frame_bytes(b"GET / HTTP/1.1\r\n" + b" " * 60) is None


def damaged() -> dict[str, tuple[bytes, FrameFault, bytes | None]]:
    content = frame(MESSAGE_NO, XML)
    again = reply(MESSAGE_NO, received=False)
    return {
        "nothing": (b"", FrameFault.HEADER, None),
        "no digits": (b"x" + content[1:], FrameFault.HEADER, None),
        "cut": (content[:-1], FrameFault.LENGTH, again),
        "too long": (content + b"x", FrameFault.LENGTH, again),
        "packing": (content[:60] + b"\xff\xff" + content[62:], FrameFault.PACKING, again),
        "md5": (content[:26] + b"0" * 32 + content[58:], FrameFault.DIGEST, again),
    }


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_frame_is_not_taken_and_asked_for_again(name: str) -> None:
    content, fault, answer = damaged()[name]
    assert read_frame(content) is fault
    assert reply_to(content) == answer


def test_a_frame_that_holds_is_replied_to_with_one() -> None:
    assert reply_to(frame(MESSAGE_NO, b"not even XML")) == MESSAGE_NO.encode() + b"1"


def test_what_cannot_be_framed_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("42", "4" * 21, "x" * 20):
        with pytest.raises(ValueError, match="cannot be framed"):
            frame(number, XML)
    monkeypatch.setattr(lz77, "packed", lambda _: bytes(1_000_000))
    with pytest.raises(ValueError, match="1000000 packed bytes"):
        frame(MESSAGE_NO, XML)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (MESSAGE_NO.encode() + b"1", Reply.RECEIVED),
        (MESSAGE_NO.encode() + b"0", Reply.NOT_RECEIVED),
        (MESSAGE_NO.encode() + b"2", Reply.UNREADABLE),
        (MESSAGE_NO.encode(), Reply.UNREADABLE),
        (MESSAGE_NO.encode() + b"1\n", Reply.UNREADABLE),
        (b"9" * 20 + b"1", Reply.UNREADABLE),
        (b"", Reply.UNREADABLE),
        (b"\xff" * 21, Reply.UNREADABLE),
    ],
)
def test_a_reply_counts_only_for_its_own_frame(content: bytes, told: Reply) -> None:
    assert read_reply(content, message_no=MESSAGE_NO) is told


def test_a_package_file_is_named_after_network_and_card_type() -> None:
    assert file_name(card_net="3201", card_type=22, message_no=MESSAGE_NO) == f"CZ_3201_{MESSAGE_NO}.xml.lz77"
    assert file_name(card_net="3701", card_type=23, message_no=MESSAGE_NO) == f"JZ_3701_{MESSAGE_NO}.xml.lz77"
