"""Levels neither rise nor fall on noise: laws over drawn sites whose instruments begin to scatter, with mutants."""

import random
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from monitor.decision import decide as decide_module
from monitor.decision.criteria.kinds import velocity
from monitor.decision.series import paired_steps, step_fates, tracks
from monitor.decision.series.assessment import recovery_of
from monitor.decision.series.noise import BURST, CALM, LEARNT, find_burst
from monitor.decision.series.step_fates import keeps_its_way
from monitor.decision.series.tracks import Track
from monitor.domain.decision import Step
from tests.property.alerting_histories import SOAK, Motion, levels, quiet, run
from tests.property.motion.scattering_sites import draw_scattering, levels_after, play_scattering

QUIET_SITES = range(400 if SOAK else 16)
MOVING_SITES = range(400 if SOAK else 12)


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


def test_instruments_that_only_scatter_make_no_red_before_their_clock():
    check_scatter_makes_no_red(QUIET_SITES)


def test_steps_that_need_not_keep_their_sign_are_caught(monkeypatch):
    monkeypatch.setattr(step_fates, "_moves_on", lambda home, since: True)
    monkeypatch.setattr(tracks, "find_burst", lambda *_: None)
    with pytest.raises(AssertionError):
        check_scatter_makes_no_red(range(16))


def test_a_pair_that_is_believed_as_soon_as_it_lasts_is_caught(monkeypatch):
    monkeypatch.setattr(paired_steps, "keeps_its_way", lambda *_: True)
    with pytest.raises(AssertionError):
        check_scatter_makes_no_red(range(16))


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


def check_acceleration_masks_nothing() -> None:
    for seed in range(40):
        step, track = draw_collapse(seed)
        assert keeps_its_way(step, [track], track.recent[-1][1], 3600.0) is True, f"seed {seed}: it masks itself"
        mirrored = replace(track, recent=tuple((t, r, tuple(-x for x in v)) for t, r, v in track.recent))
        assert keeps_its_way(step, [mirrored], track.recent[-1][1], 3600.0) is True


def test_acceleration_never_masks_itself():
    check_acceleration_masks_nothing()


def _plain_scatter(values):
    """As if the motion were a part of the scatter."""
    mean = sum(v[0] for v in values) / len(values)
    return ((sum((v[0] - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5,)


def test_a_scatter_that_takes_motion_for_noise_is_caught(monkeypatch):
    monkeypatch.setattr(step_fates, "measure_bent", _plain_scatter)
    with pytest.raises(AssertionError, match="masks itself"):
        check_acceleration_masks_nothing()


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
                        assert upper < recovery_of(threshold, criterion.recover), f"seed {seed}: fell on {fact}"
    assert fell > 3, "nothing fell: that says nothing"


def test_votes_fall_by_the_upper_end_of_their_interval_and_on_no_scatter():
    check_votes_fall_by_the_upper_end(MOVING_SITES)


def _clear_by_rate(fits, sign, limit):
    return bool(fits) and all((f.high if sign > 0 else -f.low) < limit for f in fits)


def test_a_vote_that_falls_by_its_rate_alone_is_caught(monkeypatch):
    monkeypatch.setattr(velocity, "is_clear", _clear_by_rate)
    with pytest.raises(AssertionError, match="fell on"):
        check_votes_fall_by_the_upper_end(range(16))


def test_scatter_that_holds_nothing_is_caught(monkeypatch):
    monkeypatch.setattr(decide_module, "hold_scattering", lambda windows, words, *_: HELD(windows, words, {}, {}, {}))
    with pytest.raises(AssertionError):
        check_a_level_stands_while_it_scatters()


HELD = decide_module.hold_scattering


def check_a_level_stands_while_it_scatters() -> None:
    """Ten times the usual: the level stands, the message has the ways out, and what is learnt anew is judged again."""
    key = "health:S0.displacement:scatter"
    for seed in range(4):
        story = draw_scattering(seed, moves=True)
        site = replace(story.site, levels=tuple(replace(one, auto_lower=True) for one in story.site.levels))
        story = replace(story, site=site, scatter=200.0 * story.noise, end=story.begin + LEARNT + 40)
        looks = play_scattering(story)
        before, after = levels_after(story, looks)
        held = [key in look.memory.conditions for look in looks[story.begin :]]
        assert any(held[:8]), f"seed {seed}: nobody is notified of the scatter"
        assert not any(held[LEARNT + 8 :]), f"seed {seed}: its noise is never learnt anew: {held}"
        text = str(looks[story.begin + held.index(True)].memory.conditions[key].reason)
        assert f"after {LEARNT} readings like these" in text
        assert "A person may lower the level" in text
        assert "in sight for the whole time of recovery" in text
        last = len(held) - held[::-1].index(True)
        assert min(after[:last]) >= before, f"seed {seed}: fell while it could not be judged: {after}"


def test_a_level_stands_while_its_instruments_scatter():
    check_a_level_stands_while_it_scatters()


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
    assert BURST > CALM > 1.0
