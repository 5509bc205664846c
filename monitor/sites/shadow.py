"""Shadow mode: a site is judged, stored and shown as usual, and notifies only the people who are named for the trial.

`select_trial_recipients` is the only place that decides who is notified. `parse_site` stores its result as
`Site.recipients`, which everything that sends reads: the outbox, the escalation, digests, sirens, drills and tests of
channels. Exports for the public and for programs (MQTT state, CAP, mailed reports) ask `Site.shadow`, or the columns
`site.shadow` and `alert_event.shadow`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient, Site
from monitor.text.names import is_same_person


def is_channel_for_trial(channel: str) -> bool:
    """Return whether a channel carries messages for people.

    In shadow mode no siren sounds, no CAP message is posted and no program is notified by MQTT.

    >>> [is_channel_for_trial(channel) for channel in ("email:ada@example.org", "log:desk", "mqtt:alarms/north")]
    [True, True, False]
    """
    traits = find_channel_traits(channel)
    return not traits.orders and traits.write_document is None and not traits.of_broker


def select_trial_recipients(recipients: Sequence[Recipient]) -> tuple[Recipient, ...]:
    """Return the recipients with `trial = true`, with their channels for people only.

    A team with `trial = true` notifies its members on duty. These members remain in the list without levels, because
    their languages and quiet hours are found there.
    """
    of_trial = [recipient for recipient in recipients if recipient.trial and not recipient.by_team]
    teams = [recipient.team for recipient in of_trial if recipient.team is not None]
    members = [member.name for team in teams for member in team.members]
    names = {recipient.name for recipient in of_trial}
    selected = []
    for recipient in recipients:
        if recipient.name in names:
            selected.append(_keep_channels_for_people(recipient))
        elif any(is_same_person(recipient.name, member) for member in members):
            selected.append(replace(_keep_channels_for_people(recipient), levels=(), ledgers=(), by_team=True))
    return tuple(selected)


def _keep_channels_for_people(recipient: Recipient) -> Recipient:
    team = recipient.team
    if team is not None:
        team = replace(team, members=tuple(_keep_channels_for_people(member) for member in team.members))
    channels = tuple(channel for channel in recipient.channels if is_channel_for_trial(channel))
    return replace(recipient, channels=channels, team=team)


def list_notified_people(recipients: Iterable[Recipient]) -> dict[str, set[str]]:
    """Return the channels of each person whom recipients stand for, members of teams included, by name."""
    channels: dict[str, set[str]] = {}
    for recipient in recipients:
        for person in recipient.everybody:
            channels.setdefault(person.name, set()).update(person.channels)
    return channels


def list_withheld_channels(site: Site) -> dict[str, tuple[str, ...]]:
    """Return the channels that get nothing while a site is in shadow mode, by the name of the person.

    Empty for a site that is not in shadow mode.
    """
    notified = list_notified_people(site.recipients)
    withheld = {}
    for name, channels in list_notified_people(site.all_recipients).items():
        silent = channels - notified.get(name, set())
        if silent:
            withheld[name] = tuple(sorted(silent))
    return withheld
