"""`slopeward forecast failure-time`: the failure window of a curve at every reading, and scores of such windows."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from monitor.api.cli import Commands, options, print_if_json, print_json
from monitor.api.sites import MovementPlan
from monitor.api.text import convert_reason, format_iso, from_epoch_s, parse_duration_s

if TYPE_CHECKING:
    from forecasting.kinematics.failure import FailureIssue
    from forecasting.kinematics.standing_window import FailureWindow
    from forecasting.reasons import Reason
    from monitor.features.forecasts.cli.curve_file import DisplacementCurve

# Without `--interval`, the sampling interval is the median of the first steps between readings. Later readings must not
# change earlier results.
FIRST_STEPS = 100


class FileOrVerb(TyperGroup):
    """A group of commands whose first argument may be a file. It is then read by `watch`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert `watch` before the name of a file."""
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["watch", *args]
        return super().parse_args(ctx, args)


app = Commands(
    cls=FileOrVerb,
    help="Failure windows by inverse velocity: `slopeward forecast failure-time FILE`, or `bench`.",
    epilog="Example: slopeward forecast failure-time curve.csv --json",
    no_args_is_help=True,
)


@dataclass(frozen=True, slots=True)
class _Result:
    """What is known once a reading of the curve is known."""

    issue: "FailureIssue"
    window: "FailureWindow | None"  # the window that stands
    withdrawn: "Reason | None"  # why the window that stood before does not stand any more


@dataclass(frozen=True, slots=True)
class _Watched:
    """The results of a curve whose values rise or fall along the movement."""

    is_falling: bool
    results: Sequence[_Result]

    @property
    def window_count(self) -> int:
        return sum(result.window is not None for result in self.results)

    @property
    def trusted_count(self) -> int:
        return sum(result.window is not None and result.window.trusted for result in self.results)


@app.command(
    epilog="Example: slopeward forecast failure-time watch curve.csv --column displacement --json", takes_config=False
)
def watch(
    file: Annotated[Path, typer.Argument(help="CSV with a time and a value column, or long CSV.")],
    column: Annotated[
        str, typer.Option(help="What the values are: displacement or velocity (mm/day).")
    ] = "displacement",
    station: Annotated[str | None, typer.Option(help="Station of a long CSV.")] = None,
    value: Annotated[str | None, typer.Option(help="Value column, or quantity of a long CSV.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="Nominal sampling interval; by default the usual one at the start.")
    ] = None,
    sigma: Annotated[
        float, typer.Option(min=0.0, max=1e6, help="Stated noise of one reading in mm, a lower bound.")
    ] = 0.0,
    backwards: Annotated[
        bool | None,
        typer.Option(
            "--backwards/--forwards",
            help="Whether the values fall or rise along the movement; by default both are tried.",
        ),
    ] = None,
) -> None:
    """Print the failure window of a curve as of every reading, whether it is trusted, and why.

    Readings after that time are not used.

    Windows are those that the service issues for the same readings. Without `--backwards` or `--forwards` both
    directions are tried, and the one with more trusted windows is printed.
    """
    from monitor.features.forecasts.cli.curve_file import COLUMNS, read_curve

    if column not in COLUMNS:
        raise typer.BadParameter(f"{column!r} is neither displacement nor velocity", param_hint="--column")
    curve = read_curve(file, column, station=station, value=value)
    for note in curve.notes:
        print(f"{file}: {note}", file=sys.stderr)
    interval_s = _read_interval_s(interval, curve.times_s)
    directions = (False, True) if backwards is None else (backwards,)
    tried = [_watch_curve(curve, interval_s, sigma, is_falling=is_falling) for is_falling in directions]
    chosen = max(tried, key=lambda one: (one.trusted_count, one.window_count, not one.is_falling))
    if len(tried) > 1 and chosen.window_count:
        other = next(one for one in tried if one is not chosen)
        print(f"{file}: {_describe_direction(chosen, other)}", file=sys.stderr)
    for result in chosen.results:
        if options().as_json:
            print_json({**_convert_to_json(result), "backwards": chosen.is_falling})
        elif result.window is not None or result.withdrawn is not None:
            print(_format_line(result))
    if not options().as_json and not chosen.window_count:
        directions_text = ", whether the values rise or fall along the movement" if backwards is None else ""
        print(f"no window at any instant{directions_text}", file=sys.stderr)


@app.command(
    epilog="Example: slopeward forecast failure-time bench --seeds 30 --noise 0.5,2 --json", takes_config=False
)
def bench(
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Number of simulated collapses.")] = 30,
    noise: Annotated[str, typer.Option(help="White noise in mm, separated by commas.")] = "0.5,2",
    alpha: Annotated[str, typer.Option(help="Exponent of Voight's law, or LOWEST-HIGHEST.")] = "2",
    interval: Annotated[str, typer.Option(help="Sampling interval of the simulated curves.")] = "1d",
    rain: Annotated[bool, typer.Option("--rain", help="Add acceleration by rain.")] = False,
    gaps: Annotated[bool, typer.Option("--gaps", help="Leave out readings.")] = False,
) -> None:
    """Score failure windows on simulated collapses: error, width, and whether they contain the collapse."""
    from monitor.features.forecasts.cli import failure_bench

    low, _, high = alpha.partition("-")
    first = _read_number(low, "--alpha")
    last = _read_number(high, "--alpha") if high else first
    if not 1.01 <= first <= last:
        raise typer.BadParameter(f"{alpha!r}: at least 1.01, low before high", param_hint="--alpha")
    rows = failure_bench.score_voight(
        range(seeds),
        [_read_number(text, "--noise") for text in noise.split(",")],
        alpha=(first, last),
        rain=rain,
        gaps=gaps,
        interval_s=_read_interval_s(interval, []),
    )
    for row in rows:
        if not print_if_json(row):
            print("  ".join(f"{key}={text}" for key, text in row.items() if not isinstance(text, dict)))
            for lead, scores in row["leads"].items():
                print(f"  {lead:12} " + "  ".join(f"{key}={text}" for key, text in scores.items()))


def _watch_curve(curve: "DisplacementCurve", interval_s: float, sigma: float, *, is_falling: bool) -> _Watched:
    """Return the windows of a curve, as the movement job of a site with the default settings issues them."""
    from forecasting.kinematics.failure import FailureSpec, watch_failure
    from forecasting.kinematics.standing_window import update_standing

    values = [-value for value in curve.values] if is_falling else curve.values
    spec = FailureSpec(interval_s, sigma, MovementPlan().history_s)
    standing: FailureWindow | None = None
    results = []
    for issue in watch_failure(curve.times_s, values, [0.0] * len(values), spec):
        update = update_standing(standing, issue)
        withdrawn = update.withdrawn if standing is not None and update.issued is None else None
        results.append(_Result(issue, update.issued, withdrawn))
        standing = update.standing
    return _Watched(is_falling, results)


# ---- output ------------------------------------------------------------------------------------------------------
def _describe_direction(chosen: _Watched, other: _Watched) -> str:
    """Return which direction was chosen, and how many windows the other one has."""
    verb, option = ("fall", "--forwards") if chosen.is_falling else ("rise", "--backwards")
    text = f"read as values that {verb} along the movement"
    if other.window_count:
        text += f"; the other way gives {other.window_count} windows, {other.trusted_count} of them trusted: {option}"
    return text


def _convert_to_json(result: _Result) -> dict[str, Any]:
    issue, window = result.issue, result.window
    return {
        "time": _format_instant(issue.data_until_s),
        "onset": _format_instant(issue.onset_s),
        "window_from": None if window is None else _format_instant(window.from_s),
        "window_mid": None if window is None else _format_instant(window.mid_s),
        "window_to": None if window is None else _format_instant(window.to_s),
        "trusted": window is not None and window.trusted,
        "reasons": [convert_reason(reason) for reason in _list_reasons(result)],
        "withdrawn": None if result.withdrawn is None else convert_reason(result.withdrawn),
        "velocity_mm_per_day": issue.velocity,
        "velocity_error_mm_per_day": issue.velocity_error,
        "r2": issue.r2,
        "n_filters": issue.n_filters,
        "n_agree": issue.n_agree,
    }


def _format_line(result: _Result) -> str:
    at, window = _format_instant(result.issue.data_until_s), result.window
    if window is None:
        return f"{at}  withdrawn: {'' if result.withdrawn is None else convert_reason(result.withdrawn)}"
    edges = f"{_format_instant(window.from_s)} .. {_format_instant(window.to_s)}"
    line = f"{at}  {edges}, middle {_format_instant(window.mid_s)}  {'trusted' if window.trusted else 'not trusted'}"
    reasons = _list_reasons(result)
    return f"{line}: {'; '.join(map(convert_reason, reasons))}" if reasons else line


def _list_reasons(result: _Result) -> "Sequence[Reason]":
    return result.issue.reasons if result.window is None else result.window.reasons


def _format_instant(at_s: float | None) -> str | None:
    return None if at_s is None else format_iso(from_epoch_s(at_s))


# ---- options -----------------------------------------------------------------------------------------------------
def _read_interval_s(text: str | None, times_s: list[float]) -> float:
    """Return the interval of an option in seconds; without the option, the median of the first steps."""
    if text is None:
        steps_s = sorted(after - before for before, after in pairwise(times_s[:FIRST_STEPS]))
        return steps_s[len(steps_s) // 2]
    try:
        interval_s = parse_duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from None
    if interval_s <= 0.0:
        raise typer.BadParameter(f"{text!r}: expected more than 0", param_hint="--interval")
    return interval_s


def _read_number(text: str, option: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0.0):
        raise typer.BadParameter(f"{text!r} is no number of at least 0", param_hint=option)
    return number
