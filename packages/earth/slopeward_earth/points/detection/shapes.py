"""What the change of a point looks like, one acquisition after it alarmed: a step, an acceleration, a phase jump."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.faults import noise_sigma
from detection.anomaly.stages import Array

WIDTH: Final = 36  # acquisitions that a shape is laid on
STARTS: Final = 15  # up to so many acquisitions before the alarm a change may have begun
AFTER: Final = 1  # acquisitions after the alarm that are looked at
FEWEST: Final = 8  # known values, of which no line is drawn through fewer
CYCLES: Final = 2  # wrong ones at once
NEAR: Final = 3.0  # standard deviations of the noise that a jump may differ from whole cycles,
NEAREST: Final = 0.25  # and at most this share of one
AT_ONCE: Final = 2000
STEP, ACCELERATION, SPIKE = 0, 1, 2
SHAPES: Final = ("step", "acceleration", "spike")


def name_shapes(values: Array, columns: NDArray[np.int64], jump_mm: float | None) -> tuple[list[str], list[float]]:
    """The kind of each alarm, and its size.

    A line and one of three shapes are laid through the last acquisitions by least squares, from every beginning that is
    possible: the best fit names it. A step or spike of whole wrong cycles is a phase jump; ground that moves as far
    cannot be told from it.

    Args:
        values: of each alarm the values of its point, mm; shape (alarms, acquisitions).
        columns: of each alarm the acquisition at which it began.
        jump_mm: by how much a wrong number of cycles changes a value; None where nobody knows it.

    Returns:
        Of each alarm `step`, `acceleration`, `spike`, `phase-jump` or `unknown`, and the mm that its shape adds up to.
    """
    kinds: list[str] = []
    sizes: list[float] = []
    for first in range(0, len(values), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        # the window of each alarm: `WIDTH` acquisitions that end `AFTER` its own, NaN beyond the record
        padded = np.pad(values[part], ((0, 0), (WIDTH, AFTER)), constant_values=np.nan)
        places = columns[part][:, None] + AFTER + 1 + np.arange(WIDTH)
        cut: Array = np.take_along_axis(padded, places, axis=1)
        window = cut
        shape, size = _fit(window)
        for row, k, mm in zip(window, shape.tolist(), size.tolist(), strict=True):
            kind = "unknown" if k < 0 else SHAPES[k]
            if k in {STEP, SPIKE} and jump_mm is not None and is_phase_jump(mm, noise_sigma(row), jump_mm):
                kind = "phase-jump"
            kinds.append(kind)
            sizes.append(mm)
    return kinds, sizes


def is_phase_jump(size_mm: float, noise_mm: float, jump_mm: float) -> bool:
    """Whether a jump is one of whole wrong cycles, as far as the noise lets it be told.

    >>> is_phase_jump(-26.0, 1.5, 27.7), is_phase_jump(14.0, 5.0, 27.7)
    (True, False)
    """
    cycles = round(abs(size_mm) / jump_mm)
    off = abs(abs(size_mm) - cycles * jump_mm)
    return 1 <= cycles <= CYCLES and off <= min(NEAR * noise_mm, NEAREST * jump_mm)


def _fit(window: Array) -> tuple[NDArray[np.int64], Array]:
    """Which of the shapes fits best, -1 where too little is known, and its size at the end of the window."""
    known = np.isfinite(window)
    y = np.where(known, window - np.nanmedian(window, axis=1)[:, None], 0.0)  # where it alarmed, it is known
    weight = known.astype(np.float64)
    at = np.arange(WIDTH, dtype=np.float64)
    best = np.full(len(window), np.inf)
    shape, size = np.full(len(window), -1), np.zeros(len(window))
    newest = WIDTH - 1 - AFTER
    for begin in range(newest, newest - STARTS, -1):
        after = at >= begin
        ramp = np.where(after, at - begin + 1.0, 0.0)
        # the newest shape is a step as long as nothing after it is known
        for k, basis in ((STEP, after.astype(np.float64)), (ACCELERATION, ramp**2), (SPIKE, (at == begin) * 1.0)):
            if (k == ACCELERATION and begin > newest - 1) or (k == SPIKE and begin != newest):
                continue
            left, factor = _solve(y, weight, np.stack([np.ones(WIDTH), (at - newest) / WIDTH, basis]))
            better = left < best * (1.0 - 1e-9)
            best, shape = np.where(better, left, best), np.where(better, k, shape)
            size = np.where(better, factor * basis.max(), size)
    return np.where(known.sum(axis=1) >= FEWEST, shape, -1), size


def _solve(y: Array, weight: Array, bases: Array) -> tuple[Array, Array]:
    """What least squares leave, and the factor of the last base; infinite where it cannot be told."""
    normal = np.einsum("rt,it,jt->rij", weight, bases, bases)
    right = np.einsum("rt,it->ri", y * weight, bases)
    with np.errstate(all="ignore"):
        good = np.linalg.cond(normal) < 1e10
    solved = np.linalg.solve(np.where(good[:, None, None], normal, np.eye(len(bases))), right[:, :, None])[:, :, 0]
    left = (weight * (y - solved @ bases) ** 2).sum(axis=1)
    return np.where(good, left, np.inf), solved[:, -1]
