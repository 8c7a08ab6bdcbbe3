"""Ageing 账龄: what is owed, by how long it is overdue, per operator, lot or district; the sums are what the books carry as 1122.

Knows debts, lots and operators; must not know plates or HTTP. Called by the API and the command line.
"""

from datetime import date
from typing import Final, Literal

from msgspec import Struct
from sqlalchemy import Connection, text

By = Literal["operator", "lot", "district"]
_BY: Final[dict[By, tuple[str, str]]] = {
    "operator": ("o.code", "o.legal_name"),
    "lot": ("l.code", "l.name"),
    "district": ("l.district", "l.district"),
}


class Bucket(Struct, frozen=True):
    """Debts of one age and their sum in fen."""

    debts: int
    owed_fen: int


class Ageing(Struct, frozen=True, kw_only=True):
    """What is owed to one operator, at one lot or in one district; days are days after the due date."""

    code: str
    name: str
    not_due: Bucket
    days_0_30: Bucket
    days_31_60: Bucket
    days_61_90: Bucket
    days_91_180: Bucket
    days_181_365: Bucket
    days_over_365: Bucket
    disputed: Bucket
    """Of all the above."""
    total: Bucket


_BUCKETS: Final = {
    "not_due": "d.due_on >= :today",
    "days_0_30": ":today - d.due_on between 1 and 30",
    "days_31_60": ":today - d.due_on between 31 and 60",
    "days_61_90": ":today - d.due_on between 61 and 90",
    "days_91_180": ":today - d.due_on between 91 and 180",
    "days_181_365": ":today - d.due_on between 181 and 365",
    "days_over_365": ":today - d.due_on > 365",
    "disputed": "d.disputed_at is not null",
    "total": "true",
}


def ageing(
    tx: Connection, *, lane: int, by: By, today: date, operator_id: int | None = None, lot_id: int | None = None,
    district: str | None = None, limit: int = 1_000, after: str = "",
) -> list[Ageing]:  # fmt: skip
    """Return what is owed by age, in the order of the codes, those behind ``after``; read in one statement.

    A debt is overdue from the day after its due date. The totals are the receivables of the books (1122).
    """
    code, name = _BY[by]
    sums = ",\n".join(
        f"count(*) filter (where {condition}) as {bucket}_debts, "
        f"coalesce(sum(d.owed_fen) filter (where {condition}), 0)::bigint as {bucket}_fen"
        for bucket, condition in _BUCKETS.items()
    ).replace(":today", "cast(:today as date)")
    rows = tx.execute(
        text(f"""
        select {code} as code, {name} as name, {sums}
        from payments.debt d
        join payments.lot l on l.lot_id = d.lot_id
        join payments.operator o on o.operator_id = d.operator_id
        where d.lane = :lane and d.owed_fen > 0 and {code} > :after
          and (cast(:operator as integer) is null or d.operator_id = :operator)
          and (cast(:lot as integer) is null or d.lot_id = :lot)
          and (cast(:district as text) is null or l.district = :district)
        group by {code}, {name} order by {code} limit :limit
        """),
        {
            "lane": lane, "today": today, "operator": operator_id, "lot": lot_id, "district": district, "after": after,
            "limit": limit,
        },
    ).mappings()  # fmt: skip
    return [
        Ageing(
            code=row["code"],
            name=row["name"],
            **{bucket: Bucket(row[f"{bucket}_debts"], row[f"{bucket}_fen"]) for bucket in _BUCKETS},
        )
        for row in rows
    ]
