"""The composition root: everything a process of the product holds, built from the settings in one place.

Knows every room and the configuration; must not start servers, migrate or make keys. Called by the command line and the tests.
"""

from datetime import timedelta
from typing import Final

from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct
from sqlalchemy import Engine

from app.channels import FileWatch, connect
from app.embedded import EmbeddedPostgres
from app.keys import Keys, read
from config.settings import Settings
from gateways.calls import Line
from gateways.contract import Operation
from gateways.etc.jiangsu.uplink import Centre, JiangsuUplink
from gateways.etc.list_line import ListLine
from gateways.etc.uplink import HttpsUplink
from gateways.parking import addresses
from gateways.registry import Registry
from gateways.rotation import KeyWatch
from gateways.transport import HttpTransport, Transport
from ledger.checkpoint import Signer
from ledger.clock import Clock, SetClock, SystemClock
from ledger.db import engine
from ledger.ids import Ids, RandomIds, SeededIds
from ledger.seal import Sealer, Witness
from payments.cards.packing import Uplink
from payments.cards.records import CHANNEL
from payments.checkout import Till
from payments.invoices.file_issuer import FileIssuer
from payments.invoices.issuer import Issuer
from payments.orders import RandomTokens, SeededTokens, Tokens
from payments.paycode import PayCodeKeys
from payments.webhooks.delivery import Post
from payments.webhooks.secret import Vault

LANE: Final = 0
"""The one lane of a one-machine installation."""

DATABASE: Final = "tongting"
"""Name of the product's database in the embedded server."""


class Wiring(Struct, frozen=True):
    """What handlers and jobs are given. Frozen; the things inside are made for many threads."""

    settings: Settings
    lane: int
    db: Engine
    """Connections in the application role."""
    keyed_db: Engine
    """As ``db``, but they find every row by its key: for the callbacks' committer and for what pages ask most."""
    clock: Clock
    ids: Ids
    link_tokens: Tokens
    """Gives link tokens of orders."""
    keys: Keys
    """Raw keys; ``tokens`` is what access tokens are signed with."""
    pay_codes: PayCodeKeys
    channels: Registry
    transport: Transport

    def line(self, channel: str) -> Line:
        """Return what calls to a channel need. Raises NotFound (``channel_not_found``)."""
        return Line(self.channels.find(channel), self.transport, self.clock, self.ids)

    def providers(self) -> dict[str, str]:
        """Return our own number at each channel."""
        return {one.channel.name: one.channel.provider_no for one in self.channels}

    def uplink(self) -> Uplink | None:
        """Return the way of packages of card charges to the clearing party; None where there is no such channel."""
        if CHANNEL not in self.channels.names():
            return None
        line = self.line(CHANNEL)
        return JiangsuUplink(line, centre(self.settings)) if self.settings.etc_dialect == "jiangsu" else HttpsUplink(line)

    def list_line(self) -> ListLine | None:
        """Return the way of status lists from the clearing party; None where there is no such channel."""
        return ListLine(self.line(CHANNEL)) if CHANNEL in self.channels.names() else None

    def key_watches(self) -> list[KeyWatch | FileWatch]:
        """Return a watch over the key files, and one over each channel whose signing keys are fetched.

        None in a simulation, where nothing happens by itself.
        """
        if self.settings.simulated:
            return []
        asked = [one.channel.name for one in self.channels if Operation.CERTIFICATES in one.channel.supports]
        return [FileWatch(self.settings, self.channels), *(KeyWatch(self.line(name)) for name in asked)]

    def till(self) -> Till:
        """Return what the checkout and the query jobs work with."""
        return Till(
            db=self.db,
            lane=self.lane,
            clock=self.clock,
            ids=self.ids,
            tokens=self.link_tokens,
            line=self.line,
            channels=self.channels.names,
            price_lock=timedelta(minutes=self.settings.price_lock_minutes),
            query_after=tuple(timedelta(seconds=seconds) for seconds in self.settings.query_after_seconds),
        )

    def post(self) -> Post:
        """Return what webhooks are delivered with."""
        guard = addresses.guard(self.settings.webhook_allowed_networks)
        return Post(db=self.db, lane=self.lane, clock=self.clock, guard=guard, vault=Vault(self.keys.webhook))

    def issuer(self) -> Issuer:
        """Return the way to whoever issues invoices and fiscal receipts: two directories."""
        return FileIssuer(outbox=self.settings.invoice_outbox, inbox=self.settings.invoice_inbox)

    def sealer(self) -> Sealer:
        """Return a sealer of the lane; its caller gives it a connection and the pace."""
        return Sealer(lane=self.lane, signer=self.signer(), witness=self.witness())

    def signer(self) -> Signer:
        """Return what signs the lane's checkpoints."""
        return Signer(origin(self.settings), self.keys.seal)

    def witness(self) -> Witness:
        """Return the file that holds the last checkpoint signed, outside the database."""
        return Witness(self.settings.home / "checkpoints" / f"lane-{self.lane}.txt")

    def close(self) -> None:
        """Give back connections. The wiring cannot be used afterwards."""
        if isinstance(self.transport, HttpTransport):
            self.transport.close()
        self.db.dispose()
        self.keyed_db.dispose()


