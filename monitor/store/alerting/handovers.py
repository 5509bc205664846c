"""Hand-overs of the watch: what was open, what who goes says of it, and the signatures of both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from forecasting.message import Template
from monitor.domain.alert import Actor, AlertState
from monitor.domain.instants import spell
from monitor.domain.names import is_same_person
from monitor.domain.site import Team
from monitor.errors import NotFoundError, RefusedError
from monitor.store.alerting.duty import find_shift_start
from monitor.store.database.audit import add_audit
from monitor.store.database.rows import add_row, find_record, load_records
from monitor.store.people.users import is_admin_of, require_account, require_person, require_two
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view

MOST: Final = 50  # of each kind of what is open
LONGEST_NOTES: Final = 4000
FIRST_LOOK: Final = timedelta(days=1)  # reports shown where no hand-over was ever signed
_NO_NOTES: Final = Template("handover.no_notes", "write in the notes what who comes must know")
_LONG: Final = Template("handover.long_notes", "the notes are longer than {count} signs")
_WAITS: Final = Template(
    "handover.waits", "hand-over {number} by {name} waits for who comes; it is signed or withdrawn first"
)
_NOT_YOURS: Final = Template(
    "handover.not_yours", "hand-over {number} is that of {name}, who may withdraw it, or an admin"
)
_NONE: Final = Template("handover.none", "site {site} has no hand-over {number}")
_SIGNED: Final = Template("handover.signed_already", "hand-over {number} is signed already")
_WITHDRAWN: Final = Template("handover.withdrawn_already", "hand-over {number} is withdrawn already")
WELL: Final = ("ok", "unknown")
Tell = Callable[[Connection, Sequence[Mapping[str, Any]]], Mapping[int, str]]
"""One sentence for each of some alerts, by their id."""


@dataclass(frozen=True, slots=True)
class Handover:
    """One hand-over as it is stored."""

    id: int
    site: str
    team: str
    since_at: datetime | None
    at: datetime
    outgoing: str
    notes: str
    open_items: dict[str, Any]
    signed_at: datetime | None
    incoming: str | None
    remark: str | None
    withdrawn_at: datetime | None


def gather_open(c: Connection, site: str, now: datetime, tell: Tell) -> dict[str, Any]:
    """What who comes must know: level, open alerts, sick instruments, work, and reports since the last hand-over.

    The reason of an alert is the sentence that `tell` has of it, else its own.
    """
    last = c.execute(select(func.max(t.duty_handover.c.signed_at)).where(t.duty_handover.c.site == site)).scalar()
    since = last or now - FIRST_LOOK
    status = load_view(c, "site_status", site=site)
    rows = [
        row for row in load_view(c, "active_alerts", order_by=("-level", "-alert_id"), without="evidence", site=site)
        if not row["exercise"] and row["ledger"] != "advice"
    ]  # fmt: skip
    told = tell(c, rows[:MOST])
    kept = ("alert_id", "ledger", "level", "level_name", "state", "reason", "raised_at")
    alerts = [
        {key: row[key] for key in kept} | {"reason": told.get(row["alert_id"], row["reason"])} for row in rows
    ]  # fmt: skip
    sick = [
        {key: row[key] for key in ("instrument", "state", "reason", "since")}
        for row in load_view(c, "instrument_health", order_by=("instrument",), site=site)
        if row["state"] not in WELL
    ]
    r, m = t.report.c, t.maintenance.c
    seen = c.execute(
        select(r.at, r.kind, r.text, r.by)
        .where(r.site == site, r.received_at > since)
        .order_by(r.at.desc())
        .limit(MOST)
    )
    work = c.execute(
        select(m.station, m.to_at, m.reason, m.by).where(m.site == site, m.to_at > now, m.ended_at.is_(None))
        .order_by(m.to_at).limit(MOST)
    )  # fmt: skip
    return {
        "level": status[0]["level"] if status else None, "level_name": status[0]["level_name"] if status else None,
        "alerts": alerts[:MOST], "alerts_count": len(alerts),
        "shelved": [a["alert_id"] for a in alerts if a["state"] == AlertState.SHELVED][:MOST],
        "sick": sick[:MOST],
        "reports": [{"at": spell(x.at), "kind": x.kind, "text": x.text, "by": x.by} for x in seen],
        "maintenance": [
            {"station": x.station, "to_at": spell(x.to_at), "reason": x.reason, "by": x.by} for x in work
        ],
        "since": spell(since),
    }  # fmt: skip


def sign_out(c: Connection, team: Team, actor: Actor, notes: str, now: datetime, tell: Tell) -> int:
    """Who goes says what is open and signs; returns the number of the hand-over, which waits for who comes.

    Args:
        c: a write transaction.
        team: the team of the site file in force.
        actor: a person who may act on the site.
        notes: what who comes must know.
        now: wall time.
        tell: one sentence for each of some alerts.

    Raises:
        RefusedError: no person or no notes, too long ones, or another hand-over of the team waits.
    """
    if not notes.strip():
        raise RefusedError(_NO_NOTES())
    require_person(actor, notes)
    require_account(c, actor.name)
    if len(notes) > LONGEST_NOTES:
        raise RefusedError(_LONG(count=LONGEST_NOTES))
    waiting = find_waiting(c, team.site, team.name)
    if waiting is not None:
        raise RefusedError(_WAITS(number=waiting.id, name=waiting.outgoing))
    items = gather_open(c, team.site, now, tell)
    number = add_row(
        c, t.duty_handover, site=team.site, team=team.name, since_at=find_shift_start(c, team, now), at=now,
        outgoing=actor.name, notes=notes, open_items=items,
    )  # fmt: skip
    detail = {"site": team.site, "team": team.name, "notes": notes, "open": items}
    add_audit(c, actor, "duty.handover", f"duty_handover:{number}", detail, now)
    return number


def sign_in(c: Connection, site: str, number: int, actor: Actor, remark: str, now: datetime) -> Handover:
    """Who comes has read it and takes the watch; returns what was signed.

    Raises:
        NotFoundError: the site has no such hand-over.
        RefusedError: it is signed or withdrawn already, or both are one person.
    """
    found = _require_waiting(c, site, number)
    require_person(actor, "signs")
    require_two(c, Actor(found.outgoing), actor, now)
    h = t.duty_handover.c
    said = remark.strip()[:LONGEST_NOTES]
    values = {"signed_at": now, "incoming": actor.name, "remark": said or None}
    c.execute(update(t.duty_handover).where(h.id == number).values(**values))
    detail = {"site": site, "team": found.team, "of": found.outgoing, "remark": said}
    add_audit(c, actor, "duty.handover.sign", f"duty_handover:{number}", detail, now)
    return found


def withdraw(c: Connection, site: str, number: int, actor: Actor, reason: str, now: datetime) -> None:
    """Who goes takes it back before anybody signed, or an admin of the site does.

    Raises:
        NotFoundError: the site has no such hand-over.
        RefusedError: it is signed or withdrawn already, or it is somebody else's.
    """
    found = _require_waiting(c, site, number)
    require_person(actor, reason)
    if not is_same_person(found.outgoing, actor.name) and not is_admin_of(c, actor.name, site):
        raise RefusedError(_NOT_YOURS(number=number, name=found.outgoing))
    h = t.duty_handover.c
    c.execute(update(t.duty_handover).where(h.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    add_audit(c, actor, "duty.handover.withdraw", f"duty_handover:{number}", {"site": site, "reason": reason}, now)


def load_handovers(c: Connection, site: str, limit: int = 20) -> list[Handover]:
    """Hand-overs of a site that were not withdrawn, newest first."""
    h = t.duty_handover.c
    mine = (h.site == site, h.withdrawn_at.is_(None))
    return load_records(c, Handover, select(t.duty_handover).where(*mine).order_by(h.id.desc()).limit(limit))


def find_waiting(c: Connection, site: str, team: str) -> Handover | None:
    """The hand-over of a team that waits for who comes."""
    h = t.duty_handover.c
    mine = (h.site == site, h.team == team, h.signed_at.is_(None), h.withdrawn_at.is_(None))
    return find_record(c, Handover, select(t.duty_handover).where(*mine).order_by(h.id).limit(1).with_for_update())


def _require_waiting(c: Connection, site: str, number: int) -> Handover:
    h = t.duty_handover.c
    mine = (h.id == number, h.site == site)
    found = find_record(c, Handover, select(t.duty_handover).where(*mine).with_for_update())
    if found is None:
        raise NotFoundError(_NONE(site=site, number=number))
    if found.signed_at is not None or found.withdrawn_at is not None:
        raise RefusedError((_SIGNED if found.signed_at else _WITHDRAWN)(number=number))
    return found
