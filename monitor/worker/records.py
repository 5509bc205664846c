"""Convert requests and results of workers to plain values and back. Both are frozen dataclasses.

A result is read field by field and rejected at the first value that does not fit. Pydantic is not used because it
collects all errors: a manipulated result of 4 MB became 860 MB of errors in the core.
"""

import functools
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from detection.reasons import Reason as DetectionReason
from detection.reasons import reasons_from_json as read_detection_reason
from forecasting.reasons import Reason as ForecastingReason
from forecasting.reasons import reason_from_json as read_forecasting_reason
from monitor.text.message import Figure, Message, MessageList, Value, read_message, to_english
from monitor.text.reasons import SupportsReason, convert_reason

Request = TypeVar("Request")
Result = TypeVar("Result")
Record = TypeVar("Record")
Reader = Callable[[Any], Any]
DescribeReason = Callable[[SupportsReason], str]
MAX_KEY_LENGTH: Final = 60  # of an unknown key in an error message
# Class of reasons of each library: function that reads one.
REASON_READERS: Final[Mapping[type, Callable[[Any], SupportsReason]]] = {
    DetectionReason: read_detection_reason,
    ForecastingReason: read_forecasting_reason,
}
# Formats of numbers that a message of a worker may use. A format such as "9999999.2f" would fill the memory.
FIGURE_FORMAT: Final = re.compile(r"[+]?,?(\.\d{1,2})?[defg%]?")


@dataclass(frozen=True, slots=True)
class WorkerTask(Generic[Request, Result]):
    """A function that runs in a worker, with the types of its request and its result.

    Attributes:
        function: `"module:function"`, as a name because only the worker process imports the module.
        request_type: Frozen dataclass. It is pickled and may contain arrays.
        result_type: Frozen dataclass of numbers, texts, tuples, dicts and other such dataclasses.
        describe_reason: Return the message for a reason of the result. A result with a reason that it cannot describe
            is rejected.
    """

    function: str
    request_type: type[Request]
    result_type: type[Result]
    describe_reason: DescribeReason = convert_reason

    @property
    def title(self) -> str:
        """The name of the function in words, for messages.

        >>> WorkerTask("monitor.features.forecasts.worker:train_forecaster", dict, dict).title
        'train forecaster'
        """
        return self.function.partition(":")[2].replace("_", " ")


class RecordError(ValueError):
    """A value does not fit its record.

    Attributes:
        problem: What is wrong, without the path.
        path: Path to the value, such as `.values[1]`. Each enclosing reader prepends its part.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = ""

    def prepend_path(self, part: str) -> "RecordError":
        """Prepend a part to the path and return this error."""
        self.path = f"{part}{self.path}"
        return self

    def __str__(self) -> str:
        return f"{self.path.lstrip('.') or 'the answer'}: {self.problem}"


def plain_to_record(record_type: type[Record], plain: Any, describe_reason: DescribeReason = convert_reason) -> Record:
    """Build a record from plain values: no unknown or missing keys, and every value has the declared type.

    Args:
        record_type: Dataclass or typed dictionary.
        plain: Value as `json.loads` returns it.
        describe_reason: Must return a message for every reason in the record.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Row:
    ...     station: str
    ...     values: tuple[float, ...] = ()
    >>> plain_to_record(Row, {"station": "G1", "values": [1, 2.5]})
    Row(station='G1', values=(1.0, 2.5))
    >>> plain_to_record(Row, {"station": "G1", "values": [1, "2"]})
    Traceback (most recent call last):
    monitor.worker.records.RecordError: values[1]: expected a number, got str

    Raises:
        RecordError: Names the first value that does not fit.
    """
    record: Record = _make_reader(record_type, describe_reason)(plain)  # type: ignore[arg-type]  # mypy: not hashable
    return record


def record_to_plain(value: Any) -> Any:
    """Convert a record or an instant to plain values, one level deep, as `default` of `json.dumps`.

    A message keeps its id and values as a field of a record, in a list or tuple of texts, and as a value of a mapping.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _messages_to_plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} is no plain data")


