"""Who asks a lot about which plate, in this process: of several at once one asks, and the others take its answer.

Knows threads and moments; must not know quotes, HTTP or the database. Called by ``asking``.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

AGAIN_AFTER_SECONDS: Final = 10.0
"""A lot is asked about a plate no more often; meanwhile its last answer stands."""
IN_FLIGHT_MAX: Final = 16
"""Questions to one lot at a time, in one process: a slow lot must not take all threads of the pages."""
REMEMBERED_MAX: Final = 20_000


class Turns:
    """Who asks about which plate, in this process: whoever comes while it is asked waits for that answer, whoever comes shortly
    after takes it. Safe in many threads. Remembers ``REMEMBERED_MAX`` plates."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: OrderedDict[tuple[int, str], _Turn] = OrderedDict()
        self._asking: Counter[int] = Counter()

    def once(self, lot_id: int, plate: str, ask: Callable[[], str | None], *, wait_seconds: float) -> str | None:
        """Return why the lot is away, or None: its answer has been taken. Calls ``ask`` unless somebody does or just did."""
        with self._lock:
            turn = self._turns.get((lot_id, plate))
            if turn is not None and (turn.ended_at is None or self._clock() - turn.ended_at < AGAIN_AFTER_SECONDS):
                mine = False
            elif self._asking[lot_id] >= IN_FLIGHT_MAX:
                return "too many questions are under way"
            else:
                mine, turn = True, _Turn()
                self._turns[lot_id, plate] = turn
                self._turns.move_to_end((lot_id, plate))
                self._asking[lot_id] += 1
                self._forget()
        if mine:
            return self._ask(lot_id, plate, turn, ask)
        return turn.away if turn.over.wait(wait_seconds) else "somebody else's question is still under way"

    def _ask(self, lot_id: int, plate: str, turn: "_Turn", ask: Callable[[], str | None]) -> str | None:
        turn.away = "the question was broken off"  # what those who wait are told should it fail
        try:
            turn.away = ask()
        except BaseException:
            with self._lock:
                self._turns.pop((lot_id, plate), None)
            raise
        finally:
            with self._lock:
                turn.ended_at = self._clock()
                self._asking[lot_id] -= 1
                if not self._asking[lot_id]:
                    del self._asking[lot_id]
            turn.over.set()
        return turn.away

    def _forget(self) -> None:
        while len(self._turns) > REMEMBERED_MAX:
            self._turns.popitem(last=False)


class _Turn:
    def __init__(self) -> None:
        self.over = threading.Event()
        self.ended_at: float | None = None
        self.away: str | None = None
