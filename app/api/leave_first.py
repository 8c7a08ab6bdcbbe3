"""The question at the gate: may this plate leave first? Of many barriers at once, a group in one read.

Knows the form of question and answer, and how questions gather; must not know how it is decided. Mounted by ``app.api``. Of what a
plate owes elsewhere nothing leaves here but yes or no and a reason.

Every barrier waits for its answer, and a thread and a transaction for each question cost several times what the read itself does:

    question ─ token, form, plate (event loop) ─┐
    question ───────────────────────────────────┼─ wait ─► one thread: lots, then rule and standing, for all that wait ─► answers
    question ───────────────────────────────────┘          meanwhile the next ones gather

A question that finds nobody reading is read at once. What goes to the database is checked before: no question spoils the others'.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from anyio import to_thread
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, RawBody
from msgspec import Meta, Struct
from sqlalchemy import Engine

from app import auth
from app.api.bulk import Malformed
from app.auth import Called, Caller
from app.wiring import Wired, Wiring
from ledger.clock import Clock
from ledger.errors import NotAllowed, NotFound
from payments import lots, plates
from payments.owed import leaving
from payments.owed.leaving import Asked, Gate, Leave
from payments.plates import PlateColor

LOG: Final = logging.getLogger("tongting.lookups")
CARS_MAX: Final = 1_000
"""Most cars in one question, and in one read; a question is never parted."""
READS_MAX: Final = 2
"""Reads that one process has under way at a time, each on a connection."""


class LeaveIn(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plate at the gate; ``amount_fen`` is what its stay costs, 0 when that is not known yet."""

    plate: Annotated[str, Meta(min_length=1, max_length=32)]
    plate_color: PlateColor = "unknown"
    amount_fen: Annotated[int, Meta(ge=0, le=100_000_000)] = 0


class LeaveView(Struct, frozen=True):
    """Whether the plate may leave first, and why or why not."""

    may_leave: bool
    reason: str


_leaves: Final = msgspec.json.Decoder(list[LeaveIn])
_leave: Final = msgspec.json.Decoder(LeaveIn)


class Question(Struct, frozen=True, eq=False):
    """Who asks at which lot about which cars. Its form is checked."""

    caller: Caller
    lot_code: str
    cars: Sequence[Asked]


class Waiting(Struct, frozen=True, eq=False):
    """A question and whoever waits for its answers."""

    question: Question
    told: asyncio.Future[list[Leave]]


class Questions:
    """Answers questions of one event loop: those that wait together in one read."""

    def __init__(self, *, db: Engine, clock: Clock) -> None:
        self._db, self._clock = db, clock
        self._waiting: deque[Waiting] = deque()
        self._reads = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question) -> list[Leave]:
        """Return whether the cars may leave first, in order. Raises NotFound (``lot_not_found``)."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(question, loop.create_future())
        self._waiting.append(waiting)
        if self._reads < READS_MAX:
            self._reads += 1
            task = loop.create_task(self._read())
            self._tasks.add(task)  # a loop holds its tasks only weakly
            task.add_done_callback(self._tasks.discard)
        return await waiting.told

    async def _read(self) -> None:
        """Answer a group after the other until nobody waits. It counts as under way until the very moment it sees that."""
        try:
            while group := self._group():
                try:
                    answers = await to_thread.run_sync(answered, self._db, self._clock, [one.question for one in group])
                except Exception as broken:
                    answers = [broken] * len(group)
                for waiting, answer in zip(group, answers, strict=True):
                    _tell(waiting.told, answer)
        finally:
            self._reads -= 1

    def _group(self) -> list[Waiting]:
        """Take the questions that wait longest, with ``CARS_MAX`` cars at most."""
        group: list[Waiting] = []
        room = CARS_MAX
        while self._waiting and len(self._waiting[0].question.cars) <= room:
            group.append(self._waiting.popleft())
            room -= len(group[-1].question.cars)
        return group


def answered(db: Engine, clock: Clock, questions: Sequence[Question]) -> list[list[Leave] | Exception]:
    """Return the answers to each question, or why it has none, by what is true now: two reads for all of them."""
    codes = {question.lot_code for question in questions}
    with db.begin() as tx:
        known = lots.lots_by_code(tx, codes=[code for code in codes if lots.CODE.fullmatch(code)])
        found = [_seen(known, question) for question in questions]
        asked = [
            (Gate(lot.operator_id, lot.lot_id), car)
            for question, lot in zip(questions, found, strict=True) if isinstance(lot, lots.Lot)
            for car in question.cars
        ]  # fmt: skip
        gates, cars = [gate for gate, _ in asked], [car for _, car in asked]
        told = iter(leaving.ask_at(tx, gates=gates, cars=cars, at=clock.now(), and_commit=True))
    return [
        [next(told) for _ in question.cars] if isinstance(lot, lots.Lot) else lot
        for question, lot in zip(questions, found, strict=True)
    ]  # fmt: skip


def _tell(told: asyncio.Future[list[Leave]], answer: list[Leave] | Exception) -> None:
    if told.done():
        return  # who asked has gone
    if isinstance(answer, Exception):
        told.set_exception(answer)
    else:
        told.set_result(answer)


def _seen(known: dict[str, lots.Lot], question: Question) -> lots.Lot | NotFound:
    try:
        return auth.seen_lot(known.get(question.lot_code), caller=question.caller, code=question.lot_code)
    except NotFound as missing:
        return missing


@post(
    "/v1/lots/{lot_code:str}/leave-first",
    status_code=200,
    tags=["lots"],
    summary="Ask whether a plate may leave first",
    responses={200: ResponseSpec(LeaveView, description="Yes or no with a reason; a list of plates has a list of answers")},
)
async def post_leave_first(
    request: Request[Any, Any, Any], wiring: Wired, caller: Called, lot_code: FromPath[str], body: RawBody
) -> Response[bytes]:  # fmt: skip
    """Say of a plate, or of a list of up to 1,000, whether it may leave this lot first.

    The rule in force decides, with what the plate owes anywhere in the city; how much and to whom is not said.
    """
    many = body.lstrip()[:1] == b"["
    cars = _cars(body, many=many)
    if not caller.may_write:
        raise NotAllowed("this client may read, not let cars leave", code="read_only")
    found = await _questions(request.app.state, wiring).ask(Question(caller, lot_code, cars))
    for car, one in zip(cars, found, strict=True):
        LOG.info("%s asked at lot %s about %s: %s", caller.client_id, lot_code, plates.masked(car.plate), one.reason)
    views = [LeaveView(one.may_leave, one.reason) for one in found]
    return Response(msgspec.json.encode(views if many else views[0]), status_code=200, media_type="application/json")


def _cars(body: bytes, *, many: bool) -> list[Asked]:
    try:
        asked = _leaves.decode(body) if many else [_leave.decode(body)]
    except msgspec.DecodeError as wrong:
        raise Malformed(f"the body is not a plate or a list of plates: {wrong}") from None
    if len(asked) > CARS_MAX:
        raise Malformed(f"at most {CARS_MAX} plates fit into one call")
    return [Asked(plates.checked(one.plate, one.plate_color), one.plate_color, one.amount_fen) for one in asked]


def _questions(state: State, wiring: Wiring) -> Questions:
    """Return what answers in this application, made at its first question."""
    found = state.get("questions")
    if not isinstance(found, Questions):
        found = state["questions"] = Questions(db=wiring.db, clock=wiring.clock)
    return found
