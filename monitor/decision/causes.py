"""Group advice of one criterion about several stations into one line."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from monitor.decision.changes import AlertCategory
from monitor.text.message import LABELLED_TEXT, Figure, Message, NameList, Template, Term

T = TypeVar("T")
# A line contains at most this many stations.
_MAX_NAMES: Final = 8
_ONE: Final = Template("cause.one", "1 suggestion of {quantity}: {names}")
_MANY: Final = Template("cause.many", "{count} suggestions of {quantity}: {names}")


def group_by_cause(alerts: Iterable[T], describe: Callable[[T], tuple[str, str, str, bool]]) -> list[list[T]]:
    """Group the advice alerts of one criterion at one site. Every other alert is a group of its own.

    Alerts of a drill are not grouped with real ones. A group has the place of its first alert.

    Args:
        describe: Returns site, ledger and key of an alert, and whether it belongs to a drill.
    """
    groups: dict[tuple[object, ...], list[T]] = {}
    for number, alert in enumerate(alerts):
        site, ledger, key, is_exercise = describe(alert)
        cause: tuple[object, ...] = (number,)
        if ledger == AlertCategory.ADVICE:
            criterion_key, _, _ = key.rpartition(":")
            cause = (site, criterion_key, is_exercise)
        groups.setdefault(cause, []).append(alert)
    return list(groups.values())


def describe_cause(keys: Sequence[str], *, is_ordered: bool = False) -> Message:
    """Return the text of a group of advice alerts.

    Args:
        keys: Keys of the alerts, `advice:CRITERION:STATION`.
        is_ordered: Whether the keys are in the order in which the stations are named. Otherwise names are sorted.

    >>> describe_cause(["advice:anomaly:G1", "advice:anomaly:G3"])
    '2 suggestions of anomaly: G1, G3'
    >>> describe_cause(["advice:anomaly:G1"])
    '1 suggestion of anomaly: G1'
    >>> describe_cause(["advice:inverse_velocity-1:G2", "advice:inverse_velocity-1:G10"])
    '2 suggestions of inverse velocity: G2, G10'
    """
    # The only criterion of a kind has the name of its kind and "-1", if the site file gives it no id.
    criterion = keys[0].rpartition(":")[0].partition(":")[2].removesuffix("-1")
    stations = list(dict.fromkeys(key.rpartition(":")[2] for key in keys))
    if not is_ordered:
        stations.sort(key=split_numbers)
    names = NameList(tuple(stations[:_MAX_NAMES]), max(len(stations) - _MAX_NAMES, 0))
    if len(keys) == 1:
        return _ONE(quantity=Term(criterion), names=names)
    return _MANY(count=len(keys), quantity=Term(criterion), names=names)


def find_severity(reason: object) -> float:
    """Return the score of a reason in multiples of its threshold, to put the worst reason first.

    A fault that a check found, and any other reason, is 0, because it is less urgent than motion beyond a threshold.

    Args:
        reason: Reason of an advice alert, with or without the name of its station.
    """
    if isinstance(reason, Message) and reason.id == LABELLED_TEXT.id:
        reason = reason.values["text"]
    if not isinstance(reason, Message):
        return 0.0
    score, threshold = reason.values.get("score"), reason.values.get("threshold")
    if not isinstance(score, Figure) or not isinstance(threshold, Figure) or not threshold.value:
        return 0.0
    return score.value / threshold.value


def split_numbers(name: str) -> list[str]:
    """Return a sort key that puts G2 before G10."""
    return [part.zfill(9) for part in re.split(r"(\d+)", name)]
