-- Receipts of deductions, and invoices that are tried again.

create table payments.receipt_link ( -- A link to the receipt of a deduction, given to the signer of its mandate alone
    token_digest    bytea not null check (length(token_digest) = 32), -- SHA-256 of the token in the link
    lane            smallint not null, -- Lane
    payment_id      uuid not null, -- Payment that took the money
    agreement_id    uuid not null, -- Agreement whose signer was given it
    made_at         timestamptz not null, -- When
    primary key (token_digest, lane)
);

-- Invoices: made out anew, red ones tried again, both by the dated rule.
alter table payments.invoice_rule
    add column correct_days integer not null default 0 check (correct_days between 0 and 3650),
    add column red_days integer not null default 365 check (red_days between 1 and 3650);
comment on column payments.invoice_rule.correct_days is 'So many days after it was issued its buyer may have it made out to another name or tax number; 0: not here';
comment on column payments.invoice_rule.red_days is 'What is refunded within so many days of the payment is taken off its invoice; 365: as long as channels refund';
alter table payments.invoice
    add column corrects uuid,
    add column replaced_at timestamptz,
    add constraint invoice_replaced check (replaced_at is null or state = 'issued');
comment on column payments.invoice.corrects is 'Invoice in whose place it comes, made out to the right buyer; it waits until red ones have taken all of that off';
comment on column payments.invoice.replaced_at is 'When its buyer had it made out anew: red ones take off all that was left of it';
drop index payments.invoice_one;
create unique index invoice_one on payments.invoice (payment_id, operator_id, lane) where state <> 'refused' and replaced_at is null;
alter table payments.invoice_red
    add column cause text not null default 'refund' check (cause in ('refund', 'correction')),
    add column try smallint not null default 1 check (try > 0),
    add column retry_at timestamptz,
    add column again_id uuid,
    add constraint invoice_red_retried check ((retry_at is null and again_id is null) or state = 'refused');
comment on column payments.invoice_red.cause is 'refund: that much went back; correction: the invoice is made out anew';
comment on column payments.invoice_red.try is 'Which try it is, from 1';
comment on column payments.invoice_red.retry_at is 'Refused: when it is asked for again by itself; null: it was, or it waits for a person';
comment on column payments.invoice_red.again_id is 'Refused: the one that was asked for in its place';
update payments.invoice_red set retry_at = answered_at where state = 'refused';
create index invoice_red_retry on payments.invoice_red (retry_at) where retry_at is not null;
create index invoice_red_stuck on payments.invoice_red (answered_at) where state = 'refused' and retry_at is null and again_id is null;
create index invoice_lot on payments.invoice (lot_id, asked_at);
create index invoice_asked on payments.invoice (asked_at);
create index invoice_red_asked on payments.invoice_red (asked_at);

create or replace view payments.v_invoice as
select i.lane, i.invoice_id, i.payment_id, i.operator_id, i.lot_id, i.kind, i.state, i.amount_fen, i.red_fen, i.number, i.asked_at, i.issued_at,
       i.corrects, i.replaced_at
from payments.invoice i;
comment on view payments.v_invoice is 'Invoices and fiscal receipts of payments, without whom they are made out to';
create view payments.v_invoice_red as
select r.lane, r.red_id, r.invoice_id, r.amount_fen, r.cause, r.try, r.retry_at, r.number, r.asked_at, r.issued_at,
       case when r.state <> 'refused' then r.state when r.again_id is not null then 'replaced' when r.retry_at is not null then 'retry'
            else 'stuck' end as state
from payments.invoice_red r;
comment on view payments.v_invoice_red is 'Red invoices and where each stands: requested, handed_over, issued, retry (refused, tried again by itself), replaced (refused, and asked for anew), stuck (a person looks at it)';

-- Mandates: open ones are asked about again, and who signed is forgotten in the end.
create table payments.agreement_watch ( -- An agreement that stands open: when its channel last said so; no row when it does not
    agreement_id    uuid not null, -- Agreement
    lane            smallint not null, -- Lane
    channel         text not null, -- Channel
    confirmed_at    timestamptz not null, -- When the channel last said that it is open, of plate and payer
    due_at          timestamptz, -- When it is asked about all the same; null: some days after it was confirmed
    tries           smallint not null default 0, -- Times in a row that the channel proved nothing
    primary key (agreement_id, lane)
);
create index agreement_watch_confirmed on payments.agreement_watch (channel, confirmed_at) where due_at is null;
create index agreement_watch_due on payments.agreement_watch (channel, due_at) where due_at is not null;
insert into payments.agreement_watch (agreement_id, lane, channel, confirmed_at)
select a.agreement_id, a.lane, a.channel, e.happened_at
from payments.agreement a join payments.agreement_event e on e.lane = a.lane and e.agreement_id = a.agreement_id
where e.kind = 'open'
  and e.number = (select max(l.number) from payments.agreement_event l where l.lane = e.lane and l.agreement_id = e.agreement_id);
