-- Bills of the channels, their lines and what they were matched with.

create schema reconciliation;

create table reconciliation.bill ( -- One version of a channel's bill file, kept whole
    bill_id         uuid primary key, -- Time-ordered id
    channel         text not null, -- Channel
    kind            text not null check (kind in ('trade', 'fund')), -- Trade bill or fund bill
    merchant_no     text not null, -- Provider number that downloaded it
    bill_on         date not null, -- Business date of the bill
    version         integer not null check (version > 0), -- 1 for the first file of the day, then counting up
    digest          text not null, -- Digest of the uncompressed file as the channel states it
    lines           integer not null, -- Number of lines
    body            bytea not null, -- The file, uncompressed, byte for byte
    fetched_at      timestamptz not null, -- When it was downloaded
    unique (channel, kind, merchant_no, bill_on, version),
    unique (channel, kind, merchant_no, bill_on, digest)
);

create table reconciliation.bill_line ( -- One neutral line of a trade bill
    bill_id         uuid not null references reconciliation.bill, -- Bill
    line            integer not null, -- Number of the line in the file, from 1
    kind            text not null check (kind in ('payment', 'refund', 'revoked')), -- What the line tells of
    merchant_no     text not null, -- Operator's merchant number
    trade_no        text not null, -- Channel's trade number
    order_no        text not null, -- Our order number as the channel has it
    amount_fen      bigint not null, -- Amount of the order (payment) or of the refund, in fen
    fee_fen         bigint not null, -- Channel fee in fen, negative when given back
    happened_at     timestamptz not null, -- Time in the bill
    primary key (bill_id, line)
);

create table reconciliation.match_run ( -- One comparison of a bill with the book at a seal
    run_id          uuid primary key, -- Time-ordered id
    bill_id         uuid not null references reconciliation.bill, -- Bill compared
    tree_size       bigint not null, -- Seal at which the book was read
    lane            smallint not null, -- Lane of the seal
    matched         integer not null, -- Lines matched with a fact
    run_at          timestamptz not null -- When it ran
);

create table reconciliation.break_case ( -- A difference found by a comparison
    run_id          uuid not null references reconciliation.match_run, -- Comparison
    number          integer not null, -- Number in the run, from 1
    code            text not null, -- D01, D03, D04, ... (docs)
    merchant_no     text not null, -- Merchant number
    trade_no        text, -- Channel's trade number
    order_no        text, -- Our order number
    book_fen        bigint, -- What the book has, in fen
    bill_fen        bigint, -- What the bill has, in fen
    primary key (run_id, number)
);

grant usage on schema reconciliation to tongting_app;
grant select, insert on all tables in schema reconciliation to tongting_app;
do $$
declare t text;
begin
    foreach t in array array['bill', 'bill_line', 'match_run', 'break_case'] loop
        execute format('create trigger append_only_rows before update or delete on reconciliation.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on reconciliation.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;
