"""Rules 2, 10 and 11 on random stores: what speaks of an epoch, what was known when, and what offsets do to it."""

import random
from dataclasses import dataclass
from datetime import timedelta

import pytest

from monitor.domain.alert import Actor
from monitor.domain.instants import format_iso
from monitor.domain.observation import Observation
from monitor.store.alerting.offsets import revoke_offset
from monitor.store.readings import observations as module
from monitor.store.readings.observations import (
    add_observations,
    find_series_id,
    iter_readings,
    iter_speaking,
    load_readings,
)
from tests.data.store_rows import add_flag, enter_offset
from tests.property.alerting_histories import SOAK, START

COUNT = 10_000 if SOAK else 1_000
HOUR = timedelta(hours=1)
RANK = {"rapid": 0, None: 1, "final": 1, "corrected": 2}
ADA = Actor("ada")


def check_newest_revision_speaks(seeds):
    """Of each epoch the best solution, and of equals the last that came; offsets of before are taken out."""
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
        found = list(iter_readings(iter_speaking(rows), offsets, {}))
        assert [format_iso(r.observed_at) for r in found] == sorted(best)
        for reading in found:
            at = format_iso(reading.observed_at)
            value, _, revision = best[at]
            moved = 0.0
            for since, size in offsets:  # `sum` rounds otherwise from Python 3.12 on
                moved += size if since <= at else 0.0
            assert (reading.value_raw, reading.revision) == (value, revision), f"seed {seed}: another revision speaks"
            assert reading.offset_applied == moved, f"seed {seed}: offsets"
            assert reading.value == value - moved


def test_the_newest_revision_speaks_with_offsets_taken_out():
    check_newest_revision_speaks(range(COUNT))


@pytest.mark.parametrize(
    ("attribute", "broken"),
    [
        ("rank", lambda _: 0),  # the last that came, whatever its solution
        ("rank", lambda solution: -module.SOLUTION_RANK.get(solution, 1)),
    ],
)
def test_a_variant_in_which_another_revision_speaks_is_caught(attribute, broken, monkeypatch):
    monkeypatch.setattr(module, attribute, broken)
    with pytest.raises(AssertionError):
        check_newest_revision_speaks(range(50))


@dataclass(frozen=True, slots=True)
class Fact:
    """Anything that became known of a series, and until when it held."""

    known_at: object
    until: object
    kind: str
    at: object
    value: object = None


def tell(database, seed, epochs=6):
    """A series to which things are added hour by hour; returns them as facts."""
    rng, facts, name = random.Random(seed), [], f"S{seed}"
    standing = []
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
                standing.append((enter_offset(c, series_id, at, size, now, kind="rezero"), len(facts)))
                facts.append(Fact(now, None, "offset", at, size))
            elif standing and rng.random() < 0.3:
                number, place = standing.pop()
                revoke_offset(c, number, ADA, "wrong", now)
                facts[place] = Fact(facts[place].known_at, now, "offset", facts[place].at, facts[place].value)
            if rng.random() < 0.3:
                add_flag(c, series_id, at, "bad", now)
                facts.append(Fact(now, None, "flag", at))
    return series_id, facts


def check_known_then(database, seeds):
    """Asked later what was known at an instant, the store says what the facts of that instant say."""
    for seed in seeds:
        series_id, facts = tell(database, seed)
        for hour in range(6):
            then = START + hour * HOUR
            known = [f for f in facts if f.known_at <= then and (f.until is None or f.until > then)]
            speaking, count = {}, {}
            for f in known:
                if f.kind == "row":
                    count[f.at] = count.get(f.at, -1) + 1
                    if f.at not in speaking or RANK[f.value[1]] >= RANK[speaking[f.at][0][1]]:
                        speaking[f.at] = (f.value, count[f.at])
            with database.read() as c:
                found = load_readings(c, series_id, None, then, then)
            assert [r.observed_at for r in found] == sorted(speaking), f"seed {seed}, hour {hour}"
            for r in found:
                (value, _), revision = speaking[r.observed_at]
                moved = sum(f.value for f in known if f.kind == "offset" and f.at <= r.observed_at)
                bad = revision == 0 and any(f.kind == "flag" and f.at == r.observed_at for f in known)
                assert (r.value_raw, r.revision, r.offset_applied) == (value, revision, moved), f"seed {seed}"
                assert r.flags == (("bad",) if bad else ()), f"seed {seed}"


def test_the_past_is_told_as_it_was_known(database):
    check_known_then(database, range(COUNT // (10 if database.engine.dialect.name == "sqlite" else 100)))


@pytest.mark.parametrize("broken", ["load_offsets", "load_later_flags"])
def test_a_variant_that_knows_the_future_is_caught(broken, database, monkeypatch):
    plain, late = getattr(module, broken), START + 99 * HOUR
    monkeypatch.setattr(module, broken, lambda c, i, *rest, **more: plain(c, i, *rest[:-1], late, **more))
    with pytest.raises(AssertionError):
        check_known_then(database, range(30))
