"""Score warnings against labelled events: lead times, false days, and the EDuMaP matrix of levels and event classes.

Calvello, M. and Piciullo, L. (2016): Assessing the performance of regional landslide early warning models: the EDuMaP
method. Nat. Hazards Earth Syst. Sci. 16, 103-122, https://doi.org/10.5194/nhess-16-103-2016.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from monitor.alerts.replay.queries import AlertWithOutcome
from monitor.errors import ConfigError
from monitor.sections import read_text
from monitor.sites.records import Site
from monitor.text.instants import epoch_s, format_iso, from_epoch_s, parse_time

# Class of the time without an event.
NONE: Final = 0
# Class of the time before an event in which a warning is not false.
BEFORE: Final = -1
CLASSES: Final = {"small": 1, "intermediate": 2, "large": 3, "very_large": 4}


@dataclass(frozen=True, slots=True)
class EventLabel:
    """A labelled event.

    Attributes:
        class_number: Size of the event; 1 is the smallest.
        level: The lowest level that would have been a correct warning.
        source: labels or outcome.
    """

    from_at: datetime
    to_at: datetime
    class_number: int
    level: int
    name: str = ""
    source: str = "labels"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "from": format_iso(self.from_at),
            "to": format_iso(self.to_at),
            "class": self.class_number,
            "level": self.level,
            "name": self.name,
            "source": self.source,
        }


def read_labels(path: Path, site: Site) -> tuple[EventLabel, ...]:
    """Read a CSV `from,to,class[,level][,name]`, oldest first.

    `class` is a whole number from 1 or one of small, intermediate, large, very_large; `to` may be empty (an instant);
    `level` is a level of the site by name or number, by default the number of the class, at most the top.

    Raises:
        ConfigError: A column is missing or a cell is not valid. The message names file and line.
    """
    rows = csv.DictReader(read_text(path).removeprefix("\ufeff").splitlines())
    missing = {"from", "class"} - set(rows.fieldnames or ())
    if missing:
        raise ConfigError(f"{path}: columns {', '.join(sorted(missing))} are missing; expected from,to,class[,level]")
    labels = []
    for line, row in enumerate(rows, start=2):
        cells = {name: (cell or "").strip() for name, cell in row.items() if isinstance(name, str)}
        try:
            labels.append(_read_row(cells, site))
        except ValueError as error:
            raise ConfigError(f"{path}: line {line}: {error}") from error
    return tuple(sorted(labels, key=lambda label: (label.from_at, label.to_at)))


def _read_row(row: dict[str, str], site: Site) -> EventLabel:
    from_at = _read_instant(row["from"])
    to_at = _read_instant(row["to"]) if row.get("to") else from_at
    if to_at < from_at:
        raise ValueError("the event ends before it starts")
    number = CLASSES.get(row["class"]) or (int(row["class"]) if row["class"].isdigit() else 0)
    if number < 1:
        raise ValueError(f"class {row['class']!r}: expected a whole number from 1 or one of {', '.join(CLASSES)}")
    return EventLabel(from_at, to_at, number, _read_level(row.get("level", ""), number, site), row.get("name", ""))


def _read_level(text: str, number: int, site: Site) -> int:
    if not text:
        return min(number, site.top_level)
    names = [k.name for k in site.levels]
    level = names.index(text) if text in names else int(text) if text.isdigit() else -1
    if not 1 <= level <= site.top_level:
        raise ValueError(f"level {text!r}: expected one of: {', '.join(names[1:])}")
    return level


def _read_instant(text: str) -> datetime:
    if len(text) == len("2026-03-01"):
        # A date means the start of the day in UTC.
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    return parse_time(text)


def list_labels_of_outcomes(alerts: Sequence[AlertWithOutcome], to_at: datetime, site: Site) -> tuple[EventLabel, ...]:
    """Return the events that operators confirmed: hazard alerts with the outcome `true`, from raising to their end."""
    labels = []
    for alert in alerts:
        if alert.ledger == "hazard" and alert.outcome == "true" and alert.raised_at <= to_at:
            number = max(1, alert.peak_level)
            labels.append(
                EventLabel(
                    from_at=alert.raised_at,
                    to_at=min(alert.over_at or to_at, to_at),
                    class_number=number,
                    level=min(number, site.top_level),
                    name=f"alert {alert.id}",
                    source="outcome",
                )
            )
    return tuple(labels)


@dataclass(frozen=True, slots=True)
class Span:
    """A time span [from_s, to_s) at one level, in epoch seconds."""

    from_s: float
    to_s: float
    level: int


class LevelTimeline:
    """Collect the spans of a level that changes over time."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._level: int | None = None
        self._since_s = 0.0

    def note(self, at_s: float, level: int) -> None:
        """Set the level from an instant on."""
        if level != self._level:
            self.close(at_s)
            self._level = level
            self._since_s = at_s

    def close(self, at_s: float) -> None:
        """End the current span at an instant."""
        if self._level is not None and at_s > self._since_s:
            self.spans.append(Span(self._since_s, at_s, self._level))
        self._since_s = at_s


