"""Measured slopes through the decision: what moves alerts in time, what does not move is at most asked about."""

from datetime import UTC, datetime

import pytest

from monitor.decision.changes import AlertCategory
from tests.data.measured import measured_site, read_baijiabao, read_outang, replay

pytestmark = pytest.mark.data


def day(*parts):
    return datetime(*parts, tzinfo=UTC)


def rises(found):
    """(instant, level) of every change of the hazard level."""
    return [(now, c.level) for now, d in found for c in d.changes if c.ledger == AlertCategory.HAZARD]


@pytest.mark.soak
def test_outang_climbs_in_autumn_2017_and_is_quiet_the_year_before(measured):
    site = measured_site("outang")
    rows = [o for o in read_outang(measured("outang/monitoring_data.csv")) if o.observed_at < day(2018, 1, 1)]
    found = list(replay(site, rows))
    changes = rises(found)
    print("outang:", [(at.date().isoformat(), site.levels[level].name) for at, level in changes])
    first = dict(reversed([(level, at) for at, level in changes]))
    assert day(2017, 8, 15) <= first[1] <= day(2017, 9, 5)
    assert first[1] < first[2] <= day(2017, 9, 16), "orange before the fastest day"
    assert changes[0][0] == first[1], "nothing before"
    # the rain index drives no threshold: only displacement and the reservoir speak
    heard = {(w["criterion"], w["station"]) for _, d in found for w in d.evidence["words"] if w["heard"]}
    assert "R1" not in {station for _, station in heard}
    assert ("drawdown", "RES") in heard


@pytest.mark.soak
def test_baijiabao_alerts_by_10_june_2018_and_is_quiet_before_june(measured):
    site = measured_site("baijiabao")
    found = list(replay(site, read_baijiabao(measured("bazimen-baijiabao/source_sample.xlsx"))))
    changes = rises(found)
    print("baijiabao:", [(at.date().isoformat(), site.levels[level].name) for at, level in changes])
    assert changes[0][0] >= day(2018, 6, 1)
    assert changes[0][0] <= day(2018, 6, 10)
    assert all(d.reachable_level == 2 for _, d in found), "one point is one witness"
