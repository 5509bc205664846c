"""Numbers by which instruments say that they have no value: flagged as they come in, by what their series says."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from typing import Final

from sqlalchemy import Connection

from monitor.domain.no_value import AT_STOP, FEW, FILL, READ, judge
from monitor.domain.observation import HARMLESS, Observation
from monitor.store.readings.flags import load_beside
from monitor.store.readings.observations import find_series_id

SUSPECT: Final = frozenset({FILL, AT_STOP})
# a value under one of these is a measurement: it says what the series says
_SAID: Final = HARMLESS | {"undeclared", AT_STOP}
_CORRECTED: Final = "corrected"

Key = tuple[str, str, str]  # site, station, quantity
Told = tuple[datetime, float]


def is_suspect(item: Observation) -> bool:
    """Whether a reading may be a fill, by its number alone."""
    return not SUSPECT.isdisjoint(item.flags)


def judge_fills(c: Connection | None, observations: Sequence[Observation]) -> Sequence[Observation]:
    """The same observations in the same order; of those that may be fills, the flag holds or is taken away.

    What somebody sends as corrected is not judged: a person stands behind it. Judged twice, they stay as they are.

    Args:
        c: what was stored before; None where nothing was.
        observations: with the flags that `quality.flag` gives by the number.
    """
    suspects = [n for n, o in enumerate(observations) if is_suspect(o)]
    if not suspects:
        return observations
    out, told = list(observations), dict[Key, list[Told]]()
    wanted = {_key(observations[n]) for n in suspects}
    for item in observations:
        if (key := _key(item)) in wanted and not is_suspect(item) and _SAID.issuperset(item.flags):
            insort(told.setdefault(key, []), (item.observed_at, item.value))
    stored: dict[Key, list[Told]] = {}
    for n in sorted(suspects, key=lambda n: observations[n].observed_at):
        item, key = observations[n], _key(observations[n])
        beside = told.setdefault(key, [])
        if key not in stored:
            stored[key] = _load(c, key, item.observed_at)
            there = {at for at, _ in beside}
            for one in stored[key]:
                if one[0] not in there:
                    insort(beside, one)
        place = bisect_left(beside, item.observed_at, key=itemgetter(0))
        before = [value for _, value in beside[max(0, place - READ) : place]]
        after = [value for at, value in beside[place : place + READ] if at != item.observed_at]
        found = None
        if item.solution != _CORRECTED:
            found = judge(item.value, before, after, is_end=AT_STOP in item.flags)
        kept = tuple(flag for flag in item.flags if flag not in SUSPECT)
        out[n] = replace(item, flags=kept if found is None else (*kept, found))
        if found != FILL and _SAID.issuperset(out[n].flags):
            insort(beside, (item.observed_at, item.value))
    return out


def _load(c: Connection | None, key: Key, at: datetime) -> list[Told]:
    """What is stored of a series before an instant; where that is little, what follows it."""
    series_id = None if c is None else find_series_id(c, *key)
    if c is None or series_id is None:
        return []
    found = load_beside(c, series_id, at, READ)
    if len(found) < FEW:
        found += load_beside(c, series_id, at, READ, later=True)
    return sorted((one.at, one.value) for one in found if _SAID.issuperset(one.flags))


def _key(item: Observation) -> Key:
    return item.site, item.station, item.quantity
