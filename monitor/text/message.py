"""Texts that people read, as an id and typed values, from the rule that finds something to the lock screen.

A `Message` *is* its English text, so that SQL, logs and programs read it as they stand, and it carries the id of the
template and the values that it was made from. Whoever shows it to a reader renders it anew in his language, zone and
units (`monitor.text.rendering`); what is compared, sealed and recomputed are id and values.

Rows and JSON contain a message as three values, `reason`, `reason_id` and `reason_values`. `messages_to_plain` writes
them, `plain_to_messages` reads them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypeAlias

PLACE: Final = re.compile(r"\{(\w+)\}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ID, _VALUES = "_id", "_values"
_UNITS: Final = (("d", 86400.0), ("h", 3600.0), ("m", 60.0))
TimeForm: TypeAlias = Literal["exact", "second", "minute", "day"]
DurationForm: TypeAlias = Literal["unit", "about", "span"]


# ---- typed values ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Figure:
    """A number with the digits that it is shown with, and its unit.

    >>> Figure(3.14159, ".2f", "mm/day").english(), Figure(0.834, ".0%").english(), Figure(12).english()
    ('3.14 mm/day', '83%', '12')
    """

    value: float
    form: str = "g"
    unit: str = ""

    def english(self) -> str:
        """As it is read."""
        shown = format(self.value, self.form)
        return f"{shown} {self.unit}" if self.unit else shown

    def to_json(self) -> dict[str, Any]:
        """Names and values."""
        return {"figure": self.value, "form": self.form, **({"unit": self.unit} if self.unit else {})}


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An instant in epoch seconds; a day is one of UTC and is shown as it is, in every zone.

    >>> Timestamp(0.5).english(), Timestamp(60.0, "minute").english(), Timestamp(60.0, "day").english()
    ('1970-01-01T00:00:00.500000Z', '1970-01-01 00:01 UTC', '1970-01-01')
    """

    at_s: float
    form: TimeForm = "exact"

    @classmethod
    def of(cls, at: datetime, form: TimeForm = "exact") -> Self:
        """From an aware instant."""
        return cls((at - _EPOCH).total_seconds(), form)

    @property
    def at(self) -> datetime:
        """The instant, aware, in UTC."""
        return _EPOCH + timedelta(seconds=self.at_s)

    def english(self) -> str:
        """As it is read by programs, in UTC."""
        return _format_instant(self.at_s, self.form)

    def to_json(self) -> dict[str, Any]:
        """Names and values."""
        return {"at_s": self.at_s, "form": self.form}


@lru_cache(maxsize=1024)
def _format_instant(at_s: float, form: TimeForm) -> str:
    """An instant in UTC; those of open questions are told again at every look."""
    at = (_EPOCH + timedelta(seconds=at_s)).replace(tzinfo=None)
    if form == "exact":
        return f"{at.isoformat(timespec='microseconds')}Z"
    return at.date().isoformat() if form == "day" else f"{at.isoformat(' ', f'{form}s')} UTC"


