"""`slopeward doctor`: find problems of the installation, each with a remedy."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import typer

from monitor.app.checks.broker import RunningBroker
from monitor.app.checks.database import CurrentDatabase
from monitor.app.checks.installation import Installation
from monitor.app.checks.machine import Machine
from monitor.app.checks.plugins import PluginStatus
from monitor.app.checks.running import ProcessHeartbeats
from monitor.app.checks.site_files import EnvironmentSettings, SiteFolder
from monitor.app.checks.table import run_checks
from monitor.app.core_lock import is_core_lock_held
from monitor.cli.session import Commands, print_result_in_order, read_service
from monitor.errors import SlopewardError
from monitor.settings.service import ServiceConfig
from monitor.storage.check import BAD, OK, WARN
from monitor.text.instants import format_about

app = Commands()
# The age of a stored result that is older is printed.
OLD_RESULT_S: Final = 2 * 3600.0


class Finding(NamedTuple):
    """A line of `slopeward doctor`."""

    subject: str
    state: str  # ok, warn or bad
    text: str
    remedy: str


@app.command(epilog="Example: slopeward doctor --json")
def doctor() -> None:
    """Check files, database, broker, queue, clock, disk, processes and channels, and suggest remedies.

    Exit 1 if a finding is bad.
    """
    service = read_service()
    worst = OK
    printed: set[str] = set()
    for name, check_part in PARTS.items():
        for finding in _catch_errors(name, check_part, service):
            line = f"{finding.subject}: {finding.text}"
            if line in printed:
                continue
            printed.add(line)
            worst = max(worst, finding.state, key=(OK, WARN, BAD).index)
            remedy = f"\n     -> {finding.remedy}" if finding.remedy and finding.state != OK else ""
            print_result_in_order(
                {
                    "subject": finding.subject,
                    "state": finding.state,
                    "found": finding.text,
                    "remedy": finding.remedy,
                },
                f"{finding.state:4} {line}{remedy}",
            )
    if worst == BAD:
        raise typer.Exit(1)


def _catch_errors(
    name: str, check_part: Callable[[ServiceConfig], Iterator[Finding]], service: ServiceConfig
) -> Iterator[Finding]:
    """Yield the findings on a part of the installation. A part that cannot be checked is a bad finding."""
    try:
        yield from check_part(service)
    except (SlopewardError, OSError) as error:
        remedy = "correct what the line states; `slopeward check --connect` repeats the check"
        yield Finding(name, BAD, " ".join(str(error).split()), remedy)


def _run_checks(*subjects: object) -> Iterator[Finding]:
    for subject in subjects:
        for result in run_checks(subject):
            if result.text:
                yield Finding(result.check.area, result.level, result.line, result.todo)


def _check_database(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.storage.engine import Database
    from monitor.storage.migrate import require_current
    from monitor.storage.service_state import load_checks, load_heartbeats

    now = datetime.now(UTC)
    with Database(service.database.url) as db:
        require_current(db)
        with db.read() as c:
            stored_checks = load_checks(c)
            heartbeats = load_heartbeats(c)
        processes = ProcessHeartbeats(heartbeats, now, is_core_lock_held(db))
        yield from _run_checks(CurrentDatabase(service, db, now), processes)
    for name, stored in stored_checks.items():
        # Clock and disk are checked by this command itself.
        if name.partition(".")[0] not in {"clock", "disk"}:
            age_s = (now - stored.checked_at).total_seconds()
            old = f" (checked {format_about(age_s)} ago)" if age_s > OLD_RESULT_S else ""
            yield Finding(name, stored.check.state, f"{stored.check.found}{old}", stored.check.remedy)


PARTS: Final[dict[str, Callable[[ServiceConfig], Iterator[Finding]]]] = {
    "sites": lambda service: _run_checks(files := SiteFolder.read(service), EnvironmentSettings(files)),
    "database": _check_database,
    "broker": lambda service: _run_checks(broker := RunningBroker(service), broker.facts),
    "machine": lambda service: _run_checks(Machine(service)),
    "installation": lambda service: _run_checks(Installation(service), PluginStatus.read()),
}
