"""The messages of an alert out of the database, each as it was when it was sent: later knowledge changes none."""

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
    BARE,
    CapSender,
    ChainMessage,
    DecisionBasis,
    FailureWindow,
    list_steps,
    write_cap,
)
from monitor.features.cap.signature import sign_cap


def find_source(config: ServiceConfig) -> CapSender:
    """Who sends: `[cap] sender`, else the service at the host of its page."""
    host = urlsplit(config.web.url).hostname or "localhost"
    return CapSender(config.cap.sender or f"slopeward@{host}", config.web.url)


def compose(
    c: Connection,
    config: ServiceConfig,
    alert_id: int,
    number: str = "",
    *,
    languages: Sequence[str] = (),
    holds: timedelta | None = None,
    is_test: bool = False,
) -> str:
    """One message of an alert, signed where there is a key.

    Args:
        config: says who sends, in which languages, and with which key.
        alert_id: a hazard alert.
        number: of the event that it reports, or `cancel`; the newest one where it is empty.
        languages: else those of `[language] cap`.
        holds: for how long it holds; else `[cap] expires`.
        is_test: of status Test, in a chain of its own.

    Raises:
        NotFoundError: there is no such alert, or no message of that number.
        RefusedError: the alert is none of hazard.
        ConfigError: it cannot be signed.
    """
    alert = require_alert(c, alert_id)
    events, outcome = load_alert_events(c, alert_id), find_outcome(c, alert_id)
    steps = list_steps(alert, events, outcome)
    found = next((s for s in steps if s.number == number), None) if number else steps[-1]
    if found is None:
        raise NotFoundError(f"alert {alert_id} has no message {number[:20]!r}")
    if not found.is_false:
        events, outcome = [e for e in events if e.sequence <= int(found.number)], None
    card, ground = _find_basis(c, alert.site, found)
    text = write_cap(
        alert,
        events,
        card,
        find_source(config),
        languages or config.language.cap,
        outcome=outcome,
        holds=holds or config.cap.holds,
        is_test=is_test,
        ground=ground,
    )
    if not config.cap.key:
        return text
    return sign_cap(text, config.cap.key, read_text(Path(config.cap.certificate_file)))


def compose_event(c: Connection, config: ServiceConfig, event_id: int) -> str:
    """The message of an event; of one that changed no level, the message before it."""
    alert_id, sequence = find_alert_of_event(c, event_id)
    events = [e for e in load_alert_events(c, alert_id) if e.sequence <= sequence]
    return compose(c, config, alert_id, list_steps(require_alert(c, alert_id), events, None)[-1].number)


def _find_basis(c: Connection, site_id: str, step: ChainMessage) -> tuple[PlacedSite, DecisionBasis]:
    """The site and what was known of it when a message was sent."""
    decision = None if step.decision_id is None else load_decision(c, step.decision_id)
    version = ""  # of then; none where none was in force
    with contextlib.suppress(NotFoundError):
        version = find_version_at(c, site_id, step.at) if decision is None else decision.config_sha256
    site = find_declaration(c, version)
    card = _find_card(c, site_id, site, step)
    if decision is None:  # a person set the level, or took it back
        found = replace(BARE, stations=_place(site, None), window=_find_window(c, site_id, step.at))
        return card, replace(found, exposed=_find_exposed(site, step.level))
    known = plain_to_messages(json.loads(decision.evidence))
    evidence = (known.get("outcome") or {}).get("evidence") or {} if isinstance(known, dict) else {}
    votes = {VoteKey.read(key): vote for key, vote in (evidence.get("votes") or {}).items()}
    counted = {key for key, vote in votes.items() if vote.get("counted")}
    sentences = {VoteKey(w["criterion"], w["station"]): w["reason"] for w in evidence.get("words") or ()}
    ground = DecisionBasis(
        stations=_place(site, None),
        voting=_place(site, {key.station for key in counted}),
        votes=tuple((key.station, sentences.get(key, key.criterion)) for key in sorted(counted)),
        votes_required=len(votes),
        exposed=_find_exposed(site, step.level),
        window=_find_window(c, site_id, step.at),
        evidence_sha256=decision.evidence_sha256,
    )
    return card, ground


def _find_card(c: Connection, site_id: str, site: Site | None, step: ChainMessage) -> PlacedSite:
    """Name, place and levels by the file of then; raises RefusedError to warn where nobody watches any more."""
    now = next(iter(load_cards(c, site_id)), None)
    if now is None and (site is None or step.level > 0):
        raise RefusedError(f"site {site_id} is watched no more: there is nothing to warn of")
    if site is None:
        return now or PlacedSite(site_id, "", 0.0, 0.0, [])
    levels = [StoredLevel(number=v.number, name=v.name, action=v.action) for v in site.levels]
    return PlacedSite(site_id, site.name, site.latitude, site.longitude, levels)


def _place(site: Site | None, named: set[str] | None) -> tuple[tuple[float, float], ...]:
    """Where stations stand: those that are named, or all on the slope."""
    return tuple(
        (s.latitude, s.longitude)
        for s in (() if site is None else site.stations)
        if s.latitude is not None and s.longitude is not None and (s.on_slope if named is None else s.id in named)
    )


def _find_exposed(site: Site | None, level: int) -> tuple[tuple[str, tuple[Place, ...]], ...]:
    """What is in danger at a level by the file of then; at the lowest one all of it, as its end is told."""
    return tuple((e.name, e.corners) for e in (() if site is None else site.exposed) if level == 0 or level >= e.level)


def _find_window(c: Connection, site: str, at: datetime) -> FailureWindow | None:
    """Return the next failure window that was trusted at an instant and not over; None if there was none."""
    standing: dict[tuple[str, str, str], dict[str, Any]] = {}
    until_then = ColumnSpan("issued_at", until=format_iso(at))
    order = ("station", "quantity", "method", "issued_at", "data_until")
    for row in load_optional_view(c, "failure_windows", order_by=order, within=until_then, site=site):
        if row["withdrawn_at"] is None or row["withdrawn_at"] > format_iso(at):
            # A window replaces the one before it.
            standing[row["station"], row["quantity"], row["method"]] = row
    ahead = [row for row in standing.values() if row["trusted"] and row["window_to"] > format_iso(at)]
    if not ahead:
        return None
    first = min(ahead, key=lambda row: str(row["window_from"]))
    return FailureWindow(first["station"], parse_time(first["window_from"]), parse_time(first["window_to"]))
