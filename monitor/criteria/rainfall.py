"""Rain of a gauge against the bounds of a criterion: the word that every criterion on rain says.

A sum carries its coverage: thin data make it a lower bound, enough to raise and never to lower. Where the site file
names series of expected rain, each issue is joined to what was measured until it was issued.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monitor.criteria.rain_gauge import Gauge, read_gauge, read_outlooks
from monitor.domain.keys import VoteKey
from monitor.domain.site import Criterion
from monitor.series.assessment import Assessment, Windows

Fact = dict[str, Any]


def judge_rain(
    criterion: Criterion, windows: Windows, station: str, measure: Callable[[Criterion, Gauge], Sequence[Fact]]
) -> Assessment:  # fmt: skip
    """One gauge against the bounds of a criterion, with and without the rain that is expected.

    Args:
        criterion: of a kind on rain.
        windows: what was known.
        station: the gauge.
        measure: facts, each with `level`, `duration_s`, `sum_mm`, `bound_mm`, `ratio` and `coverage`.
    """
    spec = windows.site.series(station, criterion.quantity)
    if spec is None or spec.unit == "index":
        return Assessment(criterion.id, station, reason="an index has no unit: no bound may use it")
    gauge = read_gauge(windows.view, spec, station, criterion.quantity, windows.now_s)
    if gauge is None or gauge.times_s[-1] <= windows.answered_s(VoteKey(criterion.id, station)):
        return Assessment(criterion.id, station, newest_s=gauge.times_s[-1] if gauge else None)
    outlooks, complete = read_outlooks(criterion, windows.view, gauge, windows.now_s)
    needed = dict(criterion.params).get("min_coverage", 0.8)
    facts = list(measure(criterion, gauge))
    for outlook in outlooks:
        # a window shorter than the reach would need to know when within it the rain falls
        facts += [
            {**f, "expected_mm": outlook.amounts_mm[-1], "reach_s": outlook.block_s, "issued_s": outlook.issued_s}
            for f in measure(criterion, outlook) if f["duration_s"] >= outlook.block_s
        ]  # fmt: skip
    raise_level = max((f["level"] for f in facts if f["ratio"] > 1.0), default=0)
    # thin coverage makes the sum a lower bound: enough to raise, never to lower
    hold_level = max(
        (f["level"] for f in facts if f["ratio"] >= criterion.recover or f["coverage"] < needed), default=0
    )
    worst = max(facts, key=lambda f: float(f["ratio"]))
    newest_s = gauge.times_s[-1]
    return Assessment(
        criterion.id, station, raise_level, max(hold_level, raise_level), heard=True,
        # what was expected and is not told any more is missing, not dry
        fresh=complete and windows.is_fresh(newest_s, spec), newest_s=newest_s,
        reason=_sentence(worst),
        facts={"worst": worst, "min_coverage": needed, "durations": len(facts), "levels": _by_level(facts)},
    )  # fmt: skip


def _sentence(worst: Mapping[str, Any]) -> str:
    expected = "" if "expected_mm" not in worst else f" of which {worst['expected_mm']:.1f} mm are expected"
    total = f"{worst.get('what', 'rain')} {worst['sum_mm']:.1f} mm in {worst['duration_s'] / 3600:.4g} h"
    what = f"{total}{expected} is "
    if worst["bound_mm"] <= 0.0:  # no event runs, or one shorter than any bound
        return f"{total} is no rainfall that the bounds are for, {say_known('', worst['coverage'])}"
    rare = ""
    if "bound_years" in worst and not expected:
        this = "" if worst["years"] is None else f" (this one: once in {worst['years']:.3g} years)"
        rare = f", a sum of once in {worst['bound_years']:g} years{this}"
    return (
        f"{what}{100.0 * worst['ratio']:.0f} % of the bound of {worst['bound_mm']:.1f} mm{rare}, "
        f"{say_known('', worst['coverage'])}"
    )


def say_known(what: str, coverage: float) -> str:
    """How much of the time behind a sum is known; `what` stands before it.

    >>> say_known("rain ", 0.968)
    'rain known for 97 % of that time'
    """
    return f"{what}known for {100.0 * coverage:.0f} % of that time"


def _by_level(facts: Sequence[Fact]) -> list[Fact]:
    """The fact that comes nearest to its bound at each level: what a page shows beside the curve."""
    nearest: dict[int, Fact] = {}
    for fact in facts:
        if fact["level"] not in nearest or fact["ratio"] > nearest[fact["level"]]["ratio"]:
            nearest[fact["level"]] = fact
    return [nearest[k] for k in sorted(nearest)]
