"""What a process that handles real money loads."""

import subprocess
import sys


def test_no_serving_process_loads_the_stand_in() -> None:
    """In a fresh interpreter, because the tests themselves load it."""
    loaded = "sorted(name for name in sys.modules if name.startswith('gateways.sandbox'))"
    code = f"import sys, app.cli, app.serve, app.callbacks.serve, app.worker, app.run; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
