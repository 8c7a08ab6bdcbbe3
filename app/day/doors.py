"""The doors of the city as outsiders use them: a lot's system, a payer's browser, a payer at the cashier, the control routes.

Knows addresses and forms; must not know the plan or the database. Called by ``app.day``.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from html.parser import HTMLParser
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from app.run import RunError
from app.simulation import ClockAt, JobsRun, SealedUpTo, SimulationState
from config.settings import Settings
from gateways.sandbox.shapes import Delivered, FaultPlan, MerchantsIn, SetClockIn
from ledger.clock import EPOCH
from payments.records import NewCharge, Posted

TIMEOUT_SECONDS: Final = 60.0
CONNECTIONS: Final = 16
T = TypeVar("T")


class DoorClosed(RunError):
    """A door did not open as it must; the message says which one and what it answered."""


class Form(Struct, frozen=True):
    """A form of a page: where it leads and what it carries."""

    action: str
    fields: dict[str, str]


class Client(Struct, frozen=True):
    """Access of one operator's systems to the API."""

    client_id: str
    secret: str


class TokenAnswer(Struct, frozen=True):
    """An access token as OAuth 2 gives it."""

    access_token: str
    expires_in: int


class Doors:
    """One client towards the product and one towards the channel stand-in. Used as an async context.

    ``clients`` holds the access of each operator, by its code.
    """

    def __init__(self, settings: Settings, *, clients: Mapping[str, Client]) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        self._web = httpx.AsyncClient(base_url=settings.public_url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)
        self._channel = httpx.AsyncClient(base_url=settings.sandbox_url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)
        self._cashier = settings.wechat_cashier_url or ""
        self._clients = clients
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._now = settings.simulated_start_at

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

    async def set_faults(self, plan: FaultPlan) -> None:
        """Say what the channel shall do wrong."""
        _read(await self._channel.post("/_control/faults", content=msgspec.json.encode(plan)), FaultPlan)

    async def name_merchants(self, merchants: MerchantsIn) -> None:
        """Tell the channel the payees' names."""
        _expect(await self._channel.post("/_control/merchants", content=msgspec.json.encode(merchants)), 204)

    async def deliver(self) -> Delivered:
        """Let the channel send the notices that are due, one after another."""
        return _read(await self._channel.post("/_control/deliver"), Delivered)

    async def run_jobs(self) -> JobsRun:
        """Let the product query and close what is due."""
        return _read(await self._web.post("/_simulation/jobs"), JobsRun)

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

    # A payer

    async def ask(self, pay_code: str, *, plate: str, payer: str) -> Form:
        """Scan and enter the plate: return the form with the button to pay."""
        typed = {"province": plate[0], "rest": plate[1:]}
        page = _expect(await self._web.post(f"/p/{pay_code}/due", data=typed, headers=_browser(payer)), 200)
        form = next((form for form in forms(page.text) if form.action.split("?")[0].endswith("/pay")), None)
        if form is None:
            raise DoorClosed(f"the page for {plate} offers nothing to pay: {page.text[:2000]}")
        return form

    async def tap(self, form: Form, *, payer: str) -> str | None:
        """Tap the button: return the cashier's address, or None when the page asks to try again in a moment."""
        answer = await self._web.post(form.action, data=form.fields, headers=_browser(payer))
        target = answer.headers.get("location", "")
        if target.startswith(self._cashier):
            return str(target)
        _expect(answer, 503)
        return None

    async def pay(self, cashier: str) -> None:
        """Press the button on the cashier's page; where it leads back to is not followed."""
        page = _expect(await self._channel.get(cashier), 200)
        form = next((form for form in forms(page.text) if "/pay" in form.action), None)
        if form is None:
            raise DoorClosed(f"the cashier offers no payment: {page.text[-1500:]}")
        _expect(await self._channel.post(form.action, data=form.fields), 303)


def _browser(payer: str) -> dict[str, str]:
    """Return what a browser sends that has been this payer before."""
    return {"cookie": f"payer={payer}"}


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(given.get("action", ""), {}))
        elif tag == "input" and self.found and "name" in given:
            self.found[-1].fields[given["name"]] = given.get("value", "")


def forms(html: str) -> list[Form]:
    """Return the forms of a page in their order."""
    parser = _Forms()
    parser.feed(html)
    return parser.found


def _expect(answer: httpx.Response, *statuses: int) -> httpx.Response:
    if answer.status_code not in statuses:
        request = answer.request
        raise DoorClosed(f"{request.method} {request.url} answered {answer.status_code}: {answer.text[:1500]}")
    return answer


def _read(answer: httpx.Response, kind: type[T], statuses: tuple[int, ...] = (200, 201)) -> T:
    return msgspec.json.decode(_expect(answer, *statuses).content, type=kind)
