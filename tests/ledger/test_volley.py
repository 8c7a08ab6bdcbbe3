"""Several statements in one message: what comes back, what a failure leaves behind, what a rollback forgets."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from msgspec import Struct
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger.arrays import integer, integers, interval, smallint, texts
from ledger.db import engine
from ledger.volley import Question, Statement, ask, fire, structs
from tests.statements import seen

DOUBLED = Statement("select n * 2 from unnest(%(numbers)s::integer[]) as n order by n")
SAME = Statement("select %(a)s::integer, %(b)s::smallint, %(a)s::integer")
KEPT = Statement("insert into volley_kept select unnest(%(words)s::text[]) returning length(word)")
BROKEN = Statement("select 1 / %(by)s::integer")


@pytest.fixture
def db_owner(database: str) -> Iterator[Engine]:
    made = engine(database, role=None)
    yield made
    made.dispose()


@pytest.fixture
def table(db_owner: Engine) -> None:
    with db_owner.begin() as tx:
        tx.execute(text("create table volley_kept (word text primary key)"))
        tx.execute(text("grant select, insert on volley_kept to tongting_app"))


def words(db: Engine) -> list[str]:
    with db.connect() as tx:
        return list(tx.execute(text("select word from volley_kept order by word")).scalars())


def test_each_statement_gives_its_rows(db: Engine) -> None:
    with db.begin() as tx:
        for _ in range(3):
            shots = [
                DOUBLED.shot(numbers=integers([1, 2])),
                SAME.shot(a=integer(7), b=smallint(-1)),
                DOUBLED.shot(numbers=integers([])),
            ]
            assert fire(tx, shots) == [[(2,), (4,)], [(7, -1, 7)], []]


def test_a_volley_is_part_of_its_transaction(db: Engine, table: None) -> None:
    with db.connect() as tx:
        with pytest.raises(RuntimeError):
            fire(tx, [])
        tx.begin()
        assert fire(tx, [KEPT.shot(words=texts(["a", "bcd"]))]) == [[(1,), (3,)]]
        tx.rollback()
        tx.begin()
        fire(tx, [KEPT.shot(words=texts(["e"]))])
        tx.execute(text("insert into volley_kept values ('f')"))
        tx.commit()
    assert words(db) == ["e", "f"]


def test_with_the_commit_in_it_the_transaction_is_over(db: Engine, table: None) -> None:
    with db.begin() as tx:
        tx.execute(text("insert into volley_kept values ('a')"))
        fire(tx, [KEPT.shot(words=texts(["b"]))], and_commit=True)
        assert words(db) == ["a", "b"]
    assert words(db) == ["a", "b"]


def test_a_failure_is_raised_and_nothing_behind_it_happens_not_even_the_commit(db: Engine, table: None) -> None:
    shots = [KEPT.shot(words=texts(["a"])), BROKEN.shot(by=integer(0)), KEPT.shot(words=texts(["b"]))]
    with pytest.raises(psycopg.errors.DivisionByZero):
        with db.begin() as tx:
            fire(tx, shots, and_commit=True)
    assert words(db) == []
    with pytest.raises(psycopg.errors.UniqueViolation):
        with db.begin() as tx:
            fire(tx, [KEPT.shot(words=texts(["a", "a"]))])
    assert words(db) == []


def test_a_statement_that_cannot_be_prepared_is_raised_and_may_be_mended(db: Engine, db_owner: Engine) -> None:
    late = Statement("select %(n)s::integer from volley_late")
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            with db.begin() as tx:
                fire(tx, [DOUBLED.shot(numbers=integers([1])), late.shot(n=integer(1))], and_commit=True)
    with db_owner.begin() as tx:
        tx.execute(text("create table volley_late ()"))
        tx.execute(text("grant select on volley_late to tongting_app"))
    with db.begin() as tx:
        assert fire(tx, [late.shot(n=integer(1))]) == [[]]


def test_statements_outlive_whatever_makes_psycopg_forget_its_own(db: Engine, table: None) -> None:
    with db.connect() as tx:
        for _ in range(3):
            for _ in range(8):  # psycopg would prepare what comes often, and deallocate everything with a rollback or a DROP
                tx.execute(text("select 1"))
            tx.execute(text("create temp table gone ()"))
            tx.execute(text("drop table gone"))
            fire(tx, [DOUBLED.shot(numbers=integers([1]))])
            tx.rollback()
            with tx.begin():
                tx.execute(text("select 1"))
                with pytest.raises(psycopg.errors.DivisionByZero):
                    with tx.begin_nested():
                        fire(tx, [BROKEN.shot(by=integer(0))])
                assert fire(tx, [DOUBLED.shot(numbers=integers([3]))]) == [[(6,)]]


def test_a_connection_that_was_cut_is_replaced(db: Engine, db_owner: Engine, table: None) -> None:
    with db.begin() as tx:
        own = tx.execute(text("select pg_backend_pid()")).scalar_one()
    with db_owner.begin() as admin:
        admin.execute(text("select pg_terminate_backend(:pid)"), {"pid": own})
    with pytest.raises((psycopg.OperationalError, DBAPIError)) as cut:
        with db.begin() as tx:
            fire(tx, [KEPT.shot(words=texts(["a"]))], and_commit=True)
    assert isinstance(getattr(cut.value, "orig", cut.value), psycopg.OperationalError)
    with db.begin() as tx:
        fire(tx, [KEPT.shot(words=texts(["b"]))], and_commit=True)
    assert words(db) == ["b"]


class Span(Struct, frozen=True):
    """A row as a record."""

    number: int
    span: timedelta
    note: str | None


SPANS: Question[list[Span]] = Question(
    Statement("select 3, %(span)s::interval, %(note)s::text").shot(span=interval(timedelta(days=2, microseconds=-1)), note=None),
    structs(Span),
)


def test_a_question_gives_what_its_rows_mean_with_or_without_a_transaction(db: Engine) -> None:
    found = [Span(3, timedelta(days=2, microseconds=-1), None)]
    with db.connect() as tx:
        assert ask(tx, SPANS) == found
        assert tx.in_transaction()
    with db.begin() as tx:
        assert ask(tx, SPANS) == found


def test_questions_of_several_rooms_leave_in_one_message(db: Engine) -> None:
    doubled = Question(DOUBLED.shot(numbers=integers([4])), lambda rows: rows[0][0])
    with seen(db) as asked, db.begin() as tx:
        told = fire(tx, [SPANS.shot, doubled.shot], and_commit=True)
        assert (SPANS.read(told[0])[0].number, doubled.read(told[1])) == (3, 8)
    assert (asked.messages, len(asked.statements)) == (1, 2)


def test_a_value_that_is_missing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        SAME.shot(a=integer(1))
