"""What a site file says of a simulated slope: its place, its levels and its stations."""

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

SERIES: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "gnss": (("displacement", "mm", "noise_floor_mm = 1.5\nverify_step_mm = 25.0\n"),),
    "rain": (("rain", "mm", ""),),
    "piezometer": (("pore_pressure", "kPa", ""),),
    "extensometer": (("crack_opening", "mm", "noise_floor_mm = 0.08\n"),),
    "tilt": (("tilt_x", "mrad", ""), ("tilt_y", "mrad", "")),
    "reservoir": (("reservoir_level", "m", ""),),
}


def write_stations(model: SlopeModel, max_silence: str | None = None) -> str:
    """The part of a site file of interfaces, section 3, that says of this slope: place, levels, stations.

    Args:
        model: the slope.
        max_silence: of each series; else six of its steps.
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
    """The largest unit that says it exactly.

    >>> write_duration(timedelta(hours=6)), write_duration(timedelta(minutes=90)), write_duration(timedelta(days=2))
    ('6h', '90m', '2d')
    """
    return spell_duration(round(span.total_seconds()))
