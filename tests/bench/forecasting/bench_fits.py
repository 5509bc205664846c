"""ARIMA and ETS fitted on short pieces of measured records: ended early with one start, and as they are fitted now.

    python -m tests.bench.forecasting.bench_fits [--choose]

What was decided (40 rounds; four starts for ETS) was decided on the records and seeds of --choose; the others are kept.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Floats, Panel, read_long_csv
from forecasting.data.sources import read_recipe, read_record
from forecasting.data.splits import Block
from forecasting.simple import arima, ets, least_squares
from forecasting.simple.least_squares import Minimum, minimise
from tests.bench.record import record
from tests.data.bursts import draw_bursts, draw_steps

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("SLOPEWARD_DATA", ROOT.parent / "shared" / "data"))
LENGTHS, STEPS, MOST = (30, 60, 120), (1, 3, 7), 120
FITS = {"arima": (arima, arima.fit_arima), "ets": (ets, ets.fit_ets)}


def end_early(residuals: Callable[[Floats], Floats], start: Floats) -> Minimum:
    """As it was: 14 rounds from one start."""
    return minimise(residuals, start if start.ndim == 2 else start[0], rounds=14)


@cache
def benchmark(name: str) -> Floats:
    return read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv").values


@cache
def recipe(name: str) -> Floats:
    return read_record(None, read_recipe(ROOT / "configs" / "forecasting" / f"{name}.toml")).panel.values


def cut(values: Floats, rows: int) -> Floats:
    """Pieces of a record, each with a week behind it, shape (rows + 7, pieces)."""
    rng = np.random.default_rng(5)
    found = []
    for series in values.T[rng.permutation(values.shape[1])[:40]]:
        fit = [
            o
            for o in range(rows, series.size - STEPS[-1])
            if np.isfinite(series[o - 1])
            and np.isfinite(series[o - rows : o]).mean() > 0.8
            and np.nanstd(series[o - rows : o]) > 0
        ]
        found += [series[o - rows : o + STEPS[-1]] for o in rng.permutation(fit)[:12].astype(int)]
    chosen = [found[i] for i in rng.permutation(len(found))[:MOST]]
    return np.array(chosen).T if len(chosen) >= 8 else np.empty((0, 0))


Source = Callable[[int], Floats]
CHOSEN_ON: dict[str, Source] = {
    **{name: partial(lambda name, n: cut(benchmark(name), n), name) for name in ("S", "K")},
    **{
        name: partial(lambda name, n: cut(recipe(name), n), name)
        for name in ("bazimen", "baijiabao", "lamosano", "bowdoin")
    },
    "bursts": lambda n: draw_bursts(n + STEPS[-1], range(1000, 1060)),
    "steps": lambda n: draw_steps(n + STEPS[-1], range(1000, 1060)),
}
REPORTED: dict[str, Source] = {
    **{name: partial(lambda name, n: cut(benchmark(name), n), name) for name in ("SK", "G")},
    **{name: partial(lambda name, n: cut(recipe(name), n), name) for name in ("outang-months", "egms-points")},
    "bursts": lambda n: draw_bursts(n + STEPS[-1], range(60)),
    "steps": lambda n: draw_steps(n + STEPS[-1], range(60)),
}


def judge(values: Floats, rows: int) -> dict[str, Any]:
    """Mean error per horizon in units of that of persistence, early and now."""
    panel = Panel(0.0, DAY_S, tuple(map(str, range(values.shape[1]))), values)
    truth = np.stack([values[rows - 1 + h] for h in STEPS], axis=-1)
    still = np.nanmean(np.abs(truth - values[rows - 1][:, None]), axis=0)
    out: dict[str, Any] = {"pieces": values.shape[1]}
    for name, (module, fit) in FITS.items():
        for how, solver in (("early", end_early), ("now", minimise)):
            module.minimise = solver  # type: ignore[attr-defined]
            least_squares._fit_once.cache_clear()
            begun = time.perf_counter()
            fitted = fit(panel, Block(rows // 2, rows), STEPS)
            seconds = time.perf_counter() - begun
            made = fitted.predict(values[:rows], np.array([rows - 1]))[0]
            error = np.nanmean(np.abs(made - truth), axis=0) / still
            out[f"{name} {how}"] = {
                "mae / persistence": [round(float(e), 3) for e in error],
                "unsettled": fitted.unsettled,
                "seconds": round(seconds, 2),
            }
        module.minimise = minimise  # type: ignore[attr-defined]
    return out


def main() -> None:
    """Print, and keep what nothing was chosen on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--choose", action="store_true", help="the records on which it was decided; nothing is kept")
    choose = parser.parse_args().choose
    figures: dict[str, Any] = {}
    for name, draw in (CHOSEN_ON if choose else REPORTED).items():
        for rows in LENGTHS:
            values = draw(rows)
            if values.size:
                figures[f"{name}, {rows} rows"] = judge(values, rows)
                print(f"{name}, {rows} rows", figures[f"{name}, {rows} rows"], flush=True)
    ratios = {
        f"{name} {rows} rows": [
            round(float(v), 3)
            for v in np.exp(
                np.mean(
                    [
                        np.log(
                            np.divide(f[f"{name} now"]["mae / persistence"], f[f"{name} early"]["mae / persistence"])
                        )
                        for key, f in figures.items()
                        if key.endswith(f", {rows} rows")
                    ],
                    axis=0,
                )
            )
        ]
        for name in FITS
        for rows in LENGTHS
    }
    print("now / early, geometric mean, 1, 3 and 7 rows ahead:", ratios)
    if not choose:
        record("fits", "python -m tests.bench.forecasting.bench_fits", {"records": figures, "now / early": ratios})


if __name__ == "__main__":
    main()