@dataclass(frozen=True, slots=True)
class Duration:
    """How long something takes: in its largest whole unit, about, or as the window of a rate.

    >>> [Duration(s, form).english() for s, form in ((5400.0, "unit"), (5400.0, "about"), (115200.0, "span"))]
    ['90m', '1 h 30 min', '32 h']
    """

    seconds: float
    form: DurationForm = "unit"

    def english(self) -> str:
        """As it is read."""
        if self.form == "about":
            return format_about(self.seconds)
        if self.form == "span":
            return format_span(self.seconds)
        return format_duration(self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Names and values."""
        return {"seconds": self.seconds, "form": self.form}


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the vocabulary, which is translated: the name of a level, a state, a quantity, a kind of criterion.

    >>> Term("crack_opening").english(), Term("ORANGE").english()
    ('crack opening', 'ORANGE')
    """

    word: str

    def english(self) -> str:
        """As it is read."""
        return self.word.replace("_", " ")

    def to_json(self) -> dict[str, Any]:
        """Names and values."""
        return {"term": self.word}


@dataclass(frozen=True, slots=True)
class NameList:
    """Names, which stay as they are, and how many more there are.

    >>> NameList(("G1", "G2", "G3")).english(), NameList(("G1", "G2"), more=4).english()
    ('G1, G2, G3', 'G1, G2 and 4 more')
    >>> NameList(("G1", "G2", "G3"), conjunction=True).english()
    'G1, G2 and G3'
    """

    names: tuple[str, ...]
    more: int = 0
    conjunction: bool = False

    def english(self, conjunction: str = " and ", more: str = "{text} and {n} more") -> str:
        """As it is read, with the words of another language in place of the English ones."""
        if self.conjunction and not self.more and len(self.names) > 1:
            return f"{', '.join(self.names[:-1])}{conjunction}{self.names[-1]}"
        listed = ", ".join(self.names)
        return more.format(text=listed, n=self.more) if self.more else listed

    def to_json(self) -> dict[str, Any]:
        """Names and values."""
        return {"names": list(self.names), "more": self.more, "conjunction": self.conjunction}


class Message(str):
    """A text with the id of its template and its values; equal to, sorted and stored as its English text."""

    __slots__ = ("id", "values")
    id: str  # of the template
    values: "Mapping[str, Value]"  # by the names of its places

    def __new__(cls, english: str, template_id: str, values: "Mapping[str, Value]") -> Self:
        """From its parts; made by templates, and read from what is stored by `read_message`."""
        self = str.__new__(cls, english)
        object.__setattr__(self, "id", template_id)
        object.__setattr__(self, "values", values)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: messages are frozen."""
        raise AttributeError(f"{name} of a message cannot be set")

    def __reduce__(self) -> tuple[Callable[..., "Message"], tuple[Any, ...]]:
        """Copies and other processes get all of it."""
        return Message, (str(self), self.id, dict(self.values))

    def english(self) -> str:
        """Its English text as a plain one."""
        return str(self)

    def to_json(self) -> dict[str, Any]:
        """Text, id and values."""
        return {"text": str(self), "id": self.id, "values": values_to_json(self.values)}


@dataclass(frozen=True, slots=True)
class MessageList:
    """Texts one after the other, the most important first: what must be short leaves out the last ones.

    >>> MessageList(("one", "two")).english()
    'one; two'
    """

    items: "tuple[Value, ...]"
    separator: str = "; "

    def english(self) -> str:
        """As it is read."""
        return self.separator.join(to_english(item) for item in self.items)

    def to_json(self) -> dict[str, Any]:
        """Names and values."""
        return {"items": [_value_to_json(item) for item in self.items], "separator": self.separator}


Typed: TypeAlias = Figure | Timestamp | Duration | Term | NameList | MessageList
Value: TypeAlias = str | int | float | Typed  # a `Message` is text


def to_english(value: Value) -> str:
    """A value as English text shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, int) else value.english()


# ---- templates -------------------------------------------------------------------------------------------------
ENGLISH: Final[dict[str, str]] = {}  # the English text of every template that was imported, by its id


class Template:
    """The English text of one kind of message; it stands where the message is made.

    >>> over = Template("example.over", "{station} moves {rate}, over {bound}")
    >>> text = over(station="G1", rate=Figure(12.31, ".1f", "mm/day"), bound=Figure(10, "g", "mm/day"))
    >>> text, text.id, text.values["station"]
    ('G1 moves 12.3 mm/day, over 10 mm/day', 'example.over', 'G1')
    """

    __slots__ = ("_english", "_places", "_plain", "english", "id")

    def __init__(self, template_id: str, english: str) -> None:
        """Args: a short dotted name that no other template has, and the text with its places in braces."""
        if ENGLISH.setdefault(template_id, english) != english:
            raise ValueError(f"two templates are called {template_id!r}")
        self.id, self.english = template_id, english
        self._places = PLACE.findall(english)
        self._english = PLACE.sub("%s", english.replace("%", "%%"))
        self._plain = None if self._places else Message(english, template_id, MappingProxyType({}))

    def __call__(self, **values: Value) -> Message:
        """The message with these values, one for each place."""
        if self._plain is not None and not values:
            return self._plain
        shown = [v if isinstance(v := values[p], str) else to_english(v) for p in self._places]
        return Message(self._english % tuple(shown), self.id, values)


