"""A series that repeats one value for too long is stuck, even without a stated noise. A coarse instrument is not."""

import random

from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.readings.cleaned.noise import RepeatedValues
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from tests.data.criteria import KINDS
from tests.tables import tabulated

T0 = epoch_s(parse_time("2026-01-01T00:00:00Z"))
H = 3600.0
STUCK = "health:E1.crack_opening:stuck"
LEVELS = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
PLAIN = SeriesSpec("E1", "crack_opening", "mm", H, 6 * H)


def noisy(count, sigma=0.3, seed=1, digits=6):
    dice = random.Random(seed)
    return [round(dice.gauss(0.0, sigma), digits) for _ in range(count)]


def is_stuck(values, spec):
    repeated = RepeatedValues(spec, 1)
    repeated.extend(values)
    return repeated.is_stuck(values)


def decide_hourly(values, spec=PLAIN, seen=48):
    """Decisions at each reading, on a window of so many, each with the memory of the one before."""
    point = Station("E1", series=(spec,))
    rate = Criterion("r", KINDS["rate"], ("E1",), "crack_opening", (Threshold(1, over=6.0, window_s=12 * H),))
    site = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (point,), (rate,), version="v")
    rows = [
        Reading(from_epoch_s(T0 + i * H), from_epoch_s(T0 + i * H), 0, v, 0.0, v, None, ())
        for i, v in enumerate(values)
    ]
    memory = Memory()
    for i in range(seen, len(rows) + 1):
        now = rows[i - 1].observed_at
        inputs = DecisionInputs(
            {"E1.crack_opening": tuple(rows[i - seen : i])},
            {"E1.crack_opening": NewestEpoch(epoch_s(now), epoch_s(now))},
        )
        decision = decide(PreparedSite(site), memory, inputs, now)
        memory = decision.memory
        yield decision


def test_stuck_series_without_a_stated_noise_has_no_vote_and_lowers_no_level():
    still = noisy(60)
    *_, last = looks = list(decide_hourly([*still, *still[-1:] * 72]))
    found = [STUCK in d.memory.conditions for d in looks]
    assert found.index(True) == 60 - 48 + 5, "the sixth equal reading"
    assert all(found[found.index(True) :]), "its noise has left the window, and it is as stuck as before"
    assert (last.health[0].state, last.health[0].votes) == ("stuck", False)
    *_, well = decide_hourly([*still, *still[-1:] * 72, 0.1])
    assert STUCK not in well.memory.conditions
    moving = [0.5 * i + error for i, error in enumerate(noisy(60))]
    *_, before = decide_hourly(moving)
    *_, after = decide_hourly([*moving, *moving[-1:] * 72])
    assert (before.level, after.level) == (1, 1)


@tabulated(
    "values",
    [
        [*[round(0.37 * i, 1) for i in range(48)], *[17.4] * 72],
        [round(v, 1) for v in noisy(400, sigma=0.06)],
        [*[0.0] * 60, 0.1, *[0.1] * 60],
        [round(v, 1) + 2.0 * (i > 200) for i, v in enumerate(noisy(400, sigma=0.1))],
        [0.3] * 100,
        [round(0.02 * i, 1) for i in range(300)],
    ],
)
def test_gauge_that_reads_tenths_is_not_stuck(values):
    found = [n for n in range(len(values)) if is_stuck([(v,) for v in values[max(0, n - 60) : n]], PLAIN)]
    assert found == []


def test_sixth_equal_value_of_a_noisy_series_is_stuck():
    values = [(v,) for v in noisy(60)]
    assert is_stuck([*values, *[(0.5,)] * 6], PLAIN)
    assert not is_stuck([*values, *[(0.5,)] * 5], PLAIN)


def test_coarse_gauge_temperature_and_typed_values_are_not_stuck():
    gauge = SeriesSpec("E1", "crack_opening", "mm", H, 6 * H, noise_floor=0.08)
    rounded = [(round(v, 1),) for v in noisy(400, sigma=0.08)]
    assert not any(is_stuck(rounded[max(0, n - 60) : n], gauge) for n in range(26, 400))
    assert is_stuck([(0.1,)] * 6, gauge), "nothing is known of it yet but its noise"
    still = [(v,) for v in (*noisy(40), *[0.1] * 40)]
    assert is_stuck(still, PLAIN)
    assert not is_stuck(still, SeriesSpec("E1", "temperature", "degC", H, 6 * H))
    typed = SeriesSpec("E1", "crack_opening", "mm", H, 6 * H, noise_floor=0.1, by_hand=True)
    assert not is_stuck([(0.3,)] * 30, typed)


def list_runs(values, spec=PLAIN):
    vectors = [v if isinstance(v, tuple) else (v,) for v in values]
    repeated = RepeatedValues(spec, len(vectors[0]))
    repeated.extend(vectors)
    return repeated.list_runs(vectors)


def test_short_run_proves_no_rest_once_the_share_of_repeats_is_known():
    values = noisy(200)
    assert list_runs([*values, *values[-1:] * 2]) == []
    assert list_runs([*values, *values[-1:] * 3]) == [(199, 202)]
    assert list_runs([*values, *values[-1:] * 3, 0.7]) == [], "it was no more than doubtful"


def test_stuck_run_is_listed_after_it_ended():
    values = noisy(100)
    assert list_runs([*values, *values[-1:] * 9, *noisy(30, seed=2)]) == [(99, 108)]


def test_same_runs_are_found_in_pieces_or_at_once():
    values = [(v,) for v in [*noisy(60), *[0.5] * 9, *noisy(60, seed=3, digits=1), *[0.3] * 20]]
    repeated = RepeatedValues(PLAIN, 1)
    for n in range(1, len(values) + 1):
        repeated.extend(values[:n])
        together = RepeatedValues(PLAIN, 1)
        together.extend(values[:n])
        assert repeated.list_runs(values[:n]) == together.list_runs(values[:n])
        assert repeated.is_stuck(values[:n]) == is_stuck(values[:n], PLAIN)


def test_repeating_component_is_found_beside_changing_ones():
    east, north = noisy(60), noisy(80, seed=2)
    frozen = [*east, *east[-1:] * 20]
    assert list_runs(list(zip(frozen, north, strict=True))) == [(59, 79)]
    assert list_runs([(0.0, v) for v in north]) == [], "a publisher that sends no height sends zero"
