-- What we have to say to the network centre beside packages, where its answers and ours are messages of their own.

create table payments.card_letter ( -- One message of ours to the network centre: an answer to one of its messages, or a request to send again
    letter_id       uuid not null, -- Time-ordered id
    lane            smallint not null, -- Lane
    channel         text not null, -- Channel
    number          text not null, -- Number of the message, 20 digits, never used again
    kind            text not null check (kind in ('answer', 'resend')), -- answer: to a message of theirs; resend: we ask for booking results again
    answers_no      text, -- Number of the message that it answers
    evidence_id     uuid, -- That message
    asked_on        date, -- Business date of a request; one a day
    content         bytea not null, -- The message as it is written, before it is framed
    created_at      timestamptz not null, -- When it was written
    tries           smallint not null default 0, -- Tries so far
    due_at          timestamptz, -- When it is sent next; null: it arrived
    claimed_until   timestamptz, -- A worker holds it until then
    done_at         timestamptz, -- When the centre said that it has it
    reason          text, -- Why the last try failed
    primary key (letter_id, lane),
    unique (number, channel, lane),
    check ((kind = 'answer') = (answers_no is not null)),
    check ((kind = 'answer') = (evidence_id is not null)),
    check ((kind = 'resend') = (asked_on is not null)),
    check ((due_at is null) = (done_at is not null))
);
create index card_letter_due on payments.card_letter (due_at) where due_at is not null;
create unique index card_letter_asked on payments.card_letter (asked_on, channel, lane) where kind = 'resend';

grant select, insert on payments.card_letter to tongting_app;
grant update (tries, due_at, claimed_until, done_at, reason) on payments.card_letter to tongting_app;
