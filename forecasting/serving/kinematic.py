"""The kinematic forecast steps in where the present lies outside what calibration saw."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Panel
from forecasting.data.units import spell_span
from forecasting.kinematics.extrapolation import extrapolate, is_boundless, measure_grid_noise
from forecasting.kinematics.failure import FailureSpec, Watch
from forecasting.message import Template
from forecasting.serving.experience import FAILING, SEEN, Experience, judge_drivers, judge_motion
from forecasting.serving.pace import Pace, see_pace
from forecasting.serving.path import lay_paths
from forecasting.serving.records import KINEMATIC, NOT_SHOWN, SHORT, Forecast, Withheld

LOOK_BACK: Final = 24
"""Rows in which a failure window is looked for that has passed since, and over which the way of the motion is taken."""
NEAR: Final = 0.5
"""Novelty below which no failure window is looked for."""
_PASSED: Final = Template("forecast.window_passed", "the failure window has passed: the motion cannot be foretold")()
_ENDS: Final = Template(
    "forecast.window_ends", "the failure window ends before {horizon}: the motion cannot be foretold"
)
_BOUNDLESS: Final = Template("forecast.boundless", "a reading lies beyond all bounds")()


@dataclass(frozen=True, slots=True)
class _Present:
    """One station now: whether its motion was seen before, and the failure that it leads to.

    Attributes:
        experience: As its velocity and acceleration say, or the failure.
        window: Early edge, middle and late edge of the failure window, in rows from now; None where none stands.
        late_s: When it would have failed at the latest, where that can be trusted.
    """

    experience: Experience
    window: tuple[float, float, float] | None = None
    late_s: float = inf


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


def see_motion(panel: Panel, longest: int) -> Motion:
    """Look at the motion of every station in the last row.

    Args:
        panel: Its last row is the moment of issue.
        longest: Longest horizon in rows.
    """
    judged = judge_motion(panel, longest)
    return Motion(panel, {name: _see(panel, panel.values[:, s], judged[s]) for s, name in enumerate(panel.stations)})


def step_in(
    panel: Panel, drivers: DriverRows | None, rows: Sequence[Forecast], longest: int, motion: Motion | None = None
) -> tuple[list[Forecast], list[Withheld]]:  # fmt: skip
    """Say of each row whether its present was seen before; where not it is closed and a kinematic one is added.

    Rain and water outside experience close the models that read them; the motion outside experience closes all. What
    is added lies on one path, like the rows of every model: a law of failure that ends tomorrow is not believed alone.

    Args:
        panel: Its last row is the moment of issue.
        drivers: Those that the model of the rows reads.
        rows: As the model made them.
        longest: Longest horizon in rows.
        motion: As `see_motion` finds it, where another model has looked.
    """
    motion = motion or see_motion(panel, longest)
    present = motion.present
    of_station: dict[str, list[Forecast]] = {}
    driven = judge_drivers(drivers, longest)
    out: list[Forecast] = []
    added: list[Forecast] = []
    withheld: list[Withheld] = []
    for row in rows:
        found = present[row.station].experience
        why = found.reason or driven.reason
        reason = NOT_SHOWN(text=why) if why is not None and row.shown else row.reason
        inside = why is None
        out.append(replace(row, novelty=found.novelty, outside=not inside, shown=row.shown and inside, reason=reason))
        of_station.setdefault(row.station, []).append(out[-1])
    for station, there in present.items():
        if there.experience.reason is None:
            continue
        made = _extrapolate(motion, of_station.get(station, []), there)
        added += made[0]
        withheld += made[1]
    return out + lay_paths(panel, added), withheld


def _extrapolate(motion: Motion, rows: Sequence[Forecast], present: _Present) -> tuple[list[Forecast], list[Withheld]]:
    """Kinematic rows of one station beside those of a model."""
    rows = sorted(rows, key=lambda row: row.horizon_s)
    if not rows:
        return [], []
    panel = motion.panel
    made = motion.extrapolate(rows[0].station, tuple(panel.steps(row.horizon_s) for row in rows))
    out, withheld = [], []
    for row, quantiles in zip(rows, made, strict=True):
        why = None
        if present.late_s <= panel.end_s:
            why = _PASSED
        elif row.target_s > present.late_s:
            why = _ENDS(horizon=spell_span(row.horizon_s))
        elif is_boundless(panel.values[-SEEN:, panel.stations.index(row.station)]):
            why = _BOUNDLESS
        elif not np.isfinite(quantiles).all():
            why = SHORT
        if why is not None:
            withheld.append(Withheld(KINEMATIC, row.station, row.horizon_s, why, row.data_until_s))
            continue
        q025, q10, q50, q90, q975 = (float(value) for value in quantiles)
        out.append(
            replace(
                row, q025=q025, q10=q10, q50=q50, q90=q90, q975=q975,
                model=KINEMATIC, model_hash=None, margins={}, skill=None, shown=True,
                reason=present.experience.reason or "", replaces=row.model,
            )
        )  # fmt: skip
    return out, withheld


def _see(panel: Panel, values: Floats, found: Experience) -> _Present:
    """The motion beside its past, and the failure that it leads to: none is in the past of a slope that stands."""
    seen = np.flatnonzero(np.isfinite(values))[-SEEN:]
    if seen.size < 2 or is_boundless(values[seen]) or (found.novelty is not None and found.novelty < NEAR):
        return _Present(found)
    moved = values[seen[-1]] - values[seen[max(0, seen.size - LOOK_BACK)]]
    times = (panel.start_s + panel.step_s * seen).tolist()
    along = (values[seen] * (1.0 if moved >= 0.0 else -1.0)).tolist()
    watch = Watch(times, along, [0.0] * len(times), FailureSpec(panel.step_s, measure_grid_noise(values)))
    newest = watch.issue(len(times) - 1)
    if newest.to_s is not None:
        reached = found if found.reason is not None else Experience(found.novelty, FAILING)
        edges = newest.from_s, newest.mid_s, newest.to_s
        early, middle, late = (((at or 0.0) - panel.end_s) / panel.step_s for at in edges)
        return _Present(reached, (early, middle, late), newest.to_s if newest.trusted else inf)
    if found.reason is None or newest.slowed:
        return _Present(found)
    for back in range(1, min(LOOK_BACK, len(times))):
        before = watch.issue(len(times) - 1 - back)
        if before.slowed:
            break  # the motion was over, and so was what had been foretold of it
        if before.to_s is not None and before.trusted:
            # a window of an earlier look counts only once its late edge is over
            return _Present(found, None, before.to_s if before.to_s <= panel.end_s else inf)
    return _Present(found)
