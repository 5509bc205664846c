"""`slopeward --help` alone leads a new user to the command of each everyday task."""

import re
import shlex

import pytest

from monitor.cli.commands import find_full_name, load_all_commands
from monitor.cli.main import run_command
from tests.fixtures.waiting import REPOSITORY
from tests.tables import tabulated

# Each task with words that a person looks for in the list, and the command.
TASKS = {
    "create a site": (("create", "site"), "init north-bench"),
    "check the site": (("check", "site file"), "check"),
    "start the service": (("start", "service"), "run"),
    "import a CSV file": (("import", "csv"), "import readings.csv"),
    "see the present level": (("show", "present level"), "status"),
    "see the open alerts": (("list", "open alerts"), "alerts list"),
    "acknowledge an alert": (("acknowledge", "alert"), 'ack 12 --reason "geologist on the way"'),
    "see tomorrow's forecast": (("show", "forecast"), "forecast show north-bench --horizon 1d"),
    "test a notification channel": (("test", "notification channel"), "notify channels test"),
    "see what happened last night": (("what happened",), "report shift north-bench --hours 12 --out night.html"),
    "evaluate a past failure": (("past", "failure"), "backtest --site north-bench"),
    "back up the database": (("back up", "database"), "db backup"),
}


@pytest.fixture
def overview(capsys, monkeypatch):
    """Return the lines of `slopeward --help` by command."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ")}


def find_command_words(command):
    """Return the words of a command line that name the command."""
    words = shlex.split(command)
    names = [find_full_name(" ".join(words[:count])) for count in range(1, len(words) + 1)]
    return next(words[: index + 1] for index, name in enumerate(names) if name in load_all_commands())


@tabulated("task", TASKS)
def test_one_line_of_the_help_contains_the_words_and_command_of_a_task(task, overview):
    searched, command = TASKS[task]
    matches = [name for name, line in overview.items() if all(word in f"{name} {line}".lower() for word in searched)]
    words = find_command_words(command)
    assert matches == [words[0]]
    if len(words) > 1:
        assert f"({' '.join(words)})" in overview[words[0]]


@tabulated("task", TASKS)
def test_reference_contains_the_command_of_a_task(task):
    page = (REPOSITORY / "docs/reference/cli.md").read_text(encoding="utf-8")
    row = next((line for line in page.splitlines() if line.lower().startswith(f"| {task.lower()} |")), "")
    assert re.search(rf"`slopeward {re.escape(TASKS[task][1])}`", row), row
