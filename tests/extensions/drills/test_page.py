"""A drill held on the page: by a process of its own, answered, ended, and measured; nobody else's."""

import pytest

from monitor.extensions.drills import acts
from monitor.extensions.drills.store import load_drills
from monitor.replay import apart
from monitor.replay.apart import ChildProcess
from monitor.store.alerting.alerts import load_alerts
from monitor.store.people import users
from tests.conftest import ON_SQLITE
from tests.data.filled import PASSWORD
from tests.data.store_rows import ask
from tests.data.watched_slope import START, WatchedSlope
from tests.integration.web.test_door import Clock, serving
from tests.integration.web.test_rules import enter, send

PLACE = "/sites/bench/drills"


@pytest.fixture
def bench(database):
    slope = WatchedSlope(database)
    slope.live(3, looks=1)
    with database.write() as c:
        for name, role in (("bo", "operator"), ("cy", "viewer")):
            users.add_user(c, name, PASSWORD, role, START)
    return slope


@ON_SQLITE
def test_a_drill_is_held_answered_and_ended_on_the_page(bench, monkeypatch):
    clock = Clock(bench.now)
    with serving(bench.database, clock) as address, enter(address, "bo") as bo, enter(address, "cy") as viewer:
        assert "No drill was held" in viewer.get(PLACE).text
        assert send(viewer, PLACE, minutes="1").status_code == 403
        begun = send(bo, PLACE, minutes="60")  # its first word is there with the answer, its second minutes later
        assert begun.status_code == 303, begun.text
        assert "the drill has begun" in bo.get(begun.headers["location"]).text
        assert "Drill 1 runs" in bo.get(PLACE).text
        assert send(bo, PLACE, minutes="10").status_code == 409, "one at a time"
        told = [a for a in ask(bench.database, load_alerts, site="bench") if a.exercise]
        assert [a.reason.startswith("EXERCISE") for a in told] == [True]
        assert send(bo, f"/alerts/{told[0].id}/acknowledge", reason="I am looking at it").status_code == 303
        assert send(bo, f"{PLACE}/99/end", reason="just so").status_code == 404
        assert send(bo, f"{PLACE}/1/end", reason="seen\r\nenough").status_code == 303
        text = bo.get(PLACE).text
        assert "bo after" in text
        assert "0 alarms" in text
        assert send(bo, f"{PLACE}/1/end", reason="once more").status_code == 303, "ending one that is over does nothing"
        # a process that dies before its first word, and a press while another is being prepared
        with monkeypatch.context() as m:
            m.setattr(apart, "ChildProcess", lambda _work, *rest: ChildProcess("no.such:thing", *rest))
            died = send(bo, PLACE, minutes="1")
            assert (died.status_code, "could not be prepared" in died.text) == (409, True)
            with acts._preparing:
                assert send(bo, PLACE, minutes="1").status_code == 503
    (one,) = ask(bench.database, load_drills)
    assert (one.by, one.state, one.outcome["reason"], one.outcome["unanswered"]) == ("bo", "ended", "seen enough", 0)
