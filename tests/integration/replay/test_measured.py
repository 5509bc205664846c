"""Scorecards of measured slopes: the same dates as the decision itself gives, with leads, misses and quiet years."""

from datetime import UTC, datetime

import pytest

from monitor.domain.observation import Observation
from monitor.replay.backtest import run_backtest
from monitor.replay.matrix import EventLabel
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.readings.observations import add_observations
from tests.data.measured import measured_site, read_baijiabao, read_outang

pytestmark = pytest.mark.data


def day(*parts):
    return datetime(*parts, tzinfo=UTC)


def replayed(url, name, rows, from_at, to_at, label):
    site = measured_site(name)
    with Database(url) as db:
        with db.write() as c:
            save_site(c, site, "test", "measured", day(2026, 1, 1))
            add_observations(c, [_late(o) for o in rows], day(2026, 1, 1))
        card = run_backtest(db, site, from_at, to_at, labels=[label])
    assert card.known["rows_by_reception"] == 0
    assert card.known["rows_by_epoch"] > 0
    print({k: round(v / 86400.0, 1) for k, v in card.runs[0].time_in_level_s.items()}, card.runs[0].false_days)
    return card.runs[0]


def _late(o):
    return Observation(o.site, o.station, o.quantity, o.unit, o.observed_at, day(2026, 1, 1), o.value, o.sigma)


def test_outang_is_quiet_for_a_year_and_warns_before_its_fastest_day(sqlite_url, measured):
    from_at, to_at = day(2016, 9, 1), day(2017, 11, 1)
    rows = [o for o in read_outang(measured("outang/monitoring_data.csv")) if day(2016, 7, 1) <= o.observed_at < to_at]
    # the fastest day of the record
    run = replayed(sqlite_url, "outang", rows, from_at, to_at, EventLabel(day(2017, 9, 16), day(2017, 9, 17), 2, 2))
    (event,) = run.events
    assert run.misses == 0
    assert event.lead_s >= 5 * 86400.0
    assert day(2017, 8, 15) <= event.first_at <= day(2017, 9, 5)
    assert min(d for d, *_ in run.false_day_list) > "2017-09-17", "nothing before the event is false"
    assert {s.station for s in run.sensors if s.raises} <= {"ATU1", "ATU2", "ATU3", "ATU4", "ATU5"}


def test_baijiabao_warns_in_june(sqlite_url, measured):
    rows = read_baijiabao(measured("bazimen-baijiabao/source_sample.xlsx"))
    from_at, to_at = min(o.observed_at for o in rows), max(o.observed_at for o in rows)
    run = replayed(sqlite_url, "baijiabao", rows, from_at, to_at, EventLabel(day(2018, 6, 12), day(2018, 6, 30), 2, 2))
    (event,) = run.events
    assert day(2018, 6, 1) <= event.right_at <= day(2018, 6, 10)
    assert event.peak_level == 2
    scores = {c.criterion: c for c in run.criteria}
    assert scores["velocity-1"].data_share > 0.9
