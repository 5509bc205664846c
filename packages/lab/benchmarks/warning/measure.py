"""Write the site file of a record, replay the record with it, and read lead times and false days from the result.

Three variants of the site are replayed on the same readings:

* `default`: the site file as the generator wrote it;
* `fixed bound`: the same file with one velocity criterion of 2, 20 and 100 mm/day over 14, 4 and 1 days in place of
  its criteria, and with the dwell that the generator chose;
* `windows alone`: the same file with one criterion on failure windows in place of its criteria.

In all three, every level falls by itself. Otherwise a level that only a person lowers would count as a warning, or as
false, for the rest of the record.
"""

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from monitor.alerts.replay.backtest import BacktestOptions, run_backtest
from monitor.alerts.replay.history import VisibilityRule
from monitor.alerts.replay.matrix import Span, find_days
from monitor.cli.main import run_command
from monitor.ingest.files.temporary import open_imported_files
from monitor.sites.parsing import parse_site
from monitor.sites.records import Dwell, Site
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s
from packages.lab.benchmarks.warning.records import Record

LEVELS: Final = ("yellow", "orange", "red")
DEFAULT: Final = "default"
FIXED_BOUND: Final = "fixed bound"
WINDOWS_ALONE: Final = "windows alone"
VARIANTS: Final = (DEFAULT, FIXED_BOUND, WINDOWS_ALONE)
# Kinds of criteria whose bounds `scale_bounds` multiplies.
SPEED_KINDS: Final = frozenset({"velocity", "rate", "survey_rate"})

# A place for records that do not state one; no result depends on it.
PLACE: Final = "46.2,8.9"
CSV_NAME: Final = "slope.csv"


@dataclass(frozen=True, slots=True)
class GeneratedSite:
    """What a site-file generator writes."""

    site_file: str
    mapping: Path | None  # what the columns of the table mean; None for the neutral long form


