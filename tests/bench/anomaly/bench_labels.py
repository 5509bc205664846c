"""A site without history that is watched, with and without labels of its alarms a week later.

python -m tests.bench.anomaly.bench_labels --data SK [--from 0.3] [--seeds 3] [--budget 0.1]
"""

import argparse

import numpy as np

from detection.anomaly.bench import find_certain
from detection.anomaly.detector import start_without_history
from detection.anomaly.evaluation import evaluate_alarms
from detection.anomaly.faults import inject_many
from detection.anomaly.windows import build_series
from forecasting.data.sources import Recipe, read_record
from tests.data.anomalies.followed_labels import follow_labels


def main() -> None:
    """Print false alarms per sensor-month on the untouched and on the faulty record, and recall there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="SK")
    parser.add_argument("--from", dest="begin", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.1)
    given = parser.parse_args()
    panel = read_record(given.data, Recipe()).panel
    columns = zip(panel.stations, panel.values.T.tolist(), strict=True)
    samples = {name: build_series(panel.times_s.tolist(), row, panel.step_s) for name, row in columns}
    detector = start_without_history("rules", panel.step_s)
    for with_labels in (False, True):
        rows = []
        for seed in range(given.seeds):
            faulty, events = inject_many(samples, given.begin, seed)
            for series, laid in ((samples, []), (faulty, events)):
                scores = {name: row / detector.limit for name, row in detector.score(series).items()}
                raised = {name: np.nan_to_num(row) > 1.0 for name, row in scores.items()}
                if with_labels:
                    raised = follow_labels(scores, series, laid, given.begin, given.budget)
                alarms = {name: (row | find_certain(series[name])).astype(float) for name, row in raised.items()}
                found = evaluate_alarms(series, alarms, laid, given.begin)
                rows.append((found.false_alarms_per_sensor_month, found.recall if laid else 0.0))
        clean, beside = np.mean(rows[::2], axis=0), np.mean(rows[1::2], axis=0)
        print(f"labels {with_labels}: untouched {clean[0]:.3f}, beside faults {beside[0]:.3f}, recall {beside[1]:.2f}")


if __name__ == "__main__":
    main()
