"""Networks as members of `auto`: each with a share by what its scored forecasts erred beside the simple average."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Panel
from forecasting.reasons import Reason, join_reasons, split_reason
from forecasting.registry import is_network
from forecasting.serving.path import hold_rows, lay_paths
from forecasting.serving.records import QUANTILE_NAMES, Forecast, Limits, ScoredError
from forecasting.simple.auto import MANY_STATIONS, name_shares
from forecasting.simple.regret import Rule, compute_weights
from forecasting.simple.trend import follow, group_components

SPANS: Final = 4  # of a horizon: on records where networks are worse than the average, half of these let luck cost 3 %


def join_networks(
    panel: Panel, rows: Sequence[Forecast], scored: Sequence[ScoredError], limits: Mapping[str, Limits]
) -> list[Forecast]:
    """The rows of an issue, those of `auto` with the networks that have earned a share in it.

    The fan moves to the average of the medians; its width stays that of the errors of `auto`, which go on to be scored.
    At a station where no network has a share rows are left as they are, to the last bit. Of several checkpoints of a
    network the first row counts; one that lies outside what its calibration saw has no share.
    """
    if not scored or len(panel.stations) > MANY_STATIONS:
        return list(rows)
    own: dict[tuple[str, float, str], float] = {}
    for row in rows:
        if is_network(row.model) and not row.outside:
            own.setdefault((row.station, row.horizon_s, row.model), row.q50)
    horizons_s = sorted({h for _, h, _ in own})
    shares = compute_network_weights(panel, scored, horizons_s, own.keys()) if own else {}
    moved = {
        id(row): _move(row, mine, {name: own[row.station, row.horizon_s, name] for name in mine})
        for row in rows
        if row.model == "auto" and (mine := shares.get((row.station, row.horizon_s)))
    }
    changed = {row.station for row in moved.values()}
    again = [row for row in rows if row.model == "auto" and row.station in changed]
    laid = hold_rows(panel, lay_paths(panel, [moved.get(id(row), row) for row in again]), limits)
    # what moved or held the simple average is said of it already
    laid = [replace(one, reason=join_reasons(dict.fromkeys(split_reason(one.reason)))) for one in laid]
    done = {id(row): one for row, one in zip(again, laid, strict=True)}
    return [done.get(id(row), row) for row in rows]


def _move(row: Forecast, shares: Mapping[str, float], medians: Mapping[str, float]) -> Forecast:
    by = sum(share * (medians[name] - row.q50) for name, share in shares.items())
    names = name_shares(shares)
    with_networks = [Reason("forecast.with_networks", {"weights": names})] if names else []
    reason = join_reasons([*split_reason(row.reason), *with_networks])
    quantiles = {q: getattr(row, q) + by for q in QUANTILE_NAMES}
    return replace(row, **quantiles, weight=sum(shares.values()), reason=reason)


def compute_network_weights(
    panel: Panel,
    scored: Sequence[ScoredError],
    horizons_s: Sequence[float],
    answers: Collection[tuple[str, float, str]],
) -> dict[tuple[str, float], dict[str, float]]:
    """The share of each network that answers now, by station and horizon; those without one are left out.

    The simple average is the standard, networks are weighed beside it as its own members are, but more slowly: they are
    much alike, so all together begin with the weight of one, and `SPANS` of the horizon must have been scored. An issue
    is known one horizon late, and stands for the rows until the next one, at most for one horizon: errors that overlap
    are no further evidence.

    Args:
        scored: Errors known by then; one of an issue whose target lies after it counts for nothing.
        answers: Station, horizon and network of each forecast that can have a share.
    """
    networks = sorted({name for _, _, name in answers})
    column = {name: i for i, name in enumerate(panel.stations)}
    rows, groups = panel.values.shape[0], group_components(panel.stations)
    steps, rule = [panel.steps(h) for h in horizons_s], Rule(prior=Rule().prior * len(networks), blocks=SPANS)
    surprise = follow(panel.values, steps, groups).surprise
    out: dict[tuple[str, float], dict[str, float]] = {}
    for horizon_s, ahead in zip(horizons_s, steps, strict=True):
        errors = np.full((1 + len(networks), rows, len(panel.stations)), np.nan)
        for one in scored:
            row = round((one.issued_s - panel.start_s) / panel.step_s)
            if one.horizon_s == horizon_s and 0 <= row < rows and one.station in column and one.model in networks:
                at = row, column[one.station]
                errors[0, *at], errors[1 + networks.index(one.model), *at] = abs(one.simple_error), abs(one.error)
        errors = _repeat_until_next(errors, ahead)
        made = np.zeros(errors.shape)
        for k, name in enumerate(networks, 1):
            for station, s in column.items():
                made[k, -1, s] = 0.0 if (station, horizon_s, name) in answers else np.nan
        least = np.zeros(errors.shape[0], dtype=np.int64)
        weights = compute_weights(made, errors, ahead, rule, least, surprise, groups=groups)[0][1:, -1]
        for station, s in column.items():
            if mine := {name: float(w) for name, w in zip(networks, weights[:, s], strict=True) if w > 0.0}:
                out[station, horizon_s] = mine
    return out


def _repeat_until_next(errors: Floats, steps: int) -> Floats:
    """Errors (E, N, S) with those of each issue in the rows until the next one, `steps` rows at most."""
    rows = np.arange(errors.shape[1])[:, None]
    newest = np.maximum.accumulate(np.where(np.isfinite(errors).any(axis=0), rows, -errors.shape[1]), axis=0)
    held = np.take_along_axis(errors, np.maximum(newest, 0)[None], axis=1)
    return np.where(rows - newest < steps, held, np.nan)
