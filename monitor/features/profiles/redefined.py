"""Job that notes all profiles of a borehole after a change of its declaration, zero reading or offsets.

The noted profiles are then computed again.
"""

from datetime import datetime
from typing import Any

from monitor.api.database import IDLE, Database, find_heartbeat, write_heartbeat
from monitor.api.queries.readings import load_later_entries
from monitor.api.sites import Site
from monitor.api.text import canonical_json, digest_text
from monitor.features.profiles.borehole import AHEAD, FIRST, Borehole
from monitor.features.profiles.declare import list_profiles
from monitor.features.profiles.queries import PendingProfiles, add_pending


def run(db: Database, _config: Any, site: Site, now: datetime) -> str:
    """Note the whole past of every profile whose declaration, zero reading or offsets have changed."""
    profiles = list_profiles(site)
    name = f"profiles:{site.id}"
    if not profiles:
        return IDLE
    heartbeat = db.run_read(find_heartbeat, name)
    previous_digests = {} if heartbeat is None else heartbeat[1]
    digests: dict[str, str] = {}
    pending: list[PendingProfiles] = []
    with db.read() as c:
        for profile in profiles:
            hole = Borehole.open(c, site, profile)
            digests[profile.station] = _digest(hole, now)
            begin = hole.find_epoch(FIRST, now + AHEAD)
            if begin is not None and digests[profile.station] != previous_digests.get(profile.station):
                pending.append(PendingProfiles(site.id, profile.station, (begin, now + AHEAD)))
    if digests == previous_digests:
        return IDLE
    with db.write() as c:
        add_pending(c, pending)
        write_heartbeat(c, name, digests, now)
    return f"the past of {len(pending)} depth profiles is computed again" if pending else IDLE


def _digest(hole: Borehole, now: datetime) -> str:
    """Return a digest of everything except their readings from which past profiles are computed."""
    zero = hole.load_zero(now)
    around = {} if zero is None else hole.load_around(zero.at, now)
    readings = {name: [(row.value, row.flags) for row in rows] for name, rows in around.items()}
    entries = load_later_entries(hole.c, hole.site.id, now)
    offsets = [entries[number].offsets for number in hole.list_ids() if number in entries]
    zero_at = None if zero is None else zero.at
    return digest_text(canonical_json([repr(hole.profile), str(zero_at), readings, offsets]))
