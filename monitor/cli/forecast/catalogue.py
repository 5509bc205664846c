"""Every model there is: what it is, its paper, its size, its stored scores, and the reasons for and against it."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from monitor.cli.benchmarks import ModelScores, ScoreArgument, format_reasons, read_benchmark, sum_up_arguments

SETS = ("SK", "S", "G", "K")
RECORDS = "records: G and K measured by GNSS (18 and 24 stations), S and SK a landslide's curve with such noise (8)"
DAILY = ("1d", "7d", "30d")
KINEMATIC = {
    "inverse-velocity": "forecasting.kinematics.ensemble",
    "tangential-angle": "forecasting.kinematics.stages:tangential_angle_deg",
    "stages": "forecasting.kinematics.stages",
}
"""What is made of the curve alone; the service runs all of them."""
PAPERS = {
    "ets": "Hyndman et al. 2002",
    "arima": "Box and Jenkins 1970; Harvey 1989",
    "ridge": "Hoerl and Kennard 1970",
    "lad": "Koenker and Bassett 1978",
    "ewa": "Cesa-Bianchi and Lugosi 2006",
    "trend": "Harvey 1989; Raftery et al. 2010",
    "local-trend": "Harvey 1989; Page 1954",
    "vae": "Kingma and Welling 2014",
    "ewma": "Roberts 1959",
    "cnn-bilstm": "the CNN-BiLSTM of Baishuihe",
    "cnn-lstm-attention": "the attention CNN-LSTM of Outang",
    "persistence-z": "Hampel 1974",
    "robust-z": "Hampel 1974",
    "ae": "Hinton and Salakhutdinov 2006",
    "conv-ae": "Masci et al. 2011",
    "lstm-ae": "Malhotra et al. 2016",
    "gru-ae": "Cho et al. 2014",
}
"""Of what names none in the first sentence of its source."""
FAILURE_SET = "daily, exponent 2, noise 0.5 and 2 mm"
PARTS_SETS = {"bazimen": "30d", "lamosano": "11d"}
"""Records that decompositions were tried on, one row ahead."""
CALLED = {
    "stages": ("progressive", "called progressive", "looks"),
    "tangential-angle": ("angle_85", "at 85 degrees or more", "with_angle"),
}
"""Column of the record that counts the worst stage or angle, and the phrase for it."""
WINDOW, HORIZONS, HIDDEN, STATIONS = 60, 3, 32, 8
"""Sizes that weights are counted at: the defaults, and a slope of eight stations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry(ModelScores):
    """One model; its fields are the keys of a JSON line."""

    id: str
    kind: str
    what: str  # one sentence
    paper: str | None = None
    parameters: int | None = None  # weights
    reads_drivers: bool = False
    reads_graph: bool | None = False  # None: not known without torch
    served: bool = False


class NetworkSize(NamedTuple):
    """What is counted of a network."""

    parameters: int | None = None
    reads_graph: bool | None = False


def list_models() -> list[CatalogueEntry]:
    """One entry a model, in the order forecasts, parts of a curve, curves, anomalies."""
    return [*_list_forecasters(), *_list_methods(), *_list_detectors()]


def _list_forecasters() -> Iterator[CatalogueEntry]:
    from forecasting.registry import BASELINES, NETWORKS, PRETRAINED, READS_DRIVERS, SERVED

    tables: dict[str, Mapping[str, str]] = {"simple forecast": BASELINES, "network": NETWORKS}
    shared = Counter(path.partition(":")[0] for table in tables.values() for path in table.values())
    for kind, table in tables.items():
        for name, path in table.items():
            size = _size_of_network(name) if kind == "network" else NetworkSize()
            argued = sum_up_arguments(_score_short()) if name in PRETRAINED else _argue(_score(name))
            yield _describe(
                name,
                kind,
                path,
                argued,
                whole_file=shared[path.partition(":")[0]] == 1,
                parameters=size.parameters,
                reads_graph=size.reads_graph,
                reads_drivers=name in READS_DRIVERS,
                served=name in SERVED,
            )


