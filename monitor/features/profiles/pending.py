"""Note which surveys of boreholes have to be computed, in the transaction that stores their readings."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.api.queries.readings import AddResult
from monitor.api.readings import Observation
from monitor.api.sites import Site
from monitor.api.text import Span, join_spans
from monitor.features.profiles.declare import Profile, is_read, map_profiles
from monitor.features.profiles.queries import PendingProfiles, add_pending


def note_readings(
    c: Connection,
    sites: Mapping[str, Site],
    rows: Sequence[Observation],
    added: AddResult,
) -> None:
    """Note the surveys that change with readings, in the transaction that stores them.

    The profiles are computed later.
    """
    if not added.stored:
        return
    spans: dict[tuple[str, str], list[Span]] = {}
    for row in rows:
        site = sites.get(row.site)
        profile = None if site is None else map_profiles(site).get(row.station)
        if profile is not None and is_read(profile, row.quantity):
            spans.setdefault((row.site, row.station), []).append(_find_affected(profile, row.observed_at))
    pending = [
        PendingProfiles(site_id, station, span)
        for (site_id, station), borehole_spans in spans.items()
        for span in join_spans(set(borehole_spans))
    ]
    add_pending(c, pending)


def _find_affected(profile: Profile, at: datetime) -> Span:
    """Return the span of the surveys that a reading changes: its own, and those whose window contains it."""
    within = timedelta(seconds=profile.within_s)
    return at - within, at + within + timedelta(seconds=profile.window_s)
