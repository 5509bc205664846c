"""Every model there is: what it is, its paper, its size, its stored scores, and the reasons for and against it."""

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monitor.cli.benchmarks import NOT_MEASURED, read_benchmark, tell_reasons

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
    "ets": "Hyndman et al. 2002", "arima": "Box and Jenkins 1970; Harvey 1989", "ridge": "Hoerl and Kennard 1970",
    "lad": "Koenker and Bassett 1978", "ewa": "Cesa-Bianchi and Lugosi 2006", "sarimax": "Box and Tiao 1975",
    "uc": "Harvey 1989", "random-forest": "Breiman 2001", "gradient-boosting": "Friedman 2001",
    "svr": "Drucker et al. 1997", "vae": "Kingma and Welling 2014", "page-hinkley": "Page 1954",
    "ewma": "Roberts 1959", "matrix-profile": "Yeh et al. 2016", "cnn-bilstm": "the CNN-BiLSTM of Baishuihe",
    "cnn-lstm-attention": "the attention CNN-LSTM of Outang", "persistence-z": "Hampel 1974", "robust-z": "Hampel 1974",
    "drift-z": "Hampel 1974", "common-mode": "Wdowinski et al. 1997", "ae": "Hinton and Salakhutdinov 2006",
    "conv-ae": "Masci et al. 2011", "lstm-ae": "Malhotra et al. 2016", "gru-ae": "Cho et al. 2014",
    "residual-fan": "Gibbs and Candès 2021",
}  # fmt: skip
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


def list_models() -> list[dict[str, Any]]:
    """One row a model, in the order forecasts, parts of a curve, curves, anomalies."""
    from detection.anomaly.registry import CHECKS, COMPOSITES, FANS, READS_QUANTITIES, RULES, SITE_RULES
    from detection.anomaly.registry import NETWORKS as AUTOENCODERS
    from forecasting.decomposition.components import FOR_FORECASTS, METHODS
    from forecasting.registry import (
        BASELINES,
        COMPARISONS,
        NETWORKS,
        PRETRAINED,
        READS_DRIVERS,
        SERVED,
        STATISTICAL,
    )

    kept = read_benchmark("forecast")
    rows = []
    tables: dict[str, Mapping[str, str]] = {
        "simple forecast": BASELINES, "statistical forecast": STATISTICAL, "for tables": COMPARISONS,
        "network": NETWORKS,
    }  # fmt: skip
    shared = Counter(path.partition(":")[0] for table in tables.values() for path in table.values())
    for kind, table in tables.items():
        for name, path in table.items():
            row = _describe(name, kind, path, whole_file=shared[path.partition(":")[0]] == 1)
            size = _size_of_network(name) if kind == "network" else {}
            if name in PRETRAINED:
                told = _score_short(read_benchmark("forecast-short"))
            else:
                told = _argue(_score(name, kept) if name not in STATISTICAL else _score_statistical(name))
            rows.append(row | size | {"reads_drivers": name in READS_DRIVERS, "served": name in SERVED} | told)
    for name, path in METHODS.items():
        row = _describe(name, "decomposition", path.partition(":")[0])
        rows.append(row | {"served": name in FOR_FORECASTS} | _score_parts(name, read_benchmark("seeds"), kept))
    for name, path in KINEMATIC.items():
        told = _score_looks(name, read_benchmark("stages")) if name in CALLED else _score_failure()
        rows.append(_describe(name, "curve", path) | {"served": True} | told)
    rows.append(_describe("emd-gru-failure", "curve", "forecasting.neural.failure_gru") | _score_beside())
    found = read_benchmark("anomalies-bench")
    for name, path in {**RULES, **SITE_RULES, **FANS, **AUTOENCODERS}.items():
        size = _size_of_autoencoder(name) if name in AUTOENCODERS else {}
        row = _describe(name, "anomaly detector", path)
        told = _score_detector(name, found)
        if name in READS_QUANTITIES:
            told = _score_beside_quantities(name, read_benchmark("anomalies-beside")) | {"reads_drivers": True}
        rows.append(row | size | {"served": True} | told)
    for name in COMPOSITES:
        parts = ", ".join(COMPOSITES[name])
        row = {"id": name, "kind": "anomaly detector", "what": f"Several rules that share one budget: {parts}."}
        rows.append(_EMPTY | row | {"served": True} | _score_detector(name, found))
    for name, kind in CHECKS.items():
        row = {"id": name, "kind": "check of readings", "what": f"Finds {kind}, certain without a score."}
        rows.append(_EMPTY | row | {"served": True} | _score_detector(name, found))
    return rows


