-- Deductions: a charge taken by the plate's mandate. Cars that came, what channels said of their plates, and what was asked for.

create table payments.lot_number ( -- How a channel numbers a lot; without a row the lot's own code is its number
    lot_id          integer not null references payments.lot, -- Lot
    channel         text not null, -- Channel
    number          text not null check (length(number) between 1 and 64), -- The lot's number there
    entered_at      timestamptz not null, -- When it was entered
    primary key (lot_id, channel)
);
create table payments.entrance ( -- A car that came, as its lot told
    entrance_id     uuid not null, -- Time-ordered id; written as 28 characters it is the number that channels are told
    lane            smallint not null, -- Lane of the operator's book
    operator_id     integer not null, -- Operator of the lot
    lot_id          integer not null, -- Lot
    lot_serial      text not null, -- The lot's own serial of the entrance: the idempotency key
    plate_id        bigint not null, -- Plate
    entered_at      timestamptz not null, -- When the car came in
    free_minutes    integer not null check (free_minutes >= 0), -- Minutes that cost nothing, as channels are told
    lot_name        text not null, -- Name of the lot, as channels are told: a deduction repeats it
    created_at      timestamptz not null, -- When it was posted to us
    primary key (entrance_id, lane),
    unique (lot_id, lot_serial, lane)
);
create index entrance_plate on payments.entrance (lot_id, plate_id);
create table payments.entrance_word ( -- What a channel said when it was told of a car; never shown to a lot but for its state
    entrance_id     uuid not null, -- Entrance
    lane            smallint not null, -- Lane
    channel         text not null, -- Channel
    merchant_no     text not null, -- Merchant number in whose name it was told
    entry_no        text, -- The channel's number of the entry, once known
    state           text not null check (state in ('open', 'none', 'unknown')), -- Whether the plate may be deducted
    word            text, -- The channel's own word for why not
    told_at         timestamptz not null, -- When it was told last
    primary key (entrance_id, channel, merchant_no, lane)
);
create table payments.deduction ( -- What a payment by mandate asks its channel for, beside what payment and charge say: a repeat is identical
    payment_id      uuid not null, -- Payment
    lane            smallint not null, -- Lane
    plate_color     text not null, -- Colour of the plate, as charge or entrance know it
    entered_at      timestamptz not null, -- Begin of the stay, as the channel knows it
    left_at         timestamptz not null, -- Its end
    lot_no          text not null, -- The lot's number at the channel
    lot_name        text not null, -- The lot's name, as the channel knows it
    entry_no        text, -- The channel's number of the entry
    mandate_no      text, -- The channel's number of the mandate
    calls           smallint not null default 0, -- Calls made so far
    taken_on        boolean not null default false, -- The channel's answer to the call itself proved that it took the charge on
    primary key (payment_id, lane)
);

grant select, insert on payments.lot_number, payments.entrance, payments.entrance_word, payments.deduction to tongting_app;
grant update (number, entered_at) on payments.lot_number to tongting_app;
grant update (entry_no, state, word, told_at) on payments.entrance_word to tongting_app;
grant update (calls, taken_on) on payments.deduction to tongting_app;
