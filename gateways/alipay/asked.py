"""Our orders in Alipay's words: what each call says of an order, a debit, a car that came.

Knows both shapes and who we are; must not know keys or how a call goes out. Called by the adapter.
"""

from datetime import timedelta
from urllib.parse import quote

from msgspec import Struct

from gateways.alipay import contents, wire
from gateways.alipay.wire import Fen
from gateways.contract import Deduction, Entrance, PrepayOrder, Way


class Provider(Struct, frozen=True, kw_only=True):
    """Who we are at Alipay: the platform's application. ``notify_url`` takes all notices, also those of operators' own ones."""

    app_id: str
    notify_url: str
    merchant_no: str | None = None
    """The platform's own merchant number (PID): orders name it for the rebate."""
    api_url: str = wire.API_URL
    login_url: str = wire.LOGIN_URL
    sign_url: str | None = None
    """Where a payer lets a plate be debited; ``{plate}``, ``{color}`` and ``{return_url}`` in it are filled in. None: the contract
    gave none, and the payer opens it inside the wallet by hand."""
    jsapi_product: str = wire.PRODUCT_JSAPI
    """Older contracts have ``FACE_TO_FACE_PAYMENT``."""


def ordered(order: PrepayOrder, provider: Provider) -> contents.NewTrade | contents.NewCode | contents.NewPage:
    """Return what an order's call says; it follows from the order alone, so that a repeat is identical."""
    expires_at = min(order.expires_at, order.created_at + timedelta(days=wire.EXPIRY_DAYS_MAX))
    order_no, total_fen, seller_id = order.order_no, Fen(order.amount_fen), order.merchant_no
    subject, time_expire = wire.subject_text(order.description), wire.china_time(expires_at)
    passback = None if order.attach is None else quote(order.attach, safe="")
    extend = None if provider.merchant_no is None else contents.ExtendParams(sys_service_provider_id=provider.merchant_no)
    if order.way is Way.BROWSER:
        fits = order.return_url is not None and len(order.return_url) <= wire.QUIT_URL_CHARACTERS_MAX
        return contents.NewPage(
            order_no=order_no, total_fen=total_fen, subject=subject, product_code=wire.PRODUCT_WAP,
            quit_url=order.return_url if fits else None, seller_id=seller_id, time_expire=time_expire, passback_params=passback,
            extend_params=extend,
        )  # fmt: skip
    if order.way is Way.CODE:
        minutes = max(1, -((order.created_at - expires_at) // timedelta(minutes=1)))  # up to the next whole one
        return contents.NewCode(
            order_no=order_no, total_fen=total_fen, subject=subject, product_code=wire.PRODUCT_CODE, seller_id=seller_id,
            time_expire=time_expire, qr_code_timeout_express=f"{minutes}m", passback_params=passback, extend_params=extend,
        )  # fmt: skip
    buyer_id, open_id = payer(order.payer_id)
    app_id = order.sub_app_id or provider.app_id
    return contents.NewTrade(
        order_no=order_no, total_fen=total_fen, subject=subject, buyer_id=buyer_id, buyer_open_id=open_id,
        product_code=provider.jsapi_product, op_app_id=app_id if provider.jsapi_product == wire.PRODUCT_JSAPI else None,
        seller_id=seller_id, time_expire=time_expire, passback_params=passback, extend_params=extend,
    )  # fmt: skip


def entry(entrance: Entrance) -> contents.Entry:
    """Return what the call says of a car that came; it asks for the plate's agreement as well."""
    return contents.Entry(
        parking_id=entrance.lot_no, car_number=entrance.plate, in_time=wire.china_time(entrance.entered_at),
        car_color=wire.PLATE_COLORS.get(entrance.plate_color), agreement_query=True, out_serial_no=entrance.entrance_no,
        free_minutes=str(entrance.free_minutes),
    )  # fmt: skip


def debit(deduction: Deduction, provider: Provider) -> contents.PlateDebit:
    """Return what the call says of a debit; it follows from the deduction alone."""
    return contents.PlateDebit(
        order_no=deduction.order_no, total_fen=Fen(deduction.amount_fen), subject=wire.subject_text(deduction.description),
        car_number=deduction.plate, seller_id=deduction.merchant_no, pay_scene=wire.PLATE_SCENE, pay_version=wire.PAY_VERSION,
        parking_id=deduction.lot_no, car_number_color=wire.PLATE_COLORS.get(deduction.plate_color), serial_no=deduction.entry_no,
        in_time=wire.china_time(deduction.entered_at), out_time=wire.china_time(deduction.left_at),
        in_duration=str(deduction.minutes), agent_id=provider.merchant_no,
    )  # fmt: skip


def payer(payer_id: str | None) -> tuple[str | None, str | None]:
    """Return a payer's number and open id: one of the two, or neither."""
    if payer_id is None:
        return None, None
    return (payer_id, None) if wire.BUYER_NUMBER.fullmatch(payer_id) else (None, payer_id)
