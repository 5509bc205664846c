"""Act on changes of the clock: a step, a suspension of the machine, or stations that disagree with our clock."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from monitor.app import heartbeats
from monitor.app.checks.live import StationClocks
from monitor.app.checks.machine import is_synchronised
from monitor.app.evaluation_loop import EvaluationLoop
from monitor.app.schedule import Schedule
from monitor.app.self_monitoring.alarms import AlarmQueue, make_alarm
from monitor.app.self_monitoring.clock import (
    READ_WITHIN,
    STEP_S,
    ClockOffset,
    ClockStep,
    ServiceClock,
    describe_step,
    estimate_offset,
)
from monitor.delivery.dispatcher import Dispatcher
from monitor.ingest.pipeline import LastReading
from monitor.ingest.service import Ingest
from monitor.readings.queries.clock_steps import withdraw_future
from monitor.sites.records import Site
from monitor.storage.clock_steps import set_back
from monitor.storage.engine import Database
from monitor.text.message import Template

_CHECK_TIME_SERVICE: Final = Template(
    "service.clock.check_time_service", "{text}: check its time service; all waiting times continue from the new time"
)
_BY_STATIONS: Final = Template(
    "service.clock.by_stations", "our clock seems to be wrong. {text}. Decisions use the time of the stations"
)
_DISAGREEING: Final = Template("service.clock.disagreeing", "readings with times in the future do not count. {text}")

log = logging.getLogger(__name__)
STEP_KEY: Final = "clock:step"
URGENT: Final = 2
# After a suspension, stations and broker need this long to reach the service again.
WAKING_S: Final = 30.0
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)


class ClockJumpGuard:
    """Detect that the service clock jumped a moment ago, so that ages computed from earlier times are wrong."""

    def __init__(self, now: datetime) -> None:
        self._last = now
        self._last_s = time.monotonic()
        self._jumped_s = float("-inf")

    def has_jumped(self, now: datetime) -> bool:
        """Return whether the time of the service clock jumped within `heartbeats.OVERDUE_S`."""
        now_s = time.monotonic()
        if abs((now - self._last).total_seconds() - (now_s - self._last_s)) > STEP_S:
            self._jumped_s = now_s
        self._last = now
        self._last_s = now_s
        return now_s - self._jumped_s < heartbeats.OVERDUE_S


@dataclass(kw_only=True)
class ClockWatch:
    """Restart waiting times after a change of the clock. Do nothing with another clock, such as that of a test.

    Attributes:
        station_clocks: Whether the stations disagree with our clock; facts of the checks `clock.*`.
    """

    db: Database
    clock: Callable[[], datetime]
    sites: Mapping[str, Site]
    alarms: AlarmQueue
    ingest: Ingest
    evaluation: EvaluationLoop
    dispatcher: Dispatcher
    schedule: Schedule
    station_clocks: StationClocks = field(default_factory=StationClocks)
    _steps: list[ClockStep] = field(default_factory=list)  # not handled yet
    # Readings that were received earlier are compared with the clock as it was before a step or a correction.
    _compare_since: datetime = _ALWAYS
    # Whether readings are still flagged `future` that a correction of the clock has put into the past.
    _must_withdraw_flags: bool = False

    def check(self) -> None:
        """Handle steps and suspensions, then compare our clock with the times of the stations."""
        self.handle_suspensions()
        if isinstance(self.clock, ServiceClock):
            self._steps += self.clock.take_steps()
        while self._steps:
            self._handle_step(self._steps[0])
            # Removed afterwards: if the database is unreachable, the next call handles the step again.
            del self._steps[0]
        if self._must_withdraw_flags:
            self._withdraw_flags()
        self._compare_with_stations()

    def _compare_with_stations(self) -> None:
        offset = self._estimate_offset()
        service_clock = self.clock if isinstance(self.clock, ServiceClock) else None
        if offset is None:
            # A correction, and its alarm, last until somebody sets the clock.
            if service_clock is None or service_clock.correction_s == 0.0:
                self.station_clocks = StationClocks()
            return
        if service_clock is not None and not offset.has_fitting_sites and service_clock.confirm(offset.behind_s):
            # The stations confirm a step of our clock that was still on probation.
            return
        if offset.is_ours and service_clock is not None:
            self._correct_clock(service_clock, offset)
        else:
            self.station_clocks = self.station_clocks._replace(disagreeing=_DISAGREEING(text=offset.text))

    def _estimate_offset(self) -> ClockOffset | None:
        since = self.clock() - READ_WITHIN
        readings = self._list_last_readings()
        recent: dict[str, list[float]] = {}
        for site, last_readings in readings.items():
            ahead_s = [reading.ahead_s for reading in last_readings if reading.received_at >= since]
            if ahead_s:
                recent[site] = ahead_s
        all_received = {
            site: [reading.ahead_s for reading in last_readings] for site, last_readings in readings.items()
        }
        return estimate_offset(recent, is_synchronised(), all_received)

    def _list_last_readings(self) -> dict[str, list[LastReading]]:
        """Return the last reading of each declared station since the last change of the clock, by site."""
        by_site: dict[str, list[LastReading]] = {}
        for (site, station), reading in self.ingest.list_last_readings().items():
            is_declared = site in self.sites and self.sites[site].station(station) is not None
            if is_declared and reading.received_at >= self._compare_since:
                by_site.setdefault(site, []).append(reading)
        return by_site

    def _correct_clock(self, clock: ServiceClock, offset: ClockOffset) -> None:
        clock.correct(offset.behind_s)
        self._forget_last_readings()
        self.schedule.restart_pauses()
        self.station_clocks = StationClocks(behind=_BY_STATIONS(text=offset.text))
        log.critical("%s; decisions use the time of the stations", offset.text)
        self._must_withdraw_flags = True
        self._withdraw_flags()

    def _withdraw_flags(self) -> None:
        """Use the readings that were in the future of the clock before its correction."""
        with self.db.write() as c:
            withdrawn = withdraw_future(c, self.clock())
        # Set afterwards: if the database is unreachable, the next call of `check` tries again.
        self._must_withdraw_flags = False
        log.warning("%d readings count again", withdrawn)

    def _forget_last_readings(self) -> None:
        """Use no reading that was received before a change of the clock for another correction.

        Ingest may store such a reading later, for example because the database is busy.
        """
        self._compare_since = self.clock()
        self.ingest.forget_last_readings()

    def handle_suspensions(self) -> None:
        """Evaluate and deliver at once after a suspension of the machine. The supervisor reports its duration."""
        if not isinstance(self.clock, ServiceClock):
            return
        for suspension in self.clock.take_suspensions():
            log.critical("the machine was suspended from %s to %s", suspension.begin, suspension.end)
            self.ingest.expect_more(WAKING_S)
            self.evaluation.mark(frozenset(self.sites))
            self.dispatcher.forget_times()
            self.schedule.run_overdue()

    def _handle_step(self, step: ClockStep) -> None:
        reason = describe_step(step)
        log.critical("%s; waiting times continue from there", reason)
        with self.db.write() as c:
            if step.seconds < 0:
                log.warning("times moved back: %s", set_back(c, -step.seconds, self.clock()))
            else:
                # Readings that were received while the step was on probation had times in the future.
                withdrawn = withdraw_future(c, self.clock(), step.jumped_over[0])
                log.warning("%d readings count again", withdrawn)
        self._forget_last_readings()
        self.evaluation.mark(frozenset(self.sites))
        self.dispatcher.forget_times()
        self.schedule.restart_pauses()
        # The step has happened and is over: the alarm ends without a message, and the next step is a new alarm.
        self.alarms.open(STEP_KEY, _CHECK_TIME_SERVICE(text=reason), URGENT)
        self.alarms.put(replace(make_alarm(STEP_KEY, 0, reason, is_open=False), notify=False))
