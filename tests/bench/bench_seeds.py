"""Published tables beside the truth: what a paper reports, what a trivial rule reaches there, what an honest test says.

    python -m tests.bench.bench_seeds [--seeds 7,8,9] [--only PARTS] [--report]

Each row is one claim on data at hand, under the protocol of its paper. *Trivial* is the best of rules that learn
nothing. *Honest* is the same question without what makes it easy. Figures of images and of satellite anomalies are
those stored by their own commands (`imagery.json`, `recipes.json`, `anomalies-insar.json`). --only measures some parts
anew and keeps the others as stored; --report prints what is stored.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forecasting.data.series import DAY_S, MONTH_S, Floats, Panel, read_long_csv
from forecasting.data.sources import read_recipe, read_record
from forecasting.data.splits import Split, rolling_folds, split
from forecasting.errors import ForecastingError
from forecasting.evaluation.leakage import run_decomposition_test
from forecasting.metrics import winkler
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from forecasting.serving.quantiles import bounds, conform, simple_fans, widen
from forecasting.simple.auto import fit_auto
from tests.bench.forecasting.bench_forecast import DATA, HORIZONS_S
from tests.bench.record import digest, keep, read_figures, record
from tests.data.records import RECIPES

SEVEN = ("mlp", "lstm", "gru", "cnn", "lstm2", "bilstm", "conv-lstm")
"""The seven of Nava et al. 2023; their Conv-LSTM is a convolution before an LSTM, here `cnn-lstm`."""
METHODS = ("trailing", "polynomial", "quintic", "stl", "emd", "ceemdan", "iceemdan", "vmd")
LAST_SHARE = 0.2
KEPT = Path(__file__).resolve().parents[2] / "build" / "bench_seeds"
WINDOW = 12
BIJIE = {
    "scdnn": "82.14",
    "deeplabv3plus-resnet50": "76.4 or 77.2",
    "deeplabv3plus-mobilenetv2": "76.4 or 77.2",
    "segnet": "54",
    "sssn": "47.6",
}
"""Mean IoU in % of the table of SCDnn (China Geology 2024); which of two is which backbone is not known here."""


def read(name: str) -> Panel:
    """The record of a shipped recipe."""
    return read_record(None, read_recipe(RECIPES / f"{name}.toml")).panel


def facts(observed: Floats, said: Floats, level: Floats) -> dict[str, float]:
    """MAE, RMSE, R2 on the cumulative curve and R2 on what moved since the moment of issue; mean over stations."""
    out: dict[str, list[float]] = {"mae_mm": [], "rmse_mm": [], "r2_cumulative": [], "r2_movement": []}
    for s in range(observed.shape[1]):
        known = np.isfinite(observed[:, s]) & np.isfinite(said[:, s]) & np.isfinite(level[:, s])
        if not known.any():
            continue
        came, error = observed[known, s], (observed - said)[known, s]
        moved = came - level[known, s]
        squares = float(np.sum(error**2))
        out["mae_mm"].append(float(np.abs(error).mean()))
        out["rmse_mm"].append(float(np.sqrt(np.mean(error**2))))
        out["r2_cumulative"].append(1.0 - squares / max(float(np.sum((came - came.mean()) ** 2)), 1e-12))
        out["r2_movement"].append(1.0 - squares / max(float(np.sum((moved - moved.mean()) ** 2)), 1e-12))
    return {key: round(statistics.fmean(values), 4) for key, values in out.items()}


def ask_simple(panel: Panel, cut: Split, steps: int, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Simple forecasts on a test."""
    origins = cut.test.origins
    level, came = panel.values[origins], cut.test.targets(panel.values, origins, steps)
    auto = fit_auto(panel, cut.calibration, (steps,))
    out = {}
    for name in names:
        member = auto if name == "auto" else auto.member(name)
        assert member is not None
        points = member.predict(panel.values, origins)[:, :, 0]
        if np.isfinite(points).any():  # a seasonal forecast needs a year
            out[name] = facts(came, points, level)
    return out


