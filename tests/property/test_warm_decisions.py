"""Caches between evaluations change no result: decisions with and without them have the same canonical JSON.

Rules 2, 10 and 11 hold on random databases: the counting revision of an epoch, the readings known at an earlier time,
and the effect of offsets.
"""

import json
import random
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from monitor.alerts import reading_cache as cache_module
from monitor.alerts.evaluate import load_inputs
from monitor.alerts.queries.offsets import add_offset, revoke_offset
from monitor.alerts.reading_cache import SiteReadingCache
from monitor.canonical import canonical_json
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Memory
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.cleaned import tracks
from monitor.readings.cleaned.step_detector import StepDetector
from monitor.readings.queries import observations as module
from monitor.readings.queries.observations import (
    find_series_id,
    iter_counting,
    iter_readings,
    load_readings,
    load_series,
)
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.readings.tables import observation, observation_flag
from monitor.storage.actor import Actor
from monitor.text.instants import epoch_s, format_iso, from_epoch_s
from tests.data.store_rows import add_flag, enter_offset
from tests.fixtures.soak import with_soak
from tests.property.alerting_histories import SITE, START, STEP_S, run, seeded

ADA = Actor("ada")
LENGTH = 60  # epochs


def check_walk_in_pieces(seeds):
    """Check that step detection in pieces gives the result of a single pass and counts each rewrite of old epochs."""
    settled = agreed = 0
    for seed in seeds:
        rng = random.Random(seed)
        count, axes, limit = rng.randint(1, 70), rng.choice((1, 3)), rng.choice((20.0, 5.0, None))
        base, values = [0.0] * axes, []
        rough = range(*sorted(rng.sample(range(70), 2))) if rng.random() < 0.5 else ()
        vague = range(*sorted(rng.sample(range(70), 2))) if rng.random() < 0.3 else ()
        for k in range(count):
            if rng.random() < 0.05 or (vague and k == vague[0]):
                base = [b + rng.uniform(-90.0, 90.0) for b in base]
            spike = rng.uniform(-200.0, 200.0) if rng.random() < 0.05 else 0.0
            loud = 40.0 if k in rough else 0.0
            values.append(tuple(b + rng.gauss(2.5 * loud, rng.choice((1.0, 1.0, 8.0)) + loud) + spike for b in base))
        times = [3600.0 * k for k in range(count)]
        stated = rng.choice(((1.0,), (0.0, 1.0, 30.0)))
        sigmas = [tuple(40.0 if k in vague else rng.choice(stated) for _ in range(axes)) for k in range(count)]
        whole, pieces, at = StepDetector(limit), StepDetector(limit), 0
        whole.extend(times, times, values, sigmas)
        while at < count:
            end = min(count, at + rng.randint(1, 5))
            counting_before, level, rewrites = list(pieces.counting), dict(pieces.values_without_jumps), pieces.rewrites
            pieces.extend(times[at:end], times[at:end], values[at:end], sigmas[at:end])
            if pieces.rewrites == rewrites:
                assert pieces.counting[: len(counting_before)] == counting_before, (
                    f"seed {seed}: an epoch was removed without a rewrite"
                )
                assert all(pieces.values_without_jumps[k] == level[k] for k in counting_before), (
                    f"seed {seed}: a value changed without a rewrite"
                )
            at = end
        assert outcome(pieces) == outcome(whole), f"seed {seed}"
        late = [i for i, jump in whole.jumps if jump.detectable_s > times[i]]
        settled += any(i in whole.values_without_jumps for i in late)
        agreed += any(i not in whole.values_without_jumps for i in late)
    return settled, agreed


def outcome(walk):
    return walk.counting, [walk.values_without_jumps[k] for k in walk.counting], walk.jumps, walk.set_aside


@pytest.mark.parametrize("walks", with_soak(300, 10_000))
def test_step_detection_in_pieces_equals_a_single_pass(walks):
    settled, agreed = check_walk_in_pieces(range(walks))
    assert settled > walks // 200, "too few jumps were found late by their scatter"
    assert agreed > walks // 200, "too few epochs agreed on a step within their own errors"


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize("broken", ["_restart", "_measure_scatter"])
def test_step_detection_with_stale_results_is_detected(broken, monkeypatch):
    plain = getattr(StepDetector, broken)

    # The start is examined once, or the scatter is measured once, and the result is used for ever.
    def first_time(walk):
        if id(walk) not in results:
            results[id(walk)] = (walk, plain(walk))
        elif broken == "_restart":
            return len(walk.counting)
        return results[id(walk)][1]

    results = {}
    monkeypatch.setattr(StepDetector, broken, first_time)
    with pytest.raises((AssertionError, IndexError, KeyError)):
        check_walk_in_pieces(range(200))


