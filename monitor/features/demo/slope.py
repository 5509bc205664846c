"""Simulation of a slope: stations on a failing mass and beside it, faults, readings, and the true motion."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SITE_ID: Final = "sim-slope"
BOOT_ID: Final = 1
STORM_EVERY_DAYS: Final = 6.0
RISE_H: Final = 18.0  # time constant of infiltration
DECAY_H: Final = 96.0  # time constant of drainage
# Response to rain that reaches the slip surface: motion (mm per mm), and pore pressure (kPa per mm/day).
RAIN_MM_PER_MM: Final = 0.04
PRESSURE_KPA_PER_MM_PER_DAY: Final = 0.35


FaultKind = Literal["spike", "rezero", "stuck", "dropout", "clock_jump", "common_shift"]


@dataclass(frozen=True, slots=True)
class InstrumentFault:
    """One fault of one instrument, or of one reference station."""

    kind: FaultKind
    target: str  # station id; the id of a reference station for ``common_shift``
    from_at: datetime  # first affected time, UTC
    to_at: datetime  # first time that is not affected; ``rezero`` and ``common_shift`` may last to the end
    # mm for GNSS and the sensor's own unit elsewhere; seconds for ``clock_jump``; unused by the others
    size: float = 0.0


def alter_values(values: Array, seconds: Array, start_at: datetime, faults: Sequence[InstrumentFault]) -> Array:
    """Return readings with the faults that change values.

    Args:
        values: Readings without faults, shape (n,) or (n, 3) for east, north, up.
        seconds: Time of each reading since `start_at`, shape (n,), ascending.
        start_at: Start of the record.
        faults: The faults. A shift changes every component (of GNSS only east) by its size.
    """
    out = np.array(values, dtype=np.float64)
    for fault in faults:
        inside = (seconds >= (fault.from_at - start_at).total_seconds()) & (
            seconds < (fault.to_at - start_at).total_seconds()
        )
        if not inside.any():
            continue
        moved = out[:, 0] if out.ndim == 2 else out
        if fault.kind in ("spike", "rezero", "common_shift"):
            moved[inside] += fault.size
        elif fault.kind == "stuck":
            out[inside] = out[int(np.argmax(inside))]
    return out


def is_silent(at: datetime, faults: Sequence[InstrumentFault]) -> bool:
    """Return whether the reading at this time is missing because of a dropout."""
    return any(f.kind == "dropout" and f.from_at <= at < f.to_at for f in faults)


def plan_faults(
    seed: int, start_at: datetime, duration: timedelta, step: timedelta, movers: Sequence[str], reference: str
) -> tuple[InstrumentFault, ...]:
    """Return one fault of each kind, spread over the first half of the record. Equal seeds give equal faults.

    Args:
        seed: Seed of the stations that have faults.
        start_at: Start of the record.
        duration: Length of the record.
        step: Interval between readings.
        movers: Stations on the moving mass.
        reference: The reference station whose shift moves all of its stations.
    """
    rng = np.random.default_rng([seed, 7])
    places = [movers[int(i)] for i in rng.permutation(len(movers))]

    def moment(share: float) -> datetime:
        steps = round(share * (duration / step))
        return start_at + steps * step

    def place(index: int) -> str:
        return places[index % len(places)]

    span = step * max(1, round(0.02 * (duration / step)))
    return (
        InstrumentFault("spike", place(0), moment(0.15), moment(0.15) + step, 400.0),
        InstrumentFault("stuck", place(1), moment(0.22), moment(0.22) + span),
        InstrumentFault("dropout", place(2), moment(0.28), moment(0.28) + span),
        InstrumentFault("clock_jump", place(3), moment(0.34), moment(0.34) + 6 * step, 26 * 3600.0),
        InstrumentFault("rezero", place(0), moment(0.40), start_at + duration, -35.0),
        InstrumentFault("common_shift", reference, moment(0.46), moment(0.46) + span, 18.0),
    )


def voight_displacement(days: Array, creep_mm_per_day: float, onset_day: float, failure_day: float) -> Array:
    """Displacement (mm) by steady creep that accelerates to failure.

    Voight (1988, Nature 332, 125-130) with alpha = 2 integrates to 1/v falling linearly to zero at the failure time;
    the constant is set so that the velocity is continuous at the onset.

    Args:
        days: time since the model's start, days, shape (n,).
        failure_day: where the velocity becomes infinite; ``inf`` for a slope that only creeps.

    Returns displacement, shape (n,); NaN at and after the failure.

    >>> float(voight_displacement(np.array([10.0]), 2.0, 20.0, 30.0)[0])
    20.0
    """
    days = np.asarray(days, dtype=np.float64)
    if not np.isfinite(failure_day):
        return creep_mm_per_day * days
    span = failure_day - onset_day
    left = np.where(days < failure_day, failure_day - days, np.nan)
    accelerated = creep_mm_per_day * (onset_day + span * np.log(span / np.minimum(left, span)))
    steady = creep_mm_per_day * days
    return np.where(days <= onset_day, steady, accelerated)


def draw_rain(rng: np.random.Generator, steps: int, step_h: float) -> Array:
    """Rain (mm per interval) as a Poisson process of storms, in tips of 0.2 mm.

    Storms last 4 to 30 h with a mean intensity around 2 mm/h, shaped like a half sine and roughened: the rectangular
    pulse idea of Rodriguez-Iturbe et al. (1987), kept simple.

    Returns shape (steps,); a multiple of 0.2 mm each.
    """
    rain = np.zeros(steps)
    at_h = float(rng.exponential(STORM_EVERY_DAYS * 24.0))
    while at_h < steps * step_h:
        hours = float(rng.uniform(4.0, 30.0))
        intensity = float(rng.gamma(2.0, 1.0))
        first, last = int(at_h / step_h), min(steps, int((at_h + hours) / step_h) + 1)
        phase = (np.arange(first, last) + 0.5 - first) / max(last - first, 1)
        rough = rng.gamma(1.5, 1.0 / 1.5, size=last - first)
        rain[first:last] += intensity * 1.57 * np.sin(np.pi * phase) * rough * step_h
        at_h += hours + float(rng.exponential(STORM_EVERY_DAYS * 24.0))
    # A tipping bucket keeps the remainder until the next tip.
    tips: Array = np.floor(np.cumsum(rain) / 0.2 + 1e-9)
    return np.round(np.diff(tips, prepend=0.0) * 0.2, 3)


def wetness(rain_mm: Array, step_h: float) -> Array:
    """Lagged response of the ground to rain: rain convolved with a difference of exponentials of unit sum.

    `rain_mm` and what is returned are per interval, shape (n,); the sums over all time are equal.
    """
    hours = np.arange(len(rain_mm)) * step_h
    kernel = np.exp(-hours / DECAY_H) - np.exp(-hours / RISE_H)
    kernel /= kernel.sum() if kernel.sum() > 0 else 1.0
    size = 2 * len(rain_mm)
    response: Array = np.fft.irfft(np.fft.rfft(rain_mm, size) * np.fft.rfft(kernel, size), size)[: len(rain_mm)]
    # The transform leaves rounding noise where there was no rain yet.
    return np.where(response > 1e-9, response, 0.0)


def wetness_peak_lag_h() -> float:
    """Hours from a burst of rain to the largest response of `wetness`.

    >>> round(wetness_peak_lag_h(), 1)
    37.1
    """
    return float(np.log(DECAY_H / RISE_H) / (1.0 / RISE_H - 1.0 / DECAY_H))


def flicker_noise(rng: np.random.Generator, steps: int, sigma: float) -> Array:
    """Noise with spectrum 1/f, scaled by its innovations, shape (steps,).

    Fractional integration of order 1/2 (Kasdin 1995, Proc. IEEE 83, 802-827), the usual model of GNSS positions
    beside white noise (Williams 2003).
    """
    index = np.arange(1, steps, dtype=np.float64)
    weights = np.concatenate([[1.0], np.cumprod((index - 0.5) / index)])
    size = 2 * steps
    white = rng.normal(0.0, sigma, steps)
    out: Array = np.fft.irfft(np.fft.rfft(white, size) * np.fft.rfft(weights, size), size)[:steps]
    return out


def season(days: Array, amplitude: float, day_of_year: float) -> Array:
    """Annual cycle, largest at the end of winter, zero at the model's start; shape of `days`."""
    phase = 2.0 * np.pi * (days + day_of_year - 60.0) / 365.25
    start = 2.0 * np.pi * (day_of_year - 60.0) / 365.25
    cycle: Array = amplitude * (np.cos(phase) - np.cos(start))
    return cycle


