"""What operators are told about their codes: that one was reported, and what became of it.

Knows events and whose a code is; must not know who reported it. Called by the desk of codes and by cases of reported codes.
Source: docs/WEBHOOKS.md, section 7.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.ids import Ids
from payments import events
from payments.codes import registry, store
from payments.codes.records import Code
from payments.events import CodeEvent, CodeKind, NewEvent


class Word(Struct, frozen=True, kw_only=True):
    """What is to be told of a code. ``code_no`` None is the lot's own code."""

    lot_id: int
    code_no: int | None
    case: str | None
    is_refused: bool
    reason: str


def report(
    tx: Connection, *, lane: int, code_nos: Sequence[int], reason: str, by: str, at: datetime, ids: Ids
) -> list[Code]:  # fmt: skip
    """Take codes out of use because they were stolen, pasted over or found elsewhere, and tell their operators of each.

    A code that was reported before is told no second time. Holds the codes.

    Raises:
        NotFound: ``code_not_found``. Conflict: ``code_state``. Refused: ``code_words_invalid``, ``code_batch_size``.
    """
    proper = [number for number in set(code_nos) if 0 < number < 2**31]
    before = {one.code_no for one in store.codes(tx, code_nos=proper, lock=True) if one.state == "reported"}
    codes = registry.report(tx, code_nos=code_nos, reason=reason, by=by, at=at)
    words = [
        Word(lot_id=one.lot_id, code_no=one.code_no, case=None, is_refused=True, reason="desk")
        for one in codes
        if one.code_no not in before
    ]
    tell(tx, lane=lane, kind="code.reported", words=words, at=at, ids=ids)
    return codes


def tell(tx: Connection, *, lane: int, kind: CodeKind, words: Sequence[Word], at: datetime, ids: Ids) -> None:
    """Write an event for each word, to the operator of its lot; lots are told after the commit, of one code in order.

    Two statements, however many there are.
    """
    if not words:
        return
    query = text("""
        select l.lot_id, l.operator_id, c.code_no, c.place, c.place_name
        from unnest(cast(:lots as integer[]), cast(:codes as integer[])) as n (lot_id, code_no)
        join payments.lot l on l.lot_id = n.lot_id left join payments.pay_code c on c.code_no = n.code_no
        """)
    rows = tx.execute(query, {"lots": [one.lot_id for one in words], "codes": [one.code_no for one in words]})
    known = {(row.lot_id, row.code_no): row for row in rows}
    made: list[NewEvent] = []
    for one in words:
        row = known[one.lot_id, one.code_no]
        told = CodeEvent(
            kind=kind, case=one.case, code_no=one.code_no, place=f"{row.place} {row.place_name}".strip() if row.place else None,
            is_refused=one.is_refused, at=at, reason=one.reason,
        )  # fmt: skip
        body = events.encode(told)
        event_id = ids.new(at, f"event {kind} {one.lot_id}", body)
        made.append(NewEvent(event_id, row.operator_id, one.lot_id, _subject(one.lot_id, one.code_no), None, kind, body))
    events.write(tx, lane=lane, rows=made)


def _subject(lot_id: int, code_no: int | None) -> UUID:
    """Return what keeps the events of one code in order."""
    return UUID(bytes=hashlib.sha256(f"pay code {lot_id} {code_no}".encode()).digest()[:16])