LABELLED_TEXT: Final = Template("text.of", "{name}: {text}")
LISTED: Final = Template("text.list", "{parts}")
SENTENCE: Final = Template("text.sentence", "{text}.")


def join(parts: Iterable[Value], separator: str = "; ") -> Message:
    """Several texts as one; a message alone is itself.

    >>> join(["one", "two"])
    'one; two'
    """
    found = tuple(parts)
    if len(found) == 1 and isinstance(found[0], Message):
        return found[0]
    return LISTED(parts=MessageList(found, separator))


def list_parts(text: str) -> tuple[Value, ...]:
    """The texts that `join` made one of; one that stands alone is itself.

    >>> list_parts(join(["one", "two"])), list_parts("one; two")
    (('one', 'two'), ('one; two',))
    """
    parts = text.values["parts"] if isinstance(text, Message) and text.id == LISTED.id else None
    return parts.items if isinstance(parts, MessageList) else (text,)


# ---- what is stored --------------------------------------------------------------------------------------------
def _value_to_json(value: Value) -> Any:
    return value.to_json() if isinstance(value, Message | Typed) else value


def values_to_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Values of a message as plain data, in the order of their names."""
    return {name: _value_to_json(values[name]) for name in sorted(values)}


_KINDS: Final[tuple[tuple[str, Callable[[Mapping[str, Any]], Value]], ...]] = (
    ("figure", lambda v: Figure(v["figure"], v["form"], v.get("unit", ""))),
    ("at_s", lambda v: Timestamp(v["at_s"], v["form"])),
    ("seconds", lambda v: Duration(v["seconds"], v["form"])),
    ("term", lambda v: Term(v["term"])),
    ("names", lambda v: NameList(tuple(v["names"]), v["more"], v["conjunction"])),
    ("items", lambda v: MessageList(tuple(_read_value(i) for i in v["items"]), v["separator"])),
    ("id", lambda v: read_message(v["text"], v["id"], v["values"])),
)


def _read_value(value: Any) -> Value:
    if not isinstance(value, dict):
        return value  # type: ignore[no-any-return]
    return next(read(value) for key, read in _KINDS if key in value)


def read_message(text: str, template_id: str | None, values: Mapping[str, Any] | None) -> str:
    """A message back from what is stored; plain text where it has no id: a person wrote it.

    >>> sent = Template("example.back", "{text}: {rate}")(text=LISTED(parts=MessageList(("a",))), rate=Figure(1.5))
    >>> back = read_message(str(sent), sent.id, values_to_json(sent.values))
    >>> back == sent, back.values == sent.values
    (True, True)
    """
    if template_id is None:
        return text
    return Message(text, template_id, {name: _read_value(value) for name, value in (values or {}).items()})


def messages_to_plain(value: Any) -> Any:
    """Plain data with each message `k` as three neighbours: its text, `k_id` and `k_values`.

    >>> messages_to_plain({"reason": Template("example.plain", "{n} left")(n=3), "level": 1, "by": "Eva"})
    {'reason': '3 left', 'reason_id': 'example.plain', 'reason_values': {'n': 3}, 'level': 1, 'by': 'Eva'}
    """
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, one in value.items():
            if isinstance(one, Message):
                found |= message_columns(key, one)
            else:
                found[key] = one if type(one) in _FLAT else messages_to_plain(one)
        return found
    if isinstance(value, list | tuple):
        return value if _FLAT.issuperset(map(type, value)) else [messages_to_plain(one) for one in value]
    return value.to_json() if isinstance(value, Message) else value


def error_text(error: BaseException) -> str:
    """What an error says, as it was given: `str` of it would lose id and values of a message.

    >>> error_text(ValueError(join(["one", "two"]))).id, error_text(OSError(2, "gone"))
    ('text.list', '[Errno 2] gone')
    """
    argument = error.args[0] if error.args else None
    return argument if isinstance(argument, Message) else str(error)


def message_columns(name: str, text: str | None) -> dict[str, Any]:
    """A text as the three columns of an update, also one that a person wrote.

    >>> message_columns("reason", "by hand")
    {'reason': 'by hand', 'reason_id': None, 'reason_values': None}
    """
    message = text if isinstance(text, Message) else None
    return {
        name: None if text is None else str(text),
        f"{name}{_ID}": None if message is None else message.id,
        f"{name}{_VALUES}": None if message is None else values_to_json(message.values),
    }


def read_columns(row: Any, name: str) -> Any:
    """A text from its three columns in a row, as a message where it is one; None where it is empty."""
    return read_message(getattr(row, name), getattr(row, f"{name}{_ID}"), getattr(row, f"{name}{_VALUES}"))


_FLAT: Final = frozenset({str, int, float, bool, type(None)})


@lru_cache(maxsize=1024)
def _find_messages(names: tuple[Any, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """Which of these names are of messages, and which stand beside them: rows of a view have the same ones."""
    ends = (name[: -len(_VALUES)] for name in names if isinstance(name, str) and name.endswith(_VALUES))
    messages = frozenset(name for name in ends if name in names and f"{name}{_ID}" in names)
    return messages, frozenset(f"{name}{end}" for name in messages for end in (_ID, _VALUES))


def plain_to_messages(value: Any) -> Any:
    """What `messages_to_plain` wrote, with its messages.

    >>> row = {"reason": "3 left", "reason_id": "example.plain", "reason_values": {"n": 3}}
    >>> plain_to_messages(row)["reason"].values
    {'n': 3}
    """
    if type(value) is dict or isinstance(value, Mapping):
        if value.keys() == {"text", "id", "values"}:
            return read_message(value["text"], value["id"], value["values"])
        messages, neighbours = _find_messages(tuple(value))
        found = {}
        for key, one in value.items():
            if key in messages:
                stored = value[f"{key}{_VALUES}"]  # JSON, which a view holds as text
                values = json.loads(stored) if isinstance(stored, str) else stored
                found[key] = None if one is None else read_message(one, value[f"{key}{_ID}"], values)
            elif key not in neighbours:
                found[key] = one if type(one) in _FLAT else plain_to_messages(one)
        return found
    if isinstance(value, list) and not _FLAT.issuperset(map(type, value)):
        return [plain_to_messages(one) for one in value]
    return value


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts say the same: by id and values where both have them, else by their letters."""
    if isinstance(one, Message) and isinstance(other, Message):
        return one.id == other.id and values_to_json(one.values) == values_to_json(other.values)
    return one == other


