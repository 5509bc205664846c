"""The queue between the network and the writer: live messages first, what is caught up on fills the rest of a batch."""

import threading
import time
from collections import deque
from typing import Final

from monitor.ingest.message import BrokerMessage

BATCH_MESSAGES: Final = 500  # that many end the wait
BATCH_MOST: Final = 2000  # that many are taken when more came while the last batch was written: fewer disk syncs
BATCH_BYTES: Final = 4 << 20
BATCH_WAIT_S: Final = 0.025
PAUSE_S: Final = 0.02  # between two batches, however slow commits are: other writers get their turn
_YIELD_S: Final = 0.005  # the same where a full batch waits
_BACKFILL_SHARE: Final = 200  # of a batch, however much live data waits: catching up never stands still
_BACKFILL_BYTES: Final = 5 << 18  # a batch without live data ends beyond it: two large messages
_BACKFILL_SHARE_BYTES: Final = 1 << 18  # of a batch with live data, one message of backfill at least


class Inbox:
    """Two queues and one bell; `put` never blocks the network thread.

    The broker bounds the queues: it sends no more than Receive Maximum unacknowledged messages. Messages of QoS 0 are
    not bounded by it, so beyond `unbounded_limit` they are dropped, and counted.
    """

    def __init__(self, unbounded_limit: int = 20_000) -> None:
        self._live: deque[BrokerMessage] = deque()
        self._backfill: deque[BrokerMessage] = deque()
        self._bell = threading.Event()
        self._rung_at_s = 0.0  # since when something waits
        self._limit = unbounded_limit
        self.dropped_qos0 = 0

    def put(self, message: BrokerMessage) -> None:
        """Add a message and ring the bell."""
        queue = self._live if message.client == "live" else self._backfill
        if message.qos == 0 and len(queue) >= self._limit:
            self.dropped_qos0 += 1
            return
        queue.append(message)
        self.ring()

    def ring(self) -> None:
        """Wake the writer."""
        if not self._bell.is_set():
            self._rung_at_s = time.monotonic()
            self._bell.set()

    def __len__(self) -> int:
        return len(self._live) + len(self._backfill)

    def is_due(self) -> bool:
        """Whether a batch is nearly ready to be taken, so that nothing else should be begun."""
        due_at_s = self._rung_at_s + BATCH_WAIT_S - PAUSE_S
        return self._bell.is_set() and (len(self) >= BATCH_MESSAGES or time.monotonic() >= due_at_s)

    def take(self, timeout_s: float) -> list[BrokerMessage]:
        """A batch in order of reception, after 500 messages or 50 ms: what waits, at most 2,000 messages or 4 MiB.

        The 50 ms count from the first of them: what came while the last batch was written has waited already. Between
        two batches the database is left to other writers for a moment.
        """
        began_at_s = time.monotonic()
        if not self._bell.wait(timeout_s):
            return []
        deadline = max(self._rung_at_s + BATCH_WAIT_S, began_at_s + PAUSE_S)
        while 0 < len(self) < BATCH_MESSAGES and time.monotonic() < deadline:
            time.sleep(0.005)
        if (early_s := began_at_s + _YIELD_S - time.monotonic()) > 0:
            time.sleep(early_s)
        self._bell.clear()  # before looking: what comes now rings again
        batch: list[BrokerMessage] = []
        reserved = min(_BACKFILL_SHARE, len(self._backfill))
        backfill_bytes = _BACKFILL_SHARE_BYTES if self._live else _BACKFILL_BYTES
        for queue, most, room in (
            (self._live, BATCH_MOST - reserved, BATCH_BYTES),
            (self._backfill, BATCH_MOST, backfill_bytes),
        ):
            while queue and len(batch) < most and room > 0:
                message = queue.popleft()
                room -= len(message.payload)  # noqa: PLW2901
                batch.append(message)
        if len(self):
            self._bell.set()
        return batch
