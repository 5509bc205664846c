"""Trials of forecasts on files: backtest, audit of the input, leak test, drivers. None needs a database or a site."""

import inspect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from monitor.api.cli import (
    LARGEST_SEED,
    options,
    print_if_json,
    print_json,
    print_note,
    print_result_in_order,
    require_any,
)
from monitor.api.text import (
    describe_error,
    format_duration,
    format_iso,
    from_epoch_s,
    list_names,
    parse_duration_s,
)

if TYPE_CHECKING:
    from forecasting.data.series import Panel
    from forecasting.data.sources import Record, RecordRecipe
    from forecasting.evaluation.scoring import Score, Trial

DataOption = Annotated[
    str | None,
    typer.Option("--data", help="Long CSV (time,station,quantity,value), or a benchmark record: S, SK, G, K."),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option("--config", help="TOML recipe: how to read a record in another format, and how to score it."),
]
QuantityOption = Annotated[str | None, typer.Option(help="Displacement quantity, if a long CSV contains several.")]
HorizonsOption = Annotated[
    str | None, typer.Option(help="Horizons, such as 1d,7d. A number without a unit means days.")
]
DIVISION_NAMES = ("station", "month", "stage")


class Column(NamedTuple):
    """A column of the table of scores."""

    heading: str
    field: str  # of `forecasting.evaluation.scoring.Score`
    number_format: str
    meaning: str


