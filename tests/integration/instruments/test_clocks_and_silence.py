"""A station is silent when it is silent: no clock that is accepted delays the word of it, no restart takes it back."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

import pytest

from monitor.alerting.evaluate import Evaluator
from monitor.config.service import parse_site
from monitor.domain.observation import Observation
from monitor.ingest.quality import FUTURE_TOLERANCE
from monitor.jobs.movement.movement_state import Path
from monitor.store.alerting.sites import save_site
from monitor.store.readings.observations import add_observations
from monitor.store.schema.views import load_view
from tests.data.store_rows import ask, tell
from tests.data.watched_slope import SITE_TEXT, START

READINGS = 8
FUTURE_S = FUTURE_TOLERANCE.total_seconds()


@dataclass(frozen=True)
class Story:
    """G1 sends some readings by its clock and falls silent; core looks every tick and may be started anew."""

    interval_s: int
    allowed_s: int
    tick_s: int
    restart_s: float | None  # after the last reception; two looks then drain


def watch(database, name, story, shift_s, drift=0.0):
    """(seconds after its last reception, state) of every look from the last reading but two on."""
    text = SITE_TEXT.replace('id = "bench"', f'id = "{name}"')
    text = text.replace('interval = "1h"', f'interval = "{story.interval_s}s"')
    site = parse_site(text.replace('max_silence = "6h"', f'max_silence = "{story.allowed_s}s"'), f"{name}.toml")
    last = START + READINGS * timedelta(seconds=story.interval_s)
    tell(database, save_site, site, "test", "test", START)
    seen, draining, evaluate, sent = [], 0, Evaluator(), 0
    for after_s in range(-2 * story.interval_s, story.allowed_s + 6 * story.tick_s, story.tick_s):
        now = last + timedelta(seconds=after_s)
        with database.write() as c:
            while sent <= READINGS and (at := START + sent * timedelta(seconds=story.interval_s)) <= now:
                ahead = timedelta(seconds=shift_s + drift * sent * story.interval_s)
                flags = ("future",) if ahead > FUTURE_TOLERANCE else ()
                row = (name, "G1", "crack_opening", "mm", at + ahead, at, 0.1 * (sent % 3))
                add_observations(c, [Observation(*row, flags=flags)], at)
                sent += 1
        if story.restart_s is not None and after_s >= story.restart_s and draining < 2:
            evaluate, draining = (Evaluator() if draining == 0 else evaluate), draining + 1
            evaluate(database, site, now, "start", draining=True)
        else:
            evaluate(database, site, now, "tick", draining=False)
        (row,) = ask(database, load_view, "station_health", site=name, station="G1")
        seen.append((after_s, row["state"]))
    return seen


def silent_from(seen):
    return next((after_s for k, (after_s, _) in enumerate(seen) if all(s == "silent" for _, s in seen[k:])), None)


def draw(luck):
    interval_s = luck.choice((60, 120, 300))
    tick_s = 60
    allowed_s = interval_s * luck.randint(2, 6)
    restart_s = luck.choice((None, luck.uniform(0, allowed_s), allowed_s + tick_s))
    return Story(interval_s, allowed_s, tick_s, restart_s)


@pytest.mark.parametrize("seed", range(2))
def test_a_shifted_clock_never_delays_the_word_of_silence(database, seed):
    luck = Random(seed)
    story = draw(luck)
    right = silent_from(watch(database, "right", story, 0.0))
    assert right is not None
    assert right <= story.allowed_s + 5 * story.tick_s
    clocks = {
        "ahead": (240.0, 0.0),
        "atmost": (FUTURE_S, 0.0),
        "some": (luck.uniform(0.0, FUTURE_S), 0.0),
        "behind": (-240.0, 0.0),
        "refused": (59 * 60.0, 0.0),
        "zone": (-3600.0, 0.0),
        "drifts": (0.0, FUTURE_S / (READINGS * story.interval_s)),
    }
    for name, (shift_s, drift) in clocks.items():
        seen = watch(database, name, story, shift_s, drift)
        found = silent_from(seen)
        assert found is not None, (name, story, seen)
        assert found <= right + story.tick_s, (name, story, seen)
        if 0.0 <= shift_s <= FUTURE_S:
            assert found == right, (name, story, seen)
            alive = [state for after_s, state in seen if after_s <= 0]
            assert set(alive) <= {"ok", "unknown"}, (name, story, seen)
            quiet = [state for after_s, state in seen if after_s >= right]
            assert set(quiet) == {"silent"}, (name, story, seen)


def test_the_movement_of_a_clock_ahead_is_as_old_as_its_reception():
    path = Path((0.0, 240.0), (0.0, 0.0), (0.1, 0.1), 0, stuck=False, ahead_s=240.0)
    assert path.is_fresh(60.0, 60.0)
    assert not path.is_fresh(61.0, 60.0)
