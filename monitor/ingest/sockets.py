"""A socket between paho and the network that reads ahead.

Paho asks the system for each part of a message, four times and more for one. Each time it gives up the interpreter, and
waits for the turn of the writer to end where that one computes.
"""

from typing import Any, Final

PIECE_BYTES: Final = 1 << 20  # one memory for all of them: a large message comes in few turns of the interpreter


class BufferedSocket:
    """A connected socket that is read in large pieces, as paho uses one."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped
        self._piece = memoryview(bytearray(PIECE_BYTES))
        self._at = self._end = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    @property
    def ahead(self) -> int:
        """Bytes that were read from the network and nobody has asked for yet."""
        return self._end - self._at

    def pending(self) -> int:
        """Bytes that can be read without waiting for the network."""
        inner = getattr(self._wrapped, "pending", None)
        return self.ahead + (inner() if inner is not None else 0)

    def recv(self, size: int) -> bytes | memoryview:
        """At most so many bytes, good until the next call; raises BlockingIOError where there are none now.

        They are empty where the connection ended.
        """
        if self._at == self._end:
            self._end, self._at = int(self._wrapped.recv_into(self._piece)), 0
        found = self._piece[self._at : min(self._at + size, self._end)]
        self._at += len(found)
        return found
