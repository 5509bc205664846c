"""The sentences for the reason codes of `forecasting`."""

from collections.abc import Iterable
from typing import Any, Final

from forecasting.data.kinds import format_span
from monitor.text.formats import ReasonText, duration, figure, figure_or_term, index_by_code, joined, reason_text
from monitor.text.message import Figure, Message, NameList, Template, Term, Value


def _velocity(value: Any) -> Value:
    """Show a velocity in mm/day; with its window or error it is a message already."""
    return value if isinstance(value, Message) else Figure(value, ".3g", "mm/day")


_MOVEMENT: Final = (
    reason_text(Template("movement.too_few", "too few readings so far for a velocity")),
    reason_text(Template("movement.stale", "stale: no fresh data to judge by")),
    reason_text(Template("movement.no_news", "no new datum since the last look")),
    reason_text(Template("movement.failing", "a trusted failure window stands")),
    reason_text(Template("movement.in_window", "{velocity} in {window}"), velocity=_velocity, window=duration("span")),
    reason_text(
        Template(
            "movement.accelerates",
            "accelerates in {count} windows, and its velocity {velocity} exceeds {errors} standard errors",
        ),
        velocity=_velocity,
    ),
    reason_text(
        Template("movement.exceeds", "velocity {velocity} > {bound}, which the site file warns of"),
        velocity=_velocity,
        bound=_velocity,
    ),
    reason_text(
        Template("movement.still", "velocity {velocity} cannot be distinguished from zero"), velocity=_velocity
    ),
    reason_text(
        Template("movement.with_error", "{velocity} ± {error}"),
        velocity=figure(".3g"),
        error=figure(".2g", "mm/day"),
    ),
    reason_text(
        Template("movement.over_lowest", "velocity {velocity} > {bound}, the lowest velocity the site file warns of"),
        velocity=_velocity,
        bound=_velocity,
    ),
    reason_text(Template("movement.moves", "moves at {velocity}"), velocity=_velocity),
    reason_text(Template("movement.no_reference", "no velocity of uniform creep is reviewed to compare that with")),
    reason_text(Template("movement.v_eq", "uniform creep of {velocity}"), velocity=_velocity),
    reason_text(
        Template("movement.usual", "its usual velocity of {velocity} (no uniform creep is reviewed)"),
        velocity=_velocity,
    ),
    reason_text(Template("movement.creep", "velocity {velocity} <= {reference}"), velocity=_velocity),
    reason_text(
        Template("movement.steady", "velocity {velocity} > {times} times {reference}, steady"), velocity=_velocity
    ),
    reason_text(
        Template("movement.not_steady", "velocity {velocity} > {times} times {reference}, not steady for 14 days yet"),
        velocity=_velocity,
    ),
    reason_text(
        Template("movement.between", "velocity {velocity} between {reference} and {times} times it"),
        velocity=_velocity,
    ),
    reason_text(Template("movement.looks", "{n} of the {needed} assessments that are needed find {stage}"), stage=Term),
    reason_text(Template("movement.days", "found {stage} for {days} days so far"), stage=Term, days=figure(".1f")),
    reason_text(Template("movement.stays", "stays {stage}"), stage=Term),
)

