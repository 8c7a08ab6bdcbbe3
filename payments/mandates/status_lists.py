"""Status lists 状态名单: cards, units and plates that must not be charged, as the clearing party keeps them, and who asks for them.

Knows lists and when they are due; must not know HTTP or the wire: lists come by a sender. Called by the worker, by deductions
before they ask ETC, and by the API for lots' lanes. Source: docs/ETC.md, sections 7, 8 and 12.

The lists are personal data. What is in force is kept; what was taken off stays for 30 days, so that lots can be told. Nothing of
it is logged.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct
from sqlalchemy import Connection

from gateways import messages
from gateways.calls import Call
from gateways.etc import lists, services
from gateways.etc.lists import ListOutcome
from gateways.etc.services import ListKind, StatusList, StatusListAsk
from ledger.errors import NotFound, Unavailable
from payments.checkout import Till
from payments.mandates import status_list_store
from payments.mandates.status_list_store import ListRow

CHANNEL: Final = "etc"
PULL_EVERY: Final = timedelta(hours=1)
TRY_AGAIN: Final = timedelta(minutes=5)
"""After a call that brought nothing."""
STALE_AFTER: Final = timedelta(hours=services.STATUS_LIST_HOURS_MAX)
CLAIM: Final = timedelta(minutes=5)
"""How long a worker may hold a list: longer than the largest answer may take."""
CHANGES_KEPT: Final = timedelta(days=30)
"""How far back changes can be told; who asks for earlier ones gets the whole list."""


class Sender(Protocol):
    """The way of lists from the clearing party. ``ask`` never raises for what the outside does."""

    def ask(self, ask: StatusListAsk, *, occasion: str) -> Call[ListOutcome]: ...


class Stale(Struct, frozen=True):
    """A list that was not renewed for two hours: it is not used. ``reason`` says why the last call brought nothing."""

    kind: ListKind
    province: str
    pulled_at: datetime | None
    reason: str | None


class Pulled(Struct, frozen=True):
    """What a run did: calls made, how many of them renewed a list, and the lists that are stale all the same."""

    called: int
    renewed: int
    stale: tuple[Stale, ...]


class Changes(Struct, frozen=True, kw_only=True):
    """A status list, or what changed in it. ``full``: ``add`` is the whole list and replaces what was known.

    ``stale``: it was not renewed for two hours, so that cards that were barred since may be missing.
    """

    kind: ListKind
    province: str
    version: str
    pulled_at: datetime
    stale: bool
    full: bool
    add: tuple[str, ...]
    remove: tuple[str, ...]


# Pulling


def pull_due(till: Till, sender: Sender, *, provinces: Sequence[str], kinds: Sequence[ListKind]) -> Pulled:
    """Ask for every list that is due, hourly each, and keep what comes. Lists that are not wanted any more are deleted.

    May be run by any number of workers at once: each list is claimed in the database and pulled by one of them.
    """
    at = till.clock.now()
    with till.db.begin() as tx:
        status_list_store.ensure(tx, kinds=kinds, provinces=provinces, at=at)
    called = renewed = 0
    while row := _claimed(till):
        called += 1
        renewed += _pull(till, sender, row)
    with till.db.connect() as tx:
        late = status_list_store.pulled_before(tx, at=till.clock.now() - STALE_AFTER)
    return Pulled(called, renewed, tuple(Stale(row.kind, row.province, row.pulled_at, row.reason) for row in late))


def _claimed(till: Till) -> ListRow | None:
    """Claim one list that is due: one at a time, because the claim must outlast a call that nobody answers."""
    at = till.clock.now()
    with till.db.begin() as tx:
        return status_list_store.claim(tx, at=at, until=at + CLAIM)


def _pull(till: Till, sender: Sender, row: ListRow) -> bool:
    """Ask for one claimed list outside any transaction and carry out the answer; says whether the list was renewed."""
    ask = StatusListAsk(row.kind, row.province, "" if row.wants_full else row.version)
    call = sender.ask(ask, occasion=f"list {row.kind} {row.province} {row.tries}")
    with till.db.begin() as tx:
        messages.keep(tx, lane=till.lane, messages=[call.message])
        if not status_list_store.hold(tx, claimed=row):
            return False  # somebody asked again since, and that answer counts
        return _carry_out(tx, row, ask, call.outcome, at=till.clock.now())


def _carry_out(tx: Connection, row: ListRow, ask: StatusListAsk, outcome: ListOutcome, *, at: datetime) -> bool:
    """Write what an answer leads to for a held list. Changes that make no sense are not taken: all is asked for at once, then."""
    changes = outcome.changes
    wrong = outcome.reason or outcome.verdict if changes is None else lists.objection(ask, changes)
    if changes is None or wrong is not None:
        starts_over = changes is not None and bool(ask.since_version)
        status_list_store.not_renewed(
            tx, kind=row.kind, province=row.province, reason=wrong or outcome.verdict, wants_full=row.wants_full or starts_over,
            due_at=at if starts_over else at + TRY_AGAIN,
        )  # fmt: skip
        return False
    step = row.step + 1
    if not _apply(tx, row, changes, step) and row.step and changes.version == row.version:
        step = row.step
    else:
        status_list_store.insert_step(tx, kind=row.kind, province=row.province, step=step, version=changes.version, at=at)
    status_list_store.renewed(
        tx, kind=row.kind, province=row.province, version=changes.version, step=step, was_full=changes.full, at=at,
        due_at=at + PULL_EVERY,
    )  # fmt: skip
    status_list_store.forget(tx, kind=row.kind, province=row.province, before=at - CHANGES_KEPT)
    return True


def _apply(tx: Connection, row: ListRow, changes: StatusList, step: int) -> int:
    """Carry changes out, as ``services.with_changes`` says; returns how many entries they touched."""
    where = {"kind": row.kind, "province": row.province}
    if changes.full:
        return status_list_store.replace(tx, **where, entries=changes.add, step=step)
    gone = sorted(set(changes.remove) - set(changes.add))
    touched = status_list_store.take_off(tx, **where, entries=gone, step=step)
    return touched + status_list_store.put_on(tx, **where, entries=changes.add, step=step)


# Asking


def listed(tx: Connection, *, kind: ListKind, entry: str, at: datetime) -> bool:
    """Tell whether an entry is on a list that is not stale. False proves nothing: the list may be stale, or not be kept at all."""
    return status_list_store.is_listed(tx, kind=kind, entry=entry, since=at - STALE_AFTER)


def plate_listed(tx: Connection, *, plate: str, color: str, at: datetime) -> bool:
    """Tell whether a plate is on a list of plates that is not stale, so that ETC need not be asked to charge it."""
    entry = lists.plate_entry(plate, color)
    return entry is not None and listed(tx, kind="PLATE", entry=entry, at=at)


def version(tx: Connection, *, kind: ListKind, province: str) -> str | None:
    """Return the version of a list that is kept, stale or not; None when it has never come."""
    row = status_list_store.find(tx, kind=kind, province=province)
    return None if row is None or row.pulled_at is None else row.version


def changes_since(tx: Connection, *, kind: ListKind, province: str, since: str, at: datetime) -> Changes:
    """Return what changed in a list since a version that it had within 30 days, else the whole list.

    Carried out on what had that version, ``remove`` first, the list of ``version`` comes out; doing it twice does no harm.

    Raises:
        NotFound: ``status_list_not_found``, this list is not kept here.
        Unavailable: ``status_list_missing``, it has not come yet. That is not an empty list.
    """
    found = status_list_store.changes(tx, kind=kind, province=province, since=since)
    if found is None:
        raise NotFound("this status list is not kept here", code="status_list_not_found")
    if found.pulled_at is None:
        raise Unavailable("this status list has not come from the clearing party yet; ask again", code="status_list_missing")
    return Changes(
        kind=kind, province=province, version=found.version, pulled_at=found.pulled_at, stale=found.pulled_at < at - STALE_AFTER,
        full=found.base is None, add=tuple(found.add), remove=tuple(found.remove),
    )  # fmt: skip
