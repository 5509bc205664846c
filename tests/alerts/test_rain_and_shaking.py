"""Expected rain and declared earthquakes in the database: known in time, asked, answered and explained."""

from datetime import datetime, timedelta

import pytest

from monitor.alerts.acts.operator_acts import verify
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.alerts import load_alerts
from monitor.alerts.queries.evaluations import load_decision
from monitor.alerts.queries.events import add_event, confirm_event, load_event_facts
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation, SiteEvent
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import load_site_source, save_site
from monitor.storage.actor import Actor
from monitor.text.instants import parse_time
from tests.data.site_text import bounds, criterion, head, series, station, table
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

T0 = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
WET = {"over": 30.0, "window": "24h"}
SITE = parse_site(
    head("slope")
    + station("R1", series("rain", "mm", max_silence="6h"), series("rain_next_12h", "mm", "6h", max_silence="24h"))
    + (
        table("[[quantity]]", name="rain_next_12h", unit="mm")
        + criterion("rain_sum", id="fell", series="R1.rain", yellow=WET)
        + criterion("rain_sum", id="expected", series="R1.rain", yellow=WET, forecast={"12h": "R1.rain_next_12h"})
        + criterion("earthquake", id="quake", yellow={"over": 0.05}, lower_to=0.5, lower_for="10d")
        + table("[fusion]", top_needs=1)
    ),
    "slope.toml",
)


@pytest.fixture
def slope(database):
    tell(database, save_site, SITE, "test", "rain", T0)
    return database


def rain(db, at, mm):
    tell(db, add_observations, [Observation("slope", "R1", "rain", "mm", at, at, mm)], at)


def shake(db, at, value, received_at, confirmed_by=()):
    with db.write() as c:
        item = SiteEvent("slope", at, at, "earthquake", "M 5.4, 20 km", value)
        number = add_event(c, item, received_at, "seismic service", via="mqtt")
        for name in confirmed_by:
            confirm_event(c, number, Actor(name), "felt", received_at)


def keys(db):
    return {a.key: a for a in ask(db, load_alerts, "slope", open_only=True)}


def test_shaking_asks_for_an_inspection_lowers_bounds_and_is_explained(slope):
    for hour in range(24):
        rain(slope, T0 + hour * HOUR, 0.75)  # 18 mm in a day
    now = T0 + 23 * HOUR
    assert evaluate_site(slope, SITE, now, "data").level == 0
    shake(slope, now - HOUR, 0.12, now)
    found = evaluate_site(slope, SITE, now, "person")
    assert found.level == 1, "18 mm are over half of 30 mm"
    question = next(a for k, a in keys(slope).items() if k.startswith("health:inspect:quake@"))
    assert "inspect the slope and the instruments after the earthquake: shaking" in question.reason
    assert "0.12 g" in question.reason
    assert "advice:quake:earthquake" in keys(slope)
    hazard = keys(slope)["hazard"]
    with slope.read() as c:
        row = load_decision(c, hazard.decision_id)
        assert recompute(row, load_site_source(c, row.config_sha256)).differences == ()
    # a day later nobody has answered: the question stands
    later = now + timedelta(days=2)
    rain(slope, later, 0.0)
    evaluate_site(slope, SITE, later, "data")
    assert question.key in keys(slope)
    name = question.key.removeprefix("health:").removesuffix(":verify")
    answered = verify(slope, SITE, name, "earthquake", Actor("Ada"), "walked the slope, no new cracks", later)
    assert question.key not in answered.decision.memory.conditions
    assert keys(slope)[question.key].state == "returned_unacknowledged"
    again = evaluate_site(slope, SITE, later + HOUR, "tick")
    assert question.key not in again.decision.memory.conditions
    assert again.decision.evidence["words"][2]["heard"] is False, "what was answered as harmless says no more"


@ON_BOTH
def test_events_are_loaded_as_they_were_known(slope):
    shake(slope, T0, 0.1, T0 + 2 * HOUR)
    shake(slope, T0 + 5 * HOUR, 0.2, T0 + 5 * HOUR)
    with slope.read() as c:
        known = [[e.value for e in load_event_facts(c, "slope", T0 - HOUR, T0 + k * HOUR)] for k in (1, 3, 6)]
        assert known == [[], [0.1], [0.2, 0.1]]
        assert load_event_facts(c, "slope", T0 + HOUR, T0 + 3 * HOUR) == (), "it was over before"


CRACK = series("crack_opening", "mm", "1d", max_silence="4d", noise_floor_mm=1.0, verify_step_mm=20.0)
OPENING = bounds(yellow="0.5 60d", orange="2 30d", red="10 10d")
LONG = (
    head("slope", levels={"names": ["green", "yellow", "orange", "red"]})
    + station("E1", CRACK, reference="A")
    + station("E2", CRACK, reference="B")
    + criterion("rate", stations=["E*"], quantity="crack_opening", **OPENING, valid_for="12d")
)


def test_earthquake_explains_its_jumps_while_they_are_in_the_history(slope):
    site, day = parse_site(LONG, "slope.toml"), 24 * HOUR
    tell(slope, save_site, site, "test", "long windows", T0)
    quake = T0 + 80 * day - 6 * HOUR
    levels = []
    for n in range(80 + 70):
        now = T0 + n * day
        if n == 80:
            shake(slope, quake, None, now, ("Ada", "Bo"))
        value = (789.0 if n >= 80 else 0.0) + 0.1 * (n % 3)
        rows = [Observation("slope", name, "crack_opening", "mm", now, now, value) for name in ("E1", "E2")]
        tell(slope, add_observations, rows, now)
        if n == 70 or (n >= 120 and n % 3 == 0):  # between the first look and the next the earthquake grows old
            levels.append(evaluate_site(slope, site, now, "data").level)
    assert set(levels) == {0}, levels


def test_jumps_of_an_imported_history_are_notices_and_later_ones_count(slope):
    site, day = parse_site(LONG, "slope.toml"), 24 * HOUR
    begun = T0 + 130 * day

    def say(n: int, value: float, received: datetime) -> list[Observation]:
        at, seen = T0 + n * day, value + 0.1 * (n % 3)
        return [Observation("slope", name, "crack_opening", "mm", at, received, seen) for name in ("E1", "E2")]

    history = [o for n in range(130) for o in say(n, 300.0 if n >= 79 else 0.0, begun)]
    with slope.write() as c:
        save_site(c, site, "test", "new, with its history", begun)
        add_observations(c, history, begun)
    first = evaluate_site(slope, site, begun + HOUR, "data")
    every = ask(slope, load_alerts, "slope", open_only=True, ledger="health")
    told = [a for a in every if "before its monitoring" in a.reason]
    assert (first.level, [a.level for a in told]) == (0, [1, 1])
    assert all("jumped by 300." in a.reason and "It is not counted as movement" in a.reason for a in told)

    levels = {}
    for n in range(131, 140):  # both jump again, now that somebody watches
        now = T0 + n * day
        tell(slope, add_observations, say(n, 300.0 if n < 135 else 500.0, now), now)
        levels[n] = evaluate_site(slope, site, now + HOUR / 60, "data").level
    assert {levels[n] for n in range(131, 137)} == {0}
    assert levels[137] == 3, levels
