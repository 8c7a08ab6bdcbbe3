-- Dunning 催缴, disputes 争议, instalments 分期, decisions of two persons, and look-ups of plates for debt files.

create table payments.person ( -- Staff who propose and approve, by a code; accounts of people come later and keep the code
    person_code     text primary key check (person_code ~ '^[0-9A-Za-z._-]{1,32}$'), -- Staff code
    may_propose     boolean not null, -- Maker 经办: may propose decisions, answer disputes, agree instalments, make debt files
    may_approve     boolean not null, -- Checker 复核: may approve or reject what another person proposed
    document        text not null check (length(document) between 1 and 200), -- Document that gives the rights
    entered_at      timestamptz not null, -- When the person was entered
    ended_at        timestamptz, -- When the rights ended; null: they stand
    check (may_propose or may_approve)
);

-- Rules, templates, quiet days: dated, each with its document.

create table payments.dunning_rule ( -- When and how debts are reminded of: dated, for an operator or the whole city
    rule_id         integer generated always as identity primary key, -- Version; a later one of the same place replaces it from its date on
    operator_id     integer references payments.operator, -- Operator; null: every one that has none of its own
    valid_from      timestamptz not null, -- From when on it counts
    document        text not null, -- Approving document
    quiet_from      time not null, -- Nothing is sent from then on, in China
    quiet_until     time not null, -- until then
    days_between    integer not null check (days_between >= 1), -- Days between two reminders of one plate by this rule, at least
    entered_at      timestamptz not null, -- When the rule was entered
    unique nulls not distinct (operator_id, valid_from)
);
create table payments.dunning_step ( -- One step of a rule
    rule_id         integer not null references payments.dunning_rule, -- Rule
    step            smallint not null check (step between 1 and 20), -- Number of the step, from 1
    days_after_due  integer not null check (days_after_due between -60 and 3650), -- Days after the due date from which it is taken
    channels        text[] not null check (cardinality(channels) > 0), -- Channels in order of preference: the first that has a contact is used
    template_code   text not null, -- Text
    owed_fen_min    bigint not null check (owed_fen_min > 0), -- Less than this, in fen, is not reminded of
    per             text not null check (per in ('plate', 'debt')), -- plate: one reminder for all debts of a plate; debt: one for each
    proof           text not null check (proof in ('sent', 'receipt')), -- What proves the demand: that the carrier took it, or only a recorded receipt
    primary key (rule_id, step)
);
create table payments.dunning_text ( -- Texts of reminders: dated versions by language
    template_code   text not null check (template_code ~ '^[a-z0-9_-]{1,32}$'), -- Code
    language        text not null check (language in ('zh', 'en')), -- Language
    valid_from      timestamptz not null, -- From when on it counts
    subject         text not null, -- Subject of an e-mail, head of a letter
    body            text not null, -- Text with places in braces, see payments.dunning.texts
    document        text not null, -- Approving document
    entered_at      timestamptz not null, -- When it was entered
    primary key (template_code, language, valid_from)
);
create table payments.quiet_day ( -- Public holidays and other days on which nothing is sent
    quiet_on        date primary key, -- The day, in China
    document        text not null, -- Document that names it
    entered_at      timestamptz not null -- When it was entered
);

-- What the product begins with, until the city enters its own.
insert into payments.dunning_rule (operator_id, valid_from, document, quiet_from, quiet_until, days_between, entered_at)
values (null, '2020-01-01 00:00+08', 'default of the product, to be replaced by the city''s', '20:00', '09:00', 14, '2020-01-01 00:00+08');
insert into payments.dunning_step (rule_id, step, days_after_due, channels, template_code, owed_fen_min, per, proof)
select rule_id, s.* from payments.dunning_rule cross join (values
    (1, 3, array['wallet', 'sms', 'email', 'page'], 'reminder', 100, 'plate', 'receipt'),
    (2, 30, array['wallet', 'sms', 'email', 'page'], 'second', 100, 'plate', 'receipt'),
    (3, 90, array['email', 'post'], 'demand', 5000, 'plate', 'receipt')
) as s (step, days_after_due, channels, template_code, owed_fen_min, per, proof);
insert into payments.dunning_text (template_code, language, valid_from, subject, body, document, entered_at) values
('reminder', 'zh', '2020-01-01 00:00+08', '停车费提醒',
 '您好，车辆{plate}有{count}笔停车费待缴，合计{amount}元。请您方便时缴纳：{link}。如已缴纳或有疑问，请忽略本提醒或致电{help_line}。[{number}]',
 'default of the product, to be replaced by the city''s', '2020-01-01 00:00+08'),
