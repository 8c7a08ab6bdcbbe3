"""The worker: the sealer and the timed jobs, in one process without HTTP.

Knows when things run and what they log; must not know how they are done. Called by ``tongting worker``.
A city runs one worker; a second one waits for the lane and takes over when the first ends.
"""

import logging
from collections.abc import Callable
from datetime import UTC, date, timedelta
from threading import Event, Thread
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.checks import violations
from app.database import ensure_months
from app.dunning import dun
from app.etc_line import serve as etc_line
from app.key_check import findings
from app.wiring import Wiring
from gateways.calls import Line
from gateways.contract import MerchantAccount
from ledger.clock import CHINA, business_date
from ledger.seal import Sealer, SealRefused
from payments import jobs
from payments.bearers import following as bearing
from payments.cards import packing
from payments.discounts import effects as discounts
from payments.incentive import following
from payments.invoices import handing_over, invoices
from payments.lot_records import alarms
from payments.mandates import deduction_plan, renewing, status_lists
from payments.quoting import ending
from payments.refunding import refund_jobs, requests
from payments.rollout import drops, visits, words_keeping
from payments.webhooks import delivery, keeping
from reconciliation import daily

LOG: Final = logging.getLogger("tongting.worker")
TURN_SECONDS: Final = 1.0
REST_AFTER_REFUSAL_SECONDS: Final = 60.0
REST_AFTER_BREAK_SECONDS: Final = 2.0
ASKING_MAX: Final = 100
ASKING_THREADS: Final = 8
LISTS_MINUTES: Final = 2
"""How often it is looked whether a status list is due: each is, hourly."""
SHARES_MINUTES: Final = 5
"""How often the sealed book is read on for recovered debts, and for parts of stays that others bear."""
QUOTES_MINUTES: Final = 1
"""How often quotes whose price has ended are marked; no page waits for it."""
WATCH_MINUTES: Final = 1
"""How often it is looked whether a lot is silent, hides records, has a lane offline, or opens its barrier too often."""
INVOICES_MINUTES: Final = 2
MANDATES_MINUTES: Final = 30
MANDATES_MAX: Final = 500
"""Most mandates that one run asks about: what is left waits for the next one."""
"""How often requests of invoices are handed over, and answers taken."""
CHECK_HOURS: Final = 6
RECONCILE_HOURS: Final = "10-22"
"""In China: the bill of the day before is there from ten o'clock on."""
RECONCILE_TURN: Final = timedelta(minutes=20)
"""Less than from one look to the next."""


def work(wiring: Wiring, *, stop: Event) -> None:
    """Seal and run the timed jobs until ``stop`` is set; then finish what has begun and return."""
    scheduler, watches = schedule(wiring, stop=stop), wiring.key_watches()
    sealing = Thread(target=seal_until, args=(wiring, stop), name="sealer")
    pushing = Thread(target=push_until, args=(wiring, stop), name="webhooks")
    scheduler.start()
    sealing.start()
    pushing.start()
    for watch in watches:
        watch.start()
    try:
        with etc_line.running(wiring):
            stop.wait()
    finally:
        stop.set()
        scheduler.shutdown(wait=True)
        for watch in watches:
            watch.stop()
        sealing.join()
        pushing.join()


