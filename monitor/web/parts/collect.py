"""Gathers what a page shows in one read transaction; pages render it whole, live refreshes render its parts."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from fastapi import Request
from sqlalchemy import Connection

from monitor.alerts.acts.answer_acts import find_operator_answer, find_stake
from monitor.alerts.acts.change_control import UNREADABLE_FILE
from monitor.alerts.acts.operator_acts import asks_verification, step_of_alert
from monitor.alerts.queries import overview as pages
from monitor.alerts.queries.alerts import UNKNOWN_ALERT
from monitor.alerts.queries.answers import load_answers, load_put_aside, load_states
from monitor.alerts.queries.evaluations import find_state, load_incomplete, load_rates
from monitor.alerts.queries.movement import load_newest_movement
from monitor.alerts.queries.offsets import NO_SERIES
from monitor.alerts.records import AlertState
from monitor.alerts.states import list_shelf_hours
from monitor.alerts.views import AlertEventRow, AlertRow
from monitor.app.checks.health import CANNOT_DECIDE, STANDBY_PREFIX
from monitor.app.checks.table import check_parts
from monitor.decision.alert_texts import HEALTH_NAMES
from monitor.decision.changes import AlertCategory
from monitor.decision.criteria.bound_units import find_declared_units
from monitor.decision.headline import FrozenDecision
from monitor.decision.incomplete_series import list_reasons
from monitor.decision.judgements import describe_limited
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Memory
from monitor.delivery.declarations import find_declaration
from monitor.delivery.queries.alert_page import load_alert_page
from monitor.delivery.views import DeliveryRow
from monitor.errors import NotFoundError, RefusedError
from monitor.ingest.references import find_question
from monitor.plugins import hooks
from monitor.readings.queries.observations import load_series, load_stations
from monitor.readings.views import ReadingRow
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
from monitor.web.parts.headline import LevelFindings, find_first_calls, find_sentence, list_findings, read_evidence

LEDGERS: Final = (
    (AlertCategory.HAZARD, "Hazard", Template("ledger.hazard", "What the slope does")()),
    (AlertCategory.HEALTH, "Health", Template("ledger.health", "What the instruments and the service do")()),
    (AlertCategory.ADVICE, "Advice", Template("ledger.advice", "What models suggest; nobody was warned by it")()),
)
UNKNOWN_SITE: Final = Template("site.none", "there is no site '{site}'")
STORED: Final = Template("page.stored", "stored")
_NO_STATION: Final = Template("station.none", "there is no station {site}/{station}")
_BOUNDS: Final = {  # side of the bound, whether it has a window, whether it has a chance
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
CARDS_FEW: Final = 12  # of so many sites each has its card
CARDS_DRAWN: Final = 40  # sites whose motion the overview tells
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
    """What stands against the bounds of a criterion now: a rate, or a reading."""

    rate: float
    unit: str
    station: str


def split_ledgers(alerts: Sequence[AlertRow]) -> list[Mapping[str, Any]]:
    """Alerts in their three ledgers, each with its title."""
    return [
        {"id": str(ledger), "title": title, "about": about, "alerts": [a for a in alerts if a["ledger"] == ledger]}
        for ledger, title, about in LEDGERS
    ]


def _collect_hazards(
    c: Connection, cards: Iterable[pages.SiteCard], alerts: Sequence[AlertRow], now: datetime
) -> Mapping[str, Any]:
    hazards = headline.find_hazards(alerts)
    urgent = [find_declared(c, card) for card in cards if card.id in hazards]
    over = [a["alert_id"] for a in alerts if a["state"] == AlertState.RETURNED_UNACKNOWLEDGED]
    return {
        "hazards": hazards,
        "headlines": headline.find_headlines(c, hazards.values()),
        "nows": headline.find_present_headlines(c, hazards),
        "calls": find_first_calls(c, filter(None, urgent), now),
        "answers": load_answers(c, [a["alert_id"] for a in hazards.values()]),
        "ended": {alert_id: since for alert_id, (_, since) in load_states(c, over).items()},
    }


def collect_overview(c: Connection, sites: str | frozenset[str] | None, now: datetime) -> Mapping[str, Any]:
    """Sites, open alerts by ledger; of all sites, or of some. Where there are many, the quiet ones are a list."""
    cards, alerts = pages.load_cards(c, sites), pages.load_open_alerts(c, sites)
    tops = {card.id: card.top_level for card in cards}
    loud = cards if len(cards) <= CARDS_FEW else [card for card in cards if not _is_quiet(card)]
    drawn = [card.id for card in (loud + cards)[:CARDS_DRAWN]]
    return {
        "cards": loud,
        "quiet": [card for card in cards if card not in loud],
        "ledgers": split_ledgers(alerts),
        "tops": tops,
        **_collect_hazards(c, cards, alerts, now),
        "motions": headline.collect_motions(c, list(dict.fromkeys(drawn)), now),
        "names": {SERVICE_ALERTS: gettext("service")} | {card.id: card.name for card in cards},
        "show_site": True,
        "undelivered": pages.count_undelivered(c),
        "put_aside": load_put_aside(c, sites),
        "zones": {card.id: card.timezone for card in cards},
    }


def _is_quiet(card: pages.SiteCard) -> bool:
    """Whether a site asks nothing of anybody: lowest level, seen whole, no alert that waits."""
    s = card.status
    return s["level"] == 0 and s["observability"] == "full" and not s["active_alerts"]


def find_card(c: Connection, site_id: str) -> pages.SiteCard:
    """The card of a site; raises NotFoundError."""
    cards = pages.load_cards(c, site_id)
    if not cards:
        raise NotFoundError(UNKNOWN_SITE(site=site_id))
    return cards[0]


def find_declared(c: Connection, card: pages.SiteCard) -> Site | None:
    """A site as the file that is in force declares it; None where this program cannot read that."""
    return find_declaration(c, str(card.status["config_version"]))


@dataclass(frozen=True, slots=True)
class SiteSnapshot:
    """A site within a read transaction, and when it is looked at."""

    c: Connection
    card: pages.SiteCard
    context: Context
    now: datetime

    @property
    def declared(self) -> Site | None:
        """The site as the file that is in force declares it; None where this program cannot read that."""
        return find_declared(self.c, self.card)

    def require_declared(self) -> Site:
        """The same; raises RefusedError where this program cannot read that."""
        if (found := self.declared) is None:
            raise RefusedError(UNREADABLE_FILE(site=self.card.id))
        return found


@contextmanager
def read_site(request: Request, site_id: str) -> Iterator[SiteSnapshot]:
    """A read transaction on a site that exists; raises NotFoundError."""
    context = context_of(request)
    with context.db.read() as c:
        yield SiteSnapshot(c, find_card(c, site_id), context, context.clock())


def require_declared(context: Context, c: Connection, site_id: str) -> Site:
    """A site as the file that is in force declares it; raises RefusedError where this program cannot read that."""
    return SiteSnapshot(c, find_card(c, site_id), context, context.clock()).require_declared()


def collect_site(context: Context, c: Connection, site_id: str) -> Mapping[str, Any]:
    """All of a site page but the curves, which the browser asks for."""
    live = collect_site_parts(c, site_id, context.clock())
    card = live["card"]
    page = SiteSnapshot(c, card, context, context.clock())
    declared = page.declared
    # the newest decision says it, not an alert that people may close
    row = find_state(c, site_id)
    open_now = {} if row is None else Memory.read(row.state).conditions
    unproven = {k.split(":")[1] for k in open_now if k.endswith(":unproven")}
    hazard = live["hazards"].get(site_id)
    asking = live["nows"].get(site_id) or (live["headlines"].get(hazard["alert_id"]) if hazard else None)
    return {
        # first, so that a plugin cannot replace a value of this page
        **{name: value for values in hooks().site_page_values(page=page) for name, value in values.items()},
        **live,
        "rules": describe_rules(declared, unproven),
        "rates": find_present_values(c, declared, site_id),
        "changes": len(load_proposals(c, site_id)),
        **plan_page(
            live["stations"],
            live["landslides"],
            pages.load_forecast_keys(c, site_id),
            load_series(c, site_id),
            asking.stations if asking else _list_stations_by_share(c, site_id),
        ),
        "recent": pages.load_history(c, site_id, None, 15),
    }


def _list_stations_by_share(c: Connection, site_id: str) -> list[str]:
    """Return the stations with a rate, the one nearest to its bound first."""
    rates = sorted(load_rates(c, site_id), key=lambda rate: -rate.share)
    return list(dict.fromkeys(rate.station for rate in rates))


def collect_site_parts(c: Connection, site_id: str, now: datetime) -> Mapping[str, Any]:
    """What of a site page changes while one looks at it."""
    card = find_card(c, site_id)
    every = pages.load_stations(c, site_id)
    # one scene may follow dozens of landslides: they do not bury the instruments
    landslides = [s for s in every if s.id.startswith(LANDSLIDE_PREFIX)]
    stations = [s for s in every if not s.id.startswith(LANDSLIDE_PREFIX)]
    own = pages.load_open_alerts(c, site_id) + pages.load_open_alerts(c, SERVICE_ALERTS)
    movement = load_newest_movement(c, site_id, now)
    watched = {s.id for s in stations if s.declared and s.on_slope}
    declared = find_declared(c, card)
    prepared = None if declared is None else PreparedSite(declared)
    unjudged = () if prepared is None else prepared.unjudged_series
    limited = () if prepared is None else describe_limited(prepared)
    incomplete = {name: why for name, why in load_incomplete(c, site_id).items() if name not in unjudged}
    motion = headline.describe_motion(movement, now, watched, {s.id: s.state for s in stations})
    return {
        **_collect_hazards(c, [card], own, now),
        "put_aside": load_put_aside(c, site_id),
        "motion": motion,
        "forecast": headline.find_nearest_forecast(c, site_id, motion),
        "events": load_view(c, "site_events", order_by=("-from_at", "-event_id"), limit=6, site=site_id),
        "unjudged": unjudged,
        "limited": limited,
        "incomplete": list_reasons(incomplete),
        "card": card,
        "stations": stations,
        "landslides": landslides,
        "ledgers": split_ledgers(own),
        "movement": movement,
        "called": name_stations(declared),
        "tops": {card.id: card.top_level},
        "names": {card.id: card.name},
        "show_site": False,
        "zones": {card.id: card.timezone},
    }


def name_stations(site: Site | None) -> dict[str, str]:
    """What people call the stations that have a name beside their id."""
    return {} if site is None else {station.id: station.name for station in site.stations if station.name}


def find_present_values(c: Connection, site: Site | None, site_id: str) -> dict[str, PresentValue]:
    """By criterion what asks for most: of rates what votes measured last, of levels the newest reading."""
    rates = sorted(load_rates(c, site_id), key=lambda one: (one.level, one.share))
    found = {one.criterion: PresentValue(one.rate, one.unit, one.station) for one in rates}
    levels = [] if site is None else [k for k in site.criteria if k.kind.is_level and k.thresholds]
    newest = load_view(c, "latest_observation", ReadingRow, site=site_id) if levels else []
    for criterion in levels:
        lowest = [find_bound(t) for t in criterion.thresholds if t.level == criterion.thresholds[0].level]
        read = [r for r in newest if r["station"] in criterion.stations and r["quantity"] == criterion.quantity]
        if read:
            top = max(read, key=lambda r: max(sign * (r["value"] - bound) for bound, sign in lowest))
            found[criterion.id] = PresentValue(top["value"], top["unit"], top["station"])
    return found


def describe_rules(site: Site | None, unproven: Collection[str] = ()) -> list[Mapping[str, Any]]:
    """The criteria of a site in words, for people who ask what the level rests on; those not proven are advice."""
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
    """A setting of a criterion with its unit, which the end of its name says.

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


