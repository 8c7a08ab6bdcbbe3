"""A lot's system, as small as it can be: posts what happens at the barrier, and loses nothing when the line is down.

Only the standard library is needed. Try it against a running product:

    python lot_client.py http://127.0.0.1:8080 CLIENT_ID SECRET LOT_CODE

Everything is first written into a file at the lot, then posted; a record leaves the file when its answer has come. So whatever
breaks in between, the client posts again, and the product answers ``already``.
"""

import json
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

CALL_RECORDS_MAX = 10_000
CHINA = timezone(timedelta(hours=8))


class Api:
    """The product's API with one client's token, which is renewed before it ends."""

    def __init__(self, url: str, client_id: str, secret: str) -> None:
        self._url, self._client_id, self._secret = url.rstrip("/"), client_id, secret
        self._token, self._until = "", 0.0

    def post(self, path: str, body: object) -> object:
        """Post JSON and return the answer's JSON. Raises urllib.error.HTTPError for a problem, OSError when the line is down."""
        return self._call(path, json.dumps(body, ensure_ascii=False).encode(), "application/json", self._bearer())

    def get(self, path: str) -> object:
        return self._call(path, None, "", self._bearer())

    def _bearer(self) -> str:
        if time.monotonic() >= self._until:
            asked = {"grant_type": "client_credentials", "client_id": self._client_id, "client_secret": self._secret}
            form = urllib.parse.urlencode(asked).encode()
            told = self._call("/oauth/token", form, "application/x-www-form-urlencoded", "")
            assert isinstance(told, dict)
            self._token, self._until = told["access_token"], time.monotonic() + told["expires_in"] - 60
        return self._token

    def _call(self, path: str, body: bytes | None, kind: str, token: str) -> object:
        headers = ({"content-type": kind} if kind else {}) | ({"authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(self._url + path, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


class Outbox:
    """What is still to be posted, in a file that survives a power cut; also gives the dense numbers."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)
        self._db.execute("pragma synchronous = full")
        self._db.execute("create table if not exists record (place integer primary key, kind text, serial text, body text)")
        self._db.execute("create table if not exists count (kind text primary key, last integer)")

    def put(self, kind: str, record: dict[str, object], *, numbered: bool = True) -> dict[str, object]:
        """Keep a record before it is posted, and give it the next number of its kind. Returns it with the number."""
        with self._db:
            if numbered:
                self._db.execute("insert into count values (?, 1) on conflict (kind) do update set last = last + 1", (kind,))
                [number] = self._db.execute("select last from count where kind = ?", (kind,)).fetchone()
                record = record | {"number": number}
            serial = record.get("serial") or record.get("lot_serial")
            body = json.dumps(record, ensure_ascii=False)
            self._db.execute("insert into record (kind, serial, body) values (?, ?, ?)", (kind, serial, body))
        return record

    def waiting(self, kind: str) -> Iterator[list[tuple[int, dict[str, object]]]]:
        """Yield what waits of a kind, oldest first, as many as fit into a call."""
        after = 0
        query = "select place, body from record where kind = ? and place > ? order by place limit ?"
        while rows := self._db.execute(query, (kind, after, CALL_RECORDS_MAX)).fetchall():
            yield [(place, json.loads(body)) for place, body in rows]
            after = rows[-1][0]

    def done(self, places: list[int]) -> None:
        with self._db:
            self._db.executemany("delete from record where place = ?", [(place,) for place in places])

    def __len__(self) -> int:
        return int(self._db.execute("select count(*) from record").fetchone()[0])


class LotSystem:
    """What a lot's software does: keeps, posts, and looks at what was refused."""

    def __init__(self, api: Api, lot: str, outbox: Outbox, say: Callable[[str], object] = print) -> None:
        self._api, self._lot, self._outbox, self._say = api, lot, outbox, say

    def comes(self, serial: str, plate: str, at: datetime, lane: str) -> dict[str, object]:
        """A car comes; returns the stay, which the going repeats."""
        return self._outbox.put("stays", {"serial": serial, "plate": plate, "entered_at": at.isoformat(), "lane_in": lane})

    def goes(self, stay: dict[str, object], at: datetime, lane: str) -> None:
        """It goes: the same stay once more, with its end and the same number."""
        self._outbox.put("stays", stay | {"left_at": at.isoformat(), "lane_out": lane}, numbered=False)

    def owes(self, stay: dict[str, object], at: datetime, minutes: int, amount_fen: int, why: str) -> dict[str, object]:
        """A stay costs something: a charge under a serial of its own."""
        charge: dict[str, object] = {
            "lot_serial": f"C-{stay['serial']}", "plate": stay["plate"], "entered_at": stay["entered_at"],
            "left_at": at.isoformat(), "minutes": minutes, "amount_fen": amount_fen, "tariff_text": why,
        }  # fmt: skip
        return self._outbox.put("charges", charge)

    def takes_cash(self, charge: dict[str, object], at: datetime, receipt: str) -> None:
        """The driver pays the charge in cash."""
        taking: dict[str, object] = {
            "serial": f"T-{charge['lot_serial']}", "channel": "cash", "charge_serial": charge["lot_serial"],
            "amount_fen": charge["amount_fen"], "taken_at": at.isoformat(), "evidence_text": receipt,
        }  # fmt: skip
        self._outbox.put("takings", taking)

    def hands_back(self, charge_serial: str, amount_fen: int, at: datetime, receipt: str, person_digest: str) -> None:
        """The driver gets back in cash what was promised, see ``GET .../returns/owed``."""
        said: dict[str, object] = {"serial": f"R-{receipt}", "charge_serial": charge_serial, "amount_fen": amount_fen}
        self._outbox.put(
            "returns", said | {"returned_at": at.isoformat(), "operator_person_digest": person_digest, "receipt_no": receipt}
        )

    def opens(self, serial: str, at: datetime, lane: str, reason: str) -> None:
        """Somebody opens the barrier by hand."""
        self._outbox.put("openings", {"serial": serial, "at": at.isoformat(), "lane": lane, "direction": "out", "reason": reason})

    def post_all(self) -> list[dict[str, object]]:
        """Post what waits, stays and charges before what pays them. Returns what was refused: mend it, or nobody will know of it.

        An answer that says created, completed or already ends a record. When the line is down everything stays where it is.
        """
        refused = []
        for kind in ("stays", "charges", "takings", "returns", "openings"):
            for part in self._outbox.waiting(kind):
                answers = self._api.post(f"/v1/lots/{self._lot}/{kind}", [record for _, record in part])
                assert isinstance(answers, list)
                refused += [answer | {"kind": kind} for answer in answers if answer["outcome"] == "refused"]
                self._outbox.done([place for place, _ in part])
                self._say(f"{kind}: {len(part)} posted")
        return refused

    def beats(self, lanes: dict[str, bool]) -> object:
        """Say that the system lives; the answer tells how far the clock is off."""
        states = [{"lane": lane, "online": online} for lane, online in lanes.items()]
        body = {"at": datetime.now(CHINA).isoformat(), "software": "lot_client 1", "lanes": states, "queue": len(self._outbox)}
        return self._api.post(f"/v1/lots/{self._lot}/heartbeats", body)

    def missing(self) -> object:
        """Ask which numbers the product has not got."""
        return self._api.get(f"/v1/lots/{self._lot}/record-gaps")


def main(url: str, client_id: str, secret: str, lot: str) -> None:
    """Let one car come, go and pay in cash, and show what the product says."""
    system = LotSystem(Api(url, client_id, secret), lot, Outbox(Path("lot_client.sqlite")))
    now = datetime.now(CHINA).replace(microsecond=0)
    run = now.strftime("%Y%m%d-%H%M%S")
    stay = system.comes(f"S-{run}", "苏B12345", now - timedelta(minutes=90), "A1")
    system.goes(stay, now, "B1")
    charge = system.owes(stay, now, 90, 900, "每小时6元, 90分钟")
    system.takes_cash(charge, now, f"收据 {run}")
    system.opens(f"O-{run}", now, "B1", "test")
    for refused in system.post_all():
        print("refused:", refused)
    print("heartbeat:", system.beats({"A1": True, "B1": True}))
    print("missing:", system.missing())


if __name__ == "__main__":
    main(*sys.argv[1:])
