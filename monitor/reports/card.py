"""The quick card of a site: one page for who is on duty, made from its site file, so that it is never out of date."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from monitor.domain.site import Recipient, Site
from monitor.language.rendering import translate_level
from monitor.reports.facts import load_site_then
from monitor.reports.render import render


def render_card(c: Connection, site_id: str, page_url: str, language: str, at: datetime) -> str:
    """The card as HTML, by the site file in force; raises NotFoundError."""
    site = load_site_then(c, site_id, at)
    values = {
        "site": site, "page_url": page_url, "top": site.top_level, "levels": site.levels[::-1],
        "say_level": lambda name: translate_level(name, language), "people": list_people(site),
        "needs": site.fusion.top_needs,
    }  # fmt: skip
    return render("card.html", values, language, site.timezone, at)


def list_people(site: Site) -> list[dict[str, Any]]:
    """Who gets messages: each person of recipients and teams once, with phone and the levels that are sent."""
    found: dict[str, dict[str, Any]] = {}
    for recipient in site.recipients:
        members: tuple[Recipient, ...] = (recipient,) if recipient.team is None else recipient.team.members
        for one in members:
            known = found.setdefault(one.name, {"name": one.name, "phone": one.phone, "levels": set(), "teams": []})
            known["levels"] |= set(recipient.levels) if "hazard" in recipient.ledgers else set()
            known["phone"] = known["phone"] or one.phone
            if recipient.team is not None and recipient.team.name not in known["teams"]:
                known["teams"].append(recipient.team.name)
    return list(found.values())
