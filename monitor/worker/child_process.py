"""Work that the page starts in a process of its own: it answers in lines of JSON and never holds the page back.

A child of `multiprocessing` would be waited for when the page ends; this one goes on, or ends when nobody reads it.
"""

import importlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from monitor.text.message import gather, spread

POLL_S: Final = 0.5
NICE: Final = 10  # alarms come first
SendLine = Callable[[Any], None]


class ChildProcess:
    """One such process.

    Args:
        work: `module:function`, a name because only the other process imports it. The function is called with a
            function that prints lines, and with the arguments.
        arguments: what can be pickled; they come from this program alone.
    """

    def __init__(self, work: str, *arguments: Any) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.worker.child_process", work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._child.stdin is not None
        self.is_over = False  # it told all that it ever will
        with suppress(BrokenPipeError), self._child.stdin as pipe:  # a child that died is seen by its silence
            pickle.dump(arguments, pipe)

    def lines(self, limit_s: float) -> Iterator[Any]:
        """What it tells, until it ends or the time is over."""
        until_s = time.monotonic() + limit_s
        stream = self._child.stdout
        assert stream is not None
        while time.monotonic() < until_s:
            if not select.select([stream], [], [], POLL_S)[0]:
                continue
            line = stream.readline()
            if not line:
                self.is_over = True
                return
            yield gather(json.loads(line))

    def end(self) -> None:
        """End it and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Read on until it ends by itself."""
        if self._child.stdout is not None:
            while self._child.stdout.read(65536):
                pass
            self._child.stdout.close()
        self._child.wait()


def main(work: str) -> None:
    """The child: read the arguments, work, tell."""
    arguments = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - of the process that started this one
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what else is printed belongs to the log
    os.nice(NICE)

    def send(value: Any) -> None:
        answers.write(json.dumps(spread(value)) + "\n")
        answers.flush()

    module, _, name = work.partition(":")
    getattr(importlib.import_module(module), name)(send, *arguments)


if __name__ == "__main__":
    main(sys.argv[1])
