"""Looks at satellite points as they are served: cost beside a bare robust z, what they find, how they name it.

    python -m tests.bench.anomaly.bench_point_looks [--drawn]

Measured: the points of an EGMS file on Ustica; `--drawn` takes 10,000 drawn ones in their place. Events are those of
`bench_points`. A bare robust z is each value minus the median of its point, over 1.4826 times
the median of what is left. Seconds are of the processor. Figures go to `anomalies-point-looks.json`.
"""

import argparse
import os
import resource
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from detection.anomaly.bench import TEST_FROM
from detection.anomaly.points.alarms import BUDGET, count_thresholds, find_point_alarms
from detection.anomaly.points.records import (
    PointAlarm,
    PointAlarmRequest,
    PointTable,
    PointThresholdRequest,
    Thresholds,
)
from detection.anomaly.records import MONTH_S
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series
from forecasting.data.sources import Recipe, read_record
from monitor.config.service import ServiceConfig, parse_site
from monitor.ingest.files.egms import open_egms
from monitor.ingest.files.points import PointsFile, read_points
from monitor.ingest.files.reader import ImportOptions
from monitor.jobs.points import AT_ONCE, LEARN_FROM, describe_alarms, run
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.models.point_looks import load_looks
from tests.bench.record import read_figures, record
from tests.conftest import create_schema
from tests.data.anomalies.drawn_points import HALF_WAVELENGTH_MM, KINDS, STEP_S, draw_points, inject_points
from tests.data.site_text import head, series, station

FILE: Final = Path(os.environ["SLOPEWARD_DATA"]) / "timeseries" / "egms" / "EGMS_L2b_022_0845_IW2_VV_2020_2024_1.zip"
NOW: Final = datetime(2025, 6, 1, tzinfo=UTC)
SITE: Final = parse_site(
    head("ustica", timezone="UTC") + station("U1", series("displacement", "mm", "1d"), latitude=38.70, longitude=13.17),
    "ustica.toml",
)


def look_at_all(values: Array, thresholds: Thresholds, since: int) -> list[PointAlarm]:
    """Every alarm, as the job asks for them; rows are those of the whole table."""
    blocks = -(-len(values) // AT_ONCE)
    alarms = []
    for k in range(blocks):
        share = values[k::blocks]
        asked = PointAlarmRequest(PointTable(share, STEP_S), thresholds, np.full(len(share), since), HALF_WAVELENGTH_MM)
        alarms += [(a, k + a.row * blocks) for a in find_point_alarms(asked).alarms]
    return [PointAlarm(row, a.column, a.detector, a.part, a.score, a.threshold, a.kind, a.size_mm) for a, row in alarms]


def measure(values: Array) -> dict[str, Any]:
    """Cost and findings on one table."""
    begun = time.process_time()
    middle = np.nanmedian(values, axis=1, keepdims=True)
    bare = np.abs(values - middle) / (1.4826 * np.nanmedian(np.abs(values - middle), axis=1, keepdims=True))
    bare_s = time.process_time() - begun
    begun = time.process_time()
    sample = values[:: max(1, len(values) // LEARN_FROM)]
    thresholds = count_thresholds(PointThresholdRequest(PointTable(sample, STEP_S), BUDGET)).thresholds
    count_s = time.process_time() - begun
    since = int(values.shape[1] * TEST_FROM)
    begun = time.process_time()
    quiet = look_at_all(values, thresholds, since)
    look_s = time.process_time() - begun
    months = int(np.isfinite(values[:, since:]).sum()) * STEP_S / MONTH_S
    times_s = STEP_S * np.arange(values.shape[1], dtype=np.float64)
    faulty, events = inject_points({f"{k:06}": Series(times_s, v, STEP_S) for k, v in enumerate(values)}, 0)
    found = look_at_all(np.stack([faulty[name].values for name in sorted(faulty)]), thresholds, since)
    by_row: dict[int, list[PointAlarm]] = {}
    for alarm in found:
        by_row.setdefault(alarm.row, []).append(alarm)
    named: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    laid = Counter(event.kind for event in events)
    for event in events:
        inside = [a for a in by_row.get(int(event.station), ()) if event.first <= a.column <= event.last]
        if inside:
            named[event.kind][inside[0].kind] += 1
    return {
        "points": len(values),
        "acquisitions": values.shape[1],
        "bare_s": round(bare_s, 2),
        "bare_over_3": round(float((bare[:, since:] > 3.0).mean()), 4),
        "count_s": round(count_s, 2),
        "look_s": round(look_s, 2),
        "look_to_bare": round(look_s / bare_s, 1),
        "all_to_bare": round((look_s + count_s) / bare_s, 1),
        "thresholds": {part: round(v, 2) for part, v in thresholds["rules"].items()},
        "alarms_on_untouched": len(quiet),
        "alarms_per_point_month": round(len(quiet) / months, 5),
        "found": {kind: round(sum(named[kind].values()) / laid[kind], 4) for kind in KINDS},
        "named": {kind: dict(named[kind].most_common()) for kind in KINDS},
    }


def serve() -> dict[str, Any]:
    """The file through the real import and job, on SQLite."""
    with tempfile.TemporaryDirectory() as place:
        url = f"sqlite:///{place}/bench.db"
        create_schema(url)
        db = Database(url)
        with db.write() as c:
            save_site(c, SITE, "bench", "points", NOW)
        began = _spent()
        read_points(
            PointsFile(FILE, SITE, lambda: NOW, db, lambda _: None), open_egms(FILE, ImportOptions(None, "ustica"), NOW)
        )
        after = _spent()
        said = run(db, ServiceConfig.model_validate({}), SITE, NOW)
        ended = _spent()
        with db.read() as c:
            (kept,) = load_looks(c, SITE.id)
        db.close()
    kinds = Counter(one.kind for one in kept.found.happenings)
    return {
        "import_s": round(after[0] - began[0], 1),
        "core_s": round(ended[0] - after[0], 1),
        "workers_s": round(ended[1] - after[1], 1),
        "said": said,
        "line": describe_alarms(kept.found),
        "kinds": dict(kinds.most_common()),
        "largest_happening": max(one.points for one in kept.found.happenings),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }


def _spent() -> tuple[float, float]:
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--drawn", action="store_true", help="10,000 drawn points in place of measured ones")
    drawn = parser.parse_args().drawn
    figures: dict[str, Any] = read_figures("anomalies-point-looks") or {}
    if drawn:
        samples = draw_points(0, 10_000, 200)
        figures["drawn"] = measure(np.stack([samples[name].values for name in sorted(samples)]))
    else:
        panel = read_record(FILE, Recipe({"format": "points", "rows": "acquisitions"})).panel
        figures["measured"] = measure(np.ascontiguousarray(panel.values.T))
        figures["served"] = serve()
    for name, part in figures.items():
        print(name)
        for key, value in part.items():
            print(f"  {key}: {value}")
    record("anomalies-point-looks", "python -m tests.bench.anomaly.bench_point_looks [--drawn]", figures)


if __name__ == "__main__":
    main()
