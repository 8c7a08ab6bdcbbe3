"""The clearing party's counter for charges by plate: accounts, lists, charges, their notices.

Knows the rules and the state; must not know HTTP or signatures. Called by the stand-in's services, pages and control routes.
Source: docs/ETC.md, section 8.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from gateways.etc import services
from gateways.etc.codes import BookingReason, PlateColour, Receipt, Rejection
from gateways.etc.recon import channel_fee_fen
from gateways.etc.record import CAP_FEN_DEFAULT, joined_plate
from gateways.etc.services import PlatePay, PlatePayNotice, PlatePayState, PlateSigned, PlateState, Service, StatusList
from gateways.etc.sign import OurKey, TheirKey
from gateways.sandbox.chance import digits
from gateways.sandbox.etc.shapes import PlateIn, PlateOut
from gateways.sandbox.etc.state import EtcStore, FreeCharge, Outgoing, PlateAccount
from gateways.sandbox.faults import delay_seconds
from gateways.sandbox.shapes import ON_NOTICE, Fault, FaultKind, PaidOut
from gateways.sandbox.stand_in import HandRefused, Surroundings
from gateways.sandbox.store import Notice, Order
from ledger.clock import CHINA, EPOCH, microseconds

ISSUER_NO: Final = "320101"
CLEARED_HOUR: Final = 9
"""From this hour (China) of the day after it was paid a charge is cleared, and can be refunded."""
SECOND: Final = 1_000_000

_OTHER_MERCHANT: Final = "M-0000000000"
_PROVINCES: Final = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
_PROVINCE_CODES: Final = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65".split()  # noqa: SIM905  # one line
)


class TcpConfig(Struct, frozen=True, kw_only=True):
    """The Jiangsu dialect: where we listen as the network centre, and where the other side's own server is."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port; see ``Centre.port``."""
    peer_host: str = "127.0.0.1"
    peer_port: int | None = None
    """None: nothing is sent."""
    centre: str = "0000000000000020"
    peer: str = "00000000000000FD"
    parties: Mapping[str, str] = {}
    reply_seconds_max: float = 60.0
    pause_seconds: float = 5.0


class EtcConfig(Struct, frozen=True, kw_only=True):
    """Everything that only this stand-in is given."""

    party: str
    """The clearing party's id, 16 hex: who the stand-in is."""
    provider: str
    """The engine's id."""
    provider_keys: Mapping[str, TheirKey]
    keys: tuple[OurKey, ...]
    """What the clearing party signs with: the first, until ``rotate_key`` moves on to the next."""
    notify_url: str
    """Where all notices go."""
    collect_seconds: float = 3.0
    """How long a charge that is taken on is in process."""
    refund_seconds: float = 60.0
    booking_seconds: float = 60.0
    """How long after its package came a booking result is told."""
    cap_fen: int = CAP_FEN_DEFAULT
    """Larger charges are refused whatever cap the call names."""
    lots: frozenset[str] | None = None
    """Car parks that are known; None: every one."""
    unknown_plates: Literal["refused", "signed"] = "refused"
    """What becomes of plates that nobody named: nobody signed for them, or everybody has."""
    tac_key: bytes | None = None
    """The key of every card, so that TACs are checked; None: every TAC holds."""
    tcp: TcpConfig | None = None


class Told(Struct, frozen=True):
    """What a service answers."""

    receipt: Receipt
    reason: str = ""
    data: dict[str, Any] | None = None
    faults: tuple[Fault, ...] = ()


class Going(Struct, frozen=True):
    """Details of a notice: which service it calls, and what it tells, or whose state it tells when it goes out."""

    service: str
    order_no: str = ""
    refund_no: str = ""
    body: dict[str, Any] | None = None
    wire: Literal["https", "tcp"] = "https"


class Decision(Struct, frozen=True):
    """Details of a charge taken on: how it ends."""

    will: Literal["PAID", "REFUSED"]
    reason: int | None = None


