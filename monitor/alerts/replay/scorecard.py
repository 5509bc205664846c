"""Score a replay: lead times and misses of events, false alarm days and their causes, and time at levels."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from monitor.alerts.replay.clock import ReplayDecision
from monitor.alerts.replay.leads import DECISION, FIXED_BOUND, LevelLead, list_level_leads
from monitor.alerts.replay.matrix import (
    DAY_KINDS,
    FALSE,
    AlarmDay,
    EventLabel,
    EventScore,
    LevelTimeline,
    Matrix,
    Span,
    build_matrix,
    find_days,
    find_false_days,
    list_alarm_days,
    score_event,
)
from monitor.alerts.replay.other_alarms import Episode, SystemAlarm, group_alarms
from monitor.alerts.replay.queries import AlertWithOutcome
from monitor.alerts.replay.window_table import WindowTable
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.evidence import BY_PERSON
from monitor.decision.keys import VoteKey
from monitor.decision.series.step_states import COUNTED
from monitor.sites.records import Criterion, Site
from monitor.text.instants import epoch_s, format_iso, from_epoch_s
from monitor.text.message import Figure, Message, Template, Term, Timestamp

# Inputs that jobs of the service compute, and a replay does not.
STORED_ONLY: Final = ("forecasts", "anomalies", "footprints", "points")
_NOT_STORED: Final = Template(
    "backtest.not_stored", "a replay does not compute {what}, and the service stored none for that time"
)
_DAYS: Final = Template("effect.days", "{level}: {days} with {first}, {days2} with {second}")
_SINCE: Final = Template("effect.since", "{level} first: {at} with {first}, {at2} with {second}")
_NEVER: Final = Template("effect.never", "never")
_COUNTS: Final = Template("effect.counts", "{what}: {n} with {first}, {n2} with {second}")
_HAZARDS: Final = Template("effect.hazards", "hazard alerts")
_MISSES: Final = Template("effect.misses", "misses")
_ALARM_DAYS: Final = Template("effect.alarm_days", "days with an alarm")
_HEALTH: Final = Template("effect.health", "health alerts")


@dataclass(frozen=True, slots=True)
class AlertLevelChange:
    """A change of an alert: its level from then on; 0 if it is over."""

    at: datetime
    level: int
    reason: str
    by: str = "auto"


@dataclass(slots=True)
class AlertTrace:
    """An alert of a replay, with all its level changes."""

    ledger: str
    key: str
    turns: list[AlertLevelChange] = field(default_factory=list)

    @property
    def peak_level(self) -> int:
        """The highest level that it reached."""
        return max(turn.level for turn in self.turns)

    @property
    def over_at(self) -> datetime | None:
        """When its condition ended; None if it did not."""
        return self.turns[-1].at if self.turns[-1].level == 0 else None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "ledger": self.ledger,
            "key": self.key,
            "raised_at": format_iso(self.turns[0].at),
            "peak_level": self.peak_level,
            "over_at": None if self.over_at is None else format_iso(self.over_at),
            "reason": self.turns[0].reason,
            "turns": [asdict(turn) | {"at": format_iso(turn.at)} for turn in self.turns],
        }


class ReplayTotals:
    """Totals over the decisions of a replay. `finish` closes what is open at the end.

    Attributes:
        looks: Number of decisions.
        levels: The level over time.
        measured: The level over time, without the time in which only the answer of a person is missing.
        facts_seen: Those of `STORED_ONLY` that any decision had.
        sight: Seconds by observability: full, degraded or blind.
        criteria: The level that each criterion requested over time.
        judging: Over time, 1 while a criterion has recent evidence of at least one station.
        station_levels: The level that each criterion requested at each station over time.
        strength: Strength of the velocity criteria, for comparison with forecasts.
        looks_with_data: Number of decisions at which each criterion had data.
        raises: Number of raises of the hazard level that each station supported.
        health: Number of health alerts by station and kind.
        voting_s: Seconds in which a vote of each station counted.
        pended: Days on which a vote of each station was set aside.
    """

    def __init__(self, from_s: float, to_s: float) -> None:
        self.from_s = from_s
        self.to_s = to_s
        self.looks = 0
        self.levels = LevelTimeline()
        self.measured = LevelTimeline()
        self.facts_seen: set[str] = set()
        self.sight: dict[str, float] = defaultdict(float)
        self.alerts: list[AlertTrace] = []
        self.criteria: dict[str, LevelTimeline] = {}
        self.judging: dict[str, LevelTimeline] = {}
        self.station_levels: dict[tuple[str, str], LevelTimeline] = {}
        self.strength = Strength()
        self.looks_with_data: Counter[str] = Counter()
        self.raises: Counter[str] = Counter()
        self.health: dict[str, Counter[str]] = defaultdict(Counter)
        self.voting_s: dict[str, float] = defaultdict(float)
        self.pended: dict[str, set[str]] = defaultdict(set)
        self._open: dict[tuple[str, str], AlertTrace] = {}
        self._last: ReplayDecision | None = None

    def add(self, step: ReplayDecision) -> None:
        """Add a decision."""
        self.looks += 1
        now_s = epoch_s(step.at)
        self._pass_time(now_s)
        for at, change in step.acted:
            self._add_change(change, at, "person")
            self.levels.note(epoch_s(at), change.level)
        for change in step.decision.changes:
            if not change.repeats:
                self._add_change(change, step.at, "auto")
            if change.ledger == AlertCategory.HAZARD and change.level > step.before.level:
                supporters = step.decision.memory.supporters.items()
                self.raises.update({key.station for key, level in supporters if level >= change.level})
        self.levels.note(now_s, step.decision.level)
        self.measured.note(now_s, 0 if _needs_only_answer(step.decision.evidence) else step.decision.level)
        self.facts_seen.update(name for name in STORED_ONLY if getattr(step.inputs, name))
        self._add_assessments(step, now_s)
        self._last = step

    def finish(self, to_s: float) -> None:
        """Close all timelines at the end of the replay."""
        self._pass_time(to_s)
        self.levels.close(to_s)
        self.measured.close(to_s)
        self.strength.close(to_s)
        for timeline in (*self.criteria.values(), *self.judging.values(), *self.station_levels.values()):
            timeline.close(to_s)

    def _pass_time(self, now_s: float) -> None:
        if self._last is None:
            return
        passed_s = now_s - epoch_s(self._last.at)
        self.sight[self._last.decision.observability] += passed_s
        votes = self._last.decision.evidence["votes"]
        for station in {VoteKey.read(k).station for k, v in votes.items() if v["counted"]}:
            self.voting_s[station] += passed_s

    def _add_assessments(self, step: ReplayDecision, now_s: float) -> None:
        levels: dict[str, int] = {c.id: 0 for c in step.site.criteria}
        station_levels = dict.fromkeys(self.station_levels, 0)
        with_data: set[str] = set()
        judging: set[str] = set()
        for assessment in step.decision.evidence["words"]:
            if assessment["heard"]:
                with_data.add(assessment["criterion"])
                if _is_recent(step.site, assessment, now_s):
                    judging.add(assessment["criterion"])
                levels[assessment["criterion"]] = max(levels.get(assessment["criterion"], 0), assessment["raise_level"])
                station_levels[assessment["criterion"], assessment["station"]] = assessment["raise_level"]
        if any(c.kind.facts == "forecasts" for c in step.site.criteria):
            self.strength.add(step.site, step.decision.evidence["words"], now_s)
        self.looks_with_data.update(with_data)
        for criterion, level in levels.items():
            self.criteria.setdefault(criterion, LevelTimeline()).note(now_s, level)
            self.judging.setdefault(criterion, LevelTimeline()).note(now_s, int(criterion in judging))
        for place, level in station_levels.items():
            self.station_levels.setdefault(place, LevelTimeline()).note(now_s, level)
        for key, vote in step.decision.evidence["votes"].items():
            if vote["pended"]:
                self.pended[VoteKey.read(key).station].add(f"{from_epoch_s(now_s):%Y-%m-%d}")

    def _add_change(self, change: AlertChange, at: datetime, by: str) -> None:
        key = (str(change.ledger), change.key)
        trace = self._open.get(key)
        level = change.level if change.open else 0
        if trace is None:
            if level == 0:
                return
            trace = self._open[key] = AlertTrace(*key)
            self.alerts.append(trace)
            if change.ledger == AlertCategory.HEALTH:
                # health:G1.displacement:stale, health:site:reachable, health:reference:BASE:verify
                _, *name, kind = change.key.split(":")
                self.health[":".join(name).partition(".")[0]][kind] += 1
        trace.turns.append(AlertLevelChange(at, level, change.reason, by))
        if level == 0:
            del self._open[key]


def _is_recent(site: Site, assessment: Mapping[str, Any], now_s: float) -> bool:
    """Return whether the newest reading of an assessment is not older than its series may be silent."""
    criterion = next((candidate for candidate in site.criteria if candidate.id == assessment["criterion"]), None)
    spec = None if criterion is None else site.series(assessment["station"], criterion.quantity)
    newest_s = assessment["newest_s"]
    return spec is None or newest_s is None or now_s - newest_s <= spec.max_silence_s


def _needs_only_answer(evidence: Mapping[str, Any]) -> bool:
    """Return whether only the missing answer of a person keeps the level.

    Either nothing requests a level any more and only a person may lower it, or all requests are jumps that nobody has
    explained.
    """
    rules = evidence.get("rules", {}).values()
    if any(vote["counted"] for vote in evidence["votes"].values()) or any(rule["holds"] for rule in rules):
        return False
    steps = [step for step in evidence["steps"].values() if step["level"] > 0]
    if evidence["asked"] > 0:
        return all(step["state"] == COUNTED for step in steps)
    return BY_PERSON in evidence["held_by"]


# Factors by which the bounds of velocity are multiplied; the middle one is 1.
FACTORS: Final = tuple(2.0 ** (k / 4.0) for k in range(-16, 17))
AS_DECLARED: Final = FACTORS.index(1.0)


class Strength:
    """For each level, the largest of `FACTORS` with which the bounds of velocity would still be crossed, over time.

    It is computed from the evidence: the newest fit of each epoch, with the dwell of its criterion.
    """

    def __init__(self) -> None:
        self.timelines: dict[int, LevelTimeline] = {}
        self._recent: dict[tuple[str, str, int], deque[tuple[float, float]]] = {}

    def add(self, site: Site, assessments: Sequence[Mapping[str, Any]], now_s: float) -> None:
        """Add the assessments of a decision."""
        criteria = {c.id: c for c in site.criteria if c.kind.velocity}
        counts: dict[int, int] = {bound.level: 0 for c in criteria.values() for bound in c.thresholds}
        for assessment in assessments:
            criterion = criteria.get(assessment["criterion"])
            if criterion is None or not assessment["heard"]:
                continue
            for fact in assessment["facts"]["bounds"]:
                level = fact["level"]
                factor = self._find_lasting_factor(criterion, assessment["station"], assessment["newest_s"], fact)
                count = sum(candidate < factor for candidate in FACTORS)
                # At a factor of 1 the result must be that of the decision.
                is_raised = assessment["raise_level"] >= level
                count = max(count, AS_DECLARED + 1) if is_raised else min(count, AS_DECLARED)
                counts[level] = max(counts[level], count)
        for level, count in counts.items():
            self.timelines.setdefault(level, LevelTimeline()).note(now_s, count)

    def _find_lasting_factor(
        self, criterion: Criterion, station: str, newest_s: float, fact: Mapping[str, Any]
    ) -> float:
        """Return the factor that as many recent epochs exceeded as the dwell requires."""
        dwell = criterion.dwell
        recent = self._recent.setdefault(
            (criterion.id, station, fact["level"]), deque(maxlen=max(dwell.of, dwell.hits))
        )
        if "rate" in fact and (not recent or recent[-1][0] < newest_s):
            is_significant = fact["rate"] > criterion.min_sigma * fact["error"]
            recent.append((newest_s, fact["low"] / fact["bound"] if is_significant and fact["bound"] > 0.0 else 0.0))
        counted = [f for at_s, f in recent if dwell.within_s is None or newest_s - at_s <= dwell.within_s]
        if len(counted) < dwell.hits:
            return 0.0
        return sorted(counted)[-dwell.hits]

    def close(self, to_s: float) -> None:
        """Close all timelines at the end of the replay."""
        for timeline in self.timelines.values():
            timeline.close(to_s)

    def warn(self, factor: int) -> list[Span]:
        """Return the warnings of the velocity criteria with their bounds multiplied by `FACTORS[factor]`."""
        return sorted(
            (
                Span(s.from_s, s.to_s, level)
                for level, timeline in self.timelines.items()
                for s in timeline.spans
                if s.level > factor
            ),
            key=lambda s: s.from_s,
        )


@dataclass(frozen=True, slots=True)
class ForecastGain:
    """Velocity with one forecast criterion, compared with velocity alone.

    Attributes:
        criterion: Id of the forecast criterion.
        data_share: Share of decisions with a forecast.
        false_days: False days of velocity alone with its declared bounds, and of both together.
        factor: Factor on the bounds of velocity with which velocity alone has no more false days than both; None if
            there is none.
        alone: Scores of the events by velocity with this factor.
        together: Scores of the events by both.
    """

    criterion: str
    data_share: float
    false_days: tuple[int, int]
    factor: float | None
    alone: tuple[EventScore, ...]
    together: tuple[EventScore, ...]

    @property
    def gained_s(self) -> tuple[float | None, ...]:
        """Lead time of both minus lead time of velocity alone, by event. A miss has no lead; None if both missed."""
        pairs = [(a.lead_s, b.lead_s) for a, b in zip(self.alone, self.together, strict=True)]
        return tuple(None if a is b is None else (b or 0.0) - (a or 0.0) for a, b in pairs)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "criterion": self.criterion,
            "heard_share": round(self.data_share, 4),
            "false_days_velocity": self.false_days[0],
            "false_days_with_forecast": self.false_days[1],
            "velocity_bounds_times": self.factor,
            "events": [
                {"name": b.label.name, "lead_with_forecast_s": b.lead_s, "lead_velocity_s": a.lead_s, "gained_s": gain}
                for a, b, gain in zip(self.alone, self.together, self.gained_s, strict=True)
            ],
        }


def find_gains(
    site: Site,
    strength: Strength,
    spans: Mapping[str, Sequence[Span]],
    data_shares: Mapping[str, float],
    labels: Sequence[EventLabel],
    lead_s: float,
) -> tuple[ForecastGain, ...]:
    """Return the gain of each forecast criterion; empty without labelled events or velocity criteria."""

    def count(spans: Sequence[Span]) -> int:
        return len(find_false_days(spans, labels, (), lead_s, site.timezone, judged=True))

    declared = strength.warn(AS_DECLARED)
    gains = []
    for criterion in site.criteria if labels and strength.timelines else ():
        if criterion.kind.facts != "forecasts":
            continue
        highest = max((t.level for t in criterion.thresholds), default=site.top_level)
        reachable = [replace(label, level=min(label.level, highest)) for label in labels]
        both = sorted((*declared, *(s for s in spans.get(criterion.id, ()) if s.level > 0)), key=lambda s: s.from_s)
        allowed = count(both)
        place = next((k for k in range(len(FACTORS)) if count(strength.warn(k)) <= allowed), None)
        alone = declared if place is None else strength.warn(place)
        gains.append(
            ForecastGain(
                criterion=criterion.id,
                data_share=data_shares.get(criterion.id, 0.0),
                false_days=(count(declared), allowed),
                factor=None if place is None else FACTORS[place],
                alone=tuple(score_event(label, alone, lead_s) for label in reachable),
                together=tuple(score_event(label, both, lead_s) for label in reachable),
            )
        )
    return tuple(gains)


@dataclass(frozen=True, slots=True)
class CriterionScore:
    """Score of one criterion alone, from its assessments, without witnesses and the rules of the level.

    Attributes:
        judged_share: Share of the time with recent evidence of at least one station.
        not_computed: Why its inputs were not computed in this replay; None if they were.
        crossings: Number of rises from level 0.
        days: Days with at least the lowest level.
        days_judged: Days with recent evidence of at least one station. On other days it could raise no level.
        false_days: None if no event is labelled.
    """

    criterion: str
    kind: str
    role: str
    judged_share: float
    not_computed: Message | None
    crossings: int
    days: int
    days_by_level: Mapping[str, int]
    days_judged: int
    false_days: int | None
    events: tuple[EventScore, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        misses = sum(e.missed for e in self.events)
        return asdict(self) | {
            "hits": len(self.events) - misses,
            "misses": misses,
            "judged_share": round(self.judged_share, 4),
            "events": [event.to_json() for event in self.events],
        }


@dataclass(frozen=True, slots=True)
class SensorScore:
    """The effect of a station on alerts. Questions about the site or a reference have entries of their own.

    Attributes:
        raises: Number of raises of the hazard level that depended on it.
        voting_days: Days in which a vote of it counted.
        health: Number of health alerts by kind.
    """

    station: str
    raises: int
    voting_days: float
    health: Mapping[str, int]
    pended_days: int


@dataclass(frozen=True, slots=True)
class DetectorScore:
    """The anomalies that a detector reported during the time of a replay, and how people labelled them.

    An anomaly that several detectors reported counts once for each of them. Checks have no threshold and no budget;
    their last three fields are empty.
    """

    detector: str
    reported: int
    confirmed: int
    dismissed: int
    false_alarms: Message | str = "-"
    budget_per_sensor_month: float | None = None
    factor: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "detector": self.detector,
            "reported": self.reported,
            "confirmed": self.confirmed,
            "dismissed": self.dismissed,
            "nobody_said": self.reported - self.confirmed - self.dismissed,
            "false_alarms": self.false_alarms,
            "budget_per_sensor_month": self.budget_per_sensor_month,
            "factor": self.factor,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """The replay of one site file over the whole time.

    Attributes:
        alarm_days: Days with a hazard level.
        words: The level that each criterion requested over time.
        gains: The gain of each forecast criterion over velocity.
        leads: Lead times of each level, of the decision and of each criterion.
        station_levels: The level that each criterion requested at each station over time.
    """

    name: str
    config_version: str
    level_names: tuple[str, ...]
    looks: int
    levels: tuple[Span, ...]
    alerts: tuple[AlertTrace, ...]
    time_in_level_s: Mapping[str, float]
    sight_s: Mapping[str, float]
    events: tuple[EventScore, ...]
    alarm_days: tuple[AlarmDay, ...]
    matrix: Matrix
    criteria: tuple[CriterionScore, ...]
    sensors: tuple[SensorScore, ...]
    words: Mapping[str, tuple[Span, ...]]
    gains: tuple[ForecastGain, ...] = ()
    windows: WindowTable = field(default_factory=WindowTable)
    leads: tuple[LevelLead, ...] = ()
    station_levels: Mapping[tuple[str, str], tuple[Span, ...]] = field(default_factory=dict)

    @property
    def days_by_kind(self) -> dict[str, int]:
        """Days with a hazard level, by kind."""
        counted = Counter(day.kind for day in self.alarm_days)
        return {kind: counted[kind] for kind in DAY_KINDS}

    @property
    def false_days(self) -> dict[str, int]:
        """Days with a false alarm, by cause."""
        return dict(sorted(Counter(day.cause for day in self.alarm_days if day.kind == FALSE).items()))

    @property
    def misses(self) -> int:
        """Number of events whose required level was never reached."""
        return sum(e.missed for e in self.events)

    @property
    def hazards(self) -> tuple[AlertTrace, ...]:
        """The hazard alerts."""
        return tuple(a for a in self.alerts if a.ledger == "hazard")

    def list_alarms(self) -> list[SystemAlarm]:
        """Return the times of alarm, the oldest first, for a comparison with another system.

        An alarm lasts while a level above the lowest is in force and a criterion with a vote requests one. Nobody
        lowers the highest levels in a replay, so the time at a level would not show when the motion ended. A rise
        without such a request, such as that of a jump, is an alarm without a duration.
        """
        voting = {score.criterion for score in self.criteria if score.role != "advice"}
        requests = [span for name in voting for span in self.words.get(name, ()) if span.level > 0]
        alarms = _join_overlaps([span for span in self.levels if span.level > 0], requests)
        for trace in self.hazards:
            at_s = epoch_s(trace.turns[0].at)
            if not any(alarm.from_s <= at_s <= alarm.to_s for alarm in alarms):
                alarms.append(Span(at_s, at_s, trace.turns[0].level))
        alarms.sort(key=lambda alarm: alarm.from_s)
        return [
            SystemAlarm(from_epoch_s(a.from_s), from_epoch_s(a.to_s), number, self.level_names[a.level])
            for number, a in enumerate(alarms, start=1)
        ]

    def find_level_name(self, at: datetime) -> str:
        """Return the name of the level at an instant; empty outside of the replay."""
        at_s = epoch_s(at)
        return next((self.level_names[s.level] for s in self.levels if s.from_s <= at_s < s.to_s), "")

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "config_version": self.config_version,
            "looks": self.looks,
            "level_history": [
                {
                    "from": format_iso(from_epoch_s(s.from_s)),
                    "to": format_iso(from_epoch_s(s.to_s)),
                    "level": s.level,
                    "level_name": self.level_names[s.level],
                }
                for s in self.levels
            ],
            "alerts": [a.to_json() for a in self.alerts],
            "time_in_level_h": {k: round(v / 3600.0, 4) for k, v in self.time_in_level_s.items()},
            "observability_h": {k: round(v / 3600.0, 4) for k, v in sorted(self.sight_s.items())},
            "events": [e.to_json() for e in self.events],
            "misses": self.misses,
            "alarm_days": len(self.alarm_days),
            "alarm_days_by_kind": self.days_by_kind,
            "alarm_day_list": [day.to_json() for day in self.alarm_days],
            "false_alarm_days": self.false_days,
            "duration_matrix": self.matrix.to_json(),
            "criteria": [c.to_json() for c in self.criteria],
            "sensors": [asdict(s) | {"voting_days": round(s.voting_days, 3)} for s in self.sensors],
            "forecast_gain": [g.to_json() for g in self.gains],
            "level_leads": [lead.to_json(self.level_names) for lead in self.leads],
            "failure_windows": self.windows.to_json(),
        }


def _join_overlaps(levels: Sequence[Span], requests: Sequence[Span]) -> list[Span]:
    """Return the times in which spans of both lists overlap, joined where they touch, with the highest level.

    >>> _join_overlaps([Span(10.0, 99.0, 3)], [Span(0.0, 20.0, 1), Span(20.0, 30.0, 2), Span(50.0, 60.0, 1)])
    [Span(from_s=10.0, to_s=30.0, level=2), Span(from_s=50.0, to_s=60.0, level=1)]
    """
    overlaps = [
        Span(max(level.from_s, request.from_s), min(level.to_s, request.to_s), min(level.level, request.level))
        for level in levels
        for request in requests
        if level.from_s < request.to_s and request.from_s < level.to_s
    ]
    joined: list[Span] = []
    for overlap in sorted(overlaps, key=lambda span: span.from_s):
        if joined and overlap.from_s <= joined[-1].to_s:
            last = joined[-1]
            joined[-1] = Span(last.from_s, max(last.to_s, overlap.to_s), max(last.level, overlap.level))
        else:
            joined.append(overlap)
    return joined


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The result of a backtest with one site file, or with two for comparison.

    Attributes:
        known: Which times of knowledge were used, and for how many rows.
        unproven: Criteria that counted here and are advice in the service, one line each.
        other_alarms: Alarms of another system that watches the same slope, oldest first.
    """

    site: str
    site_name: str
    from_at: datetime
    to_at: datetime
    known: Mapping[str, Any]
    lead_s: float
    rule_version: str
    labels: tuple[EventLabel, ...]
    runs: tuple[Run, ...]
    detectors: tuple[DetectorScore, ...] = ()
    unproven: tuple[Message, ...] = ()
    other_alarms: tuple[SystemAlarm, ...] = ()

    def list_episodes(self, run: Run) -> list[Episode]:
        """Return the alarms of a run beside those of the other system; empty if none of that system are stored."""
        return group_alarms(run.list_alarms(), self.other_alarms) if self.other_alarms else []

    def to_json(self) -> dict[str, Any]:
        """Return the scorecard as JSON values."""
        return {
            "site": self.site,
            "site_name": self.site_name,
            "from": format_iso(self.from_at),
            "to": format_iso(self.to_at),
            "known": dict(self.known),
            "lead_window_h": self.lead_s / 3600.0,
            "rule_version": self.rule_version,
            "labels": [x.to_json() for x in self.labels],
            "runs": [r.to_json() for r in self.runs],
            "differences": list(self.differences()),
            "detectors": [d.to_json() for d in self.detectors],
            "unproven": list(self.unproven),
            "other_system": {
                run.name: [
                    episode.to_json() | {"own_level": run.find_level_name(episode.from_at)}
                    for episode in self.list_episodes(run)
                ]
                for run in self.runs
            },
        }

    def differences(self) -> tuple[Message, ...]:
        """Return the differences between two runs, one line each; empty for one run."""
        if len(self.runs) < 2:
            return ()
        a, b = self.runs[:2]
        lines = []
        for name in a.level_names[1:]:
            a_s, b_s = a.time_in_level_s.get(name, 0.0), b.time_in_level_s.get(name, 0.0)
            if a_s != b_s:
                days, days2 = (Figure(spent_s / 86400.0, ".2f", "d") for spent_s in (a_s, b_s))
                lines.append(_DAYS(level=Term(name), days=days, first=a.name, days2=days2, second=b.name))
        a_firsts, b_firsts = _find_first_times(a), _find_first_times(b)
        for level in sorted({*a_firsts, *b_firsts}):
            a_at, b_at = a_firsts.get(level), b_firsts.get(level)
            if a_at != b_at:
                name = a.level_names[level] if level < len(a.level_names) else str(level)
                at, at2 = (_NEVER() if first is None else Timestamp.of(first) for first in (a_at, b_at))
                lines.append(_SINCE(level=Term(name), at=at, first=a.name, at2=at2, second=b.name))
        counts = (
            (len(r.hazards), r.misses, len(r.alarm_days), sum(x.ledger == "health" for x in r.alerts)) for r in (a, b)
        )
        for template, a_count, b_count in zip((_HAZARDS, _MISSES, _ALARM_DAYS, _HEALTH), *counts, strict=True):
            if a_count != b_count:
                lines.append(_COUNTS(what=template(), n=a_count, first=a.name, n2=b_count, second=b.name))
        return tuple(lines)


