"""Find faults of times: times that repeat, run backwards or jitter, a clock that was shifted, another interval."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from detection.anomaly.records import CertainFault
from detection.anomaly.stages import MAD_TO_SIGMA, Array

# Intervals from which the usual interval is found, and intervals after them that show a change.
USUAL: Final = 24
NEWEST: Final = 6
# Smallest shift of a clock, intervals.
MIN_SHIFT: Final = 0.1
# Smallest shift in multiples of the usual scatter of the times.
MIN_SCATTERS: Final = 10.0


def find_timing_faults(times_s: Sequence[float]) -> list[CertainFault]:
    """Return the faults of the times of one sensor, which are in the order in which its readings were received."""
    times = np.asarray(times_s, dtype=np.float64)
    return sorted([*_find_disorder(times), *_find_changes(np.unique(times))], key=lambda fault: fault.at_s)


def _find_disorder(times: Array) -> list[CertainFault]:
    """Find times that repeat or run backwards."""
    if len(times) < 2 or (np.diff(times) > 0).all():
        return []
    faults = []
    newest, was_backwards = -np.inf, False
    for at in times.tolist():
        if at == newest:
            faults.append(CertainFault(at, "timing", "the same instant twice"))
        elif at < newest and not was_backwards:
            faults.append(CertainFault(at, "timing", f"{newest - at:g} s before an earlier reading"))
        was_backwards = at < newest
        newest = max(newest, at)
    return faults


def _find_changes(times: Array) -> list[CertainFault]:
    """Find clocks that were shifted, readings that became more frequent, and times that began to jitter.

    Missing readings are no fault, because intervals are taken modulo the usual one. A sensor whose times scatter by
    more than a tenth of its interval is not checked. Each change gives one finding. The times after it are the new
    usual.
    """
    steps = np.diff(times)
    if len(steps) < USUAL + NEWEST:
        return []
    usual_s = np.median(np.lib.stride_tricks.sliding_window_view(steps, USUAL)[:-NEWEST], axis=1)
    newest = np.lib.stride_tricks.sliding_window_view(steps, NEWEST)[USUAL:]
    of_each = np.concatenate([np.full(len(steps) - len(usual_s), usual_s[0]), usual_s])
    phase = np.cumsum(steps - of_each * np.round(steps / of_each))
    usual_phase = np.lib.stride_tricks.sliding_window_view(phase, USUAL)[:-NEWEST]
    median = np.median(usual_phase, axis=1)
    usual_scatter = MAD_TO_SIGMA * np.median(np.abs(usual_phase - median[:, None]), axis=1)
    shifts = np.lib.stride_tricks.sliding_window_view(phase, NEWEST)[USUAL:] - median[:, None]
    shift = np.median(shifts, axis=1)
    # The scatter is that of differences without their median. So a single shift of the clock is no scatter, and neither
    # is a clock that gains or loses time.
    differences = np.diff(shifts, axis=1)
    differences -= np.median(differences, axis=1, keepdims=True)
    scatter = MAD_TO_SIGMA * np.median(np.abs(differences), axis=1) / np.sqrt(2.0)
    least = np.maximum(MIN_SHIFT * usual_s, MIN_SCATTERS * usual_scatter)
    is_steady = usual_scatter <= MIN_SHIFT * usual_s
    is_faster = is_steady & (newest < 0.8 * usual_s[:, None]).all(axis=1)
    jitters = is_steady & (scatter > least)
    is_shifted = is_steady & (np.abs(shifts) > least[:, None]).all(axis=1) & (scatter <= MIN_SHIFT * usual_s)
    faults, last = [], -USUAL
    for k in np.flatnonzero(is_faster | jitters | is_shifted).tolist():
        if k - last < USUAL:  # the new times are not yet the usual ones
            continue
        last = k
        at = float(times[k + USUAL + NEWEST])
        if is_faster[k]:
            detail = f"readings come every {np.median(newest[k]):g} s, usual are {usual_s[k]:g} s"
        elif jitters[k]:
            detail = f"instants scatter by {scatter[k]:.0f} s, usual are {usual_scatter[k]:.0f} s"
        else:
            detail = f"readings come {abs(shift[k]):.0f} s {'later' if shift[k] > 0 else 'earlier'} than they used to"
        faults.append(CertainFault(at, "timing", detail))
    return faults
