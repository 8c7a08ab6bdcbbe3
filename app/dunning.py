"""Dunning as this installation does it: its channels by the settings, and what the worker does each morning.

Knows settings and the steps of the morning; must not know how a reminder is planned or sent. Called by the worker and the command
line. A plug-in for SMS or a wallet's messages is added to ``channels``.
"""

import logging
from typing import Final

from app.wiring import Wiring
from config.settings import Settings
from payments.owed import instalments
from payments.owed.dunning import contacts, planning, sending
from payments.owed.dunning.channels import Channel, FileChannel, PageChannel, Registry
from payments.owed.dunning.contacts import Medium
from payments.owed.dunning.plan_store import Run
from payments.owed.dunning.sending import Sent, Ways
from payments.owed.dunning.smtp import MailServer, SmtpChannel

LOG: Final = logging.getLogger("tongting.dunning")
ERASED_AT_ONCE: Final = 10_000
_BY_FILE: Final[dict[str, tuple[Medium, bool]]] = {
    "post": ("address", False),
    "sms": ("mobile", True),
    "wallet": ("wallet", True),
}
"""What a channel by file reaches, and whether it needs a contact: a letter may be addressed by whoever sends it."""


def channels(settings: Settings) -> Registry:
    """Return the channels of this installation: the page, files, and e-mail where a server is set."""
    found: list[Channel] = [PageChannel()]
    for name in settings.dunning_file_channels:
        medium, needs_contact = _BY_FILE[name]
        found.append(FileChannel(name, settings.dunning_outbox / name, medium=medium, needs_contact=needs_contact))
    if settings.dunning_smtp_host is not None:
        server = MailServer(
            host=settings.dunning_smtp_host, port=settings.dunning_smtp_port, sender=settings.dunning_smtp_sender,
            starttls=settings.dunning_smtp_starttls, user=settings.dunning_smtp_user,
            password_file=settings.dunning_smtp_password_file, ca_file=settings.dunning_smtp_ca_file,
        )  # fmt: skip
        found.append(SmtpChannel(server))
    return Registry(found)


def dun(wiring: Wiring) -> tuple[Run, Sent]:
    """Do the morning's work: look at instalments, erase contacts, count parts paid, plan, send. Repeatable and resumable."""
    at = wiring.clock.now()
    _look_after(wiring)
    run = planning.plan(
        wiring.db, lane=wiring.lane, at=at, ids=wiring.ids, channels=channels(wiring.settings), progress=_progress
    )  # fmt: skip
    LOG.info("dunning of %s: %d plates looked at, %d reminders of %d debts", run.planned_on, run.plates, run.reminders, run.debts)
    return run, send(wiring)


def send(wiring: Wiring) -> Sent:
    """Send what waits, batch by batch, until nothing does, it is quiet, or a carrier takes nothing. Returns the sums."""
    registry = channels(wiring.settings)
    ways = Ways(wiring.settings.dunning_link, wiring.settings.help_line)
    total = Sent()
    while True:
        one = sending.send_due(wiring.db, lane=wiring.lane, at=wiring.clock.now(), channels=registry, ways=ways)
        total = Sent(*(getattr(total, name) + getattr(one, name) for name in Sent.__struct_fields__))
        if one.claimed == 0 or one.again == one.claimed:
            break
    if total.claimed:
        counted = (total.sent, total.bounced, total.failed, total.again, total.dropped)
        LOG.info("reminders: %d sent, %d bounced, %d failed, %d to be tried again, %d dropped", *counted)
    return total


def _look_after(wiring: Wiring) -> None:
    at, more = wiring.clock.now(), True
    while more:
        with wiring.db.begin() as tx:
            checked = instalments.check(tx, lane=wiring.lane, at=at)
            erased = contacts.erase_due(tx, at=at, limit=ERASED_AT_ONCE)
            parts = sending.count_parts_paid(tx, lane=wiring.lane, at=at)
        more = checked.kept + checked.missed > 0 or erased == ERASED_AT_ONCE or parts > 0


def _progress(run: Run) -> None:
    LOG.info("planning %s: plates up to %d, %d reminders so far", run.planned_on, run.plate_cursor, run.reminders)
