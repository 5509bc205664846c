"""Labelled events, how they were warned of, and warning levels against their classes: the EDuMaP matrix.

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

NONE: Final = 0  # class of the time without an event
BEFORE: Final = -1  # the time before an event in which a warning is no false one
CLASSES: Final = {"small": 1, "intermediate": 2, "large": 3, "very_large": 4}


@dataclass(frozen=True, slots=True)
class EventLabel:
    """One event: its time, how large it was, and the lowest level that would have been a right warning."""

    from_at: datetime
    to_at: datetime
    class_number: int  # 1 = smallest
    level: int
    name: str = ""
    source: str = "labels"  # labels or outcome

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
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
        ConfigError: a column is missing or a cell cannot be read; names file and line.
    """
    rows = csv.DictReader(read_text(path).removeprefix("\ufeff").splitlines())
    missing = {"from", "class"} - set(rows.fieldnames or ())
    if missing:
        raise ConfigError(f"{path}: columns {', '.join(sorted(missing))} are missing; expected from,to,class[,level]")
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            found.append(_read_row({k: (v or "").strip() for k, v in row.items() if isinstance(k, str)}, site))
        except ValueError as error:
            raise ConfigError(f"{path}: line {line}: {error}") from error
    return tuple(sorted(found, key=lambda x: (x.from_at, x.to_at)))


def _read_row(row: dict[str, str], site: Site) -> EventLabel:
    from_at = _instant(row["from"])
    to_at = _instant(row["to"]) if row.get("to") else from_at
    if to_at < from_at:
        raise ValueError("the event ends before it begins")
    number = CLASSES.get(row["class"]) or (int(row["class"]) if row["class"].isdigit() else 0)
    if number < 1:
        raise ValueError(f"class {row['class']!r}: expected a whole number from 1 or one of {', '.join(CLASSES)}")
    return EventLabel(from_at, to_at, number, _level(row.get("level", ""), number, site), row.get("name", ""))


def _level(text: str, number: int, site: Site) -> int:
    if not text:
        return min(number, site.top_level)
    names = [k.name for k in site.levels]
    level = names.index(text) if text in names else int(text) if text.isdigit() else -1
    if not 1 <= level <= site.top_level:
        raise ValueError(f"level {text!r}: expected one of: {', '.join(names[1:])}")
    return level


def _instant(text: str) -> datetime:
    if len(text) == len("2026-03-01"):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)  # a day, from its beginning in UTC
    return parse_time(text)


def labels_of_outcomes(alerts: Sequence[AlertWithOutcome], to_at: datetime, site: Site) -> tuple[EventLabel, ...]:
    """Events that people confirmed: hazard alerts whose outcome is `true`, from when they were raised until over."""
    found = []
    for a in alerts:
        if a.ledger == "hazard" and a.outcome == "true" and a.raised_at <= to_at:
            number = max(1, a.peak_level)
            end = min(a.over_at or to_at, to_at)
            found.append(EventLabel(a.raised_at, end, number, min(number, site.top_level), f"alert {a.id}", "outcome"))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Span:
    """A time at one level, [from, to)."""

    from_s: float
    to_s: float
    level: int


