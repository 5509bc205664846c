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
from monitor.api.cli import EXIT_PARTLY, Commands, print_note, read_duration_s, show
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
    """What `slopeward sites thresholds learn` takes."""

    data: DataOption
    rain: RainOption
    movement: Annotated[str, typer.Option("--movement", help="Series of displacement, STATION.quantity")]
    fast: Annotated[
        float | None,
        typer.Option(
            "--fast",
            min=0.0,
            max=1e6,
            help="mm/day from which movement is an event; else the 95 % quantile of the rates, never below their noise",
        ),
    ] = None
    rate_window: Annotated[str, typer.Option("--rate-window", help="Over which a rate is taken")] = "7d"
    windows: Annotated[str, typer.Option("--windows", help="Windows of rain to choose from")] = "1d,3d,7d,15d,30d"
    lags: Annotated[str, typer.Option("--lags", help="Lags to choose from")] = "1d,3d,7d"
    apart: Annotated[str, typer.Option("--apart", help="Fast times nearer than this are one event")] = "14d"
    least_events: Annotated[
        int, typer.Option("--least-events", min=threshold_learning.LEAST_EVENTS, max=10_000, help="Fewer are refused")
    ] = threshold_learning.LEAST_EVENTS
    level: Annotated[str, typer.Option("--level", help="Level that the criterion asks for")] = "yellow"
    stamp: StampOption = None


@app.command("learn", takes_config=False)
def learn(given: ThresholdArguments) -> None:
    """Learn a rain threshold from rain and movement: window, lag, ROC, cross-validated by year, and the criterion.

    Exit 3 when the rain is an index: then there is a table, but no criterion may use it.

    Example: slopeward sites thresholds learn --data slope.csv --rain R1.rain --movement G1.displacement --json
    """
    fell, moved = read_selected(given.data, [given.rain, given.movement])
    fell, interval_s, _ = _count_rain(fell, given.stamp)
    spans = [s for s in _durations(given.windows, "--windows") if s >= interval_s]
    if not spans:
        raise RefusedError(f"--windows: none is as long as the rain's interval, {format_duration(interval_s)}")
    window_s = _durations(given.rate_window, "--rate-window")[0]
    times, rates, noise = _rates(moved, window_s)
    limit, grounds = _fast(rates, noise, given.fast)
    samples = threshold_learning.find_events(times, rates, limit, _durations(given.apart, "--apart")[0])
    samples = threshold_learning.date_onsets(samples, moved.times_s, moved.values, window_s)
    try:
        found = threshold_learning.learn_threshold(
            fell.times_s, fell.values, interval_s, samples, spans, _durations(given.lags, "--lags"), given.least_events
        )
    except threshold_learning.TooFewEventsError as error:
        raise RefusedError(f"{given.data}: {error} (movement over {limit:.3g} mm/day, {grounds})") from None
    starts, ends = (
        format_iso(from_epoch_s(pick(fell.times_s[k], moved.times_s[k]))) for pick, k in ((max, 0), (min, -1))
    )
    basis = ThresholdBasis(fell.name, moved.name, fell.unit, starts, ends, limit, grounds)
    criterion = None if fell.unit == "index" else write_criterion(found, basis, given.level)
    show(_facts(found, basis) | {"criterion": criterion}, _text(found, basis, criterion))
    if found.cross.skill <= 0.0:
        print_note("cross-validated skill is not above chance: this threshold is no better than none")
    if fell.unit == "index":
        print_note(f"{given.rain} is an index without unit: no criterion may use it")
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
    """Largest rain sums of each calendar year (UTC), for `annual_maxima` of a `rain_return_period` criterion.

    Numbers that stand for no measurement, and more than ever fell anywhere, are left out and named.

    Example: slopeward sites thresholds maxima --data slope.csv --rain R1.rain --windows 1h,24h --json
    """
    (fell,) = read_selected(data, [rain])
    if fell.unit == "index":
        raise RefusedError(f"{rain} is an index without unit: no criterion may use it")
    fell, interval_s, left_out = _count_rain(fell, stamp)
    counts = Counter(_year(at_s - interval_s) for at_s in fell.times_s)
    complete = sorted(y for y, n in counts.items() if n * interval_s >= min_coverage * 365.0 * DAY_S)
    found: dict[str, list[float]] = {}
    for span_s in _durations(windows, "--windows"):
        best = dict.fromkeys(complete, 0.0)
        first, total = 0, 0.0
        for i, (at_s, amount) in enumerate(zip(fell.times_s, fell.values, strict=True)):
            total += amount
            while fell.times_s[first] <= at_s - span_s + 0.5 * interval_s and first < i:
                total -= fell.values[first]
                first += 1
            year = _year(at_s - interval_s)
            if year in best:
                best[year] = max(best[year], round(total, 6))
        found[format_duration(span_s)] = [best[y] for y in complete]
    text = "annual_maxima = {" + ", ".join(f'"{k}" = {v}' for k, v in found.items()) + "}"
    facts = {"rain": rain, "years": complete, "annual_maxima": found, "left_out": left_out, "toml": text}
    show(facts, f"{len(complete)} years with at least {min_coverage:.0%} measured: {complete}\n{text}")
    if not complete:
        raise typer.Exit(4)


