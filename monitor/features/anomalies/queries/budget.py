"""False alarms of each detector as people's words and the health of instruments show them, against the budget."""

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
from monitor.features.anomalies.tables import anomaly, anomaly_budget

_NOT_MEASURED: Final = Template("budget.not_measured", "not measured: {n} of {needed} labels")
_RATE: Final = Template("budget.rate", "{value} ({low} to {high}) false alarms per sensor-month")
MEASURED_SPAN: Final = timedelta(seconds=correction.LABEL_MEMORY_S)
GAP: Final = timedelta(seconds=RUN_GAP_S)  # scores closer than that are one alarm, as the budget counts
PERSON: Final = "person"


@dataclass(frozen=True, slots=True)
class BudgetMeasurement:
    """What one detector did in a time."""

    detector: str  # its id
    from_at: datetime  # begin of the time
    to_at: datetime  # its end
    sensor_months: float  # scored readings of instruments that were well, as time
    # what it scored above its counted threshold, without those that health explains
    alarms: tuple[correction.Alarm, ...]
    places: tuple[tuple[int, str], ...]  # series and first epoch of each of them
    known_cause: int  # how many that were shown are explained by the state of the instrument
    budget: float  # false alarms per sensor-month that it may spend
    factor: float  # on its counted threshold now

    @property
    def rate(self) -> correction.FalseAlarmRate | None:
        """False alarms per sensor-month; None where too few were labelled."""
        return correction.measure_rate(self.alarms, self.sensor_months)

    @property
    def reported(self) -> int:
        """Alarms that were shown and have no known cause."""
        return sum(a.shown for a in self.alarms)

    @property
    def labelled(self) -> int:
        """How many of them somebody labelled."""
        return correction.count_labels(self.alarms)

    @property
    def dismissed(self) -> int:
        """How many of them are false."""
        return sum(a.shown and a.is_false is True for a in self.alarms)

    def describe(self) -> Message:
        """The rate in words."""
        return describe_rate(self.rate, self.labelled)

    def evidence_to_json(self, *, is_fixed: bool) -> dict[str, Any]:
        """What a factor is counted from, JSON-ready; `is_fixed` where it may not move."""
        alarms = [
            [series_id, from_at, a.score, a.is_false, a.shown]
            for (series_id, from_at), a in zip(self.places, self.alarms, strict=True)
        ]
        return {"alarms": alarms, "sensor_months": self.sensor_months, "budget": self.budget, "is_fixed": is_fixed}


def describe_rate(rate: correction.FalseAlarmRate | None, labelled: int) -> Message:
    """A rate in words, or why there is none."""
    if rate is None:
        return _NOT_MEASURED(n=labelled, needed=correction.FEWEST_LABELS)
    return _RATE(value=Figure(rate.value, ".2g"), low=Figure(rate.low, ".2g"), high=Figure(rate.high, ".2g"))


def list_counted(site: Site) -> list[str]:
    """Detectors of a site that have a threshold; a check has none."""
    return [d for d in site.anomaly.detectors if d not in CHECKS]


def measure_detectors(
    c: Connection, site: Site, now: datetime, since: datetime | None = None
) -> list[BudgetMeasurement]:
    """Every detector of the site that has a threshold, over the last 180 days or since an instant.

    What a person said of a factor begins the time anew: labels of before it are forgotten. Series of other groups than
    the motion do not count: their thresholds have no factor.
    """
    newest, b = load_newest(c, site.id), anomaly_budget.c
    acts = select(b.detector, func.max(b.at)).where(b.site == site.id, b.by_kind == PERSON).group_by(b.detector)
    acted = dict(c.execute(acts).all())
    spans = load_impaired_spans(c, site, since or now - MEASURED_SPAN, now)
    groups = list_groups(site, load_ids(c, site.id))
    others = frozenset(one.series_id for group in groups if group.name != MOTION_GROUP for one in group.series)
    found = []
    for detector in list_counted(site):
        last = newest.get(detector)
        begin = now - MEASURED_SPAN
        begin = since or max(begin, acted.get(detector, begin))
        alarms, places, known = _load_alarms(c, site, detector, begin, now, spans, others)
        counted = _count_epochs(c, site, detector, begin, now, spans)
        epochs = sum(n for i, n in counted.items() if i not in others)
        months = epochs * (site.watched_step_s or 0.0) / MONTH_S
        factor = 1.0 if last is None else float(last.factor)
        found.append(BudgetMeasurement(detector, begin, now, months, alarms, places, known, 0.0, factor))
    shares = correction.share_budget(site.anomaly.budget_per_sensor_month, {m.detector: m.alarms for m in found})
    return [replace(m, budget=shares[m.detector]) for m in found]


def load_newest(c: Connection, site: str) -> dict[str, Row[Any]]:
    """The newest row of each detector."""
    b = anomaly_budget.c
    newest = select(func.max(b.id)).where(b.site == site).group_by(b.detector)
    return {r.detector: r for r in c.execute(select(anomaly_budget).where(b.id.in_(newest)))}


