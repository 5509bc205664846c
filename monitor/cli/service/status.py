"""`slopeward status`: state of the service and its sites. It reads only the database, so the service need not run."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import typer

from monitor.alerts.queries.alerts import Alert, load_alerts
from monitor.alerts.queries.evaluations import find_common_silence, load_incomplete
from monitor.alerts.queries.overview import SiteCard, load_cards
from monitor.app.checks.running import ProcessHeartbeats, ReachedDatabase, SiteStatus
from monitor.app.checks.table import (
    EXIT_OF,
    HeartbeatsByProcess,
    ServiceState,
    ServiceVerdict,
    assess_service,
    run_checks,
)
from monitor.app.core_lock import is_core_lock_held
from monitor.app.heartbeats import STANDBY_PREFIX
from monitor.cli.alert_lines import describe_alert
from monitor.cli.identity import find_readable_sites
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
from monitor.storage.engine import Database
from monitor.storage.service_state import load_heartbeats
from monitor.storage.views import load_view
from monitor.text.instants import format_age, parse_time, record_to_json
from monitor.text.message import Message

if TYPE_CHECKING:
    from rich.table import Table

app = Commands()
# An outage is shown for this long after its messages were read.
RECENT_OUTAGE: Final = timedelta(days=1)
# Open alerts that are listed. `slopeward alerts list` lists all of them.
MOST_ALERTS: Final = 10
# Stations in a line about missing readings.
MAX_STATIONS: Final = 8
# Processes whose heartbeats `--json` contains, beside those that stand by.
SHOWN_PROCESSES: Final = ("core", "supervisor", "broker")
MEANINGS: Final = {
    ServiceState.SEEN: "seen: the service runs, and the last evaluation of every site had complete data",
    ServiceState.DEGRADED: "degraded: the service runs, and something is missing:",
    ServiceState.BLIND: "blind: a slope that should be monitored is not monitored:",
}


@app.command(epilog="Example: slopeward status --json")
def status(utc: UtcOption = False) -> None:
    """Show the present level, data and open alerts of each site.

    Exit 0 if all sites have complete data, 5 if a site is degraded or starting, 6 if one is blind.
    """
    service = read_service()
    now = datetime.now(UTC)
    try:
        with open_database(service) as db:
            verdict = _assess_and_print(service, db, now, utc=utc)
    except StoreError as error:
        # The state of the core process is unknown, and it could not store its decisions.
        findings = run_checks(ReachedDatabase(error.message))
        reasons = tuple(finding.text for finding in findings if finding.is_wrong and finding.check.blinds)
        verdict = ServiceVerdict(ServiceState.BLIND, reasons)
        if options().as_json:
            print_json({"state": verdict.state, "reasons": verdict.reasons, "at": now, "sites": []})
        else:
            _print((), verdict, now, lambda _: service.web.timezone)
    raise typer.Exit(EXIT_OF[verdict.state])


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """State of the service in the database at one instant.

    Attributes:
        heartbeats: Time and details of the newest heartbeat of each process.
        cards: Sites with their status, sorted by id.
        newest_outage: Newest row of the view `outages`.
        silences: Texts on common silence, by site.
        awaited: Models that wait for readings, each with the id of its site.
        alerts: Open alerts, at most `MOST_ALERTS`: hazard, health, then advice, the newest first.
        level_names: Names of the levels, by site.
        incomplete: By site and series, why the site does not see "full".
        limited: By site, which motion series keep the site from reaching its highest level.
        sections: Sections of features and plugins.
    """

    heartbeats: HeartbeatsByProcess
    cards: Sequence[SiteCard]
    newest_outage: Mapping[str, Any] | None
    silences: Mapping[str, Message]
    awaited: Sequence[tuple[str, AwaitedModel]]
    alerts: Sequence[Alert]
    level_names: Mapping[str, Sequence[Any]]
    incomplete: Mapping[str, Mapping[str, Message]]
    limited: Mapping[str, Sequence[Message]]
    sections: Sequence[StatusSection]


def _assess_and_print(service: ServiceConfig, db: Database, now: datetime, *, utc: bool) -> ServiceVerdict:
    declared: list[Site] = []
    with suppress(ConfigError):
        # A folder that does not exist contains no sites.
        declared = scan_sites(service.paths.sites)[0]
    with db.read() as c:
        zones = find_zones(c, utc=utc)
        cards = sorted(load_cards(c, now=now), key=lambda card: card.id)
        sections = [
            section
            for registered in hooks().status_sections(connection=c, sites=declared, now=now, zones=zones)
            for section in registered
        ]
        silences: dict[str, Message] = {}
        for card in cards:
            silence = find_common_silence(c, card.id)
            if silence is not None:
                silences[card.id] = silence
        stored = StoredStatus(
            heartbeats=load_heartbeats(c),
            cards=cards,
            newest_outage=next(iter(load_view(c, "outages", order_by=["-from_at"], limit=1)), None),
            silences=silences,
            awaited=list_awaited(c, declared, now),
            alerts=load_alerts(c, find_readable_sites(c, None), open_only=True, limit=MOST_ALERTS, hazard_first=True),
            level_names={row.id: row.levels for row in load_sites_summary(c, active_only=False)},
            incomplete={card.id: {} if card.start is not None else load_incomplete(c, card.id) for card in cards},
            limited={site.id: describe_limited(PreparedSite(site)) for site in declared},
            sections=sections,
        )
    sites = [_read_site_status(card, now) for card in cards]
    unseen = [] if sites else [site.id for site in declared]
    verdict = assess_service(
        stored.heartbeats,
        sites,
        now,
        service.schedule.evaluate_tick_s,
        unseen,
        _try_to_write(db),
        is_core_lock_held=is_core_lock_held(db),
    )
    if options().as_json:
        print_json(_to_json(stored, verdict, now))
    else:
        _print(cards, verdict, now, zones, is_running=ProcessHeartbeats(stored.heartbeats, now).is_core_alive)
        for line in _list_lines(stored, now, zones):
            print(line)
    return verdict


def _to_json(stored: StoredStatus, verdict: ServiceVerdict, now: datetime) -> dict[str, Any]:
    document = {
        "state": verdict.state,
        "reasons": verdict.reasons,
        "at": now,
        "sites": [_site_to_json(stored, card) for card in stored.cards],
        "processes": {
            name: {"at": at, **detail}
            for name, (at, detail) in stored.heartbeats.items()
            if name in SHOWN_PROCESSES or name.startswith(STANDBY_PREFIX)
        },
        "newest_outage": stored.newest_outage,
        "alerts": [record_to_json(alert) for alert in stored.alerts],
        "awaited": [model.to_json(site) for site, model in stored.awaited],
    }
    for section in stored.sections:
        document.setdefault(section.name, section.entries)
    return document


def _site_to_json(stored: StoredStatus, card: SiteCard) -> dict[str, Any]:
    return {
        **card.status,
        "observability": card.sight if card.start is not None else card.status["observability"],
        "starting": None if card.start is None else card.start.to_json(),
        "common_silence": str(stored.silences[card.id]) if card.id in stored.silences else None,
        "stations": card.station_counts,
        "late": _list_stations(card, "late"),
        "silent": _list_stations(card, "silent"),
        "incomplete": {name: str(reason) for name, reason in stored.incomplete[card.id].items()},
        "limited": [str(sentence) for sentence in stored.limited.get(card.id, ())],
    }


def _list_stations(card: SiteCard, state: str) -> list[str]:
    return sorted(name for name, present in card.stations.states.items() if present == state)


def _describe_stations(card: SiteCard, names: Sequence[str], now: datetime) -> str:
    """Return stations with the age of their newest reading, at most `MAX_STATIONS`."""
    described = [
        f"{name} ({describe_age(_parse_optional_time(card.stations.health[name]['newest_at']), now)})" for name in names
    ]
    more = len(described) - MAX_STATIONS
    return ", ".join(described[:MAX_STATIONS]) + (f" and {more} more" if more > 0 else "")


def _list_lines(stored: StoredStatus, now: datetime, zones: Callable[[str], str]) -> Iterator[str]:
    for site, silence in stored.silences.items():
        yield f"  {site}: {translate_in_zone(silence, zones(site))}"
    standby = _describe_standby(stored.heartbeats, now, zones(""))
    if standby:
        yield f"  {standby}"
    outage = stored.newest_outage
    if outage is not None and now - (_parse_optional_time(outage["drained_at"]) or now) < RECENT_OUTAGE:
        yield f"  {_describe_outage(outage, zones(''))}"
    for alert in stored.alerts:
        yield f"  alert {alert.id}: {describe_alert(alert, stored.level_names, zones(alert.site))}"
    if stored.alerts:
        yield (
            "  more about an alert: slopeward alerts explain NUMBER; "
            "to acknowledge it: slopeward ack NUMBER --by NAME --reason TEXT"
        )
    for card in stored.cards:
        zone = zones(card.id)
        if card.status["shadow"]:
            yield f"  {card.id}: shadow mode: only the people of the trial are notified"
        for state in ("silent", "late"):
            names = _list_stations(card, state)
            if names:
                yield f"  {card.id}: {state}: {_describe_stations(card, names, now)}"
        for reason in list_reasons(stored.incomplete[card.id]):
            yield f"  {card.id}: sees {card.status['observability']}, because {translate_in_zone(reason, zone)}"
        for sentence in stored.limited.get(card.id, ()):
            yield f"  {card.id}: {translate_in_zone(sentence, zone)}"
    for section in stored.sections:
        for line in section.lines:
            yield f"  {line}"
    for site, model in stored.awaited:
        yield f"  {site}: {model.title} is not available yet: {translate_in_zone(model.describe(), zones(site))}"


def _try_to_write(db: Database) -> ReachedDatabase:
    try:
        db.require_writable()
    except StoreError as error:
        return ReachedDatabase(error.message)
    return ReachedDatabase("")


def _describe_standby(heartbeats: Mapping[str, tuple[datetime, Mapping[str, Any]]], now: datetime, zone: str) -> str:
    waiting = [
        f"{name.removeprefix(STANDBY_PREFIX)} stands by (seen {describe_age(at, now)})"
        for name, (at, _) in heartbeats.items()
        if name.startswith(STANDBY_PREFIX)
    ]
    core = heartbeats.get("core")
    if core is None or not waiting:
        return ""
    since = format_in_zone(core[1].get("active_since"), zone)
    return f"{core[1].get('name')} decides since {since}; {', '.join(waiting)}"


def _describe_outage(outage: Any, zone: str) -> str:
    began_at, ended_at, drained_at = (
        format_in_zone(outage[name], zone) for name in ("from_at", "back_at", "drained_at")
    )
    return (
        f"outage ({outage['cause']}) from {began_at} to {ended_at}: waiting messages were read by {drained_at}; "
        f"{outage['late']} readings arrived late, {outage['missing']} are missing"
    )


def _read_site_status(card: SiteCard, now: datetime) -> SiteStatus:
    row = card.status
    is_evaluated = row["evaluated_at"] is not None
    return SiteStatus(
        id=card.id,
        level=row["level"] if row["level"] is not None else -1,
        level_name=row["level_name"] or "",
        observability="starting" if card.start is not None else row["observability"] or "",
        reachable_level=(row["reachable_level"] or 0) if is_evaluated else 0,
        top_level=card.top_level,
        evaluated_at=_parse_optional_time(row["evaluated_at"]),
        newest_at=_parse_optional_time(row["newest_at"]),
        starting="" if card.start is None else card.start.describe(now),
    )


def make_table(
    cards: Sequence[SiteCard], now: datetime, zones: Callable[[str], str], *, is_running: bool = True
) -> "Table":
    """Return the sites as a table with one row for each site.

    Args:
        cards: Sites with their status at the instant `now`.
        now: The instant of display.
        zones: Returns the time zone of a site.
        is_running: Whether the core process runs. If not, nobody sees the slope now, and the column "sees" contains how
            old the last evaluation is.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("site", "level", "since", "sees", "movement", "stations", "newest reading", "open alerts"):
        table.add_column(title)
    for card in cards:
        row = card.status
        is_starting = card.start is not None
        # Stage and trend are often the same word.
        movement = ", ".join(dict.fromkeys(str(row[name]) for name in ("movement_stage", "trend") if row[name]))
        table.add_row(
            card.id,
            "starting" if is_starting else row["level_name"] or "-",
            format_in_zone(None if is_starting else row["since"] or None, zones(card.id)),
            _describe_sight(card, now, is_running=is_running),
            movement or "-",
            str(card.ok),
            describe_age(_parse_optional_time(row["newest_at"]), now),
            str(row["active_alerts"]),
        )
    return table


def _describe_sight(card: SiteCard, now: datetime, *, is_running: bool) -> str:
    if card.start is not None:
        return "starting"
    if not card.status["observability"]:
        return "-"
    if is_running:
        return card.sight
    return f"nothing now ({card.sight} {describe_age(_parse_optional_time(card.status['evaluated_at']), now)})"


def _print(
    cards: Sequence[SiteCard],
    verdict: ServiceVerdict,
    now: datetime,
    zones: Callable[[str], str],
    *,
    is_running: bool = True,
) -> None:
    from rich.console import Console

    # Each row stays on one line if the output is piped.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    if cards:
        console.print(make_table(cards, now, zones, is_running=is_running))
    console.print(f"\n{MEANINGS[verdict.state]}", highlight=False)
    for reason in verdict.reasons:
        console.print(f"  {translate_in_zone(reason, zones(''))}", highlight=False, soft_wrap=True)


def _parse_optional_time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def describe_age(at: datetime | None, now: datetime) -> str:
    """Return how long ago an instant was.

    >>> describe_age(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 2, tzinfo=UTC)), describe_age(None, None)
    ('2 h ago', 'never')
    """
    return "never" if at is None else f"{format_age(now - at)} ago"
