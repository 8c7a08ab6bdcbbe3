"""Draws bundles in several processes and gives them back in their order.

Knows processes and pipes; must not know what is drawn. Called by ``sheets``. A process ends when its pipe does: when the run that
started it is killed, it goes, too.
"""

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice

from app.printing import drawing
from app.printing.drawing import Bundle, Drawn
from ledger.errors import Refused


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def drawn(bundles: Iterable[Bundle], *, processes: int) -> Generator[list[bytes], None, None]:
    """Yield the files of each bundle, in the order of the bundles. No more is held than a few bundles for each process.

    A single bundle, or all of them when one process is asked for, is drawn in this process.

    Raises:
        Refused: ``font_lacks_letters``; ``printing_stopped``, a process ended by itself.
    """
    coming = iter(bundles)
    first = list(islice(coming, 1 if processes < 2 else 2))
    if len(first) < 2:
        yield from map(drawing.drawn, chain(first, coming))
        return
    pool = _Pool()
    try:
        with ThreadPoolExecutor(processes) as threads:
            yield from _in_order(chain(first, coming), pool, threads, ahead=2 * processes)
    finally:
        pool.end()


def _in_order(
    bundles: Iterable[Bundle], pool: "_Pool", threads: ThreadPoolExecutor, *, ahead: int
) -> Generator[list[bytes], None, None]:
    waiting: deque[Future[list[bytes]]] = deque()
    try:
        for bundle in bundles:
            waiting.append(threads.submit(pool.ask, bundle))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for one in waiting:
            one.cancel()


class _Pool:
    """A process for each thread that asks."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []

    def ask(self, bundle: Bundle) -> list[bytes]:
        if not bundle.files:
            return []
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            drawing.send(process.stdin, bundle)
            done = drawing.receive(process.stdout, Drawn)
        except BrokenPipeError:
            done = None
        if done is None:
            raise Refused("a process that draws codes has ended; print again: what is whole is kept", code="printing_stopped")
        if done.refused is not None:
            said, code = done.refused
            raise Refused(said, code=code)
        return done.files

    def _process(self) -> subprocess.Popen[bytes]:
        if not hasattr(self._own, "process"):
            command = [sys.executable, "-m", "app.printing.drawing"]
            self._own.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._processes.append(self._own.process)
        process: subprocess.Popen[bytes] = self._own.process
        return process

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            try:
                process.communicate()
            except BrokenPipeError:  # what it was to be told is of no use any more
                process.wait()
