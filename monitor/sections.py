"""Base of configuration files: frozen sections, types of values such as durations, and error messages."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails

from monitor.errors import ConfigError
from monitor.text.catalogue import read_language
from monitor.text.instants import parse_duration_s
from monitor.text.local_time import read_zone

_Record = TypeVar("_Record")
# Size of the largest configuration file. A device has no end, and a file of readings may be huge.
MAX_FILE_BYTES: Final = 16 << 20
# A dotted key with many parts. The time that tomllib needs grows with the square of their number: minutes for 40 KB.
_LONG_KEY: Final = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""", re.ASCII)


def _read_duration(value: Any) -> float:
    if isinstance(value, str):
        return _positive(parse_duration_s(value))
    raise ValueError(f"expected a duration such as '15m', '6h' or '7d', got {value!r}")


def _read_horizon(value: Any) -> float:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _positive(parse_duration_s(value))
    raise ValueError(f"expected a horizon such as '7d' (a bare number means days), got {value!r}")


def _read_retention(value: Any) -> float | None:
    return None if value == "forever" else _read_duration(value)


def _read_or_never(value: Any) -> float | None:
    return None if value == "never" else _read_duration(value)


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("expected a duration longer than 0")
    return seconds


def split_names(value: Any) -> Any:
    """Split a text at its commas, as an environment variable contains a list. Return any other value unchanged."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
Zone = Annotated[str, BeforeValidator(lambda value: read_zone(str(value)))]
Language = Annotated[str, BeforeValidator(lambda value: read_language(str(value)))]
Duration = Annotated[float, BeforeValidator(_read_duration)]
Horizon = Annotated[float, BeforeValidator(_read_horizon)]
Retention = Annotated[float | None, BeforeValidator(_read_retention)]
NeverOrDuration = Annotated[float | None, BeforeValidator(_read_or_never)]


class Section(BaseModel):
    """A table of a configuration file. It is frozen, and an unknown key is rejected with the nearest valid one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    # Keys that earlier versions had, with what to do instead. An error message names the remedy.
    REMOVED_KEYS: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_unknown_keys(cls, value: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        valid_keys = cls.written_keys()
        table = value if isinstance(value, Mapping) else {}
        unknown = [str(key) for key in table if key not in valid_keys]
        if not unknown:
            section = read(value)
            for name, field in cls.model_fields.items():
                key = field.alias or name
                # pydantic reads true as 1.
                if isinstance(table.get(key), bool) and type(getattr(section, name)) in {int, float}:
                    raise ValueError(f"{key}: expected a number, got {str(table[key]).lower()}")
            return section
        faults = [
            InitErrorDetails(
                type="value_error", loc=(), input=key, ctx={"error": ValueError(cls.describe_unknown_key(key))}
            )
            for key in unknown
        ]
        # The error also contains all other faults of the table.
        try:
            read({key: item for key, item in table.items() if key in valid_keys})
        except ValidationError as error:
            faults += [
                InitErrorDetails(type=item["type"], loc=item["loc"], input=item["input"], ctx=item.get("ctx", {}))
                for item in error.errors(include_url=False)
            ]
        raise ValidationError.from_exception_data(cls.__name__, faults)

    @classmethod
    def describe_unknown_key(cls, key: str) -> str:
        """Return the remedy for a key that was removed, or the nearest key of this table."""
        if key in cls.REMOVED_KEYS:
            return f"key {key!r} was removed: {cls.REMOVED_KEYS[key]}"
        return describe_unknown(key, cls.written_keys())

    @classmethod
    def written_keys(cls) -> list[str]:
        """Return the keys as they are written in the file."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class Key:
    """A key of a table, declared at the field of the record that is read from it: `Annotated[float, Key("...")]`.

    A field in seconds (`every_s`) is written as a duration (`every`).

    Args:
        meaning: Description of the key for the documentation.
        written_type: Type of the value in the file, if it is not the type of the field.
        default: Default of the value in the file, if it is not the default of the field.
        **options: Options of the pydantic field, such as bounds.
    """

    def __init__(self, meaning: str, written_type: Any = None, default: Any = MISSING, **options: Any) -> None:
        self.meaning = meaning
        self.written_type = written_type
        self.default = default
        self.options = options


def derive_table(record: type, removed_keys: Mapping[str, str] | None = None, /, **other: Any) -> Any:
    """Return the table of a file that a record is read from.

    Args:
        record: Record whose fields with a `Key` become keys of the table.
        removed_keys: `REMOVED_KEYS` of the table.
        **other: Further keys, as arguments of `pydantic.create_model`.
    """
    keys: dict[str, Any] = {}
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):
        plain, *metadata = get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else (None,)
        key = next((entry for entry in metadata if isinstance(entry, Key)), None)
        if key is None:
            continue
        name = field.name.removesuffix("_s")
        written_type = key.written_type or plain
        if name != field.name and key.written_type is None:
            written_type = Duration if plain is float else Duration | None
        default = field.default if key.default is MISSING else key.default
        rules = Field(description=key.meaning, **{"alias": name} | key.options)
        # The rules come first, so that a bound of the type, such as a pattern, is checked before validators.
        metadata = [entry for entry in metadata if entry is not key]
        keys[field.name] = (Annotated[written_type, rules, *metadata], ... if default is MISSING else default)
    table = create_model(f"{record.__name__}Table", __base__=Section, __doc__=record.__doc__, **keys, **other)
    table.REMOVED_KEYS = removed_keys or {}
    return table


def make_record(record: type[_Record], table: BaseModel, **more: Any) -> _Record:
    """Build a record from the values of a table with the same names, and from further values."""
    keys = type(table).model_fields
    names = [field.name for field in fields(record) if field.name in keys and field.name not in more]  # type: ignore[arg-type]
    return record(**{name: getattr(table, name) for name in names}, **more)


class Faults:
    """Collects the faults of a file, so that a person can correct them all at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Collect the faults of a ConfigError that the block raises, and continue after the block."""
        try:
            yield
        except ConfigError as error:
            self.lines += error.faults

    def read_each(self, read: Callable[[Any, str], _Record], rows: Iterable[Any], where: str) -> tuple[_Record, ...]:
        """Read rows, and leave out those with faults. A row is named `where[index]` in messages."""
        records = []
        for index, row in enumerate(rows):
            with self.gathered():
                records.append(read(row, f"{where}[{index}]"))
        return tuple(records)

    def raise_any(self) -> None:
        """Raise a ConfigError with the collected faults, if there are any."""
        if self.lines:
            raise join_faults(self.lines)


def join_faults(lines: Sequence[str]) -> ConfigError:
    """Return one error for several faults. Its text contains the first three."""
    more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
    return ConfigError("; ".join(lines[:3]) + more, tuple(lines))


def describe_unknown(key: str, valid_keys: Iterable[str]) -> str:
    """Return a text that names an unknown key, the nearest valid one, and all valid ones.

    >>> describe_unknown("prot", ["host", "port"])
    "unknown key 'prot'; did you mean 'port'? expected one of: host, port"
    """
    names = list(valid_keys)
    nearest = difflib.get_close_matches(key, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
    return f"unknown key {key!r}{hint} expected one of: {', '.join(names)}"


def read_toml(text: str, name: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: The text is not TOML. One line names the file, the line and the column.
    """
    if _LONG_KEY.search(text):
        raise ConfigError(f"{name}: not valid TOML: a dotted key of more than 32 parts")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also for a number with more digits than Python reads
        raise ConfigError(f"{name}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: not valid TOML: nested too deeply") from None


def read_text(path: Path) -> str:
    """Return the text of a configuration file.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not UTF-8 text.
    """
    # Opening a pipe in a folder of site files would wait forever. A pipe of a shell is named /dev/fd/N, and is read.
    if path.suffix == ".toml" and (path.is_fifo() or path.is_char_device()):
        raise ConfigError(f"{path}: cannot be read: it is a pipe or a device, not a file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; expected a configuration file")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None


def explain(error: ValidationError, name: str, prefix: str = "", names: Mapping[str, str] | None = None) -> ConfigError:
    """Return a ConfigError for a validation error. Each fault is one line: file, key, and what was expected.

    Args:
        error: The error of pydantic.
        name: Name of the file.
        prefix: Place of the validated table in the file, such as `criterion[0]`.
        names: Source of keys that are not from the file, such as an environment variable.
    """
    lines = []
    items = error.errors(include_url=False)
    for item in items:
        # pydantic counts only valid entries of a list. Each invalid entry has a fault of its own.
        if item["type"] == "too_short" and any(_is_within(other["loc"], item["loc"]) for other in items):
            continue
        key = prefix
        for part in item["loc"]:
            if isinstance(part, int):
                key += f"[{part}]"
            else:
                key += f".{part}" if key else part
        message = _format_fault(item)
        if item["type"] not in {"missing", "value_error"} and isinstance(item["input"], str | int | float):
            message += f", got {item['input']!r}"
        source = (names or {}).get(key, name)
        lines.append(f"{source}: {key}: {message}" if key else f"{source}: {message}")
    return join_faults(lines)


def _format_fault(item: ErrorDetails) -> str:
    if item["type"] == "missing":
        return "this key is required"
    if item["type"] in {"model_type", "dict_type"}:
        return "expected a table"
    if item["type"] == "too_short":
        return f"expected {item['ctx']['min_length']} entries or more, got {item['ctx']['actual_length']}"
    if item["type"] == "tuple_type":
        if not isinstance(item["input"], Mapping):
            return "expected a list"
        heading = ".".join(part for part in item["loc"] if isinstance(part, str))
        return f"expected a list of tables, each below [[{heading}]]"
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return message.replace("String should match pattern", "expected text that matches")


def _is_within(location: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(location) > len(outer) and location[: len(outer)] == outer


def find_tables(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the tables of a file with their headings (`[a]`, `[[a.b]]`). Nested tables follow the table around them."""
    for name, field in model.model_fields.items():
        table = find_table(field.annotation)
        if table is None:
            continue
        path = f"{prefix}{field.alias or name}"
        yield f"[[{path}]]" if get_origin(field.annotation) is tuple else f"[{path}]", table
        yield from find_tables(table, f"{path}.")


def find_table(annotation: Any) -> type[BaseModel] | None:
    """Return the table in the annotation of a key, such as `Table`, `Table | None` or `tuple[Table, ...]`, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        table = find_table(argument)
        if table is not None:
            return table
    return None
