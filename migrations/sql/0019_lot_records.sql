-- Stays, takings, openings and heartbeats of lots, and the dense numbers by which a gap shows.

create table payments.stay ( -- A car in a lot: posted when it comes, completed when it goes
    stay_id         uuid not null, -- Time-ordered id
    entered_at      timestamptz not null, -- When the car came
    left_at         timestamptz, -- When it went; null: it is there, or nobody saw it go
    created_at      timestamptz not null, -- When it was first posted to us
    completed_at    timestamptz, -- When the going was posted to us
    plate_id        bigint not null, -- Plate
    operator_id     integer not null, -- Operator of the lot
    lot_id          integer not null, -- Lot
    lane            smallint not null, -- Lane of the operator's book
    state           text not null check (state in ('in', 'out', 'exit_unknown')), -- in: the car is there; out: it went; exit_unknown: it came again, so it must have gone
    scene           text not null check (scene in ('gate', 'on_street', 'hospital', 'shared', 'charging')), -- Kind of stay
    lot_serial      text not null, -- The lot's own serial of the stay: the idempotency key
    berth           text, -- Berth, where berths are numbered
    lane_in         text, -- Lane of the lot by which the car came
    lane_out        text, -- Lane of the lot by which it went
    entry_photo_digest bytea check (length(entry_photo_digest) = 32), -- SHA-256 of the photo of its coming, which stays at the lot
    exit_photo_digest bytea check (length(exit_photo_digest) = 32), -- SHA-256 of the photo of its going
    primary key (stay_id, lane),
    unique (lot_id, lot_serial, lane),
    unique (plate_id, lot_id, entered_at, lane), -- the line of a plate's stays at a lot: what comes before and behind each
    check ((state = 'out') = (left_at is not null)),
    check (left_at >= entered_at)
) with (fillfactor = 85);

create table payments.lot_record_number ( -- The lot's own dense count of its records, one series per kind: what is missing shows
    subject         uuid not null, -- Id of the record
    number          bigint not null check (number > 0), -- The lot's number: 1, 2, 3 ...
    heard_at        timestamptz not null, -- When it came
    lot_id          integer not null, -- Lot
    series          text not null check (series in ('stay', 'charge', 'taking', 'opening')), -- What is counted
    primary key (lot_id, series, number)
);

create table payments.lot_series ( -- Where a lot's count stands: it is dense as long as as many numbers came as the last one says
    lot_id          integer not null, -- Lot
    series          text not null, -- What is counted
    last_number     bigint not null, -- Largest number that came
    numbers         bigint not null, -- How many numbers came
    heard_at        timestamptz not null, -- When one came last
    primary key (lot_id, series)
) with (fillfactor = 50);

create table payments.lot_day ( -- What a lot did on a day (China): what reports and rate alarms read
    lot_id          integer not null, -- Lot
    day             date not null, -- Day in China
    entries         integer not null default 0, -- Cars that came
    exits           integer not null default 0, -- Cars that went
    openings        integer not null default 0, -- Times the exit barrier was opened by hand, tests left out
    lost_fen        bigint not null default 0, -- What went lost by openings, as the lot says, in fen
    beats           integer not null default 0, -- Heartbeats
    silent_seconds  integer not null default 0, -- Seconds in which the lot was not heard though a rule said it should be
    primary key (lot_id, day)
) with (fillfactor = 50);

create table payments.barrier_opening ( -- A barrier opened by hand: what may have gone lost
    opening_id      uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Operator of the lot
    lot_id          integer not null, -- Lot
    lot_serial      text not null, -- The lot's own serial of the opening: the idempotency key
    opened_at       timestamptz not null, -- When
    barrier         text not null, -- Lane of the lot
    direction       text not null check (direction in ('in', 'out')), -- Which way
    reason          text not null check (reason in ('fire', 'ambulance', 'fault', 'vip', 'test', 'other')), -- Why, as the lot says
    remark          text, -- Why, in words
    plate_id        bigint, -- Plate of the car that went through, where it was read
    person_digest   bytea check (length(person_digest) = 32), -- SHA-256 of who opened it, as the operator knows the person
    lost_fen        bigint check (lost_fen >= 0), -- What went lost, as the lot says, in fen
    created_at      timestamptz not null, -- When it was posted to us
    primary key (opening_id, lane),
    unique (lot_id, lot_serial, lane)
);
create index barrier_opening_day on payments.barrier_opening (lot_id, opened_at);

