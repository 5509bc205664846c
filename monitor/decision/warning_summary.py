"""Summarise for people which motion raises which level of a site, how quickly, and which motion raises none.

The figures are those of `judge_series`. `slopeward ingest --guess`, `slopeward sites init --table` and the page of an
uploaded table show this summary for a new site file.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, inf, isinf
from types import MappingProxyType
from typing import Any, Final

from monitor.decision.judgements import DetectionLimit, JudgingCriterion, SeriesJudgement
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.sites.records import Criterion, Site, Threshold
from monitor.sites.witnesses import list_voting_witnesses
from monitor.text.message import Duration, Figure, Message, MessageList, NameList, Template, Term, join

# Days of a record on which a level was reached, by criterion id and name of the level.
DaysAtLevel = Mapping[tuple[str, str], int]
# A sentence contains at most this many series or stations.
_MAX_NAMES: Final = 8
# A detection limit up to this many times the bound is shown as the bound.
_ABOUT: Final = 1.05
# Bounds whose relative difference is smaller are shown as one bound.
_SAME: Final = 1e-6
_YEAR_DAYS: Final = 365.25

_HEADING: Final = Template("warning.heading", "{series} (a reading every {every})")
_LEVEL: Final = Template("warning.level", "{level}: {parts}")
_FASTER: Final = Template("warning.faster", "faster than {rate} over {window}")
_FASTER_BACK: Final = Template("warning.faster_back", "faster than {rate} in the other direction over {window}")
_FASTER_EITHER: Final = Template("warning.faster_either", "faster than {rate} in either direction over {window}")
_FASTER_ANY: Final = Template(
    "warning.faster_any", "faster than {rate} over {window} (positions in east and north: in any direction)"
)
_BETWEEN: Final = Template("warning.between", "faster than {rate} in any direction from one reading to the next")
_IN_EFFECT: Final = Template("warning.in_effect", "in effect from {rate} on, because of noise or the dwell")
_ABOVE: Final = Template("warning.above", "above {value}")
_BELOW: Final = Template("warning.below", "below {value}")
_AT_ONCE: Final = Template("warning.at_once", "raised by the next reading (within {to})")
_DECIDED: Final = Template("warning.decided", "such motion raises it within {to} (at reading {n})")
_VALUE_DECIDED: Final = Template(
    "warning.value_decided", "values beyond the bound raise it within {to} (at reading {n})"
)
_DECIDED_BETWEEN: Final = Template(
    "warning.decided_between",
    "very fast motion raises it within {since} (at reading {n}), "
    "the slowest such motion within {to} (at reading {most})",
)
_REACHED: Final = Template("warning.reached", "the condition was met on {n} of the {days} days of this record")
_OF_JUDGED: Final = Template("warning.of_judged", "{text}; only {judged} of these days could be judged")
_JUDGED_NEVER: Final = Template("warning.judged_never", "could not be judged on any of the {days} days of this record")
_REACHED_TOGETHER: Final = Template(
    "warning.reached_together",
    "any station of its criterion met the condition on {n} of the {days} days of this record",
)
_NOT_REACHED: Final = Template("warning.not_reached", "the condition was met on none of the {days} days of this record")
_REACHED_BY: Final = Template("warning.reached_by", "of the {days} days of this record, the condition was met {parts}")
_REACHED_ONCE: Final = Template("warning.reached_once", "at {station} on {n} day ({first})")
_REACHED_AT: Final = Template("warning.reached_at", "at {station} on {n} days (the first {first}, the last {last})")
_NEVER_AT: Final = Template("warning.never_at", "at {stations} on none")
_UNREACHABLE: Final = Template("warning.unreachable", "cannot be reached: {text}")
_LATE: Final = Template("warning.late", "late: {text}")
_NO_BOUND: Final = Template("warning.no_bound", "never raised by these series alone")
_MISSED: Final = Template("warning.missed", "missed: {parts}")
_SLOW: Final = Template("warning.slow", "steady motion of {rate} or less ({length} in a year)")
_SLOW_BACK: Final = Template("warning.slow_back", "steady motion of {rate} or less in the other direction")
_SLOW_UNTIL: Final = Template("warning.slow_until", "as long as its values do not reach the bounds on values above")
_EVERYTHING: Final = Template("warning.everything", "all motion")
_VALUES: Final = Template("warning.values", "values that stay within these bounds, however fast they change")
_SUDDEN: Final = Template(
    "warning.sudden", "a collapse that is complete less than {time} after its start (before {n} readings show it)"
)
_SUDDEN_FIRST: Final = Template(
    "warning.sudden_first", "a collapse that is complete before the next reading (up to {time} after its start)"
)
_GAP: Final = Template("warning.gap_in_readings", "a change during a gap of more than {time} between readings")
_HIDDEN: Final = Template(
    "warning.hidden_by_noise", "faster motion that is hidden by noise, because no noise_floor is declared"
)
_JUMPS: Final = Template("warning.jumps", "a single jump between two readings {every} apart: {parts}")
_NO_JUMP: Final = Template("warning.no_jump", "raises nothing, however large, unless the motion goes on")
_SILENT_JUMP: Final = Template("warning.silent_jump", "up to {length} raises nothing")
_POSSIBLE_JUMP: Final = Template(
    "warning.possible_jump", "above {length} it can raise {level} by the line over {window}"
)
_ASKED_JUMP: Final = Template(
    "warning.asked_jump", "from about {length} on the recipients are asked what it was (see below)"
)
_ASKED_RAISING_JUMP: Final = Template(
    "warning.asked_raising_jump",
    "from about {length} on the recipients are asked what it was (see below); {level} if nobody answers within {time}",
)
_RAISING_JUMP: Final = Template(
    "warning.raising_jump", "above {length} {level} at once, even if it is one wrong reading"
)
_FAILURE: Final = Template(
    "warning.failure",
    "failure windows of {stations} (inverse velocity of accelerating motion), if two stations that share no "
    "instrument agree: {levels}",
)
_FAILURE_LEVEL: Final = Template("warning.failure_level", "{level} for a failure within {time}")
_OTHER: Final = Template("warning.other", "{kind} of {stations}: {levels}")
_OTHER_LEVEL: Final = Template("warning.other_level", "{level} {bound}")
_OTHER_LEVEL_IN: Final = Template("warning.other_level_in", "{level} {bound} in {window}")
_UNCOUNTED: Final = Template(
    "warning.all_flagged",
    "no reading of {series} counts: all are flagged {flag}, so no criterion judges this motion",
)
_WITH_DAYS: Final = Template("warning.with_days", "{text} ({reached})")
_TOP_NEEDS: Final = Template(
    "warning.top_needs",
    "{top} needs {n} different stations at the same time that share no reference, logger or antenna; fewer raise at "
    "most {below}",
)
_STAYS: Final = Template(
    "warning.stays", "{levels}: a raised level stays until a person lowers it, also after one wrong reading"
)
_ANSWER: Final = Template(
    "warning.answer_to_jump",
    "the recipients of the site file are asked about a jump. `slopeward alerts list` shows the question. `slopeward "
    "alerts verify ID movement` answers that the slope moved; any other answer means that it did not",
)
_END: Final = Template(
    "warning.end", "the newest reading is of {newest} ({age} ago); the level after it is {level}, since {since}"
)
_END_LOWEST: Final = Template(
    "warning.end_lowest", "the newest reading is of {newest} ({age} ago); the level after it is {level}"
)
_THROUGH: Final = Template("warning.through", "{series} is judged through {readers}, which is calculated from it")
_IN_RULES: Final = Template("warning.only_in_rules", "{series} raises a level only in rules over several criteria")
_STABLE: Final = Template("warning.on_stable_ground", "on stable ground, so no criterion judges it: {series}")


@dataclass(frozen=True, slots=True)
class LevelWarning:
    """Text and figures on the motion that raises one level.

    Attributes:
        criterion: Id of the criterion, as the site file is read.
        faster_than: Steady motion up to this value does not raise the level, in `unit`; for a bound on values, the
            bound. None where the level cannot be reached.
        least_readings: Readings after the start of the fastest motion that raise the level.
        most_readings: Readings after the start of motion just beyond `faster_than` that raise the level.
        days: Days of the record on which any station reached the level, or a higher one, by this criterion; None if
            not counted.
        text: All of this as a sentence.
    """

    level: str
    criterion: str
    faster_than: float | None
    unit: str
    window_s: float | None
    least_readings: int
    most_readings: int
    decides_within_s: float | None
    days: int | None
    text: Message


@dataclass(frozen=True, slots=True)
class SeriesWarnings:
    """The motion that raises each level at series that are judged alike, and the motion that raises none.

    Attributes:
        missed: Sentence about motion that raises no level.
        jumps: Sentence about a single jump; None if its effect depends on more than its size.
        asks: Whether people are asked about jumps.
    """

    series: tuple[str, ...]
    interval_s: float
    heading: Message
    levels: tuple[LevelWarning, ...]
    missed: Message
    jumps: Message | None
    asks: bool = False

    def list_lines(self) -> list[Message]:
        """List the sentences below the heading."""
        return [*(level.text for level in self.levels), self.missed, *([] if self.jumps is None else [self.jumps])]


@dataclass(frozen=True, slots=True)
class WarningSummary:
    """The motion that raises each level of a site.

    Attributes:
        notes: Criteria that are not about the motion of one series, and conditions that hold for all levels.
        unjudged: Series that can raise no level, as `STATION.quantity`; those on stable ground are left out.
    """

    groups: tuple[SeriesWarnings, ...]
    notes: tuple[Message, ...]
    unjudged: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; sentences are English texts."""
        return {
            "judged": [
                {
                    "series": list(group.series),
                    "interval_s": group.interval_s,
                    "levels": [asdict(level) | {"text": str(level.text)} for level in group.levels],
                    "missed": str(group.missed),
                    "jumps": None if group.jumps is None else str(group.jumps),
                }
                for group in self.groups
            ],
            "notes": [str(note) for note in self.notes],
            "not_judged": list(self.unjudged),
        }


