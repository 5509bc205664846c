"""A report of a backtest as one HTML page: tables and plots drawn as plain SVG, nothing fetched, nothing scripted.

Without plotly: it would put 1.2 MB of script into each file, and mail strips scripts.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np

from forecasting.data.series import Floats
from forecasting.evaluation.scoring import Answer, Score, Trial, pooled, spell_horizon
from forecasting.serving.quantiles import bounds

Columns = tuple[tuple[str, str, Callable[[float], str]], ...]
WIDTH, HEIGHT, MARGIN = 760, 260, 46
MOST_STATIONS = 8
COLOURS = ("#0b6e99", "#b4451f", "#4c7d2c", "#7b4ba0", "#a07d00", "#555555", "#c2185b", "#00796b")
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2321;background:#fff}
table{border-collapse:collapse;margin:.6rem 0 1.4rem;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .45rem;font-size:13px;white-space:nowrap;border-bottom:1px solid #dde3df;text-align:right}
td:first-child,th:first-child{text-align:left}
div{overflow-x:auto}
svg{width:100%;height:auto}
text{font:11px system-ui,sans-serif;fill:#33403b}
.note{color:#56625d}
"""


def write_report(path: Path, title: str, trials: Sequence[Trial], scores: Sequence[Score]) -> Path:
    """Write the page and return its path.

    Args:
        path: The file.
        title: What was scored.
        trials: All folds and horizons.
        scores: Their scores; those over all stations fill the tables.
    """
    every = [s for s in scores if (s.station, s.month, s.stage) == (None, None, None)]
    parts = [f"<h1>Backtest of {escape(title)}</h1>", _preface(trials)]
    for horizon_s in dict.fromkeys(s.horizon_s for s in every):
        mine = [s for s in every if s.horizon_s == horizon_s]
        last = [t for t in trials if t.horizon_s == horizon_s][-1]
        parts += [
            f"<h2>{spell_horizon(horizon_s)} ahead</h2>",
            _table(mine),
            _bars(mine),
            _coverage(mine),
            _months([s for s in scores if s.month is not None and s.horizon_s == horizon_s]),
            "".join(_curve(last, i) for i in range(min(MOST_STATIONS, len(last.stations)))),
        ]
    page = f"<title>Backtest of {escape(title)}</title><style>{STYLE}</style>{''.join(parts)}"
    path.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8">{page}</html>\n', encoding="utf-8")
    return path


def _preface(trials: Sequence[Trial]) -> str:
    scored = np.concatenate([t.target_s[np.isfinite(t.observed).any(axis=1)] for t in trials])
    first, last = (datetime.fromtimestamp(float(t), tz=UTC).date() for t in (scored.min(), scored.max()))
    folds = len({t.fold for t in trials})
    return (
        f'<p class="note">{len(trials[0].stations)} stations, {folds} test fold{"s" if folds > 1 else ""}, '
        f"targets {first} to {last}. Every "
        "model was fitted on rows before its fold only. Skill is 1 - MAE / MAE of persistence; <i>best</i> is the "
        "simple forecast chosen on calibration; <i>gated</i> is what would have been shown. p: Diebold-Mariano "
        "against the best simple forecast, the smallest of the folds.</p>"
    )


def _table(scores: Sequence[Score]) -> str:
    errors: Columns = (
        ("MAE", "mae_mm", _three), ("RMSE", "rmse_mm", _three), ("MASE", "mase", _three), ("bias", "bias_mm", _three),
        ("skill", "skill_persistence", _share), ("vs best", "skill_best", _share),
    )  # fmt: skip
    fans: Columns = (
        ("80 %", "coverage_80", _share), ("worst", "worst_80", _share), ("95 %", "coverage_95", _share),
        ("width", "width_80", _three), ("Winkler", "winkler_80", _three),
    )  # fmt: skip
    heads = ["model", "n", *(head for head, _, _ in errors), "p", *(head for head, _, _ in fans)]
    rows = []
    for label in dict.fromkeys(s.label for s in scores):
        mine = [s for s in scores if s.label == label]
        known = [s.dm_p for s in mine if np.isfinite(s.dm_p)]
        cells = [escape(label), str(sum(s.n for s in mine))]
        cells += [spell(pooled(mine, name)) for _, name, spell in errors]
        cells += [f"{min(known):.3f}" if known else "-"]
        cells += [spell(pooled(mine, name)) for _, name, spell in fans]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{h}</th>" for h in heads)
    chosen = ", ".join(s.baseline for s in sorted(scores, key=lambda s: s.fold) if s.label == "gated")
    note = f'<p class="note">Chosen on the past: {escape(chosen)}.</p>'
    return f"<div><table><tr>{head}</tr>{''.join(rows)}</table></div>{note}"


def _bars(scores: Sequence[Score]) -> str:
    """Mean absolute error of each model as a bar, folds as dots."""
    labels = list(dict.fromkeys(s.label for s in scores))
    top = max((s.mae_mm for s in scores if np.isfinite(s.mae_mm)), default=1.0) or 1.0
    height = 18 * len(labels) + 24
    reach = WIDTH - 220
    marks = []
    for i, label in enumerate(labels):
        mine = [s for s in scores if s.label == label and np.isfinite(s.mae_mm)]
        y = 18 * i + 14
        mean = pooled(mine, "mae_mm")
        if np.isfinite(mean):
            marks.append(f'<rect x="150" y="{y - 9}" width="{mean / top * reach:.1f}" height="12" fill="#c9dbe4"/>')
        marks += [
            f'<circle cx="{150 + s.mae_mm / top * reach:.1f}" cy="{y - 3}" r="2.5" fill="#0b6e99"/>' for s in mine
        ]
        marks.append(f'<text x="144" y="{y}" text-anchor="end">{escape(label)}</text>')
    caption = f'<text x="150" y="{height - 4}">mean absolute error, mm (0 to {top:.3g}); dots are folds</text>'
    return _svg("".join(marks) + caption, height)