create table payments.taking ( -- Money that a lot took by hand, in cash or over a code older than the city's
    taking_id       uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Operator, who has the money
    lot_id          integer not null, -- Lot
    lot_serial      text not null, -- The lot's own serial of the taking: the idempotency key
    channel         text not null check (channel in ('cash', 'legacy')), -- cash; legacy: over a code older than the city's
    amount_fen      bigint not null check (amount_fen > 0), -- What was taken, in fen
    taken_at        timestamptz not null, -- When
    charge_id       uuid, -- Charge that it pays; null: it pays none that was posted
    payment_id      uuid, -- The payment that settles the charge
    plate_id        bigint, -- Plate of the payer, where it is known
    evidence_text   text, -- Number of the slip, of the old code's trade, or the like
    evidence_digest bytea check (length(evidence_digest) = 32), -- SHA-256 of a picture or file that the lot keeps
    evidence_id     uuid not null, -- The lot's call, verbatim
    created_at      timestamptz not null, -- When it was posted to us
    primary key (taking_id, lane),
    unique (lot_id, lot_serial, lane),
    check ((charge_id is null) = (payment_id is null))
);
create index taking_day on payments.taking (lot_id, taken_at);
create index taking_payment on payments.taking (payment_id) where payment_id is not null;

create table payments.cash_slip ( -- Cash of a lot that was brought to the bank
    slip_id         uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Operator
    lot_id          integer not null, -- Lot whose till it was in
    slip_no         text not null, -- The bank's number of the slip: it counts once per operator
    amount_fen      bigint not null check (amount_fen > 0), -- In fen
    banked_at       timestamptz not null, -- When
    bank            text, -- Bank and branch
    evidence_id     uuid not null, -- The lot's call, verbatim
    created_at      timestamptz not null, -- When it was posted to us
    primary key (slip_id, lane),
    unique (operator_id, slip_no, lane)
);
create index cash_slip_day on payments.cash_slip (lot_id, banked_at);

create table payments.lot_till ( -- Cash in the till of a lot: what was taken less what was brought to the bank
    lot_id          integer not null, -- Lot
    lane            smallint not null, -- Lane
    taken_fen       bigint not null, -- Cash taken so far, in fen
    banked_fen      bigint not null, -- Cash brought to the bank so far, in fen
    primary key (lot_id, lane),
    check (banked_fen between 0 and taken_fen)
) with (fillfactor = 50);

create table payments.lot_heartbeat ( -- The last sign of life of a lot's system
    lot_id          integer primary key, -- Lot
    heard_at        timestamptz not null, -- When it came
    said_at         timestamptz not null, -- What the lot's clock said
    software        text not null, -- Software and version
    lanes           integer not null, -- Lanes that it names
    offline         text[] not null, -- Those that are offline
    offline_since   timestamptz, -- Since when any is
    last_number     bigint, -- Last number that the lot gave a record, as it says
    queue           integer -- Records that wait at the lot to be posted
) with (fillfactor = 50);

create table payments.alarm_rule ( -- When a lot's silence or openings are an alarm: dated, for a lot, an operator or the whole city
    rule_id         integer generated always as identity primary key, -- Version; a later one of the same place replaces it from its date on
    kind            text not null check (kind in ('silent', 'leak')), -- silent: heard at least every so many minutes; leak: openings per 100 exits
    operator_id     integer references payments.operator, -- Operator; null: every one that has none of its own
    lot_id          integer references payments.lot, -- Lot; null: all lots of the operator
    scene           text, -- Kind of lot; null: every kind that has none of its own
    valid_from      timestamptz not null, -- From when on it counts
    document        text not null, -- Approving document
    most            integer not null check (most > 0), -- Minutes, or openings per 100 exits
    entered_at      timestamptz not null, -- When the rule was entered
    check (lot_id is null or operator_id is not null),
    unique nulls not distinct (kind, operator_id, lot_id, scene, valid_from)
);

create table payments.lot_alarm ( -- Something is wrong with what a lot tells: one open alarm per lot and kind
    lot_id          integer not null, -- Lot
    kind            text not null check (kind in ('silent', 'gap', 'offline_lane', 'leak')), -- silent: not heard; gap: numbers are missing; offline_lane; leak: too many openings
    opened_at       timestamptz not null, -- When it was seen
    closed_at       timestamptz, -- When it was seen to be over
    detail          text not null, -- What is wrong, in words
    primary key (lot_id, kind, opened_at)
);
create unique index lot_alarm_open on payments.lot_alarm (lot_id, kind) where closed_at is null;

