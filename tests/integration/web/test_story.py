"""A simulated slope is driven from quiet to red; then its pages are walked and every figure is compared with SQL."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from forecasting.message import format_span
from monitor.alerting.evaluate import evaluate_site
from monitor.domain.instants import format_age, parse
from monitor.domain.observation import Observation
from monitor.movement.update import update_movement
from monitor.simulate.slope import voight_displacement
from monitor.store.readings.observations import add_observations
from monitor.store.schema.views import load_view
from monitor.store.service_state import stamp
from monitor.web.parts.templating import format_minute, format_number
from tests.data.watched_slope import HOUR, SITE_TEXT, START, WatchedSlope
from tests.integration.web.served import serving

DAYS = 60
FAST = {"G1": 30.0, "G2": 26.0}  # mm/day from the first day on, beyond the lowest bound of 6
FAILS_DAY = DAYS + 0.15


class Page(HTMLParser):
    """The rows of all tables, and the facts of all lists, as texts; what is small print stands apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.small: list[list[str]] = []
        self.facts: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self._cell: str | None = None
        self._fine = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in {"small", "script", "style"}:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.small.append([])
        if tag in {"td", "th", "dt", "dd"}:
            self._cell, self._fine = "", ""

    def handle_endtag(self, tag):
        if self._open and tag == self._open[-1]:
            self._open.pop()
        if tag in {"td", "th"} and self._cell is not None and self.rows:
            self.rows[-1].append(" ".join(self._cell.split()))
            self.small[-1].append(" ".join(self._fine.split()))
            self._cell = None
        if tag in {"dt", "dd"} and self._cell is not None:
            said = " ".join(self._cell.split())
            self.facts = [*self.facts, (said, "")] if tag == "dt" else [*self.facts[:-1], (self.facts[-1][0], said)]
            self._cell = None

    def handle_data(self, data):
        if self._open and self._open[-1] in {"script", "style"}:
            return
        self.text.append(data)
        if self._cell is not None and self._open:
            self._fine += data
        elif self._cell is not None:
            self._cell += data

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def failing(database):
    """Sixty days, fast from the first; the last two days run away, looked at by the hour."""
    bench = WatchedSlope(database, SITE_TEXT)
    days = np.arange(0.0, DAYS + 1 / 48, 1 / 24)
    noise = np.random.default_rng(7)
    path = {
        name: voight_displacement(days, rate, DAYS - 2.0, FAILS_DAY) + noise.normal(0.0, 0.3, days.size)
        for name, rate in FAST.items()
    }
    watched_from = (DAYS - 3) * 24
    rows = {
        hour: [Observation("bench", name, "crack_opening", "mm", at, at, float(path[name][hour])) for name in FAST]
        for hour in range(1, days.size)
        for at in [START + hour * HOUR]
    }
    with database.write() as c:
        stamp(c, "core", {"state": "running", "version": "x", "degraded": []}, START)
        add_observations(c, [row for hour in range(1, watched_from) for row in rows[hour]], START)
    levels = []
    for hour in range(watched_from, days.size):
        bench.now = START + hour * HOUR
        with database.write() as c:
            add_observations(c, rows[hour], bench.now)
        levels.append(evaluate_site(database, bench.site, bench.now, "data").level)
        if hour % 3 == 0 or hour >= days.size - 8:
            update_movement(database, bench.site, bench.now)
    with database.write() as c:
        stamp(c, "core", {"state": "running", "version": "x", "degraded": []}, bench.now)
    assert (levels[0], levels[-1]) == (2, 3), levels
    return bench


def check_status(c, page, now):
    [status] = load_view(c, "site_status", site="bench")
    health = load_view(c, "station_health", site="bench")
    facts = dict(page.facts)
    assert f"{status['level']} of 3" in page.words
    assert status["level_name"] == "red"
    assert "every series that votes reports" in page.words
    assert {h["state"] for h in health} == {"ok"}, "nobody is sick here, and nothing says so"
    for title, column in (("Newest datum", "newest_at"), ("Evaluated", "evaluated_at"), ("At this level", "since")):
        assert facts[title].startswith(format_age(now - parse(status[column]))), title
    assert facts["Stage"].startswith(status["movement_stage"])
    assert status["movement_stage"] == "progressive"
    return status, facts


