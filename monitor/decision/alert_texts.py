"""Write the subject and the body of a message about a change of an alert.

Both are texts with typed values, so that each recipient reads them in a language, time zone and units of choice. The
delivered subject fits the lock screen of a telephone (`monitor.decision.subjects`): `RED Nordhang: close the road. 302
mm/day, 5 stations. 20:34`. The body has one fact on each line: what happened, where and since when; what it means: how
sure it is, and what is expected next; what to do; then the age of the data, who else was notified, and why.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeVar, cast

from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.headline import (
    FrozenDecision,
    describe_certainty,
    describe_outlook,
    find_headline,
    name_site_level,
)
from monitor.decision.subjects import compare_essence, make_subject, mark_exercise, mark_trial
from monitor.sites.records import Site
from monitor.text.message import (
    LISTED,
    Duration,
    Message,
    MessageList,
    NameList,
    Template,
    Term,
    Timestamp,
    Value,
    join,
)

# Around every reason of a drill.
EXERCISE: Final = Template("exercise.reason", "EXERCISE: {text}")
# Around every reason of a level.
OF_LEVEL: Final = Template("level.reason", "{level}: {text}")
# The reason of a reminder of a level that is still in force.
GROWN: Final = Template("level.rate_grown", "{text}; the rate is {n} times the {rate} of the last message")
DRILL: Final = Template("exercise.body", "EXERCISE: this is a drill, nothing has happened. {text}")
# A line of each message of a site in shadow mode.
TRIAL_NOTE: Final = Template(
    "body.trial", "Trial: this site is in shadow mode. Only the people of the trial get this message"
)
# A line with the subject of a message that is not sent separately.
COVERED: Final = Template("body.covered", "- {at}: {text}")
HEALTH_NAMES: Final = {0: "clear", 1: "notice", 2: "urgent"}
SERVICE_TITLE: Final = "Slopeward service"
# The age of a reading is left out below this.
_RECENT_S: Final = 60.0
Result = TypeVar("Result")
_KINDS: Final = {
    (AlertCategory.HEALTH, "clear"): Template("subject.health.clear", "Health clear"),
    (AlertCategory.HEALTH, "notice"): Template("subject.health.notice", "Health notice"),
    (AlertCategory.HEALTH, "urgent"): Template("subject.health.urgent", "Health urgent"),
    (AlertCategory.ADVICE, "clear"): Template("subject.advice.clear", "Advice clear"),
    (AlertCategory.ADVICE, "notice"): Template("subject.advice.notice", "Advice notice"),
    (AlertCategory.ADVICE, "urgent"): Template("subject.advice.urgent", "Advice urgent"),
}
CRITERION_NAMED: Final = Template("loosening.criterion", "criterion {criterion}")
RULE_NAMED: Final = Template("loosening.rule", "fusion rule {rule}")
_SERIES: Final = Template("series.named", "{station} {quantity}")
_DOWN: Final = Template("essence.down", "down from {level}")
_WHERE: Final = Template("body.where", "Where: {place}")
_SINCE: Final = Template("body.since", "Since {at}")
_SINCE_BEFORE: Final = Template("body.since_before", "Since {at}, before that the level was {level}")
ACTION: Final = Template("body.action", "Action: {action}")
_HOW_SURE: Final = Template("body.how_sure", "How sure: {text}")
_NEXT: Final = Template("body.next", "Next: {text}")
_NEWEST: Final = Template("body.newest", "Newest reading used: {at}")
_NEWEST_AGE: Final = Template("body.newest_age", "Newest reading used: {at}, {age} before the change")
_NEWEST_NOW: Final = Template("body.newest_now", "Newest reading: {at}, {age} before this message")
_NEWEST_IDS: Final = frozenset({_NEWEST.id, _NEWEST_AGE.id, _NEWEST_NOW.id})
_NOTIFIED: Final = Template("body.notified", "Notified: {people}")
_WHY: Final = Template("body.why", "Why: {text}")
_ALERT: Final = Template("body.alert", "Alert {n}, site {site}. Details: slopeward alerts explain {n2}")
_DELAY: Final = Template(
    "body.overtaken",
    "Delayed: this message is from {at}. A newer message has already been sent: level {level} at {at2}. Follow the "
    "newer one.",
)
_NOW: Final = Template("body.now", "Now ({at}): {text}")
_LAST: Final = Template("body.last", "Last reading ({at}): {text}")
_RAISED: Final = Template("body.raised", "When raised: {text}")
_ALSO: Final = Template("body.also", "Also happened (not sent separately):")


@dataclass(frozen=True, slots=True)
class LevelOnset:
    """The reason for which a level was raised: when, as one sentence, and as a short figure if it was measured."""

    at: datetime
    sentence: str
    short: str = ""


def name_level(names: Sequence[str], ledger: str, level: int) -> str:
    """Return the name of a level: for hazard that of the site, else clear, notice or urgent.

    Args:
        names: Names of the levels of the site, the lowest first.

    >>> name_level(("green", "red"), "hazard", 1), name_level((), "health", 2)
    ('red', 'urgent')
    """
    if ledger == AlertCategory.HAZARD and names:
        return names[level] if 0 <= level < len(names) else str(level)
    return HEALTH_NAMES.get(level, str(level))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNotice:
    """A change of an alert, and what its message contains.

    Attributes:
        site: The site file; None for an alert of the service itself.
        alert_id: Number of the alert.
        level: The level after the change.
        name: Name of that level.
        before: The level before the change.
        frozen: Stored inputs and outcome of the decision; empty if there are none.
        recipients: Who is notified of the change.
        exercise: Whether the change belongs to a drill.
        raised: For a reminder of a level, why the level was raised.
    """

    site_id: str
    site: Site | None
    alert_id: int
    change: AlertChange
    level: int
    name: str
    before: int
    now: datetime
    frozen: FrozenDecision
    recipients: Sequence[str]
    exercise: bool
    raised: LevelOnset | None = None

    @property
    def is_hazard(self) -> bool:
        """Whether the change is about the level of a slope."""
        return self.change.ledger == AlertCategory.HAZARD

    @property
    def action(self) -> str:
        """The action that the site file requires at the level; empty without an action."""
        levels = self.site.levels if self.site and self.is_hazard else ()
        return next((level.action for level in levels if level.number == self.level), "")

    @property
    def former(self) -> str:
        """The name of the level before, if the level of a slope changed from a raised level; else empty."""
        if not self.is_hazard or self.before in {0, self.level}:
            return ""
        return name_site_level(self.site, self.before) if self.site else str(self.before)


def write_message(notice: ChangeNotice) -> tuple[Message, Message]:
    """Return the subject and the body of a change."""
    site, level = notice.site, notice.level
    # The subject names the level, so the reason is repeated without it.
    reason = unwrap_reason(notice.change.reason)
    sentence = short = reason
    if notice.is_hazard:
        headline = _read_evidence(lambda: find_headline(notice.frozen, site, level))
        if headline is not None:
            sentence, short = headline.sentence, headline.short
    essence = short
    if notice.former and 0 < level < notice.before:
        essence = _DOWN(level=Term(notice.former))
    if notice.raised is not None:
        essence = compare_essence(essence, notice.raised.short)
    kind = Term(notice.name.upper()) if notice.is_hazard else _KINDS[notice.change.ledger, notice.name]()
    action = notice.action if level else ""
    subject = make_subject(kind, site.name if site else SERVICE_TITLE, action, essence, notice.now)
    lines = _list_facts(notice, sentence)
    if sentence != unwrap(OF_LEVEL, reason):
        lines.append(_WHY(text=unwrap(OF_LEVEL, reason)))
    lines.append(_ALERT(n=notice.alert_id, site=notice.site_id, n2=notice.alert_id))
    if site is not None and site.shadow:
        subject = mark_trial(subject)
    return mark_exercise(subject) if notice.exercise else subject, join_lines(lines)


def _list_facts(notice: ChangeNotice, sentence: str) -> list[Value]:
    """Return all lines of a body except the reason and the number of the alert."""
    raised, now = notice.raised, notice.now
    if raised is None:
        first, started_at = sentence, now
        lines: list[Value] = []
    else:
        first, *values = describe_present_and_raised(sentence, raised.sentence, now)
        started_at = raised.at
        lines = [*values]
    lines.insert(0, DRILL(text=first) if notice.exercise else first)
    if notice.site is not None and notice.site.shadow:
        lines.append(TRIAL_NOTE())
    lines += notice.change.lines
    if notice.site:
        lines.append(_WHERE(place=_describe_place(notice.site)))
    at = Timestamp.of(started_at, "minute")
    lines.append(_SINCE_BEFORE(at=at, level=Term(notice.former)) if notice.former else _SINCE(at=at))
    if notice.is_hazard and notice.level:
        certainty = _read_evidence(lambda: describe_certainty(notice.frozen, notice.site))
        outlook = _read_evidence(lambda: describe_outlook(notice.frozen, now))
        lines += [_HOW_SURE(text=text) for text in certainty or ()]
        lines += [_NEXT(text=text) for text in outlook or ()]
    if notice.action:
        lines.append(ACTION(action=notice.action))
    if notice.change.data_time is not None:
        lines.append(_describe_newest(notice.change.data_time, now))
    if len(notice.recipients) > 1:
        lines.append(_NOTIFIED(people=NameList(tuple(notice.recipients))))
    return lines


def _describe_newest(newest_at: datetime, now: datetime) -> Message:
    """Return the line with the time of the newest reading, and its age if it is older than a minute."""
    at = Timestamp.of(newest_at, "minute")
    age_s = (now - newest_at).total_seconds()
    return _NEWEST_AGE(at=at, age=Duration(age_s, "about")) if age_s >= _RECENT_S else _NEWEST(at=at)


def unwrap(around: Template, text: str) -> str:
    """Return the text inside a template; any other text is returned unchanged.

    >>> unwrap(EXERCISE, EXERCISE(text="red")), unwrap(EXERCISE, "red")
    ('red', 'red')
    """
    return cast("str", text.values["text"]) if isinstance(text, Message) and text.id == around.id else text


def unwrap_reason(reason: str) -> str:
    """Return the reason of a level without the name of the level, and without the mark of a drill."""
    return unwrap(OF_LEVEL, unwrap(EXERCISE, reason))


def is_reminder(reason: str) -> bool:
    """Return whether a reason is a reminder of a level that is still in force."""
    text = unwrap(EXERCISE, reason)
    return isinstance(text, Message) and text.id == GROWN.id


def _read_evidence(read: Callable[[], Result]) -> Result | None:
    """Return what stored evidence contains; None if it has an unexpected form, so that no alarm is delayed by it."""
    try:
        return read()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _describe_place(site: Site) -> str:
    return f"{site.name} ({site.latitude:.4f}°, {site.longitude:.4f}°)"


def join_lines(lines: Iterable[Value]) -> Message:
    """Return a body made of lines."""
    return join(lines, "\n")


# Each evaluation names the series that are silent.
@lru_cache(maxsize=1024)
def name_series(series: str) -> Message:
    """Return the name of a series for people.

    >>> name_series("G1.crack_opening")
    'G1 crack opening'
    """
    station, _, quantity = series.partition(".")
    return _SERIES(station=station, quantity=Term(quantity))


def split_lines(body: str) -> list[Value]:
    """Return the lines of a body; a text that is not made of lines is one line."""
    if isinstance(body, Message) and body.id == LISTED.id:
        parts = body.values["parts"]
        return [*parts.items] if isinstance(parts, MessageList) and parts.separator == "\n" else [body]
    return [body]


def describe_present_and_raised(now: str, raised: str, at: datetime, *, is_current: bool = True) -> tuple[Message, ...]:
    """Return the lines of a reminder: the present reason of a level, and the reason for which it was raised.

    Args:
        now: The reason by the newest decision.
        raised: The reason for which the level was raised.
        at: Newest reading behind the reason by the newest decision.
        is_current: Whether this reading is recent enough to call that reason the present one.
    """
    first = _NOW if is_current else _LAST
    return first(at=Timestamp.of(at, "minute"), text=now), _RAISED(text=raised)


def renew_body(
    body: str, values: Sequence[Message], *, keeps_first: bool, newest_at: datetime | None, now: datetime
) -> Message:
    """Return a body that is sent again, with the present values in place of the old ones.

    Args:
        body: The body of the first message.
        values: Result of `describe_present_and_raised`.
        keeps_first: Whether the first line is kept because it is not a value.
        newest_at: Time of the newest reading of the site; None if there is none.
    """
    lines = split_lines(body)
    if newest_at is not None:
        age = Duration((now - newest_at).total_seconds(), "about")
        newest = _NEWEST_NOW(at=Timestamp.of(newest_at, "minute"), age=age)
        lines = [newest if isinstance(line, Message) and line.id in _NEWEST_IDS else line for line in lines]
    others = [line for line in lines if not (isinstance(line, Message) and line.id in {_NOW.id, _LAST.id, _RAISED.id})]
    if keeps_first:
        return join_lines([*others[:1], *values, *others[1:]])
    has_values = len(others) < len(lines)
    return join_lines([*values, *(others if has_values else others[1:])])


def describe_delay(queued_at: datetime, newer_level: str, newer_at: datetime) -> Message:
    """Return the line of an old message that is sent after a newer one."""
    at, at2 = (Timestamp.of(instant, "minute") for instant in (queued_at, newer_at))
    return _DELAY(at=at, level=Term(newer_level), at2=at2)


def list_covered(subjects: Iterable[tuple[datetime, str]]) -> list[Value]:
    """Return the lines about messages that are not sent separately, from their times and subjects."""
    return [_ALSO(), *(COVERED(at=Timestamp.of(at, "minute"), text=subject) for at, subject in subjects)]
