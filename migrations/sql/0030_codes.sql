-- Pay codes on walls: the registry, batches that were printed, what became of each.

create table payments.code_batch ( -- Pay codes of a lot that were issued together
    batch_id        integer primary key, -- Number of the batch
    lot_id          integer not null references payments.lot, -- Lot
    name            text not null, -- Name its issuer gave it: issued again under it, the same codes come back
    codes           integer not null check (codes > 0), -- How many codes it has
    issued_at       timestamptz not null, -- When
    issued_by       text not null, -- Person or API client
    unique (lot_id, name)
);
create table payments.pay_code ( -- A pay code on a wall: what its number in the token stands for now
    code_no         integer primary key, -- Number in the token, dense
    batch_id        integer not null references payments.code_batch, -- Batch
    lot_id          integer not null references payments.lot, -- Lot whose name is printed on it
    place           text not null check (place in ('lot', 'lane', 'berth')), -- What it stands for: the whole lot, a lane, a berth
    place_name      text not null, -- Name of the lane, number of the berth; empty for the whole lot
    state           text not null check (state in ('issued', 'posted', 'moved', 'retired', 'replaced', 'reported')), -- issued, posted: it is paid with; moved: it hangs at another lot; the others: over
    successor_no    integer references payments.pay_code, -- Code that took its place
    acts            integer not null check (acts > 0), -- Rows of its history
    changed_at      timestamptz not null, -- When its state or place changed last
    check ((place = 'lot') = (place_name = '')),
    check ((state = 'replaced') = (successor_no is not null))
) with (fillfactor = 90);
create index pay_code_lot on payments.pay_code (lot_id, code_no);
create index pay_code_batch on payments.pay_code (batch_id);

create table payments.code_act ( -- History of pay codes, one row an act, never changed
    code_no         integer not null references payments.pay_code, -- Code
    number          integer not null check (number > 0), -- 1, 2, 3 ... within the code
    act             text not null check (act in ('issued', 'posted', 'moved', 'retired', 'replaced', 'reported')), -- What was done; moved within its lot a code stays as it was
    lot_id          integer not null references payments.lot, -- Lot it hangs at afterwards
    place           text not null, -- What it stands for afterwards
    place_name      text not null, -- Lane or berth afterwards
    successor_no    integer, -- Code that took its place
    reason          text not null, -- Why
    done_by         text not null, -- Person or API client
    done_at         timestamptz not null, -- When
    primary key (code_no, number)
);
create table payments.code_printing ( -- Codes that were written to print files, and with which key they were signed
    printing_id     uuid primary key, -- Time-ordered id
    lot_id          integer not null references payments.lot, -- Lot
    key_id          integer not null check (key_id between 0 and 255), -- Key; it stays in the ring while one of these hangs on a wall
    code_nos        integer[] not null, -- Codes; empty: the lot's own code of version 1
    form            text not null, -- Size and kind of file
    printed_at      timestamptz not null, -- When
    printed_by      text not null -- Person
);
create table payments.code_set ( -- Charges of a lot that one code on a screen stands for
    set_id          uuid not null, -- Time-ordered id, in the token
    lane            smallint not null, -- Lane
    lot_id          integer not null references payments.lot, -- Lot
    charge_ids      uuid[] not null check (cardinality(charge_ids) between 1 and 50), -- Charges, the oldest stay first
    made_at         timestamptz not null, -- When
    made_by         text not null, -- Person or API client
    primary key (set_id, lane)
);
create trigger append_only_rows before update or delete on payments.code_act for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.code_act for each statement execute function ledger.refuse_change_v1();
create trigger append_only_rows before update or delete on payments.code_printing for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.code_printing for each statement execute function ledger.refuse_change_v1();
create trigger append_only_rows before update or delete on payments.code_set for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.code_set for each statement execute function ledger.refuse_change_v1();

grant select, insert on payments.code_batch, payments.pay_code, payments.code_act, payments.code_printing, payments.code_set to tongting_app;
grant update (place, place_name, state, successor_no, acts, changed_at) on payments.pay_code to tongting_app;
