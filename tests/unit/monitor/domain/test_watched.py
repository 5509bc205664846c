"""Which motion detectors look at together, and how often."""

import pytest

from monitor.config.site import parse_site
from monitor.domain.instruments.watched import MOTION, list_groups
from monitor.domain.site import Site

SERIES = """
[[station.series]]
quantity = "{quantity}"
unit = "mm"
interval = "{interval}"
max_silence = "60d"
{more}
"""
TYPED = "by_hand = true"


def declare(*series: tuple[str, str, str, str]) -> Site:
    """A site of stations with one series each: station, quantity, interval, more."""
    text = '[site]\nid = "bench"\nname = "North bench"\nlatitude = 46.2\nlongitude = 8.9\n'
    for station, quantity, interval, more in series:
        text += f'[[station]]\nid = "{station}"\nazimuth_deg = 90.0\nplunge_deg = 0.0\n'
        text += SERIES.format(quantity=quantity, interval=interval, more=more)
    return parse_site(text, "bench.toml")


def group(site: Site) -> dict[str, tuple[float, list[str]]]:
    """The step and the stations of each group."""
    ids = {(st.id, s.quantity): n for n, st in enumerate(site.stations, 1) for s in st.series}
    return {g.name: (g.step_s, [one.station.id for one in g.series]) for g in list_groups(site, ids)}


ROVER = ("rover", "displacement_distance", "3h", "")
PIN = ("pin", "crack_opening", "1d", TYPED)
SATELLITE = ("satellite", "displacement_los", "12d", "")


def test_a_marker_that_a_person_types_does_not_slow_the_instruments() -> None:
    assert group(declare(ROVER, PIN)) == {
        MOTION: (10800.0, ["rover"]),
        "crack_opening every 86400 s": (86400.0, ["pin"]),
    }


def test_a_satellite_does_not_slow_what_measures_each_day() -> None:
    assert group(declare(ROVER, ("tape", "displacement_distance", "1d", ""), SATELLITE)) == {
        MOTION: (86400.0, ["rover", "tape"]),
        "displacement_los every 1.0368e+06 s": (12 * 86400.0, ["satellite"]),
    }


@pytest.mark.parametrize(("alone", "step_s"), [(PIN, 86400.0), (SATELLITE, 12 * 86400.0)])
def test_alone_they_are_the_motion_of_the_site(alone: tuple[str, str, str, str], step_s: float) -> None:
    assert group(declare(alone)) == {MOTION: (step_s, [alone[0]])}


def test_forecasts_keep_the_grid_of_the_slowest() -> None:
    assert declare(ROVER, SATELLITE).slowest_motion_s == 12 * 86400.0
