"""Rolling-origin comparison of models on one record: expanding training, an embargo, tests that never overlap."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from forecasting.data.features import noise_floor
from forecasting.data.series import Floats, Panel
from forecasting.data.splits import Split, rolling_folds
from forecasting.data.windows import last_value
from forecasting.errors import NotEnoughDataError
from forecasting.evaluation.distribution import find_stages
from forecasting.evaluation.scoring import Answer, Trial, format_horizon, rows_of, scale_of
from forecasting.reasons import Reason
from forecasting.registry import PRETRAINED, is_network, load
from forecasting.serving.issue import OWN
from forecasting.serving.jobs import drop_horizons
from forecasting.serving.quantiles import conform, simple_fans, widen
from forecasting.simple.auto import Auto, fit_auto
from forecasting.simple.averaging import WARM_UP_ROWS
from forecasting.simple.baselines import Baseline, fit_baseline
from forecasting.simple.least_squares import ROUNDS, count_unsettled

ALWAYS = ("persistence", "drift", "lld", "auto")
Progress = Callable[[str], None]


def run_trials(
    panel: Panel,
    models: Sequence[str],
    horizons_s: Sequence[float],
    *,
    folds: int = 3,
    seed: int = 7,
    last: int | None = None,
    training: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> Iterator[Trial]:
    """What every model answers, fold by fold and horizon by horizon; arguments as in `backtest`.

    Args:
        last: Score this many last rows in place of a share (divided among the folds).
    """
    wanted = list(dict.fromkeys([*ALWAYS, *models]))
    for name in wanted:
        load(name)  # a name that is unknown, or needs a package that is not there, ends it before the work
    # as in the service: networks read the drivers that are named, and no others
    settings = {"covariates": (), **(training or {}), "seed": seed}
    for fold, parts in enumerate(rolling_folds(panel.values.shape[0], folds, last=last)):
        report = on_progress or (lambda _: None)
        yield from _run_fold(panel, parts, fold, wanted, tuple(horizons_s), training=settings, on_progress=report)


def _run_fold(
    panel: Panel,
    parts: Split,
    fold: int,
    models: Sequence[str],
    horizons_s: tuple[float, ...],
    *,
    training: Mapping[str, Any],
    on_progress: Progress,
) -> Iterator[Trial]:
    # no model sees a row after the test, and none is fitted on a row inside it
    known = panel.head(parts.test.end)
    steps = tuple(known.steps(h) for h in horizons_s)
    begun = time.perf_counter()
    auto = fit_auto(known, parts.calibration, steps)
    cost = time.perf_counter() - begun
    answers: list[list[Answer]] = [[] for _ in horizons_s]
    simple = _fans(known, parts, auto, horizons_s)
    for name in models:
        on_progress(f"fold {fold + 1}: {name}")
        if is_network(name):
            dropped = drop_horizons(known, parts, horizons_s, least=1, short=name in PRETRAINED)
            for horizon_s, reason in dropped.items():
                on_progress(f"fold {fold + 1}: {name}: {format_horizon(horizon_s)} dropped: {reason}")
            kept = tuple(h for h in horizons_s if h not in dropped)
            try:
                learnt = _network_answers(name, known, parts, kept, training=training) if kept else []
            except NotEnoughDataError as error:  # the simple forecasts answer all the same
                on_progress(f"fold {fold + 1}: {name} left out: {error}")
                continue
            for horizon_s, answer in zip(kept, learnt, strict=True):
                answers[horizons_s.index(horizon_s)].append(answer)
        else:
            plain = _simple_answers(
                name,
                known,
                parts,
                auto,
                horizons_s,
                cost=cost,
                simple=simple,
                on_progress=lambda text: on_progress(f"fold {fold + 1}: {name}: {text}"),  # noqa: B023 - called within
            )
            for i, answer in enumerate(plain):
                answers[i].append(answer)
    values = known.values
    level, _ = last_value(values, parts.test.origins)
    before = values[: parts.test.first]
    stages = find_stages(values, parts.test.origins, noise_floor(before), known.step_s)
    for i, horizon_s in enumerate(horizons_s):
        yield Trial(
            fold=fold,
            horizon_s=horizon_s,
            steps=steps[i],
            stations=known.stations,
            target_s=rows_of(parts.test.origins, steps[i], known.start_s, known.step_s),
            level=level,
            observed=parts.test.targets(values, parts.test.origins, steps[i]),
            best=simple[i][..., 2],
            chosen=auto.chosen[i],
            scale_mm=scale_of(before),
            noise_mm=noise_floor(before),
            answers=tuple(answers[i]),
            stages=stages,
        )


def _simple_answers(
    name: str,
    panel: Panel,
    parts: Split,
    auto: Auto,
    horizons_s: tuple[float, ...],
    *,
    cost: float,
    simple: Sequence[Floats],
    on_progress: Progress,
) -> list[Answer]:
    fitted: Baseline = auto
    if name == "auto":
        reasons: list[Reason | str] = [auto.explain(i) for i in range(len(auto.steps))]
        fans, seconds = simple, cost
    else:
        reasons = ["simple forecast"] * len(horizons_s)
        begun = time.perf_counter()
        steps = tuple(panel.steps(h) for h in horizons_s)
        fitted = fit_baseline(name, panel, parts.calibration, steps)
        seconds = time.perf_counter() - begun
        fans = _fans(panel, parts, fitted, horizons_s)
    if count := count_unsettled(fitted):
        one, was = ("fit", "was") if count == 1 else ("fits", "were")
        on_progress(f"{count} {one} (of a station by a model) {was} ended after {ROUNDS} rounds, before its best")
    return [
        Answer(name, quantiles[..., 2], quantiles, reason, seconds)
        for quantiles, reason in zip(fans, reasons, strict=True)
    ]


def _fans(panel: Panel, parts: Split, fitted: Baseline, horizons_s: tuple[float, ...]) -> list[Floats]:
    """Fans of a simple forecast on the test origins, adapted from 150 rows before calibration on."""
    begin = max(0, parts.calibration.first - WARM_UP_ROWS)
    origins = np.arange(begin, parts.test.end, dtype=np.int64)
    fans = simple_fans(fitted, panel.values, origins)
    first = parts.test.first - begin
    out = []
    for quantiles, horizon_s in zip(fans, horizons_s, strict=True):
        conformed = conform(quantiles, panel.values, origins, panel.steps(horizon_s))
        out.append(widen(quantiles, conformed.margins)[first:])
    return out


def _network_answers(
    name: str, panel: Panel, parts: Split, horizons_s: tuple[float, ...], *, training: Mapping[str, Any]
) -> list[Answer]:
    """Train a network and forecast the test origins, with intervals adapted from the early-stop block on."""
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    begun = time.monotonic()
    trained, _ = learn(name, panel, parts, horizons_s, Settings(**training))
    seconds = time.monotonic() - begun
    first = parts.early_stop.first
    origins = np.arange(first, parts.test.end, dtype=np.int64)
    fans = trained.forecaster.quantiles(panel.values, origins, drivers=panel.drivers)
    out = []
    for i, horizon_s in enumerate(horizons_s):
        conformed = conform(fans[:, :, i], panel.values, origins, panel.steps(horizon_s))
        quantiles = widen(fans[:, :, i], conformed.margins)[parts.test.first - first :]
        out.append(Answer(name, quantiles[..., 2], quantiles, OWN, seconds))
    return out
