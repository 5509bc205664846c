"""`slopeward backtest`: replay the decisions over the past of a site, with the readings known at each time."""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from monitor.api.cli import (
    EXIT_NOTHING,
    By,
    Commands,
    authenticate_actor,
    make_progress_printer,
    open_service,
    options,
    pick_site,
    print_json,
    print_note,
    read_duration_s,
)
from monitor.api.database import Actor, Database
from monitor.api.decision import check_forecasts
from monitor.api.errors import ConfigError, RefusedError
from monitor.api.queries.alerts import (
    MODES,
    BacktestOptions,
    Scorecard,
    VisibilityRule,
    find_record_span,
    read_labels,
    run_backtest,
)
from monitor.api.queries.ingest import open_imported_files
from monitor.api.queries.models import ModelTest, add_proof, load_shown_record
from monitor.api.settings import read_text, read_toml
from monitor.api.sites import Criterion, Site, load_site, parse_site
from monitor.api.text import canonical_json, format_duration, list_names, parse_time

app = Commands()
DEFAULT_LEAD: Final = "30d"
# Nobody may choose the options of a test of their own criterion, so a proof always uses this mode.
PROOF_MODE: Final = "received"


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestArguments:
    """Options of `slopeward backtest`."""

    site_id: Annotated[str | None, typer.Option("--site", help="Site id")] = None
    since: Annotated[str | None, typer.Option("--since", help="Begin of the replay (default: first reading)")] = None
    until: Annotated[
        str | None, typer.Option("--until", help="End of the replay (default: just after the newest reading)")
    ] = None
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", help="Second site file B, compared with the first; or the service file"),
    ] = None
    labels: Annotated[Path | None, typer.Option("--labels", help="CSV of events: from,to,class[,level][,name]")] = None
    known: Annotated[str, typer.Option("--known", help=f"When a reading counts as known: {', '.join(MODES)}")] = "auto"
    latency: Annotated[
        str, typer.Option("--latency", help="Time from observation to arrival, if the arrival is unknown")
    ] = "0s"
    late_bound: Annotated[
        str | None,
        typer.Option("--late-bound", help="With --known auto: a reading that arrived later than this was imported"),
    ] = None
    lead: Annotated[str, typer.Option("--lead", help="An alarm up to this long before an event counts for it")] = (
        DEFAULT_LEAD
    )
    as_then: Annotated[
        bool, typer.Option("--as-then", help="Use the site files in force and the actions of people at each time")
    ] = False
    data: Annotated[Path | None, typer.Option("--data", help="Readings in the long form instead of the database")] = (
        None
    )
    mapping: Annotated[Path | None, typer.Option("--mapping", help="TOML file that maps the columns of --data")] = None
    site_file: Annotated[Path | None, typer.Option("--site-file", help="Site file for --data")] = None
    accept_units: Annotated[
        bool, typer.Option("--accept-units", help="Accept the units of --data although they look doubtful")
    ] = False
    accept_times: Annotated[
        bool, typer.Option("--accept-times", help="Accept times of --data in the future or before 1950")
    ] = False
    prove: Annotated[
        str | None, typer.Option("--prove", help="Store the result as the proof of this criterion of kind forecast")
    ] = None
    by: By = None


