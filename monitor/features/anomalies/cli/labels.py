"""The commands `slopeward anomalies list`, `label`, `labels`, `budget` and `factor`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from monitor.api.cli import add_acts, find_readable_sites, session
from monitor.api.errors import RefusedError
from monitor.api.queries.ingest import Gap, load_gaps
from monitor.api.text import format_iso
from monitor.features.anomalies.queries.budget import BudgetMeasurement, is_reproduced, load_budgets, measure_detectors
from monitor.features.anomalies.queries.labels import AnomalyRun, load_runs

app = session.Commands()
DEFAULT_DAYS: Final = 14.0
add_acts(app, "anomalies")


@app.command("list")
def list_runs(
    site: session.SiteFilter = None,
    days: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=36525.0, help=f"Instead of --since: days before now or --until. Default: {DEFAULT_DAYS:g}."
        ),
    ] = None,
    since: session.SinceOption = None,
    until: session.UntilOption = None,
) -> None:
    """List the anomalies of each site with their labels, then the gaps in its readings. Exit 4 if there are none.

    --since and --until select anomalies that lasted at least partly in the period, and gaps that ended in it.

    Example: slopeward anomalies list --site north-bench --days 30

    Example: slopeward anomalies list --since 2026-03-01T00:00Z --until 2026-03-08T00:00Z
    """
    if days is not None and since is not None:
        raise RefusedError("give either --since or --days")
    period = session.read_period(since, until)
    sites = session.read_sites() if site is None else [session.pick_site(session.read_service(), site)]
    now = datetime.now(UTC)
    to_at = period.to_at or now
    from_at = period.from_at or to_at - timedelta(days=DEFAULT_DAYS if days is None else days)
    runs_by_site: dict[str, list[AnomalyRun]] = {}
    gaps_by_site: dict[str, list[Gap]] = {}
    with session.open_database() as db, db.read() as c:
        readable_ids = find_readable_sites(c, site)
        if site is None and readable_ids is not None:
            sites = [declared for declared in sites if declared.id in readable_ids]
        for declared in sites:
            # Loaded up to now: an anomaly is shown with its whole length, and a gap that was filled is not shown.
            runs = load_runs(c, declared, from_at, now)
            gaps = load_gaps(c, declared.id, from_at, now)
            runs_by_site[declared.id] = [run for run in runs if run.from_at <= to_at]
            gaps_by_site[declared.id] = [gap for gap in gaps if gap.to_at <= to_at]
    for site_id, runs in runs_by_site.items():
        _show_anomalies(site_id, runs, gaps_by_site[site_id])
    session.require_any(any(runs_by_site.values()) or any(gaps_by_site.values()), "no anomaly")


def _show_anomalies(site_id: str, runs: Sequence[AnomalyRun], gaps: Sequence[Gap]) -> None:
    for run in runs:
        labelled = f"{run.label.verdict}, {run.label.cause}, by {run.label.by}" if run.label else "no label"
        period = f"{format_iso(run.from_at)[:19]}Z to {format_iso(run.to_at)[:19]}Z"
        line = f"{site_id} {run.station} {run.quantity} {period} {run.kind}"
        alerted_by = f"{', '.join(run.detectors)}, {run.score:.2g} times the threshold"
        against = f"compared with {', '.join(run.compared_with)}"
        session.print_result({"site": site_id, **run_to_json(run)}, f"{line} ({alerted_by}; {against}): {labelled}")
    for gap in gaps:
        period = f"{format_iso(gap.from_at)[:19]}Z to {format_iso(gap.to_at)[:19]}Z"
        line = f"{site_id} {gap.station} {gap.quantity} {period} gap"
        facts = {
            "site": site_id,
            "station": gap.station,
            "quantity": gap.quantity,
            "from": format_iso(gap.from_at),
            "to": format_iso(gap.to_at),
            "kind": "gap",
            "missing": gap.missing,
        }
        session.print_result(facts, f"{line} ({gap.missing} readings missing)")


def run_to_json(run: AnomalyRun) -> dict[str, Any]:
    """Return an anomaly as JSON-ready values."""
    label = None
    if run.label is not None:
        label = {
            "verdict": run.label.verdict,
            "cause": run.label.cause,
            "by": run.label.by,
            "at": format_iso(run.label.at),
        }
    return {
        "station": run.station,
        "quantity": run.quantity,
        "from": format_iso(run.from_at),
        "to": format_iso(run.to_at),
        "kind": run.kind,
        "detectors": list(run.detectors),
        "score": round(run.score, 4),
        "compared_with": list(run.compared_with),
        "label": label,
    }


@app.command("budget")
def list_budgets(
    site: session.SiteArgument,
    history: Annotated[
        bool, typer.Option("--history", help="Show all stored corrections of the factor, oldest first.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute each stored correction again. Exit 1 if one differs.")
    ] = False,
) -> None:
    """Show the false alarms of each detector, its budget and the factor on its threshold. Exit 4 if there are none.

    Example: slopeward anomalies budget north-bench --history --recompute
    """
    declared, now = session.pick_site(session.read_service(), site), datetime.now(UTC)
    is_stored = history or recompute
    with session.open_database() as db, db.read() as c:
        find_readable_sites(c, site)
        measured = [] if is_stored else measure_detectors(c, declared, now)
        stored = load_budgets(c, site) if is_stored else []
    for measurement in measured:
        allowed = f"{measurement.budget:.3g} false alarms per sensor-month are allowed"
        limit = f"threshold {measurement.factor:.3g} times the counted one"
        total = f"{measurement.reported} alarms in {measurement.sensor_months:.1f} sensor-months in all"
        explained = f", {measurement.known_cause} with a known cause" if measurement.known_cause else ""
        line = f"{measurement.detector}: {measurement.describe()}; {allowed}; {limit}; {total}{explained}"
        session.print_result(budget_to_json(measurement), line)
    differences = 0
    for row in stored:
        is_same = not recompute or is_reproduced(row)
        differences += not is_same
        factors = f"{row.factor_before:.3g} to {row.factor:.3g}"
        line = f"{format_iso(row.at)[:16]}Z {row.detector}: {factors} times the threshold, by {row.by}: {row.reason}"
        facts = {key: value for key, value in row._mapping.items() if key != "evidence"}  # noqa: SLF001
        facts |= {"at": format_iso(row.at), "same": is_same, "from_at": format_iso(row.from_at)}
        session.print_result(facts, line if is_same else f"{line}: DIFFERS when computed again")
    if differences:
        raise typer.Exit(1)
    nothing = "nothing is stored yet" if is_stored else "no detector with a threshold"
    session.require_any(measured or stored, nothing)


def budget_to_json(measurement: BudgetMeasurement) -> dict[str, Any]:
    """Return the measurement of a detector as JSON-ready values."""
    rate = measurement.rate
    return {
        "detector": measurement.detector,
        "from": format_iso(measurement.from_at),
        "to": format_iso(measurement.to_at),
        "sensor_months": round(measurement.sensor_months, 3),
        "reported": measurement.reported,
        "labelled": measurement.labelled,
        "dismissed": measurement.dismissed,
        "known_cause": measurement.known_cause,
        "rate_per_sensor_month": rate and rate.value,
        "rate_low_per_sensor_month": rate and rate.low,
        "rate_high_per_sensor_month": rate and rate.high,
        "budget_per_sensor_month": measurement.budget,
        "factor": measurement.factor,
        "measured": measurement.describe(),
    }