def tell_model(row: Mapping[str, Any]) -> str:
    """A few lines for people."""
    size = "" if row["parameters"] is None else f"{row['parameters']:,} weights"
    reads = [word for word in ("drivers", "graph") if row[f"reads_{word}"]]
    more = f"reads {' and '.join(reads)}" if reads else ""
    served = "" if row["served"] else "not served"
    head = "  ".join(word for word in (size, more, served, row["note"] or "") if word)
    told = [f"{row['id']:20} {row['kind']:20} {head}".rstrip(), f"    {row['what']}"]
    told += [f"    paper: {row['paper']}"] if row["paper"] else []
    return "\n".join(told + tell_reasons(row))


_EQUAL = "recall_at_equal_false_alarms"
_EMPTY: dict[str, Any] = {
    "id": None, "kind": None, "what": None, "paper": None, "parameters": None, "reads_drivers": False,
    "reads_graph": False, "served": False, "scores": None, "note": NOT_MEASURED, "reasons_for": None,
    "reasons_against": None,
}  # fmt: skip


def _describe(name: str, kind: str, path: str, *, whole_file: bool = False) -> dict[str, Any]:
    """First sentence and paper as the source says them: of the whole file, or of one function or class of it."""
    module, _, attribute = path.partition(":")
    spec = find_spec(module)
    tree = ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))
    nodes: list[Any] = [tree]
    if attribute and not whole_file:
        nodes = [one for one in tree.body if getattr(one, "name", None) == attribute] or nodes
    text = (ast.get_docstring(nodes[0]) or "").partition("\n")[0]
    papers = [inner for inner in re.findall(r"\(([^()]*)\)", text) if re.search(r"\b(19|20)\d\d\b", inner)]
    return _EMPTY | {"id": name, "kind": kind, "what": text, "paper": PAPERS.get(name) or "; ".join(papers) or None}


def _size_of_network(name: str) -> dict[str, Any]:
    """Weights, as shipped or at the default sizes, and whether it reads a graph; nothing without torch."""
    if find_spec("torch") is None:
        return {"reads_graph": None}
    import torch

    import forecasting
    from forecasting.data.features import FEATURES
    from forecasting.decomposition.windows import PARTS
    from forecasting.neural.network import Shape
    from forecasting.registry import load

    kind = load(name)
    graph = (1.0 - torch.eye(STATIONS)).expand(2, -1, -1) / STATIONS
    features = len(FEATURES) + (PARTS if kind.decomposes else 0)
    made = kind(Shape(features, WINDOW, HORIZONS, HIDDEN, 0.1, graph if kind.needs_graph else None))
    card = Path(forecasting.__file__).parent / "weights" / f"{name}.json"
    count = sum(one.numel() for one in made.parameters())
    shipped = json.loads(card.read_text(encoding="utf-8"))["parameters"] if card.is_file() else count
    return {"parameters": shipped, "reads_graph": bool(kind.needs_graph)}


def _size_of_autoencoder(name: str) -> dict[str, Any]:
    if find_spec("torch") is None:
        return {}
    from detection.anomaly.registry import SITE_NETWORKS, load_network

    kind = load_network(name)
    made = kind(STATIONS) if name in SITE_NETWORKS else kind()
    return {"parameters": sum(one.numel() for one in made.parameters())}


