"""The contract of a channel: neutral orders, requests, answers and results, the same for every adapter.

Adapters are sans-IO: ``build_*`` returns a Request, ``parse_*`` turns bytes into a typed result. Keys, merchant account, now and
nonce are arguments. Knows no channel; must not know network, clock, database or settings.
"""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar, Final, Literal, Protocol
from uuid import UUID

from msgspec import Struct

from gateways.keys import KeyRing, VerificationKey
from ledger.errors import Refused

Verdict = Literal["verified", "refused", "unreadable", "unverified", "unanswered"]
"""What became of a message: its signature holds; it was turned away; the signature holds but the content cannot be read;
the channel does not sign such answers; no answer came."""

BODY_BYTES_MAX: Final = 65_536
"""Largest body of a notice or an API answer. A genuine one has about 2 KB."""


class ChannelState(StrEnum):
    """What a channel says about a payment. Everything not listed by the channel's document is ``unknown``."""

    SUCCEEDED = "succeeded"
    """The money was taken (also when part of it was refunded since)."""
    FAILED = "failed"
    """Explicitly failed; it can never succeed."""
    CLOSED = "closed"
    """Closed at the channel; nobody can pay it any more."""
    PENDING = "pending"
    """The channel knows it and it is not decided."""
    NOT_FOUND = "not_found"
    """The channel says it never had this order."""
    UNKNOWN = "unknown"
    """Time-out, bad signature, unreadable or unlisted: nothing is known."""


class RefundState(StrEnum):
    """What a channel says about a refund. Everything not listed by the channel's document is ``unknown``."""

    DONE = "done"
    """The money went back to the payer."""
    PENDING = "pending"
    """Taken on; the money is on its way."""
    CLOSED = "closed"
    """Proven not made and over: the money stayed. Another refund needs a new number."""
    STUCK = "stuck"
    """The payer's card or account took it no more: a person must decide how it goes back."""
    LATER = "later"
    """Not carried out for now (such as too little balance): the same number may be asked for again later."""
    NOT_FOUND = "not_found"
    """The channel says it never had this refund: the same number may be asked for again."""
    REFUSED = "refused"
    """The channel refuses it for good; nothing was made."""
    UNKNOWN = "unknown"
    """Time-out, bad signature, unreadable or unlisted: nothing is known."""


class Operation(StrEnum):
    """What may be asked of a channel, or comes from it; ``Channel.supports`` names what an adapter has."""

    CALLBACK = "callback"
    PREPAY = "prepay"
    QUERY = "query"
    CLOSE = "close"
    BILL = "bill"
    """Asking where the bill file is."""
    BILL_FILE = "bill_file"
    """Fetching the file itself."""
    REFUND = "refund"
    REFUND_QUERY = "refund_query"
    CERTIFICATES = "certificates"
    """Fetching the keys that the channel signs with."""


class MerchantAccount(Struct, frozen=True):
    """A dated route: where an operator's money of one channel goes. ``valid_until`` is exclusive; None means no end."""

    route_id: int
    operator_id: int
    channel: str
    merchant_no: str
    """The operator's own merchant number (WeChat: sub_mchid)."""
    sub_app_id: str | None
    payee_name: str
    evidence: str
    valid_from: datetime
    valid_until: datetime | None


class PrepayOrder(Struct, frozen=True):
    """An order to be made at a channel. The same order number must always come with the same content."""

    order_no: str
    """Our payment number, see ``ledger.ids.payment_number``."""
    merchant_no: str
    description: str
    """Shown to the payer, 1–127 characters."""
    amount_fen: int
    payer_id: str
    """The payer at the channel (WeChat: openid under the provider's AppID, or under ``sub_app_id`` when that is given)."""
    expires_at: datetime
    """Last moment the payer can pay."""
    sub_app_id: str | None = None
    attach: str | None = None
    """Comes back in notices and bills, at most 128 characters; never anything about a person."""


class OrderRef(Struct, frozen=True):
    """Names an order at a channel for a query or a close."""

    order_no: str
    merchant_no: str


class RefundOrder(Struct, frozen=True):
    """A refund to be made at a channel.

    The same refund number must always come with the same content: it is what makes a repeat safe.
    """

    refund_no: str
    """Our refund number, see ``ledger.ids.refund_number``."""
    order_no: str
    """The number of the payment."""
    trade_no: str
    """The channel's number of the payment."""
    merchant_no: str
    refund_fen: int
    total_fen: int
    """What the payment took."""
    reason: str | None = None
    """Shown to the payer."""


