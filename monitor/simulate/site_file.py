"""The site file of a simulated slope, complete enough for the service to run it as it is."""

from datetime import timedelta
from typing import Final

from monitor.domain.instants import spell_duration
from monitor.simulate.slope import SITE_ID, SlopeModel
from monitor.simulate.stations import StationPlan

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

RAIN_RULE: Final = """
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
"""
RECIPIENT: Final = """
[[recipient]]
name = "duty engineer"
channels = ["log"]
levels = ["yellow", "orange", "red"]
escalate_after = "10m"
"""
TAIL: Final = (
    """
[[criterion]]
kind = "velocity"
stations = ["G*"]
direction = "downslope"
yellow = {{over = 3.0, window = "{slow}"}}
orange = {{over = 12.0, window = "{middle}"}}
red = {{over = 45.0, window = "{fast}"}}
min_sigma = 3.0
dwell = {{hits = 3, of = 4, within = "{dwell}"}}
recover = 0.6
valid_for = "{valid}"
author = "simulator"
reason = "three, twelve and forty-five times the simulated creep of 1 mm/day"

[[criterion]]
kind = "rate"
series = "E1.crack_opening"
yellow = {{over = 3.0, window = "{slow}"}}
orange = {{over = 12.0, window = "{middle}"}}
red = {{over = 45.0, window = "{fast}"}}
dwell = {{hits = 3, of = 4, within = "{dwell}"}}
recover = 0.6
valid_for = "{valid}"
author = "simulator"
reason = "the same rates as the velocity, on another logger"

[[criterion]]
kind = "inverse_velocity"
stations = ["G*"]
yellow = {{within = "3d"}}
orange = {{within = "1d"}}
author = "simulator"
reason = "advice only: when it would fail if the acceleration went on"

[[criterion]]
kind = "anomaly"
level = "yellow"
author = "simulator"
reason = "advice only: no detector has been promoted here"

[[criterion]]
kind = "scene"
level = "yellow"
author = "simulator"
reason = "advice only: a footprint on a single date"
"""
    + RAIN_RULE
    + """
[fusion]
top_needs = 2
hold_when_missing = "3d"

[movement]
failure_velocity_mm_per_day = 500.0
[movement.progressive]
every = "1m"
action = "Somebody looks at the page of movement all the time"
[movement.unknown]
every = "20s"

[anomaly]
detectors = ["persistence-z", "ae"]
budget_per_sensor_month = 0.1
every = "1h"

[scenes]
weights = "generated"

[forecast]
models = ["auto", "gru"]
horizons = ["1d", "7d", "30d"]
every = "6h"
"""
    + RECIPIENT
)

SERIES: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "gnss": (("displacement", "mm", "noise_floor_mm = 1.5\nverify_step_mm = 25.0\n"),),
    "rain": (("rain", "mm", ""),),
    "piezometer": (("pore_pressure", "kPa", ""),),
    "extensometer": (("crack_opening", "mm", "noise_floor_mm = 0.08\n"),),
    "tilt": (("tilt_x", "mrad", ""), ("tilt_y", "mrad", "")),
    "reservoir": (("reservoir_level", "m", ""),),
}


def write_site_toml(model: SlopeModel) -> str:
    """The site file of interfaces, section 3, for this slope: stations, levels, criteria, fusion, forecast, recipient.

    Returns:
        TOML text; the caller writes it where its configuration looks for sites.
    """
    step = model.step
    body = "".join(_write_station(station, step, model.creep_mm_per_day) for station in model.stations)
    return (
        HEAD.format(site=SITE_ID, latitude=model.latitude, longitude=model.longitude)
        + body
        + TAIL.format(
            slow=write_duration(max(timedelta(days=3), 12 * step)),
            middle=write_duration(max(timedelta(days=1), 8 * step)),
            fast=write_duration(max(timedelta(hours=8), 6 * step)),
            dwell=write_duration(max(timedelta(hours=6), 5 * step)),
            valid=write_duration(max(timedelta(hours=12), 6 * step)),
        )
    )


def _write_station(station: StationPlan, step: timedelta, creep_mm_per_day: float) -> str:
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
            f'interval = "{write_duration(step)}"\nmax_silence = "{write_duration(6 * step)}"\n{extra}'
        )
    return text


def write_duration(span: timedelta) -> str:
    """The largest unit that says it exactly.

    >>> write_duration(timedelta(hours=6)), write_duration(timedelta(minutes=90)), write_duration(timedelta(days=2))
    ('6h', '90m', '2d')
    """
    return spell_duration(round(span.total_seconds()))
