"""The slope of the demonstration, its site file, and the readings of the tutorial.

The slope creeps for weeks, then accelerates until it fails shortly after the present.
"""

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from monitor.api.text import format_duration
from monitor.features.demo.slope import SITE_ID, SlopeModel, StationPlan

CREEP_MM_PER_DAY: Final = 1.0
ACCELERATES: Final = timedelta(days=20)
FAILS_AFTER: Final = timedelta(minutes=30)  # after the present, so that the last readings are the fastest
LIVE: Final = timedelta(hours=18)

# With a linear inverse velocity (Voight), the velocity is CREEP * ACCELERATES / time left. It reaches 30, 120 and
# 200 mm/day about 16 h, 4 h and 2.4 h before the failure. The acceleration needs shorter windows at higher levels.
TAIL: Final = """
[[criterion]]
kind = "velocity"
stations = ["G*"]
direction = "downslope"
yellow = {over = 30.0, window = "6h"}
orange = {over = 120.0, window = "3h"}
red = {over = 200.0, window = "2h"}
min_sigma = 3.0
dwell = {hits = 2, of = 3, within = "2h"}
recover = 0.6
valid_for = "1d"
author = "simulator"
reason = "chosen so that a demonstration of minutes climbs all levels; proves nothing about a real slope"

[[criterion]]
kind = "rate"
series = "E1.crack_opening"
yellow = {over = 30.0, window = "6h"}
dwell = {hits = 2, of = 3, within = "2h"}
recover = 0.6
author = "simulator"
reason = "chosen for the demonstration: every instrument that measures motion is judged"

[[criterion]]
kind = "rate"
id = "tilt-x"
series = "T1.tilt_x"
yellow = {over = 0.8, window = "6h"}
dwell = {hits = 2, of = 3, within = "2h"}
recover = 0.6
author = "simulator"
reason = "chosen for the demonstration: every instrument that measures motion is judged"

[[criterion]]
kind = "rate"
id = "tilt-y"
series = "T1.tilt_y"
yellow = {over = 0.24, window = "6h"}
dwell = {hits = 2, of = 3, within = "2h"}
recover = 0.6
author = "simulator"
reason = "chosen for the demonstration: every instrument that measures motion is judged"

[[criterion]]
kind = "rain_intensity_duration"
series = "R1.rain"
a = 14.82
b = 0.39
c = 0.0
duration = ["1h", "240h"]
min_coverage = 0.8
level = "yellow"
author = "simulator"
reason = "published global curve (Caine 1980), unverified for any site"

[[criterion]]
kind = "forecast"
stations = ["G*"]
yellow = {over = 30.0, window = "1d"}

[[criterion]]
kind = "anomaly"
stations = ["G*"]
level = "yellow"

[[criterion]]
kind = "scene"
level = "yellow"
near_m = 500.0

[[criterion]]
kind = "inverse_velocity"
stations = ["G*"]
yellow = {within = "3d"}
orange = {within = "1d"}

[movement]
failure_velocity_mm_per_day = 500.0
[movement.progressive]
every = "1m"
action = "Somebody looks at the page of movement all the time"
[movement.unknown]
every = "15s"

[fusion]
top_needs = 2
hold_when_missing = "3d"

[scenes]
weights = "generated"

[forecast]
models = ["gru", "lstm", "graph-gru"]
horizons = ["6h", "1d", "7d"]
every = "10m"

[anomaly]
detectors = ["rules", "ae"]
budget_per_sensor_month = 0.5
every = "2m"

[[recipient]]
name = "duty engineer"
channels = ["log"]
phone = "+41 79 000 00 01"
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
"""


def plan_story(now: datetime, seed: int, days: float, step: timedelta, stations: int) -> SlopeModel:
    """Return a slope whose record began `days` ago and that fails half an hour after `now`.

    The faults of its instruments are in the first half of the record, see `plan_faults`.
    """
    span = timedelta(days=days)
    start_at = now - span
    failure_at = now + FAILS_AFTER
    onset_at = failure_at - min(ACCELERATES, 0.5 * span)
    return SlopeModel(
        seed,
        stations,
        start_at,
        duration=span + timedelta(days=1),
        step=step,
        creep_mm_per_day=CREEP_MM_PER_DAY,
        onset_at=onset_at,
        failure_at=failure_at,
    )


def write_story_site(model: SlopeModel) -> str:
    """Return the site file of a demonstration, with thresholds that the slope crosses within minutes."""
    # Two missed readings and a quarter of an hour, so that the silence is reported soon after the failure.
    return write_stations(model, write_duration(2.5 * model.step)) + TAIL


