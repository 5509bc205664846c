"""Velocity of displacement against a bound per level: signed downslope, or the speed where there is no direction."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import dist, fsum, sqrt
from typing import Any, Final, NamedTuple, TypeVar

from forecasting.kinematics.acceleration import Acceleration
from forecasting.kinematics.velocity import Velocity, fit_rates, fit_velocities, fit_velocity
from monitor.decision.criteria.history import longest_window
from monitor.decision.criteria.ways import describe_way, list_free_ways, list_ways
from monitor.decision.keys import VoteKey
from monitor.decision.series.assessment import (
    Assessment,
    BoundInForce,
    DecisionContext,
    Measured,
    bound_of,
    each_track,
    is_hidden,
    levels_of,
    list_bounds,
    measure_nothing,
    pick_bound,
    stations_of,
)
from monitor.decision.series.tracks import Track
from monitor.decision.series.vectors import norm
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.sections import Direction, FastTrack, MeasuredTable, SpeedBound, Sureness
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, SeriesSpec, Threshold
from monitor.text.message import Duration, Figure, Message, Template, Term, Value, join

TOO_FEW: Final = Template("criterion.too_few", "too few readings in the window")()
# of a velocity, and of another quantity
_MOVES: Final = (
    Template("criterion.velocity", "velocity {rate} ± {error} in {window}, {dwell}"),
    Template("criterion.rate", "rate of {quantity}: {rate} ± {error} in {window}, {dwell}"),
)
_HELD_BACK: Final = (
    Template(
        "criterion.velocity.held_back",
        "velocity {rate} ± {error} in {window} is over {bound}, but too unsure to count: it counts once it is "
        "{n} times its error",
    ),
    Template(
        "criterion.rate.held_back",
        "rate of {quantity}: {rate} ± {error} in {window} is over {bound}, but too unsure to count: it counts "
        "once it is {n} times its error",
    ),
)
_AGAINST: Final = Template(
    "criterion.velocity.against",
    "it moves {rate} ± {error} in {window} against the declared direction, over {bound}: either {key} in the "
    "site file or the instrument is wrong",
)
_ACROSS: Final = Template(
    "criterion.velocity.across",
    "it moves {rate} ± {error} in {window} across the declared direction, over {bound}: either {key} in the "
    "site file or the instrument is wrong",
)
_ITS_SIGN: Final = Template("criterion.velocity.its_sign", "its sign")()
_ITS_DIRECTION: Final = Template("criterion.velocity.its_direction", "its direction (azimuth_deg)")()
_FAR: Final = Template("criterion.far", "over {n} times the bound, so it counts at once")
_BACKWARDS: Final = Template("dwell.against", "over {bound} against the declared direction")
_SIDEWAYS: Final = Template("dwell.across", "over {bound} across the declared direction")
_IN_NEWEST: Final = Template("dwell.newest", "{side} {bound} in its newest reading")
_IN_NEWEST_OF: Final = Template("dwell.newest_of", "{side} {bound} in its newest reading, {needs} needed")
_IN_LAST: Final = Template("dwell.last", "{side} {bound} in {hits} of its last {looked} readings, {needs} needed")
_IN_NONE: Final = Template("dwell.none", "{side} {bound} in no reading since a person's answer")
_UNSURE_NEWEST: Final = Template("dwell.unsure_newest", "{side} {bound} in its newest reading, but not surely")
_UNSURE_LAST: Final = Template("dwell.unsure_last", "{side} {bound}, but surely in none of its last {looked} readings")
_WITHIN: Final = Template("dwell.within", "not {side} {bound}")
AGAINST: Final = Template("dwell.against_direction", "against the declared direction, so not {side} {bound}")
_FORWARD: Final = Template("dwell.forward", "forward, and this rule watches backward motion alone ({side} {bound})")
_OTHER_WAY: Final = Template("dwell.other_way", "the other way, so not {side} {bound}")
MIN_EXTENT: Final = 0.5  # of the window must lie between its first and last epoch
LEAST_EPOCHS: Final = 4  # of a line
TOGETHER: Final = 3  # stations of the same epochs: fewer are fitted one by one
FITS_KEPT: Final = 256  # of the windows of one length of a track, and of what they say of a bound
BACKWARDS_OF: Final = "displacement"  # and its components and single series: their sign is a declared direction
Fit = TypeVar("Fit")
Fits = Sequence[Velocity] | Sequence[Acceleration]  # of one window, by way; empty where too little of it is seen


class VelocityTable(MeasuredTable):
    """kind = "velocity"."""

    direction: Direction = "downslope"
    min_sigma: Sureness = 3.0
    fast_track: FastTrack = None


class WindowVerdict(NamedTuple):
    """What the fits of one window say of a bound."""

    fits: tuple[Velocity, ...]
    is_over: bool
    is_clear: bool
    is_against: bool  # surely over it the other way


def assess_rates(criterion: Criterion, track: Track, spec: SeriesSpec, context: DecisionContext) -> Assessment:
    """Compare the rates that end at the last epochs with every bound.

    Crossed when the fit is over the bound, real by `min_sigma`, and over it whichever single epoch is left out. So no
    one reading alone raises or lowers a level. Motion that would cross it against the declared direction, or across it,
    is a question: a wrong azimuth must not hide a slope that slides.
    """
    if not track.is_directed:
        criterion = _without_side(criterion)
    epochs = dwell_epochs(criterion, track.times_s, context.answered_s(VoteKey(criterion.id, track.station)))
    ends = {*epochs, *track.times_s[-criterion.dwell.hits :]}
    undecided: dict[int, Message] = {}
    facts: list[dict[str, Any]] = []
    has_fit = False
    for bound in list_bounds(criterion):
        key = (bound.window_s, criterion.min_sigma, bound.value, bound.sign, bound.limit)
        kept = track.fits.get(key) or {}
        verdicts = {e: kept.get(e) or keep_fit(track, e, key, _compare_window) for e in ends}
        has_fit = has_fit or bool(verdicts[track.times_s[-1]].fits)
        needs, newest = criterion.dwell.hits, verdicts[track.times_s[-1]]
        hits = [verdicts[e].is_over for e in epochs].count(True)
        clear = False not in [verdicts[e].is_clear for e in track.times_s[-needs:]]
        clear = clear and not (track.digits and is_hidden(track.digit, criterion, bound.threshold))
        picked = pick_way(newest.fits, bound.value, bound.sign, criterion.min_sigma)
        fact = describe_fit(bound.threshold, "rate", picked, hits, needs, clear=clear)
        fact |= name_way(track, newest.fits, picked) | {"looked": len(epochs)}
        may_hurry = criterion.fast_track is not None and track.times_s[-1] in epochs
        if may_hurry and any(_is_far(f, bound.value, bound.sign, criterion) for f in newest.fits):
            fact["fast_track"] = True
        is_crossed = fact["hits"] >= criterion.dwell.hits or "fast_track" in fact
        if not is_crossed and _is_undecided(track, epochs, bound, criterion, verdicts):
            fact["undecided"] = True
            loose = pick_way(_fit(track, track.times_s[-1], bound.window_s, 0.0), bound.value, bound.sign, 0.0)
            undecided[bound.level] = _explain_undecided(
                fact | ({} if loose is None else {"rate": loose.rate, "error": loose.error}), criterion, spec
            )
        if asks_backwards(track, criterion, bound.value):
            question = _find_question(track, epochs, bound, criterion, verdicts, fact, spec, is_crossed=is_crossed)
            if question is not None:
                undecided[bound.level] = question
        facts.append(fact)
    return assess_track(criterion, track, spec, context, facts, _explain, has_fit=has_fit, undecided=undecided)


_assess_each: Final = each_track(assess_rates)


def assess_velocities(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """`assess_rates` of every station; those that have the same epochs are fitted together."""
    tracks = [context.track(criterion, s.id) for s in stations_of(context, criterion)]
    tracks = [t for t in tracks if t.times_s and _is_signed(t) and not t.digits]
    for window_s in {b.window_s for b in list_bounds(criterion)} if len(tracks) >= TOGETHER else ():
        _fit_together(tracks, window_s)
    return _assess_each(criterion, context)


def _fit_together(tracks: Sequence[Track], window_s: float) -> None:
    """The fits of the newest window of tracks without another way than the declared one, kept as `_fit` keeps them."""
    key, alike = (window_s, 0.0), dict[tuple[float, ...], list[tuple[Track, slice]]]()
    for track in tracks:
        end_s = track.times_s[-1]
        if end_s in track.fits.get(key, ()) or (some := find_window(track, end_s, window_s, LEAST_EPOCHS)) is None:
            continue
        sigmas = track.along_sigma[some]
        if sigmas.count(sigmas[0]) == len(sigmas):
            alike.setdefault(track.times_s[some], []).append((track, some))
    for times_s, ones in alike.items():
        if len(ones) >= TOGETHER:
            fits = fit_velocities(
                times_s, [t.along[some] for t, some in ones], [t.along_sigma[some.start] for t, some in ones]
            )
            for (track, _), fit in zip(ones, fits, strict=True):
                keep_fit(track, times_s[-1], key, lambda *_, fit=fit: () if fit is None else (fit,))


def _find_question(
    track: Track,
    epochs: Sequence[float],
    bound: BoundInForce,
    criterion: Criterion,
    verdicts: Mapping[float, WindowVerdict],
    fact: dict[str, Any],
    spec: SeriesSpec,
    *,
    is_crossed: bool,
) -> Message | None:
    """Motion that would cross a bound against the declared direction or across it; its figures join the facts."""
    needs = criterion.dwell.hits
    back = [e for e in epochs if verdicts[e].is_against]
    is_sure = len(back) >= needs and track.times_s[-1] in back
    if is_sure and is_over(_fit_before(track, epochs, bound, criterion), -bound.value, -bound.sign, 0.0):
        there = pick_way(verdicts[track.times_s[-1]].fits, -bound.value, -bound.sign, criterion.min_sigma)
        fact |= describe_fit(bound.threshold, "rate", there, fact["hits"], needs, clear=fact["recovered"])
        fact["against"] = True
        return explain_against(_AGAINST, "rate", fact, criterion, spec, track)
    if is_crossed or (aside := _find_across(track, epochs, bound, criterion)) is None:
        return None
    fact |= {"across": aside.rate, "across_error": aside.error}
    of = {"rate": -aside.rate, "error": aside.error}
    return explain_against(_ACROSS, "rate", fact | of, criterion, spec, track)


def assess_track(
    criterion: Criterion,
    track: Track,
    spec: SeriesSpec,
    context: DecisionContext,
    facts: list[dict[str, Any]],
    explain: Callable[[Criterion, SeriesSpec, Sequence[dict[str, Any]], int], Message],
    *,
    has_fit: bool,
    undecided: Mapping[int, Message],
) -> Assessment:
    """What was found of a track, bound by bound, as the answer of its criterion."""
    newest_s = track.times_s[-1]
    raise_level, hold_level = levels_of(facts)
    return Assessment(
        criterion=criterion.id,
        station=track.station,
        raise_level=raise_level,
        hold_level=hold_level,
        has_data=has_fit,
        fresh=has_fit and context.is_fresh(newest_s, spec),
        newest_s=newest_s,
        reason=explain(criterion, spec, facts, raise_level),
        facts={"bounds": facts, "quantity": track.quantity, "epochs": len(track.times_s)},
        measure=partial(measure_motion, track, criterion) if has_fit else measure_nothing,
        undecided=undecided,
    )


def dwell_epochs(criterion: Criterion, times_s: Sequence[float], answered_s: float) -> tuple[float, ...]:
    """The last `of` distinct data epochs that may count: newer than a person's answer, within the dwell's time."""
    within = criterion.dwell.within_s
    chosen = times_s[-max(criterion.dwell.of, criterion.dwell.hits) :]
    return tuple([e for e in chosen if e > answered_s and (within is None or times_s[-1] - e <= within)])


def _without_side(criterion: Criterion) -> Criterion:
    """Bounds of a motion without a direction: one that lies below nothing is a speed as well."""
    if all(t.under is None or t.under >= 0.0 for t in criterion.thresholds):
        return criterion
    bounds = [
        replace(t, over=-t.under, under=None) if t.under is not None and t.under < 0.0 else t
        for t in criterion.thresholds
    ]
    return replace(criterion, thresholds=tuple(bounds))


def asks_backwards(track: Track, criterion: Criterion, bound: float) -> bool:
    """Whether motion the other way is a question; a rate of another quantity has a side that its author chose."""
    is_motion = criterion.kind.noise_steps or criterion.kind.velocity
    return is_motion and bound > 0.0 and track.unit is not None and criterion.quantity.startswith(BACKWARDS_OF)


def _compare_window(
    track: Track, end_s: float, window_s: float, sureness: float, bound: float, sign: float, limit: float
) -> WindowVerdict:
    fits = _fit(track, end_s, window_s, sureness)
    over, against = is_over(fits, bound, sign, sureness), is_over(fits, -bound, -sign, sureness)
    return WindowVerdict(fits, over, is_clear(fits, sign, limit), against)


def _fit(track: Track, end_s: float, window_s: float, sureness: float) -> tuple[Velocity, ...]:
    """The fits of the window that ends at an epoch; those of a signed value are the same however sure they must be."""
    return keep_fit(track, end_s, (window_s, 0.0 if _is_signed(track) else sureness), _fit_window)


def _is_signed(track: Track) -> bool:
    return track.unit is not None and track.is_plunge_known


def _find_across(track: Track, epochs: Sequence[float], bound: BoundInForce, criterion: Criterion) -> Velocity | None:
    """Motion across the direction, surely over the bound in each epoch that the dwell needs and half a window before.

    Fitted only where the ends of the newest window lie half as far apart across it: that costs next to nothing.
    """
    least, window_s, needs = abs(bound.value), bound.window_s, criterion.dwell.hits
    if track.unit is None or len(track.unit) == 1 or len(epochs) < needs:
        return None
    some = find_window(track, track.times_s[-1], window_s, LEAST_EPOCHS)
    if some is None:
        return None
    first, last = some.start, some.stop - 1
    ends_s, from_mm, to_mm = track.times_s[last] - track.times_s[first], track.values[first], track.values[last]
    if dist(from_mm, to_mm) * 86400.0 < 0.49 * least * ends_s:
        return None  # nor is what of it goes across: the usual case
    along = track.along[last] - track.along[first]
    ends = zip(from_mm, to_mm, track.unit, strict=True)
    moved = norm(tuple([b - a - along * u for a, b, u in ends])) * 86400.0
    if moved < 0.5 * least * ends_s:
        return None
    key = (window_s, criterion.min_sigma, least)
    if not all(is_over(keep_fit(track, e, key, _fit_across), least, 1.0, criterion.min_sigma) for e in epochs[-needs:]):
        return None
    before_s = _find_before(track, epochs, bound, criterion)
    if before_s is None or not is_over(keep_fit(track, before_s, key, _fit_across), least, 1.0, 0.0):
        return None
    return pick_way(keep_fit(track, track.times_s[-1], key, _fit_across), least, 1.0, criterion.min_sigma)


def _fit_across(track: Track, end_s: float, window_s: float, sureness: float, least: float) -> tuple[Velocity, ...]:
    """The fits of the motion across the direction; of one that is clearly slower than `least` there are none."""
    if (some := find_window(track, end_s, window_s, LEAST_EPOCHS)) is None:
        return ()
    ways = list_free_ways(track, some, track.unit, least)
    if not track.is_plunge_known:
        ways = ways[:1]  # the vertical has its own vote
    return tuple([f for way in ways if (f := way.fit_line(sureness)) is not None])


def keep_fit(track: Track, end_s: float, key: tuple[Any, ...], fit: Callable[..., Fit]) -> Fit:
    """The fit of a window of a track, made once; the oldest are dropped where there are many, and made again.

    `key`: the length of the window, and whatever else the fit depends on.
    """
    kept = track.fits.get(key)
    if kept is None:
        kept = track.fits[key] = {}
    found: Fit | None = kept.get(end_s)
    if found is None:
        found = kept[end_s] = fit(track, end_s, *key)
        if len(kept) > FITS_KEPT:
            for old in list(kept)[: FITS_KEPT // 2]:
                del kept[old]
    return found


def find_window(track: Track, end_s: float, window_s: float, least: int) -> slice | None:
    """Where the epochs of the window that ends at an epoch stand; None where too little of it is seen."""
    times_s = track.times_s
    high = len(times_s) if times_s and times_s[-1] == end_s else bisect_right(times_s, end_s)
    low = bisect_right(times_s, end_s - window_s, 0, high)
    if high - low < least or times_s[high - 1] - times_s[low] < MIN_EXTENT * window_s:
        return None
    return slice(low, high)


def _fit_window(track: Track, end_s: float, window_s: float, sureness: float) -> tuple[Velocity, ...]:
    if (some := find_window(track, end_s, window_s, LEAST_EPOCHS)) is None:
        return ()
    if _is_signed(track) and not track.digits:  # the one way of `list_ways`, as it is
        fit = fit_velocity(track.times_s[some], track.along[some], track.along_sigma[some])
        return () if fit is None else (fit,)
    return tuple([f for way in list_ways(track, some) if (f := way.fit_line(sureness)) is not None])


def pick_way(fits: Sequence[Fit], bound: float, sign: float, min_sigma: float) -> Fit | None:
    """The fit that is surer of being over the bound; None where there is none."""
    if len(fits) == 1:
        return fits[0]

    def rank(fit: Any) -> tuple[bool, float]:
        surely = sign * fit.rate - min_sigma * fit.error
        return is_over([fit], bound, sign, min_sigma), min(fit.low if sign > 0 else -fit.high, surely)

    return max(fits, key=rank, default=None)


def name_way(track: Track, fits: Sequence[Fit], picked: Fit | None) -> dict[str, str]:
    """Which way the picked fit goes, where no direction is declared."""
    if picked is None or (track.unit is not None and fits[0] is picked):
        return {}
    names = (
        ("", "no_plunge")
        if track.is_directed
        else ("horizontal", "vertical")
        if len(track.values[0]) > 1
        else ("either",)
    )
    return {"way": names[[f is picked for f in fits].index(True)]}


def is_over(fits: Fits, bound: float, sign: float, min_sigma: float) -> bool:
    """Surely over the bound, whichever single epoch is left out."""
    for fit in fits:
        sure = fit.low if sign > 0 else -fit.high
        # change in the bound's direction must be real; a bound on the other side of zero asks for the value alone
        if sure > sign * bound and (sign * bound < 0 or sign * fit.rate > min_sigma * fit.error):
            return True
    return False


def _is_held_back(track: Track, end_s: float, bound: BoundInForce, verdict: WindowVerdict) -> bool:
    """Over the bound, whichever single epoch is left out, and kept from counting by its own error alone."""
    if verdict.is_over:
        return False
    fits = verdict.fits if _is_signed(track) else _fit(track, end_s, bound.window_s, 0.0)
    return is_over(fits, bound.value, bound.sign, 0.0)


def _is_undecided(
    track: Track,
    epochs: Sequence[float],
    bound: BoundInForce,
    criterion: Criterion,
    verdicts: Mapping[float, WindowVerdict],
) -> bool:
    """Held back in every epoch that the dwell needs, and in one half a window before them: no passing noise.

    An instrument that states a large error, or whose scatter has grown, must not hide a motion in silence.
    """
    latest = epochs[-criterion.dwell.hits :]
    if len(latest) < criterion.dwell.hits or bound.sign * bound.value <= 0:
        return False
    for epoch in reversed(latest):
        if not _is_held_back(track, epoch, bound, verdicts[epoch]):
            return False
    return is_over(_fit_before(track, epochs, bound, criterion), bound.value, bound.sign, 0.0)


def _fit_before(
    track: Track, epochs: Sequence[float], bound: BoundInForce, criterion: Criterion
) -> tuple[Velocity, ...]:
    before_s = _find_before(track, epochs, bound, criterion)
    return () if before_s is None else _fit(track, before_s, bound.window_s, 0.0)


def _find_before(track: Track, epochs: Sequence[float], bound: BoundInForce, criterion: Criterion) -> float | None:
    """The epoch half a window before those that the dwell needs: what passes is not in a window that ends with it."""
    latest = epochs[-criterion.dwell.hits :]
    before = bisect_right(track.times_s, latest[0] - bound.window_s / 2.0) if latest else 0
    return track.times_s[before - 1] if before else None


def _is_far(fit: Velocity, bound: float, sign: float, criterion: Criterion) -> bool:
    """So far beyond the bound, whichever single epoch is left out, that the dwell need not be waited for."""
    if criterion.fast_track is None or sign * bound <= 0:
        return False
    limit = bound * criterion.fast_track
    return sign * fit.rate > sign * limit and is_over([fit], limit, sign, criterion.min_sigma)


def is_clear(fits: Fits, sign: float, limit: float) -> bool:
    """Beyond the recovery limit within one standard error and whichever single epoch is left out; each way.

    What goes back by chance is no surer for it: a rate whose error alone reaches the limit is not clear.
    """
    for fit in fits:
        rate = sign * fit.rate if limit <= 0.0 else max(0.0, sign * fit.rate)
        if max(fit.high if sign > 0 else -fit.low, rate + fit.error) >= limit:
            return False
    return bool(fits)


def describe_fit(
    threshold: Threshold, figure: str, fit: Velocity | Acceleration | None, hits: int, needs: int, *, clear: bool
) -> dict[str, Any]:
    """A fit against the bound of one level, JSON-ready; `figure`: what is fitted."""
    bound, sign = bound_of(threshold)
    found: dict[str, Any] = {
        "level": threshold.level,
        "bound": bound,
        "window_s": threshold.effective_window_s,
        "hits": hits,
        "needs": needs,
        "recovered": clear,
    }
    if fit is not None:
        found[figure], found["error"], found["low"], found["high"] = fit.rate, fit.error, fit.low, fit.high
        found["n"], found["mid_s"], found["margin"] = fit.n, fit.mid_s, sign * (fit.rate - bound)
    return found


def _describe_rate(
    templates: tuple[Template, Template],
    fact: Mapping[str, Any],
    criterion: Criterion,
    spec: SeriesSpec,
    **further: Value,
) -> Message:
    of_velocity, of_quantity = templates
    further |= {
        "rate": Figure(fact["rate"], ".2f"),
        "window": Duration(fact["window_s"]),
        "error": Figure(fact["error"], ".2f", criterion.kind.unit_of(spec.unit)),
    }
    if criterion.kind.velocity:
        return of_velocity(**further)
    return of_quantity(quantity=Term(criterion.quantity), **further)


def _explain_undecided(fact: Mapping[str, Any], criterion: Criterion, spec: SeriesSpec) -> Message:
    bound = Figure(fact["bound"], "g", criterion.kind.unit_of(spec.unit))
    reason = _describe_rate(_HELD_BACK, fact, criterion, spec, bound=bound, n=Figure(criterion.min_sigma))
    return describe_way(reason, fact, criterion)


def explain_against(
    template: Template, figure: str, fact: Mapping[str, Any], criterion: Criterion, spec: SeriesSpec, track: Track
) -> Message:
    """The question that motion against the declared direction is, with what is to be looked at."""
    unit = criterion.kind.unit_of(spec.unit)
    error, bound = Figure(fact["error"], ".2g", unit), Figure(fact["bound"], ".3g", unit)
    return template(
        rate=Figure(-fact[figure], ".3g"),
        error=error,
        bound=bound,
        window=Duration(fact["window_s"]),
        key=_ITS_DIRECTION if len(track.values[0]) > 1 else _ITS_SIGN,
    )


def _explain(criterion: Criterion, spec: SeriesSpec, facts: Sequence[dict[str, Any]], level: int) -> Message:
    if (fact := pick_bound(facts, level)) is None:
        return TOO_FEW
    _, sign = bound_of(next(t for t in criterion.thresholds if t.level == fact["level"]))
    bound = Figure(fact["bound"], "g", criterion.kind.unit_of(spec.unit))
    is_motion = criterion.quantity.startswith(BACKWARDS_OF) and "way" not in fact
    back = _OTHER_WAY
    if is_motion:
        back = AGAINST if sign > 0 else _FORWARD
    dwell = describe_dwell(fact, bound, "over" if sign > 0 else "under", back)
    reason = describe_way(_describe_rate(_MOVES, fact, criterion, spec, dwell=dwell), fact, criterion)
    return join([reason, _FAR(n=Figure(criterion.fast_track or 1.0))]) if fact.get("fast_track") else reason


def describe_dwell(fact: Mapping[str, Any], bound: Value, side: str = "over", back: Template = AGAINST) -> Message:
    """In how many of the newest readings a bound was passed, as the end of a sentence.

    >>> describe_dwell({"hits": 3, "looked": 4, "needs": 3}, Figure(10.0, "g", "mm/day"))
    'over 10 mm/day in 3 of its last 4 readings, 3 needed'
    >>> describe_dwell({"hits": 1, "looked": 1, "needs": 1}, Figure(10.0, "g", "mm/day"))
    'over 10 mm/day in its newest reading'
    >>> newest = {"hits": 0, "looked": 4, "needs": 3, "bound": 10.0, "error": 0.3}
    >>> [describe_dwell(newest | {"margin": value - 10.0}, Figure(10.0, "g", "mm/day")) for value in (2.0, -24.0)]
    ['not over 10 mm/day', 'against the declared direction, so not over 10 mm/day']
    >>> describe_dwell(newest | {"margin": 0.2}, Figure(10.0, "g", "mm/day"))
    'over 10 mm/day, but surely in none of its last 4 readings'
    """
    if "against" in fact or "across" in fact:
        return (_BACKWARDS if "against" in fact else _SIDEWAYS)(bound=bound)
    hits, looked, needs = fact["hits"], fact["looked"], fact["needs"]
    passed: dict[str, Value] = {"side": Term(side), "bound": bound}
    if looked == 0:
        return _IN_NONE(**passed)
    if hits == 0:
        margin, least = fact.get("margin", 0.0), fact["bound"] if side == "over" else -fact["bound"]
        if margin > 0.0:
            return _UNSURE_LAST(looked=looked, **passed) if looked > 1 else _UNSURE_NEWEST(**passed)
        return (back if least > 0.0 and margin + least < -fact.get("error", 0.0) else _WITHIN)(**passed)
    if looked == 1:
        return _IN_NEWEST(**passed) if needs == 1 else _IN_NEWEST_OF(needs=needs, **passed)
    return _IN_LAST(hits=hits, looked=looked, needs=needs, **passed)


def measure_motion(track: Track, criterion: Criterion) -> Measured:
    """Rate of every component in the window of the lowest bound, and the error of all together."""
    return keep_fit(track, track.times_s[-1], (criterion.thresholds[0].effective_window_s,), _fit_motion)


def _fit_motion(track: Track, end_s: float, window_s: float) -> Measured:
    low = bisect_right(track.times_s, end_s - window_s)
    fits = fit_rates(
        track.times_s[low:], list(zip(*track.values[low:], strict=True)), list(zip(*track.sigmas[low:], strict=True))
    )
    if fits is None:
        return None, 0.0
    return tuple(rate for rate, _ in fits), sqrt(fsum(error * error for _, error in fits))


ENTRY: Final = KindEntry(
    Kind(
        id="velocity",
        quantity="displacement",
        per="/day",
        epochs=LEAST_EPOCHS,
        motion=True,
        velocity=True,
        rate=True,
        followed=True,
        scaled=True,
        loosening="bounds",
        drawn=("ray", "movement"),
    ),
    VelocityTable,
    SpeedBound,
    assess_velocities,
    history_s=longest_window,
    example="""
stations = ["*"]
yellow = {over = 5.0, window = "1d"}
""",
)
