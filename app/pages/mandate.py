"""Leave first, pay by itself: a driver signs a mandate for a plate, sees it, ends it. No account, no name.

Knows agreements, wallets and who pays in them; must not know any channel's wire. Mounted by ``app.pages``. See docs/MANDATES.md.

It is signed inside the wallet, whose payer the channel itself has named; anywhere else the page only leads there. Who types a plate
learns nothing about it: the channel answers for plate and payer together. A browser's return never makes anything signed.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, URLEncodedBody
from msgspec import Struct
from sqlalchemy import Connection

from app.pages import facts, pay, payer, signer
from app.pages.codes import AnyRequest, page_of
from app.pages.limits import Misses, address_of
from app.pages.payer import Paying
from app.pages.render import Page
from app.pages.scan import HOME_PROVINCE, PROVINCES
from app.pages.wallets import wallet_of
from app.wiring import Wired, Wiring
from gateways import routing
from gateways.contract import MerchantAccount, Operation
from ledger.errors import Conflict, NotFound
from ledger.ids import payment_number, read_payment_number
from ledger.money import yuan
from payments import lots, paycode, plates, qr
from payments.errors import OrderUnknown, PlateRefused
from payments.mandates import agreement_texts, agreements, own_deductions
from payments.mandates.agreement_store import Agreement, Text
from payments.mandates.agreements import AgreementUnknown, Consent, TextChanged, Word
from payments.mandates.own_deductions import Own
from payments.plates import PlateColor
from payments.quoting.quotes import COLORS

ROOT: Final = "/leave-first"
ETC: Final = "etc"
ASKS: Final = Misses(per_minute=30)
"""Of this process: consents and questions to channels, by address."""
_LOT: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_AGREED: Final = "yes"


class PlateForm(Struct, frozen=True):
    """The plate as it was typed, and its colour; an empty colour follows from the number."""

    province: str = ""
    rest: str = ""
    color: str = ""
    at: str = ""
    """Code of the lot from whose pages the driver came; else empty."""


class SignForm(Struct, frozen=True):
    """What the button below the words sends: what is agreed to, which words were shown, and the token of the link."""

    plate: str = ""
    color: str = ""
    text: str = ""
    token: str = ""
    agree: str = ""
    at: str = ""


class MineForm(Struct, frozen=True):
    """Which of the own agreements is to be opened."""

    agreement: str = ""


class OwnForm(Struct, frozen=True):
    """Of which own deduction the receipt is to be opened."""

    payment: str = ""


class Choice(Struct, frozen=True):
    """A way to leave first, as an ordinary browser lists it."""

    name: str
    at: str


class Line(Struct, frozen=True):
    """An own agreement in the list."""

    agreement_id: str
    plate: str
    chip: str
    state: str
    since: str


class OwnLine(Struct, frozen=True, kw_only=True):
    """An own deduction in the list."""

    plate: str
    chip: str
    lot: str
    time: str
    amount: str
    says: list[str]
    payment: str | None
    """Number of the payment whose receipt can be opened."""
    pay_at: str | None


# Beginning


@get(ROOT, sync_to_thread=True, include_in_schema=False)
def begin(request: AnyRequest, wiring: Wired) -> Response[Any]:
    """Ask for the plate inside a wallet, once the wallet has said who pays; elsewhere show where it can be done."""
    return _begun(request, wiring, "")


@get(f"{ROOT}/at/{{code:str}}", sync_to_thread=True, include_in_schema=False)
def begin_at(request: AnyRequest, wiring: Wired, code: FromPath[str]) -> Response[Any]:
    """The same from the pages of a lot."""
    return _begun(request, wiring, _lot_code(code))


def _begun(request: AnyRequest, wiring: Wiring, lot: str) -> Response[Any]:
    page, channel = page_of(request, wiring), _inside(request, wiring)
    if channel is None:
        return _choices(page, wiring)
    if signer.known(request.cookies, wiring, channel) is None:
        return pay.ask_wallet(request, wiring, f"{ROOT}/payer", Paying("", channel, "", lot))
    return _ask_plate(page, channel, PlateForm(province=HOME_PROVINCE, at=lot))


@get(f"{ROOT}/payer", sync_to_thread=True, include_in_schema=False)
def came_back(request: AnyRequest, wiring: Wired) -> Response[Any]:
    """Take a driver back from the wallet's login. Without a state of this browser nobody is known by it."""
    page = page_of(request, wiring)
    asked = payer.paying(wiring, request.cookies, state=request.query_params.get("state", ""))
    if asked is None or asked.charge_id:
        return _wallet_away(page, _inside(request, wiring) or "wechat", status=409)
    path = f"{ROOT}/at/{asked.token}" if _lot_code(asked.token) else ROOT
    if signer.known(request.cookies, wiring, asked.channel) is not None:
        return pay.see(wiring, page.link(path))
    told = payer.exchanged(wiring, asked.channel, request.query_params)
    if told.payer_id is None or not signer.fits(told.payer_id):
        return _wallet_away(page, asked.channel, status=503)
    answer = pay.see(wiring, page.link(path))
    answer.cookies.append(signer.cookie(wiring, asked.channel, told.payer_id))
    return answer


