"""A site that is scored as its readings come in has the scores and the findings of one look at the whole record."""

import numpy as np
from hypothesis import Phase, event, example, given, settings
from hypothesis import strategies as st

from detection.anomaly.certain.checks import find_replay, find_stuck
from detection.anomaly.certain.timing import find_timing_faults
from detection.anomaly.certain.unit_jump import find_unit_jumps
from detection.anomaly.detector import start_without_history
from detection.anomaly.jobs import score
from detection.anomaly.records import ScoringRequest
from detection.anomaly.running.state import DetectorState
from detection.anomaly.windows import build_series

CHECKS = {"stuck": find_stuck, "replay": find_replay, "unit": find_unit_jumps}
NEW = 90


def draw_site(rng, stations, step_s, cells):
    """Readings with holes and jitter; the newest ones hold a spike, a stuck run, a replay, a unit and a clock."""
    samples = {}
    for k in range(stations):
        kept = np.flatnonzero(rng.random(cells) > 0.05)
        times = 12 * 86400.0 + k * 0.05 * step_s + step_s * kept + rng.uniform(-0.01, 0.01, len(kept)) * step_s
        values = np.round(40.0 + rng.normal(0, 1, len(kept)), 3)
        values[-70] += 15.0
        if k == 0:
            values[-60:-30] = values[-60]
        elif k == 1:
            values[-40:-28] = values[40:52]
        elif k == 2:
            values[-30:] *= 25.4
        elif k == 3:
            times[-25:] += 0.3 * step_s
        samples[f"S{k}"] = times, values
    return samples


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@example(seed=2761, stations=5, step_s=21600.0, burst=4)
@given(
    seed=st.integers(0, 2**32 - 1),
    stations=st.integers(1, 6),
    step_s=st.sampled_from([86400.0, 21600.0]),
    burst=st.sampled_from([1, 1, 4, 100]),
)
def test_scored_as_it_comes_is_scored_at_once(seed, stations, step_s, burst):
    rng = np.random.default_rng(seed)
    samples = draw_site(rng, stations, step_s, 330)
    from_s = max(t[-NEW] for t, _ in samples.values())
    begun = {name: (t[t <= from_s], v[t <= from_s]) for name, (t, v) in samples.items()}
    thresholds = {
        "rules": {p: t.value for p, t in start_without_history("rules", step_s).thresholds.items()},
        "persistence-z": {"persistence-z": 6.26},
    }
    running = DetectorState({n: build_series(t, v, step_s) for n, (t, v) in begun.items()}, thresholds, from_s)
    found = {name: {} for name in thresholds}
    suspects = {name: [] for name in samples}

    def take_in():
        scores, looked_at = running.score()
        for name, since_s in looked_at.items():
            suspects[name].append((since_s, at))
        for detector, rows in scores.items():
            for row in rows:
                found[detector][row.station, row.at_s] = row

    at = from_s
    take_in()
    coming = sorted(
        (at_s, name, v) for name, (t, vs) in samples.items() for at_s, v in zip(t, vs, strict=True) if at_s > from_s
    )
    for first in range(0, len(coming), burst * stations):
        for at_s, name, value in coming[first : first + burst * stations]:
            assert running.add([name], [at_s], [value]) == 0
            at = at_s
        take_in()
    # what a cell was scored on while a neighbour's reading was still missing may differ: the last word is compared
    for detector in thresholds:
        whole = score(ScoringRequest(detector, samples, step_s, since_s=from_s)).scores
        assert whole
        for one in whole:
            mine = found[detector].get((one.station, one.at_s))
            assert mine is not None, (detector, one)
            if stations <= 3 or burst == 100:
                assert abs(mine.score - one.score) < 1e-6
                assert (mine.kind, mine.alerted, mine.threshold) == (one.kind, one.alerted, one.threshold)
                assert mine.compared_with == one.compared_with
        with_others = {one.compared_with for one in whole if "other series" in one.compared_with}
        assert bool(with_others) == (detector == "rules" and stations > 3)
        # by name where it is beyond its threshold, an echo too, which alarms no more
        assert all(
            ("(" in one.compared_with) == (one.score > one.threshold)
            for one in whole
            if one.compared_with in with_others
        )
    for name, (times, values) in samples.items():
        series = build_series(times, values, step_s)
        findings = [f for check in CHECKS.values() for f in check(series)] + find_timing_faults(times)
        for finding in findings:
            if finding.at_s > from_s:
                event(finding.kind)
                assert any(a < finding.at_s <= b + step_s for a, b in suspects[name]), finding
    event(f"{sum(map(len, suspects.values())) * 10 // (stations * NEW) * 10} % of the readings looked at by checks")
