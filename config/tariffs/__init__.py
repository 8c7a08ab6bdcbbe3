"""Published tariffs as data files: what ``tongting tariff add`` enters. Facts with their documents, never settings."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
