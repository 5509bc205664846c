"""What the page of forecasts says first: what is forecast, what that was worth, and when what lacks will be there."""

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple, TypedDict

from monitor.store.schema.view_rows import IssuedForecastRow, WhyNotShownRow

LINE: Final = "drift"  # a straight line through the newest readings


class ForecastWorth(NamedTuple):
    """Mean absolute errors of the targets that came, beside those of a straight line."""

    n: int
    since: str  # month
    error: float
    line_error: float


class ForecastSummary(TypedDict):
    """A forecast that is shown: how far the series goes on from its newest reading."""

    station: str
    quantity: str
    unit: str
    horizon_s: float
    target_at: str
    model: str
    moved: float
    low: float
    high: float
    worth: ForecastWorth | None


class LackingForecasts(TypedDict):
    """Series and models that lack the same."""

    models: Sequence[str]
    series: Sequence[str]
    horizon_s: float | None
    lacking: str
    reason: str
    earliest_at: str | None


def list_shown(
    rows: Iterable[IssuedForecastRow], skill: Iterable[Any], controls: Collection[str]
) -> list[ForecastSummary]:
    """The forecasts that are shown, by series and horizon, control stations last.

    Args:
        rows: of the view `latest_forecast` that are shown.
        skill: of the view `forecast_skill`.
        controls: stations on stable ground.
    """
    scored: dict[tuple[str, ...], list[Any]] = {}
    for row in skill:
        scored.setdefault((row["station"], row["quantity"], str(row["horizon_s"]), row["model"]), []).append(row)
    shown = [row for row in rows if row["q10"] is not None and row["q90"] is not None]
    found: list[ForecastSummary] = [
        {
            "station": row["station"],
            "quantity": row["quantity"],
            "unit": row["unit"],
            "horizon_s": row["horizon_s"],
            "target_at": row["target_at"],
            "model": row["model"],
            "moved": (row["q50"] or 0.0) - row["data_value"],
            "low": (row["q10"] or 0.0) - row["data_value"],
            "high": (row["q90"] or 0.0) - row["data_value"],
            "worth": _compare(
                *(scored.get((row["station"], row["quantity"], str(row["horizon_s"]), k)) for k in (row["model"], LINE))
            ),
        }
        for row in shown
    ]
    return sorted(found, key=lambda r: (r["station"] in controls, r["station"], r["quantity"], r["horizon_s"]))


def _compare(mine: Sequence[Any] | None, line: Sequence[Any] | None) -> ForecastWorth | None:
    if not mine or not line:
        return None
    return ForecastWorth(sum(r["n"] for r in mine), min(r["month"] for r in mine), _average(mine), _average(line))


def _average(rows: Sequence[Any]) -> float:
    return float(sum(r["n"] * r["mae"] for r in rows) / sum(r["n"] for r in rows))


def gather_lacks(rows: Iterable[WhyNotShownRow]) -> list[LackingForecasts]:
    """Rows of the view `why_not_shown`, those together that lack the same until the same day."""

    def key(row: WhyNotShownRow) -> tuple[str, str, float]:
        return ((row["earliest_at"] or "")[:10], row["lacking"] or row["reason"], row["horizon_s"] or 0.0)

    return [
        {
            "models": list(dict.fromkeys(row["model"] for row in group)),
            "series": list(dict.fromkeys(row["station"] for row in group)),
            "horizon_s": group[0]["horizon_s"],
            "lacking": group[0]["lacking"],
            "reason": group[0]["reason"],
            "earliest_at": group[0]["earliest_at"],
        }
        for group in (list(members) for _, members in groupby(sorted(rows, key=key), key))
    ]
