"""The part of `slopeward ingest --guess`: from a stranger's table to a mapping, a site file, levels and forecasts."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from monitor.cli.identity import name_helper
from monitor.cli.session import options, print_json, print_note, read_service
from monitor.config.service import find_weaknesses, parse_site, scan_sites
from monitor.decision.criteria.reachable import describe_barriers, find_unreached, list_barriers
from monitor.domain.errors import ConfigError, SlopewardError, UnitDoubtError
from monitor.domain.instants import format_duration, format_iso
from monitor.domain.quantities import QUANTITIES, convert
from monitor.domain.site import Site
from monitor.extensions.table_import.guess import site_file
from monitor.extensions.table_import.guess.guess import ZONE, SensorGuess, TableGuess, guess
from monitor.extensions.table_import.guess.known import understand_known
from monitor.extensions.table_import.guess.questions import KEYS, FileQuestion, Interview
from monitor.extensions.table_import.guess.raw_table import SHEET, read_raw_table
from monitor.extensions.table_import.guess.record import MotionRecord
from monitor.extensions.table_import.guess.sharing import request_files
from monitor.extensions.table_import.guess.toml_writer import format_mapping
from monitor.extensions.table_import.guess.values import list_values
from monitor.ingest.files.reader import Content, ImportOptions, add_places
from monitor.ingest.files.readers import READERS, WIDE
from monitor.ingest.files.reading import FileResult
from monitor.ingest.files.tables import list_files
from monitor.ingest.recognise import find_form

if TYPE_CHECKING:
    from monitor.replay.scorecard import Scorecard


Levels = tuple[site_file.LevelBounds, ...]


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Bounds that a person gives, by quantity."""

    given: dict[str, Levels]
    read: Callable[[str, str], Levels]

    def list_all(self) -> list[site_file.LevelBounds]:
        return [one for several in self.given.values() for one in several]

    def list_open(self, sensors: Sequence[SensorGuess]) -> list[SensorGuess]:
        """The sensors of quantities that have none."""
        return [s for s in sensors if s.quantity not in self.given]

    def prompt(self, unjudged: site_file.UnusedQuantities | None) -> bool:
        """Ask the person at the keyboard for what nothing judges; an empty answer leaves it so."""
        if not _is_attended():
            return False
        before = len(self.given)
        for quantity in () if unjudged is None else unjudged.quantities:
            text = (
                f"from which {quantity} on, in {QUANTITIES[quantity].unit}? {', '.join(site_file.LEVELS)}; "
                "empty: not yet"
            )
            while typed := str(typer.prompt(text, default="", show_default=False, err=True)).strip():
                try:
                    self.given[quantity] = self.read(quantity, typed)
                    break
                except ConfigError as error:
                    print_note(str(error))
        return len(self.given) > before


@dataclass(frozen=True, slots=True)
class _SiteDraft:
    """The site of a record, the sensors it gains, the files that were written, and the commands that place them."""

    site: Site
    added: Sequence[SensorGuess] = ()
    written: tuple[Path, ...] = ()
    commands: tuple[str, ...] = ()


