"""An installation whose rules name bearers already keeps them, and its borne parts are claimed like new ones."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, text

from app.database import prepare
from app.embedded import EmbeddedPostgres
from ledger.ids import SeededIds
from tests.test_migrations import upgrade

AT = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
NAME = "an_installation_with_bearers"
IDS = SeededIds(7)


@pytest.fixture
def older(server: EmbeddedPostgres) -> Iterator[str]:
    """Address of an empty database of the roles that every installation has."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {NAME} owner tongting_owner")
    yield server.url(NAME)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database {NAME} with (force)")


def test_bearers_and_borne_parts_of_earlier_rules_are_carried_over(older: str) -> None:
    rule, cut, whole, driver, other = (IDS.new(AT, name) for name in ("rule", "cut", "whole", "driver", "other"))
    with create_engine(older, poolclass=NullPool).begin() as tx:
        tx.execute(text("create extension btree_gist"))
        upgrade(tx, "0026")
        tx.execute(text("set local session_replication_role = replica"))
        given = {"rule": rule, "at": AT}
        tx.execute(text("insert into payments.split_rule values (:rule, 0, 1, null, :at, 'agreement 1', :at)"), given)
        legs = """
            insert into payments.split_leg (rule_id, lane, number, operator_id, basis, fixed_fen, share_bps, bearer, words,
                                            words_en)
            values (:rule, 0, 1, 1, 'fixed', 500, null, '示例商场', '减免', 'discount'),
                   (:rule, 0, 2, 2, 'fixed', 100, null, null, '泊位费', 'berth'),
                   (:rule, 0, 3, 1, 'share', null, 10000, null, '停车费', 'parking')
            """
        tx.execute(text(legs), given)
        groups = """
            insert into payments.charge_group values (:cut, 0, 1, 'S1', :rule, '', 1200, null, :at),
                                                     (:whole, 0, 1, 'S2', :rule, '', 400, null, :at)
            """
        tx.execute(text(groups), given | {"cut": cut, "whole": whole})
        parts = """
            insert into payments.charge_part values (:cut, 0, 1, 1, 500, null), (:cut, 0, 2, 2, 100, :other),
                                                    (:cut, 0, 3, 1, 600, :driver), (:whole, 0, 1, 1, 400, null)
            """
        tx.execute(text(parts), {"cut": cut, "whole": whole, "driver": driver, "other": other})
    prepare(older, today=date(2026, 3, 2))
    with create_engine(older, poolclass=NullPool).connect() as tx:
        assert tx.execute(text("select bearer_id, code, name, party_id, document from payments.bearer")).all() == [
            (1, "示例商场", "示例商场", None, "agreement 1")
        ]
        rows = tx.execute(text("select * from payments.borne_part order by lot_serial")).all()
        due = tx.execute(text("select part_id from payments.borne_due")).scalars().all()
    assert [(row.lot_serial, row.charge_id, row.amount_fen, row.source_id, row.document_id) for row in rows] == [
        ("S1", driver, 500, cut, rule), ("S2", None, 400, whole, rule),
    ]  # fmt: skip
    assert due == [rows[1].part_id]
    assert [(_millisecond(row.part_id), row.part_id.int & 0xFF, row.part_id.version) for row in rows] == [
        (_millisecond(cut), 0, 7), (_millisecond(whole), 0, 7),
    ], "ids of sources, in the month of their groups"  # fmt: skip


def _millisecond(identity: UUID) -> int:
    return identity.int >> 80
