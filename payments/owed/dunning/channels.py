"""Channels of reminders: what a plug-in must be, the registry, and three that are always there: pages, letters by file, any file.

Knows messages and receipts; must not know debts or the database. Called by planning (which channels reach whom) and by sending.
An SMS or wallet plug-in is a class of this form, registered by the composition root.
"""

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct

from payments.owed.dunning.contacts import Medium

Outcome = Literal["sent", "bounced", "failed", "retry"]
"""sent: the carrier took it. bounced: this contact takes nothing. failed: it cannot be sent so. retry: it may be tried again;
whether it was sent may be unknown, and the number in the text makes a repeat recognisable."""


class Message(Struct, frozen=True, kw_only=True):
    """One message. ``number`` is the same at each try; ``to`` is None where a channel needs no contact."""

    number: str
    to: str | None
    subject: str
    body: str
    language: Literal["zh", "en"]
    at: datetime


class Receipt(Struct, frozen=True):
    """What became of a message, with the carrier's words."""

    outcome: Outcome
    words: str


class Channel(Protocol):
    """A way of sending. Stateless between calls; ``send`` never raises for what the outside does."""

    @property
    def name(self) -> str: ...

    @property
    def medium(self) -> Medium | None:
        """Which contacts it uses; None: none."""
        ...

    @property
    def needs_contact(self) -> bool:
        """It reaches nobody without a contact."""
        ...

    @property
    def carries(self) -> bool:
        """It brings the text to the debtor; a demand over a channel that does not is never proven by sending alone."""
        ...

    def send(self, messages: Sequence[Message]) -> list[Receipt]:
        """Send messages over one connection; one receipt each, in order."""
        ...


class Registry:
    """The channels of an installation, by name."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        self._channels: Final = {channel.name: channel for channel in channels}

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return sorted(self._channels)

    def find(self, name: str) -> Channel | None:
        """Return a channel, or None: a rule may name one that this installation does not have."""
        return self._channels.get(name)


class PageChannel:
    """The pay page: whoever enters the plate there sees the notice. Nothing leaves the house."""

    name: Final = "page"
    medium: Final = None
    needs_contact: Final = False
    carries: Final = False

    def send(self, messages: Sequence[Message]) -> list[Receipt]:
        return [Receipt("sent", "laid out for the pay page") for _ in messages]


class FileChannel:
    """One JSON file per message in an outbox directory, for whoever prints or forwards it. File names hold the number alone.

    A file appears whole or not at all; one that is there with the same content counts as sent.
    """

    carries: Final = True

    def __init__(self, name: str, outbox: Path, *, medium: Medium | None, needs_contact: bool) -> None:
        self.name, self.medium, self.needs_contact = name, medium, needs_contact
        self._outbox = outbox

    def send(self, messages: Sequence[Message]) -> list[Receipt]:
        return [self._put(message) for message in messages]

    def _put(self, message: Message) -> Receipt:
        path = self._outbox / f"{message.number}.json"
        content = msgspec.json.format(msgspec.json.encode(message), indent=2)
        part = path.with_suffix(".part")
        try:
            self._outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                same = _same(path.read_bytes(), content)
                return Receipt("sent", f"{path.name} is there already") if same else Receipt("failed", f"{path.name} is another")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as broken:
            return Receipt("retry", f"the outbox cannot be written: {broken.strerror}")
        return Receipt("sent", path.name)


def _same(kept: bytes, content: bytes) -> bool:
    """Tell whether two files hold the same message; only the moment of the try may differ."""
    try:
        a, b = (msgspec.json.decode(one, type=Message) for one in (kept, content))
    except msgspec.DecodeError:
        return False
    return msgspec.structs.replace(a, at=b.at) == b
