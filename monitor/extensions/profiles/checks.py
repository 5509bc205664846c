"""Health of depth profiles: depths without a reading, and readings under names that the profile does not declare."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from forecasting.message import Figure, NameList
from monitor.checks.check import WARN, Check, SubjectState, found
from monitor.domain.site import Site
from monitor.extensions.profiles.declare import DEPTHS, Profile, list_profiles
from monitor.extensions.profiles.store import find_newest_count, list_refused_reasons
from monitor.store.database.engine import Database

# Refused messages are looked for as far back as this many intervals, so that one wrong message is forgotten again.
INTERVALS: Final = 3


class ProfileStatus(NamedTuple):
    """What is missing of the newest survey of one profile.

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


def read_profiles(db: Database, sites: Mapping[str, Site], now: datetime) -> ProfileStatuses:
    """Read what is missing of the newest survey of each profile."""
    statuses: list[ProfileStatus] = []
    for site in sites.values():
        for profile in list_profiles(site):
            spec = site.series(profile.station, DEPTHS)
            if spec is None:
                continue
            since = now - timedelta(seconds=INTERVALS * spec.interval_s)
            with db.read() as c:
                count = find_newest_count(c, site.id, profile.station, DEPTHS)
                refused = list_refused_reasons(c, site.id, profile.station, since)
            statuses.append(ProfileStatus(site.id, profile, count, refused))
    return ProfileStatuses(statuses)


def _find_missing(seen: ProfileStatuses) -> Iterator[SubjectState]:
    for one in seen.profiles:
        total = len(one.profile.depths_m)
        count = one.depth_count or 0
        yield found(
            f"{one.site}:{one.profile.station}",
            is_wrong=one.depth_count is not None and count < total,
            figure=(float(total - count), None),
            station=one.profile.station,
            missing=Figure(total - count, "d"),
            total=Figure(total, "d"),
        )


def _find_refused(seen: ProfileStatuses) -> Iterator[SubjectState]:
    for one in seen.profiles:
        yield found(
            f"{one.site}:{one.profile.station}",
            is_wrong=bool(one.refused),
            station=one.profile.station,
            reasons=NameList(tuple(one.refused)),
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
)
