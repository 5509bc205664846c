"""HTTP routes for Atom feeds (RFC 4287) of CAP messages, and for single messages."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from monitor.api.decision import unwrap_reason
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.alerts import Alert, load_cards, load_level_changes, load_outcomes
from monitor.api.text import EPOCH, current_language, format_iso, translate, translate_level, use_language
from monitor.api.web import AlertId, context_of, find_card, find_readable_sites
from monitor.features.cap.chain import compose, find_sender
from monitor.features.cap.message import FALSE_ALARMS, add_text, add_texts

router = APIRouter(include_in_schema=False)
MAX_ENTRIES: Final = 200  # newest messages of a feed
ATOM: Final = "http://www.w3.org/2005/Atom"
FEED_MEDIA_TYPE: Final = "application/atom+xml; charset=utf-8"
CAP_MEDIA_TYPE: Final = "application/cap+xml"


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """An entry of the feed: one CAP message of an alert."""

    alert_id: int
    number: str  # number of the event that the message reports, or `cancel`
    at: datetime  # time of the event or outcome
    site: str
    site_name: str
    level_name: str
    reason: str
    kind: str  # `msgType` of CAP: Alert, Update or Cancel
    exercise: bool

    @property
    def path(self) -> str:
        """Return the path of the message below the address of the page."""
        return f"/alerts/{self.alert_id}/cap/{self.number}.xml"


def write_feed(entries: Sequence[FeedEntry], root_url: str, path: str, title: str, sender: str) -> bytes:
    """Return the feed as XML. The same entries give the same bytes and therefore the same entity tag."""
    host = urlsplit(root_url).hostname or "localhost"
    feed = ET.Element("feed", xmlns=ATOM)
    updated = format_iso(max((entry.at for entry in entries), default=EPOCH))
    add_texts(feed, id=f"tag:{host},2026:slopeward{path}", title=title, updated=updated)
    ET.SubElement(feed, "link", rel="self", type="application/atom+xml", href=f"{root_url}{path}")
    add_text(ET.SubElement(feed, "author"), "name", sender)
    for entry in entries:
        element = ET.SubElement(feed, "entry")
        prefix = "EXERCISE " if entry.exercise else ""
        level = translate_level(entry.level_name, current_language()).upper()
        reason = str(translate(unwrap_reason(entry.reason)))
        at = format_iso(entry.at)
        entry_title = f"{prefix}[{entry.site_name}] {level}: {reason}"
        add_texts(element, id=f"tag:{host},2026:slopeward{entry.path}", title=entry_title, updated=at, published=at)
        ET.SubElement(element, "category", term=entry.kind)
        ET.SubElement(element, "category", term="Exercise" if entry.exercise else "Actual")
        ET.SubElement(element, "link", rel="alternate", type=CAP_MEDIA_TYPE, href=f"{root_url}{entry.path}")
        add_text(element, "summary", reason)
    ET.indent(feed)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(feed, encoding="unicode")}\n'.encode()


@router.get("/cap/feed.atom", response_class=Response)
def get_feed(request: Request, exercises: bool = False) -> Response:
    """Return the messages of all sites that the client may read, newest first. Drills only with `exercises=true`."""
    return _make_feed_response(
        request, find_readable_sites(request, None), "/cap/feed.atom", "Slopeward", exercises=exercises
    )


@router.get("/sites/{site}/cap/feed.atom", response_class=Response)
def get_site_feed(request: Request, site: str, exercises: bool = False) -> Response:
    """Return the messages of one site, newest first. Drills only with `exercises=true`."""
    with context_of(request).db.read() as c:
        name = find_card(c, site).name
    return _make_feed_response(request, site, f"/sites/{site}/cap/feed.atom", name, exercises=exercises)


@router.get("/alerts/{alert_id}/cap/{name}.xml", response_class=Response)
def get_message(request: Request, alert_id: AlertId, name: str) -> Response:
    """Return a message of an alert, signed if a key is configured.

    `name` is the number of the event that the message reports, or `cancel`.
    """
    context = context_of(request)
    with context.db.read() as c:
        try:
            text = compose(c, context.config, alert_id, name)
        except RefusedError as error:
            # The alert is no hazard alert.
            raise NotFoundError(error.message) from None
    return _make_response(request, text.encode(), f"{CAP_MEDIA_TYPE}; charset=utf-8")


def _make_feed_response(
    request: Request, sites: str | frozenset[str] | None, path: str, title: str, *, exercises: bool
) -> Response:
    """Return the feed of one site, of some sites, or of all sites (None)."""
    context = context_of(request)
    site_ids = frozenset({sites}) if isinstance(sites, str) else sites
    sender = find_sender(context.config)
    with context.db.read() as c, use_language(context.config.language.cap[0]):
        entries = _list_entries(c, site_ids, exercises=exercises)
        feed = write_feed(entries, sender.page_url, path, title, sender.sender)
    return _make_response(request, feed, FEED_MEDIA_TYPE)


def _list_entries(c: Connection, sites: frozenset[str] | None, *, exercises: bool) -> list[FeedEntry]:
    """Return the entries of some sites, newest first: changes of levels, and alerts that turned out to be false."""
    cards = {card.id: card for card in load_cards(c, sites)}
    level_names = {
        card.id: {int(level["number"]): str(level["name"]) for level in card.levels} for card in cards.values()
    }
    entries: list[FeedEntry] = []

    def add_entry(alert: Alert, number: str, at: datetime, level: int, reason: str, kind: str) -> None:
        if alert.site in cards:
            entries.append(
                FeedEntry(
                    alert_id=alert.id,
                    number=number,
                    at=at,
                    site=alert.site,
                    site_name=cards[alert.site].name,
                    level_name=level_names[alert.site].get(level, str(level)),
                    reason=reason,
                    kind=kind,
                    exercise=alert.exercise,
                )
            )

    for alert, event in load_level_changes(c, sites, limit=MAX_ENTRIES, exercises=exercises):
        # The first event after shadow mode has no level before either.
        kind = "Alert" if event.from_level is None else "Update"
        add_entry(alert, str(event.sequence), event.at, event.to_level, event.reason, kind)
    for alert, outcome in load_outcomes(c, sites, sorted(FALSE_ALARMS), limit=MAX_ENTRIES, exercises=exercises):
        # After a false alarm the level is the lowest one.
        add_entry(alert, "cancel", outcome.at, 0, FALSE_ALARMS[outcome.kind], "Cancel")
    return sorted(entries, key=lambda entry: (entry.at, entry.alert_id), reverse=True)[:MAX_ENTRIES]


def _make_response(request: Request, content: bytes, media_type: str) -> Response:
    """Return the content with an entity tag, or status 304 if the client already has it (RFC 9110, 13.1.2)."""
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    client_tags = {client_tag.strip() for client_tag in request.headers.get("if-none-match", "").split(",")}
    if tag in client_tags or "*" in client_tags:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
