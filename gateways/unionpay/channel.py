"""The UnionPay adapter: WAP orders, codes shown and scanned, query, reversal, refund, notices, clearing files.

Joins wire, sign and bill to the neutral contract; must not know network, clock, database or settings.
Called through the contract by payments, reconciliation and the application.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import BinaryIO, Final

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
    CloseOutcome,
    HandOff,
    Operation,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    Reading,
    RefundOrder,
    RefundRef,
    RefundResult,
    RefundState,
    Request,
    Result,
    Unanswered,
    Unsupported,
    Verdict,
    Way,
)
from gateways.unionpay import answers, refunds, sign, wire
from gateways.unionpay import bill as bill_file
from gateways.unionpay.answers import Meaning
from gateways.unionpay.keys import UnionPayKeys
from gateways.unionpay.wire import OrderKey, Product
from ledger.clock import CHINA

CONTENT_TYPE: Final = "application/x-www-form-urlencoded;charset=UTF-8"
FINAL_MARGIN: Final = timedelta(minutes=5)
"""Time after payTimeout until "not found" and "failed" are believed: clocks differ, and a last payment may be on its way."""
EMPTY_FROM: Final = time(18, 0)
"""In China on the day after a clearing day: files are there from about 09:00, so what is still absent then was an empty day."""

_PLAIN: Final = {"content-type": "text/plain; charset=utf-8"}
_ACCEPTED: Final = Answer(status=200, headers=_PLAIN, body=b"ok")
_NOT_PROVEN: Final = frozenset(sign.Objection)
_MALFORMED: Final = frozenset({"not_form", "field_missing"})
_PRODUCTS: Final = {Way.BROWSER: Product.WAP, Way.IN_WALLET: Product.WAP, Way.CODE: Product.QR, Way.SCANNED: Product.QR}
_CURRENCIES: Final = {wire.CURRENCY: "CNY"}
_PAYMENT, _REFUND, _CANCEL, _REVERSAL, _FILE = "01", "04", "31", "99", "76"
_BY_PAYER: Final = "by_payer"


class Provider(Struct, frozen=True, kw_only=True):
    """Who we are at UnionPay. ``notify_url`` (backUrl) takes all notices, without a query string, never redirected."""

    provider_no: str
    """What this installation goes by: ``acquirer_no`` where we are an institution, else a name of our own, always the same."""
    notify_url: str
    acquirer_no: str | None = None
    """acqInsCode. With it, merchant accounts without keys of their own are asked for as accessType 1; without it as 0."""
    terminal_no: str = "00000001"
    """termId of codes shown and scanned: 8 letters and digits; the clearing file repeats it."""
    gateway_url: str = wire.GATEWAY_URL
    file_url: str = wire.FILE_URL


class _Opened(Struct, frozen=True):
    """An answer after its signature was looked at. ``told`` is there exactly when there is no reason against it."""

    verdict: Verdict
    reason: str | None = None
    told: answers.Transaction | None = None
    fields: Mapping[str, str] = {}


class _PaymentKnown(Struct, frozen=True):
    """What a cancel must know of the payment that it undoes."""

    query_id: str
    amount_fen: int
    paid_at: datetime


class UnionPay(Channel[UnionPayKeys]):
    """The adapter. It holds who we are and nothing that changes; see ``gateways.contract.Channel`` for each method's effect.

    An order dies at its payTimeout: there is no close. Cancel is 消费撤销 of a payment that is known, on its clearing day, and else
    a reversal 冲正 of a charge of the payer's code.
    """

    name: str = "unionpay"
    supports: frozenset[Operation] = frozenset({
        Operation.CALLBACK, Operation.PREPAY, Operation.QUERY, Operation.CANCEL, Operation.REFUND, Operation.REFUND_QUERY,
        Operation.BILL,
    })  # fmt: skip
    ways: frozenset[Way] = frozenset(_PRODUCTS)
    query_after: tuple[timedelta, ...] | None = tuple(
        timedelta(minutes=later - earlier)
        for earlier, later in zip((0, *wire.BROWSER_QUERY_MINUTES), wire.BROWSER_QUERY_MINUTES, strict=False)
    )
    bills_by = "merchant"

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.provider_no = provider.provider_no

    # Notices

    def parse_callback(self, headers: Mapping[str, str], body: bytes, *, keys: UnionPayKeys, now: datetime) -> Reading:
        """Read a notice of a payment or a refund: both come to the same address. Only successes are notified.

        Other genuine notices (a cancel from the merchant's console) are ``event_unknown``. Source: ACP 5.1.0, 后台通知.
        """
        fields = sign.form_fields(body)
        if fields is None:
            return Reading(verdict="refused", reason="not_form")
        if (objection := sign.objection(fields, certificates=keys.certificates, now=now)) is not None:
            return Reading(verdict="refused", reason=objection.value)
        told = answers.transaction(fields)
        if told is None:
            return Reading(verdict="unreadable", reason="field_missing")
        if not self._for_us(told):
            return Reading(verdict="unreadable", reason="other_provider")
        if told.txn_type == _PAYMENT:
            return self._read_payment_notice(told)
        return self._read_refund_notice(told) if told.txn_type == _REFUND else Reading(verdict="verified", reason="event_unknown")

    def _read_payment_notice(self, told: answers.Transaction) -> Reading:
        if told.currency_code is None:
            return Reading(verdict="unreadable", reason="field_missing")
        return _payments(self._result(told, answers.notice_state(told.resp_code)))

    def _read_refund_notice(self, told: answers.Transaction) -> Reading:
        if told.currency_code != wire.CURRENCY:
            return Reading(verdict="unreadable", reason="field_missing" if told.currency_code is None else "currency")
        paid = answers.notice_state(told.resp_code) is ChannelState.SUCCEEDED
        return _refunds(self._refund_result(told, RefundState.DONE if paid else RefundState.UNKNOWN, told.resp_code))

    def ack(
        self,
        *,
        accepted: bool,
        reason: str | None = None,
        reading: Reading | None = None,
        keys: UnionPayKeys | None = None,
        now: datetime | None = None,
    ) -> Answer:
        """Return 200, or what makes it come again a few times: 401 (not proven genuine), 400 (malformed), 500 (not taken)."""
        if accepted:
            return _ACCEPTED
        status = 401 if reason in _NOT_PROVEN else 400 if reason in _MALFORMED else 500
        return Answer(status=status, headers=_PLAIN, body=(reason or "not accepted").encode())

    # Orders

    def build_prepay(self, order: PrepayOrder, *, keys: UnionPayKeys, now: datetime, nonce: str) -> Request | HandOff:
        """Sign an order: a form for the payer's browser, or the call for a code or of a payer's code.

        Inside a UnionPay app the browser's form is used too: it needs no product that must be ordered apart. The message follows
        from the order alone, so a repeat is identical. Raises ValueError for a payer's code of another form than 62 and 17 digits.
        """
        party, wanted = self._party(order.merchant_no, order.key_ref), self._order(order)
        if order.way is Way.CODE:
            return self._request(wire.BACK_PATH, wire.qr_code(party, wanted), keys, order.key_ref)
        if order.way is Way.SCANNED:
            charge = wire.qr_charge(party, wanted, payer_code=order.payer_id or "")
            return self._request(wire.BACK_PATH, charge, keys, order.key_ref)
        self._check_way(order.way)
        fields = _signed(wire.browser_payment(party, wanted), keys, order.key_ref)
        return HandOff(kind="form", fields=fields, url=self.provider.gateway_url + wire.FRONT_PATH)

    def _order(self, order: PrepayOrder) -> wire.Order:
        scanning = order.way in (Way.CODE, Way.SCANNED)
        return wire.Order(
            key=OrderKey(order.order_no, order.created_at),
            amount_fen=order.amount_fen,
            notify_url=self.provider.notify_url,
            expires_at=order.expires_at,
            return_url=None if scanning else order.return_url,
            terminal_no=self.provider.terminal_no if scanning else None,
            attach=None if order.attach is None else wire.without_groups(order.attach),
        )

    def parse_prepay(
        self,
        answer: Answer | Unanswered,
        *,
        order: PrepayOrder,
        keys: UnionPayKeys,
        now: datetime,
        nonce: str,
    ) -> PrepayOutcome:
        """Read the answer to an order for a code, or to a charge of the payer's code: 00 is taken on, never paid."""
        key = OrderKey(order.order_no, order.created_at)
        opened = self._of(self._open(answer, keys=keys, now=now), order.merchant_no, key, _PAYMENT, other="other_order")
        if opened.told is None:
            return PrepayOutcome(verdict=opened.verdict, state=ChannelState.UNKNOWN, reason=opened.reason)
        state = answers.order_state(opened.told.resp_code)
        if state is not ChannelState.PENDING:
            return PrepayOutcome(verdict="verified", state=state, reason=_reason(opened.told.resp_code))
        if order.way is Way.SCANNED:
            return PrepayOutcome(verdict="verified", state=state, hand_off=HandOff(kind="none"))
        if order.way is not Way.CODE:
            return PrepayOutcome(verdict="verified", state=ChannelState.UNKNOWN, reason=_BY_PAYER)
        if opened.told.qr_code is None:
            return PrepayOutcome(verdict="unreadable", state=ChannelState.UNKNOWN, reason="field_missing")
        return PrepayOutcome(verdict="verified", state=state, hand_off=HandOff(kind="code", fields={"code": opened.told.qr_code}))

    def build_query(self, order: OrderRef, *, keys: UnionPayKeys, now: datetime, nonce: str) -> Request:
        """Ask for an order by its number and its time, which are its name at the channel."""
        asked = wire.query(self._party(order.merchant_no, order.key_ref), OrderKey(order.order_no, order.created_at))
        return self._request(wire.QUERY_PATH, asked, keys, order.key_ref)

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: UnionPayKeys, now: datetime) -> Reading:
        """Read what became of an order. Until payTimeout and a margin are over, "failed" may be one attempt, "not found" none yet.

        A charge of the payer's code has one attempt: its failure counts at once.
        """
        key = OrderKey(order.order_no, order.created_at)
        opened = self._of(self._open(answer, keys=keys, now=now), order.merchant_no, key, _PAYMENT, other="other_order")
        if (told := opened.told) is None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        absent = _meaning(told.resp_code) is Meaning.NOT_FOUND
        final = now >= order.expires_at + FINAL_MARGIN or (order.way is Way.SCANNED and not absent)
        state = answers.query_state(told.resp_code, told.orig_resp_code, final=final)
        if state is ChannelState.UNKNOWN and _meaning(told.resp_code) is not Meaning.ACCEPTED:
            return Reading(verdict="verified", reason=_reason(told.resp_code))
        return _payments(self._result(told, state))

    def build_cancel(self, order: OrderRef, *, keys: UnionPayKeys, now: datetime, nonce: str) -> Request:
        """Undo a whole payment 消费撤销 that is known by its queryId, amount and time, until its clearing day is cut at 23:00.

        Its number follows from the order's and its time is the payment's: a repeat is identical and undoes nothing twice. Without
        them, or later, take back a charge of a payer's code whose result stays unknown 冲正.
        Raises Unsupported for other ways then: unpaid they end at payTimeout, paid they are refunded.
        """
        party, paid = self._party(order.merchant_no, order.key_ref), _payment_known(order)
        if paid is not None and now < wire.cut_over_after(paid.paid_at):
            self._check_way(order.way)
            undone = wire.cancel(
                party,
                OrderKey(wire.cancel_no(order.order_no), paid.paid_at),
                product=_PRODUCTS[order.way],
                payment_query_id=paid.query_id,
                amount_fen=paid.amount_fen,
                notify_url=self.provider.notify_url,
            )
        elif order.way is Way.SCANNED:
            undone = wire.reversal(party, OrderKey(order.order_no, order.created_at))
        else:
            raise Unsupported(
                f"channel {self.name} takes back a charge of a payer's code, or a payment that is known, on its clearing day: "
                f"not this one of way {order.way.value}"
            )
        return self._request(wire.BACK_PATH, undone, keys, order.key_ref)

    def parse_cancel(self, answer: Answer | Unanswered, *, order: OrderRef, keys: UnionPayKeys, now: datetime) -> CloseOutcome:
        """Read the answer to a reversal: done, or done before (12). On 03, 04, 05 ask again.

        A cancel's answer never proves that the money goes back: 00 is only ``accepted``, and 45 may be a refund of a part. Ask with
        ``build_refund_query`` and ``cancel_ref`` what became of it.
        """
        answered, paid = self._open(answer, keys=keys, now=now), _payment_known(order)
        if paid is not None and answered.told is not None and answered.told.order_id == wire.cancel_no(order.order_no):
            key = OrderKey(wire.cancel_no(order.order_no), paid.paid_at)
            opened = self._of(answered, order.merchant_no, key, _CANCEL, other="other_order")
            reason = opened.reason if opened.told is None else _reason(opened.told.resp_code)
            return CloseOutcome(verdict=opened.verdict, state=ChannelState.UNKNOWN, reason=reason)
        key = OrderKey(order.order_no, order.created_at)
        opened = self._of(answered, order.merchant_no, key, _REVERSAL, other="other_order")
        if opened.told is None:
            return CloseOutcome(verdict=opened.verdict, state=ChannelState.UNKNOWN, reason=opened.reason)
        meaning = _meaning(opened.told.resp_code)
        if meaning in (Meaning.ACCEPTED, Meaning.TAKEN):
            return CloseOutcome(verdict="verified", state=ChannelState.CLOSED)
        if meaning is Meaning.NOT_FOUND and now >= order.expires_at + FINAL_MARGIN:
            return CloseOutcome(verdict="verified", state=ChannelState.NOT_FOUND, reason=meaning.value)
        return CloseOutcome(verdict="verified", state=ChannelState.UNKNOWN, reason=_reason(opened.told.resp_code))

    def cancel_ref(self, order: OrderRef) -> RefundRef:
        """Name the cancel of a payment that is known, as a refund to be asked about: done, closed, or not there.

        Raises ValueError for an order of which no payment is known: such a one has no cancel.
        """
        paid = _payment_known(order)
        if paid is None:
            raise ValueError(f"order {order.order_no} has no payment that is known")
        return RefundRef(
            refund_no=wire.cancel_no(order.order_no), order_no=order.order_no, trade_no=paid.query_id,
            merchant_no=order.merchant_no, asked_at=paid.paid_at, way=order.way, key_ref=order.key_ref,
        )  # fmt: skip

    # Refunds

    def build_refund(self, refund: RefundOrder, *, keys: UnionPayKeys, now: datetime, nonce: str) -> Request:
        """Ask for a refund. The message follows from the refund alone, so a repeat is identical and moves no second money."""
        self._check_way(refund.way)
        asked = wire.refund(
            self._party(refund.merchant_no, refund.key_ref),
            OrderKey(refund.refund_no, refund.asked_at),
            product=_PRODUCTS[refund.way],
            payment_query_id=refund.trade_no,
            amount_fen=refund.refund_fen,
            notify_url=self.provider.notify_url,
        )
        return self._request(wire.BACK_PATH, asked, keys, refund.key_ref)

    def parse_refund(self, answer: Answer | Unanswered, *, refund: RefundOrder, keys: UnionPayKeys, now: datetime) -> Reading:
        """Read the answer to a refund: 00 means taken on. A repeat of one that is there is answered 12: query it."""
        opened = self._refund_answer(answer, refund, keys=keys, now=now)
        if (told := opened.told) is None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        if told.txn_amt is not None and int(told.txn_amt) != refund.refund_fen:
            return Reading(verdict="unreadable", reason="other_refund")
        return self._read_refund(told, refunds.call_state(told.resp_code), refund, told.resp_code)

    def build_refund_query(self, refund: RefundRef, *, keys: UnionPayKeys, now: datetime, nonce: str) -> Request:
        """Ask for a refund by its number and the time when it was asked for."""
        asked = wire.query(self._party(refund.merchant_no, refund.key_ref), OrderKey(refund.refund_no, refund.asked_at))
        return self._request(wire.QUERY_PATH, asked, keys, refund.key_ref)

    def parse_refund_query(self, answer: Answer | Unanswered, *, refund: RefundRef, keys: UnionPayKeys, now: datetime) -> Reading:
        """Read what became of a refund. "No such refund" allows to ask for it again, under the same number and time."""
        opened = self._refund_answer(answer, refund, keys=keys, now=now)
        if (told := opened.told) is None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        state = refunds.query_state(told.resp_code, told.orig_resp_code)
        return self._read_refund(told, state, refund, told.orig_resp_code or told.resp_code)

    def _refund_answer(
        self, answer: Answer | Unanswered, refund: RefundOrder | RefundRef, *, keys: UnionPayKeys, now: datetime
    ) -> _Opened:
        key = OrderKey(refund.refund_no, refund.asked_at)
        kind = _CANCEL if refund.refund_no == wire.cancel_no(refund.order_no) else _REFUND
        opened = self._of(self._open(answer, keys=keys, now=now), refund.merchant_no, key, kind, other="other_refund")
        named = None if opened.told is None else opened.told.orig_qry_id
        if named is not None and named != refund.trade_no:
            return _Opened(verdict="unreadable", reason="other_refund")
        return opened

    def _read_refund(
        self, told: answers.Transaction, state: RefundState, refund: RefundOrder | RefundRef, word: str | None
    ) -> Reading:
        if state is RefundState.UNKNOWN:
            return Reading(verdict="verified", reason=_reason(word))
        return _refunds(self._refund_result(told, state, word, order_no=refund.order_no, trade_no=refund.trade_no))

    # Bills

    def build_bill(self, bill: BillRequest, *, keys: UnionPayKeys, now: datetime, nonce: str) -> Request:
        """Ask for a merchant's clearing file of a clearing day, cut at about 23:00; it is there from about 09:00 the next day."""
        if bill.merchant_no is None:
            raise ValueError("a clearing file is of one merchant: name it")
        asked = wire.clearing_file(merchant_no=bill.merchant_no, asked_at=now, settled_on=bill.bill_on)
        return self._post(self.provider.file_url + wire.FILE_PATH, _signed(asked, keys, bill.key_ref))

    def parse_bill_link(
        self, answer: Answer | Unanswered, *, bill: BillRequest, keys: UnionPayKeys, now: datetime
    ) -> BillLink | BillInline | BillAbsent:
        """Return the archive that came with the answer, as it is kept; or why there is none.

        98 and 99 do not say whether nothing happened that day or the file is not made: they are ``not_ready`` until EMPTY_FROM.
        """
        opened = self._open(answer, keys=keys, now=now)
        if (told := opened.told) is None:
            return BillAbsent(reason=opened.reason or "field_missing")
        settled = opened.fields.get("settleDate")
        if told.mer_id != bill.merchant_no or told.txn_type not in (None, _FILE) or settled not in (None, _month_day(bill)):
            return BillAbsent(reason="other_bill")
        meaning = _meaning(told.resp_code)
        if meaning is Meaning.FILE_ABSENT:
            return BillAbsent(reason="empty" if now >= _empty_from(bill) else "not_ready")
        content = opened.fields.get("fileContent")
        if meaning is not Meaning.ACCEPTED or not content:
            return BillAbsent(reason="field_missing" if meaning is Meaning.ACCEPTED else _reason(told.resp_code))
        return BillInline(content=bill_file.unpacked(content))

    def read_bill(self, file: BinaryIO, *, bill: BillRequest) -> Iterator[BillLine]:
        """Read the archive's transactions and disputes. Raises BillRefused; also when no merchant is named: a file is of one."""
        if bill.merchant_no is None:
            raise BillRefused("a clearing file is of one merchant, and none was named")
        return bill_file.lines(file, merchant_no=bill.merchant_no, cleared_on=bill.bill_on)

    def bill_period(self, bill_on: date) -> tuple[datetime, datetime]:
        """Return a clearing day: from 23:00 in China on the day before to 23:00."""
        end = datetime.combine(bill_on, wire.CUT_OVER, tzinfo=CHINA).astimezone(UTC)
        return end - timedelta(days=1), end

    # Inside

    def _check_way(self, way: Way) -> None:
        if way not in self.ways:
            raise Unsupported(f"channel {self.name} has no way {way.value}")

    def _party(self, merchant_no: str, key_ref: str | None) -> wire.Party:
        if key_ref is None and self.provider.acquirer_no:
            return wire.Acquirer(merchant_no=merchant_no, acquirer_no=self.provider.acquirer_no)
        return wire.Direct(merchant_no=merchant_no)

    def _request(self, path: str, fields: Mapping[str, str], keys: UnionPayKeys, key_ref: str | None) -> Request:
        return self._post(self.provider.gateway_url + path, _signed(fields, keys, key_ref))

    def _post(self, url: str, fields: Mapping[str, str]) -> Request:
        return Request(method="POST", url=url, headers={"content-type": CONTENT_TYPE}, body=wire.form_body(fields))

    def _open(self, answer: Answer | Unanswered, *, keys: UnionPayKeys, now: datetime) -> _Opened:
        """Look at an answer's status and signature, then read its fields. Nothing that is not signed by the channel counts."""
        if isinstance(answer, Unanswered):
            return _Opened(verdict="unanswered", reason=answer.reason)
        if answer.status != 200 or not answer.body:
            return _Opened(verdict="unverified", reason=Meaning.UNAVAILABLE.value)
        fields = sign.answer_fields(answer.body)
        if fields is None:
            return _Opened(verdict="refused", reason="not_form")
        if (objection := sign.objection(fields, certificates=keys.certificates, now=now)) is not None:
            return _Opened(verdict="refused", reason=objection.value)
        told = answers.transaction(fields)
        if told is None or told.resp_code is None:
            return _Opened(verdict="unreadable", reason="field_missing")
        if not self._for_us(told):
            return _Opened(verdict="unreadable", reason="other_provider")
        return _Opened(verdict="verified", told=told, fields=fields)

    def _for_us(self, told: answers.Transaction) -> bool:
        """Tell whether a message is addressed to us: one to an institution must name ours. Whose merchant it is, our book knows."""
        if told.access_type in (None, "0"):
            return True
        return told.access_type == "1" and told.acq_ins_code is not None and told.acq_ins_code == self.provider.acquirer_no

    def _of(self, opened: _Opened, merchant_no: str, key: OrderKey, txn_type: str, *, other: str) -> _Opened:
        """Return an answer when it is about the transaction that we asked for; a query's may name its own type, 00."""
        if opened.told is None:
            return opened
        same_type = opened.told.txn_type in (None, wire.QUERY_TYPE, txn_type)
        if not same_type or answers.query_mismatch(opened.told, merchant_no=merchant_no, key=key) is not None:
            return _Opened(verdict="unreadable", reason=other)
        return opened

    def _result(self, told: answers.Transaction, state: ChannelState) -> Result | None:
        """Return the neutral result, or None when a field is missing without which it says nothing.

        A query's answer may leave the currency out: an order of ours has only the one that it was made in.
        """
        if told.mer_id is None or told.order_id is None:
            return None
        happened_at = answers.traced_at(told)
        if state is ChannelState.SUCCEEDED and (told.query_id is None or told.txn_amt is None or happened_at is None):
            return None
        return Result(
            channel=self.name,
            state=state,
            order_no=told.order_id,
            provider_no=self.provider_no,
            merchant_no=told.mer_id,
            trade_no=told.query_id if state is ChannelState.SUCCEEDED else None,
            amount_fen=None if told.txn_amt is None else int(told.txn_amt),
            currency=_currency(told.currency_code),
            happened_at=happened_at if state is ChannelState.SUCCEEDED else None,
        )

    def _refund_result(
        self,
        told: answers.Transaction,
        state: RefundState,
        word: str | None,
        *,
        order_no: str | None = None,
        trade_no: str | None = None,
    ) -> RefundResult | None:
        if told.mer_id is None or told.order_id is None:
            return None
        happened_at = answers.traced_at(told) if state is RefundState.DONE else None
        if state is RefundState.DONE and (told.txn_amt is None or happened_at is None):
            return None
        return RefundResult(
            channel=self.name,
            state=state,
            refund_no=told.order_id,
            provider_no=self.provider_no,
            merchant_no=told.mer_id,
            order_no=order_no,
            trade_no=told.orig_qry_id or trade_no,
            channel_refund_no=told.query_id,
            refund_fen=None if told.txn_amt is None else int(told.txn_amt),
            happened_at=happened_at,
            word=word,
        )


