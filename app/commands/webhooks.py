"""``tongting webhook``: webhooks of lots and operators, listed, entered, switched on, replayed and ended by a person.

Knows the words of the command and of its answers; must not know how messages are sent. Called by the command line.
"""

import argparse
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from app.commands.routes import instant
from app.wiring import Wiring
from ledger.clock import CHINA
from ledger.errors import NotFound, Refused
from payments import lots
from payments.webhooks import replays, store, subscriptions
from payments.webhooks.records import Owner, Webhook

_BY: Final = "command line"
_TIME: Final = "as 2026-03-01T00:00:00+08:00; without an offset it is Chinese time"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said after ``tongting webhook``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="act")
    listed = acts.add_parser("list", help="print webhooks and how they fare")
    listed.add_argument("--operator", help="the operator's code; without it all operators'")
    listed.add_argument("--ended", action="store_true", help="those too that have ended")
    added = acts.add_parser("add", help="push events to an address from now on; prints the secret, this once")
    added.add_argument("operator", help="the operator's code")
    added.add_argument("url", help="https address of the receiver")
    added.add_argument("--lot", help="the lot's code; without it all lots of the operator")
    added.add_argument("--kinds", nargs="+", default=["*"], help="such as payment.succeeded or 'debt.*' (default: all)")
    enabled = acts.add_parser("enable", help="switch on what was disabled or paused; what was parked is replayed apart")
    enabled.add_argument("webhook", type=UUID, help="its id, as 'webhook list' prints it")
    again = acts.add_parser("replay", help="send events again; receivers know them by their ids")
    again.add_argument("webhook", type=UUID, help="its id")
    again.add_argument("--from", dest="since", type=instant, help=f"events written from then on, {_TIME}")
    again.add_argument("--until", type=instant, help=f"and before then, {_TIME}")
    again.add_argument("--event", dest="events", nargs="+", type=UUID, help="event ids")
    again.add_argument("--kinds", nargs="+", help="only these kinds (default: those of the webhook)")
    again.add_argument("--parked", action="store_true", help="only what was parked")
    ended = acts.add_parser("end", help="end a webhook for good; what is in line is parked")
    ended.add_argument("webhook", type=UUID, help="its id")


def run(wiring: Wiring, given: argparse.Namespace) -> str:
    """Do what was asked for and return what to print.

    Raises:
        Refused: what ``subscriptions`` and ``replays`` refuse; an operator or a lot that is not here.
    """
    acts = {"list": _list, "add": _add, "enable": _enable, "replay": _replay, "end": _end}
    return acts[given.act](wiring, given)


def _list(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.connect() as tx:
        operator_id = None if given.operator is None else lots.operator_by_code(tx, code=given.operator).operator_id
        found = store.all_webhooks(tx, lane=wiring.lane, operator_id=operator_id, ended=given.ended)
    return "\n".join(_line(one) for one in found) or "There is no webhook."


def _add(wiring: Wiring, given: argparse.Namespace) -> str:
    post = wiring.post()
    subscriptions.check_url(given.url, guard=post.guard)
    with wiring.db.begin() as tx:
        shown = subscriptions.add(
            tx, lane=wiring.lane, owner=_owner(tx, given.operator, given.lot), url=given.url, kinds=given.kinds, by=_BY,
            at=wiring.clock.now(), ids=wiring.ids, tokens=wiring.link_tokens, vault=post.vault,
        )  # fmt: skip
    return f"{_line(shown.webhook)}\nsecret, shown this once: {shown.secret}"


def _enable(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        owner = _owner_of(tx, wiring, given.webhook)
        changed = subscriptions.change(
            tx, lane=wiring.lane, owner=owner, webhook_id=given.webhook, at=wiring.clock.now(), state="active"
        )
    return _line(changed)


def _replay(wiring: Wiring, given: argparse.Namespace) -> str:
    """Replay page by page, a transaction each: what is in line stays in line, and the answer says how far it came."""
    events, after, at = 0, None, wiring.clock.now()
    while True:
        with wiring.db.begin() as tx:
            done = replays.replay(
                tx, lane=wiring.lane, owner=_owner_of(tx, wiring, given.webhook), webhook_id=given.webhook, at=at,
                since=given.since, until=_before(given, at), event_ids=given.events, kinds=given.kinds, parked=given.parked,
                after=after,
            )  # fmt: skip
        events, after = events + done.events, done.next
        if after is None:
            return f"{events} events are in line again for webhook {given.webhook}"


def _before(given: argparse.Namespace, at: datetime) -> datetime | None:
    """Return where a range ends: without an end now, so that a long replay comes to one."""
    until: datetime | None = given.until
    return at if until is None and given.since is not None and given.since < at else until


def _end(wiring: Wiring, given: argparse.Namespace) -> str:
    with wiring.db.begin() as tx:
        owner = _owner_of(tx, wiring, given.webhook)
        ended = subscriptions.end(tx, lane=wiring.lane, owner=owner, webhook_id=given.webhook, at=wiring.clock.now())
    return _line(ended)


def _owner(tx: Connection, operator_code: str, lot_code: str | None) -> Owner:
    operator = lots.operator_by_code(tx, code=operator_code)
    if lot_code is None:
        return Owner(operator.operator_id)
    lot = lots.lot_by_code(tx, code=lot_code)
    if lot.operator_id != operator.operator_id:
        raise Refused(f"{lot_code} is not a lot of {operator_code}", code="lot_not_found")
    return Owner(operator.operator_id, lot.lot_id)


def _owner_of(tx: Connection, wiring: Wiring, webhook_id: UUID) -> Owner:
    found = store.owner_of(tx, lane=wiring.lane, webhook_id=webhook_id)
    if found is None:
        raise NotFound(f"there is no webhook {webhook_id}", code="webhook_not_found")
    return found


def _line(webhook: Webhook) -> str:
    failing = "" if webhook.failing_since is None else f", failing since {webhook.failing_since.astimezone(CHINA):%Y-%m-%d %H:%M}"
    reason = "" if webhook.reason is None else f" ({webhook.reason})"
    return (
        f"{webhook.webhook_id}  {webhook.operator_code}/{webhook.lot_code or '*'}  {webhook.state}{reason}  {webhook.url}  "
        f"{','.join(webhook.kinds)}  {webhook.waiting} waiting, {webhook.parked} parked{failing}"
    )
