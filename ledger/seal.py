"""The sealer: gives committed batches their order, their place in the tree and their weight in the balances, in one act.

Knows batches, tree, checkpoint and the witness file; must not know what the entries mean. Called by the worker and by tests.

Commit-safe order: only batches of transactions below the snapshot's xmin are taken, ordered by (transaction, number). Nothing that
commits later can have a smaller place, so no batch is passed over. One sealer works on a lane at a time; others wait for its lock.
"""

import os
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from msgspec import Struct
from sqlalchemy import Connection, text

from ledger import checkpoint, seal_store, tree
from ledger.errors import Refused

BATCHES_MAX: Final = 256
"""Batches in one seal at most: bounds its memory and the length of its transaction."""


class SealRefused(Refused):
    """The sealer will not sign: the database does not continue what was signed before."""

    code = "seal_refused"


class Sealed(Struct, frozen=True):
    """One seal. ``more`` tells that further batches were waiting."""

    seal_id: int
    tree_size: int
    entries: int
    more: bool


class Witness:
    """The last checkpoint of a lane, kept outside the database, so that a restored backup cannot fork history unseen."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> str | None:
        """Return the last note written, or None before the first."""
        return self._path.read_text(encoding="utf-8") if self._path.exists() else None

    def write(self, note: str) -> None:
        """Keep a note, durably: a crash leaves either the old or the new one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", encoding="utf-8", dir=self._path.parent, delete=False) as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self._path)


class Sealer:
    """Seals one lane. Its caller owns the connection, its transactions and the pace."""

    def __init__(self, *, lane: int, signer: checkpoint.Signer, witness: Witness) -> None:
        self.lane = lane
        self._signer = signer
        self._witness = witness
        self._checked = False

    def wait_for_turn(self, connection: Connection) -> None:
        """Wait until no other sealer of this lane lives; holds the lane until ``connection`` is closed."""
        connection.execute(text("select pg_advisory_lock(hashtext('tongting sealer'), :lane)"), {"lane": self.lane})
        connection.commit()

    def try_turn(self, connection: Connection) -> bool:
        """Take the lane if it is free, without waiting. Returns whether it was."""
        query = text("select pg_try_advisory_lock(hashtext('tongting sealer'), :lane)")
        taken = connection.execute(query, {"lane": self.lane}).scalar_one()
        connection.commit()
        return bool(taken)

    def seal_once(self, connection: Connection, *, at: datetime) -> Sealed | None:
        """Seal what has been committed, as one transaction of its own. Returns None when there was nothing to seal.

        Extends the tree, gives each batch its first index and each book its dense numbers, folds the amounts into the sealed
        balances and signs the checkpoint. Killed at any moment it leaves either all of that or nothing.

        Raises:
            SealRefused: the database is older than, or differs from, the last checkpoint signed (a restored backup).
        """
        with connection.begin():
            head = seal_store.lock_head(connection, lane=self.lane)
            if not self._checked:
                self._refuse_a_fork(connection, head)
            tail = seal_store.unsealed(connection, lane=self.lane, head=head, limit=BATCHES_MAX)
            if not tail.batches:
                self._checked = True
                return None
            edge, tiles = tree.extend(head.edge, b"".join(batch.leaves for batch in tail.batches))
            root = edge.root()
            note = self._signer.sign(size=edge.size, root=root)
            seal = seal_store.NewSeal(lane=self.lane, seal_id=head.seal_id + 1, edge=edge, root=root, checkpoint=note, sealed_at=at)
            seal_store.write(connection, seal=seal, head=head, tail=tail, tiles=tiles)
        self._checked = True
        self._witness.write(note)
        return Sealed(seal.seal_id, edge.size, edge.size - head.edge.size, more=len(tail.batches) == BATCHES_MAX)

    def _refuse_a_fork(self, connection: Connection, head: seal_store.Head) -> None:
        """Compare the database with the last checkpoint signed, once per start."""
        known = seal_store.claim_verifier_key(connection, lane=self.lane, verifier_key=self._signer.verifier_key())
        if known != self._signer.verifier_key():
            raise SealRefused(f"lane {self.lane} was sealed with another key ({known}); give the sealer that key")
        note = self._witness.last()
        if note is None:
            if head.edge.size:
                raise SealRefused(
                    f"lane {self.lane} holds {head.edge.size} sealed entries, but the record of the last signed checkpoint is "
                    "missing. Put the checkpoint file back, or accept the database as it is with 'tongting checkpoint --accept'."
                )
            self._witness.write(self._signer.sign(size=0, root=tree.EMPTY_ROOT))  # so that a kill after the first seal is no loss
            return
        last = checkpoint.read(note, verifier_key=known)
        if last.size > head.edge.size:
            raise SealRefused(
                f"lane {self.lane}: the database ends at entry {head.edge.size}, but a checkpoint over {last.size} entries has "
                "been signed. This looks like an older backup: entries are missing. Restore the newest state (replay the archived "
                "WAL); nothing will be signed until the database contains them again."
            )
        if last.size and seal_store.TreeReader(connection, lane=self.lane).root(last.size) != last.root:
            raise SealRefused(
                f"lane {self.lane}: the first {last.size} entries of the database are not those that were signed. "
                "The journal was changed or belongs to another history; nothing will be signed."
            )


def accept(connection: Connection, *, lane: int, witness: Witness) -> str:
    """Record the database's own last checkpoint as the last signed one: a decision of a person, after a loss of the file."""
    note = seal_store.last_checkpoint(connection, lane=lane)
    if note is None:
        raise Refused(f"lane {lane} has no seal yet; there is nothing to accept", code="nothing_sealed")
    witness.write(note)
    return note
