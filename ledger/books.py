"""Open books 账套: one accounting entity each, in the lane that orders its entries.

Knows the tables of lanes and books only. Called where parties are registered, and by the composition root for the first lane.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from sqlalchemy import Connection, text


class NewBook(Struct, frozen=True):
    """A party that keeps a book."""

    lane: int
    owner_kind: Literal["operator", "platform", "district", "company"]
    owner_name: str
    """Legal name of the party."""


def open_lane(tx: Connection, *, lane: int, origin: str) -> None:
    """Open a lane under the origin line of its checkpoints; a lane already open keeps the origin it has."""
    statement = text("insert into ledger.lane (lane, origin) values (:lane, :origin) on conflict (lane) do nothing")
    tx.execute(statement, {"lane": lane, "origin": origin})


def open_books(tx: Connection, *, books: Sequence[NewBook], at: datetime) -> list[int]:
    """Open books and return their numbers, in the order given. Numbers are dense: an advisory lock orders those who open books."""
    if not books:
        return []
    tx.execute(text("select pg_advisory_xact_lock(hashtext('ledger.book'))"))
    statement = text(
        """
        insert into ledger.book (book_id, lane, owner_kind, owner_name, opened_at)
        select (select coalesce(max(book_id), 0) from ledger.book) + n, lane, owner_kind, owner_name, :at
        from unnest(cast(:lanes as smallint[]), cast(:kinds as text[]), cast(:names as text[]))
             with ordinality as given (lane, owner_kind, owner_name, n)
        returning book_id
        """
    )
    values = {
        "at": at,
        "lanes": [book.lane for book in books],
        "kinds": [book.owner_kind for book in books],
        "names": [book.owner_name for book in books],
    }
    return sorted(tx.execute(statement, values).scalars())
