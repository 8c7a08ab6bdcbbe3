"""Ask a lot's system what a plate owes now: the bytes of question and answer, and the call.

Knows HTTP, the form of quotes and which addresses may be called; must not know charges or tables. Called by
``payments.quoting.asking``, always outside a transaction, from any thread. Source: docs/QUOTES.md.
"""

import asyncio
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as TookTooLong
from datetime import datetime
from typing import Annotated, Final

import httpx
import msgspec
from msgspec import Meta, Struct

from gateways.contract import Verdict
from gateways.parking.addresses import Guard
from gateways.parking.sender import Sender, _excerpt, _failure

ANSWER_BYTES_MAX: Final = 64 * 1024
QUOTES_MAX: Final = 5
"""Most quotes in one answer: a plate has one stay at a lot, seldom two."""
EVENT_TYPE: Final = "quote.asked"
_GRACE_SECONDS: Final = 0.5
"""The call ends itself in time; should the loop be held up, whoever waits for it goes on after this."""

Moment = Annotated[datetime, Meta(tz=True)]


class Asked(Struct, frozen=True):
    """What is asked. ``at`` is our clock."""

    lot: str
    plate: str
    plate_color: str
    at: datetime


class Question(Struct, frozen=True):
    """The body of a question."""

    type: str
    data: Asked


class LotQuote(Struct, frozen=True, kw_only=True):
    """A price as the lot's system answers it: what the stay would cost if it were paid until ``valid_until``."""

    serial: str
    """The lot's own number of this price: another price has another one."""
    stay_serial: str
    """The lot's own number of the stay: the same in all its prices."""
    plate: str
    plate_color: str = "unknown"
    entered_at: Moment
    minutes: int
    amount_fen: int
    """0: nothing is due now."""
    tariff_text: str
    valid_until: Moment
    scene: str | None = None
    energy_fen: int | None = None
    """Where charging and parking are one bill: how much of the amount is for energy."""


class _Body(Struct, frozen=True):
    quotes: Annotated[list[LotQuote], Meta(max_length=QUOTES_MAX)]


class Answer(Struct, frozen=True):
    """What came of a question. ``status`` is None where there was no answer; ``failure`` says why, or that it was too long."""

    status: int | None
    body: bytes
    failure: str | None = None
    detail: str = ""


class Heard(Struct, frozen=True):
    """What an answer means. ``quotes`` is None: the lot is away; ``reason`` and ``detail`` say how. Not for payers' eyes."""

    verdict: Verdict
    quotes: tuple[LotQuote, ...] | None
    reason: str | None = None
    detail: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Body).decode


def question(*, lot: str, plate: str, plate_color: str, at: datetime) -> bytes:
    """Return the body of a question."""
    return _encode(Question(EVENT_TYPE, Asked(lot, plate, plate_color, at)))


def read(answer: Answer, *, secure: bool) -> Heard:
    """Return what an answer means: only a well-formed 200 is one. Pure.

    Nobody signs an answer: that it is the lot's says the certificate of the address (``secure``), so over plain http, which only
    networks of the installation are called by, it is ``unverified``.
    """
    if answer.status is None:
        return Heard("unanswered", None, answer.failure, answer.detail)
    if answer.failure is not None:
        return Heard("refused", None, answer.failure, answer.detail)
    if answer.status != 200:
        return Heard("refused", None, "status", f"the answer has the status {answer.status}, not 200")
    try:
        quotes = _decode(answer.body).quotes
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        return Heard("unreadable", None, "malformed", f"the answer does not fit: {wrong}")
    return Heard("verified" if secure else "unverified", tuple(quotes))


class Network:
    """The calls, all from one thread of its own that begins with the first one; connections are kept for the next question.

    Safe to use from many threads. The rules about addresses are those of ``Sender``.
    """

    def __init__(self, guard: Guard, *, trusted: ssl.SSLContext | None = None) -> None:
        self._guard, self._trusted = guard, trusted
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._asker: _Asker | None = None

    def ask(self, url: str, *, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """Send a question and return what came within ``seconds`` in all, names and handshakes included. Never raises for what
        the outside does."""
        loop, asker = self._running()
        call = asyncio.run_coroutine_threadsafe(asker.ask(url, headers=headers, body=body, seconds=seconds), loop)
        try:
            return call.result(seconds + _GRACE_SECONDS)
        except (TookTooLong, CancelledError):
            call.cancel()
            return _late(seconds)

    def close(self) -> None:
        """Close all connections and end the thread."""
        with self._lock:
            loop, thread, asker = self._loop, self._thread, self._asker
            self._loop = self._thread = self._asker = None
        if loop is None or thread is None or asker is None:
            return
        asyncio.run_coroutine_threadsafe(asker.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()

    def _running(self) -> tuple[asyncio.AbstractEventLoop, "_Asker"]:
        with self._lock:
            if self._loop is None or self._asker is None:
                self._loop = asyncio.new_event_loop()
                self._asker = _Asker(self._guard, trusted=self._trusted)
                self._thread = threading.Thread(target=self._loop.run_forever, name="quotes", daemon=True)
                self._thread.start()
            return self._loop, self._asker


class _Asker(Sender):
    """The webhooks' sender, which brings back the whole answer."""

    async def ask(self, url: str, *, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                sent = dict(headers) | {"accept": "application/json", "user-agent": "Tongting-Quotes/1"}
                async with self._client.stream("POST", url, headers=sent, content=body, timeout=seconds) as response:
                    return await _whole(response)
        except (TimeoutError, httpx.TimeoutException):
            return _late(seconds)
        except Exception as broken:  # whatever a stranger's server does to the client is this question's failure
            return Answer(None, b"", _failure(broken), _excerpt(str(broken).encode("utf-8", "replace")))
        finally:
            self._client.cookies.clear()


async def _whole(response: httpx.Response) -> Answer:
    parts, size = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            words = f"the answer is longer than {ANSWER_BYTES_MAX} bytes"
            return Answer(response.status_code, b"".join(parts)[:ANSWER_BYTES_MAX], "too_large", words)
    return Answer(response.status_code, b"".join(parts))


def _late(seconds: float) -> Answer:
    return Answer(None, b"", "timeout", f"no answer within {seconds:g} seconds")
