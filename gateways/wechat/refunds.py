"""Refunds of one payment: the call, its query, its notices. A leg of a combined order and a deduction are refunded the same way.

Knows the refund calls; must not know orders. Part of the adapter. Source: docs/CHANNELS.md, WeChat Pay, refunds.
"""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, urlencode

from gateways.contract import Answer, Reading, RefundOrder, RefundRef, RefundResult, RefundState, Request, Unanswered
from gateways.keys import KeyRing
from gateways.wechat import wire
from gateways.wechat.results import refund_result
from gateways.wechat.speaker import Speaker, cut, plain, read, unreadable
from gateways.wechat.wire import Meaning


class Refunds(Speaker):
    """Asking for a refund and about one."""

    def build_refund(self, refund: RefundOrder, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for a refund. The body depends on the refund alone, so a repeat is identical and moves no second money."""
        body = wire.encode(
            wire.RefundCall(
                sub_mchid=refund.merchant_no,
                transaction_id=refund.trade_no,
                out_refund_no=refund.refund_no,
                reason=cut(plain(refund.reason or ""), wire.REFUND_REASON_BYTES_MAX) or None,
                amount=wire.RefundAmount(refund=refund.refund_fen, total=refund.total_fen, currency=wire.CURRENCY),
                notify_url=self.provider.notify_url,
            )
        )
        return self.request("POST", wire.REFUND_PATH, body, keys=keys, now=now, nonce=nonce)

    def parse_refund(self, answer: Answer | Unanswered, *, refund: RefundOrder, keys: KeyRing, now: datetime) -> Reading:
        """Read the answer to a refund: 200 means taken on, an error code may say that nothing was made."""
        ref = RefundRef(
            refund_no=refund.refund_no,
            order_no=refund.order_no,
            trade_no=refund.trade_no,
            merchant_no=refund.merchant_no,
            asked_at=refund.asked_at,
        )
        return self._answered(answer, ref, wire.REFUND_MEANINGS, keys=keys, now=now)

    def build_refund_query(self, refund: RefundRef, *, keys: KeyRing, now: datetime, nonce: str) -> Request:
        """Ask for a refund by our number."""
        path = f"{wire.REFUND_PATH}/{quote(refund.refund_no, safe='')}?{urlencode({'sub_mchid': refund.merchant_no})}"
        return self.request("GET", path, keys=keys, now=now, nonce=nonce)

    def parse_refund_query(self, answer: Answer | Unanswered, *, refund: RefundRef, keys: KeyRing, now: datetime) -> Reading:
        """Read what the channel says about a refund. "No such refund" allows to ask for it again, under the same number."""
        return self._answered(answer, refund, {Meaning.NOT_FOUND: RefundState.NOT_FOUND}, keys=keys, now=now)

    def read_refund_notice(self, body: bytes) -> Reading:
        """Read a notice's plaintext, which names the merchants itself."""
        return self._told(body, None)

    def _answered(
        self,
        answer: Answer | Unanswered,
        refund: RefundRef,
        meanings: Mapping[Meaning, RefundState],
        *,
        keys: KeyRing,
        now: datetime,
    ) -> Reading:
        opened = self.opened(answer, keys=keys, now=now)
        if opened.meaning is not None and opened.meaning in meanings:
            told = RefundResult(
                channel=self.name, state=meanings[opened.meaning], refund_no=refund.refund_no, provider_no=self.provider_no,
                merchant_no=refund.merchant_no, order_no=refund.order_no, trade_no=refund.trade_no, word=opened.meaning.value,
            )  # fmt: skip
            return Reading(verdict=opened.verdict, reason=opened.meaning.value, refund=told)
        if opened.reason is not None:
            return Reading(verdict=opened.verdict, reason=opened.reason)
        return self._told(opened.body, refund)

    def _told(self, body: bytes, asked: RefundRef | None) -> Reading:
        told = read(wire.decode_refunded, body)
        if told is None:
            return unreadable("field_missing")
        found = refund_result(told, provider_no=self.provider_no, merchant_no=None if asked is None else asked.merchant_no)
        if isinstance(found, str):
            return unreadable(found)
        if asked is not None and not _same(found, asked):
            return unreadable("other_refund")
        return Reading(verdict="verified", refund=found)


def _same(found: RefundResult, asked: RefundRef) -> bool:
    """Tell whether an answer is about the refund that was asked for; what it does not state, or we do not know, is not compared."""
    return (
        found.refund_no == asked.refund_no
        and found.order_no in (None, asked.order_no)
        and (not asked.trade_no or found.trade_no in (None, asked.trade_no))
    )  # fmt: skip