class Desk:
    """The counter. One thread at a time."""

    def __init__(self, around: Surroundings, config: EtcConfig, store: EtcStore) -> None:
        self.around, self.config, self.store = around, config, store

    def now(self) -> int:
        """Return the present instant in microseconds."""
        return microseconds(self.around.clock.now())

    def after(self, seconds: float) -> int:
        """Return the instant so many real seconds from now, by the time factor."""
        return self.now() + int(seconds / self.around.time_factor * SECOND)

    # Plates

    def set_plate(self, wanted: PlateIn) -> PlateAccount:
        """Take a plate as it is to be; a change of its listing goes into the status list."""
        known = self.store.plate(wanted.plate, wanted.colour)
        account = PlateAccount(
            plate=wanted.plate,
            colour=int(wanted.colour),
            signed=wanted.signed,
            listed=wanted.listed,
            balance_fen=wanted.balance_fen,
            answer=wanted.answer,
            reason=int(wanted.reason),
            sign_no="S" + digits(16, self.store.seed, "sign", wanted.plate, int(wanted.colour)),
        )
        self.store.set_plate(account)
        if wanted.listed != (known is not None and known.listed):
            entry = joined_plate(wanted.plate, wanted.colour)
            self.store.list_change(kind="PLATE", province=province_of(wanted.plate), entry=entry, is_added=wanted.listed)
        return account

    def account(self, plate: str, colour: PlateColour) -> PlateAccount | None:
        """Return a plate's account; where everybody has signed, one is opened for a plate that nobody named."""
        known = self.store.plate(plate, colour)
        if known is None and self.config.unknown_plates == "signed":
            return self.set_plate(PlateIn(plate=plate, colour=colour))
        return known

    def signed(self, asked: services.PlateSignQuery) -> Told:
        """Say whether a plate may be charged."""
        account = self.account(asked.plate, asked.colour)
        state: Literal["SIGNED", "UNSIGNED", "LISTED"] = "SIGNED"
        if account is None or not account.signed:
            state = "UNSIGNED"
        elif account.listed:
            state = "LISTED"
        sign_no = account.sign_no if account is not None and state == "SIGNED" else None
        return taken(PlateSigned(plate=asked.plate, colour=asked.colour, state=state, sign_no=sign_no))

    def status_list(self, asked: services.StatusListAsk) -> Told:
        """Tell the changes of a list since a version; a stale list keeps to the version that it had when it became so."""
        until = 2**62
        if self.store.behaviour().stale_list:
            until = int(self.store.remark("stale_version") or b"0")
        since = int(asked.since_version) if asked.since_version.isdigit() else 0
        changes = self.store.listing(kind=asked.kind, province=asked.province_code, since=since, until=until)
        last = {entry: is_added for _, entry, is_added in changes}
        version = max([since, *(number for number, _, _ in changes)])
        add = tuple(sorted(entry for entry, is_added in last.items() if is_added))
        remove = tuple(sorted(entry for entry, is_added in last.items() if not is_added)) if since else ()
        return taken(StatusList(version=str(version), full=not since, add=add, remove=remove))

    # Charges

    def charge(self, pay: PlatePay, content: bytes) -> Told:
        """Take a charge on, or tell where the one stands that the same call brought before."""
        if self.config.lots is not None and pay.lot_no not in self.config.lots:
            return Told(Receipt.NOT_OUR_LOT, f"car park {pay.lot_no} is not known here")
        known = self._repeat(pay, content)
        if known is not None:
            return known
        self.store.set_lot(pay.lot_no, pay.merchant_no)
        account = self.account(pay.plate, pay.colour)
        reason = self._objection(pay, account)
        if reason is not None or account is None:
            return self._refused(pay, content, reason or BookingReason.NO_SUCH_CARD)
        if not pay.fee_fen:
            self.store.add_free_charge(FreeCharge(pay.order_no, pay.merchant_no, content, b"{}", self.now()))
            return taken(self._free(pay, self.now()))
        return self._accepted(pay, content, account)

    def _repeat(self, pay: PlatePay, content: bytes) -> Told | None:
        order, free = self.store.order_by_number(pay.order_no), self.store.free_charge(pay.order_no)
        kept = order or free
        if kept is None:
            return None
        if kept.content != content:
            return Told(Receipt.CONTENT_WRONG, f"order {pay.order_no} came before with other content")
        return taken(self.standing(order)) if order is not None else taken(self._free(pay, kept.paid_at or 0))

    def _objection(self, pay: PlatePay, account: PlateAccount | None) -> BookingReason | None:
        if account is None or not account.signed:
            return BookingReason.NO_SUCH_CARD
        if account.listed:
            return BookingReason.USER_STATE_CHANGED
        if account.answer == "refused":
            return BookingReason(account.reason)
        if pay.fee_fen > self.config.cap_fen or (account.balance_fen is not None and account.balance_fen < pay.fee_fen):
            return BookingReason.OVER_LIMIT
        return None

    def _refused(self, pay: PlatePay, content: bytes, reason: BookingReason) -> Told:
        decision = Decision("REFUSED", int(reason))
        if not pay.fee_fen:
            return taken(
                PlatePayState(
                    order_no=pay.order_no, merchant_no=pay.merchant_no, fee_fen=0, state=PlateState.REFUSED, reason=reason
                )
            )  # fmt: skip
        order = self._order(pay, content, PlateState.REFUSED, decision, self.now())
        self.store.add_order(order)
        return taken(self.standing(order))

    def _accepted(self, pay: PlatePay, content: bytes, account: PlateAccount) -> Told:
        decision = Decision("PAID")
        if account.answer == "refused_later":
            decision = Decision("REFUSED", account.reason)
        elif account.balance_fen is not None:
            self.store.set_plate(msgspec.structs.replace(account, balance_fen=account.balance_fen - pay.fee_fen))
        at_once = account.answer == "paid"
        state = PlateState.UNKNOWN if account.answer == "unknown" else PlateState.ACCEPTED
        decided_at = self.now() if at_once else self.after(self.config.collect_seconds)
        order = self._order(pay, content, state, decision, decided_at)
        self.store.add_order(order)
        if at_once:
            self._decide(order)
        self._put_notices(order)
        hit = self.store.faults({FaultKind.UNKNOWN}, pay.order_no)
        kept = self.store.order_by_number(pay.order_no)
        assert kept is not None, "it was just added"
        return msgspec.structs.replace(taken(self.standing(kept)), faults=hit)

    def _order(self, pay: PlatePay, content: bytes, state: PlateState, decision: Decision, decided_at: int) -> Order:
        return Order(
            merchant_no=pay.merchant_no,
            order_no=pay.order_no,
            amount_fen=pay.fee_fen,
            state=state.value,
            content=content,
            details=msgspec.json.encode(decision),
            created_at=self.now(),
            expires_at=decided_at,
        )

    def decide_due(self) -> None:
        """Decide the charges whose time has come."""
        for order in self.store.open_orders(self.now()):
            self._decide(order)

    def _decide(self, order: Order) -> None:
        decision = decision_of(order)
        if decision.will == "REFUSED":
            self.store.set_state(order.merchant_no, order.order_no, PlateState.REFUSED.value)
            return
        serial = f"E{instant(order.expires_at).astimezone(CHINA):%Y%m%d}{digits(16, self.store.seed, 'serial', order.order_no)}"
        self.store.set_paid(
            order.merchant_no,
            order.order_no,
            state=PlateState.PAID.value,
            trade_no=serial,
            paid_at=order.expires_at // SECOND * SECOND,
            fee_fen=channel_fee_fen(order.amount_fen, self.around.fee_bps),
        )

    def pay(self, order_no: str) -> PaidOut:
        """Decide a charge at once as paid, and tell of it. Raises HandRefused."""
        self.decide_due()
        order = self.store.order_by_number(order_no)
        if order is None:
            raise HandRefused(f"there is no charge {order_no}")
        if order.state not in (PlateState.ACCEPTED, PlateState.UNKNOWN):
            raise HandRefused(f"charge {order_no} is {order.state} already")
        order = msgspec.structs.replace(order, expires_at=self.now(), details=msgspec.json.encode(Decision("PAID")))
        self._decide(order)
        self._put_notices(order, mark="hand")
        paid = self.store.order_by_number(order_no)
        assert paid is not None, "it is there"
        assert paid.paid_at is not None, "it was just paid"
        return PaidOut(order_no, paid.trade_no or "", paid.amount_fen, instant(paid.paid_at))

    def bad(self, order_no: str) -> None:
        """Take a paid charge back: its issuer does not pay it after all. From now on it is refused, and the file of this day says
        that it is bad. Nobody is told otherwise. Raises HandRefused."""
        self.decide_due()
        order = self.store.order_by_number(order_no)
        if order is None or order.state != PlateState.PAID:
            raise HandRefused(f"charge {order_no} is not paid")
        if self.store.refunds_of(order.merchant_no, order_no):
            raise HandRefused(f"charge {order_no} was refunded")
        self.store.set_state(order.merchant_no, order_no, PlateState.REFUSED.value)
        decision = Decision("REFUSED", int(BookingReason.OTHER))
        self.store.set_details(order.merchant_no, order_no, msgspec.json.encode(decision))
        self.store.add_bad(order_no, order.merchant_no, self.now())
        self.credit(order_no, order.amount_fen)

    def credit(self, order_no: str, amount_fen: int) -> None:
        """Give money back to the account of the plate that paid an order."""
        order = self.store.order_by_number(order_no)
        assert order is not None, "the order was paid"
        pay = pay_of(order.content)
        account = self.store.plate(pay.plate, pay.colour)
        if account is not None and account.balance_fen is not None:
            self.store.set_plate(msgspec.structs.replace(account, balance_fen=account.balance_fen + amount_fen))

    def query(self, asked: services.PlatePayQuery) -> Told:
        """Tell where a charge stands; 4 when there is none."""
        self.decide_due()
        order, free = self.store.order_by_number(asked.order_no), self.store.free_charge(asked.order_no)
        if order is not None:
            return taken(self.standing(order))
        if free is None:
            return Told(Receipt.CONTENT_WRONG, f"there is no order {asked.order_no}")
        pay = pay_of(free.content)
        return taken(self._free(pay, free.paid_at))

    def standing(self, order: Order) -> PlatePayState:
        """Return where a charge stands."""
        state = PlateState(order.state)
        is_paid = state is PlateState.PAID
        reason = decision_of(order).reason if state is PlateState.REFUSED else None
        return PlatePayState(
            order_no=order.order_no,
            merchant_no=order.merchant_no,
            fee_fen=order.amount_fen,
            state=state,
            paid_at=instant(order.paid_at) if is_paid and order.paid_at is not None else None,
            reason=None if reason is None else BookingReason(reason),
            issuer_no=ISSUER_NO if is_paid else None,
            channel_serial=order.trade_no if is_paid else None,
        )

    def _free(self, pay: PlatePay, paid_at: int) -> PlatePayState:
        return PlatePayState(
            order_no=pay.order_no,
            merchant_no=pay.merchant_no,
            fee_fen=0,
            state=PlateState.PAID,
            paid_at=instant(paid_at // SECOND * SECOND),
            issuer_no=ISSUER_NO,
            channel_serial="E" + digits(24, self.store.seed, "serial", pay.order_no),
        )

    # Notices

    def _put_notices(self, order: Order, mark: str = "") -> None:
        hit = self.store.faults(ON_NOTICE, order.order_no)
        kinds = {fault.kind for fault in hit}
        if FaultKind.NEVER in kinds:
            return
        later = int(delay_seconds(hit, subject=order.order_no, seed=self.store.seed) / self.around.time_factor * SECOND)
        going = Going(service=Service.PLATE_PAY_NOTIFY, order_no=order.order_no)
        for copy in range(2 if FaultKind.TWICE in kinds else 1):
            self.put_notice(going, f"pay {order.order_no} {mark}", order.order_no, order.expires_at + later, faults=hit, copy=copy)

    def put_notice(
        self, going: Going, name: str, subject: str, due_at: int, *, faults: tuple[Fault, ...] = (), copy: int = 0
    ) -> None:  # fmt: skip
        """Put a notice on the way; the same name is the same message, a copy of it comes a second time."""
        notice_id = digits(19, self.store.seed, "notice", name)
        if going.wire == "tcp":
            number = str(self.store.next_number("tcp")).zfill(20)
            self.store.add_outgoing(Outgoing(name=name, message_no=number, due_at=due_at, details=msgspec.json.encode(going)))
            return
        self.store.add_notice(
            Notice(
                notice_id=f"{notice_id}#{copy}" if copy else notice_id,
                subject=subject,
                due_at=due_at,
                faults=msgspec.json.encode(faults),
                details=msgspec.json.encode(going),
            )
        )

    def notice_body(self, order_no: str, touched: frozenset[FaultKind]) -> dict[str, Any]:
        """Return what a notice of a charge tells, altered by its faults."""
        self.decide_due()
        order = self.store.order_by_number(order_no)
        assert order is not None, "a notice belongs to a charge"
        state = self.standing(order)
        body = services.body_of(
            PlatePayNotice(
                order_no=state.order_no,
                merchant_no=_OTHER_MERCHANT if FaultKind.OTHER_MERCHANT in touched else state.merchant_no,
                state=state.state,
                fee_fen=state.fee_fen + (FaultKind.WRONG_AMOUNT in touched),
                paid_at=state.paid_at,
                reason=state.reason,
                issuer_no=state.issuer_no,
                channel_serial=state.channel_serial,
            )
        )
        return body

    def cleared_at(self, paid_at: int) -> int:
        """Return when a charge paid then is cleared."""
        day = instant(paid_at).astimezone(CHINA).replace(hour=CLEARED_HOUR, minute=0, second=0, microsecond=0)
        return microseconds(day + timedelta(days=1))


def taken(data: Struct) -> Told:
    """Return the answer that tells ``data``."""
    return Told(Receipt.ACCEPTED, data=services.body_of(data))


def decision_of(order: Order) -> Decision:
    """Return how a charge ends."""
    return msgspec.json.decode(order.details, type=Decision)


def pay_of(content: bytes) -> PlatePay:
    """Return the call that a charge was asked for with."""
    pay = services.read(PlatePay, msgspec.json.decode(content))
    assert not isinstance(pay, Rejection), "it was read when it came"
    return pay


def plate_out(account: PlateAccount) -> PlateOut:
    """Return an account as the control routes show it."""
    return PlateOut(
        plate=account.plate,
        colour=account.colour,
        signed=account.signed,
        listed=account.listed,
        balance_fen=account.balance_fen,
        answer=account.answer,
        sign_no=account.sign_no,
    )


def province_of(plate: str) -> str:
    """Return the two digits of a plate's province; 00 for one of none."""
    place = _PROVINCES.find(plate[:1])
    return _PROVINCE_CODES[place] if place >= 0 and plate else "00"


def instant(at: int) -> datetime:
    """Return microseconds since 1970 as an instant."""
    return EPOCH + timedelta(microseconds=at)