def schedule(wiring: Wiring, *, stop: Event | None = None) -> BackgroundScheduler:
    """Return the timed jobs, not yet started. A job that is late runs once, and never beside itself; ``stop`` ends long ones."""
    defaults = {"max_instances": 1, "coalesce": True, "misfire_grace_time": None}
    scheduler = BackgroundScheduler(timezone=UTC, job_defaults=defaults)
    scheduler.add_job(_logged(ask_about_payments, wiring), "interval", seconds=wiring.settings.jobs_seconds)
    scheduler.add_job(_logged(make_refunds, wiring), "interval", seconds=wiring.settings.jobs_seconds)
    scheduler.add_job(_logged(send_cards, wiring), "interval", seconds=wiring.settings.jobs_seconds)
    scheduler.add_job(_logged(pull_status_lists, wiring), "interval", minutes=LISTS_MINUTES)
    scheduler.add_job(_logged(deduct_debts, wiring), "interval", seconds=wiring.settings.jobs_seconds)
    scheduler.add_job(_logged(plan_deductions, wiring), "cron", hour=3, timezone=CHINA)
    scheduler.add_job(_logged(forget_deliveries, wiring, stop=stop), "cron", hour=4, timezone=CHINA)
    scheduler.add_job(_logged(share_incentives, wiring), "interval", minutes=SHARES_MINUTES)
    scheduler.add_job(_logged(claim_from_bearers, wiring), "interval", minutes=SHARES_MINUTES)
    scheduler.add_job(_logged(end_quotes, wiring), "interval", minutes=QUOTES_MINUTES)
    scheduler.add_job(_logged(end_discounts, wiring), "interval", minutes=QUOTES_MINUTES)
    scheduler.add_job(_logged(watch_lots, wiring), "interval", minutes=WATCH_MINUTES)
    scheduler.add_job(_logged(issue_invoices, wiring), "interval", minutes=INVOICES_MINUTES)
    scheduler.add_job(_logged(forget_emails, wiring), "cron", hour=4, minute=30, timezone=CHINA)
    scheduler.add_job(_logged(compare_invoices, wiring), "cron", hour=4, minute=40, timezone=CHINA)
    scheduler.add_job(_logged(renew_mandates, wiring), "interval", minutes=MANDATES_MINUTES)
    scheduler.add_job(_logged(forget_signers, wiring), "cron", hour=4, minute=50, timezone=CHINA)
    scheduler.add_job(_logged(remind_of_requests, wiring), "cron", hour="9-17", timezone=CHINA)
    scheduler.add_job(_logged(count_hours, wiring), "cron", minute=5)
    scheduler.add_job(_logged(count_visits, wiring), "cron", minute=20)
    scheduler.add_job(_logged(erase_report_words, wiring, stop=stop), "cron", hour=4, minute=45, timezone=CHINA)
    scheduler.add_job(_logged(dun, wiring), "cron", hour=9, minute=30, timezone=CHINA)
    scheduler.add_job(_logged(prepare_months, wiring), "cron", hour=2)
    scheduler.add_job(_logged(check, wiring), "interval", hours=CHECK_HOURS)
    scheduler.add_job(_logged(check_keys, wiring), "cron", hour=1, timezone=CHINA)
    scheduler.add_job(_logged(reconcile_yesterday, wiring), "cron", hour=RECONCILE_HOURS, minute="10,40", timezone=CHINA)
    return scheduler


def seal_until(wiring: Wiring, stop: Event) -> None:
    """Seal whenever something was committed; a broken connection or a refusal is logged and tried again after a rest."""
    while not stop.is_set():
        rest = REST_AFTER_BREAK_SECONDS
        try:
            with wiring.db.connect() as connection:
                connection.detach()  # the lane is held as long as the connection lives: it must not go back to the pool
                _seal_on(connection, wiring, wiring.sealer(), stop)
        except SealRefused as refused:
            LOG.critical("sealing has stopped: %s", refused)
            rest = REST_AFTER_REFUSAL_SECONDS
        except DBAPIError as broken:
            LOG.warning("the sealer lost the database and tries again: %s", str(broken.orig).splitlines()[0])
        stop.wait(rest)


def push_until(wiring: Wiring, stop: Event) -> None:
    """Push events to webhooks; whatever goes wrong is logged and tried again after a rest."""
    while not stop.is_set():
        try:
            delivery.run_until(wiring.post(), stop=stop, poll_seconds=wiring.settings.webhook_poll_seconds)
        except Exception:
            LOG.exception("pushing events has stopped and begins again")
            stop.wait(REST_AFTER_BREAK_SECONDS)


def _seal_on(connection: Connection, wiring: Wiring, sealer: Sealer, stop: Event) -> None:
    while not sealer.try_turn(connection):
        if stop.wait(TURN_SECONDS):
            return
    while not stop.is_set():
        sealed = sealer.seal_once(connection, at=wiring.clock.now())
        if sealed is None or not sealed.more:
            stop.wait(wiring.settings.seal_seconds)


def seal_all(wiring: Wiring) -> int | None:
    """Seal everything that is committed now and return how many entries; None when another sealer holds the lane.

    Raises:
        SealRefused: the database does not continue what was signed before.
    """
    entries = 0
    with wiring.db.connect() as connection:
        connection.detach()
        sealer = wiring.sealer()
        if not sealer.try_turn(connection):
            return None
        while sealed := sealer.seal_once(connection, at=wiring.clock.now()):
            entries += sealed.entries
    return entries