# Called with the CSV file of the history, the folder for its output, and answers as KEY=VALUE.
Generator = Callable[[Path, Path, Sequence[str]], GeneratedSite]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one variant of the site warned on one record.

    `lead_days`: by level, days between the failure and the instant from which the level was reached and not left any
    more, and a criterion asked for it; None where the level was not present at the failure, and for records without a
    failure.
    `false_days`: by level, days with at least this level in the time without a hazard.
    `waiting_days`: the same for levels that no criterion asked for in the last `LOWERING_DAYS`. They follow from a
    question that nobody answers in a replay, such as one about a sudden step, and are not part of `false_days`.
    """

    lead_days: dict[str, float | None]
    false_days: dict[str, int]
    waiting_days: dict[str, int]


@dataclass(frozen=True, slots=True)
class RecordResult:
    """All variants on one record."""

    name: str
    kind: str
    interval: str
    station_years: float
    outcomes: dict[str, Outcome]


# ---- the generator of the product ------------------------------------------------------------------------------


def generate_with_guess(csv_file: Path, folder: Path, answers: Sequence[str]) -> GeneratedSite:
    """Run `slopeward ingest FILE --guess` in this process.

    Raises:
        RuntimeError: it ended with an error or a question; the text has what it printed.
    """
    words = ["ingest", str(csv_file), "--guess", "--out", str(folder)]
    for answer in (f"place={PLACE}", "zone=UTC", *answers):
        words += ["--answer", answer]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = run_command(words)
    if status != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {status}:\n{printed.getvalue()}")
    mapping = folder / f"{csv_file.stem}.mapping.toml"
    site_file = folder / f"{csv_file.stem}.toml"
    return GeneratedSite(site_file.read_text(encoding="utf-8"), mapping if mapping.is_file() else None)


# ---- the variants ----------------------------------------------------------------------------------------------

# Level, bound in mm/day, window in days.
FIXED_BOUNDS: Final = (("yellow", 2.0, 14), ("orange", 20.0, 4), ("red", 100.0, 1))
# A fitted line needs this many intervals in its window.
FEWEST_INTERVALS: Final = 4
# A level falls at the latest so long after the last criterion asked for it, unless a question holds it.
LOWERING_DAYS: Final = 14


def make_variants(generated: GeneratedSite) -> dict[str, Site]:
    """Return the site of each variant.

    The fixed bound leaves out levels whose window is too short for the slowest displacement series: a bound that can
    never be computed would keep the lower levels from falling. It is absent where no level remains.
    """
    site = _lower_by_itself(parse_site(generated.site_file, "default"))
    variants = {DEFAULT: site}
    intervals_s = [
        series.interval_s
        for station in site.stations
        for series in station.series
        if series.quantity.startswith("displacement")
    ]
    if not intervals_s:
        return variants
    slowest_days = max(intervals_s) / 86400.0
    valid_for = f'valid_for = "{max(2, math.ceil(3.0 * slowest_days))}d"'
    bounds = [
        f'{level} = {{over = {bound}, window = "{window}d"}}'
        for level, bound, window in FIXED_BOUNDS
        if window >= FEWEST_INTERVALS * slowest_days
    ]
    if bounds:
        lines = ["[[criterion]]", 'kind = "velocity"', 'stations = ["*"]', *bounds, _format_dwell(site), valid_for]
        variants[FIXED_BOUND] = _parse_variant(generated.site_file, lines)
    lines = [
        "[[criterion]]",
        'kind = "inverse_velocity"',
        'role = "witness"',
        'stations = ["*"]',
        'yellow = {within = "30d"}',
        'orange = {within = "14d"}',
        'red = {within = "5d"}',
        valid_for,
    ]
    variants[WINDOWS_ALONE] = _parse_variant(generated.site_file, lines)
    return variants


def _parse_variant(site_file: str, criterion: Sequence[str]) -> Site:
    return _lower_by_itself(parse_site(replace_criteria(site_file, "\n".join(criterion)), "variant"))


def replace_criteria(site_file: str, criteria: str) -> str:
    """Replace all criteria of a site file."""
    tables = re.split(r"(?m)^(?=\[)", site_file)
    others = [table for table in tables if not table.startswith(("[[criterion]]", "[criterion.", "[[criterion."))]
    return "".join(others) + criteria


def scale_bounds(site: Site, factor: float) -> Site:
    """Multiply every bound on a speed."""
    criteria = []
    for criterion in site.criteria:
        if criterion.kind.id in SPEED_KINDS:
            thresholds = tuple(
                replace(
                    bound,
                    over=None if bound.over is None else factor * bound.over,
                    under=None if bound.under is None else factor * bound.under,
                )
                for bound in criterion.thresholds
            )
            criterion = replace(criterion, thresholds=thresholds)
        criteria.append(criterion)
    return replace(site, criteria=tuple(criteria))


def name_scaled(factor: float) -> str:
    """Name the variant with multiplied bounds; a factor of one is the default."""
    return DEFAULT if factor == 1.0 else f"bounds x {factor:g}"


def _lower_by_itself(site: Site) -> Site:
    return replace(site, levels=tuple(replace(level, auto_lower=True) for level in site.levels))


def _format_dwell(site: Site) -> str:
    """Return the dwell of the first criterion on motion, as a line of a site file."""
    dwell = next((one.dwell for one in site.criteria if one.kind.id in {"velocity", "rate"}), Dwell())
    within = "" if dwell.within_s is None else f', within = "{round(dwell.within_s)}s"'
    return f"dwell = {{hits = {dwell.hits}, of = {dwell.of}{within}}}"


# ---- the replay ------------------------------------------------------------------------------------------------


def measure_record(
    record: Record, generator: Generator = generate_with_guess, factors: Iterable[float] = ()
) -> RecordResult:
    """Let the generator write a site file from the history of the record, and replay the rest of the record.

    Args:
        factors: The default is also replayed with all bounds on speeds multiplied by each of these.
    """
    with TemporaryDirectory(prefix="bench-warning-") as name:
        folder = Path(name)
        history, whole = folder / "history" / CSV_NAME, folder / "whole" / CSV_NAME
        history.parent.mkdir()
        whole.parent.mkdir()
        record.write_csv(history, until=record.history_end)
        record.write_csv(whole)
        generated = generator(history, folder / "out", record.answers)
        variants = make_variants(generated)
        for factor in factors:
            variants.setdefault(name_scaled(factor), scale_bounds(variants[DEFAULT], factor))
        with open_imported_files(
            whole, variants[DEFAULT], generated.mapping, accept_units=True, accept_times=True
        ) as past:
            outcomes = {name: measure_variant(past.db, site, record) for name, site in variants.items()}
    return RecordResult(record.name, record.kind, record.interval, record.station_years, outcomes)


def measure_variant(db: Database, site: Site, record: Record) -> Outcome:
    """Replay one site on stored readings, with the service's own backtest."""
    # All rows were imported just now, so each counts as received at its own time.
    options = BacktestOptions(known=VisibilityRule("observed"))
    card = run_backtest(db, site, record.history_end, record.replay_until, terms=options)
    run = card.runs[0]
    spans = run.levels
    numbers = {level.name: level.number for level in site.levels}
    witnesses = [criterion.id for criterion in site.criteria if criterion.role == "witness"]
    asked = [run.words[name] for name in witnesses if name in run.words]
    lead_days: dict[str, float | None] = dict.fromkeys(LEVELS)
    if record.failure_at is not None:
        lead_days = {name: find_lead_days(spans, asked, numbers[name], record.failure_at) for name in LEVELS}
    false_days, waiting_days = {}, {}
    for name in LEVELS:
        number = numbers[name]
        shown_days = find_days_at(spans, number, record.history_end, record.quiet_until)
        asked_days = set()
        for words in asked:
            asked_days |= find_days_at(words, number, record.history_end, record.quiet_until)
        recently_asked_days = {day + timedelta(days=k) for day in asked_days for k in range(LOWERING_DAYS + 1)}
        false_days[name] = len(shown_days & recently_asked_days)
        waiting_days[name] = len(shown_days - recently_asked_days)
    return Outcome(lead_days, false_days, waiting_days)


def find_lead_days(
    spans: Sequence[Span], asked: Iterable[Sequence[Span]], level: int, failure_at: datetime
) -> float | None:
    """Return how long before the failure a level was reached that was not left any more; None where it was not.

    The time counts from the first instant at which a criterion asked for the level: until then the level follows from
    a question, such as one about a sudden step, and warns of no motion.

    Args:
        spans: the level of the site.
        asked: for each criterion, the levels that it asked for.
    """
    reached_s = None
    for span in reversed(spans):
        if span.level < level:
            break
        reached_s = span.from_s
    if reached_s is None:
        return None
    asked_s = [span.from_s for words in asked for span in words if span.level >= level and span.to_s > reached_s]
    if not asked_s:
        return None
    return (epoch_s(failure_at) - max(reached_s, min(asked_s))) / 86400.0


def find_days_at(spans: Sequence[Span], level: int, from_at: datetime, to_at: datetime) -> set[date]:
    """Return the days in UTC on which at least a level was reached within a time."""
    from_s, to_s = epoch_s(from_at), epoch_s(to_at)
    inside = [
        Span(max(span.from_s, from_s), min(span.to_s, to_s), span.level)
        for span in spans
        if span.level >= level and span.from_s < to_s and span.to_s > from_s
    ]
    return {date.fromisoformat(day) for day in find_days(inside, "UTC")}
