"""The causal walk beside an offline search that sees the whole series at once, where both can know: clear steps."""

import numpy as np
import pytest

from monitor.decision.series.step_detector import StepDetector

DAY_S = 86400.0
ROWS = 240
NOISE_MM = 1.0
LIMIT_MM = 10.0


@pytest.mark.parametrize("seed", range(4))
def test_the_walk_finds_the_steps_of_an_offline_search(seed):
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
    for (_, jump), size in zip(walk.jumps, np.diff(levels), strict=True):
        assert jump.size[0] == pytest.approx(size, abs=5.0 * NOISE_MM)