class ThresholdBasis(NamedTuple):
    """What a threshold is learned from: two series, their common time, and from when on movement is an event."""

    rain: str
    movement: str
    unit: str  # of the rain
    from_at: str
    to_at: str
    fast_mm_per_day: float
    fast_from: str


def write_criterion(found: threshold_learning.Learned, basis: ThresholdBasis, level: str) -> str:
    """The criterion as TOML; advice until somebody promotes it after a backtest."""
    cross = found.cross
    reason = (
        f"learned {basis.from_at[:10]} to {basis.to_at[:10]}: {len(found.events_s)} events of {basis.movement} over "
        f"{basis.fast_mm_per_day:.3g} mm/day ({basis.fast_from}); by years left out {cross.hits} of "
        f"{cross.hits + cross.misses} events, false-alarm rate {cross.false_rate:.3f}, skill {cross.skill:.2f}"
    )
    return "\n".join(
        [
            "[[criterion]]",
            'kind = "rain_learned"',
            f'series = "{basis.rain}"',
            f'window = "{format_duration(found.window_s)}"',
            f'lag = "{format_duration(found.lag_s)}"',
            f"over = {_round_down(found.score.over_mm)!r}",
            f"events = {len(found.events_s)}",
            f'level = "{level}"',
            'role = "advice"                        # "witness" after a backtest of this site',
            'author = "slopeward sites thresholds learn"',
            f'reason = "{reason}"',
            "",
        ]
    )


def _facts(found: threshold_learning.Learned, basis: ThresholdBasis) -> dict[str, Any]:
    return {
        "rain": basis.rain,
        "movement": basis.movement,
        "unit": basis.unit,
        "from": basis.from_at,
        "to": basis.to_at,
        "years": list(found.years),
        "fast_mm_per_day": basis.fast_mm_per_day,
        "fast_from": basis.fast_from,
        "events": [format_iso(from_epoch_s(t)) for t in found.events_s],
        "n_events": len(found.events_s),
        "window_s": found.window_s,
        "lag_s": found.lag_s,
        "over": found.score.over_mm,
        "auc": found.area,
        "lead_s": found.lead_s,
        "in_sample": _score_to_json(found.score),
        "cross_validated": _score_to_json(found.cross),
        "roc": [_score_to_json(row) for row in found.table],
    }


def _score_to_json(score: threshold_learning.ThresholdScore) -> dict[str, float]:
    rates = {"hit_rate": score.hit_rate, "false_rate": score.false_rate, "skill": score.skill}
    return {**asdict(score), **{k: round(v, 6) for k, v in rates.items()}}


def _text(found: threshold_learning.Learned, basis: ThresholdBasis, criterion: str | None) -> str:
    cross = found.cross
    lines = [
        (
            f"{len(found.events_s)} events over {basis.fast_mm_per_day:.3g} mm/day ({basis.fast_from}) in "
            f"{len(found.years)} years"
        ),
        (
            f"rain over {format_duration(found.window_s)} above {found.score.over_mm:.4g} {basis.unit}, standing "
            f"for {format_duration(found.lag_s)}: {found.score.hits} of {found.score.hits + found.score.misses} events"
            f", false-alarm rate {found.score.false_rate:.3f}, area under ROC {found.area:.3f}"
        ),
        (
            f"by years left out: {cross.hits} of {cross.hits + cross.misses} events, false-alarm rate "
            f"{cross.false_rate:.3f}, skill {cross.skill:.2f}"
        ),
        "threshold  hits misses  hit rate  false-alarm rate  skill",
    ]
    lines += [
        f"{r.over_mm:9.4g}  {r.hits:4d} {r.misses:6d}  {r.hit_rate:8.3f}  {r.false_rate:16.4f}  {r.skill:5.2f}"
        for r in found.table
    ]
    return "\n".join([*lines, "", criterion or ""])


