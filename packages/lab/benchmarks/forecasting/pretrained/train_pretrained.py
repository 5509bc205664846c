"""Train the network that is shipped for short records, on the measured records whose licence allows it.

    python -m packages.lab.benchmarks.forecasting.pretrained.train_pretrained [--seed 7] [--out FOLDER]

Writes `<model>.safetensors` and its card. Records are cut into pieces of 150 rows, each with a simple forecast chosen
on its own newest rows: what is learnt is the correction of a choice made on little. The spread of its errors is that of
all records together.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from forecasting.data.features import noise_floor, scale_lag, windows
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.data.sources import RecordRecipe, read_recipe, read_record
from forecasting.data.splits import Block, Split
from forecasting.neural.checkpoint import model_hash, to_bytes
from forecasting.neural.forecaster import NeuralForecaster, Recipe, build_network
from forecasting.neural.learner import Learner, Member, Settings
from forecasting.neural.pretrained import LEAST_SEEN, PLACE, STEPS
from forecasting.neural.training import deterministic
from forecasting.simple.baselines import DEFAULT, LevelDrift, fit_level_drift
from tests.data.records import RECIPES, read_records

MODEL: Final = "pretrained-lstm"
LICENCES: Final = {
    "japan": "CC BY 4.0 (github.com/helmsman-sun/gnss-station-neu-timeseries): 18 stations, daily, 3 components",
    "cascadia": "MIT (github.com/treverhines/PyGeoNS); data of UNAVCO/PBO, open: 29 stations, daily, 3 components",
    "egms": "Copernicus, free and open (European Ground Motion Service, L2b): satellite points, 6 to 24 d",
    "houston": "public domain (US Geological Survey): 14 borehole extensometers, about 28 d",
}
LEFT_OUT: Final = {
    "outang, baijiabao, bazimen, lamosano, nepal, cracks": "no licence is stated",
    "CHAN, IRKJ, LHAS, MXTM, P156, QUEM, USUD": "no licence is stated",
    "bowdoin": "CC BY-SA 4.0: what is shared alike may reach the weights",
    "EGMS L3 east and up": "an open re-computation, not the file of the service",
    "failure curves": "drawn, not measured",
}
PIECE, TOGETHER = 150, 24
THINNED = (5, 11, 30)
SHARE_OF_CALIBRATION = 0.4
WINDOWS_OF_A_FAMILY = 25_000
REPEATED = {"houston": 6}
"""A family with little is cut and turned so many times."""
SETTINGS = Settings(epochs=10, patience=3, window=30, hidden=48, batch=16, time_limit_s=3600.0)


@dataclass(frozen=True)
class Piece:
    """Stations of one record over some rows, half of them turned round: no sign is told apart."""

    family: str
    panel: Panel
    floors: Floats
    learns: bool


def read_allowed() -> Iterator[tuple[str, Panel]]:
    """Every record that may be learnt from, with its family."""
    for one in read_records(set(LICENCES) - {"egms"}):
        yield one.family, one.panel
    recipe = read_recipe(RECIPES / "egms-points.toml")
    yield "egms", read_record(None, RecordRecipe(dict(recipe.data) | {"every": 11})).panel


def cut(family: str, panel: Panel, seed: int) -> Iterator[Piece]:
    """Pieces of a record and of its thinned rows; the newest sixth of them says when the training ends."""
    draw = np.random.default_rng(seed)
    thinned = [1, *(k for k in THINNED if panel.step_s == DAY_S)]
    for every in thinned:
        values = panel.values[::every]
        for first in range(0, values.shape[0], PIECE):
            rows = values[first : first + PIECE]
            if rows.shape[0] < PIECE // 3:
                continue
            newest = first + PIECE > values.shape[0] * 5 / 6 and values.shape[0] > PIECE
            known = np.flatnonzero(np.isfinite(rows).sum(axis=0) >= PIECE // 5)
            for group in np.array_split(known, max(1, -(-known.size // TOGETHER))):
                if not group.size:
                    continue
                turned = rows[:, group] * draw.choice([-1.0, 1.0], group.size)
                names = tuple(f"{i}" for i in range(group.size))
                one = Panel(0.0, panel.step_s * every, names, turned)
                yield Piece(family, one, noise_floor(turned), not newest)


def fit_base(panel: Panel) -> LevelDrift:
    """The simple forecast of a piece, chosen on its newest rows, as a short record chooses its own."""
    rows = panel.values.shape[0]
    return fit_level_drift(panel, Block(rows - round(rows * SHARE_OF_CALIBRATION), rows), STEPS)


def find_spread(members: Sequence[Member], families: Sequence[str]) -> tuple[float, ...]:
    """Median |error of the simple forecast| in units of the window's scale for each step: families count alike."""
    found: dict[str, list[Floats]] = defaultdict(list)
    for family, member in zip(families, members, strict=True):
        values, recipe = member.values, member.recipe
        rows = np.arange(LEAST_SEEN - 1, values.shape[0], 3)
        lag = scale_lag(recipe.step_s, recipe.window)
        scale = windows(values, rows, np.asarray(recipe.noise_mm), window=recipe.window, lag=lag).scale_mm
        observed = np.stack([Block(0, values.shape[0]).targets(values, rows, h) for h in STEPS], axis=2)
        found[family].append(
            (np.abs(observed - recipe.level_drift.predict(values, rows)) / scale[..., None]).reshape(-1, len(STEPS))
        )
    each = [np.log(np.nanmedian(np.concatenate(of), axis=0)) for of in found.values()]
    return tuple(float(v) for v in np.exp(np.mean(each, axis=0)))


