"""Packages as a person looks at them. Called by the command line."""

from typing import Final

from sqlalchemy import Connection

from payments.cards import store as cards
from payments.cards.records import PackageRow

LISTED_MAX: Final = 200


def latest(tx: Connection, *, lane: int, state: str | None = None) -> list[PackageRow]:
    """Return the newest packages, the newest first; with ``state`` (see docs/ETC.md, section 9) those in it alone."""
    return cards.latest(tx, lane=lane, state=state, limit=LISTED_MAX)
