"""Which threads of the core process run, and which of them have ended by an error."""

import logging
import threading
from typing import Final, NamedTuple

from monitor.app.checks.live import ThreadStatus

log = logging.getLogger(__name__)

# The threads of `loop.SelfMonitoring`.
ESSENTIAL_THREAD: Final = "self-monitoring"
MACHINE_THREAD: Final = "machine-checks"
PLUGIN_THREAD: Final = "plugin-checks"
# Without one of these threads the core no longer decides, delivers or watches itself. A new process replaces them all.
VITAL: Final = frozenset(
    {"core-lease", ESSENTIAL_THREAD, MACHINE_THREAD, PLUGIN_THREAD, "dispatcher", "evaluate", "ingest-writer"}
)
INGEST_PREFIX: Final = "ingest-"
# Names that Python gives to threads without a name. They are short-lived and not part of the status.
UNNAMED_PREFIXES: Final = ("Thread-", "Dummy-")


class _EndedThread(NamedTuple):
    thread: threading.Thread | None
    problem: str


class ThreadWatch:
    """Record threads that end by an error or by a call to exit."""

    def __init__(self) -> None:
        self._ended: dict[str, _EndedThread] = {}

    def install(self) -> None:
        """Record every thread of this process that ends by an exception."""
        threading.excepthook = self._note_ended

    def _note_ended(self, event: threading.ExceptHookArgs) -> None:
        name = "?" if event.thread is None else event.thread.name
        problem = f"{event.exc_type.__name__}: {event.exc_value or ''}"
        self._ended[name] = _EndedThread(event.thread, problem)
        log.critical("thread %s ended: %s", name, problem, exc_info=event.exc_value)

    def find_ended_vital(self) -> list[str]:
        """Return the vital threads that an exception has ended."""
        # Other threads may add an error meanwhile.
        return [name for name in list(self._ended) if name in VITAL or name.startswith(INGEST_PREFIX)]

    def take_status(self) -> ThreadStatus:
        """Return running and ended threads. An ended thread that was replaced is returned once."""
        ended = dict(self._ended)
        # A thread that is just recording its end still counts as alive for Python.
        ending = [entry.thread for entry in ended.values()]
        running = {
            thread.name
            for thread in threading.enumerate()
            if thread not in ending and not thread.name.startswith(UNNAMED_PREFIXES)
        }
        for name in running & ended.keys():
            del self._ended[name]
        return ThreadStatus(running, {name: entry.problem for name, entry in ended.items()})
