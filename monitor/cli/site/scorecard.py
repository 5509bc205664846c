"""A scorecard as tables of a terminal, and as one HTML document with pictures."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Column, Table

from monitor.domain.decision import instant
from monitor.domain.instants import epoch_s, format_iso
from monitor.domain.language.catalogue import ENGLISH
from monitor.domain.language.figures import level_class
from monitor.replay.matrix import Span, name_class
from monitor.replay.scorecard import ForecastGain, Run, Scorecard
from monitor.web.parts.documents import render
from monitor.web.parts.pictures import PlotScale

WIDTH, RIBBON, CURVES = 1000.0, 15.0, 260.0  # of the pictures
MOST_LINES: Final = 16
_Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]  # a table: title, head, rows


def write_page(card: Scorecard) -> str:
    """The whole scorecard as the text of an HTML file that needs nothing else."""
    runs = [(run, _draw_ribbons(card, run), _draw_curves(card, run), _list_tables(run)) for run in card.runs]
    values = {"card": card, "known": describe_known(card), "runs": runs, "detectors": _detectors(card)}
    return render("scorecard.html", values, ENGLISH, "UTC", card.to_at)


def _draw_ribbons(card: Scorecard, run: Run) -> list[tuple[str, list[dict[str, Any]]]]:
    """The level, and what each criterion asked for, as bars over time."""
    from_s, to_s = epoch_s(card.from_at), epoch_s(card.to_at)
    rows = [("level", run.levels), *((c.criterion, run.words.get(c.criterion, ())) for c in run.criteria)]
    return [(name, [_draw_bar(span, from_s, to_s, run) for span in spans]) for name, spans in rows]


def _draw_bar(span: Span, from_s: float, to_s: float, run: Run) -> dict[str, Any]:
    left, right = (min(max((at - from_s) / (to_s - from_s), 0.0), 1.0) * WIDTH for at in (span.from_s, span.to_s))
    names = run.level_names
    name = names[min(span.level, len(names) - 1)]
    return {
        "x": round(left, 1),
        "width": round(max(right - left, 0.8), 1),
        "colour": level_class(name, span.level, len(names) - 1),
        "text": f"{name} {_short(span.from_s)} to {_short(span.to_s)}",
    }


def _draw_curves(card: Scorecard, run: Run) -> dict[str, Any] | None:
    """Displacement since the start of the series that moved most, events as bands; None where there is none."""
    lines = {k: v for k, v in run.plot.items() if k[1].startswith("displacement") and len(v) > 1}
    if not lines:
        return None
    moved = {key: [(at, v - points[0][1]) for at, v in points] for key, points in lines.items()}
    swings = {key: max(v for _, v in points) - min(v for _, v in points) for key, points in moved.items()}
    chosen = sorted(sorted(moved, key=lambda key: -swings[key])[:MOST_LINES])
    from_s, to_s = epoch_s(card.from_at), epoch_s(card.to_at)
    scale = PlotScale([from_s, to_s], [v for key in chosen for _, v in moved[key]], WIDTH, CURVES, 10.0)
    bands = [
        _draw_bar(Span(epoch_s(x.from_at), epoch_s(x.to_at), 0), from_s, to_s, run)
        | {"text": f"{x.name or 'event'}, class {x.class_number}"}
        for x in card.labels
    ]
    return {
        "low": scale.low,
        "high": scale.high,
        "bands": bands,
        "lines": [(f"{station} {name}", scale.draw(moved[station, name])) for station, name in chosen],
        "more": len(lines) - len(chosen),
    }


def _list_tables(run: Run) -> list[_Table]:
    """The tables of a run that have rows."""
    found = [_levels(run), ("days of false alarm by cause", ("cause", "days"), sorted(run.false_days.items()))]
    if run.events:
        shown = [[k, "-" if v is None else f"{v:.3f}"] for k, v in run.matrix.indicators().items()]
        _, head, rows = _events(run)
        found += [(f"events ({run.misses} missed)", head, rows), _matrix(run)]
        found.append(("indicators", ("indicator", "value"), shown))
    hazards = [
        (
            f"{a.turns[0].at:%Y-%m-%d %H:%M}",
            "" if a.over_at is None else f"{a.over_at:%Y-%m-%d %H:%M}",
            run.level_names[a.peak_level],
            a.turns[0].reason,
        )
        for a in run.hazards
    ]
    found += [("hazard alerts", ("raised", "over", "peak", "why"), hazards), _criteria(run)]
    gains = [[describe_gain(g)] for g in run.gains]
    return [*found, ("forecast beside velocity", ("at equal days of false alarm",), gains), _sensors(run)]


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
