"""Satellite points with known events: drawn ones, and events laid into drawn or measured ones."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from detection.anomaly.bench import TEST_FROM
from detection.anomaly.faults import Event, noise_sigma
from detection.anomaly.stages import DAY_S
from detection.anomaly.windows import Series

HALF_WAVELENGTH_MM: Final = 27.7  # of Sentinel-1: what a wrong number of cycles adds to the way to the satellite
STEP_S: Final = 6.0 * DAY_S
SHARE: Final = 1.0 / 3.0  # of the points that have an event
# kind -> acquisitions within which it must be found
KINDS: Final[Mapping[str, int]] = {"step": 6, "acceleration": 15, "phase-jump": 3}


def draw_points(seed: int, count: int = 10_000, acquisitions: int = 210) -> dict[str, Series]:
    """Points of one track: creep, a season, noise of 1 to 3 mm, and an atmosphere that neighbours share."""
    rng = np.random.default_rng([seed, 23])
    east, north = rng.uniform(0.0, 1.0, (2, count))
    t = np.arange(acquisitions)
    season = rng.normal(0.0, 1.5, count)[:, None] * np.sin(2 * np.pi * (t * STEP_S / DAY_S / 365.25 + rng.random()))
    creep = rng.normal(0.0, 3.0, count)[:, None] * t * STEP_S / DAY_S / 365.25
    fields = [np.ones(count), east, north]
    fields += [np.sin(2 * np.pi * (a * east + b * north) + rng.uniform(0, 6.3)) for a, b in rng.uniform(-3, 3, (8, 2))]
    air = np.stack(fields, axis=1) @ rng.normal(0.0, 2.0 / np.sqrt(len(fields)), (len(fields), acquisitions))
    noise = rng.normal(0.0, 1.0, (count, acquisitions)) * rng.uniform(1.0, 3.0, count)[:, None]
    values = np.round(season + creep + air + noise, 1)
    values[rng.random(values.shape) < 0.05] = np.nan
    times = STEP_S * (1000 + t.astype(np.float64))
    return {f"P{k:05}": Series(times, row, STEP_S) for k, row in enumerate(values)}


def inject_points(samples: Mapping[str, Series], seed: int) -> tuple[dict[str, Series], list[Event]]:
    """One event in a third of the points, in the last third of the record."""
    rng = np.random.default_rng([seed, 29])
    out, events = dict(samples), []
    for name in sorted(samples):
        if rng.random() > SHARE:
            continue
        series = samples[name]
        n, kind = len(series.values), list(KINDS)[int(rng.integers(len(KINDS)))]
        last = n - KINDS[kind]
        first = int(rng.integers(int(n * TEST_FROM) + 1, last))
        values = series.values.copy()
        sigma, sign = noise_sigma(values[: int(n * TEST_FROM)]), 1.0 if rng.random() < 0.5 else -1.0
        after = np.arange(1.0, n - first + 1.0)
        if kind == "step":
            values[first:] += sign * rng.uniform(4.0, 8.0) * sigma
        elif kind == "acceleration":
            share = after / KINDS[kind]
            size = sign * rng.uniform(8.0, 16.0) * sigma
            values[first:] += size * np.where(share < 1.0, share**3, 3.0 * share - 2.0)
        else:
            back = first + int(rng.integers(2, 5)) if rng.random() < 0.5 else n
            values[first:back] += sign * HALF_WAVELENGTH_MM
        out[name] = Series(series.times_s, values, series.step_s)
        events.append(Event(name, kind, first, first + KINDS[kind] - 1, n - 1))
    return out, events
