"""What is said to a payer who waits: what happens, how long it takes, and that nobody need stay. Pure.

Knows sentences, and how old an order is; must not know payments. Called by the pages of results and baskets.
"""

from datetime import timedelta
from typing import Final

from app.pages import after_words
from app.pages.render import Page

WALLETS: Final = ("wechat", "alipay", "unionpay")
REFRESH_SECONDS: Final = 3
REFRESH_LATER_SECONDS: Final = 15
YOUNG: Final = timedelta(minutes=2)
"""So long after the order the page looks again every few seconds, then less often."""
OLD: Final = timedelta(minutes=10)
"""So long after the order the payer is told that nobody need wait before this page."""


def refresh_seconds(age: timedelta) -> int:
    """Return after how many seconds a page that waits looks again."""
    return REFRESH_SECONDS if age < YOUNG else REFRESH_LATER_SECONDS


def waiting(page: Page, *, channel: str | None, age: timedelta) -> str:
    """Return what is said while a channel has not decided."""
    if age < YOUNG:
        return page.w.waiting_text
    r = after_words.words(is_english=page.is_english)
    name = page.w.channel_name(channel) if channel in WALLETS else r.a_channel
    return (r.waiting_later if age < OLD else r.waiting_long).format(channel=name)


def unpaid(page: Page, *, age: timedelta) -> str:
    """Return what is said while no payment has been begun at the channel."""
    return page.w.unpaid_text if age < YOUNG else after_words.words(is_english=page.is_english).unpaid_later
