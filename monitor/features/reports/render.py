"""Render the facts of a report, and the quick card of a site, as HTML documents."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection

from monitor.api.documents import render
from monitor.api.queries.people import has_several_people
from monitor.api.sites import Recipient, Site
from monitor.api.text import (
    N_,
    catalogue,
    format_local,
    gettext,
    level_class,
    parse_time,
    translate,
    translate_level,
    use_zone,
)
from monitor.features.reports.facts import ReportFacts, load_site_at

TEMPLATES: Final = Path(__file__).parent / "templates"
TITLES: Final = {"daily": N_("Daily bulletin"), "weekly": N_("Weekly bulletin"), "shift": N_("Shift report")}
LAST_DECISION: Final = N_("last decision %(at)s: %(level)s")


class EndState(NamedTuple):
    """The level at the end of a period, as the report and its mail state it.

    Attributes:
        level: Number of the level of the last decision; None if there was no decision.
        is_known: Whether that decision was recent enough at the end of the period.
        since: Text with the instant of the last decision if the level is not known, else empty.
        label: Name of the level, for the box in the report.
        line: Level and observability, for the mail.
        action: What to do at this level; may be empty.
    """

    level: int | None
    is_known: bool
    since: str
    label: str
    line: str
    action: str


def describe_end(facts: ReportFacts, language: str, late: timedelta) -> EndState:
    """Return the level at the end of a period. It is unknown if the last decision is older than `late`."""
    decision = facts["now"]
    names = _name_levels(facts)
    with catalogue.use_language(language), use_zone(facts["site"]["timezone"]):
        unknown = gettext("unknown")
        if decision is None:
            return EndState(None, is_known=False, since="", label=unknown, line=unknown.upper(), action="")
        level = int(decision["level"])
        observability = str(decision["observability"])
        decided_at = parse_time(decision["at"])
        name = translate_level(names.get(level, str(level)), language)
        actions = {int(declared["number"]): str(declared["action"]) for declared in facts["site"]["levels"]}
        action = actions.get(level, "")
        if parse_time(facts["to"]) - decided_at <= late:
            line = name.upper() if observability == "full" else f"{name.upper()}, {translate(observability)}"
            return EndState(level, is_known=True, since="", label=name, line=line, action=action)
        since = gettext(LAST_DECISION) % {"at": format_local(decided_at), "level": name.upper()}
    action = action if level > min(names) else ""
    line = f"{unknown.upper()} ({since})"
    return EndState(level, is_known=False, since=since, label=unknown, line=line, action=action)


def render_report(
    facts: ReportFacts, digest: str, language: str, at: datetime, late: timedelta = timedelta(minutes=10)
) -> str:
    """Return a bulletin or shift report as HTML.

    Args:
        facts: The facts of the report.
        digest: Their digest.
        language: Code of the language.
        at: When the report was made.
        late: Age at which the last decision no longer gives the level.
    """
    names = _name_levels(facts)
    top = max(names)
    with catalogue.use_language(language):
        title = gettext(TITLES[facts["kind"]])
    values = {
        "title": title,
        "f": facts,
        "digest": digest,
        "top": top,
        "state": describe_end(facts, language, late),
        "level_name": lambda number: translate_level(names.get(number, str(number)), language),
        "level_colour": lambda number: level_class(names.get(number), number, top),
    }
    return render("bulletin.html", values, language, facts["site"]["timezone"], at, TEMPLATES)


def _name_levels(facts: ReportFacts) -> dict[int, str]:
    return {int(level["number"]): str(level["name"]) for level in facts["site"]["levels"]}


def render_card(c: Connection, site_id: str, page_url: str, language: str, at: datetime) -> str:
    """Return the quick card of a site as HTML. Raises NotFoundError if the site has no file."""
    site = load_site_at(c, site_id, at)
    values = {
        "site": site,
        "page_url": page_url,
        "top": site.top_level,
        "levels": site.levels[::-1],
        "say_level": lambda name: translate_level(name, language),
        "people": list_people(site),
        "needs": site.fusion.top_needs,
        "several_people": has_several_people(c, site_id),
    }
    return render("card.html", values, language, site.timezone, at, TEMPLATES)


@dataclass(slots=True)
class CardPerson:
    """A person on the quick card: phone number, hazard levels that are sent to this person, and teams."""

    name: str
    phone: str
    levels: set[int] = field(default_factory=set)
    teams: list[str] = field(default_factory=list)


def list_people(site: Site) -> list[CardPerson]:
    """Return everybody who gets messages: each recipient, and each member of a team, once."""
    people: dict[str, CardPerson] = {}
    for recipient in site.recipients:
        members: tuple[Recipient, ...] = (recipient,) if recipient.team is None else recipient.team.members
        for member in members:
            person = people.setdefault(member.name, CardPerson(member.name, member.phone))
            person.phone = person.phone or member.phone
            if "hazard" in recipient.ledgers:
                person.levels |= set(recipient.levels)
            if recipient.team is not None and recipient.team.name not in person.teams:
                person.teams.append(recipient.team.name)
    return list(people.values())
