"""Every reader of a series sees the same values, before and after people answer a question about it."""

from datetime import timedelta

import pytest

from monitor.alerts.acts.operator_acts import verify
from monitor.alerts.evaluate import evaluate_site, load_inputs
from monitor.alerts.queries.offsets import add_offset, confirm_offset
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Memory
from monitor.decision.series.assessment import DecisionContext
from monitor.features.movement.moving_series import find_moving
from monitor.features.movement.path import load_path
from monitor.models.samples import average_cells, load_ids, load_samples
from monitor.people.queries.users import add_user
from monitor.readings.queries.extremes import load_first_usable, load_usable
from monitor.readings.queries.observations import (
    count_epochs,
    find_series_id,
    latest_reading,
    load_epochs,
    load_offsets,
    load_readings,
)
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation, Reading
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.watched import find_motion
from monitor.storage.actor import Actor
from monitor.storage.views import load_view
from monitor.text.instants import epoch_s, format_iso, parse_time
from monitor.web.routes.site.rates import find_rates
from tests.data.site_text import bounds, criterion, head, series, station
from tests.fixtures.databases import ON_BOTH

START = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
BOUNDS = bounds(yellow="6 1d", orange="24 12h", red="80 8h")
SITE_TEXT = (
    head("bench", levels={"names": ["green", "yellow", "orange", "red"]})
    + "".join(
        station(name, series("displacement", "mm", noise_floor_mm=1.0, verify_step_mm=30.0)) for name in ("G1", "G2")
    )
    + criterion("velocity", stations=["*"], quantity="displacement", **BOUNDS)
)
KEY = ("bench", "G1", "displacement")
G1 = "G1.displacement"
COUNT = 60
STEP_AT, STEP_MM = 50, 80.0


class Antenna:
    """A station at rest whose antenna was replaced: its values jump by 80 mm."""

    def __init__(self, database):
        self.database = database
        self.site = parse_site(SITE_TEXT, "bench.toml")
        self.now = START + (COUNT - 1) * HOUR
        rows = [
            Observation("bench", name, "displacement", "mm", at, at, STEP_MM if name == "G1" and k >= STEP_AT else 0.0)
            for k in range(COUNT)
            for at in [START + k * HOUR]
            for name in ("G1", "G2")
        ]
        with database.write() as c:
            save_site(c, self.site, "test", "test", START)
            for name in ("Ada", "Bo"):
                add_user(c, name, None, "operator", START)
            add_observations(c, rows, START)
            self.series_id = find_series_id(c, *KEY)

    def read_newest_value(self):
        """Return the newest value of G1 as each reader sees it."""
        since, now = START - HOUR, self.now
        with self.database.read() as c:
            offset_mm = sum(size for _, size in load_offsets(c, self.series_id, now))
            motion = find_motion(self.site, load_ids(c, self.site.id))
            (samples,) = [
                one for one in load_samples(c, self.site, motion, since, now) if one.series_id == self.series_id
            ]
            return {
                "decision": load_inputs(c, self.site, now, draining=False)[0].readings["G1.displacement"][-1].value,
                "readings": load_readings(c, self.series_id, since, now, now)[-1].value,
                "forecasts and anomaly scores": samples.values[-1],
                "newest reading": latest_reading(c, self.series_id, now).value,
                "latest_observation": load_view(c, "latest_observation", site="bench", station="G1")[0]["value"],
                "history": load_epochs(c, KEY, newest_first=True, limit=1)[0]["value"],
                "page": load_usable(c, [self.series_id], since, now, now)[self.series_id][-1][1] - offset_mm,
                "page of years": load_first_usable(c, [self.series_id], [now - HOUR, now], now)[self.series_id][0][1]
                - offset_mm,
            }

    def add_noise(self):
        """Correct each value of G1 by some tenths of a millimetre: an instrument that repeats one value is frozen."""
        rows = []
        for k in range(COUNT):
            value = (STEP_MM if k >= STEP_AT else 0.0) + k * 7919 % 11 / 10.0
            rows.append(Observation(*KEY, "mm", START + k * HOUR, self.now, value))
        with self.database.write() as c:
            add_observations(c, rows, self.now)

    def measure_motion(self):
        """Return how far G1 moved from its first to its newest reading for each reader of motion, mm."""
        since = START - HOUR
        with self.database.read() as c:
            motion = find_motion(self.site, load_ids(c, self.site.id))
            (samples,) = [one for one in load_samples(c, self.site, motion, since, self.now) if one.label == G1]
            (moving,) = [one for one in find_moving(c, self.site) if one.station.id == "G1"]
            path = load_path(c, self.site, moving, self.now, Memory())
            inputs = load_inputs(c, self.site, self.now, draining=False)[0]
            page = find_rates(c, self.site, "G1", START, self.now, self.now)
        track = DecisionContext(PreparedSite(self.site), inputs, Memory(), epoch_s(self.now)).track(
            self.site.criteria[0], "G1"
        )
        return {
            "velocity on the page, mm/day": max(abs(rate) for window in page for rate in window["rate"]),
            "decision": track.along[-1] - track.along[0],
            "movement": path.values[-1] - path.values[0],
            "forecasts and anomaly scores": samples.values[-1] - samples.values[0],
        }

    def count_open_jumps(self):
        """Return how many jumps of G1 the decision asks about, and how many the movement page takes out."""
        evaluated = evaluate_site(self.database, self.site, self.now, "data").decision
        with self.database.read() as c:
            (moving,) = [one for one in find_moving(c, self.site) if one.station.id == "G1"]
            path = load_path(c, self.site, moving, self.now, Memory())
        return {"decision": len(evaluated.memory.steps), "movement": path.jumps}