('reminder', 'en', '2020-01-01 00:00+08', 'Parking fee reminder',
 'Hello, {count} parking fee(s) of car {plate} are still to be paid, {amount} yuan in all. Please pay when you can: {link}. Already paid, or any question: ignore this or call {help_line}. [{number}]',
 'default of the product, to be replaced by the city''s', '2020-01-01 00:00+08'),
('second', 'zh', '2020-01-01 00:00+08', '停车费再次提醒',
 '您好，车辆{plate}仍有{count}笔停车费未缴，合计{amount}元，最早一笔应于{due_on}前缴纳。请尽快缴纳：{link}。如有异议可在缴费页面提出，核查期间不再提醒。电话{help_line}。[{number}]',
 'default of the product, to be replaced by the city''s', '2020-01-01 00:00+08'),
('second', 'en', '2020-01-01 00:00+08', 'Parking fees overdue',
 'Hello, {count} parking fee(s) of car {plate} are still unpaid, {amount} yuan in all; the earliest was due on {due_on}. Please pay soon: {link}. You may dispute them on the page; no reminder is sent while that is looked into. Call {help_line}. [{number}]',
 'default of the product, to be replaced by the city''s', '2020-01-01 00:00+08'),
('demand', 'zh', '2020-01-01 00:00+08', '停车费催缴通知书',
 '车辆{plate}的机动车所有人：截至{today}，该车有{count}笔停车费未缴，合计人民币{amount}元，最早一笔应于{due_on}前缴纳。{stays}请于收到本通知之日起十五日内缴纳：{link}。如有异议，请在上述期限内提出并附相关材料。联系电话：{help_line}。通知编号：{number}。',
 'default of the product, to be replaced by the city''s', '2020-01-01 00:00+08'),
('demand', 'en', '2020-01-01 00:00+08', 'Demand for payment of parking fees',
 'To the owner of car {plate}: as of {today}, {count} parking fee(s) of this car are unpaid, {amount} yuan in all; the earliest was due on {due_on}. {stays}Please pay within fifteen days of receiving this notice: {link}. If you dispute it, please say so within that time and add your documents. Telephone: {help_line}. Number of this notice: {number}.',
 'default of the product, to be replaced by the city''s', '2020-01-01 00:00+08');

create table payments.plate_contact ( -- How the holder of a plate may be reached: consented, for a purpose, with a day of erasure
    contact_id      uuid primary key, -- Time-ordered id
    plate_id        bigint not null references payments.plate, -- Plate
    medium          text not null check (medium in ('mobile', 'email', 'address', 'wallet')), -- What it is
    value           text check (length(value) between 1 and 500), -- The number, address or id; null once erased
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of the plate's salt and the value: what proofs of sending name
    language        text not null check (language in ('zh', 'en')), -- Language of texts
    purpose         text not null check (purpose in ('reminder', 'receipt', 'all')), -- What it was given for: reminders need reminder or all
    is_proven_holder boolean not null, -- It is proven that the holder of the plate has it: letters may name lots
    document        text not null, -- Proof of consent, or the legal basis
    consented_at    timestamptz not null, -- When it was given
    ends_at         timestamptz, -- Consent withdrawn, or undeliverable; null: it stands
    ended_because   text check (ended_because in ('withdrawn', 'bounced', 'erased')), -- Why
    erase_on        date not null, -- Day on which the value is erased
    check ((ends_at is null) = (ended_because is null))
);
create index plate_contact_plate on payments.plate_contact (plate_id) where ends_at is null;
create index plate_contact_erase on payments.plate_contact (erase_on) where value is not null;

