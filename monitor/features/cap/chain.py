"""Compose the CAP messages of an alert from the database.

A message contains what was known when it was sent. Later changes of the database do not alter it.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection

from monitor.api.database import ColumnSpan, load_optional_view
from monitor.api.decision import VoteKey
from monitor.api.delivery import find_declaration
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.alerts import (
    PlacedSite,
    StoredLevel,
    find_alert_of_event,
    find_outcome,
    load_alert_events,
    load_cards,
    load_decision,
    require_alert,
)
from monitor.api.queries.sites import find_version_at
from monitor.api.settings import ServiceConfig, read_text
from monitor.api.sites import Place, Site
from monitor.api.text import format_iso, parse_time, plain_to_messages
from monitor.features.cap.message import (
    CapSender,
    ChainMessage,
    DecisionBasis,
    FailureWindow,
    list_messages,
    write_cap,
)
from monitor.features.cap.signature import sign_cap


def find_sender(config: ServiceConfig) -> CapSender:
    """Return the sender: `[cap] sender`, or else a name made of the host of the page."""
    host = urlsplit(config.web.url).hostname or "localhost"
    return CapSender(config.cap.sender or f"slopeward@{host}", config.web.url)


def compose(
    c: Connection,
    config: ServiceConfig,
    alert_id: int,
    number: str = "",
    *,
    languages: Sequence[str] = (),
    validity: timedelta | None = None,
    is_test: bool = False,
) -> str:
    """Return a message of an alert as XML, signed if a key is configured.

    Args:
        c: Connection.
        config: Service file with sender, languages and key.
        alert_id: A hazard alert.
        number: Number of the event that the message reports, or `cancel`. Empty selects the newest message.
        languages: One block each. Default: `[language] cap`.
        validity: How long the message is valid. Default: `[cap] expires`.
        is_test: Whether the message has the status Test. Tests form a chain of their own.

    Raises:
        NotFoundError: The alert or the message does not exist.
        RefusedError: The alert is no hazard alert.
        ConfigError: The message cannot be signed.
    """
    alert = require_alert(c, alert_id)
    events = load_alert_events(c, alert_id)
    outcome = find_outcome(c, alert_id)
    messages = list_messages(alert, events, outcome, is_test=is_test)
    matching = [message for message in messages if message.number == number] if number else messages[-1:]
    if not matching:
        raise NotFoundError(f"alert {alert_id} has no message {number[:20]!r}")
    message = matching[0]
    if not message.is_false_alarm:
        # The message is composed as if later events had not happened.
        events = [event for event in events if event.sequence <= int(message.number)]
        outcome = None
    card, basis = _load_basis(c, alert.site, message)
    text = write_cap(
        alert,
        events,
        card,
        find_sender(config),
        languages or config.language.cap,
        outcome=outcome,
        validity=validity or config.cap.valid_for,
        is_test=is_test,
        basis=basis,
    )
    if not config.cap.key:
        return text
    return sign_cap(text, config.cap.key, read_text(Path(config.cap.certificate_file)))


def compose_event(c: Connection, config: ServiceConfig, event_id: int) -> str:
    """Return the message of an event as XML. If the event changed no level, return the message before it."""
    alert_id, sequence = find_alert_of_event(c, event_id)
    events = [event for event in load_alert_events(c, alert_id) if event.sequence <= sequence]
    messages = list_messages(require_alert(c, alert_id), events, None)
    return compose(c, config, alert_id, messages[-1].number)


def _load_basis(c: Connection, site_id: str, message: ChainMessage) -> tuple[PlacedSite, DecisionBasis]:
    """Return the site and the facts of the decision at the time of a message."""
    decision = None if message.decision_id is None else load_decision(c, message.decision_id)
    # Empty if no site file was in force then.
    version = ""
    with contextlib.suppress(NotFoundError):
        version = find_version_at(c, site_id, message.at) if decision is None else decision.config_sha256
    site = find_declaration(c, version)
    card = _load_card(c, site_id, site, message)
    basis = DecisionBasis(
        stations=_list_positions(site, None),
        exposed=_list_exposed(site, message.level),
        window=_find_window(c, site_id, message.at),
    )
    if decision is None:
        # A person set or cancelled the level.
        return card, basis
    stored = plain_to_messages(json.loads(decision.evidence))
    evidence = (stored.get("outcome") or {}).get("evidence") or {} if isinstance(stored, dict) else {}
    votes = {VoteKey.read(key): vote for key, vote in (evidence.get("votes") or {}).items()}
    counted = {key for key, vote in votes.items() if vote.get("counted")}
    reasons = {VoteKey(entry["criterion"], entry["station"]): entry["reason"] for entry in evidence.get("words") or ()}
    basis = replace(
        basis,
        voting=_list_positions(site, {key.station for key in counted}),
        votes=tuple((key.station, reasons.get(key, key.criterion)) for key in sorted(counted)),
        vote_count=len(votes),
        evidence_sha256=decision.evidence_sha256,
    )
    return card, basis


def _load_card(c: Connection, site_id: str, site: Site | None, message: ChainMessage) -> PlacedSite:
    """Return name, position and levels from the site file at the time of a message.

    Raises RefusedError for a warning about a site that is no longer monitored.
    """
    present_card = next(iter(load_cards(c, site_id)), None)
    if present_card is None and (site is None or message.level > 0):
        raise RefusedError(f"site {site_id} is no longer monitored; there is nothing to warn of")
    if site is None:
        return present_card or PlacedSite(site_id, "", 0.0, 0.0, [])
    levels = [StoredLevel(number=level.number, name=level.name, action=level.action) for level in site.levels]
    return PlacedSite(site_id, site.name, site.latitude, site.longitude, levels)


def _list_positions(site: Site | None, names: set[str] | None) -> tuple[tuple[float, float], ...]:
    """Return the positions of the named stations, or of all stations on the slope if `names` is None."""
    positions = []
    for station in () if site is None else site.stations:
        is_wanted = station.on_slope if names is None else station.id in names
        if is_wanted and station.latitude is not None and station.longitude is not None:
            positions.append((station.latitude, station.longitude))
    return tuple(positions)


def _list_exposed(site: Site | None, level: int) -> tuple[tuple[str, tuple[Place, ...]], ...]:
    """Return name and corners of everything in danger at a level. At the lowest level everything is named, as safe."""
    if site is None:
        return ()
    return tuple((exposed.name, exposed.corners) for exposed in site.exposed if level == 0 or level >= exposed.level)


def _find_window(c: Connection, site: str, at: datetime) -> FailureWindow | None:
    """Return the next failure window that was trusted and not over at an instant, or None."""
    valid: dict[tuple[str, str, str], dict[str, Any]] = {}
    until_then = ColumnSpan("issued_at", until=format_iso(at))
    order = ("station", "quantity", "method", "issued_at", "data_until")
    for row in load_optional_view(c, "failure_windows", order_by=order, within=until_then, site=site):
        if row["withdrawn_at"] is None or row["withdrawn_at"] > format_iso(at):
            # A window replaces the one before it.
            valid[row["station"], row["quantity"], row["method"]] = row
    ahead = [row for row in valid.values() if row["trusted"] and row["window_to"] > format_iso(at)]
    if not ahead:
        return None
    first = min(ahead, key=lambda row: str(row["window_from"]))
    return FailureWindow(first["station"], parse_time(first["window_from"]), parse_time(first["window_to"]))
