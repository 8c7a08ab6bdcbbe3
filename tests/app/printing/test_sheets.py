"""Printed codes: an independent reader reads every size from the print file, small, dirty, turned and badly photographed."""

import io
import math
import random
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pypdfium2  # type: ignore[import-untyped]  # ships no types
import pytest
import qrcode
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps
from qrcode.constants import ERROR_CORRECT_Q

from app.pages.words import ZH
from app.printing import labels, sheets, svg
from app.printing.drawing import Form
from app.printing.labels import SIZES, Label, SizeName
from app.printing.letters import FontFile
from app.printing.sheets import Order
from ledger.errors import Refused
from payments import fonts, paycode, qr
from payments.codes.records import WHOLE_LOT, Place
from payments.lots import Lot
from payments.paycode import PayCodeKeys, WallCode
from tests.browser.conftest import find_chromium
from tests.payments.conftest import AT

KEYS = PayCodeKeys(signing_id=1, signing_key=Ed25519PrivateKey.from_private_bytes(b"\5" * 32))
LOT = Lot(
    code="LX-0017", operator_code="LX", name="中山路 & <人民路> 停车场", district="梁溪区", address="中山路 100 号", berths=80,
    scene="on_street", tariff_text="每小时6元", lot_id=17, operator_id=1, operator_name="无锡示例停车管理服务有限责任公司",
)  # fmt: skip
FONT = FontFile(str(fonts.found(None).path), fonts.found(None).number)
SIDE = 61
"""Modules of a code of version 9 with its quiet zone."""
NEAR = 16
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
NAMES: list[SizeName] = ["poster", "80x100", "60x60"]


def label(number: int) -> Label:
    link = paycode.address("https://pay.wuxi-parking.example", WallCode(number), keys=KEYS)
    return sheets.label(
        LOT, Place("berth", f"A-{number:05}"), link=link, code_no=number, words=ZH, help_line="0510-12345",
        wallets="微信、支付宝、云闪付",
    )  # fmt: skip


def in_browser(drawing: bytes, folder: Path) -> Image.Image:
    """A sheet as Chromium shows it, at 96 dots an inch."""
    (folder / "sheet.svg").write_bytes(drawing)
    picture = folder / "sheet.png"
    command = [
        find_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=794,1123",
        f"--user-data-dir={folder / 'browser'}", f"--screenshot={picture}", (folder / "sheet.svg").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with Image.open(picture) as opened:
        return opened.convert("L")


@cache
def printed(name: SizeName) -> bytes:
    """A PDF of a page and one label more."""
    with tempfile.TemporaryDirectory() as folder:
        order = Order(size=name, form="pdf", folder=Path(folder), stem="t", font=fonts.found(None))
        wanted = [label(number) for number in range(1, SIZES[name].per_page + 2)]
        return sheets.write(wanted, order, at=AT, progress=list[str]().append).files[0].read_bytes()


@cache
def pages(name: SizeName) -> list[Image.Image]:
    """The printed pages at 150 dots an inch."""
    with pypdfium2.PdfDocument(printed(name)) as document:
        return [page.render(scale=150 / 72).to_pil().convert("L") for page in document]


@cache
def near(name: SizeName) -> Image.Image:
    """The first code of the first page with its quiet zone, 16 pixels a module, on a grey wall of three modules."""
    [picture, *_] = labels.sheet([label(1)], SIZES[name]).pictures
    points = 72 / 25.4
    left, top = picture.x * points, picture.y * points
    with pypdfium2.PdfDocument(printed(name)) as document:
        page = document[0]
        across, down = page.get_width() - left - picture.side * points, page.get_height() - top - picture.side * points
        scale = NEAR * SIDE / (picture.side * points)
        code = page.render(scale=scale, crop=(left, down, across, top)).to_pil().convert("L").resize((NEAR * SIDE, NEAR * SIDE))
    return ImageOps.expand(code, 3 * NEAR, 200)


def photo(picture: Image.Image, pixels: float, *, across: float = 0, down: float = 0) -> Image.Image:
    """What a camera sees of it with so many pixels a module, which lie on it as ``across`` and ``down`` say, in pixels."""
    step = NEAR / pixels
    side = int(picture.width / step) - 2
    box = (across * step, down * step, (across + side) * step, (down + side) * step)
    return picture.resize((side, side), Image.Resampling.BOX, box=box)


def read(picture: Image.Image) -> list[str]:
    return [found.text for found in zxingcpp.read_barcodes(picture)]


@pytest.mark.parametrize("name", NAMES)
def test_every_code_of_a_printed_page_says_exactly_its_link_and_the_rest_is_on_the_next_page(name: SizeName) -> None:
    count = SIZES[name].per_page
    first, second = pages(name)
    assert sorted(read(first)) == sorted(label(number).link for number in range(1, count + 1))
    assert read(second) == [label(count + 1).link]


# How far a code is read. What these limits mean on a wall: docs/PAY_CODES.md.


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_code_is_read_with_two_and_a_half_pixels_a_module_wherever_they_lie(name: SizeName) -> None:
    quarters = [(across / 4, down / 4) for across in range(4) for down in range(4)]
    assert [read(photo(near(name), 2.5, across=across, down=down)) for across, down in quarters] == [[label(1).link]] * 16


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degrees", [-25, 8, 30, 173])
def test_a_printed_code_is_read_turned_with_three_pixels_a_module(name: SizeName, degrees: int) -> None:
    turned = photo(near(name), 3).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=200)
    assert read(turned) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degrees", [30, 60])
