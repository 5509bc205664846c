"""What is asked of a stack of interferograms, and what it answers; no library is loaded for them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from detection.geojson import Geometry
from detection.imagery.footprints.records import MeasuredPlace

Reference = tuple[float, float, float]  # longitude, latitude, radius in metres of ground taken as still


@dataclass(frozen=True, slots=True, kw_only=True)
class StackRequest:
    """What is asked."""

    folder: Path  # with `stack.toml`, or rasters that name two dates each
    out_dir: Path | None = None  # where rasters, zones, picture and record are written; None: nowhere
    coherence_least: float = 0.3  # lower coherence is not used
    k_sigma: float = 3.0  # a zone moves beyond so many sigma
    minimum_area_m2: float = 40_000.0  # smaller zones are left out
    reference: Reference | None = None  # in place of the manifest's
    every: int = 1  # points of every n-th row and column
    network: str | None = None  # weights, an unvalidated hint beside the rates
    places: tuple[MeasuredPlace, ...] = ()  # where coherence is measured from date to date


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
    """A connected zone that moves beyond its sigma."""

    kind: str  # toward or away from the satellite
    area_m2: float  # true
    pixels: int  # in it
    rate_mm_per_year: float  # the median
    fastest_mm_per_year: float  # the largest
    sigma_mm_per_year: float  # the median
    geometry: Geometry  # geoJSON
    coherence: tuple[CoherenceValue, ...] = ()  # from date to date

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
    geometry: Geometry

    def facts(self) -> dict[str, Any]:
        """As JSON has it, without the outline."""
        return {
            "area_m2": self.area_m2,
            "was": self.was,
            "is": self.value,
            "from": self.since.isoformat(),
            "to": self.until.isoformat(),
        }

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
    """What a stack says of movement, toward the satellite."""

    dates: tuple[datetime, ...]  # of the images
    pairs: int  # how many interferograms there are
    direction: str  # as the manifest says
    told_share: float  # share of the pixels that have a rate
    rate_mm_per_year: Mapping[str, float]  # percentiles
    error_mm_per_year: float  # the median
    noise_mm_per_year: float  # by how much still ground scatters
    misfit_rad: float  # the median
    coherence: float  # the mean
    zones: tuple[MovingZone, ...]  # that move, the fastest first
    coherence_loss: tuple[CoherenceLoss, ...]  # on the newest short pair; advice only
    points: tuple[PointSeries, ...]  # the pixels that have a rate
    coherence_series: Mapping[str, tuple[CoherenceValue, ...]]  # name of a place to its values
    network: NetworkHint | None = None  # what a network marks, where one was asked
    warnings: tuple[str, ...] = ()  # one sentence each
    outputs: Mapping[str, str] = field(default_factory=dict)  # name to path of what was written

    def to_json(self) -> dict[str, Any]:
        """As JSON has it; of the points their number."""
        more = {} if self.network is None else {"network": self.network.to_json()}
        return {
            **{one.name: getattr(self, one.name) for one in fields(self) if one.name != "network"},
            "dates": [at.isoformat() for at in self.dates],
            "zones": [one.to_json() for one in self.zones],
            "coherence_loss": [one.to_json() for one in self.coherence_loss],
            "warnings": list(self.warnings),
            "points": len(self.points),
            "coherence_series": {k: [one.to_json() for one in values] for k, values in self.coherence_series.items()},
            **more,
        }
