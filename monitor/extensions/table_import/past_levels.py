"""What a stranger's record would have meant: the levels of its past.

The command line shows it of a table that it has understood; the page asks a worker for it, which gets a site file and a
table that came from outside, and no database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitor.config.service import parse_site
from monitor.domain.site import Site
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.reading import FileResult
from monitor.replay.backtest import BacktestOptions, Progress, open_files, run_backtest
from monitor.replay.history import VisibilityRule
from monitor.replay.scorecard import Scorecard
from monitor.store.alerting.history import find_span

if TYPE_CHECKING:
    pass

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
        accept_units: a person has said that the units are right. What the times count was asked before.

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


# ---- what the page asks of a worker ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PastLevelsRequest:
    """A file, how it is read, and the site file that judges it."""

    table: str
    form: str
    options: ImportOptions
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
