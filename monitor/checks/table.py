"""The table of checks: every entry of the files of this room."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from monitor.checks import broker, database, decisions, installation, live, machine, running, settings, site_files
from monitor.checks.check import Check, CheckFinding
from monitor.domain.extension import is_ours, load_declared, log_left_out
from monitor.store.service_state import CheckRow

AREAS: Final = (site_files, settings, installation, database, machine, broker, running, live, decisions)
CHECKS: list[Check] = [one for area in AREAS for one in area.CHECKS]
_TAKEN: Final = {one.id for one in CHECKS}
CHECKS += [one for checks in load_declared("checks") for one in checks if one.id not in _TAKEN]


def run_checks(what: object) -> Iterator[CheckFinding]:
    """What every check finds that looks at this; what is in order comes as well."""
    for one in CHECKS:
        if isinstance(what, one.looks_at):
            yield from _run(one, what)


def run_alarm_checks(what: object) -> Iterator[CheckFinding]:
    """What those checks find that are an alarm by themselves."""
    for one in CHECKS:
        if one.alarm and isinstance(what, one.looks_at):
            yield from _run(one, what)


def _run(one: Check, what: object) -> list[CheckFinding]:
    """What a check finds; one of others that breaks finds nothing, and the log says so."""
    try:
        return list(one.run(what))
    except Exception as error:
        if one.id in _TAKEN or is_ours(one.find.__module__):
            raise
        log_left_out(f"what the check {one.id} finds", error)
        return []


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