def ask_networks(
    panel: Panel, cut: Split, horizon_s: float, models: Sequence[str], seeds: Sequence[int], window: int
) -> dict[str, dict[str, Any]]:
    """Own medians of networks on a test: the median of the seeds and their range."""
    origins = cut.test.origins
    level, came = panel.values[origins], cut.test.targets(panel.values, origins, panel.steps(horizon_s))
    out: dict[str, dict[str, Any]] = {}
    for model in models:
        found = []
        for seed in seeds:
            settings = Settings(seed=seed, window=window)
            made = train_network(model, panel, cut, (horizon_s,), settings).forecaster
            found.append(facts(came, made.quantiles(panel.values, origins)[:, :, 0, 2], level))
        out[model] = {key: round(statistics.median(f[key] for f in found), 4) for key in found[0]}
        out[model]["mae_mm_range"] = [min(f["mae_mm"] for f in found), max(f["mae_mm"] for f in found)]
        out[model]["seeds"] = len(seeds)
    return out


def outang(seeds: Sequence[int]) -> dict[str, Any]:
    """The published daily curves, newest fifth, a day ahead; then the monthly readings they were drawn through."""
    curve = read("outang-days")
    rows = curve.values.shape[0]
    first = rows - round(rows * LAST_SHARE) - 1
    origins = np.arange(first, rows - 1)
    now, before, came = (curve.values[origins + k] for k in (0, -1, 1))
    months = read("outang-months")
    cut = rolling_folds(months.values.shape[0], 1, last=24)[0]
    known = months.head(cut.test.end)
    return {
        "published protocol": "daily curve, newest 20 %, 1 d ahead, mean of 8 points",
        "trivial": {"persistence": facts(came, now, now), "two-point line": facts(came, 2 * now - before, now)},
        "network": ask_networks(curve, split(rows, first), DAY_S, ("cnn-lstm-attention",), seeds, 60),
        "honest protocol": "the 48 monthly readings, 1 month ahead, newest 24",
        "honest": ask_simple(known, cut, 1, ("persistence", "drift", "seasonal", "auto")),
    }


def lamosano(seeds: Sequence[int]) -> dict[str, Any]:
    """One satellite point, the newest 50 of 161 acquisitions, one ahead."""
    panel = read("lamosano")
    cut = rolling_folds(panel.values.shape[0], 1, last=50)[0]
    known = panel.head(cut.test.end)
    simple = ask_simple(known, cut, 1, ("persistence", "lld", "ridge", "ewa", "auto"))
    own = ask_networks(known, cut, 11 * DAY_S, [m if m != "conv-lstm" else "cnn-lstm" for m in SEVEN], seeds, WINDOW)
    return {
        "protocol": "newest 50 of 161 acquisitions, 11 d ahead, motion alone",
        "trivial": simple,
        "network": own,
    }


def reservoir(name: str, horizons_s: Sequence[float], last: int) -> dict[str, Any]:
    """A stepping slope at a reservoir, by horizon."""
    panel = read(name)
    cut = rolling_folds(panel.values.shape[0], 1, last=last)[0]
    known = panel.head(cut.test.end)
    names = ("persistence", "drift", "seasonal", "ewa", "auto")
    return {f"{h / DAY_S:g} d": ask_simple(known, cut, known.steps(h), names) for h in horizons_s}


def r2_of_persistence() -> float:
    """Share of the variance of Bazimen's cumulative curve that the last month's value explains, newest 36 months."""
    values = read("bazimen").values
    return facts(values[-36:], values[-37:-1], values[-37:-1])["r2_cumulative"]


def leaks(name: str, step_s: float) -> dict[str, Any]:
    """Root mean square error a row ahead: parts found in the whole series, in the past alone, and no parts at all."""
    panel = read(name)
    out: dict[str, Any] = {}
    for method in METHODS:
        try:
            for result, worth in run_decomposition_test(
                panel.values[:, 0], (1,), period=round(365.25 * DAY_S / step_s), count=20, methods=(method,)
            ):
                out[method] = {key: round(v, 2) if isinstance(v, float) else v for key, v in worth.items()}
                out[method]["moved_by_the_future"] = result.changed
        except ForecastingError as error:
            out[method] = {"refused": str(error)}
    return out


