"""Codes that look wrong 可疑二维码: what somebody at a lot says of its code, kept as a case until a person has looked at it.

Knows lots, cases and people; must not know HTTP. Called by the pages and the command line. No personal data is asked for or kept:
no name, number, plate or address. A lot sees that its code was reported as an open alarm (``payments.lot_records.alarms``).
"""

import base64
import hashlib
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from gateways import messages
from gateways.contract import RawMessage
from ledger.clock import CHINA
from ledger.errors import Conflict, NotFound, Refused
from ledger.ids import Ids
from payments import people

Kind = Literal["other_lot", "sticker", "other_site", "password", "other"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""``other_lot``: another lot's name is shown. ``sticker``: a sticker over another. ``other_site``: it led to another site.
``password``: a password was asked for. The order of the pages' words."""
WORDS_LETTERS_MAX: Final = 300
CLOSING_LETTERS_MAX: Final = 500
LISTED_MAX: Final = 1_000


class NewReport(Struct, frozen=True, kw_only=True):
    """What was sent. ``scanned`` is the token in the address as it was, also where it is none of ours."""

    kind: Kind
    words: str | None = None
    lot_id: int | None = None
    scanned: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """A case. ``closed_at`` None: nobody has closed it."""

    number: str
    kind: Kind
    lot_code: str | None
    lot_name: str | None
    words: str | None
    reported_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    closing: str | None


def checked(words: str) -> str | None:
    """Return a driver's words in one line without what cannot be printed; None: there are none.

    Raises:
        Refused: ``words_too_long``.
    """
    said = "".join(letter if letter.isprintable() else " " for letter in words)
    said = " ".join(said.split())
    if len(said) > WORDS_LETTERS_MAX:
        raise Refused(f"at most {WORDS_LETTERS_MAX} letters, not {len(said)}", code="words_too_long")
    return said or None


def open_case(tx: Connection, *, lane: int, report: NewReport, at: datetime, ids: Ids) -> str:
    """Keep what was sent and open a case; returns its number. The same id is the same case."""
    body = msgspec.json.encode(report)
    report_id = ids.new(at, "code report", body)
    number = case_number(report_id, at)
    if tx.execute(text("select 1 from payments.code_report where report_id = :id"), {"id": report_id}).first() is not None:
        return number
    message = RawMessage(
        message_id=ids.new(at, "message page code_report", body), channel="page", operation="code_report", direction="in",
        verdict="unverified", reason=None, received_at=at, headers="{}", body=body,
    )  # fmt: skip
    messages.keep(tx, lane=lane, messages=[message])
    tx.execute(
        text("""
        insert into payments.code_report (report_id, number, lot_id, kind, words, evidence_id, reported_at)
        values (:id, :number, :lot, :kind, :words, :evidence, :at)
        """),
        {
            "id": report_id, "number": number, "lot": report.lot_id, "kind": report.kind, "words": report.words,
            "evidence": message.message_id, "at": at,
        },
    )  # fmt: skip
    return number


def case_number(report_id: UUID, at: datetime) -> str:
    """Return the number of a case: its day in China and 40 bits that follow from its id, as letters and digits."""
    letters = base64.b32encode(hashlib.sha256(report_id.bytes).digest()[:5]).decode()
    return f"{at.astimezone(CHINA):%y%m%d}-{letters[:4]}-{letters[4:]}"


def listed(tx: Connection, *, lot_id: int | None = None, is_open: bool | None = True, limit: int = LISTED_MAX) -> list[Report]:
    """Return cases, the oldest first; of one lot or of all, open ones, closed ones or (None) both."""
    query = text("""
        select r.number, r.kind, l.code as lot_code, l.name as lot_name, r.words, r.reported_at, r.closed_at, r.closed_by, r.closing
        from payments.code_report r left join payments.lot l on l.lot_id = r.lot_id
        where (cast(:lot as integer) is null or r.lot_id = :lot)
          and (cast(:open as boolean) is null or (r.closed_at is null) = :open)
        order by r.reported_at, r.number limit :limit
        """)
    return [Report(**row._mapping) for row in tx.execute(query, {"lot": lot_id, "open": is_open, "limit": limit})]


def close(tx: Connection, *, number: str, person_code: str, closing: str, at: datetime) -> None:
    """Close a case with the words of a person who may propose. The alarm of its lot ends with its last case.

    Raises:
        Refused: ``closing_invalid``, no words, or too many.
        NotFound: ``code_report_not_found``.
        Conflict: ``code_report_closed``.
        NotAllowed: ``person_unknown``, ``person_may_not``.
    """
    words = closing.strip()
    if not 0 < len(words) <= CLOSING_LETTERS_MAX:
        raise Refused(f"say what was found and done, in 1 to {CLOSING_LETTERS_MAX} letters", code="closing_invalid")
    people.maker(tx, person_code=person_code, at=at)
    given = {"number": number.strip().upper(), "person": person_code, "words": words, "at": at}
    done = tx.execute(
        text("""
        update payments.code_report set closed_at = :at, closed_by = :person, closing = :words
        where number = :number and closed_at is null returning 1
        """),
        given,
    ).first()
    if done is not None:
        return
    if tx.execute(text("select 1 from payments.code_report where number = :number"), given).first() is None:
        raise NotFound(f"there is no case {number}", code="code_report_not_found")
    raise Conflict(f"case {number} is closed already", code="code_report_closed")
