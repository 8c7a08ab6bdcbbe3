-- How long delivery logs are kept; quotes that have ended.

create table payments.webhook_keeping ( -- A run that forgets old deliveries to webhooks, and from when on they are kept: the standing checks go by the newest
    keeping_id      bigint generated always as identity primary key, -- Number
    lane            smallint not null, -- Lane
    days            integer not null check (days >= 7), -- So many days deliveries were to be kept
    kept_from       timestamptz not null, -- Deliveries accepted before may be gone
    events_from     uuid not null, -- Smallest id that an event of that moment can have: events below it may have no delivery any more
    started_at      timestamptz not null, -- When the run began
    after_delivery_id bigint not null default 0, -- How far it has come: a run that was broken off goes on behind
    deliveries      bigint not null default 0, -- Deliveries forgotten so far
    tries           bigint not null default 0, -- Calls of theirs forgotten so far
    ended_at        timestamptz, -- When it was done; null: it is under way, or was broken off
    check (kept_from <= started_at - days * interval '24 hours')
);
create unique index webhook_keeping_one on payments.webhook_keeping (lane) where ended_at is null;
create index webhook_keeping_newest on payments.webhook_keeping (lane, events_from desc);

-- The application may not delete deliveries: only this, which forgets what was accepted before the moment that its run has recorded.
create function payments.forget_deliveries_v1(run_lane smallint, batch integer, at timestamptz)
    returns table (deliveries bigint, tries bigint, is_over boolean)
    language plpgsql security definer set search_path = pg_catalog, payments as $$
declare
    run payments.webhook_keeping;
    last_id bigint;
    seen integer;
    oldest timestamptz;
begin
    select * into run from payments.webhook_keeping k where k.lane = run_lane and k.ended_at is null for update skip locked;
    if not found then
        return; -- done, or somebody else is at it
    end if;
    select count(*), max(p.delivery_id), min(p.created_at) into seen, last_id, oldest from (
        select d.delivery_id, d.created_at from payments.webhook_delivery d
        where d.delivery_id > run.after_delivery_id order by d.delivery_id limit batch) p;
    with doomed as materialized (
        select d.delivery_id from payments.webhook_delivery d
        where d.delivery_id > run.after_delivery_id and d.delivery_id <= last_id and d.lane = run.lane
          and d.delivered_at < run.kept_from and d.created_at < run.kept_from and d.parked_at is null
          and not exists (select from payments.webhook_due u where u.delivery_id = d.delivery_id)
    ), calls as (
        delete from payments.webhook_try t using doomed where t.delivery_id = doomed.delivery_id returning t.delivery_id
    ), gone as (
        delete from payments.webhook_delivery d using doomed where d.delivery_id = doomed.delivery_id returning d.delivery_id
    )
    select (select count(*) from gone), (select count(*) from calls) into deliveries, tries;
    is_over := seen < batch or oldest >= run.kept_from;
    update payments.webhook_keeping k
    set after_delivery_id = coalesce(last_id, k.after_delivery_id), deliveries = k.deliveries + forget_deliveries_v1.deliveries,
        tries = k.tries + forget_deliveries_v1.tries,
        ended_at = case when forget_deliveries_v1.is_over then forget_deliveries_v1.at end
    where k.keeping_id = run.keeping_id;
    return next;
end $$;
comment on function payments.forget_deliveries_v1(smallint, integer, timestamptz) is
    'Forget the next deliveries of the run under way, of the next so many in the table; no row: none is under way, or another one is at it';
revoke execute on function payments.forget_deliveries_v1(smallint, integer, timestamptz) from public;

-- A price that has ended is marked so: it leaves the indexes that prices of the moment are found by.
alter table payments.charge_quote add column ended_at timestamptz;
comment on column payments.charge_quote.ended_at is 'When its price ended, once that was noticed; null: it may stand, or somebody was paying it. A later answer may bring it back';
update payments.charge_quote set ended_at = superseded_at where superseded_at is not null;
alter table payments.charge_quote add constraint charge_quote_ended check (superseded_at is null or ended_at is not null);
create index charge_quote_ending on payments.charge_quote (valid_until) where ended_at is null;
drop index payments.charge_quote_stay;
create index charge_quote_stay on payments.charge_quote (lot_id, stay_serial) where ended_at is null;

create or replace view payments.v_charge_quote as
select q.charge_id, q.lane, q.lot_id, q.serial, q.stay_serial, q.valid_until, q.asked_at, q.evidence_id, q.superseded_at, q.superseded_by,
       q.superseded_fen, q.ended_at,
       case when q.superseded_at is not null then 'superseded' when c.state <> 'open' then c.state when c.is_receivable then 'debt'
            when q.ended_at is not null then 'ended' else 'open' end as state
from payments.charge_quote q
join payments.charge c on c.charge_id = q.charge_id and c.lane = q.lane;
comment on view payments.v_charge_quote is 'Charges that are quotes of a moment: until when they can be paid, which newer one took their place, and where they stand: open, ended (nothing is owed), superseded, debt (the car has left), settled, waived, written_off, credited';

grant select, insert on payments.webhook_keeping to tongting_app;
grant execute on function payments.forget_deliveries_v1(smallint, integer, timestamptz) to tongting_app;
grant update (ended_at) on payments.charge_quote to tongting_app;
