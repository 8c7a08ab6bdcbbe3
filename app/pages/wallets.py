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
_BROWSER_INSIDE: Final = frozenset({"alipay"})
"""Wallets that take a browser's order inside their app too. WeChat refuses its own there."""


class Offer(Struct, frozen=True):
    """A wallet that can be tapped: the channel, and how its order is made."""

    channel: str
    way: Way
    unnamed: bool = False
    """Reached as from a browser although the page is open inside the wallet: it does not say who pays, or refused the order."""


def wallet_of(user_agent: str) -> str | None:
    """Return the channel whose app this page is open in; None for an ordinary browser."""
    return next((channel for mark, channel in _MARKS if mark in user_agent), None)


def payable(channels: Iterable[AnyChannel]) -> list[str]:
    """Return the names of the channels that a payer can tap, in the order in which they are offered."""
    return sorted((one.name for one in channels if Operation.PREPAY in one.supports), key=lambda name: (_place(name), name))


def offers(channels: Iterable[AnyChannel], *, routed: Collection[str], user_agent: str) -> list[Offer]:
    """Return the wallets to offer: channels with a route of this operator, that this browser can reach.

    Inside a wallet only that wallet is offered, because the others cannot be opened from there; unless it has no route here, when
    nothing is.
    """
    inside = wallet_of(user_agent)
    found = []
    for channel in channels:
        if channel.name in routed and Operation.PREPAY in channel.supports and inside in (None, channel.name):
            way = _way(channel.ways, inside=inside == channel.name)
            if way is not None:
                found.append(Offer(channel.name, way))
    return sorted(found, key=lambda offer: (_place(offer.channel), offer.channel))


def without_payer(offer: Offer) -> Offer | None:
    """Return how the same wallet can be reached when it does not say who pays; None when it cannot."""
    return Offer(offer.channel, Way.BROWSER, unnamed=True) if offer.channel in _BROWSER_INSIDE else None


def _way(ways: Collection[Way], *, inside: bool) -> Way | None:
    """Return the way from this browser: the wallet's own page inside it, else from the browser."""
    if inside and Way.IN_WALLET in ways:
        return Way.IN_WALLET
    return Way.BROWSER if Way.BROWSER in ways else None


def _place(channel: str) -> int:
    return ORDER.index(channel) if channel in ORDER else len(ORDER)