LATITUDE, LONGITUDE = 46.2, 8.9  # of the middle of the mass
WHITE_MM: Final = (0.9, 0.9, 2.4)  # white noise of east, north, up, one standard deviation
METRES_PER_DEGREE: Final = 111_320.0


@dataclass(frozen=True, slots=True)
class StationPlan:
    """One simulated instrument; `factor` scales the motion of the mass, 0 on stable ground."""

    id: str
    kind: str  # gnss, rain, piezometer, tilt, extensometer, reservoir
    latitude: float
    longitude: float
    height_m: float
    azimuth_deg: float | None
    plunge_deg: float | None
    reference: str | None
    logger: str
    factor: float
    on_slope: bool


def plan_stations(seed: int, movers: int) -> tuple[StationPlan, ...]:
    """Place `movers` GNSS stations on the mass, a control beside each reference, and the other instruments.

    Stations alternate between two references and two loggers, so that two groups of witnesses are independent.
    """
    rng = np.random.default_rng([seed, 1])
    plans = []
    for i in range(movers):
        along_m, across_m = -90.0 + 180.0 * (i + 0.5) / movers, float(rng.uniform(-50.0, 50.0))
        azimuth = 205.0 + float(rng.uniform(-8.0, 8.0))
        bearing = np.radians(205.0)
        north = along_m * np.cos(bearing) - across_m * np.sin(bearing)
        east = along_m * np.sin(bearing) + across_m * np.cos(bearing)
        group = "A" if i % 2 == 0 else "B"
        plans.append(
            StationPlan(
                f"G{i + 1}",
                "gnss",
                round(LATITUDE + north / METRES_PER_DEGREE, 6),
                round(LONGITUDE + east / (METRES_PER_DEGREE * np.cos(np.radians(LATITUDE))), 6),
                round(1410.0 - 0.5 * along_m, 1),
                round(azimuth, 1),
                round(28.0 + float(rng.uniform(-4.0, 4.0)), 1),
                f"BASE-{group}",
                f"logger-{group.lower()}",
                round(float(rng.uniform(0.8, 1.2)), 3),
                on_slope=True,
            )
        )

    def plan_further(
        name: str, kind: str, north_m: float, logger: str, factor: float, reference: str | None
    ) -> StationPlan:
        at = round(LATITUDE + north_m / METRES_PER_DEGREE, 6)
        azimuth, plunge = (205.0, 28.0) if kind == "gnss" else (None, None)
        on_slope = kind != "gnss"
        return StationPlan(
            name, kind, at, LONGITUDE, 1430.0, azimuth, plunge, reference, logger, factor, on_slope=on_slope
        )

    return (
        *plans,
        plan_further("C1", "gnss", 260.0, "logger-a", 0.0, "BASE-A"),
        plan_further("C2", "gnss", 300.0, "logger-b", 0.0, "BASE-B"),
        plan_further("R1", "rain", 200.0, "logger-c", 0.0, None),
        plan_further("P1", "piezometer", 20.0, "logger-c", 0.0, None),
        plan_further("E1", "extensometer", 95.0, "logger-d", 0.7, None),
        plan_further("T1", "tilt", -20.0, "logger-d", 1.0, None),
        plan_further("W1", "reservoir", -400.0, "logger-c", 0.0, None),
    )


