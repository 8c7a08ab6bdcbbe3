"""Asked quotes 询价: while a payer waits, a lot's own system is asked what the plate owes now, and its prices become charges.

Knows endpoints, charges and the questions; must not know pages or channels. Called by the pages and the API.
Source: docs/QUOTES.md.

Question and answer are kept before anything follows from them. A price is a charge under the lot's serial, good until a moment; a
newer price of the same stay takes its place, and the older charge is credited in full without a document: it was never a bill.
What somebody is paying is left alone. So of one stay there is at most one price that can be paid.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Final
from uuid import UUID

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateways import messages
from gateways.contract import RawMessage
from gateways.parking import quotes as wire
from gateways.parking.addresses import AddressRefused, Guard, NameUnknown
from gateways.parking.quotes import Answer, Heard, LotQuote, Network
from ledger.clock import Clock
from ledger.clock import checked as in_utc
from ledger.errors import Conflict, NotFound, Refused, Unavailable
from ledger.ids import Ids
from ledger.invariants import Violation
from payments import charges, plates, store
from payments.errors import PlateRefused
from payments.lot_records import intake
from payments.lot_records.intake import Rejected
from payments.lots import Lot
from payments.orders import Tokens
from payments.quoting import asked_quote_store
from payments.quoting.asked_quote_store import FAILURES_MAX, Endpoint, Known, NewQuote, Refusal
from payments.records import NewCharge
from payments.splitting import splits
from payments.webhooks import message
from payments.webhooks.secret import Vault, new_secret

LOG: Final = logging.getLogger("tongting.quotes")
OPERATION: Final = "quote"
"""What questions are called among the stored messages."""
AGAIN_AFTER_SECONDS: Final = 10.0
"""A lot is asked about a plate no more often; meanwhile its last answer stands."""
IN_FLIGHT_MAX: Final = 16
"""Questions to one lot at a time, in one process: a slow lot must not take all threads of the pages."""
REMEMBERED_MAX: Final = 20_000
STANDS_AT_LEAST: Final = timedelta(minutes=2)
"""A price that ends earlier could not be paid: a channel gives a payer no less than a minute."""
STANDS_AT_MOST: Final = timedelta(hours=24)
TIMEOUT_MS_MIN: Final = 200
OVERLAP: Final = timedelta(hours=24)
"""So long the secret before signs as well."""
REFUSALS_SHOWN: Final = 20
FOUND_MAX: Final = 100
"""Most violations named per check."""


class LotAway(Unavailable):
    """The lot's system gave no usable answer: what is due now is unknown. Nothing was changed or charged."""

    code: ClassVar[str] = "lot_away"


class Turns:
    """Who asks about which plate, in this process: whoever comes while it is asked waits for that answer, whoever comes shortly
    after takes it. Safe in many threads. Remembers ``REMEMBERED_MAX`` plates."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: OrderedDict[tuple[int, str], _Turn] = OrderedDict()
        self._asking: Counter[int] = Counter()

    def once(self, lot_id: int, plate: str, ask: Callable[[], str | None], *, wait_seconds: float) -> str | None:
        """Return why the lot is away, or None: its answer has been taken. Calls ``ask`` unless somebody does or just did."""
        with self._lock:
            turn = self._turns.get((lot_id, plate))
            if turn is not None and (turn.ended_at is None or self._clock() - turn.ended_at < AGAIN_AFTER_SECONDS):
                mine = False
            elif self._asking[lot_id] >= IN_FLIGHT_MAX:
                return "too many questions are under way"
            else:
                mine, turn = True, _Turn()
                self._turns[lot_id, plate] = turn
                self._turns.move_to_end((lot_id, plate))
                self._asking[lot_id] += 1
                self._forget()
        if mine:
            return self._ask(lot_id, plate, turn, ask)
        return turn.away if turn.over.wait(wait_seconds) else "somebody else's question is still under way"

    def _ask(self, lot_id: int, plate: str, turn: "_Turn", ask: Callable[[], str | None]) -> str | None:
        turn.away = "the question was broken off"  # what those who wait are told should it fail
        try:
            turn.away = ask()
        except BaseException:
            with self._lock:
                self._turns.pop((lot_id, plate), None)
            raise
        finally:
            with self._lock:
                turn.ended_at = self._clock()
                self._asking[lot_id] -= 1
                if not self._asking[lot_id]:
                    del self._asking[lot_id]
            turn.over.set()
        return turn.away

    def _forget(self) -> None:
        while len(self._turns) > REMEMBERED_MAX:
            self._turns.popitem(last=False)


class _Turn:
    def __init__(self) -> None:
        self.over = threading.Event()
        self.ended_at: float | None = None
        self.away: str | None = None


class Asking(Struct, frozen=True):
    """What asking works with. ``seconds_max``: no answer is waited for longer, whatever the lot's owner allows."""

    db: Engine
    lane: int
    clock: Clock
    ids: Ids
    vault: Vault
    network: Network
    turns: Turns
    seconds_max: float