@pytest.fixture
def antenna(database):
    return Antenna(database)


@ON_BOTH
def test_every_reader_applies_an_offset_from_its_second_signature_on(antenna):
    def see():
        assert antenna.measure_motion() == dict.fromkeys(antenna.measure_motion(), 0.0)
        (value,) = {round(value, 6) for value in antenna.read_newest_value().values()}
        return value, antenna.count_open_jumps()

    is_open = {"decision": 1, "movement": 1}
    assert see() == (STEP_MM, is_open)
    at = START + STEP_AT * HOUR
    with antenna.database.write() as c:
        number = add_offset(
            c,
            antenna.series_id,
            at=at,
            known_from=antenna.now,
            size=STEP_MM,
            unit="mm",
            kind="antenna",
            author=Actor("Ada"),
            reason="antenna replaced",
            now=antenna.now,
        )
    assert see() == (STEP_MM, is_open), "one of two signatures"
    with antenna.database.write() as c:
        confirm_offset(c, number, Actor("Bo"), "field book", antenna.now)
    assert see() == (0.0, {"decision": 0, "movement": 0})


@ON_BOTH
def test_every_reader_uses_a_correction_from_its_second_signature_on(antenna):
    rows = [
        Observation("bench", "G1", "displacement", "mm", START + k * HOUR, antenna.now, 0.5, solution="corrected")
        for k in range(STEP_AT, COUNT)
    ]
    with antenna.database.write() as c:
        added = add_observations(c, rows, antenna.now)
    assert added.revisions == COUNT - STEP_AT
    question = f"corrected:G1@{format_iso(antenna.now)}"
    for signer, value_mm in ((None, STEP_MM), ("Ada", STEP_MM), ("Bo", 0.5)):
        if signer is not None:
            actor = Actor(signer, "person")
            verify(antenna.database, antenna.site, question, "instrument", actor, "wrong scale", antenna.now)
        values = {name: round(value, 6) for name, value in antenna.read_newest_value().items()}
        assert set(values.values()) == {value_mm}, (signer, values)
        assert antenna.count_open_jumps() == dict.fromkeys(("decision", "movement"), int(value_mm == STEP_MM)), signer


@ON_BOTH
def test_a_correction_within_five_standard_errors_counts_at_once(antenna):
    newest = Observation("bench", "G1", "displacement", "mm", antenna.now, antenna.now, STEP_MM + 4.9)
    with antenna.database.write() as c:
        add_observations(c, [newest], antenna.now)
    assert {round(value, 6) for value in antenna.read_newest_value().values()} == {STEP_MM + 4.9}


@ON_BOTH
def test_an_epoch_that_waits_for_two_people_is_neither_counted_nor_listed(antenna):
    at = antenna.now - HOUR / 2
    with antenna.database.write() as c:
        add_observations(c, [Observation(*KEY, "mm", at, antenna.now, 0.0)], antenna.now, by="Ada")
    with antenna.database.read() as c:
        assert [row["observed_at"] for row in load_epochs(c, KEY, from_at=at)] == [format_iso(antenna.now)]
        assert count_epochs(c, KEY, from_at=at) == 1


@ON_BOTH
def test_a_jump_before_the_first_evaluation_is_a_question_until_somebody_answers(antenna):
    antenna.add_noise()
    evaluated = evaluate_site(antenna.database, antenna.site, antenna.now, "data").decision
    ((key, step),) = evaluated.memory.steps.items()
    assert (step.state, evaluated.level) == ("before", 0)
    assert "jumped by 79.9 mm" in str(evaluated.memory.incomplete[G1])
    assert max(map(abs, antenna.measure_motion().values())) < 10.0
    verify(antenna.database, antenna.site, str(key), "instrument", Actor("Ada", "person"), "antenna", antenna.now)
    answered = evaluate_site(antenna.database, antenna.site, antenna.now, "data").decision
    assert "jumped" not in str(answered.memory.incomplete.get(G1))
    assert max(map(abs, antenna.measure_motion().values())) < 10.0


def make_reading(minutes, value, *flags):
    at = START + timedelta(minutes=minutes)
    return Reading(at, at, 0, value, 0.0, value, None, flags)


def test_average_of_a_cell_leaves_out_unusable_readings():
    sound = [make_reading(0, 1.0), make_reading(1, 3.0, "late")]
    unusable = [make_reading(2, 5000.0, "no_fix"), make_reading(3, 7000.0, "no_fix", "late")]
    (average,) = average_cells([*sound, *unusable], 600.0)
    assert (average.value, average.flags) == (2.0, ())
    assert list(average_cells([sound[0], *unusable], 600.0)) == [sound[0]]
    (average,) = average_cells(unusable, 600.0)
    assert (average.value, average.flags) == (6000.0, ("no_fix",)), "the track leaves the average out"
