"""Collect the values of pages in one read transaction. Pages are rendered completely, refreshes in parts."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from fastapi import Request
from sqlalchemy import Connection

from monitor.alerts.acts.answer_acts import find_question_answers, find_stake
from monitor.alerts.acts.change_control import UNREADABLE_FILE
from monitor.alerts.acts.operator_acts import asks_verification, step_of_alert
from monitor.alerts.queries import overview as pages
from monitor.alerts.queries.alerts import UNKNOWN_ALERT
from monitor.alerts.queries.answers import load_answers, load_put_aside, load_states
from monitor.alerts.queries.evaluations import find_state, load_incomplete, load_rates
from monitor.alerts.queries.movement import load_newest_movement
from monitor.alerts.queries.offsets import NO_SERIES
from monitor.alerts.queries.station_states import StationStates
from monitor.alerts.records import AlertState
from monitor.alerts.states import list_shelf_hours
from monitor.alerts.views import AlertEventRow, AlertRow
from monitor.app.checks.table import list_service_problems
from monitor.app.heartbeats import CANNOT_DECIDE, STANDBY_PREFIX
from monitor.decision.alert_texts import HEALTH_NAMES
from monitor.decision.changes import AlertCategory
from monitor.decision.common_silence import SILENT_SLOPE
from monitor.decision.criteria.bound_units import find_declared_units
from monitor.decision.headline import FrozenDecision
from monitor.decision.incomplete_series import list_reasons
from monitor.decision.judgements import describe_limited
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Memory
from monitor.delivery.queries.alert_page import load_alert_page
from monitor.delivery.views import DeliveryRow
from monitor.errors import NotFoundError, RefusedError
from monitor.ingest.references import find_question
from monitor.plugins import hooks
from monitor.readings.queries.observations import load_series, load_stations
from monitor.readings.views import ReadingRow
from monitor.settings.service import ServiceConfig
from monitor.sites.declarations import find_declaration
from monitor.sites.quantities import LANDSLIDE_PREFIX
from monitor.sites.queries.sites import load_proposals
from monitor.sites.records import Criterion, Site, find_bound
from monitor.storage.service_state import load_heartbeats
from monitor.storage.views import load_view
from monitor.text.catalogue import gettext
from monitor.text.instants import format_iso, is_silent, parse_time
from monitor.text.message import Duration, Figure, Message, Template, Term, Value, join, plain_to_messages
from monitor.web.access.callers import SERVICE_ALERTS
from monitor.web.access.redaction import ResponseRedactor
from monitor.web.context import Context, context_of
from monitor.web.parts import headline
from monitor.web.parts.columns import plan_page
from monitor.web.parts.evidence_listing import LevelFindings, find_sentence, list_findings, read_evidence
from monitor.web.parts.headline import find_first_calls
from monitor.web.parts.next_messages import list_next_messages

LEDGERS: Final = (
    (AlertCategory.HAZARD, "Hazard", Template("ledger.hazard", "What the slope does")()),
    (AlertCategory.HEALTH, "Health", Template("ledger.health", "What the instruments and the service do")()),
    (AlertCategory.ADVICE, "Advice", Template("ledger.advice", "What models suggest; nobody was warned by it")()),
)
UNKNOWN_SITE: Final = Template("site.none", "there is no site '{site}'")
STORED: Final = Template("page.stored", "stored")
_NO_STATION: Final = Template("station.none", "there is no station {site}/{station}")
# By the side of the bound, whether it has a window, and whether it has a chance.
_BOUNDS: Final = {
    ("over", False, False): Template("rule.over", "{level} over {bound}"),
    ("over", True, False): Template("rule.over_in", "{level} over {bound} in {window}"),
    ("over", True, True): Template(
        "rule.over_chance", "{level} over {bound} in {window} with a chance of more than {chance}"
    ),
    ("under", False, False): Template("rule.under", "{level} under {bound}"),
    ("under", True, False): Template("rule.under_in", "{level} under {bound} in {window}"),
    ("", True, False): Template("rule.in", "{level} in {window}"),
    ("", False, False): Template("rule.level", "{level}"),
}
_PARAM: Final = Template("rule.param", "{name} {value}")
_PLAIN_PARAM: Final = Template("rule.plain_param", "{name} = {value}")
_OF_LEVEL: Final = Template("rule.param_of_level", "{text} (level {level})")
_OF: Final = Template("rule.param_of", "{text} ({name})")
# Up to this number, each site has a card on the overview.
MOST_CARDS: Final = 12
# Sites whose motion the overview shows.
MOST_MOTIONS: Final = 40
# Ending of the name of a parameter, and its unit.
PARAM_UNITS: Final = (
    ("_m_per_s", "m/s"),
    ("_m2_per_s", "m²/s"),
    ("_kn_m3", "kN/m³"),
    ("_mm", "mm"),
    ("_cm", "cm"),
    ("_m", "m"),
    ("_g", "g"),
    ("_deg", "degrees"),
    ("_kpa", "kPa"),
)


class PresentValue(NamedTuple):
    """The rate or reading that a criterion compares with its bounds.

    Attributes:
        rate: The rate, or the value of the reading.
        at: Newest reading that it depends on.
        is_current: Whether this reading is recent enough to call the value the present one.
    """

    rate: float
    unit: str
    station: str
    at: datetime
    is_current: bool


def split_ledgers(alerts: Sequence[AlertRow]) -> list[Mapping[str, Any]]:
    """Return the alerts by ledger, each ledger with its title."""
    return [
        {
            "id": str(ledger),
            "title": title,
            "about": about,
            "alerts": [alert for alert in alerts if alert["ledger"] == ledger],
        }
        for ledger, title, about in LEDGERS
    ]


def _collect_hazards(
    c: Connection, cards: Sequence[pages.SiteCard], alerts: Sequence[AlertRow], now: datetime
) -> Mapping[str, Any]:
    hazards = headline.find_hazards(alerts)
    silences = find_common_silences(alerts)
    declared = [find_declared(c, card) for card in cards if card.id in hazards]
    returned = [alert["alert_id"] for alert in alerts if alert["state"] == AlertState.RETURNED_UNACKNOWLEDGED]
    return {
        "hazards": hazards,
        "silences": silences,
        "headlines": headline.find_headlines(c, hazards.values()),
        "present_reasons": headline.find_present_reasons(c, hazards, {card.id: card.stations for card in cards}),
        "calls": find_first_calls(c, filter(None, declared), now),
        "answers": load_answers(c, [alert["alert_id"] for alert in (*hazards.values(), *silences.values())]),
        "ended": {alert_id: since for alert_id, (_, since) in load_states(c, returned).items()},
    }


def find_common_silences(alerts: Iterable[AlertRow]) -> dict[str, AlertRow]:
    """Return the open alert on common silence of each site that has one, by site. Drills are left out."""
    return {
        alert["site"]: alert
        for alert in alerts
        if alert["key"] == SILENT_SLOPE
        and alert["state"] != AlertState.RETURNED_UNACKNOWLEDGED
        and not alert["exercise"]
    }


def collect_overview(c: Connection, sites: str | frozenset[str] | None, now: datetime) -> Mapping[str, Any]:
    """Return the values of the overview: all sites or some, and their open alerts by ledger.

    If there are more than `MOST_CARDS` sites, those that require no action are rows of a table.
    """
    cards = pages.load_cards(c, sites, now=now)
    alerts = pages.load_open_alerts(c, sites)
    shown = cards if len(cards) <= MOST_CARDS else [card for card in cards if not _is_quiet(card)]
    with_motion = (shown + cards)[:MOST_MOTIONS]
    return {
        "cards": shown,
        "quiet": [card for card in cards if card not in shown],
        "ledgers": split_ledgers(alerts),
        "tops": {card.id: card.top_level for card in cards},
        **_collect_hazards(c, cards, alerts, now),
        "motions": headline.collect_motions(c, {card.id: card.stations for card in with_motion}, now),
        "names": {SERVICE_ALERTS: gettext("service")} | {card.id: card.name for card in cards},
        "show_site": True,
        "undelivered": pages.count_undelivered(c),
        "put_aside": load_put_aside(c, sites),
        "zones": {card.id: card.timezone for card in cards},
    }


def _is_quiet(card: pages.SiteCard) -> bool:
    """Return whether a site requires no action: the lowest level, full sight at this instant, no open alert."""
    return card.status["level"] == 0 and card.sight == "full" and not card.status["active_alerts"]


def find_card(c: Connection, site_id: str, *, now: datetime | None = None) -> pages.SiteCard:
    """Return the card of a site.

    Args:
        c: An open connection.
        site_id: Site id.
        now: The instant of display, see `monitor.alerts.queries.overview.load_cards`.

    Raises:
        NotFoundError: There is no such site.
    """
    cards = pages.load_cards(c, site_id, now=now)
    if not cards:
        raise NotFoundError(UNKNOWN_SITE(site=site_id))
    return cards[0]


def find_declared(c: Connection, card: pages.SiteCard) -> Site | None:
    """Return the site that the file in force declares; None if this version of the program cannot read the file."""
    return find_declaration(c, str(card.status["config_version"]))


@dataclass(frozen=True, slots=True)
class SiteSnapshot:
    """A site within a read transaction, and the instant of display."""

    c: Connection
    card: pages.SiteCard
    context: Context
    now: datetime

    @property
    def declared(self) -> Site | None:
        """The site that the file in force declares; None if this version of the program cannot read the file."""
        return find_declared(self.c, self.card)

    def require_declared(self) -> Site:
        """Return the site that the file in force declares.

        Raises:
            RefusedError: This version of the program cannot read the file.
        """
        declared = self.declared
        if declared is None:
            raise RefusedError(UNREADABLE_FILE(site=self.card.id))
        return declared


@contextmanager
def read_site(request: Request, site_id: str) -> Iterator[SiteSnapshot]:
    """Open a read transaction on a site.

    Raises:
        NotFoundError: There is no such site.
    """
    context = context_of(request)
    with context.db.read() as c:
        now = context.clock()
        yield SiteSnapshot(c, find_card(c, site_id, now=now), context, now)


def require_declared(context: Context, c: Connection, site_id: str) -> Site:
    """Return the site that the file in force declares.

    Raises:
        NotFoundError: There is no such site.
        RefusedError: This version of the program cannot read the file.
    """
    return SiteSnapshot(c, find_card(c, site_id), context, context.clock()).require_declared()


def collect_site(context: Context, c: Connection, site_id: str) -> Mapping[str, Any]:
    """Return the values of a site page, without the curves, which the browser requests."""
    now = context.clock()
    refreshed = collect_site_parts(c, site_id, now)
    card = refreshed["card"]
    page = SiteSnapshot(c, card, context, now)
    declared = page.declared
    # Read from the newest decision, because people may close the alert about it.
    state = find_state(c, site_id)
    conditions = {} if state is None else Memory.read(state.state).conditions
    unproven = {key.split(":")[1] for key in conditions if key.endswith(":unproven")}
    hazard = refreshed["hazards"].get(site_id)
    reason = refreshed["present_reasons"].get(site_id)
    if reason is None and hazard is not None:
        reason = refreshed["headlines"].get(hazard["alert_id"])
    return {
        # First, so that a plugin cannot replace a value of this page.
        **{name: value for values in hooks().site_page_values(page=page) for name, value in values.items()},
        **refreshed,
        "rules": describe_rules(declared, unproven),
        "rates": find_present_values(c, declared, card),
        "changes": len(load_proposals(c, site_id)),
        **plan_page(
            refreshed["stations"],
            refreshed["landslides"],
            pages.load_forecast_keys(c, site_id),
            load_series(c, site_id),
            _list_stations_by_share(c, site_id) if reason is None else reason.stations,
        ),
        "recent": pages.load_history(c, site_id, None, 15),
    }


def _list_stations_by_share(c: Connection, site_id: str) -> list[str]:
    """Return the stations with a rate, the one nearest to its bound first."""
    rates = sorted(load_rates(c, site_id), key=lambda rate: -rate.share)
    return list(dict.fromkeys(rate.station for rate in rates))


def collect_site_parts(c: Connection, site_id: str, now: datetime) -> Mapping[str, Any]:
    """Return the values of the parts of a site page that change while it is open."""
    card = find_card(c, site_id, now=now)
    all_stations = pages.load_stations(c, site_id, card.stations)
    # One scene may follow dozens of landslides. They have a table of their own below the instruments.
    landslides = [station for station in all_stations if station.id.startswith(LANDSLIDE_PREFIX)]
    stations = [station for station in all_stations if not station.id.startswith(LANDSLIDE_PREFIX)]
    alerts = pages.load_open_alerts(c, site_id) + pages.load_open_alerts(c, SERVICE_ALERTS)
    movement = load_newest_movement(c, site_id, now)
    on_slope = {station.id for station in stations if station.declared and station.on_slope}
    declared = find_declared(c, card)
    prepared = None if declared is None else PreparedSite(declared)
    unjudged = () if prepared is None else prepared.unjudged_series
    incomplete = {name: reason for name, reason in load_incomplete(c, site_id).items() if name not in unjudged}
    motion = headline.describe_motion(movement, on_slope, card.stations)
    return {
        **_collect_hazards(c, [card], alerts, now),
        "put_aside": load_put_aside(c, site_id),
        "motion": motion,
        "forecast": headline.find_nearest_forecast(c, site_id, motion),
        "events": load_view(c, "site_events", order_by=("-from_at", "-event_id"), limit=6, site=site_id),
        "unjudged": unjudged,
        "limited": () if prepared is None else describe_limited(prepared),
        # A starting site lacks history everywhere. Its level block shows from when on levels are judged.
        "incomplete": [] if card.start is not None else list_reasons(incomplete),
        "incomplete_stations": []
        if card.start is not None
        else list(dict.fromkeys(name.partition(".")[0] for name in sorted(incomplete))),
        "card": card,
        "stations": stations,
        "landslides": landslides,
        "ledgers": split_ledgers(alerts),
        "movement": movement,
        "station_names": name_stations(declared),
        "tops": {card.id: card.top_level},
        "names": {card.id: card.name},
        "show_site": False,
        "zones": {card.id: card.timezone},
    }


def name_stations(site: Site | None) -> dict[str, str]:
    """Return the names of the stations that have one, by id."""
    return {} if site is None else {station.id: station.name for station in site.stations if station.name}


def find_present_values(c: Connection, site: Site | None, card: pages.SiteCard) -> dict[str, PresentValue]:
    """Return by criterion the value that requests the highest level: the newest rate of a vote, or a newest reading.

    Values from current readings come before others.
    """
    stations = card.stations
    values: dict[str, PresentValue] = {}
    rates = [
        (stations.is_current(rate.station, rate.quantity, rate.newest_at), rate) for rate in load_rates(c, card.id)
    ]
    for is_current, rate in sorted(rates, key=lambda entry: (entry[0], entry[1].level, entry[1].share)):
        values[rate.criterion] = PresentValue(rate.rate, rate.unit, rate.station, rate.newest_at, is_current)
    with_bounds_of_values = [k for k in site.criteria if k.kind.is_level and k.thresholds] if site is not None else []
    newest = load_view(c, "latest_observation", ReadingRow, site=card.id) if with_bounds_of_values else []
    for criterion in with_bounds_of_values:
        value = _find_extreme_reading(criterion, newest, stations)
        if value is not None:
            values[criterion.id] = value
    return values


def _find_extreme_reading(
    criterion: Criterion, newest: Sequence[ReadingRow], stations: StationStates
) -> PresentValue | None:
    """Return the newest reading that is farthest beyond the lowest bound of a criterion, or nearest to it."""
    lowest = [find_bound(t) for t in criterion.thresholds if t.level == criterion.thresholds[0].level]
    candidates = []
    for reading in newest:
        if reading["station"] in criterion.stations and reading["quantity"] == criterion.quantity:
            is_current = stations.is_current(
                reading["station"], reading["quantity"], parse_time(reading["observed_at"])
            )
            beyond = max(sign * (reading["value"] - bound) for bound, sign in lowest)
            candidates.append((is_current, beyond, reading))
    if not candidates:
        return None
    is_current, _, top = max(candidates, key=lambda candidate: candidate[:2])
    return PresentValue(top["value"], top["unit"], top["station"], parse_time(top["observed_at"]), is_current)


def describe_rules(site: Site | None, unproven: Collection[str] = ()) -> list[Mapping[str, Any]]:
    """Return the criteria of a site as texts, for the table of what the level depends on.

    Args:
        site: The declared site; None if its file cannot be read.
        unproven: Ids of criteria that were not proven and count as advice only.
    """
    if site is None:
        return []
    names = {level.number: level.name for level in site.levels}
    units = find_declared_units(site)
    return [
        {
            "id": k.id,
            "kind": k.kind.id,
            "stations": ", ".join(k.stations),
            "quantity": k.quantity,
            "role": k.role,
            "bounds": [_format_bound(k, names, n, units[k.id]) for n in range(len(k.thresholds))],
            "params": join([format_param(name, value) for name, value in k.params], ", ") if k.params else "",
            "author": k.author,
            "reason": k.reason,
            "unproven": k.id in unproven,
        }
        for k in site.criteria
    ]


def format_param(name: str, value: float) -> Message:
    """Return a parameter of a criterion with its unit, which follows from the end of its name.

    >>> format_param("dry_mm", 0.2), format_param("duration_from_s", 3600.0), format_param("min_coverage", 0.8)
    ('dry 0.2 mm', 'duration from 1h', 'min coverage 80 %')
    >>> format_param("a", 14.82), format_param("newmark_cm:2", 5.0)
    ('a = 14.82', 'newmark 5 cm (level 2)')
    """
    base, _, of = name.partition(":")
    text = _format_param(base, value)
    if base in {"newmark_cm", "years"}:
        return _OF_LEVEL(text=text, level=of)
    return _OF(text=text, name=of) if of else text


def _format_param(base: str, value: float) -> Message:
    for ending, unit in PARAM_UNITS:
        if base.endswith(ending):
            return _PARAM(name=base.removesuffix(ending).replace("_", " "), value=Figure(value, "g", unit))
    if base.endswith("_s"):
        return _PARAM(name=base[:-2].replace("_", " "), value=Duration(value))
    words = base.replace("_", " ")
    if base.endswith("coverage"):
        return _PARAM(name=words, value=Figure(100 * value, "g", "%"))
    return _PLAIN_PARAM(name=words, value=Figure(value))


def _format_bound(criterion: Criterion, names: dict[int, str], position: int, unit: str) -> Message:
    t = criterion.thresholds[position]
    side = "over" if t.over is not None else "under" if t.under is not None else ""
    values: dict[str, Value] = {
        "level": Term(names.get(t.level, str(t.level))),
        "bound": Figure(getattr(t, side, None) or 0.0, "g", unit),
        "window": Duration(t.window_s or 0.0),
        "chance": Figure(100 * (t.probability or 0.0), "g", "%"),
    }
    return _BOUNDS[side, bool(t.window_s), bool(t.probability)](**values)


def collect_alert(
    c: Connection, alert_id: int, redactor: ResponseRedactor, now: datetime, config: ServiceConfig | None = None
) -> dict[str, Any]:
    """Return the values of the page of an alert, without what the reader may not see.

    Args:
        c: a read transaction.
        alert_id: id of the alert.
        redactor: the redactor of the caller.
        now: the present.
        config: service file; without it, the messages that follow are left out.

    Raises:
        NotFoundError: There is no such alert.
    """
    page = load_alert_page(c, alert_id)
    if page is None:
        raise NotFoundError(UNKNOWN_ALERT(n=alert_id))
    alert = page["alert"]
    evidence = headline.read_json(alert["evidence"])
    frozen = plain_to_messages(evidence)
    is_hazard = alert["ledger"] == AlertCategory.HAZARD
    cards = pages.load_cards(c, alert["site"])
    levels = cards[0].levels if cards else []
    top = cards[0].top_level if cards else 2
    action = next((v["action"] for v in levels if v["number"] == alert["level"]), "")
    question = find_question(c, alert["key"]) if alert["closed_at"] is None else None
    if question is not None and redactor.hides(question.site):
        question = None
    step = step_of_alert(alert["key"])
    state = None if step is None else find_state(c, alert["site"])
    declared = [find_declared(c, card) for card in cards]
    plugin_entries = [entry for entries in hooks().alert_entries(connection=c, alert_id=alert_id) for entry in entries]
    values = {
        **page,
        "notifications": redactor.cover_messages(page["notifications"]),
        "deliveries": gather_deliveries(redactor.cover_messages(page["deliveries"])),
        "question": question,
        "takes_two": question is not None and find_stake(c, question.site)[1],
        "evidence": evidence,
        "tables": read_evidence(frozen),
        "sentence": find_sentence(frozen),
        "headline": headline.read_headline(c, frozen, alert),
        "findings": _find_findings(c, frozen, alert),
        "story": list_story(page["events"], redactor.cover_messages(page["deliveries"]), plugin_entries),
        "next_messages": [] if config is None else list_next_messages(c, config, alert, now),
        "step": step,
        "asks_for_cause": asks_verification(alert["key"]),
        "operator_answer": None if state is None else find_question_answers(Memory.read(state.state), str(step)),
        "top": top,
        "shelf_hours": list_shelf_hours(alert["ledger"], alert["level"], top),
        "level_names": {int(v["number"]): str(v["name"]) for v in levels} if is_hazard else HEALTH_NAMES,
        "site_name": cards[0].name if cards else alert["site"],
        "zones": {card.id: card.timezone for card in cards},
        "calls": find_first_calls(c, filter(None, declared), now),
        "action": action if is_hazard else "",
        "in_shadow": bool(page["events"]) and page["events"][-1]["shadow"],
    }
    covered: dict[str, Any] = redactor.cover(values) if alert["site"] == SERVICE_ALERTS else values
    return covered


def _find_findings(c: Connection, evidence: FrozenDecision, alert: AlertRow) -> LevelFindings | None:
    """Return the votes of a decision; None if its evidence has an unexpected form. Its tables are shown in any case."""
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):
        return list_findings(evidence, find_declaration(c, str(alert["config_version"])))
    return None


def collect_health(
    context: Context, c: Connection, now: datetime, sites: str | frozenset[str] | None = None
) -> dict[str, Any]:
    """Return the state of the parts of the service by their heartbeats, and the levels of all sites or of some."""
    stamps = load_heartbeats(c)
    core = stamps.get("core")
    broker = stamps.get("broker")
    age_s = None if core is None else (now - core[0]).total_seconds()
    alive = core is not None and not is_silent(core, now)
    _, degraded = list_service_problems(stamps, now)
    cards = pages.load_cards(c, sites, now=now)
    detail = {} if core is None else core[1]
    reasons = [CANNOT_DECIDE(text=context.trouble), *degraded] if context.trouble else degraded
    return {
        "status": "down" if context.trouble or not alive else "degraded" if degraded else "ok",
        "reasons": reasons,
        "core": {"alive": alive, "age_s": age_s, **{k: detail.get(k) for k in ("state", "version", "degraded")}},
        "active": {"name": detail.get("name"), "since": detail.get("active_since")},
        "standby": {
            n.removeprefix(STANDBY_PREFIX): format_iso(at)
            for n, (at, _) in stamps.items()
            if n.startswith(STANDBY_PREFIX)
        },
        "ingest": detail.get("ingest"),
        "dispatcher": detail.get("dispatcher"),
        "broker": None if broker is None else broker[1],
        "newest": {card.id: card.status["newest_at"] for card in cards},
        "sites": {
            card.id: {
                "level": card.status["level"],
                "observability": card.sight,
                "evaluated_at": card.status["evaluated_at"],
            }
            for card in cards
        },
        "version": context.version,
    }


def require_station(c: Connection, site: str, station: str) -> None:
    """Raise NotFoundError if a site has no such station."""
    if station not in load_stations(c).get(site, ()):
        raise NotFoundError(_NO_STATION(site=site, station=station))


def find_series(c: Connection, site: str, station: str, quantity: str) -> Any:
    """Return a series.

    Raises:
        NotFoundError: There is no such series.
    """
    for row in load_series(c, site):
        if row.station == station and row.quantity == quantity:
            return row
    raise NotFoundError(NO_SERIES(series=f"{site}/{station}/{quantity}"))


def list_story(
    events: Iterable[AlertEventRow],
    messages: Iterable[DeliveryRow],
    added: Iterable[Mapping[str, Any]] = (),
) -> list[Mapping[str, Any]]:
    """Return the history of an alert, sorted by time. Messages of the same minute are one entry.

    Args:
        events: rows of the view `alert_events`.
        messages: rows of the view `deliveries`.
        added: entries of plugins.
    """
    entries: list[Mapping[str, Any]] = [{"kind": "event", "at": e["at"], "event": e} for e in events]
    entries += added
    by_minute: dict[tuple[str, str], dict[str, Any]] = {}
    for message in messages:
        for kind, at, name in (
            ("sent", message["sent_at"], f"{message['recipient']} ({message['kind']})"),
            ("received", message["received_at"], f"{message['recipient']} ({message['kind']})"),
            ("confirmed", message["confirmed_at"], message["confirmed_by"] or message["recipient"]),
        ):
            if at is not None:
                entry = by_minute.setdefault((kind, at[:16]), {"kind": kind, "at": at, "names": []})
                if name not in entry["names"]:
                    entry["names"].append(name)
    return sorted([*entries, *by_minute.values()], key=lambda entry: parse_time(entry["at"]))


# The best state of the channels of a recipient is the state of the recipient.
_DELIVERY_RANK: Final = (
    "failed",
    "superseded",
    "queued",
    "sending",
    "retrying",
    "sent",
    "delivered",
    "confirmed",
)


def gather_deliveries(rows: Iterable[DeliveryRow]) -> list[Mapping[str, Any]]:
    """Return the recipients of an alert in the order in which they were notified, each with the newest try by channel.

    Args:
        rows: Rows of `deliveries` of one alert.

    >>> row = {"notification_id": 1, "recipient": "duty", "channel": "sms:A", "kind": "sms", "state": "sent", "why": ""}
    >>> times = dict.fromkeys(("sent_at", "received_at", "confirmed_at", "confirmed_by", "queued_at"))
    >>> gather_deliveries([{**row, **times}, {**row, **times, "notification_id": 2, "state": "failed"}])[0]["state"]
    'failed'
    """
    recipients: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["notification_id"]):
        channels = recipients.setdefault(row["recipient"], {})
        previous = channels.get(row["channel"])
        if previous is None or (previous["state"] != "confirmed" and row["state"] != "superseded"):
            channels[row["channel"]] = _describe_delivery(row)
    return [_summarize_deliveries(name, [*channels.values()]) for name, channels in recipients.items()]


def _describe_delivery(row: DeliveryRow) -> Mapping[str, Any]:
    return {
        "kind": row["kind"],
        "state": row["state"],
        "at": row["confirmed_at"] or row["received_at"] or row["sent_at"] or row["queued_at"],
        "by": row["confirmed_by"],
        "why": None if row["state"] == "confirmed" else row["why"],
    }


def _summarize_deliveries(recipient: str, ways: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    best = max(ways, key=lambda way: _DELIVERY_RANK.index(way["state"]))
    return {"recipient": recipient, "state": best["state"], "by": best["by"], "ways": ways}
