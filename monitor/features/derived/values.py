"""Compute values of calculated series from stored readings, and store those that differ from what is stored."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf, isclose, isfinite, nextafter
from typing import Final

from sqlalchemy import Connection

from monitor.api.queries.readings import SeriesIds, add_observations, find_epoch, find_series_id, load_readings
from monitor.api.readings import CHANGED, HARMLESS, Observation, Reading
from monitor.api.sites import Site
from monitor.api.text import Span, canonical_json, epoch_s, format_iso, from_epoch_s
from monitor.features.derived.expression import compute_sigma
from monitor.features.derived.inputs import SiteInputs
from monitor.features.derived.plans import Plan
from monitor.features.derived.queries import Cause
from monitor.features.derived.samples import InputSamples, Sample, Series, Used
from monitor.features.derived.stable_points import CorrectionSample

log: Final = logging.getLogger(__name__)
LARGEST: Final = 1e12
# A computer whose clock was ahead has stamped receptions in the future; those readings count as well.
AHEAD: Final = timedelta(days=1)
BIT: Final = timedelta(microseconds=1)
ROUNDS: Final = 5  # attempts to store a value that the instant had before, each a last digit higher
DIGITS: Final = 13  # significant digits of a value: base units turn 31.4 mm into 31.399999999999995
SAME: Final = 1e-13  # relative difference of values that are considered equal
WITHDRAWN: Final = "bad"  # flag of a stored value that can no longer be computed
CORRECTION: Final = "correction"  # key in `extra`: how a prism was corrected by the references of its total station
MADE_FROM: Final = (
    "made_from"  # key in `extra`: by input its newest instant, where that is not the instant of the value
)


@dataclass(frozen=True, slots=True)
class Task:
    """Values of one series to compute, in a span of time that includes its ends."""

    plan: Plan
    span: Span
    cause: Cause
    keep_before: datetime | None = None
    most: int = 1_000_000  # how many values to compute at most, the newest ones first


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task came to."""

    task: Task
    changes: Sequence[Observation]  # values that differ from what is stored
    count: int  # values that were computed
    left: Span | None = None  # the older part of the span, where the task held too many instants


def compute_tasks(
    c: Connection, site: Site, tasks: Sequence[Task], inputs: SiteInputs, now: datetime
) -> list[TaskResult]:
    """Compute tasks whose series do not depend on each other, in one read transaction.

    A task that fails is logged and counts as done: it must not keep the others waiting for ever.
    """
    known_at = now + AHEAD
    since: dict[Series, datetime] = {}
    for task in tasks:
        from_at = task.span[0] - timedelta(seconds=task.plan.behind_s) - BIT
        since |= {place: min(from_at, since.get(place, from_at)) for place in task.plan.scales}
    to_at = max(task.span[1] + timedelta(seconds=task.plan.slack_s) for task in tasks)
    windowed = {place for task in tasks if task.plan.expression.reach_s for place in task.plan.scales}
    samples = inputs.load(c, since, to_at, known_at, windowed)
    stored = inputs.load_stored(c, {task.plan.place: task.span[0] - BIT for task in tasks}, to_at, known_at)
    results: list[TaskResult] = []
    for task in tasks:
        there = [one for one in stored.get(task.plan.place, ()) if task.span[0] <= one.observed_at <= task.span[1]]
        try:
            results.append(_compute_task(c, site, task, samples, inputs, there, now))
        except Exception:
            log.exception("%s of %s is not calculated from %s to %s", task.plan.name, site.id, *task.span)
            results.append(TaskResult(task, (), 0))
    return results