_FAILURE: Final = (
    reason_text(Template("failure.short_past", "the past is too short to compare with")),
    reason_text(
        Template("failure.usual", "velocity {velocity} mm/day <= {times} times the median {median} mm/day of the past"),
        velocity=figure(".3g"),
        median=figure(".3g"),
    ),
    reason_text(
        Template(
            "failure.not_rare",
            "velocity {velocity} mm/day is not over the {percent} % quantile {quantile} mm/day of the past",
        ),
        velocity=figure(".3g"),
        quantile=figure(".3g"),
    ),
    reason_text(Template("failure.passed", "the predicted time has passed")),
    reason_text(Template("failure.edge_passed", "its late edge has passed")),
    reason_text(Template("failure.gone", "no window any more")),
    reason_text(Template("failure.unseen", "no window at this assessment")),
    reason_text(Template("failure.stands", "the window contains the present and remains valid, although {text}")),
    reason_text(Template("failure.turned", "the fit turned: 1/v no longer falls")),
    reason_text(
        Template("failure.curved", "1/v does not fall in a straight line: exponent {exponent} fits better than 2")
    ),
    reason_text(
        Template("failure.open", "the readings do not determine the exponent: failure would be {leads}"),
        leads=joined(", "),
    ),
    reason_text(Template("failure.lead", "{days} days ahead with exponent {exponent}"), days=figure(".2g")),
    reason_text(
        Template(
            "failure.too_young",
            "no window was seen a day ago: what speeds up within a day may be the day's own cycle",
        )
    ),
    reason_text(Template("failure.in_a_row", "{n} of {needed} assessments in a row")),
    reason_text(
        Template("failure.unsure", "velocity {velocity} mm/day <= {errors} standard errors of {error} mm/day"),
        velocity=figure(".3g"),
        error=figure(".2g"),
    ),
    reason_text(
        Template("failure.slowed", "velocity {velocity} mm/day < {share} of the recent maximum {top} mm/day"),
        velocity=figure(".3g"),
        top=figure(".3g"),
    ),
    reason_text(Template("failure.too_short", "too short since the onset for a fit")),
    reason_text(Template("failure.few_agree", "{n} of {count} filters agree")),
    reason_text(Template("failure.scattered", "the estimates scatter more than the lead time")),
    reason_text(
        Template(
            "failure.disturbed",
            "velocities scatter about the law beyond their noise: edges {times} times sooner and later",
        ),
        times=figure(".2g"),
    ),
)

_REPLACED_SENSOR: Final = (
    reason_text(
        Template("replaced.before", "{n} usable readings before: the level before the work is not known"),
        n=figure("d"),
    ),
    reason_text(
        Template("replaced.after", "{n} usable readings after: wait until the new sensor has sent {least} at least"),
        n=figure("d"),
        least=figure("d"),
    ),
    reason_text(Template("replaced.turned", "it goes the other way at the same pace: was its sign turned?")),
    reason_text(
        Template("replaced.factor", "its {what} is {factor} times the one of before: another unit?"),
        factor=figure(".4g"),
    ),
    reason_text(Template("replaced.pace", "pace")),
    reason_text(Template("replaced.level", "level")),
    reason_text(
        Template("replaced.no_pace", "too few readings say how fast the ground moves: what it did meanwhile is in it")
    ),
)

_SEASON: Final = (
    reason_text(Template("season.no_readings", "no readings")),
    reason_text(Template("season.years.day", "needs two full years: {n} of {needed} days")),
    reason_text(Template("season.years.month", "needs two full years: {n} of {needed} months")),
    reason_text(Template("season.known.day", "needs 80 % of its days: {percent} % are known")),
    reason_text(Template("season.known.month", "needs 80 % of its months: {percent} % are known")),
    reason_text(Template("season.gap.day", "a gap of {n} days: no season is given across more than {most}")),
    reason_text(Template("season.gap.month", "a gap of {n} months: no season is given across more than {most}")),
)

_DATA: Final = (
    reason_text(
        Template(
            "workbook.no_result",
            "formulas without a result in {cells}: whatever wrote the file did not calculate them; open it in a "
            "spreadsheet program and save it",
        )
    ),
)


def _shares(value: Iterable[tuple[str, int]]) -> Value:
    """Show names with their shares in percent."""
    return NameList(tuple(f"{name} {share} %" for name, share in value))


def _times(value: float) -> Value:
    """Show a factor: from 10 on without a decimal."""
    return Figure(value, ".0f" if value >= 10.0 else ".1f")


def _motion_or_driver(value: str) -> Value:
    """Show the name of what is outside experience: a kind of change is a term, a driver has its own name."""
    return Term(value) if value in {"velocity", "acceleration", "rate", "change of the rate"} else value


