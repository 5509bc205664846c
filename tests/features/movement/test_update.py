"""The movement of a slope that accelerates, stops, falls silent and is corrected late: rows, windows and stage."""

import json
import random
import shutil
from dataclasses import replace
from datetime import timedelta
from unittest.mock import Mock

import numpy as np
import pytest
from sqlalchemy import select

from monitor.alerts.acts.operator_acts import verify
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluate import load_inputs as look
from monitor.alerts.queries.evaluations import find_movement_stage
from monitor.alerts.queries.offsets import add_offset, confirm_offset, load_waiting_offsets
from monitor.delivery.state import site_payload
from monitor.errors import JobError
from monitor.features.demo.slope import voight_displacement
from monitor.features.forecasts.queries.forecasts import add_forecasts
from monitor.features.movement import assessment, path
from monitor.features.movement.queries import load_failure_facts
from monitor.features.movement.update import run, update_movement
from monitor.people.queries.users import add_user
from monitor.readings.queries.corrections import sign_corrections
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import series
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from tests.data import site_text
from tests.data.feature_rows import forecast_row
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

T0 = parse_time("2026-01-01T00:00:00Z")
DAY = timedelta(days=1)
FAILS, STOPS, SIGMA = 120, 116, 0.5
MOVED = site_text.series("displacement", "mm", "1d", max_silence="3d", noise_floor_mm=0.5)
SITE = (
    site_text.head("s", movement={"failure_velocity_mm_per_day": 50.0})
    + site_text.station("A", MOVED, v_eq_mm_per_day=0.5, v_eq_reviewed="A. Rossi 2026-01, on 2023-2025")
    + site_text.station("B", MOVED, azimuth_deg=180.0, plunge_deg=30.0)
    + site_text.station("C", site_text.series("displacement", "mm", "1d"), on_slope=False)
    + site_text.criterion("inverse_velocity", stations=["A"], yellow={"within": "10d"})
)
PLACE = parse_site(SITE, "s.toml")
# a criterion that reads the values: what was changed of them is asked
READ_BY = site_text.criterion("velocity", stations=["A"], yellow={"over": 100.0, "window": "20d"})


def path_mm():
    days = np.arange(0.0, 160.0)
    moved = voight_displacement(days, 0.4, 60.0, float(FAILS))
    dice = random.Random(3)
    return [float(y) + dice.gauss(0.0, SIGMA) for y in np.where(days > STOPS, moved[STOPS], moved)]


PATH = path_mm()


def at(day):
    return T0 + day * DAY


def reading(day, value, station="A", quantity="displacement_downslope", received=None):
    when = at(day)
    return Observation("s", station, quantity, "mm", when, received or when + DAY / 100, value, SIGMA)


def store(db, *rows):
    tell(db, add_observations, list(rows), T0)


def begin(db, until):
    tell(db, save_site, PLACE, "test", "test", T0)
    store(db, *(reading(d, PATH[d]) for d in range(until)))


DOWN = {"displacement_east": 0.0, "displacement_north": -0.05, "displacement_up": -0.03}


def store_b(db, days, error_mm=lambda: 0.0):
    store(db, *(reading(d, v * d + error_mm(), "B", q) for q, v in DOWN.items() for d in days))


def step(db, day, *, silent=False):
    if not silent:
        store(db, reading(day, PATH[day]))
    return update_movement(db, PLACE, at(day) + DAY / 24)


def rows(db, view, **where):
    found = ask(db, load_view, view, order_by=["station", "at" if view == "movement_history" else "data_until"])
    return [dict(r) for r in found if all(r[k] == v for k, v in where.items())]


