"""A check of the service: one kind of problem, and the findings of the check in words.

`monitor.app.checks.table` lists all checks. `monitor.app.self_monitoring.conditions` turns findings into alarms.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from monitor.storage.service_state import BAD, OK, WARN, CheckRow
from monitor.text.message import LABELLED_TEXT, PLACE, Message, Template, Timestamp, Value

__all__ = ["BAD", "OK", "WARN", "Check", "CheckFinding", "SubjectState", "make_state"]

# The key of an alarm and the name of a row contain at most this number of characters of the subject.
LONGEST_SUBJECT: Final = 56
# Level of a finding about a subject whose state is not known yet.
UNKNOWN: Final = "unknown"

NumberAndUnit = tuple[float | None, str | None]
NO_FIGURE: Final = (None, None)


class SubjectState(NamedTuple):
    """The state of one subject, as the function `find` of a check returns it.

    Subjects without a problem are returned as well, because this ends their alarms.

    Attributes:
        subject: For example a disk or a channel; empty for the service as a whole.
        is_wrong: Whether the subject has the problem of the check. None if this is not known yet: its alarm neither
            begins nor ends.
        level: WARN or BAD if the level depends on the state; empty for the level of the check.
        values: Values of the braces in the texts of the check.
        figure: A number and its unit for the view `service_checks`.
    """

    subject: str
    is_wrong: bool | None
    level: str
    values: Mapping[str, Any]
    figure: NumberAndUnit = NO_FIGURE


def make_state(
    subject: str = "",
    *,
    is_wrong: bool | None = True,
    level: str = "",
    figure: NumberAndUnit = NO_FIGURE,
    **values: Any,
) -> SubjectState:
    """Return the state of a subject. Further keywords are the values of the braces in the texts of the check."""
    return SubjectState(subject, is_wrong, level, values, figure)


@dataclass(frozen=True, slots=True)
class Check:
    """One kind of problem that the service can have.

    The texts `message`, `todo`, `fine` and `reason` contain braces for values and become templates that can be
    translated. A text that is a `Message` already, or that consists of one value only, is used as it is.

    Attributes:
        id: With dots. The part before the first dot is the area that `doctor` prints. `*` stands for the subject.
        fact_type: The type of the argument of `find`. Every fact of this type is passed to the check.
        level: WARN, or BAD, with which `doctor` and `check` end with exit status 1. A finding that is milder than this
            level raises no alarm.
        message: The problem in one sentence.
        find: Returns the state of its only subject, or those of all its subjects.
        todo: What to do about the problem.
        fine: The text for a subject without the problem; empty for no text.
        alarm: Level of the alarm of the service: 0 for none, 1 for a notice, 2 for an urgent message.
        key: Key of the alarm without the prefix `health:`; empty for the id with colons instead of dots. All findings
            with the same key are one alarm.
        reason: Text of the alarm, with braces for `subject` and `text`; empty for the message.
        after_s: How long the problem must last before it is an alarm.
        hold_s: How long the problem must be gone before the alarm ends.
        degrades: While the problem lasts, `slopeward status`, the page and `/health` report a degraded service. This
            starts at once, without `after_s`.
        blinds: While the problem lasts, they report that nobody watches the slope.
    """

    id: str
    fact_type: type
    level: str
    message: str
    find: Callable[[Any], SubjectState | Iterable[SubjectState]]
    todo: str = ""
    fine: str = ""
    alarm: int = 0
    key: str = ""
    reason: str = ""
    after_s: float = 0.0
    hold_s: float = 0.0
    degrades: bool = False
    blinds: bool = False
    templates: dict[str, Template] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = {name: getattr(self, name) for name in ("message", "fine", "todo", "reason")}
        object.__setattr__(
            self,
            "templates",
            {
                # A text that equals the message shares its template, so that it is translated once.
                name: Template(self._make_template_id("message" if text == self.message else name), text)
                for name, text in texts.items()
                if PLACE.sub("", text) and not isinstance(text, Message)
            },
        )

    @property
    def area(self) -> str:
        """The first part of the id, which `doctor` prints."""
        return self.id.partition(".")[0]

    @property
    def pattern(self) -> str:
        """The key of the alarms of this check, with `*` for the subject."""
        return self.key or self.id.replace(".", ":")

    def matches_key(self, key: str) -> bool:
        """Return whether an alarm with this key can come from this check."""
        prefix, star, suffix = self.pattern.partition("*")
        if not star:
            return key == prefix
        return key.startswith(prefix) and key.endswith(suffix)

    def run(self, fact: object) -> "Iterator[CheckFinding]":
        """Return the findings about a fact, one for each subject."""
        states = self.find(fact)
        if isinstance(states, SubjectState):
            states = [states]
        for state in states:
            yield self._make_finding(state)

    def _make_finding(self, state: SubjectState) -> "CheckFinding":
        if state.is_wrong is None:
            return CheckFinding(self, state.subject, UNKNOWN, "", "", state.figure)
        if state.is_wrong:
            level = state.level or self.level
            text = self.fill("message", state.values)
            todo = self.fill("todo", state.values)
        else:
            level = OK
            text = self.fill("fine", state.values)
            todo = ""
        return CheckFinding(self, state.subject, level, text, todo, state.figure)

    def _make_template_id(self, name: str) -> str:
        last_part = "" if name == "message" else name
        return ".".join(part for part in ("check", *self.id.split("."), last_part) if part not in {"", "*"})

    def fill(self, name: str, values: Mapping[str, Any]) -> str:
        """Return one of the four texts with its values. For a text that is only one value, return that value."""
        template = self.templates.get(name)
        text = str(getattr(self, name))
        if template is not None:
            return template(**{place: _to_value(values[place]) for place in PLACE.findall(text)})
        only_place = PLACE.fullmatch(text)
        return values[only_place[1]] if only_place else getattr(self, name)  # type: ignore[no-any-return]


def _to_value(value: Any) -> Value:
    if isinstance(value, datetime):
        return Timestamp.of(value, "second")
    return value if isinstance(value, Value) else str(value)


class CheckFinding(NamedTuple):
    """The state of one subject in words."""

    check: Check
    subject: str
    level: str
    text: str
    todo: str
    figure: NumberAndUnit

    @property
    def is_wrong(self) -> bool:
        """Whether the subject has the problem of the check."""
        return self.level not in {OK, UNKNOWN}

    @property
    def reaches_check_level(self) -> bool:
        """Whether the finding is not milder than the level of its check, so that it can raise an alarm."""
        return self.level in {BAD, self.check.level}

    @property
    def key(self) -> str:
        """Key of the alarm, without the prefix `health:`."""
        return self.check.pattern.replace("*", self.subject[:LONGEST_SUBJECT])

    @property
    def reason(self) -> str:
        """Text of the alarm."""
        return self.check.fill("reason", {"subject": self.subject, "text": self.text}) or self.text

    @property
    def line(self) -> str:
        """The text after the name of its subject."""
        return LABELLED_TEXT(name=self.subject, text=self.text) if self.subject else self.text

    @property
    def row(self) -> CheckRow:
        """The finding as a row of the view `service_checks`."""
        name = self.check.id.replace("*", self.subject[:LONGEST_SUBJECT])
        return CheckRow(name, self.level, self.text, self.todo, *self.figure)
