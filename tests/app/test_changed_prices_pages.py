"""A price that the lot's own system changed after the page was shown is asked for again, and the change is said."""

# ruff: noqa: F811  # fixtures of another module are asked for by name

from datetime import timedelta

import pytest

from app.pages import scan
from app.pages.words import ZH
from app.wiring import Wiring
from ledger.clock import SetClock
from payments.quoting.turns import Turns
from tests.app.conftest import Client
from tests.app.test_asked_quotes_pages import PLATE, asked, lot, owner, page, product, quote, receiver, says  # noqa: F401  # fixtures
from tests.app.test_choosing_pages import field
from tests.app.test_pages import text_of
from tests.payments.webhooks.receiver import Receiver

TYPED = {"province": PLATE[0], "rest": PLATE[1:]}


def test_a_price_that_the_lot_replaced_is_asked_for_again_and_the_change_is_said(
    api: Client, page: str, asked: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = api.post(page, data=TYPED).text
    asked.answer = lambda _: says(quote(serial="Q2", amount_fen=5678))
    monkeypatch.setattr(scan, "TURNS", Turns())
    api.post(page, data=TYPED)  # another phone has looked meanwhile
    stale = {name: field(form, name) for name in ("charge", "order", "shown")}
    answer = api.post(page.replace("/due", "/pay"), data=stale, follow_redirects=False)
    assert ZH.price_changed.format(old="12.34", new="56.78") in text_of(answer.text)


def test_a_price_that_has_ended_is_asked_for_again_and_the_change_is_said(
    api: Client, page: str, asked: Receiver, product: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = api.post(page, data=TYPED).text
    clock = product.clock
    assert isinstance(clock, SetClock)
    clock.set(quote()["valid_until"])  # type: ignore[arg-type]
    monkeypatch.setattr(scan, "TURNS", Turns())
    later = clock.now() + timedelta(hours=1)
    asked.answer = lambda _: says(quote(serial="Q2", amount_fen=5678, minutes=135, valid_until=later))
    stale = {name: field(form, name) for name in ("charge", "order", "shown")}
    answer = api.post(page.replace("/due", "/pay"), data=stale, follow_redirects=False)
    assert ZH.price_changed.format(old="12.34", new="56.78") in text_of(answer.text)