alter table payments.agreement_event add column confirmed_at timestamptz;
comment on column payments.agreement_event.confirmed_at is 'Of one that stood open: when its channel had last said so';
create function payments.watch_agreement_v1() returns trigger language plpgsql as $$
begin
    if new.kind = 'open' then
        insert into payments.agreement_watch (agreement_id, lane, channel, confirmed_at)
        select a.agreement_id, a.lane, a.channel, new.happened_at
        from payments.agreement a where a.lane = new.lane and a.agreement_id = new.agreement_id
        on conflict (agreement_id, lane) do update set confirmed_at = excluded.confirmed_at, due_at = null, tries = 0;
    else
        delete from payments.agreement_watch w where w.lane = new.lane and w.agreement_id = new.agreement_id
        returning w.confirmed_at into new.confirmed_at;
    end if;
    return new;
end $$;
comment on function payments.watch_agreement_v1 is 'An agreement that stands open is watched, another one is not';
create trigger agreement_watched before insert on payments.agreement_event for each row execute function payments.watch_agreement_v1();

create function payments.hold_consent_v1(plate_number text, plate_color text, over text) returns boolean language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('consent ' || over || ' ' || plate_number, 0));
    return payments.consent_ended_v1(plate_number, plate_color, over); -- volatile: it sees what was committed while this waited
end $$;
comment on function payments.hold_consent_v1 is 'Wait for whoever is ending deductions from a plate over a channel, then tell whether they have ended; held until the transaction ends';

create table payments.agreement_keeping ( -- How long it is kept who signed a mandate after its end, by the law that says so; dated, never changed
    keeping_id      integer generated always as identity primary key, -- Number
    valid_from      timestamptz not null unique, -- From then on
    years           smallint not null check (years between 3 and 30), -- Years after the mandate's end
    document        text not null check (length(document) between 1 and 200), -- Law or document that says so
    entered_at      timestamptz not null -- When it was entered
);
insert into payments.agreement_keeping (valid_from, years, document, entered_at)
values ('2019-12-31T16:00:00Z', 3, '电子商务法第三十一条（交易信息自交易完成之日起不少于三年）；民法典第一百八十八条（诉讼时效三年）；个人信息保护法第四十七条', now());

alter table payments.agreement alter column payer_digest drop not null, add column payer_erased_at timestamptz,
    add constraint agreement_payer check ((payer_digest is null) = (payer_erased_at is not null));
comment on column payments.agreement.payer_digest is 'SHA-256 of the channel''s salt and the payer''s id there; null: forgotten when its keeping was over';
comment on column payments.agreement.payer_erased_at is 'When it was forgotten who signed';
create function payments.only_forget_payer_v1() returns trigger language plpgsql as $$
begin
    if old.payer_digest is null or new.payer_digest is not null or new.payer_erased_at is null
       or to_jsonb(new) - array['payer_digest', 'payer_erased_at'] <> to_jsonb(old) - array['payer_digest', 'payer_erased_at'] then
        raise exception 'payments.agreement is append-only: only who signed may be forgotten' using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
comment on function payments.only_forget_payer_v1 is 'Of an agreement nothing is changed but that its payer is forgotten';
drop trigger append_only_rows on payments.agreement;
create trigger append_only_rows before delete on payments.agreement for each row execute function ledger.refuse_change_v1();
create trigger only_forget_payer before update on payments.agreement for each row execute function payments.only_forget_payer_v1();
create index agreement_kept on payments.agreement (confirmed_at) where payer_digest is not null;

do $$
declare t text;
begin
    foreach t in array array['receipt_link', 'agreement_keeping'] loop
        execute format('create trigger append_only_rows before update or delete on payments.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on payments.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

grant select, insert on payments.receipt_link, payments.agreement_watch, payments.agreement_keeping to tongting_app;
grant update (replaced_at) on payments.invoice to tongting_app;
grant update (retry_at, again_id) on payments.invoice_red to tongting_app;
grant update (confirmed_at, due_at, tries), delete on payments.agreement_watch to tongting_app;
grant update (payer_digest, payer_erased_at) on payments.agreement to tongting_app;
grant select on payments.v_invoice_red to tongting_app;
