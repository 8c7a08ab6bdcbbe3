"""SQL of the routes. Private to ``gateways``; ``tx`` first, structs out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, text

from gateways.contract import MerchantAccount
from ledger.arrays import integer
from ledger.volley import Question, Rows, Statement, ask

_COLUMNS: Final = """
    route_id, operator_id, channel, merchant_no, sub_app_id, payee_name, evidence, mode, key_ref,
    lower(valid) as valid_from, upper(valid) as valid_until
"""
_NAMES: Final = (
    "route_id", "operator_id", "channel", "merchant_no", "sub_app_id", "payee_name", "evidence", "mode", "key_ref", "valid_from",
    "valid_until",
)  # fmt: skip
_OF_OPERATOR: Final = Statement(f"""
    select {_COLUMNS} from gateways.merchant_account where operator_id = %(operator)s::integer order by channel, lower(valid)
    """)


def insert_account(tx: Connection, *, account: MerchantAccount, at: datetime) -> int:
    """Enter a route and return its number. Overlaps are refused by the table itself."""
    inserted = tx.execute(
        text("""
            insert into gateways.merchant_account
                (operator_id, channel, merchant_no, sub_app_id, payee_name, evidence, mode, key_ref, valid, created_at)
            values (:operator_id, :channel, :merchant_no, :sub_app_id, :payee_name, :evidence, :mode, :key_ref,
                    tstzrange(:valid_from, :valid_until), :at)
            returning route_id
        """),
        {
            "operator_id": account.operator_id,
            "channel": account.channel,
            "merchant_no": account.merchant_no,
            "sub_app_id": account.sub_app_id,
            "payee_name": account.payee_name,
            "evidence": account.evidence,
            "mode": account.mode,
            "key_ref": account.key_ref,
            "valid_from": account.valid_from,
            "valid_until": account.valid_until,
            "at": at,
        },
    )
    return int(inserted.scalar_one())


def account_at(tx: Connection, *, operator_id: int, channel: str, at: datetime) -> MerchantAccount | None:
    """The route in force at an instant: at most one."""
    found = tx.execute(
        text(f"""
            select {_COLUMNS} from gateways.merchant_account
            where operator_id = :operator_id and channel = :channel and valid @> cast(:at as timestamptz)
        """),
        {"operator_id": operator_id, "channel": channel, "at": at},
    ).first()
    return None if found is None else _account(found)


def accounts_of(tx: Connection, *, operator_id: int) -> list[MerchantAccount]:
    """All routes of an operator, past and future, by channel and begin."""
    return ask(tx, which_accounts(operator_id=operator_id))


def which_accounts(*, operator_id: int) -> Question[list[MerchantAccount]]:
    """As ``accounts_of``."""
    return Question(_OF_OPERATOR.shot(operator=integer(operator_id)), _accounts)


def _accounts(rows: Rows) -> list[MerchantAccount]:
    return [MerchantAccount(**dict(zip(_NAMES, row, strict=True))) for row in rows]


def accounts_at(tx: Connection, *, operator_ids: Sequence[int], at: datetime) -> list[MerchantAccount]:
    """Routes of several operators in force at an instant, by operator and channel."""
    found = tx.execute(
        text(f"""
            select {_COLUMNS} from gateways.merchant_account
            where operator_id = any(cast(:operators as integer[])) and valid @> cast(:at as timestamptz)
            order by operator_id, channel
        """),
        {"operators": list(operator_ids), "at": at},
    )
    return [_account(row) for row in found]


def accounts_by_id(tx: Connection, *, route_ids: Sequence[int]) -> list[MerchantAccount]:
    """Routes by their numbers."""
    query = text(f"select {_COLUMNS} from gateways.merchant_account where route_id = any(cast(:routes as integer[]))")
    return [_account(row) for row in tx.execute(query, {"routes": list(route_ids)})]


def accounts_between(tx: Connection, *, channel: str, begin: datetime, end: datetime) -> list[MerchantAccount]:
    """Routes of a channel in force in a period, one per merchant number: the newest."""
    found = tx.execute(
        text(f"""
            select distinct on (merchant_no) {_COLUMNS} from gateways.merchant_account
            where channel = :channel and valid && tstzrange(:begin, :end) order by merchant_no, lower(valid) desc
        """),
        {"channel": channel, "begin": begin, "end": end},
    )
    return [_account(row) for row in found]


def end_account(tx: Connection, *, route_id: int, at: datetime) -> int:
    """Set the end of a route that is open at ``at``; returns how many rows changed (0 or 1)."""
    changed = tx.execute(
        text("""
            update gateways.merchant_account set valid = tstzrange(lower(valid), :at)
            where route_id = :route_id and lower(valid) < :at and (upper_inf(valid) or upper(valid) > :at)
        """),
        {"route_id": route_id, "at": at},
    )
    return changed.rowcount


def _account(row: Row[Any]) -> MerchantAccount:
    return MerchantAccount(**row._mapping)
