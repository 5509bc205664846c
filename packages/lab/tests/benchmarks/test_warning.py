"""The benchmark of warning value measures right: generators whose warnings are known give known figures."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitor.alerts.replay.matrix import Span
from packages.lab.benchmarks.warning import records
from packages.lab.benchmarks.warning.curves import FAILING_CURVES
from packages.lab.benchmarks.warning.measure import (
    DEFAULT,
    FIXED_BOUND,
    GeneratedSite,
    Generator,
    find_lead_days,
    generate_with_guess,
    make_variants,
    measure_record,
    replace_criteria,
)
from packages.lab.benchmarks.warning.records import Record

START = datetime(2024, 3, 1, tzinfo=UTC)
HISTORY_DAYS = 10
END_DAY = 40


def make_ramp(*, fails: bool) -> Record:
    """One station that moves 1 mm a day and has the value of its day, read daily for 40 days."""
    days = np.arange(END_DAY)
    times = pd.DatetimeIndex([START + timedelta(days=int(day)) for day in days])
    end_at = START + timedelta(days=END_DAY)
    return Record(
        name="ramp",
        kind="failure" if fails else "quiet",
        interval="daily",
        table=pd.DataFrame({"G1 displacement (mm)": days.astype(float)}, index=times),
        stations=1,
        history_end=START + timedelta(days=HISTORY_DAYS),
        quiet_until=START + timedelta(days=HISTORY_DAYS if fails else END_DAY),
        failure_at=end_at if fails else None,
    )


def with_bounds(yellow: float, orange: float, red: float) -> Generator:
    """A generator whose only criterion bounds the displacement itself."""

    def generate(csv_file: Path, folder: Path, answers: Sequence[str]) -> GeneratedSite:
        guessed = generate_with_guess(csv_file, folder, answers)
        criterion = f"""
[[criterion]]
kind = "level"
series = "G1.displacement"
yellow = {{over = {yellow}}}
orange = {{over = {orange}}}
red = {{over = {red}}}
valid_for = "2d"
"""
        site_file = replace_criteria(guessed.site_file, criterion).replace("top_needs = 2 ", "top_needs = 1 ")
        return GeneratedSite(site_file, guessed.mapping)

    return generate


@pytest.mark.soak
def test_generator_that_always_raises_red_has_false_days_on_all_days():
    outcome = measure_record(make_ramp(fails=False), with_bounds(-3.0, -2.0, -1.0)).outcomes[DEFAULT]
    all_days = END_DAY - HISTORY_DAYS
    assert outcome.false_days == {"yellow": all_days, "orange": all_days, "red": all_days}
    assert outcome.waiting_days == {"yellow": 0, "orange": 0, "red": 0}


@pytest.mark.soak
def test_level_of_an_unanswered_question_is_waiting_and_not_false():
    record = make_ramp(fails=False)
    record.table.iloc[END_DAY - 12 :] += 500.0
    outcome = measure_record(record).outcomes[DEFAULT]
    assert outcome.false_days["yellow"] == 0
    assert outcome.waiting_days["yellow"] > 0


@pytest.mark.soak
def test_generator_that_never_raises_a_level_has_no_lead_and_no_false_days():
    never = with_bounds(1e6, 2e6, 3e6)
    assert measure_record(make_ramp(fails=True), never).outcomes[DEFAULT].lead_days == {
        "yellow": None,
        "orange": None,
        "red": None,
    }
    assert measure_record(make_ramp(fails=False), never).outcomes[DEFAULT].false_days == {
        "yellow": 0,
        "orange": 0,
        "red": 0,
    }


@pytest.mark.soak
def test_generator_with_known_crossings_has_the_lead_of_those_crossings():
    # A level needs two readings over its bound. They are those of the two days after the day of the bound.
    outcome = measure_record(make_ramp(fails=True), with_bounds(15.0, 25.0, 35.0)).outcomes[DEFAULT]
    assert outcome.lead_days == {"yellow": 23.0, "orange": 13.0, "red": 3.0}


def test_level_that_was_left_before_the_failure_gives_no_lead():
    day_s = 86400.0
    spans = [
        Span(0.0, day_s, 2),
        Span(day_s, 2 * day_s, 0),
        Span(2 * day_s, 3 * day_s, 1),
        Span(3 * day_s, 4 * day_s, 2),
    ]
    failure_at = datetime.fromtimestamp(4 * day_s, UTC)
    assert [find_lead_days(spans, [spans], level, failure_at) for level in (1, 2, 3)] == [2.0, 1.0, None]


def test_lead_counts_from_the_first_vote_and_not_from_a_question():
    day_s = 86400.0
    shown = [Span(0.0, 4 * day_s, 1)]
    asked = [Span(0.0, 3 * day_s, 0), Span(3 * day_s, 4 * day_s, 1)]
    failure_at = datetime.fromtimestamp(4 * day_s, UTC)
    assert find_lead_days(shown, [asked], 1, failure_at) == 1.0
    assert find_lead_days(shown, [[Span(0.0, 4 * day_s, 0)]], 1, failure_at) is None


@pytest.mark.soak
def test_fixed_bound_leaves_out_the_level_that_daily_readings_cannot_reach(tmp_path):
    csv_file = tmp_path / "slope.csv"
    make_ramp(fails=True).write_csv(csv_file)
    variants = make_variants(generate_with_guess(csv_file, tmp_path / "out", ()))
    (criterion,) = [one for one in variants[FIXED_BOUND].criteria if one.kind.id == "velocity"]
    assert [(t.over, t.window_s) for t in criterion.thresholds] == [(2.0, 14 * 86400.0), (20.0, 4 * 86400.0)]
    assert variants[FIXED_BOUND].stations == variants[DEFAULT].stations


@pytest.mark.parametrize("curve", FAILING_CURVES, ids=lambda curve: curve.name)
def test_failing_curve_has_its_speed_one_week_before_the_failure(curve):
    around = np.array([7.01, 6.99]) if curve.onset_days > 7.0 else np.array([1.01, 0.99])
    displacement = curve.displacement_mm(around)
    speed = (displacement[1] - displacement[0]) / (around[0] - around[1])
    expected = curve.speed_week_before * (7.0 / around.mean()) ** (1.0 / (curve.alpha - 1.0))
    assert speed == pytest.approx(expected, rel=1e-3)


def test_failing_curve_creeps_before_its_onset():
    curve = FAILING_CURVES[0]
    displacement = curve.displacement_mm(np.array([curve.onset_days + 10.0, curve.onset_days]))
    assert displacement[1] - displacement[0] == pytest.approx(10.0 * curve.creep)


def test_simulated_slope_creeps_until_the_onset_of_a_shortened_acceleration(monkeypatch):
    monkeypatch.setattr(records, "draw_noise", lambda seed, rows, stations: [np.zeros((rows, 3))] * stations)
    hourly = records.SAMPLINGS[0]
    curve = FAILING_CURVES[2]
    record = records.simulate_failure(curve, hourly, seed=0)
    assert curve.onset_days > hourly.longest_onset_days
    quiet = record.table[record.table.index < record.quiet_until]
    days = (quiet.index[-1] - quiet.index[0]).total_seconds() / 86400.0
    moved = np.linalg.norm(quiet.to_numpy()[-1, :3] - quiet.to_numpy()[0, :3])
    assert moved / days == pytest.approx(curve.creep, rel=0.01)
