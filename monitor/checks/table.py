"""The table of checks: every entry of the files of this room."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from monitor.checks import broker, database, decisions, installation, live, machine, running, settings, site_files
from monitor.checks.check import Check, CheckFinding
from monitor.store.service_state import CheckRow

AREAS: Final = (site_files, settings, installation, database, machine, broker, running, live, decisions)
CHECKS: list[Check] = [one for area in AREAS for one in area.CHECKS]


def run_checks(what: object) -> Iterator[CheckFinding]:
    """What every check finds that looks at this; what is in order comes as well."""
    for one in CHECKS:
        if isinstance(what, one.looks_at):
            yield from one.run(what)


def run_alarm_checks(what: object) -> Iterator[CheckFinding]:
    """What those checks find that are an alarm by themselves."""
    for one in CHECKS:
        if one.alarm and isinstance(what, one.looks_at):
            yield from one.run(what)


def read_rows(rows: Iterable[CheckRow]) -> Iterator[CheckFinding]:
    """What was stored, as it was found."""
    for row in rows:
        area = row.name.partition(".")[0]
        for one in CHECKS:
            if one.id in {row.name, f"{area}.*"}:
                subject = "" if one.id == row.name else row.name.removeprefix(f"{area}.")
                yield CheckFinding(one, subject, row.state, row.found, row.remedy, (row.value, row.unit))


def extract(fileobj: object, keywords: object, comment_tags: object, options: object) -> Iterator[tuple[Any, ...]]:
    """The texts of all checks for babel, by the ids of their templates."""
    del fileobj, keywords, comment_tags, options
    yield from ((1, "pgettext", (one.id, one.english), []) for check in CHECKS for one in check.list_templates())
