"""How often people are asked about stations that stand on firm ground: steps, and motion that its own error hides.

    python -m tests.bench.service.bench_questions

Every daily GNSS station of the measured records is played through the decision alone, bounds 3, 10 and 40 mm/day, each
question about a step answered "instrument" by the next look. Counted are questions, not looks.
"""

import json
from pathlib import Path
from typing import Any

from tests.bench.record import DATA, SERVICE_RESULTS
from tests.data.readers.gnss import read_positions
from tests.measured.test_steps_measured import asked, day, make_site, play

NEWEST = 9_000  # rows of a station: eight years of three components


def count_station(path: Path) -> dict[str, Any]:
    """Days, questions about steps, and when a motion was first held back by its error alone."""
    rows = read_positions(path, "gnss", day("1990-01-01"), day("2100-01-01"))[-NEWEST:]
    looks = play(make_site([path.name[:4]]), rows, answer="instrument")
    undecided: list[str] = []
    before: set[str] = set()
    for now, decision in looks:
        open_now = {key for key in decision.memory.conditions if ":undecided_" in key}
        undecided += [f"{now:%Y-%m-%d} {key.rpartition('_')[2]}" for key in sorted(open_now - before)]
        before = open_now
    return {
        "days": len({now.date() for now, _ in looks}),
        "steps": len(asked(looks, path.name[:4])),
        "undecided": undecided,
        "top_level": max(decision.level for _, decision in looks),
    }


def main() -> None:
    """Play all stations and keep the table."""
    found = {}
    for path in sorted((DATA / "timeseries").glob("gnss-*/*")):
        if path.suffix in {".neu", ".tenv3", ".pos"}:
            found[path.name[:4]] = count_station(path)
            print(path.name, json.dumps(found[path.name[:4]]), flush=True)
    figures = {
        "stations": len(found),
        "station_days": sum(f["days"] for f in found.values()),
        "questions_about_steps": sum(f["steps"] for f in found.values()),
        "questions_undecided": sum(len(f["undecided"]) for f in found.values()),
        "highest_level": max(f["top_level"] for f in found.values()),
        "by_station": {name: f for name, f in found.items() if f["steps"] or f["undecided"]},
    }
    print(SERVICE_RESULTS.store("questions", "python -m tests.bench.service.bench_questions", figures))


if __name__ == "__main__":
    main()
