"""Standing checks of this room: what must hold between payments, charges, money facts, evidence and the book.

Knows the tables of this room and the published views of the others; changes nothing. Called by ``app.checks``.
Source: docs/ARCHITECTURE.md, invariants I2, I3, I4, I5, I7, I8, I15, I16, and what was taken back.
"""

from typing import Final

from sqlalchemy import Connection, text

from ledger.accounts import Account
from ledger.invariants import Violation
from ledger.journal import REVERSAL, EntryKind
from payments.amends import corrections
from payments.bearers import invariants as bearers
from payments.discounts import invariants as discounts
from payments.incentive import invariants as incentive
from payments.mandates import agreement_texts
from payments.quoting import invariants as asked_quotes
from payments.splitting import splits

FOUND_MAX: Final = 100
"""Most violations named per check: more of one kind tell nothing new."""

_ENTRY: Final = f"cast(left(f.payment_id::text, 34) || '{EntryKind.PAYMENT:02x}' as uuid)"
"""The entry of a fact: the payment's id with the kind in the last byte."""

_BACK: Final = f"cast(left(p.payment_id::text, 34) || '{EntryKind.BAD_DEBT:02x}' as uuid)"
_UNDONE: Final = f"cast(left(p.payment_id::text, 34) || '{EntryKind.PAYMENT + REVERSAL:02x}' as uuid)"
"""The entries of a payment that was taken back: a debt, or what lay in suspense undone."""

_REFUND_KINDS: Final = (
    EntryKind.REFUND_ACCEPTED,
    EntryKind.REFUND_ACCEPTED + REVERSAL,
    EntryKind.REFUND_DONE,
    EntryKind.REFUND_DONE + REVERSAL,
)
_REFUND_ENTRY: Final = "cast(left(r.refund_id::text, 34) || '{kind:02x}' as uuid)"