def ask(asking: Asking, *, lot: Lot, endpoint: Endpoint, plate: str) -> None:
    """Ask a lot's system what a plate owes now, and take its answer: afterwards the due list is today's.

    Takes up to the time-out of the endpoint. Must not run inside a transaction. May be called as often as wanted: a lot is asked
    about a plate every ten seconds at most, and one that has failed five times in a row only every thirty seconds.

    Args:
        plate: As ``plates.checked`` gives it.

    Raises:
        LotAway: there is no usable answer; what was due before still is.
    """
    seconds = min(endpoint.timeout_ms / 1000, asking.seconds_max)
    away = asking.turns.once(
        lot.lot_id, plate, lambda: _ask(asking, lot, endpoint, plate, seconds), wait_seconds=seconds + 1.0
    )  # fmt: skip
    if away is not None:
        raise LotAway(f"the system of lot {lot.code} is away: {away}")


def _ask(asking: Asking, lot: Lot, endpoint: Endpoint, plate: str, seconds: float) -> str | None:
    """Ask, keep, take. Returns why the lot is away, or None."""
    asked_at = asking.clock.now()
    if endpoint.failures >= FAILURES_MAX:
        with asking.db.begin() as tx:
            if not asked_quote_store.may_ask(tx, endpoint_id=endpoint.endpoint_id, at=asked_at):
                return "it failed too often and is asked seldom"
    question_id = asking.ids.new(asked_at, f"quote {lot.lot_id} {plate}")
    body = wire.question(lot=lot.code, plate=plate, plate_color="unknown", at=asked_at)
    keys = _keys(asking.vault, endpoint, at=asked_at)
    headers = message.headers(body, event_id=question_id, at=asked_at, keys=keys)
    answer = asking.network.ask(endpoint.url, headers=headers, body=body, seconds=seconds)
    heard = wire.read(answer, secure=endpoint.url.startswith("https://"))
    evidence = _evidence(asking, endpoint, question_id, headers, body, answer, heard)
    with asking.db.begin() as tx:
        messages.keep(tx, lane=asking.lane, messages=[evidence])
        _remember(tx, lot, endpoint, heard, asked_at)
    if heard.quotes is None:
        return heard.detail or heard.reason
    with asking.db.begin() as tx:
        take(
            tx, lane=asking.lane, lot=lot, plate=plate, quotes=heard.quotes, evidence_id=evidence.message_id, asked_at=asked_at,
            at=asking.clock.now(), ids=asking.ids,
        )  # fmt: skip
    return None


def _evidence(
    asking: Asking, endpoint: Endpoint, question_id: UUID, headers: dict[str, str], body: bytes, answer: Answer, heard: Heard
) -> RawMessage:  # fmt: skip
    lines = [f"POST {endpoint.url}", *(f"{name}: {value}" for name, value in headers.items())]
    at = asking.clock.now()
    return RawMessage(
        message_id=asking.ids.new(at, f"message lot {OPERATION} {question_id}", answer.body),
        channel="lot",
        operation=OPERATION,
        direction="out",
        verdict=heard.verdict,
        reason=heard.reason,
        received_at=at,
        headers="{}",
        body=answer.body,
        request="\n".join(lines).encode() + b"\n\n" + body,
    )


