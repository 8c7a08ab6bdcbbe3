-- Fewer index inserts per callback. An update that changes no indexed column and finds room on its page leaves every index alone
-- (a "heap-only tuple"); so nothing that a callback changes in a charge or a payment may be a column, or a predicate, of an index.

create table payments.next_query ( -- When the channel is asked next about a payment; no row when nothing is open
    payment_id      uuid not null, -- Payment; its row's lock is also the lock of this row
    lane            smallint not null, -- Lane of the payment
    due_at          timestamptz not null, -- When the channel is asked next
    primary key (payment_id, lane)
);
create index next_query_due on payments.next_query (due_at);
insert into payments.next_query (payment_id, lane, due_at)
select payment_id, lane, next_query_at from payments.payment where next_query_at is not null;
alter table payments.payment drop column next_query_at; -- and with it the index payment_due
grant select, insert, update, delete on payments.next_query to tongting_app;

-- What is written once and read by the payer's page alone would be copied by every update of its payment.
create table payments.hand_off ( -- What the payer's page needs to call up the wallet
    payment_id      uuid not null, -- Payment
    lane            smallint not null, -- Lane of the payment
    body            bytea not null, -- The hand-off as JSON
    primary key (payment_id, lane)
);
insert into payments.hand_off (payment_id, lane, body)
select payment_id, lane, hand_off from payments.payment where hand_off is not null;
alter table payments.payment drop column hand_off;
grant select, insert on payments.hand_off to tongting_app;

-- Room for the next version of every row on its own page, for they are all updated. At 50 it was too little when one commit settles
-- a whole page: a settled row is longer by its settlement, and the old versions stay until the commit.
alter table payments.charge set (fillfactor = 45);
alter table payments.payment set (fillfactor = 45);

-- The open charges of a plate are found among all its charges at the lot, which are few.
drop index payments.charge_open;
create index charge_plate on payments.charge (plate_id, lot_id);

-- Ids are time-ordered, so neighbours in these tables have neighbouring payments: a summary of each stretch of pages finds a day's
-- payments, or one payment, and costs an insert next to nothing. One fact is found by its trade number, the primary key.
drop index payments.payment_fact_payment;
create index payment_fact_payment on payments.payment_fact using brin (payment_id uuid_minmax_multi_ops)
    with (pages_per_range = 32, autosummarize = on);
drop index gateways.raw_message_subject;
create index raw_message_subject on gateways.raw_message using brin (subject uuid_minmax_multi_ops)
    with (pages_per_range = 32, autosummarize = on);

-- One key of the outbox in place of two: the one in which a lot reads its events.
drop index payments.outbox_lot;
alter table payments.outbox drop constraint outbox_pkey;
alter table payments.outbox add primary key (lot_id, transaction_id, event_id, lane);

-- Lets a statement that writes entries fail by itself, so that it can travel together with the commit behind it.
create function ledger.refuse_unknown_books_v1(lane smallint, books integer[]) returns void language plpgsql as $$
begin
    raise exception 'lane % has no book %; open the book first', lane, books[1:10] using errcode = 'TB001';
end $$;
comment on function ledger.refuse_unknown_books_v1(smallint, integer[]) is 'Fail with SQLSTATE TB001: these books do not lie in the lane';
