-- Bills of the channels, their lines and what they were matched with.

create schema reconciliation;

create table reconciliation.bill ( -- One version of a channel's bill file, kept whole
    bill_id         uuid primary key, -- Time-ordered id
    channel         text not null, -- Channel
    kind            text not null check (kind in ('trade', 'fund')), -- Trade bill or fund bill
    provider_no     text not null, -- Service provider's number that downloaded it
    bill_on         date not null, -- Business date of the bill
    version         integer not null check (version > 0), -- 1 for the first file of the day, then counting up
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of the uncompressed file
    lines           integer not null check (lines >= 0), -- Number of lines
    total_fen       bigint not null check (total_fen >= 0), -- Sum of the orders in fen, as the file states it
    refund_fen      bigint not null check (refund_fen >= 0), -- Sum of the refunds in fen, as the file states it
    fee_fen         bigint not null, -- Channel fees in fen, net of fees given back
    body            bytea not null, -- The file, uncompressed, byte for byte; empty when the channel says nothing happened that day
    fetched_at      timestamptz not null, -- When it was downloaded
    unique (channel, kind, provider_no, bill_on, version),
    unique (channel, kind, provider_no, bill_on, digest)
);

create table reconciliation.refused_bill ( -- A file that was announced and could not be taken (D16): cut, totals differ, other digest
    refused_id      uuid primary key, -- Time-ordered id
    channel         text not null, -- Channel
    provider_no     text not null, -- Service provider's number that downloaded it
    bill_on         date not null, -- Business date asked for
    code            text not null, -- Why, in a stable word
    detail          text not null, -- Why, in a sentence
    body            bytea not null, -- The uncompressed file; empty when already its digest was not the announced one
    refused_at      timestamptz not null -- When it came
);
create index refused_bill_day on reconciliation.refused_bill (bill_on);

create table reconciliation.bill_line ( -- One neutral line of a trade bill
    bill_id         uuid not null references reconciliation.bill, -- Bill
    line            integer not null check (line > 0), -- Number of the line in the file, from 1
    kind            text not null check (kind in ('payment', 'refund', 'revoked')), -- What the line tells of
    merchant_no     text not null, -- Operator's merchant number
    trade_no        text not null, -- Channel's trade number
    order_no        text not null, -- Our order number as the channel has it
    refund_no       text, -- Our refund number, on refund lines
    payment_lane    smallint, -- Lane read from the order number; null when the number is not one of ours
    payment_id      uuid, -- Payment read from the order number; null when the number is not one of ours
    amount_fen      bigint not null, -- Amount of the order (payment) or of the refund, in fen
    fee_fen         bigint not null, -- Channel fee in fen, negative when given back
    happened_at     timestamptz not null, -- Time in the bill
    primary key (bill_id, line),
    check ((payment_lane is null) = (payment_id is null))
);

create table reconciliation.match_run ( -- One comparison of a bill with the book at a seal
    run_id          uuid primary key, -- Time-ordered id
    bill_id         uuid not null references reconciliation.bill, -- Bill compared
    lane            smallint not null, -- Lane of the seal
    tree_size       bigint not null check (tree_size >= 0), -- Seal at which the book was read
    matched         integer not null check (matched >= 0), -- Lines that agree with a fact in every fen
    matched_fen     bigint not null check (matched_fen >= 0), -- Their sum in fen
    differences     integer not null check (differences >= 0), -- Number of differences
    run_at          timestamptz not null, -- When it ran
    unique (bill_id, lane, tree_size)
);

create table reconciliation.match_pair ( -- A bill line and the payment fact that it agrees with: each is used up once
    run_id          uuid not null, -- Comparison, written in the same statement: no foreign key, which would cost more than the pairs
    line            integer not null, -- Line of the bill
    payment_id      uuid not null, -- Payment of the fact
    trade_no        text not null, -- Channel's trade number of both
    merchant_no     text not null, -- Merchant number of both
    primary key (run_id, line),
    unique (run_id, merchant_no, trade_no)
);
create index match_pair_trade on reconciliation.match_pair (trade_no);

create table reconciliation.break_case ( -- A difference found by a comparison
    run_id          uuid not null references reconciliation.match_run, -- Comparison
    number          integer not null check (number > 0), -- Number in the run, from 1
    code            text not null check (code ~ '^D[0-9]{2}$'), -- Name of the difference (docs/RECONCILIATION.md)
    line            integer, -- Line of the bill, where there is one
    merchant_no     text not null, -- Merchant number
    trade_no        text not null, -- Channel's trade number
    order_no        text, -- Our order number, as the bill or as the book has it
    payment_id      uuid, -- Payment, when known
    operator_id     integer, -- Operator concerned, when known
    book_fen        bigint, -- What the book has, in fen; null when it has nothing
    bill_fen        bigint, -- What the bill has, in fen; null when it has nothing
    is_new          boolean not null, -- False when the comparison before this one, of the same day, had the same difference
    primary key (run_id, number),
    check (book_fen is not null or bill_fen is not null)
);

create function reconciliation.payment_entry_v1(payment_id uuid, kind integer default 1) returns uuid language sql immutable parallel safe as $$
    select encode(set_byte(uuid_send(payment_id), 15, kind), 'hex')::uuid
$$;
comment on function reconciliation.payment_entry_v1(uuid, integer) is 'Id of the entry that a payment fact gave rise to; kind 129 is its reversal';

grant usage on schema reconciliation to tongting_app;
grant select, insert on all tables in schema reconciliation to tongting_app;
do $$
declare t text;
begin
    foreach t in array array['bill', 'refused_bill', 'bill_line', 'match_run', 'match_pair', 'break_case'] loop
        execute format('create trigger append_only_rows before update or delete on reconciliation.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on reconciliation.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;
