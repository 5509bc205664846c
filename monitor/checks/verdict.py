"""The answer of `slopeward status`, the page and `/health`: seen, degraded or blind, each with its reasons."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from monitor.checks.running import ProcessStamps, ReachedDatabase, SiteStatus, SiteStatuses
from monitor.checks.table import run_checks

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
        reached, ProcessStamps(stamps, now), SiteStatuses([*sites], now, evaluate_tick_s, [*declared])
    )
    return ServiceVerdict(BLIND if blind else DEGRADED if degraded else SEEN, (*blind, *degraded))


def assess_unreadable(problem: str) -> ServiceVerdict:
    """The answer where nothing can be read: nobody knows what core does, and it cannot store what it decides."""
    return ServiceVerdict(BLIND, tuple(_gather(ReachedDatabase(problem))[0]))


def check_parts(stamps: Stamped, now: datetime) -> tuple[list[str], list[str]]:
    """What is wrong with the service's own parts: reasons why nobody looks, and reasons why it is not whole."""
    return _gather(ProcessStamps(stamps, now))


def _gather(*seen: object) -> tuple[list[str], list[str]]:
    wrong = [one for what in seen for one in run_checks(what) if one.is_wrong]
    return [one.text for one in wrong if one.check.blinds], [one.text for one in wrong if one.check.degrades]
