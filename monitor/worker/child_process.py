"""Run a function in a child process of low priority that returns lines of JSON, so that the page stays responsive.

`multiprocessing` would wait for the child when the page ends. This child continues without the page.
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

from monitor.text.message import messages_to_plain, plain_to_messages

POLL_S: Final = 0.5
NICE: Final = 10  # a low priority, because alarms come first
SendLine = Callable[[Any], None]


class ChildProcess:
    """A child process.

    Attributes:
        is_over: Whether the child has closed its output, so that no more lines follow.

    Args:
        work: `module:function`, as a name because only the child imports it. The function is called with a function
            that sends a line, and with the arguments.
        arguments: Values that can be pickled.
    """

    def __init__(self, work: str, *arguments: Any) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.worker.child_process", work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._child.stdin is not None
        self.is_over = False
        # If the child has died, `lines` returns none.
        with suppress(BrokenPipeError), self._child.stdin as pipe:
            pickle.dump(arguments, pipe)

    def lines(self, limit_s: float) -> Iterator[Any]:
        """Yield the values that the child sends, until it ends or `limit_s` seconds have passed."""
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
            yield plain_to_messages(json.loads(line))

    def end(self) -> None:
        """Kill the child and the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Wait until the child ends, and discard its output."""
        if self._child.stdout is not None:
            while self._child.stdout.read(65536):
                pass
            self._child.stdout.close()
        self._child.wait()


def main(work: str) -> None:
    """Run the function of a child: read its arguments from the standard input and send its values to the parent."""
    arguments = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - sent by the parent
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # other output goes to the log
    os.nice(NICE)

    def send(value: Any) -> None:
        answers.write(json.dumps(messages_to_plain(value)) + "\n")
        answers.flush()

    module, _, name = work.partition(":")
    getattr(importlib.import_module(module), name)(send, *arguments)


if __name__ == "__main__":
    main(sys.argv[1])
