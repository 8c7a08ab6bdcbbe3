"""Standing checks of this room: I10 (the clearing accounts roll forward by facts alone) and I14 (each row in one match group).

Knows the published views and its own tables. Called by ``tongting verify``, the simulated day and the tests; each returns what is
wrong in words, and nothing when all holds.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, text

from ledger.accounts import clearing
from ledger.invariants import Violation
from reconciliation.statements import CHANNELS

_CLEARING: Final = {channel: int(clearing(channel)) for channel in CHANNELS}

_CHECKS: Final[Mapping[str, str]] = {
    "I10": """
        with account as (
            select channel, account from unnest(cast(:channels as text[]), cast(:accounts as integer[])) as a (channel, account)
        ), moved as (
            select p.lane, p.book_id, a.channel, p.booked_on,
                   sum(case when p.debit_account = a.account then p.amount_fen else -p.amount_fen end) as fen
            from ledger.v_posting p join account a on a.account in (p.debit_account, p.credit_account)
            where p.kind in (1, 129, 4, 132, 6)
            group by p.lane, p.book_id, a.channel, p.booked_on
        ), taken as (  -- a reversed payment has moved nothing, on the day of the entry and on the day of its reversal together
            select lane, book_id, channel, booked_on, sum(fen) as fen
            from (
                select f.lane, f.book_id, f.channel, p.booked_on,
                       case when p.kind = 1 then f.amount_fen else -f.amount_fen end as fen
                from payments.v_payment_fact f
                left join ledger.v_posting p on p.lane = f.lane and p.line = 0 and p.entry_id in (
                    reconciliation.payment_entry_v1(f.payment_id, 1), reconciliation.payment_entry_v1(f.payment_id, 129))
                union all
                select f.lane, f.book_id, f.channel, p.booked_on, -f.amount_fen
                from payments.v_payment_fact f
                left join ledger.v_posting p on p.lane = f.lane and p.line = 0
                  and p.entry_id = reconciliation.payment_entry_v1(f.payment_id, 6)
                where f.treatment in ('settled', 'part') and f.taken_back_at is not null
                union all
                select r.lane, r.book_id, r.channel, p.booked_on, case when p.kind = 4 then -r.amount_fen else r.amount_fen end
                from payments.v_refund r
                join ledger.v_posting p on p.lane = r.lane and p.line = 0 and p.entry_id in (
                    reconciliation.payment_entry_v1(r.refund_id, 4), reconciliation.payment_entry_v1(r.refund_id, 132))
            ) facts
            group by lane, book_id, channel, booked_on
        )
        select format('book %s, clearing at %s, %s: the book moved by %s fen, the payments and refunds of the day sum to %s',
                      coalesce(m.book_id, t.book_id), coalesce(m.channel, t.channel), coalesce(m.booked_on, t.booked_on),
                      m.fen, t.fen)
        from moved m full join taken t
          on t.lane = m.lane and t.book_id = m.book_id and t.channel = m.channel and t.booked_on = m.booked_on
        where m.fen is distinct from t.fen
        order by 1
        """,
    "I14": """
        with places as (
            select run_id, line from reconciliation.match_pair
            union all
            select run_id, line from reconciliation.match_refund
            union all
            select run_id, line from reconciliation.break_case where line is not null
        ), counted as (
            select r.run_id, l.line, l.kind = 'bad_debt' or l.amount_fen = 0 as may_agree, count(p.line) as groups
            from reconciliation.match_run r
            join reconciliation.bill b on b.bill_id = r.bill_id
            join reconciliation.bill_line l on l.bill_id = r.bill_id
            left join payments.v_card_record c on l.payment_lane is null and c.channel = b.channel and c.number = l.order_no
            left join places p on p.run_id = r.run_id and p.line = l.line
            where coalesce(l.payment_lane, c.lane, 0) = r.lane
            group by r.run_id, l.line, l.kind, l.amount_fen
        ), latest as (
            select distinct on (r.lane, b.channel, b.provider_no, b.merchant_no, b.bill_on) r.run_id
            from reconciliation.match_run r join reconciliation.bill b on b.bill_id = r.bill_id
            order by r.lane, b.channel, b.provider_no, b.merchant_no, b.bill_on, b.version desc, r.tree_size desc
        )
        select format('comparison %s: line %s is in %s match groups', run_id, line, groups)
        from counted where groups > 1 or (groups = 0 and not may_agree)  -- no money moves: what agrees is in no list
        union all
        select format('merchant %s, trade %s: the fact is used up by %s days', merchant_no, trade_no, count(*))
        from reconciliation.match_pair p join latest using (run_id)
        group by merchant_no, trade_no having count(*) > 1
        union all
        select format('refund %s is used up by %s days', refund_id, count(*))
        from reconciliation.match_refund m join latest using (run_id)
        group by refund_id having count(*) > 1
        union all
        select format('comparison %s states %s pairs and %s differences, it has %s and %s',
                      run_id, matched, differences, pairs, cases)
        from (
            select r.run_id, r.matched, r.differences,
                   (select count(*) from reconciliation.match_pair p where p.run_id = r.run_id)
                   + (select count(*) from reconciliation.match_refund m where m.run_id = r.run_id) as pairs,
                   (select count(*) from reconciliation.break_case c where c.run_id = r.run_id) as cases
            from reconciliation.match_run r) as stated
        where matched <> pairs or differences <> cases
        """,
}


def check(tx: Connection) -> list[Violation]:
    """Return every breach of this room's invariants, in order. Reads everything: meant for the end of a day, not for each page."""
    values = {"channels": list(_CLEARING), "accounts": list(_CLEARING.values())}
    return [
        Violation(invariant, detail)
        for invariant, query in _CHECKS.items()
        for detail in tx.execute(text(query), values if ":channels" in query else {}).scalars()
    ]
