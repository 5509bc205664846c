"""Faults of stations with several channels, injected into the last third of a measured record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detection.anomaly.faults import noise_sigma
from detection.anomaly.records import RUN_GAP_S
from detection.anomaly.windows import Series
from packages.lab.benchmarks.anomaly.records import name_station

TEST_FROM: Final = 0.67
UNITS: Final = (10.0, 25.4, 100.0, 304.8, 1000.0)
# Readings that each kind lasts. The drift of a daily series lasts 45 days, that of a reading every 15 minutes 11 hours.
LENGTHS: Final[Mapping[str, int]] = {
    "step": 8,
    "spikes": 10,
    "drift": 45,
    "stuck": 15,
    "noise": 12,
    "unit": 45,
    "axes": 45,
}
# Readings after each kind in which alarms are not judged: an offset remains, or the series changes back.
AFTERMATHS: Final[Mapping[str, int]] = {"step": 60, "drift": 60, "unit": 60, "axes": 60}
PAUSE: Final = 40  # further readings before the next fault of a station
EXCHANGED: Final = ("displacement_east", "displacement_north")


@dataclass(frozen=True, slots=True)
class Fault:
    """An injected fault of the channels of one station.

    Attributes:
        from_s: Time of the first reading that it changed, epoch seconds.
        to_s: Time of the last reading in which an alarm finds it.
        quiet_until_s: End of the time in which alarms of the station are not counted as false.
    """

    station: str
    kind: str
    from_s: float
    to_s: float
    quiet_until_s: float


def inject_faults(samples: Mapping[str, Series], seed: int) -> tuple[dict[str, Series], list[Fault]]:
    """Inject faults of all kinds into the last third of each station, none within another.

    Sizes are in the noise of each channel: a step of 4 to 8, five spikes of 5 to 10 in ten readings, a drift of 0.25 to
    0.5 per reading, added noise of 4. A stuck value, another unit and exchanged axes concern all channels of the
    station. Each of the others concerns all channels or a single one, by chance.

    Args:
        samples: Series by `STATION.quantity`, those of a station at the same times.

    Returns:
        The altered series, and the faults.
    """
    rng = np.random.default_rng([seed, 23])
    altered = dict(samples)
    faults: list[Fault] = []
    deck: list[str] = []
    for station in dict.fromkeys(map(name_station, samples)):
        labels = [label for label in samples if name_station(label) == station]
        count = min(len(samples[label].values) for label in labels)
        test_from = int(count * TEST_FROM)
        sigmas = {label: noise_sigma(samples[label].values[:test_from]) for label in labels}
        times_s = samples[labels[0]].times_s
        first = test_from + int(rng.integers(5, 25))
        while first + max(LENGTHS.values()) < count:
            if not all(np.isfinite(samples[label].values[first]) for label in labels):
                first += 1
                continue
            deck = deck or [list(LENGTHS)[int(k)] for k in rng.permutation(len(LENGTHS))]
            kind = deck.pop()
            if kind == "axes" and not all(f"{station}.{quantity}" in labels for quantity in EXCHANGED):
                continue
            altered |= _alter(kind, {label: altered[label] for label in labels}, sigmas, first, rng)
            last = first + LENGTHS[kind] - 1
            quiet = min(last + AFTERMATHS.get(kind, 0), count - 1)
            faults.append(Fault(station, kind, times_s[first], times_s[last], times_s[quiet]))
            first = quiet + PAUSE + int(rng.integers(0, 20))
    return altered, faults


def _alter(
    kind: str, samples: Mapping[str, Series], sigmas: Mapping[str, float], first: int, rng: np.random.Generator
) -> dict[str, Series]:
    """Return the series of one station with a fault from reading `first` on."""
    part = slice(first, first + LENGTHS[kind])
    labels = list(samples)
    is_single = kind in {"step", "spikes", "drift", "noise"} and rng.random() < 0.5
    chosen = [labels[int(rng.integers(len(labels)))]] if is_single else labels
    factor = float(rng.choice(UNITS)) ** float(rng.choice([-1.0, 1.0]))
    spikes = first + np.sort(rng.choice(LENGTHS[kind], size=min(5, LENGTHS[kind]), replace=False))
    altered = {}
    for label in chosen:
        values = samples[label].values.copy()
        sigma, sign = sigmas[label], float(rng.choice([-1.0, 1.0]))
        if kind == "step":
            values[first:] += sign * rng.uniform(4.0, 8.0) * sigma
        elif kind == "spikes":
            values[spikes] += rng.choice([-1.0, 1.0], len(spikes)) * rng.uniform(5.0, 10.0, len(spikes)) * sigma
        elif kind == "drift":
            rise = sign * rng.uniform(0.25, 0.5) * sigma * np.arange(1, LENGTHS[kind] + 1)
            values[part] += rise
            values[part.stop :] += rise[-1]
        elif kind == "noise":
            values[part] += rng.normal(0.0, 4.0 * sigma, len(values[part]))
        elif kind == "stuck":
            values[part] = np.where(np.isfinite(values[part]), values[first], np.nan)
        elif kind == "unit":
            values[part] *= factor
        altered[label] = Series(samples[label].times_s, values, samples[label].step_s)
    if kind == "axes":
        one, other = (next(label for label in labels if label.endswith(quantity)) for quantity in EXCHANGED)
        values = altered[one].values.copy()
        altered[one].values[part] = altered[other].values[part]
        altered[other].values[part] = values[part]
    return altered


@dataclass(slots=True)
class Outcome:
    """Faults found by kind, and false alarms.

    Attributes:
        found: Number of faults found and number of faults, by kind.
        false_alarms: Runs of alarms of one series outside faults; alarms less than a week apart are one run.
        series_days: Readings outside faults, as days.
    """

    found: dict[str, tuple[int, int]]
    false_alarms: int
    series_days: float

    @property
    def recall(self) -> float:
        """Share of the faults that were found."""
        return sum(hits for hits, _ in self.found.values()) / sum(count for _, count in self.found.values())

    @property
    def false_per_series_day(self) -> float:
        """False alarms per series and day."""
        return self.false_alarms / self.series_days


def evaluate(samples: Mapping[str, Series], alarms: Mapping[str, Sequence[float]], faults: Sequence[Fault]) -> Outcome:
    """Compare alarms with injected faults. A fault is found if any series of its station alarms within it.

    Args:
        alarms: Times of alarms of each series, epoch seconds, ascending.
    """
    found = dict.fromkeys(LENGTHS, (0, 0))
    for fault in faults:
        hits, count = found[fault.kind]
        of_station = (alarms.get(label, ()) for label in samples if name_station(label) == fault.station)
        is_found = any(fault.from_s <= at_s <= fault.to_s for times in of_station for at_s in times)
        found[fault.kind] = hits + is_found, count + 1
    false_alarms, days = 0, 0.0
    for label, series in samples.items():
        of_station = [fault for fault in faults if fault.station == name_station(label)]
        start_s = series.times_s[int(len(series.values) * TEST_FROM)]
        is_judged = series.observed & (series.times_s >= start_s)
        for fault in of_station:
            is_judged &= (series.times_s < fault.from_s) | (series.times_s > fault.quiet_until_s)
        days += float(is_judged.sum()) * series.step_s / 86400.0
        last_s = -np.inf
        for at_s in alarms.get(label, ()):
            is_new = at_s - last_s > RUN_GAP_S
            last_s = at_s
            is_in_fault = any(fault.from_s <= at_s <= fault.quiet_until_s for fault in of_station)
            false_alarms += is_new and at_s >= start_s and not is_in_fault
    return Outcome({kind: counts for kind, counts in found.items() if counts[1]}, false_alarms, days)
