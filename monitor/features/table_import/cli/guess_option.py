"""`slopeward ingest --guess`: write mappings and a site file for files of unknown layout, and print what follows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from monitor.api.cli import options, print_json, print_note, read_service
from monitor.api.errors import ConfigError
from monitor.api.sites import Site, scan_sites
from monitor.features.table_import.cli.asking import (
    ask_until_answered,
    describe_question,
    preview_to_json,
    read_answers,
)
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
    is_own_site_file,
    name_mapping,
    quote_path,
    write_new,
    write_new_mapping,
)
from monitor.features.table_import.folder import ImportGuess, ImportReader, SharedQuestion, list_import_files
from monitor.features.table_import.guess import site_file


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
    """Understand files, ask what they leave open, write mappings and a site file, and print the commands that go on.

    Args:
        site_id: Site of the files. An existing one gets the stations that it lacks in a file of their own.
        out: Folder for what is written. If it is None, this is the working directory, and a new site file goes to the
            folder of the site files if a site is named, or if this folder does not exist yet.

    Raises:
        Exit: A question is open and no person is at the terminal. Each was printed with the option that answers it.
        ConfigError: No file is a table of readings, or another file is where one would be written.
    """
    answers = read_answers(given)
    set_bounds = read_given_bounds(bounds, by)
    folder = _find_sites_folder()
    known = scan_sites(folder)[0] if folder is not None and folder.is_dir() else ()
    site = next((one for one in known if one.id == site_id), None)
    listed = list_import_files([path])
    reader = ImportReader(listed.files, site, asks_place=site is None and not dry_run)
    found = ask_until_answered(reader, answers)
    found = replace(found, left_out=(*listed.left_out, *found.left_out))
    print_understood(found)
    if dry_run:
        count = len(found.files)
        print_note(f"{count} {'file' if count == 1 else 'files'} understood, nothing written (dry run)")
        if site is None:
            _print_place_question(found, answers)
        if options().as_json:
            print_json({"files": [preview_to_json(file) for file in found.files]})
        return
    here = out or Path()
    written = [mapping for file in found.files if (mapping := write_new_mapping(here, file, found)) is not None]
    name = site_id or site_file.name_site(path.resolve().stem)
    if site is None:
        draft, target, commands = _write_new_site(name, site_id, out, folder, found, answers, set_bounds)
    else:
        draft, target, commands = _write_additions(
            site, here / f"{path.resolve().stem}.stations.toml", folder, found, set_bounds
        )
    if target is not None:
        print_note(f"{target} written")
        written.append(target)
    warnings = draft.summarise()
    if options().as_json:
        print_json(
            {
                "file": str(path),
                "facts": {name: str(text) for name, text in found.merge().facts},
                "written": [str(one) for one in written],
                "sensors": [asdict(sensor) for sensor in found.merge().sensors],
                "warnings": warnings.to_json() | describe_count(draft.record),
            }
        )
    else:
        print_warnings(warnings, draft)
    explain_unjudged(draft, set_bounds, target or path)
    bounds_file = target if draft.added and target is not None else f"the site file of {draft.site.id}"
    if draft.site.criteria:
        print_note(
            f"a geologist must confirm the bounds in {bounds_file} ({HOW_TO_CONFIRM}): those that you did not give "
            "were derived from this record or are fixed, as the comments say. To compare others, change a copy of the "
            f"file and run: slopeward backtest --site {draft.site.id} --config COPY.toml"
        )
    else:
        print_note(f"write the bounds into {bounds_file}")
    print_note("next: store the readings, compute the level, replay the past, forecast, and start the service:")
    for command in (*commands, *_list_commands(found, here, draft)):
        print_note(f"  {command}")


def _write_new_site(
    name: str,
    site_id: str | None,
    out: Path | None,
    folder: Path | None,
    found: ImportGuess,
    answers: Mapping[str, str],
    bounds: Sequence[site_file.LevelBounds],
) -> tuple[SiteDraft, Path | None, Sequence[str]]:
    """Write a new site file; return the site, the file, and the commands that put the file in its place."""
    draft = draft_new_site(name, found, answers, bounds)
    assert draft.text is not None
    is_renewed = (
        bool(bounds) and folder is not None and is_own_site_file(folder / f"{name}.toml", found.merge(), answers)
    )
    # Into the folder of a running service, this command writes only a file that the person named.
    is_first = folder is not None and not folder.is_dir()
    if folder is None or is_renewed or (out is None and (bool(site_id) or is_first)):
        target = (folder or out or Path()) / f"{name}.toml"
        if is_renewed:
            target.unlink()
        return draft, write_new(target, draft.text), ()
    target = write_new((out or Path()) / f"{name}.toml", draft.text)
    existing = folder / f"{name}.toml"
    move = f"mv {quote_path(target)} {quote_path(folder)}/"
    if existing.exists():
        print_note(
            f"{existing} exists already: compare it with {target} before you replace it, or give the new site another "
            "name with --site"
        )
        move = f"mv -i {quote_path(target)} {quote_path(folder)}/"
    return draft, target, (move,) if folder.is_dir() else (f"mkdir -p {quote_path(folder)}", move)


def _write_additions(
    site: Site, target: Path, folder: Path | None, found: ImportGuess, bounds: Sequence[site_file.LevelBounds]
) -> tuple[SiteDraft, Path | None, Sequence[str]]:
    """Write the stations that a site lacks into a file of their own."""
    draft = draft_additions(site, found, bounds)
    if draft.text is None:
        return draft, None, ()
    write_new(target, "\n" + draft.text.removeprefix(site.source.rstrip()).lstrip("\n"))
    count = len({sensor.station for sensor in draft.added})
    print_note(f"{site.id} does not name {count} of the stations: {target} goes to the end of its file")
    command = f"cat {quote_path(target)} >> {quote_path((folder or Path()) / f'{site.id}.toml')}"
    return draft, target, (command,)


def _list_commands(found: ImportGuess, here: Path, draft: SiteDraft) -> Iterator[str]:
    """Return the commands from a site file to stored readings, levels, a forecast and the running service."""
    config = options().config
    more = "" if config is None else f" --config {quote_path(config)}"
    site = draft.site.id
    if not draft.is_weak:
        yield f"slopeward check{more}"
    yield f"slopeward db upgrade{more}"
    for file in found.files:
        if file.guess.mapping is not None:
            reading = f"--mapping {quote_path(name_mapping(here, file.path, found))}"
        else:
            stated = file.guess.file_options
            given = {
                "--format": file.guess.form if stated.station else None,
                "--station": stated.station,
                "--time": stated.time,
            }
            reading = " ".join(f"{option} {value}" for option, value in given.items() if value)
        yield " ".join(filter(None, (f"slopeward ingest {quote_path(file.path)} --site {site}", reading))) + more
    yield f"slopeward evaluate {site}{more}"
    yield f"slopeward backtest --site {site}{more}"
    yield f"slopeward forecast run {site}{more}"
    yield f"slopeward run{more}"


def _print_place_question(found: ImportGuess, answers: Mapping[str, str]) -> None:
    """Print the question about the place of a new site, which a run without `--dry-run` asks as well."""
    if all(site_file.needs_place(file.guess, answers) for file in found.files):
        question = describe_question(SharedQuestion(site_file.PLACE_QUESTION, site_file.PLACE))
        print_note(f"without --dry-run a new site also needs: {question}")


def _find_sites_folder() -> Path | None:
    """Return the folder of the site files; None if the service file is invalid, which no table needs."""
    try:
        return read_service().paths.sites
    except ConfigError:
        if options().config is not None:
            raise
        return None
