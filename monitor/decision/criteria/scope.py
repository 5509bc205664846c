"""Series and length of history that the criteria of a site need. Evaluations load nothing else."""

from collections.abc import Mapping
from datetime import datetime
from math import floor
from typing import Final

from monitor.decision.records import instant, seconds
from monitor.decision.series.intervals import list_learning
from monitor.decision.series.step_detector import OPENING
from monitor.decision.series.tracks import verify_step
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.records import Criterion, SeriesSpec, Site, once_per_record
from monitor.sites.witnesses import find_sources

CONTEXT_EPOCHS = 10  # before the window, so that a jump at its start is seen against what was there
SHOWING: Final = 2.0 * OPENING  # intervals that hold enough epochs for a series to show its scatter, also with gaps
PACE: Final = 60.0  # intervals that show how often readings come, also at a twelfth of what is declared
BLOCKS: Final = 4  # the beginning of what is read moves on by a quarter of its span at a time


def anchor_at(now: datetime, span_s: float) -> datetime:
    """Return the instant from which readings are loaded.

    It advances in steps of a quarter of the span, so that successive evaluations can extend the same track. It is at
    least the span and at most `reach_s` before now.

    >>> from monitor.text.instants import parse_time, format_iso
    >>> [format_iso(anchor_at(parse_time(f"2026-01-{day}T06:00:00Z"), 345600.0))[:16] for day in ("09", "10")]
    ['2026-01-05T00:00', '2026-01-06T00:00']
    """
    if span_s <= 0.0:
        return now
    block_s = span_s / BLOCKS
    return instant(floor((seconds(now) - span_s) / block_s) * block_s)


def reach_s(span_s: float) -> float:
    """Return the greatest time in seconds between an anchor (`anchor_at`) and now."""
    return span_s * (1.0 + 1.0 / BLOCKS)


@once_per_record
def wanted_series(site: Site) -> Mapping[tuple[str, str], float]:
    """Return seconds of history by (station, declared quantity), including control stations with a reference."""
    found: dict[tuple[str, str], float] = {}
    for criterion in site.criteria:
        if criterion.kind.source != "instruments":
            continue
        stations = set(criterion.stations)
        if criterion.kind.velocity:
            stations |= {s.id for s in site.stations if not s.on_slope and s.reference is not None}
        pairs = (series.partition(".") for name, series in criterion.texts if name.startswith("series:"))
        named = [(station, quantity) for station, _, quantity in pairs]
        for key in (*((station, criterion.quantity) for station in stations), *named):
            spec = site.series(*key)
            if spec is not None:
                found[key] = max(found.get(key, 0.0), history_s(site, criterion, spec))
                # The source needs a longer history, so that its readings cover the whole history of the series.
                for source in find_sources(site).get(key[0], ()):
                    place = source, key[1]
                    found[place] = max(found.get(place, 0.0), reach_s(found[key]))
    for spec in list_learning(site):
        key = spec.station, spec.quantity
        found[key] = max(found.get(key, 0.0), PACE * spec.interval_s)
    return found


def find_span_s(spans: Mapping[tuple[str, str], float], station: str, quantity: str) -> float:
    """Return the seconds of history of a stored series or displacement component; 0 if it is not needed."""
    declared = "displacement" if quantity.startswith("displacement_") else quantity
    return spans.get((station, quantity)) or spans.get((station, declared)) or 0.0


def history_s(site: Site, criterion: Criterion, spec: SeriesSpec) -> float:
    """Return the seconds of history that a criterion needs.

    This is the history that its kind declares, plus the dwell or the deadline of a step, the allowed silence, and some
    epochs before the window. If the noise of the series is not declared, the history must be long enough to estimate
    it.
    """
    dwell_s = criterion.dwell.within_s or (criterion.dwell.of + 1) * spec.interval_s
    clock_s = max(site.fusion.verify_within_s, 2.5 * spec.interval_s)
    steps = verify_step(spec, criterion) is not None
    shows_noise = not spec.noise_floor and (steps or criterion.kind.followed)
    least_s = SHOWING * spec.interval_s if shows_noise else 0.0
    window_s = load_criteria()[criterion.kind.id].history_s(criterion)
    seen_s = window_s + max(dwell_s, clock_s) + spec.max_silence_s + CONTEXT_EPOCHS * spec.interval_s
    return max(seen_s, least_s)
