"""Small pictures as plain SVG facts, for reports and for the page."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

LONG_GAP: Final = 6.0  # usual steps without a value: the line breaks
Points = Sequence[tuple[float, float | None]]


class PlotScale:
    """Drawing units of instants and values, within a picture with an edge above and below."""

    def __init__(
        self,
        times_s: Sequence[float],
        values: Iterable[float | None],
        width: float = 320.0,
        height: float = 80.0,
        edge: float = 3.0,
    ) -> None:
        known = [v for v in values if v is not None] or [0.0]
        self.first_s, self.span_s = times_s[0], (times_s[-1] - times_s[0]) or 1.0
        self.low, self.high = min(known), max(known)
        self.width, self.height, self.edge = width, height, edge

    def place(self, at_s: float, value: float) -> str:
        """`x y` of a point."""
        x = (at_s - self.first_s) / self.span_s * self.width
        share = (value - self.low) / (self.high - self.low or 1.0)
        return f"{x:.1f} {self.height - self.edge - share * (self.height - 2 * self.edge):.1f}"

    def draw(self, points: Points) -> str:
        """A line as a path; a gap stays a gap.

        >>> PlotScale([0.0, 10.0], [1.0, 2.0]).draw([(0.0, 1.0), (5.0, None), (10.0, 2.0)])
        'M0.0 77.0 M320.0 3.0'
        """
        steps = sorted(b[0] - a[0] for a, b in pairwise(points))
        longest = LONG_GAP * steps[len(steps) // 2] if steps else 0.0
        parts, before = [], None
        for at_s, value in points:
            if value is None:
                before = None
                continue
            parts.append(f"{'M' if before is None or at_s - before > longest else 'L'}{self.place(at_s, value)}")
            before = at_s
        return " ".join(parts)


def draw_line(values: Sequence[float | None], width: float, height: float) -> str:
    """The line of a small picture as an SVG path; a gap stays a gap.

    >>> draw_line([1.0, None, 2.0, 1.5], 150.0, 30.0)
    'M0.0 28.0 M100.0 2.0 L150.0 15.0'
    >>> draw_line([1.0, 2.0, None, 2.0], 120.0, 28.0)
    'M0.0 26.0 L40.0 2.0 M120.0 2.0'
    """
    if len(values) - values.count(None) < 2:
        return ""
    return PlotScale(range(len(values)), values, width, height, 2.0).draw([*enumerate(values)])
