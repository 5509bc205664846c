"""The life of one network over a year of measured curves: what was shown, how often it fell, what it gained or cost.

    python -m tests.bench.forecasting.bench_forecast_life

A gru (12 epochs, seed 7, one fold) is judged day by day as the service judges it: a score counts when its target has
come. `training left aside` runs the same with the verdict of training taken as open, so that the record alone decides.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, read_long_csv
from forecasting.data.units import format_span
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import Answer, Trial
from forecasting.serving.promotion import Scored, check_shadow, check_shown, summarise
from tests.bench.record import FOLDER, record


def main() -> None:
    """Run both benchmarks and keep the figures."""
    data = Path(os.environ.get("SLOPEWARD_DATA", FOLDER.parents[2] / "shared" / "data"))
    figures = {}
    for name in ("SK", "K"):
        panel = read_long_csv(data / "timeseries" / "benchmarks" / f"{name}.csv")
        settings = {"epochs": 12, "stride": 2}
        for trial in run_trials(panel, ["auto", "gru"], [DAY_S, 7 * DAY_S], folds=1, training=settings):
            answer = next(a for a in trial.answers if (a.model, a.variant) == ("gru", "blend"))
            place = f"{name} {format_span(trial.horizon_s)}"
            figures[place] = {
                "verdict of training": answer.verdict.reason,
                "as it is": live(trial, answer, open_by_training=answer.verdict.shown),
                "training left aside": live(trial, answer, open_by_training=True),
            }
            print(place, figures[place])
    print(record("forecast_life", "python -m tests.bench.forecasting.bench_forecast_life", figures))


def live(trial: Trial, answer: Answer, *, open_by_training: bool) -> dict[str, Any]:
    """One network through the days of a test; mean absolute errors in mm over the same pairs."""
    assert answer.quantiles is not None
    calibration = {"shown": open_by_training, "reason": answer.verdict.reason}
    state, since_s, counts_from_s = "shadow", 0.0, 0.0
    rows: list[Scored] = []
    served: list[float] = []
    changes: list[str] = []
    shown = 0
    for day in range(trial.observed.shape[0]):
        known = [r for r in rows if r.issued_s + trial.horizon_s <= day * DAY_S and r.issued_s >= counts_from_s]
        if state == "active":
            verdict = check_shown(trial.horizon_s, known)
        else:
            verdict = check_shadow(
                trial.horizon_s, calibration, known, shadow_s=day * DAY_S - since_s, latency_limit_ms=1e6
            )
        if verdict.state != state:
            state, since_s = verdict.state, day * DAY_S
            counts_from_s = since_s if state == "shadow" else counts_from_s
            changes.append(f"day {day}: {verdict.reason}")
        shown += state == "active"
        for s, station in enumerate(trial.stations):
            value, made, best = trial.observed[day, s], answer.point[day, s], trial.best[day, s]
            if np.isfinite([value, made, best]).all():
                low, high = answer.quantiles[day, s, [1, 3]], answer.quantiles[day, s, [0, 4]]
                inside = [bool(a <= value <= b) for a, b in (low, high)]
                rows.append(Scored(day * DAY_S, station, float(value - made), float(value - best), *inside))
                served.append(abs(float(value - (made if state == "active" else best))))
    record_of_all = summarise(rows)
    return {
        "days": trial.observed.shape[0],
        "days shown": shown,
        "changes": changes,
        "mae served": round(float(np.mean(served)), 4),
        "mae best simple": round(record_of_all.baseline_mae or 0.0, 4),
        "mae network": round(record_of_all.mae or 0.0, 4),
    }


if __name__ == "__main__":
    main()
