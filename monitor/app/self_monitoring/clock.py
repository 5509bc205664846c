"""The clock of the service, and whether it agrees with the times that stations report.

`ServiceClock` returns wall time. It ignores a step of the machine's clock that is taken back within a minute, and it
can be corrected by the times of the stations (`estimate_offset`).
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final, NamedTuple

from monitor.text.message import Figure, Message, Template, Timestamp

_SET_FORWARD: Final = Template(
    "service.clock.forward", "the clock of this machine was set forward by {n} s; it is {at} now"
)
_SET_BACK: Final = Template("service.clock.back", "the clock of this machine was set back by {n} s; it is {at} now")
_WENT_FORWARD: Final = Template(
    "service.clock.jump",
    "the clock of this machine went forward by {n} s at once; it is {at} now. Either the machine stood still (a paused "
    "virtual machine) and the slope was not watched from {at2} to {at3}, or somebody set its clock",
)
_AHEAD: Final = Template("service.clock.ahead", "{n} of {n2} stations report times about {n3} min ahead of ours")
_LOGGERS: Final = Template(
    "service.clock.loggers", "{text}, and our clock follows its reference: check clocks and time zones of the loggers"
)
_OTHERS_FIT: Final = Template(
    "service.clock.others_fit",
    "{text} at {sites}, while those of {others} fit our clock: check clocks, gateway and time zone of the loggers "
    "there first, then the clock of this machine",
)
_BEHIND: Final = Template(
    "service.clock.behind",
    "{text}: the clock of their logger network is ahead, or our clock is behind; check loggers and gateway first, then "
    "set the clock of this machine",
)

# Wall time and monotonic time differ by more than this only if somebody set the clock.
STEP_S: Final = 2.0
# A step must last this long before it is followed.
PROBATION_S: Final = 60.0
# A longer step forward may be a pause of the whole machine.
PAUSE_S: Final = 30.0
# Readings that are further ahead are flagged `future`.
AHEAD_S: Final = 300.0
# Two offsets are equal if they differ by less than this, or by less than `AGREE_FRACTION`.
AGREE_S: Final = 120.0
AGREE_FRACTION: Final = 0.05
# A correction ends when somebody sets the wall clock by about its amount: the difference is below this limit, or below
# `AGREE_FRACTION` of it.
CORRECTION_ENDS_S: Final = 60.0
# An offset counts if at least this number of stations agree, and this fraction of the stations of a site.
FEWEST_STATIONS: Final = 2
FEWEST_FRACTION: Final = 0.6
# Only readings that were received within this time count.
READ_WITHIN: Final = timedelta(minutes=15)


class ClockStep(NamedTuple):
    """A step of the wall clock that was followed.

    Attributes:
        seconds: Positive for a step forward.
        at: Time after the step.
        probation_s: How long the step lasted before it was followed.
    """

    seconds: float
    at: datetime
    probation_s: float = 0.0

    @property
    def jumped_over(self) -> tuple[datetime, datetime]:
        """Begin and end of the time that a step forward left out."""
        end = self.at - timedelta(seconds=self.probation_s)
        return end - timedelta(seconds=self.seconds), end


def describe_step(step: ClockStep) -> Message:
    """Describe a step. A long step forward has two possible causes that this process cannot distinguish."""
    if step.seconds < 0 or step.seconds <= PAUSE_S:
        template = _SET_FORWARD if step.seconds > 0 else _SET_BACK
        return template(n=Figure(abs(step.seconds), ",.0f"), at=Timestamp.of(step.at, "second"))
    begin, end = step.jumped_over
    return _WENT_FORWARD(
        n=Figure(step.seconds, ",.0f"),
        at=Timestamp.of(step.at, "second"),
        at2=Timestamp.of(begin, "second"),
        at3=Timestamp.of(end, "second"),
    )


class Suspension(NamedTuple):
    """A time in which the machine was suspended."""

    begin: datetime
    end: datetime


class Uptime(NamedTuple):
    """How long the machine has been up in seconds: without and with the time in which it was suspended."""

    awake_s: float
    elapsed_s: float


def read_uptime() -> Uptime:
    """Read CLOCK_MONOTONIC, which stops while Linux is suspended, and CLOCK_BOOTTIME, which does not."""
    if sys.platform != "linux":
        return Uptime(time.monotonic(), time.monotonic())
    return Uptime(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))


class ClockOffset(NamedTuple):
    """The offset of our clock according to many stations.

    Attributes:
        behind_s: Seconds by which our clock seems to be behind.
        is_ours: Whether our clock is probably wrong, and not those of the stations.
        text: Description for people.
        has_fitting_sites: Whether the stations of at least one other site agree with our clock.
    """

    behind_s: float
    is_ours: bool
    text: Message
    has_fitting_sites: bool = False


def estimate_offset(
    ahead_s: Mapping[str, Sequence[float]],
    synchronised: bool | None,
    all_ahead_s: Mapping[str, Sequence[float]] | None = None,
) -> ClockOffset | None:
    """Estimate from the times of readings whether our clock is behind; None if the stations do not agree on that.

    Each site counts once, with the offset on which most of its declared stations agree. At least two stations must
    agree, because one station in the future has a wrong clock of its own. Stations that agree are right only if our
    clock is wrong, or they share a fault such as a gateway or a time zone. A clock that follows a reference is not
    corrected. Another clock is corrected only if all sites with an offset agree and no site fits our clock: after a
    correction, a site that fits would be blind.

    Args:
        ahead_s: By site, how far the newest readings of its declared stations are ahead of their reception, in seconds.
        synchronised: Whether our clock follows a reference; None if this is unknown.
        all_ahead_s: The same for all readings that were received since our clock was set.

    >>> estimate_offset({"a": [3601.0, 3599.0, -4.0]}, False).behind_s
    3600.0
    >>> estimate_offset({"a": [3601.0, 3599.0], "b": [-2.0]}, False).is_ours
    False
    """
    site_offsets: dict[str, float] = {}
    for site, offsets in ahead_s.items():
        site_offset = _find_site_offset(offsets)
        if site_offset is not None:
            site_offsets[site] = site_offset
    behind_s = median(site_offsets.values()) if site_offsets else 0.0
    agreeing = [offset for site in site_offsets for offset in ahead_s[site] if _is_about(offset, behind_s)]
    if len(agreeing) < FEWEST_STATIONS:
        return None
    text = _AHEAD(n=len(agreeing), n2=sum(map(len, ahead_s.values())), n3=Figure(behind_s / 60, ",.0f"))
    all_received = {**(all_ahead_s or {}), **ahead_s}
    fitting = sorted(
        site for site, offsets in all_received.items() if site not in site_offsets and min(offsets) <= AHEAD_S
    )
    if synchronised:
        return ClockOffset(behind_s, is_ours=False, text=_LOGGERS(text=text), has_fitting_sites=bool(fitting))
    if fitting:
        others_fit = _OTHERS_FIT(text=text, sites=", ".join(sorted(site_offsets)), others=", ".join(fitting))
        return ClockOffset(behind_s, is_ours=False, text=others_fit, has_fitting_sites=True)
    if not all(_is_about(offset, behind_s) for offset in site_offsets.values()):
        return None
    return ClockOffset(behind_s, is_ours=True, text=_BEHIND(text=text))


def _find_site_offset(offsets: Sequence[float]) -> float | None:
    """Return the offset on which most stations of a site agree; None if there is none or it is small."""
    ahead = [offset for offset in offsets if offset > AHEAD_S]
    if not ahead or len(ahead) < FEWEST_FRACTION * len(offsets):
        return None
    site_offset = median(ahead)
    agreeing = sum(_is_about(offset, site_offset) for offset in ahead)
    return site_offset if agreeing >= FEWEST_FRACTION * len(ahead) else None


def _is_about(seconds: float, expected_s: float) -> bool:
    return abs(seconds - expected_s) <= max(AGREE_S, AGREE_FRACTION * abs(expected_s))


class _StepOnProbation(NamedTuple):
    seconds: float
    since_s: float


class ServiceClock:
    """Return the current time as an aware UTC time. Thread-safe.

    1. While wall time and monotonic time advance equally, the current time is wall time, so slow corrections by NTP are
       followed.
    2. A step of more than two seconds is not followed for a minute. A step that is taken back within that minute has no
       effect.
    3. A step that lasts is followed and returned by `take_steps`.
    4. `correct` shifts the current time. When the wall clock is then set right by about the same amount, the correction
       ends without a step.
    """

    def __init__(
        self, wall: Callable[[], datetime] = lambda: datetime.now(UTC), uptime: Callable[[], Uptime] = read_uptime
    ) -> None:
        self._wall = wall
        self._uptime = uptime
        self._lock = threading.Lock()
        self._correction = timedelta(0)
        up = uptime()
        # The current time at the last call, and the uptime at that moment.
        self._last_now = wall()
        self._last_uptime_s = up.elapsed_s
        self._suspended_s = up.elapsed_s - up.awake_s
        self._step_on_probation: _StepOnProbation | None = None
        self._steps: list[ClockStep] = []
        self._suspensions: list[Suspension] = []

    @property
    def correction_s(self) -> float:
        """Seconds by which the current time of this clock is ahead of the wall clock."""
        return self._correction.total_seconds()

    def __call__(self) -> datetime:
        """Return the current time."""
        with self._lock:
            wall = self._wall()
            up = self._uptime()
            now = self._advance(wall, up.elapsed_s)
            suspended_s = up.elapsed_s - up.awake_s
            if suspended_s - self._suspended_s > STEP_S:
                self._suspensions.append(Suspension(now - timedelta(seconds=suspended_s - self._suspended_s), now))
            self._suspended_s = suspended_s
            return now

    def _advance(self, wall: datetime, now_s: float) -> datetime:
        expected = self._last_now + timedelta(seconds=now_s - self._last_uptime_s)
        step_s = (wall + self._correction - expected).total_seconds()
        correction_s = self._correction.total_seconds()
        tolerance_s = max(CORRECTION_ENDS_S, AGREE_FRACTION * abs(correction_s))
        if correction_s and abs(step_s - correction_s) <= tolerance_s:
            # Somebody set the wall clock right, so the correction is no longer needed.
            self._correction = timedelta(0)
            step_s -= correction_s
            if abs(step_s) > STEP_S:
                self._follow(wall, now_s, step_s)
                return wall
        if abs(step_s) <= STEP_S:
            self._set(wall + self._correction, now_s)
            return self._last_now
        if self._step_on_probation is None or abs(self._step_on_probation.seconds - step_s) > STEP_S:
            self._step_on_probation = _StepOnProbation(step_s, now_s)
        if now_s - self._step_on_probation.since_s < PROBATION_S:
            return expected
        self._follow(wall + self._correction, now_s, step_s)
        return self._last_now

    def correct(self, seconds: float) -> None:
        """Shift the current time, because the stations show that the wall clock is wrong by this amount."""
        with self._lock:
            self._correction += timedelta(seconds=seconds)
            self._last_now += timedelta(seconds=seconds)
            self._step_on_probation = None

    def confirm(self, seconds: float) -> bool:
        """Follow a step on probation at once if it has about this size. Return whether it was followed."""
        with self._lock:
            step = self._step_on_probation
            if step is None or not _is_about(step.seconds, seconds):
                return False
            self._follow(self._wall() + self._correction, self._uptime().elapsed_s, step.seconds)
            return True

    def take_steps(self) -> list[ClockStep]:
        """Return the steps that were followed since the last call."""
        with self._lock:
            steps = self._steps
            self._steps = []
            return steps

    def take_suspensions(self) -> list[Suspension]:
        """Return the suspensions of the machine since the last call."""
        with self._lock:
            suspensions = self._suspensions
            self._suspensions = []
            return suspensions

    def _set(self, now: datetime, uptime_s: float) -> None:
        self._last_now = now
        self._last_uptime_s = uptime_s
        self._step_on_probation = None

    def _follow(self, now: datetime, now_s: float, step_s: float) -> None:
        probation_s = 0.0 if self._step_on_probation is None else now_s - self._step_on_probation.since_s
        self._set(now, now_s)
        self._steps.append(ClockStep(step_s, now, probation_s))
