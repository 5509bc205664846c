"""Queries of sites, of the versions of their site files, and of proposed changes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, select, update

from monitor.canonical import code_version
from monitor.errors import NotFoundError
from monitor.sites.records import Site
from monitor.sites.tables import config_version, site_proposal
from monitor.sites.tables import site as site_table
from monitor.sites.tables import station as station_table
from monitor.storage.engine import insert
from monitor.storage.rows import (
    add_row,
    fill_row,
    find_record,
    load_records,
    match_given,
    row_to_record,
    save_rows,
)
from monitor.text.message import Template, message_columns


@dataclass(frozen=True, slots=True)
class SiteSummary:
    """A row in lists of sites."""

    id: str
    name: str
    latitude: float
    longitude: float
    timezone: str
    levels: tuple[str, ...]
    config_sha256: str
    active: bool
    shadow: bool = False


def save_site(c: Connection, site: Site, author: str, reason: str, now: datetime) -> bool:
    """Store a site, its stations and the version of its site file.

    Returns:
        False if this version is already in force. Then no new version is stored.
    """
    levels = [
        {"number": level.number, "name": level.name, "action": level.action, "auto_lower": level.auto_lower}
        for level in site.levels
    ]
    values = {name: getattr(site, name) for name in ("id", "name", "latitude", "longitude", "timezone", "shadow")}
    values |= {"levels": levels, "config_sha256": site.version, "active": True}
    current = c.execute(
        select(site_table.c.config_sha256, site_table.c.active).where(site_table.c.id == site.id)
    ).one_or_none()
    save_rows(c, site_table, [values])
    c.execute(update(station_table).where(station_table.c.site == site.id).values(declared=False))
    columns = [column.name for column in station_table.c if column.name not in {"site", "declared"}]
    rows = []
    for station in site.stations:
        station_values = {name: getattr(station, name) for name in columns}
        rows.append({"site": site.id, "declared": True, **station_values})
    save_rows(c, station_table, rows)
    if current is not None and current.config_sha256 == site.version:
        return False
    row: dict[str, Any] = {"site": site.id, "sha256": site.version, "source": site.source, "author": author}
    row |= {"reason": reason, "loaded_at": now, "code_version": code_version()}
    c.execute(insert(c, config_version).values(row).on_conflict_do_nothing())
    return True


def load_sites_summary(c: Connection, *, active_only: bool = True) -> list[SiteSummary]:
    """Return the sites, ordered by id."""
    query = select(site_table).order_by(site_table.c.id)
    if active_only:
        query = query.where(site_table.c.active)
    return [
        row_to_record(SiteSummary, row, levels=tuple(level["name"] for level in row.levels)) for row in c.execute(query)
    ]


def load_place_names(c: Connection) -> dict[str, set[str]]:
    """Return id, name and station ids of each site by its id. Inactive sites are included."""
    names = {row.id: {row.id, row.name} for row in c.execute(select(site_table.c.id, site_table.c.name))}
    for row in c.execute(select(station_table.c.site, station_table.c.id)):
        names.setdefault(row.site, {row.site}).add(row.id)
    return names


def load_site_source(c: Connection, config_sha256: str) -> str:
    """Return the text of a site file by its SHA-256.

    Raises:
        NotFoundError: this version was never loaded.
    """
    query = select(config_version.c.source).where(config_version.c.sha256 == config_sha256).limit(1)
    source = c.execute(query).scalar()
    if source is None:
        raise NotFoundError(f"no site file with hash {config_sha256} was ever loaded into this database")
    return str(source)


def find_version(c: Connection, site_id: str) -> str | None:
    """Return the SHA-256 of the site file in force, or None if none was loaded."""
    version = c.execute(_build_version_query(), {"of_site": site_id}).scalar()
    return None if version is None else str(version)


# Cached because every evaluation executes this query.
@cache
def _build_version_query() -> Select[Any]:
    return select(site_table.c.config_sha256).where(site_table.c.id == bindparam("of_site"))


def mark_inactive(c: Connection, site_id: str) -> None:
    """Mark a site as inactive. Its history is kept."""
    c.execute(update(site_table).where(site_table.c.id == site_id).values(active=False))


PROPOSED: Final = "proposed"
APPROVED: Final = "approved"
REJECTED: Final = "rejected"
# Another proposal for the site was approved first.
SUPERSEDED: Final = "superseded"
_OTHER: Final = Template("proposal.other_approved", "proposal {number} was approved")
_NONE: Final = Template(
    "proposal.none_listed", "proposal {number} does not exist; see `slopeward sites proposals --all`"
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed site file, and what was decided about it.

    `base_sha256` is the version in force at the time of the proposal, or None for a new site.
    """

    id: int
    site: str
    sha256: str
    base_sha256: str | None
    source: str
    author: str
    reason: str
    proposed_at: datetime
    state: str
    effect: Any
    differences: Any
    loosens_high: bool
    approved_by: str | None = None
    second_by: str | None = None
    decided_at: datetime | None = None
    decision_reason: str | None = None


