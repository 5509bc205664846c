"""Rules that find faults of an instrument: battery, clock, GNSS solutions, signal, calibration, anomalies, gaps."""

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
_MISTYPED: Final = Template("instrument.mistyped", "{quantity}: probably a typing error: {text}")
_EMPTY: Final = Template("instrument.battery.empty", "empty")
_DAYS_LEFT: Final = Template("instrument.battery.days_left", "about {n} days left")
_DAY_LEFT: Final = Template("instrument.battery.day_left", "about 1 day left")
_PERCENT_LEFT: Final = Template("instrument.battery.percent_left", "{n} % left")
_BATTERY: Final = Template("instrument.battery", "battery {text}: {text2}")
_REPORTED_BATTERY: Final = Template("instrument.battery.says_device", "battery {text}, as reported by the device")
_SWAP: Final = Template("instrument.action.swap", "replace the battery of {station} ({text})")
_RISES: Final = Template("instrument.solar", "the voltage rises by only {n} V during the day; usually by {n2} V")
_AHEAD: Final = Template("instrument.clock.ahead", "its clock is {duration} ahead")
_EARLIER: Final = Template("instrument.clock.earlier", "readings arrive {duration} earlier than in the days before")
_LATER: Final = Template("instrument.clock.later", "readings arrive {duration} later than in the days before")
_FAR_AHEAD: Final = Template("instrument.clock.far_ahead", "its clock is {duration} ahead; its readings are set aside")
_FAR_LATE: Final = Template("instrument.clock.far_late", "its clock is {duration} late; its new readings count as old")
_UNFIXED: Final = Template("instrument.fix", "{n} of {n2} GNSS solutions of the last day are not fixed")
_SATELLITES: Final = Template("instrument.satellites", "{n} satellites; at least {n2} are expected")
_SIGNAL: Final = Template("instrument.signal", "signal {n} dBm; at least {n2} dBm are expected")
_CALIBRATED: Final = Template("instrument.calibrated", "last calibrated {n} days ago")
_SUSPECTED_BY: Final = Template("instrument.suspected", "{quantity}: detectors report {kind}")
_SUSPECTED_LABELLED: Final = Template(
    "instrument.suspected.person", "{quantity}: detectors report {kind}, labelled as {word}"
)
_GAP: Final = Template("instrument.gap", "{quantity}: {n} readings are missing until {at}")

LOW_LEVEL_PERCENT: Final = 10.0  # at which makers of LoRaWAN sensors warn
BATTERY_NOTICE_DAYS: Final = 10.0  # a battery that lasts longer needs no visit yet
CLOCK_ERROR_S: Final = 120.0
CLOCK_HYSTERESIS_S: Final = 60.0  # a finding ends this far inside the limit, so that it does not come and go
MIN_EPOCHS: Final = 6
# Readings that are off by the same number of days. Delays of an import or a backlog differ from each other.
MIN_FAR_READINGS: Final = 3
MIN_HOURS: Final = 6  # with receptions, for a usual delay
MAX_UNFIXED_FRACTION: Final = 0.5  # of the epochs of a day
MIN_SATELLITES: Final = 6.0
MIN_SATELLITE_FRACTION: Final = 0.6  # of the usual number
LOST_SIGNAL_DB: Final = 15.0
FROST_DEGC: Final = 1.0
SNOW_M: Final = 0.05


@dataclass(frozen=True, slots=True)
class InstrumentFinding:
    """A fault of an instrument. `since` is None if it began when it was found."""

    state: str
    reason: Message
    action: Message
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Weather:
    """Weather that makes snow or ice likely. A value is None if the site does not measure it."""

    warmest_degc: float | None = None
    snow_m: float | None = None


def _make_finding(state: str, reason: Message, since: datetime | None = None) -> InstrumentFinding:
    return InstrumentFinding(state, reason, ACTIONS[state], since)


def check_link(link: Link | None, newest: datetime | None) -> list[InstrumentFinding]:
    """Find a device that reported its disconnection, itself or through its broker, and has sent nothing since."""
    if link is None or link.online or (newest is not None and newest > link.at):
        return []
    return [_make_finding("offline", _OFFLINE(at=Timestamp.of(link.at, "minute"), text=link.text), link.at)]


def check_typed(quantity: str, newest: TypedReading | None) -> list[InstrumentFinding]:
    """Find a probable typing error in the newest reading that a person entered."""
    if newest is None:
        return []
    return [_make_finding("mistyped", _MISTYPED(quantity=Term(quantity), text=newest.why), newest.at)]


def check_battery(station: str, expected: BatteryExpectation, now_s: float) -> list[InstrumentFinding]:
    """Find a battery that is empty or will be within `BATTERY_NOTICE_DAYS`."""
    if expected.empty_s is None or expected.empty_s - now_s > BATTERY_NOTICE_DAYS * 86400.0:
        return []
    days = round((expected.empty_s - now_s) / 86400.0)
    if days < 1:
        left = _EMPTY()
    elif days == 1:
        left = _DAY_LEFT()
    else:
        left = _DAYS_LEFT(n=days)
    return [InstrumentFinding("battery", _BATTERY(text=left, text2=expected.method), _SWAP(station=station, text=left))]


