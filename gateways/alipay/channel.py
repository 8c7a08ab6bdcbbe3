"""The Alipay adapter: orders in the app, by browser and by code; parking deductions, refunds, notices, bills.

Joins exchange, wire and bill to the neutral contract; must not know network, clock, database or settings. Called through the
contract by payments, reconciliation and the application.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import BinaryIO, Final, Literal, TypeVar
from urllib.parse import quote

from msgspec import Struct

from gateways.alipay import answers, asked, contents, errors, outcomes, sign, wire
from gateways.alipay import bill as bill_file
from gateways.alipay.asked import Provider
from gateways.alipay.errors import Meaning
from gateways.alipay.exchange import Opened, notice_objection, opened, posted, signed_fields
from gateways.alipay.keys import AlipayKeys, App, Grant, NoKeys
from gateways.alipay.wire import Fen
from gateways.contract import (
    Answer,
    BillAbsent,
    BillLine,
    BillLink,
    BillRefused,
    BillRequest,
    Channel,
    ChannelState,
    CloseOutcome,
    Deduction,
    Entrance,
    EntryOutcome,
    FundBill,
    FundBillRequest,
    HandOff,
    MandateOutcome,
    MandateRef,
    Operation,
    OrderRef,
    PrepayOrder,
    PrepayOutcome,
    Reading,
    RefundOrder,
    RefundRef,
    Request,
    Result,
    Unanswered,
    Verdict,
    Way,
)
from ledger.clock import CHINA

__all__ = ["Alipay", "Provider"]

TRADE_BILL: Final = "trade"
ACCOUNT_BILL: Final = "signcustomer"
EXPIRY_MARGIN: Final = timedelta(minutes=2)
"""So long after its end an order that the channel does not know may still come to be: clocks differ, a payer may be on the way."""
_METHODS: Final = {Way.IN_WALLET: wire.CREATE, Way.BROWSER: wire.WAP_PAY, Way.CODE: wire.PRECREATE}
_PREPAY_STATES: Final = {Meaning.REFUSED: ChannelState.FAILED, Meaning.ORDER_CLOSED: ChannelState.CLOSED}
_ACCEPTED: Final = Answer(status=200, headers={"content-type": "text/plain"}, body=wire.ACCEPTED)
_REFUSED_STATUS: Final = {
    "serial_unknown": 401, "signature": 401, "signature_missing": 401, "sign_type": 401, "not_form": 400, "not_text": 400,
    "field_twice": 400, "charset_unknown": 400, "field_missing": 400,
}  # fmt: skip
_REFUSED_STATUS_ELSE: Final = 500
_T = TypeVar("_T", bound=Struct)


class Alipay(Channel[AlipayKeys]):
    """The adapter. It holds who we are and nothing that changes; see ``gateways.contract.Channel`` for each method's effect.

    An order without ``key_ref`` goes out under the platform's application with the leave of its operator (``app_auth_token``, by
    merchant number); one with ``key_ref`` under the operator's own. Every ``build_*`` raises NoKeys when the keys for it are not
    there. CERTIFICATES is not supported: the channel hands out one certificate by its SN, in an answer that it does not sign, for
    one application of several, while the contract's call names neither. New files are laid beside the old ones instead.
    """

    name: str = "alipay"
    supports: frozenset[Operation] = frozenset({
        Operation.CALLBACK, Operation.PREPAY, Operation.QUERY, Operation.CLOSE, Operation.CANCEL, Operation.ENTRY,
        Operation.MANDATE_QUERY, Operation.MANDATE_SIGN, Operation.DEDUCT, Operation.BILL, Operation.BILL_FILE,
        Operation.FUND_BILL, Operation.REFUND, Operation.REFUND_QUERY,
    })  # fmt: skip
    ways: frozenset[Way] = frozenset({Way.IN_WALLET, Way.BROWSER, Way.CODE})
    bills_by: Literal["provider", "merchant"] = "merchant"

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.provider_no = provider.app_id

    # Notices

    def parse_callback(self, headers: Mapping[str, str], body: bytes, *, keys: AlipayKeys, now: datetime) -> Reading:
        """Read a notice of a trade: verify every field that came, then check for whom it is.

        ``other_merchant``: genuine, but the seller or its application is not one of ours. A notice that a refund made is about the
        refund when it names one; it tells no amount of its own (``refund_fee`` sums all refunds of the trade), and is otherwise one
        more word about the payment. Source: docs/CHANNELS.md, Alipay, notices.
        """
        form = sign.read_form(body)
        found = self._application(form.text.get("app_id", ""), keys)
        key_ref, app = found or (None, None)
        if (reason := notice_objection(form, app=app, now=now)) is not None:
            return Reading(verdict="refused", reason=reason)
        if form.text.get("notify_type") != wire.NOTICE_KIND:
            return Reading(verdict="verified", reason="event_unknown")
        notice = answers.read_notice(form.text)
        if notice is None or app is None:
            return Reading(verdict="unreadable", reason="field_missing")
        if not self._is_ours(notice, app, key_ref, keys):
            return Reading(verdict="unreadable", reason="other_merchant")
        return outcomes.told_by_notice(notice, channel=self.name, provider_no=self.provider_no)

    def _application(self, app_id: str, keys: AlipayKeys) -> tuple[str | None, App] | None:
        """Return the application that a notice names, from our own settings alone."""
        found = keys.named(app_id)
        if found is not None and found[0] is None and app_id != self.provider_no:
            return None
        return found

    def _is_ours(self, notice: answers.Notice, app: App, key_ref: str | None, keys: AlipayKeys) -> bool:
        """Tell whether seller and application of a genuine notice belong together in our settings."""
        if key_ref is not None:
            return notice.seller_id == app.merchant_no and notice.auth_app_id in (None, app.app_id)
        grant = keys.grants.get(notice.seller_id)
        if grant is not None:
            return notice.auth_app_id == grant.auth_app_id
        return notice.seller_id == self.provider.merchant_no and notice.auth_app_id in (None, app.app_id)

    def ack(
        self,
        *,
        accepted: bool,
        reason: str | None = None,
        reading: Reading | None = None,
        keys: AlipayKeys | None = None,
        now: datetime | None = None,
    ) -> Answer:
        """Return ``success``, or ``fail`` so that it comes again; the status is for people: the channel looks at the word."""
        if accepted:
            return _ACCEPTED
        status = _REFUSED_STATUS.get(reason or "", _REFUSED_STATUS_ELSE)
        return Answer(status=status, headers=_ACCEPTED.headers, body=wire.NOT_ACCEPTED)

    # Orders

    def build_prepay(self, order: PrepayOrder, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request | HandOff:
        """Order a payment: a trade for a known payer, a code, or for a browser at once what it takes to the channel.

        The content depends on the order alone, so a repeat is identical and safe. Raises NoKeys, SigningFailed.
        """
        app, grant = self._sender(keys, order.key_ref, order.merchant_no)
        content = contents.content(asked.ordered(order, self.provider))
        browser = order.way is Way.BROWSER
        fields = signed_fields(
            _METHODS[order.way],
            app=app,
            grant=grant,
            now=now,
            content=content,
            notify_url=self.provider.notify_url,
            return_url=order.return_url if browser else None,
        )
        if not browser:
            return posted(fields, gateway=self.provider.api_url)
        url = wire.page_url(fields, gateway=self.provider.api_url)
        if len(url) <= wire.URL_CHARACTERS_MAX:
            return HandOff(kind="redirect", url=url)
        form = wire.page_form(fields, gateway=self.provider.api_url)
        return HandOff(kind="form", url=form.action, fields=form.fields)

    def parse_prepay(
        self, answer: Answer | Unanswered, *, order: PrepayOrder, keys: AlipayKeys, now: datetime, nonce: str
    ) -> PrepayOutcome:
        """Read the answer to an order. Only "refused, now as before" is a failure; all else may have been made."""
        look = self._opened(answer, _METHODS[order.way], keys, order.key_ref, now)
        if look.meaning is not None:
            state = _PREPAY_STATES.get(look.meaning, ChannelState.UNKNOWN)
            return PrepayOutcome(verdict=look.verdict, state=state, reason=look.reason)
        hand_off, order_no = None, None
        if look.reason is None and order.way is Way.IN_WALLET and (made := answers.read(look.text, answers.Created)) is not None:
            hand_off, order_no = HandOff(kind="jsapi", fields={"tradeNO": made.trade_no}), made.order_no
        elif look.reason is None and order.way is Way.CODE and (shown := answers.read(look.text, answers.Precreated)) is not None:
            hand_off, order_no = HandOff(kind="code", fields={"code": shown.qr_code}), shown.order_no
        if hand_off is None or order_no != order.order_no:
            reason = look.reason or ("field_missing" if hand_off is None else "other_order")
            return PrepayOutcome(verdict=_without_content(look), state=ChannelState.UNKNOWN, reason=reason)
        return PrepayOutcome(verdict="verified", state=ChannelState.PENDING, hand_off=hand_off)

    def build_query(self, order: OrderRef, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Ask for an order by our number; a parking deduction too, it is a trade like others."""
        name = contents.TradeName(order_no=order.order_no)
        return self._call(wire.QUERY, name, keys, order.key_ref, order.merchant_no, now)

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: AlipayKeys, now: datetime) -> Reading:
        """Read what the channel says about ``order``. Before its end "no such trade" means that no payer has come yet."""
        look = self._opened(answer, wire.QUERY, keys, order.key_ref, now)
        if look.meaning is Meaning.NOT_FOUND:
            state = ChannelState.NOT_FOUND if _is_over(order, now) else ChannelState.PENDING
            absent = Result(
                channel=self.name, state=state, order_no=order.order_no, provider_no=self.provider_no, merchant_no=order.merchant_no
            )
            return Reading(verdict=look.verdict, results=(absent,))
        if look.reason is not None:
            return Reading(verdict=look.verdict, reason=look.reason)
        told = answers.read(look.text, answers.Trade)
        if told is None:
            return Reading(verdict="unreadable", reason="field_missing")
        if told.order_no != order.order_no or order.trade_no not in (None, told.trade_no):
            return Reading(verdict="unreadable", reason="other_order")
        return outcomes.told_by_query(told, channel=self.name, provider_no=self.provider_no, merchant_no=order.merchant_no)

    def build_close(self, order: OrderRef, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Close an order that nobody has paid. Repeatable."""
        name = contents.TradeName(order_no=order.order_no)
        return self._call(wire.CLOSE, name, keys, order.key_ref, order.merchant_no, now)

    def parse_close(self, answer: Answer | Unanswered, *, order: OrderRef, keys: AlipayKeys, now: datetime) -> CloseOutcome:
        """Read the answer to a close. An order that no payer has reached cannot be closed: it ends by itself."""
        look = self._opened(answer, wire.CLOSE, keys, order.key_ref, now)
        if look.meaning is not None:
            return self._not_closed(look, order, now)
        told = _read(look, answers.Closed)
        if told is None:
            return CloseOutcome(
                verdict=_without_content(look), state=ChannelState.UNKNOWN, reason=look.reason or "field_missing"
            )  # fmt: skip
        if told.order_no not in (None, order.order_no):
            return CloseOutcome(verdict="unreadable", state=ChannelState.UNKNOWN, reason="other_order")
        return CloseOutcome(verdict="verified", state=ChannelState.CLOSED)

    def build_cancel(self, order: OrderRef, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Undo an order: unpaid it is closed, paid all the money goes back. Within a day of the order."""
        name = contents.TradeName(order_no=order.order_no)
        return self._call(wire.CANCEL, name, keys, order.key_ref, order.merchant_no, now)

    def parse_cancel(self, answer: Answer | Unanswered, *, order: OrderRef, keys: AlipayKeys, now: datetime) -> CloseOutcome:
        """Read the answer to a cancel. Without an action there was no trade yet: before its end one may still come to be."""
        look = self._opened(answer, wire.CANCEL, keys, order.key_ref, now)
        if look.meaning is not None:
            return self._not_closed(look, order, now)
        told = _read(look, answers.Cancelled)
        if told is None:
            return CloseOutcome(
                verdict=_without_content(look), state=ChannelState.UNKNOWN, reason=look.reason or "field_missing"
            )  # fmt: skip
        if told.order_no not in (None, order.order_no):
            return CloseOutcome(verdict="unreadable", state=ChannelState.UNKNOWN, reason="other_order")
        if told.again:
            return CloseOutcome(verdict="verified", state=ChannelState.UNKNOWN, reason=Meaning.UNAVAILABLE)
        if told.action not in wire.CANCEL_ACTIONS:
            state = ChannelState.NOT_FOUND if not told.action and _is_over(order, now) else ChannelState.UNKNOWN
            return CloseOutcome(verdict="verified", state=state, reason=Meaning.NOT_FOUND)
        return CloseOutcome(verdict="verified", state=ChannelState.CLOSED)

    def _not_closed(self, look: Opened, order: OrderRef, now: datetime) -> CloseOutcome:
        states = {Meaning.ORDER_CLOSED: ChannelState.CLOSED}
        if _is_over(order, now):
            states[Meaning.NOT_FOUND] = ChannelState.NOT_FOUND
        state = ChannelState.UNKNOWN if look.meaning is None else states.get(look.meaning, ChannelState.UNKNOWN)
        return CloseOutcome(verdict=look.verdict, state=state, reason=look.reason)

    # Mandates

    def build_mandate_query(self, mandate: MandateRef, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Ask whether a plate may be debited at this moment."""
        user_id, open_id = asked.payer(mandate.payer_id)
        content = contents.AgreementName(
            car_number=mandate.plate,
            plate_color=wire.PLATE_COLORS.get(mandate.plate_color),
            alipay_user_id=user_id,
            open_id=open_id,
        )
        return self._call(wire.PARKING_AGREEMENT, content, keys, mandate.key_ref, mandate.merchant_no, now)

    def parse_mandate_query(
        self, answer: Answer | Unanswered, *, mandate: MandateRef, keys: AlipayKeys, now: datetime
    ) -> MandateOutcome:
        """Read the answer; it counts for the moment: ask again before a debit."""
        look = self._opened(answer, wire.PARKING_AGREEMENT, keys, mandate.key_ref, now)
        told = _read(look, answers.Agreement)
        if told is None:
            return MandateOutcome(verdict=_without_content(look), state="unknown", reason=look.reason or "field_missing")
        state, word = outcomes.agreement(told.agreement_scene, told.agreement_status)
        reason = "field_missing" if state == "unknown" else None
        return MandateOutcome(verdict="verified", state=state, word=word, payer_id=mandate.payer_id, reason=reason)

    def sign_hand_off(self, mandate: MandateRef, *, return_url: str) -> HandOff:
        """Return the page of agreements that the contract names, with the plate filled in."""
        if not self.provider.sign_url:
            return HandOff(kind="none")
        given = {"plate": mandate.plate, "color": wire.PLATE_COLORS.get(mandate.plate_color) or "", "return_url": return_url}
        url = self.provider.sign_url
        for name, value in given.items():
            url = url.replace(f"{{{name}}}", quote(value, safe=""))
        return HandOff(kind="redirect", url=url)

    def build_entry(self, entrance: Entrance, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Tell that a car has come, and ask in the same call whether its plate may be debited."""
        return self._call(wire.PARKING_ENTRY, asked.entry(entrance), keys, entrance.key_ref, entrance.merchant_no, now)

    def parse_entry(self, answer: Answer | Unanswered, *, entrance: Entrance, keys: AlipayKeys, now: datetime) -> EntryOutcome:
        look = self._opened(answer, wire.PARKING_ENTRY, keys, entrance.key_ref, now)
        told = _read(look, answers.Entered)
        if told is None:
            return EntryOutcome(verdict=_without_content(look), reason=look.reason or "field_missing")
        state, word = outcomes.agreement(told.agreement_scene, wire.CAR_STATUSES.get(told.car_status, ""))
        return EntryOutcome(verdict="verified", entry_no=told.serial_no, state=state, word=word or told.car_status or None)

    def build_deduct(self, deduction: Deduction, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Debit the owner of a plate. The content depends on the deduction alone: the order number makes a repeat the same one."""
        content = asked.debit(deduction, self.provider)
        return self._call(wire.PARKING_PAY, content, keys, deduction.key_ref, deduction.merchant_no, now, notified=True)

    def parse_deduct(self, answer: Answer | Unanswered, *, deduction: Deduction, keys: AlipayKeys, now: datetime) -> Reading:
        """Read the answer: it succeeded, it is refused, or nothing is known; then ask with ``build_query``."""
        look = self._opened(answer, wire.PARKING_PAY, keys, deduction.key_ref, now)
        if look.meaning in (Meaning.REFUSED, Meaning.PAYER_REFUSED):
            failed = Result(
                channel=self.name, state=ChannelState.FAILED, order_no=deduction.order_no, provider_no=self.provider_no,
                merchant_no=deduction.merchant_no,
            )  # fmt: skip
            return Reading(verdict=look.verdict, reason=look.reason, results=(failed,))
        if look.reason is not None:
            return Reading(verdict=look.verdict, reason=look.reason)
        told = answers.read(look.text, answers.Debited)
        if told is None or told.total_fen is None or told.paid_at is None:
            return Reading(verdict="unreadable", reason="field_missing")
        if told.order_no != deduction.order_no:
            return Reading(verdict="unreadable", reason="other_order")
        taken = Result(
            channel=self.name, state=ChannelState.SUCCEEDED, order_no=told.order_no, provider_no=self.provider_no,
            merchant_no=deduction.merchant_no, trade_no=told.trade_no, amount_fen=int(told.total_fen), currency="CNY",
            happened_at=told.paid_at,
        )  # fmt: skip
        return Reading(verdict="verified", results=(taken,))

    # Refunds

    def build_refund(self, refund: RefundOrder, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Ask for a refund. The number and the amount make a repeat the same refund."""
        reason = None if refund.reason is None else wire.subject_text(refund.reason) or None
        content = contents.Refund(
            refund_fen=Fen(refund.refund_fen), refund_no=refund.refund_no, trade_no=refund.trade_no, order_no=refund.order_no,
            refund_reason=reason,
        )  # fmt: skip
        return self._call(wire.REFUND, content, keys, refund.key_ref, refund.merchant_no, now)

    def parse_refund(self, answer: Answer | Unanswered, *, refund: RefundOrder, keys: AlipayKeys, now: datetime) -> Reading:
        """Read the answer: done when this very call moved the money, else pending until the query proves it."""
        look = self._opened(answer, wire.REFUND, keys, refund.key_ref, now)
        if look.meaning in errors.REFUND_MEANINGS:
            told = outcomes.refund_said(
                refund, errors.REFUND_MEANINGS[look.meaning], look.meaning.value, self.name, self.provider_no
            )
            return Reading(verdict=look.verdict, reason=look.reason, refund=told)
        if look.reason is not None:
            return Reading(verdict=look.verdict, reason=look.reason)
        made = answers.read(look.text, answers.Refunded)
        if made is None:
            return Reading(verdict="unreadable", reason="field_missing")
        return outcomes.refunded(made, refund, channel=self.name, provider_no=self.provider_no)

    def build_refund_query(self, refund: RefundRef, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Ask for a refund by our number, and for its time. Sooner than ten seconds after the refund it may not be there."""
        content = contents.RefundName(
            refund_no=refund.refund_no, trade_no=refund.trade_no, order_no=refund.order_no, query_options=("gmt_refund_pay",)
        )
        return self._call(wire.REFUND_QUERY, content, keys, refund.key_ref, refund.merchant_no, now)

    def parse_refund_query(self, answer: Answer | Unanswered, *, refund: RefundRef, keys: AlipayKeys, now: datetime) -> Reading:
        """Read what the channel says about a refund. Without a status it was not made so far: the same number is safe to repeat."""
        look = self._opened(answer, wire.REFUND_QUERY, keys, refund.key_ref, now)
        if look.reason is not None:
            return Reading(verdict=look.verdict, reason=look.reason)
        told = answers.read(look.text, answers.RefundTold)
        if told is None:
            return Reading(verdict="unreadable", reason="field_missing")
        return outcomes.refund_told(told, refund, now=now, channel=self.name, provider_no=self.provider_no)

    # Bills

    def build_bill(self, bill: BillRequest, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Ask where an operator's trade bill of a day is; it is usually there by 09:00 (China) on the next day."""
        content = contents.BillName(bill_type=TRADE_BILL, bill_date=wire.bill_date(bill.bill_on))
        return self._call(wire.BILL, content, keys, bill.key_ref, bill.merchant_no, now)

    def parse_bill_link(
        self, answer: Answer | Unanswered, *, bill: BillRequest, keys: AlipayKeys, now: datetime
    ) -> BillLink | BillAbsent:
        """Read where the file is, for 30 seconds. "No bill" means an empty day only once the day after it is over."""
        return self._link(self._opened(answer, wire.BILL, keys, bill.key_ref, now), bill, now)

    def build_bill_download(self, link: BillLink, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Fetch the file at the address given, verbatim; neither the call nor the file is signed."""
        return Request(method="GET", url=link.url, headers={})

    def open_bill_parts(self, status: int, parts: Iterable[bytes], *, link: BillLink) -> Iterator[bytes]:
        """Yield the archive byte for byte. No digest is announced: it must be whole.

        Raises BillRefused: ``bill_digest`` for anything but an archive (a dead link answers a page), ``bill_cut``.
        """
        if status != 200:
            raise BillRefused(f"the bill file was answered with status {status}; ask for a new link", code="bill_digest")
        yield from bill_file.whole(parts)

    def read_bill(self, file: BinaryIO, *, bill: BillRequest) -> Iterator[BillLine]:
        """Read the archive's trade bill."""
        return bill_file.trade_lines(file, merchant_no=bill.merchant_no, bill_on=bill.bill_on)

    def build_fund_bill(self, bill: FundBillRequest, *, keys: AlipayKeys, now: datetime, nonce: str) -> Request:
        """Ask where the bill of an operator's account is. There is one account: ``bill.account`` changes nothing."""
        content = contents.BillName(bill_type=ACCOUNT_BILL, bill_date=wire.bill_date(bill.bill_on))
        return self._call(wire.BILL, content, keys, bill.key_ref, bill.merchant_no, now)

    def parse_fund_bill_link(
        self, answer: Answer | Unanswered, *, bill: FundBillRequest, keys: AlipayKeys, now: datetime
    ) -> BillLink | BillAbsent:
        return self._link(self._opened(answer, wire.BILL, keys, bill.key_ref, now), bill, now)

    def parse_fund_bill(self, content: bytes, *, bill: FundBillRequest, keys: AlipayKeys) -> FundBill:
        flows = bill_file.parse_flows(content, merchant_no=bill.merchant_no, bill_on=bill.bill_on)
        return outcomes.fund_bill(flows)

    def _link(self, look: Opened, bill: BillRequest | FundBillRequest, now: datetime) -> BillLink | BillAbsent:
        if look.meaning is Meaning.BILL_ABSENT:
            over_at = datetime.combine(bill.bill_on + timedelta(days=2), time(), CHINA).astimezone(UTC)
            return BillAbsent(reason="empty" if now >= over_at else Meaning.BILL_ABSENT.value)
        told = _read(look, answers.BillAddress)
        if told is None:
            return BillAbsent(reason=look.reason or "field_missing")
        return BillLink(url=told.bill_download_url, digest_kind="", digest="", compressed=True)

    # Inside

    def _sender(self, keys: AlipayKeys, key_ref: str | None, merchant_no: str | None) -> tuple[App, Grant | None]:
        """Return under which application a merchant's call goes out, and with whose leave. Raises NoKeys."""
        app = keys.app(key_ref)
        if key_ref is not None:
            if merchant_no not in (None, app.merchant_no):
                raise NoKeys(f"application {app.app_id} is not of merchant {merchant_no}")
            return app, None
        if app.app_id != self.provider_no:
            raise NoKeys(f"the platform's keys are of application {app.app_id}, not {self.provider_no}")
        if merchant_no in (None, self.provider.merchant_no):
            return app, None
        grant = keys.grants.get(merchant_no or "")
        if grant is None:
            raise NoKeys(f"there is no leave of merchant {merchant_no}")
        return app, grant

    def _call(
        self,
        method: str,
        content: Struct,
        keys: AlipayKeys,
        key_ref: str | None,
        merchant_no: str | None,
        now: datetime,
        *,
        notified: bool = False,
    ) -> Request:
        app, grant = self._sender(keys, key_ref, merchant_no)
        notify_url = self.provider.notify_url if notified else None
        fields = signed_fields(method, app=app, grant=grant, now=now, content=contents.content(content), notify_url=notify_url)
        return posted(fields, gateway=self.provider.api_url)

    def _opened(self, answer: Answer | Unanswered, method: str, keys: AlipayKeys, key_ref: str | None, now: datetime) -> Opened:
        return opened(answer, method=method, app=keys.apps.get(key_ref), now=now)


def _is_over(order: OrderRef, now: datetime) -> bool:
    return now >= order.expires_at + EXPIRY_MARGIN


def _read(look: Opened, kind: type[_T]) -> _T | None:
    return None if look.reason is not None else answers.read(look.text, kind)


def _without_content(look: Opened) -> Verdict:
    """Return the verdict over an answer in which nothing could be read."""
    return "unreadable" if look.reason is None else look.verdict
