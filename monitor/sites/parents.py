"""What instruments hang on: a dead base, logger, gateway or power supply is one cause, and one page."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from monitor.sites.quantities import HOUSEKEEPING
from monitor.sites.records import Site, once_per_record
from monitor.text.message import Message, Template, Term

_PARENT: Final = Template("instrument.parent", "{kind} {name}")
Place = tuple[str, str]  # station and declared quantity
PARENT_KINDS: Final = ("station", "logger", "base", "gateway", "power")  # the nearest first: of equals, it is named
FALL_TOGETHER_S: Final = 900.0  # so long a silence waits for those that are late as well
GONE: Final = 3.0  # intervals, as many as `max_silence` allows where nobody declares it: silent beside silent ones


@dataclass(frozen=True, slots=True)
class Parent:
    """Something on which several series hang."""

    kind: str
    name: str

    @property
    def key(self) -> str:
        """The key of its page.

        >>> Parent("logger", "L2").key
        'health:logger:L2:stale'
        """
        return f"health:{self.kind}:{self.name}:stale"

    @property
    def text(self) -> Message:
        """What it is, and its name.

        >>> Parent("power", "P1").text
        'power supply P1'
        """
        return _PARENT(kind=Term("power supply" if self.kind == "power" else self.kind), name=self.name)


def stale_key(place: Place) -> str:
    """The key of the page of one silent series."""
    return f"health:{place[0]}.{place[1]}:stale"


@once_per_record
def list_children(site: Site) -> Mapping[Parent, frozenset[Place]]:
    """The series behind every parent that has more than one.

    On a base hangs what is measured against it, the displacement of its rovers; on everything else all that a station
    measures, and on a station what is calculated from it. A parent that is declared as a station of its own shares its
    fate with them.
    """
    found: dict[Parent, set[Place]] = {}
    for station in site.stations:
        every = [(station.id, s.quantity) for s in station.series]
        moving = [p for p in every if p[1].startswith("displacement")]
        above = (station.id, station.logger, station.reference, station.gateway, station.power)
        for kind, name in zip(PARENT_KINDS, above, strict=True):
            if name is not None:
                found.setdefault(Parent(kind, name), set()).update(moving if kind == "base" else every)
        for spec in station.series:
            for other, _ in spec.calculation.places if spec.calculation is not None else ():
                found.setdefault(Parent("station", other), set()).add((station.id, spec.quantity))
    for parent, places in found.items():
        device = site.station(parent.name)
        if device is not None and places:
            places.update((device.id, s.quantity) for s in device.series)
    return {parent: frozenset(places) for parent, places in found.items() if len(places) > 1}


@dataclass(frozen=True, slots=True)
class SilenceCauses:
    """Causes of silent series: the parent of each group, series that wait a little, and those notified already."""

    pages: Mapping[Parent, frozenset[Place]]
    waiting: frozenset[Place]
    notified: frozenset[Place] = frozenset()


def find_silence_causes(
    children: Mapping[Parent, Collection[Place]],
    silent: Mapping[Place, float],
    is_late: Callable[[Place], bool],
    is_gone: Callable[[Place], bool],
    waited_until_s: Callable[[Place, Collection[Place]], float],
    paged: Collection[str],
    now_s: float,
    spoke_since: Callable[[Place, Collection[Place]], bool] = lambda *_: True,
) -> SilenceCauses:
    """Parents that explain silent series, the one with the most of them first.

    A parent is the cause when none of its children speaks. Some of them may still be within the time that their own
    limit allows: they count once they have missed an epoch. The first of the silent waits for them, until they
    have missed so many that they are gone, and never longer than a quarter of an hour. A page that is open stays as
    long as two of its children are silent, and a last one has its time to come back after the others: they come back
    one by one.

    Who reports so rarely that nothing is due of it since the others fell silent says nothing for or against a cause.
    So a battery that reports once a day does not make a page of each instrument of its dead logger. What such a series
    of housekeeping adds later is told already where its station has a page.

    Args:
        silent: silent series, and when each ought to have spoken at the latest.
        is_late: whether a series has missed an epoch.
        is_gone: whether it has missed so many that its own limit need not be waited for.
        waited_until_s: how long a last one is waited for, by those that are back.
        paged: keys of the pages that are open.
        spoke_since: whether a series has spoken after some that are silent fell silent.
    """
    left = {p for p in silent if stale_key(p) not in paged}  # who has a page of its own keeps it
    notified = {p for p in left if _is_notified(p, silent, paged, spoke_since)}
    left -= notified
    pages: dict[Parent, frozenset[Place]] = {}
    waiting: set[Place] = set()
    while left:
        for parent, mine in _rank_parents(children, left, pages):
            back = [p for p in children[parent] if p not in silent]
            if parent.key in paged:
                waits, cause = False, len(mine) > 1 or now_s < waited_until_s(next(iter(mine)), back)
            else:
                others = [p for p in back if is_late(p) or spoke_since(p, mine)]
                cause = len(mine) + len(others) > 1 and all(map(is_late, others))
                waits = now_s < min(silent[p] for p in mine) + FALL_TOGETHER_S and not all(map(is_gone, others))
            if cause:
                if waits:
                    waiting |= mine
                else:
                    pages[parent] = frozenset(mine)
                left -= mine
                break
        else:
            break
    return SilenceCauses(pages, frozenset(waiting), frozenset(notified))


def _rank_parents(
    children: Mapping[Parent, Collection[Place]], left: Collection[Place], pages: Collection[Parent]
) -> list[tuple[Parent, set[Place]]]:
    """Parents of series that are left, without those that have a page, and these series; of the most first."""
    found = [(parent, {*left}.intersection(places)) for parent, places in children.items() if parent not in pages]
    return sorted(
        ((parent, mine) for parent, mine in found if mine),
        key=lambda one: (-len(one[1]), PARENT_KINDS.index(one[0].kind), one[0].name),
    )


def _is_notified(
    place: Place,
    silent: Mapping[Place, float],
    paged: Collection[str],
    spoke_since: Callable[[Place, Collection[Place]], bool],
) -> bool:
    """Of housekeeping: whether another series of the station has a page of its own, and it has not spoken since."""
    if place[1] not in HOUSEKEEPING:
        return False
    others = [p for p in silent if p[0] == place[0] and p != place and stale_key(p) in paged]
    return bool(others) and not spoke_since(place, others)
