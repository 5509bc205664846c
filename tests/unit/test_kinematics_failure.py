"""The failure window: found before collapses, withdrawn when they do not come, and never from the future."""

import os
import random

from forecasting.kinematics.curves import draw_collapse
from forecasting.kinematics.failure import FailureIssue, FailureSpec, watch_failure

DAY = 86_400.0
HOUR = 3_600.0
SEEDS = 200 if os.environ.get("SLOPEWARD_SOAK") else 20


def watch(
    times: list[float], values: list[float], sigma: float, interval_s: float = DAY, from_s: float = -1e18
) -> list[FailureIssue]:
    return watch_failure(times, values, [0.0] * len(times), FailureSpec(interval_s, sigma), from_s=from_s)


# ---- law ---------------------------------------------------------------------------------------------------------
def test_an_issue_depends_on_nothing_after_its_datum() -> None:
    curve = draw_collapse(1001, sigma=1.0, rain=True, gaps=True)
    whole = watch(list(curve.times_s), list(curve.values), 1.0)
    rng = random.Random(4)
    for _ in range(12):
        cut = rng.randrange(60, len(whole))
        changed = [v if i <= cut else v + rng.uniform(-500.0, 500.0) for i, v in enumerate(curve.values)]
        assert watch(list(curve.times_s), changed, 1.0)[: cut + 1] == whole[: cut + 1]
        assert watch(list(curve.times_s[: cut + 1]), list(curve.values[: cut + 1]), 1.0) == whole[: cut + 1]


def test_one_update_is_the_last_of_the_backlog() -> None:
    curve = draw_collapse(1002, sigma=1.0, gaps=True)
    whole = watch(list(curve.times_s), list(curve.values), 1.0)
    for i in (40, 90, len(whole) - 3, len(whole) - 1):
        times, values = list(curve.times_s[: i + 1]), list(curve.values[: i + 1])
        assert watch(times, values, 1.0, from_s=times[-1] - 1.0) == [whole[i]]


def test_a_window_never_lies_before_the_newest_datum() -> None:
    for seed in range(1003, 1008):
        curve = draw_collapse(seed, sigma=1.0, alpha=(1.5, 2.5), rain=True, gaps=True)
        for x in watch(list(curve.times_s), list(curve.values), 1.0):
            if x.from_s is not None and x.mid_s is not None and x.to_s is not None:
                assert x.data_until_s <= x.from_s <= x.mid_s <= x.to_s
            assert x.trusted <= (x.from_s is not None)


def test_what_it_refuses_it_says() -> None:
    assert watch([], [], 1.0) == []
    assert watch([0.0], [1.0], 1.0)[0].reasons == ("too few data for a velocity",)
    still = watch([i * DAY for i in range(60)], [0.0] * 60, 0.0)
    assert {x.reasons[0][:8] for x in still[10:]} == {"velocity"}
    backwards = watch([i * DAY for i in range(60)], [-5.0 * i for i in range(60)], 1.0)
    assert all(x.from_s is None and x.velocity != 0.0 for x in backwards)
