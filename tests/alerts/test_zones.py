"""Radar zones, changes on images, and reports: as old as their data, known when they were received."""

import json
import random
from datetime import timedelta

import pytest

from monitor.alerts.evaluate import evaluate_site, load_inputs
from monitor.alerts.queries.point_facts import load_point_facts
from monitor.alerts.queries.reports import add_report
from monitor.canonical import canonical_json
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory
from monitor.features.scenes.queries.arrivals import save_scene
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries import points as store
from monitor.readings.queries.points import Point, PointValue
from monitor.readings.records import ObserverReport
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import PAGE, Actor
from monitor.storage.views import load_view as load_rows
from monitor.text.instants import format_iso, parse_time
from tests.data.drawn_scenes import prove_outlines
from tests.data.feature_rows import footprint_row, scene_row
from tests.data.site_text import bounds, criterion, head, series, station
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

T0 = parse_time("2026-01-01T06:00:00Z")
DAY = timedelta(days=1)
TEXT = (
    head("bench")
    + station("G1", series("displacement", "mm", "1d"), latitude=46.0, longitude=8.0)
    + station("G2", series("displacement", "mm", "1d"), latitude=46.01, longitude=8.0)
    + criterion("velocity", stations=["G*"], **bounds(yellow="5 7d"))
    + criterion("insar_rate", id="radar", role="witness", window="90d", yellow={"over": 0.2}, orange={"over": 2.0})
    + criterion("report", id="seen", kinds=["crack"], needs=2, level="yellow", valid_for="2d")
    + criterion("scene", id="image", role="witness", stations=["*"], level="yellow", valid_for="10d")
)
SITE = parse_site(TEXT, "bench.toml")


@pytest.fixture
def slope(database):
    tell(database, save_site, SITE, "test", "zones", T0)
    return database


def place(c, points):
    return store.place_points(c, store.open_point_set(c, "bench", "descending", "los", "cm"), points)


def process(c, placed, values, taken, received_at):
    rows = [PointValue(pid, taken, value) for pid, value in values.items()]
    return store.add_point_values(c, placed, rows, received_at, received_at).stored


def fly(database, rate, dates=8, count=12, noise=0.4, latency=2 * DAY, seed=1):
    rng = random.Random(seed)
    points = [Point(f"p{i}", 46.0 + rng.uniform(-5e-4, 5e-4), 8.0 + rng.uniform(-5e-4, 5e-4)) for i in range(count)]
    points.append(Point("far", 46.005, 8.0))
    with database.write() as c:
        placed = place(c, points)
        own = {pid: rng.uniform(-5, 5) for pid in placed}
        for k in range(dates):
            air = rng.gauss(0.0, noise)
            seen = [pid for pid in placed if rng.random() > 0.1]
            values = {pid: own[pid] + (rate * 12 * k + air + rng.gauss(0, noise)) / 10.0 for pid in seen}
            taken = T0 + 12 * k * DAY
            process(c, placed, values, taken, taken + latency)
    return T0 + 12 * (dates - 1) * DAY


def fact(database, now):
    return {f.station: f for f in ask(database, load_point_facts, SITE, now)}


def test_zone_has_a_rate_with_error_and_age_of_its_data(slope):
    newest = fly(slope, 0.5)
    found = fact(slope, newest + 3 * DAY)
    assert set(found) == {"G1"}, "one point far away is no zone of G2"
    zone = found["G1"]
    assert abs(zone.rate_mm_per_day - 0.5) < 3 * zone.error_mm_per_day < 0.1
    assert zone.low_mm_per_day < zone.rate_mm_per_day < zone.high_mm_per_day
    assert (zone.newest_s, zone.received_s) == (newest.timestamp(), (newest + 2 * DAY).timestamp())
    assert zone.epochs == 8
    # as known a day after it was taken, the newest acquisition did not exist
    assert fact(slope, newest + DAY)["G1"].newest_s == (newest - 12 * DAY).timestamp()


def test_reports_count_from_enough_observers_while_valid(slope):
    def say(by, at):
        with slope.write() as c:
            item = ObserverReport("bench", at, "crack", "across the road", by)
            add_report(c, item, at, actor=Actor(by, via=PAGE), credential=f"account {by.strip().lower()}")

    say("ranger", T0)
    say("Ranger ", T0 + timedelta(hours=1))
    assert evaluate_site(slope, SITE, T0 + timedelta(hours=2), "tick").level == 0, "the same person twice"
    say("warden", T0 + 3 * DAY)
    assert evaluate_site(slope, SITE, T0 + 3 * DAY, "tick").level == 0, "the first is too old by now"
    say("ranger", T0 + 3.5 * DAY)
    assert evaluate_site(slope, SITE, T0 + 3.5 * DAY, "tick").level == 1


