-- Codes that operators had before, where the one code counts from when on, and codes that look wrong.

create table payments.legacy_payload ( -- Whose a code is that hung before the city's: the same code is never two operators'
    payload_digest  bytea primary key check (length(payload_digest) = 32), -- SHA-256 of the payload
    operator_id     integer not null references payments.operator, -- Operator whose code it is
    payload         text not null check (octet_length(payload) between 1 and 2000), -- What a scanner reads: trimmed, in Unicode NFC, otherwise as it is
    entered_at      timestamptz not null, -- When it was registered first
    unique (payload_digest, operator_id)
);

create table payments.legacy_code ( -- An old code 原支付码 that hangs at a lot beside the city's, and how long
    legacy_id       uuid primary key, -- Time-ordered id
    operator_id     integer not null, -- Operator whose code it is
    lot_id          integer not null references payments.lot, -- Lot where it hangs
    lot_serial      text not null, -- The lot's own serial of the code: the idempotency key
    payload_digest  bytea not null, -- The code
    kind            text not null check (kind in ('wechat', 'alipay', 'unionpay', 'bank', 'other')), -- Whose wallet or bank it leads to
    first_day       date not null, -- First day on which it hangs there (China)
    last_day        date, -- Last day; null: no end is known
    document        text not null check (document <> ''), -- Document: the agreement, or the notice that ends it
    evidence_id     uuid not null, -- The call that registered it, verbatim
    created_at      timestamptz not null, -- When it was registered
    ended_at        timestamptz, -- When its last day was posted, if that was later
    ended_evidence_id uuid, -- The call that brought it
    unique (lot_id, lot_serial),
    foreign key (payload_digest, operator_id) references payments.legacy_payload (payload_digest, operator_id),
    check (last_day >= first_day),
    constraint one_time_at_a_lot exclude using gist (lot_id with =, payload_digest with =, daterange(first_day, last_day, '[]') with &&)
);
create index legacy_code_payload on payments.legacy_code (payload_digest);

create table payments.rollout_rule ( -- What is required of lots from when on: dated, for a lot, a district, a kind of operator, or the city
    rule_id         integer generated always as identity primary key, -- Number
    lot_id          integer references payments.lot, -- Lot; null: see district and kind
    district        text, -- District; null: every one
    regime          text check (regime in ('government', 'soe', 'institution', 'social')), -- Kind of the lot's operator; null: every kind
    valid_from      date not null, -- First day (China)
    requires        text not null check (requires in ('invited', 'parallel', 'city_code_required', 'city_code_only')), -- invited; parallel: both codes hang; city_code_required: old codes may stay beside it; city_code_only: no old code any more
    document        text not null check (document <> ''), -- Document that says so
    entered_at      timestamptz not null, -- When it was entered
    check (lot_id is null or (district is null and regime is null)),
    unique nulls not distinct (lot_id, district, regime, valid_from)
);

create table payments.code_report ( -- Somebody says that a code looks wrong: a case for a person
    report_id       uuid primary key, -- Time-ordered id
    number          text not null unique, -- Case number as the page shows it
    lot_id          integer references payments.lot, -- Lot whose code was scanned; null: none, or no code of ours
    kind            text not null check (kind in ('other_lot', 'sticker', 'other_site', 'password', 'other')), -- other_lot: another lot's name is shown; sticker: one over another; other_site: it led elsewhere; password: one was asked for
    words           text check (char_length(words) <= 300), -- In the driver's words
    evidence_id     uuid not null, -- What was sent, verbatim
    reported_at     timestamptz not null, -- When
    closed_at       timestamptz, -- When a person closed it
    closed_by       text, -- Code of the person
    closing         text check (closing <> ''), -- What was found and done, in the person's words
    check ((closed_at is null) = (closed_by is null) and (closed_at is null) = (closing is null))
);
create index code_report_open on payments.code_report (lot_id, report_id) where closed_at is null;

create table payments.lot_visit_day ( -- How often a lot's code was scanned and paid on a day (China): what alarms of drops read
    day             date not null, -- Day in China
    lot_id          integer not null, -- Lot
    scans           integer not null default 0 check (scans >= 0), -- Scan pages shown
    payments        integer not null default 0 check (payments >= 0), -- Payments over the city's channels
    primary key (day, lot_id)
) with (fillfactor = 50);

create table payments.visit_day ( -- Days whose payments were counted: a lot without a row on such a day had none
    day             date primary key, -- Day in China
    counted_at      timestamptz not null -- When
);