create table payments.dunning_run ( -- One night's planning over all open debts: where it stands, so that it can go on
    run_id          uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    planned_on      date not null, -- Business date: one run each
    plate_cursor    bigint not null default 0, -- Plates up to this one are planned
    plates          bigint not null default 0, -- Plates looked at
    reminders       bigint not null default 0, -- Reminders planned
    debts           bigint not null default 0, -- Debts that these remind of
    started_at      timestamptz not null, -- When it began
    finished_at     timestamptz, -- When all plates had been looked at
    primary key (run_id, lane),
    unique (planned_on, lane)
);
create table payments.reminder ( -- One reminder of a plate's debts, kept before it is sent: the proof of sending
    reminder_id     uuid not null, -- Time-ordered id; it stands in the text, so a repeat is recognisable
    lane            smallint not null, -- Lane
    plate_id        bigint not null, -- Plate
    run_id          uuid not null, -- Run that planned it
    rule_id         integer not null, -- Rule
    step            smallint not null, -- Step of the rule
    channel         text not null, -- Channel
    contact_id      uuid, -- Contact; null: the channel needs none
    state           text not null check (state in ('planned', 'sending', 'sent', 'failed', 'bounced', 'dropped')), -- sending: its text is fixed and it may have been sent; dropped: nothing was to be reminded of any more
    owed_fen        bigint not null check (owed_fen > 0), -- What it reminds of, in fen
    debts           integer not null check (debts > 0), -- Of how many debts
    template_code   text not null, -- Text
    language        text not null, -- Language of the text
    text_from       timestamptz, -- Version of the text, once written
    subject         text, -- Subject as sent
    body            text, -- Full text as sent
    body_digest     bytea check (length(body_digest) = 32), -- SHA-256 of subject, a line feed and text, in UTF-8
    to_masked       text, -- Where to, masked
    to_digest       bytea, -- Digest of the contact, as plate_contact has it
    attempts        smallint not null default 0, -- Times it was given to the channel
    claimed_until   timestamptz, -- A sender holds it until then
    planned_at      timestamptz not null, -- When it was planned
    sent_at         timestamptz, -- When the carrier took it; for page: when the notice was laid out
    receipt         text, -- What the carrier said
    proven_at       timestamptz, -- When its arrival was proven: the demand counts from that day
    proof           text, -- What proves it
    reason          text, -- Why it failed, bounced or was dropped
    primary key (reminder_id, lane),
    check ((body is null) = (body_digest is null)),
    check (state not in ('sending', 'sent', 'bounced') or body is not null),
    check (proven_at is null or state = 'sent')
) with (fillfactor = 70);
create index reminder_waiting on payments.reminder (rule_id, reminder_id) where state in ('planned', 'sending');
create index reminder_plate on payments.reminder (plate_id, planned_at);
create table payments.reminder_debt ( -- A debt that a reminder speaks of
    reminder_id     uuid not null, -- Reminder
    lane            smallint not null, -- Lane
    charge_id       uuid not null, -- Debt
    owed_fen        bigint not null check (owed_fen > 0), -- What was owed of it then, in fen
    is_step         boolean not null, -- It is the debt's own step; else it is named because the plate was reminded anyway
    primary key (charge_id, reminder_id, lane)
);
create index reminder_debt_reminder on payments.reminder_debt (reminder_id);
create table payments.debt_step ( -- How far a debt has been reminded of; apart from the debt, so that planning locks no debt
    charge_id       uuid not null, -- Debt
    lane            smallint not null, -- Lane
    rule_id         integer not null, -- Rule of the step
    step            smallint not null, -- Last step taken, or planned; 0: none
    reminder_id     uuid, -- Reminder of it
    stepped_on      date, -- When it was planned; null: no step stands
    stepped_before  date, -- When the step before it was: it stands again when a reminder does not go out
    primary key (charge_id, lane)
) with (fillfactor = 80);

-- The limitation clock.

create table payments.limitation_act ( -- What begins the three years anew for a debt (Civil Code art. 188, 192, 195)
    charge_id       uuid not null, -- Debt
    lane            smallint not null, -- Lane
    act_on          date not null, -- Day of the act
    kind            text not null check (kind in ('demand', 'part_paid', 'instalments', 'acknowledged')), -- A proven demand, a part paid, instalments agreed, the debt acknowledged
    source_id       uuid not null, -- Reminder, payment, plan or case
    void_at         timestamptz, -- The proof proved wrong: it does not count
    primary key (charge_id, kind, source_id, lane)
);

create index payment_fact_part on payments.payment_fact (happened_at) where treatment = 'part'; -- parts paid begin the years anew

-- Decisions of two persons.