COLUMNS = (
    Column("MAE mm", "mae_mm", ".3f", "mean absolute error of the median, mm"),
    Column("skill", "skill_persistence", "+.3f", "1 - MAE / MAE of persistence, the newest value; above 0 is better"),
    Column(
        "best",
        "skill_best",
        "+.3f",
        "the same against the simple forecast, persistence or line, with the smaller error before the test",
    ),
    Column("cover80", "coverage_80", ".3f", "share of the observations inside the 80 % interval; 0.80 is right"),
    Column("cover95", "coverage_95", ".3f", "share of the observations inside the 95 % interval; 0.95 is right"),
    Column("fit s", "seconds", ".2f", "mean time of a fold, s: of the training of a network, else of the forecasts"),
)
LEGEND = (
    "n: pairs of a forecast and an observation, of all folds and stations",
    *(f"{column.heading}: {column.meaning}" for column in COLUMNS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialArguments:
    """What `slopeward forecast backtest` takes."""

    data: DataOption = None
    config: RecipeOption = None
    quantity: QuantityOption = None
    horizons: HorizonsOption = None
    models: Annotated[str | None, typer.Option(help="Networks, separated by commas; `networks` means all.")] = None
    folds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Number of parts of the record that are scored one after the other."),
    ] = None
    last: Annotated[
        int | None,
        typer.Option(
            min=4, max=10_000_000, help="Score this many rows at the end of the record instead of a share of it."
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="Seed of every network.")] = None
    per: Annotated[
        str, typer.Option(help="With --json: also one line per station, month or stage, or several: station,month.")
    ] = "station"
    allow_interpolated: Annotated[
        bool, typer.Option("--allow-interpolated", help="Score the record even if it is interpolated.")
    ] = False


def backtest(given: TrialArguments) -> None:
    """Score forecasting models on the past of a record, by rolling origin with an embargo.

    The models persistence, line and combined are always scored. Stations with different sampling intervals are scored
    separately. With --json, there is one line per model, station, horizon and fold; station `all` stands for all
    stations of an interval.
    """
    last = given.last
    from forecasting.evaluation.backtest import run_trials

    recipe, records, requested = open_records(given.data, given.config, given.quantity, given.horizons)
    wanted = _read_divisions(given.per)
    if not given.allow_interpolated:
        for record in records:
            refuse_interpolated(record.panel, requested)
    chosen_seed = int(recipe.run.get("seed", 7)) if given.seed is None else given.seed
    scores: list[Score] = []
    summaries: list[str] = []
    names = model_list(given.models or recipe.run.get("models", ""))
    chosen_folds = given.folds or int(recipe.run.get("folds", 3))
    last = last or recipe.run.get("last")
    for record in records:
        covariates, panel = _name_covariates(recipe, record)
        spans = requested if len(records) == 1 else fit_horizons(panel, requested)
        settings: dict[str, Any] = {"covariates": covariates}
        settings |= {"window": int(recipe.run["window"])} if "window" in recipe.run else {}
        settings |= recipe.run.get("settings", {})
        trials = run_trials(
            panel,
            names,
            spans,
            folds=chosen_folds,
            seed=chosen_seed,
            last=last,
            training=settings,
            on_progress=print_note,
        )
        own, within_s = _score_trials(
            panel, trials if spans else (), wanted, (chosen_folds, last), alone=len(records) == 1
        )
        if "station" in wanted:
            _print_missing(panel, spans, within_s, own)
        scores += own
        if len(records) > 1 and own:
            summaries.append(f"{list_names(panel.stations)}, every {_format_step(panel)}:")
        summaries += summary(own) if own else []
    require_any(scores, "no forecast could be scored")
    if not options().as_json:
        print("\n".join([*summaries, "", *LEGEND]))


BACKTEST_HELP = "\n\n".join(
    [
        inspect.getdoc(backtest) or "",
        "Columns of the table:\n" + "\n".join(f"- {line}" for line in LEGEND),
        "A network is not trained for a horizon that has too few targets; a line on stderr gives the reason.",
    ]
)


def _score_trials(
    panel: "Panel", trials: "Iterable[Trial]", wanted: set[str], folds: tuple[int, int | None], *, alone: bool
) -> "tuple[list[Score], float]":
    """Scores of the trials on one panel, and what the last rows of its folds reach, s; `--json` prints each at once.

    Raises:
        ForecastingError: The panel is the only one and cannot be scored; of several the others are scored all the same.
    """
    from forecasting.data.splits import rolling_folds
    from forecasting.errors import ForecastingError
    from forecasting.evaluation.scoring import DIVISIONS, score_all

    count, last = folds
    scores: list[Score] = []
    within_s = math.inf
    try:
        within_s = panel.step_s * (rolling_folds(len(panel.times_s), count, last=last)[0].test.origins.size - 1)
        for trial in trials:
            made = [
                *score_all(trial),
                *(score for name in DIVISION_NAMES if name in wanted for score in DIVISIONS[name](trial)),
            ]
            if options().as_json:
                for one in made:
                    facts = one.to_json() | {"interval_s": panel.step_s}
                    print_json(facts)
            scores += made
    except ForecastingError as error:
        if alone:
            raise
        print_note(f"{list_names(panel.stations)}: {describe_error(error)}")
    return scores, within_s


def fit_horizons(panel: "Panel", horizons_s: Sequence[float]) -> list[float]:
    """Horizons that stations of an interval can be asked for; others are named."""
    from forecasting.data.cadence import keep_horizons

    fit = keep_horizons(panel.step_s, horizons_s)
    if short := [h for h in horizons_s if h not in fit]:
        spans, names = ", ".join(format_duration(round(h)) for h in short), list_names(panel.stations)
        print_note(f"{names}: no score at {spans}: that is shorter than the {_format_step(panel)} between readings")
    return [h for h in horizons_s if h in fit]


def _print_missing(panel: "Panel", horizons_s: Sequence[float], within_s: float, scores: "Sequence[Score]") -> None:
    """Name stations without a score at some horizon, with their gaps, and horizons that no fold is long enough for."""
    import numpy as np

    scored = {(one.station, one.horizon_s) for one in scores if one.n}
    for column, station in enumerate(panel.stations):
        missing = [h for h in horizons_s if h <= within_s and (station, h) not in scored]
        if not missing:
            continue
        seen = np.isfinite(panel.values[:, column])
        rows = np.flatnonzero(seen)
        whole = int(rows[-1] - rows[0] + 1) if rows.size else 0
        gap = int(np.diff(rows).max() - 1) if rows.size > 1 else 0
        spans, step = ", ".join(format_duration(round(h)) for h in missing), _format_step(panel)
        last = f", the last at {format_iso(from_epoch_s(float(panel.times_s[rows[-1]])))}" if rows.size else ""
        print_note(
            f"{station}: no score at {spans}: nothing that is scored was observed. {rows.size} of {whole} intervals of "
            f"{step} have a reading{last}; the longest gap is {format_duration(round(gap * panel.step_s))}"
        )
    if beyond := ", ".join(format_duration(round(h)) for h in horizons_s if h > within_s):
        print_note(
            f"{list_names(panel.stations)}: no score at {beyond}: each test on this record reaches "
            f"{within_s / 86_400.0:.2g} d ahead; fewer folds or a longer record reach further"
        )


def _format_step(panel: "Panel") -> str:
    return format_duration(round(panel.step_s))


def _name_covariates(recipe: "RecordRecipe", record: "Record") -> "tuple[tuple[str, ...], Panel]":
    """Drivers that the recipe names for networks that read only those, and the panel with the season where it is one.

    Raises RecipeError: the record has none of that name.
    """
    from forecasting.data.covariates import make_season, rows_from_covariates
    from forecasting.data.kinds import SEASON
    from forecasting.errors import RecipeError

    wanted, panel = tuple(recipe.run.get("covariates", ())), record.panel
    known = [*(one.name for one in record.covariates), SEASON]
    for name in wanted:
        if name not in known:
            raise RecipeError(
                f"{recipe.name}: backtest.covariates: no driver is called {name!r}; there are {', '.join(known)}"
            )
    if SEASON not in wanted:
        return wanted, panel
    every = (*record.covariates, *make_season(panel))
    return wanted, replace(panel, drivers=rows_from_covariates(every, panel.step_s))


def audit(
    data: DataOption = None,
    config: RecipeOption = None,
    quantity: QuantityOption = None,
    horizons: HorizonsOption = None,
) -> None:
    """Check whether forecasts of a record can be scored at these horizons.

    Rows without a number, duplicate rows, single spikes, jumps and gaps are listed with their line or time. Exit 1 if
    the record is interpolated or contains impossible values.
    """
    from forecasting.data.sources import find_file
    from forecasting.errors import RefusedInputError
    from forecasting.evaluation.csv_audit import audit_rows
    from forecasting.evaluation.screening import audit_panel

    recipe, records, spans_s = open_records(data, config, quantity, horizons)
    count = sum(len(record.panel.stations) for record in records)
    findings = [one for record in records for one in audit_panel(record.panel, spans_s)]
    if len(records) > 1:
        for record in records:
            print_note(f"{list_names(record.panel.stations)}: every {_format_step(record.panel)}")
    if recipe.data.get("format", "long") == "long":
        findings = [*audit_rows(find_file(data or recipe.data["file"]), spans_s), *findings]
    for one in findings:
        print_result_in_order(one.to_json(), f"{one.station}: {one.code}: {one.text}")
    refused = [one for one in findings if one.refuses]
    if refused:
        spans = sorted({h for one in refused for h in one.refused_horizons})
        raise RefusedInputError(
            f"{refused[0].code}: {len({one.station for one in refused})} of {count} stations, "
            f"horizons {', '.join(spans)} refused: {refused[0].text}"
        )
    if not findings and not options().as_json:
        print(f"{count} stations, nothing found that spoils a score")


def leak_test(
    data: DataOption = None,
    config: RecipeOption = None,
    quantity: QuantityOption = None,
    horizons: HorizonsOption = None,
    models: Annotated[
        str, typer.Option(help="Models, separated by commas: combined, persistence, line, networks.")
    ] = "combined",
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="Forecasts per model. Default: 1000 for a cheap model, 20 for a network, 5 for a decomposition.",
        ),
    ] = None,
    decomposition: Annotated[
        bool,
        typer.Option(
            "--decomposition",
            help="Test decompositions instead of models: causal ones beside those of the whole series.",
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the random times of issue and changed values.")
    ] = 7,
) -> None:
    """Test that no forecast depends on values after its time of issue.

    The command changes every later value and compares the forecasts bit by bit. Exit 1 if a forecast changes.
    """
    from forecasting.errors import LeakError
    from forecasting.evaluation.leakage import run_decomposition_test, run_leak_test

    _, (record,), spans = open_records(data, config, quantity, horizons, apart=False)
    panel = record.panel
    leaking = []
    if decomposition:
        steps = [panel.steps(h) for h in spans]
        period = max(2, round(365 * 86400 / panel.step_s))
        for result, worth in run_decomposition_test(panel.values[:, 0], steps, period=period, count=count, seed=seed):
            leaking += [result.model] if result.leaks else []
            if not print_if_json(result.to_json() | worth):
                print(
                    f"{result.model:26} {result.forecasts} forecasts, {result.changed} changed; RMSE causal "
                    f"{_mm(worth['rmse_causal_mm'])}, whole series {_mm(worth['rmse_whole_series_mm'])}, without "
                    f"{_mm(worth['rmse_without_mm'])} mm; its trend moves by {_mm(worth['trend_moves_mm'])} mm later"
                )
    else:
        for result in run_leak_test(panel, model_list(models), spans, count=count, seed=seed):
            leaking += [result.model] if result.leaks else []
            if not print_if_json(result.to_json()):
                print(
                    f"{result.model:20} {result.forecasts} forecasts, {result.changed} changed; "
                    f"{result.refits} fits repeated, {result.refits_changed} changed"
                )
    if leaking:
        raise LeakError(f"leak: {', '.join(leaking)} changed when only the future was changed")