def guess_file(
    path: Path,
    site_id: str | None,
    given: Sequence[str],
    out: Path | None,
    *,
    bounds: Sequence[str],
    by: str | None,
    accepts: bool,
    dry_run: bool = False,
) -> None:
    """Understand a file, put questions where it leaves something open, write mapping and site file, show the record.

    Args:
        path: the file, or a folder of them, whose stations stand in one site file.
        site_id: a site that exists gets the stations it lacks in a file of their own; else it becomes a new site.
        given: answers as `KEY=VALUE`; `FILE/KEY=VALUE` is of one file of a folder.
        out: folder of what is written; None: this one, and a site file goes to the others where that harms none.
        bounds: of quantities that no example judges, as `QUANTITY=NUMBERS UNIT`.
        by: who sets them; None: the user of the operating system.
        accepts: a person has said that the units are right.
        dry_run: only say what is understood and asked; nothing is written, and no place is needed.

    Raises:
        typer.Exit: a question is open and nobody is at the keyboard; each was printed with the option that answers it.
        ConfigError: the file is no table that is recognised, or something else stands where it would be written.
    """
    answers = _read_answers("--answer", "zone=Europe/Rome", given)
    for key in answers:
        _check_key(key)
    set_bounds = _read_bounds(bounds, by)
    known = _known_sites()
    site = None if site_id is None else known.get(site_id)
    each = _understand_all(path, site, answers, is_new=site is None and not dry_run)
    found = _merge(each, answers)
    if dry_run:
        print_note(f"{len(each)} {'file' if len(each) == 1 else 'files'} understood, nothing written (dry run)")
        if options().as_json:
            print_json({"files": [{"file": str(p), "facts": dict(f.facts)} for p, f in each]})
        return
    written, readings = _write_mappings(each, out or Path())
    draft = _draft(path, site, site_id, out, found, answers, set_bounds)
    draft = replace(draft, written=(*written, *draft.written))
    is_weak = _describe_draft(path, found, draft, set_bounds)
    if not path.is_dir():  # of a folder the past is played once all of it is stored
        if not site_file.find_absent(draft.site, found.sensors):
            _show_past(path, (found.form, add_places(found.options, draft.site)), draft.site, accepts=accepts)
        _score_forecasts(path, found)
    has_criteria = bool(draft.site.criteria)
    todo = "look at the bounds in the site file: those that you did not give are examples"
    print_note(
        f"next: {todo if has_criteria else 'write the bounds'}; then store the readings, and look back and ahead:"
    )
    for command in (*draft.commands, *_list_next(readings, draft.site.id, is_weak=is_weak)):
        print_note(f"  {command}")


def _is_attended() -> bool:
    """Whether a person is at the keyboard, who can answer."""
    return sys.stdin.isatty() and not options().as_json


def _read_bounds(given: Sequence[str], by: str | None) -> _Bounds:
    """The bounds of `--bound`, each with who sets it and why."""
    reason = f"given with --bound on {datetime.now(UTC):%Y-%m-%d}"
    read = partial(site_file.read_bounds, author=by or name_helper().name, reason=reason)
    return _Bounds({q: read(q, text) for q, text in _read_answers("--bound", "tilt_x=5", given).items()}, read)


