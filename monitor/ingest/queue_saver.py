"""Save the queue of the managed broker soon after it changed.

Mosquitto acknowledges messages before it writes them to disk, and saves all its sessions and messages at once. Its
`autosave_interval` of 1 s saves every 2 s, also while nothing changes. The signal SIGUSR1 saves immediately, so this
module sends the signal when messages have arrived.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

log: Final = logging.getLogger(__name__)
SAVE_EVERY_S: Final = 0.5
# A save blocks the broker. Slow saves run less often, so that they take a third of the time at most.
PERIOD_PER_SAVE: Final = 3.0
# Mosquitto ignores a signal that arrives at the end of a save, so the signal is repeated after this time.
REPEAT_AFTER_S: Final = 1.0
LONGEST_REPEAT_S: Final = 60.0
_POLL_S: Final = 0.02


class QueueSaver:
    """Thread that requests a save after changes and measures how long saves take.

    Args:
        database: File in which the broker saves its sessions and messages. Each save replaces the file.
        request_save: Send the signal to the broker. It must do nothing if the broker does not run.
    """

    def __init__(self, database: Path, request_save: Callable[[], None]) -> None:
        self._database = database
        self._request_save = request_save
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._save_s = 0.0
        self._unsaved_since: float | None = None  # monotonic

    @property
    def risk_s(self) -> float:
        """How many seconds of acknowledged messages a crash of the broker can lose at most, as measured last."""
        unsaved_since = self._unsaved_since
        unsaved_s = 0.0 if unsaved_since is None else time.monotonic() - unsaved_since
        return max(self._period_s + self._save_s, unsaved_s)

    @property
    def _period_s(self) -> float:
        """Seconds from the start of a save to the start of the next save."""
        return max(SAVE_EVERY_S, PERIOD_PER_SAVE * self._save_s)

    def note_change(self) -> None:
        """Request a save: the broker has received messages or subscriptions."""
        if self._unsaved_since is None:
            self._unsaved_since = time.monotonic()
        self._changed.set()

    def start(self) -> None:
        """Start the thread."""
        self._stop.clear()
        self._changed.clear()
        self._unsaved_since = None
        self._thread = threading.Thread(target=self._run, name="broker-saver", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. The broker saves by itself when it ends."""
        self._stop.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

    def _run(self) -> None:
        while self._changed.wait() and not self._stop.is_set():
            self._changed.clear()
            started = time.monotonic()
            self._unsaved_since = self._unsaved_since or started
            if self._save():
                # Messages that arrived since `started` may be missing in the file.
                self._unsaved_since = started if self._changed.is_set() else None
            self._stop.wait(max(0.0, started + self._period_s - time.monotonic()))

    def _save(self) -> bool:
        """Request a save and wait until it is complete. Return False if the thread must stop."""
        before = self._identify_file()
        repeat_after_s = max(REPEAT_AFTER_S, 2 * self._save_s)
        while not self._stop.is_set():
            requested = time.monotonic()
            self._request_save()
            while time.monotonic() < requested + repeat_after_s and not self._stop.wait(_POLL_S):
                if self._identify_file() != before:
                    self._save_s = time.monotonic() - requested
                    return True
            if not self._stop.is_set():
                log.warning("the broker has not saved its queue within %g s; requesting it again", repeat_after_s)
            repeat_after_s = min(2 * repeat_after_s, LONGEST_REPEAT_S)
        return False

    def _identify_file(self) -> tuple[int, int] | None:
        try:
            status = self._database.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
