"""New series without a stated noise: noise raises no alert, and clear jumps are found."""

import random

import numpy as np
import pytest

from monitor.app.checks.site_files import SiteFolder
from monitor.app.checks.table import run_checks
from monitor.readings.cleaned.step_detector import (
    OPENING_EPOCHS,
    QUIET_EPOCHS,
    SCATTERED_EPOCHS,
    StepDetector,
    find_end_of_scatter,
    is_steady,
)
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from tests.data.measured import replay
from tests.data.sites.new_site import BEGIN, MOVERS, PACES, draw, jump, make_site, stand, write_site
from tests.tables import tabulated


def take(values, *, sigma=0.0, limit=1.0):
    walk = StepDetector(limit)
    count = len(values)
    walk.extend([float(i) for i in range(count)], [float(i) for i in range(count)], values, [(sigma,)] * count)
    return walk


def play(pace="5s", noise_mm=3.0, epochs=30, motion=stand, more="", silent_from=None, seed=1):
    rows = list(draw(pace, noise_mm, seed, epochs=epochs, motion=motion, silent_from=silent_from))
    return list(replay(make_site(pace, more), rows))


def pages(looks):
    return {
        c.key: round((now - BEGIN).total_seconds() / PACES["5s"][0])
        for now, d in reversed(looks)
        for c in d.changes
        if c.open and c.notify
    }


def rough(count, seed=4):
    dice = random.Random(seed)
    return [(dice.gauss(0.0, 3.0),) for _ in range(count)]


@pytest.mark.parametrize("noise_mm", [0.5, 3.0, 8.0])
def test_new_site_at_rest_raises_no_alert_and_shows_that_it_learns_its_noise(noise_mm):
    looks = play(noise_mm=noise_mm, epochs=OPENING_EPOCHS)
    assert pages(looks) == {}
    assert {d.level for _, d in looks} == {0}
    fifth = looks[4][1].health[0]
    assert (fifth.state, fifth.votes) == ("ok", True)
    assert fifth.reason.startswith("its noise is not known yet, 5 of 24 readings. ")
    assert looks[-1][1].health[0].reason == ""


def test_scatter_of_few_epochs_is_increased():
    assert pages(play(epochs=48, seed=13)) == {}, "three rovers, were it believed as it is"
    drawn = [rough(4, seed) for seed in range(9)]
    assert not any(take(values).jumps for values in drawn)


def test_jump_is_reported_at_once_if_it_is_huge_or_the_noise_is_stated():
    looks = play(epochs=4, motion=jump(60.0, 2), more="noise_floor_mm = 3.0")
    assert {f"health:{name}:verify" for name in MOVERS} <= pages(looks).keys()
    assert all(h.reason == "" or h.state != "ok" for _, d in looks for h in d.health)
    huge = pages(play(motion=jump(300.0, 6)))
    assert {name: huge[f"health:{name}:verify"] for name in MOVERS} == dict.fromkeys(MOVERS, 6)
    clear = pages(play(motion=jump(40.0, 6)))
    assert {clear[f"health:{name}:verify"] for name in MOVERS} <= {*range(6, OPENING_EPOCHS)}


def test_silence_after_a_jump_in_the_first_epochs_opens_a_question_and_raises_no_level():
    looks = play(epochs=20, motion=jump(300.0, 2), silent_from=3)
    told = pages(looks)
    assert {f"health:{name}:verify" for name in MOVERS} <= told.keys()
    assert told["health:G01:verify"] == 6, "as soon as it is silent"
    reason = looks[-1][1].memory.conditions["health:G01:verify"].reason
    assert "silent since the jump, and the scatter of its instrument is not known yet" in reason
    assert {d.level for _, d in looks} == {0}
    looks = play(epochs=20, motion=jump(5000.0, 2), silent_from=4)
    told = pages(looks)
    assert {f"health:{name}:verify" for name in MOVERS} <= told.keys()
    assert {d.level for _, d in looks} == {0}


def test_silence_after_a_clear_jump_raises_the_highest_level():
    looks = play(epochs=20, motion=jump(300.0, 8), silent_from=9)
    assert looks[-1][1].level == 3


def test_possible_noise_counts_and_each_clear_step_is_found_within_patience():
    walk = take([(0.0,), (9.0,), (-8.0,), (7.0,)])
    assert (walk.epochs_without_known_noise, walk.counting) == (4, [0, 1, 2, 3])
    assert not walk.set_aside
    assert take([(0.0,)] * 3, limit=None).epochs_without_known_noise is None
    walk = take([(0.1,), (0.0,), (-0.1,), (0.1,), (0.0,), (30.0,), (30.1,), (75.0,)])
    assert [index for index, _ in walk.jumps] == [5, 7]
    assert walk.jumps[0][1].detectable_s == 7.0, "not known before the epochs that show it"
    values = [(v,) for v in (0.1, 0.0, -0.1, 0.1, 0.0, 0.1, 0.0, 9.0)]
    times = [6.0 * i for i in range(8)]
    walk = StepDetector(1.0, patience_s=36.0)
    walk.extend(times, times, values, [(0.0,)] * 8)
    assert walk.epochs_without_known_noise is None
    assert [(i, j.detectable_s) for i, j in walk.jumps] == [(7, 42.0)]


