"""The words that drivers agree to before a mandate: dated versions in Chinese and English, each sealed. Source: docs/MANDATES.md.

Knows words, their dates and the tree of documents; must not know who agreed. Called by ``agreements``, pages and command line.
"""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from ledger import documents
from ledger.clock import checked
from ledger.documents import Document, DocumentKind
from ledger.errors import Conflict, Refused
from ledger.ids import Ids
from ledger.invariants import Violation
from payments.mandates import agreement_store
from payments.mandates.agreement_store import NewText, Text

LETTERS_MAX: Final = 4_000
"""Of each of the four parts."""


FIRST: Final = NewText(
    valid_from=datetime(2019, 12, 31, 16, tzinfo=UTC),
    document="default of the product, to be replaced by the city's",
    short_zh="""离场时自动扣停车费，不用停下来付款。
只扣这块车牌在本市统一停车收费的停车场产生的停车费，收款方是停车场的经营单位。
金额以停车记录为准；扣款前不另行通知，每笔都能在支付应用里查到。
随时可以在本页结束，结束后不再扣款。""",
    long_zh="""一、收款方：接入本市统一停车收费的各停车场经营单位。每笔款项由支付机构直接付到该停车场经营单位自己的账户，平台不经手资金。
二、用途：仅限所填车牌在上述停车场产生的停车费，以及离场后尚未付清的停车费，不用于其他任何费用。
三、期限：自支付机构确认开通之日起，至您结束或支付机构终止之日止。车辆过户后，本授权对新车主无效。
四、扣款：车辆离场时或离场后，按停车场公示的计费规则扣款。余额不足等原因未能扣款的，停车费成为欠费，将按公示的时间再次尝试，您也可以扫码缴纳。
五、核对与异议：扫停车场的码、输入车牌可以查看金额并提出异议。核实期间不扣款；多扣、错扣的，原路退回。
六、结束：可随时在本页点按“结束授权”，自提交时起不再发起新的扣款；已经发起的一笔会照常完成。还请在支付应用内一并解除。
七、信息：为办理扣款，车牌号和颜色会提供给所选的支付机构。我们不保存您的姓名、电话和账号，只保存账号的加盐摘要，用来确认是您本人查看或结束。""",
    short_en="""Parking is paid by itself when you leave; no stopping to pay.
Only parking charges of this plate at car parks of the city's scheme; the money goes to the operator of the car park.
The amount follows the stay. You are not told before each payment; your wallet lists every one.
You can end it on this page at any time; nothing more is taken then.""",
    long_en="""1. Payees: the operators of the car parks in the city's parking scheme. The payment institution pays each amount \
straight into the operator's own account; the platform never holds the money.
2. Purpose: parking charges of this plate at these car parks only, and those left unpaid after leaving. Nothing else.
3. Term: from the day on which the payment institution confirms it until you or the institution end it. It does not bind a \
new owner of the plate.
4. Payment: when the car leaves or after that, by the car park's published tariff. What cannot be taken becomes a debt, is \
tried again at the published times, and can be paid by scanning the code.
5. Checks and objections: scan the code of a car park and enter the plate to see amounts and object. Nothing is taken while \
this is looked at; what was taken wrongly goes back the same way.
6. Ending: press "End" on this page at any time. From then on no new payment is begun; one that is under way is finished. \
Please end it in your wallet as well.
7. Data: the plate and its colour are given to the institution that you choose. We keep no name, telephone or account number, \
only a salted digest of the account, so that nobody else can see or end this.""",
)
"""Shown until a city enters its own; kept and sealed with the first agreement to it."""