# ---- durations -------------------------------------------------------------------------------------------------
def format_about(seconds: float) -> str:
    """How long something takes or took, as people say it: two units at most, never nothing for something.

    >>> format_about(0.4), format_about(22), format_about(3700), format_about(93600), format_about(864000)
    ('less than 1 s', '22 s', '1 h 2 min', '1 d 2 h', '10 d')
    >>> format_about(59.7), format_about(3599.0)
    ('1 min', '1 h')
    """
    whole = round(seconds)
    minutes, hours = round(whole / 60), round(whole / 3600)
    if whole < 60:
        return f"{whole} s" if whole >= 1 else "less than 1 s"
    if minutes < 60:
        return f"{minutes} min"
    if hours >= 240:
        return f"{round(whole / 86400)} d"
    in_days = minutes >= 24 * 60
    (big, small), units = (divmod(hours, 24), ("d", "h")) if in_days else (divmod(minutes, 60), ("h", "min"))
    return f"{big} {units[0]}" + (f" {small} {units[1]}" if small else "")


@lru_cache(maxsize=256)  # Every evaluation formats the same few windows.
def format_duration(seconds: float) -> str:
    """Return a duration in its largest whole unit. A measured duration is rounded to what a reader can use.

    >>> format_duration(900), format_duration(604800), format_duration(90), format_duration(0.5)
    ('15m', '7d', '90s', '0.5s')
    >>> format_duration(4.02300000190735), format_duration(599.98)
    ('4.02s', '10m')
    """
    if seconds >= 100.0:
        seconds = float(round(seconds))
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds >= 100.0 else f"{seconds:.3g}s"


def format_span(seconds: float) -> str:
    """Return the length of a window as the sentences on movement contain it.

    >>> format_span(115200.0), format_span(604800.0), format_span(90.0)
    ('32 h', '7 d', '2 min')
    """
    if seconds < 360.0:
        return format_about(seconds)
    return f"{seconds / 86400:.3g} d" if seconds >= 172800 else f"{seconds / 3600:.3g} h"