def check_warm_is_cold(seeds):
    """Check that decisions with a cache of tracks equal those without a cache."""
    for seed in seeds:
        warm = run(seeded(seed), warm=EvaluationCache())
        for look in warm[seed % 3 :: 3]:
            again = decide(PreparedSite(SITE), look.before, look.inputs, look.now)
            assert canonical_json(again.to_json()) == canonical_json(look.decision.to_json()), (
                f"seed {seed}, {look.now}"
            )
            check_order(look.decision.memory)


def check_order(memory):
    """Check that a memory equals its stored form, including the order of every mapping."""
    stored, sorted_memory = Memory.read(json.loads(canonical_json(memory.to_json()))), memory.sort_mappings()
    assert sorted_memory == stored
    assert json.dumps(sorted_memory.to_json()) == json.dumps(stored.to_json()), "the order of a mapping differs"
    for name in ("votes", "supporters", "answered", "steps", "unheard"):
        assert [*map(type, getattr(sorted_memory, name))] == [*map(type, getattr(stored, name))]


@pytest.mark.parametrize("histories", with_soak(4, 400))
@pytest.mark.parametrize("part", range(2))
def test_decision_with_cached_tracks_equals_decision_without(part, histories):
    check_warm_is_cold(range(part, histories, 2))


def test_stale_cached_tracks_are_detected(monkeypatch):
    monkeypatch.setattr(tracks, "_is_continuation", lambda *_: True)
    with pytest.raises((AssertionError, IndexError)):
        check_warm_is_cold(range(12))


class Jumble:
    """A database whose observations change at random from epoch to epoch."""

    def __init__(self, database, seed):
        self.database, self.rng, self.stored, self.offsets, self.waiting = database, random.Random(seed), [], [], []

    def go_on(self, epoch):
        """Store the new readings of an epoch, and at random late ones, revisions, flags, offsets and revocations."""
        rng, now = self.rng, from_epoch_s(epoch_s(START) + epoch * STEP_S)
        fresh = [(name, now) for name in "ABCDK" if rng.random() < 0.9]
        if rng.random() < 0.1:  # a series whose readings arrive late
            self.waiting, fresh = self.waiting + fresh[-1:], fresh[:-1]
        late, self.waiting = (self.waiting, []) if rng.random() < 0.3 else ([], self.waiting)
        again = [rng.choice(self.stored)] if self.stored and rng.random() < 0.25 else []
        rows = [self._observe(name, at, now) for name, at in (*fresh, *late, *again)]
        if rng.random() < 0.1:  # a clock that is ahead
            rows.append(self._observe("A", now + timedelta(seconds=STEP_S * rng.randint(1, 4)), now))
        self.stored += [*fresh, *late]
        with self.database.write() as c:
            add_observations(c, rows, now)
            ids = {s.station: s.id for s in load_series(c, SITE.id)}
            name, at = rng.choice(self.stored)
            if rng.random() < 0.15:
                flag = rng.choice(("bad_fix", "-bad_fix", "step_confirmed"))
                c.execute(
                    insert(observation_flag).values(
                        series_id=ids[name],
                        observed_at=at,
                        revision=0,
                        flag=flag,
                        by="ada",
                        reason="seen",
                        known_from=now + timedelta(seconds=rng.choice((0.0, 2 * STEP_S))),
                    )
                )
            if rng.random() < 0.08:
                moved = {
                    "size": rng.uniform(5.0, 90.0),
                    "unit": "mm",
                    "kind": "rezero",
                    "author": ADA,
                    "reason": "bolt",
                }
                self.offsets.append(add_offset(c, ids[name], at=at, known_from=now, now=now, **moved))
            if self.offsets and rng.random() < 0.08:
                revoke_offset(c, self.offsets.pop(), ADA, "wrong station", now)
            if rng.random() < 0.03:  # retention that reaches into the window
                edge = now - timedelta(seconds=rng.randint(4, 20) * STEP_S)
                c.execute(observation.delete().where(observation.c.observed_at < edge))
        return now

    def _observe(self, name, at, now):
        rng = self.rng
        # An equal value is a duplicate; a different value is a revision.
        value, solution = round(rng.gauss(0.0, 3.0), 0), rng.choice((None, None, "rapid", "final", "corrected"))
        return Observation(SITE.id, name, "displacement", "mm", at, now, value, 1.0, solution)


