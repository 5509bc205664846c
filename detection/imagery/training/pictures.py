"""Small pictures with words in them: curves and sheets of patches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from detection.whole_file import replacing

WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (215, 215, 215)
Colour = tuple[int, int, int]
COLUMNS = ("epoch", "loss", "held_f1", "learning_rate")
BLUE, ORANGE = (31, 90, 180), (210, 100, 20)


def start_picture(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A white picture, and what draws on it; places are (column, row)."""
    picture = Image.new("RGB", (width, height), WHITE)
    return picture, ImageDraw.Draw(picture)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write as PNG, by temporary name and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        picture.save(partial, "png")


def draw_lines(
    series: dict[str, tuple[list[float], Colour]], title: str, path: Path, size: tuple[int, int] = (640, 360)
) -> None:
    """Draw series over 1..n, each from its least to its greatest value, which stand at its end in its colour."""
    picture, pen = start_picture(*size)
    left, right, top, bottom = 20, size[0] - 150, 40, size[1] - 40
    pen.text((left, 12), title, BLACK)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        row = bottom - share * (bottom - top)
        pen.line([(left, row), (right, row)], GREY)
    longest = max((len(values) for values, _ in series.values()), default=0)
    for number, (name, (values, colour)) in enumerate(series.items()):
        if not values:
            continue
        low, high = min(values), max(values)
        span = high - low or 1.0
        places = [
            (left + (right - left) * index / max(longest - 1, 1), bottom - (bottom - top) * (value - low) / span)
            for index, value in enumerate(values)
        ]
        pen.line(places, colour, width=2)
        for line, words in enumerate((name, f"max {high:.4g}", f"min {low:.4g}", f"end {values[-1]:.4g}")):
            pen.text((right + 10, top + number * 60 + line * 13), words, colour)
    pen.text((left, bottom + 12), f"epoch 1 to {longest}", BLACK)
    save_picture(picture, path)


def write_curve(history: Sequence[dict[str, Any]], out: Path) -> None:
    """Write `<out>.curve.csv` and `<out>.curve.png`."""
    columns = [column for column in COLUMNS if all(column in row for row in history)]
    lines = [",".join(columns), *(",".join(str(row[column]) for column in columns) for row in history)]
    with replacing(out.with_suffix(".curve.csv")) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    series = {
        "loss": ([float(row["loss"]) for row in history], ORANGE),
        "held f1": ([float(row["held_f1"]) for row in history if "held_f1" in row], BLUE),
    }
    draw_lines(series, out.stem, out.with_suffix(".curve.png"))
