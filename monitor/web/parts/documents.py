"""Render documents: single HTML files without other files, for a browser and for printing on A4."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from monitor.canonical import code_version
from monitor.text import catalogue
from monitor.text.figures import format_number, level_class
from monitor.text.instants import format_duration, parse_time
from monitor.text.local_time import describe_zone, format_local, use_zone
from monitor.text.message import format_span
from monitor.text.rendering import translate

# A line is interrupted where values are missing for this number of usual steps.
LONG_GAP: Final = 6.0
Points = Sequence[tuple[float, float | None]]


class PlotScale:
    """Convert instants and values to the units of a drawing with an edge above and below."""

    def __init__(
        self,
        times_s: Sequence[float],
        values: Iterable[float | None],
        width: float = 320.0,
        height: float = 80.0,
        edge: float = 3.0,
    ) -> None:
        numbers = [value for value in values if value is not None] or [0.0]
        self.first_s = times_s[0]
        self.span_s = (times_s[-1] - times_s[0]) or 1.0
        self.low = min(numbers)
        self.high = max(numbers)
        self.width = width
        self.height = height
        self.edge = edge

    def place(self, at_s: float, value: float) -> str:
        """Return a point as `x y`."""
        x = (at_s - self.first_s) / self.span_s * self.width
        share = (value - self.low) / (self.high - self.low or 1.0)
        return f"{x:.1f} {self.height - self.edge - share * (self.height - 2 * self.edge):.1f}"

    def draw(self, points: Points) -> str:
        """Return a line as an SVG path, interrupted at long gaps.

        >>> PlotScale([0.0, 10.0], [1.0, 2.0]).draw([(0.0, 1.0), (5.0, None), (10.0, 2.0)])
        'M0.0 77.0 M320.0 3.0'
        """
        steps_s = sorted(later[0] - earlier[0] for earlier, later in pairwise(points))
        longest_s = LONG_GAP * steps_s[len(steps_s) // 2] if steps_s else 0.0
        parts: list[str] = []
        previous_s: float | None = None
        for at_s, value in points:
            if value is None:
                previous_s = None
                continue
            starts_line = previous_s is None or at_s - previous_s > longest_s
            parts.append(f"{'M' if starts_line else 'L'}{self.place(at_s, value)}")
            previous_s = at_s
        return " ".join(parts)


def draw_line(values: Sequence[float | None], width: float, height: float) -> str:
    """Return the line of a sparkline as an SVG path, interrupted where values are missing.

    >>> draw_line([1.0, None, 2.0, 1.5], 150.0, 30.0)
    'M0.0 28.0 M100.0 2.0 L150.0 15.0'
    >>> draw_line([1.0, 2.0, None, 2.0], 120.0, 28.0)
    'M0.0 26.0 L40.0 2.0 M120.0 2.0'
    """
    if len(values) - values.count(None) < 2:
        return ""
    return PlotScale(range(len(values)), values, width, height, 2.0).draw([*enumerate(values)])


TEMPLATES: Final = Path(__file__).parents[1] / "templates" / "documents"
# Size of a sparkline.
WIDTH: Final = 150.0
HEIGHT: Final = 30.0


@cache
def read_style() -> str:
    """Return the style sheet of all documents."""
    return (TEMPLATES / "report.css").read_text(encoding="utf-8")


def build_style_element() -> Markup:
    """Return the style element of a document, with exactly the text whose hash the content security policy names.

    A template cannot contain the tags: white space beside the text changes its hash, and browsers then ignore the
    style sheet.
    """
    return Markup(f"<style>{read_style()}</style>")  # noqa: S704 - a style sheet that is shipped


@cache
def find_policy() -> str:
    """Return the content security policy of a document. It allows the style sheet of documents and nothing else."""
    digest = base64.b64encode(hashlib.sha256(read_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def minute(value: str | datetime | None) -> str:
    """Return an instant in the time zone in use, or a dash."""
    if value is None:
        return "–"
    return format_local(parse_time(value) if isinstance(value, str) else value)


def draw_bars(values: Sequence[float]) -> list[dict[str, float]]:
    """Return bars of equal width for the values above zero.

    >>> draw_bars([0.0, 2.0])
    [{'x': 75.0, 'y': 0.0, 'w': 72.0, 'h': 30.0}]
    """
    highest = max(values, default=0.0)
    step = WIDTH / max(len(values), 1)
    return [
        {
            "x": round(position * step, 2),
            "y": round(HEIGHT * (1 - value / highest), 2),
            "w": round(step * 0.96, 2),
            "h": round(HEIGHT * value / highest, 2),
        }
        for position, value in enumerate(values)
        if value > 0
    ]


def format_signed(value: float | None, digits: int = 3) -> str:
    """Return a change with its sign.

    >>> format_signed(1.234), format_signed(-0.5), format_signed(0.0), format_signed(None)
    ('+1.23', '-0.5', '0', '–')
    """
    text = format_number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text


def open_templates(*folders: str | Path) -> Environment:
    """Return an environment of templates in the language in use. Values are escaped, and a missing name is an error."""
    environment = Environment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        autoescape=select_autoescape(default=True, default_for_string=True),
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(catalogue.gettext, catalogue.ngettext, newstyle=True)  # type: ignore[attr-defined]
    return environment


@cache
def _environment(*folders: Path) -> Environment:
    environment = open_templates(TEMPLATES, *folders)
    environment.filters.update(
        minute=minute,
        number=format_number,
        signed=format_signed,
        translate=translate,
        line=partial(draw_line, width=WIDTH, height=HEIGHT),
        bars=draw_bars,
        span=format_duration,
        window=format_span,
    )
    environment.globals.update(
        level_class=level_class, language=catalogue.current_language, style_element=build_style_element
    )
    return environment


def render(name: str, values: Mapping[str, Any], language: str, zone: str, at: datetime, *folders: Path) -> str:
    """Return a document in a language and a time zone.

    Args:
        name: File name of the template.
        values: Values of the template.
        language: Code of the language.
        zone: Time zone of the document.
        at: When the document is made.
        folders: Folders with templates, besides that of this package.
    """
    with catalogue.use_language(language), use_zone(zone):
        shared = {
            "sheet": name.removesuffix(".html"),
            "version": code_version(),
            "made_at": at,
            "zone": describe_zone(at, zone),
        }
        return _environment(*folders).get_template(name).render(**shared, **values)
