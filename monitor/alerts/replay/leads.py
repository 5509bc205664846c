"""Compute the lead time of each level: of the decision, of a fixed bound for comparison, and of each criterion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from monitor.alerts.replay.matrix import EventLabel, Span, score_event
from monitor.alerts.replay.window_table import END_OF_RECORD
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.quantities import MOTION_PREFIXES
from monitor.sites.records import Criterion, SeriesSpec, Site, Station, Threshold
from monitor.text.message import Message

DAY_S: Final = 86400.0
DECISION: Final = "decision"
FIXED_BOUND: Final = "fixed bound"
# Bound in mm/day and window in seconds of each level, the lowest level first.
FIXED_BOUNDS: Final = ((2.0, 14.0 * DAY_S), (20.0, 7.0 * DAY_S), (100.0, DAY_S))
# A window is at least this many intervals long, so that series with a long interval have a rate.
FIXED_READINGS: Final = 4


@dataclass(frozen=True, slots=True)
class LevelLead:
    """How long before an event, or before the end of the record, each level was first reached.

    Attributes:
        source: `decision`, `fixed bound`, or the id of a criterion.
        before: The name of the event, or the end of the record.
        leads: Level number and seconds; None where the level was not reached in time, negative after the event began.
    """

    source: str
    before: Message | str
    leads: tuple[tuple[int, float | None], ...]

    def to_json(self, level_names: Sequence[str]) -> dict[str, Any]:
        """Return the lead times as JSON values."""
        leads = {level_names[level]: lead_s for level, lead_s in self.leads}
        return {"source": self.source, "before": self.before, "lead_s": leads}


def list_level_leads(
    spans: Mapping[str, Sequence[Span]], labels: Sequence[EventLabel], lead_s: float, top_level: int, to_s: float
) -> tuple[LevelLead, ...]:
    """Compute the lead time of each level for every source of levels.

    Args:
        spans: Levels over time by source.
        labels: Without any, the lead counts from the first time at each level to the end of the record.
        lead_s: A level that was reached earlier than this before an event counts from there.
    """
    leads_of_levels = []
    levels = range(1, top_level + 1)
    for label in labels:
        name = label.name or f"{label.from_at:%Y-%m-%d}"
        for source, source_spans in spans.items():
            scores = (
                (level, score_event(replace(label, level=level), source_spans, lead_s).lead_s) for level in levels
            )
            leads_of_levels.append(LevelLead(source, name, tuple(scores)))
    for source, source_spans in {} if labels else spans.items():
        firsts = (
            (level, next((span.from_s for span in source_spans if span.level >= level), None)) for level in levels
        )
        leads = tuple((level, None if first_s is None else to_s - first_s) for level, first_s in firsts)
        leads_of_levels.append(LevelLead(source, END_OF_RECORD, leads))
    return tuple(leads_of_levels)


def make_fixed_site(site: Site) -> Site | None:
    """Return the site judged by a fixed velocity alone; None where no series measures how the slope moves in mm.

    The bounds are 2, 20 and 100 mm/day over 14, 7 and 1 days, and no window is shorter than four readings.
    """
    criteria = tuple(
        _make_fixed_criterion(site, station, spec)
        for station in site.stations
        if station.on_slope
        for spec in station.series
        if spec.quantity.startswith(MOTION_PREFIXES) and spec.unit == "mm" and not spec.corrected_as
    )
    if not criteria:
        return None
    return replace(
        site,
        criteria=criteria,
        fusion=replace(site.fusion, rules=()),
        version=f"{site.version} {FIXED_BOUND}",
    )


def _make_fixed_criterion(site: Site, station: Station, spec: SeriesSpec) -> Criterion:
    levels = range(1, site.top_level + 1)
    return Criterion(
        id=f"{FIXED_BOUND} {station.id}.{spec.quantity}",
        kind=load_criteria()["velocity" if spec.quantity.startswith(MOTION_PREFIXES[0]) else "rate"].kind,
        stations=(station.id,),
        quantity=spec.quantity,
        thresholds=tuple(
            Threshold(level, over=over, window_s=max(window_s, FIXED_READINGS * spec.interval_s))
            for level, (over, window_s) in zip(levels, FIXED_BOUNDS, strict=False)
        ),
        valid_for_s=max(DAY_S, spec.max_silence_s),
    )
