"""Render templates, with filters for times, ages, numbers and levels. Jinja escapes all values."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateNotFound, pass_context
from markupsafe import Markup

from monitor.alerts.acts.table import find_act
from monitor.alerts.queries.overview import SiteCard
from monitor.alerts.queries.signatures import load_waiting
from monitor.decision.alert_texts import unwrap_reason
from monitor.decision.causes import describe_cause, group_by_cause
from monitor.decision.changes import RESOLVED
from monitor.decision.headline import OBSERVABILITY_TEXTS
from monitor.decision.subjects import translate_subject
from monitor.delivery.several_people import has_several_people
from monitor.errors import StoreError
from monitor.plugin_isolation import clear_fault, note_fault
from monitor.plugins import implementations, is_built_in, list_folders
from monitor.storage.service_state import find_heartbeat
from monitor.text import catalogue, local_time
from monitor.text.figures import format_number, format_to_width, level_class
from monitor.text.instants import STOPPED, format_about, format_age, format_iso, is_silent, parse_time
from monitor.text.message import Message, NameList, Template, Term, format_span, join, list_parts
from monitor.text.rendering import render as render_message
from monitor.text.rendering import translate, translate_term
from monitor.text.scripts import translate_scripts
from monitor.web.access.acting import read_notice
from monitor.web.access.callers import Caller, person_of
from monitor.web.access.guard import csrf_token
from monitor.web.access.redaction import trouble_for
from monitor.web.access.rules import RULES
from monitor.web.context import Context, context_of, token_of
from monitor.web.parts.act_forms import list_fields
from monitor.web.parts.documents import open_templates

# Most characters of a subject in a list.
LONGEST_LISTED: Final = 300
_STANDS_STILL: Final = Template(
    "banner.stands_still", "Nothing is decided at this moment: {text}. Levels below are old; watch by other means."
)
_NEVER_RAN: Final = Template(
    "banner.never_ran", "The service has never run on this database. Levels below are not being evaluated."
)
_STOPPED: Final = Template("banner.stopped", "The service was stopped. Nothing is being evaluated or notified.")
_SILENT: Final = Template("banner.silent", "The core process is silent. Nothing is being evaluated or notified.")
_NO_DATABASE: Final = Template("banner.no_database", "The database does not answer. Nothing on this page is current.")
_NO_DATABASE_FOR: Final = Template(
    "banner.no_database_for", "The database does not answer: {text}. Nothing on this page is current."
)


_BLIND: Final = Template("sight.blind_decide", "{text}: decide by other means")
_CATCHING_UP: Final = Template(
    "sight.catching_up", "older readings are still being stored; silence is judged when all of them are stored"
)
_MISSING_NOW: Final = Template(
    "sight.missing_now", "readings of {n} stations that can raise a level are missing now: {names}"
)


def describe_sight(card: SiteCard, now: datetime) -> Message:
    """Return what the sight of a site means at the instant `now`, and how many stations are in which state."""
    if card.start is not None:
        return card.start.describe(now)
    sight = card.sight
    texts: list[str] = []
    if sight != card.status["observability"] and sight != "blind":
        missing = card.stations.missing_voting
        texts.append(_MISSING_NOW(n=len(missing), names=NameList(tuple(missing))))
    elif sight == "blind":
        texts.append(_BLIND(text=OBSERVABILITY_TEXTS[sight]))
    else:
        texts.append(OBSERVABILITY_TEXTS[sight])
    if card.status.get("catching_up"):
        texts.append(_CATCHING_UP())
    # A station may have a fault in a series without a vote, so the sight alone would be misleading.
    if sight != "blind" and not set(card.station_counts) <= {"ok"}:
        texts.append(card.stations_ok)
    return join(texts)


def as_instant(value: str | datetime | None) -> datetime | None:
    """Return the instant of a column: text in rows of views, a datetime in rows of tables."""
    return parse_time(value) if isinstance(value, str) else value


def format_minute(value: str | datetime | None, zone: str = "") -> str:
    """Return `2026-03-01 07:00` in the time zone of the page, or a dash.

    Args:
        value: The instant.
        zone: Time zone of the site that the instant belongs to. If it is not that of the page, it is used and named.
    """
    at = as_instant(value)
    if at is None:
        return "–"
    if not zone or zone == local_time.zone_in_use():
        return local_time.format_local(at)
    return f"{local_time.format_local(at, zone)} {local_time.name_zone(at, zone)}"


def format_utc(value: str | datetime | None) -> str:
    """Return `2026-03-01 06:00 UTC`, which is shown when the pointer is over a time."""
    at = as_instant(value)
    return "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def render_text(text: Any, today: date | None = None) -> Any:
    """Return a message in the language and time zone of the reader. Its times show UTC when the pointer is over them.

    Times of the day `today` are shown without the date.

    >>> from monitor.text.message import Timestamp
    >>> timed = join([Timestamp.of(parse_time("2026-10-07T19:16:51Z")), "& more"], " ")
    >>> str(render_text(timed)).partition(" title=")[2]
    '"2026-10-07 19:16 UTC">2026-10-07T19:16:51.000000Z</time> &amp; more'
    """
    if not isinstance(text, Message):
        return translate(text)
    found = Markup()
    for shown, at in render_message(text, today=today):
        mark = Markup('<time datetime="{}" title="{}">{}</time>')
        found += shown if at is None else mark.format(format_iso(at), format_utc(at), shown)
    return found


def find_today(page: Mapping[str, Any]) -> date | None:
    """Return the present day in the time zone of a page."""
    now = page.get("now")
    return None if now is None else now.astimezone(local_time.open_zone(local_time.zone_in_use())).date()


def without_commands(text: str) -> str:
    """Return an error without the commands that it suggests, because the page has forms for them.

    >>> without_commands("there is no event 7; see `slopeward events list`")
    'there is no event 7'
    >>> without_commands("confirm that you lower the level nevertheless (--yes)")
    'confirm that you lower the level nevertheless'
    """
    return re.sub(r"; [^;`]*`slopeward [^`]*`[^;`]*$| \(--[a-z-]+\)", "", text)


def find_original_reason(text: Any) -> Any:
    """Return the reason for which an alert was raised, without the words that it ended."""
    return text.values["text"] if isinstance(text, Message) and text.id == RESOLVED.id else text


def translate_cell(value: Any) -> Any:
    """Return a cell of a table of evidence in the language of the reader. A single word may be a name and stays.

    >>> translate_cell("rain"), translate_cell(1.5), translate_cell(parse_time("2026-03-01T06:00:00Z"))
    ('rain', 1.5, '2026-03-01 06:00')
    """
    if isinstance(value, datetime):
        return local_time.format_local(value)
    if isinstance(value, Term):
        return translate_term(value.english())
    return translate(value) if isinstance(value, Message) or (isinstance(value, str) and " " in value) else value


def translate_name(text: str) -> Any:
    """Return the translation of a message, or of a term such as a quantity or a state.

    >>> translate_name("crack_opening")
    'crack opening'
    """
    return translate(text) if isinstance(text, Message) else translate_term(text.replace("_", " "))


def link_help(page: str) -> Markup:
    """Return a link to a page of the help; nothing if the feature help is absent."""
    if "GET /help" not in RULES:
        return Markup()
    mark = Markup('<a class="help" href="/help/{}" aria-label="{}" title="{}">?</a>')
    return mark.format(page, *2 * [catalogue.gettext("Help on this")])


# Page of the help about an error, by the first part of the id of its message.
HELP_ON: Final = {
    **dict.fromkeys(("access", "account", "login", "people", "second_factor", "signature", "token"), "how-to/accounts"),
    **dict.fromkeys(("guess", "upload", "cell", "row", "file"), "how-to/import-files"),
    **dict.fromkeys(("loosening", "proposal", "effect", "act", "offset", "level"), "how-to/change-thresholds"),
    **dict.fromkeys(("alert", "answer", "question"), "reference/alert-states"),
    **dict.fromkeys(("scene", "tile", "tiles", "map"), "how-to/scenes"),
    **dict.fromkeys(("outline", "outlines"), "how-to/outline-landslides"),
    **dict.fromkeys(("forecast", "model"), "how-to/forecast-models"),
    **dict.fromkeys(("store", "database", "page"), "how-to/operate"),
    "extra": "how-to/install",
    "duty": "how-to/duty",
    "drill": "how-to/drills",
    "export": "how-to/take-data-out",
    "reading": "how-to/connect-instruments",
}


def find_help(text: str) -> str:
    """Return the page of the help about an error."""
    first = text.id.partition(".")[0] if isinstance(text, Message) else ""
    return HELP_ON.get(first, "how-to/page")


@cache
def _list_panels(place: str) -> tuple[str | JinjaTemplate, ...]:
    """Return the templates that plugins show at a place of a page."""
    templates: list[str | JinjaTemplate] = []
    for plugin, register in implementations("register_panels"):
        for panel in register() or ():
            if panel.place == place:
                is_trusted = is_built_in(plugin)
                templates.append(panel.template if is_trusted else _contain_panel(plugin, panel.template))
    return tuple(templates)


def _contain_panel(plugin: str, name: str) -> JinjaTemplate:
    """Return the template of a third-party plugin, which renders as nothing where it fails."""

    def render_contained(context: Any) -> Iterator[str]:
        what = f"panel {name}"
        try:
            template = ENVIRONMENT.get_template(name)
            text = "".join(template.root_render_func(context))
        except KeyboardInterrupt:
            raise
        except TemplateNotFound as error:
            note_fault(plugin, what, f"there is no template {error.name}")
            return
        except BaseException as error:  # also SystemExit
            note_fault(plugin, what, error)
            return
        clear_fault(plugin, what)
        yield text

    contained = ENVIRONMENT.from_string("")
    contained.root_render_func = render_contained
    return contained


ENVIRONMENT: Final = open_templates(Path(__file__).parents[1] / "templates", *map(str, list_folders("templates")))
ENVIRONMENT.filters.update(
    render_text=pass_context(lambda page, text: render_text(text, find_today(page))),
    about=format_about,
    age_of_span=format_age,
    minute=format_minute,
    utc=format_utc,
    subject=pass_context(
        lambda page, text: translate_subject(text, LONGEST_LISTED).replace(f"{find_today(page)} ", "")
    ),
    number=format_number,
    to_width=format_to_width,
    instant=as_instant,
    pretty=partial(json.dumps, indent=1, ensure_ascii=False, sort_keys=True),
    span=format_span,
    translate=translate,
    translate_name=translate_name,
    cell=translate_cell,
    without_level=unwrap_reason,
    original_reason=find_original_reason,
    list_parts=list_parts,
    without_commands=without_commands,
    label=catalogue.gettext,
    # Open suggestions of one cause are one line. All other alerts have a line each.
    group_by_cause=lambda alerts: group_by_cause(
        alerts, lambda a: (a["site"], a["ledger"] if a["closed_at"] is None else "", a["key"], a["exercise"])
    ),
    describe_cause=describe_cause,
)
ENVIRONMENT.globals.update(
    level_class=level_class,
    list_fields=list_fields,
    needs_password=lambda name: find_act(name).proves,
    format_iso=format_iso,
    describe_sight=describe_sight,
    format_local=local_time.format_local,
    name_zone=local_time.name_zone,
    describe_zone=local_time.describe_zone,
    language=catalogue.current_language,
    languages=catalogue.LANGUAGES,
    script_translations=translate_scripts,
    panels=_list_panels,
    serves=RULES.__contains__,
    link_help=link_help,
    find_help=find_help,
)


class Banner(NamedTuple):
    """A warning at the top of every page, and since when it applies."""

    text: str
    since: datetime | None = None


def service_banner(context: Context, now: datetime, trouble: str) -> Banner | None:
    """Return why no site is evaluated at the moment; None if the core process runs."""
    if trouble:
        return Banner(_STANDS_STILL(text=trouble))
    with context.db.read() as c:
        core = find_heartbeat(c, "core")
    if core is None:
        return Banner(_NEVER_RAN())
    if core[1].get("state") == STOPPED:
        return Banner(_STOPPED(), core[0])
    if is_silent(core, now):
        return Banner(_SILENT(), core[0])
    return None


def find_pair(context: Context) -> Any:
    """Return the heartbeat of the active one of two services; None if there is only one."""
    if not context.config.standby.enabled:
        return None
    with context.db.read() as c:
        core = find_heartbeat(c, "core")
    return core and core[1]


def render_part(name: str, now: datetime, values: Mapping[str, object]) -> str:
    """Return a rendered template. It can use the functions that depend on the present time."""

    def age(value: str | datetime | None) -> str:
        at = as_instant(value)
        return catalogue.gettext("never") if at is None else format_age(now - at)

    @cache
    def age_of(value: str | datetime | None) -> Markup:
        """Return an age that the browser updates, with the instant as its title. Equal ages of a page are cached."""
        at = as_instant(value)
        if at is None:
            return Markup("<span>{}</span>").format(catalogue.gettext("never"))
        local = f"{format_minute(at)} {local_time.name_zone(at)}"
        utc = format_utc(at)
        title = local if local == utc else f"{local} · {utc}"
        mark = Markup('<time datetime="{}" data-age title="{}">{}</time>')
        return mark.format(format_iso(at), title, format_age(now - at))

    def clock(value: str | datetime | None, other_zone: str = "") -> str:
        """Return `07:00` for an instant of today, else date and time."""
        text = format_minute(value, other_zone)
        return text.removeprefix(f"{local_time.format_local(now, other_zone or zone)[:11]}")

    zone = find_zone(**values)
    with local_time.use_zone(zone):
        return ENVIRONMENT.get_template(name).render(
            **{**values, "zone": zone}, now=now, age=age, age_of=age_of, clock=clock
        )


def find_zone(card: Any = None, zones: Any = None, zone: Any = None, **_: object) -> str:
    """Return the time zone of a page: that of its site, of all listed sites if they share one, else of the service."""
    if card is not None:
        return str(card.timezone)
    zones_of_sites = {str(zone_of_site) for zone_of_site in (zones or {}).values()}
    return zones_of_sites.pop() if len(zones_of_sites) == 1 else str(zone or "UTC")


def render(request: Request, name: str, **values: Any) -> HTMLResponse:
    """Return a page with the values that all pages share: banner, session and form token."""
    context = context_of(request)
    trouble = trouble_for(request)
    now = context.clock()
    session: Caller | None = None
    pair = None
    try:
        session = person_of(request)
        banner = service_banner(context, now, trouble)
        pair = find_pair(context)
    except Exception:
        # An error page must be rendered even if the database is unavailable.
        session = None
        banner = Banner(_NO_DATABASE_FOR(text=trouble) if trouble else _NO_DATABASE())
    shared = share(request, session, banner, trouble) | {
        "version": context.version,
        "login_to_read": context.config.web.login_to_read,
        "oidc": context.config.oidc,
        "exercise_note": False,
        "pair": pair,
        "notice": read_notice(request),
    }
    return HTMLResponse(render_part(name, now, shared | values))


def share(request: Request, session: Caller | None, banner: Banner | None, trouble: str) -> dict[str, object]:
    """Return the values that pages and their refreshed parts share."""
    return {
        "banner": banner,
        "session": session,
        "csrf": csrf_token(token_of(request)) if session else "",
        "path": request.url.path,
        "blind_because": trouble,
        "zone": context_of(request).config.web.timezone,
        "has_several_people": partial(_has_several_people, context_of(request)),
        "shows_approvals": partial(_shows_approvals, context_of(request)),
    }


def _has_several_people(context: Context, site_id: str | None = None) -> bool:
    """Return whether a page shows duty plans and drills of a site; None for any site."""
    try:
        with context.db.read() as c:
            return has_several_people(c, site_id)
    except StoreError:  # an error page must render while the database is unavailable
        return False


def _shows_approvals(context: Context) -> bool:
    """Return whether a page links to the actions that wait for a second person."""
    try:
        with context.db.read() as c:
            return has_several_people(c) or bool(load_waiting(c, context.clock()))
    except StoreError:  # an error page must render while the database is unavailable
        return False
