"""Speckle: mean intensities of one ground on two dates, and by how much their ratio strays where nothing changed.

The intensity of a radar image over even ground is Gamma distributed with a shape of the equivalent number of looks
(ENL). Of `before` and `after` dates the means of unchanged ground have a ratio that follows Fisher's F with twice as
many degrees of freedom: the likelihood ratio test of two Gamma laws depends on that ratio alone. It is the test of
Conradsen and others (2003, IEEE TGRS 41(1), 4-19) for one polarisation; ratio instead of difference because its spread
does not depend on the brightness (Rignot and van Zyl 1993, IEEE TGRS 31(4), 896-906).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOOKS = (0.3, 2000.0)
DECIBEL = float(10.0 / np.log(10.0))


@dataclass(frozen=True, slots=True)
class SpeckleLaw:
    """How the logarithm of the ratio strays over unchanged ground."""

    looks: float  # equivalent number of looks of one date
    before: int  # dates before
    after: int  # dates after
    centre: float = 0.0  # what is taken away: the change that all ground shares, natural logarithm

    def bounds(self, false_alarms: float) -> tuple[float, float]:
        """The logarithms below and above which unchanged ground comes to lie with this chance, both together.

        >>> [round(float(value), 3) for value in SpeckleLaw(20.0, 1, 1).bounds(1e-3)]
        [-1.071, 1.071]
        """
        from scipy import stats  # half a second, and few scenes are radar

        degrees = 2 * self.looks * self.after, 2 * self.looks * self.before
        return (
            float(np.log(stats.f.ppf(false_alarms / 2, *degrees))) + self.centre,
            float(np.log(stats.f.isf(false_alarms / 2, *degrees))) + self.centre,
        )


def fit_law(logarithms: NDArray[np.floating], before: int, after: int, looks: float | None = None) -> SpeckleLaw:
    """Estimate looks and centre from the quartiles of log(after / before): up to a quarter may have changed either way.

    What ordinary ground does between the dates (moisture, growth) widens the quartiles and lowers the looks: the
    threshold is then higher than speckle alone asks for.
    """
    from scipy import stats

    low, middle, high = (float(one) for one in np.percentile(logarithms, [25, 50, 75]))
    found = looks or _find_looks(high - low, before, after)
    return SpeckleLaw(
        found, before, after, middle - float(np.log(stats.f.median(2 * found * after, 2 * found * before)))
    )


def _find_looks(spread: float, before: int, after: int) -> float:
    from scipy import stats

    least, most = LOOKS
    for _ in range(60):
        looks = float(np.sqrt(least * most))
        low, high = stats.f.ppf([0.25, 0.75], 2 * looks * after, 2 * looks * before)
        if np.log(high / low) > spread:
            least = looks
        else:
            most = looks
    return looks


def to_decibel(logarithm: float) -> float:
    """A natural logarithm of a ratio of intensities in dB."""
    return float(logarithm * DECIBEL)
