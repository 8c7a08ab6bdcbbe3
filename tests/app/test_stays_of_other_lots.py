"""A code that is scanned for a stay of another lot is refused on every way there is, and nothing is ordered or written."""

import re
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.pages import coupon, scan, seals
from app.pages.limits import Misses
from app.wiring import Wiring
from payments import charges, paycode
from payments.codes import registry, shown
from payments.codes.records import Place
from payments.lots import Lot
from payments.owed import debts
from payments.owed.debts import Left
from payments.paycode import BasketCode, StayCode, WallCode
from tests.app.conftest import City, Client
from tests.payments.conftest import AT, IDS, make_charge

PLATE = {"province": "苏", "rest": "B12345"}
IPHONE = {"user-agent": "Mozilla/5.0 (iPhone) Mobile/15E148"}
UNTOUCHED = ("payments.pay_order", "payments.basket", "payments.debt_dispute")


@pytest.fixture
def browser(api: Client, product: Wiring, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """At the end nothing was ordered."""
    monkeypatch.setattr(scan, "MISSES", Misses())
    monkeypatch.setattr(coupon, "MISSES", Misses())
    yield api
    with product.db.connect() as tx:
        assert [tx.execute(text(f"select count(*) from {table}")).scalar_one() for table in UNTOUCHED] == [0, 0, 0]


@pytest.fixture
def theirs(product: Wiring, two_lots: City) -> UUID:
    """A debt at the other lot."""
    with product.db.begin() as tx:
        charge_id = make_charge(tx, two_lots.theirs, "THEIRS-1")
        debts.open_debts(tx, lane=0, left=[Left(charge_id, "policy", AT)], evidence_id=IDS.new(AT, "exit"), at=AT, ids=IDS)
    return charge_id


def path(product: Wiring, content: WallCode | StayCode | BasketCode) -> str:
    return f"/p/{paycode.signed(content, keys=product.pay_codes)}"


@pytest.fixture(params=["wall", "own", "stay"])
def ours(request: pytest.FixtureRequest, product: Wiring, two_lots: City) -> str:
    """Where a code of our lot leads: one on its wall, its own of version 1, one on a screen for a stay of ours."""
    lot = two_lots.ours
    with product.db.begin() as tx:
        if request.param == "wall":
            [code] = registry.issue(tx, lot=lot, batch="b", places=[Place("berth", "A")], by="wang", at=AT)
            return path(product, WallCode(code.code_no))
        if request.param == "stay":
            make_charge(tx, lot, "O1")
            return path(product, shown.stay(tx, lane=0, lot=lot, serial="O1", minutes=10, at=AT))
    return f"/p/{paycode.token(lot.lot_id, keys=product.pay_codes)}"


def sealed_by_them(browser: Client, product: Wiring, lot: Lot) -> str:
    """The charge as the other lot's own page offers it."""
    page = browser.post(f"/p/{paycode.token(lot.lot_id, keys=product.pay_codes)}/due", data=PLATE, headers=IPHONE)
    found = re.search(r'name="charge" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def test_a_stay_of_another_lot_is_refused_in_every_form_however_it_is_named(
    browser: Client, product: Wiring, two_lots: City, theirs: UUID, ours: str
) -> None:
    """By its id, as their own page offers it, and (which no page of ours does) sealed for ours."""
    by_them = sealed_by_them(browser, product, two_lots.theirs)
    for_us = seals.of(product, two_lots.ours.lot_id, str(theirs))
    more = {"order": "A" * 24, "channel": "wechat", "shown": "12.00", "code": "ABCD-EFGH", "reason": "other"}
    for form in ("pay", "dispute", "coupon"):
        for charge in (str(theirs), by_them, for_us):
            answer = browser.post(f"{ours}/{form}", data=more | {"charge": charge}, headers=IPHONE, follow_redirects=False)
            assert (form, answer.status_code, "THEIRS-1" in answer.text) == (form, 409, False)
    for charge in (str(theirs), by_them):
        data = {"charges": charge, "basket": "A" * 24, "of": "all"}
        assert browser.post(f"{ours}/basket", data=data, headers=IPHONE, follow_redirects=False).status_code == 409


def test_a_code_on_a_screen_that_names_a_stay_of_another_lot_opens_nothing(
    browser: Client, product: Wiring, two_lots: City, theirs: UUID
) -> None:
    """None such is ever made: this is what a fault in our own signing would meet."""
    good_until = AT + timedelta(minutes=10)
    with product.db.begin() as tx:
        set_id = shown.basket(
            tx, lane=0, lot=two_lots.theirs, serials=["THEIRS-1"], minutes=10, by="wang", at=AT, ids=IDS
        ).set_id  # fmt: skip
        assert charges.by_id(tx, lane=0, charge_id=theirs).lot_id == two_lots.theirs.lot_id
    for content in (
        StayCode(two_lots.ours.lot_id, theirs, good_until),
        BasketCode(two_lots.ours.lot_id, set_id, good_until),
    ):
        page = browser.get(path(product, content), headers=IPHONE)
        assert (page.status_code, "12.00" in page.text) == (409, False)
