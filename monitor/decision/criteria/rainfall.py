"""Compare the rain of a gauge with the bounds of a criterion: shared by all kinds of criteria on rain.

Every sum has a coverage. A sum of incomplete data is a lower bound: it can raise a level, but not lower one. If the
site file declares series of expected rain, each issue is joined to the rain that was measured until it was issued.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

from monitor.decision.criteria.rain_coverage import RainLosses, could_hold, fill_gaps, find_rain_losses
from monitor.decision.criteria.rain_gauge import Gauge, gauge_of, read_outlooks
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import Assessment, DecisionContext, Rule
from monitor.decision.series.coverage import Coverage, format_share
from monitor.sites.records import Criterion, Threshold
from monitor.text.message import Figure, Message, Template

Fact = dict[str, Any]
Measure = Callable[[Criterion, Gauge], Sequence[Fact]]
RAIN: Final = Template("rain.sum", "rain {depth} mm in {hours} h")
_INDEX: Final = Template("criterion.rain.index", "an index has no unit: no bound may use it")()
_NO_RAINFALL: Final = Template(
    "criterion.rain.none", "{amount} is no rain event that a bound applies to, known for {known} % of that time"
)
_OF_BOUND: Final = Template(
    "criterion.rain", "{amount} is {share} % of the bound of {bound} mm, known for {known} % of that time"
)
_EXPECTED: Final = Template(
    "criterion.rain.expected",
    "{amount}, of which {expected} mm are forecast, is {share} % of the bound of {bound} mm, known for {known} % of "
    "that time",
)
_OF_YEARS: Final = Template(
    "criterion.rain.years",
    "{amount} is {share} % of the bound of {bound} mm, a sum of once in {years} years, known for {known} % of that "
    "time",
)
_OF_YEARS_NOW: Final = Template(
    "criterion.rain.years_now",
    "{amount} is {share} % of the bound of {bound} mm, a sum of once in {years} years (this one: once in {years2} "
    "years), known for {known} % of that time",
)


def each_gauge(measure: Measure, amount: Template = RAIN) -> Rule:
    """Return a rule that assesses each gauge of a criterion, with and without the expected rain.

    Args:
        measure: Returns facts of `make_fact`.
        amount: Text for a sum, with the values `depth` and `hours`.
    """
    return lambda criterion, context: tuple(
        assess_rain(criterion, context, station, measure, amount) for station in criterion.stations
    )


def make_fact(
    threshold: Threshold, duration_s: float, sum_mm: float, coverage: float, bound_mm: float, **further: Any
) -> Fact:
    """Return the fact about a sum of rain and the bound of one level; `coverage` is the measured share of the time."""
    (fact,) = make_facts(threshold, [(duration_s, sum_mm, coverage, bound_mm)])
    return fact | further


def make_facts(threshold: Threshold, measured: Iterable[tuple[float, float, float, float]]) -> list[Fact]:
    """Return one fact for each (duration in seconds, sum in mm, coverage, bound in mm)."""
    level = threshold.level
    return [
        {
            "level": level,
            "duration_s": duration_s,
            "sum_mm": sum_mm,
            "coverage": coverage,
            "bound_mm": bound_mm,
            "ratio": sum_mm / bound_mm if bound_mm > 0 else 0.0,
        }
        for duration_s, sum_mm, coverage, bound_mm in measured
    ]


def measure_sums(criterion: Criterion, gauge: Gauge) -> list[Fact]:
    """Return one fact for each level: the sum of its window."""
    facts = []
    for threshold in criterion.thresholds:
        window_s = threshold.effective_window_s
        total_mm, coverage = gauge.total(window_s)
        facts.append(make_fact(threshold, window_s, total_mm, coverage, threshold.over or 0.0))
    return facts


def assess_rain(
    criterion: Criterion, context: DecisionContext, station: str, measure: Measure, amount: Template
) -> Assessment:
    """Compare the sums of one gauge with the bounds of a criterion."""
    spec = context.site.series(station, criterion.quantity)
    if spec is None or spec.unit == "index":
        return Assessment(criterion.id, station, reason=_INDEX)
    gauge = gauge_of(context, station, criterion.quantity, spec)
    if gauge is None or gauge.times_s[-1] <= context.answered_s(VoteKey(criterion.id, station)):
        return Assessment(criterion.id, station, newest_s=gauge.times_s[-1] if gauge else None)
    outlooks, complete = read_outlooks(criterion, context.inputs, gauge, context.now_s)
    needed = dict(criterion.params).get("min_coverage", 0.8)
    losses = find_rain_losses(context, spec, gauge)
    facts = [losses.lower(fact) for fact in measure(criterion, gauge)]
    coverage = measure_rain(losses, facts)
    wettest_mm_per_s = max(gauge.amounts_mm) / gauge.interval_s
    for outlook in outlooks:
        # For a window shorter than the reach of the issue it is not known how much of the rain falls within it.
        facts += [
            {**f, "expected_mm": outlook.amounts_mm[-1], "reach_s": outlook.block_s, "issued_s": outlook.issued_s}
            for f in measure(criterion, outlook)
            if f["duration_s"] >= outlook.block_s
        ]
    raise_level = max((f["level"] for f in facts if f["ratio"] > 1.0), default=0)
    # A sum of incomplete data is a lower bound: it can raise a level, but not lower one.
    recover = criterion.recover
    filled = fill_gaps(gauge)
    possible = [] if filled is None else measure(criterion, filled)
    known_hold = max([raise_level, *(f["level"] for f in facts if f["ratio"] >= recover)])
    hold_level = max(
        [
            known_hold,
            *(f["level"] for f in facts if f["coverage"] < needed or could_hold(f, gauge, recover, wettest_mm_per_s)),
            *(f["level"] for f in possible if f["ratio"] >= recover),
        ]
    )
    if hold_level > known_hold:
        coverage = replace(coverage, holds=True)
    worst = max(facts, key=itemgetter("ratio"))
    newest_s = gauge.times_s[-1]
    nearest: dict[int, Fact] = {}
    for fact in facts:
        known = nearest.get(fact["level"])
        if known is None or fact["ratio"] > known["ratio"]:
            nearest[fact["level"]] = fact
    return Assessment(
        criterion.id,
        station,
        raise_level,
        hold_level,
        has_data=True,
        # Without a valid issue the expected rain is unknown, not zero.
        fresh=complete and context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        coverage=coverage,
        reason=_explain(worst, amount),
        facts={
            "worst": worst,
            "min_coverage": needed,
            "durations": len(facts),
            "levels": [nearest[k] for k in sorted(nearest)],
        },
    )


def measure_rain(losses: RainLosses, facts: Sequence[Fact]) -> Coverage:
    """Return the coverage of the window with the least coverage; the longest of several equal ones."""
    thinnest = min(facts, key=lambda fact: (fact["coverage"], -fact["duration_s"]))
    longest = max(facts, key=itemgetter("duration_s"))
    thin, long = (losses.measure(f["duration_s"], f["coverage"]) for f in (thinnest, longest))
    return thin if thin.share < 1.0 else long


def _explain(worst: Mapping[str, Any], amount: Template) -> Message:
    known = format_share(worst["coverage"])
    rain = amount(depth=Figure(worst["sum_mm"], ".1f"), hours=Figure(worst["duration_s"] / 3600, ".4g"))
    if worst["bound_mm"] <= 0.0:
        # There is no rain event, or it is shorter than every duration with a bound.
        return _NO_RAINFALL(amount=rain, known=known)
    bound, share = Figure(worst["bound_mm"], ".1f"), Figure(100.0 * worst["ratio"], ".0f")
    if "expected_mm" in worst:
        expected = Figure(worst["expected_mm"], ".1f")
        return _EXPECTED(amount=rain, expected=expected, share=share, bound=bound, known=known)
    if "bound_years" not in worst:
        return _OF_BOUND(amount=rain, share=share, bound=bound, known=known)
    return_years = Figure(worst["bound_years"])
    if worst["years"] is None:
        return _OF_YEARS(amount=rain, share=share, bound=bound, years=return_years, known=known)
    years = Figure(worst["years"], ".3g")
    return _OF_YEARS_NOW(amount=rain, share=share, bound=bound, years=return_years, years2=years, known=known)
