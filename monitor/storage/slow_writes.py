"""Report write transactions that hold the write lock too long, by the name of the function that opened them.

A write transaction keeps every other writer waiting, ingest included. The rule of the service is that none lasts longer
than a second. People read what the transaction was for (`describe_write`). The name of the function is in the debug log
and in the heartbeat of the process.
"""

import inspect
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from monitor.text.message import Message, Template

LONGEST_WRITE_S: Final = 1.0
# Begins the name of a part that is a plugin.
PLUGIN_PART: Final = "plugin "
# Name of a transaction whose function is not known.
UNKNOWN: Final = "unknown"
log = logging.getLogger(__name__)
# Modules that open transactions for others.
_SKIPPED_MODULES: Final = frozenset({"contextlib", __name__, "monitor.storage.engine", "monitor.alerts.acts.call"})
_FEATURES: Final = "monitor.features."
_ACT: Final = Template("write.act", "an action of a person")
_PRUNE: Final = Template("write.prune", "deleting old data")
# What a transaction is for, by module or function. A function stands before its module.
TASKS: Final[Mapping[str, Template]] = {
    "monitor.alerts.acts.on_alerts:acknowledge": Template("write.acknowledge", "acknowledging an alert"),
    "monitor.alerts.acts.on_sites:set_level": Template("write.level", "setting the level of a site"),
    "monitor.alerts.acts": _ACT,
    "monitor.alerts.queries.signatures": _ACT,
    "monitor.alerts.evaluate": Template("write.evaluation", "storing the evaluation of a site"),
    "monitor.app.jobs.housekeeping": _PRUNE,
    "monitor.app.schedule": Template("write.job", "recording a job"),
    "monitor.app.self_monitoring": Template("write.self_monitoring", "self-monitoring"),
    "monitor.app.site_files": Template("write.site_files", "loading the site files"),
    "monitor.app": Template("write.app", "checking the service"),
    "monitor.cli": Template("write.command", "a command"),
    "monitor.delivery": Template("write.delivery", "recording a delivery"),
    "monitor.ingest": Template("write.readings", "storing readings"),
    "monitor.storage.scheduled_backups": Template("write.backup", "recording a backup"),
    "monitor.storage.prune": _PRUNE,
    "monitor.storage.retention": _PRUNE,
    "monitor.web": Template("write.web", "a request of the page"),
    UNKNOWN: Template("write.unknown", "a write transaction"),
}
_FEATURE: Final = Template("write.feature", 'the feature "{name}"')
_PACKAGE: Final = Template("write.package", 'the package "{name}"')
_WITH_PLUGIN: Final = Template("write.plugin", '{task}, mostly the plugin "{name}"')
# Seconds by part of the write transaction of this thread; None outside of one.
_parts: ContextVar[dict[str, float] | None] = ContextVar("parts", default=None)


class SlowWrite(NamedTuple):
    """Write transactions of one name that held the write lock longer than `LONGEST_WRITE_S`."""

    times: int
    longest_s: float


@contextmanager
def write_part(name: str) -> Iterator[None]:
    """Attribute what follows in the write transaction of this thread to a part of it, such as a feature."""
    parts = _parts.get()
    started_s = time.monotonic()
    try:
        yield
    finally:
        if parts is not None:
            parts[name] = parts.get(name, 0.0) + time.monotonic() - started_s


class SlowWrites:
    """The slow write transactions of one process. Every name is logged once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slow: dict[str, SlowWrite] = {}

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure how long a write transaction holds the lock; enter when it has the lock, leave after its commit."""
        token = _parts.set({})
        started_s = time.monotonic()
        try:
            yield
        finally:
            held_s = time.monotonic() - started_s
            parts = _parts.get() or {}
            _parts.reset(token)
            if held_s > LONGEST_WRITE_S:
                self.count(_name_caller(parts, held_s), held_s)

    def count(self, name: str, held_s: float) -> None:
        """Count a slow write transaction."""
        with self._lock:
            is_first = name not in self._slow
            before = self._slow.get(name, SlowWrite(0, 0.0))
            self._slow[name] = SlowWrite(before.times + 1, max(before.longest_s, held_s))
        if is_first:
            log.warning("%s held the database for %.1f s; further times are counted", describe_write(name), held_s)
            log.debug("the write transaction of %.1f s was opened by %s", held_s, name)

    def list_slow(self) -> Mapping[str, SlowWrite]:
        """Return the slow write transactions so far, by name."""
        with self._lock:
            return dict(self._slow)


def describe_write(name: str) -> Message:
    """Return what a write transaction was for, in words.

    Args:
        name: Name of the transaction, as `SlowWrites.list_slow` returns it: the module, a colon, the function, and in
            parentheses the part that took most of the time, if any.

    >>> describe_write("monitor.alerts.acts.on_alerts:acknowledge")
    'acknowledging an alert'
    >>> describe_write("monitor.features.forecasts.issue:issue_forecasts")
    'the feature "forecasts"'
    >>> describe_write("monitor.ingest.pipeline:Pipeline._commit (plugin tides)")
    'storing readings, mostly the plugin "tides"'
    """
    function, _, part = name.removesuffix(")").partition(" (")
    task = _describe_function(function)
    if part:
        return _WITH_PLUGIN(task=task, name=part.removeprefix(PLUGIN_PART))
    return task


def _describe_function(function: str) -> Message:
    for prefix, task in TASKS.items():
        if function == prefix or function.startswith((f"{prefix}.", f"{prefix}:")):
            return task()
    module = function.partition(":")[0]
    if module.startswith(_FEATURES):
        return _FEATURE(name=module.removeprefix(_FEATURES).partition(".")[0])
    return _PACKAGE(name=module.partition(".")[0])


def _name_caller(parts: Mapping[str, float], held_s: float) -> str:
    """Return the function that opened the transaction, and the part that took more than half of its time."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") in _SKIPPED_MODULES:
        frame = frame.f_back
    if frame is None:
        return UNKNOWN
    name = f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}"
    longest = max(parts, key=lambda part: parts[part], default="")
    return f"{name} ({longest})" if longest and parts[longest] > held_s / 2.0 else name
