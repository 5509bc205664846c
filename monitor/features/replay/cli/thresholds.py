"""`slopeward sites thresholds`: derive rain thresholds for a site file from the records of the slope."""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final, NamedTuple

import typer

from forecasting.hydrology import threshold_learning
from forecasting.hydrology.rain_amounts import adds_up, find_interval, most_mm
from monitor.api.cli import EXIT_NOTHING, EXIT_PARTLY, Commands, print_note, print_result, read_duration_s
from monitor.api.decision import make_gauge
from monitor.api.errors import RefusedError
from monitor.api.ingest import SelectedSeries, read_selected
from monitor.api.readings import find_fills
from monitor.api.sites import SeriesSpec
from monitor.api.text import format_duration, format_iso, from_epoch_s

app = Commands(no_args_is_help=True, help=__doc__)
DataOption = Annotated[Path, typer.Option("--data", help="Neutral long CSV or Parquet: time, station, quantity, value")]
RainOption = Annotated[str, typer.Option("--rain", help="Series of rain, STATION.quantity, such as R1.rain")]
StampOption = Annotated[
    str | None,
    typer.Option("--stamp", help="What a reading of rain is: interval_end, its own sum; or counter, a running sum"),
]
FAST_SHARE: Final = 0.95
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdArguments:
    """Options of `slopeward sites thresholds learn`."""

    data: DataOption
    rain: RainOption
    movement: Annotated[str, typer.Option("--movement", help="Series of displacement, STATION.quantity")]
    fast: Annotated[
        float | None,
        typer.Option(
            "--fast",
            min=0.0,
            max=1e6,
            help="Velocity of an event in mm/day. Default: the 95 % quantile of the velocities, at least their noise",
        ),
    ] = None
    rate_window: Annotated[str, typer.Option("--rate-window", help="Time over which a velocity is computed")] = "7d"
    windows: Annotated[str, typer.Option("--windows", help="Windows of rain to choose from")] = "1d,3d,7d,15d,30d"
    lags: Annotated[str, typer.Option("--lags", help="Lags to choose from")] = "1d,3d,7d"
    apart: Annotated[str, typer.Option("--apart", help="Fast movements closer in time than this are one event")] = "14d"
    least_events: Annotated[
        int,
        typer.Option(
            "--least-events",
            min=threshold_learning.LEAST_EVENTS,
            max=10_000,
            help="Least number of events; fewer are refused",
        ),
    ] = threshold_learning.LEAST_EVENTS
    level: Annotated[str, typer.Option("--level", help="Level that the criterion requests")] = "yellow"
    stamp: StampOption = None


@app.command("learn", takes_config=False)
def learn(arguments: ThresholdArguments) -> None:
    """Derive a rain threshold from past rain and movement, and print the criterion for the site file.

    The command chooses the window and lag of the rain, and cross-validates the threshold by year. Exit 3 if the rain is
    an index without unit: it prints the table, but no criterion may use it.

    Example: slopeward sites thresholds learn --data slope.csv --rain R1.rain --movement G1.displacement --json
    """
    raw_rain, movement = read_selected(arguments.data, [arguments.rain, arguments.movement])
    rain, interval_s, _ = _count_rain(raw_rain, arguments.stamp)
    windows_s = [window_s for window_s in _parse_durations(arguments.windows, "--windows") if window_s >= interval_s]
    if not windows_s:
        raise RefusedError(f"--windows: none is as long as the rain's interval, {format_duration(interval_s)}")
    rate_window_s = _parse_durations(arguments.rate_window, "--rate-window")[0]
    times, rates, noise = _compute_rates(movement, rate_window_s)
    limit, limit_source = _choose_fast_limit(rates, noise, arguments.fast)
    events = threshold_learning.find_events(times, rates, limit, _parse_durations(arguments.apart, "--apart")[0])
    events = threshold_learning.date_onsets(events, movement.times_s, movement.values, rate_window_s)
    try:
        learned = threshold_learning.learn_threshold(
            rain.times_s,
            rain.values,
            interval_s,
            events,
            windows_s,
            _parse_durations(arguments.lags, "--lags"),
            arguments.least_events,
        )
    except threshold_learning.TooFewEventsError as error:
        raise RefusedError(f"{arguments.data}: {error} (movement over {limit:.3g} mm/day, {limit_source})") from None
    common_from_s = max(rain.times_s[0], movement.times_s[0])
    common_to_s = min(rain.times_s[-1], movement.times_s[-1])
    basis = ThresholdBasis(
        rain.name,
        movement.name,
        rain.unit,
        format_iso(from_epoch_s(common_from_s)),
        format_iso(from_epoch_s(common_to_s)),
        limit,
        limit_source,
    )
    criterion = None if rain.unit == "index" else write_criterion(learned, basis, arguments.level)
    print_result(_make_facts(learned, basis) | {"criterion": criterion}, _format_text(learned, basis, criterion))
    if learned.cross.skill <= 0.0:
        print_note("cross-validated skill is not above chance: this threshold is no better than none")
    if rain.unit == "index":
        print_note(f"{arguments.rain} is an index without unit: no criterion may use it")
        raise typer.Exit(EXIT_PARTLY)