@get(f"{ROOT}/in/{{channel:str}}", sync_to_thread=True, include_in_schema=False)
def elsewhere(request: AnyRequest, wiring: Wired, channel: FromPath[str]) -> Response[bytes]:
    """Say how to go on with a wallet from an ordinary browser; of ETC, that the card's contract is the mandate."""
    page = page_of(request, wiring)
    if channel == ETC and ETC in wiring.channels.names():
        return page.answer("mandate_etc.html")
    if channel not in _signing(wiring):
        raise NotFound("nothing is signed at this channel", code="channel_not_found")
    return _lead_to_wallet(page, wiring, channel, page.link(ROOT))


# Agreeing


@get([f"{ROOT}/words", f"{ROOT}/sign"], sync_to_thread=False, include_in_schema=False)
def begin_again(request: AnyRequest, wiring: Wired) -> Response[Any]:
    """Lead whoever opens the address of a form without its content back to the first page."""
    return pay.see(wiring, page_of(request, wiring).link(ROOT))


@post(f"{ROOT}/words", sync_to_thread=True, include_in_schema=False, status_code=200)
def words(request: AnyRequest, wiring: Wired, data: URLEncodedBody[PlateForm]) -> Response[Any]:
    """Show what is agreed to for a typed plate. Nothing is kept, and nothing is looked up."""
    page, channel = page_of(request, wiring), _inside(request, wiring)
    if channel is None or signer.known(request.cookies, wiring, channel) is None:
        return pay.see(wiring, page.link(ROOT))
    try:
        plate, color = _typed(data)
    except PlateRefused:
        return _ask_plate(page, channel, data, sorry=page.w.mandate_plate_wrong, status=422)
    with wiring.db.connect() as tx:
        text = agreement_texts.in_force(tx, lane=wiring.lane, at=wiring.clock.now())
    token = wiring.link_tokens.new(f"agreement {plate} {wiring.clock.now().isoformat()}")
    return _show_words(page, channel, SignForm(plate=plate, color=color, token=token, at=_lot_code(data.at)), text)


