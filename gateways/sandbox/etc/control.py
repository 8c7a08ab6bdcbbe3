"""Control routes of the ETC stand-in that other channels have no use for: plates, packages, disputes, clearing, behaviour.

Knows the control's bodies; must not know the wire. Mounted by the stand-in; called by demo, tests and simulation.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from gateways.contract import Answer
from gateways.sandbox.etc.clearing import Packages
from gateways.sandbox.etc.desk import Desk, plate_out
from gateways.sandbox.etc.shapes import BadIn, Behaviour, BookIn, ClearIn, LotIn, PackagesOut, PlateIn, RotateOut, SettleIn
from gateways.sandbox.etc.signer import Signer
from gateways.sandbox.hands import refused, said
from gateways.sandbox.http import Incoming, Reply, Route, route
from gateways.sandbox.stand_in import HandRefused

BASE = "/etc-sandbox"
T = TypeVar("T")


class Control:
    """The control routes below ``/etc-sandbox``."""

    def __init__(self, desk: Desk, packages: Packages, signer: Signer, wake: Callable[[], None]) -> None:
        self._desk, self._packages, self._signer, self._wake = desk, packages, signer, wake

    def routes(self) -> list[Route]:
        return [
            route("POST", f"{BASE}/plates", self._does(PlateIn, lambda one: said(plate_out(self._desk.set_plate(one))))),
            route("GET", f"{BASE}/plates", self._plates),
            route("POST", f"{BASE}/lots", self._does(LotIn, self._name_lot)),
            route("GET", f"{BASE}/behaviour", lambda _incoming, _found: said(self._desk.store.behaviour())),
            route("POST", f"{BASE}/behaviour", self._does(Behaviour, self._behave)),
            route("GET", f"{BASE}/packages", self._listed),
            route("POST", f"{BASE}/book", self._does(BookIn, self._book)),
            route("POST", f"{BASE}/bad", self._does(BadIn, self._bad)),
            route("POST", f"{BASE}/settle", self._does(SettleIn, lambda one: said(self._packages.settle(one)))),
            route("POST", f"{BASE}/clear", self._does(ClearIn, lambda one: said(self._packages.clear(one.clear_on)))),
            route("POST", f"{BASE}/rotate", lambda _incoming, _found: said(RotateOut(self._signer.rotate()))),
        ]

    def _plates(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return said([plate_out(account) for account in self._desk.store.latest_plates(1000)])

    def _listed(self, _incoming: Incoming, _found: re.Match[str]) -> Reply:
        return said(PackagesOut(tuple(self._packages.listed())))

    def _behave(self, wanted: Behaviour) -> Reply:
        store = self._desk.store
        if wanted.stale_list and not store.behaviour().stale_list:
            store.set_remark("stale_version", str(store.last_version()).encode())
        store.set_behaviour(wanted)
        return said(wanted)

    def _name_lot(self, wanted: LotIn) -> Reply:
        self._desk.store.set_lot(wanted.lot_no, wanted.merchant_no)
        return Reply(answer=Answer(status=204, headers={}, body=b""))

    def _book(self, wanted: BookIn) -> Reply:
        self._packages.book(wanted.message_no)
        return Reply(answer=Answer(status=204, headers={}, body=b""))

    def _bad(self, wanted: BadIn) -> Reply:
        self._desk.bad(wanted.order_no)
        return Reply(answer=Answer(status=204, headers={}, body=b""))

    def _does(self, kind: type[T], handler: Callable[[T], Reply]) -> Callable[[Incoming, re.Match[str]], Reply]:
        def does(incoming: Incoming, _found: re.Match[str]) -> Reply:
            try:
                wanted = msgspec.json.decode(incoming.body, type=kind)
                with self._desk.store.together():
                    reply = handler(wanted)
            except msgspec.DecodeError as wrong:
                return refused(str(wrong), status=400)
            except HandRefused as not_done:
                return refused(str(not_done))
            self._wake()
            return reply

        return does
