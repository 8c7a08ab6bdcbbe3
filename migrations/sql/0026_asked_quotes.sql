-- Quotes that are asked of lots' systems while a payer waits.

create table payments.quote_endpoint ( -- Where a lot's system is asked what a plate owes now
    endpoint_id     uuid primary key, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    lot_id          integer not null references payments.lot, -- Lot
    url             text not null, -- Address that is asked
    timeout_ms      integer not null check (timeout_ms between 200 and 10000), -- How long an answer is waited for, in milliseconds
    secret          bytea not null, -- Secret that questions are signed with, encrypted (AES-SIV) with the installation's key
    old_secret      bytea, -- Secret before the last change, encrypted; signs as well until old_until
    old_until       timestamptz, -- End of the overlap
    failures        integer not null default 0 check (failures >= 0), -- Questions in a row without a usable answer
    tried_at        timestamptz, -- When the last of them was asked
    last_error      text, -- Why it was of no use; null: the last answer was good
    created_at      timestamptz not null, -- When it was entered
    created_by      text not null, -- API client
    changed_at      timestamptz not null, -- When its owner changed it last
    ended_at        timestamptz, -- When its owner ended it
    check ((old_secret is null) = (old_until is null))
);
create unique index quote_endpoint_once on payments.quote_endpoint (lot_id, lane) where ended_at is null;

create table payments.charge_quote ( -- A charge that is the price of a moment: a lot's answer to our question, good until a moment
    charge_id       uuid not null, -- Charge
    lane            smallint not null, -- Lane
    lot_id          integer not null, -- Lot
    serial          text not null, -- The lot's own serial of the quote; charges cut for several payees share it
    stay_serial     text not null, -- The lot's own serial of the stay: a newer quote of it takes the place of an older one
    valid_until     timestamptz not null, -- Until then the lot takes this price as full payment
    asked_at        timestamptz not null, -- When the last question was asked whose answer held it
    evidence_id     uuid not null, -- Question and answer, verbatim, that it came with first
    superseded_at   timestamptz, -- When a newer quote of the stay took its place; its charge is then credited in full
    superseded_by   text, -- Serial of that quote
    superseded_fen  bigint check (superseded_fen > 0), -- What was still due of it then, in fen: by so much the charge was reduced
    primary key (charge_id, lane),
    check ((superseded_at is null) = (superseded_by is null) and (superseded_at is null) = (superseded_fen is null))
) with (fillfactor = 80);
create index charge_quote_stay on payments.charge_quote (lot_id, stay_serial);
create index charge_quote_serial on payments.charge_quote (lot_id, serial);
comment on column payments.charge.state is 'open: something is due; settled: paid; waived: let off; written_off: not expected any more; credited: taken away by a credit note, or a quote whose place a newer one took';

create table payments.quote_refusal ( -- A quote in a lot's answer that could not be taken
    refusal_id      uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    lot_id          integer not null, -- Lot
    serial          text not null, -- The lot's own serial of the quote, cut to 64 characters
    field           text not null, -- What is wrong
    reason          text not null, -- Why, in a stable word
    detail          text not null, -- Why, in words; never names a plate
    evidence_id     uuid not null, -- Question and answer, verbatim
    refused_at      timestamptz not null, -- When
    primary key (refusal_id, lane)
);
create index quote_refusal_lot on payments.quote_refusal (lot_id, refused_at);
create trigger append_only_rows before update or delete on payments.quote_refusal for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.quote_refusal for each statement execute function ledger.refuse_change_v1();

create view payments.v_charge_quote as
select charge_id, lane, lot_id, serial, stay_serial, valid_until, asked_at, evidence_id, superseded_at, superseded_by, superseded_fen
from payments.charge_quote;
comment on view payments.v_charge_quote is 'Charges that are quotes of a moment: until when they can be paid, and which newer one took their place';

grant select, insert on payments.quote_endpoint, payments.charge_quote, payments.quote_refusal to tongting_app;
grant update (url, timeout_ms, secret, old_secret, old_until, failures, tried_at, last_error, changed_at, ended_at) on payments.quote_endpoint to tongting_app;
grant update (valid_until, asked_at, superseded_at, superseded_by, superseded_fen) on payments.charge_quote to tongting_app;
grant select on payments.v_charge_quote to tongting_app;
