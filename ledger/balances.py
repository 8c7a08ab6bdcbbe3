"""Balances: live, as sealed, and as of an earlier seal; the trial balance.

Knows balances, batches and seals; must not know what accounts mean beyond the chart. Called by statements, checks and exports.
"""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger.accounts import Chart
from ledger.errors import NotFound


class Balance(Struct, frozen=True):
    """The two sides of one account in one book, in fen."""

    book_id: int
    account: int
    debit_fen: int
    credit_fen: int


def sealed(tx: Connection, *, lane: int, book_id: int | None = None) -> list[Balance]:
    """Return the balances at the last seal, ordered by book and account."""
    rows = tx.execute(
        text("""
        select book_id, account, debit_fen, credit_fen from ledger.balance
        where lane = :lane and (book_id = :book or cast(:book as integer) is null)
        order by book_id, account
        """),
        {"lane": lane, "book": book_id},
    )
    return [Balance(*row) for row in rows]


def live(tx: Connection, *, lane: int, book_id: int | None = None) -> list[Balance]:
    """Return the balances with everything committed: the sealed ones plus the unsealed tail, read in one statement."""
    rows = tx.execute(
        text("""
        with tail as materialized (
            select p.book_id, p.debit_account, p.credit_account, p.amount_fen
            from ledger.batch b
            join ledger.posting p on p.batch_id = b.batch_id and p.lane = b.lane
            left join ledger.lane_head h on h.lane = b.lane
            where b.lane = :lane and (p.book_id = :book or cast(:book as integer) is null)
              and (h.lane is null or (b.transaction_id, b.batch_id) > (h.sealed_xid, h.sealed_batch))
              and not exists (select from ledger.sealed_batch s where s.lane = b.lane and s.batch_id = b.batch_id)
        ), sides as (
            select book_id, account, debit_fen, credit_fen from ledger.balance
            where lane = :lane and (book_id = :book or cast(:book as integer) is null)
            union all
            select book_id, debit_account, amount_fen, 0 from tail
            union all
            select book_id, credit_account, 0, amount_fen from tail
        )
        select book_id, account, sum(debit_fen)::bigint, sum(credit_fen)::bigint from sides
        group by book_id, account order by book_id, account
        """),
        {"lane": lane, "book": book_id},
    )
    return [Balance(*row) for row in rows]


def at_seal(tx: Connection, *, lane: int, tree_size: int, book_id: int | None = None) -> list[Balance]:
    """Return the balances over the first ``tree_size`` entries: the sealed ones less what was sealed since.

    Raises:
        NotFound: no seal of the lane has this size.
    """
    known = tx.execute(
        text("select 1 from ledger.seal where lane = :lane and tree_size = :size"), {"lane": lane, "size": tree_size}
    )
    if known.first() is None:
        raise NotFound(f"lane {lane} has no seal over {tree_size} entries")
    rows = tx.execute(
        text("""
        with later as materialized (
            select p.book_id, p.debit_account, p.credit_account, p.amount_fen
            from ledger.sealed_batch s join ledger.posting p on p.batch_id = s.batch_id and p.lane = s.lane
            where s.lane = :lane and s.first_index >= :size and (p.book_id = :book or cast(:book as integer) is null)
        ), sides as (
            select book_id, account, debit_fen, credit_fen from ledger.balance
            where lane = :lane and (book_id = :book or cast(:book as integer) is null)
            union all
            select book_id, debit_account, -amount_fen, 0 from later
            union all
            select book_id, credit_account, 0, -amount_fen from later
        )
        select book_id, account, sum(debit_fen)::bigint as debit, sum(credit_fen)::bigint as credit from sides
        group by book_id, account having sum(debit_fen) <> 0 or sum(credit_fen) <> 0
        order by book_id, account
        """),
        {"lane": lane, "size": tree_size, "book": book_id},
    )
    return [Balance(*row) for row in rows]


class TrialBalanceLine(Struct, frozen=True):
    """One account over all books of a lane: turnovers and the balance on its side, in fen."""

    account: int
    name: str
    name_en: str
    debit_fen: int
    credit_fen: int
    balance_debit_fen: int
    balance_credit_fen: int


def trial_balance(balances: Sequence[Balance], *, chart: Chart) -> list[TrialBalanceLine]:
    """Return the trial balance 试算平衡表 of these balances, by account code. Both pairs of columns have equal sums."""
    names = {entry.code: entry for entry in chart.account}
    sums: dict[int, tuple[int, int]] = {}
    for balance in balances:
        debit, credit = sums.get(balance.account, (0, 0))
        sums[balance.account] = debit + balance.debit_fen, credit + balance.credit_fen
    return [
        TrialBalanceLine(
            account, names[account].name, names[account].name_en, debit, credit, max(debit - credit, 0), max(credit - debit, 0)
        )
        for account, (debit, credit) in sorted(sums.items())
    ]
