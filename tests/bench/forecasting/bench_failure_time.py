"""Failure windows: error and width by lead time before collapses, and windows where nothing failed.

    python -m tests.bench.forecasting.bench_failure_time

Seeds 0 to 29 are for reporting; what was chosen was chosen on seeds from 1000 on.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forecasting.data.workbook import read_sheet
from forecasting.kinematics.failure import FailureSpec
from forecasting.kinematics.failure_scores import watch_curve
from monitor.cli.forecast import failure_bench
from monitor.cli.forecast.failure_bench import DAY_S
from tests.bench.forecasting import measured_curves
from tests.bench.forecasting.measured_curves import count_false, pool_false
from tests.bench.record import record

SEEDS, HOURLY_SEEDS = range(30), range(10)


def main() -> None:
    """Judge and keep the table."""
    data = measured_curves.data_folder()
    figures: dict[str, Any] = {"published": failure_bench.PUBLISHED, "unit": "days; positive error is late"}
    draws: dict[str, tuple[range, list[float], dict[str, Any]]] = {
        "daily, exponent 2, noise 0.5 and 2 mm": (SEEDS, [0.5, 2.0], {}),
        "daily, exponent 2, noise 1 mm": (SEEDS, [1.0], {}),
        "daily, exponent 1.5-2.5, rain, gaps, noise 1 mm": (
            SEEDS,
            [1.0],
            {"alpha": (1.5, 2.5), "rain": True, "gaps": True},
        ),
        "daily, exponent 1.5, noise 1 mm": (SEEDS, [1.0], {"alpha": (1.5, 1.5)}),
        "daily, exponent 2.5, noise 1 mm": (SEEDS, [1.0], {"alpha": (2.5, 2.5)}),
        "hourly, exponent 2, noise 1 mm": (HOURLY_SEEDS, [1.0], {"interval_s": DAY_S / 24}),
        "hourly, exponent 1.5-2.5, rain, gaps, noise 1 mm": (
            HOURLY_SEEDS,
            [1.0],
            {"alpha": (1.5, 2.5), "rain": True, "gaps": True, "interval_s": DAY_S / 24},
        ),
    }
    for name, (seeds, noises, more) in draws.items():
        settings = {"alpha": (2.0, 2.0), "rain": False, "gaps": False, "interval_s": DAY_S} | more
        begun = time.perf_counter()
        rows = list(failure_bench.score_voight(seeds, noises, **settings))
        figures[name] = {str(row["noise_mm"]): row["leads"] for row in rows} | {"seeds": len(seeds)}
        print(f"{name}: {time.perf_counter() - begun:.0f} s")
    figures["failure-curves"] = {
        row["file"]: {k: row[k] for k in ("trusted", "trusted_inside", "first_trusted_days_before", "leads")}
        for row in measured_curves.score_failure_curves(data)
    }
    figures["did not fail"] = {row["set"]: _brief(row) for row in measured_curves.score_non_failing(data)}
    for name, interval_s, sigma in (("source", DAY_S, 1.2), ("target", 30.4 * DAY_S, 5.0)):
        place = {"source": "Baijiabao, June 2018", "target": "Bazimen, July 2012"}[name]
        figures["did not fail"][place] = _workbook(data, name, interval_s, sigma)
    figures["did not fail"]["every stable station, two components"] = _every_station(data)
    print(record("failure_time", "python -m tests.bench.forecasting.bench_failure_time", figures))


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in {"curves", "set", "stations"}} | {
        "trusted by series": {k: v["trusted"] for k, v in row["stations"].items() if v["trusted"]}
    }


def _workbook(data: Path, name: str, interval_s: float, sigma: float) -> dict[str, Any]:
    rows = read_sheet(measured_curves.find(data, "bazimen-baijiabao", f"{name}_sample.xlsx")).to_dict("records")
    column = next(key for key in rows[0] if key.startswith("Total"))
    times = [datetime.fromisoformat(row["Time"]).replace(tzinfo=UTC).timestamp() for row in rows]
    return count_false(watch_curve(times, [float(row[column]) for row in rows], FailureSpec(interval_s, sigma)))


def _every_station(data: Path) -> dict[str, Any]:
    """All stations of both networks, 2012 to 2014: the six of the bar are among them."""
    japan = sorted(p.name[:4] for p in (data / "timeseries" / "gnss-japan-18").glob("*neu9818.csv"))
    cascadia = sorted(p.name[:4] for p in (data / "timeseries" / "gnss-cascadia-pbo-csv").glob("*.csv"))
    counts = {
        name: count_false(watch_curve(c.times_s, c.values, FailureSpec(DAY_S, sigma)))
        for name, c, sigma in measured_curves.gnss(data, japan, cascadia)
        if len(c.times_s) > 300
    }
    return pool_false(counts) | {"with windows": {k: v["windows"] for k, v in counts.items() if v["windows"]}}


if __name__ == "__main__":
    main()
