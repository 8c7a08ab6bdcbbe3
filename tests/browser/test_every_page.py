"""Every page, Chinese and English, on a small and on an ordinary phone: light, ours alone, readable by everybody."""

import io
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from jinja2 import Environment, FileSystemLoader, meta
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

import app.pages
from app.pages.words import EN, ZH
from tests.browser.city import City
from tests.browser.conftest import PHONE, WAIT_MS
from tests.browser.pages import PAGES
from tests.browser.wire import Wire

SIZES: Final[list[ViewportSize]] = [{"width": 320, "height": 568}, {"width": 360, "height": 640}, PHONE]
TEMPLATES: Final = Path(app.pages.__file__).parent / "templates"
AXE: Final = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
RULES: Final = """() => axe.run(document, {resultTypes: ["violations"]}).then(told => told.violations
  .filter(one => ["serious", "critical"].includes(one.impact))
  .map(one => [one.id, one.nodes.map(node => node.target.join(" ") + ": " + node.failureSummary)]))"""
WIDE: Final = """width => [document.documentElement.scrollWidth, [...document.querySelectorAll("main *, header *")]
  .filter(one => one.offsetParent && one.getBoundingClientRect().right > width + 1).map(one => one.outerHTML.slice(0, 120))]"""
STILL: Final = "for (let last = window.setTimeout(() => {}, 0); last > 0; last -= 1) window.clearTimeout(last)"
"""A page that waits looks again no more."""
SCREENSHOTS: Final = os.environ.get("TONGTING_SCREENSHOTS", "")
"""A folder that gets a picture of each page; empty: none."""


@cache
def axe() -> str:
    """Return the rules' program; where it was not fetched the tests are skipped, in continuous integration they fail."""
    if AXE.exists():
        return AXE.read_text()
    if os.environ.get("CI") == "true":
        pytest.fail("axe-core is missing: run 'npm ci --prefix tests/browser' (the Debian package is 'npm')")
    pytest.skip("axe-core is missing: run 'npm ci --prefix tests/browser'")


def parts(template: str) -> set[str]:
    """Return what a template is put together from, without itself."""
    tree = Environment(loader=FileSystemLoader(TEMPLATES)).parse((TEMPLATES / template).read_text())  # only read
    found = {name for name in meta.find_referenced_templates(tree) if name is not None}
    return found.union(*(parts(one) for one in found))


def test_every_template_is_on_the_list() -> None:
    listed = {f"{seen.template}.html" for seen in PAGES.values()}
    covered = listed.union(*(parts(one) for one in listed))
    assert {path.name for path in TEMPLATES.iterdir()} == covered


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light_and_ours_alone_and_readable_by_everybody(city: City, chromium: Browser, name: str, lang: str) -> None:
    rules, seen = axe(), PAGES[name]
    context = chromium.new_context(
        viewport=PHONE,
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
        user_agent=seen.agent or None,
        reduced_motion="reduce",
    )
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    wire = Wire(page)
    seen.walk(city, page, EN if lang == "en" else ZH)
    page.evaluate(STILL)
    wire.settle()
    wire.check(city)
    assert page.locator("body").get_attribute("data-page") == seen.template
    assert page.locator("html").get_attribute("lang") == ("en" if lang == "en" else "zh-CN")
    picture(page, f"{name}-{lang}")
    for size in SIZES:
        page.set_viewport_size(size)
        fits(page, size)
    page.evaluate(rules)
    assert page.evaluate(RULES) == []
    page.evaluate("document.documentElement.style.fontSize = '200%'")  # as a phone's settings make letters large
    fits(page, PHONE)
    context.close()


def fits(page: Page, size: ViewportSize) -> None:
    wide: list[Any] = page.evaluate(WIDE, size["width"])
    assert (wide[0] <= size["width"], wide[1]) == (True, []), wide


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, small enough to lie beside the documents."""
    if SCREENSHOTS:
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        small = shot.resize((PHONE["width"], round(shot.height * PHONE["width"] / shot.width)), Image.Resampling.LANCZOS)
        small.quantize(64, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)
