"""What issues invoices and fiscal receipts: the form of requests and answers, and what an issuer must be able to do.

Knows the lines that go and come; must not know the database or where they go. Called by ``handing_over``; a plug-in is a class of
``Issuer``'s form. ``file_issuer`` has the one that is always there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

FILE_BYTES_MAX: Final = 5 * 1024 * 1024
MEDIA: Final = {
    "ofd": "application/ofd", "pdf": "application/pdf", "xml": "application/xml", "json": "application/json",
    "zip": "application/zip",
}  # fmt: skip
"""What a structured original can be, by the end of its name. Nothing that a browser would run."""
ITEM: Final = "车辆停放服务费"


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as it is handed over. ``request`` is answered by; amounts in fen, all with tax.

    ``red``: the invoice ``red_of`` is reduced by ``amount_fen``: as much as was refunded since (``because`` refund), or all that is
    left of it, since it is made out anew (correction). A blue one that ``replaces`` such an invoice comes after its red one.
    """

    request: UUID
    color: Literal["blue", "red"]
    document: Literal["tax_invoice", "fiscal_receipt"]
    seller_name: str
    seller_credit_code: str
    lot: str
    buyer_kind: Literal["person", "company"]
    buyer: str
    amount_fen: int
    receipt: str
    paid_at: datetime
    item: str = ITEM
    buyer_tax_no: str | None = None
    email: str | None = None
    red_of: str | None = None
    because: Literal["refund", "correction"] | None = None
    replaces: str | None = None


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An issuer's answer to one request. ``file`` is the structured original that lies beside the answers."""

    request: UUID
    state: Literal["issued", "refused"]
    number: Annotated[str, Meta(pattern=r"^[0-9]{8,20}$")] | None = None
    issued_at: datetime | None = None
    amount_fen: int | None = None
    file: Annotated[str, Meta(pattern=r"^[^/\\]{1,120}$")] | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    words: Annotated[str, Meta(max_length=300)] | None = None


class AnswerFile(Struct, frozen=True):
    """Answers as they came: JSON lines under a name that is the issuer's."""

    name: str
    body: bytes


class Issuer(Protocol):
    """A way to whoever issues. Raises ``ledger.errors.Unavailable`` when it is away: everything is tried again."""

    def hand_over(self, name: str, body: bytes) -> None:
        """Hand over a batch, JSON lines of ``Line``. The same name again is the same batch and must do no harm."""
        ...

    def answers(self, *, limit: int) -> Sequence[AnswerFile]:
        """Return files of answers that wait, the oldest first."""
        ...

    def original(self, name: str) -> bytes | None:
        """Return the file that an answer names; None when it is not there or larger than ``FILE_BYTES_MAX``."""
        ...

    def taken(self, name: str, wrong: Sequence[str]) -> None:
        """Put a file of answers away; when something is ``wrong`` with it, aside for a person, with these words."""
        ...


encode: Final = msgspec.json.Encoder().encode
decode_answer: Final = msgspec.json.Decoder(Answer).decode
