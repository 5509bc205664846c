"""How each station does: silent, unusable, stuck, to be verified or well; it never touches a hazard level."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple, cast

from forecasting.hydrology.rain_amounts import UnknownReason
from forecasting.hydrology.rain_sums import resolve_sums
from monitor.decision.alert_texts import name_series
from monitor.decision.records import Condition, StationHealth, Steps, instant, seconds
from monitor.decision.series.assessment import REPEATS, DecisionContext, bound_of, is_hidden, is_of
from monitor.decision.series.noise import LEARNT
from monitor.decision.series.step_detector import OPENING
from monitor.decision.series.step_fates import carries
from monitor.decision.series.steps import QUIET
from monitor.decision.series.tracks import GIVES_NONE, IS_AT_STOP, Track, Tracks
from monitor.readings.no_value import AT_STOP, FILL
from monitor.readings.records import HARMLESS, Reading
from monitor.sites.records import Criterion, SeriesSpec, Site, Station, Threshold, once_per_record
from monitor.sites.witnesses import find_voting_series
from monitor.text.instants import FUTURE_TOLERANCE
from monitor.text.message import LABELLED_TEXT, Duration, Figure, Message, Template, Term, Timestamp

_WELL: Final = Message("", "health.well", {})
_UNEXPLAINED: Final = Template("health.unexplained_step", "an unexplained step waits for verification")
_LEARNING: Final = Template(
    "health.learning", "learning its noise, {n} of {n2} readings: until then only a clear step asks for verification"
)
_NOTHING_YET: Final = Template("health.nothing_yet", "no reading has come yet")
NEVER_RECEIVED: Final = Template("health.never_received", "silent, no reading has ever come")
_TOO_OLD: Final = Template(
    "health.too_old", "silent, nothing newer than {at} has come; {duration} without data are allowed"
)
_UNUSABLE: Final = Template("health.unusable", "no reading can be used")
_UNUSABLE_FOR: Final = Template("health.unusable_for", "no reading could be used for {duration}: {text}")
_FLAGGED: Final = Template("health.flagged", "its newest value is flagged and not used")
_NO_VALUE: Final = Template("health.no_value", "it gives no value, what it sends stands for none")
_AT_STOP: Final = Template(
    "health.at_stop",
    "it is at its stop: {text}, and what moved it there may move on unseen. Its last motion counts. Look at it, and "
    "set it back or change its range",
)
_COARSE: Final = Template(
    "health.coarse",
    "one step of its last digit is {size}, and {bound} in {window} could hide in it: it has no vote for rest. Set the "
    "receiver or logger to send more decimals (NMEA: seven of a minute; RTKLIB: nine of a degree)",
)
_SCATTERS: Final = Template(
    "health.scatters",
    "it cannot be judged, for it scatters by {size} where {usual} is usual. It raises no level before its clock is "
    "over and lowers none by itself. A person may lower the level, or others that raised it and were in sight for the "
    "whole time of recovery; after {n} readings like these its noise is learnt anew",
)
_FASTER: Final = Template(
    "health.sums_faster",
    "its sums arrive faster than each {duration}. All of its rain counts, so a sum may be too high, and the time "
    "counts as not measured, so its rain lowers no level. Correct `interval` in the site file, or stop the second "
    "source of its sums",
)
_TIPS: Final = Template(
    "health.rain_tips",
    "each of its rows is one tip of the gauge, but the site file declares sums of {duration}. All tips count, and time "
    'without tips counts as not measured, so its rain lowers no level. Declare `stamp = "event"` in the site file',
)
_EARLY_S: Final = FUTURE_TOLERANCE.total_seconds()
_observed: Final[Callable[[Reading], datetime]] = attrgetter("observed_at")
WELL = frozenset({"ok", "verify"})
SICK = frozenset({"stuck", "flagged"})
COARSE: Final = "coarse"  # its last digit hides motion over a bound
OVERLAP: Final = "overlap"  # its sums arrive faster than declared
TIPS: Final = "tips"  # its rows are tips, and sums are declared
BLIND: Final = frozenset({AT_STOP, COARSE})  # it cannot show rest, and what it showed of motion counts
_RANK = {"ok": 0, "verify": 1, "unknown": 2, "stuck": 3, "flagged": 4, "silent": 5}
MUTE: Final = 2  # newest epochs without a value, from which on an instrument gives none


class SeriesProblem(NamedTuple):
    """What is wrong with one series."""

    state: str
    reason: Message
    since_s: float
    urgency: int = 1


class SeriesHealth(NamedTuple):
    """How one declared series does (one of `BLIND` shows no rest), its newest epoch, and why it scatters."""

    state: str
    reason: Message
    newest_s: float | None
    burst: Message | None = None


SeriesHealthMap = Mapping[tuple[str, str], SeriesHealth]  # by station and declared quantity


def examine(
    context: DecisionContext, tracks: Tracks
) -> tuple[tuple[StationHealth, ...], dict[str, Condition], SeriesHealthMap]:
    """Health of every declared station, the open conditions by alert key, and how each series does.

    A station shows the worst of its series; what may vote is judged by the series that a criterion reads alone, so
    that a broken thermometer beside a GNSS antenna silences nobody. Open steps join it later (`mark_unexplained`).
    """
    voting = find_voting_series(context.site)
    series_health: dict[tuple[str, str], SeriesHealth] = {}
    healths: list[StationHealth] = []
    conditions: dict[str, Condition] = {}
    known = context.memory.conditions
    coarse = find_coarse(context)
    for station in context.site.stations:
        states = [("ok", _WELL)]
        newest: list[float] = []
        for spec in station.series:
            used = [t for t in tracks.get(station.id, ()) if carries(t, spec.quantity)]
            seen_s = _newest(context, station, spec)
            newest += [] if seen_s is None else [seen_s]
            found = _examine_series(context, spec, seen_s, used)
            hidden, is_whole = coarse.get((station.id, spec.quantity), (None, False))
            problems = [one for one in (_examine_rain(context, spec), found or hidden) if one is not None]
            for one in problems:
                if one.state != "unknown":
                    place = f"{station.id}.{spec.quantity}"
                    name = "stale" if one.state == "silent" else one.state
                    text = LABELLED_TEXT(name=name_series(place), text=one.reason)
                    key, condition = f"health:{place}:{name}", Condition("health", one.urgency, one.since_s, text)
                    conditions[key] = condition
                if one is not hidden or is_whole:
                    shown = "verify" if one.state in {*BLIND, OVERLAP, TIPS} else one.state
                    states.append((shown, LABELLED_TEXT(name=Term(spec.quantity), text=one.reason)))
            found = found or (hidden if is_whole else None)
            burst = _explain_burst(spec, used, known, (station.id, spec.quantity))
            shown, why = ("ok", _WELL) if found is None else (found.state, found.reason)
            series_health[station.id, spec.quantity] = SeriesHealth(shown, why, seen_s, burst)
            states += [] if burst is None else [("verify", burst)]
        state, reason = max(states, key=lambda one: _RANK[one[0]])  # of equals the first
        reason = _explain_well(tracks.get(station.id, ())) if state == "ok" else reason
        healths.append(
            StationHealth(
                station=station.id,
                state=state,
                reason=reason,
                newest_s=max(newest, default=None),
                expected_interval_s=_find_interval_s(station),
                missing_share_24h=_missing_share(context, station),
                votes=_may_vote(station, state, series_health, voting),
            )
        )
    return tuple(healths), conditions, series_health


@once_per_record
def _find_interval_s(station: Station) -> float | None:
    return min((s.interval_s for s in station.series), default=None)


def _explain_well(tracks: Sequence[Track]) -> Message:
    """What is to be known of a station that does well: how far the series that knows its noise least has learnt it."""
    learning = [t.learning for t in tracks if t.learning is not None]
    return _LEARNING(n=min(learning), n2=OPENING) if learning else _WELL


def mark_unexplained(
    site: Site, healths: Sequence[StationHealth], series_health: SeriesHealthMap, steps: Steps
) -> tuple[StationHealth, ...]:
    """Health of the stations, those that do well and have a step that nobody has explained to be verified."""
    unsure, voting = {k.station for k, s in steps.items() if s.state not in QUIET}, find_voting_series(site)
    found = []
    for health in healths:
        station = site.station(health.station) if health.state == "ok" and health.station in unsure else None
        if station is not None:
            votes = _may_vote(station, "verify", series_health, voting)
            health = replace(health, state="verify", reason=_UNEXPLAINED(), votes=votes)  # noqa: PLW2901
        found.append(health)
    return tuple(found)


def scatter_key(place: tuple[str, str]) -> str:
    """The alert key of a series that cannot be judged."""
    return f"health:{'.'.join(place)}:scatter"


def _explain_burst(
    spec: SeriesSpec, tracks: Sequence[Track], known: Collection[str], place: tuple[str, str]
) -> Message | None:
    """Why a series cannot be judged, and until when; None where it can. `known`: alert keys of what was open before."""
    if not (bursts := [t.burst for t in tracks if t.burst is not None]):
        return None
    is_known = scatter_key(place) in known
    burst = next((b for b in bursts if is_known or b.begins), None)
    if burst is None:
        return None
    size, usual = Figure(burst.size, ".2g", spec.unit), Figure(burst.usual, ".2g", spec.unit)
    return _SCATTERS(size=size, usual=usual, n=LEARNT)


def _examine_rain(context: DecisionContext, spec: SeriesSpec) -> SeriesProblem | None:
    """Return the problem of a gauge whose rows are not the sums of intervals that the site file declares."""
    if spec.quantity != "rain" or spec.stamp != "interval_end":
        return None
    sums = resolve_sums(context.list_rain(spec.station, spec.quantity, spec), spec.interval_s)
    if sums.are_tips:
        state, template = TIPS, _TIPS
    elif any(interval.reason is UnknownReason.FASTER for interval in sums.unknown):
        state, template = OVERLAP, _FASTER
    else:
        return None
    known = context.memory.conditions.get(f"health:{spec.station}.{spec.quantity}:{state}")
    since_s = context.now_s if known is None else known.since_s
    return SeriesProblem(state, template(duration=Duration(spec.interval_s)), since_s)


def _may_vote(
    station: Station, state: str, series_health: SeriesHealthMap, voting: Collection[tuple[str, str]]
) -> bool:
    mine = [series_health[station.id, s.quantity].state for s in station.series if (station.id, s.quantity) in voting]
    return "ok" in mine if mine else station.on_slope and state in WELL


def _newest(context: DecisionContext, station: Station, spec: SeriesSpec) -> float | None:
    """Newest epoch of any component, whatever its quality, not from the future."""
    found = [
        n.observed_s
        for quantity, n in context.list_newest(station.id)
        if "future" not in n.flags and n.observed_s <= context.now_s and is_of(context.site, spec, quantity)
    ]
    return max(found, default=None)


def _examine_series(
    context: DecisionContext, spec: SeriesSpec, seen_s: float | None, tracks: Sequence[Track]
) -> SeriesProblem | None:
    now_s, silence_s = context.now_s, context.find_silence_s(spec)
    if context.view.draining:
        # what looks silent may only be waiting in the queue; what was sick stays so until it says something sound
        known = _find_lasting(context, spec, tracks)
        if known is not None:
            return known
        return None if seen_s is not None else SeriesProblem("unknown", _NOTHING_YET(), now_s)
    if seen_s is None:
        started_s = context.memory.started_s if context.memory.started_s is not None else now_s
        if now_s - started_s > silence_s:
            return SeriesProblem("silent", NEVER_RECEIVED(), started_s)
        return SeriesProblem("unknown", _NOTHING_YET(), started_s)
    if now_s - seen_s > silence_s:
        since = seen_s + silence_s
        text = _TOO_OLD(at=Timestamp(seen_s), duration=Duration(silence_s))
        return SeriesProblem("silent", text, since)
    if now_s - seen_s <= _EARLY_S and tracks and all(t.newest_s is None for t in tracks):
        return SeriesProblem(
            "unknown", _NOTHING_YET(), seen_s
        )  # the first epoch of a clock a little ahead is still to come
    return _examine_values(context, spec, seen_s, tracks)


def _examine_values(
    context: DecisionContext, spec: SeriesSpec, seen_s: float, tracks: Sequence[Track]
) -> SeriesProblem | None:
    """What is wrong with the values of a series that is not silent."""
    usable = [t.usable_s for t in tracks if t.usable_s is not None]
    mute = _find_mute(context, spec, tracks, max(usable, default=None))
    if mute is not None:
        return mute
    silence_s = context.find_silence_s(spec)
    if tracks and (not usable or context.now_s - max(usable) > silence_s):
        why = next((w for t in tracks for _, w in reversed(t.set_aside)), _UNUSABLE())
        text = _UNUSABLE_FOR(duration=Duration(silence_s), text=why)
        return SeriesProblem("flagged", text, max(usable, default=seen_s))
    if not tracks and not _is_unflagged(context, spec):
        return SeriesProblem("flagged", _FLAGGED(), seen_s)
    if tracks and all(t.stuck for t in tracks):
        return SeriesProblem("stuck", REPEATS(), seen_s)
    return None


def _find_mute(
    context: DecisionContext, spec: SeriesSpec, tracks: Sequence[Track], usable_s: float | None
) -> SeriesProblem | None:
    """An instrument whose newest epochs say that it has no value, or that it has reached the end of its scale."""
    if not tracks:
        known = context.view.newest.get(f"{spec.station}.{spec.quantity}")
        if known is not None and FILL in known.flags:
            return SeriesProblem("flagged", _NO_VALUE(), known.observed_s)
        return None
    newest = [(at_s, why) for t in tracks for at_s, why in t.set_aside if usable_s is None or at_s > usable_s]
    newest.sort(key=itemgetter(0))
    last = newest[-1][1] if newest else _WELL
    if _says(last, IS_AT_STOP):
        return SeriesProblem(AT_STOP, _AT_STOP(text=last), newest[0][0], 2)
    mute = {at_s for at_s, why in newest if _says(why, GIVES_NONE)}
    if _says(last, GIVES_NONE) and len(mute) >= MUTE:
        return SeriesProblem("flagged", last, min(mute))
    return None


def _says(why: str, template: Template) -> bool:
    return isinstance(why, Message) and why.id == template.id


def _find_lasting(context: DecisionContext, spec: SeriesSpec, tracks: Sequence[Track]) -> SeriesProblem | None:
    place = f"{spec.station}.{spec.quantity}"
    sound = [t.usable_s for t in tracks if t.usable_s is not None and not t.stuck]
    for name in sorted({*SICK, AT_STOP}):
        known = context.memory.conditions.get(f"health:{place}:{name}")
        if known is None:
            continue
        spoke = max(sound, default=known.since_s) > known.since_s if tracks else _is_unflagged(context, spec)
        if not spoke:
            return SeriesProblem(name, cast("Message", known.reason.values["text"]), known.since_s, known.level)
    return None


def _is_unflagged(context: DecisionContext, spec: SeriesSpec) -> bool:
    known = context.view.newest.get(f"{spec.station}.{spec.quantity}")
    return known is None or HARMLESS.issuperset(known.flags)


def _missing_share(context: DecisionContext, station: Station) -> float | None:
    """Share of the last 24 h's epochs that never came, where the loaded window reaches that far."""
    shares = []
    from_s = context.now_s - 86400.0
    from_at, to_at = instant(from_s), instant(context.now_s)
    for spec in station.series:
        expected = max(1, round(86400.0 / spec.interval_s))
        for quantity, readings in context.list_readings(station.id):
            if not readings or spec.interval_s > 86400.0 or not is_of(context.site, spec, quantity):
                continue
            if readings[0].observed_at <= from_at or seconds(readings[0].observed_at) <= from_s + spec.interval_s:
                past = readings[-1].observed_at <= to_at  # nothing is from the future: there is nothing to look for
                end = len(readings) if past else bisect_right(readings, to_at, key=_observed)
                first = end - expected  # where nothing is missing
                if not (first > 0 and readings[first - 1].observed_at <= from_at < readings[first].observed_at):
                    first = bisect_right(readings, from_at, key=_observed)
                shares.append(1.0 - min(1.0, (end - first) / expected))
    return round(max(shares), 6) if shares else None


