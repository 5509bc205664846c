"""Small pictures as plain SVG facts, for reports and for the page."""

from collections.abc import Sequence


def draw_line(values: Sequence[float | None], width: float, height: float) -> str:
    """The line of a small picture as an SVG path; a gap stays a gap.

    >>> draw_line([1.0, None, 2.0, 1.5], 150.0, 30.0)
    'M0.0 28.0 M100.0 2.0 L150.0 15.0'
    >>> draw_line([1.0, 2.0, None, 2.0], 120.0, 28.0)
    'M0.0 26.0 L40.0 2.0 M120.0 2.0'
    """
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    step, scale = width / (len(values) - 1), (height - 4.0) / (high - low or 1.0)
    parts, pen = [], "M"
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        parts.append(f"{pen}{number * step:.1f} {height - 2.0 - (value - low) * scale:.1f}")
        pen = "L"
    return " ".join(parts)
