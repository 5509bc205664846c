"""Where pytest itself breaks off: what it said is kept for the end of the run, where people look (`tests/run.sh`).

A worker that breaks tells the main process, which says so in the middle of a long log and breaks off itself.
"""

import os
from pathlib import Path

KEPT = Path(__file__).resolve().parents[1] / ".pytest_cache" / "broken_off"
LINES = 12


def pytest_internalerror(excrepr: object) -> None:
    """Add the end of what is said to the file that `tests/run.sh` prints."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None and KEPT.exists():
        return  # it repeats what the worker said
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a", encoding="utf-8", errors="backslashreplace") as file:
        print(worker or "main", *str(excrepr).splitlines()[-LINES:], sep="\n  ", file=file)
