"""The doors of the city as outsiders use them: a lot's system, a payer's browser, a payer at the cashier, a plate's owner, control.

Knows addresses and forms; must not know the plan or the database. Called by ``app.day``.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from html.parser import HTMLParser
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urljoin

import httpx
import msgspec
from msgspec import Struct

from app.api.cards import CardChargeIn
from app.api.deductions import DeductedView, EntranceIn, EntranceView
from app.api.departures import DepartureIn
from app.pages import words
from app.run import RunError
from app.simulation import ClockAt, JobsRun, JobsSince, SealedUpTo, SimulationState
from config.settings import Settings
from gateways.etc.codes import BookingReason, DisputeOutcome, PlateColour
from gateways.sandbox.etc import shapes as etc_shapes
from gateways.sandbox.shapes import Delivered, FaultPlan, RefundByHandIn, RefundedByHandOut, SetClockIn
from ledger.clock import EPOCH
from ledger.money import yuan
from payments.amends.corrections import Corrected, NewCorrection
from payments.cards.records import TakenCard
from payments.lot_records.takings import NewTaking, TakingAnswer
from payments.owed.departures import Departed
from payments.records import NewCharge, Posted

TIMEOUT_SECONDS: Final = 60.0
CONNECTIONS: Final = 16
LEADS_MAX: Final = 5
"""Most redirects and pages in a row that a browser follows."""
_AGENTS: Final = {
    "wechat": "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 MicroMessenger/8.0.49",
    "alipay": "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 AliApp(AP/10.5.96) AlipayClient/10.5.96",
}
_ORDINARY: Final = "Mozilla/5.0 (Linux; Android 14; Mobile) AppleWebKit/537.36 Chrome/124.0 Mobile Safari/537.36"
_ORDER_NO: Final = re.compile(r"<dt>(?:合单)?商户订单号</dt><dd>([0-9A-Z]{28})</dd>")
ETC_COLOURS: Final = {"blue": PlateColour.BLUE, "green": PlateColour.GRADIENT_GREEN}
"""The colours that cars of the demo have."""
T = TypeVar("T")


class DoorClosed(RunError):
    """A door did not open as it must; the message says which one and what it answered."""


class Form(Struct, frozen=True):
    """A form of a page: where it leads and what it carries."""

    action: str
    fields: dict[str, str]
    wallets: tuple[str, ...] = ()
    """Channels that its buttons name, in their order."""


class BasketPage(Struct, frozen=True):
    """What a basket's page shows. ``form`` has the wallets for its next act, None where there is none."""

    is_done: bool
    is_waiting: bool
    form: Form | None


class Browser(Struct, frozen=True):
    """Whose browser it is, and the channel in whose app it runs; None: an ordinary one."""

    payer: str
    inside: str | None = None

    def headers(self) -> dict[str, str]:
        """Return what a browser sends that has been this payer before, at WeChat and at Alipay."""
        cookies = f"payer={self.payer}; payer_alipay={_buyer(self.payer)}"
        return {"cookie": cookies, "user-agent": _AGENTS.get(self.inside or "", _ORDINARY)}


class Visit(Struct, frozen=True):
    """How a page leads a browser to the channel: by an address, or by a form that it posts there."""

    method: str
    url: str
    fields: dict[str, str]


class Paid(Struct, frozen=True):
    """A payment as its payer saw it: the merchant's order number, and whether the cashier's page had to be asked for twice."""

    order_no: str
    reloaded: bool


class Client(Struct, frozen=True):
    """Access of one operator's systems to the API."""

    client_id: str
    secret: str


class TokenAnswer(Struct, frozen=True):
    """An access token as OAuth 2 gives it."""

    access_token: str
    expires_in: int


class _Secret(Struct, frozen=True):
    """What is taken of the answer that makes a webhook."""

    secret: str