def drawn_intervals(seeds: Sequence[int]) -> dict[str, Any]:
    """Intervals of VAE-GRU on SK, three tests: as its draws say, and after the calibration that `auto` has beside it.

    Coverage and width of 80 and 95 % intervals, and the Winkler score of the narrower one; medians of the seeds with
    the range of coverage. Each training is kept in build/, so that a killed run goes on where it was.
    """
    panel = read_long_csv(DATA / "timeseries" / "benchmarks" / "SK.csv")
    found: dict[tuple[str, str], dict[int, list[dict[str, float]]]] = {}
    for fold, cut in enumerate(rolling_folds(panel.values.shape[0], 3)):
        for name, seed in (("auto", 0), *(("vae-gru", seed) for seed in seeds)):
            asked = asdict(_fan_settings(seed)), HORIZONS_S, cut.test.first, cut.test.end, panel.values.tobytes().hex()
            path = KEPT / f"{name}-{seed}-{fold}-{digest(*asked)}.json"
            made = keep(path, partial(_measure_fans, panel.head(cut.test.end), cut, name, seed))
            for label, by_horizon in made.items():
                for horizon, held in by_horizon.items():
                    found.setdefault((label, horizon), {}).setdefault(seed, []).append(held)
    out: dict[str, Any] = {}
    for (label, horizon), by_seed in found.items():
        own = [{key: statistics.fmean(f[key] for f in folds) for key in folds[0]} for folds in by_seed.values()]
        row = {key: round(statistics.median(one[key] for one in own), 3) for key in own[0]}
        held_80 = [round(one["coverage_80"], 3) for one in own]
        out.setdefault(label, {})[horizon] = row | {
            "coverage_80_range": [min(held_80), max(held_80)],
            "seeds": len(own),
        }
    return out


def _fan_settings(seed: int) -> Settings:
    return Settings(seed=seed, covariates=())


