"""What is asked of PostgreSQL while a test looks: statements of SQLAlchemy and of volleys, and the messages they leave in."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event

from ledger import volley
from ledger.volley import Shot


class Seen:
    """``statements`` in their order; a volley is one of ``messages``, and so is each statement of SQLAlchemy."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.messages = 0


@contextmanager
def seen(engine: Engine) -> Iterator[Seen]:
    """Note what is asked over this engine's connections, and by volleys over any."""
    found, exchanged = Seen(), volley._exchanged

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.statements.append(statement)
        found.messages += 1

    def fired(connection: psycopg.Connection[Any], shots: Sequence[Shot], **how: Any) -> Any:
        found.statements.extend(shot.statement.sql.decode() for shot in shots)
        found.messages += 1
        return exchanged(connection, shots, **how)

    event.listen(engine, "before_cursor_execute", executed)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(volley, "_exchanged", fired)
            yield found
    finally:
        event.remove(engine, "before_cursor_execute", executed)
