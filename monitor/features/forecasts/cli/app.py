"""`slopeward forecast`: show, run, train, list, compare and test forecasts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.api.cli import name_os_actor, session
from monitor.api.text import convert_reason, format_iso, from_epoch_s, list_names
from monitor.features.forecasts.cli import explain, models, trials
from monitor.features.forecasts.cli.show import show

if TYPE_CHECKING:
    from monitor.api.database import Database
    from monitor.api.models import TrainingResult
    from monitor.api.queries.models import TrainingOutcome
    from monitor.api.sites import Site

MOST_NAMED = 8  # stations of a line
DEFAULT_NETWORK = "gru"
app = session.Commands(help="Show, compute, train and test forecasts.", no_args_is_help=True)
app.command("show", epilog="Example: slopeward forecast show north-bench --horizon 1d")(show)


@app.command(epilog="Example: slopeward forecast run north-bench")
def run(site: session.SiteArgument) -> None:
    """Compute forecasts of a site now, and score earlier forecasts whose target time has passed."""
    from monitor.features.forecasts import run
    from monitor.features.forecasts.series_text import describe_not_forecast

    (service, db, one), now = session.open_site(site), datetime.now(UTC)
    for job, outcome in (
        ("issue", run.run(db, service, one, now)),
        ("score", run.score_observed(db, service, one, now)),
    ):
        session.print_result({"site": one.id, "job": job, "said": outcome}, outcome)
    for facts, line in list_why_not(db, one.id, one.timezone):
        session.print_result(facts, line)
    if (left_out := describe_not_forecast(one)) is not None:
        session.print_result({"site": one.id, "not_forecast": str(left_out)}, str(left_out))
    session.print_hint_if_record_is_old(db, one, now)


@app.command(epilog="Example: slopeward forecast hindcast north-bench")
def hindcast(site: session.SiteArgument) -> None:
    """Score forecasts of the past, computed by networks that were trained on the record before it.

    The forecasts are for the newest quarter of the record. The service does this after the first training of each
    network. The rows are marked `hindcast` and are not shown as forecasts.
    """
    from monitor.features.forecasts.hindcast import run_hindcast

    service, db, one = session.open_site(site)
    outcome = run_hindcast(db, service, one, datetime.now(UTC))
    session.print_result({"site": one.id, "said": outcome}, outcome)


def list_why_not(db: "Database", site: str, zone: str = "UTC") -> list[tuple[dict[str, Any], str]]:
    """Return why series and models have no forecast: facts and a line for all that lack the same.

    Args:
        db: The database.
        site: Site id.
        zone: Time zone of the instants in the lines, as in `slopeward status`.
    """
    from monitor.api.database import load_view
    from monitor.features.forecasts.series_text import name_series
    from monitor.features.forecasts.views import WhyNotShownRow

    with db.read() as c:
        rows = load_view(c, "why_not_shown", WhyNotShownRow, order_by=("station", "quantity", "model"), site=site)
    groups: dict[tuple[str, str], list[WhyNotShownRow]] = {}
    for row in rows:
        groups.setdefault((row["lacking"] or row["reason"], row["earliest_at"] or ""), []).append(row)
    described = []
    for (text, earliest_at), group in groups.items():
        stations = list(dict.fromkeys(name_series(row["station"], row["quantity"]) for row in group))
        models = list(dict.fromkeys(row["model"] for row in group))
        more = " ..." if len(stations) > MOST_NAMED else ""
        expected = f", at the earliest {session.format_in_zone(earliest_at, zone)}" if earliest_at else ""
        line = f"no forecast: {', '.join(stations[:MOST_NAMED])}{more}: {text} ({', '.join(models)}{expected})"
        facts = {
            "site": site,
            "stations": stations,
            "models": models,
            "reason": group[0]["reason"],
            "lacking": text,
            "earliest_at": earliest_at or None,
        }
        described.append((facts, line))
    return described


@app.command(epilog="Example: slopeward forecast train north-bench --model gru --seed 7")
def train(
    site: session.SiteArgument,
    model: Annotated[
        str | None,
        typer.Option(
            help="Network, such as gru or lstm. A wrong name lists all names. Default: that of --settings, or gru."
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=session.LARGEST_SEED,
            help="Seed of the training. The same seed and data give the same checkpoint.",
        ),
    ] = 7,
    settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings of the training, as `slopeward forecast search --out FILE` writes them."
        ),
    ] = None,
) -> None:
    """Train a network of a site now. Its first forecasts replace those of the older checkpoint.

    The weekly training of the service uses the same settings again. Without --settings, the usual settings are used.
    """
    from forecasting.registry import PRETRAINED, describe_unknown_model, is_network
    from forecasting.training_settings import read_settings_file
    from monitor.api.queries.models import TrainingOrder
    from monitor.features.forecasts.train import train_one

    file = None if settings is None else read_settings_file(settings)
    if file is not None and model not in {None, file.model}:
        raise typer.BadParameter(f"{settings} has settings of {file.model}, not of {model}", param_hint="--settings")
    model = model or (DEFAULT_NETWORK if file is None else file.model)
    if not is_network(model):
        raise typer.BadParameter(describe_unknown_model(model))
    if file is not None and model in PRETRAINED:
        raise typer.BadParameter(
            f"{model} starts with shipped weights, whose settings are fixed", param_hint="--settings"
        )
    service, db, one = session.open_site(site)
    order = TrainingOrder(model, seed, actor=name_os_actor(), settings={} if file is None else file.settings)
    outcome = train_one(db, service, one, order, datetime.now(UTC))
    facts = {
        "site": one.id,
        "model": model,
        "seed": seed,
        "said": outcome.line,
        "trained": [_list_facts(result) for result in outcome.results],
    }
    session.print_result(facts, "\n".join(_describe_training(one, model, outcome)))
    if not outcome.trained:
        raise typer.Exit(4)


def _list_facts(result: "TrainingResult") -> dict[str, Any]:
    """Return what `--json` contains of a checkpoint."""
    config, data = result.card["config"], result.card["data"]
    return {
        "model_hash": result.model_hash,
        "path": result.path,
        "series": config["stations"],
        "horizons_s": config["horizons_s"],
        "dropped_horizons": result.card["dropped_horizons"],
        "step_s": config["step_s"],
        "rows": data["rows"],
        "begin": format_iso(from_epoch_s(data["start_s"])),
        "end": format_iso(from_epoch_s(data["end_s"])),
    }


def _describe_start(begun_from: str | dict[str, Any]) -> str:
    """Return which weights a training started from, as its card states it."""
    from forecasting.reasons import reason_from_json
    from monitor.api.queries.models import SHORT_HASH_LENGTH

    if not isinstance(begun_from, str):
        return str(convert_reason(reason_from_json(begun_from)))
    if begun_from == "shipped weights":
        return f"from {begun_from}"
    return f"from model {begun_from[:SHORT_HASH_LENGTH]}"


def _describe_training(site: "Site", model: str, outcome: "TrainingOutcome") -> list[str]:
    """Return lines about the checkpoints that were trained, why others were not, and what to do next."""
    from forecasting.data.kinds import describe_drivers, format_span
    from monitor.api.queries.models import SHORT_HASH_LENGTH

    if not outcome.results:
        return [outcome.line]
    lines = []
    for result in outcome.results:
        facts = _list_facts(result)
        rows = f"{facts['rows']} rows of {format_span(facts['step_s'])}, {facts['begin'][:10]} to {facts['end'][:10]}"
        lines.append(f"trained {model} on {list_names(facts['series'])}: {rows}")
        lines.append(f"  horizons: {', '.join(map(format_span, facts['horizons_s']))}")
        for horizon_s, reason in facts["dropped_horizons"].items():
            lines.append(f"  not {format_span(float(horizon_s))}: {reason}")
        if changed := result.card["training"].get("settings"):
            lines.append(f"  settings: {', '.join(f'{name} {value:g}' for name, value in changed.items())}")
        if begun_from := result.card["training"]["begun_from"]:
            lines.append(f"  started {_describe_start(begun_from)}")
        if drivers := result.card.get("explanation", {}).get("drivers"):
            lines.append(f"  reads {describe_drivers(drivers)}")
        lines.append(f"  stored as model {result.model_hash[:SHORT_HASH_LENGTH]} in {result.path}")
    lines += outcome.refusals
    if model not in site.forecast.models:
        lines.append(f"no forecast uses it yet: add {model} to models in [forecast] of the site file of {site.id}")
    else:
        lines.append(f"next: slopeward forecast run {site.id}")
    return lines


def _explain_removed() -> None:
    """Name what replaces this command, which was removed."""
    session.print_note(
        "networks take part in the forecast by their past errors; to stop one, remove it from forecast.models of the "
        "site file"
    )
    raise typer.Exit(2)


for removed in ("promote", "retire"):
    app.command(
        removed,
        hidden=True,
        epilog="Example: slopeward forecast compare --site north-bench",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )(_explain_removed)


for verb, example in (
    (explain.explain, "slopeward forecast explain north-bench --station G1 --json"),
    (models.models, "slopeward forecast models --site north-bench --history"),
    (models.compare, "slopeward forecast compare --site north-bench --horizon 7d (or --peers LONG.csv --horizon 7d)"),
    (trials.audit, "slopeward forecast audit --data LONG.csv --horizons 1d,7d"),
    (trials.leak_test, "slopeward forecast leak-test --data SK --models combined --count 1000"),
):
    app.command(epilog=f"Example: {example}")(verb)
app.command(
    help=trials.BACKTEST_HELP,
    epilog="Example: slopeward forecast backtest --data SK --horizons 1d,7d,30d --models gru,lstm --json",
)(trials.backtest)
