"""Published plans of where the one code counts from when on, as data files: what ``tongting rollout enter`` enters."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