def _signed(fields: Mapping[str, str], keys: UnionPayKeys, key_ref: str | None) -> dict[str, str]:
    signer = keys.signer(key_ref)
    return sign.signed(fields, certificate_id=signer.certificate_id, sign=signer.sign)


def _payment_known(order: OrderRef) -> _PaymentKnown | None:
    if order.trade_no is None or order.amount_fen is None or order.paid_at is None:
        return None
    return _PaymentKnown(order.trade_no, order.amount_fen, order.paid_at)


def _payments(result: Result | None) -> Reading:
    if result is None:
        return Reading(verdict="unreadable", reason="field_missing")
    return Reading(verdict="verified", results=(result,))


def _refunds(result: RefundResult | None) -> Reading:
    if result is None:
        return Reading(verdict="unreadable", reason="field_missing")
    return Reading(verdict="verified", refund=result)


def _currency(code: str | None) -> str:
    """Return the neutral name of a currency; a code that is not ours stays as it is, and is refused by whoever books."""
    return _CURRENCIES[wire.CURRENCY] if code is None else _CURRENCIES.get(code, code)


def _meaning(resp_code: str | None) -> Meaning | None:
    return None if resp_code is None else answers.RESP_CODES.get(resp_code)


def _reason(resp_code: str | None) -> str:
    meaning = _meaning(resp_code)
    return "error_unlisted" if meaning is None else meaning.value


def _month_day(bill: BillRequest) -> str:
    return bill.bill_on.strftime("%m%d")


def _empty_from(bill: BillRequest) -> datetime:
    return datetime.combine(bill.bill_on + timedelta(days=1), EMPTY_FROM, tzinfo=CHINA)
