"""The contract of a channel: neutral orders, requests, answers and results, the same for every adapter.

Adapters are sans-IO: ``build_*`` returns a Request, ``parse_*`` turns bytes into a typed result. Keys, merchant account, now and
nonce are arguments. Knows no channel; must not know network, clock, database or settings.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from io import BytesIO
from typing import Any, BinaryIO, ClassVar, Final, Generic, Literal, Self, TypeVar
from uuid import UUID

from msgspec import Struct

from gateways.keys import VerificationKey
from ledger.clock import CHINA
from ledger.errors import Refused

K = TypeVar("K")
"""What an adapter signs, verifies and decrypts with: all keys that this installation has at the channel."""

Verdict = Literal["verified", "refused", "unreadable", "unverified", "unanswered"]
"""What became of a message: its signature holds; it was turned away; the signature holds but the content cannot be read;
the channel does not sign such answers; no answer came."""

BODY_BYTES_MAX: Final = 65_536
"""Largest body of a notice or an API answer of most channels. A genuine one has about 2 KB."""


KEPT: Final = "kept"
"""Reason of a verified notice that is about no payment and wants no more than to be kept and acknowledged."""


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
    REVERSED = "reversed"
    """It had been taken, and the channel took it back for good: the payee does not get it (ETC's bad debt)."""
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


class Way(StrEnum):
    """How a payer and an order come together; ``Channel.ways`` names those that a channel has."""

    IN_WALLET = "in_wallet"
    """The page is open inside the channel's own app (WeChat JSAPI, Alipay and UnionPay inside their apps)."""
    BROWSER = "browser"
    """The page is open in an ordinary browser of a phone and leads to the wallet (WeChat H5, Alipay and UnionPay WAP)."""
    CODE = "code"
    """The payer scans a code that is shown on another screen (WeChat Native, Alipay precreate, UnionPay main scan)."""
    SCANNED = "scanned"
    """The lot scans the payer's code (UnionPay). Nobody sees a page."""
    DEDUCTION = "deduction"
    """Nobody acts: the plate has a mandate."""
    CARD = "card"
    """The car's card paid at the lane; its record goes to the channel in a package, and the channel says later what it is worth."""
    COUNTER = "counter"
    """Paid by hand at the lot, in cash or over a code older than the city's: the lot says so, no channel of ours does."""


class Operation(StrEnum):
    """What may be asked of a channel, or comes from it; ``Channel.supports`` names what an adapter has."""

    CALLBACK = "callback"
    PREPAY = "prepay"
    COMBINE = "combine"
    """One act of the payer for several orders, each of its own merchant."""
    QUERY = "query"
    CLOSE = "close"
    CANCEL = "cancel"
    """Undoing an order whatever its state: unpaid it is closed, paid the money goes back."""
    ENTRY = "entry"
    """Telling the channel that a car has come, where a deduction needs it."""
    MANDATE_QUERY = "mandate_query"
    MANDATE_SIGN = "mandate_sign"
    """Leading a payer to the channel's own page, where a plate's mandate is signed, seen and ended."""
    DEDUCT = "deduct"
    """Taking a charge by a plate's mandate."""
    BILL = "bill"
    """Asking where the bill file is."""
    BILL_FILE = "bill_file"
    """Fetching the file itself."""
    FUND_BILL = "fund_bill"
    """The bill of a merchant's account: what moved, and what is left."""
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
    mode: str = "provider"
    """``provider``: under the platform's own number at the channel. ``direct``: under the operator's own keys."""
    key_ref: str | None = None
    """Names the operator's own keys in the channel's ring; None: the platform's."""


class PrepayOrder(Struct, frozen=True, kw_only=True):
    """An order to be made at a channel. The same order number must always come with the same content."""

    order_no: str
    """Our payment number, see ``ledger.ids.payment_number``."""
    merchant_no: str
    description: str
    """Shown to the payer, 1–127 characters."""
    amount_fen: int
    created_at: datetime
    """When we made the order; a repeat carries the same instant (UnionPay names an order by it)."""
    expires_at: datetime
    """Last moment the payer can pay."""
    way: Way = Way.IN_WALLET
    payer_id: str | None = None
    """The payer at the channel, where the way needs it (WeChat: openid under the provider's AppID, or under
    ``sub_app_id`` when that is given; Alipay: buyer id). With ``Way.SCANNED`` the code on the payer's phone."""
    payer_ip: str | None = None
    """Address of the payer's phone, where the way needs it (WeChat H5)."""
    return_url: str | None = None
    """Where the wallet leads the payer back to, where the way has such."""
    sub_app_id: str | None = None
    attach: str | None = None
    """Comes back in notices and bills, at most 128 characters; never anything about a person."""
    key_ref: str | None = None
    """See ``MerchantAccount.key_ref``."""


class OrderRef(Struct, frozen=True, kw_only=True):
    """Names an order at a channel for a query, a close or a cancel."""

    order_no: str
    merchant_no: str
    created_at: datetime
    """As in the order."""
    expires_at: datetime
    """As in the order: before it, an order that the channel does not know yet may still be made by its payer."""
    way: Way = Way.IN_WALLET
    trade_no: str | None = None
    """The channel's number, once known."""
    amount_fen: int | None = None
    """What was taken, once known: some channels undo a payment by its amount."""
    paid_at: datetime | None = None
    """When it was taken, once known: some channels undo a payment on its own day only."""
    key_ref: str | None = None


class Leg(Struct, frozen=True, kw_only=True):
    """One order of a combined one: a charge of one operator."""

    order_no: str
    merchant_no: str
    description: str
    amount_fen: int
    sub_app_id: str | None = None
    attach: str | None = None


class CombinedOrder(Struct, frozen=True, kw_only=True):
    """Several orders that a payer pays in one act: all of them or none. Each leg stands for itself afterwards."""

    combined_no: str
    """Our number of the whole act."""
    legs: tuple[Leg, ...]
    created_at: datetime
    expires_at: datetime
    way: Way = Way.IN_WALLET
    payer_id: str | None = None
    payer_ip: str | None = None
    return_url: str | None = None


class CombinedRef(Struct, frozen=True, kw_only=True):
    """Names a combined order for a query or a close."""

    combined_no: str
    legs: tuple[OrderRef, ...]


class Deduction(Struct, frozen=True, kw_only=True):
    """A charge to be taken by a plate's mandate. The same order number must always come with the same content."""

    order_no: str
    merchant_no: str
    plate: str
    plate_color: str
    """``blue``, ``yellow``, ``green`` …, see ``payments.plates``."""
    amount_fen: int
    description: str
    entered_at: datetime
    left_at: datetime
    minutes: int
    lot_no: str
    """The lot's own number at the channel, or its code where the channel has none."""
    lot_name: str
    created_at: datetime
    entry_no: str | None = None
    """What the channel named the car's entry, where it was told of it."""
    mandate_no: str | None = None
    payer_id: str | None = None
    key_ref: str | None = None


class Entrance(Struct, frozen=True, kw_only=True):
    """A car that has come, as a channel is told."""

    entrance_no: str
    merchant_no: str
    plate: str
    plate_color: str
    entered_at: datetime
    free_minutes: int
    lot_no: str
    lot_name: str
    payer_id: str | None = None
    key_ref: str | None = None


class MandateRef(Struct, frozen=True, kw_only=True):
    """Asks whether a plate has a mandate with a merchant."""

    plate: str
    plate_color: str
    merchant_no: str
    payer_id: str | None = None
    key_ref: str | None = None


class RefundOrder(Struct, frozen=True, kw_only=True):
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
    asked_at: datetime
    """When the refund was promised; a repeat carries the same instant."""
    paid_at: datetime
    """When the payment was taken."""
    way: Way = Way.IN_WALLET
    """Of the payment."""
    reason: str | None = None
    """Shown to the payer."""
    key_ref: str | None = None


class RefundRef(Struct, frozen=True, kw_only=True):
    """Names a refund at a channel for a query."""

    refund_no: str
    order_no: str
    trade_no: str
    merchant_no: str
    asked_at: datetime
    """As in the refund; for one made in the merchant's console, when the bill says that it was made."""
    way: Way = Way.IN_WALLET
    key_ref: str | None = None


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
    again_at: datetime | None = None
    """With ``later``: before then the channel says the same again, so it is not asked."""


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


class EntryTold(Struct, frozen=True, kw_only=True):
    """What a channel says later of a car that it was told of: whether the plate may be deducted now."""

    entrance_no: str
    """Our number of the entrance."""
    provider_no: str
    merchant_no: str
    entry_no: str
    """The channel's number of it."""
    state: Literal["open", "none"]
    word: str | None = None
    """The channel's own word for why not."""
    happened_at: datetime
    """When it came to be so: an older word does not overtake a newer one."""


class Reading(Struct, frozen=True):
    """What an adapter makes of a message about payments or one refund: a notice, or the answer to a call.

    ``results`` (one per payment) or ``refund`` are there only when the verdict is ``verified``, or ``unverified`` for an error
    answer that carries no signature ("no such order", "no such refund"). ``reason`` is a stable word: for a notice
    ``header_missing``, ``stale``, ``serial_unknown``, ``signature``, ``not_json``, ``decrypt``, ``field_missing``,
    ``event_unknown`` (genuine, but of a kind not handled here: the verdict is ``verified`` without a result); for an answer also
    ``other_order``, ``other_refund``, ``error_unlisted``, an Unanswered's reason, or what the channel's error code means
    (docs/CHANNELS.md, errors).
    """

    verdict: Verdict
    reason: str | None = None
    results: tuple[Result, ...] = ()
    refund: RefundResult | None = None
    reply_to: bytes | None = None
    """What the channel's acknowledgement must name, in the adapter's own form."""
    entry: EntryTold | None = None
    """What the channel says of a car that it was told of, on its own account."""
    clearing: Struct | None = None
    """What a clearing party says of packages of charges; whoever sends packages knows the types (``gateways.etc.clearing``)."""

    @property
    def result(self) -> Result | None:
        """The only result; None when there is none. A message about several payments has ``results`` alone."""
        return self.results[0] if len(self.results) == 1 else None


class HandOff(Struct, frozen=True):
    """What the payer's page needs to call up the wallet.

    ``jsapi``: ``fields`` are the arguments of the wallet's script call. ``redirect``: the browser goes to ``url``. ``form``: the
    browser posts ``fields`` to ``url``. ``code``: ``fields["code"]`` is shown as a QR code. ``none``: nothing is to be done.
    ``mini_program``: ``fields`` name a page of the wallet (``app_id``, ``username``, ``path``); ``url`` opens it, if there is one.
    """

    kind: Literal["jsapi", "redirect", "form", "code", "mini_program", "none"]
    fields: Mapping[str, str] = {}
    url: str | None = None
    valid_until: datetime | None = None
    """From then on it leads nowhere (WeChat's H5 address lives five minutes); the identical order gives a fresh one."""

    def holds(self, at: datetime) -> bool:
        """Tell whether it still leads to the wallet at ``at``."""
        return self.valid_until is None or at < self.valid_until


class PrepayOutcome(Struct, frozen=True):
    """What an order call led to.

    ``pending`` with a hand-off: the payer can pay. ``failed``: the channel refused the order, nothing was made. ``closed``: the
    number is dead, take a new one. ``unknown``: it may exist; repeat the identical order or query (``reason`` says why).
    """

    verdict: Verdict
    state: ChannelState
    hand_off: HandOff | None = None
    reason: str | None = None


class MandateOutcome(Struct, frozen=True):
    """What a channel says about a plate's mandate: ``open`` (it may be deducted), ``none``, or ``unknown`` with the reason.

    ``word`` is the channel's own word for why it is not open, such as a debt of the payer.
    """

    verdict: Verdict
    state: Literal["open", "none", "unknown"]
    mandate_no: str | None = None
    payer_id: str | None = None
    word: str | None = None
    reason: str | None = None


class EntryOutcome(Struct, frozen=True):
    """What telling of a car's entry led to: the channel's number of it, and whether the plate may be deducted."""

    verdict: Verdict
    entry_no: str | None = None
    state: Literal["open", "none", "unknown"] = "unknown"
    word: str | None = None
    reason: str | None = None


class CloseOutcome(Struct, frozen=True):
    """What a close call led to: ``closed``, ``not_found``, or ``unknown`` (``order_paid`` as the reason: query and settle it)."""

    verdict: Verdict
    state: ChannelState
    reason: str | None = None


class BillRequest(Struct, frozen=True):
    """Names a day's trade bill. Without ``merchant_no`` the file covers all operators of the provider, see ``Channel.bills_by``."""

    bill_on: date
    form: Literal["all", "success", "refund"] = "all"
    merchant_no: str | None = None
    compressed: bool = True
    key_ref: str | None = None


class FundBillRequest(Struct, frozen=True):
    """Names a day's bill of an account. ``account`` is the channel's own word for which one (WeChat: BASIC, OPERATION, FEES)."""

    bill_on: date
    account: str
    merchant_no: str | None = None
    """None: the provider's own account."""
    key_ref: str | None = None


class FundLine(Struct, frozen=True):
    """One movement of a merchant's account at the channel. Exactly one of income and expense is above zero, in fen."""

    line: int
    happened_at: datetime
    kind: str
    """The channel's own word."""
    trade_no: str
    income_fen: int
    expense_fen: int
    balance_fen: int
    """Left afterwards."""
    order_no: str | None = None
    note: str | None = None


class FundBill(Struct, frozen=True):
    """A parsed fund bill whose totals agree with its lines."""

    lines: tuple[FundLine, ...]
    income_fen: int
    expense_fen: int


class BillLink(Struct, frozen=True):
    """Where a bill file can be fetched, for a few minutes only, and the digest of its uncompressed bytes."""

    url: str
    digest_kind: str
    digest: str
    compressed: bool


class BillInline(Struct, frozen=True):
    """The file itself, uncompressed, where the channel sends it with its signed answer instead of a link."""

    content: bytes


class BillAbsent(Struct, frozen=True):
    """There is no file: ``empty`` (nothing happened that day, final), ``not_ready`` (ask later), or a reason of Reading."""

    reason: str


class BillLine(Struct, frozen=True):
    """One neutral line of a trade bill. Amounts in fen; a refund's amount is positive and its fee negative (given back)."""

    line: int
    """Number of the row in the file, from 1."""
    kind: Literal["payment", "refund", "revoked", "bad_debt"]
    """``revoked``: undone, the money went back. ``bad_debt``: the payee does not get it, and what had been told as paid is taken
    back; no money moves and no fee is due."""
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


class BillSums(Struct):
    """What the lines of a trade bill add up to, line by line. Bad debts are lines only: no money of theirs moves."""

    lines: int = 0
    total_fen: int = 0
    """What payers paid."""
    refund_fen: int = 0
    """What went back to them, refunded or revoked."""
    fee_fen: int = 0
    """Net of fees given back."""

    def add(self, line: BillLine) -> None:
        """Count one more line."""
        self.lines += 1
        if line.kind == "bad_debt":
            return
        self.fee_fen += line.fee_fen
        if line.kind == "payment":
            self.total_fen += line.amount_fen
        else:
            self.refund_fen += line.amount_fen


class Bill(Struct, frozen=True):
    """A whole trade bill in memory, its totals checked. The sums are those of BillSums."""

    lines: tuple[BillLine, ...]
    total_fen: int
    refund_fen: int
    fee_fen: int

    @classmethod
    def of(cls, lines: Iterable[BillLine]) -> Self:
        """Return the bill of all these lines. What ``lines`` raises at its end comes through."""
        whole, sums = tuple(lines), BillSums()
        for line in whole:
            sums.add(line)
        return cls(whole, sums.total_fen, sums.refund_fen, sums.fee_fen)


class BillRefused(Refused):
    """The whole file is refused: nothing of it may be booked.

    Codes: ``bill_digest`` (not the file that was announced), ``bill_cut`` (summary missing or totals differ), ``bill_form`` (a row
    or header that cannot be read), ``bill_too_large``.
    """

    code: ClassVar[str] = "bill_form"


class Unsupported(Exception):
    """An adapter was asked for what its ``supports`` does not name: a mistake in our own code."""


class Channel(Generic[K]):
    """One payment channel's wire. Every method is pure: same arguments, same bytes.

    An adapter overrides the methods of the operations that it ``supports``; the others raise Unsupported. ``parse_*`` never raises
    for what came from outside: it says ``unknown`` with a reason. Only the bill file methods raise BillRefused, because a file is
    taken whole or not at all. ``parse_*`` accepts Unanswered, so that a call has one path. A ``build_*`` or ``parse_*`` picks
    the keys of a merchant account out of ``keys`` by ``key_ref`` and ``merchant_no``.
    """

    name: str
    provider_no: str
    """Who we are at the channel; every Result carries it once the adapter has seen that the message is for us."""
    supports: frozenset[Operation]
    ways: frozenset[Way] = frozenset()
    """Ways of ``build_prepay``."""
    evidence_headers: frozenset[str] = frozenset()
    """Lower-case names of the headers that must be kept to verify a message again; empty where the body holds its signature."""
    body_bytes_max: int = BODY_BYTES_MAX
    """Largest notice of this channel."""
    query_after: tuple[timedelta, ...] | None = None
    """From one query to the next, where the channel asks for its own schedule; None: as the settings say."""
    amount_fen_max: int = 100_000_000
    """Most that one order may have."""
    legs_max: int = 1
    """Most legs of a combined order."""
    mandates_by_payer: bool = False
    """Whether a mandate query must name the payer: where only the plate is known the channel cannot be asked."""
    bills_by: Literal["provider", "merchant"] = "provider"
    """Whether one trade bill covers all operators, or each merchant account has its own."""

    # Notices

    def parse_callback(self, headers: Mapping[str, str], body: bytes, *, keys: K, now: datetime) -> Reading:
        """Read a notice. Header names are lower case; ``body`` is exactly what came in."""
        raise self._unsupported(Operation.CALLBACK)

    def ack(
        self,
        *,
        accepted: bool,
        reason: str | None = None,
        reading: Reading | None = None,
        keys: K | None = None,
        now: datetime | None = None,
    ) -> Answer:
        """Return the channel's exact answer to a notice; a negative one makes it come again.

        ``reading``, ``keys`` and ``now`` are given when the notice was read; a channel that signs its answers needs them.
        """
        raise self._unsupported(Operation.CALLBACK)

    # Orders

    def build_prepay(self, order: PrepayOrder, *, keys: K, now: datetime, nonce: str) -> Request | HandOff:
        """Return the call that makes an order; or at once what the payer's browser itself takes to the channel, signed."""
        raise self._unsupported(Operation.PREPAY)

    def parse_prepay(self, answer: Answer | Unanswered, *, order: PrepayOrder, keys: K, now: datetime, nonce: str) -> PrepayOutcome:
        raise self._unsupported(Operation.PREPAY)

    def build_combined(self, order: CombinedOrder, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.COMBINE)

    def parse_combined(
        self, answer: Answer | Unanswered, *, order: CombinedOrder, keys: K, now: datetime, nonce: str
    ) -> PrepayOutcome:
        raise self._unsupported(Operation.COMBINE)

    def build_combined_query(self, order: CombinedRef, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.COMBINE)

    def parse_combined_query(self, answer: Answer | Unanswered, *, order: CombinedRef, keys: K, now: datetime) -> Reading:
        """Read what the channel says: one result per leg, in the order of ``order.legs``."""
        raise self._unsupported(Operation.COMBINE)

    def build_combined_close(self, order: CombinedRef, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.COMBINE)

    def parse_combined_close(self, answer: Answer | Unanswered, *, order: CombinedRef, keys: K, now: datetime) -> CloseOutcome:
        raise self._unsupported(Operation.COMBINE)

    def build_query(self, order: OrderRef, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.QUERY)

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: K, now: datetime) -> Reading:
        """Read what the channel says about an order. ``not_found`` only when nobody can pay it any more or ever could."""
        raise self._unsupported(Operation.QUERY)

    def build_close(self, order: OrderRef, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.CLOSE)

    def parse_close(self, answer: Answer | Unanswered, *, order: OrderRef, keys: K, now: datetime) -> CloseOutcome:
        raise self._unsupported(Operation.CLOSE)

    def build_cancel(self, order: OrderRef, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.CANCEL)

    def parse_cancel(self, answer: Answer | Unanswered, *, order: OrderRef, keys: K, now: datetime) -> CloseOutcome:
        """Read the answer: ``closed`` means that nobody has paid or the money goes back; query afterwards all the same."""
        raise self._unsupported(Operation.CANCEL)

    # Mandates

    def build_mandate_query(self, mandate: MandateRef, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.MANDATE_QUERY)

    def parse_mandate_query(self, answer: Answer | Unanswered, *, mandate: MandateRef, keys: K, now: datetime) -> MandateOutcome:
        raise self._unsupported(Operation.MANDATE_QUERY)

    def sign_hand_off(self, mandate: MandateRef, *, return_url: str) -> HandOff:
        """Return the channel's own page for a payer's mandate; nothing is sent. Who comes back from it proves nothing: ask.

        ``mandate`` names its payer. ``none``: the channel's contract gave no address, and the payer opens it in the wallet by hand.
        """
        raise self._unsupported(Operation.MANDATE_SIGN)

    def build_entry(self, entrance: Entrance, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.ENTRY)

    def parse_entry(self, answer: Answer | Unanswered, *, entrance: Entrance, keys: K, now: datetime) -> EntryOutcome:
        raise self._unsupported(Operation.ENTRY)

    def build_deduct(self, deduction: Deduction, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.DEDUCT)

    def parse_deduct(self, answer: Answer | Unanswered, *, deduction: Deduction, keys: K, now: datetime) -> Reading:
        """Read the answer to a deduction: a result with ``succeeded``, ``pending`` (taken on) or ``failed``, or none (unknown).

        Ask with ``build_query`` and ``Way.DEDUCTION`` until it is decided.
        """
        raise self._unsupported(Operation.DEDUCT)

    # Refunds

    def build_refund(self, refund: RefundOrder, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.REFUND)

    def parse_refund(self, answer: Answer | Unanswered, *, refund: RefundOrder, keys: K, now: datetime) -> Reading:
        """Read the answer to a refund: ``refund`` of the reading is there unless the answer proves nothing."""
        raise self._unsupported(Operation.REFUND)

    def build_refund_query(self, refund: RefundRef, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.REFUND_QUERY)

    def parse_refund_query(self, answer: Answer | Unanswered, *, refund: RefundRef, keys: K, now: datetime) -> Reading:
        raise self._unsupported(Operation.REFUND_QUERY)

    # Bills

    def build_bill(self, bill: BillRequest, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.BILL)

    def parse_bill_link(
        self, answer: Answer | Unanswered, *, bill: BillRequest, keys: K, now: datetime
    ) -> BillLink | BillInline | BillAbsent:
        """Read where the file is; or the file itself. Raises BillRefused when the file came with the answer and is not whole."""
        raise self._unsupported(Operation.BILL)

    def build_bill_download(self, link: BillLink, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.BILL_FILE)

    def open_bill_parts(self, status: int, parts: Iterable[bytes], *, link: BillLink) -> Iterator[bytes]:
        """Yield a fetched file as it is kept, part by part. It may be kept only when the end is reached.

        ``status`` is the answer's, ``parts`` are its body. Raises BillRefused, at the end when the digest is not the announced one.
        """
        raise self._unsupported(Operation.BILL_FILE)

    def open_bill(self, answer: Answer, *, link: BillLink) -> bytes:
        """Return a whole fetched file as it is kept: for small ones. Raises BillRefused as ``open_bill_parts``."""
        return b"".join(self.open_bill_parts(answer.status, [answer.body], link=link))

    def read_bill(self, file: BinaryIO, *, bill: BillRequest) -> Iterator[BillLine]:
        """Yield a kept file's lines one by one, in memory that does not grow with them. ``file`` stands at its begin and can seek.

        Raises BillRefused for a file that is cut, whose totals differ, or that is another one's: possibly after all lines, so
        nothing may be booked before the end is reached.
        """
        raise self._unsupported(Operation.BILL_FILE)

    def parse_bill(self, content: bytes, *, bill: BillRequest) -> Bill:
        """Read a whole small file at once. Raises BillRefused as ``read_bill``."""
        return Bill.of(self.read_bill(BytesIO(content), bill=bill))

    def bill_period(self, bill_on: date) -> tuple[datetime, datetime]:
        """Return the first moment of a bill's day and the first after it: midnights in China, unless it is cut elsewhere."""
        begin = datetime(bill_on.year, bill_on.month, bill_on.day, tzinfo=CHINA).astimezone(UTC)
        return begin, begin + timedelta(days=1)

    def build_fund_bill(self, bill: FundBillRequest, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.FUND_BILL)

    def parse_fund_bill_link(
        self, answer: Answer | Unanswered, *, bill: FundBillRequest, keys: K, now: datetime
    ) -> BillLink | BillAbsent:
        raise self._unsupported(Operation.FUND_BILL)

    def parse_fund_bill(self, content: bytes, *, bill: FundBillRequest, keys: K) -> FundBill:
        """Read (and where it is encrypted, decrypt) the whole file. Raises BillRefused."""
        raise self._unsupported(Operation.FUND_BILL)

    # Keys

    def build_certificates(self, *, keys: K, now: datetime, nonce: str) -> Request:
        raise self._unsupported(Operation.CERTIFICATES)

    def parse_certificates(self, answer: Answer | Unanswered, *, keys: K, now: datetime) -> tuple[VerificationKey, ...] | None:
        """Return the certificates that the channel signs with (none for some providers), or None when the answer proves nothing."""
        raise self._unsupported(Operation.CERTIFICATES)

    def _unsupported(self, operation: Operation) -> Unsupported:
        return Unsupported(f"channel {self.name} has no {operation.value}")


AnyChannel = Channel[Any]
