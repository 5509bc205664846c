"""Work on a station: its votes are set aside for a time, up to the level that those who signed may set aside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitor.decision.records import DecisionInputs
from monitor.sites.records import Site
from monitor.text.message import Message, NameList, Template, Timestamp

MAINTENANCE: Final = Template("vote.maintenance", "maintenance of {station} until {at}, by {names}: {reason}")


@dataclass(frozen=True, slots=True)
class MaintenanceMask:
    """Votes of a station that a maintenance window excludes, and until when (epoch seconds)."""

    limit: int  # votes above this level count all the same
    to_s: float
    reason: Message


def find_maintenance_masks(site: Site, view: DecisionInputs, now_s: float) -> Mapping[str, MaintenanceMask]:
    """Stations under maintenance now, and how far their votes are set aside.

    One person sets aside what lies below the two highest levels, two the second highest as well, nobody the highest.
    A window that is over covers nothing: what was set aside counts again at once.
    """
    found: dict[str, MaintenanceMask] = {}
    for fact in view.maintenance:
        if not fact.from_s <= now_s < fact.to_s:
            continue
        by, second = fact.by.strip(), (fact.second_by or "").strip()
        two = bool(second) and second.casefold() != by.casefold()
        limit = site.top_level - (1 if two else 2)
        who = NameList((by, second) if two else (by,), conjunction=True)
        reason = MAINTENANCE(station=fact.station, at=Timestamp(fact.to_s), names=who, reason=fact.reason)
        known = found.get(fact.station)
        if limit > 0 and (known is None or (limit, fact.to_s) > (known.limit, known.to_s)):
            found[fact.station] = MaintenanceMask(limit, fact.to_s, reason)
    return found