@post(f"{ROOT}/sign", sync_to_thread=True, include_in_schema=False)
def sign(request: AnyRequest, wiring: Wired, data: URLEncodedBody[SignForm]) -> Response[Any]:
    """Keep the consent and lead on to the channel's own page. A second tap finds the same consent."""
    page, channel = page_of(request, wiring), _inside(request, wiring)
    who = None if channel is None else signer.known(request.cookies, wiring, channel)
    if channel is None or who is None:
        return pay.see(wiring, page.link(ROOT))
    address = _address(request)
    if ASKS.is_over(address):
        return _message(page, 429, page.w.sorry_title, page.w.sorry_often, ROOT)
    ASKS.count(address)
    at, token = wiring.clock.now(), _token(data.token)
    with wiring.db.connect() as tx:
        text = agreement_texts.in_force(tx, lane=wiring.lane, at=at)
        account = _account(tx, channel, _lot_code(data.at), at)
    if account is None:
        return _message(page, 409, page.w.sorry_title, page.w.mandate_not_here, ROOT)
    if data.agree != _AGREED:
        return _show_words(page, channel, data, text, sorry=page.w.mandate_tick_first, status=422)
    color: PlateColor = next((one for one in COLORS if one == data.color), "unknown")
    consent = Consent(
        plate=data.plate, plate_color=color, account=account, payer_id=who, text_digest=_digest(data.text), token=token,
        page=f"leave-first/{_lot_code(data.at)}".rstrip("/"), language="en" if page.is_english else "zh",
    )  # fmt: skip
    try:
        with wiring.db.begin() as tx:
            agreements.confirm(tx, lane=wiring.lane, consent=consent, at=at, ids=wiring.ids)
    except TextChanged:
        return _show_words(page, channel, data, text, sorry=page.w.mandate_words_changed, status=409)
    except PlateRefused:
        typed = PlateForm(province=HOME_PROVINCE, at=_lot_code(data.at))
        return _ask_plate(page, channel, typed, sorry=page.w.mandate_plate_wrong, status=422)
    except Conflict:
        return pay.see(wiring, page.link(ROOT))
    return pay.see(wiring, page.link(f"{ROOT}/a/{token}/go"))


