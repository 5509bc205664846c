"""Decompose windows of motion, all of one length, together.

A network must not read a decomposition of the whole record, because its parts depend on later values. These functions
decompose the window of each issue time by itself. A window ends at its issue time, so that no later row can change any
part.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecasting.data.features import FEATURES
from forecasting.data.series import Floats
from slopeward_lab.decompositions.ceemdan import split_together as split_by_ceemdan
from slopeward_lab.decompositions.emd import split_together as split_by_emd
from slopeward_lab.decompositions.vmd import split_together as split_by_vmd

PARTS: Final = 4
"""Parts of a window: the slow part and the three fastest modes. Slower modes are added to the slow part."""
SplitTogether = Callable[[Floats], Floats]
"""Decomposes series of one length, shape (C, n), into a slow part and modes from slow to fast, shape (C, K, n).

A series with fewer modes than others has zeros instead, before its slowest mode.
"""

_METHODS: Final[dict[str, SplitTogether]] = {"ceemdan": split_by_ceemdan, "emd": split_by_emd, "vmd": split_by_vmd}
# Windows that are decomposed together. CEEMDAN has 20 copies of each, whose arrays then fit into the processor cache:
# with 512 windows it takes twice as long.
_AT_ONCE: Final = {"ceemdan": 16, "emd": 512, "vmd": 512}
_VALUE: Final = FEATURES.index("value")
_OBSERVED: Final = FEATURES.index("observed")


def split_windows(windows: NDArray[np.float32], method: str) -> NDArray[np.float32]:
    """Return the parts of the displacement in each window, shape (N, S, W, `PARTS`), the slow part first.

    The sum of the parts is the displacement, less its value at the end of the window. Missing rows repeat the value
    before them, and rows before the first value repeat that value. All parts of a window without values are 0.

    Args:
        windows: Windows with the features `FEATURES`, shape (N, S, W, 4).
        method: `emd`, `ceemdan` or `vmd`.
    """
    shape = windows.shape[:3]
    series = _fill_gaps(windows).reshape(-1, shape[2])
    parts = np.zeros((series.shape[0], PARTS, shape[2]), dtype=np.float32)
    at_once = _AT_ONCE[method]
    for first in range(0, series.shape[0], at_once):
        chunk = series[first : first + at_once]
        split = _METHODS[method](chunk)
        modes_kept = min(PARTS, split.shape[1]) - 1
        slow = split[:, : split.shape[1] - modes_kept].sum(axis=1)
        parts[first : first + at_once, 0] = slow - chunk[:, -1:]
        if modes_kept:
            parts[first : first + at_once, -modes_kept:] = split[:, -modes_kept:]
    return parts.reshape(*shape[:2], PARTS, shape[2]).swapaxes(2, 3)


def _fill_gaps(windows: NDArray[np.float32]) -> Floats:
    """Return the displacement of each window without gaps, shape (N, S, W)."""
    observed = windows[..., _OBSERVED] > 0
    values = windows[..., _VALUE].astype(np.float64)
    numbers = np.arange(values.shape[-1])
    newest = np.maximum.accumulate(np.where(observed, numbers, -1), axis=-1)
    first = observed.argmax(axis=-1)[..., None]
    return np.take_along_axis(values, np.where(newest >= 0, newest, first), axis=-1)
