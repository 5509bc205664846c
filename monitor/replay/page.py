"""A scorecard as one HTML file that needs nothing else: level ribbons, displacement and events drawn as SVG.

Without plotly: it would put 1.2 MB of script into each file, and mail strips scripts.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from monitor.domain.decision import instant
from monitor.domain.instants import epoch_s, spell
from monitor.replay.labels import Label
from monitor.replay.matrix import name_class
from monitor.replay.scorecard import Run, Scorecard
from monitor.replay.spans import Span
from monitor.replay.text import describe_known, say_gain, spell_lead

WIDTH: Final = 1000
LEFT: Final = 110
COLOURS: Final = ("#3a9d5d", "#e3c03a", "#e8842c", "#cf3434", "#7a2a8c", "#40115a")
LINES: Final = ("#2f6fb3", "#b3562f", "#2f9e8f", "#8a4fb0", "#7a7a2f", "#c0417a", "#4a4a8a", "#5a8a2f")
MOST_LINES: Final = 16
STYLE: Final = """
:root{color-scheme:light dark;--fg:#1c2733;--bg:#fff;--dim:#66727e;--line:#d5dbe1}
@media (prefers-color-scheme:dark){:root{--fg:#dde5ec;--bg:#12181e;--dim:#93a0ab;--line:#33404b}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:1060px;margin:2em auto;
padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-top:1px solid var(--line);padding-top:1em}h3{font-size:1em}
table{border-collapse:collapse;margin:.5em 0;font-variant-numeric:tabular-nums}
td,th{padding:.2em .7em;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
svg{width:100%;height:auto;display:block;margin:.3em 0}svg text{fill:var(--dim);font:11px system-ui,sans-serif}
.axis{stroke:var(--line)}.dim{color:var(--dim)}.wide{overflow-x:auto}
"""


def write_page(card: Scorecard) -> str:
    """The whole scorecard as the text of an HTML file."""
    title = f"Backtest of {card.site_name}, {card.from_at:%Y-%m-%d} to {card.to_at:%Y-%m-%d}"
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{STYLE}</style><h1>{escape(title)}</h1>",
        f'<p class="dim">{escape(card.site)}, rules {escape(card.rule_version)}; {escape(describe_known(card))}</p>',
    ]
    parts += [f"<p>{escape(line)}</p>" for line in card.unproven]
    if differences := card.differences():
        parts.append("<h2>A and B</h2><ul>" + "".join(f"<li>{escape(d)}" for d in differences) + "</ul>")
    for run in card.runs:
        head = f"{run.name}: " if len(card.runs) > 1 else ""
        parts.append(f"<h2>{head}configuration {escape(run.config_version[:12])}</h2>")
        parts += [*_plots(card, run), *_tables(run)]
    said = [list(d.to_json().values()) for d in card.detectors]
    head_of = ["detector", "reported", "confirmed", "dismissed", "nobody said", "false alarms", "budget", "factor"]
    parts.append(_table("Anomalies, as people said", head_of, said))
    return "\n".join(parts) + "\n"


# ---- plots -------------------------------------------------------------------------------------------------------
def _plots(card: Scorecard, run: Run) -> list[str]:
    from_s, to_s = epoch_s(card.from_at), epoch_s(card.to_at)
    rows = [("level", run.levels), *((c.criterion, run.words.get(c.criterion, ())) for c in run.criteria)]
    ribbons = "".join(
        f'<text x="0" y="{i * 22 + 15}">{escape(name[:17])}</text>' + draw_ribbon(spans, from_s, to_s, i * 22 + 4, run)
        for i, (name, spans) in enumerate(rows)
    )
    height = len(rows) * 22 + 6
    ribbon = _svg(ribbons + _axis(from_s, to_s, height), height + 18, "level and what each criterion asked for")
    lines = {k: v for k, v in run.plot.items() if k[1].startswith("displacement") and len(v) > 1}
    if not lines:
        return [ribbon]
    return [ribbon, draw_lines(lines, card.labels, from_s, to_s)]


def draw_ribbon(spans: Sequence[Span], from_s: float, to_s: float, y: int, run: Run) -> str:
    """Spans of a level as coloured bars with their time and name as a tooltip."""
    bars = []
    for span in spans:
        x = _x(span.from_s, from_s, to_s)
        width = max(_x(span.to_s, from_s, to_s) - x, 0.8)
        name = run.level_names[min(span.level, len(run.level_names) - 1)]
        told = f"{name} {spell(instant(span.from_s))[:16]} to {spell(instant(span.to_s))[:16]}"
        colour = COLOURS[min(span.level, len(COLOURS) - 1)]
        opacity = "1" if span.level else ".25"
        bars.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="15" fill="{colour}" fill-opacity="{opacity}">'
            f"<title>{escape(told)}</title></rect>"
        )
    return "".join(bars)


def draw_lines(
    lines: Mapping[tuple[str, str], Sequence[tuple[float, float]]], labels: Sequence[Label], from_s: float, to_s: float
) -> str:
    """Displacement by station, events as bands behind it."""
    swings = {key: max(v for _, v in points) - min(v for _, v in points) for key, points in lines.items()}
    chosen = dict(sorted(lines.items(), key=lambda kv: -swings[kv[0]])[:MOST_LINES])
    low = min(v - points[0][1] for points in chosen.values() for _, v in points)
    high = max(v - points[0][1] for points in chosen.values() for _, v in points)
    height, reach = 260, max(high - low, 1e-9)

    def place(value: float) -> float:
        return 10 + (high - value) / reach * (height - 20)

    parts = [
        f'<rect x="{_x(epoch_s(x.from_at), from_s, to_s):.1f}" y="0" height="{height}" fill="#cf3434" opacity=".2" '
        f'width="{max(_x(epoch_s(x.to_at), from_s, to_s) - _x(epoch_s(x.from_at), from_s, to_s), 1.5):.1f}">'
        f"<title>{escape(x.name or 'event')}, class {x.class_number}</title></rect>"
        for x in labels
    ]
    for value in (low, (low + high) / 2.0, high):
        y = place(value)
        parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
        )
    for i, ((station, quantity), points) in enumerate(sorted(chosen.items())):
        path = " ".join(f"{_x(at, from_s, to_s):.1f},{place(v - points[0][1]):.1f}" for at, v in points)
        colour = LINES[i % len(LINES)]
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{path}">'
            f"<title>{escape(station)} {escape(quantity)}</title></polyline>"
        )
    parts.append('<text x="0" y="28">mm since start</text>')
    legend = ", ".join(
        f'<span style="color:{LINES[i % len(LINES)]}">{escape(s)} {escape(q.removeprefix("displacement_"))}</span>'
        for i, (s, q) in enumerate(sorted(chosen))
    )
    more = f" ({len(lines) - len(chosen)} quieter series not drawn)" if len(lines) > len(chosen) else ""
    plot = _svg("".join(parts) + _axis(from_s, to_s, height), height + 18, "displacement and events")
    return f'{plot}<p class="dim">{legend}{more}</p>'


def _axis(from_s: float, to_s: float, y: int) -> str:
    marks = []
    for i in range(6):
        at_s = from_s + (to_s - from_s) * i / 5.0
        anchor = "start" if i == 0 else "end" if i == 5 else "middle"
        marks.append(
            f'<text x="{_x(at_s, from_s, to_s):.1f}" y="{y + 13}" text-anchor="{anchor}">'
            f"{spell(instant(at_s))[:10]}</text>"
        )
    return f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}"/>' + "".join(marks)


def _svg(inside: str, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def _x(at_s: float, from_s: float, to_s: float) -> float:
    share = (at_s - from_s) / (to_s - from_s)
    return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT)


# ---- tables ------------------------------------------------------------------------------------------------------
def _tables(run: Run) -> list[str]:
    names = run.level_names
    found = [
        _table("Time in each level", names, [[f"{run.time_in_level_s.get(n, 0) / 86400:.2f} d" for n in names]]),
        _table("Days of false alarm by cause", ["cause", "days"], sorted(run.false_days.items()))
        if run.false_days else "",
    ]  # fmt: skip
    if run.events:
        rows = [
            [
                e.label.name or f"{e.label.from_at:%Y-%m-%d %H:%M}", e.label.class_number, names[e.label.level],
                "-" if e.first_at is None else f"{e.first_at:%Y-%m-%d %H:%M}",
                "missed" if e.right_at is None else f"{e.right_at:%Y-%m-%d %H:%M}", spell_lead(e.lead_s),
                names[e.peak_level],
            ]
            for e in run.events
        ]  # fmt: skip
        head = ["event", "class", "needed", "first warning", "needed level at", "lead", "peak"]
        found.append(_table(f"Events ({run.misses} missed)", head, rows))
        hours = [
            [name, *(f"{run.matrix.seconds.get((i, k), 0.0) / 3600:.1f}" for k in run.matrix.classes)]
            for i, name in enumerate(run.matrix.levels)
        ]
        found.append(_table("Hours by level and class of event", ["", *map(name_class, run.matrix.classes)], hours))
        shown = [[k, "-" if v is None else f"{v:.3f}"] for k, v in run.matrix.indicators().items()]
        found.append(_table("Indicators", ["indicator", "value"], shown))
    found.append(
        _table(
            "Hazard alerts", ["raised", "over", "peak", "why"],
            [
                [f"{a.turns[0].at:%Y-%m-%d %H:%M}", "" if a.over_at is None else f"{a.over_at:%Y-%m-%d %H:%M}",
                 names[a.peak_level], a.turns[0].reason]
                for a in run.hazards
            ],
        )
    )  # fmt: skip
    found.append(
        _table(
            "Each criterion alone",
            ["criterion", "kind", "role", "heard", "crossings", "days", *names[1:], "false days", "hits", "misses"],
            [
                [c.criterion, c.kind, c.role, f"{c.heard_share:.0%}", c.crossings, c.days,
                 *(c.days_by_level.get(n, 0) for n in names[1:]),
                 "-" if c.false_days is None else c.false_days, sum(not e.missed for e in c.events),
                 sum(e.missed for e in c.events)]
                for c in run.criteria
            ],
        )
    )  # fmt: skip
    found.append(
        _table("Forecast beside velocity", ["at equal days of false alarm"], [[say_gain(g)] for g in run.gains])
    )
    sensors = [
        [s.station, s.raises, f"{s.voting_days:.2f}", ", ".join(f"{k} {n}" for k, n in s.health.items()), s.pended_days]
        for s in run.sensors
    ]
    head = ["station", "raises", "days its vote counted", "health alerts", "days pended"]
    found.append(_table("Alerts per sensor", head, sensors))
    return found


def _table(title: str, head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(str(v))}" for v in row) for row in rows)
    if not body:
        return ""
    top = "".join(f"<th>{escape(str(h))}" for h in head)
    return f'<h3>{escape(title)}</h3><div class="wide"><table><tr>{top}{body}</table></div>'
