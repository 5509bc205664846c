"""Texts about the dwell of a rate or acceleration: how many of the newest readings are beyond the bound."""

from collections.abc import Mapping
from typing import Any, Final

from monitor.readings.cleaned.tracks import Track
from monitor.sites.records import Criterion, SeriesSpec
from monitor.text.message import Duration, Figure, Message, Template, Term, Value

TOO_FEW: Final = Template("criterion.too_few", "too few readings in the window")()
AGAINST: Final = Template(
    "dwell.opposite_direction", "but in the direction opposite to that of the site file, so not {side} {bound}"
)
_SIGN: Final = Template("criterion.velocity.sign", "the sign of the series")()
_DIRECTION: Final = Template("criterion.velocity.direction", "the direction of the station (azimuth_deg)")()
_OPPOSITE: Final = Template("dwell.against", "over {bound} against the declared direction")
_ACROSS: Final = Template("dwell.across", "over {bound} across the declared direction")
_IN_NEWEST: Final = Template("dwell.newest", "{side} {bound} in the newest reading")
_IN_NEWEST_OF: Final = Template("dwell.newest_of", "{side} {bound} in the newest reading, {needs} needed")
_IN_LAST: Final = Template("dwell.last", "{side} {bound} in {hits} of the last {looked} readings, {needs} needed")
_IN_NONE: Final = Template("dwell.none", "no reading since a person lowered the level, so not yet {side} {bound}")
_UNCERTAIN_NEWEST: Final = Template(
    "dwell.unsure_newest", "{side} {bound} in the newest reading, but its error is too large to be certain"
)
_UNCERTAIN_LAST: Final = Template(
    "dwell.unsure_last", "{side} {bound}, but the errors of the last {looked} readings are too large to be certain"
)
_WITHIN: Final = Template("dwell.within", "not {side} {bound}")


def describe_dwell(fact: Mapping[str, Any], bound: Value, side: str = "over", opposite: Template = AGAINST) -> Message:
    """Return the end of a sentence that states in how many of the newest readings a bound is exceeded.

    Args:
        fact: A fact of `make_fit_fact` with `looked`, the number of readings that can count for the dwell.
        side: `over` or `under`.
        opposite: Text for a value that is certainly on the other side of zero than the bound.

    >>> describe_dwell({"hits": 3, "looked": 4, "needs": 3}, Figure(10.0, "g", "mm/day"))
    'over 10 mm/day in 3 of the last 4 readings, 3 needed'
    >>> describe_dwell({"hits": 1, "looked": 1, "needs": 1}, Figure(10.0, "g", "mm/day"))
    'over 10 mm/day in the newest reading'
    >>> newest = {"hits": 0, "looked": 4, "needs": 3, "bound": 10.0, "error": 0.3}
    >>> [describe_dwell(newest | {"margin": value - 10.0}, Figure(10.0, "g", "mm/day")) for value in (2.0, -24.0)]
    ['not over 10 mm/day', 'but in the direction opposite to that of the site file, so not over 10 mm/day']
    >>> describe_dwell(newest | {"margin": 0.2}, Figure(10.0, "g", "mm/day"))
    'over 10 mm/day, but the errors of the last 4 readings are too large to be certain'
    """
    if "against" in fact:
        return _OPPOSITE(bound=bound)
    if "across" in fact:
        return _ACROSS(bound=bound)
    hits, readings, needs = fact["hits"], fact["looked"], fact["needs"]
    values: dict[str, Value] = {"side": Term(side), "bound": bound}
    if readings == 0:
        return _IN_NONE(**values)
    if hits == 0:
        margin = fact.get("margin", 0.0)
        if margin > 0.0:
            return _UNCERTAIN_LAST(looked=readings, **values) if readings > 1 else _UNCERTAIN_NEWEST(**values)
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
        template: Text with the values `rate`, `error`, `bound`, `window` and `key` (what the site file may have wrong).
        figure: Key of the fitted value in the fact: `rate` or `acceleration`.
    """
    unit = criterion.kind.unit_of(spec.unit)
    has_components = len(track.values[0]) > 1
    return template(
        rate=Figure(-fact[figure], ".3g"),
        error=Figure(fact["error"], ".2g", unit),
        bound=Figure(fact["bound"], ".3g", unit),
        window=Duration(fact["window_s"]),
        key=_DIRECTION if has_components else _SIGN,
    )