def _remember(tx: Connection, lot: Lot, endpoint: Endpoint, heard: Heard, at: datetime) -> None:
    """Count a failure, or forget those before; writes nothing as long as all is well."""
    if heard.quotes is not None:
        if endpoint.failures or endpoint.last_error:
            asked_quote_store.succeeded(tx, endpoint_id=endpoint.endpoint_id)
            LOG.warning("the system of lot %s answers questions again", lot.code)
        return
    words = heard.detail or heard.reason or "no answer"
    failures = asked_quote_store.failed(tx, endpoint_id=endpoint.endpoint_id, at=at, error=words)
    LOG.warning("the system of lot %s is away (%d in a row): %s", lot.code, failures, words)
    if failures == FAILURES_MAX:
        LOG.critical("the system of lot %s gave no usable answer %d times in a row; it is asked seldom now", lot.code, failures)


def _keys(vault: Vault, endpoint: Endpoint, *, at: datetime) -> list[bytes]:
    """Return what a question is signed with, the newest first."""
    stored = [endpoint.secret]
    if endpoint.old_secret is not None and endpoint.old_until is not None and at < endpoint.old_until:
        stored.append(endpoint.old_secret)
    return [vault.open(one, webhook_id=endpoint.endpoint_id) for one in stored]


def check(tx: Connection) -> list[Violation]:
    """Check that of one stay at most one price can be paid, and that those whose place was taken are credited in full."""
    return [Violation("quotes", words) for words in asked_quote_store.wrong(tx, limit=FOUND_MAX)]


# Taking an answer.


class _Good(Struct, frozen=True):
    """A quote that can be true, as a charge."""

    quote: LotQuote
    charge: NewCharge


class Plan(Struct, frozen=True):
    """What follows from an answer: charges to post, prices that stand longer, and whose place is taken."""

    post: tuple[LotQuote, ...]
    keep_price: tuple[tuple[UUID, datetime], ...]
    """A part of it is paid: the stay keeps that price, for as long as the newer one would stand."""
    supersede: tuple[tuple[UUID, str], ...]
    end: tuple[UUID, ...]
    """The answer does not name these stays any more."""
    refused: tuple[Refusal, ...]


def take(
    tx: Connection, *, lane: int, lot: Lot, plate: str, quotes: Sequence[LotQuote], evidence_id: UUID, asked_at: datetime,
    at: datetime, ids: Ids,
) -> list[Refusal]:  # fmt: skip
    """Take a lot's answer about a plate: new prices become charges, the same price stands longer, older ones make place.

    What the answer does not name any more ends, unless somebody is paying it. A wrong quote is refused by itself, kept and logged;
    the others stand. May be repeated. Holds the lot's quotes, then the charges in the order of their ids.

    Args:
        plate: That was asked about, as ``plates.checked`` gives it.
        asked_at: When it was asked: an answer to a later question is newer, whichever comes first.

    Returns:
        The quotes that were refused.
    """
    good, refused = _sorted(quotes, plate, at)
    asked_quote_store.hold_lot(tx, lot_id=lot.lot_id)
    serials, stays = [one.quote.serial for one in good], [one.quote.stay_serial for one in good]
    touched = asked_quote_store.known_ids(tx, lane=lane, lot_id=lot.lot_id, plate=plate, serials=serials, stays=stays)
    store.hold_charges(tx, lane=lane, charge_ids=touched)
    known = asked_quote_store.known(tx, lane=lane, plate=plate, charge_ids=touched)
    named = {name for quote in quotes if quote.amount_fen for name in (quote.serial, quote.stay_serial)}
    plan = decide([one.quote for one in good], known, asked_at=asked_at, named=named)
    refused += plan.refused
    new = {one.quote.serial: one.charge for one in good}
    refused += _carry_out(tx, lane, lot, plan, new, known, evidence_id, asked_at, at, ids)
    for one in refused:
        LOG.warning("lot %s: quote %s is not taken: %s %s", lot.code, one.serial, one.reason, one.detail)
    asked_quote_store.keep_refusals(
        tx, lane=lane, lot_id=lot.lot_id, found=refused, evidence_id=evidence_id, at=at,
        refusal_ids=[ids.new(at, f"quote refusal {evidence_id} {number}") for number, _ in enumerate(refused)],
    )  # fmt: skip
    return refused


