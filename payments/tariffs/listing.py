"""What is entered, as lines for a person: tariffs, rules, calendars and lots' entries, past and future.

Knows the dated rows; must not know how anything is priced. Called by the command line.
"""

from datetime import date
from typing import Final

from sqlalchemy import Connection

from ledger.clock import CHINA
from payments.tariffs import store
from payments.tariffs.store import LotRow

_ALL_DAYS: Final = (date(1992, 1, 1), date(2999, 12, 31))


def lines(tx: Connection, *, lot_id: int | None = None) -> list[str]:
    """Return a line for each version, rule and calendar, and each lot's entry; of one lot its entries alone."""
    entries = [_entry(row) for row in store.lot_entries(tx, lot_ids=None if lot_id is None else [lot_id])]
    if lot_id is not None:
        return entries
    versions = [
        f"tariff    {row.code:<24} version {row.version:<3} from {row.valid_from.astimezone(CHINA).date()}  "
        f"{row.digest.hex()[:12]}  [{row.document}]"
        for row in store.versions(tx, codes=None)
    ]
    rules = [
        f"rule      {row.place:<24} from {row.valid_from.astimezone(CHINA).date()}: {row.free_minutes_min} free minutes at least, "
        f"unit {row.unit_minutes} minutes  [{row.document}]"
        for row in store.rules(tx)
    ]
    calendars = [
        f"calendar  {row.code:<24} {row.first_day} to {row.last_day}  "
        f"{row.effect}, {'everywhere' if row.everywhere else 'by list'}  [{row.document}]"
        for row in store.calendars(tx, lot_ids=[], first_day=_ALL_DAYS[0], last_day=_ALL_DAYS[1])
    ]
    return [*versions, *rules, *calendars, *entries]


def _entry(row: LotRow) -> str:
    own = "" if row.free_minutes is None else f", {row.free_minutes} free minutes of its own"
    own += "" if row.missing_price is None else f", missing prices: {row.missing_price}"
    return (
        f"lot       {row.lot_code:<24} from {row.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M} "
        f"by {row.tariff_code or 'none of ours'} {row.selectors}{own}  [{row.document}]"
    )