class RefundRef(Struct, frozen=True):
    """Names a refund at a channel for a query."""

    refund_no: str
    order_no: str
    trade_no: str
    merchant_no: str


class Request(Struct, frozen=True):
    """A request to be sent exactly as it is: the bytes are signed."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Answer(Struct, frozen=True):
    """An HTTP answer, ours or theirs. Header names in ``headers`` are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Unanswered(Struct, frozen=True):
    """No usable answer came: the request may or may not have been carried out.

    ``reason`` is one of ``timeout``, ``dns``, ``connect``, ``tls``, ``broken``, ``too_large``.
    """

    reason: str
    detail: str = ""


class Result(Struct, frozen=True):
    """What a verified message of a channel says about one payment."""

    channel: str
    state: ChannelState
    order_no: str
    """Our payment number as the channel has it."""
    provider_no: str
    """Service provider's number (WeChat: sp_mchid)."""
    merchant_no: str
    """Operator's own merchant number (WeChat: sub_mchid)."""
    trade_no: str | None = None
    amount_fen: int | None = None
    """Amount of the order in fen (not what the payer paid after coupons)."""
    currency: str | None = None
    happened_at: datetime | None = None
    """When the money was taken, UTC."""


class RefundResult(Struct, frozen=True):
    """What a verified message of a channel says about one refund."""

    channel: str
    state: RefundState
    refund_no: str
    """Our refund number as the channel has it."""
    provider_no: str
    merchant_no: str
    order_no: str | None = None
    trade_no: str | None = None
    channel_refund_no: str | None = None
    """The channel's own number of the refund."""
    refund_fen: int | None = None
    happened_at: datetime | None = None
    """When the money went back, UTC."""
    word: str | None = None
    """The channel's own word for the state, for a person."""


class RawMessage(Struct, frozen=True):
    """An outside message to be kept verbatim. ``message_id`` is the evidence id."""

    message_id: UUID
    channel: str
    operation: str
    direction: Literal["in", "out"]
    verdict: Verdict
    reason: str | None
    received_at: datetime
    headers: str
    """The header lines that verify it again, as a JSON object."""
    body: bytes
    subject: UUID | None = None
    """Payment the message speaks of, when known."""
    request: bytes | None = None
    """For direction out: method, address and body of what we sent."""


class Reading(Struct, frozen=True):
    """What an adapter makes of a message about one payment or one refund: a notice, or the answer to a call.

    ``result`` (about a payment) or ``refund`` is present only when the verdict is ``verified``, or ``unverified`` for an error
    answer that carries no signature ("no such order", "no such refund"). ``reason`` is a stable word: for a notice
    ``header_missing``, ``stale``, ``serial_unknown``, ``signature``, ``not_json``, ``decrypt``, ``field_missing``,
    ``event_unknown`` (genuine, but of a kind not handled here: the verdict is ``verified`` without a result); for an answer also
    ``other_order``, ``other_refund``, ``error_unlisted``, an Unanswered's reason, or what the channel's error code means
    (docs/CHANNELS.md, errors).
    """

    verdict: Verdict
    reason: str | None = None
    result: Result | None = None
    refund: RefundResult | None = None


class HandOff(Struct, frozen=True):
    """What the payer's page needs to call up the wallet."""

    kind: Literal["jsapi", "redirect", "code"]
    fields: Mapping[str, str]


class PrepayOutcome(Struct, frozen=True):
    """What an order call led to.

    ``pending`` with a hand-off: the payer can pay. ``failed``: the channel refused the order, nothing was made. ``closed``: the
    number is dead, take a new one. ``unknown``: it may exist; repeat the identical order or query (``reason`` says why).
    """

    verdict: Verdict
    state: ChannelState
    hand_off: HandOff | None = None
    reason: str | None = None


class CloseOutcome(Struct, frozen=True):
    """What a close call led to: ``closed``, ``not_found``, or ``unknown`` (``order_paid`` as the reason: query and settle it)."""

    verdict: Verdict
    state: ChannelState
    reason: str | None = None


class BillRequest(Struct, frozen=True):
    """Names a day's trade bill. Without ``merchant_no`` the file covers all operators of the provider."""

    bill_on: date
    form: Literal["all", "success", "refund"] = "all"
    merchant_no: str | None = None
    compressed: bool = True


