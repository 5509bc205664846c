"""Shared equipment (base station, logger, gateway, power supply) as the common cause of silent series."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from monitor.sites.quantities import HOUSEKEEPING
from monitor.sites.records import Site
from monitor.text.message import Message, Template, Term

_PARENT: Final = Template("instrument.parent", "{kind} {name}")
# Station and declared quantity.
Place = tuple[str, str]
# From the nearest to the farthest. If several parents explain the same series, the nearest is the cause.
PARENT_KINDS: Final = ("station", "logger", "base", "gateway", "power")
# Longest delay of an alert on a silent series while other series of the same parent are late, in seconds.
FALL_TOGETHER_S: Final = 900.0
# Default of `max_silence`, in sampling intervals.
DEFAULT_SILENCE_INTERVALS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Parent:
    """Equipment that several series depend on."""

    kind: str
    name: str

    @property
    def key(self) -> str:
        """Key of the alert on the silence of all its series.

        >>> Parent("logger", "L2").key
        'health:logger:L2:stale'
        """
        return f"health:{self.kind}:{self.name}:stale"

    @property
    def text(self) -> Message:
        """Kind and name for messages.

        >>> Parent("power", "P1").text
        'power supply P1'
        """
        return _PARENT(kind=Term("power supply" if self.kind == "power" else self.kind), name=self.name)


def stale_key(place: Place) -> str:
    """Return the key of the alert on one silent series."""
    return f"health:{place[0]}.{place[1]}:stale"


def list_children(site: Site) -> Mapping[Parent, frozenset[Place]]:
    """Return the series that depend on each parent. Parents with one series are left out.

    Only displacement depends on a base station, because it is measured relative to it. All series of a station depend
    on its other parents. Calculated series also depend on the stations of their inputs. If a parent is itself a
    station of the site file, its own series are included.
    """
    children: dict[Parent, set[Place]] = {}
    for station in site.stations:
        all_series = [(station.id, spec.quantity) for spec in station.series]
        displacement = [place for place in all_series if place[1].startswith("displacement")]
        parent_names = (station.id, station.logger, station.reference, station.gateway, station.power)
        for kind, name in zip(PARENT_KINDS, parent_names, strict=True):
            if name is not None:
                dependent = displacement if kind == "base" else all_series
                children.setdefault(Parent(kind, name), set()).update(dependent)
        for spec in station.series:
            if spec.calculation is None:
                continue
            for input_station, _ in spec.calculation.places:
                children.setdefault(Parent("station", input_station), set()).add((station.id, spec.quantity))
    for parent, places in children.items():
        device = site.station(parent.name)
        if device is not None and places:
            places.update((device.id, spec.quantity) for spec in device.series)
    return {parent: frozenset(places) for parent, places in children.items() if len(places) > 1}


@dataclass(frozen=True, slots=True)
class SilenceCauses:
    """Causes of silent series.

    Attributes:
        pages: Parents to alert about, with their silent series.
        waiting: Silent series whose alert is delayed, because a common cause is likely and not yet certain.
        notified: Silent housekeeping series that need no alert, because their station already has one.
    """

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
    was_received_since: Callable[[Place, Collection[Place]], bool] = lambda *_: True,
) -> SilenceCauses:
    """Find the parents that explain silent series. Parents with more silent series are considered first.

    A parent is the cause if all its series are silent or have missed an epoch. The alert is delayed until the late
    series have missed `DEFAULT_SILENCE_INTERVALS` epochs, but at most for `FALL_TOGETHER_S`. An open alert on a parent
    stays open while two of its series are silent. Series return one after the other, so the last silent series also
    gets some time to return.

    A series that was not due since the others became silent neither supports nor excludes a cause. So a battery that
    reports once a day does not turn the failure of a logger into one alert for each instrument. If such a housekeeping
    series becomes silent later, it needs no alert if its station already has one.

    Args:
        children: Series by the parent that they depend on.
        silent: Silent series, and the latest instant at which each was due, in epoch seconds.
        is_late: Returns whether a series has missed an epoch.
        is_gone: Returns whether a series has missed so many epochs that it counts as silent.
        waited_until_s: Returns the instant until which the last silent series may return, from that series and the
            series that have returned.
        paged: Keys of the open alerts.
        now_s: Instant of the evaluation, in epoch seconds.
        was_received_since: Returns whether a series was received after some silent series became silent.
    """
    # A series that has an alert of its own keeps it.
    unexplained = {place for place in silent if stale_key(place) not in paged}
    notified = {place for place in unexplained if _is_notified(place, silent, paged, was_received_since)}
    unexplained -= notified
    pages: dict[Parent, frozenset[Place]] = {}
    waiting: set[Place] = set()
    while unexplained:
        for parent, explained in _rank_parents(children, unexplained, pages):
            received = [place for place in children[parent] if place not in silent]
            if parent.key in paged:
                is_cause = len(explained) > 1 or now_s < waited_until_s(next(iter(explained)), received)
                is_delayed = False
            else:
                due = [place for place in received if is_late(place) or was_received_since(place, explained)]
                is_cause = len(explained) + len(due) > 1 and all(is_late(place) for place in due)
                delayed_until_s = min(silent[place] for place in explained) + FALL_TOGETHER_S
                is_delayed = now_s < delayed_until_s and not all(is_gone(place) for place in due)
            if is_cause:
                if is_delayed:
                    waiting |= explained
                else:
                    pages[parent] = frozenset(explained)
                unexplained -= explained
                break
        else:
            break
    return SilenceCauses(pages, frozenset(waiting), frozenset(notified))


def _rank_parents(
    children: Mapping[Parent, Collection[Place]], unexplained: Collection[Place], pages: Collection[Parent]
) -> list[tuple[Parent, set[Place]]]:
    """Return the parents without an alert, and the unexplained series of each. The parent with the most is first."""
    ranked = []
    for parent, places in children.items():
        explained = {*unexplained}.intersection(places)
        if explained and parent not in pages:
            ranked.append((parent, explained))
    ranked.sort(key=lambda pair: (-len(pair[1]), PARENT_KINDS.index(pair[0].kind), pair[0].name))
    return ranked


def _is_notified(
    place: Place,
    silent: Mapping[Place, float],
    paged: Collection[str],
    was_received_since: Callable[[Place, Collection[Place]], bool],
) -> bool:
    """Return whether a housekeeping series needs no alert.

    This is the case if another silent series of its station has an alert, and the series was not received since.
    """
    station, quantity = place
    if quantity not in HOUSEKEEPING:
        return False
    alerted = [other for other in silent if other[0] == station and other != place and stale_key(other) in paged]
    return bool(alerted) and not was_received_since(place, alerted)
