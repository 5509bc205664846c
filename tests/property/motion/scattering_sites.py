"""Drawn sites whose instruments begin to scatter while nothing moves any more, or while nothing ever moved."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.decision.criteria.scope import find_history_spans, find_load_start
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Dwell, Fusion, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from tests.data.criteria import KINDS

START_S = epoch_s(parse_time("2026-01-01T00:00:00Z"))
QUIET, MOVING, AFTER = 30, 16, 20  # epochs
RATIOS = (12.0, 40.0, 200.0, 1000.0)  # of the scatter to the noise


@dataclass(frozen=True, slots=True)
class Scattering:
    site: Site
    seed: int
    noise: float
    rate: float
    scatter: float
    names: tuple[str, ...]
    begin: int
    end: int

    @property
    def step_s(self) -> float:
        return self.site.stations[0].series[0].interval_s


def draw_site(rng: random.Random) -> tuple[Site, float]:
    step_s = rng.choice((20.0, 600.0, 3600.0, 6 * 3600.0, 86400.0))
    noise = rng.choice((0.3, 1.0, 3.0))
    n = rng.choice((8, 12, 24))
    day = 86400.0 / step_s  # epochs a day
    yellow = rng.choice((1.5, 4.0)) * noise * day / 4.0  # mm/day
    thresholds = (
        Threshold(1, over=yellow, window_s=n * step_s),
        Threshold(2, over=5.0 * yellow, window_s=n * step_s * 0.75),
        Threshold(3, over=20.0 * yellow, window_s=n * step_s / 2.0),
    )
    names = tuple(f"S{k}" for k in range(rng.choice((2, 2, 3, 4))))
    verify = rng.choice((None, 15.0 * noise))
    floor = rng.choice((0.0, noise))
    stations = tuple(
        Station(
            name,
            azimuth_deg=90.0,
            plunge_deg=0.0,
            series=(SeriesSpec(name, "displacement", "mm", step_s, 6 * step_s, floor, verify, low=-1e7, high=1e7),),
        )
        for name in names
    )
    is_auto = rng.random() < 0.5
    dwell = rng.choice((Dwell(), Dwell(2, 3), Dwell(3, 4)))
    rule = {"dwell": dwell, "recover": rng.choice((0.6, 0.8)), "valid_for_s": 12 * step_s}
    criterion = Criterion("v", KINDS["velocity"], names, "displacement", thresholds, **rule)
    levels = tuple(Level(i, n, auto_lower=i < 2 or is_auto) for i, n in enumerate(("green", "yellow", "orange", "red")))
    fusion = Fusion(hold_when_missing_s=1e9, verify_within_s=rng.choice((12, 100)) * step_s)
    return Site("s", "S", 46.0, 8.0, "UTC", levels, stations, (criterion,), fusion=fusion, version="v"), noise


def draw_scattering(seed: int, *, moves: bool | None = None) -> Scattering:
    """What a seed makes: half of the sites move before their instruments scatter."""
    rng = random.Random(seed)
    site, noise = draw_site(rng)
    names = [s.id for s in site.stations]
    did_move = rng.random() < 0.5
    did_move = did_move if moves is None else moves
    yellow = site.criteria[0].thresholds[0].over or 0.0
    rate = rng.choice((2.0, 8.0, 40.0)) * yellow * site.stations[0].series[0].interval_s / 86400.0
    begin = QUIET + (MOVING if did_move else 0)
    seed, scatter = rng.randrange(10**6), rng.choice(RATIOS) * noise
    return Scattering(site, seed, noise, rate if did_move else 0.0, scatter, tuple(names), begin, begin + AFTER)


def play_scattering(story: Scattering) -> list[Decision]:
    rng, site, step_s = random.Random(story.seed), story.site, story.step_s
    span_s = max(find_history_spans(site).values())
    held: dict[str, list[Reading]] = {f"{s.id}.displacement": [] for s in site.stations}
    memory, warm, found = Memory(), EvaluationCache(), []
    prepared = PreparedSite(site)
    for epoch in range(story.end):
        now_s = START_S + epoch * step_s
        moved = story.rate * max(0, min(epoch, story.begin) - QUIET)
        newest = {}
        for station in site.stations:
            value = moved + rng.gauss(0.0, story.noise)
            if station.id in story.names and epoch >= story.begin:
                value += rng.uniform(-story.scatter, story.scatter)
            key = f"{station.id}.displacement"
            held[key].append(Reading(from_epoch_s(now_s), from_epoch_s(now_s), 0, value, 0.0, value, None, ()))
            newest[key] = NewestEpoch(now_s, now_s)
        edge = find_load_start(from_epoch_s(now_s), span_s)
        readings = {k: tuple(r for r in v if r.observed_at > edge) for k, v in held.items()}
        decision = decide(prepared, memory, DecisionInputs(readings, newest), from_epoch_s(now_s), warm)
        memory = Memory.read(json.loads(json.dumps(decision.memory.to_json())))
        found.append(decision)
    return found


def levels_after(story: Scattering, looks: Sequence[Decision]) -> tuple[int, list[int]]:
    return looks[story.begin - 1].level, [look.level for look in looks[story.begin :]]
