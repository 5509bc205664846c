"""Readings that people type, on both databases: a typing error is flagged as it comes, named, and has no vote."""

import json
from datetime import timedelta

from monitor.alerting.evaluate import evaluate_site
from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.instants import format_iso, parse
from monitor.extensions.instruments.job import run
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.store.alerting.sites import save_site
from monitor.store.schema.views import load_view
from tests.conftest import ON_BOTH
from tests.data.site_text import bounds, criterion, head, series, station
from tests.data.store_rows import ask, tell

START, DAY = parse("2026-03-01T08:00:00Z"), timedelta(days=1)
OPENING = bounds(yellow="10 3d", orange="50 2d", red="200 2d")
HEAD = head(
    "msl", "Markers", latitude=16.0, longitude=121.0, levels={"names": ["green", "yellow", "orange", "red"]}
) + criterion("rate", stations=["*"], quantity="crack_opening", **OPENING, author="test", reason="test")


def marker(name, *, by_hand):
    typed = {"max_silence": "2d", "verify_step_mm": 30.0, "noise_floor_mm": 1.0, "by_hand": by_hand}
    return station(name, series("crack_opening", "cm", "1d", **typed))


STOOD = {"A": 97.4, "B": 308.2, "C": 144.7}  # cm


class Markers:
    """Three crack markers that stand still, read each morning for twelve days."""

    def __init__(self, database, by_hand=True):
        self.database, self.now = database, START
        self.site = parse_site(HEAD + "".join(marker(name, by_hand=by_hand) for name in STOOD), "msl.toml")
        tell(database, save_site, self.site, "test", "test", START)
        self.pipeline = Pipeline(database, {"msl": self.site}, lambda: self.now)
        for day in range(12):
            self.read(day, **STOOD)
        self.look()

    def read(self, day, **typed_cm):
        self.now = START + day * DAY
        body = {name: {"time": format_iso(self.now), "crack_opening_cm": value} for name, value in typed_cm.items()}
        messages = [
            BrokerMessage(f"slopeward/v1/msl/{name}/obs", json.dumps(said).encode(), self.now, "live")
            for name, said in body.items()
        ]
        assert self.pipeline.store(messages).rejected == 0

    def look(self, day=None):
        self.now = self.now if day is None else START + day * DAY
        level = evaluate_site(self.database, self.site, self.now, "data").level
        run(self.database, ServiceConfig(), self.site, self.now)
        return level

    def flagged(self):
        rows = ask(self.database, load_view, "observation_history", order_by=("observed_at",), site="msl")
        return [(r["station"], r["value_raw"]) for r in rows if "mistyped" in (r["flags"] or "")]

    def said(self):
        with self.database.read() as c:
            rows = load_view(c, "instrument_findings", order_by=("instrument",), site="msl")
            alerts = load_view(c, "active_alerts", site="msl", state="unacknowledged")
        found = [(r["reason"], r["action"]) for r in rows if r["state"] == "mistyped"]
        return found, [r["key"] for r in alerts if r["key"].endswith(":mistyped")]


@ON_BOTH
def test_a_lost_decimal_point_is_named_and_votes_for_nothing_even_when_silence_follows(database):
    markers = Markers(database)
    markers.read(12, A=974.0, B=308.2, C=144.7)
    assert (markers.look(), markers.flagged()) == (0, [("A", 9740.0)])
    why = "crack opening: looks like a typing error: 9740 for 974 mm: decimal point or unit"
    assert markers.said() == ([(why, "ask who read it")], ["health:instrument:A:mistyped"])
    for day in range(13, 18):  # nobody reads A any more
        markers.read(day, B=308.2, C=144.7)
        assert markers.look() == 0
    markers.read(18, A=97.4)
    assert (markers.look(), markers.said()) == (0, ([], []))


def test_without_being_told_that_people_read_it_silence_after_the_jump_is_movement(database):
    markers = Markers(database, by_hand=False)
    markers.read(12, A=974.0, B=308.2, C=144.7)
    for day in range(13, 18):
        markers.read(day, B=308.2, C=144.7)
        level = markers.look()
    assert (level > 0, markers.flagged()) == (True, [])


def test_the_value_of_a_neighbour_is_named(database):
    markers = Markers(database)
    markers.read(12, **STOOD | {"A": 308.2})
    assert markers.look() == 0
    ((why, _),), _ = markers.said()
    assert why == "crack opening: looks like a typing error: 3082 for 974 mm: the value of B"


def test_a_second_reading_that_says_the_same_is_believed_and_asked_about(database):
    markers = Markers(database)
    for day in (12, 13):
        markers.read(day, **STOOD | {"A": 974.0})
        markers.look()
    assert markers.flagged() == [("A", 9740.0)], "the first one only"
    assert markers.said() == ([], [])
    health = {r["station"]: r["state"] for r in ask(markers.database, load_view, "station_health", site="msl")}
    assert health["A"] == "verify"


def test_what_is_sent_again_for_the_same_instant_sets_it_right(database):
    markers = Markers(database)
    markers.read(12, **STOOD | {"A": 974.0})
    markers.read(12, **STOOD | {"A": 974.0})  # once more by another way: one reading
    markers.look()
    assert markers.said()[1]
    markers.read(12, **STOOD)
    assert (markers.look(), markers.said()) == (0, ([], []))
