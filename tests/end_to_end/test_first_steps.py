"""The first commands that a newcomer types work as printed. The tutorial is tested in tests/web/test_simulated.py."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.data.running import run_line
from tests.fixtures.waiting import REPOSITORY

# Commands that need a person at the keyboard, a running service, a network or a client that may not be installed.
EXCLUDED_COMMANDS = (
    "slopeward people users add",
    "slopeward run",
    "mosquitto_pub",
    "sqlite3",
    "locks/install.sh",
    "python3 -m venv",
)


def list_printed_commands(document: str, heading: str, until: str = "\n## ") -> Iterator[str]:
    """Yield the command lines of a section of a document as printed."""
    part = (REPOSITORY / document).read_text(encoding="utf-8").split(heading, 1)[1].split(until, 1)[0]
    for block in re.findall(r"^```\n(.*?)^```", part, re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if line.strip())


def test_commands_of_the_readme_work_as_printed(tmp_path: Path) -> None:
    printed = list(list_printed_commands("README.md", "## Watch your own slope"))
    activate = next(index for index, line in enumerate(printed) if line.startswith("source .venv/bin/activate"))
    first_command = next(index for index, line in enumerate(printed) if line.startswith(("slopeward", "locks")))
    assert activate < first_command
    lines = [line for line in printed if line.startswith("slopeward") and not line.startswith(EXCLUDED_COMMANDS)]
    assert len(lines) >= 3
    for line in lines:
        run_line(tmp_path, line)
