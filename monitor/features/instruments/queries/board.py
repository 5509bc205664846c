"""The board of instruments: one row each with what it hangs on, its findings and its months, parents together."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeVar, get_args

from sqlalchemy import Connection, func, select

from monitor.api.database import DeniedMessages, find_heartbeat, load_view
from monitor.api.queries.alerts import find_common_silence, load_station_states
from monitor.api.queries.ingest import DENIED_BY_BROKER
from monitor.api.sites import TOPIC_ROOT, Parent
from monitor.api.tables import alert, rejected_message
from monitor.api.text import EPOCH, Duration, Message, Template, Timestamp, join, parse_time
from monitor.api.views import AvailabilityRow, FindingRow, InstrumentRow
from monitor.features.instruments.queries.readings import load_newest_stamps
from monitor.features.instruments.states import ACTIONS

OfInstrument = TypeVar("OfInstrument", FindingRow, AvailabilityRow)
# what a row is listed under: the first of these that it has
_ParentKey = Literal["logger", "base", "gateway", "power"]
PARENTS: Final[tuple[_ParentKey, ...]] = get_args(_ParentKey)
_INSPECT: Final = Template("instrument.action.parent", "look at {parent}")
_INSPECT_RADIO: Final = Template("instrument.action.parent_radio", "look at power, antenna and radio of {parent}")
_REFUSED: Final = Template("instrument.refused", "{n} messages came and were refused, the last at {at}: {code}")
_INSPECT_CONTENT: Final = Template(
    "instrument.action.refused", "it sends, and what it sends cannot be read: look at the reason under Messages"
)
_MISDATED: Final = Template("instrument.misdated", "readings arrive, the last at {at}, stamped {duration} {word} it")
_BEFORE, _AFTER = Template("instrument.misdated.before", "before")(), Template("instrument.misdated.after", "after")()
_INSPECT_CLOCK: Final = Template(
    "instrument.action.misdated", "look at the clock of the logger and its time zone, or whether it sends a backlog"
)

_DENIED: Final = Template(
    "instrument.denied", "the broker refused {n} messages of it, the last at {at} on topic {topic}"
)
_INSPECT_TOPIC: Final = Template(
    "instrument.action.denied", "correct the topic that it sends to, or give it a login for that topic"
)
# State of an instrument by the state of its station.
_MISSING: Final = {"late": "late", "silent": "stale"}
# Silence of a single instrument is not the first thing to inspect while the whole slope is silent.
_SLOPE_FIRST: Final = Template(
    "instrument.action.slope_first", "look at the slope from a safe place first, then at power, antenna and radio"
)
_SILENT_STATES: Final = frozenset({"late", "stale", "offline"})
_DENIED_LATELY: Final = timedelta(hours=1)  # before its newest reading


class BoardRow(InstrumentRow):
    """An instrument, what it is listed under, its findings, and its months, the newest first."""

    parent: str
    findings: list[FindingRow]
    months: list[AvailabilityRow]


def load_board(c: Connection, site: str | frozenset[str] | None, instrument: str | None = None) -> list[BoardRow]:
    """Instruments by site and parent.

    What one cause silenced stands under that cause, else under the first of `PARENTS` that it has.
    """
    only: dict[str, Any] = {"site": site, "instrument": instrument}
    findings = _group(load_view(c, "instrument_findings", FindingRow, order_by=("since",), **only))
    months = _group(load_view(c, "instrument_availability", AvailabilityRow, order_by=("-month",), **only))
    rows = load_view(c, "instrument_health", InstrumentRow, order_by=("site", "instrument"), **only)
    a, causes = alert.c, dict[int, Parent]()
    for number, name in c.execute(select(a.id, a.key).where(a.id.in_({row["parent_alert_id"] for row in rows}))):
        kind, _, name = name.removeprefix("health:").removesuffix(":stale").partition(":")  # noqa: PLW2901
        if kind in PARENTS:
            causes[number] = Parent(kind, name)
    broker = find_heartbeat(c, "broker")
    denied: Sequence[DeniedMessages] = () if broker is None else broker[1].get("denied", ())
    board: list[BoardRow] = []
    for found in rows:
        key = (found["site"], found["instrument"])
        # of all that one cause silenced, however many loggers they have
        parents = [Parent(kind, name) for kind in PARENTS if (name := found[kind])]
        cause = causes.get(found["parent_alert_id"] or 0)
        parent = next((one.text for one in (cause, *parents) if one is not None), "")
        row: BoardRow = {**found, "findings": findings.get(key, []), "months": months.get(key, []), "parent": parent}
        _explain_state(c, row, cause, [one for one in denied if _is_of(one, row)])
        board.append(row)
    return sorted(board, key=lambda r: (r["site"], r["parent"] == "", r["parent"], r["instrument"]))


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
            row = {  # noqa: PLW2901
                **row,
                "state": state,
                "since": present["since"],
                "reason": present["reason"] or "",
                "action": row["action"] or ACTIONS[state],
            }
        board.append(row)
    silent_sites = {name for name in {row["site"] for row in board} if find_common_silence(c, name) is not None}
    for row in board:
        if row["site"] in silent_sites and row["state"] in _SILENT_STATES:
            row["action"] = _SLOPE_FIRST()
    return board


def _explain_state(c: Connection, row: BoardRow, cause: Parent | None, denied: Sequence[DeniedMessages]) -> None:
    """Add to reason and action of a row what its findings, its cause, the store and the broker know of it."""
    # what it sends counts for nothing: it looks silent
    clock = next((f["action"] for f in row["findings"] if row["state"] == "stale" and f["state"] == "clock"), "")
    if cause is not None:
        template = _INSPECT if cause.kind == "power" else _INSPECT_RADIO
        row["action"] = row["action"] or clock or template(parent=cause.text)
    if row["state"] in {"stale", "unknown"} and (arrival := _find_arrival(c, row)) is not None:
        row["reason"], action = join([one for one in (row["reason"], arrival[0]) if one]), arrival[1]
        row["action"] = clock or action
    if (refusal := _describe_denied(row, denied)) is not None:
        row["reason"] = join([one for one in (row["reason"], refusal) if one])
        row["action"] = row["action"] or _INSPECT_TOPIC()
    row["action"] = row["action"] or clock or ACTIONS.get(row["state"], "")


def _find_arrival(c: Connection, row: BoardRow) -> tuple[Message, Message] | None:
    """What a station that looks silent has sent since its newest reading that counts, and what to do; None if nothing.

    The network carries what is refused and what is stamped wrongly: nobody is sent to the antenna for those.
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
    # the one that came last says how its clock goes
    came = [a for a in load_newest_stamps(c, row["site"], row["instrument"]) if a.received_at >= silent_since]
    arrived = max(came, key=lambda a: a.received_at, default=None)
    last = max((latest for *_, latest in refused), default=None)
    if arrived is not None and (last is None or arrived.received_at > last):
        way_s = (arrived.received_at - arrived.observed_at).total_seconds()
        duration = Duration(abs(way_s), "about")
        reason = _MISDATED(
            at=Timestamp.of(arrived.received_at), duration=duration, word=_BEFORE if way_s > 0 else _AFTER
        )
        return reason, _INSPECT_CLOCK()
    if last is None:
        return None
    n = sum(int(times) for _, times, _ in refused)
    return _REFUSED(n=n, at=Timestamp.of(last), code=str(refused[0].code)), _INSPECT_CONTENT()


def _is_of(denied: DeniedMessages, row: BoardRow) -> bool:
    """Whether the broker refused it to this instrument: by its login, else by the names in the topic."""
    site, station = row["site"], row["instrument"]
    if denied["station"]:
        return (denied["site"], denied["station"]) == (site, station)
    parts = denied["topic"].casefold().split("/")
    return station.casefold() in parts and (denied["site"] == site or (not denied["site"] and site.casefold() in parts))


def _describe_denied(row: BoardRow, denied: Sequence[DeniedMessages]) -> Message | None:
    """What the broker refused since shortly before the newest reading."""
    since = EPOCH if row["newest_at"] is None else parse_time(row["newest_at"]) - _DENIED_LATELY
    late = [one for one in denied if parse_time(one["at"]) > since]
    if not late:
        return None
    at = Timestamp.of(parse_time(late[0]["at"]))
    return _DENIED(n=sum(one["n"] for one in late), at=at, topic=late[0]["topic"])


def _group(rows: Iterable[OfInstrument]) -> dict[tuple[str, str], list[OfInstrument]]:
    found: dict[tuple[str, str], list[OfInstrument]] = {}
    for row in rows:
        found.setdefault((row["site"], row["instrument"]), []).append(row)
    return found
