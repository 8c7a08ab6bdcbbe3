"""A simulated day as a value: who stays where, who pays when with which wallet, by mandate or by card, who leaves first. Pure.

Knows minutes; must not know HTTP, the database or how a day is drawn (``app.day.draw``). Read by all of ``app.day``.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from gateways.etc.codes import BookingReason

OPENS_MINUTE: Final = 5
CLOSES_MINUTE: Final = 15 * 60
CONSOLE_CLOSES_MINUTE: Final = CLOSES_MINUTE + 100
LAST_MINUTE: Final = 17 * 60 + 30
"""The clock starts at 6:00; charges come until 21:00 and operators refund until 22:40, so that UnionPay's day, which ends at 23:00,
holds the same as ours; until 23:30 everything late has arrived, before midnight cuts the day."""

DISPUTES: Final[Mapping[int, tuple[BookingReason, ...]]] = {
    0: (BookingReason.CARD_STATE,),
    540: (BookingReason.OVER_LIMIT, BookingReason.USER_STATE_CHANGED),
    925: (BookingReason.NO_SUCH_CARD,),
}
"""For which reasons issuers dispute the first charges of the next package, by the minute from which they do."""
RELEASING_MINUTE: Final = 935
"""All that is disputed by then is released: it is paid after all."""
LATE_LANE_MINUTE: Final = max(DISPUTES)
"""A lane that was cut off brings its records, when every package of the others is gone: what it brings is disputed as a whole."""
BAD_DEBT_MINUTE: Final = 955
"""Its package has gone at 21:40, and its issuer has disputed it: it will never pay."""
PAID_ANEW_MINUTE: Final = 960

_LISTENS_EVERY: Final = 10
"""Minutes between two looks of a lot's system at its entrances."""


class Wallet(Struct, frozen=True):
    """What somebody pays with; ``inside``: the page is open inside the wallet's own app, else in an ordinary browser."""

    channel: str
    inside: bool


class Return(Struct, frozen=True):
    """A refund by the operator in its merchant console, of the ``whole`` payment or of half of it."""

    minute: int
    whole: bool


class Tap(Struct, frozen=True):
    """A payer opens the page and orders; ``pays_minute`` is None for one who gives up at the cashier."""

    payer: str
    minute: int
    pays_minute: int | None
    wallet: Wallet
    returned: Return | None = None


class Mandate(Struct, frozen=True):
    """At which channel a plate may be deducted, and how ETC's issuer answers: WeChat and Alipay take every charge."""

    channel: str
    answer: Literal["accepted", "paid", "unknown", "refused", "refused_later", "listed"] = "accepted"
    """``refused_later``: taken on, and refused after all. ``listed``: the plate stands on the status list, and no charge is even
    asked for."""

    @property
    def takes(self) -> bool:
        """Whether the charge is taken, at once or later."""
        return self.answer not in ("refused", "refused_later", "listed")


class Card(Struct, frozen=True):
    """A card that pays at the lane. ``brought_minute``: when the lot brings the record of it."""

    brought_minute: int
    issuer_no: str
    is_bad: bool = False
    """Its issuer disputes the charge and never pays it."""