def _list_methods() -> Iterator[CatalogueEntry]:
    """Decompositions, and what is made of the curve alone."""
    from forecasting.decomposition.components import FOR_FORECASTS, METHODS

    for name, path in METHODS.items():
        argued = sum_up_arguments(_score_parts(name))
        yield _describe(name, "decomposition", path.partition(":")[0], argued, served=name in FOR_FORECASTS)
    for name, path in KINEMATIC.items():
        argued = sum_up_arguments(_score_looks(name)) if name in CALLED else _score_failure()
        yield _describe(name, "curve", path, argued, served=True)


def _list_detectors() -> Iterator[CatalogueEntry]:
    from detection.anomaly.registry import CHECKS, COMPOSITES, RULES
    from detection.anomaly.registry import NETWORKS as AUTOENCODERS

    for name, path in {**RULES, **AUTOENCODERS}.items():
        count = _size_of_autoencoder(name) if name in AUTOENCODERS else None
        yield _describe(name, "anomaly detector", path, _score_detector(name), parameters=count, served=True)
    others = [
        (name, "anomaly detector", f"Several rules that share one budget: {', '.join(parts)}.")
        for name, parts in COMPOSITES.items()
    ]
    others += [(name, "check of readings", f"Finds {kind}, certain without a score.") for name, kind in CHECKS.items()]
    for name, kind, what in others:
        yield CatalogueEntry(id=name, kind=kind, what=what, served=True, **asdict(_score_detector(name)))


def format_model(model: CatalogueEntry) -> str:
    """A few lines for people."""
    size = "" if model.parameters is None else f"{model.parameters:,} weights"
    reads = [part for part, is_read in (("drivers", model.reads_drivers), ("graph", model.reads_graph)) if is_read]
    more = f"reads {' and '.join(reads)}" if reads else ""
    served = "" if model.served else "not served"
    head = "  ".join(part for part in (size, more, served, model.note or "") if part)
    lines = [f"{model.id:20} {model.kind:20} {head}".rstrip(), f"    {model.what}"]
    lines += [f"    paper: {model.paper}"] if model.paper else []
    return "\n".join(lines + format_reasons(model.reasons_for, model.reasons_against))


def _describe(
    name: str, kind: str, path: str, argued: ModelScores, *, whole_file: bool = False, **facts: Any
) -> CatalogueEntry:
    """An entry with first sentence and paper as the source says them: of the whole file, or of one part of it."""
    module, _, attribute = path.partition(":")
    spec = find_spec(module)
    tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    nodes: list[Any] = [tree]
    if attribute and not whole_file:
        nodes = [one for one in tree.body if getattr(one, "name", None) == attribute] or nodes
    text = (ast.get_docstring(nodes[0]) or "").partition("\n")[0]
    papers = [inner for inner in re.findall(r"\(([^()]*)\)", text) if re.search(r"\b(19|20)\d\d\b", inner)]
    paper = PAPERS.get(name) or "; ".join(papers) or None
    return CatalogueEntry(id=name, kind=kind, what=text, paper=paper, **facts, **asdict(argued))


def _size_of_network(name: str) -> NetworkSize:
    """Weights, as shipped or at the default sizes, and whether it reads a graph; nothing without torch."""
    if find_spec("torch") is None:
        return NetworkSize(reads_graph=None)
    import torch

    from forecasting.data.features import FEATURES
    from forecasting.neural.network import Shape
    from forecasting.neural.pretrained import PLACE
    from forecasting.registry import load

    kind = load(name)
    graph = (1.0 - torch.eye(STATIONS)).expand(2, -1, -1) / STATIONS
    made = kind(Shape(len(FEATURES), WINDOW, HORIZONS, HIDDEN, 0.1, graph if kind.needs_graph else None))
    card = PLACE / f"{name}.json"
    count = sum(one.numel() for one in made.parameters())
    shipped = json.loads(card.read_text(encoding="utf-8"))["parameters"] if card.is_file() else count
    return NetworkSize(shipped, bool(kind.needs_graph))


