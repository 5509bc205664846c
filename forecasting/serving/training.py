"""Train one network and write its checkpoint."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np

from forecasting.data.kinds import format_span
from forecasting.data.series import Panel, horizon_key
from forecasting.data.splits import MINIMUM_TARGETS, Split, split, taught_blocks
from forecasting.errors import ForecastingError, NotEnoughDataError, UnknownModelError
from forecasting.reasons import Reason, reason_to_json
from forecasting.registry import (
    PRETRAINED,
    SHORTEST_RECORD,
    count_needed,
    describe_unknown_model,
    is_network,
    is_short,
)
from forecasting.serving.issue import sort_horizons
from forecasting.serving.readiness import WINDOW_ROWS
from forecasting.serving.records import Trained, TrainingRequest
from forecasting.training_settings import check_setting

Progress = Callable[[int, int, float], None]


def train(
    panel: Panel, request: TrainingRequest, progress: Progress | None = None, replay: Sequence[Panel] = ()
) -> Trained:
    """Train one network and write its checkpoint with a card.

    The newest fifth of the record, the calibration block, is not learned from: the past errors that give the network
    its first weight in the combined forecast are measured there.

    Args:
        progress: Called after each epoch with (epoch, epochs, validation loss).
        replay: Records of other sites to keep learning from when the training continues from a checkpoint. A record
            that is too short is left out.

    Returns:
        Hash and path of the checkpoint, and its card. `dropped_horizons` in the card has the reason for each horizon
        that the record is too short for.

    Raises:
        UnknownModelError: `request.model` is no network.
        NotEnoughDataError: The record is too short.
        ForecastingError: A setting is unknown or out of bounds.
    """
    from forecasting.explanation.record import explain
    from forecasting.neural.checkpoint import model_hash, to_bytes, write
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    model = request.model
    if not is_network(model):
        raise UnknownModelError(describe_unknown_model(model))
    parts = split(panel.values.shape[0])
    horizons_s, dropped = _choose_horizons(model, panel, parts, sort_horizons(request.horizons_s))
    settings = Settings(
        seed=request.seed,
        epochs=request.epochs,
        time_limit_s=request.time_limit_s,
        stride=request.stride,
        window=WINDOW_ROWS,
    )
    changed = {name: check_setting(name, value) for name, value in request.settings.items()}
    settings = replace(settings, **changed)  # type: ignore[arg-type]  # whole numbers are ints
    replayed = [
        prepared
        for other in replay
        if (prepared := _prepare_replay(model, other, panel, parts, horizons_s)) is not None
    ]
    training, started_from = learn(
        model,
        panel,
        parts,
        horizons_s,
        settings,
        start=request.start,
        own_start=request.own_start,
        replay=replayed,
        progress=progress,
    )
    recipe = training.forecaster.recipe
    unknown = {*horizons_s} - {*recipe.horizons_s}
    dropped |= dict.fromkeys(sorted(unknown), "the network to begin with was not trained for it")
    digest = hash_data(panel)
    content = to_bytes(training.forecaster, digest)
    card = {
        "model_hash": model_hash(content),
        "model": model,
        "kind": "forecaster",
        "code_version": version("slopeward"),
        "torch_version": version("torch"),
        "created_at": request.created_at,
        "config": recipe.to_json(),
        "parameters": sum(p.numel() for p in training.forecaster.network.parameters()),
        "data": {"hash": digest, "rows": panel.values.shape[0], "start_s": panel.start_s, "end_s": panel.end_s},
        "bounds": {
            name: [panel.start_s + panel.step_s * block.first, panel.start_s + panel.step_s * (block.end - 1)]
            for name, block in (
                ("fit", parts.fit),
                ("early_stop", parts.early_stop),
                ("calibration", parts.calibration),
            )
        },
        "dropped_horizons": {horizon_key(h): reason for h, reason in dropped.items()},
        "training": {
            "epochs": training.epochs,
            "losses": list(training.losses),
            "seconds": round(training.seconds, 3),
            "stopped": training.stopped,
            "begun_from": reason_to_json(started_from) if isinstance(started_from, Reason) else started_from,
            **({"settings": changed} if changed else {}),
            "replayed": 0 if isinstance(started_from, Reason) or not started_from else len(replayed),
        },
        "explanation": explain(training.forecaster, panel, parts),
    }
    path = write(request.folder, content, card)
    return Trained(str(card["model_hash"]), model, str(path), card)


def hash_data(panel: Panel) -> str:
    """Return the SHA-256 of grid, stations, values and drivers: the data that a network was trained on."""
    digest = hashlib.sha256(repr((panel.start_s, panel.step_s, panel.stations, panel.values.shape)).encode())
    digest.update(np.ascontiguousarray(panel.values).tobytes())
    if panel.xy_m is not None:
        digest.update(np.ascontiguousarray(panel.xy_m).tobytes())
    if panel.drivers is not None:
        digest.update(repr((panel.drivers.names, panel.drivers.kinds)).encode())
        digest.update(panel.drivers.content)
    return digest.hexdigest()


def _choose_horizons(
    model: str, panel: Panel, parts: Split, horizons_s: tuple[float, ...]
) -> tuple[tuple[float, ...], dict[float, str]]:
    """Return the horizons that a record can teach, and why the others cannot be learned."""
    observed = int(np.isfinite(panel.values).sum(axis=0).max())
    needed = count_needed(model)
    if observed < needed:
        alternative = ""
        if observed >= SHORTEST_RECORD:
            alternative = f"; {', '.join(PRETRAINED)} needs {_describe_rows(SHORTEST_RECORD, panel)}"
        raise NotEnoughDataError(
            f"{model} cannot be trained: no station has readings in more than {_describe_rows(observed, panel)}, "
            f"{needed} rows are needed ({format_span(needed * panel.step_s)} without gaps){alternative}"
        )
    dropped = drop_horizons(panel, parts, horizons_s, short=is_short(model))
    remaining_s = tuple(h for h in horizons_s if h not in dropped)
    if not remaining_s:
        raise NotEnoughDataError(f"no horizon can be learnt: {next(iter(dropped.values()))}")
    return remaining_s, dropped


def _describe_rows(count: int, panel: Panel) -> str:
    """Return a number of rows of the grid with their interval, such as `101 rows of 6 h`."""
    return f"{count} rows of {format_span(panel.step_s)}"


def _prepare_replay(
    model: str, other: Panel, panel: Panel, own: Split, horizons_s: tuple[float, ...]
) -> tuple[Panel, Split] | None:
    """Return a record of another site with its blocks; None if it cannot teach these horizons.

    The record ends where the fit block of this site ends. Both sites can share their weather, so that later rows would
    make the unseen rows of this site easier.
    """
    # shipped weights count horizons in rows, whatever the interval
    taught_s = tuple(other.step_s * panel.steps(h) for h in horizons_s) if model in PRETRAINED else horizons_s
    until_s = panel.start_s + panel.step_s * own.fit.end
    try:
        shortened = other.head(min(other.values.shape[0], max(0, math.ceil((until_s - other.start_s) / other.step_s))))
        parts = split(shortened.values.shape[0])
        _, dropped = _choose_horizons(model, shortened, parts, taught_s)
    except ForecastingError:
        return None
    return None if dropped else (shortened, parts)


def drop_horizons(
    panel: Panel, parts: Split, horizons_s: Sequence[float], least: int = MINIMUM_TARGETS, *, short: bool = False
) -> dict[float, str]:
    """Return the horizons with fewer than `least` targets in a block of the training, each with the reason."""
    dropped = {}
    for horizon_s in horizons_s:
        if round(horizon_s / panel.step_s) < 1:
            dropped[horizon_s] = "the horizon is shorter than the sampling interval"
            continue
        steps = panel.steps(horizon_s)
        for block in taught_blocks(parts, short=short):
            pairs = np.isfinite(block.targets(panel.values, block.origins, steps)).any(axis=1).sum()
            if pairs < least:
                span = format_span((block.end - block.first) * panel.step_s)
                targets = f"{pairs} targets {format_span(horizon_s)} ahead"
                dropped[horizon_s] = f"a part of the record of {span} contains {targets}, {least} are needed"
    return dropped
