"""`slopeward forecast`: run, train, list; trials on files stand beside it."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli import forecast_trials
from monitor.cli.opening import ConfigOption, JsonOption, SiteOption, open_service, pick_site, print_json

app = typer.Typer(help="Run, train, test and list forecasts.", no_args_is_help=True)


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
    model: Annotated[str, typer.Option(help="A network of docs/reference/forecasting-models.md.")] = "gru",
    seed: Annotated[int, typer.Option(help="Same seed and data give the same checkpoint.")] = 7,
    config: ConfigOption = None,
) -> None:
    """Train one network of a site now and let it serve; its gate still says whether it is shown."""
    from forecasting.registry import NETWORKS
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


for verb, example in (
    (forecast_trials.backtest, "slopeward forecast backtest --data SK --horizons 1d,7d,30d --models auto,gru --json"),
    (forecast_trials.audit, "slopeward forecast audit --data LONG.csv --horizons 1d,7d"),
    (forecast_trials.leak_test, "slopeward forecast leak-test --data SK --models baselines --count 1000"),
    (forecast_trials.drivers, "slopeward forecast drivers --config configs/forecasting/lamosano.toml"),
):
    app.command(epilog=f"Example: {example}")(verb)
