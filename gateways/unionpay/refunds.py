"""What UnionPay's codes mean for a refund: the answer to the call, the answer to a query, a notice.

Knows codes; must not know messages or keys. Called by the adapter. Source: ACP 5.1.0, 退货 and 应答码.
"""

from typing import Final

from gateways.contract import ChannelState, RefundState
from gateways.unionpay.answers import RESP_CODES, Meaning, order_state

BALANCE_TOO_SMALL: Final = "64"
"""Of a refund it is the merchant's balance: the same number may be asked for again when there is money."""

_CALL: Final = {
    Meaning.TAKEN: RefundState.PENDING,
    Meaning.UNDONE: RefundState.STUCK,
    **dict.fromkeys((Meaning.UNAVAILABLE, Meaning.NOT_ALLOWED, Meaning.RATE_LIMITED, Meaning.RISK), RefundState.LATER),
}
"""A number that is taken is there and must be asked about. A payment that was refunded or cancelled before, without this number,
is for a person. The rest was not carried out now, but may hide an earlier identical call."""

_QUERY: Final = {
    Meaning.ACCEPTED: RefundState.DONE,
    Meaning.DECLINED: RefundState.STUCK,
    **dict.fromkeys(
        (Meaning.FAILED, Meaning.REFUSED, Meaning.NOT_ALLOWED, Meaning.ORIGINAL_UNFIT, Meaning.RISK), RefundState.CLOSED
    ),
}
"""By origRespCode. Refused by the payer's bank: a person must decide. The others failed for good: nothing was made."""

IN_PROCESS: Final = "05"
"""As origRespCode: taken on, ask later. 03 and 04 are not known to the channel itself."""


def call_state(resp_code: str | None) -> RefundState:
    """Return what the verified answer to a refund call says. 00 means taken on, not done."""
    if resp_code == BALANCE_TOO_SMALL:
        return RefundState.LATER
    state = order_state(resp_code)
    if state is ChannelState.PENDING:
        return RefundState.PENDING
    if state is ChannelState.FAILED:
        return RefundState.REFUSED
    meaning = None if resp_code is None else RESP_CODES.get(resp_code)
    return RefundState.UNKNOWN if meaning is None else _CALL.get(meaning, RefundState.UNKNOWN)


def query_state(resp_code: str | None, orig_resp_code: str | None) -> RefundState:
    """Return what a query's verified answer says of the refund asked for."""
    asked = None if resp_code is None else RESP_CODES.get(resp_code)
    if asked is Meaning.NOT_FOUND:
        return RefundState.NOT_FOUND
    if asked is not Meaning.ACCEPTED or orig_resp_code is None:
        return RefundState.UNKNOWN
    if orig_resp_code == IN_PROCESS:
        return RefundState.PENDING
    meaning = RESP_CODES.get(orig_resp_code)
    return RefundState.UNKNOWN if meaning is None else _QUERY.get(meaning, RefundState.UNKNOWN)
