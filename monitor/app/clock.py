"""The clock of the service: wall time that a step of a few seconds does not move, and that stations can set right."""

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
    "virtual machine) and nobody watched from {at2} to {at3}, or somebody set its clock",
)
_AHEAD: Final = Template("service.clock.ahead", "{n} of {n2} stations report times about {n3} min ahead of ours")
_LOGGERS: Final = Template(
    "service.clock.loggers", "{text}, and our clock follows its reference: check clocks and time zones of the loggers"
)
_OTHERS_FIT: Final = Template(
    "service.clock.others_fit",
    "{text} at {sites}, while those of {others} fit our clock: look at clocks, gateway and time zone of the loggers "
    "there first, then at the clock of this machine",
)
_BEHIND: Final = Template(
    "service.clock.behind",
    "{text}: the clock of their logger network is ahead, or our clock is behind; look at loggers and gateway first, "
    "then set the clock of this machine",
)

STEP_S: Final = 2.0  # wall and monotonic time that part by more: somebody set the clock
PROBATION_S: Final = 60.0  # a step must last so long before anything follows it
PAUSE_S: Final = 30.0  # a step forward by more may be a pause of the whole machine
AHEAD_S: Final = 300.0  # as readings are flagged to be of the future
AGREE_S: Final = 120.0
FEWEST_STATIONS: Final = 2
MOST_OF: Final = 0.6
READ_WITHIN: Final = timedelta(minutes=15)


class ClockStep(NamedTuple):
    """A step of the wall clock that was followed, or the service's own correction, in seconds."""

    seconds: float
    at: datetime

    lasted_s: float = 0.0  # how long it waited before it was followed

    @property
    def jumped_over(self) -> tuple[datetime, datetime]:
        """The times that a step forward left out: from, to."""
        end = self.at - timedelta(seconds=self.lasted_s)
        return end - timedelta(seconds=self.seconds), end


def describe_step(step: ClockStep) -> Message:
    """What a step means, in words; one forward means one of two things, which look the same from inside."""
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
    """A time in which the machine was suspended and ran nothing."""

    begin: datetime
    end: datetime


class Uptime(NamedTuple):
    """How long the machine has been up, in seconds: what it was awake, and with the time that it was suspended."""

    awake_s: float
    elapsed_s: float


def read_uptime() -> Uptime:
    """CLOCK_MONOTONIC, which stands still while Linux is suspended, and CLOCK_BOOTTIME, which does not."""
    if sys.platform != "linux":
        return Uptime(time.monotonic(), time.monotonic())
    return Uptime(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))


class ClockOffset(NamedTuple):
    """What many stations say of our clock: by how much it seems to be behind, and whether it is it that is wrong."""

    behind_s: float
    is_ours: bool
    text: Message
    is_doubted: bool = False  # other sites fit our clock


def estimate_offset(
    ahead_s: Mapping[str, Sequence[float]],
    synchronised: bool | None,
    before: Mapping[str, Sequence[float]] | None = None,
) -> ClockOffset | None:
    """Whether the sites say together that our clock is behind; None where none says so.

    Each site has one voice, however many stations it has: that of most of its declared stations, where these are ahead
    by about the same. Two stations at least must say so: one in the future has a wrong clock of its own. They are right
    only if ours is wrong, or they have the same mistake (a gateway, a time zone). A clock that follows a reference is
    believed. Any other is moved only where all voices agree and no site is heard whose stations fit our clock: moved,
    it would be blind there.

    Args:
        ahead_s: by site, how far the newest readings of its declared stations lie before their reception, in seconds.
        synchronised: whether our clock follows a reference; None where nobody can say.
        before: the same of all that was heard since our clock was set.

    >>> estimate_offset({"a": [3601.0, 3599.0, -4.0]}, False).behind_s
    3600.0
    >>> estimate_offset({"a": [3601.0, 3599.0], "b": [-2.0]}, False).is_ours
    False
    """
    voices = {site: voice for site, ones in ahead_s.items() if (voice := _find_voice(ones)) is not None}
    behind_s = median(voices.values()) if voices else 0.0
    agree = [one for site in voices for one in ahead_s[site] if _is_about(one, behind_s)]
    if len(agree) < FEWEST_STATIONS:
        return None
    who = _AHEAD(n=len(agree), n2=sum(map(len, ahead_s.values())), n3=Figure(behind_s / 60, ",.0f"))
    known = {**(before or {}), **ahead_s}
    sound = sorted(site for site, ones in known.items() if site not in voices and min(ones) <= AHEAD_S)
    if synchronised:
        return ClockOffset(behind_s, is_ours=False, text=_LOGGERS(text=who), is_doubted=bool(sound))
    if sound:
        text = _OTHERS_FIT(text=who, sites=", ".join(sorted(voices)), others=", ".join(sound))
        return ClockOffset(behind_s, is_ours=False, text=text, is_doubted=True)
    if not all(_is_about(voice, behind_s) for voice in voices.values()):
        return None
    return ClockOffset(behind_s, is_ours=True, text=_BEHIND(text=who))


