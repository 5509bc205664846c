"""Values that are changed after they arrived hide no movement on one word."""

import json

import pytest
from sqlalchemy import select

from monitor.alerting.acts.operator_acts import verify
from monitor.alerting.evaluate import evaluate_site
from monitor.domain.alert import Actor
from monitor.domain.instants import format_iso
from monitor.domain.observation import Observation
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.store.readings.observations import add_observations
from monitor.store.schema.tables import audit_entry
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import HOUR, WatchedSlope, recompute_every

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


def test_a_correction_does_not_take_the_votes_of_a_level_that_stands_until_two_people_say_that_it_is_right(quiet):
    assert quiet.live(12, FALL).level == RED
    held = correct(quiet, 12, quiet.flat)
    assert all(v.level == RED for v in held.decision.memory.votes.values())
    questions = find_questions(held)
    assert [c.level for c in questions.values()] == [2, 2]
    said = next(iter(questions.values())).reason
    parts = ("mallory changed", "G1 crack opening", "2026-03-02T", "mm", "Two people must answer")
    assert all(part in said for part in parts), said
    for who, level in ((ADA, RED), (BO, 0)):
        for question in questions:
            seen = answer(quiet, question, who)
        assert {v.level for v in seen.decision.memory.votes.values()} == {level}, who
    assert (seen.level, find_questions(seen)) == (RED, {}), "the level itself falls by people"
    # what is changed after that is asked anew
    quiet.live(2, FALL)
    assert len(find_questions(correct(quiet, 2, quiet.flat))) == 2


def test_a_final_solution_within_the_scatter_says_nothing_and_one_that_shows_more_counts_at_once(quiet):
    silent = correct(quiet, 20, quiet.flat, solution="final")
    assert (find_questions(silent), silent.level) == ({}, 0)
    shown = correct(quiet, 12, lambda name, back: (12 - back) * FALL[name] / 24.0)
    assert shown.level == RED


def test_a_correction_by_mqtt_needs_two_people_as_well(quiet):
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
    assert "as it arrived" in seen.decision.evidence["sentence"]
    assert ask(quiet.database, recompute_every) == []
    assert all(c.reason.startswith("verify now: MQTT or a job changed ") for c in find_questions(seen).values())
    with quiet.database.read() as c:
        a = audit_entry.c
        logged = c.execute(select(a.actor, a.subject, a.detail).where(a.action == "reading.correct")).all()
    assert len(logged) == HOURS * len(FALL), "one for each station and hour"
    assert {(row.actor, row.subject) for row in logged} == {("mqtt", "station:G1"), ("mqtt", "station:G2")}
    assert json.loads(logged[0].detail)["quantities"] == ["crack_opening"]


def test_a_step_of_rapid_values_that_is_corrected_away_raises_nothing(quiet):
    """A wrong scale for three hours: the question stays, the level does not."""
    quiet.position["G1"] += 60.0
    assert "health:G1:verify" in quiet.live(3).decision.memory.conditions
    quiet.position["G1"] -= 60.0
    seen = correct(quiet, 3, quiet.flat, solution="final")
    assert {s.state for s in seen.decision.memory.steps.values()} == {"offset"}
    for _ in range(26):
        seen = quiet.live(1)
        assert seen.level == 0
    (question,) = find_questions(seen)
    assert question.startswith("health:corrected:G1@")
    seen = answer(quiet, question, ADA, BO, why="the scale was wrong")
    assert (seen.level, seen.decision.memory.steps, find_questions(seen)) == (0, {}, {})


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


def test_epochs_that_a_file_invents_between_those_of_the_instrument_keep_no_falling_slope_green(quiet):
    for _ in range(HOURS):
        quiet.live(1, FALL)
        seen = invent(quiet, 1, quiet.flat)
    assert seen.level == RED
    (said, _) = (c.reason for c in find_questions(seen).values())
    assert said.startswith("verify now: mallory brought ")
    assert "values of G1 crack opening from 2026-03-02T" in said
    assert "that the instrument did not send; they differ from its own around them by up to " in said
    for _ in range(2):  # what came after the first question is the second one
        for key in find_questions(look(quiet)):
            answer(quiet, key, ADA, BO)
    assert find_questions(look(quiet)) == {}


def test_a_gap_that_is_filled_from_the_memory_of_the_instrument_says_nothing(quiet):
    quiet.now += 6 * HOUR
    quiet.live(3, looks=1)
    rows = [bring(quiet, "G1", back, quiet.flat()) for back in (8, 7, 6, 5, 4, 3)]
    assert tell(quiet.database, add_observations, rows, quiet.now, by="ada").stored == 6
    assert find_questions(look(quiet)) == {}