class LevelTimeline:
    """Spans of a level that changes."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._level: int | None = None
        self._since_s = 0.0

    def note(self, at_s: float, level: int) -> None:
        """The level from an instant on."""
        if level != self._level:
            self.close(at_s)
            self._level, self._since_s = level, at_s

    def close(self, at_s: float) -> None:
        """What stands stood until an instant."""
        if self._level is not None and at_s > self._since_s:
            self.spans.append(Span(self._since_s, at_s, self._level))
        self._since_s = at_s


@dataclass(frozen=True, slots=True)
class Matrix:
    """Seconds by (level, class); `required` is the level that is right for each class."""

    classes: tuple[int, ...]  # BEFORE, NONE, then 1 ..
    levels: tuple[str, ...]
    seconds: Mapping[tuple[int, int], float]
    required: Mapping[int, int]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, in hours."""
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
        """Indicators of the matrix; None where their denominator is zero. Time before events counts for none of them.

        Alert classification: correct alert (level at least the required one, in an event), missed alert (below it),
        false alert (level above 0 without event), true negative. Grade of correctness: the distance of level from
        required level: 0 green, 1 yellow, 2 red, 3 and more purple.
        """
        cp = ma = fa = tn = red = purple = 0.0
        for (level, number), spent_s in self.seconds.items():
            if number == BEFORE:
                continue
            required = self.required.get(number, 0)
            distance = abs(level - required)
            red += spent_s if distance == 2 else 0.0
            purple += spent_s if distance >= 3 else 0.0
            if number == NONE:
                fa, tn = (fa + spent_s, tn) if level > 0 else (fa, tn + spent_s)
            else:
                cp, ma = (cp + spent_s, ma) if level >= required else (cp, ma + spent_s)
        total = cp + ma + fa + tn
        return {
            "correct_alerts_h": cp / 3600.0,
            "missed_alerts_h": ma / 3600.0,
            "false_alerts_h": fa / 3600.0,
            "true_negatives_h": tn / 3600.0,
            "efficiency": _share(cp + tn, total),
            "hit_rate": _share(cp, cp + ma),
            "predictive_power": _share(cp, cp + fa),
            "threat_score": _share(cp, cp + ma + fa),
            "odds_ratio": _share(cp + tn, ma + fa),
            "misclassification_rate": _share(ma + fa, total),
            "missed_alert_rate": _share(ma, cp + ma),
            "false_alert_rate": _share(fa, cp + fa),
            "missed_and_false_balance": _share(ma, ma + fa),
            "error_rate": _share(red + purple, total),
            "serious_mistakes": _share(purple, total),
        }


def name_class(number: int) -> str:
    """How a class is shown.

    >>> name_class(-1), name_class(0), name_class(2)
    ('before', 'none', '2')
    """
    return {BEFORE: "before", NONE: "none"}.get(number, str(number))


def build_matrix(spans: Sequence[Span], labels: Sequence[EventLabel], lead_s: float, levels: tuple[str, ...]) -> Matrix:
    """Durations of every level in every class of event; where events overlap the largest class counts."""
    found: dict[tuple[int, int], float] = {}
    edges = sorted(
        {epoch_s(x.from_at) for x in labels}
        | {epoch_s(x.to_at) for x in labels}
        | {epoch_s(x.from_at) - lead_s for x in labels}
    )
    for span in spans:
        cuts = [span.from_s, *(e for e in edges if span.from_s < e < span.to_s), span.to_s]
        for from_s, to_s in pairwise(cuts):
            key = (span.level, class_at((from_s + to_s) / 2.0, labels, lead_s))
            found[key] = found.get(key, 0.0) + to_s - from_s
    required: dict[int, int] = {NONE: 0}
    for label in labels:
        known = required.get(label.class_number)
        required[label.class_number] = label.level if known is None else min(known, label.level)
    classes = ((BEFORE,) if labels else ()) + tuple(sorted(required))
    return Matrix(classes, levels, found, required)


def class_at(at_s: float, labels: Sequence[EventLabel], lead_s: float) -> int:
    """The class of the largest event that lasts at an instant; BEFORE within the lead of one; else NONE."""
    lasting = [x.class_number for x in labels if epoch_s(x.from_at) <= at_s <= epoch_s(x.to_at)]
    if lasting:
        return max(lasting)
    return BEFORE if any(epoch_s(x.from_at) - lead_s <= at_s < epoch_s(x.from_at) for x in labels) else NONE


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0.0 else None


UNJUDGED: Final = "unjudged"  # nobody labelled anything: nothing can be called false
UNEXPLAINED: Final = "unexplained"
# kinds of days with a hazard level; every such day is of exactly one kind
EVENT: Final = "event"  # it belongs to a labelled event, or people said that the alarm was right
FALSE: Final = "false"  # no event followed, or people said that the alarm was wrong
WAITING: Final = "waiting"  # nothing measured asks for the level: it stands until a person answers
DAY_KINDS: Final = (EVENT, FALSE, WAITING, UNJUDGED)


@dataclass(frozen=True, slots=True)
class AlarmDay:
    """A local day with a hazard level."""

    day: str
    level: int  # the highest of the day
    kind: str  # one of DAY_KINDS
    cause: str = ""  # of a false one, as people recorded it; else UNEXPLAINED

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"day": self.day, "level": self.level, "kind": self.kind, "cause": self.cause}


