"""Run a function in a child process with low priority, so that the page stays responsive.

The child sends values to its parent as lines of JSON. It continues if the page ends. `multiprocessing` is not used,
because the web process would wait for its children when it ends.
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
READ_BYTES: Final = 65536
# A low priority, because alarms come first.
NICE: Final = 10
SendLine = Callable[[Any], None]


class ChildProcess:
    """A child process that runs one function.

    Attributes:
        has_ended: Whether the child has closed its output, so that no more values follow. `lines` sets it.

    Args:
        function: `module:function`, as a name because only the child imports it. The function is called with a function
            that sends a value to the parent, and with the arguments.
        arguments: Values that can be pickled.
    """

    def __init__(self, function: str, *arguments: Any) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "monitor.worker.child_process", function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._child.stdin is not None
        self.has_ended = False
        self._received = b""
        # If the child has died, `lines` returns none.
        with suppress(BrokenPipeError), self._child.stdin as pipe:
            pickle.dump(arguments, pipe)

    def lines(self, limit_s: float) -> Iterator[Any]:
        """Yield the values that the child sends, until it ends or `limit_s` seconds have passed."""
        deadline_s = time.monotonic() + limit_s
        stdout = self._child.stdout
        assert stdout is not None
        while time.monotonic() < deadline_s:
            line, newline, remaining = self._received.partition(b"\n")
            if newline:
                self._received = remaining
                yield plain_to_messages(json.loads(line))
            elif select.select([stdout], [], [], POLL_S)[0]:
                # `readline` would move further lines to the buffer of the stream, where `select` does not find them.
                received = os.read(stdout.fileno(), READ_BYTES)
                if not received:
                    self.has_ended = True
                    return
                self._received += received

    def end(self) -> None:
        """Kill the child and the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Wait until the child ends, and discard its output."""
        if self._child.stdout is not None:
            while self._child.stdout.read(READ_BYTES):
                pass
            self._child.stdout.close()
        self._child.wait()


def main(function: str) -> None:
    """Run a function in the child: read its arguments from the standard input and send its values to the parent."""
    arguments = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - sent by the parent
    values = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Other output of the child goes to the log.
    os.dup2(2, 1)
    os.nice(NICE)

    def send(value: Any) -> None:
        values.write(json.dumps(messages_to_plain(value)) + "\n")
        values.flush()

    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(send, *arguments)


if __name__ == "__main__":
    main(sys.argv[1])
