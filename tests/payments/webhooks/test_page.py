"""docs/WEBHOOKS.md: its programs verify what is really sent, and its examples are what is really sent."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.clock import SystemClock
from payments import events
from payments.events import CodeEvent, CorrectionEvent, DebtEvent, DiscountEvent, PaymentEvent, RefundRequestEvent, ReleaseEvent
from payments.webhooks import message, subscriptions
from tests.payments.webhooks.conftest import Town

PAGE = Path(__file__).parents[3] / "docs" / "WEBHOOKS.md"
AT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
PAID: Any = {"charge_serial": "20260302-0815", "receipt": "P08R3WNQ0AV0C30000000000000M", "channel": "wechat", "amount_fen": 1200}
DEBT: Any = {"charge_serial": "20260302-0815", "at": AT}
CODE_REPORTED = """
Somebody says that a code at your lot looks wrong: look at the place. `reason` is `other_lot` (it shows another car park),
`sticker` (one over another), `other_site`, `password` (one was asked for) or `other`. It comes once while a case of the code is
open, and nobody is told who reported it. `code_no` and `place` are null for the lot's own code and for codes on screens. The
code is paid with as before unless `is_refused`: then a person of the desk took it out of use (`desk`, without a `case`).
""".strip()
CODE_DECIDED = """
A person has looked at what was reported. `confirmed`: the code is refused from now on, hang a new one; `mended`: something was
wrong and is put right; `dismissed`: nothing was wrong.
""".strip()

EXAMPLES: dict[str, tuple[str, msgspec.Struct]] = {
    "payment.succeeded": (
        "The charge is paid in full: the car may leave.",
        PaymentEvent(kind="payment.succeeded", paid_at=AT, **PAID),
    ),
    "payment.partial": (
        "A part of a debt is paid; the debt is smaller now.",
        PaymentEvent(kind="payment.partial", paid_at=AT, **PAID),
    ),
    "payment.suspended": (
        "Money came that nothing is owed for, such as a second payment of the same charge. It goes back, or a person decides.",
        PaymentEvent(kind="payment.suspended", paid_at=AT, reason="second_payment", **PAID),
    ),
    "payment.failed": (
        "The issuer of a card will never pay what the card paid at the lane: the charge is due again.",
        PaymentEvent(kind="payment.failed", paid_at=AT, reason="bad_debt", **(PAID | {"channel": "etc"})),
    ),
    "payment.taken_back": (
        "The channel took its money back: the charge is due again, unless `reason` says that the payment lay in suspense.",
        PaymentEvent(kind="payment.taken_back", paid_at=AT, **PAID),
    ),
    "refund.done": (
        "Money went back to the payer. `refund` is its number, `receipt` that of the payment.",
        PaymentEvent(kind="refund.done", paid_at=AT, refund="R08R3WNQ0AV0C30000000000000M", **PAID),
    ),
    "refund.failed": (
        "A refund was not made, or came back; `reason` says which.",
        PaymentEvent(kind="refund.failed", paid_at=AT, reason="closed", refund="R08R3WNQ0AV0C30000000000000M", **PAID),
    ),
    "release.granted": (
        "The barrier may open for the car of this charge. `reason`: `paid`, `deducted` (by a mandate), `debt`, `free` or `card`.",
        ReleaseEvent(charge_serial="20260302-0815", at=AT, reason="debt"),
    ),
    "debt.opened": (
        "The car left and owes the charge; `reason`: `mandate`, `policy`, `escaped`, `card`, `taken_back`, `written_back` (again).",
        DebtEvent(kind="debt.opened", amount_fen=1200, owed_fen=1200, reason="policy", **DEBT),
    ),
    "debt.reduced": (
        "Less is owed; `reason`: `paid` (a part, with its `receipt`), `waived` or `corrected`. `owed_fen` is what is left.",
        DebtEvent(kind="debt.reduced", amount_fen=500, owed_fen=700, reason="paid", receipt=PAID["receipt"], **DEBT),
    ),
    "debt.settled": (
        "Nothing is owed any more: it was paid.",
        DebtEvent(kind="debt.settled", amount_fen=700, owed_fen=0, reason="paid", receipt=PAID["receipt"], **DEBT),
    ),
    "debt.disputed": (
        "The driver disputes the debt (`reason` is `opened`), or that is over: `upheld`, `partly`, `rejected`, `withdrawn`.",
        DebtEvent(kind="debt.disputed", amount_fen=1200, owed_fen=1200, reason="opened", **DEBT),
    ),
    "debt.waived": (
        "What was still owed was let off.",
        DebtEvent(kind="debt.waived", amount_fen=1200, owed_fen=0, reason="waived", **DEBT),
    ),
    "debt.written_off": (
        "The debt is not expected any more. When it is paid after all, that is told as a payment.",
        DebtEvent(kind="debt.written_off", amount_fen=1200, owed_fen=0, reason="written_off", **DEBT),
    ),
    "refund.requested": (
        "A driver asks for money back, `amount_fen` at most; answer it ([RECEIPTS.md](RECEIPTS.md)). It comes again if unanswered.",
        RefundRequestEvent(
            charge_serial=PAID["charge_serial"], receipt=PAID["receipt"], channel="wechat",
            request="019cacb3f2007dd397112b7289cd0f00", amount_fen=1200,
            answer_until=AT + timedelta(days=7), at=AT, reason="barrier",
        ),
    ),
    "charge.discounted": (
        "Discounts came on a charge that is not paid, or went off: `amount_fen` is taken off in all, `owed_fen` is left to pay.",
        DiscountEvent(charge_serial="20260302-0815", amount_fen=500, owed_fen=700, at=AT),
    ),
    "charge.corrected": (
        "A credit note made the charge smaller; `note` is its number.",
        CorrectionEvent(charge_serial="20260302-0815", note="CN-2026-000017", amount_fen=300, at=AT, reason="wrong_time"),
    ),
    "code.reported": (
        CODE_REPORTED,
        CodeEvent(
            kind="code.reported", case="260302-K3XW-7Q2A", code_no=4711, place="berth A-017", is_refused=False, at=AT,
            reason="sticker",
        ),
    ),
    "code.decided": (
        CODE_DECIDED,
        CodeEvent(
            kind="code.decided", case="260302-K3XW-7Q2A", code_no=4711, place="berth A-017", is_refused=True, at=AT,
            reason="confirmed",
        ),
    ),
}  # fmt: skip


def section() -> str:
    """What the page's last section must say; written by ``python -m tests.payments.webhooks.test_page``."""
    parts = []
    for kind, (words, told) in EXAMPLES.items():
        body = message.body(events.encode(told), lot_code="lot-1")
        parts.append(f"### `{kind}`\n\n{words}\n\n```json\n{msgspec.json.format(body, indent=2).decode()}\n```\n")
    return "\n".join(parts)


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_kind_of_event_has_its_example_and_each_is_what_is_sent() -> None:
    assert set(EXAMPLES) == set(subscriptions.KINDS)
    assert PAGE.read_text(encoding="utf-8").endswith(section())


@pytest.mark.parametrize("number", [0, 1])
def test_the_pages_programs_accept_what_is_sent_and_nothing_else(number: int, town: Town) -> None:
    shown = town.add()
    town.post = town.replaced(clock=SystemClock())
    town.event()
    assert town.push().delivered == 1
    [got] = town.receiver.got
    there: dict[str, Any] = {}
    exec(programs()[number], there)
    receive = there["receive"]
    assert receive(shown.secret, got.headers, got.body) == got.content
    old = str(int(got.headers["webhook-timestamp"]) - int(timedelta(minutes=6).total_seconds()))
    for secret, headers, body in (
        (shown.secret, got.headers, got.body.replace(b"1200", b"1")),
        (shown.secret, got.headers | {"webhook-timestamp": old}, got.body),
        (shown.secret, got.headers | {"webhook-id": "another"}, got.body),
        ("whsec_" + "A" * 48, got.headers, got.body),
    ):
        with pytest.raises(Exception, match=r"signature|old|signed"):
            receive(secret, headers, body)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.split(r"EXAMPLES\n$|### `payment.succeeded`", text)[0] + section(), encoding="utf-8")