class BillLink(Struct, frozen=True):
    """Where a bill file can be fetched, for a few minutes only, and the digest of its uncompressed bytes."""

    url: str
    digest_kind: str
    digest: str
    compressed: bool


class BillAbsent(Struct, frozen=True):
    """There is no file: ``empty`` (nothing happened that day, final), ``not_ready`` (ask later), or a reason of Reading."""

    reason: str


class BillLine(Struct, frozen=True):
    """One neutral line of a trade bill. Amounts in fen; a refund's amount is positive and its fee negative (given back)."""

    line: int
    """Number of the row in the file, from 1."""
    kind: Literal["payment", "refund", "revoked"]
    merchant_no: str
    trade_no: str
    order_no: str
    amount_fen: int
    fee_fen: int
    happened_at: datetime
    """Payment: paid at. Refund: accepted at. UTC."""
    refund_no: str | None = None
    """Our refund number, on refund lines."""
    refund_state: RefundState | None = None
    """On refund lines: what the channel said of the refund when it made the bill; later bills do not mend it."""


class Bill(Struct, frozen=True):
    """A parsed trade bill whose totals agree with its lines. ``total_fen`` sums the orders, ``fee_fen`` is net of fees returned."""

    lines: tuple[BillLine, ...]
    total_fen: int
    refund_fen: int
    fee_fen: int


class BillRefused(Refused):
    """The whole file is refused: nothing of it may be booked.

    Codes: ``bill_digest`` (not the file that was announced), ``bill_cut`` (summary missing or totals differ), ``bill_form`` (a row
    or header that cannot be read), ``bill_too_large``.
    """

    code: ClassVar[str] = "bill_form"


class Channel(Protocol):
    """One payment channel's wire. Every method is pure: same arguments, same bytes.

    ``parse_*`` never raises for what came from outside: it says ``unknown`` with a reason. Only the two bill file methods raise
    BillRefused, because a file is taken whole or not at all. ``parse_*`` accepts Unanswered, so that a call has one path.
    """

    name: str
    provider_no: str
    supports: frozenset[Operation]
    evidence_headers: frozenset[str]
    """Lower-case names of the headers that must be kept to verify a message again."""

    def parse_callback(self, headers: Mapping[str, str], body: bytes, *, keys: KeyRing, now: datetime) -> Reading:
        """Read a notice. Header names are lower case; ``body`` is exactly what came in."""
        ...

    def ack(self, *, accepted: bool, reason: str | None = None) -> Answer:
        """Return the channel's exact answer to a notice; a negative one makes it come again."""
        ...

    def build_prepay(self, order: PrepayOrder, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def parse_prepay(
        self, answer: Answer | Unanswered, *, order: PrepayOrder, keys: KeyRing, now: datetime, nonce: str
    ) -> PrepayOutcome: ...

    def build_query(self, order: OrderRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: KeyRing, now: datetime) -> Reading: ...

    def build_close(self, order: OrderRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def parse_close(self, answer: Answer | Unanswered, *, keys: KeyRing, now: datetime) -> CloseOutcome: ...

    def build_refund(self, refund: RefundOrder, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def parse_refund(self, answer: Answer | Unanswered, *, refund: RefundOrder, keys: KeyRing, now: datetime) -> Reading:
        """Read the answer to a refund: ``refund`` of the reading is there unless the answer proves nothing."""
        ...

    def build_refund_query(self, refund: RefundRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def parse_refund_query(self, answer: Answer | Unanswered, *, refund: RefundRef, keys: KeyRing, now: datetime) -> Reading: ...

    def build_bill(self, bill: BillRequest, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def parse_bill_link(
        self, answer: Answer | Unanswered, *, bill: BillRequest, keys: KeyRing, now: datetime
    ) -> BillLink | BillAbsent: ...

    def build_bill_download(self, link: BillLink, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def open_bill(self, answer: Answer, *, link: BillLink) -> bytes:
        """Return the uncompressed file, byte for byte. Raises BillRefused when its digest is not the announced one."""
        ...

    def parse_bill(self, content: bytes) -> Bill:
        """Read the whole file. Raises BillRefused for a file that is cut or whose totals differ."""
        ...

    def build_certificates(self, *, keys: KeyRing, now: datetime, nonce: str) -> Request: ...

    def parse_certificates(
        self, answer: Answer | Unanswered, *, keys: KeyRing, now: datetime
    ) -> tuple[VerificationKey, ...] | None:
        """Return the certificates that the channel signs with (none for some providers), or None when the answer proves nothing."""
        ...
