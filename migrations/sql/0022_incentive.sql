-- Recovery incentive 合作欠费追缴激励: who owned a debt, who recovered it, and what the one owes the other for it.
-- Apart from drivers' money: shares lie on accounts of their own (224103, 122101) and are settled between the parties.

create table payments.party ( -- A party that owns debts or recovers them, with its book
    party_id        integer primary key, -- Number of the party
    lane            smallint not null, -- Lane of its book
    kind            text not null check (kind in ('operator', 'platform', 'district', 'company')), -- What it is; company: a firm that recovers debts for others
    code            text not null, -- Public code; an operator's is its own
    name            text not null, -- Legal name
    book_id         integer not null unique references ledger.book, -- Its book
    operator_id     integer unique references payments.operator, -- The operator that it is
    district        text unique, -- The district whose bureau it is
    registered_at   timestamptz not null, -- When it was registered
    unique (kind, code),
    check ((kind = 'operator') = (operator_id is not null) and (kind = 'district') = (district is not null))
);
create unique index party_platform on payments.party (kind) where kind = 'platform'; -- there is one

create table payments.recovery_assignment ( -- Debts given to a party to recover, dated, with its document
    assignment_id   uuid not null, -- Version, time-ordered; sealed in the tree under this id
    lane            smallint not null, -- Lane
    recoverer_id    integer references payments.party, -- Who recovers them; null: nobody any more
    operator_id     integer references payments.operator, -- Debts to this operator; null: to every one
    district        text, -- Debts of lots in this district; null: in every one
    days_min        integer not null check (days_min >= 0), -- Debts of at least so many days when they are paid
    valid_from      timestamptz not null, -- From when on it counts; a later one of the same operator, district and days replaces it
    document        text not null check (document <> ''), -- Mandate that it is taken from
    entered_at      timestamptz not null, -- When it was entered
    primary key (assignment_id, lane),
    unique nulls not distinct (operator_id, district, days_min, valid_from)
);

create table payments.incentive_rule ( -- What is owed to whom for a recovered debt, dated, with its document
    rule_id         uuid not null, -- Version, time-ordered; sealed in the tree under this id
    lane            smallint not null, -- Lane
    operator_id     integer references payments.operator, -- Debts to this operator; null: to every one
    district        text, -- Debts of lots in this district; null: in every one
    recovered_by    text not null check (recovered_by in ('operator', 'platform', 'district', 'company')), -- Recovered by a party of this kind
    recoverer_id    integer references payments.party, -- Recovered by this party; null: by any of the kind
    valid_from      timestamptz not null, -- Payments from then on; a later one for the same replaces it
    document        text not null check (document <> ''), -- Approval that it is taken from
    entered_at      timestamptz not null, -- When it was entered
    primary key (rule_id, lane),
    unique nulls not distinct (operator_id, district, recovered_by, recoverer_id, valid_from)
);
create table payments.incentive_share ( -- One share by a rule; a rule without shares ends what is owed
    rule_id         uuid not null, -- Rule
    lane            smallint not null, -- Lane of the rule
    number          smallint not null check (number > 0), -- Place, from 1; decides between equal remainders
    days_min        integer not null check (days_min >= 0), -- For debts of at least so many days when they are paid; the highest such number of the rule counts, with all its shares
    party_id        integer references payments.party, -- Who gets it; null: who recovered the debt
    share_bps       integer not null check (share_bps between 0 and 10000), -- Share of what was recovered, in basis points
    cap_fen         bigint check (cap_fen > 0), -- At most so much for one payment, in fen
    primary key (rule_id, number, lane)
);

alter table payments.pay_order add column recoverer_id integer references payments.party; -- Party through whose effort the payer came, when a reference says so
comment on column payments.pay_order.recoverer_id is 'Party through whose effort the payer came, when a reference says so';
alter table payments.basket add column recoverer_id integer references payments.party; -- Party through whose effort the payer came, when a reference says so
comment on column payments.basket.recoverer_id is 'Party through whose effort the payer came, when a reference says so';