create table payments.debt_decision ( -- A waiver, write-off or write-back: proposed by one person, approved by another
    decision_id     uuid not null, -- Time-ordered id; evidence of its entries
    lane            smallint not null, -- Lane
    kind            text not null check (kind in ('waiver', 'write_off', 'write_back')), -- What is proposed
    state           text not null check (state in ('proposed', 'approved', 'rejected')), -- Where it stands
    reason          text not null check (length(reason) between 1 and 500), -- Why
    document_name   text not null check (length(document_name) between 1 and 200), -- Name or number of the document
    document_digest bytea not null check (length(document_digest) = 32), -- SHA-256 of its bytes
    document_bytes  bytea, -- Its bytes; null: they are kept elsewhere under that name
    dispute_id      uuid, -- Dispute that it follows from
    lines           integer not null check (lines > 0), -- Number of its lines
    amount_fen      bigint not null check (amount_fen > 0), -- Sum of its lines in fen
    lines_digest    bytea not null check (length(lines_digest) = 32), -- SHA-256 over kind and lines as proposed: what the second person approves
    proposed_by     text not null references payments.person, -- Maker
    proposed_at     timestamptz not null, -- When
    decided_by      text references payments.person, -- Checker
    decided_at      timestamptz, -- When
    decided_note    text, -- The checker's words
    primary key (decision_id, lane),
    check (decided_by is distinct from proposed_by), -- maker and checker are two persons
    check ((state = 'proposed') = (decided_by is null)),
    check ((decided_by is null) = (decided_at is null))
);
create index debt_decision_proposed on payments.debt_decision (decision_id) where state = 'proposed';
create table payments.debt_decision_line ( -- One debt of a decision
    line_id         uuid not null, -- Time-ordered id: source of its entry
    lane            smallint not null, -- Lane
    decision_id     uuid not null, -- Decision
    charge_id       uuid not null, -- Debt
    book_id         integer not null, -- Book of its operator
    amount_fen      bigint not null check (amount_fen > 0), -- Let off, written off or back, in fen
    owed_fen        bigint not null check (owed_fen >= 0), -- What was owed when it was proposed, in fen
    reverses        uuid, -- Write-back: the line of the write-off that it reverses
    primary key (line_id, lane),
    unique (decision_id, charge_id, lane)
);
create index debt_decision_line_charge on payments.debt_decision_line (charge_id);
create trigger append_only_rows before update or delete on payments.debt_decision_line for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.debt_decision_line for each statement execute function ledger.refuse_change_v1();

create function payments.maker_checker_v1() returns trigger language plpgsql as $$
begin
    if old.state <> 'proposed' then
        raise exception 'decision % is %: it is not changed any more', old.decision_id, old.state using errcode = 'restrict_violation';
    end if;
    return new;
end $$;
create trigger decided_once before update on payments.debt_decision for each row execute function payments.maker_checker_v1();

-- Disputes.

create table payments.debt_dispute ( -- A driver says that a debt is wrong
    dispute_id      uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    charge_id       uuid not null, -- Debt
    operator_id     integer not null, -- Operator that it is owed to
    lot_id          integer not null, -- Lot that is asked
    opened_by       text not null check (opened_by in ('page', 'api', 'staff')), -- How it came
    opened_ref      text not null, -- Client, person or page session that opened it
    reason          text not null check (reason in ('not_my_car', 'not_there', 'times_wrong', 'already_paid', 'tariff_wrong', 'exempt', 'other')), -- In a word
    statement       text not null check (length(statement) between 1 and 2000), -- The driver's words
    opened_at       timestamptz not null, -- When
    answer_until    timestamptz not null, -- The lot shall answer until then
    answer          text check (length(answer) between 1 and 4000), -- The lot's words
    answered_at     timestamptz, -- When it answered
    answered_by     text, -- Client that answered
    state           text not null check (state in ('open', 'deciding', 'upheld', 'partly', 'rejected', 'withdrawn')), -- deciding: a waiver is proposed and waits for the second person
    waiver_id       uuid, -- Decision that lets the debt off, when upheld or partly
    decided_by      text references payments.person, -- Who decided it
    decided_at      timestamptz, -- When
    decided_note    text, -- Reasons as the driver may read them
    primary key (dispute_id, lane)
);
create unique index debt_dispute_once on payments.debt_dispute (charge_id, lane) where state in ('open', 'deciding');
create index debt_dispute_lot on payments.debt_dispute (lot_id, opened_at) where state in ('open', 'deciding');
create table payments.dispute_exhibit ( -- What a party of a dispute showed: kept verbatim
    exhibit_id      uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    dispute_id      uuid not null, -- Dispute
    shown_by        text not null check (shown_by in ('driver', 'lot', 'staff')), -- Whose it is
    name            text not null check (length(name) between 1 and 200), -- Name of the file
    media_type      text not null, -- What it is
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of its bytes
    body            bytea not null, -- Its bytes
    shown_at        timestamptz not null, -- When
    primary key (exhibit_id, lane),
    unique (dispute_id, digest, lane)
);

-- Instalments.

