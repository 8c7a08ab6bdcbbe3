-- Reports of wrong codes are events, and codes are watched by the hour.

-- A case names its code, and a person decides it with a document.
alter table payments.code_report add column code_no integer references payments.pay_code;
alter table payments.code_report add column outcome text check (outcome in ('confirmed', 'mended', 'dismissed'));
alter table payments.code_report add column document text check (document <> '');
alter table payments.code_report add column words_salt uuid;
alter table payments.code_report add column words_erased_at timestamptz;
comment on column payments.code_report.code_no is 'Code of the registry that was scanned; null: the lot''s own code, one on a screen, or none of ours';
comment on column payments.code_report.outcome is 'confirmed: the code is refused from then on; mended: something was wrong and is put right; dismissed: nothing was wrong; null: open, or closed before outcomes were kept';
comment on column payments.code_report.document is 'Document of the decision: the report of whoever looked at the place';
comment on column payments.code_report.words is 'In the driver''s words; null: there were none, or they are erased';
comment on column payments.code_report.words_salt is 'With it the digest in the evidence is one of these words; erased with them';
comment on column payments.code_report.words_erased_at is 'When the words were erased, so many days after the case was closed';
comment on column payments.code_report.evidence_id is 'What was sent, without the words: their salted digest stands in their place';
alter table payments.code_report add constraint code_report_outcome check ((outcome is null) = (document is null) and (outcome is null or closed_at is not null));
alter table payments.code_report add constraint code_report_words check (words_erased_at is null or (words is null and words_salt is null and closed_at is not null));
create index code_report_code on payments.code_report (code_no) where closed_at is null;
create index code_report_words on payments.code_report (closed_at) where words is not null and closed_at is not null;

create or replace view payments.v_code_report as
select report_id, number, lot_id, kind, reported_at, closed_at, code_no, outcome from payments.code_report;

-- How long a driver's words are kept.
create table payments.report_keeping_rule ( -- So many days after its case was closed a driver's words are kept: dated, the latest that has begun counts
    rule_id         integer generated always as identity primary key, -- Number
    days            integer not null check (days between 1 and 3650), -- So many days after the case was closed the words are erased
    valid_from      timestamptz not null unique, -- From when on it counts
    document        text not null check (document <> ''), -- Document that says so
    entered_at      timestamptz not null, -- When it was entered
    unique (rule_id, days)
);
insert into payments.report_keeping_rule (days, valid_from, document, entered_at)
values (180, '2026-01-01 00:00+08', 'As installed, until the city enters its own rule', '2026-01-01 00:00+08');

create table payments.report_keeping ( -- A run that erases drivers' words of closed cases: from when on they are kept, and by which rule
    keeping_id      integer generated always as identity primary key, -- Number
    rule_id         integer not null, -- Rule
    days            integer not null, -- Its days
    kept_from       timestamptz not null, -- Words of cases closed before are erased
    started_at      timestamptz not null, -- When the run began
    erased          integer not null default 0, -- Words erased so far
    ended_at        timestamptz, -- When it was done; null: it is under way, or was broken off
    foreign key (rule_id, days) references payments.report_keeping_rule (rule_id, days),
    check (kept_from <= started_at - days * interval '24 hours')
);
create unique index report_keeping_one on payments.report_keeping ((true)) where ended_at is null;

-- The application may not change what a driver wrote: only this, which erases words of cases closed before the moment on record.
create function payments.erase_report_words_v1(batch integer, at timestamptz) returns integer
    language plpgsql security definer set search_path = pg_catalog, payments as $$
declare
    run payments.report_keeping;
    gone integer;
begin
    select * into run from payments.report_keeping k where k.ended_at is null for update skip locked;
    if not found then
        return null; -- done, or somebody else is at it
    end if;
    with doomed as materialized (
        select r.report_id from payments.code_report r
        where r.words is not null and r.closed_at < run.kept_from order by r.closed_at limit batch for update
    )
    update payments.code_report r set words = null, words_salt = null, words_erased_at = erase_report_words_v1.at
    from doomed d where r.report_id = d.report_id;
    get diagnostics gone = row_count;
    update payments.report_keeping k
    set erased = k.erased + gone, ended_at = case when gone < batch then erase_report_words_v1.at end
    where k.keeping_id = run.keeping_id;
    return gone;
end $$;
comment on function payments.erase_report_words_v1(integer, timestamptz) is
    'Erase the next drivers'' words of the run under way, so many at most; returns how many, null: no run is under way, or another one is at it';
revoke execute on function payments.erase_report_words_v1(integer, timestamptz) from public;

