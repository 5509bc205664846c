"""Watches the topics that the service alone may publish on: what comes there and is not ours was forged or repeated."""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from monitor.broker.probe import TRIED
from monitor.broker.signing import SigningKey, is_signed

_LOG = logging.getLogger(__name__)
_AWAITED: Final = 2000  # of ours that were not heard yet
_LOG_EVERY_S: Final = 60.0


class OwnTopics:
    """Compares what the broker delivers with what was published.

    `note` comes before each publishing; `compare` is called by the network thread. What the broker kept (retained) is
    not checked: it may be of another service, and is overwritten at each connection.

    Args:
        status: the topic of the service's own last will.
        find_keys: the keys that sign now.
    """

    def __init__(self, status: str, find_keys: Callable[[], Sequence[SigningKey]]) -> None:
        self._status, self._find_keys = status, find_keys
        self._newest: dict[str, bytes] = {}
        self._awaited: OrderedDict[bytes, None] = OrderedDict()
        self._stained: set[str] = set()
        self._lock = threading.Lock()
        self._log_at = 0.0
        self._count, self._last = 0, ""

    def note(self, topic: str, content: str) -> None:
        """We publish this now."""
        digest = _digest(topic, content.encode())
        with self._lock:
            self._newest[topic] = digest
            self._awaited[digest] = None
            while len(self._awaited) > _AWAITED:
                self._awaited.popitem(last=False)

    def compare(self, topic: str, payload: bytes, retained: bool) -> None:
        """The broker delivered this on one of our topics."""
        digest = _digest(topic, payload)
        with self._lock:
            ours = digest in self._awaited
            self._awaited.pop(digest, None)
            # each of ours comes once; the newest may come again, when the broker did not hear our acknowledgement
            if retained or ours or digest == self._newest.get(topic):
                return
            if topic in self._newest:
                self._stained.add(topic)
            if payload == TRIED:
                return  # `slopeward doctor` tells it to who called it; nobody else need be called for it
            signed = is_signed(topic, payload, self._find_keys())
            if signed and topic == self._status and b'"status":"offline"' in payload:
                return  # the last will of a predecessor
            self._count += 1
            self._last = f"{topic[:120]!r} ({'a message of ours, repeated' if signed else 'not signed by us'})"
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + _LOG_EVERY_S
            _LOG.error("somebody else published on %s; %d such messages since start", self._last, self._count)

    def take_stained(self) -> set[str]:
        """Topics on which something foreign stands now: what is true must be published again."""
        with self._lock:
            stained, self._stained = self._stained, set()
        return stained

    def status(self) -> dict[str, Any]:
        """How many foreign messages came, and where the last one did."""
        with self._lock:
            return {"foreign": self._count, "foreign_last": self._last}


def _digest(topic: str, payload: bytes) -> bytes:
    return hashlib.sha256(topic.encode() + b"\n" + payload).digest()