def decide(quotes: Sequence[LotQuote], known: Sequence[Known], *, asked_at: datetime, named: set[str]) -> Plan:
    """Return what follows from the good quotes of an answer and the charges that are quotes already. Pure.

    Args:
        quotes: Each stay and each serial once.
        known: As they are held.
        named: Serials and stays that the answer still has a price for.
    """
    post: list[LotQuote] = []
    keep_price: list[tuple[UUID, datetime]] = []
    superseded: list[tuple[UUID, str]] = []
    refused: list[Refusal] = []
    for quote in quotes:
        same = [one for one in known if one.serial == quote.serial]
        if wrong := _contradiction(quote, same):
            refused.append(wrong)
            continue
        older = [one for one in known if one.stay_serial == quote.stay_serial and one.serial != quote.serial and one.is_due]
        if any(one.is_live or one.asked_at > asked_at for one in older):
            continue
        if any(one.is_begun for one in older):
            keep_price += [(one.charge_id, quote.valid_until) for one in older]
            continue
        post.append(quote)
        superseded += [(one.charge_id, quote.serial) for one in older]
    taken = {charge_id for charge_id, _ in superseded}
    ended = tuple(
        one.charge_id
        for one in known
        if one.is_of_plate and one.is_due and not (one.is_live or one.is_begun) and one.asked_at <= asked_at
        and not {one.serial, one.stay_serial} & named and one.charge_id not in taken
    )  # fmt: skip
    return Plan(tuple(post), tuple(keep_price), tuple(superseded), ended, tuple(refused))


def _contradiction(quote: LotQuote, same: Sequence[Known]) -> Refusal | None:
    """Say why a serial that is a quote already cannot be this one."""
    for one in same:
        if one.stay_serial != quote.stay_serial:
            return _refusal(quote, "stay_serial", "content_differs", "this serial was the quote of another stay")
        if one.superseded_by is not None:
            words = f"quote {one.superseded_by} took its place; a price that comes back needs a new serial"
            return _refusal(quote, "serial", "serial_superseded", words)
    return None


def _carry_out(
    tx: Connection, lane: int, lot: Lot, plan: Plan, new: dict[str, NewCharge], known: Sequence[Known], evidence_id: UUID,
    asked_at: datetime, at: datetime, ids: Ids,
) -> list[Refusal]:  # fmt: skip
    """Write what was decided, set by set. Returns the quotes whose charges were refused; what they would replace stays."""
    asked = [new[quote.serial] for quote in plan.post]
    posted = charges.post(tx, lane=lane, lot=lot, charges=asked, at=at, ids=ids) if asked else []
    outcomes = {one.lot_serial: one for one in posted}
    refused = [
        Refusal(serial=one.lot_serial, field=one.field or "", reason=one.reason or "", detail=one.detail or "")
        for one in posted
        if one.outcome == "refused"
    ]
    wrong = {one.serial for one in refused}
    created = [quote for quote in plan.post if outcomes[quote.serial].outcome == "created"]
    found = splits.charges_of(tx, lane=lane, lot_id=lot.lot_id, serials=[one.serial for one in created]) if created else {}
    rows = [
        NewQuote(charge_id=charge.charge_id, serial=one.serial, stay_serial=one.stay_serial, valid_until=in_utc(one.valid_until))
        for one in created
        for charge in found[one.serial]
    ]
    asked_quote_store.insert_quotes(tx, lane=lane, lot_id=lot.lot_id, quotes=rows, evidence_id=evidence_id, asked_at=asked_at)
    until = {quote.serial: in_utc(quote.valid_until) for quote in plan.post if outcomes[quote.serial].outcome == "already"}
    longer = [(one.charge_id, until[one.serial]) for one in known if one.serial in until and one.asked_at <= asked_at]
    longer += [(charge_id, in_utc(moment)) for charge_id, moment in plan.keep_price]
    asked_quote_store.extend(
        tx, lane=lane, charge_ids=[one for one, _ in longer], until=[moment for _, moment in longer], asked_at=asked_at
    )  # fmt: skip
    over = [(charge_id, by) for charge_id, by in plan.supersede if by not in wrong]
    asked_quote_store.supersede(tx, lane=lane, charge_ids=[one for one, _ in over], by=[by for _, by in over], at=at)
    asked_quote_store.end(tx, lane=lane, charge_ids=plan.end, at=asked_at)
    return refused


