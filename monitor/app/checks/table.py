"""The table of checks, and the answer that `slopeward status`, the page and `/health` make of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from monitor.app.checks import (
    broker,
    database,
    decisions,
    installation,
    live,
    machine,
    plugins,
    running,
    settings,
    site_files,
)
from monitor.app.checks.running import ProcessHeartbeats, ReachedDatabase, SiteStatus, SiteStatuses
from monitor.plugin_isolation import note_fault
from monitor.plugins import implementations, is_built_in
from monitor.storage.check import Check, CheckFinding
from monitor.storage.service_state import CheckRow

SEEN, DEGRADED, BLIND = "seen", "degraded", "blind"
EXIT_OF: Final = {SEEN: 0, DEGRADED: 5, BLIND: 6}
Stamped = Mapping[str, tuple[datetime, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class ServiceVerdict:
    """The state with its reasons."""

    state: str
    reasons: tuple[str, ...] = field(default=())


def assess_service(
    stamps: Stamped,
    sites: Iterable[SiteStatus],
    now: datetime,
    evaluate_tick_s: float,
    declared: Iterable[str] = (),
    reached: ReachedDatabase | None = None,
) -> ServiceVerdict:
    """Judge from what is stored, so that any process (and a person with SQL) comes to the same answer.

    Blind: core is silent, no site is watched, or a site is blind or was not evaluated for ten ticks; or the database
    could not be used just now, where somebody tried (`reached`).
    Degraded: a site sees only in part or cannot reach its top level, the broker is not durable, a child restarts.
    """
    blind, degraded = _gather(
        reached,
        ProcessHeartbeats(stamps, now),
        SiteStatuses([*sites], now, evaluate_tick_s, [*declared]),
        plugins.PluginStatus.read(),
    )
    return ServiceVerdict(BLIND if blind else DEGRADED if degraded else SEEN, (*blind, *degraded))


def check_parts(stamps: Stamped, now: datetime) -> tuple[list[str], list[str]]:
    """What is wrong with the service's own parts: reasons why nobody looks, and reasons why it is not whole."""
    return _gather(ProcessHeartbeats(stamps, now), plugins.PluginStatus.read())


def _gather(*seen: object) -> tuple[list[str], list[str]]:
    """Return the reasons for a blind and for a degraded service, each once.

    A fault of a plugin may be in the stamp of the core process and in this process.
    """
    wrong = [one for what in seen for one in run_checks(what) if one.is_wrong]
    blind = dict.fromkeys(one.text for one in wrong if one.check.blinds)
    degraded = dict.fromkeys(one.text for one in wrong if one.check.degrades)
    return [*blind], [*degraded]


AREAS: Final = (site_files, settings, installation, database, machine, broker, running, live, plugins, decisions)


class _Checks(NamedTuple):
    in_order: tuple[Check, ...]  # those of the areas, then those of plugins
    third_party: Mapping[str, str]  # plugin by the id of its check


@cache
def _load_checks() -> _Checks:
    checks = {check.id: check for area in AREAS for check in area.CHECKS}
    third_party: dict[str, str] = {}
    for plugin, register in implementations("register_checks"):
        for check in register() or ():
            if check.id in checks:
                continue
            checks[check.id] = check
            if not is_built_in(plugin):
                third_party[check.id] = plugin
    return _Checks(tuple(checks.values()), third_party)


def list_checks() -> tuple[Check, ...]:
    """Return all checks: those of the service, then those of plugins whose ids are not taken."""
    return _load_checks().in_order


def run_checks(what: object) -> Iterator[CheckFinding]:
    """What every check finds that looks at this; what is in order comes as well."""
    for one in list_checks():
        if isinstance(what, one.looks_at):
            yield from _run(one, what)


def run_alarm_checks(what: object) -> Iterator[CheckFinding]:
    """What those checks find that are an alarm by themselves."""
    for one in list_checks():
        if one.alarm and isinstance(what, one.looks_at):
            yield from _run(one, what)


def _run(one: Check, what: object) -> list[CheckFinding]:
    """Return what a check finds. A check of a third-party plugin that fails finds nothing, and its fault is noted."""
    try:
        return list(one.run(what))
    except Exception as error:
        plugin = _load_checks().third_party.get(one.id)
        if plugin is None:
            raise
        note_fault(plugin, f"check {one.id}", error)
        return []


def read_rows(rows: Iterable[CheckRow]) -> Iterator[CheckFinding]:
    """What was stored, as it was found."""
    for row in rows:
        area = row.name.partition(".")[0]
        for one in list_checks():
            if one.id in {row.name, f"{area}.*"}:
                subject = "" if one.id == row.name else row.name.removeprefix(f"{area}.")
                yield CheckFinding(one, subject, row.state, row.found, row.remedy, (row.value, row.unit))


def extract(fileobj: object, keywords: object, comment_tags: object, options: object) -> Iterator[tuple[Any, ...]]:
    """The texts of all checks for babel, by the ids of their templates."""
    del fileobj, keywords, comment_tags, options
    yield from (
        (1, "pgettext", (one.id, one.english), []) for check in list_checks() for one in check.templates.values()
    )
