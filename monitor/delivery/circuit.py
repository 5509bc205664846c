"""When to try a failing channel again: backoff of one message, circuit of the whole channel."""

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
    most_s: float = LONGEST_WAIT.total_seconds(),
) -> float:
    """Seconds until the next attempt: doubling from 2 s to 5 min, spread over half to the full value.

    Args:
        jitter: a source of numbers in [0, 1).
        retry_after_s: what the channel itself asked for; never undercut, but cut at `most_s`.
        longest_s: where the doubling ends.
        most_s: the longest wait that a channel may ask for.

    >>> backoff_s(1, lambda: 0.0), backoff_s(3, lambda: 0.5), backoff_s(50, lambda: 0.999999) < 300
    (1.0, 6.0, True)
    >>> backoff_s(1, lambda: 0.0, 30.0)
    30.0
    """
    longest = min(FIRST_S * 2.0 ** min(attempts - 1, 16), longest_s)
    return max(longest * (0.5 + 0.5 * jitter()), min(retry_after_s or 0.0, most_s))


@dataclass(slots=True)
class Circuit:
    """Opens after some failures in a row, so that a dead channel costs one time-out and not one per message.

    While open only an urgent message may try; a success closes it. That a channel fails outlives a restart: the
    messages that wait for their next try say it.
    """

    opens_after: int = 3
    failures: int = 0
    open_until: datetime | None = None
    failing_since: datetime | None = None  # None = the channel is not known to fail
    refused_at: datetime | None = None  # it refused a message for good, and has taken none since

    @property
    def is_broken(self) -> bool:
        """Whether people must hear that messages by this channel arrive nowhere."""
        return self.refused_at is not None or self.failures >= self.opens_after

    def is_open(self, now: datetime) -> bool:
        """Whether ordinary messages must wait."""
        return self.open_until is not None and now < self.open_until

    def succeed(self) -> None:
        """The channel took a message."""
        self.failures, self.open_until, self.failing_since, self.refused_at = 0, None, None, None

    def resume(self, failures: int, since: datetime | None, refused_at: datetime | None = None) -> None:
        """Go on from before a restart: the channel failed so often, at least since an instant; it may try at once."""
        self.failures, self.failing_since = max(self.failures, failures), self.failing_since or since
        self.refused_at = self.refused_at or refused_at

    def refuse(self, now: datetime) -> None:
        """A message was refused for good: the next ones may be taken, and nothing rests."""
        self.refused_at = now

    def forget_rest(self) -> None:
        """Rest no longer, because the clock was set; that the channel fails stays known."""
        self.open_until = None

    def fail(self, now: datetime, wait_s: float, *, requested: bool = False) -> None:
        """A passing failure: after several in a row, or when it asked, rest as long as the message waits."""
        self.failures += 1
        self.failing_since = self.failing_since or now
        if requested or self.failures >= self.opens_after:
            self.open_until = now + timedelta(seconds=wait_s)
