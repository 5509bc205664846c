"""Draw the figures of docs/explanation/decisions.md: the effect of each rule on a generated record.

    python -m packages.lab.evaluation.decision_curves

The figures are written to docs/images/decision-*.svg.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final
from xml.sax.saxutils import escape

IMAGES: Final = Path(__file__).resolve().parents[3] / "docs" / "images"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 680, 220, 56, 16, 26, 34
GREY, BLUE, RED, ORANGE, GREEN = "#7a7a7a", "#2f7fc1", "#c8372d", "#d98300", "#2e8b57"  # on light and dark ground
Point = tuple[float, float]


class Plot:
    """A curve with its bounds and marks; x and y are in the units that its axes name."""

    def __init__(self, title: str, x: tuple[float, float, str], y: tuple[float, float, str]) -> None:
        self.x, self.y = x, y
        self.parts = [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                f'font-family="sans-serif" font-size="12">'
            ),
            f"<title>{escape(title)}</title>",
            f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="{GREY}"/>',
        ]
        self.write(WIDTH - RIGHT, HEIGHT - 6, x[2], GREY, "end")
        self.write(4, 14, y[2], GREY)

    def place(self, x: float, y: float) -> Point:
        """Pixels of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)
        up = (y - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    def write(self, x: float, y: float, text: str, colour: str, anchor: str = "start") -> None:
        """Text at pixels."""
        self.parts.append(f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>')

    def dots(self, points: Sequence[Point], colour: str = BLUE, *, hollow: bool = False) -> None:
        """Readings."""
        fill = "none" if hollow else colour
        for x, y in (self.place(*one) for one in points):
            self.parts.append(f'<circle cx="{x}" cy="{y}" r="3.2" fill="{fill}" stroke="{colour}"/>')

    def line(self, points: Sequence[Point], colour: str = BLUE, *, dashed: bool = False, label: str = "") -> None:
        """A line, with its label at its end."""
        placed = [self.place(*one) for one in points]
        way = " ".join(f"{x},{y}" for x, y in placed)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        if label:
            self.write(placed[-1][0] - 4, placed[-1][1] - 6, label, colour, "end")

    def bound(self, y: float, label: str, colour: str = RED) -> None:
        """A bound over the whole width."""
        self.line([(self.x[0], y), (self.x[1], y)], colour, dashed=True, label=label)

    def mark(self, x: float, label: str, colour: str = GREY, *, row: int = 0) -> None:
        """An instant."""
        at = self.place(x, 0)[0]
        self.parts.append(f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" stroke="{colour}" stroke-dasharray="2 3"/>')
        near_end = at > WIDTH * 0.72
        self.write(at + (-4 if near_end else 4), TOP + 11 + 14 * row, label, colour, "end" if near_end else "start")

    def shade(self, begin: float, end: float, label: str, colour: str = GREY) -> None:
        """A span of time."""
        left, right = self.place(begin, 0)[0], self.place(end, 0)[0]
        self.parts.append(
            f'<rect x="{left}" y="{TOP}" width="{round(right - left, 1)}" height="{HEIGHT - TOP - BOTTOM}" '
            f'fill="{colour}" opacity="0.15"/>'
        )
        self.write(left + 4, HEIGHT - BOTTOM - 6, label, colour)

    def save(self, name: str) -> None:
        """Write the figure."""
        (IMAGES / f"decision-{name}.svg").write_text("\n".join([*self.parts, "</svg>", ""]), encoding="utf-8")


def scatter(points: Sequence[Point], sigma: float, seed: int) -> list[Point]:
    """Readings of a curve with noise."""
    drawn = Random(seed)
    return [(x, y + drawn.gauss(0, sigma)) for x, y in points]


def draw_track() -> None:
    """Readings become a track: a spike is set aside, a flagged one does not count."""
    plot = Plot("Readings and the track", (0, 24, "hours"), (-5, 45, "mm"))
    readings = scatter([(h, 0.5 * h) for h in range(25)], 1.0, 1)
    used = [one for h, one in enumerate(readings) if h not in (9, 16)]
    plot.line(used, BLUE)
    plot.dots(used)
    plot.dots([(9, 38.0)], ORANGE, hollow=True)
    plot.write(
        plot.place(9, 38)[0] + 8, plot.place(9, 38)[1] + 4, "spike: the next epoch is back at the earlier value", ORANGE
    )
    plot.dots([(16, 1.0)], RED, hollow=True)
    plot.write(plot.place(16, 1)[0] - 8, plot.place(16, 1)[1] + 4, "out of range: set aside", RED, "end")
    plot.save("track")


def draw_bound() -> None:
    """A velocity counts when it lies beyond the bound whichever single epoch is left out."""
    plot = Plot("Velocity, and what it is with each single epoch left out", (0, 12, "days"), (0, 10, "mm/day"))
    plot.bound(3, "bound: 3 mm/day")
    for day in range(1, 12):
        v = 0.4 + 0.06 * day**2
        low, high = max(0.0, v - 0.9), v + 0.9
        colour = RED if low > 3 else ORANGE if v > 3 else BLUE
        plot.line([(day, low), (day, high)], colour)
        plot.dots([(day, v)], colour)
    plot.write(plot.place(0.3, 6.6)[0], plot.place(0.3, 6.6)[1], "bar: with each single epoch left out", GREY)
    plot.mark(7, "over the bound by one epoch alone", ORANGE)
    plot.mark(8, "also without any epoch: crossed", RED, row=1)
    plot.save("bound")


def draw_dwell() -> None:
    """Two of three epochs must cross."""
    plot = Plot("Dwell", (0, 12, "epochs"), (0, 8, "mm/day"))
    values = [1, 1.4, 1.2, 5.2, 1.3, 1.1, 1.5, 4.1, 2.2, 4.6, 5.5, 6.2]
    plot.bound(3, "bound")
    points = [(k + 0.5, v) for k, v in enumerate(values)]
    plot.line(points, GREY)
    plot.dots(points)
    plot.mark(3.5, "one of three: no vote", ORANGE)
    plot.mark(9.5, "two of three: the vote rises", RED, row=1)
    plot.save("dwell")


def draw_vote() -> None:
    """A vote stays without new data and falls only on fresh data."""
    plot = Plot("The life of a vote", (0, 48, "hours"), (0, 8, "mm/day"))
    plot.bound(4, "bound")
    plot.bound(2.8, "recovery limit", GREEN)
    seen = [(h, 1.5 + 0.35 * h) for h in range(0, 13, 2)]
    later = [(h, 5.4 - 0.24 * (h - 28)) for h in range(28, 47, 2)]
    plot.dots(seen)
    plot.dots(later)
    plot.shade(12, 28, "no data: the vote stays")
    plot.mark(8, "vote rises", RED)
    plot.mark(42, "vote falls", GREEN, row=1)
    plot.save("vote")


def draw_witnesses() -> None:
    """The top level needs two independent witnesses."""
    plot = Plot("Independent witnesses", (0, 24, "hours"), (0, 75, "mm"))
    plot.line([(h, max(0.0, 4.0 * (h - 8))) for h in range(24)], RED, label="G1")
    plot.line([(h, max(0.0, 3.2 * (h - 12))) for h in range(24)], BLUE, label="E1")
    plot.line([(h, 2 + 0.05 * h) for h in range(24)], GREY, label="G2")
    plot.shade(11, 15, "", ORANGE)
    plot.shade(15, 24, "", RED)
    plot.mark(11, "G1 alone: orange, and people verify", ORANGE)
    plot.mark(15, "G1 and E1: red", RED, row=1)
    plot.save("witnesses")


def draw_step() -> None:
    """A step is a question with a deadline."""
    plot = Plot("A step", (0, 48, "hours"), (-5, 50, "mm"))
    points = scatter([(h, 0.0 if h < 15 else 34.0) for h in range(0, 48, 3)], 1.0, 4)
    plot.dots(points)
    plot.line(points, BLUE)
    plot.mark(15, "step: people are asked")
    plot.shade(15, 39, "verify_within: people may answer", ORANGE)
    plot.mark(39, "deadline: the step counts", RED, row=1)
    plot.save("step")


def draw_silence() -> None:
    """Common silence above the lowest level is urgent, and lowers nothing."""
    plot = Plot("Silence", (0, 12, "hours"), (0, 60, "mm"))
    for name, pace, colour in (("G1", 7.0, RED), ("G2", 5.5, BLUE), ("E1", 4.0, GREEN)):
        plot.line([(h / 2, pace * h / 2) for h in range(13)], colour)
        plot.write(plot.place(6, pace * 6)[0] + 4, plot.place(6, pace * 6)[1] + 4, name, colour)
    plot.shade(6, 12, "all silent: the level stays", GREY)
    plot.mark(7.5, "urgent alarm: people must decide", RED)
    plot.save("silence")


def draw_ladder() -> None:
    """The ladder rises at once and falls when all that held it recovered."""
    plot = Plot("The ladder", (0, 14, "days"), (0, 3.4, "level"))
    asked = [(0, 0), (3, 0), (3, 1), (5, 1), (5, 2), (7, 2), (7, 1), (8, 1), (8, 0), (14, 0)]
    stands = [
        (0, 0.06),
        (3, 0.06),
        (3, 1.06),
        (5, 1.06),
        (5, 2.06),
        (9, 2.06),
        (9, 1.06),
        (11, 1.06),
        (11, 0.06),
        (14, 0.06),
    ]
    plot.line(asked, GREY, dashed=True)
    plot.line(stands, RED)
    plot.mark(5, "rises at once", RED)
    plot.mark(7, "votes request less", GREY, row=1)
    plot.mark(9, "all recovered on fresh data", GREEN, row=2)
    plot.save("ladder")


def main() -> None:
    """Draw all of them."""
    for draw in (
        draw_track,
        draw_bound,
        draw_dwell,
        draw_vote,
        draw_witnesses,
        draw_step,
        draw_silence,
        draw_ladder,
    ):
        draw()


if __name__ == "__main__":
    main()
