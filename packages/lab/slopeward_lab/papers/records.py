"""Tables of papers about displacement forecasts."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from forecasting.data.series import DAY_S, MONTH_S, Floats, Panel
from forecasting.data.sources import RecordRecipe, find_file, read_record
from forecasting.data.splits import Split, rolling_folds, split
from forecasting.evaluation.leakage import run_decomposition_test
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from slopeward_lab.papers.table import MeasurementOptions, PaperTable, TableRow

_OUTANG_STATIONS: Final = ("ATU1", "ATU2", "ATU3", "ATU4", "ATU5", "MJ1", "MJ3", "MJ9")
_OUTANG: Final[Mapping[str, Any]] = {
    "file": "outang/monitoring_data.csv",
    "format": "wide",
    "time": "Date",
    "displacement": {station: f"{station}/mm" for station in _OUTANG_STATIONS},
    "drivers": {"R1.rain_index": "Rainfall/mm", "RES.reservoir_level_m": "RWL/m", "GW.groundwater_level_m": "GWT/m"},
}
_RESERVOIR_DRIVERS: Final = {"R1.rain_mm": "Rainfall", "RES.reservoir_level_m": "Reservoir"}
# The record of each name, in the form of the table `[data]` of a recipe file.
RECORDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "outang-days": _OUTANG,
    # The monthly values through which the published daily curve is drawn.
    "outang-months": {**_OUTANG, "day_of_month": 1},
    "lamosano": {
        "file": "lamosano/df.csv",
        "format": "wide",
        "time": "date",
        "displacement": {"P5": "p5"},
        "drivers": {"R1.rain_mm": "rain"},
    },
    "bazimen": {
        "file": "bazimen-baijiabao/target_sample.xlsx",
        "format": "wide",
        "time": "Time",
        "displacement": {"ZG110": "Total"},
        "drivers": _RESERVOIR_DRIVERS,
    },
    "baijiabao": {
        "file": "bazimen-baijiabao/source_sample.xlsx",
        "format": "wide",
        "time": "Time",
        "displacement": {"ZG1": "Total"},
        "drivers": _RESERVOIR_DRIVERS,
    },
}
# Nava et al. (2023) compare these seven. Their Conv-LSTM is a convolution before an LSTM, here `cnn-lstm`.
NAVA_NETWORKS: Final = ("mlp", "lstm", "gru", "cnn", "lstm2", "bilstm", "cnn-lstm")
# Interval of the satellite that observed Lamosano.
ACQUISITION_S: Final = 11 * DAY_S
LAMOSANO_WINDOW_ROWS: Final = 12
DECOMPOSITIONS: Final = ("trailing", "polynomial", "stl", "emd", "ceemdan")
# Number of forecasts from which the error of a decomposition is computed.
DECOMPOSED_FORECASTS: Final = 20


def load_panel(name: str, options: MeasurementOptions) -> Panel:
    """Return the record of one of `RECORDS`.

    Raises:
        RecipeError: the file does not exist, or does not have the form of the record.
    """
    data = RECORDS[name]
    file = data["file"] if options.data_folder is None else options.data_folder / data["file"]
    return read_record(find_file(file), RecordRecipe(data=data, name=name)).panel


def compute_errors(observed: Floats, forecast: Floats, level: Floats) -> dict[str, float]:
    """Return errors as papers report them: the mean over stations of the errors of each station.

    `r2_curve` is the coefficient of determination of the cumulative displacement. `r2_motion` is that of the motion
    since the forecast was issued, which repeating the last value cannot explain.

    Args:
        observed: measured values in mm, shape (forecasts, stations).
        forecast: forecasts of these values in mm, same shape.
        level: values in mm when the forecasts were issued, same shape.
    """
    by_station: dict[str, list[float]] = {"mae_mm": [], "rmse_mm": [], "r2_curve": [], "r2_motion": []}
    for station in range(observed.shape[1]):
        columns = observed[:, station], forecast[:, station], level[:, station]
        is_known = np.isfinite(columns).all(axis=0)
        if not is_known.any():
            continue
        values, values_forecast, values_before = (column[is_known] for column in columns)
        errors = values - values_forecast
        motion = values - values_before
        by_station["mae_mm"].append(float(np.abs(errors).mean()))
        by_station["rmse_mm"].append(float(np.sqrt(np.mean(errors**2))))
        by_station["r2_curve"].append(_compute_r2(errors, values))
        by_station["r2_motion"].append(_compute_r2(errors, motion))
    return {name: round(statistics.fmean(values), 4) for name, values in by_station.items() if values}


def _compute_r2(errors: Floats, values: Floats) -> float:
    variation = float(np.sum((values - values.mean()) ** 2))
    return 1.0 - float(np.sum(errors**2)) / max(variation, 1e-12)


def score_persistence(panel: Panel, parts: Split, steps: int) -> dict[str, float]:
    """Return the errors of repeating the last value in the test period."""
    origins = parts.test.origins
    level = panel.values[origins]
    return compute_errors(parts.test.targets(panel.values, origins, steps), level, level)


def score_line(panel: Panel, parts: Split, steps: int) -> dict[str, float]:
    """Return the errors of a line through the last two values in the test period."""
    origins = parts.test.origins
    level = panel.values[origins]
    forecast = level + steps * (level - panel.values[origins - 1])
    return compute_errors(parts.test.targets(panel.values, origins, steps), forecast, level)


def score_network(
    name: str, panel: Panel, parts: Split, horizon_s: float, window_rows: int, options: MeasurementOptions
) -> dict[str, float]:
    """Train a network with each seed, and return the median of each error in the test period."""
    origins = parts.test.origins
    level = panel.values[origins]
    observed = parts.test.targets(panel.values, origins, panel.steps(horizon_s))
    errors = []
    for seed in options.seeds:
        options.report(f"{name}, seed {seed}")
        settings = Settings(seed=seed, window=window_rows)
        if options.epochs is not None:
            settings = replace(settings, epochs=options.epochs)
        forecaster = train_network(name, panel, parts, (horizon_s,), settings).forecaster
        median = forecaster.quantiles(panel.values, origins)[:, :, 0, 2]
        errors.append(compute_errors(observed, median, level))
    return {figure: round(statistics.median(each[figure] for each in errors), 4) for figure in errors[0]}


def measure_outang(options: MeasurementOptions) -> Iterator[TableRow]:
    """Score the published daily curve a day ahead, then the monthly readings a month ahead."""
    days = "daily curve, newest fifth, 1 d ahead"
    curve = load_panel("outang-days", options)
    rows = curve.values.shape[0]
    parts = split(rows, rows - round(rows / 5) - 1)
    yield TableRow("persistence", days, ours=score_persistence(curve, parts, 1))
    yield TableRow("line through two points", days, ours=score_line(curve, parts, 1))
    yield TableRow(
        "cnn-lstm-attention",
        days,
        paper={"mae_mm": 0.99, "rmse_mm": 1.18, "r2_curve": 0.9989},
        ours=score_network("cnn-lstm-attention", curve, parts, DAY_S, 60, options),
    )
    months = "monthly readings, newest 24, 1 month ahead"
    readings = load_panel("outang-months", options)
    parts = rolling_folds(readings.values.shape[0], 1, last=24)[0]
    yield TableRow("persistence", months, ours=score_persistence(readings, parts, 1))
    yield TableRow("line through two points", months, ours=score_line(readings, parts, 1))


def measure_lamosano(options: MeasurementOptions) -> Iterator[TableRow]:
    """Score the newest 50 of 161 acquisitions, one acquisition ahead."""
    panel = load_panel("lamosano", options)
    parts = rolling_folds(panel.values.shape[0], 1, last=50)[0]
    yield TableRow("persistence", ours=score_persistence(panel, parts, 1))
    for name in NAVA_NETWORKS:
        yield TableRow(name, ours=score_network(name, panel, parts, ACQUISITION_S, LAMOSANO_WINDOW_ROWS, options))


def measure_bazimen(options: MeasurementOptions) -> Iterator[TableRow]:
    """Score forecasts from decompositions of the whole series and of the past alone."""
    panel = load_panel("bazimen", options)
    parts = rolling_folds(panel.values.shape[0], 1, last=12)[0]
    yield TableRow("persistence", "newest 12 months", ours=score_persistence(panel, parts, 1))
    yield from _measure_decompositions(panel, MONTH_S, options)


def _measure_decompositions(panel: Panel, step_s: float, options: MeasurementOptions) -> Iterator[TableRow]:
    paper = {"ceemdan": {"rmse_mm": 2.2}}
    for method in DECOMPOSITIONS:
        options.report(f"decomposition {method}")
        tests = run_decomposition_test(
            panel.values[:, 0],
            (1,),
            period=round(365.25 * DAY_S / step_s),
            count=DECOMPOSED_FORECASTS,
            methods=(method,),
        )
        for _, comparison in tests:
            yield TableRow(
                f"{method}, regression",
                "whole series, as in papers",
                paper=paper.get(method, {}),
                ours={"rmse_mm": round(comparison["rmse_whole_series_mm"], 2)},
            )
            yield TableRow(
                f"{method}, regression",
                "only the past of each forecast",
                ours={"rmse_mm": round(comparison["rmse_causal_mm"], 2)},
            )


def measure_baijiabao(options: MeasurementOptions) -> Iterator[TableRow]:
    """Score the newest 118 days of one GNSS point at three horizons."""
    panel = load_panel("baijiabao", options)
    parts = rolling_folds(panel.values.shape[0], 1, last=118)[0]
    for days in (1, 7, 30):
        protocol = f"{days} d ahead"
        yield TableRow("persistence", protocol, ours=score_persistence(panel, parts, days))
        yield TableRow("line through two points", protocol, ours=score_line(panel, parts, days))
    yield TableRow("gru", "1 d ahead", ours=score_network("gru", panel, parts, DAY_S, 30, options))


TABLES: Final[Mapping[str, PaperTable]] = {
    "outang": PaperTable(
        "Attention CNN-LSTM at the Outang landslide",
        "Yang and others (2023), Remote Sensing 15(20), 4971, doi 10.3390/rs15204971; figures as reviews quote them",
        "8 points, errors are means over the points",
        (
            "The network was not trained with the code of the paper, and reads all drivers of the record.",
            "The published daily values lie on a curve through monthly readings, so a line through two is exact.",
        ),
        measure_outang,
    ),
    "lamosano": PaperTable(
        "Seven networks at the Lamosano landslide",
        "Nava and others (2023), Landslides, doi 10.1007/s10346-023-02104-9",
        "one satellite point, newest 50 of 161 acquisitions, 11 d ahead",
        (
            "The paper reports errors of other slopes as well, and a figure of Lamosano alone is not known to us.",
            "The seven networks have the size of this package, not that of the paper.",
        ),
        measure_lamosano,
    ),
    "bazimen": PaperTable(
        "Decomposition before a forecast, at the Bazimen landslide",
        "CEEMDAN and CNN-BiLSTM (2023), Sustainability 15(13), 10071; RMSE at Baishuihe as reviews quote it",
        "one point, monthly, 20 forecasts, 1 month ahead",
        (
            "The paper forecasts the Baishuihe landslide, whose record is not at hand.",
            "A linear regression instead of a CNN-BiLSTM forecasts each component: only the decompositions differ.",
        ),
        measure_bazimen,
    ),
    "baijiabao": PaperTable(
        "EEMD and GRU at the Baijiabao landslide",
        "Earth Science (2026), doi 10.3799/dqkx.2026.052: RMSE of weekly means 57 % below that of days",
        "one GNSS point, newest 118 of 300 days",
        ("The paper compares two targets, weekly means and daily values. Here the target is the daily value.",),
        measure_baijiabao,
    ),
}