-- Scans and payments by the hour.
alter table payments.lot_visit_day add column scans_by_hour integer[] check (array_length(scans_by_hour, 1) = 24);
alter table payments.lot_visit_day add column payments_by_hour integer[] check (array_length(payments_by_hour, 1) = 24);
comment on column payments.lot_visit_day.scans_by_hour is 'The same for each hour from 0 to 23 (China); null: none was counted by the hour';
comment on column payments.lot_visit_day.payments_by_hour is 'The same for each hour from 0 to 23 (China); null: none was counted by the hour';
alter table payments.visit_day add column by_hour boolean not null default false;
comment on column payments.visit_day.by_hour is 'Its hours were counted, too; false: counted before that was done';

create table payments.visit_hour ( -- Hours whose payments were counted: a lot without a number in such an hour had none
    starts_at       timestamptz primary key, -- Beginning of the hour
    counted_at      timestamptz not null -- When
);

create table payments.lot_drop ( -- Lots whose scans or payments have dropped against their own past, as they were judged last; alarms read it
    lot_id          integer not null, -- Lot
    span            text not null check (span in ('day', 'hours')), -- day: the last ordinary day that is over; hours: the last hours that are over
    what            text not null check (what in ('scans', 'payments')), -- What dropped
    judged_until    timestamptz not null, -- End of what was judged last and was low
    detail          text not null, -- In words
    primary key (lot_id, span, what)
);
create view payments.v_lot_drop as
select lot_id, span, case span when 'day' then 'drop' else 'sudden' end as kind, max(judged_until) as judged_until,
       string_agg(detail, '; ' order by what desc) as detail
from payments.lot_drop group by lot_id, span;
comment on view payments.v_lot_drop is 'Lots whose scans or payments have dropped against their own past, with the kind of their alarm';

alter table payments.alarm_rule add column odds integer check (odds between 1000 and 1000000000);
comment on column payments.alarm_rule.odds is 'sudden: rings when chance alone brings so few less than once in so many looks';
comment on column payments.alarm_rule.weeks is 'drop, sudden: with so many earlier weeks it is compared';
alter table payments.alarm_rule drop constraint alarm_rule_kind_check;
alter table payments.alarm_rule add constraint alarm_rule_kind_check check (kind in ('silent', 'leak', 'unreturned', 'drop', 'sudden'));
alter table payments.alarm_rule drop constraint alarm_rule_drop;
alter table payments.alarm_rule add constraint alarm_rule_drop check (case kind
    when 'drop' then most <= 100 and weeks is not null and least is not null and odds is null
    when 'sudden' then most <= 100 and weeks is not null and least is null and odds is not null
    else weeks is null and least is null and odds is null end);
comment on column payments.alarm_rule.kind is 'silent: heard at least every so many minutes; leak: openings per 100 exits; unreturned: hand-backs are reported within so many days; drop: scans or payments of a day so many percent below the median of their weekday; sudden: those of the last hours';
alter table payments.lot_alarm drop constraint lot_alarm_kind_check;
alter table payments.lot_alarm add constraint lot_alarm_kind_check check (kind in ('silent', 'gap', 'offline_lane', 'leak', 'unreturned', 'drop', 'sudden', 'reported'));
comment on column payments.lot_alarm.kind is 'silent: not heard; gap: numbers are missing; offline_lane; leak: too many openings; unreturned: hand-backs promised and not reported; drop: scans or payments of a day fell; sudden: those of the last hours fell; reported: its code was reported as wrong';

-- Old codes that are ended together.
create table payments.legacy_ending ( -- A mass act that ends old codes where only the city's may hang: a run goes on where it was broken off
    ending_id       integer generated always as identity primary key, -- Number
    last_day        date not null, -- Last day of the codes (China): the day behind it only the city's code may hang
    district        text, -- Only in this district; null: everywhere
    document        text not null check (document <> ''), -- Document that orders it
    person_code     text not null, -- Who carries it out
    started_at      timestamptz not null, -- When
    codes           integer not null default 0, -- Codes ended so far
    after_lot_id    integer not null default 0, -- How far it has come: lots in the order of their numbers
    ended_at        timestamptz -- When it was done; null: it is under way, or was broken off
);
create unique index legacy_ending_one on payments.legacy_ending ((true)) where ended_at is null;
alter table payments.legacy_code add column ending_id integer references payments.legacy_ending;
comment on column payments.legacy_code.ending_id is 'Mass act that ended it; null: its lot did, or nobody';

grant select, insert on payments.report_keeping_rule, payments.report_keeping, payments.visit_hour, payments.lot_drop, payments.legacy_ending to tongting_app;
grant execute on function payments.erase_report_words_v1(integer, timestamptz) to tongting_app;
grant update (outcome, document) on payments.code_report to tongting_app;
grant update on payments.visit_hour to tongting_app;
grant update, delete on payments.lot_drop to tongting_app;
grant update (codes, after_lot_id, ended_at) on payments.legacy_ending to tongting_app;
grant update (ending_id) on payments.legacy_code to tongting_app;
grant select on payments.v_lot_drop to tongting_app;
