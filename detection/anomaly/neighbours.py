"""What the other stations of a site explain: a reference that moved, weather on all, a slope that moves as one."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from detection.anomaly.windows import DAY_S, Array, Series, divide_by_scale, long_scale, row_median, sum_before

# A median of fewer than three others follows a single faulty one.
FEWEST_OTHERS: Final = 3
# Strange readings teach no dependence; the prior keeps a short record from inventing one.
CLIP: Final = 4.0
PRIOR: Final = 10.0
MOST: Final = 1.5


def explain_by_neighbours(signed: Mapping[str, Array], samples: Mapping[str, Series]) -> dict[str, Array]:
    """Signed strangeness of each station without what the median of the others explains, in its own robust scale.

    The share that is explained is regressed on the year before each cell, so stations that have nothing in common keep
    what they have. A fault of one station does not reach the others: three others at least have to agree.

    Args:
        signed: per station, one value per cell of its series, in robust scales.
        samples: the series, all on one interval; a reading is compared with those of the cell nearest in time.

    Returns:
        Per station, same shape.
    """
    names = sorted(signed)
    table, places = _lay_out(signed, samples, names)
    year = max(180, samples[names[0]].steps(365.0)) if names else 0
    out = {}
    for column, name in enumerate(names):
        own = table[:, column].copy()
        if len(names) > FEWEST_OTHERS:
            middle = row_median(np.delete(table, column, axis=1), FEWEST_OTHERS)
            own -= _regress(own, middle, year) * np.nan_to_num(middle, nan=0.0)
        mine = own[places[name] : places[name] + len(signed[name])]
        out[name] = _rescale(mine, samples[name])
    return out


def _lay_out(
    signed: Mapping[str, Array], samples: Mapping[str, Series], names: list[str]
) -> tuple[Array, dict[str, int]]:
    """All stations on the cells of the earliest one, shape (cells, stations), and the first cell of each."""
    begin = min((float(samples[name].times_s[0]) for name in names), default=0.0)
    places = {
        name: int(np.floor((float(samples[name].times_s[0]) - begin) / samples[name].step_s + 0.5)) for name in names
    }
    length = max((places[name] + len(signed[name]) for name in names), default=0)
    table = np.full((length, len(names)), np.nan)
    for column, name in enumerate(names):
        table[places[name] : places[name] + len(signed[name]), column] = signed[name]
    return table, places


def _regress(own: Array, middle: Array, width: int) -> Array:
    """The share of `middle` in `own` over the `width` cells before each cell, 0 to 1.5."""
    known = np.isfinite(own) & np.isfinite(middle)
    x = np.where(known, np.clip(middle, -CLIP, CLIP), 0.0)
    y = np.where(known, np.clip(own, -CLIP, CLIP), 0.0)
    share: Array = np.clip(sum_before(x * y, width) / (sum_before(x * x, width) + PRIOR), 0.0, MOST)
    return share


def _rescale(values: Array, series: Series) -> Array:
    """Divide by the larger of the robust scales of the ninety days and the two years before."""
    # Of a fast sensor there is more to learn from: thirty points half a day apart, where daily ones give twenty.
    fewest = 20 if series.step_s >= DAY_S else 60
    return divide_by_scale(values, long_scale(values, series, fewest))