def find_coarse(context: DecisionContext) -> dict[tuple[str, str], tuple[SeriesProblem, bool]]:
    """What the last digit of series hides, by station and declared quantity; whether it hides every bound of a rate."""
    bounds_of: dict[tuple[str, str], list[tuple[bool, float, Criterion, Threshold]]] = {}
    for criterion in context.site.criteria:
        for station in criterion.stations if criterion.kind.rate else ():
            track = context.track(criterion, station)
            digit = track.digit if track.digits else 0.0
            if digit and (spec := context.site.series(station, criterion.quantity)) is not None:
                bounds = ((is_hidden(digit, criterion, t), digit, criterion, t) for t in criterion.thresholds)
                bounds_of.setdefault((station, spec.quantity), []).extend(bounds)
    found = {}
    for place, some in bounds_of.items():
        hidden = [one for one in some if one[0]]
        spec = context.site.series(*place)
        if not hidden or spec is None:
            continue
        _, digit, criterion, threshold = hidden[0]
        reason = _COARSE(
            size=Figure(digit, ".3g", spec.unit),
            window=Duration(threshold.effective_window_s),
            bound=Figure(bound_of(threshold)[0], "g", criterion.kind.unit_of(spec.unit)),
        )
        found[place] = SeriesProblem(COARSE, reason, context.now_s), len(hidden) == len(some)
    return found