def load_budgets(c: Connection, site: str) -> list[Any]:
    """Everything that was kept of a site, oldest first, with its evidence."""
    b = anomaly_budget.c
    return list(c.execute(select(anomaly_budget).where(b.site == site).order_by(b.id)))


def read_rate(row: Any) -> correction.FalseAlarmRate | None:
    """The rate of a kept row; None = not measured."""
    return None if row.rate is None else correction.FalseAlarmRate(row.rate, row.rate_low, row.rate_high)


def counts_again(row: Any) -> bool:
    """Whether a kept factor comes out of its evidence; what a person set has only itself."""
    kept = row.evidence
    alarms = [correction.Alarm(score, is_false, shown) for _, _, score, is_false, shown in kept["alarms"]]
    months, budget = float(kept["sensor_months"]), float(kept["budget"])
    if correction.measure_rate(alarms, months) != read_rate(row):
        return False
    if row.evidence["is_fixed"]:
        return bool(row.by_kind == PERSON or row.factor == row.factor_before)
    return bool(row.factor == next_factor(alarms, months, budget, row.factor_before))


def next_factor(alarms: Sequence[correction.Alarm], months: float, budget: float, before: float) -> float:
    """The factor for the week to come as it is kept."""
    return round(correction.choose_factor(alarms, months, budget, before), 4)


def load_factors(c: Connection, site: Site) -> dict[str, float]:
    """The factor on the counted threshold of each detector for the motion; none where anomalies count for the level."""
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
    """Keep what was measured and the factor from now on; a changed factor stands in the audit log."""
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
    """A person puts a threshold back, or elsewhere within the bounds; what was said before it counts no more.

    Raises:
        RefusedError: no person, no reason, a detector without a threshold, or a factor out of bounds.
    """
    require_person(actor, reason)
    measured = next((m for m in measure_detectors(c, site, now) if m.detector == detector), None)
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
    sick: Mapping[str, Spans],
    others: Collection[int],
) -> tuple[tuple[correction.Alarm, ...], tuple[tuple[int, str], ...], int]:
    """Alarms above the counted threshold with the place of each, and how many shown ones health explains."""
    a, s = anomaly.c, series.c
    factor = func.coalesce(a.factor, 1.0)
    rows = c.execute(
        select(a.series_id, s.station, a.at, a.score, a.threshold, factor.label("factor"), a.alerted)
        .join(series, s.id == a.series_id)
        .where(s.site == site.id, a.detector == detector, a.at > since, a.at <= now, a.score * factor > a.threshold)
        .where(or_(a.alerted, a.score <= a.threshold))  # an echo belongs to what was shown before
        .order_by(a.series_id, a.at)
    ).all()
    runs: list[list[Any]] = []
    for row in rows:
        if row.series_id in others:
            continue
        last = runs[-1][-1] if runs else None
        if last is None or last.series_id != row.series_id or row.at - last.at > GAP:
            runs.append([])
        runs[-1].append(row)
    labels = load_labels(c, {run[0].series_id for run in runs}, since)
    alarms, places, known = [], [], 0
    for run in runs:
        first, last = run[0], run[-1]
        label = _read_labels(labels.get(first.series_id, ()), first.at, last.at)
        shown = any(row.alerted for row in run)
        if label is None and any(b <= last.at and e >= first.at for b, e in sick.get(first.station, ())):
            known += shown
            continue
        alarms.append(correction.Alarm(max(r.score * r.factor / r.threshold for r in run if r.threshold), label, shown))
        places.append((int(first.series_id), format_iso(first.at)))
    return tuple(alarms), tuple(places), known


def _read_labels(labels: Iterable[Any], from_at: datetime, to_at: datetime) -> bool | None:
    """Whether people call a time false; newest first: an older word on the same happening counts no more."""
    kept: list[Any] = []
    for one in labels:
        is_answered = any(one.from_at <= k.to_at and one.to_at >= k.from_at for k in kept)
        if one.from_at <= to_at and one.to_at >= from_at and not is_answered:
            kept.append(one)
    return all(k.verdict == DISMISSED for k in kept) if kept else None


def _count_epochs(
    c: Connection, site: Site, detector: str, since: datetime, now: datetime, sick: Mapping[str, Spans]
) -> Counter[int]:
    """Epochs of each series that were scored, without those in which the instrument was not well."""
    a, s = anomaly.c, series.c

    def count(*where: Any) -> Counter[int]:
        query = select(a.series_id, func.count()).join(series, s.id == a.series_id).group_by(a.series_id)
        rows = c.execute(query.where(s.site == site.id, a.detector == detector, *where))
        return Counter({r[0]: int(r[1]) for r in rows})

    counted = count(a.at > since, a.at <= now)
    for station, spans in sick.items():
        for begin, end in spans:
            if end > since and begin < now:
                counted.subtract(count(s.station == station, a.at > max(begin, since), a.at <= min(end, now)))
    return counted
