"""Determine the health of each station: ok, to be verified, unknown, stuck, flagged or silent.

Health opens notices and never raises a hazard level. The votes of a `stuck` or `flagged` series are set aside
(`monitor.decision.decide.find_set_aside_reasons`), and a series that cannot show rest lowers no vote.
`StationHealth.votes` is stored for display only.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from forecasting.hydrology.rain_amounts import UnknownReason
from forecasting.hydrology.rain_sums import resolve_sums
from monitor.decision.alert_texts import name_series
from monitor.decision.records import Condition, StationHealth, Steps
from monitor.decision.series.assessment import REPEATS, DecisionContext, belongs_to_series, is_below_last_digit
from monitor.decision.series.step_fates import contains_quantity
from monitor.decision.series.step_states import NOT_BLOCKING
from monitor.readings.cleaned.noise import ACCEPTANCE_EPOCHS
from monitor.readings.cleaned.step_detector import OPENING_EPOCHS
from monitor.readings.cleaned.tracks import GIVES_NONE, IS_AT_STOP, Track, Tracks
from monitor.readings.no_value import AT_STOP, FILL
from monitor.readings.records import HARMLESS, Reading
from monitor.sites.quantities import measures_motion
from monitor.sites.records import Criterion, SeriesSpec, Station, Threshold, find_recovery_limit
from monitor.text.instants import FUTURE_TOLERANCE, epoch_s, from_epoch_s
from monitor.text.message import LABELLED_TEXT, Duration, Figure, Message, Template, Term, Timestamp

if TYPE_CHECKING:
    from monitor.decision.prepared_site import PreparedSite

_NO_PROBLEM: Final = Message("", "health.well", {})
_UNEXPLAINED: Final = Template("health.step_unverified", "nobody has answered what its jump was")
_NOISE_UNKNOWN: Final = Template(
    "health.noise_not_known_yet",
    "its noise is not known yet, {n} of {n2} readings. Until then only a clear jump opens a question",
)
_NOTHING_YET: Final = Template("health.no_reading_yet", "no reading has been received yet")
NEVER_RECEIVED: Final = Template("health.silent_from_start", "silent: no reading has ever been received")
SILENT_SINCE: Final = Template(
    "health.silent_since", "silent since {at}; at most {duration} without readings are allowed"
)
_UNUSABLE: Final = Template("health.unusable", "no reading can be used")
_UNUSABLE_FOR: Final = Template("health.nothing_usable_for", "no usable reading for {duration}: {text}")
_FLAGGED: Final = Template("health.newest_flagged", "its newest reading carries a flag and is not used")
_NO_VALUE: Final = Template("health.sends_fill_value", "it sends the code for a missing measurement instead of a value")
_AT_STOP: Final = Template(
    "health.end_of_scale",
    "{text}. It cannot show further motion in this direction. Its last motion still counts. Inspect the instrument and "
    "reset it, or change its range",
)
_COARSE: Final = Template(
    "health.last_digit_too_large",
    "its last digit is worth {size}, which is more than the motion at the recovery limit ({limit}) in {window}, so it "
    "cannot show rest and lowers no level. Set the receiver or logger to send more decimals (NMEA: seven of a minute; "
    "RTKLIB: nine of a degree)",
)
_SCATTERS: Final = Template(
    "health.cannot_be_judged",
    "its values scatter by {size} instead of the usual {usual}, so the series cannot be judged. Until the deadline it "
    "raises no level, and it lowers none by itself. A person may lower the level; so may other witnesses of the level "
    "that had data during the whole recovery. After {n} such readings the larger scatter counts as usual. Inspect the "
    "instrument",
)
_FASTER: Final = Template(
    "health.rain_sums_faster",
    "its rain sums arrive more often than every {duration}. All of its rain counts, so a sum may be too high. The time "
    "counts as not measured, so its rain lowers no level. Correct `interval` in the site file, or stop the second "
    "source of its sums",
)
_TIPS: Final = Template(
    "health.rain_sends_tips",
    "each of its readings is one tip of the gauge, but the site file declares sums of {duration}. All tips count. Time "
    'without tips counts as not measured, so its rain lowers no level. Declare `stamp = "event"` in the site file',
)
_RANGE: Final = Template(
    "health.values_out_of_range",
    "{n} of its newest {total} values are out of range ({low} to {high}), the last {value} at {at}. They raise no "
    "level. Check the unit and the meaning of the values, then the instrument. If the values are right, set low and "
    "high of the series in the site file",
)
_EARLY_S: Final = FUTURE_TOLERANCE.total_seconds()
_observed: Final[Callable[[Reading], datetime]] = attrgetter("observed_at")
HEALTHY_STATES: Final = frozenset({"ok", "verify"})
SICK: Final = frozenset({"stuck", "flagged"})
# The last digit is larger than motion at the recovery limit.
COARSE: Final = "coarse"
# Sums of rain are received more often than declared.
OVERLAP: Final = "overlap"
# Readings of rain are tips although sums are declared.
TIPS: Final = "tips"
# Most of the newest values are out of range.
OUT_OF_RANGE: Final = "out_of_range"
# Newest values of a series whose share out of range is determined, and how many of them must be out of range.
RANGE_VALUES: Final = 20
MIN_OUT_OF_RANGE: Final = 2
# A series in one of these states cannot show rest. The motion that it showed before still counts.
CANNOT_SHOW_REST: Final = frozenset({AT_STOP, COARSE})
# The worst state of the series of a station is that of the station.
_RANK: Final = {"ok": 0, "verify": 1, "unknown": 2, "stuck": 3, "flagged": 4, "silent": 5}
# An instrument gives no value if this many of its newest epochs have none.
MIN_EPOCHS_WITHOUT_VALUE: Final = 2


class SeriesProblem(NamedTuple):
    """A problem of one series, and since when (epoch seconds)."""

    state: str
    reason: Message
    since_s: float
    urgency: int = 1


class SeriesHealth(NamedTuple):
    """Health of one declared series.

    Attributes:
        state: A state of a station, or one of `CANNOT_SHOW_REST`.
        newest_s: Its newest epoch, whatever its quality; None if there is none.
        burst_reason: Why it cannot be judged if it scatters; None otherwise.
    """

    state: str
    reason: Message
    newest_s: float | None
    burst_reason: Message | None = None


SeriesHealthMap = Mapping[tuple[str, str], SeriesHealth]  # by station and declared quantity


class _SeriesExamination(NamedTuple):
    """Result of the examination of one series.

    Attributes:
        problems: Problems that the examination found, whether or not they open a condition.
        station_states: States that the series gives to its station, each with the reason.
    """

    health: SeriesHealth
    problems: Sequence[SeriesProblem]
    station_states: Sequence[tuple[str, Message]]


def examine_stations(
    context: DecisionContext, tracks: Tracks
) -> tuple[tuple[StationHealth, ...], dict[str, Condition], SeriesHealthMap]:
    """Return the health of every declared station, the open conditions by alert key, and the health of each series.

    A station has the state of its worst series. Whether it may vote depends only on the series that a criterion uses:
    a broken thermometer does not exclude the GNSS antenna beside it. Open steps are added later (`mark_unexplained`).
    """
    coarse = _find_coarse_digits(context)
    series_health: dict[tuple[str, str], SeriesHealth] = {}
    conditions: dict[str, Condition] = {}
    healths: list[StationHealth] = []
    for station in context.site.stations:
        examinations = []
        for spec in station.series:
            place = (station.id, spec.quantity)
            series_tracks = [track for track in tracks.get(station.id, ()) if contains_quantity(track, spec.quantity)]
            examination = _examine_declared_series(context, spec, series_tracks, coarse.get(place))
            examinations.append(examination)
            series_health[place] = examination.health
            for problem in examination.problems:
                if problem.state != "unknown":
                    key, condition = _open_condition(place, problem)
                    conditions[key] = condition
        healths.append(_combine_series(context, station, examinations, series_health, tracks))
    return tuple(healths), conditions, series_health


def _examine_declared_series(
    context: DecisionContext, spec: SeriesSpec, tracks: Sequence[Track], coarse: "_CoarseDigits | None"
) -> _SeriesExamination:
    """Return the health of a series, its problems, and the states that they give to the station."""
    newest_s = _find_newest(context, spec)
    problem = _examine_series(context, spec, newest_s, tracks)
    main_problem = problem
    if problem is None and coarse is not None:
        main_problem = coarse.problem
    is_flagged = problem is not None and problem.state == "flagged"
    out_of_range = _examine_range(context, spec, is_flagged=is_flagged)
    problems = [
        current for current in (_examine_rain(context, spec), out_of_range, main_problem) if current is not None
    ]
    shows_no_rest = coarse is not None and coarse.hides_all_bounds
    station_states = []
    for current in problems:
        if coarse is not None and current is coarse.problem and not shows_no_rest:
            # The last digit is small enough for other rate bounds of the series.
            continue
        state = "verify" if current.state in {*CANNOT_SHOW_REST, OVERLAP, TIPS, OUT_OF_RANGE} else current.state
        station_states.append((state, LABELLED_TEXT(name=Term(spec.quantity), text=current.reason)))
    burst_reason = _explain_burst(spec, tracks, context.memory.conditions)
    if burst_reason is not None:
        station_states.append(("verify", burst_reason))
    series_problem = main_problem if problem is not None or shows_no_rest else None
    if series_problem is None:
        health = SeriesHealth("ok", _NO_PROBLEM, newest_s, burst_reason)
    else:
        health = SeriesHealth(series_problem.state, series_problem.reason, newest_s, burst_reason)
    if out_of_range is not None:
        # The urgent condition also explains why no value can be used, so one alert is enough.
        problems = [current for current in problems if current.state != "flagged"]
    return _SeriesExamination(health, problems, station_states)


def _combine_series(
    context: DecisionContext,
    station: Station,
    examinations: Sequence[_SeriesExamination],
    series_health: SeriesHealthMap,
    tracks: Tracks,
) -> StationHealth:
    """Return the health of a station from that of its series."""
    states = [("ok", _NO_PROBLEM)]
    for examination in examinations:
        states += examination.station_states
    # `max` returns the first of several equally bad states.
    state, reason = max(states, key=lambda state_and_reason: _RANK[state_and_reason[0]])
    if state == "ok":
        reason = _describe_unknown_noise(tracks.get(station.id, ()))
    newest = [examination.health.newest_s for examination in examinations if examination.health.newest_s is not None]
    return StationHealth(
        station=station.id,
        state=state,
        reason=reason,
        newest_s=max(newest, default=None),
        expected_interval_s=station.shortest_interval_s,
        missing_share_24h=_missing_share(context, station),
        votes=_can_vote(station, state, series_health, context.prepared.voting_series),
    )


def _open_condition(place: tuple[str, str], problem: SeriesProblem) -> tuple[str, Condition]:
    """Return the alert key and the condition of a problem."""
    series = ".".join(place)
    name = "stale" if problem.state == "silent" else problem.state
    text = LABELLED_TEXT(name=name_series(series), text=problem.reason)
    return f"health:{series}:{name}", Condition("health", problem.urgency, problem.since_s, text)


def _describe_unknown_noise(tracks: Sequence[Track]) -> Message:
    """Return how many readings the shortest series with unknown noise has; an empty text if the noise is known."""
    counts = [t.epochs_without_known_noise for t in tracks if t.epochs_without_known_noise is not None]
    return _NOISE_UNKNOWN(n=min(counts), n2=OPENING_EPOCHS) if counts else _NO_PROBLEM


def mark_unexplained(
    prepared: "PreparedSite", healths: Sequence[StationHealth], series_health: SeriesHealthMap, steps: Steps
) -> tuple[StationHealth, ...]:
    """Return the health of the stations. A station that is ok and has an open step is to be verified."""
    with_open_step = {key.station for key, step in steps.items() if step.state not in NOT_BLOCKING}
    marked = []
    for health in healths:
        station = None
        if health.state == "ok" and health.station in with_open_step:
            station = prepared.site.station(health.station)
        if station is None:
            marked.append(health)
            continue
        votes = _can_vote(station, "verify", series_health, prepared.voting_series)
        marked.append(replace(health, state="verify", reason=_UNEXPLAINED(), votes=votes))
    return tuple(marked)


def scatter_key(place: tuple[str, str]) -> str:
    """Return the alert key of a series that scatters too much to be judged."""
    return f"health:{'.'.join(place)}:scatter"


def _explain_burst(spec: SeriesSpec, tracks: Sequence[Track], open_keys: Collection[str]) -> Message | None:
    """Return why a series that scatters cannot be judged, and until when; None if it can be judged.

    Args:
        open_keys: Alert keys that were open before. An open question ends only when the scatter is nearly usual again.
    """
    bursts = [track.burst for track in tracks if track.burst is not None]
    if not bursts:
        return None
    is_open = scatter_key((spec.station, spec.quantity)) in open_keys
    burst = next((burst for burst in bursts if is_open or burst.begins), None)
    if burst is None:
        return None
    size = Figure(burst.size, ".2g", spec.unit)
    usual = Figure(burst.usual, ".2g", spec.unit)
    return _SCATTERS(size=size, usual=usual, n=ACCEPTANCE_EPOCHS)


def _examine_rain(context: DecisionContext, spec: SeriesSpec) -> SeriesProblem | None:
    """Return the problem of a gauge whose rows are not the sums of intervals that the site file declares."""
    if spec.quantity != "rain" or spec.stamp != "interval_end":
        return None
    sums = resolve_sums(context.list_cached_rain(spec.station, spec.quantity, spec), spec.interval_s)
    if sums.are_tips:
        state, template = TIPS, _TIPS
    elif any(interval.reason is UnknownReason.FASTER for interval in sums.unknown):
        state, template = OVERLAP, _FASTER
    else:
        return None
    previous = context.memory.conditions.get(f"health:{spec.station}.{spec.quantity}:{state}")
    since_s = context.now_s if previous is None else previous.since_s
    return SeriesProblem(state, template(duration=Duration(spec.interval_s)), since_s)


def _examine_range(context: DecisionContext, spec: SeriesSpec, *, is_flagged: bool) -> SeriesProblem | None:
    """Return the problem of a series of which most of the newest values are out of range.

    Such values raise no level, so motion in a wrong unit would stay unseen. The values that are in range still count:
    the problem sets no vote aside. It is urgent for motion and for series that can raise a level.

    Args:
        context: The context of the site.
        spec: The series.
        is_flagged: Whether the series has had no usable value for too long. Then it is enough that all values since
            the last one in range are out of range.
    """
    for quantity, readings in context.list_readings(spec.station):
        if not belongs_to_series(context.site, spec, quantity):
            continue
        newest = [reading for reading in readings[-RANGE_VALUES:] if FILL not in reading.flags]
        beyond = [reading for reading in newest if OUT_OF_RANGE in reading.flags]
        expected = context.site.find_expected_range(spec.station, quantity)
        is_most = 2 * len(beyond) > len(newest)
        is_all_since = is_flagged and all(OUT_OF_RANGE in reading.flags for reading in newest[-MIN_OUT_OF_RANGE:])
        if expected is None or len(beyond) < MIN_OUT_OF_RANGE or not (is_most or is_all_since):
            continue
        text = _RANGE(
            n=Figure(len(beyond), "d"),
            total=Figure(len(newest), "d"),
            low=Figure(expected.low, "g"),
            high=Figure(expected.high, "g", expected.unit),
            value=Figure(beyond[-1].value, ".6g", expected.unit),
            at=Timestamp(epoch_s(beyond[-1].observed_at)),
        )
        previous = context.memory.conditions.get(f"health:{spec.station}.{spec.quantity}:{OUT_OF_RANGE}")
        since_s = epoch_s(beyond[0].observed_at) if previous is None else previous.since_s
        is_urgent = measures_motion(quantity) or (spec.station, spec.quantity) in context.prepared.voting_series
        return SeriesProblem(OUT_OF_RANGE, text, since_s, 2 if is_urgent else 1)
    return None


def _can_vote(
    station: Station, state: str, series_health: SeriesHealthMap, voting: Collection[tuple[str, str]]
) -> bool:
    """Return whether a station can cast new votes: a series that a criterion uses is ok.

    Without such a series, the state of the station decides. A stored vote may count in any case.
    """
    states = [
        series_health[station.id, spec.quantity].state
        for spec in station.series
        if (station.id, spec.quantity) in voting
    ]
    return "ok" in states if states else station.on_slope and state in HEALTHY_STATES


def _find_newest(context: DecisionContext, spec: SeriesSpec) -> float | None:
    """Return the newest epoch of any component that is not in the future, whatever its quality."""
    epochs_s = []
    for quantity, epoch in context.list_newest(spec.station):
        is_past = "future" not in epoch.flags and epoch.observed_s <= context.now_s
        if is_past and belongs_to_series(context.site, spec, quantity):
            epochs_s.append(epoch.observed_s)
    return max(epochs_s, default=None)


def _examine_series(
    context: DecisionContext, spec: SeriesSpec, newest_s: float | None, tracks: Sequence[Track]
) -> SeriesProblem | None:
    """Return the problem of a series; None if it has none."""
    now_s = context.now_s
    silence_s = context.find_silence_s(spec)
    if context.inputs.draining:
        # The readings of a series without recent ones may still be in the queue. A problem that was open before stays
        # open until a sound reading is received.
        lasting = _find_lasting_problem(context, spec, tracks)
        if lasting is not None:
            return lasting
        return None if newest_s is not None else SeriesProblem("unknown", _NOTHING_YET(), now_s)
    if newest_s is None:
        started_s = context.memory.started_s if context.memory.started_s is not None else now_s
        if now_s - started_s > silence_s:
            return SeriesProblem("silent", NEVER_RECEIVED(), started_s)
        return SeriesProblem("unknown", _NOTHING_YET(), started_s)
    if now_s - newest_s > silence_s:
        text = SILENT_SINCE(at=Timestamp(newest_s), duration=Duration(silence_s))
        return SeriesProblem("silent", text, newest_s + silence_s)
    if now_s - newest_s <= _EARLY_S and tracks and all(track.newest_s is None for track in tracks):
        # The clock of the instrument is slightly ahead, so its first epoch does not count yet.
        return SeriesProblem("unknown", _NOTHING_YET(), newest_s)
    return _examine_values(context, spec, newest_s, tracks)


def _examine_values(
    context: DecisionContext, spec: SeriesSpec, newest_s: float, tracks: Sequence[Track]
) -> SeriesProblem | None:
    """Return the problem of the values of a series that is not silent; None if they have none."""
    usable_s = [track.usable_s for track in tracks if track.usable_s is not None]
    without_value = _find_missing_values(context, spec, tracks, max(usable_s, default=None))
    if without_value is not None:
        return without_value
    silence_s = context.find_silence_s(spec)
    if tracks and (not usable_s or context.now_s - max(usable_s) > silence_s):
        reasons = (reason for track in tracks for _, reason in reversed(track.set_aside))
        text = _UNUSABLE_FOR(duration=Duration(silence_s), text=next(reasons, _UNUSABLE()))
        return SeriesProblem("flagged", text, max(usable_s, default=newest_s))
    if not tracks and not _is_unflagged(context, spec):
        return SeriesProblem("flagged", _FLAGGED(), newest_s)
    if tracks and all(track.is_stuck for track in tracks):
        return SeriesProblem("stuck", REPEATS(), newest_s)
    return None


def _find_missing_values(
    context: DecisionContext, spec: SeriesSpec, tracks: Sequence[Track], usable_s: float | None
) -> SeriesProblem | None:
    """Return the problem of an instrument whose newest epochs contain no value, or the end of its scale.

    None if it has neither.
    """
    if not tracks:
        epoch = context.inputs.newest.get(f"{spec.station}.{spec.quantity}")
        if epoch is not None and FILL in epoch.flags:
            return SeriesProblem("flagged", _NO_VALUE(), epoch.observed_s)
        return None
    newest = []
    for track in tracks:
        for at_s, reason in track.set_aside:
            if usable_s is None or at_s > usable_s:
                newest.append((at_s, reason))
    newest.sort(key=itemgetter(0))
    last_reason = newest[-1][1] if newest else _NO_PROBLEM
    if _is_made_from(last_reason, IS_AT_STOP):
        return SeriesProblem(AT_STOP, _AT_STOP(text=last_reason), newest[0][0], 2)
    without_value_s = {at_s for at_s, reason in newest if _is_made_from(reason, GIVES_NONE)}
    if _is_made_from(last_reason, GIVES_NONE) and len(without_value_s) >= MIN_EPOCHS_WITHOUT_VALUE:
        return SeriesProblem("flagged", last_reason, min(without_value_s))
    return None


def _is_made_from(reason: str, template: Template) -> bool:
    return isinstance(reason, Message) and reason.id == template.id


def _find_lasting_problem(context: DecisionContext, spec: SeriesSpec, tracks: Sequence[Track]) -> SeriesProblem | None:
    """Return a problem that was open before and that no sound reading has ended since."""
    series = f"{spec.station}.{spec.quantity}"
    sound_s = [track.usable_s for track in tracks if track.usable_s is not None and not track.is_stuck]
    for state in sorted({*SICK, AT_STOP, OUT_OF_RANGE}):
        condition = context.memory.conditions.get(f"health:{series}:{state}")
        if condition is None:
            continue
        if tracks:
            has_ended = max(sound_s, default=condition.since_s) > condition.since_s
        else:
            has_ended = _is_unflagged(context, spec)
        if not has_ended:
            reason = cast("Message", condition.reason.values["text"])
            return SeriesProblem(
                "flagged" if state == OUT_OF_RANGE else state, reason, condition.since_s, condition.level
            )
    return None


def _is_unflagged(context: DecisionContext, spec: SeriesSpec) -> bool:
    epoch = context.inputs.newest.get(f"{spec.station}.{spec.quantity}")
    return epoch is None or HARMLESS.issuperset(epoch.flags)


def _missing_share(context: DecisionContext, station: Station) -> float | None:
    """Return the largest share of epochs of the last 24 h that are missing in a series.

    Only series whose loaded readings cover that time are included; None if there is none.
    """
    shares = []
    from_s = context.now_s - 86400.0
    from_at = from_epoch_s(from_s)
    to_at = from_epoch_s(context.now_s)
    for spec in station.series:
        expected = max(1, round(86400.0 / spec.interval_s))
        for quantity, readings in context.list_readings(station.id):
            if not readings or spec.interval_s > 86400.0 or not belongs_to_series(context.site, spec, quantity):
                continue
            first_at = readings[0].observed_at
            if first_at > from_at and epoch_s(first_at) > from_s + spec.interval_s:
                continue
            has_future = readings[-1].observed_at > to_at
            end = bisect_right(readings, to_at, key=_observed) if has_future else len(readings)
            # If nothing is missing, the first reading of the day is at this place, and no search is necessary.
            first = end - expected
            if not (first > 0 and readings[first - 1].observed_at <= from_at < readings[first].observed_at):
                first = bisect_right(readings, from_at, key=_observed)
            shares.append(1.0 - min(1.0, (end - first) / expected))
    return round(max(shares), 6) if shares else None


class _CoarseDigits(NamedTuple):
    """A series whose last digit hides motion at the recovery limit of a rate bound.

    Attributes:
        problem: The problem, with the first such bound.
        hides_all_bounds: Whether the digit does so for every rate bound of the series.
    """

    problem: SeriesProblem
    hides_all_bounds: bool


class _RateBound(NamedTuple):
    """A rate bound on a series, and whether the last digit hides motion at its recovery limit."""

    criterion: Criterion
    threshold: Threshold
    digit: float
    is_hidden: bool


def _find_coarse_digits(context: DecisionContext) -> dict[tuple[str, str], _CoarseDigits]:
    """Return the series whose last digit hides motion at the recovery limit of a rate bound.

    Returns:
        By station and declared quantity.
    """
    bounds_by_series: dict[tuple[str, str], list[_RateBound]] = {}
    for criterion in context.site.criteria:
        if not criterion.kind.rate:
            continue
        for station in criterion.stations:
            track = context.track(criterion, station)
            spec = context.site.series(station, criterion.quantity)
            if not track.digits or not track.digit or spec is None:
                continue
            bounds = bounds_by_series.setdefault((station, spec.quantity), [])
            for threshold in criterion.thresholds:
                is_hidden = is_below_last_digit(track.digit, criterion, threshold)
                bounds.append(_RateBound(criterion, threshold, track.digit, is_hidden))
    coarse = {}
    for place, bounds in bounds_by_series.items():
        hidden = [bound for bound in bounds if bound.is_hidden]
        spec = context.site.series(*place)
        if not hidden or spec is None:
            continue
        criterion = hidden[0].criterion
        threshold = hidden[0].threshold
        limit = find_recovery_limit(threshold, criterion.recover)
        reason = _COARSE(
            size=Figure(hidden[0].digit, ".3g", spec.unit),
            limit=Figure(limit, "g", criterion.kind.unit_of(spec.unit)),
            window=Duration(threshold.effective_window_s),
        )
        problem = SeriesProblem(COARSE, reason, context.now_s)
        coarse[place] = _CoarseDigits(problem, hides_all_bounds=len(hidden) == len(bounds))
    return coarse
