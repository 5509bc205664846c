"""What is said of a level is true: one that can be reached is reached by motion, one that cannot by none whatever."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from math import atan, degrees

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitor.decision.criteria import reachable
from monitor.decision.criteria.reachable import Barrier
from monitor.decision.criteria.table import KINDS
from monitor.decision.decide import decide
from monitor.decision.series.assessment import EvaluationCache
from monitor.domain.decision import Decision, DecisionInputs, Memory, NewestEpoch, instant
from monitor.domain.observation import Reading
from monitor.domain.site import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold

T0, DAY_S = 1.8e9, 86400.0
FASTEST = 1e5  # mm/day
WITHIN_REACH = 20.0  # times its bound


@dataclass(frozen=True)
class Drawn:
    """A site of one station and one bound."""

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

    @property
    def series(self) -> SeriesSpec:
        """Its series; nothing that it says is out of range or a step."""
        return SeriesSpec(
            "P", "displacement", "mm", self.interval_s, 6 * self.interval_s, self.noise, 1e9, low=-1e11, high=1e11
        )

    @property
    def site(self) -> Site:
        """With one bound, on yellow."""
        point = Station("P", azimuth_deg=90.0, plunge_deg=0.0, series=(self.series,), v_eq_mm_per_day=1.0)
        within_s = None if self.within is None else self.within * self.interval_s
        over = degrees(atan(self.bound)) if self.kind == "tangential_angle" else self.bound
        criterion = Criterion(
            "c",
            KINDS[self.kind],
            ("P",),
            "displacement",
            (Threshold(1, over=over, window_s=self.intervals * self.interval_s),),
            min_sigma=self.min_sigma,
            dwell=Dwell(self.hits, self.hits + self.more, within_s),
            fast_track=self.fast_track if self.kind in {"velocity", "rate"} else None,
        )
        levels = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
        return Site("s", "S", 46.0, 8.0, "UTC", levels, (point,), (criterion,), version="v")

    @property
    def barrier(self) -> Barrier | None:
        """What is said of its bound."""
        found = reachable.find_barriers(self.site.criteria[0], self.site.stations[0], self.series, self.interval_s)
        return found[1] if 1 in found and found[1].is_shut else None


DRAWN = st.builds(
    Drawn,
    st.sampled_from(("velocity", "rate", "tangential_angle", "acceleration")),
    st.sampled_from((600.0, 3600.0, 10800.0, DAY_S)),
    st.sampled_from((0.5, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0, 5.5, 6.0, 8.0, 12.0, 24.0)),
    st.sampled_from((0.5, 2.0, 20.0, 100.0)),
    st.integers(1, 5),
    st.integers(0, 3),
    st.sampled_from((None, 0.5, 1.0, 2.0, 3.0, 6.0)),
    st.sampled_from((0.0, 3.0, 5.0)),
    st.sampled_from((0.01, 0.1, 1.0, 10.0, 1e3, 1e6)),
    st.sampled_from((None, 3.0)),
)


def play(site: Site, moved: Callable[[float], float], noise: float, seed: int, interval_s: float) -> list[Decision]:
    """Decide at every reading of a motion (mm, by days) that nothing keeps back but the noise."""
    rng, memory, warm, found = random.Random(seed), Memory(), EvaluationCache(), []
    window_s = site.criteria[0].thresholds[0].window_s or DAY_S
    first, kept = int(window_s / interval_s) - 1, int(2 * window_s / interval_s) + 30
    readings: list[Reading] = []
    for i in range(first + 24):
        at, value = instant(T0 + i * interval_s), moved(i * interval_s / DAY_S) + rng.gauss(0.0, noise)
        readings = [*readings, Reading(at, at, 0, value, 0.0, value, None, ())][-kept:]
        now_s = T0 + i * interval_s
        if i < first:
            continue
        view = DecisionInputs(
            {"P.displacement_downslope": tuple(readings)}, {"P.displacement_downslope": NewestEpoch(now_s, now_s)}
        )
        found.append(decide(site, memory, view, instant(now_s), warm))
        memory = found[-1].memory
    return found


def highest(drawn: Drawn, size: float, seed: int, noise: float) -> int:
    """The highest level that a steady velocity (acceleration where that is judged) reaches."""
    bend = drawn.kind == "acceleration"
    looks = play(
        drawn.site, lambda days: size * days * days / 2.0 if bend else size * days, noise, seed, drawn.interval_s
    )
    return max(d.level for d in looks)


def check_what_can_be_reached_is(drawn: Drawn, seed: int) -> None:
    if drawn.barrier is None:
        noise = drawn.noise if drawn.min_sigma else 0.0  # who asks for no sureness leaves it to chance
        assert highest(drawn, WITHIN_REACH * drawn.bound, seed, noise) == 1, drawn


def check_nothing_else_is(drawn: Drawn, seed: int) -> None:
    """Where noise stands before the bound, motion of so many times the bound does not reach it; else none does."""
    if (barrier := drawn.barrier) is not None:
        fastest = 0.5 * reachable.MANY * drawn.bound if barrier.reason.id == "reachable.noise" else FASTEST
        for size in {min(WITHIN_REACH * drawn.bound, fastest), fastest}:
            assert highest(drawn, size, seed, 0.3 * drawn.noise) == 0, (drawn, size)


# Most drawn bounds cannot be reached. Drawing one is cheap, so the others are filtered out.
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(drawn=DRAWN, seed=st.integers(0, 1000))
def test_a_level_that_can_be_reached_is_reached(drawn, seed):
    assume(drawn.barrier is None)
    check_what_can_be_reached_is(drawn, seed)


@hypothesis_settings(max_examples=20, deadline=None)
@given(drawn=DRAWN, seed=st.integers(0, 1000))
def test_a_level_that_cannot_be_reached_is_reached_by_no_motion(drawn, seed):
    assume(drawn.barrier is not None)
    check_nothing_else_is(drawn, seed)


FORGOTTEN = {
    "ceil": Drawn("velocity", 3600.0, 2.0, 20.0, 1, 0, None, 3.0, 0.01, None),
    "floor": Drawn("velocity", 3600.0, 6.0, 20.0, 3, 0, 1.0, 3.0, 0.01, None),
    "find_error": Drawn("velocity", 3600.0, 6.0, 2.0, 1, 0, None, 3.0, 1e3, None),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_forgotten_cause_is_found(name, monkeypatch):
    """Without the readings in the window, the dwell or the noise, what cannot be reached is said to be reached."""
    drawn = FORGOTTEN[name]
    assert drawn.barrier is not None
    check_nothing_else_is(drawn, 1)
    monkeypatch.setattr(reachable, name, lambda *_: 0.0 if name == "find_error" else 1000)
    with pytest.raises(AssertionError):
        check_what_can_be_reached_is(drawn, 1)