def collect_alert(c: Connection, alert_id: int, redactor: ResponseRedactor, now: datetime) -> dict[str, Any]:
    """One alert with its evidence read, as who asks may read it; raises NotFoundError."""
    found = load_alert_page(c, alert_id)
    if found is None:
        raise NotFoundError(UNKNOWN_ALERT(n=alert_id))
    evidence = headline.read_json(found["alert"]["evidence"])
    gathered = plain_to_messages(evidence)
    cards = pages.load_cards(c, found["alert"]["site"])
    top = cards[0].top_level if cards else 2
    action = next((v["action"] for v in cards[0].levels if v["number"] == found["alert"]["level"]), "") if cards else ""
    ladder = {int(v["number"]): str(v["name"]) for v in cards[0].levels} if cards else {}
    question = find_question(c, found["alert"]["key"]) if found["alert"]["closed_at"] is None else None
    if question is not None and redactor.hides(question.site):
        question = None
    step = step_of_alert(found["alert"]["key"])
    state = None if step is None else find_state(c, found["alert"]["site"])
    values = {
        **found,
        "notifications": redactor.cover_messages(found["notifications"]),
        "deliveries": gather_deliveries(redactor.cover_messages(found["deliveries"])),
        "question": question,
        "takes_two": question is not None and find_stake(c, question.site)[1],
        "evidence": evidence,
        "tables": read_evidence(gathered),
        "sentence": find_sentence(gathered),
        "headline": headline.read_headline(c, gathered, found["alert"]),
        "findings": _find_findings(c, gathered, found["alert"]),
        "story": list_story(
            found["events"],
            redactor.cover_messages(found["deliveries"]),
            (entry for entries in hooks().alert_entries(connection=c, alert_id=alert_id) for entry in entries),
        ),
        "step": step,
        "asks": asks_verification(found["alert"]["key"]),
        "spoken": None if state is None else find_operator_answer(Memory.read(state.state), str(step)),
        "top": top,
        "shelf_hours": list_shelf_hours(found["alert"]["ledger"], found["alert"]["level"], top),
        "level_names": ladder if found["alert"]["ledger"] == AlertCategory.HAZARD else HEALTH_NAMES,
        "site_name": cards[0].name if cards else found["alert"]["site"],
        "zones": {card.id: card.timezone for card in cards},
        "calls": find_first_calls(c, filter(None, (find_declared(c, card) for card in cards)), now),
        "action": action if found["alert"]["ledger"] == AlertCategory.HAZARD else "",
    }
    covered: dict[str, Any] = redactor.cover(values) if found["alert"]["site"] == SERVICE_ALERTS else values
    return covered


