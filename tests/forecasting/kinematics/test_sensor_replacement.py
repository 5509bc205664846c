"""The offset between a sensor and the one that replaced it."""

import random

import pytest

from forecasting.kinematics.sensor_replacement import DAY_S, ProposedOffset, propose_offset
from forecasting.reasons import Reason
from tests.tables import tabulated


def draw_record(draw, *, jump, rate, noise, days=80, gap=(40.0, 43.0), step=1.0, turn=0.0):
    times = [step * k for k in range(int(days / step)) if not gap[0] <= step * k < gap[1]]
    values = [rate * t + turn * max(0.0, t - gap[1]) + jump * (t >= gap[1]) + draw.gauss(0.0, noise) for t in times]
    return [t * DAY_S for t in times], values, gap[0] * DAY_S, gap[1] * DAY_S


@tabulated("seed", range(12))
def test_offset_is_within_its_error_for_any_motion(seed):
    draw = random.Random(seed)
    jump, rate, noise = draw.uniform(-80, 80), draw.choice((0.0, draw.uniform(-4, 4))), draw.uniform(0.05, 2.0)
    record = draw_record(draw, jump=jump, rate=rate, noise=noise, gap=(40.0, 40.0 + draw.uniform(0.0, 9.0)))
    found = propose_offset(*record)
    assert isinstance(found, ProposedOffset)
    assert abs(found.size - jump) < 4.0 * found.error
    assert found.error < 3.0 * noise
    assert abs(found.motion - rate * found.gap_s / DAY_S) < 4.0 * found.motion_error + 1e-9


def test_motion_meanwhile_is_no_part_of_the_offset():
    """Medians of the two sides alone differ by the motion of forty days."""
    found = propose_offset(*draw_record(random.Random(1), jump=0.0, rate=2.0, noise=0.1))
    assert not found.is_needed
    assert found.motion == pytest.approx(8.0, abs=0.5)  # last reading before to first one after: four days


def test_outliers_change_the_offset_little():
    times, values, begins, ends = draw_record(random.Random(2), jump=12.0, rate=0.5, noise=0.2)
    for k in (5, 17, 30, 50, 66):
        values[k] += 400.0
    assert propose_offset(times, values, begins, ends).size == pytest.approx(12.0, abs=0.6)


@pytest.mark.parametrize(
    ("before", "after", "said"), [(2, 30, "before"), (0, 30, "before"), (30, 0, "after"), (30, 2, "after")]
)
def test_no_offset_without_readings_on_one_side(before, after, said):
    times = [k * DAY_S for k in range(-before, 0)] + [k * DAY_S for k in range(after)]
    found = propose_offset(times, [1.0] * len(times), 0.0, 0.0)
    assert not isinstance(found, ProposedOffset)
    assert found.code == f"replaced.{said}"


def test_few_readings_give_a_level_without_a_velocity():
    found = propose_offset([k * DAY_S for k in range(8)], [0.0] * 4 + [5.0] * 4, 4 * DAY_S, 4 * DAY_S, 0.1)
    assert (found.size, found.motion, found.is_needed) == (pytest.approx(5.0), 0.0, True)
    assert found.doubts[0] == Reason("replaced.no_pace")


def test_change_of_velocity_widens_the_error_of_the_offset():
    calm = propose_offset(*draw_record(random.Random(3), jump=10.0, rate=1.0, noise=0.1, gap=(40.0, 50.0)))
    turned = propose_offset(*draw_record(random.Random(3), jump=10.0, rate=1.0, noise=0.1, gap=(40.0, 50.0), turn=2.0))
    assert turned.error > 5.0 * calm.error
    assert abs(turned.size - 10.0) < 3.0 * turned.error


@pytest.mark.parametrize(
    ("factor", "code"),
    [
        (-1.0, "replaced.turned"),
        (1000.0, "replaced.factor"),
        (1 / 25.4, "replaced.factor"),
        (0.1, "replaced.factor"),
    ],
)
def test_sensor_with_another_unit_or_sign_is_doubted(factor, code):
    times, values, begins, ends = draw_record(random.Random(4), jump=0.0, rate=3.0, noise=0.02)
    values = [v * factor if t >= ends else v for t, v in zip(times, values, strict=True)]
    found = propose_offset(times, values, begins, ends)
    assert code in {doubt.code for doubt in found.doubts}


def test_level_in_another_unit_is_doubted():
    draw = random.Random(5)
    times = [k * DAY_S for k in range(80)]
    values = [45.0 + draw.gauss(0.0, 0.1) if k < 40 else 4.5887 + draw.gauss(0.0, 0.01) for k in range(80)]  # kPa, m
    assert propose_offset(times, values, 40 * DAY_S, 40 * DAY_S).doubts[0].code == "replaced.factor"