@dataclass(frozen=True, slots=True)
class RecordEnd:
    """The state of a site after the newest reading of its record.

    Attributes:
        newest: Time of the newest reading, as a local date.
        age_s: Age of the newest reading in seconds.
        level: Number of the level.
        since: Local date on which the level was raised last.
    """

    newest: str
    age_s: float
    level: int
    since: str


@dataclass(frozen=True, slots=True)
class RecordDays:
    """On how many days of a record each level was reached.

    Attributes:
        days: Days with the level or a higher one, by criterion id and name of the level; empty if not counted.
        total: Days from the first reading of the record to the last, both included.
        part: That only the newest days of the record were counted; None if all were. `total` is their number.
        judged: By criterion id, days on which it had enough recent readings to judge. Without an entry, all days.
        reason: Why the days were not counted; None if they were.
        uncounted: By flag, the judged series without any reading that counts, as `STATION.quantity`.
        by_station: The dates with the level or a higher one, by criterion id, station and name of the level; empty if
            only the days of whole criteria were counted.
        end: The state of the site after the newest reading of the record; None if it was not replayed.
    """

    days: DaysAtLevel = field(default_factory=lambda: MappingProxyType({}))
    total: int = 0
    part: Message | None = None
    reason: Message | None = None
    judged: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    uncounted: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    by_station: Mapping[tuple[str, str, str], Collection[str]] = field(default_factory=lambda: MappingProxyType({}))
    end: RecordEnd | None = None

    def list_warnings(self) -> list[Message]:
        """List a sentence for each flag because of which no reading of some series counts."""
        return [_UNCOUNTED(series=_list_names(names), flag=Term(flag)) for flag, names in self.uncounted.items()]

    def list_judged(self) -> DaysAtLevel:
        """Return the days of those criteria that could judge on one day at least."""
        return {key: days for key, days in self.days.items() if self.judged.get(key[0], self.total) > 0}

    def find(self, criterion: str, level: str) -> int | None:
        """Return the days of a criterion at a level; None if they were not counted."""
        return self.days.get((criterion, level))

    def describe(self, criterion: str, days: int) -> Message:
        """Describe on how many days a level was reached, and on how many the criterion could judge."""
        return self.limit_to_judged((criterion,), _REACHED(n=days, days=self.total))

    def limit_to_judged(self, criteria: Sequence[str], reached: Message) -> Message:
        """Return a text about days of the record, with the number of days that one of the criteria could judge."""
        judged = max(self.judged.get(criterion, self.total) for criterion in criteria)
        if judged == 0:
            return _JUDGED_NEVER(days=self.total)
        return reached if judged >= self.total else _OF_JUDGED(text=reached, judged=judged)


