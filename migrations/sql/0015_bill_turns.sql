-- Of several workers one fetches and compares a bill.

create table reconciliation.bill_turn ( -- Whose turn a bill's morning is: a worker that took it, until then
    channel         text not null, -- Channel
    provider_no     text not null, -- Provider's number there
    merchant_no     text not null, -- Merchant whose bill it is; empty: all merchants of the provider
    bill_on         date not null, -- Day of the bill
    taken_until     timestamptz not null, -- Until then no other worker begins
    primary key (channel, provider_no, merchant_no, bill_on)
);

grant select, insert on reconciliation.bill_turn to tongting_app;
grant update (taken_until) on reconciliation.bill_turn to tongting_app;
