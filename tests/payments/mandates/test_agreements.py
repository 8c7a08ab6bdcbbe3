"""Agreements: a consent is kept with its words, only the channel makes it open, and its end stops deductions at once."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from gateways import routing
from gateways.sandbox.wechat.signing import Pair
from ledger.documents import find
from ledger.errors import Conflict, Refused
from payments.errors import PlateRefused
from payments.mandates import agreement_texts, agreements
from payments.mandates.agreement_store import Agreement
from payments.mandates.agreements import AgreementUnknown, Consent, TextChanged
from payments.owed import departures, leaving
from payments.owed.departures import Departure
from tests.gateways.conftest import fresh_pair, pair  # noqa: F401  # fixtures
from tests.payments.conftest import AT
from tests.payments.mandates.deducting import OPENID, PLATE, City, city
from tests.payments.mandates.deducting import _channels as channels

TOKEN: Final = "a-token-of-144-bits-0001"
BUYER: Final = "2088102233445566"
STRANGER: Final = "2088102233440000"
NEWER: Final = msgspec.structs.replace(agreement_texts.FIRST, valid_from=AT + timedelta(hours=1), document="order 7", short_zh="新")


@pytest.fixture
def at(db: Engine, fresh_pair: Pair, tmp_path: Path) -> Iterator[City]:  # noqa: F811  # a fixture
    with city(db, fresh_pair, tmp_path) as made:
        yield made


def agree(at: City, channel: str = "alipay", payer_id: str = BUYER, token: str = TOKEN, **other: Any) -> Agreement:
    with at.db.begin() as tx:
        account = routing.choose(tx, operator_id=at.lot.operator_id, channel=channel, at=at.clock.now())
        assert account is not None
        said: dict[str, Any] = {
            "plate": PLATE, "plate_color": "blue", "account": account, "payer_id": payer_id, "token": token, "language": "zh",
            "text_digest": agreement_texts.in_force(tx, lane=0, at=at.clock.now()).digest, "page": "leave-first",
        } | other  # fmt: skip
        return agreements.confirm(tx, lane=0, consent=Consent(**said), at=at.clock.now(), ids=at.ids)


def ask(at: City, agreement: Agreement, payer_id: str = BUYER) -> tuple[str, str]:
    now, word = agreements.ask(at.till, agreement, payer_id=payer_id)
    return now.state, word


def end(at: City, agreement: Agreement) -> str:
    with at.db.begin() as tx:
        return agreements.end(tx, agreement=agreement, at=at.clock.now()).state


def opened(at: City, channel: str = "alipay", payer_id: str = BUYER, token: str = TOKEN) -> Agreement:
    """An agreement that the channel has confirmed."""
    if channel == "wechat":
        at.wechat_plate(openid=payer_id)
    else:
        at.alipay_plate(buyer_id=payer_id)
    made = agree(at, channel, payer_id, token)
    assert ask(at, made, payer_id) == ("open", "open")
    return made


def mandates(at: City) -> list[str]:
    return at.column("select channel || ' ' || state from payments.mandate order by 1")


def tried(at: City, channel: str | None = None, serial: str = "S1") -> list[tuple[str, str, str | None]]:
    return [(one.channel, one.state, one.reason) for one in at.deduct(channel, serial).tried if one.channel == "alipay"]


# Consent


def test_a_consent_is_kept_with_sealed_words_and_no_payer_and_is_not_open(at: City) -> None:
    made = agree(at)
    assert (made.state, made.plate, made.plate_color, made.channel) == ("begun", PLATE, "blue", "alipay")
    with at.db.connect() as tx:
        [text_kept] = agreement_texts.texts(tx, lane=0)
        assert find(tx, lane=0, document_ids=[made.text_id]) == [agreement_texts.as_document(text_kept)]
        assert agreement_texts.check(tx) == []
        whole = str(tx.execute(text("select * from payments.agreement")).one())
    assert BUYER not in whole
    assert mandates(at) == []


def test_a_second_tap_is_the_same_consent_and_another_plate_needs_a_new_link(at: City) -> None:
    first = agree(at)
    assert agree(at) == first
    with pytest.raises(Conflict, match="another plate or payer"):
        agree(at, plate="苏B99999")
    assert at.column("select count(*) from payments.agreement") == [1]


def test_newer_words_are_not_agreed_to_by_who_read_the_older_ones(at: City) -> None:
    with at.db.begin() as tx:
        agreement_texts.enter(tx, lane=0, text=NEWER, at=AT, ids=at.ids)
        old = agreement_texts.in_force(tx, lane=0, at=AT)
    at.later(hours=2)
    with pytest.raises(TextChanged):
        agree(at, text_digest=old.digest)
    assert at.column("select count(*) from payments.agreement_link") == [0]
    assert agree(at).state == "begun"


def test_words_are_entered_once_with_a_document_and_never_for_the_past(at: City) -> None:
    with at.db.begin() as tx:
        first = agreement_texts.enter(tx, lane=0, text=NEWER, at=AT, ids=at.ids)
        assert agreement_texts.enter(tx, lane=0, text=NEWER, at=AT + timedelta(days=1), ids=at.ids) == first
        with pytest.raises(Conflict, match="another version"):
            agreement_texts.enter(tx, lane=0, text=msgspec.structs.replace(NEWER, short_en="x"), at=AT, ids=at.ids)
        for wrong in ({"document": " "}, {"long_zh": ""}, {"valid_from": AT - timedelta(days=1)}):
            with pytest.raises(Refused):
                agreement_texts.enter(tx, lane=0, text=msgspec.structs.replace(NEWER, **wrong), at=AT, ids=at.ids)
        assert [one.document for one in agreement_texts.texts(tx, lane=0)] == ["order 7"]


@pytest.mark.parametrize(("plate", "color"), [("苏B1234", "blue"), (PLATE, "unknown"), (PLATE, "green")])
def test_a_plate_that_cannot_be_or_whose_colour_is_not_said_is_refused(at: City, plate: str, color: str) -> None:
    with pytest.raises(PlateRefused):
        agree(at, plate=plate, plate_color=color)
    assert at.column("select count(*) from payments.agreement") == [0]


@pytest.mark.parametrize("change", ["update payments.agreement set page = 'x'", "delete from payments.agreement_event"])
def test_what_was_agreed_is_never_changed(at: City, change: str) -> None:
    opened(at)
    with pytest.raises(DBAPIError), at.db.begin() as tx:
        tx.execute(text(change))


# The channel's word


@pytest.mark.parametrize(("channel", "payer_id"), [("wechat", OPENID), ("alipay", BUYER)])
def test_only_the_channel_makes_it_open_and_the_message_is_kept(at: City, channel: str, payer_id: str) -> None:
    made = agree(at, channel, payer_id)
    assert ask(at, made, payer_id) == ("none", "none")
    assert mandates(at) == []  # of the plate it says nothing, only of this payer
    if channel == "wechat":
        at.wechat_plate(openid=payer_id)
    else:
        at.alipay_plate(buyer_id=payer_id)
    assert [ask(at, made, payer_id) for _ in range(2)] == [("open", "open")] * 2
    assert mandates(at) == [f"{channel} open"]
    kept = "select count(*) from gateways.raw_message m join payments.agreement_event e on e.message_id = m.message_id"
    assert at.column(kept) == [2]


def test_a_channel_that_is_away_signs_nothing_and_forgets_nothing(at: City, fresh_pair: Pair) -> None:  # noqa: F811
    made = opened(at)
    at.registry = channels(fresh_pair, "http://127.0.0.1:9", at.url)
    assert ask(at, made) == ("open", "unknown")
    assert agree(at, token=f"{TOKEN}-b").state == "begun"


def test_who_types_a_strangers_plate_learns_nothing(at: City) -> None:
    at.alipay_plate(buyer_id=BUYER)
    with_one = agree(at, payer_id=STRANGER, token=f"{TOKEN}-x")
    without = agree(at, payer_id=STRANGER, plate="苏B99999", token=f"{TOKEN}-y")
    assert ask(at, with_one, STRANGER) == ask(at, without, STRANGER) == ("none", "none")


def test_a_payer_finds_own_agreements_and_opens_no_others(at: City) -> None:
    made = agree(at)
    with at.db.begin() as tx:
        assert agreements.of_payer(tx, lane=0, channel="alipay", payer_id=BUYER) == [made]
        assert agreements.of_payer(tx, lane=0, channel="alipay", payer_id=STRANGER) == []
        assert agreements.of_payer(tx, lane=0, channel="wechat", payer_id=BUYER) == []
        link = {"lane": 0, "agreement_id": made.agreement_id, "channel": "alipay", "at": AT}
        agreements.new_link(tx, payer_id=BUYER, token=f"{TOKEN}-z", **link)  # type: ignore[arg-type]
        assert agreements.by_token(tx, lane=0, token=f"{TOKEN}-z") == made
        with pytest.raises(AgreementUnknown):
            agreements.new_link(tx, payer_id=STRANGER, token=f"{TOKEN}-s", **link)  # type: ignore[arg-type]
        with pytest.raises(AgreementUnknown):
            agreements.by_token(tx, lane=0, token=f"{TOKEN}-s")


# The end


def test_from_its_end_on_nothing_is_deducted_whatever_the_channel_says(at: City) -> None:
    made = opened(at)
    at.later(minutes=1)
    assert [end(at, made), end(at, made)] == ["ended", "ended"]
    assert mandates(at) == ["alipay none"]
    assert tried(at) == [("alipay", "none", "consent_ended")]
    assert tried(at, "alipay") == [("alipay", "none", "consent_ended")]
    at.later(minutes=1)
    at.enter()  # the channel says again that it is open
    assert "alipay open" not in mandates(at)
    with at.db.begin() as tx:
        [said] = leaving.ask(
            tx, operator_id=at.lot.operator_id, lot_id=at.lot.lot_id, cars=[leaving.Asked(PLATE, "blue")], at=at.clock.now()
        )  # fmt: skip
    assert (said.may_leave, said.reason) == (False, "no_mandate")
    left = departures.depart(at.till, lot=at.lot, departure=Departure(charge_serial="S1", left_at=AT), body=b"{}")
    assert (left.outcome, left.reason) == ("closed", "no_mandate")
    assert ask(at, made) == ("ended", "none")


def test_a_colour_that_the_lot_does_not_know_fits_what_was_ended(at: City) -> None:
    made = opened(at)
    at.later(minutes=1)
    end(at, made)
    at.charge("S2")
    with at.db.begin() as tx:
        assert agreements.ended(tx, plate=PLATE, color="unknown", channel="alipay")
        assert not agreements.ended(tx, plate=PLATE, color="yellow", channel="alipay")
        assert not agreements.ended(tx, plate=PLATE, color="blue", channel="etc")
    assert tried(at, serial="S2") == [("alipay", "none", "consent_ended")]


def test_what_was_never_open_is_withdrawn_and_stops_nobody(at: City) -> None:
    strangers = agree(at, payer_id=STRANGER, token=f"{TOKEN}-s")
    at.alipay_plate(buyer_id=BUYER)
    assert ask(at, strangers, STRANGER) == ("none", "none")
    at.later(minutes=1)
    assert end(at, strangers) == "withdrawn"
    assert tried(at) == [("alipay", "succeeded", None)]


def test_who_agrees_again_is_deducted_again(at: City) -> None:
    made = opened(at)
    at.later(minutes=1)
    end(at, made)
    at.later(minutes=1)
    again = agree(at, token=f"{TOKEN}-2")
    assert tried(at) == [("alipay", "none", "consent_ended")]  # agreeing alone opens nothing
    assert ask(at, again) == ("open", "open")
    assert "alipay open" in mandates(at)
    assert tried(at) == [("alipay", "succeeded", None)]


def test_a_deduction_under_way_is_finished(at: City) -> None:
    at.wechat_plate()
    at.enter()
    made = agree(at, "wechat", OPENID)
    assert ask(at, made, OPENID) == ("open", "open")
    assert at.deduct("wechat").state == "pending"
    end(at, made)
    at.later(seconds=5)
    at.deliver()
    assert at.column("select state from payments.charge") == ["settled"]
    assert at.sound()


def test_a_plate_that_came_to_another_owner_is_not_bound(at: City) -> None:
    made = opened(at)
    at.later(minutes=1)
    end(at, made)
    at.later(minutes=1)
    with at.db.begin() as tx:
        tx.execute(text("update payments.plate set held_since = :at"), {"at": at.clock.now()})
        assert not agreements.ended(tx, plate=PLATE, color="blue", channel="alipay")