HEAD: Final = """\
# A simulated slope. Every threshold below is chosen for the simulation and proves nothing about a real slope.
[site]
id = "{site}"
name = "Simulated slope"
latitude = {latitude}
longitude = {longitude}
timezone = "UTC"

[levels]
names = ["green", "yellow", "orange", "red"]
auto_lower = ["yellow"]
[levels.green]
action = "Routine monitoring"
[levels.yellow]
action = "Inform the duty geologist, look at the stations twice a day"
review_every = "12h"
[levels.orange]
action = "Geologist on site, restrict work below the slope"
review_every = "2h"
[levels.red]
action = "Close the road and clear the run-out area"
review_every = "30m"
"""

SERIES: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "gnss": (("displacement", "mm", "noise_floor_mm = 1.5\nverify_step_mm = 25.0\n"),),
    "rain": (("rain", "mm", ""),),
    "piezometer": (("pore_pressure", "kPa", ""),),
    "extensometer": (("crack_opening", "mm", "noise_floor_mm = 0.08\n"),),
    "tilt": (("tilt_x", "mrad", ""), ("tilt_y", "mrad", "")),
    "reservoir": (("reservoir_level", "m", ""),),
}


def write_stations(model: SlopeModel, max_silence: str | None = None) -> str:
    """Return the place, levels and stations of a site file.

    Args:
        model: The slope.
        max_silence: Of each series. Default: six intervals.
    """
    silence = max_silence or write_duration(6 * model.step)
    body = "".join(_write_station(one, model.step, silence, model.creep_mm_per_day) for one in model.stations)
    return HEAD.format(site=SITE_ID, latitude=model.latitude, longitude=model.longitude) + body


def _write_station(station: StationPlan, step: timedelta, silence: str, creep_mm_per_day: float) -> str:
    lines = [
        "\n[[station]]",
        f'id = "{station.id}"',
        f"latitude = {station.latitude}",
        f"longitude = {station.longitude}",
        f"height_m = {station.height_m}",
    ]
    if station.azimuth_deg is not None and station.plunge_deg is not None:
        lines += [f"azimuth_deg = {station.azimuth_deg}", f"plunge_deg = {station.plunge_deg}"]
        if station.on_slope and station.factor > 0:
            lines.append(f"v_eq_mm_per_day = {round(creep_mm_per_day * station.factor, 4)}")
            lines.append('v_eq_reviewed = "the simulated creep of this station, known by construction"')
    if station.reference is not None:
        lines.append(f'reference = "{station.reference}"')
    lines += [f'logger = "{station.logger}"', f"on_slope = {str(station.on_slope).lower()}"]
    text = "\n".join(lines) + "\n"
    for quantity, unit, extra in SERIES[station.kind]:
        text += (
            f'[[station.series]]\nquantity = "{quantity}"\nunit = "{unit}"\n'
            f'interval = "{write_duration(step)}"\nmax_silence = "{silence}"\n{extra}'
        )
    return text


def write_duration(span: timedelta) -> str:
    """Return a duration in its largest whole unit.

    >>> write_duration(timedelta(hours=6)), write_duration(timedelta(minutes=90)), write_duration(timedelta(days=2))
    ('6h', '90m', '2d')
    """
    return format_duration(round(span.total_seconds()))


DAYS: Final = 20  # enough for a first forecast at one and seven days
ACCELERATION_H: Final = 48
DOWNSLOPE: Final = (("east", -0.37), ("north", -0.80), ("up", -0.47))  # towards azimuth 205, plunge 28


def write_readings(path: Path, now: datetime) -> int:
    """Write the long table of the four stations that `slopeward init` declares, and return its number of rows.

    The newest reading is of the full hour before `now`.
    """
    noise = random.Random(1)
    newest = now.replace(minute=0, second=0, microsecond=0)
    rows: list[tuple[str, str, str, str, float | str]] = []
    for hour in range(-24 * DAYS, 1):
        at = (newest + timedelta(hours=hour)).isoformat()
        since_h = max(0, hour + ACCELERATION_H)
        moved_mm = 3.0 * since_h**1.6 / 24
        rows += [
            (at, "G1", f"displacement_{component}_mm", f"{moved_mm * share + noise.gauss(0, 1):.2f}", 1.0)
            for component, share in DOWNSLOPE
        ]
        rows.append((at, "E1", "crack_opening_mm", f"{moved_mm + noise.gauss(0, 0.1):.2f}", 0.1))
        rows.append((at, "R1", "rain_mm", "0.2", ""))
        rows.append((at, "C1", "displacement_east_mm", f"{noise.gauss(0, 1):.2f}", 1.0))
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["time", "station", "quantity", "value", "sigma"])
        out.writerows(rows)
    return len(rows)
