"""People of the staff 经办与复核, by their codes: who may propose and who may approve.

Knows codes and rights as they were entered with a document; must not know passwords or HTTP. Called by the debt desk, disputes,
instalments and the command line. Accounts of people come later and keep these codes.
"""

import re
from datetime import datetime
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.errors import NotAllowed, Refused

CODE: Final = re.compile(r"[0-9A-Za-z._-]{1,32}")


class Person(Struct, frozen=True):
    """A person of the staff. Rights that have ended stay on record."""

    person_code: str
    may_propose: bool
    may_approve: bool
    document: str
    ended_at: datetime | None = None


def enter(tx: Connection, *, person: Person, at: datetime) -> None:
    """Enter a person with the document that gives the rights. A code is entered once; rights are changed by a new code.

    Raises:
        Refused: ``person_invalid``, a code, rights or document that cannot stand; ``person_taken``.
    """
    if CODE.fullmatch(person.person_code) is None or not (person.may_propose or person.may_approve):
        raise Refused("a person has a code of 1 to 32 letters, digits, . _ - and at least one right", code="person_invalid")
    if not 0 < len(person.document.strip()) <= 200:
        raise Refused("name the document that gives the rights, in 1 to 200 characters", code="person_invalid")
    made = tx.execute(
        text("""
        insert into payments.person (person_code, may_propose, may_approve, document, entered_at)
        values (:code, :propose, :approve, :document, :at) on conflict (person_code) do nothing returning 1
        """),
        {
            "code": person.person_code, "propose": person.may_propose, "approve": person.may_approve,
            "document": person.document, "at": at,
        },
    ).first()  # fmt: skip
    if made is None:
        raise Refused(f"there is a person {person.person_code} already; take another code", code="person_taken")


def end(tx: Connection, *, person_code: str, at: datetime) -> None:
    """End a person's rights. Raises NotAllowed (``person_unknown``) when there are none that stand."""
    done = tx.execute(
        text("update payments.person set ended_at = :at where person_code = :code and ended_at is null returning 1"),
        {"code": person_code, "at": at},
    ).first()
    if done is None:
        raise _unknown(person_code)


def maker(tx: Connection, *, person_code: str, at: datetime) -> Person:
    """Return a person who may propose. Raises NotAllowed (``person_unknown``, ``person_may_not``)."""
    found = _living(tx, person_code, at)
    if not found.may_propose:
        raise NotAllowed(f"{person_code} may approve, not propose; another person has to", code="person_may_not")
    return found


def checker(tx: Connection, *, person_code: str, at: datetime) -> Person:
    """Return a person who may approve. Raises NotAllowed (``person_unknown``, ``person_may_not``)."""
    found = _living(tx, person_code, at)
    if not found.may_approve:
        raise NotAllowed(f"{person_code} may propose, not approve; another person has to", code="person_may_not")
    return found


def listed(tx: Connection) -> list[Person]:
    """Return everybody in the order of their codes."""
    rows = tx.execute(
        text("select person_code, may_propose, may_approve, document, ended_at from payments.person order by person_code")
    )
    return [Person(*row) for row in rows]


def _living(tx: Connection, person_code: str, at: datetime) -> Person:
    row = tx.execute(
        text("""
        select person_code, may_propose, may_approve, document, ended_at from payments.person
        where person_code = :code and (ended_at is null or ended_at > :at)
        """),
        {"code": person_code, "at": at},
    ).first()
    if row is None:
        raise _unknown(person_code)
    return Person(*row)


def _unknown(person_code: str) -> NotAllowed:
    return NotAllowed(
        f"there is no person {person_code[:32]!r} of the staff; enter one: tongting debts person add", code="person_unknown"
    )