def check_held_readings(database, seeds):
    """Check after every epoch that the inputs with a cache equal those without a cache."""
    for seed in seeds:
        with database.write() as c:
            c.execute(observation.delete())
        jumble, cache, memory = Jumble(database, seed), SiteReadingCache(SITE), Memory()
        for epoch in range(LENGTH):
            now = jumble.go_on(epoch) + timedelta(seconds=jumble.rng.choice((0.0, 60.0)))
            with database.read() as c:
                inputs, known_warm = load_inputs(c, SITE, now, draining=False, cache=cache)
                cold, known_cold = load_inputs(c, SITE, now, draining=False)
            assert canonical_json(inputs.to_json()) == canonical_json(cold.to_json()), f"seed {seed}, {now}"
            assert known_warm == known_cold
            decision = decide(cache.prepared, memory, inputs, now, cache.decision)
            if epoch % 6 == 0:
                again = decide(PreparedSite(SITE), memory, cold, now)
                assert canonical_json(again.to_json()) == canonical_json(decision.to_json())
            memory = decision.memory
        assert cache.was_used, "the cache was never used"


@pytest.mark.soak
@pytest.mark.parametrize("histories", with_soak(1, 60))
def test_cached_readings_equal_stored_readings(database, histories):
    check_held_readings(database, range(histories))


def test_stale_cached_readings_are_detected(database, monkeypatch):
    load_fingerprints = cache_module.load_fingerprints
    plain = {}

    def trust(c, stretches, known_at):
        return [
            plain.setdefault(s[:2], stamp)
            for s, stamp in zip(stretches, load_fingerprints(c, stretches, known_at), strict=True)
        ]

    monkeypatch.setattr(cache_module, "load_fingerprints", trust)
    monkeypatch.setattr(
        cache_module,
        "load_newer",
        lambda c, held, *rest: {
            i: (readings, plain_stamp)
            for i, _, plain_stamp in held
            if (readings := NEWER(c, held, *rest).get(i, ([], None))[0])
        },
    )
    with pytest.raises(AssertionError):
        check_held_readings(database, range(2))


NEWER = cache_module.load_newer


def test_evaluation_of_an_earlier_time_ignores_the_cache(database):
    jumble, cache = Jumble(database, 5), SiteReadingCache(SITE)
    instants = [jumble.go_on(epoch) for epoch in range(30)]
    for now in (instants[-1], instants[12], instants[20]):
        with database.read() as c:
            held, _ = load_inputs(c, SITE, now, draining=False, cache=cache)
            cold, _ = load_inputs(c, replace(SITE), now, draining=False)
        assert canonical_json(held.to_json()) == canonical_json(cold.to_json())


HOUR = timedelta(hours=1)
RANK = {"rapid": 0, None: 1, "final": 1, "corrected": 2}


def check_best_revision_counts(seeds):
    """Check that the best solution of each epoch counts, the last of equal ones, and that offsets are subtracted."""
    for seed in seeds:
        rng = random.Random(seed)
        rows, best = [], {}
        for epoch in range(rng.randint(1, 8)):
            at = format_iso(START + epoch * HOUR)
            for revision in range(rng.randint(1, 4)):
                solution = rng.choice((None, "rapid", "final", "corrected"))
                value = round(rng.uniform(-50.0, 50.0), 3)
                rows.append(
                    (at, format_iso(START + (epoch + revision) * HOUR), revision, value, 1.0, solution, "", None)
                )
                if at not in best or RANK[solution] >= RANK[best[at][1]]:
                    best[at] = (value, solution, revision)
        count = rng.randint(0, 3)
        offsets = sorted(
            (format_iso(START + rng.uniform(-1.0, 9.0) * HOUR), rng.uniform(-90.0, 90.0)) for _ in range(count)
        )
        readings = list(iter_readings(iter_counting(rows), offsets, {}))
        assert [format_iso(r.observed_at) for r in readings] == sorted(best)
        for reading in readings:
            at = format_iso(reading.observed_at)
            value, _, revision = best[at]
            moved = 0.0
            # From Python 3.12 on, `sum` rounds differently.
            for since, size in offsets:
                moved += size if since <= at else 0.0
            assert (reading.value_raw, reading.revision) == (value, revision), f"seed {seed}: another revision counts"
            assert reading.offset_applied == moved, f"seed {seed}: wrong offset"
            assert reading.value == value - moved


