"""The curve of a training run, as numbers and as a picture, beside the weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detection.imagery.training.pictures import draw_lines
from detection.whole_file import replacing

COLUMNS = ("epoch", "loss", "held_f1", "learning_rate")
BLUE, ORANGE = (31, 90, 180), (210, 100, 20)


def write_curve(history: Sequence[dict[str, Any]], out: Path) -> tuple[Path, Path]:
    """Write `<out>.curve.csv` and `<out>.curve.png`; return both paths."""
    table, picture = out.with_suffix(".curve.csv"), out.with_suffix(".curve.png")
    lines = [",".join(COLUMNS), *(",".join(str(row[column]) for column in COLUMNS) for row in history)]
    with replacing(table) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    series = {
        "loss": ([float(row["loss"]) for row in history], ORANGE),
        "held f1": ([float(row["held_f1"]) for row in history], BLUE),
    }
    draw_lines(series, out.stem, picture)
    return table, picture
