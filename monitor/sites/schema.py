"""What a site file may contain: the tables of its records, and those whose written form is another."""

import datetime as dt
from functools import cache
from typing import Any, Final, Literal

from pydantic import Field, create_model, model_validator

from monitor.plugins import hooks
from monitor.sections import Section, Zone, derive_table, describe_unknown
from monitor.sites import absent_sections
from monitor.sites import records as domain
from monitor.sites.fusion import Fusion, FusionRule, Neighbours
from monitor.sites.records import Name

Table = Any  # one of a file: its attributes are the fields of its record, as they were written
# how often movement is judged at each stage when the site file is silent; unknown: as the most frequent
STAGE_EVERY_S: Final = {"creep": 3600.0, "intermediate": 1800.0, "progressive": 300.0, "step": 600.0}


class LevelsTable(Section):
    """[levels] without the tables of the single levels."""

    names: tuple[Name, ...] = Field(("green", "yellow", "orange", "red"), min_length=2, description="lowest first")
    auto_lower: tuple[str, ...] | None = Field(
        None, description="levels that may fall by themselves; default all but the two highest"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "LevelsTable":
        if len(set(self.names)) != len(self.names):
            raise ValueError("names: expected different names")
        for name in self.auto_lower or ():
            if name not in self.names:
                raise ValueError(f"auto_lower: {name!r} is no level; expected some of: {', '.join(self.names)}")
        return self


class OriginTable(Section):
    """`origin` of [[station]]: a place on the earth, or a baseline in a local frame."""

    since: dt.datetime = Field(description="from when on, with its zone")
    latitude: float | None = Field(None, ge=-90.0, le=90.0, description="deg, WGS84")
    longitude: float | None = Field(None, ge=-180.0, le=180.0, description="deg, WGS84")
    height_m: float | None = Field(None, description="of the place")
    height: Literal["ellipsoid", "geoid"] = Field("ellipsoid", description="above which the receiver counts heights")
    east_m: float | None = Field(None, description="from the base, in its local frame")
    north_m: float | None = Field(None, description="likewise")
    up_m: float | None = Field(None, description="likewise")

    @model_validator(mode="after")
    def _one_of_both(self) -> "OriginTable":
        if self.since.tzinfo is None:
            raise ValueError("since: expected a time with its zone, such as 2026-03-01T00:00:00Z")
        place, baseline = (self.latitude, self.longitude, self.height_m), (self.east_m, self.north_m, self.up_m)
        given = [part for part in (place, baseline) if part != (None, None, None)]
        if len(given) != 1 or None in given[0]:
            raise ValueError("expected latitude, longitude and height_m, or east_m, north_m and up_m")
        return self


class QuantityTable(Section):
    """[[quantity]]: a quantity of the site's own."""

    name: Name = Field(description="a new one")
    unit: str = Field(min_length=1, max_length=32, description="in which it is kept")
    low: float | None = Field(None, description="a value below is stored and flagged")
    high: float | None = Field(None, description="a value above is stored and flagged")


def _words(**meanings: str) -> dict[str, Any]:
    return {key: (str, Field("", description=meaning)) for key, meaning in meanings.items()}


def _many(table: Table) -> Any:
    return tuple[table, ...]


SeriesTable: Final = derive_table(
    domain.SeriesSpec,
    noise_floor_mm=(float | None, Field(None, ge=0.0, description="smallest scatter ever assumed, mm")),
    verify_step_mm=(float | None, Field(None, gt=0.0, description="a jump beyond this asks for verification, mm")),
)
StationTable: Final = derive_table(
    domain.Station,
    origin=(OriginTable | None, Field(None, description="what positions count from, where its receiver sends them")),
    series=(_many(SeriesTable), Field((), description="what it measures")),
)
LevelTable: Final = derive_table(domain.Level)
StageTable: Final = derive_table(domain.StagePlan)
STAGE: Final = (StageTable, Field(StageTable(), description="what that stage asks for"))
DecoderTable: Final = derive_table(
    domain.Binding,
    **_words(
        each="`json`: which parts of a message are readings",
        time="where the time stands",
        time_unit="in which it counts",
        device="`json`: the name of the device",
        quantity="`json`: the quantity",
        unit="`json`: its unit",
        value="`json`: the value",
        base="`json`: the base station that positions were corrected from",
        positions="the form of positions",
        date="where the date comes from",
        network="`nmea`, `rtklib`: the network of base stations that corrects the positions",
    ),
    zone=(Zone, Field("", description="of times without an offset, such as Europe/Zurich")),
    rain=(str, Field("", description="which counter of rain counts")),
)
FusionTable: Final = derive_table(
    Fusion,
    rule=(_many(derive_table(FusionRule)), Field((), description="levels that several criteria ask for together")),
    neighbours=(
        derive_table(Neighbours) | None,
        Field(None, description="a vote needs a neighbour that moves as well"),
    ),
)
LocalTable: Table = derive_table(domain.LocalGrid)
CrsTable: Final = create_model(
    "CrsTable",
    __base__=Section,
    local=(LocalTable | None, Field(None, description="the site's own system, such as a mine's grid")),
)
ForecastTable: Final = derive_table(
    domain.ForecastPlan,
    {"zero_shot": "pretrained forecasters of others are not supported; delete the key"},
)
TABLES: Final[dict[str, Any]] = {
    "site": (derive_table(domain.Site), ...),
    "levels": (dict[str, Any], {}),  # it and criteria are read apart: their keys depend on the names of the levels
    "station": (_many(StationTable), Field(min_length=1)),
    "quantity": (_many(QuantityTable), ()),
    "criterion": (_many(dict[str, Any]), ()),
    "fusion": (FusionTable, FusionTable()),
    "forecast": (ForecastTable, ForecastTable()),
    "movement": (
        table := derive_table(domain.MovementPlan, **dict.fromkeys((*STAGE_EVERY_S, "unknown"), STAGE)),
        table(),
    ),
    "anomaly": (table := derive_table(domain.AnomalyPlan), table()),
    "scenes": (table := derive_table(domain.ScenePlan), table()),
    "crs": (CrsTable, CrsTable()),
    "recipient": (_many(derive_table(domain.Recipient)), ()),
    "team": (_many(derive_table(domain.Team)), ()),
    "decoder": (_many(DecoderTable), ()),
    "exposed": (_many(derive_table(domain.Exposed)), ()),
}


class _SiteFile(Section):
    """The sections of a site file."""

    @classmethod
    def describe_unknown_key(cls, key: str) -> str:
        """Name the nearest section, also if its feature is not installed."""
        return describe_unknown(key, dict.fromkeys([*cls.written_keys(), *absent_sections.FEATURES]))


@cache
def make_site_file_model() -> type[Section]:
    """Return the model of a site file, with the sections that plugins add."""
    more: dict[str, Any] = {}
    for sections in hooks().site_file_sections():
        for name, table in sections.tables.items():
            if name not in TABLES:
                more.setdefault(name, (_many(table), ()))
    made: type[Section] = create_model("SiteFile", __base__=_SiteFile, **TABLES, **more)
    return made
