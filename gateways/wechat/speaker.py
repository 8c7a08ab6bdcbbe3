"""What all calls to WeChat Pay have in common: who we are, how a request is signed, what an answer proves.

Knows signatures, statuses and error codes; must not know what an order or a refund is. Base of the adapter's parts.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from msgspec import Struct

from gateways.contract import Answer, Channel, Reading, Request, Unanswered, Verdict
from gateways.keys import KeyRing
from gateways.wechat import sign, wire
from gateways.wechat.wire import Meaning
from ledger.clock import CHINA

USER_AGENT: Final = "tongting/0.1 (WeChat Pay APIv3)"
_T = TypeVar("_T")


class Provider(Struct, frozen=True):
    """Who we are at WeChat Pay: the service provider. ``notify_url`` takes all notices, without a query string."""

    provider_no: str
    """sp_mchid."""
    app_id: str
    """sp_appid, bound to the provider number."""
    notify_url: str
    api_url: str = wire.API_URL
    site_name: str | None = None
    """Name of the pay page, as the channel asks for it when a browser is led to the wallet."""
    site_url: str | None = None
    """Address of the pay page; its domain is registered with the channel for payments by browser."""
    sign_url: str | None = None
    """Opens a page of the channel's mini program: ``{path}`` in it stands for page and query, ``{path_quoted}`` for the same as one
    value. None: the contract gave none."""


class Opened(Struct, frozen=True):
    """An answer after its signature was looked at."""

    verdict: Verdict
    reason: str | None
    body: bytes = b""
    meaning: Meaning | None = None
    """Set for an error answer that is believed."""


class Speaker(Channel[KeyRing]):
    """Builds signed requests and opens answers."""

    provider: Provider

    def request(
        self, method: str, path: str, body: bytes = b"", *, keys: KeyRing, now: datetime, nonce: str, serial: str | None = None
    ) -> Request:
        """Return a signed request to the API. ``serial`` names the key that fields of the body are encrypted with, if any are."""
        return self.request_to(self.provider.api_url + path, body, method=method, keys=keys, now=now, nonce=nonce, serial=serial)

    def request_to(
        self, url: str, body: bytes = b"", *, method: str, keys: KeyRing, now: datetime, nonce: str, serial: str | None = None
    ) -> Request:
        """Return a signed request to an address that the channel gave, verbatim."""
        headers = {
            "accept": "application/json",
            "user-agent": USER_AGENT,
            "authorization": sign.authorization(
                provider_no=self.provider_no, method=method, url=url, body=body, keys=keys, now=now, nonce=nonce
            ),
        }
        if body:
            headers["content-type"] = "application/json"
        if (named := serial or keys.preferred_serial) is not None:
            headers[sign.SERIAL] = named
        return Request(method=method, url=url, headers=headers, body=body)

    def opened(self, answer: Answer | Unanswered, *, keys: KeyRing, now: datetime) -> Opened:
        """Look at an API answer's signature and status. Only a signed 2xx has no reason; only a believed error has a meaning."""
        if isinstance(answer, Unanswered):
            return Opened(verdict="unanswered", reason=answer.reason)
        objection = sign.objection(answer.headers, answer.body, keys=keys, now=now)
        if 200 <= answer.status < 300:
            if objection is not None:
                return Opened(verdict="refused", reason=objection)
            # 202 means accepted and still working: nothing is decided
            reason = "unavailable" if answer.status == 202 else None
            return Opened(verdict="verified", reason=reason, body=answer.body)
        if objection is not None and (sign.SIGNATURE in answer.headers or not wire.UNSIGNED_ERRORS_COUNT):
            return Opened(verdict="refused", reason=objection)
        meaning = wire.meaning(answer.body)
        return Opened(
            verdict="verified" if objection is None else "unverified", reason=_reason(answer.status, meaning), meaning=meaning
        )


def decoded(decode: Callable[[bytes], _T], opened: Opened) -> _T | None:
    """Return what a believed answer says, or None when it is not believed or cannot be read."""
    return None if opened.reason is not None else read(decode, opened.body)


def read(decode: Callable[[bytes], _T], body: bytes) -> _T | None:
    """Return a decoded body, or None when it has another form."""
    try:
        return decode(body)
    except wire.UNREADABLE:
        return None


def unproven(opened: Opened) -> tuple[Verdict, str]:
    """Return verdict and reason for an answer that was not believed, or could not be read."""
    if opened.reason is not None:
        return opened.verdict, opened.reason
    return "unreadable", "field_missing"


def unreadable(reason: str) -> Reading:
    """Return the reading of a genuine message that says nothing that counts."""
    return Reading(verdict="unreadable", reason=reason)


def rfc3339(at: datetime) -> str:
    """Return an instant as the channel writes it: China time, whole seconds."""
    return at.astimezone(CHINA).isoformat(timespec="seconds")


def cut(text: str, bytes_max: int) -> str:
    """Return as much of a text as fits, without cutting a character in two."""
    return text.encode()[:bytes_max].decode(errors="ignore")


def plain(text: str) -> str:
    """Drop what the channel refuses: characters of more than three bytes in UTF-8 and control characters."""
    return "".join(letter for letter in text if " " <= letter <= "\uffff" and not "\ud800" <= letter <= "\udfff")


def _reason(status: int, meaning: Meaning | None) -> str:
    if meaning is not None:
        return meaning.value
    return Meaning.UNAVAILABLE if status >= 500 else "error_unlisted"
