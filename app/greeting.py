"""What ``tongting run`` says when it serves: where to look, what to scan, what to try.

Knows addresses and the demo city; must not know processes. Called by the command line.
"""

from datetime import timedelta
from typing import Final

from app import demo
from app.auth import Caller, signed
from app.wiring import Wiring
from ledger.clock import CHINA, business_date
from ledger.money import yuan
from payments import charges, paycode, qr
from payments.lots import Lot

TOKEN_LIFETIME: Final = timedelta(hours=12)
_WIDTH: Final = 96
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


def greeting(wiring: Wiring) -> str:
    """Return what to say for this kind of installation: with the demo city, simulated, or with real money."""
    settings = wiring.settings
    if settings.simulated:
        return (
            f"A simulated city with seed {settings.simulated_seed} serves {settings.public_url}; its clock stands at "
            f"{settings.simulated_start_at}. 'tongting day' with the same settings lives through its day. Ctrl-C stops everything."
        )
    return _demo(wiring) if settings.sandbox else f"Serving {settings.public_url}. Ctrl-C stops everything."


def _demo(wiring: Wiring) -> str:
    """Return the text for the demo city; a fresh charge for its car is posted if none is open."""
    with wiring.db.begin() as tx:
        lot = demo.ensure_due(tx, lane=wiring.lane, at=wiring.clock.now(), ids=wiring.ids)
        due = charges.due(tx, lane=wiring.lane, lot_id=lot.lot_id, plate=demo.PLATE)
    link = paycode.link(wiring.settings.public_url, lot.lot_id, keys=wiring.pay_codes)
    amount = yuan(sum(charge.amount_fen for charge in due))
    return "\n".join(
        ["", "=" * _WIDTH, *_page(wiring, lot, link, amount), "", *_operator(wiring, lot), "", *_more(wiring), "=" * _WIDTH]
    )


def _page(wiring: Wiring, lot: Lot, link: str, amount: str) -> list[str]:
    settings = wiring.settings
    reach = ""
    if settings.web_host in _LOCAL:
        reach = "  (README.md says how a phone in the same network reaches it)"
    return [
        f"扫码缴费 · pay code of {lot.name} ({lot.code})" + reach,
        qr.terminal(link),
        link,
        f"车牌 plate {demo.PLATE} owes ¥{amount} there. Nothing here moves real money.",
        f"全市停车场 notice board   {settings.public_url}/",
        f"打印码牌 printable code   {settings.public_url}/codes/{lot.code}",
    ]


def _operator(wiring: Wiring, lot: Lot) -> list[str]:
    now = wiring.clock.now()
    address = f"{wiring.settings.public_url}/v1/operators/{lot.operator_code}/statements/{business_date(now)}"
    caller = Caller(client_id="demo", scope="operator", operator_id=lot.operator_id)
    token = signed(caller, keys=wiring.keys.tokens, issuer=wiring.settings.public_url, at=now, lifetime=TOKEN_LIFETIME)
    return [
        f"对账单 today's statement of {lot.operator_name} (pay something first; this token lives for 12 hours):",
        f"curl -s {address} -H 'Authorization: Bearer {token}'",
    ]


def _more(wiring: Wiring) -> list[str]:
    settings = wiring.settings
    return [
        f"接口文档 API docs        {settings.public_url}/schema",
        f"支付渠道模拟器 stand-in  {settings.sandbox_url}/",
        f"数据 data in             {settings.home}   (time here: {wiring.clock.now().astimezone(CHINA):%Y-%m-%d %H:%M})",
        "Ctrl-C stops everything; started again it goes on with the same data.",
    ]
