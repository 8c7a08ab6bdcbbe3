-- Status lists of the clearing party, as they are in force now: cards, units and plates that must not be charged. Personal data:
-- what was removed stays for 30 days, so that lots can be told of it, and is deleted then; nothing of it is shown in pages or logs.

create table payments.status_list ( -- One status list of one province: where it stands; the same for all lanes
    kind            text not null check (kind in ('CARD', 'OBU', 'PLATE')), -- What it lists: cards, units, plates
    province        text not null check (province ~ '^[0-9]{2}$'), -- Province, two digits
    version         text not null default '', -- Version that is kept, as the clearing party writes it
    step            bigint not null default 0, -- Our own number of the last change; versions are not ours to count
    pulled_at       timestamptz, -- When it was renewed last, changed or not; null: it has never come
    was_full        boolean, -- The last answer replaced the whole list
    wants_full      boolean not null default false, -- The next call asks for the whole list, because the changes told made no sense
    tries           bigint not null default 0, -- Calls made so far; an answer counts only while no later call was begun
    tried_at        timestamptz, -- When it was called for last
    reason          text, -- Why the last call brought nothing; null: it did
    due_at          timestamptz not null, -- When it is called for next
    claimed_until   timestamptz, -- A worker holds it until then
    primary key (kind, province)
);
create table payments.status_step ( -- Changes of a list by the version that they led to: those since which changes can be told
    kind            text not null, -- What it lists
    province        text not null, -- Province
    step            bigint not null check (step > 0), -- Our own number of the change
    version         text not null, -- Version that it led to
    pulled_at       timestamptz not null, -- When it came
    primary key (kind, province, step)
);
create table payments.status_entry ( -- One card, unit or plate that is on a list, or was taken off it within 30 days
    kind            text not null, -- What it is
    province        text not null, -- Province of the list
    entry           text not null, -- Number of card or unit, or plate and colour, as the clearing party writes them: never to be shown
    is_listed       boolean not null, -- It is on the list; false: it was taken off
    step            bigint not null, -- Change that put it on or took it off
    primary key (kind, entry, province)
);
create index status_entry_step on payments.status_entry (kind, province, step);

create view payments.v_status_list as
select kind, province, version, pulled_at, was_full, tried_at, reason from payments.status_list;
comment on view payments.v_status_list is 'Where each status list stands, without its entries';

grant select, insert, delete on payments.status_list, payments.status_step, payments.status_entry to tongting_app;
grant update (version, step, pulled_at, was_full, wants_full, tries, tried_at, reason, due_at, claimed_until)
    on payments.status_list to tongting_app;
grant update (is_listed, step) on payments.status_entry to tongting_app;
grant select on payments.v_status_list to tongting_app;
