"""`slopeward doctor`: find problems of the installation, each with a remedy."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import typer

from monitor.app.checks.broker import RunningBroker
from monitor.app.checks.database import CurrentDatabase
from monitor.app.checks.installation import Installation
from monitor.app.checks.machine import Machine
from monitor.app.checks.plugins import PluginStatus
from monitor.app.checks.running import ProcessHeartbeats
from monitor.app.checks.site_files import EnvironmentSettings, SiteFolder
from monitor.app.checks.table import run_checks
from monitor.cli.session import Commands, print_result_in_order, read_service
from monitor.errors import SlopewardError
from monitor.settings.service import ServiceConfig
from monitor.storage.check import BAD, OK, WARN
from monitor.text.instants import format_about

app = Commands()
# Subject, state (ok, warn or bad), finding, remedy
Line = tuple[str, str, str, str]
OLD_S: Final = 2 * 3600.0  # the age of an older result is printed


@app.command(epilog="Example: slopeward doctor --json")
def doctor() -> None:
    """Check files, database, broker, queue, clock, disk, processes and channels, and suggest remedies.

    Exit 1 if a finding is bad.
    """
    service = read_service()
    worst, printed = OK, set[str]()
    for name, see in SEEN.items():
        for subject, state, found, remedy in _guard(name, see, service):
            if f"{subject}: {found}" in printed:
                continue
            printed.add(f"{subject}: {found}")
            worst = max(worst, state, key=(OK, WARN, BAD).index)
            print_result_in_order(
                {"subject": subject, "state": state, "found": found, "remedy": remedy},
                f"{state:4} {subject}: {found}" + (f"\n     -> {remedy}" if remedy and state != OK else ""),
            )
    if worst == BAD:
        raise typer.Exit(1)


def _guard(name: str, see: Callable[[ServiceConfig], Iterator[Line]], service: ServiceConfig) -> Iterator[Line]:
    try:
        yield from see(service)
    except (SlopewardError, OSError) as error:
        yield name, BAD, " ".join(str(error).split()), "see the line; `slopeward check --connect` tries it again"


def _list_lines(*seen: object) -> Iterator[Line]:
    for what in seen:
        yield from ((one.check.area, one.level, one.line, one.todo) for one in run_checks(what) if one.text)


def _see_database(service: ServiceConfig) -> Iterator[Line]:
    from monitor.storage.engine import Database
    from monitor.storage.migrate import require_current
    from monitor.storage.service_state import load_checks, load_heartbeats

    now = datetime.now(UTC)
    with Database(service.database.url) as db:
        require_current(db)
        with db.read() as c:
            known, stamps = load_checks(c), load_heartbeats(c)
        yield from _list_lines(CurrentDatabase(service, db, now), ProcessHeartbeats(stamps, now))
    for name, one in known.items():
        # Clock and disk are checked by this command itself.
        if name.partition(".")[0] not in {"clock", "disk"}:
            age_s = (now - one.checked_at).total_seconds()
            old = f" (checked {format_about(age_s)} ago)" if age_s > OLD_S else ""
            yield name, one.check.state, f"{one.check.found}{old}", one.check.remedy


SEEN: Final[dict[str, Callable[[ServiceConfig], Iterator[Line]]]] = {
    "sites": lambda service: _list_lines(files := SiteFolder.read(service), EnvironmentSettings(files)),
    "database": _see_database,
    "broker": lambda service: _list_lines(broker := RunningBroker(service), broker.facts),
    "machine": lambda service: _list_lines(Machine(service)),
    "installation": lambda service: _list_lines(Installation(service), PluginStatus.read()),
}
