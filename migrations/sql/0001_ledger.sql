-- The book: batches, postings, seals and balances.
-- The lane is part of every key on the money path, so that a lane can live on its own machine. It stands last in keys that tell
-- rows apart: as the first column it would invite plans that walk a whole lane where statistics are young.

create schema ledger;

create table ledger.lane ( -- An independent log with its own sealer, tree and checkpoint; a book belongs to one lane
    lane            smallint primary key check (lane between 0 and 31), -- Number of the lane; also written into payment numbers
    origin          text not null unique, -- Origin line of the lane's checkpoints (C2SP tlog-checkpoint)
    verifier_key    text -- Public key of the lane's checkpoints in C2SP note form; set by the sealer at its first start
);

create table ledger.book ( -- One accounting entity: an operator, the platform's special account, a district's incentive account
    book_id         integer primary key check (book_id > 0), -- Number of the book
    lane            smallint not null references ledger.lane, -- Lane that orders this book's entries; never changes
    owner_kind      text not null check (owner_kind in ('operator', 'platform', 'district')), -- What kind of party owns the book
    owner_name      text not null, -- Legal name of the party
    opened_at       timestamptz not null -- When the book was opened
);

create sequence ledger.batch_number as bigint;

create table ledger.batch ( -- One commit of entries: the unit of writing and of sealing
    lane            smallint not null, -- Lane of all its entries
    batch_id        bigint not null, -- Number of the batch from ledger.batch_number; gaps are normal (rolled back transactions)
    transaction_id  xid8 not null default pg_current_xact_id(), -- Transaction that wrote it: gives the commit-safe order
    entries         integer not null check (entries > 0), -- Number of entries
    leaves          bytea not null, -- RFC 6962 leaf hashes of the entries in position order, 32 bytes each
    booked_at       timestamptz not null, -- When the entries were booked
    primary key (batch_id, lane),
    check (length(leaves) = entries * 32)
);
alter table ledger.batch alter column leaves set storage external; -- hashes do not compress
create index batch_transaction on ledger.batch (transaction_id, batch_id, lane);

create table ledger.posting ( -- One balanced row of an entry: debit account, credit account, amount
    amount_fen      bigint not null check (amount_fen > 0), -- Amount in fen, always positive
    batch_id        bigint not null, -- Batch that wrote the entry
    happened_at     timestamptz not null, -- When the business fact happened
    entry_id        uuid not null, -- Source id with the kind in the last byte: the key and the idempotency key
    evidence_id     uuid not null, -- Stored message, approved case or run that proves the fact
    book_id         integer not null, -- Book in which the entry lies
    debit_account   integer not null, -- Code of the account debited (chart of accounts)
    credit_account  integer not null, -- Code of the account credited (chart of accounts)
    position        integer not null check (position >= 0), -- Place of the entry in its batch, from 0
    booked_on       date not null, -- Business date (Asia/Shanghai)
    lane            smallint not null, -- Lane of the book
    line            smallint not null check (line >= 0), -- Number of the row inside its entry, from 0
    primary key (entry_id, line, lane),
    check (debit_account <> credit_account)
) partition by range (entry_id);
create index posting_batch on ledger.posting (batch_id);
create index posting_book_day on ledger.posting (book_id, booked_on);

create table ledger.seal ( -- One act of sealing: order, proof and balance of everything up to tree_size
    lane            smallint not null, -- Lane sealed
    seal_id         bigint not null, -- Dense number of the seal in its lane, from 1
    tree_size       bigint not null, -- Number of leaves under this seal
    root            bytea not null check (length(root) = 32), -- RFC 6962 tree hash over the first tree_size leaves
    checkpoint      text not null, -- Signed note (C2SP tlog-checkpoint, Ed25519)
    sealed_at       timestamptz not null, -- When the seal was made
    primary key (lane, seal_id),
    unique (lane, tree_size)
);

create table ledger.sealed_batch ( -- Gives each entry of a batch its dense index: first_index + position
    lane            smallint not null, -- Lane of the batch
    batch_id        bigint not null, -- Batch that was ordered
    seal_id         bigint not null, -- Seal that ordered it
    first_index     bigint not null, -- Leaf index of the batch's first entry
    entries         integer not null, -- Number of entries in the batch
    primary key (batch_id, lane),
    unique (first_index, lane)
);

