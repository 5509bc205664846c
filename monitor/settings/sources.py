"""Tables `[[source]]` of the service file: servers to read files or rows from, and what these contain."""

import re
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from monitor.sections import Duration, Section, Zone

Kind = Literal["http", "sftp", "stac", "sensorthings", "sql", "influxdb", "nevada", "egms", "folder"]
FOLDER_KIND: Final = "folder"
SQL_KIND: Final = "sql"
INFLUXDB_KIND: Final = "influxdb"
# Kinds that read rows of a table in the order of a position, instead of files.
ROW_KINDS: Final = frozenset({SQL_KIND, INFLUXDB_KIND})
# What a column of a table of readings contains. The keys of `columns`.
COLUMN_ROLES: Final = ("time", "station", "quantity", "value", "sigma")
# Addresses of public archives, so that a table needs to name only stations or products.
DEFAULT_URLS: Final[dict[str, str]] = {
    "nevada": "https://geodesy.unr.edu/gps_timeseries/IGS20/tenv3",
    "egms": "https://egms.land.copernicus.eu/insar-api/archive/download",
}
DEFAULT_READERS: Final[dict[str, str]] = {"nevada": "gnss", "egms": "egms"}
# Schemes of addresses by kind, if not http and https.
SCHEMES: Final[dict[str, tuple[str, ...]]] = {"sftp": ("sftp",)}
# Default of `stale_after`: this many intervals without a success, but at least an hour.
STALE_AFTER_INTERVALS: Final = 3.0
MIN_STALE_AFTER_S: Final = 3600.0
# Local times repeat an hour when summer time ends. Rows of the repeated hour lie before the newest position.
MIN_LOCAL_OVERLAP_S: Final = 7200.0
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+@-]{0,199}")
_STREAM_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_PATTERN: Final = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9._=+@*?-]{0,199}")
_QUERY_START: Final = re.compile(r"\s*(?:select|with)\b", re.IGNORECASE)
# The first part of an address of SQLAlchemy, such as `postgresql` or `mysql+pymysql`.
_DIALECT: Final = re.compile(r"[a-z][a-z0-9_]*(?:\+[a-z][a-z0-9_]*)?")


