"""What a network gains by reading other quantities of a site: faults in one quantity after the other, equal false alarms.

    python -m tests.bench.anomaly.bench_beside [--only RECORD ...] [--seeds 3]

The records on which anything may be chosen are LE and LV: the curves of Outang with the east and vertical noise of Japanese stations, and the
rain, reservoir, groundwater and temperature that were measured at Outang. Then one look at S, Outang as it was measured,
Baijiabao and the pressure sensor of Bowdoin. Figures go to `anomalies-beside.json`.
"""  # noqa: E501

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from detection.anomaly.bench import format_quantities, run_quantities_bench
from detection.anomaly.neural.site_table import lay_beside
from detection.anomaly.records import Beside
from detection.anomaly.stages import DAY_S, Array
from detection.anomaly.windows import Series, build_series
from forecasting.data.series import read_long_csv
from forecasting.data.workbook import read_sheet
from tests.bench.anomaly.bench_quantities import DATA, read_all
from tests.bench.record import read_figures, record

DETECTORS: Final = ("persistence-z", "rules", "site-ae", "quantities-ae")
BUDGET: Final = 0.1
BUDGET_OF_ONE: Final = 1.0  # of a quantity that one sensor measures: at a tenth there are too few peaks to count
OUTANG: Final = {
    "reservoir_level": "RWL/m", "groundwater_level": "GWT/m", "temperature": "aveT/℃", "rain": "Rainfall/mm",
}  # fmt: skip
Groups = dict[str, dict[str, Series]]
Site = tuple[Groups, dict[str, Series]]


def make_daily(values: Array) -> Series:
    """A daily series whose first day is day 0."""
    return Series(np.arange(len(values)) * DAY_S, np.asarray(values, dtype=np.float64), DAY_S)


def put_together(motion: Mapping[str, Series], drivers: Mapping[str, Array], judged: tuple[str, ...]) -> Site:
    """The motion and the quantities in which faults are laid, and those that are read alone."""
    days = len(next(iter(motion.values())).values)
    beside = {
        f"site.{name}": Beside(list(np.arange(days) * DAY_S), list(values[:days]), DAY_S, adds=name == "rain")
        for name, values in drivers.items()
    }
    laid = lay_beside(motion, beside)
    groups = {"motion": dict(motion)} | {name: {f"site.{name}": laid[f"site.{name}"]} for name in judged}
    return groups, {name: one for name, one in laid.items() if name.partition(".")[2] not in judged}


def read_outang() -> tuple[dict[str, Array], dict[str, Array]]:
    """Curves of eight stations, and what was measured beside them."""
    with (DATA / "outang" / "monitoring_data.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    stations = [name for name in rows[0] if name.endswith("/mm") and name != OUTANG["rain"]]
    moved = {name.removesuffix("/mm"): np.array([float(row[name]) for row in rows]) for name in stations}
    return moved, {name: np.array([float(row[key]) for row in rows]) for name, key in OUTANG.items()}


def _with_noise(column: str) -> Site:
    """The curves with the noise of one component of eight Japanese stations, as other benches of drivers make them."""
    moved, drivers = read_outang()
    motion = {}
    for (station, curve), path in zip(moved.items(), sorted((DATA / "gnss-japan-18").glob("*.csv")), strict=False):
        with path.open() as file:
            noise = np.array([float(r[column]) for r in csv.DictReader(file) if r["time"][:10] >= "2013-01-01"])
        noise = noise[: len(curve)]
        day = np.arange(len(noise))
        motion[station] = make_daily(curve[: len(noise)] + noise - np.polyval(np.polyfit(day, noise, 2), day))
    days = min(len(one.values) for one in motion.values())
    return put_together({name: make_daily(one.values[:days]) for name, one in motion.items()}, drivers, ())


def _s() -> Site:
    panel = read_long_csv(DATA / "benchmarks" / "S.csv")
    _, drivers = read_outang()
    days = min(len(panel.values), len(drivers["rain"]))
    motion = {name: make_daily(panel.values[:days, k]) for k, name in enumerate(panel.stations)}
    return put_together(motion, drivers, ())


def _outang() -> Site:
    moved, drivers = read_outang()
    motion = {name: make_daily(values) for name, values in moved.items()}
    return put_together(motion, drivers, ("reservoir_level", "groundwater_level"))


def _baijiabao() -> Site:
    sheet = read_sheet(DATA / "bazimen-baijiabao" / "source_sample.xlsx")
    values = {name: sheet[name].to_numpy(np.float64) for name in ("Total", "Rainfall", "Reservoir")}
    drivers = {"rain": values["Rainfall"], "reservoir_level": values["Reservoir"]}
    return put_together({"total": make_daily(values["Total"])}, drivers, ("reservoir_level",))


def _bowdoin() -> Site:
    """The pressure sensor with the temperature in it, every three hours; no motion was logged beside them."""
    found = {one.quantity: one for one in read_all() if one.place == "Bowdoin"}
    times_s, values = found["pore_pressure"].samples["sensor"]
    kept = slice(0, None, 6)
    pressure = {"sensor.pore_pressure": build_series(times_s[kept], values[kept], 6 * found["pore_pressure"].step_s)}
    heat = found["temperature"].samples["sensor"]
    return {"pore_pressure": pressure}, lay_beside(pressure, {"sensor.temperature": Beside(*heat, 1800.0)})


CHOSEN_ON: Final[Mapping[str, Callable[[], Site]]] = {
    "LE": lambda: _with_noise("lon"), "LV": lambda: _with_noise("ver"),
}  # fmt: skip
LOOKED_AT: Final[Mapping[str, Callable[[], Site]]] = {
    "S": _s, "Outang": _outang, "Baijiabao": _baijiabao, "Bowdoin": _bowdoin,
}  # fmt: skip


def measure(seeds: int, records: Mapping[str, Callable[[], Site]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows of each record."""
    for name, read in records.items():
        groups, drivers = read()
        rows = [
            row
            for quantity, judged in groups.items()
            for row in run_quantities_bench(
                {quantity: judged},
                {n: s for other, of in groups.items() if other != quantity for n, s in of.items()} | drivers,
                DETECTORS, BUDGET if len(judged) > 1 else BUDGET_OF_ONE, range(seeds),
            )
        ]  # fmt: skip
        print(f"{name}: {len(next(iter(groups.values())))} series, beside: {', '.join(drivers) or 'nothing'}")
        print(format_quantities(rows), flush=True)
        yield name, rows


def main() -> None:
    """Measure, print and keep; records that are not measured now keep their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*CHOSEN_ON, *LOOKED_AT], nargs="+", default=[*CHOSEN_ON, *LOOKED_AT])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    every = {**CHOSEN_ON, **LOOKED_AT}
    for name, rows in measure(asked.seeds, {name: every[name] for name in asked.only}):
        figures = (read_figures("anomalies-beside") or {}) | {name: rows}
        record("anomalies-beside", f"python -m tests.bench.anomaly.bench_beside --seeds {asked.seeds}", figures)


if __name__ == "__main__":
    main()
