"""The ETC adapter: charges by plate, their queries and notices, refunds, plates' signatures, the reconciliation file.

Joins line, services and recon to the neutral contract; must not know network, clock, database or settings.
Called through the contract by payments, reconciliation and the application. Charges by card go up in packages, beside the contract:
``gateways.etc.uploads``; status lists: ``gateways.etc.lists``. Source: docs/ETC.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import urljoin

import msgspec
from msgspec import Struct

from gateways.contract import (
    Answer,
    BillAbsent,
    BillInline,
    BillLine,
    BillLink,
    BillRefused,
    BillRequest,
    Channel,
    ChannelState,
    Deduction,
    MandateOutcome,
    MandateRef,
    Operation,
    OrderRef,
    Reading,
    RefundOrder,
    RefundRef,
    RefundResult,
    RefundState,
    Request,
    Result,
    Unanswered,
    Verdict,
)
from gateways.etc import envelope, line, orders, recon, services
from gateways.etc.clearing import BookingResult, ClearingStatistics, DisputeResult
from gateways.etc.codes import Receipt, RefundRefusal, Rejection
from gateways.etc.envelope import Head
from gateways.etc.keys import EtcKeys
from gateways.etc.line import Provider as Provider
from gateways.etc.orders import DeductionRefused as DeductionRefused
from gateways.etc.services import CALLED_BY_US, PLATE_STATES, PlatePayNotice, PlatePayState, PlateState, Service
from gateways.keys import SigningFailed
from ledger.clock import CHINA

_ACKS: Final[dict[str, Receipt]] = {word: receipt for receipt, word in line.OBJECTIONS.items()} | {
    "field_missing": Receipt.SCHEMA_INVALID,
    "contradiction": Receipt.CONTENT_WRONG,
    "event_unknown": Receipt.HEADER_WRONG,
    "other_sender": Receipt.HEADER_WRONG,
    "package_unknown": Receipt.CONTENT_WRONG,
    "booking_refused": Receipt.CONTENT_WRONG,
    "dispute_refused": Receipt.CONTENT_WRONG,
    "clearing_disagrees": Receipt.CLEARING_DISAGREES,
}
"""What we answer to a notice that is not taken; whatever is not listed here is ``BUSY``: it comes again."""
_UNSIGNED_STATUS: Final = {
    "signature": 401, "stale": 401, "serial_unknown": 401, "other_sender": 401,
    "not_json": 400, "header_missing": 400, "version": 400, "event_unknown": 400,
}  # fmt: skip
_REFUSED_REFUNDS: Final[dict[RefundRefusal | None, RefundState]] = {
    None: RefundState.CLOSED,
    RefundRefusal.NOT_CLEARED: RefundState.LATER,
    RefundRefusal.ABOVE_REST: RefundState.REFUSED,
    RefundRefusal.NO_CHARGE: RefundState.REFUSED,
    RefundRefusal.ISSUER: RefundState.CLOSED,
    RefundRefusal.ACCOUNT: RefundState.STUCK,
}
_CLEARING_KINDS: Final[dict[str, type[Struct]]] = {
    Service.ACCOUNT_RESULT: BookingResult,
    Service.DISPUTE_RESULT: DisputeResult,
    Service.CLEAR_STAT: ClearingStatistics,
}
_READ_HERE: Final = frozenset({*_CLEARING_KINDS, Service.PLATE_PAY_NOTIFY, Service.REFUND_RESULT})

T = TypeVar("T", bound=Struct)


class Etc(Channel[EtcKeys]):
    """The adapter. It holds who we are and nothing that changes; see ``gateways.contract.Channel`` for each method's effect."""

    name: str = "etc"
    supports: frozenset[Operation] = frozenset({
        Operation.CALLBACK, Operation.DEDUCT, Operation.QUERY, Operation.MANDATE_QUERY, Operation.REFUND, Operation.REFUND_QUERY,
        Operation.BILL, Operation.BILL_FILE,
    })  # fmt: skip
    body_bytes_max: int = envelope.BODY_BYTES_MAX
    bills_by = "merchant"

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.provider_no = provider.sender_id
        self.amount_fen_max = provider.cap_fen

    # Notices

    def parse_callback(self, headers: Mapping[str, str], body: bytes, *, keys: EtcKeys, now: datetime) -> Reading:
        """Read a notice of a charge by plate, a refund, or of clearing.

        Booking results, dispute results and clearing statistics come as ``clearing``: form and sums agree in themselves; whether
        they agree with what was sent is for whoever sent the packages. ``reply_to`` is the head that ``ack`` answers: there is one
        when the message says that it is the clearing party's and calls a service of ours, so that nobody else
        can have something signed by us. Source: docs/ETC.md, section 8.
        """
        head = envelope.claimed_head(body)
        if head is None:
            return Reading(verdict="refused", reason="not_json")
        reply_to = msgspec.json.encode(head) if self._may_reply(head) else None
        opened = envelope.open_envelope(
            body, service=head.msg_type, receiver=self.provider.sender_id, keys=keys.theirs, now=now
        )  # fmt: skip
        if isinstance(opened, Rejection):
            return Reading(verdict="refused", reason=line.OBJECTIONS[opened.result], reply_to=reply_to)
        if head.sender_id != self.provider.receiver_id:
            return Reading(verdict="refused", reason="other_sender", reply_to=reply_to)
        return msgspec.structs.replace(self._read_notice(head.msg_type, opened.body), reply_to=reply_to)

    def _may_reply(self, head: Head) -> bool:
        return head.sender_id == self.provider.receiver_id and head.msg_type not in CALLED_BY_US

    def _read_notice(self, service: str, body: Mapping[str, Any]) -> Reading:
        if service not in _READ_HERE:
            return Reading(verdict="verified", reason="event_unknown")
        if service == Service.PLATE_PAY_NOTIFY:
            return _reading_of(PlatePayNotice, body, lambda notice: Reading(verdict="verified", results=(self._result(notice),)))
        if service == Service.REFUND_RESULT:
            return _reading_of(
                services.RefundResult, body, lambda told: Reading(verdict="verified", refund=self._refund_result(told, ""))
            )
        return _reading_of(_CLEARING_KINDS[service], body, lambda message: Reading(verdict="verified", clearing=message))

    def ack(
        self,
        *,
        accepted: bool,
        reason: str | None = None,
        reading: Reading | None = None,
        keys: EtcKeys | None = None,
        now: datetime | None = None,
    ) -> Answer:
        """Return our signed reply: 1 when taken, else what was wrong with the message, or 34 so that it comes again.

        Without reading, keys or time, for a message that has no ``reply_to``, and when our key does not sign, the answer is not
        signed: 401 or 400 for a message that was not proven, else 503, and the message comes again.
        """
        head = None if reading is None or reading.reply_to is None else _head(reading.reply_to)
        if head is None or keys is None or now is None:
            return _unsigned(None if accepted else reason)
        result = Receipt.ACCEPTED if accepted else _ACKS.get(reason or "", Receipt.BUSY)
        number = line.message_no(Service.PLATE_PAY_NOTIFY, "reply", f"{head.sender_id} {head.msg_id} {result:d}")
        try:
            key = keys.own(None)
            ours = envelope.head_for(
                head.msg_type, msg_id=number, sender=self.provider.sender_id, receiver=head.sender_id, key=key, now=now
            )  # fmt: skip
            body = envelope.seal(envelope.reply_body(head, result, reason=reason or ""), head=ours, key=key)
        except (SigningFailed, ValueError):
            return _unsigned(None)
        return Answer(status=envelope.http_status(result), headers=line.JSON, body=body)

    # Charges by plate

    def build_deduct(self, deduction: Deduction, *, keys: EtcKeys, now: datetime, nonce: str) -> Request:
        """Ask for a charge by plate. Number and content depend on the deduction alone: a repeat is the same message again.

        Raises:
            DeductionRefused: more than the cap, or something that ETC cannot carry; nothing was built.
            SigningFailed: nothing was sent.
        """
        body = orders.plate_pay(deduction, self.provider)
        msg_id = line.message_no(Service.PLATE_PAY, deduction.order_no, envelope.canonical(body).decode())
        return line.request(self.provider, Service.PLATE_PAY, body, msg_id=msg_id, key=keys.own(deduction.key_ref), now=now)

    def parse_deduct(self, answer: Answer | Unanswered, *, deduction: Deduction, keys: EtcKeys, now: datetime) -> Reading:
        """Read the answer: taken on (pending), paid, or refused. A car park that is not the clearing party's is a refusal as well.

        Every other refusal of the message proves nothing of the order, because an earlier message may have brought it: query.
        """
        told = self._told(answer, Service.PLATE_PAY, deduction.order_no, keys=keys, now=now)
        if told.receipt is Receipt.NOT_OUR_LOT:
            return self._decided(told, ChannelState.FAILED, deduction.order_no, deduction.merchant_no)
        return self._read_state(told, deduction.order_no)

    def build_query(self, order: OrderRef, *, keys: EtcKeys, now: datetime, nonce: str) -> Request:
        """Ask what became of a charge by plate."""
        body = orders.plate_pay_query(order)
        return self._request(Service.PLATE_PAY_QUERY, order.order_no, body, order.key_ref, keys=keys, now=now, nonce=nonce)

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: EtcKeys, now: datetime) -> Reading:
        """Read where a charge by plate stands. An order that they do not know is ``pending`` until it expires, then ``not_found``.

        A query holds nothing but the order's number, so that "content wrong" (4) means that there is none [P].
        """
        told = self._told(answer, Service.PLATE_PAY_QUERY, order.order_no, keys=keys, now=now)
        if told.receipt is Receipt.CONTENT_WRONG:
            state = ChannelState.PENDING if now < order.expires_at else ChannelState.NOT_FOUND
            return self._decided(told, state, order.order_no, order.merchant_no, reason="order_unknown")
        return self._read_state(told, order.order_no)

    def _read_state(self, told: line.Told, order_no: str) -> Reading:
        if told.receipt is not Receipt.ACCEPTED:
            return Reading(verdict=told.verdict, reason=told.reason)
        state = services.read(PlatePayState, told.data)
        if isinstance(state, Rejection):
            return Reading(verdict="unreadable", reason="field_missing")
        if state.order_no != order_no:
            return Reading(verdict="unreadable", reason="other_order")
        return Reading(verdict="verified", results=(self._result(state),), reason=_word(state))

    def _decided(
        self, told: line.Told, state: ChannelState, order_no: str, merchant_no: str, *, reason: str | None = None
    ) -> Reading:  # fmt: skip
        result = Result(self.name, state, order_no, self.provider_no, merchant_no)
        return Reading(verdict=told.verdict, reason=reason or told.reason, results=(result,))

    def _result(self, told: PlatePayState | PlatePayNotice) -> Result:
        """Return the neutral result. A charge by plate is named by our order number everywhere, in their files too."""
        is_paid = told.state is PlateState.PAID
        return Result(
            channel=self.name,
            state=PLATE_STATES[told.state],
            order_no=told.order_no,
            provider_no=self.provider_no,
            merchant_no=told.merchant_no,
            trade_no=told.order_no,
            amount_fen=told.fee_fen,
            currency="CNY",
            happened_at=told.paid_at.astimezone(UTC) if is_paid and told.paid_at is not None else None,
        )

    # Plates

    def build_mandate_query(self, mandate: MandateRef, *, keys: EtcKeys, now: datetime, nonce: str) -> Request:
        """Ask whether a plate may be charged [P]. Raises DeductionRefused for a plate or colour that ETC cannot carry."""
        body = orders.plate_sign_query(mandate)
        return self._request(
            Service.PLATE_SIGN_QUERY, orders.plate_subject(mandate), body, mandate.key_ref, keys=keys, now=now, nonce=nonce
        )

    def parse_mandate_query(
        self, answer: Answer | Unanswered, *, mandate: MandateRef, keys: EtcKeys, now: datetime
    ) -> MandateOutcome:
        """Read it: signed is ``open``; not signed, or signed and on the status list, is ``none``."""
        told = self._told(answer, Service.PLATE_SIGN_QUERY, orders.plate_subject(mandate), keys=keys, now=now)
        if told.receipt is not Receipt.ACCEPTED:
            return MandateOutcome(told.verdict, "unknown", reason=told.reason)
        signed = services.read(services.PlateSigned, told.data)
        if isinstance(signed, Rejection):
            return MandateOutcome("unreadable", "unknown", reason="field_missing")
        if (signed.plate, signed.colour) != (mandate.plate, orders.COLOURS.get(mandate.plate_color)):
            return MandateOutcome("unreadable", "unknown", reason="other_order")
        if signed.state == "SIGNED":
            return MandateOutcome("verified", "open", mandate_no=signed.sign_no)
        return MandateOutcome("verified", "none", word=signed.state)

    # Refunds

    def build_refund(self, refund: RefundOrder, *, keys: EtcKeys, now: datetime, nonce: str) -> Request:
        """Ask for a refund. The refund number makes repeats one refund.

        Each call is a message of its own, so that one that came before the clearing can be asked for again.
        """
        body = orders.refund_apply(refund)
        return self._request(Service.REFUND_APPLY, refund.refund_no, body, refund.key_ref, keys=keys, now=now, nonce=nonce)

    def parse_refund(self, answer: Answer | Unanswered, *, refund: RefundOrder, keys: EtcKeys, now: datetime) -> Reading:
        """Read the answer to a refund. Before clearing it is ``later``: ask again under the same number on another day."""
        told = self._told(answer, Service.REFUND_APPLY, refund.refund_no, keys=keys, now=now)
        return self._read_refund(told, refund.refund_no, refund.merchant_no, now)

    def build_refund_query(self, refund: RefundRef, *, keys: EtcKeys, now: datetime, nonce: str) -> Request:
        """Ask for a refund by our number [P]."""
        body = orders.refund_query(refund)
        return self._request(Service.REFUND_QUERY, refund.refund_no, body, refund.key_ref, keys=keys, now=now, nonce=nonce)

    def parse_refund_query(self, answer: Answer | Unanswered, *, refund: RefundRef, keys: EtcKeys, now: datetime) -> Reading:
        """Read where a refund stands. "Content wrong" (4) means that there is none, as with a charge."""
        told = self._told(answer, Service.REFUND_QUERY, refund.refund_no, keys=keys, now=now)
        if told.receipt is Receipt.CONTENT_WRONG:
            absent = RefundResult(
                self.name, RefundState.NOT_FOUND, refund.refund_no, self.provider_no, refund.merchant_no,
                order_no=refund.order_no, trade_no=refund.trade_no,
            )  # fmt: skip
            return Reading(verdict=told.verdict, reason="refund_unknown", refund=absent)
        return self._read_refund(told, refund.refund_no, refund.merchant_no, now)

    def _read_refund(self, told: line.Told, refund_no: str, merchant_no: str, now: datetime) -> Reading:
        if told.receipt is not Receipt.ACCEPTED:
            return Reading(verdict=told.verdict, reason=told.reason)
        result = services.read(services.RefundResult, told.data)
        if isinstance(result, Rejection):
            return Reading(verdict="unreadable", reason="field_missing")
        if result.refund_no != refund_no:
            return Reading(verdict="unreadable", reason="other_refund")
        refund = self._refund_result(result, merchant_no)
        if refund.state is RefundState.LATER:
            refund = msgspec.structs.replace(refund, again_at=_next_clearing(now))
        return Reading(verdict="verified", refund=refund)

    def _refund_result(self, told: services.RefundResult, merchant_no: str) -> RefundResult:
        """Return the neutral refund; ``merchant_no`` stands in where the message names none, because it knows no charge."""
        states = {"ACCEPTED": RefundState.PENDING, "DONE": RefundState.DONE}
        state = states.get(told.state) or _REFUSED_REFUNDS[told.reason]
        return RefundResult(
            channel=self.name,
            state=state,
            refund_no=told.refund_no,
            provider_no=self.provider_no,
            merchant_no=told.merchant_no or merchant_no,
            order_no=told.order_no or told.charge_id,
            trade_no=told.order_no or told.charge_id,
            refund_fen=told.refund_fen,
            happened_at=None if told.done_at is None else told.done_at.astimezone(UTC),
            word=told.state if told.reason is None else f"{told.state} {told.reason}",
        )

    # Bills

    def build_bill(self, bill: BillRequest, *, keys: EtcKeys, now: datetime, nonce: str) -> Request:
        """Ask where an operator's reconciliation file of a clearing date is; it is there from 09:00 (China) on the next day."""
        body = orders.recon_file(bill)
        return self._request(Service.RECON_FILE, orders.file_subject(bill), body, bill.key_ref, keys=keys, now=now, nonce=nonce)

    def parse_bill_link(
        self, answer: Answer | Unanswered, *, bill: BillRequest, keys: EtcKeys, now: datetime
    ) -> BillLink | BillInline | BillAbsent:
        told = self._told(answer, Service.RECON_FILE, orders.file_subject(bill), keys=keys, now=now)
        if told.receipt is not Receipt.ACCEPTED:
            return BillAbsent("not_ready" if told.receipt is Receipt.BUSY else told.reason or "error_unlisted")
        link = services.read(services.ReconFileLink, told.data)
        if isinstance(link, Rejection):
            return BillAbsent("field_missing")
        if link.file_name != orders.file_subject(bill):
            return BillAbsent("other_bill")
        return BillLink(url=urljoin(self.provider.api_url, link.url), digest_kind="SM3", digest=link.sm3, compressed=False)

    def build_bill_download(self, link: BillLink, *, keys: EtcKeys, now: datetime, nonce: str) -> Request:
        """Fetch the file at the address given, verbatim; its digest came signed."""
        return Request(method="GET", url=link.url, headers={"accept": "text/plain", "user-agent": line.USER_AGENT})

    def open_bill_parts(self, status: int, parts: Iterable[bytes], *, link: BillLink) -> Iterator[bytes]:
        """Yield the file; its end is reached when its SM3 is the announced one."""
        if status != 200:
            raise BillRefused(f"the bill file was answered with status {status}; ask for a new link", code="bill_digest")
        if link.digest_kind != "SM3":
            raise BillRefused(f"the digest of the bill is {link.digest_kind}, not SM3", code="bill_digest")
        yield from recon.proven(parts, link.digest)

    def read_bill(self, file: BinaryIO, *, bill: BillRequest) -> Iterator[BillLine]:
        """Read cleared payments and refunds. What is bad or pending is told apart by ``recon.lines``."""
        if bill.merchant_no is None:
            raise BillRefused("an ETC reconciliation file is one merchant's")
        return recon.bill_lines(file, merchant_no=bill.merchant_no, clear_on=bill.bill_on)

    # Inside

    def _request(
        self,
        service: Service,
        subject: str,
        body: Mapping[str, Any],
        key_ref: str | None,
        *,
        keys: EtcKeys,
        now: datetime,
        nonce: str,
    ) -> Request:
        msg_id = line.message_no(service, subject, nonce)
        return line.request(self.provider, service, body, msg_id=msg_id, key=keys.own(key_ref), now=now)

    def _told(
        self, answer: Answer | Unanswered, service: Service, subject: str, *, keys: EtcKeys, now: datetime
    ) -> line.Told:  # fmt: skip
        return line.told(
            self.provider, answer, service, keys=keys, now=now, is_ours=lambda number: line.is_about(number, service, subject)
        )


def _reading_of(kind: type[T], body: Mapping[str, Any], then: Callable[[T], Reading]) -> Reading:
    message = services.read(kind, body)
    if not isinstance(message, Rejection):
        return then(message)
    verdict: Verdict = "unreadable"
    return Reading(verdict=verdict, reason="field_missing" if message.result is Receipt.SCHEMA_INVALID else "contradiction")


def _word(told: PlatePayState) -> str | None:
    """Return the issuer's reason as a word for a person."""
    return None if told.reason is None else f"booking_{told.reason.name.lower()}"


def _next_clearing(now: datetime) -> datetime:
    """Return when a charge that is not cleared may be: on the next day (China), once files are there."""
    tomorrow = (now.astimezone(CHINA) + timedelta(days=1)).date()
    return datetime.combine(tomorrow, time(recon.READY_AT_HOUR, 10), CHINA).astimezone(UTC)


def _head(reply_to: bytes) -> Head | None:
    try:
        return msgspec.json.decode(reply_to, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _unsigned(reason: str | None) -> Answer:
    return Answer(status=_UNSIGNED_STATUS.get(reason or "", 503), headers={"content-type": "text/plain"}, body=b"not taken")
