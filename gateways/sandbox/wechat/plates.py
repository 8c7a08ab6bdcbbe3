"""Plates in the parking service: the page on which a payer opens, pauses or ends it, and the control route.

The page stands in for the channel's mini program; a stay under way has a notice sent about every change, see ``parking``.
Knows HTML and the control form; must not know the API. Its routes are mounted with the cashier's and the control's.
"""

import re
from collections.abc import Mapping
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
from gateways.wechat import parking_wire

PATH: Final = parking_wire.SIGN_PATH
_FIELDS: Final = ("openid", "plate_number", "plate_color")
_ACTS: Final = {
    "NORMAL": ("开通停车服务", "已开通停车服务"),
    "PAUSE": ("暂停停车服务", "已暂停停车服务"),
    "OUT_SERVICE": ("解除停车服务", "已解除停车服务"),
}
"""What a payer can do: the button's words and the answer's, by the state that follows."""
_STANDS: Final = {"NORMAL": "已开通", "PAUSE": "已暂停", "OVERDUE": "有欠款，暂不可用", "OUT_SERVICE": "未开通"}


class Plates:
    """Page and control route over the parking counter."""

    def __init__(self, desk: Desk, courier: Courier) -> None:
        self._desk = desk
        self._service = ParkingService(desk)
        self._courier = courier

    def routes(self) -> list[Route]:
        return [route("GET", PATH, self._page), route("POST", PATH, self._open), route("POST", "/_control/plates", self._put)]

    def _page(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        wanted = _plate(incoming.query)
        if wanted is None:
            return _said(400, "车牌信息不正确，请回到停车缴费页面重试")
        if not self._is_ours(incoming.query):
            return _said(400, "商户号或场景不正确，请联系商家")
        kept = self._service.standing(wanted.plate_number, wanted.plate_color, wanted.openid)
        state = "OUT_SERVICE" if kept is None else kept.state
        rows = (("车牌", wanted.plate_number), ("状态", _STANDS[state]))
        lines = f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{escape(value)}</dd></div>' for name, value in rows)}</dl>"
        offered = ["NORMAL"] if state == "OUT_SERVICE" else [act for act in _ACTS if act != state]
        forms = "".join(_form(wanted, act) for act in offered)
        return page(200, title="停车服务（模拟）", heading="微信支付分 · 模拟停车服务", content=lines, buttons=forms)

    def _is_ours(self, query: Mapping[str, str]) -> bool:
        """Say whether the page was called as a provider calls it, or by hand with the plate alone."""
        named = [query.get(name) for name in ("mchid", "sub_mchid", "trade_scene")]
        fits = (named[0], named[2]) == (self._desk.config.provider_no, parking_wire.SCENE) and bool(named[1])
        return fits or named == [None, None, None]

    def _open(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        form = {name: values[-1] for name, values in parse_qs(incoming.body.decode("latin-1"), encoding="utf-8").items()}
        wanted, act = _plate(form), form.get("state", "NORMAL")
        if wanted is None or act not in _ACTS:
            return _said(400, "车牌信息不正确，请回到停车缴费页面重试")
        kept = self._service.standing(wanted.plate_number, wanted.plate_color, wanted.openid)
        if kept is None and act != "NORMAL":
            return _said(404, "该车牌没有开通停车服务")
        pays = "at_once" if kept is None else kept.pays
        self._service.open(msgspec.convert(msgspec.structs.asdict(wanted) | {"state": act, "pays": pays}, PlateIn))
        self._courier.wake()
        return _said(200, f"{wanted.plate_number} {_ACTS[act][1]}")

    def _put(self, incoming: Incoming, _found: re.Match[str]) -> Reply:
        try:
            wanted = msgspec.json.decode(incoming.body, type=PlatesIn)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            return refused(str(wrong), status=400)
        for plate in wanted.plates:
            self._service.open(plate)
        self._courier.wake()
        return Reply(answer=Answer(status=204, headers={}, body=b""))


def _form(wanted: PlateIn, act: str) -> str:
    given = {name: getattr(wanted, name) for name in _FIELDS} | {"state": act}
    hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in given.items())
    button = f'<button class="{"pay" if act == "NORMAL" else "cancel"}" type="submit">{_ACTS[act][0]}</button>'
    return f'<form class="act" method="post" action="{PATH}">{hidden}{button}</form>'


def _plate(given: object) -> PlateIn | None:
    try:
        known = msgspec.convert(given, dict[str, str])
        return msgspec.convert({name: known[name] for name in _FIELDS}, PlateIn)
    except (msgspec.ValidationError, KeyError):
        return None


def _said(status: int, text: str) -> Reply:
    content = f'<p class="said">{escape(text)}</p>'
    return page(status, title="停车服务（模拟）", heading="微信支付分 · 模拟停车服务", content=content)
