"""Several statements in one message: the round trips of a transaction are what small groups pay most for.

Knows psycopg and libpq's pipeline mode; must not know tables. Called by the rooms' stores on the hot paths.

psycopg's own pipeline sends each statement by itself as it comes; here they leave together, with BEGIN in front when no
transaction is open and COMMIT behind when the caller says so. Each statement is prepared once per connection; psycopg itself
prepares nothing (see ``ledger.db.engine``), because it would deallocate ours with its own after a rollback or a DROP.
"""

import hashlib
import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from msgspec import Struct
from psycopg import abc, generators
from psycopg.adapt import Buffer, Transformer
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import Connection

from ledger.db import raw

Rows = list[tuple[Any, ...]]
T = TypeVar("T")
S = TypeVar("S", bound=Struct)

_NAME: Final = re.compile(r"%\((\w+)\)s")
_prepared: Final[WeakKeyDictionary[psycopg.Connection[Any], set[bytes]]] = WeakKeyDictionary()


class Statement:
    """A statement whose parameters are named, each with a cast beside it (``%(lane)s::smallint``), and given in binary form."""

    def __init__(self, sql: str) -> None:
        self.name = b"tongting_" + hashlib.sha256(sql.encode()).hexdigest()[:16].encode()
        self.parameters = list(dict.fromkeys(_NAME.findall(sql)))
        places = {parameter: f"${place}" for place, parameter in enumerate(self.parameters, 1)}
        self.sql = _NAME.sub(lambda found: places[found[1]], sql).encode()

    def shot(self, **values: Buffer | None) -> "Shot":
        """Return the statement with a value for every parameter, each made by ``ledger.arrays``."""
        return Shot(self, [values[parameter] for parameter in self.parameters])


class Shot(Struct, frozen=True):
    """A statement with its values, ready to be sent."""

    statement: Statement
    values: list[Buffer | None]


class Question(Struct, Generic[T], frozen=True):
    """A shot that only reads, and what its rows mean: questions of several rooms leave in one message."""

    shot: Shot
    read: Callable[[Rows], T]


def ask(tx: Connection, question: Question[T], *, and_commit: bool = False) -> T:
    """Ask one question. Opens a transaction if there is none: nothing is written that somebody would have to commit.

    With ``and_commit`` it is over when this returns, as with ``fire``.
    """
    if not tx.in_transaction():
        tx.begin()
    [rows] = fire(tx, [question.shot], and_commit=and_commit)
    return question.read(rows)


def structs(kind: type[S]) -> Callable[[Rows], list[S]]:
    """Return how rows are read whose columns are the fields of a record, in their order."""
    names = kind.__struct_fields__
    return lambda rows: [kind(**dict(zip(names, row, strict=True))) for row in rows]


def fire(tx: Connection, shots: Sequence[Shot], *, and_commit: bool = False) -> list[Rows]:
    """Send statements in one message and return the rows of each. Opens the transaction if that is still to be done.

    With ``and_commit`` the transaction is over and committed when this returns; the commit of ``tx`` then finds nothing to do.

    Raises:
        psycopg.Error: the first statement that failed. Those behind it were not carried out, and nothing is committed.
        RuntimeError: ``tx`` is outside a transaction, so nobody would commit or roll back what is written.
    """
    if not tx.in_transaction():
        raise RuntimeError("a volley is fired inside a transaction: take engine.begin()")
    connection = raw(tx)
    opens = connection.pgconn.transaction_status == TransactionStatus.IDLE
    with connection.lock:
        try:
            results = connection.wait(_exchanged(connection, shots, opens=opens, commits=and_commit))
        except BaseException:
            connection.close()  # answers may be outstanding: nobody can use this connection any more
            raise
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
    adapter = Transformer(connection)
    first = len(results) - len(shots) - and_commit
    return [_rows(adapter, result) for result in results[first : first + len(shots)]]


def _exchanged(
    connection: psycopg.Connection[Any], shots: Sequence[Shot], *, opens: bool, commits: bool
) -> Generator[Any, Any, list[PGresult]]:
    """Send everything and read everything: what is to be prepared, BEGIN if it opens, the shots, COMMIT if it commits.

    Returns one result for each; behind one that failed they all say that they were not carried out.
    """
    pgconn, prepared = connection.pgconn, _prepared.setdefault(connection, set())
    new = list({shot.statement.name: shot.statement for shot in shots if shot.statement.name not in prepared}.values())
    pgconn.enter_pipeline_mode()
    for statement in new:
        pgconn.send_close_prepared(statement.name)  # no error when it is not there
        pgconn.send_prepare(statement.name, statement.sql)
    if opens:
        pgconn.send_query_params(b"begin", None)
    for shot in shots:
        formats = [Format.BINARY] * len(shot.values)
        pgconn.send_query_prepared(shot.statement.name, shot.values, formats, result_format=Format.BINARY)
    if commits:
        pgconn.send_query_params(b"commit", None)
    pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    results: list[PGresult] = []
    for _ in range(2 * len(new) + opens + len(shots) + commits):
        results += yield from generators.fetch_many(pgconn)
    preparing = zip(new, results[1::2], strict=False)
    prepared.update(statement.name for statement, result in preparing if result.status == ExecStatus.COMMAND_OK)
    yield from generators.fetch_many(pgconn)  # the end of the pipeline
    pgconn.exit_pipeline_mode()
    return results


def _rows(adapter: abc.Transformer, result: PGresult) -> Rows:
    if result.status != ExecStatus.TUPLES_OK:
        return []
    adapter.set_pgresult(result, format=Format.BINARY)
    return adapter.load_rows(0, result.ntuples, tuple)
