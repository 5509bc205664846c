"""Decisions on measured slopes: a moving slope raises an alert in time, and a stable one at most a question."""

from datetime import UTC, datetime

import pytest

from monitor.decision.changes import AlertCategory
from tests.data.measured import measured_site, read_baijiabao, read_outang, replay

pytestmark = pytest.mark.data


def day(*parts):
    return datetime(*parts, tzinfo=UTC)


def list_level_changes(decisions):
    """Return (time, level) of every change of the hazard level."""
    return [(now, c.level) for now, d in decisions for c in d.changes if c.ledger == AlertCategory.HAZARD]


@pytest.mark.soak
def test_outang_reaches_orange_in_autumn_2017_without_earlier_alerts(measured):
    site = measured_site("outang")
    rows = [o for o in read_outang(measured("outang/monitoring_data.csv")) if o.observed_at < day(2018, 1, 1)]
    decisions = list(replay(site, rows))
    changes = list_level_changes(decisions)
    print("outang:", [(at.date().isoformat(), site.levels[level].name) for at, level in changes])
    first = dict(reversed([(level, at) for at, level in changes]))
    assert day(2017, 8, 15) <= first[1] <= day(2017, 9, 5)
    assert first[1] < first[2] <= day(2017, 9, 16), "orange before the fastest day"
    assert changes[0][0] == first[1], "no alert before that of the lowest level"
    # No criterion uses rain. Only displacement and reservoir have assessments with data.
    assessed = {(w["criterion"], w["station"]) for _, d in decisions for w in d.evidence["words"] if w["heard"]}
    assert "R1" not in {station for _, station in assessed}
    assert ("drawdown", "RES") in assessed


@pytest.mark.soak
def test_baijiabao_raises_an_alert_by_10_june_2018_and_none_before_june(measured):
    site = measured_site("baijiabao")
    decisions = list(replay(site, read_baijiabao(measured("bazimen-baijiabao/source_sample.xlsx"))))
    changes = list_level_changes(decisions)
    print("baijiabao:", [(at.date().isoformat(), site.levels[level].name) for at, level in changes])
    assert changes[0][0] >= day(2018, 6, 1)
    assert changes[0][0] <= day(2018, 6, 10)
    assert all(d.reachable_level == 2 for _, d in decisions), "a single station is one witness"
