-- Refunds: money that goes back to the payer, out of the operator's own merchant account.

create table payments.refund ( -- One refund of one payment; its id is the channel's refund number
    refund_id       uuid not null, -- Time-ordered id; written as 28 characters it is out_refund_no
    lane            smallint not null, -- Lane of the operator's book
    payment_id      uuid not null, -- Payment that is refunded, in full or in part
    operator_id     integer not null, -- Operator whose money it is
    book_id         integer not null, -- The operator's book
    channel         text not null, -- Channel of the payment: money goes back the way it came
    provider_no     text not null, -- Service provider's number at the channel
    merchant_no     text not null, -- Merchant number that pays it back
    trade_no        text not null, -- Channel's trade number of the payment
    amount_fen      bigint not null check (amount_fen > 0), -- Amount of this refund in fen
    total_fen       bigint not null check (total_fen >= amount_fen), -- Amount the payment took in fen
    from_suspense   boolean not null, -- The payment lies in suspense: nothing was owed for it
    source          text not null check (source in ('case', 'operator', 'console')), -- Who asked for it; console: made at the channel by the operator itself
    source_ref      text not null, -- What asked for it: the case, the operator's own number, the number in the console. The idempotency key
    reason          text not null, -- Reason as the payer sees it
    state           text not null check (state in ('promised', 'pending', 'stuck', 'done', 'closed')), -- See docs; only closed frees the amount again
    channel_refund_no text, -- Channel's own number of the refund
    done_at         timestamptz, -- When the money went back
    created_at      timestamptz not null, -- When it was promised
    asked           smallint not null default 0, -- Calls made to the channel so far
    claimed_until   timestamptz, -- A worker holds the refund until then
    primary key (refund_id, lane),
    unique (payment_id, source, source_ref, lane),
    check (state <> 'done' or done_at is not null)
) with (fillfactor = 50);

create table payments.next_refund ( -- When the channel is called next about a refund; no row when nothing is open
    refund_id       uuid not null, -- Refund; its row's lock is also the lock of this row
    lane            smallint not null, -- Lane of the refund
    due_at          timestamptz not null, -- When the channel is called next
    primary key (refund_id, lane)
);
create index next_refund_due on payments.next_refund (due_at);

alter table payments.payment_case drop constraint payment_case_kind_check;
alter table payments.payment_case add constraint payment_case_kind_check check (kind in (
    'refund_second_payment', 'amount_differs', 'notice_amount_differs', 'merchant_differs', 'currency_differs', 'trade_differs',
    'order_unknown', 'refund_unknown', 'refund_differs', 'refund_stuck', 'refund_reopened', 'refund_late'));

create view payments.v_refund as
select lane, refund_id, payment_id, operator_id, book_id, channel, provider_no, merchant_no, trade_no, amount_fen, from_suspense,
       source, source_ref, state, channel_refund_no, done_at, created_at
from payments.refund;
comment on view payments.v_refund is 'Refunds with what they belong to';

grant select, insert, update on payments.refund to tongting_app;
grant select, insert, update, delete on payments.next_refund to tongting_app;
grant select on payments.v_refund to tongting_app;

-- Refunds in bills and comparisons.
alter table reconciliation.bill_line
    add column refund_id uuid, -- Refund read from the refund number; null when the number is not one of ours
    add column refund_state text; -- State of the refund as the bill has it: a snapshot, never updated
comment on column reconciliation.bill_line.refund_id is 'Refund read from the refund number; null when the number is not one of ours';
comment on column reconciliation.bill_line.refund_state is 'State of the refund as the bill has it: a snapshot, never updated';
create table reconciliation.match_refund ( -- A bill line and the refund that it agrees with: each is used up once
    run_id          uuid not null, -- Comparison, written in the same statement
    line            integer not null, -- Line of the bill
    refund_id       uuid not null, -- Refund
    primary key (run_id, line),
    unique (run_id, refund_id)
);
create index match_refund_refund on reconciliation.match_refund (refund_id);
grant select, insert on reconciliation.match_refund to tongting_app;