@dataclass(frozen=True, slots=True)
class BesideDecision:
    """What a replay computed besides the decisions.

    Attributes:
        windows: The failure windows.
        fixed: The level over time by a fixed bound; None if it was not replayed.
        not_computed: Why the failure windows of a criterion were not computed, by its id.
    """

    windows: WindowTable = field(default_factory=WindowTable)
    fixed: Sequence[Span] | None = None
    not_computed: Mapping[str, Message] = field(default_factory=dict)


def score(
    name: str,
    site: Site,
    totals: ReplayTotals,
    labels: Sequence[EventLabel],
    alerts: Sequence[AlertWithOutcome],
    lead_s: float,
    beside: BesideDecision = BesideDecision(),
) -> Run:
    """Return the run of a replay for the scorecard."""
    names = tuple(k.name for k in site.levels)
    spans = tuple(totals.levels.spans)
    not_computed = dict(beside.not_computed)
    for criterion in site.criteria:
        if criterion.kind.facts in STORED_ONLY and criterion.kind.facts not in totals.facts_seen:
            not_computed[criterion.id] = _NOT_STORED(what=Term(criterion.kind.facts))
    time_in = dict.fromkeys(names, 0.0)
    for span in spans:
        time_in[names[min(span.level, len(names) - 1)]] += span.to_s - span.from_s
    requested_levels = {k: tuple(v.spans) for k, v in totals.criteria.items()}
    return Run(
        name,
        site.version,
        names,
        totals.looks,
        spans,
        tuple(totals.alerts),
        time_in,
        dict(totals.sight),
        tuple(score_event(label, spans, lead_s) for label in labels),
        tuple(list_alarm_days(spans, totals.measured.spans, labels, alerts, lead_s, site.timezone)),
        build_matrix(spans, labels, lead_s, names),
        tuple(_score_criterion(site, c, totals, labels, lead_s, not_computed.get(c.id)) for c in site.criteria),
        tuple(
            SensorScore(
                name,
                totals.raises[name],
                totals.voting_s.get(name, 0.0) / 86400.0,
                dict(sorted(totals.health.get(name, {}).items())),
                len(totals.pended.get(name, ())),
            )
            for name in dict.fromkeys((*(s.id for s in site.stations), *totals.health))
        ),
        requested_levels,
        find_gains(
            site,
            totals.strength,
            requested_levels,
            {k: n / max(totals.looks, 1) for k, n in totals.looks_with_data.items()},
            labels,
            lead_s,
        ),
        beside.windows,
        list_level_leads(
            {
                DECISION: spans,
                **({} if beside.fixed is None else {FIXED_BOUND: beside.fixed}),
                **{c.id: requested_levels.get(c.id, ()) for c in site.criteria if c.id not in not_computed},
            },
            labels,
            lead_s,
            site.top_level,
            totals.to_s,
        ),
        {place: tuple(timeline.spans) for place, timeline in totals.station_levels.items()},
    )