def _compute_task(
    c: Connection,
    site: Site,
    task: Task,
    samples: InputSamples,
    inputs: SiteInputs,
    there: Sequence[Reading],
    now: datetime,
) -> TaskResult:
    plan, (from_at, to_at) = task.plan, task.span
    if not all(place in samples.by_series or place in plan.expression.optional for place in plan.scales):
        return TaskResult(task, list(_withdraw_lost(site, task, there, set(), now)), 0)
    firsts_s = [one.at_s for one in samples.by_series[plan.first]]
    if plan.calculation.every_s:
        instants_s = _list_passed_grid(c, inputs, task, firsts_s, now + AHEAD)
    else:
        instants_s = [at_s for at_s in firsts_s if from_at <= from_epoch_s(at_s) <= to_at]
    left: Span | None = None
    if len(instants_s) > task.most:
        instants_s = instants_s[-task.most :]
        begin = from_epoch_s(instants_s[0])
        left = (from_at, begin - BIT)
        there = [one for one in there if one.observed_at >= begin]
    values = compute_values(site.id, plan, samples, instants_s, now)
    made = {at: value for at, value in values.items() if value is not None}
    known = {one.observed_at: one for one in there}
    changes: list[Observation] = []
    for at, value in made.items():
        if at not in known:
            changes.append(value)
        elif not _is_same(value, known[at]):
            changes.append(_mark_redefined(value) if task.cause is Cause.REDEFINED else value)
    if task.cause is Cause.REDEFINED:
        changes += _withdraw_lost(site, task, there, made.keys(), now)
    elif any(place in inputs.revised for place in plan.scales):
        # Only a corrected input takes a value away. Without a correction the inputs were deleted by retention.
        gaps = [known[at] for at, value in values.items() if value is None and at in known]
        changes += _withdraw(site, plan, gaps, now)
    return TaskResult(task, changes, len(instants_s), left)


def _list_passed_grid(
    c: Connection, inputs: SiteInputs, task: Task, firsts_s: Sequence[float], known_at: datetime
) -> list[float]:
    """Return the instants of `every` in the span that a reading of the first input has passed."""
    instants_s = task.plan.list_grid(epoch_s(task.span[0]), epoch_s(task.span[1]))
    if not instants_s or (firsts_s and instants_s[-1] <= firsts_s[-1] + 1e-6):
        return instants_s
    number = inputs.find_id(task.plan.first)
    newest = None if number is None else find_epoch(c, number, known_at, 0)
    return [at_s for at_s in instants_s if newest is not None and from_epoch_s(at_s) <= newest]


def _withdraw_lost(
    site: Site, task: Task, there: Iterable[Reading], made: Iterable[datetime], now: datetime
) -> Iterator[Observation]:
    """Withdraw stored values that a new expression or offset no longer gives."""
    if task.cause is Cause.REDEFINED:
        keep_before, instants = task.keep_before, set(made)
        lost = [one for one in there if one.observed_at not in instants]
        kept = [one for one in lost if keep_before is None or one.observed_at >= keep_before]
        yield from _withdraw(site, task.plan, kept, now)


def _withdraw(site: Site, plan: Plan, there: Iterable[Reading], now: datetime) -> Iterator[Observation]:
    """Flag stored values that can no longer be computed as unusable."""
    place = (site.id, plan.spec.station, plan.spec.quantity, plan.spec.unit)
    for one in there:
        if WITHDRAWN not in one.flags:
            extra = canonical_json({CHANGED: True})
            yield Observation(
                *place, one.observed_at, now, one.value_raw, one.sigma, "corrected", (WITHDRAWN,), extra=extra
            )


def _mark_redefined(value: Observation) -> Observation:
    """Mark a value that replaces a stored one because the series was defined again."""
    return replace(value, extra=canonical_json({**json.loads(value.extra or "{}"), CHANGED: True}))


def compute_values(
    site_id: str, plan: Plan, samples: InputSamples, instants_s: Iterable[float], now: datetime
) -> dict[datetime, Observation | None]:
    """Return the value at each instant; None where an input is missing or nothing can be computed."""
    calculation = plan.calculation
    mine = InputSamples(
        samples.by_series,
        calculation.within_s,
        calculation.hold_s,
        samples.columns,
        samples.estimates,
        silences_s=plan.silences_s,
    )
    return {from_epoch_s(at_s): _compute_value(site_id, plan, mine, at_s, now) for at_s in instants_s}


