-- One stay, several payees: dated split rules, and the parts into which a charge was cut by one. Every part is a charge of its own, of
-- its own operator: no money passes through the platform or through another operator.

create table payments.split_rule ( -- How the charges of a lot are cut into parts for several payees: dated, with its document
    rule_id         uuid not null, -- Version, time-ordered; sealed in the tree under this id
    lane            smallint not null, -- Lane of the lot's operator and of all payees
    lot_id          integer not null references payments.lot, -- Lot
    scene           text check (scene in ('gate', 'on_street', 'hospital', 'shared', 'charging')), -- Charges of this scene; null: all that have no rule of their own scene
    valid_from      timestamptz not null, -- From when on it counts; a later one of the same lot and scene replaces it
    document        text not null check (document <> ''), -- Agreement or approval that it is taken from
    entered_at      timestamptz not null, -- When it was entered
    primary key (rule_id, lane),
    unique nulls not distinct (lot_id, scene, valid_from)
);
create table payments.split_leg ( -- What one payee gets by a split rule; a rule without legs ends splitting
    rule_id         uuid not null, -- Rule
    lane            smallint not null, -- Lane of the rule
    number          smallint not null check (number > 0), -- Place, from 1: the order in which the payer sees the payees, and which decides between equal remainders
    operator_id     integer not null references payments.operator, -- Payee
    basis           text not null check (basis in ('energy', 'fixed', 'share')), -- energy: the amount that the lot gives as that of the energy sold; fixed: so many fen; share: of what these leave
    fixed_fen       bigint check (fixed_fen > 0), -- Amount in fen
    share_bps       integer check (share_bps between 1 and 10000), -- Share in basis points
    bearer          text check (bearer <> ''), -- Who pays this leg in place of the driver: a discount; null: the driver
    words           text not null check (words <> ''), -- What it is paid for, as the payer reads it
    words_en        text not null check (words_en <> ''), -- The same in English
    primary key (rule_id, number, lane),
    check ((basis = 'fixed') = (fixed_fen is not null) and (basis = 'share') = (share_bps is not null))
);

create table payments.charge_group ( -- A charge that was cut into parts, as the lot posted it
    group_id        uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    lot_id          integer not null, -- Lot of the stay
    lot_serial      text not null, -- The lot's own serial: the idempotency key
    rule_id         uuid not null, -- Rule that cut it
    content_digest  bytea not null, -- SHA-256 of what was posted, to tell a repeat from a change
    amount_fen      bigint not null check (amount_fen > 0), -- Whole amount in fen
    energy_fen      bigint check (energy_fen >= 0), -- Of it for energy, as the lot gave it, in fen
    created_at      timestamptz not null, -- When it was posted
    primary key (group_id, lane),
    unique (lot_id, lot_serial, lane)
);
create table payments.charge_part ( -- One part of it: what goes to one payee
    group_id        uuid not null, -- Group
    lane            smallint not null, -- Lane
    number          smallint not null, -- Number of the leg of the rule
    operator_id     integer not null, -- Payee
    amount_fen      bigint not null check (amount_fen > 0), -- Amount in fen; legs of 0 fen make no part
    charge_id       uuid, -- The charge that the driver pays; null when a bearer pays the part
    primary key (group_id, number, lane)
);
create unique index charge_part_charge on payments.charge_part (charge_id, lane) where charge_id is not null;

do $$
declare t text;
begin
    foreach t in array array['split_rule', 'split_leg', 'charge_group', 'charge_part'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

create view payments.v_charge_part as
select p.lane, p.group_id, p.number, p.charge_id, p.operator_id, p.amount_fen, g.lot_id, g.lot_serial, g.rule_id, g.amount_fen as whole_fen,
       l.words, l.words_en, l.bearer
from payments.charge_part p
join payments.charge_group g on g.lane = p.lane and g.group_id = p.group_id
join payments.split_leg l on l.lane = p.lane and l.rule_id = g.rule_id and l.number = p.number;
comment on view payments.v_charge_part is 'Parts of charges that were cut by a split rule, without plates';

grant select, insert on payments.split_rule, payments.split_leg, payments.charge_group, payments.charge_part to tongting_app;
grant select on payments.v_charge_part to tongting_app;
