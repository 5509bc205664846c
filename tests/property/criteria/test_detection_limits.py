"""The stated detection limit is true: motion beyond it raises the level in the stated time, other motion never does."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import atan, ceil, cos, degrees, sin

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitor.decision import judgements
from monitor.decision.decide import decide
from monitor.decision.judgements import DetectionLimit, SeriesJudgement, judge_series
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import from_epoch_s
from tests.data.criteria import CRITERIA, KINDS
from tests.fixtures.examples import expensive_examples

T0, DAY_S = 1.8e9, 86400.0
FASTEST = 1e5  # mm/day
NEAR = 0.02  # of the limit
ERRORS = 6.0  # standard errors that measurement shifts the limit by, at most
LONGEST = 200  # readings that a test looks at
RAMP = 12  # readings in which a value reaches its end
UNSTUCK = 1e-7  # of the motion in a window: a series at rest must not repeat one value


@dataclass(frozen=True)
class Drawn:
    """A site of one station, one criterion and one bound, and how the station moves."""

    kind: str
    interval_s: float
    intervals: float  # in the window
    bound: float
    hits: int
    more: int
    within: float | None  # intervals
    min_sigma: float
    noise: float
    fast_track: float | None
    way: str = "downslope"  # or horizontal, vertical: without a declared direction
    side: float = 1.0
    verify_step: float | None = 1e9
    jumps: bool = False  # the station moves by a single jump of the size, in the unit of the series

    @property
    def spec(self) -> SeriesSpec:
        """Return the series; no value is out of its range."""
        return SeriesSpec(
            "P",
            "displacement",
            "mm",
            self.interval_s,
            6 * self.interval_s,
            self.noise,
            self.verify_step,
            low=-1e11,
            high=1e11,
        )

    @property
    def window_s(self) -> float:
        """Return the window of the bound."""
        return self.intervals * self.interval_s

    @property
    def site(self) -> Site:
        """Return the site, with its bound on yellow."""
        azimuth = 90.0 if self.way == "downslope" else None
        point = Station("P", azimuth_deg=azimuth, plunge_deg=0.0, series=(self.spec,), v_eq_mm_per_day=1.0)
        within_s = None if self.within is None else self.within * self.interval_s
        bound = degrees(atan(self.bound)) if self.kind == "tangential_angle" else self.bound
        threshold = Threshold(1, over=bound, window_s=self.window_s)
        if self.side < 0.0:
            threshold = Threshold(1, under=-bound, window_s=self.window_s)
        criterion = Criterion(
            "c",
            KINDS[self.kind],
            ("P",),
            "displacement",
            (threshold,),
            min_sigma=self.min_sigma,
            dwell=Dwell(self.hits, self.hits + self.more, within_s),
            fast_track=self.fast_track if "fast_track" in CRITERIA[self.kind].table.model_fields else None,
        )
        levels = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
        return Site("s", "S", 46.0, 8.0, "UTC", levels, (point,), (criterion,), version="v")

    @property
    def judgement(self) -> SeriesJudgement:
        """Return what is stated about the series."""
        return judge_series(PreparedSite(self.site), self.spec, self.interval_s)

    @property
    def limit(self) -> DetectionLimit:
        """Return what is stated about its only bound."""
        return self.judgement.criteria[0].limits[0]

    def move(self, size: float, days: float) -> float:
        """Return the displacement after a time of motion of a size, in the unit of the limit."""
        if days <= 0.0:
            return 0.0
        if self.jumps:
            return size
        kind = KINDS[self.kind]
        if kind.is_level:
            return size * min(1.0, days * DAY_S / (RAMP * self.interval_s))
        return size * days * days / 2.0 if kind.per == "/day²" else size * days


# Kinds that compare a series of motion with bounds on its values, rates or accelerations.
MOTION_KINDS = tuple(name for name, kind in KINDS.items() if kind.motion and not kind.relative)
# Kinds whose bounds are rates in the unit of the series.
RATE_KINDS = tuple(name for name in MOTION_KINDS if KINDS[name].per == "/day" and KINDS[name].unit is None)
# Kinds whose bounds may be lower bounds.
UNDER_KINDS = tuple(
    name for name in MOTION_KINDS if {"over", "under"} <= getattr(CRITERIA[name].bound, "model_fields", {}).keys()
)

DRAWN = st.builds(
    Drawn,
    st.sampled_from(MOTION_KINDS),
    st.sampled_from((600.0, 3600.0, 10800.0, DAY_S, 31 * DAY_S)),
    st.sampled_from((0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0, 5.5, 6.0, 8.0, 12.0, 24.0)),
    st.sampled_from((0.5, 2.0, 20.0, 100.0)),
    st.integers(1, 5),
    st.integers(0, 3),
    st.sampled_from((None, 0.5, 1.0, 2.0, 3.0, 6.0)),
    st.sampled_from((0.0, 3.0, 5.0)),
    st.sampled_from((0.01, 0.1, 1.0, 10.0, 1e3)),
    st.sampled_from((None, 3.0, 20.0)),
    st.sampled_from(("downslope", "downslope", "horizontal", "vertical")),
    st.just(1.0),
    st.just(1e9),
)
BELOW_A_SIDE = st.builds(
    Drawn,
    st.sampled_from(UNDER_KINDS),
    st.sampled_from((3600.0, DAY_S)),
    st.sampled_from((4.0, 7.5, 24.0)),
    st.sampled_from((2.0, 100.0)),
    st.integers(1, 3),
    st.integers(0, 2),
    st.none(),
    st.just(3.0),
    st.sampled_from((0.01, 1.0)),
    st.none(),
    st.just("downslope"),
    st.just(-1.0),
    st.just(1e9),
)


def is_surveyed_height(drawn: Drawn) -> bool:
    """Return whether a station moves vertically between surveys: the stated limit is that of horizontal motion.

    The vertical is compared with the bound without subtracting the length that noise alone makes.
    """
    return drawn.kind == "survey_rate" and drawn.way == "vertical"


def list_values(drawn: Drawn, value: float) -> dict[str, float]:
    """Return the readings of an epoch at which the station has moved by a value."""
    if drawn.way == "downslope":
        return {"displacement_downslope": value}
    if drawn.way == "vertical":
        return {"displacement_east": 0.0, "displacement_north": 0.0, "displacement_up": value}
    return {
        "displacement_east": value * cos(0.5),
        "displacement_north": value * sin(0.5),
        "displacement_up": 0.0,
    }


def find_raised_s(
    drawn: Drawn, size: float, for_s: float, *, noise: float = 0.0, seed: int = 0, phase: float = 0.0
) -> float | None:
    """Return how long after its start motion raises a level; None where it raises none in a time.

    A record at rest of twice the window, and enough readings to know the series, goes before. The motion starts a
    share of an interval after a reading.
    """
    rng = random.Random(seed)
    prepared = PreparedSite(drawn.site)
    memory, warm = Memory(), EvaluationCache()
    rest = ceil(2.0 * drawn.window_s / drawn.interval_s) + 30
    start_s = (rest + phase) * drawn.interval_s
    kept = rest + 30
    tiny = UNSTUCK * max(abs(size), drawn.bound) * max(drawn.interval_s / DAY_S, 1e-3)
    readings: dict[str, tuple[Reading, ...]] = {}
    for i in range(rest + 1 + ceil(for_s / drawn.interval_s)):
        at_s = i * drawn.interval_s
        at = from_epoch_s(T0 + at_s)
        moved = drawn.move(size, (at_s - start_s) / DAY_S)
        for quantity, value in list_values(drawn, moved).items():
            measured = value + rng.gauss(0.0, noise) + tiny * (i * 7 % 5)
            name = f"P.{quantity}"
            readings[name] = (*readings.get(name, ()), Reading(at, at, 0, measured, 0.0, measured, None, ()))[-kept:]
        if i < rest:
            continue
        newest = dict.fromkeys(readings, NewestEpoch(T0 + at_s, T0 + at_s))
        decision = decide(prepared, memory, DecisionInputs(dict(readings), newest), at, warm)
        memory = decision.memory
        if decision.level > 0:
            return at_s - start_s
    return None


def watch_s(drawn: Drawn) -> float:
    """Return how long motion is watched that must raise nothing."""
    return 2.0 * drawn.window_s + (drawn.hits + drawn.more + RAMP + 2) * drawn.interval_s


def allowed_s(drawn: Drawn, limit: DetectionLimit) -> float:
    """Return the stated time, for a value from the start of the ramp that leads to it."""
    ramp_s = RAMP * drawn.interval_s if KINDS[drawn.kind].is_level else 0.0
    return (limit.decides_within_s or 0.0) + ramp_s


def check_motion_beyond_is_raised_in_time(drawn: Drawn, phase: float) -> None:
    limit = drawn.limit
    assert limit.missed is not None
    size = limit.missed * (1.0 + NEAR)
    after_s = find_raised_s(drawn, size, allowed_s(drawn, limit) + drawn.interval_s, phase=phase)
    assert after_s is not None, (drawn, limit)
    assert after_s <= allowed_s(drawn, limit) + 1e-6, (drawn, limit, after_s)


def check_other_motion_raises_nothing(drawn: Drawn, phase: float) -> None:
    limit = drawn.limit
    sizes = [FASTEST, 0.01 * FASTEST] if limit.missed is None else [limit.missed * (1.0 - NEAR)]
    if limit.missed is not None and drawn.way == "downslope" and drawn.kind != "survey_rate":  # it has no direction
        sizes.append(-4.0 * limit.missed)
    for size in sizes:
        assert find_raised_s(drawn, size, watch_s(drawn), phase=phase) is None, (drawn, limit, size)


# Most drawn bounds cannot be reached. Drawing one is cheap, so the others are filtered out.
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(drawn=DRAWN | BELOW_A_SIDE, phase=st.sampled_from((0.0, 0.3, 0.99)))
def test_motion_beyond_the_limit_raises_the_level_in_time(drawn, phase):
    assume(drawn.limit.missed is not None and allowed_s(drawn, drawn.limit) < LONGEST * drawn.interval_s)
    check_motion_beyond_is_raised_in_time(drawn, phase)


@expensive_examples(30, deadline=None)
@given(drawn=DRAWN | BELOW_A_SIDE, phase=st.sampled_from((0.0, 0.3, 0.99)))
def test_motion_within_the_limit_and_the_other_way_raises_nothing(drawn, phase):
    assume(not is_surveyed_height(drawn))
    check_other_motion_raises_nothing(drawn, phase)


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(drawn=DRAWN, seed=st.integers(0, 1000))
def test_errors_of_measurement_shift_the_limit_by_a_few_of_its_errors(drawn, seed):
    limit = drawn.limit
    # Whoever asks for no sureness leaves the decision to chance.
    assume(limit.missed is not None and drawn.min_sigma > 0.0 and drawn.kind != "level")
    after_s = find_raised_s(
        drawn, limit.missed + ERRORS * limit.error, watch_s(drawn), noise=0.7 * drawn.noise, seed=seed
    )
    assert after_s is not None, (drawn, limit)
    slower = limit.missed - ERRORS * limit.error
    if slower > 0.0:
        noise = 0.3 * drawn.noise
        assert find_raised_s(drawn, slower, watch_s(drawn), noise=noise, seed=seed) is None, (drawn, limit)


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(drawn=DRAWN, factor=st.sampled_from((1.5, 4.0, 12.0)))
def test_a_level_that_counts_as_reachable_is_reached_by_ten_times_its_bound(drawn, factor):
    limit = drawn.limit
    assume(not limit.is_unreachable and allowed_s(drawn, limit) < LONGEST * drawn.interval_s)
    assert limit.missed is not None
    slack = 1.0 + NEAR if drawn.way == "downslope" else 1.5
    size = max(limit.missed * factor, judgements.FAR_BEYOND_BOUND * drawn.bound * slack)
    assert find_raised_s(drawn, size, allowed_s(drawn, limit)) is not None, (drawn, limit)


@pytest.mark.parametrize("hours", [1.0, 6.0, 24.0])
def test_a_default_limit_of_steps_delays_no_motion(hours):
    drawn = Drawn("velocity", 3600.0 * hours, 7.0, 20.0, 2, 1, None, 3.0, 0.1, None, verify_step=None)
    check_motion_beyond_is_raised_in_time(drawn, 0.5)
    check_other_motion_raises_nothing(drawn, 0.5)


FORGOTTEN: dict[str, tuple[Drawn, Callable[..., float] | int]] = {
    "ceil": (Drawn("velocity", 3600.0, 2.0, 20.0, 1, 0, None, 3.0, 0.01, None), lambda _: 1000),
    "floor": (Drawn("velocity", 3600.0, 6.0, 20.0, 3, 0, 1.0, 3.0, 0.01, None), lambda _: 1000),
    "find_error": (Drawn("velocity", 3600.0, 6.0, 2.0, 1, 0, None, 3.0, 1.0, None), lambda *_: 0.0),
    "add_noise": (
        Drawn("velocity", 3600.0, 6.0, 20.0, 1, 0, None, 3.0, 1.0, None, way="horizontal"),
        lambda length, *_: length,
    ),
    "MIN_VALUE_EPOCHS": (Drawn("level", 3600.0, 1.0, 20.0, 1, 0, None, 3.0, 0.01, None), 1),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_forgotten_cause_is_found(name, monkeypatch):
    """Without readings in the window, dwell, noise, free direction or the second value, a statement is false."""
    drawn, replacement = FORGOTTEN[name]
    check_other_motion_raises_nothing(drawn, 0.3)
    monkeypatch.setattr(judgements, name, replacement)
    with pytest.raises(AssertionError):
        check_motion_beyond_is_raised_in_time(drawn, 0.3)


def find_jump_raised(drawn: Drawn, size: float, phase: float) -> float | None:
    """Return when a single jump, at rest before and after it, raises a level; None where it raises none."""
    return find_raised_s(replace(drawn, jumps=True), size, watch_s(drawn), phase=phase)


@pytest.mark.soak
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DRAWN.filter(lambda drawn: drawn.kind in RATE_KINDS), st.floats(0.0, 0.98))
def test_a_jump_within_the_stated_size_raises_nothing(drawn, share):
    limit = drawn.limit
    assume(not limit.is_unreachable and limit.missed is not None)
    size = share * (min(FASTEST, limit.missed_jump))
    assert find_jump_raised(drawn, size, 0.5) is None


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DRAWN, st.floats(1.0, 1e3), st.floats(0.0, 0.9))
def test_no_motion_raises_a_level_before_the_stated_number_of_readings(drawn, faster, phase):
    limit = drawn.limit
    assume(not limit.is_unreachable and limit.missed is not None and limit.decides_within_s is not None)
    size = faster * max(abs(limit.missed), 1e-3)
    raised_s = find_raised_s(drawn, size, limit.decides_within_s, phase=phase)
    assume(raised_s is not None)
    readings = raised_s / drawn.interval_s + phase
    assert readings >= limit.least_readings - 1e-6


def test_two_surveys_show_a_jump_beyond_the_stated_size():
    drawn = Drawn("survey_rate", 31 * DAY_S, 3.0, 2.0, 1, 0, None, 3.0, 1.0, None)
    assert drawn.limit.missed_jump == pytest.approx(62.0)
    assert find_jump_raised(drawn, 63.0, 0.5) is not None
    assert find_jump_raised(drawn, 61.0, 0.5) is None