def _messages_to_plain(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_json()
    if isinstance(value, list | tuple) and value and isinstance(value[0], str | tuple):
        return [_messages_to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: item.to_json() if isinstance(item, Message) else item for key, item in value.items()}
    return value


@functools.cache
def _make_reader(value_type: Any, describe_reason: DescribeReason) -> Reader:
    origin = get_origin(value_type)
    parameters = get_args(value_type)
    if value_type is Any:
        return lambda value: value
    if origin in {Union, types.UnionType}:
        alternatives = [parameter for parameter in parameters if parameter is not types.NoneType]
        return _make_union_reader(alternatives, describe_reason, is_optional=types.NoneType in parameters)
    if value_type in REASON_READERS:
        return functools.partial(_read_reason, value_type, describe_reason)
    if origin is tuple and parameters[-1] is not Ellipsis:
        return _make_fixed_tuple_reader(tuple(_make_reader(parameter, describe_reason) for parameter in parameters))
    if origin in {tuple, list, Sequence}:
        return _make_list_reader(_make_reader(parameters[0], describe_reason), list if origin is list else tuple)
    if origin in {dict, Mapping}:
        return _make_dict_reader(_make_reader(parameters[1], describe_reason))
    if is_dataclass(value_type) or is_typeddict(value_type):
        return _make_record_reader(value_type, describe_reason)
    if value_type is datetime:
        return _read_instant
    if origin is Literal:
        return functools.partial(_read_choice, parameters)
    return read_text if value_type is str else _make_plain_reader(value_type)


def _make_union_reader(alternatives: Sequence[Any], describe_reason: DescribeReason, *, is_optional: bool) -> Reader:
    """Return a reader for a single type, or for a text or a reason; with `is_optional` also for None."""
    reason_types = [alternative for alternative in alternatives if alternative in REASON_READERS]
    others = [alternative for alternative in alternatives if alternative not in REASON_READERS]
    if len(alternatives) > 1 and (len(reason_types), others) != (1, [str]):
        raise TypeError(f"a record cannot hold a value of several kinds: {alternatives}")
    read_other = _make_reader((others or reason_types)[0], describe_reason)
    read_reason = _make_reader(reason_types[0], describe_reason) if reason_types else read_other

    def read(value: Any) -> Any:
        if is_optional and value is None:
            return None
        # A reason is an object with a code, a message is an object with an id.
        is_reason = isinstance(value, dict) and "code" in value
        return (read_reason if is_reason else read_other)(value)

    return read


def _read_reason(reason_type: type, describe_reason: DescribeReason, value: Any) -> SupportsReason:
    """Read a reason of a library. It is rejected if it cannot be described."""
    try:
        if value.keys() != {"code", "values"}:
            raise RecordError("expected a reason")
        reason = REASON_READERS[reason_type](value)
        describe_reason(reason)
    except Exception:  # untrusted values can cause any error
        raise RecordError("expected a reason") from None
    return reason


def _read_choice(choices: tuple[Any, ...], value: Any) -> Any:
    if value not in choices:
        raise RecordError(f"expected one of {', '.join(map(str, choices))}")
    return value


def _make_plain_reader(value_type: type) -> Reader:
    names = {float: "a number", int: "a whole number", bool: "true or false", dict: "an object"}
    name = names[value_type]

    def read(value: Any) -> Any:
        if type(value) is value_type:
            return value
        if value_type is float and type(value) is int:
            return float(value)
        raise RecordError(f"expected {name}, got {type(value).__name__}")

    return read


def read_text(value: Any) -> str:
    """Read a text, or a message that can be formatted.

    Raises:
        RecordError: The value is neither.
    """
    if type(value) is str:
        return value
    if not isinstance(value, dict):
        raise RecordError(f"expected a text, got {type(value).__name__}")
    try:
        text = value["text"]
        template_id = value["id"]
        values = value["values"]
        if type(text) is not str or type(template_id) is not str or len(value) != len(("text", "id", "values")):
            raise RecordError("expected a text")
        message = read_message(text, template_id, values)
        _check_message_value(message)
    except Exception:  # untrusted values can cause any error
        raise RecordError("expected a text or a message") from None
    return message


def _check_message_value(value: Value) -> None:
    """Format a message and all its values once, so that none fails or fills the memory when a person reads it."""
    if isinstance(value, Figure) and FIGURE_FORMAT.fullmatch(value.form) is None:
        raise RecordError("expected a supported number format")
    if isinstance(value, Message):
        parts: tuple[Value, ...] = tuple(value.values.values())
    elif isinstance(value, MessageList):
        parts = value.items
    else:
        parts = ()
    for part in parts:
        _check_message_value(part)
    to_english(value)


def _read_instant(value: Any) -> datetime:
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise RecordError("expected an instant") from None
    if instant.tzinfo is None:
        raise RecordError("expected an instant with its offset from UTC")
    return instant


def _make_list_reader(read_item: Reader, make_sequence: Callable[[list[Any]], Any]) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise RecordError(f"expected a list, got {type(value).__name__}")
        items: list[Any] = []
        try:
            for item in value:
                items.append(read_item(item))  # noqa: PERF401 - after an error, the length is the index of the bad item
        except RecordError as error:
            raise error.prepend_path(f"[{len(items)}]") from None
        return make_sequence(items)

    return read


def _make_fixed_tuple_reader(readers: tuple[Reader, ...]) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(readers):
            raise RecordError(f"expected a list of {len(readers)}")
        items: list[Any] = []
        try:
            for read_item, item in zip(readers, value, strict=True):
                items.append(read_item(item))
        except RecordError as error:
            # The number of items that could be read is the index of the bad one.
            raise error.prepend_path(f"[{len(items)}]") from None
        return tuple(items)

    return read


def _make_dict_reader(read_item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise RecordError(f"expected an object, got {type(value).__name__}")
        items = {}
        for key, item in value.items():
            try:
                items[key] = read_item(item)
            except RecordError as error:
                raise error.prepend_path(f"[{_quote_key(key)}]") from None
        return items

    return read


def _make_record_reader(record_type: Any, describe_reason: DescribeReason) -> Reader:
    hints = get_type_hints(record_type)
    if is_typeddict(record_type):
        readers = {name: _make_reader(hint, describe_reason) for name, hint in hints.items()}
        required = sorted(record_type.__required_keys__)
    else:
        readers = {field.name: _make_reader(hints[field.name], describe_reason) for field in fields(record_type)}
        required = [
            field.name for field in fields(record_type) if field.default is MISSING and field.default_factory is MISSING
        ]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise RecordError(f"expected an object, got {type(value).__name__}")
        for name in required:
            if name not in value:
                raise RecordError("is missing").prepend_path(f".{name}")
        arguments = {}
        for key, item in value.items():
            if key not in readers:
                raise RecordError(f"unknown key {_quote_key(key)}")
            try:
                arguments[key] = readers[key](item)
            except RecordError as error:
                raise error.prepend_path(f".{key}") from None
        return record_type(**arguments)

    return read


def _quote_key(key: str) -> str:
    """Return a key in quotes, shortened to `MAX_KEY_LENGTH`.

    >>> _quote_key("b" * 100) == repr("b" * 60)
    True
    """
    return repr(key[:MAX_KEY_LENGTH])
