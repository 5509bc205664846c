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
from monitor.cli.site.ingest_form import choose_for, choose_form, list_suffixes
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


class AcceptedDoubts(NamedTuple):
    """What a person has said to be right of a file, however doubtful it looks."""

    units: bool
    times: bool


class _Target(NamedTuple):
    """What files go into, and what a person says of them."""

    site: Site | None  # where rows without a site column belong
    pipeline: Pipeline
    database: Database | None  # None: a dry run
    stated: ImportOptions
    accepted: AcceptedDoubts
    by: str | None  # whom `--by` names
    who: Actor | None  # who said beforehand that units and times are right


# options that say something of a file -> the fields of both records
STATED: Final = {
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
    """What `slopeward ingest` takes."""

    path: Annotated[
        Path | None, typer.Argument(help="CSV or Parquet file, a folder of them, or - for CSV from stdin")
    ] = None
    site: Annotated[str | None, typer.Option("--site", help="Where rows without a site column belong")] = None
    form: Annotated[str | None, typer.Option("--format", help=f"Where the content does not say it. {_FORMS}")] = None
    mapping: Annotated[Path | None, typer.Option("--mapping", help="TOML that says what the columns mean")] = None
    point_set: Annotated[
        str | None, typer.Option("--set", help="Name of the set of InSAR points; EGMS: else the name of the file")
    ] = None
    direction: Annotated[
        str | None, typer.Option("--direction", help=f"What a positive value means: {', '.join(DIRECTIONS)}")
    ] = None
    unit: Annotated[
        str | None,
        typer.Option("--unit", help=f"Of points: {', '.join(UNITS)}; of a grid or of depths: of their values"),
    ] = None
    station: Annotated[str | None, typer.Option("--station", help="Whose positions or depths the file holds")] = None
    time: Annotated[str | None, typer.Option("--time", help="Of solutions without a header: gpst or utc")] = None
    quantity: Annotated[str | None, typer.Option("--quantity", help="What a grid holds, such as rain")] = None
    variable: Annotated[str | None, typer.Option("--variable", help="Which grid of a netCDF file")] = None
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
        typer.Option("--window", min=0.0, max=1e6, help="Mean of cells within so many metres; else the nearest"),
    ] = None
    within_m: Annotated[
        float | None, typer.Option("--within", min=0.0, max=1e6, help="Only pixels within so many metres of a station")
    ] = None
    stamp: Annotated[
        str | None, typer.Option("--stamp", help="Of rain of a grid: interval_end, or counter as that of a model run")
    ] = None
    rejected: Annotated[bool, typer.Option("--rejected", help="Read the quarantine again")] = False
    forget_epoch0: Annotated[
        str | None, typer.Option("--forget-epoch0", help="SITE/STATION whose GNSS reference changed")
    ] = None
    guesses: Annotated[
        bool,
        typer.Option("--guess", help="Understand any table, ask what it does not say, write mapping and site file"),
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
    out: Annotated[Path | None, typer.Option("--out", help="With --guess: folder of what is written")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look: needs no database and no site")] = False
    accept_units: Annotated[
        bool, typer.Option("--accept-units", help="The units are right, however doubtful they look; it is recorded")
    ] = False
    accept_times: Annotated[
        bool,
        typer.Option("--accept-times", help="The times are right, though ahead of now or before 1950; it is recorded"),
    ] = False
    by: By = None

    @property
    def by_option(self) -> dict[str, object]:
        """What it says of the file, by the option that says it."""
        return {option: getattr(self, name) for option, name in STATED.items()}


@app.command()
def ingest(given: IngestArguments) -> None:
    """Store observations from files; reading a file twice stores nothing twice.

    Exit 0 all stored, 3 some rows went to the quarantine or some files could not be read,
    4 nothing valid, 1 a known error.

    Example: slopeward ingest readings.csv --site north-bench --dry-run
    Example: slopeward ingest monitoring.csv --guess --answer zone=Europe/Rome --answer place=46.2,8.9
    Example: slopeward ingest EGMS_L2b_022_0845_IW2_VV_2020_2024_1.zip --site north-bench --format egms
    """
    chosen = [given.path is not None, given.rejected, given.forget_epoch0 is not None]
    if sum(chosen) != 1:
        raise typer.BadParameter("give a FILE, --rejected or --forget-epoch0")
    if given.guesses:
        if given.path is None or given.mapping is not None or given.form is not None:
            raise typer.BadParameter("--guess takes a FILE or a folder, without --mapping and --format")
        was_imported = hooks().import_unknown_table(
            path=given.path,
            site_id=given.site,
            answers=given.answers or (),
            out=given.out,
            bounds=given.bounds or (),
            by=given.by,
            dry_run=given.dry_run,
        )
        if not was_imported:
            raise ConfigError("--guess: the feature table_import is absent; describe the columns by --mapping")
        return
    if given.answers or given.bounds or given.out is not None:
        raise typer.BadParameter("--answer, --bound and --out belong to --guess")
    if given.path is None or given.form is not None:
        choose_form(given.form, given.by_option)  # what cannot be is refused before a file is touched
    if given.forget_epoch0 is not None:
        _forget(given.forget_epoch0, given.by)
    elif given.rejected:
        with session.open_database() as database:
            pipeline = Pipeline(database, _find_sites(needed=True), _now, session.read_service().limits)
            result = replay_rejected(pipeline, _now, dry_run=given.dry_run)
            if result.stored and not given.dry_run:
                retry_while_busy(pipeline.complete)
        facts = {
            "read": result.examined,
            "accepted": result.accepted,
            "stored": result.stored,
            "duplicates": result.duplicates,
            "waiting": result.waiting,
            "reasons": result.reasons,
            "dry_run": given.dry_run,
        }
        session.show(
            facts,
            f"{result.examined} messages read again: {result.accepted} accepted ({result.stored} readings stored), "
            f"{result.waiting} still wait",
        )
        if not result.accepted:
            raise typer.Exit(session.EXIT_NOTHING)
        if result.waiting:
            raise typer.Exit(session.EXIT_PARTLY)
    else:
        assert given.path is not None
        _read(given.path, given)


def _now() -> datetime:
    return datetime.now(UTC)


def _read(path: Path, given: IngestArguments) -> None:
    site_id, named, dry_run, by_option = given.site, given.form, given.dry_run, given.by_option
    mapping = None if given.mapping is None else load_mapping(given.mapping)
    stated = ImportOptions(**{name: getattr(given, name) for name in STATED.values()} | {"mapping": mapping})
    accepted = AcceptedDoubts(given.accept_units, given.accept_times)
    results: list[FileResult] = []
    unread = 0
    has_points = False
    with ExitStack() as stack:
        files = _leave_companions(list_files(path, list_suffixes(named, by_option)), stated)
        sites = _find_sites(site_id, needed=not dry_run)
        place = _pick(site_id, sites, dry_run=dry_run)
        database = None if dry_run else stack.enter_context(session.open_database())
        pipeline = Pipeline(database, sites, _now, None if dry_run else session.read_service().limits)
        who = authenticate_actor(database, given.by, site_id) if any(accepted) and database is not None else None
        _hold_to_sites(pipeline, database, who)
        target = _Target(place, pipeline, database, add_places(stated, place), accepted, given.by, who)
        grids = _read_grids(files, named, by_option, target.stated, stack) if len(files) > 1 else {}
        for file in files:
            try:
                form = choose_for(file, named, by_option)
                has_points |= list_readers()[form].content is Content.POINTS
                with nullcontext(grids[file]) if file in grids else _convert(file, form, target.stated) as converted:
                    result = _read_file(file, form, converted, target)
            except ConfigError as error:
                if len(files) == 1:
                    raise
                session.print_note(str(error))  # one broken file does not keep the others of the folder out
                unread += 1
                continue
            results.append(result)
            if database is not None:
                record_file(database, name_os_actor(), result, _now())
                for name in renew_known_flags(database, sites, result.sites, _now()):
                    session.print_note(
                        f"{name}: the site file is not in force yet, flags of readings stored before follow it then: "
                        f"restart the service, or run slopeward evaluate --site {name}"
                    )
            _show_result(result, dry_run=dry_run)
        if given.mask is None and (note := describe_unmasked(results)):
            session.print_note(note)
        if len(results) > 1 and not session.options().as_json:
            print(_total(results))
    _conclude(results, unread=unread, has_points=has_points, dry_run=dry_run)


def describe_unmasked(results: Sequence[FileResult]) -> str:
    """Return a line about files without the mask that other files of the same folder have; "" if there are none."""
    masks = sorted({result.mask for result in results if result.mask})
    unmasked = [Path(result.file).name for result in results if not result.mask]
    if not masks or not unmasked:
        return ""
    return (
        f"no mask was applied to {list_names(unmasked)}, which have none; the other files were masked by "
        f"{', '.join(masks)}: values of bad cells may be among those of these dates"
    )


def _leave_companions(files: list[Path], stated: ImportOptions) -> list[Path]:
    """Return the files of a folder without masks and quality layers, which belong to the displacement beside them."""
    if len(files) == 1 or not stated.is_motion:
        return files
    kept = [file for file in files if not is_companion(file)]
    if not kept or len(kept) == len(files):
        return files
    session.print_note(
        "not read as displacement, because they are masks or quality layers by their names: "
        + list_names([file.name for file in files if is_companion(file)])
    )
    return kept


def _conclude(results: Sequence[FileResult], *, unread: int, has_points: bool, dry_run: bool) -> None:
    valid, bad = sum(r.valid for r in results), sum(r.rejected for r in results)
    reason = next((r.first_reason for r in results if r.first_reason), "")
    session.require_any(valid, "nothing valid was found" + (f"; the first reason: {reason}" if reason else ""))
    if bad and not dry_run:
        again = "read it again: slopeward ingest --rejected" if not has_points else "mend the file and import it again"
        session.print_note(f"what could not be read waits in the view rejected_messages; {again}")
    if bad or unread:
        raise typer.Exit(session.EXIT_PARTLY)


def _read_grids(
    files: Sequence[Path], named: str | None, given: Mapping[str, object], stated: ImportOptions, stack: ExitStack
) -> dict[Path, ConvertedFile]:
    """The grids of a folder, read before anything of them is stored; what a worker refuses is left to its turn.

    Raises:
        ConfigError: two of them say something of one station at one instant: a name may say the day and not its time.
    """
    from monitor.ingest.grids.rain import are_accumulated, check_stamp

    found: dict[Path, ConvertedFile] = {}
    claims: dict[tuple[str, str], Path] = {}
    rain: dict[str, list[tuple[float, float]]] = {}
    for file in files:
        try:
            is_grid = choose_for(file, named, given) == "grid"
            opened = stack.enter_context(_convert(file, "grid", stated)) if is_grid else None
        except ConfigError:
            continue
        if opened is None:
            continue
        found[file] = opened
        with opened.readings() as lines:
            for row, _ in chain.from_iterable(line.rows for line in lines):
                station, at = row["station"], row["time"]
                if (other := claims.setdefault((station, at), file)) != file:
                    raise ConfigError(
                        f"{file} and {other.name} both say what {station} measured at {at}: nothing is stored. Where "
                        "the name says the day alone, add the time of the day to it (20240105T0630Z), or import the "
                        "files by themselves"
                    )
                if stated.quantity == "rain":
                    rain.setdefault(station, []).append((epoch_s(parse_time(at)), row["value"]))
    if rain:  # files of one layer each show together what none of them shows
        places = [place for place in stated.places if place.station in rain]
        is_accumulated = are_accumulated(rain.values())
        check_stamp(f"{files[0].parent}", places, stated.stamp, is_accumulated=is_accumulated, is_doubtful=False)
    return found


@contextmanager
def _convert(file: Path, form: str, stated: ImportOptions) -> Iterator[ConvertedFile | None]:
    """What a worker read of a file whose form needs that; None: it is read here."""
    if not list_readers()[form].in_worker:
        yield None
        return
    try:
        plan = session.read_service().compute
    except ConfigError:
        if session.options().config is not None:
            raise
        plan = ComputeSection()  # a dry run looks at the file alone
    with open_converted(file, form, stated, plan, _now()) as opened:
        yield opened


def _read_file(file: Path, form: str, converted: ConvertedFile | None, target: _Target) -> FileResult:
    if list_readers()[form].content is not Content.POINTS:
        return _read_table(file, form, converted, target)
    if target.site is None:
        raise NotFoundError("points belong to a site: give --site")
    opened = open_points(form)(file, target.stated, _now()) if converted is None else converted.points(_now())
    return read_points(PointsFile(file, target.site, _now, target.database), opened)


def _read_table(file: Path, form: str, converted: ConvertedFile | None, target: _Target) -> FileResult:
    """One table; where its units or times are doubtful a person at the keyboard must confirm, and a program is refused.

    Raises:
        UnitDoubtError: nobody says that they are right.
        RefusedError: who says it does not prove to be that person.
    """
    database, who = target.database, target.who

    def read(right: AcceptedDoubts) -> FileResult:
        return FileImport(
            file,
            target.pipeline,
            target.site,
            _now,
            mapping=target.stated.mapping,
            dry_run=database is None,
            accept_units=right.units,
            accept_times=right.times,
            by=name_os_actor().name,
            open_lines=partial(open_readings(form), file, target.stated) if converted is None else converted.readings,
        ).run()

    try:
        result = read(target.accepted)
    except UnitDoubtError as doubt:
        if database is None or not sys.stdin.isatty() or str(file) == "-":
            raise
        if not typer.confirm(f"{doubt}\nStore it as it is?", err=True):
            raise
        who = authenticate_actor(database, target.by, None if target.site is None else target.site.id)
        _hold_to_sites(target.pipeline, database, who)
        result = read(AcceptedDoubts(units=True, times=True))
    if who is not None and database is not None:
        record_units(database, who, str(file), result, _now())
    return result


def _hold_to_sites(pipeline: Pipeline, database: Database | None, who: Actor | None) -> None:
    """Who vouches for units vouches on the own sites alone: rows that name another one are put aside."""
    if database is None or who is None:
        return
    with database.read() as c:
        account = find_account(load_users(c), who.name)
    if account is not None and account.sites is not None:
        pipeline.sites = {name: site for name, site in pipeline.sites.items() if name in account.sites}


def _find_sites(site_id: str | None = None, *, needed: bool) -> dict[str, Site]:
    try:
        return {s.id: s for s in session.read_sites(site_id)}
    except ConfigError:
        if needed or session.options().config is not None:
            raise
        return {}  # a dry run looks at the file alone


def _pick(site_id: str | None, sites: Mapping[str, Site], *, dry_run: bool) -> Site | None:
    if site_id is None:
        if len(sites) == 1:
            return next(iter(sites.values()))
        return Site("dry-run", "dry run", 0.0, 0.0, "UTC", (), (), ()) if dry_run else None
    if site_id in sites:
        return sites[site_id]
    if dry_run:
        return Site(site_id, site_id, 0.0, 0.0, "UTC", (), (), ())
    raise NotFoundError(f"site {site_id!r} is not configured; there are: {', '.join(sites) or 'none'}")


_SHOWN: Final = (
    *("file", "rows", "valid", "stored", "duplicates", "revisions", "rejected", "missing", "reasons"),
    *("flags",),
)


def _show_result(result: FileResult, *, dry_run: bool) -> None:
    span = (result.from_at, result.to_at)
    facts: dict[str, Any] = {
        **{name: getattr(result, name) for name in _SHOWN},
        "dry_run": dry_run,
        "sites": sorted(result.sites),
        "undeclared": sorted(result.undeclared),
        "unknown_stations": sorted(result.unknown),
        "from": None if span[0] is None else format_iso(span[0]),
        "to": None if span[1] is None else format_iso(span[1]),
    }
    if result.points:
        facts["points"] = result.points
    if result.mask:
        facts |= {"mask": result.mask, "masked": result.masked}
    if result.fills:
        facts["fills"] = {f"{fill:g}": count for fill, count in sorted(result.fills.items())}
    done = "nothing stored (dry run)" if dry_run else f"{result.stored} stored, {result.duplicates} known before"
    if result.joined:
        done += f", {result.joined} tips added to others of their instant"
    counted = f"{result.rows} rows" + (f" of {result.points} points, " if result.points else ", ")
    line = f"{result.file}: {counted}{result.valid} valid, {done}, {result.rejected} rejected"
    if result.missing:
        line += f", {result.missing} without a value"
    if result.mask:
        line += f", {result.masked} of them excluded by {result.mask}" if result.missing else f", mask {result.mask}"
    if result.fills:
        numbers = ", ".join(f"{fill:g} ({count} times)" for fill, count in sorted(result.fills.items()))
        line += f"; taken for fills and left out: {numbers}"
    if result.first_reason:
        line += f" ({', '.join(f'{code} {n}' for code, n in result.reasons.items())}; first: {result.first_reason})"

    session.show(facts, line + _doubts([result]))


def _total(results: Sequence[FileResult]) -> str:
    counts = {k: sum(getattr(r, k) for r in results) for k in ("rows", "valid", "stored", "rejected")}
    line = f"{len(results)} files: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    return line + _doubts(results)


def _doubts(results: Sequence[FileResult]) -> str:
    """What of the files no decision will use as it is: flags, and what the site file does not name."""
    flags: dict[str, int] = {}
    for result in results:
        for flag, n in result.flags.items():
            flags[flag] = flags.get(flag, 0) + n
    stations = sorted({name for r in results for name in r.unknown})
    series = sorted({name for r in results for name in r.undeclared if name.partition(".")[0] not in stations})
    parts = [f"flagged: {', '.join(f'{f} {n}' for f, n in sorted(flags.items()))}"] if flags else []
    parts += [f"stations that the site file does not name: {list_names(stations)}"] if stations else []
    parts += [f"series that the site file does not name: {list_names(series)}"] if series else []
    return "".join(f"; {part}" for part in parts)


def _forget(name: str, by: str | None) -> None:
    site, _, station = name.partition("/")
    if not site or not station:
        raise typer.BadParameter("--forget-epoch0: expected SITE/STATION")
    with session.open_database() as database:
        who = authenticate_actor(database, by, site)
        with database.write() as connection:
            forget_reference(connection, site, station, who, _now())
    session.show(
        {"forgotten": name}, f"{name}: the next message says since when it counts; declare an offset if it jumps"
    )