@pytest.mark.soak
def test_window_is_issued_for_an_acceleration_and_withdrawn_when_it_stops(database):
    begin(database, 95)
    assert step(database, 95).updated == ("A.displacement",)
    assert find_shown_stage(database) is None  # nothing was evaluated yet: there is no row to show it in
    evaluate_site(database, PLACE, at(95) + DAY / 24, "tick")
    assert {day: step(database, day).stage for day in range(96, STOPS + 1)}[STOPS] == "progressive"
    windows = [w for w in rows(database, "failure_windows") if w["trusted"]]
    newest = windows[-1]
    assert newest["data_until"] == spell_day(STOPS)
    assert newest["window_from"] <= spell_day(FAILS) <= newest["window_to"]
    assert all(w["window_from"] >= w["data_until"] for w in rows(database, "failure_windows"))
    assert [w["withdrawn_at"] for w in windows[-3:]] == [None] * 3
    evaluate_site(database, PLACE, at(STOPS) + DAY / 12, "tick")  # an evaluation leaves the stage alone
    with database.read() as c:
        (status,) = load_view(c, "site_status")
        view, _ = look(c, PLACE, at(STOPS) + DAY / 12, draining=False)
        advice = [a for a in load_view(c, "active_alerts") if a["ledger"] == "advice"]
    assert (status["movement_stage"], status["trend"]) == ("progressive", "progressive")
    assert json.loads(site_payload(status, []))["stage"] == "progressive"
    assert ([f.station for f in view.failures], len(advice)) == (["A"], 1)
    assert "if the acceleration continues" in advice[0]["reason"]

    told = {}
    for day in range(STOPS + 1, STOPS + 8):
        told |= step(database, day).withdrawn
    assert "recent maximum" in told["A.displacement by inverse_velocity"]
    assert all(w["withdrawn_at"] for w in rows(database, "failure_windows", method="inverse_velocity"))
    with database.read() as c:
        assert load_failure_facts(c, "s", at(STOPS + 8)) == ()
        before = load_failure_facts(c, "s", at(STOPS) + DAY / 12)  # what was known then is still known
    assert before == view.failures
    moved = rows(database, "movement_history", station="A")
    assert [r["at"] for r in moved] == sorted({r["at"] for r in moved})
    assert moved[-1]["data_until"] == spell_day(STOPS + 7)
    fast = next(r for r in moved if r["data_until"] == spell_day(STOPS))
    assert fast["tangential_angle_deg"] > 80.0
    assert fast["inverse_velocity_day_per_mm"] == pytest.approx(1.0 / fast["velocity_mm_per_day"])
    assert fast["acceleration_mm_per_day2"] > 3.0 * fast["acceleration_error_mm_per_day2"]


def find_shown_stage(db):
    return ask(db, find_movement_stage, "s")


def spell_day(day):
    return at(day).isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.mark.soak
def test_assessments_missed_during_an_interruption_are_made_later(database, tmp_path, sqlite_template):
    shutil.copy(sqlite_template, tmp_path / "other.db")
    steady = Database(f"sqlite:///{tmp_path}/other.db")
    for db in (database, steady):
        begin(db, 95)
    gap = range(113, 122)  # the window stands, and is taken back within it
    for day in range(95, 124):
        step(steady, day)
        store(database, reading(day, PATH[day]))
        if day not in gap:
            interrupted = Database(database.url.render_as_string(hide_password=False))  # a process of its own
            update_movement(interrupted, PLACE, at(day) + DAY / 24)
            interrupted.close()
    kept = "data_until stage trend velocity_mm_per_day acceleration_mm_per_day2 probability reasons".split()
    missed = {spell_day(d) for d in gap}
    expected = [r for r in rows(steady, "movement_history") if r["data_until"] not in missed]
    found = rows(database, "movement_history")
    assert [[r[k] for k in kept] for r in found] == [[r[k] for k in kept] for r in expected]
    same = "data_until window_from window_mid window_to trusted reasons onset_at n_agree withdrawn_reason".split()
    both = [[[w[k] for k in same] for w in rows(db, "failure_windows")] for db in (database, steady)]
    assert both[0] == both[1] != []
    steady.close()