def open_records(
    data: str | None, config: Path | None, quantity: str | None, horizons: str | None, *, apart: bool = True
) -> "tuple[RecordRecipe, list[Record], list[float]]":
    """The recipe (empty without one), the record of the command line in a part per cadence, and horizons in seconds."""
    from forecasting.data.sources import RecordRecipe, read_recipe, read_records
    from forecasting.errors import RecipeError

    if data is None and config is None:
        raise RecipeError("name a record: --data LONG.csv (or S, SK, G, K), or --config RECIPE.toml")
    recipe = read_recipe(config) if config is not None else RecordRecipe()
    spans = horizons_of(horizons, recipe)
    return recipe, read_records(data, recipe, quantity=quantity, apart=apart, horizons_s=spans), spans


def horizons_of(text: str | None, recipe: "RecordRecipe") -> list[float]:
    """Horizons in seconds: of the command line, else of the recipe, else 1, 7 and 30 d."""
    words: Sequence[Any] = text.split(",") if text else recipe.run.get("horizons", ["1d", "7d", "30d"])
    try:
        return [parse_duration_s(float(w) if _is_number(str(w)) else str(w).strip()) for w in words]
    except ValueError as error:
        raise typer.BadParameter(f"--horizons: {error}") from error


def model_list(words: str | Sequence[str]) -> list[str]:
    """Return the names of a comma list; the word `networks` stands for every network."""
    from forecasting.registry import list_networks

    given = words.split(",") if isinstance(words, str) else list(words)
    names = [word.strip() for word in given if word.strip()]
    return [name for word in names for name in (list_networks() if word == "networks" else [word])]