def summarise_warnings(
    site: Site, record: RecordDays | None = None, stations: Collection[str] | None = None
) -> WarningSummary:
    """Summarise which motion raises which level, how quickly, and what is missed, at the declared intervals.

    Args:
        record: Days on which each level was reached, for a site file that was written from a record.
        stations: The stations whose series are summarised; None takes all of them.
    """
    counted = record or RecordDays()
    alike: dict[tuple[object, ...], list[SeriesJudgement]] = {}
    notes: list[Message] = []
    stable: list[str] = []
    unjudged: list[str] = []
    prepared = PreparedSite(site)
    for judgement in prepared.judgements:
        if stations is not None and judgement.station not in stations:
            continue
        if judgement.is_exempt:
            stable.append(judgement.name)
            continue
        if not judgement.is_judged:
            unjudged.append(judgement.name)
        if any(limit.unit for _, limit in _list_limits(judgement)):
            # Stations that reached a level on different days are still judged alike.
            levels = [(level.criterion, level.text) for level in _describe_levels(site, [judgement], RecordDays())]
            key = (judgement.interval_s, *levels, _describe_missed(judgement), _describe_jumps(site, judgement))
            alike.setdefault(key, []).append(judgement)
        elif judgement.read_by and judgement.is_judged:
            readers = NameList(judgement.read_by[:_MAX_NAMES], max(0, len(judgement.read_by) - _MAX_NAMES))
            notes.append(_THROUGH(series=judgement.name, readers=readers))
        elif judgement.measures_motion and judgement.is_judged:
            notes.append(_IN_RULES(series=judgement.name))
    groups = tuple(_summarise_group(site, members, counted) for members in alike.values())
    notes += _describe_other_criteria(prepared, counted)
    if any(group.jumps is not None and group.asks for group in groups):
        notes.append(_ANSWER())
    if site.fusion.top_needs > 1 and site.top_level > 1:
        notes.append(
            _TOP_NEEDS(
                top=Term(site.levels[-1].name),
                n=site.fusion.top_needs,
                below=Term(site.levels[site.top_level - 1].name),
            )
        )
    lasting = tuple(Term(level.name) for level in site.levels[1:] if not level.auto_lower)
    if lasting and groups:
        notes.append(_STAYS(levels=MessageList(lasting, ", ")))
    if counted.end is not None:
        notes.append(_describe_end(site, counted.end))
    if stable:
        notes.append(_STABLE(series=_list_names(stable)))
    return WarningSummary(groups, tuple(notes), tuple(unjudged))


