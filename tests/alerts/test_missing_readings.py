"""Incomplete data of a site are stored with its state, and the page and `status` show them."""

from datetime import timedelta

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.evaluations import load_incomplete
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.text.instants import parse_time
from monitor.web.parts.collect import collect_site_parts
from tests.data.site_text import criterion, head, series, station, table
from tests.data.store_rows import ask, tell

T0 = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
SITE = parse_site(
    head("slope")
    + station("R1", series("rain", "mm", max_silence="6h"))
    + station("T1", series("tilt_x", "mrad", max_silence="6h"), series("tilt_y", "mrad", max_silence="6h"))
    + criterion("rain_sum", id="wet", series="R1.rain", yellow={"over": 30.0, "window": "12h"})
    + criterion("rate", id="tilts", series="T1.tilt_x", yellow={"over": 5.0, "window": "12h"})
    + table("[fusion]", top_needs=1),
    "slope.toml",
)


@pytest.fixture
def slope(database):
    tell(database, save_site, SITE, "test", "rain", T0)
    return database


def store(db, station_id, quantity, unit, at, value, flags=()):
    reading = Observation("slope", station_id, quantity, unit, at, at, value, flags=flags)
    tell(db, add_observations, [reading], at)


def fill(db, hours, flagged=()):
    for hour in hours:
        at = T0 + hour * HOUR
        store(db, "R1", "rain", "mm", at, 1.0, ("broken",) if hour in flagged else ())
        store(db, "T1", "tilt_x", "mrad", at, 0.01 * (hour % 3))
        store(db, "T1", "tilt_y", "mrad", at, 0.01 * (hour % 2))


def test_removed_sum_is_named_until_it_has_left_the_window(slope):
    fill(slope, range(30), flagged={26})
    now = T0 + 29 * HOUR
    assert evaluate_site(slope, SITE, now, "data").observability == "degraded"
    incomplete = ask(slope, load_incomplete, "slope")
    assert "92 % of the last 12h are known" in str(incomplete["R1.rain"])
    assert "flag broken" in str(incomplete["R1.rain"])
    shown = [str(reason) for reason in ask(slope, collect_site_parts, "slope", now)["incomplete"]]
    assert any(reason.startswith("R1.rain: 92 %") for reason in shown)
    fill(slope, range(30, 42))
    evaluate_site(slope, SITE, T0 + 41 * HOUR, "data")
    assert list(ask(slope, load_incomplete, "slope")) == ["T1.tilt_y"]


def test_moving_series_without_a_criterion_prevents_full_observability(slope):
    fill(slope, range(30))
    assert evaluate_site(slope, SITE, T0 + 29 * HOUR, "data").observability == "degraded"
    assert {name: str(why) for name, why in ask(slope, load_incomplete, "slope").items()} == {
        "T1.tilt_y": "no criterion with a vote judges it"
    }


def test_incomplete_series_are_loaded_as_stored(slope):
    fill(slope, range(30), flagged={26})
    now = T0 + 29 * HOUR
    first = evaluate_site(slope, SITE, now, "data").decision
    again = evaluate_site(slope, SITE, now, "data").decision
    assert first.memory.incomplete == again.memory.incomplete == ask(slope, load_incomplete, "slope")
