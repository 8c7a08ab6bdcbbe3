"""A process learns the channel's new keys by itself, and nobody can make it ask without end."""

import time
from collections.abc import Callable

import msgspec

from gateways.calls import refresh_keys
from gateways.contract import Answer, Request, Unanswered
from gateways.rotation import KeyWatch
from gateways.sandbox.wechat.signing import Pair
from gateways.transport import Transport
from tests.gateways.conftest import NOW, Play
from tests.gateways.playing import control


class Counted:
    """A way out that counts."""

    def __init__(self, transport: Transport) -> None:
        self.transport, self.sent = transport, 0

    def send(self, request: Request, *, bytes_max: int = 65_536) -> Answer | Unanswered:
        self.sent += 1
        return self.transport.send(request, bytes_max=bytes_max)


class Nobody:
    """A way out that leads nowhere: unreachable at first, then broken by a fault of our own."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, request: Request, *, bytes_max: int = 65_536) -> Answer | Unanswered:
        self.sent += 1
        if self.sent > 1:
            raise RuntimeError(f"{request.url} with at most {bytes_max} bytes")
        return Unanswered(reason="connect")


def until(holds: Callable[[], bool]) -> bool:
    for _ in range(500):
        if holds():
            return True
        time.sleep(0.01)
    return False


def test_a_rotated_key_is_known_soon_after_a_message_named_it(play: Play, fresh_pair: Pair) -> None:
    played = play()
    counted = Counted(played.transport)
    watch = KeyWatch(msgspec.structs.replace(played.line, transport=counted), pause_seconds=0)
    watch.start()
    assert until(lambda: counted.sent == 1)
    serial = control(played, "rotate")["serial"]
    try:
        assert until(lambda: fresh_pair.ring.find(serial, at=NOW) is not None)
    finally:
        watch.stop()
    assert fresh_pair.ring.find(fresh_pair.certificate.serial, at=NOW) is not None


def test_many_unknown_keys_lead_to_one_fetch_in_a_pause(play: Play) -> None:
    played = play()
    counted = Counted(played.transport)
    watch = KeyWatch(msgspec.structs.replace(played.line, transport=counted), pause_seconds=60)
    watch.start()
    assert until(lambda: counted.sent == 1)
    for number in range(1000):
        assert played.line.connected.keys.find(f"{number:X}", at=NOW) is None
    watch.stop()
    assert counted.sent == 1


def test_a_channel_that_cannot_be_reached_changes_nothing(play: Play, fresh_pair: Pair) -> None:
    played = play()
    before = fresh_pair.ring.known()

    nobody = Nobody()
    watch = KeyWatch(msgspec.structs.replace(played.line, transport=nobody), pause_seconds=0, interval_seconds=0)
    watch.start()
    assert until(lambda: nobody.sent > 2)
    watch.stop()
    assert fresh_pair.ring.known() == before


def test_keys_are_fetched_again_at_intervals(play: Play) -> None:
    played = play()
    counted = Counted(played.transport)
    watch = KeyWatch(msgspec.structs.replace(played.line, transport=counted), pause_seconds=0, interval_seconds=0.01)
    watch.start()
    assert until(lambda: counted.sent >= 3)
    watch.stop()


def test_a_provider_with_public_keys_alone_has_no_certificates_and_that_is_no_fault(play: Play, fresh_pair: Pair) -> None:
    played = play()
    before = fresh_pair.ring.known()
    line = msgspec.structs.replace(played.line, transport=NoCertificates())
    assert refresh_keys(line) == 0
    assert fresh_pair.ring.known() == before


class NoCertificates:
    """Answers as the channel does to a provider without platform certificates."""

    def send(self, request: Request, *, bytes_max: int = 65_536) -> Answer | Unanswered:
        assert request.url.endswith("/v3/certificates")
        assert bytes_max > 0
        return Answer(status=404, headers={}, body=b'{"code":"RESOURCE_NOT_EXISTS","message":"x"}')
