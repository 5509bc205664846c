"""Which threads of the core process run, and which of them have ended by an error."""

import logging
import threading
from typing import Final

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


class ThreadWatch:
    """Record threads that end by an error or by a call to exit."""

    def __init__(self) -> None:
        self._errors: dict[str, str] = {}

    def install(self) -> None:
        """Record every thread of this process that ends by an exception."""
        threading.excepthook = self._note_ended

    def _note_ended(self, event: threading.ExceptHookArgs) -> None:
        name = "?" if event.thread is None else event.thread.name
        problem = f"{event.exc_type.__name__}: {event.exc_value or ''}"
        self._errors[name] = problem
        log.critical("thread %s ended: %s", name, problem, exc_info=event.exc_value)

    def find_ended_vital(self) -> list[str]:
        """Return the vital threads that an exception has ended."""
        # Other threads may add an error meanwhile.
        return [name for name in list(self._errors) if name in VITAL or name.startswith(INGEST_PREFIX)]

    def take_status(self) -> ThreadStatus:
        """Return running and ended threads. An ended thread that was replaced is returned once."""
        running = {thread.name for thread in threading.enumerate() if not thread.name.startswith(UNNAMED_PREFIXES)}
        ended = dict(self._errors)
        for name in running & ended.keys():
            del self._errors[name]
        return ThreadStatus(running, ended)