def _compute_value(site_id: str, plan: Plan, samples: InputSamples, at_s: float, now: datetime) -> Observation | None:
    try:
        made = plan.expression.compute(samples, at_s)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    if made is None or not (isfinite(made[0]) and abs(made[0] / plan.scale) < LARGEST):
        return None
    value, used = float(f"{made[0] / plan.scale:.{DIGITS}g}"), made[1]
    sigma = compute_sigma(used)
    flags = _list_flags(used)
    if not plan.low <= value <= plan.high:
        flags.add("out_of_range")
    extra = _describe_inputs(used, at_s)
    return Observation(
        site_id,
        plan.spec.station,
        plan.spec.quantity,
        plan.spec.unit,
        from_epoch_s(at_s),
        now,
        value,
        None if sigma is None else sigma / plan.scale,
        flags=tuple(sorted(flags)) if flags else (),
        extra=canonical_json(extra) if extra else None,
    )


def _list_flags(used: Used) -> set[str]:
    flags: set[str] = set()
    for one in used:
        flags.update(one.flags if isinstance(one, Sample) else one.list_flags())
    return flags - HARMLESS


def _describe_inputs(used: Used, at_s: float) -> dict[str, object]:
    """Return which inputs were read at another instant than that of the value, and whether one was corrected."""
    newest_s: dict[Series, float] = {}
    for one in used:
        one_s = one.at_s if isinstance(one, Sample) else one.newest_s
        newest_s[one.series] = max(one_s, newest_s.get(one.series, -inf))
    apart = {".".join(place): format_iso(from_epoch_s(s)) for place, s in sorted(newest_s.items()) if s != at_s}
    extra: dict[str, object] = {MADE_FROM: apart} if apart else {}
    if any(one.is_changed for one in used):
        extra[CHANGED] = True
    for one in used:
        if isinstance(one, CorrectionSample):
            extra[CORRECTION] = one.facts
    return extra


def store_values(c: Connection, site: Site, rows: Sequence[Observation], now: datetime, ids: SeriesIds) -> None:
    """Store values as received now.

    The store takes a value that the instant had before for a duplicate. A value that returns, because its inputs
    returned, is stored as a correction, and where that correction existed as well, a last digit higher.
    """
    rows = [replace(row, received_at=now) for row in rows]
    added = add_observations(c, rows, now, ids, sites={site.id: site})
    for _ in range(ROUNDS if added.duplicates or added.revisions else 0):
        stored, rows = rows, []
        for row in stored:
            number = find_series_id(c, row.site, row.station, row.quantity, ids)
            there = (
                ()
                if number is None
                else load_readings(c, number, row.observed_at - BIT, row.observed_at, now + AHEAD, with_unsigned=True)
            )
            if not _is_same(row, next(iter(there), None)):
                rows.append(row)
        if not rows:
            return
        corrected = [replace(row, solution="corrected") for row in rows]
        add_observations(c, corrected, now, ids, sites={site.id: site})
        rows = [replace(row, value=nextafter(row.value, inf)) for row in rows]


def _is_same(value: Observation, stored: Reading | None) -> bool:
    if stored is None or (value.sigma is None) != (stored.sigma is None):
        return False
    if {*value.flags} ^ {*stored.flags} - HARMLESS:
        return False
    is_same_sigma = isclose(value.sigma or 0.0, stored.sigma or 0.0, rel_tol=SAME)
    return is_same_sigma and isclose(value.value, stored.value_raw, rel_tol=SAME, abs_tol=SAME)


def group_by_time(tasks: Sequence[Task], most: timedelta = timedelta(days=1)) -> list[list[Task]]:
    """Return tasks in groups that begin near each other, so that one statement reads the inputs of a group."""
    groups: list[list[Task]] = []
    for task in sorted(tasks, key=lambda one: one.span[0]):
        if groups and task.span[0] - groups[-1][0].span[0] <= most:
            groups[-1].append(task)
        else:
            groups.append([task])
    return groups


def count_instants(plan: Plan, span: Span) -> int:
    """Return how many values a span holds at most, when readings arrive as declared."""
    return int((span[1] - span[0]).total_seconds() / plan.interval_s) + 1
