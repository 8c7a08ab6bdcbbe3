"""Parties 主体: who owns debts and who recovers them, each with a book of its own.

Knows the registry of parties and opens books in the ledger; must not know debts or shares. Called by the command line and by the
modules beside it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.accounts import OwnerKind
from ledger.books import NewBook, open_books
from ledger.errors import Conflict, NotFound, Refused
from payments.lots import CODE


class NewParty(Struct, frozen=True, kw_only=True):
    """A party that is no operator: the platform, a district's bureau, a company."""

    kind: OwnerKind
    code: str
    name: str
    """Legal name."""
    district: str | None = None
    """A bureau's district."""
    lane: int = 0


class Party(Struct, frozen=True, kw_only=True):
    """A registered party."""

    party_id: int
    lane: int
    kind: OwnerKind
    code: str
    name: str
    book_id: int
    operator_id: int | None
    district: str | None


def register(tx: Connection, *, party: NewParty, at: datetime) -> Party:
    """Register a party and open its book. May be repeated: the same is the same. An advisory lock orders those who register.

    Raises:
        Conflict: ``party_conflict``, the code, the district or the platform's place is taken by another.
        Refused: ``party_invalid``; operators are registered as operators and are parties by that.
    """
    if party.kind == "operator" or CODE.fullmatch(party.code) is None or not party.name.strip():
        raise Refused(
            "a platform, district or company with a code of 2 to 32 letters, digits, hyphens and a name", code="party_invalid"
        )
    if (party.kind == "district") != (party.district is not None):
        raise Refused("a district's bureau, and only that, names its district", code="party_invalid")
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.party'))"))
    for known in listed(tx):
        same = (known.kind, known.code) == (party.kind, party.code)
        if same and (known.name, known.district, known.lane) == (party.name, party.district, party.lane):
            return known
        if same or (party.kind == known.kind == "platform") or (party.district and party.district == known.district):
            raise Conflict(f"{known.kind} {known.code} ({known.name}) is registered already", code="party_conflict")
    [book_id] = open_books(tx, books=[NewBook(party.lane, party.kind, party.name)], at=at)
    tx.execute(
        text("""
        insert into payments.party (party_id, lane, kind, code, name, book_id, district, registered_at)
        select coalesce(max(party_id), 0) + 1, :lane, :kind, :code, :name, :book, :district, :at from payments.party
        """),
        {
            "lane": party.lane, "kind": party.kind, "code": party.code, "name": party.name, "book": book_id,
            "district": party.district, "at": at,
        },
    )  # fmt: skip
    return by_code(tx, code=party.code, kind=party.kind)


def take_in_operators(tx: Connection, *, at: datetime) -> None:
    """Make every operator a party with the book that it has. May be called as often as wanted."""
    missing = text("""
        select exists (select from payments.operator o where not exists (
            select from payments.party p where p.operator_id = o.operator_id))
        """)
    if not tx.execute(missing).scalar_one():
        return
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.party'))"))
    tx.execute(
        text("""
        insert into payments.party (party_id, lane, kind, code, name, book_id, operator_id, registered_at)
        select (select coalesce(max(party_id), 0) from payments.party) + row_number() over (order by o.operator_id),
               o.lane, 'operator', o.code, o.legal_name, o.book_id, o.operator_id, :at
        from payments.operator o
        where not exists (select from payments.party p where p.operator_id = o.operator_id)
        """),
        {"at": at},
    )


_PARTY: Final = "select party_id, lane, kind, code, name, book_id, operator_id, district from payments.party "


def listed(tx: Connection) -> list[Party]:
    """Return all parties in the order of their numbers."""
    return [Party(**row._mapping) for row in tx.execute(text(_PARTY + "order by party_id"))]


def by_code(tx: Connection, *, code: str, kind: OwnerKind | None = None) -> Party:
    """Return a party. Raises NotFound (``party_not_found``); Conflict (``party_conflict``) when two kinds share the code."""
    found = [party for party in listed(tx) if party.code == code and kind in (party.kind, None)]
    if not found:
        raise NotFound(f"there is no party {code}", code="party_not_found")
    if len(found) > 1:
        raise Conflict(f"{code} is the code of a {' and of a '.join(party.kind for party in found)}", code="party_conflict")
    return found[0]


def platform(tx: Connection) -> Party | None:
    """Return the city's platform, once it is registered."""
    row = tx.execute(text(_PARTY + "where kind = 'platform'")).first()
    return None if row is None else Party(**row._mapping)


def refer(
    tx: Connection, *, lane: int, recoverer: Party, order_ids: Sequence[UUID] = (), basket_ids: Sequence[UUID] = ()
) -> int:  # fmt: skip
    """Note through whose effort payers came, on their orders or baskets; the first reference stays. Returns how many were noted.

    To be called before the payer pays: once a payment is attributed, a reference changes nothing.
    """
    given = {"lane": lane, "party": recoverer.party_id, "orders": list(order_ids), "baskets": list(basket_ids)}
    query = text("""
        with orders as (
            update payments.pay_order set recoverer_id = :party
            where lane = :lane and order_id = any(cast(:orders as uuid[])) and recoverer_id is null returning 1
        ), baskets as (
            update payments.basket set recoverer_id = :party
            where lane = :lane and basket_id = any(cast(:baskets as uuid[])) and recoverer_id is null returning 1
        )
        select (select count(*) from orders) + (select count(*) from baskets)
        """)
    return int(tx.execute(query, given).scalar_one())