def test_a_printed_code_is_read_from_the_side_with_four_pixels_a_module(name: SizeName, degrees: int) -> None:
    """Seen from a distance of four times its side: the far edge is smaller, and the whole is narrow."""
    assert read(aside(photo(near(name), 4), degrees)) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_code_is_read_in_a_badly_squeezed_picture(name: SizeName) -> None:
    squeezed = io.BytesIO()
    photo(near(name), 2.5).save(squeezed, "JPEG", quality=10)
    assert read(Image.open(squeezed)) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_code_is_read_bleached_to_an_eighth_of_the_contrast(name: SizeName) -> None:
    bleached = photo(near(name), 3).point(lambda level: 110 + level * 32 // 255)
    assert read(bleached) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_code_is_read_out_of_focus_by_a_third_of_a_module(name: SizeName) -> None:
    assert read(photo(near(name), 3).filter(ImageFilter.GaussianBlur(0.3 * 3))) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_a_printed_code_is_read_with_dirt_on_a_twelfth_of_it(name: SizeName, seed: int) -> None:
    """Patches of six modules, dark and light, off its three corners: without those no reader finds any code."""
    assert read(photo(dirty(near(name), seed, patch=6, share=1 / 12), 4)) == [label(1).link]


@pytest.mark.parametrize(("spoilt", "is_read"), [(10, True), (11, False)])
def test_ten_of_the_36_words_of_each_block_may_be_spoilt_and_no_more(spoilt: int, is_read: bool) -> None:
    """What error correction Q promises: version 9 has eight blocks of 36 or 37 words, of which 20 repair (its table 9)."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_Q, border=4, mask_pattern=3)
    code.add_data(label(1).link, optimize=20)
    code.make(fit=True)
    assert code.version == 9
    code.data_cache = [word ^ 0xFF if place < 8 * spoilt else word for place, word in enumerate(code.data_cache)]
    code.makeImpl(False, 3)
    rows = code.get_matrix()
    picture = Image.frombytes("L", (SIDE, SIDE), bytes(0 if dark else 255 for row in rows for dark in row))
    assert read(picture.resize((4 * SIDE, 4 * SIDE), Image.Resampling.NEAREST)) == ([label(1).link] if is_read else [])


def dirty(picture: Image.Image, seed: int, *, patch: int, share: float) -> Image.Image:
    """The same with patches of so many modules on this share of its modules, at least."""
    drawn, result, covered = random.Random(seed), picture.copy(), set[tuple[int, int]]()
    modules, pen = SIDE - 2 * qr.QUIET_MODULES, ImageDraw.Draw(result)
    while len(covered) < share * modules**2:
        x, y = drawn.randrange(modules - patch + 1), drawn.randrange(modules - patch + 1)
        if (x < 9 or x > modules - 9 - patch) and (y < 9 or y > modules - 9 - patch):
            continue
        covered |= {(x + right, y + down) for right in range(patch) for down in range(patch)}
        left, top = (x + qr.QUIET_MODULES + 3) * NEAR, (y + qr.QUIET_MODULES + 3) * NEAR
        shade = drawn.choice([0, 60, 128, 200, 255])
        pen.rectangle((left, top, left + patch * NEAR - 1, top + patch * NEAR - 1), fill=shade)
    return result


def aside(picture: Image.Image, degrees: float, *, distance: float = 4.0) -> Image.Image:
    """The same seen from the side: turned about its upright middle line, from ``distance`` times its side away."""
    middle, far = picture.width / 2, distance * picture.width
    near_by, aside_by = far * math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # from the middle, a point x, y is seen at x·near_by / (far + x·aside_by), y·far / (far + x·aside_by); these are of the way back
    below = near_by + middle * aside_by
    coefficients = (
        (far - middle * aside_by) / below, 0, middle * (below - far) / below,
        -middle * aside_by / below, near_by / below, middle * (below - near_by) / below,
        -aside_by / below, 0,
    )  # fmt: skip
    return picture.transform(picture.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR, fillcolor=200)


@pytest.mark.parametrize("name", NAMES)
def test_the_quiet_zone_is_kept_free_of_words_and_marks(name: SizeName) -> None:
    edge = near(name).crop((3 * NEAR, 3 * NEAR, (SIDE + 3) * NEAR, (SIDE + 3) * NEAR))
    quiet = NEAR * qr.QUIET_MODULES - 2
    assert edge.crop((0, 0, edge.width, quiet)).getextrema()[0] == 255
    assert edge.crop((0, edge.height - quiet, edge.width, edge.height)).getextrema()[0] == 255
    assert edge.crop((0, 0, quiet, edge.height)).getextrema()[0] == 255


def words(name: SizeName) -> Iterator[labels.Words]:
    yield from labels.sheet([label(1)], SIZES[name]).words


@pytest.mark.parametrize("name", NAMES)
def test_a_label_names_city_lot_berth_payee_help_and_what_to_check(name: SizeName) -> None:
    text = "\n".join(one.text for one in words(name))
    for part in ("无锡停车", LOT.name, "A-00001 号泊位", LOT.operator_name, "0510-12345", labels.CHECK, "No. 1"):
        assert part in text


@pytest.mark.parametrize("name", NAMES)
def test_a_code_for_the_whole_lot_names_no_berth(name: SizeName) -> None:
    whole = sheets.label(LOT, WHOLE_LOT, link="https://a.example/p/A", code_no=None, words=ZH, help_line="1", wallets="微信")
    assert not any("泊位" in one.text or "{" in one.text for one in labels.sheet([whole], SIZES[name]).words)


@given(st.text("停车场A1-", min_size=1, max_size=60), st.sampled_from([20.0, 56.4, 190.0]))
def test_words_of_any_length_fit_onto_their_line_and_are_not_cut(text: str, width: float) -> None:
    points = labels.fitted(text, points=30, width=width)
    ems = sum(1.0 if letter in "停车场" else 0.62 for letter in text)
    assert 0 < points <= 30
    assert points * labels.MM_PER_POINT * ems <= width * 1.000001


@pytest.mark.parametrize("name", NAMES)
def test_no_words_of_a_label_stand_on_its_code_or_outside_its_edge(name: SizeName) -> None:
    size = SIZES[name]
    page = labels.sheet([label(1)], size)
    [code] = page.pictures
    top, left = code.y - size.code_y, code.x - (size.width - size.code_side) / 2
    for one in page.words:
        height = one.points * labels.MM_PER_POINT
        assert one.y <= code.y + 0.5 or one.y - height * 0.9 >= code.y + code.side - 0.5
        assert top <= one.y - height * 0.9
        assert one.y + height * 0.2 <= top + size.height
        assert one.x == pytest.approx(left + size.width / 2)


@pytest.mark.parametrize("name", ["80x100", "60x60"])
def test_crop_marks_stand_off_every_sticker_and_inside_the_sheet(name: SizeName) -> None:
    size = SIZES[name]
    page = labels.sheet([label(number) for number in range(1, size.per_page + 1)], size)
    assert len(page.marks) == 8 * size.per_page
    corners = [(code.x - (size.width - size.code_side) / 2, code.y - size.code_y) for code in page.pictures]
    for mark in page.marks:
        assert all(0 < x < labels.PAGE_WIDTH for x in (mark.x1, mark.x2))
        assert all(0 < y < labels.PAGE_HEIGHT for y in (mark.y1, mark.y2))
        middle = ((mark.x1 + mark.x2) / 2, (mark.y1 + mark.y2) / 2)
        assert not any(x < middle[0] < x + size.width and y < middle[1] < y + size.height for x, y in corners)


def test_an_svg_sheet_holds_the_same_codes_in_vectors_and_refers_to_nothing_outside_itself() -> None:
    page = labels.sheet([label(1), label(2)], SIZES["60x60"])
    drawn = svg.drawn(page, font=FONT).decode()
    assert "<text" not in drawn
    assert "font" not in drawn
    assert "<image" not in drawn
    assert set(re.findall(r'xlink:href="(.)', drawn)) == {"#"}
    for picture in page.pictures:
        assert f'd="{qr.path(picture.link)[1]}"' in drawn


def test_the_words_of_an_svg_sheet_are_named_escaped_and_drawn_once() -> None:
    page = labels.sheet([label(1), label(2)], SIZES["60x60"])
    tree = ElementTree.fromstring(svg.drawn(page, font=FONT))
    lines = {group.get("aria-label"): group.get("id") for group in tree.iter(f"{SVG}g")}
    assert set(lines) == {one.text for one in page.words}
    assert LOT.name in lines
    used = [use.get(HREF) for use in tree.iter(f"{SVG}use")]
    assert used.count(f"#{lines[labels.CHECK]}") == 2
    letters = {letter for one in page.words for letter in one.text if letter != " "}
    assert len(next(tree.iter(f"{SVG}defs")).findall(f"{SVG}path")) in (len(letters), len(letters) + 1)


def test_an_svg_sheet_looks_in_a_browser_as_the_pdf_looks_in_a_reader_of_pdfs(tmp_path: Path) -> None:
    page = labels.sheet([label(number) for number in range(1, 13)], SIZES["60x60"])
    shown = in_browser(svg.drawn(page, font=FONT), tmp_path)
    other = pages("60x60")[0].resize(shown.size, Image.Resampling.BOX)
    difference = ImageChops.difference(shown.filter(ImageFilter.BoxBlur(4)), other.filter(ImageFilter.BoxBlur(4)))
    assert sorted(read(shown.resize((shown.width * 2, shown.height * 2)))) == sorted(label(number).link for number in range(1, 13))
    assert max(level for level, count in enumerate(difference.histogram()) if count) < 90


def test_a_pdf_holds_its_font_and_its_words_can_be_searched(tmp_path: Path) -> None:
    order = Order(size="80x100", form="pdf", folder=tmp_path, stem="t", font=fonts.found(None))
    [path] = sheets.write([label(1)], order, at=AT, progress=list[str]().append).files
    assert b"/FontFile" in path.read_bytes()
    with pypdfium2.PdfDocument(path) as document:
        assert labels.CHECK in document[0].get_textpage().get_text_bounded()
    assert path.stat().st_size < 40_000


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_a_letter_that_the_font_does_not_have_is_refused_and_not_printed_as_an_empty_box(tmp_path: Path, form: Form) -> None:
    order = Order(size="60x60", form=form, folder=tmp_path, stem="t", font=fonts.found(None))
    strange = msgspec.structs.replace(label(1), lot_name="停车场 \U0001f9ff")
    with pytest.raises(Refused, match=r"U\+1F9FF") as refused:
        sheets.write([strange], order, at=AT, progress=list[str]().append)
    assert refused.value.code == "font_lacks_letters"
    assert list(tmp_path.iterdir()) == []
