"""The forecasts of one series, beside its curve on the page."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection

from monitor.api.database import load_view
from monitor.api.hooks import CurveAddition
from monitor.api.queries.readings import SeriesRow
from monitor.api.text import parse_time, translate_all
from monitor.api.web import encode_instants, shorten
from monitor.features.forecasts.queries.shown import load_past_forecasts, load_withheld
from monitor.features.forecasts.views import IssuedForecastRow

_Quantile = Literal["q025", "q10", "q50", "q90", "q975"]
_QUANTILES: Final[tuple[_Quantile, ...]] = get_args(_Quantile)


def describe_forecasts(
    connection: Connection, series: Sequence[SeriesRow], from_at: datetime, to_at: datetime
) -> CurveAddition:
    """Return the forecast of a stored series, why it is withheld, and earlier forecasts.

    A curve that is computed from several series has no forecast.
    """
    if len(series) != 1:
        nothing: dict[str, Any] = {"forecast": None, "withheld": None}
        return CurveAddition({**nothing, "past": {"horizon_s": None, "at": [], "q50": []}})
    (row,) = series
    which: dict[str, Any] = {"site": row.site, "station": row.station, "quantity": row.quantity}
    issues = load_view(connection, "latest_forecast", IssuedForecastRow, order_by=["model", "horizon_s"], **which)
    newest = max((issue["issued_at"] for issue in issues), default=None)
    # A forecast of an earlier issue is not shown if the newest issue shows none.
    shown = [issue for issue in issues if issue["shown"] and issue["issued_at"] == newest]
    horizon_s = min((issue["horizon_s"] for issue in shown), default=None)
    past = [] if horizon_s is None else load_past_forecasts(connection, row.id, horizon_s, from_at, to_at)
    texts = {
        "forecast": _describe_issue(shown),
        "withheld": load_withheld(connection, row.id),
    }
    values = {
        **translate_all(texts),
        "past": {
            "horizon_s": horizon_s,
            "at": encode_instants(forecast["target_at"] for forecast in past),
            "q50": [shorten(forecast["q50"]) for forecast in past],
        },
    }
    return CurveAddition(values, max((parse_time(issue["target_at"]) for issue in shown), default=None))


def _describe_issue(shown: Sequence[IssuedForecastRow]) -> Mapping[str, Any] | None:
    """Return the shown forecast with its quantiles by target; None if nothing is shown."""
    if not shown:
        return None
    first = shown[0]
    rows = sorted(shown, key=lambda row: row["target_at"])
    return {
        "model": ", ".join(sorted({row["model"] for row in rows})),
        "issued_at": parse_time(first["issued_at"]).timestamp(),
        "data_until": parse_time(first["data_until"]).timestamp(),
        "data_value": first["data_value"],
        "reason": first["reason"],
        "baseline": first["baseline"],
        "model_hash": first["model_hash"],
        "is_unusual": any((row["novelty"] or 0.0) > 1.0 for row in rows),
        "targets": {
            "at": [parse_time(row["target_at"]).timestamp() for row in rows],
            **{quantile: [row[quantile] for row in rows] for quantile in _QUANTILES},
        },
    }
