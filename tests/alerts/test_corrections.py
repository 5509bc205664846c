"""Corrections of stored values hide no movement if only one person made them."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from monitor.alerts.acts.answer_acts import withdraw_answer
from monitor.alerts.acts.operator_acts import verify
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.evaluate import load_inputs as load_decision_inputs
from monitor.features.instruments.jobs import run
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.people.queries.users import add_user, disable_user
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import observation_flag
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.actor import Actor
from monitor.storage.audit_tables import audit_entry
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from tests.data.site_text import bounds, criterion, head, series, station
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import HOUR, WatchedSlope, recompute_every
from tests.fixtures.databases import ON_BOTH

FALL = {"G1": 150.0, "G2": 140.0}
ADA, BO = Actor("Ada", "person"), Actor("Bo", "person")
RED, HOURS = 3, 12


def bring(slope, name, back_h, value, **more):
    at = slope.now - back_h * HOUR
    return Observation("bench", name, "crack_opening", "mm", at, slope.now, value, **more)


def correct(slope, hours, value, *, solution="corrected", sigma=None, by="mallory"):
    """Other values for the last hours of both rovers, in one file; then a look."""
    more = {"sigma": sigma, "solution": solution}
    rows = [bring(slope, name, back, value(name, back), **more) for back in reversed(range(hours)) for name in FALL]
    tell(slope.database, add_observations, rows, slope.now, by=by)
    return look(slope)


@pytest.fixture(autouse=True)
def two_people(database):
    """Ada and Bo have accounts, so a correction waits for two signatures."""
    with database.write() as c:
        for name in ("Ada", "Bo"):
            add_user(c, name, None, "operator", START)


def look(slope):
    return evaluate_site(slope.database, slope.site, slope.now, "data")


def find_questions(result):
    return {k: c for k, c in result.decision.memory.conditions.items() if k.startswith("health:corrected:")}


@pytest.fixture
def quiet(database):
    slope = WatchedSlope(database)
    slope.live(26, looks=1)
    slope.flat = lambda *_: slope.rng.gauss(0.0, 0.3)
    return slope


def test_correction_removes_no_votes_of_a_level_until_two_people_sign_it(quiet):
    assert quiet.live(12, FALL).level == RED
    held = correct(quiet, 12, quiet.flat)
    assert all(v.level == RED for v in held.decision.memory.votes.values())
    questions = find_questions(held)
    assert [c.level for c in questions.values()] == [2, 2]
    said = next(iter(questions.values())).reason
    parts = ("mallory changed", "G1 crack opening", "2026-03-02T", "mm", "until two people state the same cause")
    assert all(part in said for part in parts), said
    for who, level in ((ADA, RED), (BO, 0)):
        for question in questions:
            seen = answer(quiet, question, who)
        assert {v.level for v in seen.decision.memory.votes.values()} == {level}, who
    assert (seen.level, find_questions(seen)) == (RED, {}), "the level itself falls by people"
    # what is changed after that is asked anew
    quiet.live(2, FALL)
    assert len(find_questions(correct(quiet, 2, quiet.flat))) == 2


def test_final_solution_within_the_scatter_asks_nothing_and_a_larger_one_counts_at_once(quiet):
    silent = correct(quiet, 20, quiet.flat, solution="final")
    assert (find_questions(silent), silent.level) == ({}, 0)
    assert correct(quiet, 12, lambda name, back: (12 - back) * FALL[name] / 24.0).level == RED


def test_correction_by_mqtt_needs_two_people(quiet):
    pipeline = Pipeline(quiet.database, {"bench": quiet.site}, lambda: quiet.now)
    for _ in range(HOURS):
        quiet.live(1, FALL)
        for name in FALL:
            sample = {"time": format_iso(quiet.now), "crack_opening_mm": quiet.flat(), "solution": "corrected"}
            payload = json.dumps({**sample, "meta": {"brought_by": "Ada"}}).encode()
            outcome = pipeline.store([BrokerMessage(f"slopeward/v1/bench/{name}/obs", payload, quiet.now, "live")])
            assert (outcome.added.revisions, outcome.rejected) == (1, 0)
            again = json.dumps({**sample, "crack_opening_mm": quiet.flat()}).encode()
            pipeline.store([BrokerMessage(f"slopeward/v1/bench/{name}/obs", again, quiet.now, "live")])
        seen = look(quiet)
    assert seen.level == RED
    assert ask(quiet.database, recompute_every) == []
    assert all("MQTT or a job changed " in str(c.reason) for c in find_questions(seen).values())
    with quiet.database.read() as c:
        a = audit_entry.c
        logged = c.execute(select(a.actor, a.subject, a.detail).where(a.action == "reading.correct")).all()
    assert len(logged) == HOURS * len(FALL), "one for each station and hour"
    assert {(row.actor, row.subject) for row in logged} == {("mqtt", "station:G1"), ("mqtt", "station:G2")}
    assert json.loads(logged[0].detail)["quantities"] == ["crack_opening"]


def test_corrected_jump_stays_a_question_until_two_people_sign(quiet):
    """A wrong scale for three hours."""
    quiet.position["G1"] += 60.0
    assert "health:G1:verify" in quiet.live(3).decision.memory.conditions
    quiet.position["G1"] -= 60.0
    waiting = correct(quiet, 3, quiet.flat, solution="final")
    assert {s.state for s in waiting.decision.memory.steps.values()} == {"pending"}
    (question,) = find_questions(waiting)
    assert question.startswith("health:corrected:G1@")
    signed = answer(quiet, question, ADA, BO, why="the scale was wrong")
    assert (signed.level, signed.decision.memory.steps, find_questions(signed)) == (0, {}, {})
    assert quiet.live(26).level == 0


def test_new_processing_of_signed_values_asks_nothing(quiet):
    """The reference is the value that was signed last, not the one that arrived first."""
    quiet.live(12, FALL)
    correct(quiet, 12, quiet.flat)
    for question in find_questions(look(quiet)):
        answer(quiet, question, ADA, BO)
    for name in FALL:
        quiet.position[name] = 0.0
    again = correct(quiet, 12, lambda *_: quiet.rng.gauss(0.0, 0.3), solution="corrected", by="bo")
    assert find_questions(again) == {}
    assert find_questions(quiet.live(3)) == {}
    assert {v.level for v in quiet.live(1).decision.memory.votes.values()} == {0}


def test_one_person_signs_if_nobody_else_may_act(quiet):
    tell(quiet.database, disable_user, "Bo", quiet.now)
    quiet.live(12, FALL)
    for question in find_questions(correct(quiet, 12, quiet.flat)):
        result = answer(quiet, question, ADA)
    assert {v.level for v in result.decision.memory.votes.values()} == {0}
    with quiet.database.read() as c:
        reasons = set(c.execute(select(observation_flag.c.reason)).scalars())
    assert reasons == {"one person has signed the correction; fewer than two people may act on this site"}


def test_several_small_corrections_cannot_replace_a_large_one(quiet):
    quiet.live(12, FALL)
    for share in range(1, 11):
        result = correct(quiet, 12, lambda name, back, share=share: (12 - back) * FALL[name] / 24.0 * (1 - share / 10))
    assert len(find_questions(result)) == 2
    assert {v.level for v in result.decision.memory.votes.values()} == {RED}


def test_withdrawn_answer_makes_corrections_wait_again(quiet):
    quiet.live(12, FALL)
    (question, *_) = find_questions(correct(quiet, 12, quiet.flat))
    answer(quiet, question, ADA, BO)
    station, key = (
        question.removeprefix("health:corrected:")[:2],
        question.removeprefix("health:").removesuffix(":verify"),
    )
    assert not any(key.startswith(station) for key in look_inputs(quiet).unsigned)
    before = ask(quiet.database, load_view, "latest_observation", site="bench", station=station)
    with quiet.database.write() as c:
        withdraw_answer(c, quiet.site, key, ADA, "the photo was of another mast", quiet.now)
    assert any(key.startswith(station) for key in look_inputs(quiet).unsigned)
    after = ask(quiet.database, load_view, "latest_observation", site="bench", station=station)
    assert (before[0]["revision"], after[0]["revision"]) == (1, 0)
    assert question in find_questions(look(quiet))


def look_inputs(slope):
    with slope.database.read() as c:
        return load_decision_inputs(c, slope.site, slope.now, draining=False)[0]


def invent(slope, count, value):
    """Epochs in the last hour that no instrument reported, in one file; then a look."""
    backs = [(k, (k + 1) / (count + 1)) for k in reversed(range(count))]
    rows = [bring(slope, name, back_h, value(name, k)) for k, back_h in backs for name in FALL]
    tell(slope.database, add_observations, rows, slope.now, by="mallory")
    return look(slope)


def answer(slope, key, *people, why="levelled by hand"):
    """People say to a question that it was the instrument; what is seen then."""
    question = key.removeprefix("health:").removesuffix(":verify")
    return [verify(slope.database, slope.site, question, "instrument", who, why, slope.now) for who in people][-1]


def test_epochs_added_by_a_file_do_not_hide_movement(quiet):
    for _ in range(HOURS):
        quiet.live(1, FALL)
        seen = invent(quiet, 1, quiet.flat)
    assert seen.level == RED
    (said, _) = (str(c.reason) for c in find_questions(seen).values())
    assert "mallory added " in said
    assert "values of G1 crack opening from 2026-03-02T" in said
    for _ in range(2):  # what came after the first question is the second one
        for key in find_questions(look(quiet)):
            answer(quiet, key, ADA, BO)
    assert find_questions(look(quiet)) == {}


def test_gap_filled_from_the_memory_of_the_instrument_asks_nothing(quiet):
    quiet.now += 6 * HOUR
    quiet.live(3, looks=1)
    rows = [bring(quiet, "G1", back, quiet.flat()) for back in (8, 7, 6, 5, 4, 3)]
    assert tell(quiet.database, add_observations, rows, quiet.now, by="ada").stored == 6
    assert find_questions(look(quiet)) == {}


# ---- readings that people type, on both databases -------------------------------------------------------------------
START, DAY = parse_time("2026-03-01T08:00:00Z"), timedelta(days=1)
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


@pytest.mark.soak
@ON_BOTH
def test_lost_decimal_point_is_named_and_does_not_vote_even_before_silence(database):
    markers = Markers(database)
    markers.read(12, A=974.0, B=308.2, C=144.7)
    assert (markers.look(), markers.flagged()) == (0, [("A", 9740.0)])
    why = "crack opening: probably a typing error: 9740 for 974 mm: decimal point or unit"
    assert markers.said() == (
        [(why, "ask who entered it, and enter the correct value for the same time")],
        ["health:instrument:A:mistyped"],
    )
    for day in range(13, 18):  # nobody reads A any more
        markers.read(day, B=308.2, C=144.7)
        assert markers.look() == 0
    markers.read(18, A=97.4)
    assert (markers.look(), markers.said()) == (0, ([], []))


def test_silence_after_the_jump_is_movement_unless_people_read_the_instrument(database):
    markers = Markers(database, by_hand=False)
    markers.read(12, A=974.0, B=308.2, C=144.7)
    for day in range(13, 18):
        markers.read(day, B=308.2, C=144.7)
        level = markers.look()
    assert (level > 0, markers.flagged()) == (True, [])


def test_value_of_a_neighbour_is_named(database):
    markers = Markers(database)
    markers.read(12, **STOOD | {"A": 308.2})
    assert markers.look() == 0
    ((why, _),), _ = markers.said()
    assert why == "crack opening: probably a typing error: 3082 for 974 mm: the value of B"


def test_second_reading_with_the_same_value_counts_and_asks_a_question(database):
    markers = Markers(database)
    for day in (12, 13):
        markers.read(day, **STOOD | {"A": 974.0})
        markers.look()
    assert markers.flagged() == [("A", 9740.0)], "the first one only"
    assert markers.said() == ([], [])
    health = {r["station"]: r["state"] for r in ask(markers.database, load_view, "station_health", site="msl")}
    assert health["A"] == "verify"


def test_reading_sent_again_for_the_same_time_corrects_it(database):
    markers = Markers(database)
    markers.read(12, **STOOD | {"A": 974.0})
    markers.read(12, **STOOD | {"A": 974.0})  # once more by another way: one reading
    markers.look()
    assert markers.said()[1]
    markers.read(12, **STOOD)
    assert (markers.look(), markers.said()) == (0, ([], []))
