"""Routes 收款路由: whose merchant account takes the money of a payment, dated.

Knows merchant accounts; must not know lots or payments. Called by checkout and by whoever enters an operator's accounts.
The platform never stands between: an account whose payee is not the operator itself is refused.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from gateways import store
from gateways.contract import MerchantAccount
from ledger.errors import Conflict, NotFound, Refused
from ledger.volley import Question, ask


class NewAccount(Struct, frozen=True):
    """A merchant account to be entered. ``valid_until`` is exclusive; None means no end."""

    operator_id: int
    channel: str
    merchant_no: str
    payee_name: str
    """Legal payee name as the channel has it registered."""
    evidence: str
    """Document that proves the account, such as the number of the signed application."""
    valid_from: datetime
    valid_until: datetime | None = None
    sub_app_id: str | None = None
    mode: Literal["provider", "direct"] = "provider"
    key_ref: str | None = None
    """See ``MerchantAccount``: whose keys ask for its payments."""


def choose(tx: Connection, *, operator_id: int, channel: str, at: datetime) -> MerchantAccount | None:
    """Return the account that takes an operator's money over ``channel`` at ``at``, or None when the channel is not open to it."""
    return store.account_at(tx, operator_id=operator_id, channel=channel, at=at)


def open_channels(tx: Connection, *, operator_id: int, at: datetime) -> tuple[str, ...]:
    """Return the channels over which an operator's money has a way at ``at``, sorted; no others are offered to a payer."""
    return ask(tx, which_channels(operator_id=operator_id, at=at))


def which_channels(*, operator_id: int, at: datetime) -> Question[tuple[str, ...]]:
    """As ``open_channels``."""
    asked = store.which_accounts(operator_id=operator_id)
    return Question(asked.shot, lambda rows: channels_of(asked.read(rows), at=at))


def which_routes(*, operator_id: int) -> Question[list[MerchantAccount]]:
    """As ``listed``."""
    return store.which_accounts(operator_id=operator_id)


def channels_of(accounts: Iterable[MerchantAccount], *, at: datetime) -> tuple[str, ...]:
    """Return the channels of those accounts that are in force at ``at``, sorted. Pure."""
    return tuple(sorted(account.channel for account in accounts if _in_force(account, at)))


def chosen(accounts: Iterable[MerchantAccount], *, channel: str, at: datetime) -> MerchantAccount | None:
    """Return which of an operator's accounts takes its money over ``channel`` at ``at``. Pure."""
    return next((account for account in accounts if account.channel == channel and _in_force(account, at)), None)


def open_accounts(tx: Connection, *, operator_ids: Sequence[int], at: datetime) -> list[MerchantAccount]:
    """Return the accounts of several operators in force at ``at``, at all channels."""
    return store.accounts_at(tx, operator_ids=operator_ids, at=at)


def by_ids(tx: Connection, *, route_ids: Sequence[int]) -> dict[int, MerchantAccount]:
    """Return routes by their numbers, whatever their time."""
    return {account.route_id: account for account in store.accounts_by_id(tx, route_ids=route_ids)}


def merchants(tx: Connection, *, channel: str, begin: datetime, end: datetime) -> list[MerchantAccount]:
    """Return the accounts of a channel that were in force at some time in ``[begin, end)``, by merchant number, the newest each."""
    return store.accounts_between(tx, channel=channel, begin=begin, end=end)


def listed(tx: Connection, *, operator_id: int) -> list[MerchantAccount]:
    """Return all accounts of an operator, past and future, by channel and begin."""
    return store.accounts_of(tx, operator_id=operator_id)


def register(tx: Connection, *, account: NewAccount, operator_name: str, provider_no: str, at: datetime) -> MerchantAccount:
    """Open a route: from ``valid_from`` on the operator's money of this channel settles into its own account.

    Raises:
        Refused: ``payee_differs`` (the payee is not the operator), ``account_of_platform`` (the provider's own number: the platform
            never holds a driver's money), ``period_empty``, ``key_ref_missing`` (a direct account needs keys of its own).
        Conflict: ``route_overlaps`` (the operator has a route at that time), ``merchant_taken`` (another operator's number).

    Source: 锡政办发〔2025〕12号 二(四), 清缴至停车场主体账户不变.
    """
    if account.payee_name != operator_name:
        raise Refused(f"the payee {account.payee_name!r} is not the operator {operator_name!r}", code="payee_differs")
    if account.merchant_no == provider_no:
        raise Refused("an operator's money must not go to the service provider's account", code="account_of_platform")
    if account.valid_until is not None and account.valid_until <= account.valid_from:
        raise Refused("the route ends before it begins", code="period_empty")
    if account.mode == "direct" and not account.key_ref:
        raise Refused("a direct account is asked for with the operator's own keys: name them (key_ref)", code="key_ref_missing")
    entered = MerchantAccount(route_id=0, **msgspec.structs.asdict(account))
    try:
        with tx.begin_nested():
            route_id = store.insert_account(tx, account=entered, at=at)
    except IntegrityError as refused:
        raise _conflict(refused, account) from None
    return msgspec.structs.replace(entered, route_id=route_id)


def end(tx: Connection, *, route_id: int, at: datetime) -> None:
    """Let a route end at ``at``; payments made before keep the version they took.

    Raises:
        NotFound: ``route_not_found``: there is no such route open at ``at``.
    """
    if store.end_account(tx, route_id=route_id, at=at) == 0:
        raise NotFound(f"route {route_id} is not open at {at.isoformat()}", code="route_not_found")


def _in_force(account: MerchantAccount, at: datetime) -> bool:
    return account.valid_from <= at and (account.valid_until is None or at < account.valid_until)


def _conflict(refused: IntegrityError, account: NewAccount) -> Conflict:
    if "one_operator_per_merchant" in str(refused.orig):
        return Conflict(f"merchant number {account.merchant_no} belongs to another operator at that time", code="merchant_taken")
    if "one_route_at_a_time" in str(refused.orig):
        return Conflict(f"operator {account.operator_id} has a route over {account.channel} at that time", code="route_overlaps")
    raise refused
