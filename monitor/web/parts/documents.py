"""Documents: each one HTML file that needs nothing else, that a browser shows and that prints to A4."""

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


TEMPLATES: Final = Path(__file__).parents[1] / "templates" / "documents"
WIDTH, HEIGHT = 150.0, 30.0  # of a small picture


@cache
def read_style() -> str:
    """The style sheet of all documents."""
    return (TEMPLATES / "report.css").read_text(encoding="utf-8")


def build_style_element() -> Markup:
    """Return the style element of a document, with exactly the text whose hash the content security policy names.

    A template cannot contain the tags: white space beside the text changes its hash, and browsers then ignore the
    style sheet.
    """
    return Markup(f"<style>{read_style()}</style>")  # noqa: S704 - a style sheet that is shipped


@cache
def find_policy() -> str:
    """The content security policy under which a page may hand such a document out: its own style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(read_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def minute(value: str | datetime | None) -> str:
    """An instant by the clock of the site, or a dash."""
    if value is None:
        return "–"
    return format_local(parse_time(value) if isinstance(value, str) else value)


def draw_bars(values: Sequence[float]) -> list[dict[str, float]]:
    """Bars of equal width; none where all are nothing.

    >>> draw_bars([0.0, 2.0])
    [{'x': 75.0, 'y': 0.0, 'w': 72.0, 'h': 30.0}]
    """
    most = max(values, default=0.0)
    step = WIDTH / max(len(values), 1)
    return [
        {
            "x": round(k * step, 2),
            "y": round(HEIGHT * (1 - v / most), 2),
            "w": round(step * 0.96, 2),
            "h": round(HEIGHT * v / most, 2),
        }
        for k, v in enumerate(values)
        if v > 0
    ]


def format_signed(value: float | None, digits: int = 3) -> str:
    """A change with its sign.

    >>> format_signed(1.234), format_signed(-0.5), format_signed(0.0), format_signed(None)
    ('+1.23', '-0.5', '0', '–')
    """
    text = format_number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text


def open_templates(*folders: str | Path) -> Environment:
    """Templates in the language in use; all they show is escaped, and a name that is not there is an error."""
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
        say=translate,
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
    """A document in a language, its times by the clock of a zone; its template may lie in folders beside our own."""
    with catalogue.use_language(language), use_zone(zone):
        shared = {
            "sheet": name.removesuffix(".html"),
            "version": code_version(),
            "made_at": at,
            "zone": describe_zone(at, zone),
        }
        return _environment(*folders).get_template(name).render(**shared, **values)
