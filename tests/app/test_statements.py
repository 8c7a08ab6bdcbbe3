"""The statement over HTTP: whose it is, how it is paged, what is refused."""

from datetime import date

import msgspec
import pytest

from app.auth import Scope
from app.wiring import Wiring
from payments import results
from reconciliation.statements import Statement
from tests.app.conftest import City, Client, bearer
from tests.payments.conftest import AT, IDS, make_attempt, make_charge

PATH = "/v1/operators/op-1/statements/2026-03-02"


@pytest.fixture
def taken(product: Wiring, two_lots: City) -> None:
    """Three payments of our operator, one of the other, sealed."""
    with product.db.begin() as tx:
        paid = [make_attempt(tx, two_lots.ours, make_charge(tx, two_lots.ours, f"S{n}")) for n in range(3)]
        paid.append(make_attempt(tx, two_lots.theirs, make_charge(tx, two_lots.theirs, "T1")))
        results.apply(tx, lane=0, notices=[due.callback() for due in paid], at=AT, ids=IDS)
    with product.db.connect() as connection:
        product.sealer().seal_once(connection, at=AT)


def read(api: Client, headers: dict[str, str], **query: object) -> Statement:
    answer = api.get(PATH, headers=headers, params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Statement)


@pytest.mark.usefixtures("taken")
def test_an_operator_reads_its_statement_page_by_page(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "operator", two_lots.ours)
    first = read(api, headers, limit=2)
    second = read(api, headers, limit=2, cursor=first.cursor)
    assert [line.number for page in (first, second) for line in page.lines] == [1, 2, 3]
    assert (first.booked_on, first.tree_size, second.cursor) == (date(2026, 3, 2), 4, None)
    assert first.checkpoint == second.checkpoint is not None
    assert first.totals[0].amount_fen == 3600


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize("scope", ["city", "district"])
def test_supervisors_of_city_and_district_read_it_too(api: Client, product: Wiring, two_lots: City, scope: Scope) -> None:
    assert len(read(api, bearer(product, scope, two_lots.ours)).lines) == 3


@pytest.mark.usefixtures("taken")
def test_another_operators_statement_looks_like_one_that_is_not_there(api: Client, product: Wiring, two_lots: City) -> None:
    headers = bearer(product, "operator", two_lots.theirs)
    foreign, missing = api.get(PATH, headers=headers), api.get(PATH.replace("op-1", "op-9"), headers=headers)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json() == missing.json() | {"detail": "there is no operator op-1"}


def test_a_lots_own_system_does_not_read_the_operators_figures(api: Client, product: Wiring, two_lots: City) -> None:
    assert api.get(PATH, headers=bearer(product, "lot", two_lots.ours)).status_code == 404


def test_without_a_token_nothing_is_said(api: Client) -> None:
    assert api.get(PATH).status_code == 401


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("?cursor=nonsense", "cursor_invalid"),
        ("?limit=0", None),
        ("?limit=999999", None),
        ("?limit=x", None),
        ("?cursor=" + "A" * 300, None),
    ],
)
def test_what_cannot_be_read_is_a_problem(api: Client, product: Wiring, two_lots: City, change: str, code: str | None) -> None:
    answer = api.get(PATH + change, headers=bearer(product, "operator", two_lots.ours))
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert code is None or answer.json()["code"] == code


@pytest.mark.parametrize("day", ["2026-02-30", "yesterday", "20260302"])
def test_a_date_that_is_none_is_a_problem(api: Client, product: Wiring, two_lots: City, day: str) -> None:
    answer = api.get(f"/v1/operators/op-1/statements/{day}", headers=bearer(product, "operator", two_lots.ours))
    assert (answer.status_code, answer.json()["code"]) == (422, "date_invalid")


def test_the_statement_is_described_in_the_schema(api: Client) -> None:
    schema = api.get("/schema/openapi.json").json()
    assert "/v1/operators/{operator_code}/statements/{booked_on}" in schema["paths"]