class Doors:
    """One client towards the product and one towards the channels' stand-ins. Used as an async context.

    ``clients`` holds the access of each operator, by its code; ``channels`` are those of the city.
    """

    def __init__(self, settings: Settings, *, clients: Mapping[str, Client], channels: Collection[str]) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._web = httpx.AsyncClient(base_url=settings.public_url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)
        self._channel = httpx.AsyncClient(base_url=settings.sandbox_url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)
        self._at_web, self._at_channel = f"{settings.public_url}/", f"{settings.sandbox_url}/"
        self._clients, self._channels = clients, sorted(channels)
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._now = self._jobs_ran_at = settings.simulated_start_at

    @property
    def channels(self) -> list[str]:
        """The channels of the city, sorted."""
        return self._channels

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._web.aclose()
        await self._channel.aclose()

    # Control

    async def state(self) -> SimulationState:
        """Return what the product says about its simulation."""
        return _read(await self._web.get("/_simulation/state"), SimulationState)

    async def set_clock(self, at: datetime) -> None:
        """Set both clocks."""
        self._now = at
        _read(await self._channel.post("/_control/clock", content=msgspec.json.encode(SetClockIn(at))), msgspec.Raw)
        _read(await self._web.post("/_simulation/clock", content=msgspec.json.encode(ClockAt(at))), ClockAt)

    async def faults(self, channel: str) -> FaultPlan:
        """Return what a channel still does wrong: what happens a number of times has been counted down."""
        return _read(await self._channel.get(f"{_control(channel)}/faults"), FaultPlan)

    async def set_faults(self, channel: str, plan: FaultPlan) -> None:
        """Say what a channel shall do wrong."""
        _read(await self._channel.post(f"{_control(channel)}/faults", content=msgspec.json.encode(plan)), FaultPlan)

    async def deliver(self) -> Delivered:
        """Let the channels send the notices that are due, one after another. Returns the sums."""
        told = [_read(await self._channel.post(f"{_control(channel)}/deliver"), Delivered) for channel in self._channels]
        return Delivered(
            attempts=sum(one.attempts for one in told), accepted=sum(one.accepted for one in told),
            failed=sum(one.failed for one in told), waiting=sum(one.waiting for one in told),
        )  # fmt: skip

    async def refund_by_hand(self, channel: str, order_no: str, amount_fen: int | None) -> RefundedByHandOut:
        """Refund a payment in the operator's merchant console; None means all of it."""
        wanted = RefundByHandIn(order_no=order_no, amount_fen=amount_fen)
        answer = await self._channel.post(f"{_control(channel)}/refund", content=msgspec.json.encode(wanted))
        return _read(answer, RefundedByHandOut)

    async def run_jobs(self) -> JobsRun:
        """Let the product query and close what is due, and do what is done daily when its time has come since the last time."""
        since, self._jobs_ran_at = JobsSince(self._jobs_ran_at), self._now
        return _read(await self._web.post("/_simulation/jobs", content=msgspec.json.encode(since)), JobsRun)

    async def seal(self) -> SealedUpTo:
        """Let the product seal everything committed."""
        return _read(await self._web.post("/_simulation/seal"), SealedUpTo)

    # A lot's parking system, an operator's accountant

    async def post_charges(self, operator: str, lot_code: str, charges: list[NewCharge]) -> int:
        """Post a lot's charges; returns how many were new."""
        path, headers = f"/v1/lots/{lot_code}/charges", await self._signed_in(operator)
        answer = await self._web.post(path, content=msgspec.json.encode(charges), headers=headers)
        results = _read(answer, list[Posted], (200, 201, 207))
        if any(result.outcome == "refused" for result in results):
            raise DoorClosed(f"charges of {lot_code} were refused: {answer.text[:1500]}")
        return sum(result.outcome == "created" for result in results)

    async def post_cards(self, operator: str, lot_code: str, cards: Sequence[CardChargeIn]) -> int:
        """Bring what cards paid at a lot's lanes; returns how many records were new."""
        path, headers = f"/v1/lots/{lot_code}/card-charges", await self._signed_in(operator)
        answer = await self._web.post(path, content=msgspec.json.encode(cards), headers=headers)
        results = _read(answer, list[TakenCard], (207,))
        if any(result.outcome == "refused" for result in results):
            raise DoorClosed(f"card records of {lot_code} were refused: {answer.text[:1500]}")
        return sum(result.outcome == "created" for result in results)

    async def post_entrance(self, operator: str, lot_code: str, entrance: EntranceIn) -> EntranceView:
        """Tell of a car that came to a lot; returns what the channels said."""
        path, headers = f"/v1/lots/{lot_code}/entrances", await self._signed_in(operator)
        return _read(await self._web.post(path, content=msgspec.json.encode(entrance), headers=headers), EntranceView)

    async def deduct(self, operator: str, lot_code: str, serial: str) -> DeductedView:
        """Let a charge be taken by the plate's mandate; returns what became of it."""
        path, headers = f"/v1/lots/{lot_code}/charges/{serial}/deduct", await self._signed_in(operator)
        return _read(await self._web.post(path, headers=headers), DeductedView)

    async def depart(self, operator: str, lot_code: str, departure: DepartureIn) -> Departed:
        """Ask whether a barrier may open for a car."""
        path, headers = f"/v1/lots/{lot_code}/departures", await self._signed_in(operator)
        return _read(await self._web.post(path, content=msgspec.json.encode(departure), headers=headers), Departed)

    async def tell_gone(self, operator: str, lot_code: str, departures: Sequence[DepartureIn]) -> list[Departed]:
        """Tell of cars that have gone; returns what became of each."""
        path, headers = f"/v1/lots/{lot_code}/departures", await self._signed_in(operator)
        answer = await self._web.post(path, content=msgspec.json.encode(departures), headers=headers)
        told = _read(answer, list[Departed], (207,))
        if any(one.outcome != "open" for one in told):
            raise DoorClosed(f"cars that have left {lot_code} were not taken: {answer.text[:1500]}")
        return told

    async def correct(self, operator: str, lot_code: str, correction: NewCorrection) -> Corrected:
        """Correct a lot's charge."""
        path, headers = f"/v1/lots/{lot_code}/corrections", await self._signed_in(operator)
        return _read(await self._web.post(path, content=msgspec.json.encode(correction), headers=headers), Corrected)

    async def take_cash(self, operator: str, lot_code: str, taking: NewTaking) -> TakingAnswer:
        """Post what a lot took by hand."""
        path, headers = f"/v1/lots/{lot_code}/takings", await self._signed_in(operator)
        return _read(await self._web.post(path, content=msgspec.json.encode(taking), headers=headers), TakingAnswer)

    async def add_webhook(self, operator: str, url: str) -> str:
        """Let an operator's events be pushed to an address; returns the secret that they are signed with."""
        wanted, headers = msgspec.json.encode({"url": url}), await self._signed_in(operator)
        return _read(await self._web.post("/v1/webhooks", content=wanted, headers=headers), _Secret).secret

    async def statement(self, operator: str, booked_on: str, cursor: str | None) -> dict[str, Any]:
        """Return a page of an operator's statement."""
        path, headers = f"/v1/operators/{operator}/statements/{booked_on}", await self._signed_in(operator)
        answer = await self._web.get(path, params={"cursor": cursor} if cursor else {}, headers=headers)
        return _read(answer, dict[str, Any])

    async def _signed_in(self, operator: str) -> dict[str, str]:
        """Return the headers of an operator's calls, with a fresh access token when the last one is about to end."""
        token, ends_at = self._tokens.get(operator, ("", EPOCH))
        if ends_at <= self._now:
            client = self._clients[operator]
            fields = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": client.secret}
            answer = _read(await self._web.post("/oauth/token", data=fields), TokenAnswer)
            token, ends_at = answer.access_token, self._now + timedelta(seconds=answer.expires_in - 60)
            self._tokens[operator] = token, ends_at
        return {"authorization": f"Bearer {token}", "content-type": "application/json"}

    # The clearing party of ETC, and the issuers behind it

    async def name_lot(self, lot_no: str, merchant_no: str) -> None:
        """Say who is paid for a lot."""
        await self._at_etc("lots", etc_shapes.LotIn(lot_no=lot_no, merchant_no=merchant_no))

    async def dispute(self, reasons: tuple[BookingReason, ...]) -> None:
        """Let the first charges of the next package be disputed, one for each reason."""
        await self._at_etc("behaviour", etc_shapes.Behaviour(dispute=reasons))

    async def settle(self, outcome: DisputeOutcome) -> int:
        """Let all that is in dispute end so; returns how many charges."""
        return _read(await self._at_etc("settle", etc_shapes.SettleIn(outcome=outcome)), etc_shapes.SettledOut).count

    async def make_bad(self, order_no: str) -> None:
        """Let a charge by plate that was paid become bad: its issuer does not pay it after all."""
        await self._at_etc("bad", etc_shapes.BadIn(order_no=order_no))

    async def _at_etc(self, path: str, wanted: Struct) -> httpx.Response:
        return _expect(await self._channel.post(f"/etc-sandbox/{path}", content=msgspec.json.encode(wanted)), 200, 204)

    # A plate's owner

    async def sign_mandate(
        self, channel: str, charge: NewCharge, *, owner: str, answer: etc_shapes.Answered | Literal["listed"]
    ) -> None:
        """Let a channel deduct from the plate of a charge; ``answer`` is how ETC's issuer answers, or that the plate is listed."""
        if channel == "etc":
            account = etc_shapes.PlateIn(
                plate=charge.plate, colour=ETC_COLOURS[charge.plate_color], listed=answer == "listed",
                answer="refused" if answer == "listed" else answer,
            )  # fmt: skip
            _expect(await self._channel.post("/etc-sandbox/plates", content=msgspec.json.encode(account)), 200)
            return
        color = charge.plate_color.upper()
        if channel == "alipay":
            signed = {"plate": charge.plate, "plate_color": color, "buyer_id": _buyer(owner)}
            _expect(await self._channel.post("/alipay/agreements", data=signed), 303)
            return
        opened = {"plates": [{"plate_number": charge.plate, "plate_color": color, "openid": owner}]}
        _expect(await self._channel.post("/_control/plates", content=msgspec.json.encode(opened)), 200, 204)

    # A payer

    async def ask(self, pay_code: str, *, plate: str, browser: Browser) -> Form:
        """Scan and enter the plate: return the form with the buttons to pay."""
        page = await self._due(pay_code, plate, browser)
        form = _form(page, "/pay")
        if form is None or not form.wallets:
            raise DoorClosed(f"the page for {plate} offers nothing to pay with: {page.text[:2000]}")
        return form

    async def ask_together(self, pay_code: str, *, plate: str, browser: Browser) -> str:
        """Scan, enter the plate and tap "pay all together": return the address of the basket's page."""
        return await self._filled(await self._due(pay_code, plate, browser), browser, {})

    async def ask_part(self, pay_code: str, *, plate: str, browser: Browser, amount_fen: int) -> str:
        """Scan, enter the plate and type how much of the debt is to be paid: return the address of the basket's page."""
        return await self._filled(await self._due(pay_code, plate, browser), browser, {"amount": yuan(amount_fen)})

    async def _filled(self, page: httpx.Response, browser: Browser, typed: Mapping[str, str]) -> str:
        """Send the form of a basket that has the fields for what is typed, and no other ones to type into."""
        fitting = [form for form in _forms(page, "/basket") if ("amount" in form.fields) == ("amount" in typed)]
        if not fitting:
            raise DoorClosed(f"{page.url} offers no such basket: {page.text[:2000]}")
        form = fitting[0]
        answer = _expect(await self._web.post(form.action, data={**form.fields, **typed}, headers=browser.headers()), 303)
        return urljoin(str(answer.url), answer.headers["location"])

    async def say_wrong(self, pay_code: str, *, plate: str, browser: Browser, reason: str, statement: str) -> None:
        """Scan, enter the plate and say that its debt is wrong."""
        page = await self._due(pay_code, plate, browser)
        form = _form(page, "/dispute")
        if form is None:
            raise DoorClosed(f"the page for {plate} offers no dispute: {page.text[:2000]}")
        said = form.fields | {"reason": reason, "statement": statement}
        _expect(await self._web.post(form.action, data=said, headers=browser.headers()), 200)

    async def basket(self, address: str, browser: Browser) -> BasketPage:
        """Look at a basket's page, which asks the channel about what is under way."""
        page = _expect(await self._web.get(address, headers=browser.headers()), 200)
        form, is_done = _form(page, "/pay"), words.ZH.basket_done in page.text
        return BasketPage(is_done, words.ZH.waiting_title in page.text, form if form is not None and form.wallets else None)

    async def _due(self, pay_code: str, plate: str, browser: Browser) -> httpx.Response:
        typed = {"province": plate[0], "rest": plate[1:]}
        return _expect(await self._web.post(f"/p/{pay_code}/due", data=typed, headers=browser.headers()), 200)

    async def tap(self, form: Form, *, channel: str, browser: Browser) -> Visit | None:
        """Tap a wallet's button: return what leads to the channel, or None when the page asks to try again in a moment."""
        answer = await self._web.post(form.action, data=form.fields | {"channel": channel}, headers=browser.headers())
        for _ in range(LEADS_MAX):
            if answer.status_code == 503:
                return None
            if answer.status_code == 303:
                address = urljoin(str(answer.url), answer.headers["location"])
                if address.startswith(self._at_channel):
                    return Visit("GET", address, {})
                answer = await self._web.get(address, headers=browser.headers())
                continue
            return self._way_out(_expect(answer, 200))
        raise DoorClosed(f"{form.action} leads nowhere")

    def _way_out(self, page: httpx.Response) -> Visit:
        """Return what on a page leads to the channel: the form that is posted there, or the first link."""
        found = _read_page(page.text)
        for form in found.forms:
            if form.action.startswith(self._at_channel):
                return Visit("POST", form.action, form.fields)
        for link in found.links:
            if link.startswith(self._at_channel):
                return Visit("GET", link, {})
        raise DoorClosed(f"{page.url} does not lead to the channel: {page.text[-1500:]}")

    async def pay(self, visit: Visit) -> Paid:
        """Go to the channel's cashier and press the button that pays; where it leads back to is not followed.

        A cashier that fails at first is asked for once more, as a payer reloads a page.
        """
        page = await self._arrived(visit)
        reloaded = page.status_code >= 500
        if reloaded:
            page = await self._arrived(visit)
        _expect(page, 200)
        form = next((form for form in forms(page.text) if "/pay" in form.action), None)
        order_no = _ORDER_NO.search(page.text)
        if form is None or order_no is None:
            raise DoorClosed(f"the cashier offers no payment: {page.text[-1500:]}")
        _expect(await self._channel.post(form.action, data=form.fields), 200, 303)
        return Paid(order_no[1], reloaded)

    async def _arrived(self, visit: Visit) -> httpx.Response:
        headers = {"referer": self._at_web, "user-agent": _ORDINARY}
        page = await self._channel.request(visit.method, visit.url, data=visit.fields or None, headers=headers)
        for _ in range(LEADS_MAX):
            address = urljoin(str(page.url), page.headers.get("location", ""))
            if page.status_code not in (302, 303) or not address.startswith(self._at_channel):
                break
            page = await self._channel.get(address, headers=headers)
        return page


