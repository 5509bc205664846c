"""What is passed over because it is steady: never an epoch at which a scatter ended elsewhere."""

import random

from monitor.decision.series.settled_offset import QUIET, ROUGH, find_settling, is_steady


def test_what_is_steady_has_not_settled_elsewhere():
    rng = random.Random(1)
    steady = 0
    for _ in range(1_000):
        axes, limit = rng.choice((1, 2, 3)), rng.choice((5.0, 20.0))
        spread, step = rng.uniform(0.0, 0.7 * limit), rng.uniform(0.0, 2.0 * limit)
        levels = [
            tuple(rng.uniform(0.0, spread if k < ROUGH else 0.01) + (step if k >= ROUGH else 0.0) for _ in range(axes))
            for k in range(ROUGH + QUIET)
        ]
        if is_steady(levels, limit):
            steady += 1
            assert find_settling(levels, [(0.0,) * axes] * len(levels), limit) is None
    assert 50 < steady < 950
