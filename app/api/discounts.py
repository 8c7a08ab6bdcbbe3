"""Validations: a shop, a hospital or a cinema takes something off the stay of a car, through the lot's or its operator's client.

Knows the form of requests and answers; must not know what a validation takes off. Mounted by ``app.api``.
"""

from typing import Any, Final

import msgspec
from litestar import Request, Response, delete, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody

from app import auth
from app.api import bulk
from app.api.bulk import Malformed, Wrong
from app.auth import Called, Caller
from app.wiring import Wired
from ledger.errors import NotAllowed
from payments.discounts import grants
from payments.discounts.grants import NewValidation, ValidationAnswer

_validations: Final = bulk.Reader(NewValidation, most=grants.VALIDATIONS_MAX, words="validations")


@post(
    "/v1/lots/{lot_code:str}/validations",
    sync_to_thread=True,
    status_code=207,
    tags=["discounts"],
    summary="Validate cars",
    responses={
        200: ResponseSpec(ValidationAnswer, description="One: it was posted before with the same content"),
        201: ResponseSpec(ValidationAnswer, description="One: it counts, or waits for the charge of the stay"),
        207: ResponseSpec(list[ValidationAnswer], description="A list: one answer for each, in order; good ones stand"),
    },
)
def post_validations(
    wiring: Wired, caller: Called, request: Request[Any, Any, Any], lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:
    """Take a validation, a list of them, or a line for each, before or after the stay has a price. Posting it again is harmless.

    It names an offer, and the plate or the lot's serial of the stay; ``serial`` is the merchant's own. See docs/DISCOUNTS.md.
    """
    _check_writer(caller)
    given = _validations.read(request, body)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        answers = grants.validate(
            tx, lane=wiring.lane, lot=lot, client_id=caller.client_id, validations=given.good, at=wiring.clock.now(),
            ids=wiring.ids, body=body,
        )  # fmt: skip
    return given.answer(answers, _refused)


@delete(
    "/v1/lots/{lot_code:str}/validations/{serial:str}",
    sync_to_thread=True,
    status_code=200,
    tags=["discounts"],
    summary="Take a validation back",
    responses={200: ResponseSpec(ValidationAnswer, description="It counts no more")},
)
def delete_validation(wiring: Wired, caller: Called, lot_code: FromPath[str], serial: FromPath[str]) -> Response[bytes]:
    """Take a validation back that nobody has paid with. May be repeated."""
    _check_writer(caller)
    with wiring.db.begin() as tx:
        lot = auth.own_lot(tx, caller=caller, code=lot_code)
        told = grants.cancel(
            tx, lane=wiring.lane, lot=lot, client_id=caller.client_id, serial=serial, at=wiring.clock.now(), ids=wiring.ids
        )  # fmt: skip
    return Response(msgspec.json.encode(told), status_code=200, media_type="application/json")


def _check_writer(caller: Caller) -> None:
    if not caller.may_write:
        raise NotAllowed("this client may read, not change", code="read_only")


def _refused(wrong: Wrong) -> ValidationAnswer:
    return ValidationAnswer(serial=wrong.serial, outcome="refused", reason=Malformed.code, field=wrong.field, detail=wrong.detail)


routes: Final = [post_validations, delete_validation]