create table ledger.book_seal ( -- Dense numbers of a book: the entries that one seal added to it
    lane            smallint not null, -- Lane of the book
    book_id         integer not null, -- Book
    seal_id         bigint not null, -- Seal that added the entries
    first_number    bigint not null, -- Number, in the book, of the first of them (the book's first entry has number 1)
    entries         bigint not null check (entries > 0), -- How many entries the seal added to the book
    primary key (book_id, seal_id, lane)
);

create table ledger.tile ( -- Full tiles of 256 tree hashes (levels from 1 up; level 0 is read from the batches)
    lane            smallint not null, -- Lane of the tree
    level           smallint not null, -- Level of the tile: a hash in it covers 256^level leaves
    tile_index      bigint not null, -- Number of the tile in its level
    hashes          bytea not null, -- 256 hashes, 32 bytes each
    primary key (lane, level, tile_index)
);
alter table ledger.tile alter column hashes set storage external;

create table ledger.lane_head ( -- Where the sealer of a lane stands
    lane            smallint primary key references ledger.lane, -- Lane
    seal_id         bigint not null, -- Last seal, 0 before the first
    tree_size       bigint not null, -- Leaves sealed so far
    ragged          bytea not null, -- Right edge of the tree: the hashes of the tiles not yet full, level 0 first
    sealed_xid      xid8 not null, -- Transaction of the last batch sealed ...
    sealed_batch    bigint not null, -- ... and its number: batches are sealed in the order (transaction, number)
    cluster         text not null -- System identifier of the PostgreSQL cluster whose transaction ids these are
);

create table ledger.balance ( -- Sealed balances: the fold of all sealed postings
    lane            smallint not null, -- Lane of the book
    book_id         integer not null, -- Book
    account         integer not null, -- Account code
    debit_fen       bigint not null check (debit_fen >= 0), -- Sum of sealed debits in fen
    credit_fen      bigint not null check (credit_fen >= 0), -- Sum of sealed credits in fen
    entries         bigint not null, -- Number of sealed rows that touched the account
    primary key (book_id, account, lane)
) with (fillfactor = 50);

create table ledger.book_head ( -- Number of sealed entries of each book
    lane            smallint not null, -- Lane of the book
    book_id         integer not null, -- Book
    entries         bigint not null, -- Number of its last sealed entry
    primary key (book_id, lane)
) with (fillfactor = 50);

-- Append only: the second wall behind the grants.
create function ledger.refuse_change_v1() returns trigger language plpgsql as $$
begin
    raise exception 'ledger.% is append-only: % is refused; post a reversal instead', tg_table_name, tg_op
        using errcode = 'restrict_violation';
end $$;

do $$
declare t text;
begin
    foreach t in array array['batch', 'posting', 'seal', 'sealed_batch', 'book_seal', 'tile'] loop
        execute format('create trigger append_only_rows before update or delete on ledger.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on ledger.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

-- Monthly partitions over time-ordered ids. Runs with the owner's rights, so that the application may call it.
create function ledger.month_floor_v1(month date) returns uuid language sql immutable as $$
    select (lpad(to_hex((extract(epoch from month::timestamp at time zone 'UTC') * 1000)::bigint), 12, '0')
            || repeat('0', 20))::uuid
$$;
comment on function ledger.month_floor_v1(date) is 'Smallest time-ordered id of a month (UTC)';

create function ledger.ensure_months_v1(parent regclass, first_month date, months integer) returns integer
language plpgsql security definer set search_path = pg_catalog, ledger as $$
declare
    month date := date_trunc('month', first_month)::date;
    namespace text;
    parent_name text;
    child text;
    made integer := 0;
begin
    select n.nspname, c.relname into namespace, parent_name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = parent and c.relkind = 'p' and n.nspname in ('ledger', 'gateways', 'payments');
    if namespace is null then
        raise exception '% is not a partitioned table of the product', parent;
    end if;
    perform pg_advisory_xact_lock(hashtext('ensure_months'));
    for i in 1..months loop
        child := parent_name || '_' || to_char(month, 'YYYYMM');
        if to_regclass(format('%I.%I', namespace, child)) is null then
            execute format('create table %I.%I partition of %s for values from (%L) to (%L)', namespace, child, parent,
                ledger.month_floor_v1(month), ledger.month_floor_v1((month + interval '1 month')::date));
            made := made + 1;
        end if;
        month := (month + interval '1 month')::date;
    end loop;
    return made;
end $$;
comment on function ledger.ensure_months_v1(regclass, date, integer) is 'Create the monthly partitions that are still missing; returns how many were made';

create table ledger.posting_other partition of ledger.posting default; -- catches ids outside the prepared months; an alarm watches it

create view ledger.v_posting as
select p.lane, p.entry_id, p.line, get_byte(uuid_send(p.entry_id), 15) as kind, p.book_id, p.debit_account, p.credit_account,
       p.amount_fen, p.happened_at, p.booked_on, p.evidence_id, b.booked_at, p.batch_id, p.position,
       s.seal_id, s.first_index + p.position as leaf_index
from ledger.posting p
join ledger.batch b on b.lane = p.lane and b.batch_id = p.batch_id
left join ledger.sealed_batch s on s.lane = p.lane and s.batch_id = p.batch_id;
comment on view ledger.v_posting is 'Posting rows with their dense index; the index is null while the entry is unsealed';

create view ledger.v_place as
select p.lane, p.entry_id, p.book_id, s.first_index + p.position as leaf_index
from ledger.posting p
left join ledger.sealed_batch s on s.lane = p.lane and s.batch_id = p.batch_id
where p.line = 0;
comment on view ledger.v_place is 'Where each entry stands in its lane; the index is null while the entry is unsealed';

create view ledger.v_book as select book_id, lane, owner_kind, owner_name, opened_at from ledger.book;
comment on view ledger.v_book is 'Books and their owners';

-- Grants.
grant usage on schema ledger to tongting_app;
grant select on all tables in schema ledger to tongting_app;
grant usage on sequence ledger.batch_number to tongting_app;
grant insert on ledger.batch, ledger.posting, ledger.seal, ledger.sealed_batch, ledger.book_seal, ledger.tile, ledger.book, ledger.lane, ledger.lane_head, ledger.balance, ledger.book_head to tongting_app;
grant update on ledger.lane_head, ledger.balance, ledger.book_head to tongting_app;
grant update (verifier_key) on ledger.lane to tongting_app;
