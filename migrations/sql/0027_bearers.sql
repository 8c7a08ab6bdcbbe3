-- Who pays parts of stays in place of drivers, what they owe for it, and how that is settled. The book carries it on 122102 of the
-- operator, and on 660104 and 224104 of a bearer that keeps a book of its own.

create table payments.bearer ( -- Who pays parts of stays in place of drivers: a shop, the city, an operator, the platform
    bearer_id       integer primary key, -- Number of the bearer
    code            text not null unique check (code <> ''), -- Code that rules name it by
    name            text not null check (name <> ''), -- Name as the payer reads it and as it is written to
    party_id        integer unique references payments.party, -- The party that it is: its own book shows what it bears; null: it keeps no book here
    document        text not null check (document <> ''), -- Agreement by which it pays
    registered_at   timestamptz not null -- When it was registered
);

create table payments.borne_part ( -- A part of a stay that a bearer pays in place of the driver, whatever the ground: a split rule, a coupon
    part_id         uuid not null, -- Time-ordered id: source of its entries
    lane            smallint not null, -- Lane of the payee's book
    source          text not null check (source ~ '^[a-z_]+$'), -- What says so: split, coupon ...
    source_id       uuid not null, -- Its record: of a split the group
    number          smallint not null, -- Number within that record: of a split the leg
    bearer_id       integer not null references payments.bearer, -- Who pays it
    operator_id     integer not null, -- Payee
    lot_id          integer not null, -- Lot of the stay
    lot_serial      text not null, -- The lot's own serial of the charge
    charge_id       uuid, -- The driver's charge beside it: the part is earned when that is booked; null: nothing is due of the driver, so it is earned at once
    amount_fen      bigint not null check (amount_fen > 0), -- Amount in fen
    document_id     uuid not null, -- Sealed document by which it is borne: of a split the rule
    happened_at     timestamptz not null, -- When the car left, or the charge was posted
    created_at      timestamptz not null, -- When it was posted to us
    primary key (part_id, lane),
    unique (source, source_id, number, lane)
);
create index borne_part_charge on payments.borne_part (charge_id) where charge_id is not null;

create table payments.borne_due ( -- Parts that are earned at once and not read yet: put in with the part, taken out by the one who follows
    part_id         uuid not null, -- Part
    lane            smallint not null, -- Lane
    primary key (part_id, lane)
);

create table payments.bearer_line ( -- A claim on a bearer for a part that was earned, or its return because the charge was cancelled
    part_id         uuid not null, -- Part: source of the entries in either book
    returned        boolean not null, -- The claim is taken back
    lane            smallint not null, -- Lane of the payee's book
    bearer_id       integer not null, -- Who owes it
    operator_id     integer not null, -- Who is owed it
    amount_fen      bigint not null check (amount_fen > 0), -- Amount in fen
    happened_at     timestamptz not null, -- When the part was earned, or its charge cancelled
    booked_on       date not null, -- Business date of its entries (Asia/Shanghai)
    evidence_id     uuid not null, -- What proves it: the evidence of the driver's entry, of the credit note, or the document by which it is borne
    primary key (part_id, returned, lane)
);
create index bearer_line_pair on payments.bearer_line (bearer_id, operator_id, booked_on);

create table payments.bearer_cursor ( -- How far a lane's sealed entries have been read for bearers; its row is the lock of who reads on
    lane            smallint primary key, -- Lane
    leaf_index      bigint not null -- Entries below this index have been read
);

create table payments.bearer_settlement ( -- What a bearer pays an operator for lines up to a date: proposed by one person, approved by another
    settlement_id   uuid not null, -- Time-ordered id: source and evidence of its entries
    lane            smallint not null, -- Lane
    bearer_id       integer not null references payments.bearer, -- Who pays
    operator_id     integer not null references payments.operator, -- Who is paid
    until_on        date not null, -- Lines booked until then (Asia/Shanghai)
    lines           integer not null check (lines > 0), -- Number of its lines
    amount_fen      bigint not null check (amount_fen > 0), -- Claims less returns, in fen
    digest          bytea not null check (length(digest) = 32), -- SHA-256 over its lines: what the second person approves
    state           text not null check (state in ('proposed', 'approved', 'rejected', 'paid')), -- Where it stands
    made_by         text not null references payments.person, -- Maker 经办
    made_at         timestamptz not null, -- When
    decided_by      text references payments.person, -- Checker 复核
    decided_at      timestamptz, -- When
    decided_note    text, -- The checker's words
    slip            text check (slip <> ''), -- Number of the bank slip
    paid_on         date, -- Date of the bank slip
    entered_by      text references payments.person, -- Who entered the slip
    entered_at      timestamptz, -- When
    primary key (settlement_id, lane),
    check (decided_by is distinct from made_by), -- maker and checker are two persons
    check ((state = 'proposed') = (decided_by is null) and (decided_by is null) = (decided_at is null)),
    check ((state = 'paid') = (slip is not null and paid_on is not null and entered_by is not null and entered_at is not null))
);
create unique index bearer_settlement_slip on payments.bearer_settlement (bearer_id, slip) where slip is not null;
create table payments.bearer_settlement_line ( -- A line of a settlement; a line is in one that was not rejected at most
    settlement_id   uuid not null, -- Settlement
    lane            smallint not null, -- Lane
    part_id         uuid not null, -- Part of the line
    returned        boolean not null, -- Whether the line is the claim's return
    is_live         boolean not null default true, -- The settlement was not rejected
    primary key (settlement_id, part_id, returned, lane)
);
create unique index bearer_settlement_line_once on payments.bearer_settlement_line (part_id, returned, lane) where is_live;