@dataclass(frozen=True, slots=True)
class Matrix:
    """The time at each level in each class of event.

    Attributes:
        classes: `BEFORE`, `NONE`, then the classes of events from 1.
        seconds: Time by level and class.
        required: The correct level for each class.
    """

    classes: tuple[int, ...]
    levels: tuple[str, ...]
    seconds: Mapping[tuple[int, int], float]
    required: Mapping[int, int]

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as JSON values, in hours."""
        return {
            "classes": [name_class(k) for k in self.classes],
            "levels": list(self.levels),
            "required_level": {name_class(k): v for k, v in sorted(self.required.items())},
            "hours": [
                [round(self.seconds.get((level, k), 0.0) / 3600.0, 4) for k in self.classes]
                for level in range(len(self.levels))
            ],
            "indicators": self.indicators(),
        }

    def indicators(self) -> dict[str, float | None]:
        """Return the indicators of the matrix; None if a denominator is zero. The time before events is not counted.

        Alert classification: correct alert (level at least the required one, in an event), missed alert (below it),
        false alert (level above 0 without event), true negative. Grade of correctness: the distance of level from
        required level: 0 green, 1 yellow, 2 red, 3 and more purple.
        """
        correct = missed = false = negative = red = purple = 0.0
        for (level, number), spent_s in self.seconds.items():
            if number == BEFORE:
                continue
            required = self.required.get(number, 0)
            distance = abs(level - required)
            red += spent_s if distance == 2 else 0.0
            purple += spent_s if distance >= 3 else 0.0
            if number == NONE:
                if level > 0:
                    false += spent_s
                else:
                    negative += spent_s
            elif level >= required:
                correct += spent_s
            else:
                missed += spent_s
        total = correct + missed + false + negative
        return {
            "correct_alerts_h": correct / 3600.0,
            "missed_alerts_h": missed / 3600.0,
            "false_alerts_h": false / 3600.0,
            "true_negatives_h": negative / 3600.0,
            "efficiency": _share(correct + negative, total),
            "hit_rate": _share(correct, correct + missed),
            "predictive_power": _share(correct, correct + false),
            "threat_score": _share(correct, correct + missed + false),
            "odds_ratio": _share(correct + negative, missed + false),
            "misclassification_rate": _share(missed + false, total),
            "missed_alert_rate": _share(missed, correct + missed),
            "false_alert_rate": _share(false, correct + false),
            "missed_and_false_balance": _share(missed, missed + false),
            "error_rate": _share(red + purple, total),
            "serious_mistakes": _share(purple, total),
        }


def name_class(number: int) -> str:
    """Return the name of a class.

    >>> name_class(-1), name_class(0), name_class(2)
    ('before', 'none', '2')
    """
    return {BEFORE: "before", NONE: "none"}.get(number, str(number))


def build_matrix(spans: Sequence[Span], labels: Sequence[EventLabel], lead_s: float, levels: tuple[str, ...]) -> Matrix:
    """Return the time at each level in each class of event. If events overlap, the largest class counts."""
    seconds: dict[tuple[int, int], float] = {}
    edges = sorted(
        {epoch_s(label.from_at) for label in labels}
        | {epoch_s(label.to_at) for label in labels}
        | {epoch_s(label.from_at) - lead_s for label in labels}
    )
    for span in spans:
        cuts = [span.from_s, *(edge_s for edge_s in edges if span.from_s < edge_s < span.to_s), span.to_s]
        for from_s, to_s in pairwise(cuts):
            key = (span.level, find_class((from_s + to_s) / 2.0, labels, lead_s))
            seconds[key] = seconds.get(key, 0.0) + to_s - from_s
    required: dict[int, int] = {NONE: 0}
    for label in labels:
        level = required.get(label.class_number)
        required[label.class_number] = label.level if level is None else min(level, label.level)
    classes = ((BEFORE,) if labels else ()) + tuple(sorted(required))
    return Matrix(classes, levels, seconds, required)


def find_class(at_s: float, labels: Sequence[EventLabel], lead_s: float) -> int:
    """Return the class of the largest event at an instant, `BEFORE` within the lead of an event, else `NONE`."""
    classes = [label.class_number for label in labels if epoch_s(label.from_at) <= at_s <= epoch_s(label.to_at)]
    if classes:
        return max(classes)
    return BEFORE if any(epoch_s(label.from_at) - lead_s <= at_s < epoch_s(label.from_at) for label in labels) else NONE


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0.0 else None


# Cause of an alarm without an event, if no event is labelled, so that none can be called false.
UNJUDGED: Final = "unjudged"
# Cause of a false alarm without a recorded cause.
UNEXPLAINED: Final = "unexplained"
# Kinds of days with a hazard level. Each such day has one kind.
# It belongs to a labelled event, or the alarm was confirmed.
EVENT: Final = "event"
# No event followed, or the alarm was recorded as false.
FALSE: Final = "false"
# No data request the level. It stays until a person answers.
WAITING: Final = "waiting"
DAY_KINDS: Final = (EVENT, FALSE, WAITING, UNJUDGED)


@dataclass(frozen=True, slots=True)
class AlarmDay:
    """A local day with a hazard level.

    Attributes:
        level: The highest level of the day.
        kind: One of `DAY_KINDS`.
        cause: For a false alarm, the recorded outcome or `UNEXPLAINED`.
    """

    day: str
    level: int
    kind: str
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"day": self.day, "level": self.level, "kind": self.kind, "cause": self.cause}


@dataclass(frozen=True, slots=True)
class EventScore:
    """The warnings of an event.

    Attributes:
        first_at: Time of the first warning at any level.
        warned_at: Time of the first warning at the required level.
    """

    label: EventLabel
    first_at: datetime | None
    warned_at: datetime | None
    peak_level: int

    @property
    def lead_s(self) -> float | None:
        """Seconds from the warning at the required level to the event; negative after its start."""
        return None if self.warned_at is None else (self.label.from_at - self.warned_at).total_seconds()

    @property
    def missed(self) -> bool:
        """Whether the required level was never reached."""
        return self.warned_at is None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        first_s = None if self.first_at is None else (self.label.from_at - self.first_at).total_seconds()
        return {
            **self.label.to_json(),
            "first_warning_at": format_optional(self.first_at),
            "first_warning_lead_s": first_s,
            "warned_at": format_optional(self.warned_at),
            "lead_s": self.lead_s,
            "peak_level": self.peak_level,
            "missed": self.missed,
        }


def score_event(label: EventLabel, spans: Sequence[Span], lead_s: float) -> EventScore:
    """Return the first warnings in [event - lead, end of event], at any level and at the required one, and the peak."""
    begin_s, end_s = epoch_s(label.from_at) - lead_s, epoch_s(label.to_at)
    # A level from before this time counts as a warning from its start on, so that the lead is limited.
    nearby = [span for span in spans if span.level > 0 and span.to_s > begin_s and span.from_s <= end_s]
    first_s = next((max(span.from_s, begin_s) for span in nearby), None)
    warned_s = next((max(span.from_s, begin_s) for span in nearby if span.level >= label.level), None)
    return EventScore(
        label,
        None if first_s is None else from_epoch_s(first_s),
        None if warned_s is None else from_epoch_s(warned_s),
        max((span.level for span in nearby), default=0),
    )


def find_false_days(
    spans: Sequence[Span],
    labels: Sequence[EventLabel],
    alerts: Sequence[AlertWithOutcome],
    lead_s: float,
    timezone: str,
    *,
    judged: bool,
) -> list[tuple[str, str, int]]:
    """Return the days with a hazard level and no event within the lead: day, recorded cause, level."""
    zone = ZoneInfo(timezone)
    false_days = []
    for day, level in sorted(find_days(spans, timezone).items()):
        from_at = datetime.fromisoformat(day).replace(tzinfo=zone)
        to_at = from_at + timedelta(days=1)
        if any(label.from_at - timedelta(seconds=lead_s) < to_at and label.to_at >= from_at for label in labels):
            continue
        causes = [
            alert.outcome
            for alert in alerts
            if alert.ledger == "hazard"
            and alert.outcome is not None
            and alert.raised_at < to_at
            and (alert.over_at is None or alert.over_at >= from_at)
        ]
        if "true" in causes:
            continue
        false_days.append((day, causes[-1] if causes else UNEXPLAINED if judged else UNJUDGED, level))
    return false_days


def list_alarm_days(
    spans: Sequence[Span],
    measured: Sequence[Span],
    labels: Sequence[EventLabel],
    alerts: Sequence[AlertWithOutcome],
    lead_s: float,
    timezone: str,
) -> list[AlarmDay]:
    """Return the days with a hazard level, each with its kind.

    Args:
        spans: The level over time.
        measured: The level over time without the time in which only the answer of a person is missing.
    """
    is_judged = bool(labels) or any(alert.outcome for alert in alerts)
    without_event = {
        day: cause for day, cause, _ in find_false_days(spans, labels, alerts, lead_s, timezone, judged=is_judged)
    }
    measured_days = find_days(measured, timezone)
    alarm_days = []
    for day, level in sorted(find_days(spans, timezone).items()):
        cause = without_event.get(day)
        if cause is None:
            alarm_days.append(AlarmDay(day, level, EVENT))
        elif cause not in {UNEXPLAINED, UNJUDGED}:
            alarm_days.append(AlarmDay(day, level, FALSE, cause))
        elif day not in measured_days:
            alarm_days.append(AlarmDay(day, level, WAITING))
        elif cause == UNEXPLAINED:
            alarm_days.append(AlarmDay(day, level, FALSE, cause))
        else:
            alarm_days.append(AlarmDay(day, level, UNJUDGED))
    return alarm_days


def find_days(spans: Sequence[Span], timezone: str) -> dict[str, int]:
    """Return the local days with a level above 0, and the highest level of each."""
    zone = ZoneInfo(timezone)
    levels: dict[str, int] = {}
    for span in spans:
        if span.level <= 0:
            continue
        day = from_epoch_s(span.from_s).astimezone(zone).date()
        last = (from_epoch_s(span.to_s) - timedelta(microseconds=1)).astimezone(zone).date()
        while day <= last:
            key = day.isoformat()
            levels[key] = max(levels.get(key, 0), span.level)
            day += timedelta(days=1)
    return levels


def format_optional(at: datetime | None) -> str | None:
    """Return an instant as ISO 8601 text, or None."""
    return None if at is None else format_iso(at)
