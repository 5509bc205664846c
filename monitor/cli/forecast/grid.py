"""`slopeward forecast grid`: settings of a network tried on the past of a site; the best may become a candidate."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli.identity import name_helper
from monitor.cli.session import LARGEST_SEED, NOTHING, SiteOption, open_site, options, say, show

if TYPE_CHECKING:
    from forecasting.evaluation.grid import GridRow

HEADS = (
    f"{'ahead':>6} {'n':>5} {'mae mm':>8} {'persist.':>8} {'auto':>8}"
    f"  {'over persistence, mm':>20}  {'over in use, mm':>20}"
)


def grid(
    site: SiteOption,
    grid_file: Annotated[
        Path, typer.Option("--grid", help='TOML: model = "gru", and a table "grid" with lists of values to try.')
    ],
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the first weights of each network.")] = 7,
    take: Annotated[
        bool, typer.Option("--take", help="Train the best one on the whole record: a candidate, judged as any other.")
    ] = False,
) -> None:
    """Train a network by each of some settings on the past of a site, and compare them on rows that no gate judges by.

    The table shows the mean absolute error beside persistence, the simple forecast `auto` and the settings in use, with
    intervals of the differences (below 0 is better) that hold for all settings and horizons together. On a cluster
    (`compute.dask`) all are trained at once. Nothing is kept without --take, and then the gate decides what is shown.
    Exit 4 when no setting is better than those in use.
    """
    from forecasting.evaluation.grid import choose_settings, compare_settings
    from monitor.jobs.forecasts.grid import read_grid, score_grid, spell_settings
    from monitor.jobs.forecasts.train import train_one

    wanted = read_grid(grid_file)
    (service, db, one), now = open_site(site), datetime.now(UTC)
    with db:
        scored = score_grid(db, service, one, wanted, now, seed, say)
        rows = compare_settings(scored.errors)
        best = choose_settings(rows)
        if not options().as_json:
            print(f"{wanted.model}, {len(scored.cells)} settings; errors on rows that none of them learnt from")
            print(HEADS)
        for number, cell in enumerate(scored.cells):
            if not options().as_json:
                print(f"{spell_settings(cell)}{'  <- best' if number == best else ''}")
            for row in (row for row in rows if row.cell == number):
                facts = {"site": one.id, "model": wanted.model, "settings": cell, "best": number == best} | asdict(row)
                show(facts, _line(row))
        for cell, why in scored.refused:
            facts = {"site": one.id, "model": wanted.model, "settings": cell, "refused": why}
            show(facts, f"{spell_settings(cell)}: {why}")
        if best is None:
            say("no setting is better than those in use by more than chance: nothing to take")
            raise typer.Exit(NOTHING)
        chosen = scored.cells[best]
        if not take:
            say(f"best: {spell_settings(chosen)}; the same command with --take trains it, and its gate decides")
            return
        said = train_one(db, service, one, "forecast", wanted.model, now, seed, actor=name_helper(), settings=chosen)
    told = {"site": one.id, "model": wanted.model, "settings": chosen, "seed": seed, "said": said}
    show(told, f"{wanted.model} with {spell_settings(chosen)}: {said}")


def _line(row: "GridRow") -> str:
    from forecasting.data.units import spell_span

    figures = "".join(f" {value:8.3g}" for value in (row.mae_mm, row.persistence_mae_mm, row.simple_mae_mm))
    ends = "".join(f"  {_between(pair):>20}" for pair in (row.over_persistence_mm, row.over_use_mm))
    return f"{spell_span(row.horizon_s):>6} {row.n:5}{figures}{ends}".rstrip()


def _between(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"[{', '.join(f'{value:+.3g}' for value in ends)}]"