def _find_findings(c: Connection, evidence: FrozenDecision, alert: AlertRow) -> LevelFindings | None:
    """Who asked for the level; evidence of an odd form says it in its tables alone."""
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):
        return list_findings(evidence, find_declaration(c, str(alert["config_version"])))
    return None


def collect_health(
    context: Context, c: Connection, now: datetime, sites: str | frozenset[str] | None = None
) -> dict[str, Any]:
    """State of the service's parts, as its stamps tell; levels of all sites, or of some."""
    stamps = load_heartbeats(c)
    core, broker = stamps.get("core"), stamps.get("broker")
    age = None if core is None else (now - core[0]).total_seconds()
    alive = core is not None and not is_silent(core, now)
    _, degraded = check_parts(stamps, now)
    cards = pages.load_cards(c, sites)
    detail = {} if core is None else core[1]
    reasons = [CANNOT_DECIDE(text=context.trouble), *degraded] if context.trouble else degraded
    return {
        "status": "down" if context.trouble or not alive else "degraded" if degraded else "ok",
        "reasons": reasons,
        "core": {"alive": alive, "age_s": age, **{k: detail.get(k) for k in ("state", "version", "degraded")}},
        "active": {"name": detail.get("name"), "since": detail.get("active_since")},
        "standby": {
            n.removeprefix(STANDBY_PREFIX): format_iso(at)
            for n, (at, _) in stamps.items()
            if n.startswith(STANDBY_PREFIX)
        },
        "ingest": detail.get("ingest"),
        "dispatcher": detail.get("dispatcher"),
        "broker": None if broker is None else broker[1],
        "newest": {k.id: k.status["newest_at"] for k in cards},
        "sites": {k.id: {n: k.status[n] for n in ("level", "observability", "evaluated_at")} for k in cards},
        "version": context.version,
    }


