"""The composition root: everything a process of the product holds, built from the settings in one place.

Knows every room and the configuration; must not start servers, migrate or make keys. Called by the command line and the tests.
"""

from msgspec import Struct
from sqlalchemy import Engine

from app.embedded import EmbeddedPostgres
from app.keys import Keys, read
from config.settings import Settings
from ledger.clock import Clock, SetClock, SystemClock
from ledger.db import engine
from ledger.ids import Ids, RandomIds, SeededIds
from payments.paycode import PayCodeKeys

LANE = 0
"""The one lane of a one-machine installation."""

DATABASE = "tongting"
"""Name of the product's database in the embedded server."""


class Wiring(Struct, frozen=True):
    """What handlers and jobs are given. Frozen; the things inside are made for many threads."""

    settings: Settings
    lane: int
    db: Engine
    """Connections in the application role."""
    clock: Clock
    ids: Ids
    keys: Keys
    """Raw keys: ``seal`` for the sealer, ``tokens`` for access tokens."""
    pay_codes: PayCodeKeys

    def close(self) -> None:
        """Give back connections. The wiring cannot be used afterwards."""
        self.db.dispose()


def database_url(settings: Settings) -> str:
    """Return the address of the product's database: the external one that is set, else the embedded server's below home."""
    return settings.database_url or EmbeddedPostgres(settings.home).url(DATABASE)


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
        clock=SetClock(settings.simulated_start_at) if settings.simulated else SystemClock(),
        ids=SeededIds(settings.simulated_seed) if settings.simulated else RandomIds(),
        keys=keys,
        pay_codes=_pay_codes(keys),
    )


def _pay_codes(keys: Keys) -> PayCodeKeys:
    signing = max(keys.pay_code)
    verifying = {number: key.public_key() for number, key in keys.pay_code.items() if number != signing}
    return PayCodeKeys(signing_id=signing, signing_key=keys.pay_code[signing], verifying=verifying)
