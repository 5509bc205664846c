"""How much worse a forecast becomes when one group is taken from another time (Breiman 2001; Fisher et al. 2019)."""

from collections.abc import Callable, Sequence

import numpy as np

from forecasting.data.series import Floats, Ints


def permutation_importance(
    error: Callable[[str | None, Ints], Floats], groups: Sequence[str], count: int, *, repeats: int, seed: int
) -> dict[str, Floats]:
    """Rise of the error when a group is exchanged between issue times, mean over repeats.

    Near 0: the group is not used, or another tells the same. Below 0: the forecast was better without it on these
    issue times, which on few of them is chance.

    Args:
        error: Error with a group exchanged in the order given (None: nothing exchanged), shape (H,).
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(count) for _ in range(repeats)]
    plain = error(None, np.arange(count))
    return {
        group: np.asarray(np.mean([error(group, order) - plain for order in orders], axis=0), dtype=np.float64)
        for group in groups
    }
