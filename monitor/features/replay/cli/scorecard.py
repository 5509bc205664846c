"""Print a scorecard as tables in a terminal."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Column, Table

from monitor.api.queries.alerts import (
    EVENT,
    FALSE,
    UNJUDGED,
    WAITING,
    ForecastGain,
    Run,
    Scorecard,
    SystemAlarm,
    name_class,
)
from monitor.api.text import format_iso, from_epoch_s

# Title, header and rows of a table.
_Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]
# If failure windows span a longer time, their table shows days without the time of day.
DAYS_ONLY_S: Final = 30.0 * 86400.0
# Rows of a table. JSON output contains all.
MAX_ROWS: Final = 40


def print_scorecard(card: Scorecard, console: Console) -> None:
    """Print every table of a scorecard."""
    console.print(
        f"[bold]{card.site_name}[/bold] ({card.site}) {card.from_at:%Y-%m-%d} to {card.to_at:%Y-%m-%d}, "
        f"rules {card.rule_version}; all times are UTC"
    )
    console.print(describe_known(card))
    for line in card.unproven:
        console.print(line, highlight=False, markup=False)
    for run in card.runs:
        if len(card.runs) > 1:
            console.rule(f"{run.name}: configuration {run.config_version[:12]}")
        _print_run(run, console)
        if card.other_alarms:
            console.print(_make_table(*_make_other_system(card, run)))
    if card.detectors:
        head = ("detector", "reported", "confirmed", "dismissed", "nobody said", "false alarms", "budget", "factor")
        rows = [["-" if v is None else v for v in d.to_json().values()] for d in card.detectors]
        console.print(_make_table("anomalies, as people said", head, rows))
    if len(card.runs) > 1:
        console.rule("A and B")
        for difference in card.differences() or ("no difference",):
            console.print(f"  {difference}", highlight=False)


def describe_known(card: Scorecard) -> str:
    """Describe since when readings counted as known in the replay."""
    known = card.known
    exact_s = known["granularity_s"]
    exact = f"levels are exact to {exact_s:g} s" if exact_s else "evaluations are those of the service"
    return (
        f"{known['rows']:,} readings ({known['mode']}): {known['rows_by_reception']:,} count from their stored time of "
        f"arrival; the arrival of {known['rows_by_epoch']:,} is unknown, and each is assumed to arrive "
        f"{describe_latency(known['latency_s'])}; {exact}"
    )


def describe_latency(latency_s: float) -> str:
    """Describe when a reading of unknown arrival is assumed to arrive.

    >>> describe_latency(0.0), describe_latency(90.0)
    ('at its own time', '90 s after its own time')
    """
    return f"{latency_s:g} s after its own time" if latency_s else "at its own time"


def _print_run(run: Run, console: Console) -> None:
    console.print(_make_table(*_make_levels(run), right=0))
    console.print(
        f"{run.looks:,} evaluations; {len(run.hazards)} hazard alerts, "
        f"{sum(a.ledger == 'health' for a in run.alerts)} health alerts, "
        f"{sum(a.ledger == 'advice' for a in run.alerts)} messages of advice; {len(run.alarm_days)} days with an alarm"
    )
    if run.alarm_days:
        console.print(_describe_days(run), highlight=False, markup=False)
    spans = [
        (_format_minute(s.from_s), _format_minute(s.to_s), run.level_names[s.level]) for s in run.levels[-MAX_ROWS:]
    ]
    console.print(_make_table("level history", ("from", "to", "level"), spans))
    if run.events:
        console.print(_make_table(*_make_events(run)))
        console.print(f"misses: {run.misses} of {len(run.events)}")
        console.print(_make_table(*_make_matrix(run), right=1))
        shown = {k.replace("_", " "): v for k, v in run.matrix.indicators().items() if not k.endswith("_h")}
        line = ", ".join(f"{name} {'-' if v is None else f'{v:.3f}'}" for name, v in shown.items())
        console.print(line, highlight=False)
    console.print(_make_table(*_make_criteria(run)))
    for criterion in run.criteria:
        if criterion.not_computed is not None:
            console.print(f"{criterion.criterion}: not computed: {criterion.not_computed}", markup=False)
    console.print(_make_table(*_make_leads(run)))
    if run.windows.looks or run.windows.periods:
        console.print(_make_table(*_make_windows(run), right=9))
        console.print(_describe_other_windows(run), highlight=False, markup=False)
    for gain in run.gains:
        console.print(describe_gain(gain), highlight=False)
    head = ("station", "raises", "days its vote counted", "health alerts", "days its vote was set aside")
    alerts = [", ".join(f"{k} {n}" for k, n in s.health.items()) or "-" for s in run.sensors]
    rows = [
        (s.station, s.raises, f"{s.voting_days:.2f}", health, s.pended_days)
        for s, health in zip(run.sensors, alerts, strict=True)
    ]
    console.print(_make_table("alerts per sensor", head, rows))


def _make_table(title: str, head: Sequence[str], rows: Iterable[Iterable[object]], right: int | None = None) -> Table:
    """Make a table. Columns from index `right` on are aligned to the right."""
    first = len(head) if right is None else right
    columns = (Column(name, justify="left" if k < first else "right") for k, name in enumerate(head))
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _make_other_system(card: Scorecard, run: Run) -> _Table:
    """Make the table of alarms beside those of the other system. One row is an episode of either system."""
    rows = []
    for episode in card.list_episodes(run):
        lead = "-" if episode.lead_s is None else format_lead(episode.lead_s)
        own = _describe_alarms(episode.own)
        if not episode.own:
            own = f"no rise, level {run.find_level_name(episode.from_at)}"
        rows.append((own, _describe_alarms(episode.other), lead))
    return "alarms of both systems (lead: Slopeward earlier)", ("Slopeward", "other system", "lead"), rows[-MAX_ROWS:]


def _describe_alarms(alarms: Sequence[SystemAlarm]) -> str:
    if not alarms:
        return "-"
    first = alarms[0]
    facts = " ".join(fact for fact in (first.level, first.station, first.text) if fact)
    more = f" and {len(alarms) - 1} more" if len(alarms) > 1 else ""
    return f"{first.at:%Y-%m-%d %H:%M} {facts}{more}"


def _make_levels(run: Run) -> _Table:
    days = [f"{run.time_in_level_s.get(n, 0.0) / 86400.0:.2f} d" for n in run.level_names]
    return "time in each level", run.level_names, [days]


def _make_events(run: Run) -> _Table:
    head = ("event", "class", "needed", "first warning", "lead", "at the needed level", "lead", "peak")
    rows = [
        (
            e.label.name or f"{e.label.from_at:%Y-%m-%d %H:%M}",
            e.label.class_number,
            run.level_names[e.label.level],
            "-" if e.first_at is None else f"{e.first_at:%Y-%m-%d %H:%M}",
            "-" if e.first_at is None else format_lead((e.label.from_at - e.first_at).total_seconds()),
            "missed" if e.warned_at is None else f"{e.warned_at:%Y-%m-%d %H:%M}",
            format_lead(e.lead_s),
            run.level_names[e.peak_level],
        )
        for e in run.events
    ]
    return "events", head, rows


def _make_matrix(run: Run) -> _Table:
    classes = run.matrix.classes
    spent_s = run.matrix.seconds
    rows = [
        (name, *(f"{spent_s.get((level, k), 0.0) / 3600.0:.1f}" for k in classes))
        for level, name in enumerate(run.matrix.levels)
    ]
    return "warning level by class of event (EDuMaP)", ["hours", *map(name_class, classes)], rows


def _describe_days(run: Run) -> str:
    """Describe the kinds of days with an alarm, in one line."""
    causes = ", ".join(f"{cause} {n}" for cause, n in run.false_days.items())
    days = run.days_by_kind
    return (
        f"days with an alarm: {days[EVENT]} before or during an event; {days[FALSE]} false"
        f"{f' ({causes})' if causes else ''}; {days[WAITING]} waiting for an answer that nobody gives in a replay; "
        f"{days[UNJUDGED]} not classified{' (name the events with --labels)' if days[UNJUDGED] else ''}"
    )


def _make_leads(run: Run) -> _Table:
    head = ("before", "by", *run.level_names[1:])
    rows = [(lead.before, lead.source, *(format_lead(lead_s) for _, lead_s in lead.leads)) for lead in run.leads]
    if run.leads and not run.events:
        return "time from the first reach of each level to the end of the record (no event was given)", head, rows
    return "lead time of each level", head, rows


def _make_windows(run: Run) -> _Table:
    """Make the table of periods with a trusted failure window."""
    head = ("series", "first trusted", "its middle", "trusted", "last window", "its middle", "lead", "before", "end")
    periods = [period for period in run.windows.periods if period.first_trusted is not None]
    instants = [at_s for period in periods for at_s in (period.first.issued_s, period.last.issued_s)]
    size = len("2026-01-01") if instants and max(instants) - min(instants) > DAYS_ONLY_S else len("2026-01-01 00:00")
    rows = []
    for period in periods:
        first = period.first_trusted or period.first
        last = period.last
        ended = "" if last.withdrawn_s is None else f"{_format_minute(last.withdrawn_s)[:size]}: "
        rows.append(
            (
                f"{first.station}.{first.quantity}",
                _format_minute(first.issued_s)[:size],
                _format_minute(first.mid_s)[:size],
                f"{period.trusted} of {period.issued}",
                _format_minute(last.issued_s)[:size],
                _format_minute(last.mid_s)[:size],
                format_lead(period.lead_s),
                period.before,
                f"{ended}{period.end}",
            )
        )
    return "failure windows: periods with a trusted one", head, rows[-MAX_ROWS:]


def _describe_other_windows(run: Run) -> str:
    """Describe the series without a trusted window, and the periods without one."""
    trusted = {(p.first.station, p.first.quantity) for p in run.windows.periods if p.first_trusted is not None}
    untrusted = sum(p.first_trusted is None for p in run.windows.periods)
    quiet = [f"{name} ({n:,} evaluations)" for name, n in run.windows.looks if tuple(name.split(".", 1)) not in trusted]
    parts = [f"{untrusted} further periods with untrusted windows alone"] if untrusted else []
    parts += [f"no trusted window: {', '.join(quiet)}"] if quiet else []
    return "; ".join(parts) or "every series had a trusted window"


def _make_criteria(run: Run) -> _Table:
    head = (
        "criterion",
        "kind",
        "role",
        "judged",
        "crossings",
        "days",
        *run.level_names[1:],
        "false days",
        "hits",
        "misses",
        "lead",
    )
    rows = [
        (c.criterion, c.kind, c.role, "not computed", *["-"] * (len(head) - 4))
        if c.not_computed is not None
        else (
            c.criterion,
            c.kind,
            c.role,
            f"{c.judged_share:.0%}",
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


def describe_gain(gain: ForecastGain) -> str:
    """Describe in one line how much earlier a forecast criterion warns than velocity."""
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
    """Format a lead time, which is positive before the event.

    >>> format_lead(86400.0 * 9), format_lead(5400.0), format_lead(-7200.0), format_lead(None)
    ('9.0 d', '1.5 h', '-2.0 h', '-')
    """
    if seconds is None:
        return "-"
    return f"{seconds / 86400.0:.1f} d" if abs(seconds) >= 86400.0 else f"{seconds / 3600.0:.1f} h"


def _format_minute(instant_s: float) -> str:
    return format_iso(from_epoch_s(instant_s))[:16].replace("T", " ")
