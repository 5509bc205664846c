"""`slopeward forecast`: run, train, compare on the past, list."""

from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.opening import ConfigOption, JsonOption, SiteOption, open_service, pick_site, print_json
from monitor.domain.instants import parse_duration_s

app = typer.Typer(help="Run, train and list forecasts.", no_args_is_help=True)


@app.command(epilog="Example: slopeward forecast run --site north-bench")
def run(site: SiteOption, config: ConfigOption = None) -> None:
    """Issue forecasts of a site from what is known now, and score those whose targets have come."""
    from monitor.jobs import forecast, score

    service, db = open_service(config)
    one, now = pick_site(service, site), datetime.now(UTC)
    print(forecast.run(db, service, one, now))
    print(score.run(db, service, one, now))


@app.command(epilog="Example: slopeward forecast train --site north-bench --model gru --seed 7")
def train(
    site: SiteOption,
    model: Annotated[str, typer.Option(help="gru, lstm or graph-gru.")] = "gru",
    seed: Annotated[int, typer.Option(help="Same seed and data give the same checkpoint.")] = 7,
    config: ConfigOption = None,
) -> None:
    """Train one network of a site now and let it serve; its gate still says whether it is shown."""
    from monitor.jobs.forecast import NETWORKS
    from monitor.jobs.train import train_one

    if model not in NETWORKS:
        raise typer.BadParameter(f"no network {model!r}; there are {', '.join(sorted(NETWORKS))}")
    service, db = open_service(config)
    print(train_one(db, service, pick_site(service, site), "forecast", model, datetime.now(UTC), seed))


@app.command(epilog="Example: slopeward forecast models --json")
def models(
    site: Annotated[str | None, typer.Option("--site", help="Only this site.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List trained checkpoints with their state; exit 4 when there is none."""
    from monitor.store.models import load_models

    _, db = open_service(config)
    with db.read() as c:
        rows = load_models(c, site=site)
    for row in rows:
        if as_json:
            print_json(
                {"model_hash": row.model_hash, "kind": row.kind, "task": row.task, "site": row.site,
                 "state": row.state, "path": row.path, "created_at": row.created_at.isoformat()},
            )  # fmt: skip
        else:
            print(f"{row.model_hash[:12]}  {row.task:9} {row.kind:12} {row.site or '-':20} {row.state}")
    if not rows:
        raise typer.Exit(4)


@app.command(epilog="Example: slopeward forecast backtest --data LONG.csv --horizons 1d,7d --models lld,gru --json")
def backtest(
    data: Annotated[Path, typer.Option(help="Long CSV: time,station,quantity,value.")],
    horizons: Annotated[str, typer.Option(help="Durations; a bare number means days.")] = "1d,7d,30d",
    models: Annotated[str, typer.Option(help="Comma list of model names.")] = "persistence,lld,auto",
    folds: Annotated[int, typer.Option(min=1)] = 3,
    seed: Annotated[int, typer.Option()] = 7,
    as_json: JsonOption = False,
) -> None:
    """Score models on the past by rolling origin with embargo: one line per model, variant, horizon and fold."""
    from dataclasses import asdict

    from forecasting.backtest import backtest as run_backtest
    from forecasting.series import read_long_csv

    panel = read_long_csv(data)
    horizons_s = [parse_duration_s(float(h) if _is_number(h) else h) for h in horizons.split(",")]
    rows = [asdict(score) for score in run_backtest(panel, models.split(","), horizons_s, folds=folds, seed=seed)]
    for row in rows:
        if as_json:
            print_json({k: v if not isinstance(v, float) or isfinite(v) else None for k, v in row.items()})
        else:
            print("  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))
    if not rows:
        raise typer.Exit(4)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