@pytest.mark.parametrize("count", with_soak(300, 10_000))
def test_best_revision_counts_and_offsets_are_subtracted(count):
    check_best_revision_counts(range(count))


@pytest.mark.parametrize(
    ("attribute", "broken"),
    [
        ("rank", lambda _: 0),  # the last received revision, whatever its solution
        ("rank", lambda solution: -module.SOLUTION_RANK.get(solution, 1)),
    ],
)
def test_variant_that_counts_another_revision_is_detected(attribute, broken, monkeypatch):
    monkeypatch.setattr(module, attribute, broken)
    with pytest.raises(AssertionError):
        check_best_revision_counts(range(50))


@dataclass(frozen=True, slots=True)
class Fact:
    """A row, offset or flag of a series, with the period in which it is known."""

    known_at: object
    until: object
    kind: str
    at: object
    value: object = None


def store_facts(database, seed, epochs=6):
    """Store readings, offsets and flags of a series hour by hour. Return its id and the facts."""
    rng, facts, name = random.Random(seed), [], f"S{seed}"
    open_offsets = []
    with database.write() as c:
        for hour in range(epochs):
            now = START + hour * HOUR
            ats = [START + k * HOUR for k in range(hour + 1) if k == hour or rng.random() < 0.3]
            for at in ats:
                solution, value = rng.choice((None, "rapid", "final", "corrected")), float(rng.randint(-99, 99))
                row = Observation("slope", name, "displacement", "mm", at, now, value, 1.0, solution)
                if add_observations(c, [row], now).stored:
                    facts.append(Fact(now, None, "row", at, (value, solution)))
            series_id = find_series_id(c, "slope", name, "displacement")
            at = rng.choice(ats)
            if rng.random() < 0.3:
                size = float(rng.randint(1, 50))
                open_offsets.append((enter_offset(c, series_id, at, size, now, kind="rezero"), len(facts)))
                facts.append(Fact(now, None, "offset", at, size))
            elif open_offsets and rng.random() < 0.3:
                number, place = open_offsets.pop()
                revoke_offset(c, number, ADA, "wrong", now)
                facts[place] = Fact(facts[place].known_at, now, "offset", facts[place].at, facts[place].value)
            if rng.random() < 0.3:
                add_flag(c, series_id, at, "bad", now)
                facts.append(Fact(now, None, "flag", at))
    return series_id, facts


def check_past_readings(database, seeds):
    """Check that the readings loaded as of an earlier time follow from the facts known at that time."""
    for seed in seeds:
        series_id, facts = store_facts(database, seed)
        for hour in range(6):
            then = START + hour * HOUR
            known_facts = [f for f in facts if f.known_at <= then and (f.until is None or f.until > then)]
            counting, count = {}, {}
            for f in known_facts:
                if f.kind == "row":
                    count[f.at] = count.get(f.at, -1) + 1
                    if f.at not in counting or RANK[f.value[1]] >= RANK[counting[f.at][0][1]]:
                        counting[f.at] = (f.value, count[f.at])
            with database.read() as c:
                readings = load_readings(c, series_id, None, then, then)
            assert [r.observed_at for r in readings] == sorted(counting), f"seed {seed}, hour {hour}"
            for r in readings:
                (value, _), revision = counting[r.observed_at]
                moved = sum(f.value for f in known_facts if f.kind == "offset" and f.at <= r.observed_at)
                bad = revision == 0 and any(f.kind == "flag" and f.at == r.observed_at for f in known_facts)
                assert (r.value_raw, r.revision, r.offset_applied) == (value, revision, moved), f"seed {seed}"
                assert r.flags == (("bad",) if bad else ()), f"seed {seed}"


@pytest.mark.parametrize("count", with_soak(300, 10_000))
def test_past_readings_are_loaded_as_they_were_known(database, count):
    check_past_readings(database, range(count // (20 if database.engine.dialect.name == "sqlite" else 100)))


@pytest.mark.parametrize("broken", ["load_offsets", "load_later_flags"])
def test_variant_that_uses_later_facts_is_detected(broken, database, monkeypatch):
    plain, late = getattr(module, broken), START + 99 * HOUR
    monkeypatch.setattr(module, broken, lambda c, i, *rest, **more: plain(c, i, *rest[:-1], late, **more))
    with pytest.raises(AssertionError):
        check_past_readings(database, range(30))
