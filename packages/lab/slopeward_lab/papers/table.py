"""What a table of a paper consists of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ReportProgress = Callable[[str], None]


class MeasurementOptions(NamedTuple):
    """Options of a measurement.

    Attributes:
        data_folder: folder that contains the data; None for the folder `SLOPEWARD_DATA`.
        seeds: seeds of each forecasting network, whose figure is the median over them. A network for images is trained
            with the first one.
        epochs: largest number of epochs of each training; None for the default of the training.
        report: called with one line before each longer step.
    """

    data_folder: Path | None
    seeds: tuple[int, ...]
    epochs: int | None
    report: ReportProgress


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table.

    Attributes:
        model: name of the network or of the rule.
        protocol: what was forecast or outlined, if it differs within a table.
        paper: figures of the paper, by name.
        ours: our figures, by name.
    """

    model: str
    protocol: str = ""
    paper: Mapping[str, float] = field(default_factory=dict)
    ours: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table of a paper.

    Attributes:
        title: what the table compares.
        source: citation of the paper.
        protocol: data, split and figures of our measurement.
        differences: how our measurement differs from that of the paper.
        measure: measures the rows.
    """

    title: str
    source: str
    protocol: str
    differences: tuple[str, ...]
    measure: Callable[[MeasurementOptions], Iterator[TableRow]]
