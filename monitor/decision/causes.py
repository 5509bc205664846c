"""Advice by its cause: what one criterion suggests at several places is one line, with each of them behind it."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from monitor.decision.changes import AlertCategory
from monitor.text.message import Message, NameList, Template, Term

T = TypeVar("T")
NAMED: Final = 8  # places that a line names
_ONE: Final = Template("cause.one", "1 suggestion of {quantity}: {names}")
_MANY: Final = Template("cause.many", "{count} suggestions of {quantity}: {names}")


def gather(alerts: Iterable[T], describe: Callable[[T], tuple[str, str, str, bool]]) -> list[list[T]]:
    """Alerts as lines, in the order of the first of each: suggestions of one criterion at one site together.

    Alerts of hazard and health stay each on its own, and a drill stays apart.

    `alerts`: in the order wanted; `describe`: gives site, ledger, key, and whether it belongs to a drill.
    """
    lines: dict[tuple[object, ...], list[T]] = {}
    for number, alert in enumerate(alerts):
        site, ledger, key, exercise = describe(alert)
        cause: tuple[object, ...] = (number,)
        if ledger == AlertCategory.ADVICE:
            cause = (site, key.rpartition(":")[0], exercise)
        lines.setdefault(cause, []).append(alert)
    return list(lines.values())


def describe_cause(keys: Sequence[str]) -> Message:
    """What a line of several suggestions says, from their keys.

    >>> describe_cause(["advice:anomaly:G1", "advice:anomaly:G3"])
    '2 suggestions of anomaly: G1, G3'
    >>> describe_cause(["advice:anomaly:G1"])
    '1 suggestion of anomaly: G1'
    >>> describe_cause(["advice:inverse_velocity-1:G2", "advice:inverse_velocity-1:G10"])
    '2 suggestions of inverse velocity: G2, G10'
    """
    # the name that a site file gives by itself to the only criterion of a kind
    what = keys[0].rpartition(":")[0].partition(":")[2].removesuffix("-1")
    # G2 before G10
    places = sorted(
        {key.rpartition(":")[2] for key in keys}, key=lambda name: [p.zfill(9) for p in re.split(r"(\d+)", name)]
    )
    quantity, names = Term(what), NameList(tuple(places[:NAMED]), max(len(places) - NAMED, 0))
    if len(keys) == 1:
        return _ONE(quantity=quantity, names=names)
    return _MANY(count=len(keys), quantity=quantity, names=names)
