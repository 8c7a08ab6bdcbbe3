"""Preparing a database: ours or somebody else's, at every start."""

from datetime import date

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app.database import DatabaseError, check_version, ensure_months, prepare
from app.embedded import EmbeddedPostgres
from ledger.db import engine


@pytest.mark.parametrize("version_num", ["140018", "90624"])
def test_a_server_older_than_15_is_refused(version_num: str) -> None:
    with pytest.raises(DatabaseError, match="15 or newer"):
        check_version(version_num)


@pytest.mark.parametrize("version_num", ["150000", "180001"])
def test_15_and_newer_are_taken(version_num: str) -> None:
    check_version(version_num)
    assert int(version_num) >= 150000


def test_preparing_twice_changes_nothing(database: str) -> None:
    prepare(database, today=date(2026, 3, 2))
    with create_engine(database, poolclass=NullPool).connect() as connection:
        assert ensure_months(connection, today=date(2026, 3, 2)) == 0


def test_months_ahead_are_made_when_time_goes_on(database: str) -> None:
    with create_engine(database, poolclass=NullPool).connect() as connection:
        assert ensure_months(connection, today=date(2026, 5, 2)) == 4  # two months more, for two tables


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseError, match="cannot be reached") as refused:
        prepare("postgresql+psycopg://someone:geheim@127.0.0.1:9/tongting", today=date(2026, 3, 2))
    assert "geheim" not in str(refused.value)


def test_a_user_without_rights_is_told_what_an_administrator_must_run(server: EmbeddedPostgres, database: str) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("create role a_guest login")
    try:
        guest = make_url(database).set(username="a_guest").render_as_string(hide_password=False)
        with pytest.raises(DatabaseError, match="grant tongting_owner, tongting_app to a_guest"):
            prepare(guest, today=date(2026, 3, 2))
    finally:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("drop role a_guest")


def test_an_owner_who_is_no_superuser_can_prepare_and_serve(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("create role a_town login")
        admin.execute("grant tongting_owner, tongting_app to a_town")
        admin.execute("create database a_town_books owner a_town")
    try:
        url = make_url(server.url("a_town_books")).set(username="a_town").render_as_string(hide_password=False)
        prepare(url, today=date(2026, 3, 2))
        serving = engine(url)
        with serving.connect() as tx:
            assert tx.execute(text("select current_user, count(*) from ledger.posting")).one() == ("tongting_app", 0)
        serving.dispose()
    finally:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            admin.execute("drop database a_town_books with (force)")
            admin.execute("drop role a_town")
