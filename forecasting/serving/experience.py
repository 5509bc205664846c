"""Whether the present lies within what calibration saw: beyond it no average and no network is believed.

A conformal novelty score (Laxhammar and Falkman 2010). Each feature of the present, from trailing rows alone, is its
distance from the median of the rows before, in their own median absolute deviations; the largest of them is the score.
Were the days exchangeable, the present would exceed the scores of n days once in n + 1. It must exceed them by a
quarter to count as outside, which makes false alarms rarer still.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.windows import known_median
from forecasting.kinematics.noise import MAD_TO_SIGMA
from forecasting.reasons import Reason

SEEN: Final = 400  # rows that calibration looks back: as many as adaptive intervals keep
FEWEST_SEEN: Final = 60  # rows without which nothing is said
TOO_NEW: Final = 30  # newest rows that are no experience yet, at least: what was forecast from them has not been scored
BEYOND: Final = 1.25  # times the largest score of the past
LEAST_TOP: Final = 3.0  # deviations that any past holds, however short or still
SPANS: Final = (4, 8, 16, 32)  # rows over which velocity and acceleration are taken
LEVEL_ROWS: Final = 3
"""A level is the median of so many rows, or of a quarter of the span: one wild reading is no motion."""
PACE_ROWS: Final = 8  # rows over which the present velocity is taken
PACE_FEWEST: Final = 40  # rows without which every pace is the usual one
USUAL_SHARE: Final = 0.9  # of the rows before, which moved no faster than the usual pace: nothing is stretched up to it
MOST_STRETCH: Final = 4.0  # times by which a margin is stretched at most; far beyond lies what calibration never saw
PACE_EVERY: Final = 30  # rows after which what is usual is looked up again
RESOLUTION: Final = 1e-3  # change of a level that no instrument resolves, mm: below it no scatter is believed
FAILING: Final = Reason("forecast.outside.failing")
LATELY: Final = Reason("forecast.outside.lately")


@dataclass(frozen=True, slots=True)
class Experience:
    """The present of one station beside its past."""

    # the score as a share of the limit: above 1 lies outside. None where too little was seen.
    novelty: float | None = None
    reason: Reason | None = None  # why it lies outside; None inside


def compare_motion(panel: Panel, longest: int) -> list[Experience]:
    """Velocity and acceleration of every station in the last row beside the rows before."""
    new = max(longest, TOO_NEW)
    values = panel.values[-(SEEN + new + 3 * max(SPANS)) :]
    features = np.concatenate([find_rates(values, span) for span in SPANS], axis=2)  # (T, S, 2 per span)
    floor = np.array([RESOLUTION / span**power for span in SPANS for power in (1, 2)])
    scores, which = _score(features[:-new][-SEEN:], features[-1], floor)
    out = []
    for s, score in enumerate(scores):
        if not score > 1.0:
            out.append(Experience(float(score) if np.isfinite(score) else None))
            continue
        per_day = DAY_S / panel.step_s
        f = int(which[s])
        is_motion, is_second = panel.unit == "mm", bool(f % 2)
        if is_second:
            kind, unit, scale = "acceleration" if is_motion else "change of the rate", f"{panel.unit}/day²", per_day**2
        else:
            kind, unit, scale = "velocity" if is_motion else "rate", f"{panel.unit}/day", per_day
        seen = np.abs(features[:-new][-SEEN:, s, f])
        now, most = float(features[-1, s, f]), float(np.nanmax(seen))
        out.append(_outside(float(score), kind, now, most, unit, float(scale)))
    return out


def compare_drivers(drivers: DriverRows | None, longest: int) -> Experience:
    """Rain and water in the last row beside the rows before; the season comes as it must."""
    drivers = drivers and drivers.without(("season",))
    if drivers is None or not drivers.names:
        return Experience()
    new = max(longest, TOO_NEW)
    seen, now = drivers.values[:-new][-SEEN:], drivers.values[-1]
    scores = [_score(seen[:, c, None, None], now[c, None, None], np.zeros(1))[0][0] for c in range(now.size)]
    if not np.isfinite(scores).any():
        return Experience()
    c = int(np.nanargmax(scores))
    if not scores[c] > 1.0:
        return Experience(float(scores[c]))
    return _outside(float(scores[c]), drivers.names[c], float(now[c]), float(np.nanmax(np.abs(seen[:, c]))), "", 1.0)


def _outside(novelty: float, what: str, now: float, largest: float, unit: str, scale: float) -> Experience:
    """Return how many times the largest value the present is, or, for a stop, the value that was not seen."""
    if abs(now) > largest > 0.0:
        return Experience(novelty, Reason("forecast.outside.larger", {"what": what, "times": abs(now) / largest}))
    return Experience(novelty, Reason("forecast.outside.unseen", {"what": what, "value": (now * scale, unit)}))


def _score(seen: Floats, now: Floats, floor: Floats) -> tuple[Floats, Ints]:
    """Score of the present as a share of the limit, NaN where not known, and which feature has it; each (S,)."""
    stations = now.shape[0]
    if seen.shape[0] < FEWEST_SEEN:
        return np.full(stations, np.nan), np.zeros(stations, dtype=np.int64)
    middle = known_median(seen)
    off = np.abs(seen - middle)
    count = np.maximum(np.isfinite(off).sum(axis=0), 1)
    spread = MAD_TO_SIGMA * known_median(off)
    # more than half of the rows alike: rain, or a logger that rounds
    spread = np.where(spread > floor, spread, np.maximum(np.nansum(off, axis=0) / count, floor))
    spread = np.where(spread > 0.0, spread, np.nan)
    past, present = off / spread, np.abs(now - middle) / spread
    past = np.where(np.isfinite(past), past, -np.inf).max(axis=2)
    present = np.where(np.isfinite(present), present, -np.inf)
    known = (np.isfinite(past).sum(axis=0) >= FEWEST_SEEN) & np.isfinite(present.max(axis=1))
    top = np.maximum(past.max(axis=0), LEAST_TOP)
    score = np.where(known, np.where(known, present.max(axis=1), 0.0) / (BEYOND * top), np.nan)
    return score, present.argmax(axis=1)


def find_rates(values: Floats, span: int) -> Floats:
    """Velocity and acceleration per row over a span, at every row, shape (T, S, 2); NaN where not known."""
    rows, stations = values.shape
    out = np.full((rows, stations, 2), np.nan)
    width = max(LEVEL_ROWS, span // 4)
    if rows < width:
        return out
    level = np.full((rows, stations), np.nan)
    windows = np.moveaxis(np.lib.stride_tricks.sliding_window_view(values, width, axis=0), 2, 0)
    level[width - 1 :] = np.where(2 * np.isfinite(windows).sum(axis=0) > width, known_median(windows), np.nan)
    out[span:, :, 0] = (level[span:] - level[:-span]) / span
    out[span:, :, 1] = (out[span:, :, 0] - out[:-span, :, 0]) / span
    return out


# ---- pace -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Pace:
    """Motion at some origins beside what was usual before them, mm per row, each (N, S)."""

    velocity: Floats  # over the newest rows, without its sign, at least the usual one; NaN where not known
    usual: Floats  # velocity that 90 % of the rows before kept below; NaN where too few are known
    step: Floats  # median change from one row to the next: motion and noise of a reading

    def stretch_over(self, steps: int) -> Floats:
        """Times by which errors over so many rows are larger than usual, 1 to 4, shape (N, S)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            square = (self.step**2 + (steps * self.velocity) ** 2) / (self.step**2 + (steps * self.usual) ** 2)
        return np.clip(np.where(np.isfinite(square), np.sqrt(square), 1.0), 1.0, MOST_STRETCH)


