"""`slopeward status`: what the service sees, from the database alone, so that it answers when the service does not."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import typer

from monitor.alerts.queries.evaluations import load_incomplete
from monitor.app.checks import health
from monitor.app.checks.running import ReachedDatabase, SiteStatus
from monitor.app.checks.table import (
    BLIND,
    DEGRADED,
    EXIT_OF,
    SEEN,
    ServiceVerdict,
    Stamped,
    assess_service,
    run_checks,
)
from monitor.cli.session import (
    Commands,
    UtcOption,
    find_zones,
    format_in_zone,
    open_database,
    options,
    print_json,
    read_service,
    translate_in_zone,
)
from monitor.decision.incomplete_series import list_reasons
from monitor.decision.judgements import describe_limited
from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError, StoreError
from monitor.models.lacking import AwaitedModel, list_awaited
from monitor.plugins import hooks
from monitor.registration import StatusSection
from monitor.settings.service import ServiceConfig
from monitor.sites.files import scan_sites
from monitor.sites.queries.sites import load_sites_summary
from monitor.sites.records import Site
from monitor.sites.views import SiteStatusRow
from monitor.storage.engine import Database
from monitor.storage.service_state import load_heartbeats
from monitor.storage.views import load_view
from monitor.text.instants import format_age, parse_time
from monitor.text.message import Message

if TYPE_CHECKING:
    from rich.table import Table

app = Commands()


@app.command(epilog="Example: slopeward status --json")
def status(utc: UtcOption = False) -> None:
    """Say level, observability and newest datum of each site; exit 0 all seen, 5 degraded, 6 blind."""
    service = read_service()
    now = datetime.now(UTC)
    try:
        with open_database(service) as db:
            verdict = _show(service, db, now, utc=utc)
    except StoreError as error:
        # nobody knows what core does, and it cannot store what it decides
        blind = run_checks(ReachedDatabase(error.message))
        verdict = ServiceVerdict(BLIND, tuple(one.text for one in blind if one.is_wrong and one.check.blinds))
        if options().as_json:
            print_json({"state": verdict.state, "reasons": verdict.reasons, "at": now, "sites": []})
        else:
            _print((), verdict, now, lambda _: service.web.timezone)
    raise typer.Exit(EXIT_OF[verdict.state])


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """What the database says of the service at one instant."""

    stamps: Stamped
    tops: Mapping[str, int]  # the highest level of each site
    rows: Sequence[Mapping[str, Any]]  # of the view `site_status`
    newest_outage: Mapping[str, Any] | None  # of the view `outages`
    awaited: Sequence[tuple[str, AwaitedModel]]  # models that wait for readings, by site
    incomplete: Mapping[str, Mapping[str, Message]]  # by site and series: why a site does not see "full"
    limited: Mapping[str, Sequence[Message]]  # by site: which motion series keep it from reaching its top level
    sections: Sequence[StatusSection]  # of features and plugins


def _show(service: ServiceConfig, db: Database, now: datetime, *, utc: bool) -> ServiceVerdict:
    declared: list[Site] = []
    with suppress(ConfigError):  # a folder that is not there holds none
        declared = scan_sites(service.paths.sites)[0]
    with db.read() as c:
        zones = find_zones(c, utc=utc)
        rows = load_view(c, "site_status", SiteStatusRow, order_by=["site"])
        found = StoredStatus(
            stamps=load_heartbeats(c),
            tops={s.id: len(s.levels) - 1 for s in load_sites_summary(c)},
            rows=rows,
            newest_outage=next(iter(load_view(c, "outages", order_by=["-from_at"], limit=1)), None),
            awaited=list_awaited(c, declared, now),
            incomplete={row["site"]: load_incomplete(c, row["site"]) for row in rows},
            limited={site.id: describe_limited(PreparedSite(site)) for site in declared},
            sections=[
                section
                for registered in hooks().status_sections(connection=c, sites=declared, now=now, zones=zones)
                for section in registered
            ],
        )
    sites = [_see(row, found.tops) for row in found.rows]
    unseen = [] if sites else [site.id for site in declared]
    verdict = assess_service(found.stamps, sites, now, service.schedule.evaluate_tick_s, unseen, _try_to_write(db))
    if options().as_json:
        print_json(_to_json(found, verdict, now))
    else:
        _print(found.rows, verdict, now, zones)
        for line in _list_lines(found, now, zones):
            print(line)
    return verdict


def _to_json(found: StoredStatus, verdict: ServiceVerdict, now: datetime) -> dict[str, Any]:
    document = {
        "state": verdict.state,
        "reasons": verdict.reasons,
        "at": now,
        "sites": [
            {
                **row,
                "incomplete": {name: str(reason) for name, reason in found.incomplete[row["site"]].items()},
                "limited": [str(sentence) for sentence in found.limited.get(row["site"], ())],
            }
            for row in found.rows
        ],
        "processes": {
            name: {"at": at, **detail}
            for name, (at, detail) in found.stamps.items()
            if name in SHOWN or name.startswith(health.STANDBY_PREFIX)
        },
        "newest_outage": found.newest_outage,
        "awaited": [one.to_json(site) for site, one in found.awaited],
    }
    for section in found.sections:
        document.setdefault(section.name, section.entries)
    return document


def _list_lines(found: StoredStatus, now: datetime, zones: Callable[[str], str]) -> Iterator[str]:
    if pair := _describe_pair(found.stamps, now, zones("")):
        yield pair
    outage = found.newest_outage
    if outage is not None and now - (_read(outage["drained_at"]) or now) < RECENT:
        yield f"  {_describe(outage, zones(''))}"
    for row in found.rows:
        for reason in list_reasons(found.incomplete[row["site"]]):
            yield f"  {row['site']} sees {row['observability']}: {translate_in_zone(reason, zones(row['site']))}"
        for sentence in found.limited.get(row["site"], ()):
            yield f"  {row['site']}: {translate_in_zone(sentence, zones(row['site']))}"
    for section in found.sections:
        for line in section.lines:
            yield f"  {line}"
    for site, what in found.awaited:
        yield f"  {site}: {what.what} is awaited: {translate_in_zone(what.describe(), zones(site))}"


def _try_to_write(db: Database) -> ReachedDatabase:
    try:
        db.require_writable()
    except StoreError as error:
        return ReachedDatabase(error.message)
    return ReachedDatabase("")


def _describe_pair(stamps: Mapping[str, tuple[datetime, Mapping[str, Any]]], now: datetime, zone: str) -> str:
    waiting = [
        f"{name.removeprefix(health.STANDBY_PREFIX)} stands by (seen {describe_age(at, now)})"
        for name, (at, _) in stamps.items()
        if name.startswith(health.STANDBY_PREFIX)
    ]
    core = stamps.get("core")
    if core is None or not waiting:
        return ""
    since = format_in_zone(core[1].get("active_since"), zone)
    return f"{core[1].get('name')} decides since {since}; {', '.join(waiting)}"


def _describe(outage: Any, zone: str) -> str:
    begun, ended, drained = (format_in_zone(outage[name], zone) for name in ("from_at", "back_at", "drained_at"))
    return (
        f"outage ({outage['cause']}) from {begun} to {ended}: what had waited was read by {drained}; "
        f"{outage['late']} epochs came late, {outage['missing']} are missing"
    )


RECENT = timedelta(days=1)
SHOWN = ("core", "supervisor", "broker")
MEANS = {
    SEEN: "seen: the service runs, and sees every site whole",
    DEGRADED: "degraded: the service runs, and something is missing:",
    BLIND: "blind: nobody looks at a slope that should be watched:",
}


def _see(row: Any, tops: Mapping[str, int]) -> SiteStatus:
    unset = row["evaluated_at"] is None
    return SiteStatus(
        row["site"],
        -1 if unset else row["level"],
        row["level_name"] or "",
        row["observability"] or "",
        0 if unset else row["reachable_level"],
        tops[row["site"]],
        _read(row["evaluated_at"]),
        _read(row["newest_at"]),
    )


def make_table(rows: Any, now: datetime, zones: Callable[[str], str]) -> "Table":
    """Rows of `site_status` as a table, one line a site; `zones` gives the zone of each."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("site", "level", "since", "sees", "movement", "newest datum", "open alerts"):
        table.add_column(title)
    for row in rows:
        since = format_in_zone(row["since"] or None, zones(row["site"]))
        moves = ", ".join(str(row[k]) for k in ("movement_stage", "trend") if row[k]) or "-"
        table.add_row(
            row["site"],
            row["level_name"] or "-",
            since,
            row["observability"] or "-",
            moves,
            describe_age(_read(row["newest_at"]), now),
            str(row["active_alerts"]),
        )
    return table


def _print(rows: Any, verdict: ServiceVerdict, now: datetime, zones: Callable[[str], str]) -> None:
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=200)  # into a pipe a row stays one line
    if rows:
        console.print(make_table(rows, now, zones))
    console.print(f"\n{MEANS[verdict.state]}", highlight=False)
    for reason in verdict.reasons:
        console.print(f"  {translate_in_zone(reason, zones(''))}", highlight=False, soft_wrap=True)


def _read(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def describe_age(at: datetime | None, now: datetime) -> str:
    """How long ago an instant was.

    >>> describe_age(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 2, tzinfo=UTC)), describe_age(None, None)
    ('2 h ago', 'never')
    """
    return "never" if at is None else f"{format_age(now - at)} ago"
