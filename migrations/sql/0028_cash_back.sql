-- Cash handed back: what was taken by hand goes back by hand, and the lot reports it.

create table payments.taking_return ( -- Money taken by hand that a lot handed back: what it owed a driver is done by it
    return_id       uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Operator, whose money it was
    lot_id          integer not null, -- Lot
    lot_serial      text not null, -- The lot's own serial of the hand-back: the idempotency key
    refund_id       uuid not null, -- Refund that was promised; it goes back whole, once
    channel         text not null check (channel in ('cash', 'legacy')), -- cash: out of the till; legacy: in the lot's own console of the old code
    amount_fen      bigint not null check (amount_fen > 0), -- What was handed back, in fen
    returned_at     timestamptz not null, -- When
    person_digest   bytea not null check (length(person_digest) = 32), -- SHA-256 of who handed it out, as the operator knows the person
    receipt_no      text not null check (length(receipt_no) between 1 and 64), -- Number of the receipt that the driver signed, or of the console's record
    evidence_id     uuid not null, -- The lot's call, verbatim
    created_at      timestamptz not null, -- When it was posted to us
    primary key (return_id, lane),
    unique (lot_id, lot_serial, lane),
    unique (refund_id, lane)
);
create index taking_return_day on payments.taking_return (lot_id, returned_at);
create trigger append_only_rows before update or delete on payments.taking_return for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.taking_return for each statement execute function ledger.refuse_change_v1();

-- What lots owe drivers and have not reported: few at any time, whatever the number of refunds.
create index refund_by_hand on payments.refund (operator_id, created_at) where channel in ('cash', 'legacy') and state = 'promised';

alter table payments.lot_till add column returned_fen bigint not null default 0; -- Cash handed back to drivers so far, in fen
comment on column payments.lot_till.returned_fen is 'Cash handed back to drivers so far, in fen';
comment on table payments.lot_till is 'Cash in the till of a lot: what was taken less what was brought to the bank or handed back';
alter table payments.lot_till drop constraint lot_till_check;
alter table payments.lot_till add constraint lot_till_check check (banked_fen >= 0 and returned_fen >= 0 and banked_fen + returned_fen <= taken_fen);

alter table payments.lot_record_number drop constraint lot_record_number_series_check;
alter table payments.lot_record_number add constraint lot_record_number_series_check check (series in ('stay', 'charge', 'taking', 'opening', 'return'));

-- What was promised and is not reported within so many days is an alarm.
alter table payments.alarm_rule drop constraint alarm_rule_kind_check;
alter table payments.alarm_rule add constraint alarm_rule_kind_check check (kind in ('silent', 'leak', 'unreturned'));
comment on column payments.alarm_rule.kind is 'silent: heard at least every so many minutes; leak: openings per 100 exits; unreturned: hand-backs are reported within so many days';
comment on column payments.alarm_rule.most is 'Minutes, openings per 100 exits, or days';
alter table payments.lot_alarm drop constraint lot_alarm_kind_check;
alter table payments.lot_alarm add constraint lot_alarm_kind_check check (kind in ('silent', 'gap', 'offline_lane', 'leak', 'unreturned'));
comment on column payments.lot_alarm.kind is 'silent: not heard; gap: numbers are missing; offline_lane; leak: too many openings; unreturned: hand-backs promised and not reported';
comment on view payments.v_lot_alarm is 'Alarms of lots: silence, missing numbers, lanes offline, too many openings, hand-backs not reported';

create view payments.v_taking_return as
select t.lane, t.return_id, t.operator_id, o.book_id, t.lot_id, t.lot_serial, t.refund_id, t.channel, t.amount_fen, t.returned_at,
       t.receipt_no, t.evidence_id, t.created_at
from payments.taking_return t join payments.operator o on o.operator_id = t.operator_id;
comment on view payments.v_taking_return is 'What lots handed back of what they took by hand; each is booked as the refund that it carries out';

grant select, insert on payments.taking_return to tongting_app;
grant select on payments.v_taking_return to tongting_app;