def _sorted(quotes: Sequence[LotQuote], plate: str, at: datetime) -> tuple[list[_Good], list[Refusal]]:
    """Return the quotes that can be true and cost something, and those that cannot be true, with the reason."""
    good: list[_Good] = []
    refused: list[Refusal] = []
    seen: set[tuple[str, str]] = set()
    for quote in quotes:
        try:
            charge = _checked(quote, plate, at)
            if {("quote", quote.serial), ("stay", quote.stay_serial)} & seen:
                raise Rejected("stay_serial", "stay_repeated", "an answer has one quote for a stay, under a serial of its own")
        except Rejected as wrong:
            refused.append(_refusal(quote, wrong.field, wrong.code, str(wrong)))
            continue
        seen |= {("quote", quote.serial), ("stay", quote.stay_serial)}
        if quote.amount_fen:
            good.append(_Good(quote, charge))
    return good, refused


def _checked(quote: LotQuote, plate: str, at: datetime) -> NewCharge:
    """Return a quote as the charge that it would be; the rest of the checks are those of every charge. Raises Rejected."""
    intake.check_name(quote.serial, None)
    if not 0 < len(quote.stay_serial) <= intake.SERIAL_LETTERS_MAX or not quote.stay_serial.isprintable():
        raise Rejected("stay_serial", "serial_invalid", f"a serial has 1 to {intake.SERIAL_LETTERS_MAX} printable characters")
    try:
        same = plates.checked(quote.plate) == plate
    except PlateRefused:
        same = False
    if not same:
        raise Rejected("plate", "plate_differs", "the quote is for another plate than the one that was asked about")
    if not STANDS_AT_LEAST <= quote.valid_until - at <= STANDS_AT_MOST:
        words = "a price stands for two minutes at least, so that it can be paid, and for a day at most"
        raise Rejected("valid_until", "valid_until_invalid", words)
    if "\x00" in quote.tariff_text:
        raise Rejected("tariff_text", "tariff_invalid", "the tariff text holds what cannot be printed")
    said = {name: getattr(quote, name) for name in _AS_CHARGE} | {"lot_serial": quote.serial}
    try:
        return msgspec.convert(said, NewCharge)
    except msgspec.ValidationError as wrong:
        field = "scene" if "scene" in str(wrong) else "plate_color"
        raise Rejected(field, "malformed", f"the quote does not fit: {wrong}") from None


_AS_CHARGE: Final = ("plate", "plate_color", "entered_at", "minutes", "amount_fen", "tariff_text", "scene", "energy_fen")


def _refusal(quote: LotQuote, field: str, reason: str, detail: str) -> Refusal:
    serial = "".join(letter if letter.isprintable() else " " for letter in quote.serial)[: intake.SERIAL_LETTERS_MAX]
    return Refusal(serial=serial, field=field, reason=reason, detail=detail)


# Endpoints.


class Shown(Struct, frozen=True):
    """An endpoint, with its secret where it is new: it is shown this once. ``is_new``: there was none before."""

    endpoint: Endpoint
    secret: str | None
    is_new: bool