def require_station(c: Connection, site: str, station: str) -> None:
    """Raise NotFoundError if a site has no such station."""
    if station not in load_stations(c).get(site, ()):
        raise NotFoundError(_NO_STATION(site=site, station=station))


def find_series(c: Connection, site: str, station: str, quantity: str) -> Any:
    """The series; raises NotFoundError."""
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
    together: dict[tuple[str, str], dict[str, Any]] = {}
    for m in messages:
        for kind, at, name in (
            ("sent", m["sent_at"], f"{m['recipient']} ({m['kind']})"),
            ("received", m["received_at"], f"{m['recipient']} ({m['kind']})"),
            ("confirmed", m["confirmed_at"], m["confirmed_by"] or m["recipient"]),
        ):
            if at is not None:
                entry = together.setdefault((kind, at[:16]), {"kind": kind, "at": at, "names": []})
                entry["names"] += [] if name in entry["names"] else [name]
    return sorted([*entries, *together.values()], key=lambda one: parse_time(one["at"]))


# the best that happened on any way says how far a recipient is reached
_RANK: Final = ("failed", "superseded", "queued", "sending", "retrying", "sent", "delivered", "confirmed")


def gather_deliveries(rows: Iterable[DeliveryRow]) -> list[Mapping[str, Any]]:
    """Recipients in the order in which they were notified, each with its ways; of rows of `deliveries` of one alert.

    >>> one = {"notification_id": 1, "recipient": "duty", "channel": "sms:A", "kind": "sms", "state": "sent", "why": ""}
    >>> times = dict.fromkeys(("sent_at", "received_at", "confirmed_at", "confirmed_by", "queued_at"))
    >>> gather_deliveries([{**one, **times}, {**one, **times, "notification_id": 2, "state": "failed"}])[0]["state"]
    'failed'
    """
    people: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: r["notification_id"]):
        ways = people.setdefault(row["recipient"], {})
        known = ways.get(row["channel"])
        if known is None or row["state"] != "superseded":
            confirmed = known is not None and known["state"] == "confirmed"
            ways[row["channel"]] = known if known is not None and confirmed else _read(row)
    return [_sum_up(name, [*ways.values()]) for name, ways in people.items()]


def _read(row: DeliveryRow) -> Mapping[str, Any]:
    at = row["confirmed_at"] or row["received_at"] or row["sent_at"] or row["queued_at"]
    return {
        "kind": row["kind"],
        "state": row["state"],
        "at": at,
        "by": row["confirmed_by"],
        "why": None if row["state"] == "confirmed" else row["why"],
    }


def _sum_up(name: str, ways: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    best = max(ways, key=lambda way: _RANK.index(way["state"]))
    return {"recipient": name, "state": best["state"], "by": best["by"], "ways": ways}