alter table payments.alarm_rule add column weeks smallint check (weeks between 2 and 12); -- drop: so many earlier weeks it is compared with
alter table payments.alarm_rule add column least integer check (least > 0); -- drop: a median below it says nothing
comment on column payments.alarm_rule.weeks is 'drop: with so many earlier weeks the day is compared';
comment on column payments.alarm_rule.least is 'drop: a lot with a smaller median is too quiet to ring';
alter table payments.alarm_rule drop constraint alarm_rule_kind_check;
alter table payments.alarm_rule add constraint alarm_rule_kind_check check (kind in ('silent', 'leak', 'unreturned', 'drop'));
alter table payments.alarm_rule add constraint alarm_rule_drop check (case kind when 'drop' then most <= 100 and weeks is not null and least is not null else weeks is null and least is null end);
comment on column payments.alarm_rule.kind is 'silent: heard at least every so many minutes; leak: openings per 100 exits; unreturned: hand-backs are reported within so many days; drop: scans or payments so many percent below the median of their weekday';
comment on column payments.alarm_rule.most is 'Minutes, openings per 100 exits, days, or percent';
alter table payments.lot_alarm drop constraint lot_alarm_kind_check;
alter table payments.lot_alarm add constraint lot_alarm_kind_check check (kind in ('silent', 'gap', 'offline_lane', 'leak', 'unreturned', 'drop', 'reported'));
comment on column payments.lot_alarm.kind is 'silent: not heard; gap: numbers are missing; offline_lane; leak: too many openings; unreturned: hand-backs promised and not reported; drop: scans or payments fell; reported: its code was reported as wrong';

create view payments.v_legacy_code as
select c.legacy_id, c.operator_id, c.lot_id, c.lot_serial, c.payload_digest, c.kind, c.first_day, c.last_day, c.document, c.evidence_id, c.created_at
from payments.legacy_code c;
comment on view payments.v_legacy_code is 'Old codes of lots and how long they hang there';

create view payments.v_rollout_rule as
select rule_id, lot_id, district, regime, valid_from, requires, document from payments.rollout_rule;
comment on view payments.v_rollout_rule is 'What is required of lots from when on';

create view payments.v_code_report as
select report_id, number, lot_id, kind, reported_at, closed_at from payments.code_report;
comment on view payments.v_code_report is 'Codes that were reported as wrong, without words';

-- What an operator took, by the business month in which it was booked: entries of payments (1), refunds promised (3), payments taken
-- back (6) and takings without a charge (10), and their reversals (+128), as far as they are not in suspense.
create view payments.v_takings_base as
with moved as (
    select e.lane, get_byte(uuid_send(e.entry_id), 15) & 127 as kind, cast(left(e.entry_id::text, 34) || '00' as uuid) as source_id,
           date_trunc('month', e.booked_on)::date as month,
           case when e.credit_account in (600101, 600103, 112201) then e.amount_fen else -e.amount_fen end as fen
    from ledger.v_posting e
    where (e.kind in (1, 6, 10, 129, 134, 138) and (e.debit_account in (600101, 112201) or e.credit_account in (600101, 112201)))
       or (e.kind in (3, 131) and 600103 in (e.debit_account, e.credit_account))
), placed as (
    select m.lane, p.operator_id, p.book_id, p.lot_id, m.month, p.channel, m.kind <> 1 as is_return, m.fen
    from moved m join payments.v_payment p on p.lane = m.lane and p.payment_id = m.source_id
    where m.kind in (1, 6)
    union all
    select m.lane, p.operator_id, p.book_id, p.lot_id, m.month, p.channel, true, m.fen
    from moved m
    join payments.v_refund r on r.lane = m.lane and r.refund_id = m.source_id
    join payments.v_payment p on p.lane = r.lane and p.payment_id = r.payment_id
    where m.kind = 3
    union all
    select m.lane, t.operator_id, t.book_id, t.lot_id, m.month, t.channel, false, m.fen
    from moved m join payments.v_taking t on t.lane = m.lane and t.taking_id = m.source_id
    where m.kind = 10
)
select lane, operator_id, book_id, lot_id, month,
       coalesce(sum(fen) filter (where channel not in ('cash', 'legacy') and not is_return), 0)::bigint as city_fen,
       coalesce(-sum(fen) filter (where channel not in ('cash', 'legacy') and is_return), 0)::bigint as city_returned_fen,
       coalesce(sum(fen) filter (where channel = 'cash' and not is_return), 0)::bigint as cash_fen,
       coalesce(-sum(fen) filter (where channel = 'cash' and is_return), 0)::bigint as cash_returned_fen,
       coalesce(sum(fen) filter (where channel = 'legacy' and not is_return), 0)::bigint as legacy_fen,
       coalesce(-sum(fen) filter (where channel = 'legacy' and is_return), 0)::bigint as legacy_returned_fen,
       sum(fen)::bigint as base_fen
from placed
group by lane, operator_id, book_id, lot_id, month;
comment on view payments.v_takings_base is 'What an operator took at a lot in a business month, in fen: over the city''s channels, in cash and over old codes, what went back of each, and the net that fees are reckoned from';

grant select, insert on payments.legacy_payload, payments.legacy_code, payments.rollout_rule, payments.code_report, payments.lot_visit_day,
    payments.visit_day to tongting_app;
grant update (last_day, ended_at, ended_evidence_id) on payments.legacy_code to tongting_app;
grant update (closed_at, closed_by, closing) on payments.code_report to tongting_app;
grant update on payments.lot_visit_day, payments.visit_day to tongting_app;
grant select on payments.v_legacy_code, payments.v_rollout_rule, payments.v_code_report, payments.v_takings_base to tongting_app;
