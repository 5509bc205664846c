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

_LEVEL_NOW: Final = Template("service.unwatched.now", "{site} now {level}")
_LAST_LEVEL_OF_BLIND_SITE: Final = Template(
    "service.unwatched.unseen", "{site} cannot be seen; its last level was {level}"
)
_NOT_EVALUATED: Final = Template(
    "service.unwatched.not_evaluated", "{site} has not been evaluated since {at} (its last level was {level})"
)
_NOT_WATCHED: Final = Template("service.unwatched", "no site was evaluated from {at} to {at2}: {text}")
_NOT_WATCHED_ALONE: Final = Template("service.unwatched.alone", "no site was evaluated from {at} to {at2}")
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
# A period is reported after this time even if a site was not evaluated since, for example because of an error. Waiting
# readings delay the levels by five minutes at most.
LONGEST_WAIT_S: Final = 600.0


class UnwatchedPeriod(NamedTuple):
    """A time in which the slope was not watched."""

    begin: datetime
    end: datetime
    cause: str = ""  # empty if unknown

    def describe(self, sites: Iterable[SiteStatusRow]) -> Message:
        """Return one line with the level of each evaluated site that is not in shadow mode.

        The level of a site that is blind, or that was not evaluated since, is the last one that was stored.
        """
        begin = Timestamp.of(self.begin, "second")
        end = Timestamp.of(self.end, "second")
        texts = [self._describe_site(row) for row in sites if row["evaluated_at"] is not None and not row["shadow"]]
        return _NOT_WATCHED(at=begin, at2=end, text=join(texts)) if texts else _NOT_WATCHED_ALONE(at=begin, at2=end)

    def _describe_site(self, row: SiteStatusRow) -> Message:
        level = Term(row["level_name"] or "")
        evaluated_at = parse_time(str(row["evaluated_at"]))
        if evaluated_at < self.end:
            return _NOT_EVALUATED(site=row["site"], at=Timestamp.of(evaluated_at, "second"), level=level)
        template = _LAST_LEVEL_OF_BLIND_SITE if row["observability"] == "blind" else _LEVEL_NOW
        return template(site=row["site"], level=level)

    def is_complete(self, sites: Iterable[SiteStatusRow]) -> bool:
        """Return whether every site was evaluated since this period with all readings that waited."""
        return not any(
            row["catching_up"] or parse_time(str(row["evaluated_at"])) < self.end
            for row in sites
            if row["evaluated_at"] is not None
        )


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
        self._periods: list[UnwatchedPeriod] = []  # not reported yet, oldest first
        self._newest_evaluation_at: datetime | None = None  # of all sites

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
        """Drop periods that are not reported yet and the last decision, because another service watches."""
        self._periods.clear()
        self._last_decided = None

    def note_start(self, last_run_at: datetime | None) -> None:
        """Record the time before this start. `last_run_at` is the last heartbeat of the run before, if there is one."""
        now = self._clock()
        if last_run_at is not None and (now - last_run_at).total_seconds() > SHORTEST_NOT_RUNNING_S:
            self._add(last_run_at, now, NOT_RUNNING)

    def take(self, sites: Iterable[SiteStatusRow]) -> UnwatchedPeriod | None:
        """Return the period to report.

        None until every site was evaluated after it with all waiting readings, but at most for `LONGEST_WAIT_S`.
        """
        evaluated = [row for row in sites if row["evaluated_at"] is not None]
        if not evaluated:
            return None
        self._newest_evaluation_at = max(parse_time(str(row["evaluated_at"])) for row in evaluated)
        if not self._periods:
            return None
        period = self._periods[0]
        waited_s = (self._clock() - period.end).total_seconds()
        if waited_s < LONGEST_WAIT_S and not period.is_complete(evaluated):
            return None
        return self._periods.pop(0)

    def _add(self, begin: datetime, end: datetime, cause: str) -> None:
        if (end - begin).total_seconds() <= SHORTEST_S:
            return
        if self._periods and not self._was_evaluated_between(self._periods[-1], begin):
            earlier = self._periods.pop()
            begin = min(begin, earlier.begin)
            # The step is followed after `PROBATION_S`, so the period found first can end after this one.
            end = max(end, earlier.end)
            cause = cause or earlier.cause
        self._periods.append(UnwatchedPeriod(begin, end, cause))

    def _was_evaluated_between(self, earlier: UnwatchedPeriod, begin: datetime) -> bool:
        """Return whether a site was evaluated between the end of a period and the beginning of the next one."""
        newest_at = self._newest_evaluation_at
        return newest_at is not None and earlier.end <= newest_at and earlier.end < begin
