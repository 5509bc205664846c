"""A site file without azimuth, or with a wrong one: what slides is seen or asked about, and the file is told so."""

import random
from math import cos, radians, sin

import pytest

from monitor.app.checks.site_files import SiteFolder
from monitor.app.checks.table import run_checks
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.readings.records import Reading
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.text.instants import from_epoch_s
from tests.data.site_text import FOUR, criterion, head, series, station

T0, H = 1.8e9, 3600.0
BOUNDS = {"yellow": {"over": 2.0, "window": "4d"}, "orange": {"over": 20.0, "window": "2d"}}
BOUNDS |= {"red": {"over": 100.0, "window": "12h"}, "dwell": {"hits": 3, "of": 4}}
MOVED = series("displacement", "mm", noise_floor_mm=1.5)


def read(more: str = "", **facts: float):
    stations = [station(name, MOVED, **facts) for name in ("R1", "R2")]
    rule = criterion("velocity", id="v", stations=["R*"], **BOUNDS)
    return parse_site(head("slope", levels=FOUR) + "".join(stations) + rule + more, "site.toml")


def watch(site, heading: float, speed: float = 207.0, hours: int = 120, parts: int = 3) -> Decision:
    rng, readings = random.Random(4), {}
    way = (sin(radians(heading)), cos(radians(heading)), 0.0)
    for rover in ("R1", "R2"):
        for k, name in enumerate(("east", "north", "up")[:parts]):
            values = [speed / 24.0 * i * way[k] + rng.gauss(0.0, 1.0) for i in range(hours)]
            readings[f"{rover}.displacement_{name}"] = tuple(
                Reading(from_epoch_s(T0 + i * H), from_epoch_s(T0 + i * H), 0, v, 0.0, v, None, ())
                for i, v in enumerate(values)
            )
    now_s = T0 + (hours - 1) * H
    newest = dict.fromkeys(readings, NewestEpoch(now_s, now_s))
    return decide(PreparedSite(site), Memory(started_s=T0), DecisionInputs(readings, newest), from_epoch_s(now_s))


@pytest.mark.parametrize("heading", [0.0, 200.0])
def test_displacement_as_a_value_is_the_distance_from_zero(heading):
    bounds = {name: {"over": bound["over"]} for name, bound in BOUNDS.items() if "over" in bound}
    rule = criterion("level", id="v", series="R1.displacement", **bounds, dwell=BOUNDS["dwell"])
    site = parse_site(head("slope", levels=FOUR) + station("R1", MOVED) + rule, "site.toml")
    assert watch(site, heading, speed=40.0).level == 2, "200 mm asks for the top, which one station alone cannot"
    assert watch(site, heading, speed=0.0).level == 0


@pytest.mark.one_case_in(4)
@pytest.mark.parametrize("heading", range(0, 360, 30))
@pytest.mark.parametrize("facts", [{}, {"azimuth_deg": 180.0}, {"azimuth_deg": 180.0, "plunge_deg": 0.0}])
def test_east_and_north_alone_count_as_with_a_constant_up(heading, facts):
    flat, solid = (watch(read(**facts), heading, speed=60.0, parts=parts).level for parts in (2, 3))
    assert flat == solid


def find(site, check="sites.azimuth") -> list[str]:
    files = SiteFolder(ServiceConfig(), [site], {})
    return [f"{one.level} {one.text} {one.todo}" for one in run_checks(files) if one.check.id == check]


def test_check_warns_of_missing_azimuth_or_plunge():
    (said,) = find(read())
    assert said.startswith("warn R1, R2: no azimuth_deg. With east and north, the horizontal speed")
    assert "set azimuth_deg and plunge_deg" in said
    assert not find(read(azimuth_deg=180.0))
    assert not find(read(more='direction = "norm"'))
    (said,) = find(read(azimuth_deg=180.0), "sites.plunge")
    assert said.startswith("warn R1, R2: no plunge_deg. With up, the vertical rate")
    for facts in ({}, {"azimuth_deg": 180.0, "plunge_deg": 0.0}):
        assert not find(read(**facts), "sites.plunge")
