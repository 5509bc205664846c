"""`slopeward ingest`: import readings from files, and retry messages in quarantine."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from monitor.cli import session
from monitor.cli.identity import By, authenticate_actor, name_os_actor
from monitor.cli.site.ingest_form import choose_file_reader, choose_stated_reader, list_suffixes
from monitor.errors import ConfigError, NotFoundError, UnitDoubtError
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.points import PointsFile, read_points
from monitor.ingest.files.reader import DIRECTIONS, UNITS, Content, ImportOptions, add_places, is_companion
from monitor.ingest.files.readers import list_readers, open_points, open_readings
from monitor.ingest.files.reading import (
    FileImport,
    FileResult,
    record_file,
    record_units,
    renew_known_flags,
    retry_while_busy,
)
from monitor.ingest.files.sandboxed_conversion import ConvertedFile, open_converted
from monitor.ingest.files.tables import list_files
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.references import forget_reference
from monitor.ingest.replay import replay_rejected
from monitor.people.queries.users import find_account, load_users
from monitor.plugins import hooks
from monitor.settings.service import ComputeSection
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.text.instants import epoch_s, format_iso, parse_time
from monitor.text.names import list_names

app = session.Commands(help=__doc__)
_FORMS: Final = "; ".join(f"{name}: {reader.help}" for name, reader in list_readers().items())


class Confirmation(NamedTuple):
    """What a person has confirmed about a file, although it looks wrong."""

    units: bool
    times: bool


class _Target(NamedTuple):
    """Destination of files, and statements of the user about them."""

    site: Site | None  # site of rows without a site column
    pipeline: Pipeline
    database: Database | None  # None: a dry run
    import_options: ImportOptions
    confirmation: Confirmation
    by: str | None  # name of the option `--by`
    confirmed_by: Actor | None  # who confirmed units or times by an option


# Options about files -> fields of `IngestArguments` and `ImportOptions`.
FILE_OPTIONS: Final = {
    "--mapping": "mapping",
    "--set": "point_set",
    "--direction": "direction",
    "--unit": "unit",
    "--station": "station",
    "--quantity": "quantity",
    "--variable": "variable",
    "--mask": "mask",
    "--window": "window_m",
    "--within": "within_m",
    "--time": "time",
    "--stamp": "stamp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestArguments:
    """Arguments and options of `slopeward ingest`."""

    path: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet file, a folder of them, or - for CSV from stdin")
    ] = None
    site: Annotated[str | None, typer.Option("--site", help="Site of rows without a site column")] = None
    form: Annotated[str | None, typer.Option("--format", help=f"Format, if the content does not show it. {_FORMS}")] = (
        None
    )
    mapping: Annotated[Path | None, typer.Option("--mapping", help="TOML file that describes the columns")] = None
    point_set: Annotated[
        str | None, typer.Option("--set", help="Name of the set of InSAR points; EGMS: by default the name of the file")
    ] = None
    direction: Annotated[
        str | None, typer.Option("--direction", help=f"Meaning of a positive value: {', '.join(DIRECTIONS)}")
    ] = None
    unit: Annotated[
        str | None,
        typer.Option("--unit", help=f"Unit of the values. Points: {', '.join(UNITS)}"),
    ] = None
    station: Annotated[str | None, typer.Option("--station", help="Station of the positions or depths")] = None
    time: Annotated[
        str | None, typer.Option("--time", help="Time scale of solutions without a header: gpst or utc")
    ] = None
    quantity: Annotated[str | None, typer.Option("--quantity", help="Quantity of a grid, such as rain")] = None
    variable: Annotated[str | None, typer.Option("--variable", help="Name of the grid in a netCDF file")] = None
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            help="Quality layers of a grid whose good cells are used: NAME (not 0), NAME=VALUE, 'NAME>=VALUE', "
            "several with commas, or none",
        ),
    ] = None
    window_m: Annotated[
        float | None,
        typer.Option(
            "--window",
            min=0.0,
            max=1e6,
            help="Use the mean of cells within this distance in metres; by default the nearest cell",
        ),
    ] = None
    within_m: Annotated[
        float | None,
        typer.Option("--within", min=0.0, max=1e6, help="Use only pixels within this distance of a station in metres"),
    ] = None
    stamp: Annotated[
        str | None,
        typer.Option("--stamp", help="Rain of a grid: interval_end, or counter for the running sum of a model"),
    ] = None
    rejected: Annotated[bool, typer.Option("--rejected", help="Read the messages in quarantine again")] = False
    forget_epoch0: Annotated[
        str | None, typer.Option("--forget-epoch0", help="SITE/STATION whose GNSS reference changed")
    ] = None
    guesses: Annotated[
        bool,
        typer.Option("--guess", help="Recognise any table, ask what is unclear, write mapping and site file"),
    ] = False
    answers: Annotated[
        list[str] | None, typer.Option("--answer", help="With --guess: KEY=VALUE, such as zone=Europe/Rome")
    ] = None
    bounds: Annotated[
        list[str] | None,
        typer.Option(
            "--bound", help="With --guess: QUANTITY=NUMBERS, such as 'tilt_x=5 10 20 mrad', one for each level"
        ),
    ] = None
    out: Annotated[Path | None, typer.Option("--out", help="With --guess: folder for the files that are written")] = (
        None
    )
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing; needs no database and no site")] = False
    accept_units: Annotated[
        bool, typer.Option("--accept-units", help="Confirm units that look wrong; the confirmation is recorded")
    ] = False
    accept_times: Annotated[
        bool,
        typer.Option("--accept-times", help="Confirm times in the future or before 1950; the confirmation is recorded"),
    ] = False
    by: By = None

    @property
    def file_options(self) -> dict[str, object]:
        """Return the values of `FILE_OPTIONS`, by option."""
        return {option: getattr(self, name) for option, name in FILE_OPTIONS.items()}


@app.command()
def ingest(arguments: IngestArguments) -> None:
    """Store readings from files of a known format, without questions, for scripts.

    The format is the long form, a table with a mapping, or a format of --format, such as GNSS solutions, InSAR points
    or grids. For a table that nothing describes yet, use `slopeward import`, which asks what is unclear. Readings that
    are already stored are not stored again.

    Exit 0 if all readings are stored, 3 if some rows went to the quarantine or some files could not be read,
    4 if nothing was valid, 1 after an error.

    Example: slopeward ingest readings.csv --site north-bench --dry-run
    Example: slopeward ingest monitoring.csv --guess --answer zone=Europe/Rome --answer place=46.2,8.9
    Example: slopeward ingest EGMS_L2b_022_0845_IW2_VV_2020_2024_1.zip --site north-bench --format egms
    """
    actions = [arguments.path is not None, arguments.rejected, arguments.forget_epoch0 is not None]
    if sum(actions) != 1:
        raise typer.BadParameter("give a FILE, --rejected or --forget-epoch0")
    if arguments.guesses:
        if arguments.path is None or arguments.mapping is not None or arguments.form is not None:
            raise typer.BadParameter("--guess takes a FILE or a folder, without --mapping and --format")
        was_imported = hooks().import_unknown_table(
            path=arguments.path,
            site_id=arguments.site,
            answers=arguments.answers or (),
            out=arguments.out,
            bounds=arguments.bounds or (),
            by=arguments.by,
            dry_run=arguments.dry_run,
        )
        if not was_imported:
            raise ConfigError("--guess: the feature table_import is not installed; describe the columns with --mapping")
        return
    if arguments.answers or arguments.bounds or arguments.out is not None:
        raise typer.BadParameter("--answer, --bound and --out belong to --guess")
    if arguments.path is None or arguments.form is not None:
        # Wrong options are rejected before a file is read.
        choose_stated_reader(arguments.form, arguments.file_options)
    if arguments.forget_epoch0 is not None:
        _forget_reference(arguments.forget_epoch0, arguments.by)
    elif arguments.rejected:
        with session.open_database() as database:
            pipeline = Pipeline(database, _find_sites(needed=True), _now, session.read_service().limits)
            result = replay_rejected(pipeline, _now, dry_run=arguments.dry_run)
            if result.stored and not arguments.dry_run:
                retry_while_busy(pipeline.complete)
        facts = {
            "read": result.examined,
            "accepted": result.accepted,
            "stored": result.stored,
            "duplicates": result.duplicates,
            "waiting": result.waiting,
            "reasons": result.reasons,
            "dry_run": arguments.dry_run,
        }
        session.print_result(
            facts,
            f"{result.examined} messages read again: {result.accepted} accepted ({result.stored} readings stored), "
            f"{result.waiting} remain in quarantine",
        )
        if not result.accepted:
            raise typer.Exit(session.EXIT_NOTHING)
        if result.waiting:
            raise typer.Exit(session.EXIT_PARTLY)
    else:
        assert arguments.path is not None
        _read(arguments.path, arguments)


def _now() -> datetime:
    return datetime.now(UTC)


def _read(path: Path, arguments: IngestArguments) -> None:
    site_id = arguments.site
    format_name = arguments.form
    dry_run = arguments.dry_run
    file_options = arguments.file_options
    mapping = None if arguments.mapping is None else load_mapping(arguments.mapping)
    import_options = ImportOptions(
        **{name: getattr(arguments, name) for name in FILE_OPTIONS.values()} | {"mapping": mapping}
    )
    confirmation = Confirmation(arguments.accept_units, arguments.accept_times)
    results: list[FileResult] = []
    unreadable_count = 0
    has_points = False
    with ExitStack() as stack:
        files = _leave_out_companions(list_files(path, list_suffixes(format_name, file_options)), import_options)
        sites = _find_sites(site_id, needed=not dry_run)
        site = _choose_site(site_id, sites, dry_run=dry_run)
        database = None if dry_run else stack.enter_context(session.open_database())
        pipeline = Pipeline(database, sites, _now, None if dry_run else session.read_service().limits)
        confirmed_by = None
        if any(confirmation) and database is not None:
            confirmed_by = authenticate_actor(database, arguments.by, site_id)
        _limit_to_account_sites(pipeline, database, confirmed_by)
        import_options = add_places(import_options, site)
        target = _Target(site, pipeline, database, import_options, confirmation, arguments.by, confirmed_by)
        grids = _read_grids(files, format_name, file_options, import_options, stack) if len(files) > 1 else {}
        for file in files:
            try:
                reader_name = choose_file_reader(file, format_name, file_options)
                has_points |= list_readers()[reader_name].content is Content.POINTS
                conversion = nullcontext(grids[file]) if file in grids else _convert(file, reader_name, import_options)
                with conversion as converted:
                    result = _read_file(file, reader_name, converted, target)
            except ConfigError as error:
                if len(files) == 1:
                    raise
                # The other files of the folder are read nevertheless.
                session.print_note(str(error))
                unreadable_count += 1
                continue
            results.append(result)
            if database is not None:
                record_file(database, name_os_actor(), result, _now())
                for name in renew_known_flags(database, sites, result.sites, _now()):
                    session.print_note(
                        f"{name}: the site file is not in force yet, so flags of older readings were not updated; "
                        f"restart the service, or run slopeward evaluate {name}"
                    )
            _show_result(result, dry_run=dry_run)
        if arguments.mask is None and (note := describe_unmasked(results)):
            session.print_note(note)
        if len(results) > 1 and not session.options().as_json:
            print(_summarise(results))
    _conclude(results, unreadable_count=unreadable_count, has_points=has_points, dry_run=dry_run)


def describe_unmasked(results: Sequence[FileResult]) -> str:
    """Return a line about files without a mask if other files of the folder have one; otherwise an empty text."""
    masks = sorted({result.mask for result in results if result.mask})
    unmasked = [Path(result.file).name for result in results if not result.mask]
    if not masks or not unmasked:
        return ""
    return (
        f"no mask was applied to {list_names(unmasked)}, which have none; the other files were masked by "
        f"{', '.join(masks)}. The values of these dates may include bad cells"
    )


def _leave_out_companions(files: list[Path], import_options: ImportOptions) -> list[Path]:
    """Return the files of a folder without masks and quality layers, which are read with their displacement."""
    if len(files) == 1 or not import_options.is_motion:
        return files
    displacement_files = [file for file in files if not is_companion(file)]
    if not displacement_files or len(displacement_files) == len(files):
        return files
    session.print_note(
        "not read as displacement, because their names are those of masks or quality layers: "
        + list_names([file.name for file in files if is_companion(file)])
    )
    return displacement_files


def _conclude(results: Sequence[FileResult], *, unreadable_count: int, has_points: bool, dry_run: bool) -> None:
    valid_count = sum(result.valid for result in results)
    rejected_count = sum(result.rejected for result in results)
    reason = next((result.first_reason for result in results if result.first_reason), "")
    session.require_any(valid_count, "nothing valid was found" + (f"; the first reason: {reason}" if reason else ""))
    if rejected_count and not dry_run:
        remedy = (
            "correct the file and import it again" if has_points else "to read them again: slopeward ingest --rejected"
        )
        session.print_note(f"rejected rows are in the view rejected_messages; {remedy}")
    if rejected_count or unreadable_count:
        raise typer.Exit(session.EXIT_PARTLY)


def _read_grids(
    files: Sequence[Path],
    format_name: str | None,
    file_options: Mapping[str, object],
    import_options: ImportOptions,
    stack: ExitStack,
) -> dict[Path, ConvertedFile]:
    """Read all grids of a folder before any of them is stored. Leave out grids with errors, which are reported later.

    Raises:
        ConfigError: Two files contain a value of the same station and instant, for example because their names contain
            the day but not the time.
    """
    from monitor.ingest.grids.rain import are_accumulated, check_stamp

    grids: dict[Path, ConvertedFile] = {}
    files_by_value: dict[tuple[str, str], Path] = {}  # by station and instant
    rain: dict[str, list[tuple[float, float]]] = {}
    for file in files:
        try:
            is_grid = choose_file_reader(file, format_name, file_options) == "grid"
            converted = stack.enter_context(_convert(file, "grid", import_options)) if is_grid else None
        except ConfigError:
            continue
        if converted is None:
            continue
        grids[file] = converted
        with converted.readings() as lines:
            for row, _ in chain.from_iterable(line.rows for line in lines):
                station = row["station"]
                time = row["time"]
                other = files_by_value.setdefault((station, time), file)
                if other != file:
                    raise ConfigError(
                        f"{file} and {other.name} both contain a value of {station} at {time}; nothing was stored. If "
                        "their names contain only the day, add the time of day (20240105T0630Z), or import the files "
                        "one by one"
                    )
                if import_options.quantity == "rain":
                    rain.setdefault(station, []).append((epoch_s(parse_time(time)), row["value"]))
    if rain:
        # Whether rain is accumulated shows only in several layers, and each file may have one.
        places = [place for place in import_options.places if place.station in rain]
        is_accumulated = are_accumulated(rain.values())
        check_stamp(
            f"{files[0].parent}", places, import_options.stamp, is_accumulated=is_accumulated, is_doubtful=False
        )
    return grids


@contextmanager
def _convert(file: Path, reader_name: str, import_options: ImportOptions) -> Iterator[ConvertedFile | None]:
    """Yield what a worker process read from a file. Yield None if the reader works in this process."""
    if not list_readers()[reader_name].in_worker:
        yield None
        return
    try:
        compute = session.read_service().compute
    except ConfigError:
        if session.options().config is not None:
            raise
        # A dry run needs no service file.
        compute = ComputeSection()
    with open_converted(file, reader_name, import_options, compute, _now()) as converted:
        yield converted


def _read_file(file: Path, reader_name: str, converted: ConvertedFile | None, target: _Target) -> FileResult:
    if list_readers()[reader_name].content is not Content.POINTS:
        return _read_table(file, reader_name, converted, target)
    if target.site is None:
        raise NotFoundError("points need a site: give --site")
    if converted is None:
        points = open_points(reader_name)(file, target.import_options, _now())
    else:
        points = converted.points(_now())
    return read_points(PointsFile(file, target.site, _now, target.database), points)


def _read_table(file: Path, reader_name: str, converted: ConvertedFile | None, target: _Target) -> FileResult:
    """Read a table. If its units or times look wrong, ask the person at the terminal to confirm them.

    Raises:
        UnitDoubtError: They were not confirmed, or the command does not run at a terminal.
        RefusedError: The person could not be authenticated.
    """
    database = target.database
    confirmed_by = target.confirmed_by

    def read(confirmation: Confirmation) -> FileResult:
        return FileImport(
            file,
            target.pipeline,
            target.site,
            _now,
            mapping=target.import_options.mapping,
            dry_run=database is None,
            accept_units=confirmation.units,
            accept_times=confirmation.times,
            by=name_os_actor().name,
            open_lines=partial(open_readings(reader_name), file, target.import_options)
            if converted is None
            else converted.readings,
        ).run()

    try:
        result = read(target.confirmation)
    except UnitDoubtError as doubt:
        if database is None or not sys.stdin.isatty() or str(file) == "-":
            raise
        if not typer.confirm(f"{doubt}\nStore the readings without a change?", err=True):
            raise
        confirmed_by = authenticate_actor(database, target.by, None if target.site is None else target.site.id)
        _limit_to_account_sites(target.pipeline, database, confirmed_by)
        result = read(Confirmation(units=True, times=True))
    if confirmed_by is not None and database is not None:
        record_units(database, confirmed_by, str(file), result, _now())
    return result


def _limit_to_account_sites(pipeline: Pipeline, database: Database | None, actor: Actor | None) -> None:
    """Accept only rows of the sites of the account that confirmed units or times. Other rows go to the quarantine."""
    if database is None or actor is None:
        return
    with database.read() as c:
        account = find_account(load_users(c), actor.name)
    if account is not None and account.sites is not None:
        pipeline.sites = {name: site for name, site in pipeline.sites.items() if name in account.sites}


def _find_sites(site_id: str | None = None, *, needed: bool) -> dict[str, Site]:
    try:
        return {site.id: site for site in session.read_sites(site_id)}
    except ConfigError:
        if needed or session.options().config is not None:
            raise
        # A dry run needs no site file.
        return {}


def _choose_site(site_id: str | None, sites: Mapping[str, Site], *, dry_run: bool) -> Site | None:
    if site_id is None:
        if len(sites) == 1:
            return next(iter(sites.values()))
        return Site("dry-run", "dry run", 0.0, 0.0, "UTC", (), (), ()) if dry_run else None
    if site_id in sites:
        return sites[site_id]
    if dry_run:
        return Site(site_id, site_id, 0.0, 0.0, "UTC", (), (), ())
    raise NotFoundError(f"site {site_id!r} is not configured; there are: {', '.join(sites) or 'none'}")


_SHOWN_FIELDS: Final = (
    "file",
    "rows",
    "valid",
    "stored",
    "duplicates",
    "revisions",
    "rejected",
    "missing",
    "reasons",
    "flags",
)


def _show_result(result: FileResult, *, dry_run: bool) -> None:
    facts: dict[str, Any] = {
        **{name: getattr(result, name) for name in _SHOWN_FIELDS},
        "dry_run": dry_run,
        "sites": sorted(result.sites),
        "undeclared": sorted(result.undeclared),
        "unknown_stations": sorted(result.unknown),
        "from": None if result.from_at is None else format_iso(result.from_at),
        "to": None if result.to_at is None else format_iso(result.to_at),
    }
    if result.points:
        facts["points"] = result.points
    if result.mask:
        facts |= {"mask": result.mask, "masked": result.masked}
    if result.fills:
        facts["fills"] = {f"{fill:g}": count for fill, count in sorted(result.fills.items())}
    outcome = "nothing stored (dry run)" if dry_run else f"{result.stored} stored, {result.duplicates} known before"
    if result.joined:
        outcome += f", {result.joined} tips added to others at the same instant"
    rows = f"{result.rows} rows" + (f" of {result.points} points" if result.points else "")
    line = f"{result.file}: {rows}, {result.valid} valid, {outcome}, {result.rejected} rejected"
    if result.missing:
        line += f", {result.missing} without a value"
    if result.mask:
        line += f", {result.masked} of them excluded by {result.mask}" if result.missing else f", mask {result.mask}"
    if result.fills:
        numbers = ", ".join(f"{fill:g} ({count} times)" for fill, count in sorted(result.fills.items()))
        line += f"; left out as fill values: {numbers}"
    if result.first_reason:
        reasons = ", ".join(f"{code} {count}" for code, count in result.reasons.items())
        line += f" ({reasons}; first: {result.first_reason})"
    session.print_result(facts, line + _describe_doubts([result]))


def _summarise(results: Sequence[FileResult]) -> str:
    names = ("rows", "valid", "stored", "rejected")
    counts = {name: sum(getattr(result, name) for result in results) for name in names}
    line = f"{len(results)} files: " + ", ".join(f"{count} {name}" for name, count in counts.items())
    return line + _describe_doubts(results)


def _describe_doubts(results: Sequence[FileResult]) -> str:
    """Return what keeps readings of the files from decisions: flags, and stations and series outside the site file."""
    flags: dict[str, int] = {}
    for result in results:
        for flag, count in result.flags.items():
            flags[flag] = flags.get(flag, 0) + count
    stations = sorted({name for result in results for name in result.unknown})
    undeclared = {name for result in results for name in result.undeclared}
    series = sorted(name for name in undeclared if name.partition(".")[0] not in stations)
    parts = []
    if flags:
        parts.append(f"flagged: {', '.join(f'{flag} {count}' for flag, count in sorted(flags.items()))}")
    if stations:
        parts.append(f"stations that the site file does not name: {list_names(stations)}")
    if series:
        parts.append(f"series that the site file does not name: {list_names(series)}")
    return "".join(f"; {part}" for part in parts)


def _forget_reference(name: str, by: str | None) -> None:
    site_id, _, station = name.partition("/")
    if not site_id or not station:
        raise typer.BadParameter("--forget-epoch0: expected SITE/STATION")
    with session.open_database() as database:
        actor = authenticate_actor(database, by, site_id)
        with database.write() as connection:
            forget_reference(connection, site_id, station, actor, _now())
    session.print_result(
        {"forgotten": name},
        f"{name}: deleted the reference, the next message sets a new one; declare an offset if the series jumps",
    )
