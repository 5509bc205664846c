"""`slopeward import`: from files of unknown layout to stored readings and a judged level."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from monitor.api.cli import (
    EXIT_NOTHING,
    EXIT_PARTLY,
    By,
    Commands,
    describe_decision,
    evaluate_now,
    make_progress_printer,
    name_os_actor,
    open_database,
    options,
    print_json,
    print_note,
    read_service,
)
from monitor.api.database import Database, load_current_revision, require_current, upgrade
from monitor.api.decision import WarningSummary
from monitor.api.decoders import Pipeline
from monitor.api.errors import ConfigError, UnitDoubtError
from monitor.api.hooks import SourcePast
from monitor.api.plugins import hooks
from monitor.api.queries.ingest import FileResult, add_places, find_doubted
from monitor.api.settings import ServiceConfig
from monitor.api.sites import QUANTITIES, Site, scan_sites
from monitor.features.table_import.cli.asking import ask_until_answered, can_ask, preview_to_json, read_answers
from monitor.features.table_import.cli.reporting import (
    HOW_TO_CONFIRM,
    describe_count,
    explain_unjudged,
    print_understood,
    print_warnings,
    read_given_bounds,
)
from monitor.features.table_import.drafts import (
    SiteDraft,
    draft_additions,
    draft_new_site,
    load_answers,
    quote_path,
    replace_file,
    require_own_mappings,
    save_answers,
    write_mapping,
    write_new,
)
from monitor.features.table_import.folder import FileGuess, ImportGuess, ImportReader, list_import_files
from monitor.features.table_import.guess import site_file
from monitor.features.table_import.guess.values import LineReader
from monitor.features.table_import.storing import ImportTarget, check_file, open_file, store_file

app = Commands(help="Import tables of readings with any layout.")
_MAPPINGS: Final = "mappings"


@app.command(name="import")
def import_(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, or folders of files")] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="SOURCE", help="Instead of files: a database source of the service file"),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DAY", help="First day to read from SOURCE, such as 2025-01-01")
    ] = None,
    site_id: Annotated[
        str | None,
        typer.Option(
            "--site", help="Default: the name of the file or folder. Required in scripts if other sites exist"
        ),
    ] = None,
    answers: Annotated[
        list[str] | None,
        typer.Option("--answer", help="KEY=VALUE, such as zone=Europe/Rome; FILE/KEY=VALUE for one file alone"),
    ] = None,
    bounds: Annotated[
        list[str] | None,
        typer.Option("--bound", help="QUANTITY=NUMBERS, such as 'tilt_x=5 10 20 mrad', one for each level"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be stored; write nothing")] = False,
    is_yes_given: Annotated[bool, typer.Option("--yes", help="Do not ask before storing")] = False,
    accept_units: Annotated[
        bool,
        typer.Option("--accept-units", help="Units and times are right, however doubtful they look; it is recorded"),
    ] = False,
    by: By = None,
) -> None:
    """Import tables of any layout: ask what is unclear, store the readings and evaluate the site.

    Each question is asked once for all files, and the first and last rows are shown before anything is stored. The
    command also asks for bounds of quantities that no criterion uses yet. Without a terminal, it prints the open
    questions and stores nothing, and leaves out files with doubtful units. The command can be repeated: stored readings
    are not stored twice, and the answers are stored with the mappings in `mappings/SITE`, beside the folder of the site
    files. For GNSS solutions, InSAR points and grids, and for scripts, use `slopeward ingest`.

    With `--from`, the past of a database source is read first, in pages. If it is interrupted, the same command
    continues.

    Exit 0 all stored, 3 some rows or files could not be stored, 4 nothing valid, 1 a known error.

    Example: slopeward import readings.csv
    Example: slopeward import piezometers/ --site north-bench --answer zone=UTC --answer place=46.2,8.9 --yes
    Example: slopeward import --from geomos --since 2025-01-01
    """
    service = read_service()
    past = _read_past(service, paths, source, since)
    zone = None
    if past is not None:
        paths = [past.path]
        zone = past.zone
        site_id = site_id or past.site
    assert paths is not None
    site_id, site = _choose_site(paths, site_id, service.paths.sites)
    mappings = service.paths.sites.parent / _MAPPINGS / site_id
    remembered = load_answers(mappings)
    # The place belongs to no file. An interrupted import may have stored it before the site file was written.
    given = {key: remembered[key] for key in remembered if key == site_file.PLACE} | read_answers(answers or ())
    listed = list_import_files(paths)
    reader = ImportReader(listed.files, site, asks_place=site is None, remembered=remembered)
    found = ask_until_answered(reader, given)
    found = replace(found, left_out=(*listed.left_out, *found.left_out))
    print_understood(found)
    _print_unused(reader, given)
    found, confirmed = _check_files(found, site, accept_units=accept_units)
    set_bounds = read_given_bounds(bounds or (), by)
    draft = _draft_site(site_id, site, found, given, set_bounds, zone)
    if not set_bounds and can_ask() and draft.find_unjudged() is not None:
        set_bounds = _ask_bounds(draft, by)
        draft = _draft_site(site_id, site, found, given, set_bounds, zone) if set_bounds else draft
    warnings = draft.summarise()
    if not options().as_json:
        print_warnings(warnings, draft)
    if dry_run:
        print_note("nothing written (dry run)")
        if options().as_json:
            print_json(_describe_import(found, draft, warnings, []))
        return
    require_own_mappings(mappings, found)
    if can_ask() and not is_yes_given:
        plan = _describe_plan(found, site, draft, service.paths.sites)
        if not typer.confirm(plan, default=True, err=True):
            raise typer.Exit(1)
    save_answers(mappings, remembered | given)
    path = service.paths.sites / f"{site_id}.toml"
    with open_database(service, any_revision=True) as db:
        _prepare_database(db)
        results = _store_files(db, found, draft.site, service, confirmed, "" if past is None else past.name)
        stored = _select_stored(found, results)
        if len(stored.files) < len(found.files):
            draft = _draft_stored(site_id, site, stored, given, set_bounds, zone)
        written = [mapping for file in stored.files if (mapping := write_mapping(mappings, file, found)) is not None]
        if draft.text is not None:
            written.append(write_new(path, draft.text) if site is None else replace_file(path, draft.text))
        in_force, decision = evaluate_now(db, draft.site, _now())
        if past is not None:
            past.finish(db, _now)
    if options().as_json:
        print_json(_describe_import(found, draft, warnings, results) | {"level": in_force.levels[decision.level].name})
    else:
        for line in describe_decision(in_force, decision, in_force.timezone, only_with_data=True):
            print(line)
        _print_record_end(draft, decision.level, is_blind=decision.observability == "blind")
    for file in written:
        print_note(f"{file} written")
    explain_unjudged(draft, set_bounds, path)
    _print_next(draft, path)
    _exit_by(results, found)


def _read_past(
    service: ServiceConfig, paths: Sequence[Path] | None, source: str | None, since: str | None
) -> SourcePast | None:
    """Read the past of a source into a file; None if files are imported.

    Raises:
        BadParameter: Neither files nor a source are given, or both, or a source without a valid day.
        ConfigError: The source cannot be read.
    """
    if source is None:
        if not paths:
            raise typer.BadParameter("expected files or folders, or --from SOURCE --since DAY")
        if since is not None:
            raise typer.BadParameter("--since: only with --from SOURCE; files are imported completely")
        return None
    if paths:
        raise typer.BadParameter("--from: expected either files or a source")
    try:
        day = date.fromisoformat(since or "")
    except ValueError:
        raise typer.BadParameter(f"--since: expected a day such as 2025-01-01, got {since!r}") from None
    show_progress = make_progress_printer()
    past: SourcePast | None = hooks().read_source_past(
        config=service, source=source, since=day.isoformat(), on_progress=partial(show_progress, f"reading {source}")
    )
    if past is None:
        raise ConfigError("--from: no feature that reads sources is installed")
    for note in past.notes:
        print_note(note)
    return past


def _choose_site(paths: Sequence[Path], site_id: str | None, folder: Path) -> tuple[str, Site | None]:
    """Return the id of the site of the files, and the site if it exists.

    Without `--site` the name of the first file or folder names the site. If there are sites with other names, a person
    chooses.

    Raises:
        Exit: There are other sites, and no person is at the terminal.
        ConfigError: The file of the site cannot be used.
    """
    known, failures = scan_sites(folder) if folder.is_dir() else ((), {})
    sites = {site.id: site for site in known}
    name = site_id or site_file.name_site(paths[0].resolve().stem)
    for path, error in failures.items():
        if path.stem == name:
            raise error
    if site_id is None and sites and name not in sites:
        name = _ask_site(name, sites)
    return name, sites.get(name)


def _ask_site(new: str, sites: Collection[str]) -> str:
    """Ask which site files belong to: one that exists, or a new one named after the files.

    Raises:
        Exit: No person is at the terminal.
    """
    choices = (*sites, new)
    text = f"which site do these files belong to? {new} would be a new site [{', '.join(choices)}]"
    if not can_ask():
        print_note(f"{text}. Answer: --site ...")
        raise typer.Exit(1)
    while (typed := str(typer.prompt(text, err=True)).strip()) not in choices:
        print_note(f"one of: {', '.join(choices)}; for another new site repeat the command with --site NAME")
    return typed


def _print_unused(reader: ImportReader, given: Mapping[str, str]) -> None:
    """Print which answers no file needed, so that nobody believes that they changed something."""
    unused = [key for key in given if key not in reader.used_answers and key != site_file.PLACE]
    if unused:
        print_note(f"no file needed these answers, so they changed nothing: {', '.join(unused)}")


def _check_files(found: ImportGuess, site: Site | None, *, accept_units: bool) -> tuple[ImportGuess, Collection[Path]]:
    """Check units, times and ranges of all files before anything is derived from them or stored.

    The origins of stations are those of the site file, and for new stations those that a file states.

    Args:
        found: The files without open questions.
        site: The site; None for a new one.
        accept_units: Skip the check, because a person confirmed all units and times.

    Returns:
        The files without those that are refused, and the files whose units and times a person confirmed.

    Raises:
        UnitDoubtError: The only file is doubtful.
        ConfigError: All files are doubtful, or a file cannot be read.
    """
    checked = site or Site("import", "import", 0.0, 0.0, "UTC", (), (), ())
    kept: list[FileGuess] = []
    confirmed: set[Path] = set()
    left_out = list(found.left_out)
    for file in found.files:
        try:
            if not accept_units:
                stated = add_places(file.guess.options, site)
                check_file(
                    file.path, file.guess.form, stated, checked, _now, found.lines, _report_share("checking", file)
                )
        except UnitDoubtError as doubt:
            if can_ask() and typer.confirm(f"{find_doubted(doubt)}\nStore the file anyway?", err=True):
                confirmed.add(file.path)
            elif len(found.files) == 1:
                raise
            else:
                print_note(f"{file.path.name} is left out: {doubt.message}")
                left_out.append((file.path, doubt.message))
                continue
        kept.append(file)
    if not kept:
        raise ConfigError("all files are refused; nothing was stored")
    if accept_units:
        confirmed |= {file.path for file in kept}
    return replace(found, files=tuple(kept), left_out=tuple(left_out)), confirmed


def _report_share(stage: str, file: FileGuess) -> Callable[[FileResult], None]:
    """Return a function that prints the share of the values of a file that have passed a stage."""
    show_progress = make_progress_printer()
    values = max(1, 0 if file.preview is None else file.preview.values)

    def report(result: FileResult) -> None:
        show_progress(f"{stage} {file.path.name}", min(1.0, (result.valid + result.rejected) / values))

    return report


def _draft_site(
    site_id: str,
    site: Site | None,
    found: ImportGuess,
    answers: Mapping[str, str],
    bounds: Sequence[site_file.LevelBounds],
    zone: str | None,
) -> SiteDraft:
    if site is not None:
        return draft_additions(site, found, bounds)
    show_progress = partial(make_progress_printer(), "replaying the record")
    return draft_new_site(site_id, found, answers, bounds, show_progress, zone=zone)


def _ask_bounds(draft: SiteDraft, by: str | None) -> list[site_file.LevelBounds]:
    """Ask for the bounds of each quantity that no criterion judges; an empty answer leaves it unjudged."""
    unjudged = draft.find_unjudged()
    bounds: list[site_file.LevelBounds] = []
    for quantity in () if unjudged is None else unjudged.quantities:
        unit = QUANTITIES[quantity].unit
        print_note(
            f"nothing judges {quantity} yet. From which value on should each level be raised? One number in {unit} for "
            "each level, lowest first, such as '5 10 20'; 'under -5 -10' for falling values; none: nothing judges it"
        )
        while True:
            typed = str(typer.prompt(f"bounds of {quantity}", default="none", err=True)).strip()
            if typed == "none":
                break
            try:
                bounds += read_given_bounds([f"{quantity}={typed}"], by, source="at the prompt of slopeward import")
                break
            except ConfigError as error:
                print_note(error.message)
    return bounds


def _describe_plan(found: ImportGuess, site: Site | None, draft: SiteDraft, folder: Path) -> str:
    """Return the text of the confirmation: what is stored, and which file is written."""
    values = sum(file.preview.values - file.preview.refused for file in found.files if file.preview is not None)
    files = f"{len(found.files)} {'file' if len(found.files) == 1 else 'files'}"
    path = folder / f"{draft.site.id}.toml"
    if site is None:
        plan = f"and write the new site file {path}"
    elif draft.added:
        stations = len({sensor.station for sensor in draft.added})
        plan = f"and add {stations} {'station' if stations == 1 else 'stations'} to {path}"
    else:
        plan = f"at the site {draft.site.id}"
    return f"Store {values:,} values of {files} {plan}?"


def _prepare_database(db: Database) -> None:
    """Create the tables of a new database. An operator upgrades an older one, because a backup may be needed first."""
    if not load_current_revision(db):
        upgrade(db)
    require_current(db)


def _store_files(
    db: Database, found: ImportGuess, site: Site, service: ServiceConfig, confirmed: Collection[Path], source: str
) -> list[tuple[FileGuess, FileResult | str]]:
    """Store the readings of each file. A file that cannot be stored does not keep the others out.

    Args:
        db: The database, whose schema is current.
        found: The files without open questions.
        site: The site as its file will declare it.
        service: The service file.
        confirmed: Files whose units and times a person confirmed.
        source: Name of the source that was read into the only file; empty if files are imported.

    Returns:
        Each file with its result, or with the reason why it was not stored.
    """
    actor = name_os_actor()
    pipeline = Pipeline(db, {site.id: site}, _now, service.limits)
    target = ImportTarget(db, site, pipeline, actor, service.compute, _now)
    results: list[tuple[FileGuess, FileResult | str]] = []
    for file in found.files:
        try:
            result = _store_one(file, found.lines, target, are_units_confirmed=file.path in confirmed)
        except ConfigError as error:
            print_note(f"{source or file.path.name} was not stored: {error.message}")
            results.append((file, error.message))
            continue
        results.append((file, result))
        if not options().as_json:
            print(_describe_result(source or file.path.name, result))
    return results


def _store_one(file: FileGuess, reader: LineReader, target: ImportTarget, *, are_units_confirmed: bool) -> FileResult:
    """Store a file. If its units or times look doubtful, a person at the terminal confirms them.

    Raises:
        UnitDoubtError: Nobody confirmed them.
    """
    form, stated = file.guess.form, add_places(file.guess.options, target.site)
    with open_file(file.path, form, stated, target) as converted:
        store = partial(
            store_file,
            file.path,
            form,
            stated,
            target,
            reader=reader,
            converted=converted,
            on_checked=_report_share("checking", file),
            on_progress=_report_share("storing", file),
        )
        try:
            return store(are_units_confirmed=are_units_confirmed)
        except UnitDoubtError as doubt:
            if not can_ask() or not typer.confirm(f"{find_doubted(doubt)}\nStore the file anyway?", err=True):
                raise
            return store(are_units_confirmed=True)


def _describe_result(name: str, result: FileResult) -> str:
    line = f"{name}: {result.stored} stored, {result.duplicates} known before, {result.rejected} refused"
    if result.missing:
        line += f", {result.missing} without a value"
    if result.first_reason:
        line += f"; first refused: {result.first_reason}"
    if result.flags:
        line += f"; flagged: {', '.join(f'{flag} {count}' for flag, count in sorted(result.flags.items()))}"
    return line


def _describe_import(
    found: ImportGuess,
    draft: SiteDraft,
    warnings: WarningSummary,
    results: Sequence[tuple[FileGuess, FileResult | str]],
) -> dict[str, object]:
    """Return an import as plain values."""
    stored = {file.path: result for file, result in results}
    files = []
    for file in found.files:
        described = dict(preview_to_json(file))
        result = stored.get(file.path)
        if isinstance(result, FileResult):
            described |= {"stored": result.stored, "known_before": result.duplicates, "rejected": result.rejected}
        elif result is not None:
            described["error"] = result
        files.append(described)
    return {
        "site": draft.site.id,
        "files": files,
        "left_out": {str(path): reason for path, reason in found.left_out},
        "sensors": [asdict(sensor) for sensor in found.merge().sensors],
        "warnings": warnings.to_json() | describe_count(draft.record),
    }


def _print_next(draft: SiteDraft, path: Path) -> None:
    """Print the commands that go on from a stored import."""
    config = options().config
    more = "" if config is None else f" --config {quote_path(config)}"
    site = draft.site.id
    print_note("next:")
    if draft.site.criteria:
        print_note(f"  a geologist confirms the bounds in {path} ({HOW_TO_CONFIRM})")
    print_note(f"  slopeward backtest --site {site}{more}      # the levels of the whole record")
    print_note(f"  slopeward run{more}      # the service with its page, new readings (MQTT, sources), and messages")


def _select_stored(found: ImportGuess, results: Sequence[tuple[FileGuess, FileResult | str]]) -> ImportGuess:
    """Return the files that have a valid reading. The others change neither the site file nor the mappings.

    Raises:
        Exit: No reading is valid.
    """
    stored = [file for file, result in results if isinstance(result, FileResult) and result.valid]
    if not stored:
        reasons = (result.first_reason for _, result in results if isinstance(result, FileResult))
        reason = next(filter(None, reasons), "")
        print_note("nothing valid was found" + (f"; the first reason: {reason}" if reason else ""))
        raise typer.Exit(EXIT_NOTHING)
    return replace(found, files=tuple(stored))


def _draft_stored(
    site_id: str,
    site: Site | None,
    stored: ImportGuess,
    answers: Mapping[str, str],
    bounds: Sequence[site_file.LevelBounds],
    zone: str | None,
) -> SiteDraft:
    """Return the site with the stations of stored files alone, without bounds of quantities that these lack."""
    sensors = stored.merge().sensors
    if site is not None and not site_file.find_absent(site, sensors):
        return SiteDraft(site, None)
    fitting = [bound for bound in bounds if any(s.quantity.startswith(bound.quantity) for s in sensors)]
    return _draft_site(site_id, site, stored, answers, fitting, zone)


def _print_record_end(draft: SiteDraft, level_now: int, *, is_blind: bool) -> None:
    """Print the level at the end of a replay of the record, if it is higher than the stored level or the only one.

    A record that is too old to count today has no other level. In a replay, the two highest levels stay until a person
    lowers them, so it can end at a higher level than that of the newest readings alone.
    """
    if draft.record is None or draft.record.end is None:
        return
    end = draft.record.end
    level = draft.site.levels[end.level].name
    if is_blind:
        print(f"after the newest reading of this record, of {end.newest}, the level was {level}, since {end.since}")
    elif end.level > level_now:
        print(
            f"a replay of this record ends at {level}, since {end.since}, because raised levels stay in a replay until "
            "a person lowers them. The level above follows from the newest readings alone. Look at the slope; if "
            f"{level} is right, set it: slopeward level set {draft.site.id} {level} --reason TEXT"
        )


def _exit_by(results: Sequence[tuple[FileGuess, FileResult | str]], found: ImportGuess) -> None:
    stored = [result for _, result in results if isinstance(result, FileResult)]
    if any(result.rejected for result in stored) or len(stored) < len(results) or found.left_out:
        raise typer.Exit(EXIT_PARTLY)


def _now() -> datetime:
    return datetime.now(UTC)