def refuse_interpolated(panel: "Panel", horizons_s: Sequence[float]) -> None:
    """Stop before a score is given on a curve through fewer points than it has samples."""
    from forecasting.errors import RefusedInputError
    from forecasting.evaluation.screening import audit_panel

    refused = [one for one in audit_panel(panel, horizons_s) if one.refuses]
    if refused:
        raise RefusedInputError(
            f"interpolated_input: {refused[0].station}: {refused[0].text}; no score below the knot spacing means "
            "anything (--allow-interpolated scores it all the same)"
        )


def summary(scores: "Sequence[Score]") -> list[str]:
    """A table for people: mean over folds of the scores over all stations."""
    from forecasting.evaluation.scoring import format_horizon, pool_scores

    every = [s for s in scores if (s.station, s.month, s.stage) == (None, None, None)]
    heads = ("horizon", "n", *(column.heading for column in COLUMNS))
    lines = [f"{'model':22}" + "".join(f"{head:>9}" for head in heads)]
    for horizon_s in dict.fromkeys(s.horizon_s for s in every):
        for model in dict.fromkeys(s.model for s in every):
            mine = [s for s in every if s.model == model and s.horizon_s == horizon_s]
            if mine:
                cells = "".join(
                    f"{_number(pool_scores(mine, column.field), column.number_format):>9}" for column in COLUMNS
                )
                lines.append(f"{model:22}{format_horizon(horizon_s):>9}{sum(s.n for s in mine):9}{cells}")
    picked = {(s.fold, s.horizon_s): s.baseline for s in every}
    for horizon_s in dict.fromkeys(h for _, h in picked):
        names = [picked[k] for k in sorted(picked) if k[1] == horizon_s]
        lines.append(f"simple forecast of the column best, {format_horizon(horizon_s)}: {', '.join(names)} (by fold)")
    return lines


def _read_divisions(text: str) -> set[str]:
    wanted = {one.strip() for one in text.split(",") if one.strip() and one.strip() != "all"}
    if wanted - set(DIVISION_NAMES):
        raise typer.BadParameter(f"--per: expected {', '.join(DIVISION_NAMES)} or all")
    return wanted


def _number(value: float, form: str) -> str:
    return format(value, form) if value == value else "-"  # noqa: PLR0124 - NaN is not equal to itself


def _mm(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()
