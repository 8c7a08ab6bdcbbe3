"""Match 勾对 a trade bill with the book at a seal: zero tolerance, every row used up once, the rest named by difference.

Knows bills, sealed entries and the published views of payments; must not know channels' wire. Called by the daily jobs.
SQL compares whole sets, then writes pairs and differences in one statement; the same inputs give the same list in the same order.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import extracts
from ledger.errors import NotFound
from ledger.ids import Ids

DIFFERENCES: Final[Mapping[str, str]] = {
    "D01": "the channel took the money and the book has none; the order is ours",
    "D02": "the channel took money for an order that is not ours",
    "D03": "the book has money that the channel's bill does not show",
    "D04": "the amounts differ",
    "D05": "the channel took the money late: the order is closed or failed here",
    "D06": "the channel revoked a payment later, or pays one after all that it had taken back",
    "D07": "the channel made a refund that the book does not have",
    "D08": "the book has a refund that the channel's bill calls failed",
    "D09": "the channel refunded another amount than the book",
    "D10": "the entry is booked but was not yet sealed when the book was read",
    "D11": "the bill has the row twice, in this or another day's file",
    "D22": "the money went to another operator's merchant account",
    "D23": "the channel will not pay what it had told as paid: a bad debt",
}
"""The differences this comparison finds, from the viewpoint of neither side."""


class MatchRun(Struct, frozen=True):
    """What a comparison came to. ``matched`` counts payments and refunds, ``matched_fen`` sums the payments."""

    run_id: UUID
    bill_id: UUID
    lane: int
    tree_size: int
    matched: int
    matched_fen: int
    differences: int
    run_at: datetime


class Difference(Struct, frozen=True):
    """One difference. ``is_new``: the comparison of the same day before this one did not have it."""

    number: int
    code: str
    line: int | None
    merchant_no: str
    trade_no: str
    order_no: str | None
    payment_id: UUID | None
    operator_id: int | None
    book_fen: int | None
    bill_fen: int | None
    is_new: bool


def match(tx: Connection, *, lane: int, bill_id: UUID, at: datetime, ids: Ids) -> MatchRun:
    """Compare a kept bill with what the book holds under the lane's last seal, and keep pairs and differences.

    A line and a fact pair when merchant, trade number, order and amount agree to the fen, a refund when its number does as well.
    A charge by card is known by its record's number alone, and is due on the day that cleared it. A bad debt that the book has as
    one, or of a payment that never succeeded, agrees and is in no list. Nothing is guessed, nothing is corrected here. Comparing
    the same bill at the same seal again returns the run that is there.

    Raises:
        NotFound: ``bill_not_found``.
    """
    seal = extracts.seal(tx, lane=lane)
    tree_size = 0 if seal is None else seal.tree_size
    bill = tx.execute(_LOCK_BILL, {"bill": bill_id}).first()
    if bill is None:
        raise NotFound(f"there is no bill {bill_id}", code="bill_not_found")
    asked = {"bill": bill_id, "lane": lane, "size": tree_size}
    row = tx.execute(_RUN, asked).first()
    if row is None:
        run_id = ids.new(at, f"match {bill_id} {lane} {tree_size}")
        for statement in _SETS:
            tx.execute(text(statement), asked)
        tx.execute(_MATCH, asked | {"run": run_id, "at": at})
        row = tx.execute(_RUN, asked).one()
    return MatchRun(*row)


def differences(tx: Connection, *, run_id: UUID) -> list[Difference]:
    """Return the differences of a comparison in their order: code, merchant, trade number, line."""
    return [Difference(*row) for row in tx.execute(_DIFFERENCES, {"run": run_id})]


def counts(tx: Connection, *, run_id: UUID) -> dict[str, int]:
    """Return how many differences of each code a comparison found, in order of the code."""
    query = text("select code, count(*) as times from reconciliation.break_case where run_id = :run group by code order by code")
    return {row.code: row.times for row in tx.execute(query, {"run": run_id})}


_LOCK_BILL: Final = text("""
select bill_id, pg_advisory_xact_lock(hashtext('match ' || channel || provider_no || merchant_no || bill_on))
from reconciliation.bill where bill_id = :bill
""")
_RUN: Final = text("""
select run_id, bill_id, lane, tree_size, matched, matched_fen, differences, run_at from reconciliation.match_run
where bill_id = :bill and lane = :lane and tree_size = :size
""")
_DIFFERENCES: Final = text("""
select number, code, line, merchant_no, trade_no, order_no, payment_id, operator_id, book_fen, bill_fen, is_new
from reconciliation.break_case where run_id = :run order by number
""")
_FACT: Final = """f.lane, f.channel, f.provider_no, f.merchant_no, f.trade_no, f.payment_id, f.operator_id, f.amount_fen,
               f.happened_at, f.is_card, f.taken_back_at"""
_SETS: Final = (
    "drop table if exists match_line, match_fact, match_taken",
    """
    create temporary table match_line on commit drop as
    with told as (
        select l.line, l.kind, l.merchant_no, l.trade_no, l.order_no, l.refund_no, l.payment_lane, l.payment_id, l.refund_id,
               l.refund_state, l.amount_fen, false as is_card
        from reconciliation.bill_line l
        where l.bill_id = :bill and l.payment_lane = :lane
        union all
        select l.line, l.kind, l.merchant_no, l.trade_no, l.order_no, l.refund_no, r.lane, r.record_id, l.refund_id,
               l.refund_state, l.amount_fen, r.record_id is not null
        from reconciliation.bill_line l
        cross join (select channel from reconciliation.bill where bill_id = :bill) bill
        left join lateral (  -- no number of a payment: that of a card's record, or nobody's
            select lane, record_id from payments.v_card_record
            where number = l.order_no and channel = bill.channel limit 1) r on true
        where l.bill_id = :bill and l.payment_lane is null and coalesce(r.lane, 0) = :lane
    )
    select t.*, row_number() over (partition by t.kind, t.merchant_no, t.trade_no, t.refund_no order by t.line) as copy
    from told t
    """,
    "analyze match_line",
    # Ids are time-ordered and an order can be paid for a week at most: the day's facts lie in one stretch of ids. What a card paid
    # is due when it was cleared, whenever that was.
    f"""
    create temporary table match_fact on commit drop as
    with bill as (
        select * from reconciliation.bill where bill_id = :bill
    ), cleared as materialized (
        select c.number, c.merchant_no from payments.v_card_cleared c join bill on bill.channel = c.channel
        where c.lane = :lane and c.cleared_on = (select bill_on from bill)
    ), told_back as materialized (  -- the last bill that each bad debt was found in
        select c.merchant_no, c.trade_no, max(b.bill_on) as bill_on
        from reconciliation.break_case c
        join reconciliation.match_run r on r.run_id = c.run_id and r.lane = :lane
        join reconciliation.bill b on b.bill_id = r.bill_id
        join bill on bill.channel = b.channel and bill.provider_no = b.provider_no and bill.merchant_no = b.merchant_no
        where c.code = 'D23' group by c.merchant_no, c.trade_no
    ), facts as (
        select {_FACT} from payments.v_payment_fact f
        where f.lane = :lane and f.payment_id >= (select ledger.month_floor_v1(bill_on - 9) from bill)
          and f.payment_id < (select ledger.month_floor_v1(bill_on + 2) from bill)
        union
        select {_FACT}
        from match_line l join payments.v_payment_fact f
          on f.lane = :lane and f.channel = (select channel from bill) and f.merchant_no = l.merchant_no and f.trade_no = l.trade_no
        union
        select {_FACT}
        from cleared c join payments.v_payment_fact f
          on f.lane = :lane and f.channel = (select channel from bill) and f.merchant_no = c.merchant_no and f.trade_no = c.number
    )
    select f.merchant_no, f.trade_no, f.payment_id, f.operator_id, f.amount_fen,
           coalesce(p.leaf_index < :size, false) as is_sealed,
           f.taken_back_at is not null as is_back,
           case when f.taken_back_at is null then false else exists (
               select from ledger.v_place b
               where b.lane = f.lane and b.leaf_index < :size and b.entry_id in (
                   reconciliation.payment_entry_v1(f.payment_id, 6), reconciliation.payment_entry_v1(f.payment_id, 129)))
             end as is_back_sealed,
           case when f.taken_back_at is null then false else coalesce((
               select t.bill_on <= bill.bill_on from told_back t
               where t.merchant_no = f.merchant_no and t.trade_no = f.trade_no), false) end as is_told_back,
           case when f.is_card then (f.merchant_no, f.trade_no) in (select merchant_no, number from cleared)
                when bill.begins_at is null then (f.happened_at at time zone 'Asia/Shanghai')::date = bill.bill_on
                else f.happened_at >= bill.begins_at and f.happened_at < bill.ends_at end as is_due
    from facts f
    join bill on bill.channel = f.channel and bill.provider_no = f.provider_no and bill.merchant_no in ('', f.merchant_no)
    left join ledger.v_place p on p.lane = f.lane and p.entry_id = reconciliation.payment_entry_v1(f.payment_id)
    """,
    "analyze match_fact",
    # Used up by the last comparison of another day's file.
    """
    create temporary table match_taken on commit drop as
    select distinct p.merchant_no, p.trade_no
    from reconciliation.match_pair p
    join reconciliation.match_run r on r.run_id = p.run_id and r.lane = :lane
    join reconciliation.bill b on b.bill_id = r.bill_id
    join reconciliation.bill mine
      on mine.bill_id = :bill and mine.channel = b.channel and mine.provider_no = b.provider_no
        and mine.merchant_no = b.merchant_no and mine.bill_on <> b.bill_on
    where p.trade_no in (select trade_no from match_line union select trade_no from match_fact)
      and not exists (
        select from reconciliation.match_run later join reconciliation.bill other on other.bill_id = later.bill_id
        where later.lane = :lane and other.channel = b.channel and other.provider_no = b.provider_no
          and other.merchant_no = b.merchant_no and other.bill_on = b.bill_on
          and (other.version, later.tree_size) > (b.version, r.tree_size))
    """,
    "analyze match_taken",
)
"""The three sets that are compared, with what the planner must know of them. They end with the transaction."""

_MATCH: Final = text("""
with bill as (
    select * from reconciliation.bill where bill_id = :bill
), pairs as materialized (
    select l.line, l.merchant_no, l.trade_no, f.payment_id, f.amount_fen
    from match_line l
    join match_fact f on f.merchant_no = l.merchant_no and f.trade_no = l.trade_no and f.payment_id = l.payment_id
                and f.amount_fen = l.amount_fen
    where l.kind = 'payment' and l.copy = 1 and f.is_sealed and not f.is_told_back
      and not exists (select from match_taken t where t.merchant_no = l.merchant_no and t.trade_no = l.trade_no)
), asked_back as materialized (  -- what the book knows of the refunds in the bill, by our number or by the operator's console's
    select l.line, r.refund_id, r.amount_fen, r.merchant_no, r.trade_no, r.state,
           coalesce(p.leaf_index < :size, false) as is_sealed,
           exists (
               select from reconciliation.match_refund m
               join reconciliation.match_run mr on mr.run_id = m.run_id and mr.lane = :lane
               join reconciliation.bill b on b.bill_id = mr.bill_id
               join bill on bill.channel = b.channel and bill.provider_no = b.provider_no
                 and bill.merchant_no = b.merchant_no and bill.bill_on <> b.bill_on
               where m.refund_id = r.refund_id and not exists (
                   select from reconciliation.match_run later join reconciliation.bill other on other.bill_id = later.bill_id
                   where later.lane = :lane and other.channel = b.channel and other.provider_no = b.provider_no
                     and other.merchant_no = b.merchant_no and other.bill_on = b.bill_on
                     and (other.version, later.tree_size) > (b.version, mr.tree_size))) as is_taken
    from match_line l
    join payments.v_refund r on r.lane = :lane and (
        r.refund_id = l.refund_id or (l.refund_id is null and r.payment_id = l.payment_id and r.source = 'console'
                                      and r.source_ref = l.refund_no))
    left join ledger.v_place p on p.lane = r.lane and p.entry_id = reconciliation.payment_entry_v1(r.refund_id, 3)
    where l.kind = 'refund'
), refund_pairs as materialized (
    select l.line, a.refund_id, a.amount_fen
    from match_line l join asked_back a on a.line = l.line
    where l.copy = 1 and a.is_sealed and not a.is_taken
      and (a.state = 'closed') = (l.refund_state is not distinct from 'closed')
      and a.merchant_no = l.merchant_no and a.trade_no = l.trade_no and a.amount_fen = l.amount_fen
), unpaired as (
    select l.*, f.payment_id as fact_id, f.amount_fen as fact_fen, f.merchant_no as fact_merchant, f.is_sealed,
           f.is_back, f.is_back_sealed, f.is_told_back, coalesce(p.operator_id, k.operator_id) as operator_id,
           coalesce(p.merchant_no, k.merchant_no) as ordered_merchant, coalesce(p.amount_fen, k.fee_fen) as ordered_fen, p.state,
           exists (select from match_taken t where t.merchant_no = l.merchant_no and t.trade_no = l.trade_no) as is_taken
    from match_line l
    left join match_fact f on f.trade_no = l.trade_no
    left join lateral (  -- few lines are left: look each up, whatever the planner expects
        select operator_id, merchant_no, amount_fen, state from payments.v_payment
        where lane = l.payment_lane and payment_id = l.payment_id limit 1) p on true
    left join lateral (  -- a stay that cost nothing has a record and no payment
        select operator_id, merchant_no, fee_fen from payments.v_card_record
        where l.is_card and lane = l.payment_lane and record_id = l.payment_id limit 1) k on true
    where not exists (select from pairs where pairs.line = l.line)
      and not exists (select from refund_pairs where refund_pairs.line = l.line)
), named as (
    select case
             when kind = 'refund' then coalesce((
                 select case
                     when unpaired.copy > 1 or a.is_taken then 'D11'
                     when a.state = 'closed' and unpaired.refund_state is distinct from 'closed' then 'D07'
                     when a.state <> 'closed' and unpaired.refund_state = 'closed' then 'D08'
                     when a.merchant_no <> unpaired.merchant_no or a.trade_no <> unpaired.trade_no then 'D22'
                     when a.amount_fen <> unpaired.amount_fen then 'D09'
                     else 'D10' end
                 from asked_back a where a.line = unpaired.line), 'D07')
             when kind = 'revoked' then 'D06'
             when kind = 'bad_debt' then case
                 when copy > 1 then 'D11'
                 when fact_merchant <> merchant_no or ordered_merchant <> merchant_no then 'D22'
                 when fact_id <> payment_id or coalesce(fact_id, payment_id) is null then 'D02'
                 when fact_id is null and ordered_merchant is null then 'D02'
                 when fact_id is null then null -- it never succeeded here either
                 when payment_id is null then 'D02'
                 when fact_fen <> amount_fen then 'D04'
                 when not is_sealed or (is_back and not is_back_sealed) then 'D10'
                 when is_back then null
                 else 'D23' end
             when copy = 1 and is_told_back and fact_id = payment_id and fact_merchant = merchant_no and fact_fen = amount_fen
               then 'D06' -- the last word was bad, now the channel pays after all
             when copy > 1 or is_taken then 'D11'
             when fact_merchant <> merchant_no or ordered_merchant <> merchant_no then 'D22'
             when fact_fen <> amount_fen then 'D04'
             when fact_id = payment_id then 'D10'
             when ordered_merchant is null or fact_id is not null then 'D02'
             when ordered_fen <> amount_fen then 'D04'
             when is_card and amount_fen = 0 then null -- a stay that cost nothing
             when not is_card and state in ('closed', 'failed') then 'D05'
             else 'D01'
           end as code,
           line, merchant_no, trade_no, order_no, coalesce(payment_id, fact_id) as payment_id, operator_id,
           case when kind = 'payment' and is_told_back and fact_id = payment_id then null
                when kind <> 'refund' then fact_fen
                else (select a.amount_fen from asked_back a where a.line = unpaired.line and a.state <> 'closed') end as book_fen,
           amount_fen as bill_fen
    from unpaired
    union all
    select 'D03', null, f.merchant_no, f.trade_no, null, f.payment_id, f.operator_id, f.amount_fen, null
    from match_fact f
    where f.is_due and f.is_sealed and not f.is_back
      and not exists (select from match_line l where l.trade_no = f.trade_no and l.kind in ('payment', 'bad_debt'))
      and not exists (select from match_taken t where t.merchant_no = f.merchant_no and t.trade_no = f.trade_no)
), found as (
    select * from named where code is not null
), previous as materialized (
    select r.run_id
    from reconciliation.match_run r
    join reconciliation.bill b on b.bill_id = r.bill_id
    join bill on bill.channel = b.channel and bill.provider_no = b.provider_no and bill.merchant_no = b.merchant_no
             and bill.bill_on = b.bill_on
    where r.lane = :lane
    order by b.version desc, r.tree_size desc limit 1
), run as (
    insert into reconciliation.match_run (run_id, bill_id, lane, tree_size, matched, matched_fen, differences, run_at)
    select :run, :bill, :lane, :size, (select count(*) from pairs) + (select count(*) from refund_pairs),
           (select coalesce(sum(amount_fen), 0) from pairs), (select count(*) from found), :at
), kept_refunds as (
    insert into reconciliation.match_refund (run_id, line, refund_id) select :run, line, refund_id from refund_pairs
), kept_pairs as (
    insert into reconciliation.match_pair (run_id, line, payment_id, trade_no, merchant_no)
    select :run, line, payment_id, trade_no, merchant_no from pairs
)
insert into reconciliation.break_case (run_id, number, code, line, merchant_no, trade_no, order_no, payment_id, operator_id,
    book_fen, bill_fen, is_new)
select :run, row_number() over (order by code, merchant_no, trade_no, line), code, line, merchant_no, trade_no, order_no,
       payment_id, operator_id, book_fen, bill_fen,
       not exists (
           select from reconciliation.break_case before join previous on previous.run_id = before.run_id
           where before.code = found.code and before.merchant_no = found.merchant_no and before.trade_no = found.trade_no
             and before.book_fen is not distinct from found.book_fen and before.bill_fen is not distinct from found.bill_fen)
from found
""")
