"""The schema itself: every table and column is explained, and the journal cannot be changed."""

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError


def test_every_table_and_column_carries_a_comment(tx: Connection) -> None:
    missing = tx.execute(
        text("""
        select c.relnamespace::regnamespace::text || '.' || c.relname || coalesce('.' || a.attname, '')
        from pg_class c
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p') and not c.relispartition
          and c.relnamespace::regnamespace::text in ('ledger', 'gateways', 'payments', 'reconciliation', 'access')
          and (col_description(c.oid, a.attnum) is null or obj_description(c.oid) is null)
        """)
    ).scalars()
    assert list(missing) == []


@pytest.mark.parametrize(
    "table", ["ledger.posting", "ledger.batch", "ledger.seal", "gateways.raw_message", "payments.payment_fact"]
)
@pytest.mark.parametrize("change", ["delete from {}", "truncate {}", "update {} set lane = 0"])
def test_the_application_role_cannot_change_the_journal(tx: Connection, table: str, change: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        tx.execute(text(change.format(table)))
