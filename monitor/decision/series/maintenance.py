"""Exclude the votes of a station under maintenance, up to the level that the people who declared it may exclude."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitor.decision.records import DecisionInputs
from monitor.sites.records import Site
from monitor.text.message import Message, NameList, Template, Timestamp

MAINTENANCE: Final = Template("vote.maintenance", "maintenance of {station} until {at}, by {names}: {reason}")


@dataclass(frozen=True, slots=True)
class MaintenanceMask:
    """Votes of a station that a maintenance window excludes.

    Attributes:
        limit: The highest level that is excluded. Votes above it count.
        to_s: End of the window, epoch seconds.
    """

    limit: int
    to_s: float
    reason: Message


def find_maintenance_masks(site: Site, inputs: DecisionInputs, now_s: float) -> Mapping[str, MaintenanceMask]:
    """Return the stations under maintenance now, and which of their votes are excluded.

    One person excludes votes below the two highest levels, two people those for the second highest as well. Votes for
    the highest level are never excluded. After the end of the window all votes count again at once.
    """
    masks: dict[str, MaintenanceMask] = {}
    for fact in inputs.maintenance:
        if not fact.from_s <= now_s < fact.to_s:
            continue
        by = fact.by.strip()
        second_by = (fact.second_by or "").strip()
        is_by_two = bool(second_by) and second_by.casefold() != by.casefold()
        limit = site.top_level - (1 if is_by_two else 2)
        names = NameList((by, second_by) if is_by_two else (by,), conjunction=True)
        reason = MAINTENANCE(station=fact.station, at=Timestamp(fact.to_s), names=names, reason=fact.reason)
        previous = masks.get(fact.station)
        if limit > 0 and (previous is None or (limit, fact.to_s) > (previous.limit, previous.to_s)):
            masks[fact.station] = MaintenanceMask(limit, fact.to_s, reason)
    return masks