class SourceSection(Section):
    """[[source]]: files of a server or of the watched folder, or rows of a database, for a site."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")
    kind: Kind
    site: str = Field(min_length=1)
    url: str = ""
    files: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    frame: str = Field(default="IGS20", pattern=r"^[A-Z0-9]{2,8}$")
    every_s: Duration = Field(default=3600.0, alias="every")
    stale_after_s: Duration | None = Field(default=None, alias="stale_after")
    limit_s: Duration = Field(default=300.0, alias="limit")
    most_mb: float = Field(default=256.0, gt=0, le=8192)
    hosts: tuple[str, ...] = ()
    private: bool = False
    username: str = ""
    secret: str = Field(default="", pattern=r"^([A-Z][A-Z0-9_]*)?$")
    parameter: str = Field(default="", pattern=r"^[A-Za-z0-9_-]*$")
    key_file: str = ""
    host_key: str = ""
    ca_file: str = ""
    rolling: bool = False
    accept_units: bool = False
    format: str = ""
    mapping: str = ""
    set: str = ""
    direction: str = ""
    unit: str = ""
    station: str = ""
    quantity: str = ""
    variable: str = ""
    mask: str = ""
    time: str = Field(default="", pattern=r"^(gpst|utc)?$")
    stamp: str = Field(default="", pattern=r"^(interval_end|counter)?$")
    window_m: float | None = Field(default=None, gt=0)
    within_m: float | None = Field(default=None, gt=0)
    assets: dict[str, str] = Field(default_factory=dict)
    series: dict[str, str] = Field(default_factory=dict)
    since: str = Field(default="", pattern=r"^(\d{4}-\d\d-\d\d)?$")
    database: str = Field(default="", max_length=200)
    table: str = Field(default="", max_length=200)
    query: str = Field(default="", max_length=20_000)
    columns: dict[str, str] = Field(default_factory=dict)
    position: str = Field(default="", max_length=200)
    unindexed: bool = False
    zone: Zone | None = None
    time_format: Literal["iso", "s", "ms", "us", "ns"] = "iso"
    overlap_s: Duration = Field(default=86400.0, alias="overlap")
    overlap_rows: Annotated[int, Field(ge=0, le=100_000_000)] = 10_000
    most_rows: Annotated[int, Field(ge=1000, le=10_000_000)] = 100_000

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value)
        if not value:
            return value
        if info.data.get("kind") == SQL_KIND:
            return _check_database_url(value)
        if parts.scheme not in {"http", "https", "sftp"} or not parts.hostname:
            raise ValueError("expected an address such as https://data.example.org/slope.csv or sftp://host/folder")
        if parts.username or parts.password:
            raise ValueError(
                "expected no login in the address; use username, and secret = the NAME of an environment variable"
            )
        return value

    @field_validator("files", "stations")
    @classmethod
    def _check_names(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        is_folder = info.data.get("kind") == FOLDER_KIND
        for name in value:
            if is_folder:
                is_valid = _PATTERN.fullmatch(name) is not None
                expected = "patterns such as radar_*.nc"
            else:
                is_valid = all(_FILE_NAME.fullmatch(part) for part in name.split("/"))
                expected = "names such as day.csv or 2026/day.csv"
            if not is_valid:
                raise ValueError(f"expected {expected}, got {name[:60]!r}")
        return value

    @field_validator("query")
    @classmethod
    def _check_query(cls, value: str) -> str:
        query = value.strip().removesuffix(";").rstrip()
        if query and (not _QUERY_START.match(query) or ";" in query):
            raise ValueError("expected one SELECT without a semicolon, such as SELECT id, ts, point, mm FROM readings")
        return query

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = [role for role in value if role not in COLUMN_ROLES]
        if unknown:
            raise ValueError(f"expected the keys {', '.join(COLUMN_ROLES)}, got {unknown[0][:60]!r}")
        if not all(value.values()):
            raise ValueError("expected the name of a column for each key")
        return value

    @field_validator("series")
    @classmethod
    def _check_streams(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if info.data.get("kind") in ROW_KINDS:
            return value
        for name in value:
            if not _STREAM_ID.fullmatch(name):
                raise ValueError(f"expected ids of Datastreams such as 7, got {name[:60]!r}")
        return value

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.kind == FOLDER_KIND:
            if not self.files or self.url:
                raise ValueError(
                    'files: this key is required: patterns of files in the watched folder, such as ["radar_*.nc"]'
                )
            return self
        if not self.address:
            raise ValueError("url: this key is required")
        if self.kind in ROW_KINDS:
            self._check_rows()
        elif self.table or self.query or self.columns:
            raise ValueError('table, query and columns: these keys belong to kind "sql" or "influxdb"')
        if self.kind == SQL_KIND:
            return self
        schemes = SCHEMES.get(self.kind, ("http", "https"))
        scheme = urlsplit(self.address).scheme
        if scheme not in schemes:
            expected = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ValueError(f"url: kind {self.kind!r} needs {expected}")
        if scheme == "http" and self.secret and not self.private:
            raise ValueError("secret: expected https://, because a login sent by http:// is not encrypted")
        self._check_required_keys()
        return self

    def _check_required_keys(self) -> None:
        if self.kind == "sftp" and not self.host_key:
            raise ValueError("host_key: this key is required: the entry of the server in known_hosts, from `ssh-` on")
        if self.kind == "sftp" and not (self.username and self.key_file):
            raise ValueError("username and key_file: these keys are required, because passwords are not supported")
        if self.kind == "nevada" and not self.stations:
            raise ValueError('stations: this key is required, such as ["P816"]')
        if self.kind in {"sftp", "egms"} and not self.files:
            raise ValueError("files: this key is required: the names of files below url")
        if self.kind not in ROW_KINDS and (self.kind == "sensorthings") != bool(self.series):
            raise ValueError(
                'series: this key belongs to kind "sensorthings" and is required there: id of a Datastream = its '
                'series, such as {"7" = "G1.rain_mm"}'
            )
        if self.kind == "stac" and not self.assets:
            raise ValueError('assets: this key is required: band = key of the asset, such as {B4 = "red"}')

    def _check_rows(self) -> None:
        """Check the keys of a table of readings."""
        if bool(self.table) == bool(self.query):
            raise ValueError("table: expected the name of a table, or query = a SELECT, and not both")
        if "time" not in self.columns:
            raise ValueError('columns: expected at least {time = "NAME OF THE COLUMN"}')
        is_wide = "value" not in self.columns
        if is_wide and ("quantity" in self.columns or "sigma" in self.columns):
            raise ValueError("columns: quantity and sigma need value, the column of the values")
        if is_wide and not self.series:
            raise ValueError(
                'series: this key is required without columns.value: column = its series, such as {"dE" = '
                '"displacement_east_mm"}'
            )
        if not is_wide and not self.series and not self.quantity and "quantity" not in self.columns:
            raise ValueError(
                "columns: expected quantity = the column of the quantity. If all values are of one quantity, write it "
                'with its unit into the source instead, such as quantity = "displacement_mm"'
            )
        if self.format or self.mapping or self.files:
            raise ValueError("format, mapping and files: these keys belong to kinds that read files")
        if self.kind == INFLUXDB_KIND:
            if not self.database:
                raise ValueError("database: this key is required: the name of the bucket or database")
            if self.query or self.position or self.columns["time"] != "time":
                raise ValueError(
                    "query, position and columns.time: an InfluxDB source reads a measurement in the order of its "
                    'time, so columns.time is "time"'
                )
        elif self.most_rows <= self.overlap_rows:
            raise ValueError("most_rows: expected more than overlap_rows, so that a poll reaches new rows")
        elif self.zone not in {None, "UTC"} and self.overlap_s < MIN_LOCAL_OVERLAP_S:
            raise ValueError("overlap: expected at least 2h, because a zone repeats an hour when summer time ends")

    @property
    def address(self) -> str:
        """Return the address of the files or of the server."""
        return self.url or DEFAULT_URLS.get(self.kind, "")

    @property
    def reader(self) -> str:
        """Return the name of the reader of the files. Empty if it follows from the mapping or the default."""
        return self.format or DEFAULT_READERS.get(self.kind, "")

    @property
    def silent_s(self) -> float:
        """Return the seconds without a successful poll after which people are notified."""
        return self.stale_after_s or max(STALE_AFTER_INTERVALS * self.every_s, MIN_STALE_AFTER_S)


def _check_database_url(url: str) -> str:
    """Check the address of a database.

    Raises:
        ValueError: It is no address of SQLAlchemy, names no server or file, or contains a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    expected = "expected an address such as postgresql://reader@db.example.org/monitoring or sqlite:////data/logger.db"
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        # The text may contain a password, so that the message must not repeat it.
        raise ValueError(expected) from None
    if not _DIALECT.fullmatch(parts.drivername):
        raise ValueError(expected)
    if parts.password or any("pass" in key.lower() or key.lower() == "pwd" for key in parts.query):
        raise ValueError("expected no password in the address; use secret = the NAME of an environment variable")
    if parts.get_backend_name() == "sqlite":
        if not parts.database or parts.database == ":memory:" or parts.database.startswith("file:"):
            raise ValueError("expected the path of a file, such as sqlite:////data/logger.db")
    elif not parts.host:
        raise ValueError(expected)
    return url
