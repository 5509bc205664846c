"""The part of `slopeward ingest --guess`: from a stranger's table to a mapping, a site file, levels and forecasts."""

import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path

import typer

from monitor.api.cli import name_os_actor, options, print_json, print_note, read_service
from monitor.api.decision import PreparedSite, RecordDays, WarningSummary, find_unreached, summarise_warnings
from monitor.api.errors import ConfigError
from monitor.api.files import Content, ImportOptions
from monitor.api.ingest import list_files
from monitor.api.queries.ingest import WIDE, add_places, find_form, list_readers
from monitor.api.sites import QUANTITIES, Site, convert, find_weaknesses, parse_site, scan_sites
from monitor.features.table_import.guess import site_file
from monitor.features.table_import.guess.guess import ZONE, SensorGuess, TableGuess, guess
from monitor.features.table_import.guess.known import understand_known
from monitor.features.table_import.guess.lookback import count_days
from monitor.features.table_import.guess.questions import KEYS, FileQuestion, Interview
from monitor.features.table_import.guess.raw_table import SHEET, read_raw_table
from monitor.features.table_import.guess.record import MotionRecord
from monitor.features.table_import.guess.sharing import request_files
from monitor.features.table_import.guess.toml_writer import format_mapping
from monitor.features.table_import.guess.values import list_values


@dataclass(frozen=True, slots=True)
class _SiteDraft:
    """The site of a record, the sensors it gains, the files that were written, and the commands that place them.

    Attributes:
        record: Days of the record that reached each level; None for stations that are added to a site.
    """

    site: Site
    added: Sequence[SensorGuess] = ()
    written: tuple[Path, ...] = ()
    commands: tuple[str, ...] = ()
    record: RecordDays | None = None


def guess_file(
    path: Path,
    site_id: str | None,
    given: Sequence[str],
    out: Path | None,
    *,
    bounds: Sequence[str],
    by: str | None,
    dry_run: bool = False,
) -> None:
    """Understand a file, put questions where it leaves something open, write mapping and site file.

    Args:
        site_id: a site that exists gets the stations it lacks in a file of their own; else it becomes a new site.
        out: folder of what is written; None: this one, and a site file goes to the others where that harms none.

    Raises:
        typer.Exit: a question is open and nobody is at the keyboard; each was printed with the option that answers it.
        ConfigError: the file is no table that is recognised, or something else stands where it would be written.
    """
    answers = _read_answers("--answer", "zone=Europe/Rome", given)
    for key in answers:
        if {key.partition(":")[0].rpartition("/")[2], key.rpartition("/")[2].partition(":")[0]}.isdisjoint(KEYS):
            near = get_close_matches(key.rpartition("/")[2].partition(":")[0], KEYS, 1)
            meant = f"; did you mean {near[0]}?" if near else f": there are {', '.join(KEYS)}"
            raise typer.BadParameter(f"--answer: no question is about {key!r}{meant}")
    set_bounds = _read_bounds(bounds, by)
    folder = _sites_folder()
    known = scan_sites(folder)[0] if folder is not None and folder.is_dir() else ()
    site = next((one for one in known if one.id == site_id), None)
    each = _understand_all(path, site, answers, is_new=site is None and not dry_run)
    found = _merge(each, answers)
    if dry_run:
        print_note(f"{len(each)} {'file' if len(each) == 1 else 'files'} understood, nothing written (dry run)")
        if site is None:
            _print_place_question(found, answers)
        if options().as_json:
            print_json({"files": [{"file": str(p), "facts": dict(f.facts)} for p, f in each]})
        return
    written, readings = _write_mappings(each, out or Path())
    draft = _draft(path, site, site_id, out, found, answers, set_bounds, each)
    draft = replace(draft, written=(*written, *draft.written))
    for file in draft.written:
        print_note(f"{file} written")
    stations = {sensor.station for sensor in draft.added} if draft.added else None
    warnings = summarise_warnings(draft.site, draft.record, stations)
    if options().as_json:
        print_json(
            {
                "file": str(path),
                "facts": dict(found.facts),
                "written": [str(w) for w in draft.written],
                "sensors": [asdict(sensor) for sensor in found.sensors],
                "warnings": warnings.to_json() | _describe_count(draft.record),
            }
        )
    else:
        _print_warnings(warnings, draft)
    is_weak = _explain_unjudged(draft, set_bounds, path)
    bounds_file = draft.written[-1] if draft.added else f"the site file of {draft.site.id}"
    if draft.site.criteria:
        print_note(
            f"a geologist must confirm the bounds in {bounds_file}: those that you did not give were derived from this "
            "record or are fixed, as the comments say. To compare others, change a copy of the file and run: slopeward "
            f"backtest --site {draft.site.id} --config COPY.toml"
        )
    else:
        print_note(f"write the bounds into {bounds_file}")
    print_note("next: store the readings, replay the past and forecast:")
    for command in (*draft.commands, *_list_next(readings, draft.site.id, is_weak=is_weak)):
        print_note(f"  {command}")