def enter(tx: Connection, *, lane: int, text: NewText, at: datetime, ids: Ids) -> Text:
    """Let words be shown from a date on, and seal them. May be repeated: the same version is the same.

    Raises:
        Refused: ``agreement_text_invalid``, an empty or too long part, no document, a date without offset or in the past.
        Conflict: ``agreement_text_conflict``, another version begins at that time.
    """
    known = agreement_store.text_from(tx, lane=lane, valid_from=_checked(text).valid_from)
    if known is None and text.valid_from < at:
        raise Refused("a version begins now or later: what was agreed to by the old one stands", code="agreement_text_invalid")
    return _kept(tx, lane=lane, text=text, at=at, ids=ids)


def in_force(tx: Connection, *, lane: int, at: datetime) -> Text:
    """Return the words that are shown at ``at``."""
    return agreement_store.text_at(tx, lane=lane, at=at) or _as_text(FIRST, None, lane, at)


def kept_in_force(tx: Connection, *, lane: int, at: datetime, ids: Ids) -> Text:
    """Return the words that are shown at ``at``, kept and sealed: the product's own are entered by the first who agrees."""
    return agreement_store.text_at(tx, lane=lane, at=at) or _kept(tx, lane=lane, text=FIRST, at=at, ids=ids)


def texts(tx: Connection, *, lane: int) -> list[Text]:
    """Return all versions that were entered, in the order of their dates."""
    return agreement_store.texts(tx, lane=lane)


def as_document(text: Text) -> Document:
    """Return a version as it is sealed."""
    assert text.text_id is not None, "it is kept"
    return Document(DocumentKind.RULE_VERSION, text.text_id, text.digest, text.entered_at)


def digest(text: NewText) -> bytes:
    """Return the SHA-256 of date, document and words."""
    content = {name: getattr(text, name) for name in NewText.__struct_fields__}
    whole = documents.of(kind=DocumentKind.RULE_VERSION, document_id=UUID(int=0), content=content, happened_at=text.valid_from)
    return whole.digest


def check(tx: Connection) -> list[Violation]:
    """Check that every version is the one that was sealed."""
    found = []
    for lane in agreement_store.text_lanes(tx):
        kept = agreement_store.texts(tx, lane=lane)
        ids = [one.text_id for one in kept if one.text_id is not None]
        sealed = {one.document_id: one for one in documents.find(tx, lane=lane, document_ids=ids)}
        found += [
            Violation("agreements", f"text {one.text_id} is not the one that was sealed")
            for one in kept
            if one.text_id is None or one.digest != digest(one) or sealed.get(one.text_id) != as_document(one)
        ]
    return found


def _kept(tx: Connection, *, lane: int, text: NewText, at: datetime, ids: Ids) -> Text:
    """Insert and seal a version, or return the one that is there. Raises Conflict."""
    made = _as_text(text, ids.new(at, f"agreement text {text.valid_from.isoformat()}"), lane, at)
    if agreement_store.insert_text(tx, text=made):
        documents.record(tx, lane=lane, documents=[as_document(made)], at=at)
        return made
    before = agreement_store.text_from(tx, lane=lane, valid_from=made.valid_from)
    assert before is not None, "it stood in the way"
    if before.digest != made.digest:
        raise Conflict("another version begins at that time; let this one begin later", code="agreement_text_conflict")
    return before


def _as_text(text: NewText, text_id: UUID | None, lane: int, at: datetime) -> Text:
    given = {name: getattr(text, name) for name in NewText.__struct_fields__} | {"valid_from": checked(text.valid_from)}
    plain = NewText(**given)
    return Text(**given, text_id=text_id, lane=lane, digest=digest(plain), entered_at=at)


def _checked(text: NewText) -> NewText:
    parts = (text.short_zh, text.long_zh, text.short_en, text.long_en)
    if not all(0 < len(part.strip()) <= LETTERS_MAX for part in parts) or not text.document.strip():
        raise Refused(f"each part has 1 to {LETTERS_MAX} characters, and a document approves it", code="agreement_text_invalid")
    if text.valid_from.tzinfo is None:
        raise Refused("valid_from needs its offset, such as 2026-04-01T00:00:00+08:00", code="agreement_text_invalid")
    return text
