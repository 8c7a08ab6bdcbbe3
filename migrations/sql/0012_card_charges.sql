-- Charges by card: lanes' records, packages to the clearing party, what issuers booked and disputed, what was cleared. And money
-- that a channel takes back after it was booked.

create table payments.card_package ( -- Original transactions of one issuer, sent to the clearing party under one number
    package_id      uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    channel         text not null, -- Channel
    number          text not null, -- Number of the package, 20 digits: what booking results and clearing statistics name
    service_no      text not null, -- Clearing party that the records are for
    issuer_no       text not null, -- Issuer of all its cards
    clear_on        date not null, -- Clearing date aimed at; once acknowledged, the one that the clearing party stated
    count           integer not null check (count > 0), -- Number of records
    amount_fen      bigint not null check (amount_fen >= 0), -- Sum of their fees in fen
    state           text not null check (state in ('packed', 'sent', 'acked', 'booked', 'rejected')), -- See docs/ETC.md, section 9
    reason          text, -- Why it was rejected or waits for a person
    created_at      timestamptz not null, -- When it was packed
    sent_at         timestamptz, -- When it was sent first
    acked_at        timestamptz, -- When the clearing party acknowledged it
    tries           smallint not null default 0, -- Calls made so far
    due_at          timestamptz, -- When it is sent next; null: nothing is sent by itself any more
    claimed_until   timestamptz, -- A worker holds it until then
    booked_count    integer check (booked_count >= 0), -- Records that the issuer pays, by its booking result
    booked_fen      bigint check (booked_fen >= 0), -- Their sum in fen
    booked_evidence_id uuid, -- The booking result
    cleared_on      date, -- Clearing date whose statistics list it
    primary key (package_id, lane),
    unique (number, channel, lane)
);
create index card_package_due on payments.card_package (due_at) where due_at is not null;
create index card_package_unbooked on payments.card_package (created_at) where state in ('packed', 'sent', 'acked');

create table payments.card_record ( -- One charge by card as the lane made it: proof of what the card owes
    record_id       uuid not null, -- Time-ordered id; that of its payment
    lane            smallint not null, -- Lane of the operator's book
    channel         text not null, -- Channel
    number          text not null, -- 26 digits: car park, time, lane serial; the channel's trade number of the payment
    operator_id     integer not null, -- Operator
    lot_id          integer not null, -- Lot
    charge_id       uuid, -- Charge that it pays; null: a stay that cost nothing, told so that the driver's list is complete
    provider_no     text not null, -- Our own number at the channel
    merchant_no     text not null, -- Operator's merchant number at the channel
    service_no      text not null, -- Clearing party that the record is for
    issuer_no       text not null, -- Issuer of the card
    fee_fen         bigint not null check (fee_fen >= 0), -- Fee in fen
    happened_at     timestamptz not null, -- When the card paid
    body            bytea not null, -- The record as JSON, fields as in docs/ETC.md, section 4
    evidence_id     uuid not null, -- The lot's message that brought it
    state           text not null check (state in ('new', 'packed', 'booked', 'disputed', 'released', 'bad', 'rejected')), -- See docs/ETC.md, section 9
    package_id      uuid, -- Package that it goes in
    place           integer check (place > 0), -- Its place there, from 1
    reason          smallint, -- Why the issuer disputes it
    file_no         text, -- Dispute file that settled it
    created_at      timestamptz not null, -- When it was taken
    primary key (record_id, lane),
    unique (number, channel, lane),
    check ((package_id is null) = (place is null)),
    check ((charge_id is null) = (fee_fen = 0))
) with (fillfactor = 80);
create index card_record_new on payments.card_record (created_at) where state = 'new';
create index card_record_package on payments.card_record (package_id, place);
create index card_record_file on payments.card_record (file_no) where file_no is not null;

create table payments.card_dispute_file ( -- One dispute result: what issuers decided about disputed records
    file_no         text not null, -- Number of the file: clearing date, and a digit more when there are several a day
    lane            smallint not null, -- Lane
    channel         text not null, -- Channel
    digest          bytea not null, -- SHA-256 of what it says, to tell a repeat from a change
    released_count  integer not null check (released_count >= 0), -- Records that are paid after all
    released_fen    bigint not null check (released_fen >= 0), -- Their sum in fen
    bad_count       integer not null check (bad_count >= 0), -- Records that are never paid
    bad_fen         bigint not null check (bad_fen >= 0), -- Their sum in fen
    evidence_id     uuid not null, -- The message
    told_at         timestamptz not null, -- When it came
    cleared_on      date, -- Clearing date whose statistics list it
    primary key (file_no, channel, lane)
);
create table payments.card_clearing ( -- Clearing statistics of one date that agree with what was booked and released: final
    clear_on        date not null, -- Clearing date
    lane            smallint not null, -- Lane
    channel         text not null, -- Channel
    digest          bytea not null, -- SHA-256 of what they say, to tell a repeat from a change
    count           integer not null check (count >= 0), -- Number of records
    amount_fen      bigint not null check (amount_fen >= 0), -- Their sum in fen
    fee_fen         bigint, -- Channel fee in fen; null where the dialect does not tell it
    evidence_id     uuid not null, -- The message
    told_at         timestamptz not null, -- When they came
    primary key (clear_on, channel, lane)
);
create table payments.card_clearing_share ( -- What one operator is paid for a clearing date, on its own account
    clear_on        date not null, -- Clearing date
    lane            smallint not null, -- Lane
    channel         text not null, -- Channel
    merchant_no     text not null, -- Operator's merchant number
    count           integer not null check (count >= 0), -- Number of records
    amount_fen      bigint not null, -- Their sum in fen
    fee_fen         bigint not null, -- Channel fee in fen
    net_fen         bigint not null, -- What is paid, in fen
    pay_on          date not null, -- When it is paid
    bank_ref        text not null, -- The bank's reference of it
    primary key (clear_on, merchant_no, channel, lane)
);

