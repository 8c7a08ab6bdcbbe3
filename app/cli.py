"""The command ``tongting``.

Knows the commands, their words and exit codes; must not know how things are done. Called from the shell.

Exit codes: 0 done, 1 something is wrong in the books, 2 wrong use, 3 the product cannot be run as things are.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from app import run as running
from app.checks import violations
from app.database import DatabaseError
from app.embedded import EmbeddedServerError
from app.greeting import greeting
from app.key_check import findings
from app.wiring import Wiring, build
from config.settings import Settings, SettingsError, load
from ledger import extracts
from ledger.errors import Refused
from ledger.seal import accept

DONE: Final = 0
WRONG: Final = 1
CANNOT_RUN: Final = 3

_DESCRIPTION: Final = "Tongting 通停: payment and settlement ledger engine of a city's one parking pay code."
_EPILOG: Final = "Settings: config/default.toml explains each; TONGTING_CONFIG names a file, TONGTING_<NAME> changes one."


class Desk(Protocol):
    """A module that enters, lists and decides things for a person."""

    def arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, wiring: Wiring, given: argparse.Namespace) -> str: ...


_DESKS: Final[tuple[tuple[str, str, str], ...]] = (
    ("route", "routes", "list, add or end an operator's merchant account at a channel"),
    ("code", "codes", "issue, print, post, move, retire, replace or report pay codes on walls; codes for screens"),
    ("lot", "lots", "what lots tell and hide, tills and takings, and how channels number lots"),
    ("debts", "debts", "list, dispute, let off, write off and dun debts; make debt files"),
    ("leave", "leaving", "list or enter rules of leaving first and of deducting debts"),
    ("mandate", "mandates", "list or enter the words that drivers agree to for a mandate; count agreements"),
    ("webhook", "webhooks", "list, add, enable, replay or end webhooks of lots and operators"),
    ("plate", "plates", "let plates change hands or be forgotten, and list who looked them up"),
    ("cards", "cards", "list packages of card charges, or pack anew what was rejected"),
    ("tariff", "tariffs", "enter, assign and list tariffs and passes, or price a stay"),
    ("invoice", "invoices", "which invoice or fiscal receipt payers get of which lots, and handing requests over"),
    ("rollout", "rollout", "the way to one code: rules, who is where, old codes, and codes reported as wrong"),
    ("incentive", "incentive", "parties, rules, settlements and reports of recovered debts"),
    ("discount", "discounts", "enter and list offers that shops and others bear, and issue coupons"),
    ("split", "splits", "rules by which charges are cut for several payees, and what bearers of discounts owe"),
)
"""Command, module in ``app.commands`` and words. A process loads what its own command needs: it starts in half the time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; expected troubles are one sentence on stderr, never a traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    given = _parser(words).parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and one of them holds a secret
    for quiet in ("apscheduler", "alembic"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    command: Callable[[Settings, argparse.Namespace], int] = given.command
    umask = os.umask(0o077)  # data, logs and keys are the owner's alone
    try:
        return command(load(), given)
    except (SettingsError, EmbeddedServerError, DatabaseError, running.RunError) as trouble:
        print(f"tongting: {trouble}", file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return 130
    finally:
        os.umask(umask)


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of all commands; of the desks only the one that ``given`` names says what it takes."""
    parser = argparse.ArgumentParser(prog="tongting", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"tongting {version('tongting')}")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add(commands, "run", _run, "run everything here: database, web, worker and the channel stand-in, with a demo city")
    _add(commands, "web", _web, "serve pages and API (the database must be running)")
    _add(commands, "callbacks", _callbacks, "take the channels' notices; several may share the port (the database must be running)")
    _add(commands, "worker", _worker, "run the sealer and the timed jobs (the database must be running)")
    _add(commands, "etc-line", _etc_line, "hold the line to the network centre, where it is not held by the worker")
    _add(commands, "sandbox", _sandbox, "serve the channels' stand-ins")
    _add(commands, "migrate", _migrate, "bring keys and database to what this release needs")
    _add(commands, "verify", _verify, "check every invariant and recompute the tree from the entries")
    _add(commands, "seal", _seal, "seal what has been committed, once")
    simulated = _add(commands, "day", _day, "live through simulated city days and prove their books at the end")
    simulated.add_argument("--seed", type=int, default=1, help="the same seed gives the same books (default: 1)")
    simulated.add_argument("--days", type=_positive, default=1, help="days one after another; with several cars leave first")
    simulated.add_argument("--payments", type=_positive, default=2000, help="how many times money is taken (default: 2000)")
    simulated.add_argument("--out", type=Path, default=Path("build/day"), help="directory for its files (default: build/day)")
    looked_at = _add(commands, "keys", _keys, "look at the key files and say in words what is wrong, or will soon be")
    looked_at.add_argument("action", choices=["check"], help="check: read every file; exit code 1 when one is wrong")
    for name, module, words in _DESKS:
        entered = _add(commands, name, partial(_answered, module), words)
        if name in given:
            _desk(module).arguments(entered)
    checkpoint = _add(commands, "checkpoint", _checkpoint, "print the last signed checkpoint and the key that verifies it")
    checkpoint.add_argument("--accept", action="store_true", help="take the database's last checkpoint as the last one signed")
    return parser


def _desk(module: str) -> Desk:
    return import_module(f"app.commands.{module}")


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[Settings, argparse.Namespace], int],
    words: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
    parser.set_defaults(command=command)
    return parser


def _run(settings: Settings, _given: argparse.Namespace) -> int:
    stop = running.stop_on_signals()
    known = settings.home.exists()
    print("Starting 启动中 ..." if known else f"First start: setting up {settings.home} 首次启动 ...", flush=True)
    with running.served_database(settings) as server:
        running.prepare_home(settings)
        with _wired(settings) as wiring:
            running.fill_demo(wiring)
            with running.running(settings) as children:
                running.name_merchants(wiring)
                print(greeting(wiring), flush=True)
                running.watch(children, server, stop)
                print("Stopping 正在停止 ...", flush=True)
    return DONE


def _web(settings: Settings, _given: argparse.Namespace) -> int:
    from app.serve import serve

    serve(settings)
    return DONE


def _callbacks(settings: Settings, _given: argparse.Namespace) -> int:
    from app.callbacks import serve as callbacks

    with _wired(settings) as wiring:
        callbacks.serve(wiring)
    return DONE


def _worker(settings: Settings, _given: argparse.Namespace) -> int:
    from app.collector import settle
    from app.worker import work

    stop = running.stop_on_signals()
    with _wired(settings) as wiring:
        settle()
        work(wiring, stop=stop)
    return DONE


def _etc_line(settings: Settings, _given: argparse.Namespace) -> int:
    if settings.etc_dialect != "jiangsu" or settings.simulated:
        raise running.RunError("there is no line to hold (setting 'etc_dialect' is not 'jiangsu', or this is a simulation)")
    from app.etc_line import serve as etc_line

    stop = running.stop_on_signals()
    with _wired(settings) as wiring:
        if wiring.uplink() is None:
            raise running.RunError("there is no line to hold: this installation has no keys of ETC")
        with etc_line.running(wiring):
            stop.wait()
    return DONE


def _sandbox(settings: Settings, _given: argparse.Namespace) -> int:
    if not settings.sandbox:
        raise running.RunError("the stand-in is switched off (setting 'sandbox')")
    # Imported here alone: a process that handles real money never loads the stand-in.
    from app.stand_in import other_stand_ins, sandbox_config
    from gateways.sandbox import server

    config = sandbox_config(settings)
    others = other_stand_ins(settings, config)
    server.serve(config, host=settings.sandbox_host, port=settings.sandbox_port, others=others)
    return DONE


def _migrate(settings: Settings, _given: argparse.Namespace) -> int:
    with running.available_database(settings) as made:
        pass
    print(f"The database is ready; keys made: {', '.join(made) or 'none'}.")
    return DONE


def _verify(settings: Settings, _given: argparse.Namespace) -> int:
    with running.available_database(settings), _wired(settings) as wiring, wiring.db.connect() as tx:
        found = violations(tx)
        last = extracts.seal(tx, lane=wiring.lane)
    for violation in found:
        print(f"{violation.invariant}  {violation.detail}")
    print(f"{last.tree_size if last else 0} sealed entries; {f'{len(found)} violations' if found else 'every invariant holds'}.")
    return WRONG if found else DONE


def _seal(settings: Settings, _given: argparse.Namespace) -> int:
    from app.worker import seal_all

    with running.available_database(settings), _wired(settings) as wiring:
        try:
            entries = seal_all(wiring)
        except Refused as refused:
            print(f"tongting: {refused}", file=sys.stderr)
            return WRONG
    if entries is None:
        print("Another sealer holds the lane; it seals what is committed.")
        return DONE
    print(f"{entries} entries sealed.")
    return DONE


def _day(settings: Settings, given: argparse.Namespace) -> int:
    from app.day.command import day  # it drives the stand-in, which no other command may load

    summary = day(settings, seed=given.seed, payments=given.payments, out=given.out, days=given.days)
    for sentence in summary.wrong():
        print(sentence, file=sys.stderr)
    return WRONG if summary.wrong() else DONE


def _keys(settings: Settings, _given: argparse.Namespace) -> int:
    at = settings.simulated_start_at if settings.simulated else datetime.now(UTC)
    said = findings(settings, at=at)
    for one in said:
        print(f"{one.level:<7} {one.file:<60} {one.words}")
    return WRONG if any(one.level == "wrong" for one in said) else DONE


def _answered(module: str, settings: Settings, given: argparse.Namespace) -> int:
    """Print what a desk has to say; a refusal is one sentence on stderr."""
    with running.available_database(settings), _wired(settings) as wiring:
        try:
            print(_desk(module).run(wiring, given))
        except Refused as refused:
            print(f"tongting: {refused}", file=sys.stderr)
            return WRONG
    return DONE


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _checkpoint(settings: Settings, given: argparse.Namespace) -> int:
    with running.available_database(settings), _wired(settings) as wiring, wiring.db.connect() as tx:
        try:
            if given.accept:
                accept(tx, lane=wiring.lane, witness=wiring.witness())
            last = extracts.seal(tx, lane=wiring.lane)
        except Refused as refused:
            print(f"tongting: {refused}", file=sys.stderr)
            return WRONG
        if last is None:
            print("Nothing has been sealed yet.")
            return DONE
        print(last.checkpoint, end="")
        print(f"verifier key: {wiring.signer().verifier_key()}")
    return DONE


@contextmanager
def _wired(settings: Settings) -> Iterator[Wiring]:
    wiring = build(settings)
    try:
        yield wiring
    finally:
        wiring.close()


if __name__ == "__main__":
    sys.exit(main())
