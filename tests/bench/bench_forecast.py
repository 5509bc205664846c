"""Forecast models against persistence and the best simple baseline, by rolling origin on the benchmark records.

    python -m tests.bench.bench_forecast [--sets SK,K] [--models auto,gru,lstm,graph-gru] [--seed 7]

MAE in mm per horizon, mean of three folds; `gated` is what the service would have shown.
"""

import argparse
import os
import statistics
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

from forecasting.backtest import backtest
from forecasting.series import DAY_S, read_long_csv
from tests.bench.record import record

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def main() -> None:
    """Score every model on every set and keep the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sets", default="SK,K")
    options.add_argument("--models", default="auto,gru,lstm,graph-gru")
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    figures = {}
    for name in given.sets.split(","):
        panel = read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv")
        begun = time.perf_counter()
        scores = backtest(panel, given.models.split(","), [DAY_S, 7 * DAY_S, 30 * DAY_S], seed=given.seed)
        cells: dict[str, list[float]] = defaultdict(list)
        for score in scores:
            row = asdict(score)
            cells[f"{row['model']} {row['variant']} {row['horizon_s'] / DAY_S:g}d"].append(row["mae_mm"])
        figures[name] = {key: round(statistics.fmean(values), 4) for key, values in cells.items()}
        figures[name]["seconds"] = round(time.perf_counter() - begun, 1)
        print(f"{name}: {figures[name]['seconds']} s")
        for key, value in figures[name].items():
            print(f"  {key:32} {value}")
    command = f"make bench-forecast (seed {given.seed})"
    print(record("forecast", command, {"unit": "MAE mm, mean of 3 folds"} | figures))


if __name__ == "__main__":
    main()
