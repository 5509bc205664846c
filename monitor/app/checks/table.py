"""The table of checks, and the verdict on the service that `slopeward status`, the page and `/health` show."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
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


class ServiceState(StrEnum):
    """Whether the slopes are monitored."""

    SEEN = "seen"  # the service runs, and the last evaluation of every site had complete data
    DEGRADED = "degraded"  # the service runs, but something is missing
    BLIND = "blind"  # a slope that should be monitored is not monitored


EXIT_OF: Final = {ServiceState.SEEN: 0, ServiceState.DEGRADED: 5, ServiceState.BLIND: 6}
# Heartbeats of all processes: time and contents by name.
HeartbeatsByProcess = Mapping[str, tuple[datetime, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class ServiceVerdict:
    """State of the service, with the reasons."""

    state: ServiceState
    reasons: tuple[str, ...] = field(default=())


def assess_service(
    heartbeats: HeartbeatsByProcess,
    sites: Iterable[SiteStatus],
    now: datetime,
    evaluate_tick_s: float,
    declared: Iterable[str] = (),
    reached: ReachedDatabase | None = None,
    *,
    is_core_lock_held: bool | None = None,
) -> ServiceVerdict:
    """Return the verdict on the service from stored rows, so that every process and every reader of SQL gets the same.

    Blind: the core is silent, no core uses the database, no site is watched, a site is blind or was not evaluated for
    ten ticks, or the database cannot be used (`reached`).
    Degraded: some series of a site are not known, a site cannot reach its top level, or the broker is not durable.

    Args:
        heartbeats: The heartbeats of all processes.
        declared: Sites that have a file.
        reached: Result of a connection to the database that was tried just now.
        is_core_lock_held: Whether a core uses the database now; None if this is unknown.
    """
    blind, degraded = _gather(
        reached,
        ProcessHeartbeats(heartbeats, now, is_core_lock_held),
        SiteStatuses([*sites], now, evaluate_tick_s, [*declared]),
        plugins.PluginStatus.read(),
    )
    if blind:
        state = ServiceState.BLIND
    elif degraded:
        state = ServiceState.DEGRADED
    else:
        state = ServiceState.SEEN
    return ServiceVerdict(state, (*blind, *degraded))


def list_service_problems(heartbeats: HeartbeatsByProcess, now: datetime) -> tuple[list[str], list[str]]:
    """Return the reasons for a blind and for a degraded service, without those of single sites."""
    return _gather(ProcessHeartbeats(heartbeats, now), plugins.PluginStatus.read())


def _gather(*facts: object) -> tuple[list[str], list[str]]:
    """Return the reasons for a blind and for a degraded service, each once.

    A fault of a plugin may be in the heartbeat of the core process and in this process.
    """
    findings = [finding for fact in facts for finding in run_checks(fact) if finding.is_wrong]
    blind = dict.fromkeys(finding.text for finding in findings if finding.check.blinds)
    degraded = dict.fromkeys(finding.text for finding in findings if finding.check.degrades)
    return list(blind), list(degraded)


AREAS: Final = (site_files, settings, installation, database, machine, broker, running, live, plugins, decisions)


class _Checks(NamedTuple):
    in_order: tuple[Check, ...]
    third_party: Mapping[str, str]  # name of the plugin by id of the check


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


def run_checks(fact: object) -> Iterator[CheckFinding]:
    """Run all checks that examine facts of this class. Findings that are in order are included."""
    for check in list_checks():
        if isinstance(fact, check.fact_type):
            yield from _run_check(check, fact)


def run_all_checks(facts: Iterable[object]) -> tuple[list[CheckFinding], list[Exception]]:
    """Run all checks that examine these facts. A check that raises an error does not prevent the others.

    Some facts contain an event only once, and a count that has grown is returned as such only once. Without the
    findings of the other checks such an event would be lost.

    Returns:
        The findings, and the errors of checks.
    """
    findings: list[CheckFinding] = []
    errors: list[Exception] = []
    for fact in facts:
        for check in list_checks():
            if not isinstance(fact, check.fact_type):
                continue
            try:
                findings += _run_check(check, fact)
            except Exception as error:
                errors.append(error)
    return findings, errors


def run_alarm_checks(fact: object) -> Iterator[CheckFinding]:
    """Run the checks that examine facts of this class and can raise an alarm."""
    for check in list_checks():
        if check.alarm and isinstance(fact, check.fact_type):
            yield from _run_check(check, fact)


def _run_check(check: Check, fact: object) -> list[CheckFinding]:
    """Run a check. If a check of a third-party plugin fails, its fault is recorded and it has no findings."""
    try:
        return list(check.run(fact))
    except Exception as error:
        plugin = _load_checks().third_party.get(check.id)
        if plugin is None:
            raise
        note_fault(plugin, f"check {check.id}", error)
        return []


def read_rows(rows: Iterable[CheckRow]) -> Iterator[CheckFinding]:
    """Return the findings that were stored as rows of `service_checks`."""
    for row in rows:
        area = row.name.partition(".")[0]
        for check in list_checks():
            if check.id in {row.name, f"{area}.*"}:
                subject = "" if check.id == row.name else row.name.removeprefix(f"{area}.")
                yield CheckFinding(check, subject, row.state, row.found, row.remedy, (row.value, row.unit))


def extract(fileobj: object, keywords: object, comment_tags: object, options: object) -> Iterator[tuple[Any, ...]]:
    """Return the texts of all checks for babel, by the ids of their templates."""
    del fileobj, keywords, comment_tags, options
    yield from (
        (1, "pgettext", (template.id, template.english), [])
        for check in list_checks()
        for template in check.templates.values()
    )
