"""Standing checks of bearers: claims against earned parts, lines against the book, settlements against what was sealed.

Knows the tables of this room, charges' payments and the book's views; changes nothing. Called by ``payments.invariants``.
"""

from typing import Final

from sqlalchemy import Connection, text

from ledger import documents
from ledger.accounts import Account
from ledger.invariants import Violation
from ledger.journal import REVERSAL, EntryKind
from payments.bearers import settlements
from payments.bearers.following import BOOKED

FOUND_MAX: Final = 100

_NET: Final = "case when i.returned then -i.amount_fen else i.amount_fen end"


def _id(column: str, kind: int) -> str:
    return f"cast(left({column}::text, 34) || '{kind:02x}' as uuid)"


_EARNED: Final = f"""
    earned as (
        select b.lane, b.part_id from payments.borne_part b
        join payments.bearer_cursor c on c.lane = b.lane
        where b.charge_id is not null
          and not exists (select from payments.borne_part_fallen f where f.lane = b.lane and f.part_id = b.part_id)
          and exists (
            select from (
                select {_id("b.charge_id", EntryKind.LEFT_UNPAID)} as entry_id
                union all
                select {_id("p.payment_id", EntryKind.PAYMENT)} from payments.payment p
                where p.lane = b.lane and p.charge_id = b.charge_id
            ) k
            join ledger.v_posting e on e.lane = b.lane and e.entry_id = k.entry_id
            where e.leaf_index < c.leaf_index and {BOOKED})
        union all
        select b.lane, b.part_id from payments.borne_part b
        where b.charge_id is null
          and not exists (select from payments.borne_due d where d.lane = b.lane and d.part_id = b.part_id)
    )
"""
_OTHERS: Final = """
    join payments.bearer r on r.bearer_id = b.bearer_id
    left join payments.party own on own.operator_id = b.operator_id
"""


def _balance(account: Account, side: int, book: str, joined: str, owed: str) -> str:
    """The balance of an account in each book is what the lines that are not paid sum to."""
    sign = {1: "debit_account", -1: "credit_account"}
    return f"""
        select format('book %s has {owed} of %s fen, and its open lines sum to %s', coalesce(b.book_id, l.book_id),
                      coalesce(b.fen, 0), coalesce(l.fen, 0))
        from (
            select book_id, sum(case when {sign[side]} = {account:d} then amount_fen else -amount_fen end) as fen
            from ledger.v_posting where {account:d} in (debit_account, credit_account) group by book_id
        ) b
        full join (
            select {book} as book_id, sum({_NET}) as fen
            from payments.bearer_line i {joined}
            left join payments.bearer_settlement_line x
                on x.lane = i.lane and x.part_id = i.part_id and x.returned = i.returned and x.is_live
            left join payments.bearer_settlement s on s.lane = x.lane and s.settlement_id = x.settlement_id
            where s.state is distinct from 'paid' group by 1
        ) l on l.book_id = b.book_id
        where coalesce(b.fen, 0) <> coalesce(l.fen, 0)
        """


