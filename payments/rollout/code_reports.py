"""Codes that look wrong 可疑二维码: what somebody at a lot says of its code, kept as a case until a person has decided it.

Knows lots, cases and people; must not know HTTP. Called by the pages and the command line. No name, number, plate or address is
asked for or kept. A case is a mark beside its code and an open alarm of its lot; only a person takes the code out of use.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, get_args
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
from payments.codes import registry, telling
from payments.codes.records import GOOD
from payments.codes.telling import Word

Kind = Literal["other_lot", "sticker", "other_site", "password", "other"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""``other_lot``: another lot's name is shown. ``sticker``: a sticker over another. ``other_site``: it led to another site.
``password``: a password was asked for. The order of the pages' words."""
Outcome = Literal["confirmed", "mended", "dismissed"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
"""``confirmed``: the code is not to be trusted and is refused from now on. ``mended``: something was wrong, such as a sticker over
it, and is put right; the code goes on. ``dismissed``: nothing was wrong."""
WORDS_LETTERS_MAX: Final = 300
CLOSING_LETTERS_MAX: Final = 500
DOCUMENT_LETTERS_MAX: Final = 200
DECIDED_MAX: Final = 1_000
LISTED_MAX: Final = 1_000


class NewReport(Struct, frozen=True, kw_only=True):
    """What was sent. ``code_no`` is the registry's number; ``scanned`` the token in the address where it is none of ours."""

    kind: Kind
    words: str | None = None
    lot_id: int | None = None
    code_no: int | None = None
    scanned: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """A case. ``closed_at`` None: nobody has decided it. ``outcome`` None: open, or closed before outcomes were kept."""

    number: str
    kind: Kind
    lot_code: str | None
    lot_name: str | None
    code_no: int | None
    words: str | None
    words_erased_at: datetime | None
    reported_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    closing: str | None
    outcome: Outcome | None
    document: str | None


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
    """Keep what was sent and open a case; returns its number. The same id is the same case.

    The lot's operator is told of the first open case of a code; those that follow while it is open are counted by the alarm, so
    that nobody can flood an operator. Two that come in the same moment may both be told. Nothing becomes of the code.
    """
    content = msgspec.json.encode(report)
    report_id = ids.new(at, "code report", content)
    number = case_number(report_id, at)
    if tx.execute(text("select 1 from payments.code_report where report_id = :id"), {"id": report_id}).first() is not None:
        return number
    salt = None if report.words is None else ids.new(at, "words of a code report", content)
    body = _evidence(report, salt)
    message = RawMessage(
        message_id=ids.new(at, "message page code_report", content), channel="page", operation="code_report", direction="in",
        verdict="unverified", reason=None, received_at=at, headers="{}", body=body,
    )  # fmt: skip
    messages.keep(tx, lane=lane, messages=[message])
    is_first = report.lot_id is not None and not _is_open(tx, lot_id=report.lot_id, code_no=report.code_no)
    tx.execute(
        text("""
        insert into payments.code_report (report_id, number, lot_id, code_no, kind, words, words_salt, evidence_id, reported_at)
        values (:id, :number, :lot, :code_no, :kind, :words, :salt, :evidence, :at)
        """),
        {
            "id": report_id, "number": number, "lot": report.lot_id, "code_no": report.code_no, "kind": report.kind,
            "words": report.words, "salt": salt, "evidence": message.message_id, "at": at,
        },
    )  # fmt: skip
    if is_first and report.lot_id is not None:
        word = Word(lot_id=report.lot_id, code_no=report.code_no, case=number, is_refused=False, reason=report.kind)
        telling.tell(tx, lane=lane, kind="code.reported", words=[word], at=at, ids=ids)
    return number


def _evidence(report: NewReport, salt: UUID | None) -> bytes:
    """Return what was sent without the driver's words: in their place stands a digest that says nothing once its salt is erased."""
    kept = {name: getattr(report, name) for name in NewReport.__struct_fields__ if name != "words"}
    return msgspec.json.encode(kept | {"words_digest": None if salt is None else words_digest(report.words or "", salt)})


def words_digest(words: str, salt: UUID) -> str:
    """Return what the evidence keeps of a driver's words."""
    return hashlib.sha256(salt.bytes + words.encode()).hexdigest()


def _is_open(tx: Connection, *, lot_id: int, code_no: int | None) -> bool:
    query = text("""
        select 1 from payments.code_report
        where lot_id = :lot and code_no is not distinct from cast(:code_no as integer) and closed_at is null limit 1
        """)
    return tx.execute(query, {"lot": lot_id, "code_no": code_no}).first() is not None


def case_number(report_id: UUID, at: datetime) -> str:
    """Return the number of a case: its day in China and 40 bits that follow from its id, as letters and digits."""
    letters = base64.b32encode(hashlib.sha256(report_id.bytes).digest()[:5]).decode()
    return f"{at.astimezone(CHINA):%y%m%d}-{letters[:4]}-{letters[4:]}"


def listed(tx: Connection, *, lot_id: int | None = None, is_open: bool | None = True, limit: int = LISTED_MAX) -> list[Report]:
    """Return cases, the oldest first; of one lot or of all, open ones, closed ones or (None) both."""
    query = text("""
        select r.number, r.kind, l.code as lot_code, l.name as lot_name, r.code_no, r.words, r.words_erased_at, r.reported_at,
               r.closed_at, r.closed_by, r.closing, r.outcome, r.document
        from payments.code_report r left join payments.lot l on l.lot_id = r.lot_id
        where (cast(:lot as integer) is null or r.lot_id = :lot)
          and (cast(:open as boolean) is null or (r.closed_at is null) = :open)
        order by r.reported_at, r.number limit :limit
        """)
    return [Report(**row._mapping) for row in tx.execute(query, {"lot": lot_id, "open": is_open, "limit": limit})]


def decide(
    tx: Connection, *, lane: int, numbers: Sequence[str], outcome: Outcome, person_code: str, document: str, words: str,
    at: datetime, ids: Ids,
) -> list[int]:  # fmt: skip
    """Close cases, all or none, with what a person who may propose has found; returns the codes that are refused from now on.

    ``confirmed`` takes the codes of the registry that the cases name out of use; a lot's own code is in no registry, so that there
    only the case is closed. The operator is told of each code that was confirmed or has no open case left. Holds cases and codes.

    Raises:
        Refused: ``closing_invalid``, no words or document, or too many; ``code_batch_size``, no case or too many.
        NotFound: ``code_report_not_found``.
        Conflict: ``code_report_closed``.
        NotAllowed: ``person_unknown``, ``person_may_not``.
    """
    said, named = words.strip(), document.strip()
    if not 0 < len(said) <= CLOSING_LETTERS_MAX or not 0 < len(named) <= DOCUMENT_LETTERS_MAX:
        raise Refused(
            f"say what was found and done, in 1 to {CLOSING_LETTERS_MAX} letters, and name the document", code="closing_invalid"
        )
    wanted = sorted({number.strip().upper() for number in numbers})
    if not 0 < len(wanted) <= DECIDED_MAX:
        raise Refused(f"name 1 to {DECIDED_MAX} cases", code="code_batch_size")
    people.maker(tx, person_code=person_code, at=at)
    cases = _held(tx, wanted)
    given = {
        "numbers": wanted, "at": at, "person": person_code, "words": said, "outcome": outcome, "document": named,
    }  # fmt: skip
    tx.execute(
        text("""
        update payments.code_report
        set closed_at = :at, closed_by = :person, closing = :words, outcome = :outcome, document = :document
        where number = any(cast(:numbers as text[]))
        """),
        given,
    )
    refused = _refuse(tx, cases, reason=f"{wanted[0]}: {named}", by=person_code, at=at) if outcome == "confirmed" else []
    _tell(tx, lane=lane, cases=cases, outcome=outcome, at=at, ids=ids)
    return refused


def _held(tx: Connection, wanted: Sequence[str]) -> list[Any]:
    """Return open cases with their rows held, in the order of their numbers."""
    query = text("""
        select number, lot_id, code_no, closed_at from payments.code_report
        where number = any(cast(:numbers as text[])) order by number for update
        """)
    cases = list(tx.execute(query, {"numbers": list(wanted)}))
    if missing := sorted(set(wanted) - {case.number for case in cases}):
        raise NotFound(f"there is no case {missing[0]}", code="code_report_not_found")
    if over := [case.number for case in cases if case.closed_at is not None]:
        raise Conflict(f"case {over[0]} is closed already", code="code_report_closed")
    return cases


def _refuse(tx: Connection, cases: Sequence[Any], *, reason: str, by: str, at: datetime) -> list[int]:
    """Take the codes of the cases out of use, as far as they are not out of it; returns which they were."""
    named = sorted({case.code_no for case in cases if case.code_no is not None})
    found = registry.codes(tx, code_nos=named) if named else []
    living = [one.code_no for one in found if one.state in GOOD or one.state == "moved"]
    if living:
        registry.report(tx, code_nos=living, reason=reason[: registry.WORDS_MAX], by=by, at=at)
    return living


def _tell(tx: Connection, *, lane: int, cases: Sequence[Any], outcome: Outcome, at: datetime, ids: Ids) -> None:
    """Tell operators of each code that was decided and of which, unless it is confirmed, no case is open any more."""
    by_code: dict[tuple[int, int | None], Any] = {}
    for case in cases:
        if case.lot_id is not None:
            by_code.setdefault((case.lot_id, case.code_no), case)
    waiting = set() if outcome == "confirmed" else _waiting(tx, sorted({lot_id for lot_id, _ in by_code}))
    words = [
        Word(
            lot_id=lot_id, code_no=code_no, case=case.number, is_refused=outcome == "confirmed" and code_no is not None,
            reason=outcome,
        )
        for (lot_id, code_no), case in by_code.items() if (lot_id, code_no) not in waiting
    ]  # fmt: skip
    telling.tell(tx, lane=lane, kind="code.decided", words=words, at=at, ids=ids)


def _waiting(tx: Connection, lot_ids: Sequence[int]) -> set[tuple[int, int | None]]:
    """Return the codes of these lots of which a case is open."""
    query = text("""
        select distinct lot_id, code_no from payments.code_report
        where lot_id = any(cast(:lots as integer[])) and closed_at is null
        """)
    return {(row.lot_id, row.code_no) for row in tx.execute(query, {"lots": list(lot_ids)})}
