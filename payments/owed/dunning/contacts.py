"""Contacts of plates: consented, for a purpose, with a day on which they are erased.

Knows plates and contacts; must not know how anything is sent. Called by the pages, the command line and the nightly erasure.
The value itself stands in one column and nowhere else; proofs of sending carry its salted digest.
"""

import hashlib
import re
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.clock import business_date
from ledger.errors import NotFound, Refused
from ledger.ids import Ids
from payments import plates
from payments.owed.dunning.texts import Language

Medium = Literal["mobile", "email", "address", "wallet"]
Purpose = Literal["reminder", "receipt", "all"]
YEARS_MAX: Final = 5
_FORMS: Final[dict[Medium, re.Pattern[str]]] = {
    "mobile": re.compile(r"\+?[0-9]{9,15}"),
    "email": re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"),
    "address": re.compile(r"[^\r\n]{5,500}"),
    "wallet": re.compile(r"[!-~]{6,128}"),
}


class NewContact(Struct, frozen=True, kw_only=True):
    """A contact as it is entered. ``document`` proves the consent or names the legal basis."""

    plate: str
    plate_color: plates.PlateColor
    medium: Medium
    value: str
    purpose: Purpose
    document: str
    erase_on: date
    language: Language = "zh"
    is_proven_holder: bool = False


def enter(tx: Connection, *, contact: NewContact, at: datetime, ids: Ids) -> UUID:
    """Enter a contact of a plate that is known here; an earlier one of the medium stays and the newest is used. Returns its id.

    Raises:
        Refused: ``contact_invalid``: form, purpose, document, or a day of erasure in the past or more than five years ahead.
        NotFound: ``plate_not_found``.
    """
    _check(contact, business_date(at))
    number = plates.checked(contact.plate, contact.plate_color)
    row = tx.execute(
        text("select plate_id, salt from payments.plate where number = :number and color = :color"),
        {"number": number, "color": contact.plate_color},
    ).first()
    if row is None:
        raise NotFound("this plate has never been here", code="plate_not_found")
    contact_id = ids.new(at, f"contact {row.plate_id} {contact.medium} {contact.value}")
    tx.execute(
        text("""
        insert into payments.plate_contact (contact_id, plate_id, medium, value, digest, language, purpose, is_proven_holder,
                                            document, consented_at, erase_on)
        values (:id, :plate, :medium, :value, :digest, :language, :purpose, :proven, :document, :at, :erase_on)
        """),
        {
            "id": contact_id, "plate": row.plate_id, "medium": contact.medium, "value": contact.value,
            "digest": digest_of(bytes(row.salt), contact.value), "language": contact.language, "purpose": contact.purpose,
            "proven": contact.is_proven_holder, "document": contact.document.strip(), "at": at, "erase_on": contact.erase_on,
        },
    )  # fmt: skip
    return contact_id


def withdraw(tx: Connection, *, contact_id: UUID, at: datetime) -> None:
    """End a consent: nothing is sent there any more, and the value is erased at once. Raises NotFound (``contact_not_found``)."""
    done = tx.execute(
        text("""
        update payments.plate_contact set ends_at = :at, ended_because = 'withdrawn', value = null
        where contact_id = :id and ends_at is null returning 1
        """),
        {"id": contact_id, "at": at},
    ).first()
    if done is None:
        raise NotFound(f"there is no contact {contact_id} that stands", code="contact_not_found")


def erase_due(tx: Connection, *, at: datetime, limit: int = 10_000) -> int:
    """Erase the values whose day has come; returns how many. Call again while it returns ``limit``."""
    done = tx.execute(
        text("""
        update payments.plate_contact c
        set value = null, ends_at = coalesce(ends_at, :at), ended_because = coalesce(ended_because, 'erased')
        from (select contact_id from payments.plate_contact where erase_on <= :today and value is not null
              order by erase_on limit :limit for update skip locked) d
        where c.contact_id = d.contact_id
        """),
        {"today": business_date(at), "at": at, "limit": limit},
    )
    return int(done.rowcount)


def digest_of(salt: bytes, value: str) -> bytes:
    """Return the digest of a contact under its plate's salt: erasing the salt unlinks it."""
    return hashlib.sha256(salt + value.encode()).digest()


def _check(contact: NewContact, today: date) -> None:
    if _FORMS[contact.medium].fullmatch(contact.value) is None:
        raise Refused(f"this is no {contact.medium}", code="contact_invalid")
    if not 0 < len(contact.document.strip()) <= 200:
        raise Refused("name the consent or the legal basis, in 1 to 200 characters", code="contact_invalid")
    if not today < contact.erase_on <= today.replace(year=today.year + YEARS_MAX, day=min(today.day, 28)):
        raise Refused(f"the day of erasure lies ahead, at most {YEARS_MAX} years", code="contact_invalid")
