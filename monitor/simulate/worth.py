"""What forecasters and detectors were worth in a demonstration: counted in its database, and told in its last lines."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.instants import format_duration, format_iso
from monitor.store.models.totals import load_hindcast_errors, load_newest_issues, summarize_anomalies

NETWORKS: Final = ("gru", "lstm", "graph-gru")
LINE: Final = "drift"
"""A straight line through the newest readings."""
AUTO: Final = "auto"
BASELINES: Final = (LINE, AUTO)
STANDARDS: Final = ("persistence", LINE, "lld")  # to be better than, never shown while there is something else
SKILLS: Final = ("skill_straight_line", "skill_auto")
NAMES: Final = {LINE: "straight line"}
Errors = dict[tuple[float, int, Any], float]  # by horizon, series and moment of issue


def assess_forecasters(c: Connection) -> dict[str, dict[str, Any]]:
    """Of each model's newest issue: how many forecasts were given, how many are shown, and why the others are not.

    Beside it `own`, what it says of the series that moves most (mm from the newest reading on), and `past`, what it
    erred where the past was forecast afterwards, on the same targets as a straight line and `auto`.
    """
    rows = load_newest_issues(c)
    found: dict[str, dict[str, Any]] = {}
    fastest = max(
        (r for r in rows if r.model == AUTO and r.unit == "mm"), key=lambda r: abs(r.q50 - r.data_value), default=None
    )
    for r in rows:
        one = found.setdefault(r.model, {"forecasts": 0, "shown": 0, "not_shown_because": None})
        one["forecasts"] += 1
        one["shown"] += int(r.shown)
        if not r.shown and one["not_shown_because"] is None:
            one["not_shown_because"] = r.reason
        if fastest is not None and r.series_id == fastest.series_id:
            ends = {"mm": r.q50 - r.data_value, "low": r.q10 - r.data_value, "high": r.q90 - r.data_value}
            own = one.setdefault("own", {"series": f"{r.station}.{r.quantity}", "horizons": {}})
            own["horizons"][format_duration(round(r.horizon_s))] = {k: round(v, 3) for k, v in ends.items()}
    for model, past in _score_past(c).items():
        if model in found:
            found[model]["past"] = past
    return found


def _score_past(c: Connection) -> dict[str, dict[str, Any]]:
    """Mean absolute errors of the past by model, mm, in all and by horizon; skills against what stands beside it."""
    errors: dict[str, Errors] = defaultdict(dict)
    for r in load_hindcast_errors(c):
        errors[r.model][r.horizon_s, r.series_id, r.issued_at] = abs(r.error)
    others = [errors[name] for name in BASELINES if name in errors]
    return {model: _compare_past(mine, others) for model, mine in errors.items() if len(others) == len(BASELINES)}


def _compare_past(mine: Errors, others: Sequence[Errors]) -> dict[str, Any]:
    """Errors on the targets that all have; a skill is the mean over horizons, so that the longest does not rule."""
    same, by = set(mine).intersection(*others), {}
    for horizon_s in sorted({key[0] for key in same}):
        keys = [key for key in same if key[0] == horizon_s]
        own, line, auto = (fmean(one[key] for key in keys) for one in (mine, *others))
        by[format_duration(round(horizon_s))] = {
            "n": len(keys),
            "mae_mm": own,
            "mae_straight_line_mm": line,
            "mae_auto_mm": auto,
            "skill_straight_line": 1 - own / line if line else None,
            "skill_auto": 1 - own / auto if auto else None,
        }
    skills = {name: [v for one in by.values() if (v := one[name]) is not None] for name in SKILLS}
    return {"n": len(same), **{k: fmean(v) if v else None for k, v in skills.items()}, "horizons": by}


def assess_detectors(c: Connection) -> dict[str, dict[str, Any]]:
    """Of each detector: its scores, what lay over its threshold, where and since when, and what it may spend."""
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
    forecasters: Mapping[str, Mapping[str, Any]],
    detectors: Mapping[str, Mapping[str, Any]],
    print_line: Callable[[str], None],
) -> None:
    """Say what the models forecast, what they erred, whether they are shown, and what the detectors found."""
    models = [name for name in (*BASELINES, *NETWORKS) if name in forecasters]
    for line in (
        *_describe_own({name: forecasters[name] for name in models if "own" in forecasters[name]}),
        *_describe_past(
            {name: forecasters[name]["past"] for name in models if forecasters[name].get("past", {}).get("n")}
        ),
        *(_describe_shown(name, one) for name, one in forecasters.items() if name not in STANDARDS),
        *(_describe_detector(name, one) for name, one in detectors.items()),
    ):
        print_line(line)


def _describe_own(forecasters: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What each model says of the series that moves most."""
    for k, (name, one) in enumerate(forecasters.items()):
        if not k:
            yield f"forecasts of {one['own']['series']}, mm from the newest reading on (80 % between):"
        spans = one["own"]["horizons"]
        parts = [f"{h} {span['mm']:.1f} ({span['low']:.1f} to {span['high']:.1f})" for h, span in spans.items()]
        yield f"  {NAMES.get(name, name):13} {', '.join(parts)}"


def _describe_past(scored: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What each model erred on the past."""
    if scored:
        yield (
            "errors on the past, mean absolute in mm, on the same targets; better (+) or worse (-) than the two above:"
        )
    for name, past in scored.items():
        parts = [f"{h} {one['mae_mm']:.2f}" for h, one in past["horizons"].items()]
        skills = zip(BASELINES, (past[key] for key in SKILLS), strict=True)
        worth = [f"{NAMES.get(k, k)} {v:+.0%}" for k, v in skills if k != name and v is not None]
        yield f"  {NAMES.get(name, name):13} {', '.join(parts)}; beside {', '.join(worth)}"


def _describe_shown(name: str, one: Mapping[str, Any]) -> str:
    because = "" if one["shown"] else f", because: {one['not_shown_because'].removeprefix('not shown: ')}"
    return f"  {name}: {one['shown']} of {one['forecasts']} forecasts shown{because}"


def _describe_detector(name: str, one: Mapping[str, Any]) -> str:
    since = f" from {one['first_over_at'][11:16]} UTC on" if one["first_over_at"] else ""
    return (
        f"  {name}: {one['scores']} anomaly scores, {one['over_threshold']} over the threshold at "
        f"{one['series_over']} of {one['series']} series{since}; it may raise "
        f"{one['budget_per_sensor_month']:g} false alarms a month and sensor"
    )