def _coverage(scores: Sequence[Score]) -> str:
    """Share inside the 80 and 95 % intervals per model and fold, with what was promised as lines."""
    labels = [
        s
        for s in dict.fromkeys(s.label for s in scores)
        if np.isfinite(pooled([x for x in scores if x.label == s], "coverage_80"))
    ]
    height = 18 * len(labels) + 24
    reach = WIDTH - 220

    def at(share: float) -> float:
        return 150 + (max(share, 0.5) - 0.5) / 0.5 * reach

    marks = [
        f'<line x1="{at(v):.1f}" x2="{at(v):.1f}" y1="0" y2="{height - 18}" stroke="#999" stroke-dasharray="3 3"/>'
        for v in (0.8, 0.95)
    ]
    for i, label in enumerate(labels):
        y = 18 * i + 14
        marks.append(f'<text x="144" y="{y}" text-anchor="end">{escape(label)}</text>')
        for s in (s for s in scores if s.label == label and np.isfinite(s.coverage_80)):
            for value, colour in ((s.worst_80, "#bbb"), (s.coverage_80, COLOURS[0]), (s.coverage_95, COLOURS[1])):
                marks.append(f'<circle cx="{at(value):.1f}" cy="{y - 3}" r="3" fill="{colour}"/>')
    words = "held by the 80 % (blue; grey: worst station) and 95 % interval (red), 50 to 100 %"
    caption = f'<text x="150" y="{height - 4}">{words}</text>'
    return _svg("".join(marks) + caption, height)


def _months(scores: Sequence[Score]) -> str:
    """Mean absolute error of every model by month of the target; empty without monthly scores."""
    months = sorted({s.month for s in scores if s.month is not None})
    labels = [x for x in dict.fromkeys(s.label for s in scores) if x in {"persistence", "lld", "gated"}]
    if len(months) < 2:
        return ""
    by = {(s.label, s.month): s.mae_mm for s in scores}
    lines = {x: np.array([by.get((x, m), np.nan) for m in months]) for x in labels}
    return _plot(np.arange(len(months), dtype=float), lines, f"MAE by month, mm: {months[0]} to {months[-1]}")


def _curve(trial: Trial, column: int) -> str:
    """What was forecast and what came, last fold, one station."""
    served = next(a for a in trial.answers if a.label == "gated")
    band = None
    if served.fan is not None:
        low, high = bounds(served.fan, 0.8)
        band = low[:, column], high[:, column]
    lines = {"observed": trial.observed[:, column], f"gated ({trial.chosen})": served.point[:, column]}
    lines |= {a.label: a.point[:, column] for a in _networks(trial.answers)}
    title = f"{trial.stations[column]}, mm, last fold; band: 80 % interval"
    return _plot(trial.target_s, lines, title, band=band)


def _networks(answers: Sequence[Answer]) -> list[Answer]:
    return [a for a in answers if a.variant == "ungated"][:3]


def _plot(x: Floats, lines: dict[str, Floats], title: str, *, band: tuple[Floats, Floats] | None = None) -> str:
    """Lines over a common axis; gaps stay gaps."""
    shown = [*lines.values(), *(band or ())]
    every = np.concatenate([v[np.isfinite(v)] for v in shown]) if shown else np.empty(0)
    if not every.size or x.size < 2:
        return ""
    low, high = float(every.min()), float(every.max())
    span, reach = (high - low) or 1.0, float(x[-1] - x[0]) or 1.0

    def place(i: int, value: float) -> str:
        across = MARGIN + (float(x[i]) - float(x[0])) / reach * (WIDTH - MARGIN - 10)
        return f"{across:.1f},{20 + (1 - (value - low) / span) * (HEIGHT - 50):.1f}"

    marks = []
    if band is not None:
        for run in _runs(np.isfinite(band[0]) & np.isfinite(band[1])):
            outline = [place(i, band[1][i]) for i in run] + [place(i, band[0][i]) for i in reversed(run)]
            marks.append(f'<polygon points="{" ".join(outline)}" fill="#0b6e99" fill-opacity=".15"/>')
    for k, (label, values) in enumerate(lines.items()):
        colour = COLOURS[k % len(COLOURS)] if k else "#1c2321"
        for run in _runs(np.isfinite(values)):
            points = " ".join(place(i, float(values[i])) for i in run)
            marks.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        marks.append(f'<text x="{MARGIN + 130 * k}" y="{HEIGHT - 6}" style="fill:{colour}">{escape(label)}</text>')
    axis = "".join(
        f'<text x="{MARGIN - 6}" y="{24 + (1 - f) * (HEIGHT - 50):.0f}" text-anchor="end">{low + f * span:.4g}</text>'
        for f in (0.0, 0.5, 1.0)
    )
    return _svg(f'<text x="{MARGIN}" y="12">{escape(title)}</text>{axis}{"".join(marks)}', HEIGHT)


def _runs(seen: np.ndarray) -> list[list[int]]:
    """Unbroken stretches of at least two points."""
    cuts = np.split(np.arange(seen.size), np.flatnonzero(np.diff(seen.astype(int))) + 1)
    return [[int(i) for i in run] for run in cuts if run.size > 1 and seen[run[0]]]


def _svg(inside: str, height: int) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{inside}</svg>'


def _three(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "-"


def _share(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "-"
