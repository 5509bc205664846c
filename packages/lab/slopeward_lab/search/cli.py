"""`slopeward forecast search`: search the training settings of a forecasting network on a file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from monitor.api.cli import LARGEST_SEED, options, print_json, print_note, print_result_in_order
from monitor.api.text import format_duration, parse_duration_s

if TYPE_CHECKING:
    from forecasting.data.series import Panel
    from slopeward_lab.search.settings import Range, SearchResult, TrialResult, Value

EXAMPLE: Final = "Example: slopeward forecast search --data SK --model gru --horizons 1d,7d --method bayes --trials 20"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchArguments:
    """Options of `slopeward forecast search`."""

    data: Annotated[
        str, typer.Option("--data", help="Long CSV (time,station,quantity,value), or a benchmark record: S, SK, G, K.")
    ]
    model: Annotated[str, typer.Option(help="Network, such as gru or lstm.")] = "gru"
    method: Annotated[str, typer.Option(help="grid, random or bayes.")] = "bayes"
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Number of trainings besides the usual settings.")] = 20
    horizons: Annotated[str, typer.Option(help="Horizons, such as 1d,7d.")] = "1d,7d,30d"
    values: Annotated[
        list[str] | None,
        typer.Option("--values", metavar="NAME=VALUES", help="Values to try, such as hidden=16,32. Can be repeated."),
    ] = None
    covariates: Annotated[
        str, typer.Option(help="Drivers that the network reads, separated by commas, such as R1.rain_mm.")
    ] = ""
    quantity: Annotated[str | None, typer.Option(help="Displacement quantity, if the CSV contains several.")] = None
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the search and of every training.")] = 7
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="File for the best settings, for `forecast train --settings`."),
    ] = None


def search(given: SearchArguments) -> None:
    """Search the training settings of a network by grid, at random, or by a Bayesian model of the scores.

    Each trial is trained and scored on the rows before the test, which is the newest fifth of the record. Afterwards
    the usual and the best settings are scored on the test. `slopeward forecast train SITE --settings FILE` trains the
    network of a site with the settings that --out writes.
    """
    from slopeward_lab.search.settings import METHODS, SPACE, search_settings

    if given.method not in METHODS:
        raise typer.BadParameter(f"--method: expected one of {', '.join(METHODS)}")
    space = {**SPACE, **dict(_read_values(text, SPACE) for text in given.values or ())}
    horizons_s = _read_horizons(given.horizons)
    covariates = tuple(name.strip() for name in given.covariates.split(",") if name.strip())
    panel = _read_panel(given, horizons_s, covariates)
    result = search_settings(
        panel,
        given.model,
        horizons_s,
        method=given.method,
        trials=given.trials,
        seed=given.seed,
        space=space,
        covariates=covariates,
        on_trial=lambda trial: _print_trial("trial", trial),
    )
    _print_trial("best before the test", result.best)
    _print_trial("usual settings on the test", result.usual_on_test)
    _print_trial("best settings on the test", result.best_on_test)
    if given.out is not None:
        _write_best(given.out, given, result)
    if options().as_json:
        return
    if result.best.number == 0:
        print_note("no trial was better than the usual settings before the test")
        return
    table = ", ".join(f"{name} = {value:g}" for name, value in result.best.settings.items())
    print_note(
        f"to use the best settings in a backtest, write them into [backtest] of a recipe: settings = {{{table}}}"
    )
    if given.out is None:
        print_note("to train a network of a site with them, repeat the search with --out FILE")
    else:
        print_note(f"to train the network of a site with them: slopeward forecast train SITE --settings {given.out}")


def _write_best(path: Path, given: SearchArguments, result: "SearchResult") -> None:
    """Write the best settings to a file."""
    from forecasting.training_settings import SettingsFile, format_settings_file
    from forecasting.whole_file import replacing

    comment = (
        f"Best of {len(result.trials)} trainings of `slopeward forecast search` on {Path(given.data).name}, horizons "
        f"{given.horizons}, seed {given.seed}."
    )
    text = format_settings_file(SettingsFile(given.model, result.best.settings), comment)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _read_values(text: str, space: "Mapping[str, Range]") -> "tuple[str, Range]":
    """Read `--values`, such as `hidden=16,32`."""
    from forecasting.errors import ForecastingError
    from forecasting.training_settings import check_setting
    from slopeward_lab.search.settings import Range

    name, _, listed = text.partition("=")
    if name not in space:
        raise typer.BadParameter(f"--values {text}: expected a name of {', '.join(space)}, such as hidden=16,32")
    values: list[Value] = []
    for word in listed.split(","):
        try:
            number = float(word)
            values.append(check_setting(name, int(number) if number.is_integer() else number))
        except ValueError:
            raise typer.BadParameter(f"--values {text}: expected numbers separated by commas") from None
        except ForecastingError as error:
            raise typer.BadParameter(f"--values {text}: {error}") from error
    return name, Range(tuple(dict.fromkeys(values)))


def _read_horizons(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(parse_duration_s(word.strip())) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--horizons: {error}") from error


def _read_panel(given: SearchArguments, horizons_s: tuple[float, ...], covariates: tuple[str, ...]) -> "Panel":
    """Read the record, and refuse one that cannot be scored."""
    from forecasting.data.sources import RecordRecipe, read_records
    from forecasting.errors import RefusedInputError
    from forecasting.evaluation.screening import audit_panel

    (record,) = read_records(given.data, RecordRecipe(), quantity=given.quantity, apart=False, horizons_s=horizons_s)
    drivers = [covariate.name for covariate in record.covariates]
    for name in covariates:
        if name not in drivers:
            known = ", ".join(drivers) or "none"
            raise typer.BadParameter(f"--covariates: no driver of {given.data} is called {name}; there are: {known}")
    refused = [finding for finding in audit_panel(record.panel, horizons_s) if finding.refuses]
    if refused:
        raise RefusedInputError(f"{refused[0].code}: {refused[0].station}: {refused[0].text}")
    return record.panel


def _print_trial(what: str, trial: "TrialResult") -> None:
    facts: dict[str, Any] = {"what": what, **asdict(trial)}
    if options().as_json:
        print_json(facts)
        return
    settings = ", ".join(f"{name} {value:g}" for name, value in trial.settings.items())
    if trial.score is None:
        outcome = trial.problem
    else:
        errors = ", ".join(
            f"{format_duration(round(float(horizon_s)))} {error:.3g} mm" for horizon_s, error in trial.mae_mm.items()
        )
        outcome = f"{trial.score:.3f} of the error of persistence ({errors})"
    number = f" {trial.number}" if what == "trial" else ""
    print_result_in_order(facts, f"{what}{number}: {settings}: {outcome}")
