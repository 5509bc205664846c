"""Inject faults of known time and kind into measured series, to measure what detectors find."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.records import LENGTHS
from detection.anomaly.stages import MAD_TO_SIGMA, Array
from detection.anomaly.windows import Series


@dataclass(frozen=True, slots=True)
class Event:
    """An injected fault.

    Attributes:
        station: The series.
        first: First cell of the fault.
        last: Last cell of the fault.
        quiet_until: Last cell of its aftermath, in which alarms are not evaluated.
    """

    station: str
    kind: str
    first: int
    last: int
    quiet_until: int


# Length of each kind in days (0: one reading), and whether it leaves an offset behind.
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
# Kinds that checks find.
CERTAIN_KINDS: Final = ("stuck", "replay", "gap", "unit", "timing")
# Shift of a clock, intervals.
CLOCK_SHIFT: Final = (0.2, 0.45)
AFTERMATH_DAYS: Final = 60.0


def noise_sigma(values: Array) -> float:
    """Return the size of white noise from increments: 1.4826 MAD / sqrt(2); NaN without increments."""
    steps = np.diff(values)
    steps = steps[np.isfinite(steps)]
    if not steps.size:
        return float("nan")
    return float(MAD_TO_SIGMA * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2.0))


def inject(series: Series, kind: str, first: int, sigma: float, rng: np.random.Generator) -> tuple[Series, int]:
    """Inject one fault from cell `first` on.

    Sizes are in noise standard deviations: a spike of 5 to 10; a step of 4 to 8; a drift of 0.25 to 0.5 per day for 45
    days; a burst of noise four times as large for 8 days; an acceleration to 12 to 25 in 40 days, as a cube. Stuck,
    replayed and missing readings last 12 days. Another unit (a factor of `LENGTHS`, or its inverse) and a clock that
    is shifted by 0.2 to 0.45 intervals last 45 days.

    Args:
        sigma: Standard deviation of the noise, in the unit of the values.

    Returns:
        The altered series and the last cell of the fault.

    Raises:
        KeyError: The kind is unknown.
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
        readings = values[first:end][np.isfinite(values[first:end])]
        if readings.size:
            values[first:end] = np.where(np.isfinite(values[first:end]), readings[0], np.nan)
    elif kind == "replay":
        back = cells * 3
        values[first:end] = values[first - back : end - back]
    elif kind == "unit":
        values[first:end] *= rng.choice(list(LENGTHS)) ** sign
    elif kind == "timing":
        times = times.copy()
        times[first:end] += sign * rng.uniform(*CLOCK_SHIFT) * series.step_s
    else:
        values[first:end] = np.nan
    return Series(times, values, series.step_s), end - 1


def inject_many(
    samples: Mapping[str, Series], from_share: float, seed: int, kinds: tuple[str, ...] = SCORED_KINDS
) -> tuple[dict[str, Series], list[Event]]:
    """Inject faults into the last part of every series, one in about 110 days, none of which overlap.

    Args:
        from_share: Share of the record after which faults may begin.
        kinds: Kinds of faults. They are drawn in shuffled rounds.

    Returns:
        The altered series, and the faults in the order of sorted series.
    """
    rng = np.random.default_rng([seed, 11])
    altered: dict[str, Series] = {}
    events: list[Event] = []
    deck: list[str] = []
    for label in sorted(samples):
        series = samples[label]
        sigma = noise_sigma(series.values[: int(len(series.values) * from_share)])
        start = int(len(series.values) * from_share) + series.cells(10.0)
        while start + series.cells(50.0) < len(series.values):
            deck = deck or [kinds[int(k)] for k in rng.permutation(len(kinds))]
            kind = deck.pop()
            first = start + int(rng.integers(0, series.cells(10.0) + 1))
            if not np.isfinite(series.values[first]):
                start += 1
                continue
            series, last = inject(series, kind, first, sigma, rng)
            leaves_offset = KINDS[kind][1]
            quiet_until = last + (series.cells(AFTERMATH_DAYS) if leaves_offset else 0)
            events.append(Event(label, kind, first, last, quiet_until))
            start = max(quiet_until, last) + series.cells(40.0 if leaves_offset else 80.0)
        altered[label] = series
    return altered, events
