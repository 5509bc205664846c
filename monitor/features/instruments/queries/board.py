"""Load the rows of the page of instruments: state, reason, action, findings, availability and parents."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeVar, get_args

from sqlalchemy import Connection, func, select

from monitor.api.database import DeniedMessages, find_heartbeat, load_view
from monitor.api.decision import SILENT_SLOPE, AlertCategory
from monitor.api.queries.alerts import Alert, load_alerts, load_station_states
from monitor.api.queries.ingest import DENIED_BY_BROKER
from monitor.api.sites import TOPIC_ROOT, Parent
from monitor.api.tables import alert, rejected_message, station
from monitor.api.text import EPOCH, Duration, Message, Template, Timestamp, join, parse_time
from monitor.api.views import AvailabilityRow, FindingRow, InstrumentRow
from monitor.features.instruments.queries.readings import load_newest_stamps
from monitor.features.instruments.states import ACTIONS

InstrumentFact = TypeVar("InstrumentFact", FindingRow, AvailabilityRow)
# States of an instrument whose readings are missing.
SILENT_STATES: Final = frozenset({"late", "stale"})
# Kinds of parents. An instrument is listed under the first that it has.
_ParentKey = Literal["logger", "base", "gateway", "power"]
PARENTS: Final[tuple[_ParentKey, ...]] = get_args(_ParentKey)
_INSPECT: Final = Template("instrument.action.parent", "check {parent}")
_INSPECT_RADIO: Final = Template("instrument.action.parent_radio", "check power, antenna and radio of {parent}")
_REFUSED: Final = Template("instrument.refused", "{n} messages were received and refused, the last at {at}: {code}")
_INSPECT_CONTENT: Final = Template(
    "instrument.action.refused", "it sends messages that cannot be read; see the reason under Messages"
)
_DATED_EARLIER: Final = Template(
    "instrument.dated_earlier",
    "readings are received, the last at {at}, but their times are {duration} earlier than their receipt",
)
_DATED_LATER: Final = Template(
    "instrument.dated_later",
    "readings are received, the last at {at}, but their times are {duration} later than their receipt",
)
_INSPECT_CLOCK: Final = Template(
    "instrument.action.misdated", "check the clock and the time zone of the logger, and whether it sends a backlog"
)

_DENIED: Final = Template(
    "instrument.denied", "the broker refused {n} of its messages, the last at {at} on topic {topic}"
)
_INSPECT_TOPIC: Final = Template(
    "instrument.action.denied", "correct the topic to which it sends, or give it a login for that topic"
)
_KEEP_OUT: Final = Template(
    "instrument.action.slope_silent",
    "all instruments on the slope are silent: keep everybody out until the slope was seen from a safe place (alert "
    "{n}), then check power, antenna and radio",
)
# State of a station -> state of its instrument.
_MISSING: Final = {"late": "late", "silent": "stale"}
_DENIED_MARGIN: Final = timedelta(hours=1)  # refusals this long before the newest reading are still shown


class BoardRow(InstrumentRow):
    """An instrument with its parent, its findings, and its availability by month. The newest month is first."""

    parent: str
    findings: list[FindingRow]
    months: list[AvailabilityRow]


def load_board(c: Connection, site: str | frozenset[str] | None, instrument: str | None = None) -> list[BoardRow]:
    """Return instruments sorted by site and parent.

    Instruments that are silent for a common cause are listed under that cause, all others under the first of `PARENTS`
    that they have.
    """
    condition: dict[str, Any] = {"site": site, "instrument": instrument}
    findings = _group(load_view(c, "instrument_findings", FindingRow, order_by=("since",), **condition))
    months = _group(load_view(c, "instrument_availability", AvailabilityRow, order_by=("-month",), **condition))
    health_rows = load_view(c, "instrument_health", InstrumentRow, order_by=("site", "instrument"), **condition)
    causes = _load_causes(c, {row["parent_alert_id"] for row in health_rows})
    broker = find_heartbeat(c, "broker")
    denied: Sequence[DeniedMessages] = () if broker is None else broker[1].get("denied", ())
    board: list[BoardRow] = []
    for health in health_rows:
        key = (health["site"], health["instrument"])
        cause = causes.get(health["parent_alert_id"] or 0)
        parents = [Parent(kind, str(health[kind])) for kind in PARENTS if health[kind]]
        listed_under = cause or next(iter(parents), None)
        row: BoardRow = {
            **health,
            "findings": findings.get(key, []),
            "months": months.get(key, []),
            "parent": "" if listed_under is None else listed_under.text,
        }
        _explain_state(c, row, cause, [messages for messages in denied if _is_sent_by(messages, row)])
        board.append(row)
    return sorted(board, key=lambda row: (row["site"], row["parent"] == "", row["parent"], row["instrument"]))


def _load_causes(c: Connection, alert_ids: Collection[int | None]) -> dict[int, Parent]:
    """Return the parents that alerts about common silence name, by number of the alert."""
    a = alert.c
    causes: dict[int, Parent] = {}
    for alert_id, key in c.execute(select(a.id, a.key).where(a.id.in_(alert_ids))):
        kind, _, name = key.removeprefix("health:").removesuffix(":stale").partition(":")
        if kind in PARENTS:
            causes[alert_id] = Parent(kind, name)
    return causes


def load_silent_slopes(c: Connection) -> dict[str, Alert]:
    """Return the open alerts that report that all instruments on a slope are silent, by site."""
    alerts = load_alerts(c, open_only=True, ledger=AlertCategory.HEALTH)
    return {
        silence.site: silence
        for silence in alerts
        if silence.key == SILENT_SLOPE and silence.level > 0 and not silence.exercise
    }


def advise_on_silent_slopes(c: Connection, board: Iterable[BoardRow]) -> None:
    """Replace the action of silent instruments on a slope while an alert reports that all of them are silent.

    The slope may have failed. Nobody should go there to check the power supply.
    """
    silent_slopes = load_silent_slopes(c)
    if not silent_slopes:
        return
    on_slope = c.execute(
        select(station.c.site, station.c.id).where(station.c.site.in_(silent_slopes), station.c.on_slope)
    )
    stations_on_slope = {(row.site, row.id) for row in on_slope}
    for row in board:
        if row["state"] in SILENT_STATES and (row["site"], row["instrument"]) in stations_on_slope:
            row["action"] = _KEEP_OUT(n=silent_slopes[row["site"]].id)


def load_present_board(
    c: Connection, site: str | frozenset[str] | None, now: datetime, instrument: str | None = None
) -> list[BoardRow]:
    """Return the rows of `load_board` with the instruments that are late or silent at the instant `now`.

    The decisions and the job behind `load_board` find missing readings only after the limit of silence.
    """
    stations = load_station_states(c, now, site)
    board: list[BoardRow] = []
    for row in load_board(c, site, instrument):
        of_site = stations.get(row["site"])
        present = None if of_site is None else of_site.health.get(row["instrument"])
        state = None if present is None else _MISSING.get(present["state"] or "")
        if present is not None and state is not None and row["state"] in {"ok", "unknown"}:
            row["state"] = state
            row["since"] = present["since"]
            row["reason"] = present["reason"] or ""
            row["action"] = row["action"] or ACTIONS[state]
        board.append(row)
    advise_on_silent_slopes(c, board)
    return board


def _explain_state(c: Connection, row: BoardRow, cause: Parent | None, denied: Sequence[DeniedMessages]) -> None:
    """Complete reason and action of a row with its findings, its common cause and refused messages."""
    clock: Message | str = ""
    if row["state"] == "stale":
        # Readings with wrong times do not count, so that the instrument seems silent.
        clock = next((finding["action"] for finding in row["findings"] if finding["state"] == "clock"), "")
    if cause is not None:
        template = _INSPECT if cause.kind == "power" else _INSPECT_RADIO
        row["action"] = row["action"] or clock or template(parent=cause.text)
    if row["state"] in {"stale", "unknown"}:
        reception = _describe_reception(c, row)
        if reception is not None:
            reason, action = reception
            row["reason"] = join([row["reason"], reason] if row["reason"] else [reason])
            row["action"] = clock or action
    refusal = _describe_denied(row, denied)
    if refusal is not None:
        row["reason"] = join([row["reason"], refusal] if row["reason"] else [refusal])
        row["action"] = row["action"] or _INSPECT_TOPIC()
    row["action"] = row["action"] or clock or ACTIONS.get(row["state"], "")


def _describe_reception(c: Connection, row: BoardRow) -> tuple[Message, Message] | None:
    """Return what was received from a silent station since its newest usable reading, and what to do.

    Return None if nothing was received. Refused messages and wrong times show that power and radio work.
    """
    r = rejected_message.c
    topic = f"{TOPIC_ROOT}/{row['site']}/{row['instrument']}/"
    newest_at = EPOCH if row["newest_at"] is None else parse_time(row["newest_at"])
    refused = c.execute(
        select(r.code, func.sum(r.times), func.max(r.received_at))
        .where(r.topic.startswith(topic, autoescape=True), r.received_at > newest_at, r.code != DENIED_BY_BROKER)
        .group_by(r.code)
        .order_by(func.sum(r.times).desc())
    ).all()
    silent_since = EPOCH if row["since"] is None else parse_time(row["since"])
    newest_stamps = load_newest_stamps(c, row["site"], row["instrument"])
    received = [stamp for stamp in newest_stamps if stamp.received_at >= silent_since]
    # The reading that was received last shows the present error of the clock.
    last_reading = max(received, key=lambda stamp: stamp.received_at, default=None)
    last_refused_at = max((latest for *_, latest in refused), default=None)
    if last_reading is not None and (last_refused_at is None or last_reading.received_at > last_refused_at):
        delay_s = (last_reading.received_at - last_reading.observed_at).total_seconds()
        template = _DATED_EARLIER if delay_s > 0 else _DATED_LATER
        reason = template(at=Timestamp.of(last_reading.received_at), duration=Duration(abs(delay_s), "about"))
        return reason, _INSPECT_CLOCK()
    if last_refused_at is None:
        return None
    count = sum(int(times) for _, times, _ in refused)
    return _REFUSED(n=count, at=Timestamp.of(last_refused_at), code=str(refused[0].code)), _INSPECT_CONTENT()


def _is_sent_by(denied: DeniedMessages, row: BoardRow) -> bool:
    """Return whether an instrument sent the refused messages, according to its login or else to the topic."""
    site = row["site"]
    instrument = row["instrument"]
    if denied["station"]:
        return (denied["site"], denied["station"]) == (site, instrument)
    parts = denied["topic"].casefold().split("/")
    is_of_site = denied["site"] == site or (not denied["site"] and site.casefold() in parts)
    return is_of_site and instrument.casefold() in parts


def _describe_denied(row: BoardRow, denied: Sequence[DeniedMessages]) -> Message | None:
    """Return a text about the messages that the broker refused recently, or None."""
    since = EPOCH if row["newest_at"] is None else parse_time(row["newest_at"]) - _DENIED_MARGIN
    recent = [messages for messages in denied if parse_time(messages["at"]) > since]
    if not recent:
        return None
    at = Timestamp.of(parse_time(recent[0]["at"]))
    return _DENIED(n=sum(messages["n"] for messages in recent), at=at, topic=recent[0]["topic"])


def _group(rows: Iterable[InstrumentFact]) -> dict[tuple[str, str], list[InstrumentFact]]:
    groups: dict[tuple[str, str], list[InstrumentFact]] = {}
    for row in rows:
        groups.setdefault((row["site"], row["instrument"]), []).append(row)
    return groups
