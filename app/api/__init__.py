"""The API for machines: tokens, charges, deductions and refunds in, events, statements, proofs. Mounted by ``app.main``.

Knows which routes exist and who may call them; must not know what they do.
"""

from typing import Final

from litestar import Router
from litestar.di import Provide

from app.api import (
    cards,
    charges,
    codes,
    corrections,
    debts,
    deductions,
    departures,
    discounts,
    incentive,
    leave_first,
    merchants,
    proofs,
    quote_endpoints,
    records,
    refund_requests,
    refunds,
    rollout,
    statements,
    status_lists,
    takings,
    tariffs,
    token,
    webhooks,
)
from app.auth import authenticate, authenticate_shop
from app.problems import HANDLERS

CHARGES_BYTES_MAX: Final = 2 * 1024 * 1024
"""Largest request, but on routes of bulk records: see ``app.api.bulk``."""

routes: Final = [
    Router(
        path="/",
        route_handlers=[
            token.token,
            charges.post_charges,
            charges.get_charge,
            charges.get_events,
            codes.get_codes,
            codes.post_codes,
            codes.post_stay,
            codes.post_basket,
            corrections.post_corrections,
            corrections.get_correction,
            corrections.get_credit_note,
            records.post_stays,
            records.post_openings,
            records.get_openings,
            records.post_heartbeat,
            records.get_gaps,
            records.get_alarms,
            takings.post_takings,
            takings.post_cash_slip,
            takings.get_till,
            takings.post_returns,
            takings.get_returns_owed,
            cards.post_card_charges,
            debts.get_debts,
            debts.get_ageing,
            debts.get_disputes,
            debts.post_dispute,
            debts.post_answer,
            deductions.post_entrance,
            deductions.post_deduct,
            departures.post_departures,
            *discounts.routes,
            leave_first.post_leave_first,
            refunds.post_refund,
            refunds.get_refunds,
            refund_requests.get_refund_requests,
            refund_requests.post_refund_answer,
            statements.get_statement,
            incentive.get_incentive,
            rollout.post_legacy_codes,
            rollout.look_up_code,
            rollout.get_rollout,
            status_lists.get_status_list,
            *quote_endpoints.routes,
            *webhooks.routes,
            tariffs.post_quotes,
        ],
        dependencies={"caller": Provide(authenticate, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        request_max_body_size=CHARGES_BYTES_MAX,
    ),
    Router(
        path="/",
        route_handlers=merchants.routes,
        dependencies={"shop": Provide(authenticate_shop, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        request_max_body_size=CHARGES_BYTES_MAX,
    ),
    Router(path="/", route_handlers=proofs.routes, exception_handlers=HANDLERS),
]
