"""Facts and cards as one HTML document that needs nothing else: a browser shows it, and it prints to A4."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from sqlalchemy import Connection

from forecasting.message import format_span
from monitor.domain.canonical import code_version
from monitor.domain.instants import format_duration, parse
from monitor.domain.site import Recipient, Site
from monitor.language import catalogue
from monitor.language.catalogue import N_, gettext
from monitor.language.figures import format_number, level_class
from monitor.language.local_time import describe_zone, format_local, use_zone
from monitor.language.rendering import translate, translate_level
from monitor.reports.facts import ReportFacts, load_site_then
from monitor.reports.field import NO_PHOTOS, Photos
from monitor.reports.pictures import draw_line

TEMPLATES: Final = Path(__file__).parent / "templates"
TITLES: Final = {"daily": N_("Daily bulletin"), "weekly": N_("Weekly bulletin"), "shift": N_("Shift report")}
LAST: Final = N_("last decision %(at)s: %(level)s")
WIDTH, HEIGHT = 150.0, 30.0  # of a small picture


@cache
def read_style() -> str:
    """The style sheet of all documents."""
    return (TEMPLATES / "report.css").read_text(encoding="utf-8")


@cache
def find_policy() -> str:
    """The content security policy under which a page may hand such a document out: its own style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(read_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def minute(value: str | datetime | None) -> str:
    """An instant by the clock of the site, or a dash."""
    if value is None:
        return "–"
    return format_local(parse(value) if isinstance(value, str) else value)


def draw_bars(values: Sequence[float]) -> list[dict[str, float]]:
    """Bars of equal width; none where all are nothing.

    >>> draw_bars([0.0, 2.0])
    [{'x': 75.0, 'y': 0.0, 'w': 72.0, 'h': 30.0}]
    """
    most = max(values, default=0.0)
    step = WIDTH / max(len(values), 1)
    return [
        {
            "x": round(k * step, 2),
            "y": round(HEIGHT * (1 - v / most), 2),
            "w": round(step * 0.96, 2),
            "h": round(HEIGHT * v / most, 2),
        }
        for k, v in enumerate(values)
        if v > 0
    ]


def format_signed(value: float | None, digits: int = 3) -> str:
    """A change with its sign.

    >>> format_signed(1.234), format_signed(-0.5), format_signed(0.0), format_signed(None)
    ('+1.23', '-0.5', '0', '–')
    """
    text = format_number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text


def open_templates(*folders: str | Path) -> Environment:
    """Templates in the language in use; all they show is escaped, and a name that is not there is an error."""
    environment = Environment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape(default=True, default_for_string=True),
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(catalogue.gettext, catalogue.ngettext, newstyle=True)  # type: ignore[attr-defined]
    return environment


@cache
def _environment() -> Environment:
    environment = open_templates(TEMPLATES)
    environment.filters.update(
        minute=minute,
        number=format_number,
        signed=format_signed,
        say=translate,
        line=partial(draw_line, width=WIDTH, height=HEIGHT),
        bars=draw_bars,
        span=format_duration,
        window=format_span,
    )
    environment.globals.update(level_class=level_class, language=catalogue.current, style=read_style)
    return environment


def render(name: str, values: Mapping[str, Any], language: str, zone: str, at: datetime) -> str:
    """A document in a language, its times by the clock of a zone."""
    with catalogue.use(language), use_zone(zone):
        shared = {
            "sheet": name.removesuffix(".html"),
            "version": code_version(),
            "made_at": at,
            "zone": describe_zone(at, zone),
        }
        return _environment().get_template(name).render(**shared, **values)


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
    with catalogue.use(language), use_zone(facts["site"]["timezone"]):
        unknown = gettext("unknown")
        if now is None:
            return EndState(None, is_known=False, since="", label=unknown, line=unknown.upper(), action="")
        level, sight = int(now["level"]), str(now["observability"])
        name = translate_level(names.get(level, str(level)), language)
        action = next((str(v["action"]) for v in facts["site"]["levels"] if v["number"] == level), "")
        if parse(facts["to"]) - parse(now["at"]) <= late:
            line = name.upper() + ("" if sight == "full" else f", {translate(sight)}")
            return EndState(level, is_known=True, since="", label=name, line=line, action=action)
        since = gettext(LAST) % {"at": format_local(parse(now["at"])), "level": name.upper()}
    action = action if level > min(names) else ""
    line = f"{unknown.upper()} ({since})"
    return EndState(level, is_known=False, since=since, label=unknown, line=line, action=action)


def render_report(
    facts: ReportFacts,
    digest: str,
    language: str,
    at: datetime,
    late: timedelta = timedelta(minutes=10),
    photos: Photos = NO_PHOTOS,
) -> str:
    """A bulletin or shift report.

    Args:
        facts: of `gather_facts`.
        digest: of them.
        language: of the texts; names and what people wrote stay as they are.
        at: when it is made.
        late: as `find_state` takes it.
        photos: of the field.
    """
    names = {int(v["number"]): str(v["name"]) for v in facts["site"]["levels"]}
    top = max(names)
    english = TITLES[facts["kind"]]
    with catalogue.use(language):
        title = gettext(english)
    values = {
        "title": title,
        "f": facts,
        "digest": digest,
        "top": top,
        "photos": photos,
        "state": find_state(facts, language, late),
        "level_name": lambda number: translate_level(names.get(number, str(number)), language),
        "level_colour": lambda number: level_class(names.get(number), number, top),
    }
    return render("bulletin.html", values, language, facts["site"]["timezone"], at)


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
    return render("card.html", values, language, site.timezone, at)


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
