"""`slopeward forecast models|compare`: the trained models, and what the forecasts of each model were worth."""

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

NAMES = {"line": "straight line"}


def compare_files(files: Sequence[str], horizons: str | None, models: str, origins: int) -> None:
    """Score every record of some files; exit 4 where nothing could be scored."""
    from forecasting.errors import ForecastingError
    from forecasting.evaluation.peers import LIBRARY, OTHERS, PEERS, score_with_peers

    peers = PEERS if is_installed(LIBRARY) else ()
    if not peers:
        session.print_note(f"not compared with {', '.join(PEERS)}: {describe_missing(LIBRARY)}")
    for library, names in OTHERS.items():
        here = "not asked" if is_installed(library) else "not installed"
        session.print_note(
            f"not compared with {', '.join(names)}: {library} is {here} here; they take a training per record, in an"
            f" environment of their own (pip install {library})"
        )
    found = 0
    opened = [(file, open_records(file, None, None, horizons)) for file in files]
    for file, record, wanted in [(file, one, spans) for file, (_, records, spans) in opened for one in records]:
        panel, stations = record.panel, record.panel.stations
        try:
            refuse_interpolated(panel, wanted)
            spans = fit_horizons(panel, wanted)
            scores = (
                score_with_peers(
                    panel, model_list(models), spans, peers=peers, origins=origins, on_progress=session.print_note
                )
                if spans
                else []
            )
        except ForecastingError as error:
            session.print_note(
                f"{list_names(stations)}: {describe_error(error)}"
            )  # the other records are scored all the same
            continue
        found += len(scores)
        if session.options().as_json:
            for one in scores:
                facts = {"file": file, "stations": stations, "horizon": format_duration(round(one.horizon_s))}
                session.print_json(facts | one._asdict())
        else:
            print("\n".join([f"{file}: {list_names(stations)}", *tabulate(scores)]))
    session.require_any(found, "no forecast could be scored")


def tabulate(scores: "Sequence[PeerScore]") -> list[str]:
    """A row per model: at each horizon its error and CRPS, mm; the pairs where they are fewer than those of others."""
    most = {h: max(s.n for s in scores if s.horizon_s == h) for h in dict.fromkeys(s.horizon_s for s in scores)}
    heads = [f"{format_duration(round(h))} (n {n})" for h, n in most.items()]
    at = {(one.model, one.horizon_s): one for one in scores}
    lines = [f"{'MAE / CRPS, mm':16}" + "".join(f"{head:>20}" for head in heads)]
    for model in dict.fromkeys(one.model for one in scores):
        cells = [_cell(at.get((model, h)), n) for h, n in most.items()]
        lines.append(f"{NAMES.get(model, model):16}" + "".join(f"{cell:>20}" for cell in cells))
    return lines


def _cell(one: "PeerScore | None", most: int) -> str:
    if one is None:
        return "-"
    crps = "-" if one.crps_mm is None else f"{one.crps_mm:.3f}"
    return f"{one.mae_mm:.3f} / {crps}" + ("" if one.n == most else f" (n {one.n})")


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
        found = _show_kept(site, everything=everything, history=history)
    except SlopewardError as error:
        if not everything:
            raise
        found = False
        session.print_note(f"no trained models: {error}")
    if everything:
        from monitor.features.forecasts.cli.catalogue import format_model, list_models

        for row in list_models():
            session.print_result(asdict(row), format_model(row))
    else:
        of = f" of {site}" if site else ""
        session.require_any(found, f"no model is kept yet{of}; --all lists retired ones, and every model there is")


def _show_kept(site: str | None, *, everything: bool, history: bool) -> bool:
    from monitor.api.queries.models import list_awaited, load_models, load_transitions
    from monitor.api.sites import scan_sites

    sites = [one for one in scan_sites(session.read_service().paths.sites)[0] if site in {None, one.id}]
    now = datetime.now(UTC)
    with session.open_database() as db, db.read() as c:
        rows = [r for r in load_models(c, site=site) if everything or r.state != "retired"]
        session.check_site(c, site, rows)
        changes = {r.model_hash: load_transitions(c, r.model_hash) if history else [] for r in rows}
        awaited = list_awaited(c, sites, now)
    for row in rows:
        session.print_result_in_order(
            _model_facts(row, changes[row.model_hash] if history else None),
            "\n".join(_model_lines(row, changes[row.model_hash])),
        )
    for name, what in awaited:
        line = f"{'-':12}  {what.task:9} {what.what:14} {name:20} {'awaited':9} {what.describe()}"
        session.print_result(what.to_json(name), line)
    return bool(rows or awaited)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareArguments:
    """What `slopeward forecast compare` takes."""

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


def compare(given: CompareArguments) -> None:
    """Compare the errors of every model with those of the forecast that is shown, on the same targets.

    With --peers, the models of Slopeward and of statsforecast are compared on files instead of a site, from the same
    origins. Exit 4 if nothing is scored.
    """
    if (given.site is None) == (not given.peers):
        raise typer.BadParameter("name a site by --site, or files by --peers")
    if given.peers:
        compare_files(given.peers, given.horizon, given.names, given.origins)
        return
    _compare_site(given.site or "", given)