def ask_about_payments(wiring: Wiring, *, threads: int = ASKING_THREADS) -> int:
    """Ask the channels about every undecided payment that is due, and close those whose time is over. Returns how many."""
    till, asked = wiring.till(), 0
    while ran := jobs.run_due(till, limit=ASKING_MAX, threads=threads).asked:
        asked += ran
    return asked


def make_refunds(wiring: Wiring, *, threads: int = ASKING_THREADS) -> int:
    """Promise what second payments are owed, and call the channels about every refund that is due. Returns how many calls."""
    till, called = wiring.till(), 0
    while refund_jobs.promise_second_payments(till, fen_max=wiring.settings.refund_second_payment_fen_max, limit=ASKING_MAX):
        pass
    while ran := refund_jobs.run_due(till, limit=ASKING_MAX, threads=threads):
        called += ran
    return called


def send_cards(wiring: Wiring) -> int:
    """Pack what cards paid and send the packages that are due to the clearing party. Returns how many calls."""
    uplink = wiring.uplink()
    if uplink is None:
        return 0
    sent = packing.run_due(wiring.till(), uplink, pack_after=timedelta(minutes=wiring.settings.etc_pack_minutes))
    return sent.called


def pull_status_lists(wiring: Wiring) -> int:
    """Pull the status lists that are due, and raise an alarm for each that is stale. Returns how many calls were made."""
    sender, settings = wiring.list_line(), wiring.settings
    if sender is None:
        return 0
    run = status_lists.pull_due(wiring.till(), sender, provinces=settings.etc_list_provinces, kinds=settings.etc_list_kinds)
    for one in run.stale:
        since = "has never come" if one.pulled_at is None else f"was not renewed since {one.pulled_at.isoformat()}"
        LOG.critical("status list %s of province %s %s: %s", one.kind, one.province, since, one.reason)
    return run.called


def deduct_debts(wiring: Wiring, *, threads: int = ASKING_THREADS) -> int:
    """Try the debts that are to be deducted by mandate now. Returns how many were tried."""
    till, tried = wiring.till(), 0
    while ran := deduction_plan.run_due(till, limit=ASKING_MAX, threads=threads).tried:
        tried += ran
    return tried


def plan_deductions(wiring: Wiring) -> int:
    """Plan the deductions of debts whose plates got a mandate since the last night. Returns how many."""
    till, behind, planned = wiring.till(), None, 0
    while True:
        made, behind = deduction_plan.plan(till, behind=behind)
        planned += made
        if behind is None:
            break
    if planned:
        LOG.info("%d debts are to be deducted by mandates that came since", planned)
    return planned


def forget_deliveries(wiring: Wiring, *, stop: Event | None = None) -> int:
    """Forget what was delivered to webhooks longer ago than it is kept. Returns how many deliveries; ``stop`` breaks it off."""
    days = wiring.settings.webhook_kept_days
    done = keeping.forget(wiring.db, lane=wiring.lane, days=days, at=wiring.clock.now, say=LOG.info, stop=stop)
    if done.deliveries:
        LOG.info(
            "%d deliveries to webhooks from more than %d days ago are forgotten, with %d calls", done.deliveries, days, done.tries
        )
    return done.deliveries


def share_incentives(wiring: Wiring) -> int:
    """Attribute the payments of debts sealed since the last time, and give or take back their shares. Returns how many shares."""
    return following.follow(wiring.db, lane=wiring.lane, at=wiring.clock.now, ids=wiring.ids, say=LOG.info).shares


def end_quotes(wiring: Wiring) -> int:
    """Mark the quotes whose price has ended. Returns how many."""
    return ending.end_all(wiring.db, lane=wiring.lane, at=wiring.clock.now())


def end_discounts(wiring: Wiring) -> int:
    """Take off coupons that nobody paid with in time, and let validations meet their charges. Returns how many changed."""
    return discounts.end_due(wiring.db, lane=wiring.lane, at=wiring.clock.now(), ids=wiring.ids)


