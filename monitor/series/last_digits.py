"""Series whose last digit is so coarse that a motion over a bound could hide in it: they have no vote for rest."""

from dataclasses import dataclass
from typing import Final

from forecasting.message import Duration, Figure, Message, Template
from monitor.domain.site import Criterion, Threshold
from monitor.series.assessment import Windows, bound_of, recovery_of

COARSE: Final = "coarse"
_COARSE: Final = Template(
    "health.coarse",
    "one step of its last digit is {size}, and {bound} in {window} could hide in it: it has no vote for rest. Set the "
    "receiver or logger to send more decimals (NMEA: seven of a minute; RTKLIB: nine of a degree)",
)


@dataclass(frozen=True, slots=True)
class Coarse:
    """What the last digit of a series hides, and whether it hides the bounds of every criterion that reads it."""

    reason: Message
    is_whole: bool


def find_coarse(windows: Windows) -> dict[tuple[str, str], Coarse]:
    """What is coarse, by station and declared quantity; a decision that sees no coarse series looks at nothing."""
    hidden: dict[tuple[str, str], list[tuple[float, Criterion, Threshold]]] = {}
    bounds: dict[tuple[str, str], int] = {}
    for criterion in windows.site.criteria:
        if not criterion.kind.rate:
            continue
        for station in criterion.stations:
            digit = windows.track(criterion, station).digit
            spec = windows.site.series(station, criterion.quantity)
            if not digit or spec is None:
                continue
            place = (station, spec.quantity)
            bounds[place] = bounds.get(place, 0) + len(criterion.thresholds)
            hidden.setdefault(place, []).extend(
                (digit, criterion, t) for t in criterion.thresholds if is_hidden(digit, criterion, t)
            )
    found = {}
    for place, some in hidden.items():
        if not some:
            continue
        digit, criterion, threshold = some[0]
        spec = windows.site.series(*place)
        assert spec is not None
        reason = _COARSE(
            size=Figure(digit, ".3g", spec.unit), window=Duration(threshold.window_s or 86400.0),
            bound=Figure(bound_of(threshold)[0], "g", criterion.kind.unit_of(spec.unit)),
        )  # fmt: skip
        found[place] = Coarse(reason, len(some) == bounds[place])
    return found


def is_hidden(digit: float, criterion: Criterion, threshold: Threshold) -> bool:
    """Whether a motion at the limit of recovery could go on for a window within one step of the last digit."""
    limit = abs(recovery_of(threshold, criterion.recover))
    return digit > limit * (threshold.window_s or 86400.0) / 86400.0
