"""Value of the warnings of a new site file: lead times before failures, and false days, beside a fixed bound.

    python -m packages.lab.benchmarks.warning.bench_warning [--quick] [--curve] [--json FILE] [--seeds 2] [--only TEXT]

`slopeward ingest --guess` writes a site file from the first part of each record. The rest of the record is replayed
with the service's own backtest. The same readings are replayed with a fixed bound and with failure windows alone.
`measure.py` describes the three variants, `records.py` and `curves.py` the records.

Lead: days between the failure and the instant from which the level was reached and not left any more, and a criterion
asked for it. With several seeds it is the lower median; "-" where the level was not present at the failure.
False days: days with at least the level, per station-year, in the time without a hazard. Before a failing curve
accelerates, that is the time between the end of the history and the onset. For motion that does not fail it is the
whole replay.
Waiting days: the same for a level that no criterion asked for in the last two weeks. It follows from a question that
nobody answers in a replay, such as one about a sudden step of a measured record.
Curve: with `--curve`, the bounds on speeds are multiplied by several factors on quiet records and on failing curves
at daily interval. The table shows which lead a lower or higher bound would give, and for how many false days.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from monitor.errors import SlopewardError
from packages.lab.benchmarks.warning.curves import FailingCurve
from packages.lab.benchmarks.warning.measure import (
    LEVELS,
    VARIANTS,
    WINDOWS_ALONE,
    Outcome,
    RecordResult,
    measure_record,
    name_scaled,
)
from packages.lab.benchmarks.warning.records import (
    SAMPLINGS,
    RecordTask,
    list_measured,
    list_quick,
    list_simulated,
    simulate_failure,
)
from tests.bench.record import LAB_RESULTS

NAME: Final = "warning"
COMMAND: Final = "make bench-warning"
NOT_COMPUTED: Final = "not computed"
FALSE_DAYS: Final = "false_days_per_station_year"
WAITING_DAYS: Final = "waiting_days_per_station_year"
FACTORS: Final = (0.5, 1.0, 2.0, 4.0)  # of the bounds, for the curve
CURVE_INTERVAL: Final = "daily"
CURVE_KINDS: Final = frozenset({"quiet", "failure"})


def measure_task(task: RecordTask, factors: Sequence[float]) -> RecordResult:
    """Read a record and measure it, in a process of its own; with factors on the bounds if it belongs to the curve."""
    record = task.read()
    is_on_curve = record.interval == CURVE_INTERVAL and record.kind in CURVE_KINDS
    return measure_record(record, factors=factors if is_on_curve else ())


def replay_computes_windows() -> bool:
    """Return whether failure windows raise any level before a clear acceleration, where they must.

    A replay that does not compute failure windows would otherwise look like one in which they never warn.
    """
    curve = FailingCurve("probe", alpha=2.0, speed_week_before=30.0, onset_days=60.0, creep=0.5)
    probe = simulate_failure(curve, SAMPLINGS[1], seed=0)
    leads = measure_record(probe).outcomes[WINDOWS_ALONE].lead_days
    return any(lead is not None for lead in leads.values())


@dataclass(frozen=True, slots=True)
class Finished:
    """A record that was measured, or why it could not be."""

    task: RecordTask
    result: RecordResult | None
    error: str = ""


def run_all(tasks: Sequence[RecordTask], processes: int, factors: Sequence[float] = ()) -> Iterator[Finished]:
    """Measure records in several processes; yield each when it is ready.

    A record for which the generator fails does not end the run: it is part of the result.
    """
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(measure_task, task, factors): task for task in tasks}
        for future in as_completed(running):
            try:
                yield Finished(running[future], future.result())
            except (RuntimeError, SlopewardError) as error:
                yield Finished(running[future], None, str(error))


def summarise(results: Iterable[RecordResult], *, windows_computed: bool) -> list[dict[str, Any]]:
    """Return one row per curve or measured record and interval, in a fixed order."""
    groups: dict[tuple[str, str, str], list[RecordResult]] = {}
    for result in results:
        groups.setdefault((result.kind, result.name, result.interval), []).append(result)
    intervals = [sampling.name for sampling in SAMPLINGS]

    def place(key: tuple[str, str, str]) -> tuple[str, int, str]:
        kind, name, interval = key
        return kind, intervals.index(interval) if interval in intervals else len(intervals), name

    rows = []
    for key in sorted(groups, key=place):
        kind, name, interval = key
        own = groups[key]
        years = sum(result.station_years for result in own)
        row: dict[str, Any] = {
            "kind": kind,
            "name": name,
            "interval": interval,
            "records": len(own),
            "station_years": round(years, 3),
        }
        for variant in VARIANTS:
            outcomes = [result.outcomes[variant] for result in own if variant in result.outcomes]
            if variant == WINDOWS_ALONE and not windows_computed:
                row[variant] = NOT_COMPUTED
            elif not outcomes:
                row[variant] = None
            else:
                row[variant] = {
                    "lead_days": {level: median_lead(outcomes, level) for level in LEVELS},
                    FALSE_DAYS: {
                        level: round(sum(one.false_days[level] for one in outcomes) / years, 2) for level in LEVELS
                    },
                    WAITING_DAYS: {
                        level: round(sum(one.waiting_days[level] for one in outcomes) / years, 2) for level in LEVELS
                    },
                }
        rows.append(row)
    return rows


def summarise_curve(results: Iterable[RecordResult]) -> list[dict[str, Any]]:
    """Return leads and false days of each record of the curve by factor on the bounds, quiet records together."""
    last = name_scaled(FACTORS[-1])
    groups: dict[tuple[str, str], list[RecordResult]] = {}
    for result in results:
        if last in result.outcomes:
            name = result.name if result.kind == "failure" else "quiet stations"
            groups.setdefault((result.kind, name), []).append(result)
    rows = []
    for (kind, name), own in sorted(groups.items()):
        years = sum(result.station_years for result in own)
        for factor in FACTORS:
            outcomes = [result.outcomes[name_scaled(factor)] for result in own]
            figures_by_level = {
                level: median_lead(outcomes, level)
                if kind == "failure"
                else round(sum(outcome.false_days[level] for outcome in outcomes) / years, 2)
                for level in LEVELS
            }
            figure = "lead_days" if kind == "failure" else FALSE_DAYS
            rows.append({"kind": "curve", "name": name, "factor": factor, figure: figures_by_level})
    return rows


def format_curve(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Format the curve: a row for each record, a column for each factor on the bounds."""
    yield "Bounds multiplied by a factor, at daily interval: yellow / orange / red"
    yield f"{'record':<18}{'figure':<32}" + "".join(f"{f'x {factor:g}':>22}" for factor in FACTORS)
    for name in dict.fromkeys(row["name"] for row in rows):
        own = {row["factor"]: row for row in rows if row["name"] == name}
        figure = "lead_days" if "lead_days" in own[FACTORS[0]] else FALSE_DAYS
        cells = "".join(f"{_format_cell(own[factor], figure):>22}" for factor in FACTORS)
        yield f"{name:<18}{figure.replace('_', ' '):<32}{cells}"