@app.command(
    epilog="Example: slopeward backtest --site north-bench --since 2025-01-01 --until 2026-01-01\n\n"
    "Example, with the thresholds of a changed copy of the site file beside those in force: "
    "slopeward backtest --site north-bench --config changed.toml"
)
def backtest(arguments: BacktestArguments) -> None:
    """Replay the decisions over the past of a site and score them. Nothing is stored.

    With `--prove` the result is stored as a test of a forecast criterion: whether forecasts warn earlier than velocity
    with equally many days of false alarm, and how good the shown forecasts were. Only a criterion that passed may count
    for the level.

    Exit 1 after an error, 4 if there is nothing to replay.
    """
    known = arguments.known
    if (arguments.data is None) != (arguments.site_file is None):
        raise typer.BadParameter("--data and --site-file belong together")
    if arguments.data is None and arguments.site_id is None:
        raise typer.BadParameter("--site is needed, or --data with --site-file")
    if arguments.prove is not None:
        if arguments.data is not None:
            raise typer.BadParameter("a proof needs the readings that the service stored; leave out --data")
        _reject_options_of_proof(arguments)
        known = PROOF_MODE
    service_file, other_file = _sort_configs(arguments.config or [])
    bound_s = None if arguments.late_bound is None else read_duration_s("--late-bound", arguments.late_bound)
    # All readings of a file arrived just now, so their arrival says nothing.
    mode = "observed" if arguments.data is not None and known == "auto" else known
    options_of_replay = BacktestOptions(
        known=VisibilityRule(mode, read_duration_s("--latency", arguments.latency), bound_s),
        lead_s=read_duration_s("--lead", arguments.lead),
        as_then=arguments.as_then,
        acts=arguments.as_then,
        fixed_bound=arguments.prove is None,
    )
    with open_past(arguments, service_file) as (db, site):
        proof = None
        if arguments.prove is not None:
            actor = authenticate_actor(db, arguments.by, site.id)
            proof = (actor, find_forecast_criterion(site, arguments.prove))
        other = None if other_file is None else load_site(other_file)
        span = find_record_span(db, site, options_of_replay.known)
        if span is None:
            print_note(f"no readings of {site.id} are stored: nothing to replay")
            raise typer.Exit(EXIT_NOTHING)
        begin = _parse_instant("--since", arguments.since, span[0])
        end = _parse_instant("--until", arguments.until, span[1])
        events = () if arguments.labels is None else read_labels(arguments.labels, site)
        progress = make_progress_printer()
        card = run_backtest(
            db,
            site,
            begin,
            end,
            other=other,
            on_progress=lambda share: progress("replay", share),
            labels=events,
            terms=options_of_replay,
        )
        if proof is not None and card.known["rows"] > 0:
            store_proof(db, site, card, *proof)
    if card.known["rows"] == 0:
        advice = "try --known observed" if proof is None else "no proof was stored"
        print_note(f"no reading of {site.id} was known between {begin:%Y-%m-%d} and {end:%Y-%m-%d}; {advice}")
        raise typer.Exit(EXIT_NOTHING)
    show_scorecard(card)


def _reject_options_of_proof(arguments: BacktestArguments) -> None:
    """Reject options that a person gave with `--prove`.

    Raises:
        typer.BadParameter: Names these options.
    """
    is_given = {
        "--known": arguments.known not in {"auto", PROOF_MODE},
        "--latency": arguments.latency != "0s",
        "--as-then": arguments.as_then,
        "--late-bound": arguments.late_bound is not None,
        "--lead": arguments.lead != DEFAULT_LEAD,
        "--since": arguments.since is not None,
        "--until": arguments.until is not None,
    }
    given = [option for option, is_option_given in is_given.items() if is_option_given]
    if given:
        raise typer.BadParameter(
            f"a proof is made over the whole record, as it was received; leave out {', '.join(given)}"
        )


def _sort_configs(files: list[Path]) -> tuple[Path | None, Path | None]:
    """Return the service file and site file B. A file with a section [site] is a site file.

    Raises:
        ConfigError: Two files of one kind are given.
    """
    service_file: Path | None = None
    site_file: Path | None = None
    for file in files:
        if "site" in read_toml(read_text(file), str(file)):
            if site_file is not None:
                raise ConfigError(f"--config {file}: one site file is given already")
            site_file = file
        else:
            if service_file is not None:
                raise ConfigError(f"--config {file}: one service file is given already")
            service_file = file
    return service_file, site_file


