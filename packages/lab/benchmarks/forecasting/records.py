"""Records of the acceptance benchmark by kind of motion: measured ones of the shared data, and simulated ones.

A simulated record is drawn where the shared data has no measured one of that kind: rovers, prisms, steady cracks, and
motion whose cause is known by construction. Every record has fixed rows, so that two runs compare the same targets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np

from forecasting.data.covariates import Covariate, covariates_from_samples, rows_from_covariates
from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Floats, Panel, Samples, panel_from_samples
from forecasting.data.sources import RecordRecipe, read_recipe, read_record
from forecasting.kinematics.simulated_collapse import draw_collapse
from monitor.features.demo.slope import draw_rain
from tests.data.forecasts.motions import draw_crack, draw_marker
from tests.data.records import DAYS, MONTHS, RECIPES, read_records

HOUR_S: Final = 3600.0
QUARTER_DAY_S: Final = 0.25 * DAY_S
FAST: Final = (QUARTER_DAY_S, DAY_S, 7 * DAY_S)
OFTEN: Final = (QUARTER_DAY_S, *DAYS)
MOST_ROWS: Final = 1500  # of a long record the newest: what lies before changes no forecast noticeably
MOST_SCORED: Final = 4  # stations of a record whose forecasts are scored; the panel keeps all of them

SLOW: Final = "slow GNSS"
SELDOM: Final = "monthly and satellite"
RESERVOIR: Final = "reservoir slopes"
STEADY: Final = "steady"
ACCELERATING: Final = "accelerating"
ROVER: Final = "rover"
PRISM: Final = "prism"
ICE: Final = "tidal ice"
PRESSURE: Final = "simulated, pore pressure"
RAIN: Final = "simulated, rain"
UNDRIVEN: Final = "drivers without effect"
KINDS: Final = (SLOW, SELDOM, RESERVOIR, STEADY, ACCELERATING, ROVER, PRISM, ICE, PRESSURE, RAIN, UNDRIVEN)
FAST_KINDS: Final = (STEADY, ACCELERATING, ROVER, PRISM, ICE)
DRIVEN_KINDS: Final = (RESERVOIR, PRESSURE, RAIN)

POSITIONS: Final = ("P156", "QUEM", "USUD", "IRKJ", "MXTM")
FIRST_COLLAPSE: Final = 6000
COLLAPSES: Final = 8
NOISES_MM: Final = (0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """One record of the benchmark."""

    name: str
    kind: str
    panel: Panel
    horizons_s: tuple[float, ...]
    failure_s: float | None = None  # instant of the failure, where the record ends in one

    @property
    def scored(self) -> list[int]:
        """Columns whose forecasts are scored, evenly taken."""
        count = len(self.panel.stations)
        return np.unique(np.linspace(0, count - 1, min(count, MOST_SCORED)).round().astype(int)).tolist()

    @property
    def steps(self) -> tuple[int, ...]:
        """Horizons in rows."""
        return tuple(self.panel.steps(h) for h in self.horizons_s)


def list_records(*, quick: bool = False) -> Iterator[BenchRecord]:
    """Yield all records by kind, or the few of a quick run."""
    if quick:
        yield from _list_benchmarks(("SK",))
        yield from (r for r in _list_accelerating() if r.name in {"failure-6h", "collapse 6000", "collapse 6001"})
        yield from list(_list_steady())[:1]
        yield from list(_list_surveyed())[:1]
        yield from (r for r in _list_driven() if r.name in {"pressure 1", "rain 1"})
        yield from list(_list_undriven(quick=True))
        return
    yield from _list_slow()
    yield from _list_seldom()
    yield from _list_benchmarks(("S", "SK"))
    yield from _list_reservoir()
    yield from _list_steady()
    yield from _list_accelerating()
    yield from _list_surveyed()
    yield from _list_ice()
    yield from _list_driven()
    yield from _list_undriven()


def list_collapses(count: int) -> Iterator[BenchRecord]:
    """Yield drawn collapses on seeds that no other record has, for the intervals in the last tenth of a life."""
    for seed in range(FIRST_COLLAPSE + 100, FIRST_COLLAPSE + 100 + count):
        yield draw_failure(seed)


def draw_failure(seed: int) -> BenchRecord:
    """Draw one collapse: daily for even seeds, otherwise every 6 hours."""
    step_s = QUARTER_DAY_S if seed % 2 else DAY_S
    drawn = draw_collapse(seed, sigma=NOISES_MM[seed % 3], interval_s=step_s, alpha=(1.5, 2.5), rain=True, gaps=True)
    panel = panel_from_samples({"F": (drawn.times_s, drawn.values)}, step_s)
    horizons_s = FAST if seed % 2 else DAYS[:2]
    return BenchRecord(f"collapse {seed}", ACCELERATING, panel, horizons_s, drawn.failure_s)


def _cut(panel: Panel) -> Panel:
    """Return the newest rows of a long record."""
    first = max(0, panel.values.shape[0] - MOST_ROWS)
    drivers = None if panel.drivers is None else replace(panel.drivers, values=panel.drivers.values[first:])
    return replace(panel, start_s=panel.start_s + first * panel.step_s, values=panel.values[first:], drivers=drivers)


def _list_slow() -> Iterator[BenchRecord]:
    for one in read_records({"cascadia", "japan"}):
        if one.name in {"G", "K", "cascadia-up", "japan-east"}:
            yield BenchRecord(one.name, SLOW, _cut(one.panel), one.horizons_s)
    for one in _read_positions():
        yield BenchRecord(one.name, SLOW, _cut(one.panel), one.horizons_s)


@cache
def _read_positions() -> tuple[BenchRecord, ...]:
    return tuple(
        BenchRecord(one.name, SLOW, one.panel, one.horizons_s)
        for one in read_records({"positions"})
        if one.name in POSITIONS
    )


def _list_seldom() -> Iterator[BenchRecord]:
    for one in read_records({"egms", "houston", "lamosano"}):
        panel = one.panel
        if one.name == "lamosano":
            panel = read_record(None, read_recipe(RECIPES / "lamosano.toml")).panel
        yield BenchRecord(one.name, SELDOM, panel, one.horizons_s)


def _list_benchmarks(names: Sequence[str]) -> Iterator[BenchRecord]:
    """The motion of Outang with the measured noise of other stations, its rain, reservoir and groundwater."""
    for name in names:
        yield BenchRecord(name, RESERVOIR, _cut(read_record(name, RecordRecipe()).panel), DAYS)


def _list_reservoir() -> Iterator[BenchRecord]:
    for name, horizons_s in (("baijiabao", DAYS), ("bazimen", MONTHS), ("outang-months", MONTHS)):
        yield BenchRecord(name, RESERVOIR, read_record(None, read_recipe(RECIPES / f"{name}.toml")).panel, horizons_s)


def _list_steady() -> Iterator[BenchRecord]:
    for seed in (100, 101):
        yield BenchRecord(f"crack, 45 mm a day, {seed}", STEADY, draw_crack(False, seed), FAST)
        yield BenchRecord(f"marker, 8 m a day, {seed}", STEADY, draw_marker(0.0, seed), FAST)
    yield BenchRecord("marker, velocity wanders by 2 % an hour", STEADY, draw_marker(0.02, 100), FAST)


def _list_accelerating() -> Iterator[BenchRecord]:
    yield BenchRecord("crack, 1 mm a day, then 45", ACCELERATING, draw_crack(True, 100), FAST)
    for one in read_records({"failure"}):
        yield BenchRecord(one.name, ACCELERATING, _cut(one.panel), one.horizons_s, one.panel.end_s + one.panel.step_s)
    for seed in range(FIRST_COLLAPSE, FIRST_COLLAPSE + COLLAPSES):
        yield draw_failure(seed)


def _list_surveyed() -> Iterator[BenchRecord]:
    """GNSS rovers and prisms of a total station, read hourly for 45 days.

    The error of both has a daily part: multipath repeats with the satellites, refraction with the temperature.
    """
    rows = 45 * 24
    hours = np.arange(rows, dtype=np.float64)
    for kind, speeds, white_mm, daily_mm in (
        (ROVER, (20.0, 80.0, 300.0), 5.0, 4.0),
        (PRISM, (2.0, 12.0, 60.0), 1.0, 2.5),
    ):
        for number, speed in enumerate(speeds):
            rng = np.random.default_rng([KINDS.index(kind), number])
            wander = np.exp(np.cumsum(rng.normal(0.0, 0.01, rows)))
            moved = np.cumsum(speed / 24.0 * wander)
            daily = daily_mm * np.sin(2.0 * np.pi * hours / 24.0 + rng.uniform(0.0, 6.0))
            values = moved + daily + rng.normal(0.0, white_mm, rows)
            values[rng.random(rows) < 0.05] = np.nan
            yield BenchRecord(f"{kind}, {speed:g} mm a day", kind, Panel(0.0, HOUR_S, ("P",), values[:, None]), FAST)


def _list_ice() -> Iterator[BenchRecord]:
    for one in read_records({"bowdoin"}):
        yield BenchRecord(one.name, ICE, one.panel, (QUARTER_DAY_S, DAY_S, 3 * DAY_S))


def _list_driven() -> Iterator[BenchRecord]:
    for name in ("pressure", "rain"):
        for number, (step_s, rows) in enumerate(((QUARTER_DAY_S, 1200), (QUARTER_DAY_S, 1200), (DAY_S, 900)), start=1):
            yield simulate_driven(name, number, step_s, rows)


def simulate_driven(cause: str, number: int, step_s: float, rows: int) -> BenchRecord:
    """Simulate a slope whose velocity follows its pore pressure, measured or hidden.

    Pressure is a reservoir that rain fills within a day and that drains over days. Velocity grows linearly with the
    pressure above a threshold. With `rain` as the cause the piezometer is not part of the record.
    """
    rng = np.random.default_rng([7, number, cause == "rain"])
    hours = step_s / HOUR_S
    warm_up = round(60 * DAY_S / step_s)
    rain_mm = draw_rain(rng, warm_up + rows, hours)
    drain_d, rate, noise_mm = ((6.0, 0.06, 0.4), (15.0, 0.03, 0.4), (30.0, 0.02, 0.5))[number - 1]
    kept = np.exp(-step_s / DAY_S / drain_d)
    soaked = np.exp(-step_s / DAY_S / 0.7)
    pressure = np.zeros(rain_mm.size)
    surface = 0.0
    held = 0.0
    for t, fallen in enumerate(rain_mm):
        surface = surface + fallen
        held = kept * held + 0.4 * (1.0 - soaked) * surface
        surface = soaked * surface
        pressure[t] = held
    days = np.arange(rain_mm.size) * step_s / DAY_S
    pressure = 40.0 + pressure + 2.0 * np.sin(2.0 * np.pi * days / 365.25)
    threshold = np.quantile(pressure, 0.3)
    velocity = 0.02 + rate * np.maximum(pressure - threshold, 0.0) * rng.lognormal(0.0, 0.15, pressure.size)
    values = np.cumsum(velocity * step_s / DAY_S) + rng.normal(0.0, noise_mm, pressure.size)
    read = pressure + rng.normal(0.0, 0.1, pressure.size)
    times = step_s * np.arange(rows, dtype=np.float64)
    samples: Samples = {"R1.rain_mm": (times, rain_mm[warm_up:])}
    if cause == "pressure":
        samples["P1.pore_pressure_kpa"] = (times, read[warm_up:])
    panel = Panel(0.0, step_s, ("D",), values[warm_up:, None])
    horizons_s = OFTEN if step_s < DAY_S else DAYS
    return BenchRecord(
        f"{cause} {number}", PRESSURE if cause == "pressure" else RAIN, _drive(panel, samples), horizons_s
    )


def _drive(panel: Panel, samples: Samples) -> Panel:
    """Lay drivers beside a panel."""
    covariates: tuple[Covariate, ...] = covariates_from_samples(samples, panel)
    drivers: DriverRows | None = rows_from_covariates(covariates, panel.step_s)
    return replace(panel, drivers=drivers)


def _list_undriven(*, quick: bool = False) -> Iterator[BenchRecord]:
    """Motion that rain does not move, beside the rain and the pressure of another place."""
    wanted = [BenchRecord("crack, steady", STEADY, draw_crack(False, 102), FAST)]
    if not quick:
        wanted += [replace(one, panel=_cut(one.panel)) for one in _read_positions() if one.name in {"P156", "USUD"}]
        walk = np.cumsum(np.random.default_rng(5).normal(0.05, 0.3, 900))[:, None]
        wanted.append(BenchRecord("random walk", SLOW, Panel(0.0, DAY_S, ("W",), walk), DAYS))
    for one in wanted:
        samples = _draw_weather(one.panel.values.shape[0], one.panel.step_s)
        moved = {name: (times + one.panel.start_s, values) for name, (times, values) in samples.items()}
        yield BenchRecord(f"{one.name}, with rain", UNDRIVEN, _drive(one.panel, moved), one.horizons_s)


def _draw_weather(rows: int, step_s: float) -> dict[str, tuple[Floats, Floats]]:
    """Draw rain and the pressure that it causes."""
    rng = np.random.default_rng(11)
    rain_mm = draw_rain(rng, rows, step_s / HOUR_S)
    pressure = np.zeros(rows)
    for t in range(1, rows):
        pressure[t] = np.exp(-step_s / (8.0 * DAY_S)) * pressure[t - 1] + 0.3 * rain_mm[t]
    times = step_s * np.arange(rows, dtype=np.float64)
    return {"R1.rain_mm": (times, rain_mm), "P1.pore_pressure_kpa": (times, pressure + rng.normal(0.0, 0.1, rows))}
