"""`slopeward backtest`: what the warnings would have been, over years, with what was known then."""

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
    make_progress_printer,
    open_service,
    options,
    pick_site,
    print_json,
    print_note,
    read_duration_s,
)
from monitor.api.cli import authenticate_actor as prove_identity
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
LEAD: Final = "30d"
PROOF_KNOWN: Final = "received"  # what a proof rests on: nobody chooses the terms of his own test


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestArguments:
    """What `slopeward backtest` takes."""

    site_id: Annotated[str | None, typer.Option("--site", help="Site id")] = None
    from_at: Annotated[str | None, typer.Option("--from", help="First look; else the first reading")] = None
    to_at: Annotated[str | None, typer.Option("--to", help="End; else just after the newest reading")] = None
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", help="A second site file B, shown beside the first; or the service file"),
    ] = None
    labels: Annotated[Path | None, typer.Option("--labels", help="CSV of events: from,to,class[,level][,name]")] = None
    known: Annotated[str, typer.Option("--known", help=f"Since when a reading was known: {', '.join(MODES)}")] = "auto"
    latency: Annotated[
        str, typer.Option("--latency", help="Time that a reading needs to arrive, where its epoch counts")
    ] = "0s"
    late_bound: Annotated[
        str | None, typer.Option("--late-bound", help="auto: later than this after the epoch means imported")
    ] = None
    lead: Annotated[str, typer.Option("--lead", help="An alarm up to this long before an event belongs to it")] = LEAD
    as_then: Annotated[
        bool, typer.Option("--as-then", help="The site files and the acts of people as they were then")
    ] = False
    data: Annotated[Path | None, typer.Option("--data", help="Readings in the long form, instead of the database")] = (
        None
    )
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="TOML that says what the columns of --data mean")
    ] = None
    site_file: Annotated[Path | None, typer.Option("--site-file", help="The site of --data")] = None
    accept_units: Annotated[
        bool, typer.Option("--accept-units", help="The units of --data are right, however doubtful they look")
    ] = False
    accept_times: Annotated[
        bool, typer.Option("--accept-times", help="The times of --data are right, though ahead of now or before 1950")
    ] = False
    prove: Annotated[
        str | None, typer.Option("--prove", help="Keep it as the proof of this criterion of kind forecast")
    ] = None
    by: By = None


@app.command(epilog="Example: slopeward backtest --site north-bench --from 2025-01-01 --to 2026-01-01")
def backtest(given: BacktestArguments) -> None:
    """Run the decision over the past of a site on a simulated clock, and score it. Nothing is written.

    With `--prove` a test is written: whether forecasts warn earlier than velocity at equal days of false alarm, and
    what those that were shown were worth. It shows whether the criterion may count for the level.

    Exit 0 done, 1 a known error, 4 there is nothing to replay.
    """
    known = given.known
    if (given.data is None) != (given.site_file is None):
        raise typer.BadParameter("--data and --site-file belong together")
    if given.data is None and given.site_id is None:
        raise typer.BadParameter("--site is needed, or --data with --site-file")
    if given.prove is not None:
        if given.data is not None:
            raise typer.BadParameter("a proof rests on what the service stored; --data has no place beside it")
        _refuse_chosen_terms(given)
        known = PROOF_KNOWN
    service_file, other_file = _sort_configs(given.config or [])
    bound_s = None if given.late_bound is None else read_duration_s("--late-bound", given.late_bound)
    mode = "observed" if given.data is not None and known == "auto" else known  # a file was all read just now
    terms = BacktestOptions(
        known=VisibilityRule(mode, read_duration_s("--latency", given.latency), bound_s),
        lead_s=read_duration_s("--lead", given.lead),
        as_then=given.as_then,
        acts=given.as_then,
        fixed_bound=given.prove is None,
    )
    with open_past(given, service_file) as (db, site):
        proof = given.prove and (prove_identity(db, given.by, site.id), pick_criterion(site, given.prove))
        other = None if other_file is None else load_site(other_file)
        span = find_record_span(db, site, terms.known)
        if span is None:
            print_note(f"no readings of {site.id} are stored: nothing to replay")
            raise typer.Exit(EXIT_NOTHING)
        begin, end = _instant("--from", given.from_at, span[0]), _instant("--to", given.to_at, span[1])
        events = () if given.labels is None else read_labels(given.labels, site)
        progress = make_progress_printer()
        card = run_backtest(
            db,
            site,
            begin,
            end,
            other=other,
            on_progress=lambda share: progress("replay", share),
            labels=events,
            terms=terms,
        )
        if proof is not None and card.known["rows"] > 0:
            keep_proof(db, site, card, *proof)
    if card.known["rows"] == 0:
        other_way = "try --known observed" if proof is None else "no proof was kept"
        print_note(f"no reading of {site.id} was known between {begin:%Y-%m-%d} and {end:%Y-%m-%d}; {other_way}")
        raise typer.Exit(EXIT_NOTHING)
    answer(card)