def _score(name: str, kept: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Mean absolute errors of the stored comparison beside the best simple forecast; and what the gate would show."""
    out = []
    for one in SETS if kept else ():
        table = (kept or {})["figures"].get(one, {})
        for horizon in DAILY:
            row, best = table.get(f"{name} {horizon}"), table.get(f"auto {horizon}")
            if row is None or best is None:
                continue
            gated = table.get(f"{name}-gated {horizon}")
            # what the gate shows is `auto` as it was on the day of the run, and no network where that is another
            gated = gated if gated and gated["measured_at"] == best["measured_at"] else None
            out.append({
                "set": one, "horizon": horizon, "mae_mm": row["mae"], "auto_mae_mm": best["mae"],
                "gated_mae_mm": gated and gated["mae"], "seeds": row["seeds"], "record": "forecast.json",
                "measured_at": row["measured_at"],
            })  # fmt: skip
    return out


def _score_statistical(name: str) -> list[dict[str, Any]]:
    kept = read_benchmark("forecast-statistical")
    out = []
    for one, table in (kept["figures"] if kept else {}).items():
        for horizon, found in table.get("horizons", {}).items() if isinstance(table, dict) else ():
            errors = found["mae_mm"]
            if errors.get(name) is not None:
                out.append({
                    "set": one, "horizon": horizon.replace(" ", ""), "mae_mm": errors[name],
                    "auto_mae_mm": errors["auto"], "gated_mae_mm": None, "seeds": 1,
                    "record": "forecast-statistical.json", "measured_at": kept and kept["measured_at"],
                })  # fmt: skip
    return out


def _score_short(kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of the network with shipped weights: its error on short records that it never saw, and how often it is shown."""
    scores: list[dict[str, Any]] = []
    told: dict[bool, list[str]] = {True: [], False: []}
    for rows, table in (kept or {"figures": {"reported": {}}})["figures"]["reported"].items():
        ratio = {way: found[0] for way, found in table["ratio to auto"].items()}
        scores.append({
            "set": f"first {rows} of {table['records']} records", "ratio_to_auto": ratio["tuned"],
            "shown_ratio_to_auto": ratio["served"], "gates_open": table["served"], "seeds": 1,
            "record": "forecast-short.json", "measured_at": kept and kept["measured_at"],
        })  # fmt: skip
        told[ratio["tuned"] < 1.0].append(
            f"{rows} of {table['records']} records: {abs(ratio['tuned'] - 1.0):.1%} "
            f"{'above' if ratio['tuned'] > 1.0 else 'below'} auto, shown in {table['served']:.0%}"
        )
    return _weigh(scores, told)


def _score_parts(
    name: str, kept: Mapping[str, Any] | None, networks: Mapping[str, Any] | None
) -> dict[str, Any]:  # fmt: skip
    """A row ahead by the parts and without them, what the future would have made of it; then its network, if any."""
    scores: list[dict[str, Any]] = []
    told: dict[bool, list[str]] = {True: [], False: []}
    for one, horizon in PARTS_SETS.items() if kept else ():
        row = (kept or {})["figures"].get(f"decomposition on {one}", {}).get(name, {})
        if row.get("rmse_without_mm") is None:
            continue
        keys = ("issues", "rmse_causal_mm", "rmse_without_mm", "rmse_whole_series_mm", "trend_moves_mm")
        record = {"record": "seeds.json", "measured_at": kept and kept["measured_at"]}
        scores.append({"set": one, "horizon": horizon, **{key: row[key] for key in keys}, **record})
        told[row["rmse_causal_mm"] < row["rmse_without_mm"]].append(
            f"{one} {horizon}: RMSE {row['rmse_causal_mm']:.3g} mm with its parts, {row['rmse_without_mm']:.3g} mm "
            f"without, {row['rmse_whole_series_mm']:.3g} mm had it known the future"
        )
    table = networks["figures"].get("SK", {}) if networks else {}
    for horizon in DAILY:
        made, plain = table.get(f"{name}-gru {horizon}"), table.get(f"gru {horizon}")
        if made and plain:
            scores.append({
                "set": "SK", "horizon": horizon, "network": f"{name}-gru", "mae_mm": made["mae"],
                "gru_mae_mm": plain["mae"], "seeds": made["seeds"], "gru_seeds": plain["seeds"],
                "record": "forecast.json", "measured_at": made["measured_at"],
            })  # fmt: skip
            if made["seeds"] == plain["seeds"]:  # else the seed may be the difference
                told[made["mae"] < plain["mae"]].append(
                    f"SK {horizon}: {name}-gru {made['mae']:.3f} mm, gru {plain['mae']:.3f} mm"
                )
    return _weigh(scores, told)


def _score_looks(name: str, kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """How often the worst is called a week before drawn collapses, and on slopes that did not fail."""
    scores: list[dict[str, Any]] = []
    told: dict[bool, list[str]] = {True: [], False: []}
    key, words, counted = CALLED[name]
    figures = kept["figures"] if kept else {"did not fail": {}}
    record = {"record": "stages.json", "measured_at": kept and kept["measured_at"]}
    for one, table in figures.items():
        if one == "did not fail" or not isinstance(table, dict):
            continue
        scores.append({"set": one, "lead": "7d", "share": table["7d"][key], "curves": table["7d"]["curves"], **record})
        told[True].append(
            f"a week before the end of {table['7d']['curves']} drawn collapses, {one}: {table['7d'][key]:.0%} {words}"
        )
    for one, row in figures["did not fail"].items():
        scores.append({"set": one, "lead": None, "share": row[key], "looks": row[counted], **record})
        told[False].append(f"{one}, which did not fail: {row[key]:.1%} of {row[counted]:,} looks {words}")
    return _weigh(scores, told)


def _argue(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """For it: where its error, or that of what the gate would show, is below that of `auto`; against it: the rest."""
    told: dict[bool, list[str]] = {True: [], False: []}
    for score in scores:
        shown = score["gated_mae_mm"] if score["gated_mae_mm"] is not None else score["mae_mm"]
        gain = 1.0 - min(shown, score["mae_mm"]) / score["auto_mae_mm"]
        told[gain > 0].append(f"{score['set']} {score['horizon']}: {_compare(score, gain)}")
    if scores and all(score["mae_mm"] == score["auto_mae_mm"] for score in scores):
        told = {True: ["what every other forecast is compared with"], False: []}
    return _weigh(scores, told)


def _weigh(scores: list[dict[str, Any]], told: Mapping[bool, list[str]]) -> dict[str, Any]:
    """Scores and what they say for (True) and against a model."""
    return {
        "scores": scores or None, "note": None if scores else NOT_MEASURED,
        "reasons_for": "; ".join(told[True]) or None, "reasons_against": "; ".join(told[False]) or None,
    }  # fmt: skip


def _compare(score: Mapping[str, Any], gain: float) -> str:
    seeds = "" if score["seeds"] == 1 else f", {score['seeds']} seeds"
    if gain == 0:
        alone = 1.0 - score["mae_mm"] / score["auto_mae_mm"]
        return f"the gate shows auto; alone {abs(alone):.1%} above it{seeds}"
    by = ", behind the gate" if score["mae_mm"] >= score["auto_mae_mm"] and gain > 0 else ""
    return f"{abs(gain):.1%} {'below' if gain > 0 else 'above'} auto{by}{seeds}"


def _score_failure() -> dict[str, Any]:
    """Of drawn collapses whose end is known: share issued, error and share inside a week before."""
    if (kept := read_benchmark("failure_time")) is None:
        return {}
    row = kept["figures"][FAILURE_SET]["all"]["7d"]
    score = {"set": FAILURE_SET, "lead": "7d"} | row | {
        "record": "failure_time.json", "measured_at": kept["measured_at"],
    }  # fmt: skip
    told = (
        f"a week before the end of {row['curves']} drawn collapses: issued {row['issued']:.0%}, error "
        f"{row['median_abs_error_days']:.2g} days, inside the window {row['inside']:.0%}"
    )
    return {"scores": [score], "note": None, "reasons_for": told}


def _score_beside() -> dict[str, Any]:
    """EMD-GRU at the issues that have a trusted window, beside inverse velocity."""
    if (kept := read_benchmark("failure-gru")) is None:
        return {}
    scores: list[dict[str, Any]] = []
    told: dict[bool, list[str]] = {True: [], False: []}
    for one, table in kept["figures"].items():
        for lead, row in table.items() if isinstance(table, dict) else ():
            errors = row["median_abs_error_days"]
            mine, other = errors["emd-gru-failure"], errors["inverse-velocity"]
            scores.append(
                {"set": one, "lead": lead} | row | {"record": "failure-gru.json", "measured_at": kept["measured_at"]}
            )
            told[mine < other].append(
                f"{lead} before the end, {one}: error {mine:.2g} days, inverse velocity {other:.2g} days"
            )
    told[False].append("it has no gate, and says a time for a slope that never fails")
    return _weigh(scores, told)


def _score_beside_quantities(name: str, kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """Recall of faults laid into the motion and other quantities, at equal false alarms, beside the rules."""
    scores, told = [], dict[bool, list[str]]({True: [], False: []})
    for one, table in (kept or {"figures": {}})["figures"].items():
        rows = {(row["quantity"], row["detector"]): row for row in table if "refused" not in row}
        for (quantity, detector), row in rows.items():
            rules = rows.get((quantity, "rules"), {}).get(_EQUAL)
            if detector != name or row[_EQUAL] is None or rules is None:
                continue
            record = {"record": "anomalies-beside.json", "measured_at": kept and kept["measured_at"]}
            keys = ("precision", "recall", "f1", "budget_per_sensor_month", "seeds", _EQUAL)
            place = f"{one} {quantity.replace('_', ' ')}"
            scores.append({"set": place, **{k: row[k] for k in keys}, f"rules_{_EQUAL}": rules, **record})
            told[row[_EQUAL] > rules].append(f"{place}: finds {row[_EQUAL]:.0%}, rules {rules:.0%}")
    return _weigh(scores, told)


def _score_detector(name: str, kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """Recall and F1 of injected faults at the same budget, beside the rules."""
    scores = []
    for one, tables in (kept or {"figures": {}})["figures"].items():
        for seeds in ("three seeds", "networks, one seed", "rules, one seed"):
            rows = {row["detector"]: row for row in tables.get(seeds, ())}
            if name in rows:
                row, rules = rows[name], rows.get("rules", {})
                keys = ("precision", "recall", "f1", "budget_per_sensor_month", "seeds")
                record = {"record": "anomalies-bench.json", "measured_at": kept and kept["measured_at"]}
                scores.append({"set": one, **{k: row.get(k) for k in keys}, "rules_f1": rules.get("f1"), **record})
                break
    if not scores:
        return {}
    told: dict[bool, list[str]] = {True: [], False: []}
    for score in scores:
        if name == "rules" and score["f1"] is not None:
            told[True].append(f"{score['set']}: F1 {score['f1']:.2f}")
        elif score["f1"] is None or score["rules_f1"] is None:
            told[True].append(f"{score['set']}: finds {score['recall']:.0%}")
        else:
            told[score["f1"] > score["rules_f1"]].append(
                f"{score['set']}: F1 {score['f1']:.2f}, rules {score['rules_f1']:.2f}"
            )
    return _weigh(scores, told)
