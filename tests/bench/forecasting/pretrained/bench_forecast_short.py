"""Short records: what the shipped network is worth on the first 40 to 160 rows of records that it never saw.

    python -m tests.bench.forecasting.pretrained.bench_forecast_short [--only chosen,reported] [--seed 7]

A stretch is the first rows of a record, or of the record from a later row on; the 30 rows after it are the test. MAE
over the test beside persistence, `lld`, `ewa` and `auto`, as ratios to `auto`: geometric means over stations and
horizons of a record, then over records. `as shipped`: nothing tuned. `tuned`: `adapt`. `blend`: tuned, on top of
`auto` with the weight that calibration chose. `served`: the blend where the gate opens, else `auto`. `own`: an `lstm`
trained on the stretch alone, where it can be.
What was scored is kept in build/, so that a run that was killed goes on where it was.

Reported: records that no version of the network was trained or chosen on. Chosen: the four places of its training, each
scored with weights that were trained without it (`train_pretrained --without`), on which settings were chosen.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forecasting.data.series import Floats, Panel
from forecasting.data.splits import Block, Split, split
from forecasting.errors import NotEnoughDataError
from forecasting.neural.checkpoint import read
from forecasting.neural.forecaster import NeuralForecaster
from forecasting.neural.learner import Settings
from forecasting.neural.pretrained import adapt, read_shipped, settle
from forecasting.neural.training import train_network
from forecasting.serving import calibration
from forecasting.simple.auto import Auto, fit_auto
from forecasting.whole_file import write_bytes
from tests.bench.forecasting.pretrained.train_pretrained import LICENCES, MODEL
from tests.bench.record import read_options, record
from tests.data.records import Measured, read_records

KEPT = Path(__file__).resolve().parents[4] / "build" / "pretrained"
LENGTHS = (40, 80, 120, 160)
TEST_ROWS, LEAST_TARGETS, STARTS, STATIONS = 30, 5, 2, 8
NOISE_OF_OTHERS = ("S", "SK")
"""Drawn on noise of stations that the network was trained on: neither list."""
SIMPLE = ("persistence", "lld", "ewa")


def stretches(panel: Panel, length: int) -> Iterator[tuple[Panel, Split]]:
    """Stretches of so many rows with their tests, from up to two first rows, eight stations at most."""
    room = panel.values.shape[0] - length - TEST_ROWS
    if room < LEAST_TARGETS - TEST_ROWS:
        return
    firsts = sorted({int(v) for v in np.linspace(0, max(room, 0), STARTS if room > length else 1)})
    for first in firsts:
        values = panel.values[first : first + length + TEST_ROWS]
        seen = np.isfinite(values[:length]).sum(axis=0) >= length * 0.7
        if seen.any():
            known = np.flatnonzero(seen)
            known = known[:: -(-known.size // STATIONS)]
            names = tuple(panel.stations[i] for i in known)
            one = Panel(panel.start_s + first * panel.step_s, panel.step_s, names, values[:, known])
            parts = split(length)
            yield one, replace(parts, test=Block(length, values.shape[0]))


def answers(
    one: Panel, parts: Split, horizons_s: tuple[float, ...], shipped: NeuralForecaster, seed: int
) -> tuple[dict[str, Floats], list[bool]]:
    """Points of every way on the test, (N, S, H), and at which horizons the network is served."""
    steps = tuple(one.steps(h) for h in horizons_s)
    auto = fit_auto(one, parts.calibration, steps)
    origins = parts.test.origins
    out = {"auto": auto.predict(one.values, origins)}
    for name in SIMPLE:
        member = auto.member(name)
        assert member is not None
        out[name] = member.predict(one.values, origins)
    out["as shipped"] = settle(shipped, one, parts, horizons_s).quantiles(one.values, origins)[..., 2]
    tuned = adapt(shipped, one, parts, horizons_s).forecaster
    out["tuned"] = tuned.quantiles(one.values, origins)[..., 2]
    out["blend"], out["served"], shown = _gate(tuned, auto, one, parts, horizons_s, out["auto"])
    try:
        own = train_network("lstm", one, parts, horizons_s, Settings(seed=seed))
        out["own"] = own.forecaster.quantiles(one.values, origins)[..., 2]
    except NotEnoughDataError:
        pass
    return out, shown


def _gate(
    tuned: NeuralForecaster, auto: Auto, one: Panel, parts: Split, horizons_s: tuple[float, ...], simple: Floats
) -> tuple[Floats, Floats, list[bool]]:
    end = parts.test.end
    rows, judged = calibration.calibrate(tuned, tuned.recipe.base, auto, one, parts, horizons_s=horizons_s, last=end)
    inside = rows >= parts.test.first
    blend = np.stack([j.quantiles[inside, :, 2] for j in judged], axis=2)
    shown = [j.gate.shown for j in judged]
    return blend, np.where(shown, blend, simple), shown


def score(one: Measured, shipped: NeuralForecaster, seed: int) -> dict[int, dict[str, Any]]:
    """By length: ratios to `auto` of every way, and how often the network is served."""
    out: dict[int, dict[str, Any]] = {}
    for length in LENGTHS:
        errors: dict[str, dict[tuple[str, int], list[Floats]]] = defaultdict(lambda: defaultdict(list))
        served: list[bool] = []
        for panel, parts in stretches(one.panel, length):
            horizons_s = tuple(h for h in one.horizons_s if panel.steps(h) * 2 <= TEST_ROWS)
            said, shown = answers(panel, parts, horizons_s, shipped, seed)
            served += shown
            origins = parts.test.origins
            both = np.all([np.isfinite(points) for points in said.values()], axis=0)
            for i, h in enumerate(horizons_s):
                came = parts.test.targets(panel.values, origins, panel.steps(h))
                for way, points in said.items():
                    found = np.abs(came - points[:, :, i])[both[:, :, i] & np.isfinite(came)]
                    errors[way]["", i].append(found)
        means = {
            way: {k: float(np.concatenate(e).mean()) for k, e in by.items() if sum(x.size for x in e) >= LEAST_TARGETS}
            for way, by in errors.items()
        }
        if not means.get("auto"):
            continue
        ratios = {
            way: round(float(np.exp(np.mean([np.log(v / means["auto"][key]) for key, v in by.items()]))), 4)
            for way, by in means.items()
            if by.keys() == means["auto"].keys()
        }
        out[length] = {"ratios": ratios, "served": round(float(np.mean(served)), 3), "gates": len(served)} | {
            "auto_mae_mm": [round(v, 3) for v in means["auto"].values()]
        }
    return out


def tabulate(by_record: Mapping[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """Geometric means over records for each length."""
    out: dict[str, Any] = {}
    for length in LENGTHS:
        found = [by[length] for by in by_record.values() if length in by]
        ways = sorted({way for one in found for way in one["ratios"]})
        out[f"{length} rows"] = {
            "records": len(found),
            "served": round(float(np.mean([one["served"] for one in found])), 3),
            "ratio to auto": {
                way: [round(float(np.exp(np.mean(np.log(values)))), 4), len(values)]
                for way in ways
                if (values := [one["ratios"][way] for one in found if way in one["ratios"]])
            },
        }
    return out


def main() -> None:
    """Score, print, keep."""
    given = read_options(__doc__, only="chosen,reported", seed=7)
    torch.set_num_threads(1)
    kinds = given.only.split(",")
    found: dict[str, dict[str, dict[int, dict[str, Any]]]] = {kind: {} for kind in kinds}
    for one in read_records():
        kind = "chosen" if one.family in LICENCES else "reported"
        if kind not in kinds or one.name in NOISE_OF_OTHERS or one.family == "failure":
            continue
        if kind == "chosen":
            shipped, card = read(KEPT / f"without-{one.family}" / f"{MODEL}.safetensors")
        else:
            shipped, card = read_shipped(MODEL)
        place = KEPT / f"{one.name}-{card['model_hash'][:12]}-{given.seed}.json"
        if not place.exists():
            write_bytes(place, json.dumps(score(one, shipped, given.seed)).encode())
        kept = json.loads(place.read_text())
        found[kind][one.name] = {int(length): row for length, row in kept.items()}
        print(kind, one.name, kept, flush=True)
    tables = {kind: tabulate(by) for kind, by in found.items()}
    print(json.dumps(tables, indent=1))
    facts = {"unit": "MAE as a ratio to auto, [geometric mean over records, records]"}
    print(record("forecast-short", "make bench-forecast-short", facts | tables | {"records": found}))


if __name__ == "__main__":
    main()
