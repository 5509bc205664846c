"""Find who receives messages. A plugin names the people on duty of each team."""

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

# Site and team.
RotaKey = tuple[str, str]


def find_on_duty(connection: Connection, teams: Iterable[Team], at: datetime) -> dict[RotaKey, tuple[str, ...]]:
    """Return the names of the people on duty of each team at an instant, in the order in which they are called.

    A team without a person on duty has no names, also if there is no plugin with duty plans or the plugin fails.
    Messages then go to the whole team.
    """
    teams_by_key = {(team.site, team.name): team for team in teams}
    on_duty: dict[RotaKey, tuple[str, ...]] = dict.fromkeys(teams_by_key, ())
    if not teams_by_key:
        return on_duty
    for plugin, call in implementations("people_on_duty"):
        try:
            people = call(connection=connection, teams=teams_by_key.values(), at=at)
        except (SlopewardError, SQLAlchemyError):
            raise
        except Exception as error:
            # A fault in a duty plan must not stop an alarm.
            note_fault(plugin, "people_on_duty", error)
            continue
        # A third-party plugin that failed returns None.
        if people is not None:
            on_duty |= people
            clear_fault(plugin, "people_on_duty")
    return on_duty


def list_chain(connection: Connection, recipients: Sequence[Recipient], at: datetime) -> list[tuple[Recipient, ...]]:
    """Return the escalation steps, each with the recipients who are notified in it.

    A team has several steps: the person on duty, the second person, the lead, then everybody. A member that is notified
    only through its team has no step of its own.
    """
    on_duty = find_on_duty(connection, (r.team for r in recipients if r.team is not None), at)
    chain: list[tuple[Recipient, ...]] = []
    for recipient in recipients:
        team = recipient.team
        if team is not None:
            chain += team.list_notification_steps(on_duty[team.site, team.name], recipient)
        elif not recipient.by_team:
            chain.append((recipient,))
    return chain


def list_addressees(
    connection: Connection, recipients: Sequence[Recipient], at: datetime, *, everybody: bool = False
) -> list[Recipient]:
    """Return who is notified first. For a team: the people on duty, or all members if nobody is on duty.

    Args:
        everybody: Whether to return the recipients of all escalation steps.
    """
    if everybody:
        return [recipient for step in list_chain(connection, recipients, at) for recipient in step]
    addressees: list[Recipient] = []
    for recipient in recipients:
        if recipient.by_team:
            continue
        if recipient.team is None:
            addressees.append(recipient)
        else:
            addressees += list_chain(connection, [recipient], at)[0]
    return addressees


@dataclass(frozen=True, slots=True)
class PlannedDuty:
    """A planned duty of a team; `person` is None if nobody is planned."""

    team: str
    from_at: datetime
    to_at: datetime
    person: str | None
    second_person: str | None

    @property
    def people(self) -> tuple[str, ...]:
        """Names of the people on duty, the first person first."""
        return tuple(name for name in (self.person, self.second_person) if name)


def load_days(connection: Connection, site: str, from_at: datetime, to_at: datetime) -> list[PlannedDuty]:
    """Return the planned duties that overlap a range, by team and time."""
    d = duty_turn.c
    query = select(duty_turn).where(d.site == site, d.to_at > from_at, d.from_at < to_at)
    return load_records(connection, PlannedDuty, query.order_by(d.team, d.from_at))
