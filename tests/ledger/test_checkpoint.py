"""Checkpoints as signed notes: what a stranger with the public key can tell."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.checkpoint import Checkpoint, Signer, read

SIGNER = Signer("tongting.example/lane/0", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ROOT = hashlib.sha256(b"root").digest()


def test_a_note_has_the_published_form_and_verifies_with_plain_ed25519() -> None:
    """Taken apart by hand after C2SP signed-note, without our reader."""
    note = SIGNER.sign(size=42, root=ROOT)
    origin, size, root, blank, signature, end = note.split("\n")
    assert (origin, size, blank, end) == ("tongting.example/lane/0", "42", "", "")
    assert base64.b64decode(root) == ROOT
    dash, name, signed = signature.split(" ")
    assert (dash, name) == ("\u2014", "tongting.example/lane/0")
    key = base64.b64decode(SIGNER.verifier_key().split("+", 2)[2])
    assert key[0] == 1
    assert base64.b64decode(signed)[:4] == hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(base64.b64decode(signed)[4:], f"{origin}\n{size}\n{root}\n".encode())


def test_a_note_reads_back() -> None:
    assert read(SIGNER.sign(size=42, root=ROOT), verifier_key=SIGNER.verifier_key()) == Checkpoint(
        "tongting.example/lane/0", 42, ROOT
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda note: note.replace("\n42\n", "\n43\n"), "signature of the checkpoint is wrong"),
        (lambda note: note.replace("tongting", "elsewhere"), "not a checkpoint of this origin"),
        (lambda note: note.split("\n\n")[0] + "\n\n", "no signature by this key"),
        (lambda note: note[:0], "not a checkpoint"),
        (lambda note: note.replace("\n42\n", "\n-1\n"), "not a checkpoint"),
    ],
)
def test_a_note_that_was_touched_is_refused(changed: "object", words: str) -> None:
    assert callable(changed)
    with pytest.raises(ValueError, match=words):
        read(changed(SIGNER.sign(size=42, root=ROOT)), verifier_key=SIGNER.verifier_key())


def test_another_key_of_the_same_name_is_no_signature() -> None:
    other = Signer(SIGNER.origin, Ed25519PrivateKey.generate())
    with pytest.raises(ValueError, match="no signature by this key"):
        read(SIGNER.sign(size=42, root=ROOT), verifier_key=other.verifier_key())
