"""The part of `slopeward ingest` that chooses the reader of files; its options are checked before a file is touched."""

from collections.abc import Container, Mapping
from pathlib import Path

import typer

from monitor.cli.session import print_note
from monitor.ingest.files.reader import DIRECTIONS, NAME_LIMIT, UNITS, Content
from monitor.ingest.files.readers import LONG, WIDE, list_readers
from monitor.ingest.recognise import choose_reader


def choose_for(file: Path, form: str | None, given: Mapping[str, object]) -> str:
    """The reader of one file: as said, by a mapping, or as its content says.

    Raises:
        ConfigError: nobody says it, and no reader takes what it holds as it stands.
        typer.BadParameter: an option belongs to another form.
    """
    if form is None and given["--mapping"] is None and str(file) != "-":
        form = choose_reader(file, {option for option, value in given.items() if value is not None})
        if form != LONG:
            print_note(f"{file}: read as --format {form}: {list_readers()[form].help}")
    return choose_form(form, given)


def list_suffixes(form: str | None, given: Mapping[str, object]) -> tuple[str, ...]:
    """Which files of a folder are read: those of one reader, or of any where each file says for itself what it is."""
    if form is not None or given["--mapping"] is not None:
        return list_readers()[choose_form(form, given)].suffixes
    return tuple(dict.fromkeys(suffix for reader in list_readers().values() for suffix in reader.suffixes))


def choose_form(form: str | None, given: Mapping[str, object]) -> str:
    """The reader's name; None is the neutral long form, and a mapping makes a wide table of it.

    `form`: what `--format` says; `given`: option of files -> its value, None where it was not given.

    Raises:
        typer.BadParameter: the form or an option is unknown, missing, or belongs to another form.
    """
    if form is not None and form not in list_readers():
        raise typer.BadParameter(f"--format: expected one of {', '.join(list_readers())}, got {form!r}")
    name = form or LONG
    if name == LONG and given["--mapping"] is not None:
        name = WIDE
    _check_options(name, given)
    for option in ("--window", "--within"):
        metres = given[option]
        if metres is not None and not (isinstance(metres, float) and 0 < metres < float("inf")):
            raise typer.BadParameter(f"{option}: expected metres, more than 0, got {metres!r}")
    _check_choice("--time", given, "gpst or utc", ("gpst", "utc"))
    _check_choice("--stamp", given, "interval_end or counter", ("interval_end", "counter"))
    _check_choice("--direction", given, f"one of {', '.join(DIRECTIONS)}", DIRECTIONS)
    label = given["--set"]
    if label is not None and not (isinstance(label, str) and 0 < len(label) <= NAME_LIMIT and label.isprintable()):
        raise typer.BadParameter(f"--set: expected a name of at most {NAME_LIMIT} characters")
    if list_readers()[name].content is Content.POINTS:
        _check_choice("--unit", given, f"one of {', '.join(UNITS)}", UNITS)
    return name


def _check_options(name: str, given: Mapping[str, object]) -> None:
    reader = list_readers()[name]
    for option, value in given.items():
        if value is None and option in reader.needs:
            why = "" if option == "--mapping" else ": unit and sign are declared, never guessed"
            raise typer.BadParameter(f"--format {name} needs {option}{why}")
        if value is not None and option not in (*reader.needs, *reader.takes):
            others = " or ".join(n for n, r in list_readers().items() if option in (*r.needs, *r.takes))
            raise typer.BadParameter(f"{option} belongs to --format {others}, not to {name}: {reader.help}")


def _check_choice(option: str, given: Mapping[str, object], expected: str, choices: Container[object]) -> None:
    value = given[option]
    if value is not None and value not in choices:
        raise typer.BadParameter(f"{option}: expected {expected}, got {value!r}")