def _find_voice(ones: Sequence[float]) -> float | None:
    ahead = [one for one in ones if one > AHEAD_S]
    if not ahead or len(ahead) < MOST_OF * len(ones):
        return None
    voice = median(ahead)
    return voice if sum(_is_about(one, voice) for one in ahead) >= MOST_OF * len(ahead) else None


def _is_about(seconds: float, as_s: float) -> bool:
    return abs(seconds - as_s) <= max(AGREE_S, 0.05 * as_s)


class ServiceClock:
    """Gives the present, aware UTC; thread-safe.

    1. While wall and monotonic time go alike, it is wall time: slow corrections by NTP are followed.
    2. A step of more than two seconds is not followed for a minute: time goes on as before. A step that is taken back
       within the minute has never happened.
    3. A step that lasts is followed; `take_steps` tells of it, so that waiting times can be set anew.
    4. `correct` shifts the present by what the stations' time stamps say; a wall clock that is then set right by about
       as much ends the correction without a step.
    """

    def __init__(
        self, wall: Callable[[], datetime] = lambda: datetime.now(UTC), uptime: Callable[[], Uptime] = read_uptime
    ) -> None:
        self._wall, self._uptime = wall, uptime
        self._lock = threading.Lock()
        self._correction = timedelta(0)
        up = uptime()
        self._at, self._at_s, self._suspended_s = wall(), up.elapsed_s, up.elapsed_s - up.awake_s
        self._suspensions: list[Suspension] = []
        self._odd: tuple[float, float] | None = None  # seconds that wall time is off, since when
        self._steps: list[ClockStep] = []

    @property
    def correction_s(self) -> float:
        """By how much the present lies before the wall clock."""
        return self._correction.total_seconds()

    def __call__(self) -> datetime:
        """The present."""
        with self._lock:
            wall, up = self._wall(), self._uptime()
            now = self._advance(wall, up.elapsed_s)
            suspended_s = up.elapsed_s - up.awake_s
            if suspended_s - self._suspended_s > STEP_S:
                self._suspensions.append(Suspension(now - timedelta(seconds=suspended_s - self._suspended_s), now))
            self._suspended_s = suspended_s
            return now

    def _advance(self, wall: datetime, now_s: float) -> datetime:
        expected = self._at + timedelta(seconds=now_s - self._at_s)
        off_s = (wall + self._correction - expected).total_seconds()
        own_s = self._correction.total_seconds()
        if own_s and abs(off_s - own_s) <= max(60.0, 0.05 * abs(own_s)):
            self._correction, off_s = timedelta(0), off_s - own_s  # somebody set the clock right
            if abs(off_s) > STEP_S:
                self._follow(wall, now_s, off_s)
                return wall
        if abs(off_s) <= STEP_S:
            self._at, self._at_s, self._odd = wall + self._correction, now_s, None
            return self._at
        if self._odd is None or abs(self._odd[0] - off_s) > STEP_S:
            self._odd = off_s, now_s
        if now_s - self._odd[1] < PROBATION_S:
            return expected
        self._follow(wall + self._correction, now_s, off_s)
        return self._at

    def correct(self, seconds: float) -> None:
        """Shift the present: what is measured says that the wall clock is wrong by so much."""
        with self._lock:
            self._correction += timedelta(seconds=seconds)
            self._at += timedelta(seconds=seconds)
            self._odd = None
            self._steps.append(ClockStep(seconds, self._at))

    def confirm(self, seconds: float) -> bool:
        """Follow a step that is still doubted, at once, if it is by about so much; whether it was."""
        with self._lock:
            if self._odd is None or abs(self._odd[0] - seconds) > max(AGREE_S, 0.05 * abs(seconds)):
                return False
            self._follow(self._wall() + self._correction, self._uptime().elapsed_s, self._odd[0])
            return True

    def take_steps(self) -> list[ClockStep]:
        """Steps that were followed since the last call."""
        with self._lock:
            taken, self._steps = self._steps, []
            return taken

    def take_suspensions(self) -> list[Suspension]:
        """Times in which the machine was suspended since the last call."""
        with self._lock:
            taken, self._suspensions = self._suspensions, []
            return taken

    def _follow(self, now: datetime, now_s: float, off_s: float) -> None:
        lasted_s = 0.0 if self._odd is None else now_s - self._odd[1]
        self._at, self._at_s, self._odd = now, now_s, None
        self._steps.append(ClockStep(off_s, now, lasted_s))