def _summarise_group(site: Site, members: list[SeriesJudgement], record: RecordDays) -> SeriesWarnings:
    first = members[0]
    names = tuple(member.name for member in members)
    return SeriesWarnings(
        series=names,
        interval_s=first.interval_s,
        heading=_HEADING(series=_list_names(names), every=Duration(first.interval_s, "about")),
        levels=tuple(_describe_levels(site, members, record)),
        missed=_describe_missed(first),
        jumps=_describe_jumps(site, first),
        asks=any(not isinf(criterion.asks_from) for criterion, _ in _list_limits(first)),
    )


def _describe_end(site: Site, end: RecordEnd) -> Message:
    level, age = Term(site.levels[end.level].name), Duration(end.age_s, "about")
    if end.level == 0:
        return _END_LOWEST(newest=end.newest, age=age, level=level)
    return _END(newest=end.newest, age=age, level=level, since=end.since)


def _list_names(names: Iterable[str]) -> NameList:
    listed = tuple(names)
    return NameList(listed[:_MAX_NAMES], max(0, len(listed) - _MAX_NAMES))


def _list_limits(judgement: SeriesJudgement) -> list[tuple[JudgingCriterion, DetectionLimit]]:
    """List the limits by which the series itself requests a level, each with its criterion."""
    return [
        (criterion, limit)
        for criterion in judgement.criteria
        if criterion.has_vote and criterion.role == "witness"
        for limit in criterion.limits
    ]