def find_forecast_criterion(site: Site, criterion_id: str) -> Criterion:
    """Return a forecast criterion of a site.

    Raises:
        RefusedError: The site has no such criterion.
    """
    forecasts = {criterion.id: criterion for criterion in site.criteria if criterion.kind.facts == "forecasts"}
    if criterion_id not in forecasts:
        names = ", ".join(forecasts) or "none"
        raise RefusedError(f"--prove {criterion_id!r}: no criterion of kind forecast; the site has: {names}")
    return forecasts[criterion_id]


def store_proof(db: Database, site: Site, card: Scorecard, actor: Actor, criterion: Criterion) -> None:
    """Store the result of a forecast criterion in a scorecard as its proof, whether it passed or not."""
    gain = next((gain for gain in card.runs[0].gains if gain.criterion == criterion.id), None)
    windows = (threshold.window_s for threshold in criterion.thresholds)
    horizons_s = {window_s for window_s in windows if window_s is not None}
    labels = canonical_json([label.to_json() for label in card.labels])
    with db.write() as c:
        now = datetime.now(UTC)
        records = {
            horizon_s: load_shown_record(c, site.id, criterion, horizon_s, now) for horizon_s in sorted(horizons_s)
        }
        gained_s = [] if gain is None else [seconds or 0.0 for seconds in gain.gained_s]
        figures = {
            horizon_s: (record.issues, record.mae_mm, record.mae_persistence_mm, record.coverage_80)
            for horizon_s, record in records.items()
        }
        reasons = check_forecasts(figures, gained_s)
        result = {
            "gain": None if gain is None else gain.to_json(),
            "shown": {format_duration(horizon_s): asdict(record) for horizon_s, record in records.items()},
            "terms": {
                "known": card.known["mode"],
                "latency_s": card.known["latency_s"],
                "lead_s": card.lead_s,
                "labels": len(card.labels),
                "labels_sha256": hashlib.sha256(labels.encode()).hexdigest(),
            },
        }
        made_by = f"slopeward backtest --site {site.id} --prove {criterion.id}"
        proof = ModelTest(
            "forecast",
            criterion.id,
            made_by,
            "",
            tuple(reasons),
            result,
            int(card.known["rows"]),
            card.from_at,
            card.to_at,
        )
        add_proof(c, site, criterion, proof, actor, now)
    outcome = "may be a witness" if proof.passed else f"advice: {'; '.join(reasons)}"
    print_note(f"{criterion.id}: {outcome} (stored)")


def show_scorecard(card: Scorecard) -> None:
    """Print a scorecard as tables or JSON."""
    if options().as_json:
        print_json(card.to_json())
        return
    from rich.console import Console

    from monitor.features.replay.cli.scorecard import print_scorecard

    print_scorecard(card, Console(width=None if sys.stdout.isatty() else 140))


@contextmanager
def open_past(arguments: BacktestArguments, service_file: Path | None) -> Iterator[tuple[Database, Site]]:
    """Yield database and site: those of the service, or those of the files in `--data` and `--site-file`."""
    if arguments.data is None or arguments.site_file is None:
        service, db = open_service(service_file)
        with db:
            yield db, pick_site(service, arguments.site_id or "")
        return
    site = parse_site(read_text(arguments.site_file), str(arguments.site_file))
    with open_imported_files(
        arguments.data,
        site,
        arguments.mapping,
        accept_units=arguments.accept_units,
        accept_times=arguments.accept_times,
    ) as past:
        for result in past.results:
            if result.undeclared:
                names = list_names(sorted(result.undeclared))
                print_note(f"{result.file}: series that the site file does not name: {names}")
            if result.rejected:
                print_note(
                    f"{result.file}: {result.rejected} of {result.rows} rows left out; first: {result.first_reason}"
                )
        yield past.db, site


def _parse_instant(option: str, text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        if len(text) == len("2026-03-01"):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        return parse_time(text)
    except ValueError as error:
        raise RefusedError(f"{option}: {error}; for example 2026-03-01 or 2026-03-01T06:00:00Z") from error
