"""`slopeward lab table`: measure the table of a paper again, and print its figures beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from monitor.api.cli import Commands, print_if_json
from monitor.api.errors import SlopewardError

if TYPE_CHECKING:
    from slopeward_lab.papers.table import PaperTable, TableRow

EXAMPLE: Final = "Example: slopeward lab table lamosano --data DIR --seeds 3"
FIRST_SEED: Final = 7

app = Commands()


@app.callback()
def lab() -> None:
    """Measure the tables of papers again."""


@app.command(epilog=EXAMPLE, takes_config=False)
def table(
    name: Annotated[str, typer.Argument(help="Name of the table; without it, the command lists all tables.")] = "",
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder that contains the data. Default: SLOPEWARD_DATA.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=20, help="Trainings of each forecasting network; the median counts.")
    ] = 3,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Largest number of epochs of a training. Default: as usual.")
    ] = None,
) -> None:
    """Measure the table of a paper again, and print its figures beside ours.

    The command trains the networks of the table, which takes from a minute to an hour. It prints the figures of the
    paper, ours, those of rules that learn nothing, and how our measurement differs from that of the paper.
    """
    tables = _load_tables()
    if not name:
        _print_names(tables)
        return
    if name not in tables:
        raise SlopewardError(f"table {name!r} does not exist; expected one of: {', '.join(tables)}")
    import torch

    from slopeward_lab.papers.table import MeasurementOptions

    torch.set_num_threads(1)
    options = MeasurementOptions(
        data, tuple(range(FIRST_SEED, FIRST_SEED + seeds)), epochs, lambda line: typer.echo(line, err=True)
    )
    chosen = tables[name]
    rows = list(chosen.measure(options))
    answer = {
        "name": name,
        "title": chosen.title,
        "source": chosen.source,
        "protocol": chosen.protocol,
        "differences": list(chosen.differences),
        "rows": [asdict(row) for row in rows],
    }
    if not print_if_json(answer):
        _print_table(chosen, rows)


def _load_tables() -> Mapping[str, "PaperTable"]:
    from slopeward_lab.papers import images, records

    return {**records.TABLES, **images.TABLES}


def _print_names(tables: Mapping[str, "PaperTable"]) -> None:
    if print_if_json([{"name": name, "title": each.title, "source": each.source} for name, each in tables.items()]):
        return
    width = max(len(name) for name in tables)
    for name, each in tables.items():
        print(f"{name:<{width}}  {each.title}")


def _print_table(chosen: "PaperTable", rows: Sequence["TableRow"]) -> None:
    figures = list(dict.fromkeys(figure for row in rows for figure in (*row.paper, *row.ours)))
    has_protocols = any(row.protocol for row in rows)
    header = ["model", *(["task"] if has_protocols else []), *(f"{figure} paper / here" for figure in figures)]
    lines = [header]
    for row in rows:
        cells = [f"{_format(row.paper.get(figure))} / {_format(row.ours.get(figure))}" for figure in figures]
        lines.append([row.model, *([row.protocol] if has_protocols else []), *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print(f"{chosen.title}\nPaper: {chosen.source}\nHere: {chosen.protocol}\n")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print("\nDifferences from the paper:")
    for difference in chosen.differences:
        print(f"- {difference}")


def _format(value: float | None) -> str:
    """Return a figure with at most four significant digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"