create view payments.v_stay as
select lane, stay_id, operator_id, lot_id, lot_serial, plate_id, scene, entered_at, left_at, state, berth, created_at from payments.stay;
comment on view payments.v_stay is 'Stays, without photos and lanes; the plate by its key alone';

create view payments.v_taking as
select t.lane, t.taking_id, t.operator_id, o.book_id, t.lot_id, t.lot_serial, t.channel, t.amount_fen, t.taken_at, t.charge_id,
       t.payment_id, t.evidence_id, t.created_at
from payments.taking t join payments.operator o on o.operator_id = t.operator_id;
comment on view payments.v_taking is 'What lots took by hand; one with a payment is booked as that payment, one without by itself';

create view payments.v_cash_slip as
select s.lane, s.slip_id, s.operator_id, o.book_id, s.lot_id, s.slip_no, s.amount_fen, s.banked_at, s.evidence_id, s.created_at
from payments.cash_slip s join payments.operator o on o.operator_id = s.operator_id;
comment on view payments.v_cash_slip is 'Cash that lots brought to the bank';

create view payments.v_lot_day as
select d.lot_id, l.operator_id, l.code as lot_code, d.day, d.entries, d.exits, d.openings, d.lost_fen, d.beats, d.silent_seconds
from payments.lot_day d join payments.lot l on l.lot_id = d.lot_id;
comment on view payments.v_lot_day is 'What lots did day by day';

create view payments.v_lot_alarm as
select a.lot_id, l.operator_id, l.code as lot_code, l.name as lot_name, l.district, a.kind, a.opened_at, a.closed_at, a.detail
from payments.lot_alarm a join payments.lot l on l.lot_id = a.lot_id;
comment on view payments.v_lot_alarm is 'Alarms of lots: silence, missing numbers, lanes offline, too many openings';

create view payments.v_record_gap as
with numbered as (
    select n.lot_id, n.series, n.number, n.heard_at, lag(n.number, 1, 0::bigint) over (partition by n.lot_id, n.series order by n.number) as before
    from payments.lot_record_number n
)
select lot_id, series, before + 1 as first, number - 1 as last, heard_at as since from numbered where number > before + 1;
comment on view payments.v_record_gap is 'Numbers of lots that are missing: from first to last, since the one behind them came. Ask for one lot at a time';

create table payments.charge_cap ( -- The most that one stay may cost: dated, for a lot, an operator or the whole city
    cap_id          integer generated always as identity primary key, -- Version; a later one of the same place replaces it from its date on
    operator_id     integer references payments.operator, -- Operator; null: every one that has none of its own
    lot_id          integer references payments.lot, -- Lot; null: all lots of the operator
    valid_from      timestamptz not null, -- From when on it counts
    document        text not null check (document <> ''), -- Document that says so
    charge_fen_max  bigint not null check (charge_fen_max > 0), -- Largest charge in fen
    day_fen_max     bigint check (day_fen_max > 0), -- Largest charge for each begun 24 hours, in fen; null: not limited so
    entered_at      timestamptz not null, -- When it was entered
    check (lot_id is null or operator_id is not null),
    unique nulls not distinct (operator_id, lot_id, valid_from)
);
grant select, insert on payments.charge_cap to tongting_app;

grant select, insert on payments.stay, payments.lot_record_number, payments.lot_series, payments.lot_day, payments.barrier_opening,
    payments.taking, payments.cash_slip, payments.lot_till, payments.lot_heartbeat, payments.alarm_rule, payments.lot_alarm to tongting_app;
grant update (left_at, completed_at, state, plate_id, berth, lane_in, lane_out, entry_photo_digest, exit_photo_digest) on payments.stay to tongting_app;
grant update on payments.lot_series, payments.lot_day, payments.lot_till, payments.lot_heartbeat to tongting_app;
grant update (closed_at, detail) on payments.lot_alarm to tongting_app;
grant update (plate_id) on payments.barrier_opening to tongting_app;
grant select on payments.v_stay, payments.v_taking, payments.v_cash_slip, payments.v_lot_day, payments.v_lot_alarm, payments.v_record_gap to tongting_app;
create trigger append_only_rows before update or delete on payments.taking for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.taking for each statement execute function ledger.refuse_change_v1();
create trigger append_only_rows before update or delete on payments.cash_slip for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.cash_slip for each statement execute function ledger.refuse_change_v1();
create trigger append_only_rows before update or delete on payments.lot_record_number for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on payments.lot_record_number for each statement execute function ledger.refuse_change_v1();
