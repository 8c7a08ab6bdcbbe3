"""Clerks' links 收银台链接: with them the staff of a counter give discounts, without an account. Source: docs/DISCOUNTS.md.

Knows merchants and a key; must not know cookies, pages or HTTP. Called by the clerk's page and the command line.

The secret of a link is its id and its end, signed: it is kept nowhere, can be shown again, and counts until it ends or is ended.
"""

import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import checked
from ledger.errors import NotFound, Refused
from ledger.ids import Ids
from payments import people
from payments.discounts import merchants
from payments.discounts.merchants import Giver
from payments.discounts.offers import LETTERS_MAX

DAYS_MAX: Final = 400
"""A link is made anew once a year at least."""
_MAC_BYTES: Final = 18
_SAID_BYTES: Final = 16 + 8
SECRET_LETTERS: Final = (_SAID_BYTES + _MAC_BYTES) * 4 // 3
_USE: Final = b"clerk link "


class ClerkUnknown(NotFound):
    """A link that is none of ours, has ended, or whose merchant has."""

    code = "clerk_unknown"


class Clerk(Struct, frozen=True, kw_only=True):
    """A clerks' link as it is kept."""

    clerk_id: UUID
    merchant_id: UUID
    name: str
    valid_until: datetime
    made_by: str
    made_at: datetime
    ended_by: str | None = None
    ended_at: datetime | None = None


def make(
    tx: Connection, *, lane: int, merchant: str, name: str, valid_until: datetime, by: str, at: datetime, ids: Ids
) -> Clerk:  # fmt: skip
    """Make a link for the counter of a merchant.

    Raises:
        Refused: ``merchant_invalid``, a name or an end that cannot be. NotFound: ``merchant_not_found``.
        NotAllowed: ``merchant_ended``, ``person_unknown``, ``person_may_not``.
    """
    people.maker(tx, person_code=by, at=at)
    found = merchants.by_code(tx, lane=lane, code=merchant)
    merchants.giving(tx, lane=lane, merchant_id=found.merchant_id, at=at)
    if not (0 < len(name.strip()) <= LETTERS_MAX and name.isprintable()):
        raise Refused(f"name the counter in 1 to {LETTERS_MAX} printable characters", code="merchant_invalid")
    until = min(checked(valid_until), found.valid_until).replace(microsecond=0)
    if not at < until <= at + timedelta(days=DAYS_MAX):
        raise Refused(f"a link ends after now and within {DAYS_MAX} days", code="merchant_invalid")
    made = Clerk(
        clerk_id=ids.new(at, f"clerk {merchant} {name.strip()}"), merchant_id=found.merchant_id, name=name.strip(),
        valid_until=until, made_by=by, made_at=at,
    )  # fmt: skip
    tx.execute(
        text("""
        insert into payments.merchant_clerk (clerk_id, lane, merchant_id, name, valid_until, made_by, made_at)
        values (:id, :lane, :merchant, :name, :until, :by, :at)
        """),
        {
            "id": made.clerk_id, "lane": lane, "merchant": made.merchant_id, "name": made.name, "until": until, "by": by, "at": at,
        },
    )  # fmt: skip
    return made


def end(tx: Connection, *, lane: int, clerk_id: UUID, by: str, at: datetime) -> Clerk:
    """End a link: it counts no more from this moment, also where a clerk has it open. May be repeated.

    Raises:
        ClerkUnknown: ``clerk_unknown``. NotAllowed: ``person_unknown``, ``person_may_not``.
    """
    people.maker(tx, person_code=by, at=at)
    found = by_id(tx, lane=lane, clerk_id=clerk_id)
    tx.execute(
        text("""
        update payments.merchant_clerk set ended_by = :by, ended_at = :at
        where lane = :lane and clerk_id = :id and ended_at is null
        """),
        {"lane": lane, "id": found.clerk_id, "by": by, "at": at},
    )
    return by_id(tx, lane=lane, clerk_id=clerk_id)


def of_merchant(tx: Connection, *, lane: int, merchant: str) -> list[Clerk]:
    """Return the links of a merchant in the order in which they were made. Raises NotFound (``merchant_not_found``)."""
    found = merchants.by_code(tx, lane=lane, code=merchant)
    rows = tx.execute(text(f"{_CLERK} and merchant_id = :id order by clerk_id"), {"lane": lane, "id": found.merchant_id})
    return [Clerk(**row._mapping) for row in rows]


def by_id(tx: Connection, *, lane: int, clerk_id: UUID) -> Clerk:
    """Return a link. Raises ClerkUnknown."""
    row = tx.execute(text(f"{_CLERK} and clerk_id = :id"), {"lane": lane, "id": clerk_id}).first()
    if row is None:
        raise ClerkUnknown("there is no such link")
    return Clerk(**row._mapping)


def giver(tx: Connection, *, lane: int, clerk_id: UUID, at: datetime) -> tuple[Giver, Clerk]:
    """Return who gives over a link that counts now. Raises ClerkUnknown; NotAllowed (``merchant_ended``)."""
    found = by_id(tx, lane=lane, clerk_id=clerk_id)
    if at >= found.valid_until or found.ended_at is not None:
        raise ClerkUnknown("the link has ended")
    return Giver(merchants.giving(tx, lane=lane, merchant_id=found.merchant_id, at=at), found.clerk_id), found


def secret(clerk: Clerk, key: bytes) -> str:
    """Return the secret of a link: whoever has it may give until it ends."""
    said = clerk.clerk_id.bytes + struct.pack(">q", int(clerk.valid_until.timestamp()))
    return urlsafe_b64encode(said + _mac(said, key)).decode()


def read(given: str, key: bytes, *, at: datetime) -> UUID:
    """Return the link that a secret is of. Raises ClerkUnknown: it is not signed by this key, or its time is over."""
    try:
        kept = urlsafe_b64decode(given.encode()) if len(given) == SECRET_LETTERS else b""
    except ValueError:
        kept = b""
    said, mac = kept[:_SAID_BYTES], kept[_SAID_BYTES:]
    if len(mac) != _MAC_BYTES or not hmac.compare_digest(mac, _mac(said, key)):
        raise ClerkUnknown("this is no link of ours")
    if at.timestamp() >= struct.unpack(">q", said[16:])[0]:
        raise ClerkUnknown("the link has ended")
    return UUID(bytes=said[:16])


def _mac(said: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _USE + said, "sha256")[:_MAC_BYTES]


_CLERK: Final = """
select clerk_id, merchant_id, name, valid_until, made_by, made_at, ended_by, ended_at
from payments.merchant_clerk where lane = :lane
"""
