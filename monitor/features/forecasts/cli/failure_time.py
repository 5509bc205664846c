"""`slopeward forecast failure-time`: the failure window of a curve at every instant, and how good such windows are."""

import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from monitor.api.cli import Commands, options, print_if_json, print_json
from monitor.api.text import convert_reason, format_iso, from_epoch_s, parse_duration_s


class FileOrVerb(TyperGroup):
    """A group whose first word may be a file: anything that is no verb of it is read by `watch`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in that a bare file leaves out."""
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["watch", *args]
        return super().parse_args(ctx, args)


app = Commands(
    cls=FileOrVerb,
    help="Failure windows by inverse velocity: `slopeward forecast failure-time FILE`, or `bench`.",
    epilog="Example: slopeward forecast failure-time curve.csv --json",
    no_args_is_help=True,
)


@app.command(
    epilog="Example: slopeward forecast failure-time curve.csv --column displacement --json", takes_config=False
)
def watch(
    file: Annotated[Path, typer.Argument(help="CSV with a time and a value column, or long CSV.")],
    column: Annotated[
        str, typer.Option(help="What the values are: displacement or velocity (mm/day).")
    ] = "displacement",
    station: Annotated[str | None, typer.Option(help="In a long CSV: whose.")] = None,
    value: Annotated[str | None, typer.Option(help="Value column, or quantity of a long CSV.")] = None,
    interval: Annotated[
        str | None, typer.Option(help="Nominal sampling interval; else the usual one of the start.")
    ] = None,
    sigma: Annotated[float, typer.Option(min=0.0, max=1e6, help="Stated noise of one epoch, mm: a floor.")] = 0.0,
    backwards: Annotated[
        bool | None,
        typer.Option(
            "--backwards/--forwards", help="The values fall along the movement, or rise; else both are tried."
        ),
    ] = None,
) -> None:
    """Say at every instant what was known then: a window, trusted or not, and why. Never from later data.

    Where nobody says whether the values rise or fall along the movement, both are tried. The one with more trusted
    windows is printed.
    """
    from forecasting.kinematics.failure import FailureSpec, watch_failure
    from monitor.features.forecasts.cli.curve_file import COLUMNS, read_curve

    if column not in COLUMNS:
        raise typer.BadParameter(f"{column!r} is neither displacement nor velocity", param_hint="--column")
    curve = read_curve(file, column, station=station, value=value)
    for note in curve.notes:
        print(f"{file}: {note}", file=sys.stderr)
    spec = FailureSpec(_interval_s(interval, curve.times_s), sigma)
    tried, counts = {}, {}
    for falls in (False, True) if backwards is None else (backwards,):
        values = [-v for v in curve.values] if falls else curve.values
        tried[falls] = watch_failure(curve.times_s, values, [0.0] * len(values), spec)
        windows = [issue for issue in tried[falls] if issue.from_s is not None]
        counts[falls] = sum(issue.trusted for issue in windows), len(windows)
    falls = max(tried, key=lambda way: (*counts[way], not way))
    if len(tried) > 1 and counts[falls][1]:
        print(f"{file}: {_describe_way(counts[not falls], falls=falls)}", file=sys.stderr)
    for issue in tried[falls]:
        if options().as_json:
            print_json({**_issue_to_json(issue), "backwards": falls})
        elif issue.from_s is not None or issue.withdrawn is not None:
            print(_line(issue))
    if not options().as_json and not counts[falls][1]:
        ways = ", whether the values rise or fall along the movement" if backwards is None else ""
        print(f"no window at any instant{ways}", file=sys.stderr)


