-- Files of bills in parts: no statement holds a large file whole. The row of the file has its first part, which is all of nearly every file.

create table reconciliation.bill_part ( -- What follows the first part of a large file
    bill_id         uuid not null references reconciliation.bill, -- Bill, whose body is part 1
    part            integer not null check (part > 1), -- Number of the part, from 2
    body            bytea not null check (length(body) > 0), -- The part's bytes
    primary key (bill_id, part)
);
create table reconciliation.refused_part ( -- What follows the first part of a large file that was refused
    refused_id      uuid not null references reconciliation.refused_bill, -- Refused file, whose body is part 1
    part            integer not null check (part > 1), -- Number of the part, from 2
    body            bytea not null check (length(body) > 0), -- The part's bytes
    primary key (refused_id, part)
);
comment on column reconciliation.bill.body is 'The file as it is kept, byte for byte: its first part, after which those of bill_part come; empty when the channel says nothing happened that day';
comment on column reconciliation.bill.digest is 'SHA-256 of the whole file as it is kept';
comment on column reconciliation.refused_bill.body is 'The file: its first part, after which those of refused_part come; empty when already its digest was not the announced one';

grant select, insert on reconciliation.bill_part, reconciliation.refused_part to tongting_app;
do $$
declare t text;
begin
    foreach t in array array['bill_part', 'refused_part'] loop
        execute format('create trigger append_only_rows before update or delete on reconciliation.%I for each row execute function ledger.refuse_change_v1()', t);
        execute format('create trigger append_only_table before truncate on reconciliation.%I for each statement execute function ledger.refuse_change_v1()', t);
    end loop;
end $$;

-- What other rooms may read of bills and comparisons.
create view reconciliation.v_bill as
select bill_id, channel, kind, provider_no, merchant_no, bill_on, version, lines, total_fen, refund_fen, fee_fen, fetched_at
from reconciliation.bill;
comment on view reconciliation.v_bill is 'Bills without their files';
create view reconciliation.v_match_run as
select run_id, bill_id, lane, tree_size, matched, matched_fen, differences, run_at from reconciliation.match_run;
comment on view reconciliation.v_match_run is 'Comparisons of bills with the book';
create view reconciliation.v_refused_bill as
select refused_id, channel, provider_no, merchant_no, bill_on, code, detail, refused_at from reconciliation.refused_bill;
comment on view reconciliation.v_refused_bill is 'Files that could not be taken, without their bytes';
grant select on reconciliation.v_bill, reconciliation.v_match_run, reconciliation.v_refused_bill to tongting_app;
