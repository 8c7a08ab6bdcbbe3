"""Standing checks of the incentive: shares against what was recovered, lines against the book, rules against what was sealed.

Knows the tables of the incentive and the book's views; changes nothing. Called by ``payments.invariants``.
"""

from itertools import groupby
from typing import Final

from sqlalchemy import Connection, text

from ledger import documents
from ledger.accounts import Account
from ledger.documents import Document
from ledger.invariants import Violation
from ledger.journal import EntryKind
from payments.incentive import rules, settlements

FOUND_MAX: Final = 100

_NET: Final = "case when i.returned then -i.amount_fen else i.amount_fen end"


def _balance(account: Account, side: int, party: str, owed: str) -> str:
    """The balance of an account of shares in each book is what its party's open lines sum to."""
    sign = {1: "debit_account", -1: "credit_account"}
    return f"""
        select format('book %s has {owed} of %s fen, and its open lines sum to %s', coalesce(b.book_id, l.book_id),
                      coalesce(b.fen, 0), coalesce(l.fen, 0))
        from (
            select book_id, sum(case when {sign[side]} = {account:d} then amount_fen else -amount_fen end) as fen
            from ledger.v_posting where {account:d} in (debit_account, credit_account) group by book_id
        ) b
        full join (
            select p.book_id, sum({_NET}) as fen
            from payments.incentive_line i
            join payments.party p on p.party_id = i.{party}
            left join payments.incentive_settlement_line x on x.lane = i.lane and x.line_id = i.line_id and x.is_live
            left join payments.incentive_settlement s on s.lane = x.lane and s.settlement_id = x.settlement_id
            where s.state is distinct from 'paid' group by p.book_id
        ) l on l.book_id = b.book_id
        where coalesce(b.fen, 0) <> coalesce(l.fen, 0)
        """


_CHECKS: Final = (
    f"""
    select format('payment %s recovered %s fen and gives shares of %s', i.payment_id, r.recovered_fen, sum({_NET}))
    from payments.incentive_line i
    left join payments.recovery r on r.lane = i.lane and r.payment_id = i.payment_id
    group by i.lane, i.payment_id, r.recovered_fen
    having sum({_NET}) not between 0 and coalesce(r.recovered_fen, 0)
    """,
    f"""
    select format('share %s of payment %s stands at %s fen, and %s were given', i.number, i.payment_id, sum({_NET}),
                  sum(i.amount_fen) filter (where i.turn = 0))
    from payments.incentive_line i group by i.lane, i.payment_id, i.number
    having sum({_NET}) not between 0 and coalesce(sum(i.amount_fen) filter (where i.turn = 0), 0)
    """,
    f"""
    select format('payment %s was attributed with %s fen, and its entry pays a debt of %s', r.payment_id, r.recovered_fen,
                  e.amount_fen)
    from payments.recovery r
    left join ledger.v_posting e on e.lane = r.lane and e.credit_account = {Account.RECEIVABLE:d}
         and e.entry_id = cast(left(r.payment_id::text, 34) || '{EntryKind.PAYMENT:02x}' as uuid)
    where e.amount_fen is distinct from r.recovered_fen
    """,
    f"""
    select format('entry %s paid a debt and was read, but not attributed', e.entry_id)
    from ledger.v_posting e
    join payments.incentive_cursor c on c.lane = e.lane and e.leaf_index < c.leaf_index
    where e.kind = {EntryKind.PAYMENT:d} and e.credit_account = {Account.RECEIVABLE:d} and not exists (
        select from payments.recovery r
        where r.lane = e.lane and r.payment_id = cast(left(e.entry_id::text, 34) || '00' as uuid))
    """,
    f"""
    select format('line %s has %s of its two entries', i.line_id, count(e.entry_id))
    from payments.incentive_line i
    join payments.party o on o.party_id = i.owner_id
    join payments.party r on r.party_id = i.recoverer_id
    cross join lateral (values
        (o.lane, '{EntryKind.INCENTIVE_OWED:02x}', o.book_id, {Account.INCENTIVE_COST:d}, {Account.INCENTIVE_PAYABLE:d}),
        (r.lane, '{EntryKind.INCENTIVE_EARNED:02x}', r.book_id, {Account.INCENTIVE_RECEIVABLE:d}, {Account.INCENTIVE_INCOME:d})
    ) w (lane, kind, book_id, debit, credit)
    left join ledger.v_posting e on e.lane = w.lane and e.entry_id = cast(left(i.line_id::text, 34) || w.kind as uuid)
         and e.book_id = w.book_id and e.amount_fen = i.amount_fen
         and (e.debit_account, e.credit_account) = (case when i.returned then w.credit else w.debit end,
                                                    case when i.returned then w.debit else w.credit end)
    group by i.line_id having count(e.entry_id) <> 2
    """,
    _balance(Account.INCENTIVE_PAYABLE, -1, "owner_id", "shares payable"),
    _balance(Account.INCENTIVE_RECEIVABLE, 1, "recoverer_id", "shares receivable"),
    f"""
    select format('settlement %s is over %s fen in %s lines, and its lines are %s fen in %s', s.settlement_id, s.amount_fen,
                  s.lines, sum({_NET}), count(i.line_id))
    from payments.incentive_settlement s
    join payments.incentive_settlement_line x on x.lane = s.lane and x.settlement_id = s.settlement_id
    join payments.incentive_line i on i.lane = x.lane and i.line_id = x.line_id
    group by s.lane, s.settlement_id, s.amount_fen, s.lines
    having (sum({_NET}), count(i.line_id)) is distinct from (s.amount_fen, s.lines)
    """,
)


def check(tx: Connection) -> list[Violation]:
    """Run every check of the incentive, read only; nothing in the list means that they all hold."""
    return [
        Violation("incentive", str(detail))
        for query in _CHECKS
        for detail in tx.execute(text(f"{query} limit {FOUND_MAX}")).scalars()
    ] + _unsealed(tx)


def _unsealed(tx: Connection) -> list[Violation]:
    """Every rule, assignment and approved settlement is the one that was recorded in the tree."""
    wanted: list[tuple[int, Document]] = [(rule.lane, rules.as_document(rule)) for rule in rules.rules(tx)]
    wanted += [(one.lane, rules.assignment_document(one)) for one in rules.assignments(tx)]
    lanes = tx.execute(text("select distinct lane from payments.incentive_settlement")).scalars()
    wanted += [
        (lane, settlements.as_document(one))
        for lane in list(lanes)
        for one in settlements.listed(tx, lane=lane)
        if one.state in ("approved", "paid")
    ]
    found = []
    for lane, of_lane in groupby(sorted(wanted, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
        expected = [document for _, document in of_lane]
        kept = {one.document_id: one for one in documents.find(tx, lane=lane, document_ids=[x.document_id for x in expected])}
        found += [
            Violation("incentive", f"document {one.document_id} is not the one that was sealed")
            for one in expected
            if kept.get(one.document_id) != one
        ]
    return found