_CHECKS: Final[tuple[tuple[str, str], ...]] = (
    (
        "I2",
        """
        select format('charge %s has %s fen paid, and the payments that count for it sum to %s', coalesce(c.charge_id, f.charge_id),
                      c.paid_fen, f.fen)
        from payments.charge c
        full join (
            select p.lane, p.charge_id, sum(f.amount_fen) as fen
            from payments.payment_fact f join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id
            where f.treatment in ('settled', 'part') and p.taken_back_at is null group by p.lane, p.charge_id
        ) f on f.lane = c.lane and f.charge_id = c.charge_id
        where coalesce(c.paid_fen, 0) <> coalesce(f.fen, 0)
        """,
    ),
    (
        "I2",
        """
        select format('charge %s is %s by %s, but its settling fact is %s', c.charge_id, c.state, c.settled_by, f.payment_id)
        from payments.charge c
        left join (
            select p.lane, p.charge_id, f.payment_id
            from payments.payment_fact f join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id
            where f.treatment = 'settled' and p.taken_back_at is null
        ) f on f.lane = c.lane and f.charge_id = c.charge_id and f.payment_id = c.settled_by
        where c.settled_by is distinct from f.payment_id
        """,
    ),
    (
        "I3",
        """
        select format('payment %s has %s money facts', payment_id, count(*))
        from payments.payment_fact group by lane, payment_id having count(*) > 1
        """,
    ),
    (
        "I5",
        """
        select format('payment %s is succeeded without a money fact that says the same', p.payment_id)
        from payments.payment p
        left join payments.payment_fact f on f.lane = p.lane and f.payment_id = p.payment_id
        where p.state = 'succeeded'
          and (f.payment_id is null or (f.trade_no, f.amount_fen, f.happened_at) <> (p.trade_no, p.taken_fen, p.succeeded_at))
        """,
    ),
    (
        "I7",
        """
        select format('the evidence %s of payment %s is not a verified message about it', f.evidence_id, f.payment_id)
        from payments.payment_fact f
        left join gateways.v_message m on m.lane = f.lane and m.message_id = f.evidence_id
        join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id
        where m.message_id is null or m.verdict <> 'verified'
           or (m.subject is distinct from f.payment_id and not exists (
               select from payments.payment leg where leg.lane = p.lane and leg.act_id = p.act_id and leg.payment_id = m.subject)
             and not exists ( -- what was said of a whole package or dispute file
               select from payments.card_record r
               join payments.card_package k on k.lane = r.lane and k.package_id = r.package_id
               left join payments.card_dispute_file d on d.lane = r.lane and d.channel = r.channel and d.file_no = r.file_no
               where r.lane = f.lane and r.record_id = f.payment_id and f.evidence_id in (k.booked_evidence_id, d.evidence_id))
             and not exists ( -- what a lot said of many takings in one call
               select from payments.taking t
               where t.lane = f.lane and t.payment_id = f.payment_id and t.evidence_id = f.evidence_id))
        """,
    ),
    (
        "I8",
        """
        select format('payment %s has a money fact and is %s', p.payment_id, p.state)
        from payments.payment_fact f join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id
        where p.state <> 'succeeded'
        """,
    ),
    (
        "I2",
        """
        select format('payment %s is in suspense without a case', f.payment_id)
        from payments.payment_fact f
        where f.treatment not in ('settled', 'part') and not exists (
            select from payments.payment_case c
            where c.lane = f.lane and c.payment_id = f.payment_id and c.kind in ('refund_second_payment', 'amount_differs'))
        """,
    ),
    (
        "facts",
        f"""
        select format('the money fact of payment %s has no entry that says the same', f.payment_id)
        from payments.payment_fact f
        join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id
        left join ledger.v_posting e on e.lane = f.lane and e.entry_id = {_ENTRY}
        where e.entry_id is null or (e.amount_fen, e.happened_at, e.evidence_id, e.book_id)
              <> (f.amount_fen, f.happened_at, f.evidence_id, p.book_id)
           or e.route_id not in (p.route_id, 0) -- 0: booked before routes were sealed
        """,
    ),
    (
        "facts",
        f"""
        select format('entry %s is a payment without a money fact', e.entry_id)
        from ledger.v_posting e
        where e.kind = {EntryKind.PAYMENT:d} and not exists (
            select from payments.payment_fact f where f.lane = e.lane and {_ENTRY} = e.entry_id)
        """,
    ),
    (
        "taken_back",
        f"""
        select format('payment %s was taken back; entries that say so as a debt: %s, out of suspense: %s', p.payment_id,
                      e.back, e.undone)
        from payments.payment p
        left join payments.payment_fact f on f.lane = p.lane and f.payment_id = p.payment_id
        cross join lateral (
            select count(*) filter (where e.kind = {EntryKind.BAD_DEBT}) as back,
                   count(*) filter (where e.kind = {EntryKind.PAYMENT + REVERSAL}) as undone
            from ledger.v_posting e
            left join gateways.v_message m on m.lane = e.lane and m.message_id = e.evidence_id and m.verdict = 'verified'
            where e.lane = p.lane and e.entry_id in ({_BACK}, {_UNDONE}) and e.book_id = p.book_id and e.amount_fen = p.taken_fen
              and e.happened_at = p.taken_back_at and m.message_id is not null
        ) e
        where p.taken_back_at is not null
          and (f.payment_id is null or (e.back, e.undone)
               <> ((f.treatment in ('settled', 'part'))::int, (f.treatment not in ('settled', 'part'))::int))
        """,
    ),
    (
        "taken_back",
        f"""
        select format('entry %s takes back a payment that was not taken back', e.entry_id)
        from ledger.v_posting e
        where e.kind in ({EntryKind.BAD_DEBT:d}, {EntryKind.PAYMENT + REVERSAL:d}) and not exists (
            select from payments.payment p
            where p.lane = e.lane and p.taken_back_at is not null
              and p.payment_id = cast(left(e.entry_id::text, 34) || '00' as uuid))
        """,
    ),
    (
        "taken_back",
        """
        select format('payment %s was taken back and is %s', payment_id, state)
        from payments.payment where taken_back_at is not null and state <> 'succeeded'
        """,
    ),
    (
        "I4",
        """
        select format('payment %s was taken back and has refunds', p.payment_id)
        from payments.payment p
        where p.taken_back_at is not null and exists (
            select from payments.refund r where r.lane = p.lane and r.payment_id = p.payment_id and r.state <> 'closed')
        """,
    ),
    (
        "I4",
        """
        select format('payment %s took %s fen and has refunds of %s', p.payment_id, p.taken_fen, sum(r.amount_fen))
        from payments.refund r join payments.payment p on p.lane = r.lane and p.payment_id = r.payment_id
        where r.state <> 'closed'
        group by p.payment_id, p.taken_fen having sum(r.amount_fen) > coalesce(p.taken_fen, 0)
        """,
    ),
    (
        "I4",
        f"""
        select format('refund %s is %s, and its entries are: promised %s, cancelled %s, done %s, reopened %s', r.refund_id, r.state,
                      e.promised, e.cancelled, e.done, e.reopened)
        from payments.refund r
        cross join lateral (
            select count(*) filter (where e.kind = {EntryKind.REFUND_ACCEPTED}) as promised,
                   count(*) filter (where e.kind = {EntryKind.REFUND_ACCEPTED + REVERSAL}) as cancelled,
                   count(*) filter (where e.kind = {EntryKind.REFUND_DONE}) as done,
                   count(*) filter (where e.kind = {EntryKind.REFUND_DONE + REVERSAL}) as reopened
            from ledger.v_posting e
            where e.lane = r.lane and e.amount_fen = r.amount_fen and e.book_id = r.book_id and e.entry_id in (
                {", ".join(_REFUND_ENTRY.format(kind=kind) for kind in _REFUND_KINDS)})
        ) e
        where (e.promised, e.cancelled, e.done - e.reopened)
              <> (1, (r.state = 'closed')::int, (r.state = 'done')::int)
        """,
    ),
    (
        "I4",
        f"""
        select format('entry %s is of a refund that is not there', e.entry_id)
        from ledger.v_posting e
        where e.kind in ({", ".join(str(int(kind)) for kind in _REFUND_KINDS)}) and not exists (
            select from payments.refund r
            where r.lane = e.lane and r.refund_id = cast(left(e.entry_id::text, 34) || '00' as uuid))
        """,
    ),
    (
        "I15",
        """
        select format('payment %s of operator %s lies in book %s of a %s', p.payment_id, p.operator_id, p.book_id, b.owner_kind)
        from payments.payment p
        join payments.operator o on o.operator_id = p.operator_id
        left join ledger.v_book b on b.book_id = p.book_id
        where b.owner_kind is distinct from 'operator' or o.book_id <> p.book_id
        """,
    ),
    (
        "I16",
        f"""
        select format('book %s has receivables of %s fen, and its open charges that are receivables owe %s', coalesce(b.book_id,
                      c.book_id), coalesce(b.fen, 0), coalesce(c.fen, 0))
        from (
            select book_id, sum(case debit_account when {Account.RECEIVABLE:d} then amount_fen else 0 end)
                            - sum(case credit_account when {Account.RECEIVABLE:d} then amount_fen else 0 end) as fen
            from ledger.v_posting where {Account.RECEIVABLE:d} in (debit_account, credit_account) group by book_id
        ) b
        full join (
            select o.book_id, sum(c.amount_fen - c.paid_fen - c.reduced_fen) as fen
            from payments.charge c join payments.operator o on o.operator_id = c.operator_id
            where c.state = 'open' and c.is_receivable group by o.book_id
        ) c on c.book_id = b.book_id
        where coalesce(b.fen, 0) <> coalesce(c.fen, 0)
        """,
    ),
    (
        "I16",
        """
        select format('charge %s owes %s fen as a receivable, and its debt %s', coalesce(c.charge_id, d.charge_id),
                      c.amount_fen - c.paid_fen - c.reduced_fen, d.owed_fen)
        from (select * from payments.charge where is_receivable) c
        full join payments.debt d on d.lane = c.lane and d.charge_id = c.charge_id
        where c.amount_fen - c.paid_fen - c.reduced_fen is distinct from d.owed_fen
        """,
    ),
    (
        "takings",
        f"""
        select format('taking %s has no entry or payment that says the same', t.taking_id)
        from payments.v_taking t
        left join gateways.v_message m on m.lane = t.lane and m.message_id = t.evidence_id and m.verdict = 'verified'
        left join payments.payment_fact f on f.lane = t.lane and f.payment_id = t.payment_id
        left join ledger.v_posting e on e.lane = t.lane and t.payment_id is null
          and e.entry_id = cast(left(t.taking_id::text, 34) || '{EntryKind.TAKEN_ELSEWHERE:02x}' as uuid)
        where m.message_id is null
           or (t.channel, t.amount_fen, t.taken_at, t.evidence_id) is distinct from
              (case when t.payment_id is null then t.channel else f.channel end, coalesce(f.amount_fen, e.amount_fen),
               coalesce(f.happened_at, e.happened_at), coalesce(f.evidence_id, e.evidence_id))
           or (t.payment_id is null and e.book_id is distinct from t.book_id)
        """,
    ),
    (
        "takings",
        f"""
        select format('entry %s is of a taking or a bank slip that is not there', e.entry_id)
        from ledger.v_posting e
        where e.kind in ({EntryKind.TAKEN_ELSEWHERE:d}, {EntryKind.CASH_BANKED:d})
          and not exists (select from payments.v_taking t where t.lane = e.lane and t.payment_id is null
                          and t.taking_id = cast(left(e.entry_id::text, 34) || '00' as uuid))
          and not exists (select from payments.v_cash_slip s where s.lane = e.lane and s.book_id = e.book_id
                          and s.amount_fen = e.amount_fen and s.slip_id = cast(left(e.entry_id::text, 34) || '00' as uuid))
        """,
    ),
    (
        "takings",
        f"""
        select format('refund %s of what was taken by hand is %s, and what the lot handed back says otherwise', r.refund_id,
                      r.state)
        from payments.refund r
        left join payments.v_taking_return x on x.lane = r.lane and x.refund_id = r.refund_id
        left join ledger.v_posting e on e.lane = r.lane and e.entry_id = {_REFUND_ENTRY.format(kind=EntryKind.REFUND_DONE)}
        where (x.return_id is not null or (r.channel in ('cash', 'legacy') and r.state = 'done'))
          and (r.state, r.channel, r.amount_fen, r.done_at, r.operator_id, e.evidence_id) is distinct from
              ('done', x.channel, x.amount_fen, x.returned_at, x.operator_id, x.evidence_id)
        """,
    ),
    (
        "takings",
        f"""
        select format('book %s has cash of %s fen, and its tills hold %s', coalesce(b.book_id, t.book_id), coalesce(b.fen, 0),
                      coalesce(t.fen, 0))
        from (
            select book_id, sum(case debit_account when {Account.CASH:d} then amount_fen else 0 end)
                            - sum(case credit_account when {Account.CASH:d} then amount_fen else 0 end) as fen
            from ledger.v_posting where {Account.CASH:d} in (debit_account, credit_account) group by book_id
        ) b
        full join (
            select o.book_id, sum(t.taken_fen - t.banked_fen - t.returned_fen) as fen
            from payments.lot_till t
            join payments.lot l on l.lot_id = t.lot_id
            join payments.operator o on o.operator_id = l.operator_id
            group by o.book_id
        ) t on t.book_id = b.book_id
        where coalesce(b.fen, 0) <> coalesce(t.fen, 0)
        """,
    ),
    (
        "reduced",
        """
        select format('charge %s is reduced by %s fen; credit notes, newer quotes, discounts, waivers and write-offs sum to %s',
                      c.charge_id, c.reduced_fen, coalesce(n.fen, 0))
        from payments.charge c
        full join (
            select lane, charge_id, sum(fen) as fen from (
                select lane, charge_id, credited_fen as fen from payments.credit_note
                union all
                select lane, charge_id, superseded_fen from payments.charge_quote where superseded_at is not null
                union all
                select lane, charge_id, amount_fen from payments.v_discount
                union all
                select l.lane, l.charge_id, case d.kind when 'write_back' then -l.amount_fen else l.amount_fen end
                from payments.debt_decision_line l
                join payments.debt_decision d on d.lane = l.lane and d.decision_id = l.decision_id and d.state = 'approved'
            ) each group by lane, charge_id
        ) n on n.lane = c.lane and n.charge_id = c.charge_id
        where coalesce(c.reduced_fen, 0) <> coalesce(n.fen, 0)
        """,
    ),
    (
        "reduced",
        f"""
        select format('decision %s of %s fen about charge %s has no entry that says the same', l.decision_id, l.amount_fen,
                      l.charge_id)
        from payments.debt_decision_line l
        join payments.debt_decision d on d.lane = l.lane and d.decision_id = l.decision_id and d.state = 'approved'
        left join ledger.v_posting e on e.lane = l.lane and e.entry_id = cast(
            case d.kind when 'waiver' then left(l.line_id::text, 34) || '{EntryKind.WAIVED:02x}'
                        when 'write_off' then left(l.line_id::text, 34) || '{EntryKind.WRITTEN_OFF:02x}'
                        else left(l.reverses::text, 34) || '{EntryKind.WRITTEN_OFF + REVERSAL:02x}' end as uuid)
        where e.entry_id is null or (e.amount_fen, e.book_id, e.evidence_id) <> (l.amount_fen, l.book_id, l.decision_id)
        """,
    ),
)


_OF_ROOMS: Final = (
    splits.check, agreement_texts.check, incentive.check, bearers.check, discounts.check, corrections.check, asked_quotes.check,
)  # fmt: skip


def check(tx: Connection) -> list[Violation]:
    """Run every check of this room, read only; nothing in the list means that they all hold."""
    return [
        Violation(invariant, str(detail))
        for invariant, query in _CHECKS
        for detail in tx.execute(text(f"{query} limit {FOUND_MAX}")).scalars()
    ] + [violation for each in _OF_ROOMS for violation in each(tx)]