def _score_criterion(
    site: Site,
    criterion: Criterion,
    totals: ReplayTotals,
    labels: Sequence[EventLabel],
    lead_s: float,
    not_computed: Message | None,
) -> CriterionScore:
    timeline = totals.criteria.get(criterion.id)
    judging = totals.judging.get(criterion.id)
    # A criterion that only has a bound for yellow is not expected to raise orange.
    highest = max((t.level for t in criterion.thresholds), default=site.top_level)
    spans = tuple(timeline.spans) if timeline else ()
    days = find_days(spans, site.timezone)
    by_level = {k.name: sum(level == k.number for level in days.values()) for k in site.levels if k.number > 0}
    judged = len(find_false_days(spans, labels, (), lead_s, site.timezone, judged=True)) if labels else None
    rises = sum(
        s.level > 0 and (i == 0 or spans[i - 1].level == 0 or spans[i - 1].to_s < s.from_s) for i, s in enumerate(spans)
    )
    return CriterionScore(
        criterion.id,
        criterion.kind.id,
        criterion.role,
        _find_judged_share(totals, criterion.id),
        not_computed,
        rises,
        len(days),
        by_level,
        0 if judging is None else len(find_days(judging.spans, site.timezone)),
        judged,
        tuple(score_event(replace(label, level=min(label.level, highest)), spans, lead_s) for label in labels),
    )


def _find_judged_share(totals: ReplayTotals, criterion: str) -> float:
    """Return the share of the time in which a criterion had recent evidence of at least one station."""
    timeline = totals.judging.get(criterion)
    total_s = sum(totals.sight.values())
    if timeline is None or total_s <= 0.0:
        return 0.0
    return sum(span.to_s - span.from_s for span in timeline.spans if span.level > 0) / total_s


def _find_first_times(run: Run) -> dict[int, datetime]:
    """Return the first time at which each level, or a higher one, was reached."""
    first_times: dict[int, datetime] = {}
    for span in run.levels:
        for level in range(1, span.level + 1):
            first_times.setdefault(level, from_epoch_s(span.from_s))
    return first_times
