"""Signed calls to Alipay's gateway, and its answers opened: the signature first, then what the code means.

Knows how a call is made and what an answer proves; must not know orders or what follows. Called by the adapter and the login.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

from gateways.alipay import answers, errors, sign, wire
from gateways.alipay.errors import Meaning
from gateways.alipay.keys import App, Grant
from gateways.contract import Answer, Request, Unanswered, Verdict
from gateways.keys import VerificationKey

_SUCCESS: Final = {wire.LOGIN: frozenset({wire.OK, ""})}  # a login that went well has no code
_SUCCESS_ELSE: Final = frozenset({wire.OK})


class Opened(Struct, frozen=True):
    """An answer that was looked at. Without a ``reason`` the call succeeded and ``text`` is the proven node."""

    verdict: Verdict
    reason: str | None
    text: str = ""
    meaning: Meaning | None = None
    """Set for a proven error answer whose code is listed."""


def signed_fields(
    method: str,
    *,
    app: App,
    now: datetime,
    content: str | None = None,
    grant: Grant | None = None,
    notify_url: str | None = None,
    return_url: str | None = None,
    beside: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return a call's fields with its signature. ``beside`` stands next to the common fields, where a method wants that.

    Raises SigningFailed when the key is out of reach.
    """
    fields = wire.common(
        app_id=app.app_id,
        method=method,
        now=now,
        biz_content=content,
        notify_url=notify_url,
        return_url=return_url,
        app_auth_token=None if grant is None else grant.app_auth_token,
        app_cert_sn=app.app_cert_sn,
        root_cert_sn=app.root_cert_sn,
    )
    return sign.signed({**fields, **(beside or {})}, sign=app.sign)


def posted(fields: Mapping[str, str], *, gateway: str) -> Request:
    """Return signed fields as a call: all of them in the body, so that no log of addresses holds a token."""
    headers = {"content-type": wire.FORM_TYPE, "accept": "application/json"}
    return Request(method="POST", url=gateway, headers=headers, body=wire.form_body(fields))


def opened(answer: Answer | Unanswered, *, method: str, app: App | None, now: datetime) -> Opened:
    """Look at an answer to ``method``. Unsigned or badly signed it proves nothing, neither success nor failure."""
    if isinstance(answer, Unanswered):
        return Opened(verdict="unanswered", reason=answer.reason)
    if answer.status != 200:
        return Opened(verdict="unverified", reason=Meaning.UNAVAILABLE)
    taken = sign.envelope(answer.body, method=method)
    cert_sn = None if taken is None else taken.cert_sn
    proven = _proven(taken, () if app is None else app.candidates(cert_sn, at=now))
    if proven.reason is not None:
        return Opened(verdict="refused", reason=proven.reason)
    head = answers.read(proven.text, answers.Head)
    if taken is None or head is None:
        return Opened(verdict="unreadable", reason="not_json")
    if not taken.failed and head.code in _SUCCESS.get(method, _SUCCESS_ELSE):
        return Opened(verdict="verified", reason=None, text=proven.text)
    meaning = errors.meaning(head)
    reason = "error_unlisted" if meaning is None else meaning.value
    return Opened(verdict="verified", reason=reason, text=proven.text, meaning=meaning)


def notice_objection(form: sign.Form, *, app: App | None, now: datetime) -> str | None:
    """Return why a notice is not proven to be the channel's for ``app``, or None when it is."""
    candidates = () if app is None else app.candidates(form.text.get(sign.CERT_SN), at=now)
    reasons = [sign.notice_objection(form, key=key) for key in candidates or (None,)]
    return None if None in reasons else reasons[0]


def _proven(taken: sign.Envelope | None, candidates: tuple[VerificationKey, ...]) -> sign.Opened:
    looks = [sign.opened(taken, key=key) for key in candidates or (None,)]
    return next((look for look in looks if look.reason is None), looks[0])
