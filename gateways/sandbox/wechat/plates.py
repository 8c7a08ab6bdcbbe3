"""Plates in the parking service: the page on which a payer opens it, in place of the channel's mini program, and the control route.

Knows HTML and the control form; must not know the API. Its routes are mounted with the cashier's and the control's.
"""

import re
from html import escape
from typing import Final
from urllib.parse import parse_qs

import msgspec

from gateways.contract import Answer
from gateways.sandbox.hands import refused
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.pages import page
from gateways.sandbox.wechat.desk import Desk
from gateways.sandbox.wechat.notify import Courier
from gateways.sandbox.wechat.parking import ParkingService
from gateways.sandbox.wechat.parking_shapes import PlateIn, PlatesIn

PATH: Final = "/pages/auth-creditpay/auth-creditpay"
_FIELDS: Final = ("openid", "plate_number", "plate_color")


class Plates:
    """Page and control route over the parking counter."""

    def __init__(self, desk: Desk, courier: Courier) -> None:
        self._service = ParkingService(desk)
        self._courier = courier

    def routes(self) -> list[Route]:
        return [route("GET", PATH, self._page), route("POST", PATH, self._open), route("POST", "/_control/plates", self._put)]

    def _page(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        wanted = _plate(incoming.query)
        if wanted is None:
            return _said(400, "车牌信息不正确，请回到停车缴费页面重试")
        lines = f"<dl><div><dt>车牌</dt><dd>{escape(wanted.plate_number)}</dd></div></dl>"
        hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(getattr(wanted, name))}">' for name in _FIELDS)
        button = '<button class="pay" type="submit">开通停车服务</button>'
        form = f'<form class="act" method="post" action="{PATH}">{hidden}{button}</form>'
        return page(200, title="停车服务（模拟）", heading="微信支付分 · 模拟停车服务", content=lines, buttons=form)

    def _open(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        form = {name: values[-1] for name, values in parse_qs(incoming.body.decode("latin-1"), encoding="utf-8").items()}
        wanted = _plate(form)
        if wanted is None:
            return _said(400, "车牌信息不正确，请回到停车缴费页面重试")
        self._service.open(wanted)
        self._courier.wake()
        return _said(200, f"{wanted.plate_number} 已开通停车服务")

    def _put(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        try:
            wanted = msgspec.json.decode(incoming.body, type=PlatesIn)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            return refused(str(wrong), status=400)
        for plate in wanted.plates:
            self._service.open(plate)
        self._courier.wake()
        return Reply(answer=Answer(status=204, headers={}, body=b""))


def _plate(given: object) -> PlateIn | None:
    try:
        known = msgspec.convert(given, dict[str, str])
        return msgspec.convert({name: known[name] for name in _FIELDS}, PlateIn)
    except (msgspec.ValidationError, KeyError):
        return None


def _said(status: int, text: str) -> Reply:
    content = f'<p class="said">{escape(text)}</p>'
    return page(status, title="停车服务（模拟）", heading="微信支付分 · 模拟停车服务", content=content)
