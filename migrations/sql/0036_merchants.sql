-- Merchants who give discounts, and their clerks. Source: docs/DISCOUNTS.md.

create table payments.merchant ( -- A shop that gives discounts to its visitors, within limits; never changed: another one has another code
    merchant_id     uuid not null, -- Time-ordered id, and that of its sealed document
    lane            smallint not null, -- Lane
    code            text not null check (code <> ''), -- Code that the desk names it by
    name            text not null check (name <> ''), -- Its name, as its clerks read it
    name_en         text not null check (name_en <> ''), -- The same in English
    bearer_id       integer references payments.bearer, -- Who pays what it gives; null: the lots' operators themselves
    offer_ids       uuid[] not null check (cardinality(offer_ids) > 0), -- Offers that it may give, all borne by that bearer
    lot_ids         integer[] not null check (cardinality(lot_ids) > 0), -- Lots at which it may
    validation_fen_max bigint check (validation_fen_max > 0), -- One validation takes off at most so many fen; null: no limit
    plate_day_max   integer check (plate_day_max > 0), -- So many validations of a plate on a business date; null: no limit
    day_max         integer check (day_max > 0), -- So many validations on a business date; null: no limit
    month_max       integer check (month_max > 0), -- So many in a calendar month; null: no limit
    day_fen_max     bigint check (day_fen_max > 0), -- So many fen on a business date; null: no limit
    month_fen_max   bigint check (month_fen_max > 0), -- So many fen in a calendar month; null: no limit
    document        text not null check (document <> ''), -- Agreement
    valid_from      timestamptz not null, -- It may give from then on
    valid_until     timestamptz not null, -- It gives nothing from then on
    entered_by      text not null, -- Person who entered it
    entered_at      timestamptz not null, -- When
    primary key (merchant_id, lane),
    unique (code, lane),
    check (valid_from < valid_until)
);

create table payments.merchant_end ( -- Merchants that ended before their time: they give nothing from then on
    merchant_id     uuid not null, -- Merchant
    lane            smallint not null, -- Lane
    document        text not null check (document <> ''), -- Why
    ended_by        text not null, -- Person who ended it
    ended_at        timestamptz not null, -- When
    primary key (merchant_id, lane)
);

create table payments.merchant_clerk ( -- A link with which the clerks of one counter give discounts; its secret is kept nowhere
    clerk_id        uuid not null, -- Time-ordered id; the link's secret is this id, signed
    lane            smallint not null, -- Lane
    merchant_id     uuid not null, -- Merchant
    name            text not null check (name <> ''), -- Name of the counter
    valid_until     timestamptz not null, -- The link counts no more from then on
    made_by         text not null, -- Person who made it
    made_at         timestamptz not null, -- When
    ended_by        text, -- Person who ended it; null: it was not ended
    ended_at        timestamptz, -- When it was ended
    primary key (clerk_id, lane),
    check ((ended_by is null) = (ended_at is null))
);
create index merchant_clerk_of on payments.merchant_clerk (merchant_id);

