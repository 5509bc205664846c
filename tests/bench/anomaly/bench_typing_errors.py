"""Typing errors drawn into measured crack markers: which kinds are named, and how often a real jump is called one.

What the check was chosen on (markers A to C and the extensometers of Houston) and what it was not (D to F) stand apart.
"""

import random
import re
import zipfile
from collections.abc import Callable
from os import environ
from pathlib import Path
from typing import Any, Final

from detection.anomaly.certain.typing_errors import find_slip
from tests.bench.record import record
from tests.data.readers.markers import list_beside, name_slips, read_markers

SEEDS: Final = 3
NUMBER: Final = re.compile(r"-?\d*\.?\d+")
FROM: Final = 10  # readings of a marker before the first drawn error
JUMPS_CM: Final = (3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)


def main() -> None:
    """Measure and record."""
    folder = Path(environ["SLOPEWARD_DATA"]) / "timeseries"
    markers = read_markers(folder / "dynaslope-markers" / "surficialdata.csv")
    figures: dict[str, Any] = {}
    for title, names in (("A to C, chosen on", "ABC"), ("D to F, unseen", "DEF")):
        sound = {name: [row for row in markers[name] if not row.is_doubted] for name in markers}
        drawn: dict[str, list[bool]] = {}
        for name in names:
            for place in range(FROM, len(sound[name])):
                row, before = sound[name][place], [r.value for r in sound[name][:place]]
                beside = list_beside(markers, name, row.at)
                for kind, draw in DRAWN.items():
                    for seed in range(SEEDS):
                        typed = draw(row.value, beside, random.Random(f"{name} {place} {kind} {seed}"))
                        drawn.setdefault(kind, []).append(find_slip(typed, before, beside) is not None)
        named = list(name_slips(markers, names))
        figures[title] = {
            "share named": {kind: round(sum(found) / len(found), 3) for kind, found in drawn.items()},
            "readings": sum(len(markers[name]) for name in names),
            "named in the record": [
                f"{n} {r.at:%Y-%m-%d}: {s.typed:g} for {s.meant:g}, {s.detail}" for n, r, s in named
            ],
            "of these doubted by those who kept it": sum(row.is_doubted for _, row, _ in named),
        }
    rows = _read_houston(folder / "houston-extensometer" / "USGS_2020_Compaction.zip")
    wrong = sum(find_slip(v, row[:n], {}) is not None for row in rows for n, v in enumerate(row))
    figures["extensometers of Houston, untouched"] = {"readings": sum(map(len, rows)), "named": wrong}
    print(record("typing-errors", "python -m tests.bench.anomaly.bench_typing_errors", figures))


def _read_houston(path: Path) -> list[list[float]]:
    found = []
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            cells = [line.split("\t") for line in file.read(name).decode("latin1").splitlines()]
            values = [float(c[1]) for c in cells if len(c) > 1 and NUMBER.fullmatch(c[1].strip())]
            found += [values] if len(values) > FROM else []
    return found


def _type_digits(change: Callable[[str, random.Random], str]) -> "Callable[[float, Any, random.Random], float]":
    def draw(value: float, _: Any, rng: random.Random) -> float:
        return int(change(f"{value:.1f}".replace(".", ""), rng)) / 10.0

    return draw


def _swap(text: str, rng: random.Random) -> str:
    k = rng.choice([k for k in range(len(text) - 1) if text[k] != text[k + 1]])
    return text[:k] + text[k + 1] + text[k] + text[k + 2 :]


def _leave_out(text: str, rng: random.Random) -> str:
    k = rng.randrange(len(text))
    return text[:k] + text[k + 1 :]


def _put_in(text: str, rng: random.Random) -> str:
    k = rng.randrange(len(text) + 1)
    return text[:k] + rng.choice("0123456789") + text[k:]


def _change(text: str, rng: random.Random) -> str:
    k = rng.randrange(len(text))
    return text[:k] + rng.choice("0123456789".replace(text[k], "")) + text[k + 1 :]


def _jump(value: float, _: Any, rng: random.Random) -> float:
    return round(value + rng.choice((-1.0, 1.0)) * rng.choice(JUMPS_CM) * rng.uniform(0.7, 1.4), 1)


DRAWN: Final[dict[str, Callable[[float, Any, random.Random], float]]] = {
    "value of another marker": lambda _, beside, rng: rng.choice([row[0] for row in beside.values() if row]),
    "decimal point or unit": lambda value, _, rng: value * 10.0 ** rng.choice((-2, -1, 1, 2)),
    "sign": lambda value, _, __: -value,
    "a digit is missing": _type_digits(_leave_out),
    "a digit too many": _type_digits(_put_in),
    "digits swapped": _type_digits(_swap),
    "a wrong digit": _type_digits(_change),
    "a real jump": _jump,
}

if __name__ == "__main__":
    main()
