"""Decide when a failing channel is tried again: backoff of one message, and pause of the whole channel."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.delivery.queries.outbox import LONGEST_WAIT

FIRST_S = 2.0
LONGEST_S = 300.0


def backoff_s(
    attempts: int,
    jitter: Callable[[], float],
    retry_after_s: float | None = None,
    longest_s: float = LONGEST_S,
    longest_retry_after_s: float = LONGEST_WAIT.total_seconds(),
) -> float:
    """Return the seconds until the next attempt: doubling from 2 s to 5 min, of which half to all are waited.

    Args:
        attempts: Number of attempts so far, from 1.
        jitter: Source of numbers in [0, 1).
        retry_after_s: Time that the channel requested. The next attempt is not earlier.
        longest_s: Where the doubling ends.
        longest_retry_after_s: The longest time that a channel may request.

    >>> backoff_s(1, lambda: 0.0), backoff_s(3, lambda: 0.5), backoff_s(50, lambda: 0.999999) < 300
    (1.0, 6.0, True)
    >>> backoff_s(1, lambda: 0.0, 30.0)
    30.0
    """
    doubled_s = min(FIRST_S * 2.0 ** min(attempts - 1, 16), longest_s)
    return max(doubled_s * (0.5 + 0.5 * jitter()), min(retry_after_s or 0.0, longest_retry_after_s))


@dataclass(slots=True)
class Circuit:
    """Pauses a channel after some failures in a row, so that not every message waits for the timeout of a dead channel.

    During the pause (the circuit is open) only urgent messages are tried. A delivered message ends the pause. After a
    restart, the failures are loaded from the outbox (`resume`).

    Attributes:
        opens_after: Number of failures in a row after which the channel pauses.
        open_until: End of the pause; None without a pause.
        failing_since: Time of the first failure since the last delivered message; None if there is none.
        refused_at: When the channel refused a message for good; None if it has delivered a message since.
    """

    opens_after: int = 3
    failures: int = 0
    open_until: datetime | None = None
    failing_since: datetime | None = None
    refused_at: datetime | None = None

    @property
    def is_broken(self) -> bool:
        """Whether people must be notified that messages by this channel do not arrive."""
        return self.refused_at is not None or self.failures >= self.opens_after

    def is_open(self, now: datetime) -> bool:
        """Return whether messages that are not urgent must wait."""
        return self.open_until is not None and now < self.open_until

    def succeed(self) -> None:
        """Note that the channel delivered a message."""
        self.failures = 0
        self.open_until = None
        self.failing_since = None
        self.refused_at = None

    def resume(self, failures: int, since: datetime | None, refused_at: datetime | None = None) -> None:
        """Continue with the failures before a restart. The channel is tried again at once."""
        self.failures = max(self.failures, failures)
        self.failing_since = self.failing_since or since
        self.refused_at = self.refused_at or refused_at

    def refuse(self, now: datetime) -> None:
        """Note that the channel refused a message for good. It does not pause, because it may take the next one."""
        self.refused_at = now

    def end_pause(self) -> None:
        """End the pause because the clock was set. The failures still count."""
        self.open_until = None

    def fail(self, now: datetime, wait_s: float, *, requested: bool = False) -> None:
        """Note a temporary failure. After several in a row, or if the channel requested it, pause for `wait_s`.

        Args:
            requested: Whether the channel requested to wait.
        """
        self.failures += 1
        self.failing_since = self.failing_since or now
        if requested or self.failures >= self.opens_after:
            self.open_until = now + timedelta(seconds=wait_s)
