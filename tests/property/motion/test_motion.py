"""A slope does not know where north is: levels stay when a site is turned, and noise raises none in any direction.
Levels neither rise nor fall on noise: laws over drawn sites whose instruments begin to scatter, with mutants.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import cos, inf, radians, sin

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitor.decision import decide as decide_module
from monitor.decision.criteria import motion_components, rates
from monitor.decision.criteria.kinds.forecast import find_velocity_quantiles
from monitor.decision.criteria.rates import assess_rates
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, ForecastFact, Memory, Step
from monitor.decision.series import paired_steps, step_fates
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.decision.series.step_fates import continues_as_motion
from monitor.readings.cleaned import tracks
from monitor.readings.cleaned.noise import ACCEPTANCE_EPOCHS, BURST_FACTOR, CALM_FACTOR, find_burst
from monitor.readings.cleaned.tracks import Track
from monitor.readings.records import Reading
from monitor.sites.criteria.registry import load_criteria
from monitor.sites.records import Criterion, Dwell, Level, SeriesSpec, Site, Station, Threshold, find_recovery_limit
from monitor.text.instants import from_epoch_s
from tests.data.criteria import KINDS
from tests.property.alerting_histories import Motion, levels, quiet, run
from tests.property.motion.scattering_sites import draw_scattering, levels_after, play_scattering
from tests.tables import tabulated

DAY_S, STEP_S, T0 = 86400.0, 6 * 3600.0, 1.8e9
EPOCHS = 40
END_S = T0 + (EPOCHS - 1) * STEP_S
SPEC = SeriesSpec("P", "displacement", "mm", STEP_S, 4 * STEP_S)
Rows = Sequence[tuple[float, float, float]]
DWELL = Dwell(2, 3)


def judged(kind: str, *bounds: tuple[float, float]) -> Criterion:
    thresholds = tuple(Threshold(k, over=over, window_s=days * DAY_S) for k, (over, days) in enumerate(bounds, 1))
    return Criterion(kind[0], KINDS[kind], ("P",), "displacement", thresholds, dwell=DWELL)


CRITERIA = {
    "velocity": (load_criteria()["velocity"], judged("velocity", (2.0, 6), (20.0, 2))),
    "acceleration": (load_criteria()["acceleration"], judged("acceleration", (1.0, 6))),
    "tangential_angle": (load_criteria()["tangential_angle"], judged("tangential_angle", (45.0, 6), (85.0, 3))),
}


def make_site(azimuth_deg: float | None, criterion: Criterion, plunge_deg: float | None = 30.0) -> Site:
    plunge = None if azimuth_deg is None else plunge_deg
    point = Station("P", azimuth_deg=azimuth_deg, plunge_deg=plunge, series=(SPEC,), v_eq_mm_per_day=2.0)
    levels = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
    return Site("s", "S", 46.0, 8.0, "UTC", levels, (point,), (criterion,), version="v")


def read(values: Iterable[float], sigma: float | None = None) -> tuple[Reading, ...]:
    times = (from_epoch_s(T0 + i * STEP_S) for i in range(EPOCHS))
    return tuple(Reading(at, at, 0, v, 0.0, v, sigma, ()) for at, v in zip(times, values, strict=False))


def turn(rows: Rows, angle_deg: float) -> Rows:
    c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
    return [(e * c + n * s, n * c - e * s, u) for e, n, u in rows]


def draw_rows(seed: int, noise: float, speed: float, bend: float, azimuth_deg: float) -> Rows:
    rng, found = random.Random(seed), []
    a, p = radians(azimuth_deg), radians(30.0)
    for i in range(EPOCHS):
        days = i * STEP_S / DAY_S
        moved = speed * days + bend * days * days / 2.0
        way = (sin(a) * cos(p), cos(a) * cos(p), -sin(p))
        e, n, u = (moved * w + rng.gauss(0.0, noise * k) for w, k in zip(way, (1.0, 1.0, 2.0), strict=True))
        found.append((e, n, u))
    return found


def judge(
    kind: str, rows: Rows, azimuth_deg: float | None, sigma: float | None = None, plunge_deg: float | None = 30.0
) -> Assessment:
    entry, criterion = CRITERIA[kind]
    axes = enumerate(("east", "north", "up"))
    readings = {f"P.displacement_{name}": read((row[k] for row in rows), sigma) for k, name in axes}
    windows = DecisionContext(
        PreparedSite(make_site(azimuth_deg, criterion, plunge_deg)), DecisionInputs(readings), Memory(), END_S
    )
    (word,) = entry.rule(criterion, windows)
    return word


def is_near_a_bound(word: Assessment, figure: str) -> bool:
    """Within one standard error of a bound, or of being real."""
    return any(
        abs(f[figure] - f["bound"]) <= f["error"] or abs(abs(f[figure]) - 3.0 * f["error"]) <= f["error"]
        for f in word.facts["bounds"]
        if figure in f
    )


def check_levels_stay(
    kind: str, rows: Rows, angle_deg: float, azimuth_deg: float | None, plunge_deg: float | None = 30.0
) -> None:
    before = judge(kind, rows, azimuth_deg, plunge_deg=plunge_deg)
    turned = None if azimuth_deg is None else (azimuth_deg + angle_deg) % 360.0
    after = judge(kind, turn(rows, angle_deg), turned, plunge_deg=plunge_deg)
    if is_near_a_bound(before, "acceleration" if kind == "acceleration" else "rate"):
        return
    assert (before.raise_level, before.hold_level) == (after.raise_level, after.hold_level), (before, after)
    assert set(before.undecided) == set(after.undecided)


@pytest.mark.parametrize("kind", list(CRITERIA))
@hypothesis_settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    noise=st.floats(0.1, 5.0),
    speed=st.sampled_from((0.0, 1.0, 5.0, 30.0, -30.0)),
    bend=st.sampled_from((0.0, 4.0)),
    heading=st.floats(0.0, 360.0),
    angle=st.floats(0.0, 360.0),
    error=st.sampled_from((0.0, 0.0, 90.0, 130.0)),
    is_declared=st.booleans(),
    plunge=st.sampled_from((30.0, None)),
)
def test_levels_stay_when_a_site_is_turned(kind, seed, noise, speed, bend, heading, angle, error, is_declared, plunge):
    rows = draw_rows(seed, noise, speed, bend, heading)
    check_levels_stay(kind, rows, angle, (heading + error) % 360.0 if is_declared else None, plunge)


@pytest.mark.parametrize(("kind", "level"), [("velocity", 2), ("tangential_angle", 2), ("acceleration", 1)])
def test_motion_towards_any_side_reaches_the_level(kind, level):
    for heading in range(0, 360, 30):
        rows = draw_rows(heading, 1.0, 40.0, 6.0, heading)
        word = judge(kind, rows, None)
        assert word.raise_level == level, (heading, word.reason)
        assert "horizontal speed, because the site file has no azimuth" in word.reason
        assert judge(kind, rows, heading).raise_level == level


def test_a_rule_that_takes_north_for_downslope_is_caught(monkeypatch):
    turned = replace(make_site(0.0, CRITERIA["velocity"][1]).stations[0], plunge_deg=None)
    original = tracks.compute_unit_vector
    monkeypatch.setattr(
        tracks, "compute_unit_vector", lambda station, count: original(station, count) or original(turned, count)
    )
    with pytest.raises(AssertionError):
        check_levels_stay("velocity", draw_rows(1, 1.0, 30.0, 0.0, 10.0), 170.0, None)


@pytest.mark.parametrize("kind", list(CRITERIA))
def test_motion_against_the_declared_direction_is_a_question(kind):
    word = judge(kind, draw_rows(1, 1.0, 40.0, 6.0, 200.0), 20.0)
    assert word.raise_level == 0
    assert word.undecided
    for text in word.undecided.values():
        assert "against the declared direction, over " in text
        assert "either the direction of the station (azimuth_deg) in the site file or the instrument is wrong" in text
    assert "against the declared direction" in word.reason
    assert "not surely" not in word.reason
    assert not judge(kind, draw_rows(1, 1.0, 0.0, 0.0, 200.0), 20.0).undecided


@pytest.mark.parametrize("turned", [80.0, 90.0, 260.0, 280.0])
def test_motion_across_the_declared_direction_is_a_question(turned):
    word = judge("velocity", draw_rows(1, 1.0, 40.0, 0.0, 120.0), (120.0 + turned) % 360.0, plunge_deg=0.0)
    assert word.raise_level == 0 or turned in {80.0, 280.0}
    assert word.undecided
    assert " across the declared direction, over 20 " in word.undecided[2]
    for text in word.undecided.values():
        assert "either the direction of the station (azimuth_deg) in the site file or the instrument is wrong" in text
    assert not judge("velocity", draw_rows(1, 1.0, 0.0, 0.0, 120.0), 30.0, plunge_deg=0.0).undecided


def test_motion_well_along_the_declared_direction_asks_nothing():
    for error in (-30.0, 0.0, 30.0):
        assert not judge("velocity", draw_rows(2, 1.0, 40.0, 0.0, 120.0), 120.0 + error).undecided


@tabulated("sign", [1.0, -1.0])
@tabulated("kind", list(CRITERIA))
def test_an_azimuth_alone_hides_no_vertical_motion(kind, sign):
    rows = [(e, n, u + sign * (5.0 * i + 0.2 * i * i)) for i, (e, n, u) in enumerate(draw_rows(3, 0.5, 0.0, 0.0, 0.0))]
    word = judge(kind, rows, 75.0, plunge_deg=None)
    assert word.raise_level == len(CRITERIA[kind][1].thresholds)
    assert "vertical rate, up or down, because the site file has no plunge" in word.reason
    assert judge(kind, rows, 75.0, plunge_deg=0.0).raise_level == 0


def test_motion_up_or_down_across_a_declared_plunge_is_a_question():
    rows = [(e, n, u - 10.0 * i) for i, (e, n, u) in enumerate(draw_rows(3, 0.5, 0.0, 0.0, 0.0))]
    word = judge("velocity", rows, 75.0, plunge_deg=0.0)
    assert (word.raise_level, "across the declared direction" in word.reason, set(word.undecided)) == (0, True, {1, 2})


def test_a_single_series_that_goes_backwards_is_a_question_as_well():
    rows = read((-6.0 * i for i in range(EPOCHS)), 0.5)
    entry, criterion = CRITERIA["velocity"]
    windows = DecisionContext(
        PreparedSite(make_site(20.0, criterion)), DecisionInputs({"P.displacement": rows}), Memory(), END_S
    )
    (word,) = entry.rule(criterion, windows)
    assert word.reason == "velocity -24.00 ± 0.06 mm/day in 6d, over 2 mm/day against the declared direction"
    assert word.undecided[2].startswith("the station moves 24 ± ")
    assert (
        "over 20 mm/day: either the sign of the series in the site file or the instrument is wrong" in word.undecided[2]
    )


def count_levels(seed: int, n: int, stated: float, up: float, min_sigma: float, bound: float) -> tuple[int, int]:
    """How many of 150 windows of white noise cross a bound: along a declared direction, and without one."""
    rng, found = random.Random(seed), [0, 0]
    times = tuple(T0 + i * STEP_S for i in range(n))
    spread = sum(((i - (n - 1) / 2.0) * STEP_S / DAY_S) ** 2 for i in range(n)) ** 0.5
    bounds = (Threshold(1, over=bound / spread, window_s=(n - 1) * STEP_S + 1.0),)
    rules = {"min_sigma": min_sigma, "dwell": Dwell()}
    criterion = Criterion("v", KINDS["velocity"], ("P",), "displacement", bounds, **rules)
    windows = DecisionContext(PreparedSite(make_site(0.0, criterion)), DecisionInputs(), Memory(), times[-1])
    for _ in range(150):
        values = tuple((rng.gauss(0.0, 1.0), rng.gauss(0.0, 1.0), rng.gauss(0.0, up)) for _ in times)
        sigmas = ((stated, stated, stated * up),) * n
        track = Track("P", "x", times, times, values, sigmas, tuple(v[1] for v in values), (stated,) * n)
        for k, is_directed in enumerate((True, False)):
            one = replace(track, unit_vector=(0.0, 1.0, 0.0) if is_directed else None, fits={})
            found[k] += assess_rates(criterion, one, SPEC, windows).raise_level
    return found[0], found[1]


def check_noise(seeds: range) -> None:
    """Noise raises a level no more often without a declared direction than along one."""
    draw, signed, free = random.Random(5).choice, 0, 0
    for seed in seeds:
        n = int(draw((4, 5, 6, 8, 12, 24)))
        one, other = count_levels(seed, n, draw((0.0, 0.3, 1.0)), 1.0, draw((1.0, 2.0, 3.0)), draw((0.01, 0.5, 1.5)))
        signed, free = signed + one, free + other
    assert signed > 50, "noise that never crosses says nothing"
    assert free <= signed + 3.0 * (2.0 * signed) ** 0.5, (signed, free)


def test_a_noisy_up_drowns_no_motion_on_the_map():
    rng = random.Random(2)
    rows = [(e, n, u + rng.gauss(0.0, 300.0)) for e, n, u in draw_rows(2, 1.0, 30.0, 0.0, 200.0)]
    word = judge("velocity", rows, None)
    assert (word.raise_level, word.facts["bounds"][1]["way"]) == (2, "horizontal")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_motion_up_or_down_alone_reaches_the_level(sign):
    rows = [(e, n, u + sign * 10.0 * i) for i, (e, n, u) in enumerate(draw_rows(3, 1.0, 0.0, 0.0, 0.0))]
    word = judge("velocity", rows, None)
    assert word.raise_level == 2
    assert "vertical rate, up or down" in word.reason


def test_a_speed_has_no_side_that_a_bound_below_nothing_could_miss():
    bounds = (Threshold(1, under=-2.0, window_s=6 * DAY_S),)
    criterion = Criterion("r", KINDS["rate"], ("P",), "displacement", bounds, dwell=DWELL)
    rows = draw_rows(4, 1.0, 30.0, 0.0, 250.0)
    site = make_site(None, criterion)
    readings = {f"P.displacement_{name}": read(r[k] for r in rows) for k, name in enumerate(("east", "north"))}
    windows = DecisionContext(PreparedSite(site), DecisionInputs(readings), Memory(), END_S)
    assert assess_rates(criterion, windows.track(criterion, "P"), SPEC, windows).raise_level == 1


def expect(name: str, value: float) -> ForecastFact:
    half, quantity = 2.0, f"displacement_{name}"
    fan = (value - half, value, value + half)
    outer = {"q025": value - 2 * half, "q975": value + 2 * half}
    return ForecastFact("P", quantity, END_S, END_S + DAY_S, DAY_S, *fan, 0.0, "auto", shown=True, **outer)


def foresee(
    heading_deg: float, azimuth_deg: float | None, up: float = 0.0, plunge_deg: float | None = 0.0, speed: float = 30.0
) -> Assessment:
    a = radians(heading_deg)
    moves = {"east": speed * sin(a), "north": speed * cos(a), "up": up}
    rows = tuple(expect(name, value) for name, value in moves.items())
    bounds = (Threshold(1, over=15.0, window_s=DAY_S, probability=0.5),)
    criterion = Criterion("f", KINDS["forecast"], ("P",), "displacement", bounds)
    site = make_site(azimuth_deg, criterion, plunge_deg)
    windows = DecisionContext(PreparedSite(site), DecisionInputs(forecasts=rows), Memory(), END_S)
    (word,) = load_criteria()["forecast"].rule(criterion, windows)
    return word


@hypothesis_settings(max_examples=25, deadline=None)
@given(heading=st.floats(0.0, 360.0), angle=st.floats(0.0, 360.0))
def test_a_forecast_reaches_its_level_towards_any_side(heading, angle):
    assert foresee(heading, heading).raise_level == 1
    assert foresee((heading + angle) % 360.0, (heading + angle) % 360.0).raise_level == 1
    assert (foresee(heading, None).raise_level, foresee((heading + angle) % 360.0, None).raise_level) == (1, 1)
    assert foresee(heading, (heading + 180.0) % 360.0).raise_level == 0


def test_a_forecast_follows_the_declared_plunge_and_without_one_the_vertical_either_way():
    assert foresee(80.0, 80.0, up=-20.0, plunge_deg=60.0, speed=12.0).raise_level == 1
    assert foresee(80.0, 80.0, up=20.0, plunge_deg=60.0, speed=12.0).raise_level == 0
    for up in (-30.0, 30.0):
        assert foresee(80.0, 80.0, up=up, plunge_deg=None, speed=0.0).raise_level == 1
        assert foresee(80.0, 80.0, up=up, plunge_deg=0.0, speed=0.0).raise_level == 0


def test_a_forecast_of_sinking_ground_counts_without_a_direction():
    still = replace(make_site(None, CRITERIA["velocity"][1]).stations[0])
    row = expect("up", -30.0)
    criterion = Criterion("f", KINDS["forecast"], ("P",), "displacement", (Threshold(1, over=15.0, window_s=DAY_S),))
    (fan,) = find_velocity_quantiles(criterion, still, [row])
    assert fan.velocity["q50"] == pytest.approx(30.0)
    (named,) = find_velocity_quantiles(replace(criterion, quantity="displacement_up"), still, [row])
    assert named.velocity["q50"] == pytest.approx(-30.0), "as the file says"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_speed_of_a_single_series_has_no_sign(sign):
    rows = read((sign * 6.0 * i for i in range(EPOCHS)), 0.5)
    entry, criterion = CRITERIA["velocity"]
    criterion = replace(criterion, direction="norm")
    windows = DecisionContext(
        PreparedSite(make_site(20.0, criterion)), DecisionInputs({"P.displacement": rows}), Memory(), END_S
    )
    (word,) = entry.rule(criterion, windows)
    assert (word.raise_level, dict(word.undecided)) == (2, {})
    assert word.reason.endswith("; in either direction")


def check_scatter_makes_no_red(seeds: range) -> None:
    """Before the clock of the question is over no level is the top one, and hardly any rises; a person is asked."""
    rose = asked = 0
    for seed in seeds:
        story = draw_scattering(seed, moves=False)
        story = replace(story, scatter=max(story.scatter, 40.0 * story.noise))
        looks = play_scattering(story)
        clock = round(story.site.fusion.verify_within_s / story.step_s)
        before, after = levels_after(story, looks)
        first = after[:clock]
        assert max(first) < 3, f"seed {seed}: red on scatter: {first}"
        rose += max(first) > before
        opened = {k for look in looks[story.begin :] for k in look.memory.conditions}
        asked += any(k.endswith((":verify", ":scatter")) for k in opened)
    assert rose <= len(seeds) // 8, f"{rose} of {len(seeds)} rose"
    assert asked == len(seeds), "scatter that nobody is notified of"


def draw_collapse(seed: int) -> tuple[Step, Track]:
    """A series that accelerates, its acceleration larger than its noise by far, and then collapses at one epoch."""
    rng = random.Random(seed)
    growth, count = rng.uniform(1.1, 1.5), 12
    values, speed = [0.0], 3.0
    for _ in range(count):
        speed *= growth
        values.append(values[-1] + speed)
    for k in range(3):
        speed *= growth
        values.append(values[-1] + speed + rng.uniform(2.0, 6.0) * speed * (k == 0))
    epochs = tuple((3600.0 * i, 3600.0 * i, (v + rng.gauss(0.0, 1.0),)) for i, v in enumerate(values))
    at_s = epochs[count + 1][0]
    step = Step(at_s, at_s, values[count + 1] - values[count], 3, "pending", "")
    return step, Track("A", "displacement", recent=epochs)


def check_acceleration_masks_nothing(seeds: range) -> None:
    for seed in seeds:
        step, track = draw_collapse(seed)
        assert continues_as_motion(step, [track], track.recent[-1][1], 3600.0) is True, f"seed {seed}: it masks itself"
        mirrored = replace(track, recent=tuple((t, r, tuple(-x for x in v)) for t, r, v in track.recent))
        assert continues_as_motion(step, [mirrored], track.recent[-1][1], 3600.0) is True


def _plain_scatter(values):
    """As if the motion were a part of the scatter."""
    mean = sum(v[0] for v in values) / len(values)
    return ((sum((v[0] - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5,)


@pytest.mark.soak
def test_a_real_collapse_loses_one_interval_at_most():
    for seed in range(3):
        size = {"A": (20, 150.0), "B": (20, 120.0 + 40.0 * seed)}
        assert levels(run(quiet(seed, steps=size)))[21:23] == [0, 3]
        onwards = quiet(seed, motions={name: Motion(480.0, 20) for name in "AB"})
        assert levels(run(onwards))[21:23] == [0, 3]
        # the third reading never comes: the clock of the pair is no longer than that of the reading
        gone = run(quiet(seed, steps=size, gaps=dict.fromkeys("AB", (22, 48))), ticks=1)
        assert max(levels(gone)[: 2 * 24]) == 3


def check_votes_fall_by_the_upper_end(seeds: range) -> None:
    """A vote falls only where one standard error above its rate is below the recovery limit, without scatter."""
    fell = 0
    for seed in seeds:
        story = draw_scattering(seed, moves=True)
        site = replace(story.site, levels=tuple(replace(one, auto_lower=True) for one in story.site.levels))
        story = replace(
            story, site=site, scatter=story.noise * (4.0, 12.0, 40.0, 200.0)[seed % 4], end=story.begin + 36
        )
        looks = play_scattering(story)
        (criterion,) = site.criteria
        for before, look in pairwise(looks):
            for word in look.evidence["words"]:
                key = f"v|{word['station']}"
                was = before.memory.votes[key].level if key in before.memory.votes else 0
                now = look.memory.votes[key].level if key in look.memory.votes else 0
                if now >= was:
                    continue
                fell += 1
                wild = {s.id for s in site.stations if f"health:{s.id}.displacement:scatter" in look.memory.conditions}
                if word["station"] in wild:
                    assert len(wild) < len(site.stations), f"seed {seed}: fell while all scatter"
                    continue
                for fact, threshold in zip(word["facts"]["bounds"], criterion.thresholds, strict=True):
                    if now < fact["level"] <= was:
                        upper = max(0.0, fact.get("rate", inf)) + fact["error"]
                        assert upper < find_recovery_limit(threshold, criterion.recover), f"seed {seed}: fell on {fact}"
    assert fell > 3, "nothing fell: that says nothing"


def _clear_by_rate(fits, sign, limit):
    return bool(fits) and all((f.high if sign > 0 else -f.low) < limit for f in fits)


def check_a_level_stands_while_it_scatters(seeds: range) -> None:
    """Ten times the usual: the level stands, the message has the ways out, and what is learnt anew is judged again."""
    key = "health:S0.displacement:scatter"
    for seed in seeds:
        story = draw_scattering(seed, moves=True)
        site = replace(story.site, levels=tuple(replace(one, auto_lower=True) for one in story.site.levels))
        story = replace(story, site=site, scatter=200.0 * story.noise, end=story.begin + ACCEPTANCE_EPOCHS + 40)
        looks = play_scattering(story)
        before, after = levels_after(story, looks)
        held = [key in look.memory.conditions for look in looks[story.begin :]]
        assert any(held[:8]), f"seed {seed}: nobody is notified of the scatter"
        assert not any(held[ACCEPTANCE_EPOCHS + 8 :]), f"seed {seed}: its noise is never learnt anew: {held}"
        text = str(looks[story.begin + held.index(True)].memory.conditions[key].reason)
        assert f"After {ACCEPTANCE_EPOCHS} such readings" in text
        assert "A person may lower the level" in text
        assert "had data during the whole recovery" in text
        last = len(held) - held[::-1].index(True)
        assert min(after[:last]) >= before, f"seed {seed}: fell while it could not be judged: {after}"


HELD = decide_module.hold_scattering
LAWS = {
    check_noise: range(24),
    check_scatter_makes_no_red: range(10),
    check_acceleration_masks_nothing: range(40),
    check_votes_fall_by_the_upper_end: range(8),
    check_a_level_stands_while_it_scatters: range(4),
}
MUTANTS = {
    "a speed is not freed of noise": (motion_components, "free_of_noise", lambda length, *_: length, check_noise, 24),
    "a pair is believed at once": (
        paired_steps,
        "continues_as_motion",
        lambda *_: True,
        check_scatter_makes_no_red,
        16,
    ),
    "any sign moves on": (step_fates, "_moves_on", lambda *_: True, check_scatter_makes_no_red, 16),
    "motion is noise": (step_fates, "measure_bent", _plain_scatter, check_acceleration_masks_nothing, 40),
    "a vote falls by its rate": (rates, "has_recovered", _clear_by_rate, check_votes_fall_by_the_upper_end, 16),
    "scatter holds nothing": (
        decide_module,
        "hold_scattering",
        lambda windows, words, *_: HELD(windows, words, {}, {}),
        check_a_level_stands_while_it_scatters,
        4,
    ),
}


@pytest.mark.parametrize(
    ("law", "seeds"),
    [
        *LAWS.items(),
        pytest.param(check_scatter_makes_no_red, range(400), marks=pytest.mark.soak),
        pytest.param(check_votes_fall_by_the_upper_end, range(400), marks=pytest.mark.soak),
    ],
)
def test_a_law_of_noise_and_scatter_holds(law, seeds):
    law(seeds)


@pytest.mark.soak
@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_variant_is_caught(name, monkeypatch):
    module, attribute, broken, law, seeds = MUTANTS[name]
    monkeypatch.setattr(module, attribute, broken)
    if attribute == "_moves_on":
        monkeypatch.setattr(tracks, "find_burst", lambda *_: None)
    with pytest.raises(AssertionError):
        law(range(seeds))


def test_others_that_raised_the_level_speak_for_one_that_scatters():
    """The third way out: another witness of the level, in sight for its whole window, says that it is over."""
    for names, falls in ((("S0",), True), (("S0", "S1"), False)):
        story = draw_scattering(3, moves=True)
        story = replace(story, rate=story.rate / 8.0)  # slow enough that no step is asked about
        levels_ = tuple(replace(one, auto_lower=True) for one in story.site.levels)
        site = replace(story.site, levels=levels_, stations=story.site.stations[:2])
        site = replace(site, criteria=(replace(site.criteria[0], stations=("S0", "S1")),))
        story = replace(story, site=site, names=names, scatter=200.0 * story.noise, end=story.begin + 34)
        looks = play_scattering(story)
        before, after = levels_after(story, looks)
        key = "health:S0.displacement:scatter"
        held = [level for look, level in zip(looks[story.begin :], after, strict=True) if key in look.memory.conditions]
        assert before > 0
        assert held, "S0 does not scatter"
        assert (min(held) < before) is falls, (names, before, held)


@pytest.mark.parametrize("axes", [1, 3])
def test_a_burst_begins_at_ten_times_the_usual_and_motion_is_none(axes):
    rng = random.Random(axes)

    def draw(sigma: float, count: int) -> list[tuple[float, ...]]:
        return [tuple(rng.gauss(0.0, sigma) for _ in range(axes)) for _ in range(count)]

    begun = [(b := find_burst(draw(1.0, 32) + draw(100.0, 9), [(0.0,) * axes] * 41)) and b.begins for _ in range(50)]
    assert sum(map(bool, begun)) >= 45
    calm = [find_burst(draw(1.0, 32 + 9), [(0.0,) * axes] * 41) for _ in range(200)]
    assert not any(b is not None and b.begins for b in calm)
    straight = [tuple(v + 40.0 * max(0, i - 32) for v in row) for i, row in enumerate(draw(1.0, 41))]
    assert find_burst(straight, [(0.0,) * axes] * 41) is None
    assert BURST_FACTOR > CALM_FACTOR > 1.0
