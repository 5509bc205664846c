"""Determine which series an evaluation loads, and how much history of each."""

from collections.abc import Mapping
from datetime import datetime
from math import floor
from typing import Final

from monitor.decision.series.intervals import list_series_without_max_silence
from monitor.readings.cleaned.step_detector import OPENING_EPOCHS
from monitor.readings.cleaned.tracks import find_verification_limit
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.records import Criterion, SeriesSpec, Site
from monitor.sites.witnesses import find_sources
from monitor.text.instants import epoch_s, from_epoch_s

# Epochs before the window, with which a jump at the start of the window is compared.
CONTEXT_EPOCHS: Final = 10
# Intervals that contain enough epochs to estimate the noise of a series, even with gaps.
NOISE_INTERVALS: Final = 2.0 * OPENING_EPOCHS
# Declared intervals that show how often readings are received, even if only every twelfth is.
PACE_INTERVALS: Final = 60.0
# The start of the loaded history advances by this fraction of its length (one quarter).
BLOCKS: Final = 4


def find_load_start(now: datetime, span_s: float) -> datetime:
    """Return the instant after which readings are loaded.

    It advances in steps of a quarter of the span, so that successive evaluations can extend the same track. It is at
    least the span and at most `find_longest_reach_s` before now.

    >>> from monitor.text.instants import parse_time, format_iso
    >>> [format_iso(find_load_start(parse_time(f"2026-01-{day}T06:00:00Z"), 345600.0))[:16] for day in ("09", "10")]
    ['2026-01-05T00:00', '2026-01-06T00:00']
    """
    if span_s <= 0.0:
        return now
    block_s = span_s / BLOCKS
    return from_epoch_s(floor((epoch_s(now) - span_s) / block_s) * block_s)


def find_longest_reach_s(span_s: float) -> float:
    """Return the longest time in seconds from the start of the loaded readings (`find_load_start`) to now."""
    return span_s * (1.0 + 1.0 / BLOCKS)


def find_history_spans(site: Site) -> Mapping[tuple[str, str], float]:
    """Return the history of each series that criteria need, in seconds, by station and declared quantity.

    Control stations with a reference are included.
    """
    spans: dict[tuple[str, str], float] = {}
    sources = find_sources(site)
    for criterion in site.criteria:
        if criterion.kind.source != "instruments":
            continue
        for station, quantity in _list_read_series(site, criterion):
            spec = site.series(station, quantity)
            if spec is None:
                continue
            place = station, quantity
            spans[place] = max(spans.get(place, 0.0), find_history_s(site, criterion, spec))
            # A source needs a longer history, so that its readings cover the whole history of the series.
            for source in sources.get(station, ()):
                source_place = source, quantity
                spans[source_place] = max(spans.get(source_place, 0.0), find_longest_reach_s(spans[place]))
    for spec in list_series_without_max_silence(site):
        place = spec.station, spec.quantity
        spans[place] = max(spans.get(place, 0.0), PACE_INTERVALS * spec.interval_s)
    return spans


def _list_read_series(site: Site, criterion: Criterion) -> list[tuple[str, str]]:
    """Return station and quantity of the series that a criterion reads. They may not be declared."""
    stations = set(criterion.stations)
    if criterion.kind.velocity:
        stations |= {station.id for station in site.stations if not station.on_slope and station.reference is not None}
    series = [(station, criterion.quantity) for station in sorted(stations)]
    for name, text in criterion.texts:
        if name.startswith("series:"):
            station, _, quantity = text.partition(".")
            series.append((station, quantity))
    return series


def find_span_s(spans: Mapping[tuple[str, str], float], station: str, quantity: str) -> float:
    """Return the seconds of history of a stored series or displacement component; 0 if it is not needed."""
    declared = "displacement" if quantity.startswith("displacement_") else quantity
    return spans.get((station, quantity)) or spans.get((station, declared)) or 0.0


def find_history_s(site: Site, criterion: Criterion, spec: SeriesSpec) -> float:
    """Return how much history of a series a criterion needs, in seconds.

    This is the history that its kind declares, plus the dwell or the deadline of a step, the allowed silence, and
    `CONTEXT_EPOCHS` before the window. If the noise of the series is not declared, the history must be long enough to
    estimate it.
    """
    dwell_s = criterion.dwell.within_s or (criterion.dwell.of + 1) * spec.interval_s
    deadline_s = max(site.fusion.verify_within_s, 2.5 * spec.interval_s)
    window_s = load_criteria()[criterion.kind.id].history_s(criterion)
    needed_s = window_s + max(dwell_s, deadline_s) + spec.max_silence_s + CONTEXT_EPOCHS * spec.interval_s
    has_steps = criterion.kind.followed or find_verification_limit(spec, criterion) is not None
    if has_steps and not spec.noise_floor:
        return max(needed_s, NOISE_INTERVALS * spec.interval_s)
    return needed_s
