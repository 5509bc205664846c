"""A drifting reference opens a question before it raises a level. A single moving rover raises its level as usual."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.alerts.acts.operator_acts import set_level_in_memory
from monitor.decision import common_mode
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.records import Reading
from monitor.text.instants import epoch_s, parse_time
from tests.alerts.test_scenes import make_site
from tests.property import alerting_histories as histories

T0 = parse_time("2026-03-01T00:00:00Z")
HOUR = timedelta(hours=1)
QUIET, HOURS = 30, 54
ALL = ("G1", "G2", "G3")


def replay(rates, seed, noise=0.5, act=lambda _hour, memory: memory, hours=HOURS, until=10**6, silent=10**6):
    """Yield (hour, decision) of rovers on one reference: at rest for 30 h, then at `rates` (mm/day) to the east."""
    site = make_site(**dict.fromkeys(ALL[: max(2, len(rates))], "BASE"))
    prepared = PreparedSite(site)
    rng, memory, warm, held, newest = random.Random(seed), Memory(), EvaluationCache(), {}, {}
    position = dict.fromkeys((s.id for s in site.stations), 0.0)
    for hour in range(hours):
        at = T0 + hour * HOUR
        for name in position:
            position[name] += rates.get(name, 0.0) / 24.0 if QUIET <= hour < until else 0.0
            for part in ("east", "north", "up") if hour < silent else ():
                value = (position[name] if part == "east" else 0.0) + rng.gauss(0.0, noise)
                key = f"{name}.displacement_{part}"
                held.setdefault(key, []).append(Reading(at, at, 0, value, 0.0, value, None, ()))
                newest[key] = NewestEpoch(epoch_s(at), epoch_s(at), ())
        if hour >= QUIET - 2:
            inputs = DecisionInputs({k: tuple(v[-28:]) for k, v in held.items()}, dict(newest))
            decision = decide(prepared, memory, inputs, at, warm)
            yield hour, decision
            memory = act(hour, decision.memory)


def rises(decisions):
    found = {}
    for hour, d in decisions:
        for level in range(1, min(d.level, 2) + 1):
            found.setdefault(level, hour)
        if 2 in found:
            break
    return found


@pytest.mark.parametrize("rate", [10.0, 60.0])
@pytest.mark.parametrize("stations", [2, 3])
def test_drifting_reference_opens_a_question_before_any_level_rises(stations, rate):
    for seed in range(3):
        for hour, decision in replay(dict.fromkeys(ALL[:stations], rate), seed):
            if "health:reference:BASE:verify" in decision.memory.conditions:
                break
            assert decision.level == 0, f"seed {seed}: level {decision.level} at hour {hour} before the question"
        else:
            pytest.fail(f"seed {seed}: a drift of {rate} mm/day opened no question")


def test_drift_as_small_as_the_noise_rarely_raises_a_level_before_the_question():
    early = 0
    for stations, rate in ((2, 8.0), (3, 12.0)):
        for seed in range(8):
            for _, decision in replay(dict.fromkeys(ALL[:stations], rate), seed, 2.5):
                asked = "health:reference:BASE:verify" in decision.memory.conditions
                if asked or decision.level:
                    early += not asked
                    break
            else:
                pytest.fail(f"seed {seed}: a drift of {rate} mm/day opened no question")
    assert early <= 2, f"{early} of 16 drifts raised a level before the question"


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize(("rate", "noise"), [(8.0, 2.5), (30.0, 2.5), (60.0, 0.5)])
@pytest.mark.parametrize("stations", [2, 3])
def test_rover_that_moves_alone_raises_the_level_at_most_one_epoch_later(stations, rate, noise, monkeypatch):
    rates = dict.fromkeys(ALL[:stations], 0.0) | {"G1": rate}
    ours = [rises(replay(rates, seed, noise)) for seed in range(8)]
    with monkeypatch.context() as patch:
        patch.setattr(common_mode, "moves_with", lambda *_: False)
        plain = [rises(replay(rates, seed, noise)) for seed in range(8)]
    raised = 0
    for mine, other in zip(ours, plain, strict=True):
        for level, expected in other.items():
            if expected < HOURS - 1:
                raised += 1
                assert level in mine, f"level {level} was never reached"
                assert mine[level] - expected <= 1, f"level {level} was reached {mine[level] - expected} epochs later"
    assert raised >= 5


@pytest.mark.soak
def test_answer_about_a_reference_is_stored_until_the_motion_ends():
    drift = dict.fromkeys(ALL, 30.0)

    def answer(hour, memory):
        if hour == 44:
            assert memory.level == 2, "the deadline is over, so the votes count"
            return set_level_in_memory(
                replace(memory, answers={"reference:BASE": "instrument"}), 0, epoch_s(T0 + hour * HOUR)
            )
        return memory

    for seed in range(3):
        after = [(h, d) for h, d in replay(drift, seed, act=answer, hours=84) if h > 44]
        assert {d.level for _, d in after} == {0}, f"seed {seed}: the answer was lost"
        assert all(d.memory.answers for _, d in after)
        # The reference is at rest again, so the next motion opens a new question.
        calm = [d for _, d in replay(drift, seed, act=answer, hours=110, until=60)]
        assert calm[-1].memory.answers == {}, f"seed {seed}: an old answer would suppress the next motion"


def test_silence_after_the_answer_raises_no_level():
    def answer(hour, memory):
        return replace(memory, answers={"reference:BASE": "instrument"}) if "BASE" in memory.common else memory

    for seed in range(3):
        found = list(replay(dict.fromkeys(ALL, 30.0), seed, act=answer, hours=75, silent=55))
        assert any(d.memory.common for _, d in found)
        assert {d.level for _, d in found} == {0}, "missing data raised a level"
        assert found[-1][1].memory.common == {}, "expired votes keep no question open"


@pytest.mark.parametrize("rate", [10.0, 60.0])
def test_only_a_control_station_at_rest_clears_its_reference(rate):
    drift = {n: histories.Motion(rate, 20) for n in ("C", "D", "K")}
    for seed in range(2):
        for look in histories.run(histories.quiet(seed, motions=drift, noise=0.5)):
            if "health:reference:REF:verify" in look.decision.memory.conditions:
                break
            assert look.decision.level == 0, f"seed {seed}: raised before the question"
        else:
            pytest.fail("no question was opened")
        real = {n: m for n, m in drift.items() if n != "K"}
        looks = histories.run(histories.quiet(seed, motions=real, noise=0.5))
        assert not any(look.decision.memory.common for look in looks), "a control station at rest clears the reference"
        assert looks[-1].decision.level >= 1


def test_station_follows_only_beyond_its_error_and_with_a_leader():
    still = common_mode.StationMotion("G2", (1.1, 0.0, 0.0), 1.0, is_moving=False)
    led = replace(still, vector=(6.0, 0.0, 0.0))
    leader = common_mode.StationMotion("G1", (8.0, 0.0, 0.0), 1.0, is_moving=True)
    assert not common_mode.moves_with(still, [leader])
    assert common_mode.moves_with(led, [leader])
    assert not common_mode.moves_with(led, [])
    assert not common_mode.moves_with(replace(led, error=11.0), [leader])  # of all three components together
