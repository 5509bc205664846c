"""How each station moved at an issue: who is right in creep may be wrong in a rush, so scores are kept apart."""

from collections.abc import Sequence

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints
from forecasting.data.windows import trailing

QUIET, STEADY, RUSHING = 0, 1, 2
STAGES = ("quiet", "steady", "rushing")
SHORT_DAYS, LONG_DAYS = 14, 60
RUSH = 1.5  # ratio of the short to the long velocity from which a station counts as rushing
CLEAR = 3.0  # movement over the short span, in units of the noise, below which a station counts as quiet


def spans_of(step_s: float) -> tuple[int, int]:
    """Rows of the short and the long velocity."""
    return max(2, round(SHORT_DAYS * DAY_S / step_s)), max(2, round(LONG_DAYS * DAY_S / step_s))


def find_stages(values: Floats, rows: Ints, noise_mm: Floats, spans: Sequence[int]) -> Ints:
    """0 quiet, 1 steady, 2 rushing for each row and station, shape (N, S), from rows up to it."""
    short, long = spans
    found = trailing(values, rows, (short, long))
    fast, slow = np.abs(found[short].slope), np.abs(found[long].slope)
    moves = fast * short > CLEAR * noise_mm
    rushes = moves & (fast > RUSH * slow)
    return np.where(rushes, RUSHING, np.where(moves, STEADY, QUIET)).astype(np.int64)