@ON_BOTH
def test_faulty_series_and_interruption_leave_complete_rows(database, monkeypatch):
    begin(database, 100)
    dice = random.Random(5)
    store_b(database, range(100), lambda: dice.gauss(0.0, SIGMA))
    store(database, *(reading(d, 9.0 * d, "C") for d in range(100)))
    healthy = assessment.assess_movement

    def poisoned(site, moving, *rest, **more):
        if moving.station.id == "A":
            raise ZeroDivisionError("a poisoned\nseries")
        return healthy(site, moving, *rest, **more)

    monkeypatch.setattr(assessment, "assess_movement", poisoned)
    now = at(99) + DAY / 24
    with pytest.raises(JobError, match=r"A.displacement: ZeroDivisionError: a poisoned series"):
        run(database, None, PLACE, now)
    monkeypatch.undo()
    (of_b,) = rows(database, "movement_history")
    assert (of_b["station"], of_b["quantity"]) == ("B", "displacement_east")
    # along azimuth 180 and plunge 30: 0.05 cos 30 + 0.03 sin 30
    assert of_b["velocity_mm_per_day"] == pytest.approx(0.0583, abs=3 * of_b["velocity_error_mm_per_day"])
    assert "A.displacement" not in update_movement(database, PLACE, now).failed
    assert [r["station"] for r in rows(database, "movement_history")] == ["A", "B"]  # the control is not judged
    assert (update_movement(database, PLACE, now).updated, len(rows(database, "movement_history"))) == ((), 2)

    store(database, reading(100, PATH[100]))
    # between the row and its windows
    monkeypatch.setattr("monitor.features.movement.queries.insert", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        update_movement(database, PLACE, at(100) + DAY / 24)
    monkeypatch.undo()
    assert len(rows(database, "movement_history")) == 2
    assert update_movement(database, PLACE, at(100) + DAY / 24).updated == ("A.displacement",)


def test_next_update_starts_with_the_series_that_waited(database):
    begin(database, 100)
    store_b(database, range(100))
    ticks = iter([0.0, 1.0, 9e9])
    first = update_movement(database, PLACE, at(99) + DAY / 24, clock_s=lambda: next(ticks))
    assert (first.updated, first.waiting) == (("A.displacement",), ("B.displacement",))
    store(database, reading(100, PATH[100]))
    ticks = iter([0.0, 1.0, 9e9])
    second = update_movement(database, PLACE, at(100) + DAY / 24, clock_s=lambda: next(ticks))
    assert (second.updated, second.waiting) == (("B.displacement",), ("A.displacement",))


def test_series_without_news_does_not_wait_for_the_budget(database, monkeypatch):
    begin(database, 100)
    store_b(database, range(100))
    update_movement(database, PLACE, at(99) + DAY / 24)
    store(database, reading(99.5, PATH[99]))
    store_b(database, [99.5])
    monkeypatch.setattr("monitor.features.movement.cadence.is_due", lambda *_, **__: False)
    monkeypatch.setattr("monitor.features.movement.cadence.may_be_silent", lambda *_: True)

    def wait(now):
        ticks = iter([0.0, 9e9, 9e9])
        return update_movement(database, PLACE, now, clock_s=lambda: next(ticks)).waiting

    assert wait(at(99.5) + DAY / 24) == ()
    # both have been silent for two weeks, and nobody had the time to say so
    assert len(wait(at(114))) == 2


def test_silence_makes_the_stage_unknown_once_and_lowers_no_stage(database):
    begin(database, 110)
    evaluate_site(database, PLACE, at(109), "tick")
    assert step(database, 110).stage == "progressive"
    standing = rows(database, "failure_windows")
    assert standing
    for hours in (60, 80, 90, 1000):
        report = update_movement(database, PLACE, at(110) + timedelta(hours=hours))
        assert (report.stage, report.withdrawn) == ("progressive", {})
    assert find_shown_stage(database) == "progressive"
    last = rows(database, "movement_history")[-2:]
    assert [r["stage"] for r in last] == ["progressive", "unknown"]
    assert "no usable reading since" in last[-1]["reasons"]
    assert rows(database, "failure_windows") == standing


FAST = parse_site(
    SITE.split("[[station]]", maxsplit=1)[0]
    + site_text.station("A", site_text.series("displacement", "mm", "1s", noise_floor_mm=0.5)),
    "s.toml",
)
TICK = timedelta(seconds=0.5)  # twice as often as it declares


@pytest.fixture
def read_epochs(monkeypatch):
    found = []

    def load(*args, **named):
        found.append(load_readings(*args, **named))
        return found[-1]

    monkeypatch.setattr(path, "load_readings", load)
    return lambda: [len(some) for some in found]


def store_ticks(db, first, last, value=None, received_at=None):
    """Half seconds of station A; without a value they scatter."""

    def read(k):
        at, seen = T0 + k * TICK, k % 7 * 0.1 if value is None else value
        return Observation("s", "A", "displacement", "mm", at, received_at or at, seen)

    store(db, *map(read, range(first, last)))


def test_update_without_a_due_assessment_reads_no_history(database, read_epochs):
    """The level may change each second: each time movement is asked, and the history of a series is long."""
    tell(database, save_site, FAST, "test", "test", T0)
    store_ticks(database, 0, 400)
    assert (update_movement(database, FAST, T0 + 400 * TICK).updated, read_epochs()) == (("A.displacement",), [400])
    for k in (500, 600, 700):  # each so long after the last look that silence might have to be told
        store_ticks(database, k - 100, k)
        assert update_movement(database, FAST, T0 + k * TICK).updated == ()
    assert read_epochs() == [400, 47, 47, 47], "eight times three seconds each, as long as silence is allowed"


@pytest.mark.parametrize("why", ["the instrument repeats one value", "no usable reading since"])
def test_stuck_or_unusable_instrument_is_reported_before_its_next_assessment(database, why):
    tell(database, save_site, FAST, "test", "test", T0)
    store_ticks(database, 0, 400)
    update_movement(database, FAST, T0 + 400 * TICK)
    store_ticks(database, 400, 500, 3.0 if why.startswith("the") else 1e15)
    now = T0 + 499 * TICK
    assert update_movement(database, FAST, now).updated == ("A.displacement",)
    assert why in rows(database, "movement_history")[-1]["reasons"]


def test_readings_of_an_instrument_faster_than_declared_are_limited(database, monkeypatch, read_epochs):
    monkeypatch.setattr(path, "MAX_READINGS", 100)
    tell(database, save_site, FAST, "test", "test", T0)
    store_ticks(database, 0, 400)
    store_ticks(database, 0, 400, value=5.0, received_at=T0 + 400 * TICK)  # another revision of each is no epoch
    update_movement(database, FAST, T0 + 400 * TICK)
    assert read_epochs() == [100]


def test_signed_corrections_count_and_change_no_stored_row(database):
    begin(database, 90)
    step(database, 90)
    before = rows(database, "movement_history")
    for day in range(60, 90):  # final solutions of a month: the slope had moved by 0.5 mm a day more
        store(database, reading(day, PATH[day] - 0.5 * (90 - day), received=at(90) + DAY / 2))
    assert update_movement(database, PLACE, at(90) + DAY / 2).updated == (), "they wait for two people"
    signed_at = at(90) + DAY / 2
    tell(database, sign_corrections, "s", "A", signed_at, "A. Rossi and B. Keller", signed_at, countersigned=True)
    step(database, 91)
    after = rows(database, "movement_history")
    assert after[: len(before)] == before
    assert after[-1]["velocity_mm_per_day"] > before[-1]["velocity_mm_per_day"] + 0.3


def test_window_that_contains_the_present_stands_until_its_late_edge(database, monkeypatch):
    # towards a failure on day 120, but from day 117 on the slope keeps its velocity: no look sees a failure any more
    days = np.arange(0.0, 200.0)
    moved, dice = voight_displacement(days, 0.4, 60.0, float(FAILS)), random.Random(3)
    moved = np.where(days > 117, moved[117] + (moved[117] - moved[116]) * (days - 117), moved)
    monkeypatch.setattr("tests.features.movement.test_update.PATH", [float(y) + dice.gauss(0, SIGMA) for y in moved])
    begin(database, 95)
    told = {}
    for day in range(95, 170):
        report = step(database, day)
        if why := report.withdrawn.get("A.displacement by inverse_velocity"):
            told[day] = why
        windows = rows(database, "failure_windows", method="inverse_velocity")
        taken = [w for w in windows if w["withdrawn_at"] == windows[-1]["withdrawn_at"] is not None]
        if taken:  # the newest of those that stood had passed, or began in the future
            assert not taken[-1]["window_from"] <= spell_day(day) < taken[-1]["window_to"], day
    held = [w for w in windows if "the window contains the present and remains valid, although" in w["reasons"]]
    assert len(held) > 20
    assert not any(w["trusted"] for w in held)  # it holds a level, and raises none
    assert list(told.values())[-1] == "its late edge has passed"


@pytest.fixture
def two_people(database):
    with database.write() as c:
        for name in ("A.Rossi", "B.Keller"):
            add_user(c, name, None, "operator", T0)


def test_confirmed_offset_withdraws_the_window_before_the_next_reading(database, two_people):
    begin(database, 114)
    step(database, 114)
    assert [w for w in rows(database, "failure_windows") if w["trusted"] and w["withdrawn_at"] is None]
    told = {"unit": "mm", "kind": "other", "author": Actor("A.Rossi"), "reason": "the anchor had come loose"}
    with database.write() as c:
        series_id = find_series_id(c, "s", "A", "displacement_downslope")
        for day in range(95, 115):  # what it gained since day 95 was the anchor, but for the creep
            gain, when = PATH[day] - PATH[day - 1] - 0.4, at(114) + DAY / 8
            add_offset(c, series_id, at=at(day) - DAY / 2, known_from=when, size=gain, now=when, **told)
    assert update_movement(database, PLACE, at(114) + DAY / 7).withdrawn == {}, "one person alone hides no window"
    with database.write() as c:
        for waiting in load_waiting_offsets(c, at(114) + DAY / 7):
            confirm_offset(c, waiting.offset.id, Actor("B.Keller"), "seen on foot", at(114) + DAY / 7)
    report = update_movement(database, PLACE, at(114) + DAY / 6)
    assert list(report.withdrawn) == ["A.displacement by inverse_velocity"]
    assert update_movement(database, PLACE, at(114) + DAY / 5).updated == ()
    moved = rows(database, "movement_history")
    assert [r["data_until"] for r in moved[-2:]] == [spell_day(114)] * 2
    assert moved[-1]["stage"] == moved[-2]["stage"]  # the same datum once more is no second look
    assert moved[-1]["velocity_mm_per_day"] < 0.5 * moved[-2]["velocity_mm_per_day"]


def test_window_by_forecast_is_replaced_by_that_of_a_newer_forecast(database):
    begin(database, 100)
    issue(database, 99, [60.0, 400.0, 900.0])
    assert update_movement(database, PLACE, at(99) + DAY / 2).windows >= 1
    (window,) = rows(database, "failure_windows", method="forecast")
    assert (window["trusted"], window["window_from"] >= window["data_until"]) == (True, True)
    assert "reaches 50 mm/day" in window["reasons"]
    issue(database, 100, [1.0, 7.0, 30.0])
    report = step(database, 100)
    assert report.withdrawn["A.displacement by forecast"] == "the shown forecast no longer reaches 50 mm/day"
    (window,) = rows(database, "failure_windows", method="forecast")
    assert window["withdrawn_at"] is not None


def issue(db, day, gains_mm):
    with db.write() as c:
        series_id = c.execute(select(series.c.id).where(series.c.station == "A")).scalar()
        known = {"data_until": at(day), "as_of_received_at": at(day), "model": "combined", "baseline": "line"}
        rows = []
        for days, gain in zip((1, 7, 30), gains_mm, strict=True):
            fan = [PATH[day] + share * gain for share in (0.8, 0.9, 1.0, 1.1, 1.2)]
            known |= {"target_at": at(day + days), "baseline_q50": PATH[day] + gain, "data_value": PATH[day]}
            rows.append(forecast_row(series_id, at(day) + DAY / 25, fan, days * 86400.0, **known))
        add_forecasts(c, rows)


def test_station_with_components_has_a_reason_for_no_window_by_forecast(database):
    declared = '[[station.series]]\nquantity = "displacement"\nunit = "mm"\ninterval = "1d"\nmax_silence = "3d"\n'
    site = parse_site(SITE.replace("[[criterion]]", f'[[station]]\nid = "D"\n{declared}[[criterion]]', 1), "s.toml")
    tell(database, save_site, site, "test", "test", T0)
    for part in ("east", "north", "up"):
        store(database, *(reading(d, 0.3 * d, "D", f"displacement_{part}") for d in range(40)))
    store(database, *(reading(d, PATH[d]) for d in range(40)))
    assert update_movement(database, site, at(40)).failed == {}
    said = {r["station"]: r["reasons"] for r in rows(database, "movement_history")}
    assert "quantiles of single components cannot be joined" in said["D"]
    assert "joined" not in said["A"]


def test_unsigned_corrections_withdraw_no_window(database, two_people):
    site = parse_site(SITE + READ_BY, "s.toml")
    tell(database, save_site, site, "test", "test", T0)
    store(database, *(reading(d, PATH[d]) for d in range(115)))
    assert update_movement(database, site, at(114) + DAY / 24).windows
    store(database, reading(115, PATH[115]))
    came = at(115) + DAY / 50
    flat = [reading(d, PATH[94] + 0.4 * (d - 94), received=came) for d in range(95, 116)]
    tell(database, add_observations, [replace(one, solution="corrected") for one in flat], came, by="mallory")
    assert update_movement(database, site, at(115) + DAY / 24).withdrawn == {}
    seen = evaluate_site(database, site, at(115) + DAY / 8, "data").decision.memory.conditions
    (question,) = (k.removeprefix("health:").removesuffix(":verify") for k in seen if ":corrected:" in k)
    for who in ("A.Rossi", "B.Keller"):
        assert update_movement(database, site, at(115) + DAY / 6).withdrawn == {}, who
        verify(database, site, question, "instrument", Actor(who), "the anchor had come loose", at(115) + DAY / 7)
    assert list(update_movement(database, site, at(115) + DAY / 4).withdrawn) == ["A.displacement by inverse_velocity"]
