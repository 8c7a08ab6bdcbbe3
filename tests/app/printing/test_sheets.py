"""Printed codes: an independent reader reads every size from the print file, small, dirty, turned and badly photographed."""

import io
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
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from app.pages.words import ZH
from app.printing import labels, sheets, svg
from app.printing.drawing import Form
from app.printing.labels import SIZES, Label, SizeName
from app.printing.letters import FontFile
from app.printing.sheets import Order
from ledger.errors import Refused
from payments import paycode, qr
from payments.codes.records import WHOLE_LOT, Place
from payments.lots import Lot
from payments.owed.debt_file import fonts
from payments.paycode import PayCodeKeys, WallCode
from tests.browser.conftest import find_chromium
from tests.payments.conftest import AT

KEYS = PayCodeKeys(signing_id=1, signing_key=Ed25519PrivateKey.from_private_bytes(b"\5" * 32))
LOT = Lot(
    code="LX-0017", operator_code="LX", name="中山路 & <人民路> 停车场", district="梁溪区", address="中山路 100 号", berths=80,
    scene="on_street", tariff_text="每小时6元", lot_id=17, operator_id=1, operator_name="无锡示例停车管理服务有限责任公司",
)  # fmt: skip
FONT = FontFile(str(fonts.found(None).path), fonts.found(None).number)
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
def pages(name: SizeName) -> list[Image.Image]:
    """The pages of a printed PDF of a page and one label more, at 150 dots an inch."""
    with tempfile.TemporaryDirectory() as folder:
        order = Order(size=name, form="pdf", folder=Path(folder), stem="t", font=fonts.found(None))
        done = sheets.write(
            [label(number) for number in range(1, SIZES[name].per_page + 2)], order, at=AT, progress=list[str]().append
        )
        with pypdfium2.PdfDocument(done.files[0]) as document:
            return [page.render(scale=150 / 72).to_pil().convert("L") for page in document]


def cut_out(name: SizeName) -> Image.Image:
    """The first label of the first page, as a photograph that shows it and a little of its wall."""
    [picture, *_] = labels.sheet([label(1)], SIZES[name]).pictures
    dots = 150 / 25.4
    left, top, side = round(picture.x * dots), round(picture.y * dots), round(picture.side * dots)
    return pages(name)[0].crop((left, top, left + side, top + side))


def read(picture: Image.Image) -> list[str]:
    return [found.text for found in zxingcpp.read_barcodes(picture)]


@pytest.mark.parametrize("name", NAMES)
def test_every_code_of_a_printed_page_says_exactly_its_link_and_the_rest_is_on_the_next_page(name: SizeName) -> None:
    count = SIZES[name].per_page
    first, second = pages(name)
    assert sorted(read(first)) == sorted(label(number).link for number in range(1, count + 1))
    assert read(second) == [label(count + 1).link]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [150, 190])
def test_a_printed_code_is_read_from_far_away(name: SizeName, side: int) -> None:
    assert read(cut_out(name).resize((side, side), Image.Resampling.BILINEAR)) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_printed_code_is_read_with_dirt_on_it(name: SizeName, seed: int) -> None:
    """Three patches that cover a tenth of the code, off its three corners, without which no reader finds any code."""
    drawn = random.Random(seed)
    picture = cut_out(name).resize((360, 360), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(picture)
    for _ in range(3):
        x, y = drawn.randint(140, 280), drawn.randint(140, 280)
        pen.rectangle((x, y, x + 54, y + 54), fill=drawn.choice([60, 128, 200]))
    assert read(picture) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("degrees", [-25, 8, 45, 173])
def test_a_printed_code_is_read_turned_and_badly_compressed(name: SizeName, degrees: int) -> None:
    photo = cut_out(name).resize((300, 300), Image.Resampling.BILINEAR).rotate(degrees, expand=True, fillcolor=255)
    squeezed = io.BytesIO()
    photo.save(squeezed, "JPEG", quality=25)
    assert read(Image.open(squeezed)) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_code_is_read_from_the_side(name: SizeName) -> None:
    photo = cut_out(name).resize((360, 360), Image.Resampling.BILINEAR)
    aside = (1.0, 0.25, -105, 0.08, 1.0, -42)
    skewed = photo.transform((490, 420), Image.Transform.AFFINE, aside, Image.Resampling.BILINEAR, fillcolor=255)
    assert read(skewed) == [label(1).link]


@pytest.mark.parametrize("name", NAMES)
def test_the_quiet_zone_is_kept_free_of_words_and_marks(name: SizeName) -> None:
    edge = cut_out(name)
    quiet = round(edge.width / len(qr.modules(label(1).link)) * qr.QUIET_MODULES) - 2
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