@tabulated("seed", range(12))
def test_detector_ends_in_the_same_state_in_pieces_or_at_once(seed):
    dice = random.Random(seed)
    values = [(v + (dice.choice((0.0, 60.0)) if i > 6 else 0.0),) for i, (v,) in enumerate(rough(40, seed))]
    whole, parts = take(values), StepDetector(1.0)
    at = 0
    while at < len(values):
        end = at + dice.randint(1, 9)
        times = [float(i) for i in range(at, min(end, len(values)))]
        parts.extend(times, times, values[at:end], [(0.0,)] * len(times))
        at = end
    for name in ("counting", "values_without_jumps", "jumps", "unconfirmed_jumps", "set_aside"):
        assert getattr(whole, name) == getattr(parts, name)


def find_noiseless(site):
    files = SiteFolder(ServiceConfig(), [site], {})
    return [one.text for one in run_checks(files) if one.check.id == "sites.noise"]


def test_check_lists_series_without_a_noise_floor_and_proposes_one():
    (said,) = find_noiseless(make_site("5s"))
    assert said.startswith("G01.displacement, G02.displacement, G03.displacement and 21 more: no noise_floor")
    assert "set noise_floor to the standard deviation, in mm, of readings without movement" in said
    assert not find_noiseless(make_site("5s", "noise_floor_mm = 3.0"))


@pytest.mark.soak
def test_daily_site_knows_its_noise_after_two_months_for_every_window():
    """What is read must hold the epochs that show a scatter: a window of a week held 22 to 28."""
    for window in ("3d", "7d"):
        text = write_site("1d", "verify_step_mm = 4.0").replace('window = "7d"', f'window = "{window}"')
        rows = list(draw("1d", 1.0, 1, epochs=62, motion=jump(20.0, 58)))
        looks = list(replay(parse_site(text, "new.toml"), [o for o in rows if o.station in MOVERS]))
        assert not any(
            "not known yet" in h.reason for _, d in looks[OPENING_EPOCHS - 1 :] for h in d.health if h.station in MOVERS
        )
        asked = {key for key in looks[-1][1].memory.conditions if key.endswith(":verify")}
        assert {f"health:{name}:verify" for name in MOVERS} <= asked or looks[-1][1].level > 0


def test_steady_series_has_no_settling():
    rng = random.Random(1)
    steady = 0
    for _ in range(1_000):
        axes, limit = rng.choice((1, 2, 3)), rng.choice((5.0, 20.0))
        spread, step = rng.uniform(0.0, 0.7 * limit), rng.uniform(0.0, 2.0 * limit)
        levels = [
            tuple(
                rng.uniform(0.0, spread if k < SCATTERED_EPOCHS else 0.01) + (step if k >= SCATTERED_EPOCHS else 0.0)
                for _ in range(axes)
            )
            for k in range(SCATTERED_EPOCHS + QUIET_EPOCHS)
        ]
        if is_steady(levels, limit):
            steady += 1
            assert find_end_of_scatter(levels, [(0.0,) * axes] * len(levels), limit) is None
    assert 50 < steady < 950


DAY_S = 86400.0
ROWS = 240
NOISE_MM = 1.0
LIMIT_MM = 10.0


@pytest.mark.parametrize("seed", range(4))
def test_detector_finds_the_steps_of_an_offline_search(seed):
    ruptures = pytest.importorskip("ruptures")
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, NOISE_MM, ROWS)
    places = sorted(rng.choice(np.arange(40, 200, 10), 3, replace=False).tolist())
    for place in places:
        values[place:] += rng.choice([-1.0, 1.0]) * rng.uniform(15.0, 60.0)
    walk, times = StepDetector(LIMIT_MM), [DAY_S * k for k in range(ROWS)]
    walk.extend(times, times, [(float(v),) for v in values], [(NOISE_MM,)] * ROWS)

    search = ruptures.Pelt(model="l2", min_size=2, jump=1).fit(values)
    theirs = search.predict(pen=3.0 * np.log(ROWS) * NOISE_MM**2)[:-1]
    assert [index for index, _ in walk.jumps] == theirs == places
    levels = [part.mean() for part in np.split(values, theirs)]
    # the walk sizes a step by its first epoch, the search by all that follow
    for (_, found), size in zip(walk.jumps, np.diff(levels), strict=True):
        assert found.size[0] == pytest.approx(size, abs=5.0 * NOISE_MM)
