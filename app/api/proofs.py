"""Checkpoints and proofs for anyone: what a stranger needs to check the book without our software.

Knows HTTP and the ledger's proofs; must not know payments beyond their number. Mounted by ``app.main``.
"""

from typing import Annotated, Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Struct

from app.wiring import Wired
from ledger import extracts, places, proofs
from ledger.errors import NotFound, Refused
from ledger.ids import entry_id, read_payment_number
from ledger.journal import EntryKind


class Inclusion(Struct, frozen=True):
    """Proof that a receipt's entry is in the book. Hashes and records are hexadecimal.

    To check it: SHA-256 of 0x00 and ``record`` is ``leaf``; RFC 6962 leads from ``leaf`` with ``path`` to the root in
    ``checkpoint``; the signature of ``checkpoint`` holds by ``verifier_key``.
    """

    receipt: str
    entry: str
    record: str
    leaf: str
    leaf_index: int
    tree_size: int
    path: list[str]
    checkpoint: str
    verifier_key: str


class Consistency(Struct, frozen=True):
    """Proof that the book over ``tree_size`` entries begins with that over ``old_size`` (RFC 6962 §2.1.2), hexadecimal."""

    old_size: int
    tree_size: int
    path: list[str]


@get("/v1/checkpoint", sync_to_thread=True, media_type="text/plain", tags=["proofs"], summary="Newest signed checkpoint")
def checkpoint(wiring: Wired) -> str:
    """Return the newest checkpoint: a signed note in the form of C2SP tlog-checkpoint."""
    with wiring.db.connect() as tx:
        last = extracts.seal(tx, lane=wiring.lane)
    if last is None:
        raise NotFound("nothing has been sealed yet")
    return last.checkpoint


@get("/v1/checkpoint/key", sync_to_thread=True, media_type="text/plain", tags=["proofs"], summary="Public key of the checkpoints")
def verifier_key(wiring: Wired) -> str:
    """Return the public key of the checkpoints in note form (name+hash+key). Compare it once with a copy got another way."""
    return wiring.signer().verifier_key()


@get("/v1/receipts/{receipt:str}/proof", sync_to_thread=True, tags=["proofs"], summary="Proof that a receipt is in the book")
def inclusion(
    wiring: Wired,
    receipt: FromPath[str],
    tree_size: Annotated[int | None, QueryParameter(ge=1, description="Checkpoint to prove against")] = None,
) -> Inclusion:
    """Prove that the payment of a receipt number, or what was borne in place of one, is booked and sealed.

    Whoever knows the number may ask; it cannot be guessed.
    """
    read = read_payment_number(receipt)
    if read is None or read[0] != wiring.lane or read[1].int & 0xFF:
        raise NotFound(f"{receipt!r} is not a receipt number of ours")
    with wiring.db.connect() as tx:
        entries = [entry_id(read[1], kind) for kind in (EntryKind.PAYMENT, EntryKind.BEARER_CLAIMED)]
        known = [one for one in entries if one in places.sealed(tx, lane=wiring.lane, entry_ids=entries)]
        proof = proofs.inclusion(tx, lane=wiring.lane, entry_id=(known or entries)[0], size=tree_size)
    return Inclusion(
        receipt=receipt, entry=str(proof.entry.entry_id), record=proof.record.hex(), leaf=proof.leaf.hex(),
        leaf_index=proof.index, tree_size=proof.size, path=[hashed.hex() for hashed in proof.path], checkpoint=proof.checkpoint,
        verifier_key=wiring.signer().verifier_key(),
    )  # fmt: skip


@get("/v1/checkpoint/consistency", sync_to_thread=True, tags=["proofs"], summary="Proof that the book only grew")
def consistency(wiring: Wired, old_size: FromQuery[int], tree_size: FromQuery[int]) -> Consistency:
    """Prove that the book over ``tree_size`` sealed entries begins with the book over ``old_size``."""
    with wiring.db.connect() as tx:
        last = extracts.seal(tx, lane=wiring.lane)
        sealed = 0 if last is None else last.tree_size
        if not 0 < old_size <= tree_size <= sealed:
            raise Refused(f"sizes must rise from 1 to the {sealed} entries sealed: old_size <= tree_size", code="size_invalid")
        path = proofs.consistency(tx, lane=wiring.lane, old=old_size, size=tree_size)
    return Consistency(old_size, tree_size, [hashed.hex() for hashed in path])


routes: Final[list[HTTPRouteHandler]] = [checkpoint, verifier_key, inclusion, consistency]
