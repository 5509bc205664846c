"""Labelled faults laid into real series, so that a detector can be scored on events whose truth is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.records import LENGTHS
from detection.anomaly.robust import noise_sigma
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series


@dataclass(frozen=True, slots=True)
class Event:
    """An injected fault: cells [first, last] of one station, and the cell up to which its aftermath is ignored."""

    station: str
    kind: str
    first: int
    last: int
    quiet_until: int


# kind -> (days it lasts, does it leave an offset behind)
KINDS: Final[Mapping[str, tuple[float, bool]]] = {
    "spike": (0.0, False),
    "step": (7.0, True),
    "drift": (45.0, True),
    "stuck": (12.0, False),
    "burst": (8.0, False),
    "accel": (40.0, True),
    "replay": (12.0, False),
    "gap": (12.0, False),
    "unit": (45.0, False),
    "timing": (45.0, False),
}
SCORED_KINDS: Final = ("spike", "step", "drift", "stuck", "burst", "accel", "replay")
CERTAIN_KINDS: Final = ("stuck", "replay", "gap", "unit", "timing")  # those that checks look for
CLOCK_MOVED: Final = (0.2, 0.45)  # of the interval
AFTERMATH_DAYS: Final = 60.0


def inject(series: Series, kind: str, first: int, sigma: float, rng: np.random.Generator) -> tuple[Series, int]:
    """Lay one fault into a series from cell `first` on.

    Sizes in noise standard deviations: spike 5-10, step 4-8, drift 0.25-0.5 per day for 45 days, burst noise x 4 for
    8 days, accel 12-25 reached in 40 days as a cube, stuck, replay and gap 12 days. Another unit (one of `LENGTHS`, or
    one over it) and a clock that is moved by 0.2 to 0.45 intervals, either way, last 45 days.

    Returns the altered series and the last cell of the event.

    Raises:
        KeyError: unknown kind.
    """
    days, _ = KINDS[kind]
    values: Array = series.values.copy()
    times: Array = series.times_s
    cells = series.cells(days)
    end = min(first + cells, len(values))
    sign = 1.0 if rng.random() < 0.5 else -1.0
    span = np.arange(end - first, dtype=np.float64)
    elapsed_days = span * series.step_s / 86400.0
    if kind == "spike":
        values[first] += sign * rng.uniform(5.0, 10.0) * sigma
    elif kind == "step":
        values[first:] += sign * rng.uniform(4.0, 8.0) * sigma
    elif kind == "drift":
        rate = sign * rng.uniform(0.25, 0.5) * sigma
        values[first:end] += rate * elapsed_days
        values[end:] += rate * days
    elif kind == "accel":
        size = sign * rng.uniform(12.0, 25.0) * sigma
        values[first:end] += size * ((span + 1.0) / cells) ** 3
        values[end:] += size
    elif kind == "burst":
        values[first:end] += rng.normal(0.0, np.sqrt(15.0) * sigma, end - first)
    elif kind == "stuck":
        held = values[first:end][np.isfinite(values[first:end])]
        if held.size:
            values[first:end] = np.where(np.isfinite(values[first:end]), held[0], np.nan)
    elif kind == "replay":
        back = cells * 3
        values[first:end] = values[first - back : end - back]
    elif kind == "unit":
        values[first:end] *= rng.choice(list(LENGTHS)) ** sign
    elif kind == "timing":
        times = times.copy()
        times[first:end] += sign * rng.uniform(*CLOCK_MOVED) * series.step_s
    else:
        values[first:end] = np.nan
    return Series(times, values, series.step_s), end - 1


def inject_many(
    samples: Mapping[str, Series], from_share: float, seed: int, kinds: tuple[str, ...] = SCORED_KINDS
) -> tuple[dict[str, Series], list[Event]]:
    """Lay faults of all kinds into the last part of every series, one per about 110 days, none overlapping another.

    Args:
        from_share: share of the record after which faults may begin.
        kinds: which to draw, in shuffled turns.

    Returns altered series and the events, by station in sorted order.
    """
    rng = np.random.default_rng([seed, 11])
    out: dict[str, Series] = {}
    events: list[Event] = []
    deck: list[str] = []
    for name in sorted(samples):
        series = samples[name]
        before = int(len(series.values) * from_share)
        sigma = noise_sigma(series.values[:before])
        start = int(len(series.values) * from_share) + series.cells(10.0)
        while start + series.cells(50.0) < len(series.values):
            deck = deck or [kinds[int(i)] for i in rng.permutation(len(kinds))]
            kind = deck.pop()
            first = start + int(rng.integers(0, series.cells(10.0) + 1))
            if not np.isfinite(series.values[first]):
                start += 1
                continue
            series, last = inject(series, kind, first, sigma, rng)
            quiet = last + (series.cells(AFTERMATH_DAYS) if KINDS[kind][1] else 0)
            events.append(Event(name, kind, first, last, quiet))
            start = max(quiet, last) + series.cells(40.0 if KINDS[kind][1] else 80.0)
        out[name] = series
    return out, events
