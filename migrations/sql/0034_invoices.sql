-- Invoices and refunds that drivers ask for on their receipt.

create table payments.refund_request ( -- A driver asks the lot's operator for money back, behind the link of the payment
    request_id      uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    payment_id      uuid not null, -- Payment that took the money
    charge_id       uuid not null, -- Charge that it paid
    operator_id     integer not null, -- Operator whose money it is
    lot_id          integer not null, -- Lot of the charge, which answers
    reason          text not null check (reason in ('paid_twice', 'wrong_plate', 'barrier', 'price_wrong', 'other')), -- Why, as the driver chose; barrier: it did not open
    words           text not null check (length(words) <= 300), -- The driver's own words; may be empty
    evidence_id     uuid not null, -- The form, verbatim
    asked_at        timestamptz not null, -- When
    answer_until    timestamptz not null, -- Until then the lot should answer
    remind_at       timestamptz not null, -- When the lot is told once more
    reminded_at     timestamptz, -- When it was
    state           text not null check (state in ('open', 'accepted', 'declined')), -- open: not answered
    amount_fen      bigint check (amount_fen > 0), -- Accepted: what goes back, in fen
    refund_id       uuid, -- Accepted: the refund that was promised
    answer          text, -- The lot's words
    answered_at     timestamptz, -- When it answered
    answered_by     text, -- API client that answered
    answer_evidence_id uuid, -- The answer, verbatim
    primary key (request_id, lane),
    check ((state = 'open') = (answered_at is null) and (state = 'accepted') = (refund_id is not null)),
    check ((refund_id is null) = (amount_fen is null)),
    check ((answered_at is null) = (answer_evidence_id is null)),
    check (state <> 'declined' or answer <> '')
);
create unique index refund_request_one on payments.refund_request (payment_id, lane) where state = 'open';
create index refund_request_payment on payments.refund_request (payment_id);
create index refund_request_lot on payments.refund_request (lot_id, asked_at);
create index refund_request_remind on payments.refund_request (remind_at) where state = 'open' and reminded_at is null;
create index refund_request_open on payments.refund_request (answer_until) where state = 'open';

create table payments.invoice_rule ( -- What a payment's payer may get of an operator or a lot, by the document that says so; dated
    rule_id         integer generated always as identity primary key, -- Number
    operator_id     integer references payments.operator, -- Operator; null: the whole city
    lot_id          integer references payments.lot, -- Lot; null: all lots of the operator
    kind            text not null check (kind in ('tax_invoice', 'fiscal_receipt', 'none')), -- tax_invoice: the operator sells, 数电发票; fiscal_receipt: public revenue, 财政票据; none: not here
    valid_from      timestamptz not null, -- Payments from then on
    document        text not null check (length(document) between 1 and 200), -- Document that says so
    entered_at      timestamptz not null, -- When it was entered
    check (lot_id is null or operator_id is not null),
    unique nulls not distinct (operator_id, lot_id, valid_from)
);

create table payments.invoice_batch ( -- Requests that were handed over to the issuer together
    batch_id        uuid not null, -- Time-ordered id; its digits are the name under which it is handed over
    lane            smallint not null, -- Lane
    lines           integer not null check (lines > 0), -- Requests in it
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of what was handed over
    body            bytea, -- What is to be handed over; gone once it has been, because it names persons
    made_at         timestamptz not null, -- When it was made
    handed_over_at  timestamptz, -- When the issuer had it
    primary key (batch_id, lane),
    check ((body is null) = (handed_over_at is not null))
);
create index invoice_batch_waiting on payments.invoice_batch (batch_id) where handed_over_at is null;

create table payments.invoice ( -- An invoice or fiscal receipt that a payer asked for, of one payment
    invoice_id      uuid not null, -- Time-ordered id: how the issuer knows the request
    lane            smallint not null, -- Lane of the operator's book
    payment_id      uuid not null, -- Payment
    operator_id     integer not null, -- Seller, or who issues the fiscal receipt
    lot_id          integer not null, -- Lot
    rule_id         integer not null references payments.invoice_rule, -- Rule in force when it was paid
    kind            text not null check (kind in ('tax_invoice', 'fiscal_receipt')), -- What it is
    buyer_kind      text not null check (buyer_kind in ('person', 'company')), -- Whose name it is made out to
    title           text not null check (length(title) between 1 and 100), -- Name that it is made out to
    tax_no          text check (tax_no ~ '^([0-9A-Z]{15}|[0-9A-Z]{18}|[0-9A-Z]{20})$'), -- Tax number of a company
    email           text, -- Where the issuer sends it; erased some days after it is over
    asked_at        timestamptz not null, -- When it was asked for
    state           text not null check (state in ('requested', 'handed_over', 'issued', 'refused')), -- Moves forward only
    amount_fen      bigint check (amount_fen > 0), -- Paid less refunded when it was handed over, in fen
    batch_id        uuid, -- Batch in which it was handed over
    number          text check (number ~ '^[0-9]{8,20}$'), -- Its number; of a tax invoice 20 digits
    issued_at       timestamptz, -- When it was issued, as the issuer says
    refused_words   text, -- Why it was not
    answered_at     timestamptz, -- When the answer was taken
    evidence_id     uuid, -- The issuer's answer, verbatim
    red_fen         bigint not null default 0 check (red_fen >= 0), -- What red ones take off it, in fen
    primary key (invoice_id, lane),
    check ((buyer_kind = 'company') = (tax_no is not null)),
    check ((state in ('requested', 'refused') or (amount_fen is not null and batch_id is not null))),
    check ((state = 'issued') = (number is not null) and (state = 'issued') = (issued_at is not null)),
    check ((state = 'refused') = (refused_words is not null)),
    check (state <> 'issued' or evidence_id is not null),
    check (kind <> 'tax_invoice' or length(number) = 20),
    check (red_fen <= coalesce(amount_fen, 0))
);
create unique index invoice_one on payments.invoice (payment_id, lane) where state <> 'refused';
create index invoice_payment on payments.invoice (payment_id);
create index invoice_requested on payments.invoice (invoice_id) where state = 'requested';
create unique index invoice_number on payments.invoice (kind, number, lane) where number is not null;
create index invoice_email on payments.invoice (answered_at) where email is not null;
create index invoice_waiting on payments.invoice (batch_id) where state = 'handed_over';

