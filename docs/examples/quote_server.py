"""A lot's system that answers what a plate owes now: the least that it needs, with Python's own library alone.

    python quote_server.py whsec_... 8700

Prices a stay by the started hour. The numbers of prices are kept in memory here; a real system keeps them with the stays.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FEN_PER_HOUR = 600
STANDS = timedelta(minutes=15)
STAYS = {"苏B12345": ("P-1001", datetime.now(UTC) - timedelta(minutes=130))}
"""By plate: the number of the stay, and when the car came in."""


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Say whether a question is from Tongting, and new. Standard Webhooks, as for events."""
    moment = headers.get("webhook-timestamp", "")
    if not moment.isdecimal() or abs(time.time() - int(moment)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers.get('webhook-id', '')}.{moment}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(wanted, one) for one in headers.get("webhook-signature", "").split(" "))


def quotes(plate: str, now: datetime) -> list[dict[str, object]]:
    """Return what a plate owes now: nothing for a car that is not here."""
    if plate not in STAYS:
        return []
    stay, entered_at = STAYS[plate]
    minutes = int((now - entered_at).total_seconds() // 60)
    hours = minutes // 60 + 1
    return [
        {
            "serial": f"{stay}-{hours}",  # the price changes with the hour, and so does its number
            "stay_serial": stay,
            "plate": plate,
            "entered_at": entered_at.isoformat(timespec="seconds"),
            "minutes": hours * 60,  # part of the price: the same as long as the number is the same
            "amount_fen": hours * FEN_PER_HOUR,
            "tariff_text": f"{hours} 小时，每小时 6 元",
            "valid_until": (now + STANDS).isoformat(timespec="seconds"),
        }
    ]


def server(secret: str, port: int) -> ThreadingHTTPServer:
    """Return a server that answers questions signed with ``secret``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            if not verified(secret, {name.lower(): value for name, value in self.headers.items()}, body):
                self.say(401, {"error": "not a question of Tongting"})
                return
            asked = json.loads(body)["data"]
            self.say(200, {"quotes": quotes(asked["plate"], datetime.now(UTC))})

        def say(self, status: int, content: object) -> None:
            told = json.dumps(content, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *args: object) -> None:
            pass  # a log must not hold plates

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    with server(sys.argv[1], int(sys.argv[2])) as running:
        running.serve_forever()
