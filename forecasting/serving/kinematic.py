"""The kinematic forecast takes over where the present lies outside what calibration saw, row by row, never at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Panel
from forecasting.kinematics.extrapolation import extrapolate, is_boundless, measure_grid_noise
from forecasting.kinematics.failure import FailureIssue, FailureSpec, Watch
from forecasting.reasons import Reason
from forecasting.serving.experience import (
    FAILING,
    LATELY,
    SEEN,
    Experience,
    Pace,
    compare_drivers,
    compare_motion,
    see_pace,
)
from forecasting.serving.path import lay_paths
from forecasting.serving.records import KINEMATIC, QUANTILE_NAMES, SHORT, Forecast, Withheld, name_quantiles, not_shown
from forecasting.simple.auto import Auto

PACE_ROWS: Final = 24
"""Rows in which a failure window is looked for that has passed since, and over which the way of the motion is taken."""
NEAR: Final = 0.5  # novelty below which no failure window is looked for
TAKES_OVER: Final = 4
"""Newest rows outside after which the kinematic forecast stands alone; as many inside, and it is gone."""
SCORED: Final = 8  # newest forecasts of the nearest horizon whose errors hasten that, or hold it back
SWAY: Final = 3.0  # times the odds that they can change


@dataclass(frozen=True, slots=True)
class _Present:
    """One station now: whether its motion was seen before, and the failure that it leads to."""

    experience: Experience  # as its velocity and acceleration say, or the failure
    # early edge, middle and late edge of the failure window, in rows from now; None where none stands
    window: tuple[float, float, float] | None = None
    late_s: float = inf  # when it would have failed at the latest, where that can be trusted
    lasted: int = 0  # of the newest `TAKES_OVER` rows, how many lay outside


@dataclass(frozen=True, slots=True)
class Motion:
    """How the stations of a panel move in its last row, looked at once for all models that forecast from it."""

    panel: Panel
    present: dict[str, _Present]
    made: dict[tuple[str, tuple[int, ...]], Floats] = field(default_factory=dict)
    paces: dict[int, Pace] = field(default_factory=dict)

    def pace_from(self, first: int) -> Pace:
        """The pace at the rows from `first` to the last."""
        if first not in self.paces:
            rows = np.arange(first, self.panel.values.shape[0], dtype=np.int64)
            self.paces[first] = see_pace(self.panel.values, rows)
        return self.paces[first]

    def extrapolate(self, station: str, steps: tuple[int, ...]) -> Floats:
        """Quantiles of the kinematic forecast of one station so many rows ahead, shape (H, 5)."""
        if (station, steps) not in self.made:
            values = self.panel.values[-SEEN:, self.panel.stations.index(station)]
            self.made[station, steps] = extrapolate(values, steps, self.present[station].window)
        return self.made[station, steps]

    def share_of(self, station: str, auto: Auto | None) -> float:
        """The share of the kinematic forecast in what is served: by the rows outside, and by what each has erred."""
        lasted = self.present[station].lasted
        if lasted >= TAKES_OVER:
            return 1.0
        odds = lasted / (TAKES_OVER - lasted) * (1.0 if auto is None else self._lead(station, auto))
        return odds / (1.0 + odds)

    def _lead(self, station: str, auto: Auto) -> float:
        values, s = self.panel.values, self.panel.stations.index(station)
        h, last = min(auto.steps, default=0), values.shape[0] - 1
        origins = np.arange(max(auto.first, last - h - SCORED + 1, 0), last - h + 1, dtype=np.int64)
        if not h or not origins.size:
            return 1.0
        made = auto.predict(values, np.append(origins, last))[:-1, s, auto.steps.index(h)]
        own = np.array([extrapolate(values[max(0, o + 1 - SEEN) : o + 1, s], (h,))[0, 2] for o in origins])
        off = np.abs(np.stack([made, own]) - values[origins + h, s])
        known = np.isfinite(off).all(axis=0)
        usual, ours = off[:, known].sum(axis=1) + measure_grid_noise(values[:, s])
        return float(np.clip((usual / ours) ** 2, 1.0 / SWAY, SWAY)) if ours > 0.0 else 1.0


def see_motion(panel: Panel, longest: int) -> Motion:
    """Look at the motion of every station in the last row."""
    rows = panel.values.shape[0]
    judged = [compare_motion(panel.head(rows - back), longest) for back in range(min(TAKES_OVER, rows))]
    return Motion(
        panel,
        {name: _see(panel, panel.values[:, s], [one[s] for one in judged]) for s, name in enumerate(panel.stations)},
    )


def step_in(
    panel: Panel,
    drivers: DriverRows | None,
    rows: Sequence[Forecast],
    longest: int,
    motion: Motion | None = None,
    auto: Auto | None = None,
) -> tuple[list[Forecast], list[Withheld]]:
    """Say of each row whether its present was seen before; where not it is closed and a kinematic one is added.

    Rain and water outside experience close the models that read them; the motion outside experience closes all. What
    is added holds its share of the row it stands beside (`Motion.share_of`), so that what is served does not jump when
    one takes over from the other. It lies on one path, like the rows of every model: a law of failure that ends
    tomorrow is not believed alone.

    Args:
        drivers: Those that the model of the rows reads.
        motion: As `see_motion` finds it, where another model has looked.
        auto: What the errors of the kinematic forecast are compared with; None: rows alone count.
    """
    motion = motion or see_motion(panel, longest)
    present = motion.present
    of_station: dict[str, list[Forecast]] = {}
    driven = compare_drivers(drivers, longest)
    out: list[Forecast] = []
    added: list[Forecast] = []
    withheld: list[Withheld] = []
    for row in rows:
        found = present[row.station].experience
        why = found.reason or driven.reason
        reason = not_shown(why) if why is not None and row.shown else row.reason
        inside = why is None
        out.append(replace(row, novelty=found.novelty, outside=not inside, shown=row.shown and inside, reason=reason))
        of_station.setdefault(row.station, []).append(out[-1])
    for station, there in present.items():
        outside = there.experience.reason
        if outside is None:
            continue
        served = of_station.get(station, [])
        alone, held = _extrapolate(motion, served, there, outside, motion.share_of(station, auto))
        # on its path before it is mixed: beyond reach a small share of it would outweigh the rest
        added += lay_paths(panel, _mix(lay_paths(panel, alone), served))
        withheld += held
    return out + added, withheld


def _extrapolate(
    motion: Motion, rows: Sequence[Forecast], present: _Present, reason: Reason, share: float
) -> tuple[list[Forecast], list[Withheld]]:
    rows = sorted(rows, key=lambda row: row.horizon_s)
    if not rows:
        return [], []
    panel = motion.panel
    made = motion.extrapolate(rows[0].station, tuple(panel.steps(row.horizon_s) for row in rows))
    out, withheld = [], []
    for row, quantiles in zip(rows, made, strict=True):
        why = None
        if present.late_s <= panel.end_s:
            why = Reason("forecast.window_passed")
        elif row.target_s > present.late_s:
            why = Reason("forecast.window_ends", {"horizon": row.horizon_s})
        elif is_boundless(panel.values[-SEEN:, panel.stations.index(row.station)]):
            why = Reason("forecast.boundless")
        elif not np.isfinite(quantiles).all():
            why = SHORT
        if why is not None:
            withheld.append(Withheld(KINEMATIC, row.station, row.horizon_s, why, row.data_until_s))
            continue
        out.append(
            replace(
                row,
                **name_quantiles(quantiles),
                model=KINEMATIC,
                model_hash=None,
                margins={},
                weight=share,
                shown=True,
                reason=reason,
                replaces=row.model,
            )
        )
    return out, withheld


def _mix(alone: Sequence[Forecast], served: Sequence[Forecast]) -> list[Forecast]:
    rows = {(row.model, row.horizon_s): row for row in served}
    out = []
    for one in alone:
        other, share = rows[one.replaces or "", one.horizon_s], 1.0 if one.weight is None else one.weight
        joined = {q: share * getattr(one, q) + (1.0 - share) * getattr(other, q) for q in QUANTILE_NAMES}
        out.append(replace(one, **joined) if share < 1.0 else one)
    return out


def _see(panel: Panel, values: Floats, judged: Sequence[Experience]) -> _Present:
    """The motion beside its past, and the failure that it leads to: none is in the past of a slope that stands."""
    found = judged[0]
    seen = np.flatnonzero(np.isfinite(values))[-SEEN:]
    still = all(one.novelty is not None and one.novelty < NEAR for one in judged)
    # only displacement leads to a failure
    if seen.size < 2 or is_boundless(values[seen]) or still or panel.unit != "mm":
        return _last(judged)
    moved = values[seen[-1]] - values[seen[max(0, seen.size - PACE_ROWS)]]
    times = (panel.start_s + panel.step_s * seen).tolist()
    along = (values[seen] * (1.0 if moved >= 0.0 else -1.0)).tolist()
    watch = Watch(times, along, [0.0] * len(times), FailureSpec(panel.step_s, measure_grid_noise(values)))
    back = range(min(len(judged), len(times)))
    present = _last([_or_failing(judged[b], watch.issue(len(times) - 1 - b)) for b in back])
    newest = watch.issue(len(times) - 1)
    if newest.to_s is not None:
        edges = newest.from_s, newest.mid_s, newest.to_s
        early, middle, late = (((at or 0.0) - panel.end_s) / panel.step_s for at in edges)
        return replace(present, window=(early, middle, late), late_s=newest.to_s if newest.trusted else inf)
    if found.reason is None or newest.slowed:
        return present
    for row in range(1, min(PACE_ROWS, len(times))):
        before = watch.issue(len(times) - 1 - row)
        if before.slowed:
            break  # the motion was over, and so was what had been foretold of it
        if before.to_s is not None and before.trusted:
            # a window of an earlier look counts only once its late edge is over
            return replace(present, late_s=before.to_s if before.to_s <= panel.end_s else inf)
    return present


def _or_failing(found: Experience, issue: FailureIssue) -> Experience:
    """Outside where a failure window stands, whatever the pace."""
    stands = found.reason is None and issue.to_s is not None
    return Experience(found.novelty, FAILING) if stands else found


def _last(judged: Sequence[Experience]) -> _Present:
    lasted = sum(one.reason is not None for one in judged)
    reason = judged[0].reason or (LATELY if lasted else None)
    return _Present(Experience(judged[0].novelty, reason), lasted=lasted)
