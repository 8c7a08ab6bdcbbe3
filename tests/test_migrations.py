"""An installation that has been at work is carried over by the migrations with everything it holds."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, create_engine, text

from app.database import prepare
from app.embedded import EmbeddedPostgres
from migrations import env_location

AT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
NAME = "an_older_installation"


@pytest.fixture
def older(server: EmbeddedPostgres) -> Iterator[str]:
    """Address of an empty database of the roles that every installation has."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {NAME} owner tongting_owner")
    yield server.url(NAME)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {NAME} with (force)")


def upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", env_location())
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def test_payments_keep_their_next_query_and_lots_their_events(older: str) -> None:
    with create_engine(older, poolclass=NullPool).begin() as tx:
        tx.execute(text("create extension btree_gist"))
        upgrade(tx, "0005")
        for number, (due_at, queries) in enumerate([(AT, 3), (AT + timedelta(minutes=5), 1), (None, 2)], start=1):
            tx.execute(
                text("""
                insert into payments.payment (payment_id, order_id, charge_id, lane, operator_id, book_id, route_id, channel,
                    provider_no, merchant_no, amount_fen, state, payer_digest, created_at, expires_at,
                    next_query_at, queries, claimed_until)
                values (:id, :id, :id, 0, 1, 1, 1, 'wechat', '1', '1', 1200, 'pending', '', :at, :at, :due_at, :queries, :due_at)
                """),
                {"id": UUID(int=number), "at": AT, "due_at": due_at, "queries": queries},
            )
        tx.execute(
            text("""
            insert into payments.outbox (event_id, lane, operator_id, lot_id, subject, kind, body)
            values (:id, 0, 1, 7, :id, 'payment.succeeded', '{}')
            """),
            {"id": UUID(int=1)},
        )
    prepare(older, today=date(2026, 3, 2))
    with create_engine(older, poolclass=NullPool).connect() as tx:
        scheduled = tx.execute(text("select payment_id, lane, due_at from payments.next_query order by 1"))
        assert [tuple(row) for row in scheduled] == [(UUID(int=1), 0, AT), (UUID(int=2), 0, AT + timedelta(minutes=5))]
        asked = tx.execute(text("select queries, claimed_until from payments.payment order by payment_id"))
        assert [tuple(row) for row in asked] == [(3, AT), (1, AT + timedelta(minutes=5)), (2, None)]
        assert tx.execute(text("select lot_id, event_id from payments.outbox")).one() == (7, UUID(int=1))


def test_refused_red_invoices_are_tried_again_and_open_mandates_are_watched(older: str) -> None:
    with create_engine(older, poolclass=NullPool).begin() as tx:
        tx.execute(text("create extension btree_gist"))
        upgrade(tx, "0036")
        tx.execute(
            text("""
            insert into payments.invoice_red (red_id, lane, invoice_id, amount_fen, asked_at, state, refused_words, answered_at,
                evidence_id)
            values (:id, 0, :id, 100, :at, 'refused', 'x', :at, :id)
            """),
            {"id": UUID(int=1), "at": AT},
        )
        for number, kinds in enumerate([["open"], ["open", "ended"], []], start=1):
            given = {"id": UUID(int=number), "at": AT}
            tx.execute(
                text("""
                insert into payments.agreement (agreement_id, lane, text_id, plate_id, channel, merchant_no, payer_digest, page,
                    language, confirmed_at)
                values (:id, 0, :id, 1, 'alipay', '1', sha256('a'), 'leave-first', 'zh', :at)
                """),
                given,
            )
            for place, kind in enumerate(kinds, start=1):
                tx.execute(
                    text("""
                    insert into payments.agreement_event (agreement_id, lane, number, kind, happened_at, said_by)
                    values (:id, 0, :place, :kind, :at, 'channel')
                    """),
                    given | {"place": place, "kind": kind},
                )
    prepare(older, today=date(2026, 3, 2))
    with create_engine(older, poolclass=NullPool).connect() as tx:
        assert tx.execute(text("select retry_at, try, cause from payments.invoice_red")).one() == (AT, 1, "refund")
        watched = tx.execute(text("select agreement_id, channel, confirmed_at, due_at from payments.agreement_watch"))
        assert [tuple(row) for row in watched] == [(UUID(int=1), "alipay", AT, None)]
