"""A year of ten measured sites, week by week: what would have been shown, what withheld, what lay outside experience.

    python -m packages.lab.benchmarks.forecasting.bench_replay_year [--days 7]

Sites: four stations of Cascadia (K) and three of Japan (G), all on firm ground: what is called outside experience
there is called so falsely. Then Outang's motion with measured noise (SK, one station), Baijiabao and Lamosano. Each is
replayed over the last year of its record, served from the readings before each moment.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from forecasting.data.series import DAY_S, Floats, read_long_csv
from forecasting.data.workbook import read_sheet
from monitor.text.reasons import convert_reason
from packages.lab.benchmarks.forecasting.lives import serve
from tests.bench.record import DATA, parse_options
from tests.data.forecasts.absurdity import Fan, find_absurd, see_present
from tests.data.measured_curves import find

YEAR_S: Final = 365.0 * DAY_S
STEADY: Final = (("K", ("ALBH", "P401", "P435", "SEAT")), ("G", ("G001", "G039", "I001")))
Site = tuple[str, bool, Floats, Floats, float, tuple[float, ...]]


def sites() -> Iterator[Site]:
    """Name, whether the ground is firm, seconds, values in mm, step, horizons."""
    daily = (DAY_S, 7 * DAY_S, 30 * DAY_S)
    for name, wanted in (*STEADY, ("SK", ("ATU1",))):
        panel = read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv")
        chosen = [s for s in wanted if s in panel.stations]
        chosen += [s for s in panel.stations if s not in chosen][: len(wanted) - len(chosen)]
        for station in chosen:
            values = panel.values[:, panel.stations.index(station)]  # noqa: PD011 - of a panel
            seen = np.isfinite(values)
            yield f"{name} {station}", name != "SK", panel.times_s[seen], values[seen], DAY_S, daily
    rows = read_sheet(find(DATA, "bazimen-baijiabao", "source_sample.xlsx")).to_dict("records")
    column = next(key for key in rows[0] if key.startswith("Total"))
    times = np.array([datetime.fromisoformat(row["Time"]).replace(tzinfo=UTC).timestamp() for row in rows])
    yield "Baijiabao", False, times, np.array([float(row[column]) for row in rows]), DAY_S, daily
    table = pd.read_csv(find(DATA, "lamosano", "df.csv"))
    instants = pd.to_datetime(table["date"], utc=True)
    seconds = ((instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)
    yield "Lamosano", False, seconds, table["p5"].to_numpy(float), 11 * DAY_S, (11 * DAY_S, 33 * DAY_S)


def plain(reason: str) -> str:
    """A reason without its numbers.

    >>> plain("gaps: 38 of the last 60 rows of 1 d observed, not 42")
    'gaps: # of the last # rows of # d observed, not #'
    """
    return re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", reason)


def replay(site: Site, every_s: float) -> dict[str, Any]:
    _, _, times, values, step_s, horizons_s = site
    begin_s = max(float(times[0]), float(times[-1]) - YEAR_S)
    stride_s = max(every_s, step_s)
    moments = [begin_s + k * stride_s for k in range(int((times[-1] - begin_s) // stride_s) + 1)]
    reasons: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    held: list[float] = []
    served = outside = shown = asked = 0
    for at_s in moments:
        now_s = float(times[0]) + math.floor((at_s - float(times[0])) / step_s) * step_s
        known = times <= now_s
        if not known.any():
            continue
        rows, withheld = serve({"S": (times, values)}, step_s, horizons_s, now_s)
        asked += len(horizons_s)
        shown += len(rows)
        served += bool(rows)
        outside += any(r.novelty is not None and r.novelty > 1.0 for r in rows)
        reasons.update(plain(convert_reason(w.reason)) for w in withheld)
        for r in rows:
            near = np.abs(times - r.target_s) <= step_s / 2
            if near.any():
                held.append(float(r.q10 <= values[near].mean() <= r.q90))
        present = see_present(times[known].tolist(), values[known].tolist())
        if present is not None:
            fans = [Fan(r.target_s - now_s, r.q025, r.q10, r.q50, r.q90, r.q975) for r in rows]
            rules.update(rule for found in find_absurd(fans, present).values() for rule in found)
    return {
        "moments": len(moments),
        "moments_with_a_forecast": served,
        "moments_without": len(moments) - served,
        "targets": asked,
        "shown": shown,
        "withheld": dict(reasons),
        "outside_experience": outside,
        "outside_share": round(outside / max(1, served), 4),
        "scored": len(held),
        "coverage_80": round(float(np.mean(held)), 3) if held else None,
        "absurd_by_rule": dict(rules),
    }


def main() -> None:
    days = parse_options(__doc__, days=7.0).days
    found: dict[str, Any] = {}
    firm: list[dict[str, Any]] = []
    for site in sites():
        found[site[0]] = replay(site, days * DAY_S)
        firm += [found[site[0]]] if site[1] else []
        print(f"{site[0]}: {json.dumps(found[site[0]])}", flush=True)
    served = sum(f["moments_with_a_forecast"] for f in firm)
    false = sum(f["outside_experience"] for f in firm)
    figures = {
        "bar": "false outside experience < 2 % of days on steady GNSS",
        "days_between": days,
        "sites": found,
        "firm ground": {
            "moments": served,
            "outside_experience": false,
            "share": round(false / max(1, served), 4),
            "met": false < 0.02 * served,
        },
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
