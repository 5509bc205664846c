"""A measured event through the movement update of the service, one update a day: its stages, and no failure window."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from monitor.jobs.movement.update import update_movement
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.readings.observations import add_observations
from monitor.store.schema.views import load_view
from tests.data.measured import measured_site, read_baijiabao

pytestmark = pytest.mark.data


def test_baijiabao_accelerates_in_june_2018_ends_as_a_step_and_never_has_a_failure_window(measured, sqlite_url):
    site, db = measured_site("baijiabao"), Database(sqlite_url)
    days = defaultdict(list)
    for one in read_baijiabao(measured("bazimen-baijiabao/source_sample.xlsx")):
        if one.quantity == "displacement":
            days[one.observed_at].append(one)
    begin = datetime(2018, 4, 1, tzinfo=UTC)
    with db.write() as c:
        save_site(c, site, "test", "test", begin)
        add_observations(c, [o for at, rows in days.items() if at < begin for o in rows], begin)
    stages = {}
    for at in sorted(d for d in days if d >= begin):
        with db.write() as c:
            add_observations(c, days[at], at)
        report = update_movement(db, site, at + timedelta(hours=1))
        assert not report.failed
        stages[at] = report.stage
    with db.read() as c:
        windows = [dict(w) for w in load_view(c, "failure_windows")]
    db.close()
    changes = [
        (at, s)
        for (_, before), (at, s) in zip(list(stages.items())[:-1], list(stages.items())[1:], strict=True)
        if s != before
    ]
    print("baijiabao:", [(at.date().isoformat(), stage) for at, stage in changes])
    progressive = next(at for at, stage in changes if stage == "progressive")
    # 65 mm from 2 June on; what calls it a few days early are the 4 mm of mid May in the long windows
    assert datetime(2018, 5, 20, tzinfo=UTC) <= progressive <= datetime(2018, 6, 8, tzinfo=UTC)
    assert [stage for at, stage in changes if at > progressive] == ["step", "creep"]
    assert [w for w in windows if w["trusted"]] == []