-- Bearers and parts of rules that were entered before; the ids of the parts keep the time of their groups.
insert into payments.bearer (bearer_id, code, name, document, registered_at)
select row_number() over (order by min(r.entered_at), l.bearer), l.bearer, l.bearer, min(r.document), min(r.entered_at)
from payments.split_leg l join payments.split_rule r on r.lane = l.lane and r.rule_id = l.rule_id
where l.bearer is not null group by l.bearer;
insert into payments.borne_part (part_id, lane, source, source_id, number, bearer_id, operator_id, lot_id, lot_serial, charge_id,
                                 amount_fen, document_id, happened_at, created_at)
select cast(left(replace(g.group_id::text, '-', ''), 16) || 'a' || left(md5(g.group_id::text || p.number), 13) || '00' as uuid), g.lane,
       'split', g.group_id, p.number, b.bearer_id, p.operator_id, g.lot_id, g.lot_serial, x.charge_id, p.amount_fen, g.rule_id,
       g.created_at, g.created_at
from payments.charge_part p
join payments.charge_group g on g.lane = p.lane and g.group_id = p.group_id
join payments.split_leg l on l.lane = p.lane and l.rule_id = g.rule_id and l.number = p.number
join payments.bearer b on b.code = l.bearer
left join lateral (
    select y.charge_id from payments.charge_part y
    where y.lane = p.lane and y.group_id = p.group_id and y.charge_id is not null
    order by (y.operator_id = p.operator_id) desc, y.number limit 1
) x on true
where p.charge_id is null;
insert into payments.borne_due (part_id, lane) select part_id, lane from payments.borne_part where charge_id is null;

do $$
declare t text;
begin
    foreach t in array array['bearer', 'borne_part', 'bearer_line'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;
create trigger settlement_forward before update on payments.bearer_settlement for each row execute function payments.settlement_forward_v1();

create view payments.v_bearer as select bearer_id, code, name, party_id, document, registered_at from payments.bearer;
comment on view payments.v_bearer is 'Who pays parts of stays in place of drivers';
create view payments.v_borne_part as
select lane, part_id, source, source_id, number, bearer_id, operator_id, lot_id, lot_serial, charge_id, amount_fen, document_id, happened_at
from payments.borne_part;
comment on view payments.v_borne_part is 'Parts of stays that bearers pay in place of drivers, without plates';
create view payments.v_bearer_line as
select l.lane, l.part_id, l.returned, l.bearer_id, l.operator_id, p.lot_id, p.lot_serial, l.amount_fen, l.happened_at, l.booked_on,
       s.settlement_id, s.state as settlement_state
from payments.bearer_line l
join payments.borne_part p on p.lane = l.lane and p.part_id = l.part_id
left join payments.bearer_settlement_line x on x.lane = l.lane and x.part_id = l.part_id and x.returned = l.returned and x.is_live
left join payments.bearer_settlement s on s.lane = x.lane and s.settlement_id = x.settlement_id;
comment on view payments.v_bearer_line is 'Claims on bearers and their returns, with the settlement they are in';

grant select, insert on payments.bearer, payments.borne_part, payments.borne_due, payments.bearer_line, payments.bearer_cursor,
    payments.bearer_settlement, payments.bearer_settlement_line to tongting_app;
grant delete on payments.borne_due to tongting_app;
grant update on payments.bearer_cursor to tongting_app;
grant update (state, decided_by, decided_at, decided_note, slip, paid_on, entered_by, entered_at) on payments.bearer_settlement to tongting_app;
grant update (is_live) on payments.bearer_settlement_line to tongting_app;
grant select on payments.v_bearer, payments.v_borne_part, payments.v_bearer_line to tongting_app;