def _print_place_question(found: TableGuess, answers: Mapping[str, str]) -> None:
    """Print the question about the place of a new site that a run without `--dry-run` also puts."""
    asked = site_file.request_place(replace(found, questions=()), answers).questions
    for question in asked:
        print_note(f"without --dry-run a new site also needs: {_explain(question)}")


def _describe_count(record: RecordDays | None) -> dict[str, object]:
    """Return the length of the record in days, or why its days were not counted, as plain values."""
    if record is None:
        return {}
    warnings = [str(line) for line in record.list_warnings()]
    found: dict[str, object] = {"no_reading_counts": warnings} if warnings else {}
    if record.reason is not None:
        return found | {"days_not_counted": str(record.reason)}
    return found | {"record_days": record.total, "days_judged": dict(record.judged)}


def _print_warnings(warnings: WarningSummary, draft: _SiteDraft) -> None:
    """Print what raises which level, how quickly, what is missed, and what is not judged."""
    for line in [] if draft.record is None else draft.record.list_warnings():
        print(f"{line}. Check the columns, units and --answer values above, correct them and run this command again.")
    print(f"What raises a level at {draft.site.id}:")
    for group in warnings.groups:
        print(f"  {group.heading}")
        for line in group.list_lines():
            print(f"    {line}")
    if not warnings.groups:
        print("  no motion raises a level")
    for line in site_file.list_notes(warnings, draft.added):
        print(f"  {line}")
    if draft.record is not None and draft.record.reason is not None:
        print(f"  days of this record at each level were not counted: {draft.record.reason}")


def _read_bounds(given: Sequence[str], by: str | None) -> list[site_file.LevelBounds]:
    """The bounds of `--bound`, each with who sets it and why."""
    reason = f"given with --bound on {datetime.now(UTC):%Y-%m-%d}"
    read = partial(site_file.read_bounds, author=by or name_os_actor().name, reason=reason)
    return [one for q, text in _read_answers("--bound", "tilt_x=5", given).items() for one in read(q, text)]