@dataclass(frozen=True, slots=True)
class EventScore:
    """How an event was met: first warning at all, first at the level that was needed, both with their lead."""

    label: EventLabel
    first_at: datetime | None
    right_at: datetime | None
    peak_level: int

    @property
    def lead_s(self) -> float | None:
        """Seconds from the warning at the needed level to the event; negative = after its beginning."""
        return None if self.right_at is None else (self.label.from_at - self.right_at).total_seconds()

    @property
    def missed(self) -> bool:
        """True when the level that was needed never stood."""
        return self.right_at is None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        first_s = None if self.first_at is None else (self.label.from_at - self.first_at).total_seconds()
        return {
            **self.label.to_json(),
            "first_warning_at": format_known(self.first_at),
            "first_warning_lead_s": first_s,
            "warned_at": format_known(self.right_at),
            "lead_s": self.lead_s,
            "peak_level": self.peak_level,
            "missed": self.missed,
        }


def score_event(label: EventLabel, spans: Sequence[Span], lead_s: float) -> EventScore:
    """First warning of any level and of the needed one that stood in [event - lead, end of event], and the peak."""
    begin_s, end_s = epoch_s(label.from_at) - lead_s, epoch_s(label.to_at)
    # a level that stood at the beginning of that time is a warning since then: no older one is counted as lead
    near = [s for s in spans if s.level > 0 and s.to_s > begin_s and s.from_s <= end_s]
    first = next((max(s.from_s, begin_s) for s in near), None)
    right = next((max(s.from_s, begin_s) for s in near if s.level >= label.level), None)
    return EventScore(
        label,
        None if first is None else from_epoch_s(first),
        None if right is None else from_epoch_s(right),
        max((s.level for s in near), default=0),
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
    """Days with a hazard level and no event within the lead: (day, cause as people recorded it, level)."""
    zone = ZoneInfo(timezone)
    found = []
    for day, level in sorted(find_days(spans, timezone).items()):
        from_at = datetime.fromisoformat(day).replace(tzinfo=zone)
        to_at = from_at + timedelta(days=1)
        if any(x.from_at - timedelta(seconds=lead_s) < to_at and x.to_at >= from_at for x in labels):
            continue
        causes = [
            a.outcome
            for a in alerts
            if a.ledger == "hazard"
            and a.outcome is not None
            and a.raised_at < to_at
            and (a.over_at is None or a.over_at >= from_at)
        ]
        if "true" in causes:
            continue
        found.append((day, causes[-1] if causes else UNEXPLAINED if judged else UNJUDGED, level))
    return found


def list_alarm_days(
    spans: Sequence[Span],
    measured: Sequence[Span],
    labels: Sequence[EventLabel],
    alerts: Sequence[AlertWithOutcome],
    lead_s: float,
    timezone: str,
) -> list[AlarmDay]:
    """Sort the days with a hazard level into those before an event, false ones, waiting ones and unjudged ones.

    Args:
        spans: The level over time.
        measured: The same without the time in which only the answer of a person is missing.
    """
    is_judged = bool(labels) or any(alert.outcome for alert in alerts)
    without_event = {
        day: cause for day, cause, _ in find_false_days(spans, labels, alerts, lead_s, timezone, judged=is_judged)
    }
    measured_days = find_days(measured, timezone)
    found = []
    for day, level in sorted(find_days(spans, timezone).items()):
        cause = without_event.get(day)
        if cause is None:
            found.append(AlarmDay(day, level, EVENT))
        elif cause not in {UNEXPLAINED, UNJUDGED}:
            found.append(AlarmDay(day, level, FALSE, cause))
        elif day not in measured_days:
            found.append(AlarmDay(day, level, WAITING))
        elif cause == UNEXPLAINED:
            found.append(AlarmDay(day, level, FALSE, cause))
        else:
            found.append(AlarmDay(day, level, UNJUDGED))
    return found


def find_days(spans: Sequence[Span], timezone: str) -> dict[str, int]:
    """Local days with a level above 0, with the highest of each."""
    zone = ZoneInfo(timezone)
    found: dict[str, int] = {}
    for span in spans:
        if span.level <= 0:
            continue
        day = from_epoch_s(span.from_s).astimezone(zone).date()
        last = (from_epoch_s(span.to_s) - timedelta(microseconds=1)).astimezone(zone).date()
        while day <= last:
            key = day.isoformat()
            found[key] = max(found.get(key, 0), span.level)
            day += timedelta(days=1)
    return found


def format_known(at: datetime | None) -> str | None:
    """An instant as it is written, or None where there is none."""
    return None if at is None else format_iso(at)
