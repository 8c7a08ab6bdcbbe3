"""The chart of accounts 科目表 as the recipes use it.

Knows the codes; names, sides and classes come from ``config/chart_of_accounts.toml`` as a value. Called by recipes and balances.
"""

from enum import IntEnum
from typing import Final, Literal

import msgspec
from msgspec import Struct

OwnerKind = Literal["operator", "platform", "district", "company"]
"""company: a firm that recovers debts for others; it keeps a book of what it earns so."""


class Account(IntEnum):
    """Account codes (rule 4-2-2). The chart in ``config`` explains each; a test holds the two together."""

    CASH = 100101
    BANK = 100201
    SPECIAL_ACCOUNT = 100202
    CLEARING_WECHAT = 101201
    CLEARING_ALIPAY = 101202
    CLEARING_UNIONPAY = 101203
    CLEARING_ETC = 101204
    CLEARING_LEGACY = 101209
    RECEIVABLE = 112201
    INCENTIVE_RECEIVABLE = 122101
    BEARER_RECEIVABLE = 122102
    SUSPENSE_OVER = 224101
    REFUNDS_PAYABLE = 224102
    INCENTIVE_PAYABLE = 224103
    BEARER_PAYABLE = 224104
    INCOME = 600101
    INCOME_WAIVED = 600102
    INCOME_REFUNDED = 600103
    INCOME_CORRECTED = 600104
    INCENTIVE_INCOME = 605102
    BEARER_COST = 660104
    INCENTIVE_COST = 660202
    CHANNEL_FEE = 660301
    WRITTEN_OFF = 670101


CODES: Final = frozenset(int(account) for account in Account)

_CLEARING: Final = {
    "wechat": Account.CLEARING_WECHAT,
    "alipay": Account.CLEARING_ALIPAY,
    "unionpay": Account.CLEARING_UNIONPAY,
    "etc": Account.CLEARING_ETC,
    "cash": Account.CASH,
    "legacy": Account.CLEARING_LEGACY,
}


def clearing(channel: str) -> Account:
    """Return the clearing account of a channel: money it has taken and not yet paid out to the operator's bank.

    ``cash`` is the till of a lot, ``legacy`` what drivers paid over a code that the operator had before the city's.
    """
    return _CLEARING[channel]


class AccountEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the chart file."""

    code: int
    name: str
    name_en: str
    side: Literal["debit", "credit"]
    class_: Literal["asset", "liability", "equity", "income", "expense"] = msgspec.field(name="class")
    books: tuple[OwnerKind, ...] = ()


class Chart(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole chart, in the order of the file."""

    account: tuple[AccountEntry, ...]


def read_chart(toml: bytes) -> Chart:
    """Read the chart file. Raises ValueError when a code is double or differs from the accounts the recipes name."""
    chart = msgspec.toml.decode(toml, type=Chart)
    codes = [entry.code for entry in chart.account]
    if len(set(codes)) != len(codes) or set(codes) != CODES:
        raise ValueError(f"the chart and the recipes disagree about the accounts {sorted(set(codes) ^ CODES) or 'written twice'}")
    return chart