# ---- levels ----------------------------------------------------------------------------------------------------
def _describe_levels(site: Site, members: Sequence[SeriesJudgement], record: RecordDays) -> Iterator[LevelWarning]:
    """Yield the motion that raises each level, the lowest level first.

    Args:
        members: Series that are judged alike.
    """
    judgement = members[0]
    stations = tuple(dict.fromkeys(member.station for member in members))
    for level in site.levels[1:]:
        limits = [(criterion, limit) for criterion, limit in _list_limits(judgement) if limit.level == level.number]
        merged: list[tuple[JudgingCriterion, DetectionLimit, bool]] = []
        for criterion, limit in limits:
            mirrored = next((entry for entry in merged if _is_mirrored(entry[1], limit)), None)
            if mirrored is None:
                merged.append((criterion, limit, False))
            else:
                merged[merged.index(mirrored)] = (mirrored[0], mirrored[1], True)
        for criterion, limit, is_either in merged:
            criteria = [reader.id for reader, other in limits if _is_same(limit, other)]
            counted = [record.find(criterion_id, level.name) for criterion_id in criteria]
            most = max((days for days in counted if days is not None), default=None)
            reached = None
            if most is not None:
                days = _describe_days(site, criteria, stations, level.name, most, record)
                reached = record.limit_to_judged(criteria, days)
            yield _describe_level(site, judgement, criterion, limit, most, reached, is_either=is_either)
        if not limits:
            yield LevelWarning(
                level=level.name,
                criterion="",
                faster_than=None,
                unit="",
                window_s=None,
                least_readings=0,
                most_readings=0,
                decides_within_s=None,
                days=None,
                text=_LEVEL(level=Term(level.name), parts=_NO_BOUND()),
            )


def _is_same(limit: DetectionLimit, other: DetectionLimit) -> bool:
    return other is limit or _is_mirrored(limit, other)


def _is_mirrored(limit: DetectionLimit, other: DetectionLimit) -> bool:
    """Return whether two limits are one speed in both directions, over the same time."""
    if limit.missed is None or other.missed is None or limit.window_s is None or limit.barrier or other.barrier:
        return False
    is_opposite = limit.is_upper != other.is_upper and limit.window_s == other.window_s and limit.unit == other.unit
    return is_opposite and abs(limit.missed + other.missed) <= _SAME * abs(limit.missed)


def _describe_level(
    site: Site,
    judgement: SeriesJudgement,
    criterion: JudgingCriterion,
    limit: DetectionLimit,
    days: int | None,
    reached: Message | None,
    *,
    is_either: bool,
) -> LevelWarning:
    parts: list[Message] = []
    most_readings = 0
    if limit.missed is None or limit.is_unreachable:
        parts.append(_UNREACHABLE(text=_NO_BOUND() if limit.barrier is None else limit.barrier.reason))
    else:
        most_readings = max(limit.least_readings, ceil((limit.decides_within_s or 0.0) / judgement.interval_s - _SAME))
        parts.append(_describe_bound(limit, is_either=is_either))
        parts.append(_describe_time(limit, judgement.interval_s, most_readings))
        if limit.barrier is not None:
            parts.append(_LATE(text=limit.barrier.reason))
    if reached is not None:
        parts.append(reached)
    name = site.levels[limit.level].name
    return LevelWarning(
        level=name,
        criterion=criterion.id,
        faster_than=None if limit.is_unreachable else limit.missed,
        unit=limit.unit,
        window_s=limit.window_s,
        least_readings=limit.least_readings,
        most_readings=most_readings,
        decides_within_s=limit.decides_within_s,
        days=days,
        text=_LEVEL(level=Term(name), parts=MessageList(tuple(parts))),
    )


def _describe_days(
    site: Site, criteria: Sequence[str], stations: Sequence[str], level: str, days: int, record: RecordDays
) -> Message:
    """Describe on which days of the record the stations reached a level."""
    if days == 0:
        return _NOT_REACHED(days=record.total)
    if not record.by_station:
        readers = {name for reader in site.criteria if reader.id in criteria for name in reader.stations}
        template = _REACHED if readers <= set(stations) and len(stations) == 1 else _REACHED_TOGETHER
        return template(n=days, days=record.total)
    dates: dict[str, set[str]] = {station: set() for station in stations}
    for station in stations:
        for criterion in criteria:
            dates[station].update(record.by_station.get((criterion, station, level), ()))
    parts: list[Message] = []
    for station, reached in dates.items():
        if len(reached) == 1:
            parts.append(_REACHED_ONCE(station=station, n=1, first=min(reached)))
        elif reached:
            parts.append(_REACHED_AT(station=station, n=len(reached), first=min(reached), last=max(reached)))
    if not parts:
        return _NOT_REACHED(days=record.total)
    never = [station for station, reached in dates.items() if not reached]
    if never:
        parts.append(_NEVER_AT(stations=_list_names(never)))
    return _REACHED_BY(days=record.total, parts=MessageList(tuple(parts), ", "))