@app.command(
    epilog="Example: slopeward forecast failure-time bench --seeds 30 --noise 0.5,2 --json", takes_config=False
)
def bench(
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Collapses to draw: seeds 0 to N-1.")] = 30,
    noise: Annotated[str, typer.Option(help="White noise in mm, comma list.")] = "0.5,2",
    alpha: Annotated[str, typer.Option(help="Exponent of Voight's law, or bounds LOW-HIGH.")] = "2",
    interval: Annotated[str, typer.Option(help="Sampling interval of drawn curves.")] = "1d",
    rain: Annotated[bool, typer.Option("--rain", help="Draw rain pulses.")] = False,
    gaps: Annotated[bool, typer.Option("--gaps", help="Draw gaps.")] = False,
) -> None:
    """Judge failure windows: error and width by lead time before drawn collapses."""
    from monitor.features.forecasts.cli import failure_bench

    low, _, high = alpha.partition("-")
    first = _number(low, "--alpha")
    last = _number(high, "--alpha") if high else first
    if not 1.01 <= first <= last:
        raise typer.BadParameter(f"{alpha!r}: at least 1.01, low before high", param_hint="--alpha")
    rows = failure_bench.score_voight(
        range(seeds),
        [_number(n, "--noise") for n in noise.split(",")],
        alpha=(first, last),
        rain=rain,
        gaps=gaps,
        interval_s=_interval_s(interval, []),
    )
    for row in rows:
        if not print_if_json(row):
            print("  ".join(f"{k}={v}" for k, v in row.items() if not isinstance(v, dict)))
            for name, cells in row["leads"].items():
                print(f"  {name:12} " + "  ".join(f"{k}={v}" for k, v in cells.items()))


# ---- spelling ----------------------------------------------------------------------------------------------------
def _describe_way(of_other: tuple[int, int], *, falls: bool) -> str:
    """Which way the values were taken to run, and how many windows the other way gives: trusted ones, and all."""
    verb, other = ("fall", "--forwards") if falls else ("rise", "--backwards")
    trusted, count = of_other
    also = f"; the other way gives {count} windows, {trusted} of them trusted: {other}" if count else ""
    return f"read as values that {verb} along the movement{also}"


def _issue_to_json(issue: Any) -> dict[str, Any]:
    return {
        "time": _instant(issue.data_until_s),
        "onset": _instant(issue.onset_s),
        "window_from": _instant(issue.from_s),
        "window_mid": _instant(issue.mid_s),
        "window_to": _instant(issue.to_s),
        "trusted": issue.trusted,
        "reasons": [convert_reason(reason) for reason in issue.reasons],
        "withdrawn": None if issue.withdrawn is None else convert_reason(issue.withdrawn),
        "velocity_mm_per_day": issue.velocity,
        "velocity_error_mm_per_day": issue.velocity_error,
        "r2": issue.r2,
        "n_filters": issue.n_filters,
        "n_agree": issue.n_agree,
    }


def _line(issue: Any) -> str:
    if issue.from_s is None:
        return f"{_instant(issue.data_until_s)}  withdrawn: {convert_reason(issue.withdrawn)}"
    mark = "trusted" if issue.trusted else "not trusted"
    window = f"{_instant(issue.from_s)} .. {_instant(issue.to_s)}, middle {_instant(issue.mid_s)}"
    return f"{_instant(issue.data_until_s)}  {window}  {mark}" + (
        f": {'; '.join(map(convert_reason, issue.reasons))}" if issue.reasons else ""
    )


def _instant(at_s: float | None) -> str | None:
    return None if at_s is None else format_iso(from_epoch_s(at_s))


# ---- reading options ---------------------------------------------------------------------------------------------
def _interval_s(given: str | None, times_s: list[float]) -> float:
    if given is not None:
        try:
            interval_s = parse_duration_s(given)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--interval") from None
        if interval_s <= 0.0:
            raise typer.BadParameter(f"{given!r}: expected more than 0", param_hint="--interval")
        return interval_s
    # from the start alone: what comes later must not change what was said before
    steps = sorted(b - a for a, b in pairwise(times_s[:100]))
    return steps[len(steps) // 2]


def _number(text: str, option: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0.0):
        raise typer.BadParameter(f"{text!r} is no number of at least 0", param_hint=option)
    return number
