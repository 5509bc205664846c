"""Texts about a rate or acceleration and its bound: how often it was exceeded, and motion in the opposite direction."""

from collections.abc import Mapping
from typing import Any, Final

from monitor.decision.series.tracks import Track
from monitor.sites.records import Criterion, SeriesSpec
from monitor.text.message import Duration, Figure, Message, Template, Term, Value

TOO_FEW: Final = Template("criterion.too_few", "too few readings in the window")()
AGAINST: Final = Template("dwell.against_direction", "against the declared direction, so not {side} {bound}")
_ITS_SIGN: Final = Template("criterion.velocity.its_sign", "its sign")()
_ITS_DIRECTION: Final = Template("criterion.velocity.its_direction", "its direction (azimuth_deg)")()
_BACKWARDS: Final = Template("dwell.against", "over {bound} against the declared direction")
_SIDEWAYS: Final = Template("dwell.across", "over {bound} across the declared direction")
_IN_NEWEST: Final = Template("dwell.newest", "{side} {bound} in its newest reading")
_IN_NEWEST_OF: Final = Template("dwell.newest_of", "{side} {bound} in its newest reading, {needs} needed")
_IN_LAST: Final = Template("dwell.last", "{side} {bound} in {hits} of its last {looked} readings, {needs} needed")
_IN_NONE: Final = Template("dwell.none", "{side} {bound} in no reading since a person's answer")
_UNSURE_NEWEST: Final = Template("dwell.unsure_newest", "{side} {bound} in its newest reading, but not surely")
_UNSURE_LAST: Final = Template("dwell.unsure_last", "{side} {bound}, but surely in none of its last {looked} readings")
_WITHIN: Final = Template("dwell.within", "not {side} {bound}")


def describe_dwell(fact: Mapping[str, Any], bound: Value, side: str = "over", opposite: Template = AGAINST) -> Message:
    """Return the end of a sentence: in how many of the newest readings a bound was exceeded.

    Args:
        fact: A fact of `make_fit_fact` with `looked`, the number of readings that can count.
        side: `over` or `under`.
        opposite: Text for a value that is certainly on the other side of zero.

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
    if "against" in fact:
        return _BACKWARDS(bound=bound)
    if "across" in fact:
        return _SIDEWAYS(bound=bound)
    hits, readings, needs = fact["hits"], fact["looked"], fact["needs"]
    values: dict[str, Value] = {"side": Term(side), "bound": bound}
    if readings == 0:
        return _IN_NONE(**values)
    if hits == 0:
        margin = fact.get("margin", 0.0)
        if margin > 0.0:
            return _UNSURE_LAST(looked=readings, **values) if readings > 1 else _UNSURE_NEWEST(**values)
        signed_bound = fact["bound"] if side == "over" else -fact["bound"]
        is_opposite = signed_bound > 0.0 and margin + signed_bound < -fact.get("error", 0.0)
        return opposite(**values) if is_opposite else _WITHIN(**values)
    if readings == 1:
        return _IN_NEWEST(**values) if needs == 1 else _IN_NEWEST_OF(needs=needs, **values)
    return _IN_LAST(hits=hits, looked=readings, needs=needs, **values)


def explain_opposite_motion(
    template: Template, figure: str, fact: Mapping[str, Any], criterion: Criterion, spec: SeriesSpec, track: Track
) -> Message:
    """Return the question to an operator about motion that is not in the declared direction.

    Args:
        template: Text with the values `rate`, `error`, `bound`, `window` and `key` (of the site file).
        figure: Key of the fitted value in the fact: `rate` or `acceleration`.
    """
    unit = criterion.kind.unit_of(spec.unit)
    has_components = len(track.values[0]) > 1
    return template(
        rate=Figure(-fact[figure], ".3g"),
        error=Figure(fact["error"], ".2g", unit),
        bound=Figure(fact["bound"], ".3g", unit),
        window=Duration(fact["window_s"]),
        key=_ITS_DIRECTION if has_components else _ITS_SIGN,
    )