@get(f"{ROOT}/a/{{token:str}}/go", sync_to_thread=True, include_in_schema=False)
def go(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[Any]:
    """Lead the signer to the channel's own page: to sign, or to end it there as well. It can be opened any number of times."""
    page = page_of(request, wiring)
    with wiring.db.begin() as tx:
        agreement = agreements.by_token(tx, lane=wiring.lane, token=_token(token))
        who = _payer(tx, request, wiring, agreement)
    back = page.link(f"{ROOT}/a/{token}")
    if agreement.state == "passed_on":
        return pay.see(wiring, back)
    if who is None:
        return _lead_to_wallet(page, wiring, agreement.channel, page.link(f"{ROOT}/a/{token}/go"), back=back)
    hand_off = agreements.sign_hand_off(
        wiring.till(), agreement, payer_id=who, return_url=f"{wiring.settings.public_url}{back}"
    )  # fmt: skip
    ends = agreement.state in agreements.OVER
    return page.answer(
        "mandate_go.html", go_to=hand_off.url, back=back, ends=ends, app=page.w.apps([agreement.channel]),
        plate=facts.plate(agreement.plate), chip=facts.chip(agreement.plate, agreement.plate_color),
        how=getattr(page.w, f"mandate_find_{agreement.channel}"),
    )  # fmt: skip


# Seeing and ending


@get(f"{ROOT}/a/{{token:str}}", sync_to_thread=True, include_in_schema=False)
def show(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[bytes]:
    """Show how a mandate stands: the channel is asked when its payer looks, else its last word is shown."""
    page, address = page_of(request, wiring), _address(request)
    with wiring.db.begin() as tx:
        agreement = agreements.by_token(tx, lane=wiring.lane, token=_token(token))
        who = _payer(tx, request, wiring, agreement)
    word: Word | None = None
    if who is not None and agreement.state not in agreements.OVER:
        word = "unknown"
        if not ASKS.is_over(address):
            ASKS.count(address)
            agreement, word = agreements.ask(wiring.till(), agreement, payer_id=who)
    mark, title, text = _standing(page, agreement, word)
    over, path = agreement.state in agreements.OVER, f"{ROOT}/a/{token}"
    return page.answer(
        "mandate_state.html", mark=mark, title=title, text=text, over=over, is_open=agreement.state == "open" and word != "unknown",
        plate=facts.plate(agreement.plate), chip=facts.chip(agreement.plate, agreement.plate_color),
        channel=page.w.channel_name(agreement.channel), app=page.w.apps([agreement.channel]),
        agreed_at=facts.instant(agreement.confirmed_at, page.w), state_at=facts.instant(agreement.state_at, page.w),
        go_at=None if agreement.state == "passed_on" else page.link(f"{path}/go"), again_at=page.link(path),
        end_at=page.link(f"{path}/end"), root=page.link(ROOT), asked=word is not None,
        mine=None if who is None else page.link(f"{ROOT}/mine"),
    )  # fmt: skip


@post(f"{ROOT}/a/{{token:str}}/end", sync_to_thread=True, include_in_schema=False)
def end(request: AnyRequest, wiring: Wired, token: FromPath[str]) -> Response[Any]:
    """End a mandate on our side at once. A second tap changes nothing."""
    with wiring.db.begin() as tx:
        agreement = agreements.by_token(tx, lane=wiring.lane, token=_token(token))
        agreements.end(tx, agreement=agreement, at=wiring.clock.now())
    return pay.see(wiring, page_of(request, wiring).link(f"{ROOT}/a/{token}"))


@get(f"{ROOT}/mine", sync_to_thread=True, include_in_schema=False)
def mine(request: AnyRequest, wiring: Wired) -> Response[Any]:
    """List what this payer agreed to, inside the wallet that has named the payer."""
    page, channel = page_of(request, wiring), _inside(request, wiring)
    who = None if channel is None else signer.known(request.cookies, wiring, channel)
    if channel is None or who is None:
        return pay.see(wiring, page.link(ROOT))
    with wiring.db.begin() as tx:
        found = agreements.of_payer(tx, lane=wiring.lane, channel=channel, payer_id=who)
    address = _address(request)
    if not ASKS.is_over(address):
        ASKS.count(address)
        agreements.confirmed(wiring.till(), found, payer_id=who)
    with wiring.db.begin() as tx:
        found = agreements.of_payer(tx, lane=wiring.lane, channel=channel, payer_id=who)
        own = own_deductions.of_signer(tx, lane=wiring.lane, channel=channel, payer_id=who)
    return page.answer(
        "mandate_mine.html", lines=_lines(page, found), own=_own_lines(page, wiring, own, channel),
        open_at=page.link(f"{ROOT}/mine"), receipt_at=page.link(f"{ROOT}/mine/receipt"), root=page.link(ROOT),
        channel=page.w.channel_name(channel), app=page.w.apps([channel]),
    )  # fmt: skip


@post(f"{ROOT}/mine/receipt", sync_to_thread=True, include_in_schema=False)
def open_receipt(request: AnyRequest, wiring: Wired, data: URLEncodedBody[OwnForm]) -> Response[Any]:
    """Open the receipt of an own deduction, under a fresh link that nobody can guess."""
    page, channel = page_of(request, wiring), _inside(request, wiring)
    who = None if channel is None else signer.known(request.cookies, wiring, channel)
    if channel is None or who is None:
        return pay.see(wiring, page.link(ROOT))
    read, at = read_payment_number(data.payment), wiring.clock.now()
    if read is None:
        raise OrderUnknown("this is no payment's number")
    token = wiring.link_tokens.new(f"deduction receipt {read[1]} {at.isoformat()}")
    with wiring.db.begin() as tx:
        own_deductions.give_link(
            tx, lane=wiring.lane, channel=channel, payer_id=who, payment_id=read[1], token=token, at=at
        )  # fmt: skip
    return pay.see(wiring, page.link(f"/d/{token}/receipt"))


@post(f"{ROOT}/mine", sync_to_thread=True, include_in_schema=False)
def open_mine(request: AnyRequest, wiring: Wired, data: URLEncodedBody[MineForm]) -> Response[Any]:
    """Open an own agreement from the list, under a fresh link."""
    page, channel = page_of(request, wiring), _inside(request, wiring)
    who = None if channel is None else signer.known(request.cookies, wiring, channel)
    if channel is None or who is None:
        return pay.see(wiring, page.link(ROOT))
    at = wiring.clock.now()
    token = wiring.link_tokens.new(f"agreement link {data.agreement} {at.isoformat()}")
    with wiring.db.begin() as tx:
        agreements.new_link(
            tx, lane=wiring.lane, agreement_id=_id(data.agreement), channel=channel, payer_id=who, token=token, at=at
        )  # fmt: skip
    return pay.see(wiring, page.link(f"{ROOT}/a/{token}"))


# Pages


def _choices(page: Page, wiring: Wiring) -> Response[bytes]:
    w, names = page.w, [*_signing(wiring), *([ETC] if ETC in wiring.channels.names() else [])]
    choices = [Choice(w.channel_name(name), page.link(f"{ROOT}/in/{name}")) for name in names]
    return page.answer("mandate_start.html", choices=choices)


def _ask_plate(page: Page, channel: str, typed: PlateForm, *, sorry: str | None = None, status: int = 200) -> Response[bytes]:
    colors = list(zip(COLORS, page.w.plate_colors, strict=True))
    return page.answer(
        "mandate.html", status=status, switch=f"{ROOT}/at/{_lot_code(typed.at)}" if _lot_code(typed.at) else ROOT,
        channel=page.w.channel_name(channel), colors=colors, color=typed.color, provinces=PROVINCES, province=typed.province[:1],
        rest=typed.rest[:10], at=_lot_code(typed.at), sorry=sorry, send_to=page.link(f"{ROOT}/words"),
        mine=page.link(f"{ROOT}/mine"),
    )  # fmt: skip


def _show_words(
    page: Page, channel: str, form: SignForm, text: Text, *, sorry: str | None = None, status: int = 200
) -> Response[bytes]:  # fmt: skip
    names: dict[str, str] = dict(zip(COLORS, page.w.plate_colors, strict=True))
    short, long = (text.short_en, text.long_en) if page.is_english else (text.short_zh, text.long_zh)
    number = plates.normalised(form.plate)[:10]
    return page.answer(
        "mandate_words.html", status=status, keep=True, switch=ROOT, sorry=sorry, plate=f"{number[:2]}·{number[2:]}",
        chip=facts.chip(number, form.color), color=names.get(form.color, ""), channel=page.w.channel_name(channel),
        points=short.splitlines(), paragraphs=long.splitlines(), form=form, digest=text.digest.hex(), root=page.link(ROOT),
        send_to=page.link(f"{ROOT}/sign"), valid_from=facts.precise(text.valid_from)[:10],
    )  # fmt: skip


def _lead_to_wallet(page: Page, wiring: Wiring, channel: str, path: str, *, back: str | None = None) -> Response[bytes]:
    """Return the page that an ordinary browser shows: a code for the wallet's scanner, and the address to open there."""
    address = f"{wiring.settings.public_url}{path}"
    app = page.w.apps([channel])
    code = qr.svg(address, title=page.w.mandate_open_in.format(app=app))
    return page.answer("mandate_wallet.html", app=app, address=address, code=code, root=back or page.link(ROOT))


def _wallet_away(page: Page, channel: str, *, status: int) -> Response[bytes]:
    return _message(page, status, page.w.sorry_title, page.w.mandate_away.format(app=page.w.apps([channel])), ROOT)


def _message(page: Page, status: int, title: str, text: str, way: str) -> Response[bytes]:
    return page.answer(
        "message.html", status=status, switch=ROOT, title=title, text=text, more=None, mark="warn", way=page.link(way),
        way_text=page.w.try_again,
    )  # fmt: skip


def _standing(page: Page, agreement: Agreement, word: Word | None) -> tuple[str, str, str]:
    """Return mark, title and sentence of how a mandate stands; ``word`` is what the channel said just now, if it was asked."""
    w, channel = page.w, page.w.channel_name(agreement.channel)
    if agreement.state in agreements.OVER:
        return "stop", w.mandate_ended_title, w.mandate_passed_on if agreement.state == "passed_on" else w.mandate_ended_text
    if word == "unknown":
        return "wait", w.mandate_unknown_title, w.mandate_unknown_text.format(channel=channel)
    if agreement.state == "open":
        return "done", w.mandate_open_title, w.mandate_open_text.format(channel=channel)
    return "warn", w.mandate_none_title, w.mandate_none_text.format(channel=channel)


def _lines(page: Page, found: Sequence[Agreement]) -> list[Line]:
    return [
        Line(
            str(one.agreement_id), facts.plate(one.plate), facts.chip(one.plate, one.plate_color),
            _standing(page, one, None)[1], facts.instant(one.confirmed_at, page.w),
        )
        for one in found
    ]  # fmt: skip


def _own_lines(page: Page, wiring: Wiring, own: Sequence[Own], channel: str) -> list[OwnLine]:
    return [
        OwnLine(
            plate=facts.plate(one.plate), chip=facts.chip(one.plate, one.plate_color), lot=one.lot_name,
            time=facts.instant(one.happened_at, page.w), amount=yuan(one.amount_fen), says=_says(page, one, channel),
            payment=None if one.payment_id is None else payment_number(wiring.lane, one.payment_id),
            pay_at=_lot_page(page, wiring, one.lot_id) if one.outcome == "refused" else None,
        )
        for one in own
    ]  # fmt: skip


def _lot_page(page: Page, wiring: Wiring, lot_id: int) -> str:
    return page.link(paycode.link(wiring.settings.public_url, lot_id, keys=wiring.pay_codes))


def _says(page: Page, one: Own, channel: str) -> list[str]:
    """Say in plain words what became of a deduction; why a channel refused is its payer's and the channel's own affair."""
    w = page.w
    match one.outcome:
        case "taken":
            return [w.mandate_own_taken]
        case "waiting":
            return [w.mandate_own_waiting]
        case "otherwise":
            return [w.mandate_own_otherwise]
        case "refused":
            again = [] if one.again_at is None else [w.mandate_own_again.format(time=facts.instant(one.again_at, w))]
            return [w.mandate_own_refused.format(app=w.apps([channel])), *again]


# What was given


def _inside(request: AnyRequest, wiring: Wiring) -> str | None:
    """Return the channel whose wallet this page is open in, when mandates are signed there."""
    channel = wallet_of(request.headers.get("user-agent", ""))
    return channel if channel in _signing(wiring) else None


def _signing(wiring: Wiring) -> list[str]:
    names = [one.channel.name for one in wiring.channels if Operation.MANDATE_SIGN in one.channel.supports]
    return sorted(names, key=lambda name: (name != "wechat", name))


def _account(tx: Connection, channel: str, lot: str, at: datetime) -> MerchantAccount | None:
    """Return in whose name the channel is asked: the operator's of the lot that led here, else the longest known one's."""
    if lot:
        try:
            operator_id = lots.lot_by_code(tx, code=lot).operator_id
        except NotFound:
            operator_id = None
        if operator_id is not None and (mine := routing.choose(tx, operator_id=operator_id, channel=channel, at=at)) is not None:
            return mine
    known = routing.merchants(tx, channel=channel, begin=at, end=at + timedelta(seconds=1))
    return min(known, key=lambda one: (one.mode != "provider", one.route_id), default=None)


def _payer(tx: Connection, request: AnyRequest, wiring: Wiring, agreement: Agreement) -> str | None:
    """Return the payer of this browser when it is the one who agreed."""
    who = signer.known(request.cookies, wiring, agreement.channel)
    fits = who is not None and agreements.is_payer(tx, agreement=agreement, channel=agreement.channel, payer_id=who)
    return who if fits else None


def _typed(data: PlateForm) -> tuple[str, PlateColor]:
    """Return plate and colour as typed. Raises PlateRefused."""
    rest = plates.normalised(data.rest)
    number = rest if rest[:1] in PROVINCES or not data.province else data.province[:1] + rest
    color: PlateColor = next((one for one in COLORS if one == data.color), "green" if len(number) == 8 else "blue")
    return plates.checked(number, color), color


def _token(token: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z_-]{20,64}", token):
        raise AgreementUnknown("the address carries no token of ours")
    return token


def _lot_code(code: str) -> str:
    return code if _LOT.fullmatch(code) else ""


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise AgreementUnknown("the form names no agreement") from None


def _address(request: AnyRequest) -> str:
    peer = request.client.host if request.client else ""
    return address_of(peer, request.headers.get("x-forwarded-for", ""))
