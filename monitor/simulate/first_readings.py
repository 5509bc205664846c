"""Hourly readings of a first slope that end now and accelerate over the last two days: what the tutorial ingests."""

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

DAYS: Final = 20  # enough for a first forecast at one and seven days
ACCELERATION_H: Final = 48
DOWNSLOPE: Final = (("east", -0.37), ("north", -0.80), ("up", -0.47))  # towards azimuth 205, plunge 28


def write_readings(path: Path, now: datetime) -> int:
    """Write the neutral long table of the four stations that `slopeward sites init` declares; returns its rows.

    Args:
        path: the CSV to write.
        now: the present, aware UTC; the newest reading is of the full hour before.
    """
    noise, newest = random.Random(1), now.replace(minute=0, second=0, microsecond=0)
    rows: list[tuple[str, str, str, str, float | str]] = []
    for hour in range(-24 * DAYS, 1):
        at = (newest + timedelta(hours=hour)).isoformat()
        since_h = max(0, hour + ACCELERATION_H)
        moved_mm = 3.0 * since_h**1.6 / 24
        rows += [
            (at, "G1", f"displacement_{component}_mm", f"{moved_mm * share + noise.gauss(0, 1):.2f}", 1.0)
            for component, share in DOWNSLOPE
        ]
        rows.append((at, "E1", "crack_opening_mm", f"{moved_mm + noise.gauss(0, 0.1):.2f}", 0.1))
        rows.append((at, "R1", "rain_mm", "0.2", ""))
        rows.append((at, "C1", "displacement_east_mm", f"{noise.gauss(0, 1):.2f}", 1.0))
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["time", "station", "quantity", "value", "sigma"])
        out.writerows(rows)
    return len(rows)
