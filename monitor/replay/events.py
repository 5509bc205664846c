"""Warnings over time beside the events they were for: lead, misses, days of false alarm."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from monitor.domain.decision import instant
from monitor.domain.instants import epoch_s, spell
from monitor.replay.labels import Label
from monitor.replay.spans import Span
from monitor.store.alerting.history import PastAlert

UNJUDGED: Final = "unjudged"  # nobody labelled anything: nothing can be called false
UNEXPLAINED: Final = "unexplained"


@dataclass(frozen=True, slots=True)
class EventScore:
    """How an event was met: first warning at all, first at the level that was needed, both with their lead."""

    label: Label
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
            **self.label.to_json(), "first_warning_at": spell_known(self.first_at), "first_warning_lead_s": first_s,
            "warned_at": spell_known(self.right_at), "lead_s": self.lead_s, "peak_level": self.peak_level,
            "missed": self.missed,
        }  # fmt: skip


def score_event(label: Label, spans: Sequence[Span], lead_s: float) -> EventScore:
    """First warning of any level and of the needed one that stood in [event - lead, end of event], and the peak."""
    begin_s, end_s = epoch_s(label.from_at) - lead_s, epoch_s(label.to_at)
    # a level that stood at the beginning of that time is a warning since then: no older one is counted as lead
    near = [s for s in spans if s.level > 0 and s.to_s > begin_s and s.from_s <= end_s]
    first = next((max(s.from_s, begin_s) for s in near), None)
    right = next((max(s.from_s, begin_s) for s in near if s.level >= label.level), None)
    return EventScore(
        label, None if first is None else instant(first), None if right is None else instant(right),
        max((s.level for s in near), default=0),
    )  # fmt: skip


def find_false_days(
    spans: Sequence[Span], labels: Sequence[Label], alerts: Sequence[PastAlert], lead_s: float, timezone: str, *,
    judged: bool,
) -> list[tuple[str, str, int]]:  # fmt: skip
    """Days with a hazard level and no event within the lead: (day, cause as people recorded it, level)."""
    zone = ZoneInfo(timezone)
    found = []
    for day, level in sorted(find_days(spans, timezone).items()):
        from_at = datetime.fromisoformat(day).replace(tzinfo=zone)
        to_at = from_at + timedelta(days=1)
        if any(x.from_at - timedelta(seconds=lead_s) < to_at and x.to_at >= from_at for x in labels):
            continue
        causes = [
            a.outcome for a in alerts
            if a.ledger == "hazard" and a.outcome is not None and a.raised_at < to_at
            and (a.over_at is None or a.over_at >= from_at)
        ]  # fmt: skip
        if "true" in causes:
            continue
        found.append((day, causes[-1] if causes else UNEXPLAINED if judged else UNJUDGED, level))
    return found


def find_days(spans: Sequence[Span], timezone: str) -> dict[str, int]:
    """Local days with a level above 0, with the highest of each."""
    zone = ZoneInfo(timezone)
    found: dict[str, int] = {}
    for span in spans:
        if span.level <= 0:
            continue
        day = instant(span.from_s).astimezone(zone).date()
        last = (instant(span.to_s) - timedelta(microseconds=1)).astimezone(zone).date()
        while day <= last:
            key = day.isoformat()
            found[key] = max(found.get(key, 0), span.level)
            day += timedelta(days=1)
    return found


def spell_known(at: datetime | None) -> str | None:
    """An instant as it is written, or None where there is none."""
    return None if at is None else spell(at)
