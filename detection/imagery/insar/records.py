"""What is asked of a stack of interferograms, and what it answers; no library is loaded for them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from detection.imagery.footprints.records import MeasuredPlace

Reference = tuple[float, float, float]  # longitude, latitude, radius in metres of ground taken as still


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRequest:
    """What is asked.

    Attributes:
        folder: with `stack.toml`, or rasters that name two dates each.
        out_dir: where rasters, zones, picture and record are written; None: nowhere.
        coherence_least: lower coherence is not used.
        k_sigma: a zone moves beyond so many sigma.
        minimum_area_m2: smaller zones are left out.
        reference: in place of the manifest's.
        every: points of every n-th row and column.
        network: weights of `moving_zones`, an unvalidated hint beside the rates.
        places: where coherence is measured from date to date.
    """

    folder: Path
    out_dir: Path | None = None
    coherence_least: float = 0.3
    k_sigma: float = 3.0
    minimum_area_m2: float = 40_000.0
    reference: Reference | None = None
    every: int = 1
    network: str | None = None
    places: tuple[MeasuredPlace, ...] = ()


@dataclass(frozen=True, slots=True)
class CoherenceValue:
    """Mean coherence (0 to 1) of a place over a pair of dates; the later one is the time of the value."""

    since: datetime
    at: datetime
    value: float

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"from": self.since.isoformat(), "at": self.at.isoformat(), "value": self.value}


@dataclass(frozen=True, slots=True)
class MovingZone:
    """A connected zone that moves beyond its sigma.

    Attributes:
        kind: toward or away from the satellite.
        area_m2: true.
        pixels: in it.
        rate_mm_per_year: the median.
        fastest_mm_per_year: the largest.
        sigma_mm_per_year: the median.
        geometry: GeoJSON.
        coherence: from date to date.
    """

    kind: str
    area_m2: float
    pixels: int
    rate_mm_per_year: float
    fastest_mm_per_year: float
    sigma_mm_per_year: float
    geometry: dict[str, Any]
    coherence: tuple[CoherenceValue, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "coherence": [one.to_json() for one in self.coherence]}


@dataclass(frozen=True, slots=True)
class CoherenceLoss:
    """A zone whose median coherence fell on the newest short pair, between two dates; `geometry` is GeoJSON."""

    area_m2: float
    was: float
    value: float
    since: datetime
    until: datetime
    geometry: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """As JSON has it, without the outline."""
        return {"area_m2": self.area_m2, "was": self.was, "is": self.value, "from": self.since.isoformat(),
                "to": self.until.isoformat()}  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**self.facts(), "geometry": self.geometry}


@dataclass(frozen=True, slots=True)
class PointSeries:
    """A pixel as a point: its displacement at each date of the stack."""

    pid: str
    lon: float
    lat: float
    values_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class NetworkHint:
    """What a network that was trained on drawn interferograms marks."""

    weights: str
    threshold: float
    marked_share: float

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "validated": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRates:
    """What a stack says of movement, toward the satellite.

    Attributes:
        dates: of the images.
        pairs: how many interferograms there are.
        direction: as the manifest says.
        told_share: share of the pixels that have a rate.
        rate_mm_per_year: percentiles.
        error_mm_per_year: the median.
        noise_mm_per_year: by how much still ground scatters.
        misfit_rad: the median.
        coherence: the mean.
        zones: that move, the fastest first.
        coherence_loss: on the newest short pair; advice only.
        points: the pixels that have a rate.
        coherence_series: name of a place to its values.
        network: what a network marks, where one was asked.
        warnings: one sentence each.
        outputs: name to path of what was written.
    """

    dates: tuple[datetime, ...]
    pairs: int
    direction: str
    told_share: float
    rate_mm_per_year: Mapping[str, float]
    error_mm_per_year: float
    noise_mm_per_year: float
    misfit_rad: float
    coherence: float
    zones: tuple[MovingZone, ...]
    coherence_loss: tuple[CoherenceLoss, ...]
    points: tuple[PointSeries, ...]
    coherence_series: Mapping[str, tuple[CoherenceValue, ...]]
    network: NetworkHint | None = None
    warnings: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; of the points their number."""
        more = {} if self.network is None else {"network": self.network.to_json()}
        return {
            **{one.name: getattr(self, one.name) for one in fields(self) if one.name != "network"},
            "dates": [at.isoformat() for at in self.dates], "zones": [one.to_json() for one in self.zones],
            "coherence_loss": [one.to_json() for one in self.coherence_loss], "warnings": list(self.warnings),
            "points": len(self.points),
            "coherence_series": {k: [one.to_json() for one in values] for k, values in self.coherence_series.items()},
            **more,
        }  # fmt: skip
