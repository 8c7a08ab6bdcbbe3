"""Which charges a page has offered, as its own forms say it: who did not see the page cannot name them, nor after two hours.

Knows a key, and how hidden fields are written; must not know what the charges are. Called by the views that show what is due, and
by those that take their forms. An id of a charge is unique, not secret, so it gives no right by itself.
"""

import hmac
import re
from datetime import timedelta
from typing import Final
from uuid import UUID

from app.wiring import Wiring
from payments import baskets
from payments.errors import ChargeUnknown

OPEN_FOR: Final = timedelta(hours=2)
"""So long after a page was made its forms are taken; afterwards what is due is looked up again."""
_CHARGES: Final = re.compile(
    rf"([0-9a-f-]{{36}}(?:,[0-9a-f-]{{36}}){{0,{baskets.CHARGES_MAX - 1}}})~(\d{{1,12}})~([0-9a-f]{{32}})", re.ASCII
)
_USE: Final = b"charges that pages offer"
"""Sets this use of the key apart from every other."""


def of(wiring: Wiring, lot_id: int, ids: str) -> str:
    """Return what a form of a lot's page sends back for charges (ids, by commas): with until when it is taken, and our mark."""
    until = int((wiring.clock.now() + OPEN_FOR).timestamp())
    return f"{ids}~{until}~{mark(wiring, _USE, f'{lot_id}~{ids}~{until}')}"


def charges(wiring: Wiring, lot_id: int, text: str) -> list[UUID]:
    """Return the charges of a field that ``of`` made for this lot. Raises ChargeUnknown for any other, and when it is too old."""
    found = _CHARGES.fullmatch(text)
    if found is None or not hmac.compare_digest(mark(wiring, _USE, f"{lot_id}~{found[1]}~{found[2]}"), found[3]):
        raise ChargeUnknown("the form names no charges that a page of this lot has offered")
    if int(found[2]) <= wiring.clock.now().timestamp():
        raise ChargeUnknown("the page was made too long ago; look it up again")
    try:
        return [UUID(one) for one in found[1].split(",")]
    except ValueError:
        raise ChargeUnknown("the form names no charge") from None


def charge(wiring: Wiring, lot_id: int, text: str) -> UUID:
    """Return the only charge of such a field. Raises ChargeUnknown."""
    found = charges(wiring, lot_id, text)
    if len(found) != 1:
        raise ChargeUnknown("the form names several charges")
    return found[0]


def mark(wiring: Wiring, use: bytes, said: str) -> str:
    """Return the mark by which we know our own words again; of ``use`` and of nothing else."""
    return hmac.digest(hmac.digest(wiring.keys.webhook, use, "sha256"), said.encode(), "sha256").hex()[:32]
