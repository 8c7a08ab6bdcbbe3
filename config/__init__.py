"""Settings and the chart of accounts: read by the application and the migrations, by nobody else."""

from pathlib import Path
from typing import Final

CHART_FILE: Final = Path(__file__).parent / "chart_of_accounts.toml"
