-- Debts 欠费: what cars that left owe, with partial payments, waivers and write-offs.

-- A firm that recovers debts for others keeps a book of what it earns.
alter table ledger.book drop constraint book_owner_kind_check;
alter table ledger.book add constraint book_owner_kind_check check (owner_kind in ('operator', 'platform', 'district', 'company'));

-- A charge can be paid in parts and reduced; what is left of it is amount - paid - reduced.
alter table payments.charge add column paid_fen bigint not null default 0 check (paid_fen >= 0);
alter table payments.charge add column reduced_fen bigint not null default 0 check (reduced_fen >= 0);
update payments.charge set paid_fen = amount_fen where state = 'settled';
alter table payments.charge add constraint charge_parts check (paid_fen + reduced_fen <= amount_fen);
alter table payments.charge drop constraint charge_state_check;
alter table payments.charge add constraint charge_state_check check (state in ('open', 'settled', 'waived', 'written_off', 'credited'));
alter table payments.charge add constraint charge_open check ((state = 'open') = (paid_fen + reduced_fen < amount_fen));
comment on column payments.charge.paid_fen is 'Sum of the payments that count for it, in fen; what was taken back counts no more';
comment on column payments.charge.reduced_fen is 'Sum of credit notes, waivers and write-offs that were not written back, in fen';
comment on column payments.charge.state is 'open: something is due; settled: paid; waived: let off; written_off: not expected any more; credited: taken away by a credit note';

alter table payments.payment_fact drop constraint payment_fact_treatment_check;
alter table payments.payment_fact add constraint payment_fact_treatment_check check (treatment in ('settled', 'part', 'second_payment', 'amount_differs'));
comment on column payments.payment_fact.treatment is 'How it was booked: settled (nothing is due any more), part (of a debt), second_payment, amount_differs (both in suspense)';

alter table payments.outbox add column charge_id uuid; -- Charge that the event is about: readers are told in order per charge
comment on column payments.outbox.charge_id is 'Charge that the event is about: readers are told in order per charge';

alter table payments.basket_charge add column part_fen bigint check (part_fen > 0); -- Part of it that the basket pays; null: all that is due
comment on column payments.basket_charge.part_fen is 'Part of it that the basket pays, in fen; null: all that is due';

create table payments.leave_rule ( -- Who may leave first, and until when it is to be paid: dated, for a lot, an operator or the whole city
    rule_id         integer generated always as identity primary key, -- Version; a later one of the same place replaces it from its date on
    operator_id     integer references payments.operator, -- Operator; null: every one that has none of its own
    lot_id          integer references payments.lot, -- Lot; null: all lots of the operator
    valid_from      timestamptz not null, -- From when on it counts
    document        text not null, -- Approving document
    admits          text not null check (admits in ('nobody', 'mandate', 'everyone')), -- Who may leave first: nobody, plates with a mandate, everyone
    debts_max       integer not null check (debts_max > 0), -- So many open debts a plate has at most when it leaves first
    owed_fen_max    bigint not null check (owed_fen_max > 0), -- So much it owes at most then, with the new one, in fen
    overdue_days_max integer not null check (overdue_days_max >= 0), -- No debt is overdue by more days
    checks_lists    boolean not null, -- A plate on a status list of the channels does not leave first
    due_days        integer not null check (due_days >= 0), -- Days after leaving until which a debt is to be paid
    entered_at      timestamptz not null, -- When the rule was entered
    check (lot_id is null or operator_id is not null),
    unique nulls not distinct (operator_id, lot_id, valid_from)
);
insert into payments.leave_rule (valid_from, document, admits, debts_max, owed_fen_max, overdue_days_max, checks_lists, due_days, entered_at)
values ('2020-01-01 00:00+08', 'default of the product, to be replaced by the city''s', 'mandate', 3, 30000, 30, true, 30, '2020-01-01 00:00+08');