def _refuse_chosen_terms(given: BacktestArguments) -> None:
    """Nobody chooses the terms of his own test: refuse options that were given with `--prove`."""
    chosen = {
        "--known": given.known not in {"auto", PROOF_KNOWN},
        "--latency": given.latency != "0s",
        "--as-then": given.as_then,
        "--late-bound": given.late_bound is not None,
        "--lead": given.lead != LEAD,
        "--from": given.from_at is not None,
        "--to": given.to_at is not None,
    }
    if named := [option for option, is_chosen in chosen.items() if is_chosen]:
        raise typer.BadParameter(
            f"a proof is made over the whole record, as it was received; leave out {', '.join(named)}"
        )


def _sort_configs(files: list[Path]) -> tuple[Path | None, Path | None]:
    """(service file, site file B): a file that has a [site] is a site file."""
    service = other = None
    for file in files:
        is_site = "site" in read_toml(read_text(file), str(file))
        if (other if is_site else service) is not None:
            raise ConfigError(f"--config {file}: one {'site' if is_site else 'service'} file is given already")
        service, other = (service, file) if is_site else (file, other)
    return service, other


def pick_criterion(site: Site, criterion_id: str) -> Criterion:
    """The criterion of forecasts that is to be proven; raises RefusedError where the site has none of that name."""
    forecasts = {c.id: c for c in site.criteria if c.kind.facts == "forecasts"}
    if criterion_id not in forecasts:
        known = ", ".join(forecasts) or "none"
        raise RefusedError(f"--prove {criterion_id!r}: no criterion of kind forecast; the site has: {known}")
    return forecasts[criterion_id]


def keep_proof(db: Database, site: Site, card: Scorecard, keeper: Actor, criterion: Criterion) -> None:
    """Keep what a scorecard says of a criterion of forecasts as its proof, passed or not."""
    gain = next((g for g in card.runs[0].gains if g.criterion == criterion.id), None)
    horizons = {t.window_s for t in criterion.thresholds if t.window_s is not None}
    labels = canonical_json([label.to_json() for label in card.labels])
    with db.write() as c:
        now = datetime.now(UTC)  # a test is known from the instant at which it is written
        records = {h: load_shown_record(c, site.id, criterion, h, now) for h in sorted(horizons)}
        gained = [] if gain is None else [g or 0.0 for g in gain.gained_s]
        figures = {h: (r.issues, r.mae_mm, r.mae_persistence_mm, r.coverage_80) for h, r in records.items()}
        reasons = check_forecasts(figures, gained)
        result = {
            "gain": None if gain is None else gain.to_json(),
            "shown": {format_duration(h): asdict(r) for h, r in records.items()},
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
        add_proof(c, site, criterion, proof, keeper, now)
    print_note(f"{criterion.id}: {'may be a witness' if proof.passed else 'advice: ' + '; '.join(reasons)} (kept)")


def answer(card: Scorecard) -> None:
    """The scorecard as asked for."""
    if options().as_json:
        print_json(card.to_json())
        return
    from rich.console import Console

    from monitor.features.replay.cli.scorecard import print_scorecard

    print_scorecard(card, Console(width=None if sys.stdout.isatty() else 140))


@contextmanager
def open_past(given: BacktestArguments, service_file: Path | None) -> Iterator[tuple[Database, Site]]:
    """The database that holds the past, and the site: of the service, or of a file of readings alone."""
    if given.data is None or given.site_file is None:
        service, db = open_service(service_file)
        with db:
            yield db, pick_site(service, given.site_id or "")
        return
    site = parse_site(read_text(given.site_file), str(given.site_file))
    units, times = given.accept_units, given.accept_times
    with open_imported_files(given.data, site, given.mapping, accept_units=units, accept_times=times) as past:
        for result in past.results:
            if result.undeclared:
                names = list_names(sorted(result.undeclared))
                print_note(f"{result.file}: series that the site file does not name: {names}")
            if result.rejected:
                print_note(
                    f"{result.file}: {result.rejected} of {result.rows} rows left out; first: {result.first_reason}"
                )
        yield past.db, site


def _instant(option: str, text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if len(text) == len("2026-03-01") else parse_time(text)
    except ValueError as error:
        raise RefusedError(f"{option}: {error}; for example 2026-03-01 or 2026-03-01T06:00:00Z") from error