def see_pace(values: Floats, origins: Ints) -> Pace:
    """The pace at consecutive origins; nothing after an origin is read.

    >>> rows = np.concatenate([np.zeros(60), np.arange(1.0, 9.0) * 5.0]) + np.arange(68) % 2
    >>> see_pace(rows[:, None], np.array([59, 67])).stretch_over(7)[:, 0].round(1).tolist()
    [1.0, 4.0]
    """
    if not origins.size:
        return Pace(*(np.empty((0, values.shape[1])) for _ in range(3)))
    begin = max(0, int(origins[0]) - SEEN - PACE_ROWS - LEVEL_ROWS)
    seen = values[begin : int(origins[-1]) + 1]
    speed = np.abs(find_rates(seen, PACE_ROWS)[:, :, 0])
    change = np.abs(np.diff(seen, axis=0, prepend=np.nan))
    velocity = speed[origins - begin]
    usual, step = np.empty(velocity.shape), np.empty(velocity.shape)
    # counted from the last origin, so that it has the same answer alone
    for end in range(origins.size - 1 + PACE_EVERY, 0, -PACE_EVERY):
        block = slice(max(0, end - PACE_EVERY), end)
        at = int(origins[block][0]) - begin
        usual[block] = _find_share(speed[max(0, at - SEEN) : at], USUAL_SHARE)
        step[block] = _find_share(change[max(0, at - SEEN) : at], 0.5)
    return Pace(np.maximum(velocity, usual), usual, step)


def _find_share(rows: Floats, share: float) -> Floats:
    """What so many of the known rows keep below, shape (S,); NaN where fewer than 40 are known."""
    if rows.shape[0] < PACE_FEWEST:
        return np.full(rows.shape[1], np.nan)
    count = np.isfinite(rows).sum(axis=0)
    ranked = np.sort(rows, axis=0)  # NaN comes last
    found = ranked[np.minimum((share * count).astype(np.int64), ranked.shape[0] - 1), np.arange(rows.shape[1])]
    return np.where(count >= PACE_FEWEST, found, np.nan)
