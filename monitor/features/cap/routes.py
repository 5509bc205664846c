"""Hazard alerts for other warning systems: an Atom feed (RFC 4287) of all sites or of one, each message of a chain."""

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
from monitor.api.queries.alerts import load_cards, load_level_changes, load_outcomes
from monitor.api.text import EPOCH, current_language, format_iso, translate, translate_level, use_language
from monitor.api.web import AlertId, context_of, find_card, find_readable_sites
from monitor.features.cap.chain import compose, find_source
from monitor.features.cap.message import FALSE, add_text, add_texts

router = APIRouter(include_in_schema=False)
MOST: Final = 200  # messages of a feed, the newest
ATOM: Final = "http://www.w3.org/2005/Atom"
MEDIA_TYPE: Final = "application/atom+xml; charset=utf-8"
CAP_TYPE: Final = "application/cap+xml"


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One message of the feed."""

    alert_id: int
    number: str  # of the event, or `cancel`
    at: datetime
    site: str
    site_name: str
    level_name: str
    reason: str
    kind: str  # Alert, Update or Cancel
    exercise: bool

    @property
    def path(self) -> str:
        """Where the message is, below the address of the page."""
        return f"/alerts/{self.alert_id}/cap/{self.number}.xml"


def write_feed(entries: Sequence[FeedEntry], root_url: str, path: str, title: str, sender: str) -> bytes:
    """The feed; the same entries give the same bytes."""
    host = urlsplit(root_url).hostname or "localhost"
    feed = ET.Element("feed", xmlns=ATOM)
    updated = format_iso(max((e.at for e in entries), default=EPOCH))
    add_texts(feed, id=f"tag:{host},2026:slopeward{path}", title=title, updated=updated)
    ET.SubElement(feed, "link", rel="self", type="application/atom+xml", href=f"{root_url}{path}")
    add_text(ET.SubElement(feed, "author"), "name", sender)
    for one in entries:
        entry = ET.SubElement(feed, "entry")
        mark, level = "EXERCISE " if one.exercise else "", translate_level(one.level_name, current_language()).upper()
        reason, at = str(translate(unwrap_reason(one.reason))), format_iso(one.at)
        title = f"{mark}[{one.site_name}] {level}: {reason}"
        add_texts(entry, id=f"tag:{host},2026:slopeward{one.path}", title=title, updated=at, published=at)
        ET.SubElement(entry, "category", term=one.kind)
        ET.SubElement(entry, "category", term="Exercise" if one.exercise else "Actual")
        ET.SubElement(entry, "link", rel="alternate", type=CAP_TYPE, href=f"{root_url}{one.path}")
        add_text(entry, "summary", reason)
    ET.indent(feed)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(feed, encoding="unicode")}\n'.encode()


@router.get("/cap/feed.atom", response_class=Response)
def get_feed(request: Request, exercises: bool = False) -> Response:
    """Messages of all sites as Atom, the newest first; drills where they are asked for."""
    return _answer_feed(request, find_readable_sites(request, None), "/cap/feed.atom", "Slopeward", exercises=exercises)


@router.get("/sites/{site}/cap/feed.atom", response_class=Response)
def get_site_feed(request: Request, site: str, exercises: bool = False) -> Response:
    """Messages of one site."""
    with context_of(request).db.read() as c:
        name = find_card(c, site).name
    return _answer_feed(request, frozenset({site}), f"/sites/{site}/cap/feed.atom", name, exercises=exercises)


@router.get("/alerts/{alert_id}/cap/{name}.xml", response_class=Response)
def get_message(request: Request, alert_id: AlertId, name: str) -> Response:
    """One message of a chain, signed where the service has a key; `name` is the number of its event, or `cancel`."""
    context = context_of(request)
    with context.db.read() as c:
        try:
            text = compose(c, context.config, alert_id, name)
        except RefusedError as error:  # an alert of health, a message that its chain does not have
            raise NotFoundError(error.message) from None
    return _answer(request, text.encode(), f"{CAP_TYPE}; charset=utf-8")


def _answer_feed(
    request: Request, sites: str | frozenset[str] | None, path: str, title: str, *, exercises: bool
) -> Response:
    context = context_of(request)
    wanted = frozenset({sites}) if isinstance(sites, str) else sites
    source = find_source(context.config)
    with context.db.read() as c, use_language(context.config.language.cap[0]):
        entries = _list_entries(c, wanted, exercises=exercises)
        feed = write_feed(entries, source.page_url, path, title, source.sender)
    return _answer(request, feed, MEDIA_TYPE)


def _list_entries(c: Connection, sites: frozenset[str] | None, *, exercises: bool) -> list[FeedEntry]:
    cards = {card.id: card for card in load_cards(c, sites)}
    names = {card.id: {int(v["number"]): str(v["name"]) for v in card.levels} for card in cards.values()}
    steps = [
        (alert, str(e.sequence), e.at, e.to_level, e.reason, "Alert" if e.sequence == 1 else "Update")
        for alert, e in load_level_changes(c, sites, limit=MOST, exercises=exercises)
    ]
    steps += [
        (alert, "cancel", outcome.at, 0, FALSE[outcome.kind], "Cancel")
        for alert, outcome in load_outcomes(c, sites, sorted(FALSE), limit=MOST)
        if exercises or not alert.exercise
    ]
    found = [
        FeedEntry(
            alert_id=alert.id,
            number=number,
            at=at,
            site=alert.site,
            site_name=cards[alert.site].name,
            level_name=names[alert.site].get(level, str(level)),
            reason=reason,
            kind=kind,
            exercise=alert.exercise,
        )
        for alert, number, at, level, reason, kind in steps
        if alert.site in cards
    ]
    return sorted(found, key=lambda e: (e.at, e.alert_id), reverse=True)[:MOST]


def _answer(request: Request, content: bytes, media_type: str) -> Response:
    """With a tag: who has it already is answered without it (RFC 9110, section 13.1.2)."""
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = {one.strip() for one in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
