"""What forecasts add to the velocity criteria in a replay: lead gained at equal days of false alarm.

Who warns more often warns earlier. So the velocity criteria alone get bounds of their own: all of them multiplied by
the least factor with which they have no more days of false alarm than velocity and forecast have together.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from monitor.domain.site import Criterion, Site
from monitor.replay.events import EventScore, find_false_days, score_event
from monitor.replay.labels import Label
from monitor.replay.spans import Ribbon, Span

FACTORS: Final = tuple(2.0 ** (k / 4.0) for k in range(-16, 17))  # on the bounds of velocity; the middle one is 1
AS_DECLARED: Final = FACTORS.index(1.0)


class Strength:
    """By level, the highest of `FACTORS` that its bounds could be multiplied by and still be crossed, over time.

    Only what the evidence holds is used: the newest fit of each epoch, with the dwell of its criterion.
    """

    def __init__(self) -> None:
        self.ribbons: dict[int, Ribbon] = {}
        self._recent: dict[tuple[str, str, int], deque[tuple[float, float]]] = {}

    def add(self, site: Site, words: Sequence[Mapping[str, Any]], now_s: float) -> None:
        """Take in what the velocity criteria say at a look."""
        criteria = {c.id: c for c in site.criteria if c.kind.velocity}
        found: dict[int, int] = {t.level: 0 for c in criteria.values() for t in c.thresholds}
        for word in words:
            criterion = criteria.get(word["criterion"])
            if criterion is None or not word["heard"]:
                continue
            for said in word["facts"]["bounds"]:
                level = said["level"]
                lasting = self._last(criterion, word["station"], word["newest_s"], said)
                # what the decision itself found holds at a factor of 1
                over = sum(f < lasting for f in FACTORS)
                over = max(over, AS_DECLARED + 1) if word["raise_level"] >= level else min(over, AS_DECLARED)
                found[level] = max(found[level], over)
        for level, over in found.items():
            self.ribbons.setdefault(level, Ribbon()).note(now_s, over)

    def _last(self, criterion: Criterion, station: str, newest_s: float, said: Mapping[str, Any]) -> float:
        """The factor that as many epochs as the dwell needs were over."""
        dwell = criterion.dwell
        recent = self._recent.setdefault(
            (criterion.id, station, said["level"]), deque(maxlen=max(dwell.of, dwell.hits))
        )
        if "rate" in said and (not recent or recent[-1][0] < newest_s):
            real = said["rate"] > criterion.min_sigma * said["error"]
            recent.append((newest_s, said["low"] / said["bound"] if real and said["bound"] > 0.0 else 0.0))
        counted = [f for at_s, f in recent if dwell.within_s is None or newest_s - at_s <= dwell.within_s]
        if len(counted) < dwell.hits:
            return 0.0
        return sorted(counted)[-dwell.hits]

    def close(self, to_s: float) -> None:
        """Everything stood until the end."""
        for ribbon in self.ribbons.values():
            ribbon.close(to_s)

    def warn(self, factor: int) -> list[Span]:
        """Warnings of the velocity criteria with their bounds multiplied by a factor, given by its place."""
        return sorted(
            (Span(s.from_s, s.to_s, level) for level, ribbon in self.ribbons.items() for s in ribbon.spans
             if s.level > factor),
            key=lambda s: s.from_s,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ForecastGain:
    """Velocity and one forecast criterion together beside velocity alone.

    Attributes:
        criterion: The forecast criterion.
        heard_share: Of looks at which a forecast was there.
        false_days: Of velocity alone with its own bounds, and of both together.
        factor: On the bounds of velocity, so that it alone has no more false days than both; None where none is found.
        alone: How the events were met by velocity with that factor.
        together: How they were met by both.
    """

    criterion: str
    heard_share: float
    false_days: tuple[int, int]
    factor: float | None
    alone: tuple[EventScore, ...]
    together: tuple[EventScore, ...]

    @property
    def gained_s(self) -> tuple[float | None, ...]:
        """By event, lead of both less lead of velocity alone; a miss has none, and what nobody warned of is None."""
        pairs = [(a.lead_s, b.lead_s) for a, b in zip(self.alone, self.together, strict=True)]
        return tuple(None if a is b is None else (b or 0.0) - (a or 0.0) for a, b in pairs)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "criterion": self.criterion, "heard_share": round(self.heard_share, 4),
            "false_days_velocity": self.false_days[0], "false_days_with_forecast": self.false_days[1],
            "velocity_bounds_times": self.factor,
            "events": [
                {"name": b.label.name, "lead_with_forecast_s": b.lead_s, "lead_velocity_s": a.lead_s, "gained_s": gain}
                for a, b, gain in zip(self.alone, self.together, self.gained_s, strict=True)
            ],
        }  # fmt: skip


def find_gains(
    site: Site, strength: Strength, said: Mapping[str, Sequence[Span]], heard: Mapping[str, float],
    labels: Sequence[Label], lead_s: float,
) -> tuple[ForecastGain, ...]:  # fmt: skip
    """What each forecast criterion adds; nothing where no event is known, or no velocity is judged.

    Args:
        site: the declaration.
        strength: of the velocity criteria.
        said: what each criterion asked for, over time.
        heard: share of looks at which it had anything to go by.
        labels: events.
        lead_s: a warning up to this long before an event belongs to it.
    """
    if not labels or not strength.ribbons:
        return ()
    return tuple(
        _compare(site, c, strength, said.get(c.id, ()), heard.get(c.id, 0.0), labels, lead_s)
        for c in site.criteria if c.kind.facts == "forecasts"
    )  # fmt: skip


def _compare(
    site: Site, criterion: Criterion, strength: Strength, said: Sequence[Span], heard: float,
    labels: Sequence[Label], lead_s: float,
) -> ForecastGain:  # fmt: skip
    highest = max((t.level for t in criterion.thresholds), default=site.top_level)
    asked = [replace(x, level=min(x.level, highest)) for x in labels]

    def count(spans: Sequence[Span]) -> int:
        return len(find_false_days(spans, labels, (), lead_s, site.timezone, judged=True))

    def meet(spans: Sequence[Span]) -> tuple[EventScore, ...]:
        return tuple(score_event(x, spans, lead_s) for x in asked)

    plain = strength.warn(AS_DECLARED)
    both = sorted((*plain, *(s for s in said if s.level > 0)), key=lambda s: s.from_s)
    allowed = count(both)
    place = next((k for k in range(len(FACTORS)) if count(strength.warn(k)) <= allowed), None)
    alone = plain if place is None else strength.warn(place)
    return ForecastGain(
        criterion.id, heard, (count(plain), allowed), None if place is None else FACTORS[place], meet(alone),
        meet(both),
    )  # fmt: skip