def check_movement(c, page):
    shown = {
        row[0].split()[0]: (row, fine)
        for row, fine in zip(page.rows, page.small, strict=True)
        if len(row) == 6 and row[0] in FAST
    }
    assert set(shown) == set(FAST)
    windows = [w for w in load_view(c, "failure_windows", site="bench") if w["withdrawn_at"] is None]
    for name, (row, fine) in shown.items():
        newest = load_view(c, "movement_history", order_by=["-at"], site="bench", station=name)[0]
        assert row[1] == f"{newest['stage']}, trend {newest['trend']}"
        assert row[2] == format_number(newest["velocity_mm_per_day"])
        window = format_span(newest["velocity_window_s"])
        assert fine[2] == f"± {format_number(newest['velocity_error_mm_per_day'], 2)} in {window}"
        assert row[3] == format_number(newest["inverse_velocity_day_per_mm"])
        assert float(row[2]) * float(row[3]) == pytest.approx(1.0, abs=0.01), "one figure, one source"
        mine = [w for w in windows if w["station"] == name]
        said = (
            "none"
            if not mine
            else f"{format_minute(mine[-1]['window_from'])} to {format_minute(mine[-1]['window_to'])}"
        )
        assert row[4] == said
    assert {row[1].split(",")[0] for row, _ in shown.values()} == {"progressive"}


def check_stations(c, page):
    shown = {row[0]: row for row in page.rows if len(row) == 7 and row[0] in FAST}
    for name, row in shown.items():
        [health] = load_view(c, "station_health", site="bench", station=name)
        [latest] = load_view(c, "latest_observation", site="bench", station=name)
        assert row[1] == health["state"]
        assert row[3] == f"{round(100 * health['missing_share_24h'])} %"
        assert row[4] == ("yes" if health["votes"] else "no")
        assert row[6] == f"crack opening {format_number(latest['value'], 4)} {latest['unit']}"
    assert set(shown) == set(FAST)


def test_every_figure_of_a_slope_driven_to_red_is_the_one_of_sql(failing):
    database, now = failing.database, failing.now
    with serving(database, now) as client, database.read() as c:
        overview, site = Page(client.get("/").text), Page(client.get("/sites/bench").text)
        status, facts = check_status(c, overview, now)
        assert facts["Open alerts"].split()[0] == str(status["active_alerts"])
        assert f"{status['unacknowledged']} not acknowledged" in overview.words
        check_status(c, site, now)
        stages = {row["stage"] for row in load_view(c, "movement_history", site="bench")}
        assert "creep" not in stages, "it was never slow"
        check_movement(c, site)
        check_stations(c, site)
        alerts = load_view(c, "active_alerts", order_by=["-level"], site="bench")
        hazard = [a for a in alerts if a["ledger"] == "hazard"]
        assert len(hazard) == 1
        assert hazard[0]["reason"] in site.words
        assert "Clear the pit floor" in site.words
        assert "yellow over 6 mm/day in 1d" in site.words
        for ledger in ("hazard", "health", "advice"):
            count = sum(a["ledger"] == ledger for a in alerts)
            assert re.search(rf"{ledger.title()} {count}\b", site.words), ledger
        alert = Page(client.get(f"/alerts/{hazard[0]['alert_id']}").text)
        assert hazard[0]["reason"] in alert.words
        events = load_view(c, "alert_events", order_by=["sequence"], alert_id=hazard[0]["alert_id"])
        for event in events:
            assert event["reason"] in alert.words
            assert format_minute(event["at"]) in alert.words
        why = Page(client.get("/sites/bench/movement").text).words
        assert "asks for more" not in why, "red stands because something asks for it"
        assert all(word not in site.words for word in ("(passed)", "creep, none", "trend none"))
    check_silence(failing)


def check_silence(bench):
    """A day later nothing has come: the head says what was seen last and when, and not what is so now."""
    database, spoke = bench.database, bench.now
    now = spoke + 24 * HOUR
    evaluate_site(database, bench.site, now, "tick")
    update_movement(database, bench.site, now)
    with database.write() as c:
        stamp(c, "core", {"state": "running", "version": "x", "degraded": []}, now)
    with serving(database, now) as client:
        overview, site = Page(client.get("/").text), Page(client.get("/sites/bench").text)
    stages = {row[1].split(",")[0] for row in site.rows if len(row) == 6 and row[0] in FAST}
    assert stages == {"unknown"}, "nobody shows a stage"
    for page in (overview, site):
        assert dict(page.facts)["Stage"] == f"progressive, last seen {format_minute(spoke)}"
        assert "no valid data from the stations behind this level: decide by other means" in page.words
        assert "of the worst station" not in page.words
