"""Faults of time itself: instants that repeat, run backwards or jitter, a clock that was moved, another interval."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from detection.anomaly.records import CertainFault
from detection.anomaly.stages import MAD_TO_SIGMA, Array

USUAL: Final = 24  # intervals that tell what is usual
NEWEST: Final = 6  # and those that show that it changed
MOVED: Final = 0.1  # of an interval
FAR: Final = 10.0  # times the usual scatter of the instants


def find_timing_faults(times_s: Sequence[float]) -> list[CertainFault]:
    """All faults of the instants of one sensor, in the order in which its readings came."""
    times = np.asarray(times_s, dtype=np.float64)
    return sorted([*_find_disorder(times), *_find_moved(np.unique(times))], key=lambda f: f.at_s)


def _find_disorder(times: Array) -> list[CertainFault]:
    if len(times) < 2 or (np.diff(times) > 0).all():
        return []
    found = []
    newest, was_back = -np.inf, False
    for at in times.tolist():
        if at == newest:
            found.append(CertainFault(at, "timing", "the same instant twice"))
        elif at < newest and not was_back:
            found.append(CertainFault(at, "timing", f"{newest - at:g} s before an earlier reading"))
        was_back = at < newest
        newest = max(newest, at)
    return found


def _find_moved(times: Array) -> list[CertainFault]:
    """A clock that was set anew, readings that come faster, instants that begin to jitter.

    Missing readings are none of these: intervals are taken modulo the usual one. A sensor whose instants scatter by
    more than a tenth of its interval is not judged. One finding per change; what follows is the new usual.
    """
    steps = np.diff(times)
    if len(steps) < USUAL + NEWEST:
        return []
    usual_s = np.median(np.lib.stride_tricks.sliding_window_view(steps, USUAL)[:-NEWEST], axis=1)
    now = np.lib.stride_tricks.sliding_window_view(steps, NEWEST)[USUAL:]
    of_each = np.concatenate([np.full(len(steps) - len(usual_s), usual_s[0]), usual_s])
    phase = np.cumsum(steps - of_each * np.round(steps / of_each))
    old = np.lib.stride_tricks.sliding_window_view(phase, USUAL)[:-NEWEST]
    middle = np.median(old, axis=1)
    usual_scatter = MAD_TO_SIGMA * np.median(np.abs(old - middle[:, None]), axis=1)
    away = np.lib.stride_tricks.sliding_window_view(phase, NEWEST)[USUAL:] - middle[:, None]
    moved = np.median(away, axis=1)
    # from neighbour to neighbour: a single jump of the clock is no scatter, and neither is a clock that runs away
    hops = np.diff(away, axis=1)
    hops -= np.median(hops, axis=1, keepdims=True)
    scatter = MAD_TO_SIGMA * np.median(np.abs(hops), axis=1) / np.sqrt(2.0)
    least = np.maximum(MOVED * usual_s, FAR * usual_scatter)
    is_steady = usual_scatter <= MOVED * usual_s
    faster = is_steady & (now < 0.8 * usual_s[:, None]).all(axis=1)
    jitters = is_steady & (scatter > least)
    is_moved = is_steady & (np.abs(away) > least[:, None]).all(axis=1) & (scatter <= MOVED * usual_s)
    found, last = [], -USUAL
    for k in np.flatnonzero(faster | jitters | is_moved).tolist():
        if k - last < USUAL:  # until what is new has become usual
            continue
        last = k
        at = float(times[k + USUAL + NEWEST])
        if faster[k]:
            detail = f"readings come every {np.median(now[k]):g} s, usual are {usual_s[k]:g} s"
        elif jitters[k]:
            detail = f"instants scatter by {scatter[k]:.0f} s, usual are {usual_scatter[k]:.0f} s"
        else:
            detail = f"readings come {abs(moved[k]):.0f} s {'later' if moved[k] > 0 else 'earlier'} than they used to"
        found.append(CertainFault(at, "timing", detail))
    return found