alter table payments.charge add column is_receivable boolean not null default false; -- The book carries it as a receivable (1122): paid, it is a debt paid
comment on column payments.charge.is_receivable is 'The book carries it as a receivable (1122): paid, it is a debt paid';
alter table payments.payment add column taken_back_at timestamptz; -- When the channel took back what it had paid: the charge is due again
comment on column payments.payment.taken_back_at is 'When the channel took back what it had paid: the charge is due again';
comment on column payments.payment.way is 'How payer and order come together: in_wallet, browser, code, scanned, deduction, card';

alter table payments.payment_case drop constraint payment_case_kind_check;
alter table payments.payment_case add constraint payment_case_kind_check check (kind in (
    'refund_second_payment', 'amount_differs', 'notice_amount_differs', 'merchant_differs', 'currency_differs', 'trade_differs',
    'order_unknown', 'refund_unknown', 'refund_differs', 'refund_stuck', 'refund_reopened', 'refund_late',
    'taken_back_after_refund', 'package_refused', 'package_waits', 'booking_refused', 'dispute_refused', 'clearing_disagrees'));

alter table reconciliation.bill_line drop constraint bill_line_kind_check;
alter table reconciliation.bill_line add constraint bill_line_kind_check check (kind in ('payment', 'refund', 'revoked', 'bad_debt'));
comment on column reconciliation.bill_line.kind is 'What the line tells of: payment, refund, revoked, bad_debt (the issuer will not pay)';

create or replace view payments.v_payment_fact as
select f.lane, f.channel, f.merchant_no, f.trade_no, f.payment_id, f.amount_fen, f.happened_at, f.treatment, f.evidence_id,
       p.operator_id, p.book_id, p.charge_id, p.provider_no, p.way = 'card' as is_card, p.taken_back_at,
       (select case when r.file_no is null then k.cleared_on else d.cleared_on end
        from payments.card_record r
        join payments.card_package k on k.lane = r.lane and k.package_id = r.package_id
        left join payments.card_dispute_file d on d.lane = r.lane and d.channel = r.channel and d.file_no = r.file_no
        where p.way = 'card' and r.lane = f.lane and r.record_id = f.payment_id) as cleared_on
from payments.payment_fact f
join payments.payment p on p.lane = f.lane and p.payment_id = f.payment_id;
comment on view payments.v_payment_fact is 'Money facts with their operator and book; those by card with the date on which they were cleared, if they were';
create view payments.v_card_record as
select r.lane, r.channel, r.number, r.record_id, r.operator_id, r.lot_id, r.charge_id, r.merchant_no, r.issuer_no, r.fee_fen,
       r.happened_at, r.state, r.reason, r.place, r.file_no, k.number as package_no, k.state as package_state,
       case when r.file_no is null then k.cleared_on else d.cleared_on end as cleared_on
from payments.card_record r
left join payments.card_package k on k.lane = r.lane and k.package_id = r.package_id
left join payments.card_dispute_file d on d.lane = r.lane and d.channel = r.channel and d.file_no = r.file_no;
comment on view payments.v_card_record is 'Charges by card without plates and cards: where each stands';
create view payments.v_card_cleared as
select k.lane, k.channel, k.cleared_on, r.record_id, r.number, r.merchant_no
from payments.card_package k join payments.card_record r on r.lane = k.lane and r.package_id = k.package_id
where k.cleared_on is not null and r.file_no is null and r.state = 'booked'
union all
select d.lane, d.channel, d.cleared_on, r.record_id, r.number, r.merchant_no
from payments.card_dispute_file d join payments.card_record r on r.lane = d.lane and r.channel = d.channel and r.file_no = d.file_no
where d.cleared_on is not null and r.state = 'released';
comment on view payments.v_card_cleared is 'Charges by card by the clearing date that lists them: ask for a date, and only its packages and files are read';
create view payments.v_card_share as
select lane, channel, clear_on, merchant_no, count, amount_fen, fee_fen, net_fen, pay_on, bank_ref from payments.card_clearing_share;
comment on view payments.v_card_share is 'What operators are paid for a clearing date';

grant select, insert on payments.card_package, payments.card_record, payments.card_dispute_file, payments.card_clearing,
    payments.card_clearing_share to tongting_app;
grant update (clear_on, state, reason, sent_at, acked_at, tries, due_at, claimed_until, booked_count, booked_fen, booked_evidence_id,
    cleared_on) on payments.card_package to tongting_app;
grant update (state, package_id, place, reason, file_no) on payments.card_record to tongting_app;
grant update (cleared_on) on payments.card_dispute_file to tongting_app;
grant select on payments.v_card_record, payments.v_card_cleared, payments.v_card_share to tongting_app;
create trigger append_only_rows before update or delete on payments.card_clearing for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.card_clearing for each statement execute function ledger.refuse_change_v1();
create trigger append_only_rows before update or delete on payments.card_clearing_share for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.card_clearing_share for each statement execute function ledger.refuse_change_v1();
