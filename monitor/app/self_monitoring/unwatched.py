"""Report times in which the slope was not watched, once they are over.

The causes are a core that hung, a machine that was suspended, a clock that jumped, or a service that did not run. The
supervisor reports them, because it also runs while the core does not.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from monitor.app.self_monitoring.clock import PAUSE_S, ServiceClock, describe_step
from monitor.sites.views import SiteStatusRow
from monitor.text.instants import parse_time
from monitor.text.message import SENTENCE, Message, Template, Term, Timestamp, join

_NOW: Final = Template("service.unwatched.now", "{site} now {level}")
_BLIND: Final = Template("service.unwatched.unseen", "{site} cannot be seen; its last level was {level}")
_NOBODY: Final = Template("service.unwatched", "the slope was not watched from {at} to {at2}: {text}")
SUSPENDED: Final = Template(
    "service.unwatched.suspended",
    "The machine was suspended (its lid, power saving, or a virtual machine put to sleep). Disable suspension.",
)()
NOT_RUNNING: Final = Template(
    "service.unwatched.not_running", "The service was not running on this machine in that time."
)()

SHORTEST_S: Final = PAUSE_S
# A shorter time without a running service, or while the core is replaced, counts as a restart by a person.
SHORTEST_NOT_RUNNING_S: Final = 120.0


class UnwatchedPeriod(NamedTuple):
    """A time in which the slope was not watched."""

    begin: datetime
    end: datetime
    cause: str = ""  # empty if unknown

    def describe(self, levels: Iterable[SiteStatusRow]) -> Message:
        """Return one line with the level of each site. The level of a blind site is the last one that was stored."""
        texts = [
            (_BLIND if row["observability"] == "blind" else _NOW)(site=row["site"], level=Term(row["level_name"] or ""))
            for row in levels
        ]
        return _NOBODY(at=Timestamp.of(self.begin, "second"), at2=Timestamp.of(self.end, "second"), text=join(texts))


class _Moment(NamedTuple):
    monotonic_s: float
    at: datetime


class UnwatchedPeriods:
    """Follow the heartbeats of the core and the clock of the machine.

    Args:
        clock: A clock that nothing else uses, because `update` removes its steps and suspensions.
    """

    def __init__(self, clock: ServiceClock) -> None:
        self._clock = clock
        self._last_decided: _Moment | None = None
        self._shortest_s = SHORTEST_S
        self._period: UnwatchedPeriod | None = None  # not reported yet

    def update(self, now_s: float, last_beat_s: float, *, is_deciding: bool) -> None:
        """Record what has ended since the last call. Times are monotonic seconds.

        Args:
            last_beat_s: Time of the last heartbeat of the core.
            is_deciding: Whether the core sends heartbeats and has stored an evaluation since its start. A core that
                ends again before it has stored one does not end an unwatched period.
        """
        now = self._clock()
        for suspension in self._clock.take_suspensions():
            self._add(suspension.begin, suspension.end, SUSPENDED)
        for step in self._clock.take_steps():
            if step.seconds > 0:
                begin, end = step.jumped_over
                self._add(begin, end, SENTENCE(text=describe_step(step)))
        if not is_deciding:
            return
        if self._last_decided is not None and last_beat_s - self._last_decided.monotonic_s > self._shortest_s:
            self._add(self._last_decided.at, now, "")
        self._last_decided = _Moment(last_beat_s, now - timedelta(seconds=now_s - last_beat_s))
        self._shortest_s = SHORTEST_S

    def note_replacement(self) -> None:
        """Record that the core is replaced because of new files. A short pause is then no unwatched period."""
        self._shortest_s = SHORTEST_NOT_RUNNING_S

    def forget(self) -> None:
        """Drop a period that is not reported yet and the last decision, because another service watches."""
        self._period = None
        self._last_decided = None

    def note_start(self, last_run_at: datetime | None) -> None:
        """Record the time before this start. `last_run_at` is the last heartbeat of the run before, if there is one."""
        now = self._clock()
        if last_run_at is not None and (now - last_run_at).total_seconds() > SHORTEST_NOT_RUNNING_S:
            self._add(last_run_at, now, NOT_RUNNING)

    def take(self, sites: Iterable[SiteStatusRow]) -> UnwatchedPeriod | None:
        """Return the period to report. None until every site was evaluated after it with all waiting readings."""
        evaluated = [row for row in sites if row["evaluated_at"] is not None]
        if self._period is None or not evaluated or any(row["catching_up"] for row in evaluated):
            return None
        if parse_time(min(str(row["evaluated_at"]) for row in evaluated)) < self._period.end:
            return None
        period = self._period
        self._period = None
        return period

    def _add(self, begin: datetime, end: datetime, cause: str) -> None:
        if (end - begin).total_seconds() <= SHORTEST_S:
            return
        if self._period is not None:
            # Nothing was evaluated between the two periods, so they are one.
            begin = min(begin, self._period.begin)
            # A step of the clock is found a minute after it happened, so the earlier period may have ended later.
            end = max(end, self._period.end)
            cause = cause or self._period.cause
        self._period = UnwatchedPeriod(begin, end, cause)
