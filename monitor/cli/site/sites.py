"""`slopeward sites`: create, list and show site files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import session
from monitor.cli.identity import By
from monitor.cli.session import Commands, pick_site, print_if_json, print_result_in_order, read_service
from monitor.cli.site import proposing
from monitor.decision.criteria.bound_units import find_declared_units
from monitor.decision.judgements import describe_barriers, describe_limits
from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError
from monitor.plugins import hooks
from monitor.sites.files import scan_sites
from monitor.sites.first_site import write_first_site
from monitor.sites.parsing import find_weaknesses, parse_site
from monitor.sites.records import Criterion, Site
from monitor.text.instants import format_duration

app = Commands(help="Create, list, show and change site files.", no_args_is_help=True)
app.add_typer(proposing.app)


@app.command("list", epilog="Example: slopeward sites list --json")
def list_sites() -> None:
    """List the sites.

    Exit 3 if a site file cannot be used, 4 if there is none.
    """
    service = read_service()
    sites, failures = scan_sites(service.paths.sites)
    for site in sites:
        criteria = sum(not criterion.is_implied for criterion in site.criteria)
        line = {"site": site.id, "name": site.name, "stations": len(site.stations), "criteria": criteria}
        print_result_in_order(line, f"{site.id}: {site.name}, {len(site.stations)} stations, {criteria} criteria")
    for error in failures.values():
        typer.echo(str(error), err=True)
    if failures:
        raise typer.Exit(3)
    if not sites:
        raise typer.Exit(4)


@app.command(epilog="Example: slopeward sites show north-bench")
def show(name: session.SiteArgument) -> None:
    """Show a site as the service reads it: patterns resolved, defaults filled in, units converted."""
    from dataclasses import asdict

    site = pick_site(read_service(), name)
    if print_if_json({k: v for k, v in asdict(site).items() if k != "source"}):
        return
    print(f"{site.id}: {site.name} ({site.latitude}, {site.longitude}, {site.timezone}), version {site.version[:12]}")
    for level in site.levels:
        print(f"  level {level.number} {level.name}: {level.action or '(no action text)'}")
    for station in site.stations:
        series = ", ".join(f"{s.quantity} [{s.unit}] every {format_duration(s.interval_s)}" for s in station.series)
        print(f"  station {station.id}{'' if station.on_slope else ' (control)'}: {series or 'no series'}")
    for criterion in site.criteria:
        role = f"{criterion.role}, always added" if criterion.is_implied else criterion.role
        parts = [f"{', '.join(criterion.stations)} {_format_bounds(site, criterion)}", *_list_own_keys(criterion)]
        print(f"  criterion {criterion.id} ({role}): {'; '.join(parts)}")
    prepared = PreparedSite(site)
    for sentence in describe_limits(site, prepared.judgements):
        print(f"  judged {sentence}")
    for plan in site.movement.stages:
        every = f"judged every {format_duration(plan.evaluate_every_s)}"
        forecast = f"forecast every {format_duration(plan.forecast_every_s)}"
        print(f"  stage {plan.stage}: {every}, {forecast}: {plan.action or '(no action text)'}")
    lost = [text for _, _, text in describe_barriers(site, prepared.barriers)]
    for weakness in (*find_weaknesses(site), *lost):
        print(f"  ! {weakness}")


def _list_own_keys(criterion: Criterion) -> list[str]:
    """Return what only the kind of the criterion reads, as `name = value`. A name with `_s` is a duration."""
    params = [
        f"{name.removesuffix('_s')} = {format_duration(value)}" if name.endswith("_s") else f"{name} = {value:.15g}"
        for name, value in criterion.params
    ]
    texts = [f'{name} = "{text}"' for name, text in criterion.texts]
    return [*params, *texts]


def _format_bounds(site: Site, criterion: Criterion) -> str:
    parts, unit = [], find_declared_units(site)[criterion.id]
    for bound in criterion.thresholds:
        name = site.levels[bound.level].name
        side = "" if bound.bound is None else f" {bound.side} {bound.bound:g}"
        limit = f"{side} {unit}" if side and unit else side
        window = f" in {format_duration(bound.window_s)}" if bound.window_s else ""
        chance = f" with a chance of more than {100 * bound.probability:g} %" if bound.probability else ""
        parts.append(name + limit + window + chance)
    return "; ".join(parts)


@app.command(
    epilog="Example: slopeward init north-bench\n\n"
    "Example: slopeward init south-slope --table monitoring.csv --answer zone=Europe/Rome"
)
def init(
    name: session.SiteArgument,
    out: Annotated[Path | None, typer.Option("--out", help="File to write. Default: in paths.sites.")] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--table",
            help="Table of readings from which stations and bounds are derived, as by `slopeward ingest --guess`.",
        ),
    ] = None,
    answers: Annotated[
        list[str] | None, typer.Option("--answer", help="With --table: KEY=VALUE, such as zone=Europe/Rome.")
    ] = None,
    bounds: Annotated[
        list[str] | None, typer.Option("--bound", help="With --table: QUANTITY=NUMBERS, such as 'tilt_x=5 10 20 mrad'.")
    ] = None,
    by: By = None,
) -> None:
    """Create a site: write a commented site file that passes `slopeward check`. An existing file is kept."""
    if record is not None:
        _init_from_record(name, record, out, answers or (), bounds or (), by)
        return
    if answers or bounds:
        raise typer.BadParameter("--answer and --bound belong to --table")
    text = write_first_site(name)
    # Raises an error if the name is invalid.
    site = parse_site(text, name)
    for _, _, line in describe_barriers(site, PreparedSite(site).barriers):
        session.print_note(line)
    path = out or read_service().paths.sites / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _already_there(path) from None
    session.print_note(
        "every number in this file is an example: change them all, and confirm the bounds (how: "
        "/help/how-to/write-a-site-file#confirm-the-bounds-of-a-new-file on the page)"
    )
    session.print_result({"site": name, "file": str(path)}, str(path))


def _init_from_record(
    name: str, record: Path, out: Path | None, answers: Sequence[str], bounds: Sequence[str], by: str | None
) -> None:
    """Write a site file for the stations of a table, by the same function as `slopeward ingest --guess`.

    Raises:
        ConfigError: a site of this name exists, or the table cannot be understood.
    """
    if out is not None:
        raise typer.BadParameter("--out does not go with --table: the site file is written to paths.sites")
    path = read_service().paths.sites / f"{name}.toml"
    if path.exists():
        raise _already_there(path)
    was_imported = hooks().import_unknown_table(
        path=record, site_id=name, answers=answers, out=None, bounds=bounds, by=by, dry_run=False
    )
    if not was_imported:
        raise ConfigError("--table: the feature table_import, which reads tables, is not installed")


def _already_there(path: Path) -> ConfigError:
    return ConfigError(f"{path} exists already; choose another name, or edit it")
