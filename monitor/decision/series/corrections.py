"""Values that were changed after they had arrived, or put between those of the instrument by a file.

What they hide, and the question to two people whether it is right.

A final solution that replaces a rapid one within the usual scatter is no correction. What goes beyond counts at once
below the two highest levels. For those each series is judged as it arrived as well, until two people said that the
values of before were wrong. So it is with epochs that no instrument reported: a file that fills a gap says nothing, one
that puts values of its own between two readings does.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from monitor.decision.alert_texts import name_series
from monitor.decision.records import Memory, instant, seconds
from monitor.decision.series.assessment import ARRIVED, DecisionContext, EvaluationCache
from monitor.decision.series.noise import scatter_of
from monitor.decision.series.steps import says_no
from monitor.readings.records import BROUGHT_BY, CHANGED, Reading
from monitor.sites.records import SeriesSpec
from monitor.text.instants import format_iso, parse_time
from monitor.text.message import Figure, Message, NameList, Template, Timestamp, join

_BETWEEN: Final = Template(
    "correction.between",
    "{names} brought {n} values of {series} from {at} to {at2} that the instrument did not send; they differ "
    "from its own around them by up to {n2} {unit}",
)
_CHANGED: Final = Template(
    "correction.changed",
    "{names} changed {n} values of {series} from {at} to {at2} by up to {n2} {unit} after they had arrived",
)
_ERRORS: Final = Template(
    "correction.errors",
    "{names} gave {n} values of {series} from {at} to {at2} errors of up to {n2} {unit} after they had arrived",
)
CORRECTED: Final = "corrected:"  # how the question begins: `corrected:STATION@INSTANT`
SIGMAS: Final = 5.0  # of the scatter: two solutions of one epoch seldom differ by more
NEAR: Final = 0.75  # of the interval of a series: what a gap was filled with lies a whole one from its neighbours
VERIFY: Final = ":verify"


@dataclass(frozen=True, slots=True)
class Correction:
    """What was changed of one series and nobody has answered: readings in order of their epochs.

    Attributes:
        series: `STATION.QUANTITY`.
        readings: What is in doubt.
        inserted_by: Where they were put between those of the instrument: by how much they differ from these at most.
    """

    series: str
    unit: str
    readings: tuple[Reading, ...]
    inserted_by: float = 0.0

    @property
    def station(self) -> str:
        """Whose series it is."""
        return self.series.partition(".")[0]

    def describe(self) -> Message:
        """Series, span, size and who, for people."""
        largest = max((r.value_raw - (r.first or r).value_raw for r in self.readings), key=abs)
        if self.inserted_by:
            template, size = _BETWEEN, Figure(self.inserted_by, "+.1f")
        elif largest:
            template, size = _CHANGED, Figure(largest, "+.1f")
        else:
            template, size = _ERRORS, Figure(max(r.sigma or 0.0 for r in self.readings), ".1f")
        return template(
            n=len(self.readings),
            series=name_series(self.series),
            at=Timestamp.of(self.readings[0].observed_at),
            at2=Timestamp.of(self.readings[-1].observed_at),
            n2=size,
            unit=self.unit,
            names=NameList(tuple(sorted({_name_who(r.extra) for r in self.readings}))),
        )


def find_corrections(windows: DecisionContext) -> list[Correction]:
    """What was changed beyond the usual scatter in the series that decisions look at, answered ones left out."""
    found = []
    for name, readings in windows.view.readings.items():
        if _is_untouched(windows.warm, name, readings):
            continue
        station, _, quantity = name.partition(".")
        spec = windows.site.series(station, quantity)
        if spec is None:
            continue
        own = [r for r in readings if r.first is not None or not _is_brought(r)]
        usual = _measure_scatter(own, spec)
        until_s = answered_s(windows.memory, station)
        mine = tuple(r for r in readings if seconds(r.received_at) > until_s and is_correction(r, spec, usual))
        if mine:
            found.append(Correction(name, spec.unit, mine))
        inserted = [(r, by) for r, by in _compare(readings, own, spec, usual) if seconds(r.received_at) > until_s]
        if inserted:
            largest = max((by for _, by in inserted), key=abs)
            found.append(Correction(name, spec.unit, tuple(r for r, _ in inserted), largest))
    return found


def _is_untouched(warm: EvaluationCache, name: str, readings: tuple[Reading, ...]) -> bool:
    """True where nothing was corrected or brought; of readings that grew only the new ones are looked at."""
    known = warm.untouched.get(name, ())
    if readings is known:
        return True
    news = readings[len(known) :] if readings[: len(known)] == known else readings
    for r in news:
        if r.first is not None or (r.extra is not None and _is_brought(r)):
            return False
    warm.untouched[name] = readings
    return True


def _is_brought(reading: Reading) -> bool:
    return reading.extra is not None and BROUGHT_BY in reading.extra


def _compare(
    readings: Iterable[Reading], own: Sequence[Reading], spec: SeriesSpec, usual: float
) -> Iterator[tuple[Reading, float]]:
    """What a file put near readings of the instrument, with how far it lies from them beyond the usual scatter."""
    at = [seconds(r.observed_at) for r in own]
    for reading in readings:
        if reading.flags or reading.first is not None or not _is_brought(reading):
            continue
        now_s = seconds(reading.observed_at)
        k = bisect_left(at, now_s)
        neighbours = range(max(k - 1, 0), min(k + 1, len(own)))
        if not any(abs(at[n] - now_s) < NEAR * spec.interval_s for n in neighbours):
            continue
        values = [(own[n].first or own[n]).value_raw for n in neighbours]
        share = (now_s - at[k - 1]) / (at[k] - at[k - 1]) if len(values) == 2 else 0.0
        by = reading.value_raw - (values[0] + share * (values[-1] - values[0]))
        if abs(by) > SIGMAS * (max(reading.sigma or 0.0, spec.noise_floor) or usual):
            yield reading, by


def is_correction(reading: Reading, spec: SeriesSpec, usual: float) -> bool:
    """True where a value, or what it says of its error, differs from the first by more than two solutions do.

    Not where a calculated value was completed: a reading that it rests on came after the others.
    """
    is_completed = spec.calculation is not None and f'"{CHANGED}":' not in (reading.extra or "")
    if is_completed or (first := _first_sound(reading)) is None:
        return False
    error = max(first.sigma or 0.0, spec.noise_floor) or usual
    return (
        abs(reading.value_raw - first.value_raw) > SIGMAS * error
        or (reading.sigma or 0.0) > SIGMAS * error
        or bool(reading.flags and not first.flags)
    )


def _first_sound(reading: Reading) -> Reading | None:
    """What a changed value was when it arrived; what was no sound value hides nothing."""
    first = reading.first
    return None if first is None or (first.flags and not reading.flags) else first


def _measure_scatter(readings: Sequence[Reading], spec: SeriesSpec) -> float:
    if spec.noise_floor:
        return 0.0
    return scatter_of(sorted((b.first or b).value_raw - (a.first or a).value_raw for a, b in pairwise(readings)))


def answered_s(memory: Memory, station: str) -> float:
    """Corrections of a station that came up to this instant are right, say two people."""
    begin = f"{CORRECTED}{station}@"
    answers = memory.answers.items()
    answered = [seconds(parse_time(k.removeprefix(begin))) for k, a in answers if k.startswith(begin) and says_no(a)]
    return max(answered, default=float("-inf"))


def without_corrections(windows: DecisionContext, corrections: Sequence[Correction]) -> DecisionContext:
    """The same windows with each corrected station as it arrived; the very same where nothing was corrected."""
    stations = frozenset(c.station for c in corrections)
    if not stations:
        return windows
    inserted = {(c.series, r.observed_at) for c in corrections if c.inserted_by for r in c.readings}
    memory, readings = windows.memory, dict(windows.view.readings)
    for name, rows in readings.items():
        if (station := name.partition(".")[0]) in stations:
            own = (r for r in rows if (name, r.observed_at) not in inserted)
            readings[name] = tuple(_undo(own, answered_s(memory, station)))
    return DecisionContext(
        windows.site,
        replace(windows.view, readings=readings),
        windows.memory,
        windows.now_s,
        windows.warm,
        as_declared=windows,
        touched=stations,
        kept_as=ARRIVED,
    )


def _undo(readings: Iterable[Reading], answered_s: float) -> Iterator[Reading]:
    for reading in readings:
        first = _first_sound(reading)
        if first is None or seconds(reading.received_at) <= answered_s:
            yield reading
        elif first.offset_applied == reading.offset_applied:
            yield first
        else:
            applied = reading.offset_applied
            yield replace(first, offset_applied=applied, value=first.value_raw - applied)


def list_questions(windows: DecisionContext, corrections: Sequence[Correction]) -> dict[str, Message]:
    """By question (`corrected:STATION@INSTANT`) what is asked: one for each station, on what came up to its instant.

    A question that is open stays the same until it is answered, so that a signature on it finds its second.
    """
    found: dict[str, Message] = {}
    for station in sorted({c.station for c in corrections}):
        mine = [c for c in corrections if c.station == station]
        came = sorted({seconds(r.received_at) for c in mine for r in c.readings})
        begin = f"{CORRECTED}{station}@"
        open_keys = [k for k in windows.memory.conditions if k.startswith(f"health:{begin}")]
        until = [seconds(parse_time(k.removeprefix(f"health:{begin}").removesuffix(VERIFY))) for k in open_keys]
        at_s = next((s for s in sorted(until) if s >= came[0]), came[-1])
        found[f"{begin}{format_iso(instant(at_s))}"] = join([c.describe() for c in mine[:3]])
    return found


def _name_who(extra: str | None) -> str:
    if extra is not None and BROUGHT_BY in extra:
        try:
            who = json.loads(extra).get(BROUGHT_BY)
        except (ValueError, AttributeError):
            who = None
        if who:
            return str(who)
    return "MQTT or a job"
