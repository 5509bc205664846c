"""Common silence: the rule and its exceptions hold for generated receptions, and broken variants of the rule fail.

Rule: when all instruments on the slope have missed one expected reception while an instrument outside reports, common
silence is reported within one usual interval and ten minutes after the last reception of the slope.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pytest
from hypothesis import example, given, seed, settings
from hypothesis import strategies as st

from monitor.decision import common_silence
from monitor.decision.common_silence import SILENT_SLOPE, CommonSilence, check_common_silence
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import DecisionInputs, MaintenanceFact, Memory, NewestEpoch
from monitor.decision.series import reporting
from monitor.decision.series.assessment import DecisionContext
from monitor.decision.series.station_health import SeriesHealth
from monitor.readings.records import Reading
from monitor.sites.records import Level, SeriesSpec, Site, Station
from monitor.text.instants import from_epoch_s
from monitor.text.message import Message
from tests.fixtures.examples import expensive_examples

START_S: Final = 1.8e9
MINUTE_S: Final = 60.0
LEVELS: Final = tuple(Level(i, name, True) for i, name in enumerate(("green", "yellow", "orange", "red")))
# Number of receptions of each station before the slope fails.
HISTORY: Final = 24
# Number of readings that one evaluation loads.
LOADED: Final = 200
_NO_PROBLEM: Final = Message("", "health.well", {})


@dataclass(frozen=True)
class Sender:
    """One station, and when it sends.

    Attributes:
        batch: Number of readings in each transmission.
        first_s: Delay of its first transmission.
        jitter: Largest delay of a transmission, as a share of the time between transmissions.
        ends_s: No reading is sent from this instant on, epoch seconds.
        lost: Numbers of transmissions that are lost.
    """

    station: Station
    batch: int = 1
    first_s: float = 0.0
    jitter: float = 0.0
    ends_s: float = float("inf")
    lost: Callable[[int], bool] = field(default=lambda _number: False)

    @property
    def interval_s(self) -> float:
        """Time between measurements."""
        return self.station.series[0].interval_s

    @property
    def pause_s(self) -> float:
        """Time between transmissions."""
        return self.batch * self.interval_s

    def send(self, until_s: float) -> Iterator[tuple[float, list[float]]]:
        """Yield when each transmission is received, and the epochs of its readings."""
        jitter = random.Random(self.station.id)
        number = 0
        while True:
            sent_s = START_S + self.first_s + number * self.pause_s
            received_s = sent_s + jitter.uniform(0.0, self.jitter) * self.pause_s
            if received_s > until_s or sent_s >= self.ends_s:
                return
            if not self.lost(number):
                yield received_s, [sent_s - k * self.interval_s for k in reversed(range(self.batch))]
            number += 1


def make_station(name: str, interval_s: float, *, on_slope: bool = True, **facts: object) -> Station:
    quantity = "crack_opening" if on_slope else "displacement"
    spec = SeriesSpec(name, quantity, "mm", interval_s, 3.0 * interval_s, learns_silence=True)
    return Station(name, on_slope=on_slope, series=(spec,), **facts)  # type: ignore[arg-type]


def make_slope(count: int, interval_s: float, *, ends_s: float = float("inf"), **facts: object) -> list[Sender]:
    """Return stations on the slope that send one after the other within their interval."""
    return [
        Sender(make_station(f"E{n}", interval_s, **facts), first_s=n * interval_s / count, ends_s=ends_s)
        for n in range(count)
    ]


def make_outside(interval_s: float, first_s: float = 0.0, **facts: object) -> Sender:
    return Sender(make_station("C1", interval_s, on_slope=False, **facts), first_s=first_s)


def watch(
    senders: Sequence[Sender],
    until_s: float,
    level: int = 0,
    *,
    is_down: Callable[[float], bool] = lambda _now_s: False,
    maintenance: tuple[MaintenanceFact, ...] = (),
    tick_s: float = MINUTE_S,
) -> Iterator[tuple[float, CommonSilence | None]]:
    """Yield the common silence after each reception and each minute, as the service evaluates.

    Readings that are sent while `is_down` is true are lost, and nothing is evaluated.
    """
    stations = tuple(sender.station for sender in senders)
    site = Site("slope", "Slope", 46.0, 8.0, "UTC", LEVELS, stations, ())
    prepared = PreparedSite(site)
    transmissions = sorted(
        (received_s, sender.station.id, sender.station.series[0].quantity, epochs)
        for sender in senders
        for received_s, epochs in sender.send(until_s)
        if not is_down(received_s)
    )
    instants_s = {received_s for received_s, *_ in transmissions}
    instants_s |= {START_S + n * tick_s for n in range(int((until_s - START_S) / tick_s) + 1)}
    readings: dict[str, list[Reading]] = {}
    newest: dict[str, NewestEpoch] = {}
    observed_s: dict[tuple[str, str], float] = {}
    memory = Memory()
    index = 0
    for now_s in sorted(instants_s):
        if is_down(now_s):
            continue
        while index < len(transmissions) and transmissions[index][0] <= now_s:
            received_s, station, quantity, epochs = transmissions[index]
            name = f"{station}.{quantity}"
            for epoch in epochs:
                at, received = from_epoch_s(epoch), from_epoch_s(received_s)
                readings.setdefault(name, []).append(Reading(at, received, 0, 0.0, 0.0, 0.0, 1.0, (), None))
            newest[name] = NewestEpoch(epochs[-1], received_s)
            observed_s[station, quantity] = epochs[-1]
            index += 1
        loaded = {name: tuple(rows[-LOADED:]) for name, rows in readings.items()}
        inputs = DecisionInputs(loaded, dict(newest), maintenance=maintenance)
        context = DecisionContext(prepared, inputs, memory, now_s)
        health = {
            (station.id, spec.quantity): SeriesHealth("ok", _NO_PROBLEM, observed_s.get((station.id, spec.quantity)))
            for station in stations
            for spec in station.series
        }
        check = check_common_silence(context, level, health, ())
        conditions = {} if check.silence is None else {SILENT_SLOPE: check.silence.condition}
        remembered = context.list_remembered_receptions()
        memory = Memory(conditions=conditions, outside=check.outside, receptions=remembered)
        yield now_s, check.silence


def find_first(looks: Iterator[tuple[float, CommonSilence | None]]) -> tuple[float, CommonSilence] | None:
    return next(((now_s, silence) for now_s, silence in looks if silence is not None), None)


def find_last_reception(senders: Sequence[Sender], until_s: float) -> float:
    return max(received_s for sender in senders for received_s, _ in sender.send(until_s))


INTERVALS_S: Final = st.sampled_from([60.0, 300.0, 600.0, 1800.0, 3600.0])


@seed(80)
@expensive_examples(20, report_multiple_bugs=False)
@given(
    count=st.integers(2, 6),
    interval_s=INTERVALS_S,
    batch=st.sampled_from([1, 1, 6]),
    jitter=st.floats(0.0, 0.05),
    share=st.floats(0.05, 1.0),
    phase=st.floats(0.0, 1.0),
    end=st.floats(0.0, 1.0),
    level=st.sampled_from([0, 3]),
)
@example(count=8, interval_s=600.0, batch=1, jitter=0.0, share=1.0, phase=0.9, end=0.0, level=0)
@example(count=2, interval_s=3600.0, batch=24, jitter=0.0, share=1.0, phase=0.5, end=0.3, level=3)
def test_silence_of_the_slope_is_reported_within_one_usual_interval_and_ten_minutes(
    count, interval_s, batch, jitter, share, phase, end, level
):
    pause_s = batch * interval_s
    ends_s = START_S + (HISTORY + end) * pause_s
    slope = [
        replace(sender, batch=batch, jitter=jitter, first_s=batch * sender.first_s)
        for sender in make_slope(count, interval_s, ends_s=ends_s)
    ]
    outside = make_outside(max(share * pause_s, 30.0), phase * share * pause_s)
    until_s = ends_s + 2.0 * pause_s + 3600.0
    tick_s = max(MINUTE_S, pause_s / 30.0)
    looks = watch([*slope, outside], until_s, level, tick_s=tick_s)
    # How often the stations report is known after some receptions.
    reported = find_first(look for look in looks if look[0] > START_S + 8 * pause_s)
    assert reported is not None
    reported_s, silence = reported
    last_s = find_last_reception(slope, until_s)
    assert reported_s - last_s > pause_s * (1.0 - jitter), "one reception was missed"
    assert reported_s - last_s <= (1.0 + jitter) * pause_s + 540.0 + tick_s
    assert silence.stations == tuple(sender.station.id for sender in slope)
    assert silence.outside == ("C1",)


@seed(80)
@expensive_examples(15, report_multiple_bugs=False)
@given(
    count=st.integers(1, 5),
    interval_s=INTERVALS_S,
    batch=st.sampled_from([1, 6, 24]),
    jitter=st.floats(0.0, 0.3),
    outside_s=INTERVALS_S,
    ending=st.sampled_from(["nothing", "first station", "instruments outside"]),
)
def test_nothing_is_reported_while_a_station_on_the_slope_reports(count, interval_s, batch, jitter, outside_s, ending):
    pause_s = batch * interval_s
    ends_s = START_S + 12 * pause_s
    slope = [replace(s, batch=batch, jitter=jitter, first_s=batch * s.first_s) for s in make_slope(count, interval_s)]
    outside = make_outside(outside_s)
    if ending == "first station" and count > 1:
        slope[0] = replace(slope[0], ends_s=ends_s)
    if ending == "instruments outside":
        outside = replace(outside, ends_s=ends_s)
    until_s = ends_s + 8 * pause_s
    assert find_first(watch([*slope, outside], until_s, tick_s=max(MINUTE_S, pause_s / 20.0))) is None


@seed(80)
@settings(max_examples=8, report_multiple_bugs=False)
@given(interval_s=INTERVALS_S, down=st.floats(0.1, 20.0), phase=st.floats(0.0, 1.0), count=st.integers(2, 5))
def test_outage_of_the_service_is_no_silence_of_the_slope(interval_s, down, phase, count):
    """The instruments outside send ten times as often, so they are received first after the outage."""
    from_s = START_S + (HISTORY + phase) * interval_s
    to_s = from_s + down * interval_s
    senders = [*make_slope(count, interval_s), make_outside(interval_s / 10.0)]
    tick_s = max(MINUTE_S, interval_s / 20.0)
    looks = watch(senders, to_s + 3.0 * interval_s, tick_s=tick_s, is_down=lambda now_s: from_s <= now_s < to_s)
    assert find_first(looks) is None


def fail(senders: Sequence[Sender], level: int = 0, **facts: object) -> tuple[float, CommonSilence] | None:
    """Return the common silence of a slope that fails after `HISTORY` intervals of ten minutes."""
    return find_first(watch(senders, FAILS_S + 7200.0, level, **facts))  # type: ignore[arg-type]


FAILS_S: Final = START_S + HISTORY * 600.0
ENDING: Final = make_slope(3, 600.0, ends_s=FAILS_S)


def test_silence_of_a_single_instrument_is_not_common():
    assert fail([ENDING[0], make_outside(600.0)]) is None


def test_instruments_that_never_reported_or_were_silent_long_before_do_not_count():
    dead = replace(ENDING[2], ends_s=START_S + 600.0)
    never = replace(ENDING[1], ends_s=START_S)
    assert fail([ENDING[0], dead, never, make_outside(600.0)]) is None
    reported = fail([*ENDING[:2], dead, make_outside(600.0)])
    assert reported is not None
    assert reported[1].stations == ("E0", "E1")


def test_surveys_do_not_count():
    month_s = 30 * 86400.0
    ends_s = START_S + 8 * month_s
    surveys = make_slope(3, month_s, ends_s=ends_s)
    looks = watch([*surveys, make_outside(month_s / 30.0)], ends_s + 3 * month_s, tick_s=86400.0)
    assert find_first(looks) is None


def test_stations_under_maintenance_do_not_count():
    def maintain(*names: str) -> tuple[MaintenanceFact, ...]:
        return tuple(MaintenanceFact(name, START_S, FAILS_S + 86400.0, "Ada", "Bo", "new cables") for name in names)

    senders = [*ENDING, make_outside(600.0)]
    assert fail(senders, maintenance=maintain("E0", "E1", "E2")) is None
    assert fail(senders, maintenance=maintain("E0", "E1")) is None
    reported = fail(senders, maintenance=maintain("E0"))
    assert reported is not None
    assert reported[1].stations == ("E1", "E2")


def test_without_instruments_outside_only_a_raised_level_is_reported_after_three_intervals():
    assert fail(ENDING) is None
    reported = fail(ENDING, 2)
    assert reported is not None
    assert reported[0] - find_last_reception(ENDING, FAILS_S) > 1800.0


def test_silent_gateway_of_the_whole_slope_explains_the_silence_at_the_lowest_level():
    slope = make_slope(3, 600.0, ends_s=FAILS_S, gateway="GW")
    assert fail([*slope, make_outside(600.0)]) is None
    raised = fail([*slope, make_outside(600.0)], 2)
    assert raised is not None
    assert "All of them use gateway GW, which is silent as well" in raised[1].condition.reason
    works = fail([*slope, make_outside(600.0, gateway="GW")])
    assert works is not None
    assert "gateway" not in works[1].condition.reason
    gateway = Sender(make_station("GW", 600.0, on_slope=False))
    works = fail([*slope, gateway])
    assert works is not None
    assert works[1].outside == ("GW",)


def test_pauses_that_were_common_before_are_usual():
    """The radio of the slope is switched off for two hours in each cycle of 36 transmissions."""
    slope = [replace(sender, lost=lambda number: number % 36 >= 24) for sender in make_slope(4, 600.0)]
    reported = [
        now_s for now_s, silence in watch([*slope, make_outside(600.0)], START_S + 160 * 600.0, tick_s=300.0) if silence
    ]
    assert max(reported) < START_S + 80 * 600.0, "the first two pauses were not usual yet"


def test_two_stations_with_a_lossy_radio_are_not_reported_when_both_lose_a_transmission_by_chance():
    def lose(name: str) -> Callable[[int], bool]:
        lost = random.Random(name)
        draws = [lost.random() < 0.08 for _ in range(2000)]
        return lambda number: number > 4 and draws[number]

    slope = [replace(sender, first_s=0.0, lost=lose(sender.station.id)) for sender in make_slope(2, 600.0)]
    looks = watch([*slope, make_outside(600.0)], START_S + 600 * 600.0, tick_s=300.0)
    began = [now_s for now_s, silence in looks if silence is not None and now_s > START_S + 100 * 600.0]
    assert not began


def test_silence_lasts_until_the_slope_reports_although_the_level_and_the_others_change():
    back_s = FAILS_S + 86400.0
    outside = replace(make_outside(600.0), ends_s=FAILS_S + 3600.0)
    returning = Sender(make_station("E9", 600.0), first_s=back_s - START_S)
    looks = list(watch([*ENDING, outside, returning], back_s + 600.0, tick_s=600.0))
    silent_s = [now_s for now_s, silence in looks if silence is not None]
    assert silent_s[-1] < back_s
    assert len({silence.condition for _, silence in looks if silence is not None}) == 1
    assert [now_s for now_s, _ in looks if silent_s[0] <= now_s < back_s] == silent_s


# ---- broken variants -----------------------------------------------------------------------------------------------
def report_failure_in_time() -> None:
    reported = fail([*ENDING, make_outside(600.0)])
    assert reported is not None
    assert 600.0 < reported[0] - find_last_reception(ENDING, FAILS_S) <= 1200.0


def report_hourly_failure_in_time() -> None:
    ends_s = START_S + HISTORY * 3600.0
    slope = make_slope(3, 3600.0, ends_s=ends_s)
    reported = find_first(watch([*slope, make_outside(1800.0)], ends_s + 7200.0))
    assert reported is not None
    assert reported[0] - find_last_reception(slope, ends_s) <= 4200.0


def report_no_pause_between_daily_batches() -> None:
    slope = [replace(sender, batch=24, first_s=0.0) for sender in make_slope(3, 3600.0)]
    looks = watch([*slope, make_outside(3600.0)], START_S + 12 * 86400.0, tick_s=1800.0)
    assert find_first(looks) is None


def report_no_outage() -> None:
    slope = [replace(sender, first_s=0.0) for sender in make_slope(3, 3600.0)]
    sent_s = START_S + HISTORY * 3600.0
    looks = watch(
        [*slope, make_outside(600.0)],
        sent_s + 10800.0,
        is_down=lambda now_s: sent_s - 600.0 <= now_s < sent_s + 3000.0,
    )
    assert find_first(looks) is None


MUTANTS: Final[Mapping[str, tuple[object, str, object, Callable[[], None]]]] = {
    "waits for three intervals": (
        common_silence,
        "get_usual_or_declared_s",
        lambda station: 3.0 * reporting.get_usual_or_declared_s(station),
        report_failure_in_time,
    ),
    "uses the declared interval": (
        reporting,
        "find_usual_interval_s",
        lambda _context, spec: spec.interval_s,
        report_no_pause_between_daily_batches,
    ),
    "tolerates an hour": (common_silence, "LONGEST_TOLERANCE_S", 3600.0, report_hourly_failure_in_time),
    "ignores outages": (
        common_silence,
        "follow_outside",
        lambda _context, outside: reporting.ReceptionRun(0.0, max((s.received_s for s in outside), default=0.0)),
        report_no_outage,
    ),
    "ignores shared equipment": (
        common_silence,
        "_find_silent_equipment",
        lambda *_: None,
        test_silent_gateway_of_the_whole_slope_explains_the_silence_at_the_lowest_level,
    ),
    "ignores earlier pauses": (
        common_silence,
        "_is_unusual",
        lambda *_: True,
        test_pauses_that_were_common_before_are_usual,
    ),
    "ignores losses": (
        common_silence,
        "_estimate_chance",
        lambda *_: 0.0,
        test_two_stations_with_a_lossy_radio_are_not_reported_when_both_lose_a_transmission_by_chance,
    ),
    "counts stations that were silent before": (
        common_silence,
        "_fell_silent_with_others",
        lambda *_: True,
        test_instruments_that_never_reported_or_were_silent_long_before_do_not_count,
    ),
    "ends with the instruments outside": (
        common_silence,
        "_find_lasting_silence",
        lambda *_: None,
        test_silence_lasts_until_the_slope_reports_although_the_level_and_the_others_change,
    ),
}


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("name", MUTANTS)
def test_broken_variants_fail(name, monkeypatch):
    module, function, broken, law = MUTANTS[name]
    law()
    monkeypatch.setattr(module, function, broken)
    with pytest.raises(AssertionError):
        law()