_CHECKS: Final = (
    f"""
    with {_EARNED}
    select format('part %s of %s fen, borne by %s, was earned and is not claimed', b.part_id, b.amount_fen, r.code)
    from earned join payments.borne_part b using (lane, part_id) {_OTHERS}
    where (r.party_id is null or own.party_id is distinct from r.party_id)
      and not exists (select from payments.bearer_line i where i.lane = b.lane and i.part_id = b.part_id and not i.returned)
    """,
    f"""
    with {_EARNED}
    select format('part %s is claimed, and was not earned, or is borne by its own payee', i.part_id)
    from payments.bearer_line i
    left join earned using (lane, part_id)
    left join payments.borne_part b on b.lane = i.lane and b.part_id = i.part_id
    left join payments.bearer r on r.bearer_id = b.bearer_id
    left join payments.party own on own.operator_id = b.operator_id
    where not i.returned and (earned.part_id is null or own.party_id = r.party_id)
    """,
    """
    select format('the line of part %s is over %s fen of bearer %s to operator %s, and the part is not', i.part_id, i.amount_fen,
                  i.bearer_id, i.operator_id)
    from payments.bearer_line i
    left join payments.borne_part b on b.lane = i.lane and b.part_id = i.part_id
    where (b.amount_fen, b.bearer_id, b.operator_id) is distinct from (i.amount_fen, i.bearer_id, i.operator_id)
    """,
    """
    select format('the claim of part %s is returned, and %s', i.part_id,
                  case when c.part_id is null then 'was never made' else 'its charge was not cancelled' end)
    from payments.bearer_line i
    join payments.borne_part b on b.lane = i.lane and b.part_id = i.part_id
    left join payments.bearer_line c on c.lane = i.lane and c.part_id = i.part_id and not c.returned
    where i.returned and (c.part_id is null or not exists (
        select from payments.credit_note n
        left join payments.charge h on h.lane = b.lane and h.lot_id = b.lot_id and h.lot_serial = b.lot_serial
        where n.lane = b.lane and n.charge_id = coalesce(b.charge_id, h.charge_id) and n.kind in ('cancel', 'replace')))
    """,
    f"""
    select format('part %s stays claimed, and its charge was cancelled by note %s', i.part_id, n.number)
    from payments.bearer_line i
    join payments.borne_part b on b.lane = i.lane and b.part_id = i.part_id
    join payments.credit_note n on n.lane = b.lane and n.charge_id = b.charge_id and n.kind in ('cancel', 'replace')
    join payments.bearer_cursor c on c.lane = i.lane
    where not i.returned
      and not exists (select from payments.bearer_line x where x.lane = i.lane and x.part_id = i.part_id and x.returned)
      and exists (
          select from (
              select {_id("n.note_id", EntryKind.CREDITED)} as entry_id
              union all
              select {_id("f.refund_id", EntryKind.REFUND_ACCEPTED)} from payments.credit_note_refund f
              where f.lane = n.lane and f.note_id = n.note_id
          ) k
          join ledger.v_posting e on e.lane = n.lane and e.entry_id = k.entry_id
          where e.leaf_index < c.leaf_index)
    """,
    f"""
    select format('the line of part %s has %s of its %s entries', i.part_id, count(e.entry_id), count(*))
    from payments.bearer_line i
    join payments.party o on o.operator_id = i.operator_id
    join payments.bearer r on r.bearer_id = i.bearer_id
    left join payments.party p on p.party_id = r.party_id
    cross join lateral (values
        (o.lane, {EntryKind.BEARER_CLAIMED:d}, o.book_id, {Account.BEARER_RECEIVABLE:d}, {Account.INCOME:d}),
        (p.lane, {EntryKind.BEARER_OWED:d}, p.book_id, {Account.BEARER_COST:d}, {Account.BEARER_PAYABLE:d})
    ) w (lane, kind, book_id, debit, credit)
    left join ledger.v_posting e on e.lane = w.lane and e.book_id = w.book_id and e.amount_fen = i.amount_fen
         and e.entry_id = cast(
             left(i.part_id::text, 34) || lpad(to_hex(w.kind + case when i.returned then {REVERSAL} else 0 end), 2, '0') as uuid)
         and (e.debit_account, e.credit_account) = (case when i.returned then w.credit else w.debit end,
                                                    case when i.returned then w.debit else w.credit end)
    where w.book_id is not null
    group by i.lane, i.part_id, i.returned having count(e.entry_id) <> count(*)
    """,
    _balance(
        Account.BEARER_RECEIVABLE, 1, "o.book_id", "join payments.operator o on o.operator_id = i.operator_id", "claims on bearers"
    ),
    _balance(
        Account.BEARER_PAYABLE, -1, "p.book_id",
        "join payments.bearer r on r.bearer_id = i.bearer_id join payments.party p on p.party_id = r.party_id", "discounts payable",
    ),
    f"""
    select format('settlement %s is over %s fen in %s lines, and its lines are %s fen in %s', s.settlement_id, s.amount_fen,
                  s.lines, sum({_NET}), count(i.part_id))
    from payments.bearer_settlement s
    join payments.bearer_settlement_line x on x.lane = s.lane and x.settlement_id = s.settlement_id
    join payments.bearer_line i on i.lane = x.lane and i.part_id = x.part_id and i.returned = x.returned
    group by s.lane, s.settlement_id, s.amount_fen, s.lines
    having (sum({_NET}), count(i.part_id)) is distinct from (s.amount_fen, s.lines)
    """,
)  # fmt: skip


def check(tx: Connection) -> list[Violation]:
    """Run every check of bearers, read only; nothing in the list means that they all hold."""
    return [
        Violation("bearers", str(detail))
        for query in _CHECKS
        for detail in tx.execute(text(f"{query} limit {FOUND_MAX}")).scalars()
    ] + _unsealed(tx)


def _unsealed(tx: Connection) -> list[Violation]:
    """Every approved settlement is the one that was recorded in the tree."""
    found = []
    for lane in list(tx.execute(text("select distinct lane from payments.bearer_settlement")).scalars()):
        wanted = [
            settlements.as_document(one) for one in settlements.listed(tx, lane=lane) if one.state in ("approved", "paid")
        ]  # fmt: skip
        kept = {one.document_id: one for one in documents.find(tx, lane=lane, document_ids=[one.document_id for one in wanted])}
        found += [
            Violation("bearers", f"settlement {one.document_id} is not the one that was sealed")
            for one in wanted
            if kept.get(one.document_id) != one
        ]
    return found