def check_url(url: str, *, guard: Guard) -> None:
    """Refuse an address that must not be called. Asks the name service, so call it outside a transaction.

    Raises:
        Refused: ``quote_url_refused``, with the reason and what would do.
    """
    try:
        guard.examine(url)
    except (AddressRefused, NameUnknown) as refused:
        raise Refused(str(refused), code="quote_url_refused") from None


def enter(
    tx: Connection, *, lane: int, lot_id: int, url: str, timeout_ms: int, timeout_ms_max: int, new: bool, by: str, at: datetime,
    ids: Ids, tokens: Tokens, vault: Vault,
) -> Shown:  # fmt: skip
    """Let a lot's system be asked at an address, which ``check_url`` has let pass; or change address and time-out.

    The secret stays when these change; with ``new`` there is another one, and the one before signs as well for a day. May be
    repeated.

    Raises:
        Conflict: ``quote_endpoint_taken``, somebody entered one at the same moment.
        Refused: ``quote_timeout_refused``.
    """
    if not TIMEOUT_MS_MIN <= timeout_ms <= timeout_ms_max:
        words = f"an answer is waited for from {TIMEOUT_MS_MIN / 1000:g} to {timeout_ms_max / 1000:g} seconds: a driver waits"
        raise Refused(words, code="quote_timeout_refused")
    was = asked_quote_store.endpoint(tx, lane=lane, lot_id=lot_id, lock=True)
    if was is not None:
        return _change(tx, was, url=url, timeout_ms=timeout_ms, new=new, at=at, tokens=tokens, vault=vault)
    endpoint_id = ids.new(at, f"quote endpoint {lot_id} {url}")
    secret = new_secret(tokens, webhook_id=endpoint_id)
    made = Endpoint(
        endpoint_id=endpoint_id, lot_id=lot_id, url=url, timeout_ms=timeout_ms, secret=vault.lock(secret, webhook_id=endpoint_id),
        old_secret=None, old_until=None, failures=0, tried_at=None, last_error=None, created_at=at, created_by=by, changed_at=at,
    )  # fmt: skip
    if not asked_quote_store.insert_endpoint(tx, lane=lane, made=made):
        raise Conflict("an endpoint was entered at the same moment; look at it first", code="quote_endpoint_taken")
    return Shown(made, secret, is_new=True)


def _change(
    tx: Connection, was: Endpoint, *, url: str, timeout_ms: int, new: bool, at: datetime, tokens: Tokens, vault: Vault
) -> Shown:  # fmt: skip
    changed = msgspec.structs.replace(
        was, url=url, timeout_ms=timeout_ms, changed_at=at, failures=0, tried_at=None, last_error=None
    )
    secret = None
    if new:
        secret = new_secret(tokens, webhook_id=was.endpoint_id)
        locked = vault.lock(secret, webhook_id=was.endpoint_id)
        changed = msgspec.structs.replace(changed, secret=locked, old_secret=was.secret, old_until=at + OVERLAP)
    asked_quote_store.change_endpoint(tx, changed=changed)
    return Shown(changed, secret, is_new=False)


def find(tx: Connection, *, lane: int, lot_id: int, lock: bool = False) -> Endpoint:
    """Return where a lot is asked. Raises NotFound (``quote_endpoint_not_found``)."""
    found = asked_quote_store.endpoint(tx, lane=lane, lot_id=lot_id, lock=lock)
    if found is None:
        raise NotFound("the lot has no address that quotes are asked at", code="quote_endpoint_not_found")
    return found


def end(tx: Connection, *, lane: int, lot_id: int, at: datetime) -> Endpoint:
    """Ask a lot no more. Prices that it gave stand until they end. Raises NotFound (``quote_endpoint_not_found``)."""
    found = find(tx, lane=lane, lot_id=lot_id, lock=True)
    asked_quote_store.end_endpoint(tx, endpoint_id=found.endpoint_id, at=at)
    return found