@dataclass(frozen=True, slots=True)
class SimulatedMessage:
    """A message: its station, the true time at which it is sent, and its payload with the time of the instrument."""

    station: str
    at: datetime
    payload: dict[str, Any]


class SlopeModel:
    """A simulated slope. Equal arguments give equal readings, in whatever parts they are requested.

    The mass creeps, responds to rain with a lag and to the season and, from `onset_at`, accelerates to failure at
    `failure_at` (Voight, alpha = 2). Instruments on the mass send nothing after the failure.
    """

    def __init__(
        self,
        seed: int = 0,
        stations: int = 6,
        start_at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        *,
        duration: timedelta = timedelta(days=120),
        step: timedelta = timedelta(hours=1),
        creep_mm_per_day: float = 1.0,
        onset_at: datetime | None = None,
        failure_at: datetime | None = None,
        fails: bool = True,
        flicker_mm: tuple[float, float, float] = (0.12, 0.12, 0.35),
        faults: Sequence[InstrumentFault] | None = None,
    ) -> None:
        """Draw the slope.

        Args:
            onset_at: Start of the acceleration. Default: at 60 % of the record.
            failure_at: Time of the failure. Default: at 97 % of the record.
            flicker_mm: Innovation scale of the flicker noise of east, north, up.

        Raises:
            ValueError: A time has no zone, there is no station, or the onset is not before the failure.
        """
        if start_at.tzinfo is None:
            raise ValueError("start_at must be an aware time")
        if stations < 1 or step <= timedelta(0) or duration < 2 * step:
            raise ValueError("a slope needs at least one station and two epochs")
        self.seed, self.start_at, self.duration, self.step = seed, start_at.astimezone(UTC), duration, step
        self.creep_mm_per_day, self.white_mm = creep_mm_per_day, WHITE_MM
        self.onset_at = (onset_at or start_at + 0.6 * duration).astimezone(UTC) if fails else None
        self.failure_at = (failure_at or start_at + 0.97 * duration).astimezone(UTC) if fails else None
        if self.onset_at and self.failure_at and not self.start_at <= self.onset_at < self.failure_at:
            raise ValueError("the onset must lie between the start and the failure")
        self.latitude, self.longitude = LATITUDE, LONGITUDE
        self.stations = plan_stations(seed, stations)
        movers = [s.id for s in self.stations if s.kind == "gnss" and s.on_slope]
        self.faults = (
            tuple(faults) if faults is not None else plan_faults(seed, self.start_at, duration, step, movers, "BASE-A")
        )
        self._run(flicker_mm)

    def _run(self, flicker_mm: tuple[float, float, float]) -> None:
        steps = int(self.duration / self.step) + 1
        step_h = self.step.total_seconds() / 3600.0
        self._seconds: Array = np.arange(steps, dtype=np.float64) * self.step.total_seconds()
        days: Array = self._seconds / 86400.0
        rng = np.random.default_rng([self.seed, 2])
        day_of_year = float(self.start_at.timetuple().tm_yday)
        self.rain_mm = draw_rain(rng, steps, step_h)
        self.wetness_mm = wetness(self.rain_mm, step_h)
        onset = (self.onset_at - self.start_at).total_seconds() / 86400.0 if self.onset_at else np.inf
        failure = (self.failure_at - self.start_at).total_seconds() / 86400.0 if self.failure_at else np.inf
        self._failure_s = failure * 86400.0
        self.tectonic_mm = voight_displacement(days, self.creep_mm_per_day, onset, failure)
        #: Downslope displacement (mm) of a station with factor 1, shape (steps,); NaN after the failure.
        self.displacement_mm = (
            self.tectonic_mm + RAIN_MM_PER_MM * np.cumsum(self.wetness_mm) + season(days, 1.5, day_of_year)
        )
        common = {
            name: np.column_stack([flicker_noise(rng, steps, 0.5 * sigma) for sigma in flicker_mm])
            for name in ("BASE-A", "BASE-B")
        }
        self._readings: dict[str, Array] = {}
        for station in self.stations:
            noise_rng = np.random.default_rng([self.seed, 3, *station.id.encode()])
            clean = self._clean(station, days, day_of_year, noise_rng, common, flicker_mm)
            mine = [f for f in self.faults if f.target in (station.id, station.reference)]
            self._readings[station.id] = alter_values(clean, self._seconds, self.start_at, mine)

    def _clean(
        self,
        station: StationPlan,
        days: Array,
        day_of_year: float,
        rng: np.random.Generator,
        common: dict[str, Array],
        flicker_mm: tuple[float, float, float],
    ) -> Array:
        steps = len(days)
        moved = station.factor * self.displacement_mm if station.factor else np.zeros(steps)
        if station.kind == "gnss":
            assert station.azimuth_deg is not None
            assert station.plunge_deg is not None
            assert station.reference is not None
            azimuth, plunge = np.radians(station.azimuth_deg), np.radians(station.plunge_deg)
            direction = np.array([np.sin(azimuth) * np.cos(plunge), np.cos(azimuth) * np.cos(plunge), -np.sin(plunge)])
            white = rng.standard_normal((steps, 3)) @ np.linalg.cholesky(self._covariance()).T
            flicker = np.column_stack([flicker_noise(rng, steps, sigma) for sigma in flicker_mm])
            position: Array = moved[:, None] * direction + white + flicker + common[station.reference]
            return position
        if station.kind == "rain":
            return self.rain_mm
        if station.kind == "piezometer":
            rate_mm_per_day = self.wetness_mm * 86400.0 / self.step.total_seconds()
            return (
                42.0
                + PRESSURE_KPA_PER_MM_PER_DAY * rate_mm_per_day
                + season(days, 3.0, day_of_year)
                + rng.normal(0.0, 0.05, steps)
            )
        if station.kind == "extensometer":
            return moved + rng.normal(0.0, 0.08, steps)
        if station.kind == "tilt":
            tilts = np.column_stack([0.020 * moved, 0.006 * moved])
            return tilts + rng.normal(0.0, 0.02, (steps, 2))
        level = 160.0 + 12.0 * np.cos(2.0 * np.pi * (days + day_of_year - 15.0) / 365.25)
        return level + rng.normal(0.0, 0.005, steps)

    def _covariance(self) -> Array:
        sigma_e, sigma_n, sigma_u = self.white_mm
        return np.array(
            [
                [sigma_e**2, 0.10 * sigma_e * sigma_n, 0.0],
                [0.10 * sigma_e * sigma_n, sigma_n**2, 0.15 * sigma_n * sigma_u],
                [0.0, 0.15 * sigma_n * sigma_u, sigma_u**2],
            ]
        )

    @property
    def end_at(self) -> datetime:
        """Instant after the last epoch."""
        return self.start_at + len(self._seconds) * self.step

    def samples(self, from_at: datetime | None = None, to_at: datetime | None = None) -> Iterator[SimulatedMessage]:
        """Yield the messages with `from_at` <= time < `to_at` in time order.

        Sequence numbers count per logger. They continue during a dropout, so that the gap is visible.
        """
        first_s = 0.0 if from_at is None else (from_at - self.start_at).total_seconds()
        last_s = np.inf if to_at is None else (to_at - self.start_at).total_seconds()
        first = int(np.searchsorted(self._seconds, first_s, side="left"))
        for k in range(first, len(self._seconds)):
            if self._seconds[k] >= last_s:
                return
            at = self.start_at + k * self.step
            for station in self.stations:
                if self._is_alive(station, k) and not is_silent(at, self._faults_of(station)):
                    yield self._sample(station, k)

    def missed(self, source: str, from_seq: int, to_seq: int) -> Iterator[SimulatedMessage]:
        """Yield the messages of dropouts that a logger stored, from one sequence number to another, both included."""
        group = self._group(source)
        for seq in range(max(from_seq, 0), min(to_seq, len(self._seconds) * len(group) - 1) + 1):
            k, station = seq // len(group), group[seq % len(group)]
            at = self.start_at + k * self.step
            if self._is_alive(station, k) and is_silent(at, self._faults_of(station)):
                yield self._sample(station, k)

    def _group(self, logger: str) -> list[StationPlan]:
        return [s for s in self.stations if s.logger == logger]

    def _faults_of(self, station: StationPlan) -> list[InstrumentFault]:
        return [f for f in self.faults if f.target == station.id]

    def _is_alive(self, station: StationPlan, k: int) -> bool:
        return not station.factor or bool(self._seconds[k] < self._failure_s)

    def _sample(self, station: StationPlan, k: int) -> SimulatedMessage:
        at = self.start_at + k * self.step
        group = self._group(station.logger)
        jumps = (f for f in self._faults_of(station) if f.kind == "clock_jump")
        wrong_s = sum(f.size for f in jumps if f.from_at <= at < f.to_at)
        payload: dict[str, Any] = {
            "time": format_time(at + timedelta(seconds=wrong_s)),
            "source": station.logger,
            "boot_id": BOOT_ID,
            "seq": k * len(group) + group.index(station),
        }
        return SimulatedMessage(station.id, at, payload | self._content(station, k))

    def _content(self, station: StationPlan, k: int) -> dict[str, Any]:
        value = self._readings[station.id][k]
        if station.kind == "gnss":
            cov = self._covariance()
            terms = (cov[0, 0], cov[1, 1], cov[2, 2], cov[0, 1], cov[0, 2], cov[1, 2])
            return {
                "gnss": {
                    "enu_mm": [round(float(v), 2) for v in value],
                    "cov_mm2": [round(float(v), 4) for v in terms],
                    "epoch0": format_time(self.start_at),
                    "frame": "local",
                    "solution": "rapid",
                    "fix": "fixed",
                    "satellites": 14,
                    "reference": station.reference,
                }
            }
        if station.kind == "tilt":
            return {"tilt_x_mrad": round(float(value[0]), 3), "tilt_y_mrad": round(float(value[1]), 3)}
        name = {
            "rain": "rain_mm",
            "piezometer": "pore_pressure_kpa",
            "extensometer": "crack_opening_mm",
            "reservoir": "reservoir_level_m",
        }[station.kind]
        return {name: round(float(value), 3)}

    def truth(self) -> dict[str, Any]:
        """Return the true motion as plain values, to score the service. The service never reads it."""
        return {
            "site": SITE_ID,
            "seed": self.seed,
            "start_at": format_time(self.start_at),
            "end_at": format_time(self.end_at),
            "step_s": self.step.total_seconds(),
            "creep_mm_per_day": self.creep_mm_per_day,
            "onset_at": format_time(self.onset_at) if self.onset_at else None,
            "failure_at": format_time(self.failure_at) if self.failure_at else None,
            "rain_lag_h": round(wetness_peak_lag_h(), 2),
            "rain_mm_total": round(float(self.rain_mm.sum()), 1),
            "factors": {s.id: s.factor for s in self.stations},
            "stations": [asdict(s) for s in self.stations],
            "faults": [
                {**asdict(f), "from_at": format_time(f.from_at), "to_at": format_time(f.to_at)} for f in self.faults
            ],
        }


def format_time(at: datetime) -> str:
    """Format a time as RFC 3339 in UTC with Z.

    >>> format_time(datetime(2026, 3, 1, 6, tzinfo=UTC))
    '2026-03-01T06:00:00Z'
    """
    text = at.astimezone(UTC).isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")