def median_lead(outcomes: Sequence[Outcome], level: str) -> float | None:
    """Return the median lead, a missing one counting as none at all; None where the median is missing."""
    leads = [-1.0 if one.lead_days[level] is None else one.lead_days[level] or 0.0 for one in outcomes]
    median = statistics.median_low(leads)
    return None if median < 0.0 else round(median, 2)


def format_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Format one table for failures and one for everything else."""
    failures = [row for row in rows if row["kind"] == "failure"]
    others = [row for row in rows if row["kind"] != "failure"]
    if failures:
        yield "Lead in days before the failure: yellow / orange / red"
        yield from _format_rows(failures, "lead_days")
        yield ""
        yield "False days per station-year before the onset: yellow / orange / red"
        yield from _format_rows(failures, FALSE_DAYS)
        yield ""
    if others:
        yield "False days per station-year without a failure: yellow / orange / red"
        yield from _format_rows(others, FALSE_DAYS)
        yield ""
        yield "Days per station-year waiting for an answer: yellow / orange / red"
        yield from _format_rows(others, WAITING_DAYS)


def _format_rows(rows: Sequence[dict[str, Any]], figure: str) -> Iterator[str]:
    yield f"{'kind':<11}{'record':<27}{'interval':<9}" + "".join(f"{variant:>24}" for variant in VARIANTS)
    for row in rows:
        cells = [_format_cell(row[variant], figure) for variant in VARIANTS]
        yield f"{row['kind']:<11}{row['name']:<27}{row['interval']:<9}" + "".join(f"{cell:>24}" for cell in cells)


def _format_cell(cell: Any, figure: str) -> str:
    if cell is None:
        return "cannot judge"
    if not isinstance(cell, dict):
        return str(cell)
    values = [cell[figure][level] for level in LEVELS]
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values)


def describe_progress(result: RecordResult) -> str:
    """Format one line about a record that was measured."""
    parts = []
    for variant, outcome in result.outcomes.items():
        leads = ["-" if outcome.lead_days[level] is None else f"{outcome.lead_days[level]:.1f}" for level in LEVELS]
        false = [str(outcome.false_days[level]) for level in LEVELS]
        waiting = [str(outcome.waiting_days[level]) for level in LEVELS]
        parts.append(f"{variant}: lead {'/'.join(leads)} d, false {'/'.join(false)} d, waiting {'/'.join(waiting)} d")
    return "; ".join(parts)


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three records, in less than a minute")
    parser.add_argument("--curve", action="store_true", help="also multiply the bounds by factors, on daily records")
    parser.add_argument("--seeds", type=int, default=2, help="simulated records of each curve and interval")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="records whose name contains this text, such as daily")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--record", action="store_true", help="store the figures in packages/lab/benchmarks/results")
    return parser.parse_args()


def main() -> None:
    """Measure the records, print a line for each and the tables at the end."""
    given = read_arguments()
    began = time.monotonic()
    tasks = list_quick() if given.quick else [*list_measured(), *list_simulated(given.seeds)]
    tasks = [task for task in tasks if given.only in task.name]
    windows_computed = replay_computes_windows()
    results: list[RecordResult] = []
    failed: list[Finished] = []
    for number, finished in enumerate(run_all(tasks, given.processes, FACTORS if given.curve else ()), start=1):
        if finished.result is None:
            failed.append(finished)
            text = "could not be measured"
        else:
            results.append(finished.result)
            text = describe_progress(finished.result)
        print(f"{time.monotonic() - began:5.0f} s  {number}/{len(tasks)}  {finished.task.name}: {text}", flush=True)
    rows = summarise(results, windows_computed=windows_computed)
    print(*format_table(rows), sep="\n")
    curve = summarise_curve(results)
    if curve:
        print("", *format_curve(curve), sep="\n")
    for finished in failed:
        print(f"\n{finished.task.name} could not be measured: {finished.error}")
    if given.json is not None:
        whole = {"rows": rows, "curve": curve, "records": [asdict(result) for result in results]}
        given.json.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    if given.record:
        print(LAB_RESULTS.store(NAME, COMMAND, [*rows, *curve]))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
