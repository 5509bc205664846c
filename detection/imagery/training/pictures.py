"""Small pictures with words in them, drawn without a plotting library: curves and sheets of patches."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# One letter is 3 x 5 pixels, five rows of three bits each, from the top.
_FONT = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71122",
    "8": "75757", "9": "75717", "a": "25755", "b": "65656", "c": "34443", "d": "65556", "e": "74647", "f": "74644",
    "g": "34553", "h": "55755", "i": "72227", "j": "11152", "k": "55655", "l": "44447", "m": "57755", "n": "65555",
    "o": "25552", "p": "65644", "q": "25563", "r": "65655", "s": "34216", "t": "72222", "u": "55557", "v": "55552",
    "w": "55775", "x": "55255", "y": "55222", "z": "71247", ".": "00002", "-": "00700", "_": "00007", "/": "11244",
    "%": "51245", ":": "02020", "=": "07070", "(": "12221", ")": "42224", "+": "02720", ",": "00024",
}  # fmt: skip
WHITE, BLACK, GREY = (255, 255, 255), (20, 20, 20), (215, 215, 215)
Colour = tuple[int, int, int]


class Canvas:
    """A picture of H x W in red, green and blue, white at first; places are (column, row)."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: NDArray[np.uint8] = np.full((height, width, 3), 255, np.uint8)

    def write(self, column: int, row: int, words: str, colour: Colour = BLACK, scale: int = 2) -> None:
        """Write one line of words from its top left; letters without a picture are blanks."""
        for letter in words.lower():
            for line, bits in enumerate(_FONT.get(letter, "00000")):
                for place in range(3):
                    if int(bits) >> (2 - place) & 1:
                        top, left = row + line * scale, column + place * scale
                        self.pixels[max(top, 0) : top + scale, max(left, 0) : left + scale] = colour
            column += 4 * scale

    def draw(self, start: tuple[float, float], end: tuple[float, float], colour: Colour, thick: int = 1) -> None:
        """Draw a straight line."""
        steps = int(max(abs(end[0] - start[0]), abs(end[1] - start[1]))) + 1
        for share in np.linspace(0, 1, steps + 1):
            column, row = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
            self.pixels[max(row, 0) : row + thick, max(column, 0) : column + thick] = colour

    def paste(self, column: int, row: int, image: NDArray[np.uint8]) -> None:
        """Put rows x columns x 3 at a place."""
        self.pixels[row : row + image.shape[0], column : column + image.shape[1]] = image

    def save(self, path: Path) -> None:
        """Write as PNG."""
        from detection.imagery.raster.raster import write_png

        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, np.ascontiguousarray(self.pixels.transpose(2, 0, 1)))


def draw_lines(
    series: dict[str, tuple[list[float], Colour]], title: str, path: Path, size: tuple[int, int] = (640, 360)
) -> None:
    """Draw series over 1..n, each from its least to its greatest value, which stand at its end in its colour."""
    canvas = Canvas(*size)
    left, right, top, bottom = 20, size[0] - 150, 40, size[1] - 40
    canvas.write(left, 12, title)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        row = bottom - share * (bottom - top)
        canvas.draw((left, row), (right, row), GREY)
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
        for start, end in zip(places, places[1:] or places, strict=False):
            canvas.draw(start, end, colour, thick=2)
        for line, words in enumerate((name, f"max {high:.4g}", f"min {low:.4g}", f"end {values[-1]:.4g}")):
            canvas.write(right + 10, top + number * 60 + line * 13, words, colour)
    canvas.write(left, bottom + 12, f"epoch 1 to {longest}")
    canvas.save(path)