create function payments.due_days_v1(operator integer, lot integer, at timestamptz) returns integer language sql stable as $$
    select due_days from payments.leave_rule
    where (operator_id is null or operator_id = operator) and (lot_id is null or lot_id = lot) and valid_from <= at
    order by lot_id nulls last, operator_id nulls last, valid_from desc limit 1
$$;
comment on function payments.due_days_v1 is 'Days after leaving until which a debt is to be paid, by the rule in force: the lot''s, else its operator''s, else the city''s';

create table payments.debt ( -- A charge whose car has left: the book carries it as a receivable (1122)
    charge_id       uuid not null, -- Charge
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Operator that it is owed to
    lot_id          integer not null, -- Lot of the stay
    plate_id        bigint not null, -- Plate that owes it
    owed_fen        bigint not null check (owed_fen >= 0), -- What is still due, in fen: the charge's amount - paid - reduced; 0 once it is not open
    basis           text not null check (basis in ('mandate', 'policy', 'escaped', 'card', 'taken_back')), -- Why it is owed: left first by mandate or by the lot's rule, left without leave, by card whose issuer decides, or the channel took its money back
    opened_at       timestamptz not null, -- When the car left, or the money was taken back
    due_on          date not null, -- Until then it is to be paid
    limitation_on   date not null, -- Last day on which it can be claimed in court: three years, begun anew by each demand
    disputed_at     timestamptz, -- When the driver disputed it; null: it is not disputed. Nothing is demanded meanwhile
    paused_until    date, -- No reminder and no deduction before that day: instalments, a promise, a complaint
    primary key (charge_id, lane)
) with (fillfactor = 80);
create index debt_plate on payments.debt (plate_id) include (owed_fen, due_on, opened_at, operator_id) where owed_fen > 0;
create index debt_due on payments.debt (due_on, charge_id) where owed_fen > 0;

-- What is owed today by cards whose issuers decide, and by payments that were taken back.
insert into payments.debt (charge_id, lane, operator_id, lot_id, plate_id, owed_fen, basis, opened_at, due_on, limitation_on)
select c.charge_id, c.lane, c.operator_id, c.lot_id, c.plate_id, case c.state when 'open' then c.amount_fen else 0 end,
       case when exists (select from payments.card_record r where r.lane = c.lane and r.charge_id = c.charge_id) then 'card' else 'taken_back' end,
       coalesce(c.left_at, c.created_at), (coalesce(c.left_at, c.created_at) at time zone 'Asia/Shanghai')::date + 30,
       (coalesce(c.left_at, c.created_at) at time zone 'Asia/Shanghai')::date + 30 + interval '3 years'
from payments.charge c where c.is_receivable;

alter table payments.plate add column held_since timestamptz; -- The plate came to another owner then: earlier stays never show to the new one
comment on column payments.plate.held_since is 'The plate came to another owner then: earlier stays never show to the new one';

create view payments.v_debt as
select d.lane, d.charge_id, d.operator_id, d.lot_id, d.plate_id, o.book_id, c.lot_serial, c.amount_fen, c.paid_fen, c.reduced_fen, d.owed_fen,
       d.basis, d.opened_at, d.due_on, d.limitation_on, d.disputed_at, d.paused_until, c.entered_at, c.left_at, c.settled_by, c.settled_at,
       case when c.state <> 'open' then c.state when d.disputed_at is not null then 'disputed'
            when exists (select from payments.payment p where p.lane = c.lane and p.charge_id = c.charge_id
                         and p.state in ('created', 'pending', 'unknown')) then 'reserved'
            else 'open' end as state
from payments.debt d
join payments.charge c on c.lane = d.lane and c.charge_id = d.charge_id
join payments.operator o on o.operator_id = d.operator_id;
comment on view payments.v_debt is 'Debts and where they stand: open, reserved (somebody is paying), disputed, settled, waived, written_off, credited';

grant select, insert on payments.leave_rule, payments.debt to tongting_app;
grant update (owed_fen, limitation_on, due_on, disputed_at, paused_until, plate_id) on payments.debt to tongting_app;
grant select on payments.v_debt to tongting_app;
grant execute on function payments.due_days_v1 to tongting_app;