def _describe_bound(limit: DetectionLimit, *, is_either: bool) -> Message:
    missed = limit.missed or 0.0
    bound = missed if limit.bound is None else limit.bound
    if limit.window_s is None:
        return (_ABOVE if limit.is_upper else _BELOW)(value=Figure(bound, "g", limit.unit))
    rate = Figure(abs(bound), "g", limit.unit)
    window = Duration(limit.window_s, "about")
    if limit.is_between_readings:
        text = _BETWEEN(rate=rate)
    elif is_either:
        text = _FASTER_EITHER(rate=rate, window=window)
    elif limit.is_any_direction:
        text = _FASTER_ANY(rate=rate, window=window)
    else:
        text = (_FASTER if limit.is_upper else _FASTER_BACK)(rate=rate, window=window)
    if abs(missed) <= _ABOUT * abs(bound):
        return text
    return join([text, _IN_EFFECT(rate=_round_figure(abs(missed), 3, limit.unit))], ", ")


def _describe_time(limit: DetectionLimit, interval_s: float, most_readings: int) -> Message:
    to = Duration(most_readings * interval_s, "about")
    if most_readings <= 1:
        return _AT_ONCE(to=to)
    if limit.window_s is None:
        return _VALUE_DECIDED(n=most_readings, to=to)
    if most_readings == limit.least_readings:
        return _DECIDED(n=most_readings, to=to)
    since = Duration(limit.least_readings * interval_s, "about")
    return _DECIDED_BETWEEN(n=limit.least_readings, most=most_readings, since=since, to=to)


# ---- what is missed --------------------------------------------------------------------------------------------
def _describe_missed(judgement: SeriesJudgement) -> Message:
    tightest = judgement.list_limits(1)
    rates = {limit.is_upper: limit for limit in tightest if limit.window_s is not None}
    parts: list[Message] = []
    over, under = rates.get(True), rates.get(False)
    if over is not None and over.missed is not None:
        # The rates of other quantities than lengths have lengths of their own unit.
        length = _round_figure(over.missed * _YEAR_DAYS, 3, over.unit.partition("/")[0])
        parts.append(_SLOW(rate=_round_figure(over.missed, 3, over.unit), length=length))
    if under is not None and under.missed is not None and (over is None or not _is_mirrored(over, under)):
        parts.append(_SLOW_BACK(rate=_round_figure(abs(under.missed), 3, under.unit)))
    has_values = any(limit.window_s is None for limit in tightest)
    if parts and has_values:
        parts = [join([part, _SLOW_UNTIL()], ", ") for part in parts]
    if not tightest:
        return _MISSED(parts=_EVERYTHING())
    if not rates:
        parts.append(_VALUES())
    readings = [limit.least_readings for _, limit in _list_limits(judgement) if limit.missed is not None]
    first = min((n for n in readings if n), default=0)
    if first > 1:
        parts.append(_SUDDEN(time=Duration(first * judgement.interval_s, "about"), n=first))
    elif first == 1:
        parts.append(_SUDDEN_FIRST(time=Duration(judgement.interval_s, "about")))
    gaps_s = [limit.longest_gap_s for _, limit in _list_limits(judgement) if limit.longest_gap_s is not None]
    if gaps_s:
        parts.append(_GAP(time=Duration(max(gaps_s), "about")))
    if any(limit.error <= 0.0 for limit in rates.values()):
        parts.append(_HIDDEN())
    return _MISSED(parts=MessageList(tuple(parts)))


