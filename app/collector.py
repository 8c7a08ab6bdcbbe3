"""The garbage collector's pace in a long-running process.

Knows Python's collector only. Called once by each process when everything is built.
"""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 20_000
"""Objects made before the collector looks: a commit makes thousands that reference counting frees by itself."""


def settle() -> None:
    """Leave alone what start-up made, and look seldom: at the pace of Python's default a fifth of a busy process is collecting."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 50, 50)