def add_proposal(c: Connection, proposal: Proposal) -> int:
    """Store a proposal and return its number."""
    return add_row(c, site_proposal, fill_row(site_proposal, proposal))


def load_proposals(
    c: Connection, site: str | frozenset[str] | None = None, *, everything: bool = False
) -> list[Proposal]:
    """Return the undecided proposals, or all with `everything`, oldest first."""
    query = select(site_proposal).where(*match_given(site_proposal.c.site, site))
    if not everything:
        query = query.where(site_proposal.c.state == PROPOSED)
    return load_records(c, Proposal, query.order_by(site_proposal.c.id))


def load_proposal(c: Connection, number: int, *, lock: bool = False) -> Proposal:
    """Return a proposal. With `lock`, lock its row until the end of the transaction.

    Raises:
        NotFoundError: there is no proposal with this number.
    """
    query = select(site_proposal).where(site_proposal.c.id == number)
    if lock:
        query = query.with_for_update()
    proposal = find_record(c, Proposal, query)
    if proposal is None:
        raise NotFoundError(_NONE(number=number))
    return proposal


def mark_decided(
    c: Connection, number: int, state: str, by: str, reason: str, now: datetime, *, second_by: str | None = None
) -> None:
    """Store the decision on a proposal. `second_by` is the second person, if two were needed."""
    values = {"state": state, "approved_by": by, "second_by": second_by, "decided_at": now}
    values |= message_columns("decision_reason", reason)
    c.execute(update(site_proposal).where(site_proposal.c.id == number).values(values))


def mark_superseded(c: Connection, site: str, by_number: int, now: datetime) -> None:
    """Mark the other proposals of a site as superseded. They refer to a version that is no longer in force."""
    columns = site_proposal.c
    reason = message_columns("decision_reason", _OTHER(number=by_number))
    c.execute(
        update(site_proposal)
        .where(columns.site == site, columns.state == PROPOSED, columns.id != by_number)
        .values(state=SUPERSEDED, decided_at=now, **reason)
    )


def find_version_at(c: Connection, site: str, at: datetime) -> str:
    """Return the SHA-256 of the site file that was in force at an instant.

    Raises:
        NotFoundError: no site file was loaded before that instant.
    """
    columns = config_version.c
    query = (
        select(columns.sha256)
        .where(columns.site == site, columns.loaded_at <= at)
        .order_by(columns.loaded_at.desc(), columns.id.desc())
        .limit(1)
    )
    version = c.execute(query).scalar()
    if version is None:
        raise NotFoundError(f"site {site} had no site file at that time; choose a later time")
    return str(version)


def list_slope_stations(c: Connection, sites: Collection[str]) -> dict[str, set[str]]:
    """Return the ids of the declared stations on the slope, by site."""
    columns = station_table.c
    query = select(columns.site, columns.id).where(columns.site.in_(sites), columns.declared, columns.on_slope)
    stations: dict[str, set[str]] = {}
    for row in c.execute(query):
        stations.setdefault(row.site, set()).add(row.id)
    return stations