@app.command("maxima", takes_config=False)
def maxima(
    data: DataOption,
    rain: RainOption,
    windows: Annotated[str, typer.Option("--windows", help="Windows of the sums")] = "1d,3d",
    min_coverage: Annotated[
        float, typer.Option("--min-coverage", min=0.5, max=1.0, help="Share of a year that must be measured")
    ] = 0.9,
    stamp: StampOption = None,
) -> None:
    """Print the largest rain sums of each calendar year (UTC) for a `rain_return_period` criterion.

    Fill values, and amounts that are physically impossible, are left out and named. Exit 4 if no year is complete.

    Example: slopeward sites thresholds maxima --data slope.csv --rain R1.rain --windows 1h,24h --json
    """
    (raw_series,) = read_selected(data, [rain])
    if raw_series.unit == "index":
        raise RefusedError(f"{rain} is an index without unit: no criterion may use it")
    series, interval_s, left_out = _count_rain(raw_series, stamp)
    counts = Counter(_get_year(time_s - interval_s) for time_s in series.times_s)
    complete_years = sorted(
        year for year, count in counts.items() if count * interval_s >= min_coverage * 365.0 * DAY_S
    )
    maxima_by_window: dict[str, list[float]] = {}
    for window_s in _parse_durations(windows, "--windows"):
        largest_sums = dict.fromkeys(complete_years, 0.0)
        first = 0
        total = 0.0
        for i, (time_s, amount) in enumerate(zip(series.times_s, series.values, strict=True)):
            total += amount
            while series.times_s[first] <= time_s - window_s + 0.5 * interval_s and first < i:
                total -= series.values[first]
                first += 1
            year = _get_year(time_s - interval_s)
            if year in largest_sums:
                largest_sums[year] = max(largest_sums[year], round(total, 6))
        maxima_by_window[format_duration(window_s)] = [largest_sums[year] for year in complete_years]
    entries = [f'"{window}" = {sums}' for window, sums in maxima_by_window.items()]
    text = f"annual_maxima = {{{', '.join(entries)}}}"
    facts = {
        "rain": rain,
        "years": complete_years,
        "annual_maxima": maxima_by_window,
        "left_out": left_out,
        "toml": text,
    }
    print_result(
        facts, f"{len(complete_years)} years with at least {min_coverage:.0%} measured: {complete_years}\n{text}"
    )
    if not complete_years:
        raise typer.Exit(EXIT_NOTHING)


class ThresholdBasis(NamedTuple):
    """Data from which a threshold is learned.

    Attributes:
        rain: Series of rain.
        movement: Series of displacement.
        unit: Unit of the rain.
        from_at: Begin of the common time.
        to_at: End of the common time.
        fast_mm_per_day: Rate from which movement is an event.
        fast_from: Source of this rate.
    """

    rain: str
    movement: str
    unit: str
    from_at: str
    to_at: str
    fast_mm_per_day: float
    fast_from: str