def _measure_fans(known: Panel, cut: Split, name: str, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """What the fans of one model hold in one test: way of making them to horizon to figures."""
    steps = tuple(known.steps(h) for h in HORIZONS_S)
    origins = np.arange(cut.early_stop.first, cut.test.end, dtype=np.int64)
    test = origins >= cut.test.first
    if name == "auto":
        fans = simple_fans(fit_auto(known, cut.calibration, steps), known.values, origins)
    else:
        network = train_network(name, known, cut, HORIZONS_S, _fan_settings(seed)).forecaster
        fans = list(np.moveaxis(network.quantiles(known.values, origins), 2, 0))
    out: dict[str, dict[str, dict[str, float]]] = {}
    for horizon_s, step, fan in zip(HORIZONS_S, steps, fans, strict=True):
        came = cut.test.targets(known.values, origins[test], step)
        ways = {"calibrated": widen(fan, conform(fan, known.values, origins, step).margins)}
        if name != "auto":
            ways["drawn"] = fan
        for way, one in ways.items():
            out.setdefault(f"{name}, {way}", {})[f"{horizon_s / DAY_S:g} d"] = _hold(one[test], came)
    return out


def _hold(fan: Floats, came: Floats) -> dict[str, float]:
    """What the intervals of one test hold, and how wide they are."""
    out: dict[str, float] = {}
    for level in (0.8, 0.95):
        low, high = bounds(fan, level)
        known = np.isfinite(came) & np.isfinite(low)
        inside = (came >= low) & (came <= high)
        out[f"coverage_{100 * level:.0f}"] = float(inside[known].mean())
        out[f"width_{100 * level:.0f}_mm"] = float((high - low)[known].mean())
    low, high = bounds(fan, 0.8)
    return out | {"winkler_80_mm": winkler(low, high, came, 0.8)}


def stored() -> dict[str, Any]:
    """What other commands measured."""
    imagery, recipes, points = (read_figures(name) for name in ("imagery", "recipes", "anomalies-insar"))
    forecasts, intervals = read_figures("forecast"), read_figures("forecast-intervals")
    maps = {
        name: {key: imagery[name]["maps"][model][key] for key in ("miou", "f1")} | {"model": model}
        for name in ("l4s", "bijie")
        for model in ("scdnn",)
    }
    best = {name: max(imagery[name]["maps"].items(), key=lambda item: item[1]["miou"]) for name in ("l4s", "bijie")}
    lstm = next(one for one in points if one["detector"] == "lstm-ae")
    rules = next(one for one in points if one["detector"] == "rules")
    return {
        "bijie": {
            "scdnn": maps["bijie"],
            "best": {"model": best["bijie"][0], "miou": best["bijie"][1]["miou"]},
            "logistic": {key: imagery["bijie"]["maps"]["logistic"][key] for key in ("miou", "f1")},
            "table": {
                name: {"paper_miou_percent": paper, "miou": imagery["bijie"]["maps"][name]["miou"]}
                for name, paper in BIJIE.items()
            },
            "recipe": {key: recipes["bijie-short"][key] for key in ("miou", "f1", "f1_interval", "images")},
        },
        "landslide4sense": {
            "scdnn": maps["l4s"],
            "best": {"model": best["l4s"][0], "miou": best["l4s"][1]["miou"]},
            "logistic": {key: imagery["l4s"]["maps"]["logistic"][key] for key in ("miou", "f1")},
            "recipe": {key: recipes["landslide4sense"][key] for key in ("miou", "f1", "f1_interval", "images")},
        },
        "egms": {
            name: {key: one[key] for key in ("accuracy", "accuracy_of_silence", "recall", "precision", "f1")}
            for name, one in (("lstm-ae", lstm), ("rules", rules))
        },
        "vae-gru on SK": {
            h: {key: forecasts["SK"].get(f"vae-gru {h}", {}).get(key) for key in ("mae", "coverage_80")}
            for h in ("1d", "7d", "30d")
        },
        "auto on SK": {
            h: {key: forecasts["SK"][f"auto {h}"][key] for key in ("mae", "coverage_80")} for h in ("1d", "7d", "30d")
        },
        "intervals": intervals.get("SK", {}) if isinstance(intervals, dict) else {},
    }


def constant_interval() -> dict[str, Any]:
    """What a coverage says of itself: the last value plus a constant on the Outang curve, chosen on the first half."""
    curve = read("outang-days").values
    half = curve.shape[0] // 2
    step = np.abs(np.diff(curve, axis=0))
    margin = np.quantile(step[: half - 1], 0.95, axis=0)
    inside = (step[half:] <= margin).mean(axis=0)
    width = 2 * margin / (curve[half:].max(axis=0) - curve[half:].min(axis=0))
    return {"picp_95": round(float(inside.mean()), 4), "pinaw": round(float(width.mean()), 4)}


def main() -> None:
    """Measure, print, keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="7,8,9")
    options.add_argument("--only", default="", help="names of parts, joined by commas")
    options.add_argument("--report", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(1)
    seeds = [int(s) for s in given.seeds.split(",")]
    parts: dict[str, Callable[[], Any]] = {
        "outang": lambda: outang(seeds),
        "lamosano": lambda: lamosano(seeds),
        "bazimen": lambda: (
            reservoir("bazimen", (30 * DAY_S, 90 * DAY_S), 12) | {"r2_of_persistence_36": r2_of_persistence()}
        ),
        "baijiabao": lambda: reservoir("baijiabao", (DAY_S, 7 * DAY_S, 30 * DAY_S), 118),
        "decomposition on bazimen": lambda: leaks("bazimen", MONTH_S),
        "decomposition on lamosano": lambda: leaks("lamosano", 11 * DAY_S),
        "constant interval on outang": constant_interval,
        "intervals of vae-gru on SK": lambda: drawn_intervals(seeds),
        "stored": stored,
    }
    wanted = [name for name in given.only.split(",") if name] or list(parts)
    if unknown := [name for name in wanted if name not in parts]:
        options.error(f"no part is called {unknown[0]}; there are {', '.join(parts)}")
    found = (read_figures("seeds") or {}) if given.report or given.only else {}
    for name in [] if given.report else wanted:
        begun = time.process_time()
        found[name] = parts[name]()
        found.setdefault("cpu_s", {})[name] = round(time.process_time() - begun)
    if not given.report:
        record("seeds", "make bench-seeds", found)
    for line in tabulate(found):
        print(line)


def tabulate(found: dict[str, Any]) -> list[str]:
    """One table: claim, paper, trivial, honest, reason."""
    outang_, lamosano_, bazimen, baijiabao = (found[name] for name in ("outang", "lamosano", "bazimen", "baijiabao"))
    kept, constant = found["stored"], found["constant interval on outang"]
    trivial, months = outang_["trivial"], outang_["honest"]
    persistence, line = trivial["persistence"], trivial["two-point line"]
    simple = lamosano_["trivial"]
    seven = [one["mae_mm"] for one in lamosano_["network"].values()]
    leak, month = found["decomposition on bazimen"]["ceemdan"], bazimen["30 d"]
    day, far = baijiabao["1 d"], baijiabao["30 d"]
    silent, bijie, l4s = kept["egms"]["lstm-ae"], kept["bijie"], kept["landslide4sense"]
    vae, auto = kept["vae-gru on SK"]["7d"], kept["auto on SK"]["7d"]
    drawn = found["intervals of vae-gru on SK"]["vae-gru, drawn"]["7 d"]
    rows = (
        (
            "Outang, attention CNN-LSTM (Yang et al. 2023)",
            "MAE .99, RMSE 1.18 mm, R2 99.89 %",
            (
                f"persistence MAE {persistence['mae_mm']}, line through two points {line['mae_mm']} mm, R2 "
                f"{line['r2_cumulative']:.3%}"
            ),
            (
                f"monthly readings: auto MAE {months['auto']['mae_mm']}, drift {months['drift']['mae_mm']}, "
                f"persistence {months['persistence']['mae_mm']} mm"
            ),
            "the daily values are a curve drawn through monthly readings",
        ),
        (
            "Lamosano, seven networks (Nava et al. 2023)",
            "reliable on all four slopes",
            f"persistence MAE {simple['persistence']['mae_mm']}, lld {simple['lld']['mae_mm']} mm",
            f"the seven {min(seven)} to {max(seven)}, auto {simple['auto']['mae_mm']} mm",
            "161 noisy rows: a network must beat a smoothed mean, not the last value",
        ),
        (
            "Bazimen, parts first (CEEMDAN and CNN-BiLSTM at Baishuihe, Lin et al. 2023)",
            "RMSE 2.2 mm, R2 99.84 %",
            f"persistence R2 {bazimen['r2_of_persistence_36']:.1%}, MAE {month['persistence']['mae_mm']} mm",
            (
                f"CEEMDAN RMSE {leak['rmse_whole_series_mm']} with the whole series, {leak['rmse_causal_mm']} with the "
                f"past; seasonal MAE {month['seasonal']['mae_mm']} mm"
            ),
            "parts of the whole series know the future",
        ),
        (
            "Baijiabao, EEMD and GRU (Earth Science 2026)",
            "RMSE of weekly means 57 % below that of days",
            f"persistence R2 {day['persistence']['r2_cumulative']:.1%} at 1 d",
            (
                f"auto MAE {day['auto']['mae_mm']} mm at 1 d; at 30 d {far['auto']['mae_mm']}, persistence "
                f"{far['persistence']['mae_mm']} mm"
            ),
            "a mean of seven days is a smoother target; nobody foresees the step",
        ),
        (
            "EGMS points, LSTM autoencoder (method of Kuzu et al. 2023)",
            "accuracy 91.25 %",
            f"silence {silent['accuracy_of_silence']:.1%}",
            f"recall {silent['recall']:.1%}, F1 {silent['f1']:.2f}",
            "what is rare gives silence a high accuracy",
        ),
        (
            "VAE-GRU intervals (Cai et al. 2024)",
            "coverage and width of the interval",
            (
                f"last value and a constant on Outang's curve: 95 % holds {constant['picp_95']:.1%}, width "
                f"{constant['pinaw']:.1%} of the range"
            ),
            (
                f"SK, 7 d: vae-gru MAE {vae['mae']}, its 80 % holds {drawn['coverage_80']:.1%}; auto {auto['mae']} mm, "
                f"holds {auto['coverage_80']:.1%}"
            ),
            "any width buys coverage: it counts after calibration, beside a baseline",
        ),
        (
            "Bijie, SCDnn (China Geology 2024)",
            "MIoU 82.14 %",
            f"colours alone, logistic {bijie['logistic']['miou']:.1%}",
            f"SCDnn {bijie['scdnn']['miou']:.1%}, best {bijie['best']['model']} {bijie['best']['miou']:.1%}",
            "a subset of the pictures, an eighth of the width",
        ),
        (
            "Landslide4Sense, SBConv U-Net (Land 2024)",
            "F1 73.89 % on 14 bands",
            f"colours alone, logistic F1 {l4s['logistic']['f1']:.1%}",
            f"SCDnn {l4s['scdnn']['f1']:.1%}, recipe {l4s['recipe']['f1']:.1%}",
            "pictures of three bands; 4.1 % of their pixels are landslide, there 2.3 %",
        ),
    )
    head = ("claim", "paper", "trivial", "honest", "reason")
    table = [
        ("", f"{name} {one['paper_miou_percent']} %", "", f"{one['miou']:.1%}", "")
        for name, one in bijie["table"].items()
    ]
    return [" | ".join(row) for row in (head, *rows, ("", "the table of Bijie, mean IoU", "", "", ""), *table)]


if __name__ == "__main__":
    main()
