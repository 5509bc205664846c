"""Over random rain: more rain never lowers, with a mutant that fails."""

import os
import random
from dataclasses import replace

import pytest

from monitor.decision.criteria.rain_gauge import Gauge
from monitor.decision.criteria.table import KINDS
from monitor.decision.decide import decide
from monitor.domain.decision import DecisionInputs, Memory, NewestEpoch, instant, seconds
from monitor.domain.instants import parse
from monitor.domain.observation import Reading
from monitor.domain.site import Criterion, Level, SeriesSpec, Site, Station, Threshold

HISTORIES = 10_000 if os.environ.get("SLOPEWARD_SOAK") else 500
T0 = seconds(parse("2026-01-01T00:00:00Z"))
H = 3600.0
STEPS, EVERY = 60, 6
WINDOWS = {1: 12, 2: 6, 3: 3}  # level -> hours
BOUNDS = {1: 8.0, 2: 8.5, 3: 9.0}


def place():
    levels = tuple(Level(i, n, False) for i, n in enumerate(("green", "yellow", "orange", "red")))
    series = SeriesSpec("R1", "rain", "mm", H, 4 * H)
    gauge = Station("R1", series=(series,))
    bounds = tuple(Threshold(k, over=BOUNDS[k], window_s=WINDOWS[k] * H) for k in WINDOWS)
    rule = Criterion(
        "sum", KINDS["rain_sum"], ("R1",), "rain", bounds, valid_for_s=8 * H, params=(("min_coverage", 0.8),)
    )
    site = Site("s", "S", 46.0, 8.0, "UTC", levels, (gauge,), (rule,), version="v")
    return replace(site, fusion=replace(site.fusion, top_needs=1))


def draw(chance):
    """Hours of rain: dry, showers and storms, with single gaps and outages."""
    values = []
    while len(values) < STEPS:
        size = chance.choice([0.0, 0.3, 1.5, 6.0])
        values += [chance.random() * size for _ in range(chance.randint(3, 14))]
    values = values[:STEPS]
    lost = chance.choice([0.0, 0.1, 0.5])
    values = [None if chance.random() < lost else v for v in values]
    if chance.random() < 0.5:
        begin = chance.randrange(STEPS)
        values[begin : begin + chance.randint(2, 8)] = [None] * len(values[begin : begin + chance.randint(2, 8)])
    return values[:STEPS]


def walk(site, values):
    """(hour, level) at each look."""
    memory = Memory()
    rows = [
        Reading(instant(T0 + i * H), instant(T0 + i * H), 0, v, 0.0, v, None, ())
        for i, v in enumerate(values)
        if v is not None
    ]
    hours = [i for i, v in enumerate(values) if v is not None]
    for hour in range(WINDOWS[1], len(values), EVERY):
        known = tuple(r for r, i in zip(rows, hours, strict=True) if hour - 20 < i <= hour)
        newest = (
            {"R1.rain": NewestEpoch(seconds(known[-1].observed_at), seconds(known[-1].received_at))} if known else {}
        )
        memory = decide(site, memory, DecisionInputs({"R1.rain": known}, newest), instant(T0 + hour * H)).memory
        yield hour, memory.level


def check_more_rain_never_lowers(count):
    site = place()
    raised = 0
    for seed in range(count):
        chance = random.Random(seed)
        values = draw(chance)
        wetter = [None if v is None else v + chance.choice([0.0, 0.0, chance.random() * 4.0]) for v in values]
        levels = [[level for _, level in walk(site, v)] for v in (values, wetter)]
        assert all(a <= b for a, b in zip(*levels, strict=True)), f"history {seed}: {levels}"
        raised += levels[0] != levels[1]
    return raised


def test_more_rain_never_lowers():
    raised = check_more_rain_never_lowers(HISTORIES // 2)
    print(f"{raised} of {HISTORIES // 2} histories rose earlier or higher with more rain")
    assert raised >= 0.2 * (HISTORIES // 2)


def test_a_mutant_that_judges_the_mean_of_the_wet_hours_is_caught(monkeypatch):
    def mean(self, window_s):
        end = self.times_s[-1]
        wet = [a for t, a in zip(self.times_s, self.amounts_mm, strict=True) if t > end - window_s + 1800.0 and a > 0.0]
        return (sum(wet) / len(wet) * window_s / H / 2.0 if wet else 0.0), 1.0

    monkeypatch.setattr(Gauge, "total", mean)
    with pytest.raises(AssertionError, match="history"):
        check_more_rain_never_lowers(HISTORIES // 2)
