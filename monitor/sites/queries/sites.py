"""Declared sites, every version of their files, which decisions are recomputed from, and changes that wait."""

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
    read_record,
    save_rows,
)
from monitor.text.message import Template, message_columns


@dataclass(frozen=True, slots=True)
class SiteSummary:
    """What lists of sites show."""

    id: str
    name: str
    latitude: float
    longitude: float
    timezone: str
    levels: tuple[str, ...]
    config_sha256: str
    active: bool


def save_site(c: Connection, site: Site, author: str, reason: str, now: datetime) -> bool:
    """Declare a site, its stations and the version of its file; loading the same version again changes nothing.

    Returns:
        True when this version was not the current one.
    """
    levels = [{"number": k.number, "name": k.name, "action": k.action, "auto_lower": k.auto_lower} for k in site.levels]
    values = {name: getattr(site, name) for name in ("id", "name", "latitude", "longitude", "timezone")}
    values |= {"levels": levels, "config_sha256": site.version, "active": True}
    current = c.execute(
        select(site_table.c.config_sha256, site_table.c.active).where(site_table.c.id == site.id)
    ).one_or_none()
    save_rows(c, site_table, [values])
    c.execute(update(station_table).where(station_table.c.site == site.id).values(declared=False))
    own = [k.name for k in station_table.c if k.name not in {"site", "declared"}]
    rows = [{name: getattr(station, name) for name in own} for station in site.stations]
    save_rows(c, station_table, [{"site": site.id, "declared": True, **row} for row in rows])
    if current is not None and current.config_sha256 == site.version:
        return False
    row: dict[str, Any] = {"site": site.id, "sha256": site.version, "source": site.source, "author": author}
    row |= {"reason": reason, "loaded_at": now, "code_version": code_version()}
    c.execute(insert(c, config_version).values(row).on_conflict_do_nothing())
    return True


def load_sites_summary(c: Connection, *, active_only: bool = True) -> list[SiteSummary]:
    """Sites by id."""
    wanted = select(site_table).order_by(site_table.c.id)
    if active_only:
        wanted = wanted.where(site_table.c.active)
    return [read_record(SiteSummary, r, levels=tuple(level["name"] for level in r.levels)) for r in c.execute(wanted)]


def load_place_names(c: Connection) -> dict[str, set[str]]:
    """What each site is called, retired ones too: its id, its name, its stations; by id."""
    found = {row.id: {row.id, row.name} for row in c.execute(select(site_table.c.id, site_table.c.name))}
    for row in c.execute(select(station_table.c.site, station_table.c.id)):
        found.setdefault(row.site, {row.site}).add(row.id)
    return found


def load_site_source(c: Connection, config_sha256: str) -> str:
    """The text of a site file by its hash; raises NotFoundError: that version was never loaded here."""
    wanted = select(config_version.c.source).where(config_version.c.sha256 == config_sha256).limit(1)
    found = c.execute(wanted).scalar()
    if found is None:
        raise NotFoundError(f"no site file with hash {config_sha256} was ever loaded into this database")
    return str(found)


def find_version(c: Connection, site_id: str) -> str | None:
    """Hash of the version of a site file that is in force; None before the first."""
    found = c.execute(_plan_version(), {"of_site": site_id}).scalar()
    return None if found is None else str(found)


@cache  # put together once: it is asked at every look
def _plan_version() -> Select[Any]:
    return select(site_table.c.config_sha256).where(site_table.c.id == bindparam("of_site"))


def mark_inactive(c: Connection, site_id: str) -> None:
    """Take a site off the active list; its history stays."""
    c.execute(update(site_table).where(site_table.c.id == site_id).values(active=False))


PROPOSED: Final = "proposed"
APPROVED: Final = "approved"
REJECTED: Final = "rejected"
SUPERSEDED: Final = "superseded"  # another one of the site was approved first
_OTHER: Final = Template("proposal.other_approved", "proposal {number} was approved")
_NONE: Final = Template(
    "proposal.none_listed", "proposal {number} does not exist; see `slopeward sites proposals --all`"
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal as it stands."""

    id: int
    site: str
    sha256: str
    base_sha256: str | None  # the version in force when it was made; None for a first file
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
    """Store a proposal; returns its number."""
    return add_row(c, site_proposal, fill_row(site_proposal, proposal))


def load_proposals(
    c: Connection, site: str | frozenset[str] | None = None, *, everything: bool = False
) -> list[Proposal]:
    """Proposals that wait, oldest first; all where asked for."""
    p = site_proposal.c
    which = (*match_given(p.site, site), *(() if everything else (p.state == PROPOSED,)))
    return load_records(c, Proposal, select(site_proposal).where(*which).order_by(p.id))


def load_proposal(c: Connection, number: int, *, lock: bool = False) -> Proposal:
    """One proposal; locked for who decides it; raises NotFoundError: there is none of that number."""
    wanted = select(site_proposal).where(site_proposal.c.id == number)
    found = find_record(c, Proposal, wanted.with_for_update() if lock else wanted)
    if found is None:
        raise NotFoundError(_NONE(number=number))
    return found


def mark_decided(
    c: Connection, number: int, state: str, by: str, reason: str, now: datetime, *, second_by: str | None = None
) -> None:
    """Write what became of a proposal; `second_by` names who made it two people where two were needed."""
    values = {"state": state, "approved_by": by, "second_by": second_by, "decided_at": now}
    values |= message_columns("decision_reason", reason)
    c.execute(update(site_proposal).where(site_proposal.c.id == number).values(values))


def mark_superseded(c: Connection, site: str, by_number: int, now: datetime) -> None:
    """Put aside the other proposals of a site: they were compared with a version that is no longer in force."""
    p, because = site_proposal.c, message_columns("decision_reason", _OTHER(number=by_number))
    c.execute(
        update(site_proposal)
        .where(p.site == site, p.state == PROPOSED, p.id != by_number)
        .values(state=SUPERSEDED, decided_at=now, **because)
    )


def find_version_at(c: Connection, site: str, at: datetime) -> str:
    """The hash of the site file that was in force at an instant; raises NotFoundError."""
    k = config_version.c
    query = select(k.sha256).where(k.site == site, k.loaded_at <= at).order_by(k.loaded_at.desc(), k.id.desc())
    found = c.execute(query.limit(1)).scalar()
    if found is None:
        raise NotFoundError(f"site {site} was not watched yet at that time")
    return str(found)


def list_slope_stations(c: Connection, sites: Collection[str]) -> dict[str, set[str]]:
    """The stations on the slope that the files of some sites declare, by site."""
    s = station_table.c
    found: dict[str, set[str]] = {}
    for row in c.execute(select(s.site, s.id).where(s.site.in_(sites), s.declared, s.on_slope)):
        found.setdefault(row.site, set()).add(row.id)
    return found