_FORECASTS: Final = (
    reason_text(
        Template("forecast.combined", "weighted mean of experts, weights by past errors: {weights}"),
        weights=_shares,
    ),
    reason_text(
        Template("forecast.network", "output of the network {model}, which has {share} of the combined forecast"),
        share=figure(".0%"),
    ),
    reason_text(Template("forecast.simple", "simple forecast {model}, for comparison")),
    reason_text(Template("forecast.held_above", "held above {bound}, a physical bound"), bound=figure_or_term(".6g")),
    reason_text(Template("forecast.held_below", "held below {bound}, a physical bound"), bound=figure_or_term(".6g")),
    reason_text(
        Template(
            "forecast.wider", "interval wider than usual: the series changes faster than in nine of ten rows before"
        )
    ),
    reason_text(
        Template("forecast.few_errors", "an interval at {horizon} needs {needed} past errors, and there are fewer"),
        horizon=format_span,
    ),
    reason_text(Template("forecast.not_trained_for", "{model} was not trained for {horizon}"), horizon=format_span),
    reason_text(Template("forecast.not_trained_at", "{model} was trained without this station")),
    reason_text(
        Template(
            "forecast.too_far", "{model} learns from {rows} intervals of {step} at most: too few for {horizon} ahead"
        ),
        step=format_span,
        horizon=format_span,
    ),
    reason_text(Template("forecast.unseen", "there is no reading")),
    reason_text(Template("forecast.stale", "the newest reading is older than {n} intervals")),
    reason_text(Template("forecast.few_rows", "record too short: {n} of {needed} rows of {step}"), step=format_span),
    reason_text(
        Template("forecast.gaps", "gaps: {n} of the last {rows} rows of {step} observed, not {needed}"),
        step=format_span,
    ),
    reason_text(Template("forecast.finer", "the horizon is shorter than the sampling interval")),
    reason_text(Template("forecast.made_after", "made afterwards from earlier readings only, to be scored")),
    reason_text(
        Template("forecast.window_passed", "the failure window has passed, so that the motion cannot be forecast")
    ),
    reason_text(
        Template(
            "forecast.window_ends",
            "the failure window ends before {horizon} ahead, so that the motion cannot be forecast",
        ),
        horizon=format_span,
    ),
    reason_text(Template("forecast.boundless", "a reading is too large to compute with")),
    reason_text(Template("forecast.outside.failing", "outside experience: the motion accelerates towards failure")),
    reason_text(
        Template("forecast.outside.larger", "outside experience: {what} is {times} times the largest of the past"),
        what=_motion_or_driver,
        times=_times,
    ),
    reason_text(
        Template("forecast.outside.unseen", "outside experience: {what} {value} did not occur before"),
        what=_motion_or_driver,
        value=figure_or_term(".2g"),
    ),
    reason_text(Template("training.anew", "with random weights: {text}")),
)

_LACKING: Final = (
    reason_text(
        Template("forecast.lack.record", "{n} intervals of {step} in its record; {needed} are needed"),
        step=format_span,
    ),
    reason_text(Template("forecast.lack.training", "the next training of the network")),
    reason_text(
        Template("forecast.lack.errors", "{n} past errors at {horizon}; {needed} are needed"), horizon=format_span
    ),
    reason_text(Template("forecast.lack.days", "{n} of the last {rows} days; {needed} are needed")),
    reason_text(
        Template("forecast.lack.rows", "{n} of the last {rows} intervals of {step}; {needed} are needed"),
        step=format_span,
    ),
    reason_text(Template("forecast.lack.reading", "a new reading")),
)

TEXTS: Final[dict[str, ReasonText]] = index_by_code(
    *_MOVEMENT,
    *_FAILURE,
    *_REPLACED_SENSOR,
    *_SEASON,
    *_DATA,
    *_FORECASTS,
    *_LACKING,
)
