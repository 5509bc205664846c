"""The headline of a level says what is measured now, beside what was measured when it was raised."""

import re

from monitor.store import pages
from monitor.web.parts.headline import find_hazards, find_headlines, list_present_sentences
from tests.data.watched_slope import WatchedSlope
from tests.integration.web.served import client, database, filled

__all__ = ["client", "database", "filled"]  # fixtures


def look(own):
    with own.read() as c:
        hazards = find_hazards(pages.load_open_alerts(c))
        raised = find_headlines(c, hazards.values())
        return str(raised[hazards["bench"]["alert_id"]].sentence), str(list_present_sentences(c, hazards)["bench"])


def rate_of(text):
    return float(re.search(r"(-?[\d.]+) (?:±|mm/day)", text).group(1))


def test_a_slope_that_runs_faster_than_when_red_was_raised_is_told_as_it_runs(database):
    slope = WatchedSlope(database)
    slope.fail()
    before, _ = look(database)
    slope.live(9, {"G1": 700.0, "G2": 500.0})
    raised, now = look(database)
    assert raised == before, "what red was raised on stays as it was"
    assert rate_of(now) > 2.0 * rate_of(raised)
    assert now.endswith(" over 8 h at 2 of 2 stations, red from 80 mm/day")


def test_a_program_reads_both_and_the_page_shows_them(client):
    found = client.get("/api/v1/sites/north-bench").json()
    assert found["level"] > 0
    assert isinstance(found["when_raised"], str | None)
    assert found["level_name"] in found["now"]
    assert "when raised" in client.get("/sites/north-bench").text
