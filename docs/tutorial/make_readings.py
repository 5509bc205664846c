"""Ten days of hourly readings that end now and accelerate: input of the tutorial."""

import csv
import random
import sys
from datetime import UTC, datetime, timedelta

now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
out = csv.writer(sys.stdout)
out.writerow(["time", "station", "quantity", "value", "sigma"])
noise = random.Random(1)
for hour in range(-240, 1):
    at = (now + timedelta(hours=hour)).isoformat()
    moved = 0.0 if hour < -48 else 3.0 * (hour + 48) ** 1.6 / 24  # mm, faster and faster
    for component, share in (("east", -0.37), ("north", -0.80), ("up", -0.47)):  # down towards azimuth 205, plunge 28
        out.writerow([at, "G1", f"displacement_{component}_mm", f"{moved * share + noise.gauss(0, 1):.2f}", 1.0])
    out.writerow([at, "E1", "crack_opening_mm", f"{moved + noise.gauss(0, 0.1):.2f}", 0.1])
    out.writerow([at, "R1", "rain_mm", "0.2", ""])
    out.writerow([at, "C1", "displacement_east_mm", f"{noise.gauss(0, 1):.2f}", 1.0])
