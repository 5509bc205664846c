"""A slope that can be run: stations on a failing mass and beside it, their readings as payloads, and the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.simulate import motion
from monitor.simulate.faults import Fault, alter_values, clock_error, is_silent, plan_faults
from monitor.simulate.stations import METRES_PER_DEGREE, StationPlan, plan_stations

Array = NDArray[np.float64]

SITE_ID: Final = "sim-slope"
BOOT_ID: Final = 1
# What rain arriving at depth does: movement of the mass (mm per mm), and pore pressure (kPa per mm/day).
RAIN_MM_PER_MM: Final = 0.04
PRESSURE_KPA_PER_MM_PER_DAY: Final = 0.35


@dataclass(frozen=True, slots=True)
class Sample:
    """One message: who sends it, when it leaves the instrument (true time), and its payload (what its clock says)."""

    station: str
    at: datetime
    payload: dict[str, Any]


class SlopeModel:
    """A seeded slope; everything it will ever say is fixed at construction, however it is asked for.

    The mass creeps, answers rain with a lag, breathes with the season and, from `onset_at`, accelerates to failure at
    `failure_at` (Voight, alpha = 2). Instruments on the mass fall silent at the failure. No I/O, no clock.
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
        white_mm: tuple[float, float, float] = (0.9, 0.9, 2.4),
        flicker_mm: tuple[float, float, float] = (0.12, 0.12, 0.35),
        faults: Sequence[Fault] | None = None,
        latitude: float = 46.2,
        longitude: float = 8.9,
    ) -> None:
        """Draw the slope.

        Args:
            seed: same seed and arguments, same samples bit for bit.
            stations: GNSS stations on the mass, at least 1 (2 for two independent groups).
            start_at: first epoch, aware; also the zero epoch of the displacements.
            duration: how long the record is; samples end there.
            step: sampling interval of every instrument.
            creep_mm_per_day: steady downslope velocity of a station with factor 1.
            onset_at: begin of the acceleration; 60 % of the record when not given.
            failure_at: failure time; 97 % of the record when not given.
            fails: False for a slope that only creeps.
            white_mm: white noise of east, north, up (one standard deviation).
            flicker_mm: innovation scale of the flicker noise of east, north, up.
            faults: instrument faults; None draws one of each kind (`plan_faults`), () means none.
            latitude: middle of the mass.
            longitude: middle of the mass.

        Raises:
            ValueError: naive times, fewer than one station, or an onset that is not before the failure.
        """
        if start_at.tzinfo is None:
            raise ValueError("start_at must be an aware time")
        if stations < 1 or step <= timedelta(0) or duration < 2 * step:
            raise ValueError("a slope needs at least one station and two epochs")
        self.seed, self.start_at, self.duration, self.step = seed, start_at.astimezone(UTC), duration, step
        self.creep_mm_per_day, self.white_mm = creep_mm_per_day, white_mm
        self.onset_at = (onset_at or start_at + 0.6 * duration).astimezone(UTC) if fails else None
        self.failure_at = (failure_at or start_at + 0.97 * duration).astimezone(UTC) if fails else None
        if self.onset_at and self.failure_at and not self.start_at <= self.onset_at < self.failure_at:
            raise ValueError("the onset must lie between the start and the failure")
        self.latitude, self.longitude = latitude, longitude
        self.stations = plan_stations(seed, stations, latitude, longitude)
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
        self.rain_mm = motion.draw_rain(rng, steps, step_h)
        self.wetness_mm = motion.wetness(self.rain_mm, step_h)
        onset = (self.onset_at - self.start_at).total_seconds() / 86400.0 if self.onset_at else np.inf
        failure = (self.failure_at - self.start_at).total_seconds() / 86400.0 if self.failure_at else np.inf
        self._failure_s = failure * 86400.0
        self.tectonic_mm = motion.voight_displacement(days, self.creep_mm_per_day, onset, failure)
        #: Downslope displacement (mm) of a station with factor 1, shape (steps,); NaN after the failure.
        self.displacement_mm = (
            self.tectonic_mm + RAIN_MM_PER_MM * np.cumsum(self.wetness_mm) + motion.season(days, 1.5, day_of_year)
        )
        common = {
            name: np.column_stack([motion.flicker_noise(rng, steps, 0.5 * sigma) for sigma in flicker_mm])
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
            flicker = np.column_stack([motion.flicker_noise(rng, steps, sigma) for sigma in flicker_mm])
            position: Array = moved[:, None] * direction + white + flicker + common[station.reference]
            return position
        if station.kind == "rain":
            return self.rain_mm
        if station.kind == "piezometer":
            rate_mm_per_day = self.wetness_mm * 86400.0 / self.step.total_seconds()
            return (
                42.0
                + PRESSURE_KPA_PER_MM_PER_DAY * rate_mm_per_day
                + motion.season(days, 3.0, day_of_year)
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

    def samples(self, from_at: datetime | None = None, to_at: datetime | None = None) -> Iterator[Sample]:
        """Messages with `from_at` <= at < `to_at`, in time order; any chunking gives the same messages.

        Sequence numbers count per logger and go on through a dropout, so that the gap can be seen.
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

    def missed(self, source: str, from_seq: int, to_seq: int) -> Iterator[Sample]:
        """What a logger kept but did not send, for backfill: samples of a dropout, both numbers included."""
        group = self._group(source)
        for seq in range(max(from_seq, 0), min(to_seq, len(self._seconds) * len(group) - 1) + 1):
            k, station = seq // len(group), group[seq % len(group)]
            at = self.start_at + k * self.step
            if self._is_alive(station, k) and is_silent(at, self._faults_of(station)):
                yield self._sample(station, k)

    def _group(self, logger: str) -> list[StationPlan]:
        return [s for s in self.stations if s.logger == logger]

    def _faults_of(self, station: StationPlan) -> list[Fault]:
        return [f for f in self.faults if f.target == station.id]

    def _is_alive(self, station: StationPlan, k: int) -> bool:
        return not station.factor or bool(self._seconds[k] < self._failure_s)

    def _sample(self, station: StationPlan, k: int) -> Sample:
        at = self.start_at + k * self.step
        group = self._group(station.logger)
        payload: dict[str, Any] = {
            "time": format_time(at + clock_error(at, self._faults_of(station))),
            "source": station.logger,
            "boot_id": BOOT_ID,
            "seq": k * len(group) + group.index(station),
        }
        return Sample(station.id, at, payload | self._content(station, k))

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

    def outline(self) -> list[list[float]]:
        """Ring of the failing mass as [longitude, latitude], closed: where a scene would show the scar."""
        angle = np.linspace(0.0, 2.0 * np.pi, 25)
        bearing = np.radians(205.0)
        along, across = 130.0 * np.cos(angle), 75.0 * np.sin(angle)
        north = along * np.cos(bearing) - across * np.sin(bearing)
        east = along * np.sin(bearing) + across * np.cos(bearing)
        lon = self.longitude + east / (METRES_PER_DEGREE * np.cos(np.radians(self.latitude)))
        lat = self.latitude + north / METRES_PER_DEGREE
        ring = [[round(float(x), 7), round(float(y), 7)] for x, y in zip(lon, lat, strict=True)]
        return [*ring[:-1], ring[0]]

    def truth(self) -> dict[str, Any]:
        """What really happens, as JSON: for a scorer, never for the service."""
        return {
            "site": SITE_ID,
            "seed": self.seed,
            "start_at": format_time(self.start_at),
            "end_at": format_time(self.end_at),
            "step_s": self.step.total_seconds(),
            "creep_mm_per_day": self.creep_mm_per_day,
            "onset_at": format_time(self.onset_at) if self.onset_at else None,
            "failure_at": format_time(self.failure_at) if self.failure_at else None,
            "rain_lag_h": round(motion.wetness_peak_lag_h(), 2),
            "rain_mm_total": round(float(self.rain_mm.sum()), 1),
            "factors": {s.id: s.factor for s in self.stations},
            "stations": [asdict(s) for s in self.stations],
            "faults": [
                {**asdict(f), "from_at": format_time(f.from_at), "to_at": format_time(f.to_at)} for f in self.faults
            ],
            "outline": self.outline(),
        }


def format_time(at: datetime) -> str:
    """RFC 3339 in UTC with Z, the spelling of the interface.

    >>> format_time(datetime(2026, 3, 1, 6, tzinfo=UTC))
    '2026-03-01T06:00:00Z'
    """
    text = at.astimezone(UTC).isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")
