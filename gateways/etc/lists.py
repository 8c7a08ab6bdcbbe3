"""Status lists 状态名单 beside the contract: cards, units and plates that must not be charged, pulled by province.

Knows ``etc.status.list`` and its reply; must not know network, clock or where a list is kept. Called by whoever keeps lists.
Source: docs/ETC.md, sections 7 and 8.
"""

from datetime import datetime

from msgspec import Struct

from gateways.contract import Answer, Request, Unanswered, Verdict
from gateways.etc import line, services
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.keys import EtcKeys
from gateways.etc.line import Provider
from gateways.etc.services import Service, StatusList, StatusListAsk


class ListOutcome(Struct, frozen=True):
    """What asking for a list led to. ``changes`` go into the kept list by ``gateways.etc.services.with_changes``."""

    verdict: Verdict
    changes: StatusList | None = None
    reason: str | None = None


def build(ask: StatusListAsk, *, provider: Provider, keys: EtcKeys, now: datetime, nonce: str) -> Request:
    """Return the call that asks for what changed since a version. Raises ValueError for a form that is wrong, SigningFailed."""
    msg_id = line.message_no(Service.STATUS_LIST, _subject(ask), nonce)
    return line.request(provider, Service.STATUS_LIST, services.body_of(ask), msg_id=msg_id, key=keys.own(None), now=now)


def outcome(answer: Answer | Unanswered, *, ask: StatusListAsk, provider: Provider, keys: EtcKeys, now: datetime) -> ListOutcome:
    """Read the answer. Without ``changes`` the kept list stands, and grows stale after two hours."""
    told = line.told(
        provider,
        answer,
        Service.STATUS_LIST,
        keys=keys,
        now=now,
        is_ours=lambda number: line.is_about(number, Service.STATUS_LIST, _subject(ask)),
    )
    if told.receipt is not Receipt.ACCEPTED:
        return ListOutcome(told.verdict, reason=told.reason)
    changes = services.read(StatusList, told.data)
    if isinstance(changes, Rejection):
        return ListOutcome("unreadable", reason="field_missing")
    return ListOutcome("verified", changes)


def _subject(ask: StatusListAsk) -> str:
    return f"{ask.kind} {ask.province_code} {ask.since_version}"
