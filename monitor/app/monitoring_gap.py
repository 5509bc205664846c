"""Times in which nobody watched, or no readings came in: core hung, the machine slept, its clock jumped, an outage."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from monitor.app.clock import PAUSE_S, ServiceClock, describe_step
from monitor.ingest.queries.gaps import Outage, add_outage
from monitor.sites.views import SiteStatusRow
from monitor.storage.engine import Database
from monitor.storage.service_state import find_heartbeat, write_heartbeat
from monitor.text.instants import parse_time
from monitor.text.message import SENTENCE, Message, Template, Term, Timestamp, join

GOOD: Final = "ingest.good"  # stamp: the last instant at which all was read
STAMP_S: Final = 15.0
SHORTEST_S: Final = 30.0  # a shorter one is the time of a restart
SERVICE, BROKER, DATABASE = "service", "broker", "database"


class OutageWatch:
    """Follows `Ingest.status`; one thread calls `follow`."""

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db, clock
        self._good_at: datetime | None = None
        self._stamped_at: datetime | None = None
        self._back_at: datetime | None = None
        self._has_looked = False  # since all was read
        self._cause = SERVICE  # or a machine that was asleep
        self._has_begun = False

    def follow(self, status: Mapping[str, Any]) -> None:
        """Look once.

        Raises:
            StoreBusyError: the database is away for the moment; the same is written at the next look.
        """
        now = self._clock()
        if not self._has_begun:
            known = self._db.run_read(find_heartbeat, GOOD)
            self._good_at, self._has_begun = None if known is None else known[0], True
        is_long = self._good_at is not None and (now - self._good_at).total_seconds() >= SHORTEST_S
        if is_long and not self._has_looked:
            self._back_at = None  # the machine was asleep
        self._has_looked = True
        live = [there for name, there in status["connected"].items() if name.startswith("live")]
        is_here = all(live) and status["database_busy_since"] is None
        if not is_here:
            self._back_at = None
            if self._stamped_at is not None:  # it ran, and all was read, before this
                self._cause = DATABASE if status["database_busy_since"] is not None else BROKER
        elif self._back_at is None:
            self._back_at = now
        if not (is_here and status["drained"]):
            return
        ended = self._find_ended(now) if is_long else None
        if ended or self._stamped_at is None or (now - self._stamped_at).total_seconds() >= STAMP_S:
            with self._db.write() as c:
                if ended:
                    add_outage(c, ended)
                write_heartbeat(c, GOOD, {}, now)
            self._stamped_at = now
        self._good_at, self._cause, self._has_looked = now, SERVICE, False

    def _find_ended(self, now: datetime) -> Outage | None:
        """The outage that is over now; None where all was there throughout, and there only was much to read."""
        back_at = self._back_at or now
        if self._good_at is None or back_at <= self._good_at:
            return None
        return Outage(self._cause, self._good_at, back_at, now)


_NOW: Final = Template("service.unwatched.now", "{site} now {level}")
_UNSEEN: Final = Template("service.unwatched.unseen", "{site} cannot be seen, {level} is of the time before")
_NOBODY: Final = Template("service.unwatched", "nobody watched from {at} to {at2}: {text}")

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
        """Note what has ended."""
        now = self._clock()
        for suspension in self._clock.take_suspensions():
            self._note(*suspension, SUSPENDED)
        for step in self._clock.take_steps():
            if step.seconds > 0:
                why = describe_step(step)
                self._note(*step.jumped_over, SENTENCE(text=why))
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
        if parse_time(min(str(row["evaluated_at"]) for row in seen)) < self._gap.end:
            return None
        taken, self._gap = self._gap, None
        return taken

    def _note(self, begin: datetime, end: datetime, why: str) -> None:
        if (end - begin).total_seconds() <= WORTH_S:
            return
        if self._gap is not None:  # not told yet: nothing was decided between the two
            begin, why = min(begin, self._gap.begin), why or self._gap.why
        self._gap = UnwatchedPeriod(begin, end, why)