def write_criterion(learned: threshold_learning.Learned, basis: ThresholdBasis, level: str) -> str:
    """Return the criterion as TOML. Its role is advice, which a person can change after a backtest."""
    cross = learned.cross
    reason = (
        f"learned {basis.from_at[:10]} to {basis.to_at[:10]}: {len(learned.events_s)} events of {basis.movement} over "
        f"{basis.fast_mm_per_day:.3g} mm/day ({basis.fast_from}); by years left out {cross.hits} of "
        f"{cross.hits + cross.misses} events, false-alarm rate {cross.false_rate:.3f}, skill {cross.skill:.2f}"
    )
    return "\n".join(
        [
            "[[criterion]]",
            'kind = "rain_learned"',
            f'series = "{basis.rain}"',
            f'window = "{format_duration(learned.window_s)}"',
            f'lag = "{format_duration(learned.lag_s)}"',
            f"over = {_round_down(learned.score.over_mm)!r}",
            f"events = {len(learned.events_s)}",
            f'level = "{level}"',
            'role = "advice"                        # "witness" after a backtest of this site',
            'author = "slopeward sites thresholds learn"',
            f'reason = "{reason}"',
            "",
        ]
    )


def _make_facts(learned: threshold_learning.Learned, basis: ThresholdBasis) -> dict[str, Any]:
    return {
        "rain": basis.rain,
        "movement": basis.movement,
        "unit": basis.unit,
        "from": basis.from_at,
        "to": basis.to_at,
        "years": list(learned.years),
        "fast_mm_per_day": basis.fast_mm_per_day,
        "fast_from": basis.fast_from,
        "events": [format_iso(from_epoch_s(event_s)) for event_s in learned.events_s],
        "n_events": len(learned.events_s),
        "window_s": learned.window_s,
        "lag_s": learned.lag_s,
        "over": learned.score.over_mm,
        "auc": learned.area,
        "lead_s": learned.lead_s,
        "in_sample": _score_to_json(learned.score),
        "cross_validated": _score_to_json(learned.cross),
        "roc": [_score_to_json(row) for row in learned.table],
    }


def _score_to_json(score: threshold_learning.ThresholdScore) -> dict[str, float]:
    rates = {"hit_rate": score.hit_rate, "false_rate": score.false_rate, "skill": score.skill}
    return {**asdict(score), **{name: round(rate, 6) for name, rate in rates.items()}}


def _format_text(learned: threshold_learning.Learned, basis: ThresholdBasis, criterion: str | None) -> str:
    cross = learned.cross
    lines = [
        (
            f"{len(learned.events_s)} events over {basis.fast_mm_per_day:.3g} mm/day ({basis.fast_from}) in "
            f"{len(learned.years)} years"
        ),
        (
            f"rain over {format_duration(learned.window_s)} above {learned.score.over_mm:.4g} {basis.unit}, valid "
            f"for {format_duration(learned.lag_s)}: {learned.score.hits} of "
            f"{learned.score.hits + learned.score.misses} events, false-alarm rate {learned.score.false_rate:.3f}, "
            f"area under ROC {learned.area:.3f}"
        ),
        (
            f"by years left out: {cross.hits} of {cross.hits + cross.misses} events, false-alarm rate "
            f"{cross.false_rate:.3f}, skill {cross.skill:.2f}"
        ),
        "threshold  hits misses  hit rate  false-alarm rate  skill",
    ]
    for row in learned.table:
        counts = f"{row.over_mm:9.4g}  {row.hits:4d} {row.misses:6d}"
        lines.append(f"{counts}  {row.hit_rate:8.3f}  {row.false_rate:16.4f}  {row.skill:5.2f}")
    return "\n".join([*lines, "", criterion or ""])


def _round_down(value: float) -> float:
    """Round down to three figures: a bound that is rounded up would miss the event from which it was learned."""
    rounded = float(f"{value:.3g}")
    if rounded <= value:
        return rounded
    exponent = int(f"{value:e}".partition("e")[2])
    return rounded - 10.0 ** (exponent - 2)


def _parse_durations(text: str, option: str) -> list[float]:
    durations_s = [read_duration_s(option, part.strip()) for part in text.split(",") if part.strip()]
    if not durations_s or min(durations_s) <= 0.0:
        raise RefusedError(f"{option}: expected durations such as '1d,3d', got {text!r}")
    return durations_s


