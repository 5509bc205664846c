"""A scorecard as tables of a terminal, and as one HTML file that needs nothing else, with pictures in SVG.

Without plotly: it would put 1.2 MB of script into each file, and mail strips scripts.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from rich.console import Console
from rich.table import Column, Table

from monitor.domain.decision import instant
from monitor.domain.instants import epoch_s, format_iso
from monitor.replay.matrix import EventLabel, Span, name_class
from monitor.replay.scorecard import ForecastGain, Run, Scorecard

WIDTH: Final = 1000
LEFT: Final = 110
COLOURS: Final = ("#3a9d5d", "#e3c03a", "#e8842c", "#cf3434", "#7a2a8c", "#40115a")
LINES: Final = ("#2f6fb3", "#b3562f", "#2f9e8f", "#8a4fb0", "#7a7a2f", "#c0417a", "#4a4a8a", "#5a8a2f")
MOST_LINES: Final = 16
_Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # a table: title, head, rows
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
    parts.append(_table(*_detectors(card)))
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
        tooltip = f"{name} {format_iso(instant(span.from_s))[:16]} to {format_iso(instant(span.to_s))[:16]}"
        colour = COLOURS[min(span.level, len(COLOURS) - 1)]
        opacity = "1" if span.level else ".25"
        bars.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="15" fill="{colour}" fill-opacity="{opacity}">'
            f"<title>{escape(tooltip)}</title></rect>"
        )
    return "".join(bars)


def draw_lines(
    lines: Mapping[tuple[str, str], Sequence[tuple[float, float]]],
    labels: Sequence[EventLabel],
    from_s: float,
    to_s: float,
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
            f"{format_iso(instant(at_s))[:10]}</text>"
        )
    return f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}"/>' + "".join(marks)


def _svg(inside: str, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def _x(at_s: float, from_s: float, to_s: float) -> float:
    share = (at_s - from_s) / (to_s - from_s)
    return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT)


# ---- tables ------------------------------------------------------------------------------------------------------
def _tables(run: Run) -> list[str]:
    found = [
        _table(*_levels(run)),
        _table("days of false alarm by cause", ["cause", "days"], sorted(run.false_days.items())),
    ]
    if run.events:
        _, *events = _events(run)
        shown = [[k, "-" if v is None else f"{v:.3f}"] for k, v in run.matrix.indicators().items()]
        found += [_table(f"events ({run.misses} missed)", *events), _table(*_matrix(run))]
        found.append(_table("indicators", ["indicator", "value"], shown))
    hazards = [
        (
            f"{a.turns[0].at:%Y-%m-%d %H:%M}",
            "" if a.over_at is None else f"{a.over_at:%Y-%m-%d %H:%M}",
            run.level_names[a.peak_level],
            a.turns[0].reason,
        )
        for a in run.hazards
    ]
    gains = [[describe_gain(g)] for g in run.gains]
    return [
        *found,
        _table("hazard alerts", ["raised", "over", "peak", "why"], hazards),
        _table(*_criteria(run)),
        _table("forecast beside velocity", ["at equal days of false alarm"], gains),
        _table(*_sensors(run)),
    ]


def _table(title: str, head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(str(v))}" for v in row) for row in rows)
    if not body:
        return ""
    top = "".join(f"<th>{escape(str(h))}" for h in head)
    return f'<h3>{escape(title[0].upper() + title[1:])}</h3><div class="wide"><table><tr>{top}{body}</table></div>'


SHOWN: Final = 40  # alerts and false days that a terminal shows; --json has all of them


def print_scorecard(card: Scorecard, console: Console) -> None:
    """Print every table of a scorecard."""
    console.print(
        f"[bold]{card.site_name}[/bold] ({card.site}) {card.from_at:%Y-%m-%d} to {card.to_at:%Y-%m-%d}, "
        f"rules {card.rule_version}"
    )
    console.print(describe_known(card))
    for line in card.unproven:
        console.print(line, highlight=False, markup=False)
    for run in card.runs:
        if len(card.runs) > 1:
            console.rule(f"{run.name}: configuration {run.config_version[:12]}")
        _print_run(run, console, judged=bool(card.labels) or "unjudged" not in run.false_days)
    if card.detectors:
        console.print(_make_table(*_detectors(card)))
    if len(card.runs) > 1:
        console.rule("A and B")
        for one in card.differences() or ("no difference",):
            console.print(f"  {one}", highlight=False)


def describe_known(card: Scorecard) -> str:
    """Which instants of knowledge the replay used."""
    known = card.known
    exact_s = known["granularity_s"]
    exact = f"levels are exact to {exact_s:g} s" if exact_s else "looks are those of the service"
    return (
        f"known {known['mode']}: {known['rows']:,} rows, {known['rows_by_reception']:,} by the instant of reception, "
        f"{known['rows_by_epoch']:,} by their epoch and {known['latency_s']:g} s; {exact}"
    )


def _print_run(run: Run, console: Console, *, judged: bool) -> None:
    console.print(_make_table(*_levels(run), right=0))
    console.print(
        f"{run.looks:,} looks; {len(run.hazards)} hazard alerts, "
        f"{sum(a.ledger == 'health' for a in run.alerts)} health alerts, "
        f"{sum(a.ledger == 'advice' for a in run.alerts)} advices; {run.alarm_days} days with an alarm"
    )
    if run.false_days:
        line = ", ".join(f"{cause} {n}" for cause, n in sorted(run.false_days.items()))
        console.print(f"{'days of false alarm' if judged else 'days that nobody judged'}: {line}", highlight=False)
    spans = [(_short(s.from_s), _short(s.to_s), run.level_names[s.level]) for s in run.levels[-SHOWN:]]
    console.print(_make_table("level history", ("from", "to", "level"), spans))
    if run.events:
        console.print(_make_table(*_events(run)))
        console.print(f"misses: {run.misses} of {len(run.events)}")
        console.print(_make_table(*_matrix(run), right=1))
        shown = {k.replace("_", " "): v for k, v in run.matrix.indicators().items() if not k.endswith("_h")}
        line = ", ".join(f"{name} {'-' if v is None else f'{v:.3f}'}" for name, v in shown.items())
        console.print(line, highlight=False)
    console.print(_make_table(*_criteria(run)))
    for gain in run.gains:
        console.print(describe_gain(gain), highlight=False)
    console.print(_make_table(*_sensors(run)))


def _make_table(title: str, head: Sequence[str], rows: Iterable[Iterable[object]], right: int | None = None) -> Table:
    """A table of the terminal; columns from `right` on stand at the right."""
    first = len(head) if right is None else right
    columns = (Column(name, justify="left" if k < first else "right") for k, name in enumerate(head))
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _levels(run: Run) -> _Table:
    days = [f"{run.time_in_level_s.get(n, 0.0) / 86400.0:.2f} d" for n in run.level_names]
    return "time in each level", run.level_names, [days]


def _events(run: Run) -> _Table:
    head = ("event", "class", "needed", "first warning", "lead", "at the needed level", "lead", "peak")
    rows = [
        (
            e.label.name or f"{e.label.from_at:%Y-%m-%d %H:%M}",
            e.label.class_number,
            run.level_names[e.label.level],
            "-" if e.first_at is None else f"{e.first_at:%Y-%m-%d %H:%M}",
            "-" if e.first_at is None else format_lead((e.label.from_at - e.first_at).total_seconds()),
            "missed" if e.right_at is None else f"{e.right_at:%Y-%m-%d %H:%M}",
            format_lead(e.lead_s),
            run.level_names[e.peak_level],
        )
        for e in run.events
    ]
    return "events", head, rows


def _matrix(run: Run) -> _Table:
    classes, spent_s = run.matrix.classes, run.matrix.seconds
    rows = [
        (name, *(f"{spent_s.get((level, k), 0.0) / 3600.0:.1f}" for k in classes))
        for level, name in enumerate(run.matrix.levels)
    ]
    return "warning level by class of event (EDuMaP)", ["hours", *map(name_class, classes)], rows


def _criteria(run: Run) -> _Table:
    head = (
        "criterion",
        "kind",
        "role",
        "heard",
        "crossings",
        "days",
        *run.level_names[1:],
        "false days",
        "hits",
        "misses",
        "lead",
    )
    rows = [
        (
            c.criterion,
            c.kind,
            c.role,
            f"{c.data_share:.0%}",
            c.crossings,
            c.days,
            *(c.days_by_level.get(n, 0) for n in run.level_names[1:]),
            "-" if c.false_days is None else c.false_days,
            sum(not e.missed for e in c.events),
            sum(e.missed for e in c.events),
            format_lead(min((e.lead_s for e in c.events if e.lead_s is not None), default=None)),
        )
        for c in run.criteria
    ]
    return "each criterion alone", head, rows


def _sensors(run: Run) -> _Table:
    head = ("station", "raises", "days its vote counted", "health alerts", "days pended")
    alerts = [", ".join(f"{k} {n}" for k, n in s.health.items()) or "-" for s in run.sensors]
    rows = [
        (s.station, s.raises, f"{s.voting_days:.2f}", health, s.pended_days)
        for s, health in zip(run.sensors, alerts, strict=True)
    ]
    return "alerts per sensor", head, rows


def _detectors(card: Scorecard) -> _Table:
    head = ("detector", "reported", "confirmed", "dismissed", "nobody said", "false alarms", "budget", "factor")
    rows = [["-" if v is None else v for v in d.to_json().values()] for d in card.detectors]
    return "anomalies, as people said", head, rows


def describe_gain(gain: ForecastGain) -> str:
    """What a forecast criterion adds to velocity, in one line."""
    if not gain.data_share:
        return f"{gain.criterion}: not measured, no forecast was stored for that time"
    before, after = gain.false_days
    days = f"{before} days of false alarm by velocity, {after} with {gain.criterion}"
    if gain.factor is None:
        return f"{days}: no bounds of velocity have as many, so nothing can be compared"
    gains = [
        f"{b.label.name or f'{b.label.from_at:%Y-%m-%d %H:%M}'} "
        + ("missed by both" if gained is None else f"{gained / 86400.0:+.1f} d")
        for b, gained in zip(gain.together, gain.gained_s, strict=True)
    ]
    bounds = f"velocity with its bounds times {gain.factor:.2g}, which has no more"
    return f"{days}. Lead gained on {bounds}: {', '.join(gains)}"


def format_lead(seconds: float | None) -> str:
    """A lead time for people: positive before the event.

    >>> format_lead(86400.0 * 9), format_lead(5400.0), format_lead(-7200.0), format_lead(None)
    ('9.0 d', '1.5 h', '-2.0 h', '-')
    """
    if seconds is None:
        return "-"
    return f"{seconds / 86400.0:.1f} d" if abs(seconds) >= 86400.0 else f"{seconds / 3600.0:.1f} h"


def _short(at_s: float) -> str:
    return format_iso(instant(at_s))[:16].replace("T", " ")
