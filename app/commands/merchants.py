"""``tongting discount merchant``: shops that give discounts are entered and ended, get tokens, and links for their clerks.

Knows the words of the acts and of their answers; must not know what makes a merchant legal. Called by ``app.commands.discounts``.
"""

import argparse
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from app import auth, clerk_links
from app.auth import Shop
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import Refused
from ledger.money import yuan
from payments import people, qr
from payments.discounts import clerks, merchants
from payments.discounts.clerks import Clerk
from payments.discounts.merchants import Merchant, NewMerchant

LINK_DAYS: Final = 180


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting discount merchant``."""
    acts = parser.add_subparsers(dest="merchant_act", required=True, metavar="act")
    acts.add_parser("list", help="print merchants with their limits, past and future")
    added = acts.add_parser("add", help="enter a merchant")
    added.add_argument("file", type=Path, help="a merchant in TOML with its document, see docs/DISCOUNTS.md")
    ended = acts.add_parser("end", help="end a merchant: it gives nothing from now on")
    ended.add_argument("merchant", help="the merchant's code")
    ended.add_argument("--document", required=True, help="why")
    token = acts.add_parser("token", help="let a merchant's own system ask for tokens; its secret is printed this once")
    token.add_argument("merchant", help="the merchant's code")
    token.add_argument("--client", help="client id (default: the merchant's code)")
    token.add_argument("--end", action="store_true", help="switch the client off instead")
    clerk = acts.add_parser("clerk", help="make, print or end the link of a counter; without a name print all")
    clerk.add_argument("merchant", help="the merchant's code")
    what = clerk.add_mutually_exclusive_group()
    what.add_argument("--name", help="make one for the counter of this name")
    what.add_argument("--show", type=UUID, metavar="LINK", help="print a link again, by its number")
    what.add_argument("--end", type=UUID, metavar="LINK", help="end a link, by its number")
    clerk.add_argument("--days", type=int, default=LINK_DAYS, help=f"how long it counts (default: {LINK_DAYS})")
    clerk.add_argument("--png", type=Path, help="write its QR code into this file, to be printed")
    for act in (added, ended, token, clerk):
        act.add_argument("--by", required=act is not clerk, help="code of the person who does it")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``payments.discounts.merchants`` and ``clerks`` refuse; ``file_unreadable``, no file or one of another form.
        Conflict: ``client_taken``. NotAllowed: ``person_unknown``, ``person_may_not``.
    """
    return _ACTS[given.merchant_act](wiring, given)