def check_level(station: str, level_percent: float) -> list[InstrumentFinding]:
    """Find a battery whose device reports a low level.

    >>> [finding.reason for finding in check_level("T1", 8.0)], check_level("T1", 40.0)
    (['battery 8 % left, as reported by the device'], [])
    """
    if level_percent > LOW_LEVEL_PERCENT:
        return []
    left = _PERCENT_LEFT(n=Figure(level_percent, ".0f"))
    return [InstrumentFinding("battery", _REPORTED_BATTERY(text=left), _SWAP(station=station, text=left))]


def check_charge(days: Sequence[BatteryDay], weather: Weather) -> list[InstrumentFinding]:
    """Find a solar panel that no longer charges: covered by snow or ice in such weather, otherwise faulty."""
    lost = find_lost_charge(days)
    if lost is None:
        return []
    reason = _RISES(n=Figure(lost[0], ".2f"), n2=Figure(lost[1], ".2f"))
    is_cold = weather.warmest_degc is not None and weather.warmest_degc <= FROST_DEGC
    has_snow = weather.snow_m is not None and weather.snow_m >= SNOW_M
    return [_make_finding("snow_ice" if is_cold or has_snow else "solar", reason)]


def check_clock(now: Sequence[EpochHousekeeping], usual_s: Sequence[float]) -> list[InstrumentFinding]:
    """Find a clock that is ahead, or that has changed relative to the clock of the service.

    The shortest delay of a day shows the error of the clock, because a slow network delays readings and never makes
    them early. A late clock is late by the same amount in each hour, which distinguishes it from a backlog.

    Args:
        now: Epochs of the last day.
        usual_s: Shortest delay of each hour of the week before, seconds. It is used if it has at least `MIN_HOURS`,
            because all readings of an import are received within an hour or two.

    >>> today = [EpochHousekeeping(2.0, received_s=3600.0 * n) for n in range(6)]
    >>> check_clock(today, [90_000.0])
    []
    >>> [finding.reason for finding in check_clock(today, [90_000.0, *[3602.0] * 6])]
    ['readings arrive 1 h earlier than in the days before']
    """
    if len(now) < MIN_EPOCHS:
        return []
    shortest_s = min(epoch.delay_s for epoch in now)
    by_reception = sorted(now, key=lambda epoch: epoch.received_s)
    newest_s = min(epoch.delay_s for epoch in by_reception[-MIN_EPOCHS:])
    if max(shortest_s, newest_s - CLOCK_HYSTERESIS_S) < -CLOCK_ERROR_S:
        return [_make_finding("clock", _AHEAD(duration=Duration(-newest_s, "about")))]
    if len(usual_s) < MIN_HOURS:
        return []
    shift_s = shortest_s - min(usual_s)
    is_early = max(shift_s, newest_s - min(usual_s) - CLOCK_HYSTERESIS_S) < -CLOCK_ERROR_S
    is_late = shift_s > CLOCK_ERROR_S and _is_equally_late(now, shortest_s)
    if not is_early and not is_late:
        return []
    template = _EARLIER if is_early else _LATER
    return [_make_finding("clock", template(duration=Duration(abs(shift_s), "about")))]


def check_far_clock(delays_s: Sequence[float]) -> list[InstrumentFinding]:
    """Find a clock that is wrong by more than a day, from the delays of readings with such times.

    GPS receivers go back by 1,024 weeks, loggers without a battery for their clock to 1970 or 2000.

    >>> [finding.reason for finding in check_far_clock([1024 * 7 * 86_400.0] * 6)]
    ['its clock is 7168 d late; its new readings count as old']
    >>> check_far_clock([3e6, 4e6, 5e6, 6e6, 7e6, 8e6])
    []
    """
    if len(delays_s) < MIN_FAR_READINGS or max(delays_s) - min(delays_s) > CLOCK_ERROR_S:
        return []
    delay_s = min(delays_s, key=abs)
    template = _FAR_AHEAD if delay_s < 0.0 else _FAR_LATE
    return [_make_finding("clock", template(duration=Duration(abs(delay_s), "about")))]


