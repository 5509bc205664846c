"""Every model there is: what it is, its paper, its size, its stored scores."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict

from monitor.cli.benchmarks import read_benchmark

SETS = ("SK", "S", "G", "K")
RECORDS = "records: G and K measured by GNSS (18 and 24 stations), S and SK a landslide's curve with such noise (8)"
DAILY = ("1d", "7d", "30d")
KINEMATIC = {
    "inverse-velocity": "forecasting.kinematics.inverse_velocity",
    "tangential-angle": "forecasting.kinematics.tangential:tangential_angle_deg",
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
WINDOW, HORIZONS, HIDDEN, STATIONS = 60, 3, 32, 8
"""Sizes that weights are counted at: the defaults, and a slope of eight stations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """One model; its fields are the keys of a JSON line."""

    id: str
    kind: str
    what: str  # one sentence
    paper: str | None = None
    parameters: int | None = None  # weights
    reads_drivers: bool = False
    reads_graph: bool | None = False  # None: not known without torch
    served: bool = False
    scores: Sequence[Mapping[str, Any]] = ()


def list_models() -> list[CatalogueEntry]:
    """One entry a model, in the order forecasts, parts of a curve, curves, anomalies."""
    return [*_list_forecasters(), *_list_methods(), *_list_detectors()]


def _list_forecasters() -> Iterator[CatalogueEntry]:
    from forecasting.registry import BASELINES, NETWORKS, READS_DRIVERS, SERVED

    tables: dict[str, Mapping[str, str]] = {"simple forecast": BASELINES, "network": NETWORKS}
    shared = Counter(path.partition(":")[0] for table in tables.values() for path in table.values())
    for kind, table in tables.items():
        for name, path in table.items():
            parameters, reads_graph = _size_of_network(name) if kind == "network" else (None, False)
            yield _describe(
                name,
                kind,
                path,
                whole_file=shared[path.partition(":")[0]] == 1,
                parameters=parameters,
                reads_graph=reads_graph,
                reads_drivers=name in READS_DRIVERS,
                served=name in SERVED,
                scores=list(_score(name)),
            )


def _list_methods() -> Iterator[CatalogueEntry]:
    from forecasting.decomposition.components import FOR_FORECASTS, METHODS

    for name, path in METHODS.items():
        yield _describe(name, "decomposition", path.partition(":")[0], served=name in FOR_FORECASTS)
    for name, path in KINEMATIC.items():
        yield _describe(name, "curve", path, served=True)


def _list_detectors() -> Iterator[CatalogueEntry]:
    from detection.anomaly.registry import CHECKS, COMPOSITES, RULES, load_network
    from detection.anomaly.registry import NETWORKS as AUTOENCODERS

    for name, path in {**RULES, **AUTOENCODERS}.items():
        count = None
        if name in AUTOENCODERS and find_spec("torch") is not None:
            count = int(sum(one.numel() for one in load_network(name)().parameters()))
        yield _describe(name, "anomaly detector", path, parameters=count, served=True, scores=_score_detector(name))
    others = [
        (name, "anomaly detector", f"Several rules that share one budget: {', '.join(parts)}.")
        for name, parts in COMPOSITES.items()
    ]
    others += [(name, "check of readings", f"Finds {kind}, certain without a score.") for name, kind in CHECKS.items()]
    for name, kind, what in others:
        yield CatalogueEntry(id=name, kind=kind, what=what, served=True, scores=_score_detector(name))


def format_model(model: CatalogueEntry) -> str:
    """A few lines for people."""
    size = "" if model.parameters is None else f"{model.parameters:,} weights"
    reads = [part for part, is_read in (("drivers", model.reads_drivers), ("graph", model.reads_graph)) if is_read]
    more = f"reads {' and '.join(reads)}" if reads else ""
    head = "  ".join(part for part in (size, more, "" if model.served else "not served") if part)
    lines = [f"{model.id:20} {model.kind:20} {head}".rstrip(), f"    {model.what}"]
    lines += [f"    paper: {model.paper}"] if model.paper else []
    for score in model.scores:
        figure = "MAE {mae_mm:.3g} mm, auto {auto_mae_mm:.3g} mm" if "mae_mm" in score else "recall {recall:.0%}"
        lines.append(f"    {score['set']} {score.get('horizon', '')}: ".replace(" :", ":") + figure.format(**score))
    return "\n".join(lines)


def _describe(name: str, kind: str, path: str, *, whole_file: bool = False, **facts: Any) -> CatalogueEntry:
    module, _, attribute = path.partition(":")
    spec = find_spec(module)
    tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    nodes: list[Any] = [tree]
    if attribute and not whole_file:
        nodes = [one for one in tree.body if getattr(one, "name", None) == attribute] or nodes
    text = (ast.get_docstring(nodes[0]) or "").partition("\n")[0]
    papers = [inner for inner in re.findall(r"\(([^()]*)\)", text) if re.search(r"\b(19|20)\d\d\b", inner)]
    paper = PAPERS.get(name) or "; ".join(papers) or None
    return CatalogueEntry(id=name, kind=kind, what=text, paper=paper, **facts)


def _size_of_network(name: str) -> tuple[int | None, bool | None]:
    if find_spec("torch") is None:
        return None, None
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
    return shipped, bool(kind.needs_graph)


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


def _score_detector(name: str) -> list[dict[str, Any]]:
    """Recall and F1 of injected faults at the same budget, beside the rules; of most seeds where there are several."""
    figures, source = _read("anomalies-bench")
    keys = ("precision", "recall", "f1", "budget_per_sensor_month", "seeds")
    found = []
    for one, tables in figures.items():
        for seeds in ("three seeds", "networks, one seed", "rules, one seed"):
            rows = {row["detector"]: row for row in tables.get(seeds, ())}
            if name in rows:
                measured = {key: rows[name].get(key) for key in keys}
                found.append({"set": one, **measured, "rules_f1": rows.get("rules", {}).get("f1"), **source})
                break
    return found