do $$
declare t text;
begin
    foreach t in array array['merchant', 'merchant_end'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

alter table payments.discount_grant
    add merchant_id uuid,
    add clerk_id uuid,
    add given_on date,
    add most_fen bigint check (most_fen > 0),
    add withdrawn_at timestamptz,
    add constraint discount_grant_merchant check ((merchant_id is null) = (given_on is null) and (merchant_id is not null or (clerk_id is null and withdrawn_at is null)));
comment on column payments.discount_grant.merchant_id is 'Merchant that gave it; null: no merchant of ours';
comment on column payments.discount_grant.clerk_id is 'Clerks'' link over which it was given; null: over the API';
comment on column payments.discount_grant.given_on is 'Business date on which the merchant gave it';
comment on column payments.discount_grant.most_fen is 'Most that it takes off, in fen; null: no limit';
comment on column payments.discount_grant.withdrawn_at is 'When the merchant withdrew it; what was paid with it stands';
create unique index discount_grant_merchant_serial on payments.discount_grant (merchant_id, serial, lane) where merchant_id is not null;
create index discount_grant_merchant_day on payments.discount_grant (merchant_id, given_on) where merchant_id is not null;
create index discount_grant_clerk on payments.discount_grant (clerk_id, grant_id) where clerk_id is not null;
create index discount_grant_withdrawn on payments.discount_grant (grant_id) where withdrawn_at is not null and cancelled_at is null;

-- Free minutes that the tariff reckons

alter table payments.discount_offer
    add free_minutes integer check (free_minutes > 0),
    add minutes_at text check (minutes_at in ('entry', 'exit')),
    add minutes_else text check (minutes_else in ('pro_rata', 'refuse'));
comment on column payments.discount_offer.free_minutes is 'Or so many minutes: the price of the stay less its price with so many minutes less';
comment on column payments.discount_offer.minutes_at is 'entry: the stay is priced as if it had begun so much later; exit: as if it had ended so much earlier';
comment on column payments.discount_offer.minutes_else is 'Where the lot priced the stay by itself: pro_rata: a share of the amount by minutes; refuse: nothing';
do $$
declare c record;
begin
    for c in select conname from pg_constraint
             where conrelid = 'payments.discount_offer'::regclass and contype = 'c'
               and pg_get_constraintdef(oid) ~ '\moff_fen\M.*\moff_bps\M|\mcap_fen\M.*\moff_bps\M' loop
        execute format('alter table payments.discount_offer drop constraint %I', c.conname);
    end loop;
end $$;
alter table payments.discount_offer
    add constraint discount_offer_way check (num_nonnulls(off_fen, off_bps, free_minutes) = 1),
    add constraint discount_offer_cap check (cap_fen is null or off_fen is null),
    add constraint discount_offer_minutes check (num_nonnulls(free_minutes, minutes_at, minutes_else) in (0, 3));

alter table payments.discount_effect
    add reckoned_by text check (reckoned_by in ('tariff', 'pro_rata'));
comment on column payments.discount_effect.reckoned_by is 'Of free minutes: whether the lot''s tariff gave the amount, or a share of it by minutes; null: no minutes';

create table payments.discount_unpriced ( -- Free minutes that took nothing off, for only the lot can price its stays
    grant_id        uuid not null, -- Grant
    lane            smallint not null, -- Lane
    charge_id       uuid not null, -- Charge of the stay
    why             text not null, -- Why the stay has no price of ours
    found_at        timestamptz not null, -- When
    primary key (grant_id, charge_id, lane)
);

-- Stays that were covered in full and then corrected

alter table payments.discount_effect drop constraint discount_effect_taken_off_why_check;
alter table payments.discount_effect
    add constraint discount_effect_taken_off_why_check check (taken_off_why in ('cancelled', 'not_paid', 'superseded', 'reckoned_anew', 'corrected'));
do $$
declare c record;
begin
    for c in select conname from pg_constraint
             where conrelid = 'payments.discount_effect'::regclass and contype = 'c' and pg_get_constraintdef(oid) ~ '\mis_final\M' loop
        execute format('alter table payments.discount_effect drop constraint %I', c.conname);
    end loop;
end $$;
alter table payments.discount_effect
    add constraint discount_effect_final check (not is_final or taken_off_why is null or taken_off_why = 'corrected');

create table payments.borne_return_due ( -- Parts earned at once whose stays were corrected: their claims are returned next
    part_id         uuid not null, -- Part
    lane            smallint not null, -- Lane
    evidence_id     uuid not null, -- Message by which the stay was corrected
    happened_at     timestamptz not null, -- When
    primary key (part_id, lane)
);

-- Tokens of merchants

alter table access.client add merchant_id uuid;
comment on column access.client.merchant_id is 'Merchant, for scope merchant';
alter table access.client drop constraint client_scope_check;
alter table access.client
    add constraint client_scope_check check (scope in ('lot', 'operator', 'district', 'city', 'merchant')),
    add constraint client_merchant check ((merchant_id is not null) = (scope = 'merchant'));

create view payments.v_merchant as
select m.lane, m.merchant_id, m.code, m.name, m.name_en, m.bearer_id, m.lot_ids, m.document, m.valid_from, m.valid_until, e.ended_at
from payments.merchant m left join payments.merchant_end e on e.lane = m.lane and e.merchant_id = m.merchant_id;
comment on view payments.v_merchant is 'Merchants who give discounts, with the moment when they ended before their time';

grant select, insert on payments.merchant, payments.merchant_end, payments.merchant_clerk, payments.discount_unpriced to tongting_app;
grant update (ended_by, ended_at) on payments.merchant_clerk to tongting_app;
grant update (withdrawn_at) on payments.discount_grant to tongting_app;
grant select, insert, delete on payments.borne_return_due to tongting_app;
grant select on payments.v_merchant to tongting_app;
