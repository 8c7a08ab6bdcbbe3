"""Sends payment and refund notices as the channel does: fresh signature each attempt, the real retry schedule.

Knows HTTP out and the schedule; must not know how orders come about. Run by the sandbox's application.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Final

import httpx
import msgspec

from gateways.sandbox.chance import hex_text
from gateways.sandbox.faults import on_attempt
from gateways.sandbox.shapes import Delivered, Fault, FaultKind
from gateways.sandbox.wechat.combined import OTHER_MERCHANT, Combined
from gateways.sandbox.wechat.desk import Desk, instant
from gateways.sandbox.wechat.parking import ENTRY_CHANGED, ParkingService
from gateways.sandbox.wechat.refunds import told_in_notice
from gateways.sandbox.wechat.signing import answer_headers, payment_notice, refund_notice
from gateways.sandbox.wechat.signing import notice as told_by_notice
from gateways.sandbox.wechat.state import Notice
from gateways.wechat import wire

SCHEDULE_SECONDS: Final = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
"""Pauses between attempts: 15s/15s/30s/3m/10m/20m/30m/30m/30m/60m/3h/3h/3h/6h/6h, 24 h 4 min in all."""

ANSWER_SECONDS_MAX: Final = 5.0
AT_ONCE_MAX: Final = 16
LOG: Final = logging.getLogger("tongting.sandbox")
_PARKING_SUMMARIES: Final = {
    "TRANSACTION.SUCCESS": "支付成功",
    "TRANSACTION.FAIL": "支付失败",
    "TRANSACTION.PAY_BACK": "用户还款",
    ENTRY_CHANGED: "停车入场状态变更",
}
_REST_SECONDS: Final = 0.5
_MICRO: Final = 1_000_000


class Courier:
    """Takes notices to where the orders said. One attempt per notice at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, follow_redirects=False, trust_env=False)
        self._news = asyncio.Event()

    async def close(self) -> None:
        await self._client.aclose()

    def wake(self) -> None:
        """Say that a notice may be due."""
        self._news.set()

    async def run(self) -> None:
        """Send what is due, for ever; several at once, as the channel does."""
        while True:
            try:
                due = self._desk.state.due_notices(self._desk.now(), AT_ONCE_MAX)
                await asyncio.gather(*(self._attempt(notice) for notice in due))
            except Exception:
                LOG.exception("sending notices failed; it goes on after a rest")
                due = []
            if not due:
                await self._rest()

    async def _rest(self) -> None:
        next_due = self._desk.state.next_due()
        seconds = _REST_SECONDS if next_due is None else max((next_due - self._desk.now()) / _MICRO, 0.005)
        self._news.clear()
        await _at_most(self._news.wait(), min(seconds, _REST_SECONDS))

    async def deliver(self, limit: int) -> Delivered:
        """Send what is due, one after another in the order (due, order number), until nothing is due or ``limit`` is reached."""
        attempts = accepted = 0
        while attempts < limit:
            due = self._desk.state.due_notices(self._desk.now(), 1)
            if not due:
                break
            accepted += await self._attempt(due[0])
            attempts += 1
        waiting = self._desk.state.waiting_notices()
        return Delivered(attempts=attempts, accepted=accepted, failed=attempts - accepted, waiting=waiting)

    async def _attempt(self, notice: Notice) -> bool:
        attempt = notice.attempts + 1
        url, headers, body = self._compose(notice, attempt)
        taken = await self._post(url, headers, body)
        if taken:
            self._desk.state.set_notice(notice.notice_id, attempts=attempt, state="accepted", due_at=notice.due_at)
        elif attempt > len(SCHEDULE_SECONDS):
            self._desk.state.set_notice(notice.notice_id, attempts=attempt, state="given_up", due_at=notice.due_at)
        else:
            pause = SCHEDULE_SECONDS[attempt - 1] / self._desk.config.time_factor
            due_at = self._desk.now() + int(pause * _MICRO)
            self._desk.state.set_notice(notice.notice_id, attempts=attempt, state="waiting", due_at=due_at)
        return taken

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> bool:
        try:
            answer = await asyncio.wait_for(self._client.post(url, headers=headers, content=body), ANSWER_SECONDS_MAX)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
            return False
        return answer.status_code in (200, 204)

    def _compose(self, notice: Notice, attempt: int) -> tuple[str, dict[str, str], bytes]:
        """Return address, headers and body of one attempt, with its faults."""
        desk = self._desk
        faults = msgspec.json.decode(notice.faults, type=tuple[Fault, ...])
        touched = on_attempt(faults, attempt)
        if notice.refund_no is not None:
            url, body = self._of_refund(notice)
        elif notice.event is not None:
            url, body = self._of_parking(notice, notice.event, touched)
        elif notice.combined_no is not None:
            url, body = self._of_combined(notice, faults, touched)
        else:
            url, body = self._of_payment(notice, touched)
        headers = answer_headers(
            desk.notice_signer(notice.notice_id, attempt),
            body=body,
            at=desk.clock.now(),
            nonce=hex_text(32, desk.seed, notice.notice_id, attempt),
        )
        return url, _spoilt(headers, touched), body

    def _of_payment(self, notice: Notice, touched: frozenset[FaultKind]) -> tuple[str, bytes]:
        desk = self._desk
        order = desk.state.order(notice.order_no)
        assert order is not None, "a notice belongs to an order"
        paid, altered = desk.paid(order), ""
        if FaultKind.WRONG_AMOUNT in touched:
            paid, altered = msgspec.structs.replace(paid, amount_fen=paid.amount_fen + 1), "amount"
        if FaultKind.OTHER_MERCHANT in touched:
            paid, altered = msgspec.structs.replace(paid, merchant_no=OTHER_MERCHANT), altered + "merchant"
        notice_id = notice.notice_id.partition("#")[0]
        body = payment_notice(
            paid,
            api_key=desk.config.api_key,
            notice_id=notice_id,
            nonce=hex_text(12, desk.seed, notice_id, altered),
        )
        return order.notify_url, body

    def _of_parking(self, notice: Notice, event: str, touched: frozenset[FaultKind]) -> tuple[str, bytes]:
        """Return a notice of a deduction or of an entry, whichever it is."""
        desk, service = self._desk, ParkingService(self._desk)
        altered = sorted(touched & {FaultKind.WRONG_AMOUNT, FaultKind.OTHER_MERCHANT})
        if event == ENTRY_CHANGED:
            url, told = service.entry_notice(notice.order_no, notice.told, frozenset(altered))
            plain, kind, at = wire.encode(told), "vehicle", instant(notice.due_at)
        else:
            desk.settle()
            order = desk.state.order(notice.order_no)
            assert order is not None, "a notice belongs to a deduction"
            url, plain, kind = order.notify_url, wire.encode(service.told(order, frozenset(altered))), "transaction"
            at = instant(order.paid_at or order.created_at)
        notice_id = notice.notice_id.partition("#")[0]
        nonce = hex_text(12, desk.seed, notice_id, *altered)
        body = told_by_notice(
            plain, kind=kind, event=event, summary=_PARKING_SUMMARIES[event], at=at, api_key=desk.config.api_key,
            notice_id=notice_id, nonce=nonce,
        )  # fmt: skip
        return url, body

    def _of_combined(self, notice: Notice, faults: tuple[Fault, ...], touched: frozenset[FaultKind]) -> tuple[str, bytes]:
        desk = self._desk
        combined = desk.state.combined(notice.order_no)
        assert combined is not None, "the notice is of a combined order"
        notice_id = notice.notice_id.partition("#")[0]
        plain = wire.encode(Combined(desk).notice(combined, faults, touched))
        altered = sorted(touched & {FaultKind.WRONG_AMOUNT, FaultKind.OTHER_MERCHANT})
        body = told_by_notice(
            plain,
            kind="transaction",
            event="TRANSACTION.SUCCESS",
            summary="支付成功",
            at=instant(combined.paid_at or 0),
            api_key=desk.config.api_key,
            notice_id=notice_id,
            nonce=hex_text(12, desk.seed, notice_id, *altered),
        )
        return combined.notify_url, body

    def _of_refund(self, notice: Notice) -> tuple[str, bytes]:
        desk = self._desk
        assert notice.refund_no is not None, "the notice is of a refund"
        refund, word = desk.state.refund(notice.refund_no), notice.refund_word
        assert refund is not None, "a refund's notice belongs to a refund"
        assert word is not None, "a refund's notice says what became of it"
        assert refund.notify_url is not None, "a refund without an address has no notices"
        notice_id = notice.notice_id.partition("#")[0]
        told = told_in_notice(desk, refund, word)
        nonce = hex_text(12, desk.seed, notice_id)
        return refund.notify_url, refund_notice(told, api_key=desk.config.api_key, notice_id=notice_id, nonce=nonce)


def _spoilt(headers: dict[str, str], touched: frozenset[FaultKind]) -> dict[str, str]:
    signature = headers["wechatpay-signature"]
    if FaultKind.SIGNTEST in touched:
        return headers | {"wechatpay-signature": "WECHATPAY/SIGNTEST/" + signature[19:]}
    if FaultKind.WRONG_SIGNATURE in touched:
        return headers | {"wechatpay-signature": signature[:-8] + ("AAAAAA==" if signature[-8:] != "AAAAAA==" else "BBBBBA==")}
    return headers


async def _at_most(waiting: Awaitable[object], seconds: float) -> None:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return
