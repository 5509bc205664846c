"""Measure the false alarms of each detector from labels and the state of instruments, and store its factor."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, func, or_, select

from detection.anomaly.budget import correction
from detection.anomaly.records import MONTH_S, RUN_GAP_S
from detection.anomaly.registry import CHECKS
from monitor.api.database import Actor, add_audit, add_row, fill_row
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import Spans, load_impaired_spans
from monitor.api.queries.people import require_person
from monitor.api.queries.readings import load_ids
from monitor.api.sites import DISMISSED, MOTION_GROUP, Site, list_groups
from monitor.api.tables import series
from monitor.api.text import Figure, Message, Template, format_iso
from monitor.features.anomalies.queries.labels import load_labels
from monitor.features.anomalies.queries.scores import compute_ratio
from monitor.features.anomalies.tables import anomaly, anomaly_budget

_NOT_MEASURED: Final = Template("budget.not_measured", "not measured: {n} of {needed} labels")
_RATE: Final = Template("budget.rate", "{value} ({low} to {high}) false alarms per sensor-month")
MEASURED_SPAN: Final = timedelta(seconds=correction.LABEL_MEMORY_S)
# Scores closer than this are one alarm, as in a budget.
GAP: Final = timedelta(seconds=RUN_GAP_S)
PERSON: Final = "person"


@dataclass(frozen=True, slots=True)
class BudgetMeasurement:
    """The alarms of one detector in a period.

    The *counted threshold* is the threshold of the training. The threshold in force is the counted one times a factor.

    Attributes:
        sensor_months: Number of scored readings of working instruments, times their interval, in months.
        alarms: Alarms above the counted threshold, without those that the state of the instrument explains.
        places: Id of the series and time of the first reading of each of `alarms`.
        known_cause: Number of alarms that were shown and that the state of the instrument explains.
        budget: False alarms per sensor-month that the detector may raise.
        factor: Factor in force.
    """

    detector: str
    from_at: datetime
    to_at: datetime
    sensor_months: float
    alarms: tuple[correction.Alarm, ...]
    places: tuple[tuple[int, str], ...]
    known_cause: int
    budget: float
    factor: float

    @property
    def rate(self) -> correction.FalseAlarmRate | None:
        """False alarms per sensor-month; None if too few alarms have a label."""
        return correction.measure_rate(self.alarms, self.sensor_months)

    @property
    def reported(self) -> int:
        """Number of alarms that were shown and have no known cause."""
        return sum(alarm.shown for alarm in self.alarms)

    @property
    def labelled(self) -> int:
        """Number of reported alarms with a label."""
        return correction.count_labels(self.alarms)

    @property
    def dismissed(self) -> int:
        """Number of reported alarms that people labelled as false."""
        return sum(alarm.shown and alarm.is_false is True for alarm in self.alarms)

    def describe(self) -> Message:
        """Return a text that states the rate, or why there is none."""
        return describe_rate(self.rate, self.labelled)

    def evidence_to_json(self, *, is_fixed: bool) -> dict[str, Any]:
        """Return the facts that a factor is computed from, JSON-ready.

        Args:
            is_fixed: Whether the factor was not computed: a person set it, or it must not change.
        """
        alarms = [
            [series_id, from_at, alarm.score, alarm.is_false, alarm.shown]
            for (series_id, from_at), alarm in zip(self.places, self.alarms, strict=True)
        ]
        return {"alarms": alarms, "sensor_months": self.sensor_months, "budget": self.budget, "is_fixed": is_fixed}


def describe_rate(rate: correction.FalseAlarmRate | None, labelled: int) -> Message:
    """Return a text that states a rate, or why there is none."""
    if rate is None:
        return _NOT_MEASURED(n=labelled, needed=correction.MIN_LABELS)
    return _RATE(value=Figure(rate.value, ".2g"), low=Figure(rate.low, ".2g"), high=Figure(rate.high, ".2g"))


def list_detectors_with_threshold(site: Site) -> list[str]:
    """Return the detectors of a site that have a threshold. Checks have none."""
    return [detector for detector in site.anomaly.detectors if detector not in CHECKS]


def measure_detectors(
    c: Connection, site: Site, now: datetime, since: datetime | None = None
) -> list[BudgetMeasurement]:
    """Measure every detector of the site that has a threshold.

    Only motion series count, because the thresholds of other series have no factor.

    Args:
        since: Start of the measurement. None: the last 180 days, or a shorter time if a person has set the factor of
            the detector, because labels from before are not used.
    """
    newest = load_newest(c, site.id)
    b = anomaly_budget.c
    set_by_people = select(b.detector, func.max(b.at)).where(b.site == site.id, b.by_kind == PERSON)
    set_at = dict(c.execute(set_by_people.group_by(b.detector)).all())
    impaired = load_impaired_spans(c, site, since or now - MEASURED_SPAN, now)
    groups = list_groups(site, load_ids(c, site.id))
    ignored = frozenset(watched.series_id for group in groups if group.name != MOTION_GROUP for watched in group.series)
    measurements = []
    for detector in list_detectors_with_threshold(site):
        last = newest.get(detector)
        begin = now - MEASURED_SPAN
        begin = since or max(begin, set_at.get(detector, begin))
        alarms, places, known_cause = _load_alarms(c, site, detector, begin, now, impaired, ignored)
        counts = _count_readings(c, site, detector, begin, now, impaired)
        count = sum(n for series_id, n in counts.items() if series_id not in ignored)
        months = count * (site.watched_step_s or 0.0) / MONTH_S
        factor = 1.0 if last is None else float(last.factor)
        measurements.append(BudgetMeasurement(detector, begin, now, months, alarms, places, known_cause, 0.0, factor))
    alarms_of = {measured.detector: measured.alarms for measured in measurements}
    shares = correction.share_budget(site.anomaly.budget_per_sensor_month, alarms_of)
    return [replace(measured, budget=shares[measured.detector]) for measured in measurements]


def load_newest(c: Connection, site: str) -> dict[str, Row[Any]]:
    """Load the newest measurement of each detector."""
    b = anomaly_budget.c
    newest = select(func.max(b.id)).where(b.site == site).group_by(b.detector)
    return {row.detector: row for row in c.execute(select(anomaly_budget).where(b.id.in_(newest)))}


def load_budgets(c: Connection, site: str) -> list[Any]:
    """Load all measurements of a site with their evidence, oldest first."""
    b = anomaly_budget.c
    return list(c.execute(select(anomaly_budget).where(b.site == site).order_by(b.id)))


def read_rate(row: Any) -> correction.FalseAlarmRate | None:
    """Return the rate of a stored measurement; None if it has none."""
    return None if row.rate is None else correction.FalseAlarmRate(row.rate, row.rate_low, row.rate_high)


def is_reproduced(row: Any) -> bool:
    """Return whether the rate and the factor of a stored measurement follow from its evidence.

    Any factor is accepted if a person set it.
    """
    evidence = row.evidence
    alarms = [correction.Alarm(score, is_false, shown) for _, _, score, is_false, shown in evidence["alarms"]]
    months, budget = float(evidence["sensor_months"]), float(evidence["budget"])
    if correction.measure_rate(alarms, months) != read_rate(row):
        return False
    if evidence["is_fixed"]:
        return bool(row.by_kind == PERSON or row.factor == row.factor_before)
    return bool(row.factor == choose_next_factor(alarms, months, budget, row.factor_before))


def choose_next_factor(alarms: Sequence[correction.Alarm], months: float, budget: float, before: float) -> float:
    """Return the factor for the next week, rounded as it is stored."""
    return round(correction.choose_factor(alarms, months, budget, before), 4)


def load_factors(c: Connection, site: Site) -> dict[str, float]:
    """Load the factor on the counted threshold of each detector; empty if anomalies count for the level."""
    if site.has_voting_anomalies:
        return {}
    return {detector: float(row.factor) for detector, row in load_newest(c, site.id).items()}


def add_budget(
    c: Connection,
    site: str,
    measured: BudgetMeasurement,
    factor: float,
    reason: str,
    actor: Actor,
    now: datetime,
    *,
    is_fixed: bool,
) -> None:
    """Store a measurement and the factor from now on. A changed factor gets an audit entry.

    Args:
        is_fixed: See `BudgetMeasurement.evidence_to_json`.
    """
    rate = measured.rate
    rates = {"rate": rate and rate.value, "rate_low": rate and rate.low, "rate_high": rate and rate.high}
    facts = {"site": site, "at": now, "factor_before": measured.factor, "factor": factor, "reason": reason}
    row = fill_row(anomaly_budget, measured, **rates, **facts, by=actor.name, by_kind=actor.kind)
    add_row(c, anomaly_budget, row, evidence=measured.evidence_to_json(is_fixed=is_fixed))
    if factor != measured.factor:
        detail = {"before": measured.factor, "factor": factor, "reason": reason, "measured": measured.describe()}
        add_audit(c, actor, "anomaly.budget", f"detector:{site}/{measured.detector}", detail, now)


def set_factor(
    c: Connection, site: Site, detector: str, factor: float, actor: Actor, reason: str, now: datetime
) -> BudgetMeasurement:
    """Set the factor of a detector as a person decided. Labels from before are not used again.

    Returns:
        The measurement before the change.

    Raises:
        RefusedError: The actor is no person, there is no reason, the detector has no threshold, or the factor is out
            of bounds.
    """
    require_person(actor, reason)
    measurements = {measured.detector: measured for measured in measure_detectors(c, site, now)}
    measured = measurements.get(detector)
    if measured is None:
        raise RefusedError(f"{detector!r} has no threshold on this site; see `slopeward anomalies budget`")
    if not correction.LOWEST <= factor <= correction.HIGHEST:
        raise RefusedError(f"a factor is from {correction.LOWEST:g} to {correction.HIGHEST:g}, not {factor:g}")
    add_budget(c, site.id, measured, factor, reason, actor, now, is_fixed=True)
    return measured


def _load_alarms(
    c: Connection,
    site: Site,
    detector: str,
    since: datetime,
    now: datetime,
    impaired: Mapping[str, Spans],
    ignored: Collection[int],
) -> tuple[tuple[correction.Alarm, ...], tuple[tuple[int, str], ...], int]:
    """Load the alarms above the counted threshold.

    Args:
        impaired: Periods in which instruments did not work, by station.
        ignored: Ids of series that do not count.

    Returns:
        The alarms without a known cause, series and first reading of each, and the number of alarms that were shown
        and have a known cause.
    """
    a, s = anomaly.c, series.c
    factor = func.coalesce(a.factor, 1.0)
    rows = c.execute(
        select(a.series_id, s.station, a.at, a.score, a.threshold, factor.label("factor"), a.alerted)
        .join(series, s.id == a.series_id)
        .where(s.site == site.id, a.detector == detector, a.at > since, a.at <= now, a.score * factor > a.threshold)
        # Echoes belong to an earlier alarm and are left out.
        .where(or_(a.alerted, a.score <= a.threshold))
        .order_by(a.series_id, a.at)
    ).all()
    runs: list[list[Any]] = []
    for row in rows:
        if row.series_id in ignored:
            continue
        last = runs[-1][-1] if runs else None
        if last is None or last.series_id != row.series_id or row.at - last.at > GAP:
            runs.append([])
        runs[-1].append(row)
    labels = load_labels(c, {run[0].series_id for run in runs}, since)
    alarms, places, known_cause = [], [], 0
    for run in runs:
        first, last = run[0], run[-1]
        is_false = _find_verdict(labels.get(first.series_id, ()), first.at, last.at)
        shown = any(row.alerted for row in run)
        spans = impaired.get(first.station, ())
        if is_false is None and any(begin <= last.at and end >= first.at for begin, end in spans):
            known_cause += shown
            continue
        score = max(compute_ratio(row.score * row.factor, row.threshold) for row in run)
        alarms.append(correction.Alarm(score, is_false, shown))
        places.append((int(first.series_id), format_iso(first.at)))
    return tuple(alarms), tuple(places), known_cause


def _find_verdict(labels: Iterable[Any], from_at: datetime, to_at: datetime) -> bool | None:
    """Return whether people labelled an alarm as false; None without a label.

    Args:
        labels: Labels of the series, newest first. Of overlapping labels that concern the alarm the newest is used.
    """
    used: list[Any] = []
    for label in labels:
        concerns_alarm = label.from_at <= to_at and label.to_at >= from_at
        is_replaced = any(label.from_at <= newer.to_at and label.to_at >= newer.from_at for newer in used)
        if concerns_alarm and not is_replaced:
            used.append(label)
    return all(label.verdict == DISMISSED for label in used) if used else None


def _count_readings(
    c: Connection, site: Site, detector: str, since: datetime, now: datetime, impaired: Mapping[str, Spans]
) -> Counter[int]:
    """Count the scored readings of each series, without periods in which the instrument did not work."""
    a, s = anomaly.c, series.c

    def count(*where: Any) -> Counter[int]:
        query = select(a.series_id, func.count()).join(series, s.id == a.series_id).group_by(a.series_id)
        rows = c.execute(query.where(s.site == site.id, a.detector == detector, *where))
        return Counter({row[0]: int(row[1]) for row in rows})

    counts = count(a.at > since, a.at <= now)
    for station, spans in impaired.items():
        for begin, end in spans:
            if end > since and begin < now:
                counts.subtract(count(s.station == station, a.at > max(begin, since), a.at <= min(end, now)))
    return counts
