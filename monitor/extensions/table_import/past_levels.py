"""What a stranger's record would have meant: the levels of its past, and how well its motion could have been forecast.

The command line shows it of a table that it has understood; the page asks a worker for it, which gets a site file and a
table that came from outside, and no database.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from forecasting.message import error_text
from monitor.config.service import parse_site
from monitor.domain.errors import SlopewardError
from monitor.domain.instants import format_iso
from monitor.domain.quantities import MOTION, convert
from monitor.domain.site import Site
from monitor.extensions.table_import.guess.values import list_values
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.reading import FileResult
from monitor.replay.backtest import BacktestOptions, Progress, open_files, run_backtest
from monitor.replay.history import VisibilityRule
from monitor.replay.scorecard import Scorecard
from monitor.store.alerting.history import find_span

if TYPE_CHECKING:
    from forecasting.data.series import Panel
    from forecasting.evaluation.scoring import Score, Trial

SHOWN_MODEL: Final = "gated"  # what the service would have shown
STATIONS_MOST: Final = 6  # with a picture of their forecasts
POINTS_MOST: Final = 240  # of a picture
OBSERVED_LEAST: Final = 8  # values beside a forecast, so that it can be judged by eye
SPANS_MOST: Final = 2000  # of a history of levels


def summarise_past(
    path: Path,
    known: tuple[str, ImportOptions],
    site: Site,
    *,
    accept_units: bool,
    on_read: Callable[[tuple[FileResult, ...]], None] = lambda _: None,
    on_progress: Progress | None = None,
) -> Scorecard:
    """The levels of a table as a site file would have decided them.

    Args:
        path: the table.
        known: its reader, and what is said of it.
        site: the declaration.
        accept_units: a person has said that the units are right. What the times count was asked before.
        on_read: called with what became of the rows, before the past is played.
        on_progress: called with the share that is done, 0 to 1.

    Raises:
        UnitDoubtError: the units are doubtful.
        RefusedError: nothing of it could be read.
    """
    with open_files(path, site, accept_units=accept_units, accept_times=True, known=known) as past:
        on_read(past.results)
        with past.db.read() as c:
            span = find_span(c, site.id)
        assert span is not None
        terms = BacktestOptions(known=VisibilityRule("observed", 0.0, None))
        return run_backtest(past.db, site, span[0], span[1], on_progress=on_progress, terms=terms)


def list_motion(quantities: Iterable[str]) -> list[str]:
    """Those of motion among the quantities that a file holds."""
    return sorted({q for q in quantities if q.startswith(MOTION)})


@contextmanager
def lay_out_motion(path: Path, known: tuple[str, ImportOptions], quantity: str) -> Iterator[Path]:
    """One quantity of motion in mm, in the form that the trials of forecasts read; the file goes when they are done."""
    with TemporaryDirectory(prefix="slopeward-guess-") as folder:
        long = Path(folder) / f"{quantity}.csv"
        with long.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("time", "station", "quantity", "value"))
            for one in list_values(path, *known):
                if one.error or one.at is None or one.quantity != quantity:
                    continue
                with suppress(ValueError):
                    value = convert(float(one.value), one.unit, "mm")
                    rows.writerow((format_iso(one.at), one.station, "displacement_mm", repr(value)))
        yield long


# ---- what the page asks of a worker ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PastLevelsRequest:
    """A file, how it is read, and the site file that judges it."""

    table: str
    form: str
    options: ImportOptions
    quantities: tuple[str, ...]  # that it holds
    site: str  # text of the site file


@dataclass(frozen=True, slots=True)
class PastLevels:
    """The levels of a record."""

    from_s: float  # first look, seconds since 1970
    to_s: float  # end
    names: tuple[str, ...]  # of the levels
    spans: tuple[tuple[float, float, int], ...]  # times at one level: from, to, number
    hours: dict[str, float]  # in each level, by name
    alerts: int  # hazard alerts there would have been
    alarm_days: int  # days with one
    left_out: int = 0  # how many of the later spans are not listed


@dataclass(frozen=True, slots=True)
class ForecastLine:
    """How good one model was at one horizon, over all stations and tests."""

    model: str
    horizon: str
    count: int
    mae_mm: float | None
    skill: float | None  # against persistence
    coverage_80: float | None


@dataclass(frozen=True, slots=True)
class ForecastPicture:
    """What would have been forecast for one station, beside what came; mm, instants in seconds since 1970."""

    station: str
    horizon: str
    times_s: tuple[float, ...]
    observed: tuple[float | None, ...]
    low: tuple[float | None, ...]  # of the 80 % interval
    middle: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class PastForecasts:
    """Forecasts of one quantity, scored on the newest part of a record; `trouble`: why there are none."""

    quantity: str
    trouble: str = ""
    lines: tuple[ForecastLine, ...] = ()
    pictures: tuple[ForecastPicture, ...] = ()


@dataclass(frozen=True, slots=True)
class AllForecasts:
    """Those of every quantity of motion; none where a record has no motion."""

    quantities: tuple[PastForecasts, ...]


def find_levels(request: PastLevelsRequest, progress: Callable[[dict[str, Any]], None]) -> PastLevels:
    """The job: levels of a record whose units a person has answered for."""
    site = parse_site(request.site, "the site file")
    card = summarise_past(
        Path(request.table),
        (request.form, request.options),
        site,
        accept_units=True,
        on_progress=lambda share: progress({"share": round(share, 3)}),
    )
    (run,) = card.runs
    return PastLevels(
        card.from_at.timestamp(),
        card.to_at.timestamp(),
        run.level_names,
        tuple((s.from_s, s.to_s, s.level) for s in run.levels[:SPANS_MOST]),
        {name: s / 3600.0 for name, s in run.time_in_level_s.items()},
        len(run.hazards),
        run.alarm_days,
        max(0, len(run.levels) - SPANS_MOST),
    )


def find_forecasts(request: PastLevelsRequest) -> AllForecasts:
    """The job: forecasts of a record, scored where what came is known."""
    known = request.form, request.options
    return AllForecasts(tuple(_try_forecasts(Path(request.table), known, q) for q in list_motion(request.quantities)))


def _try_forecasts(path: Path, known: tuple[str, ImportOptions], quantity: str) -> PastForecasts:
    from forecasting.data.cadence import choose_horizons
    from forecasting.data.series import read_long_panels
    from forecasting.errors import ForecastingError
    from forecasting.evaluation.backtest import run_trials
    from forecasting.evaluation.scoring import score_all
    from forecasting.evaluation.screening import audit_panel

    with lay_out_motion(path, known, quantity) as long:
        try:
            panels = read_long_panels(long, name=quantity)
        except (ForecastingError, SlopewardError) as error:
            return PastForecasts(quantity, error_text(error))
    looked, failed = [], ""
    for panel in panels:
        spans_s = choose_horizons(panel.step_s)
        if refused := [one for one in audit_panel(panel, spans_s) if one.refuses]:
            return PastForecasts(quantity, f"{refused[0].station}: {refused[0].text}")
        try:
            looked.append((list(run_trials(panel, ["auto"], spans_s)), panel))
        except (ForecastingError, SlopewardError) as error:  # stations of another interval may have more
            failed = failed or error_text(error)
    if failed and not looked:
        return PastForecasts(quantity, failed)
    scores = [score for trials, _ in looked for trial in trials for score in score_all(trial)]
    pictures = [picture for trials, panel in looked for picture in _draw(trials, panel)]
    return PastForecasts(quantity, "", tuple(_list_lines(scores)), tuple(pictures[:STATIONS_MOST]))


def _list_lines(scores: "Sequence[Score]") -> Iterator[ForecastLine]:
    from forecasting.evaluation.scoring import format_horizon, pooled

    for horizon_s in dict.fromkeys(s.horizon_s for s in scores):
        for label in dict.fromkeys(s.label for s in scores):
            mine = [s for s in scores if s.label == label and s.horizon_s == horizon_s]
            if mine:
                figures = (_finite(pooled(mine, key)) for key in ("mae_mm", "skill_persistence", "coverage_80"))
                yield ForecastLine(label, format_horizon(horizon_s), sum(s.n for s in mine), *figures)


def _draw(trials: "Sequence[Trial]", panel: "Panel") -> Iterator[ForecastPicture]:
    """What the service would have shown in the newest test, after the record before it; it reaches beyond the end."""
    from forecasting.evaluation.scoring import format_horizon

    newest = [t for t in trials if t.fold == max(one.fold for one in trials)]
    judged = [t for t in newest if sum(_finite(v) is not None for v in t.observed[:, 0]) >= OBSERVED_LEAST] or newest
    if not judged:
        return
    trial = judged[-1]  # the longest horizon
    shown = next((a for a in trial.answers if a.model == SHOWN_MODEL and a.quantiles is not None), None)
    if shown is None or shown.quantiles is None:
        return
    count = len(trial.target_s)
    first = max(0, round((float(trial.target_s[0]) - panel.start_s) / panel.step_s))  # the row of the first target
    past = range(max(0, first - count), first)
    size = max(1, -(-(count + len(past)) // POINTS_MOST))
    before, rows = past[::size], range(0, count, size)
    gap = (None,) * len(before)
    for k, station in enumerate(trial.stations[:STATIONS_MOST]):
        low, middle, high = (gap + tuple(_finite(shown.quantiles[r, k, q]) for r in rows) for q in (1, 2, 3))
        yield ForecastPicture(
            station,
            format_horizon(trial.horizon_s),
            (*(panel.start_s + panel.step_s * r for r in before), *(float(trial.target_s[r]) for r in rows)),
            (*(_finite(panel.values[r, k]) for r in before), *(_finite(trial.observed[r, k]) for r in rows)),
            low,
            middle,
            high,
        )


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if isfinite(number) else None
