"""Skill of the forecasters and results of the detectors of a demonstration, and the lines that report them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Final, Literal, NotRequired, TypedDict, get_args

from sqlalchemy import Connection

from monitor.api.text import format_duration, format_iso
from monitor.features.demo.queries import load_hindcast_errors, load_newest_issues, summarize_anomalies

NETWORKS: Final = ("gru", "lstm", "graph-gru")
LINE: Final = "line"
"""A straight line through the newest readings."""
COMBINED: Final = "combined"
BASELINES: Final = (LINE, COMBINED)
STANDARDS: Final = ("persistence", LINE)  # simple forecasts, which are never shown
Skill = Literal["skill_straight_line", "skill_combined"]
SKILLS: Final[tuple[Skill, ...]] = get_args(Skill)
NAMES: Final = {LINE: "straight line"}
Errors = dict[tuple[float, tuple[str, str, str], Any], float]  # by horizon, series and moment of issue


class OwnForecasts(TypedDict):
    """Forecast of a model for the series that moves most, by horizon: mm, and the bounds `low` and `high` of 80 %."""

    series: str
    horizons: dict[str, dict[str, float]]


class HorizonErrors(TypedDict):
    """Mean absolute errors at one horizon, and skills against the straight line and the combined forecast."""

    n: int
    mae_mm: float
    mae_straight_line_mm: float
    mae_combined_mm: float
    skill_straight_line: float | None
    skill_combined: float | None


class PastErrors(TypedDict):
    """Errors of hindcasts. A skill is the mean over horizons."""

    n: int
    skill_straight_line: float | None
    skill_combined: float | None
    horizons: dict[str, HorizonErrors]


class ForecasterWorth(TypedDict):
    """Forecasts of a model, and its errors."""

    forecasts: int
    shown: int
    not_shown_because: str | None
    own: NotRequired[OwnForecasts]
    past: NotRequired[PastErrors]


class DetectorWorth(TypedDict):
    """Results of a detector, and its budget of false alarms."""

    scores: int
    over_threshold: int
    series: int
    series_over: int
    first_over_at: str | None
    budget_per_sensor_month: float


def assess_forecasters(c: Connection) -> dict[str, ForecasterWorth]:
    """Return how many forecasts the newest issue of each model has, how many are shown, and why the others are not."""
    rows = load_newest_issues(c)
    found: dict[str, ForecasterWorth] = {}
    fastest = max(
        (row for row in rows if row.model == COMBINED and row.unit == "mm"),
        key=lambda row: abs(row.q50 - row.data_value),
        default=None,
    )
    for r in rows:
        one = found.setdefault(r.model, {"forecasts": 0, "shown": 0, "not_shown_because": None})
        one["forecasts"] += 1
        one["shown"] += int(r.shown)
        if not r.shown and one["not_shown_because"] is None:
            one["not_shown_because"] = r.reason
        if fastest is not None and _name_series(r) == _name_series(fastest):
            mm, low, high = (round(q - r.data_value, 3) for q in (r.q50, r.q10, r.q90))
            own = one.setdefault("own", {"series": f"{r.station}.{r.quantity}", "horizons": {}})
            own["horizons"][format_duration(round(r.horizon_s))] = {"mm": mm, "low": low, "high": high}
    for model, past in _score_past(c).items():
        if model in found:
            found[model]["past"] = past
    return found


def _name_series(row: Any) -> tuple[str, str, str]:
    return row.site, row.station, row.quantity


def _score_past(c: Connection) -> dict[str, PastErrors]:
    """Return the errors of hindcasts by model, in mm."""
    errors: dict[str, Errors] = defaultdict(dict)
    for r in load_hindcast_errors(c):
        errors[r.model][r.horizon_s, _name_series(r), r.issued_at] = abs(r.error)
    others = [errors[name] for name in BASELINES if name in errors]
    return {model: _compare_past(mine, others) for model, mine in errors.items() if len(others) == len(BASELINES)}


def _compare_past(mine: Errors, others: Sequence[Errors]) -> PastErrors:
    """Compare errors on the targets that all models have.

    A skill is the mean over horizons, so that the longest horizon does not dominate.
    """
    same, by = set(mine).intersection(*others), dict[str, HorizonErrors]()
    for horizon_s in sorted({key[0] for key in same}):
        keys = [key for key in same if key[0] == horizon_s]
        own, line, combined = (fmean(one[key] for key in keys) for one in (mine, *others))
        by[format_duration(round(horizon_s))] = {
            "n": len(keys),
            "mae_mm": own,
            "mae_straight_line_mm": line,
            "mae_combined_mm": combined,
            "skill_straight_line": 1 - own / line if line else None,
            "skill_combined": 1 - own / combined if combined else None,
        }
    line_skill, combined_skill = (_average(one[name] for one in by.values()) for name in SKILLS)
    return {"n": len(same), "skill_straight_line": line_skill, "skill_combined": combined_skill, "horizons": by}


def _average(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def assess_detectors(c: Connection) -> dict[str, DetectorWorth]:
    """Return scores, results above the threshold, and the budget of each detector."""
    return {
        str(name): {
            "scores": int(scores),
            "over_threshold": int(over or 0),
            "series": int(series),
            "series_over": int(where),
            "first_over_at": None if first is None else format_iso(first),
            "budget_per_sensor_month": float(budget),
        }
        for name, scores, over, series, where, first, budget in summarize_anomalies(c)
    }


def print_worth(
    forecasters: Mapping[str, ForecasterWorth],
    detectors: Mapping[str, DetectorWorth],
    print_line: Callable[[str], None],
) -> None:
    """Print forecasts and errors of the models, whether they are shown, and the results of the detectors."""
    models = {name: forecasters[name] for name in (*BASELINES, *NETWORKS) if name in forecasters}
    for line in (
        *_describe_own({name: one["own"] for name, one in models.items() if "own" in one}),
        *_describe_past({name: one["past"] for name, one in models.items() if "past" in one and one["past"]["n"]}),
    ):
        print_line(line)
    for name, given in forecasters.items():
        if name not in STANDARDS:
            reason = str(given["not_shown_because"]).removeprefix("not shown: ")
            because = "" if given["shown"] else f": {reason}"
            print_line(f"  {name}: {given['shown']} of {given['forecasts']} forecasts shown{because}")
    for name, one in detectors.items():
        since = f" from {one['first_over_at'][11:16]} UTC on" if one["first_over_at"] else ""
        print_line(
            f"  {name}: {one['scores']} anomaly scores, {one['over_threshold']} above the threshold at "
            f"{one['series_over']} of {one['series']} series{since}; it may raise "
            f"{one['budget_per_sensor_month']:g} false alarms a month and sensor"
        )


def _describe_own(forecasts: Mapping[str, OwnForecasts]) -> Iterator[str]:
    for k, (name, own) in enumerate(forecasts.items()):
        if not k:
            yield f"forecasts of {own['series']}, mm from the newest reading on (80 % between):"
        spans = own["horizons"]
        parts = [f"{h} {span['mm']:.1f} ({span['low']:.1f} to {span['high']:.1f})" for h, span in spans.items()]
        yield f"  {NAMES.get(name, name):13} {', '.join(parts)}"


def _describe_past(scored: Mapping[str, PastErrors]) -> Iterator[str]:
    if scored:
        yield (
            "errors on the past, mean absolute in mm, on the same targets; better (+) or worse (-) than the two above:"
        )
    for name, past in scored.items():
        parts = [f"{h} {one['mae_mm']:.2f}" for h, one in past["horizons"].items()]
        skills = zip(BASELINES, (past[key] for key in SKILLS), strict=True)
        worth = [f"{NAMES.get(k, k)} {v:+.0%}" for k, v in skills if k != name and v is not None]
        yield f"  {NAMES.get(name, name):13} {', '.join(parts)}; beside {', '.join(worth)}"
