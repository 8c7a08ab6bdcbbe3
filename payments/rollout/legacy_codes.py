"""Old codes 原支付码: the codes that operators had before, registered as what they are of a lot, and whose a scanned code is.

Knows lots, codes and the rollout's rules; must not know HTTP or files. Called by the API and the command line.

A code is compared as it is read: trimmed and in Unicode NFC, never in another case, for addresses differ by it.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, Literal

from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from ledger.errors import Refused
from ledger.ids import Ids
from payments.lot_records import intake
from payments.lot_records.intake import Answer, Rejected, differs, refused
from payments.lots import Lot
from payments.rollout import legacy_store, policy
from payments.rollout.legacy_store import CodeRow
from payments.rollout.policy import Requires

Kind = Literal["wechat", "alipay", "unionpay", "bank", "other"]
PAYLOAD_BYTES_MAX: Final = 2_000
DOCUMENT_LETTERS_MAX: Final = 200
FOUND_MAX: Final = 100
_CITY_CODE: Final = re.compile(r"/p/[A-Za-z2-7]{112}(?![A-Za-z0-9])")


class NewLegacyCode(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An old code that hangs at a lot. ``serial`` is the lot's own number of it and the idempotency key.

    Posted again with a ``last_day`` where none was known, it ends: ``completed``. One that was ended together with others may end
    earlier, and posted again as it was it is ``already``.
    """

    serial: str
    payload: str
    """What a scanner reads: an address, an EMV code or the like, at most 2,000 bytes of UTF-8."""
    kind: Kind
    first_day: date
    """First day on which it hangs there (China)."""
    last_day: date | None = None
    document: str


Standing = Literal["allowed", "not_yet", "ended", "city_code_only", "elsewhere"]
"""``allowed``: it may hang there on that day. ``not_yet``, ``ended``: before its first or after its last day. ``city_code_only``:
at that lot only the city's code may hang. ``elsewhere``: it is registered, but not at the lot that was asked about."""


class Registered(Struct, frozen=True, kw_only=True):
    """Where a code is registered, and whether it may hang there on the day that was asked about."""

    lot_code: str
    lot_name: str
    operator_code: str
    operator_name: str
    kind: str
    first_day: date
    last_day: date | None
    document: str
    requires: Requires | None
    """What the rollout requires of the lot on that day; None: no rule counts yet."""
    standing: Standing


class Whose(Struct, frozen=True, kw_only=True):
    """The answer to a scanned code. ``is_allowed``: it may hang there (or, without a lot, at some lot) on that day.

    ``city_code``: it has the form of the city's own code, which its signature proves, not this list.
    """

    found: Literal["registered", "unknown", "city_code"]
    day: date
    is_allowed: bool
    registered: list[Registered]


def normalised(payload: str) -> str:
    """Return a code as it is compared: without white space at its ends, in Unicode NFC."""
    return unicodedata.normalize("NFC", payload.strip().strip("\ufeff").strip())


def post(
    tx: Connection, *, lane: int, lot: Lot, codes: Sequence[NewLegacyCode], body: bytes, at: datetime, ids: Ids
) -> list[Answer]:
    """Register old codes of a lot; a wrong one is refused by itself and the others stand. Again they are ``already``.

    Holds the intake of the lot, then the codes. A code that another operator has is refused: ``code_of_another``.

    Args:
        codes: At most ``intake.RECORDS_MAX``.
        body: The call as it came, kept as evidence when anything of it is kept.

    Raises:
        Refused: ``too_many_records``.
    """
    intake.check_count(codes)
    answers: dict[int, Answer] = {}
    good: list[tuple[int, NewLegacyCode, str]] = []
    for place, one in enumerate(codes):
        try:
            good.append((place, one, _checked(one)))
        except Rejected as wrong:
            answers[place] = refused(one.serial, wrong)
    if good:
        intake.hold(tx, lot_id=lot.lot_id)
        answers |= _Work(tx, lane=lane, lot=lot, good=good, at=at, ids=ids).carry_out(body)
    return [answers[place] for place in range(len(codes))]


def whose(tx: Connection, *, payload: str, day: date, lot: Lot | None = None) -> Whose:
    """Return whose a scanned code is, and whether it may hang at a lot (or anywhere) on a day.

    Raises:
        Refused: ``payload_invalid``.
    """
    try:
        text = _payload(payload)
    except Rejected as wrong:
        raise Refused(str(wrong), code="payload_invalid") from None
    if _CITY_CODE.search(text):
        return Whose(found="city_code", day=day, is_allowed=False, registered=[])
    rows = legacy_store.registered(tx, digest=_digest(text), limit=FOUND_MAX)
    rules = policy.rules(tx) if rows else []
    found = [_registered(row, rules, day, lot) for row in rows]
    allowed = any(one.standing == "allowed" for one in found)
    return Whose(found="registered" if found else "unknown", day=day, is_allowed=allowed, registered=found)


def _registered(row: Any, rules: Sequence[policy.Rule], day: date, lot: Lot | None) -> Registered:
    rule = policy.rule_of(rules, lot_id=row.lot_id, district=row.district, regime=row.regime, day=day)
    requires = None if rule is None else rule.requires
    return Registered(
        lot_code=row.lot_code, lot_name=row.lot_name, operator_code=row.operator_code, operator_name=row.operator_name,
        kind=row.kind, first_day=row.first_day, last_day=row.last_day, document=row.document, requires=requires,
        standing=standing(row.first_day, row.last_day, day, requires, is_elsewhere=lot is not None and lot.lot_id != row.lot_id),
    )  # fmt: skip


