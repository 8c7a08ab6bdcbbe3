"""The chart of accounts 科目表 as the recipes use it.

Knows the codes; names, sides and classes come from ``config/chart_of_accounts.toml`` as a value. Called by recipes and balances.
"""

from enum import IntEnum
from typing import Final, Literal

import msgspec
from msgspec import Struct

OwnerKind = Literal["operator", "platform", "district"]


class Account(IntEnum):
    """Account codes (rule 4-2-2). The chart in ``config`` explains each; a test holds the two together."""

    BANK = 100201
    SPECIAL_ACCOUNT = 100202
    CLEARING_WECHAT = 101201
    CLEARING_ALIPAY = 101202
    CLEARING_UNIONPAY = 101203
    CLEARING_ETC = 101204
    RECEIVABLE = 112201
    SUSPENSE_OVER = 224101
    REFUNDS_PAYABLE = 224102
    INCOME = 600101
    INCOME_REFUNDED = 600103
    CHANNEL_FEE = 660301


CODES: Final = frozenset(int(account) for account in Account)

_CLEARING: Final = {
    "wechat": Account.CLEARING_WECHAT,
    "alipay": Account.CLEARING_ALIPAY,
    "unionpay": Account.CLEARING_UNIONPAY,
    "etc": Account.CLEARING_ETC,
}


def clearing(channel: str) -> Account:
    """Return the clearing account of a channel: money it has taken and not yet paid out to the operator's bank."""
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