create table payments.recovery ( -- A payment that counted for a debt, and through whose effort it came
    payment_id      uuid not null, -- Payment
    lane            smallint not null, -- Lane of the payment
    charge_id       uuid not null, -- Debt
    owner_id        integer not null, -- Party that the debt was owed to
    recoverer_id    integer not null, -- Party that recovered it; the owner itself where nobody else did
    basis           text not null check (basis in ('card', 'reference', 'assignment', 'city_window', 'own')), -- Why: the card's issuer paid as agreed, a reference with the order, an assignment in force, another operator's code was scanned, none of these
    assignment_id   uuid, -- Assignment that says so
    scanned_lot_id  integer, -- Lot whose code was scanned
    district        text not null, -- District of the debt's lot
    days            integer not null check (days >= 0), -- Age of the debt in days when it was paid
    recovered_fen   bigint not null check (recovered_fen > 0), -- Amount paid, in fen
    happened_at     timestamptz not null, -- When it was paid
    evidence_id     uuid not null, -- Message that proves the payment
    attributed_at   timestamptz not null, -- When this was found out
    primary key (payment_id, lane)
);
create index recovery_by_others on payments.recovery (happened_at, payment_id) where recoverer_id <> owner_id;

create table payments.incentive_line ( -- A share given for a recovered payment, or taken back from one
    line_id         uuid not null, -- Time-ordered id: source of its entry in either book
    lane            smallint not null, -- Lane of the payment
    payment_id      uuid not null, -- Payment
    number          smallint not null, -- Number of the share in its rule
    turn            smallint not null check (turn >= 0), -- 0: the share was given; later ones correct it
    rule_id         uuid not null, -- Rule
    owner_id        integer not null, -- Party that owes it
    recoverer_id    integer not null, -- Party that it is owed to
    amount_fen      bigint not null check (amount_fen > 0), -- Amount in fen
    returned        boolean not null, -- It is less by this: the payment was refunded or taken back
    happened_at     timestamptz not null, -- When the debt was paid, or the money went back
    booked_on       date not null, -- Business date of its entries (Asia/Shanghai)
    evidence_id     uuid not null, -- Message that proves it
    primary key (line_id, lane),
    unique (payment_id, number, turn, lane),
    check (owner_id <> recoverer_id),
    check (turn > 0 or not returned)
);
create index incentive_line_pair on payments.incentive_line (owner_id, recoverer_id, booked_on);

create table payments.incentive_cursor ( -- How far a lane's sealed entries have been read; its row is the lock of who reads on
    lane            smallint primary key, -- Lane
    leaf_index      bigint not null -- Entries below this index have been read
);

create table payments.incentive_settlement ( -- What one party pays another for lines up to a date: proposed by one person, approved by another
    settlement_id   uuid not null, -- Time-ordered id: source and evidence of its entries
    lane            smallint not null, -- Lane
    owner_id        integer not null references payments.party, -- Party that pays
    recoverer_id    integer not null references payments.party, -- Party that is paid
    until_on        date not null, -- Lines booked until then (Asia/Shanghai)
    lines           integer not null check (lines > 0), -- Number of its lines
    amount_fen      bigint not null check (amount_fen > 0), -- Shares given less shares taken back, in fen
    digest          bytea not null check (length(digest) = 32), -- SHA-256 over its lines: what the second person approves
    state           text not null check (state in ('proposed', 'approved', 'rejected', 'paid')), -- Where it stands
    made_by         text not null check (made_by <> ''), -- Maker 经办: staff code
    made_at         timestamptz not null, -- When
    decided_by      text, -- Checker 复核: staff code
    decided_at      timestamptz, -- When
    decided_note    text, -- The checker's words
    slip            text check (slip <> ''), -- Number of the bank slip
    paid_on         date, -- Date of the bank slip
    entered_by      text, -- Who entered the slip
    entered_at      timestamptz, -- When
    primary key (settlement_id, lane),
    check (decided_by is distinct from made_by), -- maker and checker are two persons
    check ((state = 'proposed') = (decided_by is null) and (decided_by is null) = (decided_at is null)),
    check ((state = 'paid') = (slip is not null and paid_on is not null and entered_by is not null and entered_at is not null))
);
create unique index incentive_settlement_slip on payments.incentive_settlement (owner_id, slip) where slip is not null;
create table payments.incentive_settlement_line ( -- A line of a settlement; a line is in one that was not rejected at most
    settlement_id   uuid not null, -- Settlement
    lane            smallint not null, -- Lane
    line_id         uuid not null, -- Line
    is_live         boolean not null default true, -- The settlement was not rejected
    primary key (settlement_id, line_id, lane)
);
create unique index incentive_settlement_line_once on payments.incentive_settlement_line (line_id, lane) where is_live;