def test_two_names_with_one_credential_are_one_observer(slope):
    """Whoever may publish invents as many names as a rule asks for; the broker's way is one credential."""
    pipeline = Pipeline(slope, {"bench": SITE}, lambda: T0)

    def publish(by, minute):
        at = format_iso(T0 + timedelta(minutes=minute))
        body = json.dumps({"time": at, "kind": "crack", "text": "across the road", "by": by}).encode()
        message = BrokerMessage("slopeward/v1/bench/report", body, T0 + timedelta(hours=1), "backfill")
        assert pipeline.store([message]).rejected == 0

    publish("ranger", 0)
    publish("warden", 5)
    now = T0 + timedelta(hours=2)
    assert evaluate_site(slope, SITE, now, "tick").level == 0
    with slope.write() as c:
        item = ObserverReport("bench", now, "crack", "seen from the road", "Ada")
        add_report(c, item, now, actor=Actor("Ada", via=PAGE), credential="account ada")
    assert evaluate_site(slope, SITE, now, "tick").level == 1, "a person with an account is another observer"
    with slope.read() as c:
        rows = load_rows(c, "reports", order_by=("report_id",))
        log = load_rows(c, "audit_log", action="report.add", order_by=("audit_id",))
    named = [("ranger", "mqtt", "mqtt"), ("warden", "mqtt", "mqtt"), ("Ada", "page", "account ada")]
    assert [(r["by"], r["via"], r["credential"]) for r in rows] == named
    assert [(e["actor"], e["actor_kind"]) for e in log] == [("mqtt", "program"), ("mqtt", "program"), ("Ada", "person")]


def near_g1(scene_hash, **facts):
    return footprint_row(scene_hash, scene_hash, (8.0, 46.0, 8.0, 46.0), nearest_station="G1", distance_m=40.0, **facts)


@ON_BOTH
def test_image_votes_only_with_tested_weights(slope):
    def see(name, model, at, change="new"):
        tell(slope, save_scene, scene_row(name, at), [near_g1(name, model=model, model_hash=model, change=change)], at)

    see("old", "tested", T0 - 2 * DAY, "single")
    prove_outlines(slope, SITE, T0 - DAY)
    see("drone", "others", T0)
    assert evaluate_site(slope, SITE, T0 + DAY / 8, "tick").level == 0
    see("next", "tested", T0 + DAY / 4, "single")
    result = evaluate_site(slope, SITE, T0 + DAY / 2, "tick")
    assert result.level == 0, "an outline of tested weights does not speak for those of others"
    assert "does not count all weights" in result.decision.memory.conditions["health:image:unproven"].reason
    see("slide", "tested", T0 + DAY)
    see("drone again", "others", T0 + DAY * 5 / 4)
    result = evaluate_site(slope, SITE, T0 + DAY * 3 / 2, "tick")
    assert result.level == 1, "nor does one of others take their vote away"
    assert "and 1 more" not in result.decision.evidence["words"][-1]["reason"]


@pytest.mark.parametrize(("change", "level"), [("new", 1), ("grown", 1), ("single", 0), ("gone", 0)])
def test_change_on_an_image_is_a_witness_as_old_as_the_image(slope, change, level):
    with slope.write() as c:
        grown_m2 = 900.0 if change == "grown" else None
        scene = scene_row("s", T0, received_at=T0 + DAY)
        save_scene(c, scene, [near_g1("s", change=change, grown_m2=grown_m2)], T0 + 2 * DAY)
    prove_outlines(slope, SITE, T0)
    assert evaluate_site(slope, SITE, T0 + DAY, "tick").level == 0, "not known yet"
    result = evaluate_site(slope, SITE, T0 + 2 * DAY, "tick")
    assert result.level == level
    if level:
        word = next(w for w in result.decision.evidence["words"] if w["station"] == "scene")
        assert "received 2d after the image" in word["reason"]
        assert ("grew by 900 m²" in word["reason"]) == (change == "grown")
        assert result.decision.evidence["votes"]["image|scene"]["valid_until_s"] == (T0 + 10 * DAY).timestamp()


# ---- zones that are not known whole --------------------------------------------------------------------------------
ZONE = "G1.insar"


