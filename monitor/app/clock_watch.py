"""Follows the clock: after a step or a suspension waiting goes on from there; stations may say that it is wrong."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from monitor.app.alarms import ServiceAlarms, make_alarm
from monitor.app.checks import health
from monitor.app.checks.machine import is_synchronised
from monitor.app.clock import (
    READ_WITHIN,
    STEP_S,
    ClockStep,
    ServiceClock,
    describe_step,
    estimate_offset,
)
from monitor.app.evaluation_loop import EvaluationLoop
from monitor.app.schedule import Schedule
from monitor.delivery.dispatcher import Dispatcher
from monitor.ingest.pipeline import LastReading
from monitor.ingest.service import Ingest
from monitor.readings.queries.clock_steps import withdraw_future
from monitor.sites.records import Site
from monitor.storage.clock_steps import set_back
from monitor.storage.engine import Database
from monitor.text.message import Template

_CHECK_TIME_SERVICE: Final = Template(
    "service.clock.look_at", "{text}: look at its time service; all waiting times go on"
)
_FITS: Final = Template("service.clock.fits", "the time stamps of the stations fit the clock of this machine")
_BY_STATIONS: Final = Template(
    "service.clock.by_stations", "cannot see: decide. {text}; decisions go by the stations' time"
)
_CANNOT_SEE: Final = Template("service.clock.cannot_see", "cannot see: decide. {text}")

log = logging.getLogger(__name__)
WAKING_S: Final = 30.0  # so long after a suspension, stations and broker are given time to reach us again


class ClockJumpGuard:
    """Whether the present jumped a moment ago: the stamps of progress made before were made by another time."""

    def __init__(self, now: datetime) -> None:
        self._seen, self._jumped_s = (now, time.monotonic()), float("-inf")

    def has_jumped(self, now: datetime) -> bool:
        """Whether it jumped since the last look, or within the time after which a thread is overdue."""
        now_s = time.monotonic()
        before, before_s = self._seen
        self._seen = now, now_s
        if abs((now - before).total_seconds() - (now_s - before_s)) > STEP_S:
            self._jumped_s = now_s
        return now_s - self._jumped_s < health.OVERDUE_S


@dataclass(kw_only=True)
class ClockWatch:
    """Sets what waits anew when the clock moved; a clock that is no `ServiceClock` never does."""

    db: Database
    clock: Callable[[], datetime]
    sites: Mapping[str, Site]
    alarms: ServiceAlarms
    ingest: Ingest
    evaluation: EvaluationLoop
    dispatcher: Dispatcher
    schedule: Schedule
    _steps: list[ClockStep] = field(default_factory=list)  # of the clock, not acted on yet

    def follow(self) -> None:
        """Set waiting times anew after a step of the clock; ask whether many stations say that ours is wrong."""
        self.go_on_after_suspension()
        if isinstance(self.clock, ServiceClock):
            self._steps += self.clock.take_steps()
        while self._steps:
            self._take_step(self._steps[0])
            del self._steps[0]  # not before: a database that is away has it taken again
        since, before = self.clock() - READ_WITHIN, self._list_last_readings()
        ahead_s = {site: [one.ahead_s for one in ones if one.received_at >= since] for site, ones in before.items()}
        offset = estimate_offset(
            {site: ones for site, ones in ahead_s.items() if ones},
            is_synchronised(),
            {site: [one.ahead_s for one in ones] for site, ones in before.items()},
        )
        if offset is None:
            if isinstance(self.clock, ServiceClock) and self.clock.correction_s != 0.0:
                return  # until somebody sets the clock
            for key in ("clock:stations", "clock:behind"):
                self.alarms.clear(key, _FITS())
            return
        if isinstance(self.clock, ServiceClock) and not offset.is_doubted and self.clock.confirm(offset.behind_s):
            return  # a step that was still doubted: the stations saw it as well
        if offset.is_ours and isinstance(self.clock, ServiceClock):
            self.clock.correct(offset.behind_s)
            self.clock.take_steps()
            with self.db.write() as c:
                withdrawn = withdraw_future(c, self.clock())
            log.critical(
                "%s; decisions go by the time of the stations, %d readings count again", offset.text, withdrawn
            )
            self.schedule.restart_pauses()
            self.ingest.forget_last_readings()
            self.alarms.open("clock:behind", _BY_STATIONS(text=offset.text), 2)
        else:
            self.alarms.open("clock:stations", _CANNOT_SEE(text=offset.text), level=2)

    def _list_last_readings(self) -> dict[str, list[LastReading]]:
        found: dict[str, list[LastReading]] = {}
        for (site, station), one in self.ingest.list_last_readings().items():
            if site in self.sites and self.sites[site].station(station) is not None:
                found.setdefault(site, []).append(one)
        return found

    def go_on_after_suspension(self) -> None:
        """The machine was suspended: decide and deliver at once; the supervisor tells the gap."""
        for suspension in self.clock.take_suspensions() if isinstance(self.clock, ServiceClock) else ():
            log.critical("the machine was suspended from %s to %s", *suspension)
            self.ingest.expect_more(WAKING_S)
            self.evaluation.mark(frozenset(self.sites))
            self.dispatcher.forget_times()
            self.schedule.run_overdue()

    def _take_step(self, step: ClockStep) -> None:
        reason = describe_step(step)
        log.critical("%s; waiting times go on from there", reason)
        with self.db.write() as c:
            if step.seconds < 0:
                log.warning("moved back: %s", set_back(c, -step.seconds, self.clock()))
            else:  # what came while the step was doubted lay in the future
                log.warning("count again: %d readings", withdraw_future(c, self.clock(), step.jumped_over[0]))
        self.ingest.forget_last_readings()
        self.evaluation.mark(frozenset(self.sites))
        self.dispatcher.forget_times()
        self.schedule.restart_pauses()
        self.alarms.open("clock:step", _CHECK_TIME_SERVICE(text=reason), level=2)
        # it has happened and is over: the next one is a message of its own
        self.alarms.put(replace(make_alarm("clock:step", 0, reason, is_open=False), notify=False))
