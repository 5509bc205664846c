"""The shipped record of failure windows on simulated collapses, which the page of movement shows."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

# In a checkout, and in the installed distribution.
RECORD_PATHS: Final = (
    Path(__file__).resolve().parents[3] / "packages" / "lab" / "benchmarks" / "results" / "failure_time.json",
    Path(__file__).resolve().parents[2] / "_benchmarks" / "failure_time.json",
)
# The set of collapses that is most like real ones, and its noise in mm.
COLLAPSES: Final = "daily, exponent 1.5-2.5, rain, gaps, noise 1 mm"
NOISE_MM: Final = "1.0"
LEAD_DAYS: Final = 7.0


@dataclass(frozen=True, slots=True)
class SimulatedRecord:
    """How often windows held at one time before simulated failures."""

    lead_days: float
    issued: float  # share of the collapses with a trusted window, 0 to 1
    inside: float  # share of these windows that contained the failure, 0 to 1


@cache
def load_simulated_record() -> SimulatedRecord | None:
    """Return the shipped record; None if the installation does not contain it."""
    for path in RECORD_PATHS:
        if path.is_file():
            figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
            scores = figures[COLLAPSES][NOISE_MM][f"{LEAD_DAYS:g}d"]
            return SimulatedRecord(LEAD_DAYS, scores["issued"], scores["inside"])
    return None
