"""Times in which nobody watched: core hung, the service did not run, the machine slept, or its clock jumped."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from forecasting.message import Message, Template, Term, Timestamp, join
from monitor.domain.instants import parse
from monitor.service.clock import PAUSE_S, ServiceClock, describe_step
from monitor.store.schema.view_rows import SiteStatusRow

_NOW: Final = Template("service.unwatched.now", "{site} now {level}")
_UNSEEN: Final = Template("service.unwatched.unseen", "{site} cannot be seen, {level} is of the time before")
_NOBODY: Final = Template("service.unwatched", "nobody watched from {at} to {at2}: {text}")
_SENTENCE: Final = Template("text.sentence", "{text}.")

WORTH_S: Final = PAUSE_S  # a gap in which nobody watched that is worth a message
DOWN_WORTH_S: Final = 120.0  # a restart by hand takes less
SUSPENDED: Final = Template(
    "service.unwatched.suspended",
    "The machine was suspended (its lid, power saving, a virtual machine put to sleep): let it never rest.",
)()
NOT_RUNNING: Final = Template(
    "service.unwatched.not_running", "The service was not running on this machine in that time."
)()


class UnwatchedPeriod(NamedTuple):
    """A time in which nobody watched, and why, where that is known."""

    begin: datetime
    end: datetime
    why: str = ""

    def describe(self, levels: Iterable[SiteStatusRow]) -> Message:
        """One line with the level of each site; one that cannot be seen has no level of now."""
        now = join(
            [
                (_UNSEEN if row["observability"] == "blind" else _NOW)(
                    site=row["site"], level=Term(row["level_name"] or "")
                )
                for row in levels
            ]
        )
        return _NOBODY(at=Timestamp.of(self.begin, "second"), at2=Timestamp.of(self.end, "second"), text=now)


class MonitoringGap:
    """Follows core and the clock of the machine; holds the gap that people have not been told of.

    Args:
        clock: the service's clock, looked at here alone: what it tells of steps is taken.
    """

    def __init__(self, clock: ServiceClock) -> None:
        self._clock = clock
        self._silent: tuple[float, datetime] | None = None  # core does not go round since then
        self._gap: UnwatchedPeriod | None = None

    def update(self, now_s: float, beat_s: float, *, beats: bool) -> None:
        """Note what has ended.

        Args:
            now_s: monotonic seconds.
            beat_s: when core went round last.
            beats: whether it does so now.
        """
        now = self._clock()
        for suspension in self._clock.take_suspensions():
            self._note(*suspension, SUSPENDED)
        for step in self._clock.take_steps():
            if step.seconds > 0:
                why = describe_step(step)
                self._note(*step.jumped_over, _SENTENCE(text=why))
        if not beats and self._silent is None:
            self._silent = beat_s, now - timedelta(seconds=now_s - beat_s)
        elif beats and self._silent is not None:
            since_s, since_at = self._silent
            self._silent = None
            if now_s - since_s > WORTH_S:
                self._note(since_at, now, "")

    def forget(self) -> None:
        """Somebody else watched."""
        self._gap = None

    def note_start(self, seen_at: datetime | None) -> None:
        """Note the time before this service: the last that the one before it wrote; None where there was none."""
        if seen_at is not None and (self._clock() - seen_at).total_seconds() > DOWN_WORTH_S:
            self._note(seen_at, self._clock(), NOT_RUNNING)

    def take(self, sites: Iterable[SiteStatusRow]) -> UnwatchedPeriod | None:
        """The gap to tell, once every site was evaluated after its end with what had waited; rows of `site_status`."""
        seen = [row for row in sites if row["evaluated_at"] is not None]
        if self._gap is None or not seen or any(row["catching_up"] for row in seen):
            return None
        if parse(min(str(row["evaluated_at"]) for row in seen)) < self._gap.end:
            return None
        taken, self._gap = self._gap, None
        return taken

    def _note(self, begin: datetime, end: datetime, why: str) -> None:
        if (end - begin).total_seconds() <= WORTH_S:
            return
        if self._gap is not None:  # not told yet: nothing was decided between the two
            begin, why = min(begin, self._gap.begin), why or self._gap.why
        self._gap = UnwatchedPeriod(begin, end, why)
