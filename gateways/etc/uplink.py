"""The way of packages to the clearing party under WXETC-1: build, send, read the answer, and the record of it.

Joins uploads to the transport; must not touch the database. Called outside any transaction by whoever sends packages.
Source: docs/ETC.md, sections 7 and 8.
"""

from typing import Final
from uuid import UUID

from gateways import calls
from gateways.calls import Call, Line
from gateways.contract import Answer, Request, Unanswered
from gateways.etc import uploads
from gateways.etc.channel import Etc
from gateways.etc.clearing import UPLOAD_CHARGES_MAX, Package
from gateways.etc.record import TransactionRecord
from gateways.etc.uploads import UploadOutcome
from gateways.keys import SigningFailed

OPERATION: Final = "upload"
"""What the calls are named in the kept messages."""


class HttpsUplink:
    """Packages over HTTPS: the answer to a call is the receipt. Any number of threads."""

    charges_max: int = UPLOAD_CHARGES_MAX

    def __init__(self, line: Line) -> None:
        """Raises TypeError when the line is not one of ETC."""
        if not isinstance(line.connected.channel, Etc):
            raise TypeError(f"packages go to ETC, not to {line.connected.channel.name}")
        self._line, self.provider = line, line.connected.channel.provider

    def heap(self, record: TransactionRecord) -> str:  # noqa: ARG002  # other wires part cards by network and kind
        """Return what, beside the issuer, must be the same in a package: nothing here."""
        return ""

    def send(self, package: Package, *, subject: UUID, occasion: str) -> Call[UploadOutcome]:
        """Send a package, or the same again: its number makes repeats one. Takes up to the transport's time-out.

        Never raises for what the outside does. A package that must not be sent is not: the verdict is ``unanswered``, the reason
        ``package_form``.
        """
        keys = self._line.connected.keys
        request, answer = self._sent(package)
        outcome = uploads.outcome(answer, package=package, provider=self.provider, keys=keys, now=self._line.clock.now())
        message = calls.record(self._line, OPERATION, request, answer, outcome.verdict, outcome.reason, occasion, subject)
        return Call(outcome, message)

    def _sent(self, package: Package) -> tuple[Request, Answer | Unanswered]:
        nothing = Request("NONE", "", {})
        try:
            request = uploads.build(package, provider=self.provider, keys=self._line.connected.keys, now=self._line.clock.now())
        except SigningFailed as failed:
            return nothing, Unanswered(reason="signing", detail=str(failed)[:200])
        except ValueError as wrong:
            return nothing, Unanswered(reason="package_form", detail=str(wrong)[:200])
        return request, self._line.transport.send(request)
