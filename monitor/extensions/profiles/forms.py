"""What profiles bring to ingest and to the jobs; what does the work, with numpy, is imported where a site has one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.observation import Observation
from monitor.domain.site import Site
from monitor.extensions.profiles.declare import list_profiles
from monitor.ingest.files.reader import FileReader
from monitor.store.database.engine import Database
from monitor.store.readings.observations import AddResult, SeriesIds
from monitor.store.service_state import IDLE

READERS: Final = {
    "profile": FileReader(
        "monitor.extensions.profiles.files:open_profile",
        "readings by depth of a declared profile: surveys of probes, and tables with depths as names",
        suffixes=(".csv", ".txt", ".gkn", ".rpp", ".dux", ".di1"),
        takes=("--station", "--unit"),
        recognises="monitor.extensions.profiles.surveys:is_survey",
    )
}


def add_profiles(
    c: Connection, sites: Mapping[str, Site], rows: Sequence[Observation], _: AddResult, now: datetime, ids: SeriesIds
) -> list[Observation]:
    """Store what follows from readings that were just stored, and give it back; call in their transaction."""
    with_profiles = {name: site for name, site in sites.items() if list_profiles(site)}
    mine = [one for one in rows if one.site in with_profiles]
    if not mine:
        return []
    from monitor.extensions.profiles.compute import renew_near

    return renew_near(c, with_profiles, mine, now, ids)


def run(db: Database, _config: Any, site: Site, now: datetime) -> str:
    """Compute all profiles anew whose declaration, zero reading or offsets are others than before."""
    if not list_profiles(site):
        return IDLE
    from monitor.extensions.profiles.compute import renew_changed

    return renew_changed(db, site, now)