def make_recipe(
    stations: Sequence[str],
    step_s: float,
    seed: int,
    noise: Sequence[float],
    spread: Sequence[float],
    level_drift: LevelDrift,
) -> Recipe:
    horizons_s = tuple(step_s * h for h in STEPS)
    size = (SETTINGS.window, SETTINGS.hidden, SETTINGS.dropout, seed)
    return Recipe(MODEL, tuple(stations), step_s, STEPS, horizons_s, *size, tuple(noise), tuple(spread), level_drift)


def make_members(pieces: Sequence[Piece], seed: int) -> list[Member]:
    """What the learner reads; a family with much takes fewer issue times of each piece."""
    have: dict[str, int] = defaultdict(int)
    for piece in pieces:
        have[piece.family] += piece.panel.values.size
    out = []
    for piece in pieces:
        rows = piece.panel.values.shape[0]
        whole, none = Block(0, rows), Block(rows, rows)
        parts = Split(whole, none, none, none) if piece.learns else Split(none, whole, none, none)
        noise, panel = tuple(map(float, piece.floors)), piece.panel
        recipe = make_recipe(panel.stations, panel.step_s, seed, noise, (1.0,) * len(STEPS), fit_base(panel))
        stride = max(1, round(have[piece.family] / WINDOWS_OF_A_FAMILY))
        out.append(Member(recipe, piece.panel.values, parts, stride, least=LEAST_SEEN))
    spread = find_spread(out, [piece.family for piece in pieces])
    return [replace(m, recipe=replace(m.recipe, spread=spread)) for m in out]


class ManyJudges(Learner):
    """Some pieces are learnt from, others say when to end."""

    def __init__(self, network: Any, members: Sequence[Member], settings: Settings) -> None:
        super().__init__(network, [m for m in members if m.parts.fit.origins.size], settings)
        self.judges = tuple(m for m in members if m.parts.early_stop.origins.size)


def train(seed: int) -> tuple[NeuralForecaster, dict[str, Any]]:
    """Base, spread and weights, and what the card says of it."""
    begun = time.process_time()
    records = list(read_allowed())
    pieces = [
        piece
        for family, panel in records
        for turn in range(REPEATED.get(family, 1))
        for piece in cut(family, panel, seed + turn)
    ]
    members = make_members(pieces, seed)
    settings = replace(SETTINGS, seed=seed)
    level_drift = LevelDrift("level-drift", STEPS, (DEFAULT,) * len(STEPS))
    typical = make_recipe(("any",), DAY_S, seed, (1.0,), members[0].recipe.spread, level_drift)
    with deterministic(seed):
        network = build_network(typical)
        losses, stopped = ManyJudges(network, members, settings).run(time.monotonic(), _tell)
    counted: Mapping[str, int] = {
        family: sum(int(np.isfinite(p.panel.values).sum()) for p in pieces if p.family == family)
        // REPEATED.get(family, 1)
        for family in sorted({p.family for p in pieces})
    }
    card = {
        "losses": [round(v, 5) for v in losses],
        "stopped": stopped,
        "values_of_each": counted,
        "cpu_s": round(time.process_time() - begun, 1),
    }
    return NeuralForecaster(typical, network), card


def _tell(epoch: int, epochs: int, loss: float) -> None:
    print(f"pass {epoch} of {epochs}: {loss:.5f}  {time.process_time():.0f} s", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--out", type=Path, default=PLACE)
    given = options.parse_args()
    torch.set_num_threads(1)
    forecaster, facts = train(given.seed)
    content = to_bytes(forecaster, "see the card")
    card = {
        "model_hash": model_hash(content),
        "model": MODEL,
        "kind": "forecaster",
        "config": forecaster.recipe.to_json(),
        "parameters": sum(p.numel() for p in forecaster.network.parameters()),
        "data": LICENCES,
        "not_shown": LEFT_OUT,
        "training": {"seed": given.seed, "command": "make train-pretrained"} | facts,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{MODEL}.safetensors").write_bytes(content)
    (given.out / f"{MODEL}.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    size = f"{card['parameters']} weights, {len(content)} bytes"
    print(f"{given.out / MODEL}: {size}, {facts['cpu_s']} s of processor time")


if __name__ == "__main__":
    main()