create table payments.invoice_red ( -- A red invoice 红字: it takes off an issued one what was refunded later
    red_id          uuid not null, -- Time-ordered id: how the issuer knows the request
    lane            smallint not null, -- Lane
    invoice_id      uuid not null, -- Invoice
    amount_fen      bigint not null check (amount_fen > 0), -- What it takes off, in fen
    asked_at        timestamptz not null, -- When it was found due
    state           text not null check (state in ('requested', 'handed_over', 'issued', 'refused')), -- refused: a person has to look at it
    batch_id        uuid, -- Batch in which it was handed over
    number          text check (number ~ '^[0-9]{8,20}$'), -- Its number
    issued_at       timestamptz, -- When it was issued
    refused_words   text, -- Why it was not
    answered_at     timestamptz, -- When the answer was taken
    evidence_id     uuid, -- The issuer's answer, verbatim
    primary key (red_id, lane),
    check (state in ('requested', 'refused') or batch_id is not null),
    check ((state = 'issued') = (number is not null) and (state = 'issued') = (issued_at is not null)),
    check ((state = 'refused') = (refused_words is not null)),
    check (state <> 'issued' or evidence_id is not null)
);
create index invoice_red_invoice on payments.invoice_red (invoice_id);
create index invoice_red_requested on payments.invoice_red (red_id) where state = 'requested';
create index invoice_red_waiting on payments.invoice_red (batch_id) where state = 'handed_over';

create table payments.invoice_file ( -- The structured original of an invoice, as it came
    subject_id      uuid not null, -- Invoice or red invoice
    lane            smallint not null, -- Lane
    name            text not null check (name ~ '^[^/]{1,120}$'), -- Name of the file
    media_type      text not null, -- What it is
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of its bytes
    body            bytea not null check (length(body) > 0), -- Its bytes
    kept_at         timestamptz not null, -- When it came
    primary key (subject_id, lane)
);

create table payments.invoice_answer_file ( -- A file of answers that was taken: the same bytes are taken once
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of its bytes
    lane            smallint not null, -- Lane
    name            text not null, -- Its name
    evidence_id     uuid not null, -- It, verbatim
    taken           integer not null, -- Lines that changed something
    refused         integer not null, -- Lines that were not
    taken_at        timestamptz not null, -- When
    primary key (digest, lane)
);

-- What was refunded or taken back lately: what issued invoices are compared with.
create index refund_done on payments.refund (done_at) where state = 'done';
create index payment_taken_back on payments.payment (taken_back_at) where taken_back_at is not null;

do $$
declare t text;
begin
    foreach t in array array['invoice_rule', 'invoice_file', 'invoice_answer_file'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

create view payments.v_invoice as
select i.lane, i.invoice_id, i.payment_id, i.operator_id, i.lot_id, i.kind, i.state, i.amount_fen, i.red_fen, i.number, i.asked_at, i.issued_at
from payments.invoice i;
comment on view payments.v_invoice is 'Invoices and fiscal receipts of payments, without whom they are made out to';
create view payments.v_refund_request as
select lane, request_id, payment_id, charge_id, operator_id, lot_id, reason, state, asked_at, answer_until, answered_at, amount_fen, refund_id
from payments.refund_request;
comment on view payments.v_refund_request is 'What drivers asked back and what became of it, without their words';

grant select, insert on payments.refund_request, payments.invoice_rule, payments.invoice_batch, payments.invoice, payments.invoice_red,
    payments.invoice_file, payments.invoice_answer_file to tongting_app;
grant update (reminded_at, state, amount_fen, refund_id, answer, answered_at, answered_by, answer_evidence_id) on payments.refund_request to tongting_app;
grant update (body, handed_over_at) on payments.invoice_batch to tongting_app;
grant update (email, state, amount_fen, batch_id, number, issued_at, refused_words, answered_at, evidence_id, red_fen) on payments.invoice to tongting_app;
grant update (state, batch_id, number, issued_at, refused_words, answered_at, evidence_id) on payments.invoice_red to tongting_app;
grant select on payments.v_invoice, payments.v_refund_request to tongting_app;
