"""The picture of rain beside its curve: a gauge that never reported shows its curve and hides no other one."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from monitor.decision.criteria.rain_gauge import Gauge
from monitor.decision.criteria.table import KINDS
from monitor.domain.site import Criterion, Level, SeriesSpec, Site, Station, Threshold
from monitor.errors import NotFoundError
from monitor.web.routes.site import movement

NOW = datetime(2026, 1, 10, tzinfo=UTC)
CURVE = Criterion(
    "c",
    KINDS["rain_intensity_duration"],
    ("R1",),
    "rain",
    (Threshold(1),),
    params=(("a", 14.82), ("b", 0.39), ("c", 0.0), ("duration_from_s", 3600.0), ("duration_to_s", 86400.0)),
)


def test_a_gauge_that_never_reported_shows_its_curve_alone(monkeypatch):
    def unknown(*_):
        raise NotFoundError("there is no series s/R1/rain")

    monkeypatch.setattr(movement, "find_series", unknown)
    gauge = SeriesSpec("R1", "rain", "mm", 3600.0, 21600.0)
    place = Station("R1", None, None, None, None, None, None, None, None, on_slope=False, series=(gauge,))
    levels = (Level(0, "green", auto_lower=True), Level(1, "yellow", auto_lower=True))
    site = Site("s", "S", 46.0, 8.0, "UTC", levels, (place,), (CURVE,), version="v")
    found = movement._describe(None, site, CURVE, "R1", (NOW - timedelta(days=1), NOW), NOW)
    assert found is not None
    assert len(found["curve"]) > 5
    assert (found["now"], found["most"], found["newest_at"]) == ([], [], None)


@pytest.mark.parametrize("stamp", ["interval_end", "counter", "event"])
def test_the_most_of_a_range_is_measured_with_the_edge_of_the_criterion(stamp):
    dice = random.Random(3)
    times = tuple(k * 3600.0 for k in range(200) if dice.random() < 0.8)
    gauge = Gauge(times, tuple(dice.choice((0.0, 0.2, 7.4)) for _ in times), 3600.0, stamp, 0.0)
    for hours in (1, 3, 24, 500):
        assert movement.most_rain(gauge, hours * 3600.0) == max(
            gauge.total_at(at_s, hours * 3600.0)[0] for at_s in times
        )
