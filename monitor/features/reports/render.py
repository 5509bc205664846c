"""Facts and cards as documents."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection

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
from monitor.api.web import render
from monitor.features.reports.facts import ReportFacts, load_site_then

HERE: Final = Path(__file__).parent / "templates"
TITLES: Final = {"daily": N_("Daily bulletin"), "weekly": N_("Weekly bulletin"), "shift": N_("Shift report")}
LAST: Final = N_("last decision %(at)s: %(level)s")


class EndState(NamedTuple):
    """What is said of the end of a period."""

    level: int | None  # none where nobody decided
    is_known: bool
    since: str
    label: str  # for the box
    line: str  # for a mail
    action: str


def find_state(facts: ReportFacts, language: str, late: timedelta) -> EndState:
    """What is said of the end of a period: a level counts where it was decided then, with what was seen.

    A last decision that is older than `late` leaves the level unknown.
    """
    now, names = facts["now"], {int(v["number"]): str(v["name"]) for v in facts["site"]["levels"]}
    with catalogue.use_language(language), use_zone(facts["site"]["timezone"]):
        unknown = gettext("unknown")
        if now is None:
            return EndState(None, is_known=False, since="", label=unknown, line=unknown.upper(), action="")
        level, sight = int(now["level"]), str(now["observability"])
        name = translate_level(names.get(level, str(level)), language)
        action = next((str(v["action"]) for v in facts["site"]["levels"] if v["number"] == level), "")
        if parse_time(facts["to"]) - parse_time(now["at"]) <= late:
            line = name.upper() + ("" if sight == "full" else f", {translate(sight)}")
            return EndState(level, is_known=True, since="", label=name, line=line, action=action)
        since = gettext(LAST) % {"at": format_local(parse_time(now["at"])), "level": name.upper()}
    action = action if level > min(names) else ""
    line = f"{unknown.upper()} ({since})"
    return EndState(level, is_known=False, since=since, label=unknown, line=line, action=action)


def render_report(
    facts: ReportFacts, digest: str, language: str, at: datetime, late: timedelta = timedelta(minutes=10)
) -> str:
    """A bulletin or shift report."""
    names = {int(v["number"]): str(v["name"]) for v in facts["site"]["levels"]}
    top = max(names)
    english = TITLES[facts["kind"]]
    with catalogue.use_language(language):
        title = gettext(english)
    values = {
        "title": title,
        "f": facts,
        "digest": digest,
        "top": top,
        "state": find_state(facts, language, late),
        "level_name": lambda number: translate_level(names.get(number, str(number)), language),
        "level_colour": lambda number: level_class(names.get(number), number, top),
    }
    return render("bulletin.html", values, language, facts["site"]["timezone"], at, HERE)


def render_card(c: Connection, site_id: str, page_url: str, language: str, at: datetime) -> str:
    """The card as HTML, by the site file in force; raises NotFoundError."""
    site = load_site_then(c, site_id, at)
    values = {
        "site": site,
        "page_url": page_url,
        "top": site.top_level,
        "levels": site.levels[::-1],
        "say_level": lambda name: translate_level(name, language),
        "people": list_people(site),
        "needs": site.fusion.top_needs,
    }
    return render("card.html", values, language, site.timezone, at, HERE)


@dataclass(slots=True)
class CardPerson:
    """Somebody who gets messages, with phone, the levels that are sent and teams."""

    name: str
    phone: str
    levels: set[int] = field(default_factory=set)
    teams: list[str] = field(default_factory=list)


def list_people(site: Site) -> list[CardPerson]:
    """Who gets messages: each person of recipients and teams once."""
    found: dict[str, CardPerson] = {}
    for recipient in site.recipients:
        members: tuple[Recipient, ...] = (recipient,) if recipient.team is None else recipient.team.members
        for one in members:
            known = found.setdefault(one.name, CardPerson(one.name, one.phone))
            known.levels |= set(recipient.levels) if "hazard" in recipient.ledgers else set()
            known.phone = known.phone or one.phone
            if recipient.team is not None and recipient.team.name not in known.teams:
                known.teams.append(recipient.team.name)
    return list(found.values())
