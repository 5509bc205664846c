"""Forecasts of a past that a model has not seen: fitted on the rows before a cut, issued from rows after it.

Every choice is made before the cut; weights and intervals then follow what each issue could know, as in the service.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from forecasting.data.series import Ints, Panel
from forecasting.data.windows import last_value
from forecasting.message import Message, Template
from forecasting.serving.issue import STALE_STEPS, make_row, open_issue
from forecasting.serving.quantiles import conform, widen
from forecasting.serving.records import Forecast

_MADE_AFTER: Message = Template("forecast.made_after", "made afterwards from what came before, to be scored")()


def forecast_past(
    panel: Panel, model: str, horizons_s: Sequence[float], cut: int, origins: Ints, checkpoint: str | None = None
) -> list[Forecast]:
    """Forecasts of one model from past rows; none is shown.

    Args:
        horizons_s: Those that reach a row.
        cut: Row from which on nothing was known when the model was fitted, or its checkpoint trained.
        origins: Rows from `cut` on, shape (N,).

    Raises:
        ForecastingError: As of `jobs.forecast`.
    """
    issue = open_issue(panel, model, tuple(horizons_s), checkpoint=checkpoint, conformal={}, cut=cut)
    value, age = last_value(panel.values, origins)
    at = origins - int(issue.origins[0])
    out = []
    for i, steps in enumerate(panel.steps(h) for h in issue.horizons_s):
        margins = conform(issue.fans[i], panel.values, issue.origins, steps, issue.pace).margins
        made, simple = widen(issue.fans[i], margins)[at], issue.best[at, :, i]
        ready = np.isfinite(made).all(axis=2) & (age <= STALE_STEPS) & np.isfinite(simple)
        for n, s in zip(*np.nonzero(ready), strict=True):
            until_s = panel.start_s + panel.step_s * float(origins[n] - age[n, s])
            mine = {level: float(one[at[n], s]) for level, one in margins.items()}
            row = make_row(issue, i, s, made[n, s], mine, at[n], until_s=until_s, newest=float(value[n, s]))
            out.append(replace(row, shown=False, skill=None, reason=_MADE_AFTER))
    return out