def claim_from_bearers(wiring: Wiring) -> int:
    """Claim from bearers the parts of stays earned since the last time, and return what was cancelled. Returns how many."""
    return bearing.follow(wiring.db, lane=wiring.lane, at=wiring.clock.now, say=LOG.info).claimed


def watch_lots(wiring: Wiring) -> int:
    """Open alarms of lots for what is wrong now, close those whose cause is gone, and log both. Returns how many changed."""
    with wiring.db.begin() as tx:
        changed = alarms.watch(tx, at=wiring.clock.now())
    for one in changed:
        LOG.log(logging.WARNING if one.opened else logging.INFO, "lot %s: %s %s: %s", one.lot_code, one.kind,
                "begins" if one.opened else "is over", one.detail)  # fmt: skip
    return len(changed)


def issue_invoices(wiring: Wiring) -> handing_over.Ran:
    """Hand over what payers asked for, take the issuer's answers, and ask for red invoices that are due."""
    ran = handing_over.run(
        wiring.db, lane=wiring.lane, issuer=wiring.issuer(), at=wiring.clock.now(), ids=wiring.ids, say=LOG.warning
    )
    if ran.trouble:
        LOG.warning("whoever issues invoices is away, everything waits: %s", ran.trouble)
    if ran.answered and ran.stuck:
        LOG.critical("%d red invoices wait for a person: tongting invoice list --state stuck", ran.stuck)
    return ran


def compare_invoices(wiring: Wiring) -> int:
    """Compare the refunds of all days that the rules name with issued invoices, and raise an alarm for red ones that are stuck."""
    reds = handing_over.compare_all(wiring.db, lane=wiring.lane, at=wiring.clock.now(), ids=wiring.ids)
    with wiring.db.connect() as tx:
        stuck = handing_over.stuck(tx, lane=wiring.lane)
    if stuck:
        LOG.critical("%d red invoices were refused to the last and wait for a person: tongting invoice list --state stuck", stuck)
    return reds


def forget_emails(wiring: Wiring) -> int:
    """Erase e-mail addresses of invoices that were delivered long enough ago. Returns how many."""
    before = wiring.clock.now() - timedelta(days=wiring.settings.invoice_email_days)
    with wiring.db.begin() as tx:
        return invoices.forget_emails(tx, lane=wiring.lane, before=before)


def erase_report_words(wiring: Wiring, *, stop: Event | None = None) -> int:
    """Erase what drivers wrote about codes whose cases were closed longer ago than the rule keeps it. Returns of how many."""
    erased = words_keeping.erase(wiring.db, at=wiring.clock.now, say=LOG.info, stop=stop)
    if erased:
        LOG.info("the words of %d reports of codes are erased", erased)
    with wiring.db.connect() as tx:
        waiting = words_keeping.left_open(tx, at=wiring.clock.now())
    if waiting:
        LOG.warning("%d reports of codes are open for longer than words are kept: tongting rollout cases", waiting)
    return erased


def renew_mandates(wiring: Wiring, *, threads: int = ASKING_THREADS) -> renewing.Renewed:
    """Ask the channels again about drivers' mandates that nobody confirmed for long, or whose deductions failed."""
    confirmed_for = timedelta(days=wiring.settings.mandate_ask_days)
    ran = renewing.renew(wiring.till(), confirmed_for=confirmed_for, limit=MANDATES_MAX, threads=threads)
    if ran.asked or ran.ended:
        LOG.info("%d mandates asked about, %d answers proved nothing, %d are open no more", ran.asked, ran.unproven, ran.ended)
    return ran


def forget_signers(wiring: Wiring) -> int:
    """Forget who signed mandates that ended longer ago than the law has it kept. Returns how many."""
    forgotten = renewing.forget_payers(wiring.till())
    if forgotten:
        LOG.info("who signed %d mandates is forgotten: their keeping is over", forgotten)
    return forgotten


def remind_of_requests(wiring: Wiring) -> int:
    """Tell lots once more of drivers' refund requests, and log those that are late. Returns how many were told."""
    at, told = wiring.clock.now(), 0
    while True:
        with wiring.db.begin() as tx:
            some = requests.remind(tx, lane=wiring.lane, at=at, ids=wiring.ids)
        told += some
        if not some:
            break
    with wiring.db.connect() as tx:
        late = requests.waiting(tx, lane=wiring.lane, due_before=at)
    if late:
        LOG.warning("%d refund requests of drivers are late, the oldest at lot %s", len(late), late[0].lot_code)
    return told


