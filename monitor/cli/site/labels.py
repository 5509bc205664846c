"""`slopeward anomalies list`, `label`, `labels`: what detectors reported, and what people say that it was."""

import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from detection.whole_file import replacing
from monitor.cli.identity import narrow_to_reader, prove
from monitor.cli.session import (
    NOTHING,
    ConfigOption,
    JsonOption,
    SiteOption,
    check_site,
    open_database,
    pick_site,
    say,
    show,
)
from monitor.config.service import load_service
from monitor.domain.instants import parse, spell
from monitor.domain.instruments import CAUSES, VERDICTS
from monitor.domain.spreadsheet import write_csv
from monitor.errors import RefusedError
from monitor.store.models.anomaly_labels import AnomalyRun, add_label, find_run, load_runs
from monitor.store.schema.views import load_view

LABEL_DAYS = 400  # how far back a happening may lie


def add_to(app: typer.Typer) -> None:
    """Make them commands of `slopeward anomalies`."""
    app.command("list")(list_runs)
    app.command("label")(label)
    app.command("labels")(export)


def list_runs(
    site: SiteOption,
    days: Annotated[float, typer.Option(min=0.01, help="How many days back.")] = 14.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what detectors reported, epochs one after the other as one, and what people said; exit 4 without any.

    Example: slopeward anomalies list --site north-bench --days 30
    """
    declared, now = pick_site(load_service(config), site), datetime.now(UTC)
    with closing(open_database(config)) as db, db.read() as c:
        narrow_to_reader(c, site)
        found = load_runs(c, declared, now - timedelta(days=days), now)
    for run in found:
        said = f"{run.label.verdict}, {run.label.cause}, by {run.label.by}" if run.label else "nobody said"
        line = f"{run.station} {run.quantity} {spell(run.from_at)[:19]}Z to {spell(run.to_at)[:19]}Z {run.kind}"
        show(
            spell_run(run), f"{line} ({', '.join(run.detectors)}, {run.score:.2g} times the threshold): {said}", as_json
        )
    if not found:
        say("no anomaly")
        raise typer.Exit(NOTHING)


def spell_run(run: AnomalyRun) -> dict[str, Any]:
    """A happening as JSON-ready values."""
    k = run.label
    label = None if k is None else {"verdict": k.verdict, "cause": k.cause, "by": k.by, "at": spell(k.at)}
    return {
        "station": run.station, "quantity": run.quantity, "from": spell(run.from_at), "to": spell(run.to_at),
        "kind": run.kind, "detectors": list(run.detectors), "score": round(run.score, 4), "label": label,
    }  # fmt: skip


def label(
    site: Annotated[str, typer.Argument(metavar="SITE", help="Site")],
    station: Annotated[str, typer.Argument(metavar="STATION", help="Station")],
    at: Annotated[str, typer.Option("--at", help="An instant within it, see `slopeward anomalies list`")],
    verdict: Annotated[str, typer.Option("--as", help=f"One of: {', '.join(VERDICTS)}")],
    cause: Annotated[str, typer.Option("--cause", help=f"One of: {', '.join(CAUSES)}")] = "unknown",
    quantity: Annotated[str | None, typer.Option("--quantity", help="Where several have one at that time")] = None,
    note: Annotated[str, typer.Option("--note", help="What was seen")] = "",
    by: Annotated[str | None, typer.Option("--by", help="Who; else the account of the OS user")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an anomaly was: it is kept with who and when, and the newest word counts.

    Example: slopeward anomalies label north-bench G1 --at 2026-03-01T06:00Z --as dismissed --cause snow_ice
    """
    try:
        instant = parse(at)
    except ValueError as error:
        raise RefusedError(f"--at: {error}") from error
    declared = pick_site(load_service(config), site)
    with closing(open_database(config)) as db:
        who, now = prove(db, by, site), datetime.now(UTC)
        with db.write() as c:
            since = now - timedelta(days=LABEL_DAYS)
            run = find_run(load_runs(c, declared, since, now), station, instant, quantity)
            number = add_label(c, site, run, verdict, cause, who, note, now)
    facts = {"label": number, "station": station, "quantity": run.quantity, "verdict": verdict, "cause": cause}
    show(facts, f"{station} {run.quantity} {spell(run.from_at)[:19]}Z: {verdict}, {cause}", as_json)


def export(
    site: Annotated[str | None, typer.Option("--site", help="Only this site")] = None,
    out: Annotated[Path | None, typer.Option("--csv", help="Write this file (`-` = stdout).")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List or export every word that people said of anomalies, oldest first; exit 4 when there is none.

    Example: slopeward anomalies labels --site north-bench --csv labels.csv
    """
    with closing(open_database(config)) as db, db.read() as c:
        sites = narrow_to_reader(c, site)
        only: dict[str, Any] = {} if sites is None else {"site": sites}
        rows = load_view(c, "anomaly_labels", order_by=("label_id",), **only)
        if not rows:
            check_site(c, config, site)
    if not rows:
        say("nobody said anything of an anomaly")
        raise typer.Exit(NOTHING)
    if out is None:
        for row in rows:
            line = f"{row['label_id']:>4} {row['site']} {row['station']} {row['quantity']} {row['from_at'][:19]}Z"
            show(
                row,
                f"{line}: {row['verdict']}, {row['cause']}, by {row['by']} {row['at'][:19]}Z {row['note']}",
                as_json,
            )
    elif str(out) == "-":
        write_csv(rows, sys.stdout)
    else:
        with replacing(out) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            write_csv(rows, file)
        say(f"{len(rows)} labels in {out}")
