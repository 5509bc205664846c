"""For 90 minutes after the last readings of the failed demo slope, no text with "now" is about old data."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.overview import load_cards, load_open_alerts
from monitor.cli.service.status import make_table
from monitor.delivery.present_reason import compare_reasons
from monitor.settings.service import load_service
from monitor.storage.service_state import write_heartbeat
from monitor.text.instants import parse_time
from monitor.web.app import build_app
from monitor.web.parts.headline import find_hazards
from tests.data.servers.page_server import PageServer
from tests.data.simulated_slope import READING_INTERVAL, SimulatedSlope
from tests.fixtures.soak import with_soak
from tests.web.test_simulated import Page

PRESENT = datetime(2026, 3, 20, 12, tzinfo=UTC)
FAILURE = PRESENT + timedelta(minutes=30)
MINUTE = timedelta(minutes=1)
OLD = 2 * READING_INTERVAL
SITE_PAGE = "/sites/sim-slope"
OTHER_PAGES = ("/", "/sites/sim-slope/movement", "/sites/sim-slope/instruments")
# Sentences with "now" that are not about a measured value: what is missing, requests to people, controls of a page.
NOT_ABOUT_VALUES = re.compile(
    r"cannot be (judged|raised) now|are missing now|shows it now|verify now|up to now|back from now|no forecast now",
    re.IGNORECASE,
)
COUNT_OK = re.compile(r"(\d+) of (\d+)(?: stations)? ok")


def list_claims(text):
    """Return the sentences of a page with the word "now" that are about values."""
    sentences = re.split(r"(?<=[.:;])\s", text)
    return [s for s in sentences if re.search(r"\bnow\b", s, re.IGNORECASE) and not NOT_ABOUT_VALUES.search(s)]


class WatchedFailure:
    """The simulated slope up to its failure, then with readings of the stations beside the slope only."""

    def __init__(self, database):
        self.database = database
        self.slope = SimulatedSlope(database, PRESENT, days=2.0)
        self.site = self.slope.site
        for hours in (6.0, 3.0, 2.0, 1.0):
            self.slope.store_until(PRESENT - timedelta(hours=hours))
        while self.slope.now < FAILURE:
            result = self.slope.store_until(self.slope.now + READING_INTERVAL)
        self.level = result.decision.level
        self.now = self.slope.now
        on_slope = [station.id for station in self.site.stations if station.on_slope]
        self.last_reading = max(self.list_newest()[name] for name in on_slope)

    def load_card(self):
        with self.database.read() as c:
            return load_cards(c, self.site.id, now=self.now)[0]

    def list_newest(self):
        """Return the newest reading by station."""
        return {name: parse_time(row["newest_at"]) for name, row in self.load_card().stations.health.items()}

    def advance(self, now):
        """Store readings every ten minutes, and evaluate the site every five."""
        self.now = now
        if now - self.slope.now >= READING_INTERVAL:
            self.slope.store_until(now)
        elif now.minute % 5 == 0:
            evaluate_site(self.database, self.site, now, "tick")
        with self.database.write() as c:
            write_heartbeat(c, "core", {"state": "running", "version": "x", "degraded": []}, now)

    def read_message(self):
        """Return the first line of a reminder of the level that is sent now."""
        with self.database.read() as c:
            alert = find_hazards(load_open_alerts(c))[self.site.id]
            return str(compare_reasons(c, alert["alert_id"], self.now)[0][0])


@pytest.fixture
def failure(database):
    return WatchedFailure(database)


@pytest.mark.soak
@pytest.mark.parametrize("step_min", with_soak(5, 1))
def test_no_now_comes_from_data_older_than_two_intervals(failure, step_min):
    assert failure.level == 3
    headlines = []
    with PageServer(lambda _: build_app(load_service(None, {}), failure.database, lambda: failure.now)) as server:
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
            for minutes in range(10, 91, step_min):
                now = failure.last_reading + minutes * MINUTE
                if now > failure.now:
                    failure.advance(now)
                paths = (SITE_PAGE, *OTHER_PAGES) if minutes % 10 == 5 else (SITE_PAGE,)
                texts = {path: Page(client.get(path).text).words for path in paths}
                check_pages(failure, texts)
                if minutes % 10 == 5 and minutes > 20:
                    check_programs(failure, client)
                headlines.append(re.search(r"\b(Now|Last): Moving", texts[SITE_PAGE])[1])
    assert headlines[0] == "Now"
    assert headlines[-1] == "Last"
    assert headlines == sorted(headlines, reverse=True), "an outdated headline does not return"


def check_pages(failure, texts):
    card = failure.load_card()
    silent_for = failure.now - failure.last_reading
    # A reading of this test is received at most one interval after its epoch.
    late = [name for name, at in failure.list_newest().items() if failure.now - at > 2.5 * READING_INTERVAL]
    assert card.station_counts.get("ok", 0) <= len(card.stations.states) - len(late)
    for path, text in texts.items():
        assert silent_for <= OLD or list_claims(text) == [], (path, silent_for)
        for ok, total in COUNT_OK.findall(text):
            is_of_all_stations = int(total) == len(card.stations.states)
            assert not is_of_all_stations or int(ok) == card.station_counts.get("ok", 0), (path, silent_for)
    assert card.sight != "full" or not card.stations.missing_voting


def check_programs(failure, client):
    assert failure.read_message().startswith("Last reading (")
    answer = client.get("/api/v1/sites/sim-slope").json()
    assert answer["now"] is None
    assert answer["last"].startswith("Moving")
    assert parse_time(answer["data_at"]) <= failure.last_reading
    assert answer["observability"] != "full"
    assert {"late", "silent"} & set(answer["stations"])
    row = [
        next(iter(column.cells)) for column in make_table([failure.load_card()], failure.now, lambda _: "UTC").columns
    ]
    assert "full" not in row
