"""The part of `slopeward ingest` that chooses the reader of files; its options are checked before a file is touched."""

from collections.abc import Mapping
from pathlib import Path

import typer

from monitor.cli.session import print_note
from monitor.ingest.files.reader import DIRECTIONS, NAME_LIMIT, UNITS, Content
from monitor.ingest.files.readers import LONG, READERS, WIDE
from monitor.ingest.guess.recognise import choose_reader


def choose_for(file: Path, form: str | None, given: Mapping[str, object]) -> str:
    """The reader of one file: as said, by a mapping, or as its content says.

    Raises:
        ConfigError: nobody says it, and no reader takes what it holds as it stands.
        typer.BadParameter: an option belongs to another form.
    """
    if form is None and given["--mapping"] is None and str(file) != "-":
        form = choose_reader(file, {option for option, value in given.items() if value is not None})
        if form != LONG:
            print_note(f"{file}: read as --format {form}: {READERS[form].help}")
    return choose_form(form, given)


def list_suffixes(form: str | None, given: Mapping[str, object]) -> tuple[str, ...]:
    """Which files of a folder are read: those of one reader, or of any where each file says for itself what it is."""
    if form is not None or given["--mapping"] is not None:
        return READERS[choose_form(form, given)].suffixes
    return tuple(dict.fromkeys(suffix for reader in READERS.values() for suffix in reader.suffixes))


def choose_form(form: str | None, given: Mapping[str, object]) -> str:
    """The reader's name; None is the neutral long form, and a mapping makes a wide table of it.

    Args:
        form: what `--format` says.
        given: option of files -> its value, None where it was not given.

    Raises:
        typer.BadParameter: the form or an option is unknown, missing, or belongs to another form.
    """
    if form is not None and form not in READERS:
        raise typer.BadParameter(f"--format: expected one of {', '.join(READERS)}, got {form!r}")
    name = form or LONG
    if name == LONG and given["--mapping"] is not None:
        name = WIDE
    reader = READERS[name]
    for option, value in given.items():
        if value is None and option in reader.needs:
            why = "" if option == "--mapping" else ": unit and sign are declared, never guessed"
            raise typer.BadParameter(f"--format {name} needs {option}{why}")
        if value is not None and option not in (*reader.needs, *reader.takes):
            others = " or ".join(n for n, r in READERS.items() if option in (*r.needs, *r.takes))
            raise typer.BadParameter(f"{option} belongs to --format {others}, not to {name}: {reader.help}")
    for option in ("--window", "--within"):
        metres = given[option]
        if metres is not None and not (isinstance(metres, float) and 0 < metres < float("inf")):
            raise typer.BadParameter(f"{option}: expected metres, more than 0, got {metres!r}")
    if given["--time"] not in (None, "gpst", "utc"):
        raise typer.BadParameter(f"--time: expected gpst or utc, got {given['--time']!r}")
    if given["--stamp"] not in (None, "interval_end", "counter"):
        raise typer.BadParameter(f"--stamp: expected interval_end or counter, got {given['--stamp']!r}")
    _check_values(given["--set"], given["--direction"], given["--unit"] if reader.content is Content.POINTS else None)
    return name


def _check_values(name: object, direction: object, unit: object) -> None:
    if direction is not None and direction not in DIRECTIONS:
        raise typer.BadParameter(f"--direction: expected one of {', '.join(DIRECTIONS)}, got {direction!r}")
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= NAME_LIMIT and name.isprintable()):
        raise typer.BadParameter(f"--set: expected a name of at most {NAME_LIMIT} characters")
    if unit is not None and unit not in UNITS:
        raise typer.BadParameter(f"--unit: expected one of {', '.join(UNITS)}, got {unit!r}")
