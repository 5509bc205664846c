"""What became of a step: whether a later epoch of its station has shown that it lasts, went on, or came back.

And whether it keeps its way beyond the scatter of its series, as motion does.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from math import fsum
from operator import mul
from statistics import median
from typing import Final

from monitor.decision.records import DecisionInputs, Step, seconds
from monitor.decision.series.noise import PRESENT, measure_bent
from monitor.decision.series.step_detector import ERRATIC, REST_OF_STEP, RETURNED, TAIL
from monitor.decision.series.tracks import Epoch, Track
from monitor.decision.series.vectors import Vector, minus, norm

WAITS: Final = "waits"  # no usable epoch has followed
LASTS: Final = "lasts"  # a later epoch stands at the new place
GOES_ON: Final = "goes on"  # a later epoch stands elsewhere: what looked like a step is motion, or erratic
BACK: Final = "back"  # the value returned
GONE: Final = "gone"  # corrected or flagged since: the epoch lies where the others do, or counts no more
STILL_OFF: Final = 0.5  # of the step: what lies farther from the epoch before was not corrected away
UNSEEN: Final = "unseen"  # no track reaches it
SHOWN: Final = 3  # epochs from a step on that show whether it is motion
PATIENCE: Final = 1.5  # intervals: so long the last of them is waited for
BEYOND: Final = 3.0  # times its present scatter: a step within is none that two stations share


def find_fate(step: Step, tracks: Iterable[Track]) -> str:
    """What the usable epochs behind a step say of it."""
    mine = [t for t in tracks if t.times_s and t.times_s[0] < step.at_s and carries(t, step.quantity)]
    if not mine:
        return UNSEEN
    open_jump = [t for t in mine if any(j.at_s == step.at_s for j in t.jumps)]
    if open_jump:
        return LASTS if any(t.times_s[-1] > step.at_s for t in open_jump) else WAITS
    if any(at_s == step.at_s and reason == RETURNED for t in mine for at_s, reason in t.set_aside):
        return BACK
    if any(_went_off(t, step) for t in mine):
        return GOES_ON
    return GONE if any(t.times_s[-1] > step.at_s for t in mine) else WAITS


def _went_off(track: Track, step: Step) -> bool:
    """True when a later epoch is there and the epoch of the step still lies off what came before, or was erratic.

    An offset may have taken the step away since: then nothing went anywhere.
    """
    place = bisect_left(track.times_s, step.at_s)
    if place >= len(track.times_s):
        return False
    if track.times_s[place] > step.at_s:
        return any(at_s == step.at_s and reason == ERRATIC for at_s, reason in track.set_aside)
    if place + 1 == len(track.times_s):
        return False
    return norm(minus(track.values[place], track.values[place - 1])) > STILL_OFF * step.size


def keeps_its_way(step: Step, tracks: Iterable[Track], now_s: float, interval_s: float) -> bool | None:
    """Whether a step goes on as motion does: None until its third epoch came or is overdue, False where it scatters.

    A step that the newest epochs of its tracks do not reach any more counts as motion: nothing speaks against it.
    """
    for track in tracks:
        place = bisect_left(track.recent, step.at_s, key=lambda epoch: epoch[0])
        home, since = track.recent[max(0, place - PRESENT) : place], track.recent[place:]
        if not since or since[0][0] != step.at_s or not carries(track, step.quantity):
            continue
        if len(since) == 1 or (len(since) < SHOWN and now_s - since[-1][1] <= PATIENCE * interval_s):
            return None
        is_wild = track.burst is not None and track.burst.begins
        if is_wild or (len(home) >= SHOWN and not _moves_on(home, since)):
            return False
    return True


def _moves_on(home: Sequence[Epoch], since: Sequence[Epoch]) -> bool:
    """True where all epochs since a step lie off the trend of before, the same way, and beyond the scatter around it.

    Each may turn back by less than a quarter of the step, and go on as far as it will, ever faster.
    """
    offs = [minus(value, _lead(home[-TAIL:], at_s)) for at_s, _, value in since]
    size = norm(offs[0])
    ways = [fsum(map(mul, off, offs[0])) / size for off in offs] if size > 0.0 else [0.0]
    turns = any(far - way > REST_OF_STEP * size for far, way in zip(accumulate(ways, max), ways, strict=True))
    return not turns and min(ways) > BEYOND * norm(measure_bent([value for _, _, value in home]))


def _lead(home: Sequence[Epoch], at_s: float) -> Vector:
    """Where the epochs before a step lead: the median of them, each carried on at the median rate of neighbours."""
    found = []
    for axis in range(len(home[0][2])):
        points = [(t, value[axis]) for t, _, value in home]
        rate = median((b - a) / (t - s) for (s, a), (t, b) in pairwise(points))
        found.append(median(a + rate * (at_s - t) for t, a in points))
    return tuple(found)


def stands_again(view: DecisionInputs, tracks: Iterable[Track], step: Step) -> bool:
    """True when the newest values of a station lie where those before a step lay, within a quarter of the step.

    A walk may call an epoch a spike after late data, and the station stands elsewhere all the same.
    """
    away = []
    for key in {f"{t.station}.{q}" for t in tracks if carries(t, step.quantity) for q in t.quantity.split("+")}:
        readings = view.readings.get(key, ())
        place = bisect_left(readings, step.at_s, key=lambda r: seconds(r.observed_at))
        if 0 < place < len(readings) - 1:
            away.append(readings[-1].value - readings[place - 1].value)
    return bool(away) and norm(tuple(away)) <= REST_OF_STEP * step.size


def carries(track: Track, quantity: str) -> bool:
    """True when a track shows a declared quantity, or one of its components; no name means any."""
    return not quantity or _shows(track.quantity, quantity)


@lru_cache(maxsize=1024)
def _shows(shown: str, quantity: str) -> bool:
    return any(q == quantity or q.startswith(f"{quantity}_") for q in shown.split("+"))
