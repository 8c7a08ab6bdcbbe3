"""Status lists 状态名单 beside the contract: cards, units and plates that must not be charged, pulled by province.

Knows ``etc.status.list`` and its reply; must not know network, clock or where a list is kept. Called by whoever keeps lists.
Source: docs/ETC.md, sections 7 and 8.
"""

import re
from datetime import datetime
from typing import Final

from msgspec import Struct

from gateways.contract import Answer, Request, Unanswered, Verdict
from gateways.etc import line, orders, services
from gateways.etc.codes import Receipt, Rejection
from gateways.etc.keys import EtcKeys
from gateways.etc.line import Provider
from gateways.etc.record import joined_plate
from gateways.etc.services import Service, StatusList, StatusListAsk

_NUMBERED: Final = re.compile(r"[0-9]+([_.\-][0-9]+)*")
_PARTS: Final = re.compile(r"[_.\-]")


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


def objection(ask: StatusListAsk, changes: StatusList) -> str | None:
    """Say why changes do not continue what was asked for, or None when they do.

    ``not_full``: changes only, though all was asked for, so that there is nothing that they change. ``version_backwards``: the
    version told is earlier than the one that the changes were asked since.
    """
    if not ask.since_version:
        return None if changes.full else "not_full"
    return "version_backwards" if is_earlier(changes.version, ask.since_version) else None


def is_earlier(version: str, other: str) -> bool:
    """Tell whether a version is certainly earlier than another: digits, or groups of digits, compared as numbers [P].

    Versions of any other form cannot be put in order, and none of them is earlier.
    """
    ours, theirs = _numbers(version), _numbers(other)
    return len(ours) == len(theirs) > 0 and ours < theirs


def plate_entry(plate: str, color: str) -> str | None:
    """Return how a plate stands on a list [P], number and colour as one word; None for a colour that ETC does not know."""
    colour = orders.COLOURS.get(color)
    return None if colour is None else joined_plate(plate, colour)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _PARTS.split(version)) if _NUMBERED.fullmatch(version) else ()


def _subject(ask: StatusListAsk) -> str:
    return f"{ask.kind} {ask.province_code} {ask.since_version}"