def _buyer(payer: str) -> str:
    """Return what Alipay knows a payer by; no merchant of the demo has such a number."""
    return f"20889{int(hashlib.sha256(payer.encode()).hexdigest(), 16) % 10**11:011d}"


def _control(channel: str) -> str:
    """Return where a channel's stand-in is steered."""
    return "/_control" if channel == "wechat" else f"/_control/{channel}"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), {}))
        elif tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "input" and self.forms and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and self.forms and given.get("name") == "channel":
            form = self.forms[-1]
            self.forms[-1] = msgspec.structs.replace(form, wallets=(*form.wallets, given.get("value", "")))


def _read_page(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    return page


def forms(html: str) -> list[Form]:
    """Return the forms of a page in their order."""
    return _read_page(html).forms


def _form(page: httpx.Response, end: str) -> Form | None:
    """Return the first form of a page whose address ends so."""
    return next(iter(_forms(page, end)), None)


def _forms(page: httpx.Response, end: str) -> list[Form]:
    return [form for form in forms(page.text) if form.action.split("?")[0].endswith(end)]


def _expect(answer: httpx.Response, *statuses: int) -> httpx.Response:
    if answer.status_code not in statuses:
        request = answer.request
        raise DoorClosed(f"{request.method} {request.url} answered {answer.status_code}: {answer.text[:1500]}")
    return answer


def _read(answer: httpx.Response, kind: type[T], statuses: tuple[int, ...] = (200, 201)) -> T:
    return msgspec.json.decode(_expect(answer, *statuses).content, type=kind)
