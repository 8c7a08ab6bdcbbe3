"""The registry of bearers: who may be named as paying parts of stays in place of drivers.

Knows bearers and parties; must not know parts or claims. Called by ``payments.splitting.rules``, whatever else lets a part be
borne, and the command line.
"""

from datetime import datetime
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import Conflict, NotFound, Refused
from payments.incentive import parties

LETTERS_MAX: Final = 40
DOCUMENT_LETTERS_MAX: Final = 200


class Bearer(Struct, frozen=True, kw_only=True):
    """A registered bearer. ``party_id``: it keeps a book of its own, which then shows what it bears."""

    bearer_id: int
    code: str
    name: str
    party_id: int | None
    document: str


def register(
    tx: Connection, *, code: str, name: str, document: str, at: datetime, party: str | None = None
) -> Bearer:  # fmt: skip
    """Register a bearer. May be repeated: the same is the same. An advisory lock orders those who register.

    Args:
        party: Code of the operator, platform, bureau or company that it is; None: it keeps no book here.

    Raises:
        Refused: ``bearer_invalid``. NotFound: ``party_not_found``. Conflict: ``bearer_conflict``, the code or the party is another
            bearer's; ``party_conflict``.
    """
    said = {"code": code.strip(), "name": name.strip(), "document": document.strip()}
    for field, value in said.items():
        most = DOCUMENT_LETTERS_MAX if field == "document" else LETTERS_MAX
        if not 0 < len(value) <= most:
            raise Refused(f"{field} of a bearer: 1 to {most} characters", code="bearer_invalid")
    if party is not None:
        parties.take_in_operators(tx, at=at)
    party_id = None if party is None else parties.by_code(tx, code=party).party_id
    tx.execute(text("select pg_advisory_xact_lock(hashtext('payments.bearer'))"))
    for known in listed(tx):
        if known.code == said["code"]:
            if (known.name, known.document, known.party_id) == (said["name"], said["document"], party_id):
                return known
            raise Conflict(f"bearer {known.code} is registered already, as {known.name}", code="bearer_conflict")
        if party_id is not None and known.party_id == party_id:
            raise Conflict(f"{party} is registered already, as bearer {known.code}", code="bearer_conflict")
    tx.execute(
        text("""
        insert into payments.bearer (bearer_id, code, name, party_id, document, registered_at)
        select coalesce(max(bearer_id), 0) + 1, :code, :name, :party, :document, :at from payments.bearer
        """),
        said | {"party": party_id, "at": at},
    )
    return by_code(tx, code=said["code"])


def listed(tx: Connection) -> list[Bearer]:
    """Return all bearers in the order of their numbers."""
    query = text("select bearer_id, code, name, party_id, document from payments.bearer order by bearer_id")
    return [Bearer(**row._mapping) for row in tx.execute(query)]


def by_code(tx: Connection, *, code: str) -> Bearer:
    """Return a bearer. Raises NotFound (``bearer_not_found``)."""
    found = next((one for one in listed(tx) if one.code == code), None)
    if found is None:
        raise NotFound(f"there is no bearer {code}: register it with tongting split bearer", code="bearer_not_found")
    return found
