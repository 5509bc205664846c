"""Health of depth profiles: missing depths, readings under undeclared names, and profiles that are computed late."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from monitor.api.checks import WARN, Check, SubjectState, make_state
from monitor.api.database import Database
from monitor.api.sites import Site
from monitor.api.text import Duration, Figure, NameList
from monitor.features.profiles.declare import DEPTH_COUNT, Profile, list_profiles
from monitor.features.profiles.queries import find_newest_count, list_refused_reasons

# Refused messages of this many intervals are reported, so that the report of one wrong message ends by itself.
INTERVALS: Final = 3
# Profiles that wait longer than this are late. A large import may need longer; the notice then says so.
LATE_S: Final = 120.0


class ProfileStatus(NamedTuple):
    """Missing depths of the newest survey of one profile, and refused messages.

    Attributes:
        site: Site id.
        profile: The profile.
        depth_count: Depths that the newest survey has; None before the first survey.
        refused: Reasons of messages of the station in the quarantine that the profile may have missed.
    """

    site: str
    profile: Profile
    depth_count: int | None
    refused: Sequence[str]


class ProfileStatuses(NamedTuple):
    """All profiles of all sites."""

    profiles: Sequence[ProfileStatus]


class WaitingProfiles(NamedTuple):
    """For each site the borehole that has waited longest for its profile, and its waiting time in seconds."""

    sites: Mapping[str, Site]
    list_waits_s: Callable[[], Mapping[str, tuple[float, str]]]


def read_profiles(db: Database, sites: Mapping[str, Site], now: datetime) -> ProfileStatuses:
    """Read what is missing of the newest survey of each profile."""
    statuses: list[ProfileStatus] = []
    for site in sites.values():
        for profile in list_profiles(site):
            spec = site.series(profile.station, DEPTH_COUNT)
            if spec is None:
                continue
            since = now - timedelta(seconds=INTERVALS * spec.interval_s)
            with db.read() as c:
                count = find_newest_count(c, site.id, profile.station, DEPTH_COUNT)
                refused = list_refused_reasons(c, site.id, profile.station, since)
            statuses.append(ProfileStatus(site.id, profile, count, refused))
    return ProfileStatuses(statuses)


def _find_missing(statuses: ProfileStatuses) -> Iterator[SubjectState]:
    for status in statuses.profiles:
        total = len(status.profile.depths_m)
        count = status.depth_count or 0
        yield make_state(
            f"{status.site}:{status.profile.station}",
            is_wrong=status.depth_count is not None and count < total,
            figure=(float(total - count), None),
            station=status.profile.station,
            missing=Figure(total - count, "d"),
            total=Figure(total, "d"),
        )


def _find_refused(statuses: ProfileStatuses) -> Iterator[SubjectState]:
    for status in statuses.profiles:
        yield make_state(
            f"{status.site}:{status.profile.station}",
            is_wrong=bool(status.refused),
            station=status.profile.station,
            reasons=NameList(tuple(status.refused)),
        )


def _find_late(waiting: WaitingProfiles) -> Iterator[SubjectState]:
    waits_s = waiting.list_waits_s()
    for site_id in waiting.sites:
        wait_s, station = waits_s.get(site_id, (0.0, ""))
        yield make_state(
            site_id, is_wrong=wait_s > LATE_S, site=site_id, wait=Duration(wait_s, "about"), station=station
        )


CHECKS: Final = (
    Check(
        "profile.*.missing",
        ProfileStatuses,
        WARN,
        "the newest survey of {station} lacks {missing} of {total} depths: whether it slips there is unknown",
        _find_missing,
        todo="read them again, or remove depths that are lost from the [[profile]]",
        alarm=1,
    ),
    Check(
        "profile.*.refused",
        ProfileStatuses,
        WARN,
        "readings of {station} are in the quarantine and missing from its profile: {reasons}",
        _find_refused,
        todo="send the names that the [[profile]] declares, then: slopeward ingest --rejected",
        alarm=1,
    ),
    Check(
        "profile.*.late",
        WaitingProfiles,
        WARN,
        "depth profiles of site {site} wait for {wait}, those of {station} longest: a long import is being computed, "
        "or the boreholes need more processor time than they get. The newest surveys come first",
        _find_late,
        todo="wait for an import to end; otherwise shorten `window` of the [[profile]] or read it less often",
        alarm=1,
        after_s=60.0,
        hold_s=60.0,
    ),
)