def _write_mappings(each: Sequence[tuple[Path, TableGuess]], here: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The mappings that were written, and how each file is read again."""
    written: list[Path] = []
    readings: list[tuple[Path, str]] = []
    for one, understood in each:
        stated = understood.known
        given_by = {"--format": understood.form if stated.station else None, "--station": stated.station}
        by_options = (given_by | {"--time": stated.time}).items()
        readings.append((one, " ".join(f"{option} {value}" for option, value in by_options if value)))
        if understood.mapping is not None:
            target = here / f"{one.stem}.mapping.toml"
            written.append(_write(target, format_mapping(understood.mapping, one.name)))
            readings[-1] = one, f"--mapping {_quote(target)}"
    return written, readings


def _draft(
    path: Path,
    site: Site | None,
    site_id: str | None,
    out: Path | None,
    found: TableGuess,
    answers: Mapping[str, str],
    bounds: Sequence[site_file.LevelBounds],
    files: Sequence[tuple[Path, TableGuess]],
) -> _SiteDraft:
    """The site of a record: a new one, one of this command that gets bounds, or one that gets what it lacks."""
    here, folder = out or Path(), _sites_folder()
    name = site_id or site_file.name_site(path.resolve().stem)
    is_renewed = bool(bounds) and _is_own(folder, name, found, answers)
    if site is None or is_renewed:
        # among the sites of a service that runs a file is put by its name alone, not by a look at a table
        is_first = folder is not None and not folder.is_dir()
        in_place = is_renewed or (out is None and (bool(site_id) or is_first))
        if folder is None or in_place:
            target = (folder or here) / f"{name}.toml"
            return _draft_site(target, found, answers, bounds, files, is_renewed=is_renewed)
        draft = _draft_site(here / f"{name}.toml", found, answers, bounds, files)
        move = f"mv {_quote(draft.written[0])} {_quote(folder)}/"
        existing = folder / f"{name}.toml"
        if existing.exists():
            print_note(
                f"{existing} exists already: compare it with {draft.written[0]} before you replace it, or give the new "
                "site another name with --site"
            )
            move = f"mv -i {_quote(draft.written[0])} {_quote(folder)}/"
        return replace(draft, commands=(move,) if folder.is_dir() else (f"mkdir -p {_quote(folder)}", move))
    if absent := site_file.find_absent(site, found.sensors):
        more = site_file.format_additions(site, absent, bounds, found.known)
        file = _write(here / f"{path.resolve().stem}.stations.toml", "\n" + more)
        many = len({s.station for s in absent})
        print_note(f"{site.id} does not name {many} of the stations: {file} goes to the end of its file")
        command = f"cat {_quote(file)} >> {_quote((folder or Path()) / f'{site.id}.toml')}"
        return _SiteDraft(parse_site(f"{site.source}\n{more}", site.id), absent, (file,), (command,))
    if bounds:
        raise ConfigError(f"{site.id} names all stations of {path}: its bounds are changed in its own file")
    return _SiteDraft(site)


def _draft_site(
    target: Path,
    found: TableGuess,
    answers: Mapping[str, str],
    bounds: Sequence[site_file.LevelBounds],
    files: Sequence[tuple[Path, TableGuess]],
    *,
    is_renewed: bool = False,
) -> _SiteDraft:
    """Write the file of a new site; `is_renewed`: this command has written it before, without these bounds."""
    name = target.stem
    place = site_file.find_place(found.known, answers)
    write = partial(site_file.write_site, name, place, found.zone, found.sensors, bounds, found.known)
    record = count_days(parse_site(write(), name), files)
    body = write(days=record.list_judged())
    site = parse_site(body, name)
    if is_renewed:
        target.unlink()
    return _SiteDraft(site, found.sensors, (_write(target, body),), record=record)


def _understand_all(
    path: Path, site: Site | None, answers: dict[str, str], *, is_new: bool
) -> list[tuple[Path, TableGuess]]:
    """What each file says; the questions of all files of a folder are listed before it ends where nobody answers."""
    suffixes = {s for reader in list_readers().values() if reader.content is Content.READINGS for s in reader.suffixes}
    files = list_files(path, tuple(sorted(suffixes)))
    each: list[tuple[Path, TableGuess]] = []
    is_open = False
    for one in files:
        if path.is_dir() and not options().as_json:
            print(f"{one}:")
        own = answers | {k.removeprefix(f"{one.name}/"): v for k, v in answers.items() if k.startswith(f"{one.name}/")}
        try:
            found = _prompt_until_known(_open(one, site, own, is_new=is_new), own)
        except ConfigError as error:
            if not path.is_dir():
                raise
            print_note(f"{error}; left out")  # a list of stations or a note beside the tables
            continue
        except typer.Exit:
            is_open = True
            if path.is_dir():
                print_note(f"  these are questions about {one}: --answer '{one.name}/KEY=...' answers for it alone")
            continue
        answers |= {key: own[key] for key in (site_file.PLACE, ZONE) if key in own}
        each.append((one, replace(found, sensors=_follow(one, found))))
    if is_open:
        raise typer.Exit(1)
    if not each:
        raise ConfigError(f"{path}: no file in it is a table of readings")
    return each


def _merge(each: Sequence[tuple[Path, TableGuess]], answers: dict[str, str]) -> TableGuess:
    """What the files of a folder say together, with the series that stand in several of them once."""
    if len(each) == 1:
        return each[0][1]
    series: dict[tuple[str, str], SensorGuess] = {}
    where: dict[tuple[str, str], list[str]] = {}
    for path, found in each:
        for sensor in found.sensors:
            series.setdefault((sensor.station, sensor.quantity), sensor)
            where.setdefault((sensor.station, sensor.quantity), []).append(path.name)
    shared = {key: names for key, names in where.items() if len(names) > 1}
    if shared:
        _prompt_until_known(lambda: replace(each[0][1], facts=(), questions=_compare(each, shared, answers)), answers)
    for (station, quantity), names in shared.items():
        print_note(f"{station}.{quantity} stands in {', '.join(names)}: they are read as one record")
    known = ImportOptions(
        places=tuple({p.station: p for _, found in each for p in found.known.places}.values()),
        origins=tuple({name: o for _, found in each for name, o in found.known.origins}.items()),
    )
    facts = tuple((path.name, text) for path, found in each for name, text in found.facts if name == "file")
    return replace(each[0][1], facts=facts, sensors=tuple(series.values()), known=known)


def _compare(
    each: Sequence[tuple[Path, TableGuess]], shared: Mapping[tuple[str, str], Sequence[str]], answers: Mapping[str, str]
) -> tuple[FileQuestion, ...]:
    """The questions about series whose files claim the same instants with other values."""
    values: dict[tuple[str, str], dict[str, list[tuple[datetime, float]]]] = {key: {} for key in shared}
    for path, found in each:
        for one in list_values(path, found.form, found.options):
            if one.at is None or one.error or (one.station, one.quantity) not in shared:
                continue
            with suppress(ValueError, TypeError):  # no number
                number = convert(float(one.value), one.unit, QUANTITIES[one.quantity].unit)
                values[one.station, one.quantity].setdefault(path.name, []).append((one.at, number))
    talk = Interview(answers)
    for (station, quantity), files in values.items():
        request_files(f"{station}.{quantity}", [*files.items()], talk)
    return tuple(talk.questions)


def _follow(path: Path, found: TableGuess) -> tuple[SensorGuess, ...]:
    """The sensors with how their records move."""
    record = MotionRecord()
    for value in list_values(path, found.form, found.options):
        record.add(value)
    return record.estimate_motion(found.sensors)


def _explain_unjudged(draft: _SiteDraft, bounds: Sequence[site_file.LevelBounds], path: Path) -> bool:
    """Say what no criterion judges and how one would; whether `check` refuses the site until one does."""
    site, file = draft.site, (draft.written or (path,))[-1]
    given = {one.quantity for one in bounds}
    added = [sensor for sensor in draft.added if sensor.quantity not in given]
    top = site.levels[-1].name
    is_weak = bool(find_weaknesses(site)) or bool(find_unreached(PreparedSite(site)))
    refused = f"`slopeward check` exits 1 until something can reach {top!r}"
    unjudged = site_file.describe_unused(site, added)
    if unjudged is None:
        if is_weak:
            print_note(f"{refused}; no series of {site.id} can yet")
        return is_weak
    quantities = ", ".join(unjudged.quantities)
    first = f"{unjudged.quantities[0]}=NUMBERS {QUANTITIES[unjudged.quantities[0]].unit}"
    print_note(
        f"nothing judges {quantities} yet: give --bound '{first}' with this command, or write criteria "
        f"into {file}, with a number of this slope for each BOUND"
    )
    for line in unjudged.criterion.splitlines():
        print_note(f"  {line}")
    if is_weak:
        print_note(f"  before that {refused}, and no level above {site.levels[0].name!r} comes from them")
    return is_weak


def _list_next(readings: Sequence[tuple[Path, str]], site_id: str, *, is_weak: bool) -> Iterator[str]:
    """The commands from a site file to stored readings, the levels of the record and a forecast."""
    config = options().config
    more = "" if config is None else f" --config {_quote(config)}"
    if not is_weak:
        yield f"slopeward check{more}"
    yield f"slopeward db upgrade{more}"
    for path, reading in readings:
        yield " ".join(filter(None, (f"slopeward ingest {_quote(path)} --site {site_id}", reading))) + more
    yield f"slopeward backtest --site {site_id}{more}"
    yield f"slopeward forecast run --site {site_id}{more}"


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


def _is_own(folder: Path | None, name: str, found: TableGuess, answers: Mapping[str, str]) -> bool:
    """Whether a site file is as this command wrote it without bounds: then nobody's words are lost with it."""
    if folder is None or (site_file.PLACE not in answers and not found.known.places):
        return False
    path = folder / f"{name}.toml"
    text = site_file.write_site(
        name, site_file.find_place(found.known, answers), found.zone, found.sensors, known=found.known
    )
    return path.is_file() and tomllib.loads(path.read_text(encoding="utf-8")) == tomllib.loads(text)


def _read_answers(option: str, example: str, given: Sequence[str]) -> dict[str, str]:
    answers = {}
    for text in given:
        key, mark, value = text.partition("=")
        if not mark or not key or not value:
            raise typer.BadParameter(f"{option}: expected KEY=VALUE such as {example}, got {text!r}")
        answers[key.strip()] = value.strip()
    return answers


def _prompt_until_known(understand: Callable[[], TableGuess], answers: dict[str, str]) -> TableGuess:
    """Understand, ask a person at the keyboard what is open, and again, until nothing is."""
    shown = False
    while True:
        found = understand()
        if not shown and not options().as_json:
            for name, text in found.facts:
                print(f"{name:>20}  {text}")
        shown = True
        if not found.questions:
            return found
        if not sys.stdin.isatty() or options().as_json:
            print_note("the file does not say everything:")
            for question in found.questions:
                print_note(f"  {_explain(question)}")
            raise typer.Exit(1)
        for question in found.questions:
            answers[question.key] = _prompt(question)


def _prompt(question: FileQuestion) -> str:
    choices = f" [{', '.join(question.choices)}]" if question.choices else ""
    while True:
        typed = str(typer.prompt(f"{question.text}{choices}", default=question.default, err=True)).strip()
        if not question.choices or typed in question.choices:
            return typed
        near = [c for c in question.choices if c.startswith(typed)]
        if len(near) == 1:
            return near[0]
        print_note(f"one of: {', '.join(question.choices)}")


def _explain(question: FileQuestion) -> str:
    """What is open, and the option that answers it."""
    choices = f" One of: {', '.join(question.choices)}." if question.choices else ""
    return f"{question.text}{choices} Answer: --answer '{question.key}=...'"


def _open(path: Path, site: Site | None, answers: Mapping[str, str], *, is_new: bool) -> Callable[[], TableGuess]:
    """What understands a file with the answers so far: by its form where its content says one, else as a table."""
    form = find_form(path)
    inspected = cache(partial(read_raw_table, path))

    def understand() -> TableGuess:
        if form != WIDE and list_readers()[form].content is Content.READINGS:
            found = understand_known(path, form, answers, add_places(ImportOptions(), site))
        else:
            found = guess(inspected(answers.get(SHEET, "")), answers)
        return site_file.request_place(found, answers) if is_new else found

    return understand


def _sites_folder() -> Path | None:
    """Where site files are, or will be; None: the service file is wrong, a table can be looked at all the same."""
    try:
        return read_service().paths.sites
    except ConfigError:
        if options().config is not None:
            raise
        return None


def _write(path: Path, text: str) -> Path:
    """A new file; the same text again is no harm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if path.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{path} exists already and says something else; move it away, or give --out") from None
    return path