def read(file: Path) -> NewMerchant:
    """Return the merchant of a file. Raises Refused (``file_unreadable``)."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=NewMerchant)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as wrong:
        raise Refused(f"{file} is no merchant: {wrong}", code="file_unreadable") from None


def _list(wiring: Wiring, given: argparse.Namespace) -> str:  # noqa: ARG001  # all acts have one shape
    with wiring.db.connect() as tx:
        return "\n".join(_line(one) for one in merchants.listed(tx, lane=wiring.lane)) or "There is no merchant."


def _add(wiring: Wiring, given: argparse.Namespace) -> str:
    merchant = read(given.file)
    with wiring.db.begin() as tx:
        return _line(
            merchants.add(tx, lane=wiring.lane, merchant=merchant, by=given.by, at=wiring.clock.now(), ids=wiring.ids)
        )  # fmt: skip


def _end(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        return _line(
            merchants.end(
                tx, lane=wiring.lane, code=given.merchant, document=given.document, by=given.by, at=wiring.clock.now()
            )
        )  # fmt: skip


def _token(wiring: Wiring, given: argparse.Namespace) -> str:
    at, client_id = wiring.clock.now(), given.client or given.merchant
    with wiring.db.begin() as tx:
        people.maker(tx, person_code=given.by, at=at)
        merchant = merchants.by_code(tx, lane=wiring.lane, code=given.merchant)
        if given.end:
            if client_id not in auth.shops(tx, merchant_id=merchant.merchant_id):
                raise Refused(f"{merchant.code} has no client {client_id!r}", code="merchant_invalid")
            auth.end_client(tx, client_id=client_id, at=at)
            return f"client {client_id} gets no more tokens"
        merchants.giving(tx, lane=wiring.lane, merchant_id=merchant.merchant_id, at=at)
        secret = auth.register_shop(tx, shop=Shop(client_id=client_id, merchant_id=merchant.merchant_id), at=at)
    return (
        f"client_id {client_id}\nclient_secret {secret}\nIt is shown this once. POST it to {wiring.settings.public_url}/oauth/token"
    )


def _clerk(wiring: Wiring, given: argparse.Namespace) -> str:
    lane, at = wiring.lane, wiring.clock.now()
    if (given.name or given.end) and not given.by:
        raise Refused("say with --by who does it", code="merchant_invalid")
    with wiring.db.begin() as tx:
        if given.name:
            until = at + timedelta(days=given.days)
            made = clerks.make(
                tx, lane=lane, merchant=given.merchant, name=given.name, valid_until=until, by=given.by, at=at, ids=wiring.ids
            )  # fmt: skip
            return _shown(wiring, made, given.png)
        found = clerks.of_merchant(tx, lane=lane, merchant=given.merchant)
        wanted = given.show or given.end
        if wanted is None:
            return "\n".join(_clerk_line(one) for one in found) or "There is no link."
        if wanted not in [one.clerk_id for one in found]:
            raise clerks.ClerkUnknown(f"{given.merchant} has no link {wanted}")
        if given.end:
            return _clerk_line(clerks.end(tx, lane=lane, clerk_id=wanted, by=given.by, at=at))
    return _shown(wiring, next(one for one in found if one.clerk_id == wanted), given.png)


def _shown(wiring: Wiring, clerk: Clerk, png: Path | None) -> str:
    """Return a link to open, as words and as a code to scan; whoever has it may give, so it is handled like a key."""
    address = clerk_links.link(wiring, clerk)
    if png is not None:
        png.write_bytes(qr.image(address, module_pixels=12))
        return f"{_clerk_line(clerk)}\n{address}\n{png}"
    return f"{_clerk_line(clerk)}\n{address}\n{qr.terminal(address)}"


def _clerk_line(one: Clerk) -> str:
    until = f"{one.valid_until.astimezone(CHINA):%Y-%m-%d %H:%M}"
    ended = "" if one.ended_at is None else f", ended by {one.ended_by} at {one.ended_at.astimezone(CHINA):%Y-%m-%d %H:%M}"
    return f"{one.clerk_id}  {one.name}  until {until}, made by {one.made_by}{ended}"


def _line(one: Merchant) -> str:
    since, until = (f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M}" for moment in (one.valid_from, one.valid_until))
    counts = (("plate and day", one.plate_day_max), ("day", one.day_max), ("month", one.month_max))
    amounts = (("validation", one.validation_fen_max), ("day", one.day_fen_max), ("month", one.month_fen_max))
    limits = [f"{most} a {span}" for span, most in counts if most is not None]
    limits += [f"{yuan(most)} yuan a {span}" for span, most in amounts if most is not None]
    ended = "" if one.ended_at is None else f", ended {one.ended_at.astimezone(CHINA):%Y-%m-%d %H:%M}"
    return (
        f"{one.code:<16} {one.name} / {one.name_en}  {len(one.offer_ids)} offers at {len(one.lot_ids)} lots, borne by "
        f"{one.bearer or 'the operators'}; {', '.join(limits) or 'no limit'}; {since} to {until}{ended}  [{one.document}]"
    )


_ACTS: Final[Mapping[str, Callable[[Wiring, argparse.Namespace], str]]] = {
    "list": _list, "add": _add, "end": _end, "token": _token, "clerk": _clerk,
}  # fmt: skip
