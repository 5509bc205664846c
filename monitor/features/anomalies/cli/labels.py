"""`slopeward anomalies list`, `label`, `labels`, `budget`, `factor`: what detectors reported, what people say of it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from monitor.api.cli import add_acts, find_readable_sites, session
from monitor.api.queries.ingest import load_gaps
from monitor.api.text import format_iso
from monitor.features.anomalies.queries.budget import BudgetMeasurement, counts_again, load_budgets, measure_detectors
from monitor.features.anomalies.queries.labels import AnomalyRun, load_runs

app = session.Commands()
add_acts(app, "anomalies")


@app.command("list")
def list_runs(
    site: session.SiteOption,
    days: Annotated[float, typer.Option(min=0.01, max=36525.0, help="How many days back.")] = 14.0,
) -> None:
    """List what detectors reported, and what people said; then readings that are missing; exit 4 without any.

    Example: slopeward anomalies list --site north-bench --days 30
    """
    declared, now = session.pick_site(session.read_service(), site), datetime.now(UTC)
    with session.open_database() as db, db.read() as c:
        find_readable_sites(c, site)
        found = load_runs(c, declared, now - timedelta(days=days), now)
        gaps = load_gaps(c, site, now - timedelta(days=days), now)
    for run in found:
        labelled = f"{run.label.verdict}, {run.label.cause}, by {run.label.by}" if run.label else "nobody said"
        line = (
            f"{run.station} {run.quantity} {format_iso(run.from_at)[:19]}Z to {format_iso(run.to_at)[:19]}Z {run.kind}"
        )
        found_by = f"{', '.join(run.detectors)}, {run.score:.2g} times the threshold"
        against = f"compared with {', '.join(run.compared_with)}"
        session.show(run_to_json(run), f"{line} ({found_by}; {against}): {labelled}")
    for gap in gaps:
        line = f"{gap.station} {gap.quantity} {format_iso(gap.from_at)[:19]}Z to {format_iso(gap.to_at)[:19]}Z gap"
        facts = {
            "station": gap.station,
            "quantity": gap.quantity,
            "from": format_iso(gap.from_at),
            "to": format_iso(gap.to_at),
            "kind": "gap",
            "missing": gap.missing,
        }
        session.show(facts, f"{line} ({gap.missing} readings missing)")
    session.require_any(found or gaps, "no anomaly")


def run_to_json(run: AnomalyRun) -> dict[str, Any]:
    """An anomaly as JSON-ready values."""
    k = run.label
    label = None if k is None else {"verdict": k.verdict, "cause": k.cause, "by": k.by, "at": format_iso(k.at)}
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
    site: session.SiteOption,
    history: Annotated[bool, typer.Option("--history", help="Every correction that was kept, oldest first")] = False,
    recompute: Annotated[bool, typer.Option("--recompute", help="Count each again; exit 1 where one differs")] = False,
) -> None:
    """Show the false alarms of each detector against its budget, and the factor on its threshold; exit 4 without any.

    Example: slopeward anomalies budget --site north-bench --history --recompute
    """
    declared, now = session.pick_site(session.read_service(), site), datetime.now(UTC)
    differ = 0
    with session.open_database() as db, db.read() as c:
        find_readable_sites(c, site)
        measured = [] if history or recompute else measure_detectors(c, declared, now)
        kept = load_budgets(c, site) if history or recompute else []
    for one in measured:
        allowed = f"{one.budget:.3g} false alarms per sensor-month are allowed"
        against = f"{allowed}; threshold {one.factor:.3g} times the counted one"
        explained = f", {one.known_cause} with a known cause" if one.known_cause else ""
        line = f"{one.detector}: {one.describe()}; {against}"
        seen = f"{one.reported} alarms in {one.sensor_months:.1f} sensor-months in all"
        session.show(budget_to_json(one), f"{line}; {seen}{explained}")
    for row in kept:
        is_same = not recompute or counts_again(row)
        differ += not is_same
        at, factors = format_iso(row.at)[:16], f"{row.factor_before:.3g} to {row.factor:.3g}"
        head = f"{at}Z {row.detector}: {factors} times the threshold,"
        line = f"{head} by {row.by}: {row.reason}"
        facts = {k: v for k, v in row._mapping.items() if k != "evidence"} | {"at": format_iso(row.at), "same": is_same}  # noqa: SLF001
        facts["from_at"] = format_iso(row.from_at)
        session.show(facts, line if is_same else f"{line}: DIFFERS when counted again")
    if differ:
        raise typer.Exit(1)
    nothing = "no detector with a threshold" if not (history or recompute) else "nothing was kept yet"
    session.require_any(measured or kept, nothing)


def budget_to_json(one: BudgetMeasurement) -> dict[str, Any]:
    """What a detector did as JSON-ready values."""
    rate = one.rate
    return {
        "detector": one.detector,
        "from": format_iso(one.from_at),
        "to": format_iso(one.to_at),
        "sensor_months": round(one.sensor_months, 3),
        "reported": one.reported,
        "labelled": one.labelled,
        "dismissed": one.dismissed,
        "known_cause": one.known_cause,
        "rate_per_sensor_month": rate and rate.value,
        "rate_low_per_sensor_month": rate and rate.low,
        "rate_high_per_sensor_month": rate and rate.high,
        "budget_per_sensor_month": one.budget,
        "factor": one.factor,
        "measured": one.describe(),
    }