def count_visits(wiring: Wiring) -> int:
    """Count the payments of the days that are over and not counted yet, and judge the last one. Returns how many days."""
    days = visits.count_days(wiring.db, at=wiring.clock.now, say=LOG.info)
    with wiring.db.begin() as tx:
        drops.judge_days(tx, at=wiring.clock.now())
    return days


def count_hours(wiring: Wiring) -> int:
    """Count the payments of the hours that are over and not counted yet, and judge the last ones. Returns how many hours."""
    hours = visits.count_hours(wiring.db, at=wiring.clock.now)
    with wiring.db.begin() as tx:
        judged = drops.judge_hours(tx, at=wiring.clock.now())
    if judged is not None and judged.is_city:
        LOG.critical(
            "scans or payments of %d of %d lots dropped before %s: this is the city, not codes; look at the pages and the calendar",
            judged.low, judged.judged, judged.until.isoformat(),
        )  # fmt: skip
    return hours


def prepare_months(wiring: Wiring) -> None:
    """Create the monthly partitions ahead."""
    with wiring.db.begin() as tx:
        if made := ensure_months(tx, today=business_date(wiring.clock.now())):
            LOG.info("%d monthly partitions made ahead", made)


def reconcile_yesterday(wiring: Wiring) -> None:
    """Compare yesterday's bill of each channel with the book, unless that is done; the channels write their bills from 09:00 on.

    Of several workers one does it. A bill that cannot be compared is one entry in the log and does not keep the next one waiting.
    """
    at = wiring.clock.now()
    bill_on = business_date(at) - timedelta(days=1)
    for name in wiring.channels.names():
        line = wiring.line(name)
        channel = line.connected.channel
        with wiring.db.connect() as tx:
            waiting = daily.waiting(tx, channel=channel, bill_on=bill_on)
        for account in waiting:
            with wiring.db.begin() as tx:
                is_ours = daily.take_turn(tx, channel=channel, account=account, bill_on=bill_on, at=at, until=at + RECONCILE_TURN)
            if is_ours:
                _guarded(wiring, line, bill_on, account)


def _guarded(wiring: Wiring, line: Line, bill_on: date, account: MerchantAccount | None) -> None:
    try:
        _reconcile(wiring, line, bill_on, account)
    except Exception:
        LOG.exception("the bill of %s for %s cannot be compared", _whose(line, account), bill_on)


def _whose(line: Line, account: MerchantAccount | None) -> str:
    return line.connected.channel.name + ("" if account is None else f" {account.merchant_no}")


def _reconcile(wiring: Wiring, line: Line, bill_on: date, account: MerchantAccount | None) -> None:
    day = daily.reconcile(wiring.db, lane=wiring.lane, line=line, bill_on=bill_on, account=account)
    whose = _whose(line, account)
    if day.run is None:
        LOG.warning("the bill of %s for %s is %s: %s", whose, bill_on, day.bill.outcome, day.bill.reason)
    else:
        counted = (day.run.matched, day.run.differences, day.asked)
        LOG.info("the bill of %s for %s: %d matched, %d differences, %d asked for", whose, bill_on, *counted)


def check(wiring: Wiring) -> None:
    """Run all invariants and raise an alarm for each that is broken."""
    with wiring.db.connect() as tx:
        for violation in violations(tx):
            LOG.critical("invariant %s is broken: %s", violation.invariant, violation.detail)


def check_keys(wiring: Wiring) -> None:
    """Say which key files will soon expire or cannot be used: noted 30 days ahead, urgent 10, an alarm 3."""
    levels = {"noted": logging.INFO, "urgent": logging.WARNING, "wrong": logging.CRITICAL}
    for one in findings(wiring.settings, at=wiring.clock.now()):
        if one.level in levels:
            LOG.log(levels[one.level], "key file %s: %s", one.file, one.words)


def _logged(job: Callable[..., object], wiring: Wiring, **given: object) -> Callable[[], None]:
    """Wrap a job so that its failure is one line in the log and the next run comes as planned."""

    def run() -> None:
        try:
            job(wiring, **given)
        except Exception:
            LOG.exception("job %s failed", job.__name__)

    return run
