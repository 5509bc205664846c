"""One entry of the table of checks, and what it finds."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from monitor.storage.service_state import BAD, OK, WARN, CheckRow
from monitor.text.message import LABELLED_TEXT, PLACE, Message, Template, Timestamp, Value

__all__ = ["BAD", "OK", "WARN", "Check", "CheckFinding", "SubjectState", "make_state"]

LONGEST: Final = 56  # of a subject in the key of an alarm and in the name of a row


NumberAndUnit = tuple[float | None, str | None]
NO_FIGURE: Final = (None, None)


class SubjectState(NamedTuple):
    """What `find` says of one subject, also of one that is in order: an alarm ends by that."""

    subject: str  # what it is about; empty: the service
    is_wrong: bool  # whether it is as the message says
    level: str  # WARN or BAD where it depends on what was found; empty: that of the check
    values: Mapping[str, Any]  # of the braces of message and `todo`
    figure: NumberAndUnit = NO_FIGURE  # and its unit, for the view `service_checks`


def make_state(
    subject: str = "", *, is_wrong: bool = True, level: str = "", figure: NumberAndUnit = NO_FIGURE, **values: Any
) -> SubjectState:
    """What was found, with the values of the braces."""
    return SubjectState(subject, is_wrong, level, values, figure)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong with the service."""

    id: str  # dotted; its first part is what `doctor` calls it, `*` stands for the subject
    looks_at: type  # the class of what `find` takes; whoever has one of these asks all checks that look at it
    level: str  # WARN, or BAD: `doctor` and `check` end with exit 1. What is found to be milder than this is no alarm.
    # what is wrong, one sentence with braces for values. This and the next three become templates of the check;
    # one that is a message already is said as it is.
    message: str
    find: Callable[[Any], SubjectState | Iterable[SubjectState]]  # what it finds of its one subject, or of each
    todo: str = ""  # what to do
    fine: str = ""  # what is said while all is well; empty: nothing
    alarm: int = 0  # of health: 0 none, 1 notice, 2 urgent
    # of the alarm, behind `health:`; empty: the id, with colons. All that is found under one key is one alarm.
    key: str = ""
    reason: str = ""  # of the alarm, with braces for `subject` and `text`; empty: the message
    after_s: float = 0.0  # it is an alarm when it is wrong for so long ...
    hold_s: float = 0.0  # ... until it was not for so long
    degrades: bool = False  # `status`, the page and `/health` say it, at once
    blinds: bool = False  # `status` says it, and that nobody looks at the slope while it is so
    templates: dict[str, Template] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = {name: getattr(self, name) for name in ("message", "fine", "todo", "reason")}
        object.__setattr__(
            self,
            "templates",
            {
                name: Template(self._name_text("message" if text == self.message else name), text)
                for name, text in texts.items()
                if PLACE.sub("", text) and not isinstance(text, Message)
            },
        )

    @property
    def area(self) -> str:
        """What `doctor` calls it."""
        return self.id.partition(".")[0]

    @property
    def pattern(self) -> str:
        """The key of its alarms, with `*` for the subject."""
        return self.key or self.id.replace(".", ":")

    def is_key(self, key: str) -> bool:
        """Whether a key is that of one of its alarms."""
        begin, star, end = self.pattern.partition("*")
        return key == begin if not star else key.startswith(begin) and key.endswith(end)

    def run(self, what: object) -> "Iterator[CheckFinding]":
        """What is found, in words."""
        ones = self.find(what)
        yield from map(self._state, [ones] if isinstance(ones, SubjectState) else ones)

    def _state(self, one: SubjectState) -> "CheckFinding":
        level = (one.level or self.level) if one.is_wrong else OK
        text = self.fill("message" if one.is_wrong else "fine", one.values)
        todo = self.fill("todo", one.values) if one.is_wrong else ""
        return CheckFinding(self, one.subject, level, text, todo, one.figure)

    def _name_text(self, name: str) -> str:
        part = "" if name == "message" else name
        return ".".join(piece for piece in ("check", *self.id.split("."), part) if piece not in {"", "*"})

    def fill(self, name: str, values: Mapping[str, Any]) -> str:
        """One of its texts with its values; one that is a value alone is that value."""
        template, text = self.templates.get(name), str(getattr(self, name))
        if template is not None:
            return template(**{place: _as_value(values[place]) for place in PLACE.findall(text)})
        alone = PLACE.fullmatch(text)
        return values[alone[1]] if alone else getattr(self, name)  # type: ignore[no-any-return]


def _as_value(value: Any) -> Value:
    if isinstance(value, datetime):
        return Timestamp.of(value, "second")
    return value if isinstance(value, Value) else str(value)


class CheckFinding(NamedTuple):
    """What a check found of one subject, in words."""

    check: Check
    subject: str
    level: str
    text: str
    todo: str
    figure: NumberAndUnit

    @property
    def is_wrong(self) -> bool:
        """Whether there is something to say but that all is well."""
        return self.level != OK

    @property
    def counts(self) -> bool:
        """Whether it is an alarm, where its check makes one."""
        return self.level in {BAD, self.check.level}

    @property
    def key(self) -> str:
        """Of the alarm, behind `health:`."""
        return self.check.pattern.replace("*", self.subject[:LONGEST])

    @property
    def reason(self) -> str:
        """Of the alarm."""
        return self.check.fill("reason", {"subject": self.subject, "text": self.text}) or self.text

    @property
    def line(self) -> str:
        """The text with its subject."""
        return LABELLED_TEXT(name=self.subject, text=self.text) if self.subject else self.text

    @property
    def row(self) -> CheckRow:
        """As it is stored."""
        name = self.check.id.replace("*", self.subject[:LONGEST])
        return CheckRow(name, self.level, self.text, self.todo, *self.figure)
