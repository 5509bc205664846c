"""Sockets between paho and the network: one that reads ahead, and one that leaves out messages of some sites.

Paho asks the system for each part of a message, four times and more for one. Each time it gives up the interpreter, and
waits for the turn of the writer to end where that one computes.

MQTT has no filter for "all but these": the process that keeps what no site file names gets everything. To read a
message and drop it takes 60 µs of processor and more, nearly as much as to store it; to leave it out here takes 18.
"""

from collections.abc import Collection
from typing import Any, Final

from monitor.ingest.message import ROOT

PIECE_BYTES: Final = 1 << 20  # one memory for all of them: a large message comes in few turns of the interpreter
_PUBLISH: Final = 3  # type of a packet, in the upper half of its first byte
_QOS_BITS: Final = 0x06
_MORE: Final = 0x80  # of a byte of a length: another one follows
_LENGTH_BYTES: Final = 4
_PREFIX: Final = ROOT.encode()


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
            self._end = self._fill()
            self._at = 0
        found = self._piece[self._at : min(self._at + size, self._end)]
        self._at += len(found)
        return found

    def _fill(self) -> int:
        return int(self._wrapped.recv_into(self._piece))


class FilteredSocket(BufferedSocket):
    """The same without the messages of QoS 0 of some sites."""

    def __init__(self, wrapped: Any, sites: Collection[str]) -> None:
        super().__init__(wrapped)
        self._sites = frozenset(site.encode() for site in sites)
        self._raw = bytearray()  # not looked at yet: the beginning of a packet
        self._clean = bytearray()
        self._pass = 0  # bytes of a packet that is let through and has not come whole

    @property
    def ahead(self) -> int:
        """Bytes that were read from the network, are let through, and nobody has asked for yet."""
        return len(self._clean)

    def recv(self, size: int) -> bytes | memoryview:
        """At most so many bytes; raises BlockingIOError where there are none now, empty where the connection ended."""
        if not self._clean:
            count = self._fill()
            if not count:
                return b""
            self._raw += self._piece[:count]
            self._sift()
            if not self._clean:
                raise BlockingIOError
        found = bytes(self._clean[:size])
        del self._clean[:size]
        return found

    def _sift(self) -> None:
        """Move what may be read; whole messages that are left out go, and the beginning of one waits."""
        raw, at, end = self._raw, 0, len(self._raw)
        while at < end:
            if self._pass:
                take = min(self._pass, end - at)
                self._clean += raw[at : at + take]
                self._pass, at = self._pass - take, at + take
                continue
            length, body = 0, at + 1
            while body < end and body - at <= _LENGTH_BYTES:
                byte = raw[body]
                length |= (byte & ~_MORE) << 7 * (body - at - 1)
                body += 1
                if not byte & _MORE:
                    break
            else:
                if body - at <= _LENGTH_BYTES:
                    break  # its length has not come whole
            first = raw[at]
            if first >> 4 != _PUBLISH or first & _QOS_BITS:
                self._pass = body + length - at
                continue
            if end < body + length:
                if end - body < 2 or end - body < 2 + (raw[body] << 8 | raw[body + 1]):
                    break  # its topic has not come whole
                if not self._is_out(raw, body):
                    self._pass = body + length - at
                    continue
                break  # it goes when it is here
            if self._is_out(raw, body):
                at = body + length
            else:
                self._pass = body + length - at
        del raw[:at]

    def _is_out(self, raw: bytearray, body: int) -> bool:
        begin = body + 2
        topic = raw[begin : begin + (raw[body] << 8 | raw[body + 1])]
        if not topic.startswith(_PREFIX):
            return False
        site, mark, _ = topic[len(_PREFIX) :].partition(b"/")
        return bool(mark) and bytes(site) in self._sites
