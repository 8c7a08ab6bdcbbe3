-- Corrections: credit notes with new bills, misread plates, plates that change hands.

create table payments.credit_note ( -- A charge was corrected: a signed document, never an edit
    note_id         uuid not null, -- Time-ordered id: source of its entry, and the id under which it is sealed
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Operator whose charge it was
    lot_id          integer not null, -- Lot
    sequence        bigint not null check (sequence > 0), -- Dense count of the lot's credit notes: 1, 2, 3 ...
    number          text not null, -- Number of the note: the lot's code, a point, the count
    serial          text not null, -- The lot's own serial of the correction: the idempotency key
    content_digest  bytea not null check (length(content_digest) = 32), -- SHA-256 of what was asked, to tell a repeat from a change
    charge_id       uuid not null, -- Charge that was corrected
    kind            text not null check (kind in ('cancel', 'reduce', 'replace')), -- cancel: all of it; reduce: some of it; replace: all of it, and a new bill
    reason          text not null check (reason in ('misread_plate', 'wrong_time', 'wrong_tariff', 'duplicate', 'free_pass', 'complaint', 'other')), -- Why
    amount_fen      bigint not null check (amount_fen > 0), -- How much it takes away, in fen
    credited_fen    bigint not null check (credited_fen >= 0), -- Of it from what was still owed, in fen
    refunded_fen    bigint not null check (refunded_fen >= 0), -- Of it from what was paid: promised back to the payers, in fen
    was_debt        boolean not null, -- The book carried it as a receivable: what was credited has an entry
    new_serial      text, -- The lot's serial of the new bill
    evidence_id     uuid not null, -- The lot's call, verbatim
    document        bytea not null, -- Canonical JSON of the note: what is signed and sealed
    signature       bytea not null check (length(signature) = 64), -- Ed25519 over the document
    public_key      bytea not null check (length(public_key) = 32), -- Key that verifies it
    made_on         date not null, -- Business date
    created_at      timestamptz not null, -- When it was made
    primary key (note_id, lane),
    unique (lot_id, serial, lane),
    unique (lot_id, sequence, lane),
    unique (number, lane),
    check (amount_fen = credited_fen + refunded_fen),
    check ((kind = 'replace') = (new_serial is not null))
);
create index credit_note_charge on payments.credit_note (charge_id);
create index credit_note_day on payments.credit_note (lot_id, made_on);
create table payments.credit_note_refund ( -- What of a note goes back to a payer, the newest payment first
    note_id         uuid not null, -- Note
    lane            smallint not null, -- Lane
    refund_id       uuid not null, -- Refund
    payment_id      uuid not null, -- Payment that it gives back
    amount_fen      bigint not null check (amount_fen > 0), -- In fen
    primary key (note_id, refund_id, lane)
);
create table payments.credit_note_words ( -- What the lot said about a note: may name a car, so it is apart and goes with the plate
    note_id         uuid not null, -- Note
    lane            smallint not null, -- Lane
    words           text not null check (length(words) between 1 and 500), -- The lot's words
    primary key (note_id, lane)
);

