"""Who receives messages: of a team the people on duty, whom a plugin names. And the duties that were laid out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from monitor.errors import SlopewardError
from monitor.people.duty_tables import duty_turn
from monitor.plugin_isolation import clear_fault, note_fault
from monitor.plugins import implementations
from monitor.sites.records import Recipient, Team
from monitor.storage.rows import load_records

RotaKey = tuple[str, str]  # site and team


def find_on_duty(connection: Connection, teams: Iterable[Team], at: datetime) -> dict[RotaKey, tuple[str, ...]]:
    """The names of who is on duty of each team at an instant, first who is called first.

    Empty if nobody is planned, and if no plugin has plans or it fails. Messages then go to the whole team.
    """
    by_key = {(team.site, team.name): team for team in teams}
    on_duty: dict[RotaKey, tuple[str, ...]] = dict.fromkeys(by_key, ())
    for plugin, call in implementations("people_on_duty") if by_key else ():
        try:
            people = call(connection=connection, teams=by_key.values(), at=at)
        except (SlopewardError, SQLAlchemyError):
            raise
        except Exception as error:  # a fault in a duty plan must not stop an alarm
            note_fault(plugin, "people_on_duty", error)
            continue
        if people is not None:  # a third-party plugin that failed returns None
            on_duty |= people
            clear_fault(plugin, "people_on_duty")
    return on_duty


def list_chain(connection: Connection, recipients: Sequence[Recipient], at: datetime) -> list[tuple[Recipient, ...]]:
    """Whom messages go to, one step after the other: a team gives who is on duty, the second, the lead, then all."""
    on_duty = find_on_duty(connection, (r.team for r in recipients if r.team is not None), at)
    chain: list[tuple[Recipient, ...]] = []
    for one in recipients:
        if one.team is None:
            chain += [(one,)] if not one.by_team else []
        else:
            chain += one.team.list_notification_steps(on_duty[one.team.site, one.team.name], one)
    return chain


def list_addressees(
    connection: Connection, recipients: Sequence[Recipient], at: datetime, *, everybody: bool = False
) -> list[Recipient]:
    """Who gets a message first: of a team whoever is on duty now, or all of it where nobody is; or all it may go to."""
    if everybody:
        return [one for step in list_chain(connection, recipients, at) for one in step]
    chosen = [r for r in recipients if not r.by_team]
    return [one for r in chosen for one in (list_chain(connection, [r], at)[0] if r.team is not None else (r,))]


@dataclass(frozen=True, slots=True)
class PlannedDuty:
    """Who is on duty on a part of a day, as it was laid out; nobody where there is no person."""

    team: str
    from_at: datetime
    to_at: datetime
    person: str | None
    second_person: str | None

    @property
    def people(self) -> tuple[str, ...]:
        """Those on duty, the first before the second."""
        return tuple(name for name in (self.person, self.second_person) if name)


def load_days(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[PlannedDuty]:
    """What was laid out and touches a range, by team and time."""
    d = duty_turn.c
    wanted = select(duty_turn).where(d.site == site, d.to_at > from_at, d.from_at < to_at)
    return load_records(connection, PlannedDuty, wanted.order_by(d.team, d.from_at))
