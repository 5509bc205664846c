"""What tests cost in processor time: `python -m pytest -p tests.costs --costs=FILE ...` adds a line for each to FILE.

A line holds seconds, those of them that children took, seconds slept, what (test, fixture, start), and its name.
Children count when they have ended and were waited for: a service that a fixture keeps counts with the test at its end.
A fixture of more than one test is not counted with the test that happened to come first. PostgreSQL, which nobody waits
for, is left out. Slept is what the main thread neither computed nor stood in line for a processor (Linux tells).
"""

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

_in_fixtures = np.zeros(3)
_QUEUE = Path("/proc/self/schedstat")


def _spent() -> np.ndarray:
    """Processor time so far of this process with the children it waited for, of these, and time slept, s."""
    own, children = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    theirs = children.ru_utime + children.ru_stime
    queued = int(_QUEUE.read_text().split()[1]) / 1e9 if _QUEUE.exists() else 0.0
    return np.array([own.ru_utime + own.ru_stime + theirs, theirs, time.monotonic() - time.thread_time() - queued])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the file."""
    parser.addoption(
        "--costs", type=lambda name: str(Path(name).resolve()), help="add each test's processor time to this file"
    )


def _add(config: pytest.Config, seconds: np.ndarray, what: str, name: str) -> None:
    if file := config.getoption("--costs"):
        with Path(file).open("a") as lines:  # one short write: workers share the file
            lines.write(f"{seconds[0]:.3f}\t{seconds[1]:.3f}\t{seconds[2]:.3f}\t{what}\t{name}\n")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Imports and collection of this process are over."""
    _add(session.config, _spent(), "start", os.environ.get("PYTEST_XDIST_WORKER", "main"))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> Iterator[None]:
    """Count what is made once for several tests by itself."""
    global _in_fixtures
    if fixturedef.scope == "function":
        return (yield)
    begun, inner = _spent(), _in_fixtures
    try:
        return (yield)
    finally:
        own = _spent() - begun - (_in_fixtures - inner)
        _in_fixtures = _in_fixtures + own
        _add(request.config, own, "fixture", f"{fixturedef.baseid}::{fixturedef.argname}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count a test with the set-up and the end that are its own."""
    begun, inner = _spent(), _in_fixtures
    try:
        return (yield)
    finally:
        _add(item.config, _spent() - begun - (_in_fixtures - inner), "test", item.nodeid)