def _write_mappings(each: Sequence[tuple[Path, TableGuess]], here: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The mappings that were written, and how each file is read again."""
    written: list[Path] = []
    readings: list[tuple[Path, str]] = []
    for one, understood in each:
        readings.append((one, _format_options(understood)))
        if understood.mapping is not None:
            written.append(_write(here / f"{one.stem}.mapping.toml", format_mapping(understood.mapping, one.name)))
            readings[-1] = one, f"--mapping {_quote(written[-1])}"
    return written, readings


def _draft(
    path: Path,
    site: Site | None,
    site_id: str | None,
    out: Path | None,
    found: TableGuess,
    answers: Mapping[str, str],
    bounds: _Bounds,
) -> _SiteDraft:
    """The site of a record: a new one, one of this command that gets bounds, or one that gets what it lacks."""
    here, folder = out or Path(), _sites_folder()
    name = site_id or site_file.name_site(path.resolve().stem)
    is_renewed = bool(bounds.given) and _is_own(folder, name, found, answers)
    if site is None or is_renewed:
        # among the sites of a service that runs a file is put by its name alone, not by a look at a table
        in_place = is_renewed or bool(site_id) or (out is None and folder is not None and not folder.is_dir())
        if folder is None or in_place:
            return _draft_site((folder or here) / f"{name}.toml", found, answers, bounds, is_renewed=is_renewed)
        draft = _draft_site(here / f"{name}.toml", found, answers, bounds)
        return replace(draft, commands=_list_moves(draft.written[0], folder))
    if absent := site_file.find_absent(site, found.sensors):
        file = here / f"{path.resolve().stem}.stations.toml"
        return _draft_additions(site, absent, found.known, bounds, file)
    if bounds.given:
        raise ConfigError(f"{site.id} names all stations of {path}: its bounds are changed in its own file")
    return _SiteDraft(site)


def _draft_site(
    target: Path, found: TableGuess, answers: Mapping[str, str], bounds: _Bounds, *, is_renewed: bool = False
) -> _SiteDraft:
    """Write the file of a new site; `is_renewed`: this command has written it before, without these bounds."""
    name = target.stem
    place = site_file.find_place(found.known, answers)
    write = partial(site_file.write_site, name, place, found.zone, found.sensors, known=found.known)
    site = parse_site(write(bounds.list_all()), name)
    if bounds.prompt(site_file.describe_unused(site, found.sensors)):
        site = parse_site(write(bounds.list_all()), name)
    body = write(bounds.list_all())
    if is_renewed:
        target.unlink()
    return _SiteDraft(site, found.sensors, (_write(target, body),))


def _list_moves(file: Path, folder: Path) -> tuple[str, ...]:
    """The commands that put a site file among the others."""
    move = f"mv {_quote(file)} {_quote(folder)}/"
    return (move,) if folder.is_dir() else (f"mkdir -p {_quote(folder)}", move)


def _draft_additions(
    site: Site, absent: Sequence[SensorGuess], known: ImportOptions, bounds: _Bounds, file: Path
) -> _SiteDraft:
    """Write what a site lacks into a file of its own."""
    bounds.prompt(site_file.describe_unused(site, bounds.list_open(absent)))
    more = site_file.format_additions(site, absent, bounds.list_all(), known)
    written = _write(file, "\n" + more)
    many = len({s.station for s in absent})
    print_note(f"{site.id} does not name {many} of the stations: {written} goes to the end of its file")
    command = f"cat {_quote(written)} >> {_quote((_sites_folder() or Path()) / f'{site.id}.toml')}"
    return _SiteDraft(parse_site(f"{site.source}\n{more}", site.id), absent, (written,), (command,))


def _describe_draft(path: Path, found: TableGuess, draft: _SiteDraft, bounds: _Bounds) -> bool:
    """Print what was written and what nothing judges yet; whether `check` refuses the site until something does."""
    if options().as_json:
        print_json(
            {
                "file": str(path),
                "facts": dict(found.facts),
                "written": [str(w) for w in draft.written],
                "sensors": [asdict(sensor) for sensor in found.sensors],
            }
        )
    for file in draft.written:
        print_note(f"{file} written")
    return _explain_unjudged(draft.site, bounds.list_open(draft.added), (draft.written or (path,))[-1])


def _understand_all(
    path: Path, site: Site | None, answers: dict[str, str], *, is_new: bool
) -> list[tuple[Path, TableGuess]]:
    """What each file says; the questions of all files of a folder are listed before it ends where nobody answers."""
    suffixes = {s for reader in READERS.values() if reader.content is Content.READINGS for s in reader.suffixes}
    files = list_files(path, tuple(sorted(suffixes)))
    each: list[tuple[Path, TableGuess]] = []
    is_open = False
    for one in files:
        if path.is_dir() and not options().as_json:
            print(f"{one}:")
        own = answers | {k.removeprefix(f"{one.name}/"): v for k, v in answers.items() if k.startswith(f"{one.name}/")}
        try:
            understand = _open(one, site)
            found = _prompt_until_known(partial(_understand, understand, own, is_new=is_new), own)
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


def _explain_unjudged(site: Site, added: Sequence[SensorGuess], file: Path) -> bool:
    """Say what no criterion judges and how one would; whether `check` refuses the site until one does."""
    top = site.levels[-1].name
    for _, _, lost in describe_barriers(site, list_barriers(site)):
        print_note(lost)
    is_weak = bool(find_weaknesses(site)) or bool(find_unreached(site))
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
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _read_answers(option: str, example: str, given: Sequence[str]) -> dict[str, str]:
    answers = {}
    for text in given:
        key, mark, value = text.partition("=")
        if not mark or not key or not value:
            raise typer.BadParameter(f"{option}: expected KEY=VALUE such as {example}, got {text!r}")
        answers[key.strip()] = value.strip()
    return answers


def _check_key(key: str) -> None:
    """Refuse a `KEY` or `FILE/KEY` that no question has."""
    if {key.partition(":")[0].rpartition("/")[2], key.rpartition("/")[2].partition(":")[0]}.isdisjoint(KEYS):
        near = get_close_matches(key.rpartition("/")[2].partition(":")[0], KEYS, 1)
        meant = f"; did you mean {near[0]}?" if near else f": there are {', '.join(KEYS)}"
        raise typer.BadParameter(f"--answer: no question is about {key!r}{meant}")


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


def _open(path: Path, site: Site | None) -> Callable[[Mapping[str, str]], TableGuess]:
    """What understands a file: by its form where its content says one, else as a table."""
    form = find_form(path)
    if form != WIDE and READERS[form].content is Content.READINGS:
        return lambda answers: understand_known(path, form, answers, add_places(ImportOptions(), site))
    inspected = cache(partial(read_raw_table, path))
    return lambda answers: guess(inspected(answers.get(SHEET, "")), answers)


def _format_options(found: TableGuess) -> str:
    """How a file of a known form is read again."""
    known = found.known
    given = {"--format": found.form if known.station else None, "--station": known.station, "--time": known.time}
    return " ".join(f"{option} {value}" for option, value in given.items() if value)


def _understand(
    understand: Callable[[Mapping[str, str]], TableGuess], answers: Mapping[str, str], *, is_new: bool
) -> TableGuess:
    found = understand(answers)
    return site_file.request_place(found, answers) if is_new else found


def _known_sites() -> dict[str, Site]:
    folder = _sites_folder()
    return {} if folder is None or not folder.is_dir() else {s.id: s for s in scan_sites(folder)[0]}


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


# ---- what it makes of the record ---------------------------------------------------------------------------------


def _show_past(path: Path, known: tuple[str, ImportOptions], site: Site, *, accepts: bool) -> None:
    """The levels of the record as the site file would have decided them."""
    from monitor.cli.site.backtest import answer
    from monitor.extensions.table_import.past_levels import summarise_past

    def play(*, accept: bool) -> "Scorecard":
        return summarise_past(path, known, site, accept_units=accept, on_read=_print_read)

    try:
        card = play(accept=accepts)
    except UnitDoubtError as doubt:
        if options().as_json or not sys.stdin.isatty() or not typer.confirm(f"{doubt}\nAre the units right?", err=True):
            raise
        card = play(accept=True)
    bounds = (
        "with bounds that you gave or that are examples"
        if site.criteria
        else "without any bound, so nothing can raise one"
    )
    print_note(f"levels from {format_iso(card.from_at)[:16]} to {format_iso(card.to_at)[:16]}, {bounds}:")
    answer(card)


def _print_read(results: Sequence[FileResult]) -> None:
    for result in results:
        counts = f"{result.valid} readings, {result.rejected} refused, {result.missing} without a value"
        print_note(f"{result.file}: {result.rows} rows, {counts}")
        if result.rejected:
            print_note(f"  first reason: {result.first_reason}")


def _score_forecasts(path: Path, found: TableGuess) -> None:
    """How well each quantity of motion could have been forecast; a record that is too short is said to be."""
    from forecasting.data.cadence import choose_horizons
    from forecasting.data.series import read_long_panels
    from forecasting.errors import ForecastingError
    from monitor.cli.forecast.trials import TrialArguments, backtest
    from monitor.extensions.table_import.past_levels import lay_out_motion, list_motion

    quantities = list_motion(s.quantity for s in found.sensors)
    if not quantities:
        print_note("no series of motion: there is nothing to forecast")
    for quantity in quantities:
        with lay_out_motion(path, (found.form, found.options), quantity) as long:
            print_note(f"forecasts of {quantity}, scored on the newest part of the record:")
            try:
                steps_s = {panel.step_s for panel in read_long_panels(long)}
                horizons_s = sorted({h for step_s in steps_s for h in choose_horizons(step_s)})
                chosen = ",".join(format_duration(round(h)) for h in horizons_s)
                backtest(TrialArguments(data=str(long), horizons=chosen))
            except (SlopewardError, ForecastingError, typer.Exit) as error:
                print_note(f"  none: {error}")
