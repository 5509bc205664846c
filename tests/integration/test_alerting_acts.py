"""Who is told of a change, and what one person alone may do to an alert, also while it changes under the hand."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from monitor.domain.alert import SERVICE, AlertChange, Ledger
from monitor.store import tables as t
from monitor.store.alerts import apply_changes, load_alerts
from monitor.store.sites import save_site
from tests.integration.test_alerting_scenes import T0, make_site

SITE = make_site(G1="BASE-1", G2="BASE-2")
CANNOT_SEE = "health:site:cannot_see"


@pytest.fixture
def desk(database):
    with database.write() as c:
        save_site(c, SITE, "test", "acts", T0)
    return database


def change(c, level, *, key="hazard", site=SITE):
    """Bring an alert to a level; returns its id."""
    ledger = Ledger.HAZARD if key == "hazard" else Ledger.HEALTH
    order = AlertChange(ledger, key, level, level > 0, f"level {level}", T0, "{}")
    apply_changes(c, "bench", [order], site=site, recipients=site.recipients, actor=SERVICE, now=T0, rule_version="t")
    return load_alerts(c, "bench", ledger=str(ledger))[0].id


@pytest.mark.parametrize(
    ("levels", "told"),
    [((1,), []), ((1, 3), [3]), ((1, 3, 0), [3, 0]), ((3, 1), [3, 1]), ((1, 0), []), ((2,), [2])],
)
def test_who_asked_for_a_level_hears_when_it_is_passed_and_when_it_is_over(desk, levels, told):
    orange = replace(SITE.recipients[0], levels=(2,), channels=("log",))
    site = replace(SITE, recipients=(orange,))
    with desk.write() as c:
        for level in levels:
            change(c, level, site=site)
        found = c.execute(select(t.notification.c.level).order_by(t.notification.c.id)).scalars().all()
    assert found == told
