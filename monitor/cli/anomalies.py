"""`slopeward anomalies`: train detectors, score a site now, compare detectors at one budget."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.opening import ConfigOption, JsonOption, SiteOption, open_service, pick_site, print_json

app = typer.Typer(help="Train and score anomaly detectors.", no_args_is_help=True)


@app.command(epilog="Example: slopeward anomalies score --site north-bench")
def score(site: SiteOption, config: ConfigOption = None) -> None:
    """Score what is new with every detector of the site's plan."""
    from monitor.jobs import anomaly

    service, db = open_service(config)
    print(anomaly.run(db, service, pick_site(service, site), datetime.now(UTC)))


@app.command(epilog="Example: slopeward anomalies train --site north-bench --detector lstm-ae")
def train(
    site: SiteOption,
    detector: Annotated[str, typer.Option(help="ae or lstm-ae.")] = "ae",
    seed: Annotated[int, typer.Option()] = 7,
    config: ConfigOption = None,
) -> None:
    """Train an autoencoder; its threshold is counted on validation against the site's false-alarm budget."""
    from monitor.jobs.anomaly import NEEDS_CHECKPOINT
    from monitor.jobs.train import train_one

    if detector not in NEEDS_CHECKPOINT:
        known = ", ".join(sorted(NEEDS_CHECKPOINT))
        raise typer.BadParameter(f"{detector!r} needs no training or is unknown; {known} do")
    service, db = open_service(config)
    print(train_one(db, service, pick_site(service, site), "anomaly", detector, datetime.now(UTC), seed))


@app.command(epilog="Example: slopeward anomalies bench --data G.csv --budget 0.1 --seeds 3")
def bench(
    data: Annotated[Path, typer.Option(help="Long CSV: time,station,quantity,value.")],
    budget: Annotated[float, typer.Option(help="False alarms per sensor-month.")] = 0.1,
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Compare detectors on injected faults at an equal budget: event recall, precision, real false alarms."""
    from detection.anomaly.bench import format_table, run_bench
    from detection.anomaly.windows import build_series
    from forecasting.series import read_long_csv

    panel = read_long_csv(data)
    samples = {
        name: build_series(panel.times_s.tolist(), panel.values[:, column].tolist(), panel.step_s)
        for column, name in enumerate(panel.stations)
    }
    names = [f"{d}{checks}" for d in ("persistence-z", "ae", "lstm-ae", "rules") for checks in ("", "+checks")]
    rows = run_bench(samples, names, budget, range(seeds))
    if not as_json:
        print(format_table(rows))
    for row in rows if as_json else []:
        print_json(row)
