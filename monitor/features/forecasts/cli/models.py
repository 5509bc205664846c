"""`slopeward forecast models` and `forecast compare`: list trained models, and compare the errors of forecasts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.api.cli import session
from monitor.api.errors import RefusedError, SlopewardError
from monitor.api.extras import describe_missing, is_installed
from monitor.api.text import describe_error, format_duration, format_iso, list_names
from monitor.features.forecasts.cli.trials import fit_horizons, model_list, open_records, refuse_interpolated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forecasting.evaluation.peers import PeerScore
    from monitor.api.queries.models import ModelRow, Transition
    from monitor.features.forecasts.scored import Scored

MODEL_NAMES = {"line": "straight line"}


def compare_files(files: Sequence[str], horizons: str | None, models: str, origins: int) -> None:
    """Score every record of some files; exit 4 where nothing could be scored."""
    from forecasting.errors import ForecastingError
    from forecasting.evaluation.peers import LIBRARY, OTHERS, PEERS, score_with_peers

    peers = PEERS if is_installed(LIBRARY) else ()
    if not peers:
        session.print_note(f"not compared with {', '.join(PEERS)}: {describe_missing(LIBRARY)}")
    for library, names in OTHERS.items():
        state = "not asked" if is_installed(library) else "not installed"
        session.print_note(
            f"not compared with {', '.join(names)}: {library} is {state} here; they take a training per record, in an"
            f" environment of their own (pip install {library})"
        )
    n_scores = 0
    # All files are opened first, so that a wrong one is reported before anything is computed.
    opened = [(file, open_records(file, None, None, horizons)) for file in files]
    for file, (_, records, requested_horizons) in opened:
        for record in records:
            panel = record.panel
            stations = panel.stations
            try:
                refuse_interpolated(panel, requested_horizons)
                horizons_of_record = fit_horizons(panel, requested_horizons)
                scores = (
                    score_with_peers(
                        panel,
                        model_list(models),
                        horizons_of_record,
                        peers=peers,
                        origins=origins,
                        on_progress=session.print_note,
                    )
                    if horizons_of_record
                    else []
                )
            except ForecastingError as error:
                # The other records are scored all the same.
                session.print_note(f"{list_names(stations)}: {describe_error(error)}")
                continue
            n_scores += len(scores)
            _print_scores(file, stations, scores)
    session.require_any(n_scores, "no forecast could be scored")


def _print_scores(file: str, stations: Sequence[str], scores: "Sequence[PeerScore]") -> None:
    if not session.options().as_json:
        print("\n".join([f"{file}: {list_names(stations)}", *tabulate(scores)]))
        return
    for score in scores:
        facts = {"file": file, "stations": stations, "horizon": format_duration(round(score.horizon_s))}
        session.print_json(facts | score._asdict())


def tabulate(scores: "Sequence[PeerScore]") -> list[str]:
    """Return a table with a row for each model: its MAE and CRPS at each horizon, in mm.

    A cell names its number of forecasts if it is smaller than that of another model at the horizon.
    """
    horizons_s = dict.fromkeys(score.horizon_s for score in scores)
    most_forecasts = {
        horizon_s: max(score.n for score in scores if score.horizon_s == horizon_s) for horizon_s in horizons_s
    }
    titles = [f"{format_duration(round(horizon_s))} (n {n})" for horizon_s, n in most_forecasts.items()]
    score_by_cell = {(score.model, score.horizon_s): score for score in scores}
    lines = [f"{'MAE / CRPS, mm':16}" + "".join(f"{title:>20}" for title in titles)]
    for model in dict.fromkeys(score.model for score in scores):
        cells = [_format_cell(score_by_cell.get((model, horizon_s)), n) for horizon_s, n in most_forecasts.items()]
        lines.append(f"{MODEL_NAMES.get(model, model):16}" + "".join(f"{cell:>20}" for cell in cells))
    return lines


def _format_cell(score: "PeerScore | None", most_forecasts: int) -> str:
    if score is None:
        return "-"
    crps = "-" if score.crps_mm is None else f"{score.crps_mm:.3f}"
    count = "" if score.n == most_forecasts else f" (n {score.n})"
    return f"{score.mae_mm:.3f} / {crps}{count}"


def models(
    site: session.SiteFilter = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also retired models, then every model that exists. Needs no database.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Show every change of state with its reason.")] = False,
) -> None:
    """List trained models with their state, and models that need more readings.

    Exit 4 if there are none.
    """
    try:
        has_printed = _print_stored(site, everything=everything, history=history)
    except SlopewardError as error:
        if not everything:
            raise
        has_printed = False
        session.print_note(f"no trained models: {error}")
    if everything:
        from monitor.features.forecasts.cli.catalogue import format_model, list_models

        for row in list_models():
            session.print_result(asdict(row), format_model(row))
    else:
        of_site = f" of {site}" if site else ""
        session.require_any(
            has_printed, f"no model is stored yet{of_site}; --all lists retired ones, and every model there is"
        )


def _print_stored(site_id: str | None, *, everything: bool, history: bool) -> bool:
    """Print the stored models, and models that wait for readings. Return whether there was any."""
    from monitor.api.queries.models import list_awaited, load_models, load_transitions
    from monitor.api.sites import scan_sites

    sites = [site for site in scan_sites(session.read_service().paths.sites)[0] if site_id in {None, site.id}]
    now = datetime.now(UTC)
    with session.open_database() as db, db.read() as c:
        rows = [row for row in load_models(c, site=site_id) if everything or row.state != "retired"]
        session.check_site(c, site_id, rows)
        changes = {row.model_hash: load_transitions(c, row.model_hash) if history else [] for row in rows}
        awaited = list_awaited(c, sites, now)
    for row in rows:
        session.print_result_in_order(
            _list_facts(row, changes[row.model_hash] if history else None),
            "\n".join(_list_lines(row, changes[row.model_hash])),
        )
    for name, model in awaited:
        line = f"{'-':12}  {model.task:9} {model.what:14} {name:20} {'awaited':9} {model.describe()}"
        session.print_result(model.to_json(name), line)
    return bool(rows or awaited)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareArguments:
    """Arguments of `slopeward forecast compare`."""

    site: Annotated[str | None, typer.Option("--site", help="Site id.")] = None
    horizon: Annotated[
        str | None, typer.Option("--horizon", help="Only this horizon, such as 7d. With --peers also several: 1d,7d.")
    ] = None
    days: Annotated[
        int, typer.Option("--days", min=1, max=36_500, help="Only forecasts issued in this many newest days.")
    ] = 90
    by_stage: Annotated[
        bool,
        typer.Option("--by-stage", help="Also one line per stage of movement, as known when the forecast was issued."),
    ] = False
    by_situation: Annotated[
        bool, typer.Option("--by-situation", help="Also one line per situation, such as critical or after rain.")
    ] = False
    hindcast: Annotated[
        bool, typer.Option("--hindcast", help="Compare the forecasts of `slopeward forecast hindcast` instead.")
    ] = False
    peers: Annotated[
        list[str] | None,
        typer.Option(
            "--peers",
            metavar="FILE",
            help="Long CSV, or S, SK, G or K: compare with AutoETS, AutoARIMA and Theta on this record.",
        ),
    ] = None
    names: Annotated[
        str, typer.Option("--models", help="With --peers: networks of Slopeward, separated by commas.")
    ] = "gru,lstm,graph-gru"
    origins: Annotated[
        int,
        typer.Option(
            min=2, max=100_000, help="With --peers: origins per test. Each peer is fitted again at each origin."
        ),
    ] = 10


def compare(arguments: CompareArguments) -> None:
    """Compare the errors of every model with those of the forecast that is shown, on the same targets.

    With --peers, the models of Slopeward and of statsforecast are compared on files instead of a site, from the same
    origins. Exit 4 if nothing is scored.
    """
    if (arguments.site is None) == (not arguments.peers):
        raise typer.BadParameter("name a site by --site, or files by --peers")
    if arguments.peers:
        compare_files(arguments.peers, arguments.horizon, arguments.names, arguments.origins)
        return
    _compare_site(arguments.site or "", arguments)


def _compare_site(site_id: str, arguments: CompareArguments) -> None:
    from monitor.api.queries.models import load_models
    from monitor.api.queries.readings import load_series
    from monitor.features.forecasts.queries.scores import load_forecasters, load_scored

    now = datetime.now(UTC)
    _, db, site = session.open_site(site_id)
    since = now - timedelta(days=arguments.days)
    has_printed = False
    with db, db.read() as c:
        names = {series.id: series.name for series in load_series(c, site_id)}
        states = {row.model_hash: row.state for row in load_models(c, task="forecast", site=site_id)}
        for horizon_s in _select_horizons(site.forecast.horizons_s, arguments.horizon):
            forecasters, shown = load_forecasters(c, names, horizon_s, now, since, hindcast=arguments.hindcast)
            if shown is None:
                continue
            scored = {
                (model, model_hash): load_scored(
                    c,
                    names,
                    horizon_s,
                    now,
                    model=model,
                    model_hash=model_hash,
                    since=since,
                    hindcast=arguments.hindcast,
                )
                for model, model_hash in forecasters
            }
            shown_first = sorted(forecasters, key=lambda forecaster: (forecaster != shown, forecaster))
            for forecaster in shown_first:
                model, model_hash = forecaster
                state = "past" if arguments.hindcast and model_hash else states.get(model_hash, "simple")
                for stage, situation in _list_parts(scored[forecaster], arguments):
                    rows = _select_part(scored[forecaster], stage, situation)
                    facts = {
                        "site": site_id,
                        "horizon_s": horizon_s,
                        "model": model,
                        "model_hash": model_hash,
                        "state": state,
                        "shown": forecaster == shown,
                        "reference": shown[0],
                        "stage": _name_part(stage),
                        "situation": _name_part(situation),
                        "latency_ms": _find_median_latency_ms(rows),
                        **_compare(rows, scored[shown]),
                    }
                    session.print_result(facts, _format_comparison(facts))
                    has_printed = True
    session.require_any(has_printed, "nothing is scored yet")


def _select_horizons(horizons_s: tuple[float, ...], option: str | None) -> tuple[float, ...]:
    """Return the horizons of a site, or only the one that `--horizon` names."""
    if option is None:
        return horizons_s
    horizon_s = session.read_duration_s("--horizon", option)
    if horizon_s not in horizons_s:
        names = ", ".join(_format_horizon(known_s) for known_s in horizons_s)
        raise RefusedError(f"--horizon {option}: the site forecasts at {names}")
    return (horizon_s,)


def _compare(rows: "Sequence[Scored]", reference: "Sequence[Scored]") -> dict[str, Any]:
    """Summarise the forecasts that have one of the reference for the same target, and those of the reference."""
    from monitor.features.forecasts.scored import pair_up, summarise

    rows, reference = pair_up(rows, reference)
    summary_of_reference = summarise(reference)
    return {
        **asdict(summarise(rows)),
        "reference_mae": summary_of_reference.mae,
        "reference_crps": summary_of_reference.crps,
    }


def _list_facts(row: "ModelRow", changes: "Sequence[Transition] | None") -> dict[str, Any]:
    transitions = [
        {name: value for name, value in asdict(change).items() if name != "model_hash"} for change in changes or ()
    ]
    return {
        "model_hash": row.model_hash,
        "kind": row.kind,
        "task": row.task,
        "site": row.site,
        "state": row.state,
        "reason": row.reason,
        "path": row.path,
        "created_at": format_iso(row.created_at),
        **({} if changes is None else {"history": transitions}),
    }


def _list_lines(row: "ModelRow", changes: "Sequence[Transition]") -> "Iterator[str]":
    yield f"{row.model_hash[:12]}  {row.task:9} {row.kind:14} {row.site or '-':20} {row.state:9} {row.reason or ''}"
    for change in changes:
        states = f"{change.from_state or 'new'} -> {change.to_state}"
        yield f"    {format_iso(change.at)[:16]}Z {states}, {change.by}: {change.reason}"


def _format_comparison(facts: dict[str, Any]) -> str:
    unit = facts["unit"]
    mark = "*" if facts["shown"] else " "
    model = f"{facts['model']:14} {facts['model_hash'][:12]:12} {facts['state']:9}"
    part = "".join(f"{facts[key]}: " for key in ("stage", "situation") if facts[key] is not None)
    reference = f"{facts['reference']} {_format_figure(facts['reference_mae'])} {unit}"
    errors = f"mae {_format_figure(facts['mae'])} {unit} ({reference})  skill {_format_share(facts['skill'])}"
    worst = "" if facts["worst_80"] is None else f" (worst {facts['worst_station']} {facts['worst_80']:.0%})"
    coverage = f"80 % held {_format_share(facts['coverage_80'])}{worst}, 95 % {_format_share(facts['coverage_95'])}"
    crps = ""
    if facts["crps"] is not None:
        crps = f"  crps {_format_figure(facts['crps'])} ({_format_figure(facts['reference_crps'])})"
    latency = "" if facts["latency_ms"] is None else f"  {facts['latency_ms'] / 1000:.2f} s"
    horizon = _format_horizon(facts["horizon_s"])
    return f"{horizon:>6} {mark} {model} {part}n {facts['n']:>4}  {errors}  {coverage}{crps}{latency}"


def _list_parts(rows: "Sequence[Scored]", arguments: CompareArguments) -> list[tuple[str | None, str | None]]:
    """Return pairs of stage and situation: all forecasts together, then each stage and each situation as requested.

    None selects all; an empty text selects the forecasts whose stage or situation was not stated. Without forecasts the
    list is empty.
    """
    if not rows:
        return []
    stages = sorted({row.stage or "" for row in rows}) if arguments.by_stage else []
    situations = sorted({row.situation or "" for row in rows}) if arguments.by_situation else []
    by_stage = [(stage, None) for stage in stages]
    by_situation = [(None, situation) for situation in situations]
    return [(None, None), *by_stage, *by_situation]


def _select_part(rows: "Sequence[Scored]", stage: str | None, situation: str | None) -> "list[Scored]":
    return [row for row in rows if stage in {None, row.stage or ""} and situation in {None, row.situation or ""}]


def _name_part(part: str | None) -> str | None:
    return "not stated" if part == "" else part


def _find_median_latency_ms(rows: "Sequence[Scored]") -> float | None:
    latencies_ms = [row.latency_ms for row in rows if row.latency_ms is not None]
    return (median(latencies_ms) or None) if latencies_ms else None


def _format_share(value: float | None) -> str:
    return "   -" if value is None else f"{value:4.0%}"


def _format_figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _format_horizon(horizon_s: float) -> str:
    from forecasting.data.kinds import format_span

    return format_span(horizon_s)
