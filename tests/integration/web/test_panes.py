"""The answers behind the linked chart: the same readings however long the range is, and marks that lead on."""

from datetime import timedelta

import pytest

from monitor.store.readings.observations import load_series
from monitor.web.parts import columns
from monitor.web.parts.columns import load_points, unfold
from monitor.web.routes.site.charts import find_parts
from tests.data import filled as story
from tests.integration.web.test_page import client, database, filled  # noqa: F401 - fixtures

SITE = "/api/v1/sites/north-bench"


def test_a_long_range_shows_the_extremes_and_the_newest_that_reading_one_by_one_shows(filled_database, monkeypatch):
    now, low = story.NOW + timedelta(minutes=5), story.START - timedelta(days=1)
    with filled_database.read() as c:
        series = load_series(c, "north-bench")
        for station, quantity in (
            *{(s.station, s.quantity) for s in series},
            ("G1", "displacement_downslope"),
            ("G2", "displacement_downslope"),
        ):
            parts = find_parts(c, "north-bench", series, station, quantity)
            monkeypatch.setattr(columns, "EXACT", 10**6)
            exact, total, readings = load_points(c, parts, low, story.NOW, now, 10**6)
            if total < 60:
                continue
            monkeypatch.setattr(columns, "EXACT", 20)
            few, counted, newest = load_points(c, parts, low, story.NOW, now, 40)
            sound = [v for k, v in enumerate(exact["value"]) if str(k) not in exact["flags"]]
            shown = [v for k, v in enumerate(few["value"]) if str(k) not in few["flags"]]
            assert (min(shown), max(shown)) == pytest.approx((min(sound), max(sound))), (station, quantity)
            assert [r.value for r in newest] == [r.value for r in readings[-len(newest) :]]
            assert few["value"][-len(newest) :] == exact["value"][-len(newest) :]
            assert len(few["at"]) < 40 + 2 * columns.NEWEST + columns.FLAGGED
            assert abs(counted - total) <= len(exact["flags"])
            # every point that is drawn was measured: its value stands in the record, near its instant
            known = {round(v, 4) for v in sound}
            assert all(round(v, 4) in known for v in shown)
            assert unfold(few["at"]) == sorted(unfold(few["at"]))