def _round_down(value: float) -> float:
    """Three figures, downwards: a bound that is rounded up would miss what it was learned from."""
    text = f"{value:.3g}"
    return float(text) if float(text) <= value else float(text) - 10.0 ** (int(f"{value:e}".partition("e")[2]) - 2)


def _durations(text: str, option: str) -> list[float]:
    found = [read_duration_s(option, part.strip()) for part in text.split(",") if part.strip()]
    if not found or min(found) <= 0.0:
        raise RefusedError(f"{option}: expected durations such as '1d,3d', got {text!r}")
    return found


def _count_rain(fell: SelectedSeries, stamp: str | None) -> tuple[SelectedSeries, float, dict[str, int]]:
    """What fell in each interval, as criteria count it; its length in seconds, and what was left out, with its count.

    Raises RefusedError: it adds up and nobody said that it does, or more time is covered than passed.
    """
    if stamp not in {None, "interval_end", "counter"}:
        raise RefusedError(f"--stamp: expected interval_end or counter, got {stamp!r}")
    if len(fell.times_s) < 2:
        raise RefusedError(f"{fell.name}: one reading of rain is no series")
    interval_s, _ = find_interval(fell.times_s)
    if fell.unit == "index":
        return fell, interval_s, {}
    fills = find_fills(fell.values)
    rows = [(t, v) for t, v in zip(fell.times_s, fell.values, strict=True) if v not in fills and v >= 0.0]
    if stamp is None and adds_up(rows):
        raise RefusedError(
            f"{fell.name}: its values add up, as those of a counter: say --stamp counter, or --stamp interval_end "
            "where each is the sum of its own interval"
        )
    if stamp != "counter":
        rows = [(t, v) for t, v in rows if v <= most_mm(interval_s)]
    left_out = Counter(f"{v:g} {fell.unit}" for v in fell.values) - Counter(f"{v:g} {fell.unit}" for _, v in rows)
    spec = SeriesSpec(*fell.name.partition(".")[::2], "mm", interval_s, interval_s, stamp=stamp or "interval_end")
    gauge = make_gauge(rows, spec)
    if gauge is None:
        raise RefusedError(f"{fell.name}: no reading of rain is left")
    if gauge.doubtful_s:
        at = format_iso(from_epoch_s(gauge.doubtful_s[0]))
        raise RefusedError(
            f"{fell.name}: sums of {format_duration(interval_s)} arrive faster than that, first at {at}: remove "
            "duplicates and other sums from the file"
        )
    _print_left_out(fell.name, left_out, 0 if stamp == "counter" else len(rows) - len(gauge.times_s))
    return replace(fell, times_s=gauge.times_s, values=gauge.amounts_mm), interval_s, dict(left_out)


def _print_left_out(name: str, left_out: Counter[str], twice: int) -> None:
    """Name the readings that are no rain, and how many sums came twice."""
    for value, count in left_out.items():
        print_note(f"{name}: {value} is no amount of rain: {count} {'reading' if count == 1 else 'readings'} left out")
    if twice:
        print_note(f"{name}: {twice} sums of intervals that have one already, left out")


def _rates(moved: SelectedSeries, window_s: float) -> tuple[list[float], list[float], float]:
    times, values = moved.times_s, moved.values
    starts, rates = [], []
    j = 0
    for i, at_s in enumerate(times):
        while j < len(times) and times[j] < at_s + window_s:
            j += 1
        if j == len(times):
            break
        if times[j] - at_s <= 1.5 * window_s:  # a gap hides when the movement was
            starts.append(at_s)
            rates.append((values[j] - values[i]) / (times[j] - at_s) * DAY_S)
    if not rates:
        raise RefusedError(f"{moved.name}: no two readings lie {format_duration(window_s)} apart; see --rate-window")
    second = [abs(a - 2.0 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    noise = 1.4826 * median(second) / 6.0**0.5 if second else 0.0
    return starts, rates, noise * 2.0**0.5 / (window_s / DAY_S)


def _fast(rates: list[float], noise: float, given: float | None) -> tuple[float, str]:
    if given is not None:
        if not 0.0 < given < inf:  # nan is no number of this kind either
            raise RefusedError("--fast: expected more than 0 mm/day")
        return given, "given"
    share = sorted(rates)[min(len(rates) - 1, int(FAST_SHARE * len(rates)))]
    if share < 3.0 * noise:
        return 3.0 * noise, "three times the noise of the rates"
    if share <= 0.0:
        raise RefusedError("the slope does not move in 95 % of the record: give --fast")
    return share, "95 % quantile of the rates"


def _year(at_s: float) -> int:
    return datetime.fromtimestamp(at_s, UTC).year