def _size_of_autoencoder(name: str) -> int | None:
    if find_spec("torch") is None:
        return None
    from detection.anomaly.registry import load_network

    return int(sum(one.numel() for one in load_network(name)().parameters()))


def _read(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures of a stored benchmark, and what says where they stand; none where it was not measured."""
    kept = read_benchmark(name)
    source = {"record": f"{name}.json", "measured_at": kept and kept["measured_at"]}
    return kept["figures"] if kept else {}, source


class DailyScore(TypedDict):
    """Mean absolute errors of a model on a set at a horizon."""

    set: str
    horizon: str
    mae_mm: float
    auto_mae_mm: float
    gated_mae_mm: float | None  # of what the gate would show
    seeds: int
    record: str
    measured_at: str


def _score(name: str) -> Iterator[DailyScore]:
    """Mean absolute errors of the stored comparison beside the best simple forecast; and what the gate would show."""
    figures, _ = _read("forecast")
    for one in SETS:
        table = figures.get(one, {})
        for horizon in DAILY:
            row, best = table.get(f"{name} {horizon}"), table.get(f"auto {horizon}")
            if row is None or best is None:
                continue
            gated = table.get(f"{name}-gated {horizon}")
            # what the gate shows is `auto` as it was on the day of the run, and no network where that is another
            gated = gated if gated and gated["measured_at"] == best["measured_at"] else None
            yield {
                "set": one,
                "horizon": horizon,
                "mae_mm": row["mae"],
                "auto_mae_mm": best["mae"],
                "gated_mae_mm": gated and gated["mae"],
                "seeds": row["seeds"],
                "record": "forecast.json",
                "measured_at": row["measured_at"],
            }


def _score_short() -> Iterator[ScoreArgument]:
    """Of the network with shipped weights: its error on short records that it never saw, and how often it is shown."""
    figures, source = _read("forecast-short")
    for rows, table in figures.get("reported", {}).items():
        ratio = {way: found[0] for way, found in table["ratio to auto"].items()}
        score = {
            "set": f"first {rows} of {table['records']} records",
            "ratio_to_auto": ratio["tuned"],
            "shown_ratio_to_auto": ratio["served"],
            "gates_open": table["served"],
            "seeds": 1,
            **source,
        }
        side = "above" if ratio["tuned"] > 1.0 else "below"
        size = f"{abs(ratio['tuned'] - 1.0):.1%} {side} auto, shown in {table['served']:.0%}"
        yield ScoreArgument(score, ratio["tuned"] < 1.0, f"{rows} of {table['records']} records: {size}")


def _score_parts(name: str) -> Iterator[ScoreArgument]:
    """A row ahead by the parts and without them, and what the future would have made of it."""
    figures, source = _read("seeds")
    for one, horizon in PARTS_SETS.items():
        row = figures.get(f"decomposition on {one}", {}).get(name, {})
        if row.get("rmse_without_mm") is None:
            continue
        keys = ("issues", "rmse_causal_mm", "rmse_without_mm", "rmse_whole_series_mm", "trend_moves_mm")
        score = {"set": one, "horizon": horizon, **{key: row[key] for key in keys}, **source}
        yield ScoreArgument(
            score,
            row["rmse_causal_mm"] < row["rmse_without_mm"],
            (
                f"{one} {horizon}: RMSE {row['rmse_causal_mm']:.3g} mm with its parts, {row['rmse_without_mm']:.3g} mm "
                f"without, {row['rmse_whole_series_mm']:.3g} mm had it known the future"
            ),
        )


def _score_looks(name: str) -> Iterator[ScoreArgument]:
    """How often the worst is called a week before drawn collapses, and on slopes that did not fail."""
    key, words, counted = CALLED[name]
    figures, source = _read("stages")
    unfailed = figures.get("did not fail", {})
    for one, table in figures.items():
        if isinstance(table, dict) and table is not unfailed:
            row = table["7d"]
            yield ScoreArgument(
                {"set": one, "lead": "7d", "share": row[key], "curves": row["curves"], **source},
                True,
                (f"a week before the end of {row['curves']} drawn collapses, {one}: {row[key]:.0%} {words}"),
            )
    for one, row in unfailed.items():
        yield ScoreArgument(
            {"set": one, "lead": None, "share": row[key], "looks": row[counted], **source},
            False,
            (f"{one}, which did not fail: {row[key]:.1%} of {row[counted]:,} looks {words}"),
        )


def _argue(scores: Iterable[DailyScore]) -> ModelScores:
    """For it: where its error, or that of what the gate would show, is below that of `auto`; against it: the rest."""
    arguments: list[ScoreArgument] = []
    for score in scores:
        shown = score["gated_mae_mm"] if score["gated_mae_mm"] is not None else score["mae_mm"]
        gain = 1.0 - min(shown, score["mae_mm"]) / score["auto_mae_mm"]
        arguments.append(ScoreArgument(score, gain > 0, f"{score['set']} {score['horizon']}: {_compare(score, gain)}"))
    if arguments and all(score["mae_mm"] == score["auto_mae_mm"] for score, _, _ in arguments if score):
        arguments = [argument._replace(is_for=False, words=None) for argument in arguments]
        arguments.append(ScoreArgument(None, True, "what every other forecast is compared with"))
    return sum_up_arguments(arguments)


def _compare(score: DailyScore, gain: float) -> str:
    seeds = "" if score["seeds"] == 1 else f", {score['seeds']} seeds"
    if gain == 0:
        alone = 1.0 - score["mae_mm"] / score["auto_mae_mm"]
        return f"the gate shows auto; alone {abs(alone):.1%} above it{seeds}"
    by = ", behind the gate" if score["mae_mm"] >= score["auto_mae_mm"] and gain > 0 else ""
    return f"{abs(gain):.1%} {'below' if gain > 0 else 'above'} auto{by}{seeds}"


def _score_failure() -> ModelScores:
    """Of drawn collapses whose end is known: share issued, error and share inside a week before."""
    figures, source = _read("failure_time")
    if not figures:
        return ModelScores()
    row = figures[FAILURE_SET]["all"]["7d"]
    reason = (
        f"a week before the end of {row['curves']} drawn collapses: issued {row['issued']:.0%}, error "
        f"{row['median_abs_error_days']:.2g} days, inside the window {row['inside']:.0%}"
    )
    return sum_up_arguments([ScoreArgument({"set": FAILURE_SET, "lead": "7d"} | row | source, True, reason)])


def _score_detector(name: str) -> ModelScores:
    """Recall and F1 of injected faults at the same budget, beside the rules."""
    figures, source = _read("anomalies-bench")
    arguments: list[ScoreArgument] = []
    for one, tables in figures.items():
        for seeds in ("three seeds", "networks, one seed", "rules, one seed"):
            rows = {row["detector"]: row for row in tables.get(seeds, ())}
            if name not in rows:
                continue
            row, rules = rows[name], rows.get("rules", {}).get("f1")
            keys = ("precision", "recall", "f1", "budget_per_sensor_month", "seeds")
            score = {"set": one, **{k: row.get(k) for k in keys}, "rules_f1": rules, **source}
            is_for, words = True, f"{one}: finds {score['recall']:.0%}"
            if name == "rules" and score["f1"] is not None:
                words = f"{one}: F1 {score['f1']:.2f}"
            elif score["f1"] is not None and rules is not None:
                is_for, words = score["f1"] > rules, f"{one}: F1 {score['f1']:.2f}, rules {score['rules_f1']:.2f}"
            arguments.append(ScoreArgument(score, is_for, words))
            break
    return sum_up_arguments(arguments)
