"""Where the instruments of a simulated slope stand, and what makes some of them dependent on each other."""

from dataclasses import dataclass
from typing import Final

import numpy as np

METRES_PER_DEGREE: Final = 111_320.0


@dataclass(frozen=True, slots=True)
class StationPlan:
    """One simulated instrument; `factor` scales the motion of the mass, 0 on stable ground."""

    id: str
    kind: str  # gnss, rain, piezometer, tilt, extensometer, reservoir
    latitude: float
    longitude: float
    height_m: float
    azimuth_deg: float | None
    plunge_deg: float | None
    reference: str | None
    logger: str
    factor: float
    on_slope: bool


def plan_stations(seed: int, movers: int, latitude: float, longitude: float) -> tuple[StationPlan, ...]:
    """Place `movers` GNSS stations on the mass, a control beside each reference, and the other instruments.

    Stations alternate between two references and two loggers, so that two groups of witnesses are independent.
    """
    rng = np.random.default_rng([seed, 1])
    plans = []
    for i in range(movers):
        along_m, across_m = -90.0 + 180.0 * (i + 0.5) / movers, float(rng.uniform(-50.0, 50.0))
        azimuth = 205.0 + float(rng.uniform(-8.0, 8.0))
        bearing = np.radians(205.0)
        north = along_m * np.cos(bearing) - across_m * np.sin(bearing)
        east = along_m * np.sin(bearing) + across_m * np.cos(bearing)
        group = "A" if i % 2 == 0 else "B"
        plans.append(
            StationPlan(
                f"G{i + 1}",
                "gnss",
                round(latitude + north / METRES_PER_DEGREE, 6),
                round(longitude + east / (METRES_PER_DEGREE * np.cos(np.radians(latitude))), 6),
                round(1410.0 - 0.5 * along_m, 1),
                round(azimuth, 1),
                round(28.0 + float(rng.uniform(-4.0, 4.0)), 1),
                f"BASE-{group}",
                f"logger-{group.lower()}",
                round(float(rng.uniform(0.8, 1.2)), 3),
                on_slope=True,
            )
        )

    def beside(name: str, kind: str, north_m: float, logger: str, factor: float, reference: str | None) -> StationPlan:
        at = round(latitude + north_m / METRES_PER_DEGREE, 6)
        azimuth, plunge = (205.0, 28.0) if kind == "gnss" else (None, None)
        on_slope = kind != "gnss"
        return StationPlan(
            name, kind, at, longitude, 1430.0, azimuth, plunge, reference, logger, factor, on_slope=on_slope
        )

    return (
        *plans,
        beside("C1", "gnss", 260.0, "logger-a", 0.0, "BASE-A"),
        beside("C2", "gnss", 300.0, "logger-b", 0.0, "BASE-B"),
        beside("R1", "rain", 200.0, "logger-c", 0.0, None),
        beside("P1", "piezometer", 20.0, "logger-c", 0.0, None),
        beside("E1", "extensometer", 95.0, "logger-d", 0.7, None),
        beside("T1", "tilt", -20.0, "logger-d", 1.0, None),
        beside("W1", "reservoir", -400.0, "logger-c", 0.0, None),
    )
