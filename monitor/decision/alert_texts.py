"""What a message says, as texts with typed values: its recipient reads it in his language, zone and units.

The subject fits the lock screen of a telephone once it is delivered (`monitor.decision.subjects`):
`RED Nordhang: close the road. 302 mm/day, 5 stations. 20:34`. The body has one fact a line: what, where, since when,
what to do, how sure, what next, who else was notified, why.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeVar, cast

from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.headline import FrozenDecision, describe_expected, find_headline, find_sight, name_of
from monitor.decision.subjects import compare_essence, make_subject, mark_exercise
from monitor.sites.records import Site
from monitor.text.message import LISTED, Message, MessageList, NameList, Template, Term, Timestamp, Value, join

EXERCISE: Final = Template("exercise.reason", "EXERCISE: {text}")  # around every reason of a drill
OF_LEVEL: Final = Template("level.reason", "{level}: {text}")  # around every reason of a level
GROWN: Final = Template("level.grown", "{text}; the rate is {n} times the {rate} of before")  # of a level that stands
DRILL: Final = Template("exercise.body", "EXERCISE: this is a drill, nothing has happened. {text}")
COVERED: Final = Template("body.covered", "- {at}: {text}")  # the subject of a message that another one stands for
HEALTH_NAMES: Final = {0: "clear", 1: "notice", 2: "urgent"}
SERVICE_TITLE: Final = "Slopeward service"
Found = TypeVar("Found")
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
_ACTION: Final = Template("body.action", "Action: {action}")
_HOW_SURE: Final = Template("body.how_sure", "How sure: {text}")
_NEXT: Final = Template("body.next", "Next: {text}")
_NEWEST: Final = Template("body.newest", "Newest datum used: {at}")
_NOTIFIED: Final = Template("body.notified", "Notified: {people}")
_WHY: Final = Template("body.why", "Why: {text}")
_ALERT: Final = Template("body.alert", "Alert {n}, site {site}. Why: slopeward alerts explain {n2}")
_DELAY: Final = Template(
    "body.delayed",
    "Delayed: this message is of {at}. A newer one (level {level}, {at2}) has been sent already and says what holds "
    "now.",
)
_NOW: Final = Template("body.now", "Now ({at}): {text}")
_RAISED: Final = Template("body.raised", "When raised: {text}")
_ALSO: Final = Template("body.also", "Also happened (not sent separately):")


@dataclass(frozen=True, slots=True)
class LevelOnset:
    """What stood when a level was raised: since when, in one sentence, and short where it was measured."""

    at: datetime
    sentence: str
    short: str = ""


def name_level(names: Sequence[str], ledger: str, level: int) -> str:
    """The word for a level: of the site's own names, lowest first, for hazard; notice and urgent elsewhere.

    >>> name_level(("green", "red"), "hazard", 1), name_level((), "health", 2)
    ('red', 'urgent')
    """
    if ledger == AlertCategory.HAZARD and names:
        return names[level] if 0 <= level < len(names) else str(level)
    return HEALTH_NAMES.get(level, str(level))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNotice:
    """A change of an alert, and what its message is made of."""

    site_id: str
    site: Site | None  # the declaration; None for an alert of the service itself
    alert_id: int
    change: AlertChange
    level: int  # after the change, and its `name`
    name: str
    before: int  # the level before it
    now: datetime
    frozen: FrozenDecision  # inputs and outcome of the decision; empty where there are none
    recipients: Sequence[str]  # who is notified of it
    exercise: bool  # of a drill
    raised: LevelOnset | None = None  # what stood when the level was raised, for a reminder of it

    @property
    def is_hazard(self) -> bool:
        """Whether the level of a slope changed."""
        return self.change.ledger == AlertCategory.HAZARD

    @property
    def action(self) -> str:
        """What the site file says to do at the level."""
        levels = self.site.levels if self.site and self.is_hazard else ()
        return next((known.action for known in levels if known.number == self.level), "")

    @property
    def former(self) -> str:
        """The name of the level before, where a level of a slope became another one."""
        if not self.is_hazard or self.before in {0, self.level}:
            return ""
        return name_of(self.site, self.before) if self.site else str(self.before)


def write_message(notice: ChangeNotice) -> tuple[Message, Message]:
    """Subject and body of a change."""
    site, level, raised = notice.site, notice.level, notice.raised
    reason = take_out(EXERCISE, notice.change.reason)
    headline = _find_safely(lambda: find_headline(notice.frozen, site, level)) if notice.is_hazard else None
    sentence, short = (headline.sentence, headline.short) if headline else (take_out(OF_LEVEL, reason),) * 2
    essence = _DOWN(level=Term(notice.former)) if notice.former and 0 < level < notice.before else short
    essence = essence if raised is None else compare_essence(essence, raised.short)
    kind = Term(notice.name.upper()) if notice.is_hazard else _KINDS[notice.change.ledger, notice.name]()
    action = notice.action if level else ""
    subject = make_subject(kind, site.name if site else SERVICE_TITLE, action, essence, notice.now)
    lines = _list_facts(notice, sentence)
    lines += [_WHY(text=reason)] if reason != sentence else []
    lines.append(_ALERT(n=notice.alert_id, site=notice.site_id, n2=notice.alert_id))
    return mark_exercise(subject) if notice.exercise else subject, join_lines(lines)


def _list_facts(notice: ChangeNotice, sentence: str) -> list[Value]:
    """The lines of a body: what, where, since when, what to do, how sure, what next, who else was notified."""
    raised, now = notice.raised, notice.now
    first, *more = [sentence] if raised is None else list_values(sentence, raised.sentence, now)
    lines: list[Value] = [DRILL(text=first) if notice.exercise else first, *more, *notice.change.lines]
    lines += [_WHERE(place=_describe_place(notice.site))] if notice.site else []
    at = Timestamp.of(now if raised is None else raised.at, "minute")
    lines.append(_SINCE_BEFORE(at=at, level=Term(notice.former)) if notice.former else _SINCE(at=at))
    lines += [_ACTION(action=notice.action)] if notice.action else []
    if notice.is_hazard and notice.level:
        lines += [_HOW_SURE(text=one) for one in _find_safely(lambda: find_sight(notice.frozen, notice.site)) or ()]
        lines += [_NEXT(text=one) for one in _find_safely(lambda: describe_expected(notice.frozen, now)) or ()]
    if notice.change.data_time is not None:
        lines.append(_NEWEST(at=Timestamp.of(notice.change.data_time)))
    lines += [_NOTIFIED(people=NameList(tuple(notice.recipients)))] if len(notice.recipients) > 1 else []
    return lines


def take_out(around: Template, text: str) -> str:
    """What a text says within this template; another one is as it is.

    >>> take_out(EXERCISE, EXERCISE(text="red")), take_out(EXERCISE, "red")
    ('red', 'red')
    """
    return cast("str", text.values["text"]) if isinstance(text, Message) and text.id == around.id else text


def take_out_reason(reason: str) -> str:
    """What a reason of a level says of the slope, in a drill as well."""
    return take_out(OF_LEVEL, take_out(EXERCISE, reason))


def is_reminder(reason: str) -> bool:
    """Whether a reason reminds people of a level that stands."""
    return isinstance(found := take_out(EXERCISE, reason), Message) and found.id == GROWN.id


def _find_safely(find: Callable[[], Found]) -> Found | None:
    """What evidence shows, or nothing: no alarm waits for evidence of an odd form."""
    try:
        return find()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _describe_place(site: Site) -> str:
    return f"{site.name} ({site.latitude:.4f}°, {site.longitude:.4f}°)"


def join_lines(lines: Iterable[Value]) -> Message:
    """A body of its lines."""
    return join(lines, "\n")


@lru_cache(maxsize=1024)  # those that stay silent are named at every look
def name_series(series: str) -> Message:
    """A series as people read it.

    >>> name_series("G1.crack_opening")
    'G1 crack opening'
    """
    station, _, quantity = series.partition(".")
    return _SERIES(station=station, quantity=Term(quantity))


def split_lines(body: str) -> list[Value]:
    """The lines of a body; one that is not made of lines is one."""
    if isinstance(body, Message) and body.id == LISTED.id:
        parts = body.values["parts"]
        return [*parts.items] if isinstance(parts, MessageList) and parts.separator == "\n" else [body]
    return [body]


def list_values(now: str, raised: str, at: datetime) -> tuple[Message, ...]:
    """The lines of a reminder: what is so at an instant, and what was when the level was raised."""
    return _NOW(at=Timestamp.of(at, "minute"), text=now), _RAISED(text=raised)


def renew_body(body: str, values: Sequence[Message], *, keeps_first: bool) -> Message:
    """A body that is sent once more, with the values of now in place of those that it had.

    `body`: as it was sent before; `values`: of `list_values`; `keeps_first`: its first line says something else than a
    value.
    """
    lines = split_lines(body)
    rest = [one for one in lines if not (isinstance(one, Message) and one.id in {_NOW.id, _RAISED.id})]
    first = rest[:1] if keeps_first else []
    rest = rest[1:] if keeps_first or len(rest) == len(lines) else rest
    return join_lines([*first, *values, *rest])


def describe_delay(queued_at: datetime, newer_level: str, newer_at: datetime) -> Message:
    """What an old message says of itself when a newer one went out before it."""
    at, at2 = (Timestamp.of(at, "minute") for at in (queued_at, newer_at))
    return _DELAY(at=at, level=Term(newer_level), at2=at2)


def list_covered(subjects: Iterable[tuple[datetime, str]]) -> list[Value]:
    """What a message says of those that it stands for, line by line."""
    return [_ALSO(), *(COVERED(at=Timestamp.of(at, "minute"), text=subject) for at, subject in subjects)]
