-- Tariffs 计费规则 as dated data with their approving documents: what a lot that has no pricing of its own charges by. Append only.

create table payments.tariff ( -- One version of a tariff; it replaces the one before from its date on
    tariff_id       integer generated always as identity primary key, -- Number of the version
    code            text not null, -- Code of the tariff, the same for all its versions
    version         integer not null check (version > 0), -- Version, counted from 1
    valid_from      timestamptz not null, -- From when on it counts: the beginning of a day in China
    place           text not null check (place in ('road', 'hospital', 'park')), -- Kind of place that it is for
    regime          text not null check (regime in ('government_set', 'government_guided', 'market')), -- Who sets the price
    document        text not null, -- Approving document, in words
    body            text not null, -- The whole tariff as canonical JSON
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of the body
    entered_at      timestamptz not null, -- When it was entered
    unique (code, version)
);
create table payments.lot_tariff ( -- By which tariff a lot charges, dated; a later one replaces it from its date on
    lot_tariff_id   integer generated always as identity primary key, -- Number
    lot_id          integer not null references payments.lot, -- Lot
    valid_from      timestamptz not null, -- From when on it counts
    tariff_code     text, -- Code of the tariff; null: none of ours from then on
    selectors       text not null, -- What the lot is in the tariff's words (zone, kind of road ...), as canonical JSON
    free_minutes    integer check (free_minutes > 0), -- Longer free time of this lot; null: the tariff's
    missing_price   text check (missing_price in ('refuse', 'base')), -- What becomes of a price that was not found here; null: as the tariff says
    document        text not null, -- Document that says so
    entered_at      timestamptz not null, -- When it was entered
    unique (lot_id, valid_from)
);
create table payments.tariff_rule ( -- What every tariff of a kind of place has to keep, dated
    rule_id         integer generated always as identity primary key, -- Number
    place           text not null check (place in ('road', 'hospital', 'park')), -- Kind of place
    valid_from      timestamptz not null, -- From when on it counts
    free_minutes_min integer not null check (free_minutes_min >= 0), -- So many free minutes at least
    unit_minutes    integer not null check (unit_minutes > 0), -- Unit of time in minutes
    document        text not null, -- Document that says so
    entered_at      timestamptz not null, -- When it was entered
    unique (place, valid_from)
);
create table payments.tariff_calendar ( -- Days that are free, or count as holidays or workdays
    calendar_id     integer generated always as identity primary key, -- Number
    code            text not null unique, -- Code
    effect          text not null check (effect in ('free', 'holiday', 'workday')), -- free: nothing is charged; else the kind of day
    days            daterange not null check (not isempty(days) and not lower_inf(days) and not upper_inf(days)), -- Days in China
    everywhere      boolean not null, -- At every lot; false: at the lots that are listed
    name_zh         text not null, -- Name as payers read it
    name_en         text not null, -- Name in English
    document        text not null, -- Source document, in words
    body            text not null, -- The whole entry as canonical JSON
    entered_at      timestamptz not null, -- When it was entered
    constraint one_kind_of_day exclude using gist (days with &&) where (effect <> 'free'),
    constraint one_free_time exclude using gist (days with &&) where (effect = 'free' and everywhere)
);
create table payments.tariff_calendar_lot ( -- A lot on the list of places of a calendar
    calendar_id     integer not null references payments.tariff_calendar, -- Calendar
    lot_id          integer not null references payments.lot, -- Lot
    document        text not null, -- List that names it
    entered_at      timestamptz not null, -- When it was entered
    primary key (lot_id, calendar_id)
);
create table payments.parking_pass ( -- A pass 月卡: a plate parks free with one operator, or at one lot of it, for a time
    pass_id         integer generated always as identity primary key, -- Key
    number          text not null, -- The operator's own number of the pass
    kind            text not null check (kind in ('month', 'quarter', 'year', 'resident')), -- Kind
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null references payments.operator, -- Operator that sold or gave it
    lot_id          integer references payments.lot, -- Lot; null: all lots of the operator
    plate_id        bigint not null references payments.plate, -- Plate
    valid           tstzrange not null check (not isempty(valid) and not lower_inf(valid) and not upper_inf(valid)), -- When it counts
    document        text not null, -- Agreement or approval
    entered_at      timestamptz not null, -- When it was entered
    unique (operator_id, number),
    constraint one_pass_at_a_time exclude using gist (plate_id with =, operator_id with =, (coalesce(lot_id, 0)) with =, valid with &&)
);

create view payments.v_tariff as
select tariff_id, code, version, valid_from, place, regime, document, digest, entered_at from payments.tariff;
comment on view payments.v_tariff is 'Tariffs without their bodies';
create view payments.v_lot_tariff as
select l.lot_id, l.code as lot_code, a.valid_from, a.tariff_code, a.selectors, a.free_minutes, a.missing_price, a.document, a.entered_at
from payments.lot_tariff a join payments.lot l on l.lot_id = a.lot_id;
comment on view payments.v_lot_tariff is 'By which tariffs lots charge, past and future';

do $$
declare t text;
begin
    foreach t in array array['tariff', 'lot_tariff', 'tariff_rule', 'tariff_calendar', 'tariff_calendar_lot', 'parking_pass'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
        execute format('grant select, insert on payments.%I to tongting_app', t);
    end loop;
end $$;
grant select on payments.v_tariff, payments.v_lot_tariff to tongting_app;