Wired = NamedDependency[SkipValidation[Wiring]]
"""How a handler asks for the wiring: a parameter ``wiring: Wired``."""


def database_url(settings: Settings) -> str:
    """Return the address of the product's database: the external one that is set, else the embedded server's below home."""
    return settings.database_url or EmbeddedPostgres(settings.home).url(DATABASE)


def centre(settings: Settings) -> Centre:
    """Return where the network centre is, and under which ids it and we are known on its line."""
    assert settings.etc_centre_host is not None, "the settings are checked"
    return Centre(
        us=settings.etc_sender_id.upper(),
        party=settings.etc_centre_id.upper(),
        host=settings.etc_centre_host,
        port=settings.etc_centre_port,
        parties=party_ids(settings),
    )


def party_ids(settings: Settings) -> dict[str, str]:
    """Return the wire's ids of national numbers, where they are not these numbers zero-filled."""
    pairs = (entry.partition("=") for entry in settings.etc_party_ids)
    return {number: wire.upper() for number, _, wire in pairs}


def origin(settings: Settings) -> str:
    """Return the origin line of the lane's checkpoints."""
    return f"{settings.seal_origin}{LANE}"


def build(settings: Settings) -> Wiring:
    """Put the parts together. Opens no connection yet.

    Raises:
        SettingsError: a key is missing or unreadable.
    """
    keys = read(settings)
    return Wiring(
        settings=settings,
        lane=LANE,
        db=engine(database_url(settings), pool_size=settings.database_pool_size),
        keyed_db=engine(database_url(settings), by_key=True),
        clock=SetClock(settings.simulated_start_at) if settings.simulated else SystemClock(),
        ids=SeededIds(settings.simulated_seed) if settings.simulated else RandomIds(),
        link_tokens=SeededTokens(settings.simulated_seed) if settings.simulated else RandomTokens(),
        keys=keys,
        pay_codes=_pay_codes(keys),
        channels=connect(settings),
        transport=_transport(settings),
    )


def _transport(settings: Settings) -> HttpTransport:
    other = settings.wechat_fallback_url
    fallbacks = {settings.wechat_api_url: other} if other else {}
    return HttpTransport(timeout_seconds=settings.channel_timeout_seconds, fallbacks=fallbacks)


def _pay_codes(keys: Keys) -> PayCodeKeys:
    signing = max(keys.pay_code)
    verifying = {number: key.public_key() for number, key in keys.pay_code.items() if number != signing}
    return PayCodeKeys(signing_id=signing, signing_key=keys.pay_code[signing], verifying=verifying)
