"""The page of each kind of instrument works as printed, from an empty folder to a judged level.

The test writes the files that a page shows, types the answers of its tables of questions, runs its commands, stores its
messages, and compares the output with the output that the page shows. Messages of `mosquitto_pub` are passed to the
pipeline of the service, without a broker.
"""

import io
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.cli.main import run_command
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.files import scan_sites
from monitor.storage.engine import Database
from tests.fixtures.waiting import REPOSITORY

PAGES = sorted((REPOSITORY / "docs/how-to").glob("connect-*.md"))
EXAMPLES = [page.name for page in PAGES if "\n## Example" in page.read_text(encoding="utf-8")]
# The first page lists the others. tests/docs/test_total_stations_page.py runs the example of the second one.
WITHOUT_EXAMPLE = ["connect-instruments.md", "connect-total-stations.md"]
# Commands that the test replaces: it needs no folder of its own and starts no service.
SKIPPED = ("mkdir ", "slopeward run")
PUBLISH = "mosquitto_pub "
# `$(date -u +%FT%TZ)` and `$(date -u -d '2 hours ago' '+%F %T')`: the time of a message.
TIME = re.compile(r"\$\(date -u(?: -d '(\d+) hours ago')? '?\+([^')]+)'?\)")
BLOCK = re.compile(
    r"^(?:[^\n]*\b(?P<verb>Save|Add) [^\n`]*`(?P<path>[^`\n]+)`[^\n`]*:\n\n)?```(?P<kind>\w+)\n(?P<body>.*?)^```"
    r"|^\| question \| answer \|\n\|[-|]+\n(?P<answers>(?:\|[^\n]*\n)+)",
    re.MULTILINE | re.DOTALL,
)
# Text of an output that depends on the day on which the page is read.
AGE = re.compile(r"\d+ (?:s|min|h|d) ago")


class Step(NamedTuple):
    """One command of an example, what is typed at its questions, and the lines that the page shows of its output."""

    command: str
    questions: dict[str, str]
    shown: list[str]


class Typed(io.StringIO):
    """Standard input of a terminal at which a person types prepared lines."""

    def isatty(self) -> bool:
        return True


def list_steps(text: str) -> Iterator[Step | tuple[str, Path, str]]:
    """Yield the commands of an example, and its files as verb (Save or Add), path and content."""
    step: Step | None = None
    for block in BLOCK.finditer(text):
        if block["path"]:
            if step is not None:
                yield step
                step = None
            yield block["verb"], Path(block["path"]), block["body"]
        elif block["answers"]:
            assert step is not None, block["answers"]
            for row in block["answers"].splitlines():
                question, answer = row.strip("|").split("|")
                step.questions[question.strip(" `")] = answer.strip(" `")
        elif block["kind"] == "text":
            assert step is not None, block["body"]
            step.shown.extend(block["body"].splitlines())
        elif block["kind"] == "sh":
            for line in block["body"].replace("\\\n", "").splitlines():
                if step is not None:
                    yield step
                step = Step(line, {}, [])
    if step is not None:
        yield step


def publish(command: str, at: datetime) -> None:
    """Store the message of a command of `mosquitto_pub`, which was received at an instant."""
    written = TIME.sub(lambda found: f"{at - timedelta(hours=int(found[1] or 0)):{found[2]}}", command)
    words = shlex.split(written)
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["-q"] == "1"
    sites, failures = scan_sites(Path("configs/sites"))
    assert not failures
    database = Database("sqlite:///slopeward.db")
    pipeline = Pipeline(database, {site.id: site for site in sites}, lambda: at)
    result = pipeline.store([BrokerMessage(options["-t"], options["-m"].encode(), at, "live", connection_number=1)])
    pipeline.complete()
    database.close()
    assert (result.added.stored > 0, result.rejected, result.waiting) == (True, 0, ()), command


@pytest.mark.soak
@pytest.mark.parametrize("page", EXAMPLES)
def test_a_page_works_as_printed(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs/how-to" / page).read_text(encoding="utf-8")
    received_at = datetime.now(UTC) - timedelta(minutes=2)
    for step in list_steps(text):
        if not isinstance(step, Step):
            verb, path, body = step
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8") if verb == "Add" else ""
            path.write_text(before + body, encoding="utf-8")
            continue
        if step.command.startswith(SKIPPED):
            continue
        if step.command.startswith(PUBLISH):
            received_at += timedelta(seconds=10)
            publish(step.command, received_at)
            continue
        typed = Typed("".join(f"{answer}\n" for answer in step.questions.values()))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", typed if step.questions else io.StringIO())
            status = run_command(shlex.split(step.command, comments=True)[1:])
        output = capsys.readouterr()
        assert status == 0, (step.command, output.out, output.err)
        assert typed.read() == "", step.command
        printed = AGE.sub("AGE", output.out + output.err)
        assert [q for q in step.questions if q not in printed] == [], (step.command, printed)
        assert [line for line in step.shown if AGE.sub("AGE", line).strip() not in printed] == [], printed


def test_each_page_about_a_kind_of_instrument_has_an_example() -> None:
    assert [page.name for page in PAGES if page.name not in EXAMPLES] == WITHOUT_EXAMPLE
