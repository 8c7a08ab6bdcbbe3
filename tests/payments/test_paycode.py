"""Pay codes: what is printed can be read, by an independent reader, and nothing else is accepted."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import qrcode
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from qrcode.constants import ERROR_CORRECT_Q
from qrcode.exceptions import DataOverflowError
from qrcode.util import lost_point

from payments import paycode, qr
from payments.paycode import (
    BasketCode,
    Content,
    LotCode,
    PayCodeForged,
    PayCodeKeys,
    PayCodeKeyUnknown,
    PayCodeRefused,
    PayCodeUnreadable,
    PayCodeVersionUnknown,
    StayCode,
    WallCode,
)

OLD = PayCodeKeys(signing_id=1, signing_key=Ed25519PrivateKey.from_private_bytes(bytes(32)))
NEW = PayCodeKeys(
    signing_id=2, signing_key=Ed25519PrivateKey.from_private_bytes(b"\1" * 32), verifying={1: OLD.signing_key.public_key()}
)
PUBLIC_URL = "https://pay.wuxi-parking.example"


@given(st.integers(1, paycode.LOT_ID_MAX))
def test_every_lot_is_read_back_from_its_code(lot_id: int) -> None:
    assert paycode.read(paycode.token(lot_id, keys=NEW), public_keys=NEW.public_keys) == LotCode(lot_id)


UUIDS = st.uuids()
MINUTES = st.integers(1, 2**31 - 1).map(lambda minutes: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))
NUMBERS = st.integers(1, paycode.NUMBER_MAX)
CONTENTS = st.one_of(
    st.builds(LotCode, NUMBERS), st.builds(WallCode, NUMBERS), st.builds(StayCode, NUMBERS, UUIDS, MINUTES),
    st.builds(BasketCode, NUMBERS, UUIDS, MINUTES),
)  # fmt: skip


@given(CONTENTS)
def test_whatever_a_code_says_is_read_back(content: Content) -> None:
    assert paycode.read(paycode.signed(content, keys=NEW), public_keys=NEW.public_keys) == content


def test_a_code_on_a_wall_is_as_long_as_a_lots_own_so_that_it_prints_as_large() -> None:
    assert len(paycode.signed(WallCode(1), keys=OLD)) == len(paycode.token(1, keys=OLD)) == paycode.TOKEN_LETTERS


def test_a_code_on_a_screen_is_good_until_a_whole_minute_and_never_longer_than_asked() -> None:
    asked = StayCode(7, UUID(int=5), datetime(2026, 3, 2, 4, 10, 59, tzinfo=UTC))
    said = paycode.read(paycode.signed(asked, keys=OLD), public_keys=OLD.public_keys)
    assert said == StayCode(7, UUID(int=5), datetime(2026, 3, 2, 4, 10, tzinfo=UTC))


@given(CONTENTS, st.data())
def test_one_flipped_bit_anywhere_in_any_code_is_refused(content: Content, data: st.DataObject) -> None:
    raw = bytearray(base64.b32decode(paycode.signed(content, keys=OLD)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PayCodeRefused):
        paycode.read(base64.b32encode(bytes(raw)).decode(), public_keys=OLD.public_keys)


@given(NUMBERS)
def test_the_signature_of_a_lots_code_is_not_that_of_a_wall_code_of_the_same_number(number: int) -> None:
    raw = base64.b32decode(paycode.token(number, keys=OLD))
    with pytest.raises(PayCodeForged):
        paycode.read(base64.b32encode(b"\2" + raw[1:]).decode(), public_keys=OLD.public_keys)


def test_the_signature_of_a_stays_code_is_not_that_of_a_basket_of_the_same_number() -> None:
    raw = base64.b32decode(paycode.signed(StayCode(7, UUID(int=5), datetime(2026, 3, 2, tzinfo=UTC)), keys=OLD))
    with pytest.raises(PayCodeForged):
        paycode.read(base64.b32encode(b"\4" + raw[1:]).decode(), public_keys=OLD.public_keys)


def test_a_wall_code_of_an_older_key_is_read_while_its_key_is_in_the_ring_and_refused_as_such_afterwards() -> None:
    old = paycode.signed(WallCode(12), keys=OLD)
    assert paycode.read(old, public_keys=NEW.public_keys) == WallCode(12)
    alone = PayCodeKeys(signing_id=2, signing_key=NEW.signing_key)
    with pytest.raises(PayCodeKeyUnknown):
        paycode.read(old, public_keys=alone.public_keys)


def test_the_same_lot_and_key_give_the_same_code_so_a_sheet_can_be_printed_again() -> None:
    assert paycode.token(7, keys=OLD) == paycode.token(7, keys=OLD)


def test_a_code_of_the_old_key_is_still_read_while_the_keys_overlap() -> None:
    assert paycode.read(paycode.token(7, keys=OLD), public_keys=NEW.public_keys) == LotCode(7)


def test_a_code_typed_in_small_letters_is_read() -> None:
    assert paycode.read(paycode.token(7, keys=OLD).lower(), public_keys=OLD.public_keys) == LotCode(7)


def test_a_code_of_a_key_that_left_the_ring_is_refused_as_such() -> None:
    with pytest.raises(PayCodeKeyUnknown):
        paycode.read(paycode.token(7, keys=NEW), public_keys=OLD.public_keys)


def test_a_code_signed_by_somebody_else_under_our_key_id_is_forged() -> None:
    foreign = PayCodeKeys(signing_id=1, signing_key=Ed25519PrivateKey.from_private_bytes(b"\2" * 32))
    with pytest.raises(PayCodeForged):
        paycode.read(paycode.token(7, keys=foreign), public_keys=OLD.public_keys)


def test_a_code_edited_to_name_another_lot_is_forged() -> None:
    raw = bytearray(base64.b32decode(paycode.token(7, keys=OLD)))
    raw[5] = 8
    with pytest.raises(PayCodeForged):
        paycode.read(base64.b32encode(bytes(raw)).decode(), public_keys=OLD.public_keys)


@given(st.integers(0, 559))
def test_one_flipped_bit_anywhere_is_refused(bit: int) -> None:
    raw = bytearray(base64.b32decode(paycode.token(7, keys=OLD)))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PayCodeRefused):
        paycode.read(base64.b32encode(bytes(raw)).decode(), public_keys=OLD.public_keys)


def test_a_later_version_is_refused_as_such() -> None:
    raw = b"\5" + base64.b32decode(paycode.token(7, keys=OLD))[1:]
    with pytest.raises(PayCodeVersionUnknown):
        paycode.read(base64.b32encode(raw).decode(), public_keys=OLD.public_keys)


@pytest.mark.parametrize("text", ["", "A", "A" * 111, "A" * 113, "1" * 112, "=" * 112, "A" * 106 + "=" * 6, "停" * 112, "ſ" * 112])
def test_what_is_not_a_pay_code_is_unreadable(text: str) -> None:
    with pytest.raises(PayCodeUnreadable):
        paycode.read(text, public_keys=OLD.public_keys)


@given(st.text(max_size=200))
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    with pytest.raises(PayCodeRefused):
        paycode.read(text, public_keys=OLD.public_keys)


@pytest.mark.parametrize("lot_id", [0, -1, paycode.LOT_ID_MAX + 1])
def test_a_lot_number_that_does_not_fit_is_never_printed(lot_id: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        paycode.token(lot_id, keys=OLD)


def _read_picture(picture: Image.Image) -> list[str]:
    return [found.text for found in zxingcpp.read_barcodes(picture.convert("L"))]


@pytest.mark.parametrize("lot_id", [1, 1210, paycode.LOT_ID_MAX])
def test_an_independent_reader_reads_the_png(lot_id: int) -> None:
    address = paycode.link(PUBLIC_URL, lot_id, keys=OLD)
    assert _read_picture(Image.open(io.BytesIO(qr.image(address)))) == [address]


@pytest.mark.parametrize("side", [110, 160, 300])
def test_an_independent_reader_reads_the_png_scaled_down(side: int) -> None:
    address = paycode.link(PUBLIC_URL, 1210, keys=OLD)
    picture = Image.open(io.BytesIO(qr.image(address))).convert("L").resize((side, side), Image.Resampling.BILINEAR)
    assert _read_picture(picture) == [address]


def test_an_independent_reader_reads_a_code_with_a_dirty_patch_and_turned() -> None:
    address = paycode.link(PUBLIC_URL, 1210, keys=OLD)
    picture = Image.open(io.BytesIO(qr.image(address, module_pixels=8))).convert("L")
    middle = picture.width // 2
    ImageDraw.Draw(picture).rectangle((middle, middle, middle + 60, middle + 60), fill=128)
    assert _read_picture(picture.rotate(7, fillcolor=255)) == [address]


def test_an_independent_reader_reads_the_svg() -> None:
    address = paycode.link(PUBLIC_URL, 1210, keys=OLD)
    drawing = ElementTree.fromstring(qr.svg(address, title="通停通付 <测试> & 停车场"))
    side, picture = int(drawing.attrib["viewBox"].split()[2]), None
    strokes = drawing.findall("{http://www.w3.org/2000/svg}path")[1].attrib["d"]
    picture = Image.new("L", (side * 6, side * 6), 255)
    pen = ImageDraw.Draw(picture)
    for stroke in strokes.split("z")[:-1]:
        corner, _, rest = stroke.removeprefix("M").partition("h")
        x, y = map(int, corner.split(","))
        length = int(rest.partition("v")[0])
        pen.rectangle((x * 6, y * 6, (x + length) * 6 - 1, y * 6 + 5), fill=0)
    assert _read_picture(picture) == [address]


def test_the_quiet_zone_is_four_modules_on_every_side() -> None:
    rows = qr.modules(paycode.link(PUBLIC_URL, 1, keys=OLD))
    edge = [*rows[:4], *rows[-4:], *[row[:4] + row[-4:] for row in rows]]
    assert not any(any(row) for row in edge)
    assert rows[4][4]
    assert rows[4][-5]


def test_the_code_is_no_larger_than_version_9_so_that_it_can_be_read_from_a_car() -> None:
    modules = len(qr.modules(paycode.link(PUBLIC_URL, paycode.LOT_ID_MAX, keys=OLD))) - 2 * qr.QUIET_MODULES
    assert (modules - 17) // 4 <= 9


def test_the_code_in_the_terminal_has_two_rows_in_a_line() -> None:
    rows = qr.modules("https://a.example/p/ABC")
    lines = qr.terminal("https://a.example/p/ABC").splitlines()
    assert len(lines) == (len(rows) + 1) // 2
    assert lines[2].count("▀") + lines[2].count("▄") + lines[2].count("█") > 0


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
def test_codes_of_every_size_are_read_back_whatever_mask_was_chosen(version: int) -> None:
    text = "https://a.example/p/" + "ABCDEFGHIJKL234567" * version
    assert _read_picture(Image.open(io.BytesIO(qr.image(text, module_pixels=4)))) == [text]


@settings(max_examples=20)
@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=1, max_size=144))
def test_a_drawn_code_is_module_by_module_what_the_package_draws_under_the_mask_with_the_fewest_points(token: str) -> None:
    text = f"https://pay.wuxi-parking.example/p/{token}"
    drawn = every_mask(text)
    points = [lost_point([row[4:-4] for row in rows[4:-4]]) for rows in drawn]
    assert qr.modules(text) == drawn[points.index(min(points))]


@pytest.mark.parametrize("text", ["", "0", "7" * 400, "中文 und Deutsch 12345678901234567890 ABC", "A" * 1500])
def test_any_text_is_drawn_as_the_package_draws_it(text: str) -> None:
    assert qr.modules(text) in every_mask(text)


def test_a_text_that_fits_into_no_code_is_refused() -> None:
    with pytest.raises(DataOverflowError, match="4000 letters"):
        qr.modules("a" * 4000)


def test_the_dark_runs_cover_exactly_the_dark_modules() -> None:
    text = paycode.link(PUBLIC_URL, 7, keys=OLD)
    side, path = qr.path(text)
    drawn = [[False] * side for _ in range(side)]
    dark = [tuple(map(int, run)) for run in re.findall(r"M(\d+),(\d+)h(\d+)v1h-\3z", path)]
    assert path == "".join(f"M{x},{y}h{length}v1h-{length}z" for x, y, length in dark)
    assert qr.rectangles(text) == (side, "".join(f"{x} {y} {length} 1 re\n" for x, y, length in dark))
    for x, y, length in dark:
        assert not any(drawn[y][x : x + length])
        drawn[y][x : x + length] = [True] * length
    assert drawn == qr.modules(text)


def every_mask(text: str) -> list[list[list[bool]]]:
    """What the package draws of a text, under each mask."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_Q, border=qr.QUIET_MODULES, mask_pattern=0)
    code.add_data(text, optimize=20)
    code.make(fit=True)
    drawn = []
    for mask in range(8):
        code.makeImpl(False, mask)
        drawn.append([[bool(cell) for cell in row] for row in code.get_matrix()])
    return drawn
