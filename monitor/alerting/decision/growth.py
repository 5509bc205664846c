"""When a rate has doubled since people were last notified of it: they hear of it once more, at the same level."""

from collections.abc import Mapping, Sequence
from typing import Final

from forecasting.message import Figure, Message
from monitor.domain.decision import Memory
from monitor.domain.headline import Rate
from monitor.domain.message import GROWN
from monitor.language.figures import find_form

TIMES: Final = 2.0


def follow_growth(before: Memory, level: int, rates: Sequence[Rate]) -> tuple[dict[str, float], Rate | None]:
    """The largest rate by criterion that people were notified of, and the one that has doubled since.

    It has doubled where it is twice that rate and twice its bound, whichever single reading is left out: neither noise
    nor one reading makes a reminder. What falls and comes back makes none, so their number is bounded by the motion.

    Args:
        before: what the decision before left.
        level: that stands now; with another one a message goes out anyway, and says the rates of now.
        rates: what every vote measured.
    """
    asking = [r for r in rates if r.counted and r.level >= level > 0 and r.bound]
    known = before.reported if level == before.level else {}
    grown = [r for r in asking if _along(r, r.least) >= TIMES * max(known.get(r.criterion, 0.0), abs(r.bound))]
    if level == before.level and not grown:
        return {k: v for k, v in known.items() if level > 0}, None
    reported = dict(known)
    for r in asking:
        reported[r.criterion] = max(reported.get(r.criterion, 0.0), _along(r, r.rate))
    is_new = level != before.level
    return dict(sorted(reported.items())), None if is_new else max(grown, key=lambda r: (r.level, r.share))


def explain_growth(sentence: Message, grown: Rate, known: Mapping[str, float]) -> Message:
    """Why people hear of a level again: what asks for it now, and how much faster it is than what they know."""
    rate = max(known.get(grown.criterion, 0.0), abs(grown.bound))
    times = _along(grown, grown.rate) / rate
    return GROWN(text=sentence, n=Figure(times, ".1f"), rate=Figure(rate, find_form(rate), grown.unit))


def _along(rate: Rate, value: float) -> float:
    """A rate in the direction of its bound."""
    return value if rate.bound > 0.0 else -value