def _compare_site(site: str, given: CompareArguments) -> None:
    from monitor.api.queries.models import load_models
    from monitor.api.queries.readings import load_series
    from monitor.features.forecasts.queries.scores import load_forecasters, load_scored

    (_, db, one), now = session.open_site(site), datetime.now(UTC)
    since = now - timedelta(days=given.days)
    found = 0
    with db, db.read() as c:
        names = {one.id: one.name for one in load_series(c, site)}
        states = {r.model_hash: r.state for r in load_models(c, task="forecast", site=site)}
        for horizon_s in _horizons(one.forecast.horizons_s, given.horizon):
            forecasters, shown = load_forecasters(c, names, horizon_s, now, since, hindcast=given.hindcast)
            if shown is None:
                continue
            scored = {
                w: load_scored(
                    c, names, horizon_s, now, model=w[0], model_hash=w[1], since=since, hindcast=given.hindcast
                )
                for w in forecasters
            }
            for who in sorted(forecasters, key=lambda w: (w != shown, w)):
                if not scored[who]:
                    continue
                found += 1
                for stage, situation in _parts(scored[who], by_stage=given.by_stage, by_situation=given.by_situation):
                    rows = [r for r in scored[who] if stage in {None, r.stage or ""}]
                    rows = [r for r in rows if situation in {None, r.situation or ""}]
                    state = "past" if given.hindcast and who[1] else states.get(who[1], "simple")
                    facts = {
                        "site": site,
                        "horizon_s": horizon_s,
                        "model": who[0],
                        "model_hash": who[1],
                        "state": state,
                        "shown": who == shown,
                        "reference": shown[0],
                        "stage": _stated(stage),
                        "situation": _stated(situation),
                        "latency_ms": _usual_ms(rows),
                        **_compare(rows, scored[shown]),
                    }
                    session.print_result(facts, _compare_line(facts))
    session.require_any(found, "nothing is scored yet")


def _horizons(known: tuple[float, ...], given: str | None) -> tuple[float, ...]:
    if given is None:
        return known
    horizon_s = session.read_duration_s("--horizon", given)
    if horizon_s not in known:
        raise RefusedError(f"--horizon {given}: the site forecasts at {', '.join(_words(h) for h in known)}")
    return (horizon_s,)


def _compare(rows: "Sequence[Scored]", reference: "Sequence[Scored]") -> dict[str, Any]:
    """Add up the forecasts that have one of the reference for the same target, and those of the reference."""
    from monitor.features.forecasts.scored import pair_up, summarise

    rows, reference = pair_up(rows, reference)
    other = summarise(reference)
    return {**asdict(summarise(rows)), "reference_mae": other.mae, "reference_crps": other.crps}


def _model_facts(row: "ModelRow", changes: "Sequence[Transition] | None") -> dict[str, Any]:
    transitions = [{k: v for k, v in asdict(t).items() if k != "model_hash"} for t in changes or ()]
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


def _model_lines(row: "ModelRow", changes: "Sequence[Transition]") -> "Iterator[str]":
    yield f"{row.model_hash[:12]}  {row.task:9} {row.kind:14} {row.site or '-':20} {row.state:9} {row.reason or ''}"
    for t in changes:
        yield f"    {format_iso(t.at)[:16]}Z {t.from_state or 'new'} -> {t.to_state}, {t.by}: {t.reason}"


def _compare_line(facts: dict[str, Any]) -> str:
    worst = "" if facts["worst_80"] is None else f" (worst {facts['worst_station']} {facts['worst_80']:.0%})"
    mark = "*" if facts["shown"] else " "
    who = f"{facts['model']:14} {facts['model_hash'][:12]:12} {facts['state']:9}"
    unit = facts["unit"]
    errors = f"mae {_figure(facts['mae'])} {unit} ({facts['reference']} {_figure(facts['reference_mae'])} {unit})"
    held = f"80 % held {_share(facts['coverage_80'])}{worst}, 95 % {_share(facts['coverage_95'])}"
    part = "".join(f"{facts[key]}: " for key in ("stage", "situation") if facts[key] is not None)
    spread = "" if facts["crps"] is None else f"  crps {_figure(facts['crps'])} ({_figure(facts['reference_crps'])})"
    time = "" if facts["latency_ms"] is None else f"  {facts['latency_ms'] / 1000:.2f} s"
    errors += f"  skill {_share(facts['skill'])}"
    return f"{_words(facts['horizon_s']):>6} {mark} {who} {part}n {facts['n']:>4}  {errors}  {held}{spread}{time}"


def _parts(rows: "Sequence[Scored]", *, by_stage: bool, by_situation: bool) -> list[tuple[str | None, str | None]]:
    """All together, then each stage and each situation; empty text where none was stated."""
    stages = sorted({r.stage or "" for r in rows}) if by_stage else []
    situations = sorted({r.situation or "" for r in rows}) if by_situation else []
    return [(None, None), *((s, None) for s in stages), *((None, s) for s in situations)]


def _stated(part: str | None) -> str | None:
    return part if part is None else part or "not stated"


def _usual_ms(rows: "Sequence[Scored]") -> float | None:
    return median([r.latency_ms for r in rows if r.latency_ms is not None] or [0.0]) or None


def _share(value: float | None) -> str:
    return "   -" if value is None else f"{value:4.0%}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _words(horizon_s: float) -> str:
    from forecasting.data.kinds import format_span

    return format_span(horizon_s)
