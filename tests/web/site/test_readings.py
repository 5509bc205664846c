"""Readings typed on the page: mistakes lead to a question, clock changes are handled, nothing is corrected silently."""

import pytest

from monitor.readings.queries.observations import load_readings, load_series
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.storage.audit import load_entries
from monitor.storage.engine import Database
from monitor.text.instants import format_iso, parse_time
from tests.data.accounts import add_account
from tests.data.filled import PASSWORD
from tests.data.watched_slope import HOUR, SITE_TEXT, START, WatchedSlope
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter, send

ZONED = SITE_TEXT.replace("longitude = 8.9\n", 'longitude = 8.9\ntimezone = "Europe/Zurich"\n')
PLACE = "/sites/bench/readings"


@pytest.fixture
def bench(database):
    slope = WatchedSlope(database, ZONED)
    slope.live(6, looks=1)
    with database.write() as c:
        for name, role in (("bo", "operator"), ("cy", "viewer")):
            add_account(c, name, PASSWORD, role, START)
    return slope


def stored(bench):
    with bench.database.read() as c:
        row = next(s for s in load_series(c, "bench") if s.station == "G1")
        end = parse_time("2027-01-01T00:00:00Z")
        return [(format_iso(r.observed_at)[:16], r.value) for r in load_readings(c, row.id, None, end, end)]


def test_reading_is_stored_and_an_unlikely_one_must_be_confirmed(bench):
    clock = Clock(bench.now + HOUR)
    ask = {"series": "G1.crack_opening", "at": "2026-03-01T07:30", "turn": ""}
    with serving(bench.database, clock) as address, enter(address, "bo") as bo, enter(address, "cy") as viewer:
        assert viewer.get(PLACE).status_code == 403
        assert 'value="2026-03-01T08:00"' in bo.get(PLACE).text, "the default is the present local time of the site"
        assert send(bo, PLACE, **ask, value="0,4").status_code == 303
        assert ("2026-03-01T06:30", 0.4) in stored(bench)
        asked = send(bo, PLACE, **{**ask, "at": "2026-03-01T07:40", "value": "1,234"})
        assert (asked.status_code, "this is 1.234 mm; is it right?" in asked.text) == (409, True)
        asked = send(bo, PLACE, **{**ask, "at": "2026-03-01T07:40", "value": "412,000"})
        assert (asked.status_code, "this is 412.0 mm; is it right?" in asked.text) == (409, True)
        assert "more than" in asked.text, "the jump opens a question as well"
        abroad = send(bo, PLACE, **{**ask, "at": "2026-03-01T06:40:00Z"}, value="0.4500001")
        assert "0.4500001 mm is stored for G1" in bo.get(abroad.headers["location"]).text
        assert ("2026-03-01T06:40", 0.4500001) in stored(bench), "the UTC offset of the time is applied"
        slip = {**ask, "at": "2026-03-01T07:45", "value": "412"}
        asked = send(bo, PLACE, **slip)
        assert (asked.status_code, "is it right?" in asked.text) == (409, True)
        assert len(stored(bench)) == 8, "nothing is stored before the answer"
        other = send(bo, PLACE, **{**slip, "value": "413"}, sure="G1.crack_opening 412 2026-03-01T07:45")
        assert other.status_code == 409, "the answer is valid only for that value"
        assert send(bo, PLACE, **slip, sure="G1.crack_opening 412 2026-03-01T07:45").status_code == 303
        assert stored(bench)[-1] == ("2026-03-01T06:45", 412.0)
        for change, words in (
            ({"value": "0.7"}, "is stored for that time already"),
            ({"value": "nan"}, "expected a number"),
            ({"at": "2026-03-02T09:00"}, "lies in the future"),
            ({"at": "yesterday"}, "expected a local time"),
            ({"at": "0001-01-01T00:30"}, "expected a local time"),
            ({"at": "9999-12-31T23:30-05:00"}, "expected a local time"),
            ({"series": "G9.tilt"}, "declares no series"),
            ({"at": "2026-03-29T02:30"}, "is left out that night"),
        ):
            answer = send(bo, PLACE, **{**ask, "value": "0.5", **change})
            assert (answer.status_code, words in answer.text) == (422, True), (change, answer.text[-900:])
    with bench.database.read() as c:
        entries = load_entries(c, 5, action="ingest.file")
    assert [(e.actor, e.detail["file"]) for e in entries] == [("bo", "typed on the page")] * 3


def test_mistake_is_named_and_confirmed_value_is_not_flagged(sqlite_url):
    database = Database(sqlite_url)
    WatchedSlope(database, ZONED.replace('interval = "1h"', 'interval = "1h"\nby_hand = true'))
    with database.write() as c:
        add_account(c, "bo", PASSWORD, "operator", START)
        times = [START + n * HOUR for n in range(8)]
        add_observations(c, [Observation("bench", "G1", "crack_opening", "mm", at, at, 120.3) for at in times], START)
    clock = Clock(START + 9 * HOUR)
    typed = {"series": "G1.crack_opening", "at": "2026-03-01T09:30", "turn": "", "value": "1203"}
    with serving(database, clock) as address, enter(address, "bo") as bo:
        asked = send(bo, PLACE, **typed)
        assert (asked.status_code, "1203 for 120.3 mm: decimal point or unit" in asked.text) == (409, True)
        assert send(bo, PLACE, **typed, sure="G1.crack_opening 1203 2026-03-01T09:30").status_code == 303
    with database.read() as c:
        row = next(s for s in load_series(c, "bench") if s.station == "G1")
        assert load_readings(c, row.id, None, clock.now, clock.now)[-1].flags == ()
    database.close()


def test_repeated_hour_leads_to_a_question(bench):
    clock = Clock(parse_time("2026-10-25T08:00:00Z"))
    ask = {"series": "G1.crack_opening", "value": "0.5", "at": "2026-10-25T02:30"}
    with serving(bench.database, clock) as address, enter(address, "bo") as bo:
        asked = send(bo, PLACE, **ask)
        assert (asked.status_code, 'name="turn"' in asked.text) == (422, True)
        assert send(bo, PLACE, **ask, turn="first").status_code == 303
        assert send(bo, PLACE, **ask, turn="second").status_code == 303
    assert [at for at, _ in stored(bench)][-2:] == ["2026-10-25T00:30", "2026-10-25T01:30"]
