"""docs/DISCOUNTS.md: its files are taken, its commands run, and its calls are answered as it says."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest

from app.cli import _parser
from app.main import create_app
from app.wiring import Wiring
from payments import people
from payments.bearers import bearers
from payments.discounts import merchants, offers
from payments.discounts.merchants import NewMerchant
from payments.discounts.offers import NewOffer
from payments.people import Person
from tests.app.conftest import City
from tests.app.test_callbacks import served
from tests.app.test_clerk_page import say
from tests.payments.conftest import AT

PAGE = (Path(__file__).parents[2] / "docs" / "DISCOUNTS.md").read_text(encoding="utf-8")
OFFER, MERCHANT = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
CALLS = re.search(r"## A merchant's own system\n(.*?)\n## ", PAGE, re.DOTALL)


@pytest.fixture
def shop(product: Wiring, two_lots: City, tmp_path: Path) -> Wiring:
    """The merchant of the page, with its offer under the name that the merchant calls it by."""
    offer = msgspec.toml.decode(OFFER, type=NewOffer)
    with product.db.begin() as tx:
        bearers.register(tx, code="cinema", name="示例影院", document="agreement 7", at=AT)
        people.enter(tx, person=Person("wang", may_propose=True, may_approve=False, document="order 1"), at=AT)
        given = msgspec.structs.replace(offer, code="cinema-2h", bearer="cinema")
        offers.add(tx, lane=0, offer=given, at=AT, ids=product.ids)
    (tmp_path / "cinema.toml").write_text(MERCHANT, encoding="utf-8")
    say(product, "merchant", "add", str(tmp_path / "cinema.toml"), "--by", "wang")
    return product


def test_the_files_of_the_page_are_an_offer_and_a_merchant_with_every_limit(shop: Wiring) -> None:
    with shop.db.connect() as tx:
        [kept] = merchants.listed(tx, lane=0)
    assert all(getattr(kept, name) is not None for name in merchants._LIMITS)
    assert msgspec.toml.decode(MERCHANT, type=NewMerchant).bearer == "cinema"


def test_every_command_of_the_page_is_one() -> None:
    block = re.search(r"   ```sh\n(.*?)   ```", PAGE, re.DOTALL)
    assert block is not None
    lines = [line.strip() for line in block[1].splitlines()]
    assert len(lines) == 4
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "tongting"
        assert _parser(words).parse_args(words)


def test_the_calls_of_the_page_are_answered_as_it_says(shop: Wiring) -> None:
    told = say(shop, "merchant", "token", "cinema-1", "--by", "wang").split("\n")
    assert CALLS is not None
    calls, answers = re.findall(r"```sh\n(.*?)```", CALLS[1], re.DOTALL), re.findall(r"```json\n(.*?)```", CALLS[1], re.DOTALL)
    assert len(calls) == len(answers) == 3
    with served(create_app(shop)) as address:
        script = "\n".join(f"{call}\necho; echo ===" for call in calls)
        known = {"HOST": address, "CLIENT": told[0].split()[1], "SECRET": told[1].split()[1], "PATH": "/usr/bin:/bin"}
        done = subprocess.run(["bash", "-euc", script], env=known, capture_output=True, text=True, check=True)
    said = [json.loads(part) for part in done.stdout.split("===")[:-1]]
    assert said == [json.loads(one) for one in answers]
