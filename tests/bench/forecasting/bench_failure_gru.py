"""EMD-GRU beside inverse velocity: days of error before drawn collapses, at the same issues.

    python -m tests.bench.forecasting.bench_failure_gru

It learns on seeds from 2000 on, exponents 1.5 to 2.5, noise .5, 1 and 2 mm, every third curve with rain and gaps;
reported are seeds 0 to 29, as for the failure windows. Only issues with a trusted window are compared: EMD-GRU has no
gate, so how often it speaks says nothing.
"""

import time
from typing import Any

from forecasting.kinematics.curves import draw_collapse
from forecasting.kinematics.failure import FailureSpec
from forecasting.kinematics.failure_scores import watch_curve
from forecasting.kinematics.noise import median
from forecasting.kinematics.velocity import DAY_S
from forecasting.neural.failure_gru import FailureGru, fit_failure_gru, to_days
from tests.bench.record import record

LEADS = (14, 7, 3)
SEEDS, LEARNT = range(30), range(2000, 2150)
DRAWS: dict[str, tuple[tuple[float, ...], dict[str, Any]]] = {
    "daily, exponent 2, noise 0.5 and 2 mm": ((0.5, 2.0), {"alpha": (2.0, 2.0)}),
    "daily, exponent 1.5-2.5, rain, gaps, noise 1 mm": ((1.0,), {"alpha": (1.5, 2.5), "rain": True, "gaps": True}),
}


def judge(network: FailureGru, noises: tuple[float, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """By lead time: both errors at the issues that have a trusted window."""
    errors: dict[int, list[tuple[float, float, bool, bool]]] = {lead: [] for lead in LEADS}
    for sigma in noises:
        for seed in SEEDS:
            curve = draw_collapse(seed, sigma=sigma, interval_s=DAY_S, **settings)
            daily = to_days(curve.times_s, curve.values)
            issues = watch_curve(
                curve.times_s, curve.values, FailureSpec(DAY_S, sigma), from_s=curve.failure_s - 16 * DAY_S
            )
            for lead in LEADS:
                known = [one for one in issues if one.data_until_s <= curve.failure_s - lead * DAY_S]
                if not known or not known[-1].trusted:
                    continue
                last = known[-1]
                assert last.from_s is not None
                assert last.mid_s is not None
                assert last.to_s is not None
                left = (curve.failure_s - last.data_until_s) / DAY_S
                low, middle, high = network.lead_days(daily[: round(last.data_until_s / DAY_S) + 1])
                errors[lead].append((
                    (last.mid_s - curve.failure_s) / DAY_S, middle - left,
                    last.from_s <= curve.failure_s <= last.to_s, low <= left <= high,
                ))  # fmt: skip
    out = {}
    for lead, rows in errors.items():
        waves, gru, inside, within = zip(*rows, strict=True)
        out[f"{lead}d"] = {
            "issues": len(rows),
            "median_abs_error_days": {"inverse-velocity": _middle(waves), "emd-gru-failure": _middle(gru)},
            "median_error_days": {
                "inverse-velocity": round(median(list(waves)), 3), "emd-gru-failure": round(median(list(gru)), 3)
            },
            "inside": {
                "inverse-velocity": round(sum(inside) / len(rows), 3),
                "emd-gru-failure": round(sum(within) / len(rows), 3),
            },
        }  # fmt: skip
    return out


def _middle(errors: tuple[float, ...]) -> float:
    return round(median([abs(e) for e in errors]), 3)


def main() -> None:
    """Learn, judge, and keep the table."""
    begun = time.process_time()
    curves = [
        draw_collapse(
            seed, sigma=(0.5, 1.0, 2.0)[i % 3], alpha=(1.5, 2.5), rain=i % 9 > 5, gaps=i % 9 > 5
        )
        for i, seed in enumerate(LEARNT)
    ]  # fmt: skip
    network = fit_failure_gru([(to_days(c.times_s, c.values), c.failure_s / DAY_S) for c in curves])
    figures: dict[str, Any] = {
        "unit": "days; positive error is late; 80 % window of emd-gru-failure",
        "learnt": f"{len(LEARNT)} curves, seed 7", "learning_cpu_s": round(time.process_time() - begun, 1),
    }  # fmt: skip
    for name, (noises, settings) in DRAWS.items():
        figures[name] = judge(network, noises, settings)
    print(figures)
    print(record("failure-gru", "python -m tests.bench.forecasting.bench_failure_gru", figures))


if __name__ == "__main__":
    main()