def _is_equally_late(now: Sequence[EpochHousekeeping], shortest_s: float) -> bool:
    """Return whether the shortest delays of at least `MIN_HOURS` hours are equal within `CLOCK_ERROR_S`."""
    by_hour_s: dict[int, float] = {}
    for epoch in now:
        hour = int(epoch.received_s // 3600.0)
        by_hour_s[hour] = min(epoch.delay_s, by_hour_s.get(hour, epoch.delay_s))
    return sum(delay_s - shortest_s <= CLOCK_ERROR_S for delay_s in by_hour_s.values()) >= MIN_HOURS


def check_fixes(now: Sequence[EpochHousekeeping], before: Sequence[EpochHousekeeping]) -> list[InstrumentFinding]:
    """Find GNSS solutions that are not fixed, and missing satellites.

    Args:
        now: Epochs of the last day.
        before: Epochs of the week before.
    """
    findings = []
    fixes = [epoch.fix for epoch in now if epoch.fix is not None]
    unfixed = sum(fix != "fixed" for fix in fixes)
    if len(fixes) >= MIN_EPOCHS and unfixed > MAX_UNFIXED_FRACTION * len(fixes):
        findings.append(_make_finding("fix", _UNFIXED(n=unfixed, n2=len(fixes))))
    numbers = [epoch.satellites for epoch in now if epoch.satellites is not None]
    usual_numbers = [epoch.satellites for epoch in before if epoch.satellites is not None]
    if len(numbers) >= MIN_EPOCHS:
        number = median(numbers)
        least = MIN_SATELLITES
        if len(usual_numbers) >= MIN_EPOCHS:
            least = max(least, MIN_SATELLITE_FRACTION * median(usual_numbers))
        if number < least:
            findings.append(_make_finding("satellites", _SATELLITES(n=number, n2=Figure(least, ".3g"))))
    return findings


def check_signal(now_db: Sequence[float], before_db: Sequence[float], low_db: float | None) -> list[InstrumentFinding]:
    """Find a weak signal: below the limit in the site file, or without such a limit far below the usual signal."""
    if not now_db:
        return []
    signal_db = median(now_db)
    if low_db is not None:
        least_db = low_db
    elif len(before_db) > 1:
        least_db = median(before_db) - LOST_SIGNAL_DB
    else:
        return []
    if signal_db >= least_db:
        return []
    return [_make_finding("signal", _SIGNAL(n=Figure(signal_db, ".3g"), n2=Figure(least_db, ".3g")))]


def check_calibration(
    calibrated_on: str | None, every_s: float | None, today: date
) -> tuple[list[InstrumentFinding], str | None]:
    """Find a calibration that is due. Also return the day on which it is due, None if that is not declared."""
    if calibrated_on is None or every_s is None:
        return [], None
    last_day = date.fromisoformat(calibrated_on)
    due_day = last_day + timedelta(seconds=every_s)
    is_due = today >= due_day
    findings = [_make_finding("calibration", _CALIBRATED(n=(today - last_day).days))] if is_due else []
    return findings, due_day.isoformat()


def check_anomalies(rows: Iterable[tuple[str, str, datetime, str | None]]) -> list[InstrumentFinding]:
    """Find anomalies that nobody dismissed. They take no vote away, because drift may be movement.

    Args:
        rows: Quantity, kind, begin, and the label that a person gave or None, of each anomaly. The newest is last.
    """
    findings: dict[tuple[str, str], InstrumentFinding] = {}
    for quantity, kind, since, cause in rows:
        if cause == "movement":
            continue
        state = SUSPECTED.get(cause or kind, "suspected")
        # The false alarms of detectors were only counted for motion. Anomalies of other quantities notify nobody.
        if cause is None and state in PAGED and not quantity.startswith(MODELLED_MOTION_PREFIXES):
            state = "suspected"
        names = {"quantity": Term(quantity), "kind": Term(kind.replace("-", "_"))}
        findings[state, quantity] = InstrumentFinding(
            state,
            _SUSPECTED_BY(**names)
            if cause in {None, "unknown"}
            else _SUSPECTED_LABELLED(**names, word=Term(str(cause))),
            UNIT_ACTION if (cause or kind) == "unit" else ACTIONS[state],
            since,
        )
    return list(findings.values())


def check_gaps(gaps: Iterable[Gap]) -> list[InstrumentFinding]:
    """Find the newest gap of each series, which ended: there are readings after it."""
    newest = {gap.quantity: gap for gap in gaps}
    return [
        _make_finding(
            "gap", _GAP(quantity=Term(gap.quantity), n=gap.missing, at=Timestamp.of(gap.to_at, "minute")), gap.from_at
        )
        for gap in newest.values()
    ]


def join_states(findings: Sequence[InstrumentFinding]) -> list[InstrumentFinding]:
    """Return one finding for each state, with the reasons of all series and the earliest begin.

    >>> stuck, drift = _make_finding("stuck", join(["tilt x: a"])), _make_finding("drift", join(["c"]))
    >>> [finding.reason for finding in join_states([stuck, drift, _make_finding("stuck", join(["b"]))])]
    ['tilt x: a; b', 'c']
    """
    by_state: dict[str, list[InstrumentFinding]] = {}
    for finding in findings:
        by_state.setdefault(finding.state, []).append(finding)
    joined = []
    for same_state in by_state.values():
        first = same_state[0]
        reason = join(dict.fromkeys(finding.reason for finding in same_state)) if len(same_state) > 1 else first.reason
        since = min((finding.since for finding in same_state if finding.since is not None), default=None)
        joined.append(replace(first, reason=reason, since=since))
    return joined
