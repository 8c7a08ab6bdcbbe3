"""The book's standing checks. Read only; may run at any time, on any copy of the database.

Knows the book's tables and proofs. Called by ``tongting verify``, the live job, property tests and the simulated day.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import checkpoint, proofs
from ledger.accounts import Account


class Violation(Struct, frozen=True):
    """A broken invariant: its number in the design, and where it broke, in words."""

    invariant: str
    detail: str


_ANYBODYS: Final = frozenset({
    Account.SPECIAL_ACCOUNT, Account.BANK, Account.INCENTIVE_RECEIVABLE, Account.INCENTIVE_INCOME,
    Account.BEARER_PAYABLE, Account.BEARER_COST,
})  # fmt: skip
"""Accounts that other books than operators' may use; of the bank, only what came in for shares of recovered debts, and what was
paid for discounts borne."""
_OPERATOR_ONLY: Final = [int(account) for account in Account if account not in _ANYBODYS]
_WITH_BANK: Final = [int(Account.INCENTIVE_RECEIVABLE), int(Account.BEARER_PAYABLE)]

_UNFOLDED: Final = """
    with recorded as (
        select p.lane, p.book_id, p.debit_account, p.credit_account, p.amount_fen
        from ledger.sealed_batch s join ledger.posting p on p.batch_id = s.batch_id and p.lane = s.lane
    ), sides as (
        select lane, book_id, debit_account as account, amount_fen as debit_fen, 0::bigint as credit_fen from recorded
        union all
        select lane, book_id, credit_account, 0, amount_fen from recorded
        union all
        select lane, book_id, account, -debit_fen, -credit_fen from ledger.balance
    )
    select lane, book_id, account, sum(debit_fen) as debit_fen, sum(credit_fen) as credit_fen from sides
    group by lane, book_id, account having sum(debit_fen) <> 0 or sum(credit_fen) <> 0
    order by lane, book_id, account
"""

_STATEMENTS: Final = {
    "I1": (
        """
        select lane, book_id, sum(debit_fen) as debit, sum(credit_fen) as credit from ledger.balance
        group by lane, book_id having sum(debit_fen) <> sum(credit_fen)
        """,
        "book {book_id}: debits of {debit} fen, credits of {credit} fen",
    ),
    "I6": (
        """
        select grantee, privilege_type, table_name from information_schema.table_privileges
        where table_schema = 'ledger' and grantee in ('tongting_app', 'PUBLIC')
          and privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE') and table_name not in ('lane_head', 'balance', 'book_head')
        """,
        "{grantee} may {privilege_type} ledger.{table_name}",
    ),
    "I12": (
        """
        select h.book_id, h.entries, coalesce(sum(s.entries), 0) as numbered
        from ledger.book_head h left join ledger.book_seal s on s.lane = h.lane and s.book_id = h.book_id
        group by h.lane, h.book_id, h.entries having h.entries <> coalesce(sum(s.entries), 0)
        """,
        "book {book_id}: {entries} entries counted, {numbered} numbered",
    ),
    "partitions": (
        "select count(*) as entries from ledger.posting_other having count(*) > 0",
        "{entries} posting rows lie outside the prepared months",
    ),
}


def check(tx: Connection) -> list[Violation]:
    """Check I1, I6, I12 and I15 over everything sealed. Reads the whole book; needs a connection of its own."""
    found = [
        Violation(name, form.format_map(row._mapping)) for name, (sql, form) in _STATEMENTS.items() for row in tx.execute(text(sql))
    ]
    checks: tuple[Callable[[Connection], list[Violation]], ...] = (_folds, _custody, _trees)
    return found + [violation for each in checks for violation in each(tx)]


def _folds(tx: Connection) -> list[Violation]:
    form = "book {book_id} account {account}: the sealed balance is off by {debit_fen} / {credit_fen} fen"
    return [Violation("I12", form.format_map(row._mapping)) for row in tx.execute(text(_UNFOLDED))]


def _custody(tx: Connection) -> list[Violation]:
    """I15: no book but an operator's touches accounts through which drivers' money passes; its bank knows shares and bearers."""
    rows = tx.execute(
        text("""
        select b.book_id, x.account from ledger.balance x join ledger.book b on b.book_id = x.book_id
        where b.owner_kind <> 'operator' and x.account = any(:accounts)
        union
        select b.book_id, :bank from ledger.book b join ledger.posting p on p.book_id = b.book_id
        where b.owner_kind <> 'operator' and :bank in (p.debit_account, p.credit_account)
          and not array[p.debit_account, p.credit_account] && cast(:others as integer[])
        order by 1, 2
        """),
        {"accounts": _OPERATOR_ONLY, "bank": int(Account.BANK), "others": _WITH_BANK},
    )
    return [Violation("I15", f"book {row.book_id} is not an operator's and uses account {row.account}") for row in rows]


def _trees(tx: Connection) -> list[Violation]:
    """I12: the rows of entries and documents give again, leaf by leaf, the root that was signed."""
    found = []
    heads = tx.execute(
        text("""
        select l.lane, l.verifier_key, s.checkpoint, s.tree_size from ledger.lane l join ledger.seal s on s.lane = l.lane
        where s.seal_id = (select max(seal_id) from ledger.seal x where x.lane = l.lane) order by l.lane
        """)
    ).all()
    for head in heads:
        try:
            signed = checkpoint.read(head.checkpoint, verifier_key=head.verifier_key)
            edge = proofs.recomputed(tx, lane=head.lane)
        except ValueError as broken:
            found.append(Violation("I12", f"lane {head.lane}: {broken}"))
            continue
        if (edge.size, edge.root()) != (signed.size, signed.root):
            found.append(
                Violation("I12", f"lane {head.lane}: the rows give another tree over {edge.size} than signed over {signed.size}")
            )
    return found
