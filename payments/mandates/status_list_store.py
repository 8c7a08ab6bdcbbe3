"""The questions that status lists ask of PostgreSQL. Private to this room. Entries are treated set by set; none is ever logged."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, text

from gateways.etc.services import ListKind

_LIST: Final = "kind, province, version, step, pulled_at, wants_full, tries, reason"


class ListRow(Struct, frozen=True, kw_only=True):
    """Where a list stands. ``version`` is empty and ``pulled_at`` None as long as it has never come."""

    kind: ListKind
    province: str
    version: str
    step: int
    pulled_at: datetime | None
    wants_full: bool
    tries: int
    reason: str | None


class ChangesRow(Struct, frozen=True, kw_only=True):
    """A list as one glance finds it. ``base`` is the step that the changes are counted from; None: ``add`` is the whole list."""

    version: str
    pulled_at: datetime | None
    base: int | None
    add: list[str]
    remove: list[str]


# Pulling


def ensure(tx: Connection, *, kinds: Sequence[str], provinces: Sequence[str], at: datetime) -> None:
    """Have a row for each list that is wanted, due at once where it is new, and none for any other: its entries go, too.

    Locks the lists that go, so that nobody writes entries of one meanwhile.
    """
    given = {"kinds": list(kinds), "provinces": list(provinces), "at": at}
    unwanted = text("""
        select true from payments.status_list l where not (l.kind = any(:kinds) and l.province = any(:provinces))
        order by kind, province for update
        """)
    unwanted_there = bool(tx.execute(unwanted, given).all())
    for table in ("status_entry", "status_step", "status_list") if unwanted_there else ():
        tx.execute(
            text(f"""
            delete from payments.{table} t using payments.status_list l
            where t.kind = l.kind and t.province = l.province and not (l.kind = any(:kinds) and l.province = any(:provinces))
            """),
            given,
        )
    tx.execute(
        text("""
        insert into payments.status_list (kind, province, due_at)
        select kind, province, :at
        from unnest(cast(:kinds as text[])) as k (kind), unnest(cast(:provinces as text[])) as p (province)
        on conflict (kind, province) do nothing
        """),
        given,
    )


def claim(tx: Connection, *, at: datetime, until: datetime) -> ListRow | None:
    """Claim the list that is due longest and that nobody holds, and count the call."""
    query = text(f"""
        with due as (
            select kind as k, province as p from payments.status_list
            where due_at <= :at and (claimed_until is null or claimed_until <= :at)
            order by due_at, kind, province limit 1 for update skip locked
        )
        update payments.status_list set claimed_until = :until, tries = tries + 1, tried_at = :at
        from due where kind = k and province = p
        returning {_LIST}
        """)
    found = tx.execute(query, {"at": at, "until": until}).first()
    return None if found is None else ListRow(**found._mapping)


def hold(tx: Connection, *, claimed: ListRow) -> bool:
    """Lock a claimed list until the transaction ends; False when a later call was begun since, or it is not wanted any more."""
    query = text("""
        select true from payments.status_list
        where kind = :kind and province = :province and tries = :tries and step = :step and version = :version
        for update
        """)
    return tx.execute(query, msgspec.structs.asdict(claimed)).first() is not None


def replace(tx: Connection, *, kind: str, province: str, entries: Sequence[str], step: int) -> int:
    """Make a list these entries and no others; returns how many changed."""
    gone = tx.execute(
        text("""
        update payments.status_entry e set is_listed = false, step = :step
        where e.kind = :kind and e.province = :province and e.is_listed
          and not exists (select from unnest(cast(:entries as text[])) as n (entry) where n.entry = e.entry)
        """),
        {"kind": kind, "province": province, "entries": list(entries), "step": step},
    )
    return gone.rowcount + put_on(tx, kind=kind, province=province, entries=entries, step=step)


def put_on(tx: Connection, *, kind: str, province: str, entries: Sequence[str], step: int) -> int:
    """Put entries on a list; returns how many were not on it."""
    query = text("""
        insert into payments.status_entry (kind, province, entry, is_listed, step)
        select distinct :kind, :province, entry, true, cast(:step as bigint) from unnest(cast(:entries as text[])) as n (entry)
        on conflict (kind, entry, province) do update set is_listed = true, step = excluded.step where not status_entry.is_listed
        """)
    return tx.execute(query, {"kind": kind, "province": province, "entries": list(entries), "step": step}).rowcount


def take_off(tx: Connection, *, kind: str, province: str, entries: Sequence[str], step: int) -> int:
    """Take entries off a list; returns how many were on it."""
    query = text("""
        update payments.status_entry e set is_listed = false, step = :step
        from (select distinct entry from unnest(cast(:entries as text[])) as n (entry)) n
        where e.kind = :kind and e.province = :province and e.entry = n.entry and e.is_listed
        """)
    return tx.execute(query, {"kind": kind, "province": province, "entries": list(entries), "step": step}).rowcount


def insert_step(tx: Connection, *, kind: str, province: str, step: int, version: str, at: datetime) -> None:
    query = text("""
        insert into payments.status_step (kind, province, step, version, pulled_at) values (:kind, :province, :step, :version, :at)
        """)
    tx.execute(query, {"kind": kind, "province": province, "step": step, "version": version, "at": at})


def renewed(
    tx: Connection, *, kind: str, province: str, version: str, step: int, was_full: bool, at: datetime, due_at: datetime
) -> None:  # fmt: skip
    """Write that a list was renewed, and give it back."""
    query = text("""
        update payments.status_list
        set version = :version, step = :step, was_full = :was_full, pulled_at = :at, due_at = :due_at, reason = null,
            wants_full = false, claimed_until = null
        where kind = :kind and province = :province
        """)
    given = {"kind": kind, "province": province, "version": version, "step": step, "was_full": was_full, "at": at, "due_at": due_at}
    tx.execute(query, given)


def not_renewed(tx: Connection, *, kind: str, province: str, reason: str, wants_full: bool, due_at: datetime) -> None:
    """Write why a call brought nothing, and give the list back."""
    query = text("""
        update payments.status_list set reason = :reason, wants_full = :wants_full, due_at = :due_at, claimed_until = null
        where kind = :kind and province = :province
        """)
    tx.execute(query, {"kind": kind, "province": province, "reason": reason, "wants_full": wants_full, "due_at": due_at})


def forget(tx: Connection, *, kind: str, province: str, before: datetime) -> None:
    """Delete the steps that came before, but for the last one, and the entries that were taken off up to the oldest step left.

    Nobody can ask for the changes of those steps any more, so nobody needs those entries.
    """
    given = {"kind": kind, "province": province, "before": before}
    old = tx.execute(
        text("""
        delete from payments.status_step s
        where s.kind = :kind and s.province = :province and s.pulled_at < :before
          and s.step < (select max(step) from payments.status_step where kind = :kind and province = :province)
        """),
        given,
    )
    if old.rowcount:
        tx.execute(
            text("""
            delete from payments.status_entry where kind = :kind and province = :province and not is_listed
              and step <= (select min(step) from payments.status_step where kind = :kind and province = :province)
            """),
            given,
        )


# Reading


def find(tx: Connection, *, kind: str, province: str) -> ListRow | None:
    query = text(f"select {_LIST} from payments.status_list where kind = :kind and province = :province")
    found = tx.execute(query, {"kind": kind, "province": province}).first()
    return None if found is None else ListRow(**found._mapping)


def pulled_before(tx: Connection, *, at: datetime) -> list[ListRow]:
    """Return the lists that were not renewed since ``at``, by kind and province."""
    query = text(f"select {_LIST} from payments.status_list where pulled_at is null or pulled_at < :at order by kind, province")
    return [ListRow(**row._mapping) for row in tx.execute(query, {"at": at})]


def is_listed(tx: Connection, *, kind: str, entry: str, since: datetime) -> bool:
    """Tell whether an entry is on a list, of whatever province, that was renewed since ``since``."""
    query = text("""
        select exists (
            select from payments.status_entry e
            join payments.status_list l on l.kind = e.kind and l.province = e.province and l.pulled_at >= :since
            where e.kind = :kind and e.entry = :entry and e.is_listed)
        """)
    return bool(tx.execute(query, {"kind": kind, "entry": entry, "since": since}).scalar_one())


def changes(tx: Connection, *, kind: str, province: str, since: str) -> ChangesRow | None:
    """Return a list and what changed in it since a version, in one statement and so at one moment; None: there is no such list.

    A version that was told more than once counts from its first time: what is told again does no harm.
    """
    query = text("""
        with base as (
            select min(step) as step from payments.status_step
            where kind = :kind and province = :province and version = :since and :since <> ''
        )
        select l.version, l.pulled_at, b.step as base,
               array(select entry from payments.status_entry e
                     where e.kind = l.kind and e.province = l.province and e.is_listed and e.step > coalesce(b.step, 0)
                     order by entry) as add,
               array(select entry from payments.status_entry e
                     where e.kind = l.kind and e.province = l.province and not e.is_listed and e.step > b.step
                     order by entry) as remove
        from payments.status_list l, base b
        where l.kind = :kind and l.province = :province
        """)
    found: Any = tx.execute(query, {"kind": kind, "province": province, "since": since}).first()
    return None if found is None else ChangesRow(**found._mapping)
