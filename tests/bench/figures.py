"""Figures of `make bench`: records, the table, and the stored result that the documentation quotes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.record import SERVICE_RESULTS, ResultFolder

RESULT: Final = "bench"
COMMAND: Final = "make bench BENCH_FLAGS=--store"
HEADS: Final = ("subject", "database", "figure", "measured", "reference", "", "ratio", "stored")
EXPLANATION: Final = (
    "ratio = measured / reference, both from this run. Of rates, more is better; of times, less. "
    "stored = the figures in docs/benchmarks/bench.json, with their ratio."
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value beside its reference, which has the same unit."""

    name: str
    value: float
    unit: str
    reference: str  # description of the reference
    reference_value: float

    @property
    def ratio(self) -> float:
        """Value divided by the reference; NaN if the reference is too small to be measured."""
        return self.value / self.reference_value if self.reference_value else math.nan


@dataclass(frozen=True, slots=True)
class Row:
    """A figure with its subject and database. `database` is empty for subjects without one."""

    subject: str
    database: str
    figure: Figure

    @property
    def key(self) -> tuple[str, str, str]:
        """What a row of another run has in common with this one."""
        return self.subject, self.database, self.figure.name

    def to_json(self) -> dict[str, Any]:
        """Return the row as it is stored."""
        figure = self.figure
        return {
            "subject": self.subject,
            "database": self.database,
            "figure": figure.name,
            "value": round_figure(figure.value),
            "unit": figure.unit,
            "reference": figure.reference,
            "reference_value": round_figure(figure.reference_value),
            "ratio": round_figure(figure.ratio),
        }


def round_figure(value: float) -> float | None:
    """Round to four significant digits; None if the value is not finite.

    >>> round_figure(8490.123), round_figure(0.0123456), round_figure(math.nan)
    (8490.0, 0.01235, None)
    """
    return float(f"{value:.4g}") if math.isfinite(value) else None


def format_figure(value: float | None) -> str:
    """Format a value with three significant digits.

    >>> format_figure(8490.123), format_figure(12.345), format_figure(0.0123), format_figure(None)
    ('8,490', '12.3', '0.0123', '-')
    """
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_table(rows: Iterable[Row], stored: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as text.

    Args:
        rows: the rows of this run.
        stored: the rows of the stored run.
    """
    stored_rows = {(row["subject"], row["database"], row["figure"]): row for row in stored}
    lines = [HEADS]
    for row in rows:
        figure = row.figure
        before = stored_rows.get(row.key)
        before_text = "-"
        if before is not None:
            before_text = f"{format_figure(before['value'])} {before['unit']}, {format_figure(before['ratio'])}"
        lines.append(
            (
                row.subject,
                row.database or "-",
                figure.name,
                f"{format_figure(figure.value)} {figure.unit}",
                figure.reference,
                f"{format_figure(figure.reference_value)} {figure.unit}",
                format_figure(figure.ratio),
                before_text,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    texts.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(texts)


def load_stored_rows(folder: ResultFolder = SERVICE_RESULTS) -> list[dict[str, Any]]:
    """Return the rows of the stored run."""
    figures = folder.load_figures(RESULT)
    return [] if figures is None else list(figures["rows"])


def make_result(rows: Iterable[Row], seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return the figures as they are stored and printed with `--json`.

    Args:
        rows: the rows.
        seconds: how long each subject took.
    """
    return {
        "rows": [row.to_json() for row in rows],
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "minutes": round(sum(seconds.values()) / 60.0, 1),
    }
