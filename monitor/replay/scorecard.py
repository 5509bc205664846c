"""What a replay is worth: lead before events, misses, false alarm days with causes, time in levels, per criterion."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from forecasting.message import Figure, Message, Template, Term, Timestamp
from monitor.domain.decision import instant
from monitor.domain.instants import spell
from monitor.domain.instruments.board import CONFIRMED, DISMISSED
from monitor.domain.site import Criterion, Site
from monitor.replay.events import (
    UNEXPLAINED,
    UNJUDGED,
    EventScore,
    find_days,
    find_false_days,
    score_event,
)
from monitor.replay.forecast_gain import ForecastGain, find_gains
from monitor.replay.labels import Label
from monitor.replay.matrix import Matrix, build_matrix
from monitor.replay.recorder import AlertTrace, Tally
from monitor.replay.spans import Span
from monitor.store.alerting.history import PastAlert
from monitor.store.models.anomaly_budget import Measured
from monitor.store.models.anomaly_labels import AnomalyRun

# no vote asked for a level any more, but this one falls by a person only, and a replay has none
HELD: Final = "held for a person"
_DAYS: Final = Template("effect.days", "{level}: {days} with {first}, {days2} with {second}")
_SINCE: Final = Template("effect.since", "{level} first: {at} with {first}, {at2} with {second}")
_NEVER: Final = Template("effect.never", "never")
_COUNTS: Final = Template("effect.counts", "{what}: {n} with {first}, {n2} with {second}")
_HAZARDS: Final = Template("effect.hazards", "hazard alerts")
_MISSES: Final = Template("effect.misses", "misses")
_ALARM_DAYS: Final = Template("effect.alarm_days", "days with an alarm")
_HEALTH: Final = Template("effect.health", "health alerts")


@dataclass(frozen=True, slots=True)
class CriterionScore:
    """What one criterion would have been worth alone: from its own words, before witnesses and ladder."""

    criterion: str
    kind: str
    role: str
    heard_share: float  # of looks at which it had anything to go by; 0 = no data, so neither hit nor miss means much
    crossings: int  # times it rose from nothing
    days: int  # with at least the lowest level
    days_by_level: Mapping[str, int]
    false_days: int | None  # None: nothing is labelled
    events: tuple[EventScore, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "criterion": self.criterion, "kind": self.kind, "role": self.role,
            "heard_share": round(self.heard_share, 4), "crossings": self.crossings,
            "days": self.days, "days_by_level": dict(self.days_by_level), "false_days": self.false_days,
            "hits": sum(not e.missed for e in self.events), "misses": sum(e.missed for e in self.events),
            "events": [e.to_json() for e in self.events],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class SensorScore:
    """What a station did to the alerts; also what is asked of the site or of a reference as a whole."""

    station: str
    raises: int  # of the hazard level that rested on it
    voting_days: float  # time in which a vote of it counted
    health: Mapping[str, int]  # kind of health alert -> times
    pended_days: int

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "station": self.station, "raises": self.raises, "voting_days": round(self.voting_days, 3),
            "health": dict(self.health), "pended_days": self.pended_days,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class DetectorScore:
    """What a detector reported in that time, as people said it was; a happening counts once for each that saw it."""

    detector: str
    reported: int
    confirmed: int
    dismissed: int
    measured: Measured | None = None  # None for a check: it has no threshold and spends no budget

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        unsaid = self.reported - self.confirmed - self.dismissed
        m = self.measured
        return {
            "detector": self.detector, "reported": self.reported, "confirmed": self.confirmed,
            "dismissed": self.dismissed, "nobody_said": unsaid,
            "false_alarms": "-" if m is None else m.describe(), "budget_per_sensor_month": m and m.budget,
            "factor": m and m.factor,
        }  # fmt: skip


def score_detectors(happenings: Iterable[AnomalyRun], measured: Iterable[Measured] = ()) -> tuple[DetectorScore, ...]:
    """Happenings by detector, as the newest word of a person has it, beside what was measured against the budget."""
    by_name = {m.detector: m for m in measured}
    words: dict[str, list[str]] = {}
    for one in happenings:
        for detector in one.detectors:
            words.setdefault(detector, []).append("" if one.label is None else str(one.label.verdict))
    return tuple(
        DetectorScore(name, len(said), said.count(CONFIRMED), said.count(DISMISSED), by_name.get(name))
        for name, said in sorted(words.items())
    )


@dataclass(frozen=True, slots=True)
class Run:
    """One configuration over the whole time."""

    name: str
    config_version: str
    level_names: tuple[str, ...]
    looks: int
    levels: tuple[Span, ...]
    alerts: tuple[AlertTrace, ...]
    time_in_level_s: Mapping[str, float]
    sight_s: Mapping[str, float]
    events: tuple[EventScore, ...]
    alarm_days: int  # days with a hazard level
    false_days: Mapping[str, int]  # cause -> days
    false_day_list: tuple[tuple[str, str, int], ...]  # (day, cause, level)
    matrix: Matrix
    criteria: tuple[CriterionScore, ...]
    sensors: tuple[SensorScore, ...]
    plot: Mapping[tuple[str, str], tuple[tuple[float, float], ...]]
    words: Mapping[str, tuple[Span, ...]]  # what each criterion asked for, over time
    gains: tuple[ForecastGain, ...] = ()  # what forecasts add to velocity

    @property
    def misses(self) -> int:
        """Events whose needed level never stood."""
        return sum(e.missed for e in self.events)

    @property
    def hazards(self) -> tuple[AlertTrace, ...]:
        """The hazard alerts."""
        return tuple(a for a in self.alerts if a.ledger == "hazard")

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; the points of plots stay out."""
        return {
            "name": self.name, "config_version": self.config_version, "looks": self.looks,
            "level_history": [
                {"from": spell(instant(s.from_s)), "to": spell(instant(s.to_s)), "level": s.level,
                 "level_name": self.level_names[s.level]} for s in self.levels
            ],
            "alerts": [a.to_json() for a in self.alerts],
            "time_in_level_h": {k: round(v / 3600.0, 4) for k, v in self.time_in_level_s.items()},
            "observability_h": {k: round(v / 3600.0, 4) for k, v in sorted(self.sight_s.items())},
            "events": [e.to_json() for e in self.events], "misses": self.misses,
            "alarm_days": self.alarm_days, "false_alarm_days": dict(self.false_days),
            "false_alarm_day_list": [{"day": d, "cause": c, "level": k} for d, c, k in self.false_day_list],
            "duration_matrix": self.matrix.to_json(),
            "criteria": [c.to_json() for c in self.criteria], "sensors": [s.to_json() for s in self.sensors],
            "forecast_gain": [g.to_json() for g in self.gains],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The outcome of a backtest: one run, or two configurations side by side."""

    site: str
    site_name: str
    from_at: datetime
    to_at: datetime
    known: Mapping[str, Any]  # which instants of knowledge were used, and for how many rows
    lead_s: float
    rule_version: str
    labels: tuple[Label, ...]
    runs: tuple[Run, ...]
    detectors: tuple[DetectorScore, ...] = ()
    unproven: tuple[Message, ...] = ()  # criteria that counted here and are advice in the service, one line each

    def to_json(self) -> dict[str, Any]:
        """The whole scorecard as JSON-ready values (a dict)."""
        return {
            "site": self.site, "site_name": self.site_name, "from": spell(self.from_at), "to": spell(self.to_at),
            "known": dict(self.known), "lead_window_h": self.lead_s / 3600.0, "rule_version": self.rule_version,
            "labels": [x.to_json() for x in self.labels], "runs": [r.to_json() for r in self.runs],
            "differences": list(self.differences()), "detectors": [d.to_json() for d in self.detectors],
            "unproven": list(self.unproven),
        }  # fmt: skip

    def differences(self) -> tuple[Message, ...]:
        """What the second configuration does otherwise than the first, one line each; empty for one run."""
        if len(self.runs) < 2:
            return ()
        a, b = self.runs[:2]
        lines = []
        for name in a.level_names[1:]:
            one, two = a.time_in_level_s.get(name, 0.0), b.time_in_level_s.get(name, 0.0)
            if one != two:
                days, days2 = (Figure(spent_s / 86400.0, ".2f", "d") for spent_s in (one, two))
                lines.append(_DAYS(level=Term(name), days=days, first=a.name, days2=days2, second=b.name))
        firsts = [_first_times(r) for r in (a, b)]
        for level in sorted({*firsts[0], *firsts[1]}):
            one_at, two_at = firsts[0].get(level), firsts[1].get(level)
            if one_at != two_at:
                name = a.level_names[level] if level < len(a.level_names) else str(level)
                at, at2 = (_NEVER() if first is None else Timestamp.of(first) for first in (one_at, two_at))
                lines.append(_SINCE(level=Term(name), at=at, first=a.name, at2=at2, second=b.name))
        health = [sum(one.ledger == "health" for one in run.alerts) for run in (a, b)]
        counts: tuple[tuple[Message, int, int], ...] = (
            (_HAZARDS(), len(a.hazards), len(b.hazards)), (_MISSES(), a.misses, b.misses),
            (_ALARM_DAYS(), a.alarm_days, b.alarm_days), (_HEALTH(), health[0], health[1]),
        )  # fmt: skip
        for what, one_n, two_n in counts:
            if one_n != two_n:
                lines.append(_COUNTS(what=what, n=one_n, first=a.name, n2=two_n, second=b.name))
        return tuple(lines)


def score(
    name: str, site: Site, tally: Tally, labels: Sequence[Label], alerts: Sequence[PastAlert], lead_s: float
) -> Run:
    """Turn what a replay left behind into its run of the scorecard."""
    names = tuple(k.name for k in site.levels)
    spans = tuple(tally.levels.spans)
    judged = bool(labels) or any(a.outcome for a in alerts)
    asked = find_days(tally.asked.spans, site.timezone)
    false_list = [
        (day, cause if cause not in {UNEXPLAINED, UNJUDGED} or day in asked else HELD, level)
        for day, cause, level in find_false_days(spans, labels, alerts, lead_s, site.timezone, judged=judged)
    ]
    causes = Counter(cause for _, cause, _ in false_list)
    time_in = dict.fromkeys(names, 0.0)
    for span in spans:
        time_in[names[min(span.level, len(names) - 1)]] += span.to_s - span.from_s
    words = {k: tuple(v.spans) for k, v in tally.criteria.items()}
    return Run(
        name, site.version, names, tally.looks, spans, tuple(tally.alerts), time_in, dict(tally.sight),
        tuple(score_event(x, spans, lead_s) for x in labels), len(find_days(spans, site.timezone)), causes,
        tuple(false_list), build_matrix(spans, labels, lead_s, names),
        tuple(_score_criterion(site, c, tally, labels, lead_s) for c in site.criteria),
        tuple(_score_sensor(name, tally) for name in dict.fromkeys((*(s.id for s in site.stations), *tally.health))),
        {k: tuple(v) for k, v in tally.plot.items()},
        words,
        find_gains(site, tally.strength, words, {k: n / max(tally.looks, 1) for k, n in tally.heard.items()}, labels,
                   lead_s),
    )  # fmt: skip


def _score_criterion(
    site: Site, criterion: Criterion, tally: Tally, labels: Sequence[Label], lead_s: float
) -> CriterionScore:
    ribbon = tally.criteria.get(criterion.id)
    # a criterion is judged by what it can say: one with a bound for yellow only is not asked for orange
    highest = max((t.level for t in criterion.thresholds), default=site.top_level)
    spans = tuple(ribbon.spans) if ribbon else ()
    days = find_days(spans, site.timezone)
    by_level = {
        k.name: sum(level == k.number for level in days.values()) for k in site.levels if k.number > 0
    }  # fmt: skip
    judged = len(find_false_days(spans, labels, (), lead_s, site.timezone, judged=True)) if labels else None
    rises = sum(
        s.level > 0 and (i == 0 or spans[i - 1].level == 0 or spans[i - 1].to_s < s.from_s) for i, s in enumerate(spans)
    )
    return CriterionScore(
        criterion.id, criterion.kind.id, criterion.role, tally.heard[criterion.id] / max(tally.looks, 1), rises,
        len(days), by_level, judged,
        tuple(score_event(replace(x, level=min(x.level, highest)), spans, lead_s) for x in labels),
    )  # fmt: skip


def _score_sensor(station: str, tally: Tally) -> SensorScore:
    return SensorScore(
        station, tally.raises[station], tally.voting_s.get(station, 0.0) / 86400.0,
        dict(sorted(tally.health.get(station, {}).items())), len(tally.pended.get(station, ())),
    )  # fmt: skip


def _first_times(run: Run) -> dict[int, datetime]:
    found: dict[int, datetime] = {}
    for span in run.levels:
        for level in range(1, span.level + 1):
            found.setdefault(level, instant(span.from_s))
    return found
