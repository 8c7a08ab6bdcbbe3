-- Departures: who may leave first, what channels say of plates' mandates, and when a mandate is tried again.

create table payments.mandate ( -- What a channel said last of a plate: whether it may be deducted there
    plate_id        bigint not null, -- Plate
    channel         text not null, -- Channel
    state           text not null check (state in ('open', 'none')), -- open: it may; none: it may not
    told_at         timestamptz not null, -- When the channel said so
    primary key (plate_id, channel)
);
insert into payments.mandate (plate_id, channel, state, told_at)
select distinct on (e.plate_id, w.channel) e.plate_id, w.channel, w.state, w.told_at
from payments.entrance_word w join payments.entrance e on e.lane = w.lane and e.entrance_id = w.entrance_id
where w.state <> 'unknown' order by e.plate_id, w.channel, w.told_at desc;

create table payments.release ( -- The barrier may open for the car of a charge
    charge_id       uuid not null, -- Charge
    lane            smallint not null, -- Lane
    reason          text not null check (reason in ('paid', 'deducted', 'debt', 'free', 'card')), -- Why
    released_at     timestamptz not null, -- When its lot was told so
    primary key (charge_id, lane)
);

create table payments.deduct_rule ( -- When a debt is tried to be deducted by the plate's mandate: dated, for an operator or the whole city
    rule_id         integer generated always as identity primary key, -- Version; a later one of the same operator replaces it from its date on
    operator_id     integer references payments.operator, -- Operator; null: every one that has none of its own
    valid_from      timestamptz not null, -- From when on it counts
    document        text not null, -- Approving document
    after_days      integer[] not null check (array_length(after_days, 1) between 1 and 60), -- Days after leaving, rising; 0: the day itself
    at_times        time[] not null check (array_length(at_times, 1) between 1 and 24), -- Times of such a day in China, rising
    entered_at      timestamptz not null, -- When the rule was entered
    unique nulls not distinct (operator_id, valid_from)
);
insert into payments.deduct_rule (valid_from, document, after_days, at_times, entered_at)
values ('2020-01-01 00:00+08', 'default of the product, to be replaced by the city''s', '{0,1,3,7,15,30}', '{10:00,20:00}', '2020-01-01 00:00+08');

create table payments.deduction_plan ( -- A debt that is to be deducted by the plate's mandate; no row when it is tried no more
    charge_id       uuid not null, -- Debt; its charge's row is locked by nobody who holds this one
    lane            smallint not null, -- Lane
    tries           smallint not null default 0, -- Tries made so far
    due_at          timestamptz not null, -- When it is tried next
    claimed_until   timestamptz, -- A worker holds it until then
    primary key (charge_id, lane)
);
create index deduction_plan_due on payments.deduction_plan (due_at);
create table payments.deduction_try ( -- What became of one try, over one channel: why money did not come is kept
    charge_id       uuid not null, -- Debt
    lane            smallint not null, -- Lane
    tried_at        timestamptz not null, -- When
    channel         text not null, -- Channel; empty: none could be asked
    state           text not null, -- succeeded, pending, failed, unknown, none, or waits: somebody was paying by hand
    reason          text, -- Why not, in the channel's word or ours
    primary key (charge_id, tried_at, channel, lane)
);

-- A look-up of a plate's debts is one read of one index.
drop index payments.debt_plate;
create index debt_plate on payments.debt (plate_id) include (owed_fen, due_on, opened_at, basis, disputed_at) where owed_fen > 0;

create function payments.next_deduction_v1(operator integer, left_at timestamptz, behind timestamptz) returns timestamptz language sql stable as $$
    select min(at) from (
        select ((left_at at time zone 'Asia/Shanghai')::date + day + at_time) at time zone 'Asia/Shanghai' as at
        from (
            select after_days, at_times from payments.deduct_rule
            where (operator_id is null or operator_id = operator) and valid_from <= left_at
            order by operator_id nulls last, valid_from desc limit 1
        ) r, unnest(r.after_days) day, unnest(r.at_times) at_time
    ) times where at > behind
$$;
comment on function payments.next_deduction_v1 is 'The next time at which a debt is tried to be deducted, by the rule in force when its car left; null: never again';

create view payments.v_deduction_try as select charge_id, lane, tried_at, channel, state, reason from payments.deduction_try;
comment on view payments.v_deduction_try is 'What became of each try to deduct a debt';
create view payments.v_mandate as select plate_id, channel, state, told_at from payments.mandate;
comment on view payments.v_mandate is 'What channels said last of plates'' mandates';

grant select, insert on payments.release, payments.mandate, payments.deduct_rule, payments.deduction_plan, payments.deduction_try to tongting_app;
grant update (state, told_at) on payments.mandate to tongting_app;
grant update (tries, due_at, claimed_until) on payments.deduction_plan to tongting_app;
grant delete on payments.deduction_plan to tongting_app;
grant update (basis) on payments.debt to tongting_app;
grant execute on function payments.next_deduction_v1 to tongting_app;
grant select on payments.v_deduction_try, payments.v_mandate to tongting_app;
