"""What is wrong with one instrument: battery, clock, fixes, satellites, signal, calibration, suspicions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

from monitor.api.queries.ingest import Gap
from monitor.api.queries.readings import TypedReading
from monitor.api.readings import Link
from monitor.api.sites import MODELLED_MOTION_PREFIXES
from monitor.api.text import Duration, Figure, Message, Template, Term, Timestamp, join
from monitor.features.instruments.battery import BatteryDay, BatteryExpectation, find_lost_charge
from monitor.features.instruments.queries.readings import EpochHousekeeping
from monitor.features.instruments.states import ACTIONS, PAGED, SUSPECTED, UNIT_ACTION

_OFFLINE: Final = Template("instrument.offline", "not connected since {at}: {text}")
_MISTYPED: Final = Template("instrument.mistyped", "{quantity}: looks like a typing error: {text}")
_EMPTY: Final = Template("instrument.battery.empty", "empty")
_DAYS_LEFT: Final = Template("instrument.battery.days_left", "about {n} days left")
_DAY_LEFT: Final = Template("instrument.battery.day_left", "about 1 day left")
_PERCENT_LEFT: Final = Template("instrument.battery.percent_left", "{n} % left")
_BATTERY: Final = Template("instrument.battery", "battery {text}: {text2}")
_SAYS_DEVICE: Final = Template("instrument.battery.says_device", "battery {text}, says the device")
_SWAP: Final = Template("instrument.action.swap", "swap battery of {station}, {text}")
_RISES: Final = Template("instrument.solar", "the voltage rises by {n} V by day, usual are {n2} V")
_AHEAD: Final = Template("instrument.clock.ahead", "its clock is {duration} ahead")
_EARLIER: Final = Template("instrument.clock.earlier", "readings arrive {duration} earlier than in the days before")
_LATER: Final = Template("instrument.clock.later", "readings arrive {duration} later than in the days before")
_FAR_AHEAD: Final = Template("instrument.clock.far_ahead", "its clock is {duration} ahead: what it sends is set aside")
_FAR_LATE: Final = Template(
    "instrument.clock.far_late", "its clock is {duration} late: what it sends now counts as old"
)
_LOOSE: Final = Template("instrument.fix", "{n} of {n2} solutions of a day are not fixed")
_SATELLITES: Final = Template("instrument.satellites", "{n} satellites, {n2} satellites are needed or usual")
_SIGNAL: Final = Template("instrument.signal", "signal {n} dBm, at least {n2} dBm are expected")
_CALIBRATED: Final = Template("instrument.calibrated", "last calibrated {n} days ago")
_SUSPECTED_BY: Final = Template("instrument.suspected", "{quantity}: {kind} found by detectors")
_SAYS_PERSON: Final = Template(
    "instrument.suspected.person", "{quantity}: {kind} found by detectors, {word} says a person"
)
_GAP: Final = Template("instrument.gap", "{quantity}: {n} readings missing until {at}")

LOW_PERCENT: Final = 10.0  # as makers of LoRaWAN sensors warn
SOON_DAYS: Final = 10.0  # a battery that lasts longer asks for no journey yet
CLOCK_MOVED_S: Final = 120.0
CLOCK_RIGHT_S: Final = 60.0  # so much nearer to the right time ends what was found: it must not come and go
LEAST_EPOCHS: Final = 6
FEWEST_FAR: Final = 3  # readings off by the same days; an import or a backlog has no two alike
LEAST_HOURS: Final = 6  # in which readings came, for a usual way
LOST_FIXES: Final = 0.5  # share of the epochs of a day that are not fixed
FEW_SATELLITES: Final = 6.0
LOST_SATELLITES: Final = 0.6  # of the usual number
LOST_SIGNAL_DB: Final = 15.0
FROST_DEGC: Final = 1.0
SNOW_M: Final = 0.05


@dataclass(frozen=True, slots=True)
class InstrumentFinding:
    """One thing that is wrong with an instrument."""

    state: str
    reason: Message
    action: Message
    since: datetime | None = None  # None: since it was found first


@dataclass(frozen=True, slots=True)
class Weather:
    """What lets snow or ice be suspected; None where nothing at the site measures it."""

    warmest_degc: float | None = None
    snow_m: float | None = None


def _found(state: str, reason: Message, since: datetime | None = None) -> InstrumentFinding:
    return InstrumentFinding(state, reason, ACTIONS[state], since)


def check_link(link: Link | None, newest: datetime | None) -> list[InstrumentFinding]:
    """A device that said that it is gone, or whose broker said so for it, and that has sent nothing since."""
    if link is None or link.online or (newest is not None and newest > link.at):
        return []
    return [_found("offline", _OFFLINE(at=Timestamp.of(link.at, "minute"), text=link.text), link.at)]


def check_typed(quantity: str, newest: TypedReading | None) -> list[InstrumentFinding]:
    """The newest reading that a person typed, where it looks like a typing error."""
    if newest is None:
        return []
    return [_found("mistyped", _MISTYPED(quantity=Term(quantity), text=newest.why), newest.at)]


def check_battery(station: str, expected: BatteryExpectation, now_s: float) -> list[InstrumentFinding]:
    """A battery that is empty, or will be soon."""
    if expected.empty_s is None or expected.empty_s - now_s > SOON_DAYS * 86400.0:
        return []
    days = round((expected.empty_s - now_s) / 86400.0)
    left = _EMPTY() if days < 1 else _DAYS_LEFT(n=days) if days > 1 else _DAY_LEFT()
    return [InstrumentFinding("battery", _BATTERY(text=left, text2=expected.method), _SWAP(station=station, text=left))]


def check_level(station: str, level_percent: float) -> list[InstrumentFinding]:
    """A battery of which its device says that little is left.

    >>> [one.reason for one in check_level("T1", 8.0)], check_level("T1", 40.0)
    (['battery 8 % left, says the device'], [])
    """
    if level_percent > LOW_PERCENT:
        return []
    left = _PERCENT_LEFT(n=Figure(level_percent, ".0f"))
    return [InstrumentFinding("battery", _SAYS_DEVICE(text=left), _SWAP(station=station, text=left))]


def check_charge(days: Sequence[BatteryDay], weather: Weather) -> list[InstrumentFinding]:
    """A panel that charges no more: under snow or ice where it is cold or snow lies, else broken."""
    lost = find_lost_charge(days)
    if lost is None:
        return []
    text = _RISES(n=Figure(lost[0], ".2f"), n2=Figure(lost[1], ".2f"))
    is_cold = weather.warmest_degc is not None and weather.warmest_degc <= FROST_DEGC
    is_white = weather.snow_m is not None and weather.snow_m >= SNOW_M
    return [_found("snow_ice" if is_cold or is_white else "solar", text)]


def check_clock(now: Sequence[EpochHousekeeping], usual_s: Sequence[float]) -> list[InstrumentFinding]:
    """A clock that runs ahead, or has moved against that of the service.

    The shortest way of a day's readings is taken for the clock: a slow network makes readings late, none early. A
    clock that is late is late by the same amount in every hour; the backlog of an outage is not. `usual_s` is the
    shortest way of each hour before; few hours say nothing of it: an import brings all its readings within one.
    >>> today = [EpochHousekeeping(2.0, received_s=3600.0 * n) for n in range(6)]
    >>> check_clock(today, [90_000.0])
    []
    >>> [one.reason for one in check_clock(today, [90_000.0, *[3602.0] * 6])]
    ['readings arrive 1 h earlier than in the days before']
    """
    if len(now) < LEAST_EPOCHS:
        return []
    shortest_s = min(e.delay_s for e in now)
    newest_s = min(e.delay_s for e in sorted(now, key=lambda e: e.received_s)[-LEAST_EPOCHS:])
    if max(shortest_s, newest_s - CLOCK_RIGHT_S) < -CLOCK_MOVED_S:
        return [_found("clock", _AHEAD(duration=Duration(-newest_s, "about")))]
    if len(usual_s) < LEAST_HOURS:
        return []
    moved_s = shortest_s - min(usual_s)
    is_early = max(moved_s, newest_s - min(usual_s) - CLOCK_RIGHT_S) < -CLOCK_MOVED_S
    if not is_early and (moved_s <= CLOCK_MOVED_S or not _comes_alike(now, shortest_s)):
        return []
    way = _EARLIER if is_early else _LATER
    return [_found("clock", way(duration=Duration(abs(moved_s), "about")))]


def check_far_clock(ways_s: Sequence[float]) -> list[InstrumentFinding]:
    """A clock that is wrong by more than a day, from the ways of what came lately with such stamps.

    GPS receivers go back by 1,024 weeks, loggers without a battery of their clock to 1970 or 2000.

    >>> [one.reason for one in check_far_clock([1024 * 7 * 86_400.0] * 6)]
    ['its clock is 7168 d late: what it sends now counts as old']
    >>> check_far_clock([3e6, 4e6, 5e6, 6e6, 7e6, 8e6])
    []
    """
    if len(ways_s) < FEWEST_FAR or max(ways_s) - min(ways_s) > CLOCK_MOVED_S:
        return []
    way_s = min(ways_s, key=abs)
    return [_found("clock", (_FAR_AHEAD if way_s < 0.0 else _FAR_LATE)(duration=Duration(abs(way_s), "about")))]


def _comes_alike(now: Sequence[EpochHousekeeping], shortest_s: float) -> bool:
    hours: dict[int, float] = {}
    for epoch in now:
        hour = int(epoch.received_s // 3600.0)
        hours[hour] = min(epoch.delay_s, hours.get(hour, epoch.delay_s))
    return sum(way_s - shortest_s <= CLOCK_MOVED_S for way_s in hours.values()) >= LEAST_HOURS


def check_fixes(now: Sequence[EpochHousekeeping], before: Sequence[EpochHousekeeping]) -> list[InstrumentFinding]:
    """Fixes that are not fixed, and satellites that are missing."""
    found = []
    fixes = [e.fix for e in now if e.fix is not None]
    loose = sum(f != "fixed" for f in fixes)
    if len(fixes) >= LEAST_EPOCHS and loose > LOST_FIXES * len(fixes):
        found.append(_found("fix", _LOOSE(n=loose, n2=len(fixes))))
    seen = [e.satellites for e in now if e.satellites is not None]
    usual = [e.satellites for e in before if e.satellites is not None]
    if len(seen) >= LEAST_EPOCHS:
        number = median(seen)
        least = FEW_SATELLITES if len(usual) < LEAST_EPOCHS else max(FEW_SATELLITES, LOST_SATELLITES * median(usual))
        if number < least:
            found.append(_found("satellites", _SATELLITES(n=number, n2=Figure(least, ".3g"))))
    return found


def check_signal(now_db: Sequence[float], before_db: Sequence[float], low_db: float | None) -> list[InstrumentFinding]:
    """A radio that is heard badly: below what the site file allows, or far below what was usual."""
    if not now_db:
        return []
    level = median(now_db)
    least = low_db if low_db is not None else median(before_db) - LOST_SIGNAL_DB if len(before_db) > 1 else None
    if least is None or level >= least:
        return []
    return [_found("signal", _SIGNAL(n=Figure(level, ".3g"), n2=Figure(least, ".3g")))]


def check_calibration(
    calibrated_on: str | None, every_s: float | None, today: date
) -> tuple[list[InstrumentFinding], str | None]:
    """A calibration that is due, and the day on which it is."""
    if calibrated_on is None or every_s is None:
        return [], None
    done = date.fromisoformat(calibrated_on)
    due = done + timedelta(seconds=every_s)
    found = [_found("calibration", _CALIBRATED(n=(today - done).days))] if today >= due else []
    return found, due.isoformat()


def check_anomalies(rows: Iterable[tuple[str, str, datetime, str | None]]) -> list[InstrumentFinding]:
    """What detectors suspect and nobody dismissed; (quantity, kind, since, cause that a person gave), newest last.

    It is a suspicion for people: what a detector says takes no vote away, for drift may be movement.
    """
    found: dict[tuple[str, str], InstrumentFinding] = {}
    for quantity, kind, since, cause in rows:
        if cause == "movement":
            continue
        state = SUSPECTED.get(cause or kind, "suspected")
        # of other quantities nobody counted false alarms of detectors on the board
        if cause is None and state in PAGED and not quantity.startswith(MODELLED_MOTION_PREFIXES):
            state = "suspected"  # it sends no notice
        names = {"quantity": Term(quantity), "kind": Term(kind.replace("-", "_"))}
        found[state, quantity] = InstrumentFinding(
            state,
            _SUSPECTED_BY(**names) if cause in {None, "unknown"} else _SAYS_PERSON(**names, word=Term(str(cause))),
            UNIT_ACTION if (cause or kind) == "unit" else ACTIONS[state],
            since,
        )
    return list(found.values())


def check_gaps(gaps: Iterable[Gap]) -> list[InstrumentFinding]:
    """Readings that were missing lately, of each series the newest ones; their silence was noticed when it was."""
    newest = {gap.quantity: gap for gap in gaps}
    return [
        _found(
            "gap", _GAP(quantity=Term(gap.quantity), n=gap.missing, at=Timestamp.of(gap.to_at, "minute")), gap.from_at
        )
        for gap in newest.values()
    ]


def join_states(found: Sequence[InstrumentFinding]) -> list[InstrumentFinding]:
    """One finding for each state, with what all series of the instrument say of it, since the earliest.

    >>> stuck, drift = _found("stuck", join(["tilt x: a"])), _found("drift", join(["c"]))
    >>> [one.reason for one in join_states([stuck, drift, _found("stuck", join(["b"]))])]
    ['tilt x: a; b', 'c']
    """
    by_state: dict[str, list[InstrumentFinding]] = {}
    for one in found:
        by_state.setdefault(one.state, []).append(one)
    return [
        replace(
            ones[0],
            reason=join(dict.fromkeys(one.reason for one in ones)) if len(ones) > 1 else ones[0].reason,
            since=min((one.since for one in ones if one.since is not None), default=None),
        )
        for ones in by_state.values()
    ]
