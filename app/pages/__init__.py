"""The citizen's pages: scan, plate, amount due, pay, result; pay code sheets; the notice board.

Knows payments and how pages look; must not know the book or any channel's wire. ``routes`` is mounted by ``app.main``.
"""

from typing import Final

from litestar import Router
from litestar.middleware import DefineMiddleware
from litestar.middleware.compression import CompressionMiddleware

from app.pages import basket, board, clerk, codes, coupon, dispute, mandate, pay, receipt, render, report, result, scan, sorry

BODY_BYTES_MAX: Final = 8_192
"""Largest form of a page: a plate, or the numbers of a charge."""

routes: Final = [
    Router(
        path="/",
        route_handlers=[
            board.board,
            codes.code,
            codes.asset,
            scan.scan,
            scan.due,
            scan.begin_again,
            pay.pay,
            pay.came_back,
            pay.open_wallet,
            result.result,
            result.come_back,
            *receipt.routes,
            coupon.use,
            coupon.begin_again,
            *clerk.routes,
            basket.fill,
            basket.show,
            basket.come_back,
            basket.pay_next,
            basket.look_up_again,
            basket.came_back,
            basket.open_wallet,
            dispute.dispute,
            mandate.begin,
            mandate.begin_at,
            mandate.came_back,
            mandate.elsewhere,
            mandate.begin_again,
            mandate.words,
            mandate.sign,
            mandate.go,
            mandate.show,
            mandate.end,
            mandate.mine,
            mandate.open_mine,
            mandate.open_receipt,
            report.ask,
            report.ask_at_lot,
            report.take,
            report.take_at_lot,
        ],
        exception_handlers=dict(sorry.HANDLERS),
        middleware=[DefineMiddleware(CompressionMiddleware, config=render.COMPRESSION)],
        request_max_body_size=BODY_BYTES_MAX,
    )
]