def deliver(database, moving, resting, dates, *, rate, lost=lambda point, date: False):
    """Store a zone of moving and resting points, in mm/day; `lost`: which point has no value at which date."""
    rng = random.Random(3)
    names = [f"m{i}" for i in range(moving)] + [f"r{i}" for i in range(resting)]
    points = [Point(name, 46.0 + rng.uniform(-5e-4, 5e-4), 8.0 + rng.uniform(-5e-4, 5e-4)) for name in names]
    with database.write() as c:
        placed = place(c, points)
        for k in dates:
            values = {
                name: (rate * 12 * k * (name[0] == "m") + rng.gauss(0, 0.2)) / 10.0
                for name in names
                if not lost(name, k)
            }
            taken = T0 + 12 * k * DAY
            process(c, placed, values, taken, taken + DAY)
    return T0 + 12 * max(dates) * DAY + 2 * DAY


def find_word(result):
    return next(w for w in result.decision.evidence["words"] if w["station"] == "insar:G1")


def test_zone_with_all_values_has_full_coverage(slope):
    now = deliver(slope, 10, 10, range(8), rate=1.0)
    result = evaluate_site(slope, SITE, now, "tick")
    assert fact(slope, now)["G1"].known_share == 1.0
    assert "coverage" not in find_word(result)
    assert ZONE not in result.decision.memory.incomplete


def test_values_masked_at_some_dates_lower_the_coverage_of_the_zone(slope):
    now = deliver(slope, 5, 15, range(8), rate=2.0, lost=lambda name, k: name in {"m0", "m1"} and k == 3)
    result = evaluate_site(slope, SITE, now, "tick")
    assert fact(slope, now)["G1"].known_share == pytest.approx(1.0 - 2 / 160)
    word = find_word(result)
    assert word["coverage"]["share"] == pytest.approx(1.0 - 2 / 160)
    assert (word["coverage"]["may_lower"], word["fresh"]) == (True, True)
    assert "they may be moving" in str(result.decision.memory.incomplete[ZONE])
    assert result.decision.observability != "full"


def test_zone_of_which_most_points_are_lost_lowers_no_level(slope):
    now = deliver(slope, 14, 6, range(8), rate=1.0)
    assert evaluate_site(slope, SITE, now, "tick").level == 1
    later = deliver(slope, 14, 6, range(8, 15), rate=1.0, lost=lambda name, _: name[0] == "m")
    result = evaluate_site(slope, SITE, later, "tick")
    zone, word = fact(slope, later)["G1"], find_word(result)
    assert abs(zone.rate_mm_per_day) < 0.05, "what is left rests"
    assert zone.known_share == pytest.approx(6 / 20)
    assert (word["coverage"]["may_lower"], word["fresh"]) == (False, False)
    assert result.level == 1
    assert ZONE in result.decision.memory.incomplete


def test_points_that_moved_until_they_were_lost_hold_the_level(slope):
    lost = lambda name, k: name[0] == "m" and k >= 5  # noqa: E731
    now = deliver(slope, 8, 12, range(8), rate=1.0, lost=lost)
    zone, word = fact(slope, now)["G1"], find_word(evaluate_site(slope, SITE, now, "tick"))
    assert zone.known_share == pytest.approx(12 / 20)
    assert zone.lost_mm_per_day == pytest.approx(1.0, abs=0.05)
    assert (word["raise_level"], word["hold_level"]) == (0, 1)
    assert "points without recent acquisitions moved 0.998 mm/day" in str(word["coverage"]["removed"][-1]["reason"])


def test_zone_whose_points_all_lost_too_many_values_is_not_known(slope):
    now = deliver(slope, 10, 0, range(8), rate=1.0, lost=lambda name, k: (int(name[1:]) + k) % 2)
    result = evaluate_site(slope, SITE, now, "tick")
    assert not find_word(result)["heard"]
    assert find_word(result)["coverage"]["share"] == 0.0
    assert "nothing is known: points of descending have no values" in str(result.decision.memory.incomplete[ZONE])


def test_decision_on_a_zone_without_a_known_share_is_recomputed_as_before(slope):
    """Evidence of earlier versions has no coverage of zones."""
    now = deliver(slope, 5, 15, range(8), rate=2.0, lost=lambda name, k: name == "m0" and k == 3)
    stored = ask(slope, load_inputs, SITE, now, draining=False)[0].to_json()
    (zone,) = stored["points"]
    del zone["known_share"], zone["lost_mm_per_day"]
    view = DecisionInputs.read(stored)
    decision = decide(PreparedSite(SITE), Memory(), view, now)
    assert view.points[0].known_share == 1.0
    assert ZONE not in decision.memory.incomplete
    again = decide(PreparedSite(SITE), Memory(), DecisionInputs.read(view.to_json()), now)
    assert canonical_json(again.evidence) == canonical_json(decision.evidence)
