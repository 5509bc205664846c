"""Radar zones, changes on images and reports by number: as old as their data, known as late as they came."""

import json
import random
from datetime import timedelta

import pytest

from monitor.alerting.evaluate import evaluate_site
from monitor.config.service import parse_site
from monitor.domain.alert import PAGE, Actor
from monitor.domain.instants import format_iso, parse
from monitor.domain.observation import ObserverReport
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.store.alerting.sites import save_site
from monitor.store.readings import points as store
from monitor.store.readings.messages import add_report
from monitor.store.readings.points import Point, PointValue, load_point_facts
from monitor.store.scenes.arrivals import save_scene
from monitor.store.schema.views import load_view as load_rows
from tests.data.drawn_scenes import prove_outlines
from tests.data.site_text import bounds, criterion, head, series, station
from tests.data.store_rows import ask, footprint_row, scene_row, tell
from tests.fixtures.databases import ON_BOTH

T0 = parse("2026-01-01T06:00:00Z")
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


def test_a_zone_moves_at_its_rate_with_its_error_and_its_true_age(slope):
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


def test_reports_count_when_enough_observers_saw_it_and_no_longer_than_they_are_valid(slope):
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


def test_two_names_over_one_way_are_one_observer(slope):
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
def test_an_image_votes_by_the_weights_that_were_tested_whatever_others_found(slope):
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
def test_only_change_on_an_image_is_a_witness_and_it_is_as_old_as_the_image(slope, change, level):
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
        assert "known 2d after the image" in word["reason"]
        assert ("grew by 900 m²" in word["reason"]) == (change == "grown")
        assert result.decision.evidence["votes"]["image|scene"]["valid_until_s"] == (T0 + 10 * DAY).timestamp()