def _count_rain(series: SelectedSeries, stamp: str | None) -> tuple[SelectedSeries, float, dict[str, int]]:
    """Return the rain of each interval as criteria count it, the interval in seconds, and values left out by count.

    Raises:
        RefusedError: The values look like those of a counter and `stamp` is not given, or sums overlap.
    """
    if stamp not in {None, "interval_end", "counter"}:
        raise RefusedError(f"--stamp: expected interval_end or counter, got {stamp!r}")
    if len(series.times_s) < 2:
        raise RefusedError(f"{series.name}: one reading of rain is no series")
    interval_s, _ = find_interval(series.times_s)
    if series.unit == "index":
        return series, interval_s, {}
    fills = find_fills(series.values)
    rows = [
        (time_s, value)
        for time_s, value in zip(series.times_s, series.values, strict=True)
        if value not in fills and value >= 0.0
    ]
    if stamp is None and adds_up(rows):
        raise RefusedError(
            f"{series.name}: its values add up, as those of a counter: say --stamp counter, or --stamp interval_end "
            "where each is the sum of its own interval"
        )
    if stamp != "counter":
        rows = [(time_s, value) for time_s, value in rows if value <= most_mm(interval_s)]
    all_values = Counter(f"{value:g} {series.unit}" for value in series.values)
    left_out = all_values - Counter(f"{value:g} {series.unit}" for _, value in rows)
    station, _, quantity = series.name.partition(".")
    spec = SeriesSpec(station, quantity, "mm", interval_s, interval_s, stamp=stamp or "interval_end")
    gauge = make_gauge(rows, spec)
    if gauge is None:
        raise RefusedError(f"{series.name}: no reading of rain is left")
    if gauge.doubtful_s:
        first_at = format_iso(from_epoch_s(gauge.doubtful_s[0]))
        raise RefusedError(
            f"{series.name}: sums of {format_duration(interval_s)} arrive faster than that, first at {first_at}: "
            "remove duplicates and other sums from the file"
        )
    duplicates = 0 if stamp == "counter" else len(rows) - len(gauge.times_s)
    _print_left_out(series.name, left_out, duplicates)
    return replace(series, times_s=gauge.times_s, values=gauge.amounts_mm), interval_s, dict(left_out)


def _print_left_out(name: str, left_out: Counter[str], duplicates: int) -> None:
    """Print the values that are no amounts of rain, and how many sums are duplicates."""
    for value, count in left_out.items():
        print_note(f"{name}: {value} is no amount of rain: {count} {'reading' if count == 1 else 'readings'} left out")
    if duplicates:
        print_note(f"{name}: {duplicates} sums of intervals that have one already, left out")


def _compute_rates(movement: SelectedSeries, window_s: float) -> tuple[list[float], list[float], float]:
    """Return begin times and rates in mm/day over the window, and the noise of the rates.

    Raises:
        RefusedError: No two readings are a window apart.
    """
    times = movement.times_s
    values = movement.values
    starts = []
    rates = []
    j = 0
    for i, time_s in enumerate(times):
        while j < len(times) and times[j] < time_s + window_s:
            j += 1
        if j == len(times):
            break
        # Over a longer gap the time of the movement is unknown.
        if times[j] - time_s <= 1.5 * window_s:
            starts.append(time_s)
            rates.append((values[j] - values[i]) / (times[j] - time_s) * DAY_S)
    if not rates:
        raise RefusedError(f"{movement.name}: no two readings are {format_duration(window_s)} apart; see --rate-window")
    # Second differences of white noise have six times its variance; 1.4826 converts a median deviation to a standard
    # deviation.
    second_differences = [abs(a - 2.0 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    noise_mm = 1.4826 * median(second_differences) / 6.0**0.5 if second_differences else 0.0
    return starts, rates, noise_mm * 2.0**0.5 / (window_s / DAY_S)


def _choose_fast_limit(rates: list[float], noise: float, given: float | None) -> tuple[float, str]:
    """Return the rate in mm/day from which movement is an event, and the source of this rate."""
    if given is not None:
        if not 0.0 < given < inf:  # also rejects nan
            raise RefusedError("--fast: expected more than 0 mm/day")
        return given, "given"
    quantile = sorted(rates)[min(len(rates) - 1, int(FAST_SHARE * len(rates)))]
    if quantile < 3.0 * noise:
        return 3.0 * noise, "three times the noise of the rates"
    if quantile <= 0.0:
        raise RefusedError("the slope does not move in 95 % of the record: give --fast")
    return quantile, "95 % quantile of the rates"


def _get_year(time_s: float) -> int:
    return datetime.fromtimestamp(time_s, UTC).year
