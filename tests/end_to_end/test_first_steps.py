"""What a newcomer types first works as it is printed: the README's commands and the tutorial, up to the forecast."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.store.database.engine import Database
from tests.conftest import REPOSITORY
from tests.data.running import run_line

# What needs a person at the keyboard, a service that stays, a network, or a client that may not be there.
ELSEWHERE = (
    "slopeward people users add",
    "slopeward run",
    "mosquitto_pub",
    "sqlite3",
    "locks/install.sh",
    "python3 -m venv",
)


def commands(document: str, heading: str, until: str = "\n## ") -> Iterator[str]:
    """The command lines of a part of a document, as printed."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    part = text.split(heading, 1)[1].split(until, 1)[0]
    for block in re.findall(r"^```\n(.*?)^```", part, re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if line.strip())


@pytest.mark.slow
def test_the_tutorial_leads_to_a_forecast(tmp_path: Path) -> None:
    printed = [line for n in range(1, 6) for line in commands("docs/tutorial/first-slope.md", f"\n## {n}. ")]
    lines = [line for line in printed if not line.startswith((*ELSEWHERE, "mkdir watch"))]
    assert len(lines) >= 8
    said = {line: run_line(tmp_path, line) for line in lines}
    assert said["slopeward evaluate --site first-slope --dry-run"].startswith("orange")
    again = run_line(tmp_path, "slopeward ingest readings.csv --site first-slope")
    known = re.search(r"`(0 stored, \d+ known before)`", (REPOSITORY / "docs/tutorial/first-slope.md").read_text())
    assert known is not None
    assert known[1] in again
    db = Database(f"sqlite:///{tmp_path}/slopeward.db")
    try:
        with db.read() as c:
            shown = c.exec_driver_sql("SELECT count(*), min(horizon_s) FROM latest_forecast WHERE shown").one()
            withheld = c.exec_driver_sql("SELECT DISTINCT reason FROM forecast_withheld").scalars().all()
    finally:
        db.close()
    assert shown[0] >= 4
    assert shown[1] == 86400.0
    assert not [reason for reason in withheld if "stale" in reason]


def test_the_commands_of_the_readme_work_as_printed(tmp_path: Path) -> None:
    printed = list(commands("README.md", "## Watch your own slope"))
    assert printed.index("source .venv/bin/activate               # so that the shell finds slopeward") < next(
        k for k, line in enumerate(printed) if line.startswith(("slopeward", "locks"))
    )
    lines = [line for line in printed if line.startswith("slopeward") and not line.startswith(ELSEWHERE)]
    assert len(lines) >= 3
    for line in lines:
        run_line(tmp_path, line)
