"""Pydantic models of the tables of a site file. Most of them are derived from the records."""

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

# A table of a site file. Its attributes are the fields of the record, as written in the file.
Table = Any
# Default interval between evaluations at each stage of movement, in seconds.
STAGE_EVERY_S: Final = {"creep": 3600.0, "intermediate": 1800.0, "progressive": 300.0, "step": 600.0}


class LevelsTable(Section):
    """[levels], without the tables [levels.NAME]."""

    names: tuple[Name, ...] = Field(("green", "yellow", "orange", "red"), min_length=2, description="lowest first")
    auto_lower: tuple[str, ...] | None = Field(
        None, description="levels that Slopeward lowers by itself; default all but the two highest"
    )

    @model_validator(mode="after")
    def _check_names(self) -> "LevelsTable":
        if len(set(self.names)) != len(self.names):
            raise ValueError("names: a name appears twice; use different names")
        for name in self.auto_lower or ():
            if name not in self.names:
                raise ValueError(f"auto_lower: {name!r} is no level; expected names from: {', '.join(self.names)}")
        return self


class OriginTable(Section):
    """`origin` of [[station]]: a position on Earth, or coordinates in a local or national grid."""

    since: dt.datetime = Field(description="start time, with time zone")
    latitude: float | None = Field(None, ge=-90.0, le=90.0, description="deg, WGS84")
    longitude: float | None = Field(None, ge=-180.0, le=180.0, description="deg, WGS84")
    height_m: float | None = Field(None, description="height")
    height: Literal["ellipsoid", "geoid"] = Field(
        "ellipsoid", description="reference surface of the heights of the receiver"
    )
    east_m: float | None = Field(None, description="easting in a grid, or east of the base station")
    north_m: float | None = Field(None, description="northing in a grid, or north of the base station")
    up_m: float | None = Field(None, description="height in a grid, or up from the base station")

    @model_validator(mode="after")
    def _check_position(self) -> "OriginTable":
        if self.since.tzinfo is None:
            raise ValueError("since: expected a time with time zone, such as 2026-03-01T00:00:00Z")
        position = (self.latitude, self.longitude, self.height_m)
        coordinates = (self.east_m, self.north_m, self.up_m)
        has_position = position != (None, None, None)
        has_coordinates = coordinates != (None, None, None)
        if has_position == has_coordinates or (has_position and None in position):
            raise ValueError(
                "expected either latitude, longitude and height_m, or those of east_m, north_m and up_m that are "
                "measured"
            )
        return self


class QuantityTable(Section):
    """[[quantity]]: a quantity that is not built in."""

    name: Name = Field(description="name; not that of a built-in quantity")
    unit: str = Field(min_length=1, max_length=32, description="unit of the stored values")
    low: float | None = Field(None, description="a value below is stored and flagged")
    high: float | None = Field(None, description="a value above is stored and flagged")


def _make_text_keys(**descriptions: str) -> dict[str, Any]:
    """Return optional keys with text values."""
    return {key: (str, Field("", description=description)) for key, description in descriptions.items()}


def _list_of(table: Table) -> Any:
    return tuple[table, ...]


SeriesTable: Final = derive_table(
    domain.SeriesSpec,
    noise_floor_mm=(float | None, Field(None, ge=0.0, description="lower limit of the standard deviation, mm")),
    verify_step_mm=(float | None, Field(None, gt=0.0, description="a larger jump must be verified by a person, mm")),
)
StationTable: Final = derive_table(
    domain.Station,
    origin=(OriginTable | None, Field(None, description="zero point of displacement from positions")),
    series=(_list_of(SeriesTable), Field((), description="series of the station")),
)
LevelTable: Final = derive_table(domain.Level)
StageTable: Final = derive_table(domain.StagePlan)
STAGE: Final = (StageTable, Field(StageTable(), description="settings of this stage"))
DecoderTable: Final = derive_table(
    domain.Binding,
    **_make_text_keys(
        each="`json`: path of the readings in a message",
        time="path or column of the time",
        time_unit="unit of numeric times",
        device="`json`: path of the device name",
        quantity="`json`: path of the quantity",
        unit="`json`: path of the unit",
        value="`json`: path of the value",
        base="`json`: path of the base station of corrected positions",
        positions="format of positions",
        date="source of the date",
        network="`nmea`, `rtklib`: network of base stations that corrects the positions",
    ),
    zone=(Zone, Field("", description="time zone of times without an offset, such as Europe/Zurich")),
    rain=(str, Field("", description="rain counter that is used")),
)
FusionTable: Final = derive_table(
    Fusion,
    rule=(_list_of(derive_table(FusionRule)), Field((), description="conditions on several criteria")),
    neighbours=(
        derive_table(Neighbours) | None,
        Field(None, description="votes need a neighbour that also moves"),
    ),
)
LocalTable: Table = derive_table(domain.LocalGrid)
CrsTable: Final = create_model(
    "CrsTable",
    __base__=Section,
    local=(LocalTable | None, Field(None, description="local system, such as a mine grid")),
)
ForecastTable: Final = derive_table(
    domain.ForecastPlan,
    {"zero_shot": "third-party pretrained forecasters are not supported; delete the key"},
)
TABLES: Final[dict[str, Any]] = {
    "site": (derive_table(domain.Site), ...),
    # Levels and criteria are validated later. Their keys depend on the names of the levels.
    "levels": (dict[str, Any], {}),
    "station": (_list_of(StationTable), Field(min_length=1)),
    "total_station": (_list_of(derive_table(domain.TotalStation)), ()),
    "quantity": (_list_of(QuantityTable), ()),
    "criterion": (_list_of(dict[str, Any]), ()),
    "fusion": (FusionTable, FusionTable()),
    "forecast": (ForecastTable, ForecastTable()),
    "movement": (
        table := derive_table(domain.MovementPlan, **dict.fromkeys((*STAGE_EVERY_S, "unknown"), STAGE)),
        table(),
    ),
    "anomaly": (table := derive_table(domain.AnomalyPlan), table()),
    "scenes": (table := derive_table(domain.ScenePlan), table()),
    "crs": (CrsTable, CrsTable()),
    "recipient": (_list_of(derive_table(domain.Recipient)), ()),
    "team": (_list_of(derive_table(domain.Team)), ()),
    "decoder": (_list_of(DecoderTable), ()),
    "exposed": (_list_of(derive_table(domain.Exposed)), ()),
}


class _SiteFile(Section):
    """The sections of a site file."""

    @classmethod
    def describe_unknown_key(cls, key: str) -> str:
        """Return an error text with the most similar section, including sections of features that are not installed."""
        return describe_unknown(key, dict.fromkeys([*cls.written_keys(), *absent_sections.FEATURES]))


@cache
def make_site_file_model() -> type[Section]:
    """Return the model of a site file, with the sections that plugins add."""
    added: dict[str, Any] = {}
    for sections in hooks().site_file_sections():
        for name, table in sections.tables.items():
            if name not in TABLES:
                added.setdefault(name, (_list_of(table), ()))
    model: type[Section] = create_model("SiteFile", __base__=_SiteFile, **TABLES, **added)
    return model
