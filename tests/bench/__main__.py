"""Measure the performance of the service, each figure beside a reference of the same run, and print one table.

Examples:
    python -m tests.bench                                   # everything, within 20 minutes
    python -m tests.bench --only views --database sqlite    # one subject on one database
    python -m tests.bench --store                           # also store the figures that the documentation quotes
"""

import argparse
import contextlib
import difflib
import io
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Final, NoReturn

from tests.bench.figures import COMMAND, EXPLANATION, RESULT, Row, format_table, load_stored_rows, make_result
from tests.bench.record import SERVICE_RESULTS
from tests.bench.subjects import DATABASES, QUICK, SUBJECTS, Sizes

# The part of a core that other programs may use before the figures suffer.
QUIET_LOAD: Final = 0.5
AFTER_STORING: Final = "python -m packages.lab.evaluation.write_pages"

Task = tuple[str, str]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        self.exit(2, f"error: {message}\n")


def find_subject(name: str) -> str:
    """Return the name of a subject.

    Raises:
        argparse.ArgumentTypeError: There is no such subject. The message contains the nearest name.
    """
    if name in SUBJECTS:
        return name
    nearest = difflib.get_close_matches(name, SUBJECTS, n=1)
    hint = f'; did you mean "{nearest[0]}"?' if nearest else f"; subjects: {', '.join(SUBJECTS)}"
    raise argparse.ArgumentTypeError(f'no subject is named "{name}"{hint}')


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    subjects = "\n".join(f"  {name:<14} {subject.text}" for name, subject in SUBJECTS.items())
    parser = _Parser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog=f"subjects:\n{subjects}\n\n{EXPLANATION}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", type=find_subject, metavar="SUBJECT", help="measure this subject; can be repeated"
    )
    parser.add_argument("--database", choices=DATABASES, help="measure on this database only")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of the table")
    parser.add_argument(
        "--store", action="store_true", help=f"store the result in docs/benchmarks/{RESULT}.json; needs a full run"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="use the smallest sizes, to see whether everything runs; ratios mean little",
    )
    options = parser.parse_args(arguments)
    if options.store and (options.only or options.database or options.quick):
        parser.error("--store needs a full run, because the documentation quotes one run; leave out the other options")
    if not list_tasks(options):
        parser.error(f"{', '.join(options.only)} is not measured on {options.database}")
    return options


def list_tasks(options: argparse.Namespace) -> list[Task]:
    """Return the subjects and databases to measure, in the order of the table.

    Subjects without a database are left out if a database is selected and no subject is.
    """
    tasks = []
    for name, subject in SUBJECTS.items():
        if options.only and name not in options.only:
            continue
        for database in subject.databases:
            is_selected = options.database in {None, database} or (options.only and not database)
            if is_selected:
                tasks.append((name, database))
    return tasks


def run(tasks: Sequence[Task], sizes: Sizes) -> tuple[list[Row], dict[str, float], list[str]]:
    """Measure and report the progress on standard error.

    A subject that fails does not stop the others.

    Returns:
        The rows, how many seconds each task took, and the tasks that failed.
    """
    rows: list[Row] = []
    seconds: dict[str, float] = {}
    failed: list[str] = []
    for number, (name, database) in enumerate(tasks, start=1):
        label = f"{name}, {database}" if database else name
        progress = f"[{number}/{len(tasks)}] {label}"
        print(f"{progress} ...", file=sys.stderr, flush=True)
        started_s = time.monotonic()
        try:
            # The modules also run alone, and then print what they measure.
            with contextlib.redirect_stdout(io.StringIO()):
                figures = SUBJECTS[name].measure(database, sizes)
        except Exception:
            failed.append(label)
            print(f"{progress}: failed", file=sys.stderr)
            traceback.print_exc()
            continue
        seconds[label] = time.monotonic() - started_s
        print(f"{progress}: {seconds[label]:.0f} s", file=sys.stderr)
        rows += [Row(name, database, figure) for figure in figures]
    return rows, seconds, failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and store. Return the exit code: 1 if a subject failed, 2 for wrong usage."""
    options = parse_arguments(arguments)
    load = os.getloadavg()[0]
    if load > QUIET_LOAD:
        print(f"Other programs use this machine (load {load:.1f}), so the figures are not reliable.", file=sys.stderr)
    tasks = list_tasks(options)
    rows, seconds, failed = run(tasks, QUICK if options.quick else Sizes())
    result = make_result(rows, seconds)
    if options.json:
        print(json.dumps(result, indent=2))
    elif rows:
        print(format_table(rows, load_stored_rows()))
        print(f"\n{EXPLANATION} {result['minutes']:.1f} min.")
    if failed:
        nothing_stored = " Nothing was stored." if options.store else ""
        print(f"error: failed: {'; '.join(failed)}.{nothing_stored}", file=sys.stderr)
        return 1
    if options.store:
        path = SERVICE_RESULTS.store(RESULT, COMMAND, result | {"load_at_start": round(load, 1)})
        print(f"Stored {path}. Now run {AFTER_STORING}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    # Filling a database in one transaction logs a warning about its length.
    logging.disable(logging.WARNING)
    sys.exit(main())
