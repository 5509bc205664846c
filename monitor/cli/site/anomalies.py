"""`slopeward anomalies`: train detectors, score a site now, compare detectors at one budget."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from monitor.cli.session import (
    ConfigOption,
    JsonOption,
    SiteOption,
    open_service,
    pick_site,
    point_to_the_past,
    print_json,
)
from monitor.cli.site.labels import add_to
from monitor.store.models.registry import find_active

app = typer.Typer(help="Train and score anomaly detectors, say what anomalies were.", no_args_is_help=True)
add_to(app)


@app.command(epilog="Example: slopeward anomalies score --site north-bench")
def score(site: SiteOption, config: ConfigOption = None) -> None:
    """Score what is new with every detector of the site's plan."""
    from monitor.jobs import anomaly

    service, db = open_service(config)
    chosen, now = pick_site(service, site), datetime.now(UTC)
    point_to_the_past(db, chosen, now)
    print(anomaly.run(db, service, chosen, now))


@app.command(epilog="Example: slopeward anomalies train --site north-bench --detector rules")
def train(
    site: SiteOption,
    detector: Annotated[list[str] | None, typer.Option(help="One or more; default: those of the site file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the networks.")] = 7,
    config: ConfigOption = None,
) -> None:
    """Count the thresholds of detectors on the site's own record against its false-alarm budget; train networks."""
    from detection.anomaly.registry import list_detectors
    from monitor.jobs.forecasts.train import train_one

    known = list_detectors()
    if unknown := [d for d in detector or () if d not in known]:
        raise typer.BadParameter(f"{unknown[0]!r} has no threshold to count; expected one of: {', '.join(known)}")
    service, db = open_service(config)
    chosen = pick_site(service, site)
    wanted = detector or [d for d in chosen.anomaly.detectors if d in known]
    now, trained = datetime.now(UTC), 0
    point_to_the_past(db, chosen, now)
    for name in wanted:
        said = train_one(db, service, chosen, "anomaly", name, now, seed)
        with db.read() as c:
            active = find_active(c, task="anomaly", kind=name, site=chosen.id)
        if active is None or not active.model_hash.startswith(said):
            print(f"{name}: not trained: {said}", file=sys.stderr)
            continue
        trained += 1
        print(f"{name}: {_describe(active.card)} (model {said})")
    if trained < len(wanted) or not wanted:
        raise typer.Exit(3 if trained else 4)


def _describe(card: Mapping[str, Any]) -> str:
    """What was counted, and whether the record shows that the detector may count as a witness."""
    held = card["heldout_alarms_per_sensor_month"]
    said = "nothing could be counted" if held is None else f"{held:.3g} alarms per sensor-month"
    vote = "may be a witness" if card["may_vote"] else f"advice: {'; '.join(card['may_not_vote_because'])}"
    return (
        f"threshold {card['threshold']:.3g} for {card['budget_per_sensor_month']:g} false alarms per sensor-month; "
        f"{said} on {card['heldout_months']:.1f} held-out sensor-months; {vote}"
    )


@app.command(epilog="Example: slopeward anomalies bench --data G --budget 0.1 --seeds 3")
def bench(
    data: Annotated[str, typer.Option(help="A long CSV, or a benchmark below SLOPEWARD_DATA: S, SK, G or K.")],
    budget: Annotated[float, typer.Option(help="False alarms per sensor-month.")] = 0.1,
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="What a site without history is served, alone.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare detectors on injected faults at an equal budget: event recall, precision, real false alarms."""
    from detection.anomaly.bench import format_table, run_bench
    from detection.anomaly.jobs import start_without_history
    from detection.anomaly.windows import build_series
    from forecasting.data.sources import Recipe, read_record

    panel = read_record(data, Recipe()).panel
    samples = {
        name: build_series(panel.times_s.tolist(), panel.values[:, column].tolist(), panel.step_s)
        for column, name in enumerate(panel.stations)
    }
    names = [f"{d}{checks}" for d in ("persistence-z", "ae", "lstm-ae", "rules") for checks in ("", "+checks")]
    if fresh:
        names = ["persistence-z", "rules", "rules+checks"]
    ready = {d: start_without_history(d, panel.step_s) for d in ("persistence-z", "rules")} if fresh else None
    rows = run_bench(samples, names, budget, range(seeds), ready)
    if not as_json:
        print(format_table(rows))
    for row in rows if as_json else []:
        print_json(row)
