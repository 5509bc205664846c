"""Choose the forecast that people see: one row per station and horizon."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from forecasting.reasons import Reason
from forecasting.registry import BASELINES
from forecasting.serving.records import KINEMATIC, Forecast, not_shown

_BASELINE_ORDER: Final = (
    *(name for name in BASELINES if name not in {"auto", "seasonal", "drift", "persistence", "lld"}),
    *("seasonal", "drift", "persistence"),
    "lld",
)
"""Simple forecasts, the last one first where there is no `auto`."""


def choose_shown(rows: Sequence[Forecast]) -> list[Forecast]:
    """Mark at most one row per station and horizon as the forecast that is shown.

    A kinematic row comes first: it exists only where the present lies outside what calibration saw. Then comes `auto`,
    then the simple forecast that the row names as best, then lld, persistence, drift, seasonal. A network's own
    forecast, and a row whose present lies outside what calibration saw, is never shown. Each model brings its own
    kinematic row: the one that replaces the shown model stays. Of a row only `shown` and `reason` are changed.
    """
    groups: dict[tuple[str, float], list[Forecast]] = {}
    for row in rows:
        groups.setdefault((row.station, row.horizon_s), []).append(row)
    groups = {key: _keep_one_kinematic(group) for key, group in groups.items()}
    first = {key: max(group, key=_rank) for key, group in groups.items()}
    kept = {id(row) for group in groups.values() for row in group}
    out = []
    for row in rows:
        if id(row) not in kept:
            continue
        winner = first[row.station, row.horizon_s]
        shown = row is winner and _rank(winner) >= 0
        another = not_shown(Reason("forecast.another", {"model": winner.model}))
        out.append(replace(row, shown=shown, reason=another if row.shown and not shown else row.reason))
    return out


def _keep_one_kinematic(group: Sequence[Forecast]) -> list[Forecast]:
    others = [row for row in group if row.model != KINEMATIC]
    inside = max(others, key=_rank_inside).model if others else None
    first = max((row for row in group if row.model == KINEMATIC), key=lambda row: row.replaces == inside, default=None)
    return [row for row in group if row.model != KINEMATIC or row is first]


def _rank(row: Forecast) -> int:
    """Return the rank of a row; the highest is shown, a negative one never."""
    if row.model == KINEMATIC:
        return len(_BASELINE_ORDER) + 2
    return -1 if row.outside else _rank_inside(row)


def _rank_inside(row: Forecast) -> int:
    """Return the rank that a row would have if its present lay inside what calibration saw."""
    if row.model == "auto":
        return len(_BASELINE_ORDER) + 1
    if row.model not in _BASELINE_ORDER:
        return -1
    return len(_BASELINE_ORDER) if row.model == row.baseline else _BASELINE_ORDER.index(row.model)
