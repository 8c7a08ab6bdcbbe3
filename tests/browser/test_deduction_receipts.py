"""A stay that a mandate paid: its signer finds it in the wallet, with its receipt, its refund request and the way back."""

import re

from playwright.sync_api import Browser, expect

from app.pages.after_words import ZH as AFTER
from app.pages.words import EN, ZH
from payments.mandates import deductions
from tests.browser.city import City
from tests.browser.test_mandates import agree, new_plate, sign_in_alipay
from tests.browser.test_wallets import IN_ALIPAY, inside


def test_what_a_mandate_paid_has_a_receipt_in_the_wallet_of_its_signer_alone(city: City, chromium: Browser) -> None:
    plate, app = new_plate(city), ZH.app_alipay
    with inside(chromium, IN_ALIPAY) as context:
        page = context.new_page()
        address = agree(city, page, plate, "alipay")
        page.get_by_role("link", name=ZH.mandate_go_button.format(app=app)).click()
        sign_in_alipay(page)
        page.goto(address)
        expect(page.get_by_role("status")).to_have_text(ZH.mandate_open_title)
        page.get_by_role("link", name=ZH.mandate_own_see).click()
        expect(page.get_by_text(ZH.mandate_own_none)).to_be_visible()
        city.owe(amount_fen=1300, plate=plate)
        with city.wiring.db.connect() as tx:
            lot_id, serial = tx.exec_driver_sql(
                "select c.lot_id, c.lot_serial from payments.charge c join payments.plate p using (plate_id)"
                " where p.number = %s and c.amount_fen = 1300", (plate,)
            ).one()  # fmt: skip
        assert deductions.deduct(city.wiring.till(), lot_id=lot_id, lot_serial=serial, channel="alipay").state == "succeeded"
        page.reload()
        expect(page.get_by_text("¥13.00")).to_be_visible()
        page.get_by_role("button", name=ZH.mandate_own_receipt).click()
        expect(page.get_by_role("heading", name=AFTER.title)).to_be_visible()
        assert re.fullmatch(rf"{city.url}/d/[\w-]{{24}}/receipt", page.url)
        expect(page.get_by_text("¥13.00").first).to_be_visible()
        assert plate not in page.content()
        page.get_by_text(AFTER.refund, exact=True).click()
        page.get_by_label(AFTER.refund_reason).select_option("other")
        page.get_by_role("button", name=AFTER.refund_go).dblclick(no_wait_after=True)
        expect(page.get_by_text(re.compile(AFTER.refund_open.split("{")[0]))).to_be_visible()
        receipt = page.url.partition("#")[0]
        page.get_by_role("link", name=ZH.mandate_own_see).click()
        expect(page.get_by_role("button", name=ZH.mandate_own_receipt)).to_have_count(1)
    with inside(chromium, IN_ALIPAY) as context:  # another payer's phone
        page = context.new_page()
        page.goto(f"{city.url}/leave-first")
        page.goto(f"{city.url}/leave-first/mine?lang=en")
        expect(page.get_by_text(EN.mandate_mine_none)).to_be_visible()
        assert "13.00" not in page.content()
        page.goto(receipt)  # the address that the driver kept
        expect(page.get_by_role("heading", name=AFTER.title)).to_be_visible()