do $$
declare t text;
begin
    foreach t in array array['recovery_assignment', 'incentive_rule', 'incentive_share', 'recovery', 'incentive_line'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

create function payments.settlement_forward_v1() returns trigger language plpgsql as $$
begin
    if (old.state, new.state) not in (('proposed', 'approved'), ('proposed', 'rejected'), ('approved', 'paid')) then
        raise exception 'settlement % is % and cannot become %', old.settlement_id, old.state, new.state using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger settlement_forward before update on payments.incentive_settlement for each row execute function payments.settlement_forward_v1();

create view ledger.v_sealed_batch as select lane, seal_id, batch_id, first_index, entries from ledger.sealed_batch;
comment on view ledger.v_sealed_batch is 'Batches in sealed order: whoever follows the book reads on from an index';
create view ledger.v_sealed_posting as
select s.lane, s.first_index, s.first_index + p.position as leaf_index, p.entry_id, p.line, get_byte(uuid_send(p.entry_id), 15) as kind,
       p.book_id, p.debit_account, p.credit_account, p.amount_fen, p.happened_at, p.booked_on, p.evidence_id
from ledger.sealed_batch s join ledger.posting p on p.lane = s.lane and p.batch_id = s.batch_id;
comment on view ledger.v_sealed_posting is 'Sealed posting rows by the first index of their batch: whoever follows the book reads on from an index';

create view payments.v_recovery as
select lane, payment_id, charge_id, owner_id, recoverer_id, basis, assignment_id, scanned_lot_id, district, days, recovered_fen, happened_at
from payments.recovery;
comment on view payments.v_recovery is 'Payments that counted for debts, and through whose effort they came';
create view payments.v_incentive_line as
select i.lane, i.line_id, i.payment_id, i.rule_id, i.owner_id, i.recoverer_id, i.amount_fen, i.returned, i.happened_at, i.booked_on,
       s.settlement_id, s.state as settlement_state
from payments.incentive_line i
left join payments.incentive_settlement_line x on x.lane = i.lane and x.line_id = i.line_id and x.is_live
left join payments.incentive_settlement s on s.lane = x.lane and s.settlement_id = x.settlement_id;
comment on view payments.v_incentive_line is 'Shares for recovered debts with the settlement they are in';

grant select, insert on payments.party, payments.recovery_assignment, payments.incentive_rule, payments.incentive_share, payments.recovery,
    payments.incentive_line, payments.incentive_cursor, payments.incentive_settlement, payments.incentive_settlement_line to tongting_app;
grant update (recoverer_id) on payments.pay_order, payments.basket to tongting_app;
grant update on payments.incentive_cursor to tongting_app;
grant update (state, decided_by, decided_at, decided_note, slip, paid_on, entered_by, entered_at) on payments.incentive_settlement to tongting_app;
grant update (is_live) on payments.incentive_settlement_line to tongting_app;
grant select on ledger.v_sealed_batch, ledger.v_sealed_posting, payments.v_recovery, payments.v_incentive_line to tongting_app;
