"""The sentences for the reason codes of satellite points."""

from collections.abc import Mapping
from typing import Final

from monitor.api.text import ReasonText, Template, figure, index_by_code, reason_text, reasons

OWN_TEXTS: Final = index_by_code(
    # ---- anomalies ---------------------------------------------------------------------------------------------
    reason_text(Template("compared.median", "the median of its last {n} acquisitions")),
    reason_text(Template("compared.line", "the line of its last {n} acquisitions")),
    reason_text(Template("compared.points", "{past}, and with {n} other points"), n=figure("d")),
    reason_text(
        Template(
            "points.unusual",
            "{n} acquisitions of {points} points are too few to say what is usual: nothing is scored before about "
            "{needed} acquisitions without holes",
        )
    ),
    reason_text(Template("points.no_threshold", "no threshold holds this budget on this record")),
    # ---- anomalies and forecasts -------------------------------------------------------------------------------
    reason_text(Template("points.few", "{n} acquisitions: at least {needed} are needed")),
    # ---- forecasts ---------------------------------------------------------------------------------------------
    reason_text(Template("points.too_short", "the record is too short to try a forecast so far ahead")),
    reason_text(
        Template(
            "points.noise",
            "noise: 80 % of past errors one acquisition ahead reach {error} mm; from {bound} mm on a wrong cycle of "
            "the phase looks like movement",
        ),
        error=figure(".0f"),
        bound=figure(".1f"),
    ),
    reason_text(
        Template("points.few_inside", "of {n} forecasts held out {share} lay inside the interval of 80 %"),
        n=figure("d"),
        share=figure(".0f", "%"),
    ),
)
_TEXTS: Final[Mapping[str, ReasonText]] = {**reasons.TEXTS, **OWN_TEXTS}


def describe(reason: str | reasons.SupportsReason) -> str:
    """Return the message for a reason of satellite points or of a library; text is returned unchanged.

    >>> from detection.reasons import Reason
    >>> describe(Reason("points.few", {"n": 3, "needed": 60}))
    '3 acquisitions: at least 60 are needed'
    """
    return reasons.convert_reason(reason, _TEXTS)