class Stay(Struct, frozen=True):
    """A car's stay. Minutes count from the start of the day's clock."""

    serial: str
    lot_code: str
    plate: str
    stayed_minutes: int
    charged_minute: int
    taps: tuple[Tap, ...]
    mandate: Mandate | None = None
    card: Card | None = None
    is_free: bool = False
    """It cost nothing, so there is no charge; the card's record of it goes all the same."""

    @property
    def is_paid_by_card(self) -> bool:
        """Whether its card's issuer pays for it, at once or after a dispute."""
        return self.card is not None and not self.card.is_bad and not self.is_free

    @property
    def told_minute(self) -> int:
        """When the lot's system tells of the entrance: at its next look, at the first of the day for cars that came before."""
        entered = self.charged_minute - self.stayed_minutes
        return max(0, -(-entered // _LISTENS_EVERY) * _LISTENS_EVERY)


class Basket(Struct, frozen=True):
    """Somebody pays all that a plate owes together, act by act: the charges of these stays, at several operators."""

    payer: str
    lot_code: str
    """Where the code was scanned: the last lot."""
    plate: str
    serials: tuple[str, ...]
    minute: int
    wallet: Wallet


class Leaver(Struct, frozen=True):
    """A car that leaves without having paid. ``in_list``: nobody stands in its way, and its lot tells of it with others later;
    else a barrier asks whether it may open. ``breaks_out``: it does not wait for the answer."""

    stay: Stay
    told_minute: int
    in_list: bool
    breaks_out: bool = False


class Comer(Struct, frozen=True):
    """A driver who comes back to pay one debt, or who has to pay at the barrier."""

    stay: Stay
    tap: Tap


class Part(Struct, frozen=True):
    """Somebody pays a part of what a plate owes: one third of this debt, in whole yuan."""

    stay: Stay
    minute: int
    payer: str
    wallet: Wallet


DebtDeed = Literal["contact", "dispute", "uphold", "reject", "waive", "write_off", "approve", "misread", "cash", "top_up"]
"""What happens to a debt besides being paid over a wallet. ``contact``: an address for reminders is entered. ``dispute``: its
driver says that it is wrong; ``uphold``, ``reject``: the staff decides. ``waive``, ``write_off``: proposed. ``approve``: a second
person approves what was proposed about it. ``misread``: its lot says that it was another plate. ``cash``: its driver pays at the
lot. ``top_up``: its plate's issuer pays again."""


class Deed(Struct, frozen=True):
    """Something that happens to a debt, on the day and in the minute."""

    kind: DebtDeed
    minute: int
    stay: Stay


class TakenBack(Struct, frozen=True):
    """A deduction of this day, or of the one before, that its issuer takes back in the minute."""

    stay: Stay
    minute: int


class Plan(Struct, frozen=True):
    """The whole day. What is below ``baskets`` is empty where nobody may leave first. ``number`` counts days from 0."""

    seed: int
    starts_at: datetime
    stays: tuple[Stay, ...]
    baskets: tuple[Basket, ...] = ()
    number: int = 0
    leavers: tuple[Leaver, ...] = ()
    comers: tuple[Comer, ...] = ()
    parts: tuple[Part, ...] = ()
    deeds: tuple[Deed, ...] = ()
    taken_back: tuple[TakenBack, ...] = ()

    @property
    def payments(self) -> int:
        """How many times money is taken, but for what is taken of debts without anybody at a phone, by cash or in part."""
        deducted = sum(stay.mandate is not None and stay.mandate.takes for stay in self.stays)
        together = sum(len(basket.serials) for basket in self.baskets)
        by_card = sum(stay.is_paid_by_card for stay in self.stays)
        alone = sum(tap.pays_minute is not None for stay in self.stays for tap in stay.taps) + len(self.comers)
        return deducted + together + by_card + alone

    def minutes(self) -> list[int]:
        """Return the minutes in which something happens or late things may arrive, in order."""
        taps = [tap for stay in self.stays for tap in stay.taps] + [comer.tap for comer in self.comers]
        busy = {stay.charged_minute for stay in self.stays} | {tap.minute for tap in taps}
        busy |= {basket.minute for basket in self.baskets}
        busy |= {stay.told_minute for stay in self.stays if stay.mandate is not None}
        busy |= {tap.pays_minute for tap in taps if tap.pays_minute is not None}
        busy |= {tap.returned.minute for tap in taps if tap.returned is not None}
        busy |= {leaver.told_minute for leaver in self.leavers}
        busy |= {part.minute for part in self.parts} | {deed.minute for deed in self.deeds}
        busy |= {one.minute for one in self.taken_back}
        busy |= {leaver.stay.told_minute for leaver in self.leavers if leaver.stay.mandate is not None}
        if cards := [stay.card for stay in self.stays if stay.card is not None]:
            busy |= {card.brought_minute for card in cards} | {*DISPUTES, RELEASING_MINUTE, BAD_DEBT_MINUTE}
        return sorted(busy | set(range(0, LAST_MINUTE + 1, 10)))

    def at(self, minute: int) -> datetime:
        """Return the instant of a minute."""
        return self.starts_at + timedelta(minutes=minute)