create table payments.instalment_plan ( -- A plate pays its debts of one operator in parts
    plan_id         uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    plate_id        bigint not null, -- Plate
    operator_id     integer not null, -- Operator
    owed_fen        bigint not null check (owed_fen > 0), -- Sum owed when it was agreed, in fen
    state           text not null check (state in ('running', 'kept', 'missed')), -- missed: a part did not come in time, dunning goes on
    document        text not null, -- Agreement
    agreed_by       text not null references payments.person, -- Who agreed for the operator
    agreed_at       timestamptz not null, -- When
    ended_at        timestamptz, -- When it was kept or missed
    primary key (plan_id, lane),
    check ((state = 'running') = (ended_at is null))
);
create unique index instalment_plan_once on payments.instalment_plan (plate_id, operator_id, lane) where state = 'running';
create table payments.instalment_part ( -- One part of a plan
    plan_id         uuid not null, -- Plan
    lane            smallint not null, -- Lane
    part            smallint not null check (part >= 1), -- Number, from 1
    due_on          date not null, -- To be paid until then
    amount_fen      bigint not null check (amount_fen > 0), -- Amount in fen
    primary key (plan_id, part, lane)
);
create table payments.instalment_debt ( -- A debt of a plan
    plan_id         uuid not null, -- Plan
    lane            smallint not null, -- Lane
    charge_id       uuid not null, -- Debt
    owed_fen        bigint not null check (owed_fen > 0), -- What was owed of it when agreed, in fen
    primary key (plan_id, charge_id, lane)
);
create index instalment_debt_charge on payments.instalment_debt (charge_id);

-- Looking a plate up in full is written down.

create table payments.plate_lookup ( -- Somebody saw or exported everything about a plate
    lookup_id       uuid primary key, -- Time-ordered id
    plate_id        bigint not null, -- Plate
    person_code     text not null references payments.person, -- Who
    purpose         text not null check (length(purpose) between 3 and 500), -- Why, such as the number of a court case
    looked_at       timestamptz not null -- When
);
create trigger append_only_rows before update or delete on payments.plate_lookup for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.plate_lookup for each statement execute function ledger.refuse_change_v1();

create view ledger.v_book_number as
select p.lane, p.entry_id, p.book_id, s.seal_id, s.first_index + p.position as leaf_index,
       b.first_number + (
           select count(*) from ledger.sealed_batch x join ledger.posting q on q.batch_id = x.batch_id and q.lane = x.lane
           where x.lane = p.lane and x.first_index <= s.first_index
             and x.first_index >= coalesce((select o.tree_size from ledger.seal o where o.lane = p.lane and o.seal_id = s.seal_id - 1), 0)
             and q.book_id = p.book_id and q.line = 0 and x.first_index + q.position < s.first_index + p.position) as number
from ledger.posting p
join ledger.sealed_batch s on s.lane = p.lane and s.batch_id = p.batch_id
join ledger.book_seal b on b.lane = p.lane and b.book_id = p.book_id and b.seal_id = s.seal_id
where p.line = 0;
comment on view ledger.v_book_number is 'Dense number of each sealed entry in its own book; to be asked for few entries at a time';

create view gateways.v_evidence as
select lane, message_id, channel, operation, direction, verdict, subject, received_at, headers, body, request, sha256(body) as body_digest
from gateways.raw_message;
comment on view gateways.v_evidence is 'Stored messages with their bytes and SHA-256, for files that prove a debt: they may hold personal data';

grant select, insert on payments.person, payments.dunning_rule, payments.dunning_step, payments.dunning_text, payments.quiet_day,
    payments.plate_contact, payments.dunning_run, payments.reminder, payments.reminder_debt, payments.debt_step,
    payments.limitation_act, payments.debt_decision, payments.debt_decision_line, payments.debt_dispute, payments.dispute_exhibit,
    payments.instalment_plan, payments.instalment_part, payments.instalment_debt, payments.plate_lookup to tongting_app;
grant update (ended_at) on payments.person to tongting_app;
grant update (value, ends_at, ended_because) on payments.plate_contact to tongting_app;
grant update (plate_cursor, plates, reminders, debts, finished_at) on payments.dunning_run to tongting_app;
grant update (state, owed_fen, debts, text_from, subject, body, body_digest, to_masked, to_digest, attempts, claimed_until, sent_at,
    receipt, proven_at, proof, reason) on payments.reminder to tongting_app;
grant update (owed_fen), delete on payments.reminder_debt to tongting_app; -- until it is sent: what was paid meanwhile is not demanded
grant update (rule_id, step, reminder_id, stepped_on, stepped_before) on payments.debt_step to tongting_app;
grant update (void_at) on payments.limitation_act to tongting_app;
grant update (state, decided_by, decided_at, decided_note) on payments.debt_decision to tongting_app;
grant update (answer, answered_at, answered_by, state, waiver_id, decided_by, decided_at, decided_note) on payments.debt_dispute to tongting_app;
grant update (state, ended_at) on payments.instalment_plan to tongting_app;
grant select on gateways.v_evidence, ledger.v_book_number to tongting_app;
