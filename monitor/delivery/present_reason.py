"""Find the present reason of a level, and compare it with the reason for which the level was raised.

Pages, the HTTP API and reminders show both. A reason is called the present one only if its readings are not older than
two usual intervals of their series (`monitor.decision.series.reading_age`). Otherwise it is called the last known
reason, and is shown with its age.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.queries.alerts import find_alert, find_level_onset
from monitor.alerts.queries.evaluations import find_newest_reading, find_state, load_rates
from monitor.alerts.queries.station_states import NO_STATES, StationStates, load_station_states
from monitor.alerts.records import UNCONFIRMED
from monitor.decision.alert_texts import describe_present_and_raised, renew_body
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.headline import Headline, StationRate, find_motion_headline, name_site_level
from monitor.decision.keys import VoteKey
from monitor.decision.records import Memory, Vote
from monitor.decision.subjects import compare_essence, find_first_fact, renew_subject
from monitor.delivery.queries.outbox import OpenAlert
from monitor.sites.declarations import find_declaration
from monitor.sites.queries.sites import find_version
from monitor.sites.records import Site
from monitor.text.instants import from_epoch_s
from monitor.text.message import LABELLED_TEXT, Message, Template, Term

_LOG: Final = logging.getLogger(__name__)
_REQUESTED_BY_SEVERAL: Final = Template("headline.now.several", "{text}; {n} stations request {level}")
_REQUESTED_BY_ONE: Final = Template("headline.now.single", "{text}; 1 station requests {level}")
_NOT_REQUESTED: Final = Template("headline.now.none", "no station requests {level}")
_LAST: Final = Template("headline.last_short", "last {text}")


@dataclass(frozen=True, slots=True)
class PresentReason:
    """The reason of a level by the newest decision.

    Attributes:
        headline: The reason.
        at: The oldest among the newest readings of the stations that it names; None if the site has no reading.
        is_current: Whether this reading is recent enough to call the reason the present one.
    """

    headline: Headline
    at: datetime | None
    is_current: bool

    @property
    def sentence(self) -> str:
        """The reason as one sentence without a full stop."""
        return self.headline.sentence

    @property
    def short(self) -> str:
        """The reason for a subject line. It is marked if it is not the present one."""
        return self.headline.short if self.is_current else _LAST(text=self.headline.short)

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations that request the level, the fastest first."""
        return self.headline.stations


def find_present_reason(c: Connection, site_id: str, level: int, stations: StationStates) -> PresentReason | None:
    """Return the reason of a level by the newest decision; None if there is none.

    The reason is the first of these that requests the level: rates of current readings, all rates, other votes. If
    nothing requests the level, the reason states that.

    Args:
        c: An open connection.
        site_id: Site id.
        level: The level.
        stations: State of the stations at the instant of display.
    """
    row = find_state(c, site_id)
    site = find_declaration(c, find_version(c, site_id) or "")
    if row is None or site is None or not level:
        return None
    rates = load_rates(c, site_id)
    current = [rate for rate in rates if stations.is_current(rate.station, rate.quantity, rate.newest_at)]
    for candidates, is_current in ((current, True), (rates, False)):
        headline = find_motion_headline(candidates, site, level)
        if headline is not None:
            return PresentReason(headline, _find_oldest(candidates, headline, level), is_current)
    requesting = {key: vote for key, vote in Memory.read(row.state).votes.items() if vote.level >= level}
    if requesting:
        return _describe_votes(site, requesting, Term(name_site_level(site, level)), stations)
    text = _NOT_REQUESTED(level=Term(name_site_level(site, level)))
    newest = max(stations.paces.values(), key=lambda pace: pace.observed_at, default=None)
    if newest is None:
        return PresentReason(Headline(text, text), None, is_current=False)
    is_current = newest.is_current(newest.observed_at, stations.now)
    return PresentReason(Headline(text, text), newest.observed_at, is_current)


def _find_oldest(rates: Sequence[StationRate], headline: Headline, level: int) -> datetime | None:
    """Return the oldest of the newest readings of the stations in a headline."""
    instants = [rate.newest_at for rate in rates if rate.station in headline.stations and rate.level >= level]
    return min(instants, default=None)


def _describe_votes(site: Site, votes: dict[VoteKey, Vote], level_name: Term, stations: StationStates) -> PresentReason:
    """Return the reason of a level that votes without a rate request. Votes on current readings come first."""
    quantities = {criterion.id: criterion.quantity for criterion in site.criteria}
    current = {
        key: vote
        for key, vote in votes.items()
        if stations.is_current(key.station, quantities.get(key.criterion, ""), from_epoch_s(vote.newest_s))
    }
    shown = current or votes
    first_key = max(shown, key=lambda key: (shown[key].level, key))
    first = LABELLED_TEXT(name=first_key.station, text=find_first_fact(shown[first_key].reason))
    requesting = tuple(sorted({key.station for key in shown}))
    if len(requesting) == 1:
        sentence = _REQUESTED_BY_ONE(text=first, level=level_name)
    else:
        sentence = _REQUESTED_BY_SEVERAL(text=first, n=len(requesting), level=level_name)
    at = from_epoch_s(min(vote.newest_s for vote in shown.values()))
    return PresentReason(Headline(sentence, first, requesting), at, is_current=bool(current))


def compare_reasons(c: Connection, alert_id: int, now: datetime) -> tuple[tuple[Message, ...], str]:
    """Return the lines with both reasons of an alert, and the figures of both for its subject.

    Both are empty for a drill, for an alert that is not about the level of a slope, and if no reason is known.
    """
    alert = find_alert(c, alert_id)
    if alert is None or alert.ledger != AlertCategory.HAZARD or alert.exercise:
        return (), ""
    stations = load_station_states(c, now, alert.site).get(alert.site, NO_STATES)
    try:
        present = find_present_reason(c, alert.site, alert.level, stations)
        raised = find_level_onset(c, alert_id, find_declaration(c, find_version(c, alert.site) or ""))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        # A stored memory of an unexpected form must not delay an alarm.
        _LOG.exception("alert %d: its present reason cannot be determined", alert_id)
        return (), ""
    if present is None:
        return (), ""
    lines = describe_present_and_raised(
        present.sentence, raised.sentence, present.at or now, is_current=present.is_current
    )
    return lines, compare_essence(present.short, raised.short)


def add_reasons(c: Connection, change: AlertChange, now: datetime) -> AlertChange:
    """Add both reasons of an alert to the alarm that nobody confirmed it. Return any other change unchanged."""
    alert_id = find_unconfirmed_alert(change.key) if change.open else None
    return change if alert_id is None else replace(change, lines=compare_reasons(c, alert_id, now)[0])


def renew_message(c: Connection, alert: OpenAlert, subject: str, now: datetime) -> tuple[str, str]:
    """Return subject and body of a message that repeats an alert, with both reasons and the age of the newest reading.

    The alarm that nobody confirmed an alert contains the reasons of that alert.
    """
    lines, essence = compare_reasons(c, find_unconfirmed_alert(alert.key) or alert.alert_id, now)
    if not lines:
        return subject, alert.body
    newest_at = find_newest_reading(c, alert.site)
    body = renew_body(alert.body, lines, keeps_first=alert.is_unconfirmed_alarm, newest_at=newest_at, now=now)
    return (subject if alert.is_unconfirmed_alarm else renew_subject(subject, essence, now)), body


def find_unconfirmed_alert(key: str) -> int | None:
    """Return the number of the alert that an alarm with this key is about; None for other keys than `UNCONFIRMED`."""
    return int(key.removeprefix(UNCONFIRMED)) if key.startswith(UNCONFIRMED) else None
