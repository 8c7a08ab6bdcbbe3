"""Charges by card in: a lane's records of what cards paid, as a lot's parking system brings them.

Knows the form of requests and answers; must not know packages or the clearing party. Mounted by ``app.api``.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import Struct

from app import auth
from app.api.charges import Malformed
from app.auth import Called
from app.wiring import Wired, Wiring
from gateways.etc import uploads
from gateways.etc.record import TransactionRecord
from ledger.errors import NotAllowed
from payments.cards import intake
from payments.cards.intake import Rules
from payments.cards.records import NewCardCharge, TakenCard

MALFORMED: Final = "malformed"


class CardChargeIn(Struct, frozen=True, forbid_unknown_fields=True):
    """A charge that a card paid. ``serial`` is the serial of the charge; a stay that cost nothing has none.

    ``record`` has the fields of the transaction record (docs/ETC.md, section 4), times as ``yyyy-MM-dd HH:mm:ss`` of Beijing, money
    in fen.
    """

    record: dict[str, Any]
    serial: str = ""


_records: Final = msgspec.json.Decoder(list[CardChargeIn])


@post(
    "/v1/lots/{lot_code:str}/card-charges",
    sync_to_thread=True,
    status_code=207,
    tags=["lots"],
    summary="Bring what cards paid at the lanes",
    responses={207: ResponseSpec(list[TakenCard], description="One result for each record, in order; good ones stand")},
)
def post_card_charges(wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody) -> Response[bytes]:
    """Take a list of records of one lot, each of which is proof of what a card owes: bring them before the barrier opens.

    The charges are posted before. Bringing the same record again is harmless. A record that is refused stays the lot's: mend it and
    bring it again, a lost record is lost money.
    """
    given = _read(body)
    if not caller.may_write:
        raise NotAllowed("this client may read, not post", code="read_only")
    with wiring.db.connect() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
    read = [_read_one(one) for one in given]
    good = [one for one in read if isinstance(one, NewCardCharge)]
    taken = iter(intake.take(wiring.till(), lot=lot, charges=good, body=body, rules=rules(wiring)))
    results = [one if isinstance(one, TakenCard) else next(taken) for one in read]
    return Response(msgspec.json.encode(results), status_code=207, media_type="application/json")


def rules(wiring: Wiring) -> Rules:
    """Return what records are measured against, by the settings."""
    settings = wiring.settings
    return Rules(own_network=settings.etc_own_network, overdue_after=timedelta(days=settings.etc_record_days_max))


def _read(body: bytes) -> Sequence[CardChargeIn]:
    try:
        given = _records.decode(body)
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body is not a list of card charges: {wrong}") from None
    if len(given) > intake.RECORDS_MAX:
        raise Malformed(f"at most {intake.RECORDS_MAX} records fit into one call")
    return given


def _read_one(given: CardChargeIn) -> NewCardCharge | TakenCard:
    record = uploads.read_record(given.record)
    if isinstance(record, TransactionRecord):
        return NewCardCharge(record, given.serial)
    number = given.record.get("id")
    return TakenCard(
        number=number if isinstance(number, str) else "", outcome="refused", reason=MALFORMED, field="record", detail=record
    )  # fmt: skip
