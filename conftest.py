"""Set up the test processes: environment, Hypothesis profiles, order of the test files, measured data.

The fixtures for servers, databases and jobs are in tests/fixtures.
"""

import ast
import gc
import os
from collections import Counter
from collections.abc import Callable
from functools import wraps
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from monitor.worker.compute import THREAD_VARIABLES
from tests.fixtures.examples import register_profiles
from tests.fixtures.folders import find_fast_folder
from tests.fixtures.waiting import REPOSITORY, skip_missing

pytest_plugins = [
    "tests.fixtures.postgresql",
    "tests.fixtures.mariadb",
    "tests.fixtures.mosquitto",
    "tests.fixtures.databases",
    "tests.fixtures.processes",
    "tests.fixtures.plugins",
]

register_profiles()

# Numerical libraries use one thread per process, as in the workers of the service.
for library in THREAD_VARIABLES:
    os.environ.setdefault(library, "1")

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(find_fast_folder()))

_parse = ast.parse


@wraps(_parse)
def parse_without_garbage_collection(*arguments: Any, **options: Any) -> Any:
    """Parse source while the garbage collector is disabled.

    In Python 3.11, `ast.parse` raises a SystemError if the garbage collector runs a finalizer that parses source too,
    such as one that formats a traceback (https://github.com/python/cpython/issues/106905).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _parse(*arguments, **options)
    finally:
        if was_enabled:
            gc.enable()


pytest.MonkeyPatch().setattr(ast, "parse", parse_without_garbage_collection)

# Almost no object that is created during collection becomes garbage, so the collector waits until the tests start.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what only `make soak` runs, and order the files. Runs before pytest selects tests by their marks."""
    mark_cases_in_soak(items)
    alternate_slow_files(items)


def mark_cases_in_soak(items: list[pytest.Item]) -> None:
    """Mark as `soak` all cases of a test with the mark `one_case_in(n)` except each n-th."""
    counts: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("one_case_in")
        if mark is not None:
            test = item.nodeid.partition("[")[0]
            if counts[test] % mark.args[0] != 0:
                item.add_marker(pytest.mark.soak)
            counts[test] += 1


def alternate_slow_files(items: list[pytest.Item]) -> None:
    """Alternate files with slow tests and other files.

    Slow tests mostly wait for a process or a clock. While some workers wait, the others compute. All slow tests start
    early, so that no worker starts a long file when the other workers have finished.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow_files = [tests for tests in files.values() if any(test.get_closest_marker("slow") for test in tests)]
    other_files = [tests for tests in files.values() if not any(test.get_closest_marker("slow") for test in tests)]
    ordered_files = [tests for pair in zip_longest(slow_files, other_files, fillvalue=[]) for tests in pair]
    items[:] = [item for tests in ordered_files for item in tests]


def pytest_runtestloop() -> None:
    """Exclude the objects that imports and collection created from garbage collection, which is a fifth faster."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def measured() -> Callable[[str], Path]:
    """Return a function that finds a file of the measured data and skips the test if it is missing.

    The files are below SLOPEWARD_DATA (default ../shared/data) or its folders timeseries and imagery. If CI is set, a
    missing file fails the test, unless SLOPEWARD_DATA is empty, which states that the build has no measured data.
    """
    root = Path(os.environ.get("SLOPEWARD_DATA", REPOSITORY.parent / "shared" / "data"))
    has_no_data = os.environ.get("SLOPEWARD_DATA") == ""

    def find(path: str) -> Path:
        if has_no_data:
            pytest.skip(f"measured data {path} is missing (SLOPEWARD_DATA is empty)")
        for folder in (root, root / "timeseries", root / "imagery"):
            if (folder / path).exists():
                return folder / path
        return skip_missing(f"measured data {path} (SLOPEWARD_DATA={root})")

    return find