def _describe_jumps(site: Site, judgement: SeriesJudgement) -> Message | None:
    """Describe the effect of a single jump between two readings; None if it depends on more than its size."""
    limits = [(criterion, limit) for criterion, limit in _list_limits(judgement) if limit.missed is not None]
    if not limits or any(limit.window_s is None or limit.missed_jump <= 0.0 for _, limit in limits):
        return None
    asked = min((criterion.asks_from for criterion, _ in limits), default=inf)
    every = Duration(judgement.interval_s, "about")
    silent = min([asked, *(limit.missed_jump for _, limit in limits)])
    if isinf(silent):
        return _JUMPS(every=every, parts=_NO_JUMP())
    # One station alone does not raise the top level where several are needed: see the note on it.
    most = site.top_level if site.fusion.top_needs <= 1 else site.top_level - 1
    raising: dict[int, float] = {}
    possible: dict[int, DetectionLimit] = {}
    for _, limit in limits:
        if limit.level > most or isinf(limit.missed_jump):
            continue
        if limit.is_between_readings:
            raising[limit.level] = min(limit.missed_jump, raising.get(limit.level, inf))
        elif limit.missed_jump < min(asked, possible[limit.level].missed_jump if limit.level in possible else inf):
            possible[limit.level] = limit

    def is_raised(level: int, jump: float) -> bool:
        return any(level <= other and least <= jump for other, least in raising.items())

    outcomes: list[tuple[float, Message]] = []
    for level, limit in possible.items():
        if not is_raised(level, limit.missed_jump):
            length = _round_figure(limit.missed_jump, 2, judgement.unit)
            window = Duration(limit.window_s or 0.0, "about")
            name = Term(site.levels[level].name)
            outcomes.append((limit.missed_jump, _POSSIBLE_JUMP(length=length, level=name, window=window)))
    for level, jump in raising.items():
        length = _round_figure(jump, 2, judgement.unit)
        outcomes.append((jump, _RAISING_JUMP(length=length, level=Term(site.levels[level].name))))
    if not isinf(asked):
        length = _round_figure(asked, 2, judgement.unit)
        if is_raised(1, asked):
            outcomes.append((asked, _ASKED_JUMP(length=length)))
        else:
            wait = Duration(find_answer_time_s(site, judgement.station), "about")
            question = _ASKED_RAISING_JUMP(length=length, level=Term(site.levels[1].name), time=wait)
            outcomes.append((asked, question))
    outcomes.sort(key=lambda outcome: outcome[0])
    parts = [_SILENT_JUMP(length=_round_figure(silent, 2, judgement.unit)), *(text for _, text in outcomes)]
    return _JUMPS(every=every, parts=MessageList(tuple(parts)))


def _round_figure(value: float, digits: int, unit: str) -> Figure:
    """Return a value with some significant digits, never in powers of ten.

    >>> [_round_figure(value, 2, "mm").english() for value in (164.3, 9.87, 7305.0)]
    ['160 mm', '9.9 mm', '7300 mm']
    """
    return Figure(float(f"{value:.{digits}g}"), "g", unit)


# ---- criteria that are not about the motion of one series ------------------------------------------------------
def _describe_other_criteria(prepared: PreparedSite, record: RecordDays) -> Iterator[Message]:
    site = prepared.site
    groups = prepared.groups
    for criterion in site.criteria:
        is_described = criterion.kind.followed and criterion.kind.per is not None
        if criterion.role != "witness" or is_described or not criterion.thresholds:
            continue
        names = [voting.name for voting in list_voting_witnesses(site, criterion)]
        if not names:
            continue
        if criterion.kind.id == "inverse_velocity":
            levels = [_describe_within(site, criterion, threshold, record) for threshold in criterion.thresholds]
            if len({groups.get(name, name) for name in names}) > 1:
                yield _FAILURE(stations=_list_names(names), levels=MessageList(tuple(levels), ", "))
            continue
        bounds = [_describe_threshold(site, criterion, threshold, record) for threshold in criterion.thresholds]
        kind = Term(criterion.kind.id)
        yield _OTHER(kind=kind, stations=_list_names(names), levels=MessageList(tuple(bounds), ", "))


def _describe_within(site: Site, criterion: Criterion, threshold: Threshold, record: RecordDays) -> Message:
    name = site.levels[threshold.level].name
    text = _FAILURE_LEVEL(time=Duration(threshold.window_s or 0.0, "about"), level=Term(name))
    return _add_days(text, criterion.id, record.find(criterion.id, name), record)


def _describe_threshold(site: Site, criterion: Criterion, threshold: Threshold, record: RecordDays) -> Message:
    name = site.levels[threshold.level].name
    spec = site.series(criterion.stations[0], criterion.quantity) if criterion.stations else None
    unit = criterion.kind.unit or criterion.kind.unit_of(spec.unit if spec is not None else "")
    bound = _ABOVE if threshold.over is not None else _BELOW
    value = bound(value=Figure(threshold.bound or 0.0, "g", unit))
    if threshold.window_s:
        window = Duration(threshold.window_s, "about")
        text = _OTHER_LEVEL_IN(level=Term(name), bound=value, window=window)
    else:
        text = _OTHER_LEVEL(level=Term(name), bound=value)
    return _add_days(text, criterion.id, record.find(criterion.id, name), record)


def _add_days(text: Message, criterion: str, days: int | None, record: RecordDays) -> Message:
    return text if days is None else _WITH_DAYS(text=text, reached=record.describe(criterion, days))
