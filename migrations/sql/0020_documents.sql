-- Documents other than entries are sealed in the tree: versions of rules, decisions, credit notes and the like.
-- A commit of documents is a batch like a commit of entries, so the sealer orders both and knows neither; no batch holds both.

create table ledger.document ( -- A document that is sealed beside the entries: its digest, never its content
    document_id     uuid not null, -- Time-ordered id of what the document is: a version of a rule, a decision, a credit note
    lane            smallint not null, -- Lane in whose tree it stands
    batch_id        bigint not null, -- Batch that wrote it
    position        integer not null check (position >= 0), -- Place of the document in its batch, from 0
    kind            smallint not null check (kind between 1 and 255), -- What it is: ledger.documents.DocumentKind
    digest          bytea not null check (length(digest) = 32), -- SHA-256 of its canonical bytes, which its own room keeps
    happened_at     timestamptz not null, -- When it was made
    primary key (document_id, lane)
);
create index document_batch on ledger.document (batch_id);
create trigger append_only_rows before update or delete on ledger.document for each row execute function ledger.refuse_change_v1();
create trigger append_only_table before truncate on ledger.document for each statement execute function ledger.refuse_change_v1();

create view ledger.v_document as
select d.lane, d.document_id, d.kind, d.digest, d.happened_at, b.booked_at, d.batch_id, d.position, s.seal_id,
       s.first_index + d.position as leaf_index
from ledger.document d
join ledger.batch b on b.lane = d.lane and b.batch_id = d.batch_id
left join ledger.sealed_batch s on s.lane = d.lane and s.batch_id = d.batch_id;
comment on view ledger.v_document is 'Sealed documents with their dense index; the index is null while the document is unsealed';

comment on table ledger.batch is 'One commit of entries, or of documents: the unit of writing and of sealing';
comment on column ledger.batch.entries is 'Number of its leaves: entries, or documents';
comment on column ledger.batch.leaves is 'RFC 6962 leaf hashes in position order, 32 bytes each';
comment on column ledger.seal.tree_size is 'Number of leaves under this seal: entries and documents';

grant select, insert on ledger.document to tongting_app;
grant select on ledger.v_document to tongting_app;