create table payments.plate_change ( -- A plate came to another owner, or its data are erased: proposed by one person, approved by another
    change_id       uuid not null, -- Time-ordered id; sealed in the tree under it
    lane            smallint not null, -- Lane
    plate_id        bigint not null references payments.plate, -- Plate
    kind            text not null check (kind in ('transfer', 'erasure')), -- transfer: another owner from a moment on; erasure: nothing leads to a person any more
    held_since      timestamptz, -- Transfer: the moment
    reason          text not null check (length(reason) between 1 and 500), -- Why
    document_name   text not null check (length(document_name) between 1 and 200), -- Name or number of the document
    document_digest bytea not null check (length(document_digest) = 32), -- SHA-256 of its bytes
    document_bytes  bytea, -- Its bytes; null: they are kept elsewhere, or erased with the plate
    state           text not null check (state in ('proposed', 'approved', 'rejected')), -- Where it stands
    proposed_by     text not null references payments.person, -- Maker
    proposed_at     timestamptz not null, -- When
    decided_by      text references payments.person, -- Checker
    decided_at      timestamptz, -- When
    decided_note    text check (length(decided_note) between 1 and 500), -- The checker's words
    primary key (change_id, lane),
    check ((kind = 'transfer') = (held_since is not null)),
    check (decided_by is distinct from proposed_by), -- maker and checker are two persons
    check ((state = 'proposed') = (decided_by is null)),
    check ((decided_by is null) = (decided_at is null))
);
create unique index plate_change_once on payments.plate_change (plate_id, lane) where state = 'proposed';
create index plate_change_plate on payments.plate_change (plate_id);
create function payments.plate_change_decided_once_v1() returns trigger language plpgsql as $$
begin
    if (old.change_id, old.lane, old.plate_id, old.kind, old.held_since, old.document_name, old.document_digest, old.proposed_by, old.proposed_at)
       is distinct from (new.change_id, new.lane, new.plate_id, new.kind, new.held_since, new.document_name, new.document_digest, new.proposed_by, new.proposed_at)
       or (old.state <> 'proposed' and (old.state, old.decided_by, old.decided_at) is distinct from (new.state, new.decided_by, new.decided_at)) then
        raise exception 'change % is not changed any more', old.change_id using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger decided_once before update on payments.plate_change for each row execute function payments.plate_change_decided_once_v1();

do $$
declare t text;
begin
    foreach t in array array['credit_note', 'credit_note_refund'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

-- A plate that was erased carries a name made of its key, and its salt is gone.
alter table payments.plate add column erased_at timestamptz; -- Nothing leads from here to a person any more
comment on column payments.plate.erased_at is 'Nothing leads from here to a person any more: number and salt are replaced';

create view payments.v_credit_note as
select n.lane, n.note_id, n.number, n.sequence, n.operator_id, o.book_id, n.lot_id, l.code as lot_code, n.serial, n.charge_id, c.lot_serial,
       c.amount_fen as charge_fen, n.kind, n.reason, n.amount_fen, n.credited_fen, case when n.was_debt then n.credited_fen else 0 end as booked_fen,
       n.refunded_fen, coalesce(r.returned_fen, 0) as returned_fen, n.new_serial, n.evidence_id, n.made_on, n.created_at
from payments.credit_note n
join payments.charge c on c.lane = n.lane and c.charge_id = n.charge_id
join payments.operator o on o.operator_id = n.operator_id
join payments.lot l on l.lot_id = n.lot_id
left join lateral (
    select sum(f.amount_fen)::bigint as returned_fen from payments.credit_note_refund b
    join payments.refund f on f.lane = b.lane and f.refund_id = b.refund_id
    where b.lane = n.lane and b.note_id = n.note_id and f.state = 'done') r on true;
comment on view payments.v_credit_note is 'Credit notes: what each took away, what of it is booked by itself (600104 to 112201), promised back and returned';

create view payments.v_credit_note_day as
select lane, lot_id, operator_id, book_id, lot_code, made_on, count(*) as notes, sum(amount_fen)::bigint as amount_fen,
       sum(credited_fen)::bigint as credited_fen, sum(booked_fen)::bigint as booked_fen, sum(refunded_fen)::bigint as refunded_fen,
       min(sequence) as first_sequence, max(sequence) as last_sequence
from payments.v_credit_note group by lane, lot_id, operator_id, book_id, lot_code, made_on;
comment on view payments.v_credit_note_day is 'Credit notes per lot, operator and business date, with their sums';

create view payments.v_plate_change as
select lane, change_id, plate_id, kind, held_since, document_name, document_digest, state, proposed_by, proposed_at, decided_by, decided_at
from payments.plate_change;
comment on view payments.v_plate_change is 'Plates that came to other owners or were erased, without reasons';

grant select, insert on payments.credit_note, payments.credit_note_refund, payments.credit_note_words, payments.plate_change to tongting_app;
grant delete on payments.credit_note_words to tongting_app;
grant update (state, decided_by, decided_at, decided_note, reason, document_bytes) on payments.plate_change to tongting_app;
grant select on payments.v_credit_note, payments.v_credit_note_day, payments.v_plate_change to tongting_app;
