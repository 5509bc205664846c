"""CAP messages as an Atom feed (RFC 4287): one entry for each message of a chain, the newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from monitor.domain.instants import EPOCH, format_iso
from monitor.domain.language.catalogue import current
from monitor.domain.language.rendering import translate, translate_level
from monitor.extensions.cap.message import add_text, add_texts

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
        mark, level = "EXERCISE " if one.exercise else "", translate_level(one.level_name, current()).upper()
        reason, at = str(translate(one.reason)), format_iso(one.at)
        title = f"{mark}[{one.site_name}] {level}: {reason}"
        add_texts(entry, id=f"tag:{host},2026:slopeward{one.path}", title=title, updated=at, published=at)
        ET.SubElement(entry, "category", term=one.kind)
        ET.SubElement(entry, "category", term="Exercise" if one.exercise else "Actual")
        ET.SubElement(entry, "link", rel="alternate", type=CAP_TYPE, href=f"{root_url}{one.path}")
        add_text(entry, "summary", reason)
    ET.indent(feed)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(feed, encoding="unicode")}\n'.encode()
