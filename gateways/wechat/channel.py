"""The WeChat Pay adapter: service-provider JSAPI order, query, close, refund, notices, keys, trade bill.

Joins wire, sign and bill to the neutral contract; must not know network, clock, database or settings.
Called through the contract by payments, reconciliation and the application.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from gateways.contract import (
    Answer,
    Bill,
    BillAbsent,
    BillLink,
    BillRefused,
    BillRequest,
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
    Verdict,
)
from gateways.keys import KeyRing, VerificationKey, canonical_serial, from_certificate
from gateways.wechat import bill as bill_file
from gateways.wechat import sign, wire
from gateways.wechat.wire import Meaning
from ledger.clock import CHINA

USER_AGENT: Final = "tongting/0.1 (WeChat Pay APIv3)"
_JSON_HEADERS: Final = {"content-type": "application/json"}
_ACCEPTED: Final = Answer(status=200, headers=_JSON_HEADERS, body='{"code":"SUCCESS","message":"成功"}'.encode())
_REFUSED_STATUS: Final = {"header_missing": 401, "stale": 401, "serial_unknown": 401, "signature": 401, "not_json": 400}
_REFUSED_STATUS_ELSE: Final = 500
_PREPAY_STATES: Final = {Meaning.REFUSED: ChannelState.FAILED, Meaning.ORDER_CLOSED: ChannelState.CLOSED}
_CLOSE_STATES: Final = {Meaning.ORDER_CLOSED: ChannelState.CLOSED, Meaning.NOT_FOUND: ChannelState.NOT_FOUND}
_T = TypeVar("_T")


class Provider(Struct, frozen=True):
    """Who we are at WeChat Pay: the service provider. ``notify_url`` takes all notices, without a query string."""

    provider_no: str
    """sp_mchid."""
    app_id: str
    """sp_appid, bound to the provider number."""
    notify_url: str
    api_url: str = wire.API_URL


class _Opened(Struct, frozen=True):
    """An answer after its signature was looked at."""

    verdict: Verdict
    reason: str | None
    body: bytes = b""
    meaning: Meaning | None = None
    """Set for an error answer that is believed."""


class WeChat:
    """The adapter. It holds who we are and nothing that changes; see ``gateways.contract.Channel`` for each method's effect."""

    name: str = "wechat"
    supports: frozenset[Operation] = frozenset(Operation)
    evidence_headers: frozenset[str] = frozenset(
        {sign.TIMESTAMP, sign.NONCE, sign.SIGNATURE, sign.SERIAL, sign.SIGNATURE_TYPE, "request-id"}
    )

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.provider_no = provider.provider_no

    # Notices

    def parse_callback(self, headers: Mapping[str, str], body: bytes, *, keys: KeyRing, now: datetime) -> Reading:
        """Read a notice of a payment or a refund: verify the raw bytes, decrypt, decode.

        Combined orders, parking deductions and whatever else is genuine but not handled here are ``event_unknown``: the caller
        keeps them and refuses them, so that they come again. Source: docs/CHANNELS.md, notices.
        """
        if (reason := sign.objection(headers, body, keys=keys, now=now)) is not None:
            return Reading(verdict="refused", reason=reason)
        try:
            notice = wire.decode_notice(body)
        except msgspec.ValidationError:
            return Reading(verdict="unreadable", reason="field_missing")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Reading(verdict="unreadable", reason="not_json")
        return self._open_notice(notice, keys)

    def _open_notice(self, notice: wire.Notice, keys: KeyRing) -> Reading:
        if notice.event_type == "TRANSACTION.SUCCESS":
            read = self._read_transaction
        elif notice.event_type.startswith("REFUND."):
            read = self._read_refund_notice
        else:
            return Reading(verdict="verified", reason="event_unknown")
        box = notice.resource
        plain = keys.decrypt(nonce=box.nonce, ciphertext=box.ciphertext, associated=box.associated_data or "")
        return Reading(verdict="unreadable", reason="decrypt") if plain is None else read(plain)

    def _read_transaction(self, body: bytes) -> Reading:
        try:
            told = wire.decode_transaction(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Reading(verdict="unreadable", reason="field_missing")
        if told.combine_out_trade_no is not None or told.trade_scene is not None:
            return Reading(verdict="verified", reason="event_unknown")
        result = _result(self.name, told)
        if result is None:
            return Reading(verdict="unreadable", reason="field_missing")
        return Reading(verdict="verified", result=result)

    def ack(self, *, accepted: bool, reason: str | None = None) -> Answer:
        """Return 200 SUCCESS, or FAIL so that it comes again: 401 (not proven genuine), 400 (not JSON), 500 (not taken)."""
        if accepted:
            return _ACCEPTED
        body = wire.encode({"code": "FAIL", "message": reason or "not accepted"})
        return Answer(status=_REFUSED_STATUS.get(reason or "", _REFUSED_STATUS_ELSE), headers=_JSON_HEADERS, body=body)

    # Orders

    def build_prepay(self, order: PrepayOrder, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Order a JSAPI payment. The body depends on the order alone, so a repeat is identical and safe."""
        expires_at = min(order.expires_at, now + timedelta(days=wire.TIME_EXPIRE_DAYS_MAX))
        payer = wire.Payer(sub_openid=order.payer_id) if order.sub_app_id else wire.Payer(sp_openid=order.payer_id)
        body = wire.encode(
            wire.JsapiOrder(
                sp_appid=self.provider.app_id,
                sp_mchid=self.provider_no,
                sub_mchid=order.merchant_no,
                sub_appid=order.sub_app_id,
                description=_plain(order.description)[: wire.DESCRIPTION_CHARACTERS_MAX],
                out_trade_no=order.order_no,
                time_expire=expires_at.astimezone(CHINA).isoformat(timespec="seconds"),
                attach=None if order.attach is None else _plain(order.attach)[: wire.ATTACH_CHARACTERS_MAX],
                notify_url=self.provider.notify_url,
                amount=wire.Amount(total=order.amount_fen, currency="CNY"),
                payer=payer,
            )
        )
        return self._request("POST", wire.JSAPI_PATH, body, keys=keys, now=now, nonce=nonce)

    def parse_prepay(
        self, answer: Answer | Unanswered, *, order: PrepayOrder, keys: KeyRing, now: datetime, nonce: str
    ) -> PrepayOutcome:
        """Read the answer to an order and, when it holds, sign the parameters that call up the wallet (about a millisecond)."""
        opened = self._open(answer, keys=keys, now=now)
        if opened.meaning is not None:
            state = _PREPAY_STATES.get(opened.meaning, ChannelState.UNKNOWN)
            return PrepayOutcome(verdict=opened.verdict, state=state, reason=opened.meaning)
        prepaid = _decoded(wire.decode_prepaid, opened)
        if prepaid is None:
            verdict: Verdict = "unreadable" if opened.verdict == "verified" else opened.verdict
            return PrepayOutcome(verdict=verdict, state=ChannelState.UNKNOWN, reason=opened.reason or "field_missing")
        hand_off = self.call_up(prepaid.prepay_id, app_id=order.sub_app_id or self.provider.app_id, keys=keys, now=now, nonce=nonce)
        return PrepayOutcome(verdict="verified", state=ChannelState.PENDING, hand_off=hand_off)

    def call_up(self, prepay_id: str, *, app_id: str, keys: KeyRing, now: datetime, nonce: str) -> HandOff:
        """Return the parameters of ``getBrandWCPayRequest``, signed with our key."""
        timestamp, package = str(sign.seconds(now)), f"prepay_id={prepay_id}"
        signature = keys.sign(sign.call_up_message(app_id=app_id, timestamp=timestamp, nonce=nonce, package=package))
        return HandOff(
            kind="jsapi",
            fields={
                "appId": app_id,
                "timeStamp": timestamp,
                "nonceStr": nonce,
                "package": package,
                "signType": "RSA",
                "paySign": signature,
            },
        )

    def build_query(self, order: OrderRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for an order by our number."""
        query = urlencode({"sp_mchid": self.provider_no, "sub_mchid": order.merchant_no})
        path = f"{wire.ORDER_PATH}{quote(order.order_no, safe='')}?{query}"
        return self._request("GET", path, b"", keys=keys, now=now, nonce=nonce)

    def parse_query(self, answer: Answer | Unanswered, *, order: OrderRef, keys: KeyRing, now: datetime) -> Reading:
        """Read what the channel says about ``order``. An answer about another order proves nothing about this one."""
        opened = self._open(answer, keys=keys, now=now)
        if opened.meaning is Meaning.NOT_FOUND:
            absent = Result(
                channel=self.name,
                state=ChannelState.NOT_FOUND,
                order_no=order.order_no,
                provider_no=self.provider_no,
                merchant_no=order.merchant_no,
            )
            return Reading(verdict=opened.verdict, result=absent)
        if opened.reason is not None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        reading = self._read_transaction(opened.body)
        if reading.result is not None and reading.result.order_no != order.order_no:
            return Reading(verdict="unreadable", reason="other_order")
        return reading

    def build_close(self, order: OrderRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Close an order, so that nobody can pay it any more. Repeatable."""
        body = wire.encode(wire.CloseOrder(sp_mchid=self.provider_no, sub_mchid=order.merchant_no))
        path = f"{wire.ORDER_PATH}{quote(order.order_no, safe='')}/close"
        return self._request("POST", path, body, keys=keys, now=now, nonce=nonce)

    def parse_close(self, answer: Answer | Unanswered, *, keys: KeyRing, now: datetime) -> CloseOutcome:
        """Read the answer to a close. Query afterwards all the same: a payment can land between."""
        opened = self._open(answer, keys=keys, now=now)
        if opened.meaning is not None:
            state = _CLOSE_STATES.get(opened.meaning, ChannelState.UNKNOWN)
            return CloseOutcome(verdict=opened.verdict, state=state, reason=opened.meaning)
        if opened.reason is not None:
            return CloseOutcome(verdict=opened.verdict, state=ChannelState.UNKNOWN, reason=opened.reason)
        return CloseOutcome(verdict="verified", state=ChannelState.CLOSED)

    # Refunds

    def build_refund(self, refund: RefundOrder, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for a refund. The body depends on the refund alone, so a repeat is identical and moves no second money."""
        body = wire.encode(
            wire.RefundCall(
                sub_mchid=refund.merchant_no,
                transaction_id=refund.trade_no,
                out_refund_no=refund.refund_no,
                reason=_cut(_plain(refund.reason or ""), wire.REFUND_REASON_BYTES_MAX) or None,
                amount=wire.RefundAmount(refund=refund.refund_fen, total=refund.total_fen, currency="CNY"),
                notify_url=self.provider.notify_url,
            )
        )
        return self._request("POST", wire.REFUND_PATH, body, keys=keys, now=now, nonce=nonce)

    def parse_refund(self, answer: Answer | Unanswered, *, refund: RefundOrder, keys: KeyRing, now: datetime) -> Reading:
        """Read the answer to a refund: 200 means taken on, an error code may say that nothing was made."""
        ref = RefundRef(refund.refund_no, refund.order_no, refund.trade_no, refund.merchant_no)
        return self._read_refund_answer(answer, ref, wire.REFUND_MEANINGS, keys=keys, now=now)

    def build_refund_query(self, refund: RefundRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for a refund by our number."""
        path = f"{wire.REFUND_PATH}/{quote(refund.refund_no, safe='')}?{urlencode({'sub_mchid': refund.merchant_no})}"
        return self._request("GET", path, b"", keys=keys, now=now, nonce=nonce)

    def parse_refund_query(self, answer: Answer | Unanswered, *, refund: RefundRef, keys: KeyRing, now: datetime) -> Reading:
        """Read what the channel says about a refund. "No such refund" allows to ask for it again, under the same number."""
        return self._read_refund_answer(answer, refund, {Meaning.NOT_FOUND: RefundState.NOT_FOUND}, keys=keys, now=now)

    def _read_refund_answer(
        self,
        answer: Answer | Unanswered,
        refund: RefundRef,
        meanings: Mapping[Meaning, RefundState],
        *,
        keys: KeyRing,
        now: datetime,
    ) -> Reading:
        opened = self._open(answer, keys=keys, now=now)
        if opened.meaning is not None and opened.meaning in meanings:
            told = RefundResult(
                channel=self.name, state=meanings[opened.meaning], refund_no=refund.refund_no, provider_no=self.provider_no,
                merchant_no=refund.merchant_no, order_no=refund.order_no, trade_no=refund.trade_no, word=opened.meaning.value,
            )  # fmt: skip
            return Reading(verdict=opened.verdict, reason=opened.meaning.value, refund=told)
        if opened.reason is not None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        reading = self._read_refund(opened.body, merchant_no=refund.merchant_no)
        if reading.refund is not None and reading.refund.refund_no != refund.refund_no:
            return Reading(verdict="unreadable", reason="other_refund")
        return reading

    def _read_refund_notice(self, body: bytes) -> Reading:
        return self._read_refund(body, merchant_no=None)

    def _read_refund(self, body: bytes, *, merchant_no: str | None) -> Reading:
        """Read a refund. An answer does not name the merchants: ``merchant_no`` is whom we asked about."""
        try:
            told = wire.decode_refunded(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Reading(verdict="unreadable", reason="field_missing")
        found = _refund_result(self.name, told, provider_no=self.provider_no, merchant_no=merchant_no)
        return Reading(verdict="unreadable", reason="field_missing") if found is None else Reading(verdict="verified", refund=found)

    # Bills

    def build_bill(self, bill: BillRequest, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask where a day's trade bill is; it is there from 10:00 (China) on the next day."""
        query = {"bill_date": bill.bill_on.isoformat(), "bill_type": bill.form.upper()}
        if bill.merchant_no is not None:
            query["sub_mchid"] = bill.merchant_no
        if bill.compressed:
            query["tar_type"] = "GZIP"
        return self._request("GET", f"{wire.TRADE_BILL_PATH}?{urlencode(query)}", b"", keys=keys, now=now, nonce=nonce)

    def parse_bill_link(
        self, answer: Answer | Unanswered, *, bill: BillRequest, keys: KeyRing, now: datetime
    ) -> BillLink | BillAbsent:
        opened = self._open(answer, keys=keys, now=now)
        if opened.reason is not None:
            return BillAbsent(reason=opened.reason)
        location = _decoded(wire.decode_bill_location, opened)
        if location is None:
            return BillAbsent(reason="field_missing")
        return BillLink(
            url=location.download_url, digest_kind=location.hash_type, digest=location.hash_value, compressed=bill.compressed
        )

    def build_bill_download(self, link: BillLink, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Fetch the file at the address given, verbatim; the answer is not signed, its digest is checked instead."""
        return self._signed("GET", link.url, b"", keys=keys, now=now, nonce=nonce)

    def open_bill(self, answer: Answer, *, link: BillLink) -> bytes:
        """Return the file's bytes, uncompressed, when their SHA-1 is the announced one."""
        if answer.status != 200:
            raise BillRefused(f"the bill file was answered with status {answer.status}; ask for a new link", code="bill_digest")
        content = bill_file.unpacked(answer.body)
        if link.digest_kind.upper() != "SHA1":
            raise BillRefused(f"the digest of the bill is {link.digest_kind}, not SHA1", code="bill_digest")
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if digest != link.digest.lower():
            raise BillRefused(f"the bill file has SHA-1 {digest}, announced was {link.digest.lower()}", code="bill_digest")
        return content

    def parse_bill(self, content: bytes) -> Bill:
        return bill_file.parse(content, provider_no=self.provider_no)

    # The channel's keys

    def build_certificates(self, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for the platform certificates in force. Ask at intervals under 12 hours."""
        return self._request("GET", wire.CERTIFICATES_PATH, b"", keys=keys, now=now, nonce=nonce)

    def parse_certificates(
        self, answer: Answer | Unanswered, *, keys: KeyRing, now: datetime
    ) -> tuple[VerificationKey, ...] | None:
        """Decrypt the certificates and take them only when the answer is signed by one of them or by a key known before.

        A provider that has public keys alone is told that there are none: then nothing is returned, which is not None.
        What makes a first certificate trustworthy is the box: only the channel and we have the APIv3 key.
        Source: docs/CHANNELS.md, keys.
        """
        if isinstance(answer, Unanswered) or answer.status != 200:
            return () if self._open(answer, keys=keys, now=now).meaning is Meaning.NOT_FOUND else None
        try:
            listed = wire.decode_certificates(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        found = tuple(key for row in listed.data if (key := _certificate(row, keys)) is not None)
        if not found or sign.objection(answer.headers, answer.body, keys=keys.beside(found), now=now) is not None:
            return None
        return found

    # Inside

    def _request(self, method: str, path: str, body: bytes, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        return self._signed(method, self.provider.api_url + path, body, keys=keys, now=now, nonce=nonce)

    def _signed(self, method: str, url: str, body: bytes, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        headers = {
            "accept": "application/json",
            "user-agent": USER_AGENT,
            "authorization": sign.authorization(
                provider_no=self.provider_no, method=method, url=url, body=body, keys=keys, now=now, nonce=nonce
            ),
        }
        if body:
            headers["content-type"] = "application/json"
        if keys.preferred_serial is not None:
            headers[sign.SERIAL] = keys.preferred_serial
        return Request(method=method, url=url, headers=headers, body=body)

    def _open(self, answer: Answer | Unanswered, *, keys: KeyRing, now: datetime) -> _Opened:
        """Look at an API answer's signature and status. Only a signed 2xx has no reason; only a believed error has a meaning."""
        if isinstance(answer, Unanswered):
            return _Opened(verdict="unanswered", reason=answer.reason)
        objection = sign.objection(answer.headers, answer.body, keys=keys, now=now)
        if 200 <= answer.status < 300:
            if objection is not None:
                return _Opened(verdict="refused", reason=objection)
            # 202 means accepted and still working: nothing is decided
            reason = "unavailable" if answer.status == 202 else None
            return _Opened(verdict="verified", reason=reason, body=answer.body)
        if objection is not None and (sign.SIGNATURE in answer.headers or not wire.UNSIGNED_ERRORS_COUNT):
            return _Opened(verdict="refused", reason=objection)
        meaning = wire.meaning(answer.body)
        return _Opened(
            verdict="verified" if objection is None else "unverified",
            reason=_reason(answer.status, meaning),
            meaning=meaning,
        )


def _reason(status: int, meaning: Meaning | None) -> str:
    if meaning is not None:
        return meaning.value
    return Meaning.UNAVAILABLE if status >= 500 else "error_unlisted"


def _decoded(decode: Callable[[bytes], _T], opened: _Opened) -> _T | None:
    if opened.reason is not None:
        return None
    try:
        return decode(opened.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _result(channel: str, told: wire.Transaction) -> Result | None:
    """Return the neutral result, or None when a field is missing without which it says nothing."""
    if told.out_trade_no is None or told.trade_state is None or told.sp_mchid is None or told.sub_mchid is None:
        return None
    state = wire.STATES.get(told.trade_state, ChannelState.UNKNOWN)
    amount_fen = currency = None
    if told.amount is not None:
        amount_fen, currency = told.amount.total, told.amount.currency
    if state is ChannelState.SUCCEEDED and (told.transaction_id is None or amount_fen is None or told.success_time is None):
        return None
    return Result(
        channel=channel,
        state=state,
        order_no=told.out_trade_no,
        provider_no=told.sp_mchid,
        merchant_no=told.sub_mchid,
        trade_no=told.transaction_id,
        amount_fen=amount_fen,
        currency=currency,
        happened_at=None if told.success_time is None else told.success_time.astimezone(UTC),
    )


def _refund_result(channel: str, told: wire.Refunded, *, provider_no: str, merchant_no: str | None) -> RefundResult | None:
    """Return the neutral refund, or None when a field is missing without which it says nothing."""
    state_word = told.status or told.refund_status
    provider = told.sp_mchid or (provider_no if merchant_no is not None else None)
    merchant = told.sub_mchid or merchant_no
    if told.out_refund_no is None or state_word is None or provider is None or merchant is None:
        return None
    state = wire.REFUND_STATES.get(state_word, RefundState.UNKNOWN)
    refund_fen = None if told.amount is None else told.amount.refund
    if state is RefundState.DONE and (refund_fen is None or told.success_time is None):
        return None
    return RefundResult(
        channel=channel,
        state=state,
        refund_no=told.out_refund_no,
        provider_no=provider,
        merchant_no=merchant,
        order_no=told.out_trade_no,
        trade_no=told.transaction_id,
        channel_refund_no=told.refund_id,
        refund_fen=refund_fen,
        happened_at=None if told.success_time is None else told.success_time.astimezone(UTC),
        word=state_word,
    )


def _cut(text: str, bytes_max: int) -> str:
    """Return as much of a text as fits, without cutting a character in two."""
    return text.encode()[:bytes_max].decode(errors="ignore")


def _plain(text: str) -> str:
    """Drop what the channel refuses: characters of more than three bytes in UTF-8 and control characters."""
    return "".join(letter for letter in text if " " <= letter <= "\uffff" and not "\ud800" <= letter <= "\udfff")


def _certificate(row: wire.CertificateRow, keys: KeyRing) -> VerificationKey | None:
    box = row.encrypt_certificate
    pem = keys.decrypt(nonce=box.nonce, ciphertext=box.ciphertext, associated=box.associated_data)
    if pem is None:
        return None
    try:
        key = from_certificate(pem)
    except ValueError:
        return None
    return key if canonical_serial(key.serial) == canonical_serial(row.serial_no) else None
