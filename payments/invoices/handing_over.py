"""Timed work on invoices: find red ones that are due, hand requests over to the issuer in batches, take its answers.

Knows requests and the ``Issuer`` protocol; must not know where an issuer is. Called by the worker.

A batch is committed before it is handed over, and handed over again until the issuer has it; a file of answers is put away after
what it says is committed. Wherever this stops, running it again loses nothing and does nothing twice.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateways import messages
from gateways.contract import RawMessage
from ledger.errors import Unavailable
from ledger.ids import Ids, payment_number
from payments.invoices import invoice_store
from payments.invoices.invoice_store import Again, File, Held, Outcome
from payments.invoices.issuer import MEDIA, Answer, AnswerFile, Issuer, Line, decode_answer, encode

BATCH_MAX: Final = 500
FILES_MAX: Final = 20
LINES_MAX: Final = 5_000
"""Most answers in one file."""
LATELY: Final = timedelta(days=3)
"""Each run compares refunds of these days with issued invoices; ``compare_all`` does those of all days that a rule names."""
RED_TRIES_MAX: Final = 8
"""A red invoice that was refused so often waits for a person: the last try is some two days after the first."""
NOTHING_LEFT: Final = "款项已全部退回，无需开票"
TAX_NUMBER_DIGITS: Final = 20


class Ran(Struct, frozen=True):
    """What one run did. ``trouble``: the issuer is away, in words; everything waits for the next run."""

    reds: int = 0
    handed_over: int = 0
    answered: int = 0
    aside: int = 0
    """Files of answers that were set aside."""
    again: int = 0
    """Red ones that were refused and are asked for anew."""
    stuck: int = 0
    """Red ones that wait for a person, in all."""
    trouble: str | None = None


class Taken(Struct, frozen=True):
    """What became of one file of answers; ``wrong`` has a sentence for each line that could not be taken."""

    answered: int
    wrong: list[str]


def run(db: Engine, *, lane: int, issuer: Issuer, at: datetime, ids: Ids, say: Callable[[str], object] = lambda _: None) -> Ran:
    """Take answers, find red invoices that are due, and hand over what waits. May be repeated at any time, also beside itself."""
    answered = aside = handed_over = reds = again = 0
    trouble = None
    try:
        while files := issuer.answers(limit=FILES_MAX):
            for file in files:
                taken = take(db, lane=lane, issuer=issuer, file=file, at=at, ids=ids)
                issuer.taken(file.name, taken.wrong)
                answered, aside = answered + taken.answered, aside + bool(taken.wrong)
                for words in taken.wrong:
                    say(f"invoice answers {file.name}: {words}")
        reds = compare(db, lane=lane, since=at - LATELY, at=at, ids=ids)
        while asked := _commit(db, lambda tx: retry_due(tx, lane=lane, at=at, ids=ids)):
            again += asked
        while made := _commit(db, lambda tx: collect(tx, lane=lane, at=at, ids=ids)):
            handed_over += made
        deliver(db, lane=lane, issuer=issuer, at=at)
    except Unavailable as away:
        trouble = str(away)
    with db.connect() as tx:
        return Ran(reds, handed_over, answered, aside, again, stuck(tx, lane=lane), trouble)


def _commit(db: Engine, work: Callable[[Connection], int]) -> int:
    with db.begin() as tx:
        return work(tx)


def compare(db: Engine, *, lane: int, since: datetime, at: datetime, ids: Ids) -> int:
    """Ask for the red invoices that refunds done since a moment make due, in batches. Returns how many; may be repeated."""
    reds = 0
    while found := _commit(db, lambda tx: find_reds(tx, lane=lane, since=since, payment_ids=[], at=at, ids=ids)):
        reds += found
    return reds


def compare_all(db: Engine, *, lane: int, at: datetime, ids: Ids) -> int:
    """Do that for every day on which the rules have refunds followed: notices may come late, a worker may have stood still."""
    with db.connect() as tx:
        since = at - invoice_store.look_back(tx)
    return compare(db, lane=lane, since=since, at=at, ids=ids)


def retry_due(tx: Connection, *, lane: int, at: datetime, ids: Ids) -> int:
    """Ask anew for red invoices that were refused some time ago. Returns how many; none is left out or asked for twice."""
    return _again(tx, invoice_store.refused_reds(tx, lane=lane, at=at, limit=BATCH_MAX), lane, at, ids)


def retry(
    tx: Connection, *, lane: int, requests: Sequence[UUID] = (), lot_id: int | None = None, asked_on: date | None = None,
    at: datetime, ids: Ids,
) -> int:  # fmt: skip
    """Ask anew at once for refused red invoices, from the first try: these, or all of a lot and a day. Returns how many."""
    found = invoice_store.waiting_reds(tx, lane=lane, requests=requests, lot_id=lot_id, asked_on=asked_on, limit=BATCH_MAX)
    return _again(tx, found, lane, at, ids)


def stuck(tx: Connection, *, lane: int) -> int:
    """Return how many red invoices were refused ``RED_TRIES_MAX`` times and wait for a person."""
    return invoice_store.stuck(tx, lane=lane)


def _again(tx: Connection, found: Sequence[Again], lane: int, at: datetime, ids: Ids) -> int:
    if found:
        invoice_store.ask_again(
            tx, lane=lane, red_ids=[one.red_id for one in found], tries=[one.tries for one in found], at=at,
            new_ids=[ids.new(at, f"red invoice again {one.red_id}") for one in found],
        )  # fmt: skip
    return len(found)


def find_reds(
    tx: Connection, *, lane: int, since: datetime | None, payment_ids: Sequence[UUID], at: datetime, ids: Ids
) -> int:  # fmt: skip
    """Ask for red invoices where an issued one says more than what is left of its payment. Returns how many."""
    due = invoice_store.reds_due(tx, lane=lane, since=since, payment_ids=payment_ids, at=at, limit=BATCH_MAX)
    if due:
        red_ids = [ids.new(at, f"red invoice {invoice_id} {fen}") for invoice_id, fen in due]
        invoice_store.insert_reds(
            tx, lane=lane, red_ids=red_ids, invoice_ids=[one for one, _ in due], fen=[fen for _, fen in due], at=at
        )
    return len(due)


def collect(tx: Connection, *, lane: int, at: datetime, ids: Ids) -> int:
    """Put what waits into one batch, with the amounts as they are now: paid less refunded. Returns how many were dealt with.

    A payment with a refund under way waits until that is decided; one of which nothing is left needs no invoice any more.
    """
    blue = invoice_store.claim_blue(tx, lane=lane, limit=BATCH_MAX)
    red = invoice_store.claim_red(tx, lane=lane, limit=BATCH_MAX - len(blue)) if len(blue) < BATCH_MAX else []
    empty = [row.request for row in blue if row.left_fen <= 0]
    if empty:
        invoice_store.refuse(tx, lane=lane, invoice_ids=empty, words=NOTHING_LEFT, at=at)
    owed = [row for row in blue if row.left_fen > 0]
    lines = [_line(row, lane, row.left_fen, replaces=row.replaces) for row in owed]
    lines += [_line(row, lane, row.amount_fen, red_of=row.red_of, because=row.cause) for row in red]
    if lines:
        body = b"".join(encode(line) + b"\n" for line in lines)
        digest = hashlib.sha256(body).digest()
        invoice_store.put_into_batch(
            tx, lane=lane, batch_id=ids.new(at, "invoice batch", digest), lines=len(lines), digest=digest, body=body, at=at,
            blue={row.request: row.left_fen for row in owed}, red=[row.request for row in red],
        )  # fmt: skip
    return len(lines) + len(empty)


def _line(row: Any, lane: int, amount_fen: int, **more: Any) -> Line:
    return Line(
        request=row.request, color="red" if "red_of" in more else "blue", document=row.kind, seller_name=row.legal_name,
        seller_credit_code=row.credit_code, lot=row.lot, buyer_kind=row.buyer_kind, buyer=row.title, amount_fen=amount_fen,
        receipt=payment_number(lane, row.payment_id), paid_at=row.paid_at, buyer_tax_no=row.tax_no, email=row.email, **more,
    )  # fmt: skip


def deliver(db: Engine, *, lane: int, issuer: Issuer, at: datetime) -> int:
    """Hand over the batches that the issuer has not got. Returns how many. Raises Unavailable; what it has is written down."""
    with db.connect() as tx:
        waiting = invoice_store.undelivered(tx, lane=lane, limit=FILES_MAX)
    done: list[UUID] = []
    try:
        for batch_id, body in waiting:
            issuer.hand_over(batch_id.hex, body)
            done.append(batch_id)
    finally:
        if done:
            with db.begin() as tx:
                invoice_store.delivered(tx, lane=lane, batch_ids=done, at=at)
    return len(done)


# Answers


def take(db: Engine, *, lane: int, issuer: Issuer, file: AnswerFile, at: datetime, ids: Ids) -> Taken:
    """Take one file of answers: keep it, and let each good line count; the others are told in words. Again, it is harmless."""
    digest = hashlib.sha256(file.body).digest()
    answers, wrong = _read(file.body)
    with db.begin() as tx:
        if invoice_store.was_taken(tx, lane=lane, digest=digest):
            return Taken(0, [])
        held = invoice_store.hold(tx, lane=lane, requests=[answer.request for _, answer in answers])
        numbers = [answer.number for _, answer in answers if answer.number is not None]
        in_use = invoice_store.numbers_in_use(tx, lane=lane, numbers=numbers) if numbers else {}
        outcomes: list[Outcome] = []
        files: list[File] = []
        for number, answer in answers:
            judged = _judge(answer, held.get(answer.request), in_use, issuer)
            if isinstance(judged, str):
                wrong.append(f"line {number}: {judged}")
            elif judged is not None:
                outcome, kept = judged
                _follow(held[answer.request], outcome, in_use)
                outcomes.append(outcome)
                files += kept
        evidence = _evidence(file, at, ids, verified=not wrong)
        messages.keep(tx, lane=lane, messages=[evidence])
        if outcomes:
            invoice_store.answer(
                tx, lane=lane, outcomes=outcomes, evidence_id=evidence.message_id, tries_max=RED_TRIES_MAX, at=at
            )  # fmt: skip
            invoice_store.keep_files(tx, lane=lane, files=files, at=at)
            issued = [held[one.request].payment_id for one in outcomes if one.state == "issued"]
            find_reds(tx, lane=lane, since=None, payment_ids=issued, at=at, ids=ids)
        invoice_store.keep_answer_file(
            tx, lane=lane, digest=digest, name=file.name, evidence_id=evidence.message_id, taken=len(outcomes), refused=len(wrong),
            at=at,
        )  # fmt: skip
    return Taken(len(outcomes), wrong)


def _read(body: bytes) -> tuple[list[tuple[int, Answer]], list[str]]:
    """Return the lines that can be read with their numbers, and what is wrong with the others."""
    lines = [(number, line) for number, line in enumerate(body.splitlines(), start=1) if line.strip()]
    if not lines or len(lines) > LINES_MAX:
        return [], [f"a file of answers has 1 to {LINES_MAX} lines and at most 16 MB"]
    answers, wrong = [], []
    for number, line in lines:
        try:
            answers.append((number, decode_answer(line)))
        except (msgspec.DecodeError, UnicodeDecodeError) as broken:
            wrong.append(f"line {number}: this is no answer: {broken}")
    return answers, wrong


def _judge(
    answer: Answer, held: Held | None, in_use: dict[tuple[str, str], UUID], issuer: Issuer
) -> tuple[Outcome, list[File]] | str | None:
    """Return what an answer changes; None when it was taken before; or what is wrong with it."""
    if held is None:
        return f"there is no request {answer.request}"
    if held.state in ("issued", "refused"):
        same = (answer.state, answer.number if answer.state == "issued" else answer.words) == (
            held.state, held.number if held.state == "issued" else held.refused_words,
        )  # fmt: skip
        return None if same else f"request {answer.request} was answered before, and otherwise"
    if held.state == "requested":
        return f"request {answer.request} was never handed over"
    if answer.state == "refused":
        words = (answer.words or "").strip()
        return (_outcome(answer, words=words), []) if words else "a refusal says why, in words"
    return _issued(answer, held, in_use, issuer)


def _issued(
    answer: Answer, held: Held, in_use: dict[tuple[str, str], UUID], issuer: Issuer
) -> tuple[Outcome, list[File]] | str:  # fmt: skip
    if answer.number is None or answer.issued_at is None or answer.issued_at.tzinfo is None:
        return "what is issued has a number, and a time with its offset"
    if held.kind == "tax_invoice" and len(answer.number) != TAX_NUMBER_DIGITS:
        return f"the number of a tax invoice has {TAX_NUMBER_DIGITS} digits"
    if answer.amount_fen != held.amount_fen:
        return f"issued over {answer.amount_fen} fen, asked for {held.amount_fen}"
    if not held.is_red and in_use.get((held.kind, answer.number), answer.request) != answer.request:
        return f"number {answer.number} belongs to another invoice"
    media_type = MEDIA.get((answer.file or "").rpartition(".")[2].lower())
    if answer.file is None or media_type is None:
        return f"the structured original is missing; its name ends in one of {', '.join(sorted(MEDIA))}"
    body = issuer.original(answer.file)
    if not body:
        return f"{answer.file} is not there, is empty or too large; lay it beside the answers, then bring the answers again"
    digest = hashlib.sha256(body)
    if answer.sha256 is not None and answer.sha256 != digest.hexdigest():
        return f"{answer.file} is not the file that the answer means: its SHA-256 differs"
    kept = File(subject_id=answer.request, name=answer.file, media_type=media_type, digest=digest.digest(), body=body)
    return _outcome(answer), [kept]


def _outcome(answer: Answer, *, words: str | None = None) -> Outcome:
    is_issued = answer.state == "issued"
    return Outcome(
        request=answer.request, state=answer.state, number=answer.number if is_issued else None,
        issued_at=answer.issued_at if is_issued else None, words=words,
    )  # fmt: skip


def _follow(held: Held, outcome: Outcome, in_use: dict[tuple[str, str], UUID]) -> None:
    """Let the next lines of the file see what this one changed."""
    held.state, held.number, held.refused_words = outcome.state, outcome.number, outcome.words
    if outcome.number is not None and not held.is_red:
        in_use[held.kind, outcome.number] = outcome.request


def _evidence(file: AnswerFile, at: datetime, ids: Ids, *, verified: bool) -> RawMessage:
    """Make the record of a file of answers: it came over a way that only the issuer writes to."""
    return RawMessage(
        message_id=ids.new(at, f"message invoice answers {file.name}", file.body), channel="invoice", operation="answers",
        direction="in", verdict="verified" if verified else "unverified", reason=None if verified else "lines_refused",
        received_at=at, headers=msgspec.json.encode({"file": file.name}).decode(), body=file.body,
    )  # fmt: skip
