"""What people add is noticed at the next look, on both databases, and nothing else is."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from monitor.domain.alert import Actor
from monitor.domain.observation import Observation, ObserverReport, SiteEvent
from monitor.store.alerting.change_feed import ChangeDetector
from monitor.store.alerting.events import add_event, confirm_event
from monitor.store.alerting.offsets import confirm_offset, revoke_offset
from monitor.store.readings.messages import add_report
from monitor.store.readings.observations import add_observations, find_series_id
from tests.data.store_rows import add_flag, ask, enter_offset, tell

T0 = datetime(2026, 3, 1, 6, tzinfo=UTC)
ANNA = Actor("anna")


@pytest.fixture
def look(database):
    with database.write() as c:
        add_observations(c, [Observation(s, "G1", "displacement", "mm", T0, T0, 1.0) for s in ("north", "south")], T0)
    news = ChangeDetector()
    assert ask(database, news.find_changed) == frozenset()
    return lambda: ask(database, news.find_changed)


def test_reports_and_events_of_any_process_are_news_once(database, look):
    seen = ObserverReport("north", T0, "crack", "5 cm", "anna")
    tell(database, add_report, seen, T0, actor=ANNA, credential="account anna")
    assert (look(), look()) == ({"north"}, frozenset())
    with database.write() as c:
        add_event(c, SiteEvent("south", T0, T0, "blasting", "quarry"), T0, "anna", via="mqtt")
        add_report(c, ObserverReport("west", T0, "crack", "6 cm", "anna"), T0, actor=ANNA, credential="account anna")
    assert look() == {"south", "west"}
    number = tell(database, add_event, SiteEvent("south", T0, T0, "earthquake", "M 5"), T0, "feed", via="mqtt")
    assert look() == {"south"}
    tell(database, confirm_event, number, ANNA, "felt", T0 + timedelta(hours=1))
    assert look() == {"south"}


def test_offsets_are_news_when_added_confirmed_and_revoked_and_flags_when_set(database, look):
    with database.write() as c:
        sid = find_series_id(c, "south", "G1", "displacement")
        offset = enter_offset(c, sid, T0, 3.0, T0 + timedelta(hours=1), author=ANNA, known_from=T0)
    assert look() == {"south"}
    for change, hour in ((confirm_offset, 2), (revoke_offset, 3)):
        tell(database, change, offset, ANNA, "seen", T0 + timedelta(hours=hour))
        assert look() == {"south"}
    tell(database, add_flag, sid, T0, "spike", T0)
    assert (look(), look()) == ({"south"}, frozenset())


def test_readings_are_no_news_they_bring_their_own_evaluation(database, look):
    with database.write() as c:
        add_observations(c, [Observation("north", "G1", "displacement", "mm", T0 + timedelta(hours=1), T0, 2.0)], T0)
        c.execute(text("UPDATE station SET declared = declared"))
    assert look() == frozenset()
