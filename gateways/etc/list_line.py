"""The way of status lists from the clearing party under WXETC-1: build, send, read the answer, and the record of it.

Joins lists to the transport; must not touch the database. Called outside any transaction by whoever pulls lists.
Source: docs/ETC.md, sections 7 and 8.
"""

from typing import Final

from gateways import calls
from gateways.calls import Call, Line
from gateways.contract import Answer, Request, Unanswered
from gateways.etc import envelope, lists
from gateways.etc.channel import Etc
from gateways.etc.lists import ListOutcome
from gateways.etc.services import StatusListAsk
from gateways.keys import SigningFailed

OPERATION: Final = "status_list"
"""What the calls are named in the kept messages."""


class ListLine:
    """Status lists over HTTPS. Any number of threads."""

    def __init__(self, line: Line) -> None:
        """Raises TypeError when the line is not one of ETC."""
        if not isinstance(line.connected.channel, Etc):
            raise TypeError(f"status lists come from ETC, not from {line.connected.channel.name}")
        self._line, self._provider = line, line.connected.channel.provider

    def ask(self, ask: StatusListAsk, *, occasion: str) -> Call[ListOutcome]:
        """Ask for what changed in a list. Takes up to the transport's time-out, longer while a long answer keeps coming.

        ``occasion`` tells two equal answers apart. Never raises for what the outside does: there are no changes then. An answer
        larger than an envelope may be is not read to its end: ``too_large``.
        """
        keys = self._line.connected.keys
        request, answer = self._sent(ask, calls.nonce_of(self._line, occasion))
        outcome = lists.outcome(answer, ask=ask, provider=self._provider, keys=keys, now=self._line.clock.now())
        message = calls.record(self._line, OPERATION, request, answer, outcome.verdict, outcome.reason, occasion)
        return Call(outcome, message)

    def _sent(self, ask: StatusListAsk, nonce: str) -> tuple[Request, Answer | Unanswered]:
        nothing, keys, now = Request("NONE", "", {}), self._line.connected.keys, self._line.clock.now()
        try:
            request = lists.build(ask, provider=self._provider, keys=keys, now=now, nonce=nonce)
        except SigningFailed as failed:
            return nothing, Unanswered(reason="signing", detail=str(failed)[:200])
        except ValueError as wrong:
            return nothing, Unanswered(reason="list_form", detail=str(wrong)[:200])
        return request, self._line.transport.send(request, bytes_max=envelope.BODY_BYTES_MAX)
