"""Which wallets a page offers, and how each is reached from the browser that the page is open in. Pure.

Knows channels' ways and what browsers say of themselves; must not know payments or HTTP. Called by the page views.
A browser's word is a hint only: what is paid is proven by the channel.
"""

from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

from gateways.contract import AnyChannel, Operation, Way

_MARKS: Final = (("MicroMessenger", "wechat"), ("AlipayClient", "alipay"), ("CloudPay", "unionpay"), ("UnionPay/", "unionpay"))
ORDER: Final = ("wechat", "alipay", "unionpay")
"""In which order wallets are offered to a browser that is none of them."""


class Offer(Struct, frozen=True):
    """A wallet that can be tapped: the channel, and how its order is made."""

    channel: str
    way: Way


def wallet_of(user_agent: str) -> str | None:
    """Return the channel whose app this page is open in; None for an ordinary browser."""
    return next((channel for mark, channel in _MARKS if mark in user_agent), None)


def offers(
    channels: Iterable[AnyChannel], *, routed: Collection[str], user_agent: str, at_stand_in: Collection[str] = ()
) -> list[Offer]:  # fmt: skip
    """Return the wallets to offer: channels with a route of this operator, that this browser can reach.

    Inside a wallet only that wallet is offered, because the others cannot be opened from there; unless it has no route here, when
    nothing is. ``at_stand_in`` names channels whose in-wallet payment can be made at the stand-in's cashier from any browser.
    """
    inside = wallet_of(user_agent)
    found = []
    for channel in channels:
        if channel.name in routed and Operation.PREPAY in channel.supports and inside in (None, channel.name):
            way = _way(channel.ways, inside=inside == channel.name, at_stand_in=channel.name in at_stand_in)
            if way is not None:
                found.append(Offer(channel.name, way))
    return sorted(found, key=lambda offer: (_place(offer.channel), offer.channel))


def _way(ways: Collection[Way], *, inside: bool, at_stand_in: bool) -> Way | None:
    """Return the way from this browser: the wallet's own page inside it, else from the browser."""
    if (inside or (at_stand_in and Way.BROWSER not in ways)) and Way.IN_WALLET in ways:
        return Way.IN_WALLET
    return Way.BROWSER if Way.BROWSER in ways else None


def _place(channel: str) -> int:
    return ORDER.index(channel) if channel in ORDER else len(ORDER)
