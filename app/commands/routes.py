"""``tongting route``: an operator's merchant accounts at the channels, listed, entered and ended by a person.

Knows the words of the command and of its answers; must not know what makes a route legal. Called by the command line.
"""

import argparse
from datetime import datetime
from typing import Final

from app.wiring import Wiring
from gateways import routing
from gateways.contract import MerchantAccount
from gateways.routing import NewAccount
from ledger.clock import CHINA
from ledger.errors import NotFound
from payments import lots

_TIME: Final = "as 2026-03-01T00:00:00+08:00; without an offset it is Chinese time"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting route``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    listed = acts.add_parser("list", help="print routes, past and future")
    listed.add_argument("--operator", help="the operator's code; without it all operators'")
    added = acts.add_parser("add", help="let an operator's money of a channel settle into its own merchant account from now on")
    added.add_argument("operator", help="the operator's code")
    added.add_argument("channel", help="wechat, alipay, unionpay or etc")
    added.add_argument("merchant_no", help="the operator's own merchant number at the channel")
    added.add_argument("--payee", required=True, help="legal payee name as the channel has it registered; must be the operator's")
    added.add_argument("--evidence", required=True, help="document that proves the account, such as the application's number")
    added.add_argument("--from", dest="valid_from", type=instant, help=f"first moment, {_TIME} (default: now)")
    added.add_argument("--until", dest="valid_until", type=instant, help=f"first moment after, {_TIME} (default: no end)")
    added.add_argument("--mode", choices=["provider", "direct"], default="provider", help="under whose number it is asked for")
    added.add_argument("--key-ref", help="name of the operator's own keys; needed with --mode direct")
    added.add_argument("--sub-app-id", help="WeChat: the operator's own AppID, if payers are known under it")
    ended = acts.add_parser("end", help="let a route end; payments made before keep it")
    ended.add_argument("route_id", type=int, help="as 'route list' prints it")
    ended.add_argument("--at", type=instant, help=f"when, {_TIME} (default: now)")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for, in one transaction, and return what to print.

    Raises:
        Refused: what ``routing.register`` and ``routing.end`` refuse, an operator or a channel that is not here.
    """
    if given.act == "add":
        return _add(wiring, given)
    return _end(wiring, given) if given.act == "end" else _list(wiring, given)


def instant(word: str) -> datetime:
    """Return a time that a person wrote; without an offset it is Chinese time. Raises ValueError."""
    at = datetime.fromisoformat(word)
    return at if at.tzinfo is not None else at.replace(tzinfo=CHINA)


def _add(wiring: Wiring, given: argparse.Namespace) -> str:
    provider_no = wiring.providers().get(given.channel)
    if provider_no is None:
        here = ", ".join(wiring.channels.names())
        raise NotFound(f"there is no channel {given.channel!r} here, but: {here}", code="channel_not_found")
    at = wiring.clock.now()
    with wiring.db.begin() as tx:
        operator = lots.operator_by_code(tx, code=given.operator)
        account = NewAccount(
            operator_id=operator.operator_id,
            channel=given.channel,
            merchant_no=given.merchant_no,
            payee_name=given.payee,
            evidence=given.evidence,
            valid_from=given.valid_from or at,
            valid_until=given.valid_until,
            sub_app_id=given.sub_app_id,
            mode=given.mode,
            key_ref=given.key_ref,
        )
        route = routing.register(tx, account=account, operator_name=operator.legal_name, provider_no=provider_no, at=at)
    return _line(operator.code, route)


def _end(wiring: Wiring, given: argparse.Namespace) -> str:
    at = given.at or wiring.clock.now()
    with wiring.db.begin() as tx:
        routing.end(tx, route_id=given.route_id, at=at)
    return f"route {given.route_id} ends at {_moment(at)}"


def _list(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        wanted = lots.operators(tx) if given.operator is None else [lots.operator_by_code(tx, code=given.operator)]
        lines = [
            _line(operator.code, route)
            for operator in wanted
            for route in routing.listed(tx, operator_id=operator.operator_id)
        ]  # fmt: skip
    return "\n".join(lines) or "There is no route."


def _line(code: str, route: MerchantAccount) -> str:
    until = "no end" if route.valid_until is None else _moment(route.valid_until)
    whose = route.mode if route.key_ref is None else f"{route.mode} {route.key_ref}"
    return (
        f"{route.route_id:>6}  {code:<12} {route.channel:<9} {route.merchant_no:<18} {whose:<18} "
        f"{_moment(route.valid_from)} to {until}  {route.payee_name}  [{route.evidence}]"
    )


def _moment(at: datetime) -> str:
    return f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}"