def standing(first_day: date, last_day: date | None, day: date, requires: Requires | None, *, is_elsewhere: bool) -> Standing:
    """Return how a registered code stands on a day, the gravest first."""
    if is_elsewhere:
        return "elsewhere"
    if day < first_day:
        return "not_yet"
    if last_day is not None and day > last_day:
        return "ended"
    return "city_code_only" if requires == "city_code_only" else "allowed"


def _payload(payload: str) -> str:
    text = normalised(payload)
    if not text or not text.isprintable():
        raise Rejected("payload", "payload_invalid", "a code is what a scanner reads: printable text, and not empty")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Rejected("payload", "payload_invalid", "a code is Unicode text without halves of characters") from None
    if size > PAYLOAD_BYTES_MAX:
        raise Rejected("payload", "payload_invalid", f"a code has at most {PAYLOAD_BYTES_MAX} bytes, not {size}")
    return text


def _digest(payload: str) -> bytes:
    return hashlib.sha256(payload.encode()).digest()


def _checked(one: NewLegacyCode) -> str:
    """Return the code of a record that can be true, as it is compared. Raises Rejected."""
    intake.check_name(one.serial, None)
    text = _payload(one.payload)
    if _CITY_CODE.search(text):
        raise Rejected("payload", "payload_of_city", "this is the city's own code; only codes from before are registered here")
    if one.last_day is not None and one.last_day < one.first_day:
        raise Rejected("last_day", "days_invalid", "the last day lies before the first")
    intake.check_words("document", one.document, DOCUMENT_LETTERS_MAX)
    return text


class _Work:
    """One call: what is kept read once, decided code by code, written set by set."""

    def __init__(
        self, tx: Connection, *, lane: int, lot: Lot, good: list[tuple[int, NewLegacyCode, str]], at: datetime, ids: Ids
    ) -> None:
        self._tx, self._lane, self._lot, self._good, self._at, self._ids = tx, lane, lot, good, at, ids
        digests = sorted({_digest(text) for _, _, text in good})
        self._serials: dict[str, CodeRow] = {}
        self._by_digest: dict[bytes, list[CodeRow]] = {}
        serials = sorted({one.serial for _, one, _ in good})
        for row in legacy_store.of_lot(tx, lot_id=lot.lot_id, serials=serials, digests=digests):
            self._know(row)
        new: dict[str, str] = {}
        for _, one, text in good:
            if one.serial not in self._serials:
                new.setdefault(one.serial, text)
        claimed = {_digest(text): text for text in new.values()}
        self._others = legacy_store.claim(tx, operator_id=lot.operator_id, payloads=claimed, at=at) if claimed else {}
        self._made: dict[str, CodeRow] = {}
        self._ended: dict[str, CodeRow] = {}

    def _know(self, row: CodeRow) -> None:
        self._serials[row.lot_serial] = row
        self._by_digest.setdefault(row.payload_digest, []).append(row)

    def carry_out(self, body: bytes) -> dict[int, Answer]:
        """Decide about each code in order, write what follows, and return the answers by their places."""
        answers: dict[int, Answer] = {}
        for place, one, text in self._good:
            try:
                answers[place] = Answer(serial=one.serial, outcome=self._decide(one, _digest(text)))
            except Rejected as wrong:
                answers[place] = refused(one.serial, wrong)
        if self._made or self._ended:
            self._write(body)
        return answers

    def _decide(self, one: NewLegacyCode, digest: bytes) -> Literal["created", "completed", "already"]:
        if (known := self._serials.get(one.serial)) is not None:
            return self._again(one, digest, known)
        if (owner := self._others.get(digest)) is not None:
            raise Rejected(
                "payload", "code_of_another", f"this code is registered for operator {owner}; one code is never two operators'"
            )
        for other in self._by_digest.get(digest, []):
            if (other.last_day is None or one.first_day <= other.last_day) and (
                one.last_day is None or other.first_day <= one.last_day
            ):
                raise Rejected("first_day", "overlaps", f"this code hangs here at that time under serial {other.lot_serial}")
        row = CodeRow(
            legacy_id=self._ids.new(self._at, f"legacy code {self._lot.lot_id} {one.serial}"), lot_serial=one.serial,
            payload_digest=digest, kind=one.kind, first_day=one.first_day, last_day=one.last_day, document=one.document,
        )  # fmt: skip
        self._know(row)
        self._made[one.serial] = row
        return "created"

    def _again(self, one: NewLegacyCode, digest: bytes, known: CodeRow) -> Literal["completed", "already"]:
        said = {"payload": digest, "kind": one.kind, "first_day": one.first_day, "document": one.document}
        kept = {"payload": known.payload_digest, "kind": known.kind, "first_day": known.first_day, "document": known.document}
        for field in said:
            if said[field] != kept[field]:
                raise differs(one.serial, field)
        if one.last_day == known.last_day or (known.is_ended_together and one.last_day is None):
            return "already"
        is_earlier = one.last_day is not None and known.last_day is not None and one.last_day < known.last_day
        if known.last_day is not None and not (known.is_ended_together and is_earlier):
            raise differs(one.serial, "last_day")
        known.last_day = one.last_day
        if known.lot_serial not in self._made:
            self._ended[known.lot_serial] = known
        return "completed"

    def _write(self, body: bytes) -> None:
        message = messages.from_lot(
            operation="legacy_codes", body=body, at=self._at, ids=self._ids, occasion=f"{self._lot.code} {self._at.isoformat()}"
        )
        messages.keep(self._tx, lane=self._lane, messages=[message])
        if self._ended:
            legacy_store.end(self._tx, ends=list(self._ended.values()), evidence_id=message.message_id, at=self._at)
        if self._made:
            rows = list(self._made.values())
            legacy_store.insert(self._tx, lot=self._lot, rows=rows, evidence_id=message.message_id, at=self._at)
