"""Choose the reader of files for `slopeward ingest`, and check the options before a file is read.

In this module, `options` maps the options about files to their values. The value of an option that was not given is
None.
"""

from collections.abc import Container, Mapping
from pathlib import Path

import typer

from monitor.cli.session import print_note
from monitor.ingest.files.reader import DIRECTIONS, NAME_LIMIT, UNITS, Content
from monitor.ingest.files.readers import LONG, WIDE, list_readers
from monitor.ingest.recognise import choose_reader


def choose_file_reader(file: Path, format_name: str | None, options: Mapping[str, object]) -> str:
    """Return the name of the reader of a file: as `--format` or a mapping states, or by the content of the file.

    Raises:
        ConfigError: Neither is given, and no reader recognises the content.
        typer.BadParameter: An option belongs to another reader.
    """
    if format_name is None and options["--mapping"] is None and str(file) != "-":
        format_name = choose_reader(file, {option for option, value in options.items() if value is not None})
        if format_name != LONG:
            print_note(f"{file}: read as --format {format_name}: {list_readers()[format_name].help}")
    return choose_stated_reader(format_name, options)


def list_suffixes(format_name: str | None, options: Mapping[str, object]) -> tuple[str, ...]:
    """Return the suffixes of the files of a folder to read: those of the stated reader, or those of all readers."""
    if format_name is not None or options["--mapping"] is not None:
        return list_readers()[choose_stated_reader(format_name, options)].suffixes
    return tuple(dict.fromkeys(suffix for reader in list_readers().values() for suffix in reader.suffixes))


def choose_stated_reader(format_name: str | None, options: Mapping[str, object]) -> str:
    """Return the name of the reader without looking at a file, and check the options.

    Without `--format` it is the reader of long tables, or that of wide tables if a mapping is given.

    Raises:
        typer.BadParameter: The format is unknown, or an option is missing, invalid, or belongs to another reader.
    """
    if format_name is not None and format_name not in list_readers():
        raise typer.BadParameter(f"--format: expected one of {', '.join(list_readers())}, got {format_name!r}")
    name = format_name or LONG
    if name == LONG and options["--mapping"] is not None:
        name = WIDE
    _check_options(name, options)
    for option in ("--window", "--within"):
        distance_m = options[option]
        if distance_m is not None and not (isinstance(distance_m, float) and 0 < distance_m < float("inf")):
            raise typer.BadParameter(f"{option}: expected a distance in metres above 0, got {distance_m!r}")
    _check_choice("--time", options, "gpst or utc", ("gpst", "utc"))
    _check_choice("--stamp", options, "interval_end or counter", ("interval_end", "counter"))
    _check_choice("--direction", options, f"one of {', '.join(DIRECTIONS)}", DIRECTIONS)
    label = options["--set"]
    if label is not None and not (isinstance(label, str) and 0 < len(label) <= NAME_LIMIT and label.isprintable()):
        raise typer.BadParameter(f"--set: expected a name of at most {NAME_LIMIT} characters")
    if list_readers()[name].content is Content.POINTS:
        _check_choice("--unit", options, f"one of {', '.join(UNITS)}", UNITS)
    return name


def _check_options(name: str, options: Mapping[str, object]) -> None:
    reader = list_readers()[name]
    for option, value in options.items():
        if value is None and option in reader.needs:
            reason = "" if option == "--mapping" else ", because unit and sign are never guessed"
            raise typer.BadParameter(f"--format {name} needs {option}{reason}")
        if value is not None and option not in (*reader.needs, *reader.takes):
            others = " or ".join(
                other_name for other_name, other in list_readers().items() if option in (*other.needs, *other.takes)
            )
            raise typer.BadParameter(f"{option} belongs to --format {others}, not to {name}: {reader.help}")


def _check_choice(option: str, options: Mapping[str, object], expected: str, choices: Container[object]) -> None:
    value = options[option]
    if value is not None and value not in choices:
        raise typer.BadParameter(f"{option}: expected {expected}, got {value!r}")
